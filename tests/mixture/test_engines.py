"""Every engine finds what a plain loop over the rows finds, whatever is missing or uncertain."""

from __future__ import annotations

import functools
import itertools
import sys

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from astro_cluster.mixture.compiled import CompiledEngine
from astro_cluster.mixture.parameters import COVARIANCE_TYPES, Parameters, full_covariances
from astro_cluster.mixture.reference import NumpyEngine
from astro_cluster.mixture.rows import NotPositiveDefiniteError, Rows
from astro_cluster.mixture.torch_engine import TorchEngine

from . import brute


def torch_engine():
    pytest.importorskip("torch", reason="torch is not installed: TorchEngine is NOT tested")
    return TorchEngine()


ENGINES = {"numba": CompiledEngine, "numpy": NumpyEngine, "torch": torch_engine}
HOLES = ("complete", "scattered", "patterns", "empty row")
NOISES = ("no noise", "diagonal noise", "full noise")
FEATURES = (1, 3, 5)  # the numbers for which kernels are compiled here; a few tests have many features
# What treats the two shapes of covariances and of errors in its own way, for tests of what holds for all.
PAIRS = (
    ("full", "no noise"),
    ("tied", "full noise"),
    ("diag", "diagonal noise"),
    ("spherical", "full noise"),
)


@pytest.fixture(params=ENGINES)
def engine(request):
    return ENGINES[request.param]()


def random_mixture(rng, k, d, kind):
    a = rng.normal(size=(k, d, d))
    full = a @ a.transpose(0, 2, 1) + 0.3 * np.eye(d)
    covariances = {
        "full": full,
        "tied": full[0],
        "diag": np.einsum("kii->ki", full).copy(),
        "spherical": np.einsum("kii->k", full) / d,
    }[kind]
    return Parameters(rng.dirichlet(np.full(k, 3.0)), 3 * rng.normal(size=(k, d)), covariances, kind)


