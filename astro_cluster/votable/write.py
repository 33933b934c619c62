"""Writing a VOTable: the header by astropy, the data in blocks of rows."""

from __future__ import annotations

import binascii
import io
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import BinaryIO

import numpy as np
from astropy import units as u
from astropy.io import votable as astropy_votable
from astropy.io.votable.exceptions import VOWarning
from astropy.io.votable.tree import CooSys, Info, Resource, TableElement, VOTableFile
from astropy.table import Column, QTable

from astro_cluster.columns import with_info
from astro_cluster.exceptions import InputError
from astro_cluster.mixins import split_mixins, with_legal_unit
from astro_cluster.votable.forms import Form, form_of
from astro_cluster.votable.texts import LAYOUT, MASKED_TEXT, UNITS, VERSIONS, public

__all__ = ["write_head", "write_votable"]

_BLOCK_BYTES = 2**20
_COOSYS_OF_FRAME = {"icrs": "ICRS", "fk5": "eq_FK5", "fk4": "eq_FK4", "galactic": "galactic"}


@dataclass
class _Prepared:
    """A table on its way out: its document before and behind the data, and its columns."""

    before: bytes
    after: bytes
    forms: list[Form]
    rows: int


def write_votable(
    table: QTable, file: BinaryIO, *, infos: dict[str, str] | None = None, version: str = "1.4"
) -> None:
    """Write a table as a VOTable in BINARY2.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table without Python objects other than text and arrays of numbers, whose length may
        vary from row to row.  SkyCoord and Time columns go out as plain columns and come back.
    file : binary file
        Open for writing.
    infos : dict of str to str, optional
        INFO elements of the RESOURCE.
    version : {"1.4", "1.5"}
        Version of the standard; STILTS 3.4.7 and older report 1.5 as an error.

    Raises
    ------
    InputError
        If a column or its unit cannot be expressed, or there is no column.

    Notes
    -----
    VOTable knows neither a masked string (it is the empty one) nor the difference between
    a NaN and a masked float.  Columns of masked strings are noted, so that `read_votable`
    masks their empty cells again.

    Examples
    --------
    >>> import io
    >>> from astro_cluster.votable import read_votable
    >>> file = io.BytesIO()
    >>> write_votable(QTable({"id": [1, 2]}), file)
    >>> read_votable(io.BytesIO(file.getvalue()))[0]["id"].tolist()
    [1, 2]
    """
    if not table.colnames:
        raise InputError("the table has no columns, and a VOTable has at least one; add a column")
    prepared = _prepared(table, infos, version)
    file.write(prepared.before + b'<DATA><BINARY2><STREAM encoding="base64">')
    rest = b""
    for block in _blocks(prepared.forms, prepared.rows):
        block = rest + block if rest else block
        whole = len(block) // 3 * 3  # pieces of base64 that are whole can be put together
        file.write(binascii.b2a_base64(memoryview(block)[:whole], newline=False))
        rest = bytes(block[whole:])
    file.write(binascii.b2a_base64(rest, newline=False) if rest else b"")
    file.write(b"</STREAM></BINARY2></DATA>" + prepared.after)


def write_head(
    table: QTable, *, infos: dict[str, str] | None = None, layout: str = "", version: str = "1.4"
) -> bytes:
    """Return a VOTable that describes a table and has no data.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        As in `write_votable`.
    infos : dict of str to str, optional
        INFO elements of the RESOURCE.
    layout : str, optional
        How `~astro_cluster.mixins.split_mixins` took the table apart, if it did so before.
    version : {"1.4", "1.5"}
        Version of the standard.

    Returns
    -------
    bytes

    Raises
    ------
    InputError
        If a column or its unit cannot be expressed.

    Examples
    --------
    >>> b"<DATA>" in write_head(QTable({"id": [1, 2]}))
    False
    """
    before = {LAYOUT: json.dumps(layout)} if layout else {}
    prepared = _prepared(QTable(table, copy=False), (infos or {}) | before, version)
    return prepared.before + prepared.after


def _prepared(table: QTable, infos: dict[str, str] | None, version: str) -> _Prepared:
    if version not in VERSIONS:
        raise InputError(f"VOTable version {version!r} is not written; give one of {', '.join(VERSIONS)}")
    plain, layout, frames = split_mixins(table)
    forms = [form_of(name, plain[name]) for name in plain.colnames]
    infos = dict(infos or {})
    if layout:
        infos[LAYOUT] = json.dumps(layout)  # an XML attribute keeps no line breaks
    units: dict[str, str] = {}
    head = QTable(meta={k: v for k, v in table.meta.items() if k in ("ID", "name", "description")})
    for form in forms:
        head[form.name], exact = with_legal_unit(_empty_column(form, plain), "vounit")
        if not exact:
            units[form.name] = str(plain[form.name].info.unit)
        head[form.name].info.meta = public(head[form.name].info.meta)
    if units:
        infos[UNITS] = json.dumps(units)
    if masked := [form.name for form in forms if form.masked_text]:
        infos[MASKED_TEXT] = json.dumps(masked)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)  # deprecated units are still valid VOUnits
        warnings.simplefilter("ignore", VOWarning)  # names that are no XML IDs get an ID of their own
        tree = astropy_votable.from_table(head)
        _complete(tree, forms, version=version, infos=infos, frames=frames)
        text = io.BytesIO()
        tree.to_xml(text, tabledata_format="binary2")
    # astropy writes row by row in Python, and leaves DATA out where there is no row, without
    # which STILTS and TOPCAT see no table.
    text_with_sizes = _with_sizes(text.getvalue(), forms)
    opened = re.sub(rb"<TABLE\b", f'<TABLE nrows="{len(table)}"'.encode(), text_with_sizes, count=1)
    before, end, after = opened.rpartition(b"</TABLE>")
    return _Prepared(before, end + after, forms, len(table))


