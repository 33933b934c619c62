"""FITS tables larger than what may be copied: written, and put into memory, a block of rows at a time."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from astropy.io import fits
from astropy.table import QTable

__all__ = ["BLOCK_BYTES", "in_memory", "row_bytes", "write_blocks"]

BLOCK_BYTES = 2**25
"""Bytes of a table above which it goes to the disk in blocks, of so many bytes each."""

_RECORD = 2880


def row_bytes(table: QTable) -> int:
    """Return about how many bytes a row of a table takes.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Plain columns.

    Returns
    -------
    int

    Examples
    --------
    >>> row_bytes(QTable({"x": [1.0], "image": np.zeros((1, 8, 8), dtype="f4")}))
    264
    """
    return sum(
        column.dtype.itemsize * int(np.prod(column.shape[1:], dtype=np.int64))
        for column in table.columns.values()
    )


def write_blocks(
    path: str | os.PathLike[str],
    first: Sequence[Any],
    main: fits.BinTableHDU,
    table: QTable,
    last: Sequence[Any],
    *,
    block_bytes: int = BLOCK_BYTES,
) -> None:
    """Write a FITS file with a table of which only blocks are brought into the form of the file.

    Parameters
    ----------
    path : str or path
        Where to; zipped if it ends in ``.gz``.
    first, last : sequence of HDU
        What comes before and after it, the primary HDU first.
    main : `~astropy.io.fits.BinTableHDU`
        The table without rows: its header is written.
    table : `~astropy.table.QTable`
        The rows, as plain columns.
    block_bytes : int, optional
        Bytes of a block.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "one.fits"
    >>> table = QTable({"x": np.arange(1000.0)})
    >>> write_blocks(path, [fits.PrimaryHDU()], fits.table_to_hdu(table[:0]), table, [], block_bytes=800)
    >>> bool((fits.getdata(path)["x"] == np.arange(1000)).all())
    True
    """
    rows = max(1, block_bytes // max(1, row_bytes(table)))
    header = main.header.copy()
    header["NAXIS2"] = len(table)
    opened = gzip.open if Path(path).suffix == ".gz" else open
    with opened(path, "wb") as file:
        file.write(_bytes_of([*first]))
        file.write(header.tostring().encode("ascii"))
        size = 0
        for start in range(0, len(table), rows):
            size += _write_rows(file, table[start : start + rows])
        file.write(b"\0" * (-size % _RECORD))
        for hdu in last:
            file.write(_bytes_of([fits.PrimaryHDU(), hdu])[_RECORD:])


def _bytes_of(hdus: list[Any]) -> memoryview:
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer)
    return buffer.getbuffer()


def _write_rows(file: IO[bytes], table: QTable) -> int:
    """Write some rows as they stand in a file; return their bytes."""
    hdu = fits.table_to_hdu(table)
    raw = _bytes_of([fits.PrimaryHDU(), hdu])
    size = hdu.header["NAXIS1"] * len(table)
    start = len(raw) - size - -size % _RECORD
    file.write(raw[start : start + size])
    return size


def in_memory(stack: np.ndarray) -> np.ndarray:
    """Return numbers of a mapped file in the machine's own byte order.

    Parameters
    ----------
    stack : (n, …) array
        What `~astro_cluster.fitsmapped.mapped_column` gives.

    Returns
    -------
    (n, …) array
        The same if there is nothing to do, else a copy that was made a block at a time.

    Examples
    --------
    >>> in_memory(np.arange(3, dtype=">f4")).dtype.isnative
    True
    """
    if stack.dtype.isnative:
        return stack
    out = np.empty(stack.shape, stack.dtype.newbyteorder("="))
    rows = max(1, BLOCK_BYTES * len(out) // max(1, out.nbytes))
    for start in range(0, len(out), rows):
        out[start : start + rows] = stack[start : start + rows]
    return out
