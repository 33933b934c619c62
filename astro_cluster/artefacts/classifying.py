"""A classifier for a handful of labels: logistic regression that starts from the outlier score."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

from astro_cluster.artefacts.material import Material
from astro_cluster.artefacts.ranking import Suspicion

__all__ = ["Learnt", "design_of", "learn_from"]

FOLDS = 5

_STRENGTHS = 10.0 ** np.arange(-3, 2.1, 0.5)  # C, from nearly the base rate to nearly no penalty
_ALONE = 0.1  # C where a class has too few labels to choose it by
_LATENT_SCALE = 0.5
_SCORE_SCALE = 4.0
_FLATTENED = 0.75  # exponent of the weights: between none, which is biased, and all, which is noisy
_REACH = 2  # labelled rows to either side that tell how densely rows are labelled


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a classifier says of each row.

    Parameters
    ----------
    probabilities : (n, k) array of float
        Of the k classes; NaN in rows that it cannot judge.
    held_out : (m, k) array of float or None
        Of the m labelled rows, by models that did not see their labels; None if a class has
        one label only.
    strength : float
        C of the logistic regression.
    """

    probabilities: np.ndarray
    held_out: np.ndarray | None
    strength: float


def design_of(material: Material, suspicion: Suspicion) -> np.ndarray:
    """Return what a classifier is given of each row.

    Parameters
    ----------
    material : Material
        n rows.
    suspicion : Suspicion
        Of the same rows.

    Returns
    -------
    (n, m) array of float
        Coordinates, evidence of each ingredient and outlier score, each with mean 0; NaN in rows
        that have none of them.  A row that lacks some has the mean there.

    Notes
    -----
    The scales are a prior: under one penalty for all, the outlier score may have a steep slope,
    and a single coordinate may not.  With few labels the classifier thus begins as the ranking does.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> from astro_cluster.artefacts.material import material_of
    >>> from astro_cluster.artefacts.ranking import suspicion_of
    >>> material = material_of(QTable({"latent": np.eye(4), "zero_fraction": [0.0, 0.0, 0.0, 0.5]}))
    >>> design_of(material, suspicion_of(material)).shape
    (4, 7)
    """
    usable = suspicion.usable
    parts = [
        _standard(suspicion.evidence, usable),
        _SCORE_SCALE * _standard(suspicion.score[:, None], usable),
    ]
    if material.latent is not None:
        parts.insert(0, _LATENT_SCALE * _standard(material.latent, usable))
    found = np.concatenate(parts, axis=1)
    found[~usable] = np.nan
    return found


def _standard(X: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Return columns with mean 0 and spread 1 over the rows that have a value, 0 for the others."""
    known = np.where(usable[:, np.newaxis], X, np.nan)
    spread = np.nanstd(known, axis=0)
    known = (known - np.nanmean(known, axis=0)) / np.where(spread > 0, spread, 1.0)
    return np.where(np.isnan(known), 0.0, known)


def learn_from(X: np.ndarray, classes: np.ndarray, seed: int) -> Learnt:
    """Fit a classifier to the labelled rows and let it judge all.

    Parameters
    ----------
    X : (n, m) array of float
        From `design_of`; the last column is the outlier score.
    classes : (n,) array of int
        0 … k - 1, or -1 where there is no label; at least two classes.
    seed : int
        Of the folds.

    Returns
    -------
    Learnt

    Notes
    -----
    Logistic regression with a Gaussian prior on the slopes (L2).  Its strength is that with the
    least log-loss of labels that were held out, in five folds or as many as the rarest class has
    labels.  The log-loss is a proper score: what makes the probabilities dishonest makes it
    large, so that no second calibration is needed, for which a few labels would not suffice.
    Labels are gathered where rows are suspicious: each counts as many rows as it stands for in the
    order of the outlier score, to the power of 3/4 (Shimodaira 2000, J. Stat. Plan. Inference 90,
    227), else all rows would seem to be as often artefacts as those that were picked.

    Examples
    --------
    >>> X = np.array([[-2.0], [-1.0], [0.0], [1.0], [2.0]])
    >>> learnt = learn_from(X, np.array([0, 0, -1, 1, 1]), 0)
    >>> bool(learnt.probabilities[4, 1] > learnt.probabilities[2, 1] > learnt.probabilities[0, 1])
    True
    """
    usable = ~np.isnan(X).any(axis=1)
    rows = np.flatnonzero((classes >= 0) & usable)
    Z, y, weights = X[rows], classes[rows], _stands_for(X[usable, -1], X[rows, -1])
    folds = min(FOLDS, int(np.bincount(y, minlength=2).min()))
    strength, held_out = _ALONE, None
    if folds > 1:
        tried = [_held_out(Z, y, weights, float(c), folds, seed) for c in _STRENGTHS]
        losses = [log_loss(y, p, labels=np.arange(p.shape[1]), sample_weight=weights) for p in tried]
        best = int(np.argmin(losses))
        strength, held_out = float(_STRENGTHS[best]), tried[best]
    model = _fitted(Z, y, weights, strength)
    found = np.full((len(X), len(model.classes_)), np.nan)
    found[usable] = model.predict_proba(X[usable])
    if held_out is not None:
        found[rows] = held_out
    return Learnt(found, held_out, strength)


def _stands_for(scores: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Return how many rows each labelled row stands for, flattened, with mean 1."""
    places = np.searchsorted(np.sort(scores), labelled).astype(float)
    order = np.argsort(places, kind="stable")
    # Beyond the ends as many rows as there are: half a place before the first, half behind the last.
    edges = np.concatenate([[-0.5], (places[order][1:] + places[order][:-1]) / 2, [len(scores) - 0.5]])
    begin = np.maximum(np.arange(len(order)) - _REACH, 0)
    end = np.minimum(np.arange(len(order)) + _REACH + 1, len(order))
    weights = np.empty(len(order))
    weights[order] = np.maximum((edges[end] - edges[begin]) / (end - begin), 0.5) ** _FLATTENED
    return weights / weights.mean()


def _fitted(X: np.ndarray, y: np.ndarray, weights: np.ndarray, strength: float) -> LogisticRegression:
    with warnings.catch_warnings():
        # A last digit that is missing where the penalty is weak decides nothing.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=2000).fit(X, y, sample_weight=weights)


def _held_out(
    X: np.ndarray, y: np.ndarray, weights: np.ndarray, strength: float, folds: int, seed: int
) -> np.ndarray:
    found = np.empty((len(X), int(y.max()) + 1))
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(X, y):
        found[test] = _fitted(X[train], y[train], weights[train], strength).predict_proba(X[test])
    return found
