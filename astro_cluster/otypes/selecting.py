"""Rows of a type, in the words of SIMBAD's own queries."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from astro_cluster.columns import require, ucd_of
from astro_cluster.exceptions import InputError
from astro_cluster.otypes.names import distinct, refuse, warn_unknown
from astro_cluster.otypes.queries import DESCENDANTS
from astro_cluster.otypes.snapshots import State, current
from astro_cluster.tables import Source, as_qtable

__all__ = ["otype_column", "otype_in"]

# In this order; those that a match added may have a prefix or a suffix.
_COLUMNS = ("otype", "main_type", "otype_txt", "otypes", "other_types", "alltypes")


def otype_column(table: Any) -> str:
    """Return the name of the column of SIMBAD's types.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.

    Returns
    -------
    str
        ``otype``, ``main_type``, ``otypes`` or ``other_types``; else the one with such a name in it, as
        ``simbad_otype`` or ``main_type_2``; else the one column of text with the UCD ``src.class``.

    Raises
    ------
    InputError
        If there is none, or more than one could be meant.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> otype_column(QTable({"name": ["a"], "main_type": ["QSO"]}))
    'main_type'
    """
    texts = [name for name in table.colnames if _is_text(table[name])]
    for wanted in _COLUMNS:
        if exact := [name for name in texts if name.lower() == wanted]:
            return exact[0]
    for wanted in _COLUMNS:
        near = [name for name in texts if re.search(rf"(^|[_.]){wanted}([_.\d]|$)", name.lower())]
        if near:
            return _only(near, table)
    return _only([name for name in texts if ucd_of(table, name).startswith("src.class")], table)


def _is_text(column: Any) -> bool:
    return getattr(column, "dtype", np.dtype(float)).kind in "USO" and len(column.shape) == 1


def _only(found: list[str], table: Any) -> str:
    """Return the one column that was found, or say that it is not the only one."""
    if len(found) == 1:
        return found[0]
    what = f"{', '.join(found)} could be meant" if found else "there is none"
    example = found[0] if found else "main_type"
    raise InputError(
        f"cannot tell the column of object types ({what}); name it (column={example!r}). The columns are: "
        f"{', '.join(table.colnames[:40])}{', …' if len(table.colnames) > 40 else ''}"
    )


def _wanted(state: State, pattern: Any, candidates: bool | Literal["only"]) -> set[str]:
    """Return the codes, old ones included, that a pattern takes in."""
    if not isinstance(pattern, str) or not pattern.strip():
        raise InputError(f"{pattern!r} is no type of objects; give one such as 'QSO' or 'Star..'")
    text = pattern.strip()
    # Until 2022 "..?" was a type.
    below = text.endswith(DESCENDANTS) and text != DESCENDANTS
    name = text.removesuffix(DESCENDANTS).strip() if below else text
    meant = state.names.get(name)
    if meant is None or meant.code is None:
        refuse(state.names, name)
    if meant.old is not None:  # not all that the wider type holds
        return {meant.old}
    tree = state.tree
    found = {meant.code, *(tree.descendants(meant.code) if below else ())}
    if tree.types[meant.code].is_candidate or not candidates:
        return found
    suspected = {code for code, one in tree.types.items() if one.is_candidate and one.path[-1] in found}
    return suspected if candidates == "only" else found | suspected


def otype_in(
    table: Source,
    types: str | Iterable[str],
    *,
    column: str | None = None,
    candidates: bool | Literal["only"] = False,
) -> np.ndarray:
    """Tell which rows are of a type, in the syntax of SIMBAD's queries.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        n rows with SIMBAD's types, in the names of today or of a few years ago.
    types : str or iterable of str
        A type in any spelling that `otypes.code_of` knows: ``"QSO"`` is this type only, ``"Star.."`` or
        ``"*.."`` the type and all below it, ``"Q?"`` the candidates.  Of several, any may hold.
    column : str, optional
        Column of the types, one a row or several with ``|`` between them, of which any may
        hold; found by its name or UCD if not given.
    candidates : bool or "only", optional
        Whether objects that are only suspected to be of the types are meant too.  SIMBAD's
        two dots leave them out.

    Returns
    -------
    (n,) array of bool
        False where there is no type.

    Raises
    ------
    InputError
        If a type is not known, or there is no such column.

    Warns
    -----
    AstroClusterWarning
        If the column holds names that are no types; such a name is of no type.

    Notes
    -----
    As in SIMBAD, ``"V*.."`` takes in the variable types that stand elsewhere in the hierarchy, such
    as RR Lyrae stars.  A type that SIMBAD has dropped since (``EB*Algol``) is found by
    its own name, and as one of the type that holds it today (``EB*``).

    Examples
    --------
    >>> from astropy.table import QTable
    >>> t = QTable({"main_type": ["Seyfert_1", "YSO", "AGN_Candidate", ""]})
    >>> otype_in(t, "AGN..").tolist(), otype_in(t, ["AGN..", "Star.."]).tolist()
    ([True, False, False, False], [True, True, False, False])
    >>> otype_in(t, "Galaxy..", candidates=True).tolist()
    [True, False, True, False]
    """
    if not (isinstance(candidates, (bool, np.bool_)) or candidates == "only"):
        raise InputError(f"candidates={candidates!r} is not known; give False, True or 'only'")
    patterns = list(types) if isinstance(types, Iterable) and not isinstance(types, str) else [types]
    if not patterns:
        raise InputError("no type was given; give one such as 'QSO' or 'Star..'")
    state = current()
    wanted = set().union(*(_wanted(state, pattern, candidates) for pattern in patterns))
    table = as_qtable(table)
    name = require(table, column)[0] if column is not None else otype_column(table)
    texts, at, counts = distinct(table[name])
    unknown: dict[str, int] = {}
    inside = np.zeros(max(len(texts), 1), dtype=bool)
    for i, (text, count) in enumerate(zip(texts, counts.tolist(), strict=True)):
        for part in {part.strip() for part in text.split("|")} - {""}:
            meant = state.names.get(part)
            if meant is None or meant.code is None:
                unknown[part] = unknown.get(part, 0) + count
            elif meant.code in wanted or meant.old in wanted:
                inside[i] = True
    warn_unknown(unknown, f"of column {name!r} are of no type by these names")
    return inside[at]
