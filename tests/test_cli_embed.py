"""`astro-cluster embed`: what was made is told in words, and every mistake in one line."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Column, QTable

import astro_cluster as ac
from astro_cluster.cli import main
from astro_cluster.provenance import content_hash


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
    return ac.write(ac.simulate.chandra(120, random_state=3), tmp_path / "cat.vot")


@pytest.fixture
def stamps(tmp_path) -> Path:
    rng = np.random.default_rng(2)
    pixels = rng.normal(size=(40, 8, 8)).astype("f4")
    bad = np.arange(40) == 7
    pixels[bad] = np.nan
    table = QTable({"source_id": np.arange(40), "image": Column(pixels, copy=False), "image_bad": bad})
    return ac.write(ac.read(table), tmp_path / "gal.fits")


FAST = ("--perplexity", 8, "--param", "max_iter=250")


def test_a_map_is_made_and_explained(run, catalogue):
    code, out, err = run(
        "embed",
        catalogue,
        "--features",
        "hard_*,bb_kt",
        "--scale",
        "standard",
        *FAST,
        "--seed",
        1,
        "-o",
        "m.vot",
    )
    assert code == 0, err
    made = ac.read("m.vot")
    used = ac.records(made)[-1]["rows_used"]
    assert 0 < used < 120
    assert f"tsne_1 … tsne_2: 2 coordinates of {used} rows by TSNE, from 4 features" in out
    assert f"KL divergence {ac.records(made)[-1]['embedding']['kl_divergence']:.3f}" in out
    assert "neighbours by these coordinates" in out
    assert f"not used: {120 - used} rows (missing values; masked)" in out
    assert "find clusters in the features or latent coordinates" in err
    assert ac.records(made)[-1]["seed"] == 1


def test_steps_chain(run, catalogue):
    assert run("embed", catalogue, "--model", "pca", "-n", 2, "--features", "hard_*", "-o", "p.vot")[0] == 0
    assert run("cluster", "p.vot", "--features", "pca", "--method", "kmeans", "-n", 3, "-o", "k.vot")[0] == 0
    code, out, err = run("embed", "k.vot", "--features", "pca", *FAST, "--prefix", "a_", "-o", "t.fits")
    assert code == 0, err
    assert "a_tsne_1 … a_tsne_2" in out
    table = ac.read("t.fits")
    assert {"pca", "cluster", "a_tsne_1"} <= set(table.colnames)
    assert table["pca"].shape == (120, 2)
    code, out, err = run("rerun", "t.fits", "-o", "again.fits")
    assert (code, err) == (0, "")
    assert "ran again: embed, cluster, embed" in out
    assert content_hash(ac.read("again.fits")) == content_hash(table)
    assert run("embed", catalogue, "--onto", "p.vot", "--model", "pca", "-o", "n.vot")[0] == 0
    np.testing.assert_allclose(ac.read("n.vot")["pca"], ac.read("p.vot")["pca"], atol=1e-9)


def test_pixels(run, stamps):
    code, out, err = run("embed", stamps, "--model", "pca", "-n", 3, "-o", "p.vot")
    assert code == 0, err
    assert "pca: 3 coordinates of 39 rows by PCA, from images of 8 × 8" in out
    assert "not used: 1 rows (no usable image; masked)" in out
    linked = ac.read("p.vot")
    assert "image" not in linked.colnames
    np.testing.assert_array_equal(ac.images_of(linked), ac.read(stamps)["image"])
    code, _, err = run("embed", "p.vot", "--column", "image", *FAST, "--seed", 3, "-o", "t.vot")
    assert code == 0, err
    code, out, err = run("embed", stamps, "--onto", "t.vot", "-o", "n.vot")
    assert code == 0, err
    assert "39 rows placed on the map" in out


def test_names_of_scikit_learn(run, catalogue):
    code, out, err = run(
        "embed", catalogue, "--model", "FastICA", "--features", "hard_*", "-n", 2, "-o", "i.vot"
    )
    assert code == 0, err
    assert "fastica: 2 coordinates of 120 rows by FastICA" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the table has no images and no spectra: say which columns to embed"),
        (("--scale", "standard"), "--scale is for features; give --features too"),
        (("--features", "hard_*", "--model", "tsn"), "no model 'tsn'; did you mean 'tsne'?"),
        (("--features", "hard_*", "--model", "pca", "--epochs", 3), "--epochs has no meaning for PCA"),
        (("--features", "hard_*", "--model", "pca", "--threads", 3), "--threads has no meaning for PCA"),
        (("--features", "hard_*", "-n", 2, "--param", "n_components=3"), "say the same; give one"),
        (("--features", "hard_*", "--param", "colour=3"), "TSNE has no parameter 'colour'"),
        (("--features", "hard_*", "--param", "onto=3"), "--param onto is no parameter of the method"),
        (("--features", "hard_*", "--model", "none.safetensors"), "there is no model file none.safetensors"),
        (("--onto", "cat.vot"), "the table to place onto has no map"),
        (("--features", "nothing"), "no column 'nothing'"),
    ],
)
def test_mistakes_are_one_line(run, catalogue, arguments, message):
    code, _, err = run("embed", catalogue, *arguments, "-o", "out.vot")
    assert code == 2
    assert err.startswith("astro-cluster: ")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("out.vot").exists()


def test_columns_and_files_are_not_lost(run, catalogue):
    made = ("embed", catalogue, "--model", "pca", "--features", "hard_*", "-o", "p.vot")
    assert run(*made)[0] == 0
    assert "p.vot exists already" in run(*made)[2]
    again = ("embed", "p.vot", "--model", "pca", "--features", "hard_hs,hard_hm", "-o", "q.vot")
    assert "already has the column pca" in run(*again)[2]
    assert run(*again, "--overwrite-columns")[0] == 0
    assert ac.read("q.vot")["pca"].shape == (120, 2)


def test_an_interruption_says_how_to_go_on(run, catalogue, monkeypatch, tmp_path):
    def stopped(*_, **__):
        stop = KeyboardInterrupt()
        stop.add_note(f"the training is in {tmp_path / 'c.safetensors'}; in Python …")
        raise stop

    monkeypatch.setitem(vars(ac), "embed", stopped)
    (tmp_path / "c.safetensors").write_bytes(b"")
    line = ("embed", catalogue, "--features", "hard_*", "-o", "x.vot")
    code, _, err = run(*line, "--checkpoint", "c.safetensors")
    assert code == 130
    assert "interrupted; the training is in" in err
    assert err.strip().endswith("to go on, run the same command again")
    assert "nothing is kept (--checkpoint FILE keeps a fit" in run(*line)[2]


def test_an_old_model_file_is_back_if_there_is_no_new_one(run, stamps, monkeypatch):
    def failing(*_, save=None, **__):
        assert not Path(save).exists()
        raise ac.InputError("no")

    monkeypatch.setitem(vars(ac), "embed", failing)
    Path("m.safetensors").write_bytes(b"old")
    code, _, _ = run("embed", stamps, "--save", "m.safetensors", "--overwrite", "-o", "x.vot")
    assert code == 2
    assert Path("m.safetensors").read_bytes() == b"old"
    assert [p.name for p in Path().iterdir() if "old" in p.name] == []


def test_a_checkpoint_is_not_the_table(run, stamps):
    code, _, err = run("embed", stamps, "-o", "a.vot", "--model", "autoencoder", "--checkpoint", "a.vot")
    assert code == 2
    assert "--checkpoint and --output are the same file a.vot" in err
