"""Spectra from one set of wavelengths to another, compiled by Numba: a row at a time, in double precision.

Old and new pixels both rise in wavelength, so that one walk along both finds what overlaps: the work
grows with the sum of their numbers, not with the product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

__all__ = ["NO_WAVELENGTHS", "RIGHT", "UNORDERED", "conserve", "interpolate", "through_five"]

RIGHT, NO_WAVELENGTHS, UNORDERED = 0, 1, 2
"""What is said of a row: fine, fewer than two wavelengths, or they neither rise nor fall."""

_LEAST = 0.5 - 1e-9  # of a new pixel has to be covered
_POINTS = 5  # a polynomial of the 4th degree goes through as many


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return njit(function, nogil=True, error_model="numpy", cache=True)
    except RuntimeError:  # no folder can be written to: compiled anew in each process
        return njit(function, nogil=True, error_model="numpy")


@_compile
def _order(wavelength: np.ndarray, factor: float, rising: np.ndarray) -> tuple[int, int, bool]:
    """Put wavelengths in rising order.  Return their state and number, and whether they fell."""
    n = wavelength.size
    while n > 0 and not np.isfinite(wavelength[n - 1]):  # shorter rows are filled up at their end
        n -= 1
    if n < 2:
        return NO_WAVELENGTHS, 0, False
    falls = wavelength[n - 1] < wavelength[0]
    for i in range(n):
        rising[i] = wavelength[n - 1 - i if falls else i] * factor
    if not (rising[0] > 0 and rising[n - 1] < np.inf):
        return UNORDERED, 0, falls
    for i in range(n - 1):
        if not rising[i] < rising[i + 1]:  # also where one of them is NaN
            return UNORDERED, 0, falls
    return RIGHT, n, falls


@_compile
def _take(
    flux: np.ndarray, ivar: np.ndarray, n: int, falls: bool, values: np.ndarray, weights: np.ndarray
) -> None:
    """Put a row in the same order; weights are 0 where a pixel does not count."""
    for i in range(n):
        values[i] = flux[i] if abs(flux[i]) < np.inf else np.nan
        weights[i] = ivar[i] if (abs(flux[i]) < np.inf) & (ivar[i] > 0) & (ivar[i] < np.inf) else 0.0
    if falls:
        values[:n] = values[:n][::-1].copy()
        weights[:n] = weights[:n][::-1].copy()


@_compile
def _borders(middles: np.ndarray, n: int, borders: np.ndarray) -> None:
    if n < 2:
        return
    borders[0] = 1.5 * middles[0] - 0.5 * middles[1]
    for i in range(1, n):
        borders[i] = 0.5 * (middles[i - 1] + middles[i])
    borders[n] = 1.5 * middles[n - 1] - 0.5 * middles[n - 2]


@_compile
def _mean_of_finite(
    values: np.ndarray, borders: np.ndarray, n: int, start: int, low: float, high: float
) -> float:
    """Average what is there, masked or not; NaN if that is less than half of the new pixel."""
    width, light = 0.0, 0.0
    k = start
    while k < n and borders[k] < high:
        if np.isfinite(values[k]):
            overlap = min(borders[k + 1], high) - max(borders[k], low)
            width += overlap
            light += overlap * values[k]
        k += 1
    return light / width if width >= _LEAST * (high - low) else np.nan


@_compile
def conserve(
    wavelength: np.ndarray,
    factor: np.ndarray,
    flux: np.ndarray,
    ivar: np.ndarray,
    grid: np.ndarray,
    new_flux: np.ndarray,
    new_ivar: np.ndarray,
    state: np.ndarray,
) -> None:
    """Average rows over the new pixels, each old pixel by how much of the new one it covers.

    Parameters
    ----------
    wavelength : (n, p) or (1, p) array of float64
        Middles of the old pixels, of each row or of all.
    factor : (n,) array of float64
        What they are multiplied by, in each row.
    flux, ivar : (n, p) array of float64
        Old values.
    grid : (m,) array of float64
        Middles of the new pixels, rising.
    new_flux, new_ivar : (n, m) array of float64
        Filled with the new values.
    state : (n,) array of int8
        Filled with what is said of each row.

    Examples
    --------
    >>> w, one, f = np.arange(1.0, 5)[None], np.ones(1), np.array([[1.0, 3.0, 5.0, 7.0]])
    >>> new, weights, state = np.empty((1, 2)), np.empty((1, 2)), np.empty(1, np.int8)
    >>> conserve(w, one, f, np.ones((1, 4)), np.array([1.5, 3.5]), new, weights, state)
    >>> new, weights
    (array([[2., 6.]]), array([[2., 2.]]))
    """
    p, m = flux.shape[1], grid.size
    rising, values, weights = np.empty(p), np.empty(p), np.empty(p)
    counting, light, variance, borders = np.empty(p), np.empty(p), np.empty(p), np.empty(p + 1)
    new_borders = np.empty(m + 1)
    _borders(grid, m, new_borders)
    here, n, falls = NO_WAVELENGTHS, 0, False
    for row in range(flux.shape[0]):
        if row == 0 or wavelength.shape[0] > 1 or factor[row] != factor[row - 1]:
            here, n, falls = _order(wavelength[row if wavelength.shape[0] > 1 else 0], factor[row], rising)
            _borders(rising, n, borders)
        state[row] = here
        if here != RIGHT:
            new_flux[row], new_ivar[row] = np.nan, 0.0
            continue
        _take(flux[row], ivar[row], n, falls, values, weights)
        for i in range(n):
            counts = weights[i] > 0
            counting[i] = 1.0 if counts else 0.0
            light[i] = values[i] if counts else 0.0
            variance[i] = 1.0 / weights[i] if counts else 0.0
        first = 0
        for j in range(m):
            low, high = new_borders[j], new_borders[j + 1]
            while first < n and borders[first + 1] <= low:
                first += 1
            width, total, spread = 0.0, 0.0, 0.0
            k = first
            while k < n and borders[k] < high:
                overlap = min(borders[k + 1], high) - max(borders[k], low)
                width += overlap * counting[k]
                total += overlap * light[k]
                spread += overlap * overlap * variance[k]
                k += 1
            if width >= _LEAST * (high - low):
                new_flux[row, j] = total / width
                new_ivar[row, j] = width * width / spread
            else:
                new_flux[row, j] = _mean_of_finite(values, borders, n, first, low, high)
                new_ivar[row, j] = 0.0


@_compile
def _place(grid: np.ndarray, rising: np.ndarray, n: int, left: np.ndarray, share: np.ndarray) -> None:
    """Find the old pixel left of each new one, -1 outside, and how far the new one is towards the next."""
    at = 0
    for j in range(grid.size):
        x = grid[j]
        left[j] = -1
        if n < 2 or x < rising[0] or x > rising[n - 1]:
            continue
        while at < n - 2 and rising[at + 1] <= x:
            at += 1
        left[j] = at
        share[j] = (x - rising[at]) / (rising[at + 1] - rising[at])


@_compile
def interpolate(
    wavelength: np.ndarray,
    factor: np.ndarray,
    flux: np.ndarray,
    ivar: np.ndarray,
    grid: np.ndarray,
    new_flux: np.ndarray,
    new_ivar: np.ndarray,
    state: np.ndarray,
) -> None:
    """Draw straight lines between the old pixels, of the flux and of the inverse variance.

    Parameters
    ----------
    wavelength, factor, flux, ivar, grid, new_flux, new_ivar, state : array
        As of `conserve`.

    Examples
    --------
    >>> w, one, f = np.arange(1.0, 3)[None], np.ones(1), np.array([[1.0, 3.0]])
    >>> new, weights, state = np.empty((1, 2)), np.empty((1, 2)), np.empty(1, np.int8)
    >>> interpolate(w, one, f, np.ones((1, 2)), np.array([1.5, 2.5]), new, weights, state)
    >>> new, weights
    (array([[ 2., nan]]), array([[1., 0.]]))
    """
    p, m = flux.shape[1], grid.size
    rising, values, weights = np.empty(p), np.empty(p), np.empty(p)
    left, share = np.empty(m, np.int64), np.empty(m)
    here, n, falls = NO_WAVELENGTHS, 0, False
    for row in range(flux.shape[0]):
        if row == 0 or wavelength.shape[0] > 1 or factor[row] != factor[row - 1]:
            here, n, falls = _order(wavelength[row if wavelength.shape[0] > 1 else 0], factor[row], rising)
            _place(grid, rising, n, left, share)
        state[row] = here
        new_flux[row], new_ivar[row] = np.nan, 0.0
        if here != RIGHT:
            continue
        _take(flux[row], ivar[row], n, falls, values, weights)
        for j in range(m):
            at, t = left[j], share[j]
            if at < 0:
                continue
            if t == 0.0 or t == 1.0:
                at += int(t)
                new_flux[row, j], new_ivar[row, j] = values[at], weights[at]
                continue
            new_flux[row, j] = (1.0 - t) * values[at] + t * values[at + 1]
            if weights[at] > 0 and weights[at + 1] > 0:
                new_ivar[row, j] = (1.0 - t) * weights[at] + t * weights[at + 1]


@_compile
def _quartic(rising: np.ndarray, values: np.ndarray, start: int, x: float) -> float:
    """Return the polynomial through five points, written out: nearly all pixels come this way."""
    a, b, c, d, e = (
        rising[start],
        rising[start + 1],
        rising[start + 2],
        rising[start + 3],
        rising[start + 4],
    )
    to_a, to_b, to_c, to_d, to_e = x - a, x - b, x - c, x - d, x - e
    ab, ac, ad, ae, bc, bd, be, cd, ce, de = (
        a - b,
        a - c,
        a - d,
        a - e,
        b - c,
        b - d,
        b - e,
        c - d,
        c - e,
        d - e,
    )
    first, last = to_a * to_b, to_d * to_e
    return (
        values[start] * to_b * to_c * last / (ab * ac * ad * ae)
        - values[start + 1] * to_a * to_c * last / (ab * bc * bd * be)
        + values[start + 2] * first * last / (ac * bc * cd * ce)
        - values[start + 3] * first * to_c * to_e / (ad * bd * cd * de)
        + values[start + 4] * first * to_c * to_d / (ae * be * ce * de)
    )


@_compile
def _polynomial(rising: np.ndarray, values: np.ndarray, used: np.ndarray, start: int, x: float) -> float:
    """Return the polynomial through the used ones of some points, after Lagrange."""
    total = 0.0
    for i in range(used.size):
        if not used[i]:
            continue
        upper, lower = values[start + i], 1.0
        for k in range(used.size):
            if k != i and used[k]:
                upper *= x - rising[start + k]
                lower *= rising[start + i] - rising[start + k]
        total += upper / lower
    return total


@_compile
def _choose_points(
    grid: np.ndarray, rising: np.ndarray, n: int, left: np.ndarray, starts: np.ndarray
) -> None:
    """Find the first of the nearest five old pixels around each new one, both neighbours among them."""
    points, start = min(_POINTS, n), 0
    for j in range(grid.size):
        # They move on while the next pixel is nearer than the first.  Beside a gap they keep both
        # neighbours all the same: nothing must be drawn beyond the five.
        while (
            start + points < n
            and start < left[j]
            and (start + points <= left[j] + 1 or rising[start + points] - grid[j] < grid[j] - rising[start])
        ):
            start += 1
        starts[j] = start


@_compile
def through_five(
    wavelength: np.ndarray,
    factor: np.ndarray,
    flux: np.ndarray,
    ivar: np.ndarray,
    grid: np.ndarray,
    new_flux: np.ndarray,
    new_ivar: np.ndarray,
    state: np.ndarray,
) -> None:
    """Lay a polynomial of the 4th degree through the nearest five old pixels around each new one.

    Parameters
    ----------
    wavelength, factor, flux, ivar, grid, new_flux, new_ivar, state : array
        As of `conserve`.

    Examples
    --------
    >>> w, one = np.arange(1.0, 7)[None], np.ones(1)
    >>> new, weights, state = np.empty((1, 1)), np.empty((1, 1)), np.empty(1, np.int8)
    >>> through_five(w, one, w**4, np.ones((1, 6)), np.array([2.5]), new, weights, state)
    >>> bool(np.isclose(new[0, 0], 2.5**4))
    True
    """
    p, m = flux.shape[1], grid.size
    rising, values, weights = np.empty(p), np.empty(p), np.empty(p)
    left, share, starts = np.empty(m, np.int64), np.empty(m), np.empty(m, np.int64)
    used = np.empty(_POINTS, np.bool_)
    here, n, falls = NO_WAVELENGTHS, 0, False
    for row in range(flux.shape[0]):
        if row == 0 or wavelength.shape[0] > 1 or factor[row] != factor[row - 1]:
            here, n, falls = _order(wavelength[row if wavelength.shape[0] > 1 else 0], factor[row], rising)
            _place(grid, rising, n, left, share)
            _choose_points(grid, rising, n, left, starts)
        state[row] = here
        new_flux[row], new_ivar[row] = np.nan, 0.0
        if here != RIGHT:
            continue
        _take(flux[row], ivar[row], n, falls, values, weights)
        points = min(_POINTS, n)
        for j in range(m):
            at, start = left[j], starts[j]
            if at < 0:
                continue
            if share[j] == 0.0 or share[j] == 1.0:
                at += int(share[j])
                new_flux[row, j], new_ivar[row, j] = values[at], weights[at]
                continue
            # The larger error of the two neighbours is the smaller inverse variance.
            lesser = min(weights[at], weights[at + 1])
            number = 0
            for i in range(points):
                # Where both neighbours count, no masked pixel may pull at the polynomial.
                used[i] = weights[start + i] > 0 if lesser > 0 else np.isfinite(values[start + i])
                number += used[i]
            if number == _POINTS:
                new_flux[row, j] = _quartic(rising, values, start, grid[j])
            elif np.isfinite(values[at]) and np.isfinite(values[at + 1]):
                new_flux[row, j] = _polynomial(rising, values, used[:points], start, grid[j])
            new_ivar[row, j] = lesser
