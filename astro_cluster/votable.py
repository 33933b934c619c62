"""VOTables as TOPCAT, STILTS and the standard want them.

Under `astro_cluster.tables`; knows nothing of records: texts that have to travel with
the table go out and come back as named INFO elements.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import os
import re
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy import units as u
from astropy.io import votable as astropy_votable
from astropy.io.votable.exceptions import VOWarning
from astropy.io.votable.tree import CooSys, Info
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import Masked

from astro_cluster.columns import with_info
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.mixins import as_text, join_mixins, restore_unit, split_mixins, with_legal_unit

__all__ = ["VERSIONS", "read_votable", "write_votable"]

VERSIONS = ("1.4", "1.5")
_CHUNK_BYTES = 2**25
_LAYOUT = "astro_cluster_mixins"
_UNITS = "astro_cluster_units"
_MASKED_TEXT = "astro_cluster_masked_text"

# Types that VOTable lacks, and the smallest one that holds all their values.
_WIDER = {"i1": "i2", "u2": "i4", "u4": "i8", "f2": "f4"}

_COOSYS_OF_FRAME = {"icrs": "ICRS", "fk5": "eq_FK5", "fk4": "eq_FK4", "galactic": "galactic"}


def _storable(name: str, column: Column | u.Quantity) -> Column | u.Quantity:
    """Return the column in a type that VOTable has, or say why that cannot be."""
    kind = column.dtype.str[1:]
    if column.dtype.kind == "O":
        return _storable(name, as_text(name, column))
    if column.dtype.kind in "US" and len(column.shape) > 1:
        raise InputError(
            f"column {name!r} has several texts a row, which is not written in a VOTable; make it several "
            "columns, or write FITS, ECSV or Parquet"
        )
    if column.dtype.kind == "S" and any(
        max(cell, default=0) > 127 for cell in _plain_values(column).tolist()
    ):
        text = np.char.decode(_plain_values(column), "utf-8", "replace")
        mask = np.array(getattr(column, "mask", False))
        decoded = MaskedColumn(text, mask=mask) if mask.any() else Column(text)
        return _storable(name, with_info(decoded, column))
    if column.dtype.kind in "US":
        new = column.astype(f"{column.dtype.kind}{_text_width(column)}")
    elif kind == "u8":
        if len(column) and int(np.max(np.ma.filled(column, 0))) > np.iinfo("i8").max:
            raise InputError(f"column {name!r} has integers above 2**63 - 1, which no VOTable can hold")
        new = column.astype("i8")
    elif kind in _WIDER:
        new = column.astype(_WIDER[kind])
    else:
        return column
    new.info.unit = column.info.unit
    return with_info(new, column)


def _public(meta: dict[str, Any] | None) -> dict[str, Any]:
    """Leave out astropy's notes on how a column stood in its last file: here it stands differently."""
    return {key: value for key, value in (meta or {}).items() if not key.startswith("_votable")}


