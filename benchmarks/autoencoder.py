"""Our training loop against the plain one of PyTorch: ``python benchmarks/autoencoder.py``.

The plain loop is a TensorDataset and a DataLoader (batch 128, shuffled), float32 images as
(n, 1, h, w), Adam; ours is `astro_cluster.embedding.autoencoder.training`.  Both train the same
network from the same weights with the same loss, optimiser, batch size and learning rate, and are
judged by the same held-out images (in one work ours trains our default network and theirs that of
the study).  What is compared is the time until both have reached the same held-out loss: the
lowest that the worse of the two ever reaches.  Judging is not counted in either time.

The last work is the InfoVAE of spectra, 1500-256-128-9-128-256-1500, on simulated spectra of six components
with errors; the plain loop has its spectra and weights in a TensorDataset too.

Both run in this process, an epoch each in turn.  Each setting is a process of its own, because the
number of threads of OpenMP is decided at its start.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import machine
from torch.utils.data import DataLoader, TensorDataset

import astro_cluster as ac
from astro_cluster.embedding.autoencoder import ConvAutoencoder, DenseAutoencoder
from astro_cluster.embedding.autoencoder.base import Autoencoder
from astro_cluster.embedding.autoencoder.batches import ImageRows, held_out_split
from astro_cluster.embedding.autoencoder.devices import one_thread_each
from astro_cluster.embedding.autoencoder.objective import ImageObjective
from astro_cluster.embedding.autoencoder.training import Plan, Training
from astro_cluster.embedding.infovae import InfoVAE
from astro_cluster.embedding.infovae.objective import InfoVAEObjective
from astro_cluster.embedding.infovae.rows import SpectrumRows

BATCH = 128
PIXELS, COMPONENTS = 1500, 6
SPECTRA = "InfoVAE of 1,500 pixels"


@dataclass
class Run:
    """Seconds and held-out loss after each epoch."""

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def add(self, seconds: float, loss: float) -> None:
        """Take note of an epoch."""
        self.seconds.append(seconds + (self.seconds[-1] if self.seconds else 0.0))
        self.losses.append(loss)

    def reached(self, loss: float) -> float:
        """Return the seconds until a loss was reached."""
        return next(
            (t for t, found in zip(self.seconds, self.losses, strict=True) if found <= loss), float("inf")
        )


def images_of(n: int, size: int, seed: int) -> np.ndarray:
    """Return simulated galaxies, each between 0 and 1, as the study scales them."""
    images = np.array(ac.simulate.galaxies(n, size=size, random_state=seed)["image"], dtype=np.float32)
    np.nan_to_num(images, copy=False)
    images -= images.min(axis=(1, 2), keepdims=True)
    images /= np.maximum(images.max(axis=(1, 2), keepdims=True), 1e-12)
    return images


def objective_of(model: Autoencoder, images: np.ndarray, seed: int) -> ImageObjective:
    return model._objective((*images.shape[1:], 1), seed)


class Ours:
    """Our loop, an epoch at a time."""

    def __init__(
        self, model: Autoencoder, images: np.ndarray, learned: np.ndarray, seed: int, threads: int
    ) -> None:
        self.objective = objective_of(model, images, seed)
        plan = Plan(batch_size=BATCH, n_threads=threads, seed=seed, clip=None, patience=None)
        self.training = Training(self.objective, ImageRows(images), plan, learned, learned[:0])

    def epoch(self) -> None:
        """Learn from all images once."""
        with one_thread_each():
            self.training._epoch(None)


class Theirs:
    """The plain loop, an epoch at a time, with the network of ours as torch lays it out by itself."""

    def __init__(
        self, model: Autoencoder, images: np.ndarray, learned: np.ndarray, seed: int, threads: int
    ) -> None:
        self.objective = objective_of(model, images, seed)
        self.objective.layers.to(memory_format=torch.contiguous_format)
        self.threads = threads
        data = TensorDataset(torch.from_numpy(images[learned])[:, None])
        torch.manual_seed(seed)
        self.loader = DataLoader(data, batch_size=BATCH, shuffle=True)
        self.optimiser = torch.optim.Adam(self.objective.layers.parameters(), lr=1e-3)

    def epoch(self) -> None:
        """Learn from all images once."""
        torch.set_num_threads(self.threads)
        network, objective = self.objective.network, self.objective
        network.layers.train()
        functional = torch.nn.functional
        for (batch,) in self.loader:
            self.optimiser.zero_grad()
            outputs = network.decode(network.normalise(network.encode(batch)))
            if "bce" in objective.coefficients:
                loss = functional.binary_cross_entropy_with_logits(outputs, batch)
            else:
                loss = functional.mse_loss(objective.images_of(outputs), batch)
            loss.backward()
            self.optimiser.step()


def spectra_of(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return simulated spectra of a few components, of variance about 1, and their inverse variances."""
    rng = np.random.default_rng(seed)
    components = rng.normal(size=(COMPONENTS, PIXELS)).cumsum(axis=1)
    components /= COMPONENTS**0.5 * components.std(axis=1, keepdims=True)
    ivar = rng.uniform(4.0, 100.0, size=(n, PIXELS))
    flux = rng.normal(size=(n, COMPONENTS)) @ components + rng.normal(size=ivar.shape) / np.sqrt(ivar)
    return flux.astype(np.float32), ivar.astype(np.float32)


