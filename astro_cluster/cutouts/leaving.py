"""Images left behind: tables that are written for TOPCAT link to the file that holds the images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.table import QTable

from astro_cluster.columns import REGISTRY, ucd_of
from astro_cluster.cutouts.stack import (
    BAD,
    IMAGE,
    blocks_of_rows,
    image_column,
    images_of,
    is_stack,
    link_images,
    open_stack,
    row_column,
)
from astro_cluster.exceptions import InputError
from astro_cluster.formats import format_by_name, format_of
from astro_cluster.linked import LINK_KEY, ROW_COLUMN, link_of
from astro_cluster.tables import write

__all__ = ["leave_images", "place_of_images", "remember_stack"]

_COMPARED = 2**28  # bytes of images that are compared at most


def keeps_images(path: str | os.PathLike[str]) -> bool:
    """Tell whether the images of a table go into a file of this name.

    Parameters
    ----------
    path : str or path
        Name of a table.

    Returns
    -------
    bool
        FITS does; the other formats would make texts or pages of numbers of them.

    Examples
    --------
    >>> keeps_images("gal.fits"), keeps_images("gal.vot")
    (True, False)
    """
    return str(format_by_name(Path(path))).startswith("fits")


def place_of_images(path: str | os.PathLike[str]) -> Path:
    """Return where images are put that a table cannot hold and no file has.

    Parameters
    ----------
    path : str or path
        Name of the table.

    Returns
    -------
    path
        In the same folder.

    Examples
    --------
    >>> str(place_of_images("gal.vot"))
    'gal.images.fits'
    """
    path = Path(path)
    return path.with_name(f"{path.name.removesuffix('.gz').rsplit('.', 1)[0]}.images.fits")


def _image_columns(table: QTable) -> list[str]:
    """Return the columns that hold images, and not other numbers of that many dimensions."""
    stacks = [name for name in table.colnames if is_stack(table[name])]
    ours = REGISTRY["image"].ucd
    sure = [name for name in stacks if name == IMAGE or ucd_of(table, name) == ours]
    return sure or (stacks if BAD in table.colnames and len(stacks) == 1 else [])


def remember_stack(table: QTable, path: str | os.PathLike[str]) -> QTable:
    """Note in a table just read which file its images are in.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        A table that was read from one file.
    path : str or path
        This file.

    Returns
    -------
    `~astropy.table.QTable`
        With the column ``image_row``, so that the rows may move; the same table if it has no images, or
        its file is no FITS.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "gal.fits"
    >>> _ = write(QTable({"image": np.zeros((2, 8, 8), dtype="f4")}), path)
    >>> from astro_cluster.tables import read
    >>> remember_stack(read(path), path)["image_row"].tolist()
    [0, 1]
    """
    names = _image_columns(table)
    if not names or not str(format_of(Path(path))).startswith("fits"):
        return table
    name = image_column(table, names[0] if len(names) == 1 or IMAGE not in names else IMAGE)
    out = QTable(table, copy=False)
    out[ROW_COLUMN] = row_column(np.arange(len(out)))
    out.meta[LINK_KEY] = {"file": str(Path(path).resolve()), "column": name}
    return out


def leave_images(
    table: QTable, path: str | os.PathLike[str], *, overwrite: bool = False
) -> tuple[QTable, str]:
    """Return the table that is to be written to a file, and what is to be said of its images.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    path : str or path
        Where it is to be written.
    overwrite : bool, optional
        Whether files may be replaced.

    Returns
    -------
    table : `~astropy.table.QTable`
        With its images if the file is a FITS file; else with ``image_row`` and a link to the file that
        has them.  If no file has, one is written beside the table.
    note : str
        Where the images are, if not in the table.

    Raises
    ------
    InputError
        If images have to be written and cannot be.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "gal.vot"
    >>> table, note = leave_images(QTable({"image": np.zeros((2, 8, 8), dtype="f4")}), path)
    >>> table.colnames, note
    (['image_row'], 'images are in gal.images.fits (2 × 8 × 8 float32); gal.vot links to it')
    """
    path = Path(path)
    names = _image_columns(table)
    if not names:
        link = link_of(table)
        return table, "" if link is None else _note("stay", Path(link["file"]), link, path)
    if keeps_images(path):
        return _without_link(table), ""
    name = IMAGE if IMAGE in names else names[0]
    link = link_of(table)
    kept = link is not None and link.get("column") == name and _has_images(table, names, Path(link["file"]))
    if kept:
        source = Path(str(link["file"]))  # type: ignore[index]
        out = _without(link_images(table, source, name), names)
    else:
        source = place_of_images(path)
        if source.exists() and not overwrite:
            raise InputError(
                f"the images would go to {source}, which exists already; give --overwrite (in Python "
                f"overwrite=True) to replace it, or write {path.stem}.fits, which holds them itself"
            )
        write(_images_alone(table, names), source, overwrite=overwrite)
        out = _without(link_images(table, source, name, rows=np.arange(len(table))), names)
    return out, _note("stay" if kept else "are", source, out.meta[LINK_KEY], path)


def _note(verb: str, source: Path, link: dict, path: Path) -> str:
    shape = " × ".join(map(str, [link.get("n", "?"), *link.get("shape", [])]))
    near = source.parent == path.resolve().parent
    keeps_meta = format_by_name(path) not in ("csv", "markdown", "latex")
    linked = f"{path.name} links to it" if keeps_meta else f"{path.name} cannot say so: CSV keeps no link"
    return f"images {verb} in {source.name if near else source} ({shape} {link.get('dtype', '')}); {linked}"


def _without(table: QTable, names: Sequence[str]) -> QTable:
    out = QTable(table, copy=False)
    out.remove_columns([name for name in names if name in out.colnames])
    return out


def _without_link(table: QTable) -> QTable:
    if link_of(table) is None:
        return table
    out = _without(table, [ROW_COLUMN])
    del out.meta[LINK_KEY]
    return out


def _images_alone(table: QTable, names: Sequence[str]) -> QTable:
    """Return the images without anything else, the record of how they were made included."""
    out = QTable([table[name] for name in names], names=list(names), copy=False)
    for name in names:
        out[name].info.description = table[name].info.description
        out[name].info.meta = dict(table[name].info.meta or {})
    return out


def _has_images(table: QTable, names: Sequence[str], path: Path) -> bool:
    """Tell whether a file still has the images of a table, those that it had when it was read."""
    rows = np.ma.asarray(table[ROW_COLUMN]) if ROW_COLUMN in table.colnames else np.ma.masked_all(1, int)
    if np.ma.getmaskarray(rows).any():
        return False
    return all(_are_rows_of(images_of(table, name), np.asarray(rows), path, name) for name in names)


def _are_rows_of(images: np.ndarray, rows: np.ndarray, path: Path, name: str) -> bool:
    try:
        stack = open_stack(path, name)
    except InputError:
        return False
    if stack.shape[1:] != images.shape[1:] or stack.dtype.newbyteorder("=") != images.dtype:
        return False
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(stack):
        return False
    if images.nbytes > _COMPARED:  # some, from the first to the last
        some = np.unique(np.linspace(0, len(images) - 1, max(2, _COMPARED * len(images) // images.nbytes)))
    else:
        some = np.arange(len(images))
    some = some.astype(np.int64)
    is_float = images.dtype.kind == "f"
    for block in blocks_of_rows(images):
        part = some[(some >= block.start) & (some < block.stop)]
        if not np.array_equal(images[part], stack[rows[part]], equal_nan=is_float):
            return False
    return True
