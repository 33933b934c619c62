"""Which rows to look at next, in order to learn the most."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from astropy.table import Table

from astro_cluster.artefacts.classifying import design_of, learn_from
from astro_cluster.artefacts.labels import labels_of
from astro_cluster.artefacts.material import material_of
from astro_cluster.artefacts.ranking import Suspicion, order_of, suspicion_of
from astro_cluster.columns import add_column, check_free, column_name
from astro_cluster.exceptions import InputError
from astro_cluster.features import Features
from astro_cluster.provenance import Step, step
from astro_cluster.resampling import checked_seed
from astro_cluster.tables import Source, as_qtable, derive

__all__ = ["farthest", "suggest"]

_UNDECIDED = 3  # times as many of the most undecided rows are chosen from


def farthest(X: np.ndarray, rows: np.ndarray, number: int, chosen: Iterable[int] = ()) -> list[int]:
    """Choose rows that are far from each other.

    Parameters
    ----------
    X : (n, d) array of float
        All rows.
    rows : (m,) array of int
        Rows to choose from, the most wanted first.
    number : int
        How many to choose.
    chosen : iterable of int, optional
        Rows that have been chosen before.

    Returns
    -------
    list of int
        Greedily: each is the farthest from its nearest among those chosen before it; the first
        of ``rows`` if there is none yet.

    Notes
    -----
    The greedy algorithm for k centres of Gonzalez (1985, Theor. Comput. Sci. 38, 293).

    Examples
    --------
    >>> farthest(np.array([[0.0], [0.1], [9.0], [4.0]]), np.array([0, 1, 2, 3]), 3)
    [0, 2, 3]
    """
    found: list[int] = []
    nearest = np.full(len(rows), np.inf)
    for row in chosen:
        nearest = np.minimum(nearest, np.square(X[rows] - X[row]).sum(axis=1))
    for _ in range(min(number, len(rows))):
        best = int(nearest.argmax())
        found.append(int(rows[best]))
        nearest = np.minimum(nearest, np.square(X[rows] - X[rows[best]]).sum(axis=1))
        nearest[best] = -1
    return found


@step
def suggest(
    table: Source,
    n: int = 20,
    *,
    labels: str | os.PathLike[str] | Table | Mapping[Any, Any] | None = None,
    id: str | None = None,  # noqa: A002
    value: str | int | float | bool | None = None,
    features: Features | str | Iterable[str] | None = "auto",
    quality: bool | str | Iterable[str] | Mapping[str, str] = True,
    prefix: str = "",
    random_state: int | None = None,
    overwrite: bool = False,
) -> Step:
    """Say which rows to look at next, so that most is learnt from them.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        Rows with coordinates from `embed`, quality columns from `image_quality`, or both.
    n : int, optional
        How many rows to suggest.
    labels : str, path, table or mapping, optional
        What has been said of rows already, as for `learn`; these are not suggested again.
    id, value : optional
        As for `learn`.
    features, quality : optional
        As for `rank`.
    prefix : str, optional
        Put before the new column.
    random_state : int, optional
        Seed of the ranking and the folds.  Without one it is drawn and recorded.
    overwrite : bool, optional
        Replace a column of the same name.

    Returns
    -------
    `~astropy.table.QTable`
        All rows with the new column ``suggestion``: 1 for the first to look at, 2 for the second …,
        masked where none is needed.  ``out[~out["suggestion"].mask]`` are the suggested rows.

    Raises
    ------
    InputError
        If ``n`` is no number of rows, no row is left to suggest, or as `learn`.

    See Also
    --------
    learn : What to do with the labels.

    Notes
    -----
    Without labels, or with labels of one class, the ranking is cut into n parts whose sizes grow
    as a geometric series, and from each the row is taken that is the farthest from those taken
    before: many conspicuous rows and a few ordinary ones, all different.

    With labels the classifier of `learn` is fitted.  Of a class to find, the first half of the
    suggestions is most probably of it; the rest, or all if there are several classes, are those
    of the 3n most undecided rows that are the farthest from each other.  Looking for the
    probable ones finds artefacts at once, the undecided ones teach where the border is (Lewis & Gale
    1994; batches as in Brinker 2003).

    Examples
    --------
    >>> from astropy.table import QTable
    >>> rng = np.random.default_rng(1)
    >>> t = QTable({"latent": rng.normal(size=(100, 3))})
    >>> t["latent"][42] += 9
    >>> out = suggest(t, 5, random_state=1)
    >>> int(out["suggestion"][42]), int((~out["suggestion"].mask).sum())
    (1, 5)
    """
    table, seed = as_qtable(table), checked_seed(random_state)
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise InputError(f"n={n!r} is no number of rows; give a whole number from 1, such as 20")
    check_free(table, [column_name("suggestion", prefix=prefix)], overwrite=overwrite)
    material = material_of(table, features, quality)
    suspicion = suspicion_of(material, seed=seed)
    X = design_of(material, suspicion)
    inputs, plain = material.inputs, None
    classes, found = np.full(len(table), -1), None
    if labels is not None:
        found = labels_of(table, labels, id=id, value=value, several=False)
        classes, inputs, plain = found.classes, [*inputs, *found.inputs], found.plain
    free = np.flatnonzero(suspicion.usable & (classes < 0))
    if not len(free):
        raise InputError("all rows that could be suggested are labelled; there is none to look at")
    known = np.unique(classes[(classes >= 0) & suspicion.usable])
    if found is None or len(known) < max(2, len(found.names)):
        rows, how = _by_rank(X, suspicion, free, int(n), seed, classes), "unusual and different"
    else:
        p = learn_from(X, classes, seed).probabilities
        rows, how = (
            _by_classifier(X, p, free, int(n), classes, one=len(found.names) == 1),
            ("probable or undecided, and different"),
        )
    numbers = np.zeros(len(table), dtype=np.int64)
    numbers[rows] = np.arange(1, len(rows) + 1)
    out = derive(table)
    words = {"number": str(len(rows)), "how": how}
    add_column(out, "suggestion", numbers, prefix=prefix, mask=numbers == 0, **words)
    parameters = {"random_state": seed, "labels": plain}
    return Step(out, table, inputs=inputs, seed=seed, parameters=parameters)


def _by_rank(
    X: np.ndarray, suspicion: Suspicion, free: np.ndarray, n: int, seed: int, classes: np.ndarray
) -> list[int]:
    """Choose rows over the whole ranking, densest at its top."""
    ranks = order_of(suspicion.score, seed)
    order = free[np.argsort(ranks[free])]
    n = min(n, len(order))
    # Edges of parts: 1, 2, 3 … at the top where the series would stand still, then growing.
    edges = np.geomspace(1, len(order) + 1, n + 1)
    edges = np.maximum(np.round(edges).astype(int), np.arange(1, n + 2)) - 1
    chosen: list[int] = []
    before = np.flatnonzero(classes >= 0)
    before = before[suspicion.usable[before]].tolist()
    for begin, end in itertools.pairwise(edges):
        chosen += farthest(X, order[begin:end], 1, [*before, *chosen])
    return chosen


def _by_classifier(
    X: np.ndarray, p: np.ndarray, free: np.ndarray, n: int, classes: np.ndarray, *, one: bool
) -> list[int]:
    """Choose probable rows of the class to find, then undecided ones."""
    n = min(n, len(free))
    chosen: list[int] = []
    if one:
        chosen = free[np.argsort(-p[free, 1], kind="stable")][: n // 2].tolist()
    rest = np.setdiff1d(free, chosen)
    two = np.sort(p[rest], axis=1)[:, -2:]
    margin = two[:, 1] - two[:, 0]
    undecided = rest[np.argsort(margin, kind="stable")][: _UNDECIDED * n]
    return chosen + farthest(X, undecided, n - len(chosen), chosen)
