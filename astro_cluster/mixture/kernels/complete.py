"""Complete rows under full covariances: density and moments in one pass over a block.

The deviations x - mean are whitened by a triangular matrix, four components of z for 32 rows at
a time (16 vectors of sums that stay in registers), and the second moments are sums over the
block of 4 × 4 products of √r (x - mean).  Nothing is about a common centre, so nothing cancels
where clusters lie far from zero.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from astro_cluster.mixture.kernels import blocks, lanes
from astro_cluster.mixture.kernels.blocks import responsibilities
from astro_cluster.mixture.kernels.lanes import WIDTH, Lanes, Pointer, Vector

__all__ = ["BLOCK", "NEGLIGIBLE", "TILE", "add_first", "add_second", "kernels", "padded", "unpack_second"]

BLOCK = 128  # rows
TILE = 4
_RUN = 4 * WIDTH  # rows that one tile of z takes at a time
_SMALL = 2  # tiles of features, up to which loops are unrolled
# A block that adds less than this to a component changes no digit of a moment.
NEGLIGIBLE = 1e-20

_STAMP = lanes.source_stamp(lanes.SOURCE, blocks.SOURCE, __file__)


def padded(d: int) -> int:
    """Return the number of features, rounded up to whole tiles."""
    return -(-d // TILE) * TILE


def _deviations(lane: Lanes, x: Pointer, mean: Pointer, out: Pointer, tiles: Any, scale: Pointer) -> None:
    """Put √r (x - mean) of a block into ``out``."""
    with lane.loop(lane.times(tiles, TILE)) as feature:
        centre = mean.spread(feature.index)
        column = lane.times(feature.index, BLOCK)
        for group in range(BLOCK // WIDTH):
            place = lane.plus(column, group * WIDTH)
            out.store(scale.load(group * WIDTH) * (x.load(place) - centre), place)


@intrinsic(prefer_literal=True)
def _log_densities(
    typing: Any,
    x: Any,
    work: Any,
    whitening: Any,
    means: Any,
    constants: Any,
    k: Any,
    joint: Any,
    tiles: Any,
    small_: Any,
) -> Any:
    """Log joint densities of a block; ``small_`` is the number of tiles to unroll, or 0."""
    small = small_.literal_value

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lane = Lanes(context, builder)
        x_, work_, whitening_, means_, constants_ = (
            lane.pointer(signature.args[i], values[i]) for i in range(5)
        )
        joint_ = lane.pointer(signature.args[6], values[6])
        n_tiles = small or lane.integer(values[7])
        d = small * TILE if small else lane.times(n_tiles, TILE)
        with lane.loop(values[5]) as component:
            k_ = component.index
            mean = means_.at(lane.times(k_, d))
            matrix = whitening_.at(lane.times(k_, lane.times(d, d)))
            result = joint_.at(lane.times(k_, BLOCK))
            constant = constants_.spread(k_)
            with lane.loop(lane.integer(d)) as feature:
                centre = mean.spread(feature.index)
                column = lane.times(feature.index, BLOCK)
                for group in range(BLOCK // WIDTH):
                    place = lane.plus(column, group * WIDTH)
                    work_.store(x_.load(place) - centre, place)
            with lane.loop(BLOCK // _RUN) as run:
                first = lane.times(run.index, _RUN)
                squares = [lane.cell(lane.constant(0.0)) for _ in range(4)]
                if small:
                    for tile in range(small):
                        _whiten(lane, work_.at(first), matrix.at(tile * TILE * d), tile * TILE, d, squares)
                else:
                    with lane.loop(n_tiles) as tile:
                        above = lane.times(tile.index, TILE)
                        rows = matrix.at(lane.times(above, d))
                        _whiten(lane, work_.at(first), rows, above, d, squares)
                for v, square in enumerate(squares):
                    half = lane.constant(0.5) * square.get()
                    result.at(first).store(lane.clamped(constant - half), v * WIDTH)
        return context.get_dummy_value()

    return types.void(x, work, whitening, means, constants, k, joint, tiles, small_), generate


def _whiten(lane: Lanes, x: Pointer, rows: Pointer, above: Any, d: Any, squares: list[Any]) -> None:
    """Add the squares of four components of z, for 32 rows."""
    sums = [[lane.cell(lane.constant(0.0)) for _ in range(4)] for _ in range(TILE)]

    def column(feature: Any, members: range) -> None:
        values = [x.load(lane.plus(lane.times(feature, BLOCK), v * WIDTH)) for v in range(4)]
        for u in members:
            factor = rows.spread(lane.plus(lane.times(u, d), feature))
            for v in range(4):
                sums[u][v].add(factor * values[v])

    if isinstance(above, int):
        for feature in range(above):
            column(feature, range(TILE))
    else:
        with lane.loop(above) as feature:
            column(feature.index, range(TILE))
    for t in range(TILE):  # the triangle at the end of the four rows
        column(lane.plus(above, t), range(t, TILE))
    for u in range(TILE):
        for v in range(4):
            z = sums[u][v].get()
            squares[v].add(z * z)


@intrinsic(prefer_literal=True)
def _moments(
    typing: Any,
    x: Any,
    work: Any,
    means: Any,
    k: Any,
    joint: Any,
    mass: Any,
    first: Any,
    second: Any,
    tiles: Any,
) -> Any:
    """Add the moments of a block; ``joint`` holds responsibilities and is used up."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lane = Lanes(context, builder)
        x_, work_, means_ = (lane.pointer(signature.args[i], values[i]) for i in range(3))
        joint_, mass_, first_, second_ = (lane.pointer(signature.args[i], values[i]) for i in range(4, 8))
        n_tiles = lane.integer(values[8])
        d = lane.times(n_tiles, TILE)
        per_component = lane.times(lane.over(lane.times(n_tiles, lane.plus(n_tiles, 1)), 2), TILE * TILE)
        with lane.loop(values[3]) as component:
            k_ = component.index
            r = joint_.at(lane.times(k_, BLOCK))
            total = r.load()
            for group in range(1, BLOCK // WIDTH):
                total = total + r.load(group * WIDTH)
            responsibility = lane.total(total)
            mass_.add_scalar(responsibility, k_)
            with lane.when_above(responsibility, NEGLIGIBLE):
                for group in range(BLOCK // WIDTH):
                    r.store(lane.sqrt(r.load(group * WIDTH)), group * WIDTH)
                _deviations(lane, x_, means_.at(lane.times(k_, d)), work_, n_tiles, r)
                add_first(lane, work_, r, first_.at(lane.times(k_, d)), n_tiles)
                add_second(lane, work_, second_.at(lane.times(k_, per_component)), n_tiles)
        return context.get_dummy_value()

    return types.void(x, work, means, k, joint, mass, first, second, tiles), generate


def add_first(lane: Lanes, y: Pointer, root: Pointer, out: Pointer, tiles: Any) -> None:
    """Add the sums of √r y over a block, y being √r (x - mean)."""
    with lane.loop(lane.times(tiles, TILE)) as feature:
        column = y.at(lane.times(feature.index, BLOCK))
        total = root.load() * column.load()
        for group in range(1, BLOCK // WIDTH):
            total = total + root.load(group * WIDTH) * column.load(group * WIDTH)
        out.add_scalar(lane.total(total), feature.index)


def add_second(lane: Lanes, y: Pointer, out: Pointer, tiles: Any) -> None:
    """Add the products of y over a block, in tiles of the lower triangle."""
    with lane.loop(tiles) as high:
        left = y.at(lane.times(high.index, TILE * BLOCK))
        # Tiles of the lower triangle one after another: before row h lie h (h + 1) / 2.
        row = lane.over(lane.times(high.index, lane.plus(high.index, 1)), 2)
        with lane.loop(lane.plus(high.index, 1)) as low:
            right = y.at(lane.times(low.index, TILE * BLOCK))
            sums = [lane.cell(lane.constant(0.0)) for _ in range(TILE * TILE)]
            with lane.loop(BLOCK // WIDTH) as group:
                offset = lane.times(group.index, WIDTH)
                columns = [right.load(lane.plus(offset, v * BLOCK)) for v in range(TILE)]
                for u in range(TILE):
                    value = left.load(lane.plus(offset, u * BLOCK))
                    for v in range(TILE):
                        sums[u * TILE + v].add(value * columns[v])
            place = lane.times(lane.plus(row, low.index), TILE * TILE)
            values: list[Vector] = [cell.get() for cell in sums]
            out.add(lane.totals(values[:WIDTH]), place)
            out.add(lane.totals(values[WIDTH:]), lane.plus(place, WIDTH))


def unpack_second(tiled: np.ndarray, d: int) -> np.ndarray:
    """Return the second moments as matrices.

    Parameters
    ----------
    tiled : (k, t, 16) array
        Tiles of the lower triangle.
    d : int
        Number of features.

    Returns
    -------
    (k, d, d) array
    """
    n = padded(d) // TILE
    full = np.zeros((len(tiled), n, TILE, n, TILE))
    high, low = np.tril_indices(n)
    full[:, high, :, low, :] = np.moveaxis(tiled.reshape(len(tiled), -1, TILE, TILE), 1, 0)
    full = full.reshape(len(tiled), n * TILE, n * TILE)[:, :d, :d]
    lower = np.tril(full)
    return lower + np.swapaxes(np.tril(full, -1), 1, 2)


@cache
def kernels(d: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return the compiled passes for d features: moments, and log joint densities.

    Up to eight features have their own unrolled form; above, one form serves all.
    """
    tiles = padded(d) // TILE
    return _build(tiles if tiles <= _SMALL else 0, _STAMP)


@cache
def _build(small: int, stamp: str) -> tuple[Callable[..., None], Callable[..., None]]:
    block = BLOCK

    @lanes.kernel
    def expect(X, w, begin, end, whitening, means, constants, models, joint, mass, first, second, total):
        """Add the moments of rows begin … end for every model (components models[m] … models[m+1])."""
        if stamp == "":  # the stamp is part of the key under which this is cached on disk
            return
        d = X.shape[1]
        size = means.shape[1]
        tiles = size // 4
        x = np.zeros(size * block)
        work = np.empty(size * block)
        weights = np.ones(block)
        per_component = second.shape[1]
        flat_whitening = whitening.reshape(-1)
        flat_means = means.reshape(-1)
        flat_first = first.reshape(-1)
        flat_second = second.reshape(-1)
        for start in range(begin, end, block):
            n = min(block, end - start)
            for i in range(n):
                for j in range(d):
                    x[j * block + i] = X[start + i, j]
            if w.size:
                for i in range(n):
                    weights[i] = w[start + i]
            if n < block:
                for i in range(n, block):
                    weights[i] = 0.0
                    for j in range(d):
                        x[j * block + i] = X[start, j]
            for m in range(len(models) - 1):
                a = models[m]
                k = models[m + 1] - a
                mean = flat_means[a * size :]
                _log_densities(
                    x, work, flat_whitening[a * size * size :], mean, constants[a:], k, joint, tiles, small
                )
                responsibilities(joint, weights, k, total[m], block)
                _moments(
                    x,
                    work,
                    mean,
                    k,
                    joint,
                    mass[a:],
                    flat_first[a * size :],
                    flat_second[a * per_component :],
                    tiles,
                )

    @lanes.kernel
    def log_joint(X, begin, end, whitening, means, constants, joint, out):
        """Write the log joint densities of rows begin … end."""
        if stamp == "":
            return
        d = X.shape[1]
        k, size = means.shape
        tiles = size // 4
        x = np.zeros(size * block)
        work = np.empty(size * block)
        for start in range(begin, end, block):
            n = min(block, end - start)
            for i in range(n):
                for j in range(d):
                    x[j * block + i] = X[start + i, j]
            _log_densities(
                x, work, whitening.reshape(-1), means.reshape(-1), constants, k, joint, tiles, small
            )
            for i in range(n):
                for c in range(k):
                    out[start + i, c] = joint[c * block + i]

    return expect, log_joint
