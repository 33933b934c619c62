"""Large images of the sky, opened so that parts of them can be read."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import NDData
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS, FITSFixedWarning, NoConvergence
from astropy.wcs.utils import pixel_to_skycoord, proj_plane_pixel_scales, skycoord_to_pixel

from astro_cluster.config import conf
from astro_cluster.exceptions import InputError

__all__ = ["Mosaic", "opened", "plain_name"]

_MARGIN = 0.5  # of an image's size: positions further out than this are not on it
_FAR = 0.1 * u.deg  # between a position and that of the pixel found for it
_HDU = (fits.ImageHDU, fits.PrimaryHDU, fits.CompImageHDU)


@dataclass(slots=True)
class Mosaic:
    """A large image and where on the sky it is.

    Parameters
    ----------
    name : str
        What it is called in messages.
    shape : (int, int)
        Height and width in pixels.
    wcs : `~astropy.wcs.WCS`
        Celestial coordinates of its pixels.
    part : callable
        Takes two slices (rows, columns) and returns the pixels there.
    filter : str
        Name of its filter, if its header says it.
    unit : str
        Unit of its pixels, if its header says it.
    """

    name: str
    shape: tuple[int, int]
    wcs: WCS
    part: Callable[[slice, slice], np.ndarray]
    filter: str = ""
    unit: str = ""

    def pixels_of(self, coord: SkyCoord) -> np.ndarray:
        """Return where positions are on the image.

        Parameters
        ----------
        coord : (n,) `~astropy.coordinates.SkyCoord`
            Positions in any frame.

        Returns
        -------
        (n, 2) array of float64
            x and y, the middle of the first pixel being 0; NaN far outside of the image.
        """
        places = np.full((len(coord), 2), np.nan)
        known = np.isfinite(coord.spherical.lon.deg) & np.isfinite(coord.spherical.lat.deg)
        # Distortions are polynomials, which mean something near the image only.
        linear = self._places(coord[known], "wcs")
        size = np.array(self.shape[::-1])
        with np.errstate(invalid="ignore"):
            is_near = (np.abs(linear / size - 0.5) < 0.5 + _MARGIN + 1000 / size).all(axis=1)
        near = np.flatnonzero(known)[is_near]
        if len(near):
            found = self._places(coord[near], "all")
            # A projection may show what is behind the sky at the place of something else.
            back = pixel_to_skycoord(*np.nan_to_num(found).T, self.wcs, mode="all")
            found[~(back.separation(coord[near]) < _FAR)] = np.nan
            places[near] = found
        return places

    def _places(self, coord: SkyCoord, mode: str) -> np.ndarray:
        """Return pixels of positions; NaN for those that a distortion puts nowhere."""
        if not len(coord):
            return np.empty((0, 2))
        try:
            return np.stack(skycoord_to_pixel(coord, self.wcs, mode=mode), axis=1)
        except NoConvergence as error:
            places = np.array(error.best_solution)
            for lost in (error.divergent, error.slow_conv):
                if lost is not None:
                    places[lost] = np.nan
            return places

    def shape_of(self, size: Any) -> tuple[int, int]:
        """Return how many pixels a stamp has.

        Parameters
        ----------
        size : int, `~astropy.units.Quantity` or a pair of these
            Pixels or angles; of a pair the first is the height.

        Returns
        -------
        (int, int)
            Height and width.

        Raises
        ------
        InputError
            If it is neither, or less than a pixel.
        """
        sides = _sides(size)
        scales = u.Quantity(proj_plane_pixel_scales(self.wcs), self.wcs.wcs.cunit[0])[::-1]
        found = []
        for side, scale in zip(sides, scales, strict=True):
            number = side if isinstance(side, u.Quantity) else u.Quantity(side, u.pix)
            if number.unit.is_equivalent(u.deg):
                pixels = (number / scale).to_value(u.one)
            elif number.unit in (u.pix, u.one):
                pixels = number.value
            else:
                raise InputError(
                    f"size={size!r} is in {number.unit}; give pixels or an angle, such as 3 * u.arcsec"
                )
            if not np.isfinite(pixels) or round(float(pixels)) < 1:
                raise InputError(f"size={size!r} is no stamp on {self.name}: {float(pixels):g} pixels")
            found.append(round(float(pixels)))
        return found[0], found[1]


def _sides(size: Any) -> tuple[Any, Any]:
    """Return height and width of what was given as a size."""
    if isinstance(size, u.Quantity) and size.ndim == 0:
        return size, size
    if isinstance(size, (int, float, np.integer, np.floating)) and not isinstance(size, bool):
        return size, size
    if isinstance(size, (tuple, list, np.ndarray)) and len(size) == 2:
        sides = tuple(size)
        if all(
            isinstance(s, (int, float, np.integer, np.floating, u.Quantity)) and np.ndim(s) == 0
            for s in sides
        ):
            return sides  # type: ignore[return-value]
    raise InputError(
        f"size={size!r} is no size; give pixels (64), an angle (3 * u.arcsec), or a pair of these, the "
        "height first"
    )


# ---------------------------------------------------------------- opening


@contextlib.contextmanager
def opened(image: Any, *, hdu: int | str | None = None) -> Iterator[Mosaic]:
    """Open a large image.

    Parameters
    ----------
    image : str, path, HDU, `~astropy.nddata.NDData` or (array, WCS)
        A FITS file, or an image and its coordinates.
    hdu : int or str, optional
        Which HDU of a file; the first with an image if not given.

    Yields
    ------
    Mosaic
        Of a file that is not zipped only those parts are read that are asked for.

    Raises
    ------
    InputError
        If it is none of these, is not of two dimensions or has no celestial coordinates.

    Examples
    --------
    >>> wcs = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -0.01, "CDELT2": 0.01})
    >>> with opened((np.zeros((20, 30)), wcs)) as mosaic:
    ...     print(mosaic.shape, mosaic.shape_of(0.1 * u.deg))
    (20, 30) (10, 10)
    """
    if isinstance(image, (str, os.PathLike)):
        with _opened_file(Path(image), hdu) as mosaic:
            yield mosaic
    elif isinstance(image, _HDU):
        yield _of_hdu(image, f"HDU {image.name or 'PRIMARY'}", None)
    elif isinstance(image, NDData):
        yield _of_nddata(image)
    elif isinstance(image, (tuple, list)) and len(image) == 2 and isinstance(image[1], WCS):
        yield _of_array(np.asanyarray(image[0]), image[1], "the image")
    else:
        raise InputError(
            f"cannot cut stamps from a {type(image).__name__}: give the path of a FITS image, an HDU, a "
            "CCDData or NDData with a WCS, or a pair (array, WCS); of several filters a dict or a list of "
            "these"
        )


@contextlib.contextmanager
def _opened_file(path: Path, hdu: int | str | None) -> Iterator[Mosaic]:
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", fits.verify.VerifyWarning)
            warnings.filterwarnings("error", message="File may have been truncated")
            raw = stack.enter_context(path.open("rb"))  # which astropy leaves open after an error
            hdus = stack.enter_context(fits.open(raw, memmap=False))
            chosen = _chosen(hdus, path, hdu)
            mosaic = _of_hdu(chosen, str(path), hdus, zipped=_is_zipped(path))
        except InputError:
            raise
        except (OSError, ValueError, TypeError, AstropyWarning) as error:
            reason = " ".join(str(error).split())[:300]
            raise InputError(f"{path} cannot be read as a FITS image: {reason}") from error
        yield mosaic


def _is_zipped(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) in (b"\x1f\x8b", b"BZ", b"PK", b"\xfd7", b"\x1f\x9d")


def _chosen(hdus: fits.HDUList, path: Path, hdu: int | str | None) -> Any:
    """Return the HDU with the image."""
    names = ", ".join(f"{i} {h.name or '?'}" for i, h in enumerate(hdus))
    if hdu is not None:
        try:
            found = hdus[hdu]
        except (KeyError, IndexError):
            raise InputError(f"{path} has no HDU {hdu!r}; it has: {names}") from None
        if not isinstance(found, _HDU) or not found.header.get("NAXIS"):
            raise InputError(f"HDU {hdu!r} of {path} holds no image; its HDUs are: {names}")
        return found
    found = next((h for h in hdus if isinstance(h, _HDU) and h.header.get("NAXIS", 0) >= 2), None)
    if found is None:
        raise InputError(f"{path} holds no image; its HDUs are: {names}")
    return found


def _of_hdu(hdu: Any, name: str, hdus: fits.HDUList | None, *, zipped: bool = False) -> Mosaic:
    shape = tuple(hdu.shape)
    planes = shape[:-2]
    if len(shape) < 2 or any(n != 1 for n in planes):
        raise InputError(
            f"{name} is no plain image: its shape is {' × '.join(map(str, shape))}; give one plane of it as "
            "(array, WCS)"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        wcs = WCS(hdu.header, fobj=hdus)
    first = (0,) * len(planes)
    size = int(np.prod(shape, dtype=np.int64)) * abs(int(hdu.header.get("BITPIX", 8))) // 8
    if zipped:
        # Going back in such a file means to unpack it from its beginning.
        if size > conf.max_image_bytes:
            raise InputError(
                f"{name} is zipped and has {size} bytes of pixels, more than conf.max_image_bytes = "
                f"{conf.max_image_bytes}: unpack it, so that parts of it can be read"
            )
        pixels = np.asarray(hdu.data)[first]

        def part(rows: slice, columns: slice) -> np.ndarray:
            return pixels[rows, columns]
    elif "data" in vars(hdu):  # in memory already, perhaps of no file at all, which `section` cannot read
        in_memory = np.asarray(hdu.data)[first]

        def part(rows: slice, columns: slice) -> np.ndarray:
            return in_memory[rows, columns]
    elif (mapped := _mapped(hdu, name if hdus is not None else None)) is not None:

        def part(rows: slice, columns: slice) -> np.ndarray:
            return mapped[(*first, rows, columns)]
    else:
        section = hdu.section

        def part(rows: slice, columns: slice) -> np.ndarray:
            return np.asarray(section[(*first, rows, columns)])

    header = hdu.header
    primary = hdus[0].header if hdus is not None else header
    return Mosaic(
        name,
        (shape[-2], shape[-1]),
        _celestial(wcs, name),
        part,
        filter=str(header.get("FILTER", primary.get("FILTER", "")) or "").strip(),
        unit=str(header.get("BUNIT", "") or "").strip(),
    )


def _mapped(hdu: Any, path: str | None) -> np.ndarray | None:
    """Return the pixels of an image that stand in its file as they are meant, mapped; else None."""
    header = hdu.header
    scaled = header.get("BSCALE", 1) != 1 or header.get("BZERO", 0) != 0 or "BLANK" in header
    if path is None or isinstance(hdu, fits.CompImageHDU) or scaled:
        return None
    dtype = np.dtype(fits.BITPIX2DTYPE[header["BITPIX"]]).newbyteorder(">")
    return np.memmap(path, dtype, mode="r", offset=hdu.fileinfo()["datLoc"], shape=tuple(hdu.shape))


def _of_nddata(image: NDData) -> Mosaic:
    if image.wcs is None:
        raise InputError(
            "the image has no coordinates (its wcs is None); give a CCDData or NDData with a WCS"
        )
    wcs = image.wcs
    wcs = getattr(wcs, "low_level_wcs", wcs)
    if not isinstance(wcs, WCS):
        raise InputError(f"the coordinates of the image are a {type(wcs).__name__}; give a FITS WCS")
    found = _of_array(np.asanyarray(image.data), wcs, "the image")
    found.unit = "" if image.unit is None else str(image.unit)
    found.filter = str(dict(image.meta or {}).get("FILTER", "") or "").strip()
    if image.mask is not None and np.any(image.mask):
        mask, plain = np.broadcast_to(np.asarray(image.mask, dtype=bool), found.shape), found.part

        def part(rows: slice, columns: slice) -> np.ndarray:
            pixels = plain(rows, columns)
            kind = pixels.dtype if pixels.dtype.kind == "f" else np.float64
            return np.where(mask[rows, columns], np.nan, pixels.astype(kind))

        found.part = part
    return found


def _of_array(pixels: np.ndarray, wcs: WCS, name: str) -> Mosaic:
    unit = str(getattr(pixels, "unit", "") or "")
    pixels = np.asarray(getattr(pixels, "value", pixels))
    while pixels.ndim > 2 and pixels.shape[0] == 1:
        pixels = pixels[0]
    if pixels.ndim != 2 or pixels.dtype.kind not in "biuf":
        raise InputError(f"{name} is no plain image: its shape is {pixels.shape}, its type {pixels.dtype}")

    def part(rows: slice, columns: slice) -> np.ndarray:
        return pixels[rows, columns]

    return Mosaic(name, pixels.shape, _celestial(wcs, name), part, unit=unit)


def _celestial(wcs: WCS, name: str) -> WCS:
    if not wcs.has_celestial:
        raise InputError(
            f"{name} has no celestial coordinates (WCS): stamps cannot be found on it by position"
        )
    return wcs.celestial if wcs.naxis > 2 else wcs


def plain_name(image: Any) -> str:
    """Return what an image that was given may be called: the stem of its file, else nothing.

    Parameters
    ----------
    image : object
        As in `opened`.

    Returns
    -------
    str

    Examples
    --------
    >>> plain_name("mosaics/f444w.fits.gz")
    'f444w'
    """
    if not isinstance(image, (str, os.PathLike)):
        return ""
    return Path(image).name.split(".fit")[0].removesuffix(".fz")
