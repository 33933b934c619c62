"""Many files of spectra onto one grid, by threads, each straight into its row."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from astro_cluster.exceptions import InputError
from astro_cluster.filing.members import Item, chunks_of, read_items, reason_of, survey
from astro_cluster.filing.sources import Container
from astro_cluster.spectra.decoding import spectrum_in
from astro_cluster.spectra.found import FoundSpectrum, Reading
from astro_cluster.spectra.preparing import Aim, Prepared, onto_grid, prepared, scaled_unit, suggested_grid
from astro_cluster.threads import run_all
from astro_cluster.wavelengths import Grid

__all__ = ["Filled", "Progress", "RedshiftOf", "Row", "fill", "none_told", "surveyed"]

_SHOWN = 3

RedshiftOf = Callable[[int, str], float]
Progress = Callable[[int, int], Any]


@dataclass(slots=True)
class Row:
    """What is known of a spectrum besides its pixels.

    Parameters
    ----------
    found : FoundSpectrum, optional
        What its file says, the pixels taken out; None if it could not be read.
    redshift : float
        NaN if unknown.
    coverage, snr : float
        NaN if there is no spectrum.
    is_estimated, has_gaps : bool
        As of `~astro_cluster.spectra.preparing.Prepared`.
    """

    found: FoundSpectrum | None = None
    redshift: float = np.nan
    coverage: float = np.nan
    snr: float = np.nan
    is_estimated: bool = False
    has_gaps: bool = False


@dataclass(slots=True)
class Filled:
    """Spectra on a grid.

    Parameters
    ----------
    flux, ivar : (n, m) array of float32
        NaN and 0 where there is nothing.
    rows : list of Row
        The rest.
    aim : Aim
        With unit and grid.
    others : list of (int, float, float)
        Rows that are not on the grid of the first, where they begin and end.
    """

    flux: np.ndarray
    ivar: np.ndarray
    rows: list[Row]
    aim: Aim
    others: list[tuple[int, float, float]] = field(default_factory=list)


def surveyed(containers: Sequence[Container], limit: int) -> tuple[list[Item], list[str]]:
    """Return all files that may be spectra, in order.

    Parameters
    ----------
    containers : sequence of Container
        Files and archives.
    limit : int
        Bytes that one may have.

    Returns
    -------
    items : list of Item
    notes : list of str
        What is to be said of the archives.
    """
    items: list[Item] = []
    notes: list[str] = []
    for container in containers:
        found = survey(container, lambda name, file: None, limit)
        items += found.items
        notes += found.notes
    return items, notes


class _Work:
    """Reads one spectrum after another."""

    def __init__(self, items: Sequence[Item], reading: Reading, redshift_of: RedshiftOf, limit: int) -> None:
        self.items, self.reading, self.redshift_of, self.limit = items, reading, redshift_of, limit

    def one(self, row: int, data: bytes | Exception, aim: Aim) -> tuple[Row, Prepared | None]:
        """Return what is in the bytes of a file; a problem goes to its item."""
        item, out = self.items[row], Row()
        try:
            if isinstance(data, Exception):
                raise data
            found = spectrum_in(data, item, self.reading, self.limit)
            out.redshift = self.redshift_of(row, found.source_id)
            if not np.isfinite(out.redshift):
                out.redshift = found.redshift
            out.found = found
            return out, prepared(found, aim, out.redshift)
        except Exception as error:  # whatever a damaged file leads to costs its own row
            item.problem = reason_of(error)
            return out, None
        finally:
            if out.found is not None:  # its pixels are not kept
                nothing = np.zeros(0)
                out.found.wavelength, out.found.flux = nothing, nothing
                out.found.ivar = out.found.ignored = None


def fill(
    items: Sequence[Item],
    reading: Reading,
    aim: Aim,
    redshift_of: RedshiftOf,
    *,
    limit: int,
    threads: int,
    progress: Progress | None = None,
) -> Filled:
    """Read all spectra onto one grid.

    Parameters
    ----------
    items : sequence of Item
        n files; those that turn out to be no spectra get a problem.
    reading : Reading
        What is taken from them.
    aim : Aim
        What they become.  Grid and unit may still be unknown: they are those of the first spectrum.
    redshift_of : callable
        Takes the row and the identifier of a spectrum; NaN where the file itself has to know.
    limit : int
        Bytes that a file may have.
    threads : int
        How many at a time.
    progress : callable, optional
        Called with the number of spectra that are read and that of all.

    Returns
    -------
    Filled

    Raises
    ------
    InputError
        If there is no spectrum, or no grid was given and they are on several.
    """
    work = _Work(items, reading, redshift_of, limit)
    aim = _aim_of_first(work, aim)
    n, m = len(items), len(aim.grid)  # type: ignore[arg-type]
    out = Filled(*_room(n, m), [Row() for _ in items], aim)
    is_own = aim.is_own_grid
    lock, done = threading.Lock(), [0]

    def put(row: int, data: bytes | Exception) -> None:
        out.rows[row], one = work.one(row, data, aim)
        if one is None:
            return
        out.rows[row].is_estimated, out.rows[row].has_gaps = one.is_estimated, one.has_gaps
        if is_own and not one.is_on(aim.grid):
            out.others.append((row, one.angstrom[0], one.angstrom[-1]))
            return
        found = out.rows[row].found
        is_silent = found is not None and found.wavelength_unit is None and aim.wavelength_unit is None
        try:
            out.rows[row].coverage = onto_grid(one, aim, out.flux[row], out.ivar[row], look=is_silent)
            out.rows[row].snr = _snr(out.flux[row], out.ivar[row])
        except Exception as error:  # of whatever kind: it costs its own row
            items[row].problem = reason_of(error)

    def tell() -> None:
        if progress is not None:
            with lock:
                done[0] += 1
                progress(done[0], len(rows))

    def task(group: Sequence[tuple[int, Item]]) -> None:
        left = dict.fromkeys((row for row, _ in group), "it cannot be read")
        for row, data in _read(group, left):
            put(row, data)
            tell()
        for row, problem in left.items():  # the archive cannot be opened any more
            items[row].problem = problem

    rows = [(row, item) for row, item in enumerate(items) if not item.problem]
    run_all([lambda group=group: task(group) for group in chunks_of(rows, threads)], threads)
    if out.others:
        _refuse_several_grids(items, out)
    return out


def _read(group: Sequence[tuple[int, Item]], left: dict[int, str]) -> Iterator[tuple[int, bytes | Exception]]:
    """Yield the bytes of files; what cannot be reached stays in ``left``, with the reason."""
    found = read_items(group)
    while left:
        try:
            row, _, data = next(found)
        except StopIteration:
            return
        except Exception as error:
            left.update(dict.fromkeys(left, reason_of(error)))
            return
        del left[row]
        yield row, data


def _snr(flux: np.ndarray, ivar: np.ndarray) -> float:
    counts = ivar > 0
    return float(np.median(flux[counts] * np.sqrt(ivar[counts])))


def _room(n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        return np.full((n, m), np.nan, np.float32), np.zeros((n, m), np.float32)
    except MemoryError as error:
        raise InputError(
            f"{n} spectra at {m} wavelengths take {8 * n * m / 2**30:.1f} GB, which cannot be had: give a "
            "coarser grid="
        ) from error


def _aim_of_first(work: _Work, aim: Aim) -> Aim:
    """Return the aim with the unit and, if none was given, the grid of the first spectrum that is one."""
    if aim.grid is not None and aim.unit is not None:
        return aim
    problems: dict[int, str] = {}
    for row, item in enumerate(work.items):
        if item.problem:
            continue
        left = {row: "it cannot be read"}
        read = dict(_read([(row, item)], left))
        data = read[row] if row in read else OSError(left[row])
        facts, one = work.one(row, data, aim)
        if one is None or facts.found is None:
            problems[row], item.problem = item.problem, ""  # found out again, in its turn
            continue
        unit = aim.unit or scaled_unit(facts.found.unit, one.flux)
        if aim.grid is not None:
            return aim.knowing(unit, aim.grid)
        return aim.knowing(unit, Grid(one.angstrom, aim.medium, aim.frame), is_own=True)
    for row, problem in problems.items():
        work.items[row].problem = problem
    raise InputError(none_told(work.items))


def _refuse_several_grids(items: Sequence[Item], out: Filled) -> None:
    grid = out.aim.grid
    if grid is None:
        return
    row, low, high = min(out.others)
    ranges = np.array([grid.angstrom[[0, -1]], *([low, high] for _, low, high in out.others)])
    step = float(np.median(np.diff(np.log(grid.angstrom))))
    proposal = suggested_grid(ranges, step)
    raise InputError(
        f"{len(out.others)} of {len(items)} spectra have other wavelengths than the first ({grid}), such as "
        f"{items[row].full_name} ({low:.6g} to {high:.6g} Å): give a grid that all are put on, such as "
        f"grid='{proposal}' (--grid {proposal})"
    )


def none_told(items: Sequence[Item]) -> str:
    """Return in words that there is no spectrum, and why.

    Parameters
    ----------
    items : sequence of Item
        Files with a problem each.

    Returns
    -------
    str

    Examples
    --------
    >>> none_told([Item(Container("a.fits", "file"), problem="it is empty")])
    'none of 1 spectrum can be used: a.fits (it is empty)'
    """
    if not items:
        return "there is no spectrum"
    reasons: dict[str, list[str]] = {}
    for item in items:
        reasons.setdefault(item.problem, []).append(item.full_name)
    told = [
        f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''} ({reason})"
        for reason, names in list(reasons.items())[:_SHOWN]
    ]
    n = len(items)
    others = len(reasons) - _SHOWN
    more = f"; and {others} other reason{'s' if others > 1 else ''}" if others > 0 else ""
    return f"none of {n} spectr{'a' if n > 1 else 'um'} can be used: {'; '.join(told)}{more}"
