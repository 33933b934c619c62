"""VOTables without data, which describe the columns of a table that stands in another file."""

from __future__ import annotations

import io
import warnings
from typing import Any

from astropy import units as u
from astropy.io import votable as astropy_votable
from astropy.io.votable.exceptions import VOWarning
from astropy.table import QTable

from astro_cluster.mixins import restore_unit
from astro_cluster.votable.decode import in_order, nothing
from astro_cluster.votable.document import Document
from astro_cluster.votable.layout import cells_of
from astro_cluster.votable.read import as_input_error, restored, unrestored
from astro_cluster.votable.scan import scan

__all__ = ["describe"]

_MAX_BYTES = 2**28


def describe(table: QTable, head: bytes, *, number: int = 0) -> tuple[QTable, dict[str, str]]:
    """Give a table the units, UCDs and descriptions that a VOTable without data has of it.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        As it was read from a file that has no words for them; changed in place.
    head : bytes
        A VOTable, whose data are not read.
    number : int, optional
        Which of its tables is meant.

    Returns
    -------
    table : `~astropy.table.QTable`
        Fields and columns belong together by their names, or by their order if the names differ.
        What was a SkyCoord or a Time before it was written is one again.
    infos : dict of str to str
        The INFO elements by name.

    Raises
    ------
    InputError
        If the VOTable is damaged, or has what is refused in every VOTable.

    Examples
    --------
    >>> from astro_cluster.votable import write_head
    >>> head = write_head(QTable({"ra": [1.0] * u.deg}), infos={"note": "simulated"})
    >>> table, infos = describe(QTable({"ra": [10.0, 20.0]}), head)
    >>> table["ra"].unit, infos
    (Unit("deg"), {'note': 'simulated'})
    """
    known, infos = _known(head, number)
    if known is None:
        return table, {}
    pairs = _pairs(table.colnames, known.colnames)
    for name, other in pairs.items():
        _describe_column(table, name, known[other])
    for key in ("name", "description"):
        if key in known.meta:
            table.meta[key] = known.meta[key]
    with as_input_error(head):
        return restored(table, infos), infos


def _known(head: bytes, number: int) -> tuple[QTable | None, dict[str, str]]:
    """Return a table without rows that says what is known of the columns."""
    with as_input_error(head), warnings.catch_warnings(), Document(head, max_bytes=_MAX_BYTES) as document:
        warnings.simplefilter("ignore", VOWarning)
        warnings.filterwarnings("ignore", message=".*deprecated in the VOUnit", category=u.UnitsWarning)
        skeleton = scan(document)
        tree = astropy_votable.parse(io.BytesIO(skeleton.head()), verify="ignore")
        elements, ordered = list(tree.iter_tables()), in_order(tree)
        if number >= len(elements):
            return None, {}
        index = next(i for i, other in enumerate(ordered) if other is elements[number])
        cells = cells_of(ordered, index, skeleton.texts)
        return unrestored(tree, elements[number], [nothing(cell) for cell in cells])


def _pairs(names: list[str], known: list[str]) -> dict[str, str]:
    """Return which field describes which column."""
    if len(names) == len(known) and not set(names) <= set(known):
        return dict(zip(names, known, strict=True))
    return {name: name for name in names if name in known}


def _describe_column(table: QTable, name: str, about: Any) -> None:
    column = table[name]
    if about.info.unit is not None and getattr(column, "dtype", None) is not None:
        table.replace_column(name, restore_unit(column, str(about.info.unit)))
        column = table[name]
    column.info.description = about.info.description or column.info.description
    meta = {key: value for key, value in (about.info.meta or {}).items() if key != "values"}
    column.info.meta = {**(column.info.meta or {}), **meta}
