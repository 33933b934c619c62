"""A match by the errors of positions: from tables and pairs to the probability of each association."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import FK5, ICRS, SkyCoord
from astropy.table import QTable

from astro_cluster.exceptions import InputError
from astro_cluster.matching.bayes import Posterior, associate, log_density_of_offsets
from astro_cluster.matching.candidates import Pairs, Sky
from astro_cluster.matching.chance import cap_area
from astro_cluster.matching.judging import background_of
from astro_cluster.matching.position_errors import PositionErrors, read_position_errors
from astro_cluster.positions import find_position, sky_coord

__all__ = [
    "Association",
    "associate_pairs",
    "check_axes",
    "check_completeness",
    "read_errors",
    "widest_radius",
]

_REACH = 5.0  # standard errors: one true pair in 270,000 is farther apart
_LARGEST = 10 * u.arcmin

Wanted = str | Sequence[str] | u.Quantity | None


def check_completeness(completeness: float | None) -> float | None:
    """Return the share of rows that have a counterpart, or say that it is none.

    Parameters
    ----------
    completeness : float, optional
        What the caller gave.

    Returns
    -------
    float or None

    Raises
    ------
    InputError
        If it is not above 0 and at most 1.

    Examples
    --------
    >>> check_completeness(0.8)
    0.8
    """
    if completeness is None:
        return None
    number = isinstance(completeness, (int, float, np.number)) and not isinstance(completeness, bool)
    if not number or not 0 < completeness <= 1:
        raise InputError(
            f"completeness={completeness!r} is not the share of the rows that have a counterpart: give a "
            "number above 0 and at most 1, or leave it out to have it estimated"
        )
    return float(completeness)


def widest_radius(sky: Sky, errors: PositionErrors, other: PositionErrors) -> u.Quantity:
    """Return the radius that no true pair exceeds: five times the largest error of a pair.

    Parameters
    ----------
    sky : Sky
        The local table.
    errors, other : PositionErrors
        Those of both tables.

    Returns
    -------
    `~astropy.units.Quantity` [arcsec]

    Raises
    ------
    InputError
        If it is so large that an error must be wrong.
    """
    largest = errors.largest[sky.valid].max(), other.largest.max()
    radius = _REACH * float(np.hypot(*largest)) * u.arcsec
    if radius > _LARGEST:
        raise InputError(
            f"the largest position errors are {largest[0]:.3g} and {largest[1]:.3g} arcsec: give the radius "
            "(radius=5 * u.arcsec), or mask the errors that mean 'not known'"
        )
    return radius


@dataclass(frozen=True, slots=True)
class Association:
    """Pairs, and how probable each is.

    Parameters
    ----------
    pairs : Pairs
        The candidates.
    posterior : Posterior
        Their probabilities.
    facts : dict
        For the record.
    """

    pairs: Pairs
    posterior: Posterior
    facts: dict[str, Any]


def check_axes(errors: PositionErrors, coord: SkyCoord, option: str) -> None:
    """Make sure that errors which differ between directions are those towards east and north.

    Parameters
    ----------
    errors : PositionErrors
        Those of a table.
    coord : (n,) `~astropy.coordinates.SkyCoord`
        Its positions, in the frame that it gives them in.
    option : str
        The parameter that the errors are given by.

    Raises
    ------
    InputError
        If they are along other axes, such as the galactic ones.
    """
    if errors.is_circular or isinstance(coord.frame, (ICRS, FK5)):
        return
    where = "in the reference: " if option.startswith("reference") else ""
    raise InputError(
        f"{where}errors that differ between directions are understood in right ascension and declination "
        f"only: give one error a row ({option}='pos_err')"
    )


def _remote_positions(pairs: Pairs, other: PositionErrors, needed: bool) -> SkyCoord | None:
    """Return the remote position of each pair, if its direction matters."""
    if pairs.there is not None:
        return pairs.there[pairs.remote].icrs
    if not needed or not len(pairs.local):
        return None
    coord, _ = sky_coord(pairs.table, find_position(pairs.table))
    check_axes(other, coord, "reference_position_error")
    return coord[pairs.row].icrs


def associate_pairs(
    pairs: Pairs,
    sky: Sky,
    radius: u.Quantity,
    *,
    errors: PositionErrors,
    other: PositionErrors,
    completeness: float | None,
    trim: bool,
) -> Association:
    """Return how probable the candidates of a match are.

    Parameters
    ----------
    pairs : Pairs
        All pairs within the radius; its table has all remote columns.
    sky : Sky
        The local table.
    radius : `~astropy.units.Quantity` [angle]
        That of the match.
    errors : PositionErrors
        Those of the local table.
    other : PositionErrors
        Those of the rows of ``pairs.table``, or of the table at hand.
    completeness : float, optional
        Share of the rows that have a counterpart.
    trim : bool
        Whether pairs farther apart than five of their own errors are left out.

    Returns
    -------
    Association

    Raises
    ------
    InputError
        If errors along galactic axes are elliptical, or the density of the reference cannot be told.
    """
    circular = errors.is_circular and other.is_circular
    check_axes(errors, sky.coord, "position_error")
    here = (sky.coord if pairs.here is None else pairs.here).icrs
    there = _remote_positions(pairs, other, not circular)
    row = pairs.local
    first, second = errors.covariance[row], other.covariance[pairs.row]
    if there is None:
        log_density, squared = _circular(pairs.separation, first, second)
    else:
        log_density, squared = log_density_of_offsets(here[row], there, pairs.separation, first, second)
    background = background_of(pairs, sky.valid, radius, strict=True)
    if background is None:
        raise InputError(
            "method='bayes' needs to know how crowded the reference is, and cannot ask for it: set "
            "conf.false_match_rows to 2000, say, or match with a table at hand"
        )
    if trim:
        near = squared <= _REACH**2
        pairs = dataclasses.replace(
            pairs,
            local=pairs.local[near],
            remote=pairs.remote[near],
            row=pairs.row[near],
            separation=pairs.separation[near],
        )
        log_density = log_density[near]
    density = background.density * background.correction(float(cap_area(radius.to_value(u.arcsec))))
    posterior = associate(pairs.local, log_density, density, completeness)
    facts = {
        "completeness": posterior.completeness,
        "completeness_estimated": completeness is None,
        "error_columns": errors.columns,
        "reference_error_columns": other.columns,
        "errors_not_known": errors.n_filled,
        "reference_errors_not_known": other.n_filled,
        **background.facts,
    }
    return Association(pairs, posterior, facts)


def _circular(separation: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    variance = first[:, 0] + second[:, 0]
    squared = separation**2 / variance
    return -squared / 2 - np.log(2 * np.pi * variance), squared


def read_errors(table: QTable, names: Sequence[str], given: Wanted, option: str) -> PositionErrors:
    """Return the errors of a table's positions; an error says which of the two tables it is about.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        One of the two tables.
    names : sequence of str
        Its columns of position.
    given : str, sequence of str or `~astropy.units.Quantity`, optional
        What the caller said.
    option : str
        The parameter that it was said by.

    Returns
    -------
    PositionErrors
    """
    try:
        return read_position_errors(table, names, given, option=option)
    except InputError as error:
        where = "in the reference: " if option.startswith("reference") else ""
        raise InputError(f"{where}{error}") from error
