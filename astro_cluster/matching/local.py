"""All pairs of two lists of positions that are close on the sky."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky

__all__ = ["close_pairs"]

# Right ascensions near 360 deg are stored to 2e-10 arcsec: a pair that is exactly at the radius
# must not be lost to that.
_ROUNDING = 1e-9 * u.arcsec


def close_pairs(
    local: SkyCoord, remote: SkyCoord, radius: u.Quantity, *, valid: np.ndarray, remote_valid: np.ndarray
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

    Returns
    -------
    i, j : (m,) array of int
        Row numbers of the pairs.
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
    rows, remote_rows = np.flatnonzero(valid), np.flatnonzero(remote_valid)
    if not len(rows) or not len(remote_rows):
        none = np.empty(0, dtype=np.int64)
        return none, none.copy(), np.empty(0)
    i, j, separation, _ = search_around_sky(
        local.icrs[rows], remote.icrs[remote_rows], radius + _ROUNDING, storekdtree=False
    )
    arcsec = separation.to_value(u.arcsec)
    near = arcsec <= (radius + _ROUNDING).to_value(u.arcsec)
    return rows[i[near]], remote_rows[j[near]], arcsec[near]
