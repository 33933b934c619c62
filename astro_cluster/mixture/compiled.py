"""The E step in compiled kernels: the engine of choice.

Which kernel takes which rows:

* independent features (diag, spherical): `kernels.diagonal`, with holes and error variances;
* no errors: rows that lack the same features are complete rows of fewer features, so they go
  to `kernels.complete`, and what they say of the missing ones follows from their moments, since
  the expected missing value is a linear function of the observed ones.  That pays where many
  rows share a pattern; rows with a pattern of their own go where errors go;
* errors: `kernels.noisy` up to eight features, `kernels.wide` above.

Rows are cut into slabs whose number depends on the rows alone, and their sums are added in the
order of the slabs, so that the result does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.linalg.lapack import dtrtri

from astro_cluster.mixture.kernels import complete, diagonal, gather, noisy, wide
from astro_cluster.mixture.kernels.lanes import WIDTH
from astro_cluster.mixture.kernels.noisy import NoiseKind
from astro_cluster.mixture.parameters import Moments, Parameters, full_covariances
from astro_cluster.mixture.patterns import Part, Prepared
from astro_cluster.mixture.rows import ADVICE, NotPositiveDefiniteError, Rows
from astro_cluster.threads import available_threads, run_all

__all__ = ["CompiledEngine"]

_LOG_2PI = float(np.log(2 * np.pi))
_BYTES_OF_MODELS = 2**19  # that one pass over a block works with: they stay in the cache
# 1 / (1 - R²) of a feature given the others, up to which the precision matrix keeps ten digits.
_LARGEST_INFLATION = 1e5


@dataclass(slots=True)
class _Sums:
    """Moments of all components of a group of models while they are being added up."""

    log_likelihood: np.ndarray
    mass: np.ndarray
    first: np.ndarray
    second: np.ndarray

    @classmethod
    def empty(cls, n_models: int, k: int, d: int, *, diagonal: bool) -> _Sums:
        """Return zeros."""
        shape = (k, d) if diagonal else (k, d, d)
        return cls(np.zeros(n_models), np.zeros(k), np.zeros((k, d)), np.zeros(shape))

    def add(self, other: _Sums) -> None:
        """Add the sums of other rows."""
        self.log_likelihood += other.log_likelihood
        self.mass += other.mass
        self.first += other.first
        self.second += other.second


@dataclass(frozen=True, slots=True)
class _Group:
    """Models side by side: their components one after another."""

    models: list[Parameters]
    edges: np.ndarray
    log_weights: np.ndarray
    means: np.ndarray

    @property
    def k(self) -> int:
        """Number of components of all models."""
        return len(self.means)

    def covariances(self) -> np.ndarray:
        """Return the covariance matrices of all components."""
        return np.concatenate([full_covariances(model) for model in self.models])

    def variances(self) -> np.ndarray:
        """Return the variances of all components, which are independent in the features."""
        found = []
        for model in self.models:
            values = model.covariances
            if model.covariance_type == "spherical":
                values = np.repeat(values[:, np.newaxis], model.means.shape[1], axis=1)
            if not (values > 0).all():
                bad = int(np.flatnonzero(~(values > 0).all(axis=1))[0])
                raise NotPositiveDefiniteError(
                    f"a variance of component {bad} is not positive: raise reg_covar"
                )
            found.append(values)
        return np.concatenate(found)

    def component_of(self, j: int) -> int:
        """Return the number of a component within its model."""
        return int(j - self.edges[np.searchsorted(self.edges, j, side="right") - 1])


def _group(models: Sequence[Parameters]) -> _Group:
    edges = np.concatenate([[0], np.cumsum([len(m.weights) for m in models])]).astype(np.int64)
    with np.errstate(divide="ignore"):
        log_weights = np.log(np.concatenate([m.weights for m in models]))
    return _Group(list(models), edges, log_weights, np.concatenate([m.means for m in models]))


def _whitening(covariances: np.ndarray, group: _Group) -> np.ndarray:
    """Return the inverse Cholesky factors, lower triangles."""
    try:
        lower = np.linalg.cholesky(covariances)
    except np.linalg.LinAlgError as error:
        bad = next(j for j, c in enumerate(covariances) if not _positive_definite(c))
        raise NotPositiveDefiniteError(
            f"the covariance of component {group.component_of(bad)} is not positive definite: {ADVICE}"
        ) from error
    inverse = np.empty_like(lower)
    for j, factor in enumerate(lower):
        inverse[j] = dtrtri(factor, lower=1)[0]  # above the diagonal it leaves the zeros
    return inverse


def _positive_definite(covariance: np.ndarray) -> bool:
    try:
        np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        return False
    return True


def _kind(noise: np.ndarray) -> NoiseKind:
    return 1 if noise.ndim == 2 else 2


def _in_groups(models: Sequence[Parameters], d: int) -> Iterator[list[Parameters]]:
    """Yield models, as many together as the cache can hold."""
    most = max(_BYTES_OF_MODELS // (8 * complete.padded(d) ** 2), 1)
    chosen: list[Parameters] = []
    k = 0
    for model in models:
        if chosen and k + len(model.weights) > most:
            yield chosen
            chosen, k = [], 0
        chosen.append(model)
        k += len(model.weights)
    if chosen:
        yield chosen


def _moments(group: _Group, sums: _Sums, total_weight: float) -> list[Moments]:
    result = []
    for m, model in enumerate(group.models):
        own = slice(group.edges[m], group.edges[m + 1])
        result.append(
            Moments(
                float(sums.log_likelihood[m]),
                total_weight,
                sums.mass[own],
                sums.first[own],
                sums.second[own],
                model.means,
            )
        )
    return result


def _complete_parameters(
    whitening: np.ndarray, means: np.ndarray, log_weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return whitening matrices, means and constants of the densities, padded to whole tiles."""
    k, d = means.shape
    size = complete.padded(d)
    matrices, centres = np.zeros((k, size, size)), np.zeros((k, size))
    matrices[:, :d, :d], centres[:, :d] = whitening, means
    constants = log_weights + np.log(np.diagonal(whitening, axis1=1, axis2=2)).sum(axis=1)
    return matrices, centres, constants - 0.5 * d * _LOG_2PI


