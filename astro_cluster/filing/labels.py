"""Labels from a table to the images that they belong to."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import Masked

from astro_cluster.columns import require, with_info
from astro_cluster.config import conf
from astro_cluster.exceptions import InputError
from astro_cluster.filing.naming import stem_of
from astro_cluster.filing.sources import IMAGES, Wanted
from astro_cluster.tables import read

__all__ = ["Joined", "joined", "read_labels", "read_workbook"]

_SHOWN = 5  # names in a message
_MOST_EMPTY = 1000  # rows of a workbook


@dataclass(slots=True)
class Joined:
    """Labels in the order of the images.

    Parameters
    ----------
    columns : dict of str to column
        With n values each, masked where an image has no label.
    facts : dict
        What was matched and what was not.
    warning : str
        What was not, in words; empty if all were.
    """

    columns: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    warning: str = ""


def read_labels(labels: Any) -> QTable:
    r"""Return a table of labels.

    Parameters
    ----------
    labels : str, path or `~astropy.table.Table`
        A file (CSV, ECSV, VOTable, FITS, Parquet, or the first sheet of an Excel workbook) or a table.

    Returns
    -------
    `~astropy.table.QTable`

    Raises
    ------
    InputError
        If it cannot be read, or has no row.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "labels.csv"
    >>> _ = path.write_text("source_id,label\n1,good\n")
    >>> read_labels(path)["label"].tolist()
    ['good']
    """
    if isinstance(labels, (str, os.PathLike)) and os.fspath(labels).lower().endswith((".xlsx", ".xlsm")):
        table = read_workbook(labels)
    else:
        table = QTable(labels, copy=False) if isinstance(labels, Table) else read(labels)
    if len(table) == 0:
        raise InputError(f"the labels {_told(labels)} have no row")
    return table


def _told(labels: Any) -> str:
    return f"in {os.fspath(labels)}" if isinstance(labels, (str, os.PathLike)) else "given"


def read_workbook(path: str | os.PathLike[str]) -> QTable:
    """Read the first sheet of an Excel workbook: a line of names, and the rows below it.

    Parameters
    ----------
    path : str or path
        An .xlsx file.  Formulas are not run: their last results count.

    Returns
    -------
    `~astropy.table.QTable`
        Columns of whole numbers, numbers, booleans or texts; empty cells are masked.

    Raises
    ------
    InputError
        If there is no such file, it is no workbook, or openpyxl is not installed.

    Examples
    --------
    >>> from openpyxl import Workbook
    >>> book = Workbook()
    >>> for row in (("source_id", "reason"), (1, "edge"), (2, None)):
    ...     book.active.append(row)
    >>> path = getfixture("tmp_path") / "labels.xlsx"
    >>> book.save(path)
    >>> read_workbook(path)["reason"].tolist()
    ['edge', None]
    """
    if not Path(path).is_file():
        raise InputError(f"there is no file {os.fspath(path)}")
    try:
        import openpyxl
    except ImportError:
        raise InputError(
            "Excel workbooks need openpyxl, which is not installed: pip install 'astro_cluster[images]'"
        ) from None
    try:
        _check_unpacked(path)
        book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
        try:
            rows = _rows(book.worksheets[0])
        finally:
            book.close()
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{os.fspath(path)} cannot be read as an Excel workbook: {reason}") from error
    return _table_of(rows, path)


def _check_unpacked(path: str | os.PathLike[str]) -> None:
    """Refuse a workbook, which is a zip, that is much larger inside."""
    limit = int(conf.max_image_bytes)
    with zipfile.ZipFile(path) as archive:
        if (size := sum(info.file_size for info in archive.infolist())) > limit:
            raise InputError(
                f"{os.fspath(path)} unpacks to {size} bytes, more than conf.max_image_bytes = {limit}"
            )


def _rows(sheet: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a sheet that are not empty; it may claim a million of them."""
    rows, empty = [], 0
    for row in sheet.iter_rows(values_only=True):
        if any(cell is not None and cell != "" for cell in row):
            rows.append(row)
            empty = 0
        elif (empty := empty + 1) > _MOST_EMPTY:
            break
    return rows


def _table_of(rows: Sequence[Sequence[Any]], path: str | os.PathLike[str]) -> QTable:
    if not rows:
        raise InputError(f"the first sheet of {os.fspath(path)} is empty")
    names = ["" if cell is None else str(cell).strip() for cell in rows[0]]
    if twice := {name for name in names if name and names.count(name) > 1}:
        raise InputError(f"{os.fspath(path)} has several columns {', '.join(sorted(twice))}; rename them")
    table = QTable()
    for i, name in enumerate(names):
        if name:
            table[name] = _column_of([row[i] if i < len(row) and row[i] != "" else None for row in rows[1:]])
    if not table.colnames:
        raise InputError(f"the first line of {os.fspath(path)} has no names of columns")
    return table


