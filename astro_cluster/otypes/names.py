"""What a type has been called, today and until 2022, in any spelling."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from astropy.table import Column, MaskedColumn

from astro_cluster.cells import cell_texts
from astro_cluster.exceptions import AstroClusterWarning, InputError, did_you_mean
from astro_cluster.otypes.tree import Tree

__all__ = ["Named", "Names", "as_column", "refuse", "resolved", "warn_unknown"]

# X-Match's column main_type holds this many letters: "Candidate_LensSystem" comes as "Candidate_LensSyste".
_CUT_AT = 19
_MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class Named:
    """What a name means.

    Parameters
    ----------
    code : str or None
        Code of the type today; None if SIMBAD has no such type any more.
    old : str or None
        Code of an old type that a wider one holds today; None for the types of today.
    """

    code: str | None
    old: str | None = None


class Names:
    """All names of the types of a hierarchy.

    Parameters
    ----------
    tree : `Tree`
        The hierarchy.
    old : iterable of (str, str, str)
        Name and code until 2022 (empty if there was none) and code of today (empty if there is none).

    Examples
    --------
    >>> from astro_cluster.otypes.tree import Otype
    >>> tree = Tree([Otype("EB*", "EclBin", "Eclipsing Binary", False, ("EB*",)),
    ...              Otype("EB?", "EclBin_Candidate", "Perhaps one", True, ("EB*",))])
    >>> names = Names(tree, [("EB*", "EB*", "EB*"), ("EB*Algol", "Al*", "EB*")])
    >>> names.get("eclbin"), names.get("Candidate_EB*").code, names.get("Al*")
    (Named(code='EB*', old=None), 'EB?', Named(code='EB*', old='Al*'))
    """

    def __init__(self, tree: Tree, old: Iterable[tuple[str, str, str]]) -> None:
        self.tree = tree
        known: dict[str, Named] = {code: Named(code) for code in tree.types}
        for one in tree.types.values():
            known.setdefault(one.label, Named(one.code))
        for name, code, today in old:
            if today and today not in tree.types:
                continue  # a later snapshot has dropped it
            meant = known.get(code) or Named(today or None, None if code == today else code)
            for spelling in (code, name):
                if spelling:
                    known.setdefault(spelling, meant)
        self.known: Mapping[str, Named] = known
        self._stems = {stem: meant for name, meant in known.items() if (stem := _stem(name)) is not None}
        for one in tree.types.values():
            known.setdefault(one.description, Named(one.code))
        self._spelled = _by_folded_case(known)
        self._cut = self._by_beginning()

    def get(self, name: str) -> Named | None:
        """Return what a name means; None if it is not known."""
        return self._exact(name) or self._cut.get(name) or self._spelled.get(name.casefold())

    def _exact(self, name: str) -> Named | None:
        if name in self.known:
            return self.known[name]
        if (stem := _stem(name)) is None:
            return None
        # "YSO_Candidate", "Candidate_YSO" and "Possible_YSO" are one; for a while it was "Planet?_Candidate".
        if stem in self._stems:
            return self._stems[stem]
        meant = self.known.get(stem)
        if meant is None or meant.code is None or self.tree.types[meant.code].is_candidate:
            return meant
        code = self.tree.candidates.get(meant.code)
        return Named(code) if code is not None else None

    def _by_beginning(self) -> dict[str, Named]:
        """Return the beginnings of long names, where they are those of one meaning."""
        whole = list(self.known.items())
        for stem, meant in self._stems.items():
            whole += [(f"Candidate_{stem}", meant), (f"{stem}_Candidate", meant)]
        found: dict[str, set[Named]] = {}
        for name, meant in whole:
            for end in range(_CUT_AT, len(name)):
                found.setdefault(name[:end], set()).add(meant)
        return {name: meant.pop() for name, meant in found.items() if len(meant) == 1}

    def near(self, name: str) -> str:
        """Return the end of a sentence that says "there is no such type"."""
        types = self.tree.types
        spellings = {text for one in types.values() for text in (one.label, one.code, one.description)}
        return did_you_mean(name, sorted(spellings))


def _stem(name: str) -> str | None:
    """Return what a candidate may be; None if the name is not that of a candidate."""
    for start in ("Candidate_", "Possible_", "Candiate_"):  # the last is SIMBAD's own
        if name.startswith(start) and len(name) > len(start):
            return name.removeprefix(start)
    end = "_Candidate"
    return name.removesuffix(end) if name.endswith(end) and len(name) > len(end) else None


def _by_folded_case(known: Mapping[str, Named]) -> dict[str, Named]:
    """Return the names without regard to case, where that leaves one meaning."""
    found: dict[str, Named | None] = {}
    for name, meant in known.items():
        if meant.code is None:
            continue
        other = found.setdefault(name.casefold(), meant)
        if other is None or other == meant:
            continue
        # The types of today go before what one was called once.
        today = [one for one in (other, meant) if one.old is None]
        found[name.casefold()] = today[0] if len(today) == 1 else None
    return {name: meant for name, meant in found.items() if meant is not None}


def resolved(names: Names, column: Any) -> tuple[list[Named | None], np.ndarray, dict[str, int]]:
    """Return what the names of a column mean, each different one looked up once.

    Parameters
    ----------
    names : `Names`
        Those that are known.
    column : (n,) array-like
        Names; masked, empty, None and NaN are none.

    Returns
    -------
    meant : list
        What each different name means; None if it is not known, and for no name at all.
    at : (n,) array of int
        Which of them stands in each row.
    unknown : dict of str to int
        Names that are no types of today, and how many rows have them.

    Examples
    --------
    >>> from astro_cluster.otypes.tree import Otype
    >>> names = Names(Tree([Otype("X", "X", "X-ray source", False, ("X",))]), [])
    >>> meant, at, unknown = resolved(names, ["X", "", "Y"])
    >>> [meant[i] and meant[i].code for i in at], unknown
    (['X', None, None], {'Y': 1})
    """
    texts, at, counts = distinct(column)
    meant = [names.get(text) if text else None for text in texts]
    unknown = {
        text: int(count)
        for text, one, count in zip(texts, meant, counts, strict=True)
        if text and (one is None or one.code is None)
    }
    return meant, at, unknown


def distinct(column: Any) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the different texts of a column, which one stands in each row, and how often each does.

    Parameters
    ----------
    column : (n,) array-like
        Texts; masked, empty, None and NaN are the empty text.

    Returns
    -------
    texts : list of str
    at : (n,) array of int
    counts : (m,) array of int

    Examples
    --------
    >>> texts, at, counts = distinct(["X ", None, "X"])
    >>> texts, at.tolist(), counts.tolist()
    (['', 'X'], [1, 0, 1], [1, 2])
    """
    if not hasattr(column, "dtype"):
        if isinstance(column, bytes) or not isinstance(column, Iterable):
            raise InputError(
                f"{column!r} is no type of objects; give a name such as 'QSO', or a column of them"
            )
        column = np.array(list(column), dtype=object)
    if len(getattr(column, "shape", (0, 0))) != 1:
        raise InputError("types are one a row; this column has several values a row")
    texts, nothing = cell_texts(column, len(column))
    different, at, counts = np.unique(
        np.where(nothing, "", texts).astype(str), return_inverse=True, return_counts=True
    )
    return different.tolist(), at, counts


