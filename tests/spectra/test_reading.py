"""Spec files of SDSS to a table, and what is asked of all files."""

from __future__ import annotations

import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.spectra.regridding import regrid_rows

GRID = "3625:9000:1500"
BOSS = u.Unit("1e-17 erg / (s cm2 Angstrom)")


def same(one, other):
    return np.array_equal(one["flux"].value, other["flux"].value, equal_nan=True) and np.array_equal(
        one["ivar"].value, other["ivar"].value
    )


# ---------------------------------------------------------------- the real files


@pytest.mark.realdata
def test_the_real_spectra(real_data):
    found = ac.read_spectra(str(real_data / "quasars" / "spec" / "*.fits"), grid=GRID)
    assert len(found) == 40
    assert not found["spectrum_bad"].any()
    assert (found["coverage"] == 1).all()
    assert found["flux"].shape == found["ivar"].shape == (40, 1500)
    assert found["flux"].dtype == found["ivar"].dtype == np.float32
    assert found["flux"].unit == BOSS
    assert found["ivar"].unit == BOSS**-2
    for row in found:
        with fits.open(row["source_file"]) as hdus:
            known = hdus[2].data[0]
            assert row["redshift"] == known["Z"]
            assert row["redshift_warning"] == known["ZWARNING"]
            assert row["object_class"] == known["CLASS"]
            assert row["source_id"] == f"{known['PLATE']}-{known['MJD']}-{known['FIBERID']:04d}"
            assert row["ra"].value == pytest.approx(known["PLUG_RA"], abs=1e-5)
            assert row["dec"].value == pytest.approx(known["PLUG_DEC"], abs=1e-5)


@pytest.mark.realdata
def test_the_real_spectra_in_the_rest_frame(real_data):
    files = sorted((real_data / "quasars" / "spec").glob("*.fits"))[:8]
    found = ac.read_spectra(files, grid="1000:9000:900", frame="rest")
    grid = ac.grid_of(found)
    assert (grid.frame, grid.medium) == ("rest", "vacuum")
    for row in found:
        with fits.open(row["source_file"]) as hdus:
            z, table = float(hdus[2].data["Z"][0]), hdus[1].data
        wavelength = 10.0 ** table["LOGLAM"].astype(float) / (1 + z)
        flux, ivar = regrid_rows(wavelength, table["FLUX"].astype(float), table["IVAR"].astype(float), grid)
        assert np.allclose(row["flux"].value, flux, rtol=1e-5, atol=1e-5, equal_nan=True)
        assert np.allclose(row["ivar"].value, ivar, rtol=1e-5)
        assert row["coverage"] == pytest.approx(np.isfinite(flux).mean())


# ---------------------------------------------------------------- spec files


def test_a_spec_file(tmp_path, boss):
    wavelength = boss(tmp_path / "spec-4000-55555-0007.fits")
    found = ac.read_spectra(tmp_path, grid=GRID)
    (row,) = found
    assert (row["source_id"], row["object_class"], row["redshift_warning"]) == ("4000-55555-0007", "QSO", 4)
    assert row["redshift"] == 2.0
    # The fibre, and not where the telescope pointed.
    assert (row["ra"], row["dec"]) == (150.25 * u.deg, 2.5 * u.deg)
    grid = ac.grid_of(found)
    flux, ivar = regrid_rows(wavelength, wavelength / 1000, np.full(wavelength.size, 4.0), grid)
    assert np.allclose(row["flux"].to_value(BOSS), flux, rtol=1e-6)
    assert np.allclose(row["ivar"].value, ivar, rtol=1e-5)
    assert row["snr_median"] == pytest.approx(np.median(flux * np.sqrt(ivar)), rel=1e-5)
    assert row["coverage"] == 1


def test_names_in_small_letters_and_old_plates(tmp_path, boss):
    boss(tmp_path / "a.fits", lower=True, plate=266)
    found = ac.read_spectra(tmp_path, grid=GRID)
    assert found["source_id"].tolist() == ["266-55555-0007"]


@pytest.mark.parametrize(("mask", "zeros"), [(None, 0), ("and", 117), ("or", 1500)])
def test_masks(tmp_path, boss, mask, zeros):
    bits = np.zeros(4600, int)
    bits[1000:1307] = 2**23
    boss(tmp_path / "a.fits", mask=bits)
    if mask == "or":  # OR_MASK takes out all pixels
        with pytest.raises(InputError, match="its mask takes out all of them"):
            ac.read_spectra(tmp_path, grid=GRID, mask=mask)
        return
    found = ac.read_spectra(tmp_path, grid=GRID, mask=mask)
    assert np.isfinite(found["flux"].value).all()  # a masked pixel keeps its flux
    assert abs(int((found["ivar"].value == 0).sum()) - zeros) <= 2
    assert np.allclose(found["flux"].value[0], ac.grid_of(found).angstrom / 1000, rtol=1e-3)


