"""The hierarchy of types as an object that cannot change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["SEPARATOR", "Otype", "Tree"]

SEPARATOR = " > "
_LONGEST_CODE = 16


@dataclass(frozen=True, slots=True)
class Otype:
    """One type of object.

    Parameters
    ----------
    code : str
        As SIMBAD's ``otype`` has it, ``Sy1``.
    label : str
        Its name, ``Seyfert1``.
    description : str
        In words.
    is_candidate : bool
        Whether objects are only suspected to be of the type.
    path : tuple of str
        Codes of the types that hold it, the widest first.  That of a type ends in the type
        itself, that of a candidate in the type that it may be.

    Examples
    --------
    >>> Otype("Q?", "QSO_Candidate", "Quasar Candidate", True, ("G", "AGN", "QSO")).level
    2
    """

    code: str
    label: str
    description: str
    is_candidate: bool
    path: tuple[str, ...]

    @property
    def level(self) -> int:
        """Number of types that hold it; a candidate has the level of its type."""
        return len(self.path) - 1

    @property
    def parent(self) -> str | None:
        """The type just above it; that of a candidate is the type that it may be."""
        above = self.path if self.is_candidate else self.path[:-1]
        return above[-1] if above else None


class Tree:
    """All types of one snapshot.

    Parameters
    ----------
    types : iterable of `Otype`
        The types in the order of the list.
    also : mapping of str to iterable of str, optional
        Types that are searched for under another one too: SIMBAD finds RR Lyrae stars, which
        are horizontal-branch stars, among the variable stars as well.  Codes that are
        not there are passed over.

    Raises
    ------
    ValueError
        If the types make no hierarchy: a code or label twice, a path with an unknown
        type, paths that contradict each other.

    Examples
    --------
    >>> tree = Tree([Otype("G", "Galaxy", "Galaxy", False, ("G",)),
    ...              Otype("AGN", "AGN", "Active nucleus", False, ("G", "AGN")),
    ...              Otype("AG?", "AGN_Candidate", "Perhaps one", True, ("G", "AGN"))])
    >>> tree.ancestors("AG?"), tree.descendants("G"), tree.descendants("G", candidates=True)
    (('AGN', 'G'), ('AGN',), ('AGN', 'AG?'))
    """

    __slots__ = ("_above", "_below", "also", "candidates", "types")

    def __init__(self, types: Iterable[Otype], also: Mapping[str, Iterable[str]] | None = None) -> None:
        listed = list(types)
        _check(listed)
        found = {one.code: one for one in listed}
        candidates: dict[str, str] = {}
        for one in listed:
            if one.is_candidate:
                candidates.setdefault(one.path[-1], one.code)
        kept = {
            top: tuple(code for code in codes if code in found)
            for top, codes in (also or {}).items()
            if top in found
        }
        object.__setattr__(self, "types", MappingProxyType(found))
        object.__setattr__(self, "candidates", MappingProxyType(candidates))
        object.__setattr__(self, "also", MappingProxyType(kept))
        above = {code: self._all_above(one) for code, one in found.items()}
        below: dict[str, list[str]] = {code: [] for code in found}
        for code, over in above.items():
            for other in over:
                below[other].append(code)
        object.__setattr__(self, "_above", MappingProxyType(above))
        object.__setattr__(self, "_below", MappingProxyType({k: tuple(v) for k, v in below.items()}))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a hierarchy of types cannot be changed")

    def __reduce__(self) -> tuple[type[Tree], tuple[list[Otype], dict[str, tuple[str, ...]]]]:
        # The views on the mappings cannot be pickled, and a process pool may want to.
        return Tree, (list(self.types.values()), dict(self.also))

    def _all_above(self, one: Otype) -> tuple[str, ...]:
        """Return the types above one, nearest first; after them those that it is found under too."""
        line = one.path[::-1] if one.is_candidate else one.path[-2::-1] if one.level else ()
        whole = list(line)
        for top, codes in self.also.items():
            if not set(codes).isdisjoint((one.code, *line)):
                whole += self.types[top].path[::-1]
        return tuple(dict.fromkeys(code for code in whole if code != one.code))

    def ancestors(self, code: str) -> tuple[str, ...]:
        """Return the codes of the types above one, the nearest first."""
        return self._above[code]

    def descendants(self, code: str, *, candidates: bool = False) -> tuple[str, ...]:
        """Return the codes of the types below one, in the order of the list."""
        return tuple(below for below in self._below[code] if candidates or not self.types[below].is_candidate)

    def fold(self, code: str, level: int, *, candidates: bool = True) -> str:
        """Return the type at a level that holds this one; one above the level is its own.

        A candidate stays one where the wider type has such a form, if ``candidates``.
        """
        one = self.types[code]
        wide = one.path[min(level, one.level)]
        if not one.is_candidate or not candidates:
            return wide
        if wide == one.path[-1]:
            return code
        return self.candidates.get(wide, wide)


def _check(types: list[Otype]) -> None:
    """Refuse what is no hierarchy."""
    if not types:
        raise ValueError("there is no type")
    for what in ("code", "label"):
        counts = Counter(getattr(one, what) for one in types)
        if twice := [name for name, count in counts.items() if count > 1]:
            raise ValueError(f"the {what} {twice[0]!r} stands there {counts[twice[0]]} times")
    for one in types:
        for what, text in (("code", one.code), ("label", one.label), *(("path", part) for part in one.path)):
            if not text or text != text.strip() or not text.isprintable() or "|" in text or ">" in text:
                raise ValueError(f"{text!r} is no {what} (type {one.code!r})")
        if not one.path:
            raise ValueError(f"type {one.code!r} has no path")
        if not one.description.isprintable():
            raise ValueError(f"the description of type {one.code!r} holds what is no text")
        if len(set(one.path)) != len(one.path):
            raise ValueError(f"the path of type {one.code!r} goes in a circle: {SEPARATOR.join(one.path)}")
        if len(one.code) > _LONGEST_CODE:
            raise ValueError(f"{one.code!r} is no code: it has {len(one.code)} letters")
    plain = {one.code: one for one in types if not one.is_candidate}
    for one in types:
        _check_path(one, plain)


def _check_path(one: Otype, plain: Mapping[str, Otype]) -> None:
    """Refuse a path with an unknown type, or that differs from those of the types on it."""
    shown = SEPARATOR.join(one.path)
    if unknown := [code for code in one.path if code not in plain]:
        raise ValueError(f"the path of type {one.code!r} names {unknown[0]!r}, which is no type: {shown}")
    if not one.is_candidate and one.path[-1] != one.code:
        raise ValueError(f"the path of type {one.code!r} does not end in it: {shown}")
    last = plain[one.path[-1]]
    parent = plain[one.path[-2]] if len(one.path) > 1 else None
    expected = last.path if one.is_candidate else (*(parent.path if parent else ()), one.code)
    if one.path != expected:
        raise ValueError(
            f"the path of type {one.code!r} is {shown}, but by the types on it it should be "
            f"{SEPARATOR.join(expected)}"
        )
