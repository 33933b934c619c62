"""DaCHS as SIMBAD, asked by others' programs: so that we know what our own are tested against."""

from __future__ import annotations

import numpy as np
import pytest
import pyvo
import requests
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky
from astropy.table import Table

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.usefixtures("_sockets_of_others"),
]

JOIN = """
SELECT t.my_id, b.oid, DISTANCE(POINT('ICRS', b.ra, b.dec), POINT('ICRS', t.ra, t.dec)) * 3600 AS sep
FROM TAP_UPLOAD.mine AS t
JOIN basic AS b ON 1 = CONTAINS(POINT('ICRS', b.ra, b.dec), CIRCLE('ICRS', t.ra, t.dec, 5. / 3600.))
"""


@pytest.fixture(scope="module")
def tap(simbad_tap):
    with requests.Session() as session:
        yield pyvo.dal.TAPService(simbad_tap, session=session)


@pytest.fixture(scope="module")
def basic(tap):
    return tap.search("SELECT oid, main_id, ra, dec, otype FROM basic", maxrec=100_000).to_table()


def test_the_rows_are_real(real_data, basic):
    """Without the real rows this is skipped, and all others run with simulated ones."""
    assert len(basic) == 4678
    row = basic[basic["main_id"] == "QSO B2359+005"][0]
    assert (row["ra"], row["dec"], row["otype"]) == (0.6279835185, 0.8330952595, "QSO")


@pytest.mark.parametrize("how", ["run_sync", "run_async"])
def test_pyvo_joins_an_uploaded_table(tap, basic, how):
    rng = np.random.default_rng(3)
    chosen = rng.integers(0, len(basic), 2000)
    ra, dec = (np.asarray(basic[name])[chosen] + rng.normal(0, 1 / 3600, 2000) for name in ("ra", "dec"))
    mine = Table({"my_id": np.arange(2000), "ra": ra, "dec": dec})
    found = getattr(tap, how)(JOIN, uploads={"mine": mine}, maxrec=100_000).to_table()
    there = SkyCoord(np.asarray(basic["ra"]), np.asarray(basic["dec"]), unit="deg")
    i, j, arcsec, _ = search_around_sky(SkyCoord(ra, dec, unit="deg"), there, 5 * u.arcsec)
    expected = dict(zip(zip(i, basic["oid"][j], strict=True), arcsec.to_value(u.arcsec), strict=True))
    got = {(row["my_id"], row["oid"]): row["sep"] for row in found}
    assert len(found) == len(got) >= 1900
    assert got.keys() == expected.keys()
    np.testing.assert_allclose([got[key] for key in expected], list(expected.values()), atol=1e-6)


def test_the_schema_is_simbads(tap):
    columns = tap.search("SELECT * FROM TAP_SCHEMA.columns WHERE table_name = 'basic'").to_table()
    assert len(columns) == 67
    row = columns[columns["column_name"] == "plx_value"][0]
    assert (row["unit"], row["ucd"], row["description"]) == ("mas", "pos.parallax.trig", "Parallax")
    found = tap.search("SELECT TOP 1 ra, pmra FROM basic")
    assert found.getdesc("ra").ucd == "pos.eq.ra;meta.main"
    assert found.getdesc("pmra").unit == u.mas / u.yr


@pytest.fixture
def simbad(simbad_https, monkeypatch):
    """astroquery's client, unmodified."""
    import astroquery.simbad

    known = [*astroquery.simbad.conf.servers_list, simbad_https]
    monkeypatch.setattr(type(astroquery.simbad.conf), "servers_list", known)
    client = astroquery.simbad.SimbadClass()
    client.server = simbad_https
    client.clear_cache()
    return client


def test_astroquery_uploads(simbad, basic):
    query = "SELECT t.k, b.main_id FROM TAP_UPLOAD.t AS t JOIN basic AS b ON b.oid = t.k"
    found = simbad.query_tap(query, t=Table({"k": [3, 1, 2]}))
    names = dict(zip(basic["oid"], basic["main_id"], strict=True))
    assert {row["k"]: row["main_id"] for row in found} == {k: names[k] for k in (1, 2, 3)}


def test_astroquery_looks_into_a_cone(simbad, basic):
    there = SkyCoord(np.asarray(basic["ra"]), np.asarray(basic["dec"]), unit="deg")
    i, _, _, _ = search_around_sky(there, there, 10 * u.arcmin)
    crowded = np.bincount(i).argmax()  # the object with most neighbours
    near = there.separation(there[crowded]) <= 10 * u.arcmin
    assert near.sum() >= 10
    simbad.add_votable_fields("otype", "parallax", "V", "ids")
    found = simbad.query_region(there[crowded], radius=10 * u.arcmin)
    assert sorted(found["main_id"]) == sorted(basic["main_id"][near])
    assert {"otype", "plx_value", "V", "ids"} <= set(found.colnames)
    assert found["plx_value"].unit == u.mas


def test_astroquery_finds_names(simbad, basic):
    names = [basic["main_id"][0], "no such object", "TEST 7"]
    found = simbad.query_objects(names)
    got = dict(zip(found["user_specified_id"], np.ma.filled(found["main_id"], ""), strict=True))
    assert got == dict(zip(names, [names[0], "", basic["main_id"][basic["oid"] == 7][0]], strict=True))
