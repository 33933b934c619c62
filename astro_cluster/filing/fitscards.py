"""Headers of FITS files, read as bytes: some ten times as fast as astropy opens them."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import IO, Any

__all__ = ["Cards", "axes_of", "bytes_of_data", "is_true", "name_of", "read_header", "skip"]

_BLOCK, _CARD = 2880, 80
_MOST_BLOCKS = 2000  # of a header: 72,000 cards
# Keys of the structure of a file, which say nothing about the sky.
_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|BLANK|COMMENT|HISTORY|END|CONTINUE|"
    r"CHECKSUM|DATASUM|Z(IMAGE|CMPTYPE|BITPIX|NAXIS\d*|TILE\d+|NAME\d+|VAL\d+|QUANTIZ|DITHER0|SIMPLE|EXTEND|"
    r"TENSION|PCOUNT|GCOUNT|HECKSUM|DATASUM|BLANK)|TFIELDS|T(TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|DIM)\d+|THEAP|"
)


class Cards:
    """The cards of a header, by key; the first of several of one name counts, as in astropy.

    Parameters
    ----------
    raw : bytes
        The header, in blocks of 2880 bytes.

    Examples
    --------
    >>> cards = Cards(b"RA      =                 10.5 / [deg] of the object".ljust(80) + b"END".ljust(80))
    >>> cards.get("ra"), cards.get("DEC")
    ((10.5, 'deg'), None)
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._where: dict[bytes, int] = {}
        for i in range(0, len(raw), _CARD):
            key = raw[i : i + 8].rstrip()
            if key == b"END":
                break
            if key == b"HIERARCH":
                key = raw[i + 8 : i + _CARD].partition(b"=")[0].strip().upper()
            self._where.setdefault(key, i)

    def get(self, key: str) -> tuple[Any, str] | None:
        """Return value and unit of a key; None if it is not there or cannot be understood.

        Parameters
        ----------
        key : str
            Its name.

        Returns
        -------
        (object, str) or None
        """
        from astropy.io import fits

        i = self._where.get(key.upper().encode("ascii", "replace"))
        if i is None:
            return None
        end = i + _CARD
        while self.raw[end : end + 8] == b"CONTINUE":
            end += _CARD
        try:
            card = fits.Card.fromstring(self.raw[i:end])
            return card.value, _unit_in(card.comment) if b"/ [" in self.raw[i:end] else ""
        except Exception:  # a card against the standard
            return None

    def number(self, key: str, default: Any = None) -> Any:
        """Return the number that a key has to have.

        Parameters
        ----------
        key : str
            Its name, in capitals.
        default : object, optional
            What to return if it is not there.

        Returns
        -------
        int or float

        Raises
        ------
        ValueError
            If it is no number.
        """
        i = self._where.get(key.encode())
        if i is None:
            return default
        # Written as the standard says, it is in columns 11 to 30.
        text = self.raw[i + 10 : i + _CARD].partition(b"/")[0].strip()
        try:
            return int(text)
        except ValueError:
            found = self.get(key)
        if found is None or isinstance(found[0], (bool, str)) or not isinstance(found[0], (int, float)):
            raise ValueError(f"the key {key} of its header is no number")
        return found[0]

    def value(self, key: str) -> bytes:
        """Return the field of the value as it stands, comment included; empty if there is none.

        Parameters
        ----------
        key : str
            Its name, in capitals, of eight letters at most.

        Returns
        -------
        bytes
        """
        i = self._where.get(key.encode())
        return b"" if i is None else self.raw[i + 10 : i + _CARD].strip()

    def text(self, key: str) -> str:
        """Return the text of a key; empty if there is none.

        Parameters
        ----------
        key : str
            Its name.

        Returns
        -------
        str
        """
        found = self.get(key)
        return "" if found is None or not isinstance(found[0], str) else found[0].strip()

    def keys(self) -> list[str]:
        """Return the keys, without those of the structure of the file.

        Returns
        -------
        list of str
        """
        names = [key.decode("ascii", "replace") for key in self._where]
        return [name for name in names if not _STRUCTURE.fullmatch(name)]


