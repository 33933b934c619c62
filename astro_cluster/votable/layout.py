"""How the cells of a column stand in a document: types, lengths and nulls."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from astropy.io.votable.tree import Field, TableElement

from astro_cluster.exceptions import InputError

__all__ = ["Cell", "UnusualError", "cells_of"]

_NUMBERS = {
    "double": "f8",
    "float": "f4",
    "unsignedByte": "u1",
    "short": "i2",
    "int": "i4",
    "long": "i8",
    "floatComplex": "c8",
    "doubleComplex": "c16",
}
_KINDS = {"boolean": "boolean", "bit": "bit", "char": "char", "unicodeChar": "unicode"}
_ITEM_BYTES = {"boolean": 1, "bit": 1, "char": 1, "unicode": 2}


class UnusualError(Exception):
    """What is read by astropy's own parser, for it is too rare to be read fast."""


@dataclass(frozen=True)
class Cell:
    """A column of a VOTable.

    Parameters
    ----------
    name : str
        Name of the FIELD, for errors.
    kind : {"number", "boolean", "bit", "char", "unicode"}
        What the items are.
    dtype : dtype
        Of the values in memory; of text, that of one that has the declared length.
    shape : tuple of int
        Of a cell; of text, without its length.
    length : int
        Characters of a text as declared; 0 if not.
    varies : bool
        Whether the stream tells the length of each cell.
    null : object
        Value that means null; None if there is none.
    field : `~astropy.io.votable.tree.Field`
        What astropy knows of the column.
    """

    name: str
    kind: str
    dtype: np.dtype
    shape: tuple[int, ...]
    length: int
    varies: bool
    null: Any
    field: Field

    @property
    def item_bytes(self) -> int:
        """Bytes of one item in a stream."""
        return _ITEM_BYTES.get(self.kind, self.dtype.itemsize)

    @property
    def items(self) -> int:
        """Items of a cell of fixed length."""
        return prod(self.shape) * (self.length if self.is_text else 1)

    @property
    def is_text(self) -> bool:
        """Whether the items are characters."""
        return self.kind in ("char", "unicode")

    @property
    def cell_bytes(self) -> int:
        """Bytes of a cell of fixed length in a stream."""
        if self.kind == "bit" and self.shape:
            return (self.items + 7) // 8
        return self.items * self.item_bytes

    def nulls(self, values: np.ndarray) -> np.ndarray | None:
        """Return where numbers mean null, without a declared one where they are NaN; None if nowhere."""
        if self.null is not None:
            return values == self.null
        return np.isnan(values) if values.dtype.kind in "fc" else None


def _shape_of(field: Field) -> tuple[tuple[int, ...], bool]:
    """Return the shape of a cell of a field that is no text, and whether its length varies."""
    declared = field.arraysize
    if declared is None:
        return (), False
    varies = declared.endswith("*")
    if varies:
        declared = declared[:-1].rpartition("x")[0]
    sizes = tuple(int(size) for size in declared.split("x")) if declared else ()
    if varies and 0 in sizes:
        raise InputError(f"the column {field.name!r} has the arraysize {field.arraysize!r}, which is none")
    return sizes[::-1], varies


def _cell_of(field: Field, texts: tuple[int, ...] | None) -> Cell:
    kind = _KINDS.get(field.datatype, "number")
    null = field.values.null if kind == "number" else None
    if kind in ("char", "unicode"):
        declared = field.arraysize or "1"
        varies = declared.endswith("*")
        length = int(declared.removesuffix("*") or 0)
        shape: tuple[int, ...] = ()
        if texts is not None:
            varies, length, shape = texts[-1] < 0, texts[0], texts[:0:-1]
        return Cell(field.name, kind, np.dtype(f"U{length or 1}"), shape, length, varies, None, field)
    shape, varies = _shape_of(field)
    dtype = np.dtype(_NUMBERS[field.datatype] if kind == "number" else "?")
    if null is not None:
        null = np.asarray(null, dtype=dtype)
    return Cell(field.name, kind, dtype, shape, 0, varies, null, field)


def cells_of(tables: list[TableElement], number: int, texts: dict[int, tuple[int, ...]]) -> list[Cell]:
    """Return how the cells of a table stand in its document.

    Parameters
    ----------
    tables : list of `~astropy.io.votable.tree.TableElement`
        All tables, in the order of the document.
    number : int
        Which of them.
    texts : dict
        What `scan` found of columns of several texts a row.

    Returns
    -------
    list of Cell

    Raises
    ------
    InputError
        If a field has a size that is none.
    """
    # A table may refer to the fields of another one: they are the same objects then.
    numbers: dict[int, int] = {}
    for table in tables:
        for field in table.all_fields:
            numbers.setdefault(id(field), len(numbers))
    return [_cell_of(field, texts.get(numbers[id(field)])) for field in tables[number].all_fields]
