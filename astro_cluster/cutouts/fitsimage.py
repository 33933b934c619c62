"""Images in FITS files, read as bytes: some ten times as fast as astropy opens them.

What is packed in tiles goes through `astropy.io.fits`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np

from astro_cluster.cutouts.looking import Look
from astro_cluster.exceptions import did_you_mean
from astro_cluster.filing.fitscards import (
    Cards,
    axes_of,
    bytes_of_data,
    is_true,
    name_of,
    read_header,
    skip,
)
from astro_cluster.filing.headers import Header

__all__ = ["Place", "look_at_fits", "pixels_of_fits"]

_MOST_HDUS = 10_000
_TYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


@dataclass(slots=True)
class Place:
    """Where the pixels are in a file, and what they mean.

    Parameters
    ----------
    number : int
        Of the HDU.
    offset : int
        Bytes before the pixels.
    shape : tuple of int
        As NumPy has it: the last axis is the width.
    bitpix : int
        Their type.
    scale, zero : float
        Physical value = scale × stored value + zero.
    blank : int, optional
        Stored value that means none.
    is_packed : bool
        Whether the image is packed in tiles.
    """

    number: int
    offset: int
    shape: tuple[int, ...]
    bitpix: int
    scale: float = 1.0
    zero: float = 0.0
    blank: int | None = None
    is_packed: bool = False


def _image_in(cards: Cards, number: int) -> tuple[tuple[int, ...], str] | None:
    """Return shape and prefix of the keys of an image HDU."""
    if is_true(cards, "ZIMAGE"):
        return axes_of(cards, "Z"), "Z"
    kind = cards.get("XTENSION")
    if number and (kind is None or str(kind[0]).strip() not in ("IMAGE", "IUEIMAGE")):
        return None
    return axes_of(cards), ""


def _is_asked(cards: Cards, number: int, hdu: int | str | None, shape: tuple[int, ...] | None) -> bool:
    if hdu is None:
        return shape is not None and len(shape) >= 2 and 0 not in shape
    if isinstance(hdu, int):
        return number == hdu
    return name_of(cards).upper() == hdu.strip().upper()


def look_at_fits(
    file: IO[bytes],
    *,
    hdu: int | str | None = None,
    plane: int | None = None,
    wanted: Sequence[str] | None = (),
    limit: int,
) -> Look:
    """Read the header of an image in a FITS file.

    Parameters
    ----------
    file : file
        Open at its beginning; it is only read forward.
    hdu : int or str, optional
        Number or name of the HDU; the first one with an image if not given.
    plane : int, optional
        Plane of a cube; all of them, as channels, if not given.
    wanted : sequence of str, optional
        Header keys to take; None for all.  Those that an extension does not have come from the primary
        header.
    limit : int
        Bytes that the pixels may have.

    Returns
    -------
    Look

    Raises
    ------
    ValueError
        If there is no such image, or the header is damaged or promises more than ``limit``.

    Examples
    --------
    >>> from astropy.io import fits
    >>> file = io.BytesIO()
    >>> fits.PrimaryHDU(np.zeros((2, 3)), fits.Header({"RA": 10.5})).writeto(file)
    >>> _ = file.seek(0)
    >>> look = look_at_fits(file, wanted=["RA"], limit=1000)
    >>> look.height, look.width, look.header
    (2, 3, {'RA': (10.5, '')})
    """
    offset, first = 0, None
    names: list[str] = []
    for number in range(_MOST_HDUS):
        start = offset
        cards = read_header(file)
        if cards is None:
            break
        first = first or cards
        names.append(name_of(cards))
        image = _image_in(cards, number)
        if _is_asked(cards, number, hdu, image[0] if image else None):
            if image is None:
                raise ValueError(f"HDU {hdu} is a table, no image")
            place = _place(cards, number, start + len(cards.raw), *image, limit)
            return _look(place, plane, _values(cards, first, wanted))
        size = bytes_of_data(cards, axes_of(cards))
        skip(file, size)
        offset = start + len(cards.raw) + size
    if hdu is None:
        raise ValueError(
            "no HDU of it has an image (NAXIS is 0)" if len(names) == 1 else "no HDU has an image"
        )
    known = [name for name in names if name]
    raise ValueError(f"it has {len(names)} HDUs, none of which is {hdu!r}{did_you_mean(str(hdu), known)}")


def _place(cards: Cards, number: int, offset: int, shape: tuple[int, ...], prefix: str, limit: int) -> Place:
    if len(shape) < 2 or 0 in shape:
        raise ValueError(f"HDU {number} has no image: its axes are {shape[::-1]}")
    bitpix = cards.number(f"{prefix}BITPIX")
    if bitpix not in _TYPES:
        raise ValueError(f"its header is damaged: BITPIX is {bitpix}")
    if (size := math.prod(shape) * abs(bitpix) // 8) > limit:
        raise ValueError(
            f"its header promises {size} bytes of pixels, more than conf.max_image_bytes = {limit}"
        )
    scale, zero, blank = (cards.number(key, default) for key, default in _MEANING)
    return Place(number, offset, shape, bitpix, float(scale), float(zero), blank, prefix == "Z")


_MEANING = (("BSCALE", 1), ("BZERO", 0), ("BLANK", None))


def _look(place: Place, plane: int | None, header: Header) -> Look:
    shape = place.shape
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) > 3:
        raise ValueError(f"its image has {len(shape)} axes; two, or three for a cube, are read")
    planes = shape[0] if len(shape) == 3 else 1
    if plane is not None and not -planes <= plane < planes:
        raise ValueError(f"it has {planes} plane{'s' * (planes > 1)}, and plane={plane} is none of them")
    is_byte = place.bitpix == 8 and (place.scale, place.zero, place.blank) == (1.0, 0.0, None)
    channels = planes if len(shape) == 3 and plane is None else 0
    return Look(*shape[-2:], channels, is_byte and not place.is_packed, header, place)


def _values(cards: Cards, primary: Cards, wanted: Sequence[str] | None) -> Header:
    """Return the wanted keys of a header, or all of it, and those of the primary one behind it."""
    names = [*cards.keys(), *primary.keys()] if wanted is None else wanted
    header: Header = {}
    for name in dict.fromkeys(names):
        found = cards.get(name) or (primary.get(name) if primary is not cards else None)
        if found is not None:
            header[name.upper()] = found
    return header


def pixels_of_fits(data: bytes, place: Place, *, plane: int | None = None) -> np.ndarray:
    """Return the pixels of an image in a FITS file.

    Parameters
    ----------
    data : bytes
        The whole file.
    place : Place
        What `look_at_fits` found.
    plane : int, optional
        Plane of a cube.

    Returns
    -------
    (h, w) or (h, w, c) array
        In native byte order: uint8; float32, or float64 where that is not exact enough.  The planes of
        a cube are the channels.

    Raises
    ------
    ValueError
        If the file is cut short.

    Examples
    --------
    >>> from astropy.io import fits
    >>> file = io.BytesIO()
    >>> fits.PrimaryHDU(np.arange(6).reshape(2, 3)).writeto(file)
    >>> _ = file.seek(0)
    >>> pixels_of_fits(file.getvalue(), look_at_fits(file, limit=1000).place)
    array([[0., 1., 2.],
           [3., 4., 5.]])
    """
    if place.is_packed:
        pixels = _unpacked(data, place.number)
    else:
        count = math.prod(place.shape)
        size = count * abs(place.bitpix) // 8
        if (there := len(data) - place.offset) < size:
            raise ValueError(f"it is cut short: {max(there, 0)} of {size} bytes of its pixels are there")
        stored = np.frombuffer(data, _TYPES[place.bitpix], count, place.offset).reshape(place.shape)
        pixels = _one_plane(stored, plane)
        pixels = pixels if _is_plain(place) else _meant(pixels, place)
    if place.is_packed:
        pixels = _one_plane(pixels, plane)
    if pixels.dtype.kind == "u" and pixels.itemsize == 1:
        return np.ascontiguousarray(pixels)
    exact = (pixels.dtype.kind == "f" and pixels.itemsize == 8) or (
        pixels.itemsize > 2 and pixels.dtype.kind != "f"
    )
    return np.ascontiguousarray(pixels, np.float64 if exact else np.float32)


def _is_plain(place: Place) -> bool:
    return place.scale == 1 and place.zero == 0 and (place.blank is None or place.bitpix < 0)


def _meant(stored: np.ndarray, place: Place) -> np.ndarray:
    """Return physical values; one that means none becomes NaN."""
    values = stored.astype(np.float32 if abs(place.bitpix) <= 16 else np.float64)
    values *= place.scale
    values += place.zero
    if place.blank is not None and place.bitpix > 0:
        values[stored == place.blank] = np.nan
    return values


def _one_plane(pixels: np.ndarray, plane: int | None) -> np.ndarray:
    """Return the image, a plane of it, or its planes as channels."""
    while pixels.ndim > 2 and len(pixels) == 1:
        pixels = pixels[0]
    if pixels.ndim == 2:
        return pixels
    return np.moveaxis(pixels, 0, -1) if plane is None else pixels[plane]


def _unpacked(data: bytes, number: int) -> np.ndarray:
    """Return the pixels of an image that is packed in tiles."""
    from astropy.io import fits

    with fits.open(io.BytesIO(data), memmap=False) as hdus:
        pixels = hdus[number].data
    if pixels is None:
        raise ValueError(f"HDU {number} has no image")
    return np.asarray(pixels)
