"""Where EM starts from."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans, kmeans_plusplus

from astro_cluster.mixture.parameters import CovarianceType, Moments, Parameters, maximize

__all__ = ["STARTS", "start"]

STARTS = ("kmeans", "k-means++", "random")


def _filled(X: np.ndarray) -> np.ndarray:
    """Return the rows with each hole filled by its column's mean, for the start alone."""
    holes = np.isnan(X)
    if not holes.any():
        return X
    seen = ~holes
    sums = np.where(seen, X, 0.0).sum(axis=0)
    return np.where(holes, sums / np.maximum(seen.sum(axis=0), 1), X)


def _responsibilities(X: np.ndarray, k: int, how: str, random_state: np.random.RandomState) -> np.ndarray:
    if how == "random":
        r = random_state.uniform(size=(len(X), k))
        return r / r.sum(axis=1, keepdims=True)
    if how == "kmeans":
        labels = KMeans(k, n_init=1, random_state=random_state).fit(X).labels_
    else:
        # Whitened, so that no column counts for more because of its unit.
        spread = X.std(axis=0)
        white = (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        centres, _ = kmeans_plusplus(white, k, random_state=random_state)
        labels = (
            KMeans(k, init=centres, n_init=1, max_iter=1).fit_predict(white)
            if k > 1
            else np.zeros(len(X), int)
        )
    r = np.zeros((len(X), k))
    r[np.arange(len(X)), labels] = 1.0
    return r


def start(
    X: np.ndarray,
    k: int,
    how: str,
    covariance_type: CovarianceType,
    reg_covar: float,
    random_state: np.random.RandomState,
) -> Parameters:
    """Return parameters for EM to start from.

    Parameters
    ----------
    X : (n, d) array
        Rows; NaN where missing.
    k : int
        Number of components.
    how : {"kmeans", "k-means++", "random"}
        Hard labels of k-means (as scikit-learn's mixture does), of a k-means++ seeding of the
        whitened rows, or random responsibilities.
    covariance_type : {"full", "tied", "diag", "spherical"}
        Shape of the covariances.
    reg_covar : float
        Added to the variances.
    random_state : `~numpy.random.RandomState`
        Source of randomness.

    Returns
    -------
    `~astro_cluster.mixture.parameters.Parameters`

    Examples
    --------
    >>> X = np.array([[0.0], [0.1], [9.0], [9.1]])
    >>> np.sort(start(X, 2, "kmeans", "full", 1e-6, np.random.RandomState(0)).means, axis=0)
    array([[0.05], [9.05]])
    """
    filled = _filled(X)
    r = _responsibilities(filled, k, how, random_state)
    mass = r.sum(axis=0)
    centre = (r.T @ filled) / (mass[:, np.newaxis] + 10 * np.finfo(float).eps)
    first = np.empty_like(centre)
    diagonal = covariance_type in ("diag", "spherical")
    second = np.empty((k, filled.shape[1]) if diagonal else (k, filled.shape[1], filled.shape[1]))
    for j in range(k):
        deviation = filled - centre[j]
        first[j] = r[:, j] @ deviation
        if diagonal:
            second[j] = r[:, j] @ deviation**2
        else:
            second[j] = (deviation * r[:, j, np.newaxis]).T @ deviation
    return maximize(Moments(0.0, len(X), mass, first, second, centre), covariance_type, reg_covar)
