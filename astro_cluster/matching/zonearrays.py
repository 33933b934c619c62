"""Zones of declination in plain NumPy: the layout, and what the compiled loops do, more slowly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

__all__ = ["ALL", "COUNT", "OF_ASKED", "OF_INDEXED", "Found", "Layout", "scan"]

# What is asked for: all pairs; the nearest of each indexed position; of each that streams past it;
# or how many would be compared.
ALL, OF_INDEXED, OF_ASKED, COUNT = range(4)

_TURN = 400.0  # zone and right ascension in one number; more than 360, so that zones stay apart
_AT_ONCE = 2**20  # candidates


@dataclass(slots=True)
class Found:
    """Candidates: what may be a pair.

    Parameters
    ----------
    place, asked : (n,) array of int
        Places in the index, and rows of what streams past it.
    unsure : (n,) array of bool
        Whether a candidate is not among those that are counted as surely near.
    sure : int
        How many pairs are surely within the radius, named here or not.
    looked_at : int
        How many were compared.
    """

    place: np.ndarray
    asked: np.ndarray
    unsure: np.ndarray
    sure: int
    looked_at: int


@dataclass(slots=True)
class Layout:
    """How zones of declination lie, and how far a circle reaches from each of them.

    Parameters
    ----------
    low, high : float
        Lowest and highest declination of the indexed positions [deg].
    height : float
        Of a zone [deg], at least ``reach``.
    reach : float
        Radius [deg], rounded up.
    inside, outside : float
        Haversines below which a pair is surely within the radius, and above which surely not.
    """

    low: float
    high: float
    height: float
    reach: float
    inside: float
    outside: float
    per_degree: float = field(init=False)
    n_zones: int = field(init=False)
    margin: int = field(init=False)
    table: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.per_degree = 1 / self.height
        self.n_zones = int((self.high - self.low) * self.per_degree) + 1
        # Positions a little beyond the zones ask for what is in them.
        self.margin = int(self.reach * self.per_degree) + 2
        number = np.arange(-self.margin, self.n_zones + self.margin + 1)
        edges = np.clip(self.low + number / self.per_degree, -90.0, 90.0)
        bottom, top = np.maximum(edges[:-1] - 1e-9, -90.0), np.minimum(edges[1:] + 1e-9, 90.0)
        farthest = np.maximum(np.abs(bottom), np.abs(top))
        nearest = np.where((bottom < 0) & (top > 0), 0.0, np.minimum(np.abs(bottom), np.abs(top)))
        whole = farthest + self.reach >= 90.0 - 1e-9
        cosine = np.where(whole, 1.0, np.cos(np.radians(farthest)))
        sine = np.sin(np.radians(min(self.reach, 90.0)))
        width = np.degrees(np.arcsin(np.minimum(sine / cosine, 1.0))) * (1 + 1e-9) + 1e-9
        width[whole] = 180.0
        low_cosine = np.maximum(np.cos(np.radians(farthest)) - 1e-15, 0.0)
        high_cosine = np.cos(np.radians(nearest)) + 1e-15
        self.table = np.stack([width, low_cosine, high_cosine])

    def zone_of(self, dec: np.ndarray) -> np.ndarray:
        """Return the zones of declinations, negative or too large where there is none."""
        return np.floor((dec - self.low) * self.per_degree).astype(np.int64)

    def sort(self, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rows, right ascensions and declinations in the order of zone and right ascension.

        Parameters
        ----------
        ra, dec : (n,) array of float
            Positions [deg]; those with a NaN are left out.

        Returns
        -------
        row, ra, dec : (m,) array
        """
        row = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
        zone = np.minimum(self.zone_of(dec[row]), self.n_zones - 1)
        row = row[np.lexsort((ra[row], zone))]
        return row, ra[row], dec[row]


def _ranges(first: np.ndarray, last: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the numbers of the ranges that are meant, and all whole numbers within them, a part at a time."""
    used = np.flatnonzero(last > first)
    sizes = (last - first)[used]
    parts = np.searchsorted(np.cumsum(sizes), np.arange(_AT_ONCE, sizes.sum() + _AT_ONCE, _AT_ONCE))
    begin = 0
    for end in np.minimum(parts + 1, len(used)):
        some, lengths = used[begin:end], sizes[begin:end]
        begin = max(begin, end)
        if not len(some):
            continue
        ends = np.cumsum(lengths)
        step = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
        yield np.repeat(some, lengths), np.repeat(first[some], lengths) + step


def scan(
    layout: Layout, sorted_ra: np.ndarray, sorted_dec: np.ndarray, ra: np.ndarray, dec: np.ndarray, mode: int
) -> Iterator[Found]:
    """Yield candidates: all positions of the zones and right ascensions that a circle touches.

    Parameters
    ----------
    layout : Layout
        The zones.
    sorted_ra, sorted_dec : (n,) array of float
        What `Layout.sort` gives [deg].
    ra, dec : (m,) array of float
        Positions to stream past them [deg], right ascension in [0, 360).
    mode : int
        `COUNT`, or any other, which are all done in the same way here.

    Yields
    ------
    Found
        No pair twice, and all of them unsure.
    """
    keys = np.minimum(layout.zone_of(sorted_dec), layout.n_zones - 1) * _TURN + sorted_ra
    slack = 4 * np.spacing(keys[-1] + _TURN)
    rows = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    x, y = ra[rows], dec[rows]
    bottom, top = layout.zone_of(y - layout.reach), layout.zone_of(y + layout.reach)
    near = (top >= 0) & (bottom <= layout.n_zones)
    rows, x, y, bottom, top = (values[near] for values in (rows, x, y, bottom, top))
    bottom, top = np.clip(bottom, 0, layout.n_zones - 1), np.minimum(top, layout.n_zones - 1)
    own = np.clip(layout.zone_of(y) + layout.margin, 0, layout.table.shape[1] - 1)
    width = layout.table[0, own] + slack
    whole = width >= 170.0
    left, right = np.where(whole, 0.0, x - width), np.where(whole, 360.0, x + width)
    for step in range(int((top - bottom).max(initial=-1)) + 1):
        zone = bottom + step
        inside = zone <= top
        for shift in (0.0, 360.0, -360.0):  # as it is; what lies across 0 h; across 24 h
            from_ra, to_ra = np.maximum(left + shift, 0.0), np.minimum(right + shift, 360.0)
            asked = inside & (to_ra >= from_ra) & (~whole | (shift == 0.0))
            first = np.searchsorted(keys, zone * _TURN + from_ra - slack)
            last = np.searchsorted(keys, zone * _TURN + to_ra + slack, side="right")
            last = np.where(asked, last, first)
            if mode == COUNT:
                none = np.empty(0, dtype=np.int64)
                yield Found(none, none, none.astype(bool), 0, int((last - first).sum()))
                continue
            for number, place in _ranges(first, last):
                close = np.abs(sorted_dec[place] - y[number]) <= layout.reach
                place, number = place[close], number[close]
                yield Found(place, rows[number], np.ones(len(place), dtype=bool), 0, len(place))
