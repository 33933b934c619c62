"""Which files there are: in folders, patterns and lists."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from astro_cluster.exceptions import InputError

__all__ = [
    "IMAGES",
    "SPECTRA",
    "Container",
    "Kind",
    "Wanted",
    "containers_of",
    "is_hidden",
    "kind_by_name",
    "natural",
    "printable",
]

_FITS = (".fits", ".fit", ".fts")
_PACKED = (".gz", ".bz2", ".xz")
_STREAMS = (".tgz", ".tbz2", ".txz", *(".tar" + packed for packed in _PACKED))
_LONGEST = 1000  # letters of a name that are kept; file systems allow 255, archives any number

Kind = Literal["file", "tar", "stream", "zip"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for in folders and archives.

    Parameters
    ----------
    noun, plural : str
        What one is called, and several.
    endings : tuple of str
        Endings of the names of their files.
    packable : tuple of str
        Endings of files that may be packed each by itself.
    keeps_others : bool, optional
        Whether files of other endings that a pattern matches are read too; else they are left out.
    """

    noun: str
    plural: str
    endings: tuple[str, ...]
    packable: tuple[str, ...]
    keeps_others: bool = False

    @property
    def one(self) -> str:
        """The noun with its article."""
        return f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun}"

    def has(self, name: str) -> bool:
        """Tell whether the name of a file has one of the endings.

        Parameters
        ----------
        name : str
            Path of a file.

        Returns
        -------
        bool

        Examples
        --------
        >>> IMAGES.has("m31.fits.gz"), IMAGES.has("m31.csv"), SPECTRA.has("m31.csv")
        (True, False, True)
        """
        return _ending_is(name, self.endings) or any(
            _ending_is(name, [ending + packed for ending in self.packable]) for packed in _PACKED
        )


IMAGES = Wanted("image", "images", (".png", ".jpg", ".jpeg", ".tif", ".tiff", *_FITS, ".fz"), _FITS)
"""Files of images."""

_TEXTS = (".csv", ".ecsv", ".tsv", ".dat", ".txt", ".asc", ".ascii")
SPECTRA = Wanted("spectrum", "spectra", (*_FITS, *_TEXTS, ".vot"), (*_FITS, *_TEXTS, ".vot"), True)
"""Files of spectra."""


@dataclass(frozen=True, slots=True)
class Container:
    """A file with one image (or spectrum), or several.

    Parameters
    ----------
    path : str
        Where it is.
    kind : {"file", "tar", "stream", "zip"}
        One image, or an archive; a stream is a tar that is packed, and can only be read from its beginning.
    inner : str, optional
        Name of a tar in a zip.
    wanted : Wanted, optional
        What is looked for in it.
    """

    path: str
    kind: Kind
    inner: str = ""
    wanted: Wanted = IMAGES


