"""Ellipses of the errors of positions, as catalogues give them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import ICRS, SkyCoord
from astropy.table import QTable

from astro_cluster.columns import require
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.matching import sky_coord
from astro_cluster.matching.ellipse_columns import find_ellipse, known_ellipse
from astro_cluster.scaling import Scaling
from astro_cluster.tables import float_values
from astro_cluster.uncertainties import checked_errors, find_errors

__all__ = ["angle_values", "error_ellipses"]

_HOW = (
    "give errors=('major', 'minor', 'angle'), the columns of the semi-axes and of the position angle, or "
    "errors={'ra': 'ra_error', 'dec': 'dec_error', ('ra', 'dec'): 'ra_dec_corr'}; on the command line "
    "--errors major,minor,angle or --errors ra=ra_error --errors dec=dec_error"
)


def angle_values(table: QTable, name: str, *, bare: u.UnitBase | None = None) -> np.ndarray:
    """Return an angle column in degrees; NaN where masked.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    name : str
        A column of angles.
    bare : `~astropy.units.Unit`, optional
        What a column without a unit is in; if not given, it must have one.

    Returns
    -------
    (n,) array of float

    Raises
    ------
    InputError
        If it is not a column of angles.

    Examples
    --------
    >>> angle_values(QTable({"r": [3600.0] * u.arcsec}), "r")
    array([1.])
    """
    require(table, name)
    values = float_values(table[name])
    unit = getattr(table[name], "unit", None) or bare
    if values.ndim != 1:
        raise InputError(f"column {name!r} has several values a row; an angle is one a row")
    if unit is None:
        raise InputError(
            f"column {name!r} has no unit, and angles come in degrees, arcseconds and milliarcseconds: "
            f"give it one, table[{name!r}].unit = 'arcsec'"
        )
    try:
        return (values * u.Unit(unit)).to_value(u.deg)
    except (u.UnitConversionError, TypeError) as error:
        raise InputError(f"column {name!r} is in {str(unit)!r}, which is not an angle") from error


def error_ellipses(
    table: QTable, names: Sequence[str], errors: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the one-sigma error ellipses of the positions.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    names : sequence of str
        Columns of the position.
    errors : None, tuple of three str, or mapping, optional
        The columns of the semi-major axis, the semi-minor axis and the position angle; or of the
        errors of both coordinates and of their correlation, as `~astro_cluster.cluster` takes them;
        found if not given.

    Returns
    -------
    major, minor : (n,) array
        Semi-axes in degrees, NaN where they are not known.
    angle : (n,) array
        Position angle of the major axis in degrees, from North through East, in ICRS.

    Raises
    ------
    InputError
        If there are no such columns or they hold no angles.

    Notes
    -----
    Errors of right ascension are those on the sky, with the factor cos δ, as Gaia's and VizieR's
    are.  The position angle of the major axis of the covariance with σ_α*, σ_δ and ρ is
    ½ atan2(2 ρ σ_α* σ_δ, σ_δ² − σ_α*²).

    Examples
    --------
    >>> table = QTable({"ra": [1.0] * u.deg, "dec": [2.0] * u.deg})
    >>> table["ra_error"], table["dec_error"] = [3.0] * u.mas, [4.0] * u.mas
    >>> major, minor, angle = error_ellipses(table, ("ra", "dec"))
    >>> (major * 3.6e6).round(9).tolist(), angle.tolist()
    ([4.0], [0.0])
    """
    if errors is not None and not isinstance(errors, (str, Mapping)):
        return _by_axes(table, _three(table, errors))
    if isinstance(errors, str) and errors != "auto":
        raise InputError(f"errors={errors!r} gives no ellipses; {_HOW}")
    if isinstance(errors, Mapping):
        return _by_coordinates(table, names, checked_errors(errors))
    try:
        return _by_coordinates(table, names, "auto")
    except InputError as problem:
        if ellipse := find_ellipse(table.colnames):
            return _by_axes(table, ellipse)
        if "several columns" in str(problem) or "asymmetric" in str(problem):
            raise
        raise InputError(
            f"the table has no columns that are known to be errors of positions; {_HOW}"
        ) from problem


def _three(table: QTable, errors: Any) -> list[str]:
    names = list(errors) if isinstance(errors, (tuple, list)) else []
    if len(names) != 3 or not all(isinstance(name, str) for name in names):
        raise InputError(f"errors={errors!r} gives no ellipses; {_HOW}")
    return require(table, names)


def _by_axes(table: QTable, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    known = known_ellipse(names)
    sigma, bare = (known.n_sigma, known.bare_unit) if known else (1.0, None)
    first, second = (angle_values(table, name, bare=bare) / sigma for name in names[:2])
    angle = angle_values(table, names[2], bare=u.deg)
    # A circle needs no angle, and SIMBAD gives none for many.
    angle = np.where(np.isnan(angle) & (first == second), 0.0, angle)
    usable = (first > 0) & (second > 0) & np.isfinite(first) & np.isfinite(second) & np.isfinite(angle)
    swapped = usable & (first < second)
    major, minor = np.where(swapped, second, first), np.where(swapped, first, second)
    angle = np.where(swapped, angle + 90, angle) % 180
    return tuple(np.where(usable, values, np.nan) for values in (major, minor, angle))  # type: ignore[return-value]


def _by_coordinates(
    table: QTable, names: Sequence[str], wanted: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    coordinates = list(names) if len(names) == 2 else ["ra", "dec"]
    scalings = [Scaling(name, name, None, "", "none") for name in coordinates]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstroClusterWarning)  # that one of both is taken as exact
        found = find_errors(table, scalings, wanted)
    columns = dict(found.errors)
    if set(columns) != set(coordinates):
        raise InputError(f"there are errors of {', '.join(columns)} only, and an ellipse needs both; {_HOW}")
    east, north = (angle_values(table, columns[name]) for name in coordinates)
    rho = float_values(table[found.correlations[0][2]]) if found.correlations else np.zeros(len(table))
    # A correlation of 1 in single precision may be a little more.
    rho = np.where(np.abs(rho) <= 1 + 1e-6, np.clip(rho, -1, 1), np.nan)
    known = (east > 0) & (north > 0) & np.isfinite(east) & np.isfinite(north) & np.isfinite(rho)
    east, north, rho = np.where(known, [east, north, rho], [[1.0], [1.0], [0.0]])
    half_sum, half_difference = (east**2 + north**2) / 2, (north**2 - east**2) / 2
    covariance = rho * east * north
    root = np.hypot(half_difference, covariance)
    major = np.sqrt(half_sum + root)
    # Not the difference of the two, of which nothing may be left where rho is close to 1.
    minor = east * north * np.sqrt(np.maximum(1 - rho**2, 0)) / major
    angle = np.degrees(np.arctan2(covariance, half_difference)) / 2 % 180
    known &= minor > 0
    angle = _in_icrs(table, names, angle, known)
    return tuple(np.where(known, values, np.nan) for values in (major, minor, angle))  # type: ignore[return-value]


def _in_icrs(table: QTable, names: Sequence[str], angle: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Turn position angles from the North of the table's frame to that of ICRS."""
    coord, valid = sky_coord(table, names)
    if coord.frame.is_equivalent_frame(ICRS()):
        return angle
    use = known & valid
    turned = angle.copy()
    here = SkyCoord(coord[use])
    there = here.directional_offset_by(angle[use] * u.deg, 1 * u.arcmin)
    turned[use] = here.icrs.position_angle(there.icrs).to_value(u.deg) % 180
    return turned
