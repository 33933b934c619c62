"""Wavelengths in vacuum and in air."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u

from astro_cluster.exceptions import InputError
from astro_cluster.wavelengths import Medium

__all__ = ["LEAST_ANGSTROM", "refraction_index", "to_air", "to_medium", "to_vacuum"]

LEAST_ANGSTROM = 2000.0
"""Wavelengths below are given in vacuum by convention: nobody measures them in air."""

_ROUNDS = 4  # each leaves 1e-5 or less of the error; after two nothing is left that a float could hold


def refraction_index(angstrom: Any) -> np.ndarray:
    """Return the refractive index of dry air at 15 °C and 1013.25 hPa.

    Parameters
    ----------
    angstrom : array of float
        Wavelengths in vacuum, in Ångström.

    Returns
    -------
    array of float

    Notes
    -----
    Morton (2000, ApJS 130, 403, eq. 8), as SDSS and the Vienna Atomic Line Database use it; it is the
    formula of Edlén (1966, Metrologia 2, 71) with newer constants.  That of Ciddor (1996, Appl. Opt.
    35, 1566) differs by less than 3e-9 between 3000 and 10,000 Å, which is below 1 m/s.

    Examples
    --------
    >>> print(f"{refraction_index(5000.0):.7f}")
    1.0002790
    """
    squared = (1e4 / np.asarray(angstrom, dtype=np.float64)) ** 2
    return 1.0 + (8.34254e-5 + 2.406147e-2 / (130.0 - squared) + 1.5998e-4 / (38.9 - squared))


def to_air(angstrom: Any) -> np.ndarray:
    """Return wavelengths in air of wavelengths in vacuum.

    Parameters
    ----------
    angstrom : array of float
        In Ångström.  Below 2000 Å they stay what they are.

    Returns
    -------
    array of float64

    Examples
    --------
    >>> to_air([1215.67, 5008.24]).round(3)  # the line [O III] 5007 has its name from air
    array([1215.67 , 5006.843])
    """
    vacuum = np.asarray(angstrom, dtype=np.float64)
    return np.where(vacuum < LEAST_ANGSTROM, vacuum, vacuum / refraction_index(vacuum.clip(LEAST_ANGSTROM)))


def to_vacuum(angstrom: Any) -> np.ndarray:
    """Return wavelengths in vacuum of wavelengths in air: above 2000 Å the exact inverse of `to_air`.

    Parameters
    ----------
    angstrom : array of float
        In Ångström.  Below 2000 Å they stay what they are.

    Returns
    -------
    array of float64

    Notes
    -----
    The index depends on the wavelength in vacuum, which is found by repetition; taking it at the wavelength
    in air instead, as is often done, is wrong by up to 5e-9 in the visible.

    Examples
    --------
    >>> to_vacuum(to_air([3000.0, 6564.61, 12000.0])).round(9)
    array([ 3000.  ,  6564.61, 12000.  ])
    """
    air = np.asarray(angstrom, dtype=np.float64)
    vacuum = air.clip(LEAST_ANGSTROM)
    for _ in range(_ROUNDS):
        vacuum = air.clip(LEAST_ANGSTROM) * refraction_index(vacuum)
    return np.where(air < LEAST_ANGSTROM, air, vacuum)


def to_medium(wavelength: Any, from_: Medium, to: Medium) -> Any:
    """Return wavelengths in another medium.

    Parameters
    ----------
    wavelength : array of float or `~astropy.units.Quantity`
        In Ångström unless they have a unit.
    from_, to : {"vacuum", "air"}
        What they are measured in, and what is wanted.

    Returns
    -------
    array of float64 or `~astropy.units.Quantity`
        In the same unit.

    Raises
    ------
    InputError
        If they are no wavelengths, or the medium is unknown.

    Examples
    --------
    >>> print(to_medium(500.824 * u.nm, "vacuum", "air").round(4))
    500.6843 nm
    """
    for name, medium in (("from_", from_), ("to", to)):
        if medium not in ("vacuum", "air"):
            raise InputError(f"{name}={medium!r} is no medium; give 'vacuum' or 'air'")
    unit = wavelength.unit if isinstance(wavelength, u.Quantity) else None
    try:
        values = np.asarray(wavelength.to_value(u.AA) if unit else wavelength, dtype=np.float64)
    except (TypeError, ValueError, u.UnitConversionError) as error:
        raise InputError(
            f"wavelengths must be numbers, in Ångström or with a unit of length: {error}"
        ) from error
    if from_ != to:
        values = to_air(values) if to == "air" else to_vacuum(values)
    return (values * u.AA).to(unit) if unit else values
