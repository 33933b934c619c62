"""What is drawn about each simulated quasar before any pixel of it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astro_cluster.simulate.quasar_absorption import Outflow
from astro_cluster.simulate.quasar_lines import LINES

__all__ = ["BLOCK", "Truths", "draw_truths"]

BLOCK = 256
"""Rows that are drawn together: always so many, so that the first ones do not depend on how many follow."""
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Truths:
    """The truth about some quasars; each field has a row for each.

    Parameters
    ----------
    redshift, magnitude : (r,) arrays of float
        Redshift, and absolute i magnitude K-corrected to z = 2.
    luminosity : (r,) array of float
        log10 of the luminosity over that of M_I = -27.2.
    flux_2500 : (r,) array of float [1e-17 erg / (s cm² Å)]
        Observed flux density of the continuum at 2500 Å at rest.
    snr : (r,) array of float
        Median signal-to-noise ratio of native pixels.
    slope, blue_bend, red_bend : (r,) arrays of float
        Exponent of the continuum in wavelength, and how it changes below 1200 and above 5000 Å.
    reddening, host, balmer : (r,) arrays of float
        E(B-V); the galaxy over the continuum at 5100 Å; the Balmer continuum over it at 3000 Å.
    iron_ultraviolet, iron_optical : (r,) arrays of float [Å]
        Equivalent widths of iron.
    eigenvector_1, broad_fwhm, narrow_fwhm, blueshift : (r,) arrays of float
        What goes with the strength of iron; line widths and the blueshift of C IV [km/s].
    scatter : (r, number of lines) array of float
        Factor of each line's equivalent width.
    dla, dla_redshift : (r,) arrays of float
        log10 of the column density of a damped absorber, 0 for none, and its redshift.
    narrow : dict of lists
        For gas of high and of low ionisation: redshifts and equivalent widths [Å] of each absorber.
    bal, flow : (r,) array of bool, Outflow
        Broad absorption.
    starts, ends : (r,) arrays of float [Å]
        Between which wavelengths there are data.
    ra, dec, fiber : (r,) arrays
        Position [deg] and number of the fibre.
    """

    redshift: Values
    magnitude: Values
    luminosity: Values
    flux_2500: Values
    snr: Values
    slope: Values
    blue_bend: Values
    red_bend: Values
    reddening: Values
    host: Values
    balmer: Values
    iron_ultraviolet: Values
    iron_optical: Values
    eigenvector_1: Values
    broad_fwhm: Values
    narrow_fwhm: Values
    blueshift: Values
    scatter: Values
    dla: Values
    dla_redshift: Values
    narrow: Mapping[str, Sequence[tuple[Values, Values]]]
    bal: NDArray[np.bool_]
    flow: Outflow
    starts: Values
    ends: Values
    ra: Values
    dec: Values

    def first(self, n: int) -> Truths:
        """Return the first rows."""
        return _combined([self], lambda parts: parts[0][:n])

    @classmethod
    def joined(cls, parts: Sequence[Truths]) -> Truths:
        """Return the rows of all parts below each other."""
        return _combined(parts, np.concatenate)

    def width_of(self, name: str) -> Values:
        """Return the equivalent width of a line at rest, its narrow part included [Å]."""
        total = np.zeros(self.redshift.size)
        for i, (each, line) in enumerate(LINES.items()):
            if each in {name, f"{name} narrow"}:
                log_width = line.luminosity * self.luminosity + line.eigenvector * self.eigenvector_1
                total += line.width * 10**log_width * self.scatter[:, i]
        return total

    def plates(self) -> tuple[list[int], list[int], list[int]]:
        """Return plates, dates and fibres: a thousand a plate."""
        rows = np.arange(self.redshift.size)
        return (20_001 + rows // 1000).tolist(), (55_001 + rows // 1000).tolist(), (1 + rows % 1000).tolist()


def _combined(parts: Sequence[Truths], how: Any) -> Truths:
    """Return one `Truths` from several, field by field."""
    values: dict[str, Any] = {}
    for field in fields(Truths):
        each = [getattr(part, field.name) for part in parts]
        if field.name == "narrow":
            values["narrow"] = {
                kind: [
                    tuple(how([part[kind][i][k] for part in each]) for k in (0, 1))
                    for i in range(len(each[0][kind]))
                ]
                for kind in each[0]
            }
        elif field.name == "flow":
            values["flow"] = Outflow(
                *(how([getattr(part, f.name) for part in each]) for f in fields(Outflow))
            )
        else:
            values[field.name] = how(each)
    return Truths(**values)


@functools.cache
def _distances() -> tuple[Values, Values]:
    """Return redshifts and log10 of the luminosity distances [cm] in the cosmology of the DR16 catalogue."""
    from astropy.cosmology import FlatLambdaCDM

    redshift = np.concatenate([[1e-4], np.arange(0.01, 7.2, 0.01)])
    return redshift, np.log10(FlatLambdaCDM(H0=67.6, Om0=0.31).luminosity_distance(redshift).to_value("cm"))


def draw_truths(rng: np.random.Generator, redshifts: Values | None, options: Mapping[str, Any]) -> Truths:
    """Draw what is true about a block of quasars.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        Of the block.
    redshifts : None, (2,) or (r,) array of float
        As of `quasars`.
    options : mapping
        ``bal_fraction``, ``snr``, ``incomplete`` and ``grid`` as of `quasars`.

    Returns
    -------
    Truths
        For `BLOCK` rows.

    Notes
    -----
    Redshifts, magnitudes and signal-to-noise ratios follow simple fits to those of the SDSS DR16 quasar
    catalogue (B. W. Lyke et al. 2020, ApJS 250, 8) with a signal-to-noise ratio above 10.
    """
    n = BLOCK
    redshift = _draw_redshifts(rng, redshifts)
    excess = rng.exponential(0.495, n)
    low = np.minimum(redshift, 4.5) - 2.4
    magnitude = -27.284 - 1.126 * low + 0.1134 * low**2 + rng.normal(0, 0.40, n)
    magnitude -= 1.44 * (np.log1p(excess) - 0.344)
    luminosity = -0.4 * (magnitude + 27.2)
    eigenvector = rng.normal(0, 1, n)
    blueshift = np.clip(650 + 420 * eigenvector + 350 * luminosity + rng.normal(0, 250, n), -400, 4500)
    reddening = rng.exponential(0.018, n) + np.where(rng.random(n) < 0.06, rng.exponential(0.08, n), 0)
    bal, flow = _draw_outflow(rng, options["bal_fraction"])
    reddening += np.where(bal, rng.exponential(0.03, n), 0)
    dla, dla_redshift = _draw_damped(rng, redshift)
    starts, ends = _draw_ends(rng, options)
    return Truths(
        redshift=redshift, magnitude=magnitude, luminosity=luminosity,
        flux_2500=_flux_at_2500(magnitude, redshift), snr=options["snr"] * (1 + excess),
        slope=-1.58 - 0.08 * luminosity + rng.normal(0, 0.30, n),
        blue_bend=rng.normal(0.80, 0.35, n), red_bend=rng.normal(1.1, 0.3, n),
        reddening=reddening, host=10 ** (0.4 * (magnitude + 22.3) + rng.normal(0, 0.25, n)),
        balmer=0.13 * rng.lognormal(0, 0.45, n),
        iron_ultraviolet=88 * 10 ** (0.16 * eigenvector) * rng.lognormal(0, 0.35, n),
        iron_optical=22 * 10 ** (0.22 * eigenvector) * rng.lognormal(0, 0.35, n),
        eigenvector_1=eigenvector, broad_fwhm=4300 * rng.lognormal(0, 0.28, n),
        narrow_fwhm=480 * rng.lognormal(0, 0.25, n), blueshift=blueshift,
        scatter=rng.lognormal(0, 0.20, (n, len(LINES))) * rng.lognormal(0, 0.22, (n, 1)),
        dla=dla, dla_redshift=dla_redshift, narrow=_draw_narrow(rng, redshift), bal=bal, flow=flow,
        starts=starts, ends=ends, ra=rng.uniform(0, 360, n),
        dec=np.degrees(np.arcsin(rng.uniform(np.sin(np.radians(-10)), np.sin(np.radians(68)), n))),
    )  # fmt: skip


def _draw_redshifts(rng: np.random.Generator, redshifts: Values | None) -> Values:
    survey = 1.9 + np.minimum(0.534 * rng.weibull(1.163, BLOCK), 3.1)
    share = rng.random(BLOCK)
    if redshifts is None:
        return survey
    if redshifts.size == 2:
        return redshifts[0] + (redshifts[1] - redshifts[0]) * share
    return np.concatenate([redshifts, np.full(BLOCK - redshifts.size, redshifts[-1])])


def _flux_at_2500(magnitude: Values, redshift: Values) -> Values:
    """Return the observed flux density at 2500 Å at rest.

    G. T. Richards et al. (2006, AJ 131, 2766, equation 4): M_i(z=2) is the magnitude at 2500 Å, less
    2.5 log(1 + 2).
    """
    log_luminosity = -0.4 * (magnitude + 48.60 + 2.5 * np.log10(3)) + np.log10(4 * np.pi) + 2 * 19.48935
    per_angstrom = log_luminosity + np.log10(2.998e18 / 2500**2)
    distance = np.interp(redshift, *_distances())
    return 10 ** (per_angstrom - np.log10(4 * np.pi) - 2 * distance - np.log10(1 + redshift) + 17)


def _draw_damped(rng: np.random.Generator, redshift: Values) -> tuple[Values, Values]:
    """Draw damped absorbers between z = 1.9 and the quasar: 0.06 (1 + z) per unit of redshift."""
    path = np.maximum(redshift - 0.02 - 1.9, 0)
    there = rng.random(BLOCK) < 0.06 * (1 + redshift) * path
    column = np.minimum(20.3 - np.log10(1 - rng.random(BLOCK)) / 0.9, 22.0)
    where = np.maximum(redshift - 0.02 - path * rng.random(BLOCK), 0.01)
    return np.where(there, column, 0.0), where


def _draw_narrow(rng: np.random.Generator, redshift: Values) -> dict[str, list[tuple[Values, Values]]]:
    """Draw up to three absorbers of each kind, anywhere on the way; one may be at the quasar itself."""
    systems: dict[str, list[tuple[Values, Values]]] = {"high": [], "low": []}
    for kind, lowest, mean, often in (
        ("high", 1.35, 0.45, (0.5, 0.4, 0.35)),
        ("low", 0.35, 0.7, (0.35, 0.2, 0.1)),
    ):
        for i, share in enumerate(often):
            there = rng.random(BLOCK) < share
            width = 0.15 + rng.exponential(mean, BLOCK)
            where = lowest + (redshift - lowest) * rng.random(BLOCK)
            near = redshift - np.abs(rng.normal(0, 0.006, BLOCK))
            at = near if kind == "high" and i == 0 else where
            there &= (at < redshift) & (redshift > lowest)
            systems[kind].append((np.maximum(at, 0.0), np.where(there, width, 0.0)))
    return systems


def _draw_outflow(rng: np.random.Generator, bal_fraction: float) -> tuple[NDArray[np.bool_], Outflow]:
    """Draw one or two troughs of C IV for a share of the rows."""
    bal = rng.random(BLOCK) < bal_fraction
    half = np.clip(1900 * rng.lognormal(0, 0.5, (BLOCK, 2)), 1000, 6000)
    begin = np.stack([rng.gamma(1.6, 2500, BLOCK), rng.uniform(5000, 17_000, BLOCK)], axis=1)
    depth = rng.beta(2.5, 1.2, (BLOCK, 2))
    depth[:, 1] *= 0.8
    depth[:, 1] *= rng.random(BLOCK) < 0.45
    depth[~bal] = 0
    return bal, Outflow(
        velocity=np.minimum(begin + half, 23_000), half_width=half, depth=depth, low=rng.random(BLOCK) < 0.08
    )


def _draw_ends(rng: np.random.Generator, options: Mapping[str, Any]) -> tuple[Values, Values]:
    """Draw where data begin and end: for a few rows within the grid."""
    first, last = options["grid"].angstrom[[0, -1]]
    cut, side = rng.random(BLOCK) < options["incomplete"], rng.random(BLOCK) < 0.7
    share = rng.uniform(0.005, 0.15, BLOCK)
    starts = np.where(cut & side, first + share * (last - first), 0.0)
    ends = np.where(cut & ~side, last - share * (last - first), np.inf)
    return starts, ends
