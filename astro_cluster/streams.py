"""Catalogues larger than memory: Parquet and FITS files, a chunk of rows at a time.

`stream` gives a mixture the features of a file to fit, `assign_file` writes the memberships of
all its rows.  Neither ever holds more than a chunk, but for the exceptions named there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import MaskedColumn, QTable, Table
from sklearn.base import BaseEstimator

from astro_cluster import models
from astro_cluster.chunks import ChunkedFile, Messages, chunks_of, files_of, guarded, head_of, open_chunked
from astro_cluster.clustering import assign
from astro_cluster.columns import require
from astro_cluster.exceptions import InputError
from astro_cluster.features import Features, FittedFeatures, as_features
from astro_cluster.formats import format_by_name
from astro_cluster.memberships import add_memberships, expected_columns
from astro_cluster.mixture.rows import Rows
from astro_cluster.mixture.sources import CHUNK_ROWS
from astro_cluster.mixture.survey import Survey, to_rows
from astro_cluster.parquet import ChunkedParquet, ParquetSink, plain_columns, to_arrow
from astro_cluster.provenance import META_KEY, records
from astro_cluster.scaling import Scaling, fit_scaling
from astro_cluster.tables import PathLike, as_qtable, beside, float_values
from astro_cluster.uncertainties import EXACT, find_errors

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["TableStream", "assign_file", "stream"]

# Chunks of this many rows, whatever the user's, so that the scales do not depend on these.
_LEARNING_ROWS = 2**17

# ---------------------------------------------------------------- learning the scales


def _plan(features: Features, head: QTable, missing: str) -> FittedFeatures:
    """Return the features with what a table without rows tells of them: all but the numbers."""
    bases, _ = features._collect(head)
    errors = find_errors(head, bases, features.errors)
    return FittedFeatures(tuple(bases), features.missing or missing, errors)  # type: ignore[arg-type]


def _unscaled(plan: FittedFeatures) -> FittedFeatures:
    """Return features that are the values in their units, NaN where they or their errors are not known."""
    return FittedFeatures(
        tuple(replace(base, scale="none") for base in plan.scalings), "marginalize", plan.errors
    )


@dataclass(frozen=True, slots=True)
class _Learner:
    """Learns the numbers of the scales from files."""

    files: Sequence[ChunkedFile]
    plan: FittedFeatures
    weights: str | None
    messages: Messages

    def learn(self) -> FittedFeatures:
        d = len(self.plan.scalings)
        survey, holes, smallest = Survey.empty(d), np.zeros(d, dtype=np.int64), np.full(d, np.inf)
        for raw in self._values(self.plan):
            holes += np.isnan(raw).sum(axis=0)
            raw = self._counted(raw)
            survey = survey + Survey.of(Rows(raw))
            smallest = np.minimum(smallest, np.where(raw > 0, raw, np.inf).min(axis=0, initial=np.inf))
        if survey.n_rows == 0:
            raise InputError(f"{self._where()}: there are no rows to take features from")
        if self.plan.missing == "drop" and survey.seen.max() < min(2, survey.n_rows):
            worst = ", ".join(f"{self.plan.names[j]} ({holes[j]})" for j in np.argsort(-holes)[:5])
            raise InputError(
                f"{self._where()}: {survey.seen.max()} of {survey.n_rows} rows has all features, so "
                f"missing='drop' leaves nothing to learn from; most values are missing in {worst}. Leave "
                "these out or use missing='marginalize' or 'median'"
            )
        scalings = []
        for j, base in enumerate(self.plan.scalings):
            try:
                quantiles = base.scale == "robust" or self.plan.missing == "median"
                scalings.append(self._whole(j) if quantiles else _scaling_of(base, survey, j, smallest[j]))
            except InputError as error:
                raise InputError(f"{self._where()}: {error}") from error
        return replace(self.plan, scalings=tuple(scalings))

    def _where(self) -> str:
        return str(self.files[0].path) + (f" and {len(self.files) - 1} more" if len(self.files) > 1 else "")

    def _values(self, plan: FittedFeatures) -> Iterator[np.ndarray]:
        """Yield the values of the features, NaN in rows without weight."""
        unscaled = _unscaled(plan)
        names = _inputs(plan, self.weights)
        for file in self.files:
            for first_row, table in chunks_of(file, names, _LEARNING_ROWS):
                with self.messages.about(file.path, first_row):
                    raw = unscaled.transform(table).values
                    if self.weights is not None:
                        raw[~(_row_weights(table, self.weights) > 0)] = np.nan
                yield raw

    def _counted(self, raw: np.ndarray) -> np.ndarray:
        """Return the values that count: of complete rows only, where the others are dropped."""
        if self.plan.missing != "drop":
            return raw
        return np.where(np.isnan(raw).any(axis=1, keepdims=True), np.nan, raw)

    def _whole(self, j: int) -> Scaling:
        """Learn a scale from all values of one feature at once: quantiles cannot be added up."""
        alone = self.plan.missing != "drop" and not self.plan.errors
        base = self.plan.scalings[j]
        plan = FittedFeatures((base,), self.plan.missing, EXACT) if alone else self.plan
        values, n = np.empty(sum(file.n_rows for file in self.files)), 0
        for raw in self._values(plan):
            values[n : n + len(raw)] = self._counted(raw)[:, 0 if alone else j]
            n += len(raw)
        return fit_scaling(values[:n], base)


def _scaling_of(base: Scaling, survey: Survey, j: int, smallest: float) -> Scaling:
    """Learn a scale that extremes and moments are enough for: what `fit_scaling` learns of all values."""
    low, high, seen = float(survey.minimum[j]), float(survey.maximum[j]), int(survey.seen[j])
    if seen == 0:
        raise InputError(
            f"feature {base.name!r} has no value (whose error is known, if there are errors) in any row; "
            "leave it out"
        )
    if seen > 1 and low == high:
        raise InputError(
            f"feature {base.name!r} is constant ({low:g} in all {seen} rows that have it) and tells no row "
            "from another; leave it out"
        )
    if low < 0 and base.scale == "lognorm":
        raise InputError(
            f"feature {base.name!r} has negative values, the lowest {low:g}, which 'lognorm' cannot take; "
            "choose 'minmax' or 'standard' for it"
        )
    if base.scale == "log" and low <= 0:
        raise InputError(
            f"feature {base.name!r} cannot be put on the scale 'log': it has values that are not above 0, "
            f"the lowest {low:g}; choose 'minmax', 'standard' or 'robust' for it"
        )
    if base.scale == "standard":
        scaling = replace(base, shift=float(survey.mean[j]), factor=float(np.sqrt(survey.variance[j])))
    elif base.scale == "lognorm":
        offset = smallest / 10 if np.isfinite(smallest) else 1.0
        bottom, top = np.log(low + offset), np.log(high + offset)
        scaling = replace(base, offset=offset, shift=float(bottom), factor=float(top - bottom))
    elif base.scale == "minmax":
        scaling = replace(base, shift=low, factor=high - low)
    else:
        scaling = base
    if not scaling.factor > 0:
        raise InputError(
            f"feature {base.name!r} cannot be put on the scale {base.scale!r}: its spread is zero (there "
            "is one value); choose 'none' for it"
        )
    return scaling


def _inputs(recipe: FittedFeatures, weights: str | None) -> list[str]:
    return list(dict.fromkeys([*recipe.inputs, *([] if weights is None else [weights])]))


def _row_weights(table: QTable, name: str) -> np.ndarray:
    """Return how often each row counts, NaN where that is not known."""
    require(table, name)
    values, unit = float_values(table[name]), getattr(table[name], "unit", None)
    if values.ndim != 1 or (unit is not None and str(unit)):
        raise InputError(f"column {name!r} cannot be weights: they are one number a row, without a unit")
    bad = np.flatnonzero((values < 0) | np.isinf(values))
    if bad.size:
        raise InputError(
            f"column {name!r} has a negative or infinite weight in row {bad[0]} ({values[bad[0]]:g}); mask "
            "it to leave the row out"
        )
    return values


# ---------------------------------------------------------------- streams


class TableStream:
    """Features of files that need not fit in memory; what `stream` returns.

    A `GaussianMixture` takes it in place of an array.

    Parameters
    ----------
    files : sequence of ChunkedParquet or ChunkedFits
        The files, whose rows follow one another.
    features : FittedFeatures
        How columns become features.
    weights : str, optional
        Column of row weights.
    chunk_rows : int, optional
        Most rows of a chunk.

    Attributes
    ----------
    features : FittedFeatures
        The same; the record of a model keeps them.
    n_features : int
        Number of features d.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> path = ac.write(ac.simulate.chandra(500, random_state=1), getfixture("tmp_path") / "csc.parquet")
    >>> catalogue = ac.stream(path, "hard_*")
    >>> len(catalogue), catalogue.n_features
    (500, 3)
    """

    def __init__(
        self,
        files: Sequence[ChunkedFile],
        features: FittedFeatures,
        *,
        weights: str | None = None,
        chunk_rows: int = CHUNK_ROWS,
    ) -> None:
        self.features, self.n_features = features, len(features.scalings)
        self._files, self._weights, self._chunk_rows = tuple(files), weights, chunk_rows
        self._messages = Messages()

    def __len__(self) -> int:
        """Return the number of rows of the files, those that are left out included."""
        return sum(file.n_rows for file in self._files)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        return self.features.names

    def chunks(self) -> Iterator[Rows]:
        """Yield the features of the rows that a method may be given.

        Yields
        ------
        Rows
            Scaled values, NaN where missing; the variances or covariances of their errors, and
            weights, if there are any.

        Raises
        ------
        InputError
            If a file cannot be read, or has what cannot be used: with the file, the column
            and the row, counted from 0 within the file.
        """
        names = _inputs(self.features, self._weights)
        for file in self._files:
            for first_row, table in chunks_of(file, names, self._chunk_rows):
                with self._messages.about(file.path, first_row):
                    rows = self._rows(table)
                if len(rows):
                    yield rows

    def _rows(self, table: QTable) -> Rows:
        matrix, weights = self.features.transform(table), None
        if self._weights is not None:
            weights = _row_weights(table, self._weights)
            matrix = replace(matrix, usable=matrix.usable & ~np.isnan(weights))
            weights = weights[matrix.usable]
        return to_rows(*matrix.used(), weights, names=self.names)

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[QTable]:
        """Yield the rows of the files as tables.

        Parameters
        ----------
        columns : sequence of str, optional
            Columns to read; all if not given.

        Yields
        ------
        `~astropy.table.QTable`
            As `read` gives them, a chunk of rows at a time, each with the meta and the record
            of its file.

        Raises
        ------
        InputError
            If a file cannot be read or lacks a column.

        Examples
        --------
        >>> import astro_cluster as ac
        >>> path = ac.write(ac.simulate.chandra(500, random_state=1), getfixture("tmp_path") / "csc.fits")
        >>> catalogue = ac.stream(path, "hard_*", chunk_rows=200)
        >>> [len(table) for table in catalogue.tables()]
        [200, 200, 100]
        """
        for file in self._files:
            meta = head_of(file).meta
            for _, table in chunks_of(file, columns, self._chunk_rows):
                table.meta.clear()
                table.meta.update(meta)
                yield table

    def model_table(self, estimator: BaseEstimator, *, prefix: str = "") -> QTable:
        """Return a method that was fitted to this stream as a table.

        Parameters
        ----------
        estimator : estimator
            A mixture after its fit.
        prefix : str, optional
            Put before the columns of memberships that are made with it.

        Returns
        -------
        `~astropy.table.QTable`
            As `astro_cluster.model_table` gives it: `assign` and `assign_file` take it, and
            `write` keeps it.

        Raises
        ------
        InputError
            If the method has no model for new rows.
        """
        model = models.to_plain(estimator, self.names)
        if model is None:
            raise InputError(f"{type(estimator).__name__} makes no model that rows could be assigned by")
        return models.to_table({"model": model, "recipe": self.features.to_plain(), "prefix": prefix})


def _checked_chunk_rows(chunk_rows: int) -> int:
    if not isinstance(chunk_rows, (int, np.integer)) or chunk_rows < 1:
        raise InputError(f"chunk_rows={chunk_rows!r} is no number of rows; give a whole number above 0")
    return int(chunk_rows)


def stream(
    path: PathLike | Sequence[PathLike],
    features: Features | FittedFeatures | str | Iterable[str],
    *,
    errors: str | Mapping[Any, str] | None = None,
    weights: str | None = None,
    chunk_rows: int = CHUNK_ROWS,
    hdu: int | str | None = None,
) -> TableStream:
    """Open a catalogue that need not fit in memory, for a mixture to be fitted to.

    Parameters
    ----------
    path : str, path or list of these
        A Parquet or FITS file, a folder of Parquet files (all below it: a HATS catalogue,
        say), a pattern or a list; the rows follow one another.
    features : `Features`, str or iterable of str
        What to cluster in, as `cluster` takes it; or the fitted features of an older model, which
        are then used as they are.
    errors : "auto" or mapping, optional
        Columns of measurement errors, in place of those that the features name.
    weights : str, optional
        Column of row weights: how often each row counts.
    chunk_rows : int, optional
        Most rows that are in memory at a time.
    hdu : int or str, optional
        Which HDU of a FITS file; its first table if not given.

    Returns
    -------
    TableStream
        What `GaussianMixture` can be fitted to.

    Raises
    ------
    InputError
        If a file is missing, empty, cut short or of another format, lacks a column, or
        the features cannot be learned from it.

    Notes
    -----
    The scales are learned from all rows, in one pass for all of them.  Two things need
    quantiles, which are had from all values at once only: the scale ``robust``, and the
    median that ``missing="median"`` puts in.  For these each column is read as a whole, one after
    the other; some 40 bytes a row are in use at a time.  The result does not depend on
    ``chunk_rows``.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> path = ac.write(ac.simulate.chandra(500, random_state=1), getfixture("tmp_path") / "csc.parquet")
    >>> catalogue = ac.stream(path, ac.Features("hard_*", scale="standard"), chunk_rows=200)
    >>> [len(rows) for rows in catalogue.chunks()]
    [200, 200, 100]
    """
    chunk_rows, messages = _checked_chunk_rows(chunk_rows), Messages()
    files = [open_chunked(file, hdu=hdu) for file in files_of(path)]
    if isinstance(features, FittedFeatures):
        plan = features
        if errors is not None:
            raise InputError("fitted features have their errors already; leave errors out")
    else:
        wanted = as_features(features)
        wanted = wanted if errors is None else replace(wanted, errors=errors)
        with messages.about(files[0].path):
            plan = _plan(wanted, head_of(files[0]), "marginalize")
    for file in files:
        with messages.about(file.path):
            require(QTable(names=file.colnames), _inputs(plan, weights))
    fitted = plan if plan is features else _Learner(files, plan, weights, messages).learn()
    return TableStream(files, fitted, weights=weights, chunk_rows=chunk_rows)


# ---------------------------------------------------------------- memberships


def assign_file(
    path: PathLike,
    model: dict[str, Any] | QTable | Table | PathLike,
    output: PathLike,
    *,
    model_prefix: str | None = None,
    prefix: str | None = None,
    chunk_rows: int = CHUNK_ROWS,
    hdu: int | str | None = None,
    overwrite: bool = False,
    overwrite_columns: bool = False,
) -> Path:
    """Put the rows of a file that need not fit in memory into the groups of a stored model.

    Parameters
    ----------
    path : str or path
        A Parquet or FITS file with the columns that the model was fitted on.
    model : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A clustered table, a model table (`TableStream.model_table`, `model_table`), or a file of
        either.
    output : str or path
        A new Parquet file: all columns of the old one, and the memberships.
    model_prefix : str, optional
        Which of several clusterings in the model's table; the latest if not given.
    prefix : str, optional
        Put before the new columns; that of the model if not given.
    chunk_rows : int, optional
        Most rows that are in memory at a time.
    hdu : int or str, optional
        Which HDU of a FITS file; its first table if not given.
    overwrite : bool, optional
        Replace an existing file.
    overwrite_columns : bool, optional
        Replace columns of the names of the new ones.

    Returns
    -------
    `~pathlib.Path`
        Where the new file is.

    Raises
    ------
    InputError
        As `assign` and `write`; an old file stays as it was.

    Notes
    -----
    The columns of a Parquet file are copied as they are, also those of a type that `read` does
    not know.  The record is that of `assign`, but without the hash of the input.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> folder = getfixture("tmp_path")
    >>> old = ac.cluster(ac.simulate.chandra(300, random_state=1), features="hard_*",
    ...                  n_components=3, random_state=42)
    >>> path = ac.write(ac.simulate.chandra(500, random_state=2), folder / "new.parquet")
    >>> new = ac.assign_file(path, old, folder / "assigned.parquet", chunk_rows=200)
    >>> ac.read(new)["prob_2"].shape
    (500,)
    """
    paths, output = files_of(path), Path(output)
    if len(paths) > 1:
        raise InputError(f"assign_file takes one file at a time, and {path} means {len(paths)}")
    if format_by_name(output) != "parquet":
        raise InputError(f"assign_file writes Parquet; give {output.name!r} the ending .parquet")
    chunk_rows, file = _checked_chunk_rows(chunk_rows), open_chunked(paths[0], hdu=hdu)
    stored = model if isinstance(model, dict) else models.find(as_qtable(model), model_prefix)
    job = _Assignment(file, stored, stored["prefix"] if prefix is None else prefix, chunk_rows)
    with beside(output, overwrite=overwrite) as new:
        job.write(new, overwrite_columns=overwrite_columns)
    return output


class _Assignment:
    """Writes a file with the memberships of its rows."""

    def __init__(self, file: ChunkedFile, stored: dict[str, Any], prefix: str, chunk_rows: int) -> None:
        self._file, self._stored, self._prefix, self._chunk_rows = file, stored, prefix, chunk_rows
        self._recipe = FittedFeatures.from_plain(stored["recipe"])
        self._estimator = models.from_plain(stored["model"])
        self._messages = Messages()

    def write(self, path: Path, *, overwrite_columns: bool) -> None:
        head = head_of(self._file)
        with self._messages.about(self._file.path):
            require(head, self._recipe.inputs)
            one = assign(
                self._usable_row(head), self._stored, prefix=self._prefix, overwrite=overwrite_columns
            )
        added = [name for name in one.colnames if name in expected_columns(self._estimator, self._prefix)]
        new = _part(one, added)[:0]
        gone = [name for name in _readable(head) if name in added or name not in one.colnames]
        plain, schema, batches = _copier(self._file, head, gone, self._recipe.inputs, self._chunk_rows)
        for name in added:
            plain[name] = new[name]
            schema = schema.append(to_arrow(new[[name]]).schema.field(0))
        plain.meta[META_KEY] = self._history(one, [name for name in added if name in head.colnames])
        with ParquetSink(path, schema, plain) as sink:
            first_row = 0
            for batch, table in batches:
                with self._messages.about(self._file.path, first_row):
                    found = to_arrow(self._memberships(table, new))
                for name in added:
                    batch = batch.append_column(name, found[name])
                sink.write(batch)
                first_row += len(table)

    def _usable_row(self, head: QTable) -> QTable:
        """Return the first row that can be assigned, to see what becomes of it."""
        names = _readable(head)
        names = None if names == head.colnames else names
        for first_row, table in chunks_of(self._file, names, self._chunk_rows):
            with self._messages.about(self._file.path, first_row):
                usable = np.flatnonzero(self._recipe.transform(table).usable)
            if usable.size:
                row = table[usable[:1]]
                row.meta.clear()
                row.meta.update(head.meta)
                return row
        columns = ", ".join(self._recipe.columns)
        raise InputError(f"no row of {self._file.n_rows} has all features {columns}")

    def _history(self, one: QTable, replaced: list[str]) -> list[dict[str, Any]]:
        """Return the record of the new file: that of assigning one row, said of all rows."""
        *before, last = records(one)
        added = [name for name in last["columns_added"] if name not in replaced]
        n = self._file.n_rows
        whole = {"rows_in": n, "rows_out": n, "columns_added": added, "columns_replaced": replaced}
        return [*before, {**last, **whole, "input_hash": ""}]

    def _memberships(self, table: QTable, new: Table) -> Table:
        """Return the new columns of some rows."""
        matrix = self._recipe.transform(table)
        if not matrix.usable.any():
            whole = {name: np.zeros(len(table), new[name].dtype) for name in new.colnames}
            return Table({name: MaskedColumn(empty, mask=True) for name, empty in whole.items()})
        out = QTable({"": np.zeros(len(table))})
        add_memberships(out, self._estimator, matrix, None, prefix=self._prefix, overwrite=False)
        return _part(out, new.colnames)


def _part(table: QTable, names: Sequence[str]) -> Table:
    """Return some columns as plain ones; unlike ``table[names]`` they leave the memory at once."""
    return Table([table[name] for name in names], names=names, copy=False)


def _readable(head: QTable) -> list[str]:
    """Return the columns that are of a type that is read."""
    return [name for name in head.colnames if getattr(head[name], "dtype", np.dtype(float)).kind != "O"]


def _copier(
    file: ChunkedFile, head: QTable, gone: Sequence[str], inputs: Sequence[str], chunk_rows: int
) -> tuple[Table, pa.Schema, Iterator[tuple[pa.Table, QTable]]]:
    """Return what a new Parquet file keeps of an old file.

    Returns
    -------
    plain : `~astropy.table.Table`
        Description of the columns, without rows.
    schema : `pyarrow.Schema`
        Their types.
    batches : iterator of (`pyarrow.Table`, `~astropy.table.QTable`)
        The rows for the new file, and their columns ``inputs``.
    """
    if isinstance(file, ChunkedParquet):  # column by column as it is
        without = set(file.parts_of(gone))
        columns = [name for name in file.schema.names if name not in without]
        batches = guarded(file.batches(chunk_rows=chunk_rows), file.path)
        schema, plain = file.part(columns)
        return plain, schema, ((batch.select(columns), file.table_of(batch, inputs)) for batch in batches)
    kept = [name for name in head.colnames if name not in gone]
    plain = plain_columns(_part(head, kept))
    plain.meta.update(head.meta)
    tables = (table for _, table in chunks_of(file, None, chunk_rows))
    rows = ((to_arrow(plain_columns(_part(table, kept))), table) for table in tables)
    return plain, to_arrow(plain).schema, rows
