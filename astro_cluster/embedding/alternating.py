"""Weighted low-rank fits by alternating least squares: rows by pixels, each pixel with its own weight.

What is minimised is χ² = Σ w (x − μ − c V)² over the mean μ (m,), the components V (k, m) and the
coefficients c (n, k).  For given components the best coefficients of a row are the solution of k
equations, and for given coefficients the best mean and components of a pixel are that of k + 1; the
matrices of all rows come from one product of the weights with all products of two components.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from astro_cluster.embedding.distances import one_blas_thread
from astro_cluster.threads import run_all

__all__ = ["Fit", "coefficients_of", "fit_alternating", "leftover", "start_of"]

_ROWS = 512  # of a block that is converted to double precision
_GROUPS = 16  # of blocks whose sums are kept apart, whatever the number of threads
_RIDGE = 1e-13  # of the mean of the diagonal: holds a matrix without a solution, and moves no other
_MOST_PIXELS = 6000  # whose products with one another are made for the start
_LONGEST = 64.0  # times a step that is tried


@dataclass(frozen=True)
class Fit:
    """What alternating least squares came to.

    Parameters
    ----------
    mean : (m,) array
        Mean spectrum.
    components : (k, m) array
        Any basis of the space of the components.
    coefficients : (n, k) array
        Coefficients of all rows.
    chi2 : list of float
        χ² after each iteration; never rises.
    converged : bool
        Whether it fell by less than was asked for in the end.
    """

    mean: np.ndarray
    components: np.ndarray
    coefficients: np.ndarray
    chi2: list[float]
    converged: bool


def _blocks(n: int) -> list[slice]:
    return [slice(first, min(first + _ROWS, n)) for first in range(0, n, _ROWS)]


def _groups(n: int) -> list[list[slice]]:
    """Divide the blocks of n rows into groups, always the same ones."""
    blocks = _blocks(n)
    ends = [len(blocks) * k // _GROUPS for k in range(_GROUPS + 1)]
    return [blocks[a:b] for a, b in itertools.pairwise(ends) if b > a]


def _pairs(rows: np.ndarray) -> np.ndarray:
    """Return the products of any two columns, (n, k (k + 1) / 2)."""
    first, second = np.triu_indices(rows.shape[1])
    return rows[:, first] * rows[:, second]


def _solved(products: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve one small symmetric system a row; nearly the shortest solution where there are many.

    Parameters
    ----------
    products : (n, k (k + 1) / 2) array
        Upper triangles.
    right : (n, k) array
        Right-hand sides.

    Returns
    -------
    (n, k) array
    """
    k = right.shape[1]
    first, second = np.triu_indices(k)
    matrices = np.empty((len(right), k, k))
    matrices[:, first, second] = products
    matrices[:, second, first] = products
    diagonal = np.arange(k)
    strength = matrices[:, diagonal, diagonal].mean(axis=1)
    matrices[:, diagonal, diagonal] += np.where(strength > 0, _RIDGE * strength, 1.0)[:, np.newaxis]
    return np.linalg.solve(matrices, right[:, :, np.newaxis])[:, :, 0]


