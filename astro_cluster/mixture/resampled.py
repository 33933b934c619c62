"""How far memberships would move with another sample: the bootstrap of a fitted mixture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from scipy.special import softmax
from sklearn.utils.validation import check_is_fitted

from astro_cluster.mixture.em import Run, run
from astro_cluster.mixture.engine import Dataset, one_blas_thread
from astro_cluster.mixture.estimator import GaussianMixture
from astro_cluster.mixture.fitting import Material, gather
from astro_cluster.mixture.parameters import Parameters
from astro_cluster.mixture.rows import NotPositiveDefiniteError, Rows

__all__ = ["OnSample", "Resampled", "aligned", "bootstrap", "contingency"]

OnSample = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Resampled:
    """What fits to bootstrap samples say of rows.

    Parameters
    ----------
    spread : (n, k) array
        Standard deviation of each probability of membership over the fits.
    co_assignment : (n,) array
        For each row the mean over the other members of its cluster of the share of fits that
        put both into one cluster; NaN where a row is its cluster's only one.
    """

    spread: np.ndarray
    co_assignment: np.ndarray


def bootstrap(
    mixture: GaussianMixture,
    X: ArrayLike,
    n: int,
    *,
    errors: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    random_state: int | None = None,
    on_sample: OnSample | None = None,
) -> Resampled:
    """Refit a mixture to bootstrap samples of its rows, and see how its memberships move.

    Parameters
    ----------
    mixture : GaussianMixture
        After its fit to these rows; not changed.
    X : (n_rows, d) array
        Rows; NaN where missing.
    n : int
        How many samples, at least 2.
    errors : (n_rows, d) or (n_rows, d, d) array, optional
        Standard errors, or covariance matrices of the errors.
    sample_weight : (n_rows,) array, optional
        How often each row counts.
    random_state : int, optional
        Seed of the samples.
    on_sample : callable, optional
        Called after each sample with its number (from 1) and ``n``.  What it raises ends it.

    Returns
    -------
    Resampled

    Raises
    ------
    ValueError
        If ``n`` is less than 2, the rows make no sense, or a covariance cannot be inverted.

    Notes
    -----
    A sample (Efron 1979, Ann. Statist. 7, 1) is as many rows as count, drawn with
    replacement: weights for EM, multinomial counts times the rows' own.  EM starts from the
    fitted mixture, so that its components stay what they are (O'Hagan et al. 2019, Comput.
    Stat. 34, 1779), with the mixture's ``tol`` and ``max_iter``; where some have changed
    places all the same, they are numbered so that as many rows as possible keep their label.
    What is measured is the luck of the sample, not that of the start.  Every sample has a
    stream of random numbers of its own, so that the first ones are the same however many are
    drawn.  Nothing of the size n_rows × n_rows is made.

    Examples
    --------
    >>> X = np.concatenate([np.random.default_rng(0).normal(m, 1, (100, 1)) for m in (0, 9)])
    >>> found = bootstrap(GaussianMixture(2, random_state=0).fit(X), X, 10, random_state=0)
    >>> float(found.co_assignment.min()), found.spread.shape
    (1.0, (200, 2))
    """
    check_is_fitted(mixture)
    if n < 2:
        raise ValueError(f"n={n} samples have no spread; draw 2 or more, such as 50")
    rows = mixture._as_rows(X, errors, sample_weight, reset=False)
    if not isinstance(rows, Rows):
        raise ValueError("rows that are read in chunks cannot be bootstrapped; give an array of some of them")
    material = gather(rows, mixture._make_engine())
    every = material.data if material.rows is rows else Dataset(rows, material.data.engine)
    parameters = mixture._parameters()
    with one_blas_thread():
        memberships = _Memberships(every.log_joint(parameters))
        for number, seed in enumerate(np.random.SeedSequence(random_state).spawn(n), 1):
            try:
                rng = np.random.default_rng(seed)
                refitted = _refitted(mixture, material, parameters, rng)
                memberships.add(every.log_joint(refitted))
            except NotPositiveDefiniteError as error:
                raise NotPositiveDefiniteError(f"bootstrap sample {number} of {n}: {error}") from error
            if on_sample is not None:
                on_sample(number, n)
    return memberships.result()


def _refitted(
    mixture: GaussianMixture, material: Material, parameters: Parameters, rng: np.random.Generator
) -> Parameters:
    """Return the mixture of a sample, reached from that of all rows."""
    rows = material.rows
    counts = np.bincount(rng.integers(len(rows), size=len(rows)), minlength=len(rows))
    drawn = np.flatnonzero(counts)  # the others would only cost time
    sample = rows.take(drawn)
    weights = counts[drawn] * (1.0 if sample.weights is None else sample.weights)
    refit = Run(parameters)
    run(
        Dataset(Rows(sample.values, sample.noise, weights), material.data.engine),
        [refit],
        max_iter=mixture.max_iter,
        tol=mixture.tol,
        reg_covar=mixture.reg_covar,
        guard=material.guard(mixture.reg_covar),
    )
    return refit.parameters


class _Memberships:
    """Adds up what each fit says of the rows, so that no fit need be kept."""

    def __init__(self, joint: np.ndarray) -> None:
        self._labels = joint.argmax(axis=1)
        self._k = joint.shape[1]
        self._sizes = np.bincount(self._labels, minlength=self._k)
        self._number = 0
        self._mean, self._squares = np.zeros_like(joint), np.zeros_like(joint)
        self._together = np.zeros(len(joint))

    def add(self, joint: np.ndarray) -> None:
        """Take the log joint densities, (n, k), of one more fit."""
        found = joint.argmax(axis=1)
        table = contingency(self._labels, found, self._k)
        self._together += table[self._labels, found] - 1  # without the row itself
        self._number += 1
        # By Welford (1962, Technometrics 4, 419): nothing cancels where all fits say the same.
        deviation = softmax(joint, axis=1)[:, aligned(table)] - self._mean
        self._mean += deviation / self._number
        self._squares += deviation**2 * (1 - 1 / self._number)

    def result(self) -> Resampled:
        """Return what all fits together say."""
        others = (self._sizes - 1)[self._labels]
        share = np.where(others > 0, self._together / (self._number * np.maximum(others, 1)), np.nan)
        return Resampled(np.sqrt(self._squares / (self._number - 1)), share)


def contingency(labels: np.ndarray, found: np.ndarray, k: int) -> np.ndarray:
    """Count the rows by their clusters in two clusterings.

    Parameters
    ----------
    labels, found : (n,) array of int
        Clusters from 0 to k - 1.
    k : int
        How many there are.

    Returns
    -------
    (k, k) array of int

    Examples
    --------
    >>> contingency(np.array([0, 0, 1]), np.array([1, 1, 0]), 2)
    array([[0, 2],
           [1, 0]])
    """
    return np.bincount(labels * k + found, minlength=k * k).reshape(k, k)


def aligned(table: np.ndarray) -> np.ndarray:
    """Return which cluster of the second clustering answers to each cluster of the first.

    Parameters
    ----------
    table : (k, k) array of int
        What `contingency` gives.

    Returns
    -------
    (k,) array of int
        Numbers for which the rows that agree are the most; where several are, that which
        changes the fewest numbers.

    Examples
    --------
    >>> aligned(np.array([[0, 2, 0], [1, 0, 0], [0, 0, 0]]))
    array([1, 0, 2])
    """
    k = len(table)
    # All of the diagonal is worth less than one row.
    return linear_sum_assignment(table + np.eye(k) / (k + 1), maximize=True)[1]
