"""How many counterparts are there by chance, and which: the statistics, on arrays.

Nothing here knows a table or the sky: a separation comes as the area of the cap that it is the
radius of, for in it unrelated objects lie evenly, whatever the sphere does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u

__all__ = [
    "Hazard",
    "cap_area",
    "expected_by_density",
    "expected_by_shift",
    "false_probability",
    "fit_hazard",
]

_ARCSEC2 = (u.rad**2).to(u.arcsec**2)
# Closer than a micro-arcsecond is the same place: no catalogue knows better.
_SAME = np.pi * 1e-12
_EVENTS_A_BIN = 20
_MOST_BINS = 60


def cap_area(separation: np.ndarray | float) -> np.ndarray:
    """Return the area of the sky that is at most a separation away.

    Parameters
    ----------
    separation : (n,) array of float
        In arcsec; infinity stands for the whole sky.

    Returns
    -------
    (n,) array of float
        In arcsec².

    Examples
    --------
    >>> cap_area(np.array([1.0, 2.0])).round(4)
    array([ 3.1416, 12.5664])
    """
    half = np.minimum(np.asarray(separation, dtype=float), 180 * 3600.0) * (u.arcsec.to(u.rad) / 2)
    return 4 * np.pi * np.sin(half) ** 2 * _ARCSEC2


@dataclass(frozen=True, slots=True)
class Hazard:
    """At which rate true counterparts appear as the search goes outward.

    Parameters
    ----------
    edges : (b + 1,) array of float
        Areas [arcsec²], from 0 on.
    heights : (b,) array of float
        True counterparts in the bins, per row that has met none yet and arcsec²; never
        increasing.
    """

    edges: np.ndarray
    heights: np.ndarray

    def at(self, area: np.ndarray) -> np.ndarray:
        """Return the rate at some areas; 0 beyond the last bin."""
        place = np.searchsorted(self.edges, area, side="left") - 1
        return np.append(self.heights, 0.0)[np.clip(place, 0, len(self.heights))]

    def left(self, area: np.ndarray) -> np.ndarray:
        """Return the share of rows whose true counterpart is not within some areas."""
        total = np.append(0.0, np.cumsum(self.heights * np.diff(self.edges)))
        return np.exp(-np.interp(area, self.edges, total))


def _rate(density: np.ndarray, exposure: float) -> float:
    """Return the rate of true ones that makes some events likeliest, given the densities at them.

    It solves Σ 1 / (rate + density) = exposure; Newton's steps from below never overshoot.
    """
    if not len(density):
        return 0.0
    rate = max(0.0, len(density) / exposure - float(density.max()))
    for _ in range(100):
        inverse = 1 / (rate + density)
        excess = float(inverse.sum()) - exposure
        if excess <= 0:
            break
        step = excess / float((inverse**2).sum())
        rate += step
        if step <= 1e-12 * rate:
            break
    return rate


def _edges(events: np.ndarray, limit: float) -> np.ndarray:
    """Return bins that hold some events each, edges midway between two of them."""
    m = len(events)
    # Of few events finer bins: where true ones gather close by, one wide bin spreads them out to the limit.
    n_bins = int(np.clip(max(m // _EVENTS_A_BIN, np.sqrt(m)), 1, _MOST_BINS))
    stops = np.linspace(0, m, n_bins + 1).astype(int)[1:]
    edges = [0.0, *((events[stops[:-1] - 1] + events[stops[:-1]]) / 2)]
    # The last event stands at the end of its bin by construction: go on by one mean distance.
    last = events[-1] + (events[-1] - edges[-1]) / max(m - (stops[-2] if n_bins > 1 else 0), 1)
    return np.unique([*edges, min(last, limit), limit])


def fit_hazard(area: np.ndarray, density: np.ndarray, limit: float) -> Hazard:
    """Estimate how true counterparts lie about the rows, from the nearest objects.

    Parameters
    ----------
    area : (n,) array of float
        Cap area out to the nearest object [arcsec²]; infinity if there is none.
    density : (n,) array of float
        Unrelated objects per arcsec² around each row; positive.
    limit : float
        Cap area of the radius; nothing beyond it counts.

    Returns
    -------
    Hazard

    Notes
    -----
    Two risks compete for the first object that a growing cap meets (Kalbfleisch & Prentice 2002,
    The Statistical Analysis of Failure Time Data, ch. 8): unrelated objects come at the constant
    rate ``density`` per area, the true counterpart at a rate that is the same for all rows and
    never increases outward, as it does for Gaussian errors of any size and their mixtures.
    The likeliest such step function is found by pooling adjacent bins that violate the order
    (Barlow et al. 1972, Statistical Inference under Order Restrictions).  In the end a
    constant is taken off that makes the probabilities of the nearest objects add up to
    `expected_by_density`.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> area = rng.exponential(0.1, 4000)
    >>> bool(abs(fit_hazard(area, np.full(4000, 1e-3), 1.0).left(np.array([0.1]))[0] - np.exp(-1)) < 0.05)
    True
    """
    area = np.maximum(area, _SAME)
    limit = max(limit, _SAME)
    order = np.argsort(area)
    ordered = area[order]
    n_events = int(np.searchsorted(ordered, limit, side="right"))
    if not n_events:
        return Hazard(np.array([0.0, limit]), np.zeros(1))
    events, at_events = ordered[:n_events], density[order[:n_events]]
    edges = _edges(events, limit)
    stops = np.searchsorted(events, edges, side="right")
    exposed = np.append(0.0, np.cumsum(events))[stops] + edges * (len(area) - stops)
    blocks: list[tuple[int, int, float, float]] = []  # first and last bin, exposure, rate
    for number, exposure in enumerate(np.diff(exposed)):
        block = (number, number + 1, exposure, _rate(at_events[stops[number] : stops[number + 1]], exposure))
        while blocks and blocks[-1][3] < block[3]:
            first, _, more, _ = blocks.pop()
            exposure = more + block[2]
            rate = _rate(at_events[stops[first] : stops[block[1]]], exposure)
            block = (first, block[1], exposure, rate)
        blocks.append(block)
    ends = [0, *(block[1] for block in blocks)]
    rough = Hazard(edges[ends], np.array([block[3] for block in blocks]))
    expected = float(expected_by_density(area, density, limit))
    noise = _noise(rough.at(events), at_events, expected)
    return Hazard(rough.edges, np.maximum(rough.heights - noise, 0.0))


def _noise(rates: np.ndarray, density: np.ndarray, expected: float) -> float:
    """Return what has to be taken off the rates to leave as many false ones as are expected.

    A rate cannot be negative, so that scatter alone makes it too high where there are no true ones.
    """
    low, high = -float(rates.max()), float(rates.max())
    for _ in range(80):
        middle = (low + high) / 2
        too_few = float(np.sum(density / (np.maximum(rates - middle, 0.0) + density))) < expected
        low, high = (middle, high) if too_few else (low, middle)
    return low


def false_probability(
    area: np.ndarray,
    density: np.ndarray,
    hazard: Hazard,
    *,
    nearest: bool = True,
    taken: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Return the probability that counterparts are unrelated objects.

    Parameters
    ----------
    area : (m,) array of float
        Cap area out to each counterpart [arcsec²].
    density : (m,) array of float
        Unrelated objects per arcsec² around its row.
    hazard : Hazard
        What `fit_hazard` found.
    nearest : bool, optional
        Whether these are the nearest of their rows, or all of them.
    taken : (m,) array of float, optional
        Probability that a closer row of the local table owns the counterpart, were it unrelated:
        where only the nearest row of each remote object is kept.

    Returns
    -------
    (m,) array of float

    Notes
    -----
    ``density / (rate of true ones + density)``, de Ruiter, Willis & Arp (1977, A&AS 28, 211) with
    the rate taken from the data in place of a Rayleigh distribution.  Among all
    counterparts a true one stands at any separation at the rate of its own distribution;
    among the nearest, an unrelated one also needs that no true one lies closer.

    Examples
    --------
    >>> hazard = Hazard(np.array([0.0, 1.0]), np.array([3.0]))
    >>> false_probability(np.array([0.5]), np.array([1.0]), hazard)
    array([0.25])
    """
    area = np.maximum(area, _SAME)
    true = hazard.at(area)
    if not nearest:
        true = true * hazard.left(area)
    false = density * (1 - taken)
    return false / np.maximum(true + false, np.finfo(float).tiny)


