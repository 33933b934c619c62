"""A spectrum as it is to be: its units, its frame, its medium, its order; and onto the grid."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from astropy import units as u

from astro_cluster.spectra.air import to_medium
from astro_cluster.spectra.fluxunits import is_flux
from astro_cluster.spectra.found import FoundSpectrum, NoSpectrum
from astro_cluster.spectra.regridding import regrid_rows
from astro_cluster.wavelengths import Frame, Grid, Medium

__all__ = ["Aim", "Prepared", "noise_in", "onto_grid", "prepared", "scaled_unit", "suggested_grid"]

_ALIKE = 1e-6  # relative difference up to which wavelengths are the same; SDSS stores them to 3e-7
_FEWEST = 2
_MOST_OFF = 6  # powers of ten that fluxes may be away from 1; the square of more does not go into float32


@dataclass(frozen=True, slots=True)
class Aim:
    """What spectra are to become.

    Parameters
    ----------
    frame : {"observed", "rest"}
        Whose wavelengths.
    medium : {"vacuum", "air"}
        What they are measured in.
    method : str
        As of `~astro_cluster.spectra.regrid`.
    require_full : bool
        Whether a spectrum has to cover the grid.
    wavelength_unit : `~astropy.units.UnitBase`, optional
        Of files that do not say.
    unit : `~astropy.units.UnitBase`, optional
        Of the flux; not known yet if None.
    is_asked : bool
        Whether the user gave this unit.
    grid : Grid, optional
        Not known yet if None.
    is_own_grid : bool
        Whether the grid is that of the first spectrum.
    """

    frame: Frame = "observed"
    medium: Medium = "vacuum"
    method: str = "flux-conserving"
    require_full: bool = False
    wavelength_unit: u.UnitBase | None = None
    unit: u.UnitBase | None = None
    is_asked: bool = False
    grid: Grid | None = None
    is_own_grid: bool = False

    def knowing(self, unit: u.UnitBase, grid: Grid, *, is_own: bool = False) -> Aim:
        """Return the same with unit and grid.

        Parameters
        ----------
        unit : `~astropy.units.UnitBase`
            Of the flux.
        grid : Grid
            Wavelengths.
        is_own : bool, optional
            Whether they are those of the first spectrum.

        Returns
        -------
        Aim
        """
        return replace(self, unit=unit, grid=grid, is_own_grid=is_own)


@dataclass(slots=True)
class Prepared:
    """A spectrum in the units, frame and medium that are wanted, on its own wavelengths.

    Parameters
    ----------
    angstrom : (p,) array of float
        Rising.
    flux, ivar : (p,) array of float
        NaN and 0 where there is nothing.
    is_estimated : bool
        Whether the errors are from the scatter of the fluxes.
    has_gaps : bool
        Whether the file has fluxes that are no numbers.
    """

    angstrom: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    is_estimated: bool
    has_gaps: bool

    def is_on(self, grid: Grid) -> bool:
        """Tell whether it is on a grid as it is.

        Parameters
        ----------
        grid : Grid
            Wavelengths.

        Returns
        -------
        bool
        """
        mine = grid.angstrom
        if self.angstrom.size != mine.size or abs(self.angstrom[0] / mine[0] - 1.0) > _ALIKE:
            return False
        return bool(np.allclose(self.angstrom, mine, rtol=_ALIKE, atol=0.0))


def prepared(found: FoundSpectrum, aim: Aim, redshift: float) -> Prepared:
    """Return a spectrum in the units, frame and medium that are wanted.

    Parameters
    ----------
    found : FoundSpectrum
        As its file has it.
    aim : Aim
        What is wanted.
    redshift : float
        Of the object; NaN if unknown.

    Returns
    -------
    Prepared

    Raises
    ------
    NoSpectrum
        If it cannot be; the message says why.

    Examples
    --------
    >>> falling = FoundSpectrum(np.array([0.6, 0.5, 0.4]), np.array([3.0, 2, 1]), wavelength_unit=u.um)
    >>> done = prepared(falling, Aim(frame="rest"), 1.0)
    >>> done.angstrom, done.flux
    (array([2000., 2500., 3000.]), array([1., 2., 3.]))
    """
    if found.flux.size < _FEWEST:
        raise NoSpectrum(f"it has {found.flux.size} pixels")
    angstrom = _angstrom(found, aim)
    flux, ivar = _in_unit(found, aim, angstrom)
    angstrom, flux, ivar, ignored = _in_order(angstrom, flux, ivar, found.ignored)
    has_flux = np.isfinite(flux)
    if not has_flux.any():
        raise NoSpectrum("none of its fluxes is a number (all are NaN)")
    if is_estimated := ivar is None:
        ivar = np.full(flux.size, noise_in(flux) ** -2.0)
    ivar = np.where(has_flux & (ivar > 0) & (ivar < np.inf), ivar, 0.0)  # type: ignore[operator]
    if not ivar.any():
        raise NoSpectrum("none of its pixels counts: all inverse variances are 0")
    if ignored is not None:
        ivar[ignored] = 0.0
        if not ivar.any():
            raise NoSpectrum("none of its pixels counts: its mask takes out all of them")
    if not has_flux.all():
        flux = np.where(has_flux, flux, np.nan)
    angstrom = _in_frame(angstrom, found, aim, redshift)
    if aim.medium == "air":  # at 2000 Å, below which they are given in vacuum, they fall back by 0.6 Å
        angstrom, flux, ivar, _ = _in_order(angstrom, flux, ivar, None)
    return Prepared(angstrom, flux, ivar, is_estimated, not bool(has_flux.all()))


def _medium(found: FoundSpectrum, aim: Aim) -> Medium:
    """Return what the wavelengths are measured in; those of frequencies and energies are of the vacuum."""
    unit = found.wavelength_unit or aim.wavelength_unit or u.AA
    return (found.medium or aim.medium) if unit.is_equivalent(u.AA) else "vacuum"


def _angstrom(found: FoundSpectrum, aim: Aim) -> np.ndarray:
    unit = found.wavelength_unit or aim.wavelength_unit or u.AA
    if unit == u.AA:
        values = found.wavelength
    else:
        try:
            with np.errstate(divide="ignore", invalid="ignore"):
                values = (found.wavelength * unit).to_value(u.AA, u.spectral())
        except u.UnitConversionError:
            raise NoSpectrum(f"its wavelengths are in {unit}, which is no unit of wavelengths") from None
    if not (np.isfinite(values) & (values > 0)).sum() >= _FEWEST:
        raise NoSpectrum("its wavelengths are no positive numbers")
    return values


def _in_unit(found: FoundSpectrum, aim: Aim, angstrom: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return flux and inverse variance in the unit that is wanted."""
    flux, ivar = found.flux, found.ivar
    if found.unit is not None and not is_flux(found.unit):
        raise NoSpectrum(f"its fluxes are logarithms, in {found.unit}: bring them to a flux first")
    if flux.dtype.kind != "f":
        flux = flux.astype(np.float64)
    if aim.unit is None or found.unit is aim.unit or (found.unit is None and aim.is_asked):
        return flux, ivar
    if found.unit is None:
        if aim.unit == u.one:
            return flux, ivar
        raise NoSpectrum(f"its flux has no unit, and that of the others is {aim.unit}: give unit= (--unit)")
    if aim.unit == u.one and found.unit != u.one and not aim.is_asked:
        raise NoSpectrum(f"its flux is in {found.unit}, and the first has no unit: give unit= (--unit)")
    try:
        factor = found.unit.to(aim.unit)
    except u.UnitConversionError:
        try:
            # Per frequency and per wavelength: light has its frequency with its wavelength in vacuum.
            vacuum = to_medium(angstrom, _medium(found, aim), "vacuum")
            factor = found.unit.to(aim.unit, np.ones(flux.size), u.spectral_density(vacuum * u.AA))
        except u.UnitConversionError:
            raise NoSpectrum(f"its flux is in {found.unit}, which cannot become {aim.unit}") from None
    factor = np.asarray(factor, dtype=np.float64)
    return flux * factor, None if ivar is None else np.asarray(ivar, dtype=np.float64) / factor**2


