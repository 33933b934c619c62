"""What an estimator does around the training of its network: seed, checkpoint, history, files."""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state

from astro_cluster.embedding.autoencoder.checkpoint import TrainingCheckpoint
from astro_cluster.embedding.autoencoder.devices import require_torch
from astro_cluster.embedding.autoencoder.headers import history_of
from astro_cluster.embedding.autoencoder.safefiles import read_shapes, read_tensors
from astro_cluster.embedding.autoencoder.training import Training
from astro_cluster.embedding.autoencoder.watching import watch_training
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.threads import available_threads

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Progress",
    "best_of",
    "damage_told",
    "facts_of_training",
    "history_from_file",
    "layers_from_file",
    "note_training",
    "run_training",
    "seed_of",
    "threads_for",
    "unchanged_if_broken",
    "unfitted_from_file",
]

Progress = Callable[[int, dict[str, float]], Any] | bool | None
Model = TypeVar("Model", bound=Any)
Units = Callable[[Mapping[str, float]], dict[str, float]]


@contextlib.contextmanager
def unchanged_if_broken(model: Any) -> Iterator[None]:
    """Give an object back its attributes if what is done with it fails.

    Parameters
    ----------
    model : object
        Such as an estimator that is being fitted.

    Yields
    ------
    None

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> model = SimpleNamespace(a=1)
    >>> with contextlib.suppress(ValueError), unchanged_if_broken(model):
    ...     model.b = 2
    ...     raise ValueError
    >>> model
    namespace(a=1)
    """
    before = vars(model).copy()
    try:
        yield
    except BaseException:
        vars(model).clear()
        vars(model).update(before)
        raise


def seed_of(
    random_state: Any, kept: TrainingCheckpoint | None, checkpoint: str | os.PathLike[str] | None
) -> int:
    """Return the seed of a training: that of its checkpoint, or one that ``random_state`` gives.

    Parameters
    ----------
    random_state : int, `~numpy.random.RandomState` or None
        Of the estimator.
    kept : TrainingCheckpoint or None
        Where the training is kept.
    checkpoint : str, path or None
        Its file, for messages.

    Returns
    -------
    int

    Raises
    ------
    InputError
        If the checkpoint has another seed than the one that was asked for.

    Examples
    --------
    >>> seed_of(1, None, None) == seed_of(1, None, None)
    True
    """
    seed = None if kept is None else kept.seed
    if seed is not None and random_state is None:
        return seed
    own = int(check_random_state(random_state).randint(2**31 - 1))
    if seed is not None and seed != own:
        raise InputError(
            f"{checkpoint} holds a training with another seed ({seed}, not {own}, which random_state "
            "gives); give the same random_state, remove the file, or give the checkpoint another name"
        )
    return own


def threads_for(n_threads: int | None, device: str) -> int:
    """Return how many pieces of a batch are computed at a time.

    Parameters
    ----------
    n_threads : int or None
        What was asked for; None for one a core.
    device : str
        Kind of device; a GPU wants everything at once.

    Returns
    -------
    int

    Examples
    --------
    >>> threads_for(3, "cpu"), threads_for(3, "cuda")
    (3, 1)
    """
    if device != "cpu":
        return 1
    return available_threads() if n_threads is None else int(n_threads)


