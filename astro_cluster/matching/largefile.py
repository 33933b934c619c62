"""Which files are too large to be read as a whole."""

from __future__ import annotations

from pathlib import Path

from astro_cluster.chunks import ChunkedFile, open_chunked
from astro_cluster.config import conf
from astro_cluster.exceptions import InputError
from astro_cluster.formats import format_of

__all__ = ["open_if_large"]

_GZIPPED = 3  # times that a FITS table is larger than its file


def _in_memory(path: Path, kind: str) -> int:
    """Return about how many bytes a table takes."""
    size = path.stat().st_size
    if kind == "parquet":
        try:
            from pyarrow.parquet import read_metadata

            found = read_metadata(path)
        except Exception:  # broken, or pyarrow is missing: the reader says so
            return size
        groups = sum(found.row_group(k).total_byte_size for k in range(found.num_row_groups))
        # What is alike in many rows takes next to nothing in a file, and eight bytes a row here.
        return max(size, groups, 8 * int(found.num_rows) * int(found.num_columns))
    return size * (_GZIPPED if kind == "fits" and path.name.lower().endswith(".gz") else 1)


def open_if_large(path: Path) -> ChunkedFile | None:
    """Open a file to be read a chunk at a time, if it does not fit in memory.

    Parameters
    ----------
    path : path
        An existing file.

    Returns
    -------
    ChunkedParquet or ChunkedFits or None
        None if it is not larger than ``conf.max_reference_bytes``.

    Raises
    ------
    InputError
        If it is too large and of a format that is not read in chunks.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "one.csv"
    >>> _ = path.write_text("ra,dec")
    >>> open_if_large(path) is None
    True
    """
    most = int(conf.max_reference_bytes)
    if not path.is_file() or path.stat().st_size == 0:
        return None
    kind = format_of(path)
    size = _in_memory(path, kind)
    if size <= most:
        return None
    if kind in ("parquet", "fits"):
        return open_chunked(path)
    raise InputError(
        f"the reference {path} has {size:,} bytes, more than conf.max_reference_bytes ({most:,}), and a file "
        f"of the format {kind} is not read in chunks: where it fits into memory, raise "
        "conf.max_reference_bytes or make a Parquet file of it: "
        f"ac.write(ac.read({path.name!r}), {path.stem + '.parquet'!r})"
    )
