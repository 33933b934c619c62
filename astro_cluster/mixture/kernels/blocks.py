"""Steps on a block of rows that all kernels share: from log densities to responsibilities.

A block holds ``size`` rows, a multiple of eight, feature after feature: value d of row i is at
``d * size + i``.  Log densities and responsibilities are laid out alike, component after
component.
"""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.extending import intrinsic

from astro_cluster.mixture.kernels.lanes import WIDTH, Lanes

__all__ = ["SOURCE", "responsibilities"]

SOURCE = __file__


@intrinsic(prefer_literal=True)
def responsibilities(typing: Any, joint: Any, weights: Any, k: Any, log_likelihood: Any, size_: Any) -> Any:
    """Turn log joint densities into weighted responsibilities, in place.

    Adds the rows' weighted log densities to ``log_likelihood`` (8 lanes).
    """
    size = size_.literal_value

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lanes = Lanes(context, builder)
        joint_, weights_ = (lanes.pointer(signature.args[i], values[i]) for i in (0, 1))
        total_ = lanes.pointer(signature.args[3], values[3])
        with lanes.loop(size // WIDTH) as group:
            offset = lanes.times(group.index, WIDTH)
            column = joint_.at(offset)
            largest = lanes.cell(column.load())
            with lanes.loop(values[2]) as component:
                place = lanes.times(component.index, size)
                largest.set(lanes.maximum(column.load(place), largest.get()))
            top = largest.get()
            total = lanes.cell(lanes.constant(0.0))
            with lanes.loop(values[2]) as component:
                place = lanes.times(component.index, size)
                density = lanes.exp(column.load(place) - top)
                column.store(density, place)
                total.add(density)
            weight = weights_.load(offset)
            total_.add((top + lanes.log(total.get())) * weight)
            scale = weight / total.get()
            with lanes.loop(values[2]) as component:
                place = lanes.times(component.index, size)
                column.store(column.load(place) * scale, place)
        return context.get_dummy_value()

    return types.void(joint, weights, k, log_likelihood, size_), generate
