"""Many features, each row with holes of its own: the arithmetic is in the holes, a row a lane.

With P the precision matrix of a component, d = x - mean (0 where missing) and r = P d, what is
observed has the quadratic form d'r - r_m' P_mm^-1 r_m and the log determinant
log|V| + log|P_mm|; the missing part is expected at mean - P_mm^-1 r_m with the covariance P_mm^-1
(Ghahramani & Jordan 1994, NIPS 6, 120).  So only the matrix of the missing features is
decomposed, which is small where little is missing; its elements are gathered from P for
eight rows at a time, and the rest is the same work as for complete rows.

Digits are lost where features nearly determine each other (the form is a difference); such
components belong to `wide`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numba.core import types
from numba.extending import intrinsic

from astro_cluster.mixture.kernels import blocks, complete, lanes
from astro_cluster.mixture.kernels.blocks import responsibilities
from astro_cluster.mixture.kernels.complete import BLOCK, NEGLIGIBLE, TILE
from astro_cluster.mixture.kernels.lanes import WIDTH, Lanes

__all__ = ["kernels"]

_LOG_2PI = float(np.log(2 * np.pi))
_STAMP = lanes.source_stamp(lanes.SOURCE, blocks.SOURCE, complete.__file__, __file__)


@intrinsic(prefer_literal=True)
def _pull(
    typing: Any, x: Any, seen: Any, mean: Any, precision: Any, deviations: Any, pulled: Any, form: Any, d: Any
) -> Any:
    """R = P d and d'r of a block; ``deviations`` get d, ``pulled`` r, ``form`` the sums."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lane = Lanes(context, builder)
        x_, seen_, mean_, precision_, deviations_, pulled_, form_ = (
            lane.pointer(signature.args[i], values[i]) for i in range(7)
        )
        d_ = lane.integer(values[7])
        with lane.loop(d_) as feature:
            centre = mean_.spread(feature.index)
            column = lane.times(feature.index, BLOCK)
            for group in range(BLOCK // WIDTH):
                place = lane.plus(column, group * WIDTH)
                deviations_.store((x_.load(place) - centre) * seen_.load(place), place)
        with lane.loop(BLOCK // (4 * WIDTH)) as run:
            first = lane.times(run.index, 4 * WIDTH)
            own, out = deviations_.at(first), pulled_.at(first)
            totals = [lane.cell(lane.constant(0.0)) for _ in range(4)]
            with lane.loop(lane.over(d_, TILE)) as tile:
                top = lane.times(tile.index, TILE)
                rows = precision_.at(lane.times(top, d_))
                sums = [[lane.cell(lane.constant(0.0)) for _ in range(4)] for _ in range(TILE)]
                with lane.loop(d_) as feature:
                    column = lane.times(feature.index, BLOCK)
                    values_ = [own.load(lane.plus(column, v * WIDTH)) for v in range(4)]
                    for u in range(TILE):
                        factor = rows.spread(lane.plus(lane.times(u, d_), feature.index))
                        for v in range(4):
                            sums[u][v].add(factor * values_[v])
                for u in range(TILE):
                    column = lane.times(lane.plus(top, u), BLOCK)
                    for v in range(4):
                        place = lane.plus(column, v * WIDTH)
                        out.store(sums[u][v].get(), place)
                        totals[v].add(sums[u][v].get() * own.load(place))
            for v, total in enumerate(totals):
                form_.at(first).store(total.get(), v * WIDTH)
        return context.get_dummy_value()

    return types.void(x, seen, mean, precision, deviations, pulled, form, d), generate


@intrinsic(prefer_literal=True)
def _decompose(typing: Any, matrix: Any, inverse: Any, log_determinant: Any, m: Any) -> Any:
    """L D L' of eight m × m matrices (packed lower triangles) in place; L times D is not kept."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lane = Lanes(context, builder)
        matrix_, inverse_, log_ = (lane.pointer(signature.args[i], values[i]) for i in range(3))
        one = lane.constant(1.0)
        with lane.loop(values[3]) as row:
            i = row.index
            row_i = matrix_.at(lane.times(_row(lane, i), WIDTH))
            pivot = lane.cell(row_i.load(lane.times(i, WIDTH)))
            # Left to right: the element of L D, then of L, whose product is taken off the pivot.
            with lane.loop(i) as column:
                j = column.index
                at_j = lane.times(j, WIDTH)
                row_j = matrix_.at(lane.times(_row(lane, j), WIDTH))
                s = lane.cell(row_i.load(at_j))
                with lane.loop(j) as before:
                    q = lane.times(before.index, WIDTH)
                    # What stands to the left in row i is L D still, in row j it is L.
                    s.set(s.get() - row_i.load(q) * row_j.load(q))
                row_i.store(s.get(), at_j)
            with lane.loop(i) as column:
                at_j = lane.times(column.index, WIDTH)
                scaled = row_i.load(at_j)
                factor = scaled * inverse_.load(at_j)
                pivot.set(pivot.get() - scaled * factor)
                row_i.store(factor, at_j)
            inverse_.store(one / pivot.get(), lane.times(i, WIDTH))
            log_.add(lane.log(pivot.get()))
        return context.get_dummy_value()

    return types.void(matrix, inverse, log_determinant, m), generate


def _row(lane: Lanes, i: Any) -> Any:
    """Return where row i of a packed lower triangle begins."""
    return lane.over(lane.times(i, lane.plus(i, 1)), 2)


@intrinsic(prefer_literal=True)
def _solve(typing: Any, lower: Any, inverse: Any, right: Any, form: Any, m: Any) -> Any:
    """Replace r by -P_mm^-1 r and take r' P_mm^-1 r off ``form``."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lane = Lanes(context, builder)
        lower_, inverse_, right_, form_ = (lane.pointer(signature.args[i], values[i]) for i in range(4))
        m_ = lane.integer(values[4])
        total = lane.cell(form_.load())
        with lane.loop(m_) as row:
            at_i = lane.times(row.index, WIDTH)
            own = lower_.at(lane.times(_row(lane, row.index), WIDTH))
            y = lane.cell(right_.load(at_i))
            with lane.loop(row.index) as before:
                q = lane.times(before.index, WIDTH)
                y.set(y.get() - own.load(q) * right_.load(q))
            right_.store(y.get(), at_i)
            total.set(total.get() - y.get() * (y.get() * inverse_.load(at_i)))
        form_.store(total.get())
        with lane.loop(m_) as back:
            i = builder.sub(builder.sub(m_, back.index), lane.integer(1))
            at_i = lane.times(i, WIDTH)
            e = lane.cell(lane.constant(0.0) - right_.load(at_i) * inverse_.load(at_i))
            with lane.loop(back.index) as after:
                q = lane.plus(lane.plus(i, 1), after.index)
                factor = lower_.load(lane.times(lane.plus(_row(lane, q), i), WIDTH))
                e.set(e.get() - factor * right_.load(lane.times(q, WIDTH)))
            right_.store(e.get(), at_i)
        return context.get_dummy_value()

    return types.void(lower, inverse, right, form, m), generate


@intrinsic(prefer_literal=True)
def _invert(typing: Any, lower: Any, inverse: Any, r: Any, out: Any, m: Any) -> Any:
    """Put r P_mm^-1 into ``out`` (packed lower triangles); ``lower`` is used up."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lane = Lanes(context, builder)
        lower_, inverse_, r_, out_ = (lane.pointer(signature.args[i], values[i]) for i in range(4))
        m_ = lane.integer(values[4])
        zero, one = lane.constant(0.0), lane.constant(1.0)
        weight = r_.load()
        # L^-1 in the place of L, whose diagonal becomes 1.
        with lane.loop(m_) as row:
            i = row.index
            own = lower_.at(lane.times(_row(lane, i), WIDTH))
            with lane.loop(i) as column:
                j = column.index
                at_j = lane.times(j, WIDTH)
                s = lane.cell(zero - own.load(at_j))
                with lane.loop(builder.sub(builder.sub(i, j), lane.integer(1))) as between:
                    q = lane.plus(lane.plus(j, 1), between.index)
                    above = lower_.load(lane.times(lane.plus(_row(lane, q), j), WIDTH))
                    s.set(s.get() - own.load(lane.times(q, WIDTH)) * above)
                own.store(s.get(), at_j)
            own.store(one, lane.times(i, WIDTH))
        with lane.loop(m_) as row:
            i = row.index
            with lane.loop(lane.plus(i, 1)) as column:
                j = column.index
                s = lane.cell(zero)
                with lane.loop(builder.sub(m_, i)) as below:
                    q = lane.plus(i, below.index)
                    start = lower_.at(lane.times(_row(lane, q), WIDTH))
                    left, right = start.load(lane.times(i, WIDTH)), start.load(lane.times(j, WIDTH))
                    s.add(left * (right * inverse_.load(lane.times(q, WIDTH))))
                out_.store(weight * s.get(), lane.times(lane.plus(_row(lane, i), j), WIDTH))
        return context.get_dummy_value()

    return types.void(lower, inverse, r, out, m), generate


@intrinsic(prefer_literal=True)
def _finish(typing: Any, form: Any, log_determinant: Any, constant: Any, joint: Any) -> Any:
    """Log joint densities of eight rows from what was found."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lane = Lanes(context, builder)
        form_, log_, joint_ = (lane.pointer(signature.args[i], values[i]) for i in (0, 1, 3))
        constant_ = lane.pointer(signature.args[2], values[2]).spread()
        # Differences may fall below zero by rounding.
        distance = lane.maximum(form_.load(), lane.constant(0.0))
        joint_.store(lane.clamped(constant_ - lane.constant(0.5) * (distance + log_.load())))
        return context.get_dummy_value()

    return types.void(form, log_determinant, constant, joint), generate


@intrinsic(prefer_literal=True)
def _add_moments(typing: Any, deviations: Any, root: Any, first: Any, second: Any, tiles: Any) -> Any:
    """Scale a block's deviations by √r and add their sums and products."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lane = Lanes(context, builder)
        deviations_, root_, first_, second_ = (lane.pointer(signature.args[i], values[i]) for i in range(4))
        n_tiles = lane.integer(values[4])
        with lane.loop(lane.times(n_tiles, TILE)) as feature:
            column = deviations_.at(lane.times(feature.index, BLOCK))
            for group in range(BLOCK // WIDTH):
                column.store(column.load(group * WIDTH) * root_.load(group * WIDTH), group * WIDTH)
        complete.add_first(lane, deviations_, root_, first_, n_tiles)
        complete.add_second(lane, deviations_, second_, n_tiles)
        return context.get_dummy_value()

    return types.void(deviations, root, first, second, tiles), generate


@njit(nogil=True, error_model="numpy")
def _load(X, start, end, x, seen, missing, counts, observed):
    """Put a block of rows into lanes (past the end, its first row again); return the most holes."""
    most = 0
    for row in range(BLOCK):
        i = start + row if start + row < end else start
        m = 0
        for j in range(X.shape[1]):
            known = not np.isnan(X[i, j])
            x[j * BLOCK + row] = X[i, j] if known else 0.0
            seen[j * BLOCK + row] = 1.0 if known else 0.0
            if not known:
                missing[m * BLOCK + row] = j
                m += 1
        counts[row] = m
        observed[row] = _LOG_2PI * (X.shape[1] - m)
        most = max(most, m)
    return most


@njit(nogil=True, error_model="numpy")
def _gathered(precision, missing, counts, row, matrix):
    """Put P_mm of eight rows into lanes, padded by the unit matrix; return its size."""
    m = 0
    for lane in range(WIDTH):
        m = max(m, counts[row + lane])
    t = 0
    for i in range(m):
        for j in range(i + 1):
            for lane in range(WIDTH):
                inside = i < counts[row + lane]
                a = missing[i * BLOCK + row + lane] if inside else 0
                b = missing[j * BLOCK + row + lane] if inside else 0
                outside = 1.0 if i == j else 0.0
                matrix[t * WIDTH + lane] = precision[a, b] if inside else outside
            t += 1
    return m


@njit(nogil=True, error_model="numpy")
def _densities(
    x, seen, missing, counts, observed, mean, precision, constant, deviations, pulled, form, matrix,
    inverse, right, log, expected, joint,
):  # fmt: skip
    """Log joint densities of a block under one component, and the expected missing deviations."""
    _pull(x, seen, mean, precision, deviations, pulled, form, len(mean))
    for row in range(0, BLOCK, WIDTH):
        m = _gathered(precision, missing, counts, row, matrix)
        log[:] = observed[row : row + WIDTH]
        for j in range(m):
            for lane in range(WIDTH):
                inside = j < counts[row + lane]
                a = missing[j * BLOCK + row + lane] if inside else 0
                right[j * WIDTH + lane] = pulled[a * BLOCK + row + lane] if inside else 0.0
        _decompose(matrix, inverse, log, m)
        _solve(matrix, inverse, right, form[row:], m)
        _finish(form[row:], log, constant, joint[row:])
        for j in range(m):
            for lane in range(WIDTH):
                expected[j * BLOCK + row + lane] = right[j * WIDTH + lane]


@njit(nogil=True, error_model="numpy")
def _add_spread(precision, missing, counts, r, matrix, inverse, out, spread):
    """Add the covariances of the missing features of a block, times the responsibilities."""
    for row in range(0, BLOCK, WIDTH):
        if r[row : row + WIDTH].max() <= NEGLIGIBLE:
            continue
        m = _gathered(precision, missing, counts, row, matrix)
        out[:WIDTH] = 0.0
        _decompose(matrix, inverse, out, m)
        _invert(matrix, inverse, r[row:], out, m)
        for lane in range(WIDTH):
            for i in range(counts[row + lane]):
                a = missing[i * BLOCK + row + lane]
                start = i * (i + 1) // 2
                for j in range(i + 1):
                    spread[a, missing[j * BLOCK + row + lane]] += out[(start + j) * WIDTH + lane]


@cache
def kernels() -> tuple[Callable[..., None], Callable[..., None]]:
    """Return the compiled passes: moments, and log joint densities."""
    return _build(_STAMP)


def _build(stamp: str) -> tuple[Callable[..., None], Callable[..., None]]:
    block, width, negligible = BLOCK, WIDTH, NEGLIGIBLE

    @lanes.kernel
    def expect(X, w, begin, end, means, precisions, constants, models, mass, first, second, spread, total):
        """Add the moments of rows begin … end for every model (components models[m] … models[m+1])."""
        if stamp == "":
            return
        d = X.shape[1]
        size = means.shape[1]
        tiles = size // 4
        most_components = 0
        for m in range(len(models) - 1):
            most_components = max(most_components, models[m + 1] - models[m])
        x, seen = np.zeros(size * block), np.zeros(size * block)
        missing, counts = np.zeros(d * block, np.int64), np.zeros(block, np.int64)
        observed, form = np.empty(block), np.empty(block)
        deviations, pulled = np.empty(size * block), np.empty(size * block)
        packed = d * (d + 1) // 2 * width
        matrix, out = np.empty(packed), np.empty(packed)
        inverse, right, log = np.empty(d * width), np.empty(d * width), np.empty(width)
        expected = np.empty((most_components, d * block))
        joint = np.empty(most_components * block)
        weights, root = np.ones(block), np.empty(block)
        for start in range(begin, end, block):
            _load(X, start, end, x, seen, missing, counts, observed)
            for row in range(block):
                inside = start + row < end
                weights[row] = (w[start + row] if w.size else 1.0) if inside else 0.0
            for m in range(len(models) - 1):
                a = models[m]
                k = models[m + 1] - a
                for c in range(k):
                    _densities(
                        x, seen, missing, counts, observed, means[a + c], precisions[a + c],
                        constants[a + c : a + c + 1], deviations, pulled, form, matrix, inverse, right, log,
                        expected[c], joint[c * block :],
                    )  # fmt: skip
                responsibilities(joint, weights, k, total[m], block)
                for c in range(k):
                    r = joint[c * block : (c + 1) * block]
                    responsibility = r.sum()
                    mass[a + c] += responsibility
                    if responsibility <= negligible:
                        continue
                    for j in range(d):
                        centre = means[a + c, j]
                        for row in range(block):
                            place = j * block + row
                            deviations[place] = (x[place] - centre) * seen[place]
                    for row in range(block):
                        root[row] = np.sqrt(r[row])
                        for j in range(counts[row]):
                            place = missing[j * block + row] * block + row
                            deviations[place] = expected[c, j * block + row]
                    deviations[d * block :] = 0.0
                    _add_moments(deviations, root, first[a + c], second[a + c], tiles)
                    _add_spread(precisions[a + c], missing, counts, r, matrix, inverse, out, spread[a + c])

    @lanes.kernel
    def log_joint(X, begin, end, means, precisions, constants, result):
        """Write the log joint densities of rows begin … end."""
        if stamp == "":
            return
        d = X.shape[1]
        k, size = means.shape
        x, seen = np.zeros(size * block), np.zeros(size * block)
        missing, counts = np.zeros(d * block, np.int64), np.zeros(block, np.int64)
        observed, form = np.empty(block), np.empty(block)
        deviations, pulled = np.empty(size * block), np.empty(size * block)
        matrix = np.empty(d * (d + 1) // 2 * width)
        inverse, right, log = np.empty(d * width), np.empty(d * width), np.empty(width)
        expected, joint = np.empty(d * block), np.empty(block)
        for start in range(begin, end, block):
            _load(X, start, end, x, seen, missing, counts, observed)
            for c in range(k):
                _densities(
                    x, seen, missing, counts, observed, means[c], precisions[c], constants[c : c + 1],
                    deviations, pulled, form, matrix, inverse, right, log, expected, joint,
                )  # fmt: skip
                for row in range(min(block, end - start)):
                    result[start + row, c] = joint[row]

    return expect, log_joint
