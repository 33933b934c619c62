"""FITS tables whose descriptions, UCDs and record survive.

Under `astro_cluster.tables`.  What FITS has no keyword for goes as bytes into an image HDU
behind the table, which other programs pass over.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Column, MaskedColumn, QTable
from astropy.utils.exceptions import AstropyUserWarning

from astro_cluster.columns import with_info
from astro_cluster.exceptions import InputError
from astro_cluster.mixins import as_text, join_mixins, restore_unit, split_mixins, with_legal_unit

__all__ = ["read_fits", "write_fits"]

_RECORD_HDU = "ASTRO_CLUSTER"
_TABLE_HDU = "TABLE"
# The smallest FITS integers with room for a null beside all values of the given type.
_WITH_ROOM = {"b1": "i2", "i1": "i2", "u1": "i2", "u2": "i4", "u4": "i8"}


def _decoded(table: QTable) -> QTable:
    """Turn bytes into text.  FITS means ASCII; UTF-8 is what it becomes in practice."""
    for name in table.colnames:
        column = table[name]
        if getattr(column, "dtype", np.dtype(float)).kind == "S":
            text = np.char.decode(np.ma.getdata(np.ma.asarray(column)), "utf-8", "replace")
            mask = np.array(getattr(column, "mask", False))
            new = MaskedColumn(text, mask=mask) if mask.any() else Column(text)
            table.replace_column(name, with_info(new, column))
    return table


def _native(table: QTable) -> QTable:
    """Turn big-endian columns, as FITS has them, into the machine's own byte order."""
    for name in table.colnames:
        column = table[name]
        if not hasattr(column, "dtype") or column.dtype.isnative:
            continue
        native = column.astype(column.dtype.newbyteorder("="))
        table.replace_column(name, with_info(native, column))
    return table


