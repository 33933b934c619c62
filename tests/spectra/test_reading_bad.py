"""Files that are no spectra, each of which costs its own row."""

from __future__ import annotations

import io
import re
import warnings

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError

GRID = "3625:9000:300"
NAMES = "wavelength flux [1e-17erg/s/cm2/A] error"


def png(path, boss):
    Image.new("L", (8, 8)).save(path, "PNG")


def text(path, boss):
    path.write_text("These are the notes of the night.\nIt was cloudy, and we went to bed.\n")


def csv_of_words(path, boss):
    path.write_text("name,comment\nM31,nice\nM33,nicer\nM81,nicest\n")


def image(path, boss):
    fits.PrimaryHDU(np.zeros((20, 30))).writeto(path)


def no_data(path, boss):
    fits.PrimaryHDU().writeto(path)


def catalogue(path, boss):
    columns = [fits.Column("RA", "D", array=np.arange(5.0)), fits.Column("DEC", "D", array=np.arange(5.0))]
    fits.BinTableHDU.from_columns(columns).writeto(path)


def nan_flux(path, boss):
    boss(path, flux=np.full(4600, np.nan))


def zero_ivar(path, boss):
    boss(path, ivar=np.zeros(4600))


def truncated(path, boss):
    boss(path)
    path.write_bytes(path.read_bytes()[:60_000])


def header_only(path, boss):
    boss(path)
    path.write_bytes(path.read_bytes()[:1000])


def empty(path, boss):
    path.touch()


def zeros(path, boss):
    path.write_bytes(bytes(6000))


def far_away(path, boss):
    boss(path, first=4.2, n=1000)


def nanometres(path, boss):
    np.savetxt(path, np.transpose([np.linspace(350, 1000, 900), np.ones(900), np.ones(900)]), header=NAMES)


def microns(path, boss):
    np.savetxt(path, np.transpose([np.linspace(0.35, 1.0, 900), np.ones(900), np.ones(900)]), header=NAMES)


def one_column(path, boss):
    np.savetxt(path, np.arange(100.0))


def ragged(path, boss):
    path.write_text("4000 1 1\n4001 1\n4002 1 1\n")


def negative_wavelengths(path, boss):
    np.savetxt(path, np.transpose([-np.arange(1.0, 901), np.ones(900), np.ones(900)]))


def parrots(path, boss):
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("wave", "D", unit="Jy", array=np.arange(4e3, 5e3)),
            fits.Column("flux", "D", array=np.ones(1000)),
        ]
    )
    table.writeto(path)


