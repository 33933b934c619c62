"""Each kernel is reached by the rows that it is for, and finds there what a plain loop finds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from astro_cluster.mixture import compiled
from astro_cluster.mixture.compiled import CompiledEngine
from astro_cluster.mixture.kernels import complete, diagonal, gather, noisy, wide
from astro_cluster.mixture.parameters import Parameters, full_covariances
from astro_cluster.mixture.patterns import Part
from astro_cluster.mixture.rows import NotPositiveDefiniteError, Rows

from . import brute
from .cases import members, random_errors, random_mixture

MODULES = {"complete": complete, "diagonal": diagonal, "gather": gather, "noisy": noisy, "wide": wide}


@pytest.fixture
def used(monkeypatch):
    """Names of the kernels that were asked for."""
    names = set()

    def spied(name, module):
        original = module.kernels

        def kernels(*args):
            names.add(name)
            return original(*args)

        return kernels

    for name, module in MODULES.items():
        monkeypatch.setattr(module, "kernels", spied(name, module))
    return names


def wide_mixture(rng, k, d, *, dependent=False, kind="full"):
    """Return a mixture of many features; if dependent, one of two that are nearly the same."""
    p = random_mixture(rng, k, d, kind, apart=1.0)
    if not dependent:
        return p
    covariances = full_covariances(p).copy()
    covariances[:, 1], covariances[:, :, 1] = covariances[:, 0], covariances[:, :, 0]
    covariances[:, 1, 1] = covariances[:, 0, 0] * (1 + 1e-6)
    return Parameters(p.weights, p.means, covariances, "full")


def rows_of(rng, p, n, holes="scattered", noise="none", *, weighted=True):
    X = members(rng, p, n)
    d = X.shape[1]
    if holes == "scattered":
        X[rng.random(X.shape) < 0.3] = np.nan
    if holes == "patterns":  # one that is common, one that is rare
        X[: n - 20, 2] = np.nan
        X[n - 20 : n - 5, : d // 2] = np.nan
    X[-1] = np.nan
    errors = random_errors(rng, n, d, noise, size=0.4)
    noise = errors**2 if noise == "diagonal" else errors
    return Rows(X, noise, rng.uniform(0.0, 2.0, n) if weighted else None)


def check(rows, p, rtol=1e-9):
    """Compare with the plain loop."""
    engine = CompiledEngine()
    prepared = engine.prepare(rows)
    joint = brute.log_joint(rows.values, rows.noise, p)
    np.testing.assert_allclose(engine.log_joint(prepared, p), joint, rtol=rtol, atol=rtol)
    (found,) = engine.expect(prepared, [p])
    expected = brute.expect(rows.values, rows.noise, rows.weights, p)
    for name, other in zip(("log_likelihood", "mass", "first", "second"), expected, strict=True):
        atol = rtol * np.abs(other).max()
        np.testing.assert_allclose(getattr(found, name), other, rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("d", [9, 12, 35])
@pytest.mark.parametrize(
    ("noise", "dependent", "kernel"),
    [("none", False, "gather"), ("none", True, "wide"), ("diagonal", False, "wide"), ("full", False, "wide")],
)
def test_many_features(used, noise, dependent, kernel, d, k, offset):
    rng = np.random.default_rng([d, k, dependent])
    p = wide_mixture(rng, k, d, dependent=dependent)
    p = Parameters(p.weights, p.means + offset, p.covariances, "full")
    check(rows_of(rng, p, 40, noise=noise), p, rtol=1e-7 if dependent and noise == "none" else 1e-9)
    # The few rows without holes are complete rows, if there are any.
    assert used - {"complete"} == {kernel}


@pytest.mark.parametrize("d", [9, 12])
@pytest.mark.parametrize("noise", ["diagonal", "full"])
def test_many_features_that_depend_on_each_other_and_errors(used, noise, d):
    rng = np.random.default_rng(d)
    p = wide_mixture(rng, 3, d, dependent=True)
    check(rows_of(rng, p, 40, noise=noise), p, rtol=1e-8)
    assert used == {"wide"}


@pytest.mark.parametrize("kind", ["tied", "diag", "spherical"])
@pytest.mark.parametrize("noise", ["none", "diagonal", "full"])
def test_many_features_of_other_kinds(used, kind, noise):
    rng = np.random.default_rng(7)
    p = wide_mixture(rng, 3, 12, kind=kind)
    check(rows_of(rng, p, 40, noise=noise), p)
    independent = kind != "tied" and noise != "full"
    kernel = "diagonal" if independent else "gather" if noise == "none" else "wide"
    assert used - {"complete"} == {kernel}


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("d", [9, 35])
def test_a_common_pattern_goes_to_complete_and_a_rare_one_to_gather(used, d, k):
    rng = np.random.default_rng(d)
    p = wide_mixture(rng, k, d)
    rows = rows_of(rng, p, 300, "patterns")
    engine = CompiledEngine()
    parts, rest = engine.prepare(rows).by_pattern()
    assert sorted(len(part.values) for part in parts) == [4, 280]
    assert rest is not None
    assert len(rest.values) == 16  # with the row that has nothing
    check(rows, p)
    assert used == {"complete", "gather"}


@pytest.mark.parametrize(("count", "kernel"), [(255, "noisy"), (256, "complete")])
def test_how_many_rows_alike_are_a_common_pattern(used, count, kernel):
    rng = np.random.default_rng(8)
    p = random_mixture(rng, 2, 3, "full")
    X = members(rng, p, count)
    X[:, 1] = np.nan
    check(Rows(X), p)
    assert used == {kernel}


def test_complete_rows_of_any_number_go_to_complete(used):
    rng = np.random.default_rng(9)
    p = random_mixture(rng, 2, 3, "full")
    X = members(rng, p, 9)
    X[0, 0] = np.nan
    check(Rows(X), p)
    assert used == {"complete", "noisy"}


@pytest.mark.parametrize("n", [1, 7, 8, 9, 127, 128, 129, 257])
@pytest.mark.parametrize("d", [3, 9])
@pytest.mark.parametrize("holes", ["none", "scattered"])
def test_the_last_rows_of_a_block(n, d, holes):
    """What fills a block up, or a vector, counts nothing."""
    rng = np.random.default_rng(n)
    p = random_mixture(rng, 2, d, "full")
    X = members(rng, p, n)
    if holes == "scattered":
        X[rng.random(X.shape) < 0.4] = np.nan
    check(Rows(X, None, rng.uniform(0.0, 2.0, n)), p)


@pytest.mark.parametrize("n", [0, 1, 127, 128, 2047, 2048, 4095, 4096, 5000, 65_536, 70_000, 10**6])
def test_slabs_are_all_rows_once(n):
    slabs = Part(np.empty((n, 1)), np.empty(0)).slabs()
    assert slabs[0][0] == 0
    assert slabs[-1][1] == n
    assert all(one[1] == other[0] for one, other in itertools.pairwise(slabs))
    assert all(begin % complete.BLOCK == 0 for begin, _ in slabs)
    assert len(slabs) == min(max(n // 2048, 1), 32)


def test_models_that_the_cache_cannot_hold_are_taken_in_turn(monkeypatch):
    rng = np.random.default_rng(10)
    models = [random_mixture(rng, k, 3, "full") for k in (2, 3, 1, 5)]
    engine = CompiledEngine()
    X = members(rng, models[0], 100)
    whole = engine.expect(engine.prepare(Rows(X)), models)
    monkeypatch.setattr(compiled, "_BYTES_OF_MODELS", 8 * 16 * 3)  # three components at a time
    assert [len(group) for group in compiled._in_groups(models, 3)] == [1, 1, 1, 1]
    for one, other in zip(engine.expect(engine.prepare(Rows(X)), models), whole, strict=True):
        np.testing.assert_array_equal(one.second, other.second)
        assert one.log_likelihood == other.log_likelihood


@pytest.mark.parametrize("d", [3, 9])
@pytest.mark.parametrize("noise", ["none", "diagonal", "full"])
def test_a_covariance_that_cannot_be_inverted_is_named_by_its_number_in_its_own_model(noise, d):
    rng = np.random.default_rng(11)
    good, bad = random_mixture(rng, 3, d, "full"), random_mixture(rng, 2, d, "full")
    bad.covariances[1] = -np.eye(d)
    rows = rows_of(rng, good, 30, noise=noise)
    engine = CompiledEngine()
    with pytest.raises(
        NotPositiveDefiniteError, match="of component 1 is not positive definite: raise reg_c"
    ):
        engine.expect(engine.prepare(rows), [good, bad])
