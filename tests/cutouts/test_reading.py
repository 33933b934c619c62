"""Image files to a table."""

from __future__ import annotations

import io
import re
import tarfile
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable.ucd import check_ucd
from astropy.table import QTable
from PIL import Image

import astro_cluster as ac
from astro_cluster.cutouts import filling
from astro_cluster.cutouts.quality import QUALITIES, quality_of
from astro_cluster.cutouts.shaping import resized
from astro_cluster.cutouts.stretching import stretched
from astro_cluster.exceptions import AstroClusterWarning, InputError

RNG = np.random.default_rng(17)
STAMPS = [RNG.lognormal(0, 1, (n, n)) for n in (20, 31, 16, 45)]


@pytest.fixture
def tars(tmp_path):
    """Two tars of two FITS images each, as the real ones."""
    for i in range(2):
        with tarfile.open(tmp_path / f"halo_{i}_sci.tar", "w") as tar:
            for camera in range(2):
                file = io.BytesIO()
                header = fits.Header({"RA": 10.0 + i, "DEC": camera - 5.0})
                fits.PrimaryHDU(STAMPS[2 * i + camera], header).writeto(file)
                info = tarfile.TarInfo(f"home/halo_{i}_cam{camera}.fits")
                info.size = file.tell()
                file.seek(0)
                tar.addfile(info, file)
    return tmp_path


def pictures(folder, **images):
    for name, values in images.items():
        Image.fromarray(values).save(folder / f"{name}.png")
    return folder


GREY, RGB = RNG.integers(0, 256, (6, 9), dtype=np.uint8), RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


@pytest.mark.parametrize("scale", ["none", "minmax", "percentile", "asinh", "log", "zscale"])
@pytest.mark.parametrize("resize", ["area", "flux", "lanczos", "crop", "pad"])
def test_a_table_of_tars_is_that_of_a_loop(tars, resize, scale):
    out = ac.read_cutouts(str(tars / "*.tar"), size=(18, 12), resize=resize, scale=scale, n_jobs=2)
    limits = (1.0, 99.0) if scale == "percentile" else None
    expected = [stretched(resized(stamp, (18, 12), resize), scale, limits) for stamp in STAMPS]
    assert out["image"].dtype == np.float32
    np.testing.assert_array_equal(out["image"], np.array(expected, dtype=np.float32))
    assert out["original_height"].tolist() == [20, 31, 16, 45]
    assert out["original_width"].tolist() == [20, 31, 16, 45]


def test_columns(tars):
    out = ac.read_cutouts(str(tars / "*.tar"), size=8, pattern="halo_{halo:d}_cam{camera:d}")
    names = ["source_file", "member", "halo", "camera", "ra", "dec", "original_height", "original_width"]
    assert out.colnames == [*names, *QUALITIES, "image_bad", "image"]
    assert out["halo"].tolist() == [0, 0, 1, 1]
    assert out["ra"].value.tolist() == [10, 10, 11, 11]
    for name in out.colnames:
        assert check_ucd(out[name].info.meta["ucd"], check_controlled_vocabulary=True), name
        assert out[name].info.description, name
    assert "8 × 8 by area" in out["image"].info.description


def test_quality_is_that_of_the_original_pixels(tars):
    out = ac.read_cutouts(str(tars / "*.tar"), size=8, scale="minmax", saturation=5.0)
    for i, stamp in enumerate(STAMPS):
        expected = quality_of(stamp, saturation=5.0)
        assert {name: out[name][i] for name in QUALITIES} == pytest.approx(expected, nan_ok=True)
    assert not set(QUALITIES) & set(ac.read_cutouts(str(tars / "*.tar"), size=8, quality=False).colnames)


def test_the_quality_of_stamps_side_by_side_is_that_of_the_original_pixels(tmp_path):
    rng = np.random.default_rng(4)
    strips = np.zeros((5, 40, 80), dtype=np.uint8)
    for left in (2, 41):
        strips[:, 3:33, left : left + 31] = rng.integers(1, 255, (5, 30, 31))
    strips[1, 3:33, 41:72] = 0  # one stamp is dark
    strips[2, 5:20, 41:60] = 99
    pictures(tmp_path, **dict(zip("abcde", strips, strict=True)))
    for panels in ("auto", 2):
        out = ac.read_cutouts(tmp_path, size=12, scale="minmax", panels=panels, inverted=True)
        expected = ac.image_quality(QTable({"image": strips}), panels=panels, inverted=True)
        for name in QUALITIES:
            np.testing.assert_array_equal(out[name], expected[name], name)
        assert out["zero_fraction"].tolist() == [0, 1, 0, 0, 0]
    assert ac.records(out)[-1]["parameters"]["panels"] == 2
    for wrong, message in (
        ({"panels": 0}, "panels=0 is no number"),
        ({"panels": True}, "panels=True is no number"),
        ({"panels": 2, "quality": False}, "panels is for the quality"),
        ({"inverted": True, "quality": False}, "inverted is for the quality"),
        ({"panels": 200}, "none of 5 images can be read"),
    ):
        with pytest.raises(InputError, match=message):
            ac.read_cutouts(tmp_path, **wrong)


