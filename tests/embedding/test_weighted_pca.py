"""`WeightedPCA` against scikit-learn's, against row-by-row least squares, and against what is true."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from astro_cluster.embedding import WeightedPCA
from astro_cluster.embedding.alternating import coefficients_of, fit_alternating
from astro_cluster.exceptions import InputError
from astro_cluster.wavelengths import log_grid


def rank(n: int = 300, m: int = 60, k: int = 8, seed: int = 0, noise: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    strengths = rng.normal(size=(n, k)) * np.geomspace(5, 0.5, k)
    return 3 + strengths @ rng.normal(size=(k, m)) / np.sqrt(k) + noise * rng.normal(size=(n, m))


def holes(X: np.ndarray, seed: int = 1, share: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Return spectra with missing pixels, NaN or with a value that must not matter, and weights."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.2, 3, X.shape) * (rng.random(X.shape) > share)
    X = np.where(weights > 0, X, np.where(rng.random(X.shape) > 0.5, np.nan, 1e5))
    return X, weights


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return how far two subspaces with orthonormal rows are apart: the sine of the largest angle."""
    return float(np.linalg.norm(one.T @ one - other.T @ other, 2))


# ---------------------------------------------------------------- against others


@pytest.mark.parametrize(("n", "m"), [(300, 60), (40, 120)])
@pytest.mark.parametrize("weight", [1.0, 7.0])
def test_with_equal_weights_it_is_the_pca_of_scikit_learn(n, m, weight):
    X = rank(n, m)
    own = WeightedPCA(4, normalize=None).fit(X, weights=np.full(X.shape, weight))
    other = PCA(4, svd_solver="full").fit(X)
    assert own.converged_
    assert distance(own.components_, other.components_) < 1e-6
    np.testing.assert_allclose(np.abs((own.components_ * other.components_).sum(axis=1)), 1, atol=1e-9)
    np.testing.assert_allclose(own.mean_, other.mean_, atol=1e-9)
    np.testing.assert_allclose(own.explained_variance_ratio_, other.explained_variance_ratio_, rtol=1e-9)
    back = other.inverse_transform(other.transform(X))
    np.testing.assert_allclose(own.reconstruct(X), back, atol=1e-4)
    errors = own.reconstruction_errors(X, weights=np.full(X.shape, weight))
    np.testing.assert_allclose(errors["mse"], ((X - back) ** 2).mean(axis=1), rtol=1e-8)
    np.testing.assert_allclose(errors["chi2"], weight * ((X - back) ** 2).mean(axis=1), rtol=1e-8)


def test_without_a_mean_it_is_the_singular_value_decomposition():
    X = rank()
    own = WeightedPCA(3, normalize=None, subtract_mean=False).fit(X)
    _, _, V = np.linalg.svd(X, full_matrices=False)
    assert distance(own.components_, V[:3]) < 1e-6
    assert not own.mean_.any()


def test_coefficients_are_those_of_least_squares_row_by_row():
    X, weights = holes(rank())
    pca = WeightedPCA(4, normalize=None, softening=0.0).fit(X, weights=weights)
    found = pca.transform(X, weights=weights)
    for row in range(len(X)):
        root = np.sqrt(weights[row])
        off = np.where(weights[row] > 0, np.nan_to_num(X[row]) - pca.mean_, 0)
        wanted = np.linalg.lstsq(root[:, None] * pca.components_.T, root * off, rcond=None)[0]
        np.testing.assert_allclose(found[row], wanted, atol=1e-9)


