"""A reference that does not fit in memory: read a chunk of rows at a time.

It is read several times, each time a few columns of it: for the epochs if there is something to move,
for the positions, for the columns of the rows that were matched, and for the hash.  What is kept are
the local table, the pairs, and those rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Column, MaskedColumn, QTable, vstack
from astropy.utils.masked import Masked

from astro_cluster.chunks import ChunkedFile, Messages, chunks_of, head_of
from astro_cluster.columns import require, with_info
from astro_cluster.exceptions import InputError
from astro_cluster.matching import epochs
from astro_cluster.matching.candidates import Pairs, Sky
from astro_cluster.matching.join import split_coordinates
from astro_cluster.matching.local import degrees, radius_in_arcsec
from astro_cluster.matching.zones import AllPairs, NearestPairs
from astro_cluster.positions import find_position, sky_coord
from astro_cluster.provenance import content_hash_of_chunks

__all__ = ["pairs_of_file", "rows_of_file"]

_CHUNK_BYTES = 2**26
_CHUNK_ROWS = (1024, 2**19)  # the least and the most
_MANY_EPOCHS = 2**24


def _chunk_rows(file: ChunkedFile) -> int:
    width = max(file.path.stat().st_size // max(file.n_rows, 1), 8)
    return int(np.clip(_CHUNK_BYTES // width, *_CHUNK_ROWS))


# ---------------------------------------------------------------- epochs


@dataclass(frozen=True, slots=True)
class _Epochs:
    """The epochs of all rows of a file; for `epochs.meeting_epoch` the same as an `epochs.Motion`."""

    epoch: np.ndarray  # different ones
    count: np.ndarray  # rows of each
    moving: int
    columns: tuple[str, ...]

    @property
    def year(self) -> float:
        """The epoch of most rows: the median."""
        ends = np.cumsum(self.count)
        middle = (ends[-1] - 1) // 2, ends[-1] // 2
        return float(np.mean([self.epoch[np.searchsorted(ends, k, side="right")] for k in middle]))

    def rows_that_move(self) -> int:
        """Return how many rows have an epoch and a proper motion."""
        return self.moving


class _Reference:
    """A file of positions.

    Parameters
    ----------
    file : ChunkedParquet or ChunkedFits
        The file.
    name : str
        What it is called in messages.
    position : (str, str) or str, optional
        Its position columns.
    epoch : float, optional
        Julian year of its positions.
    """

    def __init__(
        self, file: ChunkedFile, name: str, position: str | Sequence[str] | None, epoch: float | None
    ) -> None:
        self.file, self._name, self._epoch = file, name, epoch
        self.head = head_of(file)
        if not file.n_rows:
            raise self._about("the table has no rows: there is nothing to match")
        try:
            self.names = find_position(self.head, position)
        except InputError as error:
            raise self._about(str(error)) from error
        self._epoch_column, self._pm_columns = epochs.motion_columns(self.head)
        self._messages = Messages()

    def _about(self, message: str) -> InputError:
        return InputError(f"in the reference ({self._name}): {message} (here reference_position=)")

    def chunks(self, names: Sequence[str]) -> Iterator[tuple[int, QTable]]:
        """Yield some columns, and the number of the first row of each chunk."""
        yield from chunks_of(self.file, list(dict.fromkeys(names)), _chunk_rows(self.file))

    def epochs(self, local: epochs.Motion | None) -> _Epochs | None:
        """Return the epochs of the rows, or None if they do not matter or are not known."""
        if local is None or (self._epoch is None and self._epoch_column is None):
            return None
        columns = self._motion_columns()
        if not columns:
            return _Epochs(np.array([self._epoch]), np.array([self.file.n_rows]), 0, ())
        if not (self._pm_columns or local.rows_that_move()):
            return None
        known: dict[str, np.ndarray] = {"years": np.empty(0), "counts": np.empty(0, dtype=np.int64)}
        moving = 0
        for first_row, chunk in self.chunks(columns):
            with self._messages.about(self.file.path, first_row):
                motion = epochs.find_motion(chunk, self._epoch)
                if motion is None:
                    continue
                moving += motion.rows_that_move()
                years, counts = np.unique(motion.epoch[np.isfinite(motion.epoch)], return_counts=True)
            _add(known, years, counts)
            if len(known["years"]) > _MANY_EPOCHS:
                raise InputError(
                    f"column {columns[0]!r} of {self.file.path} has more than {_MANY_EPOCHS} different "
                    "epochs, which are too many to be kept while it is read in chunks; give reference_epoch="
                )
        if not len(known["years"]):
            return None
        return _Epochs(known["years"], known["counts"], moving, columns)

    def _motion_columns(self) -> tuple[str, ...]:
        known = self._epoch is not None or self._epoch_column is None
        return self._pm_columns if known else (str(self._epoch_column), *self._pm_columns)

    def positions(self, year: float | None) -> Iterator[tuple[int, SkyCoord, np.ndarray, int]]:
        """Yield the first row's number, positions at an epoch, whether they are known, and rows moved."""
        motion_columns = () if year is None else self._motion_columns()
        any_valid = False
        for first_row, chunk in self.chunks([*self.names, *motion_columns]):
            try:
                coord, valid = sky_coord(chunk, self.names, first_row=first_row)
            except InputError as error:
                raise self._about(str(error)) from error
            n_moved = 0
            if year is not None:
                with self._messages.about(self.file.path, first_row):
                    coord, moved = epochs.move(coord, epochs.find_motion(chunk, self._epoch), year)
                n_moved = int(moved.sum())
            any_valid = any_valid or bool(valid.any())
            yield first_row, coord, valid, n_moved
        if not any_valid:
            names = " and ".join(self.names)
            raise self._about(f"no row has a position: all values of {names} are masked or NaN")


