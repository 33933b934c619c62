"""Columns added to a table, as the registry describes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import Masked

from astro_cluster.columns.registry import REGISTRY
from astro_cluster.exceptions import InputError, did_you_mean

__all__ = ["add_column", "check_free", "column_name", "require", "ucd_of", "with_info"]


def column_name(key: str, *, prefix: str = "", index: int | None = None) -> str:
    """Return the name of a registered column.

    Parameters
    ----------
    key : str
        Entry of `REGISTRY`.
    prefix : str, optional
        Put before the name, so that several runs stand side by side in one table.
    index : int, optional
        Running number, for patterns that have one.

    Returns
    -------
    str

    Examples
    --------
    >>> column_name("prob", prefix="gmm6_", index=2)
    'gmm6_prob_2'
    """
    return prefix + REGISTRY[key].pattern.format(index=index)


def require(table: Table, names: str | Iterable[str]) -> list[str]:
    """Return the names as a list, or say which are not columns of the table.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Table that should have the columns.
    names : str or iterable of str
        Wanted columns.

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        If a name is not a column; the message gives the nearest names.

    Examples
    --------
    >>> require(QTable({"ra": [1.0], "dec": [2.0]}), ["ra", "dec"])
    ['ra', 'dec']
    """
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        if name in table.colnames:
            continue
        shown = ", ".join(table.colnames[:40]) + (", …" if len(table.colnames) > 40 else "")
        raise InputError(
            f"there is no column {name!r}{did_you_mean(name, table.colnames)} The columns are: {shown}"
        )
    return names


def check_free(table: Table, names: Sequence[str], *, overwrite: bool = False) -> None:
    """Make sure, before the slow part of a step, that its columns can be added.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Table that the columns go to.
    names : sequence of str
        Names of the columns to come.
    overwrite : bool, optional
        Whether columns of the same name may be replaced.

    Raises
    ------
    InputError
        If a name is taken and ``overwrite`` is false.

    Examples
    --------
    >>> check_free(QTable({"ra": [1.0]}), ["cluster"])
    """
    taken = [name for name in names if name in table.colnames]
    if taken and not overwrite:
        raise InputError(
            f"the table already has the column{'s' if len(taken) > 1 else ''} {', '.join(taken)}: "
            "give another prefix (prefix='gmm6_', on the command line --prefix) "
            "or allow their replacement (overwrite=True, --overwrite-columns)"
        )


def add_column(
    table: QTable,
    key: str,
    data: Any,
    *,
    prefix: str = "",
    index: int | None = None,
    mask: np.ndarray | None = None,
    name: str | None = None,
    **words: str,
) -> str:
    """Add one registered column to the end of a table, in place.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Table of n rows that gets the column; one of the same name is replaced.
    key : str
        Entry of `REGISTRY`.
    data : (n, …) array or `~astropy.units.Quantity`
        Values; a Quantity is converted to the registered unit, a plain array is in it.
    prefix, index : optional
        As in `column_name`.
    mask : (n,) array of bool, optional
        Rows that the step could not use.
    name : str, optional
        Name to use instead of the registered pattern.
    **words : str
        Fill the words in braces of the description.

    Returns
    -------
    str
        Name of the column.

    Examples
    --------
    >>> t = QTable({"ra": [1.0, 2.0]})
    >>> add_column(t, "cluster", [0, 1], mask=np.array([False, True]), method="KMeans")
    'cluster'
    >>> t["cluster"].info.meta["ucd"]
    'meta.code.class'
    """
    spec = REGISTRY[key]
    name = name or column_name(key, prefix=prefix, index=index)
    description = spec.description.format(index=index, **words)
    if mask is None:
        mask = np.array(getattr(data, "mask", False))
    masked = bool(np.any(mask))
    if spec.unit is not None:
        column = u.Quantity(getattr(data, "unmasked", data), spec.unit)
        if masked:
            column = Masked(column, mask=mask)
    else:
        values = np.ma.getdata(np.asarray(getattr(data, "unmasked", data)))
        if masked:
            if mask.ndim == 1:
                mask = np.reshape(mask, (-1, *[1] * (values.ndim - 1)))
            full = np.broadcast_to(mask, values.shape)
            column = MaskedColumn(values, mask=full)
        else:
            column = Column(values)
    if name in table.colnames:
        table.remove_column(name)
    # A stack of images fills the memory: there is no room for it twice.
    table.add_column(column, name=name, copy=column.ndim < 3)
    table[name].info.description = description
    table[name].info.meta = {"ucd": spec.ucd}
    table[name].info.format = spec.form
    return name


def ucd_of(table: Table, name: str) -> str:
    """Return the UCD of a column, in lower case; empty if it has none.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.
    name : str
        One of its columns.

    Returns
    -------
    str

    Examples
    --------
    >>> ucd_of(QTable({"ra": [1.0]}), "ra")
    ''
    """
    return str((table[name].info.meta or {}).get("ucd", "")).lower()


def with_info(column: Any, like: Any) -> Any:
    """Give a column the description, metadata (UCD) and format of another.

    Parameters
    ----------
    column : `~astropy.table.Column`, `~astropy.units.Quantity` or a mixin
        Column that is changed in place.
    like : the same
        Where they are taken from.

    Returns
    -------
    object
        The changed column.

    Examples
    --------
    >>> with_info(Column([1]), Column([2.0], description="a number")).description
    'a number'
    """
    for attribute in ("description", "meta", "format"):
        setattr(column.info, attribute, getattr(like.info, attribute))
    return column
