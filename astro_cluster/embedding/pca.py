"""`PCA`: scikit-learn's where the data are small, block by block where they are pixels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.extmath import svd_flip
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from astro_cluster.embedding.distances import column_means, one_blas_thread
from astro_cluster.embedding.integers import shifted_products
from astro_cluster.exceptions import InputError
from astro_cluster.threads import available_threads, run_all

__all__ = ["PCA"]

_WHOLE = 2**22  # numbers of data that scikit-learn is given at once
_ROWS = 512  # rows and columns of a block that is converted at a time
_COLUMNS = 16_384
_NOTHING = 1e-6  # of the largest singular value, below which a direction is rounding
_MOST_PRODUCTS = 6000  # rows whose products with one another are made
_MORE = 10  # directions beside those asked for
_PASSES = 4  # power iterations; the spectrum of images falls fast


class PCA(TransformerMixin, BaseEstimator):
    """Principal components of rows or of pixels, without a second copy of the data.

    Parameters
    ----------
    n_components : int or float or None, optional
        Number of components at most; as few as explain this share of the variance if it is below
        1; all if None.
    random_state : int, optional
        Seed of the randomized solver.

    Attributes
    ----------
    components_ : (k, d) array
        Directions of largest variance, orthonormal.
    mean_ : (d,) array
        Mean row.
    explained_variance_, explained_variance_ratio_, singular_values_ : (k,) array
        Variance along each component, its share of the whole variance, and singular value.
    n_components_ : int
        Number of components.
    n_features_in_ : int
        Number of features.

    Notes
    -----
    Up to 4 million numbers this is `sklearn.decomposition.PCA`.  Above that, a randomized range
    finder with four power iterations (Halko, Martinsson & Tropp 2011, SIAM Review 53, 217, algorithms
    4.4 and 5.1) reads the data in blocks, so that they are never converted as a whole.  Of up to
    6,000 rows of bytes that are longer than they are many, the components come from the exact
    products of the rows instead.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 3)) * [5.0, 1.0, 0.1]
    >>> pca = PCA(2).fit(X)
    >>> pca.transform(X).shape
    (200, 2)
    """

    stem: ClassVar[str] = "pca"
    takes: ClassVar[str] = "rows"

    def __init__(self, n_components: int | float | None = 50, *, random_state: int | None = None) -> None:
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> PCA:
        """Find the components.

        Parameters
        ----------
        X : (n, d) array
            Floats without missing values, or bytes.
        y : None
            Not used.

        Returns
        -------
        PCA
            Itself.

        Raises
        ------
        InputError
            If the number of components cannot be used.
        """
        X = self._checked(X, reset=True)
        k = self._number(*X.shape)
        if X.size <= _WHOLE:
            self._fit_whole(X, k)
        else:
            self._fit_blocks(X, k)
        self.n_components_ = len(self.components_)
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Return the coordinates of rows along the components.

        Parameters
        ----------
        X : (n, d) array
            As in `fit`.

        Returns
        -------
        (n, k) array
        """
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        return _forth(X, self.mean_, self.components_.T)

    def inverse_transform(self, Y: ArrayLike) -> np.ndarray:
        """Return the rows that coordinates stand for.

        Parameters
        ----------
        Y : (n, k) array
            Coordinates.

        Returns
        -------
        (n, d) array
        """
        check_is_fitted(self)
        return np.asarray(Y) @ self.components_ + self.mean_

    def facts(self) -> dict[str, Any]:
        """Return what belongs on record: how much of the variance the components explain.

        Returns
        -------
        dict
            ``n_components``, ``explained_variance`` (share of the whole, of all together) and
            ``explained_variance_ratio`` (of each).
        """
        shares = np.asarray(self.explained_variance_ratio_, dtype=float)
        return {
            "n_components": len(shares),
            "explained_variance": float(shares.sum()),
            "explained_variance_ratio": shares.tolist(),
        }

    def _checked(self, X: ArrayLike, *, reset: bool) -> np.ndarray:
        if getattr(X, "dtype", None) == np.uint8 and np.ndim(X) == 2:
            # Bytes need no look for NaN, and no conversion that looking would cost.
            X = validate_data(self, X, reset=reset, skip_check_array=True)
            check_array(X[:1], ensure_min_samples=1)
            return np.asarray(X)
        return validate_data(
            self, X, reset=reset, dtype=[np.float64, np.float32], ensure_min_samples=2 if reset else 1
        )

    def _number(self, n: int, d: int) -> int | float:
        asked, most = self.n_components, min(n, d)
        if asked is None:
            return most
        if isinstance(asked, (int, np.integer)) and not isinstance(asked, bool) and asked >= 1:
            return min(int(asked), most)
        if isinstance(asked, (float, np.floating)) and 0 < asked < 1:
            if n * d > _WHOLE:
                raise InputError(
                    f"n_components={asked} (a share of the variance) needs all components, and {n} × {d} "
                    "numbers are too many for that; give a number of components, such as n_components=50"
                )
            return float(asked)
        raise InputError(
            f"n_components={asked!r} cannot be used: give a whole number from 1, or a share of the variance "
            "between 0 and 1"
        )

    def _fit_whole(self, X: np.ndarray, k: int | float) -> None:
        from sklearn.decomposition import PCA as Theirs

        X = X.astype(np.float32) if X.dtype == np.uint8 else X
        fitted = Theirs(k, random_state=self.random_state).fit(X)
        for name in (
            "components_",
            "mean_",
            "explained_variance_",
            "explained_variance_ratio_",
            "singular_values_",
        ):
            setattr(self, name, getattr(fitted, name))

    def _fit_blocks(self, X: np.ndarray, k: int | float) -> None:
        n, d = X.shape
        self.mean_ = column_means(X).astype(np.float32)
        if X.dtype == np.uint8 and n <= min(_MOST_PRODUCTS, d):
            U, S, total = _by_products(X)
        else:
            U, S, total = self._by_directions(X, int(k))
        kept = max(1, min(int(k), np.count_nonzero(S / max(S[0], 1e-300) > _NOTHING)))
        U, S = U[:, :kept], S[:kept]
        # X = U S V without its mean, so V comes from one more reading.
        V = _back(X, self.mean_, U.astype(np.float32)).T / np.maximum(S, np.finfo(float).tiny)[:, np.newaxis]
        _, V = svd_flip(U, V, u_based_decision=False)
        self.components_ = V.astype(np.float32)
        self.singular_values_ = S
        self.explained_variance_ = S**2 / (n - 1)
        self.explained_variance_ratio_ = S**2 / total if total > 0 else np.zeros(len(S))

    def _by_directions(self, X: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the left singular vectors and the values of the largest directions, and all variance."""
        mean = self.mean_
        directions = min(k + _MORE, *X.shape)
        rng = np.random.default_rng(self.random_state)
        rows = rng.standard_normal((len(X), directions)).astype(np.float32)
        with one_blas_thread():
            for _ in range(_PASSES):
                columns = np.linalg.qr(_back(X, mean, rows))[0]
                rows = np.linalg.qr(_forth(X, mean, columns))[0]
            factor = np.linalg.qr(_back(X, mean, rows).astype(np.float64), mode="r")
            U, S, _ = np.linalg.svd(factor.T)
        return rows @ U, S, _squares(X, mean)


def _by_products(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return all left singular vectors and values of bytes, from the exact products of their rows."""
    from scipy.linalg import eigh

    products = shifted_products(X, X).astype(np.float64)
    # Taking the means off takes off as well what the bytes were shifted by.
    products -= products.mean(axis=0)
    products -= products.mean(axis=1)[:, np.newaxis]
    with one_blas_thread():
        values, vectors = eigh(products)
    return vectors[:, ::-1], np.sqrt(np.maximum(values[::-1], 0)), float(np.trace(products))


def _parts(length: int, size: int) -> list[slice]:
    return [slice(first, min(first + size, length)) for first in range(0, length, size)]


def _block(X: np.ndarray, mean: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """Return a block of the data without the mean, in the mean's type."""
    return np.subtract(X[rows, columns], mean[columns], dtype=mean.dtype, casting="same_kind")


def _squares(X: np.ndarray, mean: np.ndarray) -> float:
    """Return the sum of squares about the mean."""

    def of(rows: slice) -> float:
        blocks = (_block(X, mean, rows, columns) for columns in _parts(X.shape[1], _COLUMNS))
        return float(sum(np.einsum("ij,ij->", block, block, dtype=np.float64) for block in blocks))

    return float(sum(_all(of, _parts(len(X), _ROWS))))


def _forth(X: np.ndarray, mean: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return X without its mean, times columns: (n, k)."""
    out = np.zeros((len(X), columns.shape[1]), dtype=mean.dtype)

    def fill(rows: slice) -> None:
        for part in _parts(X.shape[1], _COLUMNS):
            out[rows] += _block(X, mean, rows, part) @ columns[part]

    _all(fill, _parts(len(X), _ROWS))
    return out


def _back(X: np.ndarray, mean: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return X without its mean, transposed, times rows: (d, k)."""
    out = np.zeros((X.shape[1], rows.shape[1]), dtype=mean.dtype)

    def fill(columns: slice) -> None:
        for part in _parts(len(X), _ROWS):
            out[columns] += _block(X, mean, part, columns).T @ rows[part]

    _all(fill, _parts(X.shape[1], _COLUMNS))
    return out


def _all(task: Callable[[slice], Any], parts: list[slice]) -> list[Any]:
    """Do the same to all parts, which are the same whatever the number of threads."""
    with one_blas_thread():
        return run_all([partial(task, part) for part in parts], available_threads())