def test_the_method_is_that_of_regrid(tmp_path, boss):
    wavelength = boss(tmp_path / "a.fits", flux=np.random.default_rng(1).normal(5, 1, 4600))
    with fits.open(tmp_path / "a.fits") as hdus:
        flux = hdus[1].data["FLUX"].astype(np.float32)
    for method in ("flux-conserving", "linear", "study"):
        found = ac.read_spectra(tmp_path, grid=GRID, method=method)
        wanted, _ = regrid_rows(wavelength, flux, np.full(4600, 4.0, "f4"), ac.grid_of(found), method=method)
        assert np.allclose(found["flux"].value[0], wanted, rtol=1e-5)


def test_the_rest_frame_needs_a_redshift(tmp_path, boss):
    boss(tmp_path / "spec-1000-55555-0001.fits", fibre=1, plate=1000, redshift=1.0)
    boss(tmp_path / "spec-1000-55555-0002.fits", fibre=2, plate=1000, redshift=None)
    with pytest.warns(AstroClusterWarning, match=r"1 of 2 .*0002\.fits \(it has no redshift"):
        found = ac.read_spectra(tmp_path, grid="1900:4000:700", frame="rest")
    assert found["spectrum_bad"].tolist() == [False, True]
    assert found["redshift"].tolist() == [1.0, None]
    assert found["ra"].value.tolist() == [150.25, 150.25]  # the file itself is all right
    # Fluxes stay what they are; wavelengths are divided.
    assert np.allclose(found["flux"].value[0], 2 * ac.grid_of(found).angstrom / 1000, rtol=1e-4)
    assert np.isnan(found["flux"].value[1]).all()
    assert not found["ivar"].value[1].any()


@pytest.mark.parametrize(
    "given",
    [
        {"1000-55555-0001": 1.0, "1000-55555-0002": 2.0},
        {"spec-1000-55555-0001.fits": 1.0, "spec-1000-55555-0002": 2.0 * u.one},
    ],
)
def test_redshifts_that_are_given(tmp_path, boss, given):
    for fibre in (1, 2):
        boss(tmp_path / f"spec-1000-55555-000{fibre}.fits", fibre=fibre, plate=1000, redshift=0.1)
    found = ac.read_spectra(tmp_path, grid="2100:3000:300", frame="rest", redshift=given)
    assert found["redshift"].tolist() == [1.0, 2.0]
    middles = ac.grid_of(found).angstrom
    assert np.allclose(found["flux"].value, np.outer([2.0, 3.0], middles) / 1000, rtol=1e-4)


def test_redshifts_of_labels_and_patterns(tmp_path, boss):
    folder = tmp_path / "spec"
    folder.mkdir()
    for fibre in (1, 2, 3):
        boss(folder / f"spec-1000-55555-000{fibre}_z{fibre}.5.fits", fibre=fibre, plate=1000, redshift=0.1)
    found = ac.read_spectra(folder, grid=GRID, pattern="*_z{redshift:f}")
    assert found["redshift"].tolist() == [1.5, 2.5, 3.5]
    labels = Table({"source_id": ["1000-55555-0003", "1000-55555-0001"], "Z": [3.0, 1.0], "bal": [0.5, 0.25]})
    with pytest.warns(AstroClusterWarning, match="1 spectra have no label"):
        found = ac.read_spectra(folder, grid=GRID, labels=labels)
    assert found["redshift"].tolist() == [
        1.0,
        pytest.approx(0.1),
        3.0,
    ]  # where the labels have none, the file
    assert found["bal"].tolist() == [0.25, None, 0.5]
    assert found["Z"].tolist() == [1.0, None, 3.0]
    with pytest.raises(InputError, match="redshift='z_best': neither the labels nor the pattern"):
        ac.read_spectra(folder, grid=GRID, labels=labels, redshift="z_best")
    with pytest.raises(InputError, match="is no number"):
        ac.read_spectra(folder, grid=GRID, redshift={"a": "far"})


