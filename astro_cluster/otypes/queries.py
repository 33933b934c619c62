"""What the types are called, what holds them, and what they hold."""

from __future__ import annotations

from collections.abc import Callable
from operator import index as as_integer
from typing import Any

import numpy as np
from astropy.table import MaskedColumn, QTable

from astro_cluster.columns import add_column
from astro_cluster.exceptions import InputError
from astro_cluster.otypes.names import as_column, refuse, resolved, warn_unknown
from astro_cluster.otypes.snapshots import State, current
from astro_cluster.otypes.tree import SEPARATOR

__all__ = [
    "DESCENDANTS",
    "ancestors",
    "checked_level",
    "code_of",
    "descendants",
    "fold",
    "folded_texts",
    "hierarchy",
    "is_candidate",
    "label_of",
]

DESCENDANTS = ".."


def _the_one(state: State, name: Any) -> str:
    """Return the code of a type, or say that there is none."""
    if not isinstance(name, str):
        raise InputError(f"{name!r} is no type of objects; give a name such as 'QSO' or 'Seyfert1'")
    meant = state.names.get(name.strip())
    if meant is None or meant.code is None:
        refuse(state.names, name.strip())
    return meant.code


def _each(state: State, names: Any, value: Callable[[str], str], description: str) -> MaskedColumn:
    """Return a value for each name of a column, masked and warned of where the name is no type."""
    meant, at, unknown = resolved(state.names, names)
    warn_unknown(unknown, "are masked", stacklevel=4)
    values = [value(one.code) if one is not None and one.code is not None else None for one in meant]
    return as_column(values, at, description)


def code_of(names: Any) -> str | MaskedColumn:
    """Return the codes of types, however they are spelled.

    Parameters
    ----------
    names : str or (n,) array-like of str
        Codes (``Sy1``), labels (``Seyfert1``), descriptions, the names and codes until 2022
        (``Seyfert_1``, ``EB*Algol``, ``Candidate_YSO``, ``YSO_Candidate``), in any case and with
        blanks around them.

    Returns
    -------
    str or (n,) `~astropy.table.MaskedColumn`
        Codes of today: ``Sy1``.  Those of candidates are their own: ``Y*?``.  A type that has been
        dropped gets the code of the one that holds it now: ``EB*Algol`` is ``EB*``.
        Masked where there is no name, or it is not known.

    Raises
    ------
    InputError
        If a single name is not known; the nearest are proposed.

    Warns
    -----
    AstroClusterWarning
        Names of a column that are not known, and how many rows have them.

    Examples
    --------
    >>> code_of("Seyfert_1"), code_of("candidate_yso")
    ('Sy1', 'Y*?')
    >>> code_of(["QSO ", "EB*Algol", ""]).tolist()
    ['QSO', 'EB*', None]
    """
    state = current()
    if isinstance(names, str):
        return _the_one(state, names)
    return _each(state, names, lambda code: code, "Object type (code of SIMBAD)")


def label_of(names: Any) -> str | MaskedColumn:
    """Return the labels that types have today, however they are spelled.

    Parameters
    ----------
    names : str or (n,) array-like of str
        As for `code_of`.

    Returns
    -------
    str or (n,) `~astropy.table.MaskedColumn`
        Labels: ``Seyfert1``, ``YSO_Candidate``.

    Raises
    ------
    InputError
        As `code_of`.

    Warns
    -----
    AstroClusterWarning
        As `code_of`.

    Examples
    --------
    >>> label_of("Sy1"), label_of("TTau*"), label_of("Q?")
    ('Seyfert1', 'TTauri*', 'QSO_Candidate')
    """
    state = current()
    if isinstance(names, str):
        return state.tree.types[_the_one(state, names)].label
    return _each(state, names, lambda code: state.tree.types[code].label, "Object type (label of SIMBAD)")


