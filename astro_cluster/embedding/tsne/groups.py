"""Repulsion among very many points: near ones one by one, far ones by the group.

The points are sorted into groups of equal number, strip by strip.  For all points of a group the same
others are near, and the same groups are far; both are put side by side once and then run through
on vectors by each point.  A group is far if its box, seen from the box of the points, is
smaller than 0.4 of its distance: the criterion of Barnes & Hut (1986, Nature 324, 446), with which van
der Maaten (2014, JMLR 15, 3221) and scikit-learn approximate, but without a tree.  With
about 5 √n groups the work grows as n^1.5.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np

from astro_cluster.embedding.compiling import compiled, reordered

__all__ = ["Groups", "edges_of", "sorted_into_groups"]

ANGLE = 0.4  # side of the box of a far group over its distance, at most
REORDER = 10  # steps after which points are sorted anew

_PER_ROOT = 5.0  # groups per square root of the number of points
_TASKS = 64  # pieces of work, whatever the number of threads


def edges_of(n: int, p: int) -> np.ndarray:
    """Return where the groups of sorted points begin and end.

    Parameters
    ----------
    n : int
        Number of points.
    p : int
        Number of coordinates.

    Returns
    -------
    (m + 1,) array of int64

    Examples
    --------
    >>> len(edges_of(40_000, 2)) - 1
    1024
    """
    parts = max(1, round((_PER_ROOT * n**0.5) ** (1 / p)))
    return np.unique(np.linspace(0, n, parts**p + 1).astype(np.int64))


def sorted_into_groups(Y: np.ndarray, p: int) -> np.ndarray:
    """Return the order in which neighbouring points stand together.

    Parameters
    ----------
    Y : (3, n) array
        Coordinates.
    p : int
        How many of them count.

    Returns
    -------
    (n,) array of int64
        Sorted by the first coordinate, in equal parts of it by the second, and so on.

    Examples
    --------
    >>> import numpy as np
    >>> sorted_into_groups(np.array([[3.0, 1.0, 2.0], [0, 0, 0], [0, 0, 0]]), 1)
    array([1, 2, 0])
    """
    n = Y.shape[1]
    parts = max(1, round((_PER_ROOT * n**0.5) ** (1 / p)))
    order = np.argsort(Y[0], kind="stable")
    blocks = 1
    for coordinate in range(1, p):
        blocks *= parts
        block = np.repeat(np.arange(blocks), np.diff(np.linspace(0, n, blocks + 1).astype(int)))
        order = order[np.lexsort((Y[coordinate, order], block))]
    return order


@compiled
def _describe(
    S: np.ndarray, edges: np.ndarray, low: np.ndarray, high: np.ndarray, centre: np.ndarray, mass: np.ndarray
) -> None:
    """Write the boxes, centres and numbers of the groups."""
    for g in range(len(edges) - 1):
        first, last = edges[g], edges[g + 1]
        mass[g] = last - first
        for c in range(3):
            total, least, most = 0.0, S[c, first], S[c, first]
            for k in range(first, last):
                value = S[c, k]
                total += value
                least, most = min(least, value), max(most, value)
            low[c, g], high[c, g] = least, most
            centre[c, g] = total / (last - first)


@reordered
def _repel(
    S: np.ndarray,
    edges: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    centre: np.ndarray,
    mass: np.ndarray,
    angle: float,
    begin: int,
    end: int,
    forces: np.ndarray,
    weights: np.ndarray,
) -> None:
    """Write for the points of groups begin … end the sums of q² (y_i - y_j) and of q = 1 / (1 + d²)."""
    m, n = len(mass), S.shape[1]
    one, none = np.float32(1), np.float32(0)
    near, far, heavy = np.empty((3, n), np.float32), np.empty((3, m), np.float32), np.empty(m, np.float32)
    # How large a group is for its distance, squared: times the distance if that is small.
    size = np.empty(m, np.float32)
    for g in range(m):
        side = max(high[0, g] - low[0, g], high[1, g] - low[1, g], high[2, g] - low[2, g])
        size[g] = (side / np.float32(angle)) ** 2
    distance = np.empty(m, np.float32)
    for g in range(begin, end):
        distance[:] = none
        for c in range(3):
            a, b = low[c, g], high[c, g]
            for other in range(m):
                outside = max(a - centre[c, other], centre[c, other] - b, none)
                distance[other] += outside * outside
        n_near, n_far = 0, 0
        for other in range(m):
            # The force bends over a length of 1: what is nearer may be lumped as if it were that far.
            if other != g and size[other] < one + distance[other]:
                far[0, n_far], far[1, n_far] = centre[0, other], centre[1, other]
                far[2, n_far], heavy[n_far] = centre[2, other], mass[other]
                n_far += 1
            else:
                first, count = edges[other], edges[other + 1] - edges[other]
                for c in range(3):
                    for k in range(count):
                        near[c, n_near + k] = S[c, first + k]
                n_near += count
        X, Z, W = near[0, :n_near], near[1, :n_near], near[2, :n_near]
        U, V, T = far[0, :n_far], far[1, :n_far], far[2, :n_far]
        for i in range(edges[g], edges[g + 1]):
            x, z, w = S[0, i], S[1, i], S[2, i]
            fx, fz, fw, weight = none, none, none, none
            for j in range(n_near):
                dx, dz, dw = x - X[j], z - Z[j], w - W[j]
                q = one / (one + dx * dx + dz * dz + dw * dw)
                weight += q
                q *= q
                fx += q * dx
                fz += q * dz
                fw += q * dw
            total = weight - one  # without the point itself
            weight = none
            for j in range(n_far):
                dx, dz, dw = x - U[j], z - V[j], w - T[j]
                q = one / (one + dx * dx + dz * dz + dw * dw)
                pull = heavy[j] * q
                weight += pull
                pull *= q
                fx += pull * dx
                fz += pull * dz
                fw += pull * dw
            weights[i] = total + weight
            forces[0, i] = fx
            forces[1, i] = fz
            forces[2, i] = fw


class Groups:
    """The points of a map in groups, sorted anew every ten steps.

    Parameters
    ----------
    n : int
        Number of points.
    p : int
        Number of coordinates.
    """

    def __init__(self, n: int, p: int) -> None:
        self.p = p
        self.edges = edges_of(n, p)
        m = len(self.edges) - 1
        self.low, self.high, self.centre = (np.empty((3, m), np.float32) for _ in range(3))
        self.mass = np.empty(m, np.float32)
        self.forces, self.weights = np.empty((3, n)), np.empty(n)
        self.order = np.arange(n)
        self.steps = 0
        bounds = np.unique(np.linspace(0, m, _TASKS + 1).astype(int)).tolist()
        self.slabs = list(pairwise(bounds))

    def tasks(self, Y: np.ndarray) -> list[partial[None]]:
        """Return the work to be done for one step.

        Parameters
        ----------
        Y : (3, n) array of float32
            Where the points are.

        Returns
        -------
        list of callable
        """
        if self.steps % REORDER == 0:
            self.order = sorted_into_groups(Y, self.p)
        self.steps += 1
        S = np.take(Y, self.order, axis=1)
        _describe(S, self.edges, self.low, self.high, self.centre, self.mass)
        boxes = (self.low, self.high, self.centre, self.mass)
        return [
            partial(_repel, S, self.edges, *boxes, ANGLE, a, b, self.forces, self.weights)
            for a, b in self.slabs
        ]

    def write(self, forces: np.ndarray, weights: np.ndarray) -> None:
        """Write what the tasks have found, in the order of the points.

        Parameters
        ----------
        forces : (3, n) array
            Written to: sums of q² (y_i - y_j).
        weights : (n,) array
            Written to: sums of q.
        """
        forces[:, self.order] = self.forces
        weights[self.order] = self.weights
