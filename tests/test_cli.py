"""The command line: one clear line and the right exit code, whatever the mistake."""

from __future__ import annotations

import _thread
import inspect
import json
import re
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

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


@pytest.fixture(scope="module")
def twice(tmp_path_factory) -> Path:
    """A table that was clustered twice."""
    table = ac.simulate.chandra(300, random_state=3)
    for n in (2, 3):
        table = ac.cluster(table, features="hard_*", n_components=n, prefix=f"g{n}_", random_state=1)
    return ac.write(table, tmp_path_factory.mktemp("twice") / "twice.vot")


@pytest.fixture
def stars(tmp_path) -> Path:
    """Proper motions with errors."""
    rng = np.random.default_rng(1)
    motions = np.repeat([[-5.0, -25.0], [5.0, 25.0]], 60, axis=0) + rng.normal(size=(120, 2))
    columns = {"pmra": motions[:, 0], "pmdec": motions[:, 1]} | {
        f"{name}_error": rng.uniform(0.1, 0.5, 120) for name in ("pmra", "pmdec")
    }
    table = QTable({name: values * u.mas / u.yr for name, values in columns.items()})
    table["pmra_pmdec_corr"], table["w"] = rng.uniform(-0.5, 0.5, 120), np.tile([1.0, 2.0], 60)
    return ac.write(table, tmp_path / "stars.ecsv")


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
    assert re.search(r"region: (1 cluster|\d+ clusters) with at least 30% bad", out)
    code, _, _ = run("inspect", clustered, "--label", "true_type", "--value", "Star", "-o", "i.ecsv")
    assert code == 0
    assert ac.read("i.ecsv").meta["region"]["recall"] > 0


def test_errors_and_weights(run, stars):
    motions = ["cluster", stars, "--features", "pmra,pmdec", "-n", 2, "--seed", 1]
    texts = ["pmra=pmra_error", "pmdec = pmdec_error", "pmra,pmdec=pmra_pmdec_corr"]
    named = [word for text in texts for word in ("--errors", text)]
    assert run(*motions, "-o", "named.vot", *named)[0] == 0
    assert run(*motions, "-o", "auto.vot", "--errors", "auto", "--weights", "w")[0] == 0
    record, weighted = (ac.records(ac.read(name))[-1] for name in ("named.vot", "auto.vot"))
    assert set(record["inputs"]) == {"pmra", "pmdec", "pmra_error", "pmdec_error", "pmra_pmdec_corr"}
    assert set(weighted["inputs"]) == {*record["inputs"], "w"}


def test_bootstrap_samples(run, catalogue):
    code, _, err = run(
        "cluster", catalogue, "-o", "b.vot", "--features", "hard_*", "-n", 2, "--seed", 1, "--bootstrap", 2
    )
    assert code == 0, err
    assert "co_assignment" in ac.read("b.vot").colnames


def _interrupt_when(happened) -> None:
    def wait() -> None:
        for _ in range(3000):
            if happened():
                return _thread.interrupt_main()
            time.sleep(0.02)

    threading.Thread(target=wait, daemon=True).start()


def test_an_interrupted_fit_goes_on(run, catalogue):
    fit = ["cluster", catalogue, "-o", "a.vot", "--features", "hard_*", "--param", "tol=0", "--seed", 1]
    keep = ["--checkpoint", "fit.ecsv"]
    _interrupt_when(Path("fit.ecsv").exists)
    with ac.conf.set_temp("checkpoint_interval", 0.1):
        code, out, err = run(*fit, *keep, "-n", 3, "--max-iter", 10**9)
    assert (code, out) == (130, "")
    assert re.fullmatch(
        r"astro-cluster: interrupted; the mixture after \d+ steps is in fit\.ecsv; "
        r"to go on, run the same command with --start fit\.ecsv\n",
        err,
    )
    assert not Path("a.vot").exists()
    code, _, err = run(*fit, *keep, "-n", 3)
    assert code == 2
    assert "holds a fit that was stopped" in err
    code, _, err = run(*fit, *keep, "-n", 3, "--max-iter", 3, "--start", "fit.ecsv")
    assert code == 0, err
    assert "prob_2" in ac.read("a.vot").colnames


def _stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_without_a_checkpoint_nothing_is_kept(run, catalogue, monkeypatch):
    monkeypatch.setattr("astro_cluster.clustering._fit", _stop)
    code, out, err = run("cluster", catalogue, "-o", "a.vot", "--features", "hard_*", "-n", 2)
    assert (code, out) == (130, "")
    assert err.startswith("astro-cluster: interrupted; nothing is kept (--checkpoint FILE ")