def warn_unknown(unknown: Mapping[str, int], what: str, *, stacklevel: int = 3) -> None:
    """Warn of names that are no types.

    Parameters
    ----------
    unknown : mapping of str to int
        Names, and how many rows have them.
    what : str
        What becomes of them, as the end of a sentence.
    stacklevel : int, optional
        As for `warnings.warn`.

    Examples
    --------
    >>> warn_unknown({}, "are masked")
    """
    if not unknown:
        return
    ordered = sorted(unknown.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = ", ".join(f"{name[:40]!r} ({count:,})" for name, count in ordered[:_MOST_NAMED])
    more = f" and {len(ordered) - _MOST_NAMED} more" if len(ordered) > _MOST_NAMED else ""
    warnings.warn(
        f"SIMBAD has no such types of objects: {shown}{more}; {sum(unknown.values()):,} rows {what}",
        AstroClusterWarning,
        stacklevel=stacklevel,
    )


def refuse(names: Names, name: str) -> NoReturn:
    """Say that there is no such type.

    Parameters
    ----------
    names : `Names`
        Those that there are.
    name : str
        The one that is none.

    Raises
    ------
    InputError
        Always; with the nearest names.

    Examples
    --------
    >>> from astro_cluster.otypes.tree import Otype
    >>> refuse(Names(Tree([Otype("X", "X", "", False, ("X",))]), []), "QSX")
    Traceback (most recent call last):
        ...
    astro_cluster.exceptions.InputError: SIMBAD has no type of objects 'QSX'. ...
    """
    meant = names.get(name)
    if meant is not None:
        raise InputError(f"SIMBAD has no type {name!r} any more, and none that holds it")
    raise InputError(
        f"SIMBAD has no type of objects {name!r}{names.near(name)} ac.otypes.hierarchy() shows all "
        "(astro-cluster otypes)"
    )


def as_column(values: list[str | None], at: np.ndarray, description: str) -> MaskedColumn:
    """Return texts as a column, None masked.

    Parameters
    ----------
    values : list of str or None
        The different texts.
    at : (n,) array of int
        Which of them stands in each row.
    description : str
        What they are.

    Returns
    -------
    (n,) `~astropy.table.MaskedColumn`

    Examples
    --------
    >>> as_column(["X", None], np.array([0, 1, 0]), "Type").tolist()
    ['X', None, 'X']
    """
    texts = np.array([value or "" for value in values] or [""], dtype=str)
    hidden = np.array([value is None for value in values] or [True])
    column = Column(texts[at])
    return MaskedColumn(column, mask=hidden[at], description=description, meta={"ucd": "src.class"})
