"""The training loop.  It knows no network and no images, so anything that learns can use it.

A batch goes through the network in shards of a few rows, which threads share among them, and the
gradients of the shards are added up in their order.  How a batch is cut does not depend on the
number of threads, and each operation uses one thread; so the result is the same, bit for bit, on any
number of threads.  What looks at a whole batch (a batch normalisation, an MMD) happens between
encoder and decoder, once, on the latents of all shards; the gradients go back the same way.

All chance comes from one generator of NumPy, whose state is plain numbers, so that a training that was
stopped goes on exactly where it stood.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from astro_cluster.embedding.autoencoder.batches import Shard, batches_of, pieces_of
from astro_cluster.embedding.autoencoder.devices import one_thread_each, require_torch
from astro_cluster.exceptions import InputError, did_you_mean
from astro_cluster.threads import run_all

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["OPTIMISERS", "DivergedError", "Objective", "Plan", "Source", "State", "Training"]

_LEARNING_RATES = {"adam": 1e-3, "adamw": 1e-3, "adadelta": 1.0, "sgd": 1e-2}
OPTIMISERS = tuple(_LEARNING_RATES)
_PLATEAU_FACTOR = 0.5
_LEAST_RATE = 1e-3  # of the first learning rate: it is not lowered any further
_LEAST_GAIN = 1e-4  # share by which a loss must fall to count as better for the learning rate


class DivergedError(InputError):
    """Nothing but NaN came of a training: its parameters do not suit the data."""


class Source(Protocol):
    """Where the rows are."""

    def draw(self, generator: np.random.Generator, n: int) -> np.ndarray | None:
        """Draw what is done to each of n rows while they are learned from; None for nothing."""
        ...

    def take(self, rows: np.ndarray, choices: np.ndarray | None = None) -> Shard:
        """Return rows as the network takes them; ``weight`` is what a mean over them divides by."""
        ...


class Objective(Protocol):
    """What is minimised: Σ over ``coefficients`` of a coefficient times a term.

    Attributes
    ----------
    layers : torch.nn.Module
        Holds all weights.
    shard_rows : int
        Rows that go through the network at a time.
    couples : bool
        Whether `join` does anything at all; if not, encoder and decoder of a shard run in one go.
    coefficients : dict of str to float
        How much each term of `join` and `compare` counts.
    """

    layers: torch.nn.Module
    shard_rows: int
    couples: bool
    coefficients: Mapping[str, float]

    def draw(self, generator: np.random.Generator, n: int) -> dict[str, np.ndarray]:
        """Draw what `join` needs for a batch of n rows."""
        ...

    def encode(self, shard: Shard) -> Tensor:
        """Return the codes of a few rows, (m, k)."""
        ...

    def join(self, codes: Tensor, draws: Mapping[str, np.ndarray]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the latents of a whole batch, and terms that are means over it."""
        ...

    def compare(self, latents: Tensor, shard: Shard) -> dict[str, Tensor]:
        """Return terms of a few rows as sums, which are divided by the weight of the batch."""
        ...


@dataclass(frozen=True)
class Plan:
    """How to train.

    Parameters
    ----------
    epochs : int
        Most passes over the rows.
    batch_size : int
        Rows in a step.
    optimiser : {"adam", "adamw", "adadelta", "sgd"}
        Method.
    learning_rate : float or None
        The first one; None for the optimiser's own: 0.001, 0.001, 1 and 0.01.
    patience : int or None
        Epochs without a better loss after which training ends; after half as many, the
        learning rate is halved.  None for neither.
    clip : float or None
        Largest norm that a gradient may have.
    n_threads : int
        Shards that are computed at a time.
    seed : int
        Seed.

    Raises
    ------
    InputError
        If the optimiser is unknown.

    Examples
    --------
    >>> Plan(optimiser="adadelta").first_rate
    1.0
    """

    epochs: int = 100
    batch_size: int = 128
    optimiser: str = "adam"
    learning_rate: float | None = None
    patience: int | None = 10
    clip: float | None = 5.0
    n_threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.optimiser not in _LEARNING_RATES:
            raise InputError(
                f"there is no optimiser {self.optimiser!r}, only {', '.join(OPTIMISERS)}"
                + did_you_mean(self.optimiser, OPTIMISERS)
            )

    @property
    def first_rate(self) -> float:
        """The learning rate at the beginning."""
        return _LEARNING_RATES[self.optimiser] if self.learning_rate is None else self.learning_rate


