"""With errors the mixture is that of the true values: as theory says, to what statistics allow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astro_cluster import GaussianMixture
from astro_cluster.mixture.parameters import Parameters, full_covariances

from .cases import members, random_errors, start_from

TRUTH = np.array([[2.0, 0.8, 0.0], [0.8, 1.0, -0.3], [0.0, -0.3, 0.5]])
MEAN = np.array([1.0, -2.0, 30.0])


def exactly(**options):
    """An estimator that goes on to the last digits."""
    return GaussianMixture(**options, reg_covar=0.0, tol=1e-15, max_iter=5000)


def rows(rng, n, kind, V=TRUTH):
    """Return measured values, what the errors are given as, and their mean covariance."""
    d = len(V)
    errors = random_errors(rng, n, d, kind, size=1.0)
    C = errors if errors.ndim == 3 else errors[:, :, np.newaxis] ** 2 * np.eye(d)
    truth = rng.multivariate_normal(MEAN[:d], V, n)
    X = truth + np.einsum("nij,nj->ni", np.linalg.cholesky(C + 1e-12 * np.eye(d)), rng.normal(size=(n, d)))
    return X, errors, C.mean(axis=0)


def within(found, expected, n, scale, sigmas=5.0):
    """Compare a covariance with that of infinitely many rows."""
    largest = np.sqrt(2 / n) * np.diag(scale).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=sigmas * largest)


@pytest.mark.parametrize("kind", ["diagonal", "full"])
@pytest.mark.parametrize("engine", ["numba", "numpy", "torch"])
def test_alike_errors_are_taken_off_the_covariance_of_the_sample(engine, kind):
    if engine == "torch":
        pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    X = rng.multivariate_normal(MEAN, TRUTH, 500) + rng.normal(0, 0.5, (500, 3))
    error = np.array([0.5, 0.4, 0.3]) if kind == "diagonal" else 0.2 * TRUTH + 0.05 * np.eye(3)
    C = np.diag(error**2) if kind == "diagonal" else error
    gm = exactly(engine=engine).fit(X, errors=np.tile(error, (500, *[1] * error.ndim)))
    np.testing.assert_allclose(gm.means_[0], X.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(gm.covariances_[0], np.cov(X.T, bias=True) - C, rtol=0, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), weighted=st.booleans())
def test_alike_errors_are_taken_off_in_any_case(seed, weighted):
    rng = np.random.default_rng(seed)
    X = rng.multivariate_normal(MEAN, TRUTH, 200) * np.exp(rng.uniform(-3, 3))
    weights = rng.uniform(0.1, 2.0, 200) if weighted else None
    S = np.cov(X.T, bias=True, aweights=weights)
    C = rng.uniform(0.05, 0.6) * S
    gm = exactly().fit(X, errors=np.tile(C, (200, 1, 1)), sample_weight=weights)
    np.testing.assert_allclose(gm.covariances_[0], S - C, rtol=0, atol=1e-6 * np.abs(S).max())


def test_alike_errors_are_taken_off_what_is_independent_or_tied():
    rng = np.random.default_rng(1)
    X = rng.normal(MEAN, [2.0, 1.0, 1.5], (400, 3))
    errors = np.tile([1.0, 0.5, 0.7], (400, 1))
    expected = X.var(axis=0) - errors[0] ** 2
    np.testing.assert_allclose(exactly(covariance_type="diag").fit(X, errors=errors).covariances_, [expected])
    tied = exactly(covariance_type="tied").fit(X, errors=errors).covariances_
    np.testing.assert_allclose(tied, np.cov(X.T, bias=True) - np.diag(errors[0] ** 2), atol=1e-6)
    alike = np.full_like(errors, 0.6)
    found = exactly(covariance_type="spherical").fit(X, errors=alike).covariances_
    np.testing.assert_allclose(found, [X.var(axis=0).mean() - 0.36], rtol=1e-6)


@pytest.mark.parametrize("kind", ["diagonal", "full"])
def test_unlike_errors_are_deconvolved(kind):
    n = 8000
    X, errors, C = rows(np.random.default_rng(2), n, kind)
    gm = exactly().fit(X, errors=errors)
    within(gm.covariances_[0], TRUTH, n, TRUTH + C)
    np.testing.assert_allclose(gm.means_[0], MEAN, atol=5 * np.sqrt((TRUTH + C).max() / n))
    naive = GaussianMixture().fit(X)
    within(naive.covariances_[0], TRUTH + C, n, TRUTH + C)
    assert np.diag(C).min() > 0.2  # so that the two are told apart


def test_sharp_rows_count_for_more():
    """The mean of rows of unlike errors is weighted by 1 / (V + C): less uncertain than the plain mean."""
    rng = np.random.default_rng(3)
    errors = np.where(np.arange(400) % 2, 0.1, 30.0)[:, np.newaxis]
    off = []
    for _ in range(20):
        X = rng.normal(5.0, 1.0, (400, 1)) + errors * rng.normal(size=(400, 1))
        gm = exactly().fit(X, errors=errors)
        total = gm.covariances_[0, 0, 0] + errors[:, 0] ** 2
        assert gm.means_[0, 0] == pytest.approx(np.average(X[:, 0], weights=1 / total), rel=1e-6)
        off.append(gm.means_[0, 0] - 5.0)
    assert np.std(off) < 3 * 1 / np.sqrt(200)


def test_what_is_missing_as_well_as_uncertain_is_no_bias():
    n = 8000
    rng = np.random.default_rng(4)
    X, errors, C = rows(rng, n, "diagonal")
    X[rng.random(X.shape) < 0.3] = np.nan
    gm = exactly().fit(X, errors=errors)
    within(gm.covariances_[0], TRUTH, n * 0.5, TRUTH + C)


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("noise", ["diagonal", "full"])
def test_clusters_are_deconvolved(kind, noise):
    rng, n = np.random.default_rng(5), 6000
    covariances = {
        "full": np.array([[[0.5, 0.3], [0.3, 0.4]], [[1.0, -0.5], [-0.5, 0.8]]]),
        "tied": np.array([[0.5, 0.3], [0.3, 0.4]]),
        "diag": np.array([[0.5, 0.2], [0.3, 1.0]]),
        "spherical": np.array([0.3, 1.0]),
    }[kind]
    truth = Parameters(np.array([0.5, 0.5]), np.array([[0.0, 0.0], [5.0, 3.0]]), covariances, kind)
    errors = random_errors(rng, n, 2, noise, size=0.8)
    C = errors if noise == "full" else errors[:, :, np.newaxis] ** 2 * np.eye(2)
    X = members(rng, truth, n)
    X += np.einsum("nij,nj->ni", np.linalg.cholesky(C + 1e-12 * np.eye(2)), rng.normal(size=(n, 2)))
    gm = GaussianMixture(**start_from(truth), reg_covar=0.0, tol=1e-9, max_iter=2000).fit(X, errors=errors)
    found = full_covariances(gm._parameters())
    for one, V in zip(found, full_covariances(truth), strict=True):
        within(one, V, n / 2, V + C.mean(axis=0))
    np.testing.assert_allclose(gm.means_, truth.means, atol=0.15)
    np.testing.assert_allclose(gm.weights_, truth.weights, atol=0.03)
    # What the errors are is told when it is asked what a row is, too.
    labels = gm.predict(X, errors=errors)
    assert (labels == np.arange(n) % 2).mean() > 0.97


def test_a_narrow_cluster_may_have_no_width_of_its_own():
    rng = np.random.default_rng(6)
    errors = rng.uniform(0.5, 2.0, (1000, 2))
    X = errors * rng.normal(size=(1000, 2)) + [[0.0, 0.0], [30.0, 0.0]] * 500
    gm = GaussianMixture(2, random_state=0, tol=1e-8, max_iter=5000).fit(X, errors=errors)
    assert np.sqrt(np.einsum("kii->ki", gm.covariances_)).max() < 0.35
    np.testing.assert_allclose(np.sort(gm.means_[:, 0]), [0.0, 30.0], atol=0.3)
