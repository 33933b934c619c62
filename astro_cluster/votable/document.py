"""The bytes of a document, wherever they are, read in pieces and never beyond a limit."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import re
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from astro_cluster.exceptions import InputError

__all__ = ["Document", "Source", "check_size"]

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

_PIECE = 2**20
_OVERLAP = 2**8
"""Bytes that a pattern may match at most."""
_IN_MEMORY = 2**23
_GZIP = b"\x1f\x8b"
_DECLARED = re.compile(r"""(<\?xml[^>]*?)\s+encoding\s*=\s*(["'])[\w.-]*\2""")
_WIDE = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be", b"<\0": "utf-16-le", b"\0<": "utf-16-be"}


def check_size(size: int, max_bytes: int, what: str) -> None:
    """Refuse what is larger than allowed.

    Parameters
    ----------
    size, max_bytes : int
        Bytes, and how many may be.
    what : str
        What it is, for the error.

    Raises
    ------
    InputError
        If it is larger.
    """
    if size > max_bytes:
        raise InputError(
            f"{what} is larger than {max_bytes:,} bytes, the limit; if it can be trusted, raise "
            "astro_cluster.conf.max_votable_bytes"
        )


class Document:
    """The text of a VOTable: a file, bytes in memory or a stream, unpacked if it is gzip.

    Parameters
    ----------
    source : str, path, bytes or binary file
        Where it is.  A stream that is no file on disk is kept in a temporary one if it is long.
    max_bytes : int
        How many bytes it may have, unpacked.

    Attributes
    ----------
    size : int
        Number of bytes.

    Raises
    ------
    InputError
        If it is too large, or the gzip file is damaged.

    Examples
    --------
    >>> with Document(b"<VOTABLE/>", max_bytes=100) as document:
    ...     document.size, document.read(1, 8), document.find(b"/", 0)
    (10, b'VOTABLE', 8)
    """

    def __init__(self, source: Source, *, max_bytes: int) -> None:
        self._data: bytes | None = None
        self._file: IO[bytes] | None = None
        self._max = max_bytes
        try:
            self._open(source)
        except BaseException:
            self.close()
            raise

    def _open(self, source: Source) -> None:
        if isinstance(source, (str, os.PathLike)):
            self._keep_file(Path(source).open("rb"))  # noqa: SIM115 - kept open
        elif isinstance(source, (bytes, bytearray, memoryview)):
            self._keep(bytes(source))
        elif isinstance(source, io.BytesIO):
            self._keep(source.read())
        else:
            self._spool(_pieces_of(source))
        if self.read(0, 2) == _GZIP:
            self._spool(_unpacked(self._whole()))
        if wide := _WIDE.get(self.read(0, 2)):
            self._spool(_in_utf8(self._pieces(), wide))

    def __enter__(self) -> Document:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file that this object has opened."""
        if self._file is not None:
            self._file.close()

    def _keep(self, data: bytes) -> None:
        check_size(len(data), self._max, "the VOTable")
        self._data, self._file, self.size = data, None, len(data)

    def _keep_file(self, file: IO[bytes]) -> None:
        self._data, self._file = None, file
        self.size = file.seek(0, os.SEEK_END)
        try:
            check_size(self.size, self._max, "the VOTable")
        except InputError:
            file.close()
            raise

    def _spool(self, pieces: Iterator[bytes]) -> None:
        """Keep the pieces, on disk if they are many."""
        file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - kept open
        size = 0
        try:
            for piece in pieces:
                size += len(piece)
                check_size(size, self._max, "the VOTable, unpacked,")
                file.write(piece)
        except BaseException:
            file.close()
            raise
        self.close()
        self._keep_file(file)

    def _whole(self) -> IO[bytes]:
        if self._data is not None:
            return io.BytesIO(self._data)
        assert self._file is not None  # noqa: S101
        self._file.seek(0)
        return self._file

    def _pieces(self) -> Iterator[bytes]:
        for start in range(0, self.size, _PIECE):
            yield self.read(start, start + _PIECE)

    def read(self, start: int, stop: int) -> bytes:
        """Return some of the bytes.

        Parameters
        ----------
        start, stop : int
            Which, as in a slice.

        Returns
        -------
        bytes

        Raises
        ------
        InputError
            If the file has become shorter meanwhile.
        """
        if self._data is not None:
            return self._data[start:stop]
        assert self._file is not None  # noqa: S101
        self._file.seek(start)
        wanted = max(min(stop, self.size) - start, 0)
        piece = self._file.read(wanted)
        if len(piece) < wanted:
            raise InputError("the VOTable has become shorter while it was read")
        return piece

    def find(self, needle: bytes, start: int, stop: int | None = None) -> int:
        """Return where bytes stand first.

        Parameters
        ----------
        needle : bytes
            What to look for.
        start, stop : int
            Where.

        Returns
        -------
        int
            -1 if they are not there.
        """
        stop = self.size if stop is None else stop
        if self._data is not None:
            return self._data.find(needle, start, stop)
        for begin in range(start, stop, _PIECE):
            end = min(begin + _PIECE + len(needle) - 1, stop)
            if (found := self.read(begin, end).find(needle)) >= 0:
                return begin + found
        return -1

    def search(self, pattern: re.Pattern[bytes], start: int) -> tuple[int, int]:
        """Return where a pattern matches first.

        Parameters
        ----------
        pattern : pattern
            Of a match of at most 256 bytes.
        start : int
            Where to begin.

        Returns
        -------
        first, last : int
            -1 if nothing matches.
        """
        if self._data is not None:
            found = pattern.search(self._data, start)
            return found.span() if found else (-1, -1)
        for begin in range(start, self.size, _PIECE):
            if found := pattern.search(self.read(begin, begin + _PIECE + _OVERLAP)):
                return begin + found.start(), begin + found.end()
        return -1, -1


def _pieces_of(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _unpacked(packed: IO[bytes]) -> Iterator[bytes]:
    try:
        with gzip.GzipFile(fileobj=packed, mode="rb") as file:
            yield from _pieces_of(file)  # type: ignore[arg-type]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"the gzip file is damaged or cut short: {error}") from error


def _in_utf8(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yield a document of wide characters in UTF-8, for the rest looks at bytes."""
    incremental = codecs.getincrementaldecoder(encoding)("replace")
    first = True
    for piece in pieces:
        text = incremental.decode(piece)
        if first:
            text = re.sub(
                r"""(<\?xml[^>]*?)\s+encoding\s*=\s*(["'])[\w.-]*\2""", r"\1", text.lstrip("\ufeff"), count=1
            )
            first = False
        yield text.encode("utf-8")
