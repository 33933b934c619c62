"""One column of a FITS table, mapped and not read: image stacks are larger than the rest together."""

from __future__ import annotations

import gzip
import os
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits

from astro_cluster.exceptions import InputError

__all__ = ["is_plain", "is_zipped", "mapped_column"]


def is_zipped(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is zipped.

    Parameters
    ----------
    path : str or path
        Any file.

    Returns
    -------
    bool
    """
    with Path(path).open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def is_plain(column: fits.Column) -> bool:
    """Tell whether the numbers of a column stand in the file as they are meant.

    Parameters
    ----------
    column : `~astropy.io.fits.Column`
        Column of a binary table.

    Returns
    -------
    bool
        False for scaled, nullable and logical ones, text, and rows of varying length.
    """
    scaled = column.bscale not in (None, "", 1) or column.bzero not in (None, "", 0)
    letters = str(column.format).lstrip("0123456789")
    return not scaled and column.null is None and letters[:1] in ("B", "I", "J", "K", "E", "D")


def mapped_column(
    path: str | os.PathLike[str], name: str, *, hdu: int | str | None = None, mode: str = "r"
) -> np.ndarray:
    """Return a column of numbers of a FITS table as it stands in the file.

    Parameters
    ----------
    path : str or path
        A FITS file.
    name : str
        Column of a binary table, or name of an image HDU whose first axis runs over the rows.
    hdu : int or str, optional
        Which HDU; the first that has such a column if not given.
    mode : {"r", "c"}, optional
        Whether what is mapped can not be written to, or can and the file stays as it is.

    Returns
    -------
    (n, …) array
        Mapped and not read, in the byte order of FITS, if the file is not zipped and the numbers
        are not scaled; else read, in the machine's own byte order.

    Raises
    ------
    InputError
        If the file has no such column, or is cut short.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "one.fits"
    >>> columns = [fits.Column("image", "4E", array=np.arange(8.0).reshape(2, 2, 2), dim="(2,2)")]
    >>> fits.BinTableHDU.from_columns(columns).writeto(path)
    >>> mapped_column(path, "image")[1].tolist()
    [[4.0, 5.0], [6.0, 7.0]]
    """
    path = Path(path)
    zipped = is_zipped(path)
    opened = gzip.open if zipped else open
    with warnings.catch_warnings(), opened(path, "rb") as file:
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        warnings.filterwarnings("ignore", message="File may have been truncated")
        with fits.open(file, memmap=False, lazy_load_hdus=True, disable_image_compression=True) as hdus:
            for number, found in enumerate(hdus):
                if hdu is not None and hdu not in (number, found.name):
                    continue
                if isinstance(found, fits.BinTableHDU) and name in found.columns.names:
                    return _table_column(path, found, name, zipped, mode)
                if found.is_image and found.name == name.upper() and found.header.get("NAXIS", 0) >= 3:
                    return _native(found.data)
    raise InputError(f"{path} has no column {name!r} in a table; it may be another file than it was")


def _native(data: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("="))


def _table_column(path: Path, hdu: fits.BinTableHDU, name: str, zipped: bool, mode: str) -> np.ndarray:
    column = hdu.columns[name]
    if zipped or not is_plain(column):
        return _native(np.asarray(hdu.data[name]))
    n = int(hdu.header["NAXIS2"])
    dtype = np.dtype(hdu.columns.dtype).newbyteorder(">")
    start = hdu.fileinfo()["datLoc"]
    if path.stat().st_size < start + n * dtype.itemsize:
        raise InputError(f"{path} is cut short: write it again")
    empty = np.empty(0, dtype)  # which cannot be mapped
    rows = np.memmap(path, dtype=dtype, mode=mode, offset=start, shape=(n,)) if n else empty
    found = rows[dtype.names[hdu.columns.names.index(name)]]
    shape = tuple(column._dims) if column._dims else found.shape[1:]
    return found.reshape((n, *shape)) if found.shape[1:] != shape else found
