"""Which engine does the arithmetic, and one pass of it over all rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, Literal

import numpy as np
from threadpoolctl import ThreadpoolController

from astro_cluster.mixture.parameters import Moments, Parameters
from astro_cluster.mixture.reference import NumpyEngine
from astro_cluster.mixture.rows import Engine, Rows, RowSource

__all__ = ["ENGINES", "Dataset", "EngineName", "make_engine", "one_blas_thread"]

EngineName = Literal["auto", "numba", "numpy", "torch"]
ENGINES: tuple[EngineName, ...] = ("auto", "numba", "numpy", "torch")


@cache
def _thread_pools() -> ThreadpoolController:
    # To find the libraries takes milliseconds, as long as a step of EM.
    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[Any]:
    """Keep BLAS to one thread: for matrices of this size more of them only wait for each other.

    It also makes the last digits independent of the number of cores.

    Returns
    -------
    context manager
    """
    return _thread_pools().limit(limits=1, user_api="blas")


@cache
def _why_not_compiled() -> str:
    """Return why the kernels cannot be used here; empty if they can."""
    try:
        from astro_cluster.mixture import compiled  # noqa: F401 - whether it loads is the question
    except Exception as error:  # whatever Numba or LLVM find wrong with this machine
        return f"{type(error).__name__}: {error}"
    return ""


@cache
def _say_once(reason: str) -> None:
    warnings.warn(
        f"the compiled kernels do not work here ({reason}); NumPy does the work, more slowly",
        RuntimeWarning,
        stacklevel=3,
    )


def make_engine(name: EngineName = "auto", *, device: str = "cpu", n_threads: int | None = None) -> Engine:
    """Return an engine.

    Parameters
    ----------
    name : {"auto", "numba", "numpy", "torch"}, optional
        Compiled kernels, NumPy, or torch.  ``"auto"`` is torch on another device than the CPU,
        else the kernels, or NumPy (slower) where Numba does not work.
    device : str, optional
        Where torch computes: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
    n_threads : int, optional
        Threads of the compiled kernels; by default as many as there are cores.

    Returns
    -------
    Engine

    Raises
    ------
    ValueError
        If the device is not there or the engine does not work on it.
    ImportError
        If what the engine needs is not installed.

    Examples
    --------
    >>> type(make_engine("numpy")).__name__
    'NumpyEngine'
    """
    if name == "torch" or (name == "auto" and device != "cpu"):
        from astro_cluster.mixture.torch_engine import TorchEngine

        return TorchEngine(device)
    if device != "cpu":
        raise ValueError(f"engine={name!r} works on the CPU; use engine='torch' for device={device!r}")
    if name == "numpy":
        return NumpyEngine()
    if reason := _why_not_compiled():
        if name == "numba":
            raise ImportError(f"the compiled kernels do not work here ({reason}); use engine='numpy'")
        _say_once(reason)
        return NumpyEngine()
    from astro_cluster.mixture.compiled import CompiledEngine

    return CompiledEngine(n_threads)


class Dataset:
    """All rows, in memory or read in chunks, for many passes of one engine.

    Parameters
    ----------
    rows : Rows or RowSource
        In memory, prepared once; or a source, of which each chunk is prepared in each pass.
    engine : Engine
        What computes.
    """

    def __init__(self, rows: Rows | RowSource, engine: Engine) -> None:
        self.engine = engine
        self.source = None if isinstance(rows, Rows) else rows
        self._prepared: Any = engine.prepare(rows) if isinstance(rows, Rows) else None

    def expect(self, models: Sequence[Parameters]) -> list[Moments]:
        """Return the moments of all rows under each mixture: one read of the data.

        Parameters
        ----------
        models : sequence of Parameters
            Mixtures.

        Returns
        -------
        list of Moments
        """
        if not models:
            return []
        if self.source is None:
            return self.engine.expect(self._prepared, models)
        total: list[Moments] | None = None
        for rows in self.source.chunks():
            part = self.engine.expect(self.engine.prepare(rows), models)
            total = part if total is None else [a + b for a, b in zip(total, part, strict=True)]
        if total is None:
            raise ValueError("there are no rows: all chunks are empty")
        return total

    def log_joint(
        self, parameters: Parameters, reduce: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> np.ndarray:
        """Return log(weight × density of the observed values), or what is made of it, by row.

        Parameters
        ----------
        parameters : Parameters
            k components.
        reduce : callable, optional
            Makes of some rows' (n, k) array what is wanted of them, so that of rows read in
            chunks no more than that is kept.

        Returns
        -------
        (n, k) array, or what ``reduce`` makes of it
        """
        keep = reduce if reduce is not None else np.asarray
        with one_blas_thread():
            if self.source is None:
                return keep(self.engine.log_joint(self._prepared, parameters))
            parts = [
                keep(self.engine.log_joint(self.engine.prepare(rows), parameters))
                for rows in self.source.chunks()
            ]
        if not parts:
            raise ValueError("there are no rows: all chunks are empty")
        return np.concatenate(parts)
