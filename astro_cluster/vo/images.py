"""Images as files that DS9 can open, and which positions lie in them."""

from __future__ import annotations

import os
import re
import shutil
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.coordinates import SkyCoord

from astro_cluster.exceptions import InputError

if TYPE_CHECKING:
    from astropy.io.fits import HDUList
    from astropy.wcs import WCS

__all__ = ["Picture", "inside", "picture_of"]

# DS9 takes a path as it is: it knows neither %20 nor, in a link, characters beyond ASCII, and
# brackets have a meaning to it.
_SAFE = re.compile(r"[A-Za-z0-9_./:\\~-]+")
_KINDS = "a path, an HDU, a CCDData, a Cutout2D, an array, or a tuple of array and WCS"


@dataclass(frozen=True, slots=True)
class Picture:
    """An image in a file.

    Parameters
    ----------
    path : path
        Of the file, in characters that DS9 takes.
    extension : str
        Which HDU, in DS9's form ``[1]``; empty if there is one only.
    name : str
        What it is called.
    shape : (int, int)
        Rows and columns of pixels.
    wcs : `~astropy.wcs.WCS` or None
        Its celestial coordinates.
    """

    path: Path
    extension: str
    name: str
    shape: tuple[int, int]
    wcs: WCS | None


def picture_of(image: Any, hdu: int | str | None = None) -> Picture:
    """Have an image in a file.

    Parameters
    ----------
    image : path, HDU, CCDData, Cutout2D, array, or tuple of array and WCS
        What is not a file is written to one in a private folder that lives as long as this process.
    hdu : int or str, optional
        Which HDU of a file; the first with an image if not given.

    Returns
    -------
    Picture

    Raises
    ------
    InputError
        If there is no image.

    Examples
    --------
    >>> picture_of(np.zeros((3, 4))).shape
    (3, 4)
    """
    if isinstance(image, (str, os.PathLike)):
        path = Path(image).expanduser().absolute()
        if not path.is_file():
            raise InputError(f"there is no file {os.fspath(image)}")
        return _of_file(path, hdu, path.name)
    name, written = _written(image)
    return _of_file(written, hdu, name)


