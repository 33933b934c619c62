"""The pixels of many images, by threads, into one array."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from astro_cluster.cutouts.decoding import Decoder
from astro_cluster.cutouts.shaping import common_size, keeps_bytes, recoloured, resized
from astro_cluster.cutouts.stretching import stretched
from astro_cluster.exceptions import InputError
from astro_cluster.filing.members import Item, Survey, chunks_of, read_items, reason_of, survey
from astro_cluster.filing.sources import Container
from astro_cluster.tables import beside
from astro_cluster.threads import run_all

__all__ = ["Filled", "Plan", "fill", "planned", "quiet", "stack_for", "surveyed"]

_AT_ONCE = 64  # single files that one task looks at

Measure = Callable[[np.ndarray], dict[str, float]]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what readers say of odd files to themselves, in all threads, and refuse bombs of pixels.

    Examples
    --------
    >>> with quiet():
    ...     warnings.warn("a card against the standard")
    """
    # Set once for all threads: Python does not let each thread have filters of its own.
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def surveyed(containers: Sequence[Container], decoder: Decoder, threads: int) -> Survey:
    """Return all images, in order, each with what its header says.

    Parameters
    ----------
    containers : sequence of Container
        Files.
    decoder : Decoder
        Reads the headers.
    threads : int
        How many at a time.

    Returns
    -------
    Survey

    Examples
    --------
    >>> path = getfixture("tmp_path") / "one.png"
    >>> _ = path.write_text("text")
    >>> surveyed([Container(str(path), "file")], Decoder(), 1).items[0].problem
    'it is no PNG, JPEG, TIFF or FITS image'
    """
    # Archives take long and differ: one each.  Single files are quick: many at a time.
    groups: list[list[int]] = []
    for i, container in enumerate(containers):
        is_file = container.kind == "file"
        if is_file and groups and len(groups[-1]) < _AT_ONCE and containers[groups[-1][-1]].kind == "file":
            groups[-1].append(i)
        else:
            groups.append([i])

    def task(group: list[int]) -> list[Survey]:
        return [survey(containers[i], decoder.look, decoder.limit) for i in group]

    out = Survey()
    for found in run_all([lambda group=group: task(group) for group in groups], threads):
        for one in found:
            out.items += one.items
            out.notes += one.notes
    return out


