"""Which rows of a table a figure shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.table import QTable

from astro_cluster.cells import cell_texts
from astro_cluster.columns import require
from astro_cluster.exceptions import InputError
from astro_cluster.plotting.parts import one_a_row

__all__ = ["checked_rows", "names_of_rows", "ordered_rows", "spread_rows"]


def checked_rows(rows: Sequence[int] | np.ndarray, usable: np.ndarray, what: str) -> np.ndarray:
    """Return the rows that a caller asked for.

    Parameters
    ----------
    rows : sequence of int
        Counted from 0, from the end if negative.
    usable : (n,) array of bool
        Which rows have something to show.
    what : str
        What that is.

    Returns
    -------
    (m,) array of int

    Raises
    ------
    InputError
        If they are no rows of the table, or one has nothing to show.

    Examples
    --------
    >>> checked_rows([0, -1], np.ones(3, bool), "image").tolist()
    [0, 2]
    """
    found = np.atleast_1d(np.asarray(rows))
    if found.ndim != 1 or found.dtype.kind not in "iu" or not found.size:
        raise InputError("rows= are the numbers of rows, counted from 0, such as [0, 5, 7]")
    outside = found[(found < -len(usable)) | (found >= len(usable))]
    if len(outside):
        raise InputError(f"rows= go up to {len(usable) - 1}, and {int(outside[0])} was asked for")
    found = found % len(usable)
    if not usable[found].all():
        raise InputError(f"row {int(found[~usable[found]][0])} has no {what} that can be used")
    return found


def spread_rows(
    table: QTable, usable: np.ndarray, n: int, *, by: str | None = None, what: str = "image"
) -> np.ndarray:
    """Return rows from the best to the worst, or spread over the table.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    usable : (m,) array of bool
        Which rows have something to show.
    n : int
        How many rows at most.
    by : str, optional
        A column that is least for the best.
    what : str, optional
        What the rows have to show.

    Returns
    -------
    (k,) array of int

    Raises
    ------
    InputError
        If none is to be shown, or no row has anything.

    Examples
    --------
    >>> t = QTable({"error": [3.0, 1.0, 2.0, 9.0]})
    >>> spread_rows(t, np.ones(4, bool), 3, by="error").tolist()
    [1, 0, 3]
    """
    if n < 1:
        raise InputError(f"n={n} shows nothing; give 1 or more")
    rows = np.flatnonzero(usable)
    if not rows.size:
        raise InputError(f"no row of the table has a usable {what}")
    if by is not None:
        values = one_a_row(table, by)[rows]
        rows = rows[np.argsort(values, kind="stable")][: max(int(np.isfinite(values).sum()), 1)]
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(int))]


def ordered_rows(table: QTable, usable: np.ndarray, order: str | None) -> np.ndarray:
    """Return the usable rows, in the order of a column.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    usable : (n,) array of bool
        Which rows have something to show.
    order : str or None
        A column whose smallest values come first; with a minus its largest; None for the order of
        the table.

    Returns
    -------
    (m,) array of int
        Rows without a value come last.

    Raises
    ------
    InputError
        If there is no such column, or it has no numbers.

    Examples
    --------
    >>> t = QTable({"score": [1.0, 3.0, 2.0]})
    >>> ordered_rows(t, np.ones(3, bool), "-score").tolist()
    [1, 2, 0]
    """
    rows = np.flatnonzero(usable)
    if order is None:
        return rows
    falling = order.startswith("-") and order not in table.colnames
    values = one_a_row(table, require(table, order[1:] if falling else order)[0])[rows]
    values = np.nan_to_num(-values if falling else values, nan=np.inf, posinf=np.inf, neginf=-np.inf)
    return rows[np.argsort(values, kind="stable")]


def names_of_rows(
    table: QTable, rows: np.ndarray, labels: str | None, candidates: Sequence[str]
) -> list[str]:
    """Return what the rows are called.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    rows : (m,) array of int
        Which rows.
    labels : str or None
        A column with one value a row.
    candidates : sequence of str
        Columns that are tried if none is given.

    Returns
    -------
    list of str
        The number of the row where there is no name.

    Raises
    ------
    InputError
        If there is no such column, or it has several values a row.

    Examples
    --------
    >>> names_of_rows(QTable({"source_id": ["a", ""]}), np.array([0, 1]), None, ["name", "source_id"])
    ['a', 'row 1']
    """
    if labels is not None:
        require(table, labels)
    name = labels or next((name for name in candidates if name in table.colnames), None)
    if name is None:
        return [f"row {row}" for row in rows.tolist()]
    if getattr(table[name], "shape", (0,))[1:]:
        raise InputError(f"column {name!r} has several values a row; names are one a row")
    part = table[name][rows]
    if getattr(part, "dtype", np.dtype(object)).kind == "f":
        values = one_a_row(table[[name]], name)[rows].tolist()
        return [f"{value:.4g}" if value == value else "–" for value in values]
    texts, nothing = cell_texts(part, len(rows))
    return [
        f"row {row}" if empty else text
        for row, text, empty in zip(rows.tolist(), texts, nothing, strict=True)
    ]
