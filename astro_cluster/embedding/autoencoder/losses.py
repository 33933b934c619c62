"""Losses: squared errors and cross-entropy with a weight a pixel, KL divergence, MMD."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

from astro_cluster.embedding.autoencoder.devices import require_torch
from astro_cluster.exceptions import InputError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MMD_SCALES", "cross_entropy", "kl_divergence", "loss_shares", "mmd", "squared_error"]

MMD_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
_NAMES = ("mse", "bce")
_LEAST_EXPONENT = -80.0  # of 2 in a kernel: what is less than 1e-24 is no different from nothing


def loss_shares(loss: str | Mapping[str, float]) -> dict[str, float]:
    """Return how much each loss of pixels counts.

    Parameters
    ----------
    loss : {"mse", "bce", "mixed"} or mapping
        Squared error, binary cross-entropy, half of each, or how much each counts.

    Returns
    -------
    dict of str to float
        Those that count at all.

    Raises
    ------
    InputError
        If a name is unknown, or a number is none.

    Examples
    --------
    >>> loss_shares("mixed"), loss_shares({"mse": 1, "bce": 0})
    ({'mse': 0.5, 'bce': 0.5}, {'mse': 1.0})
    """
    if loss == "mixed":
        return {"mse": 0.5, "bce": 0.5}
    shares = {loss: 1.0} if isinstance(loss, str) else loss
    if not isinstance(shares, Mapping):
        raise InputError(
            f"loss={loss!r}; give 'mse', 'bce', 'mixed' or a mapping such as {{'mse': 0.9, 'bce': 0.1}}"
        )
    found = {}
    for name, share in shares.items():
        if name not in _NAMES:
            raise InputError(
                f"there is no loss {name!r}, only {', '.join(_NAMES)} and mixed" + did_you_mean(name, _NAMES)
            )
        if isinstance(share, bool) or not isinstance(share, Real) or not 0 <= share < float("inf"):
            raise InputError(f"the loss {name} counts {share!r}; give a number that is not negative")
        if share > 0:
            found[name] = float(share)
    if not found:
        raise InputError("no loss counts; give one of them a share above 0")
    return found


def squared_error(outputs: Tensor, images: Tensor, weights: Tensor | None) -> Tensor:
    """Return the sum of squared differences, each times its weight.

    Parameters
    ----------
    outputs, images : (m, c, h, w) tensor
        Reconstructions and originals.
    weights : (m, c, h, w) tensor or None
        Weights; None where all are 1.

    Returns
    -------
    () tensor

    Examples
    --------
    >>> import torch  # doctest: +SKIP
    >>> squared_error(torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 2.0]]]]), None)  # doctest: +SKIP
    tensor(5.)
    """
    if weights is None:
        return require_torch().nn.functional.mse_loss(outputs, images, reduction="sum")
    return (weights * (outputs - images).square()).sum()


def cross_entropy(outputs: Tensor, images: Tensor, weights: Tensor | None) -> Tensor:
    """Return the sum of the binary cross-entropies, each times its weight.

    Parameters
    ----------
    outputs : (m, c, h, w) tensor
        Reconstructions before the sigmoid: its logarithm is computed without loss of digits.
    images : (m, c, h, w) tensor
        Originals between 0 and 1.
    weights : (m, c, h, w) tensor or None
        Weights; None where all are 1.

    Returns
    -------
    () tensor

    Examples
    --------
    >>> import torch  # doctest: +SKIP
    >>> cross_entropy(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), None)  # doctest: +SKIP
    tensor(0.6931)
    """
    functional = require_torch().nn.functional
    return functional.binary_cross_entropy_with_logits(outputs, images, weights, reduction="sum")


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the Kullback–Leibler divergence of normal distributions from the standard one.

    Kingma & Welling (2014, arXiv:1312.6114, appendix B).

    Parameters
    ----------
    mean, log_variance : (m, d) tensor
        Of each row and latent axis.

    Returns
    -------
    (m,) tensor
        Summed over the axes, in nats.

    Examples
    --------
    >>> import torch  # doctest: +SKIP
    >>> kl_divergence(torch.tensor([[2.0]]), torch.tensor([[0.0]]))  # doctest: +SKIP
    tensor([2.])
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(dim=1)


def mmd(x: Tensor, y: Tensor, *, scales: Sequence[float] = MMD_SCALES) -> Tensor:
    """Return the squared maximum mean discrepancy of two samples, estimated without bias.

    Gretton et al. (2012, JMLR 13, 723, equation 3), with the mean of the kernels
    exp(-|a - b|² / (s d)) over the scales s; d is the number of axes.

    Parameters
    ----------
    x, y : (m, d), (n, d) tensor
        Samples of at least two rows each.
    scales : sequence of float, optional
        Scales of the kernels; ``(1.0,)`` is a single one.

    Returns
    -------
    () tensor
        0 on average where both samples are of one distribution, so it may be below 0.

    Examples
    --------
    >>> import torch  # doctest: +SKIP
    >>> float(mmd(torch.zeros(3, 2), torch.zeros(3, 2)))  # doctest: +SKIP
    0.0
    """
    return _mmd().apply(x, y, tuple(scales))


@functools.cache
def _mmd() -> Any:
    """Return the discrepancy with its gradient, which costs far less than what torch would derive."""
    torch = require_torch()

    def kernel(a: Tensor, b: Tensor, scales: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Return the kernel of each pair of rows and its derivative by their squared distance."""
        # The squares are multiplied out: a matrix product instead of an array (m, n, d).
        squares = torch.addmm(b.square().sum(1), a, b.T, alpha=-2.0).add_(a.square().sum(1)[:, None])
        squares.clamp_(min=0.0)
        value, slope = torch.zeros_like(squares), torch.zeros_like(squares)
        for scale in scales:
            per_square = -1.0 / (scale * a.shape[1])
            # Numbers below the smallest normal one would slow all that follows down many times over.
            one = (squares * (per_square * math.log2(math.e))).clamp_(min=_LEAST_EXPONENT).exp2_()
            value.add_(one, alpha=1.0 / len(scales))
            slope.add_(one, alpha=per_square / len(scales))
        return value, slope

    def pulls(slope: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Return the derivative of the sum of the kernels by each row of a."""
        return 2.0 * torch.addmm(slope.sum(1)[:, None] * a, slope, b, alpha=-1.0)

    class Discrepancy(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, y: Tensor, scales: Sequence[float]) -> Tensor:
            m, n = len(x), len(y)
            (xx, slope_xx), (yy, slope_yy), (xy, slope_xy) = (
                kernel(a, b, scales) for a, b in ((x, x), (y, y), (x, y))
            )
            to_x = to_y = None
            if ctx.needs_input_grad[0]:
                to_x = 2.0 / (m * (m - 1)) * pulls(slope_xx, x, x) - 2.0 / (m * n) * pulls(slope_xy, x, y)
            if ctx.needs_input_grad[1]:
                to_y = 2.0 / (n * (n - 1)) * pulls(slope_yy, y, y) - 2.0 / (m * n) * pulls(slope_xy.T, y, x)
            ctx.save_for_backward(to_x, to_y)
            # The diagonal of a kernel with itself is 1.
            within_x, within_y = (xx.sum() - m) / (m * (m - 1)), (yy.sum() - n) / (n * (n - 1))
            return within_x + within_y - 2.0 * xy.mean()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
            to_x, to_y = ctx.saved_tensors
            return (
                None if to_x is None else gradient * to_x,
                None if to_y is None else gradient * to_y,
                None,
            )

    return Discrepancy
