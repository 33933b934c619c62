"""How good images are, from their pixels alone: gaps, edges, saturation, spikes, concentration."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table

from astro_cluster.columns import add_column, check_free
from astro_cluster.cutouts.flags import block_measures
from astro_cluster.cutouts.panels import Panels, panels_of
from astro_cluster.cutouts.stack import blocks_of_rows, images_of, source_of_images, usable_images
from astro_cluster.exceptions import InputError
from astro_cluster.provenance import OMIT, Step, step
from astro_cluster.tables import Source, as_qtable, derive
from astro_cluster.threads import available_threads, run_all

__all__ = [
    "QUALITIES",
    "add_quality_columns",
    "image_quality",
    "plain_level",
    "qualities_of",
    "quality_at",
    "quality_of",
]

QUALITIES = (
    "zero_fraction",
    "nan_fraction",
    "saturated_fraction",
    "edge_asymmetry",
    "peak_offset",
    "spike_power",
    "concentration",
    "flat_fraction",
)
"""Names of the measures and their columns."""

_WORST = {
    "zero_fraction",
    "nan_fraction",
    "saturated_fraction",
    "edge_asymmetry",
    "spike_power",
    "flat_fraction",
}
_BLOCK_BYTES = 2**22  # of pixels as float32; what is made of them should stay in the caches


def quality_of(
    image: Any,
    *,
    saturation: float | u.Quantity | None = None,
    panels: int | str = 1,
    inverted: bool = False,
) -> dict[str, float]:
    """Measure how good an image is.

    Parameters
    ----------
    image : (h, w) or (h, w, c) array
        Pixels of any type.
    saturation : float, optional
        Brightness from which on a pixel is saturated, in units of the image.  If not given, the
        largest number of the type for whole numbers; for others those pixels are saturated that
        have the largest value of the image and a neighbour (beside, above or below) with the same.
    panels : int or "auto", optional
        Number of stamps that stand side by side in the image (one a filter, say).  They are what
        columns of zeros part, without the rows of zeros around, if these are as many or with
        ``"auto"``, else of equal width.
    inverted : bool, optional
        Sources are darker than the sky, as on printed charts: the image is turned over before it
        is measured, except for the zeros.  If no ``saturation`` is given, whole numbers are then
        saturated that are the smallest of their type (0), others that share the minimum; if it
        is given, those at or below it.

    Returns
    -------
    dict of str to float
        See the notes; NaN where a measure has no meaning.

    Raises
    ------
    InputError
        If it is no image, or has fewer pixels across than panels.

    Notes
    -----
    ``zero_fraction``
        Share of the pixels that are exactly 0, in all channels.  Noise is hardly ever exactly 0,
        a gap always is, so more than a few such pixels lie together.  Scaling by minimum and
        maximum makes the darkest pixel 0 and interpolation makes zeros of gaps something else:
        measure before (`read_cutouts` does).
    ``nan_fraction``
        Share of the pixels that are not finite in any channel.
    ``saturated_fraction``
        Share of the saturated pixels, in any channel.
    ``edge_asymmetry``
        0 … 1: whether a part of the border differs from the part opposite, as it does where the
        edge of a detector cuts the image.  The roughness of each of the 12 border cells of a
        4 x 4 grid is the mean step between neighbouring pixels, no step counting more than 4
        times the median cell's mean; unknown pixels count 0.  Of the cells opposite each other,
        with roughness a and b, the largest ``|a - b| / (a + b + 0.05 median)`` is taken.
    ``peak_offset``
        Distance of the brightest pixel, after a mean over 3 x 3, from the middle, over half
        the smaller side.
    ``spike_power``
        0 … 1: share of the azimuthal power that is 4-, 6- or 8-fold and at the same angles at all
        radii, as diffraction spikes are.  From a quarter of the radius of the largest circle in
        the image on, each ring of one pixel, less the mean radial profile, is averaged in 32 bins
        of azimuth and divided by its own rms (and 20 % of its brightness, in squares).  With F(m, r)
        the Fourier transform over azimuth, it is the sum over m = 4, 6, 8 of ``|mean_r F|^2``
        over the sum over m = 1 … 8 of ``mean_r |F|^2``.  An inclined disc has m = 2, noise and
        neighbours have angles that differ from ring to ring.  The definition is our own; images
        below some 40 pixels have too few rings, and it may reach 0.4 without any spikes.
    ``concentration``
        ``5 log10(r80 / r20)``, radii that hold 80 % and 20 % of the light (Bershady et al. 2000,
        AJ 119, 2645; Conselice 2003, ApJS 147, 1), here around the middle of the image, within
        the largest circle, above the median of the border.  A Gaussian has 2.1, an exponential
        disc 2.7, a de Vaucouleurs profile 5.2, if the circle holds them whole.

    ``flat_fraction``
        Share of the pixels, less those at the border, that are equal to all eight around them:
        areas of one brightness, whatever it is, as where there are no data or all is clipped.

    Colour images are averaged over the channels for the last five.  Constant images have
    ``edge_asymmetry`` and ``spike_power`` 0 and no ``concentration``; images without a finite
    pixel and those below 8 pixels have none of the five.  With panels the measures are taken of
    each, and the worst of the fractions, ``edge_asymmetry`` and ``spike_power``, the mean of the
    others is returned.

    Examples
    --------
    >>> y, x = np.mgrid[-31.5:32, -31.5:32]
    >>> image = np.exp(-(x**2 + y**2) / 72) + 0.001
    >>> image[:, :16] = 0
    >>> found = quality_of(image)
    >>> found["zero_fraction"], round(found["edge_asymmetry"], 1), round(found["peak_offset"], 2)
    (0.25, 0.9, 0.02)
    """
    pixels = np.asarray(getattr(image, "value", image))
    if pixels.ndim not in (2, 3) or pixels.dtype.kind not in "biuf" or 0 in pixels.shape:
        raise InputError(
            f"an image has the shape (height, width) or (height, width, channels) and numbers; this one is "
            f"{pixels.shape} of {pixels.dtype}"
        )
    level = plain_level(saturation, getattr(image, "unit", None))
    found = qualities_of(pixels[None], saturation=level, panels=panels, inverted=inverted, n_jobs=1)
    return {name: float(values[0]) for name, values in found.items()}


def plain_level(saturation: Any, unit: Any) -> float | None:
    """Return the level of saturation in units of the image.

    Parameters
    ----------
    saturation : float, `~astropy.units.Quantity` or None
        As in `quality_of`.
    unit : `~astropy.units.Unit` or None
        Unit of the images.

    Returns
    -------
    float or None

    Raises
    ------
    InputError
        If it is no brightness in that unit.

    Examples
    --------
    >>> plain_level(1 * u.mJy, u.Jy)
    0.001
    """
    if saturation is None:
        return None
    try:
        value = u.Quantity(saturation)
        level = float(value.to_value(unit) if unit is not None and value.unit != u.one else value.value)
    except (TypeError, ValueError, u.UnitConversionError) as error:
        raise InputError(
            f"saturation={saturation!r} is no brightness in units of the images: {error}"
        ) from error
    if np.isnan(level):
        raise InputError("saturation is NaN; give the brightness from which on a pixel is saturated")
    return level


def qualities_of(
    images: np.ndarray,
    *,
    saturation: float | None = None,
    panels: int | str = 1,
    inverted: bool = False,
    n_jobs: int | None = None,
) -> dict[str, np.ndarray]:
    """Measure how good the images of a stack are.

    Parameters
    ----------
    images : (n, h, w) or (n, h, w, c) array
        A stack.
    saturation, panels, inverted : optional
        As in `quality_of`; what parts stamps is zero in all images.
    n_jobs : int, optional
        Threads; as many as cores if not given.

    Returns
    -------
    dict of str to (n,) array of float64
        As `quality_of` defines them.

    Raises
    ------
    InputError
        If there are more panels than pixels across.

    Examples
    --------
    >>> qualities_of(np.zeros((2, 16, 16)))["zero_fraction"].tolist()
    [1.0, 1.0]
    """
    return _measured(images, panels_of(images, panels), saturation, inverted=inverted, n_jobs=n_jobs)


def _measured(
    images: np.ndarray, parts: Panels, saturation: float | None, *, inverted: bool, n_jobs: int | None
) -> dict[str, np.ndarray]:
    """Measure the stamps at the places."""
    found = {name: np.full(len(images), np.nan) for name in QUALITIES}
    # As many float32 of one channel as fit; a colour image has more bytes than that.
    sizes = np.broadcast_to(np.float32(0), (len(images), *images.shape[1:3]))

    def measure(rows: slice) -> None:
        each = [
            block_measures(images[rows, down, across], saturation, inverted=inverted)
            for down, across in parts
        ]
        for name, values in found.items():
            values[rows] = each[0][name] if len(parts) == 1 else _over_panels(name, [m[name] for m in each])

    tasks = [lambda rows=rows: measure(rows) for rows in blocks_of_rows(sizes, block_bytes=_BLOCK_BYTES)]
    if tasks:
        run_all(tasks, available_threads() if n_jobs is None else max(1, n_jobs))
    return found


def quality_at(
    image: np.ndarray, parts: Panels, *, saturation: float | None = None, inverted: bool = False
) -> dict[str, float]:
    """Measure an image whose stamps stand at known places.

    Parameters
    ----------
    image : (h, w) or (h, w, c) array
        Pixels.
    parts : list of (slice, slice)
        What `panels_of` gives.
    saturation, inverted : optional
        As in `quality_of`.

    Returns
    -------
    dict of str to float
        As `quality_of`.

    Examples
    --------
    >>> image = np.zeros((8, 16))
    >>> quality_at(image, [(slice(0, 8), slice(0, 16))])["zero_fraction"]
    1.0
    """
    found = _measured(image[None], parts, saturation, inverted=inverted, n_jobs=1)
    return {name: float(values[0]) for name, values in found.items()}


def _over_panels(name: str, each: list[np.ndarray]) -> np.ndarray:
    values = np.stack(each)
    known = ~np.isnan(values)
    if name in _WORST:
        worst = np.max(values, axis=0, where=known, initial=-np.inf)
        return np.where(known.any(axis=0), worst, np.nan)
    count = known.sum(axis=0)
    return np.divide(values.sum(axis=0, where=known), count, out=np.full(len(count), np.nan), where=count > 0)


@step
def image_quality(
    table: Source,
    column: str | None = None,
    *,
    saturation: float | u.Quantity | None = None,
    panels: int | str = 1,
    inverted: bool = False,
    n_jobs: int | None = None,
    overwrite: bool = False,
) -> Step:
    """Measure how good the images of a table are.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A table with a column of images, or one that links to a file of them.
    column : str, optional
        Column of the images; ``image`` or the only such column if not given.
    saturation : float or `~astropy.units.Quantity`, optional
        Brightness from which on a pixel is saturated.  If not given, the largest number of the
        type for whole numbers; for others those pixels are saturated that have the largest
        value of their image and a neighbour with the same.
    panels : int or "auto", optional
        Number of stamps that stand side by side in each image (one a filter, say): the measures
        are taken of each; the worst of the fractions, of ``edge_asymmetry`` and of
        ``spike_power``, and the mean of the others, is the row's.  The stamps are what columns
        part that are zero in all images, without the rows that are, if these are as many or
        with ``"auto"``, else of equal width.
    inverted : bool, optional
        Sources are darker than the sky; see `~astro_cluster.cutouts.quality_of`.
    n_jobs : int, optional
        Threads; as many as cores if not given.  The result is the same.
    overwrite : bool, optional
        Replace columns of the same names.

    Returns
    -------
    `~astropy.table.QTable`
        With the columns ``zero_fraction``, ``nan_fraction``, ``saturated_fraction``,
        ``edge_asymmetry``, ``peak_offset``, ``spike_power``, ``concentration`` and
        ``flat_fraction``, as `~astro_cluster.cutouts.quality_of` defines them.  Rows
        without an image (``image_bad``, or all pixels NaN) are masked.

    Raises
    ------
    InputError
        If the table has no images, or the columns are there already.

    Examples
    --------
    >>> images = np.random.default_rng(1).normal(1, 0.1, (2, 32, 32)).astype("f4")
    >>> images[1, :, :8] = 0  # a gap
    >>> image_quality(QTable({"image": images}))["zero_fraction"].tolist()
    [0.0, 0.25]
    """
    table = as_qtable(table)
    check_free(table, QUALITIES, overwrite=overwrite)
    images = images_of(table, column)
    name = source_of_images(table, column)
    level = plain_level(saturation, getattr(table[name], "unit", None))
    found = qualities_of(images, saturation=level, panels=panels, inverted=inverted, n_jobs=n_jobs)
    bad = ~usable_images(table, images)
    out = derive(table)
    add_quality_columns(out, found, bad)
    return Step(out, table, inputs=[name], parameters={"n_jobs": OMIT})


def add_quality_columns(table: QTable | Table, found: dict[str, np.ndarray], bad: np.ndarray) -> None:
    """Add measures as columns to a table, in place.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Table of n rows.
    found : dict of str to (n,) array
        What `qualities_of` gives.
    bad : (n,) array of bool
        Rows without an image, which are masked.

    Examples
    --------
    >>> t = QTable({"id": [1]})
    >>> add_quality_columns(t, {"zero_fraction": np.array([0.5])}, np.array([False]))
    >>> t["zero_fraction"].tolist()
    [0.5]
    """
    for name, values in found.items():
        add_column(table, name, values, mask=bad)
