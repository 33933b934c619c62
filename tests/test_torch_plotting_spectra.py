"""Figures of a real InfoVAE: from the model, from its file, and from the command line."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

import astro_cluster as ac
from astro_cluster.wavelengths import log_grid, note_spectra

pytest.importorskip("torch")
pytest.importorskip("safetensors")


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """Return a table of spectra with latents, its model, and the file of that."""
    folder = tmp_path_factory.mktemp("infovae")
    rng = np.random.default_rng(0)
    grid = log_grid(3625 * u.AA, 9000 * u.AA, 60)
    slope = rng.normal(0, 0.4, (90, 1)) * np.linspace(-1, 1, 60)
    table = QTable({"flux": (3 + slope + 0.05 * rng.normal(size=(90, 60))).astype("f4") * u.mJy})
    table["ivar"] = np.full((90, 60), 400, "f4") / u.mJy**2
    table["redshift"] = rng.uniform(1, 3, 90)
    note_spectra(table, grid)
    model = ac.InfoVAE(3, hidden=(16, 8), epochs=4, batch_size=30, random_state=1, n_threads=1)
    model.fit(table["flux"].value, weights=table["ivar"].value, grid=grid)
    table["latent"] = model.transform(table["flux"].value, weights=table["ivar"].value)
    model.save(folder / "vae.safetensors")
    return table, model, folder / "vae.safetensors"


def test_a_traversal_draws_what_the_model_decodes(embedded):
    table, model, path = embedded
    by_model, by_file = (ac.plotting.plot_traversal(source, table, n=3) for source in (model, path))
    middle = np.median(np.asarray(table["latent"], float), axis=0)
    middle[1] = np.percentile(np.asarray(table["latent"], float)[:, 1], 95)
    expected = model.decode(middle[np.newaxis])[0]
    for figure in (by_model, by_file):
        assert np.allclose(figure.axes[1].lines[2].get_ydata(), expected, atol=1e-6)
        assert figure.axes[0].get_xlim() == pytest.approx((3625, 9000))


def test_spectra_are_drawn_over_what_the_model_makes_of_them(embedded):
    table, model, path = embedded
    made = model.reconstruct(table["flux"].value, weights=table["ivar"].value)
    for source in (model, str(path)):
        ax = ac.plotting.plot_spectra(table, [4], reconstruction=source).axes[0]
        (line,) = [line for line in ax.lines if line.get_label() == "reconstruction"]
        assert np.allclose(line.get_ydata(), made[4], rtol=1e-5)


def test_the_learning_curve_has_the_terms(embedded):
    _, model, _ = embedded
    figure = ac.plotting.plot_learning_curve(model).get_figure()
    names = [ax.get_ylabel() for ax in figure.axes]
    assert names == ["loss", "reconstr.", "KL", "MMD", "χ² per pixel"]
    (kl,) = [line for line in figure.axes[2].lines if line.get_label() == "kl"]
    assert list(kl.get_ydata()) == model.history_["kl"]


def test_plot_verbs_of_an_infovae(embedded, tmp_path, monkeypatch, capsys):
    from astro_cluster.cli import main

    table, _, path = embedded
    monkeypatch.chdir(tmp_path)
    ac.write(table, "latent.fits")

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["plot", "latent.fits", *map(str, arguments)])
        return left.value.code, capsys.readouterr().err

    options = ("--model", path, "-n", "5", "--latents", "0,2", "--percentiles", "10,90", "--redshift", "2.2")
    assert run("--traversal", *options, "-o", "traversal.png") == (0, "")
    code, said = run("--traversal", "--model", "a.safetensors", "-o", "no.png")
    assert (code, "a.safetensors" in said) == (2, True)
    # The record of a table that a saved model embedded has no history of learning; the model has.
    assert "--model model.safetensors" in run("--learning", "-o", "learning.png")[1]
    assert run("--learning", "--model", path, "-o", "learning.png") == (0, "")
    assert run("--spectra", "--model", path, "-n", 2, "-o", "spectra.png") == (0, "")
    assert run("--spectra-sheet", "--model", path, "-o", "sheet.png") == (0, "")
