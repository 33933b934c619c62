"""How strongly a value speaks against a row: how far out in the tail of its column it is."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import stats

from astro_cluster.exceptions import InputError

__all__ = ["DIRECTIONS", "STRONGEST", "Direction", "evidence_of", "tail_shares"]

DIRECTIONS = ("high", "low", "both")
STRONGEST = 3.0
"""Evidence beyond which a tail is not extrapolated: one row in a thousand."""

_BULK = 0.9  # share of rows that are taken for ordinary ones
_OF_RANK = 0.1  # keeps the order of values that are all beyond the strongest evidence

Direction = Literal["high", "low", "both"]


def tail_shares(x: np.ndarray) -> np.ndarray:
    """Return the share of values that are at least as large as each.

    Parameters
    ----------
    x : (n,) array of float
        Values; NaN where there is none.

    Returns
    -------
    (n,) array of float
        From 1/n (the largest) to 1; equal values have equal shares.  NaN where there is no value.

    Examples
    --------
    >>> tail_shares(np.array([0.0, 0.0, 7.0, 0.0]))
    array([1.  , 1.  , 0.25, 1.  ])
    """
    found = np.full(len(x), np.nan)
    seen = ~np.isnan(x)
    if seen.any():
        found[seen] = stats.rankdata(-x[seen], method="max") / np.count_nonzero(seen)
    return found


def evidence_of(x: np.ndarray, direction: Direction = "high", *, strongest: float = STRONGEST) -> np.ndarray:
    """Return how strongly each value speaks against its row.

    Parameters
    ----------
    x : (n,) array of float
        Values; NaN where there is none.
    direction : {"high", "low", "both"}, optional
        Which values are suspicious; with "both" those far from the median on either side.
    strongest : float, optional
        Where the extrapolated tail ends.

    Returns
    -------
    (n,) array of float
        About -log10 of the share of ordinary rows that are as far out: 0 is ordinary, 2 is one in
        a hundred.  NaN where there is no value.

    Raises
    ------
    InputError
        If the direction is not known.

    Notes
    -----
    Up to the 90 % quantile it is the share of rows itself.  Beyond, an exponential tail through the
    median and that quantile tells how many rows should be so far out, down to one in a thousand: so
    a column whose largest values are as large as could be expected has no strong evidence, while a
    handful of gaps in a column that is 0 elsewhere has.  A tenth of -log10 of the share of rows is
    added, which keeps the order beyond.  A factor and an offset of the column change nothing.

    Examples
    --------
    >>> evidence_of(np.r_[np.zeros(98), 0.1, 0.3])[[0, 98, 99]]
    array([0.        , 3.16989700, 3.2       ])
    >>> evidence_of(np.arange(100.0))[[9, 98, 99]].round(2)
    array([0.05, 1.33, 1.37])
    """
    if direction not in DIRECTIONS:
        raise InputError(f"direction {direction!r} is not known; give one of {', '.join(DIRECTIONS)}")
    if direction == "low":
        return _of_high(-x, strongest)
    high = _of_high(x, strongest)
    return high if direction == "high" else np.maximum(high, _of_high(-x, strongest))


def _of_high(x: np.ndarray, strongest: float) -> np.ndarray:
    seen = ~np.isnan(x)
    found = np.full(len(x), np.nan)
    if not seen.any():
        return found
    values, of_rank = x[seen], 0.0 - np.log10(tail_shares(x[seen]))
    middle, high = np.quantile(values, [0.5, _BULK])
    # In halves: the difference of the largest floats is beyond them.
    width, beyond = high / 2 - middle / 2, values / 2 - high / 2
    outside = values > high
    least = -np.log10(1 - _BULK)
    extrapolated = np.full(len(values), strongest)
    if width > 0:
        with np.errstate(over="ignore"):
            extrapolated = least + beyond / width * np.log10(0.5 / (1 - _BULK))
    strong = np.minimum(extrapolated, strongest)
    found[seen] = np.where(outside, strong, np.minimum(of_rank, least)) + _OF_RANK * of_rank
    return found
