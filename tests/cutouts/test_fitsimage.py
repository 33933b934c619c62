"""Images in FITS files, against astropy."""

from __future__ import annotations

import gzip
import io
import warnings

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

import astro_cluster as ac
from astro_cluster.cutouts.decoding import Decoder
from astro_cluster.cutouts.fitsimage import look_at_fits
from astro_cluster.exceptions import AstroClusterWarning

RNG = np.random.default_rng(5)


def written(*hdus) -> bytes:
    file = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(file)
    return file.getvalue()


def pixels(data: bytes, **options) -> np.ndarray:
    decoder = Decoder(**options)
    return decoder.pixels(data, decoder.look("a.fits", io.BytesIO(data)))


def problem(data: bytes, **options) -> str:
    with pytest.raises((ValueError, OSError)) as raised:
        pixels(data, **options)
    return str(raised.value)


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8", "u2", "u4", "i1"])
def test_all_types_are_read_as_astropy_does(dtype):
    values = RNG.normal(40, 20, (7, 5)).astype(dtype)
    data = written(fits.PrimaryHDU(values))
    found = pixels(data)
    assert found.dtype.isnative
    assert found.flags.c_contiguous
    assert found.dtype == {"u1": "u1", "i2": "f4", "u2": "f4", "i1": "f4", "f4": "f4"}.get(dtype, "f8")
    np.testing.assert_array_equal(found, fits.getdata(io.BytesIO(data)))


@pytest.mark.parametrize("bitpix", ["u1", "i2", "i4", "i8", "f4", "f8"])
def test_scale_zero_and_blank(bitpix):
    stored = RNG.integers(0, 100, (4, 6)).astype(bitpix)
    hdu = fits.PrimaryHDU(stored)
    data = bytearray(written(hdu))
    cards = b"".join(
        card.encode().ljust(80)
        for card in ("BSCALE  =                  0.5", "BZERO   =                 10.0")
    )
    if stored.dtype.kind != "f":
        cards += f"BLANK   = {int(stored[1, 2]):20d}".encode().ljust(80)
    end = data.index(b"END" + b" " * 77)
    data[end : end + len(cards) + 80] = cards + b"END".ljust(80)
    found = pixels(bytes(data))
    assert found.dtype.kind == "f"
    expected = fits.getdata(io.BytesIO(bytes(data))).astype(float)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    if stored.dtype.kind != "f":
        assert np.isnan(found[1, 2])


def test_the_first_hdu_with_an_image_is_taken():
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.zeros(1000))])
    line = fits.ImageHDU(np.zeros(9))
    first, second = (
        fits.ImageHDU(np.full((3, 4), 1.5), name="SCI"),
        fits.ImageHDU(np.full((3, 4), 2.5), name="ERR"),
    )
    data = written(fits.PrimaryHDU(), table, line, first, second)
    assert pixels(data)[0, 0] == 1.5
    assert pixels(data, hdu=4)[0, 0] == 2.5
    assert pixels(data, hdu="err")[0, 0] == 2.5
    assert problem(data, hdu=1) == "HDU 1 is a table, no image"
    assert "its axes are (9,)" in problem(data, hdu=2)
    assert problem(data, hdu=7).startswith("it has 5 HDUs, none of which is 7")
    assert "did you mean 'SCI'?" in problem(data, hdu="SCJ")


