"""Random fields on the sky, and the stand-in for the CDS."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table

from astro_cluster import conf


@pytest.fixture(scope="session")
def peer() -> ModuleType:
    """The module of the stand-in; the tests are no package, so it is loaded from its file."""
    path = Path(__file__).parents[1] / "peers" / "cds_xmatch_server.py"
    spec = importlib.util.spec_from_file_location("cds_xmatch_server", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def sky_field(rng: np.random.Generator, n: int, ra: float, dec: float, size: float) -> tuple[Any, Any]:
    """Return n positions [deg] within ``size`` deg around a point, true on the sphere."""
    from astropy.coordinates import SkyCoord

    centre = SkyCoord(ra * u.deg, dec * u.deg)
    angle, distance = rng.uniform(0, 360, n) * u.deg, size * np.sqrt(rng.uniform(0, 1, n)) * u.deg
    there = centre.directional_offset_by(angle, distance)
    return there.ra.deg, there.dec.deg


FIELDS = {"equator": (180, 0), "wrap": (0, 5), "north pole": (77, 90), "south pole": (10, -89.999)}


@pytest.fixture(params=FIELDS, scope="session")
def field_pair(request: pytest.FixtureRequest) -> tuple[QTable, QTable]:
    """Two crowded tables around an awkward place; separations of arcseconds."""
    rng = np.random.default_rng(sum(map(ord, request.param)))
    tables = []
    for n, label in ((400, "a"), (300, "b")):
        ra, dec = sky_field(rng, n, *FIELDS[request.param], 0.02)
        tables.append(QTable({"row" + label: np.arange(n), "ra": ra * u.deg, "dec": dec * u.deg}))
    return tables[0], tables[1]


@pytest.fixture(scope="session")
def catalogue() -> Table:
    """A catalogue as VizieR has them: units, UCDs, descriptions, masks, awkward names."""
    rng = np.random.default_rng(7)
    n = 300
    ra, dec = sky_field(rng, n, 0, 5, 0.02)
    mag = np.ma.array(rng.uniform(10, 20, n), mask=rng.uniform(size=n) < 0.2)
    table = Table(
        {
            "main_id": [f"Obj {i}" for i in range(n)],
            "ra": ra * u.deg,
            "dec": dec * u.deg,
            "2MASS": [f"J{i:05d}" for i in range(n)],
            "Jmag": mag,
            "nbref": np.ma.array(np.arange(n), mask=np.arange(n) % 5 == 0),
            "source_id": np.arange(n) + 4_611_686_018_427_387_904,
        }
    )
    table["Jmag"].unit = u.mag
    table["Jmag"].description = "J magnitude"
    table["Jmag"].info.meta = {"ucd": "phot.mag;em.IR.J"}
    table["main_id"].info.meta = {"ucd": "meta.id;meta.main"}
    table["ra"].info.meta = {"ucd": "pos.eq.ra;meta.main"}
    table["dec"].info.meta = {"ucd": "pos.eq.dec;meta.main"}
    return table


@pytest.fixture
def local() -> QTable:
    """A local table of 200 rows in the same field; rows 3 and 50 have no position."""
    ra, dec = sky_field(np.random.default_rng(8), 200, 0, 5, 0.02)
    ra[3], dec[50] = np.nan, np.nan
    return QTable({"name": [f"n{i}" for i in range(200)], "ra": ra * u.deg, "dec": dec * u.deg})


@pytest.fixture
def cds(peer: ModuleType, catalogue: Table, tmp_path: Path) -> Iterator[Any]:
    """The stand-in, configured as the service; answers are kept in an own folder.

    How many matches are false is not asked for, so that the requests are those of the match.
    """
    known = peer.Catalogue(catalogue, "ra", "dec")
    with (
        peer.cds_xmatch({"simbad": known, "II/246/out": known}) as server,
        conf.set_temp("xmatch_url", server.url),
        conf.set_temp("false_match_rows", 0),
        conf.set_temp("cache_dir", str(tmp_path / "cache")),
        conf.set_temp("retry_wait", 0.01),
        conf.set_temp("timeout", 10.0),
    ):
        yield server


@pytest.fixture
def stilts(require_program: Callable[[str], str], tmp_path: Path) -> Callable[..., Table]:
    """Return a function that runs a STILTS task and gives the table that it writes."""
    program = require_program("stilts")

    def run(task: str, *arguments: str) -> Table:
        out = tmp_path / "stilts.vot"
        command = [program, task, *arguments, f"out={out}", "ofmt=votable-tabledata"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return Table.read(out, format="votable", use_names_over_ids=True)

    return run


@pytest.fixture(scope="session")
def skies() -> Callable[..., tuple[QTable, QTable]]:
    """The function that simulates two catalogues whose true pairs are known."""
    path = Path(__file__).parent / "skies.py"
    spec = importlib.util.spec_from_file_location("skies", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.two_catalogues