def expected_by_density(area: np.ndarray, density: np.ndarray, limit: np.ndarray | float) -> np.ndarray:
    """Return how many nearest counterparts within a limit are unrelated objects, from densities.

    Parameters
    ----------
    area : (n,) array of float
        Cap area out to the nearest object of each row; infinity if there is none.
    density : (n,) array of float
        Unrelated objects per arcsec² around it.
    limit : (k,) array of float or float
        Cap areas of the radii.

    Returns
    -------
    (k,) array of float

    Notes
    -----
    The compensator of a counting process (Aalen 1978, Ann. Statist. 6, 701): a row is
    exposed to unrelated objects until it meets its nearest one, so the sum of density times
    exposed area has the expectation of their number, whatever the true ones do.  It is the
    variance of that number too.

    Examples
    --------
    >>> expected_by_density(np.array([0.5, np.inf]), np.array([0.1, 0.1]), np.array([0.2, 1.0]))
    array([0.04, 0.15])
    """
    order = np.argsort(area)
    ordered, weight = area[order], density[order]
    met = np.append(0.0, np.cumsum(np.where(np.isfinite(ordered), ordered, 0.0) * weight))
    left = np.append(0.0, np.cumsum(weight[::-1]))[::-1]
    stop = np.searchsorted(ordered, limit, side="right")
    return met[stop] + np.asarray(limit) * left[stop]


def expected_by_shift(area: np.ndarray, shifted: np.ndarray, limit: np.ndarray | float) -> np.ndarray:
    """Return how many nearest counterparts within a limit are unrelated objects, from moved rows.

    Parameters
    ----------
    area : (n,) array of float
        Cap area out to the nearest object of each row; infinity if there is none.
    shifted : (k,) array of float
        The same for rows that were moved to where nothing is theirs.
    limit : (m,) array of float or float
        Cap areas of the radii.

    Returns
    -------
    (m,) array of float

    Notes
    -----
    The rate at which moved rows meet an object, by Nelson and Aalen (Aalen 1978, Ann. Statist.
    6, 701), times the rows that have met none yet: a row whose true counterpart is closer has
    no false one.

    Examples
    --------
    >>> expected_by_shift(np.array([0.1, np.inf]), np.array([0.5, np.inf]), np.array([0.2, 1.0]))
    array([0. , 0.5])
    """
    ordered, events = np.sort(area), np.sort(shifted)
    at_risk = len(events) - np.arange(len(events))
    exposed = len(ordered) - np.searchsorted(ordered, events, side="left")
    total = np.append(0.0, np.cumsum(np.where(np.isfinite(events), exposed / np.maximum(at_risk, 1), 0.0)))
    return total[np.searchsorted(events, limit, side="right")]