@lru_cache(maxsize=64)
def _cards_of(raw: bytes) -> Cards:
    """Return the cards of a header; those of the tables in the files of a survey are often the same."""
    return Cards(raw)


def _read_exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def read_header(file: IO[bytes]) -> Cards | None:
    """Read the blocks of a header.

    Parameters
    ----------
    file : file
        At the beginning of an HDU.

    Returns
    -------
    Cards or None
        None at the end of the file.

    Raises
    ------
    ValueError
        If it is cut short, or has no end.
    """
    raw = b""
    for _ in range(_MOST_BLOCKS):
        block = _read_exactly(file, _BLOCK)
        if not raw and not block.strip(b"\0 "):
            return None
        raw += block
        if len(block) < _BLOCK and b"END" not in block:
            raise ValueError("it is cut short in its header")
        if any(block[i : i + 8] == b"END     " for i in range(0, len(block), _CARD)) or block.endswith(
            b"END"
        ):
            return _cards_of(raw)
    raise ValueError("its header has no end")


def skip(file: IO[bytes], size: int) -> None:
    """Read on without keeping anything, also in a file that cannot go to another place.

    Parameters
    ----------
    file : file
        Open.
    size : int
        Bytes.
    """
    while size > 0 and (data := file.read(min(size, 2**22))):
        size -= len(data)


def axes_of(cards: Cards, prefix: str = "") -> tuple[int, ...]:
    """Return the axes in the order of NumPy.

    Parameters
    ----------
    cards : Cards
        Of an HDU.
    prefix : str, optional
        ``"Z"`` for an image that is packed in tiles.

    Returns
    -------
    tuple of int

    Raises
    ------
    ValueError
        If they are no numbers.
    """
    n = cards.number(f"{prefix}NAXIS", 0)
    if not isinstance(n, int) or not 0 <= n <= 999:
        raise ValueError(f"its header is damaged: {prefix}NAXIS is {n}")
    axes = tuple(cards.number(f"{prefix}NAXIS{i}", -1) for i in range(n, 0, -1))
    if any(not isinstance(axis, int) or axis < 0 for axis in axes):
        raise ValueError(f"its header is damaged: {prefix}NAXIS1 and so on are {axes[::-1]}")
    return axes


def bytes_of_data(cards: Cards, axes: tuple[int, ...]) -> int:
    """Return how many bytes follow a header, whole blocks.

    Parameters
    ----------
    cards : Cards
        Of an HDU.
    axes : tuple of int
        From `axes_of`.

    Returns
    -------
    int
    """
    if not axes:
        return 0
    is_group = axes[-1] == 0 and len(axes) > 1 and b"GROUPS" in cards._where
    pixels = math.prod(axes[:-1] if is_group else axes)
    size = (
        abs(cards.number("BITPIX", 8)) // 8 * cards.number("GCOUNT", 1) * (cards.number("PCOUNT", 0) + pixels)
    )
    return -(-size // _BLOCK) * _BLOCK


def name_of(cards: Cards) -> str:
    """Return the name of an HDU; empty if it has none.

    Parameters
    ----------
    cards : Cards
        Of an HDU.

    Returns
    -------
    str
    """
    found = cards.get("EXTNAME")
    return str(found[0]).strip() if found else ""


def is_true(cards: Cards, key: str) -> bool:
    """Tell whether a key says yes.

    Parameters
    ----------
    cards : Cards
        Of an HDU.
    key : str
        Its name.

    Returns
    -------
    bool
    """
    found = cards.get(key)
    return found is not None and found[0] is True


def _unit_in(comment: str) -> str:
    """Return the unit that a comment begins with, in brackets, as the standard proposes."""
    found = re.match(r"\[([^\]]*)\]", comment)
    return found[1].strip() if found else ""
