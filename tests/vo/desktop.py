"""A program on the desktop that holds tables, as TOPCAT does, by pyvo's client and not by ours."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pyvo.samp import SAMPIntegratedClient

OK = {"samp.status": "samp.ok", "samp.result": {}}
T = TypeVar("T")


def until(look: Callable[[], T], seconds: float = 10.0, pause: float = 0.02) -> T:
    """Call until the answer is true, and return it."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "not in time"
        time.sleep(pause)
    return found


def refusal(text: str) -> dict[str, Any]:
    return {"samp.status": "samp.error", "samp.result": {}, "samp.error": {"samp.errortxt": text}}


class Program:
    """Loads tables, knows each a moment later, and notes what it is told.

    `told` has the type of each message, the name of its sender and its parameters.
    """

    def __init__(self, name: str = "topcat", *, delay: float = 0.0, tables: set[str] = frozenset()) -> None:
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        self.tables = set(tables)
        self.delay = delay
        self.error = ""
        self.client = SAMPIntegratedClient(name=name, addr="127.0.0.1")
        self.client.connect()
        for mtype in (
            "table.load.votable",
            "table.select.rowList",
            "table.highlight.row",
            "coord.pointAt.sky",
        ):
            self.client.bind_receive_call(mtype, self._called)
            self.client.bind_receive_notification(mtype, self._notified)

    @property
    def identifier(self) -> str:
        return self.client.get_public_id()

    def _notified(self, key: str, sender: str, mtype: str, params: Any, extra: Any) -> None:
        self.told.append((mtype, self._name(sender), params))

    def _name(self, sender: str) -> str:
        try:
            return self.client.get_metadata(sender).get("samp.name", "")
        except Exception:
            return ""

    def _called(self, key: str, sender: str, message: str, mtype: str, params: Any, extra: Any) -> None:
        # An exception in here makes the hub try ten times more.
        if mtype == "table.load.votable":
            self.told.append((mtype, self._name(sender), params))
            timer = threading.Timer(self.delay, self.tables.add, [params["table-id"]])
            timer.start() if self.delay else self.tables.add(params["table-id"])
            answer = refusal(self.error) if self.error else OK
        elif mtype != "coord.pointAt.sky" and params.get("table-id") not in self.tables:
            answer = refusal(f"No table with table-id={params.get('table-id')} or url=x is loaded")
        elif params.get("row") == "-1":
            answer = refusal("Row index -1 out of bounds")
        else:
            self.told.append((mtype, self._name(sender), params))
            answer = OK
        self.client.reply(message, answer)

    def heard(self, mtype: str) -> list[dict[str, Any]]:
        """Return the parameters of all messages of a type."""
        return [params for kind, _, params in self.told if kind == mtype]

    def call(self, mtype: str, **params: Any) -> dict[str, Any]:
        """Call all others that take the message, and return the answer of the one that is astro_cluster."""
        message = {"samp.mtype": mtype, "samp.params": {k.replace("_", "-"): v for k, v in params.items()}}
        return self.client.call_and_wait(self.partner(), message, "10")

    def notify(self, mtype: str, **params: Any) -> None:
        message = {"samp.mtype": mtype, "samp.params": {k.replace("_", "-"): v for k, v in params.items()}}
        self.client.notify_all(message)

    def partner(self) -> str:
        return until(lambda: next(iter(self.client.get_subscribed_clients("samp.hub.event.shutdown")), None))

    def names(self) -> list[str]:
        """Return the names of the other clients."""
        ids = self.client.get_registered_clients()
        return [self.client.get_metadata(i).get("samp.name", "") for i in ids if i != "cli#hub"]

    def close(self) -> None:
        with contextlib.suppress(Exception):  # the hub has ended first
            self.client.disconnect()


class HubProcess:
    """``astro-cluster hub`` in a process of its own."""

    def __init__(self, lockfile: Path) -> None:
        self._lockfile = lockfile
        self.start()

    def start(self) -> None:
        """Start one, and wait until it is there."""
        command = [sys.executable, "-c", "from astro_cluster.cli import main; main(['hub'])"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        line = self.process.stdout.readline()
        assert "SAMP hub at" in line, line + self.process.stdout.read()

    def end(self, sign: signal.Signals = signal.SIGKILL) -> tuple[int, str]:
        """End it; return its exit code and what it said."""
        if self.process.poll() is None:
            os.kill(self.process.pid, sign)
        said, _ = self.process.communicate(timeout=30)
        return self.process.returncode, said


@contextlib.contextmanager
def nothing_is_left() -> Iterator[None]:
    """Make sure that no thread is left by the block."""
    before = set(threading.enumerate())
    yield
    until(lambda: not [t for t in threading.enumerate() if t not in before and t.is_alive()], 15)
