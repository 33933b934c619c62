"""A SAMP hub of the test's own, and programs that take tables from it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import pytest
from pyvo.samp import SAMPHubServer, SAMPIntegratedClient
from pyvo.samp import conf as samp_conf

from astro_cluster.vo.serving import run_hub

from .desktop import HubProcess, Program

LOAD = "table.load.votable"
OK = {"samp.status": "samp.ok", "samp.result": {}}


class Receiver:
    """A program on the desktop, as far as SAMP sees it.

    `received` holds the parameters of each call, `files` the bytes that it found at the URL,
    `spans` when each call began and ended.
    """

    def __init__(self, name: str, *, takes: str | None = LOAD, error: str = "", silent: bool = False) -> None:
        self.received: list[dict[str, str]] = []
        self.files: list[bytes] = []
        self.spans: list[tuple[float, float]] = []
        self.others: set[str] = set()
        self._error, self._silent = error, silent
        self._client = SAMPIntegratedClient(name=name, addr="127.0.0.1")
        self._client.connect()
        if takes:
            self._client.bind_receive_call(takes, self._answer)
            self._client.bind_receive_notification(takes, self._note)

    def _note(self, key: str, sender: str, mtype: str, params: dict[str, str], extra: Any) -> None:
        self.received.append(params)

    def _answer(self, key: str, sender: str, message: str, mtype: str, params: Any, extra: Any) -> None:
        # An exception in here makes the hub try ten times more.
        start = time.monotonic()
        self.received.append(params)
        self.others |= set(self._client.get_registered_clients())
        path = Path(url2pathname(urlparse(params["url"]).path))
        self.files.append(path.read_bytes() if path.is_file() else b"")
        time.sleep(0.05)
        self.spans.append((start, time.monotonic()))
        if self._error:
            self._client.reply(
                message, {"samp.status": "samp.error", "samp.error": {"samp.errortxt": self._error}}
            )
        elif not self._silent:
            self._client.reply(message, OK)

    def registered(self) -> list[str]:
        """Return the names of the other clients."""
        ids = self._client.get_registered_clients()
        return [self._client.get_metadata(i).get("samp.name", "") for i in ids if i != "cli#hub"]

    def close(self) -> None:
        with contextlib.suppress(ConnectionError):  # the hub has ended first
            self._client.disconnect()


@pytest.fixture
def lockfile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this test's hub is to be found; none runs yet, and the user's own is out of sight."""
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "samp.lock"
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{path.as_uri()}")
    with samp_conf.set_temp("use_internet", False):
        yield path


@pytest.fixture
def hub(lockfile: Path) -> Iterator[SAMPHubServer]:
    """A running hub on the loopback address: ours, as pyvo's own loses quick answers under load."""
    server = run_hub()
    yield server
    server.stop()


@pytest.fixture
def program(lockfile: Path) -> Iterator[Callable[..., Receiver]]:
    """Return a function that connects a program to whatever hub there is."""
    connected: list[Receiver] = []

    def connect(name: str, **how: Any) -> Receiver:
        connected.append(Receiver(name, **how))
        return connected[-1]

    yield connect
    for one in connected:
        one.close()


@pytest.fixture
def receiver(hub: SAMPHubServer, program: Callable[..., Receiver]) -> Callable[..., Receiver]:
    """Return a function that connects a program to a running hub."""
    return program


@pytest.fixture
def desktop(lockfile: Path) -> Iterator[Callable[..., Program]]:
    """Return a function that starts a program which holds tables, at whatever hub there is."""
    started: list[Program] = []

    def start(name: str = "topcat", **how: Any) -> Program:
        started.append(Program(name, **how))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def hub_process(lockfile: Path) -> Iterator[HubProcess]:
    """A hub that can be killed."""
    process = HubProcess(lockfile)
    yield process
    process.end()
