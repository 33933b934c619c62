"""What Ctrl-C leaves of a long fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Interrupted", "told_if_interrupted"]


class Interrupted(Exception):
    """The user stopped the program; the message says what is kept and how to go on."""


@contextmanager
def told_if_interrupted(checkpoint: Path | None, *, again: str | None = None) -> Iterator[None]:
    """Say what is left of a fit if it is interrupted.

    Parameters
    ----------
    checkpoint : path or None
        Where the fit is kept.
    again : str, optional
        How to go on; with ``--start`` if not given.

    Raises
    ------
    Interrupted
        In place of the interrupt.

    Examples
    --------
    >>> with told_if_interrupted(None):
    ...     raise KeyboardInterrupt
    Traceback (most recent call last):
        ...
    astro_cluster.cli.interrupts.Interrupted: interrupted; nothing is kept ...
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Interrupted(_left(checkpoint, getattr(stop, "__notes__", []), again)) from None


def _left(checkpoint: Path | None, notes: list[str], again: str | None) -> str:
    if checkpoint is None:
        return "interrupted; nothing is kept (--checkpoint FILE keeps a fit that is to be gone on with)"
    # What the note says of Python is of no use here.
    kept = notes[-1].partition(";")[0] if notes else f"nothing new is in {checkpoint}"
    if not checkpoint.exists():
        return f"interrupted; {kept}"
    return f"interrupted; {kept}; to go on, {again or f'run the same command with --start {checkpoint}'}"