def magnitudes(path, boss):
    columns = [
        fits.Column("wave", "D", array=np.arange(4e3, 5e3)),
        fits.Column("flux", "D", unit="mag", array=np.ones(1000)),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(path)


def first_header_only(path, boss):
    header = fits.PrimaryHDU().header.tostring(padding=False)
    path.write_bytes(header.encode())


def words(path, boss):
    columns = [
        fits.Column("wave", "D", array=np.arange(3.0)),
        fits.Column("flux", "3A", array=["one", "two", "six"]),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(path)


BAD = {
    magnitudes: "its fluxes are logarithms, in mag",
    words: "its column flux holds no numbers",
    png: "it is neither FITS nor text, but a PNG image",
    text: "it is no table of numbers|columns",
    csv_of_words: "it is no table of numbers",
    image: "it is an image of 30 × 20 pixels, no spectrum",
    no_data: "no HDU of it has a spectrum",
    catalogue: "no columns of wavelengths and fluxes that can be told, but RA, DEC",
    nan_flux: r"none of its fluxes is a number \(all are NaN\)",
    zero_ivar: "all inverse variances are 0",
    truncated: r"it is cut short: \d+ of 110400 bytes",
    header_only: "it is cut short in its header",
    first_header_only: "it is cut short behind a header",
    empty: r"it is empty \(0 bytes\)",
    zeros: "it is empty",
    far_away: r"its wavelengths, 15848\.9 to 19948 Å, do not overlap the grid, 3625 to 9000 Å",
    nanometres: r"they look like nm; give wavelength_unit='nm' \(--wavelength-unit nm\)",
    microns: r"they look like um; give wavelength_unit='um' \(--wavelength-unit um\)",
    one_column: "it has one column",
    ragged: "a line has 2 columns where the first has 3",
    negative_wavelengths: "its wavelengths are no positive numbers",
    parrots: "its wavelengths are in Jy, which is no unit of wavelengths",
}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_a_bad_file_costs_its_own_row(tmp_path, boss, make):
    boss(tmp_path / "a.fits", fibre=1)
    make(tmp_path / "bad.fits", boss)
    boss(tmp_path / "c.fits", fibre=3)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = ac.read_spectra(tmp_path, grid=GRID)
    assert len(told) == 1
    assert issubclass(told[0].category, AstroClusterWarning)
    assert_told(str(told[0].message), BAD[make])
    assert found["spectrum_bad"].tolist() == [False, True, False]
    assert np.isnan(found["flux"].value[1]).all()
    assert not found["ivar"].value[1].any()
    assert np.isfinite(found["flux"].value[[0, 2]]).all()
    assert found["snr_median"].mask.tolist() == [False, True, False]
    assert found["coverage"].mask.tolist() == [False, True, False]


def assert_told(message, reason):
    told = r"1 of 3 spectra cannot be used, and spectrum_bad is set: [^ ]*bad\.fits \("
    assert re.match(rf"{told}.*({reason})", message), message


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_nothing_but_a_bad_file_is_an_error(tmp_path, boss, make):
    make(tmp_path / "bad.fits", boss)
    with pytest.raises(InputError, match=rf"none of 1 spectrum can be used: .*bad\.fits \(.*({BAD[make]})"):
        ac.read_spectra(tmp_path / "bad.fits", grid=GRID)


def test_all_reasons_are_told(tmp_path, boss):
    for make in (png, image, truncated, zero_ivar):
        make(tmp_path / f"{make.__name__}.fits", boss)
    png(tmp_path / "another.fits", boss)
    with pytest.raises(InputError) as e:
        ac.read_spectra(tmp_path, grid=GRID)
    assert "none of 5 spectra" in str(e.value)
    assert "another.fits and 1 more (it is neither FITS nor text, but a PNG image)" in str(e.value)
    assert "; and 1 other reason" in str(e.value)


def test_the_first_file_may_be_the_bad_one(tmp_path, boss):
    png(tmp_path / "a.fits", boss)
    boss(tmp_path / "b.fits", redshift=None)
    with pytest.warns(AstroClusterWarning, match=r"1 of 2 .*a\.fits"):
        found = ac.read_spectra(tmp_path)
    assert len(ac.grid_of(found)) == 4600
    with pytest.raises(InputError, match="it has no redshift"):
        ac.read_spectra(tmp_path, grid=GRID, frame="rest")


def test_a_pattern_keeps_the_row_of_what_has_another_ending(tmp_path, boss):
    boss(tmp_path / "a.fits")
    png(tmp_path / "b.png", boss)
    with pytest.warns(AstroClusterWarning, match=r"1 of 2 .*b\.png \(it is neither"):
        found = ac.read_spectra(str(tmp_path / "*"), grid=GRID)
    assert len(found) == 2
    assert len(ac.read_spectra(tmp_path, grid=GRID)) == 1  # a folder may hold anything


def test_wavelengths_that_fall_or_are_mixed_are_sorted(tmp_path):
    wave = np.linspace(3600, 9100, 2000)
    rows = np.transpose([wave, wave / 1000, np.full(2000, 0.1)])
    np.savetxt(tmp_path / "a.txt", rows)
    np.savetxt(tmp_path / "b.txt", rows[::-1])
    np.savetxt(tmp_path / "c.txt", np.random.default_rng(1).permutation(rows))
    np.savetxt(tmp_path / "d.txt", np.repeat(rows, 2, axis=0))
    found = ac.read_spectra(tmp_path, grid=GRID)  # without a warning
    for row in (1, 2, 3):
        assert np.allclose(found["flux"].value[row], found["flux"].value[0], rtol=1e-6)
        assert np.allclose(found["ivar"].value[row], found["ivar"].value[0], rtol=1e-6)


def test_a_unit_for_files_that_say_none(tmp_path, boss):
    nanometres(tmp_path / "a.txt", boss)
    found = ac.read_spectra(tmp_path, grid=GRID, wavelength_unit="nm")
    assert found["coverage"].tolist() == [1.0]


def test_some_fluxes_are_no_numbers(tmp_path, boss):
    flux, ivar = np.ones(4600), np.full(4600, 2.0)
    flux[2000:2100], flux[2500] = np.nan, np.inf
    ivar[3000:3050], ivar[3100] = -1, np.inf
    boss(tmp_path / "a.fits", flux=flux, ivar=ivar)
    with pytest.warns(
        AstroClusterWarning, match=r"1 of 1 spectra have fluxes that are no numbers, left out: .*a\.fits"
    ):
        found = ac.read_spectra(tmp_path, grid="3625:9000:3000")
    values, weights = found["flux"].value[0], found["ivar"].value[0]
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    assert np.allclose(values[np.isfinite(values)], 1)
    assert 70 < np.isnan(values).sum() < 85  # the new pixels are 1.3 times as wide
    assert found["coverage"][0] == np.isfinite(values).mean()


def test_a_file_that_is_cut_behind_its_spectrum(tmp_path, boss):
    boss(tmp_path / "a.fits")
    data = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "a.fits").write_bytes(data[:-2880])
    with pytest.warns(
        AstroClusterWarning, match=r"damaged behind their spectra: .*a\.fits \(its redshift cannot be"
    ):
        found = ac.read_spectra(tmp_path, grid=GRID)
    assert found["spectrum_bad"].tolist() == [False]
    assert found["redshift"].mask.tolist() == [True]


def test_an_archive_that_ends_early(tmp_path, boss):
    import tarfile

    for i in range(3):
        boss(tmp_path / f"{i}.fits", fibre=i)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for i in range(3):
            tar.add(tmp_path / f"{i}.fits", f"{i}.fits")
    data = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(data[: len(data) * 2 // 3])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = ac.read_spectra(tmp_path / "a.tar", grid=GRID)
    assert not found["spectrum_bad"][0]
    assert any("a.tar" in str(one.message) for one in told)


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        ('<STREAM href="file://{place}"/>', r"keeps its data at another address \(STREAM href\)"),
        ('<STREAM encoding="base64"/>', "a.vot"),
    ],
)
def test_a_votable_opens_no_other_file(tmp_path, monkeypatch, stream, told):
    other = tmp_path / "other.bin"
    other.write_bytes(np.arange(3990.0, 4090).astype(">f8").tobytes())
    (tmp_path / "a.vot").write_text(
        '<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>'
        '<FIELD name="wave" datatype="double"/><FIELD name="flux" datatype="double"/>'
        f"<DATA><BINARY>{stream.format(place=other)}</BINARY></DATA></TABLE></RESOURCE></VOTABLE>"
    )
    monkeypatch.setattr("urllib.request.urlopen", lambda *args: pytest.fail("it is followed"))
    with pytest.raises(InputError, match=told):
        ac.read_spectra(tmp_path / "a.vot", grid=GRID)


@pytest.mark.parametrize("there", [512, 512 + 21 * 100])  # bytes: its header, or whole lines of it
def test_a_text_that_its_archive_has_not_all_of(tmp_path, there):
    import tarfile

    lines = "".join(f"{place}.0 2.00000 0.500\n" for place in range(3990, 4490)).encode()
    assert len(lines) == 500 * 21
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        member = tarfile.TarInfo("a.txt")
        member.size = len(lines)
        tar.addfile(member, io.BytesIO(lines))
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:there])
    with pytest.raises(InputError, match=r"a\.tar: a\.txt \(it is cut short, and so is its archive\)"):
        ac.read_spectra(tmp_path / "a.tar")


