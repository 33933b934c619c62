"""Rows that come in chunks are fitted as if they were in memory."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

from astro_cluster import GaussianMixture
from astro_cluster.mixture.parameters import Parameters
from astro_cluster.mixture.rows import Rows
from astro_cluster.mixture.sources import ArraySource, ChunkSource

from .cases import assert_same_fit, fixed_steps, members, punched, random_errors, random_mixture

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N, D = 1000, 3
RNG = np.random.default_rng(0)
START = random_mixture(RNG, 3, D, "full", weights=[0.3, 0.3, 0.4])
X = punched(RNG, members(RNG, START, N), 0.2)
WEIGHTS = RNG.uniform(0.2, 2.0, N)
ERRORS = {kind: random_errors(RNG, N, D, kind) for kind in ("none", "diagonal", "full")}


def start_of(kind):
    """Return the clusters' own places to start from, with covariances of another kind."""
    covariances = {
        "full": START.covariances,
        "tied": np.eye(D),
        "diag": np.ones((3, D)),
        "spherical": np.ones(3),
    }
    return Parameters(START.weights, START.means, covariances[kind], kind)


def fit(X, errors=None, weights=None, **options):
    return fixed_steps(START, **options).fit(X, errors=errors, sample_weight=weights)


def cut(errors, weights, sizes=(1, 400, 0, 599)):
    """Return chunks, one of them empty."""
    edges = np.cumsum([0, *sizes])
    return [
        (X[a:b], None if errors is None else errors[a:b], None if weights is None else weights[a:b])
        for a, b in itertools.pairwise(edges)
    ]


def memory_map(folder, array, name="rows"):
    mapped = np.memmap(folder / name, dtype=array.dtype, mode="w+", shape=array.shape)
    mapped[:] = array
    return mapped


@pytest.fixture(params=["none", "diagonal", "full"])
def errors(request):
    return ERRORS[request.param]


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["no weights", "weights"])
def test_all_kinds_of_sources_fit_the_same(tmp_path, errors, weights):
    expected = fit(X, errors, weights)
    chunks = cut(errors, weights)
    for source in (
        ArraySource(X, errors, weights, chunk_rows=77),
        ChunkSource(lambda: iter(chunks)),
        lambda: iter(chunks),
        (chunk for chunk in chunks),
        chunks,
        [Rows(x, e if e is None or e.ndim == 3 else e**2, w) for x, e, w in chunks],
    ):
        assert_same_fit(fit(source), expected, rtol=1e-9)
    mapped = memory_map(tmp_path, X)
    assert_same_fit(fit(mapped, errors, weights), expected, rtol=1e-9)
    if errors is not None:
        assert_same_fit(fit(mapped, memory_map(tmp_path, errors, "errors"), weights), expected, rtol=1e-9)


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("engine", ["numba", "numpy", "torch"])
def test_all_engines_and_kinds_take_sources(engine, kind):
    if engine == "torch":
        pytest.importorskip("torch", reason="torch is not installed: TorchEngine is NOT tested")
    start = start_of(kind)
    options = dict(steps=4, engine=engine)
    one = fixed_steps(start, **options).fit(X, errors=ERRORS["diagonal"])
    source = ArraySource(X, ERRORS["diagonal"], chunk_rows=300)
    assert_same_fit(fixed_steps(start, **options).fit(source), one, rtol=1e-9)


@pytest.mark.parametrize("chunk_rows", [1, 8, 127, 999, 1000, 10**9])
def test_the_size_of_chunks_does_not_matter(chunk_rows):
    steps = 2 if chunk_rows == 1 else 10
    source = ArraySource(X, ERRORS["diagonal"], WEIGHTS, chunk_rows=chunk_rows)
    assert_same_fit(fit(source, steps=steps), fit(X, ERRORS["diagonal"], WEIGHTS, steps=steps), rtol=1e-9)


def test_the_size_of_chunks_does_not_matter_to_the_search():
    options = dict(random_state=3, tol=0.0, max_iter=10)
    fits = [GaussianMixture(3, **options).fit(ArraySource(X, chunk_rows=size)) for size in (64, 1000)]
    assert_same_fit(fits[0], fits[1], rtol=1e-7)


def test_lists_of_chunks_and_lists_of_rows_are_told_apart():
    expected = fit(X)
    assert_same_fit(fit([X[:500], X[500:]]), expected, rtol=1e-9)  # of one shape: three dimensions
    assert_same_fit(fit([X[:1], X[1:]]), expected, rtol=1e-9)
    assert_same_fit(fit((X[:1], X[1:])), expected, rtol=1e-9)
    assert_same_fit(fit(X.tolist()), expected, rtol=0)
    assert_same_fit(fit(list(X)), expected, rtol=0)
    with pytest.raises(ValueError, match="errors and weights of chunks come with them"):
        fit([X[:500], X[500:]], weights=WEIGHTS)


