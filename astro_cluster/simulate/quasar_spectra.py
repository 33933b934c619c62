"""Simulated spectra of quasars, as the BOSS spectrographs would see them, with the truth about each."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Column, QTable
from numpy.typing import NDArray

from astro_cluster.exceptions import InputError
from astro_cluster.provenance import OMIT, Step, step
from astro_cluster.simulate import quasar_absorption as absorption
from astro_cluster.simulate import quasar_lines as lines
from astro_cluster.simulate import quasar_noise as noise
from astro_cluster.simulate.quasar_truths import BLOCK, Truths, draw_truths
from astro_cluster.threads import available_threads, run_all
from astro_cluster.wavelengths import Grid, log_grid, note_spectra

__all__ = ["FLUX_UNIT", "quasars"]

FLUX_UNIT = 1e-17 * u.erg / (u.s * u.cm**2 * u.AA)
"""Unit of the fluxes, that of the survey's files."""
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Pixels:
    """What all spectra share.

    Parameters
    ----------
    grid : Grid
        Their wavelengths.
    natives : (m,) array of float
        Native pixels that go into each.
    sky, photons, brightness : (m,) arrays of float
        Means over each pixel of the curves of `quasar_noise`.
    """

    grid: Grid
    natives: NDArray[np.float64]
    sky: NDArray[np.float64]
    photons: NDArray[np.float64]
    brightness: NDArray[np.float64]

    @classmethod
    def of(cls, grid: Grid) -> _Pixels:
        edges = grid.edges
        natives = np.diff(np.log10(edges)) / noise.NATIVE_STEP
        curves = (
            noise.mean_over(edges, name) for name in ("sky_variance", "object_variance", "sky_brightness")
        )
        return cls(grid, natives, *curves)


