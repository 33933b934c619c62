"""XML-RPC as SAMP has it, with limits: no document types, nothing oversized, nothing endless."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import xmlrpc.client
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from astro_cluster.config import conf

__all__ = ["Deadline", "WireError", "call", "deadline", "loads"]

_BLOCK = 65_536


class WireError(ValueError):
    """What came over the wire is not XML-RPC that may be used."""


# ---------------------------------------------------------------- parsing


def _no_document_type(*_: Any) -> None:
    """Stop at a DTD: XML-RPC has none, and its entities reach into files and explode."""
    raise WireError("a document type declaration, which XML-RPC does not have")


class _Parser:
    """What `xmlrpc.client.ExpatParser` does, and refuses document types."""

    def __init__(self, target: xmlrpc.client.Unmarshaller) -> None:
        self._expat = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = target.start
        parser.EndElementHandler = target.end
        parser.CharacterDataHandler = target.data
        parser.StartDoctypeDeclHandler = _no_document_type
        parser.EntityDeclHandler = _no_document_type
        target.xml(None, None)

    def feed(self, data: bytes) -> None:
        self._expat.Parse(data, False)

    def close(self) -> None:
        self._expat.Parse(b"", True)


def _parser() -> tuple[Any, Any]:
    target = xmlrpc.client.Unmarshaller()
    return _Parser(target), target


def loads(body: bytes) -> tuple[tuple[Any, ...], str | None]:
    """Read a call.

    Parameters
    ----------
    body : bytes
        XML.

    Returns
    -------
    params : tuple
        Of str, int, float, bool, None, list and dict, and of the two types that XML-RPC has
        for dates and bytes.
    method : str or None
        Whose parameters they are.

    Raises
    ------
    WireError
        Whatever is wrong with it.

    Examples
    --------
    >>> loads(xmlrpc.client.dumps(("a", ["1"]), "samp.hub.ping").encode())
    (('a', ['1']), 'samp.hub.ping')
    """
    parser, target = _parser()
    try:
        parser.feed(body)
        parser.close()
        return target.close(), target.getmethodname()
    except WireError:
        raise
    except Exception as error:  # the standard library raises whatever its pieces raise
        raise WireError(f"not XML-RPC: {type(error).__name__}: {str(error)[:200]}") from error


# ---------------------------------------------------------------- time limits


class Deadline:
    """Cuts connections when the time is up, also those whose other end drips a byte at a time.

    Parameters
    ----------
    seconds : float
        From now on.
    """

    def __init__(self, seconds: float) -> None:
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self.passed = False
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def _cut(self) -> None:
        with self._lock:
            self.passed = True
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def watch(self, connection: socket.socket) -> None:
        """Cut this connection, too.

        Parameters
        ----------
        connection : socket
            An open one.
        """
        with self._lock:
            self._sockets.append(connection)
            passed = self.passed
        if passed:
            self._cut()

    def cancel(self) -> None:
        """Let the connections live."""
        self._timer.cancel()


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[Deadline]:
    """Have a deadline for as long as the block lasts.

    Parameters
    ----------
    seconds : float
        From now on.

    Yields
    ------
    Deadline

    Examples
    --------
    >>> with deadline(10.0) as limit:
    ...     limit.passed
    False
    """
    limit = Deadline(seconds)
    try:
        yield limit
    finally:
        limit.cancel()


# ---------------------------------------------------------------- calling


class _Connection(http.client.HTTPConnection):
    def __init__(self, host: str, seconds: float, limit: Deadline) -> None:
        super().__init__(host, timeout=seconds)
        self._limit = limit

    def connect(self) -> None:
        super().connect()
        self._limit.watch(self.sock)


class _Transport(xmlrpc.client.Transport):
    """A connection that neither waits for ever nor takes what has no end."""

    def __init__(self, seconds: float, limit: Deadline) -> None:
        super().__init__()
        self._seconds, self._limit = seconds, limit

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        name, self._extra_headers, _ = self.get_host_info(host)
        connection = _Connection(name, self._seconds, self._limit)
        self._connection = host, connection  # type: ignore[assignment]
        return connection

    def request(self, host: Any, handler: str, request_body: Any, verbose: bool = False) -> Any:
        # The standard library sends a call a second time when the connection breaks, which a
        # hub that only answers late would deliver twice.
        return self.single_request(host, handler, request_body, verbose)

    def getparser(self) -> tuple[Any, Any]:
        return _parser()

    def parse_response(self, response: Any) -> Any:
        parser, target = _parser()
        left = int(conf.max_message_bytes)
        while data := response.read(_BLOCK):
            left -= len(data)
            if left < 0:
                raise WireError("an answer that is longer than conf.max_message_bytes")
            parser.feed(data)
        parser.close()
        return target.close()


def call(url: str, method: str, *args: Any, seconds: float) -> Any:
    """Call a method and return its answer.

    Parameters
    ----------
    url : str
        Where; http only, which is all that SAMP's standard profile has.
    method : str
        Its name, dots included.
    *args : object
        Its parameters.
    seconds : float
        Longest time that it may take altogether.

    Returns
    -------
    object
        As `loads` gives it.

    Raises
    ------
    xmlrpc.client.Fault
        What the method says.
    OSError
        If nobody answers, or not in time.
    WireError
        If the answer is none, or too long.
    """
    if not url.lower().startswith("http://"):
        raise WireError("an address that does not begin with http://")
    with (
        deadline(seconds) as limit,
        xmlrpc.client.ServerProxy(url, transport=_Transport(seconds, limit), allow_none=True) as proxy,
    ):
        try:
            return getattr(proxy, method)(*args)
        except (xmlrpc.client.Fault, WireError):
            raise
        except Exception as error:
            if limit.passed:
                raise TimeoutError("timed out") from error
            if isinstance(error, OSError):
                raise
            raise WireError(f"{type(error).__name__}: {str(error)[:200]}") from error
