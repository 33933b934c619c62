"""A small XML-RPC server on the loopback address, and the ear of a SAMP client made of it.

The servers of the standard library and of pyvo read whatever length a request claims, wait
for ever for the rest of it, and leave threads behind; this one does none of that.  A request
that is not understood gets a fault and harms nothing else.
"""

from __future__ import annotations

import contextlib
import hmac
import secrets
import socket
import socketserver
import threading
import time
import xmlrpc.client
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple

from astro_cluster.config import conf
from astro_cluster.vo import wire

__all__ = ["Ear", "LoopbackServer", "Message"]

IDLE_SECONDS = 10.0  # a connection that sends nothing for so long is closed
REQUEST_SECONDS = 120.0  # a request that has not come by then is not waited for
CLOSING_SECONDS = 5.0


class _Handler(BaseHTTPRequestHandler):
    timeout = IDLE_SECONDS
    server: _TCPServer

    def do_POST(self) -> None:
        """Answer one call."""
        owner = self.server.owner
        if not hmac.compare_digest(self.path.encode("utf-8", "replace"), owner.path.encode()):
            return self._refuse(404)
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 20):
            return self._refuse(411)
        if int(length) > int(conf.max_message_bytes):
            return self._refuse(413)
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            return None  # it has hung up
        answer = owner.answer(body)
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        return None

    def _refuse(self, code: int) -> None:
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _TCPServer(socketserver.TCPServer):
    """One thread a connection, no more than so many, and all of them end when it is closed."""

    allow_reuse_address = False
    request_queue_size = 64

    def __init__(self, owner: LoopbackServer, most_threads: int) -> None:
        self.owner = owner
        self._free = threading.BoundedSemaphore(most_threads)
        self._open: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(timeout=1.0):
            self.shutdown_request(request)
            return
        thread = threading.Thread(target=self._handle, args=(request, client_address), daemon=True)
        with self._lock:
            self._open[thread] = request
        thread.start()

    def _handle(self, request: socket.socket, client_address: Any) -> None:
        try:
            with wire.deadline(REQUEST_SECONDS) as limit:
                limit.watch(request)
                self.finish_request(request, client_address)
        except Exception:  # noqa: S110  the connection broke; the other end knows
            pass
        finally:
            self.shutdown_request(request)
            self._free.release()
            with self._lock:
                self._open.pop(threading.current_thread(), None)

    def end(self) -> None:
        with self._lock:
            left = dict(self._open)
        for connection in left.values():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        until = time.monotonic() + CLOSING_SECONDS
        for thread in left:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))


class LoopbackServer:
    """An XML-RPC server that only this machine can reach.

    Parameters
    ----------
    path : str, optional
        Where it answers; elsewhere is nothing.
    most_threads : int, optional
        Most connections at a time.
    """

    def __init__(self, path: str = "/", most_threads: int = 16) -> None:
        self.path = path
        self._server = _TCPServer(self, most_threads)
        self._thread: threading.Thread | None = None
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def start(self) -> None:
        """Answer from now on."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="SAMP server", daemon=True
        )
        self._thread.start()

    def perform(self, method: str | None, params: tuple[Any, ...]) -> Any:
        """Do what is asked.

        Parameters
        ----------
        method : str or None
            Name of what is called.
        params : tuple
            As `wire.loads` gives them.

        Returns
        -------
        object
            The answer.
        """
        raise wire.WireError(f"there is no method {method!r}")

    def answer(self, body: bytes) -> bytes:
        """Return the answer to a request.

        Parameters
        ----------
        body : bytes
            What was posted; anything.

        Returns
        -------
        bytes
            XML of the result, or of a fault.
        """
        try:
            params, method = wire.loads(body)
            result = (self.perform(method, params),)
            return xmlrpc.client.dumps(result, methodresponse=True, allow_none=True).encode()
        except xmlrpc.client.Fault as fault:
            told = fault
        except Exception as error:
            told = xmlrpc.client.Fault(1, f"{type(error).__name__}: {error}"[:500])
        text = str(told.faultString).encode("ascii", "backslashreplace").decode()
        text = "".join(c if " " <= c <= "~" else "?" for c in text)
        return xmlrpc.client.dumps(xmlrpc.client.Fault(int(told.faultCode), text)).encode()

    def close(self) -> None:
        """Stop, close all connections and end the threads."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join(CLOSING_SECONDS)
            self._thread = None
        self._server.server_close()
        self._server.end()


class Message(NamedTuple):
    """A message of another program, as it came.

    Parameters
    ----------
    sender : str
        What the hub calls the program.
    mtype : str
        What it is about.
    params : dict
        Anything that XML-RPC can carry.
    identifier : str or None
        What the answer has to name; None if none is wanted.
    """

    sender: str
    mtype: str
    params: dict[str, Any]
    identifier: str | None


class Ear(LoopbackServer):
    """The server that a hub delivers messages to.

    Its path is not to be guessed, and what does not name our key is refused, so that another
    user of the machine, or a page in a browser, is not listened to.

    Parameters
    ----------
    take : callable
        Is given each `Message`; it has to be quick and must not raise.
    """

    def __init__(self, take: Callable[[Message], None]) -> None:
        super().__init__(path=f"/{secrets.token_urlsafe(16)}")
        self.key: str | None = None
        self._take = take

    def perform(self, method: str | None, params: tuple[Any, ...]) -> str:
        """Take a message.

        Parameters
        ----------
        method : str or None
            One of SAMP's three.
        params : tuple
            Our key, the sender, and the message.

        Returns
        -------
        str
            Empty, as SAMP wants it.
        """
        kind = (method or "").removeprefix("samp.client.")
        if kind not in ("receiveNotification", "receiveCall", "receiveResponse"):
            raise wire.WireError(f"a SAMP client has no method {method!r}")
        if len(params) != (3 if kind == "receiveNotification" else 4):
            raise wire.WireError(f"{kind} has another number of parameters")
        self._check_key(params[0])
        if kind == "receiveResponse":
            return ""  # we wait for our answers at the hub
        identifier = params[2] if kind == "receiveCall" else None
        sender, content = params[1], params[-1]
        mtype = content.get("samp.mtype") if isinstance(content, dict) else None
        if not (isinstance(sender, str) and isinstance(identifier, (str, type(None))) and identifier != ""):
            raise wire.WireError("a sender and the name of a message are texts")
        wanted = content.get("samp.params", {}) if isinstance(content, dict) else None
        if not (isinstance(mtype, str) and isinstance(wanted, dict)):
            # Not a fault: a hub takes a fault for a bad connection and sends it ten times more.
            mtype, wanted = "", {}
        self._take(Message(sender, mtype, wanted, identifier))
        return ""

    def _check_key(self, given: Any) -> None:
        if not (
            isinstance(given, str)
            and self.key is not None
            and hmac.compare_digest(given.encode("utf-8", "replace"), self.key.encode("utf-8", "replace"))
        ):
            raise wire.WireError("that is not the key of this client")
