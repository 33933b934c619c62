"""Proper motions: the transformation, and when it is made."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable
from astropy.time import Time

from astro_cluster import AstroClusterWarning, InputError, crossmatch, records
from astro_cluster.matching.epochs import Motion, find_motion, julian_year, move


def moving(n=50, seed=0, epoch=2016.0):
    rng = np.random.default_rng(seed)
    table = QTable(
        {"ra": rng.uniform(0, 360, n) * u.deg, "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, n))) * u.deg}
    )
    for name in ("pmra", "pmdec"):
        table[name] = rng.normal(scale=500, size=n) * u.mas / u.yr
    table["ref_epoch"] = np.full(n, epoch) * u.yr
    return table


def test_agrees_with_astropy():
    table = moving()
    start = SkyCoord(table["ra"], table["dec"])
    found, moved = move(start, find_motion(table, None), 1950.0)
    full = SkyCoord(
        table["ra"],
        table["dec"],
        pm_ra_cosdec=table["pmra"],
        pm_dec=table["pmdec"],
        obstime=Time(2016, format="jyear"),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the missing distances
        wanted = full.apply_space_motion(Time(1950, format="jyear"))
    assert moved.all()
    assert np.max(found.separation(wanted).arcsec) < 1e-4
    assert np.max(start.separation(wanted).arcsec) > 30


def test_across_the_pole():
    table = QTable({"pmra": [0.0] * u.arcsec / u.yr, "pmdec": [1.0] * u.arcsec / u.yr})
    start = SkyCoord([30.0] * u.deg, [90 - 10 / 3600] * u.deg)
    found, _ = move(start, find_motion(table, 2000.0), 2020.0)
    assert found.ra.deg[0] == pytest.approx(210.0)
    assert (90 - found.dec.deg[0]) * 3600 == pytest.approx(10.0)


def test_rows_without_motion_stay():
    table = moving(3)
    table["pmra"][1] = np.nan
    table["ref_epoch"][2] = np.nan
    start = SkyCoord(table["ra"], table["dec"])
    found, moved = move(start, find_motion(table, None), 2000.0)
    assert moved.tolist() == [True, False, False]
    assert found.separation(start).arcsec[1:].tolist() == pytest.approx([0, 0], abs=1e-9)


def test_a_fast_star_is_found_only_by_its_motion():
    gaia = QTable(
        {
            "ra": [100.0] * u.deg,
            "dec": [20.0] * u.deg,
            "pmra": [0.0] * u.mas / u.yr,
            "pmdec": [1000.0] * u.mas / u.yr,
        }
    )
    then = QTable({"ra": [100.0] * u.deg, "dec": [20.0 - 16 / 3600] * u.deg, "id": ["star"]})
    with pytest.warns(AstroClusterWarning, match="no row has a counterpart"):
        assert crossmatch(gaia, then)["match_separation"].mask.all()
    out = crossmatch(gaia, then, epoch=2016.0, reference_epoch=Time("J2000"))
    assert out["id"][0] == "star"
    assert out["match_separation"][0] < 1e-3 * u.arcsec
    assert u.allclose(out["dec"], gaia["dec"])
    record = records(out)[-1]
    assert record["epochs"] == {
        "local": 2016.0,
        "reference": pytest.approx(2000.0),
        "compared_at": pytest.approx(2000.0),
        "rows_moved": 1,
        "reference_rows_moved": 0,
    }
    assert set(record["inputs"]) == {"ra", "dec", "pmra", "pmdec"}
    assert record["parameters"]["reference_epoch"] == pytest.approx(2000.0)


def test_the_reference_moves_if_the_table_cannot():
    gaia = QTable(
        {
            "ra": [100.0],
            "dec": [20.0],
            "pmra": [0.0] * u.mas / u.yr,
            "pmdec": [1000.0] * u.mas / u.yr,
            "ref_epoch": [2016.0],
        }
    )
    then = QTable({"ra": [100.0], "dec": [20.0 - 16 / 3600]})
    out = crossmatch(then, gaia, epoch=2000.0)
    assert out["match_separation"][0] < 1e-3 * u.arcsec
    assert records(out)[-1]["epochs"]["reference_rows_moved"] == 1


def test_equal_or_unknown_epochs_move_nothing():
    table = moving()
    for options in ({"epoch": 2016.0, "reference_epoch": 2016.0}, {}):
        out = crossmatch(table, table, **options)
        assert "epochs" not in records(out)[-1]
        assert np.max(out["match_separation"]) < 1e-9 * u.arcsec


def test_epochs_without_motions_are_warned_of():
    table = QTable({"ra": [1.0], "dec": [1.0]})
    with pytest.warns(AstroClusterWarning, match="no proper motions"):
        crossmatch(table, table, epoch=2016.0, reference_epoch=2000.0)


def test_motion_without_unit_is_in_mas():
    table = QTable({"ra": [1.0], "dec": [1.0], "pmra": [1.0], "pmdec": [1.0]})
    other = QTable({"ra": [1.0], "dec": [1.0]})
    with pytest.warns(AstroClusterWarning, match="taken to be in mas/yr"):
        out = crossmatch(table, other, epoch=2016.0, reference_epoch=2000.0)
    assert out["match_separation"].to_value(u.mas)[0] == pytest.approx(16 * np.sqrt(2), rel=1e-4)


def test_a_wrong_unit_matters_only_when_it_is_used():
    table = QTable({"ra": [1.0], "dec": [1.0], "pmra": [1.0] * u.Jy, "pmdec": [1.0] * u.Jy})
    crossmatch(table, table[["ra", "dec"]])
    with pytest.raises(InputError, match="not a proper motion"):
        crossmatch(table, table[["ra", "dec"]], epoch=2016.0, reference_epoch=2000.0)


@pytest.mark.parametrize("epoch", [57000.0, "last year", [2000, 2001]])
def test_what_is_no_epoch(epoch):
    with pytest.raises(InputError, match="epoch="):
        julian_year(epoch)


def test_motion_of_a_remote_table_is_unknown():
    assert find_motion(None, None) is None
    assert Motion(np.array([2000.0])).read() is None