def printable(name: str) -> str:
    r"""Return a name that every file can keep, whatever bytes a file system or an archive has in it.

    Parameters
    ----------
    name : str
        Name of a file.

    Returns
    -------
    str

    Examples
    --------
    >>> printable("m31" + chr(0xDCFF) + ".png")
    'm31\\xff.png'
    """
    text = os.fsencode(name).decode("utf-8", "backslashreplace").replace("\0", "\\0")
    # A column of names has room for the longest in each row.
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 :]}"


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key by which names are sorted as people do: 2 before 10.

    Parameters
    ----------
    name : str
        Name of a file.

    Returns
    -------
    list of tuple

    Examples
    --------
    >>> sorted(["cam10", "cam2", "Cam1"], key=natural)
    ['Cam1', 'cam2', 'cam10']
    """
    # A number is compared by its length and then its digits, for it may have any length.
    parts = re.split(r"0*([0-9]+)", name)
    key = [(0, len(part), part) if i % 2 else (1, 0, part.lower()) for i, part in enumerate(parts) if part]
    return [*key, (-1, 0, name)]  # the name itself decides between equals


def _ending_is(name: str, endings: Sequence[str]) -> bool:
    return name.lower().endswith(tuple(endings))


def is_hidden(name: str) -> bool:
    """Tell whether a file, or a folder that it is in, begins with a dot or is a Mac's own.

    Parameters
    ----------
    name : str
        Path of a file.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_hidden("sci/.cam0.fits"), is_hidden("__MACOSX/cam0.fits"), is_hidden("../cam0.fits")
    (True, True, False)
    """
    parts = name.replace("\\", "/").split("/")
    return any(part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in parts)


def kind_by_name(name: str, wanted: Wanted = IMAGES) -> Kind | None:
    """Tell what a file is by its ending.

    Parameters
    ----------
    name : str
        Path of a file.
    wanted : Wanted, optional
        What is looked for.

    Returns
    -------
    {"file", "tar", "stream", "zip"} or None
        None if it is neither what is wanted nor an archive.

    Examples
    --------
    >>> kind_by_name("m31.fits.gz"), kind_by_name("sci.tgz"), kind_by_name("labels.csv")
    ('file', 'stream', None)
    """
    if wanted.has(name):
        return "file"
    if _ending_is(name, _STREAMS):
        return "stream"
    return "tar" if _ending_is(name, [".tar"]) else "zip" if _ending_is(name, [".zip"]) else None


# ---------------------------------------------------------------- which files


def containers_of(source: Any, wanted: Wanted = IMAGES) -> tuple[list[Container], list[str]]:
    """Return the files that are meant, each once, in the natural order of their names.

    Parameters
    ----------
    source : str, path or sequence of these
        Files, folders (with what is below them), patterns.  The order of a list is kept.
    wanted : Wanted, optional
        What is looked for: images if not given.

    Returns
    -------
    containers : list of Container
    notes : list of str
        What a pattern matches that is neither wanted nor an archive.

    Raises
    ------
    InputError
        If a file or folder is missing, a pattern matches nothing, or nothing that is wanted is there.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> for name in ("10.png", "9.png", "labels.csv", ".hidden.png"):
    ...     (folder / name).touch()
    >>> [os.path.basename(one.path) for one in containers_of(folder)[0]]
    ['9.png', '10.png']
    """
    if not isinstance(source, (str, os.PathLike, list, tuple)):
        raise InputError(
            f"cannot read {wanted.plural} from a {type(source).__name__}: give a file, a folder, a pattern "
            "such as 'sci/*.tar', or a list of these"
        )
    notes: list[str] = []
    found: dict[str, Container] = {}
    for container in _found(source, wanted, notes):
        found.setdefault(container.path, container)
    if not found:
        raise InputError(
            f"no {wanted.noun} and no archive of {wanted.plural} was found in {_shown(source)}: known "
            f"endings are {', '.join(wanted.endings)}, .tar, .tar.gz, .tar.bz2, .tar.xz and .zip"
        )
    return list(found.values()), notes


def _shown(source: Any) -> str:
    text = os.fspath(source) if isinstance(source, (str, os.PathLike)) else ", ".join(map(str, source[:3]))
    return text or "an empty list"


def _found(source: Any, wanted: Wanted, notes: list[str]) -> Iterator[Container]:
    if not isinstance(source, (str, os.PathLike)):
        for one in source:
            yield from _found(one, wanted, notes)
        return
    text = os.fspath(source)
    if not isinstance(text, str):
        raise InputError(f"the name of a file is a text, not {text!r}")
    path = Path(text)
    if path.is_dir():
        yield from _in_folder(path, wanted)
    elif path.exists():
        yield Container(text, kind_by_name(text, wanted) or _kind_by_content(path), wanted=wanted)
    elif glob.has_magic(text):
        yield from _matching(text, wanted, notes)
    else:
        raise InputError(f"there is no file or folder {text}")


def _matching(pattern: str, wanted: Wanted, notes: list[str]) -> Iterator[Container]:
    names = glob.glob(pattern, recursive=True)  # noqa: PTH207 - an absolute pattern too
    names = sorted((name for name in names if not is_hidden(Path(name).name)), key=natural)
    if not names:
        # A table that is made again elsewhere has the pattern as it was written.
        where = "" if Path(pattern).is_absolute() else f" in {Path.cwd()}"
        raise InputError(f"no file matches the pattern {pattern}{where}")
    others = []
    for name in names:
        if Path(name).is_dir():
            if "**" not in pattern:  # that names what is in the folders itself
                yield from _in_folder(Path(name), wanted)
        elif kind := kind_by_name(name, wanted):
            yield Container(name, kind, wanted=wanted)
        elif wanted.keeps_others:
            yield Container(name, "file", wanted=wanted)
        else:
            others.append(name)
    if others:
        notes.append(
            f"{pattern} matches {len(others)} files that are no {wanted.plural}, such as "
            f"{others[0]}: left out"
        )


def _in_folder(folder: Path, wanted: Wanted) -> Iterator[Container]:
    """Yield what is in a folder and below, without what is hidden; links to folders are not followed."""
    names = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        names += [os.path.join(place, name) for name in files if not is_hidden(name)]  # noqa: PTH118
    for name in sorted(names, key=natural):
        kind = kind_by_name(name, wanted)
        if kind and Path(name).is_file():  # no broken link and no pipe
            yield Container(name, kind, wanted=wanted)


def _kind_by_content(path: Path) -> Kind:
    """Tell what a file without a known ending is; one of what is wanted, if nothing else."""
    if not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder")
    with path.open("rb") as file:
        head = file.read(265)
    return "tar" if head[257:262] == b"ustar" else "zip" if head[:4] == b"PK\3\4" else "file"
