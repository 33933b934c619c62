"""How good predictions are, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["nmad_of", "score_class", "score_number", "standard_error"]


def standard_error(scores: np.ndarray, folds: int) -> float:
    """Return the standard error of a mean of scores over folds that were dealt out repeatedly.

    Parameters
    ----------
    scores : (r, f) array of float
        Score of each fold of each repeat; NaN where there is none.
    folds : int
        Number of folds.

    Returns
    -------
    float
        NaN for fewer than two scores.

    Notes
    -----
    sqrt((1/J + 1/(f - 1)) s²) for the variance s² of the J scores: what is learnt from is shared by folds
    and repeats, so that the scores scatter less than independent ones would (Nadeau & Bengio 2003, Machine
    Learning 52, 239).

    Examples
    --------
    >>> round(standard_error(np.array([[0.8, 0.9, 0.7, 0.8, 0.8]]), 5), 4)
    0.0474
    """
    seen = scores[~np.isnan(scores)]
    if len(seen) < 2:
        return float("nan")
    return float(np.sqrt((1 / len(seen) + 1 / (folds - 1)) * seen.var(ddof=1)))


def nmad_of(predicted: np.ndarray, true: np.ndarray) -> float:
    """Return the normalised median absolute deviation of redshifts.

    Parameters
    ----------
    predicted, true : (n,) array of float
        Redshifts.

    Returns
    -------
    float
        1.4826 times the median of |dz - median dz| / (1 + z) (Brammer, van Dokkum & Coppi 2008, ApJ 686,
        1503, equation 5): the standard deviation of errors that are normal.

    Examples
    --------
    >>> round(nmad_of(np.array([1.02, 2.0, 2.97]), np.array([1.0, 2.0, 3.0])), 4)
    0.0111
    """
    error = predicted - true
    return float(1.4826 * np.median(np.abs(error - np.median(error)) / (1 + true)))


def _r2(predicted: np.ndarray, true: np.ndarray) -> float:
    around = ((true - true.mean()) ** 2).sum() if len(true) > 1 else 0.0
    return float(1 - ((true - predicted) ** 2).sum() / around) if around > 0 else float("nan")


def _by_fold(score: Callable[[np.ndarray], float], folds: np.ndarray) -> np.ndarray:
    """Return the score of the rows of each fold."""
    return np.array([score(np.flatnonzero(folds == fold)) for fold in range(folds.max() + 1)])


def score_number(
    predicted: np.ndarray, baseline: np.ndarray, true: np.ndarray, folds: np.ndarray, *, redshift: bool
) -> dict[str, float]:
    """Judge predictions of a number.

    Parameters
    ----------
    predicted, baseline : (r, n) array of float
        Predictions of the r repeats, and those of the median.
    true : (n,) array of float
        What they should be.
    folds : (r, n) array of int
        Fold of each row.
    redshift : bool
        Whether to give the NMAD, too.

    Returns
    -------
    dict of str to float
        ``r2``, ``r2_error``, ``mean_absolute_error``, ``median_absolute_error`` and ``nmad``.

    Examples
    --------
    >>> true = np.arange(6.0)
    >>> folds = np.array([[0, 1, 2, 0, 1, 2]])
    >>> found = score_number(true[None], np.full((1, 6), 2.5), true, folds, redshift=False)
    >>> found["r2"], found["mean_absolute_error"], found["median_absolute_error"]
    (1.0, 0.0, 1.5)
    """
    repeats = range(len(predicted))
    each = [_by_fold(lambda rows, r=r: _r2(predicted[r, rows], true[rows]), folds[r]) for r in repeats]
    z = [nmad_of(one, true) for one in predicted] if redshift and true.min() > -1 else [float("nan")]
    return {
        "r2": float(np.mean([_r2(one, true) for one in predicted])),
        "r2_error": standard_error(np.array(each), int(folds.max()) + 1),
        "mean_absolute_error": float(np.abs(predicted - true).mean()),
        "median_absolute_error": float(np.abs(baseline - true).mean()),
        "nmad": float(np.mean(z)),
    }


def _accuracy(chosen: np.ndarray, true: np.ndarray) -> float:
    there = np.unique(true)
    return float(np.mean([(chosen[true == one] == one).mean() for one in there]))


def _auc(shares: np.ndarray, true: np.ndarray) -> float:
    from scipy.stats import rankdata

    found = []
    for one in range(shares.shape[1]):
        inside = true == one
        m, n = np.count_nonzero(inside), np.count_nonzero(~inside)
        if m and n:  # Mann & Whitney: the chance that one inside has the larger share, equal ones half
            found.append((rankdata(shares[:, one])[inside].sum() - m * (m + 1) / 2) / (m * n))
    return float(np.mean(found)) if found else float("nan")


def score_class(shares: np.ndarray, true: np.ndarray, folds: np.ndarray) -> dict[str, Any]:
    """Judge predictions of a class.

    Parameters
    ----------
    shares : (r, n, c) array of float
        Share of each class among the neighbours, for r repeats.
    true : (n,) array of int
        Number of the class of each row.
    folds : (r, n) array of int
        Fold of each row.

    Returns
    -------
    dict of str to float
        ``balanced_accuracy``, ``balanced_accuracy_error``, ``baseline_accuracy``, ``roc_auc`` and
        ``roc_auc_error``.

    Notes
    -----
    The class is the one whose share among the neighbours is the largest against its share of all: the
    commonest one among them would seldom be a rare one.

    Examples
    --------
    >>> true = np.array([0, 0, 1, 1])
    >>> found = score_class(np.eye(2)[true][None], true, np.array([[0, 1, 0, 1]]))
    >>> found["balanced_accuracy"], found["roc_auc"], found["baseline_accuracy"]
    (1.0, 1.0, 0.5)
    """
    classes = shares.shape[2]
    common = np.bincount(true, minlength=classes) / len(true)
    chosen = (shares / common).argmax(axis=2)
    accuracies, areas = [], []
    for r in range(len(shares)):
        accuracies.append(_by_fold(lambda rows, r=r: _accuracy(chosen[r, rows], true[rows]), folds[r]))
        areas.append(_by_fold(lambda rows, r=r: _auc(shares[r, rows], true[rows]), folds[r]))
    number = int(folds.max()) + 1
    return {
        "balanced_accuracy": float(np.mean([_accuracy(one, true) for one in chosen])),
        "balanced_accuracy_error": standard_error(np.array(accuracies), number),
        "baseline_accuracy": 1 / classes,
        "roc_auc": float(np.mean([_auc(one, true) for one in shares])),
        "roc_auc_error": standard_error(np.array(areas), number),
    }
