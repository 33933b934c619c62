"""Stamps from mosaics: stamp by stamp against astropy.nddata.Cutout2D."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import CCDData, Cutout2D, NDData
from astropy.nddata.utils import NoOverlapError
from astropy.table import MaskedColumn, QTable
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError

SHAPE = (120, 150)


def _wcs(
    *, scale: float = 0.01, ra: float = 150.0, dec: float = 2.0, turn: float = 0.0, proj: str = "TAN"
) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{proj}", f"DEC--{proj}"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [SHAPE[1] / 2, SHAPE[0] / 2]
    c, s = np.cos(turn), np.sin(turn)
    wcs.wcs.cd = scale * np.array([[-c, s], [s, c]])
    wcs.wcs.set()
    return wcs


def _mosaic(dtype: str = "f4") -> np.ndarray:
    return np.random.default_rng(1).integers(1, 10_000, SHAPE).astype(dtype)


def _catalogue(wcs: WCS, n: int = 60, seed: int = 0, beyond: float = 15.0) -> QTable:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-beyond, SHAPE[1] + beyond, n), rng.uniform(-beyond, SHAPE[0] + beyond, n)
    coord = wcs.pixel_to_world(x, y).icrs
    return QTable({"id": np.arange(n), "ra": coord.ra, "dec": coord.dec})


def _quiet_cutouts(*args: Any, **kwargs: Any) -> QTable:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstroClusterWarning)
        return ac.cutouts_from(*args, **kwargs)


def _assert_as_cutout2d(out: QTable, pixels: np.ndarray, wcs: WCS, size: Any) -> None:
    coord = SkyCoord(out["ra"], out["dec"])
    for row, stamp in zip(out, ac.images_of(out), strict=True):
        try:
            cut = Cutout2D(
                pixels.astype("f4"), coord[int(row["id"])], size, wcs=wcs, mode="partial", fill_value=np.nan
            )
        except NoOverlapError:
            assert row["image_bad"]
            assert np.isnan(stamp).all()
            assert row["image_coverage"] is np.ma.masked
            continue
        assert not row["image_bad"]
        np.testing.assert_array_equal(stamp, cut.data)
        inside = np.isfinite(cut.data).mean()
        assert row["image_coverage"] == inside
        assert row["image_partial"] == (inside < 1)


@pytest.mark.parametrize(
    "size", [1, 2, 7, 16, (9, 20), 0.11 * u.deg, (0.1 * u.deg, 300 * u.arcsec), 8 * u.pix]
)
@pytest.mark.parametrize("turn", [0.0, 0.7])
def test_stamps_are_those_of_cutout2d(size: Any, turn: float) -> None:
    wcs, pixels = _wcs(turn=turn), _mosaic()
    out = _quiet_cutouts((pixels, wcs), _catalogue(wcs), size, quality=False)
    assert 0 < out["image_bad"].sum() < 30
    assert out["image"].dtype == np.float32
    _assert_as_cutout2d(out, pixels, wcs, size)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 30),
    st.integers(1, 30),
    st.floats(0, 6.3),
    st.sampled_from(["TAN", "SIN", "CAR", "ZEA"]),
    st.sampled_from([(0.0, 0.0), (359.999, -60.0), (10.0, 89.9), (200.0, -89.5)]),
)
def test_any_sky_and_size(seed: int, h: int, w: int, turn: float, proj: str, at: tuple[float, float]) -> None:
    wcs = _wcs(turn=turn, proj=proj, ra=at[0], dec=0.0 if proj == "CAR" else at[1], scale=1e-4)
    pixels = _mosaic()
    out = _quiet_cutouts((pixels, wcs), _catalogue(wcs, 8, seed, beyond=30), (h, w), quality=False)
    _assert_as_cutout2d(out, pixels, wcs, (h, w))


@pytest.fixture(params=["plain", "scaled", "rice", "gzip", "second"])
def mosaic_file(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, np.ndarray, WCS]:
    """A mosaic in the forms that surveys give out."""
    wcs, pixels = _wcs(), _mosaic("i2")
    header = wcs.to_header()
    header["FILTER"], header["BUNIT"] = "F444W", "MJy/sr"
    path = tmp_path / ("field.fits.gz" if request.param == "gzip" else "field.fits")
    if request.param == "scaled":
        hdu = fits.PrimaryHDU(pixels.astype("f4"), header)
        hdu.scale("int16", bzero=5000, bscale=0.5)
        hdu.writeto(path)
        pixels = fits.getdata(path)
    elif request.param == "rice":
        rice = fits.CompImageHDU(pixels, header, compression_type="RICE_1", tile_shape=(16, 16))
        fits.HDUList([fits.PrimaryHDU(), rice]).writeto(path)
    elif request.param == "second":
        first = fits.ImageHDU(np.zeros((5, 5)), name="OTHER")
        fits.HDUList([fits.PrimaryHDU(), first, fits.ImageHDU(pixels, header, name="SCI")]).writeto(path)
    else:
        fits.PrimaryHDU(pixels, header).writeto(path)
    return path, pixels, wcs


def test_stamps_from_files(mosaic_file: tuple[Path, np.ndarray, WCS]) -> None:
    path, pixels, wcs = mosaic_file
    hdu = "SCI" if len(fits.info(path, output=False)) == 3 else None
    out = _quiet_cutouts(path, _catalogue(wcs), 12, hdu=hdu)
    _assert_as_cutout2d(out, pixels, wcs, 12)
    assert out["image"].unit == u.MJy / u.sr
    assert out["image"].info.meta["filters"] == ["F444W"]
    assert "spike_power" in out.colnames


def test_only_the_stamps_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wcs = _wcs()
    path = tmp_path / "field.fits"
    fits.PrimaryHDU(_mosaic(), wcs.to_header()).writeto(path)

    def never(*_: Any) -> None:
        raise AssertionError("the whole image was read")

    monkeypatch.setattr(fits.PrimaryHDU, "data", property(never))
    assert len(_quiet_cutouts(path, _catalogue(wcs), 8)) == 60


def test_images_in_memory_of_every_kind() -> None:
    wcs, pixels = _wcs(), _mosaic()
    table = _catalogue(wcs, beyond=0)
    expected = ac.images_of(_quiet_cutouts((pixels, wcs), table, 8))
    masked = pixels > 9000
    for image in (
        CCDData(pixels, unit="adu", wcs=wcs),
        NDData(pixels, wcs=wcs),
        fits.ImageHDU(pixels, wcs.to_header()),
        (pixels.astype(">f8"), wcs),
        (pixels * u.adu, wcs),
        (pixels[np.newaxis], wcs),
    ):
        np.testing.assert_array_equal(ac.images_of(_quiet_cutouts(image, table, 8)), expected)
    ccd = CCDData(pixels, unit="adu", wcs=wcs, mask=masked)
    found = ac.images_of(_quiet_cutouts(ccd, table, 8))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected) | (expected > 9000))
    assert _quiet_cutouts(ccd, table, 8)["image"].unit == u.adu


def test_several_filters_are_channels_each_by_its_own_coordinates(tmp_path: Path) -> None:
    one, two = _wcs(), _wcs(ra=150.08)
    pixels = [_mosaic(), _mosaic() * 2]
    paths = {}
    for name, data, wcs in zip(("F115W", "F444W"), pixels, (one, two), strict=True):
        paths[name] = tmp_path / f"{name.lower()}.fits"
        fits.PrimaryHDU(data, wcs.to_header()).writeto(paths[name])
    table = _catalogue(one)
    out = _quiet_cutouts(paths, table, 10)
    assert out["image"].shape == (60, 10, 10, 2)
    assert out["image"].info.meta["filters"] == ["F115W", "F444W"]
    alone = [_quiet_cutouts(path, table, 10) for path in paths.values()]
    for channel, other in enumerate(alone):
        np.testing.assert_array_equal(ac.images_of(out)[..., channel], ac.images_of(other))
    both_bad = alone[0]["image_bad"] & alone[1]["image_bad"]
    np.testing.assert_array_equal(out["image_bad"], both_bad)
    shares = sum(np.ma.filled(np.ma.asarray(other["image_coverage"]), 0) for other in alone) / 2
    np.testing.assert_allclose(np.ma.asarray(out["image_coverage"])[~both_bad], shares[~both_bad])
    listed = _quiet_cutouts(list(paths.values()), table, 10)
    assert listed["image"].info.meta["filters"] == ["f115w", "f444w"]


def test_filters_with_other_pixels_need_a_size_in_pixels() -> None:
    images = {"a": (_mosaic(), _wcs()), "b": (_mosaic(), _wcs(scale=0.02))}
    table = _catalogue(_wcs(), 5, beyond=-20)
    with pytest.raises(InputError, match="pixel scale"):
        ac.cutouts_from(images, table, 0.2 * u.deg)
    assert ac.images_of(_quiet_cutouts(images, table, 10)).shape == (5, 10, 10, 2)


@pytest.mark.parametrize("frame", ["galactic", "fk5", "skycoord"])
def test_positions_in_any_frame(frame: str) -> None:
    wcs, pixels = _wcs(), _mosaic()
    table = _catalogue(wcs)
    coord = SkyCoord(table["ra"], table["dec"])
    if frame == "galactic":
        other = QTable({"glon": coord.galactic.l, "glat": coord.galactic.b})
    elif frame == "fk5":
        other = QTable({"where": coord.fk5})
    else:
        other = QTable({"where": coord})
    expected = _quiet_cutouts((pixels, wcs), table, 6, quality=False)
    found = _quiet_cutouts((pixels, wcs), other, 6, quality=False)
    np.testing.assert_array_equal(ac.images_of(found), ac.images_of(expected))


def test_rows_without_a_position_are_masked_and_told() -> None:
    wcs = _wcs()
    ra = MaskedColumn([150.0, 150.0, 330.0, 150.0], mask=[False, True, False, False], unit="deg")
    table = QTable({"id": [0, 1, 2, 3], "ra": ra, "dec": [2.0, 2.0, -2.0, np.nan] * u.deg})
    with pytest.warns(AstroClusterWarning, match=r"1 of 4 positions .* 2 of 4 rows .*rows 1, 2, 3"):
        out = ac.cutouts_from((_mosaic(), wcs), table, 8)
    assert out["image_bad"].tolist() == [False, True, True, True]  # the point opposite, too
    for name in ("image_partial", "image_coverage", "zero_fraction", "concentration"):
        assert out[name].mask.tolist() == [False, True, True, True]
    assert out["id"].tolist() == [0, 1, 2, 3]


def test_fill_and_names() -> None:
    wcs = _wcs()
    out = _quiet_cutouts((_mosaic(), wcs), _catalogue(wcs), 9, fill=-5, column="stamp", quality=False)
    assert set(out.colnames) == {"id", "ra", "dec", "stamp", "image_bad", "image_partial", "image_coverage"}
    bad = np.asarray(out["image_bad"])
    assert (ac.images_of(out)[bad] == -5).all()
    with pytest.raises(InputError, match="already has the column"):
        ac.cutouts_from((_mosaic(), wcs), out, 9)
    assert len(_quiet_cutouts((_mosaic(), wcs), out, 9, column="stamp", overwrite=True)) == 60


def test_distorted_images_agree_with_cutout2d(tmp_path: Path) -> None:
    header = _wcs().to_header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    header["A_ORDER"] = header["B_ORDER"] = 2
    header["A_2_0"], header["B_0_2"], header["A_1_1"] = 1e-4, -2e-4, 5e-5
    path = tmp_path / "sip.fits"
    fits.PrimaryHDU(_mosaic(), header).writeto(path)
    wcs = WCS(fits.getheader(path))
    table = _catalogue(wcs, 40, beyond=0)
    # Far away the distortion is a polynomial out of hand.
    both = QTable(
        {
            "id": np.arange(42),
            "ra": [*table["ra"].deg, 170.0, 330.0] * u.deg,
            "dec": [*table["dec"].deg, 20.0, -2.0] * u.deg,
        }
    )
    out = _quiet_cutouts(path, both, 10, quality=False)
    assert out["image_bad"][40:].all()
    assert not out["image_bad"][:40].any()
    _assert_as_cutout2d(out[:40], _mosaic(), wcs, 10)


def test_stamps_are_on_record_and_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wcs = _wcs()
    fits.PrimaryHDU(_mosaic(), wcs.to_header()).writeto(tmp_path / "field.fits")
    ac.write(_catalogue(wcs, beyond=-10), tmp_path / "cat.vot")
    monkeypatch.chdir(tmp_path)
    out = ac.cutouts_from("field.fits", "cat.vot", 8, position=("ra", "dec"))
    record = ac.records(out)[-1]
    assert record["parameters"]["image"] == "field.fits"
    assert record["inputs"] == {"ra": "deg", "dec": "deg"}
    ac.write(out, "gal.fits")
    monkeypatch.chdir(tmp_path.parent)
    again = ac.rerun(tmp_path / "gal.fits")
    np.testing.assert_array_equal(ac.images_of(again), ac.images_of(out))


@pytest.mark.parametrize(
    ("image", "size", "message"),
    [
        ("missing.fits", 8, "no file missing.fits"),
        (np.zeros((5, 5)), 8, "cannot cut stamps from a ndarray"),
        ({}, 8, "no image was given"),
        (NDData(np.zeros((5, 5))), 8, "no coordinates"),
        ((np.zeros((5, 5)), WCS(naxis=2)), 8, "no celestial coordinates"),
        ((np.zeros((2, 5, 5)), _wcs()), 8, "no plain image"),
        ((_mosaic(), _wcs()), 0, "no stamp"),
        ((_mosaic(), _wcs()), -3, "no stamp"),
        ((_mosaic(), _wcs()), 3 * u.s, "is in s; give pixels or an angle"),
        ((_mosaic(), _wcs()), "64", "no size"),
        ((_mosaic(), _wcs()), (1, 2, 3), "no size"),
        ((_mosaic(), _wcs()), np.nan, "no stamp"),
        ((_mosaic(), _wcs()), 10**6, "GiB"),
    ],
)
def test_what_cannot_be_cut_is_one_clear_error(image: Any, size: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ac.cutouts_from(image, _catalogue(_wcs(), 5, beyond=-10), size)


def test_files_without_an_image_say_what_they_have(tmp_path: Path) -> None:
    table = _catalogue(_wcs(), 3, beyond=-10)
    path = ac.write(QTable({"x": [1.0]}), tmp_path / "table.fits")
    with pytest.raises(InputError, match=r"HDUs are: 0 PRIMARY, 1 TABLE"):
        ac.cutouts_from(path, table, 8, hdu=0)
    fits.PrimaryHDU(_mosaic(), _wcs().to_header()).writeto(tmp_path / "a.fits")
    with pytest.raises(InputError, match="has no HDU 7"):
        ac.cutouts_from(tmp_path / "a.fits", table, 8, hdu=7)
    cut = tmp_path / "cut.fits"
    cut.write_bytes((tmp_path / "a.fits").read_bytes()[:10_000])
    with pytest.raises(InputError, match=r"cut\.fits cannot be read"):
        ac.cutouts_from(cut, table, 8)
    cut.write_bytes(b"no fits at all")
    with pytest.raises(InputError, match=r"cut\.fits cannot be read"):
        ac.cutouts_from(cut, table, 8)
