"""The record of a step in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from textwrap import wrap
from typing import Any

from astro_cluster.cli.printing import console

__all__ = ["print_record"]

_MOST_ITEMS = 12
_MOST_LETTERS = 400
_PLACED = {
    "function", "parameters", "inputs", "input_hash", "rows_in", "rows_out", "columns_added",
    "columns_replaced", "seed", "versions", "date", "starts", "row_order",
}  # fmt: skip


def print_record(number: int, record: dict[str, Any]) -> None:
    """Print what a step did.

    Parameters
    ----------
    number : int
        Its place.
    record : dict
        As `~astro_cluster.records` returns it.
    """
    where = console()
    when = str(record.get("date", "")).replace("T", " ").replace("Z", " UTC")
    where.print(f"{number}. {record['function']}  {when}")
    told = list(_lines(record))
    indent = 5 + max(len(name) for name, _ in told)
    for name, words in told:
        lines = wrap(_cut(words), max(where.width - indent, 20), break_on_hyphens=False)
        for head, line in zip(chain([f"   {name}"], repeat("")), lines, strict=False):
            where.print(f"{head:<{indent}}{line}", soft_wrap=True)


def _lines(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield names and words; what says nothing is left out."""
    seed = record.get("seed")
    for name, value in record["parameters"].items():
        # What was overwritten is told by the columns.
        if not _is_empty(value) and name != "overwrite" and not (name == "random_state" and value == seed):
            yield name, _words(value)
    if seed is not None:
        yield "seed", _words(seed)
    if (inputs := record.get("inputs")) and not record.get("starts"):
        yield "from columns", _joined([f"{k} [{unit}]" if unit else k for k, unit in inputs.items()])
    for key, name in (("columns_added", "new columns"), ("columns_replaced", "replaced")):
        if record.get(key):
            yield name, _joined(record[key])
    yield "rows", _rows(record)
    for name, value in record.items():
        if name not in _PLACED and not _is_empty(value) and value != record["parameters"].get(name):
            yield name.replace("_", " "), _words(value)
    yield "versions", ", ".join(f"{k} {v}" for k, v in record.get("versions", {}).items())


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [], {})


def _rows(record: dict[str, Any]) -> str:
    before, after = record.get("rows_in"), record.get("rows_out")
    if before == after:
        return _count(after)
    return f"{_count(before)} before, {_count(after)} after"


def _count(rows: Any) -> str:
    return f"{rows:,}" if isinstance(rows, int) else "?"


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…"


def _joined(names: Sequence[str]) -> str:
    if len(names) <= _MOST_ITEMS:
        return ", ".join(names)
    return f"{', '.join(names[: _MOST_ITEMS - 2])}, …, {names[-1]} ({len(names)})"


def _words(value: Any) -> str:
    """Return a plain value of a record as a reader would say it."""
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case list():
            return _joined([_words(item) for item in value])
        case dict():
            return _words_of_dict(value)
    return str(value)


def _words_of_dict(value: dict[str, Any]) -> str:
    """Return what a dict stands for; the tags are those of the codec of the record."""
    match value:
        case {"quantity": number, "unit": unit}:
            return f"{_words(number)} {unit}"
        case {"unrecorded": kind}:
            return f"a {kind}, which the record could not keep"
        case {"type": str(), "value": inner}:
            return _words(inner)
        case {"name": str(name), "file": str(file)}:
            return f"{name} of {file}"
        case {"stem": str(), "columns": list(), "model": str(name), **rest}:  # an embedding
            told = {k: v for k, v in rest.items() if not isinstance(v, (dict, list)) and k != "fitted_here"}
            return ", ".join([name, *(f"{k.replace('_', ' ')} {_words(v)}" for k, v in told.items())])
        case {"name": str(name), "params": dict(parameters)}:
            given = [f"{k}={_words(v)}" for k, v in parameters.items() if v is not None]
            return f"{name}({', '.join(given)})"
        case {"columns": list(columns), "scale": scale, **rest}:
            more = {k: v for k, v in rest.items() if not _is_empty(v)}
            words = [f"scale {_words(scale)}", *(f"{k} {_words(v)}" for k, v in more.items())]
            return f"{_joined(columns)}; {'; '.join(words)}"
        case {"scalings": list(scalings), "missing": missing}:
            scales = dict.fromkeys(s["scale"] for s in scalings)
            by_scale = [f"{k}: {_joined([s['name'] for s in scalings if s['scale'] == k])}" for k in scales]
            return f"missing {missing}; {'; '.join(by_scale)}"
        case {"model": dict(model), "recipe": dict()}:
            return _words(model)
        case {"kind": str(kind), **rest}:
            features = rest.get("features")
            return kind + (f" of {_joined(features)}" if isinstance(features, list) else "")
    if set(value) in ({"float"}, {"unit"}, {"array"}):
        return _words(*value.values())
    return ", ".join(f"{k} {_words(v)}" for k, v in value.items() if not _is_empty(v))
