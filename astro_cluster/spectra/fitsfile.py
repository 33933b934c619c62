"""FITS files of spectra as bytes: only the columns that are asked for are ever looked at."""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from astro_cluster.filing.fitscards import Cards, axes_of, bytes_of_data, is_true, name_of, read_header
from astro_cluster.filing.headers import Header

__all__ = ["Column", "Hdu", "hdus_of", "header_of"]

_BLOCK = 2880
_MOST_HDUS = 2000
_TYPES = {
    "L": ("S1", 1), "X": ("u1", 1), "B": ("u1", 1), "I": (">i2", 2), "J": (">i4", 4), "K": (">i8", 8),
    "A": ("S", 1), "E": (">f4", 4), "D": (">f8", 8), "C": (">c8", 8), "M": (">c16", 16),
    "P": (">i4", 8), "Q": (">i8", 16),
}  # fmt: skip
_FORM = re.compile(r"(\d*)([A-Z])(?:\(?([A-Z]))?")
_IMAGES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a binary table.

    Parameters
    ----------
    number : int
        From 1.
    name : str
        As the file has it.
    kind : str
        Letter of the type.
    repeat : int
        Values a row.
    offset : int
        Bytes before it in a row.
    inner : str
        Type of what a variable column holds.
    """

    number: int
    name: str
    kind: str
    repeat: int
    offset: int
    inner: str = ""


@lru_cache(maxsize=64)
def _columns_of(cards: Cards) -> dict[str, Column]:
    """Return the columns of a table; a table of SDSS has hundreds, the same in each file."""
    found: dict[str, Column] = {}
    offset = 0
    for number in range(1, int(cards.number("TFIELDS", 0)) + 1):
        form = _FORM.match(_text(cards, f"TFORM{number}"))
        if form is None or form[2] not in _TYPES:
            raise ValueError(f"its header is damaged: TFORM{number} is no type")
        repeat = int(form[1]) if form[1] else 1
        name = _text(cards, f"TTYPE{number}")
        found.setdefault(name.upper(), Column(number, name, form[2], repeat, offset, form[3] or ""))
        offset += -(-repeat // 8) if form[2] == "X" else repeat * _TYPES[form[2]][1]
    return found


def _text(cards: Cards, key: str) -> str:
    """Return a text without the work of a card."""
    raw = cards.value(key)
    return raw[1:].split(b"'")[0].decode("ascii", "replace").strip() if raw[:1] == b"'" else ""


@dataclass
class Hdu:
    """A header and where its data are.

    Parameters
    ----------
    number : int
        From 0.
    cards : Cards
        The header.
    data : bytes
        The whole file.
    offset : int
        Bytes before the data.
    """

    number: int
    cards: Cards
    data: bytes
    offset: int

    @cached_property
    def axes(self) -> tuple[int, ...]:
        """The axes in the order of NumPy."""
        return axes_of(self.cards)

    @cached_property
    def kind(self) -> str:
        """PRIMARY, IMAGE, BINTABLE and so on."""
        return self.cards.text("XTENSION").upper() if self.number else "PRIMARY"

    @property
    def name(self) -> str:
        """EXTNAME."""
        return name_of(self.cards)

    @cached_property
    def rows(self) -> int:
        """Rows of a table."""
        return self.axes[0] if self.kind == "BINTABLE" and len(self.axes) == 2 else 0

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Columns of a table, by their names in capitals."""
        if self.kind != "BINTABLE" or is_true(self.cards, "ZIMAGE"):
            return {}
        return _columns_of(self.cards)

    def unit(self, name: str) -> str:
        """Return the unit of a column as it is written; empty if there is none.

        Parameters
        ----------
        name : str
            In capitals.

        Returns
        -------
        str
        """
        return self.cards.text(f"TUNIT{self.columns[name].number}")

    def column(self, name: str) -> np.ndarray:
        """Return the values of a column.

        Parameters
        ----------
        name : str
            In capitals.

        Returns
        -------
        (n,) or (n, k) array
            Numbers in native byte order, scaled; whole numbers that mean none are NaN.

        Raises
        ------
        ValueError
            If the file is cut short, or the column cannot be read.
        """
        column = self.columns[name]
        width = self.axes[1]
        if (there := len(self.data) - self.offset) < width * self.rows:
            raise ValueError(
                f"it is cut short: {max(there, 0)} of {width * self.rows} bytes of its table are there"
            )
        if column.offset >= width or self.rows == 0:
            raise ValueError(f"its table has no row, or no room for the column {column.name}")
        if column.kind in "PQ":
            return self._variable(column)
        code, size = _TYPES[column.kind]
        if column.kind == "A":
            code, size, shape = f"S{column.repeat}", column.repeat, (self.rows,)
        else:
            shape = (self.rows,) if column.repeat == 1 else (self.rows, column.repeat)
        strides = (width, size)[: len(shape)]
        stored = np.ndarray(shape, code, self.data, self.offset + column.offset, strides)
        return self._meant(stored, column)

    def _variable(self, column: Column) -> np.ndarray:
        """Return a column of arrays of any length, of a table with one row."""
        if self.rows != 1 or column.inner not in "BIJKED":
            raise ValueError(f"its column {column.name} has arrays of several lengths")
        code = _TYPES[column.kind][0]
        count, start = np.frombuffer(self.data, code, 2, self.offset + column.offset).tolist()
        heap = self.offset + int(self.cards.number("THEAP", self.axes[0] * self.axes[1]))
        code, size = _TYPES[column.inner]
        if not (start >= 0 and count >= 0 and heap + start + count * size <= len(self.data)):
            raise ValueError("it is cut short, or its table is damaged")
        return self._meant(np.frombuffer(self.data, code, count, heap + start)[None], column)

    def _meant(self, stored: np.ndarray, column: Column) -> np.ndarray:
        if column.kind == "A":
            return np.char.strip(np.char.decode(stored, "ascii", "replace"))
        if stored.dtype.kind not in "iuf":
            return np.array(stored)
        scale = float(self.cards.number(f"TSCAL{column.number}", 1))
        zero = float(self.cards.number(f"TZERO{column.number}", 0))
        null = self.cards.number(f"TNULL{column.number}") if stored.dtype.kind != "f" else None
        if (scale, zero, null) == (1.0, 0.0, None):
            return stored.astype(stored.dtype.newbyteorder("="))
        values = stored.astype(np.float64) * scale + zero
        return values if null is None else np.where(stored == null, np.nan, values)

    def pixels(self) -> np.ndarray:
        """Return the pixels of an image that is not packed.

        Returns
        -------
        array of float64

        Raises
        ------
        ValueError
            If the file is cut short.
        """
        code = _IMAGES.get(self.cards.number("BITPIX"))
        if code is None:
            raise ValueError(f"its header is damaged: BITPIX is {self.cards.number('BITPIX')}")
        count = math.prod(self.axes)
        size = count * np.dtype(code).itemsize
        if (there := len(self.data) - self.offset) < size:
            raise ValueError(f"it is cut short: {max(there, 0)} of {size} bytes of its pixels are there")
        stored = np.frombuffer(self.data, code, count, self.offset).reshape(self.axes)
        values = stored.astype(np.float64)
        values *= float(self.cards.number("BSCALE", 1))
        values += float(self.cards.number("BZERO", 0))
        blank = self.cards.number("BLANK")
        return np.where(stored == blank, np.nan, values) if blank is not None and code[1] != "f" else values


