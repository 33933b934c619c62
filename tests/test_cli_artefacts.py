"""The verbs rank, suggest and learn from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import QTable

import astro_cluster as ac
from astro_cluster.cli import main


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    bad = np.arange(300) % 25 == 0
    out = QTable({"source_id": np.arange(300) + 1000, "label": np.where(bad, 0, 1)})
    out["latent"] = rng.normal(size=(300, 3)) + 4.0 * bad[:, np.newaxis]
    out["zero_fraction"] = np.where(np.arange(300) % 100 == 0, 0.3, 0.0)
    ac.write(out, tmp_path / "latent.vot")
    return tmp_path / "latent.vot"


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


def test_the_whole_way(table: Path, capsys: pytest.CaptureFixture[str]):
    folder = table.parent
    ranked, looked, learnt = (folder / f"{name}.vot" for name in ("ranked", "look", "learnt"))
    assert (
        run("rank", table, "-o", ranked, "--label", "label", "--value", "0", "--at", "12,50", "--seed", 1)
        == 0
    )
    said = capsys.readouterr().out
    assert "12 of 300 rows are bad" in said
    assert "zero_fraction" in said
    assert "rows to inspect for a recall of 50%:" in said
    out = ac.read(ranked)
    assert (np.asarray(out["inspection_rank"])[np.asarray(out["label"]) == 0] <= 30).sum() >= 11
    assert run("suggest", ranked, "-o", looked, "-n", 8, "--only", "--seed", 1) == 0
    few = ac.read(looked)
    assert few["suggestion"].tolist() == list(range(1, 9))
    assert "suggestion" in capsys.readouterr().out
    labels = QTable({"source_id": out["source_id"][:120], "label": out["label"][:120]})
    labels.write(folder / "labels.csv", format="ascii.csv")
    out.remove_column("label")
    ac.write(out, folder / "bare.vot")
    arguments = ["--labels", folder / "labels.csv", "--value", 0, "--name", "spurious", "--seed", 1]
    assert run("learn", folder / "bare.vot", "-o", learnt, *arguments) == 0
    said = capsys.readouterr()
    assert "learnt from 120 labels: 115 others, 5 spurious" in said.out
    assert "ROC AUC of spurious" in said.out
    assert "fewer than ten labels" in said.err
    p = np.asarray(ac.read(learnt)["prob_spurious"])
    assert p[::25].min() > p[np.arange(300) % 25 != 0].mean()
    arguments = ["--labels", folder / "labels.csv", "--value", 0]
    assert run("suggest", learnt, "-o", folder / "more.vot", "-n", 6, *arguments) == 0
    more = np.ma.asarray(ac.read(folder / "more.vot")["suggestion"])
    assert len(more) == 300
    assert more[:120].mask.all()


def test_options(table: Path, capsys: pytest.CaptureFixture[str]):
    out = table.parent / "out.ecsv"
    options = ["--features", "none", "--quality", "zero_fraction=high,source_id=low", "--prefix", "a_"]
    assert run("rank", table, "-o", out, *options, "--seed", 2) == 0
    record = ac.records(ac.read(out))[-1]
    assert record["ingredients"] == {"zero_fraction": 0.5, "source_id": 0.5}
    assert run("rank", table, "--quality", "none", "--method", "forest", "--seed", 2) == 0
    assert "latent density" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rank", "{table}", "--at", "5"], "say which column tells them with --label"),
        (["rank", "{table}", "--quality", "zero_fraction=high,label"], "label without a direction"),
        (["rank", "{table}", "--method", "svm"], "method='svm' is not known"),
        (["rank", "{table}", "--label", "label", "--value", "7"], "no row has 7 in column 'label'"),
        (
            ["learn", "{table}", "-o", "{folder}/o.vot", "--labels", "nothing.csv"],
            "neither a column nor a file",
        ),
        (["suggest", "{table}", "-o", "{folder}/o.vot", "-n", "0"], "n=0 is no number of rows"),
        (["suggest", "{table}", "-o", "{table}"], "exists already"),
    ],
)
def test_mistakes_are_one_line(
    table: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
):
    given = [argument.format(table=table, folder=table.parent) for argument in arguments]
    assert run(*given) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_inspect_tells_the_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    cluster = np.repeat([0, 1, 2], [50, 30, 20])
    label = np.ones(100, dtype=int)
    label[[51, 52, 81, 82, 83, 84]] = 0
    reason = np.full(100, "", dtype="U20")
    reason[[51, 81, 82]], reason[[52, 83]] = "diffraction spike", "edge data"
    ac.write(QTable({"cluster": cluster, "label": label, "reason": reason}), tmp_path / "t.vot")
    arguments = ["--label", "label", "--value", "0", "--reason", "reason", "--threshold", "0.1"]
    assert run("inspect", tmp_path / "t.vot", *arguments) == 0
    said = capsys.readouterr().out
    assert "bad_diffraction_spike" in said
    assert "diffraction spike: 2 of 3 in the region" in said
    assert "no reason: 1 of 1 in the region" in said
