"""The spectra of a table as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import Table
from astropy.utils.masked import Masked

from astro_cluster.exceptions import InputError
from astro_cluster.wavelengths import Grid, grid_of, spectra_facts

__all__ = ["BAD", "Spectra", "has_spectra", "spectra_of"]

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
    return facts is not None and facts.get("flux") in table.colnames


def spectra_of(table: Table) -> Spectra:
    """Return the spectra of a table as arrays, without copying what need not be.

    Parameters
    ----------
    table : `~astropy.table.Table`
        From `~astro_cluster.read_spectra`.

    Returns
    -------
    Spectra

    Raises
    ------
    InputError
        If the table has no spectra, or their columns do not fit the wavelengths.

    Examples
    --------
    >>> from astro_cluster.wavelengths import log_grid, note_spectra
    >>> table = Table({"flux": np.ones((2, 5))})
    >>> note_spectra(table, log_grid(4000 * u.AA, 5000 * u.AA, 5), ivar=None)
    >>> spectra_of(table).flux.shape
    (2, 5)
    """
    grid = grid_of(table)
    facts = spectra_facts(table) or {}
    names = facts.get("flux"), facts.get("ivar")
    flux, unit = _pixels(table, names[0], len(grid))
    ivar = None if names[1] is None else _pixels(table, names[1], len(grid))[0]
    counts = np.isfinite(flux) if ivar is None else np.isfinite(flux) & (ivar > 0)
    usable = counts.any(axis=1)
    if BAD in table.colnames:
        usable &= ~np.ma.filled(np.ma.asarray(table[BAD]), True).astype(bool)
    return Spectra(flux, ivar, grid, unit, usable, str(names[0]), names[1])


def _pixels(table: Table, name: object, m: int) -> tuple[np.ndarray, u.UnitBase]:
    if not isinstance(name, str) or name not in table.colnames:
        raise InputError(
            f"the table says that its spectra are in the column {name!r}, which it does not have"
        )
    column = table[name]
    unit = getattr(column, "unit", None) or u.dimensionless_unscaled
    values = column.value if isinstance(column, u.Quantity) else column
    if isinstance(values, Masked | np.ma.MaskedArray):
        values = values.filled(np.nan)
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] != m or values.dtype.kind not in "fiu":
        raise InputError(
            f"column {name!r} has the shape {values.shape} and type {values.dtype}; its table tells of {m} "
            "wavelengths; give it spectra of numbers on this grid"
        )
    return values, u.Unit(unit)