def _column_of(cells: Sequence[Any]) -> Column | MaskedColumn:
    mask = np.array([cell is None for cell in cells], dtype=bool)
    kinds = {type(cell) for cell in cells if cell is not None}
    is_whole = all(
        isinstance(cell, int) or cell.is_integer()
        for cell in cells
        if isinstance(cell, (int, float)) and cell == cell and abs(cell) < 2**53
    )
    if kinds and kinds == {bool}:
        dtype, fill = bool, False
    elif (
        kinds
        and kinds <= {int, float}
        and is_whole
        and all(-(2**63) <= cell < 2**63 for cell in cells if cell is not None)
    ):
        dtype, fill = np.int64, 0
    elif kinds and kinds <= {int, float}:
        dtype, fill = np.float64, np.nan
    else:
        dtype, fill = np.str_, ""
    values = np.array([fill if cell is None else dtype(cell) for cell in cells], dtype=dtype)
    return MaskedColumn(values, mask=mask) if mask.any() else Column(values)


def _keys_of(column: Any, *, whole: bool) -> list[Any]:
    """Return identifiers that can be compared; None where there is none."""
    mask = np.broadcast_to(np.asarray(getattr(column, "mask", False)), (len(column),))
    data = np.ma.getdata(np.asarray(getattr(column, "unmasked", column)))
    keys: list[Any] = []
    for value, hidden in zip(data.tolist(), mask.tolist(), strict=True):
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        keys.append(None if hidden else _whole(text) if whole else str(text).strip() or None)
    return keys


def _whole(value: Any) -> int | None:
    """Return a whole number, also from its text; None if it is none."""
    try:
        if isinstance(value, str):
            return int(value.strip())
        return int(value) if value == int(value) else None
    except (ValueError, OverflowError):
        return None


def _is_whole(column: Any) -> bool:
    kind = getattr(column, "dtype", np.dtype(object)).kind
    if kind in "iu":
        return True
    if kind != "f":
        return False
    # A CSV with an empty cell turns whole numbers into fractions.
    values = np.ma.getdata(np.asarray(getattr(column, "unmasked", column)))
    values = values[np.isfinite(values)]
    return bool(values.size and (values == np.rint(values)).all())


def joined(names: dict[str, Any], labels: Any, on: Any = None, wanted: Wanted = IMAGES) -> Joined:
    """Return labels in the order of the images.

    Parameters
    ----------
    names : dict of str to (n,) masked array
        The identifiers of the images; under ``""`` the names of their files without endings.
    labels : str, path or `~astropy.table.Table`
        As `read_labels` takes it.
    on : str or (str, str), optional
        The identifier that both have, or that of the images and the column of the labels.  If not given,
        the one name that both have, in capitals or not, or else the names of the files, if just one column of
        the labels
        fits them.
    wanted : Wanted, optional
        What the labels are of: images if not given.

    Returns
    -------
    Joined
        Identifiers are compared as whole numbers if either side has whole numbers, else as texts.  Of
        several labels of one image the first counts.

    Raises
    ------
    InputError
        If it is not clear what to compare, or no label fits any image.

    Examples
    --------
    >>> found = joined({"id": np.ma.array([3, 1, 2])}, Table({"id": ["1", "002"], "label": ["bad", "good"]}))
    >>> found.columns["label"].tolist()
    [None, 'bad', 'good']
    """
    table = read_labels(labels)
    mine, theirs = _sides(names, table, on, wanted)
    column = table[theirs]
    whole = _is_whole(names[mine]) or _is_whole(column)
    asked, keys = _keys_of(names[mine], whole=whole), _keys_of(column, whole=whole)
    if not mine:
        keys = _as_stems(keys, asked)
    rows: dict[Any, int] = {}
    for row, key in enumerate(keys):
        if key is not None:
            rows.setdefault(key, row)
    index = np.array([-1 if key is None else rows.get(key, -1) for key in asked], dtype=np.int64)
    if (index < 0).all():
        raise InputError(
            f"no label {_told(labels)} belongs to {wanted.one}: the {wanted.plural} have "
            f"{_what(mine)} {_some(asked)}, the labels {theirs} {_some(keys)}. "
            "Give labels_on, or another pattern"
        )
    facts, warning = _judged(asked, keys, index, wanted, what=_what(mine))
    columns = {} if mine else {theirs: _named(asked, whole=whole)}
    columns |= {name: _taken(table[name], index) for name in table.colnames if name != theirs}
    return Joined(columns, {"on": [mine or "file name", theirs], **facts}, warning)


def _named(keys: Sequence[Any], *, whole: bool) -> Column | MaskedColumn:
    """Return identifiers from the names of files as a column."""
    mask = np.array([key is None for key in keys], dtype=bool)
    values = np.array([(0 if whole else "") if key is None else key for key in keys])
    return MaskedColumn(values, mask=mask) if mask.any() else Column(values)


def _what(mine: str) -> str:
    return mine or "names of files"


