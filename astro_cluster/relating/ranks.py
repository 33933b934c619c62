"""Spearman's rank correlation of many pairs at once, and how far it would move with another sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

__all__ = ["bootstrap_spread", "fisher_spread", "interval_of", "p_values", "spearman"]

_EDGE = 1 - 1e-12  # where Fisher's z still is a number


class _Ranked:
    """Columns whose mid-ranks are quickly had for any number of repeats of their rows."""

    def __init__(self, columns: np.ndarray) -> None:
        self.tied: list[np.ndarray] = []
        for column in columns.T:
            self.tied.append(np.unique(column, return_inverse=True)[1].ravel())
        self.counts = [int(tied.max()) + 1 for tied in self.tied]

    def ranks(self, weights: np.ndarray) -> np.ndarray:
        """Return mid-ranks of rows that are each there ``weights`` times, with the mean 0, (n, d)."""
        out = np.empty((len(weights), len(self.tied)))
        middle = (weights.sum() + 1) / 2
        for j, (tied, count) in enumerate(zip(self.tied, self.counts, strict=True)):
            here = np.bincount(tied, weights=weights, minlength=count)
            out[:, j] = (np.cumsum(here) - (here - 1) / 2 - middle)[tied]
        return out


def _correlations(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the correlations of ranks with the mean 0; NaN where one does not vary."""
    products = x.T @ (weights[:, np.newaxis] * y)
    squares = np.outer(weights @ x**2, weights @ y**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(squares > 0, products / np.sqrt(squares), np.nan)
    return np.clip(found, -1.0, 1.0)


def spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Spearman's rank correlation of all pairs of columns.

    Parameters
    ----------
    x : (n, d) array of float
        Columns, all finite.
    y : (n, v) array of float
        Others.

    Returns
    -------
    (d, v) array of float
        NaN where a column is the same in all rows.

    Notes
    -----
    The correlation of the mid-ranks (Spearman 1904, Am. J. Psychology 15, 72): equal values share the mean of
    their ranks.

    Examples
    --------
    >>> spearman(np.array([[1.0], [2.0], [30.0]]), np.array([[3.0], [2.0], [1.0]]))
    array([[-1.]])
    """
    weights = np.ones(len(x))
    return _correlations(_Ranked(x).ranks(weights), _Ranked(y).ranks(weights), weights)


def p_values(rho: np.ndarray, n: int) -> np.ndarray:
    """Return the chance of correlations as far from 0, if the ranks had nothing to do with each other.

    Parameters
    ----------
    rho : array of float
        Spearman's rank correlations.
    n : int
        Number of independent rows.

    Returns
    -------
    array of float
        Of both sides, by Student's t with n - 2 degrees of freedom (Kendall & Stuart 1973, section
        31.19); NaN for fewer than three rows.

    Examples
    --------
    >>> p_values(np.array([0.0, 0.6]), 20).round(4)
    array([1.    , 0.0052])
    """
    if n < 3:
        return np.full(np.shape(rho), np.nan)
    with np.errstate(divide="ignore"):
        t = np.abs(rho) * np.sqrt((n - 2) / np.maximum(1 - np.square(rho), 0))
    return np.minimum(2 * stats.t.sf(t, n - 2), 1.0)


def _z(rho: np.ndarray) -> np.ndarray:
    return np.arctanh(np.clip(rho, -_EDGE, _EDGE))


def fisher_spread(rho: np.ndarray, n: int) -> np.ndarray:
    """Return the standard error of Fisher's z of rank correlations.

    Parameters
    ----------
    rho : array of float
        Spearman's rank correlations.
    n : int
        Number of independent rows.

    Returns
    -------
    array of float
        sqrt((1 + rho²/2) / (n - 3)), by Bonett & Wright (2000, Psychometrika 65, 23); infinite for n of 3 or
        less.

    Examples
    --------
    >>> fisher_spread(np.array([0.0, 0.8]), 103).round(4)
    array([0.1   , 0.1149])
    """
    if n <= 3:
        return np.full(np.shape(rho), np.inf)
    return np.sqrt((1 + np.square(rho) / 2) / (n - 3))


def bootstrap_spread(
    x: np.ndarray, y: np.ndarray, objects: np.ndarray, samples: int, seed: int | Sequence[int]
) -> np.ndarray:
    """Return the standard deviation of Fisher's z of rank correlations over bootstrap samples.

    Parameters
    ----------
    x : (n, d) array of float
        Columns, all finite.
    y : (n, v) array of float
        Others.
    objects : (n,) array of int
        Object that each row is of: objects are drawn, with all their rows.
    samples : int
        How many samples.
    seed : int or sequence of int
        Random seed.

    Returns
    -------
    (d, v) array of float

    Examples
    --------
    >>> x = np.random.default_rng(1).normal(size=(103, 1))
    >>> spread = bootstrap_spread(x, x + 3 * x[::-1], np.arange(103), 200, 1)
    >>> bool(0.05 < spread[0, 0] < 0.2)
    True
    """
    rng = np.random.default_rng(seed)
    of = np.unique(objects, return_inverse=True)[1].ravel()
    number = int(of.max()) + 1
    first, second = _Ranked(x), _Ranked(y)
    # By Welford (1962): z of all samples at once may not fit the memory.
    mean, squares = np.zeros((x.shape[1], y.shape[1])), np.zeros((x.shape[1], y.shape[1]))
    seen = np.zeros_like(mean)
    for _ in range(samples):
        weights = np.bincount(rng.integers(number, size=number), minlength=number).astype(float)[of]
        z = _z(_correlations(first.ranks(weights), second.ranks(weights), weights))
        known = ~np.isnan(z)  # a sample may hold one value alone
        seen += known
        step = np.where(known, z - mean, 0.0)
        mean += step / np.maximum(seen, 1)
        squares += step * np.where(known, z - mean, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.where(seen > 1, squares / (seen - 1), np.nan))


def interval_of(
    rho: np.ndarray, spread: np.ndarray, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Return the interval around rank correlations.

    Parameters
    ----------
    rho : array of float
        Spearman's rank correlations.
    spread : array of float
        Standard errors of their z = artanh(rho) (Fisher 1921).
    confidence : float, optional
        How often it holds the true one.

    Returns
    -------
    tuple of two arrays of float
        Lower and upper end, within -1 and 1.

    Examples
    --------
    >>> low, high = interval_of(np.array([0.5]), np.array([0.1]))
    >>> low.round(3), high.round(3)
    (array([0.339]), array([0.632]))
    """
    width = stats.norm.ppf((1 + confidence) / 2) * spread
    return np.tanh(_z(rho) - width), np.tanh(_z(rho) + width)
