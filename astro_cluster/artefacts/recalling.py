"""How much is found, against how much is looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from astropy.table import QTable

from astro_cluster.columns import add_column, require, ucd_of
from astro_cluster.exceptions import InputError
from astro_cluster.provenance import Step, records, step
from astro_cluster.summary import is_bad
from astro_cluster.tables import Source, as_qtable, float_values

__all__ = ["RECALLS", "rank_column", "recall_curve"]

RECALLS = (0.5, 0.9, 0.95, 1.0)
"""Recalls for which the number of rows to inspect is told."""

_RANK = "stat.rank"


def rank_column(table: QTable, name: str | None = None) -> str:
    """Return the column that says in which order to look at the rows.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        A ranked table.
    name : str, optional
        The column, if it is known.

    Returns
    -------
    str
        That of the latest ranking on record, else ``inspection_rank``.

    Raises
    ------
    InputError
        If there is no such column.

    Examples
    --------
    >>> rank_column(QTable({"inspection_rank": [2, 1]}))
    'inspection_rank'
    """
    if name is not None:
        return require(table, name)[0]
    for record in reversed(records(table)):
        if record["function"] == "rank":
            found = f"{record['parameters'].get('prefix', '')}inspection_rank"
            if found in table.colnames:
                return found
    if "inspection_rank" not in table.colnames:
        raise InputError(
            "the table has no column inspection_rank: rank it first (rank), or say which column tells the "
            "order with score= (--score)"
        )
    return "inspection_rank"


def _order_values(table: QTable, name: str, largest_first: bool | None) -> tuple[np.ndarray, bool]:
    """Return numbers that are smallest where to look first, infinite where there is no number."""
    values = float_values(table[name])
    if values.ndim != 1:
        raise InputError(f"column {name!r} has several values a row; an order has one a row")
    if largest_first is None:
        # A rank or a suggestion counts from 1; a score or a probability is large where it matters.
        largest_first = not (ucd_of(table, name) == _RANK or name.endswith(("inspection_rank", "suggestion")))
    if np.isnan(values).all():
        raise InputError(f"column {name!r} has no value in any of {len(table)} rows")
    values = -values if largest_first else values
    return np.where(np.isnan(values), np.inf, values), largest_first


@step
def recall_curve(
    table: Source,
    label: str,
    *,
    score: str | None = None,
    value: str | int | float | bool = True,
    largest_first: bool | None = None,
    at: Iterable[int] = (),
) -> Step:
    """Tell how many of the bad rows are found when the first so many rows are looked at.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        n rows with a score or a rank, and labels.
    label : str
        Column that tells which rows are bad (spurious, say).
    score : str, optional
        Column that gives the order: a rank, a suggestion, an outlier score, a probability or any
        number.  The rank of the latest `rank` if not given.
    value : str, number or bool, optional
        What stands in ``label`` for a bad row.
    largest_first : bool, optional
        Whether to look at the largest values of ``score`` first.  If not given: the smallest
        first for ranks and suggestions, which count from 1, else the largest.
    at : iterable of int, optional
        Numbers of inspected rows for which the recall is also told in ``meta["at"]``.

    Returns
    -------
    `~astropy.table.QTable`
        A row for each distinct value of the score, in the order of inspection: ``inspected``
        (rows down to and with this value), ``found`` (bad rows among them), ``inspected_fraction``,
        ``recall``, ``precision`` and ``lift``.  In its meta: ``at``, a dict for each number
        asked for; ``needed``, the rows to inspect for the recalls 0.5, 0.9, 0.95 and 1;
        ``average_precision``; ``rows``, ``bad`` and ``rows_left_out``.

    Raises
    ------
    InputError
        If a column is missing or no order, no row has the label's value, or a number of rows is
        none.

    See Also
    --------
    rank : An order in which to look at images.
    inspect : The same for whole clusters.
    plotting.plot_recall : The curve as a figure.

    Notes
    -----
    Recall is the share of all bad rows that is found, precision the share of bad rows among
    those inspected, lift the precision over the share of bad rows in the whole sample.  Rows
    of equal score are inspected together; ``at`` and ``needed`` count what is found on average if
    equal ones are inspected in any order.  ``average_precision`` is the mean of precision over
    the recalls, as scikit-learn has it.  Rows without a score come last, rows without a label
    are left out.

    Examples
    --------
    >>> t = QTable({"score": [5.0, 4.0, 3.0, 2.0, 1.0], "spurious": [True, False, True, False, False]})
    >>> found = recall_curve(t, "spurious", score="score", at=[1, 3])
    >>> found["recall"].tolist()
    [0.5, 0.5, 1.0, 1.0, 1.0]
    >>> found.meta["at"][1]["recall"], found.meta["needed"]["0.9"]
    (1.0, 3)
    """
    table = as_qtable(table)
    score = rank_column(table, score)
    require(table, label)
    order, largest_first = _order_values(table, score, largest_first)
    numbers = [_checked_number(number) for number in at]
    bad, labelled = is_bad(table, label, value)
    bad, order = bad[labelled], order[labelled]
    if not bad.any():
        raise InputError(
            f"no row has {value!r} in column {label!r}; say what marks a bad row with value= (--value)"
        )
    _, group, sizes = np.unique(order, return_inverse=True, return_counts=True)
    inspected = np.concatenate([[0], np.cumsum(sizes)])
    found = np.concatenate([[0], np.cumsum(np.bincount(group, weights=bad))])
    out = QTable()
    words = {"column": score}
    share = found[1:] / inspected[1:]
    add_column(out, "inspected", inspected[1:], **words)
    add_column(out, "found", found[1:].astype(np.int64), value=repr(value), column=label)
    add_column(out, "inspected_fraction_of_order", inspected[1:] / len(bad))
    add_column(out, "recall_of_order", found[1:] / bad.sum())
    add_column(out, "precision_of_order", share)
    add_column(out, "lift", share / bad.mean())
    out.meta |= {
        "score": score,
        "label": label,
        "rows": len(bad),
        "bad": int(bad.sum()),
        "rows_left_out": int((~labelled).sum()),
        "at": [_at(number, inspected, found) for number in numbers],
        "needed": {f"{recall:g}": _needed(recall, inspected, found) for recall in RECALLS},
        "average_precision": float(np.sum(np.diff(found) * share) / bad.sum()),
    }
    parameters = {"score": score, "largest_first": largest_first, "at": numbers}
    return Step(out, table, inputs=[score, label], facts={"row_order": "changed"}, parameters=parameters)


def _checked_number(number: Any) -> int:
    whole = isinstance(number, (int, np.integer)) and not isinstance(number, bool)
    if not whole or number < 1:
        raise InputError(f"at={number!r} is no number of rows; give whole numbers from 1, such as 57")
    return int(number)


def _at(number: int, inspected: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    """Return what so many rows find, on average over the order of equal ones."""
    number = min(number, int(inspected[-1]))
    hits = float(np.interp(number, inspected, found))
    return {
        "inspected": number,
        "inspected_fraction": number / int(inspected[-1]),
        "found": hits,
        "recall": hits / float(found[-1]),
        "precision": hits / number,
        "lift": hits / number * float(inspected[-1]) / float(found[-1]),
    }


def _needed(recall: float, inspected: np.ndarray, found: np.ndarray) -> int:
    """Return how many rows find a share of the bad ones, equal ones being in any order."""
    wanted = recall * found[-1] * (1 - 1e-12)
    last = int(np.searchsorted(found, wanted))
    before, after = found[last - 1], found[last]
    part = (wanted - before) / (after - before)
    return int(np.ceil(inspected[last - 1] + part * (inspected[last] - inspected[last - 1]) - 1e-6))
