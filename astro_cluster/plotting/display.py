"""Images as pixels on a page: stretched, in colours, missing pixels hatched, at the size that is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.table import QTable

from astro_cluster.exceptions import InputError, did_you_mean

if TYPE_CHECKING:
    from astropy.visualization import BaseStretch

__all__ = [
    "ORIGINS",
    "STRETCHES",
    "check_display",
    "first_row",
    "limits_of",
    "picture",
    "residual_picture",
    "shape_on_page",
    "softening_of",
]

STRETCHES = ("asinh", "linear", "log", "sqrt", "zscale")
ORIGINS = ("lower", "upper")

_SHARES = (1.0, 99.8)  # percentiles between which an image is shown
# The arcsinh is linear up to so many times the scatter of the sky and logarithmic above, so that faint
# envelopes are seen and the noise is not blown up; as shares of the range, within these limits.
_SCATTERS = 6.0
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".webp")
_DARKEST = 2.5  # scatters of the sky below it are black
_SOFTENINGS = (0.004, 0.3)
_HATCH = (np.array([255, 255, 255], np.uint8), np.array([120, 158, 186], np.uint8))
_STRIPE = 5  # pixels of the page


def check_display(*, stretch: str, origin: str | None, colour_map: str = "gray") -> None:
    """Refuse words for the display that have no meaning.

    Parameters
    ----------
    stretch : str
        One of `STRETCHES`.
    origin : str or None
        One of `ORIGINS`.
    colour_map : str, optional
        One of matplotlib's.

    Raises
    ------
    InputError
        If one is unknown.

    Examples
    --------
    >>> check_display(stretch="asinh", origin=None)
    """
    from matplotlib import colormaps

    if stretch not in STRETCHES:
        names = ", ".join(STRETCHES)
        raise InputError(f"stretch {stretch!r} is not known (of {names}){did_you_mean(stretch, STRETCHES)}")
    if origin is not None and origin not in ORIGINS:
        raise InputError(f"origin={origin!r} is not known; give 'lower' (FITS) or 'upper' (PNG, JPEG)")
    if colour_map not in colormaps:
        raise InputError(f"there is no colour map {colour_map!r}{did_you_mean(colour_map, colormaps)}")


def first_row(table: QTable, images: np.ndarray, origin: str | None = None) -> str:
    """Return where the first row of the images of a table is shown.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Where they are from; the files that it names are looked at by their ending.
    images : (n, h, w) or (n, h, w, c) array
        Its stack.
    origin : {"lower", "upper"}, optional
        What was asked for.

    Returns
    -------
    {"lower", "upper"}
        Above for bytes and for what comes from PNG, JPEG or TIFF, else below, as FITS has it.

    Examples
    --------
    >>> stack = np.zeros((1, 4, 4))
    >>> first_row(QTable({"id": [1]}), stack), first_row(QTable({"source_file": ["a.png"]}), stack)
    ('lower', 'upper')
    """
    if origin is not None:
        return origin
    if images.dtype == np.uint8:
        return "upper"
    for name in ("member", "source_file"):
        column = table[name] if name in table.colnames else None
        if column is not None and getattr(getattr(column, "dtype", None), "kind", "") in "US":
            files = [str(item).lower() for item in np.ma.compressed(np.ma.asarray(column[:100])) if str(item)]
            if files:
                return "upper" if all(file.endswith(_PICTURES) for file in files) else "lower"
    return "lower"


def _as_planes(image: np.ndarray) -> np.ndarray:
    """Return an image as (h, w) or (h, w, 3): other channels beside each other."""
    if image.ndim == 2:
        return image
    channels = image.shape[2]
    if channels == 1:
        return image[:, :, 0]
    if channels == 3:
        return image
    if channels == 4 and image.dtype == np.uint8:  # the fourth is how opaque the pixel is
        return image[:, :, :3]
    return np.concatenate([image[:, :, k] for k in range(channels)], axis=1)


def shape_on_page(images: np.ndarray) -> tuple[int, int]:
    """Return the height and the width of one image of a stack as it is shown.

    Parameters
    ----------
    images : (n, h, w) or (n, h, w, c) array
        A stack.

    Returns
    -------
    tuple of two int
        Channels other than one or three stand beside each other.

    Examples
    --------
    >>> shape_on_page(np.zeros((7, 20, 30, 3))), shape_on_page(np.zeros((7, 20, 30, 2)))
    ((20, 30), (20, 60))
    """
    height, width = images.shape[1:3]
    channels = images.shape[3] if images.ndim == 4 else 1
    colours = channels in (1, 3) or (channels == 4 and images.dtype == np.uint8)
    return (height, width) if colours else (height, width * channels)


def limits_of(image: np.ndarray, *, stretch: str = "asinh") -> tuple[float, float]:
    """Return the values that are shown black and white.

    Parameters
    ----------
    image : (h, w) or (h, w, c) array
        NaN where missing.
    stretch : str, optional
        One of `STRETCHES`.

    Returns
    -------
    tuple of two float
        For bytes 0 and 255; for ``"zscale"`` those of IRAF's algorithm; else percentiles 1 and 99.8.

    Examples
    --------
    >>> limits_of(np.zeros((4, 4), np.uint8)), limits_of(np.linspace(0, 100, 101).reshape(1, 101))
    ((0.0, 255.0), (1.0, 99.8))
    """
    from astropy.visualization import AsymmetricPercentileInterval, ZScaleInterval

    if image.dtype == np.uint8:
        return 0.0, 255.0
    values = np.asarray(image, np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    interval = ZScaleInterval() if stretch == "zscale" else AsymmetricPercentileInterval(*_SHARES)
    low, high = (float(limit) for limit in interval.get_limits(values))
    if stretch != "zscale":
        # A gap that is darker than any sky is black, and need not tell where black begins.
        sky, below = np.percentile(values, [50.0, 16.0])
        low = max(low, float(sky - _DARKEST * (sky - below))) if below < sky else low
    if high <= low:  # nearly all pixels are the same
        low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low, low + 1.0)


def softening_of(image: np.ndarray, limits: tuple[float, float]) -> float:
    """Return where the arcsinh turns from linear to logarithmic.

    Parameters
    ----------
    image : (h, w) or (h, w, c) array
        NaN where missing.
    limits : tuple of two float
        Values shown black and white.

    Returns
    -------
    float
        A share of the range: six times the scatter of the darker pixels, which are sky.

    Examples
    --------
    >>> softening_of(np.linspace(0, 1, 101).reshape(1, 101), (0.0, 20.0))
    0.102
    """
    values = np.asarray(image, np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return _SOFTENINGS[1]
    sky, below = np.percentile(values, [50.0, 16.0])
    return float(np.clip(_SCATTERS * (sky - below) / (limits[1] - limits[0]), *_SOFTENINGS))


def _stretch_of(name: str, softening: float) -> BaseStretch:
    from astropy.visualization import AsinhStretch, LinearStretch, LogStretch, SqrtStretch

    stretches = {"asinh": AsinhStretch(softening), "log": LogStretch(), "sqrt": SqrtStretch()}
    return stretches.get(name, LinearStretch())


def picture(
    image: np.ndarray,
    *,
    size: tuple[int, int] | None = None,
    stretch: str = "asinh",
    limits: tuple[float, float] | None = None,
    softening: float | None = None,
    colour_map: str = "gray",
    origin: str | None = None,
) -> np.ndarray:
    """Return an image as it is to be seen.

    Parameters
    ----------
    image : (h, w) or (h, w, c) array
        Bytes are shown as they are, other numbers are stretched.  Three channels are red, green and
        blue; other numbers of channels stand beside each other.
    size : tuple of two int, optional
        Height and width in pixels; its own if not given.
    stretch : str, optional
        One of `STRETCHES`.
    limits : tuple of two float, optional
        Values shown black and white; those of `limits_of` if not given.
    softening : float, optional
        Of the arcsinh; that of `softening_of` if not given.
    colour_map : str, optional
        Matplotlib's name of the colours of an image with one channel.
    origin : {"lower", "upper"}, optional
        Where the first row is; below for numbers, as in FITS, and above for bytes, as in PNG, if not
        given.

    Returns
    -------
    (h, w, 3) array of uint8
        The first row is the uppermost.  Missing pixels are hatched.

    Examples
    --------
    >>> picture(np.array([[0.0, 1.0]]), limits=(0, 1), stretch="linear")[0].tolist()
    [[0, 0, 0], [255, 255, 255]]
    """
    from matplotlib import colormaps

    image = _as_planes(np.asarray(image))
    upwards = (image.dtype != np.uint8) if origin is None else origin == "lower"
    if upwards:
        image = image[::-1]
    if image.dtype == np.uint8 and limits is None:
        colours = image if image.ndim == 3 else np.repeat(image[:, :, np.newaxis], 3, axis=2)
        return _resized(colours, size)
    values = np.asarray(image, np.float64)
    low, high = limits_of(image, stretch=stretch) if limits is None else limits
    missing = ~np.isfinite(values)
    scaled = np.clip((np.where(missing, low, values) - low) / (high - low), 0, 1)
    softening = softening_of(values, (low, high)) if softening is None else softening
    scaled = np.clip(_stretch_of(stretch, softening)(scaled), 0, 1)
    colours = (
        np.rint(255 * scaled).astype(np.uint8)
        if scaled.ndim == 3
        else colormaps[colour_map](scaled, bytes=True)[..., :3]
    )
    return _hatched(_resized(colours, size), missing.any(axis=2) if missing.ndim == 3 else missing)


def residual_picture(
    residual: np.ndarray, *, limit: float, size: tuple[int, int] | None = None, upwards: bool = True
) -> np.ndarray:
    """Return what remains of an image when its model is taken away: blue below zero, red above.

    Parameters
    ----------
    residual : (h, w) or (h, w, c) array
        Channels are shown as their mean if there are three, else beside each other.
    limit : float
        The value at which the colours end.
    size : tuple of two int, optional
        Height and width in pixels.
    upwards : bool, optional
        Whether the first row is the lowest.

    Returns
    -------
    (h, w, 3) array of uint8

    Examples
    --------
    >>> residual_picture(np.zeros((1, 1)), limit=1.0).tolist()  # nearly white
    [[[247, 246, 246]]]
    """
    from matplotlib import colormaps

    values = _as_planes(np.asarray(residual, np.float64))
    values = values.mean(axis=2) if values.ndim == 3 else values
    values = values[::-1] if upwards else values
    missing = ~np.isfinite(values)
    shares = np.clip(0.5 + np.where(missing, 0, values) / (2 * limit), 0, 1)
    return _hatched(_resized(colormaps["RdBu_r"](shares, bytes=True)[..., :3], size), missing)


def _resized(colours: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    from PIL import Image

    if size is None or size == colours.shape[:2]:
        return colours.copy()
    # Pixels of small cutouts are to be seen as pixels, those of large ones to be averaged.
    smaller = size[0] < colours.shape[0] or size[1] < colours.shape[1]
    method = Image.Resampling.LANCZOS if smaller else Image.Resampling.NEAREST
    shown = Image.fromarray(np.ascontiguousarray(colours)).resize((size[1], size[0]), method)
    return np.array(shown)


def _hatched(colours: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Hatch missing pixels, in place; the stripes are as wide in every picture."""
    if not missing.any():
        return colours
    height, width = colours.shape[:2]
    rows = np.arange(height) * missing.shape[0] // height
    columns = np.arange(width) * missing.shape[1] // width
    here = missing[np.ix_(rows, columns)]
    stripes = np.add.outer(np.arange(height), np.arange(width)) // _STRIPE % 2
    for number, colour in enumerate(_HATCH):
        colours[here & (stripes == number)] = colour
    return colours
