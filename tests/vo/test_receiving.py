"""Tables that other programs send: read under limits, from ordinary places only."""

from __future__ import annotations

import gzip
import http.server
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

import astro_cluster as ac
from astro_cluster.vo.fetching import check_votable, fetch
from astro_cluster.vo.listen import Message
from astro_cluster.vo.messages import MessageError
from astro_cluster.vo.receiving import _Received

from .desktop import nothing_is_left, until

VOTABLE, FITS = "table.load.votable", "table.load.fits"


@pytest.fixture
def table():
    return QTable({"source_id": np.arange(5) + 2**60, "ra": np.arange(5.0) * u.deg})


@pytest.fixture
def receiving(hub):
    """Return a function that starts to receive in another thread."""
    with ThreadPoolExecutor() as pool:
        yield lambda **how: pool.submit(ac.receive, **{"timeout": 10, **how})


def send(topcat, mtype=VOTABLE, **params):
    """Call the one that waits, and return the text of its refusal."""
    who = until(lambda: next(iter(topcat.client.get_subscribed_clients(mtype)), None))
    params = {key.replace("_", "-"): value for key, value in params.items()}
    answer = topcat.client.call_and_wait(who, {"samp.mtype": mtype, "samp.params": params}, "10")
    return answer.get("samp.error", {}).get("samp.errortxt", "")


@pytest.fixture
def topcat(hub, desktop):
    program = desktop()
    program.client.declare_subscriptions({})
    return program


def test_a_table_comes(receiving, topcat, table, tmp_path):
    future = receiving()
    path = ac.write(table, tmp_path / "a b.vot")
    assert send(topcat, url=path.as_uri(), table_id="t7", name="stars") == ""
    got = future.result(10)
    assert got["source_id"].tolist() == table["source_id"].tolist()
    assert got["ra"].unit == u.deg
    assert got.meta["samp"] == {"url": path.as_uri(), "table-id": "t7", "name": "stars"}
    assert got.meta["name"] == "stars"
    assert ac.records(got)[0]["parameters"]["source"] == path.as_uri()
    assert topcat.names() == []


def test_the_file_may_go_once_the_answer_is_there(receiving, topcat, table, tmp_path):
    future = receiving()
    path = ac.write(table, tmp_path / "t.fits")
    assert send(topcat, FITS, url=path.as_uri()) == ""
    path.unlink()
    assert len(future.result(10)) == 5


def test_a_notification_and_several_tables(receiving, topcat, table, tmp_path):
    future = receiving(n=2)
    url = ac.write(table, tmp_path / "t.vot").as_uri()
    send(topcat, url=url)
    topcat.client.notify_all({"samp.mtype": VOTABLE, "samp.params": {"url": url}})
    assert [len(one) for one in future.result(10)] == [5, 5]


def test_nobody_is_told_that_a_table_was_taken_which_is_dropped(table, tmp_path):
    url = ac.write(table, tmp_path / "t.vot").as_uri()
    message = Message("c1", VOTABLE, {"url": url}, "m1")
    received = _Received(2)
    received.take(message)
    received.take(message)
    with pytest.raises(MessageError, match="no table is waited for any more"):
        received.take(message)
    assert received.tables.qsize() == 2
    late = _Received(1)
    late.end()
    with pytest.raises(MessageError, match="no table is waited for any more"):
        late.take(message)
    assert late.tables.empty()


def test_its_meta_can_be_written(receiving, topcat, table, tmp_path):
    future = receiving()
    send(topcat, url=ac.write(table, tmp_path / "t.vot").as_uri(), table_id="t7")
    ac.write(future.result(10), tmp_path / "out.vot")
    assert ac.read(tmp_path / "out.vot").meta["samp"]["table-id"] == "t7"


def test_what_is_refused_is_told_at_home_only(receiving, topcat, tmp_path):
    """An error may quote the file: that is nothing for the sender."""
    secret = tmp_path / "secret.txt"
    secret.write_text("password: 12345")
    future = receiving(timeout=1)
    with pytest.warns(ac.AstroClusterWarning, match="refused"):
        assert send(topcat, url=secret.as_uri()) == "the table cannot be read; the receiver says why"
    with pytest.raises(ac.ServiceError, match=r"no table has come .* that is no VOTable"):
        future.result(10)


@pytest.mark.parametrize("params", [{}, {"url": ["x"]}, {"url": ""}, {"url": "x" * 20_000}])
def test_messages_that_are_none(receiving, topcat, table, tmp_path, params):
    future = receiving()
    with pytest.warns(ac.AstroClusterWarning, match="refused"):
        assert send(topcat, **params) != ""
    send(topcat, url=ac.write(table, tmp_path / "t.vot").as_uri())
    assert len(future.result(10)) == 5


def test_nothing_comes(hub):
    start = time.monotonic()
    with nothing_is_left(), pytest.raises(ac.ServiceError, match=r"Interop > Send table to… > me"):
        ac.receive(timeout=0.5, name="me")
    assert time.monotonic() - start < 4


def test_no_hub(lockfile):
    with nothing_is_left(), pytest.raises(ac.ServiceError, match="no SAMP hub is running"):
        ac.receive(timeout=1)


