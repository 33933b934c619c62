"""Squared distances between rows, without a copy of the rows in double precision.

Of bytes they are exact integers, from `integers.shifted_products`.  Of few features they are
added up difference by difference.  Of many features they come from scalar products, a few
columns at a time, in the precision of the data; the sums over the columns are kept in double
precision.  How far these can be off is known, and a distance that is not well above it is
computed again from the differences.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from astro_cluster.embedding.compiling import reordered
from astro_cluster.embedding.integers import shifted_products
from astro_cluster.exceptions import InputError
from astro_cluster.threads import available_threads, run_all

__all__ = [
    "NARROW",
    "Products",
    "as_rows",
    "centred_products",
    "column_means",
    "exact_pairs",
    "one_blas_thread",
    "squared_distances",
]

NARROW = 48  # features, up to which differences are as fast as products

_COLUMNS = 2048  # that are multiplied at a time
_ROWS = 512  # of a block of products: always the same blocks, whatever the number of threads
_SAFE = {4: 3e-4, 8: 1e-8}  # relative error of a squared distance that is good enough, by bytes of a number


def as_rows(X: ArrayLike, what: str = "X") -> np.ndarray:
    """Return rows of numbers: bytes as bytes, single precision as such, anything else in double.

    Parameters
    ----------
    X : (n, d) array
        Rows.
    what : str, optional
        What to call them in an error.

    Returns
    -------
    (n, d) array of uint8, float32 or float64
        The very array if it is one of these.

    Raises
    ------
    InputError
        If these are not rows of finite numbers.

    Examples
    --------
    >>> as_rows([[1, 2], [3, 4]]).dtype
    dtype('float64')
    """
    if np.ma.is_masked(X):
        raise InputError(f"{what} has masked values: leave these rows out or fill them")
    rows = np.asarray(X)
    if rows.ndim != 2:
        raise InputError(f"{what} has the shape {rows.shape}; rows of features, (n, d), are needed")
    if rows.dtype == np.uint8:
        return rows
    if rows.dtype.kind not in "buif":
        raise InputError(f"{what} is of the kind {rows.dtype}; numbers are needed")
    if rows.dtype == bool:
        return rows.view(np.uint8)
    if rows.dtype not in (np.float32, np.float64):
        rows = rows.astype(np.float32 if rows.dtype.itemsize <= 2 else np.float64)
    bad = _not_finite(rows, what)
    if bad.size:
        raise InputError(
            f"{what} contains NaN or infinity in {bad.size} of {len(rows)} rows (the first is {bad[0]}): "
            "leave these rows out or fill them"
        )
    return rows


def _not_finite(rows: np.ndarray, what: str) -> np.ndarray:
    """Return the rows that have NaN or infinite values, a block of them at a time."""
    step = max(1, 2**22 // max(1, rows.shape[1]))
    bad = []
    for begin in range(0, len(rows), step):
        part = rows[begin : begin + step]
        with np.errstate(over="ignore", invalid="ignore"):
            whole = np.einsum("ij,ij->", part, part)
        if np.isfinite(whole):
            continue
        found = begin + np.flatnonzero(~np.isfinite(part).all(axis=1))
        if not found.size:
            raise InputError(
                f"{what} has values up to {np.abs(part).max():.3g}, whose squares are too large "
                f"for {rows.dtype}: scale them"
            )
        bad.append(found)
    return np.concatenate(bad) if bad else np.empty(0, int)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep the linear algebra to one thread: its sums depend on the number of threads."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


def column_means(X: np.ndarray) -> np.ndarray:
    """Return the means of the columns, from one pass over blocks of rows.

    Parameters
    ----------
    X : (n, d) array
        Rows.

    Returns
    -------
    (d,) array of float

    Examples
    --------
    >>> import numpy as np
    >>> column_means(np.array([[1, 2], [3, 4]], dtype=np.uint8))
    array([2., 3.])
    """
    total = np.zeros(X.shape[1])
    step = max(1, 2**20 // max(1, X.shape[1]))
    for begin in range(0, len(X), step):
        total += X[begin : begin + step].sum(axis=0, dtype=np.float64)
    return total / len(X)


@reordered
def _differences(A: np.ndarray, B: np.ndarray, first: int, last: int, same: bool, out: np.ndarray) -> None:
    """Write the squared distances of rows first … last of A to those of B; the later ones if they are one.

    B is transposed, so that neighbouring lanes are neighbouring rows.
    """
    d, n = B.shape
    for i in range(first, last):
        row = out[i]
        begin = i if same else 0
        row[begin:] = 0.0
        for c in range(d):
            value = A[i, c]
            column = B[c]
            for j in range(begin, n):
                difference = value - column[j]
                row[j] += difference * difference


@reordered
def _of_pairs(
    A: np.ndarray, B: np.ndarray, i: np.ndarray, j: np.ndarray, first: int, last: int, out: np.ndarray
) -> None:
    """Write the squared distances of pairs of rows, in double precision."""
    d = A.shape[1]
    for pair in range(first, last):
        a, b = A[i[pair]], B[j[pair]]
        total = 0.0
        for c in range(d):
            difference = np.float64(a[c]) - np.float64(b[c])
            total += difference * difference
        out[pair] = total


def exact_pairs(
    A: np.ndarray, B: np.ndarray, i: np.ndarray, j: np.ndarray, n_threads: int | None = None
) -> np.ndarray:
    """Return the squared distances of pairs of rows, from their differences in double precision.

    Parameters
    ----------
    A, B : (m, d), (n, d) array
        Rows.
    i, j : (p,) array of int
        Which row of A with which row of B.
    n_threads : int, optional
        Number of threads; by default all.

    Returns
    -------
    (p,) array of float

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 0.0], [3.0, 4.0]])
    >>> exact_pairs(X, X, np.array([0]), np.array([1]))
    array([25.])
    """
    out = np.empty(len(i))
    edges = np.linspace(0, len(i), 33).astype(int)
    tasks = [partial(_of_pairs, A, B, i, j, a, b, out) for a, b in pairwise(edges) if b > a]
    run_all(tasks, n_threads or available_threads())
    return out


def _narrow(A: np.ndarray, B: np.ndarray, n_threads: int) -> np.ndarray:
    same = B is A
    left = np.array(A, dtype=np.float64, order="C")
    right = np.array(B.T, dtype=np.float64, order="C")
    out = np.empty((len(A), len(B)))
    tasks = [
        partial(_differences, left, right, begin, min(begin + 64, len(A)), same, out)
        for begin in range(0, len(A), 64)
    ]
    run_all(tasks, n_threads)
    return out


def _add_product(
    first: np.ndarray, second: np.ndarray, rows: slice, columns: slice, products: np.ndarray
) -> None:
    products[rows, columns] += first[rows] @ second[columns].T


def _set_product(
    first: np.ndarray, second: np.ndarray, rows: slice, columns: slice, products: np.ndarray
) -> None:
    np.matmul(first[rows], second[columns].T, out=products[rows, columns])


def _add_squares(part: np.ndarray, squares: np.ndarray) -> None:
    squares += np.einsum("ij,ij->i", part, part, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Products:
    """Scalar products of centred rows, from which their distances follow.

    Attributes
    ----------
    values : (m, n) array
        The products; of a block of rows with itself those above the diagonal, by blocks.
    squares : two arrays, (m,) and (n,)
        The squares of the rows.
    doubtful : float
        A squared distance below this part of the sum of the two squares is lost in rounding.
    """

    values: np.ndarray
    squares: tuple[np.ndarray, np.ndarray]
    doubtful: float


def centred_products(A: np.ndarray, B: np.ndarray, centre: np.ndarray, n_threads: int) -> Products:
    """Return the scalar products of rows of many features, in the precision of the rows.

    Parameters
    ----------
    A, B : (m, d), (n, d) array
        Rows; the same array for the upper half alone.
    centre : (d,) array
        What is taken from every row: the nearer to all of them, the less is lost to cancellation.
    n_threads : int
        Number of threads; the result does not depend on it.

    Returns
    -------
    Products
    """
    same = B is A
    dtype = np.result_type(A, B, np.float32)
    one_pass = A.shape[1] <= _COLUMNS
    products = np.zeros((len(A), len(B)), dtype if one_pass else np.float64)
    squares = np.zeros(len(A)), np.zeros(len(B))
    blocks = [
        (slice(a, a + _ROWS), slice(b, b + _ROWS))
        for a in range(0, len(A), _ROWS)
        for b in range(a if same else 0, len(B), _ROWS)
    ]
    multiply = _set_product if one_pass else _add_product
    with one_blas_thread():
        for begin in range(0, A.shape[1], _COLUMNS):
            columns = slice(begin, begin + _COLUMNS)
            middle = centre[columns].astype(dtype)
            second = B[:, columns].astype(dtype)
            second -= middle
            first = second if same else A[:, columns].astype(dtype) - middle
            run_all([partial(multiply, first, second, i, j, products) for i, j in blocks], n_threads)
            _add_squares(first, squares[0])
            _add_squares(second, squares[1])
    # Products of numbers that are rounded to a relative eps are off by a few of it times both norms.
    doubtful = 2 * float(np.finfo(dtype).eps) / _SAFE[dtype.itemsize]
    return Products(products, squares, doubtful)


def _wide(A: np.ndarray, B: np.ndarray, n_threads: int) -> np.ndarray:
    """Return squared distances from products of centred rows."""
    some = B[:: max(1, len(B) // 1000)]  # the centre need not be exact
    found = centred_products(A, B, column_means(some), n_threads)
    distances = found.values.astype(np.float64, copy=False)
    distances *= -2.0
    distances += found.squares[0][:, np.newaxis]
    distances += found.squares[1]
    _mend(A, B, distances, found.squares, found.doubtful, n_threads)
    return distances


def _mend(
    A: np.ndarray,
    B: np.ndarray,
    found: np.ndarray,
    squares: tuple[np.ndarray, np.ndarray],
    doubtful: float,
    n_threads: int,
) -> None:
    """Compute again what cancellation may have spoilt: rows that are near each other for their size."""
    for begin in range(0, len(A), _ROWS):
        part = found[begin : begin + _ROWS]
        size = squares[0][begin : begin + _ROWS, np.newaxis] + squares[1]
        bad = part < doubtful * size
        if B is A:  # only what is above the diagonal is there
            bad &= np.arange(len(B)) > np.arange(begin, begin + len(part))[:, np.newaxis]
        i, j = np.nonzero(bad)
        if len(i):
            part[i, j] = exact_pairs(A, B, i + begin, j, n_threads)


def squared_distances(
    A: np.ndarray, B: np.ndarray | None = None, *, n_threads: int | None = None
) -> np.ndarray:
    """Return the squared distances of the rows of A to the rows of B.

    Parameters
    ----------
    A : (m, d) array of uint8, float32 or float64
        Rows (see `as_rows`).
    B : (n, d) array, optional
        Other rows; by default those of A, of whose distances only half are computed then.
    n_threads : int, optional
        Number of threads; by default all.  The result does not depend on it.

    Returns
    -------
    (m, n) array of float64
        Exact integers for bytes; of many features with a relative error below about 3e-4 for
        float32, mostly far below, and 1e-8 for float64.

    Examples
    --------
    >>> import numpy as np
    >>> squared_distances(np.array([[0, 0], [3, 4]], dtype=np.uint8))
    array([[ 0., 25.],
           [25.,  0.]])
    """
    other = A if B is None else B
    threads = n_threads or available_threads()
    same = other is A
    if A.dtype == np.uint8 and other.dtype == np.uint8:
        out = _of_bytes(A, other, threads)
    elif A.shape[1] <= NARROW:
        out = _narrow(A, other, threads)
    else:
        out = _wide(A, other, threads)
    if same and A.dtype != np.uint8:
        _mirror(out)
    return out


def _of_bytes(A: np.ndarray, B: np.ndarray, n_threads: int) -> np.ndarray:
    products = shifted_products(A, None if B is A else B, n_threads=n_threads)
    norms = [products.diagonal().copy()] * 2 if B is A else [_norms(A), _norms(B)]
    products *= -2
    products += norms[0][:, np.newaxis]
    products += norms[1]
    # The same memory: integers below 2**53 are doubles too.
    out = products.view(np.float64)
    for begin in range(0, len(A), 64):
        out[begin : begin + 64] = products[begin : begin + 64].astype(np.float64)
    return out


def _norms(A: np.ndarray) -> np.ndarray:
    """Return the squares of the rows, from which 128 is taken."""
    step = max(1, 2**20 // max(1, A.shape[1]))
    parts = []
    for begin in range(0, len(A), step):
        part = A[begin : begin + step].astype(np.int32) - 128
        parts.append(np.einsum("ij,ij->i", part, part, dtype=np.int64))
    return np.concatenate(parts)


def _mirror(out: np.ndarray) -> None:
    """Write below the diagonal what stands above."""
    for begin in range(0, len(out), 256):
        end = begin + 256
        square = out[begin:end, begin:end]
        below = np.tril_indices(len(square), -1)
        square[below] = square.T[below]
        out[end:, begin:end] = out[begin:end, end:].T
    np.fill_diagonal(out, 0.0)
