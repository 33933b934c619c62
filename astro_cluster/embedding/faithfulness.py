"""How faithful a map is: what is near in it that was not near in the data, and the other way round."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from astro_cluster.embedding.compiling import compiled
from astro_cluster.embedding.distances import as_rows, squared_distances
from astro_cluster.exceptions import InputError
from astro_cluster.threads import available_threads, run_all

__all__ = ["most_neighbours", "trustworthiness_and_continuity"]

_BLOCK = 256  # rows whose distances to all others are in memory at a time


def most_neighbours(n: int) -> int:
    """Return how many neighbours the two measures can look at, at most.

    Parameters
    ----------
    n : int
        Number of rows.

    Returns
    -------
    int
        The greatest number below n / 2; 0 for fewer than three rows.

    Examples
    --------
    >>> most_neighbours(52), most_neighbours(2)
    (25, 0)
    """
    return max(0, (n - 1) // 2)


@compiled
def _penalties(seen: np.ndarray, meant: np.ndarray, own: np.ndarray, k: int) -> np.ndarray:
    """Return for each row by how much the k nearest in ``seen`` are too far off in ``meant``.

    Among equal distances the row that comes first is the nearer one, on both sides.
    """
    m, n = seen.shape
    totals = np.zeros(m, np.int64)
    nearest = np.empty(k, np.int64)
    for i in range(m):
        held = 0
        row = seen[i]
        for j in range(n):
            if j == own[i] or (held == k and not row[j] < row[nearest[k - 1]]):
                continue
            place = held if held < k else k - 1
            held = min(held + 1, k)
            while place > 0 and row[j] < row[nearest[place - 1]]:
                nearest[place] = nearest[place - 1]
                place -= 1
            nearest[place] = j
        far = meant[i]
        for j in nearest[:held]:
            distance, nearer, equal = far[j], 0, 0
            for other in range(n):
                nearer += far[other] < distance
                equal += far[other] == distance
            if equal > 1:
                for other in range(j):
                    nearer += far[other] == distance
            # The row itself is at no distance: it was counted wherever it is not the later of two equals.
            itself = far[own[i]] < distance or (far[own[i]] == distance and own[i] < j)
            totals[i] += max(0, nearer - itself + 1 - k)
    return totals


def _penalties_of(
    rows: np.ndarray, near: Any, far: Any, k: int, n_threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return both sums of penalties of a block of rows."""
    data, plane = near(rows), far(rows)
    slabs = np.array_split(np.arange(len(rows)), n_threads)
    tasks = []
    for first, second in ((plane, data), (data, plane)):
        tasks += [partial(_penalties, first[slab], second[slab], rows[slab], k) for slab in slabs]
    found = run_all(tasks, n_threads)
    return np.concatenate(found[: len(slabs)]), np.concatenate(found[len(slabs) :])


def trustworthiness_and_continuity(
    X: ArrayLike,
    Y: ArrayLike,
    *,
    n_neighbors: int = 15,
    sample: int | None = 2000,
    random_state: int = 0,
    distances: np.ndarray | None = None,
) -> tuple[float, float]:
    """Return how far the neighbours in a map can be trusted, and how many of the true ones it kept.

    Trustworthiness falls if rows are near each other in the map that are not near each other in
    the data (a map that folds), continuity if rows are near each other in the data that are
    not in the map (a map that tears).  Both are 1 at best, and about 0.5 for a map that is chance.

    Parameters
    ----------
    X : (n, d) array
        The data; bytes, integers or floats without NaN.  Bytes are not converted as a whole.
    Y : (n, p) array
        The map of the same rows.
    n_neighbors : int, optional
        How many neighbours of each row are looked at; fewer than n / 2.
    sample : int, optional
        If there are more rows than this, the two are means over so many rows drawn at
        random, each with its neighbours among *all* rows.  None: all rows.
    random_state : int, optional
        Seed of the draw.
    distances : (n, n) array, optional
        Squared distances between the rows of ``X`` where they are known already.

    Returns
    -------
    trustworthiness, continuity : float

    Raises
    ------
    InputError
        If the two have not as many rows, if there are NaN or infinite values, or if
        ``n_neighbors`` is not between 1 and n / 2.

    Notes
    -----
    Venna & Kaski (2001, ICANN, LNCS 2130, 485), equations 1 and 2.  The first is
    `sklearn.manifold.trustworthiness`; among equal distances the row that comes first
    counts as nearer here, whereas there the order is that of an unstable sort.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(1).normal(size=(50, 3))
    >>> trustworthiness_and_continuity(X, X, n_neighbors=5)
    (1.0, 1.0)
    >>> trust, kept = trustworthiness_and_continuity(X, X[:, :2], n_neighbors=5)
    >>> 0.5 < trust < 1 and 0.5 < kept < 1
    True
    """
    data = as_rows(X, "the data X")
    plane = as_rows(Y, "the map Y")
    n, k = len(data), n_neighbors
    if len(plane) != n:
        raise InputError(f"the data have {n} rows and the map {len(plane)}: they must be of the same rows")
    if not 1 <= k <= most_neighbours(n):
        raise InputError(
            f"n_neighbors = {k} cannot be used with {n} rows: it must be at least 1 and less than n / 2, "
            f"that is at most {most_neighbours(n)}"
        )
    if distances is not None and np.shape(distances) != (n, n):
        raise InputError(f"distances have the shape {np.shape(distances)}; ({n}, {n}) is needed")
    chosen = np.arange(n)
    if sample is not None and sample < n:
        if sample < 1:
            raise InputError(f"sample = {sample} cannot be used: at least one row must be looked at")
        chosen = np.sort(np.random.default_rng(random_state).choice(n, sample, replace=False))
    n_threads = available_threads()

    def of_data(rows: np.ndarray) -> np.ndarray:
        return distances[rows] if distances is not None else squared_distances(data[rows], data)

    def of_plane(rows: np.ndarray) -> np.ndarray:
        return squared_distances(plane[rows], plane)

    totals = np.zeros(2, np.int64)
    for begin in range(0, len(chosen), _BLOCK):
        rows = chosen[begin : begin + _BLOCK]
        found = _penalties_of(rows, of_data, of_plane, k, n_threads)
        totals += [penalties.sum() for penalties in found]
    scale = 2.0 / (len(chosen) * k * (2 * n - 3 * k - 1))
    trustworthiness, continuity = (1.0 - scale * float(total) for total in totals)
    return trustworthiness, continuity