def coefficients_of(
    X: np.ndarray, weights: np.ndarray, mean: np.ndarray, components: np.ndarray, *, n_threads: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients of rows for given components, and what is left.

    Parameters
    ----------
    X, weights : (n, m) array
        Rows and weights; finite, 0 where a pixel does not count.
    mean : (m,) array
        Mean.
    components : (k, m) array
        Components.
    n_threads : int, optional
        Blocks at a time.

    Returns
    -------
    coefficients : (n, k) array
        The shortest that make χ² smallest; 0 for rows that have no weight.
    chi2 : (n,) array
        χ² of each row.

    Examples
    --------
    >>> X, V = np.array([[2.0, 7.0, 9.0]]), np.array([[1.0, 1.0, 0.0]])
    >>> coefficients_of(X, np.array([[1.0, 0.0, 1.0]]), np.zeros(3), V)
    (array([[2.]]), array([81.]))
    """
    k = len(components)
    found, chi2 = np.zeros((len(X), k)), np.zeros(len(X))
    products = _pairs(components.T)

    def fill(rows: slice) -> None:
        off, w = _off(X, weights, mean, rows)
        found[rows] = _solved(w @ products, (w * off) @ components.T) if k else 0.0
        chi2[rows] = _squares(off - found[rows] @ components, w)

    with one_blas_thread():
        run_all([partial(fill, rows) for rows in _blocks(len(X))], n_threads)
    return found, chi2


def leftover(
    X: np.ndarray, weights: np.ndarray, mean: np.ndarray, components: np.ndarray, coefficients: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the squared differences of rows from what coefficients stand for.

    Parameters
    ----------
    X, weights : (n, m) array
        Rows and weights; finite, 0 where a pixel does not count.
    mean : (m,) array
        Mean.
    components : (k, m) array
        Components.
    coefficients : (n, k) array
        Coefficients.

    Returns
    -------
    squares : (n,) array
        Sums over the pixels that count.
    chi2 : (n,) array
        Weighted sums.
    """
    squares, chi2 = np.zeros(len(X)), np.zeros(len(X))
    for rows in _blocks(len(X)):
        off, w = _off(X, weights, mean, rows)
        off -= coefficients[rows] @ components
        squares[rows] = _squares(off, (w > 0).astype(float))
        chi2[rows] = _squares(off, w)
    return squares, chi2


def _off(X: np.ndarray, weights: np.ndarray, mean: np.ndarray, rows: slice) -> tuple[np.ndarray, np.ndarray]:
    return np.subtract(X[rows], mean, dtype=np.float64), weights[rows].astype(np.float64)


def _squares(off: np.ndarray, w: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij,ij->i", w, off, off)


# ---------------------------------------------------------------- where it begins


def start_of(
    X: np.ndarray, weights: np.ndarray, k: int, *, subtract_mean: bool, random_state: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a mean and components to begin with: those of the covariance of pairs of pixels.

    Parameters
    ----------
    X, weights : (n, m) array
        Rows and weights; finite, 0 where a pixel does not count.
    k : int
        Number of components.
    subtract_mean : bool
        Whether there is a mean.
    random_state : int or None
        Seed, used where there are so many pixels that not all pairs are looked at.

    Returns
    -------
    mean : (m,) array
        Weighted.
    components : (k, m) array
        Orthonormal.

    Notes
    -----
    Two pixels are compared in the rows where both have weight (Delchambre 2015, MNRAS 446, 3545,
    eq. 7, here with the square roots of the weights).  With equal weights this is the answer already.
    """
    n, m = X.shape
    mean = np.zeros(m)
    if subtract_mean:
        total, sums = np.zeros(m), np.zeros(m)
        for rows in _blocks(n):
            w = weights[rows].astype(np.float64)
            total += w.sum(axis=0)
            sums += np.einsum("ij,ij->j", w, X[rows].astype(np.float64))
        mean = np.divide(sums, total, out=mean, where=total > 0)
    if k == 0:
        return mean, np.zeros((0, m))
    with one_blas_thread():
        if m <= _MOST_PIXELS:
            return mean, _by_pairs(X, weights, mean, k)
        return mean, _by_rows(X, weights, mean, k, random_state)


def _by_pairs(X: np.ndarray, weights: np.ndarray, mean: np.ndarray, k: int) -> np.ndarray:
    from scipy.linalg import eigh

    m = X.shape[1]
    covariance, shared = np.zeros((m, m)), np.zeros((m, m))
    for rows in _blocks(len(X)):
        off, w = _off(X, weights, mean, rows)
        root = np.sqrt(w)
        shared += root.T @ root
        root *= off
        covariance += root.T @ root
    covariance = np.divide(covariance, shared, out=covariance, where=shared > 0)
    _, vectors = eigh(covariance, subset_by_index=[m - k, m - 1], overwrite_a=True)
    return np.ascontiguousarray(vectors[:, ::-1].T)


def _by_rows(
    X: np.ndarray, weights: np.ndarray, mean: np.ndarray, k: int, random_state: int | None
) -> np.ndarray:
    """Return directions of rows whose missing pixels have the mean, by a randomized range finder."""
    rng = np.random.default_rng(random_state if random_state is not None else 0)
    directions = rng.standard_normal((X.shape[1], min(k + 10, *X.shape)))
    for _ in range(5):
        directions = np.linalg.qr(directions)[0]
        turned = np.zeros_like(directions)
        for rows in _blocks(len(X)):
            off, w = _off(X, weights, mean, rows)
            off[w == 0] = 0.0
            turned += off.T @ (off @ directions)
        directions = turned
    return np.linalg.svd(directions, full_matrices=False)[0][:, :k].T.copy()


# ---------------------------------------------------------------- the iterations


def fit_alternating(
    X: np.ndarray,
    weights: np.ndarray,
    k: int,
    *,
    subtract_mean: bool = True,
    max_iter: int = 100,
    tol: float = 1e-6,
    n_threads: int = 1,
    random_state: int | None = None,
    on_step: Callable[[int, float], object] | None = None,
) -> Fit:
    """Fit mean, components and coefficients, one after the other, until χ² falls no more.

    Parameters
    ----------
    X, weights : (n, m) array
        Rows and weights; finite, 0 where a pixel does not count.
    k : int
        Number of components.
    subtract_mean : bool, optional
        Whether there is a mean.
    max_iter : int, optional
        Most iterations.
    tol : float, optional
        Share of χ² by which it must fall in an iteration for another one.
    n_threads : int, optional
        Blocks of rows at a time; the result is the same for any.
    random_state : int, optional
        Seed of `start_of`.
    on_step : callable, optional
        Called after each iteration with its number and χ².

    Returns
    -------
    Fit

    Notes
    -----
    Alternating least squares goes downhill and slowly where two components are much alike.  So a step
    that was taken is tried again, longer each time it works; where χ² would rise it is taken back.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> X = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 8))
    >>> weights = (rng.random(X.shape) > 0.2).astype(float)
    >>> fit = fit_alternating(X, weights, 2, max_iter=500, tol=0.0)
    >>> fit.chi2[-1] < 1e-8
    True
    """
    mean, components = start_of(X, weights, k, subtract_mean=subtract_mean, random_state=random_state)
    basis = np.vstack([mean, components])  # the mean is the component whose coefficients are all 1
    swept = partial(_swept, X, weights, subtract_mean=subtract_mean, n_threads=n_threads)
    found, chi2, length, converged = swept(basis), [], 1.0, False
    while True:
        chi2.append(found.chi2)
        if on_step is not None:
            on_step(len(chi2), found.chi2)
        converged = len(chi2) > 1 and chi2[-2] - chi2[-1] <= tol * chi2[-1]
        if converged or len(chi2) >= max_iter:
            break
        longer = basis + length * (found.basis - basis)
        tried = swept(longer)
        if length > 1 and not tried.chi2 <= found.chi2:
            length, longer = 1.0, found.basis
            tried = swept(longer)
        else:
            length = min(1.5 * length, _LONGEST)
        if not tried.chi2 <= found.chi2:  # nothing is left but rounding
            converged = True
            break
        basis, found = longer, tried
    return Fit(basis[0], basis[1:], found.coefficients, chi2, converged)


@dataclass(frozen=True)
class _Swept:
    """χ² of a basis with its best coefficients, and the best basis for these."""

    chi2: float
    coefficients: np.ndarray
    basis: np.ndarray


def _swept(
    X: np.ndarray, weights: np.ndarray, basis: np.ndarray, *, subtract_mean: bool, n_threads: int
) -> _Swept:
    n, m = X.shape
    mean, components = basis[0], basis[1:]
    k = len(components)
    products = _pairs(components.T)
    coefficients = np.zeros((n, k))
    used = slice(0 if subtract_mean else 1, None)

    def sums(blocks: list[slice]) -> tuple[float, np.ndarray, np.ndarray]:
        size = k + 1 if subtract_mean else k
        left, right, chi2 = np.zeros((m, size * (size + 1) // 2)), np.zeros((m, size)), 0.0
        for rows in blocks:
            off, w = _off(X, weights, mean, rows)
            pulled = w * off
            if k:
                coefficients[rows] = _solved(w @ products, pulled @ components.T)
            off -= coefficients[rows] @ components
            chi2 += float(np.einsum("ij,ij,ij->", w, off, off))
            pulled = np.multiply(w, off, out=off)
            whole = np.column_stack([np.ones(len(w)), coefficients[rows]])[:, used]
            left += w.T @ _pairs(whole)
            right += pulled.T @ whole
        return chi2, left, right

    with one_blas_thread():
        parts = run_all([partial(sums, blocks) for blocks in _groups(n)], n_threads)
        # What is solved for is the change, which keeps its digits when little is left to change.
        change = _solved(sum(part[1] for part in parts), sum(part[2] for part in parts)).T
    better = basis.copy()
    better[used] += change
    return _Swept(sum(part[0] for part in parts), coefficients, better)
