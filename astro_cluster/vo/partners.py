"""The programs that have the table of a link: sent to, called, missed, and found again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from astro_cluster.exceptions import InputError, ServiceError
from astro_cluster.vo.hub import Client, HubConnection, Params
from astro_cluster.vo.line import Line
from astro_cluster.vo.lockfile import NoHubError
from astro_cluster.vo.samp import LOAD, Parcel, ascii_of, check_loaded, receivers

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Partners"]

PATIENCE = 10.0  # seconds in which a program should know a table that it has loaded
_PAUSE = 0.1
_UNKNOWN = "no table with"  # how TOPCAT begins to say that it does not know a table
_PING_EVERY = 5.0
_PING_SECONDS = 4.0
_MOST_MISSED = 2


class Partners:
    """Those that a table was sent to.

    Parameters
    ----------
    line : Line
        To the hub.
    wanted : str
        Name of the program in lower case, its identifier, or ``"all"``.
    parcel : Parcel
        The table as a file.
    table_id, name : str
        What the table is called in messages, and on the screen.
    seconds : float
        Longest wait for an answer.
    report : callable
        Told of changes: the kind of the event, the name of the program, and words.
    """

    def __init__(
        self,
        line: Line,
        wanted: str,
        parcel: Parcel,
        *,
        table_id: str,
        name: str,
        seconds: float,
        report: Callable[[str, str, str], None],
    ) -> None:
        self._line, self._wanted, self._parcel = line, wanted, parcel
        self._table_id, self._name, self._seconds = table_id, ascii_of(name), seconds
        self._report = report
        self.prepare: Callable[[], None] = lambda: None
        self._present: dict[str, Client] = {}
        self._names: set[str] = set()
        self._missed: dict[str, int] = {}
        self._pinged = 0.0
        self._lock = threading.RLock()

    @property
    def present(self) -> list[Client]:
        """Those that are there now."""
        with self._lock:
            return list(self._present.values())

    def of(self, identifier: str) -> str | None:
        """Return the name of one that is there.

        Parameters
        ----------
        identifier : str
            What the hub calls it.

        Returns
        -------
        str or None
        """
        found = self._present.get(identifier)
        return found.name if found else None

    # ------------------------------------------------------------ the table

    def find(self, wait: float) -> None:
        """Find the programs that are meant.

        Parameters
        ----------
        wait : float
            Seconds in which one may come.

        Raises
        ------
        ServiceError
            If there is none.
        """
        with self._line.hub() as hub:
            found = receivers(hub, self._wanted, wait=wait)
        with self._lock:
            self._present = {client.identifier: client for client in found}
            self._names |= {client.name.casefold() for client in found}

    def load(self) -> None:
        """Send the table to those that are there.

        Raises
        ------
        ServiceError
            If one does not load it.
        """
        check_loaded({client: self._load_into(client) for client in self._some()}, self._parcel)

    def _load_into(self, client: Client) -> str | None:
        self.prepare()
        params = {"url": self._parcel.path.as_uri(), "table-id": self._table_id, "name": self._name}
        with self._line.hub() as hub:
            return hub.call(client, LOAD, params, self._seconds)

    def check_known(self) -> None:
        """Make sure that they have the table already.

        Raises
        ------
        ServiceError
            If one does not know it.
        """
        end = time.monotonic() + min(self._seconds, PATIENCE)
        for client in self._some():
            while not self.knows(client):
                if time.monotonic() > end:
                    raise ServiceError(
                        f"{client.name} has no table with the id {self._table_id!r}: send the table "
                        "(leave table_id= out), or give the id that it was sent with"
                    )
                time.sleep(_PAUSE)

    def knows(self, client: Client) -> bool:
        """Tell whether a program has the table.

        Parameters
        ----------
        client : Client
            Which.

        Returns
        -------
        bool
        """
        # No program has the row -1; one that knows the table says so.
        params = {"table-id": self._table_id, "url": self._parcel.path.as_uri(), "row": "-1"}
        end = time.monotonic() + min(self._seconds, PATIENCE)
        while True:
            try:
                with self._line.hub() as hub:
                    answer = hub.ask(client, "table.highlight.row", params, self._seconds)
            except NoHubError:
                raise
            except ServiceError:
                # One that has just started does not take all messages yet: that says nothing.
                if time.monotonic() > end:
                    return False
                time.sleep(_PAUSE)
            else:
                said = answer.get("samp.error") or {}
                text = str(said.get("samp.errortxt", "")) if isinstance(said, dict) else ""
                return not text.casefold().startswith(_UNKNOWN)

    # ------------------------------------------------------------ calls

    def _some(self) -> list[Client]:
        found = self.present
        if found:
            return found
        with self._line.hub():
            pass  # without a hub that is what is wrong
        raise ServiceError(
            f"{self._wanted} is not connected to the SAMP hub any more: start it again (the table is then "
            "sent again), or end this link with close()"
        )

    def call(self, mtype: str, params: Params, *, sender: str | None = None) -> None:
        """Call all that are there.

        Parameters
        ----------
        mtype : str
            The message.
        params : dict
            Its parameters.
        sender : str, optional
            Name to call under instead of that of the link.

        Raises
        ------
        NoHubError
            If the hub is gone.
        ServiceError
            If one of them refuses.
        """
        said = []
        for client in self._some():
            problem = self._until_known(client, mtype, params, sender)
            if problem is not None:
                said.append(f"{client.name} refuses {mtype}: {problem}")
        if said:
            raise ServiceError("; ".join(said))

    def _until_known(self, client: Client, mtype: str, params: Params, sender: str | None) -> str | None:
        """Call, and again while the program has loaded the table but does not know it yet."""
        end = time.monotonic() + min(self._seconds, PATIENCE)
        while True:
            with self._line.hub() as hub:
                if sender is None:
                    problem = hub.call(client, mtype, params, self._seconds)
                else:
                    problem = self._call_as(sender, client, mtype, params)
            if problem is None or not problem.casefold().startswith(_UNKNOWN) or time.monotonic() > end:
                return problem
            time.sleep(_PAUSE)

    def _call_as(self, sender: str, client: Client, mtype: str, params: Params) -> str | None:
        """Call under another name: TOPCAT names a subset by the program that it comes from."""
        hub = HubConnection(self._line.lock, self._seconds)
        try:
            hub.declare(ascii_of(sender), "A subset of astro_cluster")
            # The hub tells of a new name by a message of its own.  Whoever answers a ping has most
            # likely read it; the rest of the time is for one that has not.
            hub.call(client, "samp.app.ping", {}, min(self._seconds, _PING_SECONDS))
            time.sleep(_PAUSE)
            return hub.call(client, mtype, params, self._seconds)
        finally:
            hub.leave()

    # ------------------------------------------------------------ who comes and goes

    def lost(self) -> None:
        """Take note that the hub is gone, and who was connected with it."""
        with self._lock:
            self._present.clear()

    def look(self, identifiers: Iterable[str], *, resend: bool) -> None:
        """Notice who has left, who is silent, and who is there again.

        Parameters
        ----------
        identifiers : iterable of str
            Of the clients of the hub.
        resend : bool
            Send the table to one that is there again and does not know it.
        """
        here = set(identifiers)
        for client in self.present:
            if client.identifier not in here:
                self._forget(client, f"{client.name} has left the SAMP hub")
        if time.monotonic() - self._pinged > _PING_EVERY:
            self._pinged = time.monotonic()
            self._ping()
        missing = self._names - {client.name.casefold() for client in self.present}
        if missing and here:
            self._find_again(missing, resend=resend)

    def _forget(self, client: Client, why: str) -> None:
        with self._lock:
            self._present.pop(client.identifier, None)
            self._missed.pop(client.identifier, None)
        self._report("left", client.name, why)

    def _ping(self) -> None:
        """Miss those that were killed: their hub may not have noticed."""
        for client in self.present:
            with self._line.hub() as hub:
                silent = hub.call(client, "samp.app.ping", {}, _PING_SECONDS) is not None
            self._missed[client.identifier] = self._missed.get(client.identifier, 0) + 1 if silent else 0
            if self._missed[client.identifier] >= _MOST_MISSED:
                self._forget(client, f"{client.name} does not answer any more")

    def _find_again(self, missing: set[str], *, resend: bool) -> None:
        with self._line.hub() as hub:
            found = hub.clients(LOAD)
        for client in found:
            name = client.name.casefold()
            if name in missing and client.subscribed and self._answers(client):
                missing = missing - {name}
                self._welcome(client, resend=resend)

    def _answers(self, client: Client) -> bool:
        with self._line.hub() as hub:
            return hub.call(client, "samp.app.ping", {}, _PING_SECONDS) is None

    def _welcome(self, client: Client, *, resend: bool) -> None:
        known = self.knows(client)
        with self._lock:
            self._present[client.identifier] = client
        words = "" if known or resend else "; it does not have the table: send_again() sends it"
        self._report("back", client.name, f"{client.name} is there again{words}")
        if known or not resend:
            return
        try:
            problem = self._load_into(client)
        except InputError as error:  # the table has changed meanwhile, or cannot be written
            problem = str(error)
        words = f"{client.name} did not load the table: {problem}" if problem else f"sent to {client.name}"
        self._report("not sent" if problem else "sent", client.name, words)
