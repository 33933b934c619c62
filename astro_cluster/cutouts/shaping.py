"""Images of any size to images of one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from astro_cluster.cutouts.areakernels import area_compiled
from astro_cluster.exceptions import InputError, did_you_mean

__all__ = ["COLOURS", "RESIZINGS", "common_size", "keeps_bytes", "recoloured", "resized", "size_of"]

RESIZINGS = ("area", "flux", "lanczos", "crop", "pad", "none")
COLOURS = ("auto", "grey", "rgb")

Size = tuple[int, int]
_MOST = 2**15  # pixels along an axis


def size_of(size: Any) -> Size | None:
    """Return height and width that were asked for.

    Parameters
    ----------
    size : int, (int, int) or None
        One number for a square.

    Returns
    -------
    (int, int) or None

    Raises
    ------
    InputError
        If it is something else.

    Examples
    --------
    >>> size_of(128), size_of((170, 950))
    ((128, 128), (170, 950))
    """
    if size is None:
        return None
    pair = (size, size) if isinstance(size, (int, np.integer)) else size
    try:
        height, width = pair
        is_right = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in pair)
    except (TypeError, ValueError):
        is_right = False
    if not is_right or not (0 < height <= _MOST and 0 < width <= _MOST):
        raise InputError(
            f"size={size!r} is no size: give a whole number of pixels for a square, or (height, width), "
            f"up to {_MOST}"
        )
    return int(height), int(width)


def check_word(what: str, word: Any, allowed: Sequence[str]) -> None:
    """Make sure that a word is one of those that are known.

    Parameters
    ----------
    what : str
        Name of the parameter.
    word : str
        What was given.
    allowed : sequence of str
        What may be.

    Raises
    ------
    InputError
        If it is none of them.

    Examples
    --------
    >>> check_word("resize", "area", RESIZINGS)
    """
    if word not in allowed:
        raise InputError(
            f"{what}={word!r} is not known{did_you_mean(word, allowed)} It is one of {', '.join(allowed)}"
        )


def common_size(sizes: Sequence[Size], size: Size | None, resize: str) -> Size:
    """Return the size that all images will have.

    Parameters
    ----------
    sizes : sequence of (int, int)
        Heights and widths.
    size : (int, int) or None
        What was asked for.
    resize : str
        One of `RESIZINGS`.

    Returns
    -------
    (int, int)

    Raises
    ------
    InputError
        If sizes differ and nothing says what to do about it.

    Examples
    --------
    >>> common_size([(3, 5), (4, 4)], None, "crop"), common_size([(3, 5), (4, 4)], None, "pad")
    ((3, 4), (4, 5))
    """
    heights, widths = zip(*sizes, strict=True)
    low, high = (min(heights), min(widths)), (max(heights), max(widths))
    if resize in ("crop", "pad"):
        return size or (low if resize == "crop" else high)
    if low == high and (size is None or size == low):
        return low
    if size is not None and resize != "none":
        return size
    n, (h, w), (most_h, most_w) = len(set(sizes)), low, high
    told = f"the images are of {n} sizes, {h} to {most_h} high and {w} to {most_w} wide"
    if size is None:
        raise InputError(
            f"{told}: give size=128, say, or resize='pad' or 'crop' (on the command line --size 128)"
        )
    raise InputError(
        f"{told if n > 1 else f'the images are {h} × {w} pixels'}, and resize='none' cannot make them "
        f"{size[0]} × {size[1]}: use 'area', 'lanczos', 'crop' or 'pad'"
    )


def keeps_bytes(sizes: Sequence[Size], size: Size, resize: str) -> bool:
    """Tell whether 8-bit images stay 8-bit ones: not where their sum, or nothing, would have to be put in.

    Parameters
    ----------
    sizes : sequence of (int, int)
        Heights and widths.
    size : (int, int)
        Of all images afterwards.
    resize : str
        One of `RESIZINGS`.

    Returns
    -------
    bool

    Examples
    --------
    >>> keeps_bytes([(3, 3)], (4, 4), "pad"), keeps_bytes([(3, 3)], (4, 4), "area")
    (False, True)
    """
    if resize in ("crop", "pad"):
        return all(h >= size[0] and w >= size[1] for h, w in sizes)
    return resize != "flux"


def recoloured(image: np.ndarray, channels: int) -> np.ndarray:
    """Return an image with as many channels as the others.

    Parameters
    ----------
    image : (h, w) or (h, w, c) array
        Grey or colours.
    channels : int
        0 for grey.

    Returns
    -------
    (h, w) or (h, w, channels) array
        Grey of colours is their mean; colours of grey are all the same.

    Raises
    ------
    ValueError
        If it has another number of colours.

    Examples
    --------
    >>> recoloured(np.array([[[1, 2, 6]]], dtype=np.uint8), 0)
    array([[3]], dtype=uint8)
    """
    if image.ndim == 2:
        return image if channels == 0 else np.broadcast_to(image[..., None], (*image.shape, channels))
    if channels == 0:
        mean = image.mean(axis=2, dtype=np.float64 if image.dtype == np.float64 else np.float32)
        return np.rint(mean).astype(np.uint8) if image.dtype == np.uint8 else mean
    if image.shape[2] != channels:
        raise ValueError(f"it has {image.shape[2]} channels, and the others have {channels}")
    return image


def resized(image: np.ndarray, size: Size, resize: str = "area") -> np.ndarray:
    """Return an image in another size.

    Parameters
    ----------
    image : (h, w) or (h, w, c) array of uint8, float32 or float64
        NaN where there is no value.
    size : (int, int)
        Height and width.
    resize : {"area", "flux", "lanczos", "crop", "pad", "none"}, optional
        The mean over the area of each new pixel; the sum, so that the flux stays the same; the Lanczos
        filter (three lobes) of Pillow; or the middle of the image, NaN around it where it is smaller.

    Returns
    -------
    array
        uint8 stays so, unless there is flux to be summed or NaN to be put in.  A new pixel is NaN if more
        than half of its area is.

    Examples
    --------
    >>> resized(np.arange(16.0).reshape(4, 4), (2, 2))
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """
    if image.shape[:2] == tuple(size):
        return image
    if resize in ("crop", "pad"):
        return _middle(image, size)
    if resize == "lanczos":
        return _lanczos(image, size)
    wide = image.reshape(*image.shape[:2], -1)
    work = np.ascontiguousarray(wide, np.float64 if image.dtype == np.float64 else np.float32)
    out = area_compiled(work, *size).reshape(*size, *image.shape[2:])
    if resize == "flux":
        return out * (image.shape[0] * image.shape[1] / (size[0] * size[1]))
    return np.rint(out).astype(np.uint8) if image.dtype == np.uint8 else out


def _middle(image: np.ndarray, size: Size) -> np.ndarray:
    taken, put = [], []
    for there, wanted in zip(image.shape[:2], size, strict=True):
        n = min(there, wanted)
        # The middle pixel of n is n // 2, as where a source is put in a cutout.
        taken.append(slice(there // 2 - n // 2, there // 2 - n // 2 + n))
        put.append(slice(wanted // 2 - n // 2, wanted // 2 - n // 2 + n))
    part = image[tuple(taken)]
    if part.shape[:2] == tuple(size):
        return part
    kind = image.dtype if image.dtype.kind == "f" else np.dtype(np.float32)
    out = np.full((*size, *image.shape[2:]), np.nan, kind)
    out[tuple(put)] = part
    return out


def _lanczos(image: np.ndarray, size: Size) -> np.ndarray:
    if image.ndim == 3:
        return np.stack([_lanczos(image[..., k], size) for k in range(image.shape[2])], axis=-1)
    if image.dtype == np.uint8:
        return _by_pillow(image, size)
    there = np.isfinite(image)
    if there.all():
        return _by_pillow(image, size)
    weights = _by_pillow(there.astype(np.float32), size)
    total = _by_pillow(np.where(there, image, 0), size)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weights > 0.5, total / weights, np.float32(np.nan))


def _by_pillow(image: np.ndarray, size: Size) -> np.ndarray:
    from PIL import Image

    plain = np.ascontiguousarray(image, np.uint8 if image.dtype == np.uint8 else np.float32)
    return np.asarray(Image.fromarray(plain).resize(size[::-1], Image.Resampling.LANCZOS))
