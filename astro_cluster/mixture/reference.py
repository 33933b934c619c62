"""The E step: exact with missing values, measurement errors and weights, in NumPy.

The reference that the faster engines are held against.

A missing value is integrated out.  With the precision matrix P of a component, the marginal
over the observed dimensions o of a row follows from the missing ones m alone:

* the quadratic form is d'Pd - r' P_mm^-1 r, with d = x - mean (0 where missing), r = (Pd)_m;
* log|C_oo| = log|C| + log|P_mm|;
* given what is observed, the missing part is Gaussian with mean  mean_m - P_mm^-1 r  and
  covariance P_mm^-1, which gives the exact moments (Ghahramani & Jordan 1994, NIPS 6, 120).

This costs little where little is missing, but digits where features are nearly determined by
each other.  A component whose correlation matrix is ill-conditioned therefore takes the longer
way, through the covariance of what is observed.  Rows are grouped by their number of missing
values, so that each group is one batched Cholesky decomposition.

Rows with measurement errors have a covariance each, T = C_oo + error_oo, and with it the true
value of a row is Gaussian with mean  mean + C_:o T^-1 (x - mean)_o  and covariance
C - C_:o T^-1 C_o:, its missing dimensions included (extreme deconvolution: Bovy, Hogg &
Roweis 2011, AOAS 5, 1657).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from astro_cluster.mixture.parameters import Moments, Parameters, full_covariances
from astro_cluster.mixture.rows import ADVICE, NotPositiveDefiniteError, Rows

__all__ = ["BAD_NOISE", "DEPENDENT", "Data", "NumpyEngine", "cholesky_factors", "variances_of"]

_LOG_2PI = float(np.log(2 * np.pi))
_CHUNK_VALUES = 2**21  # numbers in one temporary array: 16 MB
_LARGEST_CONDITION = 1e6  # of a correlation matrix, for ten digits by the short way
_FARTHEST = 1e300  # squared distance: beyond, nothing could be told apart
DEPENDENT = f"the covariance of some of the features is not positive definite: {ADVICE}"
BAD_NOISE = "the covariance matrix of the measurement error of a row is not positive semi-definite"


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows with the same number of missing values.

    ``rows`` are their numbers in the data; row i has pattern ``pattern[i]``, whose missing
    dimensions are ``missing[pattern[i]]``.
    """

    rows: np.ndarray
    pattern: np.ndarray
    missing: np.ndarray


class Data:
    """Rows prepared for many E steps.

    Parameters
    ----------
    rows : Rows
        What was measured.
    """

    def __init__(self, rows: Rows) -> None:
        X = rows.values
        self.n_rows, self.n_features = X.shape
        self.total_weight = rows.total_weight
        self.weights, self.noise = rows.weights, rows.noise
        self.holes = np.isnan(X)
        self.values = np.where(self.holes, 0.0, X)
        self.groups: list[_Group] = []
        if self.noise is None:  # otherwise no two rows share a covariance
            self._group()

    def _group(self) -> None:
        counts = self.holes.sum(axis=1)
        for count in np.unique(counts):
            rows = np.flatnonzero(counts == count)
            patterns, index = np.unique(self.holes[rows], axis=0, return_inverse=True)
            order = np.argsort(index.reshape(-1), kind="stable")
            rows, index = rows[order], index.reshape(-1)[order]
            missing = np.nonzero(patterns)[1].reshape(len(patterns), count)
            self.groups.append(_Group(rows, index, missing))

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
                yield _Group(group.rows[part], group.pattern[part] - low, group.missing[low:high])


@dataclass(frozen=True, slots=True)
class _Precision:
    """Precision matrix of one component, its covariance, and half the log determinant of that."""

    matrix: np.ndarray
    whitening: np.ndarray
    half_log_det: float
    covariance: np.ndarray
    well_conditioned: bool


