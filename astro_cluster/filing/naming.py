"""Identifiers from the names of files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from astro_cluster.exceptions import InputError
from astro_cluster.filing.sources import IMAGES, SPECTRA

__all__ = ["Pattern", "stem_of", "typed"]

_KINDS = {
    "": r"[^/]+?",
    "s": r"[^/]+?",
    "d": r"[+-]?[0-9]+",
    "f": r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?",
}
_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|\*\*|[*?{}]")
_ENDINGS = tuple(dict.fromkeys((*IMAGES.endings, *SPECTRA.endings)))
_DECIMAL = re.compile(r"[+-]?[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?")
_LONGEST = 255  # letters of a name, as file systems have it; a longer one could be made to take ages
_MOST_WILD = 20  # each one more may cost a factor in time


def stem_of(name: str) -> str:
    """Return the name of a file without folders and endings.

    Parameters
    ----------
    name : str
        Path, also in an archive.

    Returns
    -------
    str

    Examples
    --------
    >>> stem_of("sci/halo.v1_cam0.fits.gz"), stem_of("m31")
    ('halo.v1_cam0', 'm31')
    """
    name = re.split(r"[/\\]", name)[-1]
    lower = name.lower()
    for packed in ("", ".gz", ".bz2", ".xz"):
        for ending in _ENDINGS:
            if lower.endswith(ending + packed) and len(name) > len(ending + packed):
                shorter = name[: -len(ending + packed)]
                return stem_of(shorter) if ending == ".fz" else shorter
    return name


@dataclass(frozen=True, slots=True)
class Pattern:
    """What names look like, and which parts of them are identifiers.

    Parameters
    ----------
    text : str
        ``*`` stands for any text and ``?`` for one letter, ``{name}`` for a text that becomes a column,
        ``{name:d}`` for a whole number and ``{name:f}`` for a number; ``{{`` and ``}}`` for braces.
        ``{name}`` becomes numbers if all of its texts are decimal fractions; ``{name:s}`` stays text.

    Raises
    ------
    InputError
        If it has no identifier, or braces that do not go together.

    Examples
    --------
    >>> pattern = Pattern("*z{redshift}_{source_id:d}_F*")
    >>> pattern.columns(["ceers_z6.25_1727_F115W.png", "other.png"])["source_id"]
    masked_array(data=[1727, --],
                 mask=[False,  True],
           fill_value=999999)
    """

    text: str

    def __post_init__(self) -> None:
        self._compiled()

    @property
    def fields(self) -> dict[str, str]:
        """The names of the identifiers, and their kinds."""
        found = [part[1] for part in _PART.finditer(self.text) if part[1] is not None]
        return {name: kind for name, _, kind in (one.partition(":") for one in found)}

    def _compiled(self) -> re.Pattern[str]:
        names: list[str] = []
        out, end, wild = "", 0, 0
        for part in _PART.finditer(self.text):
            out += re.escape(self.text[end : part.start()])
            end = part.end()
            if part[1] is not None:
                name, _, kind = part[1].partition(":")
                self._check_field(name, kind, names)
                out += f"(?P<{name}>{_KINDS[kind]})"
                names.append(name)
                wild += 1
            elif part[0] in ("{", "}"):
                raise InputError(
                    f"pattern={self.text!r} has a brace without its partner; a brace itself is {{{{ or }}}}"
                )
            else:
                wild += part[0] in ("*", "**")
                out += {"*": r"[^/]*?", "**": r".*?", "?": r"[^/]", "{{": r"\{", "}}": r"\}"}[part[0]]
        out += re.escape(self.text[end:])
        if not names:
            raise InputError(
                f"pattern={self.text!r} has no identifier such as {{name}} or {{source_id:d}} "
                "to become a column"
            )
        if wild > _MOST_WILD:
            raise InputError(f"pattern={self.text!r} has more than {_MOST_WILD} wild parts; make it simpler")
        return re.compile(out, re.DOTALL)

    def _check_field(self, name: str, kind: str, before: Sequence[str]) -> None:
        if not name.isidentifier() or not name.isascii():
            raise InputError(
                f"{{{name}}} in pattern={self.text!r} cannot be the name of a column: "
                "use letters, digits and _"
            )
        if kind not in _KINDS:
            raise InputError(
                f"{{{name}:{kind}}} in pattern={self.text!r} is of no known kind: "
                f"{{{name}:d}} is a whole number, "
                f"{{{name}:f}} a number, {{{name}}} a text"
            )
        if name in before:
            raise InputError(f"{{{name}}} comes twice in pattern={self.text!r}")

    def match(self, name: str) -> dict[str, str] | None:
        """Return the texts of the identifiers in a name; None if it does not fit.

        Parameters
        ----------
        name : str
            Path of a file, also in an archive.

        Returns
        -------
        dict of str to str, or None

        Notes
        -----
        A pattern with a slash has to fit the end of the path, from a folder on, any other one the name of the
        file; without its ending if it can, with it else.
        """
        return _match(self._compiled(), name, depth=self.text.count("/"))

    def columns(self, names: Sequence[str]) -> dict[str, np.ma.MaskedArray]:
        """Return a column for each identifier.

        Parameters
        ----------
        names : sequence of str
            Paths of n files.

        Returns
        -------
        dict of str to (n,) masked array
            Masked where a name does not fit.
        """
        compiled, depth = self._compiled(), self.text.count("/")
        found = [_match(compiled, name, depth=depth) for name in names]
        return {
            field: typed([None if one is None else one[field] for one in found], kind)
            for field, kind in self.fields.items()
        }


def _match(compiled: re.Pattern[str], name: str, *, depth: int) -> dict[str, str] | None:
    parts = name.replace("\\", "/").split("/")
    folders, file = parts[:-1], parts[-1]
    if depth > len(folders) or len(file) > _LONGEST:
        return None
    before = "".join(folder + "/" for folder in folders[len(folders) - depth :]) if depth else ""
    for last in dict.fromkeys((stem_of(file), file)):
        if found := compiled.fullmatch(before + last):
            return found.groupdict()
    return None


def typed(texts: Sequence[str | None], kind: str = "") -> np.ma.MaskedArray:
    """Return texts as a column of their kind.

    Parameters
    ----------
    texts : sequence of str or None
        None where there is none.
    kind : {"", "s", "d", "f"}, optional
        As in `Pattern`.

    Returns
    -------
    masked array
        int64, float64 or text.  Whole numbers beyond 64 bits stay texts.

    Examples
    --------
    >>> typed(["007", None]).tolist(), typed(["0.5", "1.25"]).tolist()
    (['007', None], [0.5, 1.25])
    """
    mask = np.array([text is None for text in texts], dtype=bool)
    there = [text for text in texts if text is not None]
    if not kind:
        kind = "f" if there and all(map(_DECIMAL.fullmatch, there)) else "s"
    if kind == "d" and any(len(text) > 4000 or abs(int(text)) >= 2**63 for text in there):
        kind = "s"
    convert, fill = {"d": (int, 0), "f": (float, np.nan), "s": (str, "")}[kind]
    values: list[Any] = [fill if text is None else convert(text) for text in texts]
    dtype = {"d": np.int64, "f": np.float64, "s": np.str_}[kind]
    return np.ma.MaskedArray(np.array(values, dtype=dtype), mask=mask)
