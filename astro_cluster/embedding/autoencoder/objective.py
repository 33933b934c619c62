"""What is minimised: a network, the losses of its pixels, and what its latents are held to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_cluster.embedding.autoencoder.batches import Shard
from astro_cluster.embedding.autoencoder.devices import require_torch
from astro_cluster.embedding.autoencoder.losses import cross_entropy, kl_divergence, mmd, squared_error
from astro_cluster.embedding.autoencoder.networks import Network

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ImageObjective"]


class ImageObjective:
    """A network that learns to give images back; the training loop knows it by these methods.

    The loss is Σ w L(x, x̂) / Σ w + β KL / p + μ MMD, with L the shares of squared error and
    cross-entropy, w the weights, p the number of pixels of an image, KL the mean over the rows
    of the divergence from a standard normal distribution, and MMD that of the latents of a batch from
    as many draws of it (Higgins et al. 2017; Zhao, Song & Ermon 2017, arXiv:1706.02262; without β
    the Wasserstein autoencoder of Tolstikhin et al. 2018, arXiv:1711.01558).

    Parameters
    ----------
    network : Network
        What is trained.
    shares : mapping of str to float
        From `astro_cluster.embedding.autoencoder.losses.loss_shares`.
    beta, mmd : float
        β and μ.
    """

    def __init__(
        self, network: Network, shares: Mapping[str, float], *, beta: float = 0.0, mmd: float = 0.0
    ) -> None:
        self.network, self.layers, self.shard_rows = network, network.layers, network.shard_rows
        self.coefficients: dict[str, float] = dict(shares)
        self.squashed = network.squashed or "bce" in shares
        if beta:
            self.coefficients["kl"] = beta / network.sizes.n_pixels
        if mmd:
            self.coefficients["mmd"] = mmd
        self.couples = network.normalised or bool(beta) or bool(mmd)

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
            ``noise`` of a variational network, ``prior`` where the latents are compared with it.
        """
        names = ["noise"] * self.network.sizes.variational + ["prior"] * ("mmd" in self.coefficients)
        return {
            name: generator.standard_normal((n, self.network.n_latent), dtype=np.float32) for name in names
        }

    def encode(self, shard: Shard) -> Tensor:
        """Return the codes of a few rows.

        Parameters
        ----------
        shard : Shard
            The rows.

        Returns
        -------
        (m, k) tensor
        """
        return self.network.encode(shard.images)

    def join(self, codes: Tensor, draws: Mapping[str, np.ndarray]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the latents of a whole batch, and the terms of the loss that they alone decide.

        Parameters
        ----------
        codes : (n, k) tensor
            Codes of all rows of the batch.
        draws : mapping
            From `draw`; without ``noise`` the mean stands for the row.

        Returns
        -------
        latents : (n, n_latent) tensor
        terms : dict of str to () tensor
        """
        torch = require_torch()
        terms: dict[str, Tensor] = {}
        if self.network.sizes.variational:
            mean, log_variance = codes.chunk(2, dim=1)
            log_variance = log_variance.clamp(-20.0, 20.0)
            if "kl" in self.coefficients:
                terms["kl"] = kl_divergence(mean, log_variance).mean()
            latents = mean
            if "noise" in draws:
                latents = mean + (0.5 * log_variance).exp() * torch.as_tensor(draws["noise"]).to(codes.device)
        else:
            latents = self.network.normalise(codes)
        if "mmd" in self.coefficients and len(latents) > 1:
            terms["mmd"] = mmd(latents, torch.as_tensor(draws["prior"]).to(codes.device))
        return latents, terms

    def compare(self, latents: Tensor, shard: Shard) -> dict[str, Tensor]:
        """Return the losses of the pixels of a few rows, each a sum over weighted pixels.

        Parameters
        ----------
        latents : (m, n_latent) tensor
            Their latents.
        shard : Shard
            The rows.

        Returns
        -------
        dict of str to () tensor
        """
        outputs = self.network.decode(latents)
        sums = {}
        if "bce" in self.coefficients:
            sums["bce"] = cross_entropy(outputs, shard.images, shard.weights)
        if "mse" in self.coefficients:
            sums["mse"] = squared_error(self.images_of(outputs), shard.images, shard.weights)
        return sums

    def images_of(self, outputs: Tensor) -> Tensor:
        """Return reconstructions from outputs of the decoder.

        Parameters
        ----------
        outputs : (m, c, h, w) tensor
            From the decoder.

        Returns
        -------
        (m, c, h, w) tensor
            Between 0 and 1 where the network or the loss wants that.
        """
        return outputs.sigmoid() if self.squashed else outputs

    def latents(self, shard: Shard) -> Tensor:
        """Return the latents of a few rows as they are used after training.

        Parameters
        ----------
        shard : Shard
            The rows.

        Returns
        -------
        (m, n_latent) tensor
        """
        codes: Any = self.encode(shard)
        return (
            codes[:, : self.network.n_latent]
            if self.network.sizes.variational
            else self.network.normalise(codes)
        )
