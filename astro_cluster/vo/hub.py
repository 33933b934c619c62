"""A sender's side of a SAMP hub: find it, register, list the clients, call one and wait.

A client that only sends needs no server of its own, so nothing here listens on a port.
`pyvo.samp.SAMPIntegratedClient` cannot do without one, and neither it nor `SAMPHubProxy`
puts a time limit on a hub that hangs; hence this thin layer over pyvo's XML-RPC proxy.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import http.client
import math
import time
import xmlrpc.client
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.parsers.expat import ExpatError

from astro_cluster.exceptions import InputError, ServiceError
from astro_cluster.vo.lockfile import GET_A_HUB, NoHubError, lock_url, read_lock

if TYPE_CHECKING:
    from pyvo.samp import SAMPXXEServerProxy

__all__ = ["Client", "HubConnection", "connect", "find_hub", "run_hub"]

PING_SECONDS = 10.0  # a hub that needs longer to say that it is there hangs


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


class _Transport(xmlrpc.client.Transport):
    """XML-RPC over a connection that does not wait for ever."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = super().make_connection(host)
        connection.timeout = self._seconds
        return connection

    def getparser(self) -> tuple[Any, Any]:
        from pyvo.samp.utils import get_safe_parser

        return get_safe_parser()


def _proxy(lock: dict[str, str], seconds: float) -> SAMPXXEServerProxy:
    from pyvo.samp import SAMPXXEServerProxy

    return SAMPXXEServerProxy(lock["samp.hub.xmlrpc.url"], transport=_Transport(seconds), allow_none=True)


def _ask(proxy: SAMPXXEServerProxy, method: str, *args: Any) -> Any:
    """Call a method of the hub; its failures are told in our words."""
    try:
        return getattr(proxy.samp.hub, method)(*args)
    except xmlrpc.client.Fault as fault:
        raise ServiceError(f"the SAMP hub refuses: {fault.faultString}") from fault
    except (OSError, http.client.HTTPException, xmlrpc.client.Error, ExpatError) as error:
        raise NoHubError(
            f"the SAMP hub does not answer ({error}): {GET_A_HUB}; a hub that has crashed leaves its "
            "lock file behind, which the next one replaces",
            url=lock_url(),
        ) from error


class HubConnection:
    """A registered sender; made by `connect`.

    Parameters
    ----------
    proxy : `~pyvo.samp.SAMPXXEServerProxy`
        The hub.
    secret : str
        From its lock file.
    """

    def __init__(self, proxy: SAMPXXEServerProxy, secret: str) -> None:
        self._ask = functools.partial(_ask, proxy)
        registration = self._ask("register", secret)
        self._key = registration["samp.private-key"]
        self._hub_id = registration["samp.hub-id"]

    def declare(self, name: str, description: str) -> None:
        """Tell the others who is sending.

        Parameters
        ----------
        name, description : str
            As other programs show them.
        """
        self._ask("declareMetadata", self._key, {"samp.name": name, "samp.description.text": description})

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
        subscribed = self._ask("getSubscribedClients", self._key, mtype)
        found = []
        for identifier in self._ask("getRegisteredClients", self._key):
            if identifier == self._hub_id:
                continue
            name = self._ask("getMetadata", self._key, identifier).get("samp.name", "?")
            found.append(Client(identifier, name, identifier in subscribed))
        return found

    def call(self, client: Client, mtype: str, params: dict[str, str], seconds: float) -> str | None:
        """Call one client and wait for its answer.

        Parameters
        ----------
        client : Client
            Who is called.
        mtype : str
            The message.
        params : dict of str
            Its parameters: SAMP knows strings only.
        seconds : float
            Longest wait, rounded up to whole seconds.

        Returns
        -------
        str or None
            What went wrong, or None.
        """
        message = {"samp.mtype": mtype, "samp.params": params}
        limit = str(math.ceil(seconds))
        start = time.monotonic()
        try:
            answer = self._ask("callAndWait", self._key, client.identifier, message, limit)
        except ServiceError as error:
            if time.monotonic() - start < seconds:
                return error.reason
            return f"no answer within {limit} s; it may be busy, or gone (timeout= waits longer)"
        if answer.get("samp.status") == "samp.error":
            return answer.get("samp.error", {}).get("samp.errortxt") or "it reports an error without a text"
        return None

    def leave(self) -> None:
        """Unregister; a hub that has gone meanwhile is no error."""
        with contextlib.suppress(ServiceError):
            self._ask("unregister", self._key)


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
    with _proxy(lock, seconds) as proxy:
        _ask(proxy, "ping")
    return lock


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
    try:
        lock = find_hub(min(seconds, PING_SECONDS))
    except NoHubError:
        if not start:
            raise
        run_hub()
        lock = find_hub(min(seconds, PING_SECONDS))
    # The hub ends a call that takes too long by itself; the longer limit is for one that hangs.
    with _proxy(lock, seconds + PING_SECONDS) as proxy:
        hub = HubConnection(proxy, lock["samp.secret"])
        try:
            yield hub
        finally:
            hub.leave()


def run_hub() -> None:
    """Run a hub in this process, on the loopback address only, until the process ends.

    Raises
    ------
    InputError
        If ``SAMP_HUB`` says that the lock file is on another machine.
    """
    from pyvo.samp import SAMPHubServer, conf

    if not lock_url().startswith("file:"):
        raise InputError(f"a hub cannot be started here: SAMP_HUB says that it is at {lock_url()}")
    # pyvo asks google.com whether there is an internet, to choose an address that we set anyway.
    with conf.set_temp("use_internet", False):
        hub = SAMPHubServer(web_profile=False, mode="single", addr="127.0.0.1", label="astro_cluster")
    hub.start()
    atexit.register(hub.stop)
