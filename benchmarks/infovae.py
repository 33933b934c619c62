"""How well spectra come back from few numbers: ``python benchmarks/infovae.py``.

`InfoVAE` against `WeightedPCA` of the same size on `simulate.quasars`: both learn from the same rows and
are judged by the same others, that neither learned from and that did not decide when to stop.

- chi2: mean over the spectra of χ² per pixel that counts, with the inverse variances as they are; and its
  median, for bright spectra decide on the mean
- weighted chi2: the same with the weights that both minimise, w = ivar / (1 + ivar softening²)
- mse: mean squared error of the flux divided by its median
- mse of the truth: the same against the spectrum without noise, which no model has seen

Each result is written to a file at once, and what is there already is not done again, so that an interrupted
run goes on.  The seed decides the spectra, the split and the first weights.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine

import astro_cluster as ac
from astro_cluster.wavelengths import grid_of

SOFTENING = 7.07e-4
MODELS = ("infovae", "weighted-pca")


class Data:
    """Simulated spectra of a seed, with the rows to judge by."""

    def __init__(self, n: int, seed: int) -> None:
        table = ac.simulate.quasars(n, random_state=seed, noiseless=True)
        self.flux, self.ivar = (np.asarray(table[name].value) for name in ("flux", "ivar"))
        self.truth = np.asarray(table["flux_true"].value)
        self.redshift, self.grid = np.asarray(table["redshift"]), grid_of(table)
        order = np.random.default_rng([seed, 9]).permutation(n)
        self.judged, self.learned = np.sort(order[: n // 10]), np.sort(order[n // 10 :])

    def judge(self, guess: np.ndarray) -> dict[str, float]:
        """Return how far reconstructions of the judged rows, in flux units, are from them."""
        flux, ivar, truth = (
            values[self.judged].astype(np.float64) for values in (self.flux, self.ivar, self.truth)
        )
        counts = (ivar > 0) & np.isfinite(flux)
        norm = np.array([np.median(row[there]) for row, there in zip(flux, counts, strict=True)])[:, None]
        weights = np.where(counts, ivar, 0)
        soft = weights / (1 + weights * (SOFTENING * norm) ** 2)

        def each(values: np.ndarray) -> np.ndarray:
            return np.sum(np.where(counts, values, 0), axis=1) / counts.sum(axis=1)

        error = flux - guess
        return {
            "chi2": float(np.mean(each(weights * error**2))),
            "median_chi2": float(np.median(each(weights * error**2))),
            "weighted_chi2": float(np.mean(each(soft * error**2))),
            "mse": float(np.mean(each((error / norm) ** 2))),
            "mse_of_truth": float(np.mean(each(((truth - guess) / norm) ** 2))),
            "chi2_of_truth": float(np.mean(each(weights * (flux - truth) ** 2))),
        }


def measured(data: Data, kind: str, size: int, seed: int, options: dict[str, Any]) -> dict[str, float]:
    """Return what one model reaches."""
    if kind == "infovae":
        model = ac.InfoVAE(size, softening=SOFTENING, random_state=seed, **options)
    else:
        model = ac.WeightedPCA(size, softening=SOFTENING)
    rows = data.learned
    given = {
        "weights": data.ivar[rows],
        "redshift": data.redshift[rows],
        "grid": data.grid,
        "progress": False,
    }
    began = time.perf_counter()
    model.fit(data.flux[rows], **given)
    seconds = time.perf_counter() - began
    more = {"redshift": data.redshift[data.judged]} if getattr(model, "conditioned", False) else {}
    guess = model.reconstruct(data.flux[data.judged], weights=data.ivar[data.judged], **more)
    rounds = len(model.history_["epoch"]) if kind == "infovae" else model.n_iter_
    return data.judge(np.asarray(guess, dtype=np.float64)) | {"seconds": seconds, "rounds": rounds}


def known(path: Path) -> dict[tuple[Any, ...], dict[str, float]]:
    """Return the results that are in a file, by what they are of."""
    if not path.exists():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            each = json.loads(line)
        except json.JSONDecodeError:
            continue  # cut short by an interruption
        found[tuple(each["of"])] = each["found"]
    return found


def results(
    arguments: argparse.Namespace, options: dict[str, Any]
) -> dict[tuple[Any, ...], dict[str, float]]:
    """Return all results, doing what is not known yet."""
    found = known(arguments.results)
    told = json.dumps(options, sort_keys=True)
    wanted = {}
    for seed in range(1, arguments.seeds + 1):
        data = None
        for size in arguments.latent:
            for kind in MODELS:
                of = (kind, arguments.n, size, seed, told if kind == "infovae" else "{}")
                if of not in found:
                    data = data or Data(arguments.n, seed)
                    found[of] = measured(data, kind, size, seed, options)
                    with arguments.results.open("a", encoding="utf-8") as file:
                        file.write("\n" + json.dumps({"of": of, "found": found[of]}) + "\n")
                    shown = {name: round(value, 5) for name, value in found[of].items()}
                    print(*of, shown, file=sys.stderr, flush=True)
                wanted[of] = found[of]
    return wanted


def table(found: dict[tuple[Any, ...], dict[str, float]], sizes: list[int]) -> list[str]:
    """Return the rows of the table."""
    lines = [
        "| latents | model | chi2 | median chi2 | weighted chi2 | mse | mse of the truth | seconds "
        "| epochs, iterations |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for size in sizes:
        for kind in MODELS:
            each = [result for of, result in found.items() if (of[0], of[2]) == (kind, size)]
            column: Callable[[str], str] = lambda name, each=each: _spread([one[name] for one in each])  # noqa: E731
            names = ("chi2", "median_chi2", "weighted_chi2", "mse", "mse_of_truth", "seconds", "rounds")
            lines.append(f"| {size} | {kind} | " + " | ".join(map(column, names)) + " |")
    floor = _spread([result["chi2_of_truth"] for result in found.values()])
    return [*lines, "", f"The spectra without noise have a chi2 of {floor}."]


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.4g} ({min(values):.4g}–{max(values):.4g})"


def main() -> None:
    """Do what is not known yet, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=20_000, help="number of spectra")
    parser.add_argument("--latent", type=int, nargs="+", default=[3, 6, 9])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="parameters of InfoVAE")
    parser.add_argument(
        "--results", type=Path, default=Path(tempfile.gettempdir()) / "astro_cluster_infovae.jsonl"
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    options = {}
    for each in arguments.set:
        name, _, value = each.partition("=")
        options[name] = json.loads(value) if value[:1] in "[0123456789-.tfn" else value
    found = results(arguments, options)
    import torch

    command = f"-n {arguments.n} --latent {' '.join(map(str, arguments.latent))} --seeds {arguments.seeds}"
    command += f" --set {' '.join(arguments.set)}" if arguments.set else ""
    lines = [
        f"Made by `python benchmarks/infovae.py {command}`: {machine()}, PyTorch {torch.__version__}, "
        f"{platform.system()}.  Simulated quasars of 1500 pixels, {arguments.n - arguments.n // 10} to learn "
        f"from and {arguments.n // 10} to judge by; medians of {arguments.seeds} seeds (smallest–largest).",
        "",
        *table(found, arguments.latent),
    ]
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
