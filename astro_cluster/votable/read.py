"""Reading a VOTable: its header by astropy, its data by loops of our own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import votable as astropy_votable
from astropy.io.votable.exceptions import VOWarning
from astropy.io.votable.tree import TableElement, VOTableFile
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import Masked

from astro_cluster.columns import with_info
from astro_cluster.config import conf
from astro_cluster.exceptions import InputError
from astro_cluster.mixins import join_mixins, restore_unit
from astro_cluster.votable.decode import in_order, read_data
from astro_cluster.votable.document import Document, Source
from astro_cluster.votable.filling import Filled
from astro_cluster.votable.layout import cells_of
from astro_cluster.votable.scan import scan
from astro_cluster.votable.texts import LAYOUT, MASKED_TEXT, UNITS, public
from astro_cluster.votable.units import check_unit, mend_units

__all__ = ["as_input_error", "read_votable", "restored", "unrestored"]


@contextlib.contextmanager
def as_input_error(source: Source) -> Iterator[None]:
    """Turn whatever a parser says of a broken document into one error that names it.

    Parameters
    ----------
    source : str, path, bytes or binary file
        The document.

    Raises
    ------
    InputError
        For every exception but those of memory, files and warnings that the user made errors.
    """
    path = f"{os.fspath(source)}" if isinstance(source, (str, os.PathLike)) else ""
    try:
        yield
    except InputError as error:
        if not path or path in str(error):
            raise
        raise InputError(f"{path}: {error}") from error
    except (MemoryError, OSError):
        raise
    except Exception as error:
        if isinstance(error, Warning) and not isinstance(error, (ValueError, VOWarning)):
            raise  # a warning that the user has turned into an error
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(
            f"{path or 'the VOTable'} cannot be read as votable: {reason}. It may be cut short or damaged"
        ) from error


def read_votable(
    source: Source, *, table: int = 0, max_bytes: int | None = None
) -> tuple[QTable, dict[str, str]]:
    """Read one table of a VOTable and the INFO elements that stand with it.

    Parameters
    ----------
    source : str, path, bytes or binary file
        What to read, in any serialisation; gzip too.
    table : int, optional
        Number of the table in the document.
    max_bytes : int, optional
        How many bytes it may have, unpacked; ``conf.max_votable_bytes`` if not given.

    Returns
    -------
    table : `~astropy.table.QTable`
        Names rather than IDs are used for the columns, unless names occur twice.  Texts of varying
        length are as wide as the longest; other cells of varying length are arrays in a column of
        objects.
    infos : dict of str to str
        The INFO elements by name.

    Raises
    ------
    InputError
        If the document has no such table, is damaged, cut short or too large, has a DOCTYPE,
        entities or a STREAM at another address, or declares what it does not hold.

    Warns
    -----
    AstroClusterWarning
        Which units are not understood.

    Examples
    --------
    >>> import io
    >>> from astro_cluster.votable import write_votable
    >>> file = io.BytesIO()
    >>> write_votable(QTable({"ra": [1.0] * u.deg}), file, infos={"note": "simulated"})
    >>> table, infos = read_votable(io.BytesIO(file.getvalue()))
    >>> table["ra"].unit, infos["note"]
    (Unit("deg"), 'simulated')
    """
    limit = int(conf.max_votable_bytes) if max_bytes is None else max_bytes
    with as_input_error(source), warnings.catch_warnings(), Document(source, max_bytes=limit) as document:
        # Published tables bend the standard in a hundred harmless ways; what cannot be read raises.
        warnings.simplefilter("ignore", VOWarning)
        warnings.filterwarnings("ignore", message=".*deprecated in the VOUnit", category=u.UnitsWarning)
        skeleton = scan(document)
        tree = astropy_votable.parse(io.BytesIO(skeleton.head()), verify="ignore")
        elements = list(tree.iter_tables())
        if not 0 <= table < len(elements):
            raise InputError(f"the VOTable holds {len(elements)} tables; there is no table number {table}")
        element, ordered = elements[table], in_order(tree)
        number = next(i for i, other in enumerate(ordered) if other is element)
        cells = cells_of(ordered, number, skeleton.texts)
        columns = read_data(document, skeleton, number, cells, max_bytes=limit)
        plain, infos = unrestored(tree, element, columns)
        return restored(plain, infos), infos


def unrestored(
    tree: VOTableFile, element: TableElement, columns: list[Filled]
) -> tuple[QTable, dict[str, str]]:
    """Put the columns of a table together with what its document says of them.

    Parameters
    ----------
    tree : `~astropy.io.votable.tree.VOTableFile`
        The document.
    element : `~astropy.io.votable.tree.TableElement`
        Its table.
    columns : list of (values, mask)
        Its data; emptied.

    Returns
    -------
    table : `~astropy.table.QTable`
        Plain columns.
    infos : dict of str to str
        All of them, those that `restored` needs too.
    """
    plain = _plain_table(element, columns)
    _note_frames(plain, tree, element)
    infos = {info.name: str(info.value) for res in tree.resources for info in res.infos if info.name}
    # TOPCAT keeps them too when it saves a table, as parameters.
    infos |= {p.name: str(p.value) for p in element.params if str(p.name).startswith("astro_cluster_")}
    mend_units(plain)
    result = _as_qtable(plain)
    for name in result.colnames:
        result[name].info.meta = public(result[name].info.meta)
        if result[name].info.description:  # XML breaks the lines of a long one
            result[name].info.description = " ".join(result[name].info.description.split())
    for name in result.colnames:
        if hasattr(result[name], "mask"):
            result.replace_column(name, _unmasked(result[name]))
    return result, infos


def restored(result: QTable, infos: dict[str, str]) -> QTable:
    """Return a table as it was before `write_votable` wrote it.

    Parameters
    ----------
    result : `~astropy.table.QTable`
        Plain columns.
    infos : dict of str to str
        Its notes are taken out of them.

    Returns
    -------
    `~astropy.table.QTable`
    """
    for name, text in json.loads(infos.pop(UNITS, "{}")).items():
        if name in result.colnames:
            check_unit(str(text))
            result.replace_column(name, restore_unit(result[name], str(text)))
    for name in json.loads(infos.pop(MASKED_TEXT, "[]")):
        if name in result.colnames and result[name].dtype.kind in "US":
            text = result[name]
            masked = MaskedColumn(text, mask=np.asarray(text) == "", copy=False)
            result.replace_column(name, with_info(masked, text))
    if LAYOUT not in infos:
        return result
    layout = json.loads(infos.pop(LAYOUT))
    for unit in re.findall(r"unit:(.*)", layout):
        check_unit(unit)
    return join_mixins(result, layout)


def _plain_table(element: TableElement, columns: list[Filled]) -> Table:
    names = [field.name for field in element.fields]
    if len(set(names)) != len(names):
        names = [field.ID for field in element.fields]
    meta = {key: getattr(element, key, None) for key in ("ID", "name", "ref", "ucd", "utype", "description")}
    plain = Table(meta={key: value for key, value in meta.items() if value is not None})
    for name, field in zip(names, element.fields, strict=True):
        values, mask = columns.pop(0)
        column = Column(values, copy=False) if mask is None else MaskedColumn(values, mask=mask, copy=False)
        plain[name] = column
        field.to_table_column(plain[name])
    return plain


def _as_qtable(plain: Table) -> QTable:
    """Return the table with Quantities; columns are taken out of the given one, one after the other."""
    result = QTable(meta=plain.meta)
    for name in plain.colnames:
        column = plain[name]
        plain.remove_column(name)
        result[name] = QTable([column], names=[name], copy=False)[name]
    return result


def _note_frames(plain: Table, tree: VOTableFile, element: TableElement) -> None:
    """Note in a column's meta the system of coordinates, where it is not the usual one."""
    systems = {
        system.ID: f"{system.system} {system.equinox or ''}".strip()
        for group in (tree, *tree.resources)
        for system in getattr(group, "coordinate_systems", [])
    }
    for element_field, name in zip(element.fields, plain.colnames, strict=True):
        system = systems.get(element_field.ref)
        if system and not system.startswith("ICRS"):
            plain[name].meta["coosys"] = system


def _unmasked(column: Any) -> Any:
    """Return a column in which nothing is masked as one that knows no masks."""
    if np.any(column.mask):
        return column
    plain = column.unmasked if isinstance(column, Masked) else Column(np.ma.getdata(column))
    if not isinstance(column, Masked):
        plain.unit = column.unit
    return with_info(plain, column)
