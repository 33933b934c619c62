"""New rows on a map that stays as it is."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np

from astro_cluster.embedding.tsne.affinities import conditional
from astro_cluster.embedding.tsne.kernels import kernels
from astro_cluster.embedding.tsne.neighbours import nearest_among
from astro_cluster.threads import run_all

__all__ = ["PERPLEXITY", "place", "weighted_median"]

PERPLEXITY = 5.0  # of new rows: few neighbours, so that a row comes to lie where the nearest ones are

_STEPS = 250
_EXAGGERATION = 1.5
_RATE = 0.1
_MOMENTUM = 0.8
_LONGEST = 0.25  # gradient of a point, beyond which it is shortened: no point shoots off


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted median of each row, coordinate by coordinate.

    Parameters
    ----------
    values : (m, k, p) array
        Coordinates.
    weights : (m, k) array
        Weights; not negative.

    Returns
    -------
    (m, p) array
        The least value at which half the weight is reached.

    Examples
    --------
    >>> import numpy as np
    >>> weighted_median(np.array([[[1.0], [2.0], [9.0]]]), np.array([[0.2, 0.5, 0.3]]))
    array([[2.]])
    """
    order = values.argsort(axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    spread = np.broadcast_to(weights[:, :, np.newaxis], values.shape)
    reached = np.take_along_axis(spread, order, axis=1).cumsum(axis=1)
    half = (reached >= 0.5 * reached[:, -1:, :] * (1 - 1e-12)).argmax(axis=1)
    return np.take_along_axis(ordered, half[:, np.newaxis, :], axis=1)[:, 0, :]


def place(
    new: np.ndarray, rows: np.ndarray, embedding: np.ndarray, *, perplexity: float, n_threads: int
) -> np.ndarray:
    """Return where new rows come to lie on the map of others, which does not change.

    Parameters
    ----------
    new : (m, d) array
        New rows.
    rows : (n, d) array
        The rows of the map.
    embedding : (n, p) array
        The map.
    perplexity : float
        That of the map; at most 5 is used.
    n_threads : int
        Number of threads; the result does not depend on it.

    Returns
    -------
    (m, p) array
        Each new row's place, whatever other new rows there are.

    Notes
    -----
    Poličar, Stražar & Zupan (2023, Machine Learning 112, 721): a new row starts at the median of its
    neighbours and descends its own divergence, with the other new rows left out.  250 steps, learning
    rate 0.1, momentum 0.8, exaggeration 1.5 and gradients of at most 0.25, as in openTSNE; the
    median is weighted with the probabilities here.
    """
    n, p = embedding.shape
    aim = min(PERPLEXITY, perplexity, n)
    k = min(n, int(3 * aim + 1))
    near = nearest_among(new, rows, k, n_threads=n_threads)
    pulls = conditional(near.squared, aim)
    places = np.ascontiguousarray(weighted_median(embedding[near.indices], pulls))
    # Single precision resolves a map best around its own middle.
    centre = embedding.mean(axis=0)
    places -= centre
    fixed = np.zeros((3, n), np.float32)
    fixed[:p] = (embedding - centre).T
    move = kernels(p)["place"]
    edges = np.linspace(0, len(new), min(len(new), 64) + 1).astype(int).tolist()
    tasks = [
        partial(
            move, fixed, near.indices, pulls, a, b, _STEPS, _EXAGGERATION, _RATE, _MOMENTUM, _LONGEST, places
        )
        for a, b in pairwise(edges)
    ]
    run_all(tasks, n_threads)
    return places + centre