def punch(rng, values, holes):
    """Put NaN into values, in place."""
    n, d = values.shape
    match holes:
        case "scattered":
            values[rng.random((n, d)) < 0.35] = np.nan
        case "patterns":  # some rows without anything, should a pattern be so
            patterns = rng.random((3, d)) < 0.4
            patterns[0] = False
            values[patterns[rng.integers(0, 3, n)]] = np.nan
        case "empty row":
            values[n // 2] = np.nan


def random_noise(rng, values, kind):
    """Return errors from far below to far above the width of a component, and garbage at the holes."""
    n, d = values.shape
    missing = np.isnan(values)
    size = 10.0 ** rng.uniform(-3, 1, (n, 1))
    match kind:
        case "no noise":
            return None
        case "diagonal noise":
            noise = (size * rng.uniform(0.5, 2.0, (n, d))) ** 2
            noise[missing] = rng.choice([np.nan, -1.0, np.inf, 7.0], missing.sum())
            return noise
    a = size[:, :, np.newaxis] * rng.normal(size=(n, d, d))
    noise = a @ a.transpose(0, 2, 1)
    unknown = missing[:, :, np.newaxis] | missing[:, np.newaxis, :]
    noise[unknown] = rng.choice([np.nan, -1.0, np.inf, 7.0], unknown.sum())
    return noise


def random_rows(rng, parameters, holes="scattered", noise="no noise", weighted=False, n=48):
    """Return rows about the components, a few of them far out."""
    k, d = parameters.means.shape
    values = parameters.means[rng.integers(0, k, n)] + 2 * rng.normal(size=(n, d))
    values[:3] *= 5
    punch(rng, values, holes)
    weights = None
    if weighted:
        weights = rng.choice([0.0, 0.5, 1.0, 3.7], n)
        weights[:2] = 0.0, 2.0
    return Rows(values, random_noise(rng, values, noise), weights)


@functools.cache
def case(kind, holes, noise, weighted, d, k):
    """Return rows, a mixture, and what the loop makes of them; the same for all engines."""
    names = (COVARIANCE_TYPES.index(kind), HOLES.index(holes), NOISES.index(noise), int(weighted), d, k)
    rng = np.random.default_rng(names)
    parameters = random_mixture(rng, k, d, kind)
    rows = random_rows(rng, parameters, holes, noise, weighted)
    return (
        rows,
        parameters,
        brute.log_joint(rows.values, rows.noise, parameters),
        brute.expect(rows.values, rows.noise, rows.weights, parameters),
    )


def assert_moments(moments, expected, rtol=1e-9):
    """Compare with (log-likelihood, mass, first, second): to rtol of the largest number of each."""
    found = moments.log_likelihood, moments.mass, moments.first, moments.second
    for name, one, other in zip(("log-likelihood", "mass", "first", "second"), found, expected, strict=True):
        assert np.shape(one) == np.shape(other), name
        np.testing.assert_allclose(one, other, rtol=rtol, atol=rtol * np.abs(other).max(), err_msg=name)


def as_tuple(moments):
    return moments.log_likelihood, moments.mass, moments.first, moments.second


def in_turn():
    """Yield every kind with all noises and holes; the rest in turn, so that each meets all of these."""
    for a, b, c, k in itertools.product(
        range(len(COVARIANCE_TYPES)), range(len(NOISES)), range(len(HOLES)), (1, 3)
    ):
        turn = a + b + c + k // 2
        yield COVARIANCE_TYPES[a], HOLES[c], NOISES[b], turn % 2 == 0, FEATURES[turn % len(FEATURES)], k


def test_all_cases_meet():
    seen = {(kind, noise, d) for kind, _, noise, _, d, _ in in_turn()}
    assert seen == set(itertools.product(COVARIANCE_TYPES, NOISES, FEATURES))
    seen = {(kind, noise, weighted, k) for kind, _, noise, weighted, _, k in in_turn()}
    assert seen == set(itertools.product(COVARIANCE_TYPES, NOISES, (False, True), (1, 3)))
    seen = {(holes, noise, d) for _, holes, noise, _, d, _ in in_turn()}
    assert seen == set(itertools.product(HOLES, NOISES, FEATURES))


@pytest.mark.parametrize(("kind", "holes", "noise", "weighted", "d", "k"), list(in_turn()))
def test_e_step_is_exact(engine, kind, holes, noise, weighted, d, k):
    rows, parameters, joint, expected = case(kind, holes, noise, weighted, d, k)
    prepared = engine.prepare(rows)
    (moments,) = engine.expect(prepared, [parameters])
    assert_moments(moments, expected)
    assert moments.n_rows == pytest.approx(rows.total_weight, rel=1e-14)
    np.testing.assert_array_equal(moments.centre, parameters.means)
    np.testing.assert_allclose(engine.log_joint(prepared, parameters), joint, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_mahalanobis_distance_in_the_observed_dimensions(name, kind, noise):
    rng = np.random.default_rng(13)
    engine, parameters = ENGINES[name](), random_mixture(rng, 3, 3, kind)
    rows = random_rows(rng, parameters, "scattered", noise)
    rows.values[4] = np.nan
    found = engine.mahalanobis(engine.prepare(rows), parameters)
    expected = brute.mahalanobis(rows.values, rows.noise, parameters)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert (found[4] == 0).all()


def test_the_loop_finds_the_density_that_scipy_finds():
    rng = np.random.default_rng(1)
    parameters = random_mixture(rng, 1, 3, "full")
    rows = random_rows(rng, parameters, "complete", "full noise")
    joint = brute.log_joint(rows.values, rows.noise, parameters)
    for x, errors, found in zip(rows.values, rows.noise, joint[:, 0], strict=True):
        total = parameters.covariances[0] + errors
        assert found == pytest.approx(multivariate_normal(parameters.means[0], total).logpdf(x), rel=1e-10)


def test_the_loop_finds_the_moments_that_sampling_finds():
    """Draw true values, keep those whose measurement would have come out near the row."""
    rng = np.random.default_rng(3)
    parameters = Parameters(np.ones(1), np.zeros((1, 2)), np.array([[[2.0, 1.0], [1.0, 1.5]]]), "full")
    truth = rng.multivariate_normal(parameters.means[0], parameters.covariances[0], 400_000)
    chance = np.exp(-0.5 * (1.2 - truth[:, 0]) ** 2 / 0.5)  # the second feature is missing
    chance /= chance.sum()
    values, noise = np.array([[1.2, np.nan]]), np.array([[0.5, np.nan]])
    _, _, first, second = brute.expect(values, noise, None, parameters)
    np.testing.assert_allclose(first[0], chance @ truth, atol=0.01)
    np.testing.assert_allclose(second[0], (truth * chance[:, np.newaxis]).T @ truth, atol=0.02)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_data_far_from_zero_lose_no_digits(engine, kind, noise):
    rng = np.random.default_rng(17)
    near = random_mixture(rng, 3, 5, kind)
    rows = random_rows(rng, near, "scattered", noise, weighted=True)
    # What survives the addition is a multiple of 2^-32, so that both sets are the same but for the offset.
    values = np.round(rows.values * 2**32) / 2**32
    means = np.round(near.means * 2**32) / 2**32
    near = Parameters(near.weights, means, near.covariances, kind)
    far = Parameters(near.weights, means + 1e4, near.covariances, kind)
    rows = Rows(values + 1e4, rows.noise, rows.weights)
    expected = brute.expect(values, rows.noise, rows.weights, near)
    (moments,) = engine.expect(engine.prepare(rows), [far])
    assert_moments(moments, expected, rtol=1e-10)


def dependent_mixture(rng, k, kind="full"):
    """Features 0 and 1 are one but for a part in 10^10; the components overlap also in what is left."""
    covariance = np.array([[1.0, 1 - 1e-10, 0.3], [1 - 1e-10, 1.0, 0.3], [0.3, 0.3, 2.0]])
    covariances = covariance if kind == "tied" else np.tile(covariance, (k, 1, 1))
    means = rng.normal(size=(k, 1)) * [1, 1, 0.5] + 1e-5 * rng.normal(size=(k, 1)) * [1, -1, 0]
    return Parameters(rng.dirichlet(np.full(k, 3.0)), means, covariances, kind)


def rows_of(rng, parameters, n):
    covariances, k = full_covariances(parameters), len(parameters.weights)
    return np.array([rng.multivariate_normal(parameters.means[i % k], covariances[i % k]) for i in range(n)])


@pytest.mark.parametrize("kind", ["full", "tied"])
@pytest.mark.parametrize("k", [1, 3])
def test_nearly_dependent_features(engine, kind, k):
    rng = np.random.default_rng(23)
    parameters = dependent_mixture(rng, k, kind)
    values = rows_of(rng, parameters, 60)
    values[::4, 2] = np.nan
    prepared = engine.prepare(Rows(values))
    # The condition number is 3e10: with 16 digits no algorithm has more than 6 of the density.
    joint = brute.log_joint(values, None, parameters)
    np.testing.assert_allclose(engine.log_joint(prepared, parameters), joint, rtol=1e-5, atol=1e-5)
    (moments,) = engine.expect(prepared, [parameters])
    expected = brute.expect(values, None, None, parameters)
    assert_moments(moments, expected, rtol=1e-5)
    if k == 1:  # no density has a part in the moments
        np.testing.assert_allclose(moments.first, expected[2], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(moments.second, expected[3], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("kind", ["full", "tied"])
def test_one_of_two_nearly_dependent_features_tells_the_other(engine, kind, noise):
    """Nothing is lost where the two are not seen together, or not sharply."""
    rng = np.random.default_rng(29)
    parameters = dependent_mixture(rng, 3, kind)
    values = rows_of(rng, parameters, 60)
    values[np.arange(60), rng.integers(0, 2, 60)] = np.nan
    values[::5, 2] = np.nan
    errors = None if noise == "no noise" else np.full((60, 3), 0.01)
    if noise == "full noise":
        errors = errors[:, :, np.newaxis] * (np.eye(3) + 0.2)
    if errors is not None:
        values[:20] = rows_of(rng, parameters, 20)
    prepared = engine.prepare(Rows(values, errors))
    joint = brute.log_joint(values, errors, parameters)
    np.testing.assert_allclose(engine.log_joint(prepared, parameters), joint, rtol=1e-9, atol=1e-9)
    (moments,) = engine.expect(prepared, [parameters])
    assert_moments(moments, brute.expect(values, errors, None, parameters))


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_a_component_without_weight_counts_nothing(engine, kind, noise):
    rng = np.random.default_rng(31)
    p = random_mixture(rng, 3, 3, kind)
    p = Parameters(np.array([0.4, 0.0, 0.6]), p.means, p.covariances, kind)
    rows = random_rows(rng, p, "scattered", noise)
    rows.values[4] = np.nan
    prepared = engine.prepare(rows)
    (moments,) = engine.expect(prepared, [p])
    assert_moments(moments, brute.expect(rows.values, rows.noise, None, p))
    # A fast exponential may end at the smallest number instead of at 0.
    assert moments.mass[1] < 1e-290
    assert np.abs(moments.first[1]).max() < 1e-290
    assert np.abs(moments.second[1]).max() < 1e-290
    joint = engine.log_joint(prepared, p)
    assert (joint[:, 1] == -np.inf).all()
    assert np.isfinite(joint[:, [0, 2]]).all()


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_a_row_with_nothing_observed_gets_the_weights(engine, kind, noise):
    rng = np.random.default_rng(37)
    p = random_mixture(rng, 3, 3, kind)
    values = np.full((2, 3), np.nan)
    prepared = engine.prepare(Rows(values, random_noise(rng, values, noise)))
    np.testing.assert_allclose(np.exp(engine.log_joint(prepared, p)), [p.weights] * 2, rtol=1e-14)
    (moments,) = engine.expect(prepared, [p])
    assert moments.log_likelihood == pytest.approx(0.0, abs=1e-14)
    np.testing.assert_allclose(moments.mass, 2 * p.weights, rtol=1e-14)
    assert (moments.first == 0).all()


@pytest.mark.parametrize(("kind", "noise"), PAIRS)
def test_order_of_rows_does_not_matter(engine, kind, noise):
    rng = np.random.default_rng(41)
    p = random_mixture(rng, 2, 3, kind)
    rows = random_rows(rng, p, "scattered", noise, weighted=True)
    order = rng.permutation(len(rows))
    one, other = engine.prepare(rows), engine.prepare(rows.take(order))
    np.testing.assert_allclose(
        engine.log_joint(other, p), engine.log_joint(one, p)[order], rtol=1e-12, atol=1e-12
    )
    assert_moments(engine.expect(other, [p])[0], as_tuple(engine.expect(one, [p])[0]), rtol=1e-12)


@pytest.mark.parametrize(("kind", "noise"), PAIRS)
def test_moments_of_chunks_add_up(engine, kind, noise):
    rng = np.random.default_rng(43)
    p = random_mixture(rng, 3, 3, kind)
    rows = random_rows(rng, p, "scattered", noise, weighted=True)
    (whole,) = engine.expect(engine.prepare(rows), [p])
    parts = [rows.take(slice(0, 1)), rows.take(slice(1, 30)), rows.take(slice(30, None))]
    total = functools.reduce(lambda a, b: a + b, (engine.expect(engine.prepare(r), [p])[0] for r in parts))
    assert_moments(total, as_tuple(whole), rtol=1e-12)
    assert total.n_rows == pytest.approx(rows.total_weight)


@pytest.mark.parametrize(("kind", "noise"), PAIRS)
def test_whole_weights_are_repetitions(engine, kind, noise):
    rng = np.random.default_rng(47)
    p = random_mixture(rng, 2, 3, kind)
    rows = random_rows(rng, p, "scattered", noise)
    times = rng.integers(0, 4, len(rows))
    weighted = Rows(rows.values, rows.noise, times.astype(float))
    repeated = rows.take(np.repeat(np.arange(len(rows)), times))
    (one,) = engine.expect(engine.prepare(weighted), [p])
    (other,) = engine.expect(engine.prepare(repeated), [p])
    assert_moments(one, as_tuple(other), rtol=1e-11)
    assert one.n_rows == other.n_rows == times.sum()


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_no_error_is_no_noise(engine, kind):
    rng = np.random.default_rng(53)
    p = random_mixture(rng, 3, 3, kind)
    rows = random_rows(rng, p, "scattered")
    (sharp,) = engine.expect(engine.prepare(rows), [p])
    for noise in (np.zeros(rows.values.shape), np.zeros((*rows.values.shape, 3))):
        (found,) = engine.expect(engine.prepare(Rows(rows.values, noise)), [p])
        assert_moments(found, as_tuple(sharp), rtol=1e-11)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("kind", ["full", "diag"])
@pytest.mark.parametrize("d", [9, 70])
def test_many_features(engine, d, kind, noise):
    rng = np.random.default_rng(d)
    p = random_mixture(rng, 2, d, kind)
    rows = random_rows(rng, p, "scattered", noise, weighted=True, n=20)
    prepared = engine.prepare(rows)
    assert_moments(engine.expect(prepared, [p])[0], brute.expect(rows.values, rows.noise, rows.weights, p))
    joint = brute.log_joint(rows.values, rows.noise, p)
    np.testing.assert_allclose(engine.log_joint(prepared, p), joint, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("kind", "noise"), PAIRS)
def test_no_rows(engine, kind, noise):
    p = random_mixture(np.random.default_rng(73), 2, 3, kind)
    errors = {"no noise": None, "diagonal noise": np.empty((0, 3)), "full noise": np.empty((0, 3, 3))}[noise]
    prepared = engine.prepare(Rows(np.empty((0, 3)), errors))
    (moments,) = engine.expect(prepared, [p])
    assert moments.log_likelihood == moments.n_rows == 0
    assert not moments.mass.any()
    assert engine.log_joint(prepared, p).shape == (0, 2)


@pytest.mark.parametrize(("kind", "noise"), PAIRS)
def test_several_mixtures_at_once(engine, kind, noise):
    rng = np.random.default_rng(59)
    models = [random_mixture(rng, k, 3, kind) for k in (2, 3, 1, 2)]
    rows = random_rows(rng, models[0], "scattered", noise, weighted=True)
    found = engine.expect(engine.prepare(rows), models)
    assert len(found) == len(models)
    for moments, parameters in zip(found, models, strict=True):
        assert_moments(moments, brute.expect(rows.values, rows.noise, rows.weights, parameters))
    assert engine.expect(engine.prepare(rows), []) == []


@pytest.mark.parametrize(("kind", "noise"), PAIRS)
def test_rows_are_only_read_and_passes_are_the_same(engine, kind, noise):
    rng = np.random.default_rng(61)
    p = random_mixture(rng, 2, 3, kind)
    rows = random_rows(rng, p, "scattered", noise, weighted=True)
    for array in (rows.values, rows.noise, rows.weights):
        if array is not None:
            array.flags.writeable = False  # as in a memory-mapped file
    prepared = engine.prepare(rows)
    first = as_tuple(engine.expect(prepared, [p])[0])
    second = as_tuple(engine.expect(prepared, [p])[0])
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_rows_far_from_everything_stay_finite(engine, kind):
    p = random_mixture(np.random.default_rng(67), 2, 3, kind)
    prepared = engine.prepare(Rows(np.array([[1e100, 0.0, 0.0], [0.0, np.nan, -1e100], [0.0, 0.0, 0.0]])))
    (moments,) = engine.expect(prepared, [p])
    assert np.isfinite(engine.log_joint(prepared, p)).all()
    assert np.isfinite(moments.log_likelihood)
    assert np.isfinite(moments.second).all()
    assert moments.mass.sum() == pytest.approx(3.0)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(
    ("kind", "covariances"),
    [
        ("full", np.array([np.eye(2), [[1.0, 2.0], [2.0, 1.0]]])),
        ("tied", np.array([[1.0, 1.0], [1.0, 1.0]])),
        ("diag", np.array([[1.0, 1.0], [1.0, 0.0]])),
        ("spherical", np.array([1.0, -1.0])),
    ],
)
def test_no_covariance_no_answer(engine, kind, covariances, noise):
    p = Parameters(np.array([0.5, 0.5]), np.zeros((2, 2)), covariances, kind)
    values = np.array([[0.0, 1.0], [2.0, np.nan]])
    prepared = engine.prepare(Rows(values, random_noise(np.random.default_rng(0), values, noise)))
    with pytest.raises(NotPositiveDefiniteError, match="reg_covar"):
        engine.expect(prepared, [p])
    with pytest.raises(NotPositiveDefiniteError, match="reg_covar"):
        engine.log_joint(prepared, p)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("module", ["reference", "torch_engine"])
def test_small_chunks_change_nothing(monkeypatch, module, kind, noise):
    engine = {"reference": NumpyEngine, "torch_engine": torch_engine}[module]()
    monkeypatch.setattr(sys.modules[f"astro_cluster.mixture.{module}"], "_CHUNK_VALUES", 200)
    if module == "torch_engine":
        monkeypatch.setattr(sys.modules["astro_cluster.mixture.torch_engine"], "_MANY_ROWS", 4)
    rng = np.random.default_rng(71)
    p = random_mixture(rng, 2, 3, kind)
    rows = random_rows(rng, p, "scattered", noise, weighted=True, n=120)
    prepared = engine.prepare(rows)
    assert_moments(engine.expect(prepared, [p])[0], brute.expect(rows.values, rows.noise, rows.weights, p))
    joint = brute.log_joint(rows.values, rows.noise, p)
    np.testing.assert_allclose(engine.log_joint(prepared, p), joint, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("device", "message"),
    [("mps", "64-bit"), ("cuda", "no CUDA device"), ("nonsense", "'nonsense'")],
)
def test_torch_says_which_devices_it_cannot_take(monkeypatch, device, message):
    torch = pytest.importorskip("torch", reason="torch is not installed: TorchEngine is NOT tested")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=message):
        TorchEngine(device)


def test_without_torch_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install 'astro_cluster\[torch\]'"):
        TorchEngine()