def test_the_number_of_threads_changes_nothing(tars):
    one, many = (ac.read_cutouts(tars, size=16, scale="asinh", n_jobs=n) for n in (1, 4))
    for name in one.colnames:
        np.testing.assert_array_equal(np.asarray(one[name]), np.asarray(many[name]), name)


def test_eight_bits_stay_eight_bits(tmp_path):
    pictures(tmp_path, a=GREY, b=GREY[::-1].copy())
    for options in ({}, {"size": 4}, {"size": 4, "resize": "lanczos"}, {"size": 4, "resize": "crop"}):
        assert ac.read_cutouts(tmp_path, **options)["image"].dtype == np.uint8, options
    for options in ({"scale": "minmax"}, {"size": 20, "resize": "pad"}, {"size": 4, "resize": "flux"}):
        assert ac.read_cutouts(tmp_path, **options)["image"].dtype == np.float32, options
    np.testing.assert_array_equal(ac.read_cutouts(tmp_path)["image"], [GREY, GREY[::-1]])
    fits.PrimaryHDU(np.ones((6, 9), "f4")).writeto(tmp_path / "c.fits")
    assert ac.read_cutouts(tmp_path)["image"].dtype == np.float32


def test_grey_and_colours(tmp_path):
    pictures(tmp_path, a=GREY, b=RGB, c=RGB)
    with pytest.warns(AstroClusterWarning, match="1 of 3 images are grey, the others have 3 channels"):
        out = ac.read_cutouts(tmp_path)
    assert out["image"].shape == (3, 6, 9, 3)
    np.testing.assert_array_equal(out["image"][0], np.dstack([GREY] * 3))
    np.testing.assert_array_equal(out["image"][1], RGB)
    out = ac.read_cutouts(tmp_path, colour="grey")
    assert out["image"].dtype == np.uint8
    np.testing.assert_array_equal(out["image"][1], np.rint(RGB.mean(axis=2)))
    out = ac.read_cutouts(str(tmp_path / "a.png"), colour="rgb")
    assert out["image"].shape == (1, 6, 9, 3)
    np.testing.assert_array_equal(ac.read_cutouts(tmp_path / "b.png", plane=1)["image"][0], RGB[..., 1])


def test_another_number_of_channels_costs_the_row(tmp_path):
    for name, n in (("a", 3), ("b", 3), ("c", 4)):
        fits.PrimaryHDU(np.ones((n, 6, 9))).writeto(tmp_path / f"{name}.fits")
    with pytest.warns(AstroClusterWarning, match="it has 4 channels, and most have 3"):
        out = ac.read_cutouts(tmp_path)
    assert out["image_bad"].tolist() == [False, False, True]
    with pytest.warns(AstroClusterWarning, match="it has 4 channels, and most have 3"):
        ac.read_cutouts(tmp_path, colour="rgb")
    assert ac.read_cutouts(tmp_path, plane=2)["image"].shape == (3, 6, 9)


def test_missing_pixels_are_nan(tmp_path):
    values = np.ones((4, 4))
    values[0, 0], values[1, 1], values[2, 2], values[3, 3] = np.nan, np.inf, -np.inf, 1e300
    fits.PrimaryHDU(values).writeto(tmp_path / "a.fits")
    out = ac.read_cutouts(tmp_path)
    assert np.isnan(out["image"][0].diagonal()).all()
    assert np.isnan(out["image"]).sum() == 4
    assert out["nan_fraction"][0] == 3 / 16


def test_a_memory_map(tars):
    path = tars / "stack.npy"
    out = ac.read_cutouts(str(tars / "*.tar"), size=16, scale="minmax", memmap=path)
    expected = ac.read_cutouts(str(tars / "*.tar"), size=16, scale="minmax")
    base = out["image"]
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    np.testing.assert_array_equal(out["image"], expected["image"])
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), expected["image"])
    assert sorted(one.name for one in tars.iterdir()) == ["halo_0_sci.tar", "halo_1_sci.tar", "stack.npy"]
    with pytest.raises(InputError, match="exists already; give overwrite=True"):
        ac.read_cutouts(str(tars / "*.tar"), size=16, memmap=path)
    ac.read_cutouts(str(tars / "*.tar"), size=8, memmap=path, overwrite=True)
    assert np.load(path).shape == (4, 8, 8)


