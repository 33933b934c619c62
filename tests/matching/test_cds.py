"""The CDS X-Match service, good and bad days, by the stand-in."""

from __future__ import annotations

import socket
import time

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

import astro_cluster as ac
from astro_cluster import InputError, ServiceError, conf
from astro_cluster.matching.find import FIND_MODES
from astro_cluster.tables import float_values

RADIUS = 10 * u.arcsec


def plain(column):
    """A column as a list, None where masked."""
    mask = np.broadcast_to(getattr(column, "mask", False), column.shape)
    values = getattr(column, "unmasked", column)
    values = np.asarray(getattr(values, "value", values)).tolist()
    return [None if hidden else value for value, hidden in zip(values, mask, strict=True)]


def same(a, b):
    """Whether two results agree, but for the rounding of the service."""
    assert a.colnames == b.colnames
    for name in a.colnames:
        if name == "match_separation":
            np.testing.assert_allclose(float_values(a[name]), float_values(b[name]), atol=1e-6)
        elif name not in ("ra", "dec"):  # local, with NaN
            assert plain(a[name]) == plain(b[name]), name


@pytest.mark.parametrize("find", FIND_MODES)
@pytest.mark.parametrize("chunk_rows", [None, 7])
def test_every_mode_agrees_with_a_match_at_hand(cds, local, catalogue, find, chunk_rows):
    out = ac.crossmatch(local, "simbad", radius=RADIUS, find=find, chunk_rows=chunk_rows)
    same(out, ac.crossmatch(local, catalogue, radius=RADIUS, find=find, false_matches=False))
    assert len(cds.forms) == (1 if chunk_rows is None else 29)  # 198 rows with a position, by 7
    assert cds.most_running == 1
    if find.startswith("each"):
        assert out["name"].tolist() == local["name"].tolist()


def test_what_is_sent(cds, local):
    ac.crossmatch(local, "II/246/out", radius=RADIUS)
    form = cds.forms[0]
    assert form["cat2"] == "vizier:II/246/out"
    assert float(form["distmaxarcsec"]) == 10
    assert form["selection"] == "best"
    assert form["cols1"] == "ac_row"
    lines = form["file:cat1"].splitlines()
    assert lines[0] == "ac_row,ac_ra,ac_dec"
    assert len(lines) == 199
    assert "n0" not in form["file:cat1"]
    assert float(lines[1].split(",")[1]) == local["ra"][0].value
    assert cds.paths == []  # no list of all tables is asked for


def test_simbad_is_simbad(cds, local):
    ac.crossmatch(local, "SIMBAD", radius=RADIUS)
    assert cds.forms[0]["cat2"] == "simbad"


def test_units_and_ucds_survive(cds, local):
    out = ac.crossmatch(local, "simbad", radius=RADIUS)
    assert out["Jmag"].unit == u.mag
    assert out["Jmag"].info.description == "J magnitude"
    assert out["Jmag"].info.meta == {"ucd": "phot.mag;em.IR.J"}
    assert out["ra_2"].unit == u.deg
    assert out["source_id"].dtype.kind == "i"
    found = ~out["source_id"].mask
    assert np.min(out["source_id"][found]) >= 4_611_686_018_427_387_904
    assert out["main_id"].dtype.kind == "U"
    assert "ac_row" not in out.colnames


def test_simbad_has_one_schema(cds, peer, catalogue, local):
    """X-Match's names come out as those of SIMBAD's TAP service; other catalogues keep theirs."""
    old = catalogue["main_id", "ra", "dec"]
    old["main_type"] = np.array(["Star", "Seyfert_1", "EB*Algol", ""])[np.arange(len(old)) % 4]
    old["redshift"] = np.arange(len(old)) / 7
    old["size_maj"] = np.arange(len(old)) * u.arcmin
    for name in ("simbad", "II/246/out"):
        cds.catalogues[name] = peer.Catalogue(old, "ra", "dec")
    out = ac.crossmatch(local, "simbad", radius=RADIUS)
    assert [name for name in out.colnames[3:] if not name.startswith("match_")] == [
        *("main_id", "ra_2", "dec_2", "main_type", "otype", "rvz_redshift", "galdim_majaxis")
    ]
    types = dict(zip(plain(out["main_type"]), plain(out["otype"]), strict=True))
    assert types == {"Star": "*", "Seyfert_1": "Sy1", "EB*Algol": "EB*", "": None, None: None}
    assert out["galdim_majaxis"].unit == u.arcmin
    for wanted in (["otype", "redshift"], ["otype", "rvz_redshift"], ["OTYPE_S", "Z_VALUE"]):
        out = ac.crossmatch(local, "simbad", radius=RADIUS, columns=wanted)
        assert out.colnames[3:5] == ["otype", "rvz_redshift"]
        assert cds.forms[-1 - ("match_p_false" in out.colnames)]["cols2"] == "main_type,redshift"
    out = ac.crossmatch(local, "II/246/out", radius=RADIUS)
    assert "redshift" in out.colnames
    assert "otype" not in out.colnames


