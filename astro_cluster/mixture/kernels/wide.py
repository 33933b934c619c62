"""Many features with holes and measurement errors: the arithmetic of `noisy` as loops, a row a lane.

The covariance T = V + C of what is observed is decomposed for every row and component, four
rows or columns of it at a time.  It serves any number of features and is exact also where
features nearly determine each other.
"""

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
from astro_cluster.mixture.kernels.complete import NEGLIGIBLE, TILE
from astro_cluster.mixture.kernels.lanes import WIDTH, Lanes, Pointer
from astro_cluster.mixture.kernels.noisy import NoiseKind

__all__ = ["kernels", "rows_with_margin"]

_LOG_2PI = float(np.log(2 * np.pi))
_STAMP = lanes.source_stamp(lanes.SOURCE, blocks.SOURCE, __file__)


def rows_with_margin(size: int) -> int:
    """Return the rows that a padded matrix needs, so that four may always be taken at a time."""
    return size + TILE


def _before(lane: Lanes, row: Any) -> Any:
    """Return how many elements of a strictly lower triangle stand before a row."""
    return lane.over(lane.times(row, lane.plus(row, -1)), 2)


@intrinsic(prefer_literal=True)
def _decompose(
    typing: Any,
    x: Any,
    seen: Any,
    noise: Any,
    mean: Any,
    covariance: Any,
    lower: Any,
    scaled: Any,
    inverse: Any,
    solution: Any,
    joint: Any,
    size: Any,
    kind_: Any,
) -> Any:
    """T = L D L' of eight rows and the solution of L y = deviation; adds to ``joint``."""
    kind = kind_.literal_value

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lane = Lanes(context, builder)
        x_, seen_, noise_, mean_, covariance_, lower_, scaled_, inverse_, solution_, joint_ = (
            lane.pointer(signature.args[i], values[i]) for i in range(10)
        )
        d = lane.integer(values[10])
        zero, one = lane.constant(0.0), lane.constant(1.0)
        form = lane.cell(zero)
        with lane.loop(d) as column:
            j = column.index
            at_j = lane.times(j, WIDTH)
            mask_j = seen_.load(at_j)
            row_j = lane.times(_before(lane, j), WIDTH)

            def element(i: Any, mask_i: Any, j: Any = j, mask_j: Any = mask_j) -> Any:
                place = lane.plus(lane.times(i, d), j)
                value = covariance_.spread(place)
                if kind == 2:
                    value = value + noise_.load(lane.times(place, WIDTH))
                return value * (mask_i * mask_j)

            # The pivot, and y of this row.
            diagonal = covariance_.spread(lane.plus(lane.times(j, d), j))
            if kind == 2:
                diagonal = diagonal + noise_.load(lane.times(lane.plus(lane.times(j, d), j), WIDTH))
            if kind == 1:
                diagonal = diagonal + noise_.load(at_j)
            pivot = lane.cell(diagonal * mask_j + (one - mask_j))
            y = lane.cell((x_.load(at_j) - mean_.spread(j)) * mask_j)
            with lane.loop(j) as before:
                q = lane.times(before.index, WIDTH)
                factor = lower_.load(lane.plus(row_j, q))
                pivot.set(pivot.get() - factor * scaled_.load(lane.plus(row_j, q)))
                y.set(y.get() - factor * solution_.load(q))
            inverse_j = one / pivot.get()
            inverse_.store(inverse_j, at_j)
            solution_.store(y.get(), at_j)
            terms = y.get() * (y.get() * inverse_j) + lane.log(pivot.get()) + mask_j * lane.constant(_LOG_2PI)
            form.add(terms)
            # The rows below, four at a time; beyond the last is a margin.
            below = builder.sub(builder.sub(d, j), lane.integer(1))
            with lane.loop(lane.over(lane.plus(below, TILE - 1), TILE)) as tile:
                top = lane.plus(lane.plus(j, 1), lane.times(tile.index, TILE))
                rows = [lane.plus(top, t) for t in range(TILE)]
                starts = [lane.times(_before(lane, i), WIDTH) for i in rows]
                sums = [lane.cell(element(i, seen_.load(lane.times(i, WIDTH)))) for i in rows]
                with lane.loop(j) as before:
                    q = lane.times(before.index, WIDTH)
                    factor = scaled_.load(lane.plus(row_j, q))
                    for start, s in zip(starts, sums, strict=True):
                        s.set(s.get() - lower_.load(lane.plus(start, q)) * factor)
                for start, s in zip(starts, sums, strict=True):
                    scaled_.store(s.get(), lane.plus(start, at_j))
                    lower_.store(s.get() * inverse_j, lane.plus(start, at_j))
        joint_.store(lane.clamped(joint_.load() - lane.constant(0.5) * form.get()))
        return context.get_dummy_value()

    signature = types.void(
        x, seen, noise, mean, covariance, lower, scaled, inverse, solution, joint, size, kind_
    )
    return signature, generate


