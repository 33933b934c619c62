"""Take a table that another program sends."""

from __future__ import annotations

import contextlib
import queue
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_cluster.config import conf
from astro_cluster.exceptions import InputError, ServiceError
from astro_cluster.provenance import META_KEY
from astro_cluster.tables import read
from astro_cluster.vo.fetching import check_votable, fetch
from astro_cluster.vo.line import Line
from astro_cluster.vo.listen import Message
from astro_cluster.vo.messages import MessageError, text_of
from astro_cluster.vo.samp import ascii_of, seconds_of

if TYPE_CHECKING:
    from astropy.table import QTable
    from astropy.units import Quantity

__all__ = ["receive"]

_FORMATS = {"table.load.votable": "votable", "table.load.fits": "fits"}
_HUB_SECONDS = 30.0


class _Received:
    """The tables that have come, no more than are waited for, and what went wrong."""

    def __init__(self, n: int) -> None:
        self.tables: queue.Queue[QTable] = queue.Queue()
        self.problem = ""
        self._room = n
        self._lock = threading.Lock()

    def end(self) -> None:
        """Take no table any more: nobody is told that one was taken which nobody will get."""
        with self._lock:
            self._room = 0

    def take(self, message: Message) -> None:
        """Read the table of a message; the answer to it comes after that."""
        url, name = text_of(message.params, "url"), text_of(message.params, "name")
        table_id = text_of(message.params, "table-id")
        kind = _FORMATS[message.mtype]
        try:
            with tempfile.TemporaryDirectory(prefix="astro_cluster-") as folder:
                file = fetch(
                    url,
                    Path(folder) / f"received.{'vot' if kind == 'votable' else 'fits'}",
                    most_bytes=int(conf.max_received_bytes),
                    seconds=float(conf.timeout),
                )
                if kind == "votable":
                    check_votable(file)
                table = read(file, format=kind)
        except (InputError, ServiceError, MemoryError) as error:
            self.problem = f"the table that {message.sender} sent was refused: {error}"
            # No more than that: the text of an error may quote a file that is none of the sender's.
            raise MessageError("the table cannot be read; the receiver says why") from error
        _name_source(table, file, url)
        table.meta["samp"] = {"url": url, "table-id": table_id, "name": name}
        if name:
            table.meta.setdefault("name", name)
        with self._lock:
            if not self._room:
                raise MessageError("no table is waited for any more")
            self._room -= 1
            self.tables.put(table)


def _name_source(table: QTable, file: Path, url: str) -> None:
    """Have the record say where the table is from, not where it lay for a moment."""
    for record in table.meta.get(META_KEY, []):
        if record.get("parameters", {}).get("source") == str(file):
            record["parameters"]["source"] = url


def receive(
    *,
    timeout: Quantity | float | None = None,
    name: str = "astro_cluster",
    start_hub: bool = False,
    n: int = 1,
) -> Any:
    """Wait for a table that TOPCAT or another program sends.

    Parameters
    ----------
    timeout : `~astropy.units.Quantity` [time] or float, optional
        Longest wait, in seconds if it has no unit; for ever by default.
    name : str, optional
        What other programs call this one.
    start_hub : bool, optional
        Run a SAMP hub in this process if there is none.
    n : int, optional
        How many tables to wait for.

    Returns
    -------
    `~astropy.table.QTable` or list of them
        One table, or a list if ``n`` is more than 1.  ``meta["samp"]`` has the ``table-id``,
        with which `link` goes on without sending the table back.

    Raises
    ------
    InputError
        If a parameter makes no sense.
    ServiceError
        If there is no hub, or no table comes in time; the message tells what was refused.

    Notes
    -----
    Tables are read from files of this machine and from http and https, up to
    ``conf.max_received_bytes`` and for ``conf.timeout`` seconds.  The sender is told whether the
    table could be read after it has been.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> cat = ac.receive(timeout=60)  # doctest: +SKIP
    >>> session = ac.link(cat, table_id=cat.meta["samp"]["table-id"])  # doctest: +SKIP
    """
    seconds = None if timeout is None else seconds_of(timeout)
    if not (isinstance(n, int) and n >= 1):
        raise InputError(f"n={n!r}: give the number of tables, 1 or more")
    if not (isinstance(name, str) and name.strip()):
        raise InputError(f"name={name!r} is no name for this program")
    received = _Received(n)
    line = Line(
        ascii_of(name),
        "Waits for a table",
        dict.fromkeys(_FORMATS, received.take),
        seconds=_HUB_SECONDS if seconds is None else min(seconds, _HUB_SECONDS),
    )
    with contextlib.closing(line):
        line.open(start_hub=start_hub)
        line.watch()
        tables = _wait(received, n, seconds, name)
    return tables[0] if n == 1 else tables


def _wait(received: _Received, n: int, seconds: float | None, name: str) -> list[QTable]:
    end = None if seconds is None else time.monotonic() + seconds
    tables: list[QTable] = []
    while len(tables) < n:
        # In pieces, so that Ctrl-C is heard on every system.
        left = 0.5 if end is None else min(0.5, end - time.monotonic())
        try:
            tables.append(received.tables.get(timeout=max(left, 0.001)))
        except queue.Empty:
            if end is not None and time.monotonic() >= end:
                received.end()
                with contextlib.suppress(queue.Empty):  # one may have come in this moment
                    while True:
                        tables.append(received.tables.get_nowait())
                if len(tables) == n:
                    break
                raise ServiceError(
                    f"{len(tables) or 'no'} table{'s have' if len(tables) > 1 else ' has'} come within "
                    f"{seconds:g} s: in TOPCAT, select the table and choose "
                    f"Interop > Send table to… > {name}"
                    + (f"; {received.problem}" if received.problem else "")
                ) from None
    return tables
