"""t-SNE side by side with scikit-learn's: ``python benchmarks/tsne.py``.

Each whole call runs in a process of its own, ours and theirs in turn, since what counts is also the
memory at most; the data are made once and read from a file before the clock starts.  The Kullback–Leibler
divergence of every map is computed by one function from the same probabilities, those of the exact
distances; trustworthiness and continuity likewise.  Written to ``benchmarks/tsne.md``.

``--few`` leaves out what takes many minutes (scikit-learn on 40,000 rows).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from measure import Side, machine

STUDY = {"perplexity": 50.0, "max_iter": 1500}
SEEDS = (12, 1, 2, 3, 4)


# ------------------------------------------------------------ data


def strips() -> np.ndarray:
    """Return the stand-ins of the study's images, a row each, as bytes."""
    from astro_cluster import simulate

    images = simulate.strips(1816, spurious=57)["image"]
    return np.asarray(images).reshape(len(images), -1)


def wide(n: int = 40_000, d: int = 1024) -> np.ndarray:
    """Return rows of pixels: 30 groups on curved sheets, with noise; single precision."""
    rng = np.random.default_rng(1)
    sheets = rng.normal(size=(30, 4, d)) / 2
    group = rng.integers(0, 30, n)
    place = rng.normal(size=(n, 4))
    X = np.empty((n, d), np.float32)
    for g in range(30):
        mine = group == g
        X[mine] = np.tanh(place[mine] @ sheets[g] + sheets[g, 0] * 2)
    X += rng.normal(size=(n, d)).astype(np.float32) * np.float32(0.3)
    return X


# ------------------------------------------------------------ one side, in a process of its own


