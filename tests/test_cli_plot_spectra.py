"""The figures of spectra and latents from the command line: what the issue writes, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable
from PIL import Image

import astro_cluster as ac
from astro_cluster.cli import main
from astro_cluster.cli.files import read, write
from astro_cluster.wavelengths import log_grid, note_spectra


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(item) for item in arguments])
        said = capsys.readouterr()
        return int(left.value.code), said.out, said.err

    return call


def written(folder: Path) -> Path:
    """Write a table as the command line does: the spectra are in another file."""
    rng = np.random.default_rng(0)
    n, m = 130, 200
    unit = u.Unit("1e-17 erg / (s cm2 Angstrom)")
    made = (1 + rng.random((n, 1))) * np.linspace(3, 1, m)
    out = QTable({"source_id": [f"3655-55240-{row:04d}" for row in range(n)]})
    out["flux"] = (made + 0.1 * rng.normal(size=(n, m))).astype("f4") * unit
    out["ivar"] = np.full((n, m), 100, "f4") / unit**2
    out["reconstruction"] = made.astype("f4") * unit
    out["Z"] = MaskedColumn(rng.uniform(1.5, 3.5, n), mask=np.arange(n) % 11 == 0)
    out["BAL_PROB"] = np.where(np.arange(n) % 2, -1.0, rng.random(n))
    out["latent"] = rng.normal(size=(n, 3)).astype("f4")
    out["reconstruction_chi2"] = 1 + rng.random(n)
    out["outlier_rank"] = rng.permutation(n) + 1
    note_spectra(out, log_grid(3625 * u.AA, 9000 * u.AA, m))
    ac.write(out, folder / "qso.fits")
    write(read([folder / "qso.fits"]), folder / "latent.vot", False)
    assert "flux" not in ac.read(folder / "latent.vot").colnames
    return folder / "latent.vot"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return written(tmp_path_factory.mktemp("tables"))


FIGURES = {
    "the issue's own": ["--corner", "latent", "--color", "Z"],
    "a corner by name": ["corner"],
    "a corner of columns": [
        "--corner", "latent[0],Z,reconstruction_chi2", "--colour", "reconstruction_chi2", "--log-color",
        "--no-contours", "--colour-map", "cividis",
    ],
    "spectra": ["--spectra"],
    "spectra with options": [
        "spectra", "--rows", "3,5", "--reconstruction", "none", "--no-lines", "--redshift", "Z",
        "--labels", "outlier_rank", "--columns", "2",
    ],
    "a sheet": ["--spectra-sheet", "-n", "12", "--order", "outlier_rank", "--columns", "3"],
    "a density": ["--density", "-x", "Z", "-y", "reconstruction_chi2", "--yscale", "log"],
    "a density without nulls": ["density", "-x", "BAL_PROB", "-y", "latent[1]", "--missing", "BAL_PROB=-1"],
    "a histogram": ["--histogram", "-x", "Z", "--bins", "12"],
    "a histogram of magnitudes": ["histogram", "-x", "reconstruction_chi2", "--xscale", "log"],
    "a leak": ["--leakage", "-x", "Z", "--features", "latent", "--seed", "3"],
}  # fmt: skip


@pytest.mark.parametrize("options", FIGURES.values(), ids=FIGURES)
def test_figures_of_spectra(run, table, options):
    code, out, err = run("plot", table, *options, "-o", "figure.png")
    assert (code, out, err) == (0, "wrote figure.png\n", "")
    with Image.open("figure.png") as drawn:
        assert min(drawn.size) > 100
        assert len(drawn.convert("RGB").getcolors(2**24)) > 20


def test_words_reach_the_figures(run, table, monkeypatch):
    """A wrong word could be dropped without a picture that tells."""
    asked = {}

    def keep(name):
        def drawn(*arguments, **options):
            asked[name] = arguments[1:], options
            return real[name](*arguments, **options)

        return drawn

    real = {name: getattr(ac.plotting, name) for name in ("plot_corner", "plot_spectra", "plot_leakage")}
    for name in real:
        monkeypatch.setattr(ac.plotting, name, keep(name))
    assert run("plot", table, "--corner", "latent, Z", "--color", "Z", "--no-contours", "-o", "a.png")[0] == 0
    assert asked["plot_corner"] == ((["latent", "Z"],), {"color": "Z", "contours": False})
    options = ("--rows", "1,2", "--reconstruction", "none", "--no-lines")
    assert run("plot", table, "--spectra", *options, "-o", "b.png")[0] == 0
    assert asked["plot_spectra"] == ((), {"rows": [1, 2], "reconstruction": False, "lines": False})
    assert (
        run("plot", table, "--leakage", "-x", "BAL_PROB", "--missing", "BAL_PROB=-1", "-o", "c.png")[0] == 0
    )
    assert asked["plot_leakage"] == (("BAL_PROB",), {"random_state": 0, "missing": {"BAL_PROB": -1.0}})


def test_trials_that_were_written(run, table):
    rows = [("infovae", d, 1 / d, 1 + 1 / d) for d in (3, 6)] + [("weighted-pca", 3, 0.5, 1.5)]
    ac.write(QTable(rows=rows, names=["model", "n_latent", "held_out_mse", "held_out_chi2"]), "trials.ecsv")
    assert run("plot", "trials.ecsv", "--tuning", "-o", "tuning.png")[0] == 0


MISTAKES = {
    "two figures": (["--corner", "latent", "--spectra"], "give one figure, not corner and spectra"),
    "an option of another figure": (
        ["--spectra", "--color", "Z"],
        "--color has no meaning for the figure spectra",
    ),
    "lines of a corner": (["--corner", "latent", "--no-lines"], "--no-lines has no meaning"),
    "no such column": (["--corner", "latents"], "did you mean 'latent'"),
    "no such colour": (["--corner", "latent", "--color", "z"], "did you mean 'Z'"),
    "no model": (["--traversal"], "--model tuned/best.safetensors"),
    "no redshift": (
        ["--traversal", "--model", "a.safetensors", "--redshift", "Z"],
        "--redshift Z is no number",
    ),
    "no percentiles": (
        ["--traversal", "--model", "a", "--percentiles", "5"],
        "--percentiles 5 are no two numbers",
    ),
    "no latents": (["--traversal", "--model", "a", "--latents", "x"], "--latents x are no numbers"),
    "two reconstructions": (["--spectra", "--model", "a", "--reconstruction", "b"], "give one of them"),
    "one axis": (["--density", "-x", "Z"], "-x Z -y reconstruction_chi2"),
    "no axis": (["--histogram"], "say which column to draw: -x Z"),
    "no null": (["--histogram", "-x", "Z", "--missing", "Z"], "--missing Z should be column=number"),
    "a null that is a text": (
        ["--histogram", "-x", "Z", "--missing", "Z=none"],
        "should be column=number",
    ),
    "a scale that is none": (["--density", "-x", "Z", "-y", "Z", "--xscale", "symlog"], "xscale='symlog'"),
    "no redshift column": (["--leakage"], "there is no column 'redshift'"),
    "no trials": (["--tuning"], "no result of tune"),
    "no such row": (["--spectra", "--rows", "999"], "rows= go up to 129"),
}


@pytest.mark.parametrize(("options", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(run, table, tmp_path, options, message):
    code, _, err = run("plot", table, *options, "-o", "figure.png")
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("*.png"))


def test_spectra_that_have_gone(run, tmp_path):
    table = written(tmp_path)
    (tmp_path / "qso.fits").unlink()
    code, _, err = run("plot", table, "--spectra", "-o", "figure.png")
    assert code == 2
    assert "qso.fits" in err
    assert run("plot", table, "--corner", "latent", "--color", "Z", "-o", "corner.png")[0] == 0
