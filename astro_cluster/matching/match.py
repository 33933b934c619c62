"""The step `crossmatch`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table
from astropy.time import Time

from astro_cluster.config import conf
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.matching import cds, epochs
from astro_cluster.matching.candidates import (
    Pairs,
    find_sky,
    pairs_at_hand,
    pairs_of_service,
    service_request,
)
from astro_cluster.matching.find import check_mode, keeps_rows, select_pairs
from astro_cluster.matching.join import check_separation, join, output_names
from astro_cluster.matching.reference import LocalReference, find_reference
from astro_cluster.provenance import Step, step
from astro_cluster.tables import as_qtable

__all__ = ["crossmatch"]


def _check_radius(radius: Any) -> u.Quantity:
    if not isinstance(radius, u.Quantity):
        raise InputError(f"radius={radius!r} has no unit: give a Quantity such as 1 * u.arcsec")
    if not radius.isscalar or not radius.unit.is_equivalent(u.deg):
        raise InputError(f"radius={radius} is not one angle: give a Quantity such as 1 * u.arcsec")
    if not 0 < radius.to_value(u.deg) <= 180:
        raise InputError(f"radius={radius} must be larger than zero and at most 180 deg")
    return radius


def _check_chunk(chunk_rows: int | None) -> int:
    if chunk_rows is None:
        return int(conf.xmatch_chunk_rows)
    if not isinstance(chunk_rows, (int, np.integer)) or isinstance(chunk_rows, bool) or chunk_rows < 1:
        raise InputError(f"chunk_rows={chunk_rows!r} must be a whole number of at least 1")
    return int(chunk_rows)


def _column_list(columns: Sequence[str] | None) -> list[str] | None:
    return [columns] if isinstance(columns, str) else None if columns is None else list(columns)


def _warn(message: str) -> None:
    warnings.warn(message, AstroClusterWarning, stacklevel=4)


def _assemble(source: QTable, pairs: Pairs, find: str, suffix: str, separation: str, where: str) -> QTable:
    """Apply the find mode and make the joined table."""
    chosen = select_pairs(
        find, pairs.local, pairs.remote, pairs.separation, n_local=len(source), n_remote=pairs.n_remote
    )
    brought = [] if find == "each-dist" else pairs.table.colnames
    names = output_names(
        [n for n in source.colnames if n != separation], brought, suffix=suffix, separation=separation
    )
    # -1 (no pair) points at the appended element, so that it stays -1 (no row).
    row = np.append(pairs.row, -1)[chosen]
    arcsec = np.append(pairs.separation, np.nan)[chosen]
    local_rows = None if keeps_rows(find) else pairs.local[chosen]
    return join(
        source, local_rows, pairs.table, row, arcsec, names=names, separation_name=separation, reference=where
    )


@step
def crossmatch(
    table: QTable | Table | str | os.PathLike[str],
    reference: QTable | Table | str | os.PathLike[str],
    *,
    radius: u.Quantity = 1 * u.arcsec,
    find: str = "each",
    columns: Sequence[str] | None = None,
    position: str | Sequence[str] | None = None,
    reference_position: str | Sequence[str] | None = None,
    suffix: str = "_2",
    separation: str = "match_separation",
    epoch: Time | float | None = None,
    reference_epoch: Time | float | None = None,
    via: str | None = None,
    chunk_rows: int | None = None,
    cache: bool = True,
    get_query_payload: bool = False,
    overwrite: bool = False,
) -> Step:
    """Find the counterparts of the rows of a table in another catalogue, by position.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        The local table, of n rows.
    reference : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        What to match with: a table, a file, ``"simbad"``, or a VizieR table such as
        ``"vizier:I/355/gaiadr3"`` (``vizier:`` may be left out).  The last two are matched
        by the CDS X-Match service, which gets row numbers and positions, nothing else.
    radius : `~astropy.units.Quantity` [angle], optional
        Largest separation, itself included; at most 180 arcsec at the CDS.
    find : {"each", "best", "all", "best-remote", "each-dist", "best-symmetric"}, optional
        Which pairs within the radius make a row of the result:

        - ``each``: the rows of the table, all and in their order, each with its nearest
          remote row; masked where there is none;
        - ``each-dist``: the same with the separation only;
        - ``best``: as ``each``, rows without counterpart left out;
        - ``all``: every pair;
        - ``best-remote``: for each remote row its nearest local row;
        - ``best-symmetric``: the nearest for each row of the larger table, then of these
          pairs the nearest for each row of the other (``best`` of ``tskymatch2``).  A
          catalogue at the CDS counts as the larger.
    columns : sequence of str, optional
        Remote columns to bring; all if not given.
    position, reference_position : (str, str) or str, optional
        Columns of the positions, or one SkyCoord column, in the table and in a reference
        at hand; found by UCD and by the usual names if not given (`find_position`).
    suffix : str, optional
        Put behind a remote name that the table has too.  Local names never change.
    separation : str, optional
        Name of the separation column, so that a table can be matched several times.
    epoch, reference_epoch : `~astropy.time.Time` or float, optional
        Epoch of the positions, as a Julian year.  A column ``ref_epoch`` tells it too, and
        SIMBAD's is 2000.  Where both are known, differ, and there are proper motions, the
        positions are compared at one epoch: the reference's if the table has proper
        motions, else the table's.  No position column changes.
    via : {"local", "cds"}, optional
        Needed only if ``reference`` is both a file and a catalogue.
    chunk_rows : int, optional
        Local rows in one request to the CDS; ``conf.xmatch_chunk_rows`` if not given.
    cache : bool, optional
        Keep the answers of the CDS on disk (``conf.cache_dir``), so that a match goes on
        where it was interrupted, and take kept ones.  They do not expire: the record tells
        their day, and ``cache=False`` asks anew.
    get_query_payload : bool, optional
        Return the first request to the CDS as a dict, unsent.
    overwrite : bool, optional
        Allow the replacement of a separation column.

    Returns
    -------
    `~astropy.table.QTable`
        Local columns, then remote ones, then the separation [arcsec].  SkyCoord columns
        of the reference come as two columns of degrees.

    Raises
    ------
    InputError
        If the reference is unknown, a table is empty or has no positions, a parameter is
        out of its range, or column names would meet.
    ServiceError
        If the CDS cannot be reached, refuses, or gives no good answer.

    Warns
    -----
    AstroClusterWarning
        If nothing matches at all, or two epochs were given and nothing could be moved.

    Notes
    -----
    Of two equally close counterparts the one that stands first is taken.

    Examples
    --------
    >>> stars = QTable({"ra": [10.0, 20.0] * u.deg, "dec": [0.0, 0.0] * u.deg})
    >>> names = QTable({"ra": [20.0001] * u.deg, "dec": [0.0] * u.deg, "name": ["TX Psc"]})
    >>> out = crossmatch(stars, names, radius=1 * u.arcsec, columns=["name"])
    >>> out["name"].tolist(), out["match_separation"].unmasked.round(2)
    ([None, 'TX Psc'], <Quantity [ nan, 0.36] arcsec>)
    """
    check_mode(find)
    radius, chunk_rows, wanted = _check_radius(radius), _check_chunk(chunk_rows), _column_list(columns)
    year = epochs.julian_year(epoch)
    reference_year = epochs.julian_year(reference_epoch, name="reference_epoch")
    source = as_qtable(table)
    check_separation(source, separation, overwrite=overwrite)
    target = find_reference(reference, via)
    sky = find_sky(source, position, year)
    if isinstance(target, LocalReference):
        if get_query_payload:
            raise InputError("get_query_payload shows a request to the CDS; a match at hand sends none")
        pairs = pairs_at_hand(
            sky, target, radius, columns=wanted, position=reference_position, epoch=reference_year
        )
    else:
        if reference_position is not None:
            raise InputError(
                f"the service knows the positions of {target.name}: leave reference_position out"
            )
        request, inputs, facts = service_request(
            sky, target, radius, find=find, columns=wanted, epoch=reference_year, chunk_rows=chunk_rows
        )
        if get_query_payload:
            return cds.first_question(**request)  # type: ignore[return-value]
        pairs = pairs_of_service(request, find=find, columns=wanted, cache=cache)
        pairs.inputs = inputs
        pairs.facts.update(facts)
    if None not in (year, reference_year) and year != reference_year and "epochs" not in pairs.facts:
        _warn(
            "two epochs were given and no position was moved: there are no proper motions (columns pmra and "
            "pmdec, or UCD pos.pm;pos.eq.ra and pos.pm;pos.eq.dec)"
        )
    if not len(pairs.local):
        _warn(
            f"no row has a counterpart within {radius} in {target.name}: are {' and '.join(sky.names)} the "
            "right columns, in degrees, and is the radius large enough (and the epoch known, where stars "
            "move: epoch=, --epoch)?"
        )
    out = _assemble(source, pairs, find, suffix, separation, target.name)
    facts = {"pairs_within_radius": len(pairs.local), **pairs.facts}
    if not keeps_rows(find):
        facts["row_order"] = "changed"
    parameters = {"epoch": year, "reference_epoch": reference_year}
    return Step(out, source=source, inputs=pairs.inputs, facts=facts, parameters=parameters)