def _continuum(truth: Truths, log_rest: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the accretion disc's power laws, 1 at 2500 Å; bent at 1200 and at 5000 Å."""
    kind = log_rest.dtype.type

    def column(values: NDArray[np.float64]) -> NDArray[np.floating]:
        return values[:, np.newaxis].astype(kind)

    exponent = column(truth.slope) * (log_rest - kind(np.log(2500)))
    for bend, softness, change, side in (
        (1200.0, 0.06, truth.blue_bend, -1), (5000.0, 0.05, truth.red_bend, 1),
    ):  # fmt: skip
        beyond = np.logaddexp(kind(0), side * (log_rest - kind(np.log(bend))) / kind(softness)) * kind(
            softness
        )
        exponent += side * column(change) * beyond
    return np.exp(exponent)


def _emitted(truth: Truths, log_rest: Floats) -> Floats:
    """Return the light that leaves the quasar, in units of its continuum at 2500 Å."""
    light = _continuum(truth, log_rest)
    at = lambda wave: _continuum(truth, np.full((truth.redshift.size, 1), np.log(wave)))[:, 0]  # noqa: E731
    column = lambda values: values[:, np.newaxis].astype(np.float32)  # noqa: E731
    first = np.zeros(truth.redshift.size, dtype=np.intp)
    light += column(truth.balmer * at(3000)) * lines.look_up(lines.balmer_continuum(), first, log_rest)
    width = lines.nearest_width(0.6 * truth.broad_fwhm)
    ultraviolet, optical = lines.iron()
    light += column(truth.iron_ultraviolet * at(3000)) * lines.look_up(ultraviolet, width, log_rest)
    light += column(truth.iron_optical * at(4570)) * lines.look_up(optical, width, log_rest)
    _add_lines(light, truth, log_rest, at)
    # The dust of the Small Magellanic Cloud as in G. T. Richards et al. (2003, AJ 126, 1131): A ∝ λ^-1.2.
    micron = np.exp(np.float32(-1.2) * (log_rest - np.float32(np.log(1e4))))
    light *= np.exp(-column(0.921 * 1.39 * truth.reddening) * micron)
    galaxy = column(truth.host * at(5100)) * lines.look_up(lines.old_stars(), first, log_rest)
    return light + galaxy


def _add_lines(light: Floats, truth: Truths, log_rest: Floats, continuum: Any) -> None:
    """Add the emission lines, each as a core and wings."""
    log_wave = log_rest[0].astype(np.float64) + np.log1p(truth.redshift[0])
    pixel = float(np.median(np.diff(log_wave))) / np.sqrt(12)
    for i, line in enumerate(lines.LINES.values()):
        log_width = line.luminosity * truth.luminosity + line.eigenvector * truth.eigenvector_1
        strength = line.width * 10**log_width * truth.scatter[:, i] * continuum(line.wavelength)
        fwhm = np.where(line.breadth > 0, line.breadth * truth.broad_fwhm, truth.narrow_fwhm)
        if line.breadth > 0 and line.wavelength > 4000:
            fwhm = fwhm * 10 ** (-0.08 * truth.eigenvector_1)
        sigma = fwhm / 2.3548 / lines.LIGHT_SPEED
        shift = line.shift * truth.blueshift / lines.LIGHT_SPEED
        centre = np.log(line.wavelength * (1 + truth.redshift))
        parts = ((1.0, 1.0, 1.0),) if line.breadth == 0 else ((0.62, 0.8, 0.85), (0.38, 2.0, 1.5))
        for share, wider, further in parts:
            lines.add_gaussians(
                light, log_wave, centre=centre - shift * further, sigma=np.hypot(wider * sigma, pixel),
                area=share * strength / line.wavelength,
            )  # fmt: skip


def _absorbed(
    truth: Truths, rng: np.random.Generator, pixels: _Pixels, log_rest: Floats, furthest: float
) -> Floats:
    """Return which share of the light comes through."""
    wave, log_wave = pixels.grid.angstrom, np.log(pixels.grid.angstrom)
    through = absorption.forest(rng, pixels.grid.edges, truth.redshift, furthest=furthest)
    depth = absorption.limit_depth(wave, truth.redshift)
    absorption.add_damped(depth, wave, redshift=truth.dla_redshift, column=truth.dla)
    for kind, systems in truth.narrow.items():
        for redshift, width in systems:
            absorption.add_narrow(depth, log_wave, kind, redshift=redshift, width=width)
    through *= np.exp(-depth)
    troughs = absorption.outflow(log_rest, truth.flow)
    if troughs is not None:
        through[np.flatnonzero(truth.bal)] *= troughs
    return through


def _draw(
    block: int, n_rows: int, seed: int, redshifts: NDArray[np.float64] | None, options: Mapping[str, Any],
    pixels: _Pixels,
) -> tuple[Truths, Floats, Floats, Floats]:  # fmt: skip
    """Return a block of rows: what is true, the light, the noisy light and its inverse variance."""
    of_truth, of_forest, of_noise, of_mask = (
        np.random.default_rng(s) for s in np.random.SeedSequence([seed, 6, block]).spawn(4)
    )
    truth = draw_truths(of_truth, redshifts, options)
    furthest = float(truth.redshift.max())
    truth = truth.first(n_rows)
    log_rest = (np.log(pixels.grid.angstrom) - np.log1p(truth.redshift[:, np.newaxis])).astype(np.float32)
    at_2500 = _continuum(truth, np.full((n_rows, 1), np.log(2500)))[:, 0]
    dust = np.exp(-0.921 * 1.39 * truth.reddening * 0.25**-1.2)
    scale = truth.flux_2500 / (at_2500 * dust)
    flux = _emitted(truth, log_rest) * scale[:, np.newaxis].astype(np.float32)
    flux *= _absorbed(truth, of_forest, pixels, log_rest, furthest)
    variance = pixels.sky + pixels.photons * np.maximum(flux, 0)
    middle = np.median(flux / np.sqrt(variance), axis=1)
    depth = np.maximum(middle, 0.05) / truth.snr  # of the plate: more exposures for a smaller noise
    variance = variance * (depth**2)[:, np.newaxis] / pixels.natives
    noisy = flux + np.sqrt(variance).astype(np.float32) * of_noise.standard_normal(
        flux.shape, dtype=np.float32
    )
    ivar = (1 / variance).astype(np.float32)
    _mask(of_mask, truth, pixels, noisy, ivar)
    return truth, flux, noisy, ivar


def _mask(rng: np.random.Generator, truth: Truths, pixels: _Pixels, noisy: Floats, ivar: Floats) -> None:
    """Give pixels no weight: under bright sky lines, by chance, and where the spectrum does not reach."""
    chance = rng.random(noisy.shape, dtype=np.float32)
    bright = np.clip((pixels.brightness - 1.4) / 3, 0, 0.9)
    ivar[chance < np.maximum(bright, 0.0012)] = 0
    wave = pixels.grid.angstrom
    outside = (wave < truth.starts[:, np.newaxis]) | (wave > truth.ends[:, np.newaxis])
    noisy[outside] = np.nan
    ivar[outside] = 0


def _redshifts(redshifts: Any, n: int) -> NDArray[np.float64] | None:
    """Return a redshift for each row, or the two between which they are drawn, or None for the survey's."""
    if redshifts is None:
        return None
    try:
        filled = np.ma.filled(np.ma.asarray(getattr(redshifts, "value", redshifts), dtype=np.float64), np.nan)
    except (TypeError, ValueError) as error:
        raise InputError(f"redshifts={redshifts!r} are no numbers; give two, or one for each row") from error
    values = np.atleast_1d(filled)
    if values.ndim != 1 or values.size not in {2, n}:
        raise InputError(
            f"redshifts of the shape {values.shape}; give the lowest and the highest, or one for each of "
            f"the {n} rows"
        )
    if not (np.isfinite(values).all() and (values >= 0).all() and (values <= 7).all()):
        raise InputError("redshifts must lie between 0 and 7")
    return values


@step
def quasars(
    n: int = 2000,
    *,
    grid: Grid | str | None = None,
    redshifts: Any = None,
    bal_fraction: float = 0.12,
    snr: float = 10.0,
    incomplete: float = 0.004,
    noiseless: bool = False,
    random_state: int | None = 1,
    n_jobs: int | None = None,
) -> Step:
    """Simulate spectra of quasars as the BOSS spectrographs take them, with the truth about each.

    Parameters
    ----------
    n : int, optional
        Number of spectra.
    grid : Grid or str, optional
        Wavelengths, observed and in vacuum; ``"3625:9000:1500"`` by default, as in the study.
    redshifts : None, (low, high) or (n,) array, optional
        None for the distribution of the quasars of SDSS DR16 with a signal-to-noise above 10, which begins
        at 1.9; two numbers for an even distribution between them; or one for each row.
    bal_fraction : float, optional
        Share of the spectra with broad absorption troughs.
    snr : float, optional
        Lowest signal-to-noise ratio, the median over native pixels; half of the spectra have more
        than 1.35 times as much.
    incomplete : float, optional
        Share of the spectra that do not cover the whole grid.
    noiseless : bool, optional
        Whether to add ``flux_true``, the spectra without noise.
    random_state : int, optional
        Seed.  The first rows do not depend on how many follow, unless ``redshifts`` are given for each.
    n_jobs : int, optional
        Threads; as many as there are cores by default.  The result does not depend on it.

    Returns
    -------
    `~astropy.table.QTable`
        n rows in the form of `~astro_cluster.read_spectra`: ``source_id``, ``ra``, ``dec``, ``redshift``,
        ``flux`` and ``ivar``, (n, m) float32, ``spectrum_bad``, ``coverage``, ``snr_median``, and the truth:
        ``M_I``, ``slope``, ``reddening``, ``eigenvector_1``, ``broad_fwhm``, ``blueshift``, ``ew_civ``,
        ``iron``, ``host_fraction``, ``bal``, ``bi_civ`` and ``dla``.

    Raises
    ------
    InputError
        If the numbers make no table of spectra.

    Examples
    --------
    >>> table = quasars(10, grid="3625:9000:200")
    >>> table["flux"].shape, table["ivar"].unit == table["flux"].unit**-2
    ((10, 200), True)
    """
    wavelengths = _grid(grid)
    if isinstance(n, bool) or not isinstance(n, Integral) or n < 1:
        raise InputError(f"n={n!r}: give the number of quasars, 1 or more")
    if random_state is not None and (not isinstance(random_state, Integral) or random_state < 0):
        raise InputError(f"random_state={random_state!r} is no seed; give a whole number from 0 on, or None")
    for name, share in (("bal_fraction", bal_fraction), ("incomplete", incomplete)):
        if not 0 <= share <= 1:
            raise InputError(f"{name}={share} is no share; give a number from 0 to 1")
    if not 0 < snr <= 1000:
        raise InputError(f"snr={snr}; give a signal-to-noise ratio above 0")
    given = _redshifts(redshifts, n)
    if random_state is None:
        random_state = secrets.randbelow(2**31)  # on record, so it can be repeated
    pixels = _Pixels.of(wavelengths)
    options = {"bal_fraction": bal_fraction, "snr": snr, "incomplete": incomplete, "grid": wavelengths}
    m = len(wavelengths)
    flux, ivar = np.empty((n, m), dtype=np.float32), np.empty((n, m), dtype=np.float32)
    true = np.empty((n, m), dtype=np.float32) if noiseless else None
    truths: list[Truths] = [None] * -(-n // BLOCK)  # type: ignore[list-item]

    def draw(block: int) -> None:
        rows = slice(block * BLOCK, min(n, (block + 1) * BLOCK))
        each = given if given is None or (given.size == 2 and n != 2) else given[rows]
        truths[block], light, flux[rows], ivar[rows] = _draw(
            block, rows.stop - rows.start, random_state, each, options, pixels
        )
        if true is not None:
            true[rows] = light

    n_threads = available_threads() if n_jobs is None else max(1, int(n_jobs))
    run_all([functools.partial(draw, block) for block in range(len(truths))], n_threads)
    out = _table(Truths.joined(truths), wavelengths, flux, ivar, true)
    out.meta["description"] = (
        f"Simulated spectra of quasars (astro_cluster simulate.quasars, seed {random_state}); no observation"
    )
    return Step(
        out,
        inputs=[name for name in out.colnames if out[name].ndim == 1],
        seed=random_state,
        parameters={"grid": wavelengths.to_plain(), "random_state": random_state, "n_jobs": OMIT},
    )


def _grid(grid: Grid | str | None) -> Grid:
    if grid is None:
        return log_grid(3625 * u.AA, 9000 * u.AA, 1500)
    wavelengths = Grid.parse(grid) if isinstance(grid, str) else grid
    if not isinstance(wavelengths, Grid):
        raise InputError(f"grid={grid!r} is none; give a Grid or a text such as '3625:9000:1500'")
    if (wavelengths.frame, wavelengths.medium) != ("observed", "vacuum"):
        raise InputError(f"simulated spectra are observed ones in vacuum, not on {wavelengths}")
    if wavelengths.angstrom[0] < 3000 or wavelengths.angstrom[-1] > 12_000:
        raise InputError(f"the spectrographs reach from 3600 to 10,400 Å, not over {wavelengths}")
    return wavelengths


def _table(truth: Truths, grid: Grid, flux: Floats, ivar: Floats, true: Floats | None) -> QTable:
    """Return the table of the spectra with units, descriptions and UCDs."""
    out = QTable()
    names = [f"{plate}-{mjd}-{fiber:04d}" for plate, mjd, fiber in zip(*truth.plates(), strict=True)]
    out["source_id"] = Column(names)
    out["ra"], out["dec"] = truth.ra * u.deg, truth.dec * u.deg
    out["redshift"] = Column(truth.redshift)
    out["flux"] = u.Quantity(flux, FLUX_UNIT, copy=False)
    out["ivar"] = u.Quantity(ivar, FLUX_UNIT**-2, copy=False)
    out["spectrum_bad"] = Column(np.zeros(len(flux), dtype=bool))
    out["coverage"] = Column(np.mean(np.isfinite(flux), axis=1))
    out["snr_median"] = Column(_median_ratio(flux, ivar))
    out["M_I"] = truth.magnitude * u.mag
    for name in ("slope", "reddening", "eigenvector_1"):
        out[name] = Column(getattr(truth, name))
    out["reddening"] = truth.reddening * u.mag
    out["broad_fwhm"], out["blueshift"] = (
        getattr(truth, k) * u.km / u.s for k in ("broad_fwhm", "blueshift")
    )
    out["ew_civ"], out["iron"] = truth.width_of("C IV") * u.AA, truth.iron_ultraviolet * u.AA
    out["host_fraction"] = Column(truth.host / (1 + truth.host))
    out["bal"] = Column(truth.bal)
    out["bi_civ"] = absorption.balnicity(truth.flow) * u.km / u.s
    out["dla"] = Column(truth.dla)
    if true is not None:
        out["flux_true"] = u.Quantity(true, FLUX_UNIT, copy=False)
    for name in out.colnames:
        ucd, description = _ABOUT[name]
        out[name].info.meta, out[name].info.description = {"ucd": ucd}, description
    note_spectra(out, grid)
    return out


def _median_ratio(flux: Floats, ivar: Floats) -> NDArray[np.float32]:
    """Return the median signal-to-noise ratio of each row, some rows at a time."""
    ratios = np.zeros(len(flux), dtype=np.float32)
    for start in range(0, len(flux), BLOCK):
        rows = slice(start, start + BLOCK)
        ratio = np.where(ivar[rows] > 0, flux[rows] * np.sqrt(ivar[rows]), np.nan)
        some = np.isfinite(ratio).any(axis=1)
        ratios[rows][some] = np.nanmedian(ratio[some], axis=1)
    return ratios


_ABOUT = {
    "source_id": ("meta.id;meta.main", "Plate, date and fibre of the simulated spectrum"),
    "ra": ("pos.eq.ra;meta.main", "ICRS ra"),
    "dec": ("pos.eq.dec;meta.main", "ICRS dec"),
    "redshift": ("src.redshift", "Redshift"),
    "flux": ("phot.flux.density;em.wl", "Flux density at the wavelengths of the grid"),
    "ivar": ("stat.error;phot.flux.density;em.wl", "Inverse variance of the flux; 0 where it must not count"),
    "spectrum_bad": ("meta.code.qual", "Whether the spectrum could not be read"),
    "coverage": ("stat.value", "Share of the wavelengths that the spectrum covers"),
    "snr_median": ("stat.snr", "Median signal-to-noise ratio of the pixels that count"),
    "M_I": ("phot.mag;em.opt.I", "Absolute i magnitude, K-corrected to z = 2"),
    "slope": (
        "spect.index;spect.continuum",
        "True exponent in wavelength of the continuum from 1200 to 5000 Å",
    ),
    "reddening": ("phys.absorption", "True E(B-V) of the dust at the redshift of the quasar"),
    "eigenvector_1": ("stat.value", "True first eigenvector: strong iron, weak and blueshifted C IV"),
    "broad_fwhm": ("spect.line.width", "True FWHM of the broad lines"),
    "blueshift": ("spect.dopplerVeloc", "True blueshift of C IV"),
    "ew_civ": ("spect.line.eqWidth", "True equivalent width of C IV at rest"),
    "iron": ("spect.line.eqWidth", "True equivalent width of iron from 2200 to 3090 Å at rest"),
    "host_fraction": ("phot.flux;arith.ratio", "True share of the galaxy in the continuum at 5100 Å at rest"),
    "bal": ("meta.code", "Whether there are broad absorption troughs"),
    "bi_civ": ("spect.line.eqWidth", "True balnicity index of C IV"),
    "dla": ("phys.columnDensity", "True log10 of the hydrogen per cm² of a damped absorber; 0 for none"),
    "flux_true": ("phot.flux.density;em.wl", "Flux density without noise"),
}