def test_any_verb_may_be_interrupted(run, catalogue, monkeypatch):
    monkeypatch.setattr("astro_cluster.tables.read", _stop)
    assert run("record", catalogue) == (130, "", "astro-cluster: interrupted\n")


@pytest.mark.parametrize("name", [*inspect.signature(ac.cluster).parameters])
def test_parameters_of_the_step_are_none_of_the_method(run, catalogue, name):
    code, _, err = run(
        "cluster", catalogue, "-o", "x.vot", "--features", "bb_kt", "--param", f"{name}=1", "-n", 2
    )
    assert code == 2
    assert f"--param {name} is no parameter of the method" in err


def test_choose(run, catalogue):
    code, out, err = run(
        "choose", catalogue, "--features", "hard_*", "-n", "2:4", "--bootstrap", 2, "--seed", 1,
        "-o", "choice.ecsv", "--figure", "choice.png",
    )  # fmt: skip
    assert code == 0, err
    head, *rows = (line for line in out.splitlines() if re.match(r"n |\d ", line))
    assert head.split() == [
        "n",
        "BIC",
        "ICL",
        "AIC",
        "held-out",
        "silhouette",
        "Jaccard",
        "valid",
        "smallest",
    ]
    assert [row.split()[0] for row in rows] == ["2", "3", "4"]
    choice = ac.read("choice.ecsv")
    assert choice.meta["verdict"] in out
    stars = [row.split()[0] for row in rows if row.split()[1].endswith("*")]
    assert stars == [str(choice.meta["preferred"]["bic"])]
    assert run("plot", "choice.ecsv", "choice", "-o", "again.svg")[0] == 0
    assert min(Path(name).stat().st_size for name in ("choice.png", "again.svg")) > 5000


def test_choose_leaves_out_what_is_not_asked_for(run, catalogue):
    code, out, _ = run(
        "choose", catalogue, "--features", "hard_hs,hard_ms", "--method", "kmeans", "--param", "n_init=2",
        "-n", "2,4", "--held-out", 0, "--bootstrap", 0,
    )  # fmt: skip
    assert code == 0
    assert out.split()[:4] == ["n", "silhouette", "smallest", "2"]


def test_stability(run, twice):
    code, out, _ = run("stability", twice, "--prefix", "g2_", "--bootstrap", 3, "--seed", 1, "-o", "s.ecsv")
    assert code == 0
    found = ac.read("s.ecsv")
    assert re.search(rf"cluster 1 +{found['size'][1]} +{found['jaccard'][1]:.2f} ", out)
    assert found.meta["verdict"] in out


def test_compare(run, twice):
    code, out, _ = run("compare", twice, "g2_", "g3_", "-o", "flows.ecsv", "--figure", "flows.pdf")
    assert code == 0
    flows = ac.read("flows.ecsv")
    assert f"g2_ and g3_: ARI {flows['ari'][0]:.3f}, NMI {flows['nmi'][0]:.3f}\n" in out
    assert all(f"  {sentence}\n" in out for sentence in ac.splits(flows))
    assert Path("flows.pdf").stat().st_size > 5000
    code, out, _ = run("compare", twice, "g2_", "g3_", "true_type", "--pairs", "all")
    assert code == 2  # the types are no numbers


def test_compare_tells_of_rows_left_out(run):
    table = QTable(
        {"a_cluster": np.ma.MaskedArray([0, 0, 1, 1], mask=[1, 0, 0, 0]), "b_cluster": [0, 0, 1, 1]}
    )
    ac.write(table, "few.vot")
    code, out, _ = run("compare", "few.vot", "a_", "b_", "--least", 0.5)
    assert code == 0
    assert "(1 rows have no label in one of them)" in out


def test_calibrate(run, twice):
    code, out, err = run(
        "calibrate", twice, "--labels", "true_type", "--prefix", "g3_", "--seed", 1,
        "-o", "types.vot", "--figure", "honest.png",
    )  # fmt: skip
    assert code == 0, err
    table = ac.read("types.vot")
    record = ac.records(table)[-1]
    scores = [record[when]["ece"] for when in ("before", "after")]
    assert re.search(r"\(ECE\) +{:.3f} +{:.3f}\s".format(*scores), out)
    assert ("by the log loss" in err) == (record["after"]["log_loss"] > record["before"]["log_loss"])
    assert {"g3_type_label", "g3_type_prob"} <= set(table.colnames)
    assert Path("honest.png").stat().st_size > 5000


