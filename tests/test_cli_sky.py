"""The verbs regions and moc; show is tested with the program that it talks to."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from regions import CircleSkyRegion, EllipseSkyRegion, PointSkyRegion, PolygonSkyRegion, Regions

import astro_cluster as ac
from astro_cluster.cli import main


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command line in a folder with a table: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    cat = QTable({"ra": rng.normal(10, 0.1, 30) * u.deg, "dec": rng.normal(5, 0.1, 30) * u.deg})
    cat["cluster"], cat["name"] = np.arange(30) % 3 - 1, [f"n{i}" for i in range(30)]
    cat["r"], cat["a"], cat["b"] = (np.full(30, k) * u.arcsec for k in (7, 3, 2))
    cat["pa"] = np.full(30, 30) * u.deg
    ac.write(cat, "cat.vot")

    def call(*arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            with pytest.raises(SystemExit) as leave:
                main([str(argument) for argument in arguments])
        out = capsys.readouterr()
        return leave.value.code, out.out, out.err

    return call


@pytest.mark.parametrize(
    ("options", "kind", "number"),
    [
        ([], CircleSkyRegion, 30),
        (["--radius", "r"], CircleSkyRegion, 30),
        (["--radius", ".5arcmin", "--by", "name"], CircleSkyRegion, 30),
        (["--shape", "ellipse", "--errors", "a,b,pa", "--n-sigma", "2"], EllipseSkyRegion, 30),
        (["--shape", "ellipse", "--errors", "ra=a", "--errors", "dec=b"], EllipseSkyRegion, 30),
        (["--shape", "hull", "--fraction", "0.9", "--text", "cluster"], PolygonSkyRegion, 2),
        (["--shape", "point", "--position", "ra,dec"], PointSkyRegion, 30),
    ],
)
def test_regions(run, options, kind, number):
    code, out, err = run("regions", "cat.vot", "-o", "cat.reg", *options)
    assert (code, err) == (0, "")
    assert out == f"wrote cat.reg ({number} regions)\n"
    found = Regions.read("cat.reg", format="ds9")
    assert len(found) == number
    assert all(isinstance(region, kind) for region in found)
    if "2" in options:
        assert found[0].height.to_value(u.arcsec) == pytest.approx(12)
    if "r" in options:
        assert found[0].radius.to_value(u.arcsec) == pytest.approx(7)


def test_a_region_file_is_replaced_on_demand(run):
    assert run("regions", "cat.vot", "-o", "cat.reg")[0] == 0
    code, _, err = run("regions", "cat.vot", "-o", "cat.reg", "--shape", "point")
    assert code == 2
    assert "cat.reg exists already; give --overwrite" in err
    assert run("regions", "cat.vot", "-o", "cat.reg", "--shape", "point", "--overwrite")[0] == 0
    assert "point(" in Path("cat.reg").read_text()


def test_moc(run):
    mocpy = pytest.importorskip("mocpy", exc_type=ImportError)
    code, out, err = run("moc", "cat.vot", "-o", "all.fits", "--order", 8)
    assert (code, err) == (0, "")
    assert re.fullmatch(r"wrote all\.fits \([\d.]+ square degrees\)\n", out)
    code, out, _ = run("moc", "cat.vot", "-o", "c{cluster}.json", "--by", "cluster", "--radius", "1arcmin")
    assert code == 0
    assert sorted(path.name for path in Path().glob("*.json")) == ["c-1.json", "c0.json", "c1.json"]
    area = float(re.search(r"c0\.json \(([\d.]+)", out)[1])
    found = mocpy.MOC.load("c0.json", format="json")
    assert area == pytest.approx(found.sky_fraction * 129600 / np.pi, rel=1e-3)


def test_no_file_of_several_is_replaced(run):
    pytest.importorskip("mocpy", exc_type=ImportError)
    Path("c1.json").write_text("mine")
    code, _, err = run("moc", "cat.vot", "-o", "c{cluster}.json", "--by", "cluster")
    assert code == 2
    assert "c1.json exists already" in err
    assert [path.name for path in Path().glob("*.json")] == ["c1.json"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["regions", "cat.vot", "-o", "cat.fits"], r"the name of a region file ends in \.reg"),
        (["regions", "cat.vot", "-o", "no/cat.reg"], "there is no folder no"),
        (["regions", "cat.vot", "-o", "x.reg", "--shape", "square"], "square"),
        (["regions", "cat.vot", "-o", "x.reg", "--radius", "5"], "'5' is no angle"),
        (["regions", "cat.vot", "-o", "x.reg", "--radius", "rad"], "no column 'rad'"),
        (["regions", "cat.vot", "-o", "x.reg", "--shape", "ellipse"], r"--errors major,minor,angle"),
        (["regions", "none.vot", "-o", "x.reg"], "there is no file none.vot"),
        (["moc", "cat.vot", "-o", "x.vot"], "a MOC ends in .fits, .json, .txt"),
        (["moc", "cat.vot", "-o", "x.fits", "--by", "cluster"], r"put \{cluster\} into the name"),
        (["moc", "cat.vot", "-o", "x{cluster}.fits"], "goes with --by"),
        (["moc", "cat.vot", "-o", "x.fits", "--order", "30"], "order=30 is no HEALPix order"),
        (["show", "none.fits", "cat.vot"], "there is no file none.fits"),
        (["show", "cat.vot"], "cannot be read as FITS"),
    ],
)
def test_what_is_wrong_is_said(run, arguments, words):
    if arguments[0] == "moc":
        pytest.importorskip("mocpy", exc_type=ImportError)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert re.search(words, err), err
    assert err.count("\n") == 1
