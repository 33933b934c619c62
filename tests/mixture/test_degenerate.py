"""Components that are empty or collapse are put anew or removed, and it is said which and when."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

from astro_cluster import GaussianMixture
from astro_cluster.mixture import DegenerateComponentWarning
from astro_cluster.mixture.degenerate import Guard
from astro_cluster.mixture.parameters import COVARIANCE_TYPES, Moments, Parameters
from astro_cluster.mixture.rows import NotPositiveDefiniteError

from .cases import start_from

BLOB = np.random.default_rng(0).normal(size=(100, 2))
TWICE = np.vstack([BLOB, np.full((40, 2), 9.0), np.tile([-9.0, 9.0], (40, 1))])  # with two points


def started_at(means, kind="full", **options):
    means = np.asarray(means, dtype=float)
    k, d = means.shape
    covariances = {
        "full": np.tile(np.eye(d), (k, 1, 1)),
        "tied": np.eye(d),
        "diag": np.ones((k, d)),
        "spherical": np.ones(k),
    }[kind]
    return GaussianMixture(**start_from(Parameters(np.full(k, 1 / k), means, covariances, kind)), **options)


def fit(gm, X, **given):
    """Fit, and return the words of the warning, '' if there is none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gm.fit(X, **given)
    assert {one.category for one in caught} <= {DegenerateComponentWarning}
    assert len(caught) <= 1
    assert all(one.filename == __file__ for one in caught)  # where the user called
    return str(caught[0].message) if caught else ""


def assert_sound(gm, X):
    assert gm.weights_.sum() == pytest.approx(1.0, abs=1e-12)
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_", "lower_bound_"):
        assert np.isfinite(getattr(gm, name)).all(), name
    removed = np.flatnonzero(gm.weights_ == 0)
    assert not np.isin(gm.predict(X), removed).any()
    probabilities = gm.predict_proba(X)
    assert (probabilities[:, removed] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)
    assert np.isfinite(gm.score_samples(X)).all()
    assert np.isfinite(gm.tail_probability(X)).all()
    gm.random_state = 0
    assert not np.isin(gm.sample(200)[1], removed).any()


# ---------------------------------------------------------------- fits


@pytest.mark.parametrize("kind", ["full", "diag", "spherical"])
@pytest.mark.parametrize("means", [[[0, 0], [9, 9]], [[0, 0], [9, 9], [-9, 9]]])
def test_a_component_on_equal_rows_collapses(kind, means):
    gm = started_at(means, kind, max_iter=1000)
    message = fit(gm, TWICE)
    assert (
        f"of {len(means)} components some did not last: step 1: component 1 collapsed to a point" in message
    )
    assert "(40 rows) and was put anew as half of component 0" in message
    assert message.endswith("Take fewer components, or raise reg_covar")
    assert gm.converged_
    assert_sound(gm, TWICE)
    told = {int(k) for k in re.findall(r"component (\d) \S+ ?[^;]* was removed: its weight is 0", message)}
    assert told == set(np.flatnonzero(gm.weights_ == 0))


def test_a_tied_covariance_does_not_collapse():
    gm = started_at([[0, 0], [9, 9], [-9, 9]], "tied")
    assert fit(gm, TWICE) == ""
    np.testing.assert_allclose(gm.weights_, [100 / 180, 40 / 180, 40 / 180])


@pytest.mark.parametrize("reg_covar", [1e-6, 0.0])
def test_a_component_on_one_far_row_is_removed_in_the_end(reg_covar):
    X = np.vstack([BLOB, [[300.0, 300.0]]])
    gm = started_at([[0, 0], [300, 300]], reg_covar=reg_covar, max_iter=500)
    message = fit(gm, X)
    assert "component 1 collapsed to a point (1 rows) and was removed: its weight is 0" in message
    np.testing.assert_array_equal(gm.weights_, [1.0, 0.0])
    np.testing.assert_allclose(gm.means_, [X.mean(axis=0)] * 2)  # a number that does no harm
    np.testing.assert_allclose(gm.covariances_[0], np.cov(X.T, bias=True) + reg_covar * np.eye(2), rtol=1e-9)
    assert_sound(gm, X)
    # Continued, it stays away.
    gm.warm_start = True
    assert fit(gm, X) == ""
    np.testing.assert_array_equal(gm.weights_, [1.0, 0.0])


def test_a_component_far_from_all_rows_is_put_where_rows_are():
    gm = started_at([[0, 0], [1, 1], [500, 500]], max_iter=500)
    message = fit(gm, BLOB)
    assert re.search(
        r"step 1: component 2 was empty \(\S+ rows\) and was put anew as half of component \d", message
    )
    assert (gm.weights_ > 0.02).all()
    assert_sound(gm, BLOB)