def infovae_objective(seed: int) -> InfoVAEObjective:
    return InfoVAE(9, kernel="single")._objective(PIXELS, 1.0, seed)


class OurSpectra(Ours):
    """Our loop over spectra."""

    def __init__(
        self, flux: np.ndarray, ivar: np.ndarray, learned: np.ndarray, seed: int, threads: int
    ) -> None:
        self.objective = infovae_objective(seed)
        plan = Plan(batch_size=BATCH, n_threads=threads, seed=seed, clip=None, patience=None)
        source = SpectrumRows(flux, ivar, softening=0.0)
        self.training = Training(self.objective, source, plan, learned, learned[:0])


class TheirSpectra:
    """The plain loop over spectra, with the loss as it is usually written."""

    def __init__(
        self, flux: np.ndarray, ivar: np.ndarray, learned: np.ndarray, seed: int, threads: int
    ) -> None:
        self.objective = infovae_objective(seed)
        layers = self.objective.layers
        self.encoder, self.decoder, self.threads = layers["encoder"], layers["decoder"], threads
        torch.manual_seed(seed)
        data = TensorDataset(torch.from_numpy(flux[learned]), torch.from_numpy(ivar[learned]))
        self.loader = DataLoader(data, batch_size=BATCH, shuffle=True)
        self.optimiser = torch.optim.Adam(layers.parameters(), lr=1e-3)

    def epoch(self) -> None:
        """Learn from all spectra once."""
        torch.set_num_threads(self.threads)
        kernel = lambda a, b: (-(a[:, None] - b[None]).square().mean(2)).exp()  # noqa: E731
        self.objective.layers.train()
        for flux, ivar in self.loader:
            self.optimiser.zero_grad()
            mean, log_variance = self.encoder(flux).chunk(2, dim=1)
            latents = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
            chi2 = (ivar * (flux - self.decoder(latents)).square()).sum(1).mean()
            kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
            prior, n = torch.randn_like(latents), len(latents)
            within = (kernel(latents, latents).sum() + kernel(prior, prior).sum() - 2 * n) / (n * (n - 1))
            mmd = within - 2 * kernel(latents, prior).mean()
            coefficients = self.objective.coefficients
            (0.5 * chi2 + coefficients["kl"] * kl + coefficients["mmd"] * mmd).backward()
            self.optimiser.step()


def compare_spectra(n: int, epochs: int, seed: int, threads: int) -> tuple[Run, Run]:
    """Train both on spectra, an epoch in turn."""
    flux, ivar = spectra_of(n, 1)
    learned, held_out = held_out_split(np.arange(n), 0.1, np.random.default_rng(seed))
    source = SpectrumRows(flux, ivar, softening=0.0)
    sides = [side(flux, ivar, learned, seed, threads) for side in (OurSpectra, TheirSpectra)]
    return train_in_turn(sides, source, learned, held_out, epochs)


WORKS: dict[str, Callable[[], Autoencoder]] = {
    "study conv, BCE": lambda: ConvAutoencoder(architecture="study", loss="bce"),
    "study dense, BCE": lambda: DenseAutoencoder(architecture="study", loss="bce"),
    "default conv, MSE": lambda: ConvAutoencoder(loss="mse"),
    "default dense, MSE": lambda: DenseAutoencoder(loss="mse"),
    "default conv against study conv, MSE": lambda: ConvAutoencoder(loss="mse"),
}
# Where the two sides do not train the same network: what our users get against what the study had.
THEIRS: dict[str, Callable[[], Autoencoder]] = {
    "default conv against study conv, MSE": lambda: ConvAutoencoder(architecture="study", loss="mse"),
}


def compare(work: str, images: np.ndarray, epochs: int, seed: int, threads: int) -> tuple[Run, Run]:
    """Train both, an epoch in turn."""
    learned, held_out = held_out_split(np.arange(len(images)), 0.1, np.random.default_rng(seed))
    make = WORKS[work]
    sides = [
        Ours(make(), images, learned, seed, threads),
        Theirs(THEIRS.get(work, make)(), images, learned, seed, threads),
    ]
    return train_in_turn(sides, ImageRows(images), learned, held_out, epochs)


