"""The command line: one clear line and the right exit code, whatever the mistake."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import astro_cluster as ac
from astro_cluster.cli import main


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command line in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            with pytest.raises(SystemExit) as leave:
                main([str(argument) for argument in arguments])
        out = capsys.readouterr()
        return leave.value.code, out.out, out.err

    return call


@pytest.fixture
def catalogue(tmp_path) -> Path:
    return ac.write(ac.simulate.chandra(400, random_state=3), tmp_path / "cat.vot")


@pytest.fixture
def clustered(run, catalogue) -> Path:
    code, _, err = run(
        "cluster", catalogue, "-o", "gmm.vot", "--features", "hard_*,powlaw_gamma", "-n", 3, "--seed", 1
    )
    assert code == 0, err
    return Path("gmm.vot")


def test_the_verbs_chain(run, catalogue, clustered, tmp_path):
    reference = ac.write(ac.simulate.simbad(ac.read(catalogue)), tmp_path / "objects.ecsv")
    code, out, _ = run(
        "match", clustered, reference, "-o", "matched.vot", "--radius", "3arcsec", "--find", "each"
    )
    assert code == 0
    assert re.search(r"\d+ of 400 rows have a counterpart", out)
    code, out, _ = run("summary", "matched.vot", "--by", "main_type", "--top", 2)
    assert code == 0
    assert "cluster 0:" in out
    assert "more types" in out
    code, out, _ = run("rerun", "matched.vot", "-o", "again.vot")
    assert code == 0
    assert "ran again: cluster, crossmatch" in out
    first, second = ac.read("matched.vot"), ac.read("again.vot")
    assert first.colnames == second.colnames
    np.testing.assert_array_equal(first["prob_0"], second["prob_0"])


def test_the_model_travels_alone(run, catalogue):
    code, _, _ = run(
        "cluster", catalogue, "-o", "a.fits", "--features", "hard_*", "--scale", "standard", "-n", 2,
        "--seed", 0, "--model", "model.vot", "--prefix", "m_",
    )  # fmt: skip
    assert code == 0
    code, _, _ = run("assign", catalogue, "-o", "b.vot", "--model", "model.vot")
    assert code == 0
    np.testing.assert_array_equal(ac.read("a.fits")["m_prob_1"], ac.read("b.vot")["m_prob_1"])


def test_methods_and_their_parameters(run, catalogue):
    code, out, _ = run(
        "cluster", catalogue, "-o", "d.vot", "--features", "hard_hs,hard_ms", "--method", "dbscan",
        "--param", "eps=0.1", "--param", "min_samples=8",
    )  # fmt: skip
    assert code == 0
    assert "noise" in out
    params = ac.records(ac.read("d.vot"))[-1]["parameters"]["estimator"]["value"]["params"]
    assert (params["eps"], params["min_samples"]) == (0.1, 8)


def test_several_files_are_stacked(run, catalogue, tmp_path):
    other = ac.write(ac.simulate.chandra(100, random_state=4), tmp_path / "other.fits")
    code, out, _ = run(
        "cluster", catalogue, other, "-o", "both.vot", "--recipe", "csc2-12", "-n", 2, "--seed", 1
    )
    assert code == 0
    assert "500 rows" in out
    assert set(ac.read("both.vot")["source_file"]) == {str(catalogue), str(other)}


def test_scales_by_name(run, catalogue):
    code, _, _ = run(
        "cluster", catalogue, "-o", "s.vot", "--features", "bb_kt,hard_hs",
        "--scale", "bb_kt=lognorm,hard_*=minmax", "-n", 2, "--seed", 1,
    )  # fmt: skip
    assert code == 0
    recipe = ac.records(ac.read("s.vot"))[-1]["recipe"]
    assert [s["scale"] for s in recipe["scalings"]] == ["lognorm", "minmax"]


def test_features_of_different_spread_are_noted(run, catalogue):
    arguments = ["cluster", catalogue, "--features", "theta,var_mean_s", "-n", 2, "--seed", 1]
    code, _, err = run(*arguments, "-o", "a.vot")
    assert code == 0
    assert "note: the features are not scaled, and theta spreads" in err
    code, _, err = run(*arguments, "-o", "b.vot", "--scale", "standard")
    assert code == 0
    assert "not scaled" not in err


def test_inspect(run, clustered):
    code, out, _ = run("inspect", clustered, "--label", "true_type", "--value", "Star", "--threshold", 0.3)
    assert code == 0
    assert re.search(r"region: \d+ clusters with at least 30% bad", out)
    code, _, _ = run("inspect", clustered, "--label", "true_type", "--value", "Star", "-o", "i.ecsv")
    assert code == 0
    assert ac.read("i.ecsv").meta["region"]["recall"] > 0


@pytest.mark.parametrize("ending", ["ecsv", "md", "tex", "vot", "csv"])
def test_a_summary_is_written(run, clustered, ending):
    code, _, err = run("summary", clustered, "--by", "true_type", "-o", f"types.{ending}")
    assert code == 0
    assert Path(f"types.{ending}").stat().st_size > 100
    assert ("note: CSV drops" in err) == (ending == "csv")


MISTAKES = {
    "no such file": (["cluster", "no.vot", "-o", "x.vot", "--features", "a"], "there is no file no.vot"),
    "no such column": (
        ["cluster", "cat.vot", "-o", "x.vot", "--features", "hard_sh", "-n", "2"],
        "no column 'hard_sh'; did you mean .*'hard_hs'",
    ),
    "no features": (["cluster", "cat.vot", "-o", "x.vot"], "--features .* or --recipe"),
    "both": (
        ["cluster", "cat.vot", "-o", "x.vot", "--features", "a", "--recipe", "csc2"],
        "--features .* or --recipe",
    ),
    "no such recipe": (
        ["cluster", "cat.vot", "-o", "x.vot", "--recipe", "csc3"],
        "the recipes are: csc2, csc2-12",
    ),
    "scale with a recipe": (
        ["cluster", "cat.vot", "-o", "x.vot", "--recipe", "csc2", "--scale", "log"],
        "brings its own scales",
    ),
    "no such scale": (
        ["cluster", "cat.vot", "-o", "x.vot", "--features", "bb_kt", "--scale", "logs"],
        "scale 'logs' is not known",
    ),
    "no such method": (
        ["cluster", "cat.vot", "-o", "x.vot", "--features", "bb_kt", "--method", "dbscam"],
        "did you mean 'dbscan'",
    ),
    "-n without meaning": (
        ["cluster", "cat.vot", "-o", "x.vot", "--features", "bb_kt", "--method", "dbscan", "-n", "3"],
        "-n has no meaning for dbscan",
    ),
    "bad parameter": (
        ["cluster", "cat.vot", "-o", "x.vot", "--features", "bb_kt", "--param", "eps"],
        "should be name=value",
    ),
    "wrong type of parameter": (
        ["cluster", "cat.vot", "-o", "x.vot", "--features", "bb_kt", "--param", "n_components=two"],
        "n_components",
    ),
    "too many clusters": (
        ["cluster", "cat.vot", "-o", "x.vot", "--features", "bb_kt", "-n", "1000"],
        "n_components=1000 is more than the 400 usable rows",
    ),
    "not a number": (
        ["cluster", "cat.vot", "-o", "x.vot", "--features", "bb_kt", "-n", "six"],
        "valid integer",
    ),
    "output exists": (
        ["cluster", "cat.vot", "-o", "cat.vot", "--features", "bb_kt"],
        r"cat\.vot exists already; give --overwrite",
    ),
    "unknown ending": (["cluster", "cat.vot", "-o", "x.docx", "--features", "bb_kt"], "in which format"),
    "no folder": (
        ["cluster", "cat.vot", "-o", "no/x.vot", "--features", "bb_kt"],
        "there is no folder .*no to write",
    ),
    "radius without unit": (["match", "cat.vot", "cat.vot", "-o", "x.vot", "--radius", "3"], "no angle"),
    "radius in seconds": (["match", "cat.vot", "cat.vot", "-o", "x.vot", "--radius", "3s"], "no angle"),
    "unknown find mode": (["match", "cat.vot", "cat.vot", "-o", "x.vot", "--find", "nearest"], "nearest"),
    "no labels": (["summary", "cat.vot", "--by", "true_type"], "cannot tell the column of cluster labels"),
    "nothing to rerun": (["rerun", "cat.vot", "-o", "x.vot"], "nothing to run again"),
    "unknown verb": (["clusters"], "clusters"),
    "unknown option": (["summary", "cat.vot", "--bye", "x"], "--bye"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line_and_exit_code_2(run, catalogue, mistake):
    arguments, message = MISTAKES[mistake]
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1
    assert lines[0].startswith("astro-cluster: ")
    assert re.search(message, lines[0])
    assert not Path("x.vot").exists()


def test_debug_shows_the_traceback(catalogue, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ac.InputError):
        main(["--debug", "cluster", "cat.vot", "-o", "x.vot", "--features", "nope"])


def test_an_error_of_ours_has_no_traceback_either(run, catalogue, monkeypatch):
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("astro_cluster.tables.read", broken)
    code, _, err = run("summary", catalogue)
    assert code in (1, 2)
    assert "Traceback" not in err


def test_without_a_hub_send_says_how_to_get_one(run, catalogue, monkeypatch, tmp_path):
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{(tmp_path / 'none').as_uri()}")
    code, _, err = run("send", catalogue)
    assert code == 1
    assert "start TOPCAT" in err


def test_without_a_network_the_online_demo_says_so(run, tmp_path):
    with ac.conf.set_temp("csc_tap_url", "http://127.0.0.1:9/tap"):
        code, _, err = run("demo", "--online", "-o", tmp_path / "demo")
    assert code == 1
    assert "Is there a network?" in err
    assert len([line for line in err.splitlines() if line.strip()]) == 1


def test_the_demo_can_be_run_again(run, tmp_path):
    code, out, _ = run("demo", "-o", "demo", "--rows", 800)
    assert code == 0
    assert "no observation" in out
    for name in ("clustered.vot", "clustered.ecsv", "types.ecsv", "clusters.png", "sky.png", "types.png"):
        assert name in out
        assert Path("demo", name).stat().st_size > 1000
    code, _, _ = run("rerun", "demo/clustered.vot", "-o", "again.vot")
    assert code == 0
    one, two = ac.read("demo/clustered.vot"), ac.read("again.vot")
    np.testing.assert_array_equal(one["gmm6_prob_3"], two["gmm6_prob_3"])
    np.testing.assert_array_equal(one["match_separation"].mask, two["match_separation"].mask)


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom astro_cluster.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as leave:\n    assert leave.code in (0, None)\n"
        "heavy = {'astropy', 'numpy', 'sklearn', 'scipy', 'matplotlib', 'torch', 'astroquery', 'pyvo'}\n"
        "found = heavy & set(sys.modules)\nassert not found, found\n"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Find groups" in done.stdout
    assert time.perf_counter() - began < 30  # only that it does not hang; the speed is measured elsewhere


def test_importing_the_package_costs_no_sklearn():
    heavy = "{'sklearn', 'torch', 'astroquery', 'matplotlib'}"
    code = f"import sys, astro_cluster\nassert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_words_of_the_command_line_are_those_of_the_rooms():
    """They stand twice, since the help must not import the rooms."""
    from astro_cluster import cli
    from astro_cluster.features import MISSING_POLICIES
    from astro_cluster.matching.find import FIND_MODES

    assert {mode.value for mode in cli.Find} == set(FIND_MODES)
    assert {policy.value for policy in cli.Missing} == set(MISSING_POLICIES)