def test_an_archive_without_spectra(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.md", "nothing")
    with pytest.raises(InputError, match=r"there is no spectrum: .*a\.zip holds no spectrum"):
        ac.read_spectra(tmp_path / "a.zip", grid=GRID)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 40_000), byte=st.integers(0, 255), cut=st.integers(1, 200_000))
def test_whatever_is_damaged_nothing_is_raised(tmp_path, boss, place, byte, cut):
    good, bad = tmp_path / "good.fits", tmp_path / "bad.fits"
    if not good.exists():
        boss(good, n=900, first=3.6)
    data = bytearray(good.read_bytes())
    data[place % len(data)] = byte
    bad.write_bytes(bytes(data[:cut]) or b"x")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = ac.read_spectra([good, bad], grid="4000:4800:50")
    assert len(found) == 2
    assert not found["spectrum_bad"][0]


def test_a_header_that_promises_too_much(tmp_path, boss):
    boss(tmp_path / "a.fits", fibre=1)
    boss(tmp_path / "b.fits", fibre=2)
    data = (tmp_path / "b.fits").read_bytes()
    assert data.count(b"NAXIS2  =                 4600") == 1
    (tmp_path / "b.fits").write_bytes(
        data.replace(b"NAXIS2  =                 4600", b"NAXIS2  =           9999999999")
    )
    with pytest.warns(AstroClusterWarning, match=r"b\.fits \(it is cut short"):
        found = ac.read_spectra(tmp_path, grid=GRID)
    assert found["spectrum_bad"].tolist() == [False, True]