def _some(keys: Sequence[Any]) -> str:
    there = [str(key) for key in keys if key is not None]
    return ", ".join(there[:3]) + (", …" if len(there) > 3 else "") if there else "none"


def _sides(names: dict[str, Any], table: QTable, on: Any, wanted: Wanted) -> tuple[str, str]:
    known = [name for name in names if name]
    if on is not None:
        pair = (on, on) if isinstance(on, str) else tuple(on)
        if len(pair) != 2 or not all(isinstance(one, str) for one in pair):
            raise InputError(f"labels_on={on!r} is neither the name of a column nor a pair of names")
        require(table, pair[1])
        if pair[0] in names:
            return pair
        if isinstance(on, str) and not known:
            return "", on
        raise InputError(
            f"the {wanted.plural} have no identifier {pair[0]!r}; theirs are {', '.join(known) or 'none'}. "
            "Give a pattern such as '*_{source_id:d}', or identifier=, a header key"
        )
    both = [name for name in known if name in table.colnames]
    if len(both) == 1:
        return both[0], both[0]
    alike = [(name, other) for name in known for other in table.colnames if name.lower() == other.lower()]
    if not both and len(alike) == 1:
        return alike[0]
    if not known and (fitting := [name for name in table.colnames if _fits(names[""], table[name])]):
        if len(fitting) == 1:
            return "", fitting[0]
        both = fitting
    raise InputError(
        f"it is not clear which column of the labels names the {wanted.plural} "
        f"({', '.join(both) or 'none seems to'}); the labels have {', '.join(table.colnames[:20])}, "
        f"the {wanted.plural} {', '.join(known) or 'only the names of files'}. "
        f"Give labels_on='source_id', say, or a pair (of the {wanted.plural}, of the labels)"
    )


def _fits(stems: Any, column: Any) -> bool:
    if getattr(column, "shape", ()) != (len(column),) or isinstance(column, u.Quantity):
        return False
    if getattr(column, "dtype", np.dtype(object)).kind not in "iuUSO":
        return False
    whole = _is_whole(column)
    here = {key for key in _keys_of(stems, whole=whole) if key is not None}
    there = {key for key in _as_stems(_keys_of(column, whole=whole), here) if key is not None}
    return len(here & there) * 2 > min(len(here), len(there))


def _as_stems(keys: Sequence[Any], stems: Iterable[Any]) -> list[Any]:
    """Return names of files without folders and endings, unless they stand so among the images' already."""
    known = set(stems)
    return [stem_of(key) if isinstance(key, str) and key not in known else key for key in keys]


def _judged(
    asked: Sequence[Any], keys: Sequence[Any], index: np.ndarray, wanted: Wanted, *, what: str
) -> tuple[dict[str, Any], str]:
    """Return what did not go together, as facts and in words."""
    seen: set[Any] = set()
    double: dict[Any, None] = {}
    for key in keys:
        if key is not None and key in seen:
            double[key] = None
        seen.add(key)
    there = set(asked)
    without = [asked[i] for i in np.flatnonzero(index < 0)]
    unused = [key for key in dict.fromkeys(keys) if key is not None and key not in there]
    groups = {
        f"{wanted.plural}_without_label": (len(without), [k for k in without if k is not None]),
        f"labels_without_{wanted.noun}": (len(unused), unused),
        "double_labels": (len(double), list(double)),
    }
    words = {
        f"{wanted.plural}_without_label": f"{wanted.plural} have no label",
        f"labels_without_{wanted.noun}": f"labels belong to no {wanted.noun}",
        "double_labels": "identifiers have several labels, of which the first counts",
    }
    told = [
        f"{n} {words[name]} ({_first(some)})" if some else f"{n} {words[name]}"
        for name, (n, some) in groups.items()
        if n
    ]
    facts = {
        "labelled": int((index >= 0).sum()),
        **{name: {"count": n, "first": some[:_SHOWN]} for name, (n, some) in groups.items()},
    }
    return facts, f"labels by {what}: {'; '.join(told)}" if told else ""


def _first(keys: Sequence[Any]) -> str:
    return ", ".join(str(key) for key in keys[:_SHOWN]) + (", …" if len(keys) > _SHOWN else "")


def _taken(column: Any, index: np.ndarray) -> Any:
    """Return rows of a column, masked where there is none."""
    hidden = index < 0
    rows = column[np.where(hidden, 0, index)]
    if not hidden.any():
        return with_info(rows, column)
    mask = np.reshape(hidden, (-1, *[1] * (rows.ndim - 1)))
    mask = np.broadcast_to(mask, rows.shape) | np.asarray(getattr(rows, "mask", False))
    if isinstance(rows, u.Quantity):
        return with_info(Masked(getattr(rows, "unmasked", rows), mask=mask), column)
    if not isinstance(rows, Column):  # a position or a time
        rows = rows.copy()
        rows[hidden] = np.ma.masked
        return with_info(rows, column)
    return with_info(MaskedColumn(np.ma.getdata(np.asarray(rows)), mask=mask), column)
