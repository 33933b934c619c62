"""Figures of a real autoencoder: in Python, from its file, and from the command line."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import astro_cluster as ac

pytest.importorskip("torch")
pytest.importorskip("safetensors")


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latents")
    table = ac.simulate.galaxies(40, size=16, random_state=1)
    model = ac.ConvAutoencoder(n_latent=3, epochs=3, batch_size=16, filters=(4, 8), random_state=1)
    return ac.embed(table, model, save=folder / "ae.safetensors"), folder / "ae.safetensors"


def test_a_learning_curve_of_a_table_and_of_its_model(latents):
    from astro_cluster.embedding.autoencoder import load_model

    table, path = latents
    drawn = [ac.plotting.plot_learning_curve(source) for source in (table, load_model(path))]
    curves = [{line.get_label(): line.get_ydata() for line in ax.lines} for ax in drawn]
    assert curves[0].keys() == curves[1].keys()
    assert len(curves[0]["learned from"]) == 3
    assert all(np.allclose(curves[0][name], curves[1][name]) for name in curves[0])


def test_reconstructions_of_the_file_of_a_model(latents):
    from astro_cluster.embedding.autoencoder import load_model

    table, path = latents
    by_file = ac.plotting.plot_reconstructions(table, str(path), n=4)
    by_model = ac.plotting.plot_reconstructions(table, load_model(path), n=4)
    pictures = [np.asarray(ax.images[0].get_array()) for ax in (by_file, by_model)]
    assert np.array_equal(*pictures)
    assert (pictures[0] < 255).mean() > 0.3


def test_plot_verbs_of_autoencoders(latents, tmp_path, monkeypatch, capsys):
    from astro_cluster.cli import main

    table, path = latents
    monkeypatch.chdir(tmp_path)
    ac.write(table, "latent.fits")

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["plot", "latent.fits", *map(str, arguments)])
        return left.value.code, capsys.readouterr().err

    assert run("--learning", "-o", "learning.png") == (0, "")
    options = ("--model", path, "-n", 3, "--no-residuals")
    assert run("--reconstructions", *options, "-o", "two.png") == (0, "")
    assert run("reconstructions", "--model", path, "--rows", "5,7", "-o", "three.png") == (0, "")
    with Image.open("two.png") as two, Image.open("three.png") as three:
        assert two.height < three.height
    code, message = run("--reconstructions", "--model", "no.safetensors", "-o", "x.png")
    assert code == 2
    assert "no.safetensors" in message
