"""What is minimised: χ² of the reconstruction, and what holds the latents to their prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from astro_cluster.embedding.autoencoder.devices import require_torch
from astro_cluster.embedding.autoencoder.losses import MMD_SCALES, kl_divergence, mmd
from astro_cluster.embedding.infovae.network import SpectraNetwork
from astro_cluster.embedding.infovae.products import half_chi2
from astro_cluster.embedding.infovae.rows import SpectraShard

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["KERNELS", "InfoVAEObjective"]

KERNELS: dict[str, Sequence[float]] = {"multi": MMD_SCALES, "single": (1.0,)}
"""Scales of the kernels of the MMD, by name; ``"single"`` is exp(−mean (x − y)²), the study's."""

_LARGEST_LOG_VARIANCE = 20.0


class InfoVAEObjective:
    """The loss of an InfoVAE; the training loop knows it by these methods.

    Zhao, Song & Ermon (2017, arXiv:1706.02262, equation 6), as Portillo et al. (2020, AJ 160, 45) have it:
    the mean over the spectra of ½ Σ w (x − x̂)², plus (1 − α) KL, plus (α + λ − 1) MMD.  KL is the mean over
    the spectra of the divergence of their latents from the standard normal distribution, and MMD that of the
    latents of a batch from as many draws of it, estimated without bias.

    Parameters
    ----------
    network : SpectraNetwork
        What is trained.
    alpha, lambda_ : float
        α and λ.
    kernel : {"multi", "single"}
        That of the MMD.
    unit : float
        What a squared difference of the network's outputs is multiplied with to have that of
        normalised spectra.
    shard_rows : int
        Rows that go through the network at a time.
    """

    couples = True

    def __init__(
        self,
        network: SpectraNetwork,
        *,
        alpha: float,
        lambda_: float,
        kernel: str,
        unit: float = 1.0,
        shard_rows: int = 128,  # of dense layers: half as many cost a fifth more on one thread
    ) -> None:
        self.network, self.layers, self.shard_rows = network, network.layers, shard_rows
        # Terms that count for nothing are told all the same.
        self.coefficients: dict[str, float] = {
            "reconstruction": 1.0,
            "kl": 1.0 - alpha,
            "mmd": alpha + lambda_ - 1.0,
            "chi2": 0.0,
            "mse": 0.0,
        }
        self.scales = KERNELS[kernel]
        self.unit = unit

    def draw(self, generator: np.random.Generator, n: int) -> dict[str, np.ndarray]:
        """Draw what `join` needs for n rows.

        Parameters
        ----------
        generator : `~numpy.random.Generator`
            Source of chance.
        n : int
            Rows in the batch.

        Returns
        -------
        dict of str to (n, n_latent) array
            ``noise``, by which latents differ from their means, and ``prior``, draws that the latents are
            compared with.  While nothing is learned there is ``spread`` instead of ``noise``: then
            reconstructions are made of the means, and only the comparison is one of draws.
        """
        shape = (n, self.network.n_latent)
        names = ("noise" if self.layers.training else "spread", "prior")
        return {name: generator.standard_normal(shape, dtype=np.float32) for name in names}

    def encode(self, shard: SpectraShard) -> Tensor:
        """Return means and logarithms of variances of the latents of a few rows.

        Parameters
        ----------
        shard : SpectraShard
            The rows.

        Returns
        -------
        (m, 2 n_latent) tensor
        """
        return self.network.encode(shard.spectra)

    def join(self, codes: Tensor, draws: Mapping[str, np.ndarray]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the latents of a whole batch, and the terms of the loss that they alone decide.

        Parameters
        ----------
        codes : (n, 2 n_latent) tensor
            From `encode`.
        draws : mapping
            From `draw`.

        Returns
        -------
        latents : (n, n_latent) tensor
        terms : dict of str to () tensor
            ``kl`` and ``mmd``; the latter is 0 for a single row.
        """
        torch = require_torch()
        mean, log_variance = codes.chunk(2, dim=1)
        log_variance = log_variance.clamp(-_LARGEST_LOG_VARIANCE, _LARGEST_LOG_VARIANCE)
        noise = torch.as_tensor(draws["noise" if "noise" in draws else "spread"]).to(codes)
        drawn = mean + (0.5 * log_variance).exp() * noise
        prior = torch.as_tensor(draws["prior"]).to(codes)
        terms = {"kl": kl_divergence(mean, log_variance).mean()}
        terms["mmd"] = mmd(drawn, prior, scales=self.scales) if len(drawn) > 1 else 0.0 * drawn.sum()
        return drawn if "noise" in draws else mean, terms

    def compare(self, latents: Tensor, shard: SpectraShard) -> dict[str, Tensor]:
        """Return what reconstructions cost, summed over a few rows.

        Parameters
        ----------
        latents : (m, n_latent) tensor
            Their latents.
        shard : SpectraShard
            The rows.

        Returns
        -------
        dict of str to () tensor
            ``reconstruction``; while nothing is learned also ``chi2`` and ``mse``, per pixel that counts.
        """
        outputs = self.network.decode(latents, shard.conditions)
        if self.layers.training:
            return {"reconstruction": half_chi2(outputs, shard.spectra, shard.weights)}
        squares = (outputs - shard.spectra).square()
        each = errors_of(squares, shard.ivar, self.unit)
        return {"reconstruction": 0.5 * (shard.weights * squares).sum()} | {
            name: found.nan_to_num().sum() for name, found in each.items()
        }

    def latents(self, shard: SpectraShard) -> Tensor:
        """Return the latents of a few rows as they are used after training: their means.

        Parameters
        ----------
        shard : SpectraShard
            The rows.

        Returns
        -------
        (m, n_latent) tensor
        """
        return self.encode(shard)[:, : self.network.n_latent]


def errors_of(squares: Tensor, ivar: Tensor, unit: float) -> dict[str, Tensor]:
    """Return the errors of reconstructions per pixel that counts.

    Parameters
    ----------
    squares : (m, p) tensor
        Squared differences.
    ivar : (m, p) tensor
        Inverse variances, 0 where a pixel does not count.
    unit : float
        What squared differences are multiplied with for ``mse``.

    Returns
    -------
    dict of str to (m,) tensor of float64
        ``chi2`` and ``mse``; NaN for rows without such a pixel.

    Examples
    --------
    >>> import torch  # doctest: +SKIP
    >>> errors_of(torch.tensor([[4.0, 1.0]]), torch.tensor([[0.5, 0.0]]), 1.0)  # doctest: +SKIP
    {'chi2': tensor([2.], dtype=torch.float64), 'mse': tensor([4.], dtype=torch.float64)}
    """
    counts = ivar > 0
    many = counts.sum(1).double()
    many[many == 0] = float("nan")
    return {
        "chi2": (ivar * squares).sum(1).double() / many,
        "mse": unit * (counts * squares).sum(1).double() / many,
    }
