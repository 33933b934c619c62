"""A SAMP hub of our own: that of pyvo, with limits on what it takes and how long it waits."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import secrets
import socket
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from astro_cluster.exceptions import InputError, ServiceError
from astro_cluster.vo import wire
from astro_cluster.vo.hub import LEFT, reply
from astro_cluster.vo.listen import LoopbackServer
from astro_cluster.vo.lockfile import NoHubError, lock_url, read_lock

if TYPE_CHECKING:
    from pyvo.samp import SAMPHubServer

__all__ = ["run_hub"]

CLIENT_SECONDS = 60.0  # a client that takes longer to take a message hangs
KNOCK_SECONDS = 2.0


class _Server(LoopbackServer):
    """The hub's door: the calls of the clients, with the limits of `LoopbackServer`."""

    def __init__(self) -> None:
        super().__init__(path="/RPC2", most_threads=64)
        self.functions: dict[str, Callable[..., Any]] = {}

    # The part of the standard library's server that pyvo uses.
    def register_introspection_functions(self) -> None:
        pass

    def register_function(self, function: Callable[..., Any], name: str) -> None:
        self.functions[name] = function

    def perform(self, method: str | None, params: tuple[Any, ...]) -> Any:
        function = self.functions.get(method or "")
        if function is None:
            raise wire.WireError(f"the hub has no method {method!r}")
        if method in ("samp.hub.declareSubscriptions", "samp.hub.declareMetadata") and not (
            len(params) == 2 and isinstance(params[1], dict)
        ):
            raise wire.WireError(f"{method} takes a key and a map")
        if method == "samp.hub.setXmlrpcCallback" and not str(params[-1:]).lower().startswith("('http://"):
            raise wire.WireError("the address of a client has to begin with http://")
        return function(*params)


class _Endpoint:
    """A client as the hub calls it; takes the place of pyvo's pool, which waits for ever."""

    def __init__(self, url: str, method: str = "") -> None:
        self._url, self._method = url, method

    def __getattr__(self, name: str) -> _Endpoint:
        return _Endpoint(self._url, f"{self._method}.{name}".removeprefix("."))

    def __call__(self, *args: Any) -> Any:
        return wire.call(self._url, self._method, *args, seconds=CLIENT_SECONDS)


class _Answers(dict[str, Any]):
    """Answers that are waited for; None until they come, and never again after that."""

    def __init__(self) -> None:
        super().__init__()
        self.whose: dict[str, str] = {}  # who has to give them

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self.whose.pop(key, None)

    def waited_for(self, client: str) -> list[str]:
        """Return which answers one client has not given."""
        return [key for key, who in list(self.whose.items()) if who == client and self.get(key, "") is None]

    def __setitem__(self, key: str, answer: Any) -> None:
        if answer is None:
            self.setdefault(key, None)
        else:
            super().__setitem__(key, answer)


