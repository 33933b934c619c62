"""How empty it is around each row: three ways to measure it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from astro_cluster.exceptions import InputError

__all__ = ["METHODS", "Method", "emptiness", "neighbour_distances"]

METHODS = ("neighbours", "mixture", "forest")
Method = Literal["neighbours", "mixture", "forest"]

_REFERENCES = 10_000
_BLOCK = 4_000_000  # distances that are held at a time: 32 MB
_MOST_COMPONENTS = 5
_ROWS_A_NUMBER = 5


def neighbour_distances(
    X: np.ndarray, n_neighbors: int = 10, *, references: int = _REFERENCES, random_state: int = 0
) -> np.ndarray:
    """Return the mean distance of each row to its nearest neighbours.

    Parameters
    ----------
    X : (n, d) array of float
        Rows, all finite.
    n_neighbors : int, optional
        How many neighbours; at most as many as there are other rows.
    references : int, optional
        Largest number of rows among which neighbours are looked for; of more, so many are drawn.
    random_state : int, optional
        Seed of the draw.

    Returns
    -------
    (n,) array of float
        Euclidean; no row is its own neighbour.

    Notes
    -----
    The distance to neighbours is the classic measure of outliers (Ramaswamy, Rastogi & Shim
    2000, SIGMOD Record 29, 427; the mean over k neighbours is that of Angiulli & Pizzuti
    2002).  A random sample of the rows serves as well as all of them (Sugiyama & Borgwardt 2013,
    NIPS 26, 467), which bounds the time by n times ``references``.

    Examples
    --------
    >>> neighbour_distances(np.array([[0.0], [1.0], [5.0]]), 1)
    array([1., 1., 4.])
    """
    n = len(X)
    chosen = np.arange(n)
    if n > references:
        chosen = np.sort(np.random.default_rng(random_state).choice(n, references, replace=False))
    k = min(n_neighbors, len(chosen) - 1)
    # Where the mean is far from 0 the difference of squares below would lose digits.
    X = X - X.mean(axis=0)
    R = X[chosen]
    own = np.full(n, -1)
    own[chosen] = np.arange(len(chosen))
    squares, norms = np.einsum("ij,ij->i", R, R), np.einsum("ij,ij->i", X, X)
    found = np.empty(n)
    step = max(_BLOCK // len(chosen), 1)
    for begin in range(0, n, step):
        block = slice(begin, begin + step)
        distances = squares - 2 * X[block] @ R.T
        distances += norms[block, np.newaxis]
        rows = np.flatnonzero(own[block] >= 0)
        distances[rows, own[block][rows]] = np.inf
        nearest = np.partition(distances, k - 1, axis=1)[:, :k]
        found[block] = np.sqrt(np.maximum(nearest, 0)).mean(axis=1)
    return found


def _by_neighbours(X: np.ndarray, seed: int) -> np.ndarray:
    return neighbour_distances(X, random_state=seed)


def _by_mixture(X: np.ndarray, seed: int) -> np.ndarray:
    """Return minus the log density under the mixture with the best BIC.

    The loneliest tenth is left out of the fit: in a component of its own no row is an outlier.
    """
    import warnings

    from astro_cluster.mixture import GaussianMixture

    lonely = neighbour_distances(X, random_state=seed)
    # Rows that are all alike have no tenth.
    core = X[lonely <= np.quantile(lonely, 0.9)]
    n, d = core.shape
    best, lowest = None, np.inf
    for k in range(1, _MOST_COMPONENTS + 1):
        full = k * (d * (d + 3) // 2 + 1) * _ROWS_A_NUMBER <= n
        if k > 1 and not full:
            break
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a mixture that fails has a bad BIC
            model = GaussianMixture(
                k, covariance_type="full" if full else "diag", random_state=seed, n_short=10
            ).fit(core)
        bic = model.bic(core)
        if bic < lowest:
            best, lowest = model, bic
    return -best.score_samples(X)  # type: ignore[union-attr]


def _by_forest(X: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.ensemble import IsolationForest

    return -IsolationForest(n_estimators=200, random_state=seed).fit(X).score_samples(X)


_WAYS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "neighbours": _by_neighbours,
    "mixture": _by_mixture,
    "forest": _by_forest,
}


def emptiness(X: np.ndarray, method: Method, seed: int) -> np.ndarray:
    """Return how empty it is around each row.

    Parameters
    ----------
    X : (n, d) array of float
        Rows, all finite.
    method : {"neighbours", "mixture", "forest"}
        Mean distance to ten neighbours; minus the log density of our mixture, with the number
        of components (one to five) that has the best BIC, fitted to the less lonely nine tenths; or
        the score of an isolation forest (Liu, Ting & Zhou 2008).
    seed : int
        Random seed.

    Returns
    -------
    (n,) array of float
        Larger where it is emptier.

    Raises
    ------
    InputError
        If the method is not known.

    Examples
    --------
    >>> int(emptiness(np.array([[0.0], [0.1], [0.2], [7.0]]), "neighbours", 0).argmax())
    3
    """
    if method not in METHODS:
        raise InputError(f"method={method!r} is not known; give one of {', '.join(METHODS)}")
    return _WAYS[method](X, seed)
