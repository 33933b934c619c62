"""Spectra that are in a table already, with a flux for each wavelength, put onto a grid."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table
from astropy.utils.masked import Masked

from astro_cluster.columns import check_free, require
from astro_cluster.exceptions import AstroClusterWarning, InputError, did_you_mean
from astro_cluster.provenance import Step
from astro_cluster.spectra.assembling import add_spectra
from astro_cluster.spectra.fluxunits import is_flux
from astro_cluster.spectra.found import FoundSpectrum, NoSpectrum
from astro_cluster.spectra.holding import BAD
from astro_cluster.spectra.preparing import Aim, onto_grid, prepared, scaled_unit, suggested_grid
from astro_cluster.spectra.redshifts import numbers_of
from astro_cluster.spectra.weighing import ERROR, IVAR, inverse_variances
from astro_cluster.tables import derive
from astro_cluster.threads import run_all
from astro_cluster.wavelengths import Grid, spectra_facts

__all__ = ["spectra_in_table"]

_AT_ONCE = 64  # rows
_SHOWN = 5
_USUAL = ("redshift", "z")
_WAVELENGTHS = ("wavelength", "wave", "lambda", "loglam")


def spectra_in_table(
    source: Table,
    aim: Aim,
    *,
    wavelength: Any,
    flux: str | None,
    ivar: str | None,
    error: str | None,
    redshift: Any,
    threads: int,
    recorded: dict[str, Any],
) -> Step:
    """Put the spectra of a table onto a grid.

    Parameters
    ----------
    source : `~astropy.table.Table`
        Table of n rows.
    aim : Aim
        What they become.
    wavelength : `~astropy.units.Quantity`, str or None
        Of the fluxes: (p,) for all rows, or a column (n, p), or what the table says.
    flux, ivar, error, redshift : str or None
        Columns.
    threads : int
        How many at a time.
    recorded : dict
        Parameters for the record.

    Returns
    -------
    Step

    Raises
    ------
    InputError
        If there are no such columns, or no row has a spectrum.
    """
    table = QTable(source, copy=False)
    work = _Rows(table, aim, wavelength=wavelength, flux=flux, ivar=ivar, error=error, redshift=redshift)
    aim = work.settled()
    if aim.grid is None:
        raise ValueError("there is no grid")  # our own mistake
    n, m = len(table), len(aim.grid)
    new_flux, new_ivar = np.full((n, m), np.nan, np.float32), np.zeros((n, m), np.float32)
    coverage, snr = np.full(n, np.nan), np.full(n, np.nan)
    problems: dict[int, str] = {}

    def task(rows: range) -> None:
        for row in rows:
            try:
                coverage[row] = onto_grid(
                    work.prepared(row, aim), aim, new_flux[row], new_ivar[row], look=False
                )
                counts = new_ivar[row] > 0
                snr[row] = np.median(new_flux[row, counts] * np.sqrt(new_ivar[row, counts]))
            except NoSpectrum as problem:
                problems[row] = str(problem)

    run_all([lambda at=at: task(range(at, min(at + _AT_ONCE, n))) for at in range(0, n, _AT_ONCE)], threads)
    if len(problems) == n:
        raise InputError(f"none of {n} rows has a spectrum that can be used: {_told(problems)}")
    others = [name for name in table.colnames if name not in ("flux", "ivar")]
    out = derive(table[others]) if others else QTable(meta=copy.deepcopy(table.meta))
    add_spectra(
        out, new_flux, new_ivar, aim.unit or u.one, aim.grid,
        coverage=coverage, snr=snr, bad=np.isin(np.arange(n), list(problems)),
    )  # fmt: skip
    _warn(problems, n, is_estimated=work.errors is None)
    return Step(out, table, inputs=work.inputs, facts={"grid": aim.grid.to_plain()}, parameters=recorded)


def _told(problems: Mapping[int, str]) -> str:
    first = sorted(problems.items())[:_SHOWN]
    return ", ".join(f"row {row} ({why})" for row, why in first) + (", …" if len(problems) > _SHOWN else "")


def _warn(problems: Mapping[int, str], n: int, *, is_estimated: bool) -> None:
    told = []
    if problems:
        told.append(f"{len(problems)} of {n} spectra cannot be used, and {BAD} is set: {_told(problems)}")
    if is_estimated:
        told.append("there is no column of errors: ivar is from the scatter of the pixels of each spectrum")
    for text in told:
        warnings.warn(text, AstroClusterWarning, stacklevel=5)


class _Rows:
    """The spectra of a table, a row at a time."""

    def __init__(
        self,
        table: QTable,
        aim: Aim,
        *,
        wavelength: Any,
        flux: str | None,
        ivar: str | None,
        error: str | None,
        redshift: Any,
    ) -> None:
        facts = spectra_facts(table) or {}
        self.table, self.aim = table, aim
        name = flux or facts.get("flux") or "flux"
        self.flux, self.unit = _pixels(table, name)
        if len(table) == 0:
            raise InputError("the table has no row")
        if self.unit is not None and not is_flux(self.unit):
            raise InputError(f"column {name!r} holds logarithms, in {self.unit}: bring it to a flux first")
        self.inputs = [name]
        self.own = Grid.from_plain(facts["grid"]) if facts.get("grid") and facts.get("flux") == name else None
        self.errors, self.power = self._errors(ivar, error, facts.get("ivar") if self.own else None)
        self.middles, self.wavelength_unit = self._wavelengths(wavelength, name)
        self.redshift = self._redshifts(redshift)
        check_free(table, ["coverage", "snr_median", BAD], overwrite=BAD in table.colnames)
        if lost := [one for one in ("flux", "ivar") if one in table.colnames and one not in self.inputs]:
            raise InputError(
                f"the new spectra would replace the column {lost[0]!r}, which they are not made of: rename "
                "it or take it out first"
            )

    def _errors(self, ivar: str | None, error: str | None, told: Any) -> tuple[np.ndarray | None, float]:
        if ivar is not None and error is not None:
            raise InputError("ivar= and error= say the same twice; give one of them")
        name = ivar or error or told or ("ivar" if "ivar" in self.table.colnames else None)
        if name is None:
            return None, IVAR
        values, unit = _pixels(self.table, name)
        if values.shape != self.flux.shape:
            raise InputError(f"column {name!r} has the shape {values.shape}, the flux {self.flux.shape}")
        self.inputs.append(name)
        wanted = self.unit if error else None if self.unit is None else self.unit**-2
        if unit is not None and wanted is not None and unit != wanted:
            try:
                values = values * unit.to(wanted)
            except u.UnitConversionError:
                raise InputError(
                    f"column {name!r} is in {unit}, and the flux in {self.unit}: they do not go together"
                ) from None
        return values, ERROR if error else IVAR

    def _wavelengths(self, given: Any, flux: str) -> tuple[np.ndarray, u.UnitBase | None]:
        p = self.flux.shape[1]
        if given is None:
            if self.own is not None:
                return self.own.angstrom, u.AA
            usual = [name for name in _WAVELENGTHS if name in self.table.colnames]
            if not usual:
                raise InputError(
                    f"it is not known at which wavelengths the {p} fluxes of column {flux!r} are: give "
                    "wavelength=, an array with a unit or the name of a column"
                )
            given = usual[0]
        if isinstance(given, str):
            values, unit = _pixels(self.table, given)
            self.inputs.append(given)
            if given.lower().startswith("log"):
                values, unit = 10.0**values, u.AA
        else:
            unit = given.unit if isinstance(given, u.Quantity) else None
            values = np.asarray(given.value if isinstance(given, u.Quantity) else given)
            if values.dtype.kind not in "iuf":
                raise InputError(f"wavelength= holds {values.dtype}, no numbers")
        if values.shape not in ((p,), self.flux.shape):
            raise InputError(
                f"the wavelengths have the shape {values.shape}, and column {flux!r} {self.flux.shape}: give "
                "one for each flux"
            )
        return values.astype(np.float64, copy=False), unit

    def _redshifts(self, given: Any) -> np.ndarray:
        if isinstance(given, Mapping):
            raise InputError("redshift= of a table is the name of its column")
        if given is None:
            names = [name for name in self.table.colnames if name.lower() in _USUAL]
            given = min(names, key=lambda name: _USUAL.index(name.lower())) if names else None
            if given is None or self.aim.frame == (self.own.frame if self.own else "observed"):
                return np.full(len(self.table), np.nan)
        require(self.table, [given])
        self.inputs.append(given)
        return numbers_of(self.table[given], given)

    def settled(self) -> Aim:
        """Return the aim with unit and grid; those of the first spectrum if none are given."""
        aim, unit, problems = self.aim, self.aim.unit, dict[int, str]()
        if unit is not None and aim.grid is not None:
            return aim
        for row in range(len(self.table)):
            try:
                one = self.prepared(row, aim)
            except NoSpectrum as problem:
                problems[row] = str(problem)
                continue
            unit = unit or scaled_unit(self.unit, one.flux)
            if aim.grid is not None:
                return aim.knowing(unit, aim.grid)
            grid = Grid(one.angstrom, aim.medium, aim.frame)
            self._check_alike(grid, aim, problems)
            return aim.knowing(unit, grid, is_own=True)
        raise InputError(f"none of {len(self.table)} rows has a spectrum that can be used: {_told(problems)}")

    def _check_alike(self, grid: Grid, aim: Aim, problems: Mapping[int, str]) -> None:
        """Make sure that one grid is that of all rows."""
        if self.middles.ndim == 1 and aim.frame == (self.own.frame if self.own else "observed"):
            return
        others, ranges = [], [grid.angstrom[[0, -1]]]
        for row in range(len(self.table)):
            if row in problems:
                continue
            try:
                one = self.prepared(row, aim)
            except NoSpectrum:
                continue
            if not one.is_on(grid):
                others.append(row)
                ranges.append(one.angstrom[[0, -1]])
        if others:
            step = float(np.median(np.diff(np.log(grid.angstrom))))
            proposal = suggested_grid(np.array(ranges), step)
            raise InputError(
                f"{len(others)} rows have other wavelengths than the first, {grid}, as row {others[0]}: "
                f"give a grid that all are put on, such as grid='{proposal}'"
            )

    def prepared(self, row: int, aim: Aim) -> Any:
        """Return the spectrum of a row in the units, frame and medium that are wanted."""
        middles = self.middles if self.middles.ndim == 1 else self.middles[row]
        there = np.isfinite(middles)  # rows of their own lengths end with NaN
        pixels = slice(None) if there.all() else there
        weights = None
        if self.errors is not None:
            weights = inverse_variances(self.errors[row][pixels], self.power)
        found = FoundSpectrum(
            middles[pixels],
            self.flux[row][pixels],
            weights,
            wavelength_unit=self.wavelength_unit,
            unit=self.unit,
            medium=self.own.medium if self.own else None,
        )
        redshift = self.redshift[row]
        frame = self.own.frame if self.own else "observed"
        if frame == aim.frame:
            return prepared(found, replace(aim, frame="observed"), redshift)
        if frame == "observed":
            return prepared(found, aim, redshift)
        if not np.isfinite(redshift):
            raise NoSpectrum("it has no redshift, which frame='observed' needs here")
        # Back from the rest frame is the rest frame of the inverse.
        return prepared(found, replace(aim, frame="rest"), 1.0 / (1.0 + redshift) - 1.0)


def _pixels(table: Table, name: str) -> tuple[np.ndarray, u.UnitBase | None]:
    """Return a column with a number for each wavelength, and its unit."""
    if name not in table.colnames:
        raise InputError(
            f"the table has no column {name!r}{did_you_mean(name, table.colnames)} Give the name of the "
            "column of fluxes (flux=), of their ivar= or error=, and wavelength="
        )
    column = table[name]
    unit = getattr(column, "unit", None)
    values = column.value if isinstance(column, u.Quantity) else column
    if isinstance(values, Masked | np.ma.MaskedArray):
        values = values.astype(values.dtype if values.dtype.kind == "f" else float).filled(np.nan)
    values = np.asarray(values)
    if values.ndim != 2 or values.dtype.kind not in "fiu" or values.shape[1] < 2:
        raise InputError(
            f"column {name!r} has the shape {values.shape} and the type {values.dtype}: give one with a "
            "number for each wavelength in each row, (n, p)"
        )
    return values, None if unit is None else u.Unit(unit)