def _with_sizes(text: bytes, forms: Sequence[Form]) -> bytes:
    """Return a header with the sizes of columns of several texts a row, which astropy does not write."""
    sizes = iter([form.arraysize if "x" in form.arraysize else "" for form in forms])

    def mend(tag: re.Match[bytes]) -> bytes:
        if size := next(sizes, ""):
            return re.sub(rb'(\sarraysize=")[^"]*', rb"\g<1>" + size.encode(), tag[0], count=1)
        return tag[0]

    return re.sub(rb"""<FIELD\b[^<>"]*(?:"[^"]*"[^<>"]*)*>""", mend, text)


def _empty_column(form: Form, plain: QTable) -> Column:
    """Return a column without rows that has the type of a form and all that is known of the column."""
    shape = () if form.arraysize else form.shape
    column = Column(np.empty((0, *shape), form.like))
    column.info.unit = plain[form.name].info.unit
    written = (plain[form.name].info.meta or {}).get("unit_as_written")
    if form.varies and form.like.kind != "U" and written and column.info.unit is None:
        column.info.unit = u.Unit(written, parse_strict="silent")  # a QTable lets no unit be on objects
    return with_info(column, plain[form.name])


def _blocks(forms: Sequence[Form], rows: int) -> Iterator[bytes]:
    """Yield rows in BINARY2: a bit a column that is 1 where the value is null, then the values."""
    null_bytes = (len(forms) + 7) // 8
    parts: list[list[Form]] = [[]]  # of fixed length, before, between and behind those that vary
    varying = []
    for form in forms:
        if form.varies:
            varying.append(form)
            parts.append([])
        else:
            parts[-1].append(form)
    records = [np.dtype([(str(i), form.cell) for i, form in enumerate(part)]) for part in parts]
    records[0] = np.dtype(
        [("nulls", "u1", (null_bytes,)), *records[0].descr] if parts[0] else [("nulls", "u1", (null_bytes,))]
    )
    width = sum(record.itemsize for record in records) + 64 * len(varying)
    step = max(1, _BLOCK_BYTES // width)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        fixed = [_record(part, record, start, stop) for part, record in zip(parts, records, strict=True)]
        fixed[0]["nulls"] = _null_bits(forms, start, stop)
        if not varying:
            yield fixed[0].tobytes()
            continue
        columns: list[Iterator[bytes]] = [_cut(fixed[0])]
        for form, record in zip(varying, fixed[1:], strict=True):
            columns.append(form.pieces(start, stop))
            if record.itemsize:
                columns.append(_cut(record))
        yield b"".join([piece for row in zip(*columns, strict=True) for piece in row])


def _record(forms: Sequence[Form], dtype: np.dtype, start: int, stop: int) -> np.ndarray:
    record = np.empty(stop - start, dtype)
    for i, form in enumerate(forms):
        form.fill(record[str(i)], start, stop)
    return record


def _cut(record: np.ndarray) -> Iterator[bytes]:
    data, size = record.tobytes(), record.itemsize
    return (data[start : start + size] for start in range(0, len(data), size))


def _null_bits(forms: Sequence[Form], start: int, stop: int) -> np.ndarray:
    nulls = np.zeros((stop - start, len(forms)), dtype=bool)
    for i, form in enumerate(forms):
        if (rows := form.nulls(start, stop)) is not None:
            nulls[:, i] = rows
    return np.packbits(nulls, axis=1)


def _complete(
    tree: VOTableFile, forms: Sequence[Form], *, version: str, infos: dict[str, str], frames: dict[str, str]
) -> None:
    """Add to astropy's tree what it leaves out, and mend what TOPCAT stumbles over."""
    tree.version = version
    resource, element = tree.resources[0], tree.get_first_table()
    for key, text in infos.items():
        resource.infos.append(Info(name=key, value=text))
    for element_field, form in zip(element.fields, forms, strict=True):
        # astropy writes booleans as "bit", on which STILTS and TOPCAT fail in BINARY2.
        if element_field.datatype == "bit":
            element_field.datatype = "boolean"
            element_field._setup({}, None)
        if form.arraysize:
            sizes = form.arraysize.split("x")  # astropy knows one length of a text only; see _with_sizes
            element_field.arraysize = str(prod(map(int, sizes))) if len(sizes) > 1 else form.arraysize
        elif len(form.shape) > 1:
            # The first axis is the fastest; astropy knows that when it reads only.
            element_field.arraysize = "x".join(map(str, reversed(form.shape)))
    _refer_to_frames(resource, element, frames, version)


def _refer_to_frames(resource: Resource, element: TableElement, frames: dict[str, str], version: str) -> None:
    """Declare the frame of each position, so that other programs know it too."""
    config = {f"version_1_{minor}_or_later": True for minor in range(1, int(version[2:]) + 1)}
    for frame in sorted(set(frames.values()) & set(_COOSYS_OF_FRAME)):
        resource.coordinate_systems.append(CooSys(ID=frame, system=_COOSYS_OF_FRAME[frame], config=config))
        for element_field in element.fields:
            if frames.get(element_field.name) == frame:
                element_field.ref = frame
