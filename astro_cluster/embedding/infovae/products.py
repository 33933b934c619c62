"""What takes the time of a training: the two large matrix products of the network, and χ².

Nearly all the time of a training goes into the layers that touch the pixels.  oneDNN multiplies single
precision up to twice as fast as what ``torch.nn.Linear`` calls by itself (on AMD processors), with the
same precision; where it is slower, or there is none, nothing changes.  Threads share the outputs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from astro_cluster.embedding.autoencoder.devices import require_torch
from astro_cluster.threads import is_one_of_several, run_all

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Linear

__all__ = ["from_pixels", "half_chi2", "to_pixels"]

_LEAST_PRODUCT = 2**16  # weights of a layer below which the change of format costs more than it brings
_PIECES = 2  # of a product, whatever the number of threads, on which no bit may depend


def _suits(rows: Tensor, layer: Linear) -> bool:
    torch = require_torch()
    return bool(
        len(rows)
        and rows.device.type == "cpu"
        and rows.dtype == torch.float32 == layer.weight.dtype
        and layer.weight.numel() >= _LEAST_PRODUCT
        and torch.backends.mkldnn.is_available()
    )


def to_pixels(rows: Tensor, layer: Linear, n_threads: int = 1) -> Tensor:
    """Return what a dense layer makes of rows, where it has many outputs.

    Parameters
    ----------
    rows : (m, k) tensor
        Few numbers a row.
    layer : torch.nn.Linear
        The layer.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    (m, p) tensor

    Examples
    --------
    >>> import torch  # doctest: +SKIP
    >>> layer = torch.nn.Linear(256, 1500)  # doctest: +SKIP
    >>> to_pixels(torch.zeros(64, 256), layer).shape  # doctest: +SKIP
    torch.Size([64, 1500])
    """
    if not _suits(rows, layer):
        return layer(rows)
    return _product().apply(rows, layer.weight, layer.bias, n_threads)


def from_pixels(rows: Tensor, layer: Linear, n_threads: int = 1) -> Tensor:
    """Return what a dense layer makes of rows, where it has many inputs, which need no gradient.

    Parameters
    ----------
    rows : (m, p) tensor
        Many numbers a row.
    layer : torch.nn.Linear
        The layer.
    n_threads : int, optional
        Threads; the result does not depend on it.

    Returns
    -------
    (m, k) tensor

    Examples
    --------
    >>> import torch  # doctest: +SKIP
    >>> layer = torch.nn.Linear(1500, 256)  # doctest: +SKIP
    >>> from_pixels(torch.zeros(64, 1500), layer).shape  # doctest: +SKIP
    torch.Size([64, 256])
    """
    if rows.requires_grad or not _suits(rows, layer):
        return layer(rows)
    return _product().apply(rows, layer.weight, layer.bias, n_threads)


def _shared(work: Callable[[Any], Tensor], pieces: Sequence[Any], n_threads: int) -> list[Tensor]:
    """Do the pieces of a product, which are always the same, on several threads if there are any."""
    torch = require_torch()

    def one(piece: Any) -> Tensor:
        if torch.get_num_threads() != 1:  # each thread has its own number
            torch.set_num_threads(1)
        with torch.no_grad():
            return work(piece)

    tasks = [functools.partial(one, piece) for piece in pieces]
    return run_all(tasks, 1 if is_one_of_several() else n_threads)


@functools.cache
def _product() -> Any:
    torch = require_torch()
    linear = torch.nn.functional.linear

    class Product(torch.autograd.Function):
        """A dense layer, cut by its outputs."""

        @staticmethod
        def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor, n_threads: int) -> Tensor:
            ctx.save_for_backward(rows, weight)
            ctx.n_threads = n_threads
            there = rows.to_mkldnn()

            def outputs(piece: tuple[Tensor, Tensor]) -> Tensor:
                return linear(there, *piece).to_dense()

            pieces = list(zip(weight.chunk(_PIECES), bias.chunk(_PIECES), strict=True))
            return torch.cat(_shared(outputs, pieces, n_threads), dim=1)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
            rows, weight = ctx.saved_tensors
            parts = gradient.chunk(_PIECES, dim=1)
            # Here the other library is the faster one.
            of_weights = torch.cat(_shared(lambda part: part.T @ rows, parts, ctx.n_threads))
            of_rows = None
            if ctx.needs_input_grad[0]:
                pieces = list(zip(parts, weight.chunk(_PIECES), strict=True))
                of_rows = sum(
                    _shared(lambda p: linear(p[0].to_mkldnn(), p[1].T).to_dense(), pieces, ctx.n_threads)
                )
            return of_rows, of_weights, gradient.sum(0), None

    return Product


def half_chi2(outputs: Tensor, spectra: Tensor, weights: Tensor) -> Tensor:
    """Return half of the weighted sum of squared differences, with a gradient by the outputs alone.

    Parameters
    ----------
    outputs, spectra, weights : (m, p) tensor
        Reconstructions, what they should be, and how much each pixel counts.

    Returns
    -------
    () tensor

    Examples
    --------
    >>> import torch  # doctest: +SKIP
    >>> half_chi2(torch.ones(1, 2), torch.zeros(1, 2), torch.tensor([[3.0, 1.0]]))  # doctest: +SKIP
    tensor(2.)
    """
    return _half_chi2().apply(outputs, spectra, weights)


@functools.cache
def _half_chi2() -> Any:
    torch = require_torch()

    class HalfChi2(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, outputs: Tensor, spectra: Tensor, weights: Tensor) -> Tensor:
            off = outputs - spectra
            weighted = weights * off  # which is the gradient
            ctx.save_for_backward(weighted)
            return 0.5 * off.mul_(weighted).sum()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
            return gradient * ctx.saved_tensors[0], None, None

    return HalfChi2
