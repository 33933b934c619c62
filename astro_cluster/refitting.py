"""Fitting a method several times: for several numbers of clusters, to drawn rows."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning

from astro_cluster.estimators import number_parameter
from astro_cluster.exceptions import InputError
from astro_cluster.mixture import DegenerateComponentWarning, GaussianMixture, sweep

__all__ = ["Fit", "Sample", "fit_each", "quick_numbers"]

_STARTS = ("weights_init", "means_init", "precisions_init")
# Many short runs find the best start, and cost most of a fit.  Where that is much (operations of
# one step), bootstrap samples do with fewer: with few clusters, which are cheap, it would show in
# the similarities; with many it hardly does.
_QUICK_START = {"n_short": 8}
_QUICK_FROM = 15_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows as the methods take them.

    Parameters
    ----------
    values : (n, d) array of float64
        NaN where missing.
    errors : (n, d) or (n, d, d) array of float64, optional
        Standard errors, or covariance matrices of the errors.
    weights : (n,) array of float64, optional
        How often each row counts.
    """

    values: np.ndarray
    errors: np.ndarray | None = None
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.values)

    def take(self, index: np.ndarray) -> Sample:
        """Return some of the rows.

        Parameters
        ----------
        index : array
            Which.

        Returns
        -------
        Sample
        """
        errors, weights = (None if a is None else a[index] for a in (self.errors, self.weights))
        return Sample(self.values[index], errors, weights)

    @property
    def noise(self) -> dict[str, np.ndarray]:
        """Errors as a method is given them besides the values."""
        return {} if self.errors is None else {"errors": self.errors}

    @property
    def observed(self) -> np.ndarray:
        """Which values a fit can learn from, (n, d): those that are there, of rows that count."""
        seen = ~np.isnan(self.values)
        return seen if self.weights is None else seen & (self.weights > 0)[:, np.newaxis]


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted copy of an estimator and what it said of the rows.

    Parameters
    ----------
    estimator : estimator
        After its fit.
    labels : (n,) array of int
        Cluster of each row.
    """

    estimator: BaseEstimator
    labels: np.ndarray


def fit_each(
    template: BaseEstimator,
    numbers: Sequence[int | None],
    sample: Sample,
    *,
    counts: np.ndarray | None = None,
    seed: int | None = None,
    quick: bool = False,
) -> list[Fit]:
    """Fit copies of an estimator that look for several numbers of clusters.

    Parameters
    ----------
    template : estimator
        Any clusterer; a copy of it is fitted for each number.
    numbers : sequence of int or None
        How many clusters; None leaves the estimator's own parameters.
    sample : Sample
        n rows.
    counts : (n,) array of int, optional
        How often each row was drawn.
    seed : int, optional
        Seed in place of the estimator's own, if it takes one.  Each fit is the one that
        `cluster` makes with that seed.
    quick : bool, optional
        Save time where `quick_numbers` says so.

    Returns
    -------
    list of Fit
        One for each number.

    Raises
    ------
    InputError
        If a fit fails.
    """
    with warnings.catch_warnings():
        # What is wrong with the fits that are shown, `converged` and the sizes of clusters tell.
        for category in (ConvergenceWarning, DegenerateComponentWarning):
            warnings.simplefilter("ignore", category)
        if not isinstance(template, GaussianMixture):
            return [_fit_any(_copy(template, k, seed), sample, counts) for k in numbers]
        weights = _weights(sample, counts)
        seed = template.random_state if seed is None else seed
        if not isinstance(seed, (int, np.integer)) or _has_start(template) or None in numbers:
            return [_fit_mixture(_copy(template, k, seed), sample, weights) for k in numbers]
        few = quick_numbers(template, numbers, sample, counts) if quick else []
        found = _sweep(template, [k for k in numbers if k not in few], sample, weights, seed)
        found |= _sweep(clone(template).set_params(**_QUICK_START), few, sample, weights, seed)
        return [found[k] for k in numbers]


def quick_numbers(
    template: BaseEstimator, numbers: Sequence[int], sample: Sample, counts: np.ndarray | None = None
) -> list[int]:
    """Return the numbers of clusters for which bootstrap samples are fitted from fewer starts.

    Parameters
    ----------
    template : estimator
        Any clusterer.
    numbers : sequence of int
        Numbers of clusters.
    sample : Sample
        Rows.
    counts : (n,) array of int, optional
        How often each row was drawn, if they were.

    Returns
    -------
    list of int
        Those with which a step of our mixture takes long: they make do with fewer short runs.

    Examples
    --------
    >>> quick_numbers(GaussianMixture(), [2, 20], Sample(np.zeros((2000, 30))))
    [20]
    """
    if not isinstance(template, GaussianMixture) or template.init_params != "short-runs":
        return []
    rows = len(sample) if counts is None else counts.sum()
    width = sample.values.shape[1]
    if template.covariance_type in ("full", "tied"):
        width = width**2
    return [k for k in numbers if rows * width * k > _QUICK_FROM]


def _copy(template: BaseEstimator, number: int | None, seed: int | None) -> BaseEstimator:
    made = clone(template)
    if number is not None:
        made.set_params(**{number_parameter(template): number})
    if seed is not None and "random_state" in made.get_params():
        made.set_params(random_state=seed)
    return made


def _weights(sample: Sample, counts: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return how often rows count, as a method is given it: drawn twice is as good as counted twice."""
    weights = sample.weights
    if counts is not None:
        weights = counts.astype(float) if weights is None else weights * counts
    return {} if weights is None else {"sample_weight": weights}


