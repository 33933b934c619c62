"""The one place that owns the join: row numbers in, joined table out."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Column, MaskedColumn, QTable
from astropy.time import Time, TimeDelta
from astropy.utils.masked import Masked

from astro_cluster.columns import add_column, ucd_of
from astro_cluster.exceptions import InputError
from astro_cluster.tables import derive

__all__ = [
    "JUDGEMENTS",
    "check_separation",
    "join",
    "judgement_name",
    "output_names",
    "split_coordinates",
    "take",
]


JUDGEMENTS = ("match_p_false", "match_p", "match_p_none")
_PROBABILITY = "stat.probability"


def judgement_name(key: str, separation: str) -> str:
    """Return what a column beside the separation is called.

    Parameters
    ----------
    key : {"match_p_false", "match_p", "match_p_none"}
        Entry of the registry of columns.
    separation : str
        Name of the separation column.

    Returns
    -------
    str

    Examples
    --------
    >>> judgement_name("match_p_false", "match_separation"), judgement_name("match_p", "gap")
    ('match_p_false', 'gap_p')
    """
    return separation.removesuffix("_separation") + key.removeprefix("match")


def check_separation(table: QTable, name: str, *, beside: Sequence[str] = (), overwrite: bool) -> None:
    """Make sure that the separation column and those beside it can be added.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        The local table.
    name : str
        Name of the column to come.
    beside : sequence of str, optional
        Names of those beside it.
    overwrite : bool
        Whether a column of that name may be replaced.

    Raises
    ------
    InputError
        If a name is taken and ``overwrite`` is false.

    Examples
    --------
    >>> check_separation(QTable({"ra": [1.0]}), "match_separation", overwrite=False)
    """
    taken = next((column for column in (name, *beside) if column in table.colnames), None)
    if taken and not overwrite:
        raise InputError(
            f"the table already has the column {taken!r}, of an earlier match perhaps: call the new one "
            "otherwise (separation='gaia_separation', --separation) or allow its replacement "
            "(overwrite=True, --overwrite-columns)"
        )


def output_names(
    local: Sequence[str],
    remote: Sequence[str],
    *,
    suffix: str,
    separation: str,
    beside: Sequence[str] = (),
) -> dict[str, str]:
    """Return what the remote columns are called in the joined table.

    Parameters
    ----------
    local, remote : sequence of str
        Columns of the two tables.
    suffix : str
        Put behind a remote name that the local table has too.
    separation : str
        Name of the separation column, which is taken as well.
    beside : sequence of str, optional
        Those of the columns beside it.

    Returns
    -------
    dict of str to str
        New name of each remote column, in their order.

    Raises
    ------
    InputError
        If a name is still taken with the suffix.

    Examples
    --------
    >>> output_names(["ra", "dec"], ["id", "ra"], suffix="_2", separation="match_separation")
    {'id': 'id', 'ra': 'ra_2'}
    """
    taken = {*local, separation, *beside}
    names = {name: name + suffix if name in taken else name for name in remote}
    clashes = [new for name, new in names.items() if new in taken or (new != name and new in names)]
    if clashes:
        raise InputError(
            f"the remote columns {', '.join(clashes)} would meet columns of the same name: give another "
            f"suffix (suffix='_gaia', --suffix; it is {suffix!r} now) or choose columns (columns=, --columns)"
        )
    return names


def split_coordinates(table: QTable) -> QTable:
    """Return a table whose SkyCoord columns are two columns of degrees each.

    A match without counterpart is masked, and no file format keeps a masked SkyCoord.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table; it stays untouched.

    Returns
    -------
    `~astropy.table.QTable`
        The same table if it has no SkyCoord column.

    Examples
    --------
    >>> split_coordinates(QTable({"pos": SkyCoord([1, 2] * u.deg, [3, 4] * u.deg)})).colnames
    ['pos_ra', 'pos_dec']
    """
    if not any(isinstance(table[name], SkyCoord) for name in table.colnames):
        return table
    out = QTable()
    for name in table.colnames:
        column = table[name]
        if not isinstance(column, SkyCoord):
            out[name] = column
            continue
        icrs = column.icrs
        if clash := {f"{name}_ra", f"{name}_dec"} & set(table.colnames):
            raise InputError(
                f"the positions {name!r} of the reference come as {name}_ra and {name}_dec, but it has the "
                f"column {', '.join(sorted(clash))} too; choose columns (columns=, --columns)"
            )
        for axis, values in (("ra", icrs.ra), ("dec", icrs.dec)):
            out[f"{name}_{axis}"] = values.to(u.deg).view(Masked(u.Quantity) if column.masked else u.Quantity)
            out[f"{name}_{axis}"].info.meta = {"ucd": f"pos.eq.{axis}"}
            out[f"{name}_{axis}"].info.description = f"{axis.upper()} (ICRS) of {name}"
    return out


def _values(column: Any, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bare values at some rows, and where they are masked; row -1 is nowhere."""
    found = rows >= 0
    bare = column.unmasked if isinstance(column, Masked) else column
    bare = np.ma.getdata(np.asarray(getattr(bare, "value", bare)))
    values = np.zeros((len(rows), *bare.shape[1:]), dtype=bare.dtype)
    if bare.dtype.kind == "f":
        values[...] = np.nan
    elif bare.dtype.kind == "O":
        values[...] = ""
    values[found] = bare[rows[found]]
    mask = np.zeros(values.shape, dtype=bool)
    mask[~found] = True
    if getattr(column, "mask", None) is not None:
        mask[found] = np.broadcast_to(column.mask, bare.shape)[rows[found]]
    return values, mask


