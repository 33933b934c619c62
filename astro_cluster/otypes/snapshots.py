"""Which list of types is in use: the one shipped, or a later one that was fetched."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from astropy.config.paths import get_cache_dir
from astropy.table import QTable, Table
from astropy.utils.exceptions import AstropyWarning

from astro_cluster import provenance
from astro_cluster.config import conf
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.otypes.names import Names
from astro_cluster.otypes.tree import SEPARATOR, Otype, Tree

__all__ = [
    "COLUMNS",
    "Snapshot",
    "State",
    "current",
    "fetched_path",
    "reset",
    "shipped",
    "snapshot",
    "tree_of",
]

COLUMNS = ("otype", "label", "description", "is_candidate", "path")
_FILE = "simbad_otypes.ecsv"
_OLD_FILE = "simbad_otypes_old.ecsv"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A dated list of SIMBAD's types.

    Parameters
    ----------
    date : str
        Day (or year) of which it is, ISO.
    source : str
        Where it comes from.
    count : int
        Number of types, candidates included.
    hash : str
        Hash of its content.
    path : str or None
        File that holds it; None for the one that is shipped.

    Examples
    --------
    >>> snapshot().count > 200
    True
    """

    date: str
    source: str
    count: int
    hash: str
    path: str | None = None

    def facts(self) -> dict[str, Any]:
        """Return what the record of a step keeps of it."""
        return {"date": self.date, "source": self.source, "count": self.count, "hash": self.hash}


@dataclass(frozen=True, slots=True)
class State:
    """A snapshot, ready for use.

    Parameters
    ----------
    snapshot : `Snapshot`
        What it is.
    tree : `Tree`
        The hierarchy.
    names : `Names`
        What its types are called.
    """

    snapshot: Snapshot
    tree: Tree
    names: Names


def fetched_path() -> Path:
    """Return where a list that `update` fetched is kept.

    Returns
    -------
    path
        In the folder ``conf.cache_dir``, else in astropy's cache folder.

    Examples
    --------
    >>> from astro_cluster import conf
    >>> with conf.set_temp("cache_dir", "here"):
    ...     fetched_path().as_posix()
    'here/simbad_otypes.ecsv'
    """
    return Path(conf.cache_dir or get_cache_dir("astro_cluster")) / _FILE


def tree_of(table: Table, also: dict[str, str] | None = None) -> Tree:
    """Return the hierarchy that a table in the form of SIMBAD's ``otypedef`` holds.

    Parameters
    ----------
    table : `~astropy.table.Table`
        A row a type: ``otype``, ``label``, ``description``, ``is_candidate`` and ``path``.
    also : dict of str to str, optional
        As for `Tree`, the codes separated by blanks.

    Returns
    -------
    `Tree`

    Raises
    ------
    ValueError
        If a column is missing, a cell is empty, or the rows make no hierarchy.

    Examples
    --------
    >>> rows = Table({"otype": ["X"], "label": ["X"], "description": ["X-ray source"],
    ...               "is_candidate": [0], "path": ["X"]})
    >>> tree_of(rows).types["X"].description
    'X-ray source'
    """
    if missing := [name for name in COLUMNS if name not in table.colnames]:
        raise ValueError(f"the column {missing[0]} is missing")
    types = []
    for cells in zip(*(_plain(table, name) for name in COLUMNS), strict=True):
        code, label, description, candidate, path = cells
        parts = tuple(part.strip() for part in path.split(SEPARATOR.strip()))
        is_candidate = _truth(candidate, code)
        if is_candidate and len(parts) > 1 and parts[-1] == code:
            parts = parts[:-1]  # its own end is told by the code
        types.append(Otype(code, label, description, is_candidate, parts))
    return Tree(types, {top: codes.split() for top, codes in (also or {}).items()})


def _plain(table: Table, name: str) -> list[str]:
    """Return the cells of a column as text, none of them empty but descriptions."""
    column = table[name]
    mask = np.broadcast_to(getattr(column, "mask", False), (len(table),))
    if name != "description" and mask.any():
        raise ValueError(f"{int(mask.sum())} cells of the column {name} are empty")
    items = np.ma.getdata(np.asarray(column)).tolist()
    texts = [item.decode("utf-8") if isinstance(item, bytes) else str(item) for item in items]
    return ["" if hidden else " ".join(text.split()) for text, hidden in zip(texts, mask, strict=True)]


