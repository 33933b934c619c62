"""`astro-cluster tune`: it goes on where it was, after Ctrl-C and after kill -9."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

pytest.importorskip("torch")

import astro_cluster as ac
from astro_cluster.cli import main
from astro_cluster.wavelengths import log_grid, note_spectra

LINE = ("--latent", "1,2", "--trials", 5, "--epochs", 30, "--width", "8,16-8", "--seed", 3)
SPLIT = ("--held-out", 0.25, "--param", "batch_size=32", "--param", "patience=60", "--threads", 1)
MORE = (*SPLIT, "-o", "tuned")
FEW = ("--latent", 2, "--trials", 3)


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
def qso(tmp_path) -> Path:
    rng = np.random.default_rng(1)
    x, c = np.linspace(0, 1, 24), rng.normal(size=(64, 2))
    flux = 10 + c[:, :1] * np.sin(3 * x + c[:, :1]) + c[:, 1:] * x + rng.normal(0, 0.2, (64, 24))
    table = QTable({"flux": flux.astype("f4") * u.Jy, "ivar": np.full((64, 24), 25, "f4") / u.Jy**2})
    note_spectra(table, log_grid(4000 * u.AA, 5000 * u.AA, 24))
    return ac.write(table, tmp_path / "qso.fits")


def numbers(path: Path) -> list[list[object]]:
    table = ac.read(path)
    names = [name for name in table.colnames if name != "seconds"]
    return [[None if row[name] is np.ma.masked else row[name] for name in names] for row in table]


def test_each_trial_is_told_with_its_terms_and_the_components_stand_beside_it(run, qso):
    code, out, _ = run("tune", qso, *LINE, *MORE, "--epochs", 3, "--alpha", 0)
    assert code == 0
    told = re.findall(
        r"^(\d) latents, trial (\d) of 5: χ² \S+, mse \S+, loss \S+, kl \S+, mmd \S+ \(", out, re.M
    )
    assert told == [(size, number) for size in "12" for number in "12345"]
    assert re.search(r"latents +χ² InfoVAE +χ² PCA +mse InfoVAE +mse PCA", out)
    assert "of 16 spectra that no model has learned from" in out
    assert "χ² prefers weak regularisation" in out
    table = ac.read("tuned/trials.ecsv")
    assert (table["alpha"][table["model"] == "infovae"] == 0).all()
    chi2 = {
        row["model"]: row["held_out_chi2"] for row in table[table["best_of_size"] & (table["n_latent"] == 2)]
    }
    assert chi2["weighted-pca"] < chi2["infovae"]  # after three epochs
    assert re.search(r"PCA has the lower χ² for (1, )?2 latents: a network needs more spectra", out)
    for name in ("best.safetensors", "trials.ecsv", "tuning.png"):
        assert f"wrote tuned/{name}" in out
        assert Path("tuned", name).stat().st_size > 1000


def test_the_best_model_embeds_the_spectra(run, qso):
    run("tune", qso, *LINE, *MORE, "--epochs", 3)
    code, _, err = run("embed", qso, "--model", "tuned/best.safetensors", "-o", "latent.vot")
    assert code == 0, err
    best = ac.read("tuned/trials.ecsv")
    assert ac.read("latent.vot")["latent"].shape == (64, best["n_latent"][best["best"]][0])


def test_after_ctrl_c_one_line_says_how_to_go_on_and_so_it_does(run, qso, monkeypatch):
    code, _, err = run("tune", qso, *LINE, *MORE)
    assert code == 0, err
    whole = numbers(Path("tuned/trials.ecsv"))
    from astro_cluster.tuning import trials

    left, plain = [85], trials._Watcher.tell

    def tell(self: object, epoch: int, value: float) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        plain(self, epoch, value)

    monkeypatch.setattr(trials._Watcher, "tell", tell)
    line = [str(word).replace("tuned", "again") for word in MORE]
    code, out, err = run("tune", qso, *LINE, *line)
    assert code == 130
    assert err.strip().endswith(
        "astro-cluster: interrupted; the search so far is in again; to go on, run the same command again"
    )
    assert out.count("trial") < 10
    code, more, err = run("tune", qso, *LINE, *line)
    assert code == 0, err
    assert len(re.findall("latents, trial", out + more)) == 10
    assert numbers(Path("again/trials.ecsv")) == whole


def test_after_a_sudden_end_the_same_command_gives_the_same_trials(run, qso, tmp_path):
    code, _, err = run("tune", qso, *LINE, *FEW, *MORE)
    assert code == 0, err
    line = [sys.executable, "-m", "astro_cluster", "tune", str(qso), *map(str, (*LINE, *FEW))]
    line += [str(word).replace("tuned", "again") for word in MORE]
    journal = tmp_path / "again" / "journal.log"
    for size in (3_000, 8_000):  # of the journal, in the midst of a trial
        with (tmp_path / "told").open("wb") as told:
            process = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=told)
        try:
            until = time.monotonic() + 120
            while process.poll() is None and time.monotonic() < until:
                if journal.exists() and journal.stat().st_size >= size:
                    break
                time.sleep(0.005)
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
            process.wait()
        assert process.returncode == -signal.SIGKILL, (tmp_path / "told").read_text()
        assert not (tmp_path / "again" / "trials.ecsv").exists()
    with journal.open("ab") as file:
        file.write(b'{"op_code":8,"worker_id":"cut sho')
    code, _, err = run("tune", qso, *LINE, *FEW, *[str(word).replace("tuned", "again") for word in MORE])
    assert code == 0, err
    assert numbers(Path("again/trials.ecsv")) == numbers(Path("tuned/trials.ecsv"))
    assert Path("again/best.safetensors").exists()
    assert not list(Path("again").glob("trial_*"))


def test_a_time_limit_is_told(run, qso):
    code, out, err = run("tune", qso, *LINE, *MORE, "--timeout", 0.001)
    assert code == 0
    assert "note: the time is over before the last trial; to go on, run the same command again" in err
    assert "wrote tuned/trials.ecsv" in out
    assert "best.safetensors" not in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--latent", "three"), "--latent three means no numbers"),
        (("--width", "wide"), "--width wide means no widths of layers"),
        (("--lambda", "2:much"), "--lambda much is no range"),
        (("--alpha", "none"), "--alpha none is no range"),
        (("--lambda", "64:2"), "lambda_=(64.0, 2.0)"),
        (("--model", "pca"), "a PCA has nothing that tune searches"),
        (("--param", "lr=1"), "InfoVAE has no parameter 'lr'"),
        (("-o", "no/folder"), "there is no folder no"),
        (("-o", "qso.fits"), "qso.fits is a file"),
    ],
)
def test_mistakes_are_told_in_one_line(run, qso, words, message):
    code, out, err = run("tune", qso, *LINE, *MORE, *words)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not out


def test_another_search_in_the_same_folder_is_refused(run, qso):
    run("tune", qso, *LINE, *MORE, "--epochs", 1)
    code, _, err = run("tune", qso, *LINE, *MORE, "--epochs", 2)
    assert code == 2
    assert "tuned holds another search (epochs was 1 and is 2)" in err


def test_a_table_without_spectra_is_told(run, tmp_path):
    ac.write(QTable({"x": [1.0, 2.0]}), tmp_path / "x.vot")
    code, _, err = run("tune", "x.vot", *MORE)
    assert code == 2
    assert "does not say at which wavelengths" in err
