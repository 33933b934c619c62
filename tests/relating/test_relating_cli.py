"""The verbs relate and outliers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import astro_cluster as ac
from astro_cluster.cli import main

from .tables import quasars


@pytest.fixture
def latents(tmp_path: Path) -> Path:
    table = quasars(200)
    table["SNR"] = np.where(np.arange(200) % 2, 20.0, -1.0)
    table["SNR"][1::4] = 30.0
    table["latent"][7] += 9
    table["reconstruction_chi2"][3] = 4
    ac.write(table, tmp_path / "latent_dr16q.vot")
    return tmp_path / "latent_dr16q.vot"


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


def test_relate(latents: Path, capsys: pytest.CaptureFixture[str]):
    out, pairs = latents.parent / "relate.ecsv", latents.parent / "rho.ecsv"
    options = ["--columns", "Z,M_I,is_bal,kind,SNR", "--missing", "SNR=-1", "--seed", 1]
    assert run("relate", latents, *options, "-o", out, "--correlations", pairs) == 0
    said = capsys.readouterr()
    assert "look as if" not in said.err
    lines = said.out.splitlines()
    z = next(line.split() for line in lines if line.startswith("Z "))
    assert z[1:3] == ["200", "0"]
    assert float(z[3]) > 0.8
    assert z[4] == "±"
    assert next(line.split() for line in lines if line.startswith("SNR "))[1:3] == ["100", "100"]
    assert any(line.startswith("M_I ") and " mag " in line for line in lines)
    classes = lines[lines.index("classes, by the nearest neighbours") + 2 :]
    assert [line.split()[0] for line in classes[:2]] == ["is_bal", "kind"]
    begin = next(i for i, line in enumerate(lines) if line.startswith("rank correlations"))
    first = lines[begin + 2].split()
    assert first[:3] == ["Z", "latent[0]", "200"]
    assert first[3].startswith("+0.9")
    assert first[3].endswith("*")
    predicted, found = ac.read(out), ac.read(pairs)
    assert predicted["column"].tolist() == ["Z", "M_I", "is_bal", "kind", "SNR"]
    assert set(found["column"]) == {"Z", "M_I", "is_bal", "SNR"}  # texts have no ranks
    assert ac.records(found)[-1]["parameters"]["missing"] == {"SNR": -1}


def test_relate_against_other_columns(latents: Path, capsys: pytest.CaptureFixture[str]):
    options = ["--columns", "M_I,MJD", "--against", "Z,reconstruction_chi2", "--neighbors", 9]
    assert run("relate", latents, *options, "--kind", "MJD=number", "--objects", "source_id") == 0
    said = capsys.readouterr().out
    assert "latent[0]" not in said
    assert "reconstruction_chi2" in said
    assert said.count("  9\n") == 2


@pytest.mark.filterwarnings("default:there is nothing to judge")
def test_pairs_without_a_correlation_are_counted(latents: Path, capsys: pytest.CaptureFixture[str]):
    table = ac.read(latents)
    table["flat"] = np.ones(200)
    ac.write(table, latents, overwrite=True)
    assert run("relate", latents, "--columns", "flat,M_I") == 0
    said = capsys.readouterr()
    assert "note: there is nothing to judge in flat (the same number everywhere)" in said.err
    assert "note: 4 pairs have no correlation: too few objects, or all the same" in said.err
    lines = said.out.splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("rank correlations"))
    assert [line.split()[0] for line in lines[begin + 2 : -1]] == ["M_I"] * 4


def test_a_class_alone_has_no_correlations(latents: Path, capsys: pytest.CaptureFixture[str]):
    assert run("relate", latents, "--columns", "kind") == 0
    said = capsys.readouterr().out
    assert "rank correlations" not in said
    assert "predicted by" not in said


def test_outliers(latents: Path, capsys: pytest.CaptureFixture[str]):
    out = latents.parent / "out.vot"
    assert run("outliers", latents, "-o", out, "-n", 5, "--seed", 1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("wrote ")
    heads = (
        "row inspection rank source id outlier score outlier reason reconstruction chi2 latent log density"
    )
    assert lines[1].split() == heads.split()
    assert {line.split()[0] for line in lines[2:4]} == {"3", "7"}
    assert {line.split()[4] for line in lines[2:4]} == {"reconstruction", "density"}
    assert len(lines) == 8
    assert lines[7] == "and 195 more"
    table = ac.read(out)
    assert sorted(np.asarray(table["inspection_rank"])[[3, 7]]) == [1, 2]
    assert run("outliers", out, "--chi2", "none", "--method", "mixture", "--prefix", "m_", "-n", 1) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[0] == "7"
    assert run("outliers", latents, "--features", "none", "--given", "Z", "-n", 1) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[0] == "3"


def test_a_sheet_of_the_strangest_spectra(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    table = ac.simulate.quasars(12, grid="3625:9000:60", random_state=1)
    table["reconstruction_chi2"] = np.arange(12.0) + 1
    ac.write(table, tmp_path / "qso.fits")
    sheet = tmp_path / "sheet.png"
    assert run("outliers", tmp_path / "qso.fits", "-n", 3, "--sheet", sheet, "--features", "none") == 0
    assert f"wrote {sheet}" in capsys.readouterr().out
    assert sheet.read_bytes()[:4] == b"\x89PNG"
    assert run("outliers", tmp_path / "qso.fits", "--sheet", sheet, "--features", "none") == 2
    assert "exists already" in capsys.readouterr().err


def test_the_sheet_has_the_first_rows_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import astro_cluster.cli.relating as verbs

    table = ac.simulate.quasars(12, grid="3625:9000:60", random_state=1)
    table["reconstruction_chi2"] = np.arange(12.0) + 1
    ac.write(table, tmp_path / "qso.fits")
    drawn = []
    monkeypatch.setattr(verbs, "draw", lambda figure, *_: drawn.append(figure))
    options = ["--features", "none", "--prefix", "x_", "--sheet", tmp_path / "s.png"]
    assert run("outliers", tmp_path / "qso.fits", "-n", 3, *options) == 0
    words = " ".join(axes.get_title("left") for axes in drawn[0].axes)
    places = [words.find(name) for name in np.asarray(table["source_id"])[[11, 10, 9]]]
    assert -1 not in places
    assert places == sorted(places)
    assert table["source_id"][8] not in words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["relate", "{table}", "--columns", "Zz"], "there is no column 'Zz'"),
        (["relate", "{table}", "--columns", "Z", "--missing", "Z"], "--missing 'Z' should be column=value"),
        (["relate", "{table}", "--columns", "Z", "--missing", "Z=none"], "missing=None for 'Z' is no number"),
        (["relate", "{table}", "--columns", "Z", "--kind", "Z=label"], "'label' is no kind of column"),
        (["relate", "{table}", "--columns", "Z", "-o", "{table}"], "exists already"),
        (["relate", "{table}", "--columns", "Z", "--against", "latnt"], "did you mean 'latent'"),
        (["outliers", "{table}", "--sheet", "s.png"], "--sheet draws spectra, and the table has none"),
        (["outliers", "{table}", "-n", "0"], "-n 0 is no number of rows"),
        (["outliers", "{table}", "--method", "svm"], "method='svm' is not known"),
        (["outliers", "{table}", "--chi2", "none", "--features", "none"], "nothing to find outliers by"),
    ],
)
def test_mistakes_are_one_line(
    latents: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message
):
    assert run(*(argument.format(table=latents) for argument in arguments)) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
