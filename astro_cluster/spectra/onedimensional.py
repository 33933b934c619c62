"""Spectra as one-dimensional FITS images, their wavelengths in the header."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from astro_cluster.filing.fitscards import Cards
from astro_cluster.spectra.fitsfile import Hdu, header_of
from astro_cluster.spectra.fluxunits import unit_named
from astro_cluster.spectra.found import FoundSpectrum, NoSpectrum, Reading
from astro_cluster.spectra.sdss import medium_of
from astro_cluster.spectra.tabular import describe
from astro_cluster.spectra.weighing import ERROR, IVAR, VARIANCE, inverse_variances

__all__ = ["image_spectrum"]

_ERRORS = {
    "ERR": ERROR, "ERROR": ERROR, "ERRS": ERROR, "ERRORS": ERROR, "SIGMA": ERROR, "STD": ERROR,
    "NOISE": ERROR, "UNCERT": ERROR, "UNCERTAINTY": ERROR, "VAR": VARIANCE, "VARIANCE": VARIANCE,
    "IVAR": IVAR, "INVVAR": IVAR,
}  # fmt: skip
_ASKED = ("RA", "RA_OBJ", "RA_TARG", "DEC", "DEC_OBJ", "DEC_TARG", "REDSHIFT", "Z", "OBJECT", "OBJNAME")


def image_spectrum(hdus: Sequence[Hdu], reading: Reading) -> FoundSpectrum | None:
    """Return the spectrum of the first one-dimensional image.

    Parameters
    ----------
    hdus : sequence of Hdu
        Of the file.
    reading : Reading
        What is to be taken.

    Returns
    -------
    FoundSpectrum or None
        None if no HDU has an image.

    Raises
    ------
    NoSpectrum
        If the image has two axes, or its header has no wavelengths.

    Notes
    -----
    Linear axes, those of IRAF in the logarithm (DC-FLAG = 1) and those of the FITS standard (CTYPE1 =
    'WAVE-LOG') are known (Greisen et al. 2006, A&A 446, 747).  Errors are from an HDU of the same length
    whose name says what it holds: ERR, SIGMA, VAR, IVAR.
    """
    images = [hdu for hdu in hdus if hdu.kind in ("PRIMARY", "IMAGE") and hdu.axes and 0 not in hdu.axes]
    if not images:
        return None
    lines = [hdu for hdu in images if len([axis for axis in hdu.axes if axis > 1]) == 1]
    if not lines:
        shape = " × ".join(map(str, images[0].axes[::-1]))
        raise NoSpectrum(f"it is an image of {shape} pixels, no spectrum")
    first = lines[0]
    cards, primary = first.cards, hdus[0].cards
    flux = first.pixels().ravel()
    written = cards.text("CUNIT1") or _unit_of_iraf(cards)
    found = FoundSpectrum(
        wavelength=_wavelengths(cards, primary, flux.size),
        flux=flux,
        wavelength_unit=unit_named(written),
        unit=unit_named(cards.text("BUNIT") or primary.text("BUNIT")),
        medium=medium_of([cards, primary]),
    )
    for hdu in images:
        power = _ERRORS.get(hdu.name.upper())
        if power is not None and hdu is not first and int(np.prod(hdu.axes)) == flux.size:
            unit = unit_named(hdu.cards.text("BUNIT"))
            found.ivar = inverse_variances(hdu.pixels().ravel(), power, unit=unit, flux_unit=found.unit)
            break
    describe(found, header_of(primary, cards, _ASKED))
    found.header = header_of(primary, cards, reading.headers)
    return found


def _unit_of_iraf(cards: Cards) -> str:
    """Return the unit in the attributes of IRAF: wtype=linear label=Wavelength units=angstroms."""
    text = cards.text("WAT1_001").lower()
    return text.partition("units=")[2].split()[0] if "units=" in text and text.partition("units=")[2] else ""


def _wavelengths(cards: Cards, primary: Cards, n: int) -> np.ndarray:
    start = cards.number("CRVAL1", primary.number("CRVAL1"))
    step = cards.number("CDELT1", cards.number("CD1_1", primary.number("CDELT1", primary.number("CD1_1"))))
    if start is None or not step:
        raise NoSpectrum("its header has no wavelengths (CRVAL1 and CDELT1)")
    at = np.arange(1, n + 1) - float(cards.number("CRPIX1", 1.0))
    kind = cards.text("CTYPE1").upper()
    if kind.endswith("-LOG") and kind.startswith(("WAVE", "AWAV")):
        return float(start) * np.exp(at * step / float(start))
    middles = float(start) + at * float(step)
    is_log = cards.number("DC-FLAG", primary.number("DC-FLAG", 0)) == 1 or kind.startswith("LOG")
    return 10.0**middles if is_log else middles
