"""The verbs that stay: link, receive and hub, each in a process of its own."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

import astro_cluster as ac

from .desktop import HubProcess, until

SELECT, HIGHLIGHT = "table.select.rowList", "table.highlight.row"


class Verb:
    """A command line that runs; its lines are read as they come."""

    def __init__(self, *arguments):
        command = [sys.executable, "-c", "import sys; from astro_cluster.cli import main; main(sys.argv[1:])"]
        self.process = subprocess.Popen(
            [*command, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def says(self, words, seconds=30):
        return until(lambda: next((line for line in self.lines if words in line), None), seconds)

    def end(self, sign=signal.SIGINT):
        if self.process.poll() is None:
            os.kill(self.process.pid, sign)
        code = self.process.wait(20)
        self._reader.join(5)
        with self.process.stderr:
            return code, self.process.stderr.read()


@pytest.fixture
def verb():
    running = []

    def start(*arguments):
        running.append(Verb(*arguments))
        return running[-1]

    yield start
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        one._reader.join(5)
        one.process.stdout.close()
        one.process.stderr.close()


@pytest.fixture
def file(tmp_path):
    n = 8
    table = QTable(
        {
            "main_id": [f"star {i}" for i in range(n)],
            "ra": np.arange(n) * u.deg,
            "dec": np.arange(n) * u.deg,
            "image": np.random.default_rng(1).normal(size=(n, 6, 6)),
        }
    )
    return ac.write(table, tmp_path / "stars.vot")


def select(topcat, *rows):
    who = topcat.partner()
    params = {"table-id": topcat.heard("table.load.votable")[-1]["table-id"], "row-list": [*map(str, rows)]}
    topcat.client.call_and_wait(who, {"samp.mtype": SELECT, "samp.params": params}, "10")


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_link(hub, desktop, verb, file, tmp_path, sign):
    topcat, saved, drawn = desktop(), tmp_path / "selected.fits", tmp_path / "click.png"
    link = verb("link", file, "--save-selection", saved, "--show", "image", "--show-to", drawn)
    link.says("linked")
    select(topcat, 1, 2, 3, 4, 5, 6)
    assert link.says("selected") == "selected 6 of 8 rows: star 1, star 2, star 3, star 4, star 5, …"
    until(saved.exists)
    select(topcat, 7)
    link.says("selected 1 of 8 rows: star 7")
    until(lambda: len(ac.read(saved)) == 1)
    table_id = topcat.heard("table.load.votable")[-1]["table-id"]
    topcat.notify(HIGHLIGHT, table_id=table_id, row="2")
    assert link.says("clicked") == "clicked row 2: star 2"
    until(drawn.exists)
    code, said = link.end(sign)
    assert (code, said, link.lines[-1]) == (0, "", "ended")
    assert ac.read(saved)["main_id"].tolist() == ["star 7"]
    until(lambda: topcat.names() == [])


def test_link_calls_a_row_without_a_counterpart_by_its_own_name(hub, desktop, verb, tmp_path):
    table = QTable({"name": ["A", "B"], "main_id": np.ma.array(["M 31", ""], mask=[False, True])})
    table["ra"], table["dec"] = [1.0, 2.0] * u.deg, [0.0, 0.0] * u.deg
    topcat, link = desktop(), verb("link", ac.write(table, tmp_path / "matched.vot"))
    link.says("linked")
    select(topcat, 0, 1)
    assert link.says("selected") == "selected 2 of 2 rows: M 31, B"


def test_link_without_a_hub(lockfile, verb, file):
    link = verb("link", file)
    assert link.process.wait(30) == 1
    assert "no SAMP hub is running" in link.end()[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["nothing.vot"], "no file"), (["{file}", "--save-selection", "{file}"], "exists already"),
     (["{file}", "--show", "picture"], "no column"), (["{file}", "--show-to", "x.nothing"], "format")],
)  # fmt: skip
def test_mistakes(hub, verb, file, arguments, words):
    link = verb("link", *[argument.format(file=file) for argument in arguments])
    assert link.process.wait(30) == 2
    assert words in link.end()[1]


def test_receive(hub, desktop, verb, file, tmp_path):
    topcat, out = desktop(), tmp_path / "received.fits"
    topcat.client.declare_subscriptions({})
    receive = verb("receive", "-o", out, "--name", "waiting")
    receive.says("Send table to… > waiting")
    who = until(lambda: next(iter(topcat.client.get_subscribed_clients("table.load.votable")), None), 20)
    message = {"samp.mtype": "table.load.votable", "samp.params": {"url": file.as_uri()}}
    assert topcat.client.call_and_wait(who, message, "10")["samp.status"] == "samp.ok"
    receive.says("wrote")
    assert receive.process.wait(20) == 0
    assert len(ac.read(out)) == 8


def test_receive_is_interrupted(hub, desktop, verb, tmp_path):
    topcat = desktop()
    topcat.client.declare_subscriptions({})
    receive = verb("receive", "-o", tmp_path / "out.vot")
    until(lambda: topcat.client.get_subscribed_clients("table.load.votable"), 20)
    assert receive.end() == (130, "astro-cluster: interrupted\n")
    until(lambda: topcat.names() == [])


# ---------------------------------------------------------------- the hub


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_the_hub(hub_process, lockfile, desktop, sign):
    assert stat.S_IMODE(lockfile.stat().st_mode) == 0o600
    assert "http://127.0.0.1:" in lockfile.read_text()
    one, two = desktop("one"), desktop("two")
    assert two.names() == ["one"]
    assert one.client.call_and_wait(
        two.identifier, {"samp.mtype": "samp.app.ping", "samp.params": {}}, "5"
    )["samp.status"] == "samp.ok"  # fmt: skip
    assert hub_process.end(sign) == (0, "ended\n")
    assert not lockfile.exists()


def test_there_is_a_hub_already(hub_process, verb):
    second = verb("hub")
    assert second.process.wait(30) == 1
    assert "running already, that of astro_cluster" in second.end()[1]


def test_a_hub_that_was_killed_is_replaced(hub_process, lockfile):
    hub_process.end(signal.SIGKILL)
    assert lockfile.exists()
    before = lockfile.read_text()
    other = HubProcess(lockfile)
    assert lockfile.read_text() != before
    assert other.end(signal.SIGINT)[0] == 0


def test_a_hub_that_hangs_is_told_of(hub_process, lockfile, verb):
    os.kill(hub_process.process.pid, signal.SIGSTOP)
    try:
        second = verb("hub")
        assert second.process.wait(40) == 1
        assert "hangs" in second.end()[1]
        assert lockfile.exists()
    finally:
        os.kill(hub_process.process.pid, signal.SIGCONT)


def test_a_client_that_hangs_does_not_keep_the_hub(hub_process, desktop):
    """Neither from answering others nor from ending."""
    one, two = desktop("one"), desktop("two")
    two.client.client.stop()
    message = {"samp.mtype": "samp.app.ping", "samp.params": {}}
    answer = one.client.call_and_wait(two.identifier, message, "20")
    assert "cannot be reached" in answer["samp.error"]["samp.errortxt"]
    assert one.names() == []  # it has been unregistered
    assert hub_process.end(signal.SIGINT)[0] == 0


def test_who_leaves_while_it_is_called_is_not_waited_for(hub_process, desktop):
    one, two = desktop("one"), desktop("two")
    two.client.bind_receive_call("table.select.rowList", lambda *_: threading.Timer(0.2, two.close).start())
    message = {"samp.mtype": "table.select.rowList", "samp.params": {}}
    start = time.monotonic()
    answer = one.client.call_and_wait(two.identifier, message, "20")
    assert answer["samp.error"]["samp.errortxt"] == "it has left the SAMP hub"
    assert time.monotonic() - start < 10


def test_who_hangs_up_in_the_middle_of_a_call(hub_process, lockfile, desktop):
    """pyvo's hub goes on reading for ever from one that has died."""
    import socket

    text = lockfile.read_text()
    port = int(text.partition("http://127.0.0.1:")[2].partition("/")[0])
    for request in (
        b"POST /RPC2 HTTP/1.0\r\nContent-Length: 9999\r\n\r\n<meth",
        b"POST /RPC2 HTTP/1.0\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST /RPC2 HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x00" * 1000,
    ):
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(request)
    before = _cpu_seconds(hub_process.process.pid)
    assert desktop("one").names() == []
    assert _cpu_seconds(hub_process.process.pid) - before < 2
    assert hub_process.end(signal.SIGINT)[0] == 0


