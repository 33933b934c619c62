"""Loops over bytes, compiled by Numba where there are many and interpreted where there are few."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

__all__ = ["WORTH_IT", "compiled"]

WORTH_IT = 200_000
"""Steps of a loop from which compiled code, loaded from the cache in some tenths of a second, is faster."""


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        from numba import njit
    except Exception:  # where Numba does not work, Python does the same
        return function
    try:
        return njit(function, nogil=True, error_model="numpy", cache=True)
    except RuntimeError:  # no folder can be written to: compiled anew in each process
        return njit(function, nogil=True, error_model="numpy")


def compiled(function: Callable[..., Any], steps: int) -> Callable[..., Any]:
    """Return a function to call for a loop of some steps.

    Parameters
    ----------
    function : callable
        Of `kernels`.
    steps : int
        How often its inner loop is run, about.

    Returns
    -------
    callable
        The same function, compiled if it is worth it.

    Examples
    --------
    >>> compiled(len, 10) is len
    True
    """
    return _compiled(function) if steps >= WORTH_IT else function