def test_it_ends_where_slow_alternating_least_squares_ends():
    X, weights = holes(rank(120, 30))
    filled = np.where(weights > 0, np.nan_to_num(X), 0)
    mean = (weights * filled).sum(axis=0) / weights.sum(axis=0)
    V = np.linalg.svd(np.where(weights > 0, filled - mean, 0), full_matrices=False)[2][:3]
    for _ in range(150):
        C = np.array(
            [
                np.linalg.lstsq((V * np.sqrt(w)).T, (x - mean) * np.sqrt(w), rcond=None)[0]
                for x, w in zip(filled, weights, strict=True)
            ]
        )
        design = np.column_stack([np.ones(len(C)), C])
        B = np.array(
            [
                np.linalg.lstsq(design * np.sqrt(w)[:, None], x * np.sqrt(w), rcond=None)[0]
                for x, w in zip(filled.T, weights.T, strict=True)
            ]
        ).T
        mean, V = B[0], B[1:]
    slow = (weights * (filled - mean - C @ V) ** 2).sum() / (weights > 0).sum()
    own = WeightedPCA(3, normalize=None, softening=0.0, tol=1e-12, max_iter=500).fit(X, weights=weights)
    assert own.chi2_[-1] == pytest.approx(slow, rel=1e-6)
    assert distance(own.components_, np.linalg.qr(V.T)[0].T) < 1e-3


# ---------------------------------------------------------------- against what is true


def test_what_is_missing_is_found_again_where_there_is_no_noise():
    whole = rank(200, 40, 3, noise=0.0)
    X, weights = holes(whole, share=0.4)
    pca = WeightedPCA(3, normalize=None, softening=0.0, tol=0, max_iter=2000).fit(X, weights=weights)
    assert pca.chi2_[-1] < 1e-12
    np.testing.assert_allclose(pca.reconstruct(X, weights=weights), whole, atol=1e-4)


def test_missing_pixels_and_errors_cost_it_less_than_filling_them_in():
    """Red ends missing in bright rows: what zeros and means in their place would spoil."""
    rng = np.random.default_rng(3)
    truth = rank(400, 50, 3, noise=0.0)
    sigma = rng.uniform(0.05, 2.0, truth.shape)
    X, weights = truth + sigma * rng.normal(size=truth.shape), sigma**-2
    gone = (np.arange(50) > 30) & (truth[:, :1] > np.median(truth[:, 0]))
    X[gone], weights[gone] = np.nan, 0
    own = WeightedPCA(3, normalize=None, softening=0.0).fit(X, weights=weights)
    filled = np.where(gone, np.nanmean(X, axis=0), X)
    other = PCA(3, svd_solver="full").fit(filled)
    own_error = np.mean((own.reconstruct(X, weights=weights) - truth) ** 2)
    other_error = np.mean((other.inverse_transform(other.transform(filled)) - truth) ** 2)
    assert own_error < 0.2 * other_error
    # Of n m pixels, k (n + m) numbers are fitted, so χ² per pixel is below 1 by their share.
    counting, fitted = (weights > 0).sum(), 3 * 400 + 4 * 50 - 9 - 3
    assert own.chi2_[-1] == pytest.approx(1 - fitted / counting, abs=4 * np.sqrt(2 / counting))


def test_chi2_never_rises_and_more_components_leave_less():
    X, weights = holes(rank(150, 40))
    last = np.inf
    for k in (1, 2, 4, 8):
        pca = WeightedPCA(k, normalize=None, tol=0, max_iter=60).fit(X, weights=weights)
        assert len(pca.chi2_) > 3
        assert (np.diff(pca.chi2_) <= 0).all()
        assert pca.chi2_[-1] < last
        last = pca.chi2_[-1]


def test_a_pixel_without_weight_plays_no_part_whatever_it_holds():
    X, weights = holes(rank())
    one = WeightedPCA(3, normalize="max").fit(np.where(weights > 0, X, np.nan), weights=weights)
    other = WeightedPCA(3, normalize="max").fit(np.where(weights > 0, X, -1e30), weights=weights)
    assert np.array_equal(one.components_, other.components_)
    infinite = WeightedPCA(3, normalize="max").fit(X, weights=np.where(weights > 0, weights, np.inf))
    assert np.array_equal(one.components_, infinite.components_)


def test_components_are_orthonormal_in_order_and_of_one_sign():
    X, weights = holes(rank())
    pca = WeightedPCA(5, normalize=None).fit(X, weights=weights)
    np.testing.assert_allclose(pca.components_ @ pca.components_.T, np.eye(5), atol=1e-12)
    assert (np.diff(pca.explained_variance_ratio_) <= 0).all()
    assert 0.7 < pca.explained_variance_ratio_.sum() < 1
    peaks = np.abs(pca.components_).argmax(axis=1)
    assert (pca.components_[np.arange(5), peaks] > 0).all()


