"""Pairs judged: how many are false, which, and what the errors of positions say of each."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u

from astro_cluster.config import conf
from astro_cluster.exceptions import AstroClusterWarning, ServiceError
from astro_cluster.matching.background import Background, background_at_hand, background_by_asking
from astro_cluster.matching.candidates import Pairs
from astro_cluster.matching.chance import (
    Hazard,
    cap_area,
    expected_by_density,
    expected_by_shift,
    false_probability,
    fit_hazard,
)

__all__ = ["Chance", "background_of", "judge_by_chance", "nearest_areas"]

_REACH = (30 * u.arcsec, 180 * u.arcsec)  # the second is the most that a service may take


def background_of(
    pairs: Pairs, valid: np.ndarray, radius: u.Quantity, *, strict: bool = False
) -> Background | None:
    """Return what is known about unrelated objects around the rows of a match.

    Parameters
    ----------
    pairs : Pairs
        All pairs within the radius.
    valid : (n,) array of bool
        Local rows that have a position.
    radius : `~astropy.units.Quantity` [angle]
        That of the match.
    strict : bool, optional
        Whether a service that does not answer is an error.

    Returns
    -------
    Background or None
        None if the remote table is not at hand and cannot be asked.

    Raises
    ------
    ServiceError
        If a service does not answer, and ``strict``.

    Warns
    -----
    AstroClusterWarning
        If a service does not answer: the match itself is not lost to that.
    """
    if pairs.here is None:
        return None
    if pairs.there is not None and pairs.there_valid is not None:
        return background_at_hand(
            pairs.here, pairs.there, radius, valid=valid, remote_valid=pairs.there_valid
        )
    most = int(conf.false_match_rows)
    if pairs.probe is None or most < 1:
        return None
    reach = np.clip(5 * radius, *_REACH)
    try:
        with conf.set_temp("retries", min(1, int(conf.retries))):
            return background_by_asking(pairs.here, valid, radius, pairs.probe, most=most, reach=reach)
    except ServiceError as error:
        if strict:
            raise
        warnings.warn(
            f"how many matches are false could not be asked ({error}): the match is whole, "
            "its column of probabilities is masked",
            AstroClusterWarning,
            stacklevel=5,
        )
        return None


def nearest_areas(pairs: Pairs, n_rows: int) -> np.ndarray:
    """Return the area of the cap out to the nearest candidate of each row.

    Parameters
    ----------
    pairs : Pairs
        All pairs within the radius.
    n_rows : int
        Rows of the local table.

    Returns
    -------
    (n_rows,) array of float
        In arcsec²; infinity if there is none.
    """
    nearest = np.full(n_rows, np.inf)
    np.minimum.at(nearest, pairs.local, pairs.separation)
    return np.where(np.isfinite(nearest), cap_area(nearest), np.inf)


@dataclass(frozen=True, slots=True)
class Chance:
    """What a match owes to chance.

    Parameters
    ----------
    density : (n,) array of float
        Unrelated objects per arcsec² around each row.
    hazard : Hazard
        How true counterparts lie about the rows.
    background : Background
        What both were found from.
    facts : dict
        For the record: rows ``matched`` by their nearest counterpart, how many of these are false
        ``by_shift``, ``by_density`` and all in all (``expected``), the ``spread`` of that number, the
        ``fraction``, and the share of rows that have a true one (``true_share``).
    """

    density: np.ndarray
    hazard: Hazard
    background: Background
    facts: dict[str, Any]

    def of_pairs(self, pairs: Pairs, find: str) -> np.ndarray:
        """Return the probability that each pair is there by chance, if the find mode keeps it.

        Parameters
        ----------
        pairs : Pairs
            All pairs within the radius.
        find : str
            The find mode.

        Returns
        -------
        (m,) array of float
        """
        area, density = cap_area(pairs.separation), self.density[pairs.local]
        every = false_probability(area, density, self.hazard, nearest=False)
        if find == "all":
            return every
        taken: np.ndarray | float = 0.0
        if find in ("best-remote", "best-symmetric"):
            taken = self._taken(pairs, every) * (1 - self.hazard.left(area))
        return false_probability(area, density, self.hazard, nearest=find != "best-remote", taken=taken)

    def _taken(self, pairs: Pairs, false: np.ndarray) -> float:
        """Return how many of the objects that are met by chance belong to another row, per true one."""
        met = self.background.shifted_remote
        found = 1 - float(self.hazard.left(np.array([self.hazard.edges[-1]]))[0])
        if not len(met) or not found:
            return 0.0
        owned = np.zeros(int(max(met.max(), pairs.remote.max(initial=0))) + 1)
        np.maximum.at(owned, pairs.remote, 1 - false)
        return min(float(owned[met].mean()) / found, 1.0)


def judge_by_chance(pairs: Pairs, valid: np.ndarray, radius: u.Quantity) -> Chance | None:
    """Tell how many pairs are there by chance.

    Parameters
    ----------
    pairs : Pairs
        All pairs within the radius, or the nearest of each row.
    valid : (n,) array of bool
        Local rows that have a position.
    radius : `~astropy.units.Quantity` [angle]
        That of the match.

    Returns
    -------
    Chance or None
        None if it cannot be told.
    """
    background = background_of(pairs, valid, radius)
    if background is None:
        return None
    limit = float(cap_area(radius.to_value(u.arcsec)))
    area = nearest_areas(pairs, len(valid))[valid]
    density = background.density * background.correction(limit)
    hazard = fit_hazard(area, density[valid], limit)
    met = area <= limit * (1 + 1e-9)
    expected = float(false_probability(area[met], density[valid][met], hazard).sum())
    matched = int(np.count_nonzero(met))
    moved = len(background.shifted) > 0
    facts = {
        "matched": matched,
        "expected": expected,
        "spread": float(np.sqrt(expected)),
        "fraction": expected / matched if matched else 0.0,
        "by_shift": float(expected_by_shift(area, background.shifted, limit)) if moved else None,
        "by_density": float(expected_by_density(area, background.density[valid], limit)),
        "true_share": 1 - float(hazard.left(np.array([limit]))[0]),
        **background.facts,
    }
    return Chance(density, hazard, background, facts)
