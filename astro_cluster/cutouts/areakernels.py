"""Averages over pixel areas, compiled by Numba."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

__all__ = ["area_by_matrix", "area_compiled", "overlaps"]


def overlaps(n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which old pixels lie under each new one, and what part of it each covers.

    Parameters
    ----------
    n_in, n_out : int
        Pixels along one axis, before and after.

    Returns
    -------
    first : (n_out,) array of int
        The first old pixel under each.
    count : (n_out,) array of int
        How many there are.
    weights : (n_out, most) array of float
        The parts, which add up to 1.

    Notes
    -----
    The edges are whole numbers in units of 1 / (n_in n_out) of the axis, so that no sliver of a
    neighbour comes in by rounding.

    Examples
    --------
    >>> first, count, weights = overlaps(3, 2)
    >>> first, count, weights.round(3)
    (array([0, 1]), array([2, 2]), array([[0.667, 0.333],
           [0.333, 0.667]]))
    """
    edges = np.arange(n_out + 1, dtype=np.int64) * n_in  # an old pixel is n_out wide, a new one n_in
    first = edges[:-1] // n_out
    count = -(-edges[1:] // n_out) - first
    pixels = first[:, None] + np.arange(count.max())
    low = np.maximum(pixels * n_out, edges[:-1, None])
    high = np.minimum((pixels + 1) * n_out, edges[1:, None])
    return first, count, np.maximum(high - low, 0) / n_in


def area_by_matrix(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Average an image over the areas of new pixels, by products of matrices: the reference.

    Parameters
    ----------
    image : (h, w, c) array of float
        NaN where there is no value.
    height, width : int
        Of the result.

    Returns
    -------
    (height, width, c) array of float64
        As `area_compiled`.

    Examples
    --------
    >>> area_by_matrix(np.arange(4.0).reshape(2, 2, 1), 1, 1)
    array([[[1.5]]])
    """
    down, across = _matrix(image.shape[0], height), _matrix(image.shape[1], width)
    there = np.isfinite(image)
    filled = np.where(there, image, 0.0)
    total, area = (
        np.einsum("ij,jkc,lk->ilc", down, part.astype(float), across, optimize=True)
        for part in (filled, there)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(area > _LEAST, total / area, np.nan)


_LEAST = 0.5 - 1e-9  # of the area of a new pixel has to be known


def _matrix(n_in: int, n_out: int) -> np.ndarray:
    first, count, weights = overlaps(n_in, n_out)
    matrix = np.zeros((n_out, n_in))
    for i in range(n_out):
        matrix[i, first[i] : first[i] + count[i]] = weights[i, : count[i]]
    return matrix


def _area(
    image: np.ndarray,
    first: np.ndarray,
    count: np.ndarray,
    weights: np.ndarray,
    column_first: np.ndarray,
    column_count: np.ndarray,
    column_weights: np.ndarray,
    out: np.ndarray,
) -> None:
    """Average an image (h, w, c) into out; where a value is not finite, over the others."""
    h, w, c = image.shape
    flat = image.reshape(h, w * c)
    rows = np.empty(w * c)
    known = np.empty(w * c)
    for i in range(out.shape[0]):
        rows[:] = 0.0
        for a in range(count[i]):
            weight, line = weights[i, a], flat[first[i] + a]
            for k in range(w * c):
                rows[k] += weight * line[k]
        is_whole = True
        for j in range(out.shape[1]):
            for channel in range(c):
                total = 0.0
                for b in range(column_count[j]):
                    total += column_weights[j, b] * rows[(column_first[j] + b) * c + channel]
                out[i, j, channel] = total
                is_whole &= np.isfinite(total)
        if is_whole:
            continue
        rows[:] = 0.0
        known[:] = 0.0
        for a in range(count[i]):
            weight, line = weights[i, a], flat[first[i] + a]
            for k in range(w * c):
                if np.isfinite(line[k]):
                    rows[k] += weight * line[k]
                    known[k] += weight
        for j in range(out.shape[1]):
            for channel in range(c):
                total = 0.0
                area = 0.0
                for b in range(column_count[j]):
                    place = (column_first[j] + b) * c + channel
                    total += column_weights[j, b] * rows[place]
                    area += column_weights[j, b] * known[place]
                out[i, j, channel] = total / area if area > _LEAST else np.nan


@functools.cache
def _compiled() -> Callable[..., None] | None:
    try:
        from numba import njit
    except Exception:  # where Numba does not work, products of matrices do the same
        return None
    try:
        return njit(_area, nogil=True, error_model="numpy", cache=True)
    except RuntimeError:  # no folder can be written to: compiled anew in each process
        return njit(_area, nogil=True, error_model="numpy")


@functools.lru_cache(512)
def _overlaps(n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return overlaps(n_in, n_out)


def area_compiled(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Average an image over the areas of new pixels.

    Parameters
    ----------
    image : (h, w, c) array of float32 or float64
        NaN where there is no value.
    height, width : int
        Of the result.

    Returns
    -------
    (height, width, c) array of float64
        The mean of the values that there are, each weighted by the area that it covers; NaN where more
        than half of the area has none.

    Examples
    --------
    >>> area_compiled(np.array([[[1.0], [np.nan]], [[2.0], [3.0]]]), 1, 1)
    array([[[2.]]])
    """
    kernel = _compiled()
    if kernel is None:
        return area_by_matrix(image, height, width)
    out = np.empty((height, width, image.shape[2]))
    kernel(image, *_overlaps(image.shape[0], height), *_overlaps(image.shape[1], width), out)
    return out
