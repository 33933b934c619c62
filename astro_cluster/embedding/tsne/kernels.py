"""Forces between the points of a map, compiled.

Every row of a map feels all others, without an approximation: on vectors of single precision that
costs less than the trees and grids which others use, up to tens of thousands of rows.  The sums
run over 4,096 rows at a time in single precision, and over these parts in double.  No row's force
depends on which thread computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from astro_cluster.embedding.compiling import compiled, reordered

__all__ = ["Kernels", "kernels", "move", "total_weight"]

_PART = 4096  # points whose coordinates stay in the cache

Kernels = dict[str, Callable[..., None]]


@cache
def kernels(p: int) -> Kernels:
    """Return the compiled functions for maps of so many coordinates.

    Parameters
    ----------
    p : int
        1, 2 or 3.

    Returns
    -------
    dict
        ``repel(Y, first, last, forces, weights)``, ``attract(Y, edges, columns, values, first, last,
        forces)``, ``both(Y, P, first, last, attraction, repulsion, weights)`` and ``place``.

    Notes
    -----
    ``Y`` is (3, n) in single precision, of which only the first p rows are read.
    """
    return _build(p)


def _build(p: int) -> Kernels:
    part = _PART
    two, three = p > 1, p > 2
    one, none = np.float32(1), np.float32(0)

    @reordered
    def repel(Y, first, last, forces, weights):  # noqa: ANN001, ANN202
        """Write for rows first … last the sums of q² (y_i - y_j) and of q = 1 / (1 + d²)."""
        n = Y.shape[1]
        forces[:, first:last] = 0.0
        weights[first:last] = 0.0
        for begin in range(0, n, part):
            end = min(n, begin + part)
            X, Z, W = Y[0, begin:end], Y[1, begin:end], Y[2, begin:end]
            for i in range(first, last):
                xi, zi, wi = Y[0, i], Y[1, i], Y[2, i]
                fx, fz, fw, weight = none, none, none, none
                own = i - begin
                for j in range(end - begin):
                    dx = xi - X[j]
                    q = one + dx * dx
                    if two:
                        dz = zi - Z[j]
                        q += dz * dz
                    if three:
                        dw = wi - W[j]
                        q += dw * dw
                    q = one / q
                    # Not to be subtracted later: in a map of few rows 1 would drown the others.
                    weight += none if j == own else q
                    q *= q
                    fx += q * dx
                    if two:
                        fz += q * dz
                    if three:
                        fw += q * dw
                weights[i] += weight
                forces[0, i] += fx
                if two:
                    forces[1, i] += fz
                if three:
                    forces[2, i] += fw

    @reordered
    def attract(Y, edges, columns, values, first, last, forces):  # noqa: ANN001, ANN202
        """Write for rows first … last the sums of p q (y_i - y_j) over the pairs that have a p."""
        X, Z, W = Y[0], Y[1], Y[2]
        for i in range(first, last):
            xi, zi, wi = X[i], Z[i], W[i]
            fx, fz, fw = none, none, none
            for e in range(edges[i], edges[i + 1]):
                j = columns[e]
                dx = xi - X[j]
                q = one + dx * dx
                if two:
                    dz = zi - Z[j]
                    q += dz * dz
                if three:
                    dw = wi - W[j]
                    q += dw * dw
                q = values[e] / q
                fx += q * dx
                if two:
                    fz += q * dz
                if three:
                    fw += q * dw
            forces[0, i] = fx
            if two:
                forces[1, i] = fz
            if three:
                forces[2, i] = fw

    @reordered
    def both(Y, P, first, last, attraction, repulsion, weights):  # noqa: ANN001, ANN202
        """Do the work of both where so many pairs have a p that the matrix may be dense."""
        n = Y.shape[1]
        X, Z, W = Y[0], Y[1], Y[2]
        for i in range(first, last):
            row = P[i]
            xi, zi, wi = X[i], Z[i], W[i]
            fx, fz, fw, weight = none, none, none, none
            ax, az, aw = none, none, none
            for j in range(n):
                dx = xi - X[j]
                q = one + dx * dx
                if two:
                    dz = zi - Z[j]
                    q += dz * dz
                if three:
                    dw = wi - W[j]
                    q += dw * dw
                q = one / q
                weight += none if j == i else q
                pull = row[j] * q
                q *= q
                fx += q * dx
                ax += pull * dx
                if two:
                    fz += q * dz
                    az += pull * dz
                if three:
                    fw += q * dw
                    aw += pull * dw
            weights[i] = weight
            repulsion[0, i] = fx
            attraction[0, i] = ax
            if two:
                repulsion[1, i] = fz
                attraction[1, i] = az
            if three:
                repulsion[2, i] = fw
                attraction[2, i] = aw

    @reordered
    def place(Y, near, pulls, first, last, steps, exaggeration, rate, momentum, longest, new):  # noqa: ANN001, ANN202
        """Move new points first … last (rows of ``new``) among fixed ones, each on its own."""
        n = Y.shape[1]
        y = np.zeros(3, np.float32)
        gradient, gains, update = np.zeros(3), np.zeros(3), np.zeros(3)
        for i in range(first, last):
            gains[:] = 1.0
            update[:] = 0.0
            for _ in range(steps):
                for c in range(p):
                    y[c] = np.float32(new[i, c])
                    gradient[c] = 0.0
                total, rx, rz, rw = 0.0, 0.0, 0.0, 0.0
                for begin in range(0, n, part):
                    end = min(n, begin + part)
                    X, Z, W = Y[0, begin:end], Y[1, begin:end], Y[2, begin:end]
                    xi, zi, wi = y[0], y[1], y[2]
                    fx, fz, fw, weight = none, none, none, none
                    for j in range(end - begin):
                        dx = xi - X[j]
                        q = one + dx * dx
                        if two:
                            dz = zi - Z[j]
                            q += dz * dz
                        if three:
                            dw = wi - W[j]
                            q += dw * dw
                        q = one / q
                        weight += q
                        q *= q
                        fx += q * dx
                        if two:
                            fz += q * dz
                        if three:
                            fw += q * dw
                    total += weight
                    rx += fx
                    rz += fz
                    rw += fw
                for e in range(near.shape[1]):
                    j = near[i, e]
                    distance = 1.0
                    for c in range(p):
                        distance += (new[i, c] - Y[c, j]) ** 2
                    for c in range(p):
                        gradient[c] += exaggeration * pulls[i, e] / distance * (new[i, c] - Y[c, j])
                gradient[0] -= rx / total
                if two:
                    gradient[1] -= rz / total
                if three:
                    gradient[2] -= rw / total
                length = 0.0
                for c in range(p):
                    length += gradient[c] ** 2
                length = np.sqrt(length)
                shorter = longest / length if length > longest else 1.0
                for c in range(p):
                    slope = gradient[c] * shorter
                    if update[c] * slope < 0.0:
                        gains[c] += 0.2
                    else:
                        gains[c] = max(0.8 * gains[c], 0.01)
                    update[c] = momentum * update[c] - rate * gains[c] * slope
                    new[i, c] += update[c]

    return {"repel": repel, "attract": attract, "both": both, "place": place}


@compiled
def move(
    attraction: np.ndarray,
    repulsion: np.ndarray,
    weight: float,
    exaggeration: float,
    rate: float,
    momentum: float,
    gains: np.ndarray,
    update: np.ndarray,
    position: np.ndarray,
    Y: np.ndarray,
) -> float:
    """Take a step down the gradient and return the norm of the gradient.

    Gains of each coordinate as Jacobs (1988, Neural Networks 1, 295), in van der Maaten's form.
    ``position`` is kept in double precision, ``Y`` is what the forces are computed from.
    """
    total = 0.0
    p, n = position.shape
    for c in range(p):
        for i in range(n):
            gradient = 4.0 * (exaggeration * attraction[c, i] - repulsion[c, i] / weight)
            if update[c, i] * gradient < 0.0:
                gains[c, i] += 0.2
            else:
                gains[c, i] = max(0.8 * gains[c, i], 0.01)
            total += gradient * gradient
            update[c, i] = momentum * update[c, i] - rate * gains[c, i] * gradient
            position[c, i] += update[c, i]
            Y[c, i] = position[c, i]
    return np.sqrt(total)


@reordered
def total_weight(Y: np.ndarray, first: int, last: int) -> float:
    """Return the sum of 1 / (1 + d²) over the pairs of rows first … last with later rows.

    ``Y`` is (3, n), in double precision.
    """
    X, Z, W = Y[0], Y[1], Y[2]
    total = 0.0
    for i in range(first, last):
        x, z, w = X[i], Z[i], W[i]
        for j in range(i + 1, Y.shape[1]):
            total += 1.0 / (1.0 + (x - X[j]) ** 2 + (z - Z[j]) ** 2 + (w - W[j]) ** 2)
    return total
