"""Distances to neighbours are those of scikit-learn; lonely rows are found by every method."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from astro_cluster.artefacts.density import METHODS, emptiness, neighbour_distances
from astro_cluster.exceptions import InputError


@pytest.mark.parametrize("k", [1, 7])
def test_distances_are_those_of_scikit_learn(k: int):
    X = np.random.default_rng(1).normal(size=(300, 5)) + 1000  # far from 0, where digits get lost
    theirs = NearestNeighbors(n_neighbors=k).fit(X).kneighbors()[0].mean(axis=1)
    np.testing.assert_allclose(neighbour_distances(X, k), theirs, rtol=1e-9)


def test_of_many_rows_a_sample_is_looked_at():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(3000, 3))
    found = neighbour_distances(X, 5, references=500, random_state=3)
    chosen = np.sort(np.random.default_rng(3).choice(3000, 500, replace=False))
    tree = NearestNeighbors(n_neighbors=6).fit(X[chosen])
    distances, who = tree.kneighbors(X)
    for row in range(0, 3000, 17):
        own = distances[row][chosen[who[row]] != row][:5]
        assert found[row] == pytest.approx(own.mean())
    np.testing.assert_array_equal(found, neighbour_distances(X, 5, references=500, random_state=3))


def test_equal_rows_have_no_distance_and_few_rows_have_few_neighbours():
    np.testing.assert_allclose(neighbour_distances(np.ones((4, 2)), 10), 0)
    np.testing.assert_allclose(neighbour_distances(np.array([[0.0], [1.0], [3.0]]), 10), [2.0, 1.5, 2.5])


@pytest.mark.parametrize("method", METHODS)
def test_a_lonely_row_is_the_loneliest(method: str):
    rng = np.random.default_rng(4)
    X = np.concatenate([rng.normal(size=(150, 3)), rng.normal(size=(150, 3)) + 8, [[4.0, 4.0, -6.0]]])
    found = emptiness(X, method, 0)
    assert found.argmax() == 300
    np.testing.assert_array_equal(found, emptiness(X, method, 0))


def test_an_unknown_method_is_refused():
    with pytest.raises(InputError, match="method='svm' is not known"):
        emptiness(np.zeros((4, 1)), "svm", 0)
