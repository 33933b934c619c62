"""Where the stamps stand in images that show several side by side, one a filter, say."""

from __future__ import annotations

from typing import Any

import numpy as np

from astro_cluster.cutouts.measures import SMALLEST
from astro_cluster.cutouts.stack import blocks_of_rows
from astro_cluster.exceptions import InputError

__all__ = ["Panels", "boxes_of", "is_count", "panels_of"]

Panels = list[tuple[slice, slice]]
"""Rows and columns of the stamps in an image."""

_LOOKED_AT = 512  # images that tell where the stamps are
_SAME = 0.3  # of the largest range of brightness at a place: below, images are the same there
_ALIKE = 0.8  # the narrowest stamp over the widest


def is_count(panels: Any) -> bool:
    """Return whether it is a number of stamps.

    Parameters
    ----------
    panels : object
        What was given.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_count(3), is_count(True), is_count(0)
    (True, False, False)
    """
    return isinstance(panels, (int, np.integer)) and not isinstance(panels, bool) and panels >= 1


def boxes_of(images: np.ndarray, panels: int | str = "auto") -> list[tuple[int, int, int, int]]:
    """Return where the stamps stand in images.

    Parameters
    ----------
    images : (n, h, w) or (n, h, w, c) array
        Images of one layout; NaN counts as nothing.
    panels : int or "auto", optional
        How many stamps stand side by side.  With "auto" they are told by what lies between
        them: columns of pixels that are (nearly) the same in all images.

    Returns
    -------
    list of tuple of int
        Top, bottom, left and right of each stamp, all of one size; what is around and between
        the stamps is left out, if it can be told, else the width is shared out equally.

    Raises
    ------
    InputError
        If the number cannot be used, or stamps would be below 8 × 8 pixels.

    See Also
    --------
    panels_of : parts them by zeros alone, which a single image shows too.

    Examples
    --------
    >>> images = np.zeros((9, 10, 32))
    >>> images[:, :, 1:11] = images[:, :, 20:30] = np.random.default_rng(1).normal(size=(9, 10, 10))
    >>> boxes_of(images)
    [(0, 10, 1, 11), (0, 10, 20, 30)]
    """
    some = images[:: max(1, len(images) // _LOOKED_AT)]
    some = some if some.ndim == 3 else some[..., 0]
    spread = _spread(some)
    rows, columns = _runs(spread.max(axis=1)), _runs(spread.max(axis=0))
    h, w = spread.shape
    top, bottom = (rows[0][0], rows[-1][1]) if rows else (0, h)
    left, right = (columns[0][0], columns[-1][1]) if columns else (0, w)
    widths = [end - begin for begin, end in columns]
    if panels == "auto":
        # Stamps are alike in width; anything else is a structure of the images.
        if len(columns) < 2 or min(widths) < max(_ALIKE * max(widths), SMALLEST):
            columns = [(left, right)]
    elif is_count(panels):
        if len(columns) != panels:
            size = (right - left) / int(panels)
            columns = [(left + round(k * size), left + round((k + 1) * size)) for k in range(int(panels))]
    else:
        raise InputError(f"panels={panels!r} cannot be used: give a whole number from 1, or 'auto'")
    width = min(end - begin for begin, end in columns)
    if min(width, bottom - top) < SMALLEST:
        raise InputError(
            f"stamps of {bottom - top} × {width} pixels are too small; at least {SMALLEST} × {SMALLEST} are "
            f"needed (panels={panels!r})"
        )
    return [(top, bottom, begin, begin + width) for begin, _ in columns]


def _spread(images: Any) -> np.ndarray:
    """Return the range of brightness at each place; 0 where it is not known."""
    low, high = np.fmin.reduce(images, axis=0), np.fmax.reduce(images, axis=0)
    with np.errstate(invalid="ignore", over="ignore"):
        spread = high.astype(float) - low
    return np.where(np.isfinite(spread), spread, 0.0)


def _runs(spread: np.ndarray) -> list[tuple[int, int]]:
    """Return where lines of pixels differ from image to image, from the first to behind the last."""
    varies = spread > _SAME * spread.max(initial=0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], varies.astype(int), [0]])))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def panels_of(images: np.ndarray, panels: int | str) -> Panels:
    """Return where in images of one layout the stamps are.

    Parameters
    ----------
    images : (n, h, w) or (n, h, w, c) array
        A stack.
    panels : int or "auto"
        As in `quality_of`.

    Returns
    -------
    list of (slice, slice)
        Rows and columns of each.

    Raises
    ------
    InputError
        If the number cannot be used.

    Examples
    --------
    >>> panels_of(np.ones((1, 8, 16)), 2)
    [(slice(0, 8, None), slice(0, 8, None)), (slice(0, 8, None), slice(8, 16, None))]
    """
    height, width = images.shape[1:3]
    if panels != "auto" and not (is_count(panels) and int(panels) <= width):
        raise InputError(
            f"panels={panels!r} for images {width} pixels wide; give the number of stamps in a row or 'auto'"
        )
    if panels == 1:
        return [(slice(0, height), slice(0, width))]
    parted = _parted(images)
    if panels in ("auto", len(parted)):
        return parted
    size = width // int(panels)
    starts = np.round(np.linspace(0, width - size, int(panels))).astype(int).tolist()
    return [(slice(0, height), slice(start, start + size)) for start in starts]


def _parted(images: np.ndarray) -> Panels:
    """Return the stamps between columns that are zero in all images."""
    lit = np.zeros(images.shape[1:3], dtype=bool)
    for rows in blocks_of_rows(images):
        block = images[rows]
        filled = block != 0
        if block.dtype.kind == "f":
            filled &= ~np.isnan(block)
        lit |= filled.any(axis=(0, 3) if images.ndim == 4 else 0)
    if not lit.any():
        return [(slice(0, lit.shape[0]), slice(0, lit.shape[1]))]
    down = np.flatnonzero(lit.any(axis=1))
    steps = np.diff(lit.any(axis=0).astype(np.int8), prepend=0, append=0)
    starts, stops = np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist()
    rows = slice(int(down[0]), int(down[-1]) + 1)
    return [(rows, slice(start, stop)) for start, stop in zip(starts, stops, strict=True)]
