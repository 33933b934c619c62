"""Parquet by pyarrow alone: masks are nulls, vectors are fixed-size lists.

The description of the columns (units, UCDs, mixins, the table's meta) is the YAML that
astropy itself puts into Parquet files, so each reads what the other wrote.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.table.meta import get_header_from_yaml, get_yaml_from_table
from astropy.table.serialize import _construct_mixins_from_columns, represent_mixins_as_columns

from astro_cluster.columns import require
from astro_cluster.exceptions import InputError
from astro_cluster.mixins import as_text, component_names

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "ChunkedParquet",
    "ParquetSink",
    "plain_columns",
    "read_parquet",
    "to_arrow",
    "votable_of",
    "write_parquet",
]

_YAML_KEY = b"table_meta_yaml"
_VOTABLE_KEY = b"IVOA.VOTable-Parquet.content"
_VERSION_KEY = b"IVOA.VOTable-Parquet.version"
_MIXINS = "__serialized_columns__"
_BUFFER = 2**20
"""Bytes that are read of a column at a time; else all of a row group, which may be the file."""


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


def plain_columns(table: Table) -> Table:
    """Return a table of columns that Parquet has: text for objects, and mixins taken apart.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.

    Returns
    -------
    `~astropy.table.Table`
        Its meta tells how the mixins are put together.

    Raises
    ------
    InputError
        If a column holds Python objects.

    Examples
    --------
    >>> plain_columns(Table({"name": Column(["a", None], dtype=object)}))["name"].tolist()
    ['a', None]
    """
    plain = represent_mixins_as_columns(table)
    for name in plain.colnames:
        if plain[name].dtype.kind == "O":
            plain.replace_column(name, as_text(name, plain[name]))
    return plain


def to_arrow(plain: Table) -> pa.Table:
    """Return the values of a table in Arrow's types.

    Parameters
    ----------
    plain : `~astropy.table.Table`
        What `plain_columns` gives.

    Returns
    -------
    `pyarrow.Table`

    Raises
    ------
    InputError
        If a column cannot be expressed.

    Examples
    --------
    >>> to_arrow(Table({"x": MaskedColumn([1, 2], mask=[True, False])})).to_pylist()
    [{'x': None}, {'x': 2}]
    """
    return _pyarrow().table({name: _to_arrow(name, plain[name]) for name in plain.colnames})


def _described(schema: pa.Schema, plain: Table) -> pa.Schema:
    """Return a schema with astropy's description of the columns and the meta."""
    kept = schema.metadata or {}
    return schema.with_metadata(kept | {_YAML_KEY: "\n".join(get_yaml_from_table(plain)).encode()})


