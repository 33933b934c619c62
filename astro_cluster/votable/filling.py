"""Columns that are filled block by block, without knowing beforehand how many rows there are."""

from __future__ import annotations

from typing import Any

import numpy as np

from astro_cluster.exceptions import InputError
from astro_cluster.votable.layout import Cell

__all__ = ["Filled", "Filling", "Objects", "Texts", "check_growth", "decoded", "filling_of"]

_FREE = 2**28
"""Bytes of a column that may be taken, however short the document is."""
_GROWTH = 64
"""How much larger than its document a column may be beyond that."""

Filled = tuple[np.ndarray, np.ndarray | None]
"""Values, and where they are null (None: nowhere)."""


def check_growth(name: str, size: int, document_bytes: int) -> None:
    """Refuse a column that would take much more memory than its document.

    Parameters
    ----------
    name : str
        Of the column.
    size : int
        Bytes that it would take.
    document_bytes : int
        Size of the document.

    Raises
    ------
    InputError
        If it would.
    """
    if size > _FREE and size > _GROWTH * document_bytes:
        raise InputError(
            f"column {name!r} would take {size:,} bytes of memory, {size // max(document_bytes, 1)} times "
            "its whole VOTable; it is refused"
        )


class Filling:
    """A column of numbers or booleans.

    Parameters
    ----------
    cell : Cell
        What it holds.
    capacity : int
        Most rows that there can be.
    document_bytes : int
        Size of the document.
    """

    def __init__(self, cell: Cell, capacity: int, document_bytes: int) -> None:
        self._cell, self._n = cell, 0
        per_row = cell.dtype.itemsize * int(np.prod(cell.shape, dtype=object))
        check_growth(cell.name, per_row * capacity, document_bytes)
        self._values = np.empty((capacity, *cell.shape), cell.dtype)  # not touched, no memory is taken
        self._mask: np.ndarray | None = None

    def put(self, values: np.ndarray, mask: np.ndarray | None = None) -> None:
        """Append rows.

        Parameters
        ----------
        values : (n, …) array
            Of any byte order.
        mask : (n,) or (n, …) array of bool, optional
            Where they are null.
        """
        stop = self._n + len(values)
        self._values[self._n : stop] = values
        if mask is not None and mask.any():
            if self._mask is None:
                self._mask = np.zeros(self._values.shape, bool)
            if mask.ndim < values.ndim:
                mask = mask.reshape(mask.shape + (1,) * (values.ndim - mask.ndim))
            self._mask[self._n : stop] = mask
        self._n = stop

    def finish(self) -> Filled:
        """Return all rows."""
        for array in (self._values, self._mask):
            if array is not None and len(array) > self._n:
                array.resize((self._n, *self._cell.shape), refcheck=False)
        return self._values, self._mask


class Texts:
    """A column of text, of one or several texts a row.

    Parameters
    ----------
    cell : Cell
        What it holds.
    document_bytes : int
        Size of the document.
    """

    def __init__(self, cell: Cell, document_bytes: int) -> None:
        self._cell, self._document_bytes = cell, document_bytes
        self._blocks: list[np.ndarray] = []

    def put(self, values: np.ndarray, mask: np.ndarray | None = None) -> None:
        """Append rows.

        Parameters
        ----------
        values : (n, …) array of str
            Each block has a width of its own.
        mask : array, optional
            Not used: no text of a VOTable is null.
        """
        self._blocks.append(_trimmed(values))

    def finish(self) -> Filled:
        """Return all rows, as wide as declared unless that is a waste, or as objects if one is far longer."""
        shape = self._cell.shape
        if not self._blocks:
            return np.empty((0, *shape), self._cell.dtype), None
        rows = sum(len(block) for block in self._blocks)
        needed = max(
            max(map(len, block.flat), default=0) if block.dtype == object else block.dtype.itemsize // 4
            for block in self._blocks
        )
        width = max(needed, self._cell.length, 1)
        items = rows * int(np.prod(shape, dtype=object))
        if 4 * width * items > _FREE and 4 * width * items > 8 * self._document_bytes:
            width = max(needed, 1)
        if 4 * width * items > _FREE and 4 * width * items > _GROWTH * self._document_bytes:
            return self._as_objects(rows), None
        if len(self._blocks) == 1 and self._blocks[0].dtype == np.dtype(f"U{width}"):
            return self._blocks[0], None
        out = np.empty((rows, *shape), f"U{width}")
        start = 0
        while self._blocks:
            block = self._blocks.pop(0)
            out[start : start + len(block)] = block
            start += len(block)
        return out, None

    def _as_objects(self, rows: int) -> np.ndarray:
        out = np.empty((rows, *self._cell.shape), object)
        start = 0
        for block in self._blocks:
            out[start : start + len(block)] = block
            start += len(block)
        return out


