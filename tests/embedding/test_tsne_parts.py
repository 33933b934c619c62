"""Neighbours, probabilities, start, forces: each against something independent."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.manifold._utils import _binary_search_perplexity

from astro_cluster.embedding.distances import squared_distances
from astro_cluster.embedding.tsne import descent, neighbours, start
from astro_cluster.embedding.tsne.affinities import conditional, joint, n_neighbours
from astro_cluster.embedding.tsne.descent import Descent, descend, gradient, kl_divergence
from astro_cluster.embedding.tsne.groups import edges_of, sorted_into_groups
from astro_cluster.embedding.tsne.neighbours import nearest, nearest_among, nearest_others
from astro_cluster.embedding.tsne.placing import place, weighted_median


def brute_neighbours(X, k):
    squared = cdist(X.astype(float), X.astype(float), "sqeuclidean")
    np.fill_diagonal(squared, np.inf)
    return np.argsort(squared, axis=1, kind="stable")[:, :k]


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.integers(1, 4), st.integers(0, 10_000))
def test_neighbours_with_many_equal_distances(n, d, seed):
    X = np.random.default_rng(seed).integers(0, 4, (n, d), dtype=np.uint8)
    k = min(n - 1, 1 + seed % 20)
    found = nearest(squared_distances(X), k)
    assert np.array_equal(found.indices, brute_neighbours(X, k))
    assert (np.diff(found.squared, axis=1) >= 0).all()


@pytest.mark.parametrize(
    ("d", "dtype"), [(5, np.float64), (20, np.float64), (90, np.uint8), (90, np.float64), (3000, np.float64)]
)
def test_many_rows_in_blocks_or_by_a_tree(monkeypatch, d, dtype):
    monkeypatch.setattr(neighbours, "WHOLE", 100)
    monkeypatch.setattr(neighbours, "_BLOCK", 128)
    X = np.random.default_rng(d).uniform(0, 255, (500, d)).astype(dtype)
    found = nearest_others(X, 12)
    assert np.array_equal(found.indices, brute_neighbours(X, 12))
    again = nearest_others(X, 12, n_threads=1)
    assert np.array_equal(found.indices, again.indices)
    assert np.array_equal(found.squared, again.squared)


def test_equal_rows_by_blocks(monkeypatch):
    monkeypatch.setattr(neighbours, "WHOLE", 0)
    monkeypatch.setattr(neighbours, "_BLOCK", 16)
    X = np.repeat(np.random.default_rng(1).integers(0, 255, (10, 40), dtype=np.uint8), 10, axis=0)
    assert np.array_equal(nearest_others(X, 14).indices, brute_neighbours(X, 14))


def test_nearly_equal_rows_by_blocks(monkeypatch):
    """Their products cannot tell them apart; the differences can."""
    monkeypatch.setattr(neighbours, "WHOLE", 0)
    monkeypatch.setattr(neighbours, "_BLOCK", 32)
    rng = np.random.default_rng(3)
    X = np.repeat(rng.normal(size=(5, 100)) * 1e4, 20, axis=0)
    X = (X + rng.normal(size=X.shape) * 0.1).astype(np.float32)
    assert np.array_equal(nearest_others(X, 10).indices, brute_neighbours(X, 10))


def test_neighbours_among_others():
    rng = np.random.default_rng(1)
    A, B = rng.normal(size=(30, 4)), rng.normal(size=(50, 4))
    truth = cdist(A, B).argsort(axis=1)[:, :50]
    assert np.array_equal(nearest_among(A, B, 50).indices, truth)


def test_approximate_neighbours_are_mostly_the_true_ones(monkeypatch):
    pytest.importorskip("openTSNE")
    monkeypatch.setattr(neighbours, "WHOLE", 0)
    monkeypatch.setattr(neighbours, "APPROXIMATE", 100)
    X = np.random.default_rng(1).normal(size=(600, 20))
    found = nearest_others(X, 10, approximate=True)
    truth = brute_neighbours(X, 10)
    assert np.mean([len(set(a) & set(b)) for a, b in zip(found.indices, truth, strict=True)]) > 8
    assert np.allclose(found.squared[:, 0], ((X - X[found.indices[:, 0]]) ** 2).sum(axis=1), rtol=1e-4)


@pytest.mark.parametrize(("n", "perplexity"), [(40, 5.0), (400, 30.0), (400, 2.5), (60, 50.0)])
def test_probabilities_agree_with_sklearn(n, perplexity):
    X = np.random.default_rng(n).normal(size=(n, 6)) * 40
    found = nearest(squared_distances(X), n_neighbours(n, perplexity))
    theirs = _binary_search_perplexity(found.squared.astype(np.float32), perplexity, 0)
    ours = conditional(found.squared, perplexity)
    assert np.allclose(ours, theirs, atol=3e-5 * theirs.max())
    assert np.allclose(np.exp(-(ours * np.log(ours)).sum(axis=1)), perplexity, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_probabilities_do_not_depend_on_the_scale(scale):
    squared = np.sort(np.random.default_rng(1).gamma(2, size=(50, 30)), axis=1)
    squared[3, 3] = squared[3, 4] = 0.0
    squared[3].sort()
    assert np.allclose(conditional(squared * scale, 8.0), conditional(squared, 8.0), rtol=1e-6, atol=1e-12)


def test_probabilities_of_equal_neighbours():
    squared = np.array([[0.0] * 20, [0.0] * 6 + [1.0] * 14, [0.0] * 1 + [1e9] * 19, [4.0] * 20])
    found = conditional(squared, 5.0)
    assert np.isfinite(found).all()
    assert np.allclose(found.sum(axis=1), 1)
    assert np.allclose(found[[0, 3]], 0.05)  # more equal neighbours than the perplexity: all alike
    assert np.allclose(found[1, :6], 1 / 6, atol=1e-6)
    assert np.exp(-(found[2] * np.log(found[2])).sum()) == pytest.approx(5.0, rel=1e-6)


def test_joint_probabilities():
    X = np.random.default_rng(1).normal(size=(60, 3))
    near = nearest(squared_distances(X), 16)
    P = joint(near, 5.0).toarray()
    one_way = np.zeros((60, 60))
    np.put_along_axis(one_way, near.indices, conditional(near.squared, 5.0), axis=1)
    assert np.allclose(P, (one_way + one_way.T) / 120, rtol=1e-12)


def test_probabilities_agree_with_opentsne():
    affinity = pytest.importorskip("openTSNE.affinity")
    X = np.random.default_rng(1).normal(size=(200, 3))
    theirs = affinity.PerplexityBasedNN(X, perplexity=10, method="exact").P.toarray()
    near = nearest(squared_distances(X), 30)  # they take one less than scikit-learn
    assert np.allclose(joint(near, 10.0).toarray(), theirs, atol=1e-6 * theirs.max())


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("n", [30, 300])
def test_start_is_the_principal_components(n, p):
    X = np.random.default_rng(n).normal(size=(n, 7)) * np.arange(7, 0, -1) + 50
    truth = PCA(p).fit_transform(X)
    for found in (start.from_distances(squared_distances(X), p), start.from_rows(X, p)):
        assert np.allclose(np.abs(found), np.abs(truth), atol=1e-7 * np.abs(truth).max())
        assert (found.max(axis=0) >= -found.min(axis=0)).all()  # signs are not left to chance
    assert start.scaled(truth, np.random.RandomState(0))[:, 0].std() == pytest.approx(start.SPREAD)


def test_start_of_very_wide_rows(monkeypatch):
    monkeypatch.setattr(start, "_MOST_FEATURES", 50)
    monkeypatch.setattr(start, "_ROWS", 64)
    rng = np.random.default_rng(2)
    X = rng.normal(size=(200, 2)) * [9, 4] @ rng.normal(size=(2, 90))
    X = (X + rng.normal(size=X.shape)).astype(np.float32)
    truth, found = PCA(2).fit_transform(X), start.from_rows(X, 2)
    assert all(abs(np.corrcoef(truth[:, c], found[:, c])[0, 1]) > 0.999 for c in (0, 1))


def test_start_of_rows_on_a_line():
    line = np.arange(20.0)[:, np.newaxis]
    found = start.scaled(start.from_distances(squared_distances(line), 2), np.random.RandomState(1))
    assert 0 < found[:, 1].std() < 0.1 * found[:, 0].std()
    few = start.from_distances(np.array([[0.0, 1.0], [1.0, 0.0]]), 3)
    assert few.shape == (2, 3)
    assert not few[:, 2].any()


def probabilities(n, seed=1, perplexity=8.0):
    X = np.random.default_rng(seed).normal(size=(n, 5))
    return joint(nearest(squared_distances(X), n_neighbours(n, perplexity)), perplexity)


def brute_gradient(P, Y):
    squared = cdist(Y, Y, "sqeuclidean")
    q = 1 / (1 + squared)
    np.fill_diagonal(q, 0)
    return 4 * (((P - q / q.sum()) * q)[..., np.newaxis] * (Y[:, np.newaxis] - Y)).sum(axis=1)


def brute_divergence(P, Y):
    q = 1 / (1 + cdist(Y, Y, "sqeuclidean"))
    np.fill_diagonal(q, 0)
    q /= q.sum()
    seen = P > 0
    return (P[seen] * np.log(P[seen] / q[seen])).sum()


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("n", [150, 700])
def test_gradient_and_divergence_against_loops_in_double_precision(monkeypatch, p, dense, n):
    monkeypatch.setattr(descent, "_DENSE", n if dense else 0)
    monkeypatch.setattr(descent, "_DENSITY", 0.0)
    P, Y = probabilities(n), np.random.default_rng(2).normal(size=(n, p)) * 5
    truth = brute_gradient(P.toarray(), Y)
    assert np.abs(gradient(P, Y) - truth).max() < 2e-6 * np.abs(truth).max()
    assert kl_divergence(P, Y) == pytest.approx(brute_divergence(P.toarray(), Y), rel=1e-12)


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 100.0])
def test_repulsion_by_the_group_is_near_that_of_all_pairs(p, spread):
    n = 3000
    P, Y = probabilities(n), np.random.default_rng(2).normal(size=(n, p)) * spread
    Y[5] *= 50  # far off
    Y[6] = Y[7]
    exact, found = gradient(P, Y), gradient(P, Y, grouped=True)
    assert np.linalg.norm(found - exact) < 0.02 * np.linalg.norm(exact)
    weight = sum((1 / (1 + ((Y[i + 1 :] - Y[i]) ** 2).sum(axis=1))).sum() for i in range(n))
    assert descent.grouped_weight(Y, 2) == pytest.approx(2 * weight, rel=5e-3)


@pytest.mark.parametrize("n", [2, 5, 30])
def test_few_points_in_groups(n):
    P, Y = probabilities(n, perplexity=1.5), np.random.default_rng(2).normal(size=(n, 2))
    exact = gradient(P, Y)
    assert np.abs(gradient(P, Y, grouped=True) - exact).max() < 0.05 * np.abs(exact).max()


def test_groups_are_compact_and_equal():
    Y = np.zeros((3, 1000))
    Y[:2] = np.random.default_rng(1).uniform(size=(2, 1000))
    order, edges = sorted_into_groups(Y, 2), edges_of(1000, 2)
    assert sorted(order) == list(range(1000))
    assert np.ptp(np.diff(edges)) <= 1
    sides = [np.ptp(Y[:2, order[a:b]], axis=1) for a, b in itertools.pairwise(edges)]
    assert np.max(sides) < 3 / np.sqrt(len(edges))


def test_gradient_is_the_slope_of_the_divergence():
    P, Y = probabilities(60), np.random.default_rng(2).normal(size=(60, 2))
    slope = gradient(P, Y)
    for i, c in ((0, 0), (17, 1), (59, 0)):
        ends = []
        for sign in (1, -1):
            moved = Y.copy()
            moved[i, c] += sign * 1e-4
            ends.append(kl_divergence(P, moved))
        assert (ends[0] - ends[1]) / 2e-4 == pytest.approx(slope[i, c], abs=1e-5)


def test_more_points_than_stay_in_the_cache():
    n = 4500
    P, Y = probabilities(n), np.random.default_rng(2).normal(size=(n, 2)) * 30
    found = gradient(P, Y)
    some = np.arange(0, n, 997)
    q = 1 / (1 + cdist(Y, Y, "sqeuclidean"))
    np.fill_diagonal(q, 0)
    weights = (P[some].toarray() - q[some] / q.sum()) * q[some]
    truth = 4 * (weights[..., np.newaxis] * (Y[some, np.newaxis] - Y)).sum(axis=1)
    assert np.abs(found[some] - truth).max() < 1e-5 * np.abs(truth).max()


@pytest.mark.parametrize("dense", [False, True])
def test_descent_does_not_depend_on_threads(monkeypatch, dense):
    monkeypatch.setattr(descent, "_DENSE", 3000 if dense else 0)
    monkeypatch.setattr(descent, "_DENSITY", 0.0)
    P, Y = probabilities(700), np.random.default_rng(2).normal(size=(700, 2)) * 1e-4
    found = [descend(P, Y, Descent(350, n_threads=threads))[0] for threads in (1, 2, 3)]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_descent_reports_and_stops():
    P, Y = probabilities(60), np.random.default_rng(2).normal(size=(60, 2)) * 1e-4
    seen = []
    _, steps = descend(P, Y, Descent(320, on_step=lambda done, of: seen.append((done, of))))
    assert steps == 320
    assert seen == [(done, 320) for done in range(50, 320, 50)]
    _, steps = descend(P, Y, Descent(1000, min_grad_norm=1e9))
    assert steps == 100  # the exaggerated part is over at its first report, and so is the rest


def test_weighted_median():
    values = np.array([[[3.0, 0.0], [1.0, 5.0], [2.0, 9.0]]])
    assert weighted_median(values, np.array([[0.2, 0.2, 0.6]])).tolist() == [[2.0, 9.0]]
    assert weighted_median(values, np.array([[1.0, 0.0, 0.0]])).tolist() == [[3.0, 0.0]]
    even = np.random.default_rng(1).normal(size=(6, 9, 2))
    assert np.array_equal(weighted_median(even, np.ones((6, 9))), np.median(even, axis=1))


def test_placed_points_follow_the_slope_of_their_own_divergence():
    """One step of one new point, by hand."""
    rng = np.random.default_rng(5)
    rows, new = rng.normal(size=(40, 3)), rng.normal(size=(1, 3))
    Y = rng.normal(size=(40, 2)) * 3
    near = nearest_among(new, rows, 16)
    pulls = conditional(near.squared, 5.0)
    y = weighted_median(Y[near.indices], pulls)[0]
    gains, update = np.ones(2), np.zeros(2)
    for _ in range(250):
        q = 1 / (1 + ((y - Y) ** 2).sum(axis=1))
        slope = -(q / q.sum() * q) @ (y - Y)
        slope += 1.5 * (pulls[0] * q[near.indices[0]]) @ (y - Y[near.indices[0]])
        slope *= min(1, 0.25 / np.linalg.norm(slope))
        gains = np.where(update * slope < 0, gains + 0.2, np.maximum(0.8 * gains, 0.01))
        update = 0.8 * update - 0.1 * gains * slope
        y = y + update
    found = place(new, rows, Y, perplexity=30.0, n_threads=1)
    assert np.allclose(found, y, atol=1e-3)
