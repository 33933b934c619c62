"""How strongly rows attract each other: probabilities from the distances of their neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from astro_cluster.embedding.tsne.neighbours import Neighbours

__all__ = ["conditional", "joint", "n_neighbours"]

_TOLERANCE = 1e-8  # of the entropy
_STEPS = 100
_ROWS = 20_000  # that are worked on at a time


def n_neighbours(n: int, perplexity: float) -> int:
    """Return how many neighbours of a row count: three times the perplexity, as everywhere.

    Parameters
    ----------
    n : int
        Number of rows.
    perplexity : float
        The perplexity.

    Returns
    -------
    int

    Examples
    --------
    >>> n_neighbours(1816, 50.0)
    151
    """
    return min(n - 1, int(3 * perplexity + 1))


def conditional(squared: np.ndarray, perplexity: float) -> np.ndarray:
    """Return the probabilities of the neighbours of each row.

    p_j|i is proportional to exp(-β_i d_ij²), with the β_i for which the entropy is that of
    ``perplexity`` equally probable neighbours.

    Parameters
    ----------
    squared : (n, k) array
        Squared distances of the neighbours, smallest first.
    perplexity : float
        How many neighbours count; where there are fewer, or as many equal nearest ones, all of these
        count alike.

    Returns
    -------
    (n, k) array
        Each row sums to 1.

    Notes
    -----
    Van der Maaten & Hinton (2008, JMLR 9, 2579), equation 1.  β is found for all rows at once by
    Newton's method in log β, kept within a bracket that halves otherwise: the entropy falls
    with β.

    Examples
    --------
    >>> import numpy as np
    >>> p = conditional(np.array([[1.0, 2.0, 9.0]]), 2.0)
    >>> bool(np.isclose(np.exp(-(p * np.log(p)).sum()), 2.0))
    True
    """
    parts = [_conditional(squared[i : i + _ROWS], perplexity) for i in range(0, len(squared), _ROWS)]
    return np.concatenate(parts)


def _conditional(squared: np.ndarray, perplexity: float) -> np.ndarray:
    distances = squared - squared[:, :1]  # only differences count, and so no exponential underflows
    spread = distances.mean(axis=1, keepdims=True)
    distances /= np.where(spread > 0, spread, 1.0)
    n = len(distances)
    aim = np.log(perplexity)
    log_beta = np.zeros(n)
    low, high = np.full(n, -np.inf), np.full(n, np.inf)
    result = np.empty_like(distances)
    open_rows = np.arange(n)
    for _ in range(_STEPS):
        d = distances[open_rows]
        beta = np.exp(log_beta[open_rows])[:, np.newaxis]
        weights = np.exp(-beta * d)
        total = weights.sum(axis=1, keepdims=True)
        weights /= total
        result[open_rows] = weights
        mean = (weights * d).sum(axis=1)
        square = (weights * d * d).sum(axis=1)
        beta = beta[:, 0]
        excess = np.log(total[:, 0]) + beta * mean - aim
        slope = -(beta**2) * (square - mean**2)  # of the entropy in log β
        going = np.abs(excess) > _TOLERANCE
        open_rows, excess, slope = open_rows[going], excess[going], slope[going]
        if not len(open_rows):
            break
        here = log_beta[open_rows]
        up = excess > 0  # too many neighbours count: β must grow
        low[open_rows] = np.where(up, here, low[open_rows])
        high[open_rows] = np.where(up, high[open_rows], here)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.clip(-excess / slope, -3.0, 3.0)
        step = np.where(np.isfinite(step) & (slope < 0), step, np.where(up, 3.0, -3.0))
        following = here + step
        a, b = low[open_rows], high[open_rows]
        with np.errstate(invalid="ignore"):
            outside = ~((following > a) & (following < b))
            middle = (a + b) / 2
        log_beta[open_rows] = np.where(outside & np.isfinite(middle), middle, following).clip(-50, 50)
    return result


def joint(neighbours: Neighbours, perplexity: float) -> csr_array:
    """Return the symmetric probabilities of all pairs of rows, which sum to 1.

    Parameters
    ----------
    neighbours : Neighbours
        The nearest rows of each row.
    perplexity : float
        How many of them count.

    Returns
    -------
    (n, n) sparse array
        (p_j|i + p_i|j) / 2n, columns in order.

    Examples
    --------
    >>> import numpy as np
    >>> from astro_cluster.embedding.tsne.neighbours import Neighbours
    >>> near = Neighbours(np.array([[1], [0], [1]]), np.ones((3, 1)))
    >>> joint(near, 1.0).toarray().round(3)
    array([[0.   , 0.333, 0.   ],
           [0.333, 0.   , 0.167],
           [0.   , 0.167, 0.   ]])
    """
    from scipy.sparse import csr_array

    n, k = neighbours.indices.shape
    values = conditional(neighbours.squared, perplexity).ravel()
    edges = np.arange(0, n * k + 1, k)
    one_way = csr_array((values, neighbours.indices.ravel(), edges), shape=(n, n))
    both = csr_array(one_way + one_way.T)
    both.sort_indices()
    both.data /= both.data.sum()
    return both
