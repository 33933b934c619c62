"""Scales of features: from values in their unit to numbers that a method can compare."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from astro_cluster.exceptions import InputError

__all__ = ["SCALES", "Scaling", "fit_scaling"]

SCALES = ("none", "log", "lognorm", "minmax", "standard", "robust")


@dataclass(frozen=True, slots=True)
class Scaling:
    """How one feature is scaled: ``(f(x) - shift) / factor``.

    ``f(x)`` is x, or ln(x + offset) for the scales log and lognorm.

    Parameters
    ----------
    name : str
        Feature; that of its column, or ``column[i]`` for the i-th value of a vector.
    column : str
        Column it is taken from.
    index : int or None
        Position within a vector column.
    unit : str
        Unit that x is converted to; empty if none.
    scale : str
        One of `SCALES`.
    offset, shift, factor : float
        Fitted numbers.
    fill : float
        Median of the scaled values, for the policy ``median``.
    """

    name: str
    column: str
    index: int | None
    unit: str
    scale: str
    offset: float = 0.0
    shift: float = 0.0
    factor: float = 1.0
    fill: float = 0.0

    def outside(self, x: np.ndarray) -> np.ndarray:
        """Tell which values the scale cannot take.

        Parameters
        ----------
        x : (n,) array
            Values in ``unit``.

        Returns
        -------
        (n,) array of bool
            True outside the domain of the logarithm; false for NaN.
        """
        return (x + self.offset <= 0) if self.scale in ("log", "lognorm") else np.zeros(len(x), dtype=bool)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Scale values.

        Parameters
        ----------
        x : (n,) array
            Values in ``unit``; NaN stays NaN.

        Returns
        -------
        (n,) array

        Raises
        ------
        InputError
            If a value is outside the domain of a logarithm.
        """
        if self.scale in ("log", "lognorm"):
            shifted = x + self.offset
            bad = np.flatnonzero(shifted <= 0)
            if bad.size:
                raise InputError(
                    f"feature {self.name!r} cannot be put on the scale {self.scale!r}: {bad.size} values "
                    f"are not above {0.0 - self.offset:g}, the first in row {bad[0]} ({x[bad[0]]:g}); choose "
                    "'minmax', 'standard' or 'robust' for it"
                )
            x = np.log(shifted)
        return (x - self.shift) / self.factor

    def slope(self, x: np.ndarray) -> np.ndarray:
        """Return the derivative of the scaled by the unscaled value, which carries small errors over.

        Parameters
        ----------
        x : (n,) array
            Values in ``unit``; NaN stays NaN.

        Returns
        -------
        (n,) array
            Positive, since every scale grows with x; NaN outside the domain of a logarithm.

        Examples
        --------
        >>> Scaling("x", "x", None, "", "log", factor=2.0).slope(np.array([0.5, 5.0]))
        array([1. , 0.1])
        """
        if self.scale in ("log", "lognorm"):
            shifted = np.where(self.outside(x), np.nan, x + self.offset)
            return 1 / (shifted * self.factor)
        return np.where(np.isnan(x), np.nan, 1 / self.factor)


def _smallest_positive(x: np.ndarray, name: str) -> float:
    """Return a tenth of the smallest non-zero value, which lets zeros into a logarithm."""
    negative = np.flatnonzero(x < 0)
    if negative.size:
        raise InputError(
            f"feature {name!r} has {negative.size} negative values, the first in row {negative[0]} "
            f"({x[negative[0]]:g}), which 'lognorm' cannot take; choose 'minmax' or 'standard' for it"
        )
    nonzero = x[x > 0]
    return float(nonzero.min()) / 10 if nonzero.size else 1.0


def fit_scaling(x: np.ndarray, base: Scaling) -> Scaling:
    """Learn the numbers of a scaling from values, NaN left out.

    Parameters
    ----------
    x : (n,) array
        Values in the unit of the feature; NaN where missing.
    base : Scaling
        Which feature and which scale.

    Returns
    -------
    Scaling
        The same with its numbers.

    Raises
    ------
    InputError
        If there is no value, all are equal, or the scale cannot take them.

    Examples
    --------
    >>> fitted = fit_scaling(np.array([1.0, 3.0]), Scaling("x", "x", None, "", "minmax"))
    >>> fitted.shift, fitted.factor
    (1.0, 2.0)
    """
    seen = x[~np.isnan(x)]
    if seen.size == 0:
        raise InputError(f"feature {base.name!r} has no value in any row; leave it out")
    if seen.size > 1 and seen.min() == seen.max():
        raise InputError(
            f"feature {base.name!r} is constant ({seen[0]:g} in all {seen.size} rows that have it) and tells "
            "no row from another; leave it out"
        )
    offset = _smallest_positive(x, base.name) if base.scale == "lognorm" else 0.0
    fitted = Scaling(**{**asdict(base), "offset": offset})
    y = fitted(x)
    y_seen = y[~np.isnan(y)]
    shift, factor = 0.0, 1.0
    if base.scale in ("lognorm", "minmax"):
        shift, factor = float(y_seen.min()), float(np.ptp(y_seen))
    elif base.scale == "standard":
        shift, factor = float(y_seen.mean()), float(y_seen.std())
    elif base.scale == "robust":
        low, shift, high = (float(q) for q in np.percentile(y_seen, [25, 50, 75]))
        factor = high - low
    if not factor > 0:
        raise InputError(
            f"feature {base.name!r} cannot be put on the scale {base.scale!r}: its spread is zero "
            "(most values are equal); choose 'minmax' or 'standard' for it"
        )
    fill = (float(np.median(y_seen)) - shift) / factor
    return Scaling(**{**asdict(fitted), "shift": shift, "factor": factor, "fill": fill})
