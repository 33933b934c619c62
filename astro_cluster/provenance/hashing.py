"""A hash of what stands in a table, the same after a trip through any file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table

__all__ = ["content_hash", "content_hash_of_chunks", "holds"]

_AT_ONCE = 2**27  # bytes of columns that are kept, so that several are hashed in one pass of a file
_BLOCK = 2**25  # bytes of a column that are converted at a time


@dataclass(slots=True)
class _Leaf:
    """What is hashed of a plain column, or of a part of one.

    Parts of a table can be put together: the heads are all the same, then come the masks, if
    any row is masked, then the sizes, then the values.
    """

    head: bytes
    mask: np.ndarray | None
    sizes: np.ndarray | None
    values: _Numbers | list[np.ndarray] | bytes

    def sections(self) -> Iterator[Any]:
        """Yield what is hashed, in the order in which it is."""
        yield self.head
        if self.mask is not None and _is_any(self.mask):
            yield np.packbits(self.mask)
        if self.sizes is not None:
            yield self.sizes
        yield from self.parts()

    def parts(self) -> Iterator[Any]:
        """Yield the values as they are hashed."""
        if isinstance(self.values, bytes):
            yield self.values
        else:
            yield from self.values

    def kept(self) -> _Leaf:
        """Return the same by itself: what it was made from may change."""
        return self if isinstance(self.values, bytes) else replace(self, values=list(self.values))


@dataclass(slots=True)
class _Numbers:
    """Numbers in the form in which they are hashed, made a block of rows at a time.

    A stack of images is as large as the memory: there is no room for a copy of it, let alone for
    one eight times as wide.
    """

    data: np.ndarray
    mask: np.ndarray
    kind: str

    def __iter__(self) -> Iterator[np.ndarray]:
        if not self.data.ndim or not len(self.data):
            yield self._made(self.data, self.mask)
            return
        width = np.dtype(self.kind).itemsize * max(1, self.data[0].size)
        rows = max(1, _BLOCK // width)
        for first in range(0, len(self.data), rows):
            part = slice(first, first + rows)
            yield self._made(self.data[part], self.mask[part])

    def _made(self, data: np.ndarray, mask: np.ndarray) -> np.ndarray:
        values = np.array(data, dtype=self.kind, order="C")
        if values.dtype.kind == "f":
            values[mask | np.isnan(values)] = np.nan
            values[values == 0] = 0.0  # -0.0
        elif values.dtype.kind == "c":
            values[mask] = np.nan
        elif _is_any(mask):
            values[mask] = 0
        return values


def _is_any(mask: np.ndarray) -> bool:
    """Tell whether any is set, at once if one stands for all."""
    return bool(mask.any() if any(mask.strides) else mask.size and mask.flat[0])


def _leaves(column: Any, *, wide: bool = False) -> Iterator[_Leaf]:
    """Yield what of a column does not change on a trip through a file.

    A masked float and a NaN are the same (VOTable knows no difference), as are a masked
    string and an empty one; width and byte order of numbers do not count, nor do blanks
    around a text (ECSV and FITS do not keep them).
    """
    if hasattr(column, "frame") or not hasattr(column, "dtype"):  # SkyCoord, Time and other mixins
        from astropy.table.serialize import represent_mixins_as_columns

        plain = represent_mixins_as_columns(QTable({"c": column}))
        yield _Leaf(_meaning(column).encode(), None, None, b"")
        for name in plain.colnames:
            yield from _leaves(plain[name], wide=wide)
        return
    if column.dtype.names:
        for name in column.dtype.names:
            yield _Leaf(name.encode(), None, None, b"")
            yield from _leaves(np.asarray(column)[name], wide=wide)
        return
    mask = np.array(getattr(column, "mask", False), dtype=bool)
    data = column.unmasked if hasattr(column, "unmasked") else column
    data = np.asarray(getattr(data, "value", data))
    data = np.asarray(getattr(data, "data", data)) if np.ma.isMaskedArray(data) else data
    mask = np.broadcast_to(mask, data.shape)
    head = f"{'text' if data.dtype.kind in 'OUS' else 'number'}{data.shape[1:]}".encode()
    yield _text(head, data, mask) if data.dtype.kind in "OUS" else _number(head, data, mask, wide=wide)


def _text(head: bytes, data: np.ndarray, mask: np.ndarray) -> _Leaf:
    items = [
        "" if hidden or item is None else (item.decode() if isinstance(item, bytes) else str(item)).strip()
        for item, hidden in zip(data.ravel().tolist(), mask.ravel().tolist(), strict=True)
    ]
    return _Leaf(head, None, np.array([len(item) for item in items], dtype="<i8"), "".join(items).encode())


def _number(head: bytes, data: np.ndarray, mask: np.ndarray, *, wide: bool) -> _Leaf:
    kind = data.dtype.kind
    # Images are hashed in their own width, which the formats that can hold them keep.
    own = None if wide else _width_of_image(data)
    if kind == "f":
        return _Leaf(head, None, None, _Numbers(data, mask, own or "<f8"))
    if kind == "c":
        return _Leaf(head, None, None, _Numbers(data, mask, "<c16"))
    whole = "<u8" if kind == "u" and data.dtype.itemsize == 8 else "<i8"
    return _Leaf(head, mask, None, _Numbers(data, mask, own or whole))


def _width_of_image(data: Any) -> str | None:
    """Return the type that images are hashed in, None of other columns."""
    if getattr(data, "ndim", 0) < 3 or not hasattr(data, "dtype"):
        return None
    return {"f4": "<f4", "u1": "u1"}.get(data.dtype.str[1:])


def _meaning(column: Any) -> str:
    """Return what the numbers of a mixin mean: the frame of a position, the scale of a time."""
    if hasattr(column, "frame"):
        frame = column.frame
        told = {name: str(getattr(frame, name)) for name in sorted(frame.frame_attributes)}
        return f"{frame.name}{told}"
    return f"{type(column).__name__}{getattr(column, 'scale', '')}"


def _unit_text(column: Any) -> str:
    """Return the unit in one spelling, however a file format spells it."""
    unit = getattr(column, "unit", None)
    if not isinstance(unit, u.UnitBase) or isinstance(unit, u.UnrecognizedUnit):
        return str(unit or "")
    base = unit.decompose()
    factors = sorted(f"{part}^{float(power):g}" for part, power in zip(base.bases, base.powers, strict=True))
    return " ".join([*factors, f"{base.scale:.12g}"])


def content_hash(table: Table, names: Iterable[str] | None = None) -> str:
    """Return a hash of the values, units and names of some columns.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.
    names : iterable of str, optional
        Columns to take; all of them if not given.

    Returns
    -------
    str
        ``sha256:`` and 64 hexadecimal digits, whatever the order of the columns; the same
        after a trip through VOTable, FITS,
        ECSV or Parquet.

    Examples
    --------
    >>> a, b = QTable({"x": [1.0, np.nan]}), QTable({"x": np.array([1, np.nan], ">f4")})
    >>> content_hash(a) == content_hash(b)
    True
    """
    return _hash(table, sorted(table.colnames if names is None else names))


def _hash(table: Table, names: Iterable[str], *, wide: bool = False) -> str:
    digest = hashlib.sha256()
    for name in names:
        column = table[name]
        digest.update(_title(name, column))
        for leaf in _leaves(column, wide=wide):
            for section in leaf.sections():
                digest.update(section)
    return "sha256:" + digest.hexdigest()


def holds(table: Table, names: Iterable[str], recorded: str) -> bool:
    """Tell whether columns have the content that a hash on record is of.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.
    names : iterable of str
        Columns to take.
    recorded : str
        What `content_hash` gave, now or in an older version, which hashed images in 8 bytes a number.

    Returns
    -------
    bool

    Examples
    --------
    >>> table = QTable({"x": [1.0, 2.0]})
    >>> holds(table, ["x"], content_hash(table)), holds(table[::-1], ["x"], content_hash(table))
    (True, False)
    """
    names = sorted(names)
    if _hash(table, names) == recorded:
        return True
    columns = [table[name] for name in names]
    has_images = any(_width_of_image(c) or getattr(getattr(c, "dtype", None), "names", None) for c in columns)
    return has_images and _hash(table, names, wide=True) == recorded


# ---------------------------------------------------------------- tables in parts


def _title(name: str, column: Any) -> bytes:
    return f"\0{name}\0{_unit_text(column)}\0".encode()


def _size(column: Any) -> int:
    """Return about how many bytes a row of a column takes."""
    shape, kind = getattr(column, "shape", ())[1:], getattr(getattr(column, "dtype", None), "kind", "O")
    return (8 if kind in "fiub" else 40) * int(np.prod(shape, dtype=np.int64))


def _groups(head: Table, names: Sequence[str], n_rows: int, at_once: int) -> Iterator[list[str]]:
    """Yield neighbouring columns that are kept at once, and by itself each that is too large."""
    group: list[str] = []
    size = 0
    for name in sorted(names):
        more = n_rows * _size(head[name])
        if group and size + more > at_once:
            yield group
            group, size = [], 0
        group.append(name)
        size += more
    if group:
        yield group


def _update(digest: Any, leaf: _Leaf) -> None:
    for values in leaf.parts():
        digest.update(values)


def _hash_together(digest: Any, read: Callable[[list[str]], Iterable[Table]], group: list[str]) -> None:
    """Hash columns that may be kept, in one pass."""
    titles: dict[str, bytes] = {}
    kept: dict[str, list[list[_Leaf]]] = {name: [] for name in group}
    for table in read(group):
        for name in group:
            titles.setdefault(name, _title(name, table[name]))
            leaves = list(_leaves(table[name]))
            kept[name] = kept[name] or [[] for _ in leaves]
            for parts, leaf in zip(kept[name], leaves, strict=True):
                parts.append(leaf.kept())
    for name in group:
        digest.update(titles[name])
        for parts in kept.pop(name):
            digest.update(parts[0].head)
            if parts[0].mask is not None:
                digest.update(_packed(part.mask for part in parts))
            for part in parts:
                digest.update(b"" if part.sizes is None else part.sizes)
            for part in parts:
                _update(digest, part)


def _hash_alone(digest: Any, read: Callable[[list[str]], Iterable[Table]], name: str) -> None:
    """Hash a column of which a part only may be kept, in as many passes as it has sections."""

    def parts(number: int) -> Iterator[_Leaf]:
        for table in read([name]):
            yield list(_leaves(table[name]))[number]

    first = next(iter(read([name])))
    digest.update(_title(name, first[name]))
    for number, leaf in enumerate(_leaves(first[name])):
        digest.update(leaf.head)
        if leaf.mask is not None:
            digest.update(_packed(part.mask for part in parts(number)))
        if leaf.sizes is not None:
            for part in parts(number):
                digest.update(part.sizes)
        if not (isinstance(leaf.values, bytes) and leaf.sizes is None):
            for part in parts(number):
                _update(digest, part)


def _packed(masks: Iterable[Any]) -> bytes:
    """Return the bits of masks that follow one another, or nothing if none is set."""
    full: list[bytes] = []
    rest, is_any = np.empty(0, dtype=bool), False
    for mask in masks:
        bits = np.concatenate([rest, np.ravel(mask)])
        whole = len(bits) // 8 * 8
        full.append(np.packbits(bits[:whole]).tobytes())
        rest, is_any = bits[whole:], is_any or bool(bits.any())
    return b"".join([*full, np.packbits(rest).tobytes()]) if is_any else b""


def content_hash_of_chunks(
    read: Callable[[list[str]], Iterable[Table]],
    names: Iterable[str],
    *,
    head: Table,
    n_rows: int,
    at_once: int = _AT_ONCE,
) -> str:
    """Return what `content_hash` gives of a table that comes in parts.

    Parameters
    ----------
    read : callable
        Given a list of columns, it gives an iterable of tables with these columns, at least one
        table: the rows from the first to the last.  It is called several times.
    names : iterable of str
        Columns to take.
    head : `~astropy.table.Table`
        A table with these columns; its rows do not matter.
    n_rows : int
        Number of rows.
    at_once : int, optional
        Bytes that may be kept.

    Returns
    -------
    str

    Notes
    -----
    The hash runs from column to column, and rows come one after another: as many columns as may be
    kept are hashed in one pass, and a column larger than that in a pass of its own (whole
    numbers that may be masked, and texts, in two).

    Examples
    --------
    >>> table = QTable({"x": [1.0, 2.0, 3.0], "name": ["a", "bc", ""]})
    >>> parts = content_hash_of_chunks(lambda names: [table[names][:2], table[names][2:]], ["x", "name"],
    ...                                head=table, n_rows=3)
    >>> parts == content_hash(table)
    True
    """
    digest = hashlib.sha256()
    for group in _groups(head, list(names), n_rows, at_once):
        if len(group) == 1 and n_rows * _size(head[group[0]]) > at_once:
            _hash_alone(digest, read, group[0])
        else:
            _hash_together(digest, read, group)
    return "sha256:" + digest.hexdigest()