@intrinsic(prefer_literal=True)
def _expect(
    typing: Any,
    seen: Any,
    covariance: Any,
    lower: Any,
    inverse: Any,
    solution: Any,
    r: Any,
    work: Any,
    deviations: Any,
    first: Any,
    second: Any,
    size: Any,
) -> Any:
    """Add the moments of eight rows, times their responsibilities ``r``."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lane = Lanes(context, builder)
        seen_, covariance_, lower_, inverse_, solution_, r_, work_, deviations_, first_, second_ = (
            lane.pointer(signature.args[i], values[i]) for i in range(10)
        )
        d = lane.integer(values[10])
        width_of_row = lane.times(d, WIDTH)
        tiles = lane.over(d, TILE)
        weight = r_.load()
        # U of L U = V, four columns at a time; these four stand together, row after row.
        with lane.loop(tiles) as tile:
            left = lane.times(tile.index, TILE)
            columns = work_.at(lane.times(left, width_of_row))
            expected = [lane.cell(lane.constant(0.0)) for _ in range(TILE)]
            with lane.loop(d) as row:
                i = row.index
                at_i = lane.times(i, WIDTH)
                mask = seen_.load(at_i)
                start = lane.times(_before(lane, i), WIDTH)
                own = lane.plus(lane.times(i, d), left)
                sums = [lane.cell(covariance_.spread(lane.plus(own, v)) * mask) for v in range(TILE)]
                with lane.loop(i) as before:
                    factor = lower_.load(lane.plus(start, lane.times(before.index, WIDTH)))
                    above = columns.at(lane.times(before.index, TILE * WIDTH))
                    for v, s in enumerate(sums):
                        s.set(s.get() - factor * above.load(v * WIDTH))
                here = columns.at(lane.times(i, TILE * WIDTH))
                step = solution_.load(at_i) * inverse_.load(at_i)
                for v, s in enumerate(sums):
                    here.store(s.get(), v * WIDTH)
                    expected[v].add(s.get() * step)
            for v, value in enumerate(expected):
                at = lane.plus(left, v)
                deviations_.store(value.get(), lane.times(at, WIDTH))
                first_.add_scalar(lane.total(weight * value.get()), at)
        _add_products(lane, covariance_, inverse_, work_, deviations_, weight, second_, d)
        return context.get_dummy_value()

    signature = types.void(
        seen, covariance, lower, inverse, solution, r, work, deviations, first, second, size
    )
    return signature, generate


def _add_products(
    lane: Lanes,
    covariance: Pointer,
    inverse: Pointer,
    work: Pointer,
    deviations: Pointer,
    weight: Any,
    second: Pointer,
    d: Any,
) -> None:
    """Add expected products V + e e' - U' D^-1 U, in tiles of the lower triangle as `complete` does."""
    width_of_row = lane.times(d, WIDTH)
    with lane.loop(lane.over(d, TILE)) as high:
        top = lane.times(high.index, TILE)
        upper = work.at(lane.times(top, width_of_row))
        before = lane.over(lane.times(high.index, lane.plus(high.index, 1)), 2)
        with lane.loop(lane.plus(high.index, 1)) as low:
            left = lane.times(low.index, TILE)
            right = work.at(lane.times(left, width_of_row))
            sums = [lane.cell(lane.constant(0.0)) for _ in range(TILE * TILE)]
            with lane.loop(d) as row:
                scale = inverse.load(lane.times(row.index, WIDTH))
                own = lane.times(row.index, TILE * WIDTH)
                columns = [right.load(lane.plus(own, v * WIDTH)) for v in range(TILE)]
                for u in range(TILE):
                    value = upper.load(lane.plus(own, u * WIDTH)) * scale
                    for v in range(TILE):
                        sums[u * TILE + v].add(value * columns[v])
            values = []
            for u in range(TILE):
                row_u = lane.plus(top, u)
                deviation = deviations.load(lane.times(row_u, WIDTH))
                for v in range(TILE):
                    column_v = lane.plus(left, v)
                    own = covariance.spread(lane.plus(lane.times(row_u, d), column_v))
                    product = deviation * deviations.load(lane.times(column_v, WIDTH))
                    values.append(weight * (own + product - sums[u * TILE + v].get()))
            place = lane.times(lane.plus(before, low.index), TILE * TILE)
            second.add(lane.totals(values[:WIDTH]), place)
            second.add(lane.totals(values[WIDTH:]), lane.plus(place, WIDTH))


@njit(nogil=True, error_model="numpy")
def _load(X, noise, start, end, size, x, seen, c, kind):
    """Put eight rows into lanes; past the end, the first of them again."""
    d = X.shape[1]
    for lane in range(WIDTH):
        i = start + lane if start + lane < end else start
        for j in range(d):
            known = not np.isnan(X[i, j])
            seen[j * WIDTH + lane] = 1.0 if known else 0.0
            x[j * WIDTH + lane] = X[i, j] if known else 0.0
            if kind == 1:
                c[j * WIDTH + lane] = noise[i, j] if known else 0.0
        if kind == 2:
            for j in range(d):
                for f in range(d):
                    known = seen[j * WIDTH + lane] > 0 and seen[f * WIDTH + lane] > 0
                    c[(j * size + f) * WIDTH + lane] = noise[i, j * d + f] if known else 0.0


@cache
def kernels(kind: NoiseKind) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return the compiled passes for such noise: moments, and log joint densities."""
    return _build(kind, _STAMP)


