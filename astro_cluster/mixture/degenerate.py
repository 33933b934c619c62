"""Components that have lost their rows or shrunk to a point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astro_cluster.mixture.parameters import Moments, Parameters, full_covariances
from astro_cluster.mixture.rows import NotPositiveDefiniteError

__all__ = ["DegenerateComponentWarning", "Guard", "has_density", "without"]

_FEWEST_ROWS = 1.0  # a component that has less than one row explains nothing
_RESETS = 3  # a component, on average, before it is taken out


class DegenerateComponentWarning(UserWarning):
    """A component of a mixture was empty or collapsed; it was put anew or removed."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Looks after components that are empty or collapse.

    Such a component is put anew: it takes half of the component with the most rows, both moved
    apart along its longest axis (Ueda et al. 2000, Neural Computation 12, 2109, split so).  What
    fails again and again is removed: its weight becomes 0, its number stays.

    Parameters
    ----------
    variance : (d,) array
        Variances of the columns, which tell a point from a cluster.
    row_weight : float
        Smallest weight of a row.
    reg_covar : float
        What is added to the variances.
    points : bool, optional
        Whether a component may be a point: with measurement errors it may well have no width.
    """

    variance: np.ndarray
    row_weight: float
    reg_covar: float
    points: bool = False

    def look_after(
        self, fitted: Parameters, moments: Moments, before: Parameters, resets: int
    ) -> tuple[Parameters, list[str]]:
        """Return a mixture without degenerate components, and what was done to it.

        Parameters
        ----------
        fitted : Parameters
            After the M step.
        moments : Moments
            What the E step found.
        before : Parameters
            Before the step; a weight of 0 there means removed.
        resets : int
            How often a component of this mixture was put anew already.

        Returns
        -------
        parameters : Parameters
            Mended, or as they were.
        events : list of str
            What was done.

        Raises
        ------
        NotPositiveDefiniteError
            If all have collapsed and nothing keeps their variances from zero.
        """
        removed = before.weights == 0
        if removed.any():
            fitted = without(fitted, removed)
        empty = (moments.mass < _FEWEST_ROWS * self.row_weight) & ~removed
        bad = empty | (self._collapsed(fitted) & ~removed)
        # The last component that is left stays, whatever it looks like.
        if not bad.any() or (~removed).sum() < 2:
            return fitted, []
        if bad.sum() == (~removed).sum() and self.reg_covar == 0:
            raise NotPositiveDefiniteError(
                "all components collapsed to points, where the density is infinite: raise reg_covar, or take "
                "fewer components"
            )
        events = []
        for k in np.flatnonzero(bad):
            rows = moments.mass[k] / self.row_weight
            what = f"component {k} {'was empty' if empty[k] else 'collapsed to a point'} ({rows:.4g} rows)"
            sound = ~bad & (fitted.weights > 0)
            if sound.any() and resets + len(events) < _RESETS * len(bad):
                source = int(np.argmax(np.where(sound, fitted.weights, -1.0)))
                fitted = _split(fitted, source, int(k))
                bad[k] = False
                events.append(f"{what} and was put anew as half of component {source}")
            elif sound.any():
                fitted = without(fitted, np.arange(len(bad)) == k)
                events.append(f"{what} and was removed: its weight is 0")
        return fitted, events

    def mend(self, parameters: Parameters, resets: int) -> tuple[Parameters, list[str]]:
        """Return a mixture without components whose covariance cannot be inverted.

        Parameters
        ----------
        parameters : Parameters
            A mixture that has no density.
        resets : int
            How often a component of it was put anew already.

        Returns
        -------
        parameters : Parameters
            Mended, if any component is sound.
        events : list of str
            What was done.
        """
        bad = np.array([not has_density(_alone(parameters, k)) for k in range(len(parameters.weights))])
        sound = ~bad & (parameters.weights > 0)
        if parameters.covariance_type == "tied" or not sound.any():
            return parameters, []
        events = []
        for k in np.flatnonzero(bad):
            what = f"component {k} had a covariance that cannot be inverted"
            if resets + len(events) < _RESETS * len(bad):
                source = int(np.argmax(np.where(sound, parameters.weights, -1.0)))
                parameters = _split(parameters, source, int(k))
                events.append(f"{what} and was put anew as half of component {source}")
            else:
                parameters = without(parameters, np.arange(len(bad)) == k)
                events.append(f"{what} and was removed: its weight is 0")
        return parameters, events

    def _collapsed(self, fitted: Parameters) -> np.ndarray:
        """Tell which components are points: all variances are what regularization put there."""
        k, d = fitted.means.shape
        if self.points or fitted.covariance_type == "tied":  # the tied matrix is of all components
            return np.zeros(k, dtype=bool)
        # A column that hardly varies at all tells nothing.
        telling = self.variance > 1e3 * self.reg_covar
        if not telling.any():
            return np.zeros(k, dtype=bool)
        variances = {
            "full": lambda c: np.einsum("kii->ki", c),
            "diag": lambda c: c,
            "spherical": lambda c: np.repeat(c[:, np.newaxis], d, axis=1),
        }[fitted.covariance_type](fitted.covariances)
        # With regularization switched off a point has no variance but rounding.
        limit = np.maximum(2 * self.reg_covar, 1e-14 * self.variance[telling])
        return (variances[:, telling] <= limit).all(axis=1)


def has_density(parameters: Parameters) -> bool:
    """Tell whether all covariances of a mixture can be inverted.

    Parameters
    ----------
    parameters : Parameters
        k components.

    Returns
    -------
    bool
    """
    if parameters.diagonal:
        return bool((parameters.covariances > 0).all())
    try:
        np.linalg.cholesky(parameters.covariances)
    except np.linalg.LinAlgError:
        return False
    return True


def _alone(parameters: Parameters, k: int) -> Parameters:
    """Return one component as a mixture."""
    tied = parameters.covariance_type == "tied"
    covariances = parameters.covariances if tied else parameters.covariances[k : k + 1]
    return Parameters(np.ones(1), parameters.means[k : k + 1], covariances, parameters.covariance_type)


def without(fitted: Parameters, which: np.ndarray) -> Parameters:
    """Return the mixture with weights of 0, and numbers that do no harm, for some components.

    Parameters
    ----------
    fitted : Parameters
        k components.
    which : (k,) array of bool
        Those to take out.

    Returns
    -------
    `~astro_cluster.mixture.parameters.Parameters`
        Of as many components: their numbers stay.
    """
    weights = np.where(which, 0.0, fitted.weights)
    weights = weights / weights.sum()
    means, covariances = fitted.means.copy(), fitted.covariances
    means[which] = weights @ fitted.means
    if fitted.covariance_type != "tied":
        covariances = covariances.copy()
        covariances[which] = np.tensordot(weights, fitted.covariances, axes=1)
    return Parameters(weights, means, covariances, fitted.covariance_type)


def _split(fitted: Parameters, source: int, target: int) -> Parameters:
    """Return the mixture in which one component is replaced by half of another."""
    values, vectors = np.linalg.eigh(full_covariances(fitted)[source])
    if not np.isfinite(values).all():
        raise NotPositiveDefiniteError(
            f"the covariance of component {source} is not finite: scale the features alike"
        )
    step = np.sqrt(max(values[-1], 0.0)) * vectors[:, -1] * np.sign(vectors[:, -1].sum() or 1.0)
    weights, means, covariances = fitted.weights.copy(), fitted.means.copy(), fitted.covariances
    weights[target] = weights[source] = fitted.weights[source] / 2
    means[target], means[source] = means[source] + step / 2, means[source] - step / 2
    if fitted.covariance_type != "tied":
        covariances = covariances.copy()
        covariances[target] = covariances[source]
    return Parameters(weights / weights.sum(), means, covariances, fitted.covariance_type)