@pytest.mark.parametrize(
    ("memmap", "message"), [("a.fits", "has to end in .npy"), ("nowhere/a.npy", "there is no folder nowhere")]
)
def test_files_that_cannot_be_memory_maps(tars, memmap, message):
    with pytest.raises(InputError, match=message):
        ac.read_cutouts(tars, size=8, memmap=memmap)


def test_a_failure_leaves_no_file(tars, monkeypatch):
    monkeypatch.setattr(
        filling, "read_items", lambda group: (_ for _ in ()).throw(OSError("the disk is gone"))
    )
    with pytest.raises(InputError, match=r"none of 4 images can be read: .*the disk is gone"):
        ac.read_cutouts(tars, size=8, memmap=tars / "stack.npy")
    assert sorted(one.name for one in tars.iterdir()) == ["halo_0_sci.tar", "halo_1_sci.tar"]


def test_more_than_there_is_room_for(tars, monkeypatch):
    import shutil

    class _Full:
        free = 1000

    monkeypatch.setattr(shutil, "disk_usage", lambda path: _Full)
    with pytest.raises(InputError, match=r"takes 0.0 GB, and the disk has 0.0 GB left"):
        ac.read_cutouts(tars, size=30, memmap=tars / "stack.npy")

    with pytest.raises(InputError, match=r"4 images of 32768 × 32768 take 16\.0 GB, which cannot be had"):
        _without_memory(monkeypatch, tars)


def test_a_disk_that_is_full_leaves_no_file(tars, monkeypatch):
    import errno
    import os

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(InputError, match=r"cannot write .*stack\.npy: No space left on device"):
        ac.read_cutouts(tars, size=30, memmap=tars / "stack.npy")
    assert sorted(one.name for one in tars.iterdir()) == ["halo_0_sci.tar", "halo_1_sci.tar"]


def _without_memory(monkeypatch, tars):
    def refuse(*args, **options):
        raise MemoryError

    def planned(*args, **options):
        plan, notes = filling.planned(*args, **options)
        monkeypatch.setattr(filling.np, "empty", refuse)
        return plan, notes

    monkeypatch.setattr("astro_cluster.cutouts.reading.planned", planned)
    try:
        ac.read_cutouts(tars, size=2**15)
    finally:
        monkeypatch.undo()


def test_sources_are_counted_in_the_original_pixels(tmp_path):
    pytest.importorskip("photutils")
    y, x = np.mgrid[:60, :60]
    image = np.random.default_rng(1).normal(size=(60, 60))
    for x0, y0, flux in ((30, 30, 300), (48, 30, 150)):
        image += flux * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 8)
    fits.PrimaryHDU(image).writeto(tmp_path / "a.fits")
    (tmp_path / "b.fits").write_text("text")
    with pytest.warns(AstroClusterWarning, match="1 of 2 images"):
        out = ac.read_cutouts(tmp_path, size=6, scale="minmax", detect=True)
    assert out["n_sources"].tolist() == [2, None]
    assert out["neighbour_distance"].unmasked.value[0] == pytest.approx(18, abs=0.3)
    assert out["neighbour_ratio"][0] == pytest.approx(0.5, abs=0.05)
    quick = ac.read_cutouts(tmp_path / "a.fits", quality=False, detect=True)
    assert "n_sources" in quick.colnames
    assert "concentration" not in quick.colnames


def test_the_record(tars):
    out = ac.read_cutouts(str(tars / "*.tar"), size=8, pattern="halo_{halo:d}_cam*")
    (record,) = ac.records(out)
    assert record["function"] == "read_cutouts"
    assert record["parameters"]["source"] == str(tars / "*.tar")
    assert record["parameters"]["size"] == 8
    assert not {"memmap", "overwrite", "n_jobs"} & set(record["parameters"])
    assert record["files"]["images"] == 4
    assert record["files"]["archives"] == 2
    assert record["files"]["broken"] == 0
    assert re.fullmatch("sha256:[0-9a-f]{64}", record["files"]["hash"])
    assert record["image_shape"] == [8, 8]
    assert "image" not in record["inputs"]
    again = ac.records(ac.read_cutouts(str(tars / "*.tar"), size=8, pattern="halo_{halo:d}_cam*"))[0]
    assert {**again, "date": ""} == {**record, "date": ""}