@pytest.mark.parametrize("n", [37, 1300])
def test_threads_and_blocks_change_no_bit(n):
    X, weights = holes(rank(n, 30))
    found = [WeightedPCA(3, n_threads=threads).fit(X, weights=weights) for threads in (1, 2, 5)]
    for other in found[1:]:
        assert np.array_equal(found[0].components_, other.components_)
        assert found[0].chi2_ == other.chi2_
        assert np.array_equal(found[0].transform(X, weights=weights), other.transform(X, weights=weights))
    # A row's coefficients do not depend on which others come with it.
    part = found[0].transform(X[5:9], weights=weights[5:9])
    np.testing.assert_allclose(part, found[0].transform(X, weights=weights)[5:9], rtol=1e-10)


def test_single_precision_is_enough_and_is_kept():
    X, weights = holes(rank())
    one = WeightedPCA(3).fit(X, weights=weights)
    other = WeightedPCA(3).fit(X.astype("f4"), weights=weights.astype("f4"))
    assert other.components_.dtype == np.float64
    assert distance(one.components_, other.components_) < 1e-5
    assert other.reconstruct(X[:3].astype("f4")).dtype == np.float32


# ---------------------------------------------------------------- normalisation, rows that cannot be used


def test_scale_and_units_of_a_spectrum_do_not_matter():
    X, weights = holes(rank())
    scales = np.random.default_rng(4).uniform(0.01, 100, (len(X), 1))
    for how in ("auto", "max"):
        one = WeightedPCA(3, normalize=how).fit(X, weights=weights)
        other = WeightedPCA(3, normalize=how).fit(X * scales, weights=weights / scales**2)
        assert distance(one.components_, other.components_) < 1e-5
        made = other.reconstruct(X * scales, weights=weights / scales**2)
        np.testing.assert_allclose(made, scales * one.reconstruct(X, weights=weights), rtol=1e-3, atol=1e-3)


def test_spectra_that_are_normalised_already_are_left_as_they_are():
    X = rank()
    told = WeightedPCA(2).fit(X, normalized=True)
    assert told.normalize_ is None
    assert np.array_equal(told.components_, WeightedPCA(2, normalize=None).fit(X).components_)
    assert WeightedPCA(2).fit(X).normalize_ == "median"


def test_a_window_normalises_by_the_wavelengths_of_the_fit():
    X, grid = rank(), log_grid(4000 * u.AA, 5000 * u.AA, 60)
    X[:, 20:30] = np.abs(X[:, 20:30]) + 1
    low, high = grid.angstrom[[20, 29]]
    pca = WeightedPCA(2, normalize=(low * u.AA, high * u.AA)).fit(X, grid=grid)
    by_hand = X / np.median(X[:, 20:30], axis=1, keepdims=True)
    other = WeightedPCA(2, normalize=None, softening=0.0).fit(
        by_hand, weights=np.median(X[:, 20:30], axis=1, keepdims=True) ** 2 * np.ones(60)
    )
    assert distance(pca.components_, other.components_) < 1e-4


def test_softening_holds_the_weight_of_the_surest_pixels_down():
    X, weights = rank(), np.ones((300, 60))
    weights[:10] = 1e8  # ten spectra that would decide everything
    free = WeightedPCA(3, normalize=None, softening=0.0).fit(X, weights=weights)
    held = WeightedPCA(3, normalize=None, softening=1.0).fit(X, weights=weights)
    plain = WeightedPCA(3, normalize=None).fit(X)
    assert distance(held.components_, plain.components_) < 0.5 * distance(free.components_, plain.components_)
    # It is judged by the errors as they are.
    errors = held.reconstruction_errors(X, weights=weights)
    made = held.reconstruct(X, weights=weights)
    np.testing.assert_allclose(errors["chi2"], (weights * (X - made) ** 2).mean(axis=1), rtol=1e-3)


