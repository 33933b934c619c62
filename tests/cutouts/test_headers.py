"""Header keys as columns."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.io.votable.ucd import check_ucd

import astro_cluster as ac
from astro_cluster.exceptions import InputError
from astro_cluster.filing.headers import column_of, header_columns, wanted_keys


@pytest.fixture
def folder(tmp_path):
    headers = [
        {"RA": 10.5, "DEC": -5.25, "FILTER": "r", "GAIN": "N/A", "N": 3, "FLAG": True, "EXPTIME": 30},
        {"RA": "N/A", "DEC": -5.5, "FILTER": "N/A", "GAIN": 1.5, "N": 2.5, "FLAG": False, "EXPTIME": 60},
        {"RA": 11.5, "DEC": -5.75, "FILTER": "i", "GAIN": "", "N": 1, "OBJECT": "M 31"},
    ]
    for i, cards in enumerate(headers):
        header = fits.Header(cards)
        header["SCALE_1"] = (0.187, "[arcsec/pixel]")
        header["HIERARCH CFIS_psf_fwhm"] = 0.5 + i
        header["DATE-OBS"] = "2020-01-01"
        fits.PrimaryHDU(np.full((3, 3), float(i)), header).writeto(tmp_path / f"{i}.fits")
    return tmp_path


def test_positions_are_in_degrees(folder):
    out = ac.read_cutouts(folder)
    assert out["ra"].unit == out["dec"].unit == u.deg
    assert out["ra"].mask.tolist() == [False, True, False]
    assert out["dec"].value.tolist() == [-5.25, -5.5, -5.75]
    assert out["ra"].info.meta["ucd"] == "pos.eq.ra;meta.main"
    assert out["dec"].info.meta["ucd"] == "pos.eq.dec;meta.main"


def test_all_keys(folder):
    out = ac.read_cutouts(folder, headers="all")
    assert {"filter", "gain", "n", "flag", "object", "scale_1", "cfis_psf_fwhm", "date_obs"} <= set(
        out.colnames
    )
    assert not {"bitpix", "naxis1", "simple", "extend"} & set(out.colnames)
    assert out["filter"].tolist() == ["r", None, "i"]
    assert out["gain"].tolist() == [None, 1.5, None]
    assert out["n"].tolist() == [3.0, 2.5, 1.0]
    assert out["flag"].tolist() == [True, False, None]
    assert out["object"].tolist() == [None, None, "M 31"]
    assert out["scale_1"].unit == u.arcsec / u.pixel
    assert out["cfis_psf_fwhm"].tolist() == [0.5, 1.5, 2.5]
    assert out["exptime"].unit == u.s
    for name in out.colnames:
        assert check_ucd(out[name].info.meta["ucd"], check_controlled_vocabulary=True), name
        assert out[name].info.description, name


def test_some_keys(folder):
    out = ac.read_cutouts(folder, headers="filter, date-obs")
    assert [name for name in out.colnames if name in ("filter", "date_obs", "ra", "gain")] == [
        "filter",
        "date_obs",
    ]
    assert "ra" not in ac.read_cutouts(folder, headers=None).colnames
    assert "ra" not in ac.read_cutouts(folder, headers=()).colnames


def test_a_key_that_no_image_has(folder):
    with pytest.raises(
        InputError, match="no image has the header key 'FILTRE'; did you mean 'FILTER'"
    ) as raised:
        ac.read_cutouts(folder, headers=["FILTRE", "FILTER"])
    assert "headers='all'" in str(raised.value)
    with pytest.raises(InputError, match="no image has the header key 'ID'"):
        ac.read_cutouts(folder, identifier="ID")


def test_a_key_as_identifier(folder):
    out = ac.read_cutouts(folder, identifier="filter")
    assert out["filter"].info.meta["ucd"] == "meta.id"
    assert out["filter"].tolist() == ["r", None, "i"]
    out = ac.read_cutouts(folder, identifier="EXPTIME", headers="all")
    assert out.colnames.count("exptime") == 1


@pytest.mark.parametrize("identifier", ["", "  ", 3])
def test_identifiers_that_are_none(folder, identifier):
    with pytest.raises(InputError, match="is no name of a header key"):
        ac.read_cutouts(folder, identifier=identifier)


def test_a_name_that_is_taken_gets_a_number(folder):
    out = ac.read_cutouts(folder, pattern="{ra:d}")
    assert out["ra"].tolist() == [0, 1, 2]
    assert out["ra_2"].unit == u.deg


@pytest.mark.parametrize(
    ("key", "texts", "degrees"),
    [
        ("RA", ["12:30:00", "01:00:00"], [187.5, 15]),
        ("RA", ["12h30m00s", None], [187.5, None]),
        ("RA", ["187.5", "15"], [187.5, 15]),
        ("DEC", ["-12:30:00", "+01:00:00"], [-12.5, 1]),
        ("DEC", ["-12d30m00s", "1"], [-12.5, 1]),
    ],
)
def test_sexagesimal_positions(key, texts, degrees):
    column = column_of([None if text is None else {key: (text, "")} for text in texts], key)
    assert column.unit == "deg"
    assert column.values.tolist() == pytest.approx(degrees)


def test_a_position_in_words_stays_text():
    column = column_of([{"RA": ("north", "")}], "RA")
    assert (column.unit, column.values.tolist()) == ("", ["north"])
    column = column_of([{"RA": (True, "")}], "RA")
    assert (column.unit, column.values.tolist()) == ("", [True])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2], [1, 2]),
        ([1, "x"], ["1", "x"]),
        ([True, "x"], ["T", "x"]),
        ([True, 2], ["T", "2"]),
        ([2**70, 1], [float(2**70), 1.0]),
        ([1.5, "n/a"], [1.5, None]),
        ([" padded "], ["padded"]),
        (["N/A", None], [None, None]),
    ],
)
def test_all_values_of_a_column_are_of_one_type(values, expected):
    found = [None if value is None else {"K": (value, "")} for value in values]
    assert column_of(found, "K").values.tolist() == expected


def test_units_that_are_none_are_left_out():
    assert column_of([{"K": (1.0, "of whatever")}], "K").unit == ""
    assert column_of([{"K": ("text", "s")}], "K").unit == ""
    assert column_of([{"K": (1.0, "junk")}, {"K": (1.0, "Mpc")}], "K").unit == "Mpc"


def test_names():
    found = [{"A-B": (1, ""), "A_B": (2, ""), "3D": (3, ""), "???": (4, "")}]
    names = [column.name for column in header_columns(found, None)]
    assert names == ["a_b", "a_b_2", "key_3d", "key"]


@pytest.mark.parametrize("headers", [3, [1], [None]])
def test_headers_that_are_none(headers):
    with pytest.raises(InputError, match="are no names of header keys"):
        wanted_keys(headers)
