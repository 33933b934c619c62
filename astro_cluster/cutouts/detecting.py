"""Sources in images, by photutils: how many there are, and how bright a neighbour is."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from astropy import units as u
from astropy.table import QTable
from astropy.utils.exceptions import AstropyWarning

from astro_cluster.columns import add_column, check_free
from astro_cluster.cutouts.measures import SMALLEST
from astro_cluster.cutouts.stack import images_of, source_of_images, usable_images
from astro_cluster.exceptions import InputError
from astro_cluster.provenance import OMIT, Step, step
from astro_cluster.tables import Source, as_qtable, derive
from astro_cluster.threads import available_threads, run_all

__all__ = ["DETECTIONS", "detections_of", "image_sources", "sources_in"]

DETECTIONS = ("n_sources", "neighbour_distance", "neighbour_ratio")
"""Names of what is told of the sources of an image."""

_AT_ONCE = 64  # images of one task
_LEVELS = 16  # at which it is looked whether a segment falls apart
_CONTRAST = 0.005  # share of a segment's light that makes a part of it a source


class Sources(NamedTuple):
    """What is detected in an image.

    Parameters
    ----------
    x, y : (k,) array of float64
        Middles in pixels, the middle of the first pixel being 0; the brightest source first.
    flux : (k,) array of float64
        Sums of their pixels above the background.
    pixels : (k,) array of int64
        Number of their pixels.
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    pixels: np.ndarray


_NONE = Sources(np.empty(0), np.empty(0), np.empty(0), np.empty(0, dtype=np.int64))


def _need_photutils() -> Any:
    try:
        import photutils.segmentation
    except ImportError as error:
        raise InputError(
            'sources are detected by photutils, which is not installed: pip install "astro_cluster[images]"'
        ) from error
    return photutils.segmentation


def sources_in(image: Any, *, threshold: float = 3.0, npixels: int = 5) -> Sources:
    """Detect the sources in an image.

    Parameters
    ----------
    image : (h, w) or (h, w, c) array
        Pixels; what is not finite is left out, and channels are averaged.
    threshold : float, optional
        How many standard deviations of the background a source's pixels are above it at least.
    npixels : int, optional
        How many pixels that touch each other a source has at least.

    Returns
    -------
    Sources
        ``x``, ``y``, ``flux`` and ``pixels`` of each, the brightest first.

    Raises
    ------
    InputError
        If photutils is not installed.

    Notes
    -----
    Median and standard deviation of the background are those of the pixels that are left after
    clipping at 3 standard deviations; the image, smoothed by a Gaussian of 2 pixels FWHM, is compared
    with them (`photutils.segmentation.detect_sources`).  A segment that falls apart at one of 16 higher
    levels, into parts that stand out by as much as a source has to and hold 0.5 % of its light, is several
    sources (after Bertin & Arnouts 1996, A&AS 117, 393); each pixel goes to the nearest.
    Pixels that are exactly 0 in a noisy image are gaps and do not count for the background.

    Examples
    --------
    >>> y, x = np.mgrid[:40, :40]
    >>> image = 100 * np.exp(-((x - 20) ** 2 + (y - 20) ** 2) / 8)
    >>> image += 50 * np.exp(-((x - 5) ** 2 + (y - 9) ** 2) / 8)
    >>> image += np.random.default_rng(1).normal(size=image.shape)
    >>> found = sources_in(image)
    >>> len(found.x), found.x.round().tolist(), found.y.round().tolist()
    (2, [20.0, 5.0], [20.0, 9.0])
    """
    segmentation = _need_photutils()
    light = np.asarray(getattr(image, "value", image), dtype=np.float64)
    if light.ndim == 3:
        light = light.mean(axis=2)
    unknown = ~np.isfinite(light)
    if unknown.all() or min(light.shape) < SMALLEST:
        return _NONE
    largest = float(np.abs(light[~unknown]).max())
    if largest == 0:
        return _NONE
    light = light / largest  # squares of large numbers would be infinite
    gap = light == 0
    empty = unknown | gap if 0 < gap.mean() < 0.5 else unknown
    level, noise = _background(light[~empty])
    if not noise > 0:
        return _NONE
    with warnings.catch_warnings():
        # photutils warns where it finds nothing, and of NaN pixels.
        warnings.simplefilter("ignore", AstropyWarning)
        above = np.where(empty, 0.0, light - level)
        smooth, quieter = _smoothed(above)
        found = segmentation.detect_sources(smooth, threshold * noise * quieter, npixels, mask=empty)
    if found is None:
        return _NONE
    labels = _parted(smooth, np.asarray(found.data), noise * quieter, threshold, npixels)
    told = _measured(above, labels)
    return told._replace(flux=told.flux * largest)