def memory() -> tuple[float, float]:
    """Return the memory of this process now and at most, in MB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    return int(values["VmRSS"]) / 1024, int(values["VmHWM"]) / 1024


def one_side(side: str, data: str, out: str, seed: int, options: dict) -> None:
    """Fit one map and print how long it took and what it needed."""
    X = np.load(data)
    if side == "ours":
        from astro_cluster.embedding.tsne import TSNE
    else:
        from sklearn.manifold import TSNE
    small = np.random.default_rng(0).integers(0, 255, (60, 70)).astype(X.dtype)
    TSNE(perplexity=5, max_iter=250, random_state=1).fit(small)  # kernels and libraries are loaded
    if len(X) > 5000:  # and those for many rows
        many = np.random.default_rng(0).normal(size=(5100, 70)).astype(X.dtype)
        TSNE(perplexity=5, max_iter=250, random_state=1).fit(many)
    before, _ = memory()
    began, worked = time.perf_counter(), time.process_time()
    model = TSNE(random_state=seed, **options).fit(X)
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    np.save(out, model.embedding_)
    found = {"seconds": seconds, "processor": worked, "before": before, "most": memory()[1]}
    print(json.dumps({**found, "steps": int(model.n_iter_)}))


def call(side: str, data: Path, seed: int, options: dict, folder: Path) -> dict:
    """Run one side in a process of its own."""
    out = folder / f"{side}_{seed}.npy"
    words = [sys.executable, __file__, "--side", side, "--data", str(data), "--out", str(out)]
    words += ["--seed", str(seed), "--options", json.dumps(options)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    found["map"] = np.load(out)
    words = ("seconds", "processor", "before", "most", "steps")
    print(f"  {side}, seed {seed}: {', '.join(f'{w} {found[w]:.4g}' for w in words)}", flush=True)
    return found


# ------------------------------------------------------------ how good


class Judge:
    """Measures maps of the same rows, all in the same way."""

    def __init__(self, X: np.ndarray, perplexity: float) -> None:
        from astro_cluster.embedding.distances import squared_distances
        from astro_cluster.embedding.tsne.affinities import joint, n_neighbours
        from astro_cluster.embedding.tsne.neighbours import nearest_others

        self.X = X
        self.distances = squared_distances(X) if len(X) <= 5000 else None
        self.P = joint(nearest_others(X, n_neighbours(len(X), perplexity)), perplexity)

    def __call__(self, Y: np.ndarray) -> tuple[float, float, float]:
        """Return divergence, trustworthiness and continuity."""
        from astro_cluster.embedding.faithfulness import trustworthiness_and_continuity
        from astro_cluster.embedding.tsne.descent import kl_divergence

        both = trustworthiness_and_continuity(self.X, Y, n_neighbors=15, distances=self.distances)
        return kl_divergence(self.P, np.asarray(Y, dtype=float)), *both


def side_by_side(name: str, X: np.ndarray, seeds: tuple[int, ...], options: dict, folder: Path) -> list[str]:
    """Return the tables of one data set."""
    data = folder / "data.npy"
    np.save(data, X)
    judge = Judge(X, options["perplexity"])
    print(name, flush=True)
    runs = []
    for turn, seed in enumerate(seeds):
        order = ("ours", "theirs") if turn % 2 == 0 else ("theirs", "ours")
        found = {side: call(side, data, seed, options, folder) for side in order}
        runs.append((seed, found, {side: judge(found[side]["map"]) for side in order}))
        print(f"  {runs[-1][2]}", flush=True)
    sides = {
        side: Side([r[1][side]["seconds"] for r in runs], max(r[1][side]["most"] for r in runs))
        for side in ("ours", "theirs")
    }
    processor = {side: median(r[1][side]["processor"] for r in runs) for side in sides}
    extra = {side: max(r[1][side]["most"] - r[1][side]["before"] for r in runs) for side in sides}
    ratio = sides["theirs"].median / sides["ours"].median
    lines = [
        f"## {name}",
        "",
        f"Parameters: {', '.join(f'{k} {v:g}' for k, v in options.items())}; the rest by default. "
        f"The data take {X.nbytes / 2**20:.0f} MB.",
        "",
        "| | astro_cluster | scikit-learn |",
        "|---|---|---|",
        *(
            f"| {what} | {' | '.join(format_(side) for side in sides)} |"
            for what, format_ in (
                ("seconds: median (least–most)", lambda s: sides[s].shown().split(",")[0]),
                ("seconds of processor time: median", lambda s: f"{processor[s]:.3g}"),
                ("memory at most, with the data and all libraries", lambda s: f"{sides[s].memory:.0f} MB"),
                ("memory beyond what was there before the call", lambda s: f"{extra[s]:.0f} MB"),
            )
        ),
        "",
        f"**Ratio of the medians: {ratio:.3g}** (of processor time: "
        f"{processor['theirs'] / processor['ours']:.3g}).",
        "",
        "| seed | KL, ours | KL, theirs | trustworthiness, ours | theirs | continuity, ours | theirs |",
        "|---|---|---|---|---|---|---|",
    ]
    for seed, _, judged in runs:
        values = [f"{judged[side][i]:.4f}" for i in range(3) for side in ("ours", "theirs")]
        lines.append(f"| {seed} | {' | '.join(values)} |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", action="store_true", help="without 40,000 rows")
    parser.add_argument("--only", choices=("strips", "wide"))
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--images", type=Path, help="array of bytes (.npy) in place of new simulated strips")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    for name in ("side", "data", "out", "options"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        one_side(given.side, given.data, given.out, given.seed, json.loads(given.options))
        return
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    lines = [
        "# t-SNE, side by side",
        "",
        f"{machine()}; threads: {threads}; load when it began: {os.getloadavg()[0]:.1f}. Each call in a "
        "process of its own, ours and theirs in turn. The divergence (KL) of every map is from the same "
        "probabilities and all pairs.",
        "",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.only != "wide":
            X = np.load(given.images) if given.images else strips()
            title = f"{len(X):,} × {X.shape[1]:,} bytes (simulated strips)"
            lines += side_by_side(title, X, SEEDS, STUDY, folder)
            del X
        if not given.few and given.only != "strips":
            X = wide(given.rows)
            title = f"{X.shape[0]:,} × {X.shape[1]:,} in single precision"
            lines += side_by_side(title, X, (1,), {"perplexity": 30.0}, folder)
    given.output.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