def cholesky_factors(parameters: Parameters) -> np.ndarray:
    """Return the lower Cholesky factor of the covariance of every component.

    Parameters
    ----------
    parameters : Parameters
        Of k components in d dimensions.

    Returns
    -------
    (k, d, d) array
        (1, d, d) for tied.

    Raises
    ------
    NotPositiveDefiniteError
        If a covariance is not positive definite.

    Examples
    --------
    >>> p = Parameters(np.ones(1), np.zeros((1, 1)), np.array([[[4.0]]]), "full")
    >>> cholesky_factors(p)
    array([[[2.]]])
    """
    covariances = full_covariances(parameters)[: 1 if parameters.covariance_type == "tied" else None]
    factors = np.empty(covariances.shape)
    for k, covariance in enumerate(covariances):
        factors[k] = _cholesky(
            covariance, f"the covariance of component {k} is not positive definite: {ADVICE}"
        )
    return factors


def variances_of(parameters: Parameters) -> np.ndarray:
    """Return the variances of every component of a mixture with independent dimensions.

    Parameters
    ----------
    parameters : Parameters
        Diagonal or spherical, of k components in d dimensions.

    Returns
    -------
    (k, d) array

    Raises
    ------
    NotPositiveDefiniteError
        If a variance is not positive.

    Examples
    --------
    >>> variances_of(Parameters(np.ones(1), np.zeros((1, 2)), np.array([4.0]), "spherical"))
    array([[4., 4.]])
    """
    variances = parameters.covariances
    if parameters.covariance_type == "spherical":
        variances = np.repeat(variances[:, np.newaxis], parameters.means.shape[1], axis=1)
    if not (variances > 0).all():
        bad = int(np.flatnonzero(~(variances > 0).all(axis=1))[0])
        raise NotPositiveDefiniteError(f"a variance of component {bad} is not positive: raise reg_covar")
    return variances


