"""Artefacts of observations as functions: spikes, edges, gaps, trails and bright neighbours.

They draw on coordinates in pixels, zero in the middle of the stamp, and know no catalogue.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from astro_cluster.simulate.profiles import Floats

__all__ = ["beyond_edge", "fringed_spike", "satellite_trail", "star_spikes"]


def _rotated(x: Floats, y: Floats, angle: float) -> tuple[Floats, Floats]:
    """Return the coordinates along and across a direction [radian]."""
    cosine, sine = math.cos(angle), math.sin(angle)  # plain numbers leave float32 as it is
    return x * cosine + y * sine, y * cosine - x * sine


def fringed_spike(
    x: Floats,
    y: Floats,
    wavelength: Floats,
    *,
    contrast: float | Floats = 0.85,
    angle: float,
    offset: float,
    distance: float,
    width: float,
    fringe: float,
) -> Floats:
    """Return one diffraction spike far from its star: a bar of stripes that spread with wavelength.

    Parameters
    ----------
    x, y : arrays that broadcast [pixel]
        Where to draw.
    wavelength : array that broadcasts with them [micron]
        Of each filter.
    contrast : float or array, optional
        Of the stripes: 0 for a plain bar, 1 for stripes with dark gaps.
    angle : float
        Direction of the spike [radian].
    offset : float
        Of the middle of the bar from the middle of the stamp, across the spike [pixel].
    distance : float
        Of the star from the middle of the stamp, along the spike [pixel].
    width : float
        Of the bar at 2 micron [pixel].
    fringe : float
        Between the stripes at 2 micron [pixel].

    Returns
    -------
    array of float
        Brightness, about 1 in the brightest stripe nearest the middle of the stamp.

    Notes
    -----
    Far from a segmented mirror's star a spike is the interference of its parallel edges: an
    envelope times a cosine squared, both of which scale with the wavelength.

    Examples
    --------
    >>> y = np.linspace(-9, 9, 19)[:, np.newaxis]
    >>> bar = fringed_spike(np.zeros((1, 3)), y, np.array(2.0), angle=0.0, offset=2.0,
    ...                     distance=400.0, width=4.0, fringe=50.0)
    >>> int(y[bar[:, 0].argmax(), 0])
    2
    """
    along, across = _rotated(x, y, angle)
    scale = wavelength / 2
    across = (across - offset) / scale
    envelope = np.exp(-0.5 * (across / (0.5 * width)) ** 2)
    stripes = np.cos(np.pi * across / fringe) ** 2
    fall = (distance / np.maximum(np.abs(distance + along), 0.2 * abs(distance))) ** 2
    return envelope * (1 - contrast + contrast * stripes) * fall


def star_spikes(
    x: Floats, y: Floats, *, angles: Floats, strengths: Floats, length: float | Floats, width: float | Floats
) -> Floats:
    """Return the spikes of a star at the origin: one bar in both senses of each direction.

    Parameters
    ----------
    x, y : arrays that broadcast [pixel]
        Offsets from the star.
    angles : sequence of float
        Directions [radian]; JWST has three at 60 degrees and a fainter horizontal one.
    strengths : sequence of float
        Brightness of each near the star.
    length : float or array
        Over which a spike falls to 1/e [pixel].
    width : float or array
        Standard deviation across [pixel].

    Returns
    -------
    array of float

    Examples
    --------
    >>> x, y = np.meshgrid(np.arange(-3.0, 4), np.arange(-3.0, 4))
    >>> spikes = star_spikes(x, y, angles=[0.0], strengths=[1.0], length=9.0, width=0.5)
    >>> bool(spikes[3, 6] > 0.5 > 0.01 > spikes[6, 3])
    True
    """
    total: Floats = np.zeros(
        np.broadcast_shapes(np.shape(x), np.shape(y), np.shape(length)), dtype=np.float32
    )
    for angle, strength in zip(angles, strengths, strict=True):
        along, across = _rotated(x, y, angle)
        total = total + strength * np.exp(-np.abs(along) / length - 0.5 * (across / width) ** 2)
    return total


def beyond_edge(
    x: Floats, y: Floats, *, angle: float, depth: float, steps: float = 0.0
) -> NDArray[np.floating]:
    """Return how far each pixel lies beyond the edge of the detector; negative is on the detector.

    Parameters
    ----------
    x, y : arrays that broadcast [pixel]
        Where.
    angle : float
        Direction in which the detector ends [radian].
    depth : float
        Distance of the edge from the middle of the stamp in that direction [pixel].
    steps : float, optional
        Pixels of a staircase: a slanted edge of large drizzled pixels; 0 for a straight edge.

    Returns
    -------
    array of float [pixel]

    Examples
    --------
    >>> beyond_edge(np.array([0.0, 4.0]), np.array([0.0, 0.0]), angle=0.0, depth=3.0).tolist()
    [-3.0, 1.0]
    """
    if steps > 0:
        x, y = np.round(x / steps) * steps, np.round(y / steps) * steps
    return _rotated(x, y, angle)[0] - depth


def satellite_trail(x: Floats, y: Floats, *, angle: float, offset: float, width: float) -> Floats:
    """Return a straight trail across the whole image, 1 on its middle line.

    Parameters
    ----------
    x, y : arrays that broadcast [pixel]
        Where.
    angle : float
        Of the trail [radian].
    offset : float
        Of the trail from the middle of the image [pixel].
    width : float
        Standard deviation across [pixel].

    Returns
    -------
    array of float

    Examples
    --------
    >>> trail = satellite_trail(np.zeros(2), np.array([2.0, 9.0]), angle=0.0, offset=2.0, width=1.0)
    >>> trail.round(3).tolist()
    [1.0, 0.0]
    """
    return np.exp(-0.5 * ((_rotated(x, y, angle)[1] - offset) / width) ** 2)
