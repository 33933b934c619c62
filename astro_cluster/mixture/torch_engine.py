"""The E step in PyTorch, on the processor or on a CUDA device.

The rows are moved to the device once; an E step is done there a chunk at a time, and only its
moments come back.  What is computed is what `astro_cluster.mixture.reference` says.  Features
are the last axis of every array here, rows the one before, components the first, so that a chunk
is a few batched operations, however many components there are.

Rows of one pattern of missing values share their covariance.  A pattern that many rows have is a
matrix product of its own; the rows of rare ones go together and each picks its pattern's
matrices.  Rows with measurement errors share nothing: a Cholesky decomposition for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_cluster.mixture.parameters import Moments, Parameters
from astro_cluster.mixture.reference import BAD_NOISE, DEPENDENT, cholesky_factors, variances_of
from astro_cluster.mixture.rows import NotPositiveDefiniteError, Rows

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["TorchEngine"]

_LOG_2PI = float(np.log(2 * np.pi))
_CHUNK_VALUES = 2**19  # numbers in one temporary array: 4 MB, which a processor's cache may hold
_CUDA_CHUNKS = 32  # times larger: 128 MB
_MANY_ROWS = 64  # of one pattern, for a matrix product of its own
_FARTHEST = 1e300  # squared distance: beyond, nothing could be told apart


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "this engine needs PyTorch, which is not installed: pip install 'astro_cluster[torch]'"
        ) from error
    return torch


def _device(name: str) -> torch.device:
    torch = _torch()
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"there is no torch device {name!r}: take 'cpu' or 'cuda'") from error
    if device.type == "mps":
        raise ValueError("mps has no 64-bit numbers, which a mixture needs: take device='cpu'")
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"a mixture cannot be fitted on the torch device {name!r}: take 'cpu' or 'cuda'")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(
                "torch finds no CUDA device here: take device='cpu', or install a driver and a torch for CUDA"
            )
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise ValueError(f"torch finds {torch.cuda.device_count()} CUDA devices here, so not {name!r}")
    return device


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows ``start`` to ``stop`` of the device's data, sorted by pattern of missing values.

    Row ``start + i`` has pattern ``index[i]`` of ``patterns`` (p, d), which are True where there
    is a value; ``index`` is None where all rows have the same.  ``firsts`` are the rows where a
    pattern begins.
    """

    start: int
    stop: int
    patterns: Tensor
    index: Tensor | None
    firsts: np.ndarray
    complete: bool

    def part(self, rows: slice) -> tuple[Tensor, Tensor | None]:
        """Return the patterns that some of the rows have, and which of them each has."""
        if self.index is None:
            return self.patterns, None
        low, high = np.searchsorted(self.firsts, [rows.start, rows.stop - 1], side="right")
        index = self.index[rows.start - self.start : rows.stop - self.start]
        return self.patterns[low - 1 : high], index - int(low - 1)


@dataclass(frozen=True, slots=True)
class _Data:
    """Rows on the device, in the order ``order`` of the original ones.

    ``seen`` is None where nothing is missing; values and errors are 0 at missing values.
    """

    values: Tensor
    seen: Tensor | None
    noise: Tensor | None
    weights: Tensor | None
    total_weight: float
    order: np.ndarray
    blocks: list[_Block]


@dataclass(frozen=True, slots=True)
class _Model:
    """Parameters of k components on the device.

    ``covariances`` is (k, d, d), (1, d, d) for tied, and (k, d) where ``independent``: neither
    the components nor the measurement errors relate one dimension to another.
    """

    log_weights: Tensor
    means: Tensor
    covariances: Tensor
    independent: bool
    diagonal: bool


@dataclass(frozen=True, slots=True)
class _View:
    """A chunk of rows seen from all components.

    ``moments`` returns first and second moments for given responsibilities (k, n), and
    ``failed`` is not 0 if a covariance was not positive definite.
    """

    log_density: Tensor
    distance: Tensor
    moments: Callable[[Tensor], tuple[Tensor, Tensor]]
    failed: Tensor | int = 0


