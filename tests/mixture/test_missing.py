"""Missing values are integrated out exactly: against brute force, row by row."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp

from astro_cluster import GaussianMixture
from astro_cluster.mixture.engine import make_engine
from astro_cluster.mixture.parameters import COVARIANCE_TYPES, Parameters, full_covariances
from astro_cluster.mixture.rows import Rows


def log_joint(X, parameters):
    engine = make_engine()
    return engine.log_joint(engine.prepare(Rows(X)), parameters)


def expect(X, parameters):
    engine = make_engine()
    return engine.expect(engine.prepare(Rows(X)), [parameters])[0]


def random_mixture(rng, k, d, kind):
    a = rng.normal(size=(k, d, d))
    full = a @ a.transpose(0, 2, 1) + 0.3 * np.eye(d)
    covariances = {
        "full": full,
        "tied": full[0],
        "diag": np.einsum("kii->ki", full).copy(),
        "spherical": np.einsum("kii->k", full) / d,
    }[kind]
    return Parameters(rng.dirichlet(np.ones(k)), 3 * rng.normal(size=(k, d)), covariances, kind)


def holed_rows(rng, n, d, fraction):
    X = 3 * rng.normal(size=(n, d))
    X[rng.random((n, d)) < fraction] = np.nan
    X[0] = np.nan  # nothing observed
    X[1] = rng.normal(size=d)  # everything
    return X


def log_normal(x, mean, cov):
    """Log density by eigenvalues: another way than by Cholesky, exact for nearly singular ones."""
    values, vectors = np.linalg.eigh(cov)
    white = vectors.T @ (x - mean) / np.sqrt(values)
    return -0.5 * (white @ white + np.log(2 * np.pi * values).sum())


def brute_force(X, parameters):
    """Log joint, moments about the old means: one row and one component at a time."""
    k, d = parameters.means.shape
    full = full_covariances(parameters)
    joint, mass = np.empty((len(X), k)), np.zeros(k)
    first, second = np.zeros((k, d)), np.zeros((k, d, d))
    for i, x in enumerate(X):
        o = ~np.isnan(x)
        for j in range(k):
            mean, cov = parameters.means[j], full[j]
            joint[i, j] = np.log(parameters.weights[j])
            if o.any():
                joint[i, j] += log_normal(x[o], mean[o], cov[np.ix_(o, o)])
        r = np.exp(joint[i] - logsumexp(joint[i]))
        for j in range(k):
            mean, cov = parameters.means[j], full[j]
            expected, spread = np.zeros(d), cov.copy()
            if o.any():
                gain = np.linalg.solve(cov[np.ix_(o, o)], cov[o, :]).T
                expected = gain @ (x[o] - mean[o])
                spread = cov - gain @ cov[o, :]
            mass[j] += r[j]
            first[j] += r[j] * expected
            second[j] += r[j] * (np.outer(expected, expected) + spread)
    return joint, mass, first, second


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_a_row_with_nothing_observed_gets_the_weights(kind):
    rng = np.random.default_rng(2)
    p = random_mixture(rng, 3, 3, kind)
    gm = GaussianMixture.from_parameters(p.weights, p.means, p.covariances, covariance_type=kind)
    X = np.full((1, 3), np.nan)
    np.testing.assert_allclose(gm.predict_proba(X)[0], p.weights, rtol=1e-14)
    assert gm.score_samples(X)[0] == pytest.approx(0.0, abs=1e-14)
    assert gm.tail_probability(X)[0] == 1.0


def test_likelihood_never_falls():
    rng = np.random.default_rng(9)
    X = holed_rows(rng, 300, 5, 0.25)
    gm = GaussianMixture(3, random_state=1, tol=1e-5, max_iter=1000, reg_covar=1e-9).fit(X)
    assert gm.converged_
    assert (np.diff(gm.lower_bounds_) > -1e-10).all()


def test_tail_probability_is_uniform_for_members():
    gm = GaussianMixture.from_parameters([1.0], [[0.0, 0.0, 0.0]], [np.eye(3)])
    gm.random_state = 3
    X, _ = gm.sample(4000)
    X[np.random.default_rng(0).random(X.shape) < 0.3] = np.nan
    X = X[~np.isnan(X).all(axis=1)]
    tail = gm.tail_probability(X)
    # Kolmogorov-Smirnov distance to the uniform distribution
    assert np.abs(np.sort(tail) - (np.arange(len(tail)) + 0.5) / len(tail)).max() < 0.03


def test_recovers_a_mixture_from_holes():
    truth = GaussianMixture.from_parameters(
        [0.5, 0.5], [[0.0, 0.0, 0.0], [6.0, 0.0, 3.0]], [np.eye(3), np.eye(3) + 0.5]
    )
    truth.random_state = 1
    X, _ = truth.sample(3000)
    X[np.random.default_rng(2).random(X.shape) < 0.3] = np.nan
    gm = GaussianMixture(2, random_state=0, tol=1e-6, max_iter=500).fit(X)
    order = np.argsort(gm.means_[:, 0])
    np.testing.assert_allclose(gm.means_[order], truth.means_, atol=0.15)
    np.testing.assert_allclose(gm.covariances_[order], truth.covariances_, atol=0.25)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.array([[1.0, np.nan], [2.0, np.nan], [3.0, np.nan]]), "column 1 has no value"),
        (np.array([[1.0, np.inf], [2.0, 1.0], [3.0, 1.0]]), "column 1 is infinite in row 0"),
    ],
)
def test_what_cannot_be_fitted_is_refused(X, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(2).fit(X)


def test_collapsed_covariance_says_what_to_do():
    X = np.vstack([np.ones((5, 2)), np.zeros((5, 2))])
    with pytest.raises(ValueError, match="reg_covar"):
        GaussianMixture(2, reg_covar=0.0, random_state=0).fit(X)


@pytest.mark.parametrize("noise", [1e-2, 1e-4])
def test_exact_for_features_that_nearly_determine_each_other(noise):
    """Start and stop of an observation, say: where one is missing the other tells it."""
    rng = np.random.default_rng(8)
    z = rng.normal(0, 100.0, 300)
    X = np.column_stack([z, z + noise * rng.normal(size=300), rng.normal(size=300)])
    covariance = np.cov(X.T)[np.newaxis]
    X[rng.random(X.shape) < 0.3] = np.nan
    parameters = Parameters(np.ones(1), np.zeros((1, 3)), covariance, "full")
    joint, _, first, second = brute_force(X, parameters)
    if noise == 1e-2:  # beyond, the matrix in double precision does not hold the digits to compare
        np.testing.assert_allclose(log_joint(X, parameters), joint, rtol=1e-6, atol=1e-6)
        moments = expect(X, parameters)
        np.testing.assert_allclose(moments.first, first, rtol=1e-6, atol=1e-4)
        np.testing.assert_allclose(moments.second, second, rtol=1e-6, atol=1e-3)
    gm = GaussianMixture(2, random_state=0, tol=1e-5, max_iter=2000, reg_covar=0.0, init_params="kmeans").fit(
        X
    )
    assert (np.diff(gm.lower_bounds_) > -1e-8).all()


def test_masked_arrays_are_missing_values():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3))
    mask = rng.random(X.shape) < 0.2
    masked = np.ma.array(np.where(mask, -9999.0, X), mask=mask)
    one = GaussianMixture(2, random_state=0, max_iter=500).fit(masked)
    two = GaussianMixture(2, random_state=0, max_iter=500).fit(np.where(mask, np.nan, X))
    np.testing.assert_array_equal(one.means_, two.means_)
    np.testing.assert_array_equal(one.predict_proba(masked), two.predict_proba(np.where(mask, np.nan, X)))
