"""Scores are those of scikit-learn; their errors are as large as the scatter over samples."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, r2_score, roc_auc_score

from astro_cluster.relating.scores import nmad_of, score_class, score_number, standard_error

FOLDS = np.arange(300) % 5


def test_scores_of_numbers():
    rng = np.random.default_rng(1)
    true = rng.uniform(0, 4, 300)
    predicted = true + rng.normal(0, 0.3, (2, 300))
    folds = np.stack([FOLDS, np.roll(FOLDS, 1)])
    found = score_number(predicted, np.full((2, 300), 2.0), true, folds, redshift=True)
    assert found["r2"] == pytest.approx(np.mean([r2_score(true, one) for one in predicted]))
    assert found["mean_absolute_error"] == pytest.approx(np.abs(predicted - true).mean())
    assert found["median_absolute_error"] == pytest.approx(np.abs(2 - true).mean())
    assert found["nmad"] == pytest.approx(np.mean([nmad_of(one, true) for one in predicted]))
    each = [
        r2_score(true[folds[r] == fold], predicted[r][folds[r] == fold])
        for r in range(2)
        for fold in range(5)
    ]
    assert found["r2_error"] == pytest.approx(np.sqrt((1 / 10 + 1 / 4) * np.var(each, ddof=1)))
    assert np.isnan(score_number(predicted, predicted, true, folds, redshift=False)["nmad"])


def test_the_nmad_of_normal_errors_is_their_deviation():
    rng = np.random.default_rng(2)
    z = rng.uniform(0, 5, 40_000)
    assert nmad_of(z + 0.02 * (1 + z) * rng.normal(size=40_000), z) == pytest.approx(0.02, rel=0.02)


def test_scores_of_classes():
    rng = np.random.default_rng(3)
    true = rng.choice(3, 300, p=[0.7, 0.2, 0.1])
    shares = rng.dirichlet([1, 1, 1], 300) + np.eye(3)[true] / 2
    shares /= shares.sum(axis=1, keepdims=True)
    found = score_class(shares[np.newaxis], true, FOLDS[np.newaxis])
    chosen = (shares / (np.bincount(true) / 300)).argmax(axis=1)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, chosen))
    areas = [roc_auc_score(true == one, shares[:, one]) for one in range(3)]
    assert found["roc_auc"] == pytest.approx(np.mean(areas))
    assert found["baseline_accuracy"] == pytest.approx(1 / 3)
    each = [balanced_accuracy_score(true[f == FOLDS], chosen[f == FOLDS]) for f in range(5)]
    assert found["balanced_accuracy_error"] == pytest.approx(np.sqrt((1 / 5 + 1 / 4) * np.var(each, ddof=1)))


def test_a_fold_without_a_class_does_not_count():
    true = np.r_[np.zeros(8, int), 1, 1]
    folds = np.array([[0, 0, 0, 0, 1, 1, 1, 1, 1, 1]])
    found = score_class(np.eye(2)[true][np.newaxis], true, folds)
    assert found["roc_auc"] == 1
    assert np.isnan(found["roc_auc_error"])  # one fold alone has both
    assert np.isnan(standard_error(np.array([[np.nan, 0.5]]), 2))
