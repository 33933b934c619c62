"""Loops over rows, compiled by Numba for the processor they run on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["compiled", "reordered"]

# All that lets a sum be split over lanes and products be fused with it, but nothing that assumes
# that there are no NaN, as fastmath=True would.
_FLAGS = {"contract", "reassoc", "nsz", "arcp"}


def _compile(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    try:
        return njit(function, nogil=True, error_model="numpy", cache=True, **options)
    except RuntimeError:  # no folder can be written to: compiled anew in each process
        return njit(function, nogil=True, error_model="numpy", **options)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that lets go of Python's lock, and keep it on disk where there is a folder.

    Parameters
    ----------
    function : callable
        What Numba understands.

    Returns
    -------
    callable

    Examples
    --------
    >>> compiled(lambda x: x + 1)(2)
    3
    """
    return _compile(function)


def reordered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function whose sums may be added up in any order, so that they run on vectors.

    Parameters
    ----------
    function : callable
        What Numba understands.

    Returns
    -------
    callable

    Examples
    --------
    >>> reordered(lambda x: x + 1)(2)
    3
    """
    return _compile(function, fastmath=_FLAGS)
