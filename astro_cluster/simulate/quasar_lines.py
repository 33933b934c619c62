"""What a quasar emits: continuum, Balmer continuum, iron, the galaxy around it, and lines.

Wavelengths are in vacuum.  Strengths are typical equivalent widths, as of the composite spectrum of
D. E. Vanden Berk et al. (2001, AJ 122, 549, table 2), from which each quasar departs.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LIGHT_SPEED", "LINES", "Line", "add_gaussians", "balmer_continuum", "iron", "look_up"]

LIGHT_SPEED = 299_792.458
"""Of light [km/s]."""
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Line:
    """An emission line or an unresolved group of them.

    Parameters
    ----------
    wavelength : float [Å]
        At rest, in vacuum.
    width : float [Å]
        Typical equivalent width at rest.
    breadth : float
        FWHM over that of the row's broad lines; 0 for a narrow line.
    luminosity : float
        Exponent of the equivalent width with luminosity (J. A. Baldwin 1977, ApJ 214, 679).
    eigenvector : float
        Change of the equivalent width with the first eigenvector [dex].
    shift : float
        Share of the blueshift of C IV.
    """

    wavelength: float
    width: float
    breadth: float
    luminosity: float = -0.05
    eigenvector: float = 0.0
    shift: float = 0.0


LINES = {
    "Lyβ": Line(1025.72, 4.5, 0.9, -0.1),
    "O VI": Line(1033.8, 11.0, 1.0, -0.15, -0.05, 0.6),
    "Lyα narrow": Line(1215.67, 18.0, 0.45, -0.12, -0.10, 0.1),
    "Lyα": Line(1215.67, 64.0, 1.35, -0.10, -0.05, 0.4),
    "N V": Line(1240.14, 23.0, 1.2, 0.0, 0.02, 0.5),
    "Si II 1263": Line(1263.0, 4.5, 1.2),
    "O I": Line(1305.5, 3.0, 0.9, -0.05, 0.03),
    "C II": Line(1335.3, 1.1, 0.8),
    "Si IV": Line(1396.8, 8.5, 1.0, -0.03, 0.0, 0.5),
    "N IV]": Line(1486.5, 0.8, 0.8),
    "C IV narrow": Line(1549.06, 9.0, 0.55, -0.22, -0.20, 0.8),
    "C IV": Line(1549.06, 29.0, 1.3, -0.18, -0.10, 1.0),
    "He II": Line(1640.42, 7.0, 2.0, -0.25, -0.12, 1.0),
    "O III]": Line(1663.5, 2.0, 0.9, -0.1, -0.05, 0.2),
    "N III]": Line(1750.3, 1.2, 1.0),
    "Al III": Line(1857.8, 2.0, 0.9, 0.0, 0.10, 0.3),
    "Si III]": Line(1892.03, 4.0, 0.8, 0.0, 0.12, 0.1),
    "C III]": Line(1908.73, 16.0, 1.1, -0.08, -0.06, 0.2),
    "[Ne IV]": Line(2423.8, 0.6, 0.3, -0.1, -0.1),
    "Mg II": Line(2799.1, 30.0, 0.75, -0.13, -0.03),
    "[Ne V] 3347": Line(3346.8, 0.5, 0.0, -0.15, -0.1),
    "[Ne V]": Line(3426.8, 1.2, 0.0, -0.15, -0.1),
    "[O II]": Line(3728.5, 1.6, 0.0, -0.25, -0.1),
    "[Ne III]": Line(3869.9, 1.5, 0.0, -0.2, -0.1),
    "Hδ": Line(4102.9, 6.0, 0.9, -0.02, -0.03),
    "Hγ": Line(4341.7, 12.5, 0.9, -0.02, -0.03),
    "[O III] 4364": Line(4364.4, 0.7, 0.0, -0.2, -0.15),
    "He II 4687": Line(4687.0, 3.0, 1.2, -0.1, -0.1),
    "Hβ": Line(4862.7, 52.0, 0.9, -0.02, -0.05),
    "[O III] 4960": Line(4960.3, 4.4, 0.0, -0.2, -0.25),
    "[O III]": Line(5008.2, 13.2, 0.0, -0.2, -0.25),
    "He I": Line(5877.3, 5.0, 0.9),
    "[N II] 6550": Line(6549.9, 1.0, 0.0, -0.15),
    "Hα": Line(6564.6, 190.0, 0.85, -0.02, -0.03),
    "[N II]": Line(6585.3, 3.0, 0.0, -0.15),
    "[S II]": Line(6725.0, 3.0, 0.0, -0.2, -0.05),
}
"""Emission lines by name."""

# Strong lines of Fe II and Fe III in vacuum [Å] with a rough relative strength.  The thousands of weak ones
# between them make the smooth humps.
_IRON_LINES = {
    0.6: (2586.7, 2599.1, 2600.2, 2607.9, 2612.7, 2614.6, 2618.4, 2626.5, 2629.1, 2631.8, 2740.4, 2750.2),
    0.5: (2328.1, 2333.5, 2338.7, 2344.2, 2349.0, 2365.6, 2374.5, 2382.8, 2389.4, 2396.4, 2399.9, 2405.6,
          2411.3, 2414.0, 2563.3, 2564.2, 2567.7, 2715.2, 2725.7, 2747.3, 2756.6),
    0.35: (2250.0, 2253.8, 2260.8, 2280.6, 2432.9, 2446.0, 2459.5, 2493.9, 2507.6, 2509.1, 2527.1, 2832.4,
           2869.0, 2881.6, 2908.7, 2927.5, 2945.3, 2965.1, 2985.7, 3003.5, 3154.2, 3168.6, 3187.7, 3194.7,
           3228.7, 3256.8, 3278.3),
    0.30: (1895.5, 1914.1, 1926.3, 2062.2, 2068.9, 2079.7),
    0.15: (1608.5, 1611.2, 1621.7, 1635.4, 1713.0, 1726.4, 1785.3, 1786.8, 1788.1, 1696.8, 1702.0),
}  # fmt: skip
_IRON_OPTICAL = {
    1.0: (4549.3, 4584.8, 4925.3, 5019.8, 5170.5, 5198.9, 5236.1, 5277.5, 5318.1),
    0.6: (4509.6, 4516.6, 4521.5, 4523.9, 4557.2, 4630.6, 4668.1, 5266.3, 5285.6, 5327.0, 5364.4),
    0.4: (4174.6, 4180.0, 4234.3, 4297.8, 4304.4, 4353.0, 4386.6, 4418.0, 4492.7, 5256.4, 5414.6, 5426.8),
}
_HUMPS = ((2500.0, 130.0, 1.1), (2390.0, 50.0, 0.6), (2740.0, 60.0, 0.35),
          (2890.0, 60.0, 0.6), (3230.0, 100.0, 0.35), (2080.0, 60.0, 0.2), (1920.0, 60.0, 0.15),
          (1720.0, 70.0, 0.08))  # fmt: skip
_HUMPS_OPTICAL = ((4570.0, 70.0, 0.6), (5280.0, 90.0, 0.6), (4250.0, 90.0, 0.25))

_FIRST, _LAST, _STEP = np.log(850.0), np.log(11_000.0), 1.5e-4  # of the tables over ln(rest wavelength)
_WIDTHS = np.geomspace(900, 12_000, 24)  # FWHM for which iron is tabulated [km/s]
_TO_SIGMA = 1 / 2.354820045


def _axis() -> NDArray[np.float64]:
    return np.exp(np.arange(_FIRST, _LAST, _STEP))


def look_up(table: Floats, which: NDArray[np.intp], log_rest: Floats) -> Floats:
    """Return tabulated functions of the rest wavelength at the pixels of each row.

    Parameters
    ----------
    table : (k, t) array of float
        Functions on the axis of this module.
    which : (r,) array of int
        The one for each row.
    log_rest : (r, m) array of float
        Natural logarithm of the rest wavelengths [Å].

    Returns
    -------
    (r, m) array of float
    """
    at = (log_rest - np.float32(_FIRST)) * np.float32(1 / _STEP)
    left = np.clip(at.astype(np.intp), 0, table.shape[1] - 2)
    share = np.clip(at - left.astype(np.float32), 0, 1)
    flat = left + (which * table.shape[1])[:, np.newaxis]
    values = table.ravel()
    return values[flat] * (1 - share) + values[flat + 1] * share


def _smoothed(values: NDArray[np.float64], fwhm: float) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(values, fwhm * _TO_SIGMA / LIGHT_SPEED / _STEP, mode="nearest")


@functools.cache
def iron() -> tuple[Floats, Floats]:
    """Return the pseudo-continua of iron for growing widths of their lines.

    Returns
    -------
    ultraviolet, optical : (k, t) arrays of float32
        Per Å, with an integral of 1 from 2200 to 3090 Å and from 4434 to 4684 Å.
    """
    wave = _axis()
    both = []
    for lines, humps, (low, high) in (
        (_IRON_LINES, _HUMPS, (2200, 3090)),
        (_IRON_OPTICAL, _HUMPS_OPTICAL, (4434, 4684)),
    ):
        raw = np.zeros_like(wave)
        for strength, wavelengths in lines.items():
            for line in wavelengths:
                raw[np.searchsorted(wave, line)] += strength * 20 / (line * _STEP)
        for middle, sigma, height in humps:
            raw += height * np.exp(-0.5 * ((wave - middle) / sigma) ** 2)
        table = np.array([_smoothed(raw, fwhm) for fwhm in _WIDTHS])
        inside = (wave >= low) & (wave <= high)
        table /= np.sum((table * wave * _STEP)[:, inside], axis=1, keepdims=True)
        both.append(table.astype(np.float32))
    return both[0], both[1]


def nearest_width(fwhm: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return which of the tabulated widths of `iron` is the nearest.

    Parameters
    ----------
    fwhm : (r,) array of float [km/s]
        Widths.

    Returns
    -------
    (r,) array of int
    """
    step = np.log(_WIDTHS[1] / _WIDTHS[0])
    return np.clip(np.rint(np.log(fwhm / _WIDTHS[0]) / step), 0, len(_WIDTHS) - 1).astype(np.intp)


