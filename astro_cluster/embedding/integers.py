"""Scalar products of rows of bytes, exact, at the speed of the processor's 8-bit instructions.

The distance of two images does not change if 128 is taken from every pixel, and then a pixel fits
a signed byte.  Products of signed and unsigned bytes, four at a time, are one instruction of
most processors since about 2019 (VNNI); products of 16-bit numbers, two at a time, of those since
2013 (AVX2).  Where neither is there, single precision does it, in pieces of so few columns
that every partial sum is an integer that single precision holds exactly.  All ways give the same
integers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core import config as numba_config
from numba.extending import intrinsic

from astro_cluster.mixture.kernels import lanes
from astro_cluster.threads import available_threads, run_all

__all__ = ["WAYS", "Way", "best_way", "shifted_products"]

COLUMNS = 4096  # of both factors that are in the cache at a time
EXACT_IN_SINGLE = 1024  # columns: 128² × 1024 is 2²⁴, up to which single precision has every integer
_GROUP = 8  # panels that stay in the cache while all others pass by
_TASKS = 32  # pieces of work, whatever the number of threads

_INT8, _INT16, _INT32, _INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_STAMP = lanes.source_stamp(lanes.SOURCE, __file__)


@dataclass(frozen=True)
class Way:
    """A way to multiply bytes.

    Attributes
    ----------
    name : str
        Its name.
    needs : str
        What the processor must have, as LLVM calls it.
    lanes : int
        32-bit sums in a register.
    tile : int
        Rows of either factor that are multiplied at a time: their products fill the registers.
    wide : bool
        Whether the bytes are kept as 16-bit numbers.
    """

    name: str
    needs: str
    lanes: int
    tile: int
    wide: bool

    @property
    def step(self) -> int:
        """Columns that one register holds."""
        return self.lanes * (2 if self.wide else 4)


WAYS = (
    Way("avx512vnni", "avx512vnni", 16, 5, False),
    Way("avxvnni", "avxvnni", 8, 3, False),
    Way("avx2", "avx2", 8, 3, True),
)


@cache
def usable_ways() -> tuple[Way, ...]:
    """Return the ways that the processor knows, best first; none if Numba is told to build for another.

    Returns
    -------
    tuple of Way
    """
    if numba_config.CPU_NAME or numba_config.CPU_FEATURES or numba_config.DISABLE_JIT:
        return ()
    from llvmlite import binding

    try:
        features = binding.get_host_cpu_features()
    except RuntimeError:  # not known for this kind of processor
        return ()
    return tuple(way for way in WAYS if features.get(way.needs))


def best_way() -> Way | None:
    """Return the fastest way to multiply bytes here, or None for single precision.

    Returns
    -------
    Way or None
    """
    ways = usable_ways()
    return ways[0] if ways else None


def _multiply_add(builder: ir.IRBuilder, way: Way, total: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    """Emit what adds the products of two registers to the sums."""
    sums = ir.VectorType(_INT32, way.lanes)
    if not way.wide:
        name = f"llvm.x86.avx512.vpdpbusd.{32 * way.lanes}"
        signature = ir.FunctionType(sums, [sums, sums, sums])
        return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), [total, a, b])
    halves = ir.VectorType(_INT16, 2 * way.lanes)
    signature = ir.FunctionType(sums, [halves, halves])
    function = cgutils.get_or_insert_function(builder.module, signature, "llvm.x86.avx2.pmadd.wd")
    pairs = builder.call(function, [builder.bitcast(a, halves), builder.bitcast(b, halves)])
    return builder.add(total, pairs)


@intrinsic(prefer_literal=True)
def _tile(typing: Any, a: Any, b: Any, steps: Any, out: Any, number: Any) -> Any:
    """Write the products of the rows of one panel with those of another to ``out``."""
    way = WAYS[number.literal_value]

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        first, second, found = (
            context.make_array(signature.args[i])(context, builder, values[i]).data for i in (0, 1, 3)
        )
        sums = ir.VectorType(_INT32, way.lanes)
        size = 4 * way.lanes // (2 if way.wide else 1)  # elements of a panel in a register
        zero = ir.Constant(sums, [ir.Constant(_INT32, 0)] * way.lanes)
        # One factor of VNNI is unsigned: with the sign bits turned over, x - 128 is x again.
        flip = ir.Constant(sums, [ir.Constant(_INT32, -0x7F7F7F80)] * way.lanes)
        cells = [[cgutils.alloca_once(builder, sums) for _ in range(way.tile)] for _ in range(way.tile)]
        for row in cells:
            for cell in row:
                builder.store(zero, cell)

        def load(pointer: ir.Value, step: ir.Value, row: int) -> ir.Value:
            place = builder.add(step, ir.Constant(_INT64, size * row))
            value = builder.load(builder.bitcast(builder.gep(pointer, [place]), sums.as_pointer()))
            value.align = 1
            return value

        with cgutils.for_range(builder, values[2], intp=_INT64) as loop:
            step = builder.mul(loop.index, ir.Constant(_INT64, size * way.tile))
            left = [load(first, step, row) for row in range(way.tile)]
            if not way.wide:
                left = [builder.xor(value, flip) for value in left]
            for column in range(way.tile):
                right = load(second, step, column)
                for row in range(way.tile):
                    cell = cells[row][column]
                    builder.store(_multiply_add(builder, way, builder.load(cell), left[row], right), cell)
        total = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_INT32, [sums]), f"llvm.vector.reduce.add.v{way.lanes}i32"
        )
        for row in range(way.tile):
            for column in range(way.tile):
                place = builder.gep(found, [ir.Constant(_INT64, row * way.tile + column)])
                builder.store(builder.call(total, [builder.load(cells[row][column])]), place)
        return context.get_dummy_value()

    return types.void(a, b, steps, out, number), generate


@cache
def _kernels(way: Way) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return the compiled functions of a way: what packs rows, and what multiplies packed rows."""
    return _build(WAYS.index(way), way.tile, way.step, way.wide, _STAMP)


