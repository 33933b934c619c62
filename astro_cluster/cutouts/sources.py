"""Which image files there are: in folders, patterns and lists."""

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
    "IMAGE_ENDINGS",
    "Container",
    "Kind",
    "containers_of",
    "is_hidden",
    "kind_by_name",
    "natural",
    "printable",
]

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".fits", ".fit", ".fts", ".fz")
_PACKED = (".gz", ".bz2", ".xz")
_PACKED_FITS = tuple(ending + packed for ending in (".fits", ".fit", ".fts") for packed in _PACKED)
_STREAMS = (".tgz", ".tbz2", ".txz", *(".tar" + packed for packed in _PACKED))
_LONGEST = 1000  # letters of a name that are kept; file systems allow 255, archives any number

Kind = Literal["file", "tar", "stream", "zip"]


@dataclass(frozen=True, slots=True)
class Container:
    """A file with one image or several.

    Parameters
    ----------
    path : str
        Where it is.
    kind : {"file", "tar", "stream", "zip"}
        One image, or an archive; a stream is a tar that is packed, and can only be read from its beginning.
    inner : str, optional
        Name of a tar in a zip.
    """

    path: str
    kind: Kind
    inner: str = ""


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


def _is_image(name: str) -> bool:
    return _ending_is(name, IMAGE_ENDINGS) or _ending_is(name, _PACKED_FITS)


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


def kind_by_name(name: str) -> Kind | None:
    """Tell what a file is by its ending.

    Parameters
    ----------
    name : str
        Path of a file.

    Returns
    -------
    {"file", "tar", "stream", "zip"} or None
        None if it is neither an image nor an archive.

    Examples
    --------
    >>> kind_by_name("m31.fits.gz"), kind_by_name("sci.tgz"), kind_by_name("labels.csv")
    ('file', 'stream', None)
    """
    if _is_image(name):
        return "file"
    if _ending_is(name, _STREAMS):
        return "stream"
    return "tar" if _ending_is(name, [".tar"]) else "zip" if _ending_is(name, [".zip"]) else None


# ---------------------------------------------------------------- which files


def containers_of(source: Any) -> tuple[list[Container], list[str]]:
    """Return the files that are meant, each once, in the natural order of their names.

    Parameters
    ----------
    source : str, path or sequence of these
        Files, folders (with what is below them), patterns.  The order of a list is kept.

    Returns
    -------
    containers : list of Container
    notes : list of str
        What a pattern matches that is neither an image nor an archive.

    Raises
    ------
    InputError
        If a file or folder is missing, a pattern matches nothing, or there is no image at all.

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
            f"cannot read images from a {type(source).__name__}: give a file, a folder, a pattern such as "
            "'sci/*.tar', or a list of these"
        )
    notes: list[str] = []
    found: dict[str, Container] = {}
    for container in _found(source, notes):
        found.setdefault(container.path, container)
    if not found:
        raise InputError(
            f"no image and no archive of images was found in {_shown(source)}: known endings are "
            f"{', '.join(IMAGE_ENDINGS)}, .tar, .tar.gz, .tar.bz2, .tar.xz and .zip"
        )
    return list(found.values()), notes


def _shown(source: Any) -> str:
    text = os.fspath(source) if isinstance(source, (str, os.PathLike)) else ", ".join(map(str, source[:3]))
    return text or "an empty list"


def _found(source: Any, notes: list[str]) -> Iterator[Container]:
    if not isinstance(source, (str, os.PathLike)):
        for one in source:
            yield from _found(one, notes)
        return
    text = os.fspath(source)
    if not isinstance(text, str):
        raise InputError(f"the name of a file is a text, not {text!r}")
    path = Path(text)
    if path.is_dir():
        yield from _in_folder(path)
    elif path.exists():
        yield Container(text, kind_by_name(text) or _kind_by_content(path))
    elif glob.has_magic(text):
        yield from _matching(text, notes)
    else:
        raise InputError(f"there is no file or folder {text}")


def _matching(pattern: str, notes: list[str]) -> Iterator[Container]:
    names = glob.glob(pattern, recursive=True)  # noqa: PTH207 - an absolute pattern too
    names = sorted((name for name in names if not is_hidden(Path(name).name)), key=natural)
    if not names:
        raise InputError(f"no file matches the pattern {pattern}")
    others = []
    for name in names:
        if Path(name).is_dir():
            if "**" not in pattern:  # that names what is in the folders itself
                yield from _in_folder(Path(name))
        elif kind := kind_by_name(name):
            yield Container(name, kind)
        else:
            others.append(name)
    if others:
        notes.append(
            f"{pattern} matches {len(others)} files that are no images, such as {others[0]}: left out"
        )


def _in_folder(folder: Path) -> Iterator[Container]:
    """Yield what is in a folder and below, without what is hidden; links to folders are not followed."""
    names = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        names += [os.path.join(place, name) for name in files if not is_hidden(name)]  # noqa: PTH118
    for name in sorted(names, key=natural):
        kind = kind_by_name(name)
        if kind and Path(name).is_file():  # no broken link and no pipe
            yield Container(name, kind)


def _kind_by_content(path: Path) -> Kind:
    """Tell what a file without a known ending is; one image, if nothing else."""
    if not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder")
    with path.open("rb") as file:
        head = file.read(265)
    return "tar" if head[257:262] == b"ustar" else "zip" if head[:4] == b"PK\3\4" else "file"
