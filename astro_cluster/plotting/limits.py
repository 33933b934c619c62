"""Ends of axes that a few stray values do not stretch."""

from __future__ import annotations

import numpy as np

__all__ = ["STEPS", "beyond", "robust_limits", "suitable_scale"]

STEPS = (1, 2, 2.5, 5, 10)
"""Between ticks: numbers that are read with ease."""

_STRETCH = 1.5  # all is shown where that makes an axis no longer than so many times
_MARGIN = 0.04
_DECADES = 300.0  # what spans more, and is positive, goes on a logarithmic axis


def suitable_scale(values: np.ndarray, *, share: float = 0.0) -> str:
    """Return the scale of an axis for these values: a logarithm for what spans many magnitudes.

    Parameters
    ----------
    values : (n,) array
        NaN where there is none.
    share : float, optional
        What at either end does not count; but one value that is not positive does.

    Returns
    -------
    {"linear", "log"}

    Examples
    --------
    >>> suitable_scale(np.array([1.0, 2000.0])), suitable_scale(np.array([0.0, 2000.0]))
    ('log', 'linear')
    """
    seen = values[np.isfinite(values)]
    if not seen.size or seen.min() <= 0:
        return "linear"
    low, high = np.quantile(seen, [share, 1 - share])
    return "log" if high > _DECADES * low else "linear"


def robust_limits(values: np.ndarray, *, share: float = 0.005, log: bool = False) -> tuple[float, float]:
    """Return the ends of an axis.

    Parameters
    ----------
    values : array
        What is drawn; what is not finite is passed over.
    share : float, optional
        What may lie beyond at either end, where showing all would make the axis half as long again.
    log : bool, optional
        Whether the axis is logarithmic; values that are not positive are passed over then.

    Returns
    -------
    tuple of two float
        The first is the smaller, also if all values are the same or there is none.

    Examples
    --------
    >>> stray = np.append(np.linspace(0, 1, 1001), 1e6)
    >>> low, high = robust_limits(stray)
    >>> bool(-0.1 < low < 0.01 and 0.99 < high < 1.1)
    True
    >>> robust_limits(np.full(5, 3.0))
    (2.3, 3.7)
    """
    seen = np.asarray(values, np.float64).ravel()
    seen = seen[np.isfinite(seen)]
    if log:
        seen = np.log10(seen[seen > 0])
    if not seen.size:
        return (0.1, 10.0) if log else (-1.0, 1.0)
    low, inner_low, inner_high, high = np.quantile(seen, [0.0, share, 1 - share, 1.0])
    if high - low > _STRETCH * (inner_high - inner_low) and inner_high > inner_low:
        low, high = inner_low, inner_high
    # What differs by rounding alone is the same.
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        half = 0.7 if log or abs(low) < 50 else 0.014 * abs(low)
        low, high = low - half, high + half
    else:
        edge = _MARGIN * (high - low)
        low, high = low - edge, high + edge
    return (float(10.0**low), float(10.0**high)) if log else (float(low), float(high))


def beyond(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Tell which values lie beyond the ends of an axis.

    Parameters
    ----------
    values : array
        NaN is not beyond.
    limits : tuple of two float
        The ends.

    Returns
    -------
    array of bool

    Examples
    --------
    >>> beyond(np.array([0.0, 5.0, np.nan]), (-1, 1)).tolist()
    [False, True, False]
    """
    return (values < limits[0]) | (values > limits[1])