@dataclass
class State:
    """How far a training is, in plain numbers.

    Parameters
    ----------
    rate : float
        Learning rate.
    generator : dict
        State of the generator.
    epoch : int
        Epochs that are done.
    best_epoch, best_loss : int, float
        Where the judging loss was lowest.
    stale, flat : int
        Epochs since it fell, and since it fell by enough or the rate was lowered.
    level : float
        The loss that counts for ``flat``.
    stopped : str
        Why training is over: ``""`` while it is not, ``"patience"``, ``"diverged"``.
    history : dict of str to list
        Numbers of each epoch.
    """

    rate: float
    generator: dict[str, Any]
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    stale: int = 0
    flat: int = 0
    level: float = math.inf
    stopped: str = ""
    history: dict[str, list[float]] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """Return what JSON can keep.

        Returns
        -------
        dict
        """
        return asdict(self)


class Training:
    """One training, that can be looked at, kept and gone on with between epochs.

    Parameters
    ----------
    objective : Objective
        What is minimised.
    source : Source
        Where the rows are.
    plan : Plan
        How.
    learned, held_out : array of int
        Rows to learn from, and rows whose loss decides when to stop; without any of these the
        loss of the others decides.

    Attributes
    ----------
    state : State
        How far it is.
    best : dict of str to tensor
        Weights at the best epoch.
    """

    def __init__(
        self, objective: Objective, source: Source, plan: Plan, learned: np.ndarray, held_out: np.ndarray
    ) -> None:
        self.objective, self.source, self.plan = objective, source, plan
        self.learned, self.held_out = learned, held_out
        self.parameters = [p for p in objective.layers.parameters() if p.requires_grad]
        self.optimiser = _optimiser(plan, self.parameters)
        self.generator = np.random.default_rng([plan.seed, 1])
        self.state = State(plan.first_rate, self.generator.bit_generator.state)
        self.best: dict[str, Tensor] = self.weights()

    # ------------------------------------------------------------ what is kept

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of all weights.

        Returns
        -------
        dict of str to tensor
        """
        return {name: value.detach().clone() for name, value in self.objective.layers.state_dict().items()}

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of all that is needed to go on, beside `state`.

        Returns
        -------
        dict of str to tensor
            Names begin with ``network.``, ``best.`` and ``optimiser.``; on the processor.
        """
        found = {f"network.{name}": value for name, value in self.weights().items()}
        found |= {f"best.{name}": value for name, value in self.best.items()}
        for number, values in self.optimiser.state_dict()["state"].items():
            found |= {f"optimiser.{number}.{name}": value.clone() for name, value in values.items()}
        return {name: value.cpu().contiguous() for name, value in found.items()}

    def restore(self, state: State, tensors: Mapping[str, Tensor]) -> None:
        """Go back to what `state` and `tensors` were.

        Parameters
        ----------
        state : State
            As it was.
        tensors : mapping of str to tensor
            From `tensors`.

        Raises
        ------
        InputError
            If they belong to another network or another optimiser.
        """
        own = self.objective.layers.state_dict()
        for part in ("network", "best"):
            for name, value in own.items():
                other = tensors.get(f"{part}.{name}")
                if other is None or other.shape != value.shape or other.dtype != value.dtype:
                    raise InputError(
                        f"the checkpoint is damaged: {part}.{name} is missing or has another shape"
                    )
        with require_torch().no_grad():
            for name, value in own.items():
                value.copy_(tensors[f"network.{name}"])
        # A copy into tensors of our own keeps their layout in memory, on which the last bit of a sum hangs.
        self.best = self.weights()
        for name, value in self.best.items():
            value.copy_(tensors[f"best.{name}"])
        self._restore_optimiser(tensors)
        self.state = copy.deepcopy(state)
        self._set_rate(state.rate)
        self.generator.bit_generator.state = state.generator

    def _restore_optimiser(self, tensors: Mapping[str, Tensor]) -> None:
        torch = require_torch()
        restored: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if not name.startswith("optimiser."):
                continue
            _, number, key = name.split(".", 2)
            if not number.isdigit() or int(number) >= len(self.parameters):
                raise InputError(f"the checkpoint is damaged: it has {name}, which belongs to no weight")
            parameter = self.parameters[int(number)]
            if value.shape == parameter.shape:
                value = torch.empty_like(parameter).detach().copy_(value)
            elif value.shape != ():
                raise InputError(f"the checkpoint is damaged: {name} has another shape than its weight")
            restored.setdefault(int(number), {})[key] = value
        plain = self.optimiser.state_dict()
        self.optimiser.load_state_dict({"state": restored, "param_groups": plain["param_groups"]})

    # ------------------------------------------------------------ training

    @property
    def over(self) -> bool:
        """Whether nothing more is to be done."""
        return bool(self.state.stopped) or self.state.epoch >= self.plan.epochs

    def run(
        self,
        *,
        on_epoch: Callable[[Training, dict[str, float]], Any] | None = None,
        on_batch: Callable[[int, int, int], Any] | None = None,
    ) -> Training:
        """Train until the loss of the held-out rows falls no more, or all epochs are done.

        Parameters
        ----------
        on_epoch : callable, optional
            Called after each epoch with the training and the numbers of the epoch; what it raises
            ends the training.
        on_batch : callable, optional
            Called after each batch with the epoch, the number of the batch and that of all batches.

        Returns
        -------
        Training
            Itself; the network has the weights of the best epoch.

        Raises
        ------
        DivergedError
            If the very first epoch ends with a loss that is no number.
        """
        with one_thread_each():
            while not self.over:
                began = time.perf_counter()
                numbers = self._epoch(on_batch)
                numbers["seconds"] = time.perf_counter() - began
                self._judge(numbers)
                if on_epoch is not None:
                    on_epoch(self, numbers)
        if self.state.best_epoch == 0 and self.state.epoch > 0:
            raise DivergedError(
                f"training with {self.plan.optimiser} at a learning rate of {self.state.rate:g} gave no "
                "finite loss at all; lower learning_rate, and look at the scale of the data"
            )
        self.objective.layers.load_state_dict(self.best)
        self.objective.layers.eval()
        return self

    def _epoch(self, on_batch: Callable[[int, int, int], Any] | None) -> dict[str, float]:
        self.objective.layers.train()
        order = self.learned[self.generator.permutation(len(self.learned))]
        batches = batches_of(order, self.plan.batch_size)
        seen: dict[str, float] = {}
        for number, rows in enumerate(batches, start=1):
            for name, value in self._step(rows).items():
                seen[name] = seen.get(name, 0.0) + value * len(rows) / len(order)
            if on_batch is not None:
                on_batch(self.state.epoch + 1, number, len(batches))
        numbers = {"epoch": float(self.state.epoch + 1), "loss": self._total(seen)}
        held_out = self.evaluate(self.held_out) if len(self.held_out) else {}
        if held_out:
            numbers["held_out_loss"] = self._total(held_out)
        numbers |= seen | {f"held_out_{name}": value for name, value in held_out.items()}
        return numbers | {"learning_rate": self.state.rate}

    def _total(self, terms: Mapping[str, float]) -> float:
        return sum(self.objective.coefficients[name] * value for name, value in terms.items())

    def _judge(self, numbers: dict[str, float]) -> None:
        """Take note of an epoch, lower the rate if it is time, and end the training if it is over."""
        state, plan = self.state, self.plan
        state.epoch += 1
        loss = numbers.get("held_out_loss", numbers["loss"])
        for name, value in numbers.items():
            state.history.setdefault(name, []).append(int(value) if name == "epoch" else value)
        if not (math.isfinite(loss) and math.isfinite(numbers["loss"])):
            state.stopped = "diverged"
        elif loss < state.best_loss:
            state.best_loss, state.best_epoch, state.stale = loss, state.epoch, 0
            self.best = self.weights()
        else:
            state.stale += 1
        if plan.patience is not None and not state.stopped:
            if loss < state.level - _LEAST_GAIN * abs(state.level) or not math.isfinite(state.level):
                state.level, state.flat = loss, 0
            else:
                state.flat += 1
            if state.flat >= max(1, plan.patience // 2):
                self._set_rate(max(_PLATEAU_FACTOR * state.rate, _LEAST_RATE * plan.first_rate))
                state.flat = 0
            if state.stale >= plan.patience:
                state.stopped = "patience"
        state.generator = self.generator.bit_generator.state

    def _set_rate(self, rate: float) -> None:
        self.state.rate = rate
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    # ------------------------------------------------------------ a step

    def _shards(self, rows: np.ndarray, choices: np.ndarray | None) -> list[Shard]:
        pieces = pieces_of(len(rows), self.objective.shard_rows)
        return self._together(
            [
                functools.partial(self.source.take, rows[piece], None if choices is None else choices[piece])
                for piece in pieces
            ]
        )

    def _together(self, tasks: Sequence[Callable[[], Any]]) -> list[Any]:
        return run_all([functools.partial(_with_one_thread, task) for task in tasks], self.plan.n_threads)

    def _step(self, rows: np.ndarray) -> dict[str, float]:
        """Take one step of the optimiser, and return the terms of the batch before it."""
        choices = self.source.draw(self.generator, len(rows))
        draws = self.objective.draw(self.generator, len(rows))
        shards = self._shards(rows, choices)
        weight = math.fsum(shard.weight for shard in shards) or 1.0
        work = self._coupled if self.objective.couples else self._uncoupled
        gradients, terms = work(shards, draws, weight)
        for parameter in self.parameters:
            parameter.grad = None
        for found in gradients:
            for parameter, gradient in zip(self.parameters, found, strict=True):
                if gradient is None:
                    continue
                if parameter.grad is None:
                    parameter.grad = gradient.detach()
                else:
                    parameter.grad += gradient
        if self.plan.clip is not None:
            require_torch().nn.utils.clip_grad_norm_(self.parameters, self.plan.clip)
        self.optimiser.step()
        return terms

    def _loss(self, sums: Mapping[str, Tensor], weight: float) -> Any:
        return sum(self.objective.coefficients[name] * value / weight for name, value in sums.items())

    def _uncoupled(
        self, shards: Sequence[Shard], draws: Mapping[str, np.ndarray], weight: float
    ) -> tuple[list[Sequence[Tensor]], dict[str, float]]:
        """Return gradients and terms where each shard goes all the way by itself."""
        torch = require_torch()

        def through(shard: Shard) -> tuple[Sequence[Tensor], dict[str, float]]:
            latents, _ = self.objective.join(self.objective.encode(shard), draws)
            sums = self.objective.compare(latents, shard)
            gradients = torch.autograd.grad(self._loss(sums, weight), self.parameters)
            return gradients, {name: float(value.detach()) for name, value in sums.items()}

        done = self._together([functools.partial(through, shard) for shard in shards])
        return [gradients for gradients, _ in done], _added([sums for _, sums in done], weight)

    def _coupled(
        self, shards: Sequence[Shard], draws: Mapping[str, np.ndarray], weight: float
    ) -> tuple[list[Sequence[Tensor | None]], dict[str, float]]:
        """Return gradients and terms where the latents of the whole batch meet."""
        torch = require_torch()
        gradient_of = functools.partial(torch.autograd.grad, allow_unused=True)
        codes = self._together([functools.partial(self.objective.encode, shard) for shard in shards])
        all_codes = torch.cat([part.detach() for part in codes]).requires_grad_()
        latents, terms = self.objective.join(all_codes, draws)
        ends = np.cumsum([len(shard) for shard in shards])
        parts = [part.requires_grad_() for part in latents.detach().tensor_split(ends[:-1].tolist())]

        def decode(part: Tensor, shard: Shard) -> tuple[Sequence[Tensor], dict[str, float]]:
            sums = self.objective.compare(part, shard)
            gradients = gradient_of(self._loss(sums, weight), [part, *self.parameters])
            return gradients, {name: float(value.detach()) for name, value in sums.items()}

        decoded = self._together(
            [functools.partial(decode, part, shard) for part, shard in zip(parts, shards, strict=True)]
        )
        # What the decoder wants of the latents, as a term whose gradient is just that.
        wanted = (latents * torch.cat([gradients[0] for gradients, _ in decoded])).sum()
        middle = gradient_of(wanted + self._loss(terms, 1.0), [all_codes, *self.parameters])
        back = middle[0].tensor_split(ends[:-1].tolist())
        encoded = self._together(
            [
                functools.partial(gradient_of, part, self.parameters, grad_outputs=gradient)
                for part, gradient in zip(codes, back, strict=True)
            ]
        )
        found = [gradients[1:] for gradients, _ in decoded] + [middle[1:]] + encoded
        means = _added([sums for _, sums in decoded], weight)
        return found, means | {name: float(value.detach()) for name, value in terms.items()}

    # ------------------------------------------------------------ judging

    def evaluate(self, rows: np.ndarray) -> dict[str, float]:
        """Return the terms of the loss of some rows, without chance: no augmentation, no noise.

        Parameters
        ----------
        rows : (m,) array of int
            Numbers of rows.

        Returns
        -------
        dict of str to float
        """
        torch = require_torch()
        generator = np.random.default_rng([self.plan.seed, 2])  # the same draws of the prior each time
        sums: list[dict[str, float]] = []
        means: dict[str, float] = {}
        weight = 0.0
        with _evaluating(self.objective.layers), one_thread_each():
            for batch in batches_of(rows, self.plan.batch_size):
                draws = self.objective.draw(generator, len(batch))
                draws.pop("noise", None)
                shards = self._shards(batch, None)
                codes = self._together(
                    [functools.partial(_without_gradients, self.objective.encode, s) for s in shards]
                )
                with torch.no_grad():
                    latents, terms = self.objective.join(torch.cat(codes), draws)
                ends = np.cumsum([len(shard) for shard in shards])
                parts = latents.tensor_split(ends[:-1].tolist())
                compared = self._together(
                    [
                        functools.partial(_without_gradients, self.objective.compare, part, shard)
                        for part, shard in zip(parts, shards, strict=True)
                    ]
                )
                sums += [{name: float(value) for name, value in one.items()} for one in compared]
                weight += math.fsum(shard.weight for shard in shards)
                for name, value in terms.items():
                    means[name] = means.get(name, 0.0) + float(value) * len(batch) / len(rows)
        return _added(sums, weight or 1.0) | means


def _optimiser(plan: Plan, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
    torch = require_torch()
    made = {
        # One pass over the weights instead of a dozen: ten times as fast where there are many.
        "adam": functools.partial(torch.optim.Adam, fused=True),
        "adamw": functools.partial(torch.optim.AdamW, fused=True),
        "adadelta": torch.optim.Adadelta,
        "sgd": functools.partial(torch.optim.SGD, momentum=0.9),
    }[plan.optimiser]
    return made(parameters, lr=plan.first_rate)


def _added(sums: Sequence[Mapping[str, float]], weight: float) -> dict[str, float]:
    return {name: math.fsum(one[name] for one in sums) / weight for name in sums[0]}


def _with_one_thread(task: Callable[[], Any]) -> Any:
    # A thread of a pool has its own number of threads for what it computes.
    torch = require_torch()
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    return task()


def _without_gradients(call: Callable[..., Any], *arguments: Any) -> Any:
    with require_torch().no_grad():  # holds for one thread
        return call(*arguments)


@contextlib.contextmanager
def _evaluating(layers: torch.nn.Module) -> Iterator[None]:
    before = layers.training
    layers.eval()
    try:
        yield
    finally:
        layers.train(before)
