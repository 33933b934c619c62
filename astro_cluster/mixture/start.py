"""Where EM starts from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans, kmeans_plusplus

from astro_cluster.mixture.degenerate import Guard
from astro_cluster.mixture.em import Run, run
from astro_cluster.mixture.engine import Dataset
from astro_cluster.mixture.parameters import CovarianceType, Moments, Parameters, maximize
from astro_cluster.mixture.rows import Engine, Rows

__all__ = ["SAMPLE_ROWS", "STARTS", "short_runs", "start"]

STARTS = ("short-runs", "kmeans", "k-means++", "random")
SAMPLE_ROWS = 10_000  # of more rows a sample of so many is enough to find where to start
_SEED_ROWS = 2_000
_SHORT_RUNS = 40  # at least; several for each long one
_SHORT_PER_LONG = 4
_SHORT_STEPS = 10
# Where steps are dear (rows × numbers in a covariance), the worst drop out on the way.
_RACE_FROM = 3_000_000
_RACE_STEPS = 3


def _filled(X: np.ndarray) -> np.ndarray:
    """Return the rows with each hole filled by its column's mean, for the start alone."""
    holes = np.isnan(X)
    if not holes.any():
        return X
    seen = ~holes
    sums = np.where(seen, X, 0.0).sum(axis=0)
    return np.where(holes, sums / np.maximum(seen.sum(axis=0), 1), X)


