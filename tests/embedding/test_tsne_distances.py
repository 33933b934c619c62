"""Distances are exact for bytes, whatever the processor can do, and good enough for all else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from astro_cluster import InputError
from astro_cluster.embedding import distances as module
from astro_cluster.embedding import integers
from astro_cluster.embedding.distances import as_rows, column_means, exact_pairs, squared_distances
from astro_cluster.embedding.integers import best_way, shifted_products, usable_ways

WAYS = [*usable_ways(), None]


@pytest.fixture(params=WAYS, ids=lambda way: way.name if way else "single")
def way(request):
    return request.param


@pytest.mark.parametrize("shape", [(1, 1), (7, 63), (33, 64), (26, 5000), (131, 129), (500, 3)])
def test_products_of_bytes(way, shape):
    rng = np.random.default_rng(shape[1])
    A = rng.integers(0, 256, shape, dtype=np.uint8)
    B = rng.integers(0, 256, (shape[0] // 2 + 1, shape[1]), dtype=np.uint8)
    a, b = A.astype(np.int64) - 128, B.astype(np.int64) - 128
    assert np.array_equal(shifted_products(A, way=way), a @ a.T)
    assert np.array_equal(shifted_products(A, B, way=way), a @ b.T)


def test_products_of_extremes_do_not_overflow(way):
    A = np.zeros((12, 3 * integers.COLUMNS + 5), np.uint8)
    A[1::2] = 255
    a = A.astype(np.int64) - 128
    assert np.array_equal(shifted_products(A, way=way), a @ a.T)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 200), st.integers(0, 10_000))
def test_all_ways_give_the_same_integers(n, d, seed):
    A = np.random.default_rng(seed).integers(0, 256, (n, d), dtype=np.uint8)
    found = [shifted_products(A, way=way) for way in WAYS]
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_products_of_other_layouts(way):
    whole = np.random.default_rng(1).integers(0, 256, (40, 300), dtype=np.uint8)
    for A in (whole[::2, ::3], np.asfortranarray(whole), whole[::-1]):
        a = A.astype(np.int64) - 128
        assert np.array_equal(shifted_products(A, way=way), a @ a.T)
    whole.setflags(write=False)
    assert shifted_products(whole, way=way).shape == (40, 40)


def test_products_from_a_memory_map(tmp_path):
    A = np.random.default_rng(1).integers(0, 256, (30, 300), dtype=np.uint8)
    np.save(tmp_path / "a.npy", A)
    assert np.array_equal(squared_distances(np.load(tmp_path / "a.npy", mmap_mode="r")), squared_distances(A))


def test_single_precision_where_numba_builds_for_another_processor(monkeypatch):
    usable_ways.cache_clear()
    monkeypatch.setattr(integers.numba_config, "CPU_NAME", "generic")
    try:
        assert best_way() is None
        assert shifted_products(np.full((2, 2), 130, np.uint8)).tolist() == [[8, 8], [8, 8]]
    finally:
        monkeypatch.undo()
        usable_ways.cache_clear()


@pytest.mark.parametrize(
    ("d", "dtype", "tolerance"),
    [
        (3, np.float64, 1e-14),
        (module.NARROW, np.float32, 1e-13),
        (100, np.float32, 1e-5),
        (5000, np.float32, 1e-5),
        (100, np.float64, 1e-11),
        (90, np.uint8, 0.0),
    ],
)
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_agrees_with_scipy(d, dtype, tolerance, offset):
    rng = np.random.default_rng(d)
    X = (rng.uniform(0, 255, (150, d)) + (0 if dtype == np.uint8 else offset)).astype(dtype)
    X[7] = X[100]
    truth = cdist(X.astype(float), X.astype(float), "sqeuclidean")
    found = squared_distances(X)
    assert np.array_equal(found, found.T)
    assert found[7, 100] == 0
    assert not found.diagonal().any()
    assert np.allclose(found, truth, rtol=tolerance, atol=0)
    part = squared_distances(X[:20], X[5:])
    assert np.allclose(part, truth[:20, 5:], rtol=tolerance, atol=0)


def test_near_rows_far_from_the_others_are_told_apart():
    """Products alone would drown the differences: 1e-3 of rows that are 1e4 from each other."""
    rng = np.random.default_rng(3)
    X = np.repeat(rng.normal(size=(4, 200)) * 1e4, 30, axis=0)
    X = (X + rng.normal(size=X.shape) * 0.1).astype(np.float32)
    truth = cdist(X.astype(float), X.astype(float), "sqeuclidean")
    assert np.allclose(squared_distances(X), truth, rtol=1e-3, atol=0)
    X = X.astype(np.float64)
    assert np.allclose(squared_distances(X), cdist(X, X, "sqeuclidean"), rtol=1e-7, atol=0)


def test_bytes_against_floats():
    rng = np.random.default_rng(3)
    A = rng.integers(0, 256, (20, 90), dtype=np.uint8)
    B = rng.uniform(0, 255, (30, 90))
    assert np.allclose(squared_distances(A, B), cdist(A.astype(float), B, "sqeuclidean"), rtol=1e-9)


@pytest.mark.parametrize(("d", "dtype"), [(5, np.float64), (300, np.float32), (300, np.uint8)])
def test_do_not_depend_on_threads(d, dtype):
    X = np.random.default_rng(1).uniform(0, 255, (700, d)).astype(dtype)
    assert np.array_equal(squared_distances(X, n_threads=1), squared_distances(X, n_threads=2))


def test_as_rows_keeps_what_it_can():
    for dtype in (np.uint8, np.float32, np.float64):
        X = np.ones((3, 2), dtype)
        assert as_rows(X) is X
    assert as_rows(np.ones((3, 2), bool)).dtype == np.uint8
    assert as_rows(np.ones((3, 2), np.float16)).dtype == np.float32
    assert as_rows(np.full((3, 2), 2**40)).dtype == np.float64
    with pytest.raises(InputError, match="first is 2"):
        as_rows(np.array([[1.0], [2.0], [np.inf]]))


def test_pairs_and_means():
    X = np.random.default_rng(1).integers(0, 256, (50, 70), dtype=np.uint8)
    i, j = np.array([0, 3, 3]), np.array([1, 3, 9])
    truth = ((X[i].astype(float) - X[j]) ** 2).sum(axis=1)
    assert np.array_equal(exact_pairs(X, X, i, j), truth)
    assert np.allclose(column_means(X), X.mean(axis=0))
