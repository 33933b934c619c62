"""What takes the time of a training: the two large matrix products of the network, and χ².

Nearly all the time of a training goes into the layers that touch the pixels.  oneDNN multiplies single
precision up to twice as fast as what ``torch.nn.Linear`` calls by itself (on AMD processors), with the
same precision; where it is slower, or there is none, nothing changes.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from astro_cluster.embedding.autoencoder.devices import require_torch

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Linear

__all__ = ["from_pixels", "half_chi2", "to_pixels"]

_LEAST_PRODUCT = 2**16  # weights of a layer below which the change of format costs more than it brings


def _suits(rows: Tensor, layer: Linear) -> bool:
    torch = require_torch()
    return bool(
        len(rows)
        and rows.device.type == "cpu"
        and rows.dtype == torch.float32 == layer.weight.dtype
        and layer.weight.numel() >= _LEAST_PRODUCT
        and torch.backends.mkldnn.is_available()
    )


def to_pixels(rows: Tensor, layer: Linear) -> Tensor:
    """Return what a dense layer makes of rows, where it has many outputs.

    Parameters
    ----------
    rows : (m, k) tensor
        Few numbers a row.
    layer : torch.nn.Linear
        The layer.

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
    return require_torch().nn.functional.linear(rows.to_mkldnn(), layer.weight, layer.bias).to_dense()


def from_pixels(rows: Tensor, layer: Linear) -> Tensor:
    """Return what a dense layer makes of rows, where it has many inputs, which need no gradient.

    Parameters
    ----------
    rows : (m, p) tensor
        Many numbers a row.
    layer : torch.nn.Linear
        The layer.

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
    return _from_pixels().apply(rows, layer.weight, layer.bias)


@functools.cache
def _from_pixels() -> Any:
    torch = require_torch()

    class FromPixels(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            ctx.save_for_backward(rows)
            return torch.nn.functional.linear(rows.to_mkldnn(), weight, bias).to_dense()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor]:
            (rows,) = ctx.saved_tensors
            # Here the other library is the faster one.
            return None, gradient.T @ rows, gradient.sum(0)

    return FromPixels


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
