"""The noise of a BOSS spectrum: how its variance runs with wavelength, and which pixels are masked.

The curves were fitted to the inverse variances of forty public BOSS spectra, 34 of them of one plate of five
exposures: in each native pixel a variance without an object and one that grows with the object's flux.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

__all__ = ["NATIVE_STEP", "mean_over", "object_variance", "sky_brightness", "sky_variance"]

NATIVE_STEP = 1e-4
"""Pixel of the spectrographs' files, in the decimal logarithm of the wavelength."""

_SKY_LINES = (
    (4047.6, 1.7), (4359.1, 4.7), (5462.6, 5.1), (5580.8, 22.7), (5691.1, 1.4), (5891.1, 4.8),
    (5897.9, 3.4), (6237.3, 0.9), (6300.9, 11.0), (6365.0, 2.8), (6834.4, 1.1), (6865.9, 1.8),
    (6924.7, 1.2), (6950.2, 1.0), (7242.7, 3.4), (7277.8, 6.0), (7286.2, 1.5), (7318.1, 3.8),
    (7329.9, 1.3), (7341.8, 3.7), (7360.4, 1.1), (7370.6, 3.3), (7402.9, 1.5), (7524.9, 2.4),
    (7573.6, 1.6), (7601.5, 8.6), (7629.6, 3.9), (7717.9, 5.5), (7751.8, 8.7), (7760.7, 2.3),
    (7782.2, 1.2), (7796.5, 4.8), (7810.9, 1.6), (7823.5, 6.3), (7843.3, 1.8), (7856.0, 5.7),
    (7872.3, 2.8), (7892.2, 2.9), (7915.9, 9.9), (7932.3, 1.7), (7950.6, 1.5), (7967.1, 5.7),
    (7979.9, 1.9), (7994.7, 7.1), (8016.8, 1.4), (8027.9, 4.2), (8064.9, 2.1), (8188.4, 1.2),
    (8197.9, 1.5), (8290.9, 5.1), (8300.4, 7.4), (8311.9, 1.6), (8346.4, 25.4), (8365.7, 1.7),
    (8384.9, 2.9), (8400.4, 12.3), (8415.9, 3.4), (8431.4, 15.8), (8454.7, 2.8), (8468.4, 9.2),
    (8495.7, 1.8), (8507.5, 3.7), (8550.7, 1.5), (8631.8, 3.8), (8661.6, 3.4), (8671.6, 2.4),
    (8770.0, 14.2), (8780.1, 11.8), (8792.2, 2.9), (8828.8, 36.3), (8838.9, 8.0), (8851.2, 1.9),
    (8869.5, 5.9), (8887.9, 29.1), (8904.3, 5.8), (8920.7, 27.0), (8945.4, 5.8), (8959.8, 19.2),
    (8990.8, 4.2), (9003.3, 8.9), (9051.1, 3.2), (9105.4, 1.3), (9315.4, 39.2), (9326.1, 35.7),
    (9339.0, 6.3), (9377.8, 96.6), (9403.7, 4.3), (9421.1, 9.3), (9442.8, 83.9), (9460.2, 23.4),
    (9479.8, 51.1), (9503.9, 15.7), (9521.4, 37.5), (9554.3, 6.7), (9569.7, 22.1), (9609.5, 3.2),
    (9622.8, 5.8), (9682.8, 4.7), (9700.6, 5.3), (9723.0, 6.9), (9792.6, 26.2), (9851.4, 3.0),
    (9874.2, 17.4), (9896.9, 3.6), (9917.4, 11.1), (9947.2, 11.5), (9958.6, 9.0), (10013.8, 15.5),
    (10027.7, 3.9), (10085.6, 6.6), (10125.1, 8.1), (10174.2, 6.8), (10211.7, 6.7), (10287.3, 18.1),
)  # fmt: skip
# Wavelengths of mercury, oxygen, sodium and OH lines of the night sky in vacuum [Å], and how much variance
# they add to what the sky has between them.
_LINE_WIDTH = 1.5  # of a sky line on the detector, σ [Å]


def _curve(
    wave: NDArray[np.float64], *, floor: float, blue: tuple[float, float], end: tuple[float, float],
    dichroic: tuple[float, float, float], red: tuple[float, float],
) -> NDArray[np.float64]:  # fmt: skip
    """Return a variance that rises to both ends of the spectrum and where the two arms meet."""
    meeting = dichroic[0] / (1 + np.exp(-(wave - 5760) / dichroic[1]))
    return (
        floor
        + blue[0] * np.exp(-(wave - 4000) / blue[1])
        + end[0] * np.exp(-(wave - 3700) / end[1])
        + meeting * np.exp(-np.maximum(wave - 5900, 0) / dichroic[2])
        + red[0] * np.exp((wave - 10_000) / red[1])
    )


def sky_brightness(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how much more variance than between the sky lines there is.

    Parameters
    ----------
    wave : (m,) array of float [Å]
        Observed wavelengths in vacuum.

    Returns
    -------
    (m,) array of float
        1 between the lines.
    """
    above = np.zeros_like(wave)
    for line, strength in _SKY_LINES:
        near = slice(*np.searchsorted(wave, [line - 6 * _LINE_WIDTH, line + 6 * _LINE_WIDTH]))
        above[near] += strength * np.exp(-0.5 * ((wave[near] - line) / _LINE_WIDTH) ** 2)
    return 1 + above


def sky_variance(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance that a native pixel has without any object.

    Parameters
    ----------
    wave : (m,) array of float [Å]
        Observed wavelengths in vacuum.

    Returns
    -------
    (m,) array of float
        In (1e-17 erg / (s cm² Å))².
    """
    smooth = _curve(
        wave, floor=0.0243, blue=(0.155, 618), end=(0.81, 71.5), dichroic=(0.082, 60, 298), red=(0.132, 174)
    )
    return smooth * sky_brightness(wave)


def object_variance(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance that a flux of 1e-17 erg / (s cm² Å) adds to a native pixel.

    Parameters
    ----------
    wave : (m,) array of float [Å]
        Observed wavelengths in vacuum.

    Returns
    -------
    (m,) array of float
        In (1e-17 erg / (s cm² Å))².
    """
    return _curve(
        wave,
        floor=0.0090,
        blue=(0.0261, 641),
        end=(0.0635, 114),
        dichroic=(0.0060, 150, 342),
        red=(0.0129, 318),
    )


@functools.lru_cache(maxsize=1)
def _fine_wavelengths() -> NDArray[np.float64]:
    return 10 ** np.arange(3.45, 4.10, NATIVE_STEP / 4)


def mean_over(edges: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    """Return the mean of a curve of this module over pixels that may be wider than a sky line.

    Parameters
    ----------
    edges : (m + 1,) array of float [Å]
        Borders of the pixels.
    what : {"sky_variance", "object_variance", "sky_brightness"}
        Which curve.

    Returns
    -------
    (m,) array of float
    """
    curve = {
        "sky_variance": sky_variance,
        "object_variance": object_variance,
        "sky_brightness": sky_brightness,
    }
    fine = _fine_wavelengths()
    inside = np.clip(edges, fine[0], fine[-1])
    summed = np.concatenate([[0.0], np.cumsum(curve[what](fine[:-1]) * np.diff(fine))])
    width = np.diff(inside)
    mean = np.diff(np.interp(inside, fine, summed)) / np.where(width > 0, width, 1)
    return np.where(width > 0, mean, curve[what](0.5 * (inside[1:] + inside[:-1])))
