"""The E step: exact with missing values, in NumPy.

Everything that touches the rows is behind two functions, `expect` (the moments) and
`log_joint` (log densities row by row), so that a faster engine has just these to replace.

A missing value is integrated out.  With the precision matrix P of a component, the marginal
over the observed dimensions o of a row follows from the missing ones m alone:

* the quadratic form is d'Pd - r' P_mm^-1 r, with d = x - mean (0 where missing), r = (Pd)_m;
* log|C_oo| = log|C| + log|P_mm|;
* given what is observed, the missing part is Gaussian with mean  mean_m - P_mm^-1 r  and
  covariance P_mm^-1, which gives the exact moments (Ghahramani & Jordan 1994, NIPS 6, 120).

This costs little where little is missing, but digits where features are nearly determined by
each other.  A component whose correlation matrix is ill-conditioned therefore takes the longer
way, through the covariance of what is observed.

Rows are grouped by their number of missing values, so that each group is one batched
Cholesky decomposition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from astro_cluster.mixture.parameters import Moments, Parameters, full_covariances

__all__ = ["Data", "NotPositiveDefiniteError", "expect", "log_joint", "mahalanobis"]

_LOG_2PI = float(np.log(2 * np.pi))
_CHUNK_VALUES = 2**21  # numbers in one temporary array: 16 MB
_LARGEST_CONDITION = 1e6  # of a correlation matrix, for ten digits by the short way


class NotPositiveDefiniteError(ValueError):
    """A covariance matrix cannot be inverted."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows with the same number of missing values.

    ``rows`` are their numbers in the data; row i has pattern ``pattern[i]``, whose missing
    dimensions are ``missing[pattern[i]]``.
    """

    rows: np.ndarray
    values: np.ndarray
    pattern: np.ndarray
    missing: np.ndarray


class Data:
    """Rows prepared for many E steps.

    Parameters
    ----------
    X : (n, d) array of float64
        Rows; NaN where missing.
    """

    def __init__(self, X: np.ndarray) -> None:
        self.n_rows, self.n_features = X.shape
        self.groups: list[_Group] = []
        holes = np.isnan(X)
        counts = holes.sum(axis=1)
        for count in np.unique(counts):
            rows = np.flatnonzero(counts == count)
            patterns, index = np.unique(holes[rows], axis=0, return_inverse=True)
            order = np.argsort(index.reshape(-1), kind="stable")
            rows, index = rows[order], index.reshape(-1)[order]
            missing = np.nonzero(patterns)[1].reshape(len(patterns), count)
            values = np.where(holes[rows], 0.0, X[rows])
            self.groups.append(_Group(rows, values, index, missing))
        self.holes = holes

    def chunks(self) -> Iterator[_Group]:
        """Yield the groups in pieces that keep temporary arrays small."""
        for group in self.groups:
            count = group.missing.shape[1]
            widest = self.n_features * self.n_features if count else self.n_features
            size = max(1, _CHUNK_VALUES // widest)
            for start in range(0, len(group.rows), size):
                part = slice(start, start + size)
                low = group.pattern[start]
                high = group.pattern[min(start + size, len(group.rows)) - 1] + 1
                yield _Group(
                    group.rows[part], group.values[part], group.pattern[part] - low, group.missing[low:high]
                )


@dataclass(frozen=True, slots=True)
class _Precision:
    """Precision matrix of one component, its covariance, and half the log determinant of that."""

    matrix: np.ndarray
    whitening: np.ndarray
    half_log_det: float
    covariance: np.ndarray
    well_conditioned: bool


def _precisions(parameters: Parameters) -> list[_Precision]:
    covariances = full_covariances(parameters)
    found: dict[int, _Precision] = {}
    result = []
    for k, covariance in enumerate(covariances):
        key = 0 if parameters.covariance_type == "tied" else k
        if key not in found:
            try:
                lower = np.linalg.cholesky(covariance)
            except np.linalg.LinAlgError as error:
                raise NotPositiveDefiniteError(
                    f"the covariance of component {k} is not positive definite: raise reg_covar, take fewer "
                    "components, or scale the features alike"
                ) from error
            inverse = solve_triangular(lower, np.eye(len(lower)), lower=True)
            half_log_det = float(np.log(np.diagonal(lower)).sum())
            spread = np.sqrt(np.diagonal(covariance))
            # Scaling a feature changes nothing in the arithmetic, so its unit must not count here.
            eigenvalues = np.linalg.eigvalsh(covariance / np.outer(spread, spread))
            well = bool(eigenvalues[-1] < _LARGEST_CONDITION * eigenvalues[0])
            found[key] = _Precision(inverse.T @ inverse, inverse.T, half_log_det, covariance, well)
        result.append(found[key])
    return result


@dataclass(frozen=True, slots=True)
class _Conditional:
    """One component seen from a chunk of rows.

    ``deviation`` (n, d) is x - mean, expected where missing; ``spread`` (p, m, m) is the
    covariance of the missing part of each pattern.
    """

    log_density: np.ndarray
    distance: np.ndarray
    deviation: np.ndarray
    spread: np.ndarray


def _condition_on_observed(chunk: _Group, mean: np.ndarray, precision: _Precision) -> _Conditional:
    """Do what `_condition` does by the longer way, exact also for nearly dependent features."""
    covariance = precision.covariance
    n_missing = chunk.missing.shape[1]
    everything = np.ones((len(chunk.missing), len(mean)), dtype=bool)
    np.put_along_axis(everything, chunk.missing, False, axis=1)
    observed = np.nonzero(everything)[1].reshape(len(chunk.missing), len(mean) - n_missing)
    block = covariance[observed[:, :, np.newaxis], observed[:, np.newaxis, :]]
    lower = np.linalg.cholesky(block)
    half_log_det = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)[chunk.pattern]
    across = covariance[observed[:, :, np.newaxis], chunk.missing[:, np.newaxis, :]]
    gain = np.linalg.solve(lower, across)
    spread = covariance[chunk.missing[:, :, np.newaxis], chunk.missing[:, np.newaxis, :]]
    spread = spread - np.swapaxes(gain, 1, 2) @ gain
    rows = np.arange(len(chunk.rows))[:, np.newaxis]
    seen = observed[chunk.pattern]
    deviation = chunk.values - mean
    white = np.linalg.solve(lower[chunk.pattern], deviation[rows, seen][:, :, np.newaxis])[:, :, 0]
    distance = np.clip(np.einsum("ni,ni->n", white, white), 0.0, 1e300)
    deviation[rows, chunk.missing[chunk.pattern]] = np.einsum("nim,ni->nm", gain[chunk.pattern], white)
    log_density = -0.5 * (distance + observed.shape[1] * _LOG_2PI) - half_log_det
    return _Conditional(log_density, distance, deviation, spread)


def _condition(chunk: _Group, mean: np.ndarray, precision: _Precision) -> _Conditional:
    if not precision.well_conditioned and 0 < chunk.missing.shape[1] < len(mean):
        return _condition_on_observed(chunk, mean, precision)
    n_missing = chunk.missing.shape[1]
    n_observed = len(mean) - n_missing
    deviation = chunk.values - mean
    rows = np.arange(len(chunk.rows))[:, np.newaxis]
    missing = chunk.missing[chunk.pattern]
    deviation[rows, missing] = 0.0
    half_log_det = np.full(len(rows), precision.half_log_det)
    spread = np.empty((len(chunk.missing), n_missing, n_missing))
    if not n_missing:
        distance = ((deviation @ precision.whitening) ** 2).sum(axis=1)
    else:
        pulled = deviation @ precision.matrix
        distance = np.einsum("ij,ij->i", pulled, deviation)
        block = precision.matrix[chunk.missing[:, :, np.newaxis], chunk.missing[:, np.newaxis, :]]
        lower = np.linalg.cholesky(block)
        spread = np.linalg.inv(block)
        half_log_det += np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)[chunk.pattern]
        pulled_missing = np.take_along_axis(pulled, missing, axis=1)
        expected = -np.einsum("nij,nj->ni", spread[chunk.pattern], pulled_missing)
        distance = distance + np.einsum("ni,ni->n", expected, pulled_missing)
        deviation[rows, missing] = expected
    if n_observed == 0:
        distance, half_log_det = np.zeros(len(rows)), np.zeros(len(rows))  # an empty product is 1, exactly
    distance = np.clip(distance, 0.0, 1e300)  # beyond, nothing could be told apart
    return _Conditional(-0.5 * (distance + n_observed * _LOG_2PI) - half_log_det, distance, deviation, spread)


def _condition_diagonal(
    chunk: _Group, holes: np.ndarray, mean: np.ndarray, variance: np.ndarray
) -> _Conditional:
    """Do the same for independent dimensions, where a missing one just drops out."""
    seen = ~holes
    deviation = np.where(seen, chunk.values - mean, 0.0)
    distance = (deviation**2 / variance).sum(axis=1)
    log_density = -0.5 * (distance + seen @ (np.log(variance) + _LOG_2PI))
    return _Conditional(log_density, distance, deviation, np.empty((0, 0, 0)))


def _variances(parameters: Parameters) -> np.ndarray:
    variances = parameters.covariances
    if parameters.covariance_type == "spherical":
        variances = np.repeat(variances[:, np.newaxis], parameters.means.shape[1], axis=1)
    if not (variances > 0).all():
        bad = int(np.flatnonzero(~(variances > 0).all(axis=1))[0])
        raise NotPositiveDefiniteError(f"a variance of component {bad} is not positive: raise reg_covar")
    return variances


def _conditionals(data: Data, parameters: Parameters) -> Iterator[tuple[_Group, list[_Conditional]]]:
    means = parameters.means
    if parameters.diagonal:
        variances = _variances(parameters)
        for chunk in data.chunks():
            holes = data.holes[chunk.rows]
            yield (
                chunk,
                [_condition_diagonal(chunk, holes, m, v) for m, v in zip(means, variances, strict=True)],
            )
        return
    precisions = _precisions(parameters)
    for chunk in data.chunks():
        yield chunk, [_condition(chunk, m, p) for m, p in zip(means, precisions, strict=True)]


def _log_weights(parameters: Parameters) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(parameters.weights)


def _by_component(data: Data, parameters: Parameters, what: str) -> np.ndarray:
    """Return one number of each row seen from each component, (n, k)."""
    result = np.empty((data.n_rows, len(parameters.weights)))
    for chunk, conditionals in _conditionals(data, parameters):
        for k, conditional in enumerate(conditionals):
            result[chunk.rows, k] = getattr(conditional, what)
    return result


def log_joint(data: Data, parameters: Parameters) -> np.ndarray:
    """Return log(weight × density of the observed values) by row and component.

    Parameters
    ----------
    data : Data
        n rows.
    parameters : Parameters
        k components.

    Returns
    -------
    (n, k) array
        For a row with nothing observed, the log weights.

    Raises
    ------
    NotPositiveDefiniteError
        If a covariance cannot be inverted.

    Examples
    --------
    >>> p = Parameters(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)), "diag")
    >>> log_joint(Data(np.array([[0.0, np.nan]])), p).round(6)
    array([[-0.918939]])
    """
    return _by_component(data, parameters, "log_density") + _log_weights(parameters)


def mahalanobis(data: Data, parameters: Parameters) -> np.ndarray:
    """Return the squared Mahalanobis distance in the observed dimensions.

    Parameters
    ----------
    data : Data
        n rows.
    parameters : Parameters
        k components.

    Returns
    -------
    (n, k) array
        0 for a row with nothing observed.

    Examples
    --------
    >>> p = Parameters(np.ones(1), np.zeros((1, 2)), np.full((1, 2), 4.0), "diag")
    >>> mahalanobis(Data(np.array([[2.0, np.nan]])), p)
    array([[1.]])
    """
    return _by_component(data, parameters, "distance")


def expect(data: Data, parameters: Parameters) -> Moments:
    """Return the moments of the rows under the mixture: the E step.

    Parameters
    ----------
    data : Data
        n rows.
    parameters : Parameters
        k components in d dimensions.

    Returns
    -------
    Moments

    Raises
    ------
    NotPositiveDefiniteError
        If a covariance cannot be inverted.

    Examples
    --------
    >>> p = Parameters(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)), "full")
    >>> expect(Data(np.array([[1.0], [3.0]])), p).first
    array([[4.]])
    """
    k, d = parameters.means.shape
    mass, first = np.zeros(k), np.zeros((k, d))
    second = np.zeros((k, d) if parameters.diagonal else (k, d, d))
    log_likelihood = 0.0
    log_weights = _log_weights(parameters)
    variances = _variances(parameters) if parameters.diagonal else None
    for chunk, conditionals in _conditionals(data, parameters):
        joint = np.column_stack([c.log_density for c in conditionals]) + log_weights
        total = logsumexp(joint, axis=1)
        log_likelihood += float(total.sum())
        responsibility = np.exp(joint - total[:, np.newaxis])
        mass += responsibility.sum(axis=0)
        for j, conditional in enumerate(conditionals):
            r = responsibility[:, j]
            first[j] += r @ conditional.deviation
            if variances is not None:
                second[j] += r @ conditional.deviation**2
                second[j] += variances[j] * (r @ data.holes[chunk.rows])
            else:
                second[j] += (conditional.deviation * r[:, np.newaxis]).T @ conditional.deviation
                _add_spread(second[j], chunk, conditional.spread, r)
    return Moments(log_likelihood, data.n_rows, mass, first, second, parameters.means)


def _add_spread(second: np.ndarray, chunk: _Group, spread: np.ndarray, responsibility: np.ndarray) -> None:
    """Add the covariance of the missing values, which the expected ones do not have."""
    if not chunk.missing.size:
        return
    mass = np.bincount(chunk.pattern, responsibility, minlength=len(chunk.missing))
    rows, columns = chunk.missing[:, :, np.newaxis], chunk.missing[:, np.newaxis, :]
    np.add.at(second, (rows, columns), spread * mass[:, np.newaxis, np.newaxis])
