"""What stands in the cells of a column, as text."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["cell_texts", "flags_of", "truths_of"]

_TRUTHS = {"true": True, "yes": True, "false": False, "no": False}


def cell_texts(column: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells of a column as text, and which of them say nothing.

    Parameters
    ----------
    column : object
        A column with one value a row.
    n : int
        Number of its rows.

    Returns
    -------
    tuple of (n,) array of object and (n,) array of bool
        The texts without blanks around them, and where a cell is masked, empty, None or NaN.

    Examples
    --------
    >>> texts, nothing = cell_texts(np.array(["QSO ", ""]), 2)
    >>> texts.tolist(), nothing.tolist()
    (['QSO', ''], [False, True])
    """
    mask = np.array(np.broadcast_to(getattr(column, "mask", False), (n,)))
    data = np.ma.getdata(np.asarray(getattr(column, "unmasked", column)))
    if data.dtype.kind == "S":
        data = np.char.decode(data, "utf-8", "replace")
    items = data.tolist()
    nothing = [item is None or (isinstance(item, float) and item != item) for item in items]
    text = np.array([str(item).strip() for item in items], dtype=object)
    return text, mask | np.array(nothing, dtype=bool) | (text == "")


def truths_of(texts: np.ndarray) -> np.ndarray | None:
    """Return the truth values that are written as words, as CSV files have them.

    Parameters
    ----------
    texts : (n,) array of object or str
        What stands in the cells.

    Returns
    -------
    (n,) array of bool, or None
        None if there is no text, or any is another word than true, false, yes or no; capitals do not
        matter.

    Examples
    --------
    >>> truths_of(np.array(["True", "false", "TRUE"])).tolist()
    [True, False, True]
    >>> truths_of(np.array(["True", "perhaps"])) is None
    True
    """
    found = [_TRUTHS.get(str(text).strip().lower()) for text in texts]
    return np.array(found, dtype=bool) if found and None not in found else None


def flags_of(column: Any) -> np.ndarray:
    """Return the truth values of a column that says what is bad, whichever file it was in.

    Parameters
    ----------
    column : (n,) array or column
        Truth values, numbers, or words, as CSV files have them.

    Returns
    -------
    (n,) array of bool
        True also where the column is masked, or has any other word than false and no.

    Examples
    --------
    >>> flags_of(np.ma.array([True, False, False], mask=[False, False, True])).tolist()
    [True, False, True]
    >>> flags_of(np.array(["True", "False"])).tolist()
    [True, False]
    """
    values = np.ma.asarray(column)
    if values.dtype.kind not in "OSU":
        return values.filled(True).astype(bool)
    texts, empty = cell_texts(column, len(values))
    return empty | np.array([_TRUTHS.get(text.lower()) is not False for text in texts], dtype=bool)
