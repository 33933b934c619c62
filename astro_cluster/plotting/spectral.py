"""What a figure of spectra draws: chosen rows with their errors, reconstructions, names and redshifts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from astro_cluster.columns import require
from astro_cluster.exceptions import InputError
from astro_cluster.plotting.emission import line_places, redshifts_of
from astro_cluster.plotting.limits import STEPS
from astro_cluster.plotting.panels import tidy
from astro_cluster.plotting.rows import names_of_rows
from astro_cluster.spectra.holding import Spectra, pixels_of
from astro_cluster.spectra.linking import linked_columns
from astro_cluster.wavelengths import Grid, spectra_facts

__all__ = [
    "ERROR",
    "FLUX",
    "MASKED",
    "MODEL",
    "Shown",
    "Spectrum",
    "best_first",
    "flux_label",
    "mark_lines",
    "spectrum_axes",
    "wavelength_label",
]

FLUX, ERROR, MODEL, MASKED = "#333333", "#7FB2E0", "#D55E00", "#B5B5B5"
_NAMES = ("source_id", "name", "source_file")
_COLUMN = "reconstruction"
_SHARE = 0.002  # of the pixels may lie above the axis


@dataclass(frozen=True)
class Spectrum:
    """One spectrum to draw.

    Parameters
    ----------
    name : str
        What it is called.
    flux : (m,) array of float
        NaN where there is none.
    ivar : (m,) array of float or None
        Inverse variances, 0 where a pixel does not count.
    made : (m,) array of float or None
        What a model makes of it.
    redshift : float
        NaN if not known.
    """

    name: str
    flux: np.ndarray
    ivar: np.ndarray | None
    made: np.ndarray | None
    redshift: float

    @property
    def counts(self) -> np.ndarray:
        """Which pixels count, (m,)."""
        seen = np.isfinite(self.flux)
        return seen if self.ivar is None else seen & np.isfinite(self.ivar) & (self.ivar > 0)

    @property
    def error(self) -> np.ndarray:
        """Standard deviation of each pixel, NaN where it does not count, (m,)."""
        error = np.full(len(self.flux), np.nan)
        if self.ivar is not None:
            counts = self.counts
            error[counts] = 1 / np.sqrt(self.ivar[counts].astype(np.float64))
        return error

    @property
    def residual(self) -> np.ndarray | None:
        """Flux minus reconstruction, over its error where that is known, (m,); NaN where nothing counts."""
        if self.made is None:
            return None
        rest = np.where(self.counts, self.flux - self.made, np.nan)
        return rest if self.ivar is None else rest / self.error

    @property
    def chi2(self) -> float:
        """χ² of the reconstruction per pixel that counts; NaN without errors."""
        rest = self.residual
        if rest is None or self.ivar is None or not np.isfinite(rest).any():
            return float("nan")
        return float(np.nanmean(rest**2))

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of the axis: all but the most stray pixels, and all of the reconstruction."""
        flux = self.flux[self.counts]
        if not flux.size:
            return -1.0, 1.0
        low, high = np.quantile(flux, [_SHARE, 1 - _SHARE])
        if self.made is not None and (made := self.made[self.counts & np.isfinite(self.made)]).size:
            low, high = min(low, made.min()), max(high, made.max())
        low = min(low, 0.0) if low < 0.25 * high else low
        margin = 0.06 * (high - low) or 0.5 * abs(high) or 1.0
        return float(low - margin), float(high + 1.6 * margin)


class Shown:
    """The spectra of chosen rows.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        With spectra.
    spectra : Spectra
        Of all its rows.
    rows : (k,) array of int
        Those to draw.
    reconstruction : str, path, model, bool or None
        A column, a fitted model or its file; False for none; None for the column ``reconstruction`` if
        the table has one.
    labels : str or None
        Column of names.
    redshift : str or None
        Column of redshifts.

    Raises
    ------
    InputError
        If there is no such column or file, or its shape is not that of the spectra.
    """

    def __init__(
        self,
        table: QTable,
        spectra: Spectra,
        rows: np.ndarray,
        *,
        reconstruction: Any = None,
        labels: str | None = None,
        redshift: str | None = None,
    ) -> None:
        self.grid: Grid = spectra.grid
        self.rows = rows
        redshifts = redshifts_of(table, redshift)[rows]
        self.flux = np.array(spectra.flux[rows], np.float64)
        self.ivar = None if spectra.ivar is None else np.array(spectra.ivar[rows], np.float64)
        made = _reconstructions(table, self, reconstruction, redshifts, spectra.unit)
        if made is not None and made.shape != self.flux.shape:
            raise InputError(
                f"the reconstructions have {made.shape[-1]} pixels, and the spectra {self.flux.shape[1]}"
            )
        self.power = _power_of(self.flux)
        if self.power:
            self.flux = self.flux / 10.0**self.power
            self.ivar = None if self.ivar is None else self.ivar * 10.0 ** (2 * self.power)
            made = None if made is None else made / 10.0**self.power
        self.has_errors = self.ivar is not None
        self.has_reconstructions = made is not None
        names = names_of_rows(table, rows, labels, _NAMES)
        self.spectra = [
            Spectrum(
                name,
                self.flux[number],
                None if self.ivar is None else self.ivar[number],
                None if made is None else made[number],
                float(redshifts[number]),
            )
            for number, name in enumerate(names)
        ]

    def __len__(self) -> int:
        return len(self.spectra)


