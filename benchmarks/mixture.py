"""The mixture side by side with what is used today: ``python benchmarks/mixture.py [part …]``.

Opponents: scikit-learn's GaussianMixture at the number of BLAS threads at which it is fastest
here, and astroML's XDGMM.  Both sides run in this process, in turn, from the same start; printed
are medians (smallest–largest), the ratio theirs / ours, and the memory each took beyond what was
there before.  Time per iteration is the difference of a long and a short fit, so that checks
and preparation do not count; the row "to convergence" counts all.  The table is also written to
``benchmarks/mixture.md``.  Only ratios within one run mean anything.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from measure import Result, Side, alternate, machine, peak_memory, seconds
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as SklearnMixture
from threadpoolctl import threadpool_limits

import astro_cluster as ac
from astro_cluster.mixture import sweep


def overlapping(n: int, d: int, *, groups: int = 12, seed: int = 0) -> np.ndarray:
    """Return rows of groups that overlap, each with correlated features."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, groups, n)
    X = rng.normal(size=(n, d))
    for g in range(groups):
        a = rng.normal(size=(d, d)) / np.sqrt(d) + 0.5 * np.eye(d)
        X[label == g] = X[label == g] @ a + rng.normal(0, 1.5, d)
    return X


def first_guess(X: np.ndarray, k: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the same start for both sides."""
    rows = np.random.default_rng(seed).choice(len(X), k, replace=False)
    precision = np.linalg.inv(np.cov(X[:20_000].T))
    return {
        "weights_init": np.full(k, 1 / k),
        "means_init": X[rows],
        "precisions_init": np.tile(precision, (k, 1, 1)),
    }


def ours(k: int, max_iter: int, start: dict[str, np.ndarray], tol: float = 0.0) -> ac.GaussianMixture:
    """Return our mixture."""
    return ac.GaussianMixture(k, max_iter=max_iter, tol=tol, **start)


def theirs(k: int, max_iter: int, start: dict[str, np.ndarray], tol: float = 0.0) -> SklearnMixture:
    """Return scikit-learn's, which must not spend time on k-means that is not used."""
    return SklearnMixture(k, max_iter=max_iter, tol=tol, init_params="random_from_data", **start)


def best_threads(X: np.ndarray, k: int, start: dict[str, np.ndarray]) -> int:
    """Return the number of BLAS threads at which scikit-learn is fastest."""
    found = {}
    for threads in (1, 2):
        with threadpool_limits(threads):
            found[threads] = min(seconds(lambda: theirs(k, 3, start).fit(X)) for _ in range(2))
    return min(found, key=found.__getitem__)


def per_iteration(make: Callable[[int], object], X: np.ndarray, few: int, many: int) -> Callable[[], float]:
    """Return a measurement of one EM iteration."""

    def measure() -> float:
        long, short = (seconds(lambda n=n: make(n).fit(X)) for n in (many, few))
        return (long - short) / (many - few)

    return measure


def with_threads(threads: int, call: Callable[[], float]) -> Callable[[], float]:
    """Return the measurement under so many BLAS threads."""

    def limited() -> float:
        with threadpool_limits(threads):
            return call()

    return limited


def complete(name: str, X: np.ndarray, k: int, steps: tuple[int, int, int, int], repeat: int) -> list[Result]:
    """Complete rows: time of an iteration, and to convergence."""
    start = first_guess(X, k)
    threads = best_threads(X, k, start)
    opponent = f"scikit-learn, {threads} thread{'s' * (threads > 1)}"
    sides = alternate(
        per_iteration(lambda n: ours(k, n, start), X, steps[0], steps[1]),
        with_threads(threads, per_iteration(lambda n: theirs(k, n, start), X, steps[2], steps[3])),
        repeat,
    )
    a, b = ours(k, 5, start).fit(X), theirs(k, 5, start).fit(X)
    rows = np.abs(a.score_samples(X[:20_000]) / b.score_samples(X[:20_000]) - 1).max()
    work = f"{name}, K = {k}"
    note = f"log-likelihood per row differs by at most {rows:.0e}"
    result = [Result(f"{work}, an EM iteration", opponent, *sides, note)]
    sides = alternate(
        lambda: seconds(lambda: ours(k, 200, start, 1e-3).fit(X)),
        with_threads(threads, lambda: seconds(lambda: theirs(k, 200, start, 1e-3).fit(X))),
        max(repeat // 2, 1),
        warm=False,
    )
    a, b = ours(k, 200, start, 1e-3).fit(X), theirs(k, 200, start, 1e-3).fit(X)
    note = (
        f"{a.n_iter_} and {b.n_iter_} steps, mean log-likelihood {a.lower_bound_:.6f}, {b.lower_bound_:.6f}"
    )
    result.append(Result(f"{work}, to convergence", opponent, *sides, note))
    return result


def full(repeat: int) -> Iterator[Result]:
    """The size of the Chandra study."""
    X = overlapping(23_025, 35)
    for k in (8, 20):
        yield from complete("23,025 × 35 full", X, k, (10, 110, 5, 25), repeat)


def million(repeat: int) -> Iterator[Result]:
    """A large catalogue of few features."""
    yield from complete("10⁶ × 8 full", overlapping(1_000_000, 8), 10, (2, 22, 1, 4), max(repeat // 2, 2))


def bic(repeat: int, n_init: int = 10) -> Iterator[Result]:
    """The whole of a choice by BIC, every start followed to the end on both sides, once."""
    X = overlapping(23_025, 35)
    sizes = range(2, 21)
    threads = best_threads(X, 8, first_guess(X, 8))
    found: dict[str, np.ndarray] = {}

    def mine() -> float:
        began = time.perf_counter()
        found["ours"] = np.array(
            [g.lower_bound_ for g in sweep(X, sizes, n_init=n_init, random_state=0, max_iter=100)]
        )
        return time.perf_counter() - began

    def other() -> float:
        began = time.perf_counter()
        fits = [SklearnMixture(k, n_init=n_init, random_state=0, max_iter=100).fit(X) for k in sizes]
        found["theirs"] = np.array([g.lower_bound_ for g in fits])
        return time.perf_counter() - began

    sides = alternate(mine, with_threads(threads, other), 1, warm=False)
    higher = found["ours"] - found["theirs"]
    note = (
        f"mean log-likelihood ours minus theirs: {higher.min():+.3f} to {higher.max():+.3f}, higher for "
        f"{(higher > -1e-6).sum()} of {len(sizes)} sizes"
    )
    opponent = f"scikit-learn, {threads} thread{'s' * (threads > 1)}"
    yield Result(f"BIC sweep K = 2 … 20, n_init = {n_init}, 23,025 × 35, whole call", opponent, *sides, note)


def from_file(repeat: int, n: int = 10_000_000) -> Iterator[Result]:
    """Ten million rows of a memory-mapped file against one million in memory, ours both times."""
    small = overlapping(n // 10, 8)
    start = first_guess(small, 10)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=(n, 8))
        for i in range(10):
            mapped[i * len(small) : (i + 1) * len(small)] = small
        mapped.flush()
        del mapped
        X = np.load(path, mmap_mode="r")
        with peak_memory() as memory:
            ours(10, 3, start).fit(X)
        sides = alternate(
            lambda: per_iteration(lambda k: ours(10, k, start), small, 2, 12)() / len(small),
            lambda: per_iteration(lambda k: ours(10, k, start), X, 1, 4)() / n,
            max(repeat // 2, 2),
        )
    in_memory, of_file = (Side([1e6 * t for t in side.times]) for side in sides)
    note = f"per million rows; {memory.extra:.0f} MB beyond the file's mapping; ratio = file / memory"
    yield Result("10⁷ × 8 from a file, K = 10, an iteration", "10⁶ × 8 in memory", in_memory, of_file, note)


def deconvolution(repeat: int) -> Iterator[Result]:
    """A full error covariance for every row."""
    from astroML.density_estimation import XDGMM

    n, d, k = 100_000, 6, 8
    X = overlapping(n, d)
    a = 0.3 * np.random.default_rng(1).normal(size=(n, d, d))
    noise = a @ a.transpose(0, 2, 1)
    start = first_guess(X, k)

    def step(model: XDGMM, rows: slice) -> None:
        model.alpha, model.mu = start["weights_init"], start["means_init"]
        model.V = np.linalg.inv(start["precisions_init"])
        model._EMstep(X[rows], noise[rows])

    sides = alternate(
        lambda: (
            (
                seconds(lambda: ours(k, 22, start).fit(X, errors=noise))
                - seconds(lambda: ours(k, 2, start).fit(X, errors=noise))
            )
            / 20
        ),
        lambda: seconds(lambda: step(XDGMM(k), slice(None))),
        max(repeat // 2, 3),
        warm=False,
    )
    some = slice(0, 2_000)
    model = XDGMM(k)
    step(model, some)
    mine = ac.GaussianMixture(k, max_iter=1, reg_covar=0.0, tol=0.0, **start).fit(X[some], errors=noise[some])
    log_density = np.logaddexp.reduce(model.logprob_a(X[some], noise[some]), axis=1)
    worst = np.abs(mine.score_samples(X[some], errors=noise[some]) / log_density - 1).max()
    note = f"log-likelihood per row differs by at most {worst:.0e} after a step"
    yield Result("10⁵ × 6, a full covariance a row, K = 8, an EM iteration", "astroML XDGMM", *sides, note)


def missing(repeat: int) -> Iterator[Result]:
    """Holes, against scikit-learn on the same rows without any."""
    n, d, k = 37_878, 35, 6
    X = overlapping(n, d)
    start = first_guess(X, k)
    threads = best_threads(X, k, start)
    rng = np.random.default_rng(2)
    scattered = np.where(rng.random(X.shape) < 0.2, np.nan, X)
    bands = X.copy()
    for band in range(5):  # each with seven features, missing together in a fifth of the rows
        bands[np.ix_(rng.random(n) < 0.2, np.arange(7 * band, 7 * band + 7))] = np.nan
    for name, rows in (("20 % of cells missing at random", scattered), ("whole bands missing", bands)):
        sides = alternate(
            per_iteration(lambda m: ours(k, m, start), rows, 5, 25),
            with_threads(threads, per_iteration(lambda m: theirs(k, m, start), X, 5, 25)),
            repeat,
        )
        opponent = f"scikit-learn, {threads} thread{'s' * (threads > 1)}, complete"
        note = f"ours takes {1 / (sides[1].median / sides[0].median):.2f} of their time"
        yield Result(f"37,878 × 35, K = 6, {name}, an EM iteration", opponent, *sides, note)


PARTS = {
    "full": full,
    "million": million,
    "missing": missing,
    "deconvolution": deconvolution,
    "file": from_file,
    "bic": bic,
}


def main() -> None:
    """Measure the parts that are asked for, all by default (the last takes an hour)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which; all by default")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "mixture.md")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    lines = [
        f"{machine()}; medians (smallest–largest) of {arguments.repeat} alternating runs or fewer for the "
        "long ones; MB: memory beyond what was there before; ratio = theirs / ours.",
        "",
        "| work | against | ours | theirs | ratio | |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    for name in arguments.parts or PARTS:
        for result in PARTS[name](arguments.repeat):
            lines.append(result.row())
            print(lines[-1], flush=True)
            arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
