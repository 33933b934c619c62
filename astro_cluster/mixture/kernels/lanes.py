"""Vectors of eight doubles for Numba: kernels written in Python, emitted as LLVM code.

Numba leaves it to LLVM to find the vector form of a loop, which it does not for the loops of a
mixture.  Here the vectors are explicit: an intrinsic is a Python function that draws up the
arithmetic with `Vector` objects, whose operators emit instructions on eight lanes.  LLVM maps
eight lanes to whatever the user's processor has (AVX-512, AVX2, NEON), so no compiler is needed
and nothing is built for the oldest processor.

A row of data is a lane.  A missing value is a mask on a lane.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from llvmlite import ir
from numba import njit
from numba.core import cgutils

__all__ = ["LOWEST", "SOURCE", "WIDTH", "Cell", "Lanes", "Pointer", "Vector", "kernel", "source_stamp"]

WIDTH = 8
LOWEST = -1e300  # a log density; beyond, nothing could be told apart

_DOUBLE = ir.DoubleType()
_INT32 = ir.IntType(32)
_INT64 = ir.IntType(64)
_VECTOR = ir.VectorType(_DOUBLE, WIDTH)
_INTS = ir.VectorType(_INT64, WIDTH)
_SHORT_INTS = ir.VectorType(_INT32, WIDTH)

# All that lets multiplications and additions be fused and reordered, but nothing that assumes
# that there are no NaN, as fastmath=True would.
_FLAGS = ("contract", "reassoc", "nsz", "arcp")

# Coefficients of log(1 + f) in z = (f / (2 + f))**2: the odd series of atanh, economized (the
# minimax fit used by every C library since SunPro's of 1993).
_LOG_COEFFICIENTS = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)
# log(2) in two parts, the first exact in 32 bits (Cody & Waite 1980).
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10


def source_stamp(*paths: str) -> str:
    """Return a stamp of source files, for the keys of kernels cached on disk.

    Numba looks at the file of the compiled function alone; a change of what that function was
    drawn up with would go unnoticed.

    Parameters
    ----------
    *paths : str
        Source files.

    Returns
    -------
    str
    """
    return hashlib.sha256(b"".join(Path(path).read_bytes() for path in paths)).hexdigest()[:16]


SOURCE = __file__


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function, and keep it on disk where there is a folder for it.

    Its closure is part of the key of the cache.  Numbers and text may stand there, but no
    intrinsics or compiled functions, to which Numba gives another name in each process.

    Parameters
    ----------
    function : callable
        What Numba understands.

    Returns
    -------
    callable
    """
    try:
        return njit(function, nogil=True, error_model="numpy", cache=True)
    except RuntimeError:  # no folder can be written to: compiled anew in each process
        return njit(function, nogil=True, error_model="numpy")


class Vector:
    """Eight doubles that a kernel computes with.

    Parameters
    ----------
    lanes : Lanes
        Where instructions go.
    value : llvmlite value
        What they give.
    """

    __slots__ = ("lanes", "value")

    def __init__(self, lanes: Lanes, value: ir.Value) -> None:
        self.lanes = lanes
        self.value = value

    def __add__(self, other: Vector) -> Vector:
        """Emit a sum."""
        return Vector(self.lanes, self.lanes.builder.fadd(self.value, other.value, flags=_FLAGS))

    def __sub__(self, other: Vector) -> Vector:
        """Emit a difference."""
        return Vector(self.lanes, self.lanes.builder.fsub(self.value, other.value, flags=_FLAGS))

    def __mul__(self, other: Vector) -> Vector:
        """Emit a product."""
        return Vector(self.lanes, self.lanes.builder.fmul(self.value, other.value, flags=_FLAGS))

    def __truediv__(self, other: Vector) -> Vector:
        """Emit a quotient."""
        return Vector(self.lanes, self.lanes.builder.fdiv(self.value, other.value, flags=_FLAGS))


class Cell:
    """A vector that changes within a loop; LLVM keeps it in a register.

    Parameters
    ----------
    lanes : Lanes
        Where instructions go.
    start : Vector
        First value.
    """

    __slots__ = ("lanes", "slot")

    def __init__(self, lanes: Lanes, start: Vector) -> None:
        self.lanes = lanes
        self.slot = cgutils.alloca_once(lanes.builder, _VECTOR)
        self.set(start)

    def get(self) -> Vector:
        """Return the value."""
        return Vector(self.lanes, self.lanes.builder.load(self.slot))

    def set(self, value: Vector) -> None:
        """Replace the value."""
        self.lanes.builder.store(value.value, self.slot)

    def add(self, value: Vector) -> None:
        """Add to the value."""
        self.set(self.get() + value)