def _precisions(parameters: Parameters) -> list[_Precision]:
    result = []
    covariances = full_covariances(parameters)
    for lower, covariance in zip(cholesky_factors(parameters), covariances, strict=False):
        inverse = solve_triangular(lower, np.eye(len(lower)), lower=True)
        half_log_det = float(np.log(np.diagonal(lower)).sum())
        spread = np.sqrt(np.diagonal(covariance))
        # Scaling a feature changes nothing in the arithmetic, so its unit must not count here.
        eigenvalues = np.linalg.eigvalsh(covariance / np.outer(spread, spread))
        well = bool(eigenvalues[-1] < _LARGEST_CONDITION * eigenvalues[0])
        result.append(_Precision(inverse.T @ inverse, inverse.T, half_log_det, covariance, well))
    return result * (len(covariances) // len(result))


def _cholesky(matrices: np.ndarray, message: str = DEPENDENT) -> np.ndarray:
    try:
        return np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError as error:
        raise NotPositiveDefiniteError(message) from error


@dataclass(frozen=True, slots=True)
class _Conditional:
    """One component seen from a chunk of rows.

    ``deviation`` (n, d) is the expected true value less the mean.  ``spread`` sums up, for given
    weights of the rows, the covariances (for independent dimensions the variances) of the true
    values around it.
    """

    log_density: np.ndarray
    distance: np.ndarray
    deviation: np.ndarray
    spread: Callable[[np.ndarray], np.ndarray]


def _spread_of_missing(chunk: _Group, blocks: np.ndarray, d: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return what sums up the covariances ``blocks`` (p, m, m) of the missing part of each pattern."""

    def spread(weights: np.ndarray) -> np.ndarray:
        second = np.zeros((d, d))
        if chunk.missing.size:
            mass = np.bincount(chunk.pattern, weights, minlength=len(chunk.missing))
            where = chunk.missing[:, :, np.newaxis], chunk.missing[:, np.newaxis, :]
            np.add.at(second, where, blocks * mass[:, np.newaxis, np.newaxis])
        return second

    return spread


def _condition_on_observed(
    chunk: _Group, values: np.ndarray, mean: np.ndarray, precision: _Precision
) -> _Conditional:
    """Do what `_condition` does by the longer way, exact also for nearly dependent features."""
    covariance = precision.covariance
    n_missing = chunk.missing.shape[1]
    everything = np.ones((len(chunk.missing), len(mean)), dtype=bool)
    np.put_along_axis(everything, chunk.missing, False, axis=1)
    observed = np.nonzero(everything)[1].reshape(len(chunk.missing), len(mean) - n_missing)
    lower = _cholesky(covariance[observed[:, :, np.newaxis], observed[:, np.newaxis, :]])
    half_log_det = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)[chunk.pattern]
    across = covariance[observed[:, :, np.newaxis], chunk.missing[:, np.newaxis, :]]
    gain = np.linalg.solve(lower, across)
    blocks = covariance[chunk.missing[:, :, np.newaxis], chunk.missing[:, np.newaxis, :]]
    blocks = blocks - np.swapaxes(gain, 1, 2) @ gain
    rows = np.arange(len(chunk.rows))[:, np.newaxis]
    seen = observed[chunk.pattern]
    deviation = values - mean
    white = np.linalg.solve(lower[chunk.pattern], deviation[rows, seen][:, :, np.newaxis])[:, :, 0]
    distance = np.clip(np.einsum("ni,ni->n", white, white), 0.0, _FARTHEST)
    deviation[rows, chunk.missing[chunk.pattern]] = np.einsum("nim,ni->nm", gain[chunk.pattern], white)
    log_density = -0.5 * (distance + observed.shape[1] * _LOG_2PI) - half_log_det
    return _Conditional(log_density, distance, deviation, _spread_of_missing(chunk, blocks, len(mean)))


def _condition(chunk: _Group, values: np.ndarray, mean: np.ndarray, precision: _Precision) -> _Conditional:
    if not precision.well_conditioned and 0 < chunk.missing.shape[1] < len(mean):
        return _condition_on_observed(chunk, values, mean, precision)
    n_missing = chunk.missing.shape[1]
    n_observed = len(mean) - n_missing
    deviation = values - mean
    rows = np.arange(len(chunk.rows))[:, np.newaxis]
    missing = chunk.missing[chunk.pattern]
    deviation[rows, missing] = 0.0
    half_log_det = np.full(len(rows), precision.half_log_det)
    blocks = np.empty((len(chunk.missing), n_missing, n_missing))
    if n_observed == 0:  # an empty product is 1, exactly
        blocks[:] = precision.covariance
        distance, half_log_det = np.zeros(len(rows)), np.zeros(len(rows))
    elif not n_missing:
        distance = ((deviation @ precision.whitening) ** 2).sum(axis=1)
    else:
        pulled = deviation @ precision.matrix
        distance = np.einsum("ij,ij->i", pulled, deviation)
        block = precision.matrix[chunk.missing[:, :, np.newaxis], chunk.missing[:, np.newaxis, :]]
        lower = _cholesky(block)
        blocks = np.linalg.inv(block)
        half_log_det += np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)[chunk.pattern]
        pulled_missing = np.take_along_axis(pulled, missing, axis=1)
        expected = -np.einsum("nij,nj->ni", blocks[chunk.pattern], pulled_missing)
        distance = distance + np.einsum("ni,ni->n", expected, pulled_missing)
        deviation[rows, missing] = expected
    distance = np.clip(distance, 0.0, _FARTHEST)
    log_density = -0.5 * (distance + n_observed * _LOG_2PI) - half_log_det
    return _Conditional(log_density, distance, deviation, _spread_of_missing(chunk, blocks, len(mean)))


def _condition_diagonal(
    values: np.ndarray, seen: np.ndarray, noise: np.ndarray, mean: np.ndarray, variance: np.ndarray
) -> _Conditional:
    """Do the same for independent dimensions, where a missing one just drops out."""
    total = variance + noise
    deviation = np.where(seen, values - mean, 0.0)
    distance = np.clip((deviation**2 / total).sum(axis=1), 0.0, _FARTHEST)
    log_density = -0.5 * (distance + np.where(seen, np.log(total) + _LOG_2PI, 0.0).sum(axis=1))
    left = np.where(seen, variance * (noise / total), variance)
    return _Conditional(log_density, distance, deviation * (variance / total), lambda weights: weights @ left)


def _condition_noisy(
    values: np.ndarray,
    seen: np.ndarray,
    noise: np.ndarray,
    mean: np.ndarray,
    covariance: np.ndarray,
    diagonal: bool,
) -> _Conditional:
    """Do the same where every row has an error covariance of its own."""
    n, d = values.shape
    both = seen[:, :, np.newaxis] & seen[:, np.newaxis, :]
    # A missing dimension becomes an independent one of variance 1 with deviation 0: it adds nothing.
    lower = _cholesky(np.where(both, covariance + noise, np.eye(d)), BAD_NOISE)
    deviation = np.where(seen, values - mean, 0.0)
    across = np.where(seen[:, :, np.newaxis], covariance, 0.0)
    solved = np.linalg.solve(lower, np.concatenate([across, deviation[:, :, np.newaxis]], axis=2))
    gain, white = solved[:, :, :-1], solved[:, :, -1]
    distance = np.clip(np.einsum("ni,ni->n", white, white), 0.0, _FARTHEST)
    half_log_det = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
    log_density = -0.5 * (distance + seen.sum(axis=1) * _LOG_2PI) - half_log_det

    def spread(weights: np.ndarray) -> np.ndarray:
        if diagonal:
            return weights.sum() * np.diagonal(covariance) - np.einsum("n,nij,nij->j", weights, gain, gain)
        flat = gain.reshape(n * d, d)
        return weights.sum() * covariance - (flat * np.repeat(weights, d)[:, np.newaxis]).T @ flat

    return _Conditional(log_density, distance, np.einsum("ni,nij->nj", white, gain), spread)


def _noise_of(data: Data, rows: slice, seen: np.ndarray, full: bool) -> np.ndarray:
    """Return the errors of some rows, as variances or as matrices, 0 where nothing was measured."""
    noise = data.noise[rows]
    if noise.ndim == 3:
        return np.where(seen[:, :, np.newaxis] & seen[:, np.newaxis, :], noise, 0.0)
    noise = np.where(seen, noise, 0.0)
    return noise[:, :, np.newaxis] * np.eye(noise.shape[1]) if full else noise


def _conditionals(
    data: Data, parameters: Parameters
) -> Iterator[tuple[slice | np.ndarray, list[_Conditional]]]:
    """Yield the numbers of the rows of a chunk, and each component as seen from them."""
    means, diagonal = parameters.means, parameters.diagonal
    k, d = means.shape
    independent = diagonal and (data.noise is None or data.noise.ndim == 2)
    if not independent and data.noise is None:
        precisions = _precisions(parameters)
        for chunk in data.chunks():
            values = data.values[chunk.rows]
            yield (
                chunk.rows,
                [_condition(chunk, values, m, p) for m, p in zip(means, precisions, strict=True)],
            )
        return
    spreads = (
        list(variances_of(parameters)) if independent else [p.covariance for p in _precisions(parameters)]
    )
    size = max(1, _CHUNK_VALUES // (k * (d if independent else d * (d + 1))))
    for start in range(0, data.n_rows, size):
        rows = slice(start, start + size)
        values, seen = data.values[rows], ~data.holes[rows]
        if independent:
            noise = np.zeros(d) if data.noise is None else _noise_of(data, rows, seen, full=False)
            found = [
                _condition_diagonal(values, seen, noise, m, v) for m, v in zip(means, spreads, strict=True)
            ]
        else:
            noise = _noise_of(data, rows, seen, full=True)
            found = [
                _condition_noisy(values, seen, noise, m, c, diagonal)
                for m, c in zip(means, spreads, strict=True)
            ]
        yield rows, found


def _log_weights(parameters: Parameters) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(parameters.weights)


def _by_component(data: Data, parameters: Parameters, what: str) -> np.ndarray:
    """Return one number of each row seen from each component, (n, k)."""
    result = np.empty((data.n_rows, len(parameters.weights)))
    for rows, conditionals in _conditionals(data, parameters):
        for k, conditional in enumerate(conditionals):
            result[rows, k] = getattr(conditional, what)
    return result


def _expect(data: Data, parameters: Parameters) -> Moments:
    k, d = parameters.means.shape
    mass, first = np.zeros(k), np.zeros((k, d))
    second = np.zeros((k, d) if parameters.diagonal else (k, d, d))
    log_likelihood = 0.0
    log_weights = _log_weights(parameters)
    for rows, conditionals in _conditionals(data, parameters):
        joint = np.column_stack([c.log_density for c in conditionals]) + log_weights
        likeliest = joint.max(axis=1, keepdims=True)
        responsibility = np.exp(joint - likeliest)
        total = responsibility.sum(axis=1, keepdims=True)
        # Divided, they add up to 1 also where all joint densities are 1e-100000.
        responsibility, total = responsibility / total, (np.log(total) + likeliest)[:, 0]
        if data.weights is None:
            log_likelihood += float(total.sum())
        else:
            log_likelihood += float(data.weights[rows] @ total)
            responsibility *= data.weights[rows, np.newaxis]
        mass += responsibility.sum(axis=0)
        for j, conditional in enumerate(conditionals):
            r, deviation = responsibility[:, j], conditional.deviation
            first[j] += r @ deviation
            if parameters.diagonal:
                second[j] += r @ deviation**2
            else:
                second[j] += (deviation * r[:, np.newaxis]).T @ deviation
            second[j] += conditional.spread(r)
    return Moments(log_likelihood, data.total_weight, mass, first, second, parameters.means)


class NumpyEngine:
    """The engine without anything to compile or to install: the reference for the others.

    Examples
    --------
    >>> p = Parameters(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)), "full")
    >>> engine = NumpyEngine()
    >>> rows = engine.prepare(Rows(np.array([[1.0], [3.0]])))
    >>> engine.expect(rows, [p])[0].first
    array([[4.]])

    A measurement error as large as the width of the component draws the true values half the way
    to its mean.

    >>> rows = engine.prepare(Rows(np.array([[1.0], [3.0]]), noise=np.ones((2, 1))))
    >>> engine.expect(rows, [p])[0].first
    array([[2.]])
    """

    def prepare(self, rows: Rows) -> Data:
        """Sort the rows for many passes.

        Parameters
        ----------
        rows : Rows
            n rows.

        Returns
        -------
        Data
        """
        return Data(rows)

    def expect(self, prepared: Data, models: Sequence[Parameters]) -> list[Moments]:
        """Return the moments of the rows under each of several mixtures: the E step.

        Parameters
        ----------
        prepared : Data
            From `prepare`.
        models : sequence of Parameters
            The mixtures.

        Returns
        -------
        list of Moments

        Raises
        ------
        NotPositiveDefiniteError
            If a covariance cannot be inverted.
        """
        return [_expect(prepared, parameters) for parameters in models]

    def log_joint(self, prepared: Data, parameters: Parameters) -> np.ndarray:
        """Return log(weight × density of the observed values) by row and component.

        Parameters
        ----------
        prepared : Data
            From `prepare`, n rows.
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
        >>> engine = NumpyEngine()
        >>> engine.log_joint(engine.prepare(Rows(np.array([[0.0, np.nan]]))), p).round(6)
        array([[-0.918939]])
        """
        return _by_component(prepared, parameters, "log_density") + _log_weights(parameters)

    def mahalanobis(self, prepared: Data, parameters: Parameters) -> np.ndarray:
        """Return the squared Mahalanobis distance in the observed dimensions.

        Parameters
        ----------
        prepared : Data
            From `prepare`, n rows.
        parameters : Parameters
            k components.

        Returns
        -------
        (n, k) array
            In units of the covariance of component and measurement error together; 0 for a row
            with nothing observed.

        Raises
        ------
        NotPositiveDefiniteError
            If a covariance cannot be inverted.

        Examples
        --------
        >>> p = Parameters(np.ones(1), np.zeros((1, 2)), np.full((1, 2), 4.0), "diag")
        >>> engine = NumpyEngine()
        >>> engine.mahalanobis(engine.prepare(Rows(np.array([[2.0, np.nan]]))), p)
        array([[1.]])
        """
        return _by_component(prepared, parameters, "distance")
