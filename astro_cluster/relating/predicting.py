"""How much coordinates know of the columns of a catalogue."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from astropy.table import QTable

from astro_cluster.columns import add_column
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.features import Features
from astro_cluster.provenance import Step, step
from astro_cluster.relating.catalogue import (
    Kind,
    Value,
    features_of_rows,
    values_of,
    warn_of_nulls,
    without_rare,
)
from astro_cluster.relating.neighbours import predict
from astro_cluster.relating.objects import distinct_rows, objects_in
from astro_cluster.relating.scores import score_class, score_number
from astro_cluster.resampling import checked_seed
from astro_cluster.tables import Source, as_qtable

__all__ = ["FEWEST", "predictability"]

FEWEST = 20
"""Objects that a column needs to be judged."""

_SCORES = (
    "r2", "r2_error", "mean_absolute_error", "median_absolute_error", "nmad", "balanced_accuracy",
    "balanced_accuracy_error", "baseline_accuracy", "roc_auc", "roc_auc_error", "n_neighbors",
)  # fmt: skip


def _whole(name: str, value: Any, least: int, example: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InputError(f"{name}={value!r} cannot be; give a whole number from {least}, such as {example}")
    return int(value)


def _targets(value: Value, rows: np.ndarray) -> np.ndarray:
    """Return what to predict, (m, v): the number, or a column of 0 and 1 for each class."""
    if value.kind == "number":
        return value.values[rows, np.newaxis]
    return np.eye(len(value.classes))[value.values[rows].astype(int)]


def _usable_rows(value: Value, X: np.ndarray, objects: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Return the rows to judge a column by: known, each object's once, and not too many."""
    rows = np.flatnonzero(~np.isnan(value.values) & ~np.isnan(X).any(axis=1))
    if len(rows) and len(np.unique(objects[rows])) < len(rows):
        rows = rows[distinct_rows(objects[rows], X[rows], value.values[rows])]
    if len(rows) > most:
        rows = np.sort(np.random.default_rng([seed, 1]).choice(rows, most, replace=False))
    return rows


def _trouble(value: Value, rows: np.ndarray, objects: np.ndarray) -> str | None:
    """Say why a column cannot be judged."""
    if (number := len(np.unique(objects[rows]))) < FEWEST:
        return f"{value.name} ({number} objects have a value and features, {FEWEST} are needed)"
    if len(np.unique(value.values[rows])) < 2:
        what = "one class of 10 rows or more" if value.kind == "class" else "the same number everywhere"
        return f"{value.name} ({what})"
    return None


