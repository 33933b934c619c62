"""What comes from other programs is looked at before it is used."""

from __future__ import annotations

import random
import threading
import time
import xmlrpc.client
from pathlib import Path

import numpy as np
import pytest
from astropy.table import QTable

import astro_cluster as ac
from astro_cluster.vo import wire
from astro_cluster.vo.events import Event, Tray
from astro_cluster.vo.listen import Ear, Message
from astro_cluster.vo.messages import MessageError, is_same_place, row_of, rows_of, sky_of, text_of
from astro_cluster.vo.pointing import Pointer


@pytest.mark.parametrize(
    "rows", [None, "3", {}, 3, [3], ["3", 4], ["-1"], ["5"], ["1.0"], [" 1"], [""], ["", "12"], ["1", "²"],
             ["9" * 25], ["9" * 19], [["1"]], ["0x1"], ["1_0"], ["+1"], [True], [None]],
)  # fmt: skip
def test_rows_that_are_none(rows):
    with pytest.raises(MessageError):
        rows_of({"row-list": rows}, 5)


@pytest.mark.parametrize("rows", [[], ["0"], ["4", "0", "4"], ["03"]])
def test_rows(rows):
    assert rows_of({"row-list": rows}, 5).tolist() == [int(row) for row in rows]


@pytest.mark.parametrize("row", [None, 3, "-1", "5", "1.0", "", "x", "9" * 30, ["1"]])
def test_a_row_that_is_none(row):
    with pytest.raises(MessageError):
        row_of({"row": row}, 5)


@pytest.mark.parametrize("ra", ["nan", "inf", "1e9", "x", "", 3.0, None, "__import__('os')"])
def test_a_position_that_is_none(ra):
    for params in ({"ra": ra, "dec": "1"}, {"ra": "1", "dec": ra}, {}):
        with pytest.raises(MessageError):
            sky_of(params)


def test_a_text_that_is_none():
    for value in (3, None, ["a"], {"a": "b"}, "x" * 20_000):
        with pytest.raises(MessageError):
            text_of({"url": value}, "url")


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("file:/a/b%20c.vot", True),
        ("file:///a/b%20c.vot", True),
        ("file://localhost/a/b%20c.vot", True),
        ("file://localhost//a/b%20c.vot", True),
        ("file://elsewhere/a/b%20c.vot", False),
        ("http://localhost/a/b%20c.vot", False),
        ("file:///a/b.vot", False),
        ("file:///x/../a/b%20c.vot", False),
        ("file://[broken", False),
        ("", False),
        ("\x00", False),
    ],
)
def test_the_same_place(url, same):
    assert is_same_place(url, Path("/a/b c.vot")) is same


# ---------------------------------------------------------------- the wire


LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE m [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>
<methodCall><methodName>x</methodName><params><param><value>&b;</value></param></params></methodCall>"""
FILE = LAUGHS.replace(b'"ha"', b'SYSTEM "file:///etc/passwd"')


@pytest.mark.parametrize(
    "body",
    [b"", b"x", LAUGHS, FILE, b"<a>" * 10_000, b"<methodCall/>", b"<value><int>" + b"9" * 9999, b"\xff\xfe<",
     b"<params><param><value><int>x</int></value></param></params>",
     b"<params><param><value><base64>$</base64></value></param></params>",
     b"<params><param><value><dateTime.iso8601>?</dateTime.iso8601></value></param></params>"],
)  # fmt: skip
def test_xml_that_is_none(body):
    heard = []
    ear = Ear(heard.append)
    try:
        ear.key = "key"
        answer = ear.answer(body)
    finally:
        ear.close()
    with pytest.raises(xmlrpc.client.Fault):
        xmlrpc.client.loads(answer)
    assert heard == []


def test_an_entity_is_refused_by_name():
    for body in (LAUGHS, FILE):
        with pytest.raises(wire.WireError, match="document type"):
            wire.loads(body)


@pytest.fixture
def ear():
    """A running ear, and what it has heard."""
    heard: list[Message] = []
    one = Ear(heard.append)
    one.heard = heard
    one.key = "our key"
    one.start()
    yield one
    one.close()


def tell(ear, *params, method="receiveNotification", url=None):
    return wire.call(url or ear.url, f"samp.client.{method}", *params, seconds=10)


MESSAGE = {"samp.mtype": "table.highlight.row", "samp.params": {"row": "1"}}


def test_a_message_is_heard(ear):
    tell(ear, "our key", "cli#1", MESSAGE)
    tell(ear, "our key", "cli#1", "msg#1", MESSAGE, method="receiveCall")
    tell(ear, "our key", "cli#1", "tag", {}, method="receiveResponse")
    assert ear.heard == [
        Message("cli#1", "table.highlight.row", {"row": "1"}, None),
        Message("cli#1", "table.highlight.row", {"row": "1"}, "msg#1"),
    ]


def test_only_who_knows_the_key_and_the_path(ear):
    for key in ("", "our ke", "our keyy", 3, None, ["our key"]):
        with pytest.raises(xmlrpc.client.Fault, match="not the key"):
            tell(ear, key, "cli#1", MESSAGE)
    with pytest.raises(wire.WireError, match="404"):
        tell(ear, "our key", "cli#1", MESSAGE, url=ear.url.rpartition("/")[0] + "/RPC2")
    ear.key = None  # without a hub nobody is heard
    with pytest.raises(xmlrpc.client.Fault, match="not the key"):
        tell(ear, "our key", "cli#1", MESSAGE)
    assert ear.heard == []


def test_it_listens_on_the_loopback_address_only(ear):
    assert ear._server.server_address[0] == "127.0.0.1"


def test_a_message_without_a_type_is_no_fault(ear):
    """A hub takes a fault for a bad connection, and sends ten times more."""
    for content in (3, "x", {}, {"samp.mtype": 3}, {"samp.mtype": "a", "samp.params": []}):
        tell(ear, "our key", "cli#1", content)
    assert {message.mtype for message in ear.heard} == {""}


def raw(ear, request, *, patience=5.0):
    import socket

    port = int(ear.url.split(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
        connection.sendall(request)
        return connection.recv(200)


def test_requests_that_are_none(ear):
    path = ear.path.encode()
    assert b"411" in raw(ear, b"POST " + path + b" HTTP/1.0\r\n\r\n")
    assert b"411" in raw(ear, b"POST " + path + b" HTTP/1.0\r\nContent-Length: -1\r\n\r\n")
    assert b"413" in raw(ear, b"POST " + path + b" HTTP/1.0\r\nContent-Length: 99999999999\r\n\r\n")
    assert b"404" in raw(ear, b"POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
    assert b"501" in raw(ear, b"GET " + path + b" HTTP/1.0\r\n\r\n")
    assert b"400" in raw(ear, b"\x00\x01\x02\r\n\r\n")
    with ac.conf.set_temp("max_message_bytes", 100), pytest.raises(wire.WireError, match="413"):
        tell(ear, "our key", "cli#1", MESSAGE)
    tell(ear, "our key", "cli#1", MESSAGE)
    assert len(ear.heard) == 1


def test_who_hangs_is_not_waited_for(monkeypatch):
    """Half a request holds a thread until the ear is closed, and no longer."""
    import socket

    before = set(threading.enumerate())
    ear = Ear(lambda message: None)
    ear.start()
    port = int(ear.url.split(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST " + ear.path.encode() + b" HTTP/1.0\r\nContent-Length: 100\r\n\r\n<")
        time.sleep(0.2)
        start = time.monotonic()
        ear.close()
        assert time.monotonic() - start < 3
    assert [t for t in threading.enumerate() if t not in before and t.name == "SAMP server"] == []


def test_an_answer_that_is_too_long_or_has_no_end():
    import socket

    def serve(server, chunk, pause):
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\n\r\n")
            try:
                while True:
                    connection.sendall(chunk)
                    time.sleep(pause)
            except OSError:
                pass

    for chunk, pause, seconds, what in (
        (b"<methodResponse>" + b" " * 60_000, 0.0, 30, wire.WireError),
        (b" ", 0.05, 0.5, TimeoutError),
    ):
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=serve, args=(server, chunk, pause))
            thread.start()
            start = time.monotonic()
            with ac.conf.set_temp("max_message_bytes", 200_000), pytest.raises(what):
                wire.call(f"http://127.0.0.1:{server.getsockname()[1]}/", "a.b", seconds=seconds)
            assert time.monotonic() - start < 10
            thread.join(10)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "file:///etc/passwd", "https://127.0.0.1/", "x"])
def test_addresses_that_are_none(url):
    with pytest.raises(wire.WireError, match="http://"):
        wire.call(url, "samp.hub.ping", seconds=1)


# ---------------------------------------------------------------- mutations


def real_messages():
    """What TOPCAT, DS9 and the hubs send, as they send it."""
    select = {"table-id": "t", "url": "file:/tmp/t.vot", "row-list": ["1", "3", "44"]}
    contents = [
        {"samp.mtype": "table.select.rowList", "samp.params": select},
        {"samp.mtype": "table.highlight.row", "samp.params": {"table-id": "t", "url": "file:/t", "row": "7"}},
        {"samp.mtype": "coord.pointAt.sky", "samp.params": {"ra": "10.5", "dec": "-20.25"}},
        {"samp.mtype": "table.load.votable", "samp.params": {"url": "http://127.0.0.1:1/t.vot", "name": "x"}},
        {"samp.mtype": "samp.hub.event.register", "samp.params": {"id": "c4"}},
        {"samp.mtype": "samp.app.ping", "samp.params": {}},
    ]
    for content in contents:
        for params, method in (
            (("our key", "c1", content), "receiveNotification"),
            (("our key", "c1", "c0:9", content), "receiveCall"),
        ):
            yield xmlrpc.client.dumps(params, f"samp.client.{method}").encode()


def mutated(body, rng):
    """Change bytes, cut, double, swap tags, or put strange things in place of values."""
    body = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(body)) if body else 0
        what = rng.randrange(7)
        if what == 0 and body:
            body[at] = rng.randrange(256)
        elif what == 1:
            del body[at : at + rng.randint(1, 30)]
        elif what == 2:
            body[at:at] = body[at : at + rng.randint(1, 60)]
        elif what == 3:
            tags = [b"string", b"int", b"double", b"array", b"struct", b"boolean", b"nil", b"base64", b"i8"]
            body = bytearray(bytes(body).replace(rng.choice(tags[:5]), rng.choice(tags), rng.randint(1, 5)))
        elif what == 4:
            odd = [
                b"&#0;",
                b"&x;",
                b"\xff",
                b"9" * 50,
                b"-1",
                b"1e400",
                b"nan",
                b"../../etc",
                b"<nil/>",
                b"%s%n",
            ]
            body[at:at] = rng.choice(odd)
        elif what == 5:
            old = rng.choice([b">1<", b">3<", b">44<", b">7<", b">10.5<", b">t<", b">our key<"])
            new = rng.choice(
                [b"><", b">-1<", b">1000<", b">a<", b"><nil/><", b"><array><data></data></array><"]
            )
            body = bytearray(bytes(body).replace(old, new))
        else:
            body = body[: rng.randrange(len(body) + 1)]
    return bytes(body)


ODD = [
    *(None, True, -1, 2**31 - 1, 1e300, float("nan"), [], [[]], ["1", 2], ["7"], {}, {"a": {}}),
    *("", "x", "-1", "0x7", "9" * 30, "nan", "\u0661", "é ❤", "a" * 20_000, "our key", "t", "7", "../../x"),
    *("file:///etc/passwd", "file:///dev/zero", "file:///", "ftp://127.0.0.1/x", "http://127.0.0.1:1/x"),
    *("data:,x", xmlrpc.client.Binary(b"x"), xmlrpc.client.DateTime(0)),
]


def warped(value, rng):
    """Put something strange in place of one of the values."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: warped(value[key], rng)}
    if isinstance(value, (list, tuple)) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        return type(value)((*value[:at], warped(value[at], rng), *value[at + 1 :]))
    return rng.choice(ODD)


def some_mutation(bodies, rng):
    body = rng.choice(bodies)
    if rng.random() < 0.5:
        return mutated(body, rng)
    params, method = xmlrpc.client.loads(body)
    bent = warped(params, rng)
    return xmlrpc.client.dumps(bent if isinstance(bent, tuple) else (bent,), method, allow_none=True).encode()


def test_ten_thousand_mutations_crash_nothing(mutant_session):
    """Through parsing, dispatch and the handlers of a session and of receive, without a hub."""
    session, handle, ear = mutant_session
    rng = random.Random(4)
    bodies = list(real_messages())
    answered = accepted = 0
    for _ in range(20_000):
        answer = ear.answer(some_mutation(bodies, rng))
        try:
            xmlrpc.client.loads(answer)
            accepted += 1
        except xmlrpc.client.Fault:
            answered += 1
        handle()
    assert answered > 2000
    assert accepted > 2000
    assert handle.good > 500  # not all mutations hurt
    assert handle.refused > 500
    assert handle.crashed == []
    assert session.selection.shape == (50,)
    assert session.row is None or 0 <= session.row < 50


class Handling:
    """Does with messages what a line does, and counts."""

    def __init__(self, handlers):
        self.handlers, self.waiting = handlers, []
        self.good = self.refused = 0
        self.crashed = []

    def __call__(self):
        while self.waiting:
            message = self.waiting.pop()
            handler = self.handlers.get(message.mtype)
            if handler is None:
                continue
            try:
                handler(message)
                self.good += 1
            except MessageError as error:
                self.refused += bool(str(error))
            except Exception as error:
                self.crashed.append((message, error))


@pytest.fixture
def mutant_session(tmp_path):
    from astro_cluster.vo.receiving import _Received
    from astro_cluster.vo.samp import Parcel
    from astro_cluster.vo.session import Session

    rng = np.random.default_rng(1)
    table = QTable({"ra": rng.uniform(0, 360, 50), "dec": rng.uniform(-90, 90, 50)})
    session = Session(
        table, Parcel(tmp_path / "t.vot", "t", sent_as_is=True), table_id="t", name="t", wanted="topcat",
        seconds=1.0, resend=False, on_select=None, on_click=None, viewer=None,
        pointer=Pointer(table, (), None),
    )  # fmt: skip
    load = dict.fromkeys(("table.load.votable", "table.load.fits"), _Received(100_000).take)
    handling = Handling({**session._line._handlers, **load})
    ear = Ear(handling.waiting.append)
    ear.key = "our key"
    with ac.conf.set_temp("timeout", 0.5):
        yield session, handling, ear
    ear.close()
    session.close()


def test_some_hundred_mutations_over_http(ear):
    import http.client

    rng = random.Random(5)
    bodies = list(real_messages())
    port = int(ear.url.split(":")[2].partition("/")[0])
    for _ in range(400):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", ear.path, some_mutation(bodies, rng))
        assert connection.getresponse().status == 200
        connection.close()
    tell(ear, "our key", "cli#1", MESSAGE)
    assert ear.heard[-1] == Message("cli#1", "table.highlight.row", {"row": "1"}, None)


# ---------------------------------------------------------------- the tray


def test_the_latest_wins():
    tray = Tray()
    for number in range(1, 200):
        tray.put(Event("select", number))
        tray.put(Event("click", number))
    tray.put(Event("left", 1))
    assert [(e.kind, e.number) for e in iter(lambda: tray.get(0), None)] == [
        ("select", 199), ("click", 199), ("left", 1),
    ]  # fmt: skip


def test_a_closed_tray_wakes_its_reader():
    tray = Tray()
    threading.Timer(0.1, tray.close).start()
    start = time.monotonic()
    assert tray.get(30) is None
    assert time.monotonic() - start < 5


def test_the_rows_of_an_event_as_a_mask():
    assert Event("select", 1, n_rows=3, rows=np.array([2])).mask.tolist() == [False, False, True]
    assert Event("click", 1, n_rows=3, row=0).mask.tolist() == [True, False, False]
    assert not Event("left", 1, n_rows=3).mask.any()
