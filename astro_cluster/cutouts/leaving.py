"""Images left behind: tables that are written for TOPCAT link to the file that holds the images."""

from __future__ import annotations

import os

from astropy.table import QTable

from astro_cluster.columns import REGISTRY, ucd_of
from astro_cluster.cutouts.stack import (
    BAD,
    IMAGE,
    image_column,
    images_of,
    is_stack,
    link_images,
    open_stack,
)
from astro_cluster.leaving import Heavy, leave, remember
from astro_cluster.linked import IMAGES

__all__ = ["leave_images", "remember_stack"]


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
    >>> import numpy as np
    >>> path = getfixture("tmp_path") / "gal.fits"
    >>> from astro_cluster.tables import read, write
    >>> _ = write(QTable({"image": np.zeros((2, 8, 8), dtype="f4")}), path)
    >>> remember_stack(read(path), path)["image_row"].tolist()
    [0, 1]
    """
    names = _image_columns(table)
    if not names:
        return table
    name = image_column(table, names[0] if len(names) == 1 or IMAGE not in names else IMAGE)
    return remember(table, path, IMAGES, name)


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
    >>> import numpy as np
    >>> path = getfixture("tmp_path") / "gal.vot"
    >>> table, note = leave_images(QTable({"image": np.zeros((2, 8, 8), dtype="f4")}), path)
    >>> table.colnames, note
    (['image_row'], 'images are in gal.images.fits (2 × 8 × 8 float32); gal.vot links to it')
    """
    names = _image_columns(table)
    name = IMAGE if IMAGE in names else next(iter(names), IMAGE)
    heavy = Heavy(
        IMAGES,
        sorted(names, key=lambda other: other != name),
        values=images_of,
        stack=open_stack,
        linked=lambda table, source, rows: link_images(table, source, name, rows=rows),
    )
    return leave(table, path, heavy, overwrite=overwrite)
