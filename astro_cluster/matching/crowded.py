"""The nearest of very many: a tree, where zones would compare too much."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["nearest_candidates"]

# More than the rounding of chords and of separations together [rad].
_ROUNDING = 1e-14
_AT_ONCE = 2**20  # rows, and candidates


def _directions(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    ra, dec = np.radians(ra), np.radians(dec)
    out = np.empty((len(ra), 3))
    out[:, 0] = np.cos(dec) * np.cos(ra)
    out[:, 1] = np.cos(dec) * np.sin(ra)
    out[:, 2] = np.sin(dec)
    return out


def _distinct(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Return the rows that have a position, the first of each that has the same."""
    rows = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    rows = rows[np.lexsort((dec[rows], ra[rows]))]
    new = np.ones(len(rows), dtype=bool)
    new[1:] = (np.diff(ra[rows]) != 0) | (np.diff(dec[rows]) != 0)
    return rows[new]


def nearest_candidates(
    ra: np.ndarray,
    dec: np.ndarray,
    other_ra: np.ndarray,
    other_dec: np.ndarray,
    radius: float,
    n_threads: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs among which is the nearest of each position.

    Parameters
    ----------
    ra, dec : (n,) array of float
        Positions [deg]; those with a NaN are in no pair.
    other_ra, other_dec : (k,) array of float
        The others [deg].  Of several at the very same place only the first is named.
    radius : float
        Largest separation [arcsec].
    n_threads : int
        Threads.

    Yields
    ------
    i, j : (m,) array of int
        Row numbers: for nearly all rows one pair, and several where they are equally near to
        within rounding.

    Examples
    --------
    >>> list(nearest_candidates(np.zeros(1), np.zeros(1), np.array([2.0, 1.0]), np.zeros(2), 36000.0, 1))
    [(array([0]), array([1]))]
    """
    from scipy.spatial import cKDTree

    rows, others = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec)), _distinct(other_ra, other_dec)
    if not len(rows) or not len(others):
        return
    # Halving at the middle of the range is faster to build, and as good for positions on a sphere.
    tree = cKDTree(_directions(other_ra[others], other_dec[others]), balanced_tree=False, compact_nodes=False)
    reach = 2 * np.sin(np.radians(min(radius / 3600, 180.0)) / 2) * (1 + 1e-9) + _ROUNDING
    for begin in range(0, len(rows), _AT_ONCE):
        some = rows[begin : begin + _AT_ONCE]
        places = _directions(ra[some], dec[some])
        chord, found = tree.query(places, k=2, distance_upper_bound=reach, workers=n_threads)
        near = np.isfinite(chord[:, 0])
        tied = near & (chord[:, 1] <= chord[:, 0] + _ROUNDING)
        one = np.flatnonzero(near & ~tied)
        if len(one):
            yield some[one], others[found[one, 0]]
        for i, j in _equals(tree, places[tied], chord[tied, 0] + _ROUNDING):
            yield some[tied][i], others[j]


def _equals(tree: Any, places: np.ndarray, reach: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield all pairs within the reach of each place, some at a time."""
    i: list[np.ndarray] = []
    j: list[np.ndarray] = []
    size = 0
    for k, (place, limit) in enumerate(zip(places, reach, strict=True)):
        found = np.array(tree.query_ball_point(place, limit), dtype=np.int64)
        i.append(np.full(len(found), k))
        j.append(found)
        size += len(found)
        if size > _AT_ONCE:
            yield np.concatenate(i), np.concatenate(j)
            i, j, size = [], [], 0
    if i:
        yield np.concatenate(i), np.concatenate(j)