def test_a_component_that_is_given_no_weight_is_removed():
    options = start_from(Parameters(np.array([1.0, 0.0]), np.eye(2), np.tile(np.eye(2), (2, 1, 1)), "full"))
    gm = GaussianMixture(**options)
    assert fit(gm, BLOB) == ""
    np.testing.assert_array_equal(gm.weights_, [1.0, 0.0])
    assert_sound(gm, BLOB)


def test_components_at_the_same_place_stay_together():
    """Nothing tells them apart: that is a saddle, not a failure."""
    gm = started_at(np.zeros((3, 2)))
    assert fit(gm, BLOB) == ""
    np.testing.assert_allclose(gm.weights_, 1 / 3)
    np.testing.assert_allclose(gm.covariances_, [np.cov(BLOB.T, bias=True) + 1e-6 * np.eye(2)] * 3, rtol=1e-9)
    assert_sound(gm, BLOB)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("how", ["short-runs", "kmeans", "k-means++", "random"])
def test_far_too_many_components(kind, how):
    X = np.vstack([TWICE[::2], [[1e4, 1e4]]])
    gm = GaussianMixture(12, covariance_type=kind, init_params=how, random_state=0, max_iter=2000)
    fit(gm, X)
    assert_sound(gm, X)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("n", [2, 4])
def test_as_many_components_as_rows(kind, n):
    gm = GaussianMixture(n, covariance_type=kind, random_state=0, max_iter=500)
    fit(gm, BLOB[:n])
    assert_sound(gm, BLOB[:n])


def test_with_errors_a_component_may_be_a_point():
    rng = np.random.default_rng(1)
    X = np.repeat([[0.0, 0.0], [9.0, 9.0]], 50, axis=0) + 0.3 * rng.normal(size=(100, 2))
    gm = GaussianMixture(2, random_state=0, max_iter=5000)
    assert fit(gm, X, errors=np.full((100, 2), 0.5)) == ""
    np.testing.assert_allclose(gm.weights_, 0.5)
    assert_sound(gm, X)


def test_a_small_unit_of_weights_makes_nothing_empty():
    gm = started_at([[-1, 0], [1, 0]], max_iter=500)
    assert fit(gm, BLOB, sample_weight=np.full(100, 1e-9)) == ""


# ---------------------------------------------------------------- what has no solution


@pytest.mark.parametrize("kind", ["full", "diag", "spherical"])
def test_nothing_but_points_and_nothing_that_keeps_them_from_it(kind):
    X = np.repeat([[0.0, 0.0], [1.0, 1.0]], 5, axis=0)
    with pytest.raises(NotPositiveDefiniteError, match="raise reg_covar"):
        started_at(X[[0, -1]], kind, reg_covar=0.0).fit(X)
    with pytest.raises(NotPositiveDefiniteError, match="raise reg_covar"):
        GaussianMixture(2, covariance_type=kind, reg_covar=0.0, random_state=0).fit(X)
    gm = started_at(X[[0, -1]], kind)
    fit(gm, X)
    assert_sound(gm, X)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_a_column_that_does_not_vary(kind):
    X = np.column_stack([BLOB, np.full(100, 4.0)])
    for k in (1, 2):
        gm = GaussianMixture(k, covariance_type=kind, random_state=0, max_iter=500)
        assert fit(gm, X) == ""
        assert_sound(gm, X)
        np.testing.assert_allclose(gm.means_[:, 2], 4.0, rtol=1e-12)
    if kind == "spherical":  # the others give it a variance
        return
    with pytest.raises(NotPositiveDefiniteError, match=r"of component 0 is not positive.*raise reg_covar"):
        GaussianMixture(1, covariance_type=kind, reg_covar=0.0).fit(X)


def test_a_column_that_is_another_column():
    X = BLOB[:, [0, 1, 0]]
    gm = GaussianMixture(2, random_state=0, max_iter=500)
    assert fit(gm, X) == ""
    assert_sound(gm, X)


@pytest.mark.parametrize("how", ["short-runs", "kmeans", "k-means++", "random"])
@pytest.mark.parametrize(
    ("X", "count", "k"),
    [
        (np.repeat([[0.0, 0.0], [1.0, 1.0]], 5, axis=0), 2, 3),
        (np.ones((5, 2)), 1, 2),
        ([[0.0, 1.0], [np.nan, 1.0], [np.nan, 1.0], [0.0, 1.0]], 2, 3),
    ],
)
def test_fewer_distinct_rows_than_components(X, count, k, how):
    with pytest.raises(ValueError, match=f"only {count} distinct rows for {k} components; take fewer comp"):
        GaussianMixture(k, init_params=how, random_state=0).fit(X)