def test_a_chain_is_run_again(tars, tmp_path_factory):
    out = ac.read_cutouts(str(tars / "*.tar"), size=8)
    clustered = ac.cluster(
        out, "kmeans", n_clusters=2, features=["concentration", "peak_offset"], random_state=1
    )
    path = ac.write(clustered, tmp_path_factory.mktemp("out") / "a.fits")
    again = ac.rerun(path)
    assert again["cluster"].tolist() == clustered["cluster"].tolist()
    np.testing.assert_array_equal(again["image"], out["image"])


def test_images_alone_are_read_again(tars, tmp_path_factory):
    out = ac.read_cutouts(str(tars / "*.tar"), size=8, memmap=tars / "stack.npy")
    again = ac.rerun(ac.write(out, tmp_path_factory.mktemp("out") / "a.fits"))
    np.testing.assert_array_equal(again["image"], out["image"])
    (tars / "halo_1_sci.tar").unlink()
    with pytest.warns(AstroClusterWarning, match=r"\*.tar has changed since the record was made"):
        assert len(ac.rerun(out)) == 2


def test_the_files_are_read_again_where_rows_have_changed(tars):
    out = ac.read_cutouts([str(tars / "halo_0_sci.tar"), tars / "halo_1_sci.tar"], size=8)
    first = ac.cluster(out, "kmeans", n_clusters=2, features="concentration", random_state=1)
    second = ac.cluster(
        first, "kmeans", n_clusters=3, features="concentration", random_state=1, overwrite=True
    )
    again = ac.rerun(second)
    assert again["cluster"].tolist() == second["cluster"].tolist()
    np.testing.assert_array_equal(again["image"], out["image"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resize": "bilinear"}, "resize='bilinear' is not known"),
        ({"resize": "Area"}, "did you mean 'area'"),
        ({"scale": "min-max"}, "did you mean 'minmax'"),
        ({"colour": "color"}, "colour='color' is not known"),
        ({"size": 0}, "is no size"),
        ({"n_jobs": 0}, "n_jobs=0 is no number of threads"),
        ({"n_jobs": 2.0}, "n_jobs=2.0 is no number of threads"),
        ({"hdu": -1}, "is neither the number of an HDU"),
        ({"hdu": 1.5}, "is neither the number of an HDU"),
        ({"plane": "a"}, "plane='a' is no whole number"),
        ({"percentiles": (1, 99)}, "scale='none' takes no percentiles"),
        ({"saturation": 5.0, "quality": False}, "which quality=False leaves out"),
        ({"saturation": "much"}, "saturation='much'"),
        ({"pattern": "*"}, "has no identifier"),
        ({}, "the images are of 4 sizes, 16 to 45 high and 16 to 45 wide: give size=128"),
        ({"size": 8, "resize": "none"}, "and resize='none' cannot make them 8 × 8"),
        ({"size": 8, "hdu": "SCI"}, "none of 4 images can be read: .*none of which is 'SCI'"),
        ({"size": 8, "hdu": "3"}, "none of which is 3"),
    ],
)
def test_what_is_wrong_is_said(tars, options, message):
    with pytest.raises(InputError, match=message):
        ac.read_cutouts(tars, **options)


def test_sizes_by_crop_and_pad(tars):
    assert ac.read_cutouts(tars, resize="crop")["image"].shape == (4, 16, 16)
    out = ac.read_cutouts(tars, resize="pad")
    assert out["image"].shape == (4, 45, 45)
    assert np.isnan(out["image"][0]).sum() == 45**2 - 20**2


def test_many_broken_images_are_told_briefly(tmp_path):
    pictures(tmp_path, a=GREY)
    for i in range(30):
        (tmp_path / f"b{i}.png").write_text("text")
    with pytest.warns(AstroClusterWarning) as warned:
        out = ac.read_cutouts(tmp_path)
    assert len(warned) == 1
    assert str(warned[0].message).count("b") < 40
    assert str(warned[0].message).endswith(", …")
    assert len(ac.records(out)[0]["files"]["broken_names"]) == 30


def test_filters_of_warnings_are_what_they_were(tars):
    before = list(warnings.filters)
    ac.read_cutouts(tars, size=8, n_jobs=4)
    assert list(warnings.filters) == before


def test_the_table_survives_fits(tars, tmp_path_factory):
    out = ac.read_cutouts(str(tars / "*.tar"), size=8)
    back = ac.read(ac.write(out, tmp_path_factory.mktemp("out") / "a.fits"))
    assert back.colnames == out.colnames
    np.testing.assert_array_equal(back["image"], out["image"])
    assert ac.records(back) == ac.records(out)
