"""Rank correlations are scipy's, and their intervals hold the truth as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from astro_cluster.relating.ranks import (
    bootstrap_spread,
    fisher_spread,
    interval_of,
    p_values,
    spearman,
)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(5, 60), st.integers(2, 9))
def test_correlations_and_p_values_are_those_of_scipy(seed, n, kinds):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, kinds, (n, 2)).astype(float)  # many ties
    y = np.column_stack([x[:, 0] + rng.normal(size=n), rng.integers(0, kinds, n)])
    found = spearman(x, y)
    for i in range(2):
        for j in range(2):
            if len(np.unique(x[:, i])) < 2 or len(np.unique(y[:, j])) < 2:
                assert np.isnan(found[i, j])
                continue
            known = stats.spearmanr(x[:, i], y[:, j])
            assert found[i, j] == pytest.approx(known.statistic, abs=1e-12)
            assert p_values(found[i, j], n) == pytest.approx(known.pvalue, rel=1e-6, abs=1e-12)


def test_the_bootstrap_is_the_plain_one():
    rng = np.random.default_rng(3)
    x = np.round(rng.normal(size=(40, 2)), 1)
    y = np.round(x[:, :1] + rng.normal(size=(40, 1)), 1)
    found = bootstrap_spread(x, y, np.arange(40), 50, 7)
    draws = np.random.default_rng(7)
    z = []
    for _ in range(50):
        rows = draws.integers(40, size=40)
        z.append([np.arctanh(stats.spearmanr(x[rows, i], y[rows, 0]).statistic) for i in range(2)])
    np.testing.assert_allclose(found[:, 0], np.std(z, axis=0, ddof=1), rtol=1e-10)


def test_rows_of_one_object_are_drawn_together():
    rng = np.random.default_rng(4)
    x, noise = rng.normal(size=(60, 1)), rng.normal(size=(60, 1))
    y = x + noise
    alone = bootstrap_spread(x, y, np.arange(60), 300, 1)
    often = np.repeat(np.arange(60), 4)
    together = bootstrap_spread(x[often], y[often], often, 300, 1)
    apart = bootstrap_spread(x[often], y[often], np.arange(240), 300, 1)
    assert together == pytest.approx(alone, rel=0.02)  # the same objects are drawn
    assert apart < 0.6 * together


def test_the_formula_is_that_of_bonett_and_wright():
    assert fisher_spread(np.array(0.6), 50) == pytest.approx(np.sqrt((1 + 0.18) / 47))
    low, high = interval_of(np.array(0.6), fisher_spread(np.array(0.6), 50))
    assert (np.arctanh(high) - np.arctanh(low)) / 2 == pytest.approx(1.959964 * np.sqrt(1.18 / 47))
    assert np.isinf(fisher_spread(np.array(0.6), 3))
    assert [float(end) for end in interval_of(np.array(0.6), np.array(np.inf))] == [-1, 1]


def _coverage(make, truth: float, spread, n: int = 80, times: int = 250) -> float:
    rng = np.random.default_rng(11)
    inside = 0
    for i in range(times):
        x, y = (values[:, np.newaxis] for values in make(rng, n))
        rho = spearman(x, y)
        low, high = interval_of(rho, spread(x, y, rho, i))
        inside += bool(low[0, 0] <= truth <= high[0, 0])
    return inside / times


def _by_samples(x, y, rho, seed):
    return bootstrap_spread(x, y, np.arange(len(x)), 120, seed)


def _by_formula(x, y, rho, seed):
    return fisher_spread(rho, len(x))


def _independent(rng, n):
    return rng.normal(size=n), np.exp(rng.normal(size=n))


def _fan(rng, n):
    """No correlation, but a scatter that grows: the formula knows nothing of that."""
    x = rng.normal(size=n)
    return x, np.abs(x) * rng.normal(size=n)


def test_intervals_hold_the_truth_as_often_as_they_say():
    # 250 trials at 95 % scatter by 1.4 %.
    assert 0.91 <= _coverage(_independent, 0.0, _by_samples) <= 0.985
    assert 0.91 <= _coverage(_independent, 0.0, _by_formula) <= 0.985
    assert 0.90 <= _coverage(_fan, 0.0, _by_samples) <= 0.985
    assert _coverage(_fan, 0.0, _by_formula) < 0.915  # which is why it is not the default


def test_p_values_are_even_where_there_is_no_relation():
    rng = np.random.default_rng(5)
    rho = spearman(rng.normal(size=(50, 40)), rng.normal(size=(50, 50)))
    assert stats.kstest(p_values(rho, 50)[::7].ravel(), "uniform").pvalue > 0.01


def test_extremes():
    x = np.arange(10.0)[:, np.newaxis]
    assert spearman(x, -(x**3))[0, 0] == -1
    assert p_values(np.array([1.0]), 10)[0] == 0
    assert np.isnan(p_values(np.array([1.0]), 2)[0])
    spread = bootstrap_spread(x, x, np.arange(10), 30, 1)
    np.testing.assert_allclose(interval_of(np.array([[1.0]]), spread), 1.0, atol=1e-9)
    assert np.isnan(bootstrap_spread(x, np.ones((10, 1)), np.arange(10), 20, 1)[0, 0])
