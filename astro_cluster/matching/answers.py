"""Tables as the CDS X-Match service sends them, made into ours."""

from __future__ import annotations

import warnings

import numpy as np
from astropy.table import MaskedColumn, QTable, Table, vstack
from astropy.utils.exceptions import AstropyUserWarning

__all__ = ["DEC", "RA", "ROW", "SEPARATION", "remote_identity", "stack_answers"]

# What we upload, named so that no catalogue has the same; the service repeats it in its answer.
ROW, RA, DEC = "ac_row", "ac_ra", "ac_dec"
SEPARATION = "angDist"


def stack_answers(parts: list[Table]) -> QTable:
    """Return the remote columns of several answers as one table.

    Parameters
    ----------
    parts : list of `~astropy.table.Table`
        Answers of the service, with what was uploaded and the separation.

    Returns
    -------
    `~astropy.table.QTable`
        A row a pair; units, UCDs and descriptions as the service gave them.

    Examples
    --------
    >>> stack_answers([Table({"angDist": [0.1], "ac_row": [0], "main_id": ["M 31"]})]).colnames
    ['main_id']
    """
    if not parts:
        return QTable()
    plain = vstack(parts, join_type="outer", metadata_conflicts="silent")
    plain.remove_columns([n for n in (SEPARATION, ROW, RA, DEC) if n in plain.colnames])
    plain.meta.clear()
    for name in plain.colnames:
        column = plain[name]
        if column.dtype.kind == "O" and all(isinstance(v, (str, bytes)) for v in np.ma.getdata(column)):
            mask = np.ma.getmaskarray(column) if isinstance(column, MaskedColumn) else False
            text = MaskedColumn(np.ma.getdata(column).astype(str), mask=mask, description=column.description)
            text.meta = column.meta
            plain.replace_column(name, text)
    with warnings.catch_warnings():
        # A unit that astropy cannot compute with stays on a plain column, which is what we want.
        warnings.filterwarnings("ignore", "column .* has a unit but is kept", AstropyUserWarning)
        return QTable(plain, copy=False)


def remote_identity(table: QTable) -> np.ndarray:
    """Number the remote objects of pairs: rows that are equal in all columns are one object.

    The service sends no row numbers of the remote table.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        The remote columns, a row a pair; all that the service has, or two objects might
        look the same.

    Returns
    -------
    (m,) array of int
        The number of the object of each pair, in the order of their first pairs.

    Examples
    --------
    >>> remote_identity(QTable({"main_id": ["M 31", "M 33", "M 31"], "z": [0.0, 0.0, 0.0]}))
    array([0, 1, 0])
    """
    codes = np.zeros(len(table), dtype=np.int64)
    for name in table.colnames if len(table) else ():
        column = table[name]
        mask = np.broadcast_to(getattr(column, "mask", False), column.shape).reshape(len(table), -1)
        bare = getattr(column, "unmasked", column)
        values = np.ma.getdata(np.asarray(getattr(bare, "value", bare))).reshape(len(table), -1)
        for k in range(values.shape[1]):
            axis = values[:, k].astype(str) if values.dtype.kind == "O" else values[:, k]
            inverse = np.unique(axis, return_inverse=True)[1] + 1
            pair = codes * (len(table) + 1) + np.where(mask[:, k], 0, inverse)
            codes = np.unique(pair, return_inverse=True)[1]
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
