"""Our match by TAP with a real server, pair by pair with the match at hand."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

import astro_cluster as ac
from astro_cluster.cli import main
from astro_cluster.exceptions import AstroClusterWarning, InputError, ServiceError

from .dachs import Server
from .door import door
from .pairs import RADIUS, around, assert_pairs, pairs

pytestmark = pytest.mark.peers

MODES = ["all", "best", "best-remote", "best-symmetric", "each", "each-dist"]
COLUMNS = ["main_id", "otype", "rvz_redshift", "nbref"]
# How many matches are false would be asked for in requests of its own.
PLAIN = dict(radius=RADIUS, columns=COLUMNS, false_matches=False)


@pytest.fixture(scope="module")
def basic(simbad_objects):
    """The rows that the server has, at hand."""
    empty = {"", None}
    out = QTable()
    for name, kind in {"main_id": str, "ra": float, "dec": float, "otype": str, "nbref": int}.items():
        out[name] = np.array([row[name] for row in simbad_objects], kind)
    z = [row["rvz_redshift"] for row in simbad_objects]
    out["rvz_redshift"] = np.ma.array(
        [0.0 if value in empty else float(value) for value in z], mask=[value in empty for value in z]
    )
    return out


@pytest.fixture(scope="module")
def mine(basic):
    """Local positions; two are not known."""
    table = around(basic, 300)
    table["ra"][7], table["dec"][900] = np.nan * u.deg, np.nan * u.deg
    return table


@pytest.fixture(autouse=True)
def settings(simbad_tap, tmp_path):
    """SIMBAD is the server; nothing waits, answers are kept in a folder of the test."""
    with (
        ac.conf.set_temp("simbad_tap_url", simbad_tap),
        ac.conf.set_temp("cache_dir", str(tmp_path / "cache")),
        ac.conf.set_temp("tap_interval", 0.02),
        ac.conf.set_temp("retry_wait", 0.02),
        ac.conf.set_temp("retries", 1),
        ac.conf.set_temp("timeout", 60.0),
    ):
        yield


@pytest.fixture
def behind_door(simbad_site):
    """Return a function that starts a server with limits of its own, behind a door; all of it is ended."""
    with contextlib.ExitStack() as stack:
        stack.callback(simbad_site.psql, "DELETE FROM tap_schema.tapjobs;")

        def start(settings=None):
            server = Server(simbad_site, settings or {})
            opened = stack.enter_context(door(lambda: server.port))
            web = {"serverURL": f"http://127.0.0.1:{opened.port}", **(settings or {}).get("web", {})}
            server.settings = {**(settings or {}), "web": web}
            stack.callback(server.stop)
            server.start()
            ac.conf.simbad_tap_url = f"{web['serverURL']}/tap"
            return server, opened

        yield start


def n_jobs(site):
    """How many jobs the server knows."""
    return int(site.psql("SELECT count(*) FROM tap_schema.tapjobs;"))


def queries(opened):
    """The requests with an upload that went through the door."""
    return [request for request in opened.passed if request.sends_job and b"ac_upload" in request.body]


@pytest.mark.parametrize("find", MODES)
def test_every_mode_is_that_of_a_match_at_hand(mine, basic, find):
    ours = ac.crossmatch(mine, "simbad", find=find, via="tap", chunk_rows=300, **PLAIN)
    at_hand = ac.crossmatch(mine, basic, find=find, **PLAIN)
    assert ours.colnames == at_hand.colnames
    if find.startswith("each"):
        assert ours["my_id"].tolist() == mine["my_id"].tolist()
    if find == "each-dist":
        ours["main_id"] = at_hand["main_id"] = ""
    expected = pairs(at_hand)
    assert len(expected) > 900
    assert_pairs(pairs(ours), expected)
    if find == "each":
        for name in COLUMNS:
            here, there = (np.ma.asarray(table[name]) for table in (at_hand, ours))
            assert here.tolist() == there.tolist(), name


@pytest.mark.parametrize("find", ["all", "best-remote"])
def test_jobs_give_the_same(simbad_site, mine, basic, find):
    with ac.conf.set_temp("tap_sync_rows", 100):
        ours = ac.crossmatch(mine, "simbad", find=find, via="tap", chunk_rows=800, **PLAIN)
    assert_pairs(pairs(ours), pairs(ac.crossmatch(mine, basic, find=find, **PLAIN)))
    assert n_jobs(simbad_site) == 0  # and the service is left as it was


def test_what_the_server_says_of_a_column_stays(mine):
    columns = ["plx_value", "pmra", "coo_err_maj", "nbref", "otype", "rvz_radvel"]
    ours = ac.crossmatch(mine, "simbad", radius=RADIUS, columns=columns, via="tap")
    assert ours["plx_value"].unit == ours["coo_err_maj"].unit == u.mas
    assert ours["pmra"].unit == u.mas / u.yr
    assert ours["rvz_radvel"].unit == u.km / u.s
    assert ours["plx_value"].info.description == "Parallax"
    assert ours["plx_value"].info.meta["ucd"] == "pos.parallax.trig"
    assert ours["nbref"].info.description == "number of references"
    assert ours["match_separation"].unit == u.arcsec
    assert np.array_equal(ours["match_p_false"].mask, ours["match_separation"].mask)
    service = ours.meta["astro_cluster"][-1]["service"]
    assert service["url"] == ac.conf.simbad_tap_url
    assert "CONTAINS" in service["query"]


def test_awkward_columns(simbad_tap, simbad_tables_rows):
    rows = simbad_tables_rows["odd"]
    here = QTable({name: np.array([float(row[name]) for row in rows]) * u.deg for name in ("ra", "dec")})
    ours = ac.crossmatch(here, f"{simbad_tap}#odd", radius=0.1 * u.arcsec, false_matches=False)
    assert ours["2MASS"].tolist() == [row["2MASS"] for row in rows]
    assert ours["select"].tolist() == list(range(len(rows)))
    assert ours["source_id"].tolist() == [row["source_id"] for row in rows]
    assert np.ma.asarray(ours["name"]).tolist() == [
        row["name"] or "" for row in rows
    ]  # a VOTable has no other
    assert ours["MAG"].value.tolist() == [k / 2 for k in range(len(rows))]
    assert ours["mag"].value.tolist() == [-k for k in range(len(rows))]
    assert ours["Proper motion"].unit == u.mas / u.yr
    assert (~ours["Proper motion"].mask).tolist() == [k % 3 == 0 for k in range(len(rows))]
    assert ours["name"].info.description == "Text with η Tau and 昴"
    assert ours["Proper motion"].info.description == 'a blank, <brackets> & "quotes"'
    some = ac.crossmatch(
        here,
        f"{simbad_tap}#odd",
        radius=0.1 * u.arcsec,
        false_matches=False,
        columns=["mag", "2MASS", "Proper motion"],
    )
    assert some.colnames == ["ra", "dec", "mag", "2MASS", "Proper motion", "match_separation"]
    assert some["mag"].value.tolist() == ours["mag"].value.tolist()


def test_uploads_stay_below_the_limit_that_is_declared(behind_door, mine, basic):
    _, opened = behind_door({"web": {"maxUploadSize": 30_000, "maxSyncUploadSize": 30_000}})
    ours = ac.crossmatch(mine, "simbad", find="all", via="tap", **PLAIN)
    assert_pairs(pairs(ours), pairs(ac.crossmatch(mine, basic, find="all", **PLAIN)))
    sent = queries(opened)
    assert len(sent) > 2
    assert all(request.status == 200 for request in sent)


def test_uploads_are_halved_where_the_limit_is_not_declared(behind_door, mine, basic):
    """DaCHS takes less in a synchronous request than in a job, and declares the latter."""
    _, opened = behind_door({"web": {"maxSyncUploadSize": 30_000}})
    ours = ac.crossmatch(mine, "simbad", find="all", via="tap", **PLAIN)
    assert_pairs(pairs(ours), pairs(ac.crossmatch(mine, basic, find="all", **PLAIN)))
    assert {request.status for request in queries(opened)} == {200, 413}


def test_a_cut_answer_is_never_taken(behind_door, mine, basic):
    few = mine[::12]
    expected = pairs(ac.crossmatch(few, basic, find="all", **PLAIN))
    # All that one position has, and no more.
    most = int(np.bincount([pair[0] for pair in expected]).max()) + 1
    assert len(expected) > 2 * most
    _, opened = behind_door({"async": {"hardMAXREC": most, "defaultMAXREC": most}})
    ours = ac.crossmatch(few, "simbad", find="all", via="tap", **PLAIN)
    assert_pairs(pairs(ours), expected)
    assert len(queries(opened)) > 2


def test_one_position_with_too_many_counterparts(behind_door, basic):
    behind_door({"async": {"hardMAXREC": 3, "defaultMAXREC": 3}})
    with pytest.raises(ServiceError, match=r"alone has more counterparts.*at most 3.*smaller radius"):
        ac.crossmatch(basic[:1], "simbad", radius=20 * u.deg, find="all", columns=["nbref"], via="tap")


def leftovers(folder):
    """Files that are neither an answer nor what belongs to one."""
    return [
        p.name for p in folder.rglob("*") if p.is_file() and p.suffix not in (".vot", ".xml", ".cut", ".job")
    ]


def test_a_server_that_dies_in_the_middle(behind_door, mine, basic, tmp_path):
    """A clear error, nothing half done; started again, the match goes on where it was."""
    server, opened = behind_door()

    def third_kills(request):
        if len(queries(opened)) == 3:
            server.kill()

    opened.before = third_kills
    options = dict(find="all", via="tap", **PLAIN, chunk_rows=200)
    before = mine.copy()
    with pytest.raises(ServiceError, match=r"rows 400 to 599.*cache"):
        ac.crossmatch(mine, "simbad", **options)
    assert leftovers(tmp_path / "cache") == []
    assert mine.colnames == before.colnames
    opened.before = None
    server.start()
    opened.passed.clear()
    ours = ac.crossmatch(mine, "simbad", **options)
    assert_pairs(pairs(ours), pairs(ac.crossmatch(mine, basic, find="all", **PLAIN)))
    n_chunks = -(-(len(mine) - 2) // 200)
    assert len(queries(opened)) == n_chunks - 2
    service = ours.meta["astro_cluster"][-1]["service"]
    assert service["kept_answers"] == 2
    opened.passed.clear()
    again = ac.crossmatch(mine, "simbad", **options)
    assert queries(opened) == []
    assert pairs(again) == pairs(ours)


def test_a_connection_that_is_cut_is_tried_again(behind_door, mine, basic):
    _, opened = behind_door()
    opened.after = lambda request: len(queries(opened)) != 2  # the answer to the second does not come back
    ours = ac.crossmatch(mine, "simbad", find="all", via="tap", **PLAIN, chunk_rows=600)
    assert_pairs(pairs(ours), pairs(ac.crossmatch(mine, basic, find="all", **PLAIN)))
    assert len(queries(opened)) == 3


def test_a_server_that_dies_with_a_job(simbad_site, behind_door, mine, basic):
    """DaCHS goes on to say that the job is executing; nobody must wait for it for ever."""
    server, opened = behind_door()

    def run_kills(request):
        if request.method == "POST" and request.path.endswith("/phase"):
            server.kill()
            return False
        return None

    opened.after = run_kills
    options = dict(find="all", via="tap", **PLAIN, chunk_rows=2000)
    with ac.conf.set_temp("tap_sync_rows", 100):
        with pytest.raises(ServiceError, match="same match again"):
            ac.crossmatch(mine, "simbad", **options)
        opened.after = None
        server.start()
        assert simbad_site.psql("SELECT phase FROM tap_schema.tapjobs;").split() == ["EXECUTING"]
        with (
            ac.conf.set_temp("tap_job_time", 1.0),
            pytest.raises(ServiceError, match="again, and is given up"),
        ):
            ac.crossmatch(mine, "simbad", **options)
        assert n_jobs(simbad_site) == 0
        ours = ac.crossmatch(mine, "simbad", **options)
    assert_pairs(pairs(ours), pairs(ac.crossmatch(mine, basic, find="all", **PLAIN)))
    assert n_jobs(simbad_site) == 0


def test_an_interrupted_job_is_picked_up(simbad_site, behind_door, mine, basic):
    """Ctrl-C while the job runs: the next run asks for its result, and computes nothing anew."""
    _, opened = behind_door()

    class CtrlC(BaseException):
        """Not KeyboardInterrupt, which would end pytest."""

    from astro_cluster.services.uws import Jobs

    def interrupted(self, *arguments, **keywords):
        raise CtrlC

    options = dict(find="all", via="tap", **PLAIN, chunk_rows=2000)
    with ac.conf.set_temp("tap_sync_rows", 100):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Jobs, "_wait", interrupted)
            with pytest.raises(CtrlC):
                ac.crossmatch(mine, "simbad", **options)
        assert n_jobs(simbad_site) == 1
        ours = ac.crossmatch(mine, "simbad", **options)
    assert len(queries(opened)) == 1
    assert_pairs(pairs(ours), pairs(ac.crossmatch(mine, basic, find="all", **PLAIN)))
    assert n_jobs(simbad_site) == 0


def test_no_such_column_or_table(simbad_tap, mine):
    with pytest.raises(InputError, match=r"no column 'plx'.*plx_value"):
        ac.crossmatch(mine, f"{simbad_tap}#basic", columns=["plx"])
    with pytest.raises(InputError, match=r"no table 'basics'.*'basic'"):
        ac.crossmatch(mine, f"{simbad_tap}#basics")


def test_on_the_command_line_and_again_from_the_file(simbad_tap, mine, basic, tmp_path):
    """The record names the service and the table; what it says is enough to do it again."""
    ac.write(mine, tmp_path / "mine.vot")
    command = ["match", tmp_path / "mine.vot", f"{simbad_tap}#basic", "--radius", "60arcsec", "--find", "all"]
    command += ["--columns", "main_id,otype", "--no-false-matches", "-o", tmp_path / "out.vot"]
    with pytest.raises(SystemExit, match="0"):
        main([str(word) for word in command])
    expected = pairs(ac.crossmatch(mine, basic, find="all", **PLAIN))
    assert_pairs(pairs(ac.read(tmp_path / "out.vot")), expected)
    with pytest.warns(AstroClusterWarning, match="asks basic .TAP. again"):
        again = ac.rerun(tmp_path / "out.vot")
    assert_pairs(pairs(again), expected)
