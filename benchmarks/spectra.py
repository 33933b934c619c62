"""Spectra onto another grid, side by side with loops over specutils: ``python benchmarks/spectra.py``.

Both sides run in this process, in turn, on the same simulated spectra: 4,500 pixels as those of BOSS
onto 1,500.  specutils takes a spectrum at a time; it gets the first few of them, and what is
compared is the time for one.  The study's polynomial is not in specutils: its opponent is a loop with
NumPy, all pixels of a spectrum at once.  Memory is measured in a process of its own, where
blocks of spectra come one after the other.  The results are also written to ``benchmarks/spectra.md``.
"""

from __future__ import annotations

import argparse
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.nddata import InverseVariance
from measure import Side, alternate, machine, peak_memory, seconds

import astro_cluster as ac
from astro_cluster.spectra.normalising import norms_of
from astro_cluster.spectra.regridding import METHODS, regrid_rows

WANTED = {"time": 20, "memory": 2000}
PIXELS, GRID = 4500, ac.log_grid(3625 * u.AA, 9000 * u.AA, 1500)
WAVELENGTH = 10 ** (3.5535 + 1e-4 * np.arange(PIXELS))
MANY, BLOCK = 21_771, 1000  # the spectra of the study, and how many of them come at a time


def simulated(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return fluxes and inverse variances, float32, some pixels masked."""
    rng = np.random.default_rng(seed)
    flux = rng.standard_normal((n, PIXELS), dtype=np.float32) + 5
    ivar = rng.random((n, PIXELS), dtype=np.float32) + np.float32(0.5)
    return flux, ivar


def loop_of_specutils(method: str, flux: np.ndarray, ivar: np.ndarray) -> Callable[[], list]:
    """Return a loop over a resampler of specutils."""
    from specutils import Spectrum
    from specutils.manipulation import FluxConservingResampler, LinearInterpolatedResampler

    resampler = FluxConservingResampler() if method == "flux-conserving" else LinearInterpolatedResampler()
    axis, grid = WAVELENGTH * u.AA, GRID.wavelengths
    # Its linear resampler fails on inverse variances with a unit, so neither has one.
    spectra = [
        Spectrum(spectral_axis=axis, flux=f * u.one, uncertainty=InverseVariance(w))
        for f, w in zip(flux, ivar, strict=True)
    ]
    return lambda: [resampler(spectrum, grid) for spectrum in spectra]


def loop_of_numpy(flux: np.ndarray, ivar: np.ndarray) -> Callable[[], list]:
    """Return a loop that lays polynomials through five pixels, and takes the larger error."""
    x = GRID.angstrom

    def one(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        right = np.searchsorted(WAVELENGTH, x).clip(1, PIXELS - 1)
        nearest = right - (x - WAVELENGTH[right - 1] < WAVELENGTH[right] - x)
        near = (nearest - 2).clip(0, PIXELS - 5)[:, None] + np.arange(5)
        places, total = WAVELENGTH[near], np.zeros(x.size)
        for i in range(5):
            others = [k for k in range(5) if k != i]
            share = (x[:, None] - places[:, others]) / (places[:, [i]] - places[:, others])
            total += values[near[:, i]] * share.prod(axis=1)
        return total, np.minimum(weights[right - 1], weights[right])

    return lambda: [one(f, w) for f, w in zip(flux, ivar, strict=True)]


def rows_of(n: int, few: int, repeat: int) -> list[str]:
    """Return the rows of the table."""
    flux, ivar = simulated(n, 1)
    z = np.random.default_rng(2).uniform(0, 0.1, n)
    rows = []
    for method, threads, factors in [
        *((method, threads, None) for method in METHODS for threads in (1, 2)),
        ("flux-conserving", 2, 1 / (1 + z)),
    ]:
        few_flux, few_ivar = flux[:few], ivar[:few]
        is_study = method == "study"
        theirs = (
            loop_of_numpy(few_flux, few_ivar) if is_study else loop_of_specutils(method, few_flux, few_ivar)
        )

        def ours(method: str = method, threads: int = threads, factors: object = factors) -> float:
            began = time.perf_counter()
            regrid_rows(WAVELENGTH, flux, ivar, GRID, method=method, factors=factors, n_threads=threads)
            return (time.perf_counter() - began) / n

        mine, other = alternate(ours, lambda theirs=theirs: seconds(theirs) / few, repeat)
        rows.append(
            f"| {method}{'' if factors is None else ', each in its rest frame'} | {threads} | "
            f"{'NumPy' if is_study else 'specutils'} | {_shown(mine)} | {_shown(other)} | "
            f"{other.median / mine.median:.3g} |"
        )
        print(rows[-1], flush=True)
    return rows


def _shown(side: Side) -> str:
    scale, unit = (1e3, "ms") if side.median > 1e-3 else (1e6, "µs")
    low, middle, high = (scale * t for t in (min(side.times), side.median, max(side.times)))
    return f"{middle:.3g} {unit} ({low:.3g}–{high:.3g})"


def blocks() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield spectra as they would come from files, a block at a time."""
    for start in range(0, MANY, BLOCK):
        yield start, *simulated(min(BLOCK, MANY - start), start)


def stream() -> None:
    """Resample all spectra of the study a block at a time, and print what memory that took, in MB."""
    with peak_memory() as peak:
        flux, ivar = (np.empty((MANY, len(GRID)), np.float32) for _ in range(2))
        for start, old, weights in blocks():
            rows = slice(start, start + len(old))
            flux[rows], ivar[rows] = regrid_rows(WAVELENGTH, old, weights, GRID)
        norms_of(flux, ivar, GRID, "median")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, peak.extra)


def memory() -> str:
    """Return a sentence on the memory."""
    command = [sys.executable, __file__, "--stream"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    most, extra = map(float, said.split())
    print(said)
    return (
        f"Memory: {MANY} × {PIXELS} pixels, float32, in blocks of {BLOCK}, onto {len(GRID)}, and their "
        f"medians, in a process of its own: at most {most:.0f} MB resident (ru_maxrss), Python and its "
        f"packages included, of them {extra:.0f} MB for the work; the result alone has "
        f"{2 * 4 * MANY * len(GRID) / 2**20:.0f} MB, the input {2 * 4 * MANY * PIXELS / 2**20:.0f} MB.  "
        f"Wanted: < {WANTED['memory']} MB."
    )


def main() -> None:
    """Compare, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--spectra", type=int, default=2000)
    parser.add_argument("--few", type=int, default=20, help="spectra of the loops")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--stream", action="store_true")
    given = parser.parse_args()
    if given.stream:
        stream()
        return
    rows = rows_of(given.spectra, given.few, given.repeat)
    text = (
        f"Made by `python benchmarks/{shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}` on a machine "
        f"that other programs used too: {machine()}.  {given.spectra} spectra of {PIXELS} pixels onto "
        f"{len(GRID)}, flux and inverse variance; time for one spectrum, medians of {given.repeat} runs in "
        f"turn (smallest–largest); the loops have the first {given.few} spectra.  Ratio = theirs / ours; "
        f"wanted: ≥ {WANTED['time']} against specutils.\n\n"
        "| method | threads | against a loop with | ours | theirs | ratio |\n|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\n{memory()}\n"
    )
    (Path(__file__).parent / "spectra.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
