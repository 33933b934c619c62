"""Spectra that only specutils can read."""

from __future__ import annotations

import io
import os
import warnings
from typing import Any

import numpy as np
from astropy import units as u

from astro_cluster.exceptions import InputError
from astro_cluster.spectra.found import FoundSpectrum, NoSpectrum, Reading
from astro_cluster.spectra.tabular import describe
from astro_cluster.spectra.weighing import ERROR, IVAR, VARIANCE, inverse_variances

__all__ = ["check_format", "is_installed", "specutils_spectrum"]

_POWERS = {"std": ERROR, "var": VARIANCE, "ivar": IVAR}


def is_installed() -> bool:
    """Tell whether specutils is there, without importing it.

    Returns
    -------
    bool
    """
    from importlib.util import find_spec

    return find_spec("specutils") is not None


def _spectrum_class() -> Any:
    try:
        import specutils
    except ImportError:
        raise InputError(
            'format= needs specutils, which is not installed: pip install "astro_cluster[spectra]"'
        ) from None
    return getattr(specutils, "Spectrum", None) or specutils.Spectrum1D


def check_format(format: str) -> None:  # noqa: A002
    """Make sure that specutils knows a format.

    Parameters
    ----------
    format : str
        As ``"SDSS-III/IV spec"``.

    Raises
    ------
    InputError
        If specutils is not installed, or does not know it.
    """
    from astropy.io import registry

    known = registry.get_formats(_spectrum_class(), "Read")["Format"].tolist()
    if format not in known:
        from astro_cluster.exceptions import did_you_mean

        raise InputError(
            f"specutils has no format {format!r}{did_you_mean(format, known)} It has {', '.join(known)}"
        )


def specutils_spectrum(path: str | None, data: bytes, reading: Reading) -> FoundSpectrum:
    """Return the spectrum that specutils finds in a file.

    Parameters
    ----------
    path : str or None
        Where the file is; None if it is in an archive.
    data : bytes
        What is in it.
    reading : Reading
        What is to be taken.

    Returns
    -------
    FoundSpectrum

    Raises
    ------
    NoSpectrum
        If it finds none, or several.
    """
    spectrum_class = _spectrum_class()
    named = {} if reading.format is None else {"format": reading.format}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spectrum = spectrum_class.read(io.BytesIO(data) if path is None else os.fspath(path), **named)
    except Exception as error:  # each of its readers has errors of its own
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise NoSpectrum(f"specutils cannot read it: {reason}") from error
    flux = spectrum.flux
    if np.squeeze(flux.value).ndim != 1:
        raise NoSpectrum(f"it holds {' × '.join(map(str, flux.shape))} fluxes, not one spectrum")
    axis = spectrum.spectral_axis
    found = FoundSpectrum(
        wavelength=np.asarray(axis.value, dtype=np.float64),
        flux=np.squeeze(flux.value),
        ivar=_ivar_of(spectrum.uncertainty, flux.unit),
        wavelength_unit=axis.unit,
        unit=flux.unit,
        ignored=_mask_of(spectrum.mask, flux.size),
    )
    meta = getattr(spectrum, "meta", None) or {}
    plain = {**meta, **dict(meta.get("header") or {})}
    header = {str(key).upper(): (value, "") for key, value in plain.items() if np.isscalar(value)}
    describe(found, header)
    if not np.isfinite(found.redshift) and (redshift := _redshift_of(spectrum)) != 0:
        found.redshift = redshift  # 0 is what specutils has where nothing is known
    wanted = reading.headers
    found.header = header if wanted is None else {key: header[key] for key in wanted if key in header}
    return found


def _ivar_of(uncertainty: Any, flux_unit: u.UnitBase | None = None) -> np.ndarray | None:
    if uncertainty is None or uncertainty.uncertainty_type not in _POWERS:
        return None
    values = np.squeeze(np.asarray(getattr(uncertainty.array, "value", uncertainty.array), dtype=np.float64))
    power = _POWERS[uncertainty.uncertainty_type]
    return inverse_variances(values, power, unit=uncertainty.unit, flux_unit=flux_unit)


def _mask_of(mask: Any, n: int) -> np.ndarray | None:
    if mask is None or np.size(mask) != n:
        return None
    return np.ravel(np.asarray(mask)).astype(bool)


def _redshift_of(spectrum: Any) -> float:
    try:
        value = float(u.Quantity(spectrum.redshift).to_value(u.one))
    except (AttributeError, TypeError, ValueError, u.UnitConversionError):
        return 0.0
    return value if np.isfinite(value) else 0.0
