"""Matching positions side by side with astropy: ``python benchmarks/crossmatch.py [part …]``.

Both sides run in this process, in turn; printed are medians (smallest–largest) and the ratio theirs /
ours.  Astropy is given SkyCoord objects that are made beforehand, ours begins with arrays.  Memory is
that of a process of its own which does nothing else: the most it had, beyond what it had when the
data were there and the libraries loaded.  That both found the same pairs is checked.  The table is
also written to ``benchmarks/crossmatch.md``.  Only ratios within one run mean anything.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import astropy
import numpy as np
import scipy
from astropy import units as u
from astropy.coordinates import SkyCoord, match_coordinates_sky, search_around_sky
from astropy.table import QTable
from measure import Result, Side, alternate, machine, seconds

import astro_cluster as ac
from astro_cluster.matching import zones

RADIUS = 1.0  # arcsec
SIZES = {"small": (100_000, 1_000_000), "large": (1_000_000, 10_000_000)}
Positions = tuple[np.ndarray, np.ndarray]


def positions(n: int, k: int) -> tuple[Positions, Positions]:
    """Return n positions, each within an arcsecond or so of one of k all over the sky."""
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, k), np.degrees(np.arcsin(rng.uniform(-1, 1, k)))
    row = rng.integers(0, k, n)
    up = np.clip(dec[row] + rng.normal(0, 0.3 / 3600, n), -90, 90)
    return ((ra[row] + rng.normal(0, 0.3 / 3600, n) / np.cos(np.radians(dec[row]))) % 360, up), (ra, dec)


def sky_coords(n: int, k: int) -> tuple[SkyCoord, SkyCoord]:
    """Return the same for astropy."""
    local, remote = (SkyCoord(*axes, unit="deg", copy=False) for axes in positions(n, k))
    return local, remote


# ---------------------------------------------------------------- who does what


def nearest_ours(n: int, k: int, n_threads: int) -> Callable[[], object]:
    """Nearest within the radius."""
    local, remote = positions(n, k)
    return lambda: zones.nearest_pairs(*local, *remote, RADIUS, n_threads=n_threads)


def nearest_theirs(n: int, k: int) -> Callable[[], object]:
    """Nearest at any distance; the tree is not kept for a next time."""
    local, remote = sky_coords(n, k)
    return lambda: match_coordinates_sky(local, remote, storekdtree=False)


def all_ours(n: int, k: int, n_threads: int) -> Callable[[], object]:
    """All pairs within the radius."""
    local, remote = positions(n, k)
    return lambda: zones.all_pairs(*local, *remote, RADIUS, n_threads=n_threads)


def all_theirs(n: int, k: int) -> Callable[[], object]:
    """All pairs within the radius."""
    local, remote = sky_coords(n, k)
    return lambda: search_around_sky(local, remote, RADIUS * u.arcsec, storekdtree=False)


def tables(n: int, k: int) -> tuple[QTable, QTable]:
    """Return tables with an identifier."""
    made = (QTable({"ra": ra * u.deg, "dec": dec * u.deg}) for ra, dec in positions(n, k))
    local, remote = made
    remote["id"] = np.arange(k)
    return local, remote


def step_ours(n: int, k: int, n_threads: int) -> Callable[[], object]:
    """The whole step, with its record and the hashes of both tables."""
    local, remote = tables(n, k)
    options = {"radius": RADIUS * u.arcsec, "false_matches": False, "columns": ["id"]}
    return lambda: ac.crossmatch(local, remote, **options)


def file_ours(n: int, k: int, n_threads: int, path: str = "", whole: bool = False) -> Callable[[], object]:
    """The whole step with a file, a chunk at a time or as a whole."""
    (ra, dec), _ = positions(n, 10 * n)
    local = QTable({"ra": ra * u.deg, "dec": dec * u.deg})
    options = {"radius": RADIUS * u.arcsec, "false_matches": False, "columns": ["id"]}

    def run() -> object:
        with ac.conf.set_temp("max_reference_bytes", 2**62 if whole else 0):
            return ac.crossmatch(local, path, **options)

    return run


WORK = {
    "nearest_ours": nearest_ours,
    "nearest_theirs": nearest_theirs,
    "all_ours": all_ours,
    "all_theirs": all_theirs,
    "step_ours": step_ours,
    "file_ours": file_ours,
}

# ---------------------------------------------------------------- memory


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def measure_memory(name: str, arguments: list[str]) -> None:
    """Print what one piece of work takes at most, in MB (Linux)."""
    values = [int(text) if text.isdigit() else text for text in arguments]
    tiny = [1000, 60_000, *values[2:]] if name != "file_ours" else None
    if tiny:
        WORK[name](*tiny)()  # loads the libraries and the compiled loops
    else:
        nearest_ours(1000, 60_000, 1)()
    run = WORK[name](*values)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of making the data
    before = _status("VmRSS")
    run()
    print(_status("VmHWM") - before)


def memory(name: str, *arguments: object) -> float:
    """Return what one piece of work takes at most in a process of its own, in MB."""
    command = [sys.executable, __file__, "--memory", name, *map(str, arguments)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


# ---------------------------------------------------------------- checks


def check(n: int, k: int) -> str:
    """Compare pair by pair, and say what was found."""
    row, gap, n_pairs = nearest_ours(n, k, 2)()
    theirs, separation, _ = nearest_theirs(n, k)()
    separation = separation.to_value(u.arcsec)
    near = separation <= RADIUS
    assert np.array_equal(row, np.where(near, theirs, -1))
    worst = np.abs(gap[near] - separation[near]).max()
    i, j, every = all_ours(n, k, 2)()
    a, b, apart, _ = all_theirs(n, k)()
    order = np.lexsort((b, a))
    assert np.array_equal(i, a[order])
    assert np.array_equal(j, b[order])
    assert len(i) == n_pairs
    worst = max(worst, np.abs(every - apart.to_value(u.arcsec)[order]).max())
    return (
        f"same {near.sum():,} nearest and {len(i):,} pairs, separations differ by at most {worst:.0e} arcsec"
    )


# ---------------------------------------------------------------- parts


def sized(size: str, repeat: int) -> Iterator[Result]:
    """Arrays in memory."""
    n, k = SIZES[size]
    note = check(n, k)
    shown = "10⁵ × 10⁶" if size == "small" else "10⁶ × 10⁷"
    for work, name, opponent in (
        ("nearest within 1 arcsec", "nearest", "match_coordinates_sky"),
        ("all pairs within 1 arcsec", "all", "search_around_sky"),
    ):
        theirs = WORK[f"{name}_theirs"](n, k)
        their_memory = memory(f"{name}_theirs", n, k)
        for n_threads in (1, 2):
            ours = WORK[f"{name}_ours"](n, k, n_threads)
            sides = alternate(lambda f=ours: seconds(f), lambda f=theirs: seconds(f), repeat)
            mine = Side(sides[0].times, memory(f"{name}_ours", n, k, n_threads))
            yours = Side(sides[1].times, their_memory)
            threads = f"{n_threads} thread{'s' * (n_threads > 1)}"
            text = f"memory {mine.memory / yours.memory:.2f} of theirs; {note}"
            yield Result(f"{shown}, {work}, {threads}", f"astropy {opponent}", mine, yours, text)


def whole_step(repeat: int) -> Iterator[Result]:
    """Tables in, table out, with the hashes of the record."""
    n, k = SIZES["large"]
    theirs, ours = nearest_theirs(n, k), step_ours(n, k, 2)
    sides = alternate(lambda: seconds(ours), lambda: seconds(theirs), repeat)
    mine = Side(sides[0].times, memory("step_ours", n, k, 2))
    yours = Side(sides[1].times, memory("nearest_theirs", n, k))
    text = f"memory {mine.memory / yours.memory:.2f} of theirs; ours with the joined table and its record"
    yield Result("10⁶ × 10⁷, crossmatch of two tables", "astropy match_coordinates_sky", mine, yours, text)


def files(repeat: int) -> Iterator[Result]:
    """A file of 10⁷ rows, a chunk at a time and as a whole, both ours."""
    n, k = SIZES["large"]
    with tempfile.TemporaryDirectory() as folder:
        remote = tables(n, k)[1]
        rng = np.random.default_rng(2)
        for name in ("flux", "pmra", "pmdec", "parallax", "mag"):
            remote[name] = rng.normal(size=k)
        paths = [ac.write(remote, Path(folder) / f"reference.{kind}") for kind in ("parquet", "fits")]
        del remote
        for path in paths:
            parts, whole = (file_ours(n, k, 2, str(path), way) for way in (False, True))
            sides = alternate(lambda f=parts: seconds(f), lambda f=whole: seconds(f), max(repeat // 2, 1))
            mine = Side(sides[0].times, memory("file_ours", n, k, 2, path))
            yours = Side(sides[1].times, memory("file_ours", n, k, 2, path, "whole"))
            assert len(parts()) == n
            text = f"{path.stat().st_size / 1e6:.0f} MB on disk; crossmatch with its record"
            yield Result(
                f"10⁶ × 10⁷ of a {path.suffix[1:]} file in chunks", "the same read whole", mine, yours, text
            )


PARTS = {
    "small": lambda repeat: sized("small", repeat),
    "large": lambda repeat: sized("large", repeat),
    "step": whole_step,
    "files": files,
}


def main() -> None:
    """Measure the parts that are asked for, all by default."""
    if sys.argv[1:2] == ["--memory"]:
        measure_memory(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which; all by default")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "crossmatch.md")
    arguments = parser.parse_args()
    lines = [
        f"{machine()}, astropy {astropy.__version__}, SciPy {scipy.__version__}; medians (smallest–largest) "
        f"of {arguments.repeat} alternating runs; MB: memory of a process of its own beyond data and "
        "libraries; ratio = theirs / ours.",
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