def _background(values: np.ndarray) -> tuple[float, float]:
    """Return median and standard deviation of what is left after clipping."""
    for _ in range(5):
        if not len(values):
            return 0.0, 0.0
        level, noise = float(np.median(values)), float(values.std())
        kept = values[np.abs(values - level) <= 3 * noise]
        if len(kept) == len(values):
            break
        values = kept
    return level, noise


_KERNEL = np.exp(-(np.arange(-2, 3) ** 2) / (2 * (2.0 / 2.3548) ** 2))
_KERNEL /= _KERNEL.sum()


def _smoothed(light: np.ndarray) -> tuple[np.ndarray, float]:
    """Return an image smoothed, and by what its (white) noise is less."""
    from scipy.ndimage import correlate1d

    smooth = correlate1d(correlate1d(light, _KERNEL, axis=0, mode="nearest"), _KERNEL, axis=1, mode="nearest")
    return smooth, float(np.sum(_KERNEL**2))


def _parted(
    smooth: np.ndarray, labels: np.ndarray, noise: float, threshold: float, npixels: int
) -> np.ndarray:
    """Return segments of which those that are several sources are taken apart."""
    from scipy.ndimage import distance_transform_edt, find_objects

    out = np.array(labels)
    last = int(labels.max())
    for number, box in enumerate(find_objects(labels), start=1):
        if box is None:
            continue
        light, inside = smooth[box], labels[box] == number
        branches = _branches(light, inside, threshold * noise, npixels)
        if len(branches) < 2:
            continue
        seeds = np.zeros(light.shape, dtype=out.dtype)
        for i, branch in enumerate(branches):
            seeds[branch] = number if i == 0 else last + i
        last += len(branches) - 1
        nearest = distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
        out[box][inside] = seeds[tuple(nearest)][inside]
    return out


def _branches(light: np.ndarray, inside: np.ndarray, lowest: float, npixels: int) -> list[np.ndarray]:
    """Return the parts into which a segment falls at higher and higher levels.

    A part counts if it stands out by as much as a source has to, and holds some share of the light
    (Bertin & Arnouts 1996, A&AS 117, 393).
    """
    from scipy.ndimage import label

    top, total = float(light[inside].max()), float(light[inside].sum())
    parts = [inside]
    if inside.sum() < 2 * npixels or top <= 2 * lowest:
        return parts
    for level in np.geomspace(lowest, top, _LEVELS + 2)[1:-1]:
        new = []
        for part in parts:
            pieces, n = label(part & (light > level), structure=np.ones((3, 3)))
            strong = [
                piece
                for piece in (pieces == k for k in range(1, n + 1))
                if piece.sum() >= npixels
                and light[piece].max() - level > lowest
                and (light[piece] - level).sum() > _CONTRAST * total
            ]
            new += strong if len(strong) > 1 else [part]
        parts = new
    return parts


def _measured(above: np.ndarray, labels: np.ndarray) -> Sources:
    """Return the middles and the fluxes of segments."""
    y, x = np.nonzero(labels)
    label = labels[y, x]
    light = np.clip(above[y, x], 0, None)
    flux = np.bincount(label, light)[1:]
    pixels = np.bincount(label)[1:]
    safe = np.where(flux > 0, flux, 1)
    places = [np.bincount(label, light * axis)[1:] / safe for axis in (x, y)]
    order = np.argsort(-flux, kind="stable")
    order = order[flux[order] > 0]
    return Sources(places[0][order], places[1][order], flux[order], pixels[order].astype(np.int64))


