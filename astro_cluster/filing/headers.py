"""Keys of the headers of FITS files as columns."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u

from astro_cluster.exceptions import InputError, did_you_mean

__all__ = ["DEFAULT_HEADERS", "Header", "HeaderColumn", "column_of", "header_columns", "wanted_keys"]

Header = dict[str, tuple[Any, str]]
"""Values and units (empty where unknown) by the name of the key, in capitals."""

DEFAULT_HEADERS = ("RA", "DEC")
"""Keys that are taken if they are there, and not missed if they are not."""

_NOTHING = {"", "N/A", "NA", "NAN", "NONE", "NULL", "UNDEFINED", "INDEF", "--", "-"}
_ANGLES = {"RA": "pos.eq.ra;meta.main", "DEC": "pos.eq.dec;meta.main"}
_KNOWN = {
    "REDSHIFT": ("src.redshift", ""),
    "Z": ("src.redshift", ""),
    "FILTER": ("meta.id;instr.filter", ""),
    "EXPTIME": ("time.duration;obs.exposure", "s"),
    "TELESCOP": ("meta.id;instr.tel", ""),
    "INSTRUME": ("meta.id;instr", ""),
    "OBJECT": ("meta.id;src", ""),
}


@dataclass(slots=True)
class HeaderColumn:
    """A key of the headers as a column.

    Parameters
    ----------
    name : str
        Of the column.
    key : str
        Of the headers.
    values : (n,) masked array
        One type for all; masked where a header does not have it.
    unit : str
        Empty if none is known.
    ucd : str
        What it is.
    """

    name: str
    key: str
    values: np.ma.MaskedArray
    unit: str
    ucd: str


def wanted_keys(headers: Any) -> tuple[str, ...] | None:
    """Return the keys that are meant, in capitals; None for all.

    Parameters
    ----------
    headers : str, sequence of str or None
        ``"all"``, keys (also as one text, with commas), or None for no key.

    Returns
    -------
    tuple of str or None

    Raises
    ------
    InputError
        If it is something else.

    Examples
    --------
    >>> wanted_keys("ra, dec"), wanted_keys("all")
    (('RA', 'DEC'), None)
    """
    if headers is None:
        return ()
    if isinstance(headers, str):
        if headers.strip().lower() == "all":
            return None
        headers = headers.split(",")
    try:
        keys = [key.strip().upper() for key in headers]
    except (TypeError, AttributeError):
        raise InputError(
            f"headers={headers!r} are no names of header keys; give 'all' or ('RA', 'DEC'), say"
        ) from None
    return tuple(dict.fromkeys(key for key in keys if key))


def header_columns(
    found: Sequence[Header | None], keys: Sequence[str] | None, *, noun: str = "image"
) -> list[HeaderColumn]:
    """Return header keys as columns.

    Parameters
    ----------
    found : sequence of dict or None
        The headers of n images; None where there is none.
    keys : sequence of str or None
        Keys to take, as `wanted_keys` gives them; all if None.
    noun : str, optional
        What has the headers, for messages.

    Returns
    -------
    list of HeaderColumn

    Raises
    ------
    InputError
        If a key was asked for that no image has.

    Examples
    --------
    >>> column, = header_columns([{"RA": (10.5, "")}, {"RA": ("N/A", "")}], ["RA"])
    >>> column.name, column.values.tolist(), column.unit
    ('ra', [10.5, None], 'deg')
    """
    there: dict[str, None] = {}
    for header in found:
        there.update(dict.fromkeys(header or ()))
    asked = list(there) if keys is None else [key for key in keys if _is_due(key, there, noun)]
    taken: set[str] = set()
    return [column_of(found, key, taken) for key in asked]


def _is_due(key: str, there: dict[str, None], noun: str) -> bool:
    if key not in there and key not in DEFAULT_HEADERS:
        others = f" Among their keys are {', '.join(list(there)[:20])}." if there else ""
        raise InputError(
            f"no {noun} has the header key {key!r}{did_you_mean(key, there)}{others} "
            "headers='all' takes all keys"
        )
    return key in there


def column_of(found: Sequence[Header | None], key: str, taken: set[str] | None = None) -> HeaderColumn:
    """Return one key of n headers as a column.

    Parameters
    ----------
    found : sequence of dict or None
        The headers.
    key : str
        In capitals.
    taken : set of str, optional
        Names of columns that are taken; that of the new one is added.

    Returns
    -------
    HeaderColumn
        Booleans, int64, float64 or text: whatever holds all values.  What says that there is none, such as
        N/A, is masked.

    Examples
    --------
    >>> column_of([{"N": (1, "")}, {"N": (2.5, "")}, None], "N").values.tolist()
    [1.0, 2.5, None]
    """
    pairs = [None if header is None else header.get(key) for header in found]
    values = _alike([None if pair is None else _plain(pair[0]) for pair in pairs])
    unit = next((pair[1] for pair in pairs if pair is not None and _is_unit(pair[1])), "")
    ucd, known = _KNOWN.get(key, ("meta.note" if values.dtype.kind in "bUO" else "meta.number", ""))
    if key in _ANGLES and (degrees := _in_degrees(values, key)) is not None:
        values, ucd, unit = degrees, _ANGLES[key], "deg"
    unit = "" if values.dtype.kind not in "if" else unit or known
    return HeaderColumn(_name_of(key, set() if taken is None else taken), key, values, unit, ucd)


def _name_of(key: str, taken: set[str]) -> str:
    """Return a name that every program can use in a formula."""
    name = re.sub(r"[^0-9a-z_]+", "_", key.lower()).strip("_") or "key"
    name = f"key_{name}" if name[0].isdigit() else name
    free = next(
        n for n in itertools.chain([name], map(f"{name}_{{}}".format, itertools.count(2))) if n not in taken
    )
    taken.add(free)
    return free


def _plain(value: Any) -> Any:
    """Return a value as Python has it; None if it says that there is none."""
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return None if value.strip().upper() in _NOTHING else value.strip()
    return None if "Undefined" in type(value).__name__ or value is None else str(value)


def _alike(values: Sequence[Any]) -> np.ma.MaskedArray:
    there = [value for value in values if value is not None]
    mask = np.array([value is None for value in values], dtype=bool)
    kinds = {type(value) for value in there}
    if there and kinds == {bool}:
        dtype, fill = np.dtype(bool), False
    elif there and kinds <= {int, float}:
        fits = kinds == {int} and all(-(2**63) <= value < 2**63 for value in there)
        dtype, fill = (np.dtype(np.int64), 0) if fits else (np.dtype(np.float64), np.nan)
    else:
        dtype, fill = np.dtype(np.str_), ""
        values = [value if value is None else _as_text(value) for value in values]
    return np.ma.MaskedArray(np.array([fill if v is None else v for v in values], dtype=dtype), mask=mask)


def _as_text(value: Any) -> str:
    return (
        value if isinstance(value, str) else "T" if value is True else "F" if value is False else repr(value)
    )


def _is_unit(text: str) -> bool:
    if not text:
        return False
    try:
        u.Unit(text)
    except (ValueError, TypeError):
        return False
    return True


def _in_degrees(values: np.ma.MaskedArray, key: str) -> np.ma.MaskedArray | None:
    """Return right ascension or declination in degrees; None if it is neither."""
    if values.dtype.kind in "if":
        return values.astype(float)
    if values.dtype.kind != "U":
        return None
    from astropy.coordinates import Angle

    texts = values.compressed().tolist()
    degrees = np.full(len(values), np.nan)
    # 12:34:56 is in hours for a right ascension; a text with a plain number is in degrees.
    try:
        degrees[~np.ma.getmaskarray(values)] = [
            Angle(text, u.hourangle if key == "RA" and re.search(r"[:hm ]", text.strip()) else u.deg).deg
            for text in texts
        ]
    except Exception:  # whatever a text of another kind makes of it
        return None
    return np.ma.MaskedArray(degrees, mask=np.ma.getmaskarray(values))
