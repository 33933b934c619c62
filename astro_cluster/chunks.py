"""Files that are read a chunk of rows at a time: which ones, their rows, and what is said of them."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from astropy.table import QTable

from astro_cluster.exceptions import InputError
from astro_cluster.fitstable import ChunkedFits
from astro_cluster.formats import FORMATS, format_of, paths_of
from astro_cluster.parquet import ChunkedParquet
from astro_cluster.storage import with_texts
from astro_cluster.tables import PathLike, with_plain_meta

__all__ = ["ChunkedFile", "Messages", "chunks_of", "files_of", "guarded", "head_of", "open_chunked"]

ChunkedFile = ChunkedParquet | ChunkedFits

# A few rows of a HATS catalogue to look at, all of which are in its other files too.
_THUMBNAIL = "data_thumbnail.parquet"


def files_of(source: PathLike | Sequence[PathLike]) -> list[Path]:
    """Return the files that are meant.

    Parameters
    ----------
    source : str, path or sequence of these
        Files, folders of Parquet files, or patterns.

    Returns
    -------
    list of path
        Those of a folder in alphabetical order, without what begins with a dot or an underscore.

    Raises
    ------
    InputError
        If there is none.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> for name in ("b.parquet", "a.parquet", "_metadata.parquet"):
    ...     (folder / name).touch()
    >>> [path.name for path in files_of(folder)]
    ['a.parquet', 'b.parquet']
    """
    if not isinstance(source, (str, os.PathLike, list, tuple)):
        raise InputError(f"cannot stream a {type(source).__name__}; give the path of a Parquet or FITS file")
    found = [file for path in paths_of(source) for file in (_in_folder(path) if path.is_dir() else [path])]
    if not found:
        raise InputError("no file was given to read")
    return found


def _in_folder(folder: Path) -> list[Path]:
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.name.lower().endswith(FORMATS["parquet"])
        and path.name != _THUMBNAIL
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    )
    if not files:
        raise InputError(f"the folder {folder} holds no Parquet file; of FITS files, give '{folder}/*.fits'")
    return files


@contextlib.contextmanager
def _as_input_error(path: Path) -> Iterator[None]:
    """Turn whatever a reader says of a broken file into the one fact, with the file."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, Warning) and not isinstance(error, ValueError):
            raise  # a warning that the user has turned into an error
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{path} cannot be read: {reason}. The file may be cut short or damaged") from error


def open_chunked(path: Path, *, hdu: int | str | None = None) -> ChunkedFile:
    """Open a file to be read in chunks.

    Parameters
    ----------
    path : path
        A Parquet or FITS file.
    hdu : int or str, optional
        Which HDU of a FITS file; its first table if not given.

    Returns
    -------
    ChunkedParquet or ChunkedFits

    Raises
    ------
    InputError
        If the file is missing, empty, broken or of another format.
    """
    if not path.exists():
        raise InputError(f"there is no file {path}")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes)")
    kind = format_of(path)
    if kind not in ("parquet", "fits"):
        raise InputError(
            f"{path} is of the format {kind}, which is not read in chunks; where it fits into memory, make a "
            f"Parquet file of it: ac.write(ac.read({path.name!r}), {path.stem + '.parquet'!r})"
        )
    with _as_input_error(path):
        return ChunkedParquet(path) if kind == "parquet" else ChunkedFits(path, hdu=hdu)


def chunks_of(
    file: ChunkedFile, names: Sequence[str] | None, chunk_rows: int
) -> Iterator[tuple[int, QTable]]:
    """Yield the rows of a file.

    Parameters
    ----------
    file : ChunkedParquet or ChunkedFits
        What to read.
    names : sequence of str or None
        Columns to take; all if None.
    chunk_rows : int
        Most rows of a chunk.

    Yields
    ------
    first_row : int
        Number of the first row of the chunk.
    table : `~astropy.table.QTable`
        The chunk.

    Raises
    ------
    InputError
        If the file is broken.
    """
    first_row = 0
    for table in guarded(file.tables(names, chunk_rows=chunk_rows), file.path):
        yield first_row, table
        first_row += len(table)


def guarded(chunks: Iterator[Any], path: Path) -> Iterator[Any]:
    """Yield what a reader yields, its errors made to be about the file.

    Parameters
    ----------
    chunks : iterator
        A reader at work.
    path : path
        Its file.

    Yields
    ------
    object
        The same.

    Raises
    ------
    InputError
        If the file is broken.

    Examples
    --------
    >>> list(guarded(iter([1, 2]), Path("stars.parquet")))
    [1, 2]
    """
    while True:
        with _as_input_error(path):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


def head_of(file: ChunkedFile) -> QTable:
    """Return the columns and the meta of a file, the record included.

    Parameters
    ----------
    file : ChunkedParquet or ChunkedFits
        What to look at.

    Returns
    -------
    `~astropy.table.QTable`
        A table without rows.

    Raises
    ------
    InputError
        If the file is broken.
    """
    with _as_input_error(file.path):
        head = file.head()
        return with_plain_meta(with_texts(head, file.texts) if isinstance(file, ChunkedFits) else head)


class Messages:
    """What is said of a chunk, made to be about its file, and each kind of warning said once.

    Examples
    --------
    >>> with Messages().about(Path("stars.fits"), first_row=1000):
    ...     raise InputError("column 'x' has an infinite value in row 17")
    Traceback (most recent call last):
        ...
    astro_cluster.exceptions.InputError: stars.fits: column 'x' has an infinite value in row 1017
    """

    def __init__(self) -> None:
        self._said: set[str] = set()

    @contextlib.contextmanager
    def about(self, path: Path, first_row: int = 0) -> Iterator[None]:
        """Put the file before the errors and warnings of a block, and count rows from its top.

        Parameters
        ----------
        path : path
            The file.
        first_row : int, optional
            Number of the first row that the block works on.
        """

        def told(message: object) -> str:
            # The rooms below count rows from the top of the table that they are given.
            shifted = re.sub(r"\brow (\d+)", lambda found: f"row {int(found[1]) + first_row}", str(message))
            return f"{path}: {shifted}"

        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                yield
        except InputError as error:
            raise InputError(told(error)) from error
        for warning in caught:
            kind = re.sub(r"\d+", "", str(warning.message))
            if kind not in self._said:
                self._said.add(kind)
                warnings.warn(told(warning.message), warning.category, stacklevel=5)
