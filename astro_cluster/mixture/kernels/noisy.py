"""Few features with holes and measurement errors: everything unrolled, a row a lane.

For every row and component T = V + C of the observed features is decomposed anew (LDL'), as
extreme deconvolution needs (Bovy, Hogg & Roweis 2011, AOAS 5, 1657).  A missing feature is a mask:
its row and column of T are those of the unit matrix and its deviation is 0, which leaves
density and moments as if it were not there.  With V T^-1 V = U' D^-1 U, L U = V, the expected
values and their spread follow from the same decomposition.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import numpy as np
from numba import njit
from numba.core import types
from numba.extending import intrinsic

from astro_cluster.mixture.kernels import blocks, lanes
from astro_cluster.mixture.kernels.blocks import responsibilities
from astro_cluster.mixture.kernels.lanes import WIDTH, Lanes, Pointer, Vector

__all__ = ["MOST_FEATURES", "NoiseKind", "kernels"]

MOST_FEATURES = 8  # more would take long to compile
NoiseKind = Literal[0, 1, 2]  # none, variances, covariances

_LOG_2PI = float(np.log(2 * np.pi))
_STAMP = lanes.source_stamp(lanes.SOURCE, blocks.SOURCE, __file__)


def _packed(i: int, j: int) -> int:
    """Return where element i, j stands in the lower triangle, row after row."""
    i, j = max(i, j), min(i, j)
    return i * (i + 1) // 2 + j


class _Decomposition:
    """One component's T of eight rows: T = L D L', solved for the deviations."""

    def __init__(
        self, lane: Lanes, x: Pointer, noise: Pointer, component: Pointer, d: int, kind: int
    ) -> None:
        self.lane, self.d = lane, d
        zero, one = lane.constant(0.0), lane.constant(1.0)
        self.covariance = [
            component.spread(1 + d + t) for t in range(d * (d + 1) // 2)
        ]  # component is log weight, mean, covariance
        self.seen, deviations = [], []
        for j in range(d):
            value = x.load(j * WIDTH)
            seen = lane.is_number(value)
            self.seen.append(seen)
            deviations.append(lane.where(seen, value - component.spread(1 + j), zero))
        # L, L times D, 1 / D, D, and y of L y = deviation.
        self.lower: dict[tuple[int, int], Vector] = {}
        self.pivots: list[Vector] = []
        self.inverse: list[Vector] = []
        self.solution: list[Vector] = []
        scaled: dict[tuple[int, int], Vector] = {}
        for i in range(d):
            for j in range(i + 1):
                s = self.covariance[_packed(i, j)]
                if kind == 2:
                    s = s + noise.load(_packed(i, j) * WIDTH)
                elif kind == 1 and i == j:
                    s = s + noise.load(i * WIDTH)
                mask = self.seen[i] if i == j else lane.both(self.seen[i], self.seen[j])
                s = lane.where(mask, s, one if i == j else zero)
                for q in range(j):
                    s = s - self.lower[i, q] * scaled[j, q]
                if i == j:
                    self.pivots.append(s)
                    self.inverse.append(one / s)
                else:
                    scaled[i, j] = s
                    self.lower[i, j] = s * self.inverse[j]
            y = deviations[i]
            for q in range(i):
                y = y - self.lower[i, q] * self.solution[q]
            self.solution.append(y)

    def minus_half_log_density(self) -> Vector:
        """Return half of the quadratic form, the log determinant and the constant."""
        lane = self.lane
        total = lane.constant(0.0)
        for y, inverse in zip(self.solution, self.inverse, strict=True):
            total = total + y * (y * inverse)
        for j in range(0, self.d, 2):  # one logarithm for two pivots, whose product cannot overflow
            pair = self.pivots[j : j + 2]
            total = total + lane.log(pair[0] * pair[1] if len(pair) == 2 else pair[0])
        for seen in self.seen:
            total = total + lane.where(seen, lane.constant(_LOG_2PI), lane.constant(0.0))
        return lane.constant(0.5) * total

    def expectations(self) -> tuple[list[Vector], list[Vector]]:
        """Return the expected deviations and their expected products (lower triangle)."""
        lane, d, zero = self.lane, self.d, self.lane.constant(0.0)
        column: dict[tuple[int, int], Vector] = {}
        scaled: dict[tuple[int, int], Vector] = {}
        deviations: list[Vector] = []
        products: list[Vector] = []
        for j in range(d):
            expected = zero
            for i in range(d):
                s = lane.where(self.seen[i], self.covariance[_packed(i, j)], zero)
                for q in range(i):
                    s = s - self.lower[i, q] * column[q, j]
                column[i, j], scaled[i, j] = s, s * self.inverse[i]
                expected = expected + scaled[i, j] * self.solution[i]
            deviations.append(expected)
            for f in range(j + 1):
                s = self.covariance[_packed(j, f)] + expected * deviations[f]
                for i in range(d):
                    s = s - scaled[i, j] * column[i, f]
                products.append(s)
        return deviations, products


@intrinsic(prefer_literal=True)
def _conditionals(
    typing: Any, x: Any, noise: Any, parameters: Any, k: Any, joint: Any, moments: Any, d_: Any, kind_: Any
) -> Any:
    """Log joint densities of eight rows and, if there is room for them, their moments."""
    d, kind = d_.literal_value, kind_.literal_value
    n_moments = d + d * (d + 1) // 2
    wanted = not isinstance(moments, types.NoneType)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lane = Lanes(context, builder)
        x_, noise_, parameters_ = (lane.pointer(signature.args[i], values[i]) for i in range(3))
        joint_ = lane.pointer(signature.args[4], values[4])
        with lane.loop(values[3]) as component:
            own = parameters_.at(lane.times(component.index, 1 + n_moments))
            found = _Decomposition(lane, x_, noise_, own, d, kind)
            place = lane.times(component.index, WIDTH)
            joint_.store(lane.clamped(own.spread(0) - found.minus_half_log_density()), place)
            if wanted:
                out = lane.pointer(signature.args[5], values[5]).at(lane.times(place, n_moments))
                deviations, products = found.expectations()
                for j, value in enumerate(deviations + products):
                    out.store(value, j * WIDTH)
        return context.get_dummy_value()

    return types.void(x, noise, parameters, k, joint, moments, d_, kind_), generate


@intrinsic(prefer_literal=True)
def _accumulate(typing: Any, joint: Any, k: Any, moments: Any, sums: Any, d_: Any) -> Any:
    """Add responsibilities, and moments times responsibilities, to the sums (lane by lane)."""
    d = d_.literal_value
    n_moments = d + d * (d + 1) // 2

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lane = Lanes(context, builder)
        joint_, moments_, sums_ = (lane.pointer(signature.args[i], values[i]) for i in (0, 2, 3))
        with lane.loop(values[1]) as component:
            place = lane.times(component.index, WIDTH)
            r = joint_.load(place)
            own = moments_.at(lane.times(place, n_moments))
            out = sums_.at(lane.times(place, 1 + n_moments))
            out.add(r)
            for j in range(n_moments):
                out.add(r * own.load(j * WIDTH), (1 + j) * WIDTH)
        return context.get_dummy_value()

    return types.void(joint, k, moments, sums, d_), generate


@njit(nogil=True, error_model="numpy")
def _load(X, noise, start, end, x, c, d, kind):
    """Put eight rows into lanes; past the end, the first of them again."""
    for lane in range(WIDTH):
        i = start + lane if start + lane < end else start
        for j in range(d):
            x[j * WIDTH + lane] = X[i, j]
        if kind == 1:
            for j in range(d):
                c[j * WIDTH + lane] = noise[i, j]
        if kind == 2:
            t = 0
            for j in range(d):
                for f in range(j + 1):
                    c[t * WIDTH + lane] = noise[i, j * d + f]
                    t += 1


@cache
def kernels(d: int, kind: NoiseKind) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return the compiled passes for d features with such noise: moments, and log joint densities."""
    return _build(d, kind, _STAMP)


