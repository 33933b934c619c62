"""All pairs of two lists of positions that are close on the sky."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.coordinates import ICRS, SkyCoord, UnitSphericalRepresentation

from astro_cluster.matching import zones

__all__ = ["close_pairs", "degrees", "nearest_pairs", "radius_in_arcsec"]

# Right ascensions near 360 deg are stored to 2e-10 arcsec: a pair that is exactly at the radius
# must not be lost to that.
_ROUNDING = 1e-9 * u.arcsec


def radius_in_arcsec(radius: u.Quantity) -> float:
    """Return a radius with the little that rounding may add to a separation.

    Parameters
    ----------
    radius : `~astropy.units.Quantity` [angle]
        Largest separation, itself included.

    Returns
    -------
    float
        In arcsec.

    Examples
    --------
    >>> radius_in_arcsec(1 * u.arcmin)
    60.000000001
    """
    return float((radius + _ROUNDING).to_value(u.arcsec))


def degrees(coord: SkyCoord, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return right ascensions and declinations in ICRS, without a copy if they are there already.

    Parameters
    ----------
    coord : (n,) `~astropy.coordinates.SkyCoord`
        Positions in any frame.
    valid : (n,) array of bool
        Rows that have a position; of the others one angle at least becomes NaN.

    Returns
    -------
    ra, dec : (n,) array of float
        In degrees.

    Examples
    --------
    >>> degrees(SkyCoord([10, 20] * u.deg, [0, 5] * u.deg), np.array([True, False]))
    (array([10., 20.]), array([ 0., nan]))
    """
    frame = coord.frame
    if not frame.is_equivalent_frame(ICRS()):
        frame = frame.transform_to(ICRS())
    place = frame.data
    if not hasattr(place, "lon"):
        place = place.represent_as(UnitSphericalRepresentation)
    ra, dec = (getattr(axis, "unmasked", axis).to_value(u.deg) for axis in (place.lon, place.lat))
    hidden = ~valid & np.isfinite(ra) & np.isfinite(dec)
    return np.asarray(ra), np.where(hidden, np.nan, dec) if hidden.any() else np.asarray(dec)


def close_pairs(
    local: SkyCoord,
    remote: SkyCoord,
    radius: u.Quantity,
    *,
    valid: np.ndarray,
    remote_valid: np.ndarray,
    nearest: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all pairs that are at most a radius apart; right at the poles and at 0 h.

    Parameters
    ----------
    local : (n,) `~astropy.coordinates.SkyCoord`
        Positions of one table, in any frame.
    remote : (k,) `~astropy.coordinates.SkyCoord`
        Positions of the other.
    radius : `~astropy.units.Quantity` [angle]
        Largest separation, itself included.
    valid, remote_valid : (n,) and (k,) array of bool
        Rows that have a position.
    nearest : bool, optional
        Of each local row only the nearest remote one, and of equally near ones the first.

    Returns
    -------
    i, j : (m,) array of int
        Row numbers of the pairs, in the order of i, then j.
    separation : (m,) array of float
        In arcsec.

    Examples
    --------
    >>> a = SkyCoord([359.9999, 20] * u.deg, [0, 0] * u.deg)
    >>> b = SkyCoord([0.0001, 50] * u.deg, [0, 0] * u.deg)
    >>> every = np.ones(2, dtype=bool)
    >>> i, j, arcsec = close_pairs(a, b, 1 * u.arcsec, valid=every, remote_valid=every)
    >>> i, j, arcsec
    (array([0]), array([0]), array([0.72]))
    """
    if nearest:
        i, j, separation, _ = nearest_pairs(local, remote, radius, valid=valid, remote_valid=remote_valid)
        return i, j, separation
    here, there = degrees(local, valid), degrees(remote, remote_valid)
    return zones.all_pairs(*here, *there, radius_in_arcsec(radius))


def nearest_pairs(
    local: SkyCoord, remote: SkyCoord, radius: u.Quantity, *, valid: np.ndarray, remote_valid: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int | None]:
    """Return of each local row the nearest remote one, and how many pairs there are in all.

    Parameters
    ----------
    local, remote, radius, valid, remote_valid
        As in `close_pairs`.

    Returns
    -------
    i, j : (m,) array of int
        Row numbers.
    separation : (m,) array of float
        In arcsec.
    n_pairs : int or None
        How many pairs are within the radius; None where they are too many to be counted.

    Examples
    --------
    >>> a, b = SkyCoord([10] * u.deg, [0] * u.deg), SkyCoord([10.2, 10.1] * u.deg, [0, 0] * u.deg)
    >>> i, j, _, n = nearest_pairs(a, b, 1 * u.deg, valid=np.ones(1, bool), remote_valid=np.ones(2, bool))
    >>> i, j, n
    (array([0]), array([1]), 2)
    """
    here, there = degrees(local, valid), degrees(remote, remote_valid)
    row, separation, n_pairs = zones.nearest_pairs(*here, *there, radius_in_arcsec(radius))
    found = np.flatnonzero(row >= 0)
    return found, row[found], separation[found], n_pairs
