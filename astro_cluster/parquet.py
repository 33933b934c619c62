"""Parquet by pyarrow alone: masks are nulls, vectors are fixed-size lists.

The description of the columns (units, UCDs, mixins, the table's meta) is the YAML that
astropy itself puts into Parquet files, so each reads what the other wrote.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.table.meta import get_header_from_yaml, get_yaml_from_table
from astropy.table.serialize import _construct_mixins_from_columns, represent_mixins_as_columns

from astro_cluster.exceptions import InputError
from astro_cluster.mixins import as_text

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_parquet", "write_parquet"]

_YAML_KEY = b"table_meta_yaml"


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            "Parquet needs pyarrow, which is not installed: pip install 'astro_cluster[parquet]'"
        ) from error
    return pyarrow


def _to_arrow(name: str, column: Column) -> pa.Array:
    pyarrow = _pyarrow()
    mask = np.array(np.broadcast_to(getattr(column, "mask", False), column.shape), dtype=bool)
    data = np.ma.getdata(np.ma.asarray(column))
    if data.dtype.kind == "c":
        raise InputError(f"column {name!r} is complex, which Parquet cannot hold: write its two parts")
    if data.dtype.kind == "S":
        data = np.char.decode(data, "utf-8")
    flat = data.reshape(-1)
    values = flat.astype(object) if flat.dtype.kind == "U" else flat.astype(flat.dtype.newbyteorder("="))
    kind = pyarrow.string() if flat.dtype.kind == "U" else None  # without values Arrow could not tell
    array = pyarrow.array(values, type=kind, mask=mask.reshape(-1), from_pandas=False)
    for size in reversed(data.shape[1:]):
        array = pyarrow.FixedSizeListArray.from_arrays(array, size)
    return array


def _from_arrow(name: str, array: pa.Array, path: str | os.PathLike[str]) -> Column:
    pyarrow = _pyarrow()
    shape: tuple[int, ...] = (len(array),)
    while pyarrow.types.is_fixed_size_list(array.type):
        if array.null_count:
            raise InputError(f"column {name!r} of {path} has rows without a list, which is not read")
        shape = (*shape, array.type.list_size)
        array = array.flatten()
    mask = array.is_null().to_numpy(zero_copy_only=False)
    if pyarrow.types.is_string(array.type) or pyarrow.types.is_large_string(array.type):
        values = np.array([item or "" for item in array.to_pylist()], dtype=str)
    elif pyarrow.types.is_boolean(array.type):
        values = array.fill_null(False).to_numpy(zero_copy_only=False)
    elif pyarrow.types.is_integer(array.type) or pyarrow.types.is_floating(array.type):
        values = array.fill_null(0).to_numpy(zero_copy_only=False) if mask.any() else array.to_numpy()
    else:
        raise InputError(f"column {name!r} of {path} has the Parquet type {array.type}, which is not read")
    values, mask = np.array(values).reshape(shape), mask.reshape(shape)
    return MaskedColumn(values, mask=mask) if mask.any() else Column(values)


def write_parquet(table: QTable, path: str | os.PathLike[str]) -> None:
    """Write a table as one Parquet file.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table without Python objects.
    path : str or path
        Where to.

    Raises
    ------
    InputError
        If pyarrow is missing or a column cannot be expressed.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "one.parquet"
    >>> write_parquet(QTable({"id": [1, 2]}), path)
    >>> read_parquet(path)["id"].tolist()
    [1, 2]
    """
    pyarrow = _pyarrow()
    plain = represent_mixins_as_columns(table)
    for name in plain.colnames:
        if plain[name].dtype.kind == "O":
            plain.replace_column(name, as_text(name, plain[name]))
    arrays = {name: _to_arrow(name, plain[name]) for name in plain.colnames}
    arrow = pyarrow.table(arrays).replace_schema_metadata({_YAML_KEY: "\n".join(get_yaml_from_table(plain))})
    pyarrow.parquet.write_table(arrow, path)


def read_parquet(path: str | os.PathLike[str]) -> QTable:
    """Read a Parquet file, nulls as masks.

    Parameters
    ----------
    path : str or path
        File by this package, astropy, LSDB, pandas or anything else.

    Returns
    -------
    `~astropy.table.QTable`

    Raises
    ------
    InputError
        If pyarrow is missing or a column has a type that is not read (a struct, say).

    Examples
    --------
    >>> path = getfixture("tmp_path") / "one.parquet"
    >>> write_parquet(QTable({"x": MaskedColumn([1, 2], mask=[True, False])}), path)
    >>> read_parquet(path)["x"].mask.tolist()
    [True, False]
    """
    pyarrow = _pyarrow()
    arrow = pyarrow.parquet.read_table(path)
    table = Table()
    for name, chunked in zip(arrow.column_names, arrow.columns, strict=True):
        table[name] = _from_arrow(name, chunked.combine_chunks(), path)
    if _YAML_KEY not in (arrow.schema.metadata or {}):
        return QTable(table, copy=False)
    header = get_header_from_yaml(arrow.schema.metadata[_YAML_KEY].decode().split("\n"))
    for described in header["datatype"]:
        column = table[described["name"]]
        for attribute in ("unit", "format", "description", "meta"):
            if attribute in described:
                setattr(column.info, attribute, described[attribute])
    table.meta.update(header.get("meta") or {})
    return QTable(_construct_mixins_from_columns(table), copy=False)
