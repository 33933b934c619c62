"""Image files into a table, side by side with the study's loop: ``python benchmarks/cutouts.py``.

Both sides run in this process, in turn.  The loop is that of a study, written anew: each tar is
opened again for each of its images, astropy reads them, they are resized into a list, and the
minimum and maximum are taken off in further lists, all as float64.  The images are simulated, in
tars of four FITS files of 70 to 623 pixels as the real ones, and as PNG strips of several filters.
The results are also written to ``benchmarks/cutouts.md``.
"""

from __future__ import annotations

import argparse
import io
import shlex
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits
from measure import Result, alternate, machine, peak_memory, seconds
from PIL import Image
from scipy import ndimage

import astro_cluster as ac

WANTED = {"time": 4, "memory": 3}
SIZE = 128


def stamp(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return a galaxy on a noisy sky, float64."""
    y, x = np.mgrid[:n, :n] - n / 2
    radius = np.hypot(x, y * rng.uniform(1, 2)) / (n / rng.uniform(6, 12))
    return 10 ** rng.uniform(-1, 1.5) * np.exp(-radius) + rng.normal(0, 0.005, (n, n))


def make_tars(folder: Path, n: int) -> None:
    """Write n images, four a tar, with headers as those of RealSimCFIS."""
    rng = np.random.default_rng(1)
    # The sizes of the 52 real images have these quantiles.
    real = [70, 81, 93, 102, 123, 137, 144, 162, 186, 217, 287, 448, 623]
    sizes = np.interp(rng.random(n), np.linspace(0, 1, len(real)), real).astype(int)
    for i in range(n // 4):
        with tarfile.open(folder / f"map_Mstar_{i}_050_sci.tar", "w") as tar:
            for camera in range(4):
                header = fits.Header({"RA": rng.uniform(0, 360), "DEC": rng.uniform(30, 60), "GAIN": "N/A"})
                header["BUNIT"] = "AB nanomaggies"
                header.update({f"KEY{k}": (rng.random(), "some number [unit]") for k in range(25)})
                file = io.BytesIO()
                fits.PrimaryHDU(stamp(rng, sizes[4 * i + camera]), header).writeto(file)
                info = tarfile.TarInfo(f"home/someone/sci/map_Mstar_{i}_050_sci_cam{camera}.fits")
                info.size = file.tell()
                file.seek(0)
                tar.addfile(info, file)


def make_strips(folder: Path, n: int) -> None:
    """Write n PNG strips, 170 x 950 pixels in colour, of five stamps each."""
    rng = np.random.default_rng(2)
    for i in range(n):
        strip = np.zeros((170, 950, 3), np.uint8)
        for k in range(5):
            values = np.clip(20 * stamp(rng, 150) + rng.normal(30, 8, (150, 150)), 0, 255)
            strip[10:160, 25 + 185 * k : 175 + 185 * k] = values.astype(np.uint8)[..., None]
        Image.fromarray(strip).save(folder / f"field_z{rng.uniform(4, 9):.2f}_{i}_crop.png")


def resizer() -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    """Return what the study resized with, or what comes nearest."""
    try:
        from skimage.transform import resize
    except ImportError:
        pass
    else:
        return (lambda image: resize(image, (SIZE, SIZE))), "skimage.transform.resize"

    def resize(image: np.ndarray) -> np.ndarray:
        # What skimage.transform.resize does: a Gaussian against aliasing, then linear interpolation.
        image = image.astype(np.float64)
        factors = np.array(image.shape) / SIZE
        smooth = ndimage.gaussian_filter(image, np.maximum(0, (factors - 1) / 2), mode="mirror")
        return ndimage.zoom(smooth, 1 / factors, order=1, mode="mirror", grid_mode=True)

    return resize, "scipy.ndimage (skimage.transform.resize is not installed; the same steps)"


def study_tars(paths: list[Path], resize: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Read images as the study does."""

    def look(path: Path, camera: int) -> np.ndarray:
        tar = tarfile.open(path)  # noqa: SIM115 - as there
        members = tar.getmembers()
        image = fits.getdata(tar.extractfile(members[camera]))
        tar.close()
        return image

    images = np.array([resize(look(path, camera)) for path in paths for camera in range(4)])
    images = [image - np.amin(image) for image in images]
    images = [image / np.amax(image) for image in images]
    return np.reshape(images, (-1, SIZE * SIZE))


def study_strips(paths: list[Path]) -> np.ndarray:
    """Read strips into a list, and flatten them into an array."""
    images = [np.asarray(Image.open(path)) for path in paths]
    return np.array([image.flatten() for image in images])


def measured(work: str, opponent: str, ours: Callable, theirs: Callable, repeat: int) -> Result:
    """Time both sides in turn, then their memory in fresh processes."""
    return Result(work, opponent, *alternate(lambda: seconds(ours), lambda: seconds(theirs), repeat))


def memory_of(side: str, folder: Path) -> float:
    """Return the memory in MB that one side takes in a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(said.stdout.split()[-1])


def sides(folder: Path) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    resize, _ = resizer()
    tars, strips = (sorted(folder.glob(pattern)) for pattern in ("*.tar", "*.png"))

    def ours(source: list[Path], **options: object) -> Callable[[], object]:
        return lambda: ac.read_cutouts(source, **{"quality": False, **options})

    return {
        "tars-ours": ours(tars, size=SIZE, scale="minmax"),
        "tars-one": ours(tars, size=SIZE, scale="minmax", n_jobs=1),
        "tars-quality": ours(tars, size=SIZE, scale="minmax", quality=True),
        "tars-study": lambda: study_tars(tars, resize),
        "strips-ours": ours(strips),
        "strips-study": lambda: study_strips(strips),
    }


def one_side(name: str, folder: Path) -> None:
    """Print the memory of one side: the process knows it, and no other is in the way."""
    call = sides(folder)[name]
    if name.startswith(("tars-ours", "strips-ours")):  # what is compiled or imported stays
        few = sorted(folder.glob("*.tar" if "tars" in name else "*.png"))[:1]
        ac.read_cutouts(few, size=SIZE, scale="minmax")
    with peak_memory() as peak:
        kept = call()
    del kept
    print(peak.extra)


def compare(folder: Path, n: int, repeat: int) -> list[str]:
    """Return the rows of the table."""
    calls, (_, name) = sides(folder), resizer()
    n_strips = len(list(folder.glob("*.png")))
    work = f"{n} FITS images of 70–623 pixels in {n // 4} tars to {SIZE} × {SIZE}, min–max"
    rows = []
    for kind, what, opponent, options in (
        ("tars", work, f"the study's loop, {name}", ("ours", "one", "quality")),
        ("strips", f"{n_strips} PNG strips, 170 × 950 × 3", "a loop with Pillow", ("ours",)),
    ):
        memory = {side: memory_of(f"{kind}-{side}", folder) for side in ("ours", "study")}
        leaner = memory["study"] / memory["ours"]
        for option in options:
            result = measured(
                what
                + {"ours": "", "one": ", one thread", "quality": ", and the measures of quality"}[option],
                opponent,
                calls[f"{kind}-{option}"],
                calls[f"{kind}-study"],
                repeat,
            )
            told = f"{memory['ours']:.0f} against {memory['study']:.0f} MB: {leaner:.2g} times leaner"
            rows.append(
                f"| {result.work} | {result.opponent} | {_plain(result.ours)} | {_plain(result.theirs)} | "
                f"{result.ratio:.3g} | {told if option == 'ours' else ''} |"
            )
            print(rows[-1], flush=True)
    return rows


def _plain(side: object) -> str:
    return side.shown().partition(",")[0]


def main() -> None:
    """Make the images, compare, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--strips", type=int, default=300)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--side")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.side:
        one_side(given.side, given.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tars(folder, given.images)
        make_strips(folder, given.strips)
        rows = compare(folder, given.images, given.repeat)
    text = (
        f"Made by `python benchmarks/{shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}` on a machine "
        f"that other programs used too: {machine()}.  Medians of {given.repeat} runs in turn "
        "(smallest–largest); the files are in the cache of the system.  Memory: anonymous memory (RssAnon) "
        "beyond what was there before, each side in a fresh process.  "
        f"Ratio = theirs / ours; wanted: time ≥ {WANTED['time']}, memory ≥ {WANTED['memory']}.\n\n"
        "| work | against | ours | theirs | ratio | memory |\n|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )
    (Path(__file__).parent / "cutouts.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
