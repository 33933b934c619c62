"""FITS tables whose descriptions, UCDs and record survive.

Under `astro_cluster.tables`.  What FITS has no keyword for goes as bytes into an image HDU
behind the table, which other programs pass over.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Column, MaskedColumn, QTable
from astropy.utils.exceptions import AstropyUserWarning
from astropy.utils.masked import Masked

from astro_cluster.columns import require, with_info
from astro_cluster.exceptions import InputError
from astro_cluster.fitsblocks import BLOCK_BYTES, in_memory, row_bytes, write_blocks
from astro_cluster.fitsmapped import is_plain, is_zipped, mapped_column
from astro_cluster.mixins import (
    as_text,
    join_mixins,
    mixin_parts,
    restore_unit,
    split_mixins,
    with_legal_unit,
)

__all__ = ["ChunkedFits", "read_fits", "votable_of", "write_fits"]

_RECORD_HDU = "ASTRO_CLUSTER"
_TABLE_HDU = "TABLE"
# What a header says of one column.
_KEYWORDS = ("TTYPE", "TFORM", "TUNIT", "TNULL", "TSCAL", "TZERO", "TDISP", "TDIM", "TUCD", "TCOMM")
_BLOCK = 2880
_FEWEST_PIXELS = 64  # of a spectrum
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


def _take_stored_nulls(hdu: fits.BinTableHDU) -> dict[str, int]:
    """Take the nulls of scaled columns out of a header, and return them.

    TNULL is a number as it stands in the file; astropy looks for it among the scaled ones.
    """
    nulls: dict[str, int] = {}
    for column in hdu.columns:
        factor, zero = column.bscale or 1, column.bzero or 0
        # In unsigned columns astropy writes the number that is meant, not the one that is stored.
        unsigned = factor == 1 and zero == 2 ** (8 * column.dtype.itemsize - 1)
        if column.null is None or (factor, zero) == (1, 0) or (unsigned and column.null >= 0):
            continue
        nulls[column.name] = column.null
        column.null = None
    return nulls


def _qtable_of(hdu: fits.BinTableHDU) -> QTable:
    nulls = _take_stored_nulls(hdu) if isinstance(hdu, fits.BinTableHDU) else {}
    table = QTable.read(hdu, character_as_bytes=True)
    for name in set(nulls) & set(table.colnames):
        hidden = np.asarray(hdu.data).view(np.ndarray)[name] == nulls[name]
        if hidden.any():
            column = table[name]
            masked = Masked if isinstance(column, u.Quantity) else MaskedColumn
            table.replace_column(name, with_info(masked(column, mask=hidden), column))
    return _decoded(_native(table))


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[fits.HDUList]:
    with warnings.catch_warnings(), _truncation_as_error(path):
        # Names such as 'TTau*' are against a recommendation only.
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        warnings.filterwarnings("error", message="File may have been truncated")
        with fits.open(path, memmap=False) as hdus:
            yield hdus


def _chosen(
    hdus: fits.HDUList, path: str | os.PathLike[str], hdu: int | str | None
) -> tuple[fits.BinTableHDU, dict[str, Any]]:
    """Return the HDU of a table, and what `write_fits` put beside it."""
    tables = [i for i, h in enumerate(hdus) if isinstance(h, (fits.BinTableHDU, fits.TableHDU))]
    if not tables:
        names = ", ".join(h.name or "?" for h in hdus)
        raise InputError(
            f"{path} holds no table: its HDUs are {names}. If it should have one, it is cut short"
        )
    chosen = hdus[tables[0] if hdu is None else hdu]
    ours = _RECORD_HDU in hdus and chosen.name == _TABLE_HDU
    return chosen, json.loads(bytes(hdus[_RECORD_HDU].data)) if ours else {}


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
    with _opened(path) as hdus:
        chosen, kept = _chosen(hdus, path, hdu)
        stacks = _large_stacks(chosen, path)
        if not stacks:
            return _described(_qtable_of(chosen), chosen, kept), kept.get("texts", {})
        number = next(i for i, other in enumerate(hdus) if other is chosen)
    return _read_beside(ChunkedFits(path, hdu=number), number, stacks), kept.get("texts", {})


def _large_stacks(hdu: Any, path: str | os.PathLike[str]) -> list[str]:
    """Return the columns, of images or spectra, say, that there is no room for twice."""
    if not isinstance(hdu, fits.BinTableHDU) or is_zipped(path):
        return []
    dtype, n = hdu.columns.dtype, int(hdu.header["NAXIS2"])
    return [
        name
        for name, field, column in zip(hdu.columns.names, dtype.names, hdu.columns, strict=True)
        if _is_wide(dtype[field]) and n * dtype[field].itemsize > BLOCK_BYTES and is_plain(column)
    ]


def _is_wide(dtype: np.dtype) -> bool:
    """Tell whether the numbers of a row are an image, or as many as those of a spectrum."""
    return len(dtype.shape) > 1 or (len(dtype.shape) == 1 and dtype.shape[0] >= _FEWEST_PIXELS)


def _read_beside(file: ChunkedFits, number: int, stacks: list[str]) -> QTable:
    """Return a whole table; its stacks are mapped, and brought into the byte order of the machine."""
    head = file.head()
    rest = [name for name in head.colnames if name not in stacks]
    columns: dict[str, Any] = {}
    if rest:
        table = file.whole(rest)
        columns |= {name: table[name] for name in rest}
    for name in stacks:
        values = in_memory(mapped_column(file.path, name, hdu=number, mode="c"))
        empty = head[name]
        unit = empty.info.unit
        is_quantity = isinstance(empty, u.Quantity)
        kind = type(empty) if is_quantity else Column  # a Magnitude is a Quantity too
        column = kind(values, unit=unit, copy=False)
        columns[name] = with_info(column, empty)
    return QTable({name: columns[name] for name in head.colnames}, meta=head.meta, copy=False)


def votable_of(path: str | os.PathLike[str], *, hdu: int | str | None = None) -> tuple[bytes, int] | None:
    """Return the VOTable that describes a table of a FITS file, as TOPCAT puts it into fits-plus files.

    Parameters
    ----------
    path : str or path
        Where it is.
    hdu : int or str, optional
        Which HDU; the first table if not given.

    Returns
    -------
    head : bytes
        A VOTable without data.
    number : int
        Which of its tables is the one.
        None instead of both if there is none, or if `write_fits` wrote the file and `read_fits` knows all.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "one.fits"
    >>> write_fits(QTable({"id": [1, 2]}), path)
    >>> votable_of(path) is None
    True
    """
    with _opened(path) as hdus:
        if hdus[0].header.get("VOTMETA") is not True or hdus[0].data is None:
            return None
        chosen, kept = _chosen(hdus, path, hdu)
        tables = [other for other in hdus if isinstance(other, (fits.BinTableHDU, fits.TableHDU))]
        number = next(i for i, other in enumerate(tables) if other is chosen)
        return None if kept else (hdus[0].data.tobytes(), number)


def _described(table: QTable, hdu: fits.BinTableHDU, kept: dict[str, Any]) -> QTable:
    """Return the table with what is known of its columns beyond their numbers, mixins joined."""
    header = hdu.header
    for i, name in enumerate(hdu.columns.names, start=1):
        if name in table.colnames and (ucd := header.get(f"TUCD{i}")):  # as TOPCAT writes it
            table[name].info.meta = {**(table[name].info.meta or {}), "ucd": ucd}
        if name in table.colnames and (text := header.get(f"TCOMM{i}")):
            table[name].info.description = table[name].info.description or text
    if not kept:
        return table
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
    return join_mixins(table, kept["layout"]) if kept["layout"] else table


class ChunkedFits:
    """One table of a FITS file, read a chunk of rows at a time.

    Parameters
    ----------
    path : str or path
        What to read; .fits.gz too.
    hdu : int or str, optional
        Which HDU; the first table if not given.

    Attributes
    ----------
    path : path
        The file.
    n_rows : int
        Number of rows.
    texts : dict of str to str
        What `write_fits` was given; empty for other people's files.

    Raises
    ------
    InputError
        If the file holds no binary table or is cut short.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "one.fits"
    >>> write_fits(QTable({"id": [1, 2, 3], "x": [0.1, 0.2, 0.3]}), path)
    >>> file = ChunkedFits(path)
    >>> [table["id"].tolist() for table in file.tables(["id"], chunk_rows=2)]
    [[1, 2], [3]]
    """

    def __init__(self, path: str | os.PathLike[str], *, hdu: int | str | None = None) -> None:
        self.path = Path(path)
        with _opened(path) as hdus:
            chosen, self._kept = _chosen(hdus, path, hdu)
            if not isinstance(chosen, fits.BinTableHDU):
                raise InputError(
                    f"HDU {chosen.name or hdu!r} of {path} is no binary table, which alone can be read in "
                    "chunks; write it as one first: ac.write(ac.read(…), 'new.fits')"
                )
            self._header, self._names = chosen.header.copy(), list(chosen.columns.names)
            self._formats = [str(form) for form in chosen.columns.formats]
            self._dtype = chosen.columns.dtype.newbyteorder(">")
            self._offset = chosen.fileinfo()["datLoc"]
        self.n_rows = int(self._header["NAXIS2"])
        self.texts: dict[str, str] = self._kept.get("texts", {})
        mixins = mixin_parts(self._kept.get("layout", ""))
        hidden = {part for parts in mixins.values() for part in parts}
        self._parts = {name: [name] for name in self._names if name not in hidden} | mixins

    @property
    def colnames(self) -> list[str]:
        """Names of the columns that `read_fits` gives, SkyCoord and Time whole, in any order."""
        return list(self._parts)

    def head(self) -> QTable:
        """Return a table without rows that has all columns.

        Returns
        -------
        `~astropy.table.QTable`
            A column of varying length, which is not read, stands there as one of Python objects.
        """
        unread = [name for i, name in enumerate(self._names) if self._varies(i)]
        read = [name for name in self._names if name not in unread]
        head = self._table(
            np.empty(0, self._dtype), [n for n in self._parts if n in read] if unread else None
        )
        for name in unread:
            head[name] = Column([], dtype=object)
        return head

    def tables(self, names: Sequence[str] | None = None, *, chunk_rows: int) -> Iterator[QTable]:
        """Yield the rows.

        Parameters
        ----------
        names : sequence of str, optional
            Columns to take; all if not given.
        chunk_rows : int
            Rows of a chunk.

        Yields
        ------
        `~astropy.table.QTable`
            As `read_fits` gives it, at most ``chunk_rows`` rows.

        Raises
        ------
        InputError
            If the file is cut short, or a column is missing or of varying length.
        """
        with self._file() as file:
            file.seek(self._offset)
            for start in range(0, self.n_rows, chunk_rows):
                n = min(chunk_rows, self.n_rows - start)
                data = file.read(n * self._dtype.itemsize)
                if len(data) < n * self._dtype.itemsize:
                    raise InputError(f"{self.path} cannot be read as fits: it is cut short")
                yield self._table(np.frombuffer(data, self._dtype), names)

    def whole(self, names: Sequence[str]) -> QTable:
        """Return some columns of all rows, of a file that is not zipped.

        Parameters
        ----------
        names : sequence of str
            Columns to take.

        Returns
        -------
        `~astropy.table.QTable`
            As `read_fits` gives it.
        """
        if not self.n_rows:
            return self._table(np.empty(0, self._dtype), names)
        rows = np.memmap(self.path, self._dtype, mode="r", offset=self._offset, shape=(self.n_rows,))
        return self._table(rows, names)

    def _file(self) -> IO[bytes]:
        with self.path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        return gzip.open(self.path, "rb") if zipped else self.path.open("rb")

    def _table(self, rows: np.ndarray, names: Sequence[str] | None) -> QTable:
        """Return rows as they stand in the file as a table.

        A FITS table of the wanted columns is put together in memory and read by astropy, which knows
        about scales, nulls, logicals and text.
        """
        index = range(len(self._names)) if names is None else self._places(names)
        for i in index:
            if self._varies(i):
                raise InputError(
                    f"column {self._names[i]!r} of {self.path} has rows of varying length, which cannot be "
                    "read in chunks; leave it out, or make a file without it"
                )
        fields = [self._dtype.names[i] for i in index]
        packed = np.empty(len(rows), [(field, self._dtype[field]) for field in fields])
        for field in fields:
            packed[field] = rows[field]
        header = self._header.copy() if names is None else self._header_of(index)
        header["NAXIS1"], header["NAXIS2"], header["PCOUNT"] = packed.dtype.itemsize, len(rows), 0
        data = packed.tobytes()
        padding = b"\0" * (-len(data) % _BLOCK)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fits.verify.VerifyWarning)
            warnings.simplefilter("ignore", u.UnitsWarning)
            raw = header.tostring().encode("ascii") + data + padding
            hdu = fits.BinTableHDU.fromstring(raw, uint=True)
            table = _described(_qtable_of(hdu), hdu, self._kept)
        # Not table[names], whose groups and table hold each other in memory until they are collected.
        return table if names is None else QTable([table[name] for name in names], names=names, copy=False)

    def _varies(self, i: int) -> bool:
        return any(letter in self._formats[i] for letter in "PQ")

    def _places(self, names: Sequence[str]) -> list[int]:
        """Return which columns of the file columns of the table are made of."""
        require(QTable(names=list(self._parts)), names)
        wanted = {part for name in names for part in self._parts[name]}
        return [i for i, name in enumerate(self._names) if name in wanted]

    def _header_of(self, index: Sequence[int]) -> fits.Header:
        """Return a header that has some of the columns and nothing else."""
        header = fits.Header(self._header.cards[:8])
        header["TFIELDS"] = len(index)
        for new, old in enumerate(index, start=1):
            for keyword in _KEYWORDS:
                if (key := f"{keyword}{old + 1}") in self._header:
                    header[f"{keyword}{new}"] = self._header[key]
        return header


def write_fits(
    table: QTable,
    path: str | os.PathLike[str],
    *,
    texts: dict[str, str] | None = None,
    describe: Callable[[QTable, str], bytes] | None = None,
) -> None:
    """Write a table as FITS.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table without Python objects.  Text is written in UTF-8.
    path : str or path
        Where to.
    texts : dict of str to str, optional
        Texts that have to travel with the table.
    describe : callable, optional
        Takes the plain columns, in the types that they have in the file, and the layout of the mixins,
        and returns a VOTable without data; with it, the file is what TOPCAT calls fits-plus.

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
        if describe is not None and column.dtype.str[1:] == "u8" and not np.any(column >= 2**63):
            column = with_info(column.astype("i8"), column)  # TOPCAT makes text of the unsigned ones
        plain.replace_column(name, with_legal_unit(_storable(name, column), "fits")[0], copy=False)
    raw = json.dumps({"texts": texts or {}, "columns": columns, "layout": layout}, default=str).encode(
        "ascii"
    )
    record = fits.ImageHDU(np.frombuffer(raw, dtype="u1"), name=_RECORD_HDU)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        # A Python format such as '{!s:>4}' has no FITS word; it is for the screen only.
        warnings.filterwarnings("ignore", message="Format .* cannot be mapped", category=AstropyUserWarning)
        is_large = len(plain) * row_bytes(plain) > BLOCK_BYTES
        main = fits.table_to_hdu(plain[:0] if is_large else plain)
        main.name = _TABLE_HDU
        _describe(main, columns)
        head = None if describe is None else describe(_with_units(plain, columns), layout)
        if is_large:
            write_blocks(path, [_primary(head)], main, plain, [record])
        else:
            fits.HDUList([_primary(head), main, record]).writeto(path)
    if head is not None:
        _swap_cards(Path(path))


