"""The network: dense layers down to the latents and up again."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from astro_cluster.embedding.autoencoder.devices import require_torch
from astro_cluster.embedding.infovae.products import from_pixels, to_pixels

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SLOPE", "SpectraNetwork"]

SLOPE = 0.01
"""Slope of the leaky ReLU below 0."""


class SpectraNetwork:
    """Encoder and decoder of spectra, as Portillo et al. (2020, AJ 160, 45) have them.

    Dense layers with leaky ReLU between them: m – 256 – 128 – (mean and logarithm of the variance of
    each latent) and latents – 128 – 256 – m.  The output is linear.

    Parameters
    ----------
    n_pixels : int
        Pixels of a spectrum.
    n_latent : int
        Number of latents.
    hidden : sequence of int, optional
        Widths of the encoder's hidden layers; the decoder has them backwards.
    n_conditions : int, optional
        Numbers that the decoder is given beside the latents.

    Attributes
    ----------
    layers : torch.nn.ModuleDict
        All layers: ``encoder`` and ``decoder``.  Each is registered, so that each is trained.

    Examples
    --------
    >>> network = SpectraNetwork(1500, 9)  # doctest: +SKIP
    >>> sum(p.numel() for p in network.layers.parameters())  # doctest: +SKIP
    840558
    """

    def __init__(
        self, n_pixels: int, n_latent: int, hidden: Sequence[int] = (256, 128), n_conditions: int = 0
    ) -> None:
        nn = require_torch().nn
        self.n_pixels, self.n_latent, self.n_conditions = n_pixels, n_latent, n_conditions

        def dense(widths: Sequence[int]) -> Any:
            layers: list[Any] = []
            for before, after in itertools.pairwise(widths):
                layers += [nn.Linear(before, after), nn.LeakyReLU(SLOPE, inplace=True)]
            return nn.Sequential(*layers[:-1])

        self.layers = nn.ModuleDict(
            {
                "encoder": dense([n_pixels, *hidden, 2 * n_latent]),
                "decoder": dense([n_latent + n_conditions, *reversed(hidden), n_pixels]),
            }
        )

    def encode(self, spectra: Tensor) -> Tensor:
        """Return means and logarithms of variances of the latents.

        Parameters
        ----------
        spectra : (m, n_pixels) tensor
            Spectra, 0 where there is nothing.

        Returns
        -------
        (m, 2 n_latent) tensor
        """
        first, *others = self.layers["encoder"]
        found = from_pixels(spectra, first)
        for layer in others:
            found = layer(found)
        return found

    def decode(self, latents: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Return spectra from latents.

        Parameters
        ----------
        latents : (m, n_latent) tensor
            Latents.
        conditions : (m, n_conditions) tensor, optional
            What else the decoder is given.

        Returns
        -------
        (m, n_pixels) tensor
        """
        if conditions is not None:
            latents = require_torch().cat([latents, conditions], dim=1)
        *others, last = self.layers["decoder"]
        for layer in others:
            latents = layer(latents)
        return to_pixels(latents, last)