@functools.cache
def balmer_continuum() -> Floats:
    """Return the Balmer continuum, 1 at 3000 Å.

    Returns
    -------
    (1, t) array of float32

    Notes
    -----
    S. A. Grandi (1982, ApJ 255, 25): B_λ(T) (1 - exp(-τ)) with τ growing with λ³ to 1 at the edge, and
    15,000 K.  Beyond the edge the high Balmer lines run into each other, so that it falls off over 150 Å.
    """
    wave, edge = _axis(), 3647.0
    planck = wave**-5 / np.expm1(1.438_777e8 / (wave * 15_000))
    inside = np.minimum(wave, edge)
    shape = planck * -np.expm1(-((inside / edge) ** 3))
    shape *= np.exp(-0.5 * (np.maximum(wave - edge, 0) / 100) ** 2)
    shape = _smoothed(shape, 6000)
    return (shape / np.interp(3000, wave, shape)).astype(np.float32)[np.newaxis]


@functools.cache
def old_stars() -> Floats:
    """Return the light of an old galaxy, 1 at 5100 Å.

    Returns
    -------
    (1, t) array of float32
        A cool black body with the break at 4000 Å and the strongest stellar lines.
    """
    wave = _axis()
    shape = wave**-5 / np.expm1(1.438_777e8 / (wave * 4700))
    shape *= 0.45 + 0.55 / (1 + np.exp(-(wave - 3990) / 40))
    shape *= 1 / (1 + np.exp(-(wave - 2500) / 250))
    for line, depth, sigma in (
        (3934.8, 0.5, 9), (3969.6, 0.45, 9), (4305.6, 0.25, 15), (5176.6, 0.2, 25), (5895.6, 0.2, 8),
    ):  # fmt: skip
        shape *= 1 - depth * np.exp(-0.5 * ((wave - line) / sigma) ** 2)
    return (shape / np.interp(5100, wave, shape)).astype(np.float32)[np.newaxis]


