"""Run the steps of a record again."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

from astropy.table import QTable, Table

from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.provenance.codec import decode
from astro_cluster.provenance.hashing import holds
from astro_cluster.provenance.record import META_KEY, STEPS, records

__all__ = ["register_lender", "rerun"]

_PATHS = {"source", "reference", "onto", "image"}  # parameters that may name files
# Parameters that write files.  No step records them, and a table must not choose what is written.
_WRITING = {"save", "checkpoint", "memmap"}
ENTRY_POINTS = "astro_cluster.steps"

Lender = Callable[[QTable, str], Any]
_LENDERS: list[Lender] = []


def register_lender(lender: Lender) -> Lender:
    """Teach `rerun` where columns are that a file leaves elsewhere: images in a stack of their own.

    Parameters
    ----------
    lender : callable
        Given a table and the name of a column that it lacks, it gives the column, or None.

    Returns
    -------
    callable
        The same, so that this is a decorator.

    Examples
    --------
    >>> @register_lender
    ... def nothing(table, name):
    ...     return None
    """
    _LENDERS.append(lender)
    return lender


def _lend(table: QTable, names: list[str]) -> list[str]:
    """Put columns into a table that it only links to, in place, and return the names of these."""
    lent = []
    for name in names:
        found = next((column for lender in _LENDERS if (column := lender(table, name)) is not None), None)
        if found is not None:
            table.add_column(found, name=name, copy=False)
            lent.append(name)
    return lent


def _find_step(name: str) -> Callable[..., QTable]:
    if name not in STEPS:
        for entry in entry_points(group=ENTRY_POINTS, name=name):
            entry.load()
    if name not in STEPS:
        raise InputError(
            f"the record names the step {name!r}, which this installation does not have; "
            f"it was made with {version('astro_cluster')} or an extension of it"
        )
    return STEPS[name]


def _keeps_rows(record: dict[str, Any]) -> bool:
    # A step may move rows at equal length (a match that drops one and doubles another): it says so.
    return record["rows_in"] == record["rows_out"] and record.get("row_order", "kept") == "kept"


def _relocated(value: Any, folder: Path) -> Any:
    """Find files that have been moved together with the file that is run again."""
    if isinstance(value, list):
        return [_relocated(item, folder) for item in value]
    if isinstance(value, dict):
        return {key: _relocated(item, folder) for key, item in value.items()}
    if not isinstance(value, str) or not value:
        return value
    with contextlib.suppress(OSError):  # a name longer than any file's
        if not Path(value).exists():
            for place in (folder / value, folder / Path(value).name):
                if place.is_file():
                    return str(place)
    return value


def _call_of(record: dict[str, Any], folder: Path) -> tuple[Callable[..., QTable], dict[str, Any]]:
    """Return the function of a record and its parameters."""
    function = _find_step(record["function"])  # first, since it brings the codecs of its parameters
    try:
        parameters = {key: decode(value) for key, value in record["parameters"].items()}
    except InputError as error:
        raise InputError(f"step {record['function']!r} cannot be run again: {error}") from error
    if refused := sorted(key for key in _WRITING & set(parameters) if isinstance(parameters[key], str)):
        raise InputError(
            f"the record of step {record['function']!r} names a file to write ({', '.join(refused)}), which "
            "no step of astro_cluster records: it has been changed by hand, and is not run"
        )
    if not record.get("service"):  # else it may be a name that only looks like a file's
        parameters |= {key: _relocated(parameters[key], folder) for key in _PATHS & set(parameters)}
    # What stands for a model may know a file, too.
    found = {k: v.relocated(folder) for k, v in parameters.items() if hasattr(v, "relocated")}
    return function, parameters | found


def _starting_table(
    table: QTable, history: list[dict[str, Any]], folder: Path
) -> tuple[QTable, list[dict[str, Any]]]:
    """Return the table before the first step to repeat, and the steps to repeat."""
    steps = [r for r in history if not r.get("starts")]
    # Reading images is a step that is worth running again by itself: their files are elsewhere.
    is_alone = not steps and bool(history[0].get("repeatable"))
    if not steps and not is_alone:
        raise InputError(
            "the table has no step of astro_cluster on record (CSV keeps none): there is nothing to run again"
        )
    untouched = not is_alone and all(_keeps_rows(r) and not r["columns_replaced"] for r in steps)
    if untouched:
        added = {name for record in steps for name in record["columns_added"]}
        start = table[[name for name in table.colnames if name not in added]]
        start.meta[META_KEY] = [r for r in history if r.get("starts")]
        return start, steps
    if not history[0].get("starts"):
        raise InputError(
            "a step of the record changed the rows or replaced columns, and the table that it started "
            "from was not read from a file: run the steps again in Python from that table"
        )
    function, parameters = _call_of(history[0], folder)
    start = function(**parameters)
    before, now = history[0]["input_hash"], records(start)[0]
    if before != now["input_hash"] and not holds(start, now["inputs"], before):
        _warn(f"{history[0]['parameters'].get('source', 'the source')} has changed since the record was made")
    return start, steps


_NEEDED = {
    "inputs": dict,
    "input_hash": str,
    "rows_in": int,
    "rows_out": int,
    "columns_added": list,
    "columns_replaced": list,
    "date": str,
}


def _check_whole(table: QTable, history: list[dict[str, Any]]) -> None:
    """Refuse a record from which something is missing."""
    raw = table.meta.get(META_KEY, [])
    if not isinstance(raw, list) or len(raw) != len(history):
        raise InputError("the record of the table is damaged: it holds entries that are no steps")
    for record in history:
        if wrong := [key for key, kind in _NEEDED.items() if not isinstance(record.get(key), kind)]:
            raise InputError(
                f"the record of step {record['function']!r} is damaged: {', '.join(wrong)} is missing "
                "or wrong"
            )


def _warn(message: str) -> None:
    warnings.warn(message, AstroClusterWarning, stacklevel=4)


def _compare_reference(then: dict[str, Any], now: dict[str, Any]) -> None:
    before, after = then.get("reference"), now.get("reference")
    if isinstance(before, dict) and isinstance(after, dict) and before.get("hash") != after.get("hash"):
        name = after.get("path") or after.get("name") or "the reference"
        _warn(f"{name} of step {then['function']!r} has changed since the record was made")


def _compare_types(then: dict[str, Any], now: dict[str, Any]) -> None:
    before, after = then.get("otypes"), now.get("otypes")
    if isinstance(before, dict) and isinstance(after, dict) and before.get("hash") != after.get("hash"):
        _warn(
            f"step {then['function']!r} used the list of object types of {before.get('date')}, and now uses "
            f"that of {after.get('date')}"
        )


def rerun(table: QTable | Table | str | os.PathLike[str]) -> QTable:
    """Run the recorded steps of a table again.

    The columns that the steps used are taken from the table itself, so a file is enough.
    Where a step changed the rows (a match that drops some), the recorded source file is
    read again instead.  Files that the record names by a relative path are looked for in
    the working folder and then beside the file that is run again.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A table with a record, or the file that holds it.

    Returns
    -------
    `~astropy.table.QTable`
        A new table with new records.

    Raises
    ------
    InputError
        If there is no record, a step is unknown, or the source is needed and is not there.

    Warns
    -----
    AstroClusterWarning
        If an input has changed since, or a remote service is asked again: its answers may
        have changed.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> cat = ac.cluster(ac.simulate.chandra(200, random_state=1), "kmeans",
    ...                  n_clusters=3, features=["hard_hs", "hard_ms"], missing="median",
    ...                  random_state=0)
    >>> again = ac.rerun(cat)
    >>> bool((again["cluster"] == cat["cluster"]).all())
    True
    """
    folder = Path()
    if isinstance(table, (str, os.PathLike)):
        folder = Path(table).parent
        table = _find_step("read")(table)
    table = QTable(table, copy=False)
    history = records(table)
    _check_whole(table, history)
    if not history:
        raise InputError(
            "the table has no record of astro_cluster: only what it wrote (not as CSV) can be run again"
        )
    calls = [_call_of(record, folder) for record in history if not record.get("starts")]
    current, steps = _starting_table(table, history, folder)
    lent: list[str] = []
    for record, (function, parameters) in zip(steps, calls, strict=True):
        lent += _lend(current, [name for name in record["inputs"] if name not in current.colnames])
        missing = [name for name in record["inputs"] if name not in current.colnames]
        if missing:
            raise InputError(
                f"step {record['function']!r} used the columns {', '.join(missing)}, which are not in the "
                "table any more: keep the input columns in a file that is to be run again"
            )
        # What was read in chunks was never there as a whole to be hashed.
        if record["input_hash"] and not holds(current, record["inputs"], record["input_hash"]):
            _warn(f"the input columns of step {record['function']!r} have changed since the record was made")
        if record.get("service"):
            service = record["service"]
            _warn(
                f"step {record['function']!r} asks {service.get('name', 'a remote service')} again "
                f"(first on {record['date'][:10]}): its answers may have changed"
            )
        # A column that was taken away between two steps is in the way of the second one.
        current.remove_columns([name for name in record["columns_added"] if name in current.colnames])
        # A step may have the table as another than its first argument.
        named = {str(record["table_as"]): current} if "table_as" in record else {}
        current = function(**named, **parameters) if named else function(current, **parameters)
        _compare_reference(record, records(current)[-1])
        _compare_types(record, records(current)[-1])
    current.remove_columns([name for name in lent if name in current.colnames])
    return current