class Pointer:
    """A place in a one-dimensional contiguous array of doubles.

    Offsets are counted in doubles; they are Python integers or 64-bit values.

    Parameters
    ----------
    lanes : Lanes
        Where instructions go.
    base : llvmlite value
        Address of the array.
    offset : llvmlite value, optional
        Place within.
    """

    __slots__ = ("base", "lanes", "offset")

    def __init__(self, lanes: Lanes, base: ir.Value, offset: ir.Value | None = None) -> None:
        self.lanes = lanes
        self.base = base
        self.offset = offset

    def _address(self, offset: int | ir.Value) -> ir.Value:
        place = self.lanes.integer(offset)
        if self.offset is not None:
            place = self.lanes.builder.add(self.offset, place)
        return self.lanes.builder.gep(self.base, [place])

    def _vector_address(self, offset: int | ir.Value) -> ir.Value:
        return self.lanes.builder.bitcast(self._address(offset), _VECTOR.as_pointer())

    def at(self, offset: int | ir.Value) -> Pointer:
        """Return the place that is this far on."""
        place = self.lanes.integer(offset)
        if self.offset is not None:
            place = self.lanes.builder.add(self.offset, place)
        return Pointer(self.lanes, self.base, place)

    def load(self, offset: int | ir.Value = 0) -> Vector:
        """Return the eight doubles there."""
        value = self.lanes.builder.load(self._vector_address(offset))
        value.align = 8
        return Vector(self.lanes, value)

    def store(self, vector: Vector, offset: int | ir.Value = 0) -> None:
        """Put eight doubles there."""
        self.lanes.builder.store(vector.value, self._vector_address(offset)).align = 8

    def add(self, vector: Vector, offset: int | ir.Value = 0) -> None:
        """Add to the eight doubles there."""
        self.store(self.load(offset) + vector, offset)

    def scalar(self, offset: int | ir.Value = 0) -> ir.Value:
        """Return the one double there."""
        return self.lanes.builder.load(self._address(offset))

    def spread(self, offset: int | ir.Value = 0) -> Vector:
        """Return the one double there, in every lane."""
        return self.lanes.spread(self.scalar(offset))

    def add_scalar(self, value: ir.Value, offset: int | ir.Value = 0) -> None:
        """Add to the one double there."""
        total = self.lanes.builder.fadd(self.scalar(offset), value)
        self.lanes.builder.store(total, self._address(offset))


