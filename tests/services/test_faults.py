"""Every fault of a service ends in a finished retry or in a clear error, and loses no row."""

from __future__ import annotations

import errno
import re
import socket
import threading
import time

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

import astro_cluster as ac
from astro_cluster import ServiceError, conf
from astro_cluster.services.http import Asker

from . import tap_server
from .tap_server import Reply, error_document

RADIUS = 10 * u.arcsec
COLUMNS = ["oid", "main_id", "rvz_redshift"]
BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    b'<VOTABLE version="1.3"><RESOURCE type="results"><INFO name="QUERY_STATUS" value="OK">&b;</INFO>'
    b"</RESOURCE></VOTABLE>"
)
ELSEWHERE = (
    b'<VOTABLE version="1.3"><RESOURCE type="results"><TABLE><FIELD name="ac_row" datatype="int"/><DATA>'
    b'<BINARY><STREAM encoding="base64>" href="file:///etc/passwd"/></BINARY></DATA></TABLE></RESOURCE></VOTABLE>'
)


def match(local, **options):
    """The match that all faults are tried on: two chunks."""
    given = {"radius": RADIUS, "find": "all", "via": "tap", "columns": COLUMNS, "chunk_rows": 100}
    return ac.crossmatch(local, "simbad", **given | {"false_matches": False} | options)


@pytest.fixture
def expected(local, basic):
    """The same at hand, cell by cell."""
    return cells(ac.crossmatch(local, QTable(basic), radius=RADIUS, find="all", columns=COLUMNS))


def cells(table):
    """The rows of a result."""
    out = []
    for row in zip(*(np.ma.getdata(table[name]) for name in ("name", *COLUMNS[:2])), strict=True):
        out.append(tuple(str(item) for item in row))
    return out, [round(float(x), 7) for x in table["match_separation"].to_value(u.arcsec)]


def broken(**changes):
    """A fault that sends something else."""
    return lambda reply: Reply(**{"body": reply.body, **changes})


