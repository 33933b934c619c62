"""A line to the hub that stays: it takes messages, answers calls, and outlives the hub."""

from __future__ import annotations

import contextlib
import queue
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping

from astro_cluster.exceptions import AstroClusterWarning, InputError, ServiceError
from astro_cluster.vo.hub import PING_SECONDS, HubConnection, find_hub, find_or_start
from astro_cluster.vo.listen import Ear, Message
from astro_cluster.vo.lockfile import NoHubError
from astro_cluster.vo.messages import MessageError, OtherTableError
from astro_cluster.vo.samp import ascii_of

__all__ = ["Line", "tell"]

WATCH_SECONDS = 1.0  # between two looks at the hub
CLOSING_SECONDS = 5.0
_MOST_WAITING = 100
_TAKE_SECONDS = 5.0
_ANSWER_SECONDS = 2.0
_LONGEST_ANSWER = 300

Handler = Callable[[Message], None]


def tell(text: str) -> None:
    """Warn from a thread, where nobody could catch what a warning is turned into.

    Parameters
    ----------
    text : str
        What the user should know.
    """
    with contextlib.suppress(Warning):
        warnings.warn(text, AstroClusterWarning, stacklevel=2)


class Line:
    """A client that is registered as long as there is a hub, and again when one comes back.

    Parameters
    ----------
    name, description : str
        As other programs show them.
    handlers : dict of str to callable
        What is done with the messages of each type, one after the other, in a thread of the
        line.  A `MessageError` is the answer to a call.
    seconds : float
        Longest wait for the hub.
    on_lost, on_back : callable, optional
        Told, from a thread, when the hub goes and comes; the first is given the reason.
    on_look : callable, optional
        Is given the identifiers of the other clients about once a second.
    """

    def __init__(
        self,
        name: str,
        description: str,
        handlers: Mapping[str, Handler],
        *,
        seconds: float,
        on_lost: Callable[[str], None] | None = None,
        on_back: Callable[[], None] | None = None,
        on_look: Callable[[list[str]], None] | None = None,
    ) -> None:
        self._name, self._description, self._handlers = name, description, handlers
        self._seconds = seconds
        self._on_lost, self._on_back, self._on_look = on_lost, on_back, on_look
        self._waiting: queue.Queue[Message | None] = queue.Queue(_MOST_WAITING)
        self._lock = threading.RLock()
        self._handling = threading.RLock()
        self._stop = threading.Event()
        self._hub: HubConnection | None = None
        self.expelled = False
        self._told: set[str] = set()
        self._threads: list[threading.Thread] = []
        self._ear = Ear(self._take)

    def open(self, *, start_hub: bool = False) -> None:
        """Register, and take messages from now on.

        Parameters
        ----------
        start_hub : bool, optional
            Run a hub in this process if there is none.

        Raises
        ------
        NoHubError, ServiceError
            As `hub.connect`.
        """
        self._ear.start()
        self._run(self._read_on, "SAMP messages")
        self._register(find_or_start(self._seconds, start=start_hub))

    def watch(self) -> None:
        """Look after the hub and the clients from now on."""
        self._run(self._watch, "SAMP watch")

    def _run(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    # ------------------------------------------------------------ the hub

    def _register(self, lock: dict[str, str]) -> None:
        hub = HubConnection(lock, self._seconds + PING_SECONDS)
        try:
            hub.declare(self._name, self._description)
            self._ear.key = hub.key
            hub.listen(
                self._ear.url,
                [*self._handlers, "samp.app.ping", "samp.hub.disconnect", "samp.hub.event.shutdown"],
            )
        except BaseException:
            hub.leave()
            raise
        with self._lock:
            if not self._stop.is_set():
                self._hub, self.lock = hub, lock
                return
        hub.leave()  # the line was closed meanwhile

    @property
    def connected(self) -> bool:
        """Whether there is a hub, as far as is known."""
        return self._hub is not None

    @contextlib.contextmanager
    def hub(self) -> Iterator[HubConnection]:
        """Give the hub for as long as the block lasts, and notice if it goes meanwhile.

        Yields
        ------
        HubConnection

        Raises
        ------
        NoHubError
            If there is none.
        """
        hub = self._hub
        if hub is None:
            raise NoHubError(
                "the SAMP hub is gone: the link goes on when there is one again (TOPCAT runs one), "
                "do it once more then"
            )
        try:
            yield hub
        except NoHubError as error:
            self._lose(hub, error.reason)
            raise

    def _lose(self, hub: HubConnection, reason: str) -> None:
        with self._lock:
            if self._hub is not hub or self._stop.is_set():
                return
            self._hub = None
            self._ear.key = None
        if self._on_lost is not None:
            self._on_lost(reason)

    def _watch(self) -> None:
        while not self._stop.wait(WATCH_SECONDS):
            hub = self._hub
            try:
                if hub is not None:
                    found = hub.identifiers()
                    if self._on_look is not None:
                        self._on_look(found)
                elif not self.expelled:
                    self._register(find_hub(PING_SECONDS))
                    if self._on_back is not None:
                        self._on_back()
            except ServiceError as error:
                # A hub that has started anew on the same port does not know us.
                if hub is not None:
                    self._lose(hub, error.reason)
            except InputError:
                pass  # SAMP_HUB has been changed meanwhile
            except Exception as error:
                self._tell_once(f"the link to the SAMP hub has an error of its own: {error!r}")

    # ------------------------------------------------------------ messages

    def _take(self, message: Message) -> None:
        # A sender that is faster than we are waits here, and is not heard after that.
        with contextlib.suppress(queue.Full):
            self._waiting.put(message, timeout=_TAKE_SECONDS)

    def _read_on(self) -> None:
        while (message := self._waiting.get()) is not None and not self._stop.is_set():
            try:
                with self._handling:
                    self._handle(message)
            except Exception as error:
                self._tell_once(f"a SAMP message of the type {message.mtype[:80]!r} failed: {error!r}")

    def _handle(self, message: Message) -> None:
        hub = self._hub
        if hub is None:
            return
        problem = None
        try:
            self._perform(hub, message)
        except MessageError as error:
            problem = str(error)
            if not isinstance(error, OtherTableError):
                self._tell_once(f"a SAMP message was refused ({message.mtype[:80]}): {problem}")
        except Exception as error:
            problem = "an error of the receiver"
            self._tell_once(f"a SAMP message of the type {message.mtype[:80]!r} failed: {error!r}")
        if message.identifier is None:
            return
        if problem is not None:
            problem = ascii_of(problem)[:_LONGEST_ANSWER]
        with contextlib.suppress(ServiceError):
            hub.answer(message.identifier, problem)

    def _perform(self, hub: HubConnection, message: Message) -> None:
        if message.mtype in self._handlers:
            if message.sender != hub.identifier:
                self._handlers[message.mtype](message)
        elif message.mtype in ("samp.hub.disconnect", "samp.hub.event.shutdown"):
            # Only the hub itself may say so.
            if message.sender == hub.hub_identifier:
                self.expelled = message.mtype == "samp.hub.disconnect"
                why = "has thrown this program out" if self.expelled else "is closing"
                self._lose(hub, f"the SAMP hub {why}")
        elif message.mtype != "samp.app.ping":
            raise MessageError(f"{message.mtype[:80] or 'what is no SAMP message'} is not taken here")

    def _tell_once(self, text: str) -> None:
        if text not in self._told and len(self._told) < _MOST_WAITING:
            self._told.add(text)
            tell(text)

    # ------------------------------------------------------------ the end

    def close(self) -> None:
        """Unregister, and end the server and the threads."""
        with self._lock:
            if self._stop.is_set():
                return
            self._stop.set()
            hub, self._hub = self._hub, None
        if hub is not None:
            # A message that is being taken is still answered.
            if self._handling.acquire(timeout=_ANSWER_SECONDS):
                self._handling.release()
            hub.leave()
        self._ear.close()
        while True:  # nobody waits for an answer any more
            try:
                self._waiting.put_nowait(None)
                break
            except queue.Full:
                with contextlib.suppress(queue.Empty):
                    self._waiting.get_nowait()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(CLOSING_SECONDS)