def test_wavelengths_in_air(tmp_path, boss):
    wavelength = boss(tmp_path / "a.fits", vacuum=False)
    vacuum = ac.read_spectra(tmp_path, grid=GRID)
    air = ac.read_spectra(tmp_path, grid=GRID, medium="air")
    assert ac.grid_of(air).medium == "air"
    middles = ac.grid_of(air).angstrom
    ivar = np.full(wavelength.size, 4.0)
    assert np.allclose(
        air["flux"].value, regrid_rows(wavelength, wavelength / 1e3, ivar, middles)[0], rtol=1e-6
    )
    # A feature at 5000 Å in air is at 5001.39 Å in vacuum (Morton 2000).
    assert np.interp(5001.394, middles, vacuum["flux"].value[0]) == pytest.approx(5.0, abs=2e-4)


def test_uncovered_pixels(tmp_path, boss):
    boss(tmp_path / "a.fits", fibre=1)
    boss(tmp_path / "b.fits", fibre=2, first=3.60, n=1000)  # 3981 to 5011 Å
    found = ac.read_spectra(tmp_path, grid=GRID)
    middles = ac.grid_of(found).angstrom
    inside = (middles > 3981.1) & (middles < 5010.7)
    assert np.array_equal(np.isfinite(found["flux"].value[1]), inside)
    assert np.array_equal(found["ivar"].value[1] > 0, inside)
    assert found["coverage"].tolist() == [1.0, inside.mean()]
    assert not found["spectrum_bad"].any()
    with pytest.warns(AstroClusterWarning, match=r"b\.fits \(it covers .* % of the grid .* 5010\."):
        full = ac.read_spectra(tmp_path, grid=GRID, require_full=True)
    assert full["spectrum_bad"].tolist() == [False, True]
    assert np.isnan(full["flux"].value[1]).all()
    assert full["coverage"].tolist() == [1.0, None]


# ---------------------------------------------------------------- grids


def test_without_a_grid_that_of_the_files_is_taken(tmp_path, boss):
    wavelength = boss(tmp_path / "a.fits", fibre=1)
    boss(tmp_path / "b.fits", fibre=2, flux=np.arange(4600.0))
    found = ac.read_spectra(tmp_path)
    assert np.allclose(ac.grid_of(found).angstrom, wavelength, rtol=1e-12)
    assert np.array_equal(found["flux"].value[1], np.arange(4600, dtype="f4"))  # nothing is resampled


def test_files_on_several_grids_need_one(tmp_path, boss):
    boss(tmp_path / "a.fits", fibre=1)
    boss(tmp_path / "b.fits", fibre=2, first=3.56)
    boss(tmp_path / "c.fits", fibre=3, n=4500)
    with pytest.raises(
        InputError, match=r"2 of 3 spectra have other wavelengths .*b\.fits .*grid='3635:9995:\d+'"
    ) as e:
        ac.read_spectra(tmp_path)
    proposal = str(e.value).split("--grid ")[1].rstrip(")")
    found = ac.read_spectra(tmp_path, grid=proposal)
    assert (found["coverage"] == 1).all()


def test_a_grid_of_its_own_frame(tmp_path, boss):
    boss(tmp_path / "a.fits", redshift=1.0)
    grid = ac.log_grid(2000 * u.AA, 4000 * u.AA, 300, frame="rest")
    found = ac.read_spectra(tmp_path, grid=grid)
    assert ac.grid_of(found) == grid
    with pytest.raises(InputError, match="frame='observed', and the grid is of 'rest'"):
        ac.read_spectra(tmp_path, grid=grid, frame="observed")


# ---------------------------------------------------------------- units


def test_other_units_become_that_of_the_first(tmp_path, boss):
    boss(tmp_path / "a.fits", fibre=1)
    wavelength = boss(tmp_path / "b.fits", fibre=2, unit="erg/s/cm^2/Ang", ivar=np.full(4600, 4e34))
    boss(tmp_path / "c.fits", fibre=3, unit="counts")
    boss(tmp_path / "d.fits", fibre=4, unit=None)
    with pytest.warns(AstroClusterWarning, match=r"2 of 4 .*c\.fits .* cannot become .*d\.fits .*no unit"):
        found = ac.read_spectra(tmp_path, grid=GRID)
    assert found["spectrum_bad"].tolist() == [False, False, True, True]
    assert found["flux"].unit == BOSS
    assert np.allclose(found["flux"].value[1], 1e17 * found["flux"].value[0], rtol=1e-5)
    with pytest.warns(AstroClusterWarning, match=r"1 of 4 .*c\.fits"):
        found = ac.read_spectra(tmp_path, grid=GRID, unit="mJy")
    # The flux in mJy, by hand: f_nu = f_lambda · λ² / c.
    middles = ac.grid_of(found).angstrom * u.AA
    wanted = (found["flux"][0] / (middles.value / 1000) / BOSS).to_value(u.mJy / BOSS)
    by_hand = (1 * BOSS).to_value(u.mJy, u.spectral_density(middles))
    assert np.allclose(wanted, by_hand, rtol=1e-4)
    assert np.allclose(found["flux"].value[3], wavelength_mean(wavelength, middles.value), rtol=1e-3)


