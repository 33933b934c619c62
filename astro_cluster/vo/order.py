"""The numbers of rows, and whether the rows of a table still have those that they had."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_cluster.exceptions import InputError

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["RowOrder", "row_numbers"]

_MOST_TRIED = 8


class RowOrder:
    """Remembers in which order the rows of a table are, by the column that tells most of them apart.

    Other programs know rows by their numbers only, which a ``table.sort()`` makes wrong.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        As it was sent.
    """

    def __init__(self, table: QTable) -> None:
        self._rows, self._name = len(table), ""
        most = 1
        usable = ((name, found) for name in table.colnames if (found := _values(table[name])) is not None)
        for _, (name, values) in zip(range(_MOST_TRIED), usable, strict=False):
            if (different := len(np.unique(values))) > most:
                most, self._name, self._sums = different, name, _sums(values)
            if different == self._rows:
                break

    def problem(self, table: QTable) -> str:
        """Say what has happened to the rows.

        Values that were changed, and columns that came or went, are no problem.

        Parameters
        ----------
        table : `~astropy.table.QTable`
            The same table, later.

        Returns
        -------
        str
            Empty if they are where they were, as far as can be told.

        Examples
        --------
        >>> from astropy.table import QTable
        >>> table = QTable({"x": [3.0, 1.0, 2.0]})
        >>> order = RowOrder(table)
        >>> table.sort("x")
        >>> order.problem(table)
        'the rows of the table are in another order than when it was linked'
        """
        if len(table) != self._rows:
            return f"the table has {len(table):,} rows, and had {self._rows:,} when it was linked"
        values = _values(table[self._name]) if self._name in table.colnames else None
        if values is None:
            return ""
        order, contents = _sums(values)
        if contents == self._sums[1] and order != self._sums[0]:
            return "the rows of the table are in another order than when it was linked"
        return ""


def row_numbers(rows: Any, n_rows: int) -> np.ndarray:
    """Return the numbers of rows that a mask or a list of numbers means.

    Parameters
    ----------
    rows : (n,) array of bool, or (m,) array of int
        What is masked is not meant.
    n_rows : int
        Length of the table.

    Returns
    -------
    (m,) array of int

    Raises
    ------
    InputError
        If it is neither.

    Examples
    --------
    >>> row_numbers([False, True, True], 3)
    array([1, 2])
    """
    given = np.ma.asarray(rows)
    if given.ndim == 1:  # what is masked is not meant; 0 in its place would be a row
        given = given.filled(False) if given.dtype.kind == "b" else given.compressed()
    if given.ndim != 1 or (given.dtype.kind not in "biu" and given.size):
        raise InputError(
            "rows= takes a mask (n,) of bool or the numbers of rows; to select by a column, give "
            'table["cluster"] == 3'
        )
    if given.dtype.kind == "b":
        if len(given) != n_rows:
            raise InputError(f"the mask has {len(given):,} values, and the table has {n_rows:,} rows")
        return np.flatnonzero(given)
    bad = given[(given < 0) | (given >= n_rows)] if given.size else given
    if bad.size:
        raise InputError(f"there is no row {bad[0]}: the table has {n_rows:,} rows, counted from 0")
    return given.astype(np.intp)


def _values(column: Any) -> np.ndarray | None:
    """Return the bare values of a column that has one number or text a row."""
    bare = getattr(column, "unmasked", column)
    bare = getattr(bare, "value", bare)
    if not isinstance(bare, np.ndarray) or bare.ndim != 1 or bare.dtype.kind not in "biufSU":
        return None
    return np.ascontiguousarray(np.asarray(bare))


def _sums(values: np.ndarray) -> tuple[int, tuple[int, ...]]:
    """Return a checksum that depends on the order of the rows, and sums that do not."""
    as_bytes = values.view(np.uint8).reshape(len(values), values.dtype.itemsize)
    return zlib.crc32(as_bytes), tuple(as_bytes.sum(axis=0, dtype=np.int64).tolist())
