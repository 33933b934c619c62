"""The parameters of a Gaussian mixture, and the M step that makes them from moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["COVARIANCE_TYPES", "CovarianceType", "Moments", "Parameters", "full_covariances", "maximize"]

CovarianceType = Literal["full", "tied", "diag", "spherical"]
COVARIANCE_TYPES: tuple[CovarianceType, ...] = ("full", "tied", "diag", "spherical")


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters of a mixture of k Gaussians in d dimensions.

    Parameters
    ----------
    weights : (k,) array
        Mixing weights; their sum is 1.
    means : (k, d) array
        Means.
    covariances : array
        (k, d, d) for full, (d, d) for tied, (k, d) for diag, (k,) for spherical.
    covariance_type : {"full", "tied", "diag", "spherical"}
        What shape the covariances have.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    covariance_type: CovarianceType

    @property
    def diagonal(self) -> bool:
        """Whether the dimensions are independent within a component."""
        return self.covariance_type in ("diag", "spherical")


@dataclass(frozen=True, slots=True)
class Moments:
    """What the E step leaves behind: sums over all rows, relative to the old means.

    The sums of disjoint sets of rows add up to the sums of all rows, which is what makes
    streaming and distribution possible.

    Parameters
    ----------
    log_likelihood : float
        Sum of the log density of all rows.
    n_rows : float
        Number of rows.
    mass : (k,) array
        Sum of the responsibilities.
    first : (k, d) array
        Sum of responsibility × expected deviation from ``centre``.
    second : (k, d, d) or (k, d) array
        Sum of responsibility × expected product (or square, if the dimensions are
        independent) of these deviations.
    centre : (k, d) array
        The old means.
    """

    log_likelihood: float
    n_rows: float
    mass: np.ndarray
    first: np.ndarray
    second: np.ndarray
    centre: np.ndarray

    def __add__(self, other: Moments) -> Moments:
        """Return the sums over the rows of both; both must be about the same centre."""
        return Moments(
            self.log_likelihood + other.log_likelihood,
            self.n_rows + other.n_rows,
            self.mass + other.mass,
            self.first + other.first,
            self.second + other.second,
            self.centre,
        )


def full_covariances(parameters: Parameters) -> np.ndarray:
    """Return the covariance matrix of every component.

    Parameters
    ----------
    parameters : Parameters
        Of k components in d dimensions.

    Returns
    -------
    (k, d, d) array

    Examples
    --------
    >>> p = Parameters(np.ones(1), np.zeros((1, 2)), np.array([4.0]), "spherical")
    >>> full_covariances(p)[0]
    array([[4., 0.], [0., 4.]])
    """
    k, d = parameters.means.shape
    match parameters.covariance_type:
        case "full":
            return parameters.covariances
        case "tied":
            return np.broadcast_to(parameters.covariances, (k, d, d))
        case "diag":
            return parameters.covariances[:, :, np.newaxis] * np.eye(d)
        case "spherical":
            return parameters.covariances[:, np.newaxis, np.newaxis] * np.eye(d)


def maximize(moments: Moments, covariance_type: CovarianceType, reg_covar: float) -> Parameters:
    """Return the parameters that fit the moments best: the M step.

    Parameters
    ----------
    moments : Moments
        Result of the E step; of products for full and tied, of squares for the others.
    covariance_type : {"full", "tied", "diag", "spherical"}
        Which covariances to make.
    reg_covar : float
        Added to the variances, so that they stay positive.

    Returns
    -------
    `~astro_cluster.mixture.parameters.Parameters`

    Notes
    -----
    The moments are about the old means, so that nothing cancels when the means lie far
    from zero.  A component without mass keeps its mean.

    Examples
    --------
    >>> m = Moments(0.0, 2, np.array([2.0]), np.array([[2.0]]), np.array([[[4.0]]]), np.zeros((1, 1)))
    >>> maximize(m, "full", 0.0).covariances
    array([[[1.]]])
    """
    mass = moments.mass + 10 * np.finfo(float).eps
    shift = moments.first / mass[:, np.newaxis]
    weights = mass / moments.n_rows
    weights = weights / weights.sum()
    means = moments.centre + shift
    d = means.shape[1]
    if covariance_type in ("full", "tied"):
        covariances = moments.second / mass[:, np.newaxis, np.newaxis]
        covariances = covariances - shift[:, :, np.newaxis] * shift[:, np.newaxis, :]
        if covariance_type == "tied":
            covariances = np.einsum("k,kij->ij", mass / mass.sum(), covariances)
        covariances = (covariances + np.swapaxes(covariances, -1, -2)) / 2
        covariances[..., np.arange(d), np.arange(d)] += reg_covar
        return Parameters(weights, means, covariances, covariance_type)
    variances = moments.second / mass[:, np.newaxis] - shift**2 + reg_covar
    if covariance_type == "spherical":
        variances = variances.mean(axis=1)
    return Parameters(weights, means, variances, covariance_type)