@pytest.mark.parametrize(
    "options",
    [
        ["clusters", "-x", "hard_hs", "-y", "var_mean_b", "--yscale", "log", "--cluster", "g2_cluster"],
        ["sky"],
        ["types", "--by", "true_type", "--top", 3],
        ["alluvial", "--runs", "g2_, g3_"],
        ["reliability", "--by", "true_type", "--prefix", "g3_", "--seed", 1],
    ],
    ids=lambda options: options[0],
)
def test_plot(run, twice, options):
    code, out, err = run("plot", twice, *options, "-o", "figure.png")
    assert code == 0, err
    assert out == "wrote figure.png\n"
    assert Path("figure.png").read_bytes()[1:4] == b"PNG"
    assert run("plot", twice, *options, "-o", "figure.png")[0] == 2
    assert Path.cwd().joinpath("figure.png").stat().st_size > 5000


def test_plot_takes_what_other_verbs_wrote(run, twice):
    assert run("summary", twice, "--by", "true_type", "-o", "types.ecsv")[0] == 0
    assert run("compare", twice, "g2_", "g3_", "-o", "flows.ecsv")[0] == 0
    assert run("plot", "types.ecsv", "types", "-o", "types.svg")[0] == 0
    assert run("plot", "flows.ecsv", "alluvial", "-o", "flows.svg")[0] == 0


def test_the_record_in_words(run, twice, tmp_path):
    table = ac.read(twice)
    table = ac.crossmatch(table, ac.simulate.simbad(table), radius=1 * u.arcsec)
    table = ac.assign(table, table, prefix="new_", model_prefix="g2_")
    table = ac.cluster(table, features=ac.Features("bb_kt,hard_hs", scale={"bb_kt": "log"}),
                       n_components=2, random_state=12345, prefix="x_")  # fmt: skip
    code, out, _ = run("record", ac.write(table, "all.vot"))
    assert code == 0
    steps = ac.records(table)
    heads = re.findall(r"^(\d)\. (\w+)  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$", out, re.MULTILINE)
    assert heads == [(str(i), step["function"]) for i, step in enumerate(steps, start=1)]
    for words in (
        r"estimator +GaussianMixture\(.*n_components=3, ",
        r"features +bb_kt, hard_hs; scale bb_kt log$",
        r"recipe +missing marginalize; log: bb_kt; none: hard_hs$",
        r"from columns +bb_kt \[keV\], hard_hs$",
        r"new columns +g3_cluster, g3_prob_0, ",
        r"seed +12345$",
        r"rows +300$",
        r"radius +1 arcsec$",
        r"reference +a QTable, which the record could not keep$",
        r"model +GaussianMixture of hard_hm, hard_hs, hard_ms$",
        r"versions +astro_cluster .*, numpy .*, scikit-learn ",
    ):
        assert re.search(words, out, re.MULTILINE), words
    code, out, _ = run("record", "all.vot", "--json")
    assert json.loads(out) == ac.records(ac.read("all.vot"))


