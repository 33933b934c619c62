"""Arrays with a row each that stand in a file which a table links to: images, spectra.

Which files may be opened is told in `astro_cluster.linked`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Column, MaskedColumn, QTable, Table

from astro_cluster.exceptions import InputError
from astro_cluster.fitsmapped import mapped_column
from astro_cluster.linked import Kind, is_regular_file, link_of

__all__ = [
    "array_facts",
    "array_hash",
    "blocks_of_rows",
    "check_rows",
    "check_unchanged",
    "is_linked",
    "linked_rows",
    "opened",
    "place_of",
    "row_column",
    "taken",
    "without_columns",
]

_BLOCK_BYTES = 2**25  # of one block of rows, so that a few of them fit beside the stack
_HASHED_BYTES = 2**28  # of a stack are hashed at most


def blocks_of_rows(values: np.ndarray, *, block_bytes: int = _BLOCK_BYTES) -> Iterator[slice]:
    """Yield slices of rows of an array, each of which may be worked on as a whole.

    Parameters
    ----------
    values : (n, …) array
        Images or spectra.
    block_bytes : int, optional
        Bytes of a block.

    Yields
    ------
    slice
        At least one row each.

    Examples
    --------
    >>> list(blocks_of_rows(np.zeros((5, 8)), block_bytes=128))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    row_bytes = max(1, int(np.prod(values.shape[1:], dtype=np.int64)) * values.dtype.itemsize)
    rows = max(1, block_bytes // row_bytes)
    for start in range(0, len(values), rows):
        yield slice(start, min(start + rows, len(values)))


def taken(values: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Return some rows of an array in the machine's own byte order, a block at a time.

    Parameters
    ----------
    values : (n, …) array
        Images or spectra, mapped perhaps.
    rows : (k,) masked array of int, optional
        Which; all if not given.

    Returns
    -------
    (k, …) array
        A copy: NaN where ``rows`` is masked, or 0 of whole numbers.

    Examples
    --------
    >>> taken(np.array([[1.0], [2.0]], ">f8"), np.ma.array([1, 0], mask=[False, True])).tolist()
    [[2.0], [nan]]
    """
    n = len(values) if rows is None else len(rows)
    out = np.empty((n, *values.shape[1:]), values.dtype.newbyteorder("="))
    wanted = None if rows is None else np.ma.filled(rows, 0).astype(np.int64)
    for block in blocks_of_rows(out):
        out[block] = values[block if wanted is None else wanted[block]]
    if rows is not None:
        out[np.ma.getmaskarray(rows)] = np.nan if out.dtype.kind == "f" else 0
    return out


def opened(
    path: str | os.PathLike[str], column: str, kind: Kind, *, dimensions: tuple[int, ...]
) -> np.ndarray:
    """Return the images or spectra of a file, mapped where that is possible.

    Parameters
    ----------
    path : str or path
        A FITS file with a table that has the column, or a NumPy array (``.npy``).
    column : str
        Name of the column; without meaning for ``.npy``.
    kind : Kind
        What they are.
    dimensions : tuple of int
        How many dimensions they may have, that of the rows included.

    Returns
    -------
    (n, …) array
        Not to be written to; it may be in another byte order.

    Raises
    ------
    InputError
        If there is no such file or it holds nothing of the kind.

    Examples
    --------
    >>> from astro_cluster.linked import IMAGES
    >>> path = getfixture("tmp_path") / "stack.npy"
    >>> np.save(path, np.ones((2, 8, 8)))
    >>> opened(path, "image", IMAGES, dimensions=(3, 4)).shape
    (2, 8, 8)
    """
    path = Path(path)
    if not is_regular_file(path):
        raise InputError(f"there is no file {path}")
    try:
        found = (
            np.load(path, mmap_mode="r", allow_pickle=False)
            if path.suffix.lower() == ".npy"
            else mapped_column(path, column)
        )
    except (InputError, MemoryError):
        raise
    except Exception as error:
        # Readers have exceptions of their own for a broken file; the user needs the one fact.
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{path} cannot be read as a stack of {kind.many}: {reason}") from error
    if not isinstance(found, np.ndarray):
        found.close()
        raise InputError(f"{path} holds no stack of {kind.many} but an archive of arrays: unpack it")
    if found.ndim not in dimensions or found.dtype.kind not in "biuf":
        raise InputError(f"{path} holds no stack of {kind.many}: its shape is {found.shape}")
    return found


def array_hash(values: np.ndarray) -> str:
    """Return a hash of images or spectra, the same in a file and in memory.

    Parameters
    ----------
    values : (n, …) array
        Images or spectra.

    Returns
    -------
    str
        ``sha256:`` and 64 hexadecimal digits, of shape, type and pixels.  Of more than 256 MB so many
        rows are taken, evenly spread from the first to the last.

    Examples
    --------
    >>> values = np.arange(32.0).reshape(2, 4, 4)
    >>> array_hash(values) == array_hash(values.astype(">f8"))
    True
    """
    plain = values.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{values.shape} {plain.str}".encode())
    row_bytes = max(1, int(np.prod(values.shape[1:], dtype=np.int64)) * plain.itemsize)
    n = min(len(values), max(2, _HASHED_BYTES // row_bytes))
    for row in np.unique(np.linspace(0, len(values) - 1, n).round().astype(int)) if len(values) else ():
        digest.update(np.ascontiguousarray(values[row], dtype=plain))
    return "sha256:" + digest.hexdigest()


def array_facts(values: np.ndarray, *, unit: str = "") -> dict[str, Any]:
    """Return what a link tells of the images or spectra behind it.

    Parameters
    ----------
    values : (n, …) array
        Images or spectra.
    unit : str, optional
        Their unit.

    Returns
    -------
    dict
        ``n``, ``shape``, ``dtype``, ``hash``, and ``unit`` if there is one.

    Examples
    --------
    >>> facts = array_facts(np.zeros((2, 4, 4)), unit="nJy")
    >>> facts["n"], facts["shape"], facts["dtype"], facts["unit"]
    (2, [4, 4], 'float64', 'nJy')
    """
    return {
        "n": len(values),
        "shape": list(values.shape[1:]),
        "dtype": values.dtype.newbyteorder("=").name,
        "hash": array_hash(values),
        **({"unit": unit} if unit else {}),
    }


def row_column(rows: Any, kind: Kind) -> Column:
    """Return the column that says which row of the file is the table's.

    Parameters
    ----------
    rows : (n,) array of int
        Masked where there is none.
    kind : Kind
        What they are rows of.

    Returns
    -------
    (n,) `~astropy.table.Column`

    Examples
    --------
    >>> from astro_cluster.linked import SPECTRA
    >>> row_column([1, 0], SPECTRA).description
    'Row of the spectrum in the stack that the table links to'
    """
    described = {"description": f"Row of the {kind.one} in the stack that the table links to"}
    mask = np.ma.getmaskarray(np.ma.asarray(rows))
    values = np.ma.filled(np.ma.asarray(rows), 0).astype(np.int64)
    column = MaskedColumn(values, mask=mask, **described) if mask.any() else Column(values, **described)
    column.info.meta = {"ucd": "meta.record"}
    return column


def check_rows(rows: Any, n: int, n_stack: int, path: Any, kind: Kind) -> None:
    """Make sure that a file has the rows that a table names.

    Parameters
    ----------
    rows : (n,) array of int
        Masked where there is none.
    n : int
        Rows of the table.
    n_stack : int
        Rows of the file.
    path : path
        The file.
    kind : Kind
        What they are rows of.

    Raises
    ------
    InputError
        If it has not.
    """
    found = np.ma.asarray(rows)
    seen = found.compressed()
    if found.shape != (n,) or found.dtype.kind not in "iu":
        raise InputError(
            f"rows of the {kind.many} (column {kind.row!r}) must be {n} whole numbers, one a row of the table"
        )
    outside = seen[(seen < 0) | (seen >= n_stack)]
    if len(outside):
        raise InputError(
            f"{path} has {n_stack} {kind.many}, and the table names {kind.one} {int(outside[0])}, counted "
            "from 0: it is another stack than the table's"
        )


def place_of(link: Mapping[str, Any], kind: Kind) -> Path:
    """Return the file of a link.

    Parameters
    ----------
    link : mapping
        From `~astro_cluster.linked.link_of`.
    kind : Kind
        What is in it.

    Returns
    -------
    path

    Raises
    ------
    InputError
        If it is not there.
    """
    path = Path(link["file"])
    if not is_regular_file(path):
        raise InputError(
            f"the {kind.many} of the table are not where they were, at {path}: put {path.name} beside the "
            f"table, or say where they are with {kind.remedy}"
        )
    return path


def check_unchanged(values: np.ndarray, facts: Mapping[str, Any], path: Path, kind: Kind) -> None:
    """Make sure that images or spectra are those that a table links to.

    Parameters
    ----------
    values : (n, …) array
        As they stand in the file.
    facts : mapping
        From `array_facts`, when the table was written.
    path : path
        The file.
    kind : Kind
        What they are.

    Raises
    ------
    InputError
        If they are not.
    """
    now = [len(values), list(values.shape[1:]), values.dtype.newbyteorder("=").name]
    then = [facts.get("n"), facts.get("shape", []), facts.get("dtype")]
    repeats, rest = divmod(len(then[1]), len(now[1]))
    if repeats > 1 and not rest and then[1] == then[1][: len(now[1])] * repeats:
        # What astropy makes of the links of tables that are stacked: the lists one behind the other,
        # the rest from the last table.  Whether they were to one file cannot be told any more.
        raise InputError(
            f"the table was stacked of several, and it cannot be told of which file the {kind.many} of each "
            "are: astro_cluster.read([file, file]) stacks tables that link to one file; or, if all are of "
            f"{path}, {kind.remedy} says so"
        )
    if now != then or (facts.get("hash") and array_hash(values) != facts["hash"]):
        what = "its pixels differ" if now == then else f"{_words(now)} now, {_words(then)} then"
        raise InputError(
            f"{path} has changed since the table was written ({what}): its {kind.many} may belong to other "
            f"rows. Make the table again from it, or take the {kind.many} as they are now with {kind.remedy}"
        )


def _words(found: list[Any]) -> str:
    n, shape, dtype = found
    return f"{' × '.join(map(str, [n, *shape]))} {dtype}"


def linked_rows(table: Table, values: np.ndarray, path: Path, kind: Kind) -> np.ndarray:
    """Return the images or spectra of the rows of a table.

    Parameters
    ----------
    table : `~astropy.table.Table`
        With a column that says which they are.
    values : (n, …) array
        All that the file has.
    path : path
        The file.
    kind : Kind
        What they are.

    Returns
    -------
    (k, …) array
        As `taken`; the file itself, mapped, if they are all of it in its order.

    Raises
    ------
    InputError
        If the file has not these rows.
    """
    rows = np.ma.asarray(table[kind.row])
    check_rows(rows, len(table), len(values), path, kind)
    hidden = np.ma.getmaskarray(rows)
    if (
        not hidden.any()
        and values.dtype.isnative
        and np.array_equal(np.asarray(rows), np.arange(len(values)))
    ):
        return values
    return taken(values, rows)


def is_linked(table: Table, kind: Kind) -> bool:
    """Tell whether a table says where its images or spectra are, and which are its rows'.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.
    kind : Kind
        What is looked for.

    Returns
    -------
    bool

    Examples
    --------
    >>> from astro_cluster.linked import SPECTRA
    >>> is_linked(QTable({"x": [1]}), SPECTRA)
    False
    """
    return link_of(table, kind) is not None and kind.row in table.colnames


def without_columns(table: QTable, names: list[str]) -> QTable:
    """Return a table without some of its columns, the rest shared.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    names : list of str
        Columns, which need not be there.

    Returns
    -------
    `~astropy.table.QTable`

    Examples
    --------
    >>> without_columns(QTable({"x": [1], "y": [2]}), ["y", "z"]).colnames
    ['x']
    """
    out = QTable(table, copy=False)
    out.remove_columns([name for name in names if name in out.colnames])
    return out
