"""Positions of two catalogues brought to one epoch by their proper motions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from astropy.time import Time

from astro_cluster.columns import ucd_of
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.tables import float_values

__all__ = ["Motion", "find_motion", "julian_year", "meeting_epoch", "motion_columns", "move"]

_PM_UCDS = (
    ("pos.pm;pos.eq.ra", "pos.pm;pos.eq.ra;meta.main"),
    ("pos.pm;pos.eq.dec", "pos.pm;pos.eq.dec;meta.main"),
)
_PM_NAMES = (("pmra", "pmdec"), ("pmra", "pmde"), ("pm_ra", "pm_dec"), ("pm_ra", "pm_de"))
_EPOCH_UCDS = ("meta.ref;time.epoch", "time.epoch;meta.ref")
_PM_UNIT = u.mas / u.yr
_FIRST_YEAR, _LAST_YEAR = 1500, 2500


@dataclass(frozen=True, slots=True)
class Motion:
    """When the positions of a table hold, and where their motion is written.

    Parameters
    ----------
    epoch : (n,) array of float
        Julian year of each position; NaN where unknown.
    table : `~astropy.table.QTable`, optional
        The table.
    pm_columns : tuple of str
        Its proper motions in right ascension times cos(declination) and in declination;
        empty if it has none.
    columns : tuple of str
        All columns of the table that matter here.
    """

    epoch: np.ndarray
    table: QTable | None = None
    pm_columns: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def year(self) -> float:
        """The epoch of most rows: the median."""
        return float(np.nanmedian(self.epoch))

    def read(self) -> np.ndarray | None:
        """Return the proper motions, (n, 2) in mas/yr, NaN where unknown.

        They are read no sooner than they are needed: a column of the same name and
        another meaning is no reason to stop a match that moves nothing.
        """
        if self.table is None or not self.pm_columns:
            return None
        return _proper_motion(self.table, self.pm_columns)

    def rows_that_move(self) -> int:
        """Return how many rows have an epoch and a proper motion.

        Returns
        -------
        int
            A column of proper motions that is empty moves nothing.
        """
        if self.table is None or not self.pm_columns:
            return 0
        motions = np.column_stack([float_values(self.table[name]) for name in self.pm_columns])
        return int((np.isfinite(motions).all(axis=1) & np.isfinite(self.epoch)).sum())


def julian_year(epoch: Any, *, name: str = "epoch") -> float | None:
    """Return an epoch as a Julian year.

    Parameters
    ----------
    epoch : `~astropy.time.Time`, float, `~astropy.units.Quantity` [time] or None
        The epoch.
    name : str, optional
        How the parameter is called in an error.

    Returns
    -------
    float or None

    Raises
    ------
    InputError
        If it is not an epoch between the years 1500 and 2500.

    Examples
    --------
    >>> julian_year(Time("2016-01-01T12:00:00", scale="tdb"))
    2016.0
    """
    if epoch is None:
        return None
    try:
        if isinstance(epoch, Time):
            year = float(epoch.tdb.jyear)
        else:
            year = float(epoch.to_value(u.yr) if isinstance(epoch, u.Quantity) else epoch)
    except (TypeError, ValueError, u.UnitConversionError) as error:
        raise InputError(
            f"{name}={epoch!r} is no epoch: give a Julian year such as 2016.0, or a Time"
        ) from error
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise InputError(
            f"{name}={year:g} is no year: give a Julian year such as 2016.0, not a (modified) Julian date"
        )
    return year


def motion_columns(table: QTable) -> tuple[str | None, tuple[str, ...]]:
    """Return the columns that tell the epoch of each row, and its proper motion.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table; it may be one without rows.

    Returns
    -------
    epoch : str or None
        The column ``ref_epoch``, or the one with the UCD ``meta.ref;time.epoch``.
    proper_motion : tuple of str
        In right ascension times cos(declination) and in declination; empty if it has none.

    Examples
    --------
    >>> motion_columns(QTable({"ref_epoch": [2016.0], "pmRA": [5.0], "pmDE": [5.0]}))
    ('ref_epoch', ('pmRA', 'pmDE'))
    """
    columns = [n for n in table.colnames if n.lower() == "ref_epoch" or ucd_of(table, n) in _EPOCH_UCDS]
    columns = [n for n in columns if getattr(getattr(table[n], "dtype", None), "kind", "O") in "iuf"]
    return (columns[0] if columns else None), _pm_columns(table)


def _pm_columns(table: QTable) -> tuple[str, ...]:
    by_ucd = [next((n for n in table.colnames if ucd_of(table, n) in ucds), None) for ucds in _PM_UCDS]
    if all(by_ucd):
        return tuple(str(name) for name in by_ucd)
    lower = {name.lower(): name for name in reversed(table.colnames)}
    return next(((lower[a], lower[b]) for a, b in _PM_NAMES if a in lower and b in lower), ())


def _proper_motion(table: QTable, names: Sequence[str]) -> np.ndarray:
    parts = []
    for name in names:
        unit = getattr(table[name], "unit", None)
        if unit is None:
            text = f"column {name!r} has no unit and is taken to be in mas/yr"
            warnings.warn(text, AstroClusterWarning, stacklevel=6)
            unit = _PM_UNIT
        try:
            parts.append((float_values(table[name]) * u.Unit(unit)).to_value(_PM_UNIT))
        except (u.UnitConversionError, TypeError, ValueError) as error:
            raise InputError(f"column {name!r} is in {str(unit)!r}, which is not a proper motion") from error
    pm = np.stack(parts, axis=1)
    pm[~np.isfinite(pm).all(axis=1)] = np.nan
    return pm


def find_motion(table: QTable | None, epoch: float | None) -> Motion | None:
    """Return the epoch and the proper motions of a table.

    Parameters
    ----------
    table : `~astropy.table.QTable` or None
        Table of n rows; None for one that is not at hand and cannot be moved.
    epoch : float, optional
        Julian year of the positions; if not given, the column ``ref_epoch`` (or the one
        with the UCD ``meta.ref;time.epoch``) tells it, as in Gaia.

    Returns
    -------
    Motion or None
        None if the epoch is not known.

    Examples
    --------
    >>> table = QTable({"pmra": [1.0] * u.mas / u.yr, "pmdec": [2.0] * u.mas / u.yr})
    >>> find_motion(table, 2016.0).read()
    array([[1., 2.]])
    """
    if table is None:
        return None if epoch is None else Motion(np.array([epoch]))
    column, names = motion_columns(table)
    if epoch is not None:
        return Motion(np.full(len(table), epoch), table, names, names)
    if column is None:
        return None
    years = float_values(table[column])
    years[~((years >= _FIRST_YEAR) & (years <= _LAST_YEAR))] = np.nan
    if np.isnan(years).all():
        return None
    return Motion(years, table, names, (column, *names))


def meeting_epoch(local: Motion | None, remote: Motion | None) -> float | None:
    """Return the Julian year at which two tables are best compared.

    It is the remote one's epoch if the local rows can be moved there, else the local one's
    if the remote rows can be moved.

    Parameters
    ----------
    local, remote : Motion or None
        What `find_motion` gives.

    Returns
    -------
    float or None
        None if an epoch is unknown, nothing moves, or the epochs are the same.

    Examples
    --------
    >>> gaia = QTable({"ref_epoch": [2016.0], "pmra": [5.0], "pmdec": [5.0]})
    >>> meeting_epoch(find_motion(gaia, None), find_motion(None, 2000.0))
    2000.0
    """
    if local is None or remote is None:
        return None
    local_moves, remote_moves = (motion.rows_that_move() for motion in (local, remote))
    if not (local_moves or remote_moves):
        return None
    years = np.concatenate([local.epoch, remote.epoch])
    if np.nanmax(years) == np.nanmin(years):
        return None
    # Where both can be moved in part only, the side on which more rows can.
    return remote.year if local_moves >= remote_moves or not remote_moves else local.year


def move(coord: SkyCoord, motion: Motion | None, year: float) -> tuple[SkyCoord, np.ndarray]:
    """Return positions at another epoch.

    Parameters
    ----------
    coord : (n,) `~astropy.coordinates.SkyCoord`
        Positions at the epochs of ``motion``.
    motion : Motion or None
        Rows without epoch or proper motion stay where they are; all do if None.
    year : float
        Julian year to move to.

    Returns
    -------
    coord : (n,) `~astropy.coordinates.SkyCoord`
        Positions in ICRS.
    moved : (n,) array of bool
        Rows that were moved.

    Raises
    ------
    InputError
        If the unit of a proper motion is not that of one.

    Warns
    -----
    AstroClusterWarning
        If proper motions have no unit: they are taken to be in mas/yr.

    Notes
    -----
    The rigorous transformation for stars without radial velocity, ESA (1997), The Hipparcos
    and Tycho Catalogues, SP-1200, vol. 1, section 1.5.5: a straight line in space.  Unlike
    an addition to the angles it is right at the poles.

    Examples
    --------
    >>> fast = QTable({"pmra": [0.0] * u.mas / u.yr, "pmdec": [3600.0] * u.arcsec / u.yr})
    >>> motion = find_motion(fast, 2000.0)
    >>> move(SkyCoord([10.0] * u.deg, [0.0] * u.deg), motion, 2001.0)[0].dec.round(3)
    <Latitude [1.] deg>
    """
    coord = coord.icrs
    pm = None if motion is None else motion.read()
    if motion is None or pm is None:
        return coord, np.zeros(coord.shape, dtype=bool)
    years = year - motion.epoch
    moved = np.isfinite(years) & (years != 0) & np.isfinite(pm).all(axis=1)
    shift = np.where(moved[:, None], pm * years[:, None], 0.0) * u.mas.to(u.rad)
    ra, dec = coord.ra.rad, coord.dec.rad
    east = np.stack([-np.sin(ra), np.cos(ra), np.zeros_like(ra)], axis=1)
    north = np.stack([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)], axis=1)
    here = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    x, y, z = (here + shift[:, :1] * east + shift[:, 1:] * north).T
    new_ra = np.where(moved, np.arctan2(y, x), ra)
    new_dec = np.where(moved, np.arctan2(z, np.hypot(x, y)), dec)
    return SkyCoord(new_ra * u.rad, new_dec * u.rad, frame="icrs"), moved
