"""The whole fit: scikit-learn's numbers, the same ones for any number of threads, all sizes at once."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as SklearnMixture

from astro_cluster import GaussianMixture
from astro_cluster.mixture import sweep
from astro_cluster.mixture.parameters import COVARIANCE_TYPES

from .cases import (
    assert_identical_fit,
    assert_same_fit,
    fixed_steps,
    members,
    punched,
    random_errors,
    random_mixture,
    start_from,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ENGINES = ("numba", "numpy", "torch")


# ---------------------------------------------------------------- scikit-learn


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize(("n", "d", "k"), [(400, 1, 2), (600, 3, 3), (500, 8, 1), (900, 9, 4), (800, 35, 8)])
def test_agrees_with_sklearn_row_by_row(kind, n, d, k):
    rng = np.random.default_rng([n, d, k])
    p = random_mixture(rng, k, d, kind, apart=2.0, weights=np.full(k, 1 / k))
    X = members(rng, p, n) + 100.0
    options = start_from(p) | dict(means_init=p.means + 100.0, max_iter=5, tol=0.0)
    ours, theirs = GaussianMixture(**options).fit(X), SklearnMixture(**options).fit(X)
    assert ours.n_iter_ == theirs.n_iter_ == 5
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-9)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=1e-9)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.lower_bound_, theirs.lower_bound_, rtol=1e-10)
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-10)
    scale = np.abs(theirs.covariances_).max()
    np.testing.assert_allclose(ours.covariances_, theirs.covariances_, rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose(ours.bic(X), theirs.bic(X), rtol=1e-10)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_a_density_of_sklearn_is_ours(kind):
    """What another program fitted can be taken over."""
    rng = np.random.default_rng(1)
    X = members(rng, random_mixture(rng, 3, 4, kind), 300)
    theirs = SklearnMixture(3, covariance_type=kind, random_state=0).fit(X)
    numbers = theirs.weights_, theirs.means_, theirs.covariances_
    ours = GaussianMixture.from_parameters(*numbers, covariance_type=kind)
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours.precisions_cholesky_, theirs.precisions_cholesky_, rtol=1e-7, atol=1e-9)


# ---------------------------------------------------------------- engines


@pytest.mark.parametrize("noise", ["none", "diagonal", "full"])
@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_engines_fit_the_same(kind, noise):
    rng = np.random.default_rng(2)
    p = random_mixture(rng, 3, 3, kind)
    X = punched(rng, members(rng, p, 300), 0.2)
    given = dict(errors=random_errors(rng, 300, 3, noise), sample_weight=rng.uniform(0.5, 2.0, 300))
    one = fixed_steps(p, engine="numba").fit(X, **given)
    for engine in ENGINES[1:]:
        if engine == "torch":
            pytest.importorskip("torch", reason="torch is not installed: TorchEngine is NOT tested")
        other = fixed_steps(p, engine=engine).fit(X, **given)
        assert_same_fit(other, one, rtol=1e-9)
        for method in ("predict_proba", "score_samples"):
            found = getattr(other, method)(X, errors=given["errors"])
            expected = getattr(one, method)(X, errors=given["errors"])
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_array_equal(
            other.predict(X, errors=given["errors"]), one.predict(X, errors=given["errors"])
        )


# ---------------------------------------------------------------- threads and seeds


@pytest.mark.parametrize("noise", ["none", "diagonal", "full"])
@pytest.mark.parametrize(
    ("kind", "d"), [("full", 3), ("tied", 3), ("diag", 3), ("spherical", 3), ("full", 9)]
)
@pytest.mark.parametrize("holes", [0.0, 0.2])
def test_the_number_of_threads_changes_no_digit(kind, d, noise, holes):
    rng = np.random.default_rng(3)
    p = random_mixture(rng, 2, d, kind)
    n = 6500 if d == 3 else 4200  # several slabs
    X = members(rng, p, n)
    X = punched(rng, X, holes) if holes else X
    given = dict(errors=random_errors(rng, n, d, noise), sample_weight=rng.uniform(0.0, 2.0, n))
    fits = [fixed_steps(p, 3, n_jobs=n_jobs).fit(X, **given) for n_jobs in (1, 2, 3, 5, None)]
    probabilities = [one.predict_proba(X, errors=given["errors"]) for one in fits]
    for one, found in zip(fits[1:], probabilities[1:], strict=True):
        assert_identical_fit(one, fits[0])
        np.testing.assert_array_equal(found, probabilities[0])


@pytest.mark.parametrize("how", ["short-runs", "kmeans", "k-means++", "random"])
def test_the_same_seed_finds_the_same_numbers_with_any_number_of_threads(how):
    rng = np.random.default_rng(4)
    X = punched(rng, members(rng, random_mixture(rng, 3, 3, "full"), 4200), 0.1)
    options = dict(n_components=3, init_params=how, n_init=2, max_iter=3)
    fits = [GaussianMixture(random_state=8, n_jobs=n_jobs, **options).fit(X) for n_jobs in (1, 3, 3)]
    assert_identical_fit(fits[1], fits[0])
    assert_identical_fit(fits[2], fits[0])
    np.testing.assert_array_equal(fits[0].predict_proba(X), fits[1].predict_proba(X))
    state = np.random.RandomState(8)
    assert_identical_fit(GaussianMixture(random_state=state, **options).fit(X), fits[0])


@pytest.mark.parametrize("n_jobs", [0, -2])
def test_a_number_of_threads_that_is_none(n_jobs):
    with pytest.raises(ValueError, match=f"n_jobs={n_jobs} is not a number of threads; give 1 or more"):
        GaussianMixture(n_jobs=n_jobs).fit(np.eye(4))


# ---------------------------------------------------------------- several sizes at once


@pytest.fixture(scope="module")
def clusters():
    rng = np.random.default_rng(5)
    return punched(rng, members(rng, random_mixture(rng, 3, 3, "full"), 600), 0.1)


def test_a_sweep_is_the_same_each_time(clusters):
    for one, other in zip(*(sweep(clusters, [2, 3, 4], random_state=1) for _ in range(2)), strict=True):
        assert_identical_fit(one, other)


@pytest.mark.parametrize("how", ["short-runs", "kmeans", "k-means++", "random"])
def test_a_sweep_finds_what_fits_alone_find(clusters, how):
    options = dict(random_state=1, init_params=how, n_init=2, max_iter=10)
    for one in sweep(clusters, [3, 1, 4], **options):
        assert_identical_fit(one, GaussianMixture(one.n_components, **options).fit(clusters))


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_a_sweep_takes_errors_weights_and_all_options(clusters, kind):
    rng = np.random.default_rng(6)
    n = len(clusters)
    given = dict(errors=rng.uniform(0.1, 0.5, (n, 3)), sample_weight=rng.uniform(0.5, 2.0, n))
    steps = []
    options = dict(covariance_type=kind, n_init=2, max_iter=7, random_state=0, init_params="kmeans")
    found = sweep(
        clusters, [3, 1], on_step=lambda step, runs: steps.append((step, len(runs))), **options, **given
    )
    assert steps == [(step, 4) for step in range(1, 8)]
    assert [len(one.weights_) for one in found] == [3, 1]
    assert all(one.n_features_in_ == 3 and one.covariance_type == kind for one in found)
    assert_identical_fit(found[0], GaussianMixture(3, **options).fit(clusters, **given))
    assert [one.predict(clusters).max() for one in found] == [2, 0]


def test_a_sweep_says_what_it_cannot_do(clusters):
    assert sweep(clusters, []) == []
    with pytest.raises(ValueError, match="looks for its starts itself"):
        sweep(clusters, [2], means_init=np.zeros((2, 3)))
    with pytest.raises(ValueError, match="601 components; take fewer"):
        sweep(clusters, [2, 601])
    with pytest.raises(ValueError, match="n_components"):
        sweep(clusters, [2, 0])


def test_a_sweep_warns_of_each_size_by_itself(clusters):
    with pytest.warns(ConvergenceWarning, match="did not converge") as caught:
        sweep(clusters, [2, 3], max_iter=1, random_state=0)
    assert len(caught) == 2


def test_a_sweep_warns_where_it_was_called(clusters):
    with pytest.warns(ConvergenceWarning) as caught:
        sweep(clusters, [2], max_iter=1, random_state=0)
    assert caught[0].filename == __file__


# ---------------------------------------------------------------- more of the contract


def test_the_likeliest_of_several_starts_is_kept(clusters):
    seen = []
    options = dict(init_params="random", random_state=3, tol=1e-6, max_iter=300)
    gm = GaussianMixture(3, n_init=4, **options).fit(clusters, on_step=lambda _, runs: seen.append(runs))
    bounds = [one.bound for one in seen[-1]]
    assert len(bounds) == 4
    assert gm.lower_bound_ == max(bounds)


def test_no_step_at_all_keeps_the_start():
    rng = np.random.default_rng(7)
    p = random_mixture(rng, 2, 3, "full")
    gm = fixed_steps(p, 0).fit(members(rng, p, 50))
    np.testing.assert_allclose(gm.covariances_, p.covariances, rtol=1e-12)
    assert gm.n_iter_ == 0
    assert not gm.converged_


def test_probabilities_are_probabilities(clusters):
    gm = GaussianMixture(3, random_state=0).fit(clusters)
    X = np.vstack([clusters, [[1e9, -1e9, np.nan], [np.nan] * 3]])
    probabilities = gm.predict_proba(X)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)
    all_ = gm.memberships(X)
    np.testing.assert_array_equal(all_["labels"], gm.predict(X))
    np.testing.assert_array_equal(all_["probabilities"], probabilities)
    np.testing.assert_array_equal(all_["log_density"], gm.score_samples(X))
    np.testing.assert_array_equal(all_["outlier"], gm.tail_probability(X))
    np.testing.assert_array_equal(
        GaussianMixture(3, random_state=0).fit_predict(clusters), gm.predict(clusters)
    )
