"""What the parameters of SAMP messages mean, looked at before anything is done with them.

A message may come from any program on the desktop.  Its parameters are numbers written as
text, and the names of tables; they are never evaluated, and no file is opened here.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

__all__ = [
    "MessageError",
    "OtherTableError",
    "is_same_place",
    "numbers_to_texts",
    "row_of",
    "rows_of",
    "sky_of",
    "text_of",
]

_LONGEST = 20  # letters of a whole number
_LONGEST_TEXT = 10_000


class MessageError(ValueError):
    """A message cannot be used; the text may be shown to its sender."""


class OtherTableError(MessageError):
    """A message is about a table that is none of ours: nothing to warn of."""


def text_of(params: dict[str, Any], name: str) -> str:
    """Return a parameter that is a text.

    Parameters
    ----------
    params : dict
        As they came.
    name : str
        Which.

    Returns
    -------
    str
        Empty if there is none.

    Raises
    ------
    MessageError
        If it is something else.

    Examples
    --------
    >>> text_of({"table-id": "stars"}, "table-id"), text_of({}, "url")
    ('stars', '')
    """
    found = params.get(name, "")
    if not isinstance(found, str) or len(found) > _LONGEST_TEXT:
        raise MessageError(f"the parameter {name} is no text")
    return found


def rows_of(params: dict[str, Any], n_rows: int) -> np.ndarray:
    """Return the rows of a ``table.select.rowList``.

    Parameters
    ----------
    params : dict
        As they came.
    n_rows : int
        Length of the table.

    Returns
    -------
    (m,) array of int
        Each from 0 to ``n_rows - 1``.

    Raises
    ------
    MessageError
        If one is anything else: then the whole list is none.

    Examples
    --------
    >>> rows_of({"row-list": ["0", "4"]}, 5)
    array([0, 4])
    """
    found = params.get("row-list")
    if not isinstance(found, list):
        raise MessageError("the parameter row-list is no list")
    if not found:
        return np.empty(0, dtype=np.intp)
    if not all(type(one) is str for one in found):
        raise MessageError("a row in row-list is no text")
    if max(map(len, found)) > _LONGEST:
        raise MessageError("a row in row-list is no whole number")
    joined = "".join(found)
    # Faster than a look at each: all are digits, and none is empty.
    if not (joined.isascii() and joined.isdigit() and all(found)):
        raise MessageError("a row in row-list is no whole number")
    rows = np.array([*map(int, found)], dtype=object if max(map(len, found)) > 18 else np.int64)
    if rows.max() >= n_rows:
        raise MessageError(f"row-list has the row {rows.max()}, and the table has {n_rows} rows (from 0)")
    return rows.astype(np.intp)


def row_of(params: dict[str, Any], n_rows: int) -> int:
    """Return the row of a ``table.highlight.row``.

    Parameters
    ----------
    params : dict
        As they came.
    n_rows : int
        Length of the table.

    Returns
    -------
    int
        From 0 to ``n_rows - 1``.

    Raises
    ------
    MessageError
        If it is anything else.

    Examples
    --------
    >>> row_of({"row": "3"}, 5)
    3
    """
    found = text_of(params, "row")
    if not (found.isascii() and found.isdigit() and len(found) <= _LONGEST):
        raise MessageError("the parameter row is no whole number")
    if int(found) >= n_rows:
        raise MessageError(f"there is no row {int(found)}: the table has {n_rows} rows (from 0)")
    return int(found)


def sky_of(params: dict[str, Any]) -> tuple[float, float]:
    """Return the position of a ``coord.pointAt.sky``.

    Parameters
    ----------
    params : dict
        As they came.

    Returns
    -------
    ra, dec : float
        ICRS, in degrees.

    Raises
    ------
    MessageError
        If it is none.

    Examples
    --------
    >>> sky_of({"ra": "83.8", "dec": "-5.4"})
    (83.8, -5.4)
    """
    try:
        ra, dec = (float(text_of(params, name)[:40]) for name in ("ra", "dec"))
    except MessageError:
        raise
    except ValueError as error:
        raise MessageError("ra and dec are no numbers") from error
    if not (math.isfinite(ra) and -360 <= ra <= 360 and -90 <= dec <= 90):
        raise MessageError("ra and dec are no position")
    return ra, dec


def numbers_to_texts(rows: np.ndarray) -> list[str]:
    """Return whole numbers as SAMP has them.

    Parameters
    ----------
    rows : (m,) array of int
        Not negative.

    Returns
    -------
    list of str

    Examples
    --------
    >>> numbers_to_texts(np.array([0, 12]))
    ['0', '12']
    """
    return [*map(str, rows.tolist())]


def is_same_place(url: str, path: Path) -> bool:
    """Tell whether an address is that of a file.

    Parameters
    ----------
    url : str
        As another program writes it: TOPCAT has ``file:/home/me/t.vot``, DS9
        ``file://localhost/home/me/t.vot``.
    path : path
        Absolute.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_same_place("file:/data/my%20t.vot", Path("/data/my t.vot"))
    True
    """
    try:
        parts = urlsplit(url)
        if parts.scheme != "file" or parts.netloc not in ("", "localhost", "127.0.0.1"):
            return False
        given = unquote(parts.path, errors="surrogateescape")
    except ValueError:
        return False
    return given == path.as_posix() or given.lstrip("/") == path.as_posix().lstrip("/")
