"""What has to be known of rows before EM: that they make sense, their moments, a sample to start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from astro_cluster.mixture.rows import Rows, RowSource

__all__ = ["Survey", "check_rows", "check_shapes", "floats", "sample", "to_rows"]

# Covariances kept in single precision are positive semidefinite to about this only.
_ROUNDING = 1e-6

# ---------------------------------------------------------------- checks


def _label(column: int, names: Sequence[str] | None) -> str:
    return f"column {column}" if names is None else f"column {names[column]!r}"


def _refuse(bad: np.ndarray, first_row: int, names: Sequence[str] | None, what: str, advice: str) -> None:
    """Raise if anything of an (n, d) array is true, naming the first such row and column."""
    if bad.any():
        row, column = (int(index[0]) for index in np.nonzero(bad))
        raise ValueError(f"{_label(column, names)} {what} in row {first_row + row}; {advice}")


def floats(array: Any, what: str) -> np.ndarray:
    """Return numbers as native, C-contiguous float64, NaN where masked.

    Parameters
    ----------
    array : array
        Numbers of any real type; not copied if they are in this form already.
    what : str
        What they are, for the message.

    Returns
    -------
    array of float64

    Raises
    ------
    ValueError
        If they are not real numbers.

    Examples
    --------
    >>> floats(np.ma.array([1, 2], mask=[False, True]), "values")
    array([ 1., nan])
    """
    if np.ma.isMaskedArray(array):
        array = np.ma.filled(array.astype(np.float64), np.nan)
    array = np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"the {what} are of type {array.dtype}, not real numbers")
    return np.ascontiguousarray(array, dtype=np.float64)


def to_rows(
    X: Any,
    errors: Any = None,
    sample_weight: Any = None,
    *,
    first_row: int = 0,
    names: Sequence[str] | None = None,
) -> Rows:
    """Return arrays as rows in the form that the engines take.

    Parameters
    ----------
    X : (n, d) array
        Values of any real type and byte order; NaN where missing.
    errors : (n, d) or (n, d, d) array, optional
        Standard errors, or covariance matrices of the errors.
    sample_weight : (n,) array, optional
        Weights.
    first_row : int, optional
        Number of the first of these rows, for messages.
    names : sequence of str, optional
        Names of the columns, for messages; else they are numbered.

    Returns
    -------
    Rows
        Arrays that are C-contiguous float64 already are not copied.

    Raises
    ------
    ValueError
        If a shape or type does not fit, or a standard error is negative where there is a value.

    Examples
    --------
    >>> to_rows([[1.0, 2.0]], errors=[[0.5, 2.0]]).noise
    array([[0.25, 4.  ]])
    """
    values = floats(X, "values")
    if values.ndim != 2:
        raise ValueError(
            f"the values have the shape {values.shape}; give rows and columns, (n, d): Reshape your data "
            "with X.reshape(-1, 1) if it is one column or X.reshape(1, -1) if it is one row"
        )
    noise = None if errors is None else floats(errors, "errors")
    if noise is not None and noise.shape == values.shape:
        _refuse(
            (noise < 0) & ~np.isnan(values),
            first_row,
            names,
            "has a negative standard error",
            "set the value to NaN if it is unknown",
        )
        with np.errstate(over="ignore", under="ignore"):
            noise = noise**2
    rows = Rows(values, noise, None if sample_weight is None else floats(sample_weight, "weights"))
    check_shapes(rows)
    return rows


def check_shapes(rows: Rows) -> None:
    """Make sure that the parts of rows go together.

    Parameters
    ----------
    rows : Rows
        Some rows.

    Raises
    ------
    ValueError
        If the errors or the weights have a shape that does not fit the values.

    Examples
    --------
    >>> check_shapes(Rows(np.zeros((3, 2)), noise=np.ones((3, 2, 2)), weights=np.ones(3)))
    """
    n, d = rows.values.shape
    if d == 0:
        raise ValueError("the rows have no columns")
    if rows.noise is not None and rows.noise.shape not in ((n, d), (n, d, d)):
        raise ValueError(
            f"the errors have the shape {rows.noise.shape}, which does not fit values of the shape {(n, d)}; "
            f"give standard errors, {(n, d)}, or covariance matrices, {(n, d, d)}"
        )
    if rows.weights is not None and rows.weights.shape != (n,):
        raise ValueError(f"the weights have the shape {rows.weights.shape}; give one for each row, {(n,)}")


def check_rows(rows: Rows, first_row: int = 0, names: Sequence[str] | None = None) -> None:
    """Make sure that rows can be worked on.

    Parameters
    ----------
    rows : Rows
        Some or all rows.
    first_row : int, optional
        Number of the first of them.
    names : sequence of str, optional
        Names of the columns; else they are numbered.

    Raises
    ------
    ValueError
        If a value is infinite, an error of a value is negative, missing or infinite, a
        covariance matrix is not positive semidefinite, a weight is negative, missing or
        infinite, or the shapes do not go together; with the column and the row.

    Examples
    --------
    >>> check_rows(Rows(np.array([[1.0, np.inf]])), first_row=100, names=["ra", "dec"])
    Traceback (most recent call last):
        ...
    ValueError: column 'dec' is infinite in row 100; set it to NaN if it means 'not measured'
    """
    check_shapes(rows)
    _refuse(
        np.isinf(rows.values), first_row, names, "is infinite", "set it to NaN if it means 'not measured'"
    )
    if rows.weights is not None:
        bad = np.flatnonzero(~(rows.weights >= 0) | np.isinf(rows.weights))
        if bad.size:
            raise ValueError(
                f"the weight of row {first_row + bad[0]} is {rows.weights[bad[0]]:g}; weights are finite and "
                "not negative: give 0 to a row that should not count"
            )
    if rows.noise is not None and rows.noise.ndim == 2:
        _check_variances(rows.noise, ~np.isnan(rows.values), first_row, names)
    elif rows.noise is not None:
        _check_covariances(rows.noise, ~np.isnan(rows.values), first_row, names)


def _check_variances(
    noise: np.ndarray, observed: np.ndarray, first_row: int, names: Sequence[str] | None
) -> None:
    advice = "give the error (0 if the value is exact), or set the value to NaN"
    _refuse(observed & np.isnan(noise), first_row, names, "has a value without an error", advice)
    _refuse(observed & np.isinf(noise), first_row, names, "has a value with an infinite error", advice)
    _refuse(observed & (noise < 0), first_row, names, "has a negative variance of its error", advice)


def _check_covariances(
    noise: np.ndarray, observed: np.ndarray, first_row: int, names: Sequence[str] | None
) -> None:
    """Check the parts of the matrices that belong to observed values."""
    variances = np.einsum("nii->ni", noise)
    _check_variances(variances, observed, first_row, names)
    noise = np.where(observed[:, :, np.newaxis] & observed[:, np.newaxis, :], noise, 0.0)
    advice = "give covariance matrices, which are finite, symmetric and positive semidefinite"

    def refuse(bad: np.ndarray, what: str) -> None:
        _refuse(bad.any(axis=2), first_row, names, f"has {what} in the covariance matrix", advice)

    refuse(~np.isfinite(noise), "a value that is not finite")
    spread = np.sqrt(np.where(observed, variances, 0.0))
    spread[spread == 0] = 1.0
    # As correlations, so that columns of very different units count alike.
    correlation = noise / spread[:, :, np.newaxis] / spread[:, np.newaxis, :]
    refuse(np.abs(correlation - np.swapaxes(correlation, 1, 2)) > _ROUNDING, "an asymmetry")
    exact = np.where(observed, variances, 0.0) == 0
    refuse(exact[:, :, np.newaxis] & (noise != 0), "a covariance beside a variance of zero")
    _check_semidefinite(correlation, first_row, advice)


def _check_semidefinite(matrices: np.ndarray, first_row: int, advice: str) -> None:
    d = matrices.shape[1]
    try:  # far faster than eigenvalues, which are needed only to tell which one it is
        np.linalg.cholesky(matrices + _ROUNDING * np.eye(d))
    except np.linalg.LinAlgError:
        lowest = np.linalg.eigvalsh(matrices)[:, 0]
        bad = np.flatnonzero(lowest < -_ROUNDING)
        if bad.size:
            raise ValueError(
                f"the covariance matrix of row {first_row + bad[0]} is not positive semidefinite (as "
                f"correlations, its smallest eigenvalue is {lowest[bad[0]]:.3g}); {advice}"
            ) from None


# ---------------------------------------------------------------- moments


@dataclass(frozen=True, slots=True)
class Survey:
    """Counts and moments of the columns; those of disjoint sets of rows can be added.

    Only rows of positive weight count in the columns' numbers.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    total_weight : float
        Sum of the weights.
    seen : (d,) array of int
        Number of values.
    weight : (d,) array
        Sum of the weights of these.
    minimum, maximum : (d,) array
        Of the values; infinite if there is none.
    mean : (d,) array
        Weighted mean of the values.
    squares : (d,) array
        Weighted sum of squared deviations from the mean.
    lightest : float
        Smallest weight of a row that counts.

    Notes
    -----
    Sums are put together by the formula of Chan, Golub & LeVeque (1983, The American
    Statistician 37, 242), which loses nothing to values far from zero.

    Examples
    --------
    >>> one, two = Survey.of(Rows(np.array([[1.0], [2.0]]))), Survey.of(Rows(np.array([[6.0], [np.nan]])))
    >>> both = one + two
    >>> both.mean, both.seen, both.n_rows
    (array([3.]), array([3]), 4)
    """

    n_rows: int
    total_weight: float
    seen: np.ndarray
    weight: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray
    mean: np.ndarray
    squares: np.ndarray
    lightest: float

    @classmethod
    def empty(cls, n_features: int) -> Survey:
        """Return the survey of no rows.

        Parameters
        ----------
        n_features : int
            Number of columns.

        Returns
        -------
        Survey
        """
        zero, infinite = np.zeros(n_features), np.full(n_features, np.inf)
        seen = np.zeros(n_features, dtype=np.int64)
        return cls(0, 0.0, seen, zero, infinite, -infinite, zero, zero, np.inf)

    @classmethod
    def of(cls, rows: Rows) -> Survey:
        """Return the survey of some rows.

        Parameters
        ----------
        rows : Rows
            n rows, checked.

        Returns
        -------
        Survey
        """
        if len(rows) == 0:
            return cls.empty(rows.n_features)
        with np.errstate(over="ignore", invalid="ignore"):  # `check` says which column is too large
            return cls._of(rows)

    @classmethod
    def _of(cls, rows: Rows) -> Survey:
        counted = ~np.isnan(rows.values)
        if rows.weights is None:
            weight = counted.sum(axis=0).astype(float)
            weighted: np.ndarray = counted
        else:
            counted &= (rows.weights > 0)[:, np.newaxis]
            weighted = np.where(counted, rows.weights[:, np.newaxis], 0.0)
            weight = weighted.sum(axis=0)
        values = np.where(counted, rows.values, 0.0)
        divisor = np.where(weight > 0, weight, 1.0)
        mean = (weighted * values).sum(axis=0) / divisor
        deviation = np.where(counted, rows.values - mean, 0.0)
        # The mean of values far from zero is rounded; its own deviation puts it right.
        mean = mean + (weighted * deviation).sum(axis=0) / divisor
        deviation = np.where(counted, rows.values - mean, 0.0)
        return cls(
            len(rows),
            rows.total_weight,
            counted.sum(axis=0),
            weight,
            np.where(counted, rows.values, np.inf).min(axis=0),
            np.where(counted, rows.values, -np.inf).max(axis=0),
            mean,
            (weighted * deviation**2).sum(axis=0),
            1.0 if rows.weights is None else float(rows.weights[rows.weights > 0].min(initial=np.inf)),
        )

    def __add__(self, other: Survey) -> Survey:
        """Return the survey of the rows of both."""
        weight = self.weight + other.weight
        share = other.weight / np.where(weight > 0, weight, 1.0)
        step = other.mean - self.mean
        return Survey(
            self.n_rows + other.n_rows,
            self.total_weight + other.total_weight,
            self.seen + other.seen,
            weight,
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
            np.where(self.weight > 0, self.mean + step * share, other.mean),
            self.squares + other.squares + step**2 * self.weight * share,
            min(self.lightest, other.lightest),
        )

    @property
    def variance(self) -> np.ndarray:
        """Weighted variance of the values, over the sum of the weights."""
        return self.squares / np.where(self.weight > 0, self.weight, 1.0)

    def check(self, names: Sequence[str] | None = None) -> None:
        """Make sure that a mixture can be fitted to these rows.

        Parameters
        ----------
        names : sequence of str, optional
            Names of the columns; else they are numbered.

        Raises
        ------
        ValueError
            If there are no rows, all weights are zero, or a column has no value.
        """
        if self.n_rows == 0:
            raise ValueError("there are no rows: all chunks are empty")
        if not self.total_weight > 0:
            raise ValueError(f"the weights of all {self.n_rows} rows are zero; give some row a positive one")
        large = np.flatnonzero(~np.isfinite(self.variance))
        if large.size:
            column = large[0]
            largest = max(-self.minimum[column], self.maximum[column])
            raise ValueError(
                f"{_label(column, names)} has values up to {largest:.3g}, "
                "whose squares are no numbers; set to NaN what stands for 'not measured', or take logarithms"
            )
        empty = np.flatnonzero(self.seen == 0)
        if empty.size:
            where = "any row" if self.total_weight == self.n_rows else "any row of positive weight"
            raise ValueError(f"{_label(empty[0], names)} has no value in {where}; leave it out")


# ---------------------------------------------------------------- a sample


def sample(source: RowSource, size: int, rng: np.random.Generator | np.random.RandomState) -> Rows:
    """Draw rows without replacement, each set of them as probable as any other, in one pass.

    Parameters
    ----------
    source : RowSource
        n rows.
    size : int
        How many to draw; all rows if there are not more.  A row of weight 0 does not count and
        is never drawn; other weights make no difference.
    rng : `~numpy.random.Generator` or `~numpy.random.RandomState`
        Source of chance; it draws n numbers, so that the result does not depend on the size
        of the chunks.

    Returns
    -------
    Rows
        In the order of the source.

    Raises
    ------
    ValueError
        If ``size`` is less than 1 or there are no rows of positive weight.

    Notes
    -----
    Every row draws a number, and those with the smallest ones stay (Fan, Muller & Rezucha
    1962, Journal of the American Statistical Association 57, 387).

    Examples
    --------
    >>> from astro_cluster.mixture.sources import ArraySource
    >>> sample(ArraySource(np.arange(100.0).reshape(-1, 1)), 3, np.random.default_rng(0)).values.shape
    (3, 1)
    """
    if size < 1:
        raise ValueError(f"a sample of {size} rows was asked for; ask for at least 1")
    kept: list[tuple[np.ndarray, np.ndarray, Rows]] = []
    held, bound, first_row = 0, np.inf, 0
    for rows in source.chunks():
        keys = rng.random(len(rows))
        chosen = np.flatnonzero(keys < bound if rows.weights is None else (keys < bound) & (rows.weights > 0))
        if chosen.size:
            kept.append((keys[chosen], first_row + chosen, rows.take(chosen)))
            held += chosen.size
        first_row += len(rows)
        if held > 2 * size:
            keys, index, rows = _smallest(kept, size)
            kept, held, bound = [(keys, index, rows)], size, keys.max()
    if not kept:
        raise ValueError("there are no rows of positive weight: all chunks are empty")
    _, index, rows = _smallest(kept, size)
    return rows.take(np.argsort(index))


def _smallest(
    parts: list[tuple[np.ndarray, np.ndarray, Rows]], size: int
) -> tuple[np.ndarray, np.ndarray, Rows]:
    """Put parts together and keep the rows of the smallest keys; of equal ones the earliest."""
    keys, index = (np.concatenate(arrays) for arrays in list(zip(*parts, strict=True))[:2])
    rows = [part[2] for part in parts]

    def joined(name: str) -> np.ndarray | None:
        arrays = [getattr(part, name) for part in rows]
        return None if arrays[0] is None else np.concatenate(arrays)

    order = np.argsort(keys, kind="stable")[:size]
    together = Rows(*map(joined, ("values", "noise", "weights")))
    return keys[order], index[order], together.take(order)