def wavelength_mean(wavelength, middles):
    """Fluxes of a file without a unit: λ / 1000, as they stand."""
    return np.interp(middles, wavelength, wavelength / 1000)


def test_small_fluxes_get_a_power_of_ten(tmp_path, boss):
    boss(tmp_path / "a.fits", unit="erg/s/cm2/A", flux=np.full(4600, 3e-17), ivar=np.full(4600, 1e36))
    found = ac.read_spectra(tmp_path, grid=GRID)
    assert found["flux"].unit == BOSS
    assert np.allclose(found["flux"].value, 3, rtol=1e-5)
    assert np.isfinite(found["ivar"].value).all()
    snr = np.median(found["flux"].value * np.sqrt(found["ivar"].value))
    assert snr == pytest.approx(30 * np.sqrt(np.median(found["ivar"].value) / 100), rel=1e-3)


# ---------------------------------------------------------------- where files are


def test_archives_lists_and_patterns_are_the_same(tmp_path, boss):
    folder = tmp_path / "spec"
    folder.mkdir()
    for fibre in (2, 10):
        boss(folder / f"spec-4000-55555-{fibre:04d}.fits", fibre=fibre, flux=np.full(4600, float(fibre)))
    files = sorted(folder.iterdir())
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(folder, "spec")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(folder, "spec")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in files:
            archive.write(file, f"spec/{file.name}")
    wanted = ac.read_spectra(folder, grid=GRID)
    assert wanted["source_id"].tolist() == ["4000-55555-0002", "4000-55555-0010"]
    for source in (files, f"{folder}/*.fits", [str(files[0]), files[1]]):
        assert same(ac.read_spectra(source, grid=GRID), wanted)
    for name in ("a.tar.gz", "a.tar", "a.zip"):
        found = ac.read_spectra(tmp_path / name, grid=GRID, n_jobs=2)
        assert same(found, wanted)
        assert found["member"].tolist() == [f"spec/{file.name}" for file in files]


def test_a_packed_file(tmp_path, boss):
    import gzip

    boss(tmp_path / "a.fits")
    wanted = ac.read_spectra(tmp_path / "a.fits", grid=GRID)
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
    found = ac.read_spectra(tmp_path / "a.fits.gz", grid=GRID)
    assert same(found, wanted)


def test_threads_change_nothing(tmp_path, boss):
    rng = np.random.default_rng(1)
    for fibre in range(70):
        boss(tmp_path / f"s{fibre}.fits", fibre=fibre, n=400, first=3.6, flux=rng.normal(size=400))
    one, two = (ac.read_spectra(tmp_path, grid="3990:4300:100", n_jobs=n) for n in (1, 2))
    assert same(one, two)
    assert one["source_id"].tolist() == [f"4000-55555-{fibre:04d}" for fibre in range(70)]


def test_progress_counts_to_the_end(tmp_path, boss):
    for fibre in range(5):
        boss(tmp_path / f"s{fibre}.fits", n=400, first=3.6)
    told = []
    ac.read_spectra(tmp_path, grid="3990:4300:100", progress=lambda done, n: told.append((done, n)), n_jobs=2)
    assert sorted(told) == [(i, 5) for i in range(1, 6)]


def test_headers_and_names(tmp_path, boss):
    boss(tmp_path / "f1_a.fits", extra={"OBSERVER": "me", "REDSHIFT": 3.0})
    found = ac.read_spectra(tmp_path, grid=GRID, headers="EXPTIME, ra, observer", pattern="f{field:d}_*")
    assert found["field"].tolist() == [1]
    assert found["exptime"][0] == 4500.5 * u.s
    assert found["observer"].tolist() == ["me"]
    assert found["ra_2"][0] == 1.0 * u.deg  # the telescope's; ra is the object's
    assert found["ra"][0] == 150.25 * u.deg
    assert len(ac.read_spectra(tmp_path, grid=GRID, headers="all").colnames) > len(found.colnames)
    with pytest.raises(InputError, match="no spectrum has the header key 'EXTIME'"):
        ac.read_spectra(tmp_path, grid=GRID, headers=["EXTIME"])
    with pytest.raises(InputError, match="a column 'flux', which is a name of ours"):
        ac.read_spectra(tmp_path, grid=GRID, pattern="f{flux:d}_*")


