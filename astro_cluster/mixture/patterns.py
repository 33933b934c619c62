"""Rows sorted by what is missing in them, and cut into slabs, for the compiled kernels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from astro_cluster.mixture.kernels import complete
from astro_cluster.mixture.rows import Rows

__all__ = ["Part", "Prepared"]

_SLAB_ROWS = 2048
_MOST_SLABS = 32
_FEWEST_ALIKE = 256  # rows, for which a pattern of missing values is worth treating by itself
_NOTHING = np.empty(0)


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that one kernel takes.

    ``index`` are their numbers in the data and ``observed`` the features that they have; None
    means all.
    """

    values: np.ndarray
    weights: np.ndarray
    index: np.ndarray | None = None
    observed: np.ndarray | None = None

    def slabs(self) -> list[tuple[int, int]]:
        """Return where slabs begin and end, whole blocks but for the last."""
        n = len(self.values)
        count = min(max(n // _SLAB_ROWS, 1), _MOST_SLABS)
        edges = [n * i // count // complete.BLOCK * complete.BLOCK for i in range(count)]
        return list(zip(edges, [*edges[1:], n], strict=True))


@dataclass(slots=True)
class Prepared:
    """Rows of which each kind of kernel makes what it needs when it first needs it."""

    rows: Rows
    _parts: tuple[list[Part], Part | None] | None = field(default=None)

    @property
    def weights(self) -> np.ndarray:
        """Weights, or an empty array."""
        return _NOTHING if self.rows.weights is None else self.rows.weights

    @property
    def whole(self) -> Part:
        """All rows."""
        return Part(self.rows.values, self.weights)

    def noise(self) -> np.ndarray:
        """Return the noise as a matrix, a row a row."""
        noise = self.rows.noise
        if noise is None:
            return np.empty((0, 0))
        return noise.reshape(len(noise), int(np.prod(noise.shape[1:])))

    def by_pattern(self) -> tuple[list[Part], Part | None]:
        """Return parts of rows that lack the same features, and the rows that are left."""
        if self._parts is None:
            self._parts = _split(self.rows, self.weights)
        return self._parts


def _split(rows: Rows, weights: np.ndarray) -> tuple[list[Part], Part | None]:
    holes = np.isnan(rows.values)
    if not holes.any():
        return [Part(rows.values, weights)], None
    # Packed bits are compared as one string of bytes each, much faster than row by row.
    packed = np.packbits(holes, axis=1)
    keys = np.ascontiguousarray(packed).view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, pattern, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    pattern = pattern.reshape(-1)
    order = np.argsort(pattern, kind="stable")
    edges = np.concatenate([[0], np.cumsum(counts)])
    parts, rest = [], []
    for p, count in enumerate(counts):
        index = order[edges[p] : edges[p + 1]]
        observed = np.flatnonzero(~holes[first[p]])
        if len(observed) == 0 or (count < _FEWEST_ALIKE and len(observed) < holes.shape[1]):
            rest.append(index)
            continue
        values = np.ascontiguousarray(rows.values[np.ix_(index, observed)])
        parts.append(Part(values, weights[index] if weights.size else weights, index, observed))
    if not rest:
        return parts, None
    left = np.concatenate(rest)
    # Rows with as many holes stand together: then eight of them cost alike.
    left = left[np.argsort(holes[left].sum(axis=1), kind="stable")]
    values = np.ascontiguousarray(rows.values[left])
    return parts, Part(values, weights[left] if weights.size else weights, left)
