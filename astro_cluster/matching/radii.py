"""The step `choose_radius`: how many matches are true and false, radius by radius."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from astropy.time import Time

from astro_cluster.columns import add_column
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.matching import epochs
from astro_cluster.matching.background import Background, background_at_hand, nearest_at_hand
from astro_cluster.matching.candidates import Pairs, find_sky
from astro_cluster.matching.chance import cap_area, expected_by_density, expected_by_shift
from astro_cluster.matching.gathering import Sought, gather_pairs
from astro_cluster.matching.judging import background_of, nearest_areas
from astro_cluster.matching.reference import LocalReference, TapReference, find_reference
from astro_cluster.provenance import Step, step
from astro_cluster.tables import as_qtable

__all__ = ["choose_radius"]

_STEPS = 40
_WIDEST = 60.0  # arcsec
_AT_SERVICES = 10.0


def _check_radii(radii: Any) -> u.Quantity | None:
    if radii is None:
        return None
    if not isinstance(radii, u.Quantity) or not radii.unit.is_equivalent(u.deg):
        raise InputError(
            f"radii={radii!r} are no angles: give a Quantity such as np.linspace(0.1, 5, 50) * u.arcsec"
        )
    values = np.unique(np.atleast_1d(radii).to_value(u.arcsec).ravel())
    if not len(values) or not np.all(np.isfinite(values)) or values[0] <= 0 or values[-1] > 180 * 3600:
        raise InputError("radii must be larger than zero and at most 180 deg")
    return values * u.arcsec


def _check_share(max_false: float | None) -> None:
    if max_false is None:
        return
    number = isinstance(max_false, (int, float, np.number)) and not isinstance(max_false, bool)
    if not number or not 0 < max_false < 1:
        raise InputError(
            f"max_false={max_false!r} is no share of false matches: give a number between 0 and 1, say 0.05"
        )


def _grid(here: SkyCoord, there: SkyCoord, valid: np.ndarray, there_valid: np.ndarray) -> u.Quantity:
    """Return radii from the first counterparts to where every other row has one by chance."""
    tiny = 1 * u.mas
    density = background_at_hand(here, there, tiny, valid=valid, remote_valid=there_valid).density[valid]
    # ln 2 objects are expected within it.
    widest = min(float(np.sqrt(np.log(2) / np.pi / np.median(density))), _WIDEST)
    nearest = nearest_at_hand(here, there, valid=valid, remote_valid=there_valid)
    within = nearest[nearest <= widest]
    least = float(np.quantile(within, 0.05)) if len(within) else widest / 10
    return np.geomspace(np.clip(least, widest / 1000, widest / 10), widest, _STEPS) * u.arcsec


def _of_reference(target: LocalReference, position: Any, epoch: float | None) -> Any:
    if not isinstance(target.table, QTable):
        raise InputError(f"{target.name} does not fit in memory: give the radii (radii=…)")
    try:
        return find_sky(target.table, position, epoch)
    except InputError as error:
        raise InputError(f"in the reference ({target.name}): {error} (here reference_position=)") from error


def _curve(pairs: Pairs, background: Background, valid: np.ndarray, radii: u.Quantity) -> QTable:
    limits = cap_area(radii.to_value(u.arcsec))
    area = nearest_areas(pairs, len(valid))[valid]
    density = background.density[valid]
    by_density = expected_by_density(area, density, limits)
    false = by_density * background.correction(float(limits[-1]))
    # A nanoarcsecond of rounding is no reason to leave out a pair at the radius itself.
    matched = np.searchsorted(np.sort(area), limits * (1 + 1e-9), side="right")
    false = np.minimum(false, matched)
    out = QTable()
    add_column(out, "radius", radii)
    add_column(out, "matched", matched)
    add_column(out, "false", false)
    add_column(out, "false_spread", np.sqrt(false))
    add_column(out, "false_fraction", np.where(matched > 0, false / np.maximum(matched, 1), 0.0))
    add_column(out, "false_by_density", by_density)
    moved = len(background.shifted) > 0
    by_shift = expected_by_shift(area, background.shifted, limits) if moved else np.zeros(len(limits))
    add_column(out, "false_by_shift", by_shift, mask=np.full(len(limits), not moved))
    true = matched - false
    add_column(out, "true", true)
    add_column(out, "completeness", true / max(true.max(), 1e-300))
    return out


def _best(curve: QTable, max_false: float | None) -> tuple[int, str]:
    """Return the row of the radius that the rule prefers, and the rule."""
    matched, false = np.asarray(curve["matched"]), np.asarray(curve["false"])
    if max_false is None:
        net = matched - 2 * false
        best = int(np.argmax(net))
        # What a wider radius gains over a smaller one has to be more than the scatter of it.
        enough = net[best] - net <= np.sqrt(np.maximum(matched[best] - matched, 0))
        return int(np.argmax(enough)), "most true matches less false ones, within the error"
    rule = f"the largest with at most {max_false:.3g} of the matches false"
    fine = np.flatnonzero((np.asarray(curve["false_fraction"]) <= max_false) & (matched > 0))
    if not len(fine):
        warnings.warn(
            f"no radius has at most {max_false:.3g} of its matches false; the smallest is taken: give "
            "smaller radii, or a larger max_false",
            AstroClusterWarning,
            stacklevel=4,
        )
        return 0, rule
    return int(fine[-1]), rule


@step
def choose_radius(
    table: QTable | Table | str | os.PathLike[str],
    reference: QTable | Table | str | os.PathLike[str],
    *,
    radii: u.Quantity | None = None,
    max_false: float | None = None,
    position: Any = None,
    reference_position: Any = None,
    epoch: Time | float | None = None,
    reference_epoch: Time | float | None = None,
    via: str | None = None,
    service_table: str | None = None,
    cache: bool = True,
) -> Step:
    """Tell how many matches with another catalogue are true and how many false, radius by radius.

    Parameters
    ----------
    table, reference : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        As in `crossmatch`.
    radii : `~astropy.units.Quantity` [angle], optional
        Radii to look at.  If not given, 40 between where the first counterparts are and where
        chance alone finds one for every other row, at most 60 arcsec; of a service up to 10 arcsec.
    max_false : float, optional
        Largest share of false matches.  The preferred radius is the largest that keeps to it;
        if not given, the one with the most true matches less false ones, beyond which a further
        counterpart is more likely false than true; of radii that differ in that by no more than
        the scatter of the matches between them, the smallest.
    position, reference_position, epoch, reference_epoch, via, service_table, cache : optional
        As in `crossmatch`.

    Returns
    -------
    `~astropy.table.QTable`
        A row for each radius: ``radius`` [arcsec], ``matched`` (rows with a counterpart), ``false`` (how
        many of their nearest counterparts are expected to be there by chance), ``false_spread`` (the
        Poisson scatter of that number), ``false_fraction``, ``false_by_density`` and
        ``false_by_shift`` (what the local density alone and moved positions say), ``true`` (matched
        less false) and ``completeness`` (true over the most true).  The preferred radius is
        ``meta["radius"]`` [arcsec], and in words ``meta["verdict"]``.

    Raises
    ------
    InputError
        If the tables or parameters are such as `crossmatch` refuses, or the number of false
        matches cannot be told.
    ServiceError
        If a service gives no good answer.

    Notes
    -----
    As in `crossmatch`, whose ``match_p_false`` adds up to ``false``.  Positions are moved by at least
    five times the largest radius, in eight directions.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> cat = ac.simulate.chandra(2000, random_state=1)
    >>> curve = choose_radius(cat, ac.simulate.simbad(cat), radii=[0.3, 1, 3] * u.arcsec)
    >>> curve["matched"].tolist()
    [711, 1797, 1803]
    """
    wanted = _check_radii(radii)
    _check_share(max_false)
    year = epochs.julian_year(epoch)
    reference_year = epochs.julian_year(reference_epoch, name="reference_epoch")
    source = as_qtable(table)
    target = find_reference(reference, via, service_table)
    sky = find_sky(source, position, year)
    at_hand = isinstance(target, LocalReference)
    if wanted is None and at_hand:
        remote = _of_reference(target, reference_position, reference_year)
        wanted = _grid(sky.coord, remote.coord, sky.valid, remote.valid)
    elif wanted is None:
        wanted = np.geomspace(_AT_SERVICES / 100, _AT_SERVICES, _STEPS) * u.arcsec
    sought = Sought("each-dist", [] if at_hand else None, reference_position, reference_year, None, cache)
    pairs = gather_pairs(sky, target, wanted[-1], sought)
    background = background_of(pairs, sky.valid, wanted[-1], strict=True)
    if background is None:
        raise InputError(
            "how crowded the reference is cannot be asked: set conf.false_match_rows to 2000, say, or match "
            "with a table at hand"
        )
    out = _curve(pairs, background, sky.valid, wanted)
    row, rule = _best(out, max_false)
    out.meta["radius"] = float(out["radius"][row].to_value(u.arcsec))
    out.meta["rows"] = int(np.count_nonzero(sky.valid))
    out.meta["verdict"] = (
        f"{out.meta['radius']:.4g} arcsec: {int(out['matched'][row]):,} of {out.meta['rows']:,} rows have a "
        f"counterpart, {float(out['false'][row]):,.1f} ± {float(out['false_spread'][row]):.1f} of these by "
        f"chance ({rule})"
    )
    facts = {**pairs.facts, **background.facts, "radius": out.meta["radius"], "row_order": "changed"}
    parameters: dict[str, Any] = {"radii": wanted, "epoch": year, "reference_epoch": reference_year}
    if isinstance(target, TapReference) and not isinstance(reference, str):
        parameters |= {"reference": target.url, "service_table": target.table}
    return Step(out, source, inputs=pairs.inputs, facts=facts, parameters=parameters)
