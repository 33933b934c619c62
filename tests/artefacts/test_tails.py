"""Evidence is the share of rows in the bulk, and an exponential tail beyond it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astro_cluster.artefacts.tails import DIRECTIONS, STRONGEST, evidence_of, tail_shares
from astro_cluster.exceptions import InputError

values = st.lists(st.one_of(st.integers(-3, 3).map(float), st.just(float("nan"))), min_size=1, max_size=30)


@settings(deadline=None)
@given(values)
def test_shares_are_those_of_a_loop(items: list[float]):
    seen = [item for item in items if item == item]
    for item, found in zip(items, tail_shares(np.array(items)), strict=True):
        if item != item:
            assert np.isnan(found)
        else:
            assert found == pytest.approx(sum(other >= item for other in seen) / len(seen))


@settings(deadline=None)
@given(values, st.sampled_from(DIRECTIONS))
def test_evidence_is_never_negative_and_grows_with_the_value(items: list[float], direction: str):
    x = np.array(items)
    found = evidence_of(x, direction)
    assert (np.isnan(found) == np.isnan(x)).all()
    assert (found[~np.isnan(x)] >= 0).all()
    if direction != "both":
        order = np.argsort(x[~np.isnan(x)] * (1 if direction == "high" else -1), kind="stable")
        assert (np.diff(found[~np.isnan(x)][order]) >= 0).all()


@settings(deadline=None)
@given(st.lists(st.integers(-50, 50), min_size=2, max_size=40), st.sampled_from(DIRECTIONS))
def test_factors_and_offsets_do_not_matter(items: list[int], direction: str):
    x = np.array(items, dtype=float)
    np.testing.assert_allclose(evidence_of(x, direction), evidence_of(4 * x - 8, direction), atol=1e-9)
    mirrored = {"high": "low", "low": "high", "both": "both"}[direction]
    np.testing.assert_allclose(evidence_of(x, direction), evidence_of(-x, mirrored), atol=1e-9)


def test_exponential_values_have_the_evidence_of_their_distribution():
    x = np.random.default_rng(1).exponential(size=100_000)
    found = evidence_of(x) / 1.1  # a tenth is of the rank
    true = x / np.log(10)
    inside = true < STRONGEST - 0.2
    np.testing.assert_allclose(found[inside], true[inside], atol=0.05)
    assert found.max() < STRONGEST + 0.5


def test_bounded_values_are_never_strong_evidence_and_a_few_odd_ones_are():
    x = np.random.default_rng(2).uniform(size=1000)
    assert evidence_of(x).max() < 1.6
    x[3] = 4.0
    assert evidence_of(x)[3] >= STRONGEST
    assert np.sort(evidence_of(x))[-2] < 1.6


def test_a_column_that_is_the_same_nearly_everywhere():
    x = np.zeros(100)
    assert (evidence_of(x) == 0).all()
    x[[5, 6]] = 0.01, 0.02
    found = evidence_of(x)
    assert STRONGEST < found[5] < found[6]
    assert (np.delete(found, [5, 6]) < 0.001).all()


def test_the_largest_floats_do_no_harm():
    big = np.finfo(float).max
    found = evidence_of(np.r_[np.arange(20.0), big, -big], "both")
    assert np.isfinite(found).all()
    assert set(np.argsort(found)[-2:]) == {20, 21}


def test_an_unknown_direction_is_refused():
    with pytest.raises(InputError, match="'up' is not known; give one of high, low, both"):
        evidence_of(np.zeros(3), "up")


def test_a_tail_may_go_on_farther():
    x = np.r_[np.random.default_rng(1).exponential(size=1000), 12.0, 40.0]
    near, far = evidence_of(x), evidence_of(x, strongest=6.0)
    assert near[-2] == pytest.approx(STRONGEST + 0.1 * np.log10(1002 / 2))
    # Of an exponential distribution, exp(-12) of the values are beyond 12.
    assert far[-2] == pytest.approx(12 / np.log(10) + 0.1 * np.log10(1002 / 2), rel=0.1)
    assert far[-1] == pytest.approx(6 + 0.1 * np.log10(1002))
    np.testing.assert_array_equal(near[x < 3], far[x < 3])
