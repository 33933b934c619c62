"""Redshifts that are given besides the spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy import units as u

from astro_cluster.exceptions import InputError, did_you_mean
from astro_cluster.filing.members import Item
from astro_cluster.filing.naming import stem_of
from astro_cluster.spectra.filling import RedshiftOf

__all__ = ["numbers_of", "redshifts_by"]

_USUAL = ("redshift", "z")


def redshifts_by(
    given: Any, columns: Mapping[str, Any], items: Sequence[Item]
) -> tuple[RedshiftOf, str | None, str]:
    """Return what knows the redshift of a spectrum.

    Parameters
    ----------
    given : mapping, str or None
        Redshifts by identifiers or names of files; or the name of a column; or None for the column
        ``redshift`` or ``Z``, if there is one.
    columns : mapping of str to (n,) array
        From the names of the files and from the labels.
    items : sequence of Item
        The files.

    Returns
    -------
    redshift_of : callable
        Takes the row and the identifier; NaN where it does not know.
    column : str or None
        Name of the column that they are from.
    origin : str
        Where they are from, in words.

    Raises
    ------
    InputError
        If there is no such column, or something in it is no number.

    Examples
    --------
    >>> from astro_cluster.filing.sources import Container
    >>> redshift_of, _, _ = redshifts_by({"a": 2.5}, {}, [Item(Container("x/a.txt", "file"))])
    >>> redshift_of(0, "")
    2.5
    """
    if isinstance(given, Mapping):
        return _by_mapping(given, items), None, "redshift= and the files"
    name = _column(given, columns)
    if name is None:
        return (lambda row, identifier: np.nan), None, "the files"
    values = numbers_of(columns[name], name)
    return (lambda row, identifier: float(values[row])), name, f"{name} and the files"


def _by_mapping(given: Mapping[Any, Any], items: Sequence[Item]) -> RedshiftOf:
    known: dict[str, float] = {}
    for key, value in given.items():
        try:
            known[str(key)] = float(u.Quantity(value).to_value(u.one))
        except (TypeError, ValueError, u.UnitConversionError) as error:
            raise InputError(f"redshift={{{key!r}: {value!r}}} is no number: {error}") from error

    def redshift_of(row: int, identifier: str) -> float:
        name = items[row].name.replace("\\", "/")
        for key in (identifier, name.rsplit("/", 1)[-1], stem_of(name), name):
            if key in known:
                return known[key]
        return np.nan

    return redshift_of


def _column(given: Any, columns: Mapping[str, Any]) -> str | None:
    if given is None:
        found = [name for name in columns if name.lower() in _USUAL]
        return min(found, key=lambda name: _USUAL.index(name.lower())) if found else None
    if not isinstance(given, str):
        raise InputError(
            f"redshift={given!r} is neither the name of a column (of labels or pattern) nor a dict of "
            "redshifts by identifier"
        )
    if given not in columns:
        raise InputError(
            f"redshift={given!r}: neither the labels nor the pattern have this column"
            f"{did_you_mean(given, columns)} They have {', '.join(columns) or 'none'}"
        )
    return given


def numbers_of(column: Any, name: str) -> np.ndarray:
    """Return a column of redshifts as plain numbers.

    Parameters
    ----------
    column : (n,) column
        Of a table.
    name : str
        What it is called.

    Returns
    -------
    (n,) array of float64
        NaN where there is none.

    Raises
    ------
    InputError
        If it holds no numbers.

    Examples
    --------
    >>> numbers_of(np.ma.array([0.5, 1.0], mask=[False, True]), "Z")
    array([0.5, nan])
    """
    bare = column.to_value(u.one) if isinstance(column, u.Quantity) and column.unit is not None else column
    mask = np.broadcast_to(np.asarray(getattr(bare, "mask", False)), np.shape(bare))
    plain = np.ma.getdata(np.asarray(getattr(bare, "unmasked", bare)))
    if plain.ndim != 1 or plain.dtype.kind not in "iufUS":
        raise InputError(f"column {name!r} holds no redshifts: its type is {plain.dtype}, {plain.ndim} axes")
    out = np.full(plain.size, np.nan)
    try:
        out[~mask] = plain[~mask].astype(np.float64)
    except ValueError as error:
        raise InputError(f"column {name!r} holds no redshifts: {error}") from error
    return out