def is_candidate(names: Any) -> bool | np.ndarray:
    """Tell which types are only suspected.

    Parameters
    ----------
    names : str or (n,) array-like of str
        As for `code_of`.

    Returns
    -------
    bool or (n,) array of bool
        False also where there is no name, or it is not known.

    Raises
    ------
    InputError
        As `code_of`.

    Warns
    -----
    AstroClusterWarning
        As `code_of`.

    Examples
    --------
    >>> is_candidate("Candidate_YSO"), is_candidate(["AG?", "AGN", ""]).tolist()
    (True, [True, False, False])
    """
    state = current()
    if isinstance(names, str):
        return state.tree.types[_the_one(state, names)].is_candidate
    meant, at, unknown = resolved(state.names, names)
    warn_unknown(unknown, "count as no candidates")
    suspected = [bool(one and one.code and state.tree.types[one.code].is_candidate) for one in meant]
    return np.array(suspected or [False])[at]


def ancestors(name: str) -> tuple[str, ...]:
    """Return the types that hold one.

    Parameters
    ----------
    name : str
        In any spelling that `code_of` knows.

    Returns
    -------
    tuple of str
        Codes, the nearest first.  That of a candidate is the type that it may be.  Types that
        SIMBAD also finds under another one have that at the end.

    Raises
    ------
    InputError
        If the type is not known.

    Examples
    --------
    >>> ancestors("Seyfert1"), ancestors("Q?"), ancestors("RRLyrae")
    (('SyG', 'AGN', 'G'), ('QSO', 'AGN', 'G'), ('HB*', 'Ev*', '*', 'V*'))
    """
    state = current()
    return state.tree.ancestors(_the_one(state, name))


def descendants(name: str, *, candidates: bool = False) -> tuple[str, ...]:
    """Return the types that one holds.

    Parameters
    ----------
    name : str
        In any spelling that `code_of` knows.
    candidates : bool, optional
        With those that are only suspected, of the type itself too.

    Returns
    -------
    tuple of str
        Codes, in the order of SIMBAD's list, without that of the type itself.

    Raises
    ------
    InputError
        If the type is not known.

    Examples
    --------
    >>> descendants("AGN")
    ('SyG', 'Sy1', 'Sy2', 'rG', 'LIN', 'QSO', 'Bla', 'BLL')
    >>> descendants("QSO", candidates=True)
    ('Q?', 'Bla', 'Bz?', 'BLL', 'BL?')
    """
    state = current()
    return state.tree.descendants(_the_one(state, name), candidates=candidates)


def checked_level(level: Any) -> int:
    """Return a level of the hierarchy as an int, or say that it is none.

    Parameters
    ----------
    level : int
        0 or more.

    Returns
    -------
    int

    Raises
    ------
    InputError
        If it is no whole number, or negative.

    Examples
    --------
    >>> checked_level(1)
    1
    """
    try:
        number = -1 if isinstance(level, (bool, np.bool_)) else as_integer(level)
    except TypeError:
        number = -1
    if number < 0:
        raise InputError(
            f"level={level!r} is no level of the hierarchy of types: 0 is the widest types (Star, Galaxy), "
            "1 those below them (YSO, AGN), and so on"
        )
    return number


def fold(types: Any, level: int, *, candidates: bool = True) -> str | MaskedColumn:
    """Replace types by those that hold them at a level of the hierarchy.

    Parameters
    ----------
    types : str or (n,) array-like of str
        In any spelling that `code_of` knows.
    level : int
        0 for the widest types (``*``, ``G``, ``X`` …), 1 for those below them (``Y*O``, ``AGN`` …), and so
        on.  Types above the level stay as they are.
    candidates : bool, optional
        Whether candidates stay candidates, of the wider type: ``Q?`` (a quasar perhaps) becomes ``AG?``
        at level 1.  Where a type has no such form, they become the type: a supernova
        perhaps, ``SN?``, is a star at level 0.  If not, candidates count as their types.

    Returns
    -------
    str or (n,) `~astropy.table.MaskedColumn`
        Codes; masked where there is no name, or it is not known.

    Raises
    ------
    InputError
        If the level is no whole number from 0, or a single name is not known.

    Warns
    -----
    AstroClusterWarning
        As `code_of`.

    Examples
    --------
    >>> fold("Seyfert_1", 1), fold("Seyfert_1", 0), fold("Galaxy", 1)
    ('AGN', 'G', 'G')
    >>> fold(["Q?", "SN?", "HMXB"], 0).tolist(), fold("Q?", 0, candidates=False)
    (['G?', '*', '*'], 'G')
    """
    level, state = checked_level(level), current()
    if isinstance(types, str):
        return state.tree.fold(_the_one(state, types), level, candidates=candidates)
    return _each(
        state,
        types,
        lambda code: state.tree.fold(code, level, candidates=candidates),
        f"Object type (code of SIMBAD), folded to level {level}",
    )


