"""Spectra of SDSS, BOSS, eBOSS and SDSS-V: spec files, their lite kind, and the older spSpec files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy import units as u

from astro_cluster.filing.fitscards import Cards
from astro_cluster.spectra.fitsfile import Hdu, header_of
from astro_cluster.spectra.fluxunits import unit_named
from astro_cluster.spectra.found import FoundSpectrum, NoSpectrum, Reading
from astro_cluster.spectra.weighing import ERROR, inverse_variances
from astro_cluster.wavelengths import Medium

__all__ = ["identifier_in", "medium_of", "old_sdss_spectrum", "sdss_spectrum"]

_MASKS = {"and": "AND_MASK", "or": "OR_MASK"}
_NAMED = re.compile(r"spec(?:-\w+)??-(\d{3,6})-(\d{4,6})-(\d{1,12})(?:\D|$)", re.IGNORECASE)
_OLD_NAMED = re.compile(r"spSpec-(\d{5})-(\d{4})-(\d{3})(?:\D|$)", re.IGNORECASE)


def identifier_in(name: str) -> str:
    """Return plate, date and fibre of a spectrum of SDSS from the name of its file.

    Parameters
    ----------
    name : str
        Without folders.

    Returns
    -------
    str
        As ``"10656-58163-0366"``; empty if it is no such name.

    Examples
    --------
    >>> identifier_in("spec-10656-58163-0366.fits"), identifier_in("spSpec-51630-0266-053.fit")
    ('10656-58163-0366', '266-51630-0053')
    """
    if found := _NAMED.match(name):
        return _identifier(*map(int, found.groups()))
    if found := _OLD_NAMED.match(name):
        day, plate, fibre = map(int, found.groups())
        return _identifier(plate, day, fibre)
    return ""


def _identifier(plate: int, day: int, fibre: int) -> str:
    return f"{plate:04d}-{day}-{fibre:04d}" if plate >= 1000 else f"{plate}-{day}-{fibre:04d}"


def medium_of(cards: Sequence[Cards]) -> Medium | None:
    """Return what wavelengths are measured in, as headers say it.

    Parameters
    ----------
    cards : sequence of Cards
        The headers, the first to be asked first.

    Returns
    -------
    {"vacuum", "air"} or None
        None if none of them says.

    Examples
    --------
    >>> medium_of([Cards(b"VACUUM  =                    T".ljust(80))])
    'vacuum'
    """
    for one in cards:
        if (found := one.get("VACUUM")) is not None and not isinstance(found[0], str):
            return "vacuum" if found[0] else "air"
        if word := one.text("AIRORVAC").lower():
            return "air" if word.startswith("air") else "vacuum"
        kind = one.text("CTYPE1").upper()
        if kind.startswith(("WAVE", "AWAV")):
            return "air" if kind.startswith("AWAV") else "vacuum" if kind.startswith("WAVE-") else None
    return None


# ---------------------------------------------------------------- spec files


def sdss_spectrum(hdus: Sequence[Hdu], reading: Reading) -> FoundSpectrum | None:
    """Return the spectrum of a spec file.

    Parameters
    ----------
    hdus : sequence of Hdu
        Of the file.
    reading : Reading
        What is to be taken.

    Returns
    -------
    FoundSpectrum or None
        None if it is no such file: no table has the columns FLUX, LOGLAM and IVAR.

    Raises
    ------
    ValueError
        If it is cut short.

    Notes
    -----
    The position is that of the fibre on the sky (PLUG_RA and PLUG_DEC); RA and DEC in these headers are
    where the telescope pointed.
    """
    place = next((i for i, hdu in enumerate(hdus) if hdu.columns.keys() >= {"FLUX", "LOGLAM", "IVAR"}), None)
    if place is None:
        return None
    table, primary = hdus[place], hdus[0].cards
    flux = _named(table, reading.flux, "FLUX")
    wavelength = _named(table, reading.wavelength, "LOGLAM")
    values = np.asarray(table.column(wavelength), dtype=np.float64)
    found = FoundSpectrum(
        wavelength=10.0**values if "LOG" in wavelength else values,
        flux=table.column(flux),
        ivar=_ivar_of(table, reading),
        wavelength_unit=u.AA,
        unit=unit_named(table.unit(flux)) or unit_named(primary.text("BUNIT")),
        medium=medium_of([primary]),
        header=header_of(primary, table.cards, reading.headers),
    )
    if reading.mask is not None:
        found.ignored = table.column(_named(table, None, _MASKS[reading.mask])) != 0
    found.source_id = _identifier_of(primary)
    found.ra, found.dec = _number(primary, "PLUG_RA"), _number(primary, "PLUG_DEC")
    _add_catalogued(found, hdus[place + 1 :])
    return found


def _named(table: Hdu, asked: str | None, usual: str) -> str:
    name = (asked or usual).upper()
    if name not in table.columns:
        raise NoSpectrum(f"it has no column {asked or usual}, but {', '.join(list(table.columns)[:20])}")
    return name


def _ivar_of(table: Hdu, reading: Reading) -> np.ndarray:
    if reading.error is not None:
        return inverse_variances(table.column(_named(table, reading.error, "")), ERROR)
    return table.column(_named(table, reading.ivar, "IVAR"))


def _identifier_of(primary: Cards) -> str:
    numbers = [_whole(primary, "PLATEID", "PLATE"), _whole(primary, "MJD"), _whole(primary, "FIBERID")]
    return "" if None in numbers else _identifier(*numbers)  # type: ignore[arg-type]


def _whole(cards: Cards, *keys: str) -> int | None:
    for key in keys:
        value = _number(cards, key)
        if np.isfinite(value):
            return int(value)
    return None


def _number(cards: Cards, key: str) -> float:
    found = cards.get(key)
    return float(found[0]) if found is not None and type(found[0]) in (int, float) else np.nan


def _add_catalogued(found: FoundSpectrum, hdus: Sequence[Hdu]) -> None:
    """Add what the pipeline made of the spectrum: the table of one row behind it."""
    for hdu in hdus:
        if "Z" not in hdu.columns or not hdu.columns.keys() & {"ZWARNING", "CLASS"}:
            continue
        try:
            found.redshift = float(_first(hdu, "Z", np.nan))
            found.redshift_warning = int(_first(hdu, "ZWARNING", 0)) if "ZWARNING" in hdu.columns else None
            found.object_class = str(_first(hdu, "CLASS", ""))
            for names in (("PLUG_RA", "PLUG_DEC"), ("RACAT", "DECCAT"), ("RA", "DEC")):
                if not np.isfinite(found.ra) and hdu.columns.keys() >= set(names):
                    found.ra, found.dec = (float(_first(hdu, name, np.nan)) for name in names)
            if not found.source_id and hdu.columns.keys() >= {"PLATE", "MJD", "FIBERID"}:
                numbers = [int(_first(hdu, name, 0)) for name in ("PLATE", "MJD", "FIBERID")]
                found.source_id = _identifier(*numbers)
        except ValueError as error:
            found.note = f"its redshift cannot be read: {error}"
        return


def _first(hdu: Hdu, name: str, default: Any) -> Any:
    return np.ravel(hdu.column(name))[0] if name in hdu.columns else default


# ---------------------------------------------------------------- spSpec files


def old_sdss_spectrum(hdus: Sequence[Hdu], reading: Reading) -> FoundSpectrum | None:
    """Return the spectrum of a spSpec file, as SDSS had them until its seventh release.

    Parameters
    ----------
    hdus : sequence of Hdu
        Of the file.
    reading : Reading
        What is to be taken.

    Returns
    -------
    FoundSpectrum or None
        None if it is no such file: an image with the spectrum, what is left without its continuum, its
        error and its mask as rows, and COEFF0 and COEFF1 in the header.
    """
    first = hdus[0]
    step, start = _number(first.cards, "COEFF1"), _number(first.cards, "COEFF0")
    if len(first.axes) != 2 or not 3 <= first.axes[0] <= 5 or not np.isfinite(step + start):
        return None
    rows = first.pixels()
    found = FoundSpectrum(
        wavelength=10.0 ** (start + step * np.arange(rows.shape[1])),
        flux=rows[0],
        ivar=inverse_variances(rows[2], ERROR),
        wavelength_unit=u.AA,
        unit=unit_named(first.cards.text("BUNIT")),
        medium=medium_of([first.cards]),
        header=header_of(first.cards, first.cards, reading.headers),
    )
    if reading.mask is not None and len(rows) > 3:
        found.ignored = rows[3] != 0
    found.source_id = _identifier_of(first.cards)
    found.ra, found.dec = _number(first.cards, "RAOBJ"), _number(first.cards, "DECOBJ")
    found.redshift = _number(first.cards, "Z")
    return found
