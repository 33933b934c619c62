"""Rows come alike from everywhere, chunk by chunk; what cannot be used says where."""

from __future__ import annotations

import errno
import gc
import itertools
import os
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from astro_cluster.mixture.rows import Rows, RowSource
from astro_cluster.mixture.sources import (
    ArraySource,
    CheckedSource,
    ChunkSource,
    SpooledSource,
    as_source,
)
from astro_cluster.mixture.survey import Survey, check_rows, sample, to_rows

NAN, INF = np.nan, np.inf


def whole(source: RowSource) -> Rows:
    """All rows of a source at once."""
    chunks = list(source.chunks())

    def joined(name: str) -> np.ndarray | None:
        parts = [getattr(chunk, name) for chunk in chunks]
        return None if parts[0] is None else np.concatenate(parts)

    return Rows(*map(joined, ("values", "noise", "weights")))


def same(one: Rows, other: Rows) -> None:
    for name in ("values", "noise", "weights"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.fixture
def rows() -> Rows:
    """Values with holes, covariances of their errors, weights."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1000, 3)) * [1.0, 100.0, 1e-3] + [0.0, 1e6, 5.0]
    values[rng.random(values.shape) < 0.2] = NAN
    factors = rng.normal(size=(1000, 3, 4))
    return Rows(values, factors @ np.swapaxes(factors, 1, 2), rng.integers(0, 4, 1000).astype(float))


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize(
    "dtype", ["f8", ">f8", "<f8", "f4", ">f4", "f2", "i8", ">i2", "u1", ">u4", "?", "longdouble"]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_type_and_layout(dtype, order):
    X = np.array(np.arange(60).reshape(20, 3) % 2, dtype=dtype, order=order)
    for chunk in ArraySource(X, chunk_rows=7).chunks():
        assert chunk.values.dtype == np.dtype("f8")
        assert chunk.values.dtype.isnative
        assert chunk.values.flags.c_contiguous
    np.testing.assert_array_equal(whole(ArraySource(X, chunk_rows=7)).values, X.astype(float))


def test_right_arrays_are_not_copied(tmp_path):
    X = np.random.default_rng(0).normal(size=(100, 3))
    assert all(np.shares_memory(chunk.values, X) for chunk in ArraySource(X, chunk_rows=30).chunks())
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "f8", (100, 3))
    mapped[:] = X
    for chunk in ArraySource(mapped, chunk_rows=30).chunks():
        assert np.shares_memory(chunk.values, mapped)
        assert type(chunk.values) is np.ndarray


def test_masked_values_are_missing():
    X = np.ma.array([[1, 2], [3, 4]], mask=[[False, True], [False, False]])
    np.testing.assert_array_equal(whole(ArraySource(X)).values, [[1.0, NAN], [3.0, 4.0]])


def test_standard_errors_become_variances_and_covariances_stay():
    X = np.zeros((4, 2))
    np.testing.assert_array_equal(
        whole(ArraySource(X, np.full((4, 2), 3, ">i4"))).noise, np.full((4, 2), 9.0)
    )
    covariances = np.broadcast_to(np.array([[2.0, 1.0], [1.0, 2.0]], dtype="f4"), (4, 2, 2))
    np.testing.assert_array_equal(whole(ArraySource(X, covariances, chunk_rows=3)).noise, covariances)


def test_anything_that_can_be_sliced_will_do():
    class DataSet:  # as of h5py
        shape, dtype = (10, 2), np.dtype("f4")

        def __getitem__(self, index: slice) -> np.ndarray:
            return np.ones((len(range(*index.indices(10))), 2), "f4")

        def __array__(self, *args: object, **kwargs: object) -> np.ndarray:
            raise AssertionError("it was read as a whole")

    assert whole(as_source(DataSet(), chunk_rows=3)).values.shape == (10, 2)


def test_a_large_map_is_read_in_little_memory(tmp_path):
    mapped = np.memmap(tmp_path / "x.bin", dtype=">f4", mode="w+", shape=(1_250_000, 10))  # 50 MB
    tracemalloc.start()
    try:
        total = sum(len(chunk) for chunk in CheckedSource(ArraySource(mapped, chunk_rows=10_000)).chunks())
        sample(ArraySource(mapped, chunk_rows=10_000), 1000, np.random.default_rng(0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == len(mapped)
    assert peak < 10e6


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(X=np.zeros(3)), r"the values have the shape \(0,\); give rows and columns"),
        (dict(X=np.zeros((3, 2, 2))), "give rows and columns"),
        (dict(X=np.zeros((3, 0))), "the rows have no columns"),
        (dict(X=np.zeros((3, 2), complex)), "of type complex128, not real numbers"),
        (dict(X=[["a", "b"]]), "not real numbers"),
        (dict(X=np.zeros((3, 2)), errors=np.zeros((4, 2))), "4 errors for 3 rows"),
        (dict(X=np.zeros((3, 2)), errors=np.zeros((3, 1))), "the errors have the shape"),
        (dict(X=np.zeros((3, 2)), errors=np.zeros((3, 2, 3))), "the errors have the shape"),
        (dict(X=np.zeros((3, 2)), sample_weight=np.zeros((3, 1))), "the weights have the shape"),
        (dict(X=np.zeros((3, 2)), sample_weight=np.zeros(4)), "4 weights for 3 rows"),
        (dict(X=np.zeros((3, 2)), chunk_rows=0), "chunk_rows=0 has to be at least 1"),
    ],
)
def test_wrong_arrays(given, message):
    with pytest.raises(ValueError, match=message):
        ArraySource(**given)


# ---------------------------------------------------------------- chunks


@given(st.lists(st.integers(0, 6), max_size=8), st.integers(1, 20))
def test_the_size_of_chunks_changes_nothing(sizes, chunk_rows):
    rng = np.random.default_rng(0)
    n = sum(sizes) + 1
    X, errors, weights = rng.normal(size=(n, 2)), rng.random((n, 2)), rng.random(n)
    edges = np.cumsum([0, *sizes, 1])
    chunks = [(X[a:b], errors[a:b], weights[a:b]) for a, b in itertools.pairwise(edges)]  # some of them empty
    wanted = Rows(X, errors**2, weights)
    for source in (
        ArraySource(X, errors, weights, chunk_rows=chunk_rows),
        ChunkSource(lambda: iter(chunks)),
        SpooledSource(iter(chunks), chunk_rows=chunk_rows),
        as_source(chunks),
        CheckedSource(as_source(iter(chunks))),
    ):
        assert isinstance(source, RowSource)
        assert source.n_features == 2
        for _ in range(2):
            same(whole(source), wanted)


def test_rows_may_be_chunks(rows):
    parts = [rows.take(slice(a, a + 300)) for a in range(0, 1000, 300)]
    for source in (as_source(parts), as_source(iter(parts))):
        same(whole(source), rows)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (np.zeros((4, 2)), "ArraySource"),
        ([[1.0, 2.0], [3.0, 4.0]], "ArraySource"),
        ([np.zeros(2), np.zeros(2)], "ArraySource"),
        ([np.zeros((3, 2)), np.zeros((4, 2))], "ChunkSource"),
        ([(np.zeros((3, 2)), np.zeros((3, 2)))], "ChunkSource"),
        (lambda: [np.zeros((3, 2))], "ChunkSource"),
        ((np.zeros((3, 2)) for _ in range(2)), "SpooledSource"),
        (ArraySource(np.zeros((4, 2))), "ArraySource"),
    ],
)
def test_what_is_given_is_known(given, kind):
    source = as_source(given)
    assert type(source).__name__ == kind
    assert source.n_features == 2
    assert (source is given) == isinstance(given, RowSource)


def test_what_can_be_iterated_again_is_not_spooled():
    class Loader:
        def __iter__(self) -> object:
            return iter([np.zeros((3, 2))])

    assert type(as_source(Loader())) is ChunkSource


def test_memory_map_is_an_array(tmp_path):
    mapped = np.memmap(tmp_path / "x.bin", dtype="f8", mode="w+", shape=(5, 2))
    assert type(as_source(mapped)) is ArraySource


def test_errors_beside_chunks():
    with pytest.raises(ValueError, match="errors and weights of chunks come with them"):
        as_source(lambda: [np.zeros((3, 2))], errors=np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([], "there are no rows: all chunks are empty"),
        ([np.zeros((0, 2)), []], "there are no rows: all chunks are empty"),
        (
            [np.zeros((3, 2)), [], np.zeros((3, 4))],
            "chunk 2, which begins with row 3, has 4 columns, no errors, no weights, but the chunks before "
            "it have 2 columns",
        ),
        ([np.zeros((3, 2)), (np.zeros((3, 2)), np.zeros((3, 2)))], "has 2 columns, an error for each value"),
        (
            [(np.zeros((3, 2)), None, np.ones(3)), np.zeros((3, 2))],
            "but the chunks before it have .* weights",
        ),
        ([np.zeros((3, 2)), np.zeros(3)], "give rows and columns"),
        ([(np.zeros((3, 2)), None, None, None)], "begins with row 0 is a tuple of 4"),
        ([(np.zeros((2, 2)), [[1, 1], [1, -1]])], "column 1 has a negative standard error in row 1"),
        ([Rows(np.zeros((3, 2)), np.zeros((2, 2)))], "the errors have the shape"),
    ],
)
@pytest.mark.parametrize("make", [as_source, lambda chunks: as_source(iter(chunks))])
def test_wrong_chunks(chunks, message, make):
    with pytest.raises(ValueError, match=message):
        whole(make(chunks) if chunks else ChunkSource(lambda: iter(chunks)))


def test_a_function_that_returns_a_spent_iterator():
    once = iter([np.zeros((3, 2))])
    source = CheckedSource(ChunkSource(lambda: once, n_features=2))
    source.check()
    with pytest.raises(ValueError, match=r"gave 3 rows at first and 0 now.*a fresh iterator"):
        whole(source)


def test_a_wrong_number_of_features():
    with pytest.raises(ValueError, match="the chunks have 2 columns, not 3"):
        whole(ChunkSource(lambda: [np.zeros((3, 2))], n_features=3))


# ---------------------------------------------------------------- the temporary file


@pytest.fixture
def temp(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_temporary_file_goes_with_the_source(temp, rows):
    source = as_source(iter([rows]), chunk_rows=64)
    same(whole(source), rows)
    assert source.folder.parent == temp
    assert sum(file.stat().st_size for file in source.folder.iterdir()) == 8 * 1000 * (3 + 9 + 1)
    passing = source.chunks()
    next(passing)
    del source, passing
    gc.collect()
    assert list(temp.iterdir()) == []


@pytest.mark.parametrize("trouble", [ValueError, KeyboardInterrupt, OSError])
def test_the_temporary_file_goes_when_the_generator_fails(temp, trouble):
    def chunks():
        yield np.zeros((3, 2))
        raise trouble("of its own")

    with pytest.raises(trouble, match=r"^of its own$"):
        as_source(chunks())
    assert list(temp.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="no limits of this kind")
def test_a_full_disk(temp):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot keep the chunks in .*TMPDIR") as caught:
            as_source(iter([np.zeros((10_000, 2))]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG
    assert list(temp.iterdir()) == []


# ---------------------------------------------------------------- checks

X2 = np.zeros((6, 2))


def at(row: int, column: int, value: float, shape: tuple[int, ...] = (6, 2)) -> np.ndarray:
    array = np.ones(shape)
    array[row, column] = value
    return array


def covariances(row: int, matrix: list[list[float]]) -> np.ndarray:
    array = np.tile(np.eye(2), (6, 1, 1))
    array[row] = matrix
    return array


BAD = [
    (at(4, 1, INF), None, None, r"column 'dec' is infinite in row 4; set it to NaN"),
    (at(4, 1, -INF), None, None, r"column 'dec' is infinite in row 4"),
    (X2, at(5, 0, -1.0), None, r"column 'ra' has a negative standard error in row 5"),
    (X2, at(5, 0, NAN), None, r"column 'ra' has a value without an error in row 5"),
    (X2, at(3, 1, INF), None, r"column 'dec' has a value with an infinite error in row 3"),
    (X2, at(3, 1, 1e200), None, r"column 'dec' has a value with an infinite error in row 3"),
    (
        X2,
        covariances(2, [[1.0, NAN], [NAN, 1.0]]),
        None,
        "column 'ra' has a value that is not finite .* row 2",
    ),
    (X2, covariances(2, [[NAN, 0.0], [0.0, 1.0]]), None, "column 'ra' has a value without an error in row 2"),
    (X2, covariances(2, [[1.0, 0.0], [0.0, -1.0]]), None, "column 'dec' has a negative variance .* row 2"),
    (X2, covariances(2, [[1.0, 0.5], [0.4, 1.0]]), None, "column 'ra' has an asymmetry .* row 2"),
    (X2, covariances(2, [[1.0, 1.1], [1.1, 1.0]]), None, "of row 2 is not positive semidefinite .* -0.1"),
    (X2, covariances(2, [[1e-20, 1.1], [1.1, 1e20]]), None, "of row 2 is not positive semidefinite .* -0.1"),
    (X2, covariances(2, [[0.0, 0.1], [0.1, 1.0]]), None, "a covariance beside a variance of zero .* row 2"),
    (X2, None, [1, 1, 1, 1, -2, 1], "the weight of row 4 is -2"),
    (X2, None, [1, 1, 1, 1, NAN, 1], "the weight of row 4 is nan"),
    (X2, None, [1, 1, 1, 1, INF, 1], "the weight of row 4 is inf"),
    (X2, None, np.zeros(6), "the weights of all 6 rows are zero"),
    (at(0, 0, 1.0) * [1.0, NAN], None, None, "column 'dec' has no value in any row; leave it out"),
    (
        np.where(np.eye(6, 2), 1.0, NAN),
        None,
        [1, 0, 1, 1, 1, 1],
        "column 'dec' has no value .* positive weight",
    ),
]


@pytest.mark.parametrize(("X", "errors", "weights", "message"), BAD)
@pytest.mark.parametrize("chunk_rows", [1, 4, 100])
def test_what_cannot_be_used_says_where(X, errors, weights, message, chunk_rows):
    source = ArraySource(X, errors, weights, chunk_rows=chunk_rows, names=["ra", "dec"])
    with pytest.raises(ValueError, match=message):
        CheckedSource(source, names=["ra", "dec"]).check()


def test_columns_without_names_are_numbered():
    with pytest.raises(ValueError, match="column 1 is infinite in row 104"):
        check_rows(Rows(at(4, 1, INF)), first_row=100)


def test_nothing_is_asked_of_the_error_of_a_missing_value():
    X = at(2, 1, NAN)
    for errors in (at(2, 1, NAN), at(2, 1, -1.0), at(2, 1, INF)):
        CheckedSource(ArraySource(X, errors)).check()
    for bad in (NAN, -1.0, INF):
        CheckedSource(ArraySource(X, covariances(2, [[1.0, bad], [7.0, bad]]))).check()


def test_covariances_may_be_singular_or_rounded():
    rng = np.random.default_rng(0)
    spread = rng.lognormal(0, 5, size=(500, 6))
    factors = rng.normal(size=(500, 6, 2))  # of rank 2
    matrices = factors @ np.swapaxes(factors, 1, 2) * spread[:, :, np.newaxis] * spread[:, np.newaxis, :]
    check_rows(to_rows(np.zeros((500, 6)), matrices.astype("f4")))
    check_rows(to_rows(np.zeros((500, 6)), np.zeros((500, 6, 6))))


def test_a_broken_pass_is_no_check():
    source = CheckedSource(ArraySource(at(5, 0, INF), chunk_rows=1))
    next(source.chunks())
    assert source.survey is None
    with pytest.raises(ValueError, match="column 0 is infinite in row 5"):
        source.check()


# ---------------------------------------------------------------- moments


@pytest.mark.parametrize("chunk_rows", [1, 7, 300, 5000])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_survey_is_that_of_all_rows(rows, chunk_rows, weighted):
    weights = rows.weights if weighted else None
    survey = CheckedSource(ArraySource(rows.values, None, weights, chunk_rows=chunk_rows)).check()
    w = np.ones(1000) if weights is None else weights
    seen = ~np.isnan(rows.values) & (w > 0)[:, np.newaxis]
    assert survey.n_rows == 1000
    assert survey.total_weight == pytest.approx(w.sum())
    for j in range(3):
        x, k = rows.values[seen[:, j], j], w[seen[:, j]]
        mean = np.average(x, weights=k)
        assert survey.seen[j] == len(x)
        assert survey.weight[j] == pytest.approx(k.sum())
        assert (survey.minimum[j], survey.maximum[j]) == (x.min(), x.max())
        assert survey.mean[j] == pytest.approx(mean, rel=1e-13)
        assert survey.variance[j] == pytest.approx(np.average((x - mean) ** 2, weights=k), rel=1e-11)


def test_the_variance_survives_a_large_offset():
    x = np.random.default_rng(0).normal(size=(100_000, 1))
    survey = CheckedSource(ArraySource(x + 1e9, chunk_rows=1000)).check()
    assert survey.variance[0] == pytest.approx((x + 1e9).var(), rel=1e-9)
    assert survey.variance[0] == pytest.approx(x.var(), rel=1e-6)


def test_the_survey_of_no_rows_adds_nothing(rows):
    one = Survey.of(rows)
    for both in (one + Survey.empty(3), Survey.empty(3) + one, one + Survey.of(rows.take(slice(0, 0)))):
        for name in Survey.__slots__:
            np.testing.assert_array_equal(getattr(both, name), getattr(one, name), err_msg=name)


# ---------------------------------------------------------------- samples


@pytest.mark.parametrize("kind", [np.random.default_rng, np.random.RandomState])
def test_the_sample_does_not_depend_on_the_chunks(rows, kind):
    first = sample(ArraySource(rows.values, rows.noise, rows.weights), 50, kind(3))
    assert len(first) == 50
    for chunk_rows in (1, 13, 100, 999, 1000):
        source = ArraySource(rows.values, rows.noise, rows.weights, chunk_rows=chunk_rows)
        same(sample(source, 50, kind(3)), first)
    assert not np.array_equal(sample(source, 50, kind(4)).values, first.values, equal_nan=True)


def test_the_sample_is_in_order_and_without_repetition():
    drawn = sample(ArraySource(np.arange(1000.0).reshape(-1, 1), chunk_rows=10), 30, np.random.default_rng(0))
    assert (np.diff(drawn.values[:, 0]) > 0).all()


@pytest.mark.parametrize("size", [1000, 1001, 10**9])
def test_a_large_sample_is_everything(rows, size):
    source = ArraySource(rows.values, rows.noise, rows.weights, chunk_rows=77)
    same(sample(source, size, np.random.RandomState(0)), rows.take(rows.weights > 0))
    same(sample(ArraySource(rows.values), size, np.random.RandomState(0)), Rows(rows.values))


@pytest.mark.parametrize("chunk_rows", [3, 40])
def test_the_sample_is_uniform(chunk_rows):
    rng, source = np.random.default_rng(1), ArraySource(np.arange(40.0).reshape(-1, 1), chunk_rows=chunk_rows)
    drawn = np.array([sample(source, 4, rng).values[:, 0] for _ in range(10_000)]).astype(int)
    assert chisquare(np.bincount(drawn.ravel(), minlength=40)).pvalue > 0.01
    pairs = np.bincount(drawn[:, 0] * 40 + drawn[:, 1], minlength=1600)  # the two first ones of four
    a, b = np.divmod(np.arange(1600), 40)
    ways = np.where(a < b, (39 - b) * (38 - b) / 2, 0)
    kept = ways > 50
    expected = ways[kept] / ways.sum() * 10_000
    assert chisquare(pairs[kept], expected * pairs[kept].sum() / expected.sum()).pvalue > 0.01


def test_wrong_samples():
    with pytest.raises(ValueError, match="ask for at least 1"):
        sample(ArraySource(X2), 0, np.random.default_rng(0))
    with pytest.raises(ValueError, match="there are no rows"):
        sample(ArraySource(np.zeros((0, 2))), 3, np.random.default_rng(0))


def test_no_rows():
    with pytest.raises(ValueError, match="there are no rows"):
        CheckedSource(ArraySource(np.zeros((0, 2)))).check()
