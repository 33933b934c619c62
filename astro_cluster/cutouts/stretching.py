"""Brightness of each image to the range 0 to 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from astro_cluster.exceptions import InputError

__all__ = ["SCALINGS", "check_percentiles", "limits_of", "stretched"]

SCALINGS = ("none", "minmax", "percentile", "asinh", "log", "zscale")
_SOFTENING = 0.1  # as AsinhStretch and LogStretch of astropy.visualization
_CONTRAST = 1000.0


def check_percentiles(percentiles: Any, scale: str) -> tuple[float, float] | None:
    """Return the percentiles that limit the range, None for the minimum and the maximum.

    Parameters
    ----------
    percentiles : (float, float) or None
        What was given.
    scale : str
        One of `SCALINGS`.

    Returns
    -------
    (float, float) or None

    Raises
    ------
    InputError
        If they are no percentiles, or the scaling takes none.

    Examples
    --------
    >>> check_percentiles(None, "percentile"), check_percentiles(None, "asinh")
    ((1.0, 99.0), None)
    """
    if percentiles is None:
        return (1.0, 99.0) if scale == "percentile" else None
    try:
        low, high = (float(p) for p in percentiles)
    except (TypeError, ValueError):
        low, high = 1.0, 0.0
    if not 0 <= low < high <= 100:
        raise InputError(
            f"percentiles={percentiles!r} are not two rising numbers from 0 to 100, such as (1, 99)"
        )
    if scale not in ("percentile", "asinh", "log"):
        raise InputError(f"scale={scale!r} takes no percentiles; use 'percentile', 'asinh' or 'log'")
    return low, high


def limits_of(image: np.ndarray, scale: str, percentiles: tuple[float, float] | None) -> tuple[float, float]:
    """Return what becomes 0 and what becomes 1.

    Parameters
    ----------
    image : array
        Pixels, NaN where there is none.
    scale : str
        One of `SCALINGS` but ``"none"``.
    percentiles : (float, float) or None
        As `check_percentiles` gives them.

    Returns
    -------
    low, high : float
        NaN if no pixel is finite.

    Examples
    --------
    >>> limits_of(np.array([1.0, np.nan, 3.0]), "minmax", None)
    (1.0, 3.0)
    """
    low, high = float(image.min()), float(image.max())
    finite = image
    if not np.isfinite(low) or not np.isfinite(high):
        finite = image[np.isfinite(image)]
        if finite.size == 0:
            return np.nan, np.nan
        low, high = float(finite.min()), float(finite.max())
    if scale == "zscale":
        return _zscale(finite, low, high)
    if percentiles is not None:
        low, high = (float(p) for p in np.percentile(finite, percentiles))
    return low, high


def _zscale(finite: np.ndarray, low: float, high: float) -> tuple[float, float]:
    from astropy.visualization import ZScaleInterval

    if low == high:
        return low, high
    low, high = ZScaleInterval().get_limits(np.asarray(finite, dtype=np.float64))
    return float(low), float(high)


def stretched(image: np.ndarray, scale: str, percentiles: tuple[float, float] | None = None) -> np.ndarray:
    """Return an image scaled to the range 0 to 1.

    Parameters
    ----------
    image : (h, w) or (h, w, c) array of uint8 or float
        All channels share the limits, so that colours stay what they are.
    scale : {"none", "minmax", "percentile", "asinh", "log", "zscale"}, optional
        ``x = (image - low) / (high - low)``, cut to 0 … 1, with the minimum and maximum, the percentiles
        or the limits of zscale (`astropy.visualization.ZScaleInterval`).  For ``"asinh"``, arcsinh(x / 0.1) /
        arcsinh(1 / 0.1), and for ``"log"``, ln(1 + 1000 x) / ln(1001), as the stretches of
        `astropy.visualization`.
    percentiles : (float, float), optional
        Limits in place of minimum and maximum, for the scalings that take them.

    Returns
    -------
    array of float
        NaN stays NaN, and what is infinite becomes NaN; zeros if all pixels are the same.

    Notes
    -----
    The asinh stretch was proposed by Lupton, Gunn & Szalay (1999, AJ 118, 1406) for magnitudes, zscale comes
    from IRAF.

    Examples
    --------
    >>> stretched(np.array([[1.0, 2.0], [np.nan, 3.0]]), "minmax")
    array([[0. , 0.5],
           [nan, 1. ]])
    """
    if scale == "none":
        return image
    low, high = limits_of(image, scale, percentiles)
    work = image.astype(np.float64 if image.dtype == np.float64 else np.float32)
    width = high - low
    if not np.isfinite(low):
        return np.full_like(work, np.nan)
    if not 0 < width < np.inf:
        # Values that a difference of two floats cannot hold are halved first.
        half = high / 2 - low / 2
        if half == 0:
            return np.where(np.isfinite(work), work.dtype.type(0), work.dtype.type(np.nan))
        work, low, width = work / 2, low / 2, half
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        is_odd = ~np.isfinite(work) if not np.isfinite(work.sum()) else None
        work -= work.dtype.type(low)
        work /= work.dtype.type(width) if work.dtype.type(width) > 0 else np.finfo(work.dtype).tiny
        np.clip(work, 0, 1, out=work)
        if scale == "asinh":
            np.arcsinh(work / _SOFTENING, out=work)
            work /= np.arcsinh(1 / _SOFTENING)
        elif scale == "log":
            np.log1p(work * _CONTRAST, out=work)
            work /= np.log1p(_CONTRAST)
    if is_odd is not None:
        work[is_odd] = np.nan
    return work