def _take_time(column: Time, rows: np.ndarray) -> Time:
    if not len(column):
        raise InputError(
            f"the empty reference column {column.info.name!r} of times cannot be joined; leave it out"
        )
    taken = column[np.maximum(rows, 0)]
    if (rows < 0).any():
        taken[rows < 0] = np.ma.masked
    return taken


def take(column: Any, rows: np.ndarray) -> Any:
    """Return the rows of a column, in any order and number; row -1 gives a masked value.

    Parameters
    ----------
    column : (n, …) `~astropy.table.Column`, `~astropy.units.Quantity`, their masked kinds or Time
        The column.
    rows : (m,) array of int
        Row numbers.

    Returns
    -------
    (m, …) object
        A column of the same kind, masked if need be; unit, UCD and description are kept.

    Raises
    ------
    InputError
        If the column is of another kind.

    Examples
    --------
    >>> take(Column(["AGN", "Star"]), np.array([1, -1, 0])).tolist()
    ['Star', None, 'AGN']
    """
    if isinstance(column, (Time, TimeDelta)):
        taken = _take_time(column, rows)
    elif isinstance(column, u.Quantity):
        values, mask = _values(column, rows)
        taken = values << column.unit
        if mask.any():
            taken = Masked(taken, mask=mask)
    elif isinstance(column, Column):
        values, mask = _values(column, rows)
        taken = Column(values, unit=column.unit)
        if mask.any():
            taken = MaskedColumn(values, mask=mask, unit=column.unit)
    else:
        raise InputError(
            f"the reference column {column.info.name!r} is a {type(column).__name__}, which cannot be "
            "joined; choose others (columns=, --columns)"
        )
    taken.info.description = column.info.description
    taken.info.format = column.info.format
    # Astropy's own notes on how a string was stored say nothing about the joined column.
    meta = {k: v for k, v in (column.info.meta or {}).items() if not str(k).startswith("_votable")}
    taken.info.meta = copy.deepcopy(meta)
    return taken


def join(
    local: QTable,
    local_rows: np.ndarray | None,
    remote: QTable,
    remote_rows: np.ndarray,
    separation: np.ndarray,
    *,
    names: Mapping[str, str],
    separation_name: str,
    reference: str,
    judged: Mapping[str, np.ndarray] | None = None,
) -> QTable:
    """Return a new table: local columns, then remote ones, then the separation and what judges it.

    Parameters
    ----------
    local, remote : `~astropy.table.QTable`
        The two tables; they stay untouched.
    local_rows : (m,) array of int, optional
        Rows of the local table; all of them in order if not given.
    remote_rows : (m,) array of int
        Rows of the remote table that stand beside them; -1 for none.
    separation : (m,) array of float
        In arcsec; ignored where there is no remote row.
    names : mapping of str to str
        Remote columns to bring, and their new names.
    separation_name : str
        Name of the separation column; one of that name is replaced.
    reference : str
        What the remote table is called in the description of the separation.
    judged : mapping of str to (m,) array of float, optional
        Columns that stand behind the separation, by their entry in the registry; NaN is masked.

    Returns
    -------
    `~astropy.table.QTable`

    Examples
    --------
    >>> out = join(QTable({"a": [1, 2]}), None, QTable({"b": [7]}), np.array([-1, 0]), np.array([0, 0.5]),
    ...            names={"b": "b"}, separation_name="match_separation", reference="memory")
    >>> out.colnames, out["b"].tolist()
    (['a', 'b', 'match_separation'], [None, 7])
    """
    out = derive(local) if local_rows is None else derive(local[local_rows])
    if separation_name in out.colnames:
        # What judged an earlier match says nothing about the new separations; gaia_p may also be a period.
        stale = [judgement_name(key, separation_name) for key in JUDGEMENTS]
        stale = [name for name in stale if name in out.colnames and ucd_of(out, name) == _PROBABILITY]
        out.remove_columns([separation_name, *stale])
    for name, new in names.items():
        out[new] = take(remote[name], remote_rows)
    missing = remote_rows < 0
    arcsec = np.where(missing, np.nan, separation)
    add_column(out, "match_separation", arcsec, mask=missing, name=separation_name, reference=reference)
    for key, values in (judged or {}).items():
        name = judgement_name(key, separation_name)
        add_column(out, key, values, mask=np.isnan(values), name=name, reference=reference)
    return out
