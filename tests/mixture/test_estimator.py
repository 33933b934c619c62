"""The estimator keeps scikit-learn's contract and, on complete data, its numbers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.mixture import GaussianMixture as SklearnMixture
from sklearn.utils.estimator_checks import parametrize_with_checks

from astro_cluster import GaussianMixture
from astro_cluster.mixture.parameters import COVARIANCE_TYPES


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([GaussianMixture(), GaussianMixture(2, covariance_type="diag")])
def test_sklearn_contract(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(4)
    centres = rng.normal(0, 6, (4, 5)) + 1000.0  # far from zero: nothing may cancel
    return np.vstack([rng.multivariate_normal(c, np.diag(rng.uniform(0.3, 2, 5)), 150) for c in centres])


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("start", ["kmeans", "random"])
def test_agrees_with_sklearn_on_complete_data(blobs, kind, start):
    options = dict(covariance_type=kind, init_params=start, random_state=7, max_iter=60, tol=1e-5)
    ours = GaussianMixture(4, **options)
    theirs = SklearnMixture(4, **options)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # random starts need not converge in 60 steps
        ours.fit(blobs)
        theirs.fit(blobs)
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_allclose(ours.lower_bound_, theirs.lower_bound_, rtol=0, atol=1e-8)
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=0, atol=1e-8)
    np.testing.assert_allclose(ours.weights_, theirs.weights_, rtol=0, atol=1e-8)
    np.testing.assert_allclose(ours.covariances_, theirs.covariances_, rtol=0, atol=1e-7)
    np.testing.assert_allclose(ours.predict_proba(blobs), theirs.predict_proba(blobs), rtol=0, atol=1e-8)
    np.testing.assert_allclose(ours.score_samples(blobs), theirs.score_samples(blobs), rtol=1e-9)
    np.testing.assert_allclose(ours.bic(blobs), theirs.bic(blobs), rtol=1e-9)
    np.testing.assert_allclose(ours.aic(blobs), theirs.aic(blobs), rtol=1e-9)
    np.testing.assert_allclose(ours.precisions_, theirs.precisions_, rtol=1e-5)


def test_starts_from_given_parameters_as_sklearn_does(blobs):
    given = dict(
        weights_init=np.full(4, 0.25),
        means_init=blobs[[0, 150, 300, 450]],
        precisions_init=np.tile(np.eye(5), (4, 1, 1)),
        tol=1e-8,
        max_iter=500,
    )
    ours, theirs = GaussianMixture(4, **given).fit(blobs), SklearnMixture(4, **given).fit(blobs)
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=0, atol=1e-8)
    np.testing.assert_allclose(ours.predict_proba(blobs), theirs.predict_proba(blobs), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"weights_init": [0.5, 0.6]}, "add up to 1"),
        ({"weights_init": [1.0]}, r"shape \(2,\)"),
        ({"means_init": np.zeros((2, 3))}, "means_init"),
        ({"precisions_init": np.zeros((2, 5))}, "precisions_init"),
    ],
)
def test_bad_starts_are_refused(blobs, bad, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(2, **bad).fit(blobs)


def test_same_seed_same_numbers_and_clone(blobs):
    holed = np.where(np.random.default_rng(1).random(blobs.shape) < 0.2, np.nan, blobs)
    first = GaussianMixture(4, random_state=3, init_params="k-means++").fit(holed)
    second = clone(first).fit(holed)
    np.testing.assert_array_equal(first.means_, second.means_)


def test_warm_start_continues():
    from sklearn.exceptions import ConvergenceWarning

    rows = np.random.default_rng(0).normal(size=(300, 3))
    gm = GaussianMixture(3, random_state=0, warm_start=True, max_iter=1)
    with pytest.warns(ConvergenceWarning):
        gm.fit(rows)
    first = gm.lower_bound_
    gm.set_params(max_iter=200).fit(rows)
    assert gm.converged_
    assert gm.lower_bound_ > first


def test_sample_has_the_moments_of_the_mixture():
    gm = GaussianMixture.from_parameters(
        [0.3, 0.7], [[0.0, 0.0], [5.0, 1.0]], [[[1.0, 0.5], [0.5, 2.0]], np.eye(2)]
    )
    gm.random_state = 0
    X, y = gm.sample(20_000)
    assert abs((y == 1).mean() - 0.7) < 0.01
    np.testing.assert_allclose(np.cov(X[y == 0].T), [[1.0, 0.5], [0.5, 2.0]], atol=0.1)
    with pytest.raises(ValueError, match="at least 1"):
        gm.sample(0)


@pytest.mark.parametrize(
    ("weights", "means", "covariances", "message"),
    [
        ([1.0], [[0.0, 1.0]], [[[1.0]]], "do not go together"),
        ([1.0], [[np.nan]], [[[1.0]]], "finite"),
        ([1.0], [[0.0, 0.0]], [[[1.0, 2.0], [2.0, 1.0]]], "positive definite"),
    ],
)
def test_from_parameters_refuses_nonsense(weights, means, covariances, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture.from_parameters(weights, means, covariances)


def test_verbose_prints_the_progress(blobs, capsys):
    GaussianMixture(2, random_state=0, verbose=2).fit(blobs)
    out = capsys.readouterr().out
    assert "start 1, step 1: mean log-likelihood" in out
