"""Matches compared pair by pair."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table

RADIUS = 60 * u.arcsec


def around(objects: Table, n_crowded: int = 600) -> QTable:
    """Return positions around every fifth object and around the crowded ones, a tenth far from any."""
    rng = np.random.default_rng(11)
    there = SkyCoord(np.asarray(objects["ra"]), np.asarray(objects["dec"]), unit="deg")
    crowded = there.match_to_catalog_sky(there, nthneighbor=2)[1] < RADIUS
    chosen = np.union1d(np.arange(0, len(objects), 5), np.flatnonzero(crowded)[:n_crowded])
    angle = rng.uniform(0, 360, len(chosen)) * u.deg
    far = np.where(rng.uniform(size=len(chosen)) < 0.1, 3, 0.4)
    here = there[chosen].directional_offset_by(angle, far * rng.uniform(0.2, 1, len(chosen)) * RADIUS)
    return QTable({"my_id": np.arange(len(chosen)), "ra": here.ra, "dec": here.dec})


def pairs(table: Table, separation: str = "match_separation") -> list[tuple[Any, ...]]:
    """Return both names of each pair, with its separation [µas]; no name where there is none."""
    fills = {"my_id": -1, "main_id": ""}
    names = [np.ma.filled(np.ma.asarray(table[name]), fill) for name, fill in fills.items()]
    gap = getattr(table[separation], "unmasked", table[separation])
    arcsec = np.ma.filled(np.ma.masked_invalid(np.ma.asarray(getattr(gap, "value", gap))), -1.0)
    return sorted(zip(*names, np.round(arcsec.astype(float) * 1e6).astype(int).tolist(), strict=True))


def assert_pairs(got: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> None:
    """Assert that the pairs are the same, with separations up to the µas that services round to."""
    assert [pair[:2] for pair in got] == [pair[:2] for pair in expected]
    assert max(abs(a[2] - b[2]) for a, b in zip(got, expected, strict=True)) <= 1
