"""New spectra in the place of old ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable

from astro_cluster.columns import check_free, with_info
from astro_cluster.spectra.holding import Spectra
from astro_cluster.tables import derive
from astro_cluster.wavelengths import SPECTRA_KEY, Grid, note_spectra, spectra_facts

__all__ = ["check_names", "replaced_spectra", "without_lost_spectra"]

_BEFORE = "before"  # of the facts: what the table said when its spectra were others


def check_names(table: QTable, spectra: Spectra, prefix: str, *, overwrite: bool) -> tuple[str, str | None]:
    """Return what the columns of new spectra will be called.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        A table of spectra.
    spectra : Spectra
        Its spectra.
    prefix : str
        Put before their names; without one, the new spectra replace the old ones.
    overwrite : bool
        Whether other columns may be replaced, too.

    Returns
    -------
    flux, ivar : str
        None for spectra without errors.

    Raises
    ------
    InputError
        If such columns are there already.

    Examples
    --------
    >>> from astro_cluster.spectra import spectra_of
    >>> from astro_cluster.wavelengths import log_grid
    >>> table = QTable({"flux": np.ones((2, 5))})
    >>> note_spectra(table, log_grid(4000 * u.AA, 5000 * u.AA, 5), ivar=None)
    >>> check_names(table, spectra_of(table), "n_", overwrite=False)
    ('n_flux', None)
    """
    flux, ivar = spectra.flux_column, spectra.ivar_column
    if not prefix:
        return flux, ivar
    names = prefix + flux, None if ivar is None else prefix + ivar
    check_free(table, [name for name in names if name is not None], overwrite=overwrite)
    return names


def replaced_spectra(
    table: QTable,
    old: Spectra,
    flux: np.ndarray,
    ivar: np.ndarray | None,
    *,
    names: tuple[str, str | None],
    grid: Grid,
    unit: u.UnitBase,
    **facts: Any,
) -> QTable:
    """Return a table with other spectra.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        A table of spectra, left untouched.
    old : Spectra
        Its spectra.
    flux, ivar : (n, m) array of float
        The new ones; ``ivar`` None for spectra without errors.
    names : (str, str or None)
        Columns of the new ones, as `check_names` gives them.
    grid : Grid
        Their wavelengths.
    unit : `~astropy.units.UnitBase`
        Unit of the new fluxes.
    **facts
        What is to be noted of them; the other facts of the table are kept.

    Returns
    -------
    `~astropy.table.QTable`

    Examples
    --------
    >>> from astro_cluster.spectra import spectra_of
    >>> from astro_cluster.wavelengths import log_grid
    >>> table, grid = QTable({"flux": np.ones((2, 5))}), log_grid(4000 * u.AA, 5000 * u.AA, 5)
    >>> note_spectra(table, grid, ivar=None)
    >>> new = 2 * np.ones((2, 5))
    >>> out = replaced_spectra(
    ...     table, spectra_of(table), new, None, names=("flux", None), grid=grid, unit=u.Jy
    ... )
    >>> out["flux"][0, 0]
    <Quantity 2. Jy>
    """
    arrays = {names[0]: flux << unit}
    like = {names[0]: old.flux_column}
    if ivar is not None and names[1] is not None and old.ivar_column is not None:
        arrays[names[1]] = ivar << unit**-2
        like[names[1]] = old.ivar_column
    for name, column in arrays.items():
        if like[name] in table.colnames:  # and not in a file that the table links to
            with_info(column, table[like[name]])
        column.info.meta = dict(column.info.meta or {})
    # Spectra fill the memory: what is replaced is not copied first.
    kept = [name for name in table.colnames if name not in arrays]
    rest = derive(QTable(table[kept], copy=False)) if kept else QTable(meta=table.meta)
    columns = {name: arrays.pop(name) if name in arrays else rest[name] for name in table.colnames} | arrays
    out = QTable(columns, meta=rest.meta, copy=False)
    told = dict(spectra_facts(table) or {})
    noted = {k: v for k, v in told.items() if k not in ("flux", "ivar", "grid", _BEFORE)}
    if names[0] != old.flux_column:
        noted[_BEFORE] = told
    note_spectra(out, grid, flux=names[0], ivar=names[1] if ivar is not None else None, **(noted | facts))
    return out


def without_lost_spectra(table: QTable) -> QTable:
    """Return a table that tells of the spectra it has.

    `rerun` takes off the columns that a step added, but leaves what the table says of them.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table, left untouched.

    Returns
    -------
    `~astropy.table.QTable`
        The same object if it tells of no spectra, or has them.

    Examples
    --------
    >>> table = QTable({"x": [1]})
    >>> without_lost_spectra(table) is table
    True
    """
    told = spectra_facts(table) or {}
    before = told.get(_BEFORE)
    if told.get("flux") in table.colnames or not isinstance(before, Mapping):
        return table
    out = QTable(table, copy=False)
    out.meta = {**table.meta, SPECTRA_KEY: dict(before)}
    return out
