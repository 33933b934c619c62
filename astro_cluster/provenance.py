"""The record of every step, and how to run it again.

A public step is decorated with `step`.  It returns a `Step`; the decorator writes the
record into ``table.meta["astro_cluster"]`` and hands the table to the caller.  `rerun`
finds the steps by name through the entry points of group ``astro_cluster.steps``, so
that this room imports none of the rooms above it.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import math
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import entry_points, version
from typing import Any, NamedTuple, ParamSpec

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table

from astro_cluster.exceptions import AstroClusterWarning, InputError

__all__ = [
    "META_KEY",
    "OMIT",
    "Step",
    "content_hash",
    "decode",
    "encode",
    "last_record",
    "records",
    "register_codec",
    "rerun",
    "step",
]

META_KEY = "astro_cluster"
OMIT: Any = object()
"""Value of a parameter in `Step.parameters` that is to be left out of the record."""

ENTRY_POINTS = "astro_cluster.steps"
_VERSIONS_OF = ("numpy", "astropy", "scipy", "scikit-learn", "astroquery", "pyvo", "torch")

P = ParamSpec("P")


@dataclass(slots=True)
class Step:
    """What a step hands to its recorder.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        The result.
    source : `~astropy.table.QTable`, optional
        The table that the step started from; its record is continued.
    inputs : sequence of str
        Columns of ``source`` that the step used; their content is hashed.
    seed : int, optional
        The random seed in use.
    facts : dict
        Further plain facts: the fitted ``recipe`` and ``model``, the ``service`` and so on.
    parameters : dict
        Parameters to record in place of the caller's (a default resolved, say), or `OMIT`.
    """

    table: QTable
    source: QTable | None = None
    inputs: Sequence[str] = ()
    seed: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)


class _Codec(NamedTuple):
    cls: type
    to_plain: Callable[[Any], Any]
    from_plain: Callable[[Any], Any]


_CODECS: dict[str, _Codec] = {}


def register_codec(
    tag: str, cls: type, to_plain: Callable[[Any], Any], from_plain: Callable[[Any], Any]
) -> None:
    """Teach the record how to keep a kind of parameter.

    Parameters
    ----------
    tag : str
        Name of the kind in the record.
    cls : type
        Objects of this class are encoded.
    to_plain, from_plain : callable
        To plain JSON values and back.  ``from_plain`` sees what stood in a file and must
        refuse what it does not know.

    Examples
    --------
    >>> register_codec("complex", complex, lambda z: [z.real, z.imag], lambda v: complex(*v))
    >>> decode(encode(1 + 2j))
    (1+2j)
    """
    _CODECS[tag] = _Codec(cls, to_plain, from_plain)


def encode(value: Any) -> Any:
    """Turn a parameter into plain JSON values.

    Parameters
    ----------
    value : object
        A number, string, Quantity, array, path, list, dict or an object of a registered
        class.

    Returns
    -------
    object
        What `json.dumps` takes.  What cannot be kept becomes ``{"unrecorded": "<type>"}``.

    Examples
    --------
    >>> encode({"radius": 1 * u.arcsec})
    {'radius': {'quantity': 1.0, 'unit': 'arcsec'}}
    """
    match value:
        case None | bool() | str():
            return value
        case np.bool_():
            return bool(value)
        case int() | np.integer():
            return int(value)
        case float() | np.floating():
            return float(value) if math.isfinite(value) else {"float": str(float(value))}
        case u.Quantity():
            return {
                "quantity": encode(np.asarray(value.value, dtype=float).tolist()),
                "unit": str(value.unit),
            }
        case u.UnitBase():
            return {"unit": value.to_string()}
        case np.ndarray():
            return {"array": encode(value.tolist())}
        case os.PathLike():
            return os.fspath(value)
        case dict():
            return {str(key): encode(item) for key, item in value.items()}
        case list() | tuple() | range():
            return [encode(item) for item in value]
    for tag, codec in _CODECS.items():
        if isinstance(value, codec.cls):
            return {"type": tag, "value": encode(codec.to_plain(value))}
    return {"unrecorded": type(value).__name__}


def decode(value: Any) -> Any:
    """Turn plain values of a record back into parameters: the inverse of `encode`.

    Parameters
    ----------
    value : object
        What `encode` made.

    Returns
    -------
    object

    Raises
    ------
    InputError
        If the value could not be kept when the record was made, or its kind is unknown.

    Examples
    --------
    >>> decode({"quantity": 1.0, "unit": "arcsec"})
    <Quantity 1. arcsec>
    """
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    keys = set(value)
    if keys == {"float"}:
        return float(value["float"])
    if keys == {"quantity", "unit"}:
        return u.Quantity(decode(value["quantity"]), value["unit"])
    if keys == {"unit"}:
        return u.Unit(value["unit"])
    if keys == {"array"}:
        return np.array(decode(value["array"]))
    if keys == {"unrecorded"}:
        raise InputError(
            f"the record could not keep a parameter of type {value['unrecorded']}: "
            "run this step from Python with that parameter given"
        )
    if keys == {"type", "value"}:
        if value["type"] not in _CODECS:
            raise InputError(
                f"the record has a parameter of unknown type {value['type']!r}; "
                "it may come from a newer version or from an extension that is not installed"
            )
        return _CODECS[value["type"]].from_plain(decode(value["value"]))
    return {key: decode(item) for key, item in value.items()}


def _canonical(column: Any) -> Iterable[bytes]:
    """Bytes of a column that do not change on a trip through a file.

    A masked float and a NaN are the same (VOTable knows no difference), as are a masked
    string and an empty one; width and byte order of numbers do not count.
    """
    if hasattr(column, "frame") or not hasattr(column, "dtype"):  # SkyCoord, Time and other mixins
        from astropy.table.serialize import represent_mixins_as_columns

        plain = represent_mixins_as_columns(QTable({"c": column}))
        for name in plain.colnames:
            yield from _canonical(plain[name])
        return
    mask = np.array(getattr(column, "mask", False), dtype=bool)
    data = column.unmasked if hasattr(column, "unmasked") else column
    data = np.asarray(getattr(data, "value", data))
    data = np.asarray(getattr(data, "data", data)) if np.ma.isMaskedArray(data) else data
    mask = np.broadcast_to(mask, data.shape)
    kind = data.dtype.kind
    if kind in "OUS":
        for item, hidden in zip(data.ravel(), mask.ravel(), strict=True):
            text = "" if hidden or item is None else item.decode() if isinstance(item, bytes) else str(item)
            raw = text.encode()
            yield len(raw).to_bytes(8, "little") + raw
        return
    if kind == "f":
        values = np.array(data, dtype="<f8")
        values[mask | np.isnan(values)] = np.nan
        values[values == 0] = 0.0  # -0.0
    elif kind == "c":
        values = np.array(data, dtype="<c16")
        values[mask] = np.nan
    else:
        values = np.array(data, dtype="<u8" if kind == "u" and data.dtype.itemsize == 8 else "<i8")
        values[mask] = 0
        if mask.any():
            yield np.packbits(mask).tobytes()
    yield values.tobytes()


def _unit_text(column: Any) -> str:
    """Return the unit in one spelling, however a file format spells it."""
    unit = getattr(column, "unit", None)
    if not isinstance(unit, u.UnitBase) or isinstance(unit, u.UnrecognizedUnit):
        return str(unit or "")
    base = unit.decompose()
    factors = sorted(f"{part}^{float(power):g}" for part, power in zip(base.bases, base.powers, strict=True))
    return " ".join([*factors, f"{base.scale:.12g}"])


def content_hash(table: Table, names: Iterable[str] | None = None) -> str:
    """Return a hash of the values, units and names of some columns.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.
    names : iterable of str, optional
        Columns to take; all of them if not given.

    Returns
    -------
    str
        ``sha256:`` and 64 hexadecimal digits, whatever the order of the columns; the same
        after a trip through VOTable, FITS,
        ECSV or Parquet.

    Examples
    --------
    >>> a, b = QTable({"x": [1.0, np.nan]}), QTable({"x": np.array([1, np.nan], ">f4")})
    >>> content_hash(a) == content_hash(b)
    True
    """
    digest = hashlib.sha256()
    for name in sorted(table.colnames if names is None else names):
        column = table[name]
        digest.update(f"\0{name}\0{_unit_text(column)}\0".encode())
        for chunk in _canonical(column):
            digest.update(chunk)
    return "sha256:" + digest.hexdigest()


@functools.cache
def _version(package: str) -> str:
    return version(package)


def _versions() -> dict[str, str]:
    module_of = {"scikit-learn": "sklearn"}
    loaded = [name for name in _VERSIONS_OF if module_of.get(name, name) in sys.modules]
    return {
        "astro_cluster": _version("astro_cluster"),
        "python": platform.python_version(),
        **{name: _version(name) for name in loaded},
    }


def records(table: Table) -> list[dict[str, Any]]:
    """Return the records of the steps that made a table, the oldest first.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.

    Returns
    -------
    list of dict
        Empty if no step of this package was recorded.

    Examples
    --------
    >>> records(QTable({"x": [1]}))
    []
    """
    found = table.meta.get(META_KEY, [])
    return list(found) if isinstance(found, list) else []


def last_record(table: Table, function: str, **parameters: Any) -> dict[str, Any] | None:
    """Return the latest record of a function, with these parameters if any are given.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.
    function : str
        Name of the step.
    **parameters : object
        Plain values that the recorded parameters must have.

    Returns
    -------
    dict or None

    Examples
    --------
    >>> last_record(QTable({"x": [1]}), "cluster") is None
    True
    """
    for record in reversed(records(table)):
        if record.get("function") == function and all(
            record["parameters"].get(key) == value for key, value in parameters.items()
        ):
            return record
    return None


def _columns_changed(source: Table | None, result: Table) -> tuple[list[str], list[str]]:
    if source is None:
        return [], []
    before = set(source.colnames)
    added = [name for name in result.colnames if name not in before]
    replaced = [
        name
        for name in result.colnames
        if name in before
        and len(source) == len(result)
        and result[name] is not source[name]
        and content_hash(source, [name]) != content_hash(result, [name])
    ]
    return added, replaced


_STEPS: dict[str, Callable[..., QTable]] = {}


def step(function: Callable[P, Step]) -> Callable[P, QTable]:
    """Make a public step of a function: register it by name and record each call.

    Parameters
    ----------
    function : callable
        Takes a table (or a source of one) first and returns a `Step`.

    Returns
    -------
    callable
        Takes the same and returns the `~astropy.table.QTable`, its record continued.

    Examples
    --------
    >>> @step
    ... def twice(table, column):
    ...     out = table.copy()
    ...     out[column + "_twice"] = 2 * table[column]
    ...     return Step(out, table, inputs=[column])
    >>> out = twice(QTable({"x": [1.0]}), "x")
    >>> records(out)[0]["function"], records(out)[0]["columns_added"]
    ('twice', ['x_twice'])
    """
    signature = inspect.signature(function)
    first = next(iter(signature.parameters))

    @functools.wraps(function)
    def recorded(*args: P.args, **kwargs: P.kwargs) -> QTable:
        result = function(*args, **kwargs)
        if not isinstance(result, Step):  # a query shown unsent, say
            return result
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        # A step whose first argument is a table keeps it out of the record: it is the file itself.
        parameters = {k: v for k, v in bound.arguments.items() if result.source is None or k != first}
        for name, parameter in signature.parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                parameters.update(parameters.pop(name, {}))
        parameters.update(result.parameters)
        parameters = {name: value for name, value in parameters.items() if value is not OMIT}
        source, out = result.source, result.table
        added, replaced = _columns_changed(source, out)
        before = source if source is not None else out
        record: dict[str, Any] = {
            "function": function.__name__,
            "parameters": encode(parameters),
            "inputs": {name: str(getattr(before[name], "unit", None) or "") for name in result.inputs},
            "input_hash": content_hash(before, result.inputs),
            "rows_in": len(before),
            "rows_out": len(out),
            "columns_added": added,
            "columns_replaced": replaced,
            "seed": encode(result.seed),
            "versions": _versions(),
            "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            **({"starts": True} if source is None else {}),
            **{key: encode(fact) for key, fact in result.facts.items()},
        }
        history = records(source) if source is not None else records(out)
        out.meta[META_KEY] = [*history, record]
        return out

    recorded.__annotations__ = {**function.__annotations__, "return": "QTable"}
    recorded.__signature__ = signature.replace(return_annotation="QTable")  # type: ignore[attr-defined]
    _STEPS[function.__name__] = recorded
    return recorded


def _find_step(name: str) -> Callable[..., QTable]:
    if name not in _STEPS:
        for entry in entry_points(group=ENTRY_POINTS, name=name):
            entry.load()
    if name not in _STEPS:
        raise InputError(
            f"the record names the step {name!r}, which this installation does not have; "
            f"it was made with {_version('astro_cluster')} or an extension of it"
        )
    return _STEPS[name]


def _keeps_rows(record: dict[str, Any]) -> bool:
    # A step may move rows at equal length (a match that drops one and doubles another): it says so.
    return record["rows_in"] == record["rows_out"] and record.get("row_order", "kept") == "kept"


def _starting_table(table: QTable, history: list[dict[str, Any]]) -> tuple[QTable, list[dict[str, Any]]]:
    """Return the table before the first step to repeat, and the steps to repeat."""
    steps = [r for r in history if not r.get("starts")]
    if not steps:
        raise InputError("the record holds no step after the first: there is nothing to run again")
    untouched = all(_keeps_rows(r) and not r["columns_replaced"] for r in steps)
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
    start = _find_step(history[0]["function"])(**decode(history[0]["parameters"]))
    before, now = history[0]["input_hash"], records(start)[0]["input_hash"]
    if before != now:
        _warn(f"{history[0]['parameters'].get('source', 'the source')} has changed since the record was made")
    return start, steps


def _warn(message: str) -> None:
    warnings.warn(message, AstroClusterWarning, stacklevel=4)


def rerun(table: QTable | Table | str | os.PathLike[str]) -> QTable:
    """Run the recorded steps of a table again.

    The columns that the steps used are taken from the table itself, so a file is enough.
    Where a step changed the rows (a match that drops some), the recorded source file is
    read again instead.

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
    if isinstance(table, (str, os.PathLike)):
        table = _find_step("read")(table)
    table = QTable(table, copy=False)
    history = records(table)
    if not history:
        raise InputError(
            "the table has no record of astro_cluster: only what it wrote (not as CSV) can be run again"
        )
    current, steps = _starting_table(table, history)
    for record in steps:
        function = _find_step(record["function"])
        missing = [name for name in record["inputs"] if name not in current.colnames]
        if missing:
            raise InputError(
                f"step {record['function']!r} used the columns {', '.join(missing)}, which are not in the "
                "table any more: keep the input columns in a file that is to be run again"
            )
        if content_hash(current, record["inputs"]) != record["input_hash"]:
            _warn(f"the input columns of step {record['function']!r} have changed since the record was made")
        if record.get("service"):
            service = record["service"]
            _warn(
                f"step {record['function']!r} asks {service.get('name', 'a remote service')} again "
                f"(first on {record['date'][:10]}): its answers may have changed"
            )
        current = function(current, **decode(record["parameters"]))
    return current


def to_json(history: list[dict[str, Any]]) -> str:
    """Write records as ASCII JSON, floats exactly.

    Parameters
    ----------
    history : list of dict
        What `records` gives.

    Returns
    -------
    str

    Examples
    --------
    >>> to_json([{"function": "read"}])
    '[{"function": "read"}]'
    """
    return json.dumps(history, ensure_ascii=True, allow_nan=False)
