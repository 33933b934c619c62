"""A spectrum as its file has it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from astropy import units as u

from astro_cluster.filing.headers import Header
from astro_cluster.wavelengths import Medium

__all__ = ["FoundSpectrum", "NoSpectrum", "Reading"]


class NoSpectrum(ValueError):
    """What is in a file is no spectrum; the message says why."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is to be taken from the files.

    Parameters
    ----------
    wavelength, flux, ivar, error : str, optional
        Names of columns; found out if not given.
    mask : {"and", "or"}, optional
        Which of the masks of SDSS files counts.
    headers : tuple of str, optional
        Keys to keep; all of them if None.
    format : str, optional
        Of specutils.
    """

    wavelength: str | None = None
    flux: str | None = None
    ivar: str | None = None
    error: str | None = None
    mask: str | None = None
    headers: tuple[str, ...] | None = ()
    format: str | None = None


@dataclass(slots=True)
class FoundSpectrum:
    """A spectrum as its file has it.

    Parameters
    ----------
    wavelength, flux : (p,) array of float
        In the units below.
    ivar : (p,) array of float, optional
        Inverse variances; None if the file has no errors.
    wavelength_unit, unit : `~astropy.units.UnitBase`, optional
        Of the wavelengths and of the flux; None if the file does not say.
    medium : {"vacuum", "air"}, optional
        What the wavelengths were measured in; None if the file does not say.
    ignored : (p,) array of bool, optional
        Pixels that a mask takes out.
    source_id : str
        Empty if the file does not say.
    ra, dec : float
        Degrees; NaN if unknown.
    redshift : float
        NaN if unknown.
    redshift_warning : int, optional
        0 if the redshift is to be trusted.
    object_class : str
        Empty if unknown.
    header : dict
        The keys that are to be kept.
    note : str
        What is to be said about the file.
    """

    wavelength: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray | None = None
    wavelength_unit: u.UnitBase | None = None
    unit: u.UnitBase | None = None
    medium: Medium | None = None
    ignored: np.ndarray | None = None
    source_id: str = ""
    ra: float = np.nan
    dec: float = np.nan
    redshift: float = np.nan
    redshift_warning: int | None = None
    object_class: str = ""
    header: Header = field(default_factory=dict)
    note: str = ""