def test_chosen_columns(cds, local):
    out = ac.crossmatch(local, "simbad", radius=RADIUS, columns=["main_id", "Jmag"])
    assert out.colnames == ["name", "ra", "dec", "main_id", "Jmag", "match_separation"]
    assert cds.forms[-1]["cols2"] == "main_id,Jmag"
    ac.crossmatch(local, "simbad", radius=RADIUS, columns=["nbref"], find="best-remote")
    assert "cols2" not in cds.forms[-1]  # or objects could not be told apart
    with pytest.raises(ServiceError, match=r"refused the match: .*main_idd"):
        ac.crossmatch(local, "simbad", radius=RADIUS, columns=["main_idd"])


def test_the_record(cds, local, tmp_path):
    out = ac.crossmatch(local, "simbad", radius=RADIUS)
    record = ac.records(out)[-1]
    assert record["service"]["name"] == "CDS X-Match"
    assert record["service"]["url"] == cds.url
    assert record["service"]["date"] == record["date"][:10]
    assert record["service"]["requests"] == 1
    with pytest.warns(ac.AstroClusterWarning, match="asks CDS X-Match again"):
        again = ac.rerun(ac.write(out, tmp_path / "out.vot"))
    same(out, again)
    assert ac.records(again)[-1]["service"]["kept_answers"] == 1


def test_the_address_is_read_at_call_time(cds, local):
    with (
        conf.set_temp("xmatch_url", "http://127.0.0.1:9/gone"),
        conf.set_temp("retries", 0),
        pytest.raises(ServiceError),
    ):
        ac.crossmatch(local, "simbad")
    assert len(ac.crossmatch(local, "simbad", radius=RADIUS)) == len(local)


def test_payload_unsent(cds, local):
    form = ac.crossmatch(local, "I/355/gaiadr3", radius=RADIUS, chunk_rows=5, get_query_payload=True)
    assert form["cat2"] == "vizier:I/355/gaiadr3"
    assert form["distMaxArcsec"] == 10
    assert form["colRA1"] == "ac_ra"
    assert len(form["cat1"].splitlines()) == 6
    assert cds.forms == []


def test_positions_go_out_in_icrs_degrees(cds):
    table = QTable({"l": [122.932] * u.deg, "b": [27.128] * u.deg})  # the north celestial pole
    form = ac.crossmatch(table, "simbad", get_query_payload=True)
    assert float(form["cat1"].splitlines()[1].split(",")[2]) == pytest.approx(90, abs=1e-3)


def test_gaia_goes_to_simbad_at_its_epoch(cds):
    table = QTable(
        {"ra": [100.0], "dec": [0.0], "pmra": [1000.0] * u.mas / u.yr, "pmdec": [0.0] * u.mas / u.yr}
    )
    table["ref_epoch"] = [2016.0] * u.yr
    form = ac.crossmatch(table, "simbad", get_query_payload=True)
    assert float(form["cat1"].splitlines()[1].split(",")[1]) == pytest.approx(100 - 16 / 3600)
    form = ac.crossmatch(table, "II/246/out", get_query_payload=True)
    assert float(form["cat1"].splitlines()[1].split(",")[1]) == 100
    form = ac.crossmatch(table, "II/246/out", reference_epoch=1999.0, get_query_payload=True)
    assert float(form["cat1"].splitlines()[1].split(",")[1]) == pytest.approx(100 - 17 / 3600)


