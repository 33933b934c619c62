"""The nearest rows of each row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from astro_cluster.embedding.compiling import compiled
from astro_cluster.embedding.distances import (
    NARROW,
    Products,
    centred_products,
    column_means,
    squared_distances,
)
from astro_cluster.threads import available_threads, run_all

__all__ = ["WHOLE", "Neighbours", "nearest", "nearest_among", "nearest_others"]

WHOLE = 5000  # rows, up to which all their distances are in memory at a time
TREE = 12  # features, up to which a tree is faster than all distances
APPROXIMATE = 200_000  # rows, beyond which neighbours of many features are approximate

_BLOCK = 4096  # rows whose distances to as many others are in memory at a time


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The k nearest rows of each row, nearest first; among equals the one that comes first.

    Attributes
    ----------
    indices : (n, k) array of int64
        Which rows.
    squared : (n, k) array of float64
        Their squared distances.
    """

    indices: np.ndarray
    squared: np.ndarray


@compiled
def _push(index: np.ndarray, distance: np.ndarray, value: float, number: int) -> None:
    """Put a row in the place of the farthest so far, which is on top of the heap, unless it is farther.

    Equal distances are ordered by number, so that it does not matter in which order rows come.
    """
    k = len(index)
    if value > distance[0] or (value == distance[0] and number > index[0]):
        return
    place = 0
    while True:
        child = 2 * place + 1
        if child >= k:
            break
        other = child + 1
        if other < k and (
            distance[other] > distance[child]
            or (distance[other] == distance[child] and index[other] > index[child])
        ):
            child = other
        if distance[child] < value or (distance[child] == value and index[child] < number):
            break
        distance[place], index[place] = distance[child], index[child]
        place = child
    distance[place], index[place] = value, number


@compiled
def _take(
    block: np.ndarray,
    first: int,
    last: int,
    rows: int,
    columns: int,
    apart: bool,
    indices: np.ndarray,
    squared: np.ndarray,
) -> None:
    """Keep the nearest of a block of distances: row i is number rows + i, column j columns + j."""
    for i in range(first, last):
        index, distance = indices[rows + i], squared[rows + i]
        for j in range(block.shape[1]):
            if block[i, j] > distance[0] or (apart and columns + j == rows + i):
                continue  # a row is not its own neighbour
            _push(index, distance, block[i, j], columns + j)


@compiled
def _any_near(products: np.ndarray, a: float, b2: np.ndarray, doubtful: float, tops: np.ndarray) -> bool:
    """Return whether any of some products must be looked at; on vectors, since mostly none must."""
    hits = 0
    for j in range(len(products)):
        size = a + b2[j]
        value = size - 2.0 * products[j]
        hits += (value <= tops[j]) | (value < doubtful * size)
    return hits > 0


@compiled
def _take_from_products(
    products: np.ndarray,
    a2: np.ndarray,
    b2: np.ndarray,
    doubtful: float,
    A: np.ndarray,
    B: np.ndarray,
    first: int,
    last: int,
    rows: int,
    columns: int,
    across: bool,
    indices: np.ndarray,
    squared: np.ndarray,
) -> None:
    """Keep the nearest of a block of products, for its rows first … last, or across for its columns.

    Of a block of rows with itself only what is above the diagonal is looked at, both ways.
    """
    m, n = products.shape
    same = rows == columns
    # The farthest neighbour so far of each target, side by side.
    tops = np.empty(n)
    for j in range(n):
        tops[j] = squared[columns + j, 0]
    for i in range(0 if across else first, m if across else last):
        a, row = a2[i], products[i]
        begin = max(first if across else 0, i + 1 if same else 0)
        for start in range(begin, last if across else n, 64):
            stop = min(start + 64, last if across else n)
            if not across:
                tops[start:stop] = squared[rows + i, 0]
            if not _any_near(row[start:stop], a, b2[start:stop], doubtful, tops[start:stop]):
                continue
            for j in range(start, stop):
                target, number = (columns + j, rows + i) if across else (rows + i, columns + j)
                size = a + b2[j]
                value = size - 2.0 * row[j]
                unsure = value < doubtful * size
                if value > squared[target, 0] and not unsure:
                    continue
                if unsure:
                    value = 0.0
                    for c in range(A.shape[1]):
                        difference = np.float64(A[i, c]) - np.float64(B[j, c])
                        value += difference * difference
                _push(indices[target], squared[target], value, number)
                if across:
                    tops[j] = squared[target, 0]