def train_in_turn(
    sides: list[Any], source: Any, learned: np.ndarray, held_out: np.ndarray, epochs: int
) -> tuple[Run, Run]:
    """Train both, an epoch in turn, and judge them after each."""
    runs = (Run(), Run())
    for _ in range(epochs):
        for side, run in zip(sides, runs, strict=True):
            began = time.perf_counter()
            side.epoch()
            seconds = time.perf_counter() - began
            judge = Training(side.objective, source, Plan(batch_size=BATCH), learned, held_out)
            run.add(seconds, judge._total(judge.evaluate(held_out)))
    return runs


def profile(works: list[str], images: np.ndarray, threads: int) -> list[str]:
    """Return what share of the plain loop is loading, and what each of our changes brings, an epoch each."""
    learned = np.arange(min(len(images), 512))
    lines = []
    for work in (work for work in works if work not in THEIRS):
        make = WORKS[work]
        theirs = Theirs(make(), images, learned, 1, threads)
        theirs.epoch()
        began = time.perf_counter()
        for _ in theirs.loader:
            pass
        loading = time.perf_counter() - began
        began = time.perf_counter()
        theirs.epoch()
        whole = time.perf_counter() - began
        steps = {"plain": whole}
        theirs.objective.layers.to(memory_format=torch.channels_last)
        theirs.epoch()
        began = time.perf_counter()
        theirs.epoch()
        steps["channels last"] = time.perf_counter() - began
        for name, rows in (("our loop, one shard", BATCH), ("our loop", None)):
            ours = Ours(make(), images, learned, 1, threads)
            if rows:
                ours.objective.shard_rows = rows
            ours.epoch()
            began = time.perf_counter()
            ours.epoch()
            steps[name] = time.perf_counter() - began
        told = ", ".join(f"{name} {1e3 * seconds / len(learned):.2f}" for name, seconds in steps.items())
        _say(lines, f"| {work} | {threads} | {100 * loading / whole:.1f} % | {told} |")
    return lines


def run(arguments: argparse.Namespace) -> list[str]:
    """Return the rows of one setting."""
    threads = int(os.environ["OMP_NUM_THREADS"])
    of_images = [work for work in arguments.works if work != SPECTRA]
    images = images_of(arguments.n, arguments.size, 1) if of_images else np.empty(0)
    if arguments.profile:
        return profile(of_images, images, threads) if of_images else []
    lines = []
    for work in arguments.works:
        found = [
            compare_spectra(arguments.n, 3 * arguments.epochs, seed, threads)
            if work == SPECTRA
            else compare(work, images, arguments.epochs, seed, threads)
            for seed in range(1, arguments.seeds + 1)
        ]
        ratios, each, ours_s, theirs_s, losses = [], [], [], [], []
        for ours, theirs in found:
            loss = max(min(ours.losses), min(theirs.losses))
            ours_s.append(ours.reached(loss))
            theirs_s.append(theirs.reached(loss))
            ratios.append(theirs_s[-1] / ours_s[-1])
            each.append(theirs.seconds[-1] / ours.seconds[-1])
            losses.append(loss)
        _say(
            lines,
            f"| {work} | {threads} | {statistics.median(losses):.5g} | {_spread(ours_s)} s | "
            f"{_spread(theirs_s)} s | {_spread(ratios)} | {_spread(each)} |",
        )
    return lines


def _say(lines: list[str], line: str) -> None:
    lines.append(line)
    print(line, file=sys.stderr, flush=True)  # at once: the whole takes long


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g}–{max(values):.3g})"


HEAD = [
    "| network, loss | threads | held-out loss | ours | DataLoader loop | at equal loss | an epoch |",
    "|---|---|---|---|---|---|---|",
]
PROFILE_HEAD = [
    "",
    "| network, loss | threads | loading, of the plain loop | ms an image |",
    "|---|---|---|---|",
]


def main() -> None:
    """Run all settings, each in a process of its own, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("works", nargs="*", choices=[*WORKS, SPECTRA, []], help="which; all by default")
    parser.add_argument("-n", type=int, default=4000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--profile", action="store_true", help="only tell where the time goes")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    arguments.works = arguments.works or [*WORKS, SPECTRA]
    if arguments.child:
        print("\n".join(run(arguments)))
        return
    lines = [
        f"Made by `python benchmarks/autoencoder.py -n {arguments.n} --size {arguments.size} "
        f"--epochs {arguments.epochs} --seeds {arguments.seeds}`: {machine()}, PyTorch {torch.__version__}, "
        f"{platform.system()}.  Simulated galaxies; medians of {arguments.seeds} seeds (smallest–largest); "
        "ratio = theirs / ours; wanted: 1.5.",
        "",
    ]
    for kind, head in (([], HEAD), (["--profile"], PROFILE_HEAD)):
        if arguments.profile and not kind:
            continue
        lines += head
        for threads in arguments.threads:
            command = [sys.executable, __file__, *arguments.works, "--child", *kind, "-n", str(arguments.n)]
            command += ["--size", str(arguments.size), "--epochs", str(arguments.epochs)]
            command += ["--seeds", str(arguments.seeds)]
            environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            lines += done.stdout.strip().splitlines()
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
