"""One line that tells how a running fit is going."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from astro_cluster.exceptions import InputError
from astro_cluster.mixture.em import Run

__all__ = ["LiveLine", "Watch", "watch"]

_PATIENCE = 2.0  # seconds that a fit may take before anything is said
_REFRESH = 0.1  # seconds between two states of the line on a terminal
_REPEAT = 10.0  # seconds between two lines elsewhere


class Watch:
    """Sees the steps of a fit and does nothing.

    Parameters
    ----------
    on_step : callable, optional
        Called after each step with its number and all runs.
    """

    def __init__(self, on_step: Callable[[int, Sequence[Run]], Any] | None = None) -> None:
        self.on_step = on_step
        self.on_sample: Callable[[int, int], None] | None = None

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Be done with it."""


class LiveLine(Watch):
    """Writes one line to standard error, and takes it away at the end.

    Where standard error is no terminal, a line every ten seconds.

    Parameters
    ----------
    after : float, optional
        Seconds to wait before anything is written.
    """

    def __init__(self, after: float = _PATIENCE) -> None:
        self.on_step, self.on_sample = self._say_step, self._say_sample
        self._next = time.monotonic() + after
        self._pause = 0.0
        self._shown = contextlib.ExitStack()
        self._write: Callable[[str], None] | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the line away."""
        self._shown.close()

    def _say_step(self, step: int, runs: Sequence[Run]) -> None:
        self._say(lambda: told(runs))

    def _say_sample(self, number: int, total: int) -> None:
        self._say(lambda: f"bootstrap sample {number} of {total}")

    def _say(self, text: Callable[[], str]) -> None:
        if time.monotonic() < self._next:
            return
        if self._write is None:
            self._write, self._pause = self._begin()
        self._write(text())
        self._next = time.monotonic() + self._pause

    def _begin(self) -> tuple[Callable[[str], None], float]:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        console = Console(stderr=True)
        if not console.is_terminal:
            return (lambda text: print(text, file=sys.stderr, flush=True)), _REPEAT
        live = self._shown.enter_context(Live(console=console, transient=True, auto_refresh=False))
        return (lambda text: live.update(Text(text, no_wrap=True), refresh=True)), _REFRESH


def told(runs: Sequence[Run]) -> str:
    """Return in words how far runs of EM are.

    Parameters
    ----------
    runs : sequence of Run
        After a step.

    Returns
    -------
    str

    Examples
    --------
    >>> told([Run(None, 0, [1.0, 1.5]), Run(None, 1, [1.0, 1.25], converged=True)])
    'step 2: mean log-likelihood 1.500000 (+5.0e-01), 1 of 2 runs going on'
    """
    best = max(runs, key=lambda one: one.bound)
    change = f" ({best.gain:+.1e})" if len(best.bounds) > 1 else ""
    going = sum(not one.converged for one in runs)
    count = f", {going} of {len(runs)} runs going on" if len(runs) > 1 else ""
    step = max(len(one.bounds) for one in runs)
    return f"step {step}: mean log-likelihood {best.bound:.6f}{change}{count}"


def watch(progress: Callable[[int, Sequence[Run]], Any] | bool | None) -> Watch:
    """Return what watches a fit.

    Parameters
    ----------
    progress : callable, bool or None
        What is called after each step; or whether to show a line; or None for a line if the
        fit takes long and standard error is a terminal.

    Returns
    -------
    Watch

    Raises
    ------
    InputError
        If it is none of these.

    Examples
    --------
    >>> with watch(False) as seen:
    ...     print(seen.on_step)
    None
    """
    if callable(progress):
        return Watch(progress)
    if not isinstance(progress, bool) and progress is not None:
        raise InputError(
            f"progress={progress!r} is neither True, False nor a function that is called after each step"
        )
    if progress is None:
        return LiveLine() if sys.stderr is not None and sys.stderr.isatty() else Watch()
    return LiveLine(after=0.0) if progress else Watch()