def hdus_of(data: bytes, *, most: int = _MOST_HDUS) -> tuple[list[Hdu], str]:
    """Return the HDUs of a FITS file.

    Parameters
    ----------
    data : bytes
        The whole file.
    most : int, optional
        How many are wanted.

    Returns
    -------
    hdus : list of Hdu
    problem : str
        Where the file is cut short or damaged; empty if it is whole.

    Examples
    --------
    >>> from astropy.io import fits
    >>> file = io.BytesIO()
    >>> table = fits.BinTableHDU.from_columns([fits.Column("FLUX", "E", array=[1, 2], unit="Jy")])
    >>> fits.HDUList([fits.PrimaryHDU(), table]).writeto(file)
    >>> hdus, problem = hdus_of(file.getvalue())
    >>> hdus[1].column("FLUX"), hdus[1].unit("FLUX")
    (array([1., 2.], dtype=float32), 'Jy')
    """
    file, found = io.BytesIO(data), list[Hdu]()
    for number in range(most):
        try:
            cards = read_header(file)
            if cards is None:
                break
            offset = file.tell()
            found.append(Hdu(number, cards, data, offset))
            size = bytes_of_data(cards, found[-1].axes)
        except ValueError as error:
            return found, str(error)
        if offset % _BLOCK:
            return found, "it is cut short behind a header"
        # The last block may lack what only fills it.
        if offset + size - (_BLOCK - 1) > len(data):
            return found, "it is cut short"
        file.seek(offset + size)
    return found, ""


def header_of(primary: Cards, cards: Cards, wanted: tuple[str, ...] | None) -> Header:
    """Return the wanted keys of an HDU, and of the primary one behind it.

    Parameters
    ----------
    primary, cards : Cards
        The headers.
    wanted : tuple of str or None
        Keys in capitals; all if None.

    Returns
    -------
    dict of str to (object, str)
    """
    names = [*cards.keys(), *primary.keys()] if wanted is None else wanted
    header: Header = {}
    for name in dict.fromkeys(names):
        found = cards.get(name) or primary.get(name)
        if found is not None:
            header[name.upper()] = found
    return header
