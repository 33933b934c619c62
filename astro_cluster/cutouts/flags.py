"""All measures of a few images: flags that are counted pixel by pixel, and the shape."""

from __future__ import annotations

import functools
from types import ModuleType

import numpy as np

from astro_cluster.cutouts.measures import SMALLEST, shape_measures

__all__ = ["block_measures"]


@functools.cache
def _kernels() -> ModuleType | None:
    try:
        from astro_cluster.cutouts import measurekernels
    except Exception:  # where Numba does not work, NumPy does the same
        return None
    return measurekernels


def block_measures(
    block: np.ndarray, saturation: float | None = None, *, inverted: bool = False
) -> dict[str, np.ndarray]:
    """Return the measures of a few images.

    Parameters
    ----------
    block : (m, h, w) or (m, h, w, c) array
        Images of any type of numbers.
    saturation : float, optional
        Brightness from which on a pixel is saturated.
    inverted : bool, optional
        Sources are darker than the sky.

    Returns
    -------
    dict of str to (m,) array of float64
        As `~astro_cluster.cutouts.quality_of` defines them.

    Examples
    --------
    >>> block_measures(np.zeros((1, 9, 9)))["flat_fraction"].tolist()
    [1.0]
    """
    if block.dtype.kind == "b":
        block = block.astype(np.uint8)
        if saturation is None:
            saturation = 0 if inverted else 1
    if not block.dtype.isnative or block.dtype == np.float16:
        block = block.astype(np.float32 if block.dtype == np.float16 else block.dtype.newbyteorder("="))
    whole = block.dtype.kind in "iu"
    if saturation is None and whole:
        limits = np.iinfo(block.dtype)
        saturation = limits.min if inverted else limits.max
    quantum = (1.0 / block.shape[3] if block.ndim == 4 else 1.0) if whole else 0.0
    kernels = _kernels()
    # Whole numbers of 8 bytes are more than a float can tell apart.
    if kernels is not None and not (whole and block.dtype.itemsize == 8):
        return _by_kernels(kernels, block, saturation, quantum, inverted=inverted)
    return _by_numpy(block, saturation, quantum, inverted=inverted)


def _by_kernels(
    kernels: ModuleType, block: np.ndarray, saturation: float | None, quantum: float, *, inverted: bool
) -> dict[str, np.ndarray]:
    """Measure image after image."""
    names = ("zero_fraction", "nan_fraction", "saturated_fraction")
    names += ("edge_asymmetry", "peak_offset", "spike_power", "concentration", "flat_fraction")
    found = np.empty((len(block), len(names)))
    size = block.shape[1] * block.shape[2]
    is_small = min(block.shape[1:3]) < SMALLEST
    for row, image in enumerate(block):
        *counts, same, light, low, high = kernels.flags_of(image, saturation, inverted=inverted)
        found[row, :3] = counts
        found[row, :3] /= size
        if is_small or not low <= high:
            found[row, 3:] = np.nan
            continue
        found[row, 3:7] = kernels.measure_shape(light, low, high, quantum=quantum)
        found[row, 7] = same / ((image.shape[0] - 2) * (image.shape[1] - 2))
    return dict(zip(names, found.T, strict=True))


def _by_numpy(
    block: np.ndarray, saturation: float | None, quantum: float, *, inverted: bool
) -> dict[str, np.ndarray]:
    """Measure all images at once: the reference."""
    n_pixels = block.shape[1] * block.shape[2]
    zero = block == 0
    known = None if block.dtype.kind in "iu" else np.isfinite(block)
    if known is not None and known.all():
        known = None
    light = _light(block)
    if inverted:
        light = -light
    if block.ndim == 4:
        zero = zero.all(axis=3)
        known = None if known is None else known.all(axis=3)
    return {
        "zero_fraction": _counts(zero) / n_pixels,
        "nan_fraction": np.zeros(len(block)) if known is None else 1 - _counts(known) / n_pixels,
        "saturated_fraction": _saturated(block, light, saturation, inverted=inverted) / n_pixels,
        **shape_measures(light, quantum=quantum),
        "flat_fraction": _flat(light),
    }


def _counts(flags: np.ndarray) -> np.ndarray:
    return np.count_nonzero(flags.reshape(len(flags), -1), axis=1)


def _light(block: np.ndarray) -> np.ndarray:
    """Return images as floats, of colour images the mean of the channels."""
    exact = block.dtype.itemsize <= 2 or block.dtype == np.float32
    dtype = np.float32 if exact else np.float64
    if block.ndim == 3:
        return block.astype(dtype, copy=False)
    total = block[..., 0].astype(dtype)
    for channel in range(1, block.shape[3]):
        with np.errstate(over="ignore", invalid="ignore"):  # infinite pixels are left out later
            total += block[..., channel]
    return total / dtype(block.shape[3])


def _saturated(
    block: np.ndarray, light: np.ndarray, saturation: float | None, *, inverted: bool
) -> np.ndarray:
    """Count the saturated pixels of each image."""
    if saturation is not None:
        high = block <= saturation if inverted else block >= saturation  # false for NaN
        return _counts(high.any(axis=3) if block.ndim == 4 else high)
    pixels = light.reshape(len(light), -1)
    known = np.isfinite(pixels)
    top = np.max(pixels, axis=1, where=known, initial=-np.inf)
    low = np.min(pixels, axis=1, where=known, initial=np.inf)
    at_top = (light == top[:, None, None]) & (top > low)[:, None, None]  # a constant image has no top
    found = np.zeros(len(light), dtype=np.int64)
    for row in np.flatnonzero(_counts(at_top) > 1):
        spots = np.pad(at_top[row], 1)
        beside = spots[:-2, 1:-1] | spots[2:, 1:-1] | spots[1:-1, :-2] | spots[1:-1, 2:]
        found[row] = np.count_nonzero(spots[1:-1, 1:-1] & beside)
    return found


def _flat(light: np.ndarray) -> np.ndarray:
    """Return the share of the pixels within the border that are equal to those around them."""
    m, h, w = light.shape
    if min(h, w) < SMALLEST:
        return np.full(m, np.nan)
    middle = light[:, 1:-1, 1:-1]
    same = np.ones(middle.shape, dtype=bool)
    for i in range(3):
        for j in range(3):
            same &= light[:, i : h - 2 + i, j : w - 2 + j] == middle
    share = _counts(same) / ((h - 2) * (w - 2))
    return np.where(np.isfinite(light).any(axis=(1, 2)), share, np.nan)
