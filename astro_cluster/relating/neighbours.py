"""Cross-validated nearest neighbours: what rows like it tell of a row that was not learnt from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["CHOICES", "Predictions", "folds_of", "predict"]

CHOICES = (5, 10, 20, 40, 80)
"""Numbers of neighbours to choose from."""

_INNER = 5
_FEW_AXES = 4  # beyond, a tree is slower than all distances
_JUDGED = 2000  # rows that are enough to choose a number of neighbours by


@dataclass(frozen=True, slots=True)
class Predictions:
    """What was predicted of each row, by neighbours that are not in its fold.

    Parameters
    ----------
    values : (r, n, v) array of float
        Mean of each target over the neighbours, for r repeats.
    folds : (r, n) array of int
        Fold of each row.
    n_neighbors : (r, f, t) array of int
        How many neighbours were taken, for each of t groups of targets.
    baseline : (r, n, v) array of float
        Median of the target over the rows that were learnt from.
    """

    values: np.ndarray
    folds: np.ndarray
    n_neighbors: np.ndarray
    baseline: np.ndarray


def folds_of(objects: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Deal objects out to folds, each with all its rows.

    Parameters
    ----------
    objects : (n,) array of int
        Object of each row.
    folds : int
        How many folds; at most as many as there are objects.
    rng : `~numpy.random.Generator`
        Source of chance.

    Returns
    -------
    (n,) array of int
        From 0; the numbers of objects in the folds differ by one at most.

    Examples
    --------
    >>> found = folds_of(np.array([0, 0, 1, 2, 3]), 2, np.random.default_rng(1))
    >>> bool(found[0] == found[1]), np.bincount(found[1:]).tolist()
    (True, [2, 2])
    """
    of = np.unique(objects, return_inverse=True)[1].ravel()
    number = int(of.max()) + 1
    dealt = np.empty(number, dtype=np.int64)
    dealt[rng.permutation(number)] = np.arange(number) % folds
    return dealt[of]


def _standardised(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale both by the mean and the deviation of what is learnt from."""
    middle, width = train.mean(axis=0), train.std(axis=0)
    width = np.where(width > 0, width, 1.0)
    return (train - middle) / width, (test - middle) / width


def _means(
    train: np.ndarray, targets: np.ndarray, test: np.ndarray, numbers: list[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the mean of the targets over so many neighbours, for each number."""
    from sklearn.neighbors import NearestNeighbors

    train, test = _standardised(train, test)
    algorithm = "kd_tree" if train.shape[1] <= _FEW_AXES else "brute"
    near = NearestNeighbors(n_neighbors=max(numbers), algorithm=algorithm).fit(train)
    nearest = near.kneighbors(test, return_distance=False)
    sums = np.zeros((len(test), targets.shape[1]))
    done = 0
    for number in sorted(numbers):
        sums += targets[nearest[:, done:number]].sum(axis=1)
        done = number
        yield number, sums / number


def _chosen(
    X: np.ndarray,
    targets: np.ndarray,
    groups: np.ndarray,
    objects: np.ndarray,
    choices: list[int],
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the number of neighbours with the smallest squared error, for each group of targets.

    Found within the rows that are learnt from, by folds of their own.
    """
    of = np.unique(objects, return_inverse=True)[1].ravel()
    folds = folds_of(objects, min(_INNER, int(of.max()) + 1), rng)
    errors = np.zeros((len(choices), targets.shape[1]))
    judged = 0
    for fold in range(folds.max() + 1):
        test = np.flatnonzero(folds == fold)
        if len(test) > _JUDGED:
            test = np.sort(rng.choice(test, _JUDGED, replace=False))
        train = folds != fold
        fit = [number for number in choices if number <= train.sum()]
        errors[len(fit) :] = np.inf
        for i, (_, means) in enumerate(_means(X[train], targets[train], X[test], fit)):
            errors[i] += ((means - targets[test]) ** 2).sum(axis=0)
        judged += len(test)
        if judged >= _JUDGED:
            break
    together = np.zeros((len(choices), groups.max() + 1))
    np.add.at(together.T, groups, errors.T)
    return np.array(choices)[together.argmin(axis=0)]


def predict(
    X: np.ndarray,
    targets: np.ndarray,
    objects: np.ndarray,
    *,
    groups: np.ndarray,
    n_neighbors: int | None,
    folds: int,
    repeats: int,
    seed: int,
) -> Predictions:
    """Predict targets of rows by the nearest of the rows in other folds.

    Parameters
    ----------
    X : (n, d) array of float
        Features; they are standardised by the rows that are learnt from.
    targets : (n, v) array of float
        What to predict; classes as columns of 0 and 1.
    objects : (n,) array of int
        Object of each row; all rows of one are in the same fold.
    groups : (v,) array of int
        Targets that share a number of neighbours, from 0.
    n_neighbors : int or None
        How many neighbours; None to choose, within the rows that are learnt from.
    folds, repeats : int
        Number of folds, and how often the objects are dealt out anew.
    seed : int
        Random seed.

    Returns
    -------
    Predictions

    Examples
    --------
    >>> x = np.arange(60.0)[:, np.newaxis]
    >>> how = dict(groups=np.array([0]), n_neighbors=2, folds=5, repeats=1, seed=1)
    >>> found = predict(x, x, np.arange(60), **how)
    >>> bool(np.abs(found.values[0] - x).max() < 4)
    True
    """
    shape = repeats, len(X), targets.shape[1]
    values, baseline = np.empty(shape), np.empty(shape)
    number = np.empty((repeats, folds, int(groups.max()) + 1), dtype=np.int64)
    where = np.empty((repeats, len(X)), dtype=np.int64)
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        where[repeat] = folds_of(objects, folds, rng)
        for fold in range(folds):
            test, train = where[repeat] == fold, where[repeat] != fold
            learnt = X[train], targets[train]
            baseline[repeat, test] = np.median(targets[train], axis=0)
            if n_neighbors is None:
                fit = [choice for choice in CHOICES if choice <= train.sum()] or [int(train.sum())]
                best = _chosen(*learnt, groups, objects[train], fit, rng)
            else:
                best = np.full(int(groups.max()) + 1, min(n_neighbors, int(train.sum())))
            number[repeat, fold] = best
            for k, means in _means(*learnt, X[test], sorted(set(best.tolist()))):
                of = np.flatnonzero(best[groups] == k)
                values[np.ix_([repeat], np.flatnonzero(test), of)] = means[np.newaxis][:, :, of]
    return Predictions(values, where, number, baseline)