def _responsibilities(
    X: np.ndarray, k: int, how: str, random_state: np.random.RandomState, weights: np.ndarray | None
) -> np.ndarray:
    if how == "random":
        r = random_state.uniform(size=(len(X), k))
        return r / r.sum(axis=1, keepdims=True)
    if how == "kmeans":
        labels = KMeans(k, n_init=1, random_state=random_state).fit(X, sample_weight=weights).labels_
    else:
        # Scaled, so that no column counts for more because of its unit.
        spread = X.std(axis=0)
        white = (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        centres, _ = kmeans_plusplus(white, k, random_state=random_state, sample_weight=weights)
        labels = (
            KMeans(k, init=centres, n_init=1, max_iter=1).fit_predict(white, sample_weight=weights)
            if k > 1
            else np.zeros(len(X), int)
        )
    r = np.zeros((len(X), k))
    r[np.arange(len(X)), labels] = 1.0
    return r


def start(
    rows: Rows,
    k: int,
    how: str,
    covariance_type: CovarianceType,
    reg_covar: float,
    random_state: np.random.RandomState,
) -> Parameters:
    """Return parameters for EM to start from, as scikit-learn's mixture does.

    Parameters
    ----------
    rows : Rows
        n rows in d dimensions, in memory; their errors are not looked at.
    k : int
        Number of components.
    how : {"kmeans", "k-means++", "random"}
        Hard labels of k-means, of a k-means++ seeding of the scaled rows, or random
        responsibilities.
    covariance_type : {"full", "tied", "diag", "spherical"}
        Shape of the covariances.
    reg_covar : float
        Added to the variances.
    random_state : `~numpy.random.RandomState`
        Source of randomness.

    Returns
    -------
    `~astro_cluster.mixture.parameters.Parameters`

    Examples
    --------
    >>> X = np.array([[0.0], [0.1], [9.0], [9.1]])
    >>> np.sort(start(Rows(X), 2, "kmeans", "full", 1e-6, np.random.RandomState(0)).means, axis=0)
    array([[0.05], [9.05]])
    """
    filled = _filled(rows.values)
    r = _responsibilities(filled, k, how, random_state, rows.weights)
    if rows.weights is not None:
        r = r * rows.weights[:, np.newaxis]
    mass = r.sum(axis=0)
    centre = (r.T @ filled) / (mass[:, np.newaxis] + 10 * np.finfo(float).eps)
    first = np.empty_like(centre)
    diagonal = covariance_type in ("diag", "spherical")
    second = np.empty((k, filled.shape[1]) if diagonal else (k, filled.shape[1], filled.shape[1]))
    for j in range(k):
        deviation = filled - centre[j]
        first[j] = r[:, j] @ deviation
        if diagonal:
            second[j] = r[:, j] @ deviation**2
        else:
            second[j] = (deviation * r[:, j, np.newaxis]).T @ deviation
    moments = Moments(0.0, rows.total_weight, mass, first, second, centre)
    return maximize(moments, covariance_type, reg_covar)


# ---------------------------------------------------------------- short runs


class _White:
    """Rows on a common scale, with distances over what two rows both have.

    Parameters
    ----------
    rows : Rows
        n rows.
    decorrelate : bool
        Whether to turn and scale by the principal axes, rather than scale column by column.
    """

    def __init__(self, rows: Rows, *, decorrelate: bool) -> None:
        values = rows.values
        weights = np.ones(len(rows)) if rows.weights is None else rows.weights
        seen = ~np.isnan(values)
        counted = seen * weights[:, np.newaxis]
        counts = np.maximum(counted.sum(axis=0), np.finfo(float).tiny)
        mean = (counted * np.where(seen, values, 0.0)).sum(axis=0) / counts
        deviation = np.where(seen, values - mean, 0.0)
        spread = np.sqrt((counted * deviation**2).sum(axis=0) / counts)
        self.values = deviation / np.where(spread > 0, spread, 1.0)
        self.seen = seen.astype(float)
        if decorrelate:
            # Pairs of columns over the rows that have both; holes then stand at the mean.
            together = np.maximum(self.seen.T @ counted, np.finfo(float).tiny)
            axes, vectors = np.linalg.eigh((self.values * weights[:, np.newaxis]).T @ self.values / together)
            strong = axes > 1e-3 * axes[-1]  # weaker ones are noise that whitening would raise
            self.values = self.values @ vectors[:, strong] / np.sqrt(axes[strong])
            self.seen = np.ones_like(self.values)
        self.complete = bool(self.seen.all())
        self.known = seen.any(axis=1)

    def squared_distances(self, row: int) -> np.ndarray:
        """Return distances to one row, scaled up for what is missing as in nan_euclidean_distances."""
        difference = self.values - self.values[row]
        if self.complete:
            return np.einsum("ij,ij->i", difference, difference)
        both = self.seen * self.seen[row]
        squares = np.einsum("ij,ij,ij->i", difference, difference, both)
        return squares * self.values.shape[1] / np.maximum(both.sum(axis=1), 1.0)


def _nearest_seeds(white: _White, k: int, weights: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """Draw rows far apart by k-means++ (Arthur & Vassilvitskii 2007, SODA, 1027).

    Returns for each row the number of the seed that is nearest.
    """
    chance = weights * white.known
    if not chance.any():
        chance = np.ones(len(weights))
    nearest = white.squared_distances(int(rng.choice(len(chance), p=chance / chance.sum())))
    label = np.zeros(len(weights), dtype=np.int64)
    for number in range(1, k):
        p = chance * nearest
        if not p.sum() > 0:  # alike to rounding, beside a value far out: any row will do
            p = chance
        distance = white.squared_distances(int(rng.choice(len(p), p=p / p.sum())))
        closer = distance < nearest
        label[closer], nearest[closer] = number, distance[closer]
    return label


def _from_labels(rows: Rows, label: np.ndarray, k: int, kind: CovarianceType, reg_covar: float) -> Parameters:
    """Return the mixture of labelled rows, its features independent.

    Where a group has few values, the spread within all groups stands in.
    """
    d = rows.n_features
    weights = np.ones(len(rows)) if rows.weights is None else rows.weights
    seen = ~np.isnan(rows.values)
    member = np.zeros((len(rows), k))
    member[np.arange(len(rows)), label] = weights
    total = np.maximum((weights[:, np.newaxis] * seen).sum(axis=0), np.finfo(float).tiny)
    centre = (weights[:, np.newaxis] * np.where(seen, rows.values, 0.0)).sum(axis=0) / total
    deviation = np.where(seen, rows.values - centre, 0.0)
    count = member.T @ seen
    mean = (member.T @ deviation) / np.where(count > 0, count, 1.0)
    squares = np.maximum(member.T @ deviation**2 - count * mean**2, 0.0)
    pooled = squares.sum(axis=0) / total
    prior = weights.sum() / (10 * k)
    variance = (squares + prior * pooled) / (count + prior) + reg_covar
    variance = np.maximum(variance, 1e-12 * ((weights[:, np.newaxis] * deviation**2).sum(axis=0) / total))
    share = member.sum(axis=0) + prior
    covariances = {
        "full": lambda: variance[:, :, np.newaxis] * np.eye(d),
        "tied": lambda: np.diag(pooled + reg_covar),
        "diag": lambda: variance,
        "spherical": lambda: variance.mean(axis=1),
    }[kind]()
    return Parameters(share / share.sum(), mean + centre, covariances, kind)


def short_runs(
    sample: Rows,
    engine: Engine,
    n_components: Sequence[int],
    n_init: int,
    *,
    covariance_type: CovarianceType,
    reg_covar: float,
    guard: Guard,
    random_state: np.random.RandomState,
    n_short: int | None = None,
) -> list[list[Parameters]]:
    """Return for each number of components the best of many short runs of EM.

    Parameters
    ----------
    sample : Rows
        All rows, or some of them drawn by chance.
    engine : Engine
        What computes.
    n_components : sequence of int
        Numbers of components.
    n_init : int
        How many starts to return for each.
    covariance_type : {"full", "tied", "diag", "spherical"}
        Shape of the covariances.
    reg_covar : float
        Added to the variances.
    guard : Guard
        What looks after components that collapse.
    random_state : `~numpy.random.RandomState`
        Source of randomness; every number of components uses it from where it stands, as if it
        were alone.
    n_short : int, optional
        How many short runs for each; by default 40, or four for each start if these are more.

    Returns
    -------
    list of list of Parameters
        The best first.

    Notes
    -----
    Short runs from many random starts, the best carried on, find higher likelihoods for the
    same time than long runs from few (Biernacki, Celeux & Govaert 2003, Comput. Stat. Data
    Anal. 41, 561).  All of them, for all numbers of components, share each pass over the rows.
    """
    # In one order whatever the rows' own, so that with it a seed finds the same start.
    sample = sample.take(np.lexsort(sample.values.T[::-1]))
    n_short = max(n_short or max(_SHORT_RUNS, _SHORT_PER_LONG * n_init), n_init)
    seeding = sample
    if len(sample) > _SEED_ROWS:
        seeding = sample.take(np.sort(random_state.choice(len(sample), _SEED_ROWS, replace=False)))
    # Two ways to measure distance: neither is the better one for all data.
    whites = [_White(seeding, decorrelate=decorrelate) for decorrelate in (False, True)]
    weights = np.ones(len(seeding)) if seeding.weights is None else seeding.weights
    runs: list[list[Run]] = []
    state = random_state.get_state()
    for k in n_components:
        runs.append([])
        random_state.set_state(state)
        for number in range(n_short if k > 1 else 1):
            white = whites[number % 2]
            label = _nearest_seeds(white, k, weights, random_state)
            runs[-1].append(Run(_from_labels(seeding, label, k, covariance_type, reg_covar), number))
    data = Dataset(sample, engine)
    options = {"tol": 1e-6, "reg_covar": reg_covar, "guard": guard}
    steps = _SHORT_STEPS
    width = sample.n_features ** (2 if covariance_type in ("full", "tied") else 1)
    if len(sample) * width > _RACE_FROM:
        run(data, [one for group in runs for one in group], max_iter=_RACE_STEPS, **options)
        left = max(n_init + 3, n_short // 4)
        runs = [sorted(group, key=_rank)[:left] for group in runs]
        steps -= _RACE_STEPS
    run(data, [one for group in runs for one in group], max_iter=steps, **options)
    return [[one.parameters for one in sorted(group, key=_rank)[:n_init]] for group in runs]


def _rank(one: Run) -> tuple[float, int]:
    """Order runs by likelihood; of those that found the same one, to rounding, the first comes first."""
    return -round(one.bound, 9), one.number
