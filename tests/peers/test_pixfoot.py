"""Footprints against those of STILTS."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable

import astro_cluster as ac
from astro_cluster.vo.footprint import write_moc

pytestmark = pytest.mark.peers
mocpy = pytest.importorskip("mocpy", exc_type=ImportError)


@pytest.fixture
def cat():
    rng = np.random.default_rng(1)
    cat = QTable({"ra": rng.uniform(0, 360, 500) * u.deg})
    cat["dec"] = np.degrees(np.arcsin(rng.uniform(-1, 1, 500))) * u.deg
    cat["r"] = rng.uniform(1, 60, 500) * u.arcmin
    return cat


@pytest.fixture
def pixfoot(stilts, cat, tmp_path):
    """Return a function that has STILTS make a footprint of the table."""

    def run(order, radius):
        where = ac.write(cat, tmp_path / "cat.fits", overwrite=True)
        out = tmp_path / "stilts.fits"
        said = stilts("pixfoot", f"in={where}", f"order={order}", "ra=ra", "dec=dec", f"radius={radius}",
                      "mocfmt=fits", f"out={out}")  # fmt: skip
        assert said == ""
        return mocpy.MOC.load(str(out), format="fits")

    return run


@pytest.mark.parametrize("order", [4, 8, 12])
def test_the_cells_of_rows(pixfoot, cat, order, tmp_path):
    theirs = pixfoot(order, 0)
    assert ac.moc(cat, order=order) == theirs
    path = write_moc(ac.moc(cat, order=order), tmp_path / "ours.fits")
    assert mocpy.MOC.load(str(path), format="fits") == theirs


def test_circles(pixfoot, cat):
    """Both are a little too large at the edges; nothing of a circle is missing in ours."""
    theirs, ours = pixfoot(9, "r/60."), ac.moc(cat, radius="r", order=9)
    wanted = np.sum((1 - np.cos(cat["r"])) / 2)
    assert wanted < ours.sky_fraction < theirs.sky_fraction < 1.5 * wanted
    assert ours.difference(theirs).sky_fraction < 1e-3 * wanted
    sky = SkyCoord(cat["ra"], cat["dec"])
    rim = sky[None].directional_offset_by(np.arange(0, 360, 3)[:, None] * u.deg, 0.99999 * cat["r"][None])
    assert np.all(ours.contains_skycoords(rim.ravel()))


def test_a_file_that_stilts_reads(stilts, cat, tmp_path):
    path = write_moc(ac.moc(cat, order=6), tmp_path / "ours.fits")
    where = ac.write(cat, tmp_path / "cat.fits")
    said = stilts("tpipe", f"in={where}", f"cmd=select 'inMoc(\"{path}\",ra,dec)'", "omode=count")
    assert "rows: 500" in said