# ---------------------------------------------------------------- the table


def test_the_table_can_be_written_and_run_again(tmp_path, boss):
    for fibre in (1, 2):
        boss(tmp_path / f"spec-4000-55555-000{fibre}.fits", fibre=fibre)
    found = ac.read_spectra(str(tmp_path / "spec*.fits"), grid=GRID)
    ac.write(found, tmp_path / "out.fits")
    read = ac.read(tmp_path / "out.fits")
    assert same(read, found)
    assert (read["flux"].unit, read["ivar"].unit) == (found["flux"].unit, found["ivar"].unit)
    assert ac.grid_of(read) == ac.grid_of(found)
    again = ac.rerun(tmp_path / "out.fits")
    assert same(again, found)
    record = found.meta["astro_cluster"][-1]
    assert record["parameters"]["grid"] == GRID
    assert record["files"]["spectra"] == 2
    assert record["files"]["broken"] == 0


def test_a_grid_object_is_on_record(tmp_path, boss):
    boss(tmp_path / "a.fits")
    grid = ac.log_grid(4000 * u.AA, 8000 * u.AA, 100)
    found = ac.read_spectra(tmp_path / "a.fits", grid=grid)
    ac.write(found, tmp_path / "out.fits")
    assert same(ac.rerun(tmp_path / "out.fits"), found)


def test_columns_say_what_they_are(tmp_path, boss):
    boss(tmp_path / "a.fits")
    found = ac.read_spectra(tmp_path, grid=GRID)
    assert found["flux"].info.meta["ucd"] == "phot.flux.density;em.wl"
    assert found["redshift"].info.meta["ucd"] == "src.redshift"
    assert "3625–9000 Å" in found["flux"].info.description
    spectra = ac.spectra_of(found)
    assert spectra.usable.tolist() == [True]
    assert np.shares_memory(spectra.flux, found["flux"].value)


def test_the_memory_is_that_of_the_result(tmp_path, boss):
    n, m = 600, 4500
    boss(tmp_path / "spec-4000-55555-0000.fits")
    for fibre in range(1, n):
        (tmp_path / f"spec-4000-55555-{fibre:04d}.fits").hardlink_to(tmp_path / "spec-4000-55555-0000.fits")
    ac.read_spectra(tmp_path / "spec-4000-55555-0000.fits", grid=GRID)  # what is compiled and imported once
    tracemalloc.start()
    found = ac.read_spectra(tmp_path, grid=f"3625:9000:{m}", n_jobs=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["flux"].shape == (n, m)
    result = 2 * 4 * n * m
    assert result < peak < 1.5 * result + 10 * 2**20  # the files themselves are 90 MB


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"grid": "3625-9000"}, "is no wavelength grid; write the first"),
        ({"grid": 1500}, "grid=1500 is no grid of wavelengths"),
        ({"method": "cubic"}, "method='cubic' is no way to resample"),
        ({"frame": "galactic"}, "frame='galactic'; give 'observed' or 'rest'"),
        ({"medium": "water"}, "medium='water'"),
        ({"mask": "xor"}, "mask='xor'"),
        ({"unit": "parrots"}, "unit='parrots' is no unit"),
        ({"unit": u.ABmag}, "is one of logarithms"),
        ({"wavelength_unit": "Jy"}, "is no unit of wavelengths"),
        ({"wavelength": [1, 2]}, "files have wavelengths of their own"),
        ({"n_jobs": 0}, "n_jobs=0"),
        ({"labels_on": "id"}, "labels_on= needs labels="),
        ({"redshift": 2.0}, "redshift=2.0 is neither"),
        ({"pattern": "x{a}"}, "no name fits pattern"),
    ],
)
def test_wrong_parameters(tmp_path, boss, wrong, told):
    boss(tmp_path / "a.fits")
    with pytest.raises(InputError, match=told):
        ac.read_spectra(tmp_path, **{"grid": GRID, **wrong})


def test_nothing_to_read(tmp_path):
    with pytest.raises(InputError, match=r"no file matches the pattern .*\*\.fits"):
        ac.read_spectra(str(tmp_path / "*.fits"), grid=GRID)
    with pytest.raises(InputError, match="there is no file or folder"):
        ac.read_spectra(tmp_path / "none.fits", grid=GRID)
    with pytest.raises(InputError, match="no spectrum and no archive of spectra was found"):
        ac.read_spectra(tmp_path, grid=GRID)
    with pytest.raises(InputError, match="cannot read spectra from a int"):
        ac.read_spectra(3, grid=GRID)