def test_a_bomb_is_not_unpacked(tmp_path, boss, monkeypatch):
    import gzip

    boss(tmp_path / "a.fits", fibre=1)
    (tmp_path / "b.fits.gz").write_bytes(gzip.compress(bytes(10**7)))
    with (
        ac.conf.set_temp("max_image_bytes", 10**6),
        pytest.warns(AstroClusterWarning, match=r"b\.fits\.gz \(it unpacks to more than 1000000 bytes"),
    ):
        ac.read_spectra(tmp_path, grid=GRID)


def test_fluxes_of_a_file_object_are_not_evaluated(tmp_path, boss):
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    boss(tmp_path / "a.fits")
    (tmp_path / "b.dat").write_bytes(file.getvalue())
    with pytest.warns(AstroClusterWarning, match=r"b\.dat \(it is neither FITS nor text, but a NumPy array"):
        ac.read_spectra(tmp_path, grid=GRID)


def test_an_archive_that_is_damaged_or_goes_away(tmp_path, boss, monkeypatch):
    import zipfile

    from astro_cluster.spectra import reading

    for fibre in (1, 2):
        boss(tmp_path / f"{fibre}.fits", fibre=fibre)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("1.fits", "2.fits"):
            archive.write(tmp_path / name, name)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[20_000:20_100] = b"\xff" * 100
    (tmp_path / "b.zip").write_bytes(data)
    with pytest.warns(AstroClusterWarning, match=r"1 of 2 .*b\.zip: 1\.fits \(Bad CRC-32"):
        assert ac.read_spectra(tmp_path / "b.zip", grid=GRID)["spectrum_bad"].tolist() == [True, False]

    surveyed = reading.surveyed

    def gone(containers, limit):
        found = surveyed(containers, limit)
        (tmp_path / "a.zip").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(reading, "surveyed", gone)
    with pytest.warns(AstroClusterWarning, match=r"2 of 3 .*a\.zip: 1\.fits \(No such file or directory\)"):
        found = ac.read_spectra([tmp_path / "a.zip", tmp_path / "2.fits"], grid=GRID)
    assert found["spectrum_bad"].tolist() == [True, True, False]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "1.fits", "1.fits")
    with pytest.raises(InputError, match=r"a\.zip: 1\.fits \(No such file or directory\)"):
        ac.read_spectra(tmp_path / "a.zip", grid=GRID)
