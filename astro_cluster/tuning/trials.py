"""One trial: a model is trained with the values that are tried, unless it is hopeless before the end."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from astro_cluster.embedding.autoencoder.safefiles import read_header
from astro_cluster.embedding.autoencoder.training import DivergedError
from astro_cluster.exceptions import AstroClusterWarning
from astro_cluster.tuning.journal import Journal, quiet
from astro_cluster.tuning.material import Material
from astro_cluster.tuning.space import Space

__all__ = ["RESULT", "OutOfTime", "Search", "error_of_mean", "file_of", "means_of"]

RESULT = "result"
"""Entry of a trial in the journal that says how it went."""


class OutOfTime(Exception):
    """The time is over; what is done so far is in the folder."""


class _Hopeless(Exception):
    """Most of the other trials were better at this epoch."""


def file_of(n_latent: int) -> str:
    """Return the name of the file of the best model of a size.

    Parameters
    ----------
    n_latent : int
        Number of latents.

    Returns
    -------
    str

    Examples
    --------
    >>> file_of(9)
    'latent_9.safetensors'
    """
    return f"latent_{n_latent}.safetensors"


@dataclass
class Search:
    """What every trial needs.

    Parameters
    ----------
    model : InfoVAE
        Has all parameters that are not searched.
    material : Material
        The spectra.
    held_out : array of int
        Rows that are not learned from.
    space : Space
        What is searched.
    folder : path
        Where models and checkpoints are kept.
    prune : bool
        Whether hopeless trials are ended early.
    deadline : float
        Time of `time.monotonic` at which to stop.
    progress : callable, bool or None
        As of the model's ``fit``.
    """

    model: Any
    material: Material
    held_out: np.ndarray
    space: Space
    folder: Path
    prune: bool = True
    deadline: float = math.inf
    progress: Any = None

    def run(self, journal: Journal, study: Any, trial: Any) -> dict[str, Any]:
        """Run a trial to its end, and keep its model if it is the best of its size so far.

        Parameters
        ----------
        journal : Journal
            Where it is told.
        study : `optuna.study.Study`
            Of its size.
        trial : `optuna.trial.Trial`
            New, or cut short.

        Returns
        -------
        dict
            Its result.

        Raises
        ------
        OutOfTime
            If the time is over before.
        InputError
            If no model can be trained at all.
        """
        n_latent = int(study.study_name.removeprefix("latent-"))
        with quiet():
            values = self.space.suggested(trial)
        place = self.folder / f"trial_{n_latent}_{trial.number}.safetensors"
        state = journal.optuna.trial.TrialState
        watcher = _Watcher(trial, self.prune, self.deadline)
        best = None
        try:
            with _kept_in(place, watcher):
                model = self.trained(n_latent, values, checkpoint=place, on_epoch=watcher)
            result, ended = self._judged(model), state.COMPLETE
            if _is_best(study, result["held_out_chi2"], state):
                best = model
        except _Hopeless:
            result, ended = _broken_off(place), state.PRUNED
        except DivergedError as error:  # anything else would go wrong in each trial
            warnings.warn(
                f"{_told(n_latent, trial.number, values)}: {error}", AstroClusterWarning, stacklevel=4
            )
            result, ended = {"epochs": 0, "seconds": 0.0}, state.FAIL
        if best is not None:
            best.save(self.folder / file_of(n_latent), overwrite=True)
        with quiet():
            trial.set_user_attr(RESULT, {"values": values} | result)
            study.tell(trial, result["held_out_chi2"] if ended == state.COMPLETE else None, state=ended)
        place.unlink(missing_ok=True)
        return result

    def trained(
        self,
        n_latent: int,
        values: Mapping[str, Any],
        *,
        checkpoint: Path | None = None,
        on_epoch: Callable[[int, dict[str, float]], Any] | None = None,
    ) -> Any:
        """Return a model trained with given values.

        Parameters
        ----------
        n_latent : int
            Number of latents.
        values : mapping
            From `Space.suggested`.
        checkpoint : path, optional
            Where the training is kept.
        on_epoch : callable, optional
            Called after each epoch.

        Returns
        -------
        InfoVAE
        """
        from sklearn.base import clone

        model = clone(self.model).set_params(n_latent=n_latent, **self.space.parameters(values))
        return model.fit(
            self.material.flux,
            **self.material.given(),
            held_out_rows=self.held_out,
            checkpoint=checkpoint,
            progress=self.progress,
            on_epoch=on_epoch,
        )

    def _judged(self, model: Any) -> dict[str, Any]:
        errors = self.material.judged_by(model, self.held_out)
        return _of_epoch(model.history_, model.best_epoch_) | means_of(errors)


def _told(n_latent: int, number: int, values: Mapping[str, Any]) -> str:
    return f"trial {number} of {n_latent} latents ({', '.join(f'{k}={v}' for k, v in values.items())})"


def error_of_mean(values: np.ndarray) -> float:
    """Return the standard error of a mean.

    Parameters
    ----------
    values : (n,) array of float
        Independent ones.

    Returns
    -------
    float
        NaN for fewer than two.

    Examples
    --------
    >>> error_of_mean(np.array([1.0, 3.0]))
    1.0
    """
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def means_of(errors: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the means over the spectra that are held out, and the error of that of χ².

    Parameters
    ----------
    errors : mapping of str to (n,) array
        ``mse`` and ``chi2``, NaN where there is none.

    Returns
    -------
    dict of str to float
        ``held_out_mse``, ``held_out_chi2`` and ``held_out_chi2_error``.

    Examples
    --------
    >>> means_of({"mse": np.array([0.1, 0.1]), "chi2": np.array([1.0, 3.0])})
    {'held_out_mse': 0.1, 'held_out_chi2': 2.0, 'held_out_chi2_error': 1.0}
    """
    chi2 = errors["chi2"][np.isfinite(errors["chi2"])]
    return {
        "held_out_mse": float(np.nanmean(errors["mse"])),
        "held_out_chi2": float(chi2.mean()),
        "held_out_chi2_error": error_of_mean(chi2),
    }


