"""Trustworthiness is scikit-learn's, continuity the same with the roles exchanged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.manifold import trustworthiness

from astro_cluster import InputError
from astro_cluster.embedding.faithfulness import most_neighbours, trustworthiness_and_continuity


@pytest.mark.parametrize(("n", "d"), [(9, 2), (60, 3), (700, 12), (301, 200)])
@pytest.mark.parametrize("k", [1, 4, 15])
def test_agrees_with_sklearn(n, d, k):
    k = min(k, most_neighbours(n))
    rng = np.random.default_rng(n + k)
    X = rng.normal(size=(n, d))
    Y = X[:, :2] + rng.normal(size=(n, 2))
    trust, kept = trustworthiness_and_continuity(X, Y, n_neighbors=k)
    assert trust == pytest.approx(trustworthiness(X, Y, n_neighbors=k), abs=1e-9)
    assert kept == pytest.approx(trustworthiness(Y, X, n_neighbors=k), abs=1e-9)


def test_bytes_and_known_distances():
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (150, 900), dtype=np.uint8)
    Y = rng.normal(size=(150, 2))
    found = trustworthiness_and_continuity(images, Y)
    as_float = images.astype(float)
    assert found[0] == pytest.approx(trustworthiness(as_float, Y, n_neighbors=15), abs=1e-9)
    squared = ((as_float[:, np.newaxis] - as_float) ** 2).sum(axis=-1)
    assert trustworthiness_and_continuity(images, Y, distances=squared) == found


def brute(X, Y, k):
    """Return the definition, with the order of the rows between equal distances."""
    n = len(X)
    total = 0
    for i in range(n):
        near = [j for j in sorted(range(n), key=lambda j: (((Y[i] - Y[j]) ** 2).sum(), j)) if j != i][:k]
        order = [j for j in sorted(range(n), key=lambda j: (((X[i] - X[j]) ** 2).sum(), j)) if j != i]
        total += sum(max(0, order.index(j) + 1 - k) for j in near)
    return 1 - 2 * total / (n * k * (2 * n - 3 * k - 1))


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 25), st.integers(0, 10_000))
def test_equal_distances_keep_the_order_of_the_rows(n, seed):
    rng = np.random.default_rng(seed)
    X, Y = rng.integers(0, 3, (n, 2)).astype(float), rng.integers(0, 3, (n, 2)).astype(float)
    k = int(rng.integers(1, most_neighbours(n) + 1))
    trust, kept = trustworthiness_and_continuity(X, Y, n_neighbors=k)
    assert trust == pytest.approx(brute(X, Y, k), abs=1e-12)
    assert kept == pytest.approx(brute(Y, X, k), abs=1e-12)


def test_a_sample_is_near_the_whole_and_repeatable():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(900, 6))
    Y = X[:, :2]
    whole = trustworthiness_and_continuity(X, Y, sample=None)
    part = trustworthiness_and_continuity(X, Y, sample=300, random_state=5)
    assert part == trustworthiness_and_continuity(X, Y, sample=300, random_state=5)
    assert part != trustworthiness_and_continuity(X, Y, sample=300, random_state=6)
    assert np.allclose(part, whole, atol=0.02)
    assert part != whole


def test_does_not_depend_on_threads(monkeypatch):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(300, 70)).astype(np.float32)
    found = []
    for threads in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        found.append(trustworthiness_and_continuity(X, X[:, :2]))
    assert found[0] == found[1]


def test_tells_a_fold_from_a_tear():
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    flat = circle[:, :1]  # two halves on top of each other
    cut = angle[:, np.newaxis]  # opened at one place
    fold_trust, fold_kept = trustworthiness_and_continuity(circle, flat)
    tear_trust, tear_kept = trustworthiness_and_continuity(circle, cut)
    assert fold_trust < fold_kept
    assert tear_kept < tear_trust


@pytest.mark.parametrize(
    ("X", "Y", "options", "message"),
    [
        (np.zeros((9, 2)), np.zeros((8, 2)), {}, "9 rows and the map 8"),
        (np.zeros((9, 2)), np.zeros((9, 2)), dict(n_neighbors=5), "at most 4"),
        (np.zeros((9, 2)), np.zeros((9, 2)), dict(n_neighbors=0), "at least 1"),
        (
            np.full((9, 2), np.nan),
            np.zeros((9, 2)),
            dict(n_neighbors=2),
            "data X contains NaN",
        ),
        (np.zeros((9, 2)), np.zeros(9), dict(n_neighbors=2), r"map Y has the shape \(9,\)"),
        (np.zeros((9, 2)), np.zeros((9, 2)), dict(n_neighbors=2, sample=0), "at least one row"),
        (np.zeros((9, 2)), np.zeros((9, 2)), dict(n_neighbors=2, distances=np.zeros((9, 8))), "is needed"),
        (np.array([["a"]] * 9), np.zeros((9, 2)), dict(n_neighbors=2), "numbers are needed"),
    ],
)
def test_says_what_is_wrong(X, Y, options, message):
    with pytest.raises(InputError, match=message):
        trustworthiness_and_continuity(X, Y, **options)