def run_training(
    training: Training,
    kept: TrainingCheckpoint | None,
    progress: Progress,
    *,
    in_units: Units = dict,
    on_epoch: Callable[[int, dict[str, float]], Any] | None = None,
) -> None:
    """Train, or go on with a training, while its checkpoint and whoever watches are told of each epoch.

    Parameters
    ----------
    training : Training
        New.
    kept : TrainingCheckpoint or None
        Where it is kept, and what it goes on from.
    progress : callable, bool or None
        As of `~astro_cluster.embedding.autoencoder.watching.watch_training`.
    in_units : callable, optional
        Brings the numbers of an epoch to the units in which they are told.
    on_epoch : callable, optional
        Called with the number of an epoch and its numbers, beside ``progress``; what it raises ends the
        training.

    Raises
    ------
    InputError
        If the checkpoint is damaged, or the very first epoch gives no finite loss.

    Warns
    -----
    AstroClusterWarning
        If the training diverged after a good beginning.
    """
    watch = watch_training(progress, training.plan.epochs)

    def after(running: Training, numbers: dict[str, float]) -> None:
        if kept is not None:
            kept.on_epoch(running)
        for told in (watch.on_epoch, on_epoch):
            if told is not None:
                told(running.state.epoch, in_units(numbers))

    with watch:
        if kept is None:
            training.run(on_epoch=after, on_batch=watch.on_batch)
        else:
            kept.resume(training)
            with kept:
                training.run(on_epoch=after, on_batch=watch.on_batch)
    if training.state.stopped == "diverged":
        warnings.warn(
            f"training diverged in epoch {training.state.epoch}; the weights of epoch "
            f"{training.state.best_epoch} are kept. Lower learning_rate or clip",
            AstroClusterWarning,
            stacklevel=5,
        )


def note_training(model: Any, training: Training, in_units: Units = dict) -> None:
    """Give an estimator what its training was like: ``history_``, ``best_epoch_``, ``loss_`` and so on.

    Parameters
    ----------
    model : estimator
        Changed in place.
    training : Training
        After its end.
    in_units : callable, optional
        Brings the numbers of an epoch to the units in which they are told.
    """
    state = training.state
    model.history_ = {
        name: [in_units({name: value})[name] for value in values] for name, values in state.history.items()
    }
    model.best_epoch_ = state.best_epoch
    model.held_out_loss_, model.loss_ = best_of(model, "held_out_loss"), best_of(model, "loss")
    model.held_out_rows_ = training.held_out
    model.stopped_ = state.stopped or "epochs"


def best_of(model: Any, name: str) -> float:
    """Return a number of the best epoch of a fitted estimator.

    Parameters
    ----------
    model : estimator
        With ``history_`` and ``best_epoch_``.
    name : str
        Of the number.

    Returns
    -------
    float
        NaN if the history does not have it.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> best_of(SimpleNamespace(history_={"loss": [3.0, 2.0]}, best_epoch_=2), "loss")
    2.0
    """
    values = model.history_.get(name)
    return math.nan if values is None else float(values[model.best_epoch_ - 1])


def facts_of_training(model: Any, call: str) -> dict[str, Any]:
    """Return plain numbers of a fit, for the record.

    Parameters
    ----------
    model : estimator
        Fitted.
    call : str
        What to call first if it is not, for the message.

    Returns
    -------
    dict
        ``epochs``, ``best_epoch``, ``loss``, ``held_out_loss``, ``seconds``, ``stopped``, ``n_weights``,
        ``n_held_out`` and ``history``.

    Raises
    ------
    NotFittedError
        Before the fit.
    """
    if not hasattr(model, "layers_"):
        raise NotFittedError(f"this {type(model).__name__} is not fitted; call {call} first")
    return {
        "epochs": len(model.history_["epoch"]),
        "best_epoch": model.best_epoch_,
        "loss": model.loss_,
        "held_out_loss": None if math.isnan(model.held_out_loss_) else model.held_out_loss_,
        "seconds": round(math.fsum(model.history_["seconds"]), 3),
        "stopped": model.stopped_,
        "n_weights": sum(p.numel() for p in model.layers_.parameters()),
        "n_held_out": len(model.held_out_rows_),
        "history": {name: list(values) for name, values in model.history_.items()},
    }


# ---------------------------------------------------------------- files