class Lanes:
    """Draws up the instructions of one intrinsic.

    Parameters
    ----------
    context : numba target context
        As an intrinsic's code generator is given it.
    builder : llvmlite IRBuilder
        Likewise.
    """

    def __init__(self, context: Any, builder: ir.IRBuilder) -> None:
        self.context = context
        self.builder = builder

    # ------------------------------------------------------------ values

    def integer(self, value: int | ir.Value) -> ir.Value:
        """Return a 64-bit integer."""
        if isinstance(value, int):
            return ir.Constant(_INT64, value)
        return value if value.type == _INT64 else self.builder.sext(value, _INT64)

    def times(self, a: int | ir.Value, b: int | ir.Value) -> ir.Value:
        """Return a product of integers."""
        return self.builder.mul(self.integer(a), self.integer(b))

    def plus(self, a: int | ir.Value, b: int | ir.Value) -> ir.Value:
        """Return a sum of integers."""
        return self.builder.add(self.integer(a), self.integer(b))

    def over(self, a: int | ir.Value, b: int) -> ir.Value:
        """Return a quotient of integers, rounded down."""
        return self.builder.udiv(self.integer(a), self.integer(b))

    def constant(self, value: float) -> Vector:
        """Return a number in every lane."""
        return Vector(self, ir.Constant(_VECTOR, [ir.Constant(_DOUBLE, float(value))] * WIDTH))

    def spread(self, scalar: ir.Value) -> Vector:
        """Return one double in every lane."""
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(_INT32, 0))
        lanes = ir.Constant(_SHORT_INTS, [ir.Constant(_INT32, 0)] * WIDTH)
        return Vector(self, self.builder.shuffle_vector(first, undefined, lanes))

    def pointer(self, array_type: Any, value: ir.Value) -> Pointer:
        """Return the beginning of an array that was passed to the intrinsic."""
        return Pointer(self, self.context.make_array(array_type)(self.context, self.builder, value).data)

    def cell(self, start: Vector) -> Cell:
        """Return a vector that may change."""
        return Cell(self, start)

    def loop(self, count: int | ir.Value) -> AbstractContextManager[Any]:
        """Repeat what the with-block emits; its ``index`` runs from 0."""
        return cgutils.for_range(self.builder, self.integer(count), intp=_INT64)

    def when_above(self, scalar: ir.Value, limit: float) -> AbstractContextManager[Any]:
        """Do what the with-block emits only if a double is above a limit."""
        return self.builder.if_then(self.builder.fcmp_ordered(">", scalar, ir.Constant(_DOUBLE, limit)))

    # ------------------------------------------------------------ arithmetic

    def is_number(self, vector: Vector) -> ir.Value:
        """Return the mask of the lanes that are not NaN."""
        return self.builder.fcmp_ordered("ord", vector.value, vector.value)

    def both(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """Return the mask of the lanes that are in both masks."""
        return self.builder.and_(a, b)

    def where(self, mask: ir.Value, yes: Vector, no: Vector) -> Vector:
        """Choose lane by lane."""
        return Vector(self, self.builder.select(mask, yes.value, no.value))

    def maximum(self, a: Vector, b: Vector) -> Vector:
        """Return the greater lane by lane; b where a is NaN."""
        return Vector(
            self,
            self.builder.select(self.builder.fcmp_ordered("ogt", a.value, b.value), a.value, b.value),
        )

    def clamped(self, log_density: Vector) -> Vector:
        """Return a log density that is a number, however far out the row: not -inf and not NaN."""
        return self.maximum(log_density, self.constant(LOWEST))

    def _call(self, name: str, returns: ir.Type, *arguments: ir.Value, **options: Any) -> ir.Value:
        signature = ir.FunctionType(returns, [argument.type for argument in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return self.builder.call(function, arguments, **options)

    def sqrt(self, vector: Vector) -> Vector:
        """Return square roots."""
        return Vector(self, self._call(f"llvm.sqrt.v{WIDTH}f64", _VECTOR, vector.value))

    def total(self, vector: Vector) -> ir.Value:
        """Return the sum over the lanes, one double."""
        name = f"llvm.vector.reduce.fadd.v{WIDTH}f64"
        return self._call(name, _DOUBLE, ir.Constant(_DOUBLE, 0.0), vector.value, fastmath=("reassoc",))

    def totals(self, vectors: list[Vector]) -> Vector:
        """Return the sums over the lanes of eight vectors, one a lane, in their order."""
        width = 1
        while len(vectors) > 1:
            left, right = [], []
            for block in range(0, WIDTH, 2 * width):
                left += [*range(block, block + width), *range(WIDTH + block, WIDTH + block + width)]
                right += [
                    *range(block + width, block + 2 * width),
                    *range(WIDTH + block + width, WIDTH + block + 2 * width),
                ]
            vectors = [
                self._shuffle(a, b, left) + self._shuffle(a, b, right)
                for a, b in zip(vectors[::2], vectors[1::2], strict=True)
            ]
            width *= 2
        return vectors[0]

    def _shuffle(self, a: Vector, b: Vector, lanes: list[int]) -> Vector:
        mask = ir.Constant(_SHORT_INTS, [ir.Constant(_INT32, lane) for lane in lanes])
        return Vector(self, self.builder.shuffle_vector(a.value, b.value, mask))

    def exp(self, x: Vector) -> Vector:
        """Return exponentials of numbers that are not above 709; at least 3e-308.

        x is brought to n log(2) + r with |r| <= log(2) / 2 (Cody & Waite 1980), and exp(r) is a
        Taylor polynomial whose remainder is below half a unit in the last place.
        """
        b = self.builder
        x = self.maximum(x, self.constant(-708.0))
        nearest = x * self.constant(1 / math.log(2))
        n = Vector(self, self._call(f"llvm.rint.v{WIDTH}f64", _VECTOR, nearest.value))
        r = self._multiply_add(n, self.constant(-_LN2_HIGH), x)
        r = self._multiply_add(n, self.constant(-_LN2_LOW), r)
        result = self.constant(1 / math.factorial(13))
        for power in range(12, -1, -1):
            result = result * r + self.constant(1 / math.factorial(power))
        exponent = b.sext(b.fptosi(n.value, _SHORT_INTS), _INTS)
        bits = b.shl(b.add(exponent, self._integers(1023)), self._integers(52))
        return result * Vector(self, b.bitcast(bits, _VECTOR))

    def log(self, x: Vector) -> Vector:
        """Return natural logarithms of positive normal numbers.

        x is 2**k m with m between sqrt(1/2) and sqrt(2); log(m) is a polynomial in
        (f / (2 + f))**2 with f = m - 1.
        """
        b = self.builder
        half_root = 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2)
        bits = b.add(b.bitcast(x.value, _INTS), self._integers(0x3FF0000000000000 - half_root))
        k = b.sub(b.lshr(bits, self._integers(52)), self._integers(1023))
        mantissa = b.add(b.and_(bits, self._integers(0x000FFFFFFFFFFFFF)), self._integers(half_root))
        f = Vector(self, b.bitcast(mantissa, _VECTOR)) - self.constant(1.0)
        power = Vector(self, b.sitofp(b.trunc(k, _SHORT_INTS), _VECTOR))
        s = f / (self.constant(2.0) + f)
        z = s * s
        series = self.constant(_LOG_COEFFICIENTS[-1])
        for coefficient in _LOG_COEFFICIENTS[-2::-1]:
            series = series * z + self.constant(coefficient)
        series = series * z
        half_square = self.constant(0.5) * f * f
        correction = s * (half_square + series) + power * self.constant(_LN2_LOW)
        rest = Vector(self, b.fsub(f.value, b.fsub(half_square.value, correction.value)))
        return self._multiply_add(power, self.constant(_LN2_HIGH), rest)

    def _multiply_add(self, a: Vector, b: Vector, c: Vector) -> Vector:
        """Return a × b + c in just this order: what is split in two parts must not be put together."""
        return Vector(self, self._call(f"llvm.fmuladd.v{WIDTH}f64", _VECTOR, a.value, b.value, c.value))

    def _integers(self, value: int) -> ir.Constant:
        return ir.Constant(_INTS, [ir.Constant(_INT64, value)] * WIDTH)
