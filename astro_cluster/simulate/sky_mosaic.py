"""A simulated mosaic of a piece of sky in several filters, and the catalogue of what is on it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Column, QTable
from astropy.wcs import WCS
from numpy.typing import NDArray

from astro_cluster.exceptions import InputError
from astro_cluster.simulate.profiles import elliptical_radius, moffat

__all__ = ["mosaic"]

_PIXEL = 0.187  # [arcsec]
_FWHM = 0.66  # [arcsec]
_SKY_NOISE = 0.002  # [nanomaggy per pixel]
_BEYOND = 0.02  # how far the catalogue reaches beyond the image, as a share of its sides


_ABOUT = {
    "source_id": ("meta.id;meta.main", "Identifier of the simulated source"),
    "ra": ("pos.eq.ra;meta.main", "ICRS ra"),
    "dec": ("pos.eq.dec;meta.main", "ICRS dec"),
    "x": ("pos.cartesian.x;instr.det", "Column of the image, from 0"),
    "y": ("pos.cartesian.y;instr.det", "Row of the image, from 0"),
    "on_image": ("meta.code", "Whether the source lies on the image"),
    "fwhm": ("phys.angSize", "Full width at half maximum, the seeing included"),
}


def mosaic(
    n: int = 200,
    *,
    shape: tuple[int, int] = (2000, 2000),
    filters: Sequence[str] = ("g", "r", "i"),
    random_state: int | None = 1,
) -> tuple[fits.HDUList, QTable]:
    """Simulate a mosaic with a WCS, and its catalogue, to cut stamps from.

    Parameters
    ----------
    n : int, optional
        Number of sources in the catalogue.
    shape : (int, int), optional
        Rows and columns of the image [pixel].
    filters : sequence of str, optional
        One image extension each, named so.
    random_state : int, optional
        Seed.

    Returns
    -------
    hdus : `~astropy.io.fits.HDUList`
        An empty primary HDU and a float32 image a filter, in nanomaggies, with the same WCS (tangential,
        turned by 20 degrees).  The lower left corner was not observed: it is NaN.  For `cutouts_from` give
        one of the images, or ``{hdu.name: hdu for hdu in hdus[1:]}`` for all filters.
    catalogue : `~astropy.table.QTable`
        n rows: ``source_id``, ``ra``, ``dec``, ``x``, ``y`` (pixels from 0), ``on_image``, ``fwhm``, and
        ``flux_g`` and so on, one a filter.
        A few sources lie just beyond the image, as in any real catalogue.

    Raises
    ------
    InputError
        If there is nothing to draw.

    Examples
    --------
    >>> hdus, catalogue = mosaic(10, shape=(80, 120), filters=("g", "r"))
    >>> [hdu.name for hdu in hdus], hdus["r"].data.shape, len(catalogue)
    (['PRIMARY', 'G', 'R'], (80, 120), 10)
    """
    if n < 1:
        raise InputError(f"n={n}: at least one source has to be simulated")
    if len(shape) != 2 or min(shape) < 16:
        raise InputError(f"shape={shape}: give rows and columns, each at least 16 pixels")
    if not filters or len(set(filters)) != len(filters):
        raise InputError(f"filters={filters!r}: give one name or more, each once")
    if random_state is None:
        random_state = secrets.randbelow(2**31)
    rng = np.random.default_rng(random_state)
    height, width = shape
    x = rng.uniform(-_BEYOND * width, (1 + _BEYOND) * width, n) - 0.5
    y = rng.uniform(-_BEYOND * height, (1 + _BEYOND) * height, n) - 0.5
    magnitude = np.clip(23.5 + np.log10(rng.uniform(1e-6, 1, n)) / 0.33, 15.5, None)
    fwhm = np.hypot(_FWHM, np.where(rng.uniform(size=n) < 0.3, 0, rng.lognormal(-0.3, 0.5, n)))
    ratio, angle = rng.uniform(0.4, 1, n), rng.uniform(0, np.pi, n)
    colour = rng.normal(0.5, 0.25, n)
    wcs = _wcs(shape)
    sky = wcs.pixel_to_world(x, y)
    out = QTable()
    out["source_id"] = Column(np.arange(1, n + 1))
    out["ra"], out["dec"] = u.Quantity(sky.ra), u.Quantity(sky.dec)
    out["x"], out["y"] = Column(x), Column(y)
    out["on_image"] = Column((x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5))
    out["fwhm"] = fwhm * u.arcsec
    for name, (ucd, description) in _ABOUT.items():
        out[name].info.meta, out[name].info.description = {"ucd": ucd}, description
    corner = np.add.outer(np.arange(height) / height, np.arange(width) / width) < 0.2
    hdus = [fits.PrimaryHDU()]
    for k, name in enumerate(filters):
        flux = 10 ** (-0.4 * (magnitude - colour * (k - (len(filters) - 1) / 2) - 22.5))
        image = rng.standard_normal(shape, dtype=np.float32) * np.float32(_SKY_NOISE)
        for i in range(n):
            _add_source(image, x[i], y[i], flux[i], fwhm[i] / _PIXEL, ratio[i], angle[i])
        image[corner] = np.nan
        hdu = fits.ImageHDU(image, header=wcs.to_header(), name=name)
        hdu.header["BUNIT"], hdu.header["FILTER"] = "nanomaggy", name
        hdu.header.add_comment("Simulated by astro_cluster; no observation")
        hdus.append(hdu)
        out[f"flux_{name}"] = flux * 3.631 * u.uJy  # an AB nanomaggy
        out[f"flux_{name}"].info.meta = {"ucd": "phot.flux"}
        out[f"flux_{name}"].info.description = f"Total flux in {name}"
    out.meta["description"] = (
        f"Simulated sources of a mosaic (astro_cluster simulate.mosaic, seed {random_state}); no observation"
    )
    return fits.HDUList(hdus), out


def _wcs(shape: tuple[int, int]) -> WCS:
    """Return a tangential WCS, north turned by 20 degrees."""
    wcs = WCS(naxis=2)
    turn, scale = np.radians(20), _PIXEL / 3600
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [214.9, 52.87]
    wcs.wcs.crpix = [shape[1] / 2 + 0.5, shape[0] / 2 + 0.5]
    wcs.wcs.cd = scale * np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    wcs.array_shape = shape
    return wcs


def _add_source(
    image: NDArray[np.float32], x: float, y: float, flux: float, fwhm: float, axis_ratio: float, angle: float
) -> None:
    """Add a Moffat source of a total flux to the part of the image that it reaches; fwhm in pixels."""
    beta = 3.0
    core = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    peak = flux * (beta - 1) / (np.pi * core**2 * axis_ratio)
    reach = core * max((peak / (0.02 * _SKY_NOISE)) ** (1 / (2 * beta)), 3.0)
    rows = slice(max(0, int(y - reach)), max(0, min(image.shape[0], int(y + reach) + 2)))
    columns = slice(max(0, int(x - reach)), max(0, min(image.shape[1], int(x + reach) + 2)))
    dy = (np.arange(rows.start, rows.stop) - y)[:, np.newaxis]
    dx = (np.arange(columns.start, columns.stop) - x)[np.newaxis, :]
    radius = elliptical_radius(dx, dy, axis_ratio=axis_ratio, angle=angle)
    image[rows, columns] += (peak * moffat(radius, fwhm=fwhm, beta=beta)).astype(np.float32)