def _of_epoch(history: Mapping[str, list[float]], epoch: int) -> dict[str, Any]:
    """Return the numbers of an epoch of a training."""
    found = {
        name: float(history[f"held_out_{term}"][epoch - 1])
        for name, term in (
            ("held_out_loss", "loss"),
            ("held_out_mse", "mse"),
            ("held_out_chi2", "chi2"),
            ("kl", "kl"),
            ("mmd", "mmd"),
        )
    }
    return found | {
        "epochs": len(history["epoch"]),
        "best_epoch": int(epoch),
        "seconds": round(math.fsum(history["seconds"]), 3),
    }


def _is_best(study: Any, value: float, state: Any) -> bool:
    with quiet():
        others = study.get_trials(deepcopy=False, states=(state.COMPLETE,))
    return all(value < other.value for other in others)


def _broken_off(place: Path) -> dict[str, Any]:
    """Return the numbers of a training that was ended early: its checkpoint has them."""
    state = read_header(place)["state"]
    return _of_epoch(state["history"], max(1, state["best_epoch"]))


@contextlib.contextmanager
def _kept_in(place: Path, watcher: _Watcher) -> Iterator[None]:
    """Tell the journal first what a training that goes on had told its checkpoint only."""
    if place.exists():
        state = read_header(place).get("state")
        history = state.get("history") if isinstance(state, dict) else None
        if isinstance(history, dict) and "held_out_chi2" in history:
            for epoch, value in zip(history["epoch"], history["held_out_chi2"], strict=False):
                watcher.tell(int(epoch), float(value))
    yield


@dataclass
class _Watcher:
    """Tells the journal of each epoch, and ends a trial when it is hopeless or the time is over."""

    trial: Any
    prune: bool
    deadline: float
    known: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        with quiet():
            trials = self.trial.study.get_trials(deepcopy=False)
        self.known = set(trials[self.trial.number].intermediate_values)

    def __call__(self, epoch: int, numbers: Mapping[str, float]) -> None:
        self.tell(epoch, float(numbers["held_out_chi2"]))
        if time.monotonic() > self.deadline:
            raise OutOfTime

    def tell(self, epoch: int, value: float) -> None:
        """Tell of an epoch, unless it was told before the training was cut short.

        Parameters
        ----------
        epoch : int
            Its number.
        value : float
            χ² of the spectra held out.
        """
        with quiet():
            if epoch not in self.known:
                self.trial.report(value, epoch)
                self.known.add(epoch)
            # Before the last one told, it was decided not to end the trial.
            last = self.prune and math.isfinite(value) and epoch >= max(self.known)
            if last and self.trial.should_prune():
                raise _Hopeless