def _with_units(plain: QTable, columns: dict[str, dict[str, Any]]) -> QTable:
    """Return the columns with all units, those that FITS has no words for too."""
    whole = QTable(plain, copy=False)
    for name in whole.colnames:
        whole.replace_column(name, restore_unit(whole[name], columns[name]["unit"]))
    return whole


def _primary(votable: bytes | None) -> fits.PrimaryHDU:
    """Return the first HDU, with the VOTable in it if there is one."""
    if votable is None:
        return fits.PrimaryHDU()
    primary = fits.PrimaryHDU(np.frombuffer(votable, dtype="u1"))
    primary.header.set("VOTMETA", True, "Table metadata in VOTable format", after="EXTEND")
    primary.header["NTABLE"] = (1, "Number of following BINTABLE HDUs that it describes")
    return primary


def _swap_cards(path: Path) -> None:
    """Put VOTMETA into the fifth card of a file, where TOPCAT looks for it; astropy has EXTEND there."""
    fifth = slice(4 * 80, 6 * 80)
    with path.open("r+b") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        head = bytearray(gzip.decompress(file.read()) if zipped else file.read(_BLOCK))
        cards = bytes(head[fifth])
        if cards[:8] != b"EXTEND  " or cards[80:88] != b"VOTMETA ":
            raise InputError(f"{path} cannot be written as fits-plus: its first cards are in another order")
        head[fifth] = cards[80:] + cards[:80]
        file.seek(0)
        if zipped:
            file.truncate()
        file.write(gzip.compress(head) if zipped else head)


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
    if column.dtype.str[1:] == "f2":  # which FITS lacks
        return with_info(column.astype("f4"), column)
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
