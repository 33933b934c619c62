"""Shapes of simulated sources and of the instruments that see them: all resolution-independent.

Every function draws on coordinates that it is given, in pixels of whatever size, so that the same
scene can be drawn small for a test and large for a benchmark.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "elliptical_radius",
    "gaussian_rows",
    "moffat",
    "pixel_axis",
    "resampling_matrix",
    "sersic",
    "sersic_total",
]

Floats = NDArray[np.floating]


def pixel_axis(size: int) -> NDArray[np.float32]:
    """Return the coordinates of the pixels of one axis, zero in the middle.

    Parameters
    ----------
    size : int
        Number of pixels.

    Returns
    -------
    (size,) array of float32 [pixel]

    Examples
    --------
    >>> pixel_axis(3).tolist()
    [-1.0, 0.0, 1.0]
    """
    return (np.arange(size) - (size - 1) / 2).astype(np.float32)


def elliptical_radius(
    x: Floats, y: Floats, *, axis_ratio: float | Floats = 1.0, angle: float = 0.0
) -> Floats:
    """Return the radius along the major axis of the ellipse through each point.

    Parameters
    ----------
    x, y : arrays that broadcast [pixel]
        Offsets from the centre.
    axis_ratio : float or array, optional
        Minor over major axis, above 0.
    angle : float, optional
        Of the major axis from the x axis towards the y axis [radian].

    Returns
    -------
    array of float [pixel]

    Examples
    --------
    >>> elliptical_radius(np.array([0.0, 2.0]), np.array([1.0, 0.0]), axis_ratio=0.5).tolist()
    [2.0, 2.0]
    """
    cosine, sine = math.cos(angle), math.sin(angle)  # plain numbers leave float32 as it is
    along = x * cosine + y * sine
    across = (y * cosine - x * sine) / (float(axis_ratio) if np.ndim(axis_ratio) == 0 else axis_ratio)
    return np.sqrt(along * along + across * across)


def sersic(radius: Floats, *, index: float, effective_radius: float) -> Floats:
    """Return the surface brightness of a Sérsic profile, 1 at the effective radius.

    Parameters
    ----------
    radius : array of float
        Elliptical radius, in the unit of ``effective_radius``.
    index : float
        Sérsic index: 1 for a disc, 4 for a classical bulge.
    effective_radius : float
        Of the ellipse that holds half of the light.

    Returns
    -------
    array of float, like ``radius``

    Notes
    -----
    J. L. Sérsic (1968); b_n is exact (L. Ciotti and G. Bertin 1999, A&A 352, 447, eq. 3).

    Examples
    --------
    >>> sersic(np.array([1.0, 2.0]), index=1.0, effective_radius=1.0).round(3).tolist()
    [1.0, 0.187]
    """
    return np.exp(-_sersic_b(index) * ((radius / effective_radius) ** (1 / index) - 1))


def _sersic_b(n: float) -> float:
    """Return b_n, with which half of the light is within the effective radius."""
    from scipy.special import gammaincinv

    return float(gammaincinv(2 * n, 0.5))


def sersic_total(*, index: float, effective_radius: float, axis_ratio: float = 1.0) -> float:
    """Return the total light of a Sérsic profile of brightness 1 at the effective radius.

    Parameters
    ----------
    index : float
        Sérsic index.
    effective_radius : float
        Half-light radius along the major axis.
    axis_ratio : float, optional
        Minor over major axis.

    Returns
    -------
    float
        In the unit of ``effective_radius``, squared.

    Notes
    -----
    A. W. Graham and S. P. Driver (2005, PASA 22, 118), eq. 2 with the total at infinite radius.

    Examples
    --------
    >>> round(sersic_total(index=1.0, effective_radius=1.0), 2)
    11.95
    """
    b = _sersic_b(index)
    scale = math.exp(b) * b ** (-2 * index) * math.gamma(2 * index)
    return 2 * math.pi * index * axis_ratio * effective_radius**2 * scale


def moffat(radius: Floats, *, fwhm: float | Floats, beta: float = 3.0) -> Floats:
    """Return the brightness of a Moffat profile, 1 at the centre.

    Parameters
    ----------
    radius : array of float
        Distance from the centre, in the unit of ``fwhm``.
    fwhm : float or array
        Full width at half maximum.
    beta : float, optional
        Slope of the wings: large for a Gaussian core, 1.5 and below for wide wings.

    Returns
    -------
    array of float

    Notes
    -----
    A. F. J. Moffat (1969, A&A 3, 455), eq. 7.

    Examples
    --------
    >>> round(float(moffat(np.array(1.5), fwhm=3.0, beta=2.5)), 6)
    0.5
    """
    core = fwhm / (2 * math.sqrt(2 ** (1 / beta) - 1))
    return (1 + (radius / core) ** 2) ** -beta


def resampling_matrix(n_in: int, n_out: int) -> NDArray[np.float32]:
    """Return the matrix that brings one axis of an image to another number of pixels.

    Parameters
    ----------
    n_in, n_out : int
        Numbers of pixels; each axis spans the same sky.

    Returns
    -------
    (n_out, n_in) array of float32
        Each row adds up to 1.

    Notes
    -----
    A Hann window as wide as two pixels, of the input where that grows and of the output where it
    shrinks: what Matplotlib's ``interpolation="antialiased"`` does to a stamp in a figure.

    Examples
    --------
    >>> resampling_matrix(4, 2).sum(axis=1).round(3).tolist()
    [1.0, 1.0]
    """
    scale = n_in / n_out
    width = max(1.0, scale)
    centre = (np.arange(n_out) + 0.5) * scale - 0.5
    distance = np.abs(centre[:, np.newaxis] - np.arange(n_in)) / width
    weights = np.where(distance < 1, 0.5 + 0.5 * np.cos(np.pi * distance), 0.0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def gaussian_rows(size: int, sigma: float, *, margin: int = 8) -> NDArray[np.float32]:
    """Return the matrix that makes correlated noise of unit variance from white noise, along an axis.

    Parameters
    ----------
    size : int
        Number of pixels.
    sigma : float
        Correlation: standard deviation of the Gaussian kernel [pixel]; 0 leaves white noise.
    margin : int, optional
        Pixels of white noise beyond both ends, so that the ends are as noisy as the middle.

    Returns
    -------
    (size, size + 2 margin) array of float32
        The squares of each row add up to 1.

    Examples
    --------
    >>> rows = gaussian_rows(5, 1.0)
    >>> rows.shape, bool(np.allclose((rows**2).sum(axis=1), 1))
    ((5, 21), True)
    """
    distance = np.arange(size)[:, np.newaxis] + margin - np.arange(size + 2 * margin)
    kernel = np.exp(-0.5 * (distance / max(sigma, 1e-3)) ** 2)
    return (kernel / np.sqrt((kernel**2).sum(axis=1, keepdims=True))).astype(np.float32)
