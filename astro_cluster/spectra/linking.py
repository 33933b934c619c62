"""Spectra that a table has left in a FITS file: which they are, and how they are found again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Column, QTable, Table
from astropy.utils.masked import Masked

from astro_cluster.exceptions import InputError
from astro_cluster.fitstable import ChunkedFits
from astro_cluster.leaving import Heavy, leave, remember
from astro_cluster.linked import SPECTRA, is_regular_file, link_of
from astro_cluster.provenance import register_lender
from astro_cluster.stacks import (
    array_facts,
    check_rows,
    check_unchanged,
    is_linked,
    linked_rows,
    opened,
    place_of,
    row_column,
    taken,
    without_columns,
)
from astro_cluster.storage import with_texts
from astro_cluster.wavelengths import SPECTRA_KEY, Grid, spectra_facts

__all__ = [
    "leave_spectra",
    "link_spectra",
    "linked_columns",
    "linked_pixels",
    "pixels_inside",
    "remember_spectra",
    "spectrum_columns",
]

_FEWEST_PIXELS = 64  # of a column that nothing is said of and that is taken for spectra


def spectrum_columns(table: Table) -> list[str]:
    """Return the columns of a table that have a number for each wavelength.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.

    Returns
    -------
    list of str
        The flux, its inverse variance, reconstructions, and what else has the shape of spectra.

    Examples
    --------
    >>> spectrum_columns(Table({"x": [1]}))
    []
    """
    facts = spectra_facts(table)
    if facts is None:
        return []
    try:
        m = len(Grid.from_plain(facts.get("grid")))
    except InputError:  # which is told where spectra are wanted, and not when a table is read
        return []
    said = [facts.get("flux"), facts.get("ivar"), *_reconstructions(facts)]
    found = [name for name in said if isinstance(name, str) and _has_shape(table, name, m)]
    if m >= _FEWEST_PIXELS:
        found += [name for name in table.colnames if _has_shape(table, name, m)]
    return list(dict.fromkeys(found))


def _reconstructions(facts: Mapping[str, Any]) -> list[Any]:
    found = facts.get("reconstructions")
    return list(found) if isinstance(found, Mapping) else []


def _has_shape(table: Table, name: str, m: int) -> bool:
    if name not in table.colnames:
        return False
    column = table[name]
    return getattr(column, "shape", ())[1:] == (m,) and getattr(column, "dtype", np.dtype("O")).kind in "biuf"


def pixels_inside(table: Table, name: str) -> np.ndarray:
    """Return a column of spectra that a table has itself as an array.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Table of n rows.
    name : str
        One of its columns.

    Returns
    -------
    array
        In the machine's own byte order, without a copy where that is possible; NaN where masked.

    Examples
    --------
    >>> pixels_inside(QTable({"flux": [[1.0, 2.0]] * u.mJy}), "flux")
    array([[1., 2.]])
    """
    column = table[name]
    values = column.value if isinstance(column, u.Quantity) else column
    if isinstance(values, Masked | np.ma.MaskedArray):
        bare = values.unmasked if isinstance(values, Masked) else values.data
        # What was read from a file has NaN behind the mask.
        hidden = values.dtype.kind == "f" and np.isnan(bare[values.mask]).all()
        values = bare if hidden else values.filled(np.nan if values.dtype.kind == "f" else 0)
    values = np.asarray(values)
    return values if values.dtype.isnative else taken(values)


# ---------------------------------------------------------------- links


def link_spectra(table: Table, path: str | os.PathLike[str], *, rows: Any = None) -> QTable:
    """Return a table that links to a file of spectra instead of holding them.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Table of n rows; its column ``spectrum_row`` is used if it has one and ``rows`` is not given.
    path : str or path
        FITS file of a table of spectra, as `~astro_cluster.read_spectra` makes it.
    rows : (n,) array of int, optional
        Which spectrum of the file is the row's; masked where there is none.  One after another if
        neither this nor the column is given.

    Returns
    -------
    `~astropy.table.QTable`
        With the column ``spectrum_row`` and the link in ``meta["astro_cluster_spectra_file"]``.

    Raises
    ------
    InputError
        If there is no such file, it does not say at which wavelengths its spectra are, or it has
        not these rows.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> from astro_cluster.spectra import log_grid, spectra_of
    >>> from astro_cluster.wavelengths import note_spectra
    >>> qso = QTable({"flux": np.arange(8.0).reshape(2, 4) * u.mJy})
    >>> note_spectra(qso, log_grid(4000 * u.AA, 5000 * u.AA, 4), ivar=None)
    >>> path = ac.write(qso, getfixture("tmp_path") / "qso.fits")
    >>> linked = link_spectra(QTable({"id": [7, 8]}), path, rows=[1, 0])
    >>> spectra_of(linked).flux[0]
    array([4., 5., 6., 7.])
    """
    path = Path(path)
    head = _head_of(path)
    names = spectrum_columns(head)
    if not names:
        raise InputError(
            f"{path} does not say at which wavelengths its spectra are: make it with read_spectra and write "
            "it as FITS"
        )
    units = {name: _unit_of(head, name) for name in names}
    return _linked(table, path, spectra_facts(head) or {}, units, rows)


def _linked(table: Table, path: Path, facts: Mapping[str, Any], units: dict[str, str], rows: Any) -> QTable:
    """Return a table that links to some columns of a file."""
    main, *others = units
    stacks = {name: _stack(path, name) for name in units}
    out = QTable(table, copy=False)
    if rows is None:
        rows = out[SPECTRA.row] if SPECTRA.row in out.colnames else np.arange(len(out))
    check_rows(rows, len(out), len(stacks[main]), path, SPECTRA)
    out[SPECTRA.row] = row_column(rows, SPECTRA)
    told = {name: array_facts(stack, unit=units[name]) for name, stack in stacks.items()}
    out.meta[SPECTRA_KEY] = dict(facts)
    link = {"file": str(path.resolve()), "column": main, **told[main]}
    # By name and not in a list: astropy puts lists one behind the other where tables are stacked.
    out.meta[SPECTRA.key] = link | {"beside": {name: told[name] for name in others}}
    return without_columns(out, list(units))


def _stack(path: Path, name: str) -> np.ndarray:
    return opened(path, name, SPECTRA, dimensions=(2,))


def _head_of(path: Path) -> QTable:
    """Return the table of a file without its rows."""
    if not is_regular_file(path):
        raise InputError(f"there is no file {path}")
    try:
        file = ChunkedFits(path)
        return with_texts(file.head(), file.texts)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        # Readers have exceptions of their own for a broken file; the user needs the one fact.
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{path} cannot be read as a table of spectra: {reason}") from error


def _unit_of(table: Table, name: str) -> str:
    return str(getattr(table[name], "unit", None) or "")


def linked_columns(table: Table) -> list[str]:
    """Return the columns of spectra that a table has left in another file.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.

    Returns
    -------
    list of str
        Without those that it has itself; empty if it links to no spectra.

    Examples
    --------
    >>> linked_columns(QTable({"x": [1]}))
    []
    """
    link = link_of(table, SPECTRA)
    if link is None or SPECTRA.row not in table.colnames:
        return []
    beside = link.get("beside")
    names = [link.get("column", SPECTRA.column), *(beside if isinstance(beside, Mapping) else [])]
    return [name for name in names if isinstance(name, str) and name not in table.colnames]


def linked_pixels(table: Table, name: str) -> tuple[np.ndarray, str]:
    """Return a column of spectra that a table has left in another file.

    Parameters
    ----------
    table : `~astropy.table.Table`
        A table with ``spectrum_row`` and a link.
    name : str
        Name of the column in that file.

    Returns
    -------
    values : (n, m) array
        In the rows' order; NaN where the table has no spectrum.
    unit : str
        Their unit.

    Raises
    ------
    InputError
        If the file has gone, or is not what it was when the table was written.
    """
    link = link_of(table, SPECTRA)
    if link is None or not is_linked(table, SPECTRA):
        raise InputError("the table links to no spectra")
    path = place_of(link, SPECTRA)
    stack = _stack(path, name)
    facts = _facts_of(link, name)
    if facts.get("hash"):
        check_unchanged(stack, facts, path, SPECTRA)
    return linked_rows(table, stack, path, SPECTRA), str(facts.get("unit", ""))


def _facts_of(link: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return what a link tells of a column; from a file, so it may be anything."""
    beside = link.get("beside")
    found = link if name == link.get("column") else beside.get(name) if isinstance(beside, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    if found.get("hash") and not isinstance(found.get("shape"), list):
        raise InputError(
            f"what the table says of its spectra ({name!r}) is damaged: astro_cluster.spectra.link_spectra("
            "table, path) says it anew"
        )
    return found


@register_lender
def _lent(table: QTable, name: str) -> Column | None:
    """Return the spectra that a table which is run again was made from, if they are what it links to."""
    if name not in linked_columns(table):
        return None
    values, unit = linked_pixels(table, name)
    return Column(values, unit=unit or None, copy=False)


# ---------------------------------------------------------------- left behind


def remember_spectra(table: QTable, path: str | os.PathLike[str]) -> QTable:
    """Note in a table just read which file its spectra are in.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        A table that was read from one file.
    path : str or path
        This file.

    Returns
    -------
    `~astropy.table.QTable`
        With the column ``spectrum_row``, so that the rows may move; the same table if it has no
        spectra, or its file is no FITS.
    """
    names = spectrum_columns(table)
    return remember(table, path, SPECTRA, names[0]) if names else table


def leave_spectra(
    table: QTable, path: str | os.PathLike[str], *, overwrite: bool = False
) -> tuple[QTable, str]:
    """Return the table that is to be written to a file, and what is to be said of its spectra.

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
        With its spectra if the file is a FITS file; else with ``spectrum_row`` and a link to the file
        that has them.  If no file has all of them, one is written beside the table.
    note : str
        Where the spectra are, if not in the table.

    Raises
    ------
    InputError
        If spectra have to be written and cannot be.
    """
    names = spectrum_columns(table)
    if names and (others := linked_columns(table)):
        # Some are inside, some elsewhere: one file has to have them all.
        table = QTable(table, copy=False)
        for name in others:
            values, unit = linked_pixels(table, name)
            table[name] = u.Quantity(values, unit, copy=False) if unit else Column(values, copy=False)
        names = spectrum_columns(table)
    facts = dict(spectra_facts(table) or {})
    units = {name: _unit_of(table, name) for name in names}
    heavy = Heavy(
        SPECTRA,
        names,
        values=pixels_inside,
        stack=_stack,
        linked=lambda table, source, rows: _linked(table, source, facts, units, rows),
        meta={SPECTRA_KEY: facts},
    )
    return leave(table, path, heavy, overwrite=overwrite)
