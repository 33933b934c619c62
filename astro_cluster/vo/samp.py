"""Send a table to TOPCAT, Aladin and others by SAMP."""

from __future__ import annotations

import atexit
import functools
import hashlib
import math
import os
import shutil
import tempfile
import time
import unicodedata
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from astro_cluster.exceptions import InputError, ServiceError
from astro_cluster.vo.hub import Client, HubConnection, connect

if TYPE_CHECKING:
    from astropy.table import QTable, Table
    from astropy.units import Quantity

__all__ = ["send"]

LOAD = "table.load.votable"
EVERYBODY = "all"
ALIASES = {"ds9": "saoimageds9"}
POLL = 0.25  # seconds between two looks at who has come to a hub of ours
HEAD = 4096  # bytes in which a VOTable shows its root element


def send(
    table: QTable | Table | str | os.PathLike[str],
    *,
    to: str = "topcat",
    name: str | None = None,
    table_id: str | None = None,
    timeout: Quantity | float = 60.0,
    start_hub: bool = False,
) -> str:
    """Send a table to a program on the desktop and wait until it has loaded it.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        The table, or the file that holds it. A VOTable file is sent as it is; anything else
        is written to a VOTable in a private folder that lives as long as this process.
    to : str, optional
        Name of the program as the hub shows it, case ignored (``"topcat"``, ``"aladin"``,
        ``"ds9"``), its identifier at the hub, or ``"all"`` for every program that loads
        VOTables, one after the other. Every program of that name gets the table.
    name : str, optional
        What the program calls the table; by default ``meta["name"]`` or the name of the file.
        SAMP knows ASCII only: accents are taken off, other characters become ``?``.
    table_id : str, optional
        What further messages call the table, in ASCII; a new id by default. TOPCAT refuses an
        id that it has had before.
    timeout : `~astropy.units.Quantity` [time] or float, optional
        Longest wait for one program, in seconds if it has no unit.
    start_hub : bool, optional
        Run a SAMP hub in this process if there is none, until the process ends, and wait for
        the program to connect to it (TOPCAT looks for a hub every few seconds).

    Returns
    -------
    str
        The table id.

    Raises
    ------
    InputError
        If the table cannot be read, or a parameter makes no sense.
    ServiceError
        If there is no hub, the program is not connected to it, or does not load the table;
        with ``to="all"`` after all have been tried.

    Notes
    -----
    TOPCAT runs a hub of its own, so that with TOPCAT open nothing has to be started.

    TOPCAT answers up to 0.8 s before it knows the table by its id: repeat a message that
    names the id if the answer to it is "No table with table-id".

    Examples
    --------
    >>> import astro_cluster as ac
    >>> cat = ac.simulate.chandra(200, random_state=1)
    >>> ac.send(cat, to="topcat")  # doctest: +SKIP
    'astro_cluster:9d4c…'
    """
    seconds = seconds_of(timeout)
    wanted = wanted_of(to)
    table_id = checked_id(table_id)
    if isinstance(table, (str, os.PathLike)) and not Path(table).is_file():
        raise InputError(f"there is no file {os.fspath(table)}")
    with connect(seconds, start=start_hub) as hub:
        hub.declare("astro_cluster", "Groups in astronomical tables")
        clients = receivers(hub, wanted, wait=seconds if start_hub else 0.0)
        parcel = pack(table, table_id)
        params = {
            "url": parcel.path.as_uri(),
            "table-id": table_id,
            "name": ascii_of(str(name or parcel.name)),
        }
        failures = {client: hub.call(client, LOAD, params, seconds) for client in clients}
    check_loaded(failures, parcel)
    return table_id


def seconds_of(timeout: Quantity | float, *, zero: bool = False) -> float:
    """Return a time limit in seconds.

    Parameters
    ----------
    timeout : `~astropy.units.Quantity` [time] or float
        As the user gave it, in seconds if it has no unit.
    zero : bool, optional
        Whether no time at all is allowed.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If it is no positive, finite time.

    Examples
    --------
    >>> from astropy import units as u
    >>> seconds_of(2 * u.min)
    120.0
    """
    from astropy import units as u

    try:
        seconds = float(u.Quantity(timeout, u.s).value)
    except (TypeError, ValueError) as error:  # UnitConversionError is a TypeError
        raise InputError(f"timeout={timeout!r} is not a time: give seconds or a Quantity") from error
    if not (0 < seconds < math.inf or (zero and seconds == 0)):
        raise InputError(f"timeout={timeout!r} is not a positive, finite time")
    return seconds


def wanted_of(to: str) -> str:
    """Return the name by which programs are looked for at the hub.

    Parameters
    ----------
    to : str
        As the user gave it.

    Returns
    -------
    str
        In lower case, short names spelled out.

    Raises
    ------
    InputError
        If it is no text.

    Examples
    --------
    >>> wanted_of("DS9")
    'saoimageds9'
    """
    if not isinstance(to, str) or not to.strip():
        raise InputError(f"to={to!r} is not the name of a program: give 'topcat', another name, or 'all'")
    wanted = to.strip().casefold()
    return ALIASES.get(wanted, wanted)


