"""Which files are meant, and of which format they are."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any

from astro_cluster.exceptions import InputError

__all__ = ["EXPORTS", "FORMATS", "format_by_name", "format_of", "paths_of"]

FORMATS = {
    "votable": (".vot", ".votable", ".xml", ".vot.gz", ".xml.gz"),
    "fits": (".fits", ".fit", ".fits.gz"),
    "ecsv": (".ecsv",),
    "parquet": (".parquet", ".pq", ".parq"),
    "csv": (".csv", ".csv.gz"),
}
EXPORTS = {"markdown": (".md",), "latex": (".tex",)}
"""Formats that are written for readers and not read back."""

_MAGIC = {
    b"SIMPLE  =": "fits",
    b"PAR1": "parquet",
    b"# %ECSV": "ecsv",
    b"<?xml": "votable",
    b"<VOTABLE": "votable",
}


def format_by_name(path: Path) -> str | None:
    """Tell the format of a file, which need not exist, by its name.

    Parameters
    ----------
    path : path
        Any path.

    Returns
    -------
    str or None
        One of `FORMATS` or `EXPORTS`; None if the ending is none of theirs.

    Examples
    --------
    >>> format_by_name(Path("sources.vot.gz"))
    'votable'
    """
    name = path.name.lower()
    return next((fmt for fmt, ends in (FORMATS | EXPORTS).items() if name.endswith(ends)), None)


def format_of(path: Path) -> str:
    """Tell the format of an existing file, by its first bytes and then by its name.

    Parameters
    ----------
    path : path
        An existing file.

    Returns
    -------
    str
        One of `FORMATS`.

    Raises
    ------
    InputError
        If neither tells it.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "table"
    >>> _ = path.write_bytes(b"PAR1...")
    >>> format_of(path)
    'parquet'
    """
    with path.open("rb") as file:
        head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    found = next((fmt for magic, fmt in _MAGIC.items() if head.startswith(magic)), None)
    found = found or format_by_name(path)
    if found not in FORMATS:
        raise InputError(
            f"cannot tell the format of {path}: give format= one of {', '.join(FORMATS)} "
            "(on the command line use a usual file ending)"
        )
    return found


def paths_of(source: Any) -> list[Path]:
    """Return the files that a path, a pattern or a list of these means.

    Parameters
    ----------
    source : str, path or sequence of these
        Where the files are.

    Returns
    -------
    list of path
        Those of a pattern in alphabetical order; a path without a pattern as it is, whether it
        exists or not.

    Raises
    ------
    InputError
        If no file matches a pattern.

    Examples
    --------
    >>> [path.name for path in paths_of(["a.fits", "b.fits"])]
    ['a.fits', 'b.fits']
    """
    if isinstance(source, (str, os.PathLike)):
        text = os.fspath(source)
        if not Path(text).exists() and glob.has_magic(text):
            found = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - an absolute pattern too
            if not found:
                raise InputError(f"no file matches the pattern {text}")
            return [Path(name) for name in found]
        return [Path(text)]
    return [path for item in source for path in paths_of(item)]
