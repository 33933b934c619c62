"""The stack of images of a table: its column, or the file that the table links to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Column, QTable, Table

from astro_cluster.columns import require
from astro_cluster.exceptions import InputError
from astro_cluster.fitsmapped import mapped_column
from astro_cluster.linked import LINK_KEY, ROW_COLUMN, is_regular_file, link_of
from astro_cluster.provenance import register_lender

__all__ = [
    "blocks_of_rows",
    "image_column",
    "images_of",
    "is_stack",
    "link_images",
    "linked_images",
    "open_stack",
    "row_column",
    "source_of_images",
    "stack_hash",
    "usable_images",
]

IMAGE = "image"
BAD = "image_bad"
_BLOCK_BYTES = 2**25  # of one block of rows, so that a few of them fit beside the stack
_HASHED_BYTES = 2**28  # of a stack are hashed at most


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
    return data if data.dtype.isnative else _native(data)


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
        bad = np.ma.asarray(table[BAD])
        usable &= ~np.ma.filled(bad.astype(bool), True)
    if ROW_COLUMN in table.colnames and source_of_images(table, column) == ROW_COLUMN:
        usable &= ~np.ma.getmaskarray(np.ma.asarray(table[ROW_COLUMN]))
    if images.dtype.kind == "f" and len(images):
        corner = np.isnan(images[(slice(None), *(0,) * (images.ndim - 1))])
        for row in np.flatnonzero(corner & usable):
            usable[row] = not np.isnan(images[row]).all()
    return usable


def blocks_of_rows(images: np.ndarray, *, block_bytes: int = _BLOCK_BYTES) -> Iterator[slice]:
    """Yield slices of rows of a stack, each of which may be worked on as a whole.

    Parameters
    ----------
    images : (n, …) array
        A stack.
    block_bytes : int, optional
        Bytes of a block.

    Yields
    ------
    slice
        At least one row each.

    Examples
    --------
    >>> list(blocks_of_rows(np.zeros((5, 8)), block_bytes=128))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    row_bytes = max(1, int(np.prod(images.shape[1:], dtype=np.int64)) * images.dtype.itemsize)
    rows = max(1, block_bytes // row_bytes)
    for start in range(0, len(images), rows):
        yield slice(start, min(start + rows, len(images)))


def _native(images: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Return some rows of a stack in the machine's own byte order, a block at a time."""
    n = len(images) if rows is None else len(rows)
    out = np.empty((n, *images.shape[1:]), images.dtype.newbyteorder("="))
    for block in blocks_of_rows(out):
        out[block] = images[block if rows is None else rows[block]]
    return out


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
    path = Path(path)
    if not is_regular_file(path):
        raise InputError(f"there is no file {path}")
    try:
        found = (
            np.load(path, mmap_mode="r", allow_pickle=False)
            if path.suffix.lower() == ".npy"
            else mapped_column(path, column)
        )
    except (InputError, MemoryError):
        raise
    except Exception as error:
        # Readers have exceptions of their own for a broken file; the user needs the one fact.
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{path} cannot be read as a stack of images: {reason}") from error
    if not isinstance(found, np.ndarray):
        found.close()
        raise InputError(f"{path} holds no stack of images but an archive of arrays: unpack it")
    if found.ndim not in (3, 4) or found.dtype.kind not in "biuf":
        raise InputError(f"{path} holds no stack of images: its shape is {found.shape}")
    return found


def stack_hash(images: np.ndarray) -> str:
    """Return a hash of a stack, the same in a file and in memory.

    Parameters
    ----------
    images : (n, h, w[, c]) array
        A stack.

    Returns
    -------
    str
        ``sha256:`` and 64 hexadecimal digits, of shape, type and pixels.  Of a stack of more than
        256 MB so many rows are taken, evenly spread from the first to the last.

    Examples
    --------
    >>> images = np.arange(32.0).reshape(2, 4, 4)
    >>> stack_hash(images) == stack_hash(images.astype(">f8"))
    True
    """
    plain = images.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{images.shape} {plain.str}".encode())
    row_bytes = max(1, int(np.prod(images.shape[1:], dtype=np.int64)) * plain.itemsize)
    n = min(len(images), max(2, _HASHED_BYTES // row_bytes))
    for row in np.unique(np.linspace(0, len(images) - 1, n).round().astype(int)) if len(images) else ():
        digest.update(np.ascontiguousarray(images[row], dtype=plain))
    return "sha256:" + digest.hexdigest()


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
    _check_rows(rows, len(out), len(stack), path)
    out[ROW_COLUMN] = row_column(rows)
    unit = ""
    if column in out.colnames:
        unit = str(getattr(out[column], "unit", None) or "")
        out.remove_column(column)
    out.meta[LINK_KEY] = {
        "file": str(Path(path).resolve()),
        "column": column,
        "n": len(stack),
        "shape": list(stack.shape[1:]),
        "dtype": stack.dtype.newbyteorder("=").name,
        "hash": stack_hash(stack),
        **({"unit": unit} if unit else {}),
    }
    return out


def row_column(rows: Any) -> Column:
    """Return the column that says which image of a stack is a row's.

    Parameters
    ----------
    rows : (n,) array of int
        Masked where there is none.

    Returns
    -------
    (n,) `~astropy.table.Column`

    Examples
    --------
    >>> row_column([1, 0]).tolist()
    [1, 0]
    """
    from astropy.table import MaskedColumn

    described = {"description": "Row of the image in the stack that the table links to"}
    mask = np.ma.getmaskarray(np.ma.asarray(rows))
    values = np.ma.filled(np.ma.asarray(rows), 0).astype(np.int64)
    column = MaskedColumn(values, mask=mask, **described) if mask.any() else Column(values, **described)
    column.info.meta = {"ucd": "meta.record"}
    return column


def _check_rows(rows: Any, n: int, n_stack: int, path: Any) -> None:
    found = np.ma.asarray(rows)
    seen = found.compressed()
    if found.shape != (n,) or found.dtype.kind not in "iu":
        raise InputError(
            f"rows of the images (column {ROW_COLUMN!r}) must be {n} whole numbers, one a row of the table"
        )
    outside = seen[(seen < 0) | (seen >= n_stack)]
    if len(outside):
        raise InputError(
            f"{path} has {n_stack} images, and the table names image {int(outside[0])}, counted from 0: "
            "it is another stack than the table's"
        )


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
    path = Path(link["file"])
    if not is_regular_file(path):
        raise InputError(
            f"the images of the table are not where they were, at {path}: put {path.name} beside the table, "
            "or say where they are with astro_cluster.cutouts.link_images(table, path)"
        )
    name = column or str(link.get("column", IMAGE))
    stack = open_stack(path, name)
    if column is None or column == link.get("column"):
        _check_unchanged(stack, link, path)
    rows = np.ma.asarray(table[ROW_COLUMN])
    _check_rows(rows, len(table), len(stack), path)
    hidden = np.ma.getmaskarray(rows)
    wanted = np.ma.filled(rows, 0).astype(np.int64)
    if not hidden.any() and stack.dtype.isnative and np.array_equal(wanted, np.arange(len(stack))):
        return stack
    out = _native(stack, wanted)
    out[hidden] = np.nan if out.dtype.kind == "f" else 0
    return out


@register_lender
def _lent(table: QTable, name: str) -> Column | None:
    """Return the images that a table which is run again was made from, if they are what it links to."""
    link = link_of(table)
    if link is None or ROW_COLUMN not in table.colnames or name != link.get("column", IMAGE):
        return None
    return Column(linked_images(table), unit=link.get("unit"), copy=False)


def _check_unchanged(stack: np.ndarray, link: dict[str, Any], path: Path) -> None:
    now = [len(stack), list(stack.shape[1:]), stack.dtype.newbyteorder("=").name]
    then = [link.get("n"), link.get("shape", []), link.get("dtype")]
    repeats, rest = divmod(len(then[1]), len(now[1]))
    if repeats > 1 and not rest and then[1] == then[1][: len(now[1])] * repeats:
        # What astropy makes of the links of tables that are stacked: the lists one behind the other,
        # the rest from the last table.  Whether they were to one file cannot be told any more.
        raise InputError(
            "the table was stacked of several, and it cannot be told of which file the images of each are: "
            "astro_cluster.read([file, file]) stacks tables that link to one file; or, if all are of "
            f"{path}, astro_cluster.cutouts.link_images(table, path) says so"
        )
    if now != then or (link.get("hash") and stack_hash(stack) != link["hash"]):
        what = "its pixels differ" if now == then else f"{_words(now)} now, {_words(then)} then"
        raise InputError(
            f"{path} has changed since the table was written ({what}): its images may belong to other rows. "
            "Make the table again from it, or take the images as they are now with "
            "astro_cluster.cutouts.link_images(table, path)"
        )


def _words(found: list[Any]) -> str:
    n, shape, dtype = found
    return f"{' × '.join(map(str, [n, *shape]))} {dtype}"
