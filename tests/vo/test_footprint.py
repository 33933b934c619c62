from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable

import astro_cluster as ac
from astro_cluster.vo.footprint import moc, write_moc

mocpy = pytest.importorskip("mocpy", exc_type=ImportError)


@pytest.fixture
def cat():
    rng = np.random.default_rng(4)
    cat = QTable({"ra": rng.uniform(0, 360, 200) * u.deg})
    cat["dec"] = np.degrees(np.arcsin(rng.uniform(-1, 1, 200))) * u.deg
    cat["cluster"] = rng.integers(-1, 3, 200)
    return cat


def sky(cat):
    return SkyCoord(cat["ra"], cat["dec"])


def test_ours_is_the_public_one():
    assert ac.moc is moc


@pytest.mark.parametrize("order", [0, 3, 10, 29])
def test_cells_of_an_order(cat, order):
    found = moc(cat, order=order)
    assert np.all(found.contains_skycoords(sky(cat)))
    assert found.max_order == order
    # No cell without a row: there are no more than rows.
    assert len(found.to_order(order).flatten()) <= min(200, 12 * 4**order)


def test_the_default_order(cat):
    assert moc(cat).max_order == 10


def test_a_footprint_a_cluster(cat):
    found = moc(cat, by="cluster", order=6)
    assert list(found) == [-1, 0, 1, 2]
    assert all(type(label) is int for label in found)
    for label, footprint in found.items():
        assert np.all(footprint.contains_skycoords(sky(cat)[cat["cluster"] == label]))
    together = mocpy.MOC.new_empty(6).union(*found.values())
    assert together == moc(cat, order=6)


@pytest.mark.parametrize("lat", [0.0, 60.0, 90.0])
@pytest.mark.parametrize("radius", [20 * u.arcsec, 0.5 * u.deg, 10 * u.deg])
def test_the_area_of_a_circle(lat, radius):
    cat = QTable({"ra": [359.999] * u.deg, "dec": [lat] * u.deg})
    wanted = (1 - np.cos(radius)) / 2
    found = moc(cat, radius=radius).sky_fraction
    assert wanted < found < 1.8 * wanted
    assert moc(cat, radius=radius, order=18 if radius < 1 * u.deg else 12).sky_fraction < found


def test_circles_are_covered_entirely(cat):
    cat["r"] = np.random.default_rng(0).uniform(0.1, 2, 200) * u.deg
    found = moc(cat, radius="r", order=8)
    rng = np.random.default_rng(1)
    share = np.concatenate([np.full(50, 0.99999), np.sqrt(rng.uniform(0, 1, 50))])[:, None]
    around = sky(cat)[None].directional_offset_by(
        rng.uniform(0, 360, (100, 1)) * u.deg, share * cat["r"][None]
    )
    assert np.all(found.contains_skycoords(around.ravel()))


def test_another_frame(cat):
    galactic = sky(cat).galactic
    other = QTable({"l": galactic.l, "b": galactic.b})
    assert moc(other, order=7) == moc(cat, order=7)


def test_rows_that_cannot_be_used(cat):
    cat["r"] = np.ones(200) * u.deg
    cat["r"][3] = np.nan
    cat["dec"][:2] = np.nan
    cat["cluster"] = MaskedColumn(cat["cluster"], mask=np.arange(200) == 5)
    with pytest.warns(ac.AstroClusterWarning, match="2 have no position, 1 have no radius, 1 have no label"):
        found = moc(cat, by="cluster", radius="r", order=5)
    both = mocpy.MOC.new_empty(5).union(*found.values())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert both == moc(cat[[2, 4, *range(6, 200)]], radius="r", order=5)


def test_some_rows(cat):
    assert moc(cat, rows=[0], order=9).sky_fraction == pytest.approx(1 / (12 * 4**9))


@pytest.mark.parametrize("ending", ["fits", "json", "txt"])
def test_written_and_read(cat, tmp_path, ending):
    found = moc(cat, order=6)
    path = write_moc(found, tmp_path / f"a.{ending}")
    words = {"fits": "fits", "json": "json", "txt": "ascii"}
    assert mocpy.MOC.load(str(path), format=words[ending]) == found
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    with pytest.raises(ac.InputError, match="exists already"):
        write_moc(found, path)
    write_moc(found, path, overwrite=True)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"order": -1}, "order=-1 is no HEALPix order; give a whole number from 0 to 29"),
        ({"order": 30}, "order=30"),
        ({"order": 2.5}, "order=2.5"),
        ({"order": True}, "order=True"),
        ({"radius": 3}, "radius=3 is no angle"),
        ({"radius": "dec"}, "no row has all of position, radius"),
        ({"by": "ra"}, "'ra' holds no cluster numbers"),
        ({"by": "x"}, "no column 'x'"),
        ({"rows": [200]}, "rows= gives no rows"),
    ],
)
def test_what_is_wrong_is_said(cat, how, words):
    cat["dec"] = -np.abs(cat["dec"])
    with pytest.raises(ac.InputError, match=words):
        moc(cat, **how)


@pytest.mark.parametrize("name", ["a.vot", "a", "no/a.fits"])
def test_a_file_that_cannot_be(cat, tmp_path, name):
    with pytest.raises(ac.InputError, match=r"cannot tell in which format|there is no folder"):
        write_moc(moc(cat), tmp_path / name)


def test_without_mocpy(cat, monkeypatch):
    monkeypatch.setitem(sys.modules, "mocpy", None)
    with pytest.raises(ac.InputError, match=r"pip install astro_cluster\[moc\]"):
        moc(cat)
