"""BINARY and BINARY2: a STREAM is decoded block by block into columns.

Rows of fixed length are records, whose columns NumPy takes apart.  Where cells vary in length, a
loop over the rows finds where they begin; what lies between them is a record again.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from astro_cluster.exceptions import InputError
from astro_cluster.votable import compiling, kernels
from astro_cluster.votable.compiling import compiled
from astro_cluster.votable.document import Document, check_size
from astro_cluster.votable.filling import Filled, Texts, decoded, filling_of
from astro_cluster.votable.layout import Cell, UnusualError
from astro_cluster.votable.scan import Found

__all__ = ["read_binary"]

_BLOCK = 2**20
_TRUE, _FALSE, _NULL, _NONE = range(4)
_BOOLEANS = np.full(256, _NONE, "u1")
_BOOLEANS[list(b"Tt1")] = _TRUE
_BOOLEANS[list(b"Ff0")] = _FALSE
_BOOLEANS[list(b"\0 ?")] = _NULL
_BIT = 8
"""The bit of a byte that astropy takes for the value of a single one."""


# ---------------------------------------------------------------- from text to bytes


def _text_of(document: Document, found: Found) -> Iterator[bytes]:
    """Yield the characters of a STREAM without blanks, in multiples of four but the last."""
    rest = b""
    for start in range(found.start, found.stop, _BLOCK):
        piece = rest + document.read(start, min(start + _BLOCK, found.stop)).translate(None, b" \t\r\n")
        whole = len(piece) // 4 * 4
        rest = piece[whole:]
        yield piece[:whole]
    yield rest


def _bytes_of(document: Document, found: Found) -> Iterator[bytes]:
    """Yield the bytes of a STREAM in base64."""
    ended = False
    for text in _text_of(document, found):
        if not text:
            continue
        if ended:
            raise InputError("the data of the VOTable go on behind their end (base64)")
        if b"&" in text:
            raise UnusualError("characters written as entities")
        if len(text) % 4:
            raise InputError("the data of the VOTable are cut short (base64)")
        try:
            yield binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error as error:
            raise InputError(f"the data of the VOTable are damaged (base64: {error})") from error
        ended = text.endswith(b"=")


def _unpacked(pieces: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    """Yield what is packed by gzip."""
    unpacking, size = zlib.decompressobj(wbits=31), 0
    try:
        for packed in pieces:
            while packed:
                piece = unpacking.decompress(packed, _BLOCK)
                packed = unpacking.unconsumed_tail
                size += len(piece)
                check_size(size, max_bytes, "the STREAM of the VOTable, unpacked,")
                yield piece
        yield unpacking.flush()
    except zlib.error as error:
        raise InputError(f"the data of the VOTable are damaged (gzip: {error})") from error
    if not unpacking.eof:
        raise InputError("the data of the VOTable are cut short (gzip)")


# ---------------------------------------------------------------- from bytes to columns


@dataclass
class _Record:
    """Columns of fixed length that stand side by side."""

    cells: list[int] = field(default_factory=list)
    dtype: np.dtype = field(default_factory=lambda: np.dtype([]))
    nulls: int = 0

    @property
    def size(self) -> int:
        return self.dtype.itemsize


def _raw_dtype(cell: Cell) -> np.dtype:
    """Return the type of a cell of fixed length as it stands in a stream."""
    if cell.kind == "number":
        return np.dtype((cell.dtype.newbyteorder(">"), cell.shape))
    if cell.kind == "unicode":
        return np.dtype((">u2", (cell.items,)))
    return np.dtype(("u1", (cell.cell_bytes,)))


def _records_of(cells: Sequence[Cell], null_bytes: int) -> tuple[list[_Record], list[int]]:
    """Return the records before, between and behind the cells that vary, and these cells."""
    groups: list[list[int]] = [[]]
    varying = []
    for i, cell in enumerate(cells):
        if cell.varies:
            varying.append(i)
            groups.append([])
        else:
            groups[-1].append(i)
    records = []
    for k, group in enumerate(groups):
        members = [(str(i), _raw_dtype(cells[i])) for i in group]
        nulls = null_bytes if k == 0 else 0
        if nulls:
            members.insert(0, ("nulls", np.dtype(("u1", (nulls,)))))
        if sum(member.itemsize for _, member in members) >= 2**31:
            raise InputError("a row of the VOTable is declared to be longer than 2 GiB")
        records.append(_Record(group, np.dtype(members), nulls))
    return records, varying


class _Decoder:
    """What turns bytes of rows into columns."""

    def __init__(self, cells: Sequence[Cell], *, with_nulls: bool, size: int, document_bytes: int) -> None:
        for cell in cells:
            if cell.varies and (cell.kind == "bit" or cell.shape):
                raise UnusualError("arrays of varying length that are none of numbers in one dimension")
        self.cells = cells
        self.null_bytes = (len(cells) + 7) // 8 if with_nulls else 0
        self.records, self.varying = _records_of(cells, self.null_bytes)
        self.least = sum(record.size for record in self.records) + 4 * len(self.varying)
        if not self.least:
            raise InputError("the rows of the VOTable are declared to be empty")
        capacity = size // self.least
        self.columns = [filling_of(cell, capacity, document_bytes) for cell in cells]
        self.rows = 0
        self.before = np.array([record.size for record in self.records], np.int64)
        self.item_bytes = np.array([cells[i].item_bytes for i in self.varying], np.int64)

    def take(self, block: bytes) -> int:
        """Decode the whole rows of a block, and return how many bytes they have."""
        if not self.varying:
            rows = len(block) // self.least
            self._put(0, np.frombuffer(block, self.records[0].dtype, rows), rows)
            self.rows += rows
            return rows * self.least
        data = np.frombuffer(block, np.uint8)
        room, k = len(block) // self.least, len(self.varying)
        begins, counts = np.empty((2, room, k), np.int64)
        starts = np.empty(room + 1, np.int64)
        walk = compiled(kernels.walk, 20 * room * k)
        rows = walk(data, 0, self.before, self.item_bytes, begins, counts, starts)
        if rows:
            self._take_varying(data, begins[:rows], counts[:rows], starts[:rows])
        self.rows += rows
        return int(starts[rows])

    def _take_varying(
        self, data: np.ndarray, begins: np.ndarray, counts: np.ndarray, starts: np.ndarray
    ) -> None:
        rows = len(starts)
        nulls = None
        at = starts
        for k, record in enumerate(self.records):
            if record.size:
                raw = _gathered(data, at, np.full(rows, record.size))
                nulls = self._put(k, raw.view(record.dtype), rows, nulls)
            if k < len(self.varying):
                i = self.varying[k]
                begin, count = begins[:, k], counts[:, k]
                self._put_varying(i, data, begin, count, None if nulls is None else nulls[:, i])
                at = begin + count * self.item_bytes[k]

    def _put(self, k: int, raw: np.ndarray, rows: int, nulls: np.ndarray | None = None) -> np.ndarray | None:
        """Append the columns of a record; return which cells of the row are null."""
        record = self.records[k]
        if record.nulls:
            nulls = np.unpackbits(raw["nulls"], axis=1, count=len(self.cells)).view(bool)
            nulls = nulls if nulls.any() else None
        for i in record.cells:
            values, mask = _values_of(self.cells[i], raw[str(i)])
            if nulls is not None and not self.cells[i].is_text and nulls[:, i].any():
                rows_too = nulls[:, i].reshape(rows, *(1,) * (values.ndim - 1))
                mask = rows_too if mask is None else mask | rows_too
            self.columns[i].put(values, mask)
        return nulls

    def _put_varying(
        self, i: int, data: np.ndarray, begin: np.ndarray, count: np.ndarray, nulls: np.ndarray | None
    ) -> None:
        cell, column = self.cells[i], self.columns[i]
        lengths = count * cell.item_bytes
        if isinstance(column, Texts):
            column.put(_texts(cell, data, begin, lengths))
            return
        raw = _gathered(data, begin, lengths)
        if cell.kind == "number":
            raw = raw.view(cell.dtype.newbyteorder(">"))
        values, mask = _values_of(cell, raw)
        values = values.astype(cell.dtype, copy=False)
        ends = np.cumsum(count).tolist()
        pairs = zip([0, *ends[:-1]], ends, strict=True)
        if mask is None or not mask.any():
            items = [values[start:stop] for start, stop in pairs]
        else:
            items = [_maybe_masked(values[start:stop], mask[start:stop]) for start, stop in pairs]
        column.put(items, nulls)

    def finish(self) -> list[Filled]:
        """Return all columns."""
        out = []
        while self.columns:
            out.append(self.columns.pop(0).finish())
        return out


def _maybe_masked(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.ma.array(values, mask=mask) if mask.any() else values


def _gathered(data: np.ndarray, begins: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    total = int(lengths.sum())
    if total < compiling.WORTH_IT:
        return np.frombuffer(b"".join(_pieces(data, begins, lengths)), np.uint8)
    out = np.empty(total, np.uint8)
    compiled(kernels.gather, total)(data, begins, lengths, out)
    return out


def _pieces(data: np.ndarray, begins: np.ndarray, lengths: np.ndarray) -> Iterator[bytes]:
    whole = data.tobytes()
    for begin, length in zip(begins.tolist(), lengths.tolist(), strict=True):
        yield whole[begin : begin + length]


def _texts(cell: Cell, data: np.ndarray, begins: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return texts of different lengths; as objects where one is so long that a matrix would be a waste."""
    encoding = "utf-16-be" if cell.kind == "unicode" else "utf-8"
    width = int(lengths.max(initial=0))
    if width * len(lengths) > 16 * int(lengths.sum()) + 2**20:
        out = np.empty(len(lengths), object)
        out[:] = [piece.decode(encoding, "replace") for piece in _pieces(data, begins, lengths)]
        return out
    raw = np.zeros((len(lengths), width), np.uint8)
    if width * len(lengths) < compiling.WORTH_IT:
        for row, piece in zip(raw, _pieces(data, begins, lengths), strict=True):
            row[: len(piece)] = np.frombuffer(piece, np.uint8)
    else:
        compiled(kernels.gather_padded, int(lengths.sum()))(data, begins, lengths, raw)
    return decoded(raw.view(">u2") if cell.kind == "unicode" else raw, encoding, ends_at_zero=False)


