"""The step `crossmatch`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table
from astropy.time import Time

from astro_cluster.columns import require
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.matching import epochs
from astro_cluster.matching.associating import associate_pairs, widest_radius
from astro_cluster.matching.candidates import Pairs, Sky, find_sky
from astro_cluster.matching.find import check_mode, keeps_rows, select_pairs
from astro_cluster.matching.gathering import Sought, first_request, gather_pairs
from astro_cluster.matching.join import check_separation, join, judgement_name, output_names
from astro_cluster.matching.reference import TapReference, find_reference
from astro_cluster.matching.verdicts import (
    ByErrors,
    Judged,
    check_method,
    judged_by_chance,
    judged_by_errors,
)
from astro_cluster.provenance import Step, step
from astro_cluster.tables import as_qtable

__all__ = ["crossmatch"]


def _check_radius(radius: Any) -> u.Quantity:
    if radius is None:
        return 1 * u.arcsec
    if not isinstance(radius, u.Quantity):
        raise InputError(f"radius={radius!r} has no unit: give a Quantity such as 1 * u.arcsec")
    if not radius.isscalar or not radius.unit.is_equivalent(u.deg):
        raise InputError(f"radius={radius} is not one angle: give a Quantity such as 1 * u.arcsec")
    if not 0 < radius.to_value(u.deg) <= 180:
        raise InputError(f"radius={radius} must be larger than zero and at most 180 deg")
    return radius


def _check_chunk(chunk_rows: int | None) -> int | None:
    if chunk_rows is None:
        return None
    if not isinstance(chunk_rows, (int, np.integer)) or isinstance(chunk_rows, bool) or chunk_rows < 1:
        raise InputError(f"chunk_rows={chunk_rows!r} must be a whole number of at least 1")
    return int(chunk_rows)


def _column_list(columns: Sequence[str] | None) -> list[str] | None:
    return [columns] if isinstance(columns, str) else None if columns is None else list(columns)


def _warn(message: str) -> None:
    warnings.warn(message, AstroClusterWarning, stacklevel=4)


def _assemble(
    source: QTable, pairs: Pairs, judged: Judged, find: str, suffix: str, separation: str, where: str
) -> tuple[QTable, np.ndarray]:
    """Apply the find mode and make the joined table; return it and the pairs that it has."""
    chosen = select_pairs(
        find, pairs.local, pairs.remote, judged.score, n_local=len(source), n_remote=pairs.n_remote
    )
    if judged.kept is not None:
        # -1 (no pair) points at the appended element, so that it stays -1 (no row).
        stays = np.append(judged.kept[pairs.local], False)[chosen]
        chosen = np.where(stays, chosen, -1) if keeps_rows(find) else chosen[stays]
    brought = [] if find == "each-dist" else pairs.table.colnames
    beside = [judgement_name(key, separation) for key in (*judged.of_pair, *judged.of_row)]
    names = output_names(
        [name for name in source.colnames if name not in (separation, *beside)],
        brought,
        suffix=suffix,
        separation=separation,
        beside=beside,
    )
    row = np.append(pairs.row, -1)[chosen]
    arcsec = np.append(pairs.separation, np.nan)[chosen]
    local_rows = None if keeps_rows(find) else pairs.local[chosen]
    columns = {key: np.append(values, np.nan)[chosen] for key, values in judged.of_pair.items()}
    columns |= {k: v if local_rows is None else v[local_rows] for k, v in judged.of_row.items()}
    out = join(
        source,
        local_rows,
        pairs.table,
        row,
        arcsec,
        names=names,
        separation_name=separation,
        reference=where,
        judged=columns,
    )
    return out, chosen[chosen >= 0]


def _judge_by_errors(
    sky: Sky, target: Any, radius: u.Quantity | None, sought: Sought, wanted: ByErrors
) -> tuple[Pairs, Judged]:
    """Return the candidates and what the errors of positions say of each."""
    errors, other = wanted.read(sky, target, sought.position)
    trim = radius is None
    if radius is None:
        if other is None:
            raise InputError(
                "give a radius (radius=5 * u.arcsec, on the command line --radius 5arcsec): the errors of a "
                "reference at a service, or in a file that does not fit in memory, are not known before"
            )
        radius = widest_radius(sky, errors, other)
    # All candidates are needed, and all columns, for the errors are among them.
    mode = sought.find if sought.find in ("best-remote", "best-symmetric") else "all"
    pairs = gather_pairs(sky, target, radius, replace(sought, find=mode, columns=None))
    found = associate_pairs(
        pairs,
        sky,
        radius,
        errors=errors,
        other=wanted.of_answer(pairs) if other is None else other,
        completeness=wanted.completeness,
        trim=trim,
    )
    pairs = found.pairs
    pairs.inputs = list(dict.fromkeys([*pairs.inputs, *errors.columns]))
    if sought.columns is not None:
        names = require(pairs.table, sought.columns) if len(pairs.table.colnames) else []
        pairs.table = pairs.table[names] if names else QTable()
    return pairs, judged_by_errors(found, sought.find, wanted.max_p_none)


@step
def crossmatch(
    table: QTable | Table | str | os.PathLike[str],
    reference: QTable | Table | str | os.PathLike[str],
    *,
    radius: u.Quantity | None = None,
    find: str = "each",
    method: str = "nearest",
    columns: Sequence[str] | None = None,
    position: str | Sequence[str] | None = None,
    reference_position: str | Sequence[str] | None = None,
    suffix: str = "_2",
    separation: str = "match_separation",
    epoch: Time | float | None = None,
    reference_epoch: Time | float | None = None,
    false_matches: bool | None = None,
    position_error: str | Sequence[str] | u.Quantity | None = None,
    reference_position_error: str | Sequence[str] | u.Quantity | None = None,
    completeness: float | None = None,
    max_p_none: float | None = None,
    via: str | None = None,
    service_table: str | None = None,
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
        by the CDS X-Match service.  A table of any TAP service is given as
        ``"https://host/tap#schema.table"``, ``"ivo://authority/name#schema.table"`` (looked up
        in the registry) or a `pyvo.dal.TAPService` and ``service_table``.  Services get row
        numbers and positions, nothing else.
    radius : `~astropy.units.Quantity` [angle], optional
        Largest separation, itself included; at most 180 arcsec at the CDS.  1 arcsec if not given;
        with ``method="bayes"`` and a table at hand, five times the standard error of each pair.
    find : {"each", "best", "all", "best-remote", "each-dist", "best-symmetric"}, optional
        Which pairs within the radius make a row of the result:

        - ``each``: the rows of the table, all and in their order, each with its nearest
          remote row; masked where there is none;
        - ``each-dist``: the same with the separation and what judges it only;
        - ``best``: as ``each``, rows without counterpart left out;
        - ``all``: every pair;
        - ``best-remote``: for each remote row its nearest local row;
        - ``best-symmetric``: the nearest for each row of the larger table, then of these
          pairs the nearest for each row of the other (``best`` of ``tskymatch2``).  A
          catalogue at the CDS counts as the larger.

        With ``method="bayes"`` read 'most probable' for 'nearest'.
    method : {"nearest", "bayes"}, optional
        Whether the separation decides, or the errors of both positions together with how
        crowded the reference is there.
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
    false_matches : bool, optional
        Whether to tell how many counterparts are there by chance: in the record, and for each
        in ``match_p_false``.  By default yes; a service is asked for it once more, for
        ``conf.false_match_rows`` positions, and a failure of that is only warned of.
    position_error, reference_position_error : str, sequence of str or Quantity [angle], optional
        Standard errors of the positions, for ``method="bayes"``: one column, two (towards right
        ascension and declination), three (these and their correlation; or the half axes and the
        angle of an ellipse), or one angle for all rows.  If not given they are found by name and
        UCD, as Gaia, VizieR, SIMBAD and the Chandra Source Catalog have them.
    completeness : float, optional
        Share of the rows that have a counterpart, for ``method="bayes"``; the likeliest if not
        given.
    max_p_none : float, optional
        A row that has no counterpart with more than this probability gets none, in every find
        mode but ``all``; 0.5 if not given, 1 for none to be left out.  For ``method="bayes"``.
    via : {"local", "cds", "tap"}, optional
        Needed only if ``reference`` is both a file and a catalogue, or to match with SIMBAD or
        VizieR by TAP rather than by the CDS X-Match service.
    service_table : str, optional
        The table, if ``reference`` is a TAP service that does not name one.
    chunk_rows : int, optional
        Local rows in one request to a service; ``conf.xmatch_chunk_rows`` or
        ``conf.tap_chunk_rows`` if not given.
    cache : bool, optional
        Keep the answers of services on disk (``conf.cache_dir``), so that a match goes on
        where it was interrupted, and take kept ones.  They do not expire: the record tells
        their day, and ``cache=False`` asks anew.
    get_query_payload : bool, optional
        Return the first request to the service as a dict, unsent.
    overwrite : bool, optional
        Allow the replacement of a separation column.

    Returns
    -------
    `~astropy.table.QTable`
        Local columns, then remote ones, then the separation [arcsec] and ``match_p_false``, the
        probability that the counterpart is there by chance; with ``method="bayes"`` instead of
        it ``match_p``, the probability that it is the right one, and ``match_p_none``, that no
        object is.  They are called after the separation: ``gaia_p_false`` beside
        ``gaia_separation``.  SkyCoord columns of the reference come as two columns of degrees.

    Raises
    ------
    InputError
        If the reference is unknown, a table is empty or has no positions, a parameter is
        out of its range, or column names would meet.
    ServiceError
        If the service cannot be reached, refuses, or gives no good answer.

    Warns
    -----
    AstroClusterWarning
        If nothing matches at all, or two epochs were given and nothing could be moved.

    Notes
    -----
    Of two equally close counterparts the one that stands first is taken.

    ``match_p_false`` is the density of unrelated objects around the row over that of all objects
    at this separation: de Ruiter, Willis & Arp (1977, A&AS 28, 211), with the distribution of true
    counterparts taken from the data.  Its sum over the rows that have a counterpart is the
    number of false ones to expect.  ``match_p`` is that of Budavári & Szalay (2008, ApJ 679, 301),
    for one counterpart or none (Sutherland & Saunders 1992, MNRAS 259, 413).

    Examples
    --------
    >>> stars = QTable({"ra": [10.0, 20.0] * u.deg, "dec": [0.0, 0.0] * u.deg})
    >>> names = QTable({"ra": [20.0001] * u.deg, "dec": [0.0] * u.deg, "name": ["TX Psc"]})
    >>> out = crossmatch(stars, names, radius=1 * u.arcsec, columns=["name"])
    >>> out["name"].tolist(), out["match_separation"].unmasked.round(2)
    ([None, 'TX Psc'], <Quantity [ nan, 0.36] arcsec>)
    """
    check_mode(find)
    wanted = check_method(
        method,
        false_matches=false_matches,
        position_error=position_error,
        reference_position_error=reference_position_error,
        completeness=completeness,
        max_p_none=max_p_none,
    )
    radius = None if radius is None and wanted else _check_radius(radius)
    year = epochs.julian_year(epoch)
    reference_year = epochs.julian_year(reference_epoch, name="reference_epoch")
    sought = Sought(
        find, _column_list(columns), reference_position, reference_year, _check_chunk(chunk_rows), cache
    )
    source = as_qtable(table)
    keys = ("match_p", "match_p_none") if wanted else ("match_p_false",) * (false_matches is not False)
    beside = [judgement_name(key, separation) for key in keys]
    check_separation(source, separation, beside=beside, overwrite=overwrite)
    target = find_reference(reference, via, service_table)
    sky = find_sky(source, position, year)
    if get_query_payload:
        shown = replace(sought, find="all", columns=None) if wanted else sought
        return first_request(sky, target, _check_radius(radius), shown)  # type: ignore[return-value]
    if wanted:
        pairs, judged = _judge_by_errors(sky, target, radius, sought, wanted)
    else:
        assert radius is not None  # noqa: S101
        pairs = gather_pairs(sky, target, radius, sought)
        judged = judged_by_chance(pairs, sky.valid, radius, find, wanted=false_matches)
    if None not in (year, reference_year) and year != reference_year and "epochs" not in pairs.facts:
        _warn(
            "two epochs were given and no position was moved: there are no proper motions (columns pmra and "
            "pmdec, or UCD pos.pm;pos.eq.ra and pos.pm;pos.eq.dec)"
        )
    if not len(pairs.local):
        within = "five times the errors of positions" if radius is None else radius
        _warn(
            f"no row has a counterpart within {within} in {target.name}: are {' and '.join(sky.names)} the "
            "right columns, in degrees, and is the radius large enough (and the epoch known, where stars "
            "move: epoch=, --epoch)?"
        )
    out, kept = _assemble(source, pairs, judged, find, suffix, separation, target.name)
    facts = {"pairs_within_radius": len(pairs.local), **pairs.facts, **judged.facts_of(kept)}
    if not keeps_rows(find):
        facts["row_order"] = "changed"
    parameters: dict[str, Any] = {"radius": radius, "epoch": year, "reference_epoch": reference_year}
    if isinstance(target, TapReference) and not isinstance(reference, str):  # what a file can keep
        parameters |= {"reference": target.url, "service_table": target.table}
    return Step(out, source=source, inputs=pairs.inputs, facts=facts, parameters=parameters)
