"""Tables in and out: every format that astronomers keep catalogues in, the record kept.

Nothing goes through pandas, so 64-bit identifiers, masks and units survive.  A file is
written beside its name and then moved there, so that a full disk or an interruption
never leaves half a file.
"""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Column, QTable, Table, TableMergeError, vstack
from astropy.utils.masked import Masked

from astro_cluster import linked, provenance
from astro_cluster.columns import add_column, with_info
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.formats import EXPORTS, FORMATS, format_by_name, format_of, paths_of
from astro_cluster.provenance import META_KEY, Step, step
from astro_cluster.storage import READERS, WRITERS
from astro_cluster.wavelengths import SPECTRA_KEY, spectra_facts

__all__ = ["FORMATS", "as_qtable", "derive", "read", "write"]

PathLike = str | os.PathLike[str]
Source = QTable | Table | PathLike | Sequence[PathLike]

_FEWEST_PIXELS = 64  # of a spectrum

# ---------------------------------------------------------------- reading


def _read_one(path: Path, format: str | None, **options: Any) -> QTable:  # noqa: A002
    if not path.exists():
        raise InputError(f"there is no file {path}")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a file, or a pattern such as '{path}/*.fits'")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes)")
    format = format or format_of(path)  # noqa: A001
    if format not in READERS:
        raise InputError(f"format {format!r} is not known; give one of {', '.join(READERS)}")
    try:
        return READERS[format](path, **options)
    except InputError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, Warning) and not isinstance(error, ValueError):
            raise  # a warning that the user has turned into an error
        # Every reader has exceptions of its own for a broken file; the user needs the one fact.
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(
            f"{path} cannot be read as {format}: {reason}. The file may be cut short or be of another "
            "format (give format=…)"
        ) from error


def _check_whole_numbers(tables: list[QTable], paths: list[Path]) -> None:
    """Refuse to turn long identifiers into floats because another file has floats there."""
    kinds: dict[str, set[str]] = {}
    for table in tables:
        for name in table.colnames:
            kinds.setdefault(name, set()).add(getattr(getattr(table[name], "dtype", None), "kind", "?"))
    for name in [name for name, found in kinds.items() if "f" in found and found & set("iu")]:
        for table, path in zip(tables, paths, strict=True):
            if name in table.colnames and table[name].dtype.kind in "iu" and len(table):
                values = np.ma.filled(np.ma.asarray(table[name]), 0)
                if int(np.abs(values).max()) > 2**53:
                    raise InputError(
                        f"column {name!r} holds whole numbers above 2**53 in {path} and fractions in another "
                        "file: stacked, they would be rounded. Make the columns alike first"
                    )


def _check_one_grid(tables: list[QTable], paths: list[Path]) -> None:
    """Leave what is said of the spectra of tables that are to be stacked in one of them, in place."""
    known: tuple[Path, Any] | None = None
    for table, path in zip(tables, paths, strict=True):
        facts = spectra_facts(table)
        if facts is None:
            continue
        same = [facts.get(word) for word in ("grid", "flux", "ivar", "normalized")]
        if known is None:
            known = path, same
            continue
        if same != known[1]:
            raise InputError(
                f"{known[0]} and {path} have spectra at different wavelengths, in different columns or "
                "normalised in different ways, and one table has one grid: bring them to the same first "
                "(astro_cluster.regrid, normalize_spectra)"
            )
        del table.meta[SPECTRA_KEY]  # astropy would put the lists in it one behind the other


def _stack(tables: list[QTable], paths: list[Path]) -> QTable:
    rows = np.repeat([os.fspath(path) for path in paths], [len(table) for table in tables])
    _check_whole_numbers(tables, paths)
    linked.check_one_link(tables, paths)
    _check_one_grid(tables, paths)
    for table in tables:
        table.meta.pop(META_KEY, None)
    try:
        stacked = vstack(tables, join_type="outer", metadata_conflicts="silent")
    except (TableMergeError, u.UnitsError, ValueError) as error:
        raise InputError(
            f"the {len(paths)} tables cannot be stacked: {' '.join(str(error).split())}. "
            "Read them one by one and make their columns alike"
        ) from error
    add_column(stacked, "source_file", rows)
    return stacked