def _power_of(flux: np.ndarray) -> int:
    """Return the power of ten that the label of the axis has, where the numbers are not of a handy size."""
    seen = np.abs(flux[np.isfinite(flux)])
    typical = float(np.quantile(seen, 0.9)) if seen.size else 0.0
    return 0 if typical == 0 or 1e-3 <= typical < 1e5 else int(np.floor(np.log10(typical)))


def _reconstructions(
    table: QTable, shown: Shown, asked: Any, redshifts: np.ndarray, unit: u.UnitBase
) -> np.ndarray | None:
    if asked is False:
        return None
    if asked is None or asked is True:
        found = _columns_of_reconstructions(table)
        if not found and asked is None:
            return None
        if not found:
            raise InputError("the table has no reconstructions; add them with reconstruct(table, model)")
        asked = found[-1]
    if isinstance(asked, str) and not asked.endswith(".safetensors"):
        if asked not in linked_columns(table):
            require(table, asked)
        values, own = pixels_of(table, asked)
        made = np.array(values[shown.rows], np.float64)
        return made * (1.0 if own == u.dimensionless_unscaled else _scale(own, unit, asked))
    if isinstance(asked, (str, os.PathLike)):
        from astro_cluster.embedding import load_model

        asked = load_model(asked)
    if not callable(getattr(asked, "reconstruct", None)):
        raise InputError(
            f"{type(asked).__name__} does not reconstruct spectra; give a column, a fitted model or its file"
        )
    more = {"redshift": redshifts} if getattr(asked, "conditioned", False) else {}
    return np.asarray(asked.reconstruct(shown.flux, weights=shown.ivar, **more), np.float64)


def _columns_of_reconstructions(table: QTable) -> list[str]:
    """Return the columns that are reconstructions of the spectra, in the table or in a file it links to."""
    there = [*linked_columns(table), *(name for name in table.colnames if np.ndim(table[name]) == 2)]
    noted = (spectra_facts(table) or {}).get("reconstructions")
    if isinstance(noted, Mapping) and (known := [name for name in noted if name in there]):
        return known
    return [name for name in there if name.endswith(_COLUMN)]


def _scale(own: u.UnitBase, unit: u.UnitBase, name: str) -> float:
    try:
        return float(own.to(unit))
    except u.UnitConversionError as error:
        raise InputError(f"column {name!r} is in {own}, and the flux in {unit}") from error


def best_first(table: QTable) -> str | None:
    """Return the column that is least for the best reconstructed spectrum.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.

    Returns
    -------
    str or None
        χ² before the squared error, the latest before others.

    Examples
    --------
    >>> best_first(QTable({"reconstruction_error": [1.0], "reconstruction_chi2": [1.0]}))
    'reconstruction_chi2'
    """
    for ending in ("reconstruction_chi2", "reconstruction_error"):
        found = [name for name in table.colnames if name.endswith(ending)]
        if found:
            return found[-1]
    return None


def wavelength_label(grid: Grid) -> str:
    """Return the label of an axis of wavelengths.

    Parameters
    ----------
    grid : Grid
        Their grid.

    Returns
    -------
    str

    Examples
    --------
    >>> from astro_cluster.wavelengths import log_grid
    >>> wavelength_label(log_grid(4000 * u.AA, 5000 * u.AA, 5))
    'observed wavelength in vacuum [Å]'
    """
    frame = "rest-frame" if grid.frame == "rest" else "observed"
    return f"{frame} wavelength in {grid.medium} [Å]"


