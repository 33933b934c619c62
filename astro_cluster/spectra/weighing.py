"""Inverse variances from whatever a file or table says of the errors of its fluxes."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u

__all__ = ["ERROR", "IVAR", "VARIANCE", "inverse_variances"]

ERROR, VARIANCE, IVAR = -2.0, -1.0, 1.0
"""Power that makes an inverse variance of what is given."""

_OF_FLUX = {ERROR: 1, VARIANCE: 2, IVAR: -2}  # power of the unit of the flux that each is in


def inverse_variances(
    values: Any, power: float, *, unit: u.UnitBase | None = None, flux_unit: u.UnitBase | None = None
) -> np.ndarray:
    """Return inverse variances of errors, variances, or what are such already.

    Parameters
    ----------
    values : array of float
        What is given.
    power : {ERROR, VARIANCE, IVAR}
        What it is.
    unit, flux_unit : `~astropy.units.UnitBase`, optional
        In which unit it is, and the flux.  Where one is not known, or they do not go together (many files
        give the unit of the flux to all their columns), the numbers are taken as they are.

    Returns
    -------
    array of the same shape
        In the inverse square of the unit of the flux.  0 where errors or variances are not positive;
        inverse variances are only scaled.

    Examples
    --------
    >>> inverse_variances(np.array([0.5, 0.0, -1.0, np.nan]), ERROR)
    array([4., 0., 0., 0.])
    >>> inverse_variances(np.array([500.0]), ERROR, unit=u.uJy, flux_unit=u.mJy)
    array([4.])
    """
    found = np.asarray(values)
    scale = _scale(unit, flux_unit, _OF_FLUX[power])
    if scale != 1.0 or power != IVAR:
        found = found.astype(np.float64) * scale
    if power == IVAR:
        return found
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(found > 0, found**power, 0.0)


def _scale(unit: u.UnitBase | None, flux_unit: u.UnitBase | None, power: int) -> float:
    if not (isinstance(unit, u.UnitBase) and isinstance(flux_unit, u.UnitBase)):
        return 1.0
    try:
        return float(unit.to(flux_unit**power))
    except u.UnitConversionError:
        return 1.0
