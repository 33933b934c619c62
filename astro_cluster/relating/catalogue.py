"""Columns of a catalogue as numbers or classes, and the features they are held against."""

from __future__ import annotations

import fnmatch
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from astropy.table import QTable

from astro_cluster.artefacts.material import latent_columns, material_of
from astro_cluster.cells import cell_texts, truths_of
from astro_cluster.columns import require, ucd_of
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.features import Features
from astro_cluster.tables import float_values

__all__ = [
    "KINDS",
    "Value",
    "features_of_rows",
    "names_in",
    "numbers_in",
    "values_of",
    "warn_of_nulls",
    "without_infinite",
    "without_rare",
]

KINDS = ("number", "class")
Kind = Literal["number", "class"]

_FEW = 10  # whole numbers of so few kinds are classes
_MANY = 50  # texts of more kinds are names
_LEAST = 10  # rows of a class that can be judged
_REDSHIFT = re.compile(r"(z|redshift|z_?(spec|phot|pca|vi|pipe|best|qn|cluster))(_\w)?|redshift_\w+", re.I)
_NULLS = (-1.0, -9.0, -99.0, -999.0, -9999.0, -99999.0)


@dataclass(frozen=True, slots=True)
class Value:
    """What a column says of each row.

    Parameters
    ----------
    name : str
        The column, or ``column[i]`` of one with several values a row.
    column : str
        The column.
    kind : {"number", "class"}
        What it is taken as.
    values : (n,) array of float
        Numbers, or numbers of classes; NaN where there is none.
    classes : list of str
        Their names; empty for numbers.
    unit : str
        Unit; empty if there is none.
    is_redshift : bool
        Whether errors over 1 + z say more than errors.
    """

    name: str
    column: str
    kind: Kind
    values: np.ndarray
    classes: list[str]
    unit: str
    is_redshift: bool = False


def names_in(table: QTable, columns: str | Iterable[str], what: str = "column") -> list[str]:
    """Return the columns that names and patterns mean, each once.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    columns : str or iterable of str
        Names and patterns; a string may hold several, separated by commas.
    what : str, optional
        What to call them if there are none.

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        If nothing is named, or a name or pattern means no column.

    Examples
    --------
    >>> names_in(QTable({"Z": [2.0], "BI_CIV": [0.0], "BI_SIIV": [0.0]}), "Z,BI_*")
    ['Z', 'BI_CIV', 'BI_SIIV']
    """
    given = columns.split(",") if isinstance(columns, str) else list(columns)
    if wrong := [name for name in given if not isinstance(name, str)]:
        raise InputError(f"{wrong[0]!r} is no name of a {what}; give texts, such as ['Z', 'M_I']")
    found: list[str] = []
    for name in (item.strip() for item in given if item.strip()):
        if name in table.colnames or not any(sign in name for sign in "*?["):
            found += require(table, name)
            continue
        matching = [own for own in table.colnames if fnmatch.fnmatchcase(own, name)]
        if not matching:
            raise InputError(f"no column matches {name!r}. The columns are: {', '.join(table.colnames[:40])}")
        found += matching
    if not found:
        raise InputError(f"no {what} was named; give names, such as 'Z,M_I'")
    return list(dict.fromkeys(found))


def numbers_in(table: QTable, name: str, null: float | None = None) -> np.ndarray:
    """Return the numbers of a column, without unit; NaN where there is none.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    name : str
        A numeric column.
    null : float, optional
        A number that means that there is none.

    Returns
    -------
    (n,) or (n, d) array of float
        What is infinite is taken for missing.

    Raises
    ------
    InputError
        If the column is not numeric, or has more than one value a row in more than one direction.

    Examples
    --------
    >>> numbers_in(QTable({"BI_CIV": [-1.0, 20.0]}), "BI_CIV", null=-1)
    array([nan, 20.])
    """
    column = table[name]
    if getattr(column, "dtype", np.dtype(object)).kind not in "fiub":
        raise InputError(f"column {name!r} holds no numbers (its type is {_type_name(column)}); leave it out")
    values = float_values(column)
    if values.ndim > 2 or values.shape[1:] == (0,):
        raise InputError(f"column {name!r} has shape {values.shape[1:]} a row; give columns of numbers")
    absent = ~np.isfinite(values)
    if null is not None:
        absent |= values == float(np.asarray(null, dtype=getattr(column, "dtype", float)))
    values[absent] = np.nan
    return values


def _type_name(column: Any) -> str:
    return str(getattr(column, "dtype", type(column).__name__))