def _text_width(column: Column) -> int:
    """Return how many characters to declare: UTF-16 needs two for some, and 1 alone is deprecated."""
    values = np.array(np.ma.getdata(np.asarray(column)))
    values = values.astype(values.dtype.newbyteorder("="))
    if values.dtype.kind == "S" or not values.size:
        return max(values.dtype.itemsize // (4 if values.dtype.kind == "U" else 1), 2)
    points = values.reshape(-1, 1).view("u4")
    return max(points.shape[1] + int((points > 0xFFFF).sum(axis=1).max()), 2)


def _masked_text(table: QTable) -> list[str]:
    return [
        name
        for name in table.colnames
        if table[name].dtype.kind in "US" and np.any(getattr(table[name], "mask", False))
    ]


def write_votable(
    table: QTable, file: BinaryIO, *, infos: dict[str, str] | None = None, version: str = "1.4"
) -> None:
    """Write a table as a VOTable in BINARY2.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table without Python objects.  SkyCoord and Time columns go out as plain
        columns and come back.
    file : binary file
        Open for writing.
    infos : dict of str to str, optional
        INFO elements of the RESOURCE.
    version : {"1.4", "1.5"}
        Version of the standard; STILTS 3.4.7 and older report 1.5 as an error.

    Raises
    ------
    InputError
        If a column or its unit cannot be expressed.

    Notes
    -----
    VOTable knows neither a masked string (it is the empty one) nor the difference between
    a NaN and a masked float.  Columns of masked strings are noted, so that `read_votable`
    masks their empty cells again.

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> write_votable(QTable({"id": [1, 2]}), file)
    >>> read_votable(io.BytesIO(file.getvalue()))[0]["id"].tolist()
    [1, 2]
    """
    if version not in VERSIONS:
        raise InputError(f"VOTable version {version!r} is not written; give one of {', '.join(VERSIONS)}")
    plain, layout, frames = split_mixins(table)
    infos = dict(infos or {})
    if layout:
        infos[_LAYOUT] = json.dumps(layout)  # an XML attribute keeps no line breaks
    units: dict[str, str] = {}
    stored = QTable(meta={k: v for k, v in table.meta.items() if k in ("ID", "name", "description")})
    for name in plain.colnames:
        stored[name], exact = with_legal_unit(_storable(name, plain[name]), "vounit")
        if not exact:
            units[name] = str(plain[name].info.unit)
        stored[name].info.meta = _public(stored[name].info.meta)
    if units:
        infos[_UNITS] = json.dumps(units)
    if masked := _masked_text(stored):
        infos[_MASKED_TEXT] = json.dumps(masked)
        for name in masked:
            stored.replace_column(name, with_info(stored[name].filled(""), stored[name]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)  # deprecated units are still valid VOUnits
        warnings.simplefilter("ignore", VOWarning)  # names that are no XML IDs get an ID of their own
        tree = astropy_votable.from_table(stored[:0])
        _complete(tree, stored, version=version, infos=infos, frames=frames)
        head = io.BytesIO()
        tree.to_xml(head, tabledata_format="binary2")
    # astropy writes row by row in Python, and leaves DATA out where there is no row, without
    # which STILTS and TOPCAT see no table.
    opened = re.sub(rb"<TABLE\b", f'<TABLE nrows="{len(stored)}"'.encode(), head.getvalue(), count=1)
    before, end, after = opened.rpartition(b"</TABLE>")
    file.write(before + b'<DATA><BINARY2><STREAM encoding="base64">')
    width = max(len(_binary2(stored[:1])), 1) if len(stored) else 1
    rows = max(3, _CHUNK_BYTES // width // 3 * 3)  # a multiple of 3: pieces of base64 can be put together
    for start in range(0, len(stored), rows):
        file.write(base64.b64encode(_binary2(stored[start : start + rows])))
    file.write(b"</STREAM></BINARY2></DATA>" + end + after)


def _binary2(rows: QTable) -> bytes:
    """Return rows in BINARY2: a bit a column that is 1 where the value is null, then the values."""
    nulls = np.zeros((len(rows), len(rows.colnames)), dtype=bool)
    parts = []
    for i, name in enumerate(rows.colnames):
        column = rows[name]
        mask = np.asarray(getattr(column, "mask", False))
        nulls[:, i] = mask.reshape(len(rows), -1).all(axis=1) if mask.ndim else mask
        values = np.array(_plain_values(column))
        if values.dtype.kind == "b":
            values = np.where(values, b"T", b"F")
            values[np.broadcast_to(mask, values.shape)] = b"?"
        elif values.dtype.kind == "U":
            wide = values.dtype.itemsize // 4
            values = np.char.encode(values, "utf-16-be").astype(f"S{2 * wide}")
        elif mask.ndim > 1 and np.any(mask.reshape(len(rows), -1).any(axis=1) & ~nulls[:, i]):
            if values.dtype.kind in "iu":
                raise InputError(
                    f"column {name!r} has rows in which some of the integers are masked, which a VOTable "
                    "cannot say; make it a column of floats, or mask whole rows"
                )
            values[mask] = np.nan
        elif values.dtype.kind in "fc":
            values[np.broadcast_to(mask, values.shape)] = np.nan
        parts.append(values.astype(values.dtype.newbyteorder(">")))
    parts.insert(0, np.packbits(nulls, axis=1))
    record = np.empty(len(rows), dtype=[(str(i), p.dtype, p.shape[1:]) for i, p in enumerate(parts)])
    for i, part in enumerate(parts):
        record[str(i)] = part
    return record.tobytes()


def _plain_values(column: Column | u.Quantity) -> np.ndarray:
    bare = getattr(column, "unmasked", column)
    return np.ma.getdata(np.asarray(getattr(bare, "value", bare)))


def _complete(
    tree: astropy_votable.tree.VOTableFile,
    stored: QTable,
    *,
    version: str,
    infos: dict[str, str],
    frames: dict[str, str],
) -> None:
    """Add to astropy's tree what it leaves out, and mend what TOPCAT stumbles over."""
    tree.version = version
    resource, element = tree.resources[0], tree.get_first_table()
    for key, text in infos.items():
        resource.infos.append(Info(name=key, value=text))
    for element_field in element.fields:
        # astropy writes booleans as "bit", on which STILTS and TOPCAT fail in BINARY2.
        if element_field.datatype == "bit":
            element_field.datatype = "boolean"
            element_field._setup({}, None)
        shape = stored[element_field.name].shape[1:]
        if len(shape) > 1 and element_field.datatype not in ("char", "unicodeChar"):
            # The first axis is the fastest; astropy knows that when it reads only.
            element_field.arraysize = "x".join(map(str, reversed(shape)))
    _refer_to_frames(resource, element, frames, version)


def _refer_to_frames(
    resource: astropy_votable.tree.Resource,
    element: astropy_votable.tree.TableElement,
    frames: dict[str, str],
    version: str,
) -> None:
    """Declare the frame of each position, so that other programs know it too."""
    config = {f"version_1_{minor}_or_later": True for minor in range(1, int(version[2:]) + 1)}
    for frame in sorted(set(frames.values()) & set(_COOSYS_OF_FRAME)):
        resource.coordinate_systems.append(CooSys(ID=frame, system=_COOSYS_OF_FRAME[frame], config=config))
        for element_field in element.fields:
            if frames.get(element_field.name) == frame:
                element_field.ref = frame


def _note_frames(
    plain: Table, tree: astropy_votable.tree.VOTableFile, element: astropy_votable.tree.TableElement
) -> None:
    """Note in a column's meta the system of coordinates, where it is not the usual one."""
    systems = {
        system.ID: f"{system.system} {system.equinox or ''}".strip()
        for group in (tree, *tree.resources)
        for system in getattr(group, "coordinate_systems", [])
    }
    for element_field, name in zip(element.fields, plain.colnames, strict=True):
        system = systems.get(element_field.ref)
        if system and not system.startswith("ICRS"):
            plain[name].meta["coosys"] = system


def _unmasked(column: Column | u.Quantity) -> Column | u.Quantity:
    """Return a column in which nothing is masked as one that knows no masks."""
    if not hasattr(column, "mask") or np.any(column.mask):
        return column
    plain = column.unmasked if isinstance(column, Masked) else Column(np.ma.getdata(column))
    if not isinstance(column, Masked):
        plain.unit = column.unit
    return with_info(plain, column)


def _document(source: str | os.PathLike[str] | BinaryIO) -> bytes:
    """Return the bytes of a document, read once and unpacked."""
    text = source.read() if hasattr(source, "read") else Path(source).read_bytes()
    return gzip.decompress(text) if text[:2] == b"\x1f\x8b" else text


def _look_ahead(text: bytes) -> list[int | None]:
    """Return the rows that each table declares; refuse data that stand in another place.

    A STREAM may name the address of its data, which astropy would fetch: no table that was
    sent to somebody should make his machine open files or connections.
    """
    if re.search(rb"<(?:\w+:)?STREAM\b[^>]*\shref\s*=", text):
        raise InputError("the VOTable keeps its data at another address (STREAM href), which is not followed")
    opened = re.finditer(rb"<(?:\w+:)?TABLE(\s[^>]*)?>", text)
    counts = [re.search(rb"""\snrows\s*=\s*["'](\d+)["']""", match[1] or b"") for match in opened]
    return [int(count[1]) if count else None for count in counts]


def _mend_units(table: Table) -> None:
    """Parse the units that are not in the style of the document's version, in any style."""
    known = u.get_current_unit_registry().registry
    unknown = []
    for name in table.colnames:
        unit = table[name].unit
        if unit is not None and table[name].dtype.kind in "USO":
            # '[h:m:s]' says how a text is to be read; it is no unit of a number.
            table[name].meta["unit_as_written"] = str(unit)
            table[name].unit = None
            continue
        if not isinstance(unit, u.UnrecognizedUnit):
            # VOUnit makes a unit of any word; one that astropy does not know converts to nothing.
            if unit is not None and any(base.name not in known for base in unit.bases):
                unknown.append(f"{name} [{unit}]")
            continue
        for style in ("vounit", "generic", "cds", "ogip"):
            with contextlib.suppress(ValueError, u.UnitsWarning), warnings.catch_warnings():
                warnings.simplefilter("error", u.UnitsWarning)
                table[name].unit = u.Unit(str(unit), format=style)
                break
        else:
            unknown.append(f"{name} [{unit}]")
    if unknown:
        warnings.warn(
            f"units that are not understood are kept as text: {', '.join(unknown)}",
            AstroClusterWarning,
            stacklevel=2,
        )


def read_votable(
    source: str | os.PathLike[str] | BinaryIO, *, table: int = 0
) -> tuple[QTable, dict[str, str]]:
    """Read one table of a VOTable and the INFO elements that stand with it.

    Parameters
    ----------
    source : str, path or binary file
        What to read, in any serialisation.
    table : int, optional
        Number of the table in the document.

    Returns
    -------
    table : `~astropy.table.QTable`
        Names rather than IDs are used for the columns, unless names occur twice.
    infos : dict of str to str
        The INFO elements by name.

    Raises
    ------
    InputError
        If the document has no such table.

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> write_votable(QTable({"ra": [1.0] * u.deg}), file, infos={"note": "simulated"})
    >>> table, infos = read_votable(io.BytesIO(file.getvalue()))
    >>> table["ra"].unit, infos["note"]
    (Unit("deg"), 'simulated')
    """
    with warnings.catch_warnings():
        # Published tables bend the standard in a hundred harmless ways; what cannot be read raises.
        warnings.simplefilter("ignore", VOWarning)
        warnings.filterwarnings("ignore", message=".*deprecated in the VOUnit", category=u.UnitsWarning)
        text = _document(source)
        declared = _look_ahead(text)
        tree = astropy_votable.parse(io.BytesIO(text), verify="ignore")
        elements = list(tree.iter_tables())
        if not 0 <= table < len(elements):
            raise InputError(f"the VOTable holds {len(elements)} tables; there is no table number {table}")
        element = elements[table]
        names = [element_field.name for element_field in element.fields]
        if declared and table < len(declared) and declared[table] not in (None, len(element.array)):
            raise InputError(
                f"the VOTable is damaged or cut short: {len(element.array)} of {declared[table]} rows are "
                "there"
            )
        plain: Table = element.to_table(use_names_over_ids=len(set(names)) == len(names))
    _note_frames(plain, tree, element)
    infos = {info.name: str(info.value) for res in tree.resources for info in res.infos if info.name}
    # TOPCAT keeps them too when it saves a table, as parameters.
    infos |= {p.name: str(p.value) for p in element.params if str(p.name).startswith("astro_cluster_")}
    _mend_units(plain)
    result = QTable(plain, copy=False)
    for name in result.colnames:
        result[name].info.meta = _public(result[name].info.meta)
        if result[name].info.description:  # XML breaks the lines of a long one
            result[name].info.description = " ".join(result[name].info.description.split())
        if result[name].dtype.kind == "O":
            with contextlib.suppress(InputError):  # arrays of varying length stay objects
                result.replace_column(name, as_text(name, result[name]))
    for name in result.colnames:
        result.replace_column(name, _unmasked(result[name]))
    for name, text in json.loads(infos.pop(_UNITS, "{}")).items():
        if name in result.colnames:
            result.replace_column(name, restore_unit(result[name], str(text)))
    if _MASKED_TEXT in infos:
        for name in json.loads(infos.pop(_MASKED_TEXT)):
            if name in result.colnames and result[name].dtype.kind in "US":
                text = result[name]
                masked = MaskedColumn(text, mask=np.asarray(text) == "", copy=False)
                result.replace_column(name, with_info(masked, text))
    if _LAYOUT in infos:
        result = join_mixins(result, json.loads(infos.pop(_LAYOUT)))
    return result, infos
