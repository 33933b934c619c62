"""Losses: squared errors and cross-entropy with a weight a pixel, KL divergence, MMD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING

from astro_cluster.embedding.autoencoder.devices import require_torch
from astro_cluster.exceptions import InputError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MMD_SCALES", "cross_entropy", "kl_divergence", "loss_shares", "mmd", "squared_error"]

MMD_SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
_NAMES = ("mse", "bce")


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

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        # The squares are multiplied out: a matrix product instead of an array (m, n, d).
        squares = a.square().sum(1)[:, None] + b.square().sum(1)[None, :] - 2.0 * (a @ b.T)
        distance = squares.clamp(min=0.0) / a.shape[1]
        return sum((-distance / scale).exp() for scale in scales) / len(scales)

    m, n = len(x), len(y)
    # The diagonal of a kernel with itself is 1.
    within_x = (kernel(x, x).sum() - m) / (m * (m - 1))
    within_y = (kernel(y, y).sum() - n) / (n * (n - 1))
    return within_x + within_y - 2.0 * kernel(x, y).mean()