def _has_start(mixture: GaussianMixture) -> bool:
    return any(getattr(mixture, name) is not None for name in _STARTS)


def _sweep(
    template: GaussianMixture,
    numbers: Sequence[int],
    sample: Sample,
    weights: dict[str, np.ndarray],
    seed: int,
) -> dict[int, Fit]:
    """Fit mixtures of several sizes together, and return them by size."""
    if not numbers:
        return {}
    left_out = ("n_components", "warm_start", *_STARTS)
    parameters = {k: v for k, v in template.get_params().items() if k not in left_out} | {
        "random_state": seed
    }
    try:
        fitted = sweep(sample.values, numbers, **sample.noise, **weights, **parameters)
    except ValueError as error:
        raise _cannot(_copy(template, max(numbers), seed), error) from error
    labels = [one.predict(sample.values, **sample.noise) for one in fitted]
    return {k: Fit(one, found) for k, one, found in zip(numbers, fitted, labels, strict=True)}


def _fit_mixture(mixture: GaussianMixture, sample: Sample, weights: dict[str, np.ndarray]) -> Fit:
    try:
        mixture.fit(sample.values, **sample.noise, **weights)
    except ValueError as error:
        raise _cannot(mixture, error) from error
    return Fit(mixture, mixture.predict(sample.values, **sample.noise))


def _fit_any(estimator: BaseEstimator, sample: Sample, counts: np.ndarray | None) -> Fit:
    """Fit any clusterer, to which a row that was drawn twice is given twice."""
    counts = np.ones(len(sample), dtype=int) if counts is None else counts
    drawn = sample.take(np.repeat(np.arange(len(sample)), counts))
    try:
        labels = np.asarray(estimator.fit_predict(drawn.values, **_weights(drawn, None)))
    except ValueError as error:
        raise _cannot(estimator, error) from error
    return Fit(estimator, labels[np.cumsum(counts) - counts])


def _cannot(estimator: BaseEstimator, error: ValueError) -> InputError:
    name = number_parameter(estimator)
    what = f" with {name}={getattr(estimator, name)}" if name else ""
    return InputError(f"{type(estimator).__name__} cannot be fitted{what}: {error}")
