"""Images in one array, handed to the network a piece at a time; no copy of the whole is made."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from astro_cluster.embedding.autoencoder.augmenting import Augmentation
from astro_cluster.embedding.autoencoder.devices import require_torch
from astro_cluster.exceptions import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "ImageRows",
    "Shard",
    "Survey",
    "batches_of",
    "check_images",
    "held_out_split",
    "pieces_of",
    "survey",
]

_BLOCK_BYTES = 2**23  # of images that are looked at in one go
_SAFE_SCALES = (1e-30, 1e30)  # beyond, single precision may not hold the inverse


@dataclass(frozen=True, slots=True)
class Shard:
    """A few images on the device.

    Parameters
    ----------
    images : (m, c, h, w) tensor
        Images, 0 where a pixel is missing.
    weights : (m, c, h, w) tensor or None
        Weights of the pixels, 0 where one is missing; None where all are 1.
    weight : float
        Sum of the weights.
    """

    images: Tensor
    weights: Tensor | None
    weight: float

    def __len__(self) -> int:
        return len(self.images)

    def without_empty(self, found: Tensor) -> Tensor:
        """Set to NaN what was found for images without any pixel.

        Parameters
        ----------
        found : (m, ...) tensor
            Changed in place.

        Returns
        -------
        (m, ...) tensor
            The same.
        """
        if self.weights is not None:
            found[self.weights.flatten(1).amax(1) == 0] = float("nan")
        return found


@dataclass(frozen=True, slots=True)
class Survey:
    """What one look at each image tells.

    Parameters
    ----------
    counts : (n,) array of int
        Pixels that are there and count.
    means, variances : (n,) array of float
        Of those pixels, in the units that the images have (bytes divided by 255).
    lowest, highest : float
        Of all such pixels.
    """

    counts: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    lowest: float
    highest: float

    @property
    def usable(self) -> np.ndarray:
        """Numbers of the rows that have any pixel."""
        return np.flatnonzero(self.counts)

    def centre_and_spread(self, rows: np.ndarray) -> tuple[float, float]:
        """Return mean and standard deviation of all pixels of some rows.

        Parameters
        ----------
        rows : (m,) array of int
            Numbers of rows.

        Returns
        -------
        tuple of float
            A standard deviation of 1 where all pixels are the same.
        """
        share = self.counts[rows] / self.counts[rows].sum()
        centre = float(share @ self.means[rows])
        spread = math.sqrt(float(share @ (self.variances[rows] + (self.means[rows] - centre) ** 2)))
        smallest = 1e-12 * max(abs(self.lowest), abs(self.highest))
        return centre, spread if spread > smallest and math.isfinite(spread) else 1.0


def check_images(images: np.ndarray, what: str = "X") -> np.ndarray:
    """Return images as an array, if they are one that a network can take.

    Parameters
    ----------
    images : (n, h, w) or (n, h, w, c) array
        Images; not copied.
    what : str, optional
        What to call them in a message.

    Returns
    -------
    array

    Raises
    ------
    InputError
        If their shape or their type is another.

    Examples
    --------
    >>> check_images(np.zeros((2, 3, 3))).shape
    (2, 3, 3)
    """
    if np.ma.isMaskedArray(images) and np.ma.is_masked(images):
        raise InputError(f"{what} is masked; set missing pixels to NaN: {what}.filled(np.nan)")
    images = np.asanyarray(images)
    if isinstance(images, np.ma.MaskedArray) or hasattr(images, "unit"):
        images = np.asarray(images)
    if images.ndim not in (3, 4):
        raise InputError(
            f"{what} has the shape {images.shape}; images are (n, height, width) or "
            "(n, height, width, channels)"
        )
    if images.dtype.kind not in "fiub":
        raise InputError(f"{what} has the type {images.dtype}; images are float32 or uint8")
    if 0 in images.shape[1:]:
        raise InputError(f"{what} has the shape {images.shape}: its images have no pixels")
    return images


def _check_weights(weights: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    if weights is None:
        return None
    if hasattr(weights, "unit"):
        weights = np.asarray(weights.value if hasattr(weights, "value") else weights)
    weights = np.asanyarray(weights)
    if weights.dtype.kind not in "fiub":
        raise InputError(f"weights have the type {weights.dtype}; give numbers")
    allowed = {shape[:1], shape, shape[:3]}
    if weights.shape not in allowed:
        raise InputError(
            f"weights have the shape {weights.shape}; images of the shape {shape} need a weight a row, "
            f"{shape[:1]}, or a pixel, {shape}"
        )
    return weights


class ImageRows:
    """Images, their weights, and how they come to the network.

    Parameters
    ----------
    images : (n, h, w) or (n, h, w, c) array
        float32, or uint8, which are divided by 255; a memory map is fine.  NaN where missing.
    weights : (n,) array or array of the shape of the images, optional
        Inverse variances, of rows or pixels; (n, h, w) serves all channels.  What is not finite
        counts as 0.
    device : torch.device, optional
        Where to; by default the processor.

    Raises
    ------
    InputError
        If shapes or types do not fit.
    """

    def __init__(
        self, images: np.ndarray, weights: np.ndarray | None = None, *, device: torch.device | None = None
    ) -> None:
        self.images = check_images(images)
        self.weights = _check_weights(weights, self.images.shape)
        self.image_shape = (*self.images.shape[1:3], 1 if self.images.ndim == 3 else self.images.shape[3])
        self.augmentation: Augmentation | None = None
        self.centre, self.spread = 0.0, 1.0
        self._unit = 1 / 255 if self.images.dtype == np.uint8 else 1.0
        self._device = device
        self._resident: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def preload(self) -> None:
        """Put all images onto the device once, if that is a GPU with room for them."""
        torch = require_torch()
        if (
            self._device is None
            or self._device.type != "cuda"
            or self.images.dtype not in (np.uint8, np.float32)
        ):
            return
        if 2 * self.images.nbytes < torch.cuda.mem_get_info(self._device)[0]:
            native = np.array(self.images, dtype=self.images.dtype.newbyteorder("="))
            self._resident = torch.from_numpy(native).to(self._device)

    def draw(self, generator: np.random.Generator, n: int) -> np.ndarray | None:
        """Draw how n images are turned, mirrored and moved.

        Parameters
        ----------
        generator : `~numpy.random.Generator`
            Source of chance.
        n : int
            How many.

        Returns
        -------
        (n, 3) array of int or None
            For `take`; None without augmentation.
        """
        return None if self.augmentation is None else self.augmentation.draw(generator, n)

    def take(self, rows: np.ndarray, choices: np.ndarray | None = None) -> Shard:
        """Return some images as the network takes them.

        Parameters
        ----------
        rows : (m,) array of int
            Their numbers.
        choices : (m, 3) array of int, optional
            What is done to each, from `draw`.

        Returns
        -------
        Shard
        """
        torch = require_torch()
        images = self._pixels(rows)
        weights = self._weights(rows)
        if choices is not None and self.augmentation is not None:
            images = self.augmentation.apply(images, choices)
            if weights is not None:
                weights = self.augmentation.apply(weights, choices)
        there = torch.isfinite(images)
        if not bool(there.all()):
            images = torch.where(there, images, 0.0)
            weights = there.float() if weights is None else torch.where(there, weights, 0.0)
        weight = float(images.numel()) if weights is None else float(weights.sum(dtype=torch.float64))
        return Shard(images, weights, weight)

    def _pixels(self, rows: np.ndarray) -> Tensor:
        torch = require_torch()
        if self._resident is not None:
            images = self._resident[torch.from_numpy(rows).to(self._device)].float()
            images = images.mul_(self._unit).sub_(self.centre).div_(self.spread)
        else:
            taken = self.images[rows]
            low, high = _SAFE_SCALES
            if taken.dtype.itemsize > 4 or not low < self.spread < high:
                taken = (taken.astype(float) - self.centre) / self.spread
                images = torch.from_numpy(taken.astype(np.float32))
            else:
                images = torch.from_numpy(taken.astype(np.float32, copy=False))
                if self._unit != 1:
                    images.mul_(self._unit)
                if self.centre != 0 or self.spread != 1:
                    images.sub_(self.centre).div_(self.spread)
        # (m, h, w, c) seen as (m, c, h, w) is what torch calls channels last: nothing moves.
        images = images.view(len(rows), *self.image_shape).permute(0, 3, 1, 2)
        return images if self._device is None else images.to(self._device, non_blocking=True)

    def _weights(self, rows: np.ndarray) -> Tensor | None:
        if self.weights is None:
            return None
        torch = require_torch()
        taken = np.nan_to_num(self.weights[rows].astype(np.float32), posinf=0.0, neginf=0.0, copy=False)
        shape = (len(rows), *self.image_shape)
        if taken.ndim < 4:
            taken = taken.reshape(*taken.shape, *(1,) * (4 - taken.ndim))
        weights = torch.from_numpy(np.array(np.broadcast_to(taken, shape))).permute(0, 3, 1, 2)
        return weights if self._device is None else weights.to(self._device)


def survey(images: np.ndarray, weights: np.ndarray | None = None) -> Survey:
    """Look at each image once, in blocks of rows.

    Parameters
    ----------
    images : (n, h, w) or (n, h, w, c) array
        Images.
    weights : array, optional
        As `ImageRows` takes them.

    Returns
    -------
    Survey

    Raises
    ------
    InputError
        If a weight is below 0.

    Examples
    --------
    >>> found = survey(np.array([[[0.0, 2.0]], [[np.nan, np.nan]]]))
    >>> found.usable, found.highest
    (array([0]), 2.0)
    """
    images = check_images(images)
    weights = _check_weights(weights, images.shape)
    n = len(images)
    counts, means, variances = np.zeros(n, dtype=int), np.zeros(n), np.zeros(n)
    lowest, highest = math.inf, -math.inf
    step = max(1, _BLOCK_BYTES // max(1, images[0].nbytes)) if n else 1
    unit = 1 / 255 if images.dtype == np.uint8 else 1.0
    for start in range(0, n, step):
        rows = slice(start, start + step)
        block = images[rows].reshape(len(counts[rows]), -1)
        there = _there(block, None if weights is None else weights[rows])
        if there is not None:
            counts[rows] = there.sum(axis=1)
            block = np.where(there, block, 0)
        else:
            counts[rows] = block.shape[1]
        many = np.maximum(counts[rows], 1)
        means[rows] = unit * block.sum(axis=1, dtype=float) / many
        # Single precision holds squares of bytes; those of fluxes may be beyond it.
        exact = np.float32 if images.dtype == np.uint8 else np.float64
        off = block * exact(unit) - means[rows][:, None].astype(exact)
        if there is not None:
            off[~there] = 0.0
        with np.errstate(over="ignore"):
            variances[rows] = np.einsum("ij,ij->i", off, off) / many
        valid = block if there is None else block[there]
        if valid.size:
            lowest, highest = min(lowest, unit * float(valid.min())), max(highest, unit * float(valid.max()))
    return Survey(counts, means, variances, lowest, highest)


def _there(block: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
    """Return which pixels of a block are there and count; None if all."""
    there = np.isfinite(block) if block.dtype.kind == "f" else None
    if there is not None and there.all():
        there = None
    if weights is None:
        return there
    flat = weights.reshape(len(block), -1)
    if (flat < 0).any():
        raise InputError("a weight is below 0; weights are inverse variances, 0 where a pixel must not count")
    counting = np.isfinite(flat) & (flat > 0)
    counting = np.repeat(counting, block.shape[1] // counting.shape[1], axis=1)
    return counting if there is None else there & counting


def held_out_split(
    rows: np.ndarray, share: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows into those to learn from and those to be judged by.

    Parameters
    ----------
    rows : (n,) array of int
        Numbers of rows.
    share : float
        Share of those held out; at least one row if this is above 0 and three are there, and at least two
        rows are left to learn from.
    generator : `~numpy.random.Generator`
        Source of chance.

    Returns
    -------
    learned, held_out : array of int
        In increasing order.

    Examples
    --------
    >>> learned, held_out = held_out_split(np.arange(10), 0.2, np.random.default_rng(1))
    >>> len(learned), len(held_out)
    (8, 2)
    """
    n_held_out = 0 if share == 0 else min(max(1, round(share * len(rows))), max(0, len(rows) - 2))
    mixed = rows[generator.permutation(len(rows))]
    return np.sort(mixed[n_held_out:]), np.sort(mixed[:n_held_out])


def batches_of(rows: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Divide rows into batches, all of nearly the same size, of at least two rows.

    Parameters
    ----------
    rows : (n,) array of int
        Numbers of rows.
    batch_size : int
        Most rows in a batch (one more, if one were left alone).

    Returns
    -------
    list of array of int

    Examples
    --------
    >>> [len(batch) for batch in batches_of(np.arange(11), 4)]
    [4, 4, 3]
    """
    many = min(-(-len(rows) // batch_size), max(1, len(rows) // 2))
    return np.array_split(rows, many)


def pieces_of(n: int, size: int) -> list[slice]:
    """Divide n rows into pieces that go through the network at a time.

    Parameters
    ----------
    n : int
        Number of rows.
    size : int
        Most rows in a piece.

    Returns
    -------
    list of slice

    Examples
    --------
    >>> pieces_of(5, 3)
    [slice(0, 2, None), slice(2, 5, None)]
    """
    many = max(1, -(-n // size))
    ends = [n * k // many for k in range(many + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(ends)]