def _of_file(path: Path, hdu: int | str | None, name: str) -> Picture:
    with _opened(path) as hdus:
        try:
            number = _image_of(hdus, hdu, name)
            header = hdus[number].header
            shape = int(header["NAXIS2"]), int(header["NAXIS1"])
            several = len(hdus) > 1
            wcs = _celestial(hdus, number)
        except (OSError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{name} cannot be read as FITS: {_words(error)}") from error
    return Picture(_safe(path), f"[{number}]" if several else "", name, shape, wcs)


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


@contextmanager
def _opened(path: Path) -> Iterator[HDUList]:
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd headers, which DS9 shows all the same
        try:
            hdus = fits.open(path, memmap=True)
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{path} cannot be read as FITS: {_words(error)}") from error
        with hdus:
            yield hdus


def _image_of(hdus: HDUList, wanted: int | str | None, name: str) -> int:
    images = [i for i, one in enumerate(hdus) if one.is_image and one.header.get("NAXIS", 0) >= 2]
    if wanted is None and images:
        return images[0]
    if wanted is not None:
        try:
            found = hdus.index_of(wanted)
            hdus[found]  # a number may be beyond the end
        except (KeyError, IndexError, TypeError) as error:
            shown = ", ".join(f"{i} {one.name}".strip() for i, one in enumerate(hdus))
            raise InputError(f"{name} has no HDU {wanted!r}; it has {shown}") from error
        if found in images:
            return found
        raise InputError(
            f"HDU {wanted!r} of {name} is no image; images are {', '.join(map(str, images)) or 'none'}"
        )
    raise InputError(f"{name} has no image of two dimensions")


def _celestial(hdus: HDUList, number: int) -> WCS | None:
    from astropy.wcs import WCS

    try:
        found = WCS(hdus[number].header, fobj=hdus).celestial
    except Exception:  # wcslib has a dozen kinds of errors; an image without coordinates is an image
        return None
    return found if found.naxis == 2 and found.has_celestial else None


def _safe(path: Path) -> Path:
    """Return a path of plain characters to the same file."""
    from astro_cluster.vo.samp import ascii_of, outbox

    if _SAFE.fullmatch(str(path)):
        return path
    # Of the name what DS9 needs: it looks at the ending.
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", ascii_of(path.name))
    link = _folder(outbox()) / plain
    try:
        link.symlink_to(path)
    except OSError:  # Windows lets few users make links
        shutil.copyfile(path, link)
    return link


def _folder(parent: Path) -> Path:
    if not _SAFE.fullmatch(str(parent)):
        raise InputError(
            f"DS9 cannot take files from the folder {parent}: set the environment variable TMPDIR to one "
            "whose name has plain letters, digits and dashes only"
        )
    folder = parent / uuid.uuid4().hex[:12]
    folder.mkdir()
    return folder


def _written(image: Any) -> tuple[str, Path]:
    """Write what is in memory to a file."""
    from astropy.io import fits

    from astro_cluster.tables import beside
    from astro_cluster.vo.samp import outbox

    if isinstance(image, fits.HDUList):
        hdus = image
    elif isinstance(image, (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)):
        hdus = fits.HDUList([fits.PrimaryHDU(image.data, image.header)])
    else:
        hdus = fits.HDUList([fits.PrimaryHDU(*_data_and_header(image))])
    path = _folder(outbox()) / "image.fits"
    with warnings.catch_warnings(), beside(path, overwrite=False) as new:
        warnings.simplefilter("ignore")
        hdus.writeto(new, output_verify="silentfix+ignore")
    return "the image", path


def _data_and_header(image: Any) -> tuple[np.ndarray, Any]:
    data, wcs = image if isinstance(image, tuple) and len(image) == 2 else (image, None)
    if not isinstance(data, np.ndarray):
        data, wcs = getattr(image, "data", None), getattr(image, "wcs", None)
    values = np.asarray(getattr(data, "value", data)) if isinstance(data, np.ndarray) else np.empty(0)
    if np.ma.isMaskedArray(data) and data.dtype.kind == "f":
        values = data.filled(np.nan)
    if values.ndim < 2 or values.dtype.kind not in "fiub" or 0 in values.shape:
        raise InputError(f"cannot show a {type(image).__name__} as an image: give {_KINDS}")
    if values.dtype.kind == "b" or values.dtype == np.float16:
        values = values.astype(np.uint8 if values.dtype.kind == "b" else np.float32)
    if wcs is None:
        return values, None
    if not hasattr(wcs, "to_header"):
        raise InputError(f"cannot show an image with a {type(wcs).__name__} as coordinates: give a WCS")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return values, wcs.to_header(relax=True)


def inside(picture: Picture, coord: SkyCoord) -> np.ndarray:
    """Tell which positions lie in an image.

    Parameters
    ----------
    picture : Picture
        With a WCS.
    coord : (n,) `~astropy.coordinates.SkyCoord`
        Positions.

    Returns
    -------
    (n,) array of bool

    Raises
    ------
    InputError
        If it has none.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astropy.wcs import WCS
    >>> wcs = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 5, "CRVAL2": 5,
    ...            "CRPIX1": 2, "CRPIX2": 2, "NAXIS": 2})
    >>> inside(picture_of((np.zeros((3, 3)), wcs)), SkyCoord([4.5, 185, 9] * u.deg, [5, -5, 5] * u.deg))
    array([ True, False, False])
    """
    from astropy.wcs.utils import wcs_to_celestial_frame

    wcs, (height, width) = picture.wcs, picture.shape
    if wcs is None:
        raise InputError(f"{picture.name} has no celestial coordinates (WCS)")
    here = coord.transform_to(wcs_to_celestial_frame(wcs)).spherical
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        # Without distortions first: their polynomials run wild far away.
        x, y = wcs.wcs_world2pix(here.lon.deg, here.lat.deg, 0)
        near = (np.abs(x - width / 2) <= width) & (np.abs(y - height / 2) <= height)
        # Behind the observer a gnomonic projection has points too: they come back elsewhere.
        back = SkyCoord(
            *wcs.wcs_pix2world(x[near], y[near], 0), unit="deg", frame=wcs_to_celestial_frame(wcs)
        )
        close = back.separation(SkyCoord(here.lon[near], here.lat[near], frame=back.frame)).deg < 1e-3
        near[np.flatnonzero(near)[~close]] = False
        x[near], y[near] = wcs.all_world2pix(here.lon.deg[near], here.lat.deg[near], 0, quiet=True)
    return near & (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