def write_parquet(
    table: QTable, path: str | os.PathLike[str], *, describe: Callable[[Table], bytes] | None = None
) -> None:
    """Write a table as one Parquet file.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table without Python objects.
    path : str or path
        Where to.
    describe : callable, optional
        Takes the plain columns and returns a VOTable without data that describes them; with it,
        the file is what the Virtual Observatory calls VOParquet.

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
    plain = plain_columns(table)
    arrow = to_arrow(plain)
    schema = _described(arrow.schema, plain)
    if describe is not None:
        votable = {_VERSION_KEY: b"1.0", _VOTABLE_KEY: describe(plain)}
        schema = schema.with_metadata(schema.metadata | votable)
    _pyarrow().parquet.write_table(arrow.cast(schema), path)


def votable_of(path: str | os.PathLike[str]) -> bytes | None:
    """Return the VOTable without data that describes a Parquet file of other programs (VOParquet).

    Parameters
    ----------
    path : str or path
        Where it is.

    Returns
    -------
    bytes or None
        None if there is none, or if astropy or `write_parquet` wrote the file, which describe it
        better.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "one.parquet"
    >>> write_parquet(QTable({"id": [1, 2]}), path)
    >>> votable_of(path) is None
    True
    """
    kept = _pyarrow().parquet.read_schema(path).metadata or {}
    return None if _YAML_KEY in kept else kept.get(_VOTABLE_KEY)


class ParquetSink:
    """A new Parquet file that is written a chunk of rows at a time.

    Parameters
    ----------
    path : str or path
        Where to.
    schema : `pyarrow.Schema`
        Columns of all chunks.
    plain : `~astropy.table.Table`
        What `plain_columns` gives of a table with these columns, with or without rows: the
        description of the columns, and the meta of the file.

    Examples
    --------
    >>> plain = plain_columns(Table({"x": [1, 2]}))
    >>> with ParquetSink(getfixture("tmp_path") / "two.parquet", to_arrow(plain).schema, plain) as sink:
    ...     for _ in range(2):
    ...         sink.write(to_arrow(plain))
    >>> read_parquet(getfixture("tmp_path") / "two.parquet")["x"].tolist()
    [1, 2, 1, 2]
    """

    def __init__(self, path: str | os.PathLike[str], schema: pa.Schema, plain: Table) -> None:
        self._schema = _described(schema, plain)
        self._writer = _pyarrow().parquet.ParquetWriter(path, self._schema)

    def __enter__(self) -> ParquetSink:
        return self

    def __exit__(self, *args: object) -> None:
        self._writer.close()

    def write(self, rows: pa.Table) -> None:
        """Append rows.

        Parameters
        ----------
        rows : `pyarrow.Table`
            With the columns of the schema, whose types theirs can be cast to.
        """
        self._writer.write_table(rows.cast(self._schema))


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
    arrow = _pyarrow().parquet.read_table(path)
    return _from_table(arrow, _header(arrow.schema), path)


def _header(schema: pa.Schema) -> dict[str, Any]:
    """Return what astropy's YAML in a file says of its columns and its meta."""
    text = (schema.metadata or {}).get(_YAML_KEY)
    return {} if text is None else get_header_from_yaml(text.decode().split("\n"))


def _from_table(arrow: pa.Table, header: dict[str, Any], path: str | os.PathLike[str]) -> QTable:
    return QTable(_construct_mixins_from_columns(_columns_of(arrow, header, path)), copy=False)


def _columns_of(arrow: pa.Table, header: dict[str, Any], path: str | os.PathLike[str]) -> Table:
    """Return the columns with their descriptions, mixins in parts."""
    names = arrow.column_names
    columns = [_from_arrow(name, arrow[name].combine_chunks(), path) for name in names]
    table = Table(columns, names=names, copy=False)
    for described in header.get("datatype", []):
        column = table[described["name"]]
        for attribute in ("unit", "format", "description", "meta"):
            if attribute in described:
                setattr(column.info, attribute, described[attribute])
    # A copy, for astropy takes the layout of the mixins to pieces.
    table.meta.update(copy.deepcopy(header.get("meta") or {}))
    return table


