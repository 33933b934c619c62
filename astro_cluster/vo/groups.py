"""Which rows of a table are drawn together, in which colour, and what they are called."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from astro_cluster.cells import cell_texts
from astro_cluster.columns import require, ucd_of
from astro_cluster.exceptions import InputError
from astro_cluster.matching import find_position, sky_coord
from astro_cluster.summary import cluster_column, cluster_labels

__all__ = ["Group", "Places", "groups_of_rows", "places_of", "plain_text"]

NO_GROUP = "no_cluster"
ALL = "all"
_LONGEST_TEXT = 76  # bytes; DS9 cuts a text after 80


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that belong together.

    Parameters
    ----------
    tag : str
        What they are called in a region file.
    name : str
        What a reader calls them.
    colour : str
        As ``#rrggbb``.
    rows : (n,) array of int
        Their numbers in the table.
    is_cluster : bool
        False for noise and for rows without a label.
    """

    tag: str
    name: str
    colour: str
    rows: np.ndarray
    is_cluster: bool = True


@dataclass(frozen=True, slots=True)
class Places:
    """Where the rows are that have a position.

    Parameters
    ----------
    names : tuple of str
        Columns of the position.
    coord : (n,) `~astropy.coordinates.SkyCoord`
        ICRS; of all rows, meaningless where there is none.
    has : (n,) array of bool
        Rows that were asked for and have a position.
    lost : (n,) array of bool
        Rows that were asked for and have none.
    """

    names: tuple[str, ...]
    coord: SkyCoord
    has: np.ndarray
    lost: np.ndarray


def places_of(table: QTable, position: Any = None, rows: Any = None) -> Places:
    """Return the positions of the wanted rows, in ICRS.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    position : str or tuple of two str, optional
        Columns of the position, if they are not found.
    rows : array of bool or of int, optional
        Which rows are wanted; all by default.

    Returns
    -------
    Places

    Raises
    ------
    InputError
        If there are no such rows, or none of them has a position.

    Examples
    --------
    >>> places_of(QTable({"ra": [1.0, np.nan], "dec": [2.0, 3.0]})).lost
    array([False,  True])
    """
    wanted = _wanted(rows, len(table))
    names = find_position(table, position)
    coord, valid = sky_coord(table, names)
    has = wanted & valid
    if not has.any():
        raise InputError(f"none of {int(wanted.sum()):,} rows has a position in {' and '.join(names)}")
    # A frame change of NaN makes noise; any position will do where there is none.
    filled = coord[np.where(valid, np.arange(len(table)), np.flatnonzero(valid)[0])]
    return Places(names, SkyCoord(filled.icrs.ra, filled.icrs.dec), has, wanted & ~valid)


def _wanted(rows: Any, n: int) -> np.ndarray:
    if rows is None:
        return np.ones(n, dtype=bool)
    given = np.ma.asarray(rows)
    if given.dtype.kind == "b" and given.shape == (n,):
        return given.filled(False).astype(bool)
    given = given.compressed() if given.ndim == 1 else given  # what is masked is not meant
    wanted = np.zeros(n, dtype=bool)
    if given.size == 0:
        return wanted
    if given.dtype.kind not in "iu" or given.ndim != 1 or given.min() < -n or given.max() >= n:
        raise InputError(
            f"rows= gives no rows of the table: it takes a mask of {n:,} booleans, or numbers from 0 to "
            f"{n - 1:,}"
        )
    wanted[given] = True
    return wanted


def groups_of_rows(table: QTable, by: str | None, has: np.ndarray) -> list[Group]:
    """Return the groups of a table: noise and rows without a label first, so that they lie below.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    by : str or None
        Column of labels or of texts; that of the latest clustering by default, and one group
        for all if there is none.
    has : (n,) array of bool
        Rows that count.  A colour does not depend on them.

    Returns
    -------
    list of Group
        Those that have rows.

    Raises
    ------
    InputError
        If the column is missing, or holds neither cluster numbers nor texts.

    Examples
    --------
    >>> groups = groups_of_rows(QTable({"cluster": [1, -1, 1]}), "cluster", np.ones(3, dtype=bool))
    >>> [(group.tag, group.colour, group.rows.tolist()) for group in groups]
    [('noise', '#B5B5B5', [1]), ('cluster_1', '#0072B2', [0, 2])]
    """
    from astro_cluster.plotting.parts import NOISE_COLOUR, colour_of

    if by is None and not _is_clustered(table):
        return [Group(ALL, "all rows", colour_of(0, 0), np.flatnonzero(has))]
    by = require(table, by)[0] if by is not None else cluster_column(table)
    column = table[by]
    if getattr(column, "dtype", np.dtype(float)).kind in "USO" and column.ndim == 1:
        texts, nothing = cell_texts(column, len(table))
        kinds, number = np.unique(texts.astype(str), return_inverse=True)
        labels = np.unique(number[~nothing])
        words = {i: (plain_text(kinds[i]), str(kinds[i])) for i in labels}
    else:
        number, labelled = cluster_labels(table, by)
        nothing = ~labelled
        labels = np.unique(number[labelled])
        words = {i: (f"cluster_{i}", f"cluster {i}") if i >= 0 else ("noise", "noise") for i in labels}
    known = [label for label in labels if label >= 0]
    found = [Group(NO_GROUP, "no cluster", NOISE_COLOUR, np.flatnonzero(has & nothing), is_cluster=False)]
    for label in labels:
        colour = colour_of(int(label), known.index(label) if label >= 0 else 0)
        rows = np.flatnonzero(has & ~nothing & (number == label))
        found.append(Group(*words[label], colour, rows, is_cluster=bool(label >= 0)))
    return [group for group in found if group.rows.size]


def _is_clustered(table: QTable) -> bool:
    return any(n.endswith("cluster") or ucd_of(table, n) == "meta.code.class" for n in table.colnames)


def plain_text(text: Any) -> str:
    r"""Return a text that cannot end the region that it stands in.

    In a region file a text stands in braces, within which nothing but a closing brace and the end
    of the line has a meaning to DS9.  Both go, and so do what is not printable, backslashes and
    semicolons, which end a text for some other readers, characters beyond 16 bits, which DS9
    cannot show, and what is too long for it.

    Parameters
    ----------
    text : object
        A cell of a table.

    Returns
    -------
    str

    Examples
    --------
    >>> plain_text("M 45 {core}\n# color=red")
    'M 45 (core) # color=red'
    """
    flat = re.sub(r"\s+", " ", unicodedata.normalize("NFC", str(text))).strip()
    flat = flat.translate(str.maketrans("{}\\;", "()/,"))
    shown = "".join(c if c.isprintable() and ord(c) < 0x10000 else "?" for c in flat)
    return shown.encode("utf-8")[:_LONGEST_TEXT].decode("utf-8", "ignore")