def test_a_table_without_a_record_says_so(run):
    Path("bare.csv").write_text("x,y\n1,2\n")
    assert (
        run("record", "bare.csv")[1] == "bare.csv has no step of astro_cluster on record (CSV keeps none)\n"
    )
    ac.write(ac.read("bare.csv"), "read.vot")
    assert re.search(r"source +bare.csv\n", run("record", "read.vot")[1])


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
    "errors without a column": (
        ["cluster", "cat.vot", "-o", "x.vot", "--features", "bb_kt", "--errors", "bb_kt"],
        "--errors 'bb_kt' should be feature=column",
    ),
    "errors twice": (
        ["cluster", "cat.vot", "-o", "x.vot", "--features", "bb_kt", "--errors", "a=b", "--errors", "a=c"],
        "names the errors of 'a' twice",
    ),
    "errors found and named": (
        ["cluster", "cat.vot", "-o", "x.vot", "--features", "bb_kt", "--errors", "auto", "--errors", "a=b"],
        "give it alone",
    ),
    "no such weights": (
        ["cluster", "cat.vot", "-o", "x.vot", "--features", "bb_kt", "--weights", "w", "-n", "2"],
        "no column 'w'",
    ),
    "checkpoint is output": (
        ["cluster", "cat.vot", "-o", "x.vot", "--features", "bb_kt", "--checkpoint", "x.vot"],
        "--checkpoint and --output are the same file",
    ),
    "checkpoint is a table": (
        ["cluster", "cat.vot", "-o", "x.vot", "--features", "bb_kt", "--checkpoint", "cat.vot", "-n", "2"],
        "exists already and is no checkpoint",
    ),
    "no such start": (
        ["cluster", "cat.vot", "-o", "x.vot", "--features", "bb_kt", "--start", "no.vot"],
        "there is no file no.vot",
    ),
    "no numbers": (["choose", "cat.vot", "--features", "bb_kt", "-n", "2-20"], "-n 2-20 means no numbers"),
    "an empty range": (["choose", "cat.vot", "--features", "bb_kt", "-n", "5:2"], "n is empty"),
    "four ends": (["choose", "cat.vot", "--features", "bb_kt", "-n", "1:2:3:4"], "means no numbers"),
    "nothing to choose": (
        ["choose", "cat.vot", "--features", "bb_kt", "--method", "dbscan"],
        "finds the number of clusters itself",
    ),
    "figure of unknown ending": (
        ["choose", "cat.vot", "--features", "bb_kt", "--figure", "x.docx"],
        r"cannot tell in which format to draw 'x\.docx'",
    ),
    "figure exists": (
        ["plot", "cat.vot", "sky", "-o", "old.png"],
        r"old\.png exists already; give --overwrite",
    ),
    "no folder for the figure": (["plot", "cat.vot", "sky", "-o", "no/x.png"], "there is no folder no"),
    "nothing to judge": (["stability", "cat.vot"], "no clustering on record"),
    "one run": (["compare", "cat.vot", "gmm6_"], "there is no run 'gmm6_'"),
    "no run": (["compare", "cat.vot"], "(?i)missing argument 'runs"),
    "no memberships": (["calibrate", "cat.vot", "--labels", "true_type"], "there are no memberships"),
    "no such figure": (["plot", "cat.vot", "galaxy", "-o", "x.png"], "galaxy"),
    "option of another figure": (
        ["plot", "cat.vot", "sky", "-o", "x.png", "--by", "a"],
        "--by has no meaning for the figure sky, which takes --cluster, --position",
    ),
    "figure without options": (
        ["plot", "cat.vot", "choice", "-o", "x.png", "-x", "a"],
        "choice, which takes no options",
    ),
    "no columns to draw": (
        ["plot", "cat.vot", "clusters", "-o", "x.png", "-x", "a"],
        "-x hard_hs -y hard_ms",
    ),
    "no types to draw": (["plot", "cat.vot", "types", "-o", "x.png"], "--by main_type"),
    "no runs to draw": (["plot", "cat.vot", "alluvial", "-o", "x.png"], "--runs gmm6_,gmm8_"),
    "no types to judge by": (["plot", "cat.vot", "reliability", "-o", "x.png"], "--by main_type"),
    "unknown verb": (["clusters"], "clusters"),
    "unknown option": (["summary", "cat.vot", "--bye", "x"], "--bye"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line_and_exit_code_2(run, catalogue, mistake):
    arguments, message = MISTAKES[mistake]
    Path("old.png").touch()
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1
    assert lines[0].startswith("astro-cluster: ")
    assert re.search(message, lines[0])
    assert not any(Path(name).exists() for name in ("x.vot", "x.png"))


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
    with ac.conf.set_temp("csc_tap_url", "http://127.0.0.1:9/tap"), ac.conf.set_temp("retries", 0):
        code, _, err = run("demo", "--online", "-o", tmp_path / "demo")
    assert code == 1
    assert "is there a network" in err.lower()
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
    from astro_cluster import plotting
    from astro_cluster.calibrating import METHODS
    from astro_cluster.cli import drawing, judging, options
    from astro_cluster.cli import figures as drawn
    from astro_cluster.features import MISSING_POLICIES
    from astro_cluster.matching.find import FIND_MODES
    from astro_cluster.plotting.display import STRETCHES

    assert {mode.value for mode in options.Find} == set(FIND_MODES)
    assert {policy.value for policy in options.Missing} == set(MISSING_POLICIES)
    assert {method.value for method in judging.Calibration} == set(METHODS)
    figures = {name.removeprefix("plot_") for name in plotting.__all__ if name.startswith("plot_")}
    short = {"sheet": "contact_sheet", "learning": "learning_curve", "spectra-sheet": "spectra_sheet"}
    assert {short.get(kind.value, kind.value) for kind in drawn.Kind} == figures
    assert [stretch.value for stretch in drawing.Stretch] == list(STRETCHES)
