"""How columns go into a stream: the type that VOTable has for them, and their bytes block by block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Column

from astro_cluster.exceptions import InputError
from astro_cluster.mixins import as_text

__all__ = ["Form", "form_of", "plain_values"]

# Types that VOTable lacks, and the smallest one that holds all their values.
_WIDER = {"i1": "i2", "u2": "i4", "u4": "i8", "u8": "i8", "f2": "f4"}
_WASTE = 2**28
"""Bytes from which texts of very different lengths are not made equally long."""


@dataclass
class Form:
    """A column on its way into a stream.

    Parameters
    ----------
    name : str
        Of the column, for errors.
    values : (n, …) array, or list of n arrays or texts
        What stands in it.
    mask : (n, …) array of bool or None
        What is masked; None: nothing.
    like : dtype
        Type for the header of the document; of a cell of varying length, that of its items.
    raw : dtype
        Type of a cell, or of an item of varying length, in the stream.
    shape : tuple of int
        Of a cell, without the length of a text.
    arraysize : str
        For the header, where astropy does not know it; else empty.
    varies : bool
        Whether each cell has a length of its own.
    masked_text : bool
        Whether some texts are masked.
    """

    name: str
    values: Any
    mask: np.ndarray | None
    like: np.dtype
    raw: np.dtype
    shape: tuple[int, ...] = ()
    arraysize: str = ""
    varies: bool = False
    masked_text: bool = False
    _kind: str = field(init=False)

    def __post_init__(self) -> None:
        self._kind = self.like.kind

    @property
    def cell(self) -> np.dtype:
        """Type of a cell of fixed length in the stream."""
        if self._kind == "U":
            return np.dtype((self.raw, (*self.shape, self.like.itemsize // 4)))
        return np.dtype((self.raw, self.shape))

    def nulls(self, start: int, stop: int) -> np.ndarray | None:
        """Return which rows are null as a whole; None if none is."""
        if self.mask is None or self._kind in "US":
            return None
        mask = self.mask[start:stop]
        return mask.reshape(len(mask), -1).all(axis=1) if mask.ndim > 1 else mask

    def fill(self, out: np.ndarray, start: int, stop: int) -> None:
        """Write rows of fixed length.

        Parameters
        ----------
        out : (stop - start, …) array
            Where to, of the type `cell`.
        start, stop : int
            Which rows.
        """
        values = self.values[start:stop]
        mask = None if self.mask is None else self.mask[start:stop]
        if self._kind == "U":
            _fill_text(self.name, out, values, mask)
        elif self._kind == "b":
            out[...] = np.where(values, b"T", b"F")
            if mask is not None:
                out[np.broadcast_to(_like(mask, values), values.shape)] = b"?"
        else:
            out[...] = values
            if mask is None or not mask.any():
                return
            if self._kind == "S":
                out[mask] = b""
            elif self._kind in "fc":
                out[np.broadcast_to(_like(mask, values), values.shape)] = np.nan
            elif mask.ndim > 1 and np.any(mask.reshape(len(mask), -1).any(axis=1) & ~self.nulls(start, stop)):
                raise InputError(
                    f"column {self.name!r} has rows in which some of the integers are masked, which a "
                    "VOTable cannot say; make it a column of floats, or mask whole rows"
                )

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the cells of varying length of some rows, each with its length before it."""
        items = self.values[start:stop]
        if self._kind == "U":
            raw = [_encoded(self.name, text) for text in items]
            for text in raw:
                yield (len(text) // 2).to_bytes(4, "big") + text
            return
        counts = [len(item) for item in items]
        whole = np.concatenate([*items, np.empty(0, self.like)])
        if self._kind == "b":
            whole = np.where(whole, b"T", b"F")
        data = whole.astype(self.raw).tobytes()
        position = 0
        for count in counts:
            end = position + count * self.raw.itemsize
            yield count.to_bytes(4, "big") + data[position:end]
            position = end


def _like(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    return mask.reshape(mask.shape + (1,) * (values.ndim - mask.ndim))


def _fill_text(name: str, out: np.ndarray, texts: np.ndarray, mask: np.ndarray | None) -> None:
    if not texts.size:
        return
    native = np.ascontiguousarray(texts, dtype=texts.dtype.newbyteorder("="))
    points = native.view("u4").reshape(*texts.shape, -1)
    width = min(points.shape[-1], out.shape[-1])
    out[..., :width] = points[..., :width]
    out[..., width:] = 0
    if (points > 0xD7FF).any():
        for index in zip(*np.nonzero((points > 0xD7FF).any(axis=-1)), strict=True):
            encoded = np.frombuffer(_encoded(name, str(texts[index])), ">u2")
            out[index][: len(encoded)] = encoded
            out[index][len(encoded) :] = 0
    if mask is not None:
        out[np.broadcast_to(mask, texts.shape)] = 0


def _encoded(name: str, text: str) -> bytes:
    try:
        return text.encode("utf-16-be")
    except UnicodeEncodeError as error:
        raise InputError(f"column {name!r} holds text that is no Unicode: {error.reason}") from error


def plain_values(column: Column | u.Quantity) -> np.ndarray:
    """Return the values of a column without its mask and unit.

    Parameters
    ----------
    column : `~astropy.table.Column` or `~astropy.units.Quantity`
        Masked or not.

    Returns
    -------
    array
    """
    bare = getattr(column, "unmasked", column)
    return np.ma.getdata(np.asarray(getattr(bare, "value", bare)))


def _units_of_text(values: np.ndarray) -> int:
    """Return how many characters to declare: UTF-16 needs two for some, and 1 alone is deprecated."""
    if not values.size:
        return max(values.dtype.itemsize // 4, 2)
    width = values.dtype.itemsize // 4
    most = 2
    for start in range(0, len(values), 2**14):
        block = np.ascontiguousarray(values[start : start + 2**14], dtype=values.dtype.newbyteorder("="))
        high = (block.reshape(-1, 1).view("u4") > 0xFFFF).sum(axis=1) if width else np.zeros(1, int)
        most = max(most, width + int(high.max(initial=0)))
    return most


def form_of(name: str, column: Any) -> Form:
    """Return how a column goes into a stream.

    Parameters
    ----------
    name : str
        Its name.
    column : (n, …) `~astropy.table.Column` or `~astropy.units.Quantity`
        What to write.

    Returns
    -------
    Form

    Raises
    ------
    InputError
        If VOTable has no type for it.
    """
    if column.dtype.kind == "O":
        return _form_of_objects(name, column)
    values = plain_values(column)
    mask = np.asarray(getattr(column, "mask", False))
    hidden = mask if mask.ndim and mask.any() else None
    if values.dtype.kind == "S" and any(cell and max(cell) > 127 for cell in values.ravel().tolist()):
        values = np.char.decode(values, "utf-8", "replace")
    elif values.dtype.kind == "U":
        with contextlib.suppress(UnicodeEncodeError):
            values = values.astype("S")  # a byte a character instead of two
    if values.dtype.kind == "S":
        like = np.dtype(f"S{max(values.dtype.itemsize, 2)}")
        return _with_length(Form(name, values, hidden, like, like, values.shape[1:]))
    if values.dtype.kind == "U":
        like = np.dtype(f"U{_units_of_text(values)}")
        return _with_length(Form(name, values, hidden, like, np.dtype(">u2"), values.shape[1:]))
    return _form_of_numbers(name, values, hidden)


def _with_length(form: Form) -> Form:
    form.masked_text = form.mask is not None
    if form.shape:
        width = form.like.itemsize // (4 if form.like.kind == "U" else 1)
        form.arraysize = "x".join(map(str, (width, *reversed(form.shape))))
    return form


def _form_of_numbers(name: str, values: np.ndarray, mask: np.ndarray | None) -> Form:
    kind = values.dtype.str[1:]
    if kind == "u8" and len(values):
        seen = values if mask is None else np.where(_like(mask, values), 0, values)
        if int(seen.max(initial=0)) > np.iinfo("i8").max:
            raise InputError(f"column {name!r} has integers above 2**63 - 1, which no VOTable can hold")
    like = np.dtype(_WIDER.get(kind, kind)) if values.dtype.kind in "iufcb" else values.dtype
    raw = np.dtype("S1") if like.kind == "b" else like.newbyteorder(">")
    return Form(name, values, mask, like, raw, values.shape[1:])


def _form_of_objects(name: str, column: Any) -> Form:
    data = np.ma.getdata(np.ma.asarray(column))
    hidden = np.array(np.broadcast_to(getattr(column, "mask", False), data.shape))
    items = data.tolist() if data.ndim == 1 else []
    items = [None if skip else item for item, skip in zip(items, hidden.ravel(), strict=False)]
    kinds = {type(item) for item in items if item is not None}
    if kinds and all(issubclass(kind, (np.ndarray, list, tuple)) for kind in kinds):
        return _form_of_arrays(name, items)
    if kinds == {str}:
        texts = [item or "" for item in items]
        if 4 * len(texts) * max(map(len, texts)) > max(_WASTE, 64 * sum(map(len, texts))):
            form = Form(name, texts, None, np.dtype("U2"), np.dtype(">u2"), arraysize="*", varies=True)
            form.masked_text = None in items
            return form
    return form_of(name, as_text(name, column))


def _form_of_arrays(name: str, items: list[Any]) -> Form:
    """Return how arrays of varying length go into a stream, None for rows that are masked."""
    arrays = [x if isinstance(x, np.ndarray) else np.asarray(() if x is None else x) for x in items]
    if any(item.ndim != 1 or (item.size and item.dtype.kind not in "iufcb") for item in arrays):
        raise InputError(
            f"column {name!r} holds arrays of varying length that are not of numbers in one dimension, which "
            "is not written in a VOTable; make them so, or leave the column out"
        )
    like = _type_of(name, arrays)
    mask = np.array([item is None for item in items], bool)
    form = _form_of_numbers(name, np.empty(0, like), mask if mask.any() else None)
    form.values, form.varies, form.arraysize, form.shape = [], True, "*", ()
    for i, item in enumerate(arrays):
        if item.dtype.str[1:] == "u8" and int(item.max(initial=0)) > np.iinfo("i8").max:
            raise InputError(f"column {name!r} has integers above 2**63 - 1, which no VOTable can hold")
        if isinstance(item, np.ma.MaskedArray):
            if form.like.kind != "f" and np.ma.getmaskarray(item).any():
                raise InputError(
                    f"column {name!r} has masked values that are no floats in row {i}, which a VOTable "
                    "cannot say; make it a column of arrays of floats"
                )
            item = np.ma.filled(item.astype(form.like), np.nan) if form.like.kind == "f" else item.data
        form.values.append(item if item.size else np.empty(0, form.like))
    return form


def _type_of(name: str, arrays: list[np.ndarray]) -> np.dtype:
    """Return a type that holds the values of all arrays."""
    used = {item.dtype for item in arrays if item.size}
    kinds = {dtype.kind for dtype in used}
    if "b" in kinds and len(kinds) > 1:
        raise InputError(f"column {name!r} mixes booleans with numbers; make it one of them")
    like = np.result_type(*used) if used else np.dtype("f8")
    if like.kind == "c":
        raise InputError(
            f"column {name!r} holds complex arrays of varying length, whose VOTable STILTS and TOPCAT "
            "misread; write two columns, of the real and the imaginary parts"
        )
    if like.kind == "f" and kinds & set("iu") and any(_is_long(item) for item in arrays):
        raise InputError(f"column {name!r} mixes numbers above 2**53 with fractions; make it one of them")
    return like


def _is_long(item: np.ndarray) -> bool:
    return item.dtype.kind in "iu" and bool(item.size) and int(np.abs(item).max()) > 2**53