def _cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_only_who_has_the_secret_and_a_key(hub_process, lockfile):
    import xmlrpc.client

    from astro_cluster.vo import wire

    url = lockfile.read_text().partition("samp.hub.xmlrpc.url=")[2].splitlines()[0]
    for method, *params in (
        ("register", "guessed"),
        ("getRegisteredClients", "guessed"),
        ("declareSubscriptions", "guessed", 3),
        ("setXmlrpcCallback", "guessed", "file:///etc/passwd"),
        ("register",),
        ("nothing",),
        ("notify", 1, 2, 3),
    ):
        with pytest.raises(xmlrpc.client.Fault):
            wire.call(url, f"samp.hub.{method}", *params, seconds=5)
    assert wire.call(url, "samp.hub.ping", seconds=5) == "1"


def test_no_quick_answer_is_lost(hub, desktop):
    """pyvo's hub waits for an answer only after it has delivered the call."""
    identifier = hub._get_new_hub_msg_id("cli#1", "samp::sync::call")
    hub._sync_msg_ids_heap[identifier] = {"samp.status": "samp.ok"}
    hub._sync_msg_ids_heap[identifier] = None  # what pyvo does then
    assert hub._sync_msg_ids_heap[identifier] == {"samp.status": "samp.ok"}
    one, two = desktop("one"), desktop("two")
    message = {"samp.mtype": "samp.app.ping", "samp.params": {}}
    for _ in range(100):
        assert one.client.call_and_wait(two.identifier, message, "3")["samp.status"] == "samp.ok"
    assert len(hub._sync_msg_ids_heap) == 1
