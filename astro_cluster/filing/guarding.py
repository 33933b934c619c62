"""Files that come from anywhere: nothing is read that is larger, unpacked, than it can sanely be."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from pathlib import Path
from typing import IO, Any

__all__ = ["Guarded", "careful", "decompressed", "opened_if_packed", "unpacked_if_packed"]

_AT_ONCE = 2**26  # bytes that a header of a tar may ask for
_RATIO = 200  # pixels that are all zero shrink a thousandfold, those of a sky two- to tenfold
_FREE = 2**28  # bytes to which anything may be unpacked

_BOMB = f", more than {_RATIO} times its size: unpack it yourself if it is what it should be"
_LIMIT = ", which is conf.max_image_bytes"

_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}


class Guarded(io.RawIOBase):
    """An open file from which not too much is read.

    Parameters
    ----------
    file : file
        What is read.
    total : int, optional
        Bytes that may be read in all.
    at_once : int, optional
        Bytes that may be asked for in one call.
    why : str, optional
        Where ``total`` comes from.
    """

    def __init__(
        self, file: IO[bytes], *, total: int | None = None, at_once: int | None = None, why: str = ""
    ) -> None:
        super().__init__()
        self._file, self._total, self._at_once, self._why = file, total, at_once, why
        self._done = 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell whether one may go to another place of it."""
        return self._file.seekable()

    def seek(self, place: int, whence: int = 0) -> int:
        """Go to a place."""
        return self._file.seek(place, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        """Read some bytes, all that are left if no number is given."""
        if self._at_once is not None and size > self._at_once:
            raise ValueError(f"a header of the archive asks for {size} bytes")
        if self._total is None:
            return self._file.read(size)
        left = self._total - self._done
        data = self._file.read(left + 1 if size < 0 else min(size, left + 1))
        self._done += len(data)
        if self._done > self._total:
            raise ValueError(f"it unpacks to more than {self._total} bytes{self._why}")
        return data

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file too."""
        self._file.close()
        super().close()


def careful(path: str) -> Guarded:
    """Open a plain tar, so that no header of it can fill the memory.

    Parameters
    ----------
    path : str
        Where it is.

    Returns
    -------
    Guarded

    Examples
    --------
    >>> path = getfixture("tmp_path") / "a.tar"
    >>> _ = path.write_bytes(b"abc")
    >>> with careful(str(path)) as file:
    ...     file.read(2)
    b'ab'
    """
    return Guarded(Path(path).open("rb"), at_once=_AT_ONCE)


def decompressed(raw: IO[bytes], size: int) -> Guarded:
    """Return the unpacked content of a file, no more of it than its size can sanely hold.

    Parameters
    ----------
    raw : file
        Packed by gzip, bzip2 or xz, or not packed.
    size : int
        Bytes that it has.

    Returns
    -------
    Guarded

    Examples
    --------
    >>> decompressed(io.BytesIO(gzip.compress(b"pixels")), 30).read()
    b'pixels'
    """
    return Guarded(_unpacking(raw) or raw, total=max(_FREE, _RATIO * size), why=_BOMB)


def _unpacking(raw: IO[bytes]) -> IO[bytes] | None:
    head = raw.read(6)
    raw.seek(0)
    for magic, opener in _OPENERS.items():
        if head.startswith(magic):
            return opener(raw)
    return None


def opened_if_packed(raw: IO[bytes], limit: int) -> IO[bytes]:
    """Return a file that gives the content of one that may be packed.

    Parameters
    ----------
    raw : file
        Must be able to go back to its beginning.
    limit : int
        Bytes that may be read.

    Returns
    -------
    file

    Examples
    --------
    >>> opened_if_packed(io.BytesIO(bz2.compress(b"pixels")), 100).read(3)
    b'pix'
    """
    unpacking = _unpacking(raw)
    return raw if unpacking is None else Guarded(unpacking, total=limit, why=_LIMIT)


def unpacked_if_packed(data: bytes, limit: int) -> bytes:
    """Return the content of bytes that may be packed.

    Parameters
    ----------
    data : bytes
        A whole file.
    limit : int
        Bytes that it may have, unpacked.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        If it has more.

    Examples
    --------
    >>> unpacked_if_packed(gzip.compress(b"pixels"), 100)
    b'pixels'
    """
    unpacking = _unpacking(io.BytesIO(data))
    if unpacking is None:
        return data
    unpacked = unpacking.read(limit + 1)
    if len(unpacked) > limit:
        raise ValueError(f"it unpacks to more than {limit} bytes{_LIMIT}")
    return unpacked