class _Nearest:
    """The nearest so far."""

    def __init__(self, n: int, k: int, n_threads: int) -> None:
        self.indices = np.full((n, k), np.iinfo(np.int64).max)
        self.squared = np.full((n, k), np.inf)
        self.n_threads = n_threads

    def see(self, block: np.ndarray, rows: int, columns: int, *, apart: bool) -> None:
        """Look at a block of distances."""
        step = max(1, -(-len(block) // 32))
        tasks = [
            partial(
                _take, block, a, min(a + step, len(block)), rows, columns, apart, self.indices, self.squared
            )
            for a in range(0, len(block), step)
        ]
        run_all(tasks, self.n_threads)

    def see_products(self, found: Products, A: np.ndarray, B: np.ndarray, rows: int, columns: int) -> None:
        """Look at a block of products from both sides."""
        for across in (False, True):
            size = len(B) if across else len(A)
            step = max(1, -(-size // 32))
            tasks = [
                partial(
                    _take_from_products,
                    found.values,
                    *found.squares,
                    found.doubtful,
                    A,
                    B,
                    begin,
                    min(begin + step, size),
                    rows,
                    columns,
                    across,
                    self.indices,
                    self.squared,
                )
                for begin in range(0, size, step)
            ]
            run_all(tasks, self.n_threads)

    def sorted(self) -> Neighbours:
        """Return them, nearest first."""
        order = np.lexsort((self.indices, self.squared), axis=1)
        return Neighbours(
            np.take_along_axis(self.indices, order, axis=1), np.take_along_axis(self.squared, order, axis=1)
        )


def nearest(distances: np.ndarray, k: int, *, n_threads: int | None = None) -> Neighbours:
    """Return the nearest rows where all distances are known.

    Parameters
    ----------
    distances : (n, n) array
        Squared distances.
    k : int
        How many; less than n.
    n_threads : int, optional
        Number of threads; by default all.

    Returns
    -------
    Neighbours

    Examples
    --------
    >>> import numpy as np
    >>> nearest(np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 1.0], [4.0, 1.0, 0.0]]), 1).indices
    array([[1],
           [0],
           [1]])
    """
    found = _Nearest(len(distances), k, n_threads or available_threads())
    found.see(distances, 0, 0, apart=True)
    return found.sorted()


def nearest_among(A: np.ndarray, B: np.ndarray, k: int, *, n_threads: int | None = None) -> Neighbours:
    """Return the rows of B that are nearest to each row of A.

    Parameters
    ----------
    A, B : (m, d), (n, d) array
        Rows.
    k : int
        How many; at most n.
    n_threads : int, optional
        Number of threads; by default all.

    Returns
    -------
    Neighbours

    Examples
    --------
    >>> import numpy as np
    >>> nearest_among(np.array([[1.1]]), np.array([[0.0], [1.0], [2.0]]), 2).indices
    array([[1, 2]])
    """
    threads = n_threads or available_threads()
    found = _Nearest(len(A), k, threads)
    for i in _blocks(len(A)):
        for j in _blocks(len(B)):
            block = squared_distances(A[i], B[j], n_threads=threads)
            found.see(block, i.start, j.start, apart=False)
    return found.sorted()


def _blocks(n: int) -> Iterator[slice]:
    for begin in range(0, n, _BLOCK):
        yield slice(begin, min(begin + _BLOCK, n))


def _by_tree(X: np.ndarray, k: int, n_threads: int) -> Neighbours:
    """Return the neighbours from scikit-learn's tree."""
    from sklearn.neighbors import NearestNeighbors

    rows = np.asarray(X, dtype=np.float64)
    tree = NearestNeighbors(n_neighbors=k, algorithm="kd_tree", n_jobs=n_threads).fit(rows)
    distances, indices = tree.kneighbors()
    return Neighbours(indices.astype(np.int64), distances**2)


def _by_blocks(X: np.ndarray, k: int, n_threads: int) -> Neighbours:
    """Return the neighbours from all distances, block by block; each block is computed once."""
    found = _Nearest(len(X), k, n_threads)
    products = X.dtype != np.uint8 and X.shape[1] > NARROW
    centre = column_means(X) if products else np.empty(0)
    for i in _blocks(len(X)):
        for j in _blocks(len(X)):
            if j.start < i.start:
                continue
            same = i.start == j.start
            A = X[i]
            B = A if same else X[j]
            if products:
                found.see_products(centred_products(A, B, centre, n_threads), A, B, i.start, j.start)
                continue
            block = squared_distances(A, B, n_threads=n_threads)
            found.see(block, i.start, j.start, apart=True)
            if not same:
                found.see(np.ascontiguousarray(block.T), j.start, i.start, apart=True)
    return found.sorted()


def _approximate(X: np.ndarray, k: int, n_threads: int, seed: int) -> Neighbours:
    """Return neighbours from openTSNE's index of random trees (Annoy)."""
    from openTSNE.nearest_neighbors import Annoy

    index = Annoy(X.astype(np.float32, copy=False), k, n_jobs=n_threads, random_state=seed)
    indices, distances = index.build()
    return Neighbours(indices.astype(np.int64), distances.astype(np.float64) ** 2)


def nearest_others(
    X: np.ndarray, k: int, *, n_threads: int | None = None, seed: int = 0, approximate: bool = False
) -> Neighbours:
    """Return the k nearest other rows of each row.

    Parameters
    ----------
    X : (n, d) array of uint8, float32 or float64
        Rows (see `~astro_cluster.embedding.distances.as_rows`).
    k : int
        How many; less than n.
    n_threads : int, optional
        Number of threads; by default all.
    seed : int, optional
        Seed of approximate neighbours.
    approximate : bool, optional
        Whether more than 200,000 rows of more than 12 features may have approximate
        neighbours (by openTSNE), for which all distances would take hours.

    Returns
    -------
    Neighbours

    Examples
    --------
    >>> import numpy as np
    >>> nearest_others(np.array([[0.0], [1.0], [3.0]]), 1).squared
    array([[1.],
           [1.],
           [4.]])
    """
    threads = n_threads or available_threads()
    if len(X) <= WHOLE:
        return nearest(squared_distances(X, n_threads=threads), k, n_threads=threads)
    if X.shape[1] <= TREE:
        return _by_tree(X, k, threads)
    if approximate and len(X) > APPROXIMATE:
        return _approximate(X, k, threads, seed)
    return _by_blocks(X, k, threads)
