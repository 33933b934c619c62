"""The verb cutouts, and images that verbs leave in their file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS
from PIL import Image

import astro_cluster as ac
from astro_cluster.cli import main


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as leave:
        main([str(argument) for argument in arguments])
    return int(leave.value.code or 0)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of six strips of three stamps each, and labels."""
    folder = tmp_path / "strips"
    folder.mkdir()
    rng = np.random.default_rng(2)
    for i in range(6):
        strip = np.zeros((24, 90), dtype=np.uint8)
        for left in (1, 31, 61):
            strip[:, left : left + 28] = rng.integers(1, 200, (24, 28))
        if i == 4:
            strip[:, 31:45] = 0
        Image.fromarray(strip).save(folder / f"gal_z{i}.5_{100 + i}_F.png")
    rows = "\n".join(f"{100 + i},{'spurious' if i == 4 else 'good'}" for i in range(6))
    (tmp_path / "labels.csv").write_text(f"source_id,reason\n{rows}\n")
    return folder


@pytest.fixture
def field(tmp_path: Path) -> tuple[Path, Path]:
    """A mosaic and a catalogue of three positions, one of them elsewhere."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.0, 2.0]
    wcs.wcs.crpix, wcs.wcs.cdelt = [50, 40], [-0.01, 0.01]
    pixels = np.random.default_rng(3).normal(1, 0.1, (80, 100)).astype("f4")
    fits.PrimaryHDU(pixels, wcs.to_header()).writeto(tmp_path / "field.fits")
    table = QTable({"id": [1, 2, 3], "ra": [150.0, 150.45, 160.0] * u.deg, "dec": [2.0, 2.1, 2.0] * u.deg})
    return tmp_path / "field.fits", ac.write(table, tmp_path / "cat.vot")


def test_cutouts_of_pictures_with_labels(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = pictures.parent / "gal.fits"
    code = _run(
        "cutouts", pictures, "-o", out, "--size", "12x45", "--pattern", "*z{redshift}_{source_id:d}_F*",
        "--labels", pictures.parent / "labels.csv", "--labels-on", "source_id", "--threads", 1,
    )  # fmt: skip
    assert code == 0
    table = ac.read(out)
    assert table["image"].shape == (6, 12, 45)
    assert table["source_id"].tolist() == list(range(100, 106))
    assert table["reason"][4] == "spurious"
    shown = capsys.readouterr()
    assert "6 images of 12 × 45 pixels" in shown.out
    assert "6 have pixels that are exactly 0" in shown.out
    assert shown.err == ""


def test_panels_are_measured_each(pictures: Path) -> None:
    out = pictures.parent / "gal.fits"
    assert _run("cutouts", f"{pictures}/*.png", "-o", out, "--panels", "auto", "--scale", "minmax") == 0
    table = ac.read(out)
    zero = np.asarray(table["zero_fraction"])
    assert zero[4] > 0.4
    assert (np.delete(zero, 4) < 0.01).all()
    record = ac.records(table)[-1]  # the original pixels were measured, not the scaled ones
    assert (record["function"], record["parameters"]["panels"]) == ("read_cutouts", "auto")


def test_tables_for_topcat_link_to_the_images(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = pictures.parent
    assert _run("cutouts", pictures, "-o", folder / "gal.vot") == 0
    assert "note: images are in gal.images.fits (6 × 24 × 90 uint8)" in capsys.readouterr().err
    assert _run("cutouts", pictures, "-o", folder / "gal.fits") == 0
    names = ("peak_offset,edge_asymmetry", "--method", "kmeans", "-n", "2", "--seed", "1")
    for source in ("gal.vot", "gal.fits"):
        capsys.readouterr()
        out = folder / f"of_{source}.vot"
        assert _run("cluster", folder / source, "-o", out, "--features", *names) == 0
        stack = source if source == "gal.fits" else "gal.images.fits"
        assert f"note: images stay in {stack} (6 × 24 × 90 uint8)" in capsys.readouterr().err
        np.testing.assert_array_equal(ac.images_of(ac.read(out)), ac.read(folder / "gal.fits")["image"])
        assert _run("rerun", out, "-o", folder / f"again_{source}.vot") == 0
        again = ac.read(folder / f"again_{source}.vot")
        assert again["cluster"].tolist() == ac.read(out)["cluster"].tolist()
        assert ac.images_of(again).shape == (6, 24, 90)


def test_what_is_in_the_way_is_told_before_the_work(
    pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = pictures.parent / "gal.vot"
    (pictures.parent / "gal.images.fits").write_text("something else")

    def never(*_: object, **__: object) -> None:
        raise AssertionError("it started to work")

    monkeypatch.setattr("astro_cluster.cutouts.reading.read_cutouts", never)
    assert _run("cutouts", pictures, "-o", out) == 2
    assert "gal.images.fits exists already" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.filterwarnings("always:.*not on the image")
def test_stamps_around_positions(field: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    image, table = field
    out = image.parent / "stamps.fits"
    assert _run("cutouts", table, "--around", image, "-o", out, "--size", "0.2deg", "--detect") == 0
    shown = capsys.readouterr()
    assert "3 images of 20 × 20 pixels, float32; 1 cannot be used" in shown.out
    assert "1 reach beyond the image" in shown.out
    assert "1 of 3 positions are not on the image" in shown.err
    stamps = ac.read(out)
    assert stamps["image_bad"].tolist() == [False, False, True]
    assert "n_sources" in stamps.colnames
    again = ("cutouts", out, "--around", image, "-o", image.parent / "again.fits", "--size", 8)
    assert _run(*again) == 2
    assert _run(*again, "--overwrite-columns") == 0
    assert ac.read(image.parent / "again.fits")["image"].shape == (3, 8, 8)
    pixels = fits.getdata(image)
    np.testing.assert_array_equal(stamps["image"][0], pixels[29:49, 39:59])


@pytest.mark.filterwarnings("always:.*not on the image")
def test_stamps_of_several_filters(field: tuple[Path, Path]) -> None:
    image, table = field
    out = image.parent / "stamps.fits"
    code = _run(
        "cutouts", table, "--around", f"a={image}", "--around", f"b={image}", "-o", out, "--size", 6,
        "--no-quality",
    )  # fmt: skip
    assert code == 0
    stamps = ac.read(out)
    assert stamps["image"].shape == (3, 6, 6, 2)
    assert stamps["image"].info.meta["filters"] == ["a", "b"]
    assert "zero_fraction" not in stamps.colnames


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "big"], "--size big is no size"),
        (["--size", "3x4x5"], "--size 3x4x5 is no size"),
        (["--panels", "few"], "--panels few is no number"),
        (["--percentiles", "1"], "--percentiles 1 should be two numbers"),
        (["--position", "ra,dec"], "--position is for --around"),
        (["--around", "field.fits"], "--around needs the size"),
        (["--around", "field.fits", "--size", "3", "--scale", "log"], "--scale: for image files"),
        (["--around", "a=x.fits", "--around", "y.fits", "--size", "3"], "names some of the images"),
        (["--around", "a=x.fits", "--around", "a=y.fits", "--size", "3"], "the same name"),
        (["--around", "field.fits", "--size", "3kg"], "no angle"),
    ],
)
def test_options_that_mean_nothing(
    field: tuple[Path, Path],
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(field[0].parent)
    assert _run("cutouts", field[1], "-o", "out.fits", *arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.realdata
def test_the_real_images(real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = f"{real_data}/galaxies/sci/*.tar"
    assert _run("cutouts", source, "-o", tmp_path / "g.fits", "--size", 128, "--scale", "minmax") == 0
    assert "52 images of 128 × 128 pixels, float32; 0 cannot be used" in capsys.readouterr().out
    table = ac.read(tmp_path / "g.fits")
    gaps = sorted(np.asarray(table["zero_fraction"])[np.asarray(table["zero_fraction"]) > 0].round(4))
    assert gaps == [0.0769, 0.3676]
    strips = f"{real_data}/jwst/spurious"
    assert _run("cutouts", strips, "-o", tmp_path / "s.fits", "--panels", 7, "--colour", "grey") == 0
    assert len(ac.read(tmp_path / "s.fits")) == 57
