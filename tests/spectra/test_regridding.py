"""Spectra onto another grid: against specutils, brute force and what must hold for any spectrum."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import InverseVariance
from astropy.table import MaskedColumn, QTable
from hypothesis import given, settings
from hypothesis import strategies as st

import astro_cluster as ac
from astro_cluster.columns import add_column
from astro_cluster.spectra import regrid, spectra_of
from astro_cluster.spectra.regridding import METHODS, regrid_rows
from astro_cluster.wavelengths import Grid, grid_of, log_grid, note_spectra

GRID = log_grid(3625 * u.AA, 9000 * u.AA, 1500)


def borders(middles):
    """Halfway between the middles, and as far beyond the first and last, as specutils has them."""
    inner = (middles[1:] + middles[:-1]) / 2
    return np.concatenate([[2 * middles[0] - inner[0]], inner, [2 * middles[-1] - inner[-1]]])


def inside(wavelength, grid):
    """New pixels that the old ones cover whole."""
    old, new = borders(np.asarray(wavelength)), borders(np.asarray(grid))
    return (new[:-1] >= old[0]) & (new[1:] <= old[-1])


def by_hand(wavelength, flux, ivar, grid):
    """Flux-conserving means by the whole matrix of overlaps."""
    old, new = borders(wavelength), borders(grid)
    overlap = np.minimum(old[1:], new[1:, None]) - np.maximum(old[:-1], new[:-1, None])
    good = np.isfinite(flux) & (ivar > 0)
    p = np.clip(overlap, 0, None) * good
    width = p.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = p @ np.where(good, flux, 0) / width
        variance = p**2 @ np.where(good, 1 / ivar, 0) / width**2
        return mean, 1 / variance, width / np.diff(new)


def by_specutils(wavelength, flux, ivar, grid, kind):
    from specutils import Spectrum
    from specutils.manipulation import FluxConservingResampler, LinearInterpolatedResampler

    resampler = {"flux-conserving": FluxConservingResampler, "linear": LinearInterpolatedResampler}[kind]
    # Of inverse variances with a unit, LinearInterpolatedResampler of specutils 2.4 loses the square.
    old = Spectrum(spectral_axis=wavelength * u.AA, flux=flux * u.one, uncertainty=InverseVariance(ivar))
    new = resampler()(old, grid * u.AA)
    return new.flux.value, new.uncertainty.array


@st.composite
def wavelengths(draw, least=6, most=40):
    steps = draw(st.lists(st.floats(0.05, 3.0), min_size=least - 1, max_size=most - 1))
    return 4000.0 + np.concatenate([[0.0], np.cumsum(steps)])


def some_spectrum(n, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(5, 3, n), rng.uniform(0.2, 4, n)


# ---------------------------------------------------------------- against specutils


@pytest.mark.parametrize("kind", ["flux-conserving", "linear"])
@pytest.mark.parametrize(
    "grid", [GRID, log_grid(3700 * u.AA, 9000 * u.AA, 6000), Grid(np.arange(4e3, 9e3, 7))]
)
def test_simulated_spectra_agree_with_specutils(kind, grid):
    old = np.geomspace(3580, 10400, 4500)
    flux, ivar = some_spectrum(old.size, 1)
    found, weights = regrid_rows(old, flux, ivar, grid, method=kind)
    theirs, their_weights = by_specutils(old, flux, ivar, grid.angstrom, kind)
    np.testing.assert_allclose(found, theirs, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(weights, their_weights, rtol=1e-9)


def real_spectra(real_data):
    files = sorted((real_data / "quasars" / "spec").glob("*.fits"))
    if not files:
        pytest.skip(f"there are no spectra in {real_data / 'quasars' / 'spec'}")
    for file in files:
        with fits.open(file) as hdus:
            data = hdus[1].data
            yield file.name, 10.0 ** data["LOGLAM"].astype("f8"), data["FLUX"], data["IVAR"]


@pytest.mark.realdata
@pytest.mark.parametrize("kind", ["flux-conserving", "linear"])
def test_real_spectra_agree_with_specutils(real_data, kind):
    seen = 0
    for name, wavelength, flux, ivar in real_spectra(real_data):
        # specutils takes masked pixels for good ones, and cannot divide by their weight of 0.
        weights = np.where(ivar > 0, ivar, 1e-3)
        found, new = regrid_rows(wavelength, flux.astype("f8"), weights, GRID, method=kind)
        theirs, their_new = by_specutils(
            wavelength, flux.astype("f8"), weights.astype("f8"), GRID.angstrom, kind
        )
        within = inside(wavelength, GRID.angstrom)
        assert within.sum() > 1400, name
        np.testing.assert_allclose(found[within], theirs[within], rtol=1e-6, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(new[within], their_new[within], rtol=1e-6, err_msg=name)
        seen += 1
    assert seen == 40


@pytest.mark.realdata
def test_masked_pixels_of_real_spectra_do_not_count(real_data):
    changed = 0
    for name, wavelength, flux, ivar in real_spectra(real_data):
        found, new = regrid_rows(wavelength, flux, ivar, GRID)
        mean, expected, share = by_hand(wavelength, flux.astype("f8"), ivar.astype("f8"), GRID.angstrom)
        counts = share > 0.5
        np.testing.assert_allclose(found[counts], mean[counts], rtol=1e-5, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(new[counts], expected[counts], rtol=1e-5, err_msg=name)
        assert not new[~counts].any()
        assert found.dtype == new.dtype == np.float32
        changed += np.count_nonzero((share < 0.999) & counts)
    assert changed > 0


# ---------------------------------------------------------------- what must hold


@given(wavelengths(), wavelengths(), st.floats(-10, 10), st.integers(0, 99), st.booleans())
@settings(deadline=None)  # the first call compiles
def test_pixels_are_means_over_what_they_overlap(old, new, shift, seed, falls):
    new = new + shift
    flux, ivar = some_spectrum(old.size, seed)
    rng = np.random.default_rng(seed)
    ivar[rng.random(old.size) < 0.2] = 0
    flux[rng.random(old.size) < 0.1] = np.nan
    turn = slice(None, None, -1 if falls else 1)
    found, weights = regrid_rows(old[turn], flux[turn], ivar[turn], new)
    mean, expected, share = by_hand(old, flux, ivar, new)
    sure = np.abs(share - 0.5) > 1e-6
    counts = share > 0.5
    np.testing.assert_allclose(found[counts & sure], mean[counts & sure], rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(weights[counts & sure], expected[counts & sure], rtol=1e-6)
    assert not weights[~counts & sure].any()
    # The flux of what does not count is that of all that is there.
    all_mean, _, all_share = by_hand(old, flux, np.ones(old.size), new)
    rest = ~counts & sure & (np.abs(all_share - 0.5) > 1e-6)
    np.testing.assert_allclose(found[rest & (all_share > 0.5)], all_mean[rest & (all_share > 0.5)], atol=1e-8)
    assert np.isnan(found[rest & (all_share < 0.5)]).all()


@given(
    wavelengths(), st.lists(st.floats(0.02, 0.98), min_size=3, max_size=30, unique=True), st.integers(0, 99)
)
@settings(deadline=None)
def test_the_flux_is_conserved(old, places, seed):
    flux, ivar = some_spectrum(old.size, seed)
    limits = borders(old)
    new = np.sort(limits[0] + np.array(places) * (limits[-1] - limits[0]))
    if (np.diff(new) < 1e-3).any():
        return
    edges = borders(new)
    found, _ = regrid_rows(old, flux, ivar, new)
    whole = inside(old, new)
    # The integral of steps, from its cumulative sum: no overlap is looked at.
    integral = np.interp(edges, limits, np.concatenate([[0], np.cumsum(flux * np.diff(limits))]))
    np.testing.assert_allclose((found * np.diff(edges))[whole], np.diff(integral)[whole], atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
@given(old=wavelengths(), new=wavelengths(), level=st.floats(-1e3, 1e3))
@settings(max_examples=40, deadline=None)  # the first call compiles
def test_a_constant_stays_constant(method, old, new, level):
    found, _ = regrid_rows(old, np.full(old.size, level), None, new, method=method)
    np.testing.assert_allclose(found[np.isfinite(found)], level, rtol=1e-8, atol=1e-12)
    between = (new >= old[0]) & (new <= old[-1])
    assert np.isfinite(found[inside(old, new) if method == "flux-conserving" else between]).all()


@pytest.mark.parametrize("method", METHODS)
@given(old=wavelengths(), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)  # the first call compiles
def test_the_same_grid_changes_nothing(method, old, seed):
    flux, ivar = some_spectrum(old.size, seed)
    ivar[2] = 0
    found, weights = regrid_rows(old, flux, ivar, old, method=method)
    np.testing.assert_allclose(found, flux, rtol=1e-12)
    np.testing.assert_allclose(weights, ivar, rtol=1e-12)


def test_the_variance_of_white_noise_is_right():
    rng = np.random.default_rng(3)
    old = np.geomspace(4000, 5000, 400)
    sigma = rng.uniform(0.5, 2, old.size)
    flux = rng.normal(0, sigma, (4000, old.size))
    new = np.geomspace(4010, 4990, 130)
    found, weights = regrid_rows(old, flux, np.broadcast_to(sigma**-2, flux.shape), new)
    pull = found * np.sqrt(weights)
    assert abs(pull.var() - 1) < 0.01
    np.testing.assert_allclose(pull.var(axis=0), 1, atol=6 * np.sqrt(2 / 4000))
    assert 0.01 < np.mean(pull[:, 1:] * pull[:, :-1]) < 0.5  # neighbours share an old pixel


def test_errors_of_lines_are_those_of_specutils_and_too_large():
    # Halfway between two pixels the mean has half the variance; this way it is told to be the same.
    old = np.array([1.0, 2.0, 3.0])
    _, weights = regrid_rows(old, np.ones(3), np.array([1.0, 1.0, 3.0]), [1.5, 2.5], method="linear")
    assert weights.tolist() == [1.0, 2.0]


# ---------------------------------------------------------------- the study's way


@given(wavelengths(), st.integers(0, 99))
@settings(deadline=None)
def test_the_study_lays_a_quartic_through_the_nearest_five(old, seed):
    flux, ivar = some_spectrum(old.size, seed)
    rng = np.random.default_rng(seed)
    new = np.sort(rng.uniform(old[0], old[-1], 7))
    if (np.diff(new) < 1e-9).any():
        return
    found, weights = regrid_rows(old, flux, ivar, new, method="study")
    for x, value, weight in zip(new, found, weights, strict=True):
        at = np.clip(np.searchsorted(old, x), 1, old.size - 1)
        starts = np.arange(max(0, at - 4), min(at - 1, old.size - 5) + 1)  # that hold both neighbours
        reach = np.maximum(np.abs(old[starts] - x), np.abs(old[starts + 4] - x))
        near = slice(starts[np.argmin(reach)], starts[np.argmin(reach)] + 5)
        matrix = np.vander((old[near] - x) / 3, 5)
        np.testing.assert_allclose(value, np.linalg.solve(matrix, flux[near])[-1], rtol=1e-6, atol=1e-6)
        assert weight == min(ivar[at - 1], ivar[at])  # the larger of the two errors


def test_a_masked_pixel_does_not_pull_at_the_polynomial():
    old = np.arange(1.0, 12)
    flux = old**2
    ivar = np.ones(old.size)
    flux[3], ivar[3] = 1e6, 0  # at 4
    found, weights = regrid_rows(old, flux, ivar, [2.5, 3.5, 4.5, 5.5], method="study")
    np.testing.assert_allclose(found[[0, 3]], [2.5**2, 5.5**2])
    assert weights.tolist() == [1, 0, 0, 1]
    flux[3] = np.nan
    found, weights = regrid_rows(old, flux, ivar, [2.5, 3.5, 4.5, 5.5], method="study")
    assert np.isnan(found).tolist() == [False, True, True, False]
    assert weights.tolist() == [1, 0, 0, 1]


def test_lines_next_to_a_masked_pixel_do_not_count():
    flux, weights = regrid_rows(
        [1, 2, 3, 4], [1.0, 9.0, 3.0, 4.0], [1.0, 0.0, 1.0, 1.0], [1.5, 2.0, 2.5, 3.0, 3.5], method="linear"
    )
    assert flux.tolist() == [5.0, 9.0, 6.0, 3.0, 3.5]
    assert weights.tolist() == [0, 0, 0, 1, 1]


# ---------------------------------------------------------------- shapes and units


@pytest.mark.parametrize("method", METHODS)
def test_many_rows_are_as_one_by_one_whatever_the_threads(method):
    rng = np.random.default_rng(5)
    n, p = 150, 4500  # several blocks
    z = rng.uniform(0, 0.5, n)
    old = np.geomspace(3600, 10400, p)
    flux = rng.normal(size=(n, p)).astype("f4")
    ivar = rng.uniform(0, 1, (n, p)).astype("f4")
    grid = Grid(np.geomspace(3800, 6000, 50))
    answers = [
        regrid_rows(old, flux, ivar, grid, method=method, factors=1 / (1 + z), n_threads=k) for k in (1, 2, 5)
    ]
    answers.append(regrid_rows(old / (1 + z[:, None]), flux, ivar, grid, method=method))
    for other in answers[1:3]:
        np.testing.assert_array_equal(answers[0], other)
    np.testing.assert_allclose(answers[0], answers[3], rtol=1e-4, atol=1e-4)
    for i in (0, 70, 149):
        single = regrid_rows(old / (1 + z[i]), flux[i], ivar[i], grid, method=method)
        assert single[0].shape == (50,)
        np.testing.assert_array_equal(single, [part[i] for part in answers[3]])


def test_units_directions_and_byte_orders_do_not_matter():
    old = np.linspace(4000, 5000, 300)
    flux, ivar = some_spectrum(300, 7)
    new = np.linspace(4100, 4900, 40)
    expected = regrid_rows(old, flux, ivar, new)
    swapped = flux.astype(">f8"), ivar.astype(">f8")
    cases = [
        regrid_rows((old / 10) * u.nm, flux, ivar, (new * u.AA).to(u.um)),
        regrid_rows(old[::-1], flux[::-1], ivar[::-1], new),
        regrid_rows((old * u.AA).to(u.THz, u.spectral()), flux, ivar, new),
        regrid_rows(old.astype(">f8"), *swapped, Grid(new)),
        regrid_rows(old, flux * u.Jy, ivar / u.Jy**2, new),
    ]
    for found in cases:
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_masked_arrays_and_whole_numbers_are_understood():
    flux = np.ma.array([1, 2, 3, 4], mask=[0, 0, 1, 0])
    found, weights = regrid_rows([1, 2, 3, 4], flux, np.ones(4, int), [1, 2, 3, 4])
    np.testing.assert_array_equal(found, [1, 2, np.nan, 4])
    np.testing.assert_array_equal(weights, [1, 1, 0, 1])
    assert found.dtype == np.float64


def test_shorter_rows_end_with_nan_wavelengths():
    old = np.array([[1.0, 2, 3, 4, 5], [1.0, 2, 3, np.nan, np.nan]])
    found, _ = regrid_rows(old, np.ones((2, 5)), None, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(found, [[1] * 5, [1, 1, 1, np.nan, np.nan]])


@pytest.mark.parametrize("method", METHODS)
def test_an_infinite_flux_is_no_flux(method):
    flux = np.ones(20)
    flux[10] = np.inf
    at = np.sort(np.r_[np.arange(20.0), np.arange(19) + 0.3]) + 1
    found, weights = regrid_rows(np.arange(1.0, 21), flux, np.ones(20), at, method=method)
    assert np.isnan(found[at == 11]).all()
    assert not np.isinf(found).any()
    assert (weights[np.isnan(found)] == 0).all()


def test_weights_that_are_none_do_not_count():
    ivar = np.array([1.0, -1.0, np.inf, np.nan, 2.0])
    found, weights = regrid_rows(np.arange(1.0, 6), np.arange(5.0), ivar, np.arange(1.0, 6))
    assert found.tolist() == [0, 1, 2, 3, 4]
    assert weights.tolist() == [1, 0, 0, 0, 2]


def test_no_spectra_are_no_error():
    found, weights = regrid_rows(np.arange(1.0, 6), np.empty((0, 5)), np.empty((0, 5)), GRID)
    assert found.shape == weights.shape == (0, 1500)


def test_broken_rows_cost_only_themselves():
    old = np.tile(np.arange(1.0, 6), (4, 1))
    old[1, 2], old[2, 3], old[3] = 9.0, np.nan, np.nan
    with pytest.warns(ac.AstroClusterWarning, match=r"3 of 4 spectra have wavelengths.*rows 1, 2, 3"):
        found, weights = regrid_rows(old, np.ones((4, 5)), np.ones((4, 5)), np.arange(1.0, 6))
    assert np.isfinite(found).all(axis=1).tolist() == [True, False, False, False]
    assert weights.any(axis=1).tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "flux_conserving"}, "did you mean 'flux-conserving'"),
        ({"method": None}, "is no way to resample"),
        ({"wavelength": np.arange(4.0)}, "as many wavelengths as pixels"),
        ({"wavelength": [1, 3, 2, 4, 5]}, "rise or fall"),
        ({"wavelength": [0, 1, 2, 3, 4]}, "rise or fall"),
        ({"wavelength": [1, 2, 2, 3, 4]}, "rise or fall"),
        ({"wavelength": np.full(5, np.nan)}, "at least two"),
        ({"wavelength": np.arange(5) * u.kg}, "has to be wavelengths"),
        ({"wavelength": list("abcde")}, "has to be wavelengths"),
        ({"ivar": np.ones(4)}, "a number for each flux"),
        ({"flux": np.ones((1, 1, 5))}, "give numbers"),
        ({"flux": np.array(list("abcde"))}, "give numbers"),
        ({"grid": [3.0, 2.0]}, "must be finite, positive and rising"),
        ({"factors": [1.0, 2.0]}, "2 factors and 1 spectra"),
    ],
)
def test_what_cannot_be_resampled(change, message):
    right = {"wavelength": np.arange(1.0, 6), "flux": np.ones(5), "ivar": np.ones(5), "grid": [2.0, 3.0]}
    options = right | change
    with pytest.raises(ac.InputError, match=message):
        regrid_rows(**options)


# ---------------------------------------------------------------- tables


def a_table(n=6, grid=GRID, **columns):
    rng = np.random.default_rng(9)
    unit = u.Unit("1e-17 erg s-1 cm-2 AA-1")
    flux = rng.normal(5, 1, (n, len(grid))).astype("f4")
    flux[0, :30] = np.nan
    ivar = np.where(np.isfinite(flux), 1, 0).astype("f4")
    table = QTable({"source_id": [f"q{i}" for i in range(n)], "flux": flux * unit, "ivar": ivar * unit**-2})
    table["redshift"] = np.linspace(0.1, 0.5, n)
    for name, values in columns.items():
        table[name] = values
    table["flux"].info.description = "Flux of the spectrum"
    note_spectra(table, grid, survey="BOSS")
    return table


def test_a_table_gets_new_spectra_in_the_same_columns():
    table = a_table()
    before = table["flux"].copy()
    out = regrid(table, "4000:8000:300")
    assert out.colnames == table.colnames
    assert out["flux"].shape == (6, 300)
    assert (out["flux"].unit, out["ivar"].unit) == (table["flux"].unit, table["ivar"].unit)
    assert out["flux"].dtype == np.float32
    assert out["flux"].info.description == "Flux of the spectrum"
    assert grid_of(out) == log_grid(4000 * u.AA, 8000 * u.AA, 300)
    assert out.meta["astro_cluster_spectra"]["survey"] == "BOSS"
    expected = regrid_rows(GRID.angstrom, table["flux"].value, table["ivar"].value, grid_of(out))
    np.testing.assert_array_equal(out["flux"].value, expected[0])
    np.testing.assert_array_equal(out["ivar"].value, expected[1])
    np.testing.assert_array_equal(table["flux"], before)
    assert grid_of(table) == GRID


def test_what_was_said_of_the_old_pixels_is_said_of_the_new_ones():
    table = a_table()
    for key in ("spectrum_coverage", "snr_median"):
        add_column(table, key, np.full(6, 0.123))
    add_column(table, "spectrum_bad", np.zeros(6, bool))
    table["z"] = table["redshift"]
    table["z"][2] = np.nan
    with pytest.warns(ac.AstroClusterWarning, match="1 of 6 spectra have no redshift"):
        out = regrid(table, "3000:5000:400", frame="rest", redshift="z")
    assert out.colnames == table.colnames
    flux, ivar = out["flux"].value, out["ivar"].value
    expected = np.isfinite(flux).mean(axis=1)
    assert out["coverage"].mask.tolist() == [False, False, True, False, False, False]
    known = expected > 0
    np.testing.assert_allclose(np.asarray(out["coverage"])[known], expected[known])
    for row in np.flatnonzero(known):
        counts = ivar[row] > 0
        snr = np.median(flux[row, counts] * np.sqrt(ivar[row, counts]))
        np.testing.assert_allclose(out["snr_median"][row], snr, rtol=1e-6)
    assert out["coverage"].info.description == table["coverage"].info.description


def test_to_the_rest_frame_and_back():
    smooth = np.tile(2 + np.sin(GRID.angstrom / 300), (6, 1)) * u.Jy
    table = QTable({"flux": smooth, "Z": np.linspace(0.1, 0.5, 6)})
    note_spectra(table, GRID, ivar=None)
    rest = regrid(table, "2500:8000:6000", frame="rest", redshift="Z", method="study")
    assert grid_of(rest).frame == "rest"
    wavelength = grid_of(rest).angstrom * (1 + rest["Z"][:, None])
    there = np.isfinite(rest["flux"].value)
    assert 0.3 < there.mean() < 1
    np.testing.assert_allclose(rest["flux"].value[there], (2 + np.sin(wavelength / 300))[there], atol=1e-5)
    back = regrid(rest, GRID, redshift="Z", method="study")
    assert grid_of(back).frame == "observed"
    there = np.isfinite(back["flux"].value)
    assert there.mean() > 0.95
    np.testing.assert_allclose(back["flux"].value[there], smooth.value[there], atol=1e-5)


def test_a_line_in_air_comes_where_it_belongs_in_the_rest_frame_in_vacuum():
    z, vacuum = 0.3, 5008.24
    from astro_cluster.spectra.air import to_medium

    observed = to_medium(vacuum * (1 + z), "vacuum", "air")
    grid = log_grid(6000 * u.AA, 7000 * u.AA, 4000, medium="air")
    line = np.exp(-0.5 * ((grid.angstrom - observed) / 5) ** 2)
    table = QTable({"flux": line[None], "redshift": [z]})
    note_spectra(table, grid, ivar=None)
    for medium in ("vacuum", "air"):
        rest = log_grid(4900 * u.AA, 5100 * u.AA, 2000, frame="rest", medium=medium)
        out = regrid(table, rest)
        light = np.nan_to_num(spectra_of(out).flux[0])
        middle = np.sum(light * rest.angstrom) / np.sum(light)
        assert abs(middle - to_medium(vacuum, "vacuum", medium)) < 0.005


def test_rows_without_a_redshift_stay_without_data():
    z = MaskedColumn([0.1, 0.2, np.nan, -2.0, 0.3, 0.4], mask=[0, 1, 0, 0, 0, 0])
    with pytest.warns(
        ac.AstroClusterWarning, match="3 of 6 spectra have no redshift.*rows 1, 2, 3"
    ) as caught:
        out = regrid(a_table(redshift=z), "3700:5800:200", frame="rest")
    assert len(caught) == 1
    known = [True, False, False, False, True, True]
    assert np.isfinite(out["flux"].value).any(axis=1).tolist() == known
    assert spectra_of(out).usable.tolist() == known


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame": "rest", "redshift": "Redshift"}, "did you mean 'redshift'"),
        ({"frame": "rest", "redshift": "flux"}, "a redshift a row"),
        ({"frame": "rest", "redshift": "source_id"}, "holds no numbers"),
        ({"frame": "moving"}, "is no frame"),
        ({"grid": "4000-5000"}, "is no wavelength grid"),
        ({"grid": "nonsense", "method": "linear"}, "is no wavelength grid"),
        ({"method": "spline"}, "is no way to resample"),
    ],
)
def test_what_a_table_cannot_be_asked_for(change, message):
    options = {"grid": "4000:5000:100"} | change
    with pytest.raises(ac.InputError, match=message):
        regrid(a_table(), options.pop("grid"), **options)


def test_a_table_without_spectra_says_so():
    with pytest.raises(ac.InputError, match="does not say at which wavelengths"):
        regrid(QTable({"x": [1.0]}), GRID)


def test_no_overlap_and_columns_left_behind_are_told():
    told = "6 of 6 spectra have no data at any of the 100.*rows 0, 1, 2, 3, 4, …"
    with pytest.warns(ac.AstroClusterWarning, match=told):
        out = regrid(a_table(), "10000:12000:100")
    assert not spectra_of(out).usable.any()
    with pytest.warns(ac.AstroClusterWarning, match="1 of 6 spectra have no data.*: row 5"):
        out = regrid(a_table(redshift=[0.1, 0.1, 0.1, 0.1, 0.1, 2.0]), "3300:8000:100", frame="rest")
    assert spectra_of(out).usable.tolist() == [True] * 5 + [False]
    with pytest.warns(ac.AstroClusterWarning, match="columns reconstruction stay on the old wavelengths"):
        regrid(a_table(reconstruction=np.zeros((6, 1500))), "4000:8000:300")


def test_a_mean_that_was_taken_off_belongs_to_its_wavelengths():
    table = ac.normalize_spectra(a_table(), subtract_mean=True)
    with pytest.raises(ac.InputError, match="regrid them before"):
        regrid(table, "4000:8000:300")


@pytest.mark.parametrize(
    "grid", ["4000:8000:300", Grid(np.arange(4000.0, 8000, 9)), np.arange(400, 800) * u.nm]
)
def test_it_runs_again_from_the_file(tmp_path, grid):
    ac.write(a_table(), tmp_path / "spectra.fits")
    out = regrid(ac.read(tmp_path / "spectra.fits"), grid, frame="rest", method="linear")
    ac.write(out, tmp_path / "rest.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = ac.rerun(tmp_path / "rest.fits")
    np.testing.assert_array_equal(again["flux"], out["flux"])
    assert grid_of(again) == grid_of(out)
