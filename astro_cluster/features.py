"""From columns to numbers: the one place where units are taken off.

`Features` says which columns to take and how to treat them; `Features.fit` learns the
numbers of that treatment from a table; the `FittedFeatures` treat any table alike and go
into the record, so that a model can be put on new data years later.
"""

from __future__ import annotations

import fnmatch
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from astropy import units as u
from astropy.table import QTable

from astro_cluster.columns import require
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.noise import Noise
from astro_cluster.provenance import register_codec
from astro_cluster.scaling import SCALES, Scaling, fit_scaling
from astro_cluster.tables import float_values
from astro_cluster.uncertainties import EXACT, ErrorColumns, checked_errors, find_errors
from astro_cluster.uncertainties import from_plain as errors_from_plain
from astro_cluster.uncertainties import to_plain as errors_to_plain

__all__ = [
    "MISSING_POLICIES",
    "SCALES",
    "FeatureMatrix",
    "Features",
    "FittedFeatures",
    "Scaling",
    "as_features",
]

MISSING_POLICIES = ("marginalize", "drop", "median")

Missing = Literal["marginalize", "drop", "median"]


@dataclass(frozen=True, slots=True)
class FeatureMatrix:
    """Numbers without units, and what they stand for.

    Parameters
    ----------
    values : (n, d) array of float64
        Scaled features; NaN where missing, unless filled by the policy ``median``.
    errors : (n, d) or (n, d, d) array of float64 or None
        Standard errors, or covariance matrices, in the same scale; 0 where the value is exact or
        missing.
    mask : (n, d) array of bool
        True where the value was missing in the table, or its error was not known.
    usable : (n,) array of bool
        Rows that a method may be given.
    names : tuple of str
        Name of each feature.
    units : tuple of str
        Unit that each feature had before scaling; empty if none.
    """

    values: np.ndarray
    errors: np.ndarray | None
    mask: np.ndarray
    usable: np.ndarray
    names: tuple[str, ...]
    units: tuple[str, ...]

    def used(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the rows that a method may be given, and their errors.

        Returns
        -------
        values : (m, d) array of float64
            Scaled features.
        errors : (m, d) or (m, d, d) array of float64, or None
            Their errors.
        """
        if self.usable.all():  # covariance matrices are large: no copy without need
            return self.values, self.errors
        return self.values[self.usable], None if self.errors is None else self.errors[self.usable]


@dataclass(frozen=True)
class FittedFeatures:
    """A treatment of columns with its numbers: the recipe that the record keeps.

    Parameters
    ----------
    scalings : tuple of Scaling
        One for each feature.
    missing : {"marginalize", "drop", "median"}
        What to do with missing values.
    errors : ErrorColumns, optional
        Columns that hold the features' measurement errors.
    """

    scalings: tuple[Scaling, ...]
    missing: Missing
    errors: ErrorColumns = EXACT

    def __post_init__(self) -> None:
        if self.errors and self.missing == "median":
            raise InputError(
                "errors do not go with missing='median': a value that was put in has no error that could be "
                "given, and would count as measured exactly. Use missing='marginalize', which integrates "
                "missing values out, or 'drop'"
            )

    @property
    def columns(self) -> list[str]:
        """Columns of the table that hold the features, each once."""
        return list(dict.fromkeys(scaling.column for scaling in self.scalings))

    @property
    def inputs(self) -> list[str]:
        """Columns of the table that are used, those of errors included."""
        return [*self.columns, *self.errors.columns]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(scaling.name for scaling in self.scalings)

    def transform(self, table: QTable) -> FeatureMatrix:
        """Treat a table as the one that was fitted.

        Parameters
        ----------
        table : `~astropy.table.QTable`
            Table of n rows with the same columns, in units that can be converted.

        Returns
        -------
        FeatureMatrix
            n rows in the table's order.

        Raises
        ------
        InputError
            If a column is missing, has a unit that cannot be converted, is not numeric or
            holds infinite values, or errors cannot be errors (they are negative, say).

        Examples
        --------
        >>> fitted = Features(["x"], scale="minmax").fit(QTable({"x": [0.0, 2.0]}))
        >>> fitted.transform(QTable({"x": [1.0, 3.0]})).values
        array([[0.5], [1.5]])
        """
        require(table, self.columns)
        self._require_errors(table)
        raw = np.column_stack([_numbers(table, s.column, s.index, s.unit) for s in self.scalings])
        return self._scale(*_with_errors(table, self.errors, self.scalings, raw))

    def _require_errors(self, table: QTable) -> None:
        try:
            require(table, self.errors.columns)
        except InputError as error:
            raise InputError(
                f"the features were fitted with their errors, and {error}. Where values are exact, give "
                "a column of zeros"
            ) from error

    def _scale(self, raw: np.ndarray, noise: Noise | None) -> FeatureMatrix:
        mask = np.isnan(raw)
        if self.missing == "drop":
            # What will not be used need not be in the domain of a logarithm.
            raw = np.where(mask.any(axis=1, keepdims=True), np.nan, raw)
        outside = np.column_stack([s.outside(raw[:, j]) for j, s in enumerate(self.scalings)])
        raw = np.where(outside, np.nan, raw)
        values = np.column_stack([s(raw[:, j]) for j, s in enumerate(self.scalings)])
        errors = None
        if noise is not None:
            errors = noise.scaled(np.column_stack([s.slope(raw[:, j]) for j, s in enumerate(self.scalings)]))
        if self.missing == "median":
            values = np.where(mask, [s.fill for s in self.scalings], values)
        usable = ~mask.any(axis=1) if self.missing == "drop" else np.ones(len(raw), dtype=bool)
        if outside.any():
            lost = np.flatnonzero(outside.any(axis=1))
            names = ", ".join(s.name for j, s in enumerate(self.scalings) if outside[:, j].any())
            warnings.warn(
                f"{len(lost)} rows, the first of them row {lost[0]}, have values of {names} that are outside "
                "the fitted logarithm; they are left out (masked)",
                AstroClusterWarning,
                stacklevel=5,
            )
            usable &= ~outside.any(axis=1)
        return FeatureMatrix(values, errors, mask, usable, self.names, tuple(s.unit for s in self.scalings))

    def to_plain(self) -> dict[str, Any]:
        """Return plain JSON values that `from_plain` takes.

        Returns
        -------
        dict
        """
        plain = {"missing": self.missing, "scalings": [asdict(scaling) for scaling in self.scalings]}
        return plain | ({"errors": self.errors.to_plain()} if self.errors else {})

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> FittedFeatures:
        """Rebuild from plain values, which may come from a file.

        Parameters
        ----------
        plain : mapping
            What `to_plain` gave.

        Returns
        -------
        FittedFeatures

        Raises
        ------
        InputError
            If the values are not such a recipe.
        """
        try:
            scalings = tuple(Scaling(**item) for item in plain["scalings"])
            if not scalings or any(s.scale not in SCALES or not s.factor > 0 for s in scalings):
                raise ValueError("a scale is not known or has no width")
            errors = plain.get("errors")  # records of the first versions have none
            columns = EXACT if errors is None else ErrorColumns.from_plain(errors, scalings)
            return cls(scalings, _checked_missing(plain["missing"]), columns)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"the stored recipe of the features is damaged: {error}") from error


def _checked_missing(missing: str) -> Missing:
    if missing not in MISSING_POLICIES:
        raise InputError(f"missing={missing!r} is not known; give one of {', '.join(MISSING_POLICIES)}")
    return missing  # type: ignore[return-value]


def _with_errors(
    table: QTable, columns: ErrorColumns, scalings: Sequence[Scaling], raw: np.ndarray
) -> tuple[np.ndarray, Noise | None]:
    """Return values, NaN where their error is not known, and their errors if there are any."""
    return columns.read(table, scalings, raw) if columns else (raw, None)


def _complete(raw: np.ndarray, bases: Sequence[Scaling]) -> np.ndarray:
    """Tell which rows have all features, and make sure that they are enough."""
    complete = ~np.isnan(raw).any(axis=1)
    if complete.sum() < min(2, len(raw)):
        holes = np.isnan(raw).sum(axis=0)
        worst = ", ".join(f"{bases[j].name} ({holes[j]})" for j in np.argsort(-holes)[:5])
        raise InputError(
            f"{'1 row' if complete.any() else 'no row'} of {len(raw)} has all features, so "
            f"missing='drop' leaves nothing to learn from; most values are missing in {worst}. Leave "
            "these out or use missing='marginalize' or 'median'"
        )
    return complete


def _shape_of(table: QTable, column: str) -> tuple[int, ...]:
    return tuple(getattr(table[column], "shape", (len(table),)))[1:]


def _type_name(column: Any) -> str:
    return str(getattr(column, "dtype", type(column).__name__))


def _numbers(table: QTable, name: str, index: int | None, unit: str | None) -> np.ndarray:
    """Return a column's numbers in a unit, NaN where masked; or say why they cannot be had."""
    column = table[name]
    if not hasattr(column, "dtype") or column.dtype.kind not in "fiub":
        raise InputError(
            f"column {name!r} is not numeric (its type is {_type_name(column)}); "
            "features are numbers: leave it out or give it codes"
        )
    width = _shape_of(table, name)
    if (index is None) != (width == ()) or (index is not None and index >= width[0]):
        raise InputError(
            f"column {name!r} has {width[0] if width else 1} values a row, not as many as the feature "
            f"{name if index is None else f'{name}[{index}]'} needs; give the columns that were fitted"
        )
    if index is not None:
        column = column[:, index]
    own = getattr(column, "unit", None)
    if unit is not None and bool(unit) != (own is not None and str(own) != ""):
        told = (
            f"has no unit and is taken in {unit}" if unit else f"is in {own}, but was fitted without a unit"
        )
        warnings.warn(f"column {name!r} {told}", AstroClusterWarning, stacklevel=6)
    elif unit and str(own) != unit:
        try:
            column = (float_values(column) * own).to(u.Unit(unit))
        except (u.UnitsError, TypeError, ValueError) as error:
            raise InputError(
                f"column {name!r} is in {own}, which cannot be converted to {unit}, the unit of the fitted "
                "feature; convert it, or give the right column"
            ) from error
    values = float_values(column)
    infinite = np.flatnonzero(np.isinf(values))
    if infinite.size:
        raise InputError(
            f"column {name!r} has {infinite.size} infinite values, the first in row {infinite[0]}; mask them "
            "or set them to NaN if they mean 'not measured'"
        )
    return values


def _lookup(mapping: Mapping[str, Any], column: str) -> Any:
    """Return the entry of that very name, or of the first pattern that fits, or None."""
    if column in mapping:
        return mapping[column]
    return next((value for key, value in mapping.items() if fnmatch.fnmatchcase(column, key)), None)


def _unit_text(name: str, unit: Any) -> str:
    """Return a unit as text, known to be one that can be converted."""
    try:
        return "" if str(unit) == "" else str(u.Unit(str(unit)))
    except ValueError as error:
        raise InputError(
            f"the unit {str(unit)!r} of column {name!r} is not understood; give the column one that is: "
            f"table[{name!r}].unit = …"
        ) from error


def _expand(table: QTable, patterns: Sequence[str]) -> list[str]:
    """Return the columns that names and globs mean, each once, in the order given."""
    names: list[str] = []
    for pattern in patterns:
        if pattern in table.colnames or not any(c in pattern for c in "*?["):
            require(table, pattern)
            names.append(pattern)
            continue
        found = [name for name in table.colnames if fnmatch.fnmatchcase(name, pattern)]
        if not found:
            raise InputError(
                f"no column matches {pattern!r}. The columns are: {', '.join(table.colnames[:40])}"
            )
        names.extend(found)
    return list(dict.fromkeys(names))


@dataclass(frozen=True)
class Features:
    """Which columns to use as features, and how.

    Parameters
    ----------
    columns : str or sequence of str
        Names or patterns (``"var_*"``); a string may hold several, separated by commas.  A
        column with d values a row gives d features.
    scale : str or mapping of str to str, optional
        One of ``"none"``, ``"log"`` (natural logarithm), ``"lognorm"`` (ln(x + smallest
        non-zero value / 10), then to 0 … 1), ``"minmax"`` (to 0 … 1), ``"standard"`` (mean
        0, variance 1), ``"robust"`` (median 0, quartile distance 1); or one a name or
        pattern, the rest as they are.
    missing : {"marginalize", "drop", "median"}, optional
        What to do with missing values: integrate them out (only our mixture can), leave the
        rows out, or put the column's median.  If not given, what suits the method:
        marginalize for our mixture, drop for others.
    units : mapping of str to unit, optional
        Units that columns must be converted to; else each keeps its own.
    errors : "auto" or mapping, optional
        Measurement errors, which our mixture takes into account: the column of the standard
        errors for each column of features that has them, ``{"parallax": "parallax_error"}``, and
        the column of the correlations for pairs, ``{("ra", "dec"): "ra_dec_corr"}``; ``"auto"``
        looks for columns that are named as catalogues do, or have the UCD ``stat.error;…`` of the
        feature.  What has no errors counts as exact.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> import astropy.units as u
    >>> t = QTable({"pmra": [1.0, 2.0, 3.0] * u.mas / u.yr, "flux": [0.0, 1.0, 100.0] * u.mJy})
    >>> fitted = Features(["pm*", "flux"], scale={"flux": "lognorm", "pm*": "standard"}).fit(t)
    >>> fitted.transform(t).units
    ('mas / yr', 'mJy')
    """

    columns: str | Sequence[str]
    scale: str | Mapping[str, str] = field(default="none", kw_only=True)
    missing: Missing | None = field(default=None, kw_only=True)
    units: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    errors: str | Mapping[Any, str] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        given = self.columns.split(",") if isinstance(self.columns, str) else self.columns
        names = tuple(str(name).strip() for name in given if str(name).strip())
        if not names:
            raise InputError("no feature was named: give column names or patterns such as 'var_*'")
        object.__setattr__(self, "columns", names)
        scales = [self.scale] if isinstance(self.scale, str) else list(self.scale.values())
        for scale in scales:
            if scale not in SCALES:
                raise InputError(f"scale {scale!r} is not known; give one of {', '.join(SCALES)}")
        if self.missing is not None:
            _checked_missing(self.missing)
        object.__setattr__(self, "errors", checked_errors(self.errors))

    def scale_of(self, column: str) -> str:
        """Return the scale of a column.

        Parameters
        ----------
        column : str
            Name of a column.

        Returns
        -------
        str
            Of a mapping, the entry of that very name, or of the first pattern that fits.
        """
        return self.scale if isinstance(self.scale, str) else _lookup(self.scale, column) or "none"

    def fit(self, table: QTable, *, missing: Missing = "marginalize") -> FittedFeatures:
        """Learn the numbers of the scales from a table.

        Parameters
        ----------
        table : `~astropy.table.QTable`
            Table of n rows.
        missing : {"marginalize", "drop", "median"}, optional
            Policy to use if these features name none.

        Returns
        -------
        FittedFeatures

        Raises
        ------
        InputError
            If the table has no rows, a column is missing, not numeric, constant, wholly
            masked or infinite somewhere, a unit cannot be converted, errors cannot be errors
            (they are negative, say), or with the policy ``drop`` no row is left.
        """
        return self._fit(table, missing, None)[0]

    def fit_transform(
        self, table: QTable, *, missing: Missing = "marginalize", rows: np.ndarray | None = None
    ) -> tuple[FittedFeatures, FeatureMatrix]:
        """Learn the numbers of the scales from a table and treat that table, reading it once.

        Parameters
        ----------
        table : `~astropy.table.QTable`
            Table of n rows.
        missing : {"marginalize", "drop", "median"}, optional
            Policy to use if these features name none.
        rows : (n,) array of bool, optional
            Rows to learn the scales from; all if not given.

        Returns
        -------
        fitted : FittedFeatures
            What `fit` gives.
        matrix : FeatureMatrix
            What its `FittedFeatures.transform` gives, n rows.

        Raises
        ------
        InputError
            As `fit`.

        Examples
        --------
        >>> table = QTable({"x": [1.0, 3.0], "x_error": [0.1, 0.2]})
        >>> _, matrix = Features("x", scale="minmax", errors="auto").fit_transform(table)
        >>> matrix.errors
        array([[0.05], [0.1 ]])
        """
        fitted, raw, noise = self._fit(table, missing, rows)
        return fitted, fitted._scale(raw, noise)

    def _fit(
        self, table: QTable, missing: Missing, rows: np.ndarray | None
    ) -> tuple[FittedFeatures, np.ndarray, Noise | None]:
        if len(table) == 0:
            raise InputError("the table has no rows; there is nothing to take features from")
        policy = self.missing or _checked_missing(missing)
        bases, values = self._collect(table)
        # Scales are learned last: where an error is not known, the value is none.
        plain = FittedFeatures(tuple(bases), policy, find_errors(table, bases, self.errors))
        measured, (values, noise) = values, _with_errors(table, plain.errors, bases, values)
        lost = ~np.isnan(measured).all(axis=0) & np.isnan(values).all(axis=0)
        if lost.any():
            raise InputError(
                f"the error of {bases[lost.argmax()].name!r} is not known in any row; leave it out of "
                "errors, and the values count as exact"
            )
        raw = values if rows is None else np.where(rows[:, np.newaxis], values, np.nan)
        if policy == "drop":
            # What the method never sees must not shift its scales.
            raw = np.where(_complete(raw, bases)[:, np.newaxis], raw, np.nan)
        scalings = tuple(fit_scaling(raw[:, j], base) for j, base in enumerate(bases))
        return FittedFeatures(scalings, policy, plain.errors), values, noise

    def _collect(self, table: QTable) -> tuple[list[Scaling], np.ndarray]:
        bases: list[Scaling] = []
        columns: list[np.ndarray] = []
        names = _expand(table, self.columns)
        self._check_keys(names)
        for name in names:
            own = getattr(table[name], "unit", None)
            asked = _lookup(self.units, name)
            unit = _unit_text(name, own or "" if asked is None else asked)
            if asked is not None and own is None:
                raise InputError(
                    f"column {name!r} has no unit, but the features ask for {unit}; give it one: "
                    f"table[{name!r}].unit = …"
                )
            shape = _shape_of(table, name)
            if shape == (0,):
                raise InputError(f"column {name!r} has no values: its rows have the width 0")
            if len(shape) > 1:
                raise InputError(f"column {name!r} has shape {shape} a row; embed it first (embed)")
            for index in range(shape[0]) if shape else [None]:
                feature = name if index is None else f"{name}[{index}]"
                bases.append(Scaling(feature, name, index, unit, self.scale_of(name)))
                columns.append(_numbers(table, name, index, unit))
        return bases, np.column_stack(columns)

    def _check_keys(self, names: Sequence[str]) -> None:
        """Make sure that no scale and no unit is for a column that is not there: a slip of the pen."""
        for what, keys in (("scale", self.scale), ("unit", self.units)):
            for key in keys if isinstance(keys, Mapping) else ():
                if not any(name == key or fnmatch.fnmatchcase(name, key) for name in names):
                    raise InputError(
                        f"a {what} is given for {key!r}, which is none of the features: {', '.join(names)}"
                    )

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for the record.

        Returns
        -------
        dict
        """
        scale = self.scale if isinstance(self.scale, str) else dict(self.scale)
        units = {name: str(unit) for name, unit in self.units.items()}
        plain = {"columns": list(self.columns), "scale": scale, "missing": self.missing, "units": units}
        return plain | ({} if self.errors is None else {"errors": errors_to_plain(self.errors)})


def as_features(features: Features | str | Iterable[str]) -> Features:
    """Return what a step was given as `Features`.

    Parameters
    ----------
    features : Features, str or iterable of str
        Ready features, or names and patterns to take as they are.

    Returns
    -------
    Features

    Raises
    ------
    InputError
        If nothing is named.

    Examples
    --------
    >>> as_features("hard_*,bb_kt").columns
    ('hard_*', 'bb_kt')
    """
    if isinstance(features, Features):
        return features
    return Features(features if isinstance(features, str) else list(features))


def _from_plain(plain: Any) -> Features:
    if not isinstance(plain, dict) or not set(plain) <= {"columns", "scale", "missing", "units", "errors"}:
        raise TypeError("no features")
    if not isinstance(plain["columns"], list) or not isinstance(plain.get("units", {}), dict):
        raise TypeError("no features")
    return Features(**{**plain, "errors": errors_from_plain(plain.get("errors"))})


register_codec("features", Features, Features.to_plain, _from_plain)
