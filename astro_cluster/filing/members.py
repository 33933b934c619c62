"""What is in files and archives, which are read as they are and never unpacked to disk."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from astro_cluster.filing.guarding import Guarded, careful, decompressed
from astro_cluster.filing.sources import Container, Kind, is_hidden, kind_by_name, natural, printable

__all__ = ["Item", "Survey", "chunks_of", "read_items", "reason_of", "survey"]

_AT_ONCE = 32  # images that a thread takes at a time


@dataclass(slots=True)
class Item:
    """An image, or what should be one.

    Parameters
    ----------
    container : Container
        File that it is in.
    member : str, optional
        Its name in the archive.
    place : int, optional
        Where it begins in a tar; which entry of a stream or a zip it is.
    size : int, optional
        Bytes that it has there.
    look : object, optional
        What was found out about it.
    problem : str, optional
        Why it cannot be read.
    """

    container: Container
    member: str = ""
    place: int = 0
    size: int = 0
    look: Any = None
    problem: str = ""

    @property
    def name(self) -> str:
        """Name of the image, in its archive if it is in one."""
        return self.member or self.container.path

    @property
    def full_name(self) -> str:
        """Name of the file, and of the member in it."""
        return printable(f"{self.container.path}: {self.member}" if self.member else self.container.path)


@dataclass(slots=True)
class Survey:
    """The images of one container, and what else is to be said of it."""

    items: list[Item] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    limit: int = 0

    def too_large(self, size: int) -> str:
        """Return what is wrong with a file of so many bytes; nothing if it may be read."""
        return (
            f"it has {size} bytes, more than conf.max_image_bytes = {self.limit}" if size > self.limit else ""
        )


Looker = Callable[[str, IO[bytes]], Any]


# ---------------------------------------------------------------- what is in them


def survey(container: Container, look: Looker, limit: int) -> Survey:
    """Find the images in a container and look at the beginning of each.

    Parameters
    ----------
    container : Container
        A file.
    look : callable
        Takes the name of an image and an open file, and returns what is to be known of it; what it
        raises is the problem of this one image.
    limit : int
        Bytes that an image may have.

    Returns
    -------
    Survey
        The images in the natural order of their names.  A container that cannot be opened counts as
        one image with a problem.

    Examples
    --------
    >>> import io, tarfile
    >>> path = getfixture("tmp_path") / "two.tar"
    >>> with tarfile.open(path, "w") as tar:
    ...     for name in ("cam10.png", "cam9.png"):
    ...         tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    >>> [item.member for item in survey(Container(str(path), "tar"), lambda name, file: None, 1000).items]
    ['cam9.png', 'cam10.png']
    """
    found = Survey(limit=limit)
    try:
        _SURVEYS[container.kind](container, look, found)
    except Exception as error:
        _note_damage(container, error, found)
    found.items = _last_of_each_name(found)
    found.items.sort(key=lambda item: natural(item.name))
    return found


def _note_damage(container: Container, error: Exception, found: Survey) -> None:
    if found.items:
        found.notes.append(
            f"{container.path} is damaged after {found.items[-1].member} ({reason_of(error)}): "
            "what may follow is not read"
        )
    else:
        found.items = [Item(container, container.inner, problem=reason_of(error))]


def reason_of(error: BaseException) -> str:
    """Return in one line what went wrong.

    Parameters
    ----------
    error : Exception
        Of whatever reader.

    Returns
    -------
    str

    Examples
    --------
    >>> reason_of(FileNotFoundError(2, "No such file or directory"))
    'No such file or directory'
    """
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())[:200] or type(error).__name__


def _last_of_each_name(found: Survey) -> list[Item]:
    """Return the items without those that an unpacked archive would have written over."""
    by_name = {(item.container, item.member): item for item in found.items}
    if over := len(found.items) - len(by_name):
        found.notes.append(
            f"{found.items[0].container.path} holds {over} members whose names come again: "
            "the last of each is read, as if it were unpacked"
        )
    return list(by_name.values())


def _looked(item: Item, look: Looker, file: IO[bytes]) -> Item:
    try:
        item.look = look(item.name, file)
    except Exception as error:
        item.problem = reason_of(error)
    return item


def _survey_file(container: Container, look: Looker, found: Survey) -> None:
    path = Path(container.path)
    item = Item(container, size=path.stat().st_size)
    item.problem = found.too_large(item.size)
    if item.size == 0:
        item.problem = "it is empty (0 bytes)"
    if not item.problem:
        with path.open("rb") as file:
            _looked(item, look, file)
    found.items.append(item)


def _wanted_members(tar: tarfile.TarFile, container: Container, found: Survey) -> Iterator[tarfile.TarInfo]:
    """Yield the regular files of a tar that may be images; nothing that points elsewhere is followed."""
    links = images = 0
    for member in tar:
        if kind_by_name(member.name, container.wanted) != "file" or is_hidden(member.name):
            continue
        if not member.isreg():
            links += not member.isdir()
            continue
        images += 1
        yield member
    _note_members(container, found, images=images, links=links)


def _note_members(container: Container, found: Survey, *, images: int, links: int) -> None:
    if links:
        found.notes.append(
            f"{container.path} holds {links} links or devices named as {container.wanted.plural}: left out"
        )
    if not images:
        found.notes.append(f"{container.path} holds no {container.wanted.noun}")


def _survey_tar(container: Container, look: Looker, found: Survey) -> None:
    with careful(container.path) as raw, tarfile.open(fileobj=raw, mode="r:") as tar:
        for member in _wanted_members(tar, container, found):
            item = Item(
                container, member.name, member.offset_data, member.size, problem=found.too_large(member.size)
            )
            found.items.append(item)
            if member.issparse():
                item.problem = "it is stored as a sparse file; pack the tar without --sparse"
            elif member.size == 0:
                item.problem = "it is empty (0 bytes)"
            elif not item.problem and (file := tar.extractfile(member)):
                _looked(item, look, file)


def _survey_stream(container: Container, look: Looker, found: Survey) -> None:
    with _stream(container) as (tar, _):
        for place, member in enumerate(_wanted_members(tar, container, found)):
            item = Item(container, member.name, place, member.size, problem=found.too_large(member.size))
            found.items.append(item)
            if member.size == 0:
                item.problem = "it is empty (0 bytes)"
            elif not item.problem and (file := tar.extractfile(member)):
                item.problem = "it is cut short"  # unless all of it can be read
                data = file.read()
                item.problem = ""
                _looked(item, look, io.BytesIO(data))  # a stream cannot go back


class _stream:
    """A tar that is read from its beginning to its end, unpacked on the way, and not more than is sane."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._open: list[Any] = []

    def __enter__(self) -> tuple[tarfile.TarFile, Guarded]:
        try:
            return self._entered()
        except BaseException:
            self.__exit__()
            raise

    def _entered(self) -> tuple[tarfile.TarFile, Guarded]:
        path = Path(self._container.path)
        size = path.stat().st_size
        raw: Any = path.open("rb")
        self._open.append(raw)
        if self._container.inner:
            archive = zipfile.ZipFile(raw)
            self._open.append(archive)
            raw = archive.open(self._container.inner)
            self._open.append(raw)
        guarded = decompressed(raw, size)
        self._open.append(guarded)
        tar = tarfile.open(fileobj=guarded, mode="r|")  # noqa: SIM115 - closed on exit
        self._open.append(tar)
        return tar, guarded

    def __exit__(self, *details: object) -> None:
        while self._open:
            self._open.pop().close()