def _build(number: int, tile: int, step: int, wide: bool, stamp: str) -> tuple[Callable[..., None], ...]:
    group = _GROUP

    @lanes.kernel
    def pack(X, begin, end, panels, first, last, sums):  # noqa: ANN001, ANN202
        """Put columns begin … end of panels of rows side by side, less 128; add them up in ``sums``."""
        if stamp == "":
            return
        n = X.shape[0]
        width = end - begin
        steps = panels.shape[1] // (step * tile)
        for panel in range(first, last):
            for row in range(tile):
                i = panel * tile + row
                if i >= n:  # the last panel is filled up with nothing
                    for s in range(steps):
                        panels[panel, (s * tile + row) * step : (s * tile + row + 1) * step] = 0
                    continue
                x = X[i]
                total = 0
                for s in range(steps):
                    at = (s * tile + row) * step
                    here = begin + s * step
                    part = np.uint32(0)
                    if here + step <= end:
                        for c in range(step):
                            value = x[here + c]
                            part += np.uint32(value)
                            if wide:
                                panels[panel, at + c] = np.int16(value) - np.int16(128)
                            else:
                                panels[panel, at + c] = np.int8(value ^ np.uint8(128))
                    else:
                        for c in range(step):
                            if here + c < end:
                                part += np.uint32(x[here + c])
                                panels[panel, at + c] = np.int16(x[here + c]) - np.int16(128)
                            else:
                                panels[panel, at + c] = 0
                    total += np.int64(part)
                sums[i] += total - 128 * width

    @lanes.kernel
    def multiply(A, B, first, last, same, products):  # noqa: ANN001, ANN202
        """Add the products of panels first … last of A with those of B; with the later ones if both are one.

        A group of panels of A stays in the cache while those of B pass by.
        """
        if stamp == "":
            return
        steps = A.shape[1] // (step * tile)
        found = np.empty(tile * tile, np.int32)
        for start in range(first, last, group):
            stop = min(last, start + group)
            for q in range(start if same else 0, B.shape[0]):
                for p in range(start, min(stop, q + 1) if same else stop):
                    _tile(A[p], B[q], steps, found, number)
                    for row in range(tile):
                        for column in range(tile):
                            products[p * tile + row, q * tile + column] += found[row * tile + column]

    return pack, multiply