def folded_texts(texts: np.ndarray, level: int, *, keep: str) -> tuple[np.ndarray, dict[str, int]]:
    """Return the labels of types folded to a level; names that are no types stay as they are.

    Parameters
    ----------
    texts : (n,) array of str
        Names.
    level : int
        As for `fold`.
    keep : str
        A text that is left alone.

    Returns
    -------
    folded : (n,) array of str
    unknown : dict of str to int
        Names that are no types, and how many rows have them.

    Raises
    ------
    InputError
        If the level is none.

    Examples
    --------
    >>> folded, unknown = folded_texts(np.array(["Seyfert_1", "unmatched", "Foo"]), 1, keep="unmatched")
    >>> folded.tolist(), unknown
    (['AGN', 'unmatched', 'Foo'], {'Foo': 1})
    """
    level, state = checked_level(level), current()
    different, at, counts = np.unique(texts, return_inverse=True, return_counts=True)
    folded, unknown = [], {}
    for text, count in zip(different.tolist(), counts.tolist(), strict=True):
        meant = None if text == keep else state.names.get(text)
        if meant is not None and meant.code is not None:
            folded.append(state.tree.types[state.tree.fold(meant.code, level)].label)
            continue
        folded.append(text)
        if text != keep:
            unknown[text] = count
    return np.array(folded or [""], dtype=str)[at], unknown


def hierarchy(branch: str | None = None) -> QTable:
    """Return the types as a table.

    Parameters
    ----------
    branch : str, optional
        A type; it and all below it, instead of everything.  Two dots at its end say no more.

    Returns
    -------
    `~astropy.table.QTable`
        A row a type, parents first: ``otype`` (its code), ``label``, ``candidate`` (the code of those that
        are only suspected; masked if there is none), ``level`` (0 for the widest), ``parent`` (masked
        for the widest), ``path`` and ``description``.  ``meta["otypes"]`` tells of which
        snapshot they are.

    Raises
    ------
    InputError
        If the type is not known.

    Examples
    --------
    >>> hierarchy("AGN")["otype", "label", "candidate", "level", "parent"][:3].pprint()
    otype  label   candidate level parent
    ----- -------- --------- ----- ------
      AGN      AGN       AG?     1      G
      SyG  Seyfert        --     2    AGN
      Sy1 Seyfert1        --     3    SyG
    """
    state = current()
    shown = list(state.tree.types)
    top = None
    if branch is not None:  # first, since V* also holds types that are listed before it
        top = _the_one(state, branch.strip().removesuffix(DESCENDANTS) if isinstance(branch, str) else branch)
        shown = [top, *state.tree.descendants(top)]
    types = [state.tree.types[code] for code in shown]
    types = [one for one in types if not one.is_candidate or one.code == top]
    candidates = np.array([state.tree.candidates.get(one.code, "") for one in types], dtype=str)
    parents = np.array([one.parent or "" for one in types], dtype=str)
    out = QTable()
    add_column(out, "otype", [one.code for one in types])
    add_column(out, "otype_label", [one.label for one in types])
    add_column(out, "otype_candidate", candidates, mask=candidates == "")
    add_column(out, "otype_level", np.array([one.level for one in types], dtype=np.int64))
    add_column(out, "otype_parent", parents, mask=parents == "")
    add_column(out, "otype_path", [SEPARATOR.join(one.path) for one in types])
    add_column(out, "otype_description", [one.description for one in types])
    out.meta["otypes"] = state.snapshot.facts()
    return out
