"""How the benchmarks measure: both sides in one process, in turn; medians and spread; memory."""

from __future__ import annotations

import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

__all__ = ["Memory", "Result", "Side", "alternate", "machine", "peak_memory", "seconds"]


@dataclass(frozen=True)
class Side:
    """Times of one side, in seconds, and the memory that it took at most, in MB."""

    times: list[float]
    memory: float = float("nan")

    @property
    def median(self) -> float:
        """Median time."""
        return statistics.median(self.times)

    def shown(self) -> str:
        """Return the times as text."""
        scale, unit = (1e3, "ms") if self.median < 1 else (1.0, "s")
        low, middle, high = (scale * t for t in (min(self.times), self.median, max(self.times)))
        text = f"{middle:.3g} {unit} ({low:.3g}–{high:.3g})"
        return text if np.isnan(self.memory) else f"{text}, {self.memory:.0f} MB"


@dataclass(frozen=True)
class Result:
    """One piece of work, ours and theirs."""

    work: str
    opponent: str
    ours: Side
    theirs: Side
    note: str = ""
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """How many times as long theirs takes."""
        return self.theirs.median / self.ours.median

    def row(self) -> str:
        """Return a row of the table."""
        return (
            f"| {self.work} | {self.opponent} | {self.ours.shown()} | {self.theirs.shown()} | "
            f"{self.ratio:.3g} | {self.note} |"
        )


def alternate(
    ours: Callable[[], float], theirs: Callable[[], float], repeat: int, *, warm: bool = True
) -> tuple[Side, Side]:
    """Run both sides in turn, once each before it counts; each returns its own seconds."""
    times: tuple[list[float], list[float]] = ([], [])
    memory = [float("nan"), float("nan")]
    for turn in range(-1 if warm else 0, repeat):
        for side, call in enumerate((ours, theirs)):
            with peak_memory() as peak:
                seconds = call()
            if turn >= 0:
                times[side].append(seconds)
                memory[side] = np.nanmax([memory[side], peak.extra])
    return Side(times[0], memory[0]), Side(times[1], memory[1])


class Memory:
    """Memory of this process that no file stands behind, in MB: before, and the most since."""

    def __init__(self) -> None:
        self.before = self.most = _anonymous()

    @property
    def extra(self) -> float:
        """What was taken beyond what was there before."""
        return self.most - self.before


def _anonymous() -> float:
    """Return anonymous memory in MB (Linux), or NaN."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return float("nan")


@contextmanager
def peak_memory() -> Iterator[Memory]:
    """Watch the memory of this process every 5 ms."""
    memory, done = Memory(), threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            memory.most = max(memory.most, _anonymous())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield memory
    finally:
        done.set()
        watcher.join()
        memory.most = max(memory.most, _anonymous())


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def machine() -> str:
    """Return a line about the machine and the versions."""
    import numba
    import sklearn

    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
        flags = next(line for line in lines if line.startswith("flags"))
        name += ", AVX-512" if "avx512f" in flags else ", AVX2" if "avx2" in flags else ""
    except (OSError, StopIteration):
        pass
    return (
        f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"scikit-learn {sklearn.__version__}, Numba {numba.__version__}"
    )
