"""What a reference is: a table, a file, a catalogue of the CDS, or a table of a TAP service."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from astropy.table import QTable, Table

from astro_cluster.chunks import ChunkedFile
from astro_cluster.config import conf
from astro_cluster.exceptions import InputError
from astro_cluster.matching.largefile import open_if_large
from astro_cluster.tables import as_qtable

__all__ = ["LocalReference", "RemoteReference", "TapReference", "find_reference"]

VIA = ("local", "cds", "tap")
_SERVICE = re.compile(r"(?:https?|ivo)://", re.IGNORECASE)
_ANY_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# The designations of VizieR: J/A+A/616/A1/table2, I/355/gaiadr3, B/wds/wds, …
_VIZIER = re.compile(r"(?:[IVX]+/\d+[A-Z]?|B/[A-Za-z]\w*|J/[^/\s]+/\S+)(?:/\S+)?")
_HOW = (
    'give "simbad", a VizieR table such as "vizier:I/355/gaiadr3", a table of a TAP service such as '
    '"https://host/tap#schema.table", the path of a file, or an astropy Table'
)


@dataclass(frozen=True, slots=True)
class LocalReference:
    """A table at hand, or a file that does not fit in memory; ``name`` says where it is from."""

    table: QTable | ChunkedFile
    name: str


@dataclass(frozen=True, slots=True)
class RemoteReference:
    """A catalogue of the CDS; ``name`` is what the X-Match service calls it."""

    name: str


@dataclass(frozen=True, slots=True)
class TapReference:
    """A table of a TAP service.

    Parameters
    ----------
    url : str
        Address of the service, or its identifier in the registry (``ivo://…``).
    table : str
        What the service calls the table.
    name : str
        What it is called in messages and in the record.
    setting : str
        Where the address is from, in messages.
    session : `requests.Session`, optional
        One with a login, of a `pyvo.dal.TAPService`.
    """

    url: str
    table: str
    name: str
    setting: str = "the address of the reference"
    session: Any = field(default=None, repr=False, compare=False)

    @property
    def is_simbad(self) -> bool:
        """Whether it is SIMBAD, whose columns have several names."""
        return self.name == "simbad"


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
    return LocalReference(open_if_large(path) or as_qtable(path), os.fspath(path))


def _of_service(url: str, table: str | None, session: Any = None) -> TapReference:
    """Return a table of a service; its name may stand behind the address."""
    address, _, behind = url.partition("#")
    if table and behind and table != behind:
        raise InputError(f"the reference {url!r} names the table {behind!r}, and service_table={table!r}")
    table = (table or behind).strip()
    if not table:
        raise InputError(
            f"the TAP service {url!r} has many tables: say which, as {address}#schema.table or with "
            "service_table="
        )
    return TapReference(address, table, f"{address}#{table}", session=session)


def _by_tap(reference: Any, table: str | None) -> TapReference:
    if not isinstance(reference, str):
        url = getattr(reference, "baseurl", None)  # a pyvo.dal.TAPService
        if isinstance(url, str) and hasattr(reference, "run_sync"):
            return _of_service(url, table, getattr(reference, "_session", None))
        raise InputError(f"cannot match with a {type(reference).__name__} by TAP: {_HOW}")
    if reference.lower() == "simbad":
        return TapReference(str(conf.simbad_tap_url), table or "basic", "simbad", "conf.simbad_tap_url")
    if reference.startswith("vizier:") or _is_vizier(reference):
        name = reference.removeprefix("vizier:")
        return TapReference(str(conf.vizier_tap_url), name, f"vizier:{name}", "conf.vizier_tap_url")
    if _SERVICE.match(reference):
        return _of_service(reference, table)
    raise InputError(f"{reference!r} is not the address of a TAP service: {_HOW}")


def find_reference(
    reference: Any, via: str | None = None, service_table: str | None = None
) -> LocalReference | RemoteReference | TapReference:
    """Tell what a reference is, and read it if it is a file.

    Parameters
    ----------
    reference : `~astropy.table.Table`, str or path
        What to match with.
    via : {"local", "cds", "tap"}, optional
        Where it is, if it can be taken for several.
    service_table : str, optional
        The table, if ``reference`` is a TAP service.

    Returns
    -------
    LocalReference, RemoteReference or TapReference

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
    is_table = isinstance(reference, Table)
    is_service = not is_table and hasattr(reference, "run_sync")
    if isinstance(reference, str) and via in (None, "tap"):
        is_service = _SERVICE.match(reference) is not None
    if is_service or (via == "tap" and not is_table):
        return _by_tap(reference, service_table)
    if service_table is not None:
        raise InputError("service_table= names a table of a TAP service, and the reference is none")
    if isinstance(reference, str) and reference.lower().startswith("file://"):
        return _local(Path(url2pathname(urlsplit(reference).path)))
    if isinstance(reference, str) and _ANY_SCHEME.match(reference) and not Path(reference).exists():
        raise InputError(f"{reference!r} is neither a file nor the address of a service: {_HOW}")
    if is_table:
        if via in ("cds", "tap"):
            raise InputError(
                f"via={via!r} takes the name of a catalogue; a table at hand is matched with via='local'"
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
