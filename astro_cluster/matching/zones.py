"""Pairs of positions that are close on the sky: arrays in, row numbers out.

One side, as a rule the smaller, is sorted into zones of declination and each zone into cells of
right ascension (the idea of zones: Gray, Nieto-Santisteban & Szalay 2006, MSR-TR-2006-52); the other
streams past, in blocks that several threads share.  No trigonometry is done for it: a position looks
up the few cells that a circle around it can touch, and what is there is compared by bounds of the
haversine.  Only what these let through gets its separation, by the formula and in the order of
arithmetic of `astropy.coordinates.angular_separation`, which alone decides.  Neither the choice of the
sides nor the number of threads nor whether Numba is there changes a bit of the result.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from astro_cluster.matching import crowded
from astro_cluster.matching.zonearrays import ALL, COUNT, OF_ASKED, OF_INDEXED, Found
from astro_cluster.matching.zoneindex import ARCSEC, Index, doubles, kernels, whole_turn
from astro_cluster.threads import available_threads, run_all

__all__ = ["AllPairs", "NearestPairs", "all_pairs", "nearest_pairs", "separations"]

_BLOCK = 2**17  # positions that one task streams past the index
_SMALL = 50_000  # positions for which it is not worth while to load the compiled loops
# A tree is sooner done where a row would be compared with more than this (compiled or not).
_CROWDED = {True: 300, False: 20}
_CROWDED_AT_LEAST = 20_000_000
_ASKED_FIRST = 1024  # positions by which that is judged

Take = Callable[[int, np.ndarray, np.ndarray, np.ndarray], None]


def _is_compiled(engine: str, n_rows: int) -> bool:
    if engine not in ("auto", "numba", "numpy"):
        raise ValueError(f"engine={engine!r} is not known; it is 'auto', 'numba' or 'numpy'")
    wanted = engine == "numba" or (engine == "auto" and n_rows > _SMALL)
    return wanted and kernels() is not None


def separations(ra: np.ndarray, dec: np.ndarray, other_ra: np.ndarray, other_dec: np.ndarray) -> np.ndarray:
    """Return separations, to the last bit those of astropy.

    Parameters
    ----------
    ra, dec, other_ra, other_dec : (n,) array of float
        Positions [deg].

    Returns
    -------
    (n,) array of float
        In arcsec.

    Notes
    -----
    The formula of Vincenty (1975, Survey Review 23, 88), right at all distances.

    Examples
    --------
    >>> separations(np.array([10.0]), np.array([90.0]), np.array([200.0]), np.array([89.0])).round(9)
    array([3600.])
    """
    across, up, other_up = np.radians(other_ra - ra), np.radians(dec), np.radians(other_dec)
    sine, cosine = np.sin(across), np.cos(across)
    sin_up, cos_up, sin_other, cos_other = np.sin(up), np.cos(up), np.sin(other_up), np.cos(other_up)
    opposite = np.hypot(cos_other * sine, cos_up * sin_other - sin_up * cos_other * cosine)
    adjacent = sin_up * sin_other + cos_up * cos_other * cosine
    return np.degrees(np.arctan2(opposite, adjacent)) * ARCSEC


# ---------------------------------------------------------------- the search


class _Search:
    """Streams positions past an index, several threads at a time."""

    def __init__(self, index: Index, *, local_is_indexed: bool, n_threads: int | None) -> None:
        self.index, self._local_is_indexed = index, local_is_indexed
        self.n_threads = available_threads() if n_threads is None else n_threads

    def run(self, ra: np.ndarray, dec: np.ndarray, mode: int, bound: np.ndarray, take: Take) -> int:
        """Give pairs to a function, which several threads call; return how many there are in all.

        The function is given the number of the block, places in the index, rows of ``ra``, and
        separations.
        """

        def block(number: int) -> int:
            begin, total = number * _BLOCK, 0
            x, y = whole_turn(ra[begin : begin + _BLOCK]), doubles(dec[begin : begin + _BLOCK])
            for found in self.index.scan(x, y, mode, bound):
                total += found.sure
                if len(found.place):
                    gap = self._gaps(x, y, found)
                    near = gap <= self.index.radius
                    total += int(np.count_nonzero(near & found.unsure))
                    take(number, found.place[near], found.asked[near] + np.int64(begin), gap[near])
            return total

        return sum(run_all([partial(block, k) for k in range(-(-len(ra) // _BLOCK))], self.n_threads))

    def _gaps(self, ra: np.ndarray, dec: np.ndarray, found: Found) -> np.ndarray:
        here = self.index.ra[found.place], self.index.dec[found.place]
        there = ra[found.asked], dec[found.asked]
        return separations(*here, *there) if self._local_is_indexed else separations(*there, *here)

    def all_pairs(self, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return indexed rows, rows of ``ra``, and separations of all pairs, in the order of blocks."""
        parts: dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}

        def take(number: int, place: np.ndarray, asked: np.ndarray, gap: np.ndarray) -> None:
            part = (self.index.row[place], asked.astype(np.int32) if len(ra) < 2**31 else asked, gap)
            parts.setdefault(number, []).append(part)

        self.run(ra, dec, ALL, np.empty(0, dtype=np.float32), take)
        return _joined([part for number in sorted(parts) for part in parts.pop(number)])

    def is_crowded(self, ra: np.ndarray, dec: np.ndarray) -> bool:
        """Tell whether the nearest are found sooner in a tree."""
        if len(self.index) * len(ra) < _CROWDED_AT_LEAST:
            return False
        step = max(len(ra) // _ASKED_FIRST, 1)
        x, y = whole_turn(ra[::step]), doubles(dec[::step])
        enough = max(_CROWDED[self.index.compiled] * (len(self.index) + len(ra)), _CROWDED_AT_LEAST) / step
        looks, no_bound = 0, np.empty(0, dtype=np.float32)
        for k in range(0, len(x), 8):
            looks += sum(f.looked_at for f in self.index.scan(x[k : k + 8], y[k : k + 8], COUNT, no_bound))
            if looks > enough:
                return True
        return False


def _joined(
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if not parts:
        none = np.empty(0, dtype=np.int32)
        return none, none.copy(), np.empty(0)
    return (
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        np.concatenate([part[2] for part in parts]),
    )


def _in_order(
    i: np.ndarray, j: np.ndarray, gap: np.ndarray, sizes: tuple[int, int | None], *, compiled: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pairs in the order of i, then j; the compiled loops leave j in order if its size is None."""
    if compiled:
        order = None if sizes[1] is None else kernels().order_by_row(j, sizes[1])
        second = kernels().order_by_row(i if order is None else i[order], sizes[0])
        order = second if order is None else order[second]
    else:
        order = np.lexsort((j, i))
    return i[order].astype(np.int64), j[order].astype(np.int64), gap[order]


class _Best:
    """The nearest counterpart so far of each of some rows; any thread may tell of pairs."""

    def __init__(self, n_rows: int, *, compiled: bool) -> None:
        self.separation, self.other = np.full(n_rows, np.inf), np.full(n_rows, -1, dtype=np.int64)
        self._lock, self._compiled = threading.Lock(), compiled

    def take(self, row: np.ndarray, other: np.ndarray, separation: np.ndarray) -> None:
        """Take pairs into account; of equally near ones the lowest other row wins, whoever comes first."""
        with self._lock:
            if self._compiled:
                kernels().keep_nearest(row, other, separation, self.separation, self.other)
                return
            order = np.lexsort((other, separation, row))
            first = np.ones(len(order), dtype=bool)
            first[1:] = np.diff(row[order]) != 0
            row, other, separation = (values[order[first]] for values in (row, other, separation))
            old = self.separation[row]
            better = (separation < old) | ((separation == old) & (other < self.other[row]))
            self.separation[row[better]], self.other[row[better]] = separation[better], other[better]


# ---------------------------------------------------------------- what is asked for


class AllPairs:
    """All pairs of positions with others that come in parts.

    Parameters
    ----------
    ra, dec : (n,) array of float
        Local positions [deg]; those with a NaN are in no pair.
    radius : float
        Largest separation [arcsec], itself included.
    n_threads : int, optional
        Threads; as many as there are cores if not given.
    engine : {"auto", "numba", "numpy"}, optional
        What does the work; the result is the same.

    Examples
    --------
    >>> search = AllPairs(np.array([10.0, 20.0]), np.array([0.0, 5.0]), 1.0, engine="numpy")
    >>> search.feed(np.array([20.0001]), np.array([5.0]), first_row=1000)
    >>> i, j, arcsec = search.result()
    >>> i, j, arcsec.round(2)
    (array([1]), array([1000]), array([0.36]))
    """

    def __init__(
        self,
        ra: np.ndarray,
        dec: np.ndarray,
        radius: float,
        *,
        n_threads: int | None = None,
        engine: str = "auto",
    ) -> None:
        index = Index(ra, dec, radius, compiled=_is_compiled(engine, _SMALL + 1))
        self._search = _Search(index, local_is_indexed=True, n_threads=n_threads)
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def feed(self, ra: np.ndarray, dec: np.ndarray, *, first_row: int = 0) -> None:
        """Take more of the other positions, in the order of their rows.

        Parameters
        ----------
        ra, dec : (m,) array of float
            Positions [deg].
        first_row : int, optional
            Number of the first of them.
        """
        i, j, gap = self._search.all_pairs(ra, dec)
        self._parts.append((i, j + np.int64(first_row) if first_row else j, gap))

    def result(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the pairs found so far, and forget them.

        Returns
        -------
        i, j : (m,) array of int
            Row numbers, in the order of i, then j.
        separation : (m,) array of float
            In arcsec.
        """
        i, j, gap = self._parts[0] if len(self._parts) == 1 else _joined(self._parts)
        self._parts = []
        index = self._search.index
        return _in_order(i, j, gap, (index.n_rows, None), compiled=index.compiled)


class NearestPairs:
    """The nearest to each of some positions among others that come in parts.

    Parameters
    ----------
    ra, dec, radius, n_threads, engine
        As in `AllPairs`.

    Examples
    --------
    >>> search = NearestPairs(np.array([10.0, 20.0]), np.array([0.0, 5.0]), 1.0, engine="numpy")
    >>> search.feed(np.array([20.0002, 20.0001]), np.array([5.0, 5.0]), first_row=1000)
    >>> row, arcsec, n_pairs = search.result()
    >>> row, arcsec.round(2), n_pairs
    (array([  -1, 1001]), array([ nan, 0.36]), 2)
    """

    def __init__(
        self,
        ra: np.ndarray,
        dec: np.ndarray,
        radius: float,
        *,
        n_threads: int | None = None,
        engine: str = "auto",
    ) -> None:
        compiled = _is_compiled(engine, _SMALL + 1)
        index = Index(ra, dec, radius, compiled=compiled)
        self._search = _Search(index, local_is_indexed=True, n_threads=n_threads)
        self._best = _Best(len(index), compiled=compiled)
        self._bound = np.full(len(index), np.inf, dtype=np.float32)
        self._n_pairs: int | None = 0

    def feed(self, ra: np.ndarray, dec: np.ndarray, *, first_row: int = 0) -> None:
        """Take more of the other positions, in any order.

        Parameters
        ----------
        ra, dec : (m,) array of float
            Positions [deg].
        first_row : int, optional
            Number of the first of them.
        """
        if not len(self._search.index):
            return
        if self._search.is_crowded(ra, dec):
            index, self._n_pairs = self._search.index, None
            for i, j, gap in _from_tree(index.ra, index.dec, ra, dec, index.radius, self._search.n_threads):
                self._best.take(i, j + first_row, gap)
            return

        def take(number: int, place: np.ndarray, asked: np.ndarray, gap: np.ndarray) -> None:
            self._best.take(place, asked + first_row, gap)

        n = self._search.run(ra, dec, OF_INDEXED, self._bound, take)
        self._n_pairs = None if self._n_pairs is None else self._n_pairs + n

    def result(self) -> tuple[np.ndarray, np.ndarray, int | None]:
        """Return what was found so far.

        Returns
        -------
        row : (n,) array of int
            Of the nearest, the lowest of equally near ones; -1 where there is none.
        separation : (n,) array of float
            In arcsec; NaN where there is none.
        n_pairs : int or None
            How many pairs are within the radius; None where there were so many that they were not
            looked at one by one.
        """
        index = self._search.index
        row, gap = np.full(index.n_rows, -1, dtype=np.int64), np.full(index.n_rows, np.nan)
        row[index.row] = self._best.other
        gap[index.row] = np.where(self._best.other < 0, np.nan, self._best.separation)
        return row, gap, self._n_pairs


def _from_tree(
    ra: np.ndarray,
    dec: np.ndarray,
    other_ra: np.ndarray,
    other_dec: np.ndarray,
    radius: float,
    n_threads: int,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield pairs, the nearest of each row among them."""
    other_ra, other_dec = whole_turn(other_ra), doubles(other_dec)
    for i, j in crowded.nearest_candidates(ra, dec, other_ra, other_dec, radius, n_threads):
        gap = separations(ra[i], dec[i], other_ra[j], other_dec[j])
        near = gap <= radius
        yield i[near], j[near], gap[near]


def all_pairs(
    ra: np.ndarray,
    dec: np.ndarray,
    other_ra: np.ndarray,
    other_dec: np.ndarray,
    radius: float,
    *,
    n_threads: int | None = None,
    engine: str = "auto",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all pairs of two lists of positions that are at most a radius apart.

    Parameters
    ----------
    ra, dec : (n,) array of float
        Local positions [deg]; those with a NaN are in no pair.
    other_ra, other_dec : (k,) array of float
        The others.
    radius : float
        Largest separation [arcsec], itself included.
    n_threads : int, optional
        Threads; as many as there are cores if not given.
    engine : {"auto", "numba", "numpy"}, optional
        What does the work; the result is the same.

    Returns
    -------
    i, j : (m,) array of int
        Row numbers, in the order of i, then j.
    separation : (m,) array of float
        In arcsec.

    Examples
    --------
    >>> i, j, arcsec = all_pairs(np.array([359.9999]), np.zeros(1), np.array([50, 0.0001]), np.zeros(2), 1.0)
    >>> i, j, arcsec.round(9)
    (array([0]), array([1]), array([0.72]))
    """
    compiled = _is_compiled(engine, len(ra) + len(other_ra))
    chosen = "numba" if compiled else "numpy"
    if len(ra) <= len(other_ra):
        search = AllPairs(ra, dec, radius, n_threads=n_threads, engine=chosen)
        search.feed(other_ra, other_dec)
        return search.result()
    index = Index(other_ra, other_dec, radius, compiled=compiled)
    j, i, gap = _Search(index, local_is_indexed=False, n_threads=n_threads).all_pairs(ra, dec)
    return _in_order(i, j, gap, (len(ra), len(other_ra)), compiled=compiled)


def nearest_pairs(
    ra: np.ndarray,
    dec: np.ndarray,
    other_ra: np.ndarray,
    other_dec: np.ndarray,
    radius: float,
    *,
    n_threads: int | None = None,
    engine: str = "auto",
) -> tuple[np.ndarray, np.ndarray, int | None]:
    """Return for each position the nearest of others, if it is at most a radius away.

    Parameters
    ----------
    ra, dec, other_ra, other_dec, radius, n_threads, engine
        As in `all_pairs`.

    Returns
    -------
    row, separation, n_pairs
        As `NearestPairs.result` gives them.

    Examples
    --------
    >>> nearest_pairs(np.array([0.0, 40.0]), np.zeros(2), np.array([50.0, 1.0]), np.zeros(2), 3600.0)[0]
    array([ 1, -1])
    """
    compiled = _is_compiled(engine, len(ra) + len(other_ra))
    chosen = "numba" if compiled else "numpy"
    if len(ra) <= len(other_ra):
        nearest = NearestPairs(ra, dec, radius, n_threads=n_threads, engine=chosen)
        nearest.feed(other_ra, other_dec)
        return nearest.result()
    index = Index(other_ra, other_dec, radius, compiled=compiled)
    search, best = (
        _Search(index, local_is_indexed=False, n_threads=n_threads),
        _Best(len(ra), compiled=compiled),
    )
    n_pairs: int | None = None
    if search.is_crowded(ra, dec):
        here = whole_turn(ra), doubles(dec)
        for pairs in _from_tree(*here, other_ra, other_dec, radius, search.n_threads):
            best.take(*pairs)
    else:

        def take(number: int, place: np.ndarray, asked: np.ndarray, gap: np.ndarray) -> None:
            best.take(asked, index.row[place].astype(np.int64), gap)

        n_pairs = search.run(ra, dec, OF_ASKED, np.empty(0, dtype=np.float32), take)
    return best.other, np.where(best.other < 0, np.nan, best.separation), n_pairs
