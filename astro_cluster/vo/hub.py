"""A client's side of a SAMP hub: find it, register, list the clients, call one and wait.

A client that only sends needs no server of its own, so nothing here listens on a port;
`listen` does.  `pyvo.samp.SAMPIntegratedClient` cannot do without one, and neither it nor
`SAMPHubProxy` puts a limit on the time or the size of an answer; hence this thin layer.
"""

from __future__ import annotations

import contextlib
import math
import time
import xmlrpc.client
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from astro_cluster.exceptions import ServiceError
from astro_cluster.vo import wire
from astro_cluster.vo.lockfile import GET_A_HUB, NoHubError, lock_url, read_lock

__all__ = ["Client", "HubConnection", "connect", "find_hub", "find_or_start", "reply"]

LEFT = "it has left the SAMP hub"  # what our hub answers for a program that is gone
PING_SECONDS = 10.0  # a hub that needs longer to say that it is there hangs

T = TypeVar("T")
Params = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True)
class Client:
    """A program that is registered with the hub.

    Parameters
    ----------
    identifier : str
        What the hub calls it.
    name : str
        What it calls itself.
    subscribed : bool
        Whether it takes the message that was asked about.
    """

    identifier: str
    name: str
    subscribed: bool


def _ask(url: str, method: str, *args: Any, seconds: float) -> Any:
    """Call a method of the hub; its failures are told in our words."""
    try:
        return wire.call(url, f"samp.hub.{method}", *args, seconds=seconds)
    except xmlrpc.client.Fault as fault:
        raise ServiceError(f"the SAMP hub refuses: {_printable(fault.faultString)}") from fault
    except (OSError, wire.WireError) as error:
        raise NoHubError(
            f"the SAMP hub does not answer ({error}): {GET_A_HUB}; a hub that has crashed leaves its "
            "lock file behind, which the next one replaces",
            url=lock_url(),
        ) from error


def _printable(text: Any) -> str:
    """Return a text of another program without what would steer the terminal that it is shown on."""
    return "".join(c if c.isprintable() else " " for c in str(text))[:2000]


def _as(kind: type[T], answer: Any) -> T:
    """Return an answer of the hub if it is of the kind that SAMP says."""
    if isinstance(answer, kind):
        return answer
    raise NoHubError(
        f"the SAMP hub answers with a {type(answer).__name__} where SAMP has a {kind.__name__}: "
        "end it and start another",
        url=lock_url(),
    )


def reply(problem: str | None) -> dict[str, Any]:
    """Return the answer to a call.

    Parameters
    ----------
    problem : str or None
        What went wrong, or None.

    Returns
    -------
    dict

    Examples
    --------
    >>> reply(None)
    {'samp.status': 'samp.ok', 'samp.result': {}}
    """
    if problem is None:
        return {"samp.status": "samp.ok", "samp.result": {}}
    return {"samp.status": "samp.error", "samp.result": {}, "samp.error": {"samp.errortxt": problem}}