def checked_id(given: str | None) -> str:
    """Return the id of a table that is sent, a new one if none is given.

    Parameters
    ----------
    given : str or None
        As the user gave it.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If it is no text that SAMP allows.

    Examples
    --------
    >>> checked_id("stars")
    'stars'
    """
    if given is None:
        return f"astro_cluster:{uuid.uuid4()}"
    if not (isinstance(given, str) and given and given == ascii_of(given)):
        raise InputError(
            f"table_id={given!r} is not a text of printable ASCII characters, all that SAMP allows"
        )
    return given


def ascii_of(text: str) -> str:
    """Return the nearest text that SAMP allows: a hub refuses a call with any other character."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else "?" for c in plain)


def receivers(hub: HubConnection, wanted: str, *, wait: float) -> list[Client]:
    """Return the clients that load tables and are meant, or say why there is none."""
    end = time.monotonic() + wait
    while True:
        clients = hub.clients(LOAD)
        meant = [c for c in clients if wanted in (EVERYBODY, c.name.casefold(), c.identifier.casefold())]
        ready = [client for client in meant if client.subscribed]
        if ready:
            return ready
        if time.monotonic() >= end:
            raise ServiceError(_nobody(wanted, clients, meant))
        time.sleep(POLL)


def _nobody(wanted: str, clients: list[Client], meant: list[Client]) -> str:
    connected = ", ".join(
        client.name if client.subscribed else f"{client.name} (loads no tables)" for client in clients
    )
    if wanted == EVERYBODY:
        problem = "no program that loads tables is connected to the SAMP hub"
    elif meant:
        problem = f"{meant[0].name} is connected to the SAMP hub but does not load tables (no {LOAD})"
    else:
        problem = f"no program called {wanted!r} is connected to the SAMP hub"
    return (
        f"{problem}; connected: {connected or 'nothing'}. Start TOPCAT, or connect it by the "
        "plug at the bottom right of its window; to= names the program"
    )


@dataclass(frozen=True, slots=True)
class Parcel:
    """A table on its way.

    Parameters
    ----------
    path : path
        The VOTable that the program reads.
    name : str
        What the program is to call it.
    sent_as_is : bool
        Whether it is the user's own file.
    """

    path: Path
    name: str
    sent_as_is: bool


def pack(
    table: QTable | Table | str | os.PathLike[str], table_id: str, *, rows: QTable | None = None
) -> Parcel:
    """Have the table in a VOTable file that other programs of the user can read.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        The table, or the file that holds it.
    table_id : str
        What messages call it.
    rows : `~astropy.table.QTable`, optional
        The table, if it has been read already.

    Returns
    -------
    Parcel
    """
    parcel = parcel_of(table, table_id)
    if parcel.sent_as_is:
        return parcel

    from astro_cluster.tables import as_qtable, write

    rows = as_qtable(table) if rows is None else rows
    # Under an id that is used again the file is replaced in one move, so that a program that
    # still reads the old one keeps it.
    write(rows, parcel.path, overwrite=True)
    name = str(rows.meta.get("name") or parcel.name)
    return Parcel(parcel.path, name, sent_as_is=False)


def parcel_of(table: QTable | Table | str | os.PathLike[str], table_id: str) -> Parcel:
    """Return where the file is that a table is sent as.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        The table, or the file that holds it.
    table_id : str
        What messages call it.

    Returns
    -------
    Parcel
    """
    path = Path(table).resolve() if isinstance(table, (str, os.PathLike)) else None
    if path is not None and _is_votable(path):
        return Parcel(path, path.stem, sent_as_is=True)
    file = outbox() / f"{hashlib.sha256(table_id.encode()).hexdigest()}.vot"
    return Parcel(file, path.stem if path else "astro_cluster", sent_as_is=False)


def _is_votable(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return False  # reading it will say what is wrong
    return head.lstrip().startswith(b"<") and b"VOTABLE" in head


@functools.cache
def outbox() -> Path:
    """Folder that only the user can enter, deleted when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="astro_cluster-"))
    atexit.register(_delete, folder, os.getpid())
    return folder


def _delete(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a process that was forked from it leaves it alone
        shutil.rmtree(folder, ignore_errors=True)


def check_loaded(failures: dict[Client, str | None], parcel: Parcel) -> None:
    """Make sure that all programs have loaded a table.

    Parameters
    ----------
    failures : dict of Client to str or None
        What each said: None if it has loaded the table.
    parcel : Parcel
        What was sent.

    Raises
    ------
    ServiceError
        If one has not; says who did.
    """
    said = [f"{client.name} did not load the table: {text}" for client, text in failures.items() if text]
    if not said:
        return
    loaded = [client.name for client, text in failures.items() if not text]
    if loaded:
        said.append(f"loaded by {', '.join(loaded)}")
    if parcel.sent_as_is:
        said.append(f"{parcel.path} was sent as it is: to have it written anew, read it and send the table")
    raise ServiceError("; ".join(said))