def test_rows_of_weight_0_are_no_distinct_rows():
    with pytest.raises(ValueError, match="only 2 distinct rows for 3 components"):
        GaussianMixture(3).fit([[0.0], [1.0], [2.0]], sample_weight=[1, 1, 0])


def test_fewer_rows_than_components():
    with pytest.raises(ValueError, match="n_components = 5, n_samples = 4"):
        GaussianMixture(5).fit(BLOB[:4])


def test_one_component_of_equal_rows():
    gm = GaussianMixture(1).fit(np.ones((5, 2)))
    np.testing.assert_allclose(gm.covariances_, [1e-6 * np.eye(2)])
    np.testing.assert_allclose(gm.means_, 1.0)


# ---------------------------------------------------------------- the guard alone


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_an_empty_component_takes_half_of_the_largest(kind):
    covariances = {
        "full": np.array([np.diag([1.0, 9.0]), np.eye(2), np.eye(2)]),
        "tied": np.diag([1.0, 9.0]),
        "diag": np.array([[1.0, 9.0], [1.0, 1.0], [1.0, 1.0]]),
        "spherical": np.array([9.0, 1.0, 1.0]),
    }[kind]
    p = Parameters(
        np.array([0.7, 0.3, 1e-9]), np.array([[0.0, 0.0], [9.0, 9.0], [99.0, 99.0]]), covariances, kind
    )
    moments = Moments(0.0, 100.0, np.array([70.0, 30.0, 1e-7]), p.means, p.means, p.means)
    mended, events = Guard(np.ones(2), 1.0, 1e-6).look_after(p, moments, p, 0)
    assert events == ["component 2 was empty (1e-07 rows) and was put anew as half of component 0"]
    np.testing.assert_allclose(mended.weights, [0.35, 0.3, 0.35], rtol=1e-8)
    # Both stand off the old mean, along the axis in which it is the longest, by its width together.
    np.testing.assert_allclose(mended.means[0], -mended.means[2])
    assert np.linalg.norm(mended.means[2] - mended.means[0]) == pytest.approx(3.0)
    if kind in ("full", "diag", "tied"):
        assert mended.means[2, 0] == pytest.approx(0.0)
    if kind != "tied":
        np.testing.assert_array_equal(mended.covariances[2], p.covariances[0])
    np.testing.assert_array_equal(p.weights, [0.7, 0.3, 1e-9])  # what it was given stays as it was


def test_the_last_component_stays():
    p = Parameters(np.array([1.0, 0.0]), np.zeros((2, 2)), np.tile(1e-6 * np.eye(2), (2, 1, 1)), "full")
    moments = Moments(0.0, 5.0, np.array([5.0, 0.0]), p.means, p.means, p.means)
    assert Guard(np.ones(2), 1.0, 1e-6).look_after(p, moments, p, 9)[1] == []


@pytest.mark.parametrize("kind", ["full", "tied", "diag"])
def test_the_last_step_says_as_well_what_to_do(kind):
    X = np.column_stack([BLOB, np.full(100, 4.0)])
    gm = started_at([[0, 0, 4]], kind, reg_covar=0.0, max_iter=1)
    with pytest.raises(NotPositiveDefiniteError, match="raise reg_covar"):
        gm.fit(X)
    assert not hasattr(gm, "means_")
    gm = started_at([[0, 0, 4]], kind, reg_covar=1e-6, max_iter=500).fit(X)
    means, gm.reg_covar = gm.means_, 0.0
    with pytest.raises(NotPositiveDefiniteError, match="raise reg_covar"):
        gm.update(gm.partial(X))
    assert gm.means_ is means


def test_a_removed_component_stays_away_when_steps_are_made_in_parts():
    X = np.vstack([BLOB, [[300.0, 300.0]]])
    gm = started_at([[0, 0], [300, 300]], max_iter=500)
    fit(gm, X)
    gm.update(gm.partial(X))
    np.testing.assert_array_equal(gm.weights_, [1.0, 0.0])


def test_of_many_starts_one_may_fail():
    """The outlier and the equal rows make a line without width to 16 digits, where they are together."""
    X = np.vstack([TWICE, [[1e8, 1e8]]])
    gm = GaussianMixture(3, random_state=0, max_iter=500)
    fit(gm, X)
    assert_sound(gm, X)
