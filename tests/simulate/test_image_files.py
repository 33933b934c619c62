"""Files as those of the studies, and a mosaic."""

from __future__ import annotations

import csv
import io
import tarfile

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image

from astro_cluster import simulate
from astro_cluster.exceptions import InputError


@pytest.fixture(scope="module")
def table():
    return simulate.galaxies(10, size=64, artefacts=0.6, random_state=2)


def images_of_tars(paths) -> list[tuple[str, fits.PrimaryHDU]]:
    found = []
    for path in paths:
        with tarfile.open(path) as tar:
            for member in tar.getmembers():
                (hdu,) = fits.open(io.BytesIO(tar.extractfile(member).read()))
                found.append((member.name, hdu))
    return found


def test_tars_of_four_with_the_headers_of_the_study(table, tmp_path):
    paths = simulate.write_tars(table, tmp_path / "sci")
    assert [len(images_of_tars([path])) for path in paths] == [4, 4, 2]
    found = images_of_tars(paths)
    for row, (name, hdu) in zip(table, found, strict=True):
        assert name.endswith(".fits")
        header = hdu.header
        assert header["SIMID"] == row["source_id"]
        assert header["BITPIX"] == -64
        assert header["BUNIT"] == "AB nanomaggies"
        assert header["TILE"] == header["GAIN"] == "N/A"
        assert header["add_cfis_sky"] is True
        assert header["RA"] == pytest.approx(row["ra"].to_value(u.deg))
        assert header["REDSHIFT"] == pytest.approx(row["redshift"], abs=1e-6)
        assert header["SCALE_2"] * header["NAXIS1"] == pytest.approx(50, rel=0.01)  # kpc
        assert "no observation" in str(header["COMMENT"])
    sizes = {hdu.header["NAXIS1"] for _, hdu in found}
    assert len(sizes) > 5
    assert min(sizes) > 60
    assert max(sizes) < 650


def test_the_brightness_survives_and_empty_pixels_stay_empty(table, tmp_path):
    found = images_of_tars(simulate.write_tars(table, tmp_path))
    for row, (_, hdu) in zip(table, found, strict=True):
        assert hdu.data.mean() == pytest.approx(row["image"].mean(), rel=0.05)
        zero = (row["image"] == 0).mean()
        assert (hdu.data == 0).mean() == pytest.approx(zero, abs=0.02)
        assert ((hdu.data == 0).any()) == (zero > 0)


def test_header_keys_are_those_of_the_real_ones(table, tmp_path, real_data):
    ours = images_of_tars(simulate.write_tars(table, tmp_path)[:1])[0][1].header
    real = images_of_tars(sorted((real_data / "galaxies" / "sci").glob("*.tar"))[:1])[0][1].header
    assert set(real) - set(ours) <= {"COLC", "ROWC", "EXTC", "AIRM", "false_sky_sig"}
    for key in set(real) & set(ours):
        assert type(real[key]) is type(ours[key]) or key in ("RA", "DEC"), key


def test_strips_and_their_labels(tmp_path):
    table = simulate.strips(9, spurious=3, size=(34, 190))
    paths = simulate.write_strips(table, tmp_path / "png")
    for row, path in zip(table, paths, strict=True):
        assert path.name == f"SIM_z{row['redshift']:.1f}_{row['source_id']}_F115W-F444W_crop.png"
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.asarray(image), row["image"])
    with (tmp_path / "png" / "labels.csv").open(newline="") as file:
        labels = list(csv.DictReader(file))
    assert [int(label["Source_ID"]) for label in labels] != table["source_id"].tolist()
    by_id = {int(label["Source_ID"]): label for label in labels}
    for row in table:
        label = by_id[row["source_id"]]
        assert int(label["Reliable_Source"]) == row["label"]
        assert label["Reason"] == ("" if row["label"] else row["reason"])
    assert not [path for path in (tmp_path / "png").iterdir() if path.name.startswith(".")]


def test_the_same_labels_in_a_workbook(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    simulate.write_strips(simulate.strips(5, spurious=2, size=(17, 95)), tmp_path)
    rows = list(openpyxl.load_workbook(tmp_path / "labels.xlsx").active.values)
    with (tmp_path / "labels.csv").open(newline="") as file:
        assert [[str(c if c is not None else "") for c in row] for row in rows] == list(csv.reader(file))


def test_nothing_is_overwritten_unasked(table, tmp_path):
    simulate.write_tars(table, tmp_path)
    with pytest.raises(InputError, match="exists already"):
        simulate.write_tars(table, tmp_path)
    simulate.write_tars(table, tmp_path, overwrite=True)
    strips = simulate.strips(2, spurious=1, size=(17, 95))
    simulate.write_strips(strips, tmp_path)
    with pytest.raises(InputError, match="exists already"):
        simulate.write_strips(strips, tmp_path)


def test_tables_that_are_none_of_ours(table, tmp_path):
    with pytest.raises(InputError, match=r"no column 'pixel_scale'.*simulate\.galaxies"):
        simulate.write_tars(simulate.strips(1, spurious=0, size=(17, 95)), tmp_path)
    with pytest.raises(InputError, match=r"no column 'label'.*simulate\.strips"):
        simulate.write_strips(table, tmp_path)
    with pytest.raises(InputError, match="no rows"):
        simulate.write_tars(table[:0], tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the folder"):
        simulate.write_tars(table, tmp_path / "file" / "below")


def test_sources_are_where_the_wcs_says(tmp_path):
    hdus, catalogue = simulate.mosaic(60, shape=(300, 400), filters=("g", "r"), random_state=3)
    hdus.writeto(tmp_path / "mosaic.fits")
    with fits.open(tmp_path / "mosaic.fits") as read:
        wcs, image = WCS(read["R"].header), read["R"].data
        assert image.shape == (300, 400)
        x, y = wcs.world_to_pixel(SkyCoord(catalogue["ra"], catalogue["dec"]))
        np.testing.assert_allclose(x, catalogue["x"], atol=1e-4)
        np.testing.assert_allclose(y, catalogue["y"], atol=1e-4)
        corner = np.isnan(image)
        assert corner[0, 0]
        assert 0.01 < corner.mean() < 0.04
        bright = catalogue[catalogue["on_image"]]
        bright = bright[np.argsort(bright["flux_r"])[::-1][:8]]
        for row in bright:
            i, j = round(row["y"]), round(row["x"])
            stamp = image[max(0, i - 2) : i + 3, max(0, j - 2) : j + 3]
            assert np.isnan(stamp).any() or stamp.max() > 0.05
    inside = (x > -0.5) & (x < 399.5) & (y > -0.5) & (y < 299.5)
    np.testing.assert_array_equal(catalogue["on_image"], inside)
    assert not catalogue["on_image"].all()


def test_the_light_of_a_mosaic_is_that_of_its_catalogue():
    hdus, catalogue = simulate.mosaic(30, shape=(500, 500), random_state=6)
    for name in "gri":
        flux = catalogue[f"flux_{name}"].to_value(u.uJy) / 3.631
        assert np.nansum(hdus[name].data) == pytest.approx(flux.sum(), rel=0.25)
        assert hdus[name].header["FILTER"] == name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "at least one source"),
        ({"shape": (8, 100)}, "at least 16"),
        ({"filters": ()}, "one name or more"),
        ({"filters": ("r", "r")}, "each once"),
    ],
)
def test_numbers_that_make_no_mosaic(options, message):
    with pytest.raises(InputError, match=message):
        simulate.mosaic(**options)