def _add(known: dict[str, np.ndarray], years: np.ndarray, counts: np.ndarray) -> None:
    """Add to the counts of different years."""
    every = np.concatenate([known["years"], years])
    known["years"], place = np.unique(every, return_inverse=True)
    both = np.concatenate([known["counts"], counts])
    known["counts"] = np.bincount(place, weights=both, minlength=len(known["years"])).astype(np.int64)


# ---------------------------------------------------------------- rows


def _dtype(column: Any) -> np.dtype | None:
    dtype = getattr(column, "dtype", None)
    return dtype if isinstance(column, Column) and dtype is not None and dtype.kind in "SU" else None


def _stacked(parts: list[QTable]) -> QTable:
    """Put parts of a table together; a column is masked if it is in any of them."""
    if len(parts) == 1:
        return parts[0]
    for name in parts[0].colnames:
        columns = [part[name] for part in parts]
        if any(isinstance(c, (MaskedColumn, Masked)) for c in columns):
            for part, column in zip(parts, columns, strict=True):
                if isinstance(column, u.Quantity) and not isinstance(column, Masked):
                    part.replace_column(name, with_info(Masked(column), column))
                elif isinstance(column, Column) and not isinstance(column, MaskedColumn):
                    part.replace_column(name, MaskedColumn(column))
    return vstack(parts, join_type="exact", metadata_conflicts="silent")


def rows_of_file(file: ChunkedFile, rows: np.ndarray, columns: Sequence[str]) -> QTable:
    """Return some rows of a file.

    Parameters
    ----------
    file : ChunkedParquet or ChunkedFits
        The file.
    rows : (m,) array of int
        Row numbers, in ascending order and none twice; at least one.
    columns : sequence of str
        Columns to take; SkyCoord columns come as two columns of degrees.

    Returns
    -------
    `~astropy.table.QTable`

    Raises
    ------
    InputError
        If the file is broken, or a column cannot be read in chunks.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> from astro_cluster.chunks import open_chunked
    >>> path = ac.write(QTable({"id": [1, 2, 3]}), getfixture("tmp_path") / "one.fits")
    >>> rows_of_file(open_chunked(path), np.array([0, 2]), ["id"])["id"].tolist()
    [1, 3]
    """
    if not columns:
        return QTable()
    parts: list[QTable] = []
    widths: dict[str, np.dtype] = {}
    for first_row, chunk in chunks_of(file, list(columns), _chunk_rows(file)):
        for name in columns:
            if (dtype := _dtype(chunk[name])) is not None:
                widths[name] = np.result_type(widths.get(name, dtype), dtype)
        first, last = np.searchsorted(rows, [first_row, first_row + len(chunk)])
        if last > first:
            part = chunk[rows[first:last] - first_row]
            part.meta.clear()
            parts.append(split_coordinates(part))
    table = _stacked(parts)
    for name, dtype in widths.items():  # texts as wide as in the file as a whole
        if table[name].dtype != dtype:
            table.replace_column(name, with_info(table[name].astype(dtype), table[name]))
    return table


# ---------------------------------------------------------------- the match