def test_cubes():
    cube = RNG.normal(size=(3, 5, 4))
    data = written(fits.PrimaryHDU(cube))
    np.testing.assert_array_equal(pixels(data), np.moveaxis(cube, 0, -1))
    np.testing.assert_array_equal(pixels(data, plane=1), cube[1])
    np.testing.assert_array_equal(pixels(data, plane=-1), cube[-1])
    assert problem(data, plane=3) == "it has 3 planes, and plane=3 is none of them"
    flat = written(fits.PrimaryHDU(cube[None, :1]))
    np.testing.assert_array_equal(pixels(flat), cube[0])
    np.testing.assert_array_equal(pixels(flat, plane=0), cube[0])
    assert "it has 1 plane, and" in problem(flat, plane=1)
    assert "its image has 4 axes" in problem(written(fits.PrimaryHDU(np.zeros((2, 3, 4, 4)))))


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1"])
@pytest.mark.parametrize("dtype", ["i2", "f4"])
def test_images_packed_in_tiles(kind, dtype):
    values = RNG.normal(100, 10, (40, 30)).astype(dtype)
    hdu = fits.CompImageHDU(values, compression_type=kind, header=fits.Header({"RA": 10.5}))
    data = written(fits.PrimaryHDU(), hdu)
    np.testing.assert_array_equal(pixels(data), fits.getdata(io.BytesIO(data)))
    look = Decoder(wanted=None).look("a.fz", io.BytesIO(data))
    assert (look.height, look.width, look.is_byte) == (40, 30, False)
    assert look.header["RA"] == (10.5, "")
    assert not any(key.startswith(("Z", "T", "NAXIS", "COMPRESSED")) for key in look.header)


def test_a_packed_cube():
    cube = RNG.integers(0, 100, (3, 20, 20)).astype("i2")
    data = written(fits.PrimaryHDU(), fits.CompImageHDU(cube))
    np.testing.assert_array_equal(pixels(data, plane=1), cube[1])
    np.testing.assert_array_equal(pixels(data), np.moveaxis(cube, 0, -1))


def test_packed_files():
    data = written(fits.PrimaryHDU(np.arange(12.0).reshape(3, 4)))
    np.testing.assert_array_equal(pixels(gzip.compress(data)), np.arange(12.0).reshape(3, 4))


@pytest.mark.parametrize("where", [100, 2800, 2880, 2900, 5000])
def test_files_cut_short(where):
    data = written(fits.PrimaryHDU(np.zeros((20, 20))))
    assert "cut short" in problem(data[:where])
    # Without the padding behind the pixels nothing is missing.
    assert pixels(data[: 2880 + 3200]).shape == (20, 20)


def test_headers_that_promise_too_much():
    data = written(fits.PrimaryHDU(np.zeros((3, 4))))
    huge = data.replace(b"NAXIS1  =                    4", b"NAXIS1  =          40000000000")
    assert "its header promises 960000000000 bytes of pixels" in problem(huge)
    with ac.conf.set_temp("max_image_bytes", 50):
        assert "more than conf.max_image_bytes = 50" in problem(data)
    # The same of a packed image, which has hardly any bytes.
    packed = written(
        fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((30, 30), "i2"), compression_type="GZIP_1")
    )
    bomb = packed.replace(b"ZNAXIS1 =                   30", b"ZNAXIS1 =          30000000000")
    assert bomb != packed
    assert "its header promises" in problem(bomb)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"NAXIS   =                    2", b"NAXIS   =                 1000", "NAXIS is 1000"),
        (b"NAXIS   =                    2", b"NAXIS   =                   -2", "NAXIS is -2"),
        (b"NAXIS   =                    2", b"NAXIS   =                    0", "no HDU of it has an image"),
        (
            b"NAXIS   =                    2",
            b"NAXIS   =                    T",
            "NAXIS of its header is no number",
        ),
        (
            b"NAXIS   =                    2",
            b"NAXIS   = 'two'               ",
            "NAXIS of its header is no number",
        ),
        (b"NAXIS   =                    2", b"NAXIS   =                  2.5", "NAXIS is 2.5"),
        (
            b"NAXIS1  =                    4",
            b"NAXIS1  =                   -4",
            "NAXIS1 and so on are (-4, 3)",
        ),
        (
            b"NAXIS1  =                    4",
            b"NAXIS9  =                    4",
            "NAXIS1 and so on are (-1, 3)",
        ),
        (b"NAXIS1  =                    4", b"NAXIS1  =                    0", "no HDU of it has an image"),
        (b"BITPIX  =                  -64", b"BITPIX  =                   63", "BITPIX is 63"),
        (b"END" + b" " * 77, b"END_" + b" " * 76, "cut short"),
    ],
)
def test_damaged_headers(old, new, message):
    data = written(fits.PrimaryHDU(np.zeros((3, 4))))
    assert data.count(old) >= 1
    assert message in problem(data.replace(old, new, 1))


