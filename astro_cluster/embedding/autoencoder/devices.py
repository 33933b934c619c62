"""PyTorch: whether it is there, where it computes, and with how many threads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from astro_cluster.exceptions import InputError

if TYPE_CHECKING:
    import torch

__all__ = ["device_of", "one_thread_each", "require_safetensors", "require_torch"]

_INSTALL = 'which is not installed: pip install "astro_cluster[torch]"'


def require_torch() -> Any:
    """Return the module ``torch``, imported now and not before.

    Returns
    -------
    module

    Raises
    ------
    InputError
        If it is not installed.

    Examples
    --------
    >>> require_torch().__name__  # doctest: +SKIP
    'torch'
    """
    try:
        import torch
    except ImportError as error:
        raise InputError(f"an autoencoder needs PyTorch, {_INSTALL}") from error
    return torch


def require_safetensors() -> Any:
    """Return the module ``safetensors.torch``, imported now and not before.

    Returns
    -------
    module

    Raises
    ------
    InputError
        If it is not installed.

    Examples
    --------
    >>> require_safetensors().__name__  # doctest: +SKIP
    'safetensors.torch'
    """
    require_torch()
    try:
        import safetensors.torch
    except ImportError as error:
        raise InputError(f"files of models need safetensors, {_INSTALL}") from error
    return safetensors.torch


def device_of(name: str) -> torch.device:
    """Return the device that a word means.

    Parameters
    ----------
    name : str
        ``"cpu"``, ``"cuda"``, ``"cuda:1"`` …, or ``"auto"``: CUDA where there is any, else the processor.

    Returns
    -------
    torch.device

    Raises
    ------
    InputError
        If there is no such device here.

    Examples
    --------
    >>> device_of("cpu").type  # doctest: +SKIP
    'cpu'
    """
    torch = require_torch()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"there is no torch device {name!r}; device is 'cpu', 'cuda', 'cuda:1' or 'auto'"
        ) from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"nothing can be trained on the torch device {name!r}; take 'cpu', 'cuda' or 'auto'")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise InputError(
                f"device={name!r}, and torch finds no CUDA device here; take device='cpu' or 'auto', or "
                "install a driver and a torch for CUDA"
            )
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise InputError(
                f"device={name!r}, and torch finds {torch.cuda.device_count()} CUDA devices here"
            )
    return device


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Let each operation of torch use one thread, and restore what was before.

    Pieces of a batch are shared among threads instead, so that no sum depends on how many there
    are.  (The gradients of a convolution that torch itself shares among threads do.)

    Yields
    ------
    None

    Examples
    --------
    >>> with one_thread_each():  # doctest: +SKIP
    ...     require_torch().get_num_threads()
    1
    """
    torch = require_torch()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
