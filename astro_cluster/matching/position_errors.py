"""How far from the truth positions may be: columns of errors found, and read as covariances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable

from astro_cluster.columns import require, ucd_of
from astro_cluster.exceptions import InputError
from astro_cluster.matching.ellipse_columns import find_ellipse, known_ellipse
from astro_cluster.provenance import records
from astro_cluster.tables import float_values
from astro_cluster.uncertainties import like_error_of

__all__ = ["PositionErrors", "read_position_errors"]

_ELLIPSE_UCDS = (
    "phys.angsize.smajaxis;pos.errorellipse",
    "phys.angsize.sminaxis;pos.errorellipse",
    "pos.posang;pos.errorellipse",
)
_CIRCLES = ("pos_err", "pos_error", "position_error", "positional_error", "e_pos", "error_radius")
_CIRCLE_UCDS = ("stat.error;pos.eq", "stat.error;pos", "stat.error;pos.eq;meta.main")
_CORRELATIONS = ("{ra}_{dec}_corr", "{ra}{dec}cor", "ra_dec_corr", "radecor", "radecorr")


@dataclass(frozen=True, slots=True)
class PositionErrors:
    """Gaussian errors of positions, which may be elliptical.

    Parameters
    ----------
    covariance : (n, 3) array of float
        Variance towards east, that towards north, and their covariance [arcsec²].
    columns : list of str
        Columns that they were read from.
    n_filled : int
        Rows whose error is not known and was taken to be the median of the others.
    """

    covariance: np.ndarray
    columns: list[str]
    n_filled: int = 0

    @property
    def largest(self) -> np.ndarray:
        """Standard error along the longest axis of each row, (n,) in arcsec."""
        east, north, both = self.covariance.T
        return np.sqrt((east + north) / 2 + np.hypot((east - north) / 2, both))

    @property
    def is_circular(self) -> bool:
        """Whether no row has a direction in which its error is larger."""
        east, north, both = self.covariance.T
        return bool(np.allclose(east, north, rtol=1e-9) and np.all(np.abs(both) <= 1e-9 * east))


def _angle(table: QTable, name: str, option: str) -> np.ndarray:
    """Return a column of errors in arcsec; NaN where it holds none."""
    column = table[name]
    if getattr(getattr(column, "dtype", None), "kind", "O") not in "iuf" or column.ndim != 1:
        raise InputError(f"column {name!r} cannot be position errors: it has to have one number a row")
    unit = getattr(column, "unit", None)
    if unit is None or not str(unit):
        raise InputError(
            f"column {name!r} of position errors has no unit, and a wrong guess would spoil all that "
            f"follows: give it one (table[{name!r}].unit = 'arcsec'), or another column or an angle "
            f"({option}=0.3 * u.arcsec)"
        )
    try:
        values = (float_values(column) * u.Unit(unit)).to_value(u.arcsec)
    except (u.UnitConversionError, TypeError, ValueError) as error:
        raise InputError(
            f"column {name!r} is in {str(unit)!r}, which is not an angle: it cannot be position errors; "
            f"name others ({option}=)"
        ) from error
    # 0 and -99 stand for 'not known' in catalogues: no position is exact.
    values[~(np.isfinite(values) & (values > 0))] = np.nan
    return values


def _plain(table: QTable, name: str) -> np.ndarray:
    unit = getattr(table[name], "unit", None)
    values = float_values(table[name])
    return values if unit is None or not str(unit) else (values * u.Unit(unit)).to_value("")


def _of_ellipse(table: QTable, names: Sequence[str], option: str) -> np.ndarray:
    major, minor = (_angle(table, name, option) for name in names[:2])
    unit = getattr(table[names[2]], "unit", None)
    turn = (
        float_values(table[names[2]]) * u.Unit(unit if unit is not None and str(unit) else u.deg)
    ).to_value(u.rad)
    known = known_ellipse(names)
    factor = 1 / known.n_sigma if known else 1.0
    major, minor = (factor * major) ** 2, (factor * minor) ** 2
    mean = (major + minor) / 2
    unknown = ~np.isfinite(turn)
    turn = np.where(unknown, 0.0, turn)
    east = np.where(unknown, mean, major * np.sin(turn) ** 2 + minor * np.cos(turn) ** 2)
    north = np.where(unknown, mean, major * np.cos(turn) ** 2 + minor * np.sin(turn) ** 2)
    both = np.where(unknown, 0.0, (major - minor) * np.sin(turn) * np.cos(turn))
    return np.column_stack([east, north, both])


def _of_axes(table: QTable, names: Sequence[str], option: str) -> np.ndarray:
    east, north = (_angle(table, name, option) for name in names[:2])
    correlation = np.zeros(len(table))
    if len(names) == 3:
        correlation = np.nan_to_num(_plain(table, names[2]))
        if np.any(np.abs(correlation) > 1 + 1e-6):
            raise InputError(f"column {names[2]!r} has correlations beyond ±1: it cannot be one of positions")
    return np.column_stack([east**2, north**2, np.clip(correlation, -0.999999, 0.999999) * east * north])


def _is_ellipse(table: QTable, names: Sequence[str]) -> bool:
    """Tell whether three columns are axes and an angle, not two errors and a correlation."""
    if len(names) != 3:
        return False
    unit = getattr(table[names[2]], "unit", None)
    if unit is not None and str(unit):
        return u.Unit(unit).is_equivalent(u.deg) and u.Unit(unit) != u.dimensionless_unscaled
    return known_ellipse(names) is not None or ucd_of(table, names[2]).startswith("pos.posang")


def _read(table: QTable, names: Sequence[str], option: str) -> np.ndarray:
    if len(names) == 1:
        both = _angle(table, names[0], option) ** 2
        return np.column_stack([both, both, np.zeros(len(table))])
    return (_of_ellipse if _is_ellipse(table, names) else _of_axes)(table, names, option)


def _by_position(names: Sequence[str], position: Sequence[str]) -> list[str]:
    """Return the columns named after those of the position, and their correlation."""
    if len(position) != 2:
        position = ("ra", "dec")
    found = []
    for column in position:
        forms = [like_error_of(form) for form in dict.fromkeys([column, column.lstrip("_")])]
        fitting = [name for name in names if any(form.fullmatch(name) for form in forms)]
        if len(fitting) != 1:
            return []
        found += fitting
    ra, dec = position
    wanted = [form.format(ra=ra, dec=dec).lower() for form in _CORRELATIONS]
    return [*found, *[name for name in names if name.lower() in wanted][:1]]


def _search(table: QTable, names: Sequence[str], position: Sequence[str]) -> list[str]:
    if found := _by_position(names, position):
        return found
    if ellipse := find_ellipse(names):
        return ellipse
    ucds: dict[str, list[str]] = {}
    for name in names:
        ucds.setdefault(ucd_of(table, name).removesuffix(";pos.eq"), []).append(name)
    if all(len(ucds.get(ucd, ())) == 1 for ucd in _ELLIPSE_UCDS):
        return [ucds[ucd][0] for ucd in _ELLIPSE_UCDS]
    axes = [ucds.get(f"stat.error;pos.eq.{axis}", []) for axis in ("ra", "dec")]
    if all(len(found) == 1 for found in axes):
        return [axes[0][0], axes[1][0]]
    lower = {name.lower(): name for name in reversed(names)}
    circles = [lower[name] for name in _CIRCLES if name in lower]
    by_ucd = [name for name in names if ucd_of(table, name) in _CIRCLE_UCDS]
    return circles[:1] or (by_ucd if len(by_ucd) == 1 else [])


def read_position_errors(
    table: QTable,
    position: Sequence[str],
    given: str | Sequence[str] | u.Quantity | None = None,
    *,
    option: str = "position_error",
) -> PositionErrors:
    """Return the errors of the positions of a table.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Table of n rows.
    position : sequence of str
        Its columns of position.
    given : str, sequence of str or `~astropy.units.Quantity` [angle], optional
        One column of errors that are the same in all directions; two, towards right
        ascension (times cos declination) and declination; three, these and their correlation,
        or the half axes of an ellipse and its angle from north to east; or one error for all
        rows.  All are standard errors of one coordinate.  If not given, columns named after those
        of the position (``ra_error``, ``e_RAdeg``, … and ``ra_dec_corr``) are taken, else ellipses as
        SIMBAD, 2MASS and the Chandra Source Catalog name them (the 95 % ellipses of the last are
        made smaller), else a column such as ``pos_err``, by name or UCD.
    option : str, optional
        What ``given`` is called in an error.

    Returns
    -------
    PositionErrors
        A row whose error is missing or not positive has the median error of the others.

    Raises
    ------
    InputError
        If there are none, a column is no angle or has no unit, or no row has an error.

    Examples
    --------
    >>> table = QTable({"ra": [1.0], "dec": [2.0], "pos_err": [300.0] * u.mas})
    >>> read_position_errors(table, ("ra", "dec")).largest
    array([0.3])
    """
    if isinstance(given, u.Quantity):
        return PositionErrors(_of_quantity(table, given, option), [])
    if given is None:
        added = [r.get("columns_added", ()) for r in records(table) if r.get("function") == "crossmatch"]
        brought = {name for names in added for name in names}
        own = [name for name in table.colnames if name not in brought]
        names = _search(table, own, position) or _search(table, table.colnames, position)
        if not names:
            where = "" if option.startswith("reference") else " in the table"  # of the reference it is said
            raise InputError(
                f"no columns of position errors are found{where} (ra_error and dec_error, e_RAdeg and "
                f"e_DEdeg, coo_err_maj, err_ellipse_r0, pos_err, …); name them or give one for all rows: "
                f"{option}=('ra_error', 'dec_error') or {option}=0.3 * u.arcsec (on the command line "
                f"--{option.replace('_', '-')} 0.3arcsec)"
            )
    else:
        names = require(table, _names(given, option))
    covariance = _read(table, names, option)
    unknown = ~np.isfinite(covariance).all(axis=1)
    if unknown.all():
        raise InputError(f"no row has a position error: {', '.join(names)} are masked, NaN or not positive")
    typical = float(np.median(covariance[~unknown, :2].mean(axis=1)))
    covariance[unknown] = [typical, typical, 0.0]
    return PositionErrors(covariance, names, int(unknown.sum()))


def _names(given: Any, option: str) -> list[str]:
    names = [part.strip() for part in given.split(",")] if isinstance(given, str) else given
    try:
        names = list(names)
    except TypeError:
        names = []
    if not 1 <= len(names) <= 3 or not all(isinstance(name, str) for name in names):
        raise InputError(
            f"{option}={given!r} is not understood; give one to three columns, or an angle such as "
            "0.3 * u.arcsec"
        )
    return names


def _of_quantity(table: QTable, given: u.Quantity, option: str) -> np.ndarray:
    if not given.isscalar or not given.unit.is_equivalent(u.deg) or not 0 < given.to_value(u.arcsec) < np.inf:
        raise InputError(f"{option}={given} is not one positive angle: give 0.3 * u.arcsec, or columns")
    variance = given.to_value(u.arcsec) ** 2
    return np.tile([variance, variance, 0.0], (len(table), 1))
