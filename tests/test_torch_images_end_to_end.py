"""From tars of images to latents, clusters, a map, and what is wrong with some: in Python and by verbs."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.table import QTable

import astro_cluster as ac
from astro_cluster.cli import main
from astro_cluster.embedding import embedding_facts
from astro_cluster.provenance import content_hash

pytest.importorskip("torch")

N = 48
SIZE = 32


@pytest.fixture(scope="module")
def tars(tmp_path_factory) -> Path:
    """A folder of tars as RealSimCFIS has them, and a table of labels beside them."""
    folder = tmp_path_factory.mktemp("sci")
    truth = ac.simulate.galaxies(N, size=SIZE, artefacts=0.2, random_state=2)
    ac.simulate.write_tars(truth, folder)
    spurious = np.asarray(truth["artefact"]) != ""
    assert 3 <= spurious.sum() <= 24
    labels = QTable({"source_id": np.asarray(truth["source_id"]), "spurious": spurious.astype(int)})
    ac.write(labels, folder / "labels.csv")
    return folder


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command line in an empty folder: what it prints; it must succeed."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[str, str]:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            with pytest.raises(SystemExit) as leave:
                main([str(argument) for argument in arguments])
        out = capsys.readouterr()
        assert leave.value.code == 0, (arguments, out.err)
        return out.out, out.err

    return call


def test_in_python(tars, tmp_path):
    stack = ac.read_cutouts(str(tars / "*.tar"), size=SIZE, scale="minmax", identifier="SIMID")
    assert stack["image"].shape == (N, SIZE, SIZE)
    model = tmp_path / "galaxies.safetensors"
    out = ac.embed(
        stack,
        ac.ConvAutoencoder(6, epochs=6, batch_size=16, held_out=0.2, random_state=0, n_threads=1),
        save=model,
    )
    assert np.shares_memory(out["image"], stack["image"])
    assert out["latent"].shape == (N, 6)
    assert np.isfinite(np.asarray(out["latent"])).all()
    assert (np.asarray(out["reconstruction_error"]) > 0).all()
    facts = embedding_facts(out, stem="latent")
    assert len(facts["history"]["loss"]) == len(facts["history"]["epoch"]) <= 6
    assert facts["history"]["loss"][-1] < facts["history"]["loss"][0]
    out = ac.cluster(out, "kmeans", features="latent", n_clusters=4, random_state=0)
    out = ac.embed(out, "tsne", features="latent", perplexity=8, max_iter=300, random_state=0)
    by_id = {int(row["source_id"]): bool(row["spurious"]) for row in ac.read(tars / "labels.csv")}
    out["spurious"] = [by_id[int(value)] for value in out["simid"]]
    region = ac.inspect(out, "cluster", label="spurious", threshold=0.05)
    assert len(region) >= 1
    axes = ac.plotting.plot_thumbnails(out, "tsne_1", "tsne_2")
    assert axes.get_xlabel()

    # The file of the model makes the same of the same images, and of new ones.
    again = ac.embed(stack, model)
    np.testing.assert_allclose(again["latent"], out["latent"], atol=1e-6)
    np.testing.assert_allclose(again["reconstruction_error"], out["reconstruction_error"], rtol=1e-5)
    part = ac.embed(again[3:9], onto=out, features="latent", prefix="near_")
    near = np.hypot(*(np.asarray(part[f"near_tsne_{k}"]) - np.asarray(out[f"tsne_{k}"][3:9]) for k in (1, 2)))
    spread = np.hypot(np.std(out["tsne_1"]), np.std(out["tsne_2"]))
    assert np.median(near) < spread

    # The file of the table makes it all again.
    path = ac.write(out[[name for name in out.colnames if name != "spurious"]], tmp_path / "tsne.fits")
    assert content_hash(ac.rerun(path)) == content_hash(ac.read(path))


def test_by_verbs(run, tars):
    labels = ("--labels", tars / "labels.csv", "--labels-on", "simid,source_id")
    said, _ = run(
        *("cutouts", tars / "*.tar", "-o", "gal.fits", "--size", SIZE, "--scale", "minmax"),
        *("--identifier", "SIMID", *labels),
    )
    said, _ = run(
        *("embed", "gal.fits", "--model", "conv-autoencoder", "--epochs", 5, "-n", 6, "--seed", 1),
        *("--threads", 1, "--param", "batch_size=16", "--save", "model.safetensors", "-o", "latent.vot"),
    )
    assert f"latent: 6 coordinates of {N} rows by ConvAutoencoder, from images of {SIZE} × {SIZE}" in said
    assert "held-out loss" in said
    assert "epochs" in said
    assert "trustworthiness" in said
    run(
        "cluster",
        "latent.vot",
        "--features",
        "latent",
        "--method",
        "kmeans",
        "-n",
        4,
        "--seed",
        1,
        "-o",
        "km.vot",
    )
    _, note = run(
        *("embed", "km.vot", "--model", "tsne", "--features", "latent", "--perplexity", 8),
        *("--param", "max_iter=300", "--seed", 1, "-o", "tsne.vot"),
    )
    assert "find clusters in the features or latent coordinates" in note
    said, _ = run("inspect", "tsne.vot", "--label", "spurious", "--threshold", 0.05)
    assert said
    run("plot", "tsne.vot", "--thumbnails", "-o", "tsne.png")
    assert Path("tsne.png").stat().st_size > 10_000
    run("plot", "tsne.vot", "--learning", "-o", "learning.png")

    last = ac.read("tsne.vot")
    assert "image" not in last.colnames
    np.testing.assert_array_equal(ac.images_of(last), ac.read("gal.fits")["image"])
    steps = [record["function"] for record in ac.records(last)]
    assert steps == ["read_cutouts", "embed", "cluster", "embed"]
    run("rerun", "tsne.vot", "-o", "again.vot")
    again = ac.read("again.vot")
    assert again.colnames == last.colnames or set(again.colnames) == set(last.colnames)
    assert content_hash(again) == content_hash(last)

    # A table that was sorted and cut elsewhere still finds its images and its model.
    cut = last[::-1][:20]
    ac.write(cut, "cut.vot")
    run("embed", "cut.vot", "--model", "model.safetensors", "--prefix", "m_", "-o", "cut2.vot")
    np.testing.assert_allclose(ac.read("cut2.vot")["m_latent"], cut["latent"], atol=1e-6)


@pytest.mark.realdata
def test_real_galaxies(run, real_data):
    run(
        *("cutouts", f"{real_data}/galaxies/sci/*.tar", "-o", "gal.fits", "--size", 32, "--scale", "minmax"),
    )
    said, _ = run(
        *("embed", "gal.fits", "--model", "conv-autoencoder", "--epochs", 2, "-n", 8, "--threads", 1),
        *("-o", "latent.vot"),
    )
    assert "latent: 8 coordinates of 52 rows" in said
    run("cluster", "latent.vot", "--features", "latent", "--method", "kmeans", "-n", 6, "-o", "km6.vot")
    run("embed", "km6.vot", "--model", "tsne", "--features", "latent", "-o", "tsne.vot")
    run("plot", "tsne.vot", "--thumbnails", "-o", "tsne.png")
    assert Path("tsne.png").stat().st_size > 10_000
    run("rerun", "tsne.vot", "-o", "again.vot")
    assert content_hash(ac.read("again.vot")) == content_hash(ac.read("tsne.vot"))


@pytest.mark.realdata
def test_real_strips(run, real_data):
    run("cutouts", f"{real_data}/jwst/spurious/*.png", "-o", "jwst.fits")
    said, _ = run("embed", "jwst.fits", "--perplexity", 10, "--seed", 1, "-o", "map.vot")
    assert "2 coordinates of 57 rows by TSNE, from images of 100 × 600 × 3" in said
    table = ac.read("map.vot")
    assert embedding_facts(table)["trustworthiness"] > 0.7
    assert (
        "pca: 5 coordinates of 57 rows"
        in run("embed", "jwst.fits", "--model", "pca", "-n", 5, "-o", "p.vot")[0]
    )