@contextlib.contextmanager
def _truncation_as_error(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except AstropyUserWarning as warning:
        if "truncated" not in str(warning):
            raise
        raise InputError(f"{path} cannot be read as fits: it is cut short ({warning})") from warning


def _read_hdu(
    path: str | os.PathLike[str], hdu: int | str | None
) -> tuple[QTable, fits.BinTableHDU, dict[str, Any]]:
    """Return a table, its HDU, and what `write_fits` put beside it."""
    with warnings.catch_warnings(), _truncation_as_error(path):
        # Names such as 'TTau*' are against a recommendation only.
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        warnings.filterwarnings("error", message="File may have been truncated")
        with fits.open(path, memmap=False) as hdus:
            tables = [i for i, h in enumerate(hdus) if isinstance(h, (fits.BinTableHDU, fits.TableHDU))]
            if not tables:
                names = ", ".join(h.name or "?" for h in hdus)
                raise InputError(f"{path} holds no table: its HDUs are {names}")
            chosen = hdus[tables[0] if hdu is None else hdu]
            table = _decoded(_native(QTable.read(chosen, character_as_bytes=True)))
            ours = _RECORD_HDU in hdus and chosen.name == _TABLE_HDU
            return table, chosen, json.loads(bytes(hdus[_RECORD_HDU].data)) if ours else {}


def read_fits(path: str | os.PathLike[str], *, hdu: int | str | None = None) -> tuple[QTable, dict[str, str]]:
    """Read one table of a FITS file.

    Parameters
    ----------
    path : str or path
        What to read.
    hdu : int or str, optional
        Which HDU; the first table if not given.

    Returns
    -------
    table : `~astropy.table.QTable`
        In native byte order; header cards of files that are not ours stand in its meta.
    texts : dict of str to str
        What `write_fits` was given; empty for other people's files.

    Raises
    ------
    InputError
        If the file holds no table.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "one.fits"
    >>> write_fits(QTable({"id": [1, 2]}), path, texts={"note": "simulated"})
    >>> table, texts = read_fits(path)
    >>> table["id"].tolist(), texts
    ([1, 2], {'note': 'simulated'})
    """
    table, chosen, kept = _read_hdu(path, hdu)
    header = chosen.header
    for i, name in enumerate(chosen.columns.names, start=1):
        if name in table.colnames and (ucd := header.get(f"TUCD{i}")):  # as TOPCAT writes it
            table[name].info.meta = {**(table[name].info.meta or {}), "ucd": ucd}
        if name in table.colnames and (text := header.get(f"TCOMM{i}")):
            table[name].info.description = table[name].info.description or text
    if not kept:
        return table, {}
    table.meta.clear()
    for name in set(kept["columns"]) & set(table.colnames):
        described = kept["columns"][name]
        if described["boolean"]:
            table.replace_column(name, table[name].astype(bool))
        if described["masked_text"]:
            text = np.asarray(table[name])
            table.replace_column(name, MaskedColumn(text, mask=text == ""))
        table.replace_column(name, restore_unit(table[name], described["unit"]))
        table[name].info.description = described["description"]
        table[name].info.meta = described["meta"]
    return (join_mixins(table, kept["layout"]) if kept["layout"] else table), kept["texts"]


def write_fits(table: QTable, path: str | os.PathLike[str], *, texts: dict[str, str] | None = None) -> None:
    """Write a table as FITS.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table without Python objects.  Text is written in UTF-8.
    path : str or path
        Where to.
    texts : dict of str to str, optional
        Texts that have to travel with the table.

    Raises
    ------
    InputError
        If a column cannot be expressed.

    Notes
    -----
    As in VOTable, a masked string is an empty one and a masked float is a NaN.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "one.fits"
    >>> write_fits(QTable({"name": ["η Tau"]}), path)
    >>> read_fits(path)[0]["name"].tolist()
    ['η Tau']
    """
    plain, layout, _ = split_mixins(table)
    plain = QTable(plain, copy=False)
    plain.meta.clear()
    columns: dict[str, dict[str, Any]] = {}
    for name in plain.colnames:
        column = plain[name]
        columns[name] = {
            "description": column.info.description,
            "meta": dict(column.info.meta or {}),
            "boolean": column.dtype.kind == "b",
            "unit": "" if column.info.unit is None else str(column.info.unit),
            "masked_text": column.dtype.kind in "OU" and bool(np.any(getattr(column, "mask", False))),
        }
        plain.replace_column(name, with_legal_unit(_storable(name, column), "fits")[0])
    raw = json.dumps({"texts": texts or {}, "columns": columns, "layout": layout}, default=str).encode(
        "ascii"
    )
    record = fits.ImageHDU(np.frombuffer(raw, dtype="u1"), name=_RECORD_HDU)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        # A Python format such as '{!s:>4}' has no FITS word; it is for the screen only.
        warnings.filterwarnings("ignore", message="Format .* cannot be mapped", category=AstropyUserWarning)
        main = fits.table_to_hdu(plain)
        main.name = _TABLE_HDU
        _describe(main, columns)
        fits.HDUList([fits.PrimaryHDU(), main, record]).writeto(path)


def _describe(main: fits.BinTableHDU, columns: dict[str, dict[str, Any]]) -> None:
    """Write UCDs and descriptions as TOPCAT reads them, as far as a card can hold them."""
    for i, name in enumerate(main.columns.names, start=1):
        if ucd := columns[name]["meta"].get("ucd"):
            main.header[f"TUCD{i}"] = ucd
        text = " ".join((columns[name]["description"] or "").split())
        if text and text.isascii() and text.isprintable():
            main.header[f"TCOMM{i}"] = text


def _storable(name: str, column: Any) -> Any:
    """Return the column in a type that FITS has, with a null for its masked values."""
    if column.dtype.kind == "O":
        column = as_text(name, column)
    masked = bool(np.any(getattr(column, "mask", False)))
    if column.dtype.kind == "U":
        raw = np.char.encode(np.ma.filled(np.ma.asarray(column), ""), "utf-8")
        return with_info(Column(raw), column)
    if column.dtype.str[1:] == "i1" and not masked:  # astropy writes it as a logical
        return with_info(column.astype("i2"), column)
    if not masked or column.dtype.kind not in "biu":
        return column
    # A FITS logical has no null that astropy reads; a short has.
    wider = _WITH_ROOM.get(column.dtype.str[1:])
    values = column.astype(wider) if wider else column.copy()
    limits = np.iinfo(values.dtype)
    seen = values.compressed()
    for null in (limits.min, limits.max, -1, -999):
        if limits.min <= null <= limits.max and not np.any(seen == null):
            values.fill_value = null
            return with_info(values, column)
    raise InputError(f"column {name!r} leaves no integer free that could stand for its masked values in FITS")
