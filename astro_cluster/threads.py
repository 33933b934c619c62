"""Work on several cores: the compiled kernels let go of Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

__all__ = ["available_threads", "run_all"]

T = TypeVar("T")


def available_threads() -> int:
    """Return how many threads to use: the cores this process may use, or OMP_NUM_THREADS if fewer.

    Returns
    -------
    int
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores, int(asked))) if asked.isdigit() else cores


@cache
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="astro_cluster")


if hasattr(os, "register_at_fork"):
    # The threads of a pool do not live on in a forked process; it makes its own.
    os.register_at_fork(after_in_child=_pool.cache_clear)


def run_all(tasks: Sequence[Callable[[], T]], n_threads: int) -> list[T]:
    """Run tasks, several at a time, and return their results in order.

    Parameters
    ----------
    tasks : sequence of callable
        What to do; each lets go of Python's lock by itself.
    n_threads : int
        How many at a time.

    Returns
    -------
    list

    Examples
    --------
    >>> run_all([lambda: 1, lambda: 2], 2)
    [1, 2]
    """
    if n_threads == 1 or len(tasks) == 1:
        return [task() for task in tasks]
    futures = [_pool(n_threads).submit(task) for task in tasks]
    try:
        return [future.result() for future in futures]
    finally:
        # After an interruption nothing of it goes on behind the user's back.
        for future in futures:
            future.cancel()
