"""Where the stamps stand in images that show several side by side, one a filter, say."""

from __future__ import annotations

from typing import Any

import numpy as np

from astro_cluster.exceptions import InputError

__all__ = ["SMALLEST", "boxes_of"]

SMALLEST = 8
"""Pixels a side below which a stamp shows nothing."""

_LOOKED_AT = 512  # images that tell where the stamps are
_SAME = 0.3  # of the largest range of brightness at a place: below, images are the same there
_ALIKE = 0.8  # the narrowest stamp over the widest


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
    elif isinstance(panels, (int, np.integer)) and not isinstance(panels, bool) and panels >= 1:
        if len(columns) != panels:
            size = (right - left) / panels
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
