"""The data of a table, read by the fastest way that understands them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.io import votable as astropy_votable
from astropy.io.votable.tree import TableElement, VOTableFile

from astro_cluster.exceptions import InputError
from astro_cluster.votable import tabledata
from astro_cluster.votable.binary import read_binary
from astro_cluster.votable.document import Document
from astro_cluster.votable.filling import Filled, Texts, check_growth
from astro_cluster.votable.layout import Cell, UnusualError
from astro_cluster.votable.scan import Found, Skeleton, TableFound

__all__ = ["in_order", "nothing", "read_data"]

_WIDE = 1000
"""Characters of a text from which its declared length is not believed."""


def in_order(tree: VOTableFile) -> list[TableElement]:
    """Return the tables in the order of the document; astropy has those of a RESOURCE first.

    Parameters
    ----------
    tree : `~astropy.io.votable.tree.VOTableFile`
        A document.

    Returns
    -------
    list of `~astropy.io.votable.tree.TableElement`
    """
    return sorted(tree.iter_tables(), key=lambda table: table._pos)


def read_data(
    document: Document, skeleton: Skeleton, number: int, cells: Sequence[Cell], *, max_bytes: int
) -> list[Filled]:
    """Read the data of one table.

    Parameters
    ----------
    document : Document
        Where they stand.
    skeleton : Skeleton
        What `scan` says of them.
    number : int
        Which table, in the order of the document.
    cells : sequence of Cell
        Its columns.
    max_bytes : int
        How many bytes a packed STREAM may have.

    Returns
    -------
    list of (values, mask)
        Of each column.

    Raises
    ------
    InputError
        If the data are damaged, cut short or too large.
    """
    table = skeleton.tables[number]
    found = table.data
    if found is None or found.kind not in ("BINARY", "BINARY2", "TABLEDATA") or not cells:
        if found is not None and found.kind in ("FITS", "PARQUET"):
            raise InputError(f"the VOTable keeps its data in another file ({found.kind}), which is not read")
        found = Found()
    try:
        columns, rows, whole = _fast(document, skeleton, found, cells, max_bytes)
    except UnusualError:
        columns = _by_astropy(document, skeleton, number, cells)
        rows, whole = (len(columns[0][0]) if columns else 0), True
    _check_rows(table, rows, whole=whole)
    return columns


def _fast(
    document: Document, skeleton: Skeleton, found: Found, cells: Sequence[Cell], max_bytes: int
) -> tuple[list[Filled], int, bool]:
    if not found.kind:
        return [nothing(cell) for cell in cells], 0, True
    if not found.plain:
        raise UnusualError("comments or CDATA among the data")
    if found.kind != "TABLEDATA":
        return read_binary(document, found, cells, max_bytes=max_bytes)
    # astropy would take off the blanks of several texts, and make as much room as is declared.
    ours = any(cell.is_text and (cell.shape or cell.length > _WIDE) for cell in cells)
    if found.stop - found.start < tabledata.WORTH_IT and not ours:
        raise UnusualError("a small table")
    return *tabledata.read_tabledata(document, found, cells, skeleton.encoding), True


def nothing(cell: Cell) -> Filled:
    """Return a column without rows.

    Parameters
    ----------
    cell : Cell
        What it would hold.

    Returns
    -------
    values, mask
    """
    if cell.varies and not (cell.is_text and not cell.shape):
        return np.empty(0, object), None
    return np.empty((0, *cell.shape), cell.dtype), None


def _check_rows(table: TableFound, rows: int, *, whole: bool) -> None:
    if table.rows is not None and table.rows != rows:
        raise InputError(f"the VOTable is damaged or cut short: {rows} of {table.rows} rows are there")
    if table.rows is None and not whole:
        raise InputError(f"the VOTable is damaged or cut short: it ends within row {rows}")


def _by_astropy(document: Document, skeleton: Skeleton, number: int, cells: Sequence[Cell]) -> list[Filled]:
    """Let astropy read a whole document."""
    data = skeleton.tables[number].data
    if data is not None and data.kind == "BINARY" and not any(c.varies or c.cell_bytes for c in cells):
        raise InputError("the rows of the VOTable are declared to be empty")  # astropy would read for ever
    _check_cells(document, skeleton, number, cells)
    tree = astropy_votable.parse(skeleton.reader(document, number), verify="ignore")
    array = in_order(tree)[number].array
    columns = []
    for i, cell in enumerate(cells):
        column = array[array.dtype.names[i]]
        values, mask = np.ma.getdata(column), np.ma.getmaskarray(column)
        if values.dtype == object and not cell.is_text:
            values, mask = _plain_arrays(cell, values), np.zeros(1, bool)
        if cell.is_text and cell.shape:
            values, mask = _several_texts(cell, values), np.zeros(1, bool)
        elif cell.is_text:
            texts = Texts(cell, document.size)
            texts.put(values)
            values, mask = texts.finish()[0], np.zeros(1, bool)
        columns.append((np.asarray(values), mask if mask.any() else None))
    return columns


def _plain_arrays(cell: Cell, values: np.ndarray) -> np.ndarray:
    """Return arrays of varying length in the type of their column, masked only where something is."""
    out = np.empty(len(values), object)
    for i, item in enumerate(values.tolist()):
        plain = np.asarray(np.ma.getdata(item)).astype(cell.dtype)
        hidden = np.ma.getmaskarray(item)
        out[i] = np.ma.array(plain, mask=hidden) if hidden.any() else plain
    return out


def _several_texts(cell: Cell, values: np.ndarray) -> np.ndarray:
    """Return a column of long texts as one of several texts a row."""
    n, length = int(np.prod(cell.shape)), max(cell.length, 1)
    out = np.zeros((len(values), n), f"U{length}")
    for row, text in enumerate(values.tolist()):
        for k in range(min(n, -(-len(text) // length))):
            out[row, k] = text[k * length : (k + 1) * length].partition("\0")[0].rstrip(" ")
    return out.reshape(len(values), *cell.shape)


def _check_cells(document: Document, skeleton: Skeleton, number: int, cells: Sequence[Cell]) -> None:
    """Refuse a table whose rows would take much more memory than their text."""
    found = skeleton.tables[number].data
    if found is not None and found.plain and found.kind == "TABLEDATA":
        rows = tabledata.count_rows(document, found)
    else:
        rows = document.size // 9 + 1  # of <TR></TR>
    for cell in cells:
        items = int(np.prod(cell.shape, dtype=object))
        check_growth(cell.name, rows * cell.dtype.itemsize * max(items, 1), document.size)