FAULTS = {
    "500": (lambda _: Reply(b"Internal Server Error", 500), "HTTP 500 Internal Server Error"),
    "502 page": (lambda _: Reply(b"<html><b>Bad Gateway</b></html>", 502), "HTTP 502 Bad Gateway"),
    "503": (lambda _: Reply(b"busy", 503, {"Retry-After": "0"}), "HTTP 503 busy"),
    "503 date": (lambda _: Reply(b"busy", 503, {"Retry-After": "Fri, 01 Jan 2021 00:00:00 GMT"}), "HTTP 503"),
    "429": (lambda _: Reply(b"slowly", 429), "HTTP 429 slowly"),
    "busy": (lambda _: error_document("Too many jobs, try again later", 200), "Too many jobs"),
    "half": (lambda reply: Reply(reply.body[: len(reply.body) // 2]), "no whole VOTable"),
    "broken off": (
        lambda reply: Reply(reply.body[: len(reply.body) // 2], promised=len(reply.body)),
        "broke in the middle",
    ),
    "garbage": (lambda _: Reply(b"\x80\x04\x95 pickle \x00\xff" * 50), "no whole VOTable"),
    "page": (
        lambda _: Reply(b"<html><body>Wartungsarbeiten</body></html>", content_type="text/html"),
        "no whole VOTable.*|without a table",
    ),
    "empty": (lambda _: Reply(b""), "it is empty"),
    "no answer": (lambda _: Reply(hang_up=True), "cannot be reached|broke"),
    "bomb": (lambda _: Reply(BOMB), "it defines XML entities"),
    "elsewhere": (lambda _: Reply(ELSEWHERE), "stand at another address"),
    "utf-16": (lambda reply: Reply(reply.body.decode().encode("utf-16")), "encoding is|does not begin with"),
    "no table": (lambda _: Reply(b'<VOTABLE version="1.3"><RESOURCE/></VOTABLE>'), "without a table"),
    "columns": (
        lambda reply: Reply(reply.body.replace(b"main_id", b"mane_id")),
        "without the columns main_id",
    ),
    "no rows": (lambda reply: Reply(reply.body.replace(b"ac_row", b"ac_raw")), "without the columns ac_row"),
    "row numbers": (
        lambda reply: Reply(
            reply.body.replace(b"<TD>7</TD>", b"<TD>9007</TD>").replace(b"<TR>\n     <TD>8<", b"<TR><TD>-8<")
        ),
        "row numbers that were not sent",
    ),
    "too many declared": (
        lambda reply: Reply(reply.body.replace(b"<TABLE", b'<TABLE nrows="99999"', 1)),
        "declares 99999 rows|of 99999 rows",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("how", ["sync", "job"])
def test_a_fault_that_passes_and_one_that_stays(tap, local, expected, fault, how):
    send, message = FAULTS[fault]
    kind = "sync" if how == "sync" else "result"
    with conf.set_temp("tap_sync_rows", 2000 if how == "sync" else 5):
        tap.faults[kind].extend([send] * 3)
        assert cells(match(local)) == expected  # the fourth try is good
        tap.faults[kind].extend([None, *[send] * 99])
        with pytest.raises(ServiceError, match=message) as caught:
            match(local, cache=False)
        assert "rows 100 to 197 of the 198 with a position, after 4 tries" in str(caught.value)
        assert caught.value.url.startswith(tap.url)
        tap.faults[kind].clear()
        assert cells(match(local, cache=False)) == expected
    assert tap.jobs == {}


@pytest.mark.parametrize("kind", ["create", "run", "phase", "delete", "capabilities", "look_up"])
@pytest.mark.parametrize("fault", ["500", "503", "broken off", "no answer", "garbage", "page", "empty"])
def test_faults_on_the_way(tap, local, expected, kind, fault):
    """Wherever it stumbles, the result is whole; only what cannot be deleted stays at the service."""
    send, _ = FAULTS[fault]
    tap.faults[kind].extend([send] * 2)
    columns = [*COLUMNS, "hpx"]  # one for which the service is asked what columns it has
    with conf.set_temp("tap_sync_rows", 5):
        assert cells(match(local, columns=columns)) == expected
    if kind != "delete":
        lost = 2 if kind == "create" else 0  # made, and nobody was told
        assert len(tap.jobs) <= lost
        assert all(job.phase == "PENDING" for job in tap.jobs.values())


def test_wrong_pairs_are_seen(tap, local):
    """Row numbers that were sent, but of other rows: what is near tells."""

    def swapped(reply):
        other = lambda found: found[1] + str((int(found[2]) + 31) % 98).encode()  # noqa: E731
        return Reply(re.sub(rb"(<TR>\s*<TD>)(\d+)", other, reply.body))

    tap.faults["sync"].extend([swapped] * 9)
    with pytest.raises(ServiceError, match="objects that are farther than asked for"):
        match(local)


def test_retry_after_is_kept(tap, local, expected):
    tap.faults["sync"].append(lambda _: Reply(b"busy", 503, {"Retry-After": "1"}))
    assert cells(match(local)) == expected
    # The request after the refused one, and no other, came a second later.
    assert np.diff(tap.times).max() >= 1


@pytest.mark.parametrize("header", ["3600", "Fri, 31 Dec 2999 23:59:59 GMT"])
def test_a_long_wait_is_left_to_the_user(tap, local, header):
    tap.faults["sync"].append(lambda _: Reply(b"maintenance", 503, {"Retry-After": header}))
    with pytest.raises(ServiceError, match=r"1 try: HTTP 503 maintenance. It asks to wait"):
        match(local)
    assert len(tap.queries) == 1


def test_silence(tap, local):
    tap.faults["sync"].append(lambda reply: Reply(reply.body, silent=0.6))
    with (
        conf.set_temp("timeout", 0.2),
        conf.set_temp("retries", 0),
        pytest.raises(ServiceError, match=r"1 try: no answer within 0.2 s"),
    ):
        match(local)


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("kind", ["sync", "capabilities", "phase"])
def test_an_answer_that_trickles_without_end(tap, local, kind, declared):
    """No read ever waits long, and the whole never comes."""
    tap.faults[kind].append(lambda reply: Reply(b" ", pause=0.02, endless=not declared, promised=9**9))
    if declared:
        tap.faults[kind][0] = lambda reply: Reply(b" " * 10**6, pause=0.02)
    start = time.monotonic()
    with (
        conf.set_temp("answer_time", 0.5),
        conf.set_temp("tap_sync_rows", 5 if kind == "phase" else 2000),
        pytest.raises(ServiceError, match=r"did not finish its answer within 0\.5 s"),
    ):
        match(local)
    assert time.monotonic() - start < 8


def test_headers_that_trickle_without_end(local):
    """Nor does a service hold us that never gets to its answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stop = threading.Event()

        def serve():
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
                while not stop.wait(0.02):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/tap"
        with (
            conf.set_temp("answer_time", 0.5),
            conf.set_temp("timeout", 5.0),
            Asker("the service", setting="here") as asker,
            pytest.raises(ServiceError, match=r"did not finish its answer within 0\.5 s"),
        ):
            asker.send("GET", url)
        stop.set()
        thread.join(5)
        assert not thread.is_alive()


@pytest.mark.parametrize("kind", ["sync", "result", "look_up", "capabilities"])
@pytest.mark.parametrize("declared", [True, False])
def test_an_answer_without_end(tap, local, kind, declared):
    tap.faults[kind].append(lambda reply: Reply(b"<VOTABLE>" * 2000, endless=True))
    if declared:
        tap.faults[kind][0] = lambda reply: Reply(b"<VOTABLE>", promised=10**12)
    with (
        conf.set_temp("max_answer_bytes", 10**6),
        conf.set_temp("tap_sync_rows", 5 if kind == "result" else 2000),
        pytest.raises(ServiceError, match="more than 1,000,000 bytes, which is not read"),
    ):
        match(local, columns=[*COLUMNS, "hpx"] if kind == "look_up" else COLUMNS)
    assert tap.jobs == {}


def test_a_packed_bomb(tap, local):
    """A small answer that becomes a large one when it is unpacked."""
    import gzip

    packed = gzip.compress(b"<VOTABLE>" + b" " * 50_000_000)
    tap.faults["sync"].append(lambda reply: Reply(packed, headers={"Content-Encoding": "gzip"}))
    with (
        conf.set_temp("max_answer_bytes", 10**6),
        pytest.raises(ServiceError, match="more than 1,000,000 bytes, which is not read"),
    ):
        match(local)


def test_redirects(tap, local, expected):
    """A service that has moved is followed with its form; a result elsewhere is fetched."""
    for code in (301, 302, 307, 308):
        tap.faults["sync"].append(lambda _, code=code: Reply(b"", code, {"Location": tap.url + "/sync"}))
    assert cells(match(local, cache=False)) == expected
    with tap_server.tap_service(tap.tables) as other:
        tap.faults["sync"].append(lambda _: Reply(b"", 307, {"Location": other.url + "/sync"}))
        assert cells(match(local, cache=False)) == expected
        assert len(other.queries) == 1
    tap.faults["sync"].append(lambda _: Reply(b"", 301, {"Location": tap.url + "/new"}))
    with pytest.raises(ServiceError, match=r"has moved to .*/tap/new: set conf\.simbad_tap_url"):
        match(local, cache=False)


@pytest.mark.parametrize("kind", ["sync", "create", "result", "capabilities"])
@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:text/xml,<a/>"])
def test_redirects_out_of_http(tap, local, kind, to):
    for code in (301, 302, 303, 307, 308):
        tap.faults[kind].append(lambda _, code=code: Reply(b"", code, {"Location": to}))
        with (
            conf.set_temp("tap_sync_rows", 5 if kind in ("create", "result") else 2000),
            pytest.raises(ServiceError, match=r"redirects to .*, which is not followed: only http and https"),
        ):
            match(local)
    # Of a job whose address was a lie nobody can know; it never runs.
    assert all(kind == "create" and job.phase == "PENDING" for job in tap.jobs.values())


def test_redirects_in_a_circle(tap, local):
    tap.faults["sync"].extend([lambda _: Reply(b"", 307, {"Location": tap.url + "/sync"})] * 99)
    with pytest.raises(ServiceError, match="redirects in a circle"):
        match(local)
    assert len(tap.queries) == 5


def test_no_network(local):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        conf.set_temp("simbad_tap_url", f"http://127.0.0.1:{port}/tap"),
        conf.set_temp("retries", 1),
        conf.set_temp("retry_wait", 0.01),
        pytest.raises(ServiceError, match=r"2 tries: it cannot be reached; is there a network"),
    ):
        match(local)
    for address in ("nowhere", "file:///etc/passwd", "ftp://127.0.0.1/tap", "http://", "http://[::1"):
        with (
            conf.set_temp("simbad_tap_url", address),
            pytest.raises(ServiceError, match=r"is no address of a service.*Set conf\.simbad_tap_url"),
        ):
            match(local)


# Jobs


def test_a_job_that_fails(tap, local):
    tap.tables = {}
    with (
        conf.set_temp("tap_sync_rows", 5),
        pytest.raises(ServiceError, match="refused the query: table basic not"),
    ):
        match(local)
    assert tap.jobs == {}
    assert tap.n_jobs == 1


def test_a_job_that_vanishes(tap, local, expected):
    def vanish(reply):
        tap.jobs.clear()
        return Reply(b"no such job", 404)

    with conf.set_temp("tap_sync_rows", 5):
        tap.faults["phase"].extend([None, None, vanish])
        tap.faults["result"].append(vanish)
        assert cells(match(local)) == expected
        assert tap.n_jobs == 4
        tap.faults["phase"].extend([vanish] * 99)
        with pytest.raises(ServiceError, match="loses its jobs: the last of 4"):
            match(local, cache=False)
    assert tap.jobs == {}


def test_a_job_that_takes_longer_is_picked_up(tap, local, expected):
    tap.polls = 10**6
    with conf.set_temp("tap_sync_rows", 5), conf.set_temp("tap_job_time", 0.2):
        with pytest.raises(
            ServiceError, match=r"longer than 0.2 s\. The job is noted: run the same match again"
        ):
            match(local)
        (job,) = tap.jobs.values()
        job.polls_left = 1
        tap.polls = 0
        assert cells(match(local)) == expected
        assert tap.n_jobs == 2  # the first one was picked up, the second chunk's is new
        assert tap.jobs == {}
        tap.polls = 10**6
        with pytest.raises(ServiceError, match=r"longer than 0\.2 s, and is given up, since nothing is kept"):
            match(local, cache=False)  # cannot be found again, and is not left behind
        assert tap.jobs == {}
        with pytest.raises(ServiceError, match="it is picked up"):
            match(local, chunk_rows=50)
        with pytest.raises(ServiceError, match=r"longer than 0\.2 s, again, and is given up"):
            match(local, chunk_rows=50)  # it may have died with its server: the third run makes a new one
        assert tap.jobs == {}
        tap.polls = 0
        assert cells(match(local, chunk_rows=50)) == expected
    assert tap.jobs == {}


def test_ctrl_c_while_a_job_runs(tap, local, expected):
    def interrupt(reply):
        raise KeyboardInterrupt

    tap.polls = 10**6
    with conf.set_temp("tap_sync_rows", 5):
        for cache, left in ((False, 0), (True, 1)):
            threading.Timer(0.3, lambda: _interrupt_main()).start()
            with pytest.raises(KeyboardInterrupt):
                match(local, cache=cache)
            assert len(tap.jobs) == left
        next(iter(tap.jobs.values())).polls_left = tap.polls = 0
        made = tap.n_jobs
        assert cells(match(local)) == expected
        assert tap.n_jobs == made + 1
    assert tap.jobs == {}


def _interrupt_main():
    import _thread

    _thread.interrupt_main()


def test_ctrl_c_between_two_chunks(tap, local, expected, monkeypatch):
    """The next run asks for the rest only."""
    real, asked = Asker.send, []

    def send(self, method, url, **options):
        if url.endswith("/sync"):
            asked.append(url)
            if len(asked) == 3:
                raise KeyboardInterrupt
        return real(self, method, url, **options)

    monkeypatch.setattr(Asker, "send", send)
    with pytest.raises(KeyboardInterrupt):
        match(local, chunk_rows=40)
    assert [query["rows"] for query in tap.queries] == [40, 40]
    assert cells(match(local, chunk_rows=40)) == expected
    assert [query["rows"] for query in tap.queries] == [40, 40, 40, 40, 38]


def test_a_noted_job_of_another_kind_of_address_is_not_asked(tap, local, expected, tmp_path):
    """A note is sealed; one that was altered is not believed."""
    tap.polls = 10**6
    with conf.set_temp("tap_sync_rows", 5), conf.set_temp("tap_job_time", 0.2):
        with pytest.raises(ServiceError, match="longer than"):
            match(local)
        (note,) = (tmp_path / "cache").rglob("*.job")
        note.write_bytes(note.read_bytes().replace(b"http://127.0.0.1", b"file:///etc/pass"))
        tap.polls = 0
        assert cells(match(local)) == expected
        assert tap.n_jobs == 3


# The cache


def test_a_damaged_cache_is_asked_again(tap, local, expected, tmp_path):
    """Cut or altered at any byte, a kept answer is seen not to be what came."""
    assert cells(match(local)) == expected
    rng = np.random.default_rng(3)
    kept = sorted((tmp_path / "cache").rglob("*.vot"))
    assert len(kept) == 2
    whole = {path: path.read_bytes() for path in kept}
    for trial in range(30):
        path = kept[trial % 2]
        damaged = bytearray(whole[path])
        at = int(rng.integers(len(damaged)))
        if trial % 3 == 0:
            del damaged[at:]
        elif trial % 3 == 1:
            damaged[at] ^= int(rng.integers(1, 256))
        else:
            damaged[at:at] = b"<TR/>"
        path.write_bytes(damaged)
        before = len(tap.queries)
        assert cells(match(local)) == expected
        assert len(tap.queries) == before + 1
        assert path.read_bytes() == whole[path]
    kept[0].write_bytes(whole[kept[1]])  # whole, and the answer to another question
    assert cells(match(local)) == expected


def test_a_full_disk(tap, local, expected, monkeypatch):
    from pathlib import Path

    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(
        ac.AstroClusterWarning, match=r"answers are not kept.*No space left.*Set conf\.cache_dir"
    ):
        assert cells(match(local)) == expected
    with (
        conf.set_temp("tap_sync_rows", 5),
        pytest.warns(ac.AstroClusterWarning, match="answers are not kept"),
    ):
        assert cells(match(local)) == expected
    assert tap.jobs == {}


def test_what_was_cut_is_not_asked_again(tap, local, expected):
    tap.max_rows = 150
    assert cells(match(local)) == expected
    before = len(tap.queries)
    assert cells(match(local)) == expected
    assert len(tap.queries) == before