def _survey_zip(container: Container, look: Looker, found: Survey) -> None:
    links = images = 0
    with zipfile.ZipFile(container.path) as archive:
        for place, info in enumerate(archive.infolist()):
            kind = kind_by_name(info.filename, container.wanted)
            if info.is_dir() or kind is None or is_hidden(info.filename):
                continue
            if stat.S_ISLNK(info.external_attr >> 16):
                links += 1
                continue
            images += 1
            if kind in ("tar", "stream"):
                inner = Container(container.path, "stream", info.filename, container.wanted)
                _survey_inner(inner, look, found)
            elif kind == "file":
                found.items.append(
                    _member_of_zip(archive, info, Item(container, info.filename, place), look, found)
                )
            else:
                found.notes.append(f"{container.path} holds a zip in the zip, {info.filename}: left out")
    _note_members(container, found, images=images, links=links)


def _survey_inner(container: Container, look: Looker, found: Survey) -> None:
    inner = survey(container, look, found.limit)
    for item in inner.items:
        item.member = item.member or container.inner
    found.items += inner.items
    found.notes += inner.notes


def _member_of_zip(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, item: Item, look: Looker, found: Survey
) -> Item:
    item.size = info.file_size
    item.problem = found.too_large(info.file_size)
    if info.flag_bits & 1:
        item.problem = "it is encrypted"
    elif info.file_size == 0:
        item.problem = "it is empty (0 bytes)"
    if not item.problem:
        try:
            with archive.open(info) as file:
                return _looked(item, look, file)
        except Exception as error:
            item.problem = reason_of(error)
    return item


