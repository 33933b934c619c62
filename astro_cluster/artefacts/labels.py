"""What people said of some of the rows: from a column, or from a list keyed by identifiers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import QTable, Table

from astro_cluster.cells import cell_texts
from astro_cluster.columns import require
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.summary import is_bad
from astro_cluster.tables import as_qtable

__all__ = ["MOST_CLASSES", "Labels", "labels_of"]

MOST_CLASSES = 20
"""Classes that can be told apart."""

_TRUE, _FALSE = {"true", "yes"}, {"false", "no"}
_NO_NAMES = {"label", "labels", "class", "value"}


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of some rows.

    Parameters
    ----------
    names : list of str
        Of the classes that get a probability.
    classes : (n,) array of int
        Number of each row's class, -1 where there is no label.  With a single name 1 is that
        class and 0 is any other.
    inputs : list of str
        Columns of the table that were used.
    plain : object
        What the record keeps of them.
    """

    names: list[str]
    classes: np.ndarray
    inputs: list[str]
    plain: Any

    @property
    def known(self) -> np.ndarray:
        """Which rows have a label, (n,) array of bool."""
        return self.classes >= 0


def labels_of(
    table: QTable,
    labels: str | os.PathLike[str] | Table | Mapping[Any, Any],
    *,
    id: str | None = None,  # noqa: A002
    value: str | int | float | bool | None = None,
    name: str | None = None,
    several: bool = True,
) -> Labels:
    """Return the labels of the rows.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    labels : str, path, table or mapping
        A column of the table, masked or empty where there is no label; a table, or a file of
        one, with identifiers and labels; or labels by identifier.
    id : str, optional
        Column of identifiers, in the table and in a table of labels.  If not given, the first
        column of the table of labels that the table has too.
    value : str, number or bool, optional
        The class to find, if the others are not to be told from each other.
    name : str, optional
        What to call that class.
    several : bool, optional
        Whether labels of a single class are refused.

    Returns
    -------
    Labels

    Raises
    ------
    InputError
        If a column or file is missing, an identifier is not unique or fits no row, or there are
        fewer than two classes although several are needed.

    Warns
    -----
    AstroClusterWarning
        Identifiers of labels that are not in the table.

    Examples
    --------
    >>> t = QTable({"id": [11, 12, 13], "spurious": ["yes", "no", ""]})
    >>> labels_of(t, "spurious", value="yes").classes.tolist()
    [1, 0, -1]
    >>> labels_of(t, {11: "star", 13: "galaxy"}, id="id").names
    ['galaxy', 'star']
    """
    plain: Any = labels
    if isinstance(labels, str) and labels in table.colnames:
        column, inputs, own = table[labels], [labels], labels
    else:
        column, inputs, own, plain = _joined(table, labels, id)
    if getattr(column, "shape", (0,))[1:]:
        raise InputError(f"labels {own!r} have several values a row; labels are one a row")
    texts, nothing = cell_texts(column, len(table))
    kind = np.ma.getdata(np.asarray(column)).dtype.kind
    if kind in "USO" and value in (None, True) and (words := _truths(texts[~nothing])) is not None:
        # As a CSV file has them.
        truths = np.zeros(len(table), dtype=bool)
        truths[~nothing] = words
        column, kind = np.ma.array(truths, mask=nothing), "b"
    if value is None and _is_yes_or_no(column, nothing, kind):
        value = True
    if value is not None:
        single = QTable({own: column})
        bad, _ = is_bad(single, own, value)
        found = np.where(nothing, -1, bad.astype(np.int64))
        names = [name or _name_of(own, value, kind)]
        kinds = np.unique(found[found >= 0])
    else:
        if name is not None:
            raise InputError(f"name={name!r} names the class that value= is, and value= is not given")
        names = sorted(set(texts[~nothing]))
        if len(names) > MOST_CLASSES:
            raise InputError(
                f"labels {own!r} have {len(names)} different values, and at most {MOST_CLASSES} classes can "
                "be learnt; say which is to be found with value= (--value)"
            )
        found = np.full(len(table), -1, dtype=np.int64)
        found[~nothing] = np.searchsorted(names, texts[~nothing].astype(str))
        kinds = np.arange(len(names))
    if len(kinds) < 2 and (several or not len(kinds)):
        _fail_single(own, texts[~nothing], value)
    return Labels(names, found, inputs, plain)


def _truths(texts: np.ndarray) -> list[bool] | None:
    """Return truth values that are written as words, if all are."""
    lower = [str(text).lower() for text in texts]
    return [text in _TRUE for text in lower] if lower and set(lower) <= _TRUE | _FALSE else None


def _is_yes_or_no(column: Any, nothing: np.ndarray, kind: str) -> bool:
    """Tell whether labels are true and false, also if they are written as 1 and 0."""
    if kind == "b":
        return True
    if kind in "iuf":
        return set(np.unique(np.ma.getdata(np.asarray(column))[~nothing]).tolist()) <= {0, 1}
    return False


def _name_of(own: str, value: Any, kind: str) -> str:
    if value is True or kind == "b":
        return own if value is True else f"not_{own}"
    return str(value) if kind in "USO" else f"{own}_{value}"


def _fail_single(own: str, texts: np.ndarray, value: Any) -> None:
    seen = sorted(set(texts.tolist()))
    if not seen:
        raise InputError(
            f"labels {own!r} hold nothing; look at some images and label them (suggest says which)"
        )
    if value is not None and value is not True:
        raise InputError(
            f"labels {own!r} have either only {value!r} or none of it (they hold {', '.join(seen[:5])}); a "
            "class can "
            "only be told from others: label some rows of each"
        )
    raise InputError(
        f"labels {own!r} are all {seen[0]!r}; a class can only be told from others: label some rows of "
        "another "
        "(suggest says which rows to look at)"
    )