def add_gaussians(
    out: Floats, log_wave: NDArray[np.float64], *, centre: NDArray[np.float64], sigma: NDArray[np.float64],
    area: NDArray[np.float64],
) -> None:  # fmt: skip
    """Add one Gaussian in ln(wavelength) to each row, as far as five sigma.

    Parameters
    ----------
    out : (r, m) array of float32
        Changed in place.
    log_wave : (m,) array of float
        Natural logarithm of the wavelengths of the pixels.
    centre, sigma, area : (r,) arrays of float
        Of the Gaussian in that logarithm; sigma is at least what a pixel can show.
    """
    n_pixels = log_wave.size
    low = np.searchsorted(log_wave, centre - 5 * sigma)
    high = np.searchsorted(log_wave, centre + 5 * sigma)
    rows = np.flatnonzero((high > low) & (area != 0))
    if not rows.size:
        return
    reach = int((high - low)[rows].max())
    start = np.minimum(low[rows], n_pixels - reach)  # so that no pixel comes twice in a row
    pixel = start[:, np.newaxis] + np.arange(reach)
    away = ((log_wave[pixel] - centre[rows, np.newaxis]) / sigma[rows, np.newaxis]).astype(np.float32)
    height = (area[rows] / (np.sqrt(2 * np.pi) * sigma[rows])).astype(np.float32)
    profile = np.where(np.abs(away) < 5, np.exp(-0.5 * away * away), 0)
    out[rows[:, np.newaxis], pixel] += height[:, np.newaxis] * profile