@pytest.mark.parametrize("how", [{"timeout": -1}, {"n": 0}, {"n": "two"}, {"name": ""}, {"name": 3}])
def test_parameters_that_are_none(lockfile, how):
    with pytest.raises(ac.InputError):
        ac.receive(**how)


# ---------------------------------------------------------------- addresses


@pytest.fixture
def place(tmp_path):
    return tmp_path / "fetched"


def get(url, place, most=10_000, seconds=5.0):
    return fetch(url, place, most_bytes=most, seconds=seconds).read_bytes()


@pytest.mark.parametrize(
    "url",
    ["ftp://127.0.0.1/t.vot", "data:,x", "gopher://x", "/etc/passwd", "", "jar:file:/x", "javascript:1",
     "file://elsewhere/etc/passwd", "file:///nowhere/at/all", "file:///dev/zero", "file:///dev/stdin", "file:///",
     "file:///\x00", "http://[", "http://", "http:///x", "https://127.0.0.1:1/", "http://127.0.0.1:1/",
     "http://127.0.0.1:99999/", "http://127.0.0.1:1/\r\nx: y"],
)  # fmt: skip
def test_addresses_that_are_none(place, url):
    with pytest.raises(ac.ServiceError):
        get(url, place)


def test_a_pipe_is_not_waited_for(place, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    start = time.monotonic()
    with pytest.raises(ac.ServiceError, match="not an ordinary file"):
        get((tmp_path / "pipe").as_uri(), place)
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("form", ["file://{}", "file:{}", "file://localhost{}", "FILE://{}"])
def test_forms_of_an_address(place, tmp_path, form):
    (tmp_path / "ä b.vot").write_bytes(b"x")
    assert get(form.format(f"{tmp_path}/%C3%A4%20b.vot"), place) == b"x"


def test_too_large(place, tmp_path):
    file = tmp_path / "t"
    file.write_bytes(b"x" * 10_000)
    assert len(get(file.as_uri(), place)) == 10_000
    file.write_bytes(b"x" * 10_001)
    with pytest.raises(ac.ServiceError, match="more than 10,000 bytes"):
        get(file.as_uri(), place)


def test_packed_and_a_bomb(place, tmp_path):
    file = tmp_path / "t.gz"
    file.write_bytes(gzip.compress(b"stars"))
    assert get(file.as_uri(), place) == b"stars"
    file.write_bytes(gzip.compress(b"0" * 1_000_000))
    with pytest.raises(ac.ServiceError, match="more than 10,000 bytes"):
        get(file.as_uri(), place)
    file.write_bytes(gzip.compress(b"stars")[:12])
    with pytest.raises(ac.ServiceError, match="unpacked"):
        get(file.as_uri(), place)


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 1000)
            except OSError:
                return
        if self.path == "/drip":
            try:
                self.wfile.write(b"HTTP/1.0 200 OK\r\n")
                while True:
                    self.wfile.write(b"x")
                    time.sleep(0.05)
            except OSError:
                return
        if self.path.startswith("/to?"):
            self.send_response(302)
            self.send_header("Location", self.path.partition("?")[2])
            self.end_headers()
            return
        self.send_response(200 if self.path == "/t" else 404)
        self.end_headers()
        self.wfile.write(b"stars")

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as one:
        one.daemon_threads = True
        thread = threading.Thread(target=one.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{one.server_address[1]}"
        one.shutdown()


def test_http(server, place):
    assert get(f"{server}/t", place) == b"stars"
    assert get(f"{server}/to?/t", place) == b"stars"
    for path in ("/none", "/endless", f"/to?{server}/to?{server}/none"):
        with pytest.raises(ac.ServiceError):
            get(server + path, place)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"])
def test_a_redirect_to_elsewhere(server, place, target):
    with pytest.raises(ac.ServiceError, match=r"addresses only|is not allowed"):
        get(f"{server}/to?{target}", place)
    assert not place.exists()


def test_an_answer_that_drips(server, place):
    start = time.monotonic()
    with pytest.raises(ac.ServiceError, match=r"within 0\.5 s"):
        get(f"{server}/drip", place, seconds=0.5)
    assert time.monotonic() - start < 4


def test_a_proxy_is_not_asked(server, place, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    assert get(f"{server}/t", place) == b"stars"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'<!DOCTYPE V [<!ENTITY a SYSTEM "file:///etc/passwd">]><VOTABLE>&a;</VOTABLE>', "document type"),
        (b'<VOTABLE><STREAM href="file:///etc/passwd"/></VOTABLE>', "another address"),
        (b'<v:VOTABLE xmlns:v="x"><v:STREAM href="http://x/"/></v:VOTABLE>', "another address"),
        (
            '<?xml version="1.0" encoding="utf-16"?><VOTABLE><STREAM href="x"/></VOTABLE>'.encode("utf-16"),
            "another",
        ),
        (b'<?xml version="1.0" encoding="rot13"?><VOTABLE/>', "no VOTable"),
        (b'<?xml version="1.0" encoding="none"?><VOTABLE/>', "no VOTable"),
        (b"SIMPLE  =                    T", "no VOTable"),
        (b"", "no VOTable"),
    ],
)
def test_votables_that_reach_out(tmp_path, text, problem):
    (tmp_path / "t.vot").write_bytes(text)
    with pytest.raises(ac.ServiceError, match=problem):
        check_votable(tmp_path / "t.vot")
