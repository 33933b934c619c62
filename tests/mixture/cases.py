"""Mixtures, rows drawn from them, and what it means that two fits are the same."""

from __future__ import annotations

import numpy as np

from astro_cluster import GaussianMixture
from astro_cluster.mixture.parameters import Parameters, full_covariances


def random_mixture(rng, k, d, kind, *, apart=3.0, weights=None):
    """Return a mixture whose components overlap somewhat."""
    a = rng.normal(size=(k, d, d))
    full = a @ a.transpose(0, 2, 1) + 0.3 * np.eye(d)
    covariances = {
        "full": full,
        "tied": full[0],
        "diag": np.einsum("kii->ki", full).copy(),
        "spherical": np.einsum("kii->k", full) / d,
    }[kind]
    weights = rng.dirichlet(np.full(k, 3.0)) if weights is None else np.asarray(weights)
    return Parameters(weights, apart * rng.normal(size=(k, d)), covariances, kind)


def members(rng, parameters, n):
    """Return n rows of the mixture, as many of each component as of the others."""
    k, d = parameters.means.shape
    roots = np.linalg.cholesky(full_covariances(parameters))
    own = np.arange(n) % k
    return parameters.means[own] + np.einsum("nij,nj->ni", roots[own], rng.standard_normal((n, d)))


def punched(rng, values, fraction):
    """Return the rows with some values missing, but none without any."""
    holes = rng.random(values.shape) < fraction
    holes[np.arange(len(values)), rng.integers(0, values.shape[1], len(values))] = False
    return np.where(holes, np.nan, values)


def random_errors(rng, n, d, kind, size=0.5):
    """Return no errors, standard errors, or covariance matrices of them."""
    if kind == "none":
        return None
    if kind == "diagonal":
        return size * rng.uniform(0.2, 1.5, (n, d))
    a = size * rng.normal(size=(n, d, d)) / np.sqrt(d)
    return a @ a.transpose(0, 2, 1)


def start_from(parameters):
    """Return the arguments of an estimator that make it start there."""
    covariances = parameters.covariances
    return dict(
        n_components=len(parameters.weights),
        covariance_type=parameters.covariance_type,
        weights_init=parameters.weights,
        means_init=parameters.means,
        precisions_init=1 / covariances if parameters.diagonal else np.linalg.inv(covariances),
    )


def fixed_steps(parameters, steps=10, **options):
    """Return an estimator that makes so many steps, whatever rounding says of convergence."""
    return GaussianMixture(**start_from(parameters), tol=0.0, max_iter=steps, **options)


def as_estimator(parameters):
    return GaussianMixture.from_parameters(
        parameters.weights,
        parameters.means,
        parameters.covariances,
        covariance_type=parameters.covariance_type,
    )


def assert_same_fit(one, other, rtol=1e-8):
    """Compare two fitted estimators: to rtol of the largest number of each kind."""
    for name in ("weights_", "means_", "covariances_", "lower_bounds_"):
        a, b = np.asarray(getattr(one, name)), np.asarray(getattr(other, name))
        assert a.shape == b.shape, name
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max(), err_msg=name)


def assert_identical_fit(one, other):
    """Compare two fitted estimators bit by bit."""
    for name in ("weights_", "means_", "covariances_", "lower_bounds_", "n_iter_", "converged_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
