"""A hash of what stands in a table, the same after a trip through any file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table

__all__ = ["content_hash"]


def _canonical(column: Any) -> Iterable[bytes]:
    """Bytes of a column that do not change on a trip through a file.

    A masked float and a NaN are the same (VOTable knows no difference), as are a masked
    string and an empty one; width and byte order of numbers do not count, nor do blanks
    around a text (ECSV and FITS do not keep them).
    """
    if hasattr(column, "frame") or not hasattr(column, "dtype"):  # SkyCoord, Time and other mixins
        from astropy.table.serialize import represent_mixins_as_columns

        yield _meaning(column).encode()
        plain = represent_mixins_as_columns(QTable({"c": column}))
        for name in plain.colnames:
            yield from _canonical(plain[name])
        return
    if column.dtype.names:
        for name in column.dtype.names:
            yield name.encode()
            yield from _canonical(np.asarray(column)[name])
        return
    mask = np.array(getattr(column, "mask", False), dtype=bool)
    data = column.unmasked if hasattr(column, "unmasked") else column
    data = np.asarray(getattr(data, "value", data))
    data = np.asarray(getattr(data, "data", data)) if np.ma.isMaskedArray(data) else data
    mask = np.broadcast_to(mask, data.shape)
    kind = data.dtype.kind
    yield f"{'text' if kind in 'OUS' else 'number'}{data.shape[1:]}".encode()
    if kind in "OUS":
        items = [
            ""
            if hidden or item is None
            else (item.decode() if isinstance(item, bytes) else str(item)).strip()
            for item, hidden in zip(data.ravel().tolist(), mask.ravel().tolist(), strict=True)
        ]
        yield np.array([len(item) for item in items], dtype="<i8").tobytes()
        yield "".join(items).encode()
        return
    if kind == "f":
        values = np.array(data, dtype="<f8")
        values[mask | np.isnan(values)] = np.nan
        values[values == 0] = 0.0  # -0.0
    elif kind == "c":
        values = np.array(data, dtype="<c16")
        values[mask] = np.nan
    else:
        values = np.array(data, dtype="<u8" if kind == "u" and data.dtype.itemsize == 8 else "<i8")
        values[mask] = 0
        if mask.any():
            yield np.packbits(mask).tobytes()
    yield values.tobytes()


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
    digest = hashlib.sha256()
    for name in sorted(table.colnames if names is None else names):
        column = table[name]
        digest.update(f"\0{name}\0{_unit_text(column)}\0".encode())
        for chunk in _canonical(column):
            digest.update(chunk)
    return "sha256:" + digest.hexdigest()