# ---------------------------------------------------------------- labels in another table


def _joined(
    table: QTable, labels: Any, id_column: str | None
) -> tuple[np.ma.MaskedArray, list[str], str, Any]:
    """Return a column of labels in the rows' order, the columns used, its name, and plain labels."""
    if isinstance(labels, Mapping):
        keys, values, own = list(labels), list(labels.values()), "label"
        if set(labels) == {"id", "name", "labels"}:  # as the record keeps them
            id_column = id_column or labels["id"]
            own, pairs = labels["name"], labels["labels"]
            keys, values = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        if id_column is None:
            raise InputError("labels by identifier need the column of identifiers: give id= (--id)")
    elif isinstance(labels, (str, os.PathLike, Table)):
        if isinstance(labels, str) and not _is_file(labels):
            raise InputError(_no_such(labels, table))
        keys, values, own, id_column = _pairs(table, as_qtable(labels), id_column)
    else:
        raise InputError(
            f"labels cannot be a {type(labels).__name__}: give a column of the table, a table or file of "
            "identifiers and labels, or a mapping"
        )
    (id_column,) = require(table, id_column)
    rows = _row_of(table, id_column)
    found = np.ma.masked_all(len(table), dtype=object)
    unknown = []
    seen: set[str] = set()
    for key, value in zip(keys, values, strict=True):
        text = _key(key)
        if text in seen:
            raise InputError(f"{id_column} {text} has more than one label; give each row one")
        seen.add(text)
        if text not in rows:
            unknown.append(text)
        elif not (value is None or value is np.ma.masked or value != value):
            found[rows[text]] = value
    if len(unknown) == len(keys):
        raise InputError(
            f"none of the {len(keys)} labels is of a row of the table: no {id_column} is "
            f"{', '.join(unknown[:3])}; say "
            "which column has the identifiers with id= (--id)"
        )
    if unknown:
        warnings.warn(
            f"{len(unknown)} of {len(keys)} labels are of no row of the table ({id_column} "
            f"{', '.join(unknown[:5])}{', …' if len(unknown) > 5 else ''}); they are left out",
            AstroClusterWarning,
            stacklevel=5,
        )
    pairs = [[_plain(k), _plain(v)] for k, v in zip(keys, values, strict=True) if v is not np.ma.masked]
    return _typed(found), [id_column], own, {"id": id_column, "name": own, "labels": pairs}


def _is_file(text: str) -> bool:
    return os.path.isfile(text)  # noqa: PTH113


def _no_such(labels: str, table: QTable) -> str:
    try:
        require(table, labels)
    except InputError as error:
        return f"labels={labels!r} is neither a column nor a file: {error}"
    return ""


def _pairs(table: QTable, labels: QTable, id_column: str | None) -> tuple[list[Any], list[Any], str, str]:
    if id_column is None:
        shared = [name for name in labels.colnames if name in table.colnames]
        if not shared:
            raise InputError(
                f"the table and the labels share no column (the labels have {', '.join(labels.colnames)}); "
                "say "
                "which has the identifiers with id= (--id)"
            )
        id_column = shared[0]
    require(labels, id_column)
    others = [name for name in labels.colnames if name != id_column]
    named = [name for name in others if name in _NO_NAMES] or others
    if not named:
        raise InputError(f"the labels have the column {id_column} alone; a second has to hold the labels")
    if len(others) > 1 and len(named) != 1:
        raise InputError(
            f"the labels have several columns beside {id_column}: {', '.join(others)}; give two columns, the "
            "identifiers and the labels (one called label is taken among several)"
        )
    own = named[0]
    column = labels[own]
    _, nothing = cell_texts(column, len(labels))
    values = np.ma.getdata(np.asarray(column)).tolist()
    values = [np.ma.masked if none else item for item, none in zip(values, nothing, strict=True)]
    return np.ma.getdata(np.asarray(labels[id_column])).tolist(), values, own, id_column


def _row_of(table: QTable, id_column: str) -> dict[str, int]:
    column = table[id_column]
    _, nothing = cell_texts(column, len(table))
    rows: dict[str, int] = {}
    for row, item in enumerate(np.ma.getdata(np.asarray(column)).tolist()):
        if nothing[row]:
            continue
        if (text := _key(item)) in rows:
            raise InputError(
                f"{id_column} {text} stands in rows {rows[text]} and {row} of the table; labels need "
                "identifiers "
                "that are unique (id=, --id)"
            )
        rows[text] = row
    return rows


def _key(item: Any) -> str:
    """Return an identifier as text: 11, 11.0 and "11" are the same."""
    if isinstance(item, bytes):
        item = item.decode("utf-8", "replace")
    if isinstance(item, (float, np.floating)) and float(item).is_integer():
        item = int(item)
    return str(item).strip()


def _plain(item: Any) -> Any:
    item = item.item() if isinstance(item, np.generic) else item
    return item if isinstance(item, (bool, int, float, str)) or item is None else str(item)


def _typed(found: np.ma.MaskedArray) -> np.ma.MaskedArray:
    """Return labels as truth values or numbers if they are such, else as text."""
    items = found.compressed().tolist()
    if items and all(isinstance(item, (bool, np.bool_)) for item in items):
        kind: Any = bool
    elif items and all(isinstance(item, (int, float, np.number)) for item in items):
        kind = float
    else:
        kind = str
    filled = np.ma.filled(found, "" if kind is str else 0)
    return np.ma.array(np.array([kind(item) for item in filled]), mask=np.ma.getmaskarray(found))
