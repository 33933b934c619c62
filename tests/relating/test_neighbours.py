"""Predictions are those of scikit-learn, and no row of an object is learnt from when another is judged."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, PredefinedSplit, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from astro_cluster.relating.neighbours import CHOICES, folds_of, predict


@pytest.mark.parametrize("d", [2, 7])  # by a tree and by all distances
def test_predictions_are_those_of_scikit_learn(d):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, d)) * 10 ** np.arange(d)
    y, c = X[:, 0] + rng.normal(size=200), rng.integers(0, 3, 200)
    targets = np.column_stack([y, np.eye(3)[c]])
    how = dict(groups=np.array([0, 1, 1, 1]), n_neighbors=7, folds=4, repeats=2, seed=5)
    found = predict(X, targets, np.arange(200), **how)
    assert (found.n_neighbors == 7).all()
    for repeat in range(2):
        split = PredefinedSplit(found.folds[repeat])
        model = make_pipeline(StandardScaler(), KNeighborsRegressor(7))
        np.testing.assert_allclose(found.values[repeat, :, 0], cross_val_predict(model, X, y, cv=split))
        model = make_pipeline(StandardScaler(), KNeighborsClassifier(7))
        shares = cross_val_predict(model, X, c, cv=split, method="predict_proba")
        np.testing.assert_allclose(found.values[repeat, :, 1:], shares, atol=1e-12)
        for fold in range(4):
            inside = found.folds[repeat] == fold
            assert (found.baseline[repeat, inside, 0] == np.median(y[~inside])).all()
    assert (found.folds[0] != found.folds[1]).any()


def test_an_object_is_in_one_fold():
    objects = np.random.default_rng(2).integers(0, 30, 200)
    folds = folds_of(objects, 5, np.random.default_rng(1))
    of = [np.unique(folds[objects == one]) for one in np.unique(objects)]
    assert all(len(one) == 1 for one in of)
    assert set(np.bincount(np.concatenate(of))) <= {5, 6, 7}


def test_the_number_of_neighbours_suits_the_data():
    rng = np.random.default_rng(3)
    X = rng.uniform(-1, 1, size=(1000, 1))
    steep, noisy = np.sin(25 * X[:, 0]), 0.2 * X[:, 0] + rng.normal(size=1000)
    how = dict(n_neighbors=None, folds=5, repeats=1, seed=1)
    found = predict(X, np.column_stack([steep, noisy]), np.arange(1000), groups=np.arange(2), **how)
    assert set(found.n_neighbors.ravel()) <= set(CHOICES)
    assert (found.n_neighbors[0, :, 0] <= 10).all()
    assert (found.n_neighbors[0, :, 1] >= 40).all()


def test_the_choice_does_not_learn_from_copies():
    """With copies in the inner folds one neighbour would seem perfect."""
    rng = np.random.default_rng(4)
    objects = np.repeat(np.arange(150), 4)
    X, y = rng.normal(size=(150, 2))[objects], rng.normal(size=150)[objects]
    how = dict(groups=np.array([0]), n_neighbors=None, folds=5, repeats=1, seed=1)
    kept = predict(X, y[:, np.newaxis], objects, **how)
    leaking = predict(X, y[:, np.newaxis], np.arange(600), **how)
    assert np.median(kept.n_neighbors) >= 20
    assert (leaking.n_neighbors == 5).all()


def test_folds_keep_objects_together_as_group_k_fold_does():
    rng = np.random.default_rng(5)
    objects = np.repeat(np.arange(40), 3)
    X, y = rng.normal(size=(40, 2))[objects], rng.normal(size=40)[objects]
    how = dict(groups=np.array([0]), n_neighbors=3, folds=5, repeats=1, seed=1)
    honest = predict(X, y[:, np.newaxis], objects, **how).values[0, :, 0]
    model = make_pipeline(StandardScaler(), KNeighborsRegressor(3))
    known = cross_val_predict(model, X, y, groups=objects, cv=GroupKFold(5))
    assert np.abs(honest - y).mean() == pytest.approx(np.abs(known - y).mean(), rel=0.2)
    leaking = predict(X, y[:, np.newaxis], np.arange(120), **how).values[0, :, 0]
    assert np.abs(leaking - y).mean() < 0.7 * np.abs(honest - y).mean()
