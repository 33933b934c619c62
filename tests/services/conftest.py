"""A stand-in for a TAP service, configured as SIMBAD's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table

from astro_cluster import conf

from . import tap_server


def _around(rng: np.random.Generator, n: int, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Return n positions [deg] within ``size`` deg of a point on the meridian of 0 h."""
    angle, distance = rng.uniform(0, 360, n) * u.deg, size * np.sqrt(rng.uniform(0, 1, n)) * u.deg
    there = SkyCoord(0 * u.deg, 5 * u.deg).directional_offset_by(angle, distance)
    return there.ra.deg, there.dec.deg


@pytest.fixture(scope="session")
def basic() -> Table:
    """The remote table."""
    rng = np.random.default_rng(7)
    return tap_server.small_simbad(rng, *_around(rng, 300, 0.02))


@pytest.fixture
def local() -> QTable:
    """A local table of 200 rows in the same field; rows 3 and 50 have no position."""
    ra, dec = _around(np.random.default_rng(8), 200, 0.02)
    ra[3], dec[50] = np.nan, np.nan
    return QTable({"name": [f"n{i}" for i in range(200)], "ra": ra * u.deg, "dec": dec * u.deg})


@pytest.fixture
def tap(basic: Table, tmp_path: Path) -> Iterator[tap_server.TapServer]:
    """The stand-in; after each test nothing may run any more on our side, nor lie on the service's."""
    odd = basic.copy()
    odd.rename_columns(["ra", "dec", "sp_type", "nbref"], ["RA_ICRS", "DE_ICRS", "2MASS", "size"])
    with (
        tap_server.tap_service({"basic": basic, "I/355/gaiadr3": odd, "my.table": odd}) as server,
        conf.set_temp("simbad_tap_url", server.url),
        conf.set_temp("vizier_tap_url", server.url),
        conf.set_temp("registry_url", server.url),
        conf.set_temp("cache_dir", str(tmp_path / "cache")),
        conf.set_temp("retries", 3),
        conf.set_temp("retry_wait", 0.01),
        conf.set_temp("tap_interval", 0.0),
        conf.set_temp("timeout", 10.0),
    ):
        yield server
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
