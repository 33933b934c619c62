"""What stands in the cells of a column, as text."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["cell_texts"]


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
