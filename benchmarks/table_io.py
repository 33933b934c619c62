"""Tables out and in, side by side with astropy: ``python benchmarks/table_io.py``.

Both sides run in this process, in turn; a BINARY2 of astropy's is written once, for it takes long.
The table has 10⁵ rows and 50 columns of every kind.  The results are also written to
``benchmarks/table_io.md``.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.io import votable as astropy_votable
from astropy.table import Column, MaskedColumn, QTable
from measure import Result, Side, alternate, machine, peak_memory, seconds

import astro_cluster as ac
from astro_cluster.votable import compiling, read_votable, tabledata, write_votable

WANTED = {"write": 30, "read": 10}


def mixed(rows: int) -> QTable:
    """Return 50 columns: floats with NaN, integers with nulls, texts, booleans and a vector."""
    rng = np.random.default_rng(0)
    table = QTable()
    for i in range(30):
        values = rng.normal(size=rows)
        values[rng.random(rows) < 0.05] = np.nan
        table[f"flux{i}"] = values * u.mJy
    for i in range(8):
        table[f"count{i}"] = MaskedColumn(rng.integers(0, 10**9, rows), mask=rng.random(rows) < 0.05)
    for i in range(4):
        table[f"name{i}"] = np.array([f"source {k * (i + 1)}" for k in range(rows)])
    for i in range(4):
        table[f"error{i}"] = rng.normal(size=rows).astype("f4")
    table["flag"] = rng.random(rows) < 0.5
    table["masked_flag"] = MaskedColumn(rng.random(rows) < 0.5, mask=rng.random(rows) < 0.05)
    table["vector"] = rng.normal(size=(rows, 3)).astype("f4")
    table["short"] = rng.integers(-9, 9, rows).astype("i2")
    return table


def bare(table: QTable) -> QTable:
    """Return the columns without masks and units, which astropy writes as TABLEDATA."""
    return QTable({name: np.ma.getdata(np.asarray(table[name])) for name in table.colnames})


def varying(rows: int) -> QTable:
    """Return a table with arrays and texts of varying length."""
    rng = np.random.default_rng(1)
    table = QTable({"id": np.arange(rows), "ra": rng.uniform(0, 360, rows) * u.deg})
    for name in ("spectrum", "errors"):
        items = np.empty(rows, object)
        for i, n in enumerate(rng.integers(1, 20, rows)):
            items[i] = rng.normal(size=n)
        table[name] = Column(items)
    return table


def megabytes(table: QTable) -> float:
    """Return what the values and masks of a table take."""
    size = 0
    for column in table.itercols():
        values = np.ma.getdata(np.asarray(getattr(column, "unmasked", column)))
        arrays = values.ravel().tolist() if values.dtype == object else [values]
        size += sum(item.nbytes for item in arrays)
        if values.dtype == object:  # and the arrays themselves
            size += (
                values.nbytes
                + sum(map(sys.getsizeof, arrays))
                - sum(i.nbytes for i in arrays if i.base is None)
            )
        size += getattr(getattr(column, "mask", None), "nbytes", 0)
    return size / 2**20


def fresh(work: str, path: Path, rows: int) -> float:
    """Return what a piece of work takes in a new process, where nothing was used before, over the table."""
    command = [sys.executable, __file__, "--rows", str(rows), "--alone", work, str(path)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def alone(work: str, path: Path, rows: int) -> None:
    """Print what a piece of ours takes, in units of the table."""
    worth = compiling.WORTH_IT, tabledata.WORTH_IT
    compiling.WORTH_IT = tabledata.WORTH_IT = 0
    few = path.with_name("few.vot")
    for table in (mixed(100), varying(100)):
        we_write(table, few)
        read_votable(few)
    astropy_writes(bare(mixed(100)), few, "tabledata")
    read_votable(few)  # what is loaded for good does not count
    compiling.WORTH_IT, tabledata.WORTH_IT = worth
    table = mixed(rows) if work == "write" else None
    with peak_memory() as peak:
        if table is not None:
            we_write(table, path)
        else:
            table, _ = read_votable(path)
    print(peak.extra / megabytes(table))


def once(call: Callable[[], object]) -> Side:
    """Run what takes long a single time."""
    with peak_memory() as peak:
        took = seconds(call)
    return Side([took], peak.extra)


def compare(
    work: str, ours: Callable[[], object], theirs: Callable[[], object], options: argparse.Namespace,
    size: float, *, slow: bool = False, against: str = "astropy", alone_as: tuple[str, Path] | None = None,
) -> Result:  # fmt: skip
    """Time both sides in turn; a slow one of theirs once, in the middle of ours."""
    if slow:
        seconds(ours)
        before, other, after = (once(side) for side in (ours, theirs, ours))
        more = [once(ours) for _ in range(options.repeat - 2)]
        times = [time for side in (before, after, *more) for time in side.times]
        mine = Side(times, max(side.memory for side in (before, after, *more)))
    else:
        mine, other = alternate(lambda: seconds(ours), lambda: seconds(theirs), options.repeat)
    note = f"theirs takes {other.memory / size:.1f} × the table"
    if alone_as is not None:
        note = f"ours takes {fresh(*alone_as, options.rows):.2f} × the table in a fresh process, {note}"
    return Result(work, against, mine, other, note)


def astropy_writes(table: QTable, path: Path, serialisation: str) -> None:
    with path.open("wb") as file:
        table.write(file, format="votable", tabledata_format=serialisation)


def we_write(table: QTable, path: Path) -> None:
    with path.open("wb") as file:
        write_votable(table, file)


def measured(options: argparse.Namespace, folder: Path) -> Iterator[Result]:
    """Yield each comparison."""
    table = mixed(options.rows)
    size = megabytes(table)
    shape = f"{options.rows:,} × {len(table.colnames)}"
    ours, theirs, text = (folder / name for name in ("ours.vot", "theirs.vot", "text.vot"))
    yield compare(
        f"write BINARY2, {shape}", lambda: we_write(table, ours),
        lambda: astropy_writes(table, theirs, "binary2"), options, size, slow=True,
        alone_as=("write", folder / "alone.vot"),
    )  # fmt: skip
    for name, path in {"ours": ours, "astropy's": theirs}.items():
        yield compare(
            f"read BINARY2 ({name})", lambda path=path: read_votable(path),
            lambda path=path: QTable.read(path, format="votable"), options, size, slow=True,
            alone_as=("read", path),
        )  # fmt: skip
    numbers = bare(table)
    astropy_writes(numbers, text, "tabledata")
    yield compare(
        "read TABLEDATA", lambda: read_votable(text), lambda: QTable.read(text, format="votable"), options,
        megabytes(numbers), slow=True, alone_as=("read", text),
    )  # fmt: skip
    del numbers
    lists = varying(options.rows)
    vary = folder / "varying.vot"
    we_write(lists, vary)
    yield compare(
        f"read BINARY2 with arrays of varying length, {options.rows:,} × 4", lambda: read_votable(vary),
        lambda: astropy_votable.parse(vary), options, megabytes(lists), slow=True,
        alone_as=("read", vary),
    )  # fmt: skip
    simple, plain = folder / "ours.fits", folder / "theirs.fits"

    def fits_by_us() -> None:
        ac.write(table, simple, overwrite=True)

    def fits_by_astropy() -> None:
        table.write(plain, format="fits", overwrite=True)

    yield compare("write FITS, for scale", fits_by_us, fits_by_astropy, options, size)

    def plain_read() -> None:
        with fits.open(plain, memmap=False) as hdus:
            QTable.read(hdus[1])

    yield compare("read FITS, for scale", lambda: ac.read(simple), plain_read, options, size)


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument("--alone", nargs=2, metavar=("WORK", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.alone:
        return alone(options.alone[0], Path(options.alone[1]), options.rows)
    command = shlex.join(["python", "benchmarks/table_io.py", *sys.argv[1:]])
    lines = [
        f"Made by `{command}` on a shared machine: {machine()}, one thread.  Medians of {options.repeat} "
        "runs of ours (smallest–largest), theirs once between them where it takes long.  MB: anonymous "
        "memory (RssAnon) beyond what was there before, in this process, which uses freed memory again.  "
        f"Ratio = theirs / ours; wanted of BINARY2: write ≥ {WANTED['write']}, read ≥ {WANTED['read']}, "
        "memory ≤ 1.5 × the table.",
        "",
        "| work | against | ours | theirs | ratio | |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines))
    with tempfile.TemporaryDirectory() as folder:
        for result in measured(options, Path(folder)):
            lines.append(result.row())
            print(lines[-1], flush=True)
    options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