def features_of_rows(
    table: QTable, features: Features | str | Iterable[str]
) -> tuple[np.ndarray, list[str], list[str]]:
    """Return the features of each row.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    features : "auto", `Features`, str or iterable of str
        Columns; "auto" for the coordinates of the latest embedding.

    Returns
    -------
    tuple of (n, d) array of float, list of str and list of str
        The features, NaN in rows that lack any; the columns they are of; and all columns used.

    Raises
    ------
    InputError
        If there are none, a column cannot be used, or fewer than three rows have them.

    Examples
    --------
    >>> X, columns, _ = features_of_rows(QTable({"latent": np.eye(4)}), "auto")
    >>> X.shape, columns
    ((4, 4), ['latent'])
    """
    if features is None or (isinstance(features, str) and features == "auto"):
        features = latent_columns(table)
        if not features:
            raise InputError(
                "the table has no coordinates of an embedding: embed it first (embed, which makes a column "
                "such as latent), or name columns with features= (--features)"
            )
    material = material_of(without_infinite(table, features), features, quality=False)
    return np.asarray(material.latent), material.latent_columns, material.inputs


def without_infinite(table: QTable, features: Features | str | Iterable[str]) -> QTable:
    """Return a table in whose features NaN stands for what is infinite, so that only these rows are lost.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table, which is not changed.
    features : `Features`, str or iterable of str
        Names and patterns of the columns.

    Returns
    -------
    `~astropy.table.QTable`
        The same one if nothing is infinite.

    Examples
    --------
    >>> without_infinite(QTable({"x": [1.0, np.inf]}), "x")["x"].tolist()
    [1.0, nan]
    """
    out = table
    for name in names_in(table, features.columns if isinstance(features, Features) else features, "feature"):
        column = table[name]
        if getattr(column, "dtype", np.dtype(object)).kind != "f":
            continue
        plain = np.ma.getdata(np.asarray(getattr(column, "unmasked", column)))
        if np.isinf(plain).any():
            out = QTable(table, copy=False) if out is table else out
            new = column.copy()
            new[np.isinf(plain)] = np.nan * (getattr(column, "unit", None) or 1)
            out[name] = new
    return out


def values_of(
    table: QTable,
    columns: str | Iterable[str],
    *,
    missing: Mapping[str, float] | None = None,
    kinds: Mapping[str, Kind] | None = None,
    least: int = _LEAST,
) -> list[Value]:
    """Return what columns say of each row, as numbers or as classes.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    columns : str or iterable of str
        Names and patterns.
    missing : mapping of str to float, optional
        Numbers that mean, in a column, that there is no value.
    kinds : mapping of str to {"number", "class"}, optional
        What columns are to be taken as.  Else truth values, texts, codes (UCD ``meta.code…``) and whole
        numbers of no more than 10 kinds are classes.
    least : int, optional
        Classes of fewer rows count as missing.

    Returns
    -------
    list of Value
        A column with several values a row is one for each.

    Raises
    ------
    InputError
        If a column is missing or cannot be used.

    Examples
    --------
    >>> table = QTable({"Z": [2.0, 2.4], "is_bal": [True, False]})
    >>> [(value.name, value.kind) for value in values_of(table, "Z,is_bal", least=1)]
    [('Z', 'number'), ('is_bal', 'class')]
    """
    names = names_in(table, columns)
    missing, kinds = _checked(names, missing), dict(kinds or {})
    for name, kind in kinds.items():
        if name not in names:
            raise InputError(
                f"a kind is given for {name!r}, which is none of the columns: {', '.join(names)}"
            )
        if kind not in KINDS:
            raise InputError(f"{kind!r} is no kind of column for {name!r}; give one of {', '.join(KINDS)}")
    found: list[Value] = []
    for name in names:
        kind = kinds.get(name) or _kind_of(table, name, missing.get(name))
        if kind == "class":
            found.append(_classes(table, name, missing.get(name), least))
            continue
        numbers = numbers_in(table, name, missing.get(name))
        unit = str(getattr(table[name], "unit", None) or "")
        redshift = _is_redshift(table, name)
        if numbers.ndim == 1:
            found.append(Value(name, name, "number", numbers, [], unit, redshift))
        else:
            found += [
                Value(f"{name}[{i}]", name, "number", one, [], unit, redshift)
                for i, one in enumerate(numbers.T)
            ]
    return found


def _checked(names: list[str], missing: Mapping[str, float] | None) -> dict[str, float]:
    found = dict(missing or {})
    for name, null in found.items():
        if name not in names:
            raise InputError(
                f"a missing value is given for {name!r}, which is none of the columns: {', '.join(names)}"
            )
        if isinstance(null, bool) or not isinstance(null, (int, float, np.number)):
            raise InputError(f"missing={null!r} for {name!r} is no number; give one, such as -1")
    return found


def _kind_of(table: QTable, name: str, null: float | None) -> Kind:
    column = table[name]
    if not hasattr(column, "dtype"):  # positions, times
        raise InputError(
            f"column {name!r} holds neither numbers nor classes (it is a {_type_name(column)}); leave it out"
        )
    kind = column.dtype.kind
    if len(getattr(column, "shape", (0,))) > 1:
        return "number"
    if kind in "bUSO" or ucd_of(table, name).startswith("meta.code"):
        return "class"
    if kind in "iu":
        numbers = numbers_in(table, name, null)
        return "class" if len(np.unique(numbers[~np.isnan(numbers)])) <= _FEW else "number"
    return "number"


