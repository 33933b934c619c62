"""Candidate pairs of a match, from a table at hand or from the CDS, in one form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from astro_cluster.columns import require
from astro_cluster.crossmatch import cds, epochs
from astro_cluster.crossmatch.answers import remote_identity
from astro_cluster.crossmatch.join import split_coordinates
from astro_cluster.crossmatch.local import close_pairs
from astro_cluster.crossmatch.positions import find_position, sky_coord
from astro_cluster.crossmatch.reference import LocalReference, RemoteReference
from astro_cluster.exceptions import InputError
from astro_cluster.provenance import content_hash

__all__ = ["Pairs", "Sky", "local_sky", "pairs_at_hand", "pairs_of_service", "sky_for_service"]

# SIMBAD gives its coordinates at this epoch, whatever the one of the measurement.
_KNOWN_EPOCHS = {"simbad": 2000.0}


@dataclass(slots=True)
class Pairs:
    """Candidate pairs, and the remote table that they point into.

    ``remote`` numbers the remote objects, ``row`` is where an object stands in ``table``.
    """

    local: np.ndarray
    remote: np.ndarray
    row: np.ndarray
    separation: np.ndarray
    table: QTable
    n_remote: float
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Sky:
    """The local positions, ready to be matched."""

    coord: SkyCoord
    valid: np.ndarray
    motion: epochs.Motion | None
    inputs: list[str]


def local_sky(table: QTable, position: Any, epoch: float | None) -> Sky:
    if not len(table):
        raise InputError("the table has no rows: there is nothing to match")
    names = find_position(table, position)
    coord, valid = sky_coord(table, names)
    if not valid.any():
        raise InputError(f"no row has a position: all values of {' and '.join(names)} are masked or NaN")
    motion = epochs.find_motion(table, epoch)
    return Sky(coord, valid, motion, [*names, *(motion.columns if motion else ())])


def _epoch_facts(
    local: epochs.Motion, remote: epochs.Motion, year: float, moved: int, remote_moved: int
) -> dict:
    return {
        "epochs": {
            "local": local.year,
            "reference": remote.year,
            "compared_at": year,
            "rows_moved": moved,
            "reference_rows_moved": remote_moved,
        }
    }


def _meet(
    sky: Sky, coord: SkyCoord, remote: epochs.Motion | None
) -> tuple[SkyCoord, SkyCoord, dict[str, Any]]:
    """Return both lists of positions at one epoch, if there is a way."""
    year = epochs.meeting_epoch(sky.motion, remote)
    if year is None:
        return sky.coord, coord, {}
    here, moved = epochs.move(sky.coord, sky.motion, year)
    there, remote_moved = epochs.move(coord, remote, year)
    facts = _epoch_facts(sky.motion, remote, year, int(moved.sum()), int(remote_moved.sum()))  # type: ignore[arg-type]
    return here, there, facts


def _only(table: QTable, names: list[str]) -> QTable:
    return table[names] if names else QTable()  # indexing with no names would take all


def pairs_at_hand(
    sky: Sky,
    target: LocalReference,
    radius: u.Quantity,
    columns: list[str] | None,
    position: Any,
    epoch: float | None,
) -> Pairs:
    table = target.table
    if not len(table):
        raise InputError(f"the reference ({target.name}) has no rows: there is nothing to match with")
    brought = table.colnames if columns is None else require(table, columns)
    try:
        names = find_position(table, position)
        coord, valid = sky_coord(table, names)
    except InputError as error:
        raise InputError(
            f"in the reference ({target.name}; its columns: reference_position=): {error}"
        ) from error
    if not valid.any():
        raise InputError(f"no row of the reference ({target.name}) has a position in {' and '.join(names)}")
    motion = epochs.find_motion(table, epoch)
    here, there, facts = _meet(sky, coord, motion)
    local, remote, separation = close_pairs(here, there, radius, valid=sky.valid, remote_valid=valid)
    used = list(dict.fromkeys([*brought, *names, *(motion.columns if motion and facts else ())]))
    facts["reference"] = {"name": target.name, "rows": len(table), "hash": content_hash(table, used)}
    return Pairs(
        local, remote, remote, separation, split_coordinates(_only(table, brought)), len(table), facts
    )


def sky_for_service(
    sky: Sky, target: RemoteReference, epoch: float | None
) -> tuple[SkyCoord, dict[str, Any]]:
    epoch = _KNOWN_EPOCHS.get(target.name) if epoch is None else epoch
    if epoch is None or sky.motion is None or sky.motion.pm is None:
        return sky.coord, {}
    remote = epochs.Motion(np.array([epoch]), None, ())
    here, _, facts = _meet(sky, sky.coord[:1], remote)
    return here, facts


def pairs_of_service(
    coord: SkyCoord,
    sky: Sky,
    target: RemoteReference,
    find: str,
    columns: list[str] | None,
    cache: bool,
    request: dict,
) -> Pairs:
    found = cds.fetch_pairs(coord, sky.valid, target.name, cache=cache, **request)
    table = found.table
    row = np.arange(len(table), dtype=np.int64) if table.colnames else np.arange(len(found.local))
    remote = remote_identity(table) if request["selection"] == "all" and len(table) and find != "all" else row
    if columns is not None:
        missing = [name for name in columns if name not in table.colnames]
        if missing and len(found.local):
            raise InputError(
                f"{target.name} has no column {', '.join(missing)} at the X-Match service; it has: "
                f"{', '.join(table.colnames)}"
            )
        table = _only(table, [name for name in columns if name in table.colnames])
    return Pairs(found.local, remote, row, found.separation, table, np.inf, {"service": found.facts})
