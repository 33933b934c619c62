"""Convolutional networks: the default one, and that of the study."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from astro_cluster.embedding.autoencoder.devices import require_torch
from astro_cluster.embedding.autoencoder.networks import Network, Sizes

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ConvNetwork", "StudyConvNetwork", "halved"]

_FILTERS = (16, 32, 64, 64, 64, 64)
_SMALLEST = 4  # pixels: a side of that is not halved any more
_COARSEST = 8  # pixels: nor are both sides, once the longer one has no more
_SHARD_PIXELS = 2**17  # eight images of 128²: what their layers leave fits in a cache


def halved(height: int, width: int, times: int) -> list[tuple[int, int]]:
    """Return the sizes of images that are halved again and again, rounded up.

    Parameters
    ----------
    height, width : int
        Size in pixels.
    times : int
        How often.

    Returns
    -------
    list of (int, int)
        ``times + 1`` sizes, the given one first.

    Examples
    --------
    >>> halved(7, 16, 2)
    [(7, 16), (4, 8), (2, 4)]
    """
    sizes = [(height, width)]
    for _ in range(times):
        height, width = (height + 1) // 2, (width + 1) // 2
        sizes.append((height, width))
    return sizes


def _shard_rows(sizes: Sizes) -> int:
    return min(32, max(2, _SHARD_PIXELS // (sizes.height * sizes.width)))


def _depth(height: int, width: int) -> int:
    """Return how often the default network halves images."""
    times = 1
    while times < len(_FILTERS):
        height, width = (height + 1) // 2, (width + 1) // 2
        if min(height, width) <= _SMALLEST or max(height, width) <= _COARSEST:
            break
        times += 1
    return times


class ConvNetwork(Network):
    """Residual blocks between strided convolutions; linear latents; bilinear upsampling.

    Every level halves the image by a 3 × 3 convolution with stride 2 and adds a residual block (He et
    al. 2016, arXiv:1512.03385) with group normalisation (Wu & He 2018, arXiv:1803.08494), which
    looks at one image at a time.  The decoder is the same backwards, and enlarges by bilinear
    interpolation before a convolution, which leaves no checkerboard (Odena et al. 2016, Distill 1, e3).
    An image of any size is met: sizes are halved rounding up, and enlarged to what they were.

    Parameters
    ----------
    sizes : Sizes
        Its widths are the filters of each level; by default 16, 32, 64, 64 …, as many levels as bring
        the image to about 8 × 8.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        nn = require_torch().nn
        self.n_latent = sizes.n_latent or 32
        self.shard_rows = 2 * _shard_rows(sizes)  # its layers are half the size from the first on
        filters = tuple(sizes.widths or _FILTERS[: _depth(sizes.height, sizes.width)])
        self.levels = halved(sizes.height, sizes.width, len(filters))
        self._coarse = (filters[-1], *self.levels[-1])
        n_coarse = math.prod(self._coarse)
        codes = self.n_latent * (2 if sizes.variational else 1)
        layers: dict[str, Any] = {}
        before = sizes.channels
        for number, width in enumerate(filters):
            layers[f"down_{number}"] = _convolved(before, width, stride=2)
            layers[f"down_block_{number}"] = _block(width)
            before = width
        layers["to_latent"] = nn.Linear(n_coarse, codes)
        layers["from_latent"] = nn.Linear(self.n_latent, n_coarse)
        for number in reversed(range(len(filters))):
            after = filters[max(0, number - 1)]
            layers[f"up_block_{number}"] = _block(filters[number])
            layers[f"up_{number}"] = _convolved(filters[number], after)
        layers["output"] = nn.Conv2d(filters[0], sizes.channels, 3, padding=1)
        self.layers = nn.ModuleDict(layers)

    def encode(self, images: Tensor) -> Tensor:
        """Return the codes of images; see `Network.encode`."""
        for number in range(len(self.levels) - 1):
            images = self.layers[f"down_{number}"](images)
            images = self._residual(f"down_block_{number}", images)
        return self.layers["to_latent"](images.flatten(1))

    def decode(self, latents: Tensor) -> Tensor:
        """Return images from latents; see `Network.decode`."""
        torch = require_torch()
        images = self.layers["from_latent"](latents).view(-1, *self._coarse)
        images = images.contiguous(memory_format=torch.channels_last)
        for number in reversed(range(len(self.levels) - 1)):
            images = self._residual(f"up_block_{number}", images)
            # The convolution comes before the enlargement: a quarter of the work.
            images = self.layers[f"up_{number}"](images)
            images = torch.nn.functional.interpolate(
                images, size=self.levels[number], mode="bilinear", align_corners=False
            )
        return self.layers["output"](images)

    def _residual(self, name: str, images: Tensor) -> Tensor:
        return require_torch().nn.functional.leaky_relu(images + self.layers[name](images), 0.1)


def _convolved(before: int, after: int, *, stride: int = 1) -> Any:
    nn = require_torch().nn
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(math.gcd(8, after), after),
        nn.LeakyReLU(0.1, inplace=True),
    )


def _block(width: int) -> Any:
    nn = require_torch().nn
    return nn.Sequential(
        *_convolved(width, width),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.GroupNorm(math.gcd(8, width), width),
    )


class StudyConvNetwork(Network):
    """Convolutions of 16, 8 and 4 filters with pooling; a normalised map is the latent; sigmoids at the end.

    Parameters
    ----------
    sizes : Sizes
        Its widths are the filters, (16, 8, 4) by default.  An image of 128 × 128 has a latent of
        4 × 16 × 16.  Sizes that cannot be halved are padded as in the study, and cut at the end.
    """

    squashed = True
    normalised = True

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        nn = require_torch().nn
        self.shard_rows = _shard_rows(sizes)
        filters = tuple(sizes.widths or (16, 8, 4))
        self.levels = halved(sizes.height, sizes.width, len(filters))
        self.map_shape = (filters[-1], *self.levels[-1])
        self.n_latent = math.prod(self.map_shape)
        down: list[Any] = []
        for before, after in zip((sizes.channels, *filters), filters, strict=False):
            down += [
                nn.Conv2d(before, after, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2, ceil_mode=True),
            ]
        layers: dict[str, Any] = {"encoder": nn.Sequential(*down), "norm": nn.BatchNorm2d(filters[-1])}
        for number, (before, after) in enumerate(
            zip((filters[-1], *filters[::-1]), filters[::-1], strict=False)
        ):
            layers[f"up_{number}"] = nn.Sequential(
                nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True), nn.Upsample(scale_factor=2)
            )
        layers["output"] = nn.Sequential(
            nn.Conv2d(filters[0], filters[0], 3, padding=1),
            nn.Sigmoid(),
            nn.Conv2d(filters[0], sizes.channels, 3, padding=1),
        )
        self.layers = nn.ModuleDict(layers)

    def encode(self, images: Tensor) -> Tensor:
        """Return the codes of images; see `Network.encode`."""
        return self.layers["encoder"](images).flatten(1)

    def normalise(self, codes: Tensor) -> Tensor:
        """Return the latents, normalised by filter; see `Network.normalise`."""
        return self.layers["norm"](codes.view(-1, *self.map_shape)).flatten(1)

    def decode(self, latents: Tensor) -> Tensor:
        """Return images from latents; see `Network.decode`."""
        torch = require_torch()
        images = latents.view(-1, *self.map_shape).contiguous(memory_format=torch.channels_last)
        for number, (height, width) in enumerate(self.levels[-2::-1]):
            images = self.layers[f"up_{number}"](images)
            if images.shape[-2:] != (height, width):
                images = images[..., :height, :width]
        return self.layers["output"](images)