def _build(d: int, kind: int, stamp: str) -> tuple[Callable[..., None], Callable[..., None]]:
    width = WIDTH
    n_noise = (0, d, d * (d + 1) // 2)[kind]
    n_moments = d + d * (d + 1) // 2

    @lanes.kernel
    def expect(X, noise, w, begin, end, parameters, models, sums, total):
        """Add the moments of rows begin … end for every model (components models[m] … models[m+1])."""
        if stamp == "":
            return
        most = 0
        for m in range(len(models) - 1):
            most = max(most, models[m + 1] - models[m])
        x = np.empty(d * width)
        c = np.empty(max(n_noise, 1) * width)
        joint = np.empty(most * width)
        moments = np.empty(most * n_moments * width)
        weights = np.ones(width)
        for start in range(begin, end, width):
            _load(X, noise, start, end, x, c, d, kind)
            for lane in range(width):
                inside = start + lane < end
                weights[lane] = (w[start + lane] if w.size else 1.0) if inside else 0.0
            for m in range(len(models) - 1):
                a = models[m]
                k = models[m + 1] - a
                _conditionals(x, c, parameters[a * (1 + n_moments) :], k, joint, moments, d, kind)
                responsibilities(joint, weights, k, total[m], width)
                _accumulate(joint, k, moments, sums[a * (1 + n_moments) * width :], d)

    @lanes.kernel
    def log_joint(X, noise, begin, end, parameters, out):
        """Write the log joint densities of rows begin … end."""
        if stamp == "":
            return
        k = out.shape[1]
        x = np.empty(d * width)
        c = np.empty(max(n_noise, 1) * width)
        joint = np.empty(k * width)
        for start in range(begin, end, width):
            _load(X, noise, start, end, x, c, d, kind)
            _conditionals(x, c, parameters, k, joint, None, d, kind)
            for lane in range(min(width, end - start)):
                for component in range(k):
                    out[start + lane, component] = joint[component * width + lane]

    return expect, log_joint