def unfitted_from_file(cls: type[Model], header: Mapping[str, Any], device: str) -> Model:
    """Return an estimator with the parameters that a file says; whether they make sense is not looked at.

    Parameters
    ----------
    cls : type
        Of the estimator.
    header : mapping
        From a file, so it may be anything.
    device : str
        Where it is to compute.

    Returns
    -------
    estimator

    Raises
    ------
    InputError, KeyError, TypeError, ValueError
        If they are none of its parameters, or the seed is none.
    """
    parameters = dict(header["parameters"])
    if unknown := set(parameters) - set(cls().get_params()):
        raise InputError(f"it has the unknown parameters {', '.join(sorted(map(str, unknown)))}")
    model = cls(**parameters)
    model.device = device
    if isinstance(model.random_state, bool) or not isinstance(model.random_state, int | None):
        raise InputError("its random_state is no whole number")
    return model


def history_from_file(model: Any, header: Mapping[str, Any]) -> None:
    """Give an estimator what a file says of its training, if it makes sense.

    Parameters
    ----------
    model : estimator
        Changed in place.
    header : mapping
        From a file, so it may be anything.

    Raises
    ------
    InputError, KeyError, TypeError, ValueError
        If it does not.
    """
    history, best_epoch = history_of(header["history"]), header["best_epoch"]
    if type(best_epoch) is not int or not 1 <= best_epoch <= len(history["epoch"]):
        raise InputError("its best epoch is none of its history")
    held_out = np.array(header["held_out_rows"], dtype=int).reshape(-1)
    model.history_, model.best_epoch_ = history, best_epoch
    model.held_out_loss_, model.loss_ = best_of(model, "held_out_loss"), best_of(model, "loss")
    model.held_out_rows_ = held_out
    model.stopped_ = str(header.get("stopped", "epochs"))


def layers_from_file(
    path: Path, make: Callable[[], Any], *, beside: Mapping[str, tuple[int, ...]] | None = None
) -> tuple[Any, dict[str, Tensor]]:
    """Return an objective with the weights of a file, if they are all that it needs and no more.

    Parameters
    ----------
    path : path
        The file.
    make : callable
        Makes an objective with new layers.
    beside : mapping of str to tuple of int, optional
        Names and shapes of other tensors that must be in the file.

    Returns
    -------
    objective : Objective
        What ``make`` made.
    tensors : dict of str to tensor
        Those of ``beside``.

    Raises
    ------
    InputError
        If names, shapes or types are others, or a number is not finite.
    """
    torch = require_torch()
    beside = beside or {}
    # First without memory: what the file says must not make anything larger than the file is.
    with torch.device("meta"):
        wanted = {name: tuple(v.shape) for name, v in make().layers.state_dict().items()} | dict(beside)
    found = read_shapes(path)
    if wanted != found:
        odd = sorted(set(wanted.items()) ^ set(found.items()))[0][0]
        raise InputError(f"its weights are not those of this network (the first that differs is {odd})")
    objective = make()
    tensors = read_tensors(path)
    own = objective.layers.state_dict()
    for name in wanted:
        kind = own[name].dtype if name in own else torch.float64
        if tensors[name].dtype != kind or not bool(torch.isfinite(tensors[name]).all()):
            raise InputError(f"its weights {name} are no finite numbers of the right type")
    objective.layers.load_state_dict({name: tensors[name] for name in own})
    return objective, {name: tensors[name] for name in beside}


@contextlib.contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with what a file says into one message that names the file.

    Parameters
    ----------
    path : path
        The file.

    Yields
    ------
    None

    Raises
    ------
    InputError
        Instead of any error that something odd in a file can cause.

    Examples
    --------
    >>> with damage_told(Path("a.safetensors")):
    ...     {}["scale"]
    Traceback (most recent call last):
      ...
    astro_cluster.exceptions.InputError: a.safetensors is no model ... it does not say its 'scale'
    """
    try:
        yield
    except (InputError, KeyError, TypeError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
        what = f"it does not say its {error}" if isinstance(error, KeyError) else error
        raise InputError(f"{path} is no model that can be used, or it is damaged: {what}") from error
