"""What all networks share, and the dense ones.

A network here is an object that owns its layers in one ``torch.nn.ModuleDict``, so that every one of
them is registered, and that says how images go through them.  It is no subclass of a class of torch,
so that this module can be read without torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astro_cluster.embedding.autoencoder.devices import require_torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DenseNetwork", "Network", "Sizes", "StudyDenseNetwork"]


@dataclass(frozen=True)
class Sizes:
    """What a network is made for.

    Parameters
    ----------
    height, width, channels : int
        Size of an image.
    n_latent : int or None
        Number of latent axes; None where the architecture decides.
    widths : sequence of int or None
        Widths of the layers (filters of the convolutional ones); None for the architecture's own.
    variational : bool
        Whether each latent axis has a variance beside its mean.
    """

    height: int
    width: int
    channels: int
    n_latent: int | None = None
    widths: Sequence[int] | None = None
    variational: bool = False

    @property
    def n_pixels(self) -> int:
        """Numbers in an image."""
        return self.height * self.width * self.channels


class Network:
    """Encoder and decoder; a subclass makes the layers.

    Attributes
    ----------
    layers : torch.nn.ModuleDict
        All layers, by name.
    n_latent : int
        Number of latent axes.
    shard_rows : int
        How many images go through at a time.  Few, so that what they leave behind stays in the cache.
    squashed : bool
        Whether the reconstruction is a sigmoid of the output, whatever the loss.
    normalised : bool
        Whether the latents are normalised over the batch.
    """

    layers: Any
    n_latent: int
    shard_rows: int = 64
    squashed: bool = False
    normalised: bool = False

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes

    def encode(self, images: Tensor) -> Tensor:
        """Return the codes of images.

        Parameters
        ----------
        images : (m, c, h, w) tensor
            Images.

        Returns
        -------
        (m, n_latent) tensor
            Latents, before they are normalised; (m, 2 n_latent), means and logarithms of variances,
            of a variational network.
        """
        raise NotImplementedError

    def normalise(self, codes: Tensor) -> Tensor:
        """Return latents from codes, which may look at the whole batch.

        Parameters
        ----------
        codes : (m, n_latent) tensor
            From `encode`.

        Returns
        -------
        (m, n_latent) tensor
        """
        return codes

    def decode(self, latents: Tensor) -> Tensor:
        """Return images from latents, before a sigmoid.

        Parameters
        ----------
        latents : (m, n_latent) tensor
            Latents.

        Returns
        -------
        (m, c, h, w) tensor
        """
        raise NotImplementedError


class DenseNetwork(Network):
    """Dense layers, leaky ReLU between them, latents and output linear.

    Parameters
    ----------
    sizes : Sizes
        Its widths are those of the encoder's hidden layers, (1024, 256) by default.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        nn = require_torch().nn
        self.n_latent = sizes.n_latent or 32
        widths = [sizes.n_pixels, *(sizes.widths or (1024, 256))]
        codes = self.n_latent * (2 if sizes.variational else 1)
        down: list[Any] = [nn.Flatten()]
        for before, after in itertools.pairwise(widths):
            down += [nn.Linear(before, after), nn.LeakyReLU(0.1, inplace=True)]
        up: list[Any] = []
        for before, after in zip([self.n_latent, *widths[:0:-1]], widths[:0:-1], strict=False):
            up += [nn.Linear(before, after), nn.LeakyReLU(0.1, inplace=True)]
        self.layers = nn.ModuleDict(
            {
                "encoder": nn.Sequential(*down, nn.Linear(widths[-1], codes)),
                "decoder": nn.Sequential(*up, nn.Linear(widths[1], sizes.n_pixels)),
            }
        )

    def encode(self, images: Tensor) -> Tensor:
        """Return the codes of images; see `Network.encode`."""
        return self.layers["encoder"](images)

    def decode(self, latents: Tensor) -> Tensor:
        """Return images from latents; see `Network.decode`."""
        sizes = self.sizes
        return self.layers["decoder"](latents).view(-1, sizes.channels, sizes.height, sizes.width)


class StudyDenseNetwork(DenseNetwork):
    """Dense 2048-512-128 with ReLU, also on the latents, which are normalised; a sigmoid at the end.

    Parameters
    ----------
    sizes : Sizes
        Its widths are those of the encoder's hidden layers, (2048, 512) by default.
    """

    squashed = True
    normalised = True

    def __init__(self, sizes: Sizes) -> None:
        Network.__init__(self, sizes)
        nn = require_torch().nn
        self.n_latent = sizes.n_latent or 128
        widths = [sizes.n_pixels, *(sizes.widths or (2048, 512)), self.n_latent]
        down: list[Any] = [nn.Flatten()]
        up: list[Any] = []
        for before, after in itertools.pairwise(widths):
            down += [nn.Linear(before, after), nn.ReLU(inplace=True)]
        for before, after in zip(widths[::-1], widths[-2::-1], strict=False):
            up += [nn.Linear(before, after), nn.ReLU(inplace=True)]
        self.layers = nn.ModuleDict(
            {
                "encoder": nn.Sequential(*down),
                "norm": nn.BatchNorm1d(self.n_latent),
                "decoder": nn.Sequential(*up[:-1]),
            }
        )

    def normalise(self, codes: Tensor) -> Tensor:
        """Return the latents, normalised; see `Network.normalise`."""
        return self.layers["norm"](codes)