_SURVEYS: dict[Kind, Callable[[Container, Looker, Survey], None]] = {
    "file": _survey_file,
    "tar": _survey_tar,
    "stream": _survey_stream,
    "zip": _survey_zip,
}


# ---------------------------------------------------------------- their bytes


def chunks_of(items: Sequence[tuple[int, Item]], threads: int) -> list[list[tuple[int, Item]]]:
    """Return images in groups that a thread reads one after another.

    Parameters
    ----------
    items : sequence of (int, Item)
        Rows and images.
    threads : int
        How many threads there are.

    Returns
    -------
    list of list of (int, Item)
        A stream is one group, for it can only be read from its beginning.

    Examples
    --------
    >>> [len(group) for group in chunks_of([(i, Item(Container(str(i), "file"))) for i in range(40)], 1)]
    [32, 8]
    """
    by_container: dict[Any, list[tuple[int, Item]]] = {}
    for row, item in items:
        # Single files are as good as members of one large archive.
        key = "files" if item.container.kind == "file" else item.container
        by_container.setdefault(key, []).append((row, item))
    groups = []
    for key, members in by_container.items():
        kind = "file" if key == "files" else key.kind
        step = len(members) if kind == "stream" else _AT_ONCE
        if kind == "zip":  # each group reads the directory of the zip again
            step = max(_AT_ONCE, -(-len(members) // (2 * threads)))
        groups += [members[i : i + step] for i in range(0, len(members), step)]
    return groups


def read_items(group: Sequence[tuple[int, Item]]) -> Iterator[tuple[int, Item, bytes | Exception]]:
    """Yield the bytes of the images of a group, as `chunks_of` gives it.

    Parameters
    ----------
    group : sequence of (int, Item)
        Rows and images of one container, or single files.

    Yields
    ------
    row : int
    item : Item
    data : bytes or Exception
        All bytes of the image, or what went wrong with this one.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "one.png"
    >>> _ = path.write_bytes(b"pixels")
    >>> [data for _, _, data in read_items([(0, Item(Container(str(path), "file"), size=6))])]
    [b'pixels']
    """
    container = group[0][1].container
    yield from _READERS[container.kind](group)


Read = Iterator[tuple[int, Item, bytes | Exception]]


def _read_files(group: Sequence[tuple[int, Item]]) -> Read:
    for row, item in group:
        try:
            yield row, item, Path(item.container.path).read_bytes()
        except Exception as error:
            yield row, item, error


def _read_tar(group: Sequence[tuple[int, Item]]) -> Read:
    with Path(group[0][1].container.path).open("rb", buffering=0) as file:
        for row, item in sorted(group, key=lambda one: one[1].place):
            try:
                file.seek(item.place)
                data = file.read(item.size)
                whole = len(data) == item.size
                yield row, item, data if whole else ValueError("it is cut short, and so is its archive")
            except Exception as error:
                yield row, item, error


def _read_stream(group: Sequence[tuple[int, Item]]) -> Read:
    wanted = {item.place: (row, item) for row, item in group}
    try:
        with _stream(group[0][1].container) as (tar, _):
            for place, member in enumerate(_wanted_members(tar, group[0][1].container, Survey())):
                if place in wanted:
                    row, item = wanted.pop(place)
                    file = tar.extractfile(member)
                    yield row, item, file.read() if file else ValueError("it cannot be read")
                if not wanted:
                    return
    except Exception as error:
        for row, item in wanted.values():
            yield row, item, error


def _read_zip(group: Sequence[tuple[int, Item]]) -> Read:
    with zipfile.ZipFile(group[0][1].container.path) as archive:
        infos = archive.infolist()
        for row, item in sorted(group, key=lambda one: one[1].place):
            try:
                with archive.open(infos[item.place]) as file:
                    yield row, item, file.read(item.size)
            except Exception as error:
                yield row, item, error


_READERS: dict[Kind, Callable[[Sequence[tuple[int, Item]]], Read]] = {
    "file": _read_files,
    "tar": _read_tar,
    "stream": _read_stream,
    "zip": _read_zip,
}
