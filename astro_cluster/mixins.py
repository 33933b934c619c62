"""SkyCoord, Time and other mixin columns, taken apart for files that know plain columns only."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io.misc import yaml
from astropy.table import Column, MaskedColumn, QTable
from astropy.table.serialize import (
    SerializedColumn,
    _construct_mixins_from_columns,
    represent_mixins_as_columns,
)
from astropy.time import Time
from astropy.utils.masked import Masked

from astro_cluster.columns import with_info
from astro_cluster.exceptions import InputError

__all__ = [
    "as_text",
    "component_names",
    "join_mixins",
    "mixin_parts",
    "restore_unit",
    "split_mixins",
    "with_legal_unit",
]

_UCD_OF_COMPONENT = {
    "ra": "pos.eq.ra",
    "dec": "pos.eq.dec",
    "l": "pos.galactic.lon",
    "b": "pos.galactic.lat",
}


def _describe(part: Column | u.Quantity, component: str, name: str, column: object, *, main: bool) -> None:
    if isinstance(column, SkyCoord):
        part.info.description = part.info.description or f"{component} of {name}"
        if ucd := _UCD_OF_COMPONENT.get(component):
            part.info.meta = {"ucd": ucd + (";meta.main" if main else "")}
    elif isinstance(column, Time):
        part.info.meta = {"ucd": "time.epoch"}


def split_mixins(table: QTable) -> tuple[QTable, str, dict[str, str]]:
    """Replace SkyCoord, Time and other mixin columns by plain ones.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.

    Returns
    -------
    table : `~astropy.table.QTable`
        Columns and Quantities only; a column ``pos`` of coordinates becomes ``pos.ra`` and
        ``pos.dec``.  The given table itself if it has no mixin.
    layout : str
        What `join_mixins` needs; empty if there was nothing to do.
    frames : dict of str to str
        Name of the frame of each component of a position.

    Raises
    ------
    InputError
        If a part would have the name of another column.

    Examples
    --------
    >>> plain, layout, frames = split_mixins(QTable({"pos": SkyCoord([1.0], [2.0], unit="deg")}))
    >>> plain.colnames, frames
    (['pos.ra', 'pos.dec'], {'pos.ra': 'icrs', 'pos.dec': 'icrs'})
    """
    mixins = [n for n in table.colnames if not isinstance(table[n], (Column, u.Quantity))]
    if not mixins:
        return table, "", {}
    positions = [n for n in mixins if isinstance(table[n], SkyCoord)]
    out = QTable(meta=table.meta)
    layout: dict[str, object] = {}
    frames: dict[str, str] = {}
    for name in table.colnames:
        if name not in mixins:
            out[name] = table[name]
            continue
        plain = represent_mixins_as_columns(QTable({name: table[name]}), exclude_classes=(u.Quantity,))
        layout.update(plain.meta.pop("__serialized_columns__"))
        if clash := set(plain.colnames) & (set(table.colnames) - {name}):
            raise InputError(
                f"column {name!r} is written in parts, and {', '.join(sorted(clash))} is the name of a "
                "part and of another column; rename that one"
            )
        for part in plain.colnames:
            out[part] = plain[part]
            _describe(
                out[part], part.removeprefix(f"{name}."), name, table[name], main=positions[:1] == [name]
            )
            if name in positions:
                frames[part] = table[name].frame.name
    return out, yaml.dump(layout), frames


def component_names(layout: object) -> list[str]:
    """Return the plain columns that a mixin column is made of, however deep they stand in its layout.

    Parameters
    ----------
    layout : object
        What astropy keeps of one column under ``__serialized_columns__``.

    Returns
    -------
    list of str

    Examples
    --------
    >>> component_names({"ra": SerializedColumn(name="pos.ra"), "frame": "icrs"})
    ['pos.ra']
    """
    return _component_names(layout, set())


def _component_names(layout: object, seen: set[int]) -> list[str]:
    if isinstance(layout, SerializedColumn) and "name" in layout:
        return [str(layout["name"])]
    if not isinstance(layout, dict) or id(layout) in seen:  # YAML may name one thing many times
        return []
    seen.add(id(layout))
    return [name for item in layout.values() for name in _component_names(item, seen)]


def mixin_parts(layout: str) -> dict[str, list[str]]:
    """Return the plain columns that the mixin columns of a table are made of.

    Parameters
    ----------
    layout : str
        What `split_mixins` gave; empty if there are none.

    Returns
    -------
    dict of str to list of str

    Examples
    --------
    >>> _, layout, _ = split_mixins(QTable({"pos": SkyCoord([1.0], [2.0], unit="deg")}))
    >>> mixin_parts(layout)
    {'pos': ['pos.dec', 'pos.ra']}
    """
    known: dict[str, object] = yaml.load(layout) if layout else {}
    return {name: component_names(layout_of) for name, layout_of in known.items()}


def join_mixins(table: QTable, layout: str) -> QTable:
    """Rebuild the mixin columns that `split_mixins` took apart.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Table with the plain columns.
    layout : str
        What `split_mixins` gave.  astropy's safe loader reads it: it makes no object but
        astropy's own.

    Returns
    -------
    `~astropy.table.QTable`
        A mixin of which a part has been removed since stays in parts.

    Examples
    --------
    >>> plain, layout, _ = split_mixins(QTable({"pos": SkyCoord([1.0], [2.0], unit="deg")}))
    >>> join_mixins(plain, layout)["pos"].dec
    <Latitude [2.] deg>
    """
    known: dict[str, dict[str, object]] = yaml.load(layout)
    parts_of = mixin_parts(layout)
    whole = {name: parts for name, parts in parts_of.items() if set(parts) <= set(table.colnames)}
    # As they stand in the table, whose columns may have been moved.
    whole = {name: [c for c in table.colnames if c in parts] for name, parts in whole.items()}
    first = {parts[0]: name for name, parts in whole.items() if parts}
    hidden = {part for parts in whole.values() for part in parts}
    order = [first.get(name, name) for name in table.colnames if name in first or name not in hidden]
    joined = QTable(table, copy=False)
    joined.meta["__serialized_columns__"] = {name: known[name] for name in whole}
    return QTable(_construct_mixins_from_columns(joined), copy=False)[order]


def as_text(name: str, column: Column) -> Column:
    """Turn a column of Python objects into one of text, None masked.

    Parameters
    ----------
    name : str
        Name of the column, for the error.
    column : (n,) `~astropy.table.Column`
        Column with the data type object.

    Returns
    -------
    (n,) `~astropy.table.Column`
        A MaskedColumn if anything is masked.

    Raises
    ------
    InputError
        If an object is no string.

    Examples
    --------
    >>> as_text("s", Column(["a", None], dtype=object)).mask.tolist()
    [False, True]
    """
    data = np.ma.getdata(np.ma.asarray(column))
    hidden = np.array(np.broadcast_to(getattr(column, "mask", False), data.shape))
    hidden = hidden | np.reshape([item is None for item in data.ravel()], data.shape).astype(bool)
    items = ["" if skip else item for item, skip in zip(data.ravel(), hidden.ravel(), strict=True)]
    if not all(isinstance(item, str) for item in items):
        raise InputError(
            f"column {name!r} holds Python objects, which this kind of file cannot; turn it into numbers or "
            "strings, or leave it out (arrays of numbers that vary in length: write a VOTable)"
        )
    text = np.array(items, dtype=str).reshape(data.shape)
    return with_info(MaskedColumn(text, mask=hidden) if hidden.any() else Column(text), column)


def with_legal_unit(column: Any, style: str) -> tuple[Any, bool]:
    """Return a column whose unit can be written in a style, and whether that says all.

    Parameters
    ----------
    column : (n, …) `~astropy.table.Column` or `~astropy.units.Quantity`
        Any column.
    style : {"fits", "vounit"}
        How the file spells units.

    Returns
    -------
    column : the same, or a `~astropy.table.Column` without a unit
        The latter if the style has no word for it.
    exact : bool
        Whether the unit is read back as it is; else its text must be kept elsewhere.

    Examples
    --------
    >>> with_legal_unit(Column([1.0], unit="earthMass"), "vounit")[1]
    False
    """
    unit = column.info.unit
    if unit is None:
        return column, True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)
        try:
            text = u.Unit(unit).to_string(style)
            back = u.Unit(text, format=style)
            if str(back) == str(unit):
                return column, True
            if back == unit and not isinstance(unit, u.UnrecognizedUnit):
                return column, False
        except (ValueError, TypeError, u.UnitsError):
            pass
    mask = getattr(column, "mask", None)
    bare = getattr(column, "unmasked", column)
    values = np.ma.getdata(np.asarray(getattr(bare, "value", bare)))
    plain = Column(values) if mask is None or not np.any(mask) else MaskedColumn(values, mask=mask)
    return with_info(plain, column), False


def restore_unit(column: Any, text: str) -> Any:
    """Give a column that was read the unit that it had before it was written.

    Parameters
    ----------
    column : (n, …) `~astropy.table.Column` or `~astropy.units.Quantity`
        As it was read.
    text : str
        Its unit, as ``str(unit)`` gives it; empty if none.

    Returns
    -------
    `~astropy.table.Column` or `~astropy.units.Quantity`
        The numbers are the same; a text that is no unit is kept as an unrecognized one.

    Examples
    --------
    >>> restore_unit(Column([1.0]), "earthMass").unit
    Unit("earthMass")
    """
    if str(column.info.unit or "") == text:
        return column
    unit = u.Unit(text, parse_strict="silent") if text else None
    mask = getattr(column, "mask", None)
    bare = getattr(column, "unmasked", column)
    values = np.ma.getdata(np.asarray(getattr(bare, "value", bare)))
    if unit is None or isinstance(unit, u.UnrecognizedUnit) or values.dtype.kind not in "fiuc":
        plain = Column(values) if mask is None or not np.any(mask) else MaskedColumn(values, mask=mask)
        plain.unit = unit
        return with_info(plain, column)
    quantity = values * unit
    if mask is not None and np.any(mask):
        quantity = Masked(quantity, mask=mask)
    return with_info(quantity, column)