def _weighted(deviation: Tensor, responsibility: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted sums of deviations (k, n, d) and of their products."""
    weighted = deviation * responsibility[:, :, None]
    return weighted.sum(1), weighted.mT @ deviation


def _squares(deviation: Tensor, left: Tensor, responsibility: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted sums of deviations (k, n, d) and of their squares plus ``left``."""
    row = responsibility[:, None, :]
    return (row @ deviation)[:, 0], (row @ (deviation.square() + left))[:, 0]


def _see_independent(model: _Model, values: Tensor, seen: Tensor | None, noise: Tensor | None) -> _View:
    torch = _torch()
    variances = model.covariances[:, None]
    total = variances if noise is None else variances + noise
    deviation = values - model.means[:, None]
    logs = total.log() + _LOG_2PI
    if seen is not None:
        deviation = torch.where(seen, deviation, 0.0)
        logs = torch.where(seen, logs, 0.0)
    distance = (deviation.square() / total).sum(-1).clamp(0.0, _FARTHEST)

    def moments(responsibility: Tensor) -> tuple[Tensor, Tensor]:
        expected, left = deviation, torch.zeros_like(variances)
        if noise is not None:
            expected, left = deviation * (variances / total), variances * (noise / total)
        if seen is not None:
            left = torch.where(seen, left, variances)
        return _squares(expected, left.expand_as(expected), responsibility)

    return _View(-0.5 * (distance + logs.sum(-1)), distance, moments)


def _see_sharp(
    model: _Model, values: Tensor, patterns: Tensor, index: Tensor | None, complete: bool
) -> _View:
    """Look at rows without errors, each of one of a few patterns."""
    torch = _torch()
    covariances = model.covariances[:, None]
    unit = torch.eye(values.shape[-1], dtype=values.dtype, device=values.device)
    both = patterns[:, :, None] & patterns[:, None, :]
    # A missing dimension becomes an independent one of variance 1 with deviation 0: it adds nothing.
    lower, failed = torch.linalg.cholesky_ex(torch.where(both, covariances, unit))
    whitening = torch.linalg.solve_triangular(lower, unit.expand_as(lower), upper=False)
    half_log_det = lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    deviation = values - model.means[:, None]
    seen = patterns[0] if index is None else patterns[index]
    if not complete:
        deviation = torch.where(seen, deviation, 0.0)
    if index is None:
        white = deviation @ whitening[:, 0].mT
    else:
        white = (whitening[:, index] @ deviation[..., None])[..., 0]
        half_log_det = half_log_det[:, index]
    distance = white.square().sum(-1).clamp(0.0, _FARTHEST)

    def moments(responsibility: Tensor) -> tuple[Tensor, Tensor]:
        if complete:
            return _weighted(deviation, responsibility)
        gain = whitening @ torch.where(patterns[:, :, None], covariances, 0.0)
        if index is None:
            expected, mass = white @ gain[:, 0], responsibility.sum(1, keepdim=True)
        else:
            expected = (white[..., None, :] @ gain[:, index])[..., 0, :]
            mass = responsibility.new_zeros(len(responsibility), len(patterns))
            mass.index_add_(1, index, responsibility)
        first, second = _weighted(torch.where(seen, deviation, expected), responsibility)
        neither = ~patterns[:, :, None] & ~patterns[:, None, :]
        spread = torch.where(neither, covariances - gain.mT @ gain, 0.0)
        return first, second + (mass[:, :, None, None] * spread).sum(1)

    # Counted in 64-bit numbers: integers times a Python number would be 32-bit ones.
    log_density = -0.5 * (distance + seen.sum(-1, dtype=values.dtype) * _LOG_2PI) - half_log_det
    return _View(log_density, distance, moments, failed.amax())


def _see_noisy(model: _Model, values: Tensor, seen: Tensor | None, noise: Tensor) -> _View:
    """Look at rows with errors, each with a covariance of its own."""
    torch = _torch()
    d = values.shape[-1]
    covariances = model.covariances[:, None]
    total = covariances + (torch.diag_embed(noise) if noise.ndim == 2 else noise)
    across = covariances.expand_as(total)
    deviation = values - model.means[:, None]
    n_seen: Tensor | int = d
    if seen is not None:
        both = seen[:, :, None] & seen[:, None, :]
        total = torch.where(both, total, torch.eye(d, dtype=values.dtype, device=values.device))
        across = torch.where(seen[:, :, None], across, 0.0)
        deviation = torch.where(seen, deviation, 0.0)
        n_seen = seen.sum(-1, dtype=values.dtype)
    lower, failed = torch.linalg.cholesky_ex(total)
    white = torch.linalg.solve_triangular(lower, deviation[..., None], upper=False)[..., 0]
    distance = white.square().sum(-1).clamp(0.0, _FARTHEST)
    half_log_det = lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def moments(responsibility: Tensor) -> tuple[Tensor, Tensor]:
        gain = torch.linalg.solve_triangular(lower, across, upper=False)
        expected = (white[..., None, :] @ gain)[..., 0, :]
        if model.diagonal:
            left = covariances.diagonal(dim1=-2, dim2=-1) - gain.square().sum(-2)
            return _squares(expected, left, responsibility)
        first, second = _weighted(expected, responsibility)
        k, n = responsibility.shape
        weighted = (gain * responsibility[:, :, None, None]).reshape(k, n * d, d)
        explained = weighted.mT @ gain.expand(k, n, d, d).reshape(k, n * d, d)
        return first, second + responsibility.sum(1)[:, None, None] * model.covariances - explained

    return _View(-0.5 * (distance + n_seen * _LOG_2PI) - half_log_det, distance, moments, failed.amax())


class TorchEngine:
    """The engine for a graphics card, in 64-bit numbers.

    Parameters
    ----------
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"``, or one of several cards, such as ``"cuda:1"``.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    ValueError
        If there is no such device, or it has no 64-bit numbers.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = _device(device)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.device)!r})"

    def _tensor(self, array: np.ndarray) -> Tensor:
        kind = {"b": np.bool_, "i": np.int64}.get(array.dtype.kind, np.float64)
        # Torch wants an array that could be written to, though it is not.
        return _torch().from_numpy(np.require(array, kind, ["C", "W"])).to(self.device)

    def prepare(self, rows: Rows) -> _Data:
        """Move the rows to the device.

        Parameters
        ----------
        rows : Rows
            n rows.

        Returns
        -------
        object
            For `expect` and `log_joint` of the same engine.
        """
        seen = ~np.isnan(rows.values)
        all_seen = bool(seen.all())
        order, blocks = np.arange(len(rows)), []
        if rows.noise is None:
            order, patterns, counts = _sort_by_pattern(seen)
            blocks = self._blocks(patterns, counts)
            if not all_seen:
                rows, seen = rows.take(order), seen[order]
        noise = rows.noise
        if noise is not None and not all_seen:
            known = seen if noise.ndim == 2 else seen[:, :, np.newaxis] & seen[:, np.newaxis, :]
            noise = np.where(known, noise, 0.0)
        return _Data(
            self._tensor(np.where(seen, rows.values, 0.0)),
            None if all_seen else self._tensor(seen),
            None if noise is None else self._tensor(noise),
            None if rows.weights is None else self._tensor(rows.weights),
            rows.total_weight,
            order,
            blocks,
        )

    def _blocks(self, patterns: np.ndarray, counts: np.ndarray) -> list[_Block]:
        """Return a block for each pattern of many rows, and one for all the others."""
        many = int((counts >= _MANY_ROWS).sum()) if len(counts) > 1 else len(counts)
        ends = np.cumsum(counts)
        firsts = ends - counts
        on_device, complete = self._tensor(patterns), patterns.all(axis=1)
        blocks = []
        for i in range(many):
            one = slice(i, i + 1)
            blocks.append(
                _Block(int(firsts[i]), int(ends[i]), on_device[one], None, firsts[one], bool(complete[i]))
            )
        if many < len(counts):
            index = self._tensor(np.repeat(np.arange(len(counts) - many), counts[many:]))
            start, stop = int(firsts[many]), int(ends[-1])
            blocks.append(_Block(start, stop, on_device[many:], index, firsts[many:], complete=False))
        return blocks

    def _model(self, parameters: Parameters, noise: Tensor | None) -> _Model:
        diagonal = parameters.diagonal
        independent = diagonal and (noise is None or noise.ndim == 2)
        if diagonal:
            variances = variances_of(parameters)
            covariances = (
                variances if independent else variances[:, :, np.newaxis] * np.eye(variances.shape[1])
            )
        else:
            cholesky_factors(parameters)  # for its error
            covariances = parameters.covariances
            if parameters.covariance_type == "tied":
                covariances = covariances[np.newaxis]
        return _Model(
            self._tensor(parameters.weights).log(),
            self._tensor(parameters.means),
            self._tensor(covariances),
            independent,
            diagonal,
        )

    def _views(self, data: _Data, model: _Model) -> Iterator[tuple[slice, _View]]:
        k, d = model.means.shape
        n = len(data.values)
        room = _CHUNK_VALUES * (_CUDA_CHUNKS if self.device.type == "cuda" else 1)
        if model.independent or data.noise is not None:
            for rows in _slices(0, n, room // (k * d * (1 if model.independent else d))):
                seen = None if data.seen is None else data.seen[rows]
                noise = None if data.noise is None else data.noise[rows]
                see = _see_independent if model.independent else _see_noisy
                yield rows, see(model, data.values[rows], seen, noise)
            return
        for block in data.blocks:
            numbers = k * d * (1 if block.index is None else d)
            for rows in _slices(block.start, block.stop, room // numbers):
                yield rows, _see_sharp(model, data.values[rows], *block.part(rows), block.complete)

    def expect(self, prepared: _Data, models: Sequence[Parameters]) -> list[Moments]:
        """Return the moments of the rows under each of several mixtures: the E step.

        Parameters
        ----------
        prepared : object
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
        return [self._expect(prepared, parameters) for parameters in models]

    def _expect(self, data: _Data, parameters: Parameters) -> Moments:
        torch = _torch()
        model = self._model(parameters, data.noise)
        k, d = model.means.shape
        shape = (k, d) if model.diagonal else (k, d, d)
        # Everything in one array, for one transfer: failures, log-likelihood, mass, first, second.
        sums = torch.zeros(2 + k + k * d + int(np.prod(shape)), dtype=torch.float64, device=self.device)
        for rows, view in self._views(data, model):
            joint = view.log_density + model.log_weights[:, None]
            likeliest = joint.amax(0)
            responsibility = (joint - likeliest).exp()
            total = responsibility.sum(0)
            # Divided, they add up to 1 also where all joint densities are 1e-100000.
            responsibility, total = responsibility / total, total.log() + likeliest
            if data.weights is not None:
                total, responsibility = total * data.weights[rows], responsibility * data.weights[rows]
            first, second = view.moments(responsibility)
            sums[0] += view.failed
            sums[1] += total.sum()
            sums[2 : 2 + k] += responsibility.sum(1)
            sums[2 + k : 2 + k + k * d] += first.reshape(-1)
            sums[2 + k + k * d :] += second.reshape(-1)
        found = sums.cpu().numpy()
        _check(found[0], data.noise)
        mass, first, second = np.split(found[2:], [k, k + k * d])
        return Moments(
            float(found[1]),
            data.total_weight,
            mass,
            first.reshape(k, d),
            second.reshape(shape),
            parameters.means,
        )

    def _by_component(self, data: _Data, model: _Model, what: str) -> np.ndarray:
        """Return one number of each row seen from each component, (n, k), in the original order."""
        torch = _torch()
        found = torch.empty(len(data.values), len(model.means), dtype=torch.float64, device=self.device)
        failed = torch.zeros((), dtype=torch.int64, device=self.device)
        for rows, view in self._views(data, model):
            found[rows] = getattr(view, what).mT
            failed += view.failed
        _check(int(failed), data.noise)
        result = np.empty(found.shape)
        result[data.order] = found.cpu().numpy()
        return result

    def log_joint(self, prepared: _Data, parameters: Parameters) -> np.ndarray:
        """Return log(weight × density of the observed values) by row and component.

        Parameters
        ----------
        prepared : object
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
        """
        with np.errstate(divide="ignore"):
            log_weights = np.log(parameters.weights)
        model = self._model(parameters, prepared.noise)
        return self._by_component(prepared, model, "log_density") + log_weights

    def mahalanobis(self, prepared: _Data, parameters: Parameters) -> np.ndarray:
        """Return the squared Mahalanobis distance in the observed dimensions.

        Parameters
        ----------
        prepared : object
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
        """
        return self._by_component(prepared, self._model(parameters, prepared.noise), "distance")


def _check(failed: float, noise: Tensor | None) -> None:
    if failed:
        raise NotPositiveDefiniteError(DEPENDENT if noise is None else BAD_NOISE)


def _slices(start: int, stop: int, size: int) -> Iterator[slice]:
    size = max(1, size)
    for low in range(start, stop, size):
        yield slice(low, min(low + size, stop))


def _sort_by_pattern(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the order of rows by pattern, the patterns, the commonest first, and their numbers of rows."""
    n, d = seen.shape
    if seen.all():
        return np.arange(n), np.ones((1, d), dtype=bool), np.array([n])
    # Whole numbers are sorted much faster than rows of bits.
    bits = np.packbits(seen, axis=1)
    words = np.zeros((n, -(-bits.shape[1] // 8) * 8), dtype=np.uint8)
    words[:, : bits.shape[1]] = bits
    words = words.view(np.uint64)
    words = words[:, 0] if words.shape[1] == 1 else words
    _, one, index, counts = np.unique(
        words, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    commonest = np.argsort(-counts, kind="stable")
    rank = np.empty(len(commonest), dtype=np.int64)
    rank[commonest] = np.arange(len(commonest))
    order = np.argsort(rank[index.reshape(-1)], kind="stable")
    return order, seen[one[commonest]], counts[commonest]
