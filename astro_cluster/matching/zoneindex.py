"""Positions sorted into zones and cells, and where the compiled loops are loaded."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from astro_cluster.matching import zonearrays
from astro_cluster.matching.zonearrays import Found, Layout

__all__ = ["ARCSEC", "Index", "doubles", "kernels", "whole_turn"]

ARCSEC = 3600.0  # in a degree
_CAPACITY = 2**15  # candidates whose separations are computed at once
_SAMPLE = 2**16


@cache
def kernels() -> Any:
    """Return the compiled loops, or None where they cannot be used."""
    try:
        from astro_cluster.matching import zonekernels
    except Exception as error:  # whatever Numba or LLVM find wrong with this machine
        warnings.warn(
            f"the compiled loops do not work here ({type(error).__name__}: {error}); NumPy does the work, "
            "more slowly",
            RuntimeWarning,
            stacklevel=4,
        )
        return None
    return zonekernels


def doubles(values: np.ndarray) -> np.ndarray:
    """Return contiguous doubles, the same array if it is one of them."""
    return np.ascontiguousarray(values, dtype=np.float64)


def whole_turn(ra: np.ndarray) -> np.ndarray:
    """Return right ascensions in [0, 360)."""
    ra = doubles(ra)
    out = np.flatnonzero((ra < 0) | (ra >= 360))
    if len(out):
        ra = ra.copy()
        turned = np.mod(ra[out], 360.0)
        ra[out] = np.where(turned < 360.0, turned, 0.0)  # what becomes of -1e-20
    return ra


def _area(ra: np.ndarray, dec: np.ndarray) -> float:
    """Return about how many square degrees some positions cover."""
    low, first = dec.min(), ra.min()
    n = max(int(np.sqrt(len(ra) / 8)), 1)
    step, width = max((dec.max() - low) / n, 1e-9), max((ra.max() - first) / n, 1e-9)
    band = np.minimum((dec - low) / step, n - 1).astype(np.int64)
    cells = band * n + np.minimum((ra - first) / width, n - 1).astype(np.int64)
    per_band = np.bincount(np.unique(cells) // n, minlength=n)
    middle = np.radians(low + (np.arange(n) + 0.5) * step)
    return max(float((per_band * np.cos(middle)).sum()) * step * width, 1e-12)


class Index:
    """Positions sorted into zones and cells, for one radius.

    Parameters
    ----------
    ra, dec : (n,) array of float
        Positions [deg]; those with a NaN are left out.
    radius : float
        Largest separation [arcsec], itself included.
    compiled : bool
        Whether the compiled loops are used.
    """

    def __init__(self, ra: np.ndarray, dec: np.ndarray, radius: float, *, compiled: bool) -> None:
        self.n_rows, self.radius, self.compiled = len(ra), radius, compiled
        ra, dec = whole_turn(ra), doubles(dec)
        self.row = np.empty(0, dtype=np.int32)
        self.ra = self.dec = np.empty(0)
        good = np.isfinite(ra) & np.isfinite(dec)
        n = int(np.count_nonzero(good))
        if n == 0:
            return
        step = max(len(ra) // _SAMPLE, 1)
        some = np.flatnonzero(good[::step]) * step
        some = some if len(some) else np.flatnonzero(good)
        low = float(np.min(dec, where=good, initial=np.inf))
        high = float(np.max(dec, where=good, initial=-np.inf))
        # A declination is right to 1e-14 deg, a difference of right ascensions to 1e-13 deg.
        reach = min(radius / ARCSEC * (1 + 1e-9) + 1e-11, 181.0)
        about_square = float(np.sqrt(2 * _area(ra[some], dec[some]) / n))
        # Not many more zones than rows: they cost memory too.
        height = max(about_square, reach, (high - low) / min(2**20, 4 * n + 16), 1e-9)
        half = float(np.sin(np.radians(min(radius / ARCSEC, 180.0)) / 2))
        inside, outside = max(half * (1 - 1e-9) - 1e-15, 0.0) ** 2, (half * (1 + 1e-9) + 1e-15) ** 2
        self.layout = Layout(low, high, height, reach, inside, outside)
        if compiled:
            self._sort(ra, dec, n)
        else:
            self.row, self.ra, self.dec = self.layout.sort(ra, dec)

    def __len__(self) -> int:
        return len(self.row)

    def _sort(self, ra: np.ndarray, dec: np.ndarray, n: int) -> None:
        layout = self.layout
        self.row = np.empty(n, dtype=np.int32 if len(ra) < 2**31 - 2 else np.int64)
        self.ra, self.dec = np.empty(n), np.empty(n)
        zone_cell = np.empty(layout.n_zones + 1, dtype=np.int64)
        zone_ra, zone_scale = np.empty(layout.n_zones), np.empty(layout.n_zones)
        start = kernels().sort_into_cells(
            ra, dec, layout.low, layout.per_degree, 1.0,
            zone_cell, zone_ra, zone_scale, self.row, self.ra, self.dec,
        )  # fmt: skip
        self._cells = (zone_cell, zone_ra, zone_scale, start)

    def scan(self, ra: np.ndarray, dec: np.ndarray, mode: int, bound: np.ndarray) -> Iterator[Found]:
        """Yield candidates, some at a time.

        Parameters
        ----------
        ra, dec : (m,) array of float
            Positions [deg] to stream past the index, right ascension in [0, 360).
        mode : int
            `ALL`, or what may be the nearest `OF_INDEXED` or `OF_ASKED` positions, or `COUNT`.
        bound : (n,) array of float32
            What is known already of the nearest of each indexed position; needed `OF_INDEXED`.

        Yields
        ------
        Found
        """
        if not len(self):
            return
        if not self.compiled:
            yield from zonearrays.scan(self.layout, self.ra, self.dec, ra, dec, mode)
            return
        layout, begin, capacity = self.layout, 0, min(_CAPACITY, 4 * len(ra) + 64)
        while begin < len(ra):
            place, asked = np.empty(capacity, dtype=self.row.dtype), np.empty(capacity, dtype=np.int32)
            unsure = np.empty(capacity, dtype=bool)
            n, following, sure, looked_at = kernels().scan(
                ra, dec, begin, layout.low, layout.per_degree, layout.reach, layout.inside, layout.outside,
                layout.table, layout.margin, *self._cells, self.ra, self.dec, mode, bound,
                place, asked, unsure,
            )  # fmt: skip
            if following == begin:  # one position has more than there is room for
                capacity *= 4
                continue
            begin = following
            yield Found(place[:n], asked[:n], unsure[:n], sure, looked_at)