def _trimmed(texts: np.ndarray) -> np.ndarray:
    """Return texts, which may be narrower than the room that their bytes took."""
    if texts.dtype == object or not texts.size:
        return texts
    points = texts.reshape(-1, 1).view("u4")
    width = points.shape[1]
    while width > 1 and not points[:, width - 1].any():
        width -= 1
    return texts if width == points.shape[1] else texts.astype(f"U{width}")


class Objects:
    """A column of arrays of varying length.

    Parameters
    ----------
    cell : Cell
        What it holds.
    document_bytes : int
        Size of the document.
    """

    def __init__(self, cell: Cell, document_bytes: int) -> None:
        self._cell = cell
        self._rows: list[Any] = []
        self._mask: list[np.ndarray] = []

    def put(self, values: list[Any], mask: np.ndarray | None = None) -> None:
        """Append rows.

        Parameters
        ----------
        values : list of array
            A row each.
        mask : (n,) array of bool, optional
            Which rows are null.
        """
        self._rows += values
        self._mask.append(np.zeros(len(values), bool) if mask is None else mask)

    def finish(self) -> Filled:
        """Return all rows."""
        out = np.empty(len(self._rows), object)
        for i, item in enumerate(self._rows):  # NumPy would make one array of rows of the same length
            out[i] = item
        mask = np.concatenate(self._mask) if self._mask else np.zeros(0, bool)
        return out, mask if mask.any() else None


def filling_of(cell: Cell, capacity: int, document_bytes: int) -> Filling | Texts | Objects:
    """Return what takes up a column.

    Parameters
    ----------
    cell : Cell
        What it holds.
    capacity : int
        Most rows that there can be, by the length of the data and not by what is declared.
    document_bytes : int
        Size of the document.

    Returns
    -------
    Filling, Texts or Objects

    Raises
    ------
    InputError
        If the column would take much more memory than the document.
    """
    if cell.varies and not (cell.is_text and not cell.shape):
        return Objects(cell, document_bytes)
    if cell.is_text:
        return Texts(cell, document_bytes)
    return Filling(cell, capacity, document_bytes)


def decoded(raw: np.ndarray, encoding: str, *, ends_at_zero: bool = True) -> np.ndarray:
    """Return characters as text.

    Parameters
    ----------
    raw : (n, width) array of uint8 or of big-endian uint16
        Characters, zeros behind them.
    encoding : {"utf-8", "latin-1", "utf-16-be"}
        What the numbers mean.
    ends_at_zero : bool, optional
        Drop what follows the first zero.

    Returns
    -------
    (n,) array of str
        What is no character is U+FFFD.
    """
    n, width = raw.shape
    if not width or not n:
        return np.zeros(n, "U1")
    wide = raw.dtype.itemsize == 2
    points = raw.astype("u4")
    special = (points >> 11) == 27 if wide else points > 127  # a surrogate, or a part of a character
    if ends_at_zero:
        zero = points == 0
        if (zero[:, :-1] & ~zero[:, 1:]).any():
            points[np.logical_or.accumulate(zero, axis=1)] = 0
    texts = points.view(f"U{width}").reshape(n)
    if encoding != "latin-1" and special.any():
        for i in np.flatnonzero(special.any(axis=1)).tolist():
            text = raw[i].tobytes().decode(encoding, "replace")
            texts[i] = text.partition("\0")[0] if ends_at_zero else text
    return texts
