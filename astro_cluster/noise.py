"""Measurement errors as numbers: read from a table, checked, and carried through scales."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable
from astropy.units.function import FunctionUnitBase

from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.scaling import Scaling
from astro_cluster.tables import float_values

__all__ = ["Noise", "difference_unit", "read_noise"]

# Catalogues give correlations to three decimals or more: so far is each from what was meant.
_ROUNDING = 5e-4
_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Noise:
    """Measurement errors of n rows in d features, in the features' units.

    Parameters
    ----------
    sigma : (n, d) array of float64
        Standard errors; 0 where a value is exact or missing.
    correlations : mapping of (int, int) to (n,) array of float64
        Correlation coefficients of pairs of features; pairs that it lacks are uncorrelated.
    """

    sigma: np.ndarray
    correlations: Mapping[tuple[int, int], np.ndarray]

    def scaled(self, slopes: np.ndarray) -> np.ndarray:
        """Carry the errors through scales, to first order.

        Parameters
        ----------
        slopes : (n, d) array
            Derivative of each scaled by its unscaled value, positive; NaN where missing.

        Returns
        -------
        (n, d) or (n, d, d) array of float64
            Standard errors; covariance matrices if there are correlations, which scales that grow
            leave as they are.

        Examples
        --------
        >>> noise = Noise(np.array([[1.0, 2.0]]), {(0, 1): np.array([0.5])})
        >>> noise.scaled(np.array([[1.0, 10.0]]))
        array([[[  1.,  10.],
                [ 10., 400.]]])
        """
        sigma = np.where(np.isnan(slopes), 0.0, self.sigma * slopes)
        if not self.correlations:
            return sigma
        n, d = sigma.shape
        covariance = np.zeros((n, d, d))
        covariance[:, np.arange(d), np.arange(d)] = sigma**2
        for (i, j), correlation in self.correlations.items():
            covariance[:, i, j] = covariance[:, j, i] = correlation * sigma[:, i] * sigma[:, j]
        return covariance


def difference_unit(unit: Any) -> u.UnitBase:
    """Return the unit of a difference of two values, in which their errors are.

    Parameters
    ----------
    unit : unit, str or None
        Unit of the values.

    Returns
    -------
    unit
        mag for mag(AB); the same for most others.

    Examples
    --------
    >>> difference_unit(u.ABmag)
    Unit("mag")
    """
    unit = u.Unit("" if unit is None else unit)
    return unit.function_unit if isinstance(unit, FunctionUnitBase) else unit


def read_noise(
    table: QTable,
    scalings: Sequence[Scaling],
    values: np.ndarray,
    *,
    errors: Mapping[str, str],
    correlations: Iterable[tuple[str, str, str]] = (),
) -> tuple[np.ndarray, Noise]:
    """Take the errors of features from a table.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Table of n rows.
    scalings : sequence of Scaling
        The d features.
    values : (n, d) array
        Their values in their units; NaN where missing.
    errors : mapping of str to str
        Column of standard errors of a column of features.
    correlations : iterable of (str, str, str)
        Two features and the column of their correlation coefficients.

    Returns
    -------
    values : (n, d) array
        The same, NaN also where the error is not known: an unknown error is an infinite
        variance, which leaves nothing of the value.
    noise : Noise
        Errors in the features' units.

    Raises
    ------
    InputError
        If a column is not numeric, of the wrong shape or unit, holds negative errors or
        correlations beyond ±1, or the correlations of a row contradict each other.

    Examples
    --------
    >>> table = QTable({"x": [1.0, 2.0] * u.deg, "x_error": [36.0, 72.0] * u.arcsec})
    >>> scaling = Scaling("x", "x", None, "deg", "none")
    >>> _, noise = read_noise(table, [scaling], np.array([[1.0], [2.0]]), errors={"x": "x_error"})
    >>> noise.sigma
    array([[0.01], [0.02]])
    """
    values = values.copy()
    sigma = np.zeros_like(values)
    for j, scaling in enumerate(scalings):
        if scaling.column in errors:
            seen = ~np.isnan(values[:, j])
            found = _standard_errors(table, errors[scaling.column], scaling, seen)
            values[np.isnan(found), j] = np.nan
            sigma[:, j] = np.where(np.isnan(values[:, j]), 0.0, found)
    place = {scaling.name: j for j, scaling in enumerate(scalings)}
    pairs = {}
    for first, second, column in correlations:
        i, j = place[first], place[second]
        pairs[i, j] = _coefficients(table, column, ~np.isnan(values[:, [i, j]]).any(axis=1))
    _make_consistent(pairs, [scaling.name for scaling in scalings])
    return values, Noise(sigma, pairs)


def _some(rows: np.ndarray) -> str:
    """Return how many rows there are, and the first of them."""
    shown = ", ".join(map(str, rows[:3])) + (", …" if len(rows) > 3 else "")
    return f"{len(rows)} row{'s' if len(rows) > 1 else ''} ({shown})"


def _standard_errors(table: QTable, name: str, scaling: Scaling, seen: np.ndarray) -> np.ndarray:
    """Return the errors of one feature in its unit, NaN where they are not known."""
    errors = _in_unit(table, name, scaling, _cells(table, name, scaling))
    negative = np.flatnonzero(seen & (errors < 0))
    if negative.size:
        raise InputError(
            f"column {name!r} has negative errors of {scaling.name!r} in {_some(negative)}, the first is "
            f"{errors[negative[0]]:g} {scaling.unit}".rstrip()
            + "; mask them or set them to NaN if they mean 'not known'"
        )
    errors[np.isinf(errors)] = np.nan
    unknown = np.flatnonzero(seen & np.isnan(errors))
    if unknown.size:
        warnings.warn(
            f"column {name!r} lacks the error of {scaling.name!r} in {_some(unknown)}; a value of unknown "
            "error says nothing, so it counts as missing there",
            AstroClusterWarning,
            stacklevel=9,
        )
    return errors


def _cells(table: QTable, name: str, scaling: Scaling) -> Any:
    """Return the part of a column of errors that belongs to one feature."""
    column = table[name]
    if not hasattr(column, "dtype") or column.dtype.kind not in "fiu":
        kind = str(getattr(column, "dtype", type(column).__name__))
        raise InputError(
            f"column {name!r} is not numeric (its type is {kind}) and cannot be the errors of "
            f"{scaling.name!r}; give the right column"
        )
    wanted = table[scaling.column].shape
    if column.shape != wanted:
        width = [shape[1] if len(shape) == 2 else shape[1:] or 1 for shape in (column.shape, wanted)]
        raise InputError(
            f"column {name!r} has {width[0]} values a row and {scaling.column!r} has {width[1]}: its errors "
            "must be as many"
        )
    return column if scaling.index is None else column[:, scaling.index]


def _in_unit(table: QTable, name: str, scaling: Scaling, column: Any) -> np.ndarray:
    """Return errors in the unit in which the values of the feature are taken."""
    values, own = float_values(column), getattr(column, "unit", None)
    feature = getattr(table[scaling.column], "unit", None)
    # A column without a unit is taken in the fitted one, one fitted without a unit as it is.
    target = scaling.unit or str(feature or "")
    if own is None:
        own = feature if feature is not None else target
        if str(own):
            warnings.warn(
                f"column {name!r} has no unit and is taken in {own}, that of {scaling.column!r}",
                AstroClusterWarning,
                stacklevel=10,
            )
    try:
        if str(own) == str(target):
            return values
        return u.Quantity(values, difference_unit(own)).to_value(difference_unit(target))
    except (u.UnitsError, TypeError, ValueError) as error:
        raise InputError(
            f"column {name!r} is in {own}, which cannot be converted to "
            f"{target or 'a pure number, as the feature is one'}: it cannot be the errors of "
            f"{scaling.name!r}; convert it, or give the right column"
        ) from error


def _coefficients(table: QTable, name: str, seen: np.ndarray) -> np.ndarray:
    """Return correlation coefficients, 0 where one of the two values is missing."""
    column = table[name]
    if not hasattr(column, "dtype") or column.dtype.kind not in "fiu" or column.shape != (len(table),):
        raise InputError(f"column {name!r} cannot be correlations: it has to have one number a row")
    values, unit = float_values(column), getattr(column, "unit", None)
    if unit is not None and str(unit):
        try:
            values = u.Quantity(values, unit).to_value("")
        except (u.UnitsError, TypeError, ValueError) as error:
            raise InputError(
                f"column {name!r} is in {unit} and cannot be correlations, which are pure numbers; "
                "give the right column"
            ) from error
    values[~seen] = 0.0
    beyond = np.flatnonzero(np.abs(values) > 1 + 1e-6)  # single precision may round 1 up
    if beyond.size:
        raise InputError(
            f"column {name!r} has correlations beyond ±1 in {_some(beyond)}, the first is "
            f"{values[beyond[0]]:g}; mask them or set them to NaN if they mean 'not known'"
        )
    unknown = np.flatnonzero(np.isnan(values))
    if unknown.size:
        warnings.warn(
            f"column {name!r} lacks the correlation in {_some(unknown)}; it counts as 0 there",
            AstroClusterWarning,
            stacklevel=9,
        )
    return np.clip(np.nan_to_num(values), -1.0, 1.0)


def _make_consistent(pairs: dict[tuple[int, int], np.ndarray], names: Sequence[str]) -> None:
    """Make sure that the correlations of each row can be those of any three or more quantities.

    What misses it by no more than the rounding of a catalogue is drawn to 0 by as much, in place.
    """
    involved = sorted({i for pair in pairs for i in pair})
    if len(involved) < 3:  # then each coefficient alone tells
        return
    place = {i: k for k, i in enumerate(involved)}
    rounded = _ROUNDING * (len(involved) - 1)  # what it may add to an eigenvalue, by Gershgorin
    n = len(next(iter(pairs.values())))
    bad: list[np.ndarray] = []
    for start in range(0, n, _CHUNK):
        rows = slice(start, start + _CHUNK)
        lowest = _lowest_eigenvalues({(place[i], place[j]): c[rows] for (i, j), c in pairs.items()})
        if lowest is None:
            continue
        bad.append(start + np.flatnonzero(lowest < -rounded))
        for coefficients in pairs.values():
            coefficients[rows] /= 1 + np.maximum(-lowest, 0.0)
    rows_bad = np.concatenate([np.array([], dtype=int), *bad])
    if rows_bad.size:
        raise InputError(
            f"the correlations between {', '.join(names[i] for i in involved)} contradict each other in "
            f"{_some(rows_bad)}: no errors can have them all (the matrix is not positive semi-definite). "
            "Mask them there, or look for a column that belongs to another pair"
        )


def _lowest_eigenvalues(pairs: Mapping[tuple[int, int], np.ndarray]) -> np.ndarray | None:
    """Return the lowest eigenvalue of each row's correlation matrix, or None if all are positive."""
    size = 1 + max(max(pair) for pair in pairs)
    matrices = np.tile(np.eye(size), (len(next(iter(pairs.values()))), 1, 1))
    for (i, j), coefficients in pairs.items():
        matrices[:, i, j] = matrices[:, j, i] = coefficients
    try:
        np.linalg.cholesky(matrices)  # many times as fast, and mostly all that is needed
    except np.linalg.LinAlgError:
        return np.linalg.eigvalsh(matrices)[:, 0]
    return None
