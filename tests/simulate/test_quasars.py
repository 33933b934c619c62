"""What is put into simulated spectra of quasars has to be found in them again."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from astro_cluster import simulate
from astro_cluster.exceptions import InputError
from astro_cluster.simulate import quasar_absorption, quasar_lines, quasar_noise
from astro_cluster.simulate.quasar_spectra import FLUX_UNIT
from astro_cluster.spectra import read_spectra, spectra_of
from astro_cluster.wavelengths import Grid, grid_of, log_grid

C = 299_792.458


@pytest.fixture(scope="module")
def survey():
    return simulate.quasars(700, noiseless=True, random_state=3)


@pytest.fixture(scope="module")
def native():
    return simulate.quasars(
        60, grid=simulate.native_grid(), redshifts=(2.0, 3.0), noiseless=True, snr=20, random_state=4
    )


def test_table_is_of_the_form_of_read_spectra(survey):
    spectra = spectra_of(survey)
    assert spectra.flux.shape == (700, 1500)
    assert spectra.usable.all()
    assert spectra.flux.dtype == spectra.ivar.dtype == np.float32
    assert survey["flux"].unit == FLUX_UNIT
    assert survey["ivar"].unit == FLUX_UNIT**-2
    assert spectra.grid == log_grid(3625 * u.AA, 9000 * u.AA, 1500)
    assert len(set(survey["source_id"])) == 700
    assert "no observation" in survey.meta["description"]


def test_noise_is_what_the_inverse_variance_says(survey):
    spectra = spectra_of(survey)
    counts = spectra.ivar > 0
    pulls = (spectra.flux - survey["flux_true"].value)[counts] * np.sqrt(spectra.ivar[counts])
    assert pulls.size > 1e6
    assert np.mean(pulls) == pytest.approx(0, abs=4 / np.sqrt(pulls.size))
    assert np.mean(pulls**2) == pytest.approx(1, abs=4 * np.sqrt(2 / pulls.size))
    assert np.mean(pulls**4) == pytest.approx(3, abs=0.05)
    # And no pixel knows of the noise of its neighbour.
    errors = np.where(counts, (spectra.flux - survey["flux_true"].value) * np.sqrt(spectra.ivar), 0)
    assert np.mean(errors[:, 1:] * errors[:, :-1]) == pytest.approx(0, abs=0.005)


def test_noise_rises_to_the_ends_and_under_sky_lines():
    wave = np.arange(3600.0, 10_300.0)
    variance = quasar_noise.sky_variance(wave)
    at = lambda x: variance[np.searchsorted(wave, x)]  # noqa: E731
    assert at(3650) > 10 * at(4200) > 20 * at(5200)
    assert at(5930) > 1.4 * at(5400)  # where the arms meet
    assert at(5581) > 10 * at(5540)
    assert at(8829) > 20 * at(8740)
    # A wide pixel has the mean of what falls into it.
    edges = np.array([8800.0, 8860.0])
    fine = np.arange(8800.0, 8860.0, 0.01)
    assert quasar_noise.mean_over(edges, "sky_variance")[0] == pytest.approx(
        quasar_noise.sky_variance(fine).mean(), rel=0.01
    )


def test_signal_to_noise_begins_where_it_is_asked_to_and_half_have_a_third_more():
    table = simulate.quasars(400, grid=simulate.native_grid(), snr=12, random_state=5)
    ratio = np.median(table["flux"].value * np.sqrt(table["ivar"].value), axis=1)
    ratio = ratio[np.isfinite(ratio)]
    assert np.percentile(ratio, 1) > 11.3
    assert np.median(ratio) == pytest.approx(12 * 1.343, rel=0.06)


def test_redshifts_are_those_of_the_survey_or_those_given(survey):
    z = np.asarray(survey["redshift"])
    assert z.min() >= 1.9
    assert np.median(z) == pytest.approx(2.30, abs=0.06)
    assert np.percentile(z, 95) == pytest.approx(3.25, abs=0.2)
    assert np.median(survey["M_I"].value) == pytest.approx(-27.2, abs=0.1)
    asked = np.linspace(0.1, 5, 300)
    given_ones = simulate.quasars(300, grid="4000:8000:20", redshifts=asked)
    assert np.array_equal(given_ones["redshift"], asked)
    between = simulate.quasars(300, grid="4000:8000:20", redshifts=(0.5, 0.9))["redshift"]
    assert between.min() >= 0.5
    assert between.max() <= 0.9
    assert np.ptp(between) > 0.35


def _measured_line(table, rest, reach):
    """Return centre [km/s] and equivalent width [Å] of the mean line over a straight continuum."""
    wave = grid_of(table).angstrom
    velocity = np.arange(-reach, reach, 100.0)
    stack = []
    for z, flux in zip(table["redshift"], table["flux_true"].value, strict=True):
        at = np.interp(rest * (1 + z) * (1 + velocity / C), wave, flux)
        edge = np.array([at[:8].mean(), at[-8:].mean()])
        stack.append(at / np.interp(velocity, [-reach, reach], edge) - 1)
    mean = np.mean(stack, axis=0)
    return float(np.sum(mean * velocity) / mean.sum()), float(mean.sum() * 100 * rest / C), velocity, mean


def _core(velocity, mean):
    """Return the middle of the upper half of a line [km/s]."""
    top = mean > 0.5 * mean.max()
    return np.average(velocity[top], weights=mean[top])


def test_lines_are_where_they_belong(survey):
    """Mg II has no blueshift; C IV has the one that is in the table, and its equivalent width."""
    low = simulate.quasars(200, redshifts=(0.7, 1.6), noiseless=True, bal_fraction=0, random_state=2)
    centre, _, velocity, mean = _measured_line(low, 2799.1, 6000)
    assert centre == pytest.approx(0, abs=250)
    peak = velocity[np.argmax(mean)]
    assert peak == pytest.approx(0, abs=200)
    quiet = survey[~survey["bal"]]
    assert -900 < _core(*_measured_line(quiet, 1549.06, 12_000)[2:]) < -200
    strong = quiet["eigenvector_1"] > 1
    peaks = []
    for part in (quiet[strong], quiet[quiet["eigenvector_1"] < -1]):
        peaks.append(_core(*_measured_line(part, 1549.06, 12_000)[2:]))
    assert peaks[0] < peaks[1] - 300


def test_baldwin_effect(survey):
    quiet = survey[~survey["bal"]]
    logs = np.log10(quiet["ew_civ"].value)
    slope = np.polyfit(-0.4 * quiet["M_I"].value, logs, 1)[0]
    assert -0.4 < slope < -0.1
    bright = quiet["M_I"].value < np.percentile(quiet["M_I"].value, 25)
    faint = quiet["M_I"].value > np.percentile(quiet["M_I"].value, 75)
    widths = [_measured_line(quiet[rows], 1549.06, 9000)[1] for rows in (bright, faint)]
    assert widths[0] < widths[1]


@given(
    width=st.floats(300, 8000),
    at=st.floats(4200, 8000),
    area=st.floats(0.1, 100),
    n=st.sampled_from([400, 1500]),
)
@settings(max_examples=30, deadline=None)
def test_a_gaussian_has_its_area_its_middle_and_its_width(width, at, area, n):
    log_wave = np.log(log_grid(3625 * u.AA, 9000 * u.AA, n).angstrom)
    sigma = max(width / C, 1.2 * (log_wave[1] - log_wave[0]))
    out = np.zeros((1, n), dtype=np.float32)
    quasar_lines.add_gaussians(
        out, log_wave, centre=np.array([np.log(at)]), sigma=np.array([sigma]), area=np.array([area])
    )
    weights = out[0] * (log_wave[1] - log_wave[0])
    assert weights.sum() == pytest.approx(area, rel=2e-3)
    middle = np.sum(weights * log_wave) / weights.sum()
    assert middle == pytest.approx(np.log(at), abs=0.02 * sigma)
    assert np.sqrt(np.sum(weights * (log_wave - middle) ** 2) / weights.sum()) == pytest.approx(
        sigma, rel=0.01
    )


def test_rows_are_drawn_together_as_alone():
    """A wide neighbour must not widen what a row gets, nor one at the edge of the grid lose anything."""
    log_wave = np.log(log_grid(4000 * u.AA, 5000 * u.AA, 300).angstrom)
    centre, sigma, area = np.log([4010.0, 4500, 4995, 3000]), np.array([0.002, 0.03, 0.001, 0.01]), np.ones(4)
    together = np.zeros((4, 300), dtype=np.float32)
    quasar_lines.add_gaussians(together, log_wave, centre=centre, sigma=sigma, area=area)
    for i in range(4):
        expected = np.exp(-0.5 * ((log_wave - centre[i]) / sigma[i]) ** 2) / (np.sqrt(2 * np.pi) * sigma[i])
        expected[np.abs(log_wave - centre[i]) > 5 * sigma[i]] = 0
        assert together[i] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_forest_lets_through_what_was_measured():
    """The mean transmission between Lyβ and Lyα is that of Becker et al. (2013), on both grids."""
    redshift = np.full(400, 3.0)
    for grid in (log_grid(3625 * u.AA, 9000 * u.AA, 1500), simulate.native_grid()):
        through = quasar_absorption.forest(np.random.default_rng(1), grid.edges, redshift, furthest=3.5)
        wave = grid.angstrom
        for low, high in ((4200, 4250), (4700, 4750)):
            pixels = (wave > low) & (wave < high)
            z = wave[pixels] / 1215.67 - 1
            expected = np.exp(-(0.751 * ((1 + z) / 4.5) ** 2.90 - 0.132)).mean()
            assert through[:, pixels].mean() == pytest.approx(expected, abs=0.01)
        assert (through[:, wave > 1215.67 * 4] == 1).all()
        assert through.min() >= 0
        assert through.max() <= 1
        scatter = through[:, (wave > 4400) & (wave < 4700)].std()
        assert 0.1 < scatter < 0.35


def test_damped_absorbers_have_damping_wings():
    """Against the Lorentzian limit of the Voigt profile, far from the core."""
    wave = log_grid(3600 * u.AA, 5000 * u.AA, 8000).angstrom
    depth = np.zeros((1, wave.size), dtype=np.float32)
    quasar_absorption.add_damped(depth, wave, redshift=np.array([2.5]), column=np.array([20.6]))
    away = wave / 3.5 - 1215.67
    far = (np.abs(away) > 6) & (np.abs(away) < 25)
    # τ = N (λ² / c) (e² f / (4 mₑ c)) Γ λ² / (4 π² Δλ²) ... in numbers, with Γ and f of Lyman α.
    gamma, f, light = 6.265e8, 0.4164, 2.998e10
    frequency = light * np.abs(away) * 1e-8 / (1215.67e-8) ** 2
    expected = 10**20.6 * 0.02654 * f * gamma / (4 * np.pi**2) / frequency**2
    assert depth[0, far] == pytest.approx(expected[far], rel=0.03)
    assert (depth[0, wave < 3.5 * 905] > 50).all() if (wave < 3.5 * 905).any() else True


def test_troughs_are_at_their_velocity():
    flow = quasar_absorption.Outflow(
        velocity=np.array([[10_000.0, 0.0], [8000, 0]]), half_width=np.array([[2500.0, 1], [2000, 1]]),
        depth=np.array([[0.8, 0.0], [0, 0]]), low=np.array([False, False]),
    )  # fmt: skip
    wave = np.linspace(1100, 1700, 6001)
    through = quasar_absorption.outflow(np.log(np.stack([wave, wave])).astype(np.float32), flow)
    assert through.shape == (1, 6001)
    ratio = (1549.06 / wave) ** 2
    velocity = C * (ratio - 1) / (ratio + 1)  # relativistic
    inside = through[0, np.abs(velocity - 10_000) < 500]
    assert inside == pytest.approx(0.2, abs=0.01)
    assert through[0, (velocity < 4000) & (velocity > -5000)] == pytest.approx(1, abs=1e-3)
    half = velocity[(through[0] < 0.6) & (np.abs(velocity - 10_000) < 5000)]
    assert half.min() == pytest.approx(7500, abs=60)
    assert half.max() == pytest.approx(12_500, abs=60)
    silicon = np.abs(C * ((1396.76 / wave) ** 2 - 1) / ((1396.76 / wave) ** 2 + 1) - 10_000) < 300
    assert through[0, silicon].mean() == pytest.approx(1 - 0.55 * 0.8, abs=0.02)
    # The index against the integral by hand: from 2000 km/s on from its border.
    v = np.arange(3000.0, 25_000, 1)
    depth = 1 - (1 - 0.8 * 0.5 ** (np.abs((v - 10_000) / 2500) ** 4)) / 0.9
    begin = v[depth > 0][0] + 2000
    by_hand = depth[(depth > 0) & (v > begin)].sum()
    assert quasar_absorption.balnicity(flow) == pytest.approx([by_hand, 0], rel=0.02, abs=1e-9)


def test_troughs_are_in_the_spectra_that_have_them(survey):
    share = simulate.quasars(600, grid="4000:8000:20", bal_fraction=0.3)["bal"].mean()
    assert share == pytest.approx(0.3, abs=0.08)
    assert not simulate.quasars(50, grid="4000:8000:20", bal_fraction=0)["bal"].any()
    assert (survey["bi_civ"].value[~survey["bal"]] == 0).all()
    near = survey[survey["redshift"] < 4]  # so that 1690 Å is on the grid
    strong = near["bi_civ"].value > 2500
    wave = grid_of(survey).angstrom
    ratio = np.array(
        [
            np.median(row["flux_true"].value[np.abs(wave / (1 + row["redshift"]) - 1500) < 30])
            / np.median(row["flux_true"].value[np.abs(wave / (1 + row["redshift"]) - 1690) < 20])
            for row in near
        ]
    )
    assert np.median(ratio[strong]) < 0.8 * np.median(ratio[~near["bal"]])


def test_first_rows_and_threads_change_nothing():
    few = simulate.quasars(30, grid="3625:9000:150", random_state=8, noiseless=True, n_jobs=1)
    many = simulate.quasars(600, grid="3625:9000:150", random_state=8, noiseless=True, n_jobs=3)
    for name in few.colnames:
        first, again = np.asarray(few[name]), np.asarray(many[name][:30])
        assert np.array_equal(first, again, equal_nan=first.dtype.kind == "f"), name
    other = simulate.quasars(30, grid="3625:9000:150", random_state=9)
    assert not np.array_equal(other["redshift"], few["redshift"])


def test_incomplete_spectra_keep_their_row():
    table = simulate.quasars(100, grid="3625:9000:300", incomplete=1.0)
    missing = np.isnan(table["flux"].value)
    assert missing.any(axis=1).all()
    assert (table["ivar"].value[missing] == 0).all()
    assert np.allclose(table["coverage"], 1 - missing.mean(axis=1))
    assert table["coverage"].min() > 0.7
    assert (missing[:, 0] | missing[:, -1]).all()


def test_masked_pixels_are_mostly_under_sky_lines(native):
    masked = native["ivar"].value == 0
    assert 0.02 < masked.mean() < 0.08  # 0.05 of the pixels of the real ones
    wave = simulate.native_grid().angstrom
    assert (
        masked[:, np.abs(wave - 8829) < 1].mean() > 0.5 > 0.05 > masked[:, np.abs(wave - 5000) < 100].mean()
    )


def test_files_come_back_as_they_were(native, tmp_path):
    paths = simulate.write_spectra(native[:3], tmp_path)
    assert [path.name for path in paths] == [f"spec-{name}.fits" for name in native["source_id"][:3]]
    wave = simulate.native_grid().angstrom
    for row, path in enumerate(paths):
        with fits.open(path) as hdus:
            assert hdus[0].header["VACUUM"] is True
            assert "1E-17" in hdus[0].header["BUNIT"]
            assert hdus[0].header["PLUG_RA"] == pytest.approx(native["ra"][row].value)
            coadd, specobj = hdus[1].data, hdus[2].data
            there = np.isfinite(native["flux"][row].value)
            assert 10 ** coadd["LOGLAM"].astype(float) == pytest.approx(wave[there], rel=1e-6)
            assert np.array_equal(coadd["FLUX"], native["flux"][row].value[there])
            counts = coadd["AND_MASK"] == 0
            assert np.array_equal(counts, native["ivar"][row].value[there] > 0)
            assert coadd["IVAR"][counts] == pytest.approx(native["ivar"][row].value[there][counts], rel=1e-5)
            assert (coadd["IVAR"] > 0).all()
            assert coadd["MODEL"] == pytest.approx(native["flux_true"][row].value[there], rel=1e-5, abs=1e-5)
            assert specobj["Z"][0] == pytest.approx(native["redshift"][row])
            assert specobj["CLASS"][0] == "QSO"
    assert not list(tmp_path.glob(".*"))


def test_files_are_read_as_the_survey_s(native, tmp_path):
    simulate.write_spectra(native, tmp_path)
    there = np.asarray(native["coverage"]) == 1
    assert there.sum() > 50
    same = read_spectra(tmp_path, grid=simulate.native_grid(), mask="and")
    assert list(same["source_id"]) == list(native["source_id"])
    assert np.array_equal(same["flux"].value[there], native["flux"].value[there])
    assert np.array_equal(same["ivar"].value[there] > 0, native["ivar"].value[there] > 0)
    assert same["redshift"] == pytest.approx(np.asarray(native["redshift"]), rel=1e-6)
    assert same["ra"].value == pytest.approx(native["ra"].value)
    # On a coarser grid the errors are still those that the variance tells, where the light is smooth.
    coarse = read_spectra(tmp_path, grid="6500:8500:300")
    wave, fine = grid_of(coarse).angstrom, simulate.native_grid().angstrom
    smooth = np.array([np.interp(wave, fine, flux) for flux in native["flux_true"].value[there]])
    pulls = (coarse["flux"].value[there] - smooth) * np.sqrt(coarse["ivar"].value[there])
    assert 1.4826 * np.median(np.abs(pulls)) == pytest.approx(1, abs=0.06)
    # Nearly four native pixels go into one of these.
    assert coarse["snr_median"].mean() > 1.5 * same["snr_median"].mean()


def test_files_of_another_grid_have_native_pixels(tmp_path):
    table = simulate.quasars(2, incomplete=0, noiseless=True)
    (path, _) = simulate.write_spectra(table, tmp_path / "deep" / "er")
    coadd = fits.getdata(path, 1)
    assert np.allclose(np.diff(coadd["LOGLAM"].astype(float)), 1e-4, atol=1e-6)
    assert coadd["MODEL"] == pytest.approx(
        np.interp(10 ** coadd["LOGLAM"].astype(float), grid_of(table).angstrom, table["flux_true"][0].value),
        rel=2e-3,
    )  # the wavelengths of the files are single precision
    ratio = np.median(table["ivar"][0].value[table["ivar"][0].value > 0]) / np.median(coadd["IVAR"])
    assert ratio == pytest.approx(2.635, rel=0.05)  # native pixels in one of the grid
    # They reach to the edges of the grid that they were made on, which they cover.
    assert (read_spectra(path, grid=grid_of(table))["coverage"] == 1).all()


def test_incomplete_spectra_make_shorter_files(tmp_path):
    table = simulate.quasars(2, grid=simulate.native_grid(), incomplete=1.0)
    for row, path in enumerate(simulate.write_spectra(table, tmp_path)):
        coadd = fits.getdata(path, 1)
        assert len(coadd) == np.isfinite(table["flux"][row].value).sum() < 4581
        assert np.isfinite(coadd["FLUX"]).all()


def test_files_are_not_replaced_unasked(tmp_path):
    table = simulate.quasars(1, grid="3625:9000:100")
    (path,) = simulate.write_spectra(table, tmp_path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"spec-20001-55001-0001.fits exists already.*overwrite=True"):
        simulate.write_spectra(table, tmp_path)
    assert path.read_bytes() == before
    assert simulate.write_spectra(table, tmp_path, overwrite=True) == [path]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n=0: give the number"),
        ({"n": 2.5}, "n=2.5: give the number"),
        ({"n": True}, "n=True: give the number"),
        ({"random_state": -1}, "random_state=-1 is no seed"),
        ({"redshifts": "high"}, "redshifts='high' are no numbers"),
        ({"redshifts": np.ma.masked_equal([2.0, 3.0], 3.0)}, "between 0 and 7"),
        ({"bal_fraction": 1.2}, "bal_fraction=1.2 is no share"),
        ({"incomplete": -0.1}, "incomplete=-0.1 is no share"),
        ({"snr": 0}, "snr=0; give"),
        ({"grid": "3625:9000"}, "is no wavelength grid"),
        ({"grid": 1500}, "grid=1500 is none"),
        ({"grid": Grid(np.linspace(1000, 2000, 50), frame="rest")}, "observed ones in vacuum"),
        ({"grid": Grid(np.linspace(4000, 5000, 50), "air")}, "observed ones in vacuum"),
        ({"grid": "300:900:100"}, "reach from 3600 to 10,400"),
        ({"redshifts": [1, 2, 3]}, r"redshifts of the shape \(3,\)"),
        ({"redshifts": (0.5, np.nan)}, "between 0 and 7"),
        ({"redshifts": (-0.5, 1)}, "between 0 and 7"),
    ],
)
def test_bad_arguments_are_met(arguments, message):
    with pytest.raises(InputError, match=message):
        simulate.quasars(**({"n": 10} | arguments))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table[:0], "has no rows"),
        (lambda table: table["source_id", "redshift"], "has no column 'flux'"),
        (lambda table: _renamed(table), "is no plate, date and fibre"),
        (lambda table: _empty(table), "row 0 has no flux"),
        (lambda table: table[[0, 1, 0]], "'20001-55001-0001' is in more than one row"),
    ],
)
def test_tables_that_make_no_files_are_met(change, message, tmp_path):
    table = change(simulate.quasars(2, grid="3625:9000:50"))
    with pytest.raises(InputError, match=message):
        simulate.write_spectra(table, tmp_path)


def _renamed(table):
    table["source_id"] = ["first", "second"]
    return table


def _empty(table):
    table["flux"][0] = np.nan
    return table


def test_another_grid_shows_the_same_objects():
    """Grids of other pixels, also uneven ones, show the same light."""
    fine = simulate.quasars(5, grid="4000:8000:4000", noiseless=True, redshifts=(0.3, 0.6), random_state=2)
    uneven = simulate.quasars(
        5, grid=Grid(np.linspace(4001, 7999, 900)), noiseless=True, redshifts=(0.3, 0.6), random_state=2
    )
    expected = [
        np.interp(grid_of(uneven).angstrom, grid_of(fine).angstrom, flux) for flux in fine["flux_true"].value
    ]
    difference = np.abs(uneven["flux_true"].value / expected - 1)
    assert np.median(difference) < 0.002
    assert np.percentile(difference, 99) < 0.05
