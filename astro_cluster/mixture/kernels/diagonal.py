"""Independent features: holes and error variances cost next to nothing, a row a lane."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numba.core import types
from numba.extending import intrinsic

from astro_cluster.mixture.kernels import blocks, lanes
from astro_cluster.mixture.kernels.blocks import responsibilities
from astro_cluster.mixture.kernels.lanes import WIDTH, Lanes

__all__ = ["BLOCK", "kernels"]

BLOCK = 64  # rows

_LOG_2PI = float(np.log(2 * np.pi))
_STAMP = lanes.source_stamp(lanes.SOURCE, blocks.SOURCE, __file__)


@intrinsic(prefer_literal=True)
def _log_densities(
    typing: Any,
    x: Any,
    noise: Any,
    means: Any,
    variances: Any,
    logs: Any,
    constants: Any,
    k: Any,
    joint: Any,
    d: Any,
    noisy_: Any,
) -> Any:
    """Log joint densities of a block; ``logs`` are those of the variances."""
    noisy = noisy_.literal_value

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lane = Lanes(context, builder)
        x_, noise_, means_, variances_, logs_, constants_ = (
            lane.pointer(signature.args[i], values[i]) for i in range(6)
        )
        joint_ = lane.pointer(signature.args[7], values[7])
        zero, one, log_2pi = lane.constant(0.0), lane.constant(1.0), lane.constant(_LOG_2PI)
        with lane.loop(values[6]) as component:
            own = lane.times(component.index, values[8])
            with lane.loop(BLOCK // WIDTH) as group:
                offset = lane.times(group.index, WIDTH)
                total = lane.cell(zero)
                with lane.loop(values[8]) as feature:
                    place = lane.plus(lane.times(feature.index, BLOCK), offset)
                    at = lane.plus(own, feature.index)
                    value = x_.load(place)
                    seen = lane.is_number(value)
                    deviation = value - means_.spread(at)
                    if noisy:
                        variance = lane.where(seen, variances_.spread(at) + noise_.load(place), one)
                        spread = lane.log(variance)
                    else:
                        variance, spread = variances_.spread(at), logs_.spread(at)
                    term = deviation * deviation / variance + spread + log_2pi
                    total.add(lane.where(seen, term, zero))
                result = constants_.spread(component.index) - lane.constant(0.5) * total.get()
                joint_.store(lane.clamped(result), lane.plus(lane.times(component.index, BLOCK), offset))
        return context.get_dummy_value()

    return types.void(x, noise, means, variances, logs, constants, k, joint, d, noisy_), generate


@intrinsic(prefer_literal=True)
def _moments(
    typing: Any,
    x: Any,
    noise: Any,
    means: Any,
    variances: Any,
    k: Any,
    joint: Any,
    mass: Any,
    first: Any,
    second: Any,
    d: Any,
    noisy_: Any,
) -> Any:
    """Add mass, first and second moments of a block; ``joint`` holds responsibilities."""
    noisy = noisy_.literal_value

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lane = Lanes(context, builder)
        x_, noise_, means_, variances_ = (lane.pointer(signature.args[i], values[i]) for i in range(4))
        joint_, mass_, first_, second_ = (lane.pointer(signature.args[i], values[i]) for i in range(5, 9))
        zero, one = lane.constant(0.0), lane.constant(1.0)
        with lane.loop(values[4]) as component:
            r_ = joint_.at(lane.times(component.index, BLOCK))
            total = r_.load()
            for group in range(1, BLOCK // WIDTH):
                total = total + r_.load(group * WIDTH)
            mass_.add_scalar(lane.total(total), component.index)
            own = lane.times(component.index, values[9])
            with lane.loop(values[9]) as feature:
                at = lane.plus(own, feature.index)
                variance, mean = variances_.spread(at), means_.spread(at)
                sums = lane.cell(zero), lane.cell(zero)
                with lane.loop(BLOCK // WIDTH) as group:
                    offset = lane.times(group.index, WIDTH)
                    place = lane.plus(lane.times(feature.index, BLOCK), offset)
                    value, r = x_.load(place), r_.load(offset)
                    seen = lane.is_number(value)
                    expected, spread = value - mean, zero
                    if noisy:
                        error = lane.where(seen, noise_.load(place), one)
                        gain = variance / (variance + error)
                        expected, spread = expected * gain, error * gain
                    expected = lane.where(seen, expected, zero)
                    spread = lane.where(seen, spread, variance)
                    sums[0].add(r * expected)
                    sums[1].add(r * (expected * expected + spread))
                first_.add_scalar(lane.total(sums[0].get()), at)
                second_.add_scalar(lane.total(sums[1].get()), at)
        return context.get_dummy_value()

    return types.void(x, noise, means, variances, k, joint, mass, first, second, d, noisy_), generate


@njit(nogil=True, error_model="numpy")
def _load(X, noise, start, end, x, c, noisy):
    """Put a block of rows into lanes; past the end, the first of them again."""
    for row in range(BLOCK):
        i = start + row if start + row < end else start
        for j in range(X.shape[1]):
            x[j * BLOCK + row] = X[i, j]
            if noisy:
                c[j * BLOCK + row] = noise[i, j]


@cache
def kernels(noisy: bool) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return the compiled passes, with error variances or without: moments, and log joint densities."""
    return _build(int(noisy), _STAMP)


def _build(noisy: int, stamp: str) -> tuple[Callable[..., None], Callable[..., None]]:
    block = BLOCK

    @lanes.kernel
    def expect(
        X, noise, w, begin, end, means, variances, logs, constants, models, mass, first, second, total
    ):
        """Add the moments of rows begin … end for every model (components models[m] … models[m+1])."""
        if stamp == "":
            return
        d = X.shape[1]
        x = np.empty(d * block)
        c = np.empty((d if noisy else 1) * block)
        joint = np.empty(len(constants) * block)
        weights = np.ones(block)
        for start in range(begin, end, block):
            _load(X, noise, start, end, x, c, noisy)
            for row in range(block):
                inside = start + row < end
                weights[row] = (w[start + row] if w.size else 1.0) if inside else 0.0
            for m in range(len(models) - 1):
                a = models[m]
                k = models[m + 1] - a
                mean, variance = means[a * d :], variances[a * d :]
                _log_densities(x, c, mean, variance, logs[a * d :], constants[a:], k, joint, d, noisy)
                responsibilities(joint, weights, k, total[m], block)
                _moments(x, c, mean, variance, k, joint, mass[a:], first[a * d :], second[a * d :], d, noisy)

    @lanes.kernel
    def log_joint(X, noise, begin, end, means, variances, logs, constants, out):
        """Write the log joint densities of rows begin … end."""
        if stamp == "":
            return
        d = X.shape[1]
        k = out.shape[1]
        x = np.empty(d * block)
        c = np.empty((d if noisy else 1) * block)
        joint = np.empty(k * block)
        for start in range(begin, end, block):
            _load(X, noise, start, end, x, c, noisy)
            _log_densities(x, c, means, variances, logs, constants, k, joint, d, noisy)
            for row in range(min(block, end - start)):
                for component in range(k):
                    out[start + row, component] = joint[component * block + row]

    return expect, log_joint
