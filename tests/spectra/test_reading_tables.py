"""Spectra that are in a table already."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table
from astropy.utils.masked import Masked

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.spectra.regridding import regrid_rows

WAVE = np.linspace(4000.0, 6000.0, 801)
GRID = "4100:5900:200"
N = 5


@pytest.fixture
def fluxes():
    rng = np.random.default_rng(4)
    return rng.normal(5, 1, (N, WAVE.size)), rng.uniform(1, 4, (N, WAVE.size))


@pytest.fixture
def table(fluxes):
    flux, ivar = fluxes
    return QTable(
        {"name": list("abcde"), "flux": flux * u.mJy, "ivar": ivar / u.mJy**2, "Z": np.arange(1.0, N + 1)}
    )


def test_all_columns_stay_and_rows_are_resampled(table, fluxes):
    found = ac.read_spectra(table, grid=GRID, wavelength=WAVE * u.AA)
    assert found.colnames == ["name", "Z", "coverage", "snr_median", "spectrum_bad", "flux", "ivar"]
    assert table["flux"].shape == (N, 801)  # the one that was given is untouched
    wanted, weights = regrid_rows(WAVE, *fluxes, ac.grid_of(found))
    assert np.allclose(found["flux"].to_value(u.mJy), wanted, rtol=1e-6)
    assert np.allclose(found["ivar"].to_value(u.mJy**-2), weights, rtol=1e-6)
    assert found["flux"].dtype == np.float32
    assert not found["spectrum_bad"].any()


@pytest.mark.parametrize("how", ["nm", "column", "loglam", "falling", "array"])
def test_wavelengths_in_every_form(table, how):
    wanted = ac.read_spectra(table, grid=GRID, wavelength=WAVE * u.AA)
    given = {
        "nm": WAVE / 10 * u.nm,
        "column": "lam",
        "loglam": "loglam",
        "falling": WAVE[::-1] * u.AA,
        "array": WAVE,
    }
    table["lam"] = np.tile(WAVE / 1e4, (N, 1)) * u.um
    table["loglam"] = np.tile(np.log10(WAVE), (N, 1))
    if how == "falling":
        table["flux"], table["ivar"] = table["flux"][:, ::-1], table["ivar"][:, ::-1]
    found = ac.read_spectra(table, grid=GRID, wavelength=given[how])
    assert np.allclose(found["flux"].value, wanted["flux"].value, rtol=1e-5)
    assert np.allclose(found["ivar"].value, wanted["ivar"].value, rtol=1e-4)


def test_errors_and_other_names(table):
    wanted = ac.read_spectra(table, grid=GRID, wavelength=WAVE * u.AA)
    other = QTable({"spec": table["flux"], "unc": (table["ivar"] ** -0.5).to(u.Jy)})
    found = ac.read_spectra(other, grid=GRID, wavelength=WAVE * u.AA, flux="spec", error="unc")
    assert np.allclose(found["flux"].value, wanted["flux"].value, rtol=1e-6)
    assert np.allclose(found["ivar"].value, wanted["ivar"].value, rtol=1e-5)
    assert "spec" in found.colnames
    with pytest.warns(AstroClusterWarning, match="there is no column of errors"):
        found = ac.read_spectra(other, grid=GRID, wavelength=WAVE * u.AA, flux="spec")
    # Their scatter is 1 mJy, and the errors of three old pixels make that of a new one.
    assert 0.8 < np.median(found["ivar"].value) / 3.6 < 1.25


def test_masked_fluxes_are_missing(fluxes):
    mask = np.zeros((N, 801), bool)
    mask[1], mask[2, 100:300] = True, True
    for column in (MaskedColumn(fluxes[0], mask=mask), Masked(fluxes[0] * u.Jy, mask=mask)):
        table = QTable({"flux": column, "ivar": fluxes[1]})
        if isinstance(column, u.Quantity):
            table["ivar"] = fluxes[1] * u.Jy**-2
        with pytest.warns(AstroClusterWarning, match=r"1 of 5 .*row 1 \(none of its fluxes is a number"):
            found = ac.read_spectra(table, grid=GRID, wavelength=WAVE * u.AA)
        assert found["spectrum_bad"].tolist() == [False, True, False, False, False]
        assert found["coverage"][2] == pytest.approx(1 - np.log(4750 / 4250) / np.log(5900 / 4100), abs=0.01)
        assert np.isnan(found["flux"].value[1]).all()


def test_the_rest_frame_by_a_column(table, fluxes):
    found = ac.read_spectra(table, grid="1000:3000:300", wavelength=WAVE * u.AA, frame="rest")
    wanted, _ = regrid_rows(WAVE, *fluxes, ac.grid_of(found), factors=1 / (1 + np.arange(1.0, N + 1)))
    assert np.allclose(found["flux"].value, wanted, rtol=1e-5, equal_nan=True)
    table["Z"] = MaskedColumn(table["Z"], mask=[False, True, False, False, False])
    table["zphot"] = np.arange(1.0, N + 1)
    with pytest.warns(AstroClusterWarning, match=r"row 1 \(it has no redshift"):
        ac.read_spectra(table, grid="1000:3000:300", wavelength=WAVE * u.AA, frame="rest")
    again = ac.read_spectra(
        table, grid="1000:3000:300", wavelength=WAVE * u.AA, frame="rest", redshift="zphot"
    )
    assert np.array_equal(again["flux"].value, found["flux"].value, equal_nan=True)


def test_a_table_that_knows_its_grid_goes_to_another(table):
    fine = ac.read_spectra(table, grid="4050:5950:2000", wavelength=WAVE * u.AA)
    found = ac.read_spectra(fine, grid=GRID)
    direct = ac.read_spectra(table, grid=GRID, wavelength=WAVE * u.AA)
    # Flux is kept on both ways: wide means agree better than single pixels do.
    for one in (found, direct):
        assert one["flux"].shape == (N, 200)
    assert np.allclose(
        found["flux"].value.reshape(N, 20, 10).mean(2),
        direct["flux"].value.reshape(N, 20, 10).mean(2),
        rtol=0.03,
    )
    rest = ac.read_spectra(fine, grid="700:2500:400", frame="rest")
    back = ac.read_spectra(rest, grid="3200:4800:200", frame="observed")
    assert ac.grid_of(back).frame == "observed"
    middles = ac.grid_of(back).angstrom
    covered = np.isfinite(back["flux"].value[0])
    assert middles[covered][0] == pytest.approx(4050, abs=15)
    assert covered[-80:].all()
    smooth = [one["flux"].value[0].reshape(20, 10).mean(1)[15:] for one in (back, _on(fine, back))]
    assert np.allclose(*smooth, rtol=0.05)
    same = ac.read_spectra(rest)
    assert ac.grid_of(same) == ac.grid_of(rest)
    assert np.array_equal(same["flux"].value, rest["flux"].value, equal_nan=True)


def _on(table, other):
    return ac.read_spectra(table, grid=ac.grid_of(other))


def test_rows_on_several_grids_need_one(table):
    table["lam"] = np.tile(WAVE, (N, 1)) * u.AA
    found = ac.read_spectra(table, wavelength="lam")
    assert np.allclose(ac.grid_of(found).angstrom, WAVE)
    table["lam"][3] += 50 * u.AA
    with pytest.raises(
        InputError, match=r"1 rows have other wavelengths than the first.*row 3.*grid='4050:6000:\d+'"
    ):
        ac.read_spectra(table, wavelength="lam")


def test_a_table_is_on_record(table, tmp_path):
    found = ac.read_spectra(table, grid=GRID, wavelength=WAVE * u.AA)
    record = found.meta["astro_cluster"][-1]
    assert set(record["inputs"]) == {"flux", "ivar"}
    assert record["columns_replaced"] == ["flux", "ivar"]
    other = QTable({"spec": table["flux"], "weight": table["ivar"]})
    found = ac.read_spectra(other, grid=GRID, wavelength=WAVE * u.AA, flux="spec", ivar="weight")
    ac.write(found, tmp_path / "out.fits")
    again = ac.rerun(tmp_path / "out.fits")
    assert np.array_equal(again["flux"].value, found["flux"].value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "it is not known at which wavelengths the 801 fluxes of column 'flux' are"),
        ({"wavelength": WAVE[:5] * u.AA}, r"the wavelengths have the shape \(5,\)"),
        ({"wavelength": WAVE * u.Jy}, "its wavelengths are in Jy"),
        ({"wavelength": "lam"}, "no column 'lam'"),
        ({"wavelength": WAVE, "flux": "flx"}, "no column 'flx'; did you mean 'flux'"),
        ({"wavelength": WAVE, "flux": "Z"}, r"column 'Z' has the shape \(5,\)"),
        ({"wavelength": WAVE, "ivar": "ivar", "error": "ivar"}, "say the same twice"),
        ({"wavelength": WAVE, "error": "ivar"}, "column 'ivar' is in 1 / mJy2, and the flux in mJy"),
        ({"wavelength": WAVE, "redshift": "z"}, "'z'"),
        ({"wavelength": WAVE, "redshift": {"a": 1}}, "redshift= of a table is the name of its column"),
        ({"wavelength": WAVE, "pattern": "{a}"}, "pattern=: for files of spectra"),
        (
            {"wavelength": WAVE, "grid": "7000:8000:10"},
            "none of 5 rows has a spectrum .* do not overlap the grid",
        ),
    ],
)
def test_wrong_parameters(table, given, told):
    with pytest.raises(InputError, match=told):
        ac.read_spectra(table, **{"grid": GRID, **given})


def test_a_column_that_the_spectra_are_not_made_of_is_not_replaced(table):
    catalogue = QTable({"flux": np.arange(N) * u.mJy, "spec": table["flux"], "weight": table["ivar"]})
    given = {"wavelength": WAVE * u.AA, "grid": GRID, "flux": "spec", "ivar": "weight"}
    with pytest.raises(InputError, match="would replace the column 'flux', which they are not made of"):
        ac.read_spectra(catalogue, **given)
    catalogue.rename_column("flux", "brightness")
    assert ac.read_spectra(catalogue, **given)["brightness"].value.tolist() == [0, 1, 2, 3, 4]


def test_a_unit_in_which_float32_has_no_inverse_variances(table):
    with pytest.raises(InputError, match=r"8e\+58, which float32 .* give unit='1e-29 W / \(Hz m2\)'"):
        ac.read_spectra(table, grid=GRID, wavelength=WAVE * u.AA, unit="W / (m2 Hz)")
    found = ac.read_spectra(table, grid=GRID, wavelength=WAVE * u.AA, unit="1e-29 W / (Hz m2)")
    assert np.median(found["flux"].to_value(u.mJy)) == pytest.approx(5, rel=0.01)


def test_magnitudes_are_no_fluxes():
    table = QTable({"flux": np.ones((2, 801)) * u.ABmag})
    with pytest.raises(InputError, match=r"column 'flux' holds logarithms, in mag\(AB\)"):
        ac.read_spectra(table, grid=GRID, wavelength=WAVE * u.AA)


def test_an_empty_table():
    with pytest.raises(InputError, match="the table has no row"):
        ac.read_spectra(Table({"flux": np.zeros((0, 5))}), grid=GRID, wavelength=WAVE[:5])