def test_rows_that_cannot_be_used_are_nan_and_teach_nothing():
    X, weights = holes(rank())
    bad = X.copy(), weights.copy()
    for row, (x, w) in enumerate([(np.nan, 1), (5, 0), (-3, 1)]):  # nothing, no weight, a negative median
        X = np.vstack([X, np.full(60, float(x))])
        weights = np.vstack([weights, np.full(60, float(w))])
        assert row < 3
    one, other = WeightedPCA(3).fit(bad[0], weights=bad[1]), WeightedPCA(3).fit(X, weights=weights)
    assert np.array_equal(one.components_, other.components_)
    usable = np.isfinite(other.transform(X, weights=weights)).all(axis=1)
    assert not usable[-3:].any()
    assert np.isnan(other.reconstruct(X, weights=weights)[-3:]).all()
    errors = other.reconstruction_errors(X, weights=weights)
    assert np.isnan(errors["chi2"][~usable]).all()
    assert np.isfinite(errors["chi2"][usable]).all()


def test_a_row_with_fewer_pixels_than_components_has_the_shortest_coefficients():
    X = rank(noise=0.1)
    weights = np.ones(X.shape)
    pca = WeightedPCA(5, normalize=None).fit(X)
    weights[0, 2:] = 0
    found = pca.transform(X[:1], weights=weights[:1])[0]
    wanted = np.linalg.pinv(pca.components_[:, :2].T) @ (X[0, :2] - pca.mean_[:2])
    np.testing.assert_allclose(found, wanted, rtol=1e-2, atol=1e-3)


def test_a_pixel_that_nobody_has_seen_is_what_its_neighbours_are_on_average():
    X, weights = rank(), np.ones((300, 60))
    weights[:, 10] = 0
    pca = WeightedPCA(3, normalize=None).fit(X, weights=weights)
    assert pca.mean_[10] == pytest.approx((pca.mean_[9] + pca.mean_[11]) / 2)
    assert not pca.components_[:, 10].any()
    assert np.isfinite(pca.reconstruct(X, weights=weights)).all()


def test_rows_that_are_held_out_teach_nothing_and_judge():
    X, weights = holes(rank())
    rows = np.arange(0, 300, 7)
    pca = WeightedPCA(3, normalize=None).fit(X, weights=weights, held_out_rows=rows)
    learned = np.setdiff1d(np.arange(300), rows)
    alone = WeightedPCA(3, normalize=None).fit(X[learned], weights=weights[learned])
    assert np.array_equal(pca.components_, alone.components_)
    errors = alone.reconstruction_errors(X[rows], weights=weights[rows])["chi2"]
    assert pca.held_out_chi2_ == pytest.approx(errors.mean())
    facts = pca.facts()
    assert facts["held_out_chi2"] == pca.held_out_chi2_
    assert facts["chi2"] == pca.chi2_[-1]
    assert facts["converged"]
    assert facts["n_iter"] == len(pca.chi2_)
    assert alone.facts()["held_out_chi2"] is None
    mask = np.isin(np.arange(300), rows)
    for same in (mask, rows[::-1], rows.tolist()):
        again = WeightedPCA(3, normalize=None).fit(X, weights=weights, held_out_rows=same)
        assert np.array_equal(again.components_, alone.components_)
        assert again.held_out_chi2_ == pca.held_out_chi2_


def test_without_weights_chi2_is_by_the_noise_that_pixels_tell_of():
    rng = np.random.default_rng(3)
    level, noise = rng.uniform(20, 50, (80, 1)), rng.uniform(0.02, 0.03, (80, 1))
    slope = 1 + np.linspace(-0.5, 0.5, 900) * rng.uniform(0, 1, (80, 1))
    X = level * (slope + noise * rng.normal(size=(80, 900)))
    pca = WeightedPCA(2).fit(X, held_out_rows=np.arange(10))
    found = pca.reconstruction_errors(X)
    assert found["chi2"].mean() == pytest.approx(1, abs=0.1)
    assert pca.held_out_chi2_ == pytest.approx(found["chi2"][:10].mean())
    known = pca.reconstruction_errors(X, weights=np.tile((level * noise) ** -2.0, 900))
    np.testing.assert_allclose(found["chi2"], known["chi2"], rtol=0.4)
    faint = pca.reconstruction_errors((1e-20 * X).astype("f8"))
    np.testing.assert_allclose(faint["mse"], found["mse"], rtol=1e-3)


