"""Tables that leave their images or spectra in another file, and how that file is found again.

A table with a column ``image_row`` and an entry ``astro_cluster_images`` of the meta has its
images in a stack elsewhere; one with ``spectrum_row`` and ``astro_cluster_spectra_file`` its
spectra.  In memory the entry names the file by its whole path; in a file by the path from the
table's own folder, if it is there or below, so that both can be moved together.

A table may come from anywhere, and so may the path in it: it may lead to any file that its reader
may read, above the table's folder too.  Nothing but a regular file is opened, never a pipe, a
device or an address of the network; only while images or spectra are wanted, only to be read; and
as FITS or ``.npy`` without pickles, so that nothing in it is run.  What is not a stack of the shape,
type and hash that the table tells is refused.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astropy.table import QTable, Table

from astro_cluster.exceptions import AstroClusterWarning

__all__ = [
    "IMAGES",
    "KINDS",
    "LINK_KEY",
    "ROW_COLUMN",
    "SPECTRA",
    "Kind",
    "check_one_link",
    "is_regular_file",
    "link_of",
    "portable",
    "resolved",
]

LINK_KEY = "astro_cluster_images"
"""Entry of the meta that says where the images are."""

ROW_COLUMN = "image_row"
"""Column that says which image of the stack is the row's."""


@dataclass(frozen=True)
class Kind:
    """What a table may leave in another file, and in which words it says so.

    Parameters
    ----------
    key : str
        Entry of the meta that says where it is.
    row : str
        Column that says which row of that file is the table's.
    one, many : str
        What is said of it.
    column : str
        Its column in that file, if the table does not tell.
    remedy : str
        How to say where it is.
    """

    key: str
    row: str
    one: str
    many: str
    column: str
    remedy: str


IMAGES = Kind(
    LINK_KEY,
    ROW_COLUMN,
    "image",
    "images",
    "image",
    "astro_cluster.cutouts.link_images(table, path)",
)
"""Images, of `astro_cluster.cutouts`."""

SPECTRA = Kind(
    "astro_cluster_spectra_file",
    "spectrum_row",
    "spectrum",
    "spectra",
    "flux",
    "astro_cluster.spectra.link_spectra(table, path)",
)
"""Spectra, of `astro_cluster.spectra`."""

KINDS = (IMAGES, SPECTRA)


def link_of(table: Table, kind: Kind = IMAGES) -> dict[str, Any] | None:
    """Return what a table says of the file that its images or spectra are in.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.
    kind : Kind, optional
        Which of them; images if not given.

    Returns
    -------
    dict or None
        ``file``, ``column``, ``n``, ``shape``, ``dtype`` and ``hash``; None if it says nothing.

    Examples
    --------
    >>> link_of(QTable({"x": [1]})) is None
    True
    """
    found = table.meta.get(kind.key)
    usable = isinstance(found, dict) and isinstance(found.get("file"), str) and found["file"]
    return found if usable and isinstance(found.get("shape", []), list) else None


def is_regular_file(path: str | os.PathLike[str]) -> bool:
    """Tell whether there is a file that may be opened because a table names it.

    Parameters
    ----------
    path : str or path
        What stood in a table: anything.

    Returns
    -------
    bool
        False for folders, devices and pipes, for places that one may not look at, and for what can be
        no path.

    Examples
    --------
    >>> is_regular_file("x" * 5000), is_regular_file("/dev/null")
    (False, False)
    """
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # too long a name, a folder of somebody else, a NUL
        return False


def resolved(table: QTable, folder: str | os.PathLike[str]) -> QTable:
    """Turn the paths of images and spectra in a table just read into whole ones, in place.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    folder : str or path
        Folder of the table's own file.

    Returns
    -------
    `~astropy.table.QTable`
        The same table.  What lies beside it is taken if it is not where it says.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> table = resolved(QTable(meta={LINK_KEY: {"file": "gal.fits"}}), folder)
    >>> table.meta[LINK_KEY]["file"] == str(folder / "gal.fits")
    True
    """
    for kind in KINDS:
        link = link_of(table, kind)
        if link is None:
            continue
        folder = Path(folder).resolve()
        place = folder / link["file"]
        if not is_regular_file(place) and is_regular_file(folder / place.name):
            place = folder / place.name
        table.meta[kind.key] = {**link, "file": str(place)}
    return table


def portable(table: QTable, folder: str | os.PathLike[str]) -> QTable:
    """Return a table that names the file of its images or spectra as a file in a folder should.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    folder : str or path
        Folder that it is written into.

    Returns
    -------
    `~astropy.table.QTable`
        The same table if it has no link.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> table = QTable(meta={LINK_KEY: {"file": str(folder / "sub" / "gal.fits")}})
    >>> portable(table, folder).meta[LINK_KEY]["file"]
    'sub/gal.fits'
    """
    links = {kind.key: link for kind in KINDS if (link := link_of(table, kind)) is not None}
    if not links:
        return table
    folder = Path(folder).resolve()
    out = QTable(table, copy=False)
    for key, link in links.items():
        try:
            place = Path(link["file"]).resolve()
        except (OSError, ValueError):  # what can be no path stays as it is, and is missed where it is needed
            continue
        name = place.relative_to(folder).as_posix() if place.is_relative_to(folder) else str(place)
        out.meta[key] = {**link, "file": name}
    return out


def check_one_link(tables: Sequence[QTable], paths: Sequence[os.PathLike[str]]) -> None:
    """Leave one link of a kind in tables that are to be stacked, in place; none if they have several.

    Parameters
    ----------
    tables : sequence of `~astropy.table.QTable`
        Tables just read.
    paths : sequence of path
        Their files.

    Warns
    -----
    AstroClusterWarning
        If a link is taken out.

    Examples
    --------
    >>> tables = [QTable(meta={LINK_KEY: {"file": "gal.fits"}}) for _ in range(2)]
    >>> check_one_link(tables, ["a.vot", "b.vot"])
    >>> [link_of(table) for table in tables]
    [{'file': 'gal.fits'}, None]
    """
    for kind in KINDS:
        _check_one_link(kind, tables, paths)


def _check_one_link(kind: Kind, tables: Sequence[QTable], paths: Sequence[os.PathLike[str]]) -> None:
    links = [link_of(table, kind) for table in tables]
    if not any(links):
        return
    if all(link == links[0] for link in links):
        for table in tables[1:]:  # astropy would put the lists in the links one behind the other
            del table.meta[kind.key]
        return
    for table in tables:
        table.meta.pop(kind.key, None)
        if kind.row in table.colnames:
            table.remove_column(kind.row)
    shown = ", ".join(str(path) for path, link in zip(paths, links, strict=True) if link)
    warnings.warn(
        f"{shown} have their {kind.many} in files of their own, and one table can link to one file only: the "
        f"stacked table has no {kind.many}",
        AstroClusterWarning,
        stacklevel=6,
    )
