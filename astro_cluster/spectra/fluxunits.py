"""Units as the headers of spectra write them."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

from astropy import units as u

__all__ = ["is_flux", "unit_named"]

_WORDS = {
    "ang": "Angstrom",
    "angs": "Angstrom",
    "angstroms": "Angstrom",
    "a": "Angstrom",
    "aa": "Angstrom",
    "å": "Angstrom",
    "ergs": "erg",
    "erg": "erg",
    "sec": "s",
    "second": "s",
    "seconds": "s",
    "cm^2": "cm2",
    "microns": "um",
    "micron": "um",
    "micrometer": "um",
    "nanometer": "nm",
    "nanometers": "nm",
    "nanometre": "nm",
    "nanometres": "nm",
    "jansky": "Jy",
    "count": "ct",
    "counts": "ct",
    "adu": "adu",
    "electrons": "electron",
}
_POWER = re.compile(
    r"^\s*(?:1(?:\.0*)?\s*[x*]\s*)?10(?:\s*(?:\*\*|\^)\s*\(?\s*([+-]?\d+)\s*\)?|([+-]\d+))\s*[*.]?\s*"
)  # 10-17 without a sign of power is how VizieR writes it
_PLAIN = re.compile(r"^\s*([+-]?\d+(?:\.\d*)?(?:[eEdD][+-]?\d+)?)\s*[*.x]?\s*(?=[^\d\s].*|$)")


def is_flux(unit: Any) -> bool:
    """Tell whether numbers in a unit can be added up: magnitudes and decibels cannot.

    Parameters
    ----------
    unit : `~astropy.units.UnitBase` or a unit of logarithms
        Of a flux.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_flux(u.Jy), is_flux(u.one), is_flux(u.ABmag), is_flux(u.mag)
    (True, True, False, False)
    """
    return isinstance(unit, u.UnitBase) and not unit.is_equivalent(u.dex)


@cache
def unit_named(text: str) -> u.UnitBase | None:
    """Return the unit that a text means, also where it is written against the standard.

    Parameters
    ----------
    text : str
        Value of BUNIT, say.

    Returns
    -------
    `~astropy.units.UnitBase` or None
        None if there is no text, or no unit can be told from it.

    Examples
    --------
    >>> print(unit_named("1E-17 erg/cm^2/s/Ang"))
    1e-17 erg / (Angstrom s cm2)
    >>> print(unit_named("10^-17 ergs/s/cm2/A"), unit_named("parrots"))
    1e-17 erg / (Angstrom s cm2) None
    """
    text = text.strip().strip("'\"").strip().replace("\u2212", "-")  # the minus of typesetters
    if not text or text.lower() in ("none", "unknown", "n/a", "-"):
        return None
    scale = 1.0
    if power := _POWER.match(text):
        scale, text = float(f"1e{int(power[1] or power[2])}"), text[power.end() :]
    elif (number := _PLAIN.match(text)) and text[number.end() :].strip():
        scale, text = float(re.sub("[dD]", "e", number[1])), text[number.end() :]
    text = _one_slash(text)
    unit = _parsed(text) or _parsed(_spelt(text))
    if unit is None or scale == 1.0:
        return unit
    if not 0 < scale < math.inf:
        return None
    return u.Unit(scale * unit)


def _parsed(text: str) -> u.UnitBase | None:
    for form in (None, "fits", "cds"):
        try:
            unit = u.Unit(text, format=form) if form else u.Unit(text)
        except (ValueError, TypeError):
            continue
        # A lone A is an ampere, and nobody has measured a flux per ampere.
        return None if u.A in getattr(unit, "bases", ()) else unit
    return None


def _one_slash(text: str) -> str:
    """Write a/b/c as a/(b c): astropy warns of the first, and means the second by it."""
    first, *others = text.split("/")
    return text if len(others) < 2 or "(" in "".join(others) else f"{first}/({' '.join(others)})"


def _spelt(text: str) -> str:
    """Return a text with the words of astropy."""
    # cm^-2 and cm**-2 become cm-2, which every format reads.
    text = re.sub(r"(\*\*|\^)\(?([+-]?\d+)\)?", r"\2", text)
    return re.sub(r"[A-Za-zÅ]+", lambda found: _WORDS.get(found[0].lower(), found[0]), text)