class _Panels:
    """Rows, a few columns at a time, as the kernels read them."""

    def __init__(self, rows: np.ndarray, way: Way, columns: int, n_threads: int) -> None:
        self.rows = rows
        self.way = way
        self.n_threads = n_threads
        self.n = -(-len(rows) // way.tile)
        dtype = np.int16 if way.wide else np.int8
        self.values = np.empty((self.n, columns * way.tile), dtype)
        self.sums = np.zeros(self.n * way.tile, np.int64)

    def take(self, begin: int, end: int) -> None:
        """Take these columns."""
        pack, _ = _kernels(self.way)
        rows = self.rows
        if not (rows.flags.c_contiguous and rows.flags.writeable):
            # For Numba these would be other kinds of arrays, with functions to be compiled for them.
            rows = rows[:, begin:end].copy()
            begin, end = 0, end - begin
        edges = np.linspace(0, self.n, min(self.n, _TASKS) + 1).astype(int)
        tasks = [
            partial(pack, rows, begin, end, self.values, a, b, self.sums) for a, b in pairwise(edges.tolist())
        ]
        run_all(tasks, self.n_threads)


def _edges(n: int, *, triangle: bool) -> list[int]:
    """Return where to cut panels into pieces of equal work: all their products, or half of them."""
    parts = np.linspace(0, 1, min(n, _TASKS) + 1)
    edges = np.round(n * (1 - np.sqrt(1 - parts) if triangle else parts)).astype(int)
    return np.unique(edges).tolist()


def _compiled(A: np.ndarray, B: np.ndarray, way: Way, n_threads: int) -> np.ndarray:
    same = B is A
    columns = min(COLUMNS, -(-A.shape[1] // way.step) * way.step)
    first = _Panels(A, way, columns, n_threads)
    second = first if same else _Panels(B, way, columns, n_threads)
    products = np.zeros((first.n * way.tile, second.n * way.tile), np.int64)
    edges = _edges(first.n, triangle=same)
    _, multiply = _kernels(way)
    for begin in range(0, A.shape[1], columns):
        end = min(begin + columns, A.shape[1])
        for panels in (first,) if same else (first, second):
            panels.take(begin, end)
        tasks = [
            partial(multiply, first.values, second.values, a, b, same, products) for a, b in pairwise(edges)
        ]
        run_all(tasks, n_threads)
    if not way.wide:  # the unsigned factor was 128 too great
        products -= 128 * second.sums
    return products[: len(A), : len(B)]


def _single(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    products = np.zeros((len(A), len(B)))
    for begin in range(0, A.shape[1], EXACT_IN_SINGLE):
        columns = slice(begin, begin + EXACT_IN_SINGLE)
        first = A[:, columns].astype(np.float32) - np.float32(128)
        second = first if B is A else B[:, columns].astype(np.float32) - np.float32(128)
        products += first @ second.T
    return products.astype(np.int64)


def shifted_products(
    A: np.ndarray,
    B: np.ndarray | None = None,
    *,
    way: Way | str | None = "best",
    n_threads: int | None = None,
) -> np.ndarray:
    """Return the scalar products of rows of bytes, from each of which 128 is taken: exact integers.

    Parameters
    ----------
    A : (m, d) array of uint8
        Rows, at most 5 × 10¹⁴ columns; a memory map will do.
    B : (n, d) array of uint8, optional
        Other rows; by default those of A, of whose products only half are computed then.
    way : Way, "best" or None, optional
        How; None is single precision.
    n_threads : int, optional
        Number of threads; by default all.  The result does not depend on it.

    Returns
    -------
    (m, n) array of int64

    Examples
    --------
    >>> import numpy as np
    >>> shifted_products(np.array([[128, 130], [0, 128]], dtype=np.uint8))
    array([[    4,     0],
           [    0, 16384]])
    """
    other = A if B is None else B
    if way == "best":
        way = best_way()
    if not isinstance(way, Way):
        return _single(A, other)
    products = _compiled(A, other, way, n_threads or available_threads())
    if other is A:  # what was computed is above the diagonal, by panels
        for begin in range(0, len(A), 256):
            end = begin + 256
            below = np.tril_indices(min(end, len(A)) - begin, -1)
            products[begin:end, begin:end][below] = products[begin:end, begin:end].T[below]
            products[end:, begin:end] = products[begin:end, end:].T
    return products
