"""The verb radius, and what match says about chance."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from astropy import units as u

import astro_cluster as ac
from astro_cluster.cli import main


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command line in a folder with two tables: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    cat = ac.simulate.chandra(600, random_state=2)
    ac.write(cat, "cat.vot")
    objects = ac.simulate.simbad(cat)
    objects["pos_err"] = 0.2 * u.arcsec
    ac.write(objects, "objects.vot")

    def call(*arguments: object) -> tuple[int, str, str]:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            with pytest.raises(SystemExit) as leave:
                main([str(argument) for argument in arguments])
        out = capsys.readouterr()
        return leave.value.code, out.out, out.err

    return call


def test_the_curve_is_printed_drawn_and_written(run, tmp_path):
    code, out, err = run("radius", "cat.vot", "objects.vot", "--plot", "r.png", "-o", "r.ecsv")
    assert code == 0, err
    curve = ac.read("r.ecsv")
    assert curve.meta["verdict"] in " ".join(out.split())
    assert re.search(r"radius \[arcsec\] +matched +false", out)
    assert (tmp_path / "r.png").read_bytes()[:4] == b"\x89PNG"
    assert len(curve) == 40
    assert run("plot", "r.ecsv", "radius", "-o", "again.svg")[0] == 0
    assert (tmp_path / "again.svg").stat().st_size > 5000


def test_options(run):
    code, out, err = run(
        "radius", "cat.vot", "objects.vot", "--radii", "0.1arcsec,5arcsec", "--max-false", 0.5, "-o", "r.vot"
    )
    assert code == 0, err
    curve = ac.read("r.vot")
    assert curve["radius"][0].value == pytest.approx(0.1)
    assert curve["radius"][-1].value == pytest.approx(5)
    assert curve.meta["radius"] == pytest.approx(5)
    assert "at most 0.5 of the matches false" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--radii", "1"], "no angle"),
        (["--radii", "5arcsec,1arcsec"], "least and the largest"),
        (["--max-false", "2"], "max_false=2"),
        (["--plot", "r.txt"], "which format to draw"),
    ],
)
def test_mistakes(run, options, message):
    code, _, err = run("radius", "cat.vot", "objects.vot", *options)
    assert code == 2
    assert message in err


def test_match_says_how_many_are_false(run):
    code, out, err = run("match", "cat.vot", "objects.vot", "-o", "m.vot")
    assert code == 0, err
    facts = ac.records(ac.read("m.vot"))[-1]["false_matches"]
    said = re.search(rf"of {facts['matched']:,} nearest ones ([0-9.]+) ± ", out)
    assert float(said[1]) == pytest.approx(facts["expected"], rel=0.5)  # of a digit, since it is small
    assert "moved positions: " in out
    code, out, _ = run("match", "cat.vot", "objects.vot", "-o", "n.vot", "--no-false-matches")
    assert code == 0
    assert "by chance" not in out
    assert "match_p_false" not in ac.read("n.vot").colnames


def test_match_by_errors(run):
    line = ["match", "cat.vot", "objects.vot", "-o", "m.vot", "--method", "bayes", "--overwrite"]
    code, _, err = run(*line)
    assert code == 2
    assert "--position-error 0.3arcsec" in err
    code, out, err = run(*line, "--position-error", ".25arcsec", "--completeness", 0.9)
    assert code == 0, err
    table = ac.read("m.vot")
    record = ac.records(table)[-1]
    assert record["bayes"]["reference_error_columns"] == ["pos_err"]
    assert "90.0% of the rows have a counterpart (given)" in out
    assert np.isfinite(np.asarray(table["match_p_none"])).all()
    code, _, err = run(*line, "--position-error", "0.25arcsec", "--reference-position-error", "nothing")
    assert code == 2
    assert "in the reference: there is no column 'nothing'" in err
