"""Compiled loops of `astro_cluster.matching.zones`; loaded when they are first needed.

They decide nothing: they put positions into cells, and name candidates.  Which candidates are
pairs is found out by NumPy, so that the result is the same with and without these loops.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

__all__ = ["keep_nearest", "order_by_row", "scan", "sort_into_cells"]

_FEW = 24  # rows of a cell that are looked at one after another; more are searched by halving
_STRETCHES = 512  # of cells, that are looked up at once


def _kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function, and keep it on disk where there is a folder for it."""
    try:
        return njit(function, nogil=True, error_model="numpy", cache=True)
    except RuntimeError:  # no folder can be written to: compiled anew in each process
        return njit(function, nogil=True, error_model="numpy")


@_kernel
def _sort_run(ra: np.ndarray, dec: np.ndarray, row: np.ndarray, first: int, last: int) -> None:
    """Sort rows of one cell by right ascension, equal ones in their order."""
    if last - first <= _FEW:
        for i in range(first + 1, last):
            x, y, r = ra[i], dec[i], row[i]
            j = i - 1
            while j >= first and ra[j] > x:
                ra[j + 1], dec[j + 1], row[j + 1] = ra[j], dec[j], row[j]
                j -= 1
            ra[j + 1], dec[j + 1], row[j + 1] = x, y, r
        return
    order = np.argsort(ra[first:last], kind="mergesort")
    x, y, r = ra[first:last][order], dec[first:last][order], row[first:last][order]
    ra[first:last], dec[first:last], row[first:last] = x, y, r


@_kernel
def sort_into_cells(
    ra: np.ndarray,
    dec: np.ndarray,
    low: float,
    per_degree: float,
    per_cell: float,
    zone_cell: np.ndarray,
    zone_ra: np.ndarray,
    zone_scale: np.ndarray,
    row: np.ndarray,
    sorted_ra: np.ndarray,
    sorted_dec: np.ndarray,
) -> np.ndarray:
    """Sort positions by zone and right ascension, and return where each cell begins.

    Parameters
    ----------
    ra, dec : (n,) array of float
        Positions [deg], right ascension in [0, 360); rows with a NaN are left out.
    low, per_degree : float
        Lowest declination, and zones in a degree.
    per_cell : float
        Rows of a cell, about.
    zone_cell : (n_zones + 1,) array of int64
        First cell of each zone; filled here, as are the following.
    zone_ra, zone_scale : (n_zones,) array of float
        Lowest right ascension of each zone, and its cells in a degree.
    row : (m,) array of int
        Row numbers, of the m rows that have a position.
    sorted_ra, sorted_dec : (m,) array of float
        Their positions.

    Returns
    -------
    (n_cells + 1,) array of uint32 or int64
    """
    n_zones = len(zone_ra)
    count = np.zeros(n_zones, dtype=np.int64)
    highest = np.full(n_zones, -1.0)
    zone_ra[:] = 361.0
    for i in range(len(ra)):
        x, y = ra[i], dec[i]
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        z = min(int((y - low) * per_degree), n_zones - 1)
        count[z] += 1
        if x < zone_ra[z]:
            zone_ra[z] = x
        if x > highest[z]:
            highest[z] = x
    zone_cell[0] = 0
    for z in range(n_zones):
        cells = math.ceil(count[z] / per_cell)
        span = highest[z] - zone_ra[z]
        if cells > 1 and span * 1e12 < cells:  # all at one place
            cells = 1
        zone_scale[z] = cells / span if cells > 1 else 0.0
        zone_cell[z + 1] = zone_cell[z] + cells
    n_cells = zone_cell[n_zones]
    start = np.zeros(n_cells + 2, dtype=row.dtype)
    for i in range(len(ra)):
        x, y = ra[i], dec[i]
        if math.isfinite(x) and math.isfinite(y):
            z = min(int((y - low) * per_degree), n_zones - 1)
            cells = zone_cell[z + 1] - zone_cell[z]
            cell = zone_cell[z] + min(int((x - zone_ra[z]) * zone_scale[z]), cells - 1)
            start[cell + 2] += 1
    for cell in range(2, n_cells + 2):
        start[cell] += start[cell - 1]
    for i in range(len(ra)):
        x, y = ra[i], dec[i]
        if math.isfinite(x) and math.isfinite(y):
            z = min(int((y - low) * per_degree), n_zones - 1)
            cells = zone_cell[z + 1] - zone_cell[z]
            cell = zone_cell[z] + min(int((x - zone_ra[z]) * zone_scale[z]), cells - 1)
            place = start[cell + 1]
            start[cell + 1] += 1
            row[place], sorted_ra[place], sorted_dec[place] = i, x, y
    for cell in range(n_cells):
        if start[cell + 1] - start[cell] > 1:
            _sort_run(sorted_ra, sorted_dec, row, start[cell], start[cell + 1])
    return start[: n_cells + 1]