def _scores(
    values: list[Value], X: np.ndarray, objects: np.ndarray, rows: np.ndarray, how: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the scores of columns that are known in the very same rows."""
    targets = [_targets(value, rows) for value in values]
    widths = [target.shape[1] for target in targets]
    folds = min(how["folds"], len(np.unique(objects[rows])))
    found = predict(
        X[rows],
        np.column_stack(targets),
        objects[rows],
        groups=np.repeat(np.arange(len(values)), widths),
        n_neighbors=how["n_neighbors"],
        folds=folds,
        repeats=how["repeats"],
        seed=how["seed"],
    )
    out = []
    for number, (value, end, width) in enumerate(zip(values, np.cumsum(widths), widths, strict=True)):
        guessed, true = found.values[:, :, end - width : end], value.values[rows]
        if value.kind == "number":
            base = found.baseline[:, :, end - 1]
            scores = score_number(guessed[:, :, 0], base, true, found.folds, redshift=value.is_redshift)
        else:
            scores = score_class(guessed, true.astype(int), found.folds)
        out.append(scores | {"n_neighbors": round(float(np.median(found.n_neighbors[:, :, number])))})
    return out


@step
def predictability(
    table: Source,
    columns: str | Iterable[str],
    *,
    features: Features | str | Iterable[str] = "auto",
    missing: Mapping[str, float] | None = None,
    kinds: Mapping[str, Kind] | None = None,
    n_neighbors: int | None = None,
    folds: int = 5,
    repeats: int = 3,
    objects: str | None = None,
    most_rows: int = 30_000,
    random_state: int | None = None,
) -> Step:
    """Tell how well columns of a catalogue are predicted from latent coordinates, by nearest neighbours.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        n rows with coordinates from `embed` and columns of a catalogue (`crossmatch`).
    columns : str or iterable of str
        What to predict: names and patterns, ``"Z,M_I,BAL_PROB"``.  Truth values, texts, codes and
        whole numbers of no more than 10 kinds are classes, the rest are numbers; a column with several
        values a row counts as so many.
    features : "auto", `Features`, str or iterable of str, optional
        What to predict from: the coordinates of the latest embedding, or columns.
    missing : mapping of str to float, optional
        Numbers that mean that there is no value, ``{"BAL_PROB": -1}``.
    kinds : mapping of str to {"number", "class"}, optional
        What columns are to be taken as, ``{"ZWARNING": "class"}``.
    n_neighbors : int, optional
        How many neighbours.  If not given, the one of 5, 10, 20, 40 and 80 with the least squared error,
        chosen for each column and fold within the rows that are learnt from.
    folds : int, optional
        Each of so many parts of the objects is predicted from the others.
    repeats : int, optional
        How often the objects are dealt out to folds anew.
    objects : str, optional
        Column of identifiers: rows with the same one are of one object, and in the same fold.  If not
        given, the main identifier (UCD ``meta.id;meta.main``) or ``source_id``.  Rows with the same latent
        coordinates are of one object in any case.
    most_rows : int, optional
        Of more rows, so many are drawn.
    random_state : int, optional
        Seed of the folds.  Without one it is drawn and recorded.

    Returns
    -------
    `~astropy.table.QTable`
        A row for each column: ``column``, ``kind``, ``count`` (rows used), ``left_out`` (rows without a
        value, of a rare class, or without features), ``unit``; of numbers ``r2`` with its standard error
        ``r2_error``, ``mean_absolute_error`` and, of the median, ``baseline_error``, for redshifts ``nmad``;
        of classes ``balanced_accuracy`` and ``roc_auc`` with their errors, and ``baseline_accuracy``;
        ``n_neighbors``.  What does not apply is masked.

    Raises
    ------
    InputError
        If a column is missing or cannot be used, there are no features, or an option cannot be.

    Warns
    -----
    AstroClusterWarning
        Columns that could not be judged, for they have fewer than 20 objects or do not vary; columns in
        which a number such as -1 looks as if it meant that there is none.

    See Also
    --------
    rank_correlations : Which coordinate rises with which column.

    Notes
    -----
    A number is predicted as the mean over the neighbours in the coordinates, each standardised by the rows
    that are learnt from.  ``r2`` is 1 less the squared error over the variance, of all rows, none of which
    was learnt from when it was predicted: 0 is what their mean would have, and worse than that is negative.
    Its error is that of Nadeau & Bengio (2003, Machine Learning 52, 239), for folds that share what is
    learnt from.  A class is predicted as the one whose share among the neighbours is the largest against its
    share of all; classes of fewer than 10 of the rows used count as missing.  ``roc_auc`` is the mean over
    the classes of the area under the curve of one against the rest.

    Nearest neighbours find any smooth relation, but need the more rows the more coordinates there are: a
    low score does not prove that the coordinates know nothing.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> latent = rng.normal(size=(500, 2))
    >>> t = QTable({"latent": latent, "Z": 2.5 + 0.4 * latent[:, 0] ** 2, "M_I": rng.normal(-27, 1, 500)})
    >>> t["is_bal"] = latent[:, 1] > 1
    >>> found = predictability(t, "Z,M_I,is_bal", random_state=1)
    >>> found["column", "kind", "r2", "r2_error", "balanced_accuracy", "roc_auc"].pprint()
    column  kind    r2   r2_error balanced_accuracy roc_auc
    ------ ------ ------ -------- ----------------- -------
         Z number  0.809    0.058                --      --
       M_I number -0.024    0.019                --      --
    is_bal  class     --       --             0.976   0.993
    """
    table, seed = as_qtable(table), checked_seed(random_state)
    how = {
        "folds": _whole("folds", folds, 2, 5),
        "repeats": _whole("repeats", repeats, 1, 3),
        "n_neighbors": None if n_neighbors is None else _whole("n_neighbors", n_neighbors, 1, 20),
        "seed": seed,
    }
    most = _whole("most_rows", most_rows, FEWEST, 30_000)
    values = values_of(table, columns, missing=missing, kinds=kinds)
    X, feature_columns, inputs = features_of_rows(table, features)
    if inside := [value.name for value in values if value.column in feature_columns]:
        raise InputError(f"{inside[0]} is to be predicted from itself; leave it out of the features")
    warn_of_nulls(values, missing, stacklevel=4)
    of, told_by = objects_in(table, feature_columns, objects)
    rows = [_usable_rows(value, X, of, most, seed) for value in values]
    values = [without_rare(value, used) for value, used in zip(values, rows, strict=True)]
    rows = [used[~np.isnan(value.values[used])] for value, used in zip(values, rows, strict=True)]
    found: list[dict[str, Any]] = [{} for _ in values]
    trouble = [_trouble(value, used, of) for value, used in zip(values, rows, strict=True)]
    together: dict[bytes, list[int]] = {}
    for number, used in enumerate(rows):
        if trouble[number] is None:
            together.setdefault(used.tobytes(), []).append(number)
    for numbers in together.values():
        scores = _scores([values[i] for i in numbers], X, of, rows[numbers[0]], how)
        for i, one in zip(numbers, scores, strict=True):
            found[i] = one
    if said := [words for words in trouble if words is not None]:
        warnings.warn(
            f"there is nothing to judge in {', '.join(said)}; their scores are masked",
            AstroClusterWarning,
            stacklevel=3,
        )
    out = _as_table(values, rows, X, found)
    used = dict.fromkeys([*(value.column for value in values), *inputs, *told_by])
    facts = {
        "row_order": "changed",
        "objects": len(np.unique(of)),
        "classes": {value.name: value.classes for value in values if value.kind == "class"},
    }
    return Step(out, table, inputs=list(used), seed=seed, facts=facts, parameters={"random_state": seed})


def _as_table(
    values: list[Value], rows: list[np.ndarray], X: np.ndarray, found: list[dict[str, Any]]
) -> QTable:
    out = QTable()
    absent = np.isnan(X).any(axis=1)
    add_column(out, "related_column", np.array([value.name for value in values]))
    add_column(out, "related_kind", np.array([value.kind for value in values]))
    add_column(out, "related_count", np.array([len(used) for used in rows]))
    left_out = [np.count_nonzero(absent | np.isnan(value.values)) for value in values]
    add_column(out, "related_left_out", np.array(left_out))
    add_column(out, "related_unit", np.array([value.unit for value in values], dtype=str))
    for key in _SCORES:
        scores = np.array([one.get(key, np.nan) for one in found], dtype=float)
        nothing = np.isnan(scores)
        numbers = np.nan_to_num(scores)
        add_column(out, key, numbers.astype(int) if key == "n_neighbors" else numbers, mask=nothing)
    return out
