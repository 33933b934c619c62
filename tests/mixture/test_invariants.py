"""What must not change a fit, or must change it in a known way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astro_cluster import GaussianMixture
from astro_cluster.mixture.parameters import COVARIANCE_TYPES, Parameters

from .cases import (
    as_estimator,
    assert_identical_fit,
    assert_same_fit,
    fixed_steps,
    members,
    punched,
    random_errors,
    random_mixture,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

D = 3
often = settings(max_examples=25, deadline=None)
now_and_then = settings(max_examples=6, deadline=None)


@dataclass(repr=False)
class Case:
    """Rows with errors and weights, and a mixture to start from."""

    rng: np.random.Generator
    parameters: Parameters
    X: np.ndarray
    errors: np.ndarray | None
    weights: np.ndarray | None

    def fit(self, *, start=None, index=slice(None), X=None, errors=None, weights=None, **options):
        X = self.X if X is None else X
        errors = self.errors if errors is None else errors
        weights = self.weights if weights is None else weights
        return fixed_steps(start or self.parameters, **options).fit(
            X[index],
            errors=None if errors is None else errors[index],
            sample_weight=None if weights is None else weights[index],
        )


@st.composite
def cases(draw, kinds=COVARIANCE_TYPES, errors=("none", "diagonal", "full"), weighted=None, d=D):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parameters = random_mixture(rng, draw(st.integers(1, 3)), d, draw(st.sampled_from(kinds)))
    n = 40 * len(parameters.weights)
    X = members(rng, parameters, n)
    if draw(st.booleans()):
        X = punched(rng, X, 0.25)
    has_weights = draw(st.booleans()) if weighted is None else weighted
    return Case(
        rng,
        parameters,
        X,
        random_errors(rng, n, d, draw(st.sampled_from(errors))),
        rng.uniform(0.2, 3.0, n) if has_weights else None,
    )


# ---------------------------------------------------------------- from a given start


@often
@given(case=cases())
def test_order_of_rows(case):
    assert_same_fit(case.fit(index=case.rng.permutation(len(case.X))), case.fit())


@often
@given(case=cases())
def test_order_of_columns(case):
    p, order = case.parameters, case.rng.permutation(D)

    def turned(covariances):
        if p.covariance_type == "spherical":
            return covariances
        return covariances[..., order] if p.diagonal else covariances[..., order, :][..., order]

    start = Parameters(p.weights, p.means[:, order], turned(p.covariances), p.covariance_type)
    errors = case.errors
    if errors is not None:
        errors = errors[:, order] if errors.ndim == 2 else errors[:, order][:, :, order]
    one, other = case.fit(), case.fit(start=start, X=case.X[:, order], errors=errors)
    one.means_, one.covariances_ = one.means_[:, order], turned(one.covariances_)
    assert_same_fit(other, one)


@often
@given(case=cases(weighted=False))
def test_a_repeated_row_is_a_row_of_weight_2(case):
    times = case.rng.integers(1, 4, len(case.X))
    repeated = case.fit(index=np.repeat(np.arange(len(case.X)), times))
    assert_same_fit(repeated, case.fit(weights=times.astype(float)))


@often
@given(case=cases())
def test_scale_and_shift(case):
    p = case.parameters
    scale = np.exp(case.rng.uniform(-5, 5, D)) * case.rng.choice([-1.0, 1.0], D)
    if p.covariance_type == "spherical":
        scale = np.full(D, scale[0])
    shift = case.rng.normal(0, 10, D) * scale

    def scaled(covariances):
        if p.covariance_type == "spherical":
            return covariances * scale[0] ** 2
        return covariances * scale**2 if p.diagonal else covariances * np.outer(scale, scale)

    start = Parameters(p.weights, p.means * scale + shift, scaled(p.covariances), p.covariance_type)
    errors = case.errors
    if errors is not None:
        errors = errors * np.abs(scale) if errors.ndim == 2 else errors * np.outer(scale, scale)
    one = case.fit(reg_covar=0.0)
    other = case.fit(start=start, X=case.X * scale + shift, errors=errors, reg_covar=0.0)
    # Back, each in its own unit, so that the smallest feature counts as well as the largest.
    other.means_ = (other.means_ - shift) / scale
    ratio = scaled(np.ones_like(one.covariances_))
    other.covariances_ = other.covariances_ / ratio
    weights = np.ones(len(case.X)) if case.weights is None else case.weights
    logs = (~np.isnan(case.X) * np.log(np.abs(scale))).sum(axis=1)
    other.lower_bounds_ = other.lower_bounds_ + np.average(logs, weights=weights)
    assert_same_fit(other, one, rtol=1e-7)


@often
@given(case=cases(errors=("none",)), full=st.booleans())
def test_errors_of_zero_are_no_errors(case, full):
    zeros = np.zeros((len(case.X), D, D) if full else (len(case.X), D))
    assert_same_fit(case.fit(errors=zeros), case.fit())


@often
@given(case=cases(errors=("diagonal", "full")))
def test_a_value_with_a_huge_error_is_a_missing_one(case):
    blurred = (case.rng.random(case.X.shape) < 0.2) & ~np.isnan(case.X)
    blurred[:, 0] = False
    errors = case.errors.copy()
    if errors.ndim == 2:
        errors[blurred] = 1e8
    else:
        row, column = np.nonzero(blurred)
        errors[row, column] = errors[row, :, column] = 0.0
        errors[row, column, column] = 1e16
    one, other = case.fit(errors=errors), case.fit(X=np.where(blurred, np.nan, case.X))
    for name in ("weights_", "means_", "covariances_"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-7, atol=1e-7)
    # Such a value is as improbable as a uniform distribution so wide makes it.
    weights = np.ones(len(case.X)) if case.weights is None else case.weights
    lost = np.average(blurred.sum(axis=1) * np.log(1e8 * np.sqrt(2 * np.pi)), weights=weights)
    np.testing.assert_allclose(np.add(one.lower_bounds_, lost), other.lower_bounds_, rtol=1e-7)


@often
@given(case=cases(weighted=True))
def test_a_row_of_weight_0_is_not_there(case):
    kept = case.rng.random(len(case.X)) < 0.8
    one = case.fit(weights=np.where(kept, case.weights, 0.0))
    assert_identical_fit(one, case.fit(index=np.flatnonzero(kept)))


@often
@given(case=cases(weighted=True), factor=st.floats(1e-6, 1e6))
def test_the_unit_of_weights_matters_to_bic_alone(case, factor):
    one, other = case.fit(), case.fit(weights=case.weights * factor)
    assert_same_fit(other, one)
    here = dict(errors=case.errors, sample_weight=case.weights)
    there = dict(errors=case.errors, sample_weight=case.weights * factor)
    assert other.score(case.X, **there) == pytest.approx(one.score(case.X, **here), rel=1e-8)
    n, free = case.weights.sum(), one._n_parameters()
    total = n * one.score(case.X, **here)
    assert one.bic(case.X, **here) == pytest.approx(-2 * total + free * np.log(n))
    assert other.bic(case.X, **there) == pytest.approx(-2 * factor * total + free * np.log(factor * n))
    assert one.aic(case.X, **here) == pytest.approx(-2 * total + 2 * free)


# ---------------------------------------------------------------- densities


@often
@given(case=cases(d=5))
def test_columns_of_nan_are_columns_left_out(case):
    p, keep = case.parameters, [0, 1, 3]
    X = case.X.copy()
    X[:, [2, 4]] = np.nan
    covariances = p.covariances
    if p.covariance_type != "spherical":
        covariances = covariances[..., keep] if p.diagonal else covariances[..., keep, :][..., keep]
    whole = as_estimator(p)
    marginal = as_estimator(Parameters(p.weights, p.means[:, keep], covariances, p.covariance_type))
    errors = less = case.errors
    if errors is not None:
        less = errors[:, keep] if errors.ndim == 2 else errors[:, keep][:, :, keep]
    for method in ("score_samples", "predict_proba"):
        one = getattr(whole, method)(X, errors=errors)
        other = getattr(marginal, method)(X[:, keep], errors=less)
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-8)


# ---------------------------------------------------------------- from starts that are looked for


@dataclass(repr=False)
class Search:
    """Rows of two clear clusters and a diffuse one."""

    rng: np.random.Generator
    X: np.ndarray
    weights: np.ndarray

    def fit(self, X=None, weights=None, **options):
        X = self.X if X is None else X
        gm = GaussianMixture(3, random_state=5, tol=0.0, max_iter=10, **options)
        gm.fit(X, sample_weight=weights)
        # Two short runs may be the best one but for rounding, and differ in the order of components.
        order = np.argsort(gm.means_[:, 0])
        gm.weights_, gm.means_ = gm.weights_[order], gm.means_[order]
        if gm.covariance_type != "tied":
            gm.covariances_ = gm.covariances_[order]
        return gm


@st.composite
def searches(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parameters = random_mixture(rng, 3, D, "full", apart=5.0)
    X = punched(rng, members(rng, parameters, 150), 0.1)
    return Search(rng, X, rng.integers(1, 4, len(X)).astype(float))


@now_and_then
@given(case=searches())
def test_search_does_not_see_the_order_of_rows(case):
    order = case.rng.permutation(len(case.X))
    one, other = case.fit(weights=case.weights), case.fit(case.X[order], case.weights[order])
    assert_same_fit(other, one, rtol=1e-6)


@now_and_then
@given(case=searches())
def test_search_takes_weights_for_repetitions(case):
    repeated = np.repeat(case.X, case.weights.astype(int), axis=0)
    assert_same_fit(case.fit(repeated), case.fit(weights=case.weights), rtol=1e-6)
    assert_same_fit(case.fit(weights=1024 * case.weights), case.fit(weights=case.weights), rtol=1e-6)


@now_and_then
@given(case=searches())
def test_search_does_not_see_rows_of_weight_0(case):
    kept = case.rng.random(len(case.X)) < 0.8
    one = case.fit(weights=np.where(kept, case.weights, 0.0))
    assert_identical_fit(one, case.fit(case.X[kept], case.weights[kept]))


@now_and_then
@given(case=searches())
def test_search_does_not_see_units(case):
    scale = 2.0 ** case.rng.integers(-6, 7, D)  # exact, so that no decision hangs on rounding
    options = dict(covariance_type="tied", reg_covar=0.0)
    one, other = case.fit(**options), case.fit(case.X * scale, **options)
    np.testing.assert_allclose(other.means_ / scale, one.means_, rtol=1e-6)
    np.testing.assert_allclose(other.covariances_ / np.outer(scale, scale), one.covariances_, rtol=1e-6)
    np.testing.assert_allclose(other.weights_, one.weights_, rtol=1e-6)