@_kernel
def _first_not_below(values: np.ndarray, first: int, last: int, limit: float) -> int:
    while first < last:
        middle = (first + last) >> 1
        if values[middle] < limit:
            first = middle + 1
        else:
            last = middle
    return first


@_kernel
def _segments(
    ra: np.ndarray,
    dec: np.ndarray,
    begin: int,
    low: float,
    per_degree: float,
    reach: float,
    table: np.ndarray,
    margin: int,
    zone_cell: np.ndarray,
    zone_ra: np.ndarray,
    zone_scale: np.ndarray,
    number: np.ndarray,
    limits: np.ndarray,
) -> tuple[int, int]:
    """List the stretches of cells that circles around some positions touch.

    Parameters
    ----------
    number : (4, size) array of int64
        Filled with the position, the zone, and the first and the last cell of each stretch.
    limits : (2, size) array of float
        Filled with the right ascensions that it is about.

    Returns
    -------
    count, following : int
        How many stretches there are, and the first position that was not looked at.
    """
    n_zones, n = len(zone_ra), 0
    for q in range(begin, len(ra)):
        x, y = ra[q], dec[q]
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        from_low = (y - reach - low) * per_degree
        to_high = (y + reach - low) * per_degree
        if to_high < 0.0 or from_low >= n_zones + 1.0:
            continue
        first_zone = min(int(max(from_low, 0.0)), n_zones - 1)
        last_zone = min(int(to_high), n_zones - 1)
        if n + 3 * (last_zone - first_zone + 1) > number.shape[1]:
            return n, q
        own = math.floor((y - low) * per_degree) + margin
        width = table[0, min(max(own, 0), table.shape[1] - 1)]
        whole = width >= 180.0
        for z in range(first_zone, last_zone + 1):
            cell, most = zone_cell[z], zone_cell[z + 1] - zone_cell[z] - 1
            if most < 0:
                continue
            here, scale = zone_ra[z], zone_scale[z]
            for turn in range(1 if whole else 3):  # as it is; what lies across 0 h; across 24 h
                left, right = x - width, x + width
                if whole:
                    left, right = 0.0, 360.0
                elif turn == 1:
                    left, right = left + 360.0, 360.0
                    if left >= 360.0:
                        continue
                elif turn == 2:
                    left, right = 0.0, right - 360.0
                if right < here or right < 0.0:
                    continue
                number[0, n], number[1, n] = q, z
                number[2, n] = cell + int(min(max((left - here) * scale, 0.0), 1.0 * most))
                number[3, n] = cell + int(min(max((right - here) * scale, 0.0), 1.0 * most))
                limits[0, n], limits[1, n] = left, right
                n += 1
    return n, len(ra)