def flux_label(table: QTable, unit: u.UnitBase, power: int = 0) -> str:
    r"""Return the label of an axis of fluxes.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        With spectra.
    unit : `~astropy.units.UnitBase`
        Of the flux.
    power : int, optional
        That of the ten by which the numbers were divided.

    Returns
    -------
    str

    Examples
    --------
    >>> flux_label(QTable(), u.Unit("1e-17 erg / (s cm2 Angstrom)"))
    'flux [$10^{-17}\\,\\mathrm{erg\\,Å^{-1}\\,s^{-1}\\,cm^{-2}}$]'
    """
    noted = (spectra_facts(table) or {}).get("normalized")
    by = noted.get("by") if isinstance(noted, dict) else None
    label = f"flux, normalised by {by}" if isinstance(by, str) else "flux"
    if unit == u.dimensionless_unscaled:
        return label + (rf" [$10^{{{power}}}$]" if power else "")
    inner, exponent = u.Unit(unit), float(power)
    own = np.log10(getattr(inner, "scale", 1.0))
    if abs(own - round(own)) < 1e-9:
        inner, exponent = u.Unit(inner / 10.0 ** round(own)) if own else inner, exponent + round(own)
    scale = rf"10^{{{exponent:.0f}}}\," if exponent else ""
    shown = inner.to_string("latex_inline").strip("$").replace(r"\mathring{A}", "Å").replace(r"\AA", "Å")
    return f"{label} [${scale}{shown}$]"


def mark_lines(ax: Axes, grid: Grid, redshift: float, *, named: bool = True, size: float = 6.0) -> list[str]:
    """Mark the emission lines that are on the grid.

    Parameters
    ----------
    ax : `~matplotlib.axes.Axes`
        Where a spectrum is drawn.
    grid : Grid
        Its wavelengths.
    redshift : float
        Of the object; without one nothing is marked, unless the wavelengths are those at rest.
    named : bool, optional
        Write the names, too.
    size : float, optional
        Of the letters in points.

    Returns
    -------
    list of str
        The lines that are marked.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from astro_cluster.wavelengths import log_grid
    >>> mark_lines(Figure().add_subplot(), log_grid(3625 * u.AA, 9000 * u.AA, 1500), 2.5)
    ['Lyα', 'Si IV', 'C IV', 'C III]']
    """
    places = line_places(grid, redshift)
    for place in places.values():
        ax.axvline(place, color="0.6", linewidth=0.5, linestyle=(0, (4, 3)), zorder=1)
    if named and places:
        _name_lines(ax, grid, places, size)
    return list(places)


def _name_lines(ax: Axes, grid: Grid, places: dict[str, float], size: float) -> None:
    """Write each name beside its line, on the side where there is room; where there is none, not at all."""
    first, last = grid.angstrom[[0, -1]]
    inches = ax.get_position().width * ax.get_figure(root=True).get_figwidth()  # type: ignore[union-attr]
    letter = 0.6 * size / 72 / inches * (last - first)  # Ångström
    ends, taken = [*list(places.values()), last][1:], first
    for (name, place), end in zip(places.items(), ends, strict=True):
        width = (len(name) + 0.6) * letter
        if place + width <= end:
            side, taken = "left", place + width
        elif place - width >= taken:
            side, taken = "right", place
        else:
            taken = place
            continue
        ax.annotate(
            name,
            (place, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(1.5 if side == "left" else -1.5, -1.5),
            textcoords="offset points",
            ha=side,
            va="top",
            fontsize=size,
            color="0.35",
        )


def spectrum_axes(ax: Axes, grid: Grid, *, size: float = 7.0) -> None:
    """Give axes the range of a grid and a few ticks.

    Parameters
    ----------
    ax : `~matplotlib.axes.Axes`
        Changed in place.
    grid : Grid
        Wavelengths.
    size : float, optional
        Of the letters in points.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from astro_cluster.wavelengths import log_grid
    >>> ax = Figure().add_subplot()
    >>> spectrum_axes(ax, log_grid(4000 * u.AA, 5000 * u.AA, 5))
    >>> ax.get_xlim() == (4000.0, 5000.0)
    True
    """
    tidy(ax, size=size)
    ax.set_xlim(grid.angstrom[0], grid.angstrom[-1])
    inches = ax.get_position().width * ax.get_figure(root=True).get_figwidth()  # type: ignore[union-attr]
    ax.xaxis.set_major_locator(MaxNLocator(max(int(inches / 0.45), 3), steps=(1, 2, 5, 10)))
    ax.yaxis.set_major_locator(MaxNLocator(4, steps=STEPS))