def _is_redshift(table: QTable, name: str) -> bool:
    said = ucd_of(table, name).startswith("src.redshift") or _REDSHIFT.fullmatch(name) is not None
    return said and not getattr(table[name], "unit", None)


def _classes(table: QTable, name: str, null: float | None, least: int) -> Value:
    column = table[name]
    kind = getattr(column, "dtype", np.dtype(object)).kind
    if len(getattr(column, "shape", (0,))) > 1:
        raise InputError(f"column {name!r} has several values a row; classes are one a row")
    if kind in "fiu":
        numbers = numbers_in(table, name, null)
        nothing = np.isnan(numbers)
        texts = np.array([f"{number:g}" for number in np.where(nothing, 0, numbers)])
    else:
        cells, nothing = cell_texts(column, len(table))
        texts = cells.astype(str)
        if (truths := truths_of(texts[~nothing])) is not None:
            texts[~nothing] = np.where(truths, "True", "False")
    classes, number, counts = np.unique(texts[~nothing], return_inverse=True, return_counts=True)
    if len(classes) > _MANY and (counts >= least).sum() > _MANY:
        raise InputError(
            f"column {name!r} has {len(classes)} classes, the first {', '.join(classes[:3])}: it looks like "
            "names; leave it out"
            + (f", or take it as a number: kinds={{{name!r}: 'number'}}" if kind in "fiu" else "")
        )
    enough = counts >= least
    of = np.where(enough, np.cumsum(enough) - 1, np.nan)  # rare classes are none
    values = np.full(len(table), np.nan)
    values[~nothing] = of[number.ravel()]
    return Value(name, name, "class", values, [str(c) for c in classes[enough]], "")


def without_rare(value: Value, rows: np.ndarray, least: int = _LEAST) -> Value:
    """Return a column without the classes that too few of some rows are of.

    Parameters
    ----------
    value : Value
        Numbers, which are returned as they are, or classes.
    rows : (m,) array of int
        Rows that count.
    least : int, optional
        Classes of fewer of these rows count as missing.

    Returns
    -------
    Value

    Examples
    --------
    >>> value = Value("kind", "kind", "class", np.array([0.0, 0, 1, 2, 2]), ["A", "B", "C"], "")
    >>> without_rare(value, np.array([0, 1, 3, 4]), least=2).values
    array([ 0.,  0., nan,  1.,  1.])
    """
    if value.kind != "class":
        return value
    known = value.values[rows]
    enough = np.bincount(known[~np.isnan(known)].astype(int), minlength=len(value.classes)) >= least
    there = ~np.isnan(value.values)
    values = value.values.copy()
    values[there] = np.where(enough, np.cumsum(enough) - 1, np.nan)[values[there].astype(int)]
    classes = [name for name, kept in zip(value.classes, enough, strict=True) if kept]
    return replace(value, values=values, classes=classes)


def warn_of_nulls(values: Iterable[Value], missing: Mapping[str, float] | None, stacklevel: int = 4) -> None:
    """Warn of numbers that look as if they meant that there is no value.

    Parameters
    ----------
    values : iterable of Value
        Columns.
    missing : mapping of str to float or None
        Columns whose null was given.
    stacklevel : int, optional
        Of the warning.

    Warns
    -----
    AstroClusterWarning
        If the only negative number of columns is -1, -999 or the like, in two rows or more.

    Examples
    --------
    >>> import warnings
    >>> value = Value("BI", "BI", "number", np.array([-1.0, 20.0, -1.0]), [], "")
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     warn_of_nulls([value], None)
    >>> str(said[0].message)[55:74]
    'BI is -1 in 2 rows,'
    """
    told: dict[tuple[str, float], int] = {}
    for value in values:
        if value.kind != "number" or value.column in (missing or {}):
            continue
        negative = value.values[value.values < 0]
        if len(negative) > 1 and negative.min() == negative.max() and negative[0] in _NULLS:
            key = value.column, float(negative[0])
            told[key] = max(told.get(key, 0), len(negative))
    if not told:
        return
    words = ", ".join(f"{name} is {null:g} in {count:,} rows" for (name, null), count in told.items())
    example = ", ".join(f"{name!r}: {null:g}" for name, null in told)
    name, null = next(iter(told))
    warnings.warn(
        f"some numbers look as if they meant that there is none: {words}, and never otherwise below 0. If "
        f"so, leave these rows out with missing={{{example}}} (--missing {name}={null:g})",
        AstroClusterWarning,
        stacklevel=stacklevel,
    )