@functools.cache
def _hub_class() -> type[SAMPHubServer]:
    """Return the class of the hub; pyvo is imported when one is wanted."""
    from pyvo.samp import SAMPHubServer

    class Hub(SAMPHubServer):
        """pyvo's hub with a guarded door, keys that cannot be guessed, and threads that end."""

        def __init__(self, **how: Any) -> None:
            super().__init__(**how)
            self._sync_msg_ids_heap = _Answers()
            self._owner = os.getpid()

        def _get_new_hub_msg_id(self, sender_public_id: str, sender_msg_id: str) -> str:
            # pyvo waits for an answer only after it has delivered the call, and loses a quick one.
            identifier = super()._get_new_hub_msg_id(sender_public_id, sender_msg_id)
            if sender_msg_id == "samp::sync::call":
                self._sync_msg_ids_heap[identifier] = None
            return identifier

        def start(self, wait: bool = False) -> None:
            with _no_news():
                super().start(wait)

        def stop(self) -> None:
            if os.getpid() != self._owner:
                return  # a process that was forked from the one of the hub has none
            with _no_news():
                super().stop()

        def _notify_shutdown(self) -> None:
            super()._notify_shutdown()
            self._join_launched_threads()  # pyvo stops before the clients have been told

        def _start_standard_server(self) -> None:
            self._server = _Server()
            self._url = self._server.url
            self._register_standard_api(self._server)

        def _serve_forever(self) -> None:
            self._server.start()
            while self._is_running:
                time.sleep(0.05)
            self._server.close()

        def _create_secret_code(self) -> str:
            return secrets.token_hex(16)

        def _get_new_ids(self) -> tuple[str, str]:
            _, public = super()._get_new_ids()
            return secrets.token_hex(16), public

        def _set_xmlrpc_callback(self, private_key: str, xmlrpc_addr: str) -> str:
            if private_key not in self._private_keys or private_key == self._hub_private_key:
                return super()._set_xmlrpc_callback(private_key, xmlrpc_addr)
            self._update_last_activity_time(private_key)
            public = self._private_keys[private_key][0]
            self._xmlrpc_endpoints[public] = (xmlrpc_addr, _Endpoint(xmlrpc_addr))
            return ""

        def _launch_thread(
            self, group: None = None, target: Any = None, name: str | None = None, args: Any = ()
        ) -> None:
            self._launched_threads[:] = [t for t in self._launched_threads if t.is_alive()]
            thread = threading.Thread(target=_quietly, name=name, args=(target, *args), daemon=True)
            thread.start()
            self._launched_threads.append(thread)

        def _join_launched_threads(self, timeout: float | None = None) -> None:
            end = time.monotonic() + 2.0  # they end with the process in any case
            for thread in self._launched_threads:
                thread.join(max(0.0, end - time.monotonic()))

        def _retry_method(self, key: str | None, public: str, method: str, params: Any) -> None:
            """Deliver; of what need not be answered pyvo would warn whoever the hub runs with."""
            with contextlib.nullcontext() if method == "receiveCall" else contextlib.suppress(Exception):
                super()._retry_method(key, public, method, params)

        def _call_(self, key: str, sender: str, recipient: str, message_id: str, message: Any) -> None:
            """Deliver a call; who cannot be reached is told of at once, not when the time is up."""
            if message_id in self._sync_msg_ids_heap:
                self._sync_msg_ids_heap.whose[message_id] = recipient
            try:
                to = self._public_id_to_private_key(recipient)
                self._retry_method(to, recipient, "receiveCall", (sender, message_id, message))
            except Exception as error:
                gone = isinstance(error, ConnectionRefusedError)
                self._not_delivered(recipient, message_id, f"{recipient} cannot be reached ({error})")
                if gone and to is not None:
                    self._unregister(to)

        def _unregister(self, private_key: str) -> str:
            """Let one leave; who waits for an answer of it is told, and waits no longer."""
            public = self._private_keys.get(private_key, ("",))[0]
            answer = super()._unregister(private_key)
            for message_id in self._sync_msg_ids_heap.waited_for(public):
                self._sync_msg_ids_heap[message_id] = reply(LEFT)
            return answer

        def _not_delivered(self, recipient: str, message_id: str, problem: str) -> None:
            *_, sender, tag = message_id.split(";;", 3)
            if message_id in self._sync_msg_ids_heap:
                self._sync_msg_ids_heap[message_id] = reply(problem)
                return
            with contextlib.suppress(Exception):
                key = self._public_id_to_private_key(sender)
                self._retry_method(key, sender, "receiveResponse", (recipient, tag, reply(problem)))

    return Hub


@contextlib.contextmanager
def _no_news() -> Iterator[None]:
    """Keep pyvo from telling that its hub starts and stops."""
    from astropy import log

    level = log.level
    log.setLevel("WARNING")
    try:
        yield
    finally:
        log.setLevel(level)


def _quietly(target: Callable[..., Any], *args: Any) -> None:
    """Run what must not end in a traceback: the other end may be gone."""
    from astropy import log

    try:
        target(*args)
    except Exception as error:
        log.debug(f"SAMP hub: {type(error).__name__}: {error}")


def run_hub() -> SAMPHubServer:
    """Run a hub in this process, on the loopback address only, until the process ends.

    Returns
    -------
    `~pyvo.samp.SAMPHubServer`
        ``stop()`` ends it earlier.

    Raises
    ------
    InputError
        If ``SAMP_HUB`` says that the lock file is on another machine.
    ServiceError
        If there is a hub that hangs, or the lock file cannot be written.
    """
    from pyvo.samp import conf as samp_conf

    url = lock_url()
    if not url.startswith("file:"):
        raise InputError(f"a hub cannot be started here: SAMP_HUB says that it is at {url}")
    _clear(url)
    # pyvo asks google.com whether there is an internet, to choose an address that we set anyway.
    with samp_conf.set_temp("use_internet", False):
        hub = _hub_class()(web_profile=False, mode="single", addr="127.0.0.1", label="astro_cluster")
    try:
        hub.start()
    except OSError as error:
        raise ServiceError(f"the lock file of the SAMP hub cannot be written: {error}", url=url) from error
    if not hub._lockfile:
        hub.stop()
        raise ServiceError("another SAMP hub has started at the same moment: try again", url=url)
    atexit.register(hub.stop)
    return hub


def _clear(url: str) -> None:
    """Take the lock file of a dead hub away; pyvo would ask it first, without a time limit."""
    try:
        lock = read_lock(url, KNOCK_SECONDS)
    except NoHubError:
        return
    place = urlsplit(lock["samp.hub.xmlrpc.url"])
    try:
        socket.create_connection((place.hostname or "127.0.0.1", place.port or 80), KNOCK_SECONDS).close()
    except (ConnectionRefusedError, socket.gaierror, ValueError):
        Path(url2pathname(urlsplit(url).path)).unlink(missing_ok=True)
        return
    except OSError:
        pass
    try:
        wire.call(lock["samp.hub.xmlrpc.url"], "samp.hub.ping", seconds=KNOCK_SECONDS)
    except (xmlrpc.client.Fault, OSError, wire.WireError) as error:
        raise ServiceError(
            f"the SAMP hub of {lock.get('hub.label', 'another program')} hangs ({error}): end that program, "
            "or delete the lock file if it is none of yours",
            url=url,
        ) from error
