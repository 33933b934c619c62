"""Where the rows of a map start: along the principal components, very close together."""

from __future__ import annotations

import numpy as np

from astro_cluster.embedding.distances import column_means, one_blas_thread

__all__ = ["SPREAD", "from_distances", "from_rows", "scaled", "shaken"]

SPREAD = 1e-4  # standard deviation of the first coordinate at the start

_ROWS = 4096  # that are worked on at a time
_MOST_FEATURES = 2048  # whose covariance matrix is computed
_PASSES = 4  # over the data where there are more


def _ordered(vectors: np.ndarray) -> np.ndarray:
    """Return vectors whose largest number is positive, so that a map is not mirrored by chance."""
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.sign(vectors[largest, np.arange(vectors.shape[1])])
    return vectors * np.where(signs == 0, 1.0, signs)


def from_distances(distances: np.ndarray, p: int) -> np.ndarray:
    """Return the first principal components of rows whose distances are known.

    Parameters
    ----------
    distances : (n, n) array
        Squared distances.
    p : int
        How many components.

    Returns
    -------
    (n, p) array
        Coordinates; zeros for components that the rows do not have.

    Notes
    -----
    The doubly centred matrix of squared distances, times -1/2, is that of the scalar products of
    the centred rows (Torgerson 1952, Psychometrika 17, 401); its eigenvectors times the roots of its
    eigenvalues are the components.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.0, 1.0, 5.0])
    >>> from_distances((x[:, np.newaxis] - x) ** 2, 1).ravel()
    array([-2., -1.,  3.])
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    n = len(distances)
    if n <= max(64, p + 1):
        centred = distances - distances.mean(axis=0)
        centred = centred - centred.mean(axis=1, keepdims=True)
        with one_blas_thread():
            values, vectors = np.linalg.eigh(-0.5 * centred)
        values, vectors = values[::-1][:p], vectors[:, ::-1][:, :p]
        missing = p - vectors.shape[1]
        values, vectors = np.pad(values, (0, missing)), np.pad(vectors, ((0, 0), (0, missing)))
    else:

        def product(vector: np.ndarray) -> np.ndarray:
            vector = vector.ravel() - vector.mean()
            result = distances @ vector
            return -0.5 * (result - result.mean())

        operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
        begin = np.random.default_rng(0).normal(size=n)
        with one_blas_thread():
            values, vectors = eigsh(operator, k=p, which="LA", v0=begin)
        values, vectors = values[::-1], vectors[:, ::-1]
    return _ordered(vectors) * np.sqrt(np.maximum(values, 0.0))


def from_rows(X: np.ndarray, p: int) -> np.ndarray:
    """Return the first principal components of rows, blocks of which are converted at a time.

    Parameters
    ----------
    X : (n, d) array
        Rows.
    p : int
        How many components.

    Returns
    -------
    (n, p) array
        Coordinates; zeros for components that the rows do not have.

    Notes
    -----
    From the covariance matrix up to 2,048 features.  Beyond, from four passes over the rows
    that turn a few more random directions towards the first components (Halko, Martinsson &
    Tropp 2011, SIAM Review 53, 217): near enough for a start.

    Examples
    --------
    >>> import numpy as np
    >>> from_rows(np.array([[0.0, 0.0], [1.0, 1.0], [5.0, 5.0]]), 1).ravel().round(3)
    array([-2.828, -1.414,  4.243])
    """
    n, d = X.shape
    means = column_means(X)
    with one_blas_thread():
        axes = (_from_covariance if d <= _MOST_FEATURES else _from_passes)(X, means, p)
        found = np.concatenate([_block(X, means, i) @ axes for i in range(0, n, _ROWS)]).astype(np.float64)
    found = np.pad(found, ((0, 0), (0, max(0, p - found.shape[1]))))
    return _ordered(found)


def _block(X: np.ndarray, means: np.ndarray, begin: int) -> np.ndarray:
    """Return some centred rows, in single precision unless the rows are in double."""
    dtype = np.float64 if X.dtype == np.float64 else np.float32
    return X[begin : begin + _ROWS].astype(dtype) - means.astype(dtype)


def _from_covariance(X: np.ndarray, means: np.ndarray, p: int) -> np.ndarray:
    covariance = np.zeros((X.shape[1], X.shape[1]))
    for begin in range(0, len(X), _ROWS):
        part = _block(X, means, begin)
        covariance += part.T @ part
    _, vectors = np.linalg.eigh(covariance)
    return vectors[:, ::-1][:, :p]


def _from_passes(X: np.ndarray, means: np.ndarray, p: int) -> np.ndarray:
    axes = np.random.default_rng(0).normal(size=(X.shape[1], p + 8)).astype(np.float32)
    for _ in range(_PASSES):
        turned = np.zeros(axes.shape)
        for begin in range(0, len(X), _ROWS):
            part = _block(X, means, begin)
            turned += part.T @ (part @ axes)
        axes = np.linalg.qr(turned)[0].astype(np.float32)
    projected = np.concatenate([_block(X, means, i) @ axes for i in range(0, len(X), _ROWS)])
    _, vectors = np.linalg.eigh(projected.T.astype(np.float64) @ projected)
    return axes @ vectors[:, ::-1][:, :p]


def scaled(components: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Return components as a start: the first with a spread of 1e-4.

    Parameters
    ----------
    components : (n, p) array
        Coordinates.
    random : `~numpy.random.RandomState`
        Fills coordinates that are the same for all rows, which would otherwise stay so.

    Returns
    -------
    (n, p) array

    Notes
    -----
    Kobak & Berens (2019, Nature Communications 10, 5416) show what such a start is good for.

    Examples
    --------
    >>> import numpy as np
    >>> scaled(np.array([[-1.0], [1.0]]), np.random.RandomState(0)).ravel()
    array([-0.0001,  0.0001])
    """
    spreads = components.std(axis=0)
    largest = spreads.max()
    if not largest > 0:
        return random.normal(size=components.shape) * SPREAD
    start = components * (SPREAD / largest)
    flat = spreads < 1e-6 * largest
    start[:, flat] = random.normal(size=(len(components), int(flat.sum()))) * (SPREAD / 100)
    return start


def shaken(start: np.ndarray, n: int) -> list[np.ndarray]:
    """Return a start and others beside it, which lead to other maps.

    Parameters
    ----------
    start : (n, p) array
        Where to begin.
    n : int
        How many starts there shall be.

    Returns
    -------
    list of (n, p) array
        The start itself, and the same with noise of a hundredth of its spread; always the same noise.

    Examples
    --------
    >>> import numpy as np
    >>> [len(other) for other in shaken(np.array([[0.0], [1e-4]]), 3)]
    [2, 2, 2]
    """
    size = start.std(axis=0).max() / 100
    noise = [np.random.default_rng(number).normal(size=start.shape) for number in range(1, n)]
    return [start, *(start + size * each for each in noise)]
