"""How probable it is that a member is as improbable as a row: uniform for members, small for others."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2, kstest

from astro_cluster.mixture import tails
from astro_cluster.mixture.engine import make_engine
from astro_cluster.mixture.parameters import COVARIANCE_TYPES, Parameters

from .cases import as_estimator, members, random_errors, random_mixture

N, D = 1500, 3


def apart(kind="full"):
    """Return a mixture of components that do not overlap."""
    p = random_mixture(np.random.default_rng(1), 3, D, kind, weights=[0.2, 0.3, 0.5])
    return Parameters(p.weights, 100 * np.eye(3), p.covariances, kind)


def drawn(rng, p, n):
    """Return rows of the mixture, by its weights."""
    own = rng.choice(len(p.weights), n, p=p.weights)
    ordered = members(rng, p, n * len(p.weights)).reshape(n, len(p.weights), -1)
    return ordered[np.arange(n), own]


def with_errors(rng, X, errors):
    if errors is None:
        return X
    if errors.ndim == 2:
        return X + errors * rng.normal(size=X.shape)
    roots = np.linalg.cholesky(errors + 1e-12 * np.eye(errors.shape[1]))
    return X + np.einsum("nij,nj->ni", roots, rng.normal(size=X.shape))


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("holes", [False, True])
def test_uniform_for_members(kind, holes):
    rng = np.random.default_rng(2)
    p = random_mixture(rng, 3, D, kind)
    X = drawn(rng, p, N)
    if holes:
        X[rng.random(X.shape) < 0.3] = np.nan
        X = X[~np.isnan(X).all(axis=1)]
    assert kstest(as_estimator(p).tail_probability(X), "uniform").pvalue > 0.01


@pytest.mark.parametrize("noise", ["diagonal", "full"])
@pytest.mark.parametrize("unlike", [10, 400])
def test_uniform_for_members_with_errors(noise, unlike):
    """Of few kinds of errors many rows are drawn, of many kinds few."""
    rng = np.random.default_rng(3)
    p = random_mixture(rng, 3, D, "full")
    errors = random_errors(rng, unlike, D, noise, size=2.0)[rng.integers(0, unlike, N)]
    X = with_errors(rng, drawn(rng, p, N), errors)
    X[:100, 0] = np.nan
    gm = as_estimator(p)
    assert kstest(gm.tail_probability(X, errors=errors), "uniform").pvalue > 0.01
    assert kstest(gm.tail_probability(X), "uniform").pvalue < 1e-6  # without them they are no members


def test_uniform_for_members_of_more_kinds_than_can_be_simulated(monkeypatch):
    rng = np.random.default_rng(4)
    p = apart()
    errors = random_errors(rng, N, D, "diagonal", size=2.0)
    X = with_errors(rng, drawn(rng, p, N), errors)
    X[:300, 1] = np.nan
    monkeypatch.setattr(tails, "can_simulate", lambda n_kinds: False)
    assert kstest(as_estimator(p).tail_probability(X, errors=errors), "uniform").pvalue > 0.01


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("noise", ["none", "diagonal", "full"])
def test_chi_square_and_simulation_agree_for_one_component(monkeypatch, kind, noise):
    """Of several that do not overlap a draw of another may still be more improbable; of one it may not."""
    rng = np.random.default_rng(5)
    p = random_mixture(rng, 1, D, kind)
    errors = random_errors(rng, 8, D, noise, size=1.0)
    errors = None if errors is None else errors[np.arange(400) % 8]
    X = with_errors(rng, drawn(rng, p, 400), errors)
    X[::7, 2] = np.nan
    X[0] = np.nan
    gm = as_estimator(p)
    simulated = gm.tail_probability(X, errors=errors)
    monkeypatch.setattr(tails, "can_simulate", lambda n_kinds: False)
    by_chi_square = gm.tail_probability(X, errors=errors)
    np.testing.assert_allclose(simulated, by_chi_square, atol=0.01)
    assert by_chi_square[0] == simulated[0] == 1.0
    if noise == "none" and kind == "full":
        distance = np.einsum("ni,ij,nj->n", X - p.means, np.linalg.inv(p.covariances[0]), X - p.means)
        whole = ~np.isnan(X).any(axis=1)
        np.testing.assert_allclose(by_chi_square[whole], chi2.sf(distance[whole], D), rtol=1e-9)


def test_chi_square_and_simulation_agree_for_components_alike_that_do_not_overlap(monkeypatch):
    rng = np.random.default_rng(6)
    one = random_mixture(rng, 1, D, "full").covariances
    p = Parameters(np.full(3, 1 / 3), 100 * np.eye(3), np.tile(one, (3, 1, 1)), "full")
    X = drawn(rng, p, 500)
    X[0] = 1e3  # far from all
    gm = as_estimator(p)
    simulated = gm.tail_probability(X)
    monkeypatch.setattr(tails, "can_simulate", lambda n_kinds: False)
    np.testing.assert_allclose(gm.tail_probability(X), simulated, atol=0.01)
    assert simulated[0] == pytest.approx(1 / (tails.MOST_DRAWS + 1))


def test_the_more_probable_of_complete_rows_is_the_less_in_a_tail():
    rng = np.random.default_rng(7)
    p = random_mixture(rng, 3, D, "full")
    X = np.vstack([drawn(rng, p, 500), 20 * rng.normal(size=(50, D))])
    gm = as_estimator(p)
    order = np.argsort(gm.score_samples(X))
    tail = gm.tail_probability(X)
    assert (np.diff(tail[order]) >= 0).all()
    assert tail.min() > 0
    assert tail.max() <= 1
    assert gm.tail_probability(p.means)[np.argmax(gm.score_samples(p.means))] > 0.95


@pytest.mark.parametrize("holes", [False, True])
def test_a_row_with_nothing_observed_is_in_no_tail(holes):
    rng = np.random.default_rng(8)
    p = random_mixture(rng, 2, D, "full")
    X = drawn(rng, p, 20)
    if holes:
        X[rng.random(X.shape) < 0.5] = np.nan
    X[4] = np.nan
    gm = as_estimator(p)
    assert gm.tail_probability(X)[4] == 1.0
    assert gm.tail_probability(X[[4]])[0] == 1.0
    assert gm.tail_probability(X, errors=np.full(X.shape, 0.1))[4] == 1.0
    assert gm.tail_probability(X, errors=np.tile(0.1 * np.eye(D), (20, 1, 1)))[4] == 1.0


def test_the_same_each_time_and_for_some_of_the_rows():
    rng = np.random.default_rng(9)
    p = random_mixture(rng, 3, D, "full")
    X = drawn(rng, p, 300)
    gm = as_estimator(p)
    whole = gm.tail_probability(X)
    np.testing.assert_array_equal(gm.tail_probability(X), whole)
    np.testing.assert_array_equal(as_estimator(p).tail_probability(X), whole)
    some = rng.permutation(300)[:50]
    np.testing.assert_array_equal(gm.tail_probability(X[some]), whole[some])
    np.random.default_rng(0).normal(size=5)
    np.random.seed(3)  # noqa: NPY002 - what others do with the global state is theirs
    np.testing.assert_array_equal(gm.tail_probability(X), whole)


def test_some_of_the_rows_say_what_all_say_where_there_are_holes_to_what_draws_allow():
    rng = np.random.default_rng(10)
    p = random_mixture(rng, 3, 5, "full")
    X = drawn(rng, p, 400)
    X[rng.random(X.shape) < 0.3] = np.nan
    gm = as_estimator(p)
    some = np.arange(40)
    np.testing.assert_allclose(gm.tail_probability(X[some]), gm.tail_probability(X)[some], atol=0.02)


def test_what_stands_for_the_error_of_a_missing_value_is_no_kind_of_its_own():
    rng = np.random.default_rng(11)
    p = random_mixture(rng, 2, D, "full")
    X = drawn(rng, p, 60)
    X[:, 1] = np.nan
    errors = np.full(X.shape, 0.3)
    gm = as_estimator(p)
    expected = gm.tail_probability(X, errors=errors)
    errors[:, 1] = rng.choice([np.nan, -1.0, np.inf, 7.0], 60)
    np.testing.assert_array_equal(gm.tail_probability(X, errors=errors), expected)
    matrices = np.tile(0.09 * np.eye(D), (60, 1, 1))
    matrices[:, 1], matrices[:, :, 1] = np.nan, -3.0
    np.testing.assert_allclose(gm.tail_probability(X, errors=matrices), expected, atol=0.01)


def test_errors_of_zero_are_no_errors():
    rng = np.random.default_rng(12)
    p = random_mixture(rng, 2, D, "full")
    X = drawn(rng, p, 60)
    gm = as_estimator(p)
    np.testing.assert_allclose(
        gm.tail_probability(X, errors=np.zeros(X.shape)), gm.tail_probability(X), atol=1e-4
    )


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_engines_find_the_same(engine):
    if engine == "torch":
        pytest.importorskip("torch", reason="torch is not installed: TorchEngine is NOT tested")
    rng = np.random.default_rng(13)
    p = random_mixture(rng, 2, D, "full")
    X = drawn(rng, p, 60)
    X[::3, 1] = np.nan
    one, other = as_estimator(p), as_estimator(p).set_params(engine=engine)
    np.testing.assert_allclose(other.tail_probability(X), one.tail_probability(X), atol=1e-4)


def test_weights_that_single_precision_has_rounded():
    weights = np.array([1 / 3, 1 / 3, 1 / 3], dtype=np.float32) * np.float32(1.000001)
    p = Parameters(weights.astype(float), np.zeros((3, 1)), np.ones((3, 1, 1)), "full")
    assert as_estimator(p).tail_probability([[1.959964]])[0] == pytest.approx(0.05, abs=0.005)


def test_no_rows():
    p = random_mixture(np.random.default_rng(0), 2, D, "full")
    empty = tails.Rows(np.empty((0, D)))
    found, draws = tails.tail_probability(empty, make_engine(), p, np.empty(0), np.empty((0, 2)))
    assert found.shape == (0,)
    assert draws == 0


def test_how_many_kinds_can_be_simulated():
    assert tails.can_simulate(1)
    assert tails.can_simulate(4000)
    assert not tails.can_simulate(4001)