@dataclass(frozen=True, slots=True)
class Plan:
    """What the images become.

    Parameters
    ----------
    size : (int, int)
        Height and width.
    channels : int
        0 for grey images.
    dtype : dtype
        uint8 or float32.
    resize, scale : str
        How they get there.
    percentiles : (float, float) or None
        Limits of the scaling.
    """

    size: tuple[int, int]
    channels: int
    dtype: np.dtype[Any]
    resize: str
    scale: str
    percentiles: tuple[float, float] | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an image."""
        return (*self.size, self.channels) if self.channels else self.size

    @property
    def nothing(self) -> float:
        """What stands where there is no image."""
        return np.nan if self.dtype.kind == "f" else 0

    def apply(self, image: np.ndarray, out: np.ndarray) -> None:
        """Put an image into its row of the stack."""
        image = resized(recoloured(image, self.channels), self.size, self.resize)
        image = stretched(image, self.scale, self.percentiles)
        with np.errstate(over="ignore"):
            out[...] = image
        # What is infinite, also for being beyond float32, is missing.  A sum finds it the fastest.
        if out.dtype.kind == "f" and not np.isfinite(out.sum(dtype=np.float64)):
            out[np.isinf(out)] = np.nan


def planned(
    items: Sequence[Item],
    *,
    size: tuple[int, int] | None,
    resize: str,
    scale: str,
    percentiles: tuple[float, float] | None,
    colour: str,
) -> tuple[Plan, list[str]]:
    """Return what the images become; those that do not go with the others get a problem.

    Parameters
    ----------
    items : sequence of Item
        All images.
    size, resize, scale, percentiles, colour : object
        What was asked for.

    Returns
    -------
    plan : Plan
    notes : list of str
        What is to be said about it.

    Raises
    ------
    InputError
        If no image can be read, or sizes differ and nothing says what to do.
    """
    notes: list[str] = []
    channels = _channels([item for item in items if not item.problem], colour, notes)
    for item in items:
        if not item.problem and channels and item.look.channels not in (0, channels):
            item.problem = f"it has {item.look.channels} channels, and most have {channels}"
    good = [item.look for item in items if not item.problem]
    sizes = list(dict.fromkeys((look.height, look.width) for look in good))
    final = common_size(sizes, size, resize)
    is_byte = scale == "none" and all(look.is_byte for look in good) and keeps_bytes(sizes, final, resize)
    dtype = np.dtype(np.uint8 if is_byte else np.float32)
    return Plan(final, channels, dtype, resize, scale, percentiles), notes


def _channels(good: Sequence[Item], colour: str, notes: list[str]) -> int:
    """Return how many channels all images will have."""
    if not good:
        return 0
    counts: dict[int, int] = {}
    for item in good:
        counts[item.look.channels] = counts.get(item.look.channels, 0) + 1
    coloured = {n: count for n, count in counts.items() if n}
    if colour == "grey" or not coloured:
        return 3 if colour == "rgb" else 0
    if colour == "rgb":
        return 3
    most = max(coloured, key=lambda n: (coloured[n], -n))
    if counts.get(0):
        notes.append(
            f"{counts[0]} of {len(good)} images are grey, the others have {most} channels: "
            "the grey value stands in each (colour='grey' would make all grey)"
        )
    return most


@dataclass(slots=True)
class Filled:
    """Pixels and measures of n images.

    Parameters
    ----------
    stack : (n, h, w) or (n, h, w, c) array
        The images.
    measures : dict of str to (n,) array of float
        NaN where there is none.
    """

    stack: np.ndarray
    measures: dict[str, np.ndarray] = field(default_factory=dict)


def fill(
    items: Sequence[Item],
    plan: Plan,
    decoder: Decoder,
    stack: np.ndarray,
    *,
    measure: Measure | None,
    threads: int,
) -> Filled:
    """Read all images into an array.

    Parameters
    ----------
    items : sequence of Item
        n images; those with a problem are left out, and those that turn out to be broken get one.
    plan : Plan
        What they become.
    decoder : Decoder
        Reads them.
    stack : (n, h, w) or (n, h, w, c) array
        Where they go.
    measure : callable, optional
        Takes the original pixels of an image and returns numbers by name.
    threads : int
        How many at a time.

    Returns
    -------
    Filled
    """
    out = Filled(stack)
    rows = [(row, item) for row, item in enumerate(items) if not item.problem]
    for row, item in enumerate(items):
        if item.problem:
            stack[row] = plan.nothing
    names: list[str] = []
    numbers: dict[int, list[float]] = {}

    def one(row: int, item: Item, data: bytes | Exception) -> None:
        try:
            if isinstance(data, Exception):
                raise data
            pixels = decoder.pixels(data, item.look)
            found = measure(pixels) if measure else {}
            plan.apply(pixels, stack[row])
        except Exception as error:  # a broken image costs its own row
            item.problem = reason_of(error)
            stack[row] = plan.nothing
            return
        numbers[row] = list(found.values())
        if not names:
            names[:] = list(found)

    def task(group: Sequence[tuple[int, Item]]) -> None:
        done = 0
        try:
            for row, item, data in read_items(group):
                one(row, item, data)
                done += 1
        except Exception as error:  # the archive cannot be opened any more
            for row, item in group:
                if row not in numbers and not item.problem:
                    item.problem = reason_of(error)
                    stack[row] = plan.nothing

    run_all([lambda group=group: task(group) for group in chunks_of(rows, threads)], threads)
    for place, name in enumerate(names):
        out.measures[name] = np.full(len(items), np.nan)
        for row, values in numbers.items():
            out.measures[name][row] = values[place]
    return out


@contextlib.contextmanager
def stack_for(n: int, plan: Plan, memmap: Any, *, overwrite: bool) -> Iterator[np.ndarray]:
    """Give an array for n images, in memory or in a file that is there, as a whole, only afterwards.

    Parameters
    ----------
    n : int
        Number of images.
    plan : Plan
        Their shape and type.
    memmap : str, path or None
        The ``.npy`` file.
    overwrite : bool
        Whether it may replace another one.

    Yields
    ------
    (n, h, w) or (n, h, w, c) array

    Raises
    ------
    InputError
        If there is not enough memory or space.
    """
    shape = (n, *plan.shape)
    size = int(np.prod(shape, dtype=object)) * plan.dtype.itemsize
    if memmap is None:
        try:
            stack = np.empty(shape, plan.dtype)
        except (MemoryError, ValueError) as error:
            raise InputError(
                f"{n} images of {' × '.join(map(str, plan.shape))} take {size / 2**30:.1f} GB, "
                "which cannot be had: give a smaller size=, or memmap='stack.npy' to keep them in a file"
            ) from error
        yield stack
        return
    with beside(Path(memmap), overwrite=overwrite) as new:
        if size > (free := shutil.disk_usage(new.parent).free):
            raise InputError(
                f"{os.fspath(memmap)} takes {size / 2**30:.1f} GB, "
                f"and the disk has {free / 2**30:.1f} GB left"
            )
        stack = np.lib.format.open_memmap(new, mode="w+", dtype=plan.dtype, shape=shape)
        _reserve(new)
        yield stack
        stack.flush()


def _reserve(path: Path) -> None:
    """Take the space of a file now: a full disk would end a program that writes into a mapped file."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # not every file system can
                raise
