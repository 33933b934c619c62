"""The criteria by which numbers of clusters are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import entr
from sklearn.base import BaseEstimator
from sklearn.metrics import euclidean_distances, nan_euclidean_distances

from astro_cluster.exceptions import InputError
from astro_cluster.refitting import Fit, Sample, fit_each
from astro_cluster.resampling import DISTRUSTED, VALID, jaccard_maxima, resamples

__all__ = ["Work", "all_criteria", "held_back", "silhouettes"]


@dataclass(frozen=True, slots=True)
class Work:
    """What is compared: a method, the numbers of clusters, the rows, and the seed of it all."""

    template: BaseEstimator
    numbers: list[int]
    sample: Sample
    seed: int

    def rng(self, stream: int) -> np.random.Generator:
        """Return a source of randomness of one's own; the bootstrap has that of the bare seed."""
        return np.random.default_rng(np.random.SeedSequence([self.seed, stream]))


def all_criteria(
    work: Work, *, held_out: float | None, bootstrap: int, silhouette_sample: int
) -> dict[str, np.ndarray]:
    """Fit every number of clusters and judge the fits.

    Parameters
    ----------
    work : Work
        k numbers of clusters, the largest of them m.
    held_out, bootstrap, silhouette_sample : number
        As in `choose`.

    Returns
    -------
    dict of str to (k,) array of float64
        By column; ``jaccard`` is (k, m).  NaN is what the method does not know.

    Raises
    ------
    InputError
        If a fit fails.
    """
    fits = fit_each(work.template, work.numbers, work.sample)
    sizes = [np.bincount(fit.labels, minlength=k) for k, fit in zip(work.numbers, fits, strict=True)]
    return {
        **_likelihoods(work.sample, fits),
        "silhouette": _silhouettes(work, fits, silhouette_sample),
        **_held_out(work, held_out),
        **_stabilities(work, fits, bootstrap),
        "smallest_cluster": np.array([size.min() for size in sizes], dtype=float),
        "converged": np.array([_converged(fit.estimator) for fit in fits]),
    }


def _likelihoods(sample: Sample, fits: list[Fit]) -> dict[str, np.ndarray]:
    """Return the criteria that are made of the likelihood; NaN for a method without one."""
    names = ("log_likelihood", "mean_log_likelihood", "n_parameters", "bic", "icl", "aic")
    rows = [_likelihood(sample, fit.estimator) for fit in fits]
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def _likelihood(sample: Sample, estimator: BaseEstimator) -> dict[str, float]:
    if not hasattr(estimator, "score_samples"):
        return {}
    densities = estimator.score_samples(sample.values, **sample.noise)
    total, rows = float(densities.sum()), len(sample)
    found = {"log_likelihood": total, "mean_log_likelihood": total / rows}
    if not hasattr(estimator, "_n_parameters"):  # a Bayesian mixture has no such number
        return found
    free = estimator._n_parameters()
    bic = -2 * total + free * np.log(rows)
    entropy = float(entr(estimator.predict_proba(sample.values, **sample.noise)).sum())
    return found | {"n_parameters": free, "bic": bic, "icl": bic + 2 * entropy, "aic": -2 * total + 2 * free}


def _converged(estimator: BaseEstimator) -> float:
    """Return 1 or 0, or NaN of a method that does not iterate."""
    if hasattr(estimator, "converged_"):
        return float(estimator.converged_)
    most = estimator.get_params().get("max_iter")
    if most is not None and hasattr(estimator, "n_iter_"):
        return float(estimator.n_iter_ < most)
    return np.nan


def _silhouettes(work: Work, fits: list[Fit], most: int) -> np.ndarray:
    """Return the silhouette of each clustering on the same rows."""
    if most < 2:
        return np.full(len(fits), np.nan)
    index = np.sort(work.rng(1).permutation(len(work.sample))[:most])
    return silhouettes(work.sample.values[index], [fit.labels[index] for fit in fits])


def silhouettes(X: np.ndarray, labelings: list[np.ndarray]) -> np.ndarray:
    """Return the mean silhouette of several clusterings of the same rows.

    Parameters
    ----------
    X : (n, d) array
        Rows; NaN where missing.
    labelings : list of (n,) array of int
        Clusters of the rows; negative is noise and not looked at.

    Returns
    -------
    (len(labelings),) array
        NaN where there are not two clusters.

    Notes
    -----
    The distance of two rows is that in the features that both have, scaled up to all of them
    (Dixon 1979); pairs without a common feature are left out of the means.  On complete rows
    it is `sklearn.metrics.silhouette_score`.

    Examples
    --------
    >>> silhouettes(np.array([[0.0], [1.0], [9.0], [10.0]]), [np.array([0, 0, 1, 1])]).round(3)
    array([0.889])
    """
    holes = np.isnan(X).any()
    distance = nan_euclidean_distances(X) if holes else euclidean_distances(X)
    np.fill_diagonal(distance, 0.0)
    known = ~np.isnan(distance) if holes else np.ones_like(distance, dtype=bool)
    np.fill_diagonal(known, False)
    distance, known = np.where(known, distance, 0.0), known.astype(float)
    return np.array([_silhouette(distance, known, labels) for labels in labelings])