def _build(kind: int, stamp: str) -> tuple[Callable[..., None], Callable[..., None]]:
    width, margin, negligible = WIDTH, TILE, NEGLIGIBLE

    @lanes.kernel
    def expect(X, noise, w, begin, end, means, covariances, constants, models, mass, first, second, total):
        """Add the moments of rows begin … end for every model (components models[m] … models[m+1])."""
        if stamp == "":
            return
        size = means.shape[1]
        rows = size + margin
        x, seen = np.zeros(size * width), np.zeros(rows * width)
        c = np.zeros((1, size, rows * size)[kind] * width)
        lower, scaled = np.zeros(rows * rows // 2 * width), np.zeros(rows * rows // 2 * width)
        inverse, solution = np.zeros(size * width), np.zeros(size * width)
        work, deviations = np.zeros(size * size * width), np.zeros(size * width)
        joint = np.empty(len(constants) * width)
        weights = np.ones(width)
        for start in range(begin, end, width):
            _load(X, noise, start, end, size, x, seen, c, kind)
            for lane in range(width):
                inside = start + lane < end
                weights[lane] = (w[start + lane] if w.size else 1.0) if inside else 0.0
            for m in range(len(models) - 1):
                a = models[m]
                k = models[m + 1] - a
                for j in range(k):
                    own = joint[j * width :]
                    own[:width] = constants[a + j]
                    _decompose(
                        x, seen, c, means[a + j], covariances[a + j], lower, scaled, inverse, solution, own,
                        size, kind,
                    )  # fmt: skip
                responsibilities(joint, weights, k, total[m], width)
                for j in range(k):
                    r = joint[j * width : (j + 1) * width]
                    mass[a + j] += r.sum()
                    if r.max() > negligible:
                        scratch = np.zeros(width)
                        _decompose(
                            x, seen, c, means[a + j], covariances[a + j], lower, scaled, inverse, solution,
                            scratch, size, kind,
                        )  # fmt: skip
                        _expect(
                            seen, covariances[a + j], lower, inverse, solution, r, work, deviations,
                            first[a + j], second[a + j], size,
                        )  # fmt: skip

    @lanes.kernel
    def log_joint(X, noise, begin, end, means, covariances, constants, out):
        """Write the log joint densities of rows begin … end."""
        if stamp == "":
            return
        k, size = means.shape
        rows = size + margin
        x, seen = np.zeros(size * width), np.zeros(rows * width)
        c = np.zeros((1, size, rows * size)[kind] * width)
        lower, scaled = np.zeros(rows * rows // 2 * width), np.zeros(rows * rows // 2 * width)
        inverse, solution = np.zeros(size * width), np.zeros(size * width)
        own = np.empty(width)
        for start in range(begin, end, width):
            _load(X, noise, start, end, size, x, seen, c, kind)
            for j in range(k):
                own[:] = constants[j]
                _decompose(
                    x, seen, c, means[j], covariances[j], lower, scaled, inverse, solution, own, size, kind
                )
                for lane in range(min(width, end - start)):
                    out[start + lane, j] = own[lane]

    return expect, log_joint
