"""Where in a table the positions are, and the positions as a SkyCoord."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import FK4, FK5, ICRS, BaseCoordinateFrame, SkyCoord
from astropy.table import QTable

from astro_cluster.columns import require, ucd_of
from astro_cluster.exceptions import InputError
from astro_cluster.provenance import records
from astro_cluster.tables import float_values

__all__ = ["find_position", "sky_coord"]

# UCDs of longitude and latitude, the surest first; the second spelling is the one of UCD1.
_UCD_PAIRS = (
    (("pos.eq.ra;meta.main", "pos_eq_ra_main"), ("pos.eq.dec;meta.main", "pos_eq_dec_main")),
    (("pos.eq.ra",), ("pos.eq.dec",)),
)
_GALACTIC_UCD_PAIRS = (
    (("pos.galactic.lon;meta.main",), ("pos.galactic.lat;meta.main",)),
    (("pos.galactic.lon",), ("pos.galactic.lat",)),
)
_NAME_PAIRS = (
    ("ra", "dec"),
    ("ra", "de"),
    ("raj2000", "dej2000"),
    ("raj2000", "decj2000"),
    ("ra_j2000", "dec_j2000"),
    ("ra_icrs", "de_icrs"),
    ("ra_icrs", "dec_icrs"),
    ("_ra", "_de"),
    ("_raj2000", "_dej2000"),
    ("_ra_icrs", "_de_icrs"),
    ("ra_deg", "dec_deg"),
    ("radeg", "decdeg"),
    ("radeg", "dedeg"),
    ("ra_d", "dec_d"),
    ("ra2000", "dec2000"),
    ("alpha_j2000", "delta_j2000"),
    ("right_ascension", "declination"),
)
_GALACTIC_NAME_PAIRS = (("l", "b"), ("glon", "glat"), ("_glon", "_glat"), ("gal_l", "gal_b"))
_HOW = 'name the columns: position=("ra", "dec") or position="coord" (on the command line --position ra,dec)'


def _by_ucd(table: QTable, names: Sequence[str], pairs: tuple[Any, ...]) -> tuple[str, str] | None:
    for (lon_ucds, lat_ucds), only_if_unique in zip(pairs, (False, True), strict=True):
        found = []
        for wanted in (lon_ucds, lat_ucds):
            # A B1950 position has the same UCD as one of J2000, and is half a degree away.
            columns = [n for n in names if ucd_of(table, n) in wanted and "1950" not in n]
            if columns and (len(columns) == 1 or not only_if_unique):
                found.append(columns[0])
        if len(found) == 2:
            return found[0], found[1]
    return None


def _by_name(names: Sequence[str], pairs: tuple[tuple[str, str], ...]) -> tuple[str, str] | None:
    lower: dict[str, str] = {}
    for name in names:
        lower.setdefault(name.lower(), name)
    return next(((lower[a], lower[b]) for a, b in pairs if a in lower and b in lower), None)


def _search(table: QTable, names: Sequence[str]) -> tuple[str, ...] | None:
    coords = [name for name in names if isinstance(table[name], SkyCoord)]
    return (
        _by_ucd(table, names, _UCD_PAIRS)
        or _by_name(names, _NAME_PAIRS)
        or _by_ucd(table, names, _GALACTIC_UCD_PAIRS)
        or _by_name(names, _GALACTIC_NAME_PAIRS)
        or ((coords[0],) if len(coords) == 1 else None)
    )


def _given(table: QTable, position: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(position, str) and position not in table.colnames and "," in position:
        position = [part.strip() for part in position.split(",")]
    names = tuple(require(table, position))
    are_coords = [isinstance(table[name], SkyCoord) for name in names]
    if (len(names) == 2 and not any(are_coords)) or (len(names) == 1 and all(are_coords)):
        return names
    raise InputError(
        f"position={position!r} does not give a position: it takes two columns of numbers or one "
        "SkyCoord column"
    )


def find_position(table: QTable, position: str | Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the names of the columns that hold the positions of a table.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    position : (str, str) or str, optional
        Names of the columns of right ascension and declination (or galactic longitude and
        latitude), or of one SkyCoord column.  If not given they are found by UCD
        (``pos.eq.ra;meta.main``, then ``pos.eq.ra`` if only one column has it), then by
        the usual names in any case (``ra`` and ``dec``, ``RAJ2000`` and ``DEJ2000``, …),
        then galactic ones in the same way, then an only SkyCoord column.  Columns that an
        earlier `crossmatch` has brought are the last resort.

    Returns
    -------
    tuple of str
        Two names, or the one of a SkyCoord column.

    Raises
    ------
    InputError
        If there are no such columns, or none can be found.

    Examples
    --------
    >>> find_position(QTable({"id": [1], "RA": [10.0], "Dec": [-5.0]}))
    ('RA', 'Dec')
    """
    if position is not None:
        return _given(table, position)
    steps = [r for r in records(table) if r.get("function") == "crossmatch"]
    brought = {name for record in steps for name in record.get("columns_added", ())}
    own = [name for name in table.colnames if name not in brought]
    found = _search(table, own) or _search(table, table.colnames)
    if found is None:
        shown = ", ".join(table.colnames[:40]) + (", …" if len(table.colnames) > 40 else "")
        raise InputError(f"the table has no columns that are known to be a position: {_HOW}. It has: {shown}")
    return found


