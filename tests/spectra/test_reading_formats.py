"""Spectra in tables, images, texts, and what specutils reads."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import InverseVariance, StdDevUncertainty
from astropy.table import QTable, Table

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.spectra.air import to_air
from astro_cluster.spectra.fluxunits import unit_named
from astro_cluster.spectra.found import FoundSpectrum
from astro_cluster.spectra.preparing import Aim, prepared
from astro_cluster.spectra.regridding import regrid_rows

FLAM = u.Unit("erg / (s cm2 Angstrom)")
WAVE = np.linspace(4000.0, 6000.0, 801)
FLUX = 1.0 + ((WAVE - 5000) / 500) ** 2
ERROR = 0.1 + WAVE / 1e5
GRID = "4100:5900:300"


def is_right(found, row=0, *, unit=None):
    """Tell whether a row has the spectrum of this file."""
    middles = ac.grid_of(found).angstrom
    assert not found["spectrum_bad"][row]
    assert found["coverage"][row] == 1
    flux = found["flux"][row] if unit is None else found["flux"][row].to(unit)
    assert np.allclose(flux.value, np.interp(middles, WAVE, FLUX), rtol=2e-3)
    return True


def has_errors(found, row=0):
    """Tell whether a row has the errors of this file."""
    _, wanted = regrid_rows(WAVE, FLUX, ERROR**-2.0, ac.grid_of(found))
    assert np.allclose(found["ivar"].value[row], wanted, rtol=1e-3)
    return True


# ---------------------------------------------------------------- FITS tables


@pytest.mark.parametrize(
    ("names", "power"),
    [
        (("wavelength", "flux", "ivar"), -2),
        (("WAVE", "FLUX", "ERR"), 1),
        (("lambda", "f_lambda", "sigma"), 1),
        (("Wavelength", "Flux_Density", "variance"), 2),
    ],
)
def test_fits_tables(tmp_path, names, power):
    table = Table(dict(zip(names, (WAVE, FLUX, ERROR**power), strict=True)))
    table.write(tmp_path / "a.fits")
    found = ac.read_spectra(tmp_path, grid=GRID)
    assert is_right(found)
    assert has_errors(found)
    assert found["source_id"].tolist() == ["a"]


def test_units_positions_and_redshift_of_a_fits_table(tmp_path):
    table = QTable({"wave": (WAVE / 10) * u.nm, "flux": FLUX * FLAM, "err": ERROR * FLAM})
    table.meta |= {"REDSHIFT": 0.75, "RA": 10.5, "DEC": -3.25, "OBJECT": "M 31"}
    table.write(tmp_path / "a.fits")
    found = ac.read_spectra(tmp_path, grid=GRID)
    assert is_right(found)
    assert found["flux"].unit == FLAM
    assert (found["redshift"][0], found["ra"][0], found["dec"][0]) == (0.75, 10.5 * u.deg, -3.25 * u.deg)
    assert found["source_id"].tolist() == ["M 31"]


@pytest.mark.parametrize("kind", ["fixed", "variable"])
def test_one_row_of_arrays_as_eso_writes_them(tmp_path, kind):
    n = WAVE.size
    form = f"{n}D" if kind == "fixed" else "PD()"
    arrays = [np.array([one], dtype=object if kind == "variable" else float) for one in (WAVE, FLUX, ERROR)]
    if kind == "variable":
        arrays = [np.empty(1, dtype=object) for _ in range(3)]
        for array, values in zip(arrays, (WAVE, FLUX, ERROR), strict=True):
            array[0] = values
    columns = [
        fits.Column(name, form, unit=unit, array=array)
        for name, unit, array in zip(("WAVE", "FLUX", "ERR"), ("Angstrom", None, None), arrays, strict=True)
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    found = ac.read_spectra(tmp_path, grid=GRID)
    assert is_right(found)
    assert has_errors(found)


def test_scaled_columns_and_those_in_the_logarithm(tmp_path):
    loglam = fits.Column("loglam", "D", array=np.log10(WAVE))
    flux = fits.Column("flux", "J", array=np.rint((FLUX - 1) * 1e6).astype(np.int32))
    hdu = fits.BinTableHDU.from_columns([loglam, flux])
    hdu.header["TSCAL2"], hdu.header["TZERO2"] = 1e-6, 1.0
    hdu.writeto(tmp_path / "a.fits")
    with pytest.warns(AstroClusterWarning, match="1 of 1 spectra have no errors"):
        found = ac.read_spectra(tmp_path, grid=GRID)
    assert is_right(found)


def test_columns_that_are_named(tmp_path):
    Table({"x": WAVE, "best": FLUX, "flux": FLUX * 0, "off": ERROR}).write(tmp_path / "a.fits")
    with pytest.raises(
        InputError, match="no columns of wavelengths and fluxes that can be told, but x, best"
    ):
        ac.read_spectra(tmp_path, grid=GRID)
    found = ac.read_spectra(tmp_path, grid=GRID, wavelength="x", flux="BEST", error="off")
    assert is_right(found)
    assert has_errors(found)
    with pytest.raises(InputError, match=r"no column 'bets' \(flux=\); did you mean 'best'"):
        ac.read_spectra(tmp_path, grid=GRID, wavelength="x", flux="bets")


@pytest.mark.parametrize("header", ["pixel,wavelength,flux", "wavelength,model,flux"])
def test_a_third_column_that_is_the_flux_is_no_error(tmp_path, header):
    lines = "\n".join(f"{w},{w},{f}" for w, f in zip(WAVE, FLUX, strict=True))
    (tmp_path / "a.csv").write_text(f"{header}\n{lines}\n")
    with pytest.warns(AstroClusterWarning, match="1 of 1 spectra have no errors"):
        found = ac.read_spectra(tmp_path, grid=GRID)
    assert is_right(found)


def test_a_votable_of_one_row_with_arrays_of_any_length(tmp_path):
    fields = "".join(
        f'<FIELD name="{name}" datatype="double" arraysize="*"/>' for name in ("wave", "flux", "err")
    )
    cells = "".join(f"<TD>{' '.join(map(str, one))}</TD>" for one in (WAVE, FLUX, ERROR))
    (tmp_path / "a.vot").write_text(
        '<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>'
        f"{fields}<DATA><TABLEDATA><TR>{cells}</TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    )
    found = ac.read_spectra(tmp_path, grid=GRID)
    assert is_right(found)
    assert has_errors(found)


def test_errors_in_another_unit_than_the_flux(tmp_path):
    QTable({"wave": WAVE * u.AA, "flux": FLUX * u.mJy, "err": 1e3 * ERROR * u.uJy}).write(tmp_path / "1.fits")
    QTable({"wave": WAVE * u.AA, "flux": FLUX * u.mJy, "var": 1e6 * ERROR**2 * u.uJy**2}).write(
        tmp_path / "2.ecsv"
    )
    QTable({"wave": WAVE * u.AA, "flux": FLUX * u.mJy, "ivar": ERROR**-2.0 * u.mJy}).write(
        tmp_path / "3.fits"
    )
    header = fits.Header({"CRVAL1": 4000.0, "CRPIX1": 1.0, "CDELT1": 2.5, "CTYPE1": "WAVE", "BUNIT": "mJy"})
    error = fits.ImageHDU(1e3 * ERROR, fits.Header({"BUNIT": "uJy"}), "ERR")
    fits.HDUList([fits.PrimaryHDU(FLUX, header), error]).writeto(tmp_path / "4.fits")
    found = ac.read_spectra(tmp_path, grid=GRID)
    for row in range(4):
        assert is_right(found, row)
        assert has_errors(found, row)


def test_negative_errors_of_spec_files_do_not_count(tmp_path):
    error = np.where(np.arange(WAVE.size) < 400, -1.0, 0.5)
    columns = {"FLUX": FLUX, "LOGLAM": np.log10(WAVE), "IVAR": FLUX, "SIGMA": error}
    Table(columns).write(tmp_path / "spec-1.fits")
    found = ac.read_spectra(tmp_path, error="SIGMA")
    assert np.allclose(found["ivar"].value[0], np.where(error > 0, 4.0, 0.0))


def test_frequencies_and_flux_densities_are_those_of_the_vacuum():
    frequency = (WAVE[::-1] * u.AA).to_value(u.Hz, u.spectral())
    given = FoundSpectrum(frequency, FLUX[::-1], wavelength_unit=u.Hz, unit=u.mJy)
    one = prepared(given, Aim(medium="air", unit=u.mJy), np.nan)
    assert np.allclose(one.angstrom, to_air(WAVE), rtol=1e-12)
    in_air = FoundSpectrum(to_air(WAVE), FLUX, unit=u.mJy, medium="air")
    for medium in ("air", "vacuum"):
        one = prepared(in_air, Aim(medium=medium, unit=FLAM), np.nan)
        wanted = (FLUX * u.mJy).to_value(FLAM, u.spectral_density(WAVE * u.AA))
        assert np.allclose(one.flux, wanted, rtol=1e-9, atol=0)


def test_a_table_of_many_spectra_is_told_apart(tmp_path):
    Table({"wave": np.tile(WAVE, (3, 1)), "flux": np.tile(FLUX, (3, 1))}).write(tmp_path / "a.fits")
    with pytest.raises(InputError, match=r"it is a table of 3 spectra: read it with astro_cluster\.read"):
        ac.read_spectra(tmp_path, grid=GRID)


# ---------------------------------------------------------------- FITS images


@pytest.mark.parametrize("kind", ["linear", "matrix", "iraf-log", "standard-log", "nm"])
def test_one_dimensional_images(tmp_path, kind):
    header = fits.Header({"CRVAL1": 4000.0, "CRPIX1": 1.0, "CDELT1": 2.5, "CTYPE1": "WAVE"})
    flux = FLUX
    if kind == "matrix":
        del header["CDELT1"]
        header["CD1_1"] = 2.5
        flux = FLUX[None]
    if kind == "iraf-log":
        wave = 4000 * 10 ** (1e-4 * np.arange(1800))
        header.update({"CRVAL1": np.log10(4000), "CDELT1": 1e-4, "DC-FLAG": 1, "CTYPE1": "LINEAR"})
        flux = np.interp(wave, WAVE, FLUX)
    if kind == "standard-log":
        wave = 4000 * np.exp((np.arange(801)) * 2.5 / 4000)
        header["CTYPE1"] = "WAVE-LOG"
        flux = np.interp(wave, WAVE, FLUX)
    if kind == "nm":
        header.update({"CRVAL1": 400.0, "CDELT1": 0.25, "CUNIT1": "nm"})
    hdus = fits.HDUList([fits.PrimaryHDU(flux, header)])
    hdus.writeto(tmp_path / "a.fits")
    with pytest.warns(AstroClusterWarning, match="have no errors"):
        found = ac.read_spectra(tmp_path, grid=GRID)
    assert is_right(found)


@pytest.mark.parametrize(("name", "power"), [("ERR", 1), ("VAR", 2), ("IVAR", -2)])
def test_errors_beside_an_image(tmp_path, name, power):
    header = fits.Header({"CRVAL1": 4000.0, "CDELT1": 2.5, "BUNIT": "erg/s/cm2/A", "CTYPE1": "AWAV"})
    error = fits.ImageHDU(ERROR**power, name=name)
    fits.HDUList([fits.PrimaryHDU(FLUX, header), error]).writeto(tmp_path / "a.fits")
    found = ac.read_spectra(tmp_path, grid=GRID, medium="air")
    assert is_right(found)
    assert has_errors(found)
    assert found["flux"].unit == FLAM
    vacuum = ac.read_spectra(tmp_path, grid=GRID)
    # What is at λ in air is at longer wavelengths in vacuum: the left slope is higher there.
    assert vacuum["flux"].value[0, 5] > found["flux"].value[0, 5]


def test_spspec_files(tmp_path):
    loglam = 3.6 + 1e-4 * np.arange(1800)
    rows = np.array([10.0**loglam / 1000, np.zeros(1800), np.full(1800, 0.5), np.zeros(1800)])
    rows[3, :50] = 1
    header = fits.Header(
        {"COEFF0": 3.6, "COEFF1": 1e-4, "Z": 0.125, "PLATEID": 266, "MJD": 51630, "FIBERID": 53}
    )
    header.update({"RAOBJ": 10.5, "DECOBJ": 0.5, "VACUUM": 1, "BUNIT": "1.0E-17*erg/cm/cm/s/Ang", "RA": 1.0})
    fits.PrimaryHDU(rows.astype("f4"), header).writeto(tmp_path / "spSpec-51630-0266-053.fit")
    found = ac.read_spectra(tmp_path, grid="3990:5900:400", mask="and")
    assert found["source_id"].tolist() == ["266-51630-0053"]
    assert (found["redshift"][0], found["ra"][0]) == (0.125, 10.5 * u.deg)
    assert np.allclose(found["flux"].value, ac.grid_of(found).angstrom / 1000, rtol=1e-3)
    assert found["flux"].unit == 1e-17 * FLAM
    assert not found["ivar"].value[0, :5].any()


# ---------------------------------------------------------------- texts


@pytest.mark.parametrize(
    "text",
    [
        "# wavelength flux error\n{rows}",
        "wavelength flux error\n{rows}",
        "{rows}",
        "% made by hand\n\n{rows}\n\n",
        "wavelength [Angstrom]  flux [erg/s]  error [erg/s]\n{rows}",
        "\ufeffwave flux err\r\n{rows}\r\n",
    ],
)
def test_plain_columns(tmp_path, text):
    rows = "\n".join(
        f"{w:.3f}  {f:.6f}\t{e:.6f}".replace("\t", " ") for w, f, e in zip(WAVE, FLUX, ERROR, strict=True)
    )
    (tmp_path / "a.txt").write_text(text.format(rows=rows))
    found = ac.read_spectra(tmp_path, grid=GRID)
    assert is_right(found)
    assert has_errors(found)


def test_exponents_of_fortran(tmp_path):
    rows = [f"{w:.6E} {f:.6E} {e:.6E}".replace("E", "D") for w, f, e in zip(WAVE, FLUX, ERROR, strict=True)]
    (tmp_path / "a.dat").write_text("\n".join(rows))
    found = ac.read_spectra(tmp_path, grid=GRID)
    assert is_right(found)
    assert has_errors(found)


@pytest.mark.parametrize("mark", [",", ";", "\t", ", "])
def test_separated_values(tmp_path, mark):
    lines = [mark.join(("Flux", "Wavelength", "BestFit"))]
    lines += [mark.join((f"{f:.6f}", f"{w:.3f}", "0")) for w, f in zip(WAVE, FLUX, strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    with pytest.warns(AstroClusterWarning, match="no errors"):  # BestFit is none
        found = ac.read_spectra(tmp_path, grid=GRID)
    assert is_right(found)


def test_empty_cells_and_words_for_them(tmp_path):
    lines = [f"{w},{f},{e}" for w, f, e in zip(WAVE, FLUX, ERROR, strict=True)]
    lines[100], lines[101] = f"{WAVE[100]},,0.1", f"{WAVE[101]},null,0.1"
    (tmp_path / "a.csv").write_text("wave,flux,err\n" + "\n".join(lines))
    with pytest.warns(AstroClusterWarning, match=r"1 of 1 spectra have fluxes that are no numbers.*a\.csv"):
        found = ac.read_spectra(tmp_path, grid="4000:6000:801", method="linear")
    assert (found["ivar"].value == 0).any()


def test_ecsv_and_votable(tmp_path):
    table = QTable({"wavelength": (WAVE / 1e4) * u.um, "flux": FLUX * u.Jy, "error": ERROR * u.Jy})
    table.meta["redshift"] = 1.25
    table.write(tmp_path / "a.ecsv")
    Table(table).write(tmp_path / "b.vot", format="votable")
    found = ac.read_spectra([tmp_path / "a.ecsv", tmp_path / "b.vot"], grid=GRID)
    assert found["flux"].unit == u.Jy
    assert is_right(found, 0)
    assert is_right(found, 1)
    assert found["redshift"].tolist() == [1.25, None]


def test_frequencies(tmp_path):
    table = QTable(
        {"frequency": (WAVE * u.AA).to(u.THz, u.spectral()), "flux": FLUX * u.Jy, "error": ERROR * u.Jy}
    )
    table.write(tmp_path / "a.ecsv")
    assert is_right(ac.read_spectra(tmp_path, grid=GRID))


def test_an_estimated_error_is_that_of_the_pixels(tmp_path):
    rng = np.random.default_rng(5)
    wave = np.linspace(4000, 6000, 8001)
    np.savetxt(tmp_path / "a.txt", np.transpose([wave, 10 + rng.normal(0, 0.25, wave.size)]))
    with pytest.warns(AstroClusterWarning, match=r"from the scatter of their own pixels \(.*a\.txt"):
        found = ac.read_spectra(tmp_path)
    assert np.median(found["ivar"].value) ** -0.5 == pytest.approx(0.25, rel=0.05)
    assert found["snr_median"][0] == pytest.approx(40, rel=0.05)


# ---------------------------------------------------------------- specutils


@pytest.fixture
def wcs1d(tmp_path):
    """A file that specutils wrote."""
    from specutils import Spectrum

    spectrum = Spectrum(
        flux=FLUX * u.Jy, spectral_axis=WAVE * u.AA, uncertainty=StdDevUncertainty(ERROR * u.Jy)
    )
    spectrum.write(tmp_path / "a.fits", format="tabular-fits")
    return tmp_path / "a.fits"


def test_specutils_reads_what_is_asked_for(wcs1d):
    ours = ac.read_spectra(wcs1d, grid=GRID)
    theirs = ac.read_spectra(wcs1d, grid=GRID, format="tabular-fits")
    assert is_right(theirs)
    assert has_errors(theirs)
    assert theirs["flux"].unit == u.Jy
    assert np.allclose(ours["flux"].value, theirs["flux"].value, rtol=1e-6)
    assert np.allclose(ours["ivar"].value, theirs["ivar"].value, rtol=1e-6)


def test_our_reader_and_specutils_agree_on_boss(tmp_path, boss):
    rng = np.random.default_rng(3)
    boss(tmp_path / "spec-4000-55555-0007.fits", flux=rng.normal(5, 1, 4600), ivar=rng.uniform(1, 9, 4600))
    ours = ac.read_spectra(tmp_path, grid="3625:9000:1500")
    theirs = ac.read_spectra(tmp_path, grid="3625:9000:1500", format="SDSS-III/IV spec")
    # They have the wavelengths in float32: a shift of 1e-4 of a pixel or two.
    assert np.allclose(ours["flux"].value, theirs["flux"].to_value(ours["flux"].unit), rtol=2e-3)
    assert np.allclose(ours["ivar"].value, theirs["ivar"].to_value(ours["ivar"].unit), rtol=2e-2)


def test_a_wrong_format(wcs1d):
    with pytest.raises(InputError, match="specutils has no format 'SDSS spec'"):
        ac.read_spectra(wcs1d, format="SDSS spec")
    with pytest.raises(InputError, match="specutils cannot read it"):
        ac.read_spectra(wcs1d, format="SDSS-III/IV spec")


def test_without_specutils_it_is_said_what_to_install(wcs1d, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "specutils", None)
    with pytest.raises(InputError, match=r'pip install "astro_cluster\[spectra\]"'):
        ac.read_spectra(wcs1d, format="tabular-fits")
    assert is_right(ac.read_spectra(wcs1d, grid=GRID))  # ours needs none of it


def test_uncertainties_of_specutils(tmp_path):
    from astro_cluster.spectra.others import _ivar_of

    assert _ivar_of(InverseVariance(np.array([4.0, 0.0]))).tolist() == [4.0, 0.0]
    assert _ivar_of(StdDevUncertainty([500.0, 250.0], unit=u.uJy), u.mJy).tolist() == [4.0, 16.0]
    assert _ivar_of(StdDevUncertainty(np.array([0.5, 0.0]))).tolist() == [4.0, 0.0]
    assert _ivar_of(None) is None


# ---------------------------------------------------------------- units


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("1E-17 erg/cm^2/s/Ang", 1e-17 * FLAM),
        ("10^-17 ergs/s/cm^2/Ang", 1e-17 * FLAM),
        ("10**(-17)*erg/s/cm**2/Ang", 1e-17 * FLAM),
        ("1.0E-17*erg/cm/cm/s/Ang", 1e-17 * FLAM),
        ("10**-17 erg Angstrom-1 s-1 cm-2", 1e-17 * FLAM),
        ("erg.cm**(-2).s**(-1).angstrom**(-1)", FLAM),
        ("W m-2 um-1", u.W / u.m**2 / u.um),
        ("10-17erg/s/cm2/Angstrom", 1e-17 * FLAM),
        ("10\u221217 erg s\u22121 cm\u22122 Angstrom\u22121", 1e-17 * FLAM),
        ("mJy", u.mJy),
        ("Angstroms", u.AA),
        ("A", u.AA),
        ("microns", u.um),
    ],
)
def test_units_as_headers_write_them(text, unit):
    assert unit_named(text) == unit


@pytest.mark.parametrize(
    "text", ["", "  ", "None", "parrots", "[[", "0 Jy", "-1 Jy", "10^999 Jy", "10**-400 Jy"]
)
def test_what_is_no_unit(text):
    assert unit_named(text) is None
