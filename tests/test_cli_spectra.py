"""The verb spectra."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

import astro_cluster as ac
from astro_cluster.cli import main

WAVE = np.linspace(4000.0, 6000.0, 801)


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as leave:
        main([str(argument) for argument in arguments])
    return int(leave.value.code or 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four texts, one of them none, and labels."""
    folder = tmp_path / "spec"
    folder.mkdir()
    for i in range(1, 4):
        rows = np.transpose([WAVE, np.full(801, float(i)), np.full(801, 0.5)])
        np.savetxt(folder / f"f7_{i}_z0.{i}.txt", rows)
    (folder / "f7_9_z0.9.txt").write_text("clouds\n")
    (tmp_path / "labels.csv").write_text("source_id,Zbest\n1,0.25\n2,0.5\n3,0.75\n9,1\n")
    return folder


@pytest.mark.realdata
@pytest.mark.filterwarnings("always:.*cannot be used")
def test_the_real_spectra(real_data, tmp_path, capsys):
    source = real_data / "quasars" / "spec" / "*.fits"
    assert _run("spectra", source, "-o", tmp_path / "qso.fits", "--grid", "3625:9000:1500") == 0
    told = capsys.readouterr()
    assert (
        "40 spectra at 1500 log-spaced wavelengths 3625–9000 Å (vacuum, observed frame); 0 cannot" in told.out
    )
    assert told.err == ""
    found = ac.read(tmp_path / "qso.fits")
    assert (found["coverage"] == 1).all()
    for row in found[:5]:
        assert row["redshift"] == fits.getdata(row["source_file"], 2)["Z"][0]
    rest = tmp_path / "rest.vot"
    assert _run("spectra", source, "-o", rest, "--grid", "1200:2500:400", "--frame", "rest") == 0
    told = capsys.readouterr()
    assert "2 cannot be used" in told.out
    assert "do not cover the grid" in told.out
    assert "spec-3655-55240-0660.fits (its wavelengths" in told.err
    assert ac.spectra_of(ac.read(rest)).flux.shape == (40, 400)


@pytest.mark.filterwarnings("always:.*cannot be used")
def test_options(folder, tmp_path, capsys):
    output = tmp_path / "out.fits"
    code = _run(
        "spectra", folder, "-o", output, "--grid", "320:490:300 nm", "--frame", "rest", "--redshift", "Zbest",
        "--pattern", "f{field:d}_{source_id:d}_*", "--labels", tmp_path / "labels.csv", "--labels-on",
        "source_id", "--unit", "mJy", "--method", "linear", "--threads", "1", "--medium", "vacuum",
    )  # fmt: skip
    told = capsys.readouterr()
    assert code == 0
    assert (
        "4 spectra at 300 log-spaced wavelengths 3200–4900 Å (vacuum, rest frame); 1 cannot be used"
        in told.out
    )
    assert "1 of 4 spectra cannot be used, and spectrum_bad is set: " in told.err
    assert "f7_9_z0.9.txt" in told.err
    found = ac.read(output)
    assert found["redshift"].tolist() == [0.25, 0.5, 0.75, None]
    assert found["Zbest"].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert found["source_id"].tolist() == [1, 2, 3, 9]
    assert found["flux"].unit == u.mJy
    # 4000 … 6000 Å over 1 + z.
    assert np.allclose(
        found["coverage"][:3].astype(float), _share(1 / (1 + found["redshift"][:3])), atol=0.01
    )


def _share(factor):
    middles = np.geomspace(3200, 4900, 300)
    edges = np.outer(np.asarray(factor, float), [4000, 6000])
    return [np.mean((middles >= low) & (middles <= high)) for low, high in edges]


def test_a_table(tmp_path, capsys):
    table = QTable({"id": [1, 2], "f": np.ones((2, 801)) * u.Jy, "lam": np.tile(WAVE, (2, 1)) * u.AA})
    table["sigma"] = np.full((2, 801), 0.25) * u.Jy
    ac.write(table, tmp_path / "in.fits")
    code = _run(
        "spectra", tmp_path / "in.fits", "--table", "-o", tmp_path / "out.fits", "--grid", "4100:5900:100",
        "--flux", "f", "--wavelength", "lam", "--error", "sigma",
    )  # fmt: skip
    assert code == 0
    assert "2 spectra at 100 log-spaced" in capsys.readouterr().out
    found = ac.read(tmp_path / "out.fits")
    assert np.allclose(found["flux"].value, 1)
    assert found["id"].tolist() == [1, 2]


def test_headers(tmp_path, boss_file, capsys):
    code = _run(
        "spectra", boss_file, "-o", tmp_path / "out.fits", "--headers", "EXPTIME,MJD", "--mask", "and"
    )
    assert code == 0
    found = ac.read(tmp_path / "out.fits")
    assert found["exptime"][0] == 900 * u.s
    assert len(ac.grid_of(found)) == 500
    assert "500 wavelengths" in capsys.readouterr().out.replace("log-spaced ", "")


@pytest.fixture
def boss_file(tmp_path: Path) -> Path:
    loglam = (3.6 + 1e-4 * np.arange(500)).astype("f4")
    arrays = {"FLUX": ("E", np.ones(500)), "LOGLAM": ("E", loglam), "IVAR": ("E", np.ones(500))}
    columns = [fits.Column(name, form, array=array) for name, (form, array) in arrays.items()]
    columns.append(fits.Column("AND_MASK", "J", array=np.zeros(500, int)))
    header = fits.Header({"EXPTIME": 900.0, "MJD": 55555, "PLUG_RA": 1.0, "PLUG_DEC": 2.0})
    hdus = [fits.PrimaryHDU(header=header), fits.BinTableHDU.from_columns(columns)]
    fits.HDUList(hdus).writeto(tmp_path / "spec.fits")
    return tmp_path / "spec.fits"


def test_mistakes(folder, tmp_path, capsys):
    output = tmp_path / "out.fits"
    for arguments, told in (
        ([tmp_path / "none_*.fits"], "no file matches the pattern"),
        ([folder, "--grid", "1:2"], "is no wavelength grid"),
        ([folder, "--redshift", "zz"], "redshift='zz'"),
        ([folder, "--grid", "9000:9500:10"], "none of 4 spectra can be used"),
        ([folder, "--headers", ","], "names no key"),
        ([folder, "--format", "nothing of theirs"], "specutils has no format"),
    ):
        assert _run("spectra", *arguments, "-o", output) == 2
        assert told in capsys.readouterr().err
    assert not output.exists()
    output.touch()
    assert _run("spectra", folder, "-o", output) == 2
    assert "exists already" in capsys.readouterr().err