def _in_order(
    angstrom: np.ndarray, flux: np.ndarray, ivar: np.ndarray | None, ignored: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return pixels by rising wavelength; of several with the same the first."""
    steps = np.diff(angstrom)
    if (steps > 0).all() and angstrom[0] > 0 and np.isfinite(angstrom[-1]):
        return angstrom, flux, ivar, ignored
    if (steps < 0).all() and angstrom[-1] > 0 and np.isfinite(angstrom[0]):
        order = slice(None, None, -1)
    else:
        usable = np.flatnonzero(np.isfinite(angstrom) & (angstrom > 0))
        _, first = np.unique(angstrom[usable], return_index=True)
        order = usable[first]  # type: ignore[assignment]
    taken = [None if one is None else np.ascontiguousarray(one[order]) for one in (ivar, ignored)]
    if angstrom[order].size < _FEWEST:
        raise NoSpectrum("it has one wavelength")
    return np.ascontiguousarray(angstrom[order]), np.ascontiguousarray(flux[order]), taken[0], taken[1]


def _in_frame(angstrom: np.ndarray, found: FoundSpectrum, aim: Aim, redshift: float) -> np.ndarray:
    """Return wavelengths in the frame and medium that are wanted.

    Air is here, and not where the object is: what was measured in air comes to vacuum first.
    """
    medium = _medium(found, aim)
    if aim.frame == "rest":
        if not (math.isfinite(redshift) and redshift > -1):
            raise NoSpectrum("it has no redshift, which frame='rest' needs: give redshift= (--redshift)")
        angstrom = to_medium(angstrom, medium, "vacuum") / (1.0 + redshift)
        medium = "vacuum"
    return to_medium(angstrom, medium, aim.medium) if medium != aim.medium else angstrom


def noise_in(flux: np.ndarray) -> float:
    """Return the noise of a spectrum without errors, from the scatter of its pixels.

    Parameters
    ----------
    flux : (p,) array of float
        Fluxes; NaN where there is none.

    Returns
    -------
    float
        Where there is no scatter, the median of the absolute fluxes; 1 if that is 0 too.

    Notes
    -----
    The DER_SNR estimate of Stoehr et al. (2008, ASP Conference Series 394, 505): 1.482602 / √6 times the
    median of |2 f(i) - f(i-2) - f(i+2)|, which a straight line of any slope leaves at zero.

    Examples
    --------
    >>> noisy = np.random.default_rng(1).normal(np.linspace(0, 50, 5000), 2.0)
    >>> print(f"{noise_in(noisy):.2f}")
    2.03
    """
    values = flux[np.isfinite(flux)].astype(np.float64)
    if values.size < 5:
        return 1.0
    noise = 0.6052697 * float(np.median(np.abs(2.0 * values[2:-2] - values[:-4] - values[4:])))
    scale = float(np.median(np.abs(values)))
    return noise if math.isfinite(noise) and noise > 1e-9 * scale else scale or 1.0


# ---------------------------------------------------------------- onto the grid


def onto_grid(one: Prepared, aim: Aim, flux: np.ndarray, ivar: np.ndarray, *, look: bool = True) -> float:
    """Put a spectrum onto the grid.

    Parameters
    ----------
    one : Prepared
        The spectrum.
    aim : Aim
        What is wanted; its grid is known.
    flux, ivar : (m,) array of float32
        Where it goes to.
    look : bool, optional
        Whether to tell what may be wrong with the unit of the wavelengths.

    Returns
    -------
    float
        Share of the grid's pixels that have data.

    Raises
    ------
    NoSpectrum
        If it does not overlap the grid, or does not cover it and has to.  Nothing is written then.
    """
    grid = aim.grid
    if grid is None:
        raise ValueError("there is no grid")  # our own mistake
    if one.is_on(grid):
        new_flux, new_ivar = one.flux, one.ivar
    else:
        _check_overlap(one.angstrom, grid, look=look)
        new_flux, weights = regrid_rows(
            one.angstrom, one.flux, one.ivar, grid, method=aim.method, n_threads=1
        )
        new_ivar = np.zeros(len(grid)) if weights is None else weights
    with np.errstate(over="ignore", under="ignore"):
        narrow, weight = new_flux.astype(np.float32), new_ivar.astype(np.float32)
    there = np.isfinite(narrow)
    coverage = float(there.mean())
    _check_covered(one.angstrom, grid, coverage, require_full=aim.require_full)
    weight[~there | ~np.isfinite(weight)] = 0.0
    if not weight.any():
        raise NoSpectrum(f"none of its pixels on the grid counts: {_why_none(new_ivar, aim.unit)}")
    narrow[~there] = np.nan
    flux[:], ivar[:] = narrow, weight
    return coverage


def _why_none(ivar: np.ndarray, unit: u.UnitBase | None) -> str:
    some = ivar[(ivar > 0) & np.isfinite(ivar)]
    if not some.size:
        return "their inverse variances are 0"
    size = float(np.median(some))
    better = _of_ten(round(-0.5 * math.log10(size)), unit or u.one)
    return (
        f"in {unit} their inverse variances are about {size:.0e}, which float32 cannot hold: give "
        f"unit='{better}', or leave it out"
    )


def _check_overlap(angstrom: np.ndarray, grid: Grid, *, look: bool) -> None:
    first, last = grid.edges[[0, -1]]
    if angstrom[-1] > first and angstrom[0] < last:
        return
    hint = _looks_like(angstrom, grid) if look else ""
    where = " in the rest frame" if grid.frame == "rest" else ""
    raise NoSpectrum(
        f"its wavelengths, {angstrom[0]:.6g} to {angstrom[-1]:.6g} Å{where}, do not overlap the grid, "
        f"{grid.angstrom[0]:.6g} to {grid.angstrom[-1]:.6g} Å{hint}"
    )


def _looks_like(angstrom: np.ndarray, grid: Grid) -> str:
    """Say in which unit the wavelengths would overlap the grid."""
    first, last = grid.edges[[0, -1]]
    for name, scale in (("nm", 10.0), ("um", 1e4)):
        if angstrom[-1] * scale > first and angstrom[0] * scale < last:
            return (
                f": the file says no unit, and they look like {name}; give wavelength_unit='{name}' "
                f"(--wavelength-unit {name})"
            )
    return ""


def _check_covered(angstrom: np.ndarray, grid: Grid, coverage: float, *, require_full: bool) -> None:
    if coverage == 0:
        raise NoSpectrum("it has no data on the grid")
    if require_full and coverage < 1:
        raise NoSpectrum(
            f"it covers {100 * coverage:.1f} % of the grid (its wavelengths are {angstrom[0]:.6g} to "
            f"{angstrom[-1]:.6g} Å), and all of it is required"
        )


@cache
def _of_ten(power: int, unit: u.UnitBase) -> u.UnitBase:
    return u.Unit(float(f"1e{power}") * unit)


def scaled_unit(unit: u.UnitBase | None, flux: np.ndarray) -> u.UnitBase:
    """Return a unit in which fluxes, and the squares of their inverses, are not lost in float32.

    Parameters
    ----------
    unit : `~astropy.units.UnitBase` or None
        That of the fluxes.
    flux : array of float
        Some of them.

    Returns
    -------
    `~astropy.units.UnitBase`
        The same where it can be, else a power of ten times it.

    Examples
    --------
    >>> print(scaled_unit(u.Unit("erg / (s cm2 Angstrom)"), np.array([2e-17, 3e-17])))
    1e-17 erg / (Angstrom s cm2)
    """
    unit = u.one if unit is None else unit
    sizes = np.abs(flux[np.isfinite(flux) & (flux != 0)])
    if not sizes.size or unit == u.one:
        return unit
    power = math.floor(math.log10(float(np.median(sizes))))
    return unit if abs(power) <= _MOST_OFF else _of_ten(power, unit)


def suggested_grid(ranges: np.ndarray, step: float) -> str:
    """Return a grid that spectra of several ranges have in common, as a text.

    Parameters
    ----------
    ranges : (n, 2) array of float
        First and last wavelength of each, in Ångström.
    step : float
        Relative width of their pixels.

    Returns
    -------
    str
        As ``"3625:9000:1500"``; the whole range where they have none in common.

    Examples
    --------
    >>> suggested_grid(np.array([[3601.2, 9000.0], [3590.0, 8999.0]]), 2.3e-4)
    '3605:8995:3976'
    """
    first, last = math.ceil(ranges[:, 0].max() / 5) * 5, math.floor(ranges[:, 1].min() / 5) * 5
    if not first < last:
        first, last = math.ceil(ranges[:, 0].min() / 5) * 5, math.floor(ranges[:, 1].max() / 5) * 5
    if not 0 < first < last:  # a spectrum narrower than 5 Å
        first, last = ranges[:, 0].min(), ranges[:, 1].max()
    n = max(2, min(10**6, round(math.log(last / first) / max(step, 1e-7)) + 1))
    return f"{first:g}:{last:g}:{n}"
