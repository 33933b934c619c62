"""How crowded a reference is around each position, and what lies at places that belong to nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from scipy.spatial import cKDTree

from astro_cluster.matching.chance import cap_area
from astro_cluster.matching.local import close_pairs, degrees

__all__ = [
    "Background",
    "background_at_hand",
    "background_by_asking",
    "nearest_at_hand",
    "shifted_positions",
    "unit_vectors",
]

_OFFSETS = 8
_MOST_SHIFTED = 60_000
_MOST_COUNTED = 20_000
_MOST_REFERENCE = 2_000_000
_SHIFT = 5.0  # radii, at least: beyond the true counterpart, within the same crowd
_RING = 1.4  # how much farther at most
_NEAR = 30.0  # arcsec; farther than errors go
_LARGEST = 12 * u.deg  # seven times this is about a quarter of a circle
_LEAST_IN_RING = 6
_LEAST_AREA = 1e-6  # arcsec²; many objects at the same place are one to everyone but a computer
_FACTORS = (1, 2, 4, 8, 16, 32)
_PROBES_A_ROW = 16
_RANDOM = 20_260  # the offsets are the same in every run
_SIGNIFICANT = 3.0


@dataclass(slots=True)
class Background:
    """What is known about unrelated objects around n rows.

    Parameters
    ----------
    density : (n,) array of float
        Unrelated objects per arcsec² around each row; NaN where a row has no position.
    shifted : (k,) array of float
        Cap area [arcsec²] out to the nearest object at moved positions; infinity if there is none
        within the radius.
    shifted_rows : (k,) array of int
        The row that each was moved from.
    shifted_remote : (m,) array of int
        Remote rows that moved positions met.
    facts : dict
        For the record.
    """

    density: np.ndarray
    shifted: np.ndarray
    shifted_rows: np.ndarray
    shifted_remote: np.ndarray
    facts: dict[str, Any] = field(default_factory=dict)

    def correction(self, limit: float) -> float:
        """Return what the densities have to be multiplied by to explain the moved positions.

        The ring of neighbours reaches beyond the edge of a small field, and sees less than there
        is; moved positions reach less far.  They count if they meet significantly more objects
        than the densities say.  If they meet fewer, the rows lie in clumps that they have left.

        Parameters
        ----------
        limit : float
            Cap area of the radius.

        Returns
        -------
        float
            At least 1.
        """
        if not len(self.shifted):
            return 1.0
        expected = float(np.sum(self.density[self.shifted_rows] * np.minimum(self.shifted, limit)))
        met = int(np.count_nonzero(self.shifted <= limit))
        return met / expected if met - expected > _SIGNIFICANT * np.sqrt(max(expected, 1.0)) else 1.0


def unit_vectors(coord: SkyCoord) -> np.ndarray:
    """Return positions as vectors in ICRS.

    Parameters
    ----------
    coord : (n,) `~astropy.coordinates.SkyCoord`
        Positions.

    Returns
    -------
    (n, 3) array of float

    Examples
    --------
    >>> unit_vectors(SkyCoord([0.0] * u.deg, [90.0] * u.deg)).round(6)
    array([[0., 0., 1.]])
    """
    ra, dec = map(np.radians, degrees(coord, np.ones(coord.shape, dtype=bool)))
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def shifted_positions(
    coord: SkyCoord,
    valid: np.ndarray,
    distance: np.ndarray | float,
    *,
    offsets: int = _OFFSETS,
    most: int = _MOST_SHIFTED,
) -> tuple[np.ndarray, SkyCoord]:
    """Return positions around the rows, in all directions, always the same ones.

    Parameters
    ----------
    coord : (n,) `~astropy.coordinates.SkyCoord`
        Positions.
    valid : (n,) array of bool
        Rows that have one.
    distance : (n,) array of float or float
        Least distance [arcsec]; the largest is 1.4 times it.
    offsets : int, optional
        Positions for each row.
    most : int, optional
        Positions in all; of more rows a part is taken.

    Returns
    -------
    rows : (k,) array of int
        The row that each was moved from.
    coord : (k,) `~astropy.coordinates.SkyCoord`
        In ICRS; on the sphere, so that the poles and 0 h are as good as any place.

    Examples
    --------
    >>> pole = SkyCoord([0.0] * u.deg, [90.0] * u.deg)
    >>> rows, moved = shifted_positions(pole, np.array([True]), 50.0)
    >>> bool(((moved.separation(pole) > 50 * u.arcsec) & (moved.separation(pole) < 71 * u.arcsec)).all())
    True
    """
    rng = np.random.default_rng(_RANDOM)
    known = np.flatnonzero(valid)
    if len(known) * offsets > most:
        known = np.sort(rng.permutation(known)[: max(most // offsets, 1)])
    rows = np.repeat(known, offsets)
    turn = rng.uniform(0, 2 * np.pi, len(known))[:, np.newaxis] + 2 * np.pi * np.arange(offsets) / offsets
    least = np.broadcast_to(np.asarray(distance, dtype=float), valid.shape)[rows]
    away = np.radians(least * rng.uniform(1, _RING, len(rows)) / 3600)
    here = unit_vectors(coord[known])
    # Any two axes across the direction will do, and these are good at the poles too.
    helper = np.eye(3)[np.argmin(np.abs(here), axis=1)]
    one = np.cross(here, helper)
    one /= np.linalg.norm(one, axis=1, keepdims=True)
    other = np.cross(here, one)
    angle = turn.ravel()
    across = np.cos(angle)[:, None] * np.repeat(one, offsets, axis=0)
    across += np.sin(angle)[:, None] * np.repeat(other, offsets, axis=0)
    x, y, z = (np.cos(away)[:, None] * np.repeat(here, offsets, axis=0) + np.sin(away)[:, None] * across).T
    return rows, SkyCoord(np.arctan2(y, x) * u.rad, np.arctan2(z, np.hypot(x, y)) * u.rad, frame="icrs")


def _chord(arcsec: float) -> float:
    """Return the straight distance between two unit vectors that are so far apart."""
    return 2 * np.sin(np.radians(min(arcsec, 180 * 3600.0) / 3600) / 2)


def _arcsec(chord: np.ndarray) -> np.ndarray:
    """Return how far apart two unit vectors are whose straight distance is known."""
    return np.degrees(2 * np.arcsin(np.minimum(chord / 2, 1))) * 3600


def _ring_densities(
    distance: np.ndarray, wanted: np.ndarray, close: np.ndarray, area: np.ndarray
) -> np.ndarray:
    """Return the density in rings about some rows, as wide as the crowd is alike.

    ``distance`` is that of the neighbours number ``wanted``, ``close`` how many of them do not count,
    for they are within ``area``.
    """
    out = cap_area(_arcsec(distance))
    in_ring = wanted - close[:, np.newaxis]
    ring = np.maximum(out - area[:, np.newaxis], _LEAST_AREA)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The last neighbour makes the ring: without it the mean is right.
        densities = np.where(in_ring > 1, (in_ring - 1) / ring, np.nan)
    found = densities[:, 0]
    alike = np.ones(len(found), dtype=bool)
    for number in (1, 2):
        with np.errstate(divide="ignore", invalid="ignore"):
            scatter = 2 / np.sqrt(np.maximum(in_ring[:, number - 1] - 1, 1))
            alike &= np.abs(np.log(densities[:, number] / found)) < scatter
        found = np.where(alike, densities[:, number], found)
    return found


def _tree(vectors: np.ndarray) -> cKDTree:
    return cKDTree(vectors, balanced_tree=False, compact_nodes=False)  # made in half the time


def _density_of_rows(tree: cKDTree, vectors: np.ndarray, arcsec: float) -> np.ndarray:
    """Return the density around positions that are sorted by place; of very many, a part is looked at."""
    step = -(-len(vectors) // _MOST_COUNTED)
    looked_at = vectors[::step]
    density = _local_density(tree, looked_at, arcsec)
    return density if step == 1 else density[_tree(looked_at).query(vectors)[1]]


def _local_density(tree: cKDTree, vectors: np.ndarray, arcsec: float) -> np.ndarray:
    """Return the density of a reference, per arcsec², around positions, what is within a radius left out.

    The density in a ring from the radius, or the nearest neighbour, to the 8th or so; to the
    16th and 32nd where the density there is the same within its error, after Lepski (1991, Theory
    Probab. Appl. 35, 454), so that small crowded fields are not thinned by the emptiness around
    them.
    """
    area, chord = float(cap_area(arcsec)), _chord(arcsec)
    found = np.full(len(vectors), np.nan)
    left = np.arange(len(vectors))
    for factor in _FACTORS:
        if not len(left):
            break
        numbers = [*range(1, 8 * factor + 1), 16 * factor, 32 * factor]
        distance, _ = tree.query(vectors[left], k=[min(number, tree.n) for number in numbers])
        # Of a small reference, the last one stands for those that it does not have.
        distinct = np.array(numbers) <= tree.n
        close = np.count_nonzero((distance <= chord) & distinct, axis=1)
        done = (close <= 8 * factor - _LEAST_IN_RING) | (tree.n <= 8 * factor)
        wanted = np.minimum(np.array(numbers[-3:]), tree.n)
        # The nearest may be the true one, beyond the radius too: the ring begins behind it.
        inner = np.maximum(area, cap_area(_arcsec(distance[done, 0])))
        found[left[done]] = _ring_densities(distance[done, -3:], wanted, np.maximum(close[done], 1), inner)
        left = left[~done]
    if len(left):  # so many that they tell the density themselves; one may be the counterpart
        close = tree.query_ball_point(vectors[left], chord, return_length=True)
        found[left] = np.maximum(close - 1, 0) / area
    # A reference of one or two rows has no neighbours: as if it were spread over the whole sky.
    return np.maximum(np.nan_to_num(found), tree.n / cap_area(np.inf))


def nearest_at_hand(
    here: SkyCoord, there: SkyCoord, *, valid: np.ndarray, remote_valid: np.ndarray
) -> np.ndarray:
    """Return how far the nearest object is from each row, however far.

    Parameters
    ----------
    here, there, valid, remote_valid
        As in `background_at_hand`.

    Returns
    -------
    (m,) array of float
        In arcsec, of the rows that have a position.

    Examples
    --------
    >>> pole, one = SkyCoord([0.0] * u.deg, [90.0] * u.deg), np.ones(1, dtype=bool)
    >>> nearest_at_hand(pole, SkyCoord([7.0] * u.deg, [89.0] * u.deg), valid=one, remote_valid=one).round(6)
    array([3600.])
    """
    tree = _tree(unit_vectors(there[remote_valid]))
    return _arcsec(tree.query(unit_vectors(here[valid]))[0])


def background_at_hand(
    here: SkyCoord,
    there: SkyCoord,
    radius: u.Quantity,
    *,
    valid: np.ndarray,
    remote_valid: np.ndarray,
) -> Background:
    """Return the background of a match with a table at hand.

    Parameters
    ----------
    here : (n,) `~astropy.coordinates.SkyCoord`
        Local positions.
    there : (k,) `~astropy.coordinates.SkyCoord`
        Those of the reference.
    radius : `~astropy.units.Quantity` [angle]
        What is closer is a candidate and does not count.
    valid, remote_valid : (n,) and (k,) array of bool
        Rows that have a position.

    Returns
    -------
    Background

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> ref = SkyCoord(rng.uniform(10, 11, 500) * u.deg, rng.uniform(-0.5, 0.5, 500) * u.deg)
    >>> here, one, every = SkyCoord([10.5] * u.deg, [0.0] * u.deg), np.ones(1, bool), np.ones(500, bool)
    >>> found = background_at_hand(here, ref, 1 * u.arcsec, valid=one, remote_valid=every)
    >>> bool(250 < found.density[0] * 3600**2 < 1000)
    True
    """
    arcsec = radius.to_value(u.arcsec)
    remote_rows = np.flatnonzero(remote_valid)
    thin = max(-(-len(remote_rows) // _MOST_REFERENCE), 1)
    tree = _tree(unit_vectors(there[remote_rows[::thin]]))
    rows = np.flatnonzero(valid)
    vectors = unit_vectors(here[rows])
    # Neighbours of neighbours lie side by side in memory.
    near = np.lexsort((vectors[:, 0].round(2), vectors[:, 2].round(2)))
    density = np.full(len(valid), np.nan)
    density[rows[near]] = _density_of_rows(tree, vectors[near], arcsec) * (len(remote_rows) / tree.n)
    if radius > _LARGEST:
        none = np.empty(0, dtype=np.int64)
        return Background(density, np.empty(0), none, none)
    # Where the radius is smaller than the errors, that many radii are not enough.
    apart = 1 / np.sqrt(np.pi * density[rows[near]])
    distance = np.maximum(_SHIFT * arcsec, np.minimum(apart, _NEAR))
    moved_from, moved = shifted_positions(
        here[rows[near]], np.ones(len(rows), dtype=bool), distance, most=_MOST_SHIFTED
    )
    every = np.ones(len(moved), dtype=bool)
    i, met, separation = close_pairs(
        moved, there, radius, valid=every, remote_valid=remote_valid, nearest=True
    )
    area = np.full(len(moved), np.inf)
    area[i] = cap_area(separation)
    facts = {"shifted_positions": len(moved_from)}
    return Background(density, area, rows[near][moved_from], met, facts)


def background_by_asking(
    here: SkyCoord,
    valid: np.ndarray,
    radius: u.Quantity,
    probe: Callable[[SkyCoord, u.Quantity], np.ndarray],
    *,
    most: int,
    reach: u.Quantity,
) -> Background:
    """Return the background of a match with a service, from the nearest objects at a few places.

    Parameters
    ----------
    here : (n,) `~astropy.coordinates.SkyCoord`
        Local positions.
    valid : (n,) array of bool
        Rows that have one.
    radius : `~astropy.units.Quantity` [angle]
        That of the match.
    probe : callable
        Takes positions and a radius, returns the separation [arcsec] of the nearest object at
        each; infinity if there is none.  It is called once.
    most : int
        Positions at most.
    reach : `~astropy.units.Quantity` [angle]
        How far to look around each.

    Returns
    -------
    Background

    Notes
    -----
    Positions are moved by more than ``reach`` and the radius, so that no true counterpart is met, and by no
    more than that needs: in a clump they soon lie where it is thin.  The density
    around a row is that of the 16 positions nearest to it: objects met over area seen until
    then, the likeliest for a censored exponential distribution, drawn to the mean of all by
    the weight of one object.

    Examples
    --------
    >>> here = SkyCoord([10.0, 20.0] * u.deg, [0.0, 0.0] * u.deg)
    >>> def probe(there, reach):
    ...     return np.full(len(there), 30.0)
    >>> both = np.ones(2, dtype=bool)
    >>> found = background_by_asking(here, both, 1 * u.arcsec, probe, most=32, reach=60 * u.arcsec)
    >>> bool(np.allclose(found.density, 1 / cap_area(30.0)))
    True
    """
    distance = float((reach + radius).to_value(u.arcsec))
    offsets = int(np.clip(most // max(np.count_nonzero(valid), 1), 1, _PROBES_A_ROW))
    rows, moved = shifted_positions(here, valid, distance, offsets=offsets, most=most)
    nearest = probe(moved, reach)
    met = np.isfinite(nearest)
    seen = cap_area(np.where(met, nearest, reach.to_value(u.arcsec)))
    mean = max(met.sum(), 0.5) / seen.sum()
    tree = _tree(unit_vectors(moved))
    known = np.flatnonzero(valid)
    _, near = tree.query(unit_vectors(here[known]), k=list(range(1, min(_PROBES_A_ROW, tree.n) + 1)))
    density = np.full(len(valid), np.nan)
    density[known] = (met[near].sum(axis=1) + 1) / (seen[near].sum(axis=1) + 1 / mean)
    facts = {"shifted_positions": len(rows), "objects_met": int(met.sum())}
    if radius > reach:  # what lies between is not known
        none = np.empty(0, dtype=np.int64)
        return Background(density, np.empty(0), none, none, facts)
    within = nearest <= radius.to_value(u.arcsec)
    area = np.where(within, cap_area(np.where(within, nearest, 0.0)), np.inf)
    return Background(density, area, rows, np.empty(0, dtype=np.int64), facts)