def _packed_parameters(means: np.ndarray, covariances: np.ndarray, log_weights: np.ndarray) -> np.ndarray:
    """Return log weight, mean and lower triangle of the covariance of each component."""
    rows, columns = np.tril_indices(means.shape[1])
    return np.column_stack([log_weights, means, covariances[:, rows, columns]])


def _wide_parameters(means: np.ndarray, covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means and covariances, padded as `kernels.wide` wants them."""
    k, d = means.shape
    size = complete.padded(d)
    centres, matrices = np.zeros((k, size)), np.zeros((k, wide.rows_with_margin(size), size))
    centres[:, :d], matrices[:, :d, :d] = means, covariances
    return centres, matrices


def _precisions(covariances: np.ndarray, group: _Group) -> np.ndarray | None:
    """Return the precision matrices, or None if one of them would cost digits."""
    whitening = _whitening(covariances, group)
    precisions = np.swapaxes(whitening, 1, 2) @ whitening
    inflation = np.einsum("kii->ki", covariances) * np.einsum("kii->ki", precisions)
    return precisions if (inflation < _LARGEST_INFLATION).all() else None


def _gather_parameters(group: _Group, precisions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return means, precisions and constants of the densities, padded to whole tiles."""
    k, d = group.means.shape
    size = complete.padded(d)
    centres, matrices = np.zeros((k, size)), np.zeros((k, size, size))
    centres[:, :d], matrices[:, :d, :d] = group.means, precisions
    return centres, matrices, group.log_weights + 0.5 * np.linalg.slogdet(precisions)[1]


def _expanded(observed: _Sums, covariances: np.ndarray, whitening: np.ndarray, seen: np.ndarray) -> _Sums:
    """Return the moments of all features from those of the observed ones.

    Given these, the others are Gaussian about C_mo C_oo^-1 x_o with a covariance that does not
    depend on x_o.
    """
    k, d = covariances.shape[:2]
    missing = np.setdiff1d(np.arange(d), seen)
    across = covariances[:, missing[:, np.newaxis], seen] @ np.swapaxes(whitening, 1, 2)
    map_ = np.zeros((k, d, len(seen)))
    map_[:, seen, np.arange(len(seen))] = 1.0
    map_[:, missing] = across @ whitening
    second = map_ @ observed.second @ np.swapaxes(map_, 1, 2)
    spread = covariances[:, missing[:, np.newaxis], missing] - across @ np.swapaxes(across, 1, 2)
    second[:, missing[:, np.newaxis], missing] += observed.mass[:, np.newaxis, np.newaxis] * spread
    first = (map_ @ observed.first[:, :, np.newaxis])[:, :, 0]
    return _Sums(observed.log_likelihood, observed.mass, first, second)


class CompiledEngine:
    """E steps by Numba kernels with explicit vectors.

    Parameters
    ----------
    n_threads : int, optional
        Threads to use; by default as many as there are cores for this process.
    """

    def __init__(self, n_threads: int | None = None) -> None:
        self.n_threads = n_threads or available_threads()

    def prepare(self, rows: Rows) -> Prepared:
        """Return the rows as the kernels want them.

        Parameters
        ----------
        rows : Rows
            Any memory layout; native doubles without gaps are not copied.

        Returns
        -------
        Prepared
        """

        def tidy(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else np.ascontiguousarray(array, dtype=np.float64)

        return Prepared(Rows(tidy(rows.values), tidy(rows.noise), tidy(rows.weights)))  # type: ignore[arg-type]

    # ------------------------------------------------------------ moments

    def expect(self, prepared: Prepared, models: Sequence[Parameters]) -> list[Moments]:
        """Return the moments of the rows under each mixture.

        Parameters
        ----------
        prepared : Prepared
            n rows.
        models : sequence of Parameters
            Mixtures in d dimensions with the same kind of covariances.

        Returns
        -------
        list of Moments

        Raises
        ------
        NotPositiveDefiniteError
            If a covariance cannot be inverted.
        """
        groups = [_group(chosen) for chosen in _in_groups(models, prepared.rows.n_features)]
        if len(prepared.whole.slabs()) > 1:
            sums = [self._sums(prepared, group) for group in groups]
        else:  # of few rows not these but the groups of models are shared out among the threads
            prepared.by_pattern()
            sums = run_all([partial(self._sums, prepared, group) for group in groups], self.n_threads)
        total = prepared.rows.total_weight
        return [m for group, own in zip(groups, sums, strict=True) for m in _moments(group, own, total)]

    def _sums(self, prepared: Prepared, group: _Group) -> _Sums:
        independent = group.models[0].diagonal
        noise = prepared.rows.noise
        if independent and (noise is None or noise.ndim == 2):
            return self._diagonal(prepared, group)
        d = prepared.rows.n_features
        sums = _Sums.empty(len(group.models), group.k, d, diagonal=False)
        covariances = group.covariances()
        if noise is not None:
            _whitening(covariances, group)  # says which component is at fault
            sums.add(self._scattered(prepared.whole, prepared.noise(), group, covariances, _kind(noise)))
        else:
            parts, rest = prepared.by_pattern()
            for part in parts:
                sums.add(self._alike(part, group, covariances))
            if rest is not None:
                sums.add(self._scattered(rest, prepared.noise(), group, covariances, 0))
        if independent:
            sums.second = np.ascontiguousarray(np.einsum("kii->ki", sums.second))
        return sums

    def _add_slabs(self, part: Part, one: Callable[[int, int], Any]) -> list[Any]:
        return run_all([partial(one, begin, end) for begin, end in part.slabs()], self.n_threads)

    def _diagonal(self, prepared: Prepared, group: _Group) -> _Sums:
        variances = group.variances()
        noise = prepared.noise()
        kernel, _ = diagonal.kernels(noise.size > 0)
        d = prepared.rows.n_features
        total = _Sums.empty(len(group.models), group.k, d, diagonal=True)
        flat = [a.reshape(-1) for a in (group.means, variances, np.log(variances))]
        part = prepared.whole

        def one(begin: int, end: int) -> _Sums:
            sums = _Sums.empty(len(group.models), group.k, d, diagonal=True)
            lanes = np.zeros((len(group.models), WIDTH))
            kernel(
                part.values, noise, part.weights, begin, end, *flat, group.log_weights, group.edges,
                sums.mass, sums.first.reshape(-1), sums.second.reshape(-1), lanes,
            )  # fmt: skip
            sums.log_likelihood = lanes.sum(axis=1)
            return sums

        for sums in self._add_slabs(part, one):
            total.add(sums)
        return total

    def _alike(self, part: Part, group: _Group, covariances: np.ndarray) -> _Sums:
        """Add up rows that lack the same features."""
        d = covariances.shape[1]
        seen = np.arange(d) if part.observed is None else part.observed
        own = covariances[:, seen[:, np.newaxis], seen]
        whitening = _whitening(own, group)
        prepared = _complete_parameters(whitening, group.means[:, seen], group.log_weights)
        size = complete.padded(len(seen))
        n_tiles = size // complete.TILE * (size // complete.TILE + 1) // 2
        kernel, _ = complete.kernels(len(seen))
        most = int(np.diff(group.edges).max())

        def one(begin: int, end: int) -> tuple[np.ndarray, ...]:
            mass, first = np.zeros(group.k), np.zeros((group.k, size))
            second, total = np.zeros((group.k, n_tiles * 16)), np.zeros((len(group.models), WIDTH))
            joint = np.empty(most * complete.BLOCK)
            kernel(
                part.values, part.weights, begin, end, *prepared, group.edges, joint, mass, first, second,
                total,
            )  # fmt: skip
            return total, mass, first, second

        added = [sum(arrays[1:], arrays[0]) for arrays in zip(*self._add_slabs(part, one), strict=True)]
        second = complete.unpack_second(added[3].reshape(group.k, n_tiles, 16), len(seen))
        observed = _Sums(added[0].sum(axis=1), added[1], added[2][:, : len(seen)], second)
        return observed if len(seen) == d else _expanded(observed, covariances, whitening, seen)

    def _scattered(
        self, part: Part, noise: np.ndarray, group: _Group, covariances: np.ndarray, kind: NoiseKind
    ) -> _Sums:
        """Add up rows each of which has a covariance of its own."""
        d = covariances.shape[1]
        if d <= noisy.MOST_FEATURES:
            return self._scattered_few(part, noise, group, covariances, kind)
        if kind == 0 and (precisions := _precisions(covariances, group)) is not None:
            return self._gathered(part, group, precisions)
        size = complete.padded(d)
        n_tiles = size // complete.TILE * (size // complete.TILE + 1) // 2
        kernel, _ = wide.kernels(kind)
        means, matrices = _wide_parameters(group.means, covariances)

        def one(begin: int, end: int) -> tuple[np.ndarray, ...]:
            mass, first = np.zeros(group.k), np.zeros((group.k, size))
            second, total = np.zeros((group.k, n_tiles * 16)), np.zeros((len(group.models), WIDTH))
            kernel(
                part.values, noise, part.weights, begin, end, means, matrices, group.log_weights,
                group.edges, mass, first, second, total,
            )  # fmt: skip
            return total, mass, first, second

        added = [sum(arrays[1:], arrays[0]) for arrays in zip(*self._add_slabs(part, one), strict=True)]
        second = complete.unpack_second(added[3].reshape(group.k, n_tiles, 16), d)
        return _Sums(added[0].sum(axis=1), added[1], added[2][:, :d], second)

    def _gathered(self, part: Part, group: _Group, precisions: np.ndarray) -> _Sums:
        """Add up rows with holes of their own under well-conditioned components."""
        d = precisions.shape[1]
        parameters = _gather_parameters(group, precisions)
        size = complete.padded(d)
        n_tiles = size // complete.TILE * (size // complete.TILE + 1) // 2
        kernel, _ = gather.kernels()

        def one(begin: int, end: int) -> tuple[np.ndarray, ...]:
            mass, first = np.zeros(group.k), np.zeros((group.k, size))
            second, total = np.zeros((group.k, n_tiles * 16)), np.zeros((len(group.models), WIDTH))
            spread = np.zeros((group.k, d, d))
            kernel(
                part.values, part.weights, begin, end, *parameters, group.edges, mass, first, second, spread,
                total,
            )  # fmt: skip
            return total, mass, first, second, spread

        added = [sum(arrays[1:], arrays[0]) for arrays in zip(*self._add_slabs(part, one), strict=True)]
        second = complete.unpack_second(added[3].reshape(group.k, n_tiles, 16), d)
        # Of each pair of missing features one order was added up.
        spread = np.tril(added[4])
        second += spread + np.swapaxes(np.tril(spread, -1), 1, 2)
        return _Sums(added[0].sum(axis=1), added[1], added[2][:, :d], second)

    def _scattered_few(
        self, part: Part, noise: np.ndarray, group: _Group, covariances: np.ndarray, kind: NoiseKind
    ) -> _Sums:
        d = covariances.shape[1]
        kernel, _ = noisy.kernels(d, kind)
        packed = _packed_parameters(group.means, covariances, group.log_weights)
        width = packed.shape[1]

        def one(begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
            sums, total = np.zeros(packed.size * WIDTH), np.zeros((len(group.models), WIDTH))
            kernel(part.values, noise, part.weights, begin, end, packed.reshape(-1), group.edges, sums, total)
            return total, sums.reshape(group.k, width, WIDTH).sum(axis=2)

        total, sums = (sum(a[1:], a[0]) for a in zip(*self._add_slabs(part, one), strict=True))
        second = np.empty((group.k, d, d))
        rows, columns = np.tril_indices(d)
        second[:, rows, columns] = second[:, columns, rows] = sums[:, 1 + d :]
        return _Sums(total.sum(axis=1), sums[:, 0], sums[:, 1 : 1 + d], second)

    # ------------------------------------------------------------ densities

    def log_joint(self, prepared: Prepared, parameters: Parameters) -> np.ndarray:
        """Return log(weight × density of the observed values) by row and component.

        Parameters
        ----------
        prepared : Prepared
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
        """
        group = _group([parameters])
        rows, noise = prepared.rows, prepared.rows.noise
        result = np.empty((len(rows), group.k))
        if parameters.diagonal and (noise is None or noise.ndim == 2):
            variances = group.variances()
            _, kernel = diagonal.kernels(noise is not None)
            flat = [a.reshape(-1) for a in (group.means, variances, np.log(variances))]
            self._add_slabs(
                prepared.whole,
                lambda begin, end: kernel(
                    rows.values, prepared.noise(), begin, end, *flat, group.log_weights, result
                ),
            )
        else:
            covariances = group.covariances()
            if noise is not None:
                _whitening(covariances, group)
                kind = _kind(noise)
                self._joint_scattered(prepared.whole, prepared.noise(), group, covariances, kind, result)
            else:
                parts, rest = prepared.by_pattern()
                for part in parts:
                    self._joint_alike(part, group, covariances, result)
                if rest is not None:
                    self._joint_scattered(rest, prepared.noise(), group, covariances, 0, result)
        result[:, parameters.weights == 0] = -np.inf
        return result

    def _joint_alike(self, part: Part, group: _Group, covariances: np.ndarray, result: np.ndarray) -> None:
        d = covariances.shape[1]
        seen = np.arange(d) if part.observed is None else part.observed
        whitening = _whitening(covariances[:, seen[:, np.newaxis], seen], group)
        parameters = _complete_parameters(whitening, group.means[:, seen], group.log_weights)
        _, kernel = complete.kernels(len(seen))
        out = result if part.index is None else np.empty((len(part.values), group.k))

        def one(begin: int, end: int) -> None:
            kernel(part.values, begin, end, *parameters, np.empty(group.k * complete.BLOCK), out)

        self._add_slabs(part, one)
        if part.index is not None:
            result[part.index] = out

    def _joint_scattered(
        self,
        part: Part,
        noise: np.ndarray,
        group: _Group,
        covariances: np.ndarray,
        kind: NoiseKind,
        result: np.ndarray,
    ) -> None:
        d = covariances.shape[1]
        out = np.empty((len(part.values), group.k))
        if d <= noisy.MOST_FEATURES:
            _, few = noisy.kernels(d, kind)
            packed = _packed_parameters(group.means, covariances, group.log_weights).reshape(-1)
            self._add_slabs(part, lambda begin, end: few(part.values, noise, begin, end, packed, out))
        elif kind == 0 and (precisions := _precisions(covariances, group)) is not None:
            _, gathering = gather.kernels()
            found = _gather_parameters(group, precisions)
            self._add_slabs(part, lambda begin, end: gathering(part.values, begin, end, *found, out))
        else:
            _, kernel = wide.kernels(kind)
            means, matrices = _wide_parameters(group.means, covariances)
            self._add_slabs(
                part,
                lambda begin, end: kernel(
                    part.values, noise, begin, end, means, matrices, group.log_weights, out
                ),
            )
        result[slice(None) if part.index is None else part.index] = out
