"""Trainings that can be stopped and gone on with: all that they are made of in one safetensors file."""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_cluster.config import conf
from astro_cluster.embedding.autoencoder.safefiles import (
    check_place,
    read_header,
    read_tensors,
    write_tensors,
)
from astro_cluster.embedding.autoencoder.training import State, Training
from astro_cluster.exceptions import AstroClusterWarning, InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TrainingCheckpoint", "fingerprint_of"]

_SAMPLED_ROWS = 256


def fingerprint_of(*arrays: np.ndarray | None, most_rows: int | None = _SAMPLED_ROWS) -> str:
    """Return a word that tells whether arrays are the same as before.

    Parameters
    ----------
    *arrays : array or None
        Arrays whose first axis is the row.
    most_rows : int, optional
        Of longer ones so many rows, evenly spaced, are looked at; all if None.

    Returns
    -------
    str

    Examples
    --------
    >>> fingerprint_of(np.zeros(3)) == fingerprint_of(np.zeros(4))
    False
    """
    digest = hashlib.sha256()
    for array in arrays:
        if array is None:
            digest.update(b"none")
            continue
        most = len(array) if most_rows is None else most_rows
        rows = np.unique(np.linspace(0, len(array) - 1, min(len(array), most)).astype(int))
        digest.update(f"{array.shape} {array.dtype.name}".encode())
        for row in rows:
            digest.update(np.ascontiguousarray(array[row], dtype=array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()[:32]


class TrainingCheckpoint:
    """Keeps a running training in a file: every so often, at the end, and when it is interrupted.

    Parameters
    ----------
    path : str or path
        Where to, ending in ``.safetensors``.  If a training of the same kind is in it, it is gone on with.
    about : mapping
        What must be the same for that: class, parameters, fingerprint of the images.

    Raises
    ------
    InputError
        If there cannot be such a file, or there is one that holds something else.
    """

    def __init__(self, path: str | os.PathLike[str], about: Mapping[str, Any]) -> None:
        self.path = check_place(path, overwrite=True)
        self._about = json.loads(json.dumps(dict(about)))
        self._header: dict[str, Any] | None = None
        if self.path.exists():
            self._header = self._checked(read_header(self.path))
        self._kept: tuple[dict[str, Any], dict[str, Tensor]] | None = None
        self._written = time.monotonic()
        self._warned = False

    def _checked(self, header: dict[str, Any]) -> dict[str, Any]:
        if header.get("kind") != "checkpoint" or not isinstance(header.get("about"), dict):
            raise InputError(
                f"{self.path} exists already and is no checkpoint; give the checkpoint another name"
            )
        own, other = self._about, header["about"]
        differing = [name for name in own.keys() | other.keys() if own.get(name) != other.get(name)]
        if differing:
            told = "; ".join(
                f"{name} was {other.get(name)!r} and is {own.get(name)!r}" for name in sorted(differing)
            )
            raise InputError(
                f"{self.path} holds another training ({told}); make the same call to go on with it, remove "
                "the file, or give the checkpoint another name"
            )
        return header

    @property
    def seed(self) -> int | None:
        """Seed of the training in the file, if there is any."""
        seed = None if self._header is None else self._header.get("seed")
        if self._header is not None and (isinstance(seed, bool) or not isinstance(seed, int) or seed < 0):
            raise InputError(f"{self.path} is damaged: it does not say its seed")
        return seed

    def resume(self, training: Training) -> bool:
        """Bring a new training to where that of the file stood.

        Parameters
        ----------
        training : Training
            Of the same objective, source and plan.

        Returns
        -------
        bool
            Whether there was anything to go on with.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        if self._header is None:
            return False
        try:
            state = State(**self._header["state"])
            # What ended for want of epochs goes on if there are more now.
            training.restore(state, read_tensors(self.path))
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise InputError(f"{self.path} is damaged: {error}") from error
        self._keep(training)
        return True

    def _keep(self, training: Training) -> None:
        header = {"kind": "checkpoint", "about": self._about, "seed": training.plan.seed}
        # A copy: an interruption in the midst of the next epoch must not leave half of it.
        self._kept = (
            header | {"state": json.loads(json.dumps(training.state.to_plain()))},
            training.tensors(),
        )

    def on_epoch(self, training: Training) -> None:
        """Take note of an epoch, and write it if it is time.

        Parameters
        ----------
        training : Training
            After the epoch.
        """
        self._keep(training)
        if time.monotonic() - self._written >= conf.checkpoint_interval:
            self._try_to_write()
            self._written = time.monotonic()

    def __enter__(self) -> TrainingCheckpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the last state; after an interruption say where it is."""
        if self._kept is None:
            return
        if error is None:
            self._try_to_write()
        elif not isinstance(error, InputError):
            try:
                self._write()
            except InputError as problem:
                error.add_note(f"the training could not be kept: {problem}")
                return
            error.add_note(
                f"the training after {self._kept[0]['state']['epoch']} epochs is in {self.path}; to go on, "
                f"make the same call again, with checkpoint={str(self.path)!r}"
            )

    def _try_to_write(self) -> None:
        try:
            self._write()
        except InputError as error:  # a full disk is no reason to lose the training
            if not self._warned:
                warnings.warn(f"no checkpoint can be kept: {error}", AstroClusterWarning, stacklevel=4)
            self._warned = True

    def _write(self) -> None:
        if self._kept is not None:
            header, tensors = self._kept
            write_tensors(Path(self.path), tensors, header)
