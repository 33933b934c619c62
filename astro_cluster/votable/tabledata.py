"""TABLEDATA: rows of text, as services send them, split and turned into numbers block by block.

What is written plainly is read in compiled loops; a cell that is not (an entity, a hexadecimal
number, an empty one) is read by the converter of astropy for its column, and a table that is not,
by astropy as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from astro_cluster.votable import kernels
from astro_cluster.votable.compiling import compiled
from astro_cluster.votable.document import Document
from astro_cluster.votable.filling import Filled, Filling, Objects, Texts, decoded, filling_of
from astro_cluster.votable.layout import Cell, UnusualError
from astro_cluster.votable.scan import Found

__all__ = ["WORTH_IT", "count_rows", "read_tabledata"]

WORTH_IT = 2**22
"""Bytes of TABLEDATA from which it is read here; astropy reads less before the loops are loaded."""

_BLOCK = 2**22
_ENCODINGS = {
    "utf-8": "utf-8", "us-ascii": "utf-8", "ascii": "utf-8", "iso-8859-1": "latin-1", "utf-16": "utf-8",
}  # fmt: skip
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_ENTITY = re.compile(r"&(?:(amp|lt|gt|quot|apos)|#(\d{1,7})|#x([0-9a-fA-F]{1,6}));|&")
_POWERS = 10.0 ** np.arange(23)


def _entity(found: re.Match[str]) -> str:
    name, decimal, hexadecimal = found.groups()
    if name:
        return _NAMED[name]
    number = int(decimal) if decimal else int(hexadecimal, 16) if hexadecimal else 0
    if number not in (9, 10, 13) and not (32 <= number < 0xD800 or 0xE000 <= number <= 0x10FFFF):
        raise UnusualError("an entity that is none")
    return chr(number)


def _unescaped(raw: bytes, encoding: str) -> str:
    """Return a text as a parser of XML gives it."""
    text = raw.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    return _ENTITY.sub(_entity, text)


class _Texts:
    """Texts somewhere in a block.

    Parameters
    ----------
    data : (n,) array of uint8
        The block.
    begins, ends : (k,) array of int64
        Where they are.
    odd : (k,) array of bool
        Which of them hold entities.
    encoding : str
        Of the document.
    """

    def __init__(
        self, data: np.ndarray, begins: np.ndarray, ends: np.ndarray, odd: np.ndarray, encoding: str
    ) -> None:
        self.data, self.encoding = data, encoding
        self.begins, self.ends, self.odd = map(np.ascontiguousarray, (begins, ends, odd))
        self.size = len(data)
        self.stripped = " \t\r\n"

    def __len__(self) -> int:
        return len(self.begins)

    def run(self, kernel: Callable[..., Any], *arguments: Any) -> Any:
        """Run a loop over their characters."""
        return compiled(kernel, self.size)(self.data, self.begins, self.ends, *arguments)

    def raw(self, which: np.ndarray) -> np.ndarray:
        """Return the bytes of some of them, under each other."""
        begins, lengths = self.begins[which], (self.ends - self.begins)[which]
        out = np.zeros((len(begins), int(lengths.max(initial=0))), np.uint8)
        compiled(kernels.gather_padded, self.size)(self.data, begins, lengths, out)
        return out

    def keep_blanks(self) -> None:
        """Take the blanks back that stand around the texts, for there they mean something."""
        blanks = np.isin(self.data, np.frombuffer(b" \t\r\n", np.uint8))
        for i, (begin, end) in enumerate(zip(self.begins.tolist(), self.ends.tolist(), strict=True)):
            while begin and blanks[begin - 1]:
                begin -= 1
            while end < self.size and blanks[end]:
                end += 1
            self.begins[i], self.ends[i] = begin, end
        self.stripped = ""

    def text(self, i: int) -> str:
        """Return one of them."""
        text = _unescaped(self.data[self.begins[i] : self.ends[i]].tobytes(), self.encoding)
        return text.strip(self.stripped) if self.stripped else text


class _Column:
    """A column that is being read.

    Parameters
    ----------
    cell : Cell
        What it holds.
    filling : Filling, Texts or Objects
        Where its values go.
    """

    def __init__(self, cell: Cell, filling: Filling | Texts | Objects) -> None:
        self.cell, self.filling = cell, filling
        self._known: dict[str, tuple[Any, Any]] = {}

    def take(self, texts: _Texts) -> None:
        """Append the cells of a block."""
        if isinstance(self.filling, Texts):
            self.filling.put(self._words(texts))
        elif isinstance(self.filling, Objects):
            self._take_objects(texts)
        elif self.cell.shape:
            self._take_arrays(texts)
        else:
            values, mask, odd = self._scalars(texts)
            for i in np.flatnonzero(odd).tolist():
                values[i], mask[i] = self._parsed(texts.text(i))
            self.filling.put(values, mask)

    def _parsed(self, text: str) -> tuple[Any, Any]:
        """Return what astropy makes of a text."""
        if text not in self._known:
            if len(self._known) > 1000:
                self._known.clear()
            field = self.cell.field
            value, mask = field.converter.parse(text, field._config, None)
            self._known[text] = (np.nan if value is None else value), mask
        return self._known[text]

    def _scalars(self, texts: _Texts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return values, which of them are null, and which have to be looked at again."""
        n, cell = len(texts), self.cell
        odd = np.empty(n, np.uint8)
        if cell.dtype.kind in "iu":
            limits = np.iinfo(cell.dtype)
            values = np.empty(n, np.int64)
            texts.run(kernels.parse_integers, limits.min, limits.max, values, odd)
        elif cell.dtype.kind == "b":
            values = np.empty(n, bool)
            texts.run(kernels.parse_booleans, values, odd)
            if cell.kind == "bit":
                odd[texts.ends - texts.begins != 1] = 2
        elif cell.dtype.kind == "f":
            values = np.empty(n, np.float64)
            texts.run(kernels.parse_floats, _POWERS, values, odd)
            if len(exact := np.flatnonzero(odd == 1)):
                raw = texts.raw(exact)
                values[exact] = raw.view(f"S{raw.shape[1]}").reshape(-1).astype(np.float64)
                odd[exact] = 0
        else:
            values = np.zeros(n, np.complex128)
            odd[:] = 2
        mask = self.cell.nulls(values) if cell.kind == "number" else None
        return values, np.zeros(n, bool) if mask is None else mask, (odd == 2) | texts.odd

    def _words(self, texts: _Texts) -> np.ndarray:
        if self.cell.shape:
            texts.keep_blanks()
        lengths = texts.ends - texts.begins
        if len(texts) * int(lengths.max(initial=0)) > 16 * int(lengths.sum()) + 2**20 and not self.cell.shape:
            words = np.empty(len(texts), object)  # a matrix of characters would be nearly empty
            words[:] = [texts.text(i) for i in range(len(texts))]
            return words
        raw = texts.raw(np.arange(len(texts)))
        if texts.encoding == "utf-8" and raw.size and raw.max() > 127:
            raw[raw.max(axis=1) > 127].tobytes().decode("utf-8")  # raises where it is none
        words = decoded(raw, texts.encoding, ends_at_zero=False)
        for i in np.flatnonzero(texts.odd).tolist():
            words[i] = texts.text(i)
        if not self.cell.shape:
            return words
        length, n = self.cell.length, int(np.prod(self.cell.shape))
        split = np.zeros((len(words), n), f"U{max(length, 1)}")
        for i, word in enumerate(words.tolist()):
            for k in range(min(n, -(-len(word) // max(length, 1)))):
                split[i, k] = word[k * length : (k + 1) * length].rstrip(" ")
        return split.reshape(len(words), *self.cell.shape)

    def _split(self, texts: _Texts) -> tuple[_Texts, np.ndarray]:
        """Return the words of all texts, and how many each has."""
        counts = np.empty(len(texts), np.int64)
        texts.run(kernels.count_words, counts)
        begins, ends = np.empty((2, int(counts.sum())), np.int64)
        texts.run(kernels.split_words, begins, ends)
        return _Texts(texts.data, begins, ends, np.zeros(len(begins), bool), texts.encoding), counts

    def _take_arrays(self, texts: _Texts) -> None:
        cell, n = self.cell, len(texts)
        whole = np.zeros(n, bool)
        values = np.zeros((n, *cell.shape), cell.dtype)
        mask = np.zeros((n, *cell.shape), bool)
        if cell.dtype.kind in "iuf" or cell.kind == "boolean":
            words, counts = self._split(texts)
            flat, flat_mask, odd = self._scalars(words)
            ends = np.cumsum(counts)
            strange = np.concatenate([[0], np.cumsum(odd)])
            whole = (counts == cell.items) & ~texts.odd & (strange[ends] == strange[ends - counts])
            taken = np.repeat(whole, counts)
            values[whole] = flat[taken].reshape(-1, *cell.shape)
            mask[whole] = flat_mask[taken].reshape(-1, *cell.shape)
        for i in np.flatnonzero(~whole).tolist():
            values[i], mask[i] = self._parsed(texts.text(i))
        self.filling.put(values, mask)

    def _take_objects(self, texts: _Texts) -> None:
        words, counts = self._split(texts)
        flat, flat_mask, odd = self._scalars(words)
        flat = flat.astype(self.cell.dtype, copy=False)
        ends = np.cumsum(counts)
        strange = np.concatenate([[0], np.cumsum(odd)])
        masked = np.concatenate([[0], np.cumsum(flat_mask)])
        look = texts.odd | (strange[ends] != strange[ends - counts])
        some = masked[ends] != masked[ends - counts]
        rows: list[Any] = []
        for i, (count, end) in enumerate(zip(counts.tolist(), ends.tolist(), strict=True)):
            if look[i]:
                value, _ = self._parsed(texts.text(i))
                hidden = np.ma.getmaskarray(value)
                plain = np.asarray(np.ma.getdata(value)).astype(self.cell.dtype)
                rows.append(np.ma.array(plain, mask=hidden) if hidden.any() else plain)
            elif some[i]:
                rows.append(np.ma.array(flat[end - count : end], mask=flat_mask[end - count : end]))
            else:
                rows.append(flat[end - count : end])
        self.filling.put(rows)


def count_rows(document: Document, found: Found) -> int:
    """Return how many rows there are at most.

    Parameters
    ----------
    document : Document
        Where they stand.
    found : Found
        What `scan` says of them.

    Returns
    -------
    int
    """
    total, rest = 0, b""
    for start in range(found.start, found.stop, _BLOCK):
        piece = rest + document.read(start, min(start + _BLOCK, found.stop))
        total += piece.count(b"</TR>")
        rest = piece[-4:]
    return total


def read_tabledata(
    document: Document, found: Found, cells: Sequence[Cell], encoding: str
) -> tuple[list[Filled], int]:
    """Read the rows of a TABLEDATA.

    Parameters
    ----------
    document : Document
        Where they stand.
    found : Found
        What `scan` says of them.
    cells : sequence of Cell
        The columns.
    encoding : str
        Of the document.

    Returns
    -------
    columns : list of (values, mask)
        Of each cell.
    rows : int
        How many there are.

    Raises
    ------
    InputError
        If the table would take more memory than makes sense.
    UnusualError
        If astropy has to read it, be it that it finds an error.
    """
    if encoding not in _ENCODINGS or not cells:
        raise UnusualError("another encoding, or no columns")
    for cell in cells:
        if cell.varies and (cell.shape or cell.dtype.kind not in "iufUb" or cell.kind == "bit"):
            raise UnusualError("arrays of varying length that are none of numbers in one dimension")
    capacity = count_rows(document, found)
    columns = [_Column(cell, filling_of(cell, capacity, document.size)) for cell in cells]
    rows, rest = 0, b""
    for start in range(found.start, found.stop, _BLOCK):
        block = rest + document.read(start, min(start + _BLOCK, found.stop))
        taken, position = _take(block, columns, _ENCODINGS[encoding])
        rows += taken
        rest = block[position:]
        if len(rest) > 8 * _BLOCK:
            raise UnusualError("a very long row")
    if rest.strip(b" \t\r\n"):
        raise UnusualError("something behind the last row")
    return [column.filling.finish() for column in columns], rows


def _take(block: bytes, columns: Sequence[_Column], encoding: str) -> tuple[int, int]:
    """Read the whole rows of a block; return how many there are and where they end."""
    data = np.frombuffer(block, np.uint8)
    shape = (len(block) // (9 + 5 * len(columns)) + 1, len(columns))  # of <TR></TR> and <TD/>
    begins, ends = np.empty((2, *shape), np.int64)
    odd = np.empty(shape, bool)
    rows, position, plain = compiled(kernels.split_rows, len(block))(data, len(columns), begins, ends, odd)
    if not plain:
        raise UnusualError("something else than TR and TD")
    for i, column in enumerate(columns):
        texts = _Texts(data, begins[:rows, i], ends[:rows, i], odd[:rows, i], encoding)
        try:
            column.take(texts)
        except (UnusualError, MemoryError):
            raise
        except Exception as error:
            raise UnusualError(str(error)) from error  # astropy says what is wrong, and where
    return rows, position
