"""A match by TAP gives what a match at hand gives, whatever the limits of the service."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import pyvo
from astropy import units as u
from astropy.table import QTable

import astro_cluster as ac
from astro_cluster import InputError, ServiceError, conf
from astro_cluster.matching.find import FIND_MODES
from astro_cluster.tables import float_values

from . import tap_server

RADIUS = 10 * u.arcsec


def match(*args, **options):
    """A match that asks for nothing else."""
    return ac.crossmatch(*args, **{"false_matches": False, **options})


def plain(column):
    """A column as a list, None where masked."""
    mask = np.broadcast_to(getattr(column, "mask", False), column.shape)
    values = getattr(column, "unmasked", column)
    values = np.asarray(getattr(values, "value", values)).tolist()
    return [None if hidden else value for value, hidden in zip(values, mask, strict=True)]


def same(one, other, columns=None):
    """Whether two results agree row by row."""
    assert len(one) == len(other)
    for name in columns or one.colnames:
        if one[name].dtype.kind == "f":
            np.testing.assert_allclose(
                float_values(one[name]), float_values(other[name]), rtol=0, atol=1e-9, err_msg=name
            )
        else:
            assert plain(one[name]) == plain(other[name]), name


def at_hand(local, basic, columns, **options):
    """The same match with the table at hand."""
    return match(local, QTable(basic), radius=RADIUS, columns=columns, **options)


@pytest.mark.parametrize("find", FIND_MODES)
@pytest.mark.parametrize(("chunk_rows", "sync_rows"), [(None, 2000), (None, 5), (37, 2000)])
def test_every_mode_agrees_with_a_match_at_hand(tap, local, basic, find, chunk_rows, sync_rows):
    columns = ["main_id", "otype", "rvz_redshift", "plx_value"]
    with conf.set_temp("tap_sync_rows", sync_rows):
        out = match(
            local, "simbad", radius=RADIUS, find=find, via="tap", columns=columns, chunk_rows=chunk_rows
        )
    expected = at_hand(local, basic, columns, find=find)
    assert out.colnames == expected.colnames
    same(out, expected)
    assert len(tap.queries) == (1 if chunk_rows is None else 6)  # 198 rows with a position, by 37
    assert tap.n_jobs == (1 if sync_rows == 5 else 0)
    assert tap.jobs == {}
    assert tap.most_running == 1


def test_a_careless_service_changes_nothing(tap, basic):
    """At small angles many services lose digits: what is near enough is decided here."""
    tap.imprecise = True
    rng = np.random.default_rng(1)
    ra = np.asarray(basic["ra"]) + rng.uniform(-1, 1, 300) * 2e-5
    near = QTable({"ra": ra * u.deg, "dec": np.asarray(basic["dec"]) * u.deg})
    for radius in (0.02, 0.05) * u.arcsec:
        out = match(near, "simbad", radius=radius, find="all", via="tap", columns=["oid"])
        same(out, match(near, QTable(basic), radius=radius, find="all", columns=["oid"]))
        assert len(out)


def test_the_schema_of_simbad(tap, local):
    out = match(local, "simbad", radius=RADIUS, via="tap")
    brought = out.colnames[3:]
    assert brought == [
        *("main_id", "ra_2", "dec_2", "coo_err_maj", "coo_err_min", "coo_err_angle", "nbref", "main_type"),
        *("otype", "rvz_radvel", "rvz_redshift", "sp_type", "morph_type", "plx_value", "pmra", "pmdec"),
        *("galdim_majaxis", "galdim_minaxis", "galdim_angle", "match_separation"),
    ]
    assert set(plain(out["main_type"])) >= {"Star", "QSO", "Seyfert1", "EclBin"}
    assert out["plx_value"].unit == u.mas
    assert out["pmra"].unit == u.mas / u.yr
    assert out["plx_value"].info.meta["ucd"] == "pos.parallax.trig"
    assert out["plx_value"].info.description == "Parallax"
    assert not any(name.startswith("ac_") for name in out.colnames)


@pytest.mark.parametrize("old", ["redshift", "Z_VALUE", "rvz_redshift"])
def test_old_names_are_understood(tap, local, old):
    out = match(local, "simbad", radius=RADIUS, via="tap", columns=["MAIN_ID", "main_type", old])
    assert out.colnames[3:] == ["main_id", "main_type", "rvz_redshift", "match_separation"]


def test_any_table_of_any_service(tap, local, basic):
    """Names that need quotes, words of the language, positions found by their UCD."""
    columns = ["main_id", "2MASS", "size", "RVZ_REDSHIFT"]
    expected = at_hand(local, basic, ["main_id", "sp_type", "nbref", "rvz_redshift"])
    tap.registry["ivo://our.own/tap"] = tap.url
    service = pyvo.dal.TAPService(tap.url)
    for reference, options in (
        (f"{tap.url}#my.table", {}),
        (f"{tap.url}#I/355/gaiadr3", {}),
        (tap.url, {"service_table": "I/355/gaiadr3"}),
        ("I/355/gaiadr3", {"via": "tap"}),
        ("ivo://our.own/TAP#my.table", {}),
        (service, {"service_table": "my.table"}),
    ):
        out = match(local, reference, radius=RADIUS, columns=columns, **options)
        assert out.colnames[3:] == ["main_id", "2MASS", "size", "rvz_redshift", "match_separation"]
        for one, other in zip(out.colnames, expected.colnames, strict=True):
            assert plain(out[one])[5:40] == pytest.approx(plain(expected[other])[5:40], abs=1e-9), one
    assert 'r."2MASS", r."size"' in tap.queries[0]["QUERY"]
    assert 'JOIN "I/355/gaiadr3" AS r' in tap.queries[1]["QUERY"]
    every = match(local, service, service_table="my.table", radius=RADIUS, find="best-symmetric")
    assert set(basic.colnames) - set(every.colnames) == {"sp_type", "nbref"}
    same(every, at_hand(local, basic, None, find="best-symmetric"), ["name", "main_id", "match_separation"])


def test_positions_can_be_named(tap, local, basic):
    for position in (("RA_ICRS", "DE_ICRS"), "ra_icrs, de_icrs"):
        out = match(local, f"{tap.url}#my.table", radius=RADIUS, reference_position=position, columns=["oid"])
        same(out, at_hand(local, basic, ["oid"]))


@pytest.mark.parametrize(
    ("reference", "options", "message"),
    [
        ("{url}", {}, "has many tables: say which"),
        ("{url}#my.tables", {}, "has no table 'my.tables'; did you mean 'my.table'"),
        ("{url}#my.table", {"service_table": "basic"}, "names the table 'my.table', and service_table="),
        ("{url}#my.table", {"columns": ["main_idd"]}, "no column 'main_idd' .*did you mean 'main_id'"),
        ("{url}#my.table", {"reference_position": "RA_ICRS"}, "must be two columns"),
        ("{url}#my.table", {"reference_position": ("a", "b")}, "no column 'a'"),
        ("{url}#x'; DROP TABLE y; --", {}, "has no table|cannot be the name"),
        ('{url}#basic" AS r, secret --', {}, "cannot be the name of a table"),
        ("simbad", {"via": "tap", "columns": ["sptype"]}, "did you mean 'sp_type'"),
        ("simbad", {"via": "tap", "reference_position": ("ra", "dec")}, "leave reference_position out"),
        ("simbad", {"service_table": "basic"}, "the reference is none"),
        ("file.vot", {"via": "tap"}, "is not the address of a TAP service"),
        ("ftp://example.org/tap#x", {}, "neither a file nor the address of a service"),
        ("gopher://example.org/tap#x", {"via": "tap"}, "is not the address of a TAP service"),
        ("ivo://no.such/tap#x", {}, "knows no TAP service 'ivo://no.such/tap'"),
        ("ivo://a b/tap#x", {}, "is no identifier of a service"),
        (3.5, {"via": "tap"}, "cannot match with a float by TAP"),
    ],
)
def test_wrong_references(tap, local, reference, options, message):
    if isinstance(reference, str):
        reference = reference.replace("{url}", tap.url)
    with pytest.raises(InputError, match=message):
        match(local, reference, **options)
    assert tap.queries == []


def test_an_address_with_a_password_is_refused(tap, local):
    address = tap.url.replace("http://", "http://me:secret@")
    with pytest.raises(ServiceError, match="has a password in it") as caught:
        match(local, f"{address}#my.table")
    assert "secret" not in str(caught.value)


def test_names_of_columns_cannot_become_pieces_of_the_query(tap, local, basic):
    """Also not where the service does not describe its tables, and names go out as they were given."""
    evil = 'main_id FROM basic AS r; DROP TABLE x --", '
    tap.faults["look_up"].extend([lambda _: tap_server.error_document("no TAP_SCHEMA here")] * 9)
    with pytest.raises(ServiceError, match="no column"):
        match(local, f"{tap.url}#my.table", columns=[evil], reference_position=("RA_ICRS", "DE_ICRS"))
    assert f'r."{evil.replace(chr(34), chr(34) * 2)}"' in tap.queries[0]["QUERY"]


def test_payload_unsent(tap, local):
    form = match(local, "simbad", radius=RADIUS, via="tap", chunk_rows=5, get_query_payload=True)
    assert tap.requests == []
    assert "CIRCLE('ICRS', u.ac_ra, u.ac_dec, 0.0027" in form["QUERY"]
    assert form["upload"].count("<TR>") == 5
    assert "n0" not in form["upload"]
    assert form["upload"].isascii()
    assert form["MAXREC"] == "2000000"


def test_positions_come_out_as_they_went_in(tap, local):
    match(local, "simbad", radius=RADIUS, via="tap")
    sent = tap.queries[0]["table"]
    known = np.isfinite(float_values(local["ra"])) & np.isfinite(float_values(local["dec"]))
    assert np.array_equal(sent["ac_ra"], local["ra"][known].value)
    assert sent.colnames == ["ac_row", "ac_ra", "ac_dec"]


def test_gaia_goes_to_simbad_at_its_epoch(tap):
    table = QTable(
        {"ra": [100.0], "dec": [0.0], "pmra": [1000.0] * u.mas / u.yr, "pmdec": [0.0] * u.mas / u.yr}
    )
    table["ref_epoch"] = [2016.0] * u.yr
    form = match(table, "simbad", via="tap", get_query_payload=True)
    sent = float(form["upload"].split("<TR><TD>0</TD><TD>")[1].split("<")[0])
    assert sent == pytest.approx(100 - 16 / 3600)


def test_the_record_and_rerun(tap, local, tmp_path):
    service = pyvo.dal.TAPService(tap.url)
    out = match(local, service, service_table="my.table", radius=RADIUS, columns=["oid"])
    record = ac.records(out)[-1]
    assert record["service"]["url"] == tap.url
    assert record["service"]["reference"] == "my.table"
    assert record["service"]["date"] == record["date"][:10]
    assert record["service"]["query"].startswith("SELECT u.ac_row")
    assert record["service"]["requests"] == 2  # one for the names of the columns
    asked = len(tap.queries)
    with pytest.warns(ac.AstroClusterWarning, match="my.table .TAP. again"):
        again = ac.rerun(ac.write(out, tmp_path / "out.vot"))
    same(out, again)
    assert len(tap.queries) == asked
    assert ac.records(again)[-1]["service"]["kept_answers"] == 1


def test_what_is_kept_needs_no_network(tap, local):
    out = match(local, f"{tap.url}#my.table", radius=RADIUS, chunk_rows=50)
    n_requests = len(tap.requests)
    same(out, match(local, f"{tap.url}#my.table", radius=RADIUS, chunk_rows=50))
    assert len(tap.requests) == n_requests
    match(local, f"{tap.url}#my.table", radius=RADIUS, chunk_rows=50, cache=False)
    assert len(tap.requests) > n_requests


@pytest.mark.parametrize("sync_rows", [2000, 5])
@pytest.mark.parametrize(
    "says", [None, "Upload limit exceeded: too many rows", "query timed out", "Upload too large"]
)
def test_uploads_larger_than_the_service_takes(tap, local, basic, sync_rows, says):
    """Undeclared limits: it answers 413, or says so in words; the chunk is halved."""
    tap.declares = b"<html>not here</html>"
    tap.upload_rows, tap.upload_says = 30, says
    with conf.set_temp("tap_sync_rows", sync_rows):
        out = match(local, "simbad", radius=RADIUS, find="all", via="tap", columns=["oid"])
    same(out, at_hand(local, basic, ["oid"], find="all"))
    assert tap.jobs == {}


def test_declared_limits_are_kept(tap, local, basic):
    tap.upload_rows = 30
    out = match(local, "simbad", radius=RADIUS, find="all", via="tap", columns=["oid"])
    same(out, at_hand(local, basic, ["oid"], find="all"))
    assert [query["rows"] for query in tap.queries] == [30] * 6 + [18]


def test_declared_bytes_are_kept(tap, local, basic):
    tap.declares = tap_server.capabilities(tap).replace(
        b'<hard unit="row">2000000</hard></uploadLimit>', b'<hard unit="byte">4000</hard></uploadLimit>'
    )
    out = match(local, "simbad", radius=RADIUS, find="all", via="tap", columns=["oid"])
    same(out, at_hand(local, basic, ["oid"], find="all"))
    assert len(tap.queries) > 4
    assert max(query["rows"] for query in tap.queries) < 60


@pytest.mark.parametrize("sync_rows", [2000, 5])
@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("declared", [True, False])
def test_a_cut_answer_is_never_taken(tap, local, basic, tells, declared, sync_rows):
    tap.max_rows, tap.tells_overflow = 150, tells
    if not declared:
        tap.declares = b""
    # A service that neither declares its limit nor tells that it cut cannot be seen through.
    most = 150 if not declared and not tells else 1000
    with conf.set_temp("tap_max_rows", most), conf.set_temp("tap_sync_rows", sync_rows):
        for find in ("all", "best-remote"):
            out = match(local, "simbad", radius=RADIUS, find=find, via="tap", columns=["oid"])
            same(out, at_hand(local, basic, ["oid"], find=find))
    assert len(tap.queries) >= 8
    assert tap.jobs == {}


def test_one_position_with_too_many_counterparts(tap, local):
    tap.max_rows = 3
    with pytest.raises(ServiceError, match=r"position 0 .* alone has more counterparts .*at most 3 rows"):
        match(local, "simbad", radius=60 * u.arcsec, find="all", via="tap")


def test_one_position_that_is_refused(tap, local):
    tap.faults["sync"].extend([lambda _: tap_server.error_document("upload exceeds the limit", 413)] * 20)
    with pytest.raises(ServiceError, match="refused even the query for one position: HTTP 413 upload"):
        match(local, "simbad", via="tap")


def test_the_service_says_why(tap, local):
    tap.faults["sync"].append(lambda _: tap_server.error_document("column ra is\nambiguous", 400))
    with pytest.raises(
        ServiceError, match="SIMBAD refused the query: HTTP 400 column ra is ambiguous"
    ) as caught:
        match(local, "simbad", via="tap")
    assert caught.value.url == tap.url
    assert len(tap.queries) == 1  # not asked again
    tap.declares = b'<capabilities><capability standardID="ivo://ivoa.net/std/TAP"/></capabilities>'
    tap.faults["sync"].append(lambda _: tap_server.error_document("no uploads", 200))
    with pytest.raises(ServiceError, match=r"no uploads\. It does not declare that tables can be uploaded"):
        match(local, "simbad", via="tap", cache=False)


def test_nothing_found(tap):
    table = QTable({"ra": [200.0, 201.0], "dec": [50.0, 50.0]})
    with pytest.warns(ac.AstroClusterWarning, match="no row has a counterpart"):
        out = match(table, "simbad", via="tap")
    assert plain(out["main_id"]) == [None, None]
    assert out["plx_value"].unit == u.mas
    with pytest.warns(ac.AstroClusterWarning, match="no row has a counterpart"):
        assert len(match(table, "simbad", find="best", via="tap")) == 0


def test_how_many_matches_are_false_is_asked(tap, local, basic):
    """The nearest objects of some positions, one row each, however crowded the sky is there."""
    tap.max_rows = 200
    out = ac.crossmatch(local, "simbad", radius=1 * u.arcsec, via="tap", columns=["oid"])
    there = ac.crossmatch(local, QTable(basic), radius=1 * u.arcsec, columns=["oid"])
    assert "MIN(DISTANCE(" in tap.queries[-1]["QUERY"]
    found, expected = (ac.records(table)[-1]["false_matches"] for table in (out, there))
    assert found["matched"] == expected["matched"]
    assert found["expected"] == pytest.approx(expected["expected"], rel=0.5)


def test_the_interval_is_kept(tap, local, monkeypatch):
    """By a clock on which nothing takes time but waiting."""

    class Clock:
        now = 1000.0
        waited: ClassVar[list[float]] = []

        def monotonic(self):
            return self.now

        def sleep(self, seconds):
            self.waited.append(seconds)
            self.now += seconds

    monkeypatch.setattr("astro_cluster.services.throttle.time", Clock())
    with conf.set_temp("tap_interval", 0.25):
        match(local, "simbad", radius=RADIUS, via="tap", chunk_rows=60)
    assert len(tap.times) == 5
    assert Clock.waited == [0.25] * 4


def test_the_command_line(tap, local, tmp_path, capsys, monkeypatch):
    from astro_cluster.cli import main

    monkeypatch.chdir(tmp_path)
    ac.write(local, "cat.vot")
    chosen = ["--columns", "main_id,otype", "--no-false-matches"]
    for reference in (["simbad", "--via", "tap"], [f"{tap.url}#my.table"]):
        with pytest.raises(SystemExit) as leave:
            main(
                [
                    "match",
                    "cat.vot",
                    *reference,
                    "-o",
                    "out.vot",
                    "--radius",
                    "10arcsec",
                    "--overwrite",
                    *chosen,
                ]
            )
        assert leave.value.code == 0, capsys.readouterr().err
        out = ac.read("out.vot")
        assert out.colnames[3:] == ["main_id", "otype", "match_separation"]
        assert "of 200 rows have a counterpart within 10arcsec" in capsys.readouterr().out
    with pytest.raises(SystemExit) as leave:
        main(["match", "cat.vot", "ftp://example.org/tap#x", "-o", "no.vot"])
    assert leave.value.code == 2
    assert "neither a file nor the address of a service" in capsys.readouterr().err