def test_a_header_without_an_end_is_not_read_for_ever(monkeypatch):
    monkeypatch.setattr("astro_cluster.filing.fitscards._MOST_BLOCKS", 5)
    assert problem(b"SIMPLE  =".ljust(80) + b" " * 2880 * 20) == "its header has no end"


@given(st.binary(max_size=6000), st.integers(0, 5760))
def test_whatever_is_in_a_file_nothing_but_a_message_comes_of_it(junk, place):
    data = bytearray(written(fits.PrimaryHDU(np.zeros((20, 20), "f4"))))
    data[place : place + len(junk)] = junk
    data = b"SIMPLE  =" + bytes(data[9:])
    try:
        look = look_at_fits(io.BytesIO(data), limit=10**6, wanted=None)
    except (ValueError, OverflowError):
        return
    assert look.height * look.width * max(look.channels, 1) <= 10**6


def test_keys_of_an_extension_come_before_those_of_the_primary_header():
    primary = fits.PrimaryHDU(header=fits.Header({"RA": 1.0, "FILTER": "r"}))
    extension = fits.ImageHDU(np.zeros((2, 2)), header=fits.Header({"RA": 2.0}))
    look = Decoder(wanted=("RA", "FILTER", "NONE")).look("a", io.BytesIO(written(primary, extension)))
    assert look.header == {"RA": (2.0, ""), "FILTER": ("r", "")}


def test_long_hierarch_and_odd_cards():
    header = fits.Header()
    header["HIERARCH CFIS_psf_fwhm"] = 0.5
    header["LONG"] = "x" * 200
    header["SCALE"] = (0.187, "[arcsec/pixel] of the detector")
    header["NOTHING"] = None
    header["COMMENT"] = "said"
    data = written(fits.PrimaryHDU(np.zeros((2, 2)), header))
    look = Decoder(wanted=None).look("a", io.BytesIO(data))
    assert look.header["CFIS_PSF_FWHM"] == (0.5, "")
    assert look.header["LONG"] == ("x" * 200, "")
    assert look.header["SCALE"] == (0.187, "arcsec/pixel")
    assert set(look.header) == {"CFIS_PSF_FWHM", "LONG", "SCALE", "NOTHING"}
    wrong = data.replace(b"SCALE   =                0.187", b"SCALE   = 0.187.5 is wrong    ")
    assert "SCALE" not in Decoder(wanted=("SCALE",)).look("a", io.BytesIO(wrong)).header


def test_a_broken_file_costs_its_own_row(tmp_path):
    good = written(fits.PrimaryHDU(np.ones((3, 4)), fits.Header({"RA": 5.0})))
    files = {
        "a": good,
        "b": good[:2900],
        "c": written(fits.PrimaryHDU()),
        "d": good.replace(b"NAXIS1  =                    4", b"NAXIS1  =          40000000000"),
        "e": b"text",
        "f": b"",
    }
    for name, data in files.items():
        (tmp_path / f"{name}.fits").write_bytes(data)
    with pytest.warns(
        AstroClusterWarning, match="5 of 6 images cannot be read, and image_bad is set"
    ) as warned:
        out = ac.read_cutouts(tmp_path)
    assert len(warned) == 1
    assert out["image_bad"].tolist() == [False] + [True] * 5
    assert out["image"].dtype == np.float32
    assert np.isnan(out["image"][1:]).all()
    assert out["image"][0].tolist() == [[1.0] * 4] * 3
    for name in ("zero_fraction", "original_height", "original_width"):
        assert out[name].mask.tolist() == [False] + [True] * 5, name
    # The header of the second one is whole.
    assert out["ra"].mask.tolist() == [False, False, True, True, True, True]
    assert ac.records(out)[0]["files"]["broken"] == 5


def test_nothing_is_said_by_astropy(tmp_path):
    """Cards against the standard must not become warnings, which a test turns into errors."""
    data = written(fits.PrimaryHDU(np.ones((3, 4)), fits.Header({"RA": 5.0})))
    data = data.replace(b"RA      =                  5.0", b"RA      =5.0                  ")
    (tmp_path / "a.fits").write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ac.read_cutouts(tmp_path, headers="all")["image"].shape == (1, 3, 4)
