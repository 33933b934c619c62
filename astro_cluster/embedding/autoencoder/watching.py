"""One line that tells how a training is going."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from astro_cluster.exceptions import InputError
from astro_cluster.progress import LiveLine, Watch

__all__ = ["TrainingLine", "told_epoch", "watch_training"]


def told_epoch(numbers: Mapping[str, float], epochs: int) -> str:
    """Return in words how far a training is.

    Parameters
    ----------
    numbers : mapping of str to float
        Of the last epoch: ``epoch``, ``loss``, ``held_out_loss``, and each term of the loss.
    epochs : int
        Number of epochs at most.

    Returns
    -------
    str

    Examples
    --------
    >>> told_epoch({"epoch": 3, "loss": 0.00123, "held_out_loss": 0.0014, "learning_rate": 1e-3}, 100)
    'epoch 3 of 100: loss 0.00123, held out 0.0014'
    """
    parts = [f"loss {numbers['loss']:.4g}"]
    if "held_out_loss" in numbers:
        parts.append(f"held out {numbers['held_out_loss']:.4g}")
    terms = [name for name in ("mse", "bce", "reconstruction", "kl", "mmd") if name in numbers]
    if len(terms) > 1:
        parts += [f"{name} {numbers[name]:.4g}" for name in terms]
    if "held_out_chi2" in numbers:
        parts.append(f"held-out χ² a pixel {numbers['held_out_chi2']:.4g}")
    return f"epoch {int(numbers['epoch'])} of {epochs}: {', '.join(parts)}"


class TrainingLine(LiveLine):
    """Writes one line to standard error while a network learns, and takes it away at the end.

    Parameters
    ----------
    epochs : int
        Number of epochs at most.
    after : float, optional
        Seconds to wait before anything is written.
    """

    def __init__(self, epochs: int, after: float = 2.0) -> None:
        super().__init__(after)
        self._epochs = epochs
        self._last = ""

    def on_epoch(self, epoch: int, numbers: Mapping[str, float]) -> None:
        """Say how an epoch ended.

        Parameters
        ----------
        epoch : int
            Its number.
        numbers : mapping of str to float
            Its numbers.
        """
        self._last = told_epoch(numbers, self._epochs)
        self._say(lambda: self._last)

    def on_batch(self, epoch: int, batch: int, batches: int) -> None:
        """Say how far an epoch is.

        Parameters
        ----------
        epoch, batch, batches : int
            Number of the epoch, of the batch, and of all batches.
        """
        before = f" ({self._last})" if self._last else ""
        self._say(lambda: f"epoch {epoch} of {self._epochs}, batch {batch} of {batches}{before}")


class _Told(Watch):
    """Calls a function, or nothing."""

    def __init__(self, on_epoch: Callable[[int, dict[str, float]], Any] | None = None) -> None:
        super().__init__()
        self.on_epoch, self.on_batch = on_epoch, None


def watch_training(
    progress: Callable[[int, dict[str, float]], Any] | bool | None, epochs: int
) -> TrainingLine | _Told:
    """Return what watches a training.

    Parameters
    ----------
    progress : callable, bool or None
        What is called after each epoch with its number and a dict of its numbers; or whether to show a
        line; or None for a line if it takes long and standard error is a terminal.
    epochs : int
        Number of epochs at most.

    Returns
    -------
    Watch
        A context with ``on_epoch`` and ``on_batch``, each of them None or a function.

    Raises
    ------
    InputError
        If it is none of these.

    Examples
    --------
    >>> with watch_training(False, 10) as seen:
    ...     print(seen.on_epoch)
    None
    """
    if callable(progress):
        return _Told(progress)
    if progress is not None and not isinstance(progress, bool):
        raise InputError(
            f"progress={progress!r} is neither True, False nor a function that is called after each epoch"
        )
    shown = progress if progress is not None else sys.stderr is not None and sys.stderr.isatty()
    if not shown:
        return _Told()
    return TrainingLine(epochs, after=0.0 if progress else 2.0)
