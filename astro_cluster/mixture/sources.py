"""Rows from anywhere, a chunk at a time: arrays, memory maps, functions, generators.

A source gives the same rows in the same order at each pass and holds one chunk in memory.
What the estimator has to know of all rows before EM (that they make sense, their means and
variances, a sample to start from) is gathered in one pass.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np

from astro_cluster.mixture.rows import Rows, RowSource
from astro_cluster.mixture.survey import Survey, check_rows, check_shapes, floats, sample, to_rows

__all__ = [
    "CHUNK_ROWS",
    "ArraySource",
    "CheckedSource",
    "ChunkSource",
    "SpooledSource",
    "Survey",
    "as_source",
    "check_rows",
    "gives_chunks",
    "sample",
    "to_rows",
]

CHUNK_ROWS = 65_536
"""Rows of a chunk: large enough to keep the kernels busy, small enough for any memory."""

_PARTS = ("values", "noise", "weights")


class ArraySource:
    """Rows of an array, which may be a memory map.

    Parameters
    ----------
    X : (n, d) array
        Values of any real type, byte order and memory layout; NaN where missing.  Anything
        with a shape, a NumPy dtype and slices of rows will do (an HDF5 data set, say): only a
        chunk at a time is converted.
    errors : (n, d) or (n, d, d) array, optional
        Standard errors, or covariance matrices of the errors.
    sample_weight : (n,) array, optional
        Weights.
    chunk_rows : int, optional
        Rows of a chunk.
    names : sequence of str, optional
        Names of the columns, for messages.

    Raises
    ------
    ValueError
        If the shapes do not go together.

    Examples
    --------
    >>> source = ArraySource(np.arange(6, dtype=">i2").reshape(3, 2), chunk_rows=2)
    >>> [rows.values.tolist() for rows in source.chunks()]
    [[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0]]]
    """

    def __init__(
        self,
        X: Any,
        errors: Any = None,
        sample_weight: Any = None,
        *,
        chunk_rows: int = CHUNK_ROWS,
        names: Sequence[str] | None = None,
    ) -> None:
        self._parts = tuple(None if part is None else _sliceable(part) for part in (X, errors, sample_weight))
        shape = self._parts[0].shape
        for what, part in zip(("errors", "weights"), self._parts[1:], strict=True):
            if part is not None and part.shape[:1] != shape[:1]:
                raise ValueError(f"there are {part.shape[0]} {what} for {shape[0]} rows")
        self._chunk_rows, self._names = _checked_chunk_rows(chunk_rows), names
        self.n_rows = int(shape[0]) if shape else 0
        self.n_features = self._rows(slice(0, 0)).n_features  # complains of wrong shapes and types

    def _rows(self, index: slice) -> Rows:
        X, errors, weights = (None if part is None else part[index] for part in self._parts)
        return to_rows(X, errors, weights, first_row=index.start, names=self._names)

    def chunks(self) -> Iterator[Rows]:
        """Yield the rows; C-contiguous float64 ones as views.

        Yields
        ------
        Rows
            At most ``chunk_rows`` of them.
        """
        for start in range(0, self.n_rows, self._chunk_rows):
            yield self._rows(slice(start, min(start + self._chunk_rows, self.n_rows)))


def _checked_chunk_rows(chunk_rows: int) -> int:
    if chunk_rows < 1:
        raise ValueError(f"chunk_rows={chunk_rows} has to be at least 1")
    return int(chunk_rows)


def _sliceable(array: Any) -> Any:
    """Return what can be sliced by rows as it is, anything else as an array."""
    if hasattr(array, "shape") and isinstance(getattr(array, "dtype", None), np.dtype) and array.shape:
        return array
    return np.atleast_1d(np.asarray(array))


def _normal(chunk: Any, first_row: int, names: Sequence[str] | None) -> Rows | None:
    """Return a chunk of any form as rows, or None if it is empty."""
    parts = chunk if isinstance(chunk, tuple) else (chunk,)
    if not 1 <= len(parts) <= 3:
        raise ValueError(
            f"the chunk that begins with row {first_row} is a tuple of {len(parts)}; a chunk is an array or "
            "a tuple (X, errors, sample_weight)"
        )
    if np.shape(chunk.values if isinstance(chunk, Rows) else parts[0])[:1] == (0,):
        return None
    if not isinstance(chunk, Rows):
        return to_rows(*parts, first_row=first_row, names=names)
    rows = to_rows(chunk.values, None, chunk.weights)
    # The noise of rows is variances already.
    rows = Rows(rows.values, None if chunk.noise is None else floats(chunk.noise, "errors"), rows.weights)
    check_shapes(rows)
    return rows


def _consistent(chunks: Iterable[Any], names: Sequence[str] | None = None) -> Iterator[tuple[int, Rows]]:
    """Yield the chunks that have rows, each with the number of its first row."""
    first_row, kind = 0, None
    for number, chunk in enumerate(chunks):
        rows = _normal(chunk, first_row, names)
        if rows is None:
            continue
        found = _kind(rows)
        kind = kind or found
        if found != kind:
            raise ValueError(
                f"chunk {number}, which begins with row {first_row}, has {', '.join(found)}, but the chunks "
                f"before it have {', '.join(kind)}; make the chunks alike"
            )
        yield first_row, rows
        first_row += len(rows)


def _kind(rows: Rows) -> tuple[str, ...]:
    """Return, in words, what all chunks of a source must have in common."""
    noise = "no errors"
    if rows.noise is not None:
        noise = "an error for each value" if rows.noise.ndim == 2 else "a covariance matrix for each row"
    return f"{rows.n_features} columns", noise, "no weights" if rows.weights is None else "weights"


class ChunkSource:
    """Rows that a function makes anew at each pass.

    Parameters
    ----------
    make : callable
        Returns a fresh iterator of chunks at each call.  A chunk is an (n, d) array, a tuple
        ``(X, errors, sample_weight)`` of which the last or the last two may be left out, or
        `Rows`.  Empty chunks are passed over.
    n_features : int, optional
        Number of columns; if not given, the first chunk is made once to see.
    names : sequence of str, optional
        Names of the columns, for messages.

    Raises
    ------
    ValueError
        If there are no rows.

    Examples
    --------
    >>> source = ChunkSource(lambda: (np.full((2, 3), i) for i in range(4)))
    >>> source.n_features, sum(len(rows) for rows in source.chunks())
    (3, 8)
    """

    def __init__(
        self,
        make: Callable[[], Iterable[Any]],
        n_features: int | None = None,
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        self._make, self._names = make, names
        if n_features is None:
            first = next(_consistent(make(), names), None)
            if first is None:
                raise ValueError("there are no rows: all chunks are empty")
            n_features = first[1].n_features
        self.n_features = n_features

    def chunks(self) -> Iterator[Rows]:
        """Yield the chunks of a fresh iterator.

        Yields
        ------
        Rows

        Raises
        ------
        ValueError
            If the chunks differ in width, or in having errors and weights.
        """
        for _, rows in _consistent(self._make(), self._names):
            if rows.n_features != self.n_features:
                raise ValueError(f"the chunks have {rows.n_features} columns, not {self.n_features}")
            yield rows


class SpooledSource:
    """Rows of an iterator that can be run through once only, kept in a temporary file.

    EM reads its rows many times; a generator gives them once.  They are written to the
    folder for temporary files (the environment variable ``TMPDIR`` moves it) as 8 bytes a
    number and deleted together with this object.

    Parameters
    ----------
    chunks : iterable
        Chunks as `ChunkSource` takes them.
    chunk_rows : int, optional
        Rows of a chunk when they are read again.
    names : sequence of str, optional
        Names of the columns, for messages.

    Raises
    ------
    ValueError
        If there are no rows or the chunks do not go together.
    OSError
        If the disk is full.

    Examples
    --------
    >>> source = SpooledSource(np.full((2, 3), i) for i in range(4))
    >>> [sum(len(rows) for rows in source.chunks()) for _ in range(2)]
    [8, 8]
    """

    def __init__(
        self, chunks: Iterable[Any], *, chunk_rows: int = CHUNK_ROWS, names: Sequence[str] | None = None
    ) -> None:
        self._chunk_rows = _checked_chunk_rows(chunk_rows)
        self.folder = Path(tempfile.mkdtemp(prefix="astro_cluster_"))
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        try:
            self._shapes = self._write(chunks, names)
        except BaseException:
            self._remove()
            raise
        self.n_features = self._shapes["values"][1]

    def _write(self, chunks: Iterable[Any], names: Sequence[str] | None) -> dict[str, tuple[int, ...]]:
        """Append each part of the rows to a file of its own; return the shapes of the wholes."""
        n, widths = 0, {}
        with ExitStack() as stack:
            files = {part: stack.enter_context((self.folder / part).open("wb")) for part in _PARTS}
            for first_row, rows in _consistent(chunks, names):
                arrays = {part: getattr(rows, part) for part in _PARTS if getattr(rows, part) is not None}
                widths = {part: array.shape[1:] for part, array in arrays.items()}
                for part, array in arrays.items():
                    self._append(files[part], array)
                n = first_row + len(rows)
        if n == 0:
            raise ValueError("there are no rows: all chunks are empty")
        return {part: (n, *width) for part, width in widths.items()}

    def _append(self, file: IO[bytes], array: np.ndarray) -> None:
        try:
            file.write(array.data)
            file.flush()
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot keep the chunks in {self.folder.parent}: {error.strerror}; let the environment "
                "variable TMPDIR name a larger disk, or give a function that makes the chunks anew",
            ) from error

    def chunks(self) -> Iterator[Rows]:
        """Yield the rows as views of the file.

        Yields
        ------
        Rows
            At most ``chunk_rows`` of them.
        """
        # Mapped for this pass only: some systems cannot delete a file that is mapped.
        maps = {
            part: np.asarray(np.memmap(self.folder / part, dtype=np.float64, mode="r", shape=shape))
            for part, shape in self._shapes.items()
        }
        whole = Rows(**maps)
        for start in range(0, len(whole), self._chunk_rows):
            yield whole.take(slice(start, start + self._chunk_rows))


class CheckedSource:
    """Rows that are checked and surveyed on the first pass.

    Parameters
    ----------
    source : RowSource
        Where the rows come from.
    names : sequence of str, optional
        Names of the columns, for messages.
    to_fit : bool, optional
        Whether a mixture is to be fitted to the rows.  If not, each pass checks them, there is no
        survey, and a column may be empty.

    Attributes
    ----------
    survey : Survey or None
        What is known of all rows; None until a pass has come to its end.

    Examples
    --------
    >>> source = CheckedSource(ArraySource([[1.0], [3.0]]))
    >>> source.check().mean
    array([2.])
    """

    def __init__(self, source: RowSource, *, names: Sequence[str] | None = None, to_fit: bool = True) -> None:
        self._source, self._names, self._to_fit = source, names, to_fit
        self.n_features = source.n_features
        self.survey: Survey | None = None

    def check(self) -> Survey:
        """Return what is known of all rows, after a pass over them if there was none.

        Returns
        -------
        Survey

        Raises
        ------
        ValueError
            As `chunks`.
        """
        if self.survey is None:
            for _ in self.chunks():
                pass
        assert self.survey is not None  # noqa: S101 - a whole pass makes it
        return self.survey

    def chunks(self) -> Iterator[Rows]:
        """Yield the rows.

        Yields
        ------
        Rows

        Raises
        ------
        ValueError
            On the first pass as `check_rows`, and at its end as `Survey.check`; on a later one if
            the number of rows is another.
        """
        known, survey, n = self.survey, Survey.empty(self.n_features), 0
        for first_row, rows in _consistent(self._source.chunks(), self._names):
            n = first_row + len(rows)
            if rows.n_features != self.n_features:
                raise ValueError(f"the chunks have {rows.n_features} columns, not {self.n_features}")
            if known is None:
                check_rows(rows, first_row, self._names)
                if self._to_fit:
                    survey = survey + Survey.of(rows)
            yield rows
        if not self._to_fit:
            return
        if known is None:
            survey.check(self._names)
            self.survey = survey
        elif n != known.n_rows:
            raise ValueError(
                f"the source gave {known.n_rows} rows at first and {n} now; it has to give all of them at "
                "each pass (a function must return a fresh iterator each time it is called)"
            )


def as_source(
    X: Any,
    errors: Any = None,
    sample_weight: Any = None,
    *,
    chunk_rows: int = CHUNK_ROWS,
    names: Sequence[str] | None = None,
) -> RowSource:
    """Return what an estimator was given as a source of rows.

    Parameters
    ----------
    X : RowSource, array, callable, list of chunks, iterable or iterator
        A source stays as it is.  An array or memory map is read in chunks.  A function that
        returns a fresh iterator of chunks, a list of chunks, or an object that can be
        iterated over again and again is run through at each pass.  A generator, which cannot,
        is kept in a temporary file (`SpooledSource`).
    errors : (n, d) or (n, d, d) array, optional
        Standard errors or covariance matrices, if X is an array; chunks bring their own.
    sample_weight : (n,) array, optional
        Weights, likewise.
    chunk_rows : int, optional
        Rows of a chunk, for arrays and generators.
    names : sequence of str, optional
        Names of the columns, for messages.

    Returns
    -------
    RowSource
        Not checked yet: see `CheckedSource`.

    Raises
    ------
    ValueError
        If X is none of these, or errors or weights are given beside chunks.

    Examples
    --------
    >>> type(as_source(np.zeros((4, 2)))).__name__, type(as_source(iter([np.zeros((4, 2))]))).__name__
    ('ArraySource', 'SpooledSource')
    """
    if not gives_chunks(X):
        return ArraySource(X, errors, sample_weight, chunk_rows=chunk_rows, names=names)
    if errors is not None or sample_weight is not None:
        raise ValueError(
            "errors and weights of chunks come with them: give each chunk as a tuple "
            "(X, errors, sample_weight)"
        )
    if isinstance(X, RowSource):
        return X
    if isinstance(X, Iterator):
        return SpooledSource(X, chunk_rows=chunk_rows, names=names)
    return ChunkSource(X if callable(X) else lambda: iter(X), names=names)


def gives_chunks(X: Any) -> bool:
    """Tell a source of chunks from an array or what can be made one.

    Parameters
    ----------
    X : object
        What a user gave.

    Returns
    -------
    bool

    Examples
    --------
    >>> gives_chunks([[1.0, 2.0], [3.0, 4.0]]), gives_chunks([[[1.0, 2.0]], [[3.0, 4.0]]])
    (False, True)
    """
    if isinstance(X, RowSource) or callable(X):
        return True
    if hasattr(X, "__array__") or not isinstance(X, Iterable) or isinstance(X, (str, bytes)):
        return False
    if isinstance(X, (list, tuple)):  # of chunks, or of rows, each a list of numbers
        return len(X) > 0 and (isinstance(X[0], Rows) or np.ndim(_first(X[0])) == 2)
    return True


def _first(chunk: Any) -> Any:
    """Return the values of a chunk that may be a tuple."""
    return chunk[0] if isinstance(chunk, tuple) and len(chunk) else chunk