def _values_of(cell: Cell, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the values of cells as they stand in a stream, and which are null by themselves."""
    if cell.kind == "number":
        return raw, cell.nulls(raw)
    rows = len(raw)
    if cell.is_text:
        encoding = "utf-16-be" if cell.kind == "unicode" else "utf-8"
        if not cell.items:
            return np.zeros((rows, *cell.shape), "U1"), None
        flat = np.ascontiguousarray(raw).reshape(-1, cell.length)
        return decoded(flat, encoding).reshape(rows, *cell.shape), None
    shape = raw.shape[:1] if cell.varies else (rows, *cell.shape)
    if cell.kind == "boolean":
        kinds = _BOOLEANS[raw].reshape(shape)
        if (kinds == _NONE).any():
            raise InputError(f"column {cell.name!r} holds booleans that are none; the VOTable is damaged")
        return kinds == _TRUE, kinds == _NULL
    if not cell.shape:
        return (raw.reshape(shape) & _BIT) != 0, None
    return np.unpackbits(raw, axis=1, count=cell.items).view(bool).reshape(shape), None


def read_binary(
    document: Document, found: Found, cells: Sequence[Cell], *, max_bytes: int
) -> tuple[list[Filled], int, bool]:
    """Decode a STREAM.

    Parameters
    ----------
    document : Document
        Where it stands.
    found : Found
        What `scan` says of it.
    cells : sequence of Cell
        The columns.
    max_bytes : int
        How many bytes a packed STREAM may have.

    Returns
    -------
    columns : list of (values, mask)
        Of each cell.
    rows : int
        How many there are.
    whole : bool
        Whether the stream ends with a row.

    Raises
    ------
    InputError
        If the stream is damaged, or would take more memory than makes sense.
    UnusualError
        If astropy has to read it.
    """
    packed = "gzip" in found.encoding.lower()
    size = (max_bytes if packed else found.stop - found.start) * 3 // 4 + 3
    pieces = _bytes_of(document, found)
    if packed:
        pieces = iter([b"".join(_unpacked(pieces, max_bytes))])  # its size tells how much room is needed
        first = next(pieces)
        size, pieces = len(first), iter([first])
    decoder = _Decoder(cells, with_nulls=found.kind == "BINARY2", size=size, document_bytes=document.size)
    rest = b""
    waiting: list[bytes] = []
    wanted = 0
    for piece in pieces:
        waiting.append(piece)
        wanted -= len(piece)
        if wanted > 0:  # of a row that is longer than a block, more is read before it is looked at again
            continue
        block = rest + b"".join(waiting)
        waiting.clear()
        rest = block[decoder.take(block) :]
        wanted = len(rest) if len(rest) > _BLOCK else 0
    if waiting:
        block = rest + b"".join(waiting)
        rest = block[decoder.take(block) :]
    return decoder.finish(), decoder.rows, not rest