def _moved(sky: Sky, reference: _Reference) -> tuple[SkyCoord, float | None, list[str], list[str], dict]:
    """Return the local positions at the epoch to compare at, this epoch, columns used, and the facts."""
    motion = epochs.find_motion(sky.table, sky.epoch)
    other = reference.epochs(motion)
    year = epochs.meeting_epoch(motion, other)  # type: ignore[arg-type]
    if motion is None or other is None or year is None:
        return sky.coord, None, list(sky.names), list(reference.names), {}
    here, moved = epochs.move(sky.coord, motion, year)
    facts = {
        "local": motion.year,
        "reference": other.year,
        "compared_at": year,
        "rows_moved": int(moved.sum()),
        "reference_rows_moved": 0,
    }
    used = [*reference.names, *other.columns]
    return here, year, [*sky.names, *motion.columns], used, {"epochs": facts}


def _nearest_at(reference: _Reference, year: float | None, coord: SkyCoord, radius: u.Quantity) -> np.ndarray:
    """Return the separation [arcsec] of the nearest row of the file at any positions."""
    search = NearestPairs(*degrees(coord, np.ones(len(coord), dtype=bool)), radius_in_arcsec(radius))
    for first_row, there, valid, _ in reference.positions(year):
        search.feed(*degrees(there, valid), first_row=first_row)
    _, separation, _ = search.result()
    return np.where(np.isnan(separation), np.inf, separation)


def pairs_of_file(
    sky: Sky,
    file: ChunkedFile,
    name: str,
    radius: u.Quantity,
    *,
    columns: list[str] | None,
    position: str | Sequence[str] | None,
    epoch: float | None,
    nearest: bool = False,
) -> Pairs:
    """Return the pairs of a table at hand and a file that is read a chunk at a time.

    Parameters
    ----------
    sky : Sky
        The local table.
    file : ChunkedParquet or ChunkedFits
        The other one.
    name : str
        What it is called.
    radius, columns, position, epoch, nearest
        As in `~astro_cluster.matching.candidates.pairs_at_hand`.

    Returns
    -------
    Pairs
        Their table holds those rows only that are in a pair.

    Raises
    ------
    InputError
        If the file is broken, has no such columns, no rows or no positions, or columns that
        cannot be read in chunks.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> from astro_cluster.chunks import open_chunked
    >>> from astro_cluster.matching.candidates import find_sky
    >>> table = QTable({"ra": [10.0, 20.0], "dec": [5.0, 5.0]})
    >>> path = ac.write(table, getfixture("tmp_path") / "one.fits")
    >>> pairs = pairs_of_file(find_sky(table[1:], None, None), open_chunked(path), "itself", 1 * u.arcsec,
    ...                       columns=None, position=None, epoch=None)
    >>> pairs.remote, pairs.row, len(pairs.table)
    (array([1]), array([0]), 1)
    """
    reference = _Reference(file, name, position, epoch)
    brought = reference.head.colnames if columns is None else require(reference.head, columns)
    here, year, inputs, used, facts = _moved(sky, reference)
    search_for = NearestPairs if nearest else AllPairs
    search = search_for(*degrees(here, sky.valid), radius_in_arcsec(radius))
    for first_row, there, valid, n_moved in reference.positions(year):
        search.feed(*degrees(there, valid), first_row=first_row)
        if year is not None:
            facts["epochs"]["reference_rows_moved"] += n_moved
    if isinstance(search, NearestPairs):
        remote, separation, facts["pairs_within_radius"] = search.result()
        local = np.flatnonzero(remote >= 0)
        remote, separation = remote[local], separation[local]
    else:
        local, remote, separation = search.result()
    rows, row = np.unique(remote, return_inverse=True)
    # One row at least, so that there are columns to make masked ones of.
    table = rows_of_file(file, rows if len(rows) else np.zeros(1, dtype=np.int64), brought)
    hashed = list(dict.fromkeys([*brought, *used]))
    digest = content_hash_of_chunks(
        lambda names: (chunk for _, chunk in reference.chunks(names)),
        hashed,
        head=reference.head,
        n_rows=file.n_rows,
    )
    facts["reference"] = {"name": name, "rows": file.n_rows, "hash": digest}
    pairs = Pairs(local, remote, row, separation, table, file.n_rows, inputs, facts)
    pairs.here = here
    pairs.probe = lambda coord, reach: _nearest_at(reference, year, coord, reach)
    return pairs
