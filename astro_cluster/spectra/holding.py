"""The spectra of a table as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import Table

from astro_cluster.cells import flags_of
from astro_cluster.exceptions import InputError
from astro_cluster.linked import SPECTRA, link_of
from astro_cluster.spectra.linking import linked_columns, linked_pixels, pixels_inside
from astro_cluster.wavelengths import Grid, grid_of, spectra_facts

__all__ = ["BAD", "Spectra", "has_spectra", "pixels_of", "sources_of_spectra", "spectra_of"]

BAD = "spectrum_bad"
"""Column that says whether a spectrum could not be read."""


@dataclass(frozen=True)
class Spectra:
    """Spectra on one grid.

    Parameters
    ----------
    flux : (n, m) array of float
        Fluxes; NaN where there is none.
    ivar : (n, m) array of float or None
        Inverse variances, 0 where a pixel must not count; None if none are known.
    grid : Grid
        Wavelengths.
    unit : `~astropy.units.UnitBase`
        Unit of the flux; the inverse variance has its inverse square.
    usable : (n,) array of bool
        Rows with at least one pixel that counts.
    flux_column, ivar_column : str or None
        Columns they are from.
    """

    flux: np.ndarray
    ivar: np.ndarray | None
    grid: Grid
    unit: u.UnitBase
    usable: np.ndarray
    flux_column: str
    ivar_column: str | None

    def __len__(self) -> int:
        return len(self.flux)


def has_spectra(table: Table) -> bool:
    """Tell whether a table has spectra, and says at which wavelengths.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.

    Returns
    -------
    bool

    Examples
    --------
    >>> has_spectra(Table({"x": [1]}))
    False
    """
    facts = spectra_facts(table)
    return facts is not None and facts.get("flux") in [*table.colnames, *linked_columns(table)]


def sources_of_spectra(table: Table) -> list[str]:
    """Return the columns that tell which spectra a table has.

    Parameters
    ----------
    table : `~astropy.table.Table`
        A table of spectra.

    Returns
    -------
    list of str
        Those of flux and inverse variance, or ``spectrum_row`` if these are in a file that the table
        links to; and that of spectra that could not be read, if there is one.

    Examples
    --------
    >>> from astro_cluster.wavelengths import log_grid, note_spectra
    >>> table = Table({"flux": np.ones((2, 5))})
    >>> note_spectra(table, log_grid(4000 * u.AA, 5000 * u.AA, 5), ivar=None)
    >>> sources_of_spectra(table)
    ['flux']
    """
    facts = spectra_facts(table) or {}
    names = [name for name in (facts.get("flux"), facts.get("ivar")) if isinstance(name, str)]
    linked = linked_columns(table)
    used = [SPECTRA.row if name in linked else name for name in names]
    return list(dict.fromkeys([*used, *([BAD] if BAD in table.colnames else [])]))


def spectra_of(table: Table) -> Spectra:
    """Return the spectra of a table as arrays, without copying what need not be.

    Parameters
    ----------
    table : `~astropy.table.Table`
        From `~astro_cluster.read_spectra`; or one that was made of it and links to the file that has the
        spectra (:doc:`/user_guide/embedding`), in any order and any part of its rows.

    Returns
    -------
    Spectra
        Not to be written to: it may be the table's own memory.  A row for which a linked table has no
        spectrum is NaN, and not usable.

    Raises
    ------
    InputError
        If the table has no spectra, or their columns do not fit the wavelengths; if the file that they
        are in has gone or changed.

    Examples
    --------
    >>> from astro_cluster.wavelengths import log_grid, note_spectra
    >>> table = Table({"flux": np.ones((2, 5))})
    >>> note_spectra(table, log_grid(4000 * u.AA, 5000 * u.AA, 5), ivar=None)
    >>> spectra_of(table).flux.shape
    (2, 5)
    """
    if spectra_facts(table) is None and SPECTRA.row in table.colnames and link_of(table, SPECTRA) is None:
        raise InputError(
            f"the table has a column {SPECTRA.row!r} and does not say of which file (CSV does not keep "
            "that): astro_cluster.spectra.link_spectra(table, 'qso.fits') says so"
        )
    grid = grid_of(table)
    facts = spectra_facts(table) or {}
    names = facts.get("flux"), facts.get("ivar")
    flux, unit = _pixels(table, names[0], len(grid))
    ivar = None if names[1] is None else _pixels(table, names[1], len(grid))[0]
    if ivar is not None and ivar.dtype.kind == "f" and np.isnan(ivar).any():
        ivar = np.nan_to_num(ivar, nan=0.0, posinf=np.inf, neginf=-np.inf)
    counts = np.isfinite(flux) if ivar is None else np.isfinite(flux) & (ivar > 0) & np.isfinite(ivar)
    usable = counts.any(axis=1)
    if BAD in table.colnames:
        usable &= ~flags_of(table[BAD])
    return Spectra(flux, ivar, grid, unit, usable, str(names[0]), names[1])


def pixels_of(table: Table, column: str) -> tuple[np.ndarray, u.UnitBase]:
    """Return one column of spectra of a table, wherever it is.

    Parameters
    ----------
    table : `~astropy.table.Table`
        A table of spectra, or one that links to a file of them.
    column : str
        ``"flux"``, ``"ivar"``, ``"reconstruction"`` …

    Returns
    -------
    values : (n, m) array
        In the rows' order, not to be written to.
    unit : `~astropy.units.UnitBase`
        Their unit.

    Raises
    ------
    InputError
        As `spectra_of`.

    Examples
    --------
    >>> from astro_cluster.wavelengths import log_grid, note_spectra
    >>> table = Table({"flux": np.ones((2, 5)) * u.mJy})
    >>> note_spectra(table, log_grid(4000 * u.AA, 5000 * u.AA, 5), ivar=None)
    >>> pixels_of(table, "flux")[1]
    Unit("mJy")
    """
    return _pixels(table, column, len(grid_of(table)))


def _pixels(table: Table, name: object, m: int) -> tuple[np.ndarray, u.UnitBase]:
    if isinstance(name, str) and name in table.colnames:
        values, unit = pixels_inside(table, name), getattr(table[name], "unit", None)
    elif isinstance(name, str) and name in linked_columns(table):
        values, unit = linked_pixels(table, name)
    else:
        raise InputError(
            f"the table says that its spectra are in the column {name!r}, which it does not have"
        )
    if values.ndim != 2 or values.shape[1] != m or values.dtype.kind not in "fiu":
        raise InputError(
            f"column {name!r} has the shape {values.shape} and type {values.dtype}; its table tells of {m} "
            "wavelengths; give it spectra of numbers on this grid"
        )
    try:
        return values, u.Unit(unit or "")
    except (TypeError, ValueError):
        raise InputError(
            f"the spectra in the column {name!r} are said to be in {unit!r}, which is no unit"
        ) from None
