"""A file that another program names, brought into a folder of ours under limits.

The program is trusted no farther than that: it names an address, of which only ordinary
files and http(s) are read, up to a size and a time.
"""

from __future__ import annotations

import errno
import gzip
import http.client
import os
import stat
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname
from xml.parsers import expat

from astro_cluster.exceptions import ServiceError
from astro_cluster.vo import wire

__all__ = ["check_votable", "fetch"]

_BLOCK = 1 << 18
_GZIP = b"\x1f\x8b"
_LOCAL = ("", "localhost", "127.0.0.1")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check_scheme(newurl, ("http", "https"))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _watched(kind: type[http.client.HTTPConnection], limit: wire.Deadline) -> Callable[..., Any]:
    class Connection(kind):  # type: ignore[misc, valid-type]
        def connect(self) -> None:
            super().connect()
            limit.watch(self.sock)

    return Connection


def _opener(limit: wire.Deadline) -> urllib.request.OpenerDirector:
    """Return what opens http and https, and nothing else: no ftp, no data, no file, no proxy."""

    class Http(urllib.request.HTTPHandler):
        def http_open(self, req: Any) -> Any:
            return self.do_open(_watched(http.client.HTTPConnection, limit), req)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, req: Any) -> Any:
            return self.do_open(_watched(http.client.HTTPSConnection, limit), req, context=self._context)

    opener = urllib.request.OpenerDirector()
    for handler in (
        Http(),
        Https(),
        _Redirects(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _check_scheme(url: str, allowed: tuple[str, ...]) -> str:
    try:
        scheme = urlsplit(url).scheme.lower()
    except ValueError:
        scheme = "?"
    if scheme not in allowed:
        raise ServiceError(f"a table is read from {', '.join(allowed)} addresses only", url=url[:200])
    return scheme


def _open_file(url: str) -> IO[bytes]:
    """Open an ordinary file of this machine; neither a folder nor a device nor a pipe."""
    parts = urlsplit(url)
    if parts.netloc.lower() not in _LOCAL:
        raise ServiceError("the file is on another machine", url=url[:200])
    try:
        path = url2pathname(parts.path)
        # Without waiting: opening a pipe would, for somebody who writes into it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if getattr(error, "errno", None) else str(error)
        raise ServiceError(f"the file cannot be read: {reason}", url=url[:200]) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ServiceError("that is not an ordinary file", url=url[:200])
    return os.fdopen(descriptor, "rb")


def fetch(url: str, file: Path, *, most_bytes: int, seconds: float) -> Path:
    """Copy what is at an address into a file.

    Parameters
    ----------
    url : str
        Of a file on this machine, or http or https.
    file : path
        Where it goes; it should be in a folder that only the user can enter.
    most_bytes : int
        Largest size, unpacked.
    seconds : float
        Longest time altogether.

    Returns
    -------
    path
        That of ``file``; what was packed with gzip is unpacked.

    Raises
    ------
    ServiceError
        If there is another scheme, the file is none, too large, or does not come in time.
    """
    scheme = _check_scheme(url, ("file", "http", "https"))
    with wire.deadline(seconds) as limit:
        try:
            source = _open_file(url) if scheme == "file" else _opener(limit).open(url, timeout=seconds)
            with source, file.open("wb") as out:
                _copy(source, out, most_bytes, time.monotonic() + seconds, url)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise ServiceError(f"there is no room for the table: {error}") from error
            reason = f"not there within {seconds:g} s" if limit.passed else str(error)
            raise ServiceError(f"the table cannot be fetched: {reason}", url=url[:200]) from error
        if limit.passed:
            raise ServiceError(f"the table was not there within {seconds:g} s", url=url[:200])
    return _unpacked(file, most_bytes, seconds, url)


def _copy(source: Any, out: IO[bytes], most_bytes: int, end: float, url: str) -> None:
    left = most_bytes
    while block := source.read(min(_BLOCK, left + 1)):
        left -= len(block)
        if left < 0:
            raise ServiceError(
                f"the table has more than {most_bytes:,} bytes: ac.conf.max_received_bytes allows more",
                url=url[:200],
            )
        if time.monotonic() > end:
            raise TimeoutError("it takes too long")
        out.write(block)


def _unpacked(file: Path, most_bytes: int, seconds: float, url: str) -> Path:
    with file.open("rb") as head:
        if head.read(2) != _GZIP:
            return file
    place = file.with_name(f"{file.name}.unpacked")
    try:
        with gzip.open(file, "rb") as source, place.open("wb") as out:
            _copy(source, out, most_bytes, time.monotonic() + seconds, url)
    except (OSError, EOFError, zlib.error) as error:
        raise ServiceError(f"the table cannot be unpacked: {error}", url=url[:200]) from error
    return place.replace(file)


def check_votable(file: Path) -> None:
    """Make sure that a VOTable stands on its own.

    Parameters
    ----------
    file : path
        The file.

    Raises
    ------
    ServiceError
        If it is no XML, declares a document type (whose entities reach into files and
        explode), or keeps its data at another address.
    """

    def no_document_type(*_: Any) -> None:
        raise ServiceError("the VOTable has a document type declaration, which is not read")

    def no_other_place(name: str, attributes: dict[str, str]) -> None:
        if name.rpartition(":")[2] == "STREAM" and "href" in attributes:
            raise ServiceError("the VOTable keeps its data at another address, which is not read")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = no_document_type
    parser.StartElementHandler = no_other_place
    try:
        with file.open("rb") as source:
            while block := source.read(_BLOCK):
                parser.Parse(block, False)
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # the last: an encoding that is none
        raise ServiceError(f"that is no VOTable: {error}") from error
