"""What the file of a model says beside its weights, and whether that makes sense."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from astro_cluster.exceptions import InputError

__all__ = ["finite_number", "history_of", "image_shape_of", "plain_value", "versions"]


def plain_value(value: Any) -> Any:
    """Return a parameter as JSON keeps it.

    Parameters
    ----------
    value : object
        A parameter.

    Returns
    -------
    object

    Examples
    --------
    >>> plain_value(np.int64(3)), plain_value((16, 8))
    (3, [16, 8])
    """
    if isinstance(value, np.random.RandomState):
        return None
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain_value(one) for one in value]
    if isinstance(value, np.generic):
        return value.item()
    return {name: float(share) for name, share in value.items()} if isinstance(value, Mapping) else value


def versions() -> dict[str, str]:
    """Return the versions of what a model was made with.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> sorted(versions())  # doctest: +SKIP
    ['astro_cluster', 'numpy', 'python', 'safetensors', 'torch']
    """
    packages = ("astro_cluster", "torch", "safetensors", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def image_shape_of(found: Any) -> tuple[int, int, int]:
    """Return the size of images that a file names.

    Parameters
    ----------
    found : object
        What JSON gave.

    Returns
    -------
    tuple of int

    Raises
    ------
    InputError
        If it is none.

    Examples
    --------
    >>> image_shape_of([16, 16, 1])
    (16, 16, 1)
    """
    if (
        not isinstance(found, list)
        or len(found) != 3
        or not all(type(n) is int and 0 < n < 2**20 for n in found)
    ):
        raise InputError(f"its images have the shape {found!r}")
    return (found[0], found[1], found[2])


def finite_number(value: Any) -> float:
    """Return a number that a file names.

    Parameters
    ----------
    value : object
        What JSON gave.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If it is none.

    Examples
    --------
    >>> finite_number(2)
    2.0
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{value!r} is no finite number")
    return float(value)


def history_of(found: Any) -> dict[str, list[float]]:
    """Return the history of a training that a file names.

    Parameters
    ----------
    found : object
        What JSON gave.

    Returns
    -------
    dict of str to list

    Raises
    ------
    InputError
        If it is no table of numbers.

    Examples
    --------
    >>> list(history_of({"epoch": [1], "loss": [0.5], "seconds": [0.1]}))
    ['epoch', 'loss', 'seconds']
    """
    if not isinstance(found, dict) or not {"epoch", "loss", "seconds"} <= set(found):
        raise InputError("it has no history")
    lengths = set()
    for values in found.values():
        if not isinstance(values, list) or not all(type(v) in (int, float) for v in values):
            raise InputError("its history is no table of numbers")
        lengths.add(len(values))
    if len(lengths) != 1:
        raise InputError("the columns of its history have different lengths")
    return {str(name): list(values) for name, values in found.items()}
