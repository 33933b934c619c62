"""How probable it is that a member of a mixture is as improbable as a row."""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2

from astro_cluster.mixture.engine import one_blas_thread
from astro_cluster.mixture.parameters import Parameters, full_covariances
from astro_cluster.mixture.rows import Engine, Rows

__all__ = ["MOST_DRAWS", "can_simulate", "tail_probability"]

MOST_DRAWS = 100_000
_FEWEST_DRAWS = 1_000
_MOST_EVALUATIONS = 4_000_000  # log densities of a draw under one kind of row: seconds
_CHUNK_ROWS = 200_000


def _kinds(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return a row of each kind, and the kind of each row: what is missing, and its errors."""
    holes = np.isnan(rows.values)
    parts = [np.packbits(holes, axis=1)]
    if rows.noise is not None:
        noise = rows.noise if rows.noise.ndim == 2 else rows.noise.reshape(len(rows), -1)
        unknown = (
            holes if rows.noise.ndim == 2 else (holes[:, :, None] | holes[:, None, :]).reshape(noise.shape)
        )
        clean = np.where(unknown.reshape(noise.shape), 0.0, noise) + 0.0  # -0.0 is 0.0
        parts.append(np.ascontiguousarray(clean).view(np.uint8).reshape(len(rows), -1))
    keys = np.ascontiguousarray(np.concatenate(parts, axis=1))
    _, first, kind = np.unique(
        keys.view(np.dtype((np.void, keys.shape[1]))).ravel(), return_index=True, return_inverse=True
    )
    return first, kind.reshape(-1)


def can_simulate(n_kinds: int) -> bool:
    """Tell whether rows of so many kinds can be simulated in reasonable time.

    Parameters
    ----------
    n_kinds : int
        Number of distinct sets of missing features and errors.

    Returns
    -------
    bool
    """
    return n_kinds * _FEWEST_DRAWS <= _MOST_EVALUATIONS


def tail_probability(
    rows: Rows,
    engine: Engine,
    parameters: Parameters,
    log_density: np.ndarray,
    probabilities: np.ndarray,
    *,
    seed: int = 0,
) -> tuple[np.ndarray, int]:
    """Return the probability that a draw has a lower log density than each row.

    A draw is made of the mixture, loses what the row lacks and gets errors like the row's, so
    that like is compared with like.

    Parameters
    ----------
    rows : Rows
        n rows.
    engine : Engine
        What computes.
    parameters : Parameters
        The mixture.
    log_density : (n,) array
        Of the rows.
    probabilities : (n, k) array
        Of the rows.
    seed : int, optional
        Of the simulation; always the same, so that a stored model says of a row what it said
        when it was fitted.

    Returns
    -------
    tail : (n,) array
        1 for a row with nothing observed.
    draws : int
        How many draws each is based on; the least possible value is 1 / (draws + 1).  0 if
        there are too many kinds of rows to simulate: then it is the chi-square tail of the
        squared Mahalanobis distance, averaged over the components by the row's probabilities,
        which judges a row within the component that it belongs to: where components differ much in
        density, that is another question.
    """
    observed = (~np.isnan(rows.values)).sum(axis=1)
    if not len(rows):
        return np.empty(0), 0
    first, kind = _kinds(rows)
    if not can_simulate(len(first)):
        return _chi_square_tail(rows, engine, parameters, probabilities, observed), 0
    n_draws = min(max(_MOST_EVALUATIONS // len(first), _FEWEST_DRAWS), MOST_DRAWS)
    rng = np.random.default_rng(seed)
    draws = _draw(parameters, n_draws, rng)
    standard = rng.standard_normal(draws.shape) if rows.noise is not None else None
    tail = np.empty(len(rows))
    order = np.argsort(kind, kind="stable")
    edges = np.searchsorted(kind[order], np.arange(len(first) + 1))
    together = max(_CHUNK_ROWS // n_draws, 1)
    for begin in range(0, len(first), together):
        members = first[begin : begin + together]
        simulated = _like(rows, members, draws, standard)
        with one_blas_thread():
            joint = engine.log_joint(engine.prepare(simulated), parameters)
        top = joint.max(axis=1)
        found = top + np.log(np.exp(joint - top[:, np.newaxis]).sum(axis=1))
        for j, sorted_ in enumerate(np.sort(found.reshape(len(members), n_draws), axis=1)):
            own = order[edges[begin + j] : edges[begin + j + 1]]
            # A row that is as improbable as a draw to rounding counts it.
            limit = log_density[own] + 1e-9 * np.maximum(1.0, np.abs(log_density[own]))
            tail[own] = (1 + np.searchsorted(sorted_, limit, side="right")) / (n_draws + 1)
    return np.where(observed > 0, np.minimum(tail, 1.0), 1.0), n_draws


def _draw(parameters: Parameters, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw complete rows of the mixture."""
    weights = parameters.weights / parameters.weights.sum()  # which single precision may have rounded
    component = np.sort(rng.choice(len(weights), n, p=weights))
    rows = rng.standard_normal((n, parameters.means.shape[1]))
    for k, covariance in enumerate(full_covariances(parameters)):
        own = component == k
        if own.any():
            rows[own] = parameters.means[k] + rows[own] @ np.linalg.cholesky(covariance).T
    return rows


def _like(rows: Rows, members: np.ndarray, draws: np.ndarray, standard: np.ndarray | None) -> Rows:
    """Return the draws once for each of some rows: with its holes and errors."""
    n = len(draws)
    values = np.tile(draws, (len(members), 1))
    holes = np.repeat(np.isnan(rows.values[members]), n, axis=0)
    noise = None
    if rows.noise is not None and standard is not None:
        own = rows.noise[members]
        for j, one in enumerate(own):
            values[j * n : (j + 1) * n] += standard @ _root(one, np.isnan(rows.values[members[j]])).T
        noise = np.repeat(own, n, axis=0)
    values[holes] = np.nan
    return Rows(values, noise)


def _root(noise: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """Return a square root of the covariance of a row's errors, 0 where nothing is observed."""
    if noise.ndim == 1:
        return np.diag(np.where(holes, 0.0, np.sqrt(np.where(holes, 0.0, noise))))
    clean = np.where(holes[:, np.newaxis] | holes, 0.0, noise)
    values, vectors = np.linalg.eigh(clean)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def _chi_square_tail(
    rows: Rows, engine: Engine, parameters: Parameters, probabilities: np.ndarray, observed: np.ndarray
) -> np.ndarray:
    distances = np.empty((len(rows), len(parameters.weights)))
    seen = ~np.isnan(rows.values)
    for k in range(len(parameters.weights)):
        one = slice(0, 1) if parameters.covariance_type == "tied" else slice(k, k + 1)
        covariances = (
            parameters.covariances if parameters.covariance_type == "tied" else parameters.covariances[one]
        )
        alone = Parameters(np.ones(1), parameters.means[k : k + 1], covariances, parameters.covariance_type)
        # The distance is what the log density of the row falls short of that of the centre.
        centre = Rows(np.where(seen, parameters.means[k], np.nan), rows.noise)
        with one_blas_thread():
            at_centre = engine.log_joint(engine.prepare(centre), alone)[:, 0]
            distances[:, k] = 2 * (at_centre - engine.log_joint(engine.prepare(rows), alone)[:, 0])
    tail = chi2.sf(np.maximum(distances, 0.0), np.maximum(observed, 1)[:, np.newaxis])
    return np.where(observed > 0, np.minimum((probabilities * tail).sum(axis=1), 1.0), 1.0)
