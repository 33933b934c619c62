"""The E step by a plain loop over rows and components: what every engine is held against."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from astro_cluster.mixture.parameters import full_covariances


def _log_normal(deviation, covariance):
    _, log_det = np.linalg.slogdet(2 * np.pi * covariance)
    return -0.5 * (deviation @ np.linalg.solve(covariance, deviation) + log_det)


def _observed(values, noise, i):
    """Return which dimensions of a row are there, and the covariance of their errors."""
    o = np.flatnonzero(~np.isnan(values[i]))
    if noise is None:
        return o, np.zeros((len(o), len(o)))
    return o, np.diag(noise[i][o]) if noise.ndim == 2 else noise[i][np.ix_(o, o)]


def log_joint(values, noise, parameters):
    """Return log(weight × density of what is observed), (n, k)."""
    covariances = full_covariances(parameters)
    with np.errstate(divide="ignore"):
        joint = np.tile(np.log(parameters.weights), (len(values), 1))
    for i in range(len(values)):
        o, errors = _observed(values, noise, i)
        if len(o) == 0:
            continue
        for j, (mean, covariance) in enumerate(zip(parameters.means, covariances, strict=True)):
            joint[i, j] += _log_normal(values[i, o] - mean[o], covariance[np.ix_(o, o)] + errors)
    return joint


def mahalanobis(values, noise, parameters):
    """Return the squared distance in the observed dimensions, (n, k)."""
    covariances = full_covariances(parameters)
    result = np.zeros((len(values), len(parameters.weights)))
    for i in range(len(values)):
        o, errors = _observed(values, noise, i)
        for j, (mean, covariance) in enumerate(zip(parameters.means, covariances, strict=True)):
            deviation = values[i, o] - mean[o]
            total = covariance[np.ix_(o, o)] + errors
            result[i, j] = deviation @ np.linalg.solve(total, deviation)
    return result


def expect(values, noise, weights, parameters):
    """Return log-likelihood, mass, first and second moments about the means.

    The formulas are (3) to (6) of Bovy, Hogg & Roweis (2011, AOAS 5, 1657) with the identity as
    projection, cut to what is observed.
    """
    k, d = parameters.means.shape
    covariances = full_covariances(parameters)
    joint = log_joint(values, noise, parameters)
    weights = np.ones(len(values)) if weights is None else weights
    log_likelihood, mass = 0.0, np.zeros(k)
    first, second = np.zeros((k, d)), np.zeros((k, d, d))
    for i, weight in enumerate(weights):
        log_density = logsumexp(joint[i])
        log_likelihood += weight * log_density
        o, errors = _observed(values, noise, i)
        for j, (mean, covariance) in enumerate(zip(parameters.means, covariances, strict=True)):
            r = weight * np.exp(joint[i, j] - log_density)
            total = covariance[np.ix_(o, o)] + errors
            gain = np.linalg.solve(total, covariance[o, :]).T
            expected = gain @ (values[i, o] - mean[o])
            mass[j] += r
            first[j] += r * expected
            second[j] += r * (np.outer(expected, expected) + covariance - gain @ covariance[o, :])
    if parameters.diagonal:
        second = np.einsum("kii->ki", second)
    return log_likelihood, mass, first, second
