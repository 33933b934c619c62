"""Candidate pairs of a match, from a table at hand or from the CDS, in one form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from astro_cluster.columns import require
from astro_cluster.exceptions import InputError
from astro_cluster.matching import cds, epochs
from astro_cluster.matching.answers import remote_identity
from astro_cluster.matching.join import split_coordinates
from astro_cluster.matching.local import close_pairs, nearest_pairs
from astro_cluster.matching.reference import LocalReference, RemoteReference
from astro_cluster.matching.simbad import one_name
from astro_cluster.positions import find_position, sky_coord
from astro_cluster.provenance import content_hash

__all__ = ["Pairs", "Sky", "find_sky", "pairs_at_hand", "pairs_of_service", "service_request"]

# SIMBAD gives its coordinates at this epoch, whatever the one of the measurement.
_KNOWN_EPOCHS = {"simbad": 2000.0}
_NEED_IDENTITY = ("best-remote", "best-symmetric")


@dataclass(slots=True)
class Sky:
    """A table and where its rows are.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Table of n rows.
    names : tuple of str
        Its position columns.
    coord : (n,) `~astropy.coordinates.SkyCoord`
        The positions.
    valid : (n,) array of bool
        Rows that have one.
    epoch : float, optional
        Julian year of the positions, if the caller gave it.
    """

    table: QTable
    names: tuple[str, ...]
    coord: SkyCoord
    valid: np.ndarray
    epoch: float | None


@dataclass(slots=True)
class Pairs:
    """All pairs within the radius, and the remote table that they point into.

    Parameters
    ----------
    local, remote : (m,) array of int
        Row of the local table, and number of the remote object.
    row : (m,) array of int
        Where the remote object stands in ``table``.
    separation : (m,) array of float
        In arcsec.
    table : `~astropy.table.QTable`
        The remote columns to bring.
    n_remote : float
        Rows of the whole remote table; infinity if unknown.
    inputs : list of str
        Local columns that were used.
    facts : dict
        For the record.
    here : (n,) `~astropy.coordinates.SkyCoord`, optional
        The local positions that were compared, at one epoch with the remote ones.
    there : (k,) `~astropy.coordinates.SkyCoord`, optional
        All remote positions, if they are at hand.
    there_valid : (k,) array of bool, optional
        Those that are known.
    probe : callable, optional
        Takes any positions and a radius, and returns the separation [arcsec] of the nearest remote
        object at each, infinity if there is none: how to learn of the rest of the remote
        table if it is not at hand.
    """

    local: np.ndarray
    remote: np.ndarray
    row: np.ndarray
    separation: np.ndarray
    table: QTable
    n_remote: float
    inputs: list[str]
    facts: dict[str, Any] = field(default_factory=dict)
    here: SkyCoord | None = None
    there: SkyCoord | None = None
    there_valid: np.ndarray | None = None
    probe: Callable[[SkyCoord, u.Quantity], np.ndarray] | None = None


def find_sky(table: QTable, position: str | Sequence[str] | None, epoch: float | None) -> Sky:
    """Return where the rows of a table are.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Table of n rows.
    position : (str, str) or str, optional
        As in `~astro_cluster.matching.find_position`.
    epoch : float, optional
        Julian year of the positions.

    Returns
    -------
    Sky

    Raises
    ------
    InputError
        If the table has no rows, no position columns, or no row with a position.

    Examples
    --------
    >>> find_sky(QTable({"ra": [10.0], "dec": [5.0]}), None, None).names
    ('ra', 'dec')
    """
    if not len(table):
        raise InputError("the table has no rows: there is nothing to match")
    names = find_position(table, position)
    coord, valid = sky_coord(table, names)
    if not valid.any():
        raise InputError(f"no row has a position: all values of {' and '.join(names)} are masked or NaN")
    return Sky(table, names, coord, valid, epoch)


def _at_one_epoch(
    local: Sky, remote: Sky | None, remote_epoch: float | None
) -> tuple[SkyCoord, SkyCoord | None, list[str], list[str], dict[str, Any]]:
    """Return both lists of positions at one epoch if there is a way, the columns used, and the facts."""
    there = None if remote is None else remote.coord
    nothing = (local.coord, there, list(local.names), list(remote.names) if remote else [], {})
    motion = epochs.find_motion(local.table, local.epoch)
    other = epochs.find_motion(None if remote is None else remote.table, remote_epoch)
    year = epochs.meeting_epoch(motion, other)
    if motion is None or other is None or year is None:
        return nothing
    here, moved = epochs.move(local.coord, motion, year)
    remote_moved = np.zeros(0, dtype=bool)
    if remote is not None:
        there, remote_moved = epochs.move(remote.coord, other, year)
    facts = {
        "local": motion.year,
        "reference": other.year,
        "compared_at": year,
        "rows_moved": int(moved.sum()),
        "reference_rows_moved": int(remote_moved.sum()),
    }
    inputs = [*local.names, *motion.columns]
    return here, there, inputs, [*(remote.names if remote else ()), *other.columns], {"epochs": facts}


def _only(table: QTable, names: list[str]) -> QTable:
    return table[names] if names else QTable()  # indexing with no names would take all


def pairs_at_hand(
    sky: Sky,
    target: LocalReference,
    radius: u.Quantity,
    *,
    columns: list[str] | None,
    position: str | Sequence[str] | None,
    epoch: float | None,
    nearest: bool = False,
) -> Pairs:
    """Return the pairs of two tables at hand.

    Parameters
    ----------
    sky : Sky
        The local table.
    target : LocalReference
        The other one.
    radius : `~astropy.units.Quantity` [angle]
        Largest separation.
    columns : list of str, optional
        Its columns to bring; all if not given.
    position : (str, str) or str, optional
        Its position columns.
    epoch : float, optional
        Julian year of its positions.
    nearest : bool, optional
        Of each local row the nearest pair only.

    Returns
    -------
    Pairs

    Raises
    ------
    InputError
        If the reference has no such columns, no rows or no positions.

    Examples
    --------
    >>> table = QTable({"ra": [10.0], "dec": [5.0]})
    >>> pairs = pairs_at_hand(find_sky(table, None, None), LocalReference(table, "itself"), 1 * u.arcsec,
    ...                       columns=None, position=None, epoch=None)
    >>> pairs.local, pairs.remote
    (array([0]), array([0]))
    """
    options: dict[str, Any] = {"columns": columns, "position": position, "epoch": epoch, "nearest": nearest}
    if not isinstance(target.table, QTable):  # it does not fit in memory
        from astro_cluster.matching.streamed import pairs_of_file

        return pairs_of_file(sky, target.table, target.name, radius, **options)
    table = target.table
    brought = table.colnames if columns is None else require(table, columns)
    try:
        remote = find_sky(table, position, epoch)
    except InputError as error:
        raise InputError(f"in the reference ({target.name}): {error} (here reference_position=)") from error
    here, there, inputs, used, facts = _at_one_epoch(sky, remote, epoch)
    known = {"valid": sky.valid, "remote_valid": remote.valid}
    if nearest:
        i, j, separation, facts["pairs_within_radius"] = nearest_pairs(here, there, radius, **known)
    else:
        i, j, separation = close_pairs(here, there, radius, **known)
    hashed = list(dict.fromkeys([*brought, *used]))
    facts["reference"] = {"name": target.name, "rows": len(table), "hash": content_hash(table, hashed)}
    remote_table = split_coordinates(_only(table, brought))
    found = Pairs(i, j, j, separation, remote_table, len(table), inputs, facts)
    found.here, found.there, found.there_valid = here, there, remote.valid
    return found


def service_request(
    sky: Sky,
    target: RemoteReference,
    radius: u.Quantity,
    *,
    find: str,
    columns: list[str] | None,
    epoch: float | None,
    chunk_rows: int,
) -> tuple[dict[str, Any], list[str], dict[str, Any]]:
    """Return what to ask the CDS for.

    Parameters
    ----------
    sky, target, radius, find, columns, epoch, chunk_rows
        As in `~astro_cluster.matching.crossmatch`, checked.

    Returns
    -------
    request : dict
        Arguments of `~astro_cluster.matching.cds.fetch_pairs`, but for ``cache``.
    inputs : list of str
        Local columns that were used.
    facts : dict
        For the record.

    Examples
    --------
    >>> sky = find_sky(QTable({"ra": [10.0], "dec": [5.0]}), None, None)
    >>> request, inputs, facts = service_request(sky, RemoteReference("simbad"), 1 * u.arcsec,
    ...                                          find="each", columns=None, epoch=None, chunk_rows=10)
    >>> request["selection"]
    'best'
    """
    epoch = _KNOWN_EPOCHS.get(target.name) if epoch is None else epoch
    coord, _, inputs, _, facts = _at_one_epoch(sky, None, epoch)
    # Which remote row is which can only be told from all its columns.
    needs_identity = find in _NEED_IDENTITY
    request = {
        "coord": coord,
        "valid": sky.valid,
        "reference": target.name,
        "radius": radius,
        "columns": None if needs_identity else columns,
        "selection": "all" if needs_identity or find == "all" else "best",
        "chunk_rows": chunk_rows,
    }
    return request, inputs, facts


def pairs_of_service(request: dict[str, Any], *, find: str, columns: list[str] | None, cache: bool) -> Pairs:
    """Return the pairs that the CDS X-Match service finds.

    Parameters
    ----------
    request : dict
        What `service_request` gives.
    find : str
        The find mode.
    columns : list of str, optional
        Remote columns to bring; all if not given.
    cache : bool
        Whether answers are kept on disk, and kept ones are used.

    Returns
    -------
    Pairs
        ``inputs`` is empty.

    Raises
    ------
    InputError
        If the service has no such columns.
    ServiceError
        If it gives no good answer.
    """
    found = cds.fetch_pairs(**request, cache=cache)
    table, n_pairs = found.table, len(found.local)
    row = np.arange(n_pairs)
    remote = remote_identity(table) if find in _NEED_IDENTITY and table.colnames else row
    if columns is not None and request["reference"] == "simbad":
        columns = list(dict.fromkeys(map(one_name, columns)))  # as the answer has them
    if columns is not None:
        missing = [name for name in columns if name not in table.colnames]
        if missing and n_pairs:
            raise InputError(
                f"{request['reference']} has no column {', '.join(missing)} at the CDS X-Match service. "
                f"It has: {', '.join(table.colnames)}"
            )
        table = _only(table, [name for name in columns if name in table.colnames])
    facts = {"service": found.facts}
    pairs = Pairs(found.local, remote, row, found.separation, table, np.inf, [], facts)
    pairs.here = request["coord"]
    pairs.probe = lambda coord, radius: _nearest_at(request, coord, radius, cache=cache)
    return pairs


def _nearest_at(request: dict[str, Any], coord: SkyCoord, radius: u.Quantity, *, cache: bool) -> np.ndarray:
    """Ask the service, in one request, for the separation of the nearest object at some positions."""
    question = request | {"coord": coord, "valid": np.ones(len(coord), dtype=bool), "radius": radius}
    found = cds.fetch_pairs(**question | {"selection": "best", "chunk_rows": len(coord)}, cache=cache)
    nearest = np.full(len(coord), np.inf)
    np.minimum.at(nearest, found.local, found.separation)
    return nearest