class HubConnection:
    """A registered client; made by `connect`.

    Parameters
    ----------
    lock : dict of str
        The lock file of the hub.
    seconds : float
        Longest wait for what the hub answers by itself.
    """

    def __init__(self, lock: dict[str, str], seconds: float) -> None:
        self._url = lock["samp.hub.xmlrpc.url"]
        self._seconds = seconds
        registration = _as(dict, _ask(self._url, "register", lock["samp.secret"], seconds=seconds))
        self.key = _as(str, registration.get("samp.private-key"))
        self.identifier = str(registration.get("samp.self-id", ""))
        self.hub_identifier = str(registration.get("samp.hub-id", ""))

    def _ask(self, method: str, *args: Any, seconds: float | None = None) -> Any:
        return _ask(self._url, method, self.key, *args, seconds=seconds or self._seconds)

    def declare(self, name: str, description: str) -> None:
        """Tell the others who is there.

        Parameters
        ----------
        name, description : str
            As other programs show them.
        """
        self._ask("declareMetadata", {"samp.name": name, "samp.description.text": description})

    def listen(self, url: str, mtypes: Sequence[str]) -> None:
        """Have messages sent to a server of ours.

        Parameters
        ----------
        url : str
            Where it is.
        mtypes : sequence of str
            Which messages.
        """
        self._ask("setXmlrpcCallback", url)
        self._ask("declareSubscriptions", {mtype: {} for mtype in mtypes})

    def identifiers(self) -> list[str]:
        """Return the other clients as the hub calls them, without the hub itself.

        Returns
        -------
        list of str
        """
        found = _as(list, self._ask("getRegisteredClients"))
        return [_as(str, one) for one in found if one not in (self.hub_identifier, self.identifier)]

    def clients(self, mtype: str) -> list[Client]:
        """Return the other clients, without the hub itself.

        Parameters
        ----------
        mtype : str
            Message that `Client.subscribed` is about.

        Returns
        -------
        list of Client
        """
        subscribed = _as(dict, self._ask("getSubscribedClients", mtype))
        found = []
        for identifier in self.identifiers():
            try:
                name = self.name_of(identifier)
            except NoHubError:
                raise
            except ServiceError:
                continue  # it has left since
            found.append(Client(identifier, name, identifier in subscribed))
        return found

    def name_of(self, identifier: str) -> str:
        """Return what a client calls itself.

        Parameters
        ----------
        identifier : str
            What the hub calls it.

        Returns
        -------
        str
        """
        return _printable(_as(dict, self._ask("getMetadata", identifier)).get("samp.name", "?"))

    def ask(self, client: Client, mtype: str, params: Params, seconds: float) -> dict[str, Any]:
        """Call one client and return its whole answer.

        Parameters
        ----------
        client : Client
            Who is called.
        mtype : str
            The message.
        params : dict of str, or of lists of str
            Its parameters: SAMP knows no numbers.
        seconds : float
            Longest wait, rounded up to whole seconds.

        Returns
        -------
        dict
            Has ``samp.status``, and what goes with it.

        Raises
        ------
        NoHubError
            If the hub is gone.
        ServiceError
            If the hub refuses, or there is no answer in time.
        """
        message = {"samp.mtype": mtype, "samp.params": params}
        limit = str(math.ceil(seconds))
        start = time.monotonic()
        try:
            # The hub ends a call that takes too long by itself; the longer limit is for one that hangs.
            answer = self._ask(
                "callAndWait", client.identifier, message, limit, seconds=seconds + PING_SECONDS
            )
        except ServiceError as error:
            if time.monotonic() - start < seconds:
                raise
            raise ServiceError(
                f"no answer within {limit} s; it may be busy, or gone (timeout= waits longer)"
            ) from error
        return _as(dict, answer)

    def call(self, client: Client, mtype: str, params: Params, seconds: float) -> str | None:
        """Call one client and wait for its answer.

        Parameters
        ----------
        client, mtype, params, seconds :
            As for `ask`.

        Returns
        -------
        str or None
            What went wrong, or None.

        Raises
        ------
        NoHubError
            If the hub is gone.
        """
        try:
            answer = self.ask(client, mtype, params, seconds)
        except NoHubError:
            raise
        except ServiceError as error:
            return error.reason
        if answer.get("samp.status") != "samp.error":
            return None
        error = answer.get("samp.error")
        text = error.get("samp.errortxt") if isinstance(error, dict) else None
        return _printable(text or "it reports an error without a text")

    def notify(self, client: Client, mtype: str, params: Params) -> None:
        """Tell one client something and do not wait.

        Parameters
        ----------
        client, mtype, params :
            As for `ask`.
        """
        self._ask("notify", client.identifier, {"samp.mtype": mtype, "samp.params": params})

    def answer(self, message_id: str, problem: str | None) -> None:
        """Answer a call of another client.

        Parameters
        ----------
        message_id : str
            Which.
        problem : str or None
            What went wrong, or None.
        """
        self._ask("reply", message_id, reply(problem))

    def leave(self) -> None:
        """Unregister; a hub that has gone meanwhile is no error."""
        with contextlib.suppress(ServiceError):
            self._ask("unregister")


def find_hub(seconds: float) -> dict[str, str]:
    """Find the user's hub and make sure that it is alive.

    Parameters
    ----------
    seconds : float
        Longest wait for a sign of life.

    Returns
    -------
    dict of str
        Its lock file.

    Raises
    ------
    NoHubError
        If there is no hub, or it does not answer.
    ServiceError
        If the lock file is not one.
    """
    lock = read_lock(lock_url(), seconds)
    _ask(lock["samp.hub.xmlrpc.url"], "ping", seconds=seconds)
    return lock


def find_or_start(seconds: float, *, start: bool = False) -> dict[str, str]:
    """Find the user's hub, or run one in this process until it ends.

    Parameters
    ----------
    seconds : float
        Longest wait for a sign of life.
    start : bool, optional
        Run a hub if there is none.

    Returns
    -------
    dict of str
        Its lock file.

    Raises
    ------
    NoHubError
        If there is no hub, or it does not answer.
    ServiceError
        If the lock file is not one.
    """
    seconds = min(seconds, PING_SECONDS)
    try:
        return find_hub(seconds)
    except NoHubError:
        if not start:
            raise
    from astro_cluster.vo.serving import run_hub

    run_hub()
    return find_hub(seconds)


@contextlib.contextmanager
def connect(seconds: float, *, start: bool = False) -> Iterator[HubConnection]:
    """Register with the user's hub, and unregister at the end.

    Parameters
    ----------
    seconds : float
        Longest wait for an answer.
    start : bool, optional
        Run a hub in this process if there is none.

    Yields
    ------
    HubConnection

    Raises
    ------
    NoHubError
        If there is no hub, or it does not answer any more.
    ServiceError
        If the lock file is not one, or the hub refuses.
    """
    hub = HubConnection(find_or_start(seconds, start=start), seconds + PING_SECONDS)
    try:
        yield hub
    finally:
        hub.leave()