def detections_of(image: Any, *, threshold: float = 3.0, npixels: int = 5) -> dict[str, float]:
    """Tell how many sources an image has, and how near and bright the brightest neighbour is.

    Parameters
    ----------
    image : (h, w) or (h, w, c) array
        Pixels.
    threshold, npixels : optional
        As in `sources_in`.

    Returns
    -------
    dict of str to float
        ``n_sources``; ``neighbour_distance`` in pixels and ``neighbour_ratio`` of the brightest other
        source and the one in the middle, NaN if there are not both.  In the middle is the source
        nearest to the middle of the image, within a quarter of the smaller side.

    Raises
    ------
    InputError
        If photutils is not installed.

    Examples
    --------
    >>> detections_of(np.random.default_rng(1).normal(size=(40, 40)))["n_sources"]
    0.0
    """
    found = sources_in(image, threshold=threshold, npixels=npixels)
    told = {"n_sources": float(len(found.x)), "neighbour_distance": np.nan, "neighbour_ratio": np.nan}
    if len(found.x) < 2:
        return told
    h, w = np.shape(image)[:2]
    from_middle = np.hypot(found.x - (w - 1) / 2, found.y - (h - 1) / 2)
    middle = int(np.argmin(from_middle))
    if from_middle[middle] > min(h, w) / 4:
        return told
    other = 1 if middle == 0 else 0
    distance = np.hypot(found.x[other] - found.x[middle], found.y[other] - found.y[middle])
    return told | {
        "neighbour_distance": float(distance),
        "neighbour_ratio": float(found.flux[other] / found.flux[middle]),
    }


@step
def image_sources(
    table: Source,
    column: str | None = None,
    *,
    threshold: float = 3.0,
    npixels: int = 5,
    n_jobs: int | None = None,
    overwrite: bool = False,
) -> Step:
    """Count the sources in the images of a table, by photutils.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A table with a column of images, or one that links to a file of them.
    column : str, optional
        Column of the images; ``image`` or the only such column if not given.
    threshold : float, optional
        How many standard deviations of the background a source's pixels are above it at least.
    npixels : int, optional
        How many pixels that touch each other a source has at least.
    n_jobs : int, optional
        Threads; as many as cores if not given.  The result is the same.
    overwrite : bool, optional
        Replace columns of the same names.

    Returns
    -------
    `~astropy.table.QTable`
        With ``n_sources``, and of the brightest source beside the one in the middle
        ``neighbour_distance`` in pixels and ``neighbour_ratio``, its flux over that of the middle one;
        masked where there are not both, and in rows without an image.

    Raises
    ------
    InputError
        If the table has no images, the columns are there already, or photutils is not installed.

    Examples
    --------
    >>> y, x = np.mgrid[:32, :32]
    >>> image = np.random.default_rng(1).normal(size=(1, 32, 32))
    >>> image += 200 * np.exp(-((x - 16) ** 2 + (y - 16) ** 2) / 8)
    >>> image_sources(QTable({"image": image}))["n_sources"].tolist()
    [1]
    """
    _need_photutils()
    if not threshold > 0 or npixels < 1:
        raise InputError(f"threshold={threshold} and npixels={npixels}: give numbers above 0")
    table = as_qtable(table)
    check_free(table, DETECTIONS, overwrite=overwrite)
    images = images_of(table, column)
    name = source_of_images(table, column)
    usable = usable_images(table, images)
    found = {key: np.full(len(images), np.nan) for key in DETECTIONS}
    rows = np.flatnonzero(usable)

    def detect(part: np.ndarray) -> None:
        for row in part:
            for key, value in detections_of(images[row], threshold=threshold, npixels=npixels).items():
                found[key][row] = value

    tasks = [lambda i=i: detect(rows[i : i + _AT_ONCE]) for i in range(0, len(rows), _AT_ONCE)]
    if tasks:
        run_all(tasks, available_threads() if n_jobs is None else max(1, n_jobs))
    out = derive(table)
    add_detections(out, found, ~usable)
    return Step(out, table, inputs=[name], parameters={"n_jobs": OMIT})


def add_detections(table: QTable, found: dict[str, np.ndarray], bad: np.ndarray) -> None:
    """Add what `detections_of` tells as columns to a table, in place.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Table of n rows.
    found : dict of str to (n,) array
        Values by name.
    bad : (n,) array of bool
        Rows without an image, which are masked.

    Examples
    --------
    >>> table = QTable({"id": [1]})
    >>> found = {"n_sources": [2.0], "neighbour_distance": [9.5], "neighbour_ratio": [0.3]}
    >>> add_detections(table, {k: np.array(v) for k, v in found.items()}, np.array([False]))
    >>> table["neighbour_distance"]
    <Quantity [9.5] pix>
    """
    numbers = np.where(bad, 0, found["n_sources"]).astype(np.int64)
    add_column(table, "n_sources", numbers, mask=bad)
    for name in DETECTIONS[1:]:
        without = bad | np.isnan(found[name])
        values = np.where(without, np.nan, found[name])
        add_column(table, name, values * u.pix if name == "neighbour_distance" else values, mask=without)