def _silhouette(distance: np.ndarray, known: np.ndarray, labels: np.ndarray) -> float:
    clusters = np.unique(labels[labels >= 0])
    if len(clusters) < 2:
        return np.nan
    member = labels[:, np.newaxis] == clusters
    times = known @ member
    with np.errstate(invalid="ignore"):
        means = (distance @ member) / times
    alone = member @ (member.sum(axis=0) == 1)
    own = np.where(alone, 0.0, np.where(member, means, 0.0).sum(axis=1))
    nearest = np.where(member | np.isnan(means), np.inf, means).min(axis=1)
    use = member.any(axis=1) & np.isfinite(own) & np.isfinite(nearest)
    own, nearest, alone = own[use], nearest[use], alone[use]
    largest = np.maximum(own, nearest)
    values = (nearest - own) / np.where(largest > 0, largest, 1.0)
    # By Rousseeuw's convention a row that is alone in its cluster counts 0.
    return float(np.where(alone, 0.0, values).mean()) if use.any() else np.nan


def held_back(rows: int, share: float) -> int:
    """Return how many rows are kept back from a fit.

    Parameters
    ----------
    rows : int
        How many there are, at least 2.
    share : float
        Which part of them.

    Returns
    -------
    int
        At least one, and not all.

    Examples
    --------
    >>> held_back(10, 0.2)
    2
    """
    return min(max(round(share * rows), 1), rows - 1)


def _split(work: Work, share: float) -> tuple[Sample, Sample]:
    """Return the rows to fit and the rows that judge."""
    rng, rows, seen = work.rng(2), len(work.sample), work.sample.observed
    for _ in range(100):
        order = rng.permutation(rows)
        back = held_back(rows, share)
        if seen[order[back:]].any(axis=0).all():  # a feature without any value could not be fitted
            return work.sample.take(order[back:]), work.sample.take(order[:back])
    raise InputError(
        f"with held_out={share} a feature has no value in the rows that are left to fit; leave out the "
        "feature that is missing most, hold out less, or give held_out=None"
    )


def _held_out(work: Work, share: float | None) -> dict[str, np.ndarray]:
    """Return the mean log-likelihood of rows that the fit did not see, and how sure its order is."""
    nothing = np.full(len(work.numbers), np.nan)
    if share is None or not hasattr(work.template, "score_samples"):
        return {"held_out_log_likelihood": nothing, "held_out_error": nothing}
    train, test = _split(work, share)
    seed = int(work.rng(3).integers(2**31))
    fits = fit_each(work.template, work.numbers, train, seed=seed)
    scores = np.array([fit.estimator.score_samples(test.values, **test.noise) for fit in fits])
    means = scores.mean(axis=1)
    if len(test) < 2:
        return {"held_out_log_likelihood": means, "held_out_error": nothing}
    # Of the rows' differences: what makes a row likely or not under every n does not count.
    differences = scores[means.argmax()] - scores
    errors = differences.std(axis=1, ddof=1) / np.sqrt(len(test))
    return {"held_out_log_likelihood": means, "held_out_error": errors}


def _stabilities(work: Work, fits: list[Fit], number: int) -> dict[str, np.ndarray]:
    """Return the mean similarity of each cluster to its likest over bootstrap samples."""
    largest = work.numbers[-1]
    sums, times = np.zeros((2, len(fits), largest))
    seeds = np.random.SeedSequence(work.seed)
    for drawn in resamples(work.sample, number, seeds, distinct=largest):
        part = work.sample.take(drawn.rows)
        again = fit_each(work.template, work.numbers, part, counts=drawn.counts, seed=drawn.seed, quick=True)
        for i, (k, fit, found) in enumerate(zip(work.numbers, fits, again, strict=True)):
            similar = jaccard_maxima(np.arange(k), fit.labels[drawn.rows], found.labels)
            sums[i, :k] += np.nan_to_num(similar)
            times[i, :k] += ~np.isnan(similar)
    known = times > 0
    means = np.where(known, sums / np.maximum(times, 1), np.nan)
    # NaN without any bootstrap sample, since then nothing is known.
    seen = np.where(known.any(axis=1), known.sum(axis=1), np.nan)
    return {
        "jaccard": means,
        "jaccard_min": np.where(seen > 0, np.where(known, means, np.inf).min(axis=1), np.nan),
        "jaccard_mean": np.where(known, means, 0.0).sum(axis=1) / seen,
        "n_valid": np.where(seen > 0, (known & (means >= VALID)).sum(axis=1), np.nan),
        "n_distrusted": np.where(seen > 0, (known & (means < DISTRUSTED)).sum(axis=1), np.nan),
    }