@step
def read(source: Source, *, format: str | None = None, table: int = 0, hdu: int | str | None = None) -> Step:  # noqa: A002
    """Read a table from one file or several.

    Parameters
    ----------
    source : str, path, list of these, `~astropy.table.Table` or `~astropy.table.QTable`
        A VOTable, FITS, ECSV, Parquet or CSV file; a pattern (``"part_*.fits"``) or a list
        of them, whose rows are stacked and get a column ``source_file``; or a table, which
        is copied.
    format : {"votable", "fits", "ecsv", "parquet", "csv"}, optional
        Format of the files; told from their content and name if not given.
    table : int, optional
        Which table of a VOTable that has several.
    hdu : int or str, optional
        Which HDU of a FITS file; its first table if not given.

    Returns
    -------
    `~astropy.table.QTable`
        Columns with a unit are Quantities; numbers are in native byte order; the record of
        a file that this package wrote is continued.

    Raises
    ------
    InputError
        If a file is missing, empty, cut short or of an unknown format, or if the tables do
        not go together.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> cat = ac.read(QTable({"ra": [10.0, 11.0] * u.deg}))
    >>> ac.records(cat)[0]["function"]
    'read'
    """
    if isinstance(source, Table):
        out = QTable(source, copy=True)
        return out if provenance.records(out) else Step(out, inputs=out.colnames)  # type: ignore[return-value]
    if not isinstance(source, (str, os.PathLike, list, tuple)):
        raise InputError(
            f"cannot read a table from a {type(source).__name__}: give a path, a list of paths or an astropy "
            "Table (a pandas frame: QTable.from_pandas)"
        )
    paths = paths_of(source)
    if not paths:
        raise InputError("no file was given to read")

    def load(path: Path) -> QTable:
        kind = format or (format_of(path) if path.is_file() and path.stat().st_size else None)
        number: dict[str, Any] = {"table": table} if kind == "votable" else {"hdu": hdu}
        options = number if kind in ("votable", "fits", "fits-plus") else {}
        return linked.resolved(_read_one(path, kind, **options), path.parent)

    if len(paths) == 1:
        out = load(paths[0])
        if provenance.records(out):
            return out  # type: ignore[return-value]
        return Step(out, inputs=out.colnames)
    tables = [load(path) for path in paths]
    origins = [
        {"path": os.fspath(path), "rows": len(part), "record": provenance.records(part)}
        for path, part in zip(paths, tables, strict=True)
    ]
    out = _stack(tables, paths)
    return Step(out, inputs=out.colnames, facts={"files": origins})


def as_qtable(source: Source) -> QTable:
    """Return what a step was given as a QTable, reading it if it is a path.

    Parameters
    ----------
    source : `~astropy.table.QTable`, `~astropy.table.Table`, str, path or list of paths
        A table, or where it is.

    Returns
    -------
    `~astropy.table.QTable`
        The same object if it is a QTable already.

    Raises
    ------
    InputError
        As `read`.

    Examples
    --------
    >>> as_qtable(Table({"x": [1, 2]}))["x"].tolist()
    [1, 2]
    """
    if isinstance(source, QTable):
        return source
    if isinstance(source, Table):
        return QTable(source, copy=False)
    return read(source)


def derive(table: QTable) -> QTable:
    """Return a table that a step may add columns to, the given one untouched.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Input of a step.

    Returns
    -------
    `~astropy.table.QTable`
        A copy, meta included.  Images (columns of three and more dimensions) and spectra (64 numbers
        a row and more) are not copied, for they fill the memory: no step changes them in place.

    Examples
    --------
    >>> t = QTable({"x": [1, 2]})
    >>> derive(t)["x"] is t["x"]
    False
    """
    stacks = [name for name in table.colnames if _is_stack(table[name])]
    if not stacks:
        return QTable(table, copy=True)
    rest = QTable(table[[name for name in table.colnames if name not in stacks]], copy=False)
    columns = {n: _shared(table[n]) if n in stacks else rest[n] for n in table.colnames}
    return QTable(columns, meta=copy.deepcopy(table.meta), copy=False)


def _is_stack(column: Any) -> bool:
    wide = getattr(column, "ndim", 0) == 2 and column.shape[1] >= _FEWEST_PIXELS
    return type(column) in (Column, u.Quantity) and (column.ndim > 2 or wide)


def _shared(column: Column | u.Quantity) -> Column | u.Quantity:
    """Return a stack with a description of its own and the same memory."""
    plain = isinstance(column, Column)
    new = Column(column, copy=False) if plain else with_info(u.Quantity(column, copy=False).view(), column)
    new.info.meta = copy.deepcopy(column.info.meta)
    return new


# ---------------------------------------------------------------- writing


def check_output(path: PathLike, *, overwrite: bool = False) -> None:
    """Make sure, before the slow part, that a table can be written to a file.

    Parameters
    ----------
    path : str or path
        Where it is to be.
    overwrite : bool, optional
        Whether an existing file may be replaced.

    Raises
    ------
    InputError
        If the ending tells no format, the folder is not there, or the file exists.

    Examples
    --------
    >>> check_output(getfixture("tmp_path") / "new.vot")
    """
    _output_format(Path(path))
    _check_place(Path(path), overwrite=overwrite)


def _output_format(path: Path, format: str | None = None) -> str:  # noqa: A002
    """Return the format to write a file in: the one asked for, or that of its ending."""
    found = format or format_by_name(path)
    if found not in WRITERS:
        raise InputError(
            f"cannot tell in which format to write {path.name!r}: use one of the endings "
            f"{', '.join(ends[0] for ends in (FORMATS | EXPORTS).values())} or give format="
        )
    return found


def _check_place(path: Path, *, overwrite: bool) -> None:
    """Make sure that a file may be made at a path."""
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; give --overwrite (in Python overwrite=True) to replace it")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} into")