def test_rows_of_weight_0_in_a_source_are_not_there():
    weights = np.where(RNG.random(N) < 0.3, 0.0, WEIGHTS)
    expected = fit(X[weights > 0], weights=weights[weights > 0])
    assert_same_fit(fit(ArraySource(X, None, weights, chunk_rows=100)), expected, rtol=1e-9)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples"])
def test_a_mixture_is_asked_of_sources(tmp_path, errors, method):
    gm = fit(X, errors)
    expected = getattr(gm, method)(X, errors=errors)
    for source in (ArraySource(X, errors, chunk_rows=300), cut(errors, None), iter(cut(errors, None))):
        np.testing.assert_allclose(getattr(gm, method)(source), expected, rtol=1e-12, atol=1e-12)
    mapped = memory_map(tmp_path, X)
    np.testing.assert_allclose(getattr(gm, method)(mapped, errors=errors), expected, rtol=1e-12, atol=1e-12)


def test_criteria_of_sources():
    gm = fit(X)
    source = ArraySource(X, chunk_rows=300)
    assert gm.score(source) == pytest.approx(gm.score(X), rel=1e-12)
    assert gm.bic(source) == pytest.approx(gm.bic(X), rel=1e-12)
    assert gm.aic(source) == pytest.approx(gm.aic(X), rel=1e-12)


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_fit_predict_of_sources(tmp_path, kind):
    start = start_of(kind)
    expected = fixed_steps(start).fit_predict(X)
    for source in (memory_map(tmp_path, X), [X[:10], X[10:]], ArraySource(X, chunk_rows=99)):
        np.testing.assert_array_equal(fixed_steps(start).fit_predict(source), expected)


# ---------------------------------------------------------------- in parts


def test_partial_of_parts_adds_up(errors):
    gm = fit(X, errors, WEIGHTS)
    (whole,) = (gm.partial(X, errors=errors, sample_weight=WEIGHTS),)
    parts = [gm.partial(x, errors=e, sample_weight=w) for x, e, w in cut(errors, WEIGHTS, (500, 500))]
    for total in (parts[0] + parts[1], parts[1] + parts[0], gm.partial(cut(errors, WEIGHTS))):
        for name in ("log_likelihood", "n_rows", "mass", "first", "second", "centre"):
            one, other = getattr(total, name), getattr(whole, name)
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11 * np.abs(other).max(), err_msg=name)


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_steps_in_parts_are_the_fit(kind):
    start = start_of(kind)
    expected = fixed_steps(start, 7).fit(X, errors=ERRORS["diagonal"], sample_weight=WEIGHTS)
    gm = GaussianMixture.from_parameters(start.weights, start.means, start.covariances, covariance_type=kind)
    for step in range(7):
        parts = [
            gm.partial(x, errors=e, sample_weight=w)
            for x, e, w in cut(ERRORS["diagonal"], WEIGHTS, (200, 1, 799))
        ]
        bound = gm.update(functools.reduce(lambda a, b: a + b, parts))
        assert bound == pytest.approx(expected.lower_bounds_[step], rel=1e-10)
        assert gm.n_iter_ == step + 1
    assert_same_fit(gm, expected, rtol=1e-9)
    np.testing.assert_allclose(gm.predict_proba(X), expected.predict_proba(X), rtol=0, atol=1e-9)


# ---------------------------------------------------------------- what is wrong with chunks


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([], "1D array|there are no rows"),
        ([np.empty((0, 3)), np.empty((0, 3))], "there are no rows: all chunks are empty"),
        ([X[:10], X[10:, :2]], "chunk 1, which begins with row 10, has 2 columns.*before it have 3 columns"),
        ([(X[:10],), (X[10:], ERRORS["diagonal"][10:])], "make the chunks alike"),
        ([X[:10], np.where(np.arange(30)[:, np.newaxis] == 7, np.inf, X[:30])], "is infinite in row 17"),
    ],
)
def test_what_is_wrong_with_chunks_says_where(chunks, message):
    for given in (chunks, lambda: iter(chunks), iter(chunks)):
        with pytest.raises(ValueError, match=message):
            GaussianMixture(2, random_state=0).fit(given)


def test_a_source_with_fewer_distinct_rows_than_components():
    with pytest.raises(ValueError, match="only 2 distinct rows for 3 components"):
        GaussianMixture(3).fit([np.zeros((5, 2)), np.ones((5, 2))])


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples", "partial", "bic"])
def test_what_is_wrong_with_chunks_says_where_of_a_fitted_mixture(method):
    gm = fit(X)
    bad = X.copy()
    bad[700, 1] = np.inf
    with pytest.raises(ValueError, match="column 1 is infinite in row 700"):
        getattr(gm, method)([bad[:500], bad[500:]])
