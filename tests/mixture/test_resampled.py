"""The bootstrap of a mixture: by brute force, at its ends, whatever the threads and the weights."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from astro_cluster import GaussianMixture
from astro_cluster.mixture.engine import Dataset
from astro_cluster.mixture.resampled import _Memberships, aligned, bootstrap, contingency
from astro_cluster.mixture.rows import NotPositiveDefiniteError


def blobs(apart: float, *, rows: int = 150, d: int = 2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(centre, 1.0, (rows, d)) for centre in (0.0, apart)])


def test_groups_far_apart_do_not_move():
    X = blobs(30.0)
    mixture = GaussianMixture(2, random_state=0).fit(X)
    found = bootstrap(mixture, X, 20, random_state=0)
    assert found.spread.max() < 1e-12
    assert found.co_assignment.tolist() == [1.0] * 300


def test_groups_that_overlap_do():
    X = blobs(2.0)
    mixture = GaussianMixture(2, random_state=0).fit(X)
    found = bootstrap(mixture, X, 20, random_state=0)
    assert found.spread.mean() > 0.01
    assert 0.5 < found.co_assignment.mean() < 0.99
    # Rows between the groups move most.
    between = np.abs(X.sum(axis=1) - 2.0) < 0.5
    assert np.median(found.spread[between]) > 3 * np.median(found.spread[~between])
    assert found.co_assignment[between].mean() < found.co_assignment[~between].mean()


def test_the_fitted_mixture_stays_as_it_was():
    X = blobs(3.0)
    mixture = GaussianMixture(2, random_state=0).fit(X)
    before = {name: np.copy(getattr(mixture, name)) for name in ("weights_", "means_", "covariances_")}
    bootstrap(mixture, X, 3, random_state=0)
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(mixture, name), value)


# ---------------------------------------------------------------- by brute force


labelings = st.integers(1, 4).flatmap(
    lambda k: st.tuples(
        st.just(k),
        st.lists(
            st.lists(st.integers(0, k - 1), min_size=6, max_size=6), min_size=3, max_size=6
        ),  # the first is that of the fit
    )
)


def joint_of(labels: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    joint = rng.normal(size=(len(labels), k))
    joint[np.arange(len(labels)), labels] = 5 + rng.random(len(labels))
    return joint


@given(labelings, st.integers(0, 100))
def test_spread_and_co_assignment_by_brute_force(case, seed):
    k, (labels, *fits) = case
    labels, n, rng = np.array(labels), 6, np.random.default_rng(seed)
    memberships = _Memberships(joint_of(labels, k, rng))
    joints = [joint_of(np.array(fit), k, rng) for fit in fits]
    for joint in joints:
        memberships.add(joint)
    found = memberships.result()
    for i in range(n):
        members = [j for j in range(n) if j != i and labels[j] == labels[i]]
        shares = [np.mean([fit[i] == fit[j] for fit in fits]) for j in members]
        assert found.co_assignment[i] == pytest.approx(np.mean(shares) if shares else np.nan, nan_ok=True)
    probabilities = []
    for joint, fit in zip(joints, fits, strict=True):
        order = list(aligned(contingency(labels, np.array(fit), k)))
        probabilities.append(np.exp(joint - logsumexp(joint, axis=1, keepdims=True))[:, order])
    np.testing.assert_allclose(found.spread, np.std(probabilities, axis=0, ddof=1), atol=1e-12)


@given(st.integers(1, 5).flatmap(lambda k: st.lists(st.integers(0, k - 1), min_size=1, max_size=30)))
def test_alignment_is_the_best_of_all(labels):
    labels = np.array(labels)
    k = int(labels.max()) + 1
    found = np.random.default_rng(len(labels)).integers(0, k, len(labels))
    table = contingency(labels, found, k)
    order = aligned(table)
    assert sorted(order) == list(range(k))
    agreeing = max(sum(table[i, p[i]] for i in range(k)) for p in itertools.permutations(range(k)))
    assert table[np.arange(k), order].sum() == agreeing


@given(st.permutations(range(5)), st.integers(0, 1000))
def test_swapped_components_change_nothing(order, seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(5), rng.integers(0, 5, 30)])  # each has a row
    joints = [joint_of(labels, 5, rng) for _ in range(3)]
    straight, swapped = _Memberships(joints[0]), _Memberships(joints[0])
    for joint in joints:
        straight.add(joint)
        swapped.add(joint[:, list(order)])
    one, other = straight.result(), swapped.result()
    np.testing.assert_allclose(one.spread, other.spread, atol=1e-14)
    np.testing.assert_array_equal(one.co_assignment, other.co_assignment)


def test_clusters_without_rows_keep_their_number():
    assert aligned(np.zeros((4, 4), int)).tolist() == [0, 1, 2, 3]
    assert aligned(np.diag([0, 7, 0, 2])).tolist() == [0, 1, 2, 3]


# ---------------------------------------------------------------- rows and samples


def test_a_sample_is_the_rows_as_often_as_they_were_drawn():
    """The refit to counts as weights is the fit to the repeated rows."""
    X = blobs(3.0)
    mixture = GaussianMixture(2, random_state=0, tol=1e-6, max_iter=500).fit(X)
    probabilities = []
    for stream in np.random.SeedSequence(9).spawn(2):
        drawn = np.random.default_rng(stream).integers(len(X), size=len(X))
        again = GaussianMixture(
            2,
            weights_init=mixture.weights_,
            means_init=mixture.means_,
            precisions_init=mixture.precisions_,
            tol=1e-6,
            max_iter=500,
        ).fit(X[np.sort(drawn)])
        probabilities.append(again.predict_proba(X))
    found = bootstrap(mixture, X, 2, random_state=9)
    np.testing.assert_allclose(found.spread, np.std(probabilities, axis=0, ddof=1), atol=1e-6)


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_engines_and_threads_agree(kind, engine):
    X = blobs(2.5, rows=400, d=3)
    X[np.random.default_rng(1).random(X.shape) < 0.1] = np.nan
    found = []
    for n_jobs in (1, 2, None):
        mixture = GaussianMixture(
            2, covariance_type=kind, random_state=0, engine=engine, n_jobs=n_jobs, max_iter=300
        ).fit(X)
        found.append(bootstrap(mixture, X, 3, random_state=5))
    for one in found[1:]:
        np.testing.assert_array_equal(one.spread, found[0].spread)
        np.testing.assert_array_equal(one.co_assignment, found[0].co_assignment)


def test_the_same_seed_gives_the_same_numbers_and_another_does_not():
    X = blobs(2.5)
    mixture = GaussianMixture(2, random_state=0).fit(X)
    one, same, other = (bootstrap(mixture, X, 4, random_state=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.spread, same.spread)
    assert not np.array_equal(one.spread, other.spread)


def test_a_row_of_weight_zero_is_never_drawn_and_is_judged():
    X = blobs(3.0)
    weights = np.r_[np.ones(300), np.zeros(3)]
    more = np.concatenate([X, [[-50.0, 90.0], [0.0, 0.0], [np.nan, np.nan]]])
    mixture = GaussianMixture(2, random_state=0).fit(X)
    plain = bootstrap(mixture, X, 5, random_state=0)
    found = bootstrap(mixture, more, 5, sample_weight=weights, random_state=0)
    np.testing.assert_allclose(found.spread[:300], plain.spread, atol=1e-9)
    assert np.isfinite(found.spread).all()
    assert found.spread[301].max() < 0.1  # in the midst of a group


def test_weights_count_and_errors_blur():
    X = blobs(3.0)
    mixture = GaussianMixture(2, random_state=0).fit(X)
    spreads = {
        name: np.median(bootstrap(mixture, X, 10, random_state=0, **options).spread)
        for name, options in {
            "bare": {},
            "ones": {"sample_weight": np.ones(300)},
            "exact": {"errors": np.zeros(X.shape)},
            "few": {"sample_weight": np.where(np.arange(300) % 10 == 0, 1.0, 1e-3)},
        }.items()
    }
    assert spreads["ones"] == spreads["bare"]
    assert spreads["exact"] == pytest.approx(spreads["bare"], rel=1e-6)
    assert spreads["few"] > 1.5 * spreads["bare"]  # what one tenth of the rows knows


def test_a_mixture_whose_component_was_removed(monkeypatch):
    X = blobs(6.0)
    two = GaussianMixture(2, random_state=0).fit(X)
    three = GaussianMixture.from_parameters(
        np.r_[two.weights_, 0.0], np.vstack([two.means_, [[0.0, 0.0]]]), [*two.covariances_, np.eye(2)]
    )
    found = bootstrap(three, X, 4, random_state=0)
    assert found.spread.shape == (300, 3)
    assert found.spread[:, 2].max() == 0.0


def test_each_sample_is_told_and_can_stop_it():
    X = blobs(6.0)
    mixture = GaussianMixture(2, random_state=0).fit(X)
    told = []
    bootstrap(mixture, X, 3, random_state=0, on_sample=lambda number, total: told.append((number, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]

    def stop(number, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bootstrap(mixture, X, 3, on_sample=stop)


def test_what_cannot_be_bootstrapped():
    X = blobs(6.0)
    mixture = GaussianMixture(2, random_state=0).fit(X)
    with pytest.raises(ValueError, match="draw 2 or more"):
        bootstrap(mixture, X, 1)
    with pytest.raises(ValueError, match="read in chunks cannot be bootstrapped"):
        bootstrap(mixture, lambda: iter([X]), 2)
    with pytest.raises(ValueError, match="features"):
        bootstrap(mixture, X[:, :1], 2)


def test_a_failure_names_its_sample(monkeypatch):
    X = blobs(6.0)
    mixture = GaussianMixture(2, random_state=0).fit(X)
    calls = iter(range(100))
    plain = Dataset.expect

    def fails_later(self, models):
        if next(calls) == 6:
            raise NotPositiveDefiniteError("the covariance of component 1 is not positive definite")
        return plain(self, models)

    monkeypatch.setattr(Dataset, "expect", fails_later)
    with pytest.raises(ValueError, match=r"bootstrap sample \d of 5: the covariance of component 1"):
        bootstrap(mixture, X, 5, random_state=0)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3), st.integers(2, 4), st.integers(0, 1000))
def test_bounds_whatever_the_rows(k, d, seed):
    """Spread is at most that of a coin, the shares are shares, and one component has no doubt."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(60, d))
    X[rng.random(X.shape) < 0.2] = np.nan
    mixture = GaussianMixture(k, random_state=0, max_iter=5, tol=1.0).fit(X)
    found = bootstrap(mixture, X, 3, random_state=seed)
    assert (found.spread >= 0).all()
    assert (found.spread <= np.sqrt(1 / 3) + 1e-12).all()
    known = found.co_assignment[~np.isnan(found.co_assignment)]
    assert ((known >= 0) & (known <= 1)).all()
    if k == 1:
        assert found.spread.max() == 0
        assert known.tolist() == [1.0] * 60