def with_plain_meta(table: QTable) -> QTable:
    """Leave out what of the meta no file can keep, and say so.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.

    Returns
    -------
    `~astropy.table.QTable`
        The same table if there is nothing to leave out.

    Warns
    -----
    AstroClusterWarning
        What is left out.

    Examples
    --------
    >>> with_plain_meta(QTable(meta={"note": "simulated"})).meta
    {'note': 'simulated'}
    """
    lost = [str(k) for k, v in table.meta.items() if k != META_KEY and _has_unrecorded(provenance.encode(v))]
    if not lost:
        return table
    warnings.warn(
        f"no file can keep these entries of the meta: {', '.join(lost)}", AstroClusterWarning, stacklevel=3
    )
    out = QTable(table, copy=False)
    for key in [k for k in out.meta if str(k) in lost]:
        del out.meta[key]
    return out


def _has_unrecorded(plain: Any) -> bool:
    if isinstance(plain, dict):
        return set(plain) == {"unrecorded"} or any(map(_has_unrecorded, plain.values()))
    return isinstance(plain, list) and any(map(_has_unrecorded, plain))


@contextlib.contextmanager
def beside(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a new file's path in the folder of ``path``; move it there if all went well.

    Parameters
    ----------
    path : path
        Where the file should be in the end.
    overwrite : bool
        Whether an existing file may be replaced.

    Yields
    ------
    path
        Where to write.

    Raises
    ------
    InputError
        If the file exists, its folder does not, or the disk refuses.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> with beside(folder / "a.txt", overwrite=False) as new:
    ...     _ = new.write_text("done")
    >>> (folder / "a.txt").read_text()
    'done'
    """
    _check_place(path, overwrite=overwrite)
    shown, path = path, path.resolve()  # what a link points to is replaced, not the link
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    except OSError as error:
        raise InputError(f"cannot write {shown}: {error.strerror}") from error
    os.close(handle)
    new = Path(name)
    try:
        new.unlink()  # the writers of astropy want to make the file themselves
        yield new
        with new.open("rb") as file:
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, new)
        new.replace(path)
    except OSError as error:
        kept = "; the old file is untouched" if path.exists() else ""
        raise InputError(f"cannot write {shown}: {error.strerror or error}{kept}") from error
    finally:
        new.unlink(missing_ok=True)


def write(
    table: Source,
    path: PathLike,
    *,
    format: str | None = None,  # noqa: A002
    overwrite: bool = False,
    votable_version: str = "1.4",
) -> Path:
    """Write a table, its units, UCDs, descriptions, masks and record.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        What to write; a path converts a file.
    path : str or path
        Where to; its ending gives the format.
    format : {"votable", "fits", "fits-plus", "ecsv", "parquet", "csv", "markdown", "latex"}, optional
        Format, if the ending does not tell it.  ``"fits-plus"`` is FITS with a VOTable of units, UCDs
        and descriptions for TOPCAT; the last two are for readers only.
    overwrite : bool, optional
        Replace an existing file.
    votable_version : {"1.4", "1.5"}, optional
        Version of the VOTable standard.

    Returns
    -------
    `~pathlib.Path`
        Where the file is.

    Raises
    ------
    InputError
        If the file exists, the format is unknown or cannot hold a column, or the disk
        refuses (it is full, say); an old file stays as it was.

    Warns
    -----
    AstroClusterWarning
        What is lost, if the format is CSV.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> _ = write(QTable({"ra": [10.0] * u.deg}), folder / "one.vot")
    >>> read(folder / "one.vot")["ra"].unit
    Unit("deg")
    """
    path = Path(path)
    format = _output_format(path, format)  # noqa: A001
    table = linked.portable(with_plain_meta(as_qtable(table)), path.parent)
    options = {"version": votable_version} if format == "votable" else {}
    with beside(path, overwrite=overwrite) as new:
        try:
            WRITERS[format](table, new, **options)
        except (InputError, OSError, MemoryError, Warning):
            raise
        except Exception as error:
            # Every writer has exceptions of its own for a column that the format cannot hold.
            raise InputError(
                f"cannot write {path} as {format}: {' '.join(str(error).split())[:300]}"
            ) from error
    return path


def float_values(column: Any) -> np.ndarray:
    """Return the numbers of a column as float64, NaN where masked, the unit left off.

    Parameters
    ----------
    column : (n, …) `~astropy.table.Column`, `~astropy.units.Quantity` or their masked kinds
        A numeric column.

    Returns
    -------
    (n, …) array of float64
        A copy.

    Raises
    ------
    InputError
        If the column is not numeric.

    Examples
    --------
    >>> from astropy.table import MaskedColumn
    >>> float_values(MaskedColumn([1, 2], mask=[False, True]))
    array([ 1., nan])
    """
    if getattr(column, "dtype", np.dtype(object)).kind not in "fiub":
        name = getattr(getattr(column, "info", None), "name", None)
        raise InputError(f"column {name!r} holds no numbers; give a numeric one")
    mask = getattr(column, "mask", None)
    data = column.unmasked if isinstance(column, Masked) else column
    data = data.value if isinstance(data, u.Quantity) else getattr(data, "data", data)
    values = np.array(np.ma.getdata(data), dtype=float)
    if mask is not None:
        values[np.asarray(mask)] = np.nan
    return values