def _truth(text: str, code: str) -> bool:
    known = {"0": False, "1": True, "false": False, "true": True}
    if text.lower() not in known:
        raise ValueError(f"is_candidate of type {code!r} is {text!r}, not 0 or 1")
    return known[text.lower()]


def content_hash(table: Table) -> str:
    """Return the hash of a list of types.

    Parameters
    ----------
    table : `~astropy.table.Table`
        With the columns `COLUMNS`.

    Returns
    -------
    str

    Examples
    --------
    >>> content_hash(Table({name: ["x"] for name in COLUMNS}))[:7]
    'sha256:'
    """
    return provenance.content_hash(QTable(table[list(COLUMNS)]))


def _read(path: Any) -> Table:
    return Table.read(path.read_text(encoding="utf-8").splitlines(), format="ascii.ecsv")


@functools.cache
def shipped() -> State:
    """Return the snapshot that comes with the package.

    Returns
    -------
    `State`

    Examples
    --------
    >>> shipped().tree.types["Sy1"].path
    ('G', 'AGN', 'SyG', 'Sy1')
    """
    table = _read(files("astro_cluster") / "data" / _FILE)
    tree = tree_of(table, table.meta["also"])
    facts = Snapshot(str(table.meta["date"]), str(table.meta["source"]), len(table), content_hash(table))
    return State(facts, tree, Names(tree, _old_names()))


@functools.cache
def _old_names() -> tuple[tuple[str, str, str], ...]:
    table = _read(files("astro_cluster") / "data" / _OLD_FILE)
    return tuple(zip(*(_filled(table[name]) for name in ("name", "code", "otype")), strict=True))


def _filled(column: Any) -> list[str]:
    return [str(item) for item in np.ma.filled(np.ma.asarray(column), "").tolist()]


@functools.lru_cache(maxsize=4)
def _fetched(path: Path, changed: int, size: int) -> State:
    """Return the snapshot in a file, read again when it has changed; a damaged one is passed over."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)  # what is odd about the file is told below
            table = _read(path)
        base = shipped()
        tree = tree_of(table, {top: " ".join(codes) for top, codes in base.tree.also.items()})
        told = {key: str(table.meta.get(key, "")) for key in ("date", "source", "hash")}
        if told["hash"] != content_hash(table):
            raise ValueError("its content is not what was written")
        date.fromisoformat(told["date"])
        facts = Snapshot(told["date"], told["source"], len(table), told["hash"], str(path))
    except Exception as error:  # the readers of a broken file have exceptions of their own
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        warnings.warn(
            f"the list of object types {path} is damaged and not used ({reason}); the one of "
            f"{shipped().snapshot.date} that comes with the package is. Fetch it again with "
            "ac.otypes.update() (astro-cluster otypes --update), or delete it with ac.otypes.reset()",
            AstroClusterWarning,
            stacklevel=5,
        )
        return shipped()
    return State(facts, tree, Names(tree, _old_names()))


def current() -> State:
    """Return the snapshot in use: a fetched one, unless that which is shipped is later.

    Returns
    -------
    `State`

    Warns
    -----
    AstroClusterWarning
        If the file of the fetched one is damaged.

    Examples
    --------
    >>> current().snapshot == snapshot()
    True
    """
    try:
        path = fetched_path()
        told = path.stat()
    except OSError:
        return shipped()
    found = _fetched(path, told.st_mtime_ns, told.st_size)
    return found if found.snapshot.date >= shipped().snapshot.date else shipped()


def snapshot() -> Snapshot:
    """Return which list of SIMBAD's types is in use.

    Returns
    -------
    `Snapshot`
        Its ``date``, ``source``, ``count`` and ``hash``; ``path`` is the file of a fetched one.

    Examples
    --------
    >>> snapshot().date >= "2022"
    True
    """
    return current().snapshot


def reset() -> bool:
    """Go back to the types that come with the package: delete what `update` fetched.

    Returns
    -------
    bool
        Whether there was anything to delete.

    Raises
    ------
    InputError
        If the file cannot be deleted.

    Examples
    --------
    >>> from astro_cluster import conf
    >>> with conf.set_temp("cache_dir", str(getfixture("tmp_path"))):
    ...     reset()
    False
    """
    path = fetched_path()
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise InputError(f"cannot delete {path}: {error.strerror}") from error
    return True
