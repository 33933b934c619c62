"""The probability of each association, and of none, from the errors of both positions.

Arrays only; where the candidates and the densities come from is other rooms' business.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from scipy.optimize import brentq

__all__ = ["Posterior", "associate", "log_bayes_factor", "log_density_of_offsets"]

_LOG_SPHERE = np.log(4 * np.pi * (u.rad**2).to(u.arcsec**2))


def _axes(coord: SkyCoord) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return unit vectors towards positions, and towards east and north there."""
    ra, dec = coord.ra.rad, coord.dec.rad
    here = np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    east = np.column_stack([-np.sin(ra), np.cos(ra), np.zeros_like(ra)])
    north = np.column_stack([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)])
    return here, east, north


def log_density_of_offsets(
    here: SkyCoord,
    there: SkyCoord,
    separation: np.ndarray,
    covariance: np.ndarray,
    other_covariance: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return how likely the offsets of true pairs are, per arcsec².

    Parameters
    ----------
    here, there : (m,) `~astropy.coordinates.SkyCoord`
        The two positions of each pair, in one equatorial frame.
    separation : (m,) array of float
        In arcsec.
    covariance, other_covariance : (m, 3) array of float
        As in `~astro_cluster.matching.position_errors.PositionErrors`.

    Returns
    -------
    log_density : (m,) array of float
        Natural logarithm of the density of the sum of both errors at the offset.
    squared : (m,) array of float
        Offset over its error, squared (Mahalanobis).

    Notes
    -----
    In the plane that touches the sphere at the first position.  The ellipse of the second is turned
    into the axes of the first, which near a pole point elsewhere.

    Examples
    --------
    >>> one, two = SkyCoord([10.0] * u.deg, [0.0] * u.deg), SkyCoord([10.0] * u.deg, [1 / 3600] * u.deg)
    >>> error = np.array([[0.5, 0.5, 0.0]])
    >>> log_density_of_offsets(one, two, np.array([1.0]), error, error)[1].round(6)
    array([1.])
    """
    v, east, north = _axes(here)
    w, other_east, other_north = _axes(there)
    x, y = (np.einsum("ij,ij->i", w - v, axis) for axis in (east, north))
    flat = np.hypot(x, y)
    scale = np.where(flat > 0, separation / np.where(flat > 0, flat, 1.0), 0.0)
    x, y = x * scale, y * scale
    turn = [[np.einsum("ij,ij->i", a, b) for b in (other_east, other_north)] for a in (east, north)]
    ee, nn, en = other_covariance.T
    (a, b), (c, d) = turn
    xx = covariance[:, 0] + a * a * ee + 2 * a * b * en + b * b * nn
    yy = covariance[:, 1] + c * c * ee + 2 * c * d * en + d * d * nn
    xy = covariance[:, 2] + a * c * ee + (a * d + b * c) * en + b * d * nn
    determinant = xx * yy - xy * xy
    squared = (yy * x * x - 2 * xy * x * y + xx * y * y) / determinant
    return -squared / 2 - np.log(2 * np.pi * np.sqrt(determinant)), squared


def log_bayes_factor(log_density: np.ndarray) -> np.ndarray:
    """Return the evidence that two positions are of one object against that they are of two.

    Parameters
    ----------
    log_density : (m,) array of float
        What `log_density_of_offsets` gives.

    Returns
    -------
    (m,) array of float
        Natural logarithm of the Bayes factor.

    Notes
    -----
    For circular errors this is 2 / (s1² + s2²) exp(-ψ² / 2 (s1² + s2²)) in radians, the limit of small
    errors of Budavári & Szalay (2008, ApJ 679, 301): the density of the offset over that of
    unrelated objects on the whole sky, 1 / 4π.

    Examples
    --------
    >>> log_bayes_factor(np.array([-np.log(2 * np.pi * 2)])).round(4)
    array([24.4738])
    """
    return log_density + _LOG_SPHERE


@dataclass(frozen=True, slots=True)
class Posterior:
    """Probabilities of the associations of n rows with m candidates.

    Parameters
    ----------
    pair : (m,) array of float
        That a candidate is the counterpart of its row.
    log_odds : (m,) array of float
        The same as natural log of the odds, which tells sure ones apart.
    none : (n,) array of float
        That no candidate is.
    completeness : float
        Share of the rows that have a counterpart, before one looks at their candidates.
    """

    pair: np.ndarray
    log_odds: np.ndarray
    none: np.ndarray
    completeness: float


def _likeliest_share(evidence: np.ndarray) -> float:
    """Return the share of rows with a counterpart that makes the candidates likeliest.

    The log-likelihood Σ log(1 - q + q x) is concave, so that its slope has one zero.
    """

    def slope(share: float) -> float:
        return float(np.sum((evidence - 1) / (1 - share + share * evidence)))

    # As sure of 0 and 1 as the rule of succession is: a few rows prove little.
    least = 1 / (len(evidence) + 2)
    if slope(least) <= 0:
        return least
    if slope(1 - least) >= 0:
        return 1 - least
    return float(brentq(slope, least, 1 - least, xtol=1e-12))


def associate(
    row: np.ndarray, log_density: np.ndarray, density: np.ndarray, completeness: float | None = None
) -> Posterior:
    """Return the probability that each candidate is the counterpart of its row, and that none is.

    Parameters
    ----------
    row : (m,) array of int
        The row of each candidate.
    log_density : (m,) array of float
        What `log_density_of_offsets` gives.
    density : (n,) array of float
        Unrelated objects per arcsec² around each row; NaN for rows that cannot be used.
    completeness : float, optional
        Share of the rows that have a counterpart; the likeliest if not given.

    Returns
    -------
    Posterior

    Notes
    -----
    A row has one counterpart or none.  Each candidate, seen alone, has the Bayes factor of
    Budavári & Szalay (2008, ApJ 679, 301) and the prior q / N, N being the objects on the whole
    sky if it were as crowded as here; none has 1 - q.  Together they are normalised as by
    Sutherland & Saunders (1992, MNRAS 259, 413, eq. 5) and Budavári & Loredo (2015, Annu. Rev.
    Stat. Appl. 2, 113).

    Examples
    --------
    >>> found = associate(np.array([0, 0]), np.log([3.0, 1.0]), np.array([1.0, 1.0]), 0.5)
    >>> found.pair, found.none
    (array([0.6, 0.2]), array([0.2, 1. ]))
    """
    usable = np.isfinite(density)
    log_ratio = log_density - np.log(density[row])
    # A candidate at 1e-15 arcsec must not overflow.
    ratio = np.exp(np.minimum(log_ratio, 600.0))
    evidence = np.bincount(row, weights=ratio, minlength=len(density))
    share = _likeliest_share(evidence[usable]) if completeness is None else float(completeness)
    total = 1 - share + share * evidence
    # Every row has a counterpart, it is said, and nothing is near this one: it is none of the candidates.
    alone = total <= 0
    total = np.where(alone, 1.0, total)
    pair = share * ratio / total[row]
    others = np.maximum(total[row] - share * ratio, 1e-300)
    none = np.where(usable, np.where(alone, 1.0, (1 - share) / total), np.nan)
    log_odds = np.log(share) + np.minimum(log_ratio, 600.0) - np.log(others)
    return Posterior(pair, log_odds, none, share)