@_kernel
def scan(
    ra: np.ndarray,
    dec: np.ndarray,
    begin: int,
    low: float,
    per_degree: float,
    reach: float,
    inside: float,
    outside: float,
    table: np.ndarray,
    margin: int,
    zone_cell: np.ndarray,
    zone_ra: np.ndarray,
    zone_scale: np.ndarray,
    start: np.ndarray,
    sorted_ra: np.ndarray,
    sorted_dec: np.ndarray,
    mode: int,
    bound: np.ndarray,
    place: np.ndarray,
    asked: np.ndarray,
    unsure: np.ndarray,
) -> tuple[int, int, int, int]:
    """Name the indexed positions that may be within the radius of others.

    What is compared is the haversine of the separation, between x - x³/6 <= sin(x) <= x.

    Parameters
    ----------
    ra, dec : (m,) array of float
        Positions that are asked for [deg], right ascension in [0, 360).
    begin : int
        The first of them to look at.
    low, per_degree, zone_cell, zone_ra, zone_scale, start, sorted_ra, sorted_dec
        The index, as `sort_into_cells` makes it.
    reach : float
        Radius [deg], rounded up.
    inside, outside : float
        Haversines below which a pair is surely within the radius, and above which surely not.
    table : (3, n_zones + 2 margin) array of float
        Of each zone, and of some beyond: how far in right ascension a circle around a position
        in it reaches, the smallest and the largest cosine of declination.
    margin : int
        Zones of ``table`` before the first one of the index.
    mode : {0, 1, 2, 3}
        Name all; those that may be the nearest to an indexed position; or to one that is asked for;
        or only count how many are looked at.
    bound : array of float32
        In mode 1, for each indexed position a haversine that the nearest is not above.
    place, asked : (capacity,) array of int32
        Filled with the place in the index, and the position that was asked for.
    unsure : (capacity,) array of bool
        Filled with whether the pair may be beyond the radius.

    Returns
    -------
    found : int
        How many were named.
    following : int
        The first position that was not looked at, because ``place`` is full.
    sure : int
        How many pairs are surely within the radius, named or not.
    looked_at : int
        How many were compared.
    """
    capacity = len(place)
    half = math.pi / 360.0
    found, sure, looked_at, following = 0, 0, 0, begin
    number, limits = np.empty((4, _STRETCHES), dtype=np.int64), np.empty((2, _STRETCHES))
    q, found_before, sure_before, x, y, own, best = -1, 0, 0, 0.0, 0.0, 0, outside
    while following < len(ra):
        n, following = _segments(
            ra, dec, following, low, per_degree, reach, table, margin,
            zone_cell, zone_ra, zone_scale, number, limits,
        )  # fmt: skip
        # All of them at once, so that the processor need not wait for one after another.
        for k in range(n):
            number[2, k], number[3, k] = start[number[2, k]], start[number[3, k] + 1]
        for k in range(n):
            if number[2, k] < number[3, k] and sorted_ra[number[2, k]] > limits[1, k]:
                number[3, k] = number[2, k]
        for k in range(n):
            p, last = number[2, k], number[3, k]
            if p == last:
                continue
            if number[0, k] != q:
                q, found_before, sure_before, best = number[0, k], found, sure, outside
                x, y = ra[q], dec[q]
                own = min(max(math.floor((y - low) * per_degree) + margin, 0), table.shape[1] - 1)
            zone = number[1, k] + margin
            left, right = limits[0, k], limits[1, k]
            least = table[1, own] * table[1, zone]
            most = table[2, own] * table[2, zone]
            if last - p > _FEW:
                p = _first_not_below(sorted_ra, p, last, left)
            while p < last:
                there = sorted_ra[p]
                if there > right:
                    break
                if there >= left:
                    looked_at += 1
                    up = abs(sorted_dec[p] - y)
                    if up <= reach and mode != 3:
                        across = abs(there - x)
                        if across > 180.0:
                            across = 360.0 - across
                        up *= half
                        across *= half
                        upper = up * up + most * across * across
                        up *= 1.0 - up * up / 6.0
                        across *= 1.0 - across * across / 6.0
                        lower = up * up + least * across * across
                        if lower <= outside:
                            doubtful = upper > inside
                            if not doubtful:
                                sure += 1
                            limit = outside
                            if mode == 1:
                                limit = bound[p]
                            elif mode == 2:
                                limit = best
                            if doubtful or lower <= limit:
                                if found == capacity:
                                    return found_before, q, sure_before, looked_at
                                place[found], asked[found], unsure[found] = p, q, doubtful
                                found += 1
                                # More than rounding can do to the separation.  Another thread may
                                # write here too: any of the bounds will do.
                                upper = 1.000001 * (math.sqrt(upper) + 1e-15) ** 2
                                if mode == 1 and upper < bound[p]:
                                    bound[p] = upper
                                elif mode == 2 and upper < best:
                                    best = upper
                p += 1
    return found, len(ra), sure, looked_at


@_kernel
def keep_nearest(
    row: np.ndarray,
    other: np.ndarray,
    separation: np.ndarray,
    best_separation: np.ndarray,
    best_other: np.ndarray,
) -> None:
    """Keep the nearest pair of each row, of equally close ones the one with the lowest other row."""
    for k in range(len(row)):
        i, gap, j = row[k], separation[k], other[k]
        if gap < best_separation[i] or (gap == best_separation[i] and j < best_other[i]):
            best_separation[i], best_other[i] = gap, j


@_kernel
def order_by_row(row: np.ndarray, n_rows: int) -> np.ndarray:
    """Return the stable order of pairs by row, from 0 to n_rows - 1."""
    begin = np.zeros(n_rows + 1, dtype=np.int64)
    for k in range(len(row)):
        begin[row[k] + 1] += 1
    for i in range(n_rows):
        begin[i + 1] += begin[i]
    order = np.empty(len(row), dtype=np.int64)
    for k in range(len(row)):
        i = row[k]
        order[begin[i]] = k
        begin[i] += 1
    return order
