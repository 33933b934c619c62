"""Stamps around the positions of a catalogue, cut from large images of the sky."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import NDData
from astropy.table import Column, QTable
from astropy.wcs import WCS

from astro_cluster.columns import add_column, check_free
from astro_cluster.cutouts.mosaics import Mosaic, opened, plain_name
from astro_cluster.cutouts.quality import (
    QUALITIES,
    add_quality_columns,
    plain_level,
    qualities_of,
)
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.positions import find_position, sky_coord
from astro_cluster.provenance import OMIT, Step, content_hash, step
from astro_cluster.tables import Source, as_qtable, derive

__all__ = ["cutouts_from"]

_FLAGS = ("image_bad", "image_partial", "image_coverage")
_LARGEST = 2**36  # bytes of stamps; more is a mistake of the size


@step
def cutouts_from(
    image: Any,
    table: Source,
    size: Any,
    *,
    position: str | Sequence[str] | None = None,
    hdu: int | str | None = None,
    fill: float = np.nan,
    column: str = "image",
    quality: bool = True,
    saturation: float | u.Quantity | None = None,
    n_jobs: int | None = None,
    overwrite: bool = False,
) -> Step:
    """Cut stamps around the positions of a table from a large image of the sky.

    Parameters
    ----------
    image : str, path, HDU, `~astropy.nddata.NDData` or (array, WCS); a dict or list of these
        The image: a FITS file, of which only the stamps are read if it is not zipped, or an image with
        its coordinates.  Several, such as the same field in several filters, become the channels
        of the stamps; the keys of a dict are their names.
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A catalogue of n rows.
    size : int, `~astropy.units.Quantity` or a pair of these
        Size of the stamps in pixels or as an angle; of a pair the first is the height.
    position : str or (str, str), optional
        Columns of the positions, as in `crossmatch`; found by UCD or name if not given.
    hdu : int or str, optional
        Which HDU of the files; the first with an image if not given.
    fill : float, optional
        What pixels outside of the image become.
    column : str, optional
        Name of the new column of images.
    quality : bool, optional
        Whether to add the measures of `image_quality`.
    saturation : float or `~astropy.units.Quantity`, optional
        As in `image_quality`.
    n_jobs : int, optional
        Threads that measure the quality; as many as cores if not given.
    overwrite : bool, optional
        Replace columns of the same names.

    Returns
    -------
    `~astropy.table.QTable`
        With the columns

        - ``image``, (n, h, w) or with several images (n, h, w, c) float32: the pixel on which the
          position falls is in the middle, as `~astropy.nddata.Cutout2D` has it; nothing is interpolated;
        - ``image_bad``: the row has no position, or none on the image: all pixels are ``fill``
          and the other new columns masked;
        - ``image_partial``: a part of the stamp is outside of the image;
        - ``image_coverage``: the share of the stamp that is not, with several images their mean;

        and the measures of `image_quality`.  A unit that all images have (BUNIT) is the
        column's.  The column's metadata names the images (``filters``).

    Raises
    ------
    InputError
        If an image cannot be read or has no coordinates, there are no positions, the size means
        nothing, or several images have pixels of different sizes and the size is an angle.

    Warns
    -----
    AstroClusterWarning
        If some rows have no stamp.

    Notes
    -----
    The stamps of several images are cut each by its own coordinates, so that their middles agree to
    a pixel; their pixels lie over each other where the images are on one grid.  Values are brought to
    float32.

    Examples
    --------
    >>> wcs = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 15, "CRPIX2": 10,
    ...            "CRVAL1": 150.0, "CRVAL2": 2.0, "CDELT1": -0.01, "CDELT2": 0.01})
    >>> mosaic = np.arange(600.0).reshape(20, 30)
    >>> table = QTable({"ra": [150.0, 150.12] * u.deg, "dec": [2.0, 2.0] * u.deg})
    >>> stamps = cutouts_from((mosaic, wcs), table, 8)
    >>> stamps["image"].shape, stamps["image_partial"].tolist()
    ((2, 8, 8), [False, True])
    """
    table = as_qtable(table)
    check_free(table, _new_names(column, quality), overwrite=overwrite)
    images = _images_by_name(image)
    names = find_position(table, position)
    coord, valid = sky_coord(table, names)
    fill = _plain_fill(fill)
    with contextlib.ExitStack() as stack:
        mosaics = [stack.enter_context(opened(one, hdu=hdu)) for one in images.values()]
        shape = _common_shape(mosaics, size)
        several = isinstance(image, Mapping) or len(mosaics) > 1
        stamps = _room(len(table), shape, len(mosaics) if several else 0, fill)
        shares = np.zeros((len(table), len(mosaics)))
        for number, mosaic in enumerate(mosaics):
            part = stamps[..., number] if several else stamps
            shares[:, number] = _cut(mosaic, coord, valid, part)
    bad = ~(shares > 0).any(axis=1)
    _warn_of_bad(bad, valid)
    out = derive(table)
    shown = ", ".join(mosaic.name for mosaic in mosaics)
    _add_images(out, column, stamps, mosaics, list(images))
    add_column(out, "image_bad", bad)
    add_column(out, "image_partial", (shares < 1).any(axis=1), mask=bad, image=shown)
    add_column(out, "image_coverage", shares.mean(axis=1), mask=bad, image=shown)
    if quality:
        level = plain_level(saturation, getattr(out[column], "unit", None))
        add_quality_columns(out, qualities_of(stamps, saturation=level, n_jobs=n_jobs), bad)
    return Step(
        out,
        table,
        inputs=list(names),
        facts={"table_as": "table", "images": _facts(images, mosaics), "size_in_pixels": list(shape)},
        parameters={"table": OMIT, "n_jobs": OMIT, "image": _recorded(image), "position": list(names)},
    )


def _new_names(column: str, quality: bool) -> list[str]:
    return [column, *_FLAGS, *(QUALITIES if quality else ())]


def _is_one(image: Any) -> bool:
    """Tell whether an image was given, or several."""
    pair = isinstance(image, (tuple, list)) and len(image) == 2 and isinstance(image[1], WCS)
    return pair or not isinstance(image, (Mapping, list, tuple))


def _images_by_name(image: Any) -> dict[str, Any]:
    """Return the images that were given by the names of their filters, empty where there is none."""
    if _is_one(image):
        return {plain_name(image): image}
    if isinstance(image, Mapping):
        found = {str(name): one for name, one in image.items()}
    else:
        found = {plain_name(one) or f"image {i}": one for i, one in enumerate(image, start=1)}
        if len(found) < len(image):  # files of one name in several folders
            found = {f"{plain_name(one) or 'image'} {i}": one for i, one in enumerate(image, start=1)}
    if not found:
        raise InputError("no image was given to cut stamps from")
    return found


def _plain_fill(fill: Any) -> float:
    try:
        return float(fill)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"fill={fill!r} is no number; give NaN or the brightness outside of the image"
        ) from error


def _common_shape(mosaics: Sequence[Mosaic], size: Any) -> tuple[int, int]:
    """Return the size of the stamps in pixels, which must be the same on all images."""
    shapes = [mosaic.shape_of(size) for mosaic in mosaics]
    for mosaic, shape in zip(mosaics, shapes, strict=True):
        if shape != shapes[0]:
            raise InputError(
                f"size={size} is {shapes[0][0]} × {shapes[0][1]} pixels on {mosaics[0].name} and {shape[0]} "
                f"× {shape[1]} on {mosaic.name}: bring the images to one pixel scale (reproject), or give "
                "the size in pixels"
            )
    return shapes[0]


def _room(n: int, shape: tuple[int, int], channels: int, fill: float) -> np.ndarray:
    full = (n, *shape, channels) if channels else (n, *shape)
    if (needed := 4 * int(np.prod(full, dtype=float))) > _LARGEST:
        raise InputError(
            f"{n} stamps of {shape[0]} × {shape[1]} pixels need {needed / 2**30:,.0f} GiB; give a smaller "
            "size or fewer rows"
        )
    return np.full(full, fill, dtype=np.float32)


def _cut(mosaic: Mosaic, coord: SkyCoord, valid: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    """Fill stamps from an image; return which share of each is on it."""
    height, width = stamps.shape[1:3]
    rows = np.flatnonzero(valid)
    places = np.full((len(valid), 2), np.nan)
    places[rows] = mosaic.pixels_of(coord[rows])
    # As astropy.nddata.overlap_slices.
    with np.errstate(invalid="ignore"):
        first = np.ceil(places[:, ::-1] - np.array([height, width]) / 2)
        on_it = ((first + np.array([height, width]) > 0) & (first < mosaic.shape)).all(
            axis=1
        )  # not where NaN
    first = np.where(on_it[:, np.newaxis], first, 0).astype(np.int64)
    shares = np.zeros(len(valid))
    limits = np.finfo(np.float32)
    for row in np.flatnonzero(on_it)[np.lexsort(first[on_it].T[::-1])]:  # along the file
        top, left = int(first[row, 0]), int(first[row, 1])
        down = slice(max(0, top), min(mosaic.shape[0], top + height))
        across = slice(max(0, left), min(mosaic.shape[1], left + width))
        pixels = mosaic.part(down, across)
        if pixels.dtype.kind == "f" and pixels.dtype.itemsize > 4:
            pixels = np.clip(pixels, limits.min, limits.max)  # a wider number is none that anyone measured
        stamps[row, down.start - top : down.stop - top, across.start - left : across.stop - left] = pixels
        shares[row] = pixels.size / (height * width)
    return shares


def _warn_of_bad(bad: np.ndarray, valid: np.ndarray) -> None:
    off, without = int((bad & valid).sum()), int((~valid).sum())
    said = [f"{off} of {len(bad)} positions are not on the image"] if off else []
    said += [f"{without} of {len(bad)} rows have no position"] if without else []
    if said:
        rows = np.flatnonzero(bad)
        shown = ", ".join(map(str, rows[:8])) + (", …" if len(rows) > 8 else "")
        warnings.warn(
            f"{' and '.join(said)} (rows {shown}, counted from 0): image_bad is set there",
            AstroClusterWarning,
            stacklevel=4,
        )


def _add_images(
    table: QTable, column: str, stamps: np.ndarray, mosaics: Sequence[Mosaic], names: Sequence[str]
) -> None:
    units = {mosaic.unit for mosaic in mosaics}
    unit = u.Unit(next(iter(units)), parse_strict="silent") if len(units) == 1 else None
    known = unit not in (None, u.one) and not isinstance(unit, u.UnrecognizedUnit)
    add_column(table, "image", stamps, name=column, how=f"cut from {', '.join(m.name for m in mosaics)}")
    info = table[column].info
    if known:
        described = (info.description, info.meta)
        table.replace_column(column, u.Quantity(np.asarray(table[column]), unit, copy=False))
        info = table[column].info
        info.description, info.meta = described
    info.meta = {
        **(info.meta or {}),
        "filters": [mosaic.filter or name for mosaic, name in zip(mosaics, names, strict=True)],
        **({} if known or units == {""} else {"units": [mosaic.unit for mosaic in mosaics]}),
    }


def _recorded(image: Any) -> Any:
    """Return what of the images can stand in a record: the paths of files."""
    if isinstance(image, (str, os.PathLike)):
        return os.fspath(image)
    if isinstance(image, Mapping):
        return {str(name): _recorded(one) for name, one in image.items()}
    return image if _is_one(image) else [_recorded(one) for one in image]


def _facts(images: Mapping[str, Any], mosaics: Sequence[Mosaic]) -> list[dict[str, Any]]:
    """Return what is known of each image: enough to see that it has changed since."""
    found = []
    for (name, image), mosaic in zip(images.items(), mosaics, strict=True):
        fact: dict[str, Any] = {"name": name, "shape": list(mosaic.shape), "filter": mosaic.filter}
        if isinstance(image, (str, os.PathLike)):
            fact |= {"path": os.fspath(image), "bytes": Path(image).stat().st_size}
        elif isinstance(image, (tuple, list, NDData)) and not isinstance(image, str):
            pixels = image.data if isinstance(image, NDData) else image[0]
            fact["hash"] = content_hash(QTable({"pixels": Column(np.asarray(pixels), copy=False)}))
        found.append(fact)
    return found
