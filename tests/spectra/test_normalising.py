"""Spectra to one scale, and their continua."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from astropy.utils.masked import Masked
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import astro_cluster as ac
from astro_cluster.spectra import spectra_of
from astro_cluster.spectra.continuum import continua_of
from astro_cluster.spectra.normalising import (
    mean_spectrum,
    normalization_of,
    normalize_spectra,
    norms_of,
    softened,
)
from astro_cluster.wavelengths import Grid, grid_of, log_grid, note_spectra

GRID = log_grid(4000 * u.AA, 6000 * u.AA, 200)
UNIT = u.Unit("1e-17 erg s-1 cm-2 AA-1")


def a_table(flux=None, ivar="ones", grid=GRID):
    if flux is None:
        flux = np.random.default_rng(1).uniform(1, 9, (5, len(grid))).astype("f4")
    table = QTable({"source_id": np.arange(len(flux)), "flux": flux * UNIT})
    if ivar is not None:
        values = np.isfinite(flux).astype(flux.dtype) if isinstance(ivar, str) else ivar
        table["ivar"] = values * UNIT**-2
    note_spectra(table, grid, ivar=None if ivar is None else "ivar")
    return table


# ---------------------------------------------------------------- arrays

values = st.floats(-100, 100) | st.just(np.nan)
weights = st.sampled_from([0.0, -1.0, 0.5, 3.0, np.nan, np.inf])


@given(hnp.arrays("f8", (4, 9), elements=values), hnp.arrays("f8", (4, 9), elements=weights))
def test_norms_are_those_of_the_counting_pixels(flux, ivar):
    grid = Grid(np.arange(1.0, 10))
    for how, function, pixels in (
        ("median", np.median, slice(None)),
        ("max", np.max, slice(None)),
        ("window:3:6.5", np.median, slice(2, 6)),
    ):
        for some in (ivar, None):
            found = norms_of(flux, some, grid, how)
            for row in range(4):
                counts = np.isfinite(flux[row]) & ((some is None) | (ivar[row] > 0) & (ivar[row] < np.inf))
                seen = flux[row, pixels][counts[pixels]]
                np.testing.assert_allclose(found[row], function(seen) if seen.size else np.nan, rtol=1e-12)


def test_a_window_may_have_units_and_none_is_one():
    flux = np.random.default_rng(1).normal(size=(3, 200))
    np.testing.assert_array_equal(
        norms_of(flux, None, GRID, (0.45 * u.um, 500 * u.nm)), norms_of(flux, None, GRID, "window:4500:5000")
    )
    assert norms_of(flux, None, None, None).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("mean", "is no way to normalise"),
        ("meadian", "did you mean 'median'"),
        ("window:5000", "is no way to normalise"),
        ("window:blue:red", "is no way to normalise"),
        ("windows:5000:5100", "is no way to normalise"),
        ("window:5100:5000", "does not rise"),
        ("window:nan:5000", "does not rise"),
        ("window:7000:7100", "no wavelength is between 7000 and 7100 Å: there are 200 log-spaced"),
        ((5000 * u.AA, 5100 * u.kg), "is no way to normalise"),
        (3.0, "is no way to normalise"),
    ],
)
def test_what_is_no_norm(how, message):
    with pytest.raises(ac.InputError, match=message):
        norms_of(np.ones((2, 200)), None, GRID, how)


def test_a_window_needs_wavelengths():
    with pytest.raises(ac.InputError, match="give grid="):
        norms_of(np.ones((2, 200)), None, None, "window:5080:5120")


@given(hnp.arrays("f8", 20, elements=st.floats(0, 1e6)), st.floats(0, 10))
def test_softening_is_an_error_added_in_squares(ivar, sigma):
    found = softened(ivar, sigma)
    np.testing.assert_allclose(found, ivar / (1 + ivar * sigma**2), rtol=1e-9, atol=1e-300)
    if sigma > 1e-3:
        assert (found <= sigma**-2 * (1 + 1e-9)).all()


def test_softening_keeps_the_type_and_refuses_nonsense():
    assert softened(np.ones(3, "f4"), 0.1).dtype == np.float32
    assert softened(np.array([1e-30, 1e30, -1.0, np.nan]), 1.0).tolist() == [1e-30, 1.0, 0.0, 0.0]
    for wrong in (-1, np.nan, np.inf, [1.0]):
        with pytest.raises(ac.InputError, match="softening"):
            softened(np.ones(3), wrong)


@given(hnp.arrays("f8", (5, 7), elements=values), hnp.arrays("f8", (5, 7), elements=weights))
def test_the_mean_spectrum_is_weighted(flux, ivar):
    found = mean_spectrum(flux, ivar)
    for pixel in range(7):
        counts = np.isfinite(flux[:, pixel]) & (ivar[:, pixel] > 0) & np.isfinite(ivar[:, pixel])
        expected = np.average(flux[counts, pixel], weights=ivar[counts, pixel]) if counts.any() else 0.0
        np.testing.assert_allclose(found[pixel], expected, rtol=1e-9, atol=1e-9)


# ---------------------------------------------------------------- continua


def test_without_clipping_it_is_the_weighted_fit_of_numpy():
    rng = np.random.default_rng(2)
    flux, ivar = rng.normal(5, 1, (4, 200)), rng.uniform(0.1, 3, (4, 200))
    ivar[:, 30:50] = 0
    flux[:, 100:105] = np.nan
    found = continua_of(flux, ivar, GRID, rounds=0, degree=4)
    x = np.log(GRID.angstrom)
    for row in range(4):
        counts = (ivar[row] > 0) & np.isfinite(flux[row])
        fit = np.polynomial.Polynomial.fit(x[counts], flux[row, counts], 4, w=np.sqrt(ivar[row, counts]))
        np.testing.assert_allclose(found[row], fit(x), rtol=1e-7)


def test_without_weights_it_is_that_of_specutils():
    from specutils import Spectrum
    from specutils.fitting import fit_generic_continuum

    x = np.linspace(1, 3, 150)  # theirs is a polynomial in the wavelength, ours in its logarithm
    flux = 5 + np.sin(np.arange(150) / 30) + np.random.default_rng(3).normal(0, 0.1, 150)
    old = Spectrum(spectral_axis=x * u.um, flux=flux * u.Jy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = fit_generic_continuum(old, median_window=1)(x * u.um).value
    found = continua_of(flux[None], None, Grid(np.exp(x)), rounds=0)[0]
    np.testing.assert_allclose(found, theirs, rtol=1e-6)


def quasar_like(n=20, noise=0.1, seed=4):
    rng = np.random.default_rng(seed)
    grid = log_grid(4000 * u.AA, 9000 * u.AA, 1200)
    slope, level = rng.uniform(-2, 0, (n, 1)), 10 ** rng.uniform(0, 1, (n, 1))
    power = level * (grid.angstrom / 6000) ** slope
    lines = sum(
        height * level * np.exp(-0.5 * ((grid.angstrom - centre) / (centre * 0.008)) ** 2)
        for centre, height in ((4700, 2.0), (5800, 1.0), (8300, 0.5))
    )
    absorbed = np.where(abs(grid.angstrom - 6800) < 60, -0.6, 0) * power
    sigma = noise * level
    return (
        grid,
        power,
        power + lines + absorbed + rng.normal(0, sigma, (n, 1200)),
        np.tile(sigma**-2, (1, 1200)),
    )


def test_lines_do_not_pull_at_the_continuum():
    grid, power, flux, ivar = quasar_like()
    clipped = np.abs(continua_of(flux, ivar, grid) / power - 1)
    plain = np.abs(continua_of(flux, ivar, grid, rounds=0) / power - 1)
    assert np.median(clipped.max(axis=1)) < 0.1
    assert np.median(clipped) < 0.02
    assert np.median(plain) > 5 * np.median(clipped)


def test_continua_do_not_depend_on_the_scale_nor_on_the_other_rows():
    grid, _, flux, ivar = quasar_like(5)
    found = continua_of(flux, ivar, grid)
    np.testing.assert_allclose(continua_of(1e-17 * flux, 1e34 * ivar, grid), 1e-17 * found, rtol=1e-7)
    for row in range(5):
        np.testing.assert_allclose(
            continua_of(flux[row : row + 1], ivar[row : row + 1], grid)[0], found[row], rtol=1e-9
        )


def test_continua_of_little_or_nothing():
    flux = np.full((4, 200), np.nan)
    flux[1], flux[2, :11], flux[3, :12] = 0, 1, 1
    found = continua_of(flux, None, GRID)
    assert np.isnan(found[[0, 2]]).all()
    np.testing.assert_array_equal(found[1], 0)
    np.testing.assert_allclose(found[3, :12], 1, rtol=1e-4)
    assert norms_of(flux, None, GRID, "continuum")[3] == pytest.approx(1, rel=1e-4)
    with pytest.raises(ac.InputError, match="degree"):
        continua_of(flux, None, GRID, degree=13)


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize("how", ["median", "max", "window:5080:5120", (508 * u.nm, 512 * u.nm)])
def test_flux_and_weights_over_the_norm(how):
    table = a_table()
    out = normalize_spectra(table, how)
    norms = norms_of(table["flux"].value, table["ivar"].value, GRID, how)
    np.testing.assert_allclose(out["flux_norm"].to_value(UNIT), norms)
    assert out["flux"].unit == out["ivar"].unit == u.one
    assert out["flux"].dtype == out["ivar"].dtype == np.float32
    np.testing.assert_allclose(out["flux"].value * norms[:, None], table["flux"].value, rtol=1e-6)
    np.testing.assert_allclose(out["ivar"].value, norms[:, None] ** 2 * np.ones((1, 200)), rtol=1e-6)
    # χ² of a pixel is what it was.
    np.testing.assert_allclose(out["flux"] ** 2 * out["ivar"], table["flux"] ** 2 * table["ivar"], rtol=1e-5)
    assert table["flux"].unit == UNIT
    assert out.colnames == ["source_id", "flux", "ivar", "flux_norm"]
    by = how if isinstance(how, str) else "window:5080:5120"
    assert normalization_of(out) == {"by": by, "softening": 0.0, "mean": None}
    assert out["flux_norm"].info.description == f"What the spectrum was divided by: {by}"


def test_continuum_by_pixel():
    grid, power, flux, ivar = quasar_like(8)
    table = a_table(flux.astype("f4"), ivar.astype("f4"), grid)
    out = normalize_spectra(table, "continuum")
    np.testing.assert_allclose(
        out["flux"].value * out["continuum"].to_value(UNIT), flux, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(out["ivar"].value, ivar * out["continuum"].value ** 2, rtol=1e-4)
    np.testing.assert_allclose(np.median(out["flux"].value, axis=1), 1, atol=0.1)
    np.testing.assert_allclose(out["flux_norm"].value, norms_of(flux, ivar, grid, "continuum"), rtol=1e-4)
    np.testing.assert_allclose(out["flux_norm"].value, np.median(power, axis=1), rtol=0.05)


def test_the_mean_and_its_reuse():
    table = a_table()
    out = normalize_spectra(table[:3], subtract_mean=True, softening=0.2)
    plain = normalize_spectra(table[:3], softening=0.2)
    mean = normalization_of(out)["mean"]
    np.testing.assert_allclose(mean, mean_spectrum(plain["flux"].value, plain["ivar"].value), rtol=1e-6)
    np.testing.assert_allclose(out["flux"].value, plain["flux"].value - mean, atol=1e-6)
    np.testing.assert_allclose(np.average(out["flux"].value, weights=out["ivar"].value, axis=0), 0, atol=1e-6)
    later = normalize_spectra(table[3:], subtract_mean=mean)
    expected = normalize_spectra(table[3:])["flux"].value - mean
    np.testing.assert_allclose(later["flux"].value, expected, atol=1e-6)
    np.testing.assert_allclose(normalization_of(later)["mean"], mean)


def test_softening_gives_the_weights_of_the_study():
    table = a_table()
    out, plain = normalize_spectra(table, "max", softening=0.1), normalize_spectra(table, "max")
    weights = plain["ivar"].value
    np.testing.assert_allclose(out["ivar"].value, weights / (1 + weights * 0.01), rtol=1e-6)


def test_softening_makes_no_weight_of_what_does_not_count():
    ivar = np.ones((5, len(GRID)), "f4")
    ivar[:, 0], ivar[:, 1] = np.inf, -1
    out = normalize_spectra(a_table(ivar=ivar), softening=0.5)
    assert (out["ivar"].value[:, :2] == 0).all()
    assert (out["ivar"].value[:, 2:] > 0).all()


def test_pixels_that_do_not_count():
    flux = np.ones((3, 200), "f4")
    flux[0, :50], flux[1, 3] = np.nan, 1e6
    ivar = np.isfinite(flux).astype("f4")
    ivar[1, 3] = 0  # a cosmic ray
    out = normalize_spectra(a_table(flux, ivar), "max")
    assert out["flux_norm"].value.tolist() == [1, 1, 1]
    assert np.isnan(out["flux"].value[0, :50]).all()
    assert not out["ivar"].value[0, :50].any()
    assert (out["flux"].value[1, 3], out["ivar"].value[1, 3]) == (1e6, 0)


def test_rows_without_a_positive_norm_are_masked_and_told_once():
    flux = np.ones((5, 200))
    flux[1], flux[2], flux[3] = -1, 0, np.nan
    with pytest.warns(
        ac.AstroClusterWarning, match="2 of 5 spectra cannot be normalised by median.*rows 1, 2"
    ) as said:
        out = normalize_spectra(a_table(flux), subtract_mean=True)
    assert len(said) == 1  # the row that had no data before is no news
    assert out["flux_norm"].mask.tolist() == [False, True, True, True, False]
    assert isinstance(out["flux_norm"], Masked)
    assert np.isnan(out["flux"].value[1:4]).all()
    assert not out["ivar"].value[1:4].any()
    np.testing.assert_array_equal(out["flux"].value[[0, 4]], 0)
    assert spectra_of(out).usable.tolist() == [True, False, False, False, True]


def test_by_nothing_only_the_mean_and_the_softening_are_left():
    table = a_table()
    out = normalize_spectra(table, None, softening=0.5)
    np.testing.assert_array_equal(out["flux"].value, table["flux"].value)
    np.testing.assert_allclose(out["ivar"].value, 0.8)
    assert (out["flux_norm"] == 1 * UNIT).all()


def test_a_window_is_recorded_to_the_last_digit():
    out = normalize_spectra(a_table(), (5080.123456 * u.AA, 512 * u.nm))
    assert ac.records(out)[-1]["parameters"]["how"] == "window:5080.123456:5120"


def test_spectra_without_errors():
    out = normalize_spectra(a_table(ivar=None), "median", subtract_mean=True)
    assert "ivar" not in out.colnames
    assert spectra_of(out).ivar is None
    np.testing.assert_allclose(out["flux"].value.mean(axis=0), 0, atol=1e-6)


def test_with_a_prefix_the_old_spectra_stay():
    table = a_table()
    out = normalize_spectra(table, prefix="n_")
    assert out.colnames == [*table.colnames, "n_flux", "n_ivar", "n_flux_norm"]
    np.testing.assert_array_equal(out["flux"], table["flux"])
    assert spectra_of(out).flux_column == "n_flux"
    assert spectra_of(table).flux_column == "flux"
    again = ac.rerun(out)  # nothing was replaced, so that the table is enough
    np.testing.assert_array_equal(again["n_flux"], out["n_flux"])
    assert again.meta["astro_cluster_spectra"] == out.meta["astro_cluster_spectra"]


@pytest.mark.parametrize("suffix", ["fits", "vot", "ecsv", "parquet"])
def test_it_runs_again_from_the_file(tmp_path, suffix):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    ac.write(a_table(), tmp_path / f"spectra.{suffix}")
    read = ac.read(tmp_path / f"spectra.{suffix}")
    out = normalize_spectra(read, (508 * u.nm, 512 * u.nm), subtract_mean=True, softening=0.1)
    ac.write(out, tmp_path / f"out.{suffix}")
    back = ac.read(tmp_path / f"out.{suffix}")
    np.testing.assert_array_equal(normalization_of(back)["mean"], normalization_of(out)["mean"])
    assert grid_of(back) == GRID
    again = ac.rerun(tmp_path / f"out.{suffix}")
    np.testing.assert_array_equal(again["flux"], out["flux"])
    np.testing.assert_array_equal(spectra_of(back).flux, spectra_of(out).flux)


def test_new_spectra_with_the_mean_of_old_ones_run_again(tmp_path):
    ac.write(a_table(), tmp_path / "spectra.fits")
    out = normalize_spectra(ac.read(tmp_path / "spectra.fits"), subtract_mean=np.linspace(0, 1, 200))
    ac.write(out, tmp_path / "out.fits")
    np.testing.assert_array_equal(ac.rerun(tmp_path / "out.fits")["flux"], out["flux"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"how": "mean"}, "is no way to normalise"),
        ({"how": "window:7000:7100"}, "no wavelength is between"),
        ({"softening": -1}, "softening"),
        ({"subtract_mean": np.ones(7)}, "a mean spectrum of 200 finite numbers"),
        ({"subtract_mean": np.full(200, np.nan)}, "a mean spectrum of 200 finite numbers"),
        ({"subtract_mean": "yes"}, "a mean spectrum of 200 finite numbers"),
    ],
)
def test_what_a_table_cannot_be_asked_for(change, message):
    with pytest.raises(ac.InputError, match=message):
        normalize_spectra(a_table(), **change)


def test_not_twice_and_not_over_other_columns():
    out = normalize_spectra(a_table())
    with pytest.raises(ac.InputError, match=r"normalised already \(by median\)"):
        normalize_spectra(out, "max", overwrite=True)
    table = a_table()
    table["flux_norm"] = 1.0
    with pytest.raises(ac.InputError, match="already has the column flux_norm"):
        normalize_spectra(table)
    assert normalize_spectra(table, overwrite=True)["flux_norm"].unit == UNIT


def test_the_maximum_of_noise_is_larger_than_the_truth():
    # What the guide says: the study's norm makes faint spectra too small, the median does not.
    rng = np.random.default_rng(6)
    faint = 1 + rng.normal(0, 1, (50, 200))
    assert norms_of(faint, None, GRID, "max").mean() > 3
    assert abs(norms_of(faint, None, GRID, "median").mean() - 1) < 0.05


def test_spectra_in_a_file_that_the_table_links_to(tmp_path):
    from astro_cluster.spectra import link_spectra, regrid

    table = a_table()
    ac.write(table, tmp_path / "spectra.fits")
    linked = link_spectra(QTable({"id": [30, 10]}), tmp_path / "spectra.fits", rows=[3, 1])
    assert "flux" not in linked.colnames
    out = normalize_spectra(linked)
    expected = normalize_spectra(table[[3, 1]])
    np.testing.assert_array_equal(out["flux"], expected["flux"])
    np.testing.assert_array_equal(spectra_of(out).flux, expected["flux"].value)
    coarse = regrid(linked, "4200:5800:50")
    np.testing.assert_array_equal(
        spectra_of(coarse).flux, regrid(table[[3, 1]], "4200:5800:50")["flux"].value
    )