def test_more_pixels_than_pairs_can_be_looked_at():
    """Another start, by directions of rows, and the same end."""
    whole = rank(60, 6100, 3, noise=0.0)
    X, weights = holes(whole.astype("f4"), share=0.2)
    found = [WeightedPCA(3, normalize=None, random_state=seed).fit(X, weights=weights) for seed in (1, 1, 2)]
    assert np.array_equal(found[0].components_, found[1].components_)
    assert distance(found[0].components_[:, :500], found[2].components_[:, :500]) < 1e-3
    np.testing.assert_allclose(found[0].reconstruct(X[:5], weights=weights[:5]), whole[:5], atol=2e-2)


def test_progress_is_told_and_may_stop_it_without_a_trace():
    X, weights = holes(rank())
    told: list[tuple[int, float]] = []

    def tell(number: int, numbers: dict[str, float]) -> None:
        told.append((number, numbers["chi2"]))

    pca = WeightedPCA(3).fit(X, weights=weights, progress=tell)
    assert told == list(enumerate(pca.chi2_, start=1))
    before = pca.components_.copy()

    def stop(number: int, numbers: dict[str, float]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pca.set_params(normalize="max").fit(X[:100], weights=weights[:100], progress=stop)
    assert np.array_equal(pca.components_, before)
    assert pca.normalize_ == "median"
    with pytest.raises(InputError, match="progress=3"):
        WeightedPCA(3).fit(X, progress=3)


def test_it_is_an_estimator():
    pca = WeightedPCA(3, softening=0.1, random_state=2)
    assert clone(pca).get_params() == pca.get_params()
    X = rank()
    assert np.array_equal(pca.fit_transform(X), pca.transform(X))
    with pytest.raises(NotFittedError):
        WeightedPCA().transform(X)
    with pytest.raises(NotFittedError):
        WeightedPCA().facts()


@pytest.mark.parametrize(
    ("parameters", "arguments", "word"),
    [
        ({"n_components": 0}, {}, "n_components=0"),
        ({"n_components": True}, {}, "n_components=True"),
        ({"n_components": 60}, {}, "too few for 60 components"),
        ({"softening": -1}, {}, "softening=-1"),
        ({"max_iter": 0}, {}, "max_iter=0"),
        ({"tol": np.nan}, {}, "tol=nan"),
        ({"normalize": "mode"}, {}, "mode"),
        ({"n_threads": 0}, {}, "n_threads=0"),
        ({}, {"held_out_rows": [-1]}, "there are 300 spectra, and held-out rows go from -1 to -1"),
        ({}, {"held_out_rows": [300]}, "there are 300 spectra, and held-out rows go from 300 to 300"),
        ({}, {"weights": np.ones((3, 60))}, r"weights have the shape \(3, 60\)"),
        ({}, {"weights": -np.ones((300, 60))}, "below 0"),
        ({}, {"weights": np.zeros((300, 60))}, "0 spectra of 60 pixels have pixels that count"),
        ({}, {"X": np.ones(5)}, r"X has the shape \(5,\)"),
        ({}, {"X": np.array([["a"]])}, "type <U1"),
    ],
)
def test_what_cannot_be_used_is_said(parameters, arguments, word):
    arguments = {"X": rank()} | arguments
    with pytest.raises(InputError, match=word):
        WeightedPCA(**{"normalize": None} | parameters).fit(arguments.pop("X"), **arguments)


def test_other_pixels_than_those_learned_from_are_refused():
    pca = WeightedPCA(3).fit(rank())
    with pytest.raises(InputError, match="have 50 pixels, those that were learned from 60"):
        pca.transform(rank(m=50))


def test_the_solver_alone_leaves_nothing_of_a_matrix_of_its_rank():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(1100, 2)) @ rng.normal(size=(2, 8))
    fit = fit_alternating(X, np.ones(X.shape), 2, subtract_mean=False, tol=0.0)
    assert fit.chi2[-1] < 1e-20
    assert not fit.mean.any()
    found, chi2 = coefficients_of(X, np.ones(X.shape), fit.mean, fit.components)
    np.testing.assert_allclose(found, fit.coefficients, atol=1e-10)
    assert chi2.max() < 1e-20