def test_an_interrupted_match_goes_on(cds, peer, local):
    cds.faults.extend([None, *[peer.failing(500)] * 9])
    with (
        conf.set_temp("retries", 2),
        pytest.raises(
            ServiceError, match=r"rows 100 to 197 .*3 tries: HTTP 500 out of order.*kept in the cache"
        ),
    ):
        ac.crossmatch(local, "simbad", radius=RADIUS, chunk_rows=100)
    assert len(cds.forms) == 4
    cds.faults.clear()
    out = ac.crossmatch(local, "simbad", radius=RADIUS, chunk_rows=100)
    assert len(cds.forms) == 5  # the first chunk was not asked again
    assert ac.records(out)[-1]["service"]["kept_answers"] == 1
    same(out, ac.crossmatch(local, "simbad", radius=RADIUS, cache=False))


def test_a_broken_cache_is_asked_again(cds, local, tmp_path):
    out = ac.crossmatch(local, "simbad", radius=RADIUS)
    (kept,) = (tmp_path / "cache").rglob("*.vot")
    whole = kept.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"\x80\x04pickle", whole.replace(b"ac_row", b"ac_raw")):
        kept.write_bytes(broken)
        same(ac.crossmatch(local, "simbad", radius=RADIUS), out)
        assert kept.read_bytes() == whole
    assert len(cds.forms) == 5


def test_the_cache_knows_what_was_asked(cds, local):
    ac.crossmatch(local, "simbad", radius=RADIUS)
    for options in ({"radius": 9 * u.arcsec}, {"find": "all"}, {"columns": ["main_id"]}, {"cache": False}):
        ac.crossmatch(local, "simbad", **{"radius": RADIUS, **options})
    ac.crossmatch(local, "II/246/out", radius=RADIUS)
    assert len(cds.forms) == 6
    ac.crossmatch(local, "simbad", radius=RADIUS, find="best")  # asks the same as each
    assert len(cds.forms) == 6


def test_an_unwritable_cache_is_only_warned_of(cds, local, tmp_path):
    (tmp_path / "file").touch()
    with (
        conf.set_temp("cache_dir", str(tmp_path / "file")),
        pytest.warns(ac.AstroClusterWarning, match="answers are not kept"),
    ):
        out = ac.crossmatch(local, "simbad", radius=RADIUS, chunk_rows=50)
    assert len(out) == len(local)


def test_retry_after_is_respected(cds, peer, local):
    cds.faults.extend([peer.failing(503, Retry_After="1"), peer.failing(500)])
    start = time.monotonic()
    ac.crossmatch(local, "simbad", radius=RADIUS)
    assert 1 <= time.monotonic() - start < 5
    assert len(cds.forms) == 3


@pytest.mark.parametrize("header", ["3600", "Fri, 31 Dec 2999 23:59:59 GMT"])
def test_a_long_wait_is_left_to_the_user(cds, peer, local, header):
    cds.faults.append(peer.failing(503, "maintenance", Retry_After=header))
    with pytest.raises(ServiceError, match=r"1 try: HTTP 503 maintenance. It asks to wait"):
        ac.crossmatch(local, "simbad")
    assert len(cds.forms) == 1


def test_a_busy_service_is_asked_again(cds, peer, local):
    busy = peer.error_document("Too many jobs are being processed, try later!")
    cds.faults.extend([lambda _: peer.Reply(busy, 400), lambda _: peer.Reply(busy, 200)])
    assert len(ac.crossmatch(local, "simbad", radius=RADIUS)) == len(local)
    assert len(cds.forms) == 3


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("garbage", "the answer is no whole VOTable"),
        ("half", "the answer is no whole VOTable"),
        ("broken_off", "broke in the middle"),
        ("no_table", "without a table"),
        ("no_columns", "without the columns angDist and ac_row"),
    ],
)
def test_bad_answers(cds, peer, local, fault, message):
    kinds = {
        "garbage": peer.garbage(),
        "half": peer.half,
        "broken_off": peer.broken_off,
        "no_table": lambda _: peer.Reply(b'<VOTABLE version="1.4"><RESOURCE/></VOTABLE>'),
        "no_columns": lambda reply: peer.Reply(reply.body.replace(b"angDist", b"distance")),
    }
    cds.faults.extend([kinds[fault]] * 2)
    assert len(ac.crossmatch(local, "simbad", radius=RADIUS)) == len(local)  # the third try is good
    cds.faults.extend([kinds[fault]] * 2)
    with conf.set_temp("retries", 1), pytest.raises(ServiceError, match=message) as caught:
        ac.crossmatch(local, "simbad", radius=RADIUS, cache=False)
    assert caught.value.url == cds.url


