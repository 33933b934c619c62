"""What a reference is: a table, a file, or a catalogue of the CDS."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astropy.table import QTable, Table

from astro_cluster.exceptions import InputError
from astro_cluster.tables import as_qtable

__all__ = ["LocalReference", "RemoteReference", "find_reference"]

VIA = ("local", "cds")
# The designations of VizieR: J/A+A/616/A1/table2, I/355/gaiadr3, B/wds/wds, …
_VIZIER = re.compile(r"(?:[IVX]+/\d+[A-Z]?|B/[A-Za-z]\w*|J/[^/\s]+/\S+)(?:/\S+)?")
_HOW = 'give "simbad", a VizieR table such as "vizier:I/355/gaiadr3", the path of a file, or an astropy Table'


@dataclass(frozen=True, slots=True)
class LocalReference:
    """A table at hand; ``name`` says where it is from."""

    table: QTable
    name: str


@dataclass(frozen=True, slots=True)
class RemoteReference:
    """A catalogue of the CDS; ``name`` is what the X-Match service calls it."""

    name: str


def _is_vizier(text: str) -> bool:
    return _VIZIER.fullmatch(text) is not None


def _remote(text: str) -> RemoteReference:
    if text.lower() == "simbad":
        return RemoteReference("simbad")
    name = text.removeprefix("vizier:")
    if not name.strip() or not (text.startswith("vizier:") or _is_vizier(text)):
        raise InputError(f"{text!r} is not the name of a catalogue at the CDS: {_HOW}")
    return RemoteReference(f"vizier:{name}")


def _local(path: Path) -> LocalReference:
    if not path.exists():
        raise InputError(
            f"the reference {os.fspath(path)!r} is neither a file nor a catalogue of the CDS: {_HOW}"
        )
    return LocalReference(as_qtable(path), os.fspath(path))


def find_reference(reference: Any, via: str | None = None) -> LocalReference | RemoteReference:
    """Tell what a reference is, and read it if it is a file.

    Parameters
    ----------
    reference : `~astropy.table.Table`, str or path
        What to match with.
    via : {"local", "cds"}, optional
        Where it is, if it can be taken for both.

    Returns
    -------
    LocalReference or RemoteReference

    Raises
    ------
    InputError
        If it is neither or both, or the file cannot be read.

    Examples
    --------
    >>> find_reference("I/355/gaiadr3")
    RemoteReference(name='vizier:I/355/gaiadr3')
    """
    if via is not None and via not in VIA:
        raise InputError(f"via={via!r} is not known; it is one of {', '.join(map(repr, VIA))}, or left out")
    if isinstance(reference, Table):
        if via == "cds":
            raise InputError(
                "via='cds' takes the name of a catalogue; a table at hand is matched with via='local'"
            )
        return LocalReference(as_qtable(reference), "a table in memory")
    if isinstance(reference, os.PathLike) and via != "cds":
        return _local(Path(reference))
    if not isinstance(reference, str):
        raise InputError(f"cannot match with a {type(reference).__name__}: {_HOW}")
    if via is not None:
        return _remote(reference) if via == "cds" else _local(Path(reference))
    is_file = Path(reference).is_file()
    if reference.lower() == "simbad" or reference.startswith("vizier:"):
        if is_file:
            raise InputError(
                f"{reference!r} is a file here and a catalogue of the CDS: say via='local' or via='cds'"
            )
        return _remote(reference)
    if _is_vizier(reference):
        if is_file:
            raise InputError(f"{reference!r} is a file here and a VizieR table: say via='local' or via='cds'")
        return _remote(reference)
    return _local(Path(reference))
