"""`PCA`: scikit-learn's on small data, and the same block by block on large ones."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA as SklearnPCA
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

from astro_cluster.embedding import PCA
from astro_cluster.embedding import pca as module
from astro_cluster.exceptions import InputError


@parametrize_with_checks([PCA(n_components=2)])
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture
def in_blocks(monkeypatch):
    """Make all data large, and their blocks uneven."""
    monkeypatch.setattr(module, "_WHOLE", 10)
    monkeypatch.setattr(module, "_ROWS", 37)
    monkeypatch.setattr(module, "_COLUMNS", 71)


def _pixels(n: int, d: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    signal = (rng.normal(size=(n, 12)) * np.linspace(30, 3, 12)) @ np.linalg.qr(rng.normal(size=(d, 12)))[0].T
    return np.clip(signal * 3 + rng.normal(size=(n, d)) + 100, 0, 255)


def _same(ours: PCA, X: np.ndarray, k: int) -> None:
    theirs = SklearnPCA(k, svd_solver="full").fit(X.astype(float))
    np.testing.assert_allclose(ours.explained_variance_, theirs.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(ours.explained_variance_ratio_, theirs.explained_variance_ratio_, rtol=1e-4)
    np.testing.assert_allclose(ours.singular_values_, theirs.singular_values_, rtol=1e-4)
    np.testing.assert_allclose(ours.mean_, theirs.mean_, rtol=1e-5)
    # The signs are those of scikit-learn, too.
    np.testing.assert_allclose(ours.components_, theirs.components_, atol=2e-3)
    spread = theirs.transform(X.astype(float)).std()
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X.astype(float)), atol=5e-3 * spread)


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize(("n", "d"), [(90, 400), (400, 90)])
def test_blocks_find_the_same(in_blocks, kind, n, d):
    X = _pixels(n, d).astype(kind)
    _same(PCA(8, random_state=0).fit(X), X, 8)


def test_bytes_of_small_data_are_the_same_as_numbers():
    X = _pixels(60, 50).astype(np.uint8)
    _same(PCA(4).fit(X), X, 4)


def test_bytes_are_not_copied(in_blocks, monkeypatch):
    X = _pixels(90, 400).astype(np.uint8)
    seen = []
    own = module._block
    monkeypatch.setattr(module, "_block", lambda *given: seen.append(given[0]) or own(*given))
    PCA(3).fit(X)
    assert seen
    assert all(np.shares_memory(given, X) for given in seen)


def test_neither_threads_nor_the_seed_of_bytes_matter(in_blocks, monkeypatch):
    for kind in (np.uint8, np.float32):
        X = _pixels(90, 400).astype(kind)
        found = []
        for threads in (1, 3):
            monkeypatch.setattr(module, "available_threads", lambda threads=threads: threads)
            with threadpool_limits(limits=threads):
                found.append(PCA(5, random_state=1).fit(X).transform(X))
        np.testing.assert_array_equal(*found)


def test_no_more_components_than_there_are(in_blocks):
    X = _pixels(20, 300).astype(np.uint8)
    fitted = PCA(50).fit(X)
    assert fitted.n_components_ == 19
    assert fitted.explained_variance_ratio_.sum() == pytest.approx(1)
    np.testing.assert_allclose(fitted.inverse_transform(fitted.transform(X)), X, atol=0.01)
    assert fitted.facts()["explained_variance"] == pytest.approx(1)
    flat = PCA(3).fit(np.full((20, 300), 7, dtype=np.uint8))
    assert np.isfinite(flat.components_).all()
    assert not flat.transform(np.full((2, 300), 7, dtype=np.uint8)).any()


def test_a_share_of_the_variance(in_blocks, monkeypatch):
    X = _pixels(60, 50)
    with pytest.raises(InputError, match="needs all components"):
        PCA(0.9).fit(X)
    monkeypatch.setattr(module, "_WHOLE", 2**22)
    fitted = PCA(0.9).fit(X)
    assert fitted.n_components_ == SklearnPCA(0.9).fit(X).n_components_
    assert PCA(None).fit(X).n_components_ == 50
    for wrong in (0, -1, 1.5, "all", True):
        with pytest.raises(InputError, match="n_components="):
            PCA(wrong).fit(X)
