"""How strange rows are, by the density around them and by how badly they are reconstructed."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import stats
from scipy.special import gammaln

from astro_cluster.artefacts.density import emptiness
from astro_cluster.artefacts.ranking import Suspicion
from astro_cluster.artefacts.tails import evidence_of
from astro_cluster.exceptions import InputError

__all__ = ["FEWEST", "METHODS", "against_alike", "log_densities", "log_density_of", "suspicion_by"]

METHODS = ("neighbours", "mixture")
FEWEST = 3
"""Rows that can be told apart."""

_NEIGHBOURS = 10
_MOST_REFERENCES = 10_000  # as neighbour_distances has it
_STRONGEST = 6.0  # evidence beyond which a tail is not extrapolated: one row in a million
_ALIKE = 50  # rows that a row is compared with, of a column such as snr_median
_FEW = 10  # rows that have no trend
_BLOCK = 10_000

Method = Literal["neighbours", "mixture"]


def log_density_of(distances: np.ndarray, d: int, n: int, n_neighbors: int = _NEIGHBOURS) -> np.ndarray:
    """Return the log of the density that mean distances to neighbours tell of.

    Parameters
    ----------
    distances : (m,) array of float
        Mean distance to the nearest neighbours.
    d : int
        Number of dimensions.
    n : int
        Number of rows among which they are looked for.
    n_neighbors : int, optional
        How many neighbours.

    Returns
    -------
    (m,) array of float
        Natural log; infinite where the distance is 0.

    Notes
    -----
    Where the density p is even, the distance to the j-th neighbour is on the mean
    (n p V)^(-1/d) Γ(j + 1/d) / Γ(j), V being the volume of the unit ball (Percus & Martin 1998, Adv. Appl.
    Math. 21, 424).  The mean of that over j = 1 … k is solved for p.

    Examples
    --------
    >>> bool(abs(log_density_of(np.array([5.5 / 2 / 100]), 1, 100)[0]) < 1e-12)
    True
    """
    k, a = n_neighbors, 1 / d
    log_ball = d / 2 * np.log(np.pi) - gammaln(d / 2 + 1)
    log_factor = gammaln(k + 1 + a) - gammaln(k + 1) - np.log1p(a)
    with np.errstate(divide="ignore"):
        return d * (log_factor - np.log(distances)) - np.log(n) - log_ball


def log_densities(X: np.ndarray, method: Method, seed: int) -> np.ndarray:
    """Return the log of the density around each row.

    Parameters
    ----------
    X : (n, d) array of float
        Rows, which should differ; NaN where there is nothing.
    method : {"neighbours", "mixture"}
        How to measure it.
    seed : int
        Random seed.

    Returns
    -------
    (n,) array of float
        NaN in rows with a NaN, and in all if fewer than three have none.

    Examples
    --------
    >>> found = log_densities(np.array([[0.0], [0.1], [0.2], [9.0], [np.nan]]), "neighbours", 0)
    >>> int(np.nanargmin(found))
    3
    """
    found = np.full(len(X), np.nan)
    seen = ~np.isnan(X).any(axis=1)
    number = np.count_nonzero(seen)
    if number < FEWEST:
        return found
    lonely = emptiness(X[seen], method, seed)
    if method == "mixture":
        found[seen] = -lonely
        return found
    # Where all neighbours have the very same coordinates it is as dense as can be told.
    lonely = np.maximum(lonely, lonely[lonely > 0].min(initial=np.inf))
    lonely[np.isinf(lonely)] = 1.0
    others = min(number, _MOST_REFERENCES) - 1  # no row is its own neighbour
    found[seen] = log_density_of(lonely, X.shape[1], others, min(_NEIGHBOURS, others))
    return found


def against_alike(values: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return the log of values over their median among the fifty rows that are the most alike.

    Parameters
    ----------
    values : (n,) array of float
        Positive; NaN where there is none.
    given : (n,) array of float
        Rows are alike if this is.

    Returns
    -------
    (n,) array of float
        NaN where one of the two is missing, or a value is not positive.

    Notes
    -----
    The 25 rows with the smallest and the largest ``given``, which have such rows on one side only, are
    held against the line through them and their fifty neighbours (Theil 1950; Sen 1968), in the logarithm
    of ``given`` if it is positive.

    Examples
    --------
    >>> against_alike(np.array([1.0, 3.0, 2.0, np.nan]), np.arange(4.0)).round(2)
    array([-0.69,  0.41,  0.  ,   nan])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(values)
    logs = np.where(np.isfinite(logs), logs, np.nan)
    rows = np.flatnonzero(~np.isnan(logs) & ~np.isnan(given))
    found = np.full(len(values), np.nan)
    if not len(rows):
        return found
    order = rows[np.argsort(given[rows], kind="stable")]
    wide = min(_ALIKE + 1, len(order))
    windows = np.lib.stride_tricks.sliding_window_view(logs[order], wide)
    medians = np.concatenate(
        [np.median(windows[i : i + _BLOCK], axis=1) for i in range(0, len(windows), _BLOCK)]
    )
    expected = medians[np.clip(np.arange(len(order)) - wide // 2, 0, len(windows) - 1)]
    # At both ends the window stands still, and the brightest would be held against fainter ones.
    x = given[order]
    x = np.log(x) if x[0] > 0 else x
    for end in (slice(0, wide), slice(len(order) - wide, len(order))):
        outer = np.arange(len(order))[end]
        outer = outer[: wide // 2] if end.start == 0 else outer[-(wide // 2) :]
        if wide > _FEW and x[end][0] < x[end][-1]:
            slope, intercept, *_ = stats.theilslopes(logs[order][end], x[end])
            expected[outer] = intercept + slope * x[outer]
    found[order] = logs[order] - expected
    return found


def suspicion_by(
    log_density: np.ndarray | None, badness: np.ndarray | None, weight: float = 0.5
) -> Suspicion:
    """Return how strongly density and reconstruction speak against each row.

    Parameters
    ----------
    log_density : (n,) array of float or None
        Log of the density around each row; NaN where there is none.
    badness : (n,) array of float or None
        Large where the reconstruction is bad, with a tail that is about exponential.
    weight : float, optional
        Weight of the density; the reconstruction has the rest.

    Returns
    -------
    Suspicion
        With the names "density" and "reconstruction".

    Raises
    ------
    InputError
        If there is neither in any row.

    Examples
    --------
    >>> found = suspicion_by(np.r_[np.zeros(98), -40, 0], np.r_[np.zeros(99), 7])
    >>> found.reasons[-2:].tolist()
    ['density', 'reconstruction']
    """
    found = {
        name: (evidence_of(values, strongest=_STRONGEST), share)
        for name, values, share in (
            ("density", None if log_density is None else -log_density, weight),
            ("reconstruction", badness, 1 - weight),
        )
        if values is not None and not np.isnan(values).all()
    }
    if not found:
        raise InputError("no row has coordinates or a reconstruction that differ from those of other rows")
    evidence = np.column_stack([strength for strength, _ in found.values()])
    shares = np.array([share for _, share in found.values()], dtype=float)
    usable = ~np.isnan(evidence).all(axis=1)
    # A value that is missing speaks neither for nor against a row.
    evidence = np.where(np.isnan(evidence), np.nanmean(evidence, axis=0), evidence)
    weights = shares / shares.sum() if shares.sum() > 0 else np.ones(len(shares)) / len(shares)
    return Suspicion(list(found), evidence, weights, usable)
