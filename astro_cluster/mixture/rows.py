"""What the engines work on: rows with their measurement errors and weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from astro_cluster.mixture.parameters import Moments, Parameters

__all__ = ["ADVICE", "Engine", "NotPositiveDefiniteError", "RowSource", "Rows"]


# What to do about a covariance that cannot be inverted.
ADVICE = "raise reg_covar, take fewer components, or scale the features alike"


class NotPositiveDefiniteError(ValueError):
    """A covariance matrix cannot be inverted."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Measured values of n rows, with what is known of their errors and weights.

    Parameters
    ----------
    values : (n, d) array of float64
        NaN where missing.
    noise : (n, d) or (n, d, d) array of float64, optional
        Variances, or covariance matrices, of the measurement errors.  What stands at a missing
        value is never looked at.
    weights : (n,) array of float64, optional
        How often each row counts; not negative.
    """

    values: np.ndarray
    noise: np.ndarray | None = None
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.values)

    @property
    def n_features(self) -> int:
        """Number of features d."""
        return self.values.shape[1]

    @property
    def total_weight(self) -> float:
        """Sum of the weights."""
        return float(len(self.values)) if self.weights is None else float(self.weights.sum())

    def take(self, index: slice | np.ndarray) -> Rows:
        """Return some of the rows.

        Parameters
        ----------
        index : slice or array
            Which.

        Returns
        -------
        Rows
        """
        return Rows(
            self.values[index],
            None if self.noise is None else self.noise[index],
            None if self.weights is None else self.weights[index],
        )


@runtime_checkable
class RowSource(Protocol):
    """Rows that are read a chunk at a time, as often as wanted, and need not fit in memory."""

    n_features: int

    def chunks(self) -> Iterator[Rows]:
        """Yield all rows from the first, in the same order at each call."""
        ...


class Engine(Protocol):
    """Where the arithmetic over the rows is done: in compiled kernels, in NumPy, in torch."""

    def prepare(self, rows: Rows) -> Any:
        """Return the rows as this engine wants them for many passes."""
        ...

    def expect(self, prepared: Any, models: Sequence[Parameters]) -> list[Moments]:
        """Return the moments of the rows under each of several mixtures: the E step."""
        ...

    def log_joint(self, prepared: Any, parameters: Parameters) -> np.ndarray:
        """Return log(weight × density of the observed values), (n, k), in the rows' order."""
        ...
