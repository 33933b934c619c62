"""A few labels made into honest probabilities for all rows."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from astropy.table import Table

from astro_cluster.artefacts.classifying import Learnt, design_of, learn_from
from astro_cluster.artefacts.labels import Labels, labels_of
from astro_cluster.artefacts.material import material_of
from astro_cluster.artefacts.ranking import suspicion_of
from astro_cluster.columns import add_column, check_free
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.features import Features
from astro_cluster.provenance import Step, step
from astro_cluster.resampling import checked_seed
from astro_cluster.scoring import binned, scores_of
from astro_cluster.tables import Source, as_qtable, derive

__all__ = ["learn"]

_BINS = 5
_FEW = 10


@step
def learn(
    table: Source,
    labels: str | os.PathLike[str] | Table | Mapping[Any, Any],
    *,
    id: str | None = None,  # noqa: A002
    value: str | int | float | bool | None = None,
    name: str | None = None,
    features: Features | str | Iterable[str] | None = "auto",
    quality: bool | str | Iterable[str] | Mapping[str, str] = True,
    prefix: str = "",
    random_state: int | None = None,
    overwrite: bool = False,
) -> Step:
    """Learn from a few labels which rows are artefacts.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        n rows with coordinates from `embed`, quality columns from `image_quality`, or both.
    labels : str, path, table or mapping
        What people said of some of the rows: a column of the table, masked or empty elsewhere; a
        table or a file (CSV, VOTable …) of identifiers and labels; or labels by identifier.
    id : str, optional
        Column of identifiers that labels of another table go by.  If not given, the first column
        that both have.
    value : str, number or bool, optional
        The label of the class to find, if the others need not be told from each other: 0 where
        spurious sources are 0, as in the study.  Not needed for labels that are true or false.
    name : str, optional
        What to call that class in the new column.
    features, quality : optional
        As for `rank`.
    prefix : str, optional
        Put before the new columns.
    random_state : int, optional
        Seed of the folds and of the ranking.  Without one it is drawn and recorded.
    overwrite : bool, optional
        Replace columns of the same names.

    Returns
    -------
    `~astropy.table.QTable`
        The same rows with a new column for the class to find, ``prob_spurious`` if the labels are
        true in a column ``spurious``; or one for each class, if they are words and no ``value`` is
        given.  Masked in rows that have neither features nor quality columns.  The record holds
        ``labels_used``, the number of each class, and ``scores`` of labels that were held out:
        ``brier``, ``log_loss``, ``ece`` and their blind counterparts as `calibration` gives them,
        ``roc_auc`` and ``average_precision`` of each class, and ``reliability``, mean probability and
        share of the class in five bins with as many labels each.

    Raises
    ------
    InputError
        If the labels are of one class only, fit no row, or cannot be read, there is nothing to
        learn from, or a new column's name is taken.

    Warns
    -----
    AstroClusterWarning
        If a class has a single label, so that nothing can be held out; if labels are of no
        row, or of rows without features.

    See Also
    --------
    suggest : Which rows to label next.
    recall_curve : What looking at the most probable ones would find.

    Notes
    -----
    Logistic regression on the coordinates, the evidence of each ingredient of `rank` and the
    outlier score, scaled so that with few labels it begins as the ranking does; the strength of
    its penalty has the least log-loss of labels that were held out.  A labelled row gets the
    probability from the fold that did not see its label, so that both can be compared; who
    wants to skip what has been looked at has the labels for that.

    Rows are labelled where they are suspicious, by rank or by `suggest`; so each label counts more
    the sparser rows are labelled at its place in the order of the outlier score, and the
    probabilities are those of all rows.  The scores on record are of the labelled rows as they
    are, which are harder than most.  Where no row was labelled, far down the ranking say,
    probabilities are extrapolated.  Rows that nobody has labelled are not taken for good ones:
    where only artefacts are labelled there is nothing to tell them from (that would be learning
    from positive and unlabelled rows, and needs assumptions on how the labelled ones were found).

    Examples
    --------
    >>> from astropy.table import QTable
    >>> rng = np.random.default_rng(1)
    >>> truth = np.arange(400) % 20 == 0
    >>> t = QTable({"id": np.arange(400), "latent": rng.normal(size=(400, 3)) + 3.0 * truth[:, None]})
    >>> out = learn(t, {i: bool(truth[i]) for i in range(60)}, id="id", name="spurious", random_state=1)
    >>> p = out["prob_spurious"]
    >>> bool(p[60:][truth[60:]].mean() > 0.6), bool(p[60:][~truth[60:]].mean() < 0.05)
    (True, True)
    """
    table, seed = as_qtable(table), checked_seed(random_state)
    found = labels_of(table, labels, id=id, value=value, name=name)
    single = len(found.names) == 1
    names = _column_names(found.names, prefix)
    check_free(table, names, overwrite=overwrite)
    material = material_of(table, features, quality)
    if taken := sorted(set(found.inputs) & set(material.inputs)):
        raise InputError(
            f"column {taken[0]!r} cannot be learnt from itself; leave it out of features and quality"
        )
    suspicion = suspicion_of(material, seed=seed)
    classes = _judged(found, suspicion.usable)
    learnt = learn_from(design_of(material, suspicion), classes, seed)
    if learnt.held_out is None:
        warnings.warn(
            "a class has a single label, so that nothing can be held out to judge the probabilities; label "
            "more rows (suggest says which)",
            AstroClusterWarning,
            stacklevel=4,
        )
    known = classes >= 0
    nothing = ~suspicion.usable
    out = derive(table)
    columns = [1] if single else range(len(names))
    for own, text, column in zip(names, found.names, columns, strict=True):
        values = np.where(nothing, 0.0, learnt.probabilities[:, column])
        add_column(
            out, "prob_label", values, name=own, mask=nothing, label=text, number=str(int(known.sum()))
        )
    facts: dict[str, Any] = {
        "labels_used": _counts(found, classes),
        "strength": learnt.strength,
        "scores": _scores(learnt, classes[known], found.names),
    }
    return Step(
        out,
        table,
        inputs=[*material.inputs, *found.inputs],
        seed=seed,
        facts=facts,
        parameters={"random_state": seed, "labels": found.plain},
    )


def _column_names(classes: list[str], prefix: str) -> list[str]:
    names = [prefix + "prob_" + (re.sub(r"\W+", "_", text).strip("_") or "unnamed") for text in classes]
    if len(set(names)) < len(names):
        raise InputError(
            f"the classes {', '.join(classes)} would have columns of the same name; rename one of them"
        )
    return names


def _judged(found: Labels, usable: np.ndarray) -> np.ndarray:
    """Return the classes of labelled rows that have anything to learn from."""
    lost = found.known & ~usable
    if lost.any():
        warnings.warn(
            f"{int(lost.sum())} labelled rows have neither features nor quality columns (the first is row "
            f"{int(lost.argmax())}); they are left out",
            AstroClusterWarning,
            stacklevel=5,
        )
    classes = np.where(lost, -1, found.classes)
    k = max(len(found.names), 2)
    missing = np.flatnonzero(np.bincount(classes[classes >= 0], minlength=k) == 0)
    if len(missing):
        raise InputError(
            "all labelled rows of a class are without features and quality columns; label rows that have them"
        )
    return classes


def _counts(found: Labels, classes: np.ndarray) -> dict[str, int]:
    counts = np.bincount(classes[classes >= 0], minlength=2)
    names = ["others", found.names[0]] if len(found.names) == 1 else found.names
    return dict(zip(names, counts.tolist(), strict=True))


def _scores(learnt: Learnt, y: np.ndarray, names: list[str]) -> dict[str, Any] | None:
    """Return how good held-out probabilities are."""
    if learnt.held_out is None:
        return None
    from sklearn.metrics import average_precision_score, roc_auc_score

    p = learnt.held_out
    columns = [1] if len(names) == 1 else range(len(names))
    found: dict[str, Any] = dict(scores_of(p, y, binned(p, y, 10, "uniform")))
    for text, column in zip(names, columns, strict=True):
        own = y == column
        found.setdefault("roc_auc", {})[text] = float(roc_auc_score(own, p[:, column]))
        found.setdefault("average_precision", {})[text] = float(average_precision_score(own, p[:, column]))
        found.setdefault("reliability", {})[text] = _reliability(p[:, column], own)
    found["few"] = bool(np.bincount(y).min() < _FEW)
    return found


def _reliability(p: np.ndarray, own: np.ndarray) -> list[dict[str, float]]:
    """Return mean probability and share of a class in bins of as many rows each."""
    parts = np.array_split(np.argsort(p, kind="stable"), min(_BINS, len(p)))
    return [
        {"count": len(part), "mean_probability": float(p[part].mean()), "share": float(own[part].mean())}
        for part in parts
    ]
