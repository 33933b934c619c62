"""The stack of images of a table: its column, or the file that the table links to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Column, QTable, Table

from astro_cluster.cells import flags_of
from astro_cluster.columns import require
from astro_cluster.exceptions import InputError
from astro_cluster.linked import IMAGES, LINK_KEY, ROW_COLUMN, link_of
from astro_cluster.provenance import register_lender
from astro_cluster.stacks import (
    array_facts,
    blocks_of_rows,
    check_rows,
    check_unchanged,
    linked_rows,
    opened,
    place_of,
    row_column,
    taken,
)
from astro_cluster.stacks import array_hash as stack_hash

__all__ = [
    "blocks_of_rows",
    "image_column",
    "images_of",
    "is_stack",
    "link_images",
    "linked_images",
    "open_stack",
    "source_of_images",
    "stack_hash",
    "usable_images",
]

IMAGE = "image"
BAD = "image_bad"
_DIMENSIONS = (3, 4)


def is_stack(column: Any) -> bool:
    """Tell whether a column has the shape and type of images.

    Parameters
    ----------
    column : object
        Any column.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_stack(Column(np.zeros((2, 8, 8)))), is_stack(Column([1.0, 2.0]))
    (True, False)
    """
    kind = getattr(getattr(column, "dtype", None), "kind", "O")
    return kind in "biuf" and len(getattr(column, "shape", ())) in (3, 4)


def image_column(table: Table, column: str | None = None) -> str:
    """Return the name of the column of images of a table.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.
    column : str, optional
        A column of images; ``image`` or the only column of (n, h, w) or (n, h, w, c) numbers
        if not given.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If there is no such column, or which is meant cannot be told.

    Examples
    --------
    >>> image_column(QTable({"id": [1, 2], "stamp": np.zeros((2, 8, 8))}))
    'stamp'
    """
    if column is not None:
        (name,) = require(table, column)
        if not is_stack(table[name]):
            shape = getattr(table[name], "shape", ())
            raise InputError(
                f"column {name!r} holds no images: its shape is {shape}; images are numbers of shape "
                "(n, height, width) or (n, height, width, channels)"
            )
        return name
    found = [name for name in table.colnames if is_stack(table[name])]
    if IMAGE in found:
        return IMAGE
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"the table has several columns of images: {', '.join(found)}; say which (column=, --column)"
        )
    linked = (
        f"; it has a column {ROW_COLUMN!r} and does not say of which stack (CSV does not keep that): "
        "astro_cluster.cutouts.link_images(table, 'stack.fits') says so"
        if ROW_COLUMN in table.colnames and link_of(table) is None
        else ""
    )
    raise InputError(
        "the table has no column of images, (n, height, width) or (n, height, width, channels) numbers"
        f"{linked}. read_cutouts makes one of image files (on the command line: astro-cluster cutouts)"
    )


def source_of_images(table: Table, column: str | None = None) -> str:
    """Return the name of the column that tells which images a table has.

    Parameters
    ----------
    table : `~astropy.table.Table`
        As in `images_of`.
    column : str, optional
        As in `image_column`.

    Returns
    -------
    str
        That of the images, or ``image_row`` if they are in a file that the table links to.

    Raises
    ------
    InputError
        As `image_column`.

    Examples
    --------
    >>> source_of_images(QTable({"image": np.ones((2, 8, 8))}))
    'image'
    """
    link = link_of(table)
    if link is not None and ROW_COLUMN in table.colnames:
        inside = any(is_stack(table[name]) for name in table.colnames)
        absent = column is None or column not in table.colnames
        # With images inside as well, those of the file have to be meant by name.
        if absent and (not inside or (column is not None and column == link.get("column"))):
            return ROW_COLUMN
    return image_column(table, column)


def images_of(table: Table, column: str | None = None) -> np.ndarray:
    """Return the images of a table.

    Parameters
    ----------
    table : `~astropy.table.Table`
        A table with a column of images, or one that links to a file of them.
    column : str, optional
        As in `image_column`.

    Returns
    -------
    (n, h, w) or (n, h, w, c) array
        In the rows' order and the machine's own byte order, not to be written to: it is the
        column's own memory, or a mapped file, where that is possible.  A row that a linked
        table has no image for is NaN, or 0 if the images are whole numbers.

    Raises
    ------
    InputError
        If there are no images; if the file they are in has gone or changed.

    Examples
    --------
    >>> images_of(QTable({"image": np.ones((2, 8, 8), dtype="f4")})).shape
    (2, 8, 8)
    """
    name = source_of_images(table, column)
    if name == ROW_COLUMN:
        return linked_images(table, column)
    found = table[name]
    data = found.unmasked if hasattr(found, "unmasked") else found
    data = np.asarray(np.ma.getdata(getattr(data, "value", data)))
    mask = getattr(found, "mask", None)
    if mask is not None and data.dtype.kind == "f" and np.any(mask):
        data = np.where(mask, np.array(np.nan, data.dtype), data)
    return data if data.dtype.isnative else taken(data)


def usable_images(table: Table, images: np.ndarray | None = None, column: str | None = None) -> np.ndarray:
    """Tell which rows of a table have an image that can be used.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Table of n rows.
    images : (n, h, w[, c]) array, optional
        Its images, if they are at hand.
    column : str, optional
        As in `image_column`.

    Returns
    -------
    (n,) array of bool
        False where ``image_bad`` is set, where a linked table has no image, and where all
        pixels are NaN.

    Raises
    ------
    InputError
        As `images_of`.

    Examples
    --------
    >>> images = np.ones((2, 8, 8))
    >>> images[1] = np.nan
    >>> usable_images(QTable({"image": images}))
    array([ True, False])
    """
    images = images_of(table, column) if images is None else images
    usable = np.ones(len(table), dtype=bool)
    if BAD in table.colnames:
        usable &= ~flags_of(table[BAD])
    if ROW_COLUMN in table.colnames and source_of_images(table, column) == ROW_COLUMN:
        usable &= ~np.ma.getmaskarray(np.ma.asarray(table[ROW_COLUMN]))
    if images.dtype.kind == "f" and len(images):
        corner = np.isnan(images[(slice(None), *(0,) * (images.ndim - 1))])
        for row in np.flatnonzero(corner & usable):
            usable[row] = not np.isnan(images[row]).all()
    return usable


# ---------------------------------------------------------------- stacks in files


def open_stack(path: str | os.PathLike[str], column: str = IMAGE) -> np.ndarray:
    """Return a stack of images in a file, mapped where that is possible.

    Parameters
    ----------
    path : str or path
        A FITS file with a table that has the column, or a NumPy array (``.npy``).
    column : str, optional
        Name of the column; without meaning for ``.npy``.

    Returns
    -------
    (n, h, w[, c]) array
        Not to be written to; it may be in another byte order.

    Raises
    ------
    InputError
        If there is no such file or it holds no stack.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "stack.npy"
    >>> np.save(path, np.ones((2, 8, 8)))
    >>> open_stack(path).shape
    (2, 8, 8)
    """
    return opened(path, column, IMAGES, dimensions=_DIMENSIONS)


def link_images(
    table: Table, path: str | os.PathLike[str], column: str = IMAGE, *, rows: Any = None
) -> QTable:
    """Return a table that links to a file of images instead of holding them.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Table of n rows; its column ``image_row`` is used if it has one and ``rows`` is not given.
    path : str or path
        As in `open_stack`.
    column : str, optional
        As in `open_stack`; a column of this name is left out of the table.
    rows : (n,) array of int, optional
        Which image of the stack is the row's; masked where there is none.  One after another if
        neither this nor the column is given.

    Returns
    -------
    `~astropy.table.QTable`
        With the column ``image_row`` and the link in ``meta["astro_cluster_images"]``.

    Raises
    ------
    InputError
        If there is no such stack, or it has not these rows.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "stack.npy"
    >>> np.save(path, np.arange(32.0).reshape(2, 4, 4))
    >>> linked = link_images(QTable({"id": [7, 8]}), path, rows=[1, 0])
    >>> float(images_of(linked)[0, 0, 0])
    16.0
    """
    stack = open_stack(path, column)
    out = QTable(table, copy=False)
    if rows is None:
        rows = out[ROW_COLUMN] if ROW_COLUMN in out.colnames else np.arange(len(out))
    check_rows(rows, len(out), len(stack), path, IMAGES)
    out[ROW_COLUMN] = row_column(rows, IMAGES)
    unit = ""
    if column in out.colnames:
        unit = str(getattr(out[column], "unit", None) or "")
        out.remove_column(column)
    out.meta[LINK_KEY] = {
        "file": str(Path(path).resolve()),
        "column": column,
        **array_facts(stack, unit=unit),
    }
    return out


def linked_images(table: Table, column: str | None = None) -> np.ndarray:
    """Return the images that a table links to.

    Parameters
    ----------
    table : `~astropy.table.Table`
        A table with ``image_row`` and a link.
    column : str, optional
        Another column of the same file; that of the link if not given.

    Returns
    -------
    (n, h, w[, c]) array
        As `images_of`.

    Raises
    ------
    InputError
        If the file has gone, or is not what it was when the table was written.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "stack.npy"
    >>> np.save(path, np.zeros((2, 4, 4)))
    >>> linked_images(link_images(QTable({"id": [7, 8]}), path)).shape
    (2, 4, 4)
    """
    link = link_of(table)
    if link is None or ROW_COLUMN not in table.colnames:
        raise InputError("the table links to no images")
    path = place_of(link, IMAGES)
    name = column or str(link.get("column", IMAGE))
    stack = open_stack(path, name)
    if column is None or column == link.get("column"):
        check_unchanged(stack, link, path, IMAGES)
    return linked_rows(table, stack, path, IMAGES)


@register_lender
def _lent(table: QTable, name: str) -> Column | None:
    """Return the images that a table which is run again was made from, if they are what it links to."""
    link = link_of(table)
    if link is None or ROW_COLUMN not in table.colnames or name != link.get("column", IMAGE):
        return None
    return Column(linked_images(table), unit=link.get("unit"), copy=False)