def _plain(column: Any) -> np.ndarray | None:
    """Return the numbers of a column of doubles as they stand there, if they are all finite."""
    if getattr(column, "mask", None) is not None or column.dtype != np.float64 or not column.dtype.isnative:
        return None
    values = np.asarray(getattr(column, "value", column))
    return values if np.isfinite(values).all() else None


def _degrees(table: QTable, name: str) -> np.ndarray:
    """Return an angle column in degrees, NaN where it is masked or not finite; not to be written to."""
    column = table[name]
    kind = getattr(getattr(column, "dtype", None), "kind", "O")
    if kind not in "iuf" or column.ndim != 1:
        raise InputError(
            f"position column {name!r} holds no plain numbers; turn text such as '12 30 45.6' into degrees "
            "with astropy.coordinates.Angle, or name other columns (position=, --position)"
        )
    unit = (
        column.unit if column.unit is not None else u.deg
    )  # what nearly every catalogue without units means
    values = _plain(column)
    if values is None:
        values = float_values(column)
        values[~np.isfinite(values)] = np.nan
    try:
        return u.Quantity(values, u.Unit(unit), copy=False).to_value(u.deg)
    except (u.UnitConversionError, TypeError, ValueError) as error:
        raise InputError(
            f"position column {name!r} is in {str(unit)!r}, which is not an angle; give it its right unit "
            "or name other columns (position=, --position)"
        ) from error


def _check_range(name: str, values: np.ndarray, limit: float, first_row: int) -> None:
    bad = np.flatnonzero((values > limit) | (values < -limit))  # false for NaN
    if len(bad):
        shown = ", ".join(f"{row + first_row} ({values[row]:g})" for row in bad[:8])
        shown += ", …" if len(bad) > 8 else ""
        raise InputError(
            f"{len(bad)} values of position column {name!r} are beyond ±{limit:g} deg, in the rows "
            f"(counted from 0): {shown}. Give the column its right unit, mask these values, or "
            "name other columns"
        )


def _is_galactic(table: QTable, names: Sequence[str]) -> bool:
    ucds = [ucd_of(table, name) for name in names]
    if any(ucd.startswith("pos.ecliptic") for ucd in ucds):
        raise InputError(
            f"columns {' and '.join(names)} are ecliptic; convert them to right ascension and declination"
        )
    if all(ucd.startswith("pos.") for ucd in ucds):
        return ucds[0].startswith("pos.galactic")
    return (names[0].lower(), names[1].lower()) in _GALACTIC_NAME_PAIRS


def _equatorial_frame(table: QTable, names: Sequence[str]) -> BaseCoordinateFrame:
    """Return the frame that a VOTable declared for the columns; ICRS if it declared none."""
    system = str((table[names[0]].info.meta or {}).get("coosys", ""))
    kind, _, equinox = system.partition(" ")
    if kind in ("", "ICRS", "galactic"):
        return ICRS()
    if kind in ("eq_FK4", "eq_FK5"):
        frame = FK4 if kind == "eq_FK4" else FK5
        return frame(equinox=equinox) if equinox else frame()
    raise InputError(
        f"columns {' and '.join(names)} are in the system {system!r}, which is not understood; "
        "convert them to ICRS"
    )


def sky_coord(table: QTable, names: Sequence[str], *, first_row: int = 0) -> tuple[SkyCoord, np.ndarray]:
    """Return the positions of a table, and which rows have one.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Table of n rows.
    names : sequence of str
        What `find_position` gives.  Columns without a unit are in degrees.
    first_row : int, optional
        Number of the first row in messages, if the table is a part of another.

    Returns
    -------
    coord : (n,) `~astropy.coordinates.SkyCoord`
        In ICRS, or galactic if the columns are; NaN where a row has no position.
    valid : (n,) array of bool
        Rows whose position is neither masked nor NaN.

    Raises
    ------
    InputError
        If a column is not an angle or holds angles that no position has (the message
        names the rows).

    Examples
    --------
    >>> table = QTable({"ra": [10.0, np.nan] * u.deg, "dec": [-5.0, 1.0] * u.deg})
    >>> coord, valid = sky_coord(table, ("ra", "dec"))
    >>> valid
    array([ True, False])
    >>> coord[0].dec
    <Latitude -5. deg>
    """
    if len(names) == 1:
        coord = table[names[0]]
        mask = np.zeros(len(table), dtype=bool)
        if getattr(coord, "masked", False):
            mask, coord = np.array(coord.mask), coord.unmasked
        lon, lat = coord.spherical.lon.deg, coord.spherical.lat.deg
        return coord, np.isfinite(lon) & np.isfinite(lat) & ~mask
    lon, lat = (_degrees(table, name) for name in names)
    _check_range(names[0], lon, 360, first_row)
    _check_range(names[1], lat, 90, first_row)
    valid = np.isfinite(lon) & np.isfinite(lat)
    frame = "galactic" if _is_galactic(table, names) else _equatorial_frame(table, names)
    if ((lon < 0) | (lon >= 360)).any():
        lon = lon.copy()  # which astropy brings into one turn where it stands
    angles = (u.Quantity(axis, u.deg, copy=False) for axis in (lon, lat))
    return SkyCoord(*angles, frame=frame, copy=False), valid