class ChunkedParquet:
    """A Parquet file, read a chunk of rows at a time.

    Parameters
    ----------
    path : str or path
        What to read.

    Attributes
    ----------
    path : path
        The file.
    n_rows : int
        Number of rows.

    Raises
    ------
    InputError
        If pyarrow is missing.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "one.parquet"
    >>> write_parquet(QTable({"id": [1, 2, 3], "x": [0.1, 0.2, 0.3]}), path)
    >>> file = ChunkedParquet(path)
    >>> [table["id"].tolist() for table in file.tables(["id"], chunk_rows=2)]
    [[1, 2], [3]]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with self._opened() as file:
            self.schema, self.n_rows = file.schema_arrow, int(file.metadata.num_rows)
        self.header = _header(self.schema)

    def _opened(self) -> Any:
        # Without a buffer of its own, each column of a row group is read whole.
        return _pyarrow().parquet.ParquetFile(self.path, buffer_size=_BUFFER, pre_buffer=False)

    def _parts(self) -> dict[str, list[str]]:
        """Return the columns of the file that each column of the table is made of."""
        layout = (self.header.get("meta") or {}).get(_MIXINS, {})
        parts = {name: component_names(layout_of) for name, layout_of in layout.items()}
        hidden = {part for found in parts.values() for part in found}
        return {name: [name] for name in self.schema.names if name not in hidden} | parts

    @property
    def colnames(self) -> list[str]:
        """Names of the columns that `read_parquet` gives, SkyCoord and Time whole, in any order."""
        return list(self._parts())

    def head(self) -> QTable:
        """Return a table without rows that has all columns.

        Returns
        -------
        `~astropy.table.QTable`
            A column of a type that is not read stands there as one of Python objects.
        """
        plain, unread = self._plain_head()
        head = QTable(_construct_mixins_from_columns(plain), copy=False)
        for name in unread:
            head[name] = Column([], dtype=object)
        return head

    def part(self, columns: Sequence[str]) -> tuple[pa.Schema, Table]:
        """Return what is known of some columns of the file.

        Parameters
        ----------
        columns : sequence of str
            Columns as they stand in the file, SkyCoord and Time in parts.

        Returns
        -------
        schema : `pyarrow.Schema`
            Their types.
        plain : `~astropy.table.Table`
            Those that can be read, without rows, as `plain_columns` gives them; with the meta.
        """
        schema = _pyarrow().schema([self.schema.field(name) for name in columns], self.schema.metadata)
        return schema, self._plain_head(columns)[0]

    def _plain_head(self, columns: Sequence[str] | None = None) -> tuple[Table, list[str]]:
        columns = self.schema.names if columns is None else columns
        table, unread = self.schema.empty_table().select(columns), []
        for name in columns:
            try:
                _from_arrow(name, table[name].combine_chunks(), self.path)
            except InputError:
                unread.append(name)
        header = self._header_of(set(columns) - set(unread))
        return _columns_of(table.drop_columns(unread), header, self.path), unread

    def _header_of(self, columns: set[str]) -> dict[str, Any]:
        """Return what the header says of some columns of the file."""
        if not self.header:
            return {}
        meta = dict(self.header.get("meta") or {})
        layout = {
            n: kept for n, kept in meta.pop(_MIXINS, {}).items() if set(component_names(kept)) <= columns
        }
        described = [item for item in self.header["datatype"] if item["name"] in columns]
        return {"datatype": described, "meta": meta | ({_MIXINS: layout} if layout else {})}

    def batches(self, *, chunk_rows: int) -> Iterator[pa.Table]:
        """Yield the rows as pyarrow has them.

        Parameters
        ----------
        chunk_rows : int
            Most rows of a chunk.

        Yields
        ------
        `pyarrow.Table`
            All columns of the file.
        """
        yield from self._batches(self.schema.names, chunk_rows)

    def _batches(self, columns: Sequence[str], chunk_rows: int) -> Iterator[pa.Table]:
        with self._opened() as file:
            for batch in file.iter_batches(chunk_rows, columns=list(columns), use_threads=False):
                yield _pyarrow().Table.from_batches([batch]).select(list(columns))

    def table_of(self, batch: pa.Table, names: Sequence[str] | None = None) -> QTable:
        """Return rows of `batches` as a table.

        Parameters
        ----------
        batch : `pyarrow.Table`
            Rows of this file.
        names : sequence of str, optional
            Columns to take; all if not given.

        Returns
        -------
        `~astropy.table.QTable`

        Raises
        ------
        InputError
            If a column is missing or has a type that is not read.
        """
        columns = self.parts_of(names)
        table = _from_table(batch.select(columns), self._header_of(set(columns)), self.path)
        # Not table[names], whose groups and table hold each other in memory until they are collected.
        return table if names is None else QTable([table[name] for name in names], names=names, copy=False)

    def parts_of(self, names: Sequence[str] | None) -> list[str]:
        """Return the columns of the file that columns of the table are made of.

        Parameters
        ----------
        names : sequence of str or None
            Columns as `read_parquet` gives them; all if None.

        Returns
        -------
        list of str

        Raises
        ------
        InputError
            If a column is missing.
        """
        if names is None:
            return list(self.schema.names)
        parts = self._parts()
        require(QTable(names=list(parts)), names)
        return list(dict.fromkeys(part for name in names for part in parts[name]))

    def tables(self, names: Sequence[str] | None = None, *, chunk_rows: int) -> Iterator[QTable]:
        """Yield the rows.

        Parameters
        ----------
        names : sequence of str, optional
            Columns to take, which alone are read; all if not given.
        chunk_rows : int
            Most rows of a chunk.

        Yields
        ------
        `~astropy.table.QTable`
            As `read_parquet` gives it.

        Raises
        ------
        InputError
            If a column is missing or has a type that is not read.
        """
        for batch in self._batches(self.parts_of(names), chunk_rows):
            yield self.table_of(batch, names)
