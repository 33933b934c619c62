"""Side by side with what people use today: ``python benchmarks/run.py``.

Both sides run in this process, alternating; printed are the medians, the spread and the ratio.
Only ratios within one run mean anything.  The table is also written to ``benchmarks/results.md``.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord, match_coordinates_sky
from astropy.table import QTable
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as SklearnMixture

import astro_cluster as ac
from astro_cluster.votable import read_votable, write_votable


@dataclass(frozen=True)
class Result:
    """Times of one piece of work: ours, theirs, in seconds."""

    work: str
    opponent: str
    ours: list[float]
    theirs: list[float]

    def row(self) -> str:
        """Return a row of the table."""

        def shown(times: list[float]) -> str:
            return f"{statistics.median(times):.3g} ({min(times):.3g}–{max(times):.3g})"

        ratio = statistics.median(self.theirs) / statistics.median(self.ours)
        return f"| {self.work} | {self.opponent} | {shown(self.ours)} | {shown(self.theirs)} | {ratio:.2f} |"


def alternate(
    work: str, opponent: str, ours: Callable[[], object], theirs: Callable[[], object], repeat: int
) -> Result:
    """Time both sides in turn, once each before it counts."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeat + 1):
        for side, call in enumerate((ours, theirs)):
            began = time.perf_counter()
            call()
            if turn:
                times[side].append(time.perf_counter() - began)
    return Result(work, opponent, *times)


def mixture(repeat: int) -> list[Result]:
    """Fit a full mixture, 20 steps, on complete rows, and ours on rows with holes."""
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(c, 1, (2500, 12)) for c in rng.normal(0, 3, (4, 12))])
    options = {"max_iter": 20, "tol": 0.0, "random_state": 0, "init_params": "random"}
    holed = X.copy()
    for block in (slice(0, 3), slice(3, 6), slice(6, 9)):  # whole bands are missing together
        holed[rng.random(len(X)) < 0.13, block] = np.nan
    scattered = np.where(rng.random(X.shape) < 0.2, np.nan, X)

    def fit(cls: type, rows: np.ndarray) -> Callable[[], object]:
        return lambda: cls(6, **options).fit(rows)

    theirs = fit(SklearnMixture, X)
    works = {
        "EM, 10,000 × 12, K = 6, 20 steps, complete": X,
        "the same, bands missing in 13 % of rows each": holed,
        "the same, 20 % of cells missing at random": scattered,
    }
    return [
        alternate(work, "scikit-learn, complete", fit(ac.GaussianMixture, rows), theirs, repeat)
        for work, rows in works.items()
    ]


def votable(repeat: int) -> list[Result]:
    """Write and read a VOTable in BINARY2."""
    rng = np.random.default_rng(1)
    table = QTable({f"c{i}": rng.normal(size=20_000) * u.mJy for i in range(20)})
    table["id"] = np.arange(20_000) + 2**60
    table["name"] = [f"source {i}" for i in range(20_000)]
    raw = io.BytesIO()
    write_votable(table, raw)

    def plain_write() -> None:
        table.write(io.BytesIO(), format="votable", tabledata_format="binary2")

    def write() -> None:
        write_votable(table, io.BytesIO())

    def read() -> None:
        read_votable(io.BytesIO(raw.getvalue()))

    def plain_read() -> None:
        QTable.read(io.BytesIO(raw.getvalue()), format="votable")

    return [
        alternate("write a VOTable, 20,000 × 22", "astropy", write, plain_write, repeat),
        alternate("read it", "astropy", read, plain_read, repeat),
    ]


def crossmatch(repeat: int) -> list[Result]:
    """Find the nearest of 10⁶ positions within 1 arcsec for 10⁵."""
    rng = np.random.default_rng(2)

    def sky(n: int) -> QTable:
        dec = np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
        return QTable({"ra": rng.uniform(0, 360, n) * u.deg, "dec": dec * u.deg})

    near, far = sky(100_000), sky(1_000_000)

    def theirs() -> None:
        a, b = (SkyCoord(t["ra"], t["dec"]) for t in (near, far))
        match_coordinates_sky(a, b)

    def ours() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ac.AstroClusterWarning)
            ac.crossmatch(near, far, radius=1 * u.arcsec, find="each-dist")

    return [
        alternate("match 10⁵ with 10⁶ positions, each", "astropy match_coordinates_sky", ours, theirs, repeat)
    ]


def startup(repeat: int) -> list[Result]:
    """Show the help of the command line; the opponent is Python that does nothing."""

    def run(*code: str) -> None:
        subprocess.run([sys.executable, *code], stdout=subprocess.DEVNULL, check=True)

    return [
        alternate(
            "astro-cluster --help", "python -c pass",
            lambda: run("-m", "astro_cluster", "--help"), lambda: run("-c", "pass"), 2 * repeat,
        )
    ]  # fmt: skip


BENCHMARKS = {"mixture": mixture, "votable": votable, "crossmatch": crossmatch, "startup": startup}


def main() -> None:
    """Run the benchmarks that are asked for, all by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which; all by default")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results.md")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    lines = [
        f"{platform.machine()}, {os.cpu_count()} cores, OMP_NUM_THREADS {threads}, Python "
        f"{platform.python_version()}, NumPy {np.__version__}; medians of {arguments.repeat} alternating "
        "runs (smallest–largest), in seconds; ratio = theirs / ours.",
        "",
        "| work | against | ours | theirs | ratio |",
        "|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    for name in arguments.names or BENCHMARKS:
        for result in BENCHMARKS[name](arguments.repeat):
            lines.append(result.row())
            print(lines[-1], flush=True)
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