def test_row_numbers_that_were_not_sent(cds, peer, local):
    cds.faults.append(
        lambda reply: peer.Reply(
            reply.body.replace(b"<TD>197</TD>", b"<TD>9197</TD>").replace(b"<TD>196</TD>", b"<TD>-4</TD>")
        )
    )
    with pytest.raises(ServiceError, match="row numbers that were not sent"):
        ac.crossmatch(local, "simbad", radius=60 * u.arcsec)


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("find", ["all", "best-remote"])
def test_a_cut_answer_is_never_taken(cds, local, catalogue, tells, find):
    cds.max_rows, cds.tells_overflow = 40, tells
    with conf.set_temp("xmatch_max_rows", 1000 if tells else 40):
        out = ac.crossmatch(local, "simbad", radius=RADIUS, find=find)
    same(out, ac.crossmatch(local, catalogue, radius=RADIUS, find=find, false_matches=False))
    assert len(cds.forms) > 10


def test_one_position_with_too_many_counterparts(cds, local):
    with (
        conf.set_temp("xmatch_max_rows", 3),
        pytest.raises(ServiceError, match="alone has more than 3 counterparts"),
    ):
        ac.crossmatch(local, "simbad", radius=60 * u.arcsec, find="all")


def test_the_service_says_why(cds, peer, local):
    with pytest.raises(ServiceError, match=r"refused the match: HTTP 400 table I/1/none not found"):
        ac.crossmatch(local, "vizier:I/1/none")
    cds.faults.append(peer.failing(403, "banned"))
    with pytest.raises(ServiceError, match=r"bans those who send matches in parallel.*cds-question"):
        ac.crossmatch(local, "simbad")
    cds.faults.append(peer.failing(413, "upload too large"))
    with pytest.raises(ServiceError, match="HTTP 413 upload too large"):
        ac.crossmatch(local, "simbad")
    assert len(cds.forms) == 3  # none of these is asked again


def test_a_service_that_has_moved(cds, peer, local):
    """A form sent after a redirect would arrive empty."""
    cds.faults.append(lambda _: peer.Reply(b"", 301, {"Location": cds.url + "/new"}))
    with pytest.raises(ServiceError, match=r"has moved to .*/sync/new: set conf\.xmatch_url"):
        ac.crossmatch(local, "simbad")


def test_no_network(cds, local):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}/xmatch/api/v1/sync"
    with (
        conf.set_temp("xmatch_url", address),
        conf.set_temp("retries", 1),
        pytest.raises(ServiceError, match=r"2 tries: it cannot be reached; is there a network") as caught,
    ):
        ac.crossmatch(local, "simbad")
    assert caught.value.url == address
    with conf.set_temp("xmatch_url", "nowhere"), pytest.raises(ServiceError, match=r"Set conf\.xm"):
        ac.crossmatch(local, "simbad")


def test_no_answer_in_time(cds, local):
    def late(reply):
        time.sleep(0.6)
        return reply

    cds.faults.append(late)
    with (
        conf.set_temp("timeout", 0.2),
        conf.set_temp("retries", 0),
        pytest.raises(ServiceError, match=r"no answer within 0.2 s"),
    ):
        ac.crossmatch(local, "simbad")


def test_nothing_found(cds):
    table = QTable({"ra": [200.0, 201.0], "dec": [50.0, 50.0]})
    with pytest.warns(ac.AstroClusterWarning, match="no row has a counterpart"):
        out = ac.crossmatch(table, "simbad")
    assert out["main_id"].tolist() == [None, None]
    assert out["Jmag"].unit == u.mag
    with pytest.warns(ac.AstroClusterWarning, match="no row has a counterpart"):
        assert len(ac.crossmatch(table, "simbad", find="best")) == 0


def test_limits_of_the_service(local):
    with pytest.raises(InputError, match="at most 180 arcsec"):
        ac.crossmatch(local, "simbad", radius=181 * u.arcsec)
    with pytest.raises(InputError, match="leave reference_position out"):
        ac.crossmatch(local, "simbad", reference_position=("ra", "dec"))
