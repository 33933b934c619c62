"""The way down: a map whose pairs are as probable as those of the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from astro_cluster.embedding.tsne.groups import Groups
from astro_cluster.embedding.tsne.kernels import kernels, move, total_weight
from astro_cluster.threads import available_threads, run_all

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = [
    "EXPLORATION",
    "REPORT",
    "Descent",
    "OnStep",
    "descend",
    "descend_from",
    "gradient",
    "grouped_weight",
    "kl_divergence",
]

EXPLORATION = 250  # steps with exaggerated attraction
REPORT = 50  # steps between two reports

_DENSE = 3000  # rows, up to which the matrix of attractions may be dense
_DENSITY = 0.06  # part of the pairs that attract each other, from which it is
_PIECES = 64  # of the attraction among very many rows
_FEW = 500  # rows, up to which one thread is faster

OnStep = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Descent:
    """How to go down.

    Attributes
    ----------
    max_iter : int
        Steps in all.
    early_exaggeration : float
        Factor of the attraction in the first 250 steps.
    learning_rate : float
        Length of the steps.
    min_grad_norm : float
        Gradient below which the map is ready.
    n_threads : int
        Number of threads; the result does not depend on it.
    grouped : bool
        Whether points that are far away repel by the group, not one by one.
    on_step : callable, optional
        Told the number of steps done, and of all, every 50 steps.
    """

    max_iter: int = 1000
    early_exaggeration: float = 12.0
    learning_rate: float = 200.0
    min_grad_norm: float = 1e-7
    n_threads: int = 1
    grouped: bool = False
    on_step: OnStep | None = None


class _Forces:
    """The forces on all points of a map."""

    def __init__(self, P: csr_array, p: int, n_threads: int, *, grouped: bool = False) -> None:
        n = P.shape[0]
        self.groups = Groups(n, p) if grouped else None
        self.n_threads = n_threads if n > _FEW else 1
        self.kernels = kernels(p)
        self.attraction, self.repulsion = np.zeros((3, n)), np.zeros((3, n))
        self.weights = np.zeros(n)
        self.dense = not grouped and n <= _DENSE and P.nnz > _DENSITY * n * n
        if self.dense:
            self.P = P.toarray().astype(np.float32)
        else:
            self.edges = P.indptr.astype(np.int64)
            self.columns = P.indices.astype(np.int32)
            self.values = P.data.astype(np.float32)
        pieces = _PIECES if grouped else self.n_threads
        bounds = np.linspace(0, n, pieces + 1).astype(int).tolist()
        self.slabs = list(pairwise(bounds))

    def _slab(self, Y: np.ndarray, first: int, last: int) -> None:
        if self.dense:
            self.kernels["both"](Y, self.P, first, last, self.attraction, self.repulsion, self.weights)
            return
        if self.groups is None:
            self.kernels["repel"](Y, first, last, self.repulsion, self.weights)
        self.kernels["attract"](Y, self.edges, self.columns, self.values, first, last, self.attraction)

    def compute(self, Y: np.ndarray) -> float:
        """Compute the forces at Y, and return the sum of 1 / (1 + d²) over all pairs."""
        tasks = [partial(self._slab, Y, a, b) for a, b in self.slabs]
        run_all(tasks if self.groups is None else [*self.groups.tasks(Y), *tasks], self.n_threads)
        if self.groups is not None:
            self.groups.write(self.repulsion, self.weights)
        return float(self.weights.sum())


def grouped_weight(Y: np.ndarray, n_threads: int) -> float:
    """Return the sum of 1 / (1 + d²) over all pairs, far ones by the group.

    Parameters
    ----------
    Y : (n, p) array
        The map.
    n_threads : int
        Number of threads; the result does not depend on it.

    Returns
    -------
    float
    """
    groups = Groups(*Y.shape)
    run_all(groups.tasks(_padded(Y)), n_threads)
    return float(groups.weights.sum())


def gradient(
    P: csr_array, Y: np.ndarray, *, n_threads: int | None = None, grouped: bool = False
) -> np.ndarray:
    """Return the gradient of the divergence of a map.

    Parameters
    ----------
    P : (n, n) sparse array
        Probabilities of the pairs.
    Y : (n, p) array
        The map.
    n_threads : int, optional
        Number of threads; by default all.
    grouped : bool, optional
        Whether points that are far away repel by the group.

    Returns
    -------
    (n, p) array

    Notes
    -----
    Van der Maaten & Hinton (2008), equation 5; in single precision.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> P = csr_array(np.array([[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]]))
    >>> gradient(P, np.array([[0.0], [1.0], [9.0]])).round(3).ravel()
    array([-0.047,  0.059, -0.012])
    """
    p = Y.shape[1]
    forces = _Forces(P, p, n_threads or available_threads(), grouped=grouped)
    weight = forces.compute(_padded(Y))
    return 4.0 * (forces.attraction - forces.repulsion / weight)[:p].T


def _padded(Y: np.ndarray) -> np.ndarray:
    padded = np.zeros((3, len(Y)), np.float32)
    padded[: Y.shape[1]] = Y.T
    return padded


def descend(P: csr_array, start: np.ndarray, how: Descent) -> tuple[np.ndarray, int]:
    """Return the map at the end of the way down from a start, and the number of steps.

    Parameters
    ----------
    P : (n, n) sparse array
        Probabilities of the pairs.
    start : (n, p) array
        Where to begin.
    how : Descent
        How to go.

    Returns
    -------
    Y : (n, p) array
        The map.
    n_iter : int
        Steps done.

    Notes
    -----
    The schedule is that of van der Maaten (2014, JMLR 15, 3221) and of scikit-learn: 250 steps
    with exaggerated attraction and momentum 0.5, then without and with 0.8.
    """
    p = start.shape[1]
    forces = _Forces(P, p, how.n_threads, grouped=how.grouped)
    position = np.ascontiguousarray(start.T, dtype=np.float64)
    Y = _padded(start)
    done = 0
    for last, exaggeration, momentum in (
        (min(EXPLORATION, how.max_iter), how.early_exaggeration, 0.5),
        (how.max_iter, 1.0, 0.8),
    ):
        gains, update = np.ones(position.shape), np.zeros(position.shape)
        while done < last:
            weight = forces.compute(Y)
            norm = move(
                forces.attraction,
                forces.repulsion,
                weight,
                exaggeration,
                how.learning_rate,
                momentum,
                gains,
                update,
                position,
                Y,
            )
            done += 1
            if done % REPORT == 0:
                if how.on_step is not None:
                    how.on_step(done, how.max_iter)
                if norm <= how.min_grad_norm:
                    break
    return np.ascontiguousarray(position.T), done


def descend_from(P: csr_array, starts: Sequence[np.ndarray], how: Descent) -> list[tuple[np.ndarray, int]]:
    """Return the maps at the ends of the ways down from several starts, and their numbers of steps.

    Parameters
    ----------
    P : (n, n) sparse array
        Probabilities of the pairs.
    starts : sequence of (n, p) array
        Where to begin; several are followed at a time, each by one thread.
    how : Descent
        How to go; the first start reports.

    Returns
    -------
    list of ((n, p) array, int)
        As from `descend`, in the order of the starts.
    """
    first, *others = starts
    if not others:
        return [descend(P, first, how)]
    alone = replace(how, n_threads=1)
    silent = replace(alone, on_step=None)
    tasks = [partial(descend, P, first, alone), *(partial(descend, P, start, silent) for start in others)]
    return run_all(tasks, how.n_threads)


def kl_divergence(
    P: csr_array, Y: np.ndarray, *, n_threads: int | None = None, weight: float | None = None
) -> float:
    """Return the Kullback–Leibler divergence of a map from the data, exactly.

    Parameters
    ----------
    P : (n, n) sparse array
        Probabilities of the pairs.
    Y : (n, p) array
        The map.
    n_threads : int, optional
        Number of threads; by default all.

    weight : float, optional
        The sum of 1 / (1 + d²) over all pairs, if it is known.

    Returns
    -------
    float
        Sum of p log(p / q) over the pairs, with q from all n² pairs in double precision.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> P = csr_array(np.array([[0, 0.5], [0.5, 0]]))
    >>> kl_divergence(P, np.array([[0.0], [7.0]]))
    0.0
    """
    columns = np.zeros((3, len(Y)))
    columns[: Y.shape[1]] = Y.T
    n = len(Y)
    if weight is None:
        edges = np.unique(np.round(n * (1 - np.sqrt(1 - np.linspace(0, 1, 65)))).astype(int)).tolist()
        tasks = [partial(total_weight, columns, a, b) for a, b in pairwise(edges)]
        weight = 2.0 * sum(run_all(tasks, n_threads or available_threads()))
    rows = np.repeat(np.arange(n), np.diff(P.indptr))
    total = 0.0
    for begin in range(0, P.nnz, 2**20):
        part = slice(begin, begin + 2**20)
        values = P.data[part]
        difference = columns[:, rows[part]] - columns[:, P.indices[part]]
        log_q = -np.log1p((difference**2).sum(axis=0)) - np.log(weight)
        positive = values > 0
        total += float((values[positive] * (np.log(values[positive]) - log_q[positive])).sum())
    return total
