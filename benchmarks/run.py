"""Side by side with what people use today: ``python benchmarks/run.py``.

Both sides run in this process, alternating; printed are the medians, the spread and the ratio.
Only ratios within one run mean anything; the mixture has a file of its own.  The table is
also written to ``benchmarks/results.md``.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord, match_coordinates_sky
from astropy.table import QTable
from measure import Result, alternate, seconds
from sklearn.exceptions import ConvergenceWarning

import astro_cluster as ac
from astro_cluster.votable import read_votable, write_votable


def compare(
    work: str, opponent: str, ours: Callable[[], object], theirs: Callable[[], object], repeat: int
) -> Result:
    """Time both sides in turn."""
    return Result(work, opponent, *alternate(lambda: seconds(ours), lambda: seconds(theirs), repeat))


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
        compare("write a VOTable, 20,000 × 22", "astropy", write, plain_write, repeat),
        compare("read it", "astropy", read, plain_read, repeat),
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
        compare("match 10⁵ with 10⁶ positions, each", "astropy match_coordinates_sky", ours, theirs, repeat)
    ]


def startup(repeat: int) -> list[Result]:
    """Show the help of the command line; the opponent is Python that does nothing."""

    def run(*code: str) -> None:
        subprocess.run([sys.executable, *code], stdout=subprocess.DEVNULL, check=True)

    return [
        compare(
            "astro-cluster --help", "python -c pass",
            lambda: run("-m", "astro_cluster", "--help"), lambda: run("-c", "pass"), 2 * repeat,
        )
    ]  # fmt: skip


BENCHMARKS = {"votable": votable, "crossmatch": crossmatch, "startup": startup}


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
        "| work | against | ours | theirs | ratio | |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    for name in arguments.names or BENCHMARKS:
        for result in BENCHMARKS[name](arguments.repeat):
            lines.append(result.row())
            print(lines[-1], flush=True)
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
