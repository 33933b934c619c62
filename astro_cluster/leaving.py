"""What is too large for a table that is written for TOPCAT stays in a file that the table links to."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import QTable

from astro_cluster.exceptions import InputError
from astro_cluster.formats import format_by_name, format_of
from astro_cluster.linked import Kind, link_of
from astro_cluster.stacks import blocks_of_rows, row_column, without_columns
from astro_cluster.tables import write

__all__ = ["Heavy", "keeps_inside", "leave", "place_beside", "remember"]

_COMPARED = 2**28  # bytes of a column that are compared at most


@dataclass(frozen=True)
class Heavy:
    """The columns of a table that stay behind: its images, or its spectra.

    Parameters
    ----------
    kind : Kind
        What they are.
    columns : list of str
        Those that the table has itself, the first of them the one that the link names.
    values : callable
        Gives the (n, …) array of one of them.
    stack : callable
        Opens one of them in a file.
    linked : callable
        Given the table, a file and the rows (or None for those that the table has), returns the
        table that links to this file.
    meta : dict, optional
        What of the table's meta goes into a file of them alone.
    """

    kind: Kind
    columns: list[str]
    values: Callable[[QTable, str], np.ndarray]
    stack: Callable[[Path, str], np.ndarray]
    linked: Callable[[QTable, Path, Any], QTable]
    meta: dict[str, Any] | None = None


def keeps_inside(path: str | os.PathLike[str]) -> bool:
    """Tell whether images and spectra go into a file of this name.

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
    >>> keeps_inside("gal.fits"), keeps_inside("gal.vot")
    (True, False)
    """
    return str(format_by_name(Path(path))).startswith("fits")


def place_beside(path: str | os.PathLike[str], kind: Kind) -> Path:
    """Return where images or spectra are put that a table cannot hold and no file has.

    Parameters
    ----------
    path : str or path
        Name of the table.
    kind : Kind
        What is put there.

    Returns
    -------
    path
        In the same folder.

    Examples
    --------
    >>> from astro_cluster.linked import SPECTRA
    >>> str(place_beside("latent.vot", SPECTRA))
    'latent.spectra.fits'
    """
    path = Path(path)
    return path.with_name(f"{path.name.removesuffix('.gz').rsplit('.', 1)[0]}.{kind.many}.fits")


def remember(table: QTable, path: str | os.PathLike[str], kind: Kind, column: str) -> QTable:
    """Note in a table just read which file its images or spectra are in.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        A table that was read from one file.
    path : str or path
        This file.
    kind : Kind
        What they are.
    column : str
        Their column.

    Returns
    -------
    `~astropy.table.QTable`
        With a column that says which rows they are, so that the rows may move; the same table if its
        file is no FITS.

    Examples
    --------
    >>> from astro_cluster.linked import IMAGES
    >>> path = getfixture("tmp_path") / "gal.fits"
    >>> _ = write(QTable({"image": np.zeros((2, 8, 8), dtype="f4")}), path)
    >>> remember(QTable({"image": np.zeros((2, 8, 8))}), path, IMAGES, "image")["image_row"].tolist()
    [0, 1]
    """
    if not str(format_of(Path(path))).startswith("fits"):
        return table
    out = QTable(table, copy=False)
    out[kind.row] = row_column(np.arange(len(out)), kind)
    out.meta[kind.key] = {"file": str(Path(path).resolve()), "column": column}
    return out


def leave(
    table: QTable, path: str | os.PathLike[str], heavy: Heavy, *, overwrite: bool = False
) -> tuple[QTable, str]:
    """Return the table that is to be written to a file, and what is to be said of what stays behind.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    path : str or path
        Where it is to be written.
    heavy : Heavy
        What stays behind.
    overwrite : bool, optional
        Whether files may be replaced.

    Returns
    -------
    table : `~astropy.table.QTable`
        Whole if the file is a FITS file; else with a column of rows and a link to the file that has
        them.  If no file has, one is written beside the table.
    note : str
        Where they are, if not in the table.

    Raises
    ------
    InputError
        If they have to be written and cannot be.
    """
    path = Path(path)
    kind = heavy.kind
    link = link_of(table, kind)
    if not heavy.columns:
        return table, "" if link is None else _note("stay", Path(link["file"]), link, path, kind)
    if keeps_inside(path):
        return _without_link(table, kind), ""
    kept = (
        link is not None
        and link.get("column") == heavy.columns[0]
        and _has_all(table, heavy, Path(link["file"]))
    )
    if kept:
        source = Path(str(link["file"]))  # type: ignore[index]
        out = heavy.linked(table, source, None)
    else:
        source = place_beside(path, kind)
        if source.exists() and not overwrite:
            raise InputError(
                f"the {kind.many} would go to {source}, which exists already; give --overwrite (in Python "
                f"overwrite=True) to replace it, or write {path.stem}.fits, which holds them itself"
            )
        write(_alone(table, heavy), source, overwrite=overwrite)
        out = heavy.linked(table, source, np.arange(len(table)))
    out = without_columns(out, heavy.columns)
    return out, _note("stay" if kept else "are", source, out.meta[kind.key], path, kind)


def _note(verb: str, source: Path, link: dict, path: Path, kind: Kind) -> str:
    shape = " × ".join(map(str, [link.get("n", "?"), *link.get("shape", [])]))
    near = source.parent == path.resolve().parent
    keeps_meta = format_by_name(path) not in ("csv", "markdown", "latex")
    linked = f"{path.name} links to it" if keeps_meta else f"{path.name} cannot say so: CSV keeps no link"
    place = source.name if near else source
    return f"{kind.many} {verb} in {place} ({shape} {link.get('dtype', '')}); {linked}"


def _without_link(table: QTable, kind: Kind) -> QTable:
    if link_of(table, kind) is None:
        return table
    out = without_columns(table, [kind.row])
    del out.meta[kind.key]
    return out


def _alone(table: QTable, heavy: Heavy) -> QTable:
    """Return what stays behind without anything else, the record of how it was made included."""
    names = heavy.columns
    out = QTable([table[name] for name in names], names=names, meta=heavy.meta, copy=False)
    for name in names:
        out[name].info.description = table[name].info.description
        out[name].info.meta = dict(table[name].info.meta or {})
    return out


def _has_all(table: QTable, heavy: Heavy, path: Path) -> bool:
    """Tell whether a file still has the columns of a table, those that it had when it was read."""
    row = heavy.kind.row
    rows = np.ma.asarray(table[row]) if row in table.colnames else np.ma.masked_all(1, int)
    if np.ma.getmaskarray(rows).any() or len(rows) != len(table):
        return False
    return all(_has_rows(heavy, table, np.asarray(rows), path, name) for name in heavy.columns)


def _has_rows(heavy: Heavy, table: QTable, rows: np.ndarray, path: Path, name: str) -> bool:
    values = heavy.values(table, name)
    try:
        stack = heavy.stack(path, name)
    except InputError:
        return False
    if stack.shape[1:] != values.shape[1:] or stack.dtype.newbyteorder("=") != values.dtype:
        return False
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(stack):
        return False
    if values.nbytes > _COMPARED:  # some, from the first to the last
        some = np.linspace(0, len(values) - 1, max(2, _COMPARED * len(values) // values.nbytes))
    else:
        some = np.arange(len(values))
    return _same_rows(values, stack, rows, np.unique(some).astype(np.int64))


def _same_rows(values: np.ndarray, stack: np.ndarray, rows: np.ndarray, some: Sequence[int]) -> bool:
    some = np.asarray(some)
    is_float = values.dtype.kind == "f"
    for block in blocks_of_rows(values):
        part = some[(some >= block.start) & (some < block.stop)]
        if not np.array_equal(values[part], stack[rows[part]], equal_nan=is_float):
            return False
    return True
