"""The record of a step: how it is made, and how it is read."""

from __future__ import annotations

import copy
import functools
import inspect
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, ParamSpec

import numpy as np
from astropy.table import QTable, Table

from astro_cluster.provenance.codec import encode
from astro_cluster.provenance.hashing import content_hash

__all__ = ["META_KEY", "OMIT", "STEPS", "Step", "last_record", "records", "step"]

META_KEY = "astro_cluster"
OMIT: Any = object()
"""Value of a parameter in `Step.parameters` that is to be left out of the record."""

STEPS: dict[str, Callable[..., QTable]] = {}
"""The steps that have been imported, by name."""

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
    then : callable, optional
        Given the table with its record: what keeps it in a file, say.
    """

    table: QTable
    source: QTable | None = None
    inputs: Sequence[str] = ()
    seed: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    then: Callable[[QTable], Any] | None = None


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
        Empty if no step of this package was recorded; what is no record is passed over.

    Examples
    --------
    >>> records(QTable({"x": [1]}))
    []
    """
    found = table.meta.get(META_KEY, [])
    return [record for record in found if _is_record(record)] if isinstance(found, list) else []


def _is_record(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and isinstance(record.get("function"), str)
        and isinstance(record.get("parameters"), dict)
    )


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


def _same(one: Any, other: Any) -> bool:
    """Tell whether two columns hold the same, without hashing where that can be seen at once."""
    if one is other:
        return True
    if getattr(one, "unit", None) != getattr(other, "unit", None):
        return content_hash(QTable({"c": one})) == content_hash(QTable({"c": other}))
    if type(one) is type(other) and getattr(one, "dtype", None) is not None and one.dtype == other.dtype:
        bare = [np.ma.getdata(np.asarray(getattr(column, "unmasked", column))) for column in (one, other)]
        masks = [np.asarray(getattr(column, "mask", False)) for column in (one, other)]
        if not any(mask.ndim for mask in masks) and _same_memory(*bare):
            return True
        if bare[0].dtype.kind != "O" and np.array_equal(*masks):
            return np.array_equal(*bare, equal_nan=bare[0].dtype.kind in "fc")
    return content_hash(QTable({"c": one})) == content_hash(QTable({"c": other}))


def _same_memory(one: np.ndarray, other: np.ndarray) -> bool:
    """Tell whether two arrays are one: images go from table to table without being copied."""
    return one.size > 0 and all(
        one.__array_interface__[key] == other.__array_interface__[key] for key in ("data", "shape", "strides")
    )


def _columns_changed(source: Table | None, result: Table) -> tuple[list[str], list[str]]:
    if source is None:
        return [], []
    before = set(source.colnames)
    added = [name for name in result.colnames if name not in before]
    replaced = []
    if len(source) == len(result):
        replaced = [n for n in result.colnames if n in before and not _same(source[n], result[n])]
    return added, replaced


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
        out.meta[META_KEY] = [*copy.deepcopy(history), record]
        if result.then is not None:
            result.then(out)
        return out

    recorded.__annotations__ = {**function.__annotations__, "return": "QTable"}
    recorded.__signature__ = signature.replace(return_annotation="QTable")  # type: ignore[attr-defined]
    STEPS[function.__name__] = recorded
    return recorded
