"""`embed` with autoencoders: files of models, checkpoints, masks, and what is on record."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Column, QTable

import astro_cluster as ac
from astro_cluster.cli import main
from astro_cluster.embedding import embedding_facts, load_model
from astro_cluster.exceptions import InputError
from astro_cluster.provenance import content_hash

pytest.importorskip("torch")

SMALL = {"n_latent": 4, "epochs": 3, "batch_size": 16, "held_out": 0.2, "n_threads": 1, "patience": None}


@pytest.fixture(scope="module")
def images() -> QTable:
    rng = np.random.default_rng(4)
    y, x = np.mgrid[-1:1:16j, -1:1:16j]
    width = rng.uniform(0.1, 0.6, 40)
    pixels = np.exp(-(x**2 + y**2) / width[:, np.newaxis, np.newaxis] ** 2) + 0.02 * rng.normal(
        size=(40, 16, 16)
    )
    pixels[7] = np.nan
    pixels[11, :5, :5] = np.nan
    t = QTable({"image": Column(pixels.astype("f4"), copy=False), "image_bad": np.arange(40) == 7})
    return ac.read(t)


@pytest.mark.parametrize("name", ["autoencoder", "conv-autoencoder", "dense-autoencoder"])
def test_by_name(images, name):
    out = ac.embed(images, name, random_state=3, prefix="a_", **SMALL)
    assert out.colnames == [*images.colnames, "a_latent", "a_reconstruction_error"]
    bad = np.arange(40) == 7
    np.testing.assert_array_equal(out["a_latent"].mask.all(axis=1), bad)
    np.testing.assert_array_equal(out["a_reconstruction_error"].mask, bad)
    kept = np.ma.asarray(out["a_latent"])[~bad]
    assert np.isfinite(kept.data).all()
    record = ac.records(out)[-1]
    assert record["seed"] == 3
    assert record["images"]["rows_with_nan"] == 1
    facts = embedding_facts(out)
    assert facts["model"] == ("DenseAutoencoder" if name.startswith("dense") else "ConvAutoencoder")
    assert facts["epochs"] == len(facts["history"]["loss"]) == 3
    assert facts["rows_judged"] == 38
    assert content_hash(ac.rerun(out)) == content_hash(out)


def test_the_class_alone_does_the_same(images):
    model = ac.ConvAutoencoder(random_state=3, **SMALL)
    out = ac.embed(images, model)
    assert not hasattr(model, "history_")
    usable = np.arange(40) != 7
    alone = ac.ConvAutoencoder(random_state=3, **SMALL).fit(np.asarray(images["image"])[usable])
    np.testing.assert_array_equal(out["latent"][usable], alone.transform(np.asarray(images["image"])[usable]))


def test_a_saved_model_places_new_images(images, tmp_path):
    path = tmp_path / "model.safetensors"
    out = ac.embed(images, "conv-autoencoder", random_state=1, save=path, **SMALL)
    assert embedding_facts(out)["saved"]["file"] == "model.safetensors"
    new = images[20:30]
    for model in (path, str(path), load_model(path)):
        placed = ac.embed(new, model)
        np.testing.assert_allclose(placed["latent"], out["latent"][20:30], atol=1e-6)
        assert ac.records(placed)[-1]["seed"] is None
        assert "history" not in embedding_facts(placed)
    refitted = ac.embed(images, path, refit=True, random_state=1)
    np.testing.assert_array_equal(refitted["latent"], out["latent"])
    with pytest.raises(InputError, match="are its own: set them on the object"):
        ac.embed(new, path, epochs=3)
    with pytest.raises(InputError, match="an autoencoder is kept in a file"):
        ac.embed(new, "conv-autoencoder", onto=out)
    with pytest.raises(InputError, match="missing='mean' would put the mean of the new images"):
        ac.embed(new, path, missing="mean")
    with pytest.raises(InputError, match="checkpoint has no meaning"):
        ac.embed(new, path, checkpoint=tmp_path / "c.safetensors")


def test_the_record_of_a_file(images, tmp_path):
    path = tmp_path / "model.safetensors"
    ac.embed(images, "conv-autoencoder", random_state=1, save=path, **SMALL)
    placed = ac.embed(images[:9], path)
    kept = ac.records(placed)[-1]["parameters"]["model"]["value"]
    assert kept["file"] == str(path)
    table = ac.write(placed, tmp_path / "placed.fits")
    assert content_hash(ac.rerun(table)) == content_hash(placed)
    # Moved together, the file is found beside the table.
    there = tmp_path / "there"
    there.mkdir()
    path.rename(there / path.name)
    table.rename(there / table.name)
    assert content_hash(ac.rerun(there / table.name)) == content_hash(placed)
    ac.embed(images, "conv-autoencoder", random_state=2, save=there / path.name, overwrite=True, **SMALL)
    with pytest.raises(InputError, match=r"model\.safetensors has changed since the record was made"):
        ac.rerun(there / table.name)
    (there / path.name).unlink()
    with pytest.raises(InputError, match="there is no model file"):
        ac.rerun(there / table.name)


def test_an_object_fitted_elsewhere(images):
    usable = np.asarray(images["image"])[12:]
    fitted = ac.ConvAutoencoder(random_state=1, **SMALL).fit(usable)
    out = ac.embed(images, fitted)
    np.testing.assert_allclose(out["latent"][12:], fitted.transform(usable), atol=1e-6)
    other = ac.embed(images, ac.ConvAutoencoder(random_state=2, **SMALL).fit(usable))
    hashes = [ac.records(t)[-1]["parameters"]["model"]["value"]["weights"] for t in (out, other)]
    assert hashes[0] != hashes[1]
    with pytest.raises(InputError, match=r"fitted elsewhere.*save it"):
        ac.rerun(out)


def test_damaged_files_are_refused(images, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x80\x04nothing that is ever unpickled")
    with pytest.raises(InputError, match=r"model\.safetensors"):
        ac.embed(images, path)
    other = tmp_path / "model.pkl"
    other.write_bytes(b"")
    with pytest.raises(InputError, match=r"a saved autoencoder ends in \.safetensors"):
        ac.embed(images, other)


def test_nan_pixels_may_be_filled(images):
    out = ac.embed(images, "conv-autoencoder", random_state=3, missing="drop", **SMALL)
    np.testing.assert_array_equal(out["latent"].mask.all(axis=1), np.isin(np.arange(40), [7, 11]))
    filled = ac.embed(images, "conv-autoencoder", random_state=3, missing="zero", **SMALL)
    assert embedding_facts(filled)["rows_judged"] == 39


def test_bytes_and_colours():
    pixels = np.random.default_rng(0).integers(0, 256, (30, 12, 16, 3), dtype=np.uint8)
    table = QTable({"image": Column(pixels, copy=False)})
    out = ac.embed(table, "conv-autoencoder", random_state=0, **SMALL)
    assert out["latent"].shape == (30, 4)
    assert ac.records(out)[-1]["images"]["dtype"] == "uint8"


def test_a_training_that_was_stopped_goes_on(images, tmp_path, monkeypatch, capsys):
    from astro_cluster.embedding.autoencoder.checkpoint import TrainingCheckpoint

    monkeypatch.chdir(tmp_path)
    ac.write(images, "gal.fits")
    line = ["embed", "gal.fits", "--model", "conv-autoencoder", "--epochs", "5", "-n", "4", "--threads", "1"]
    line += ["--param", "batch_size=16", "--param", "patience=None", "--checkpoint", "c.safetensors"]

    def called(*more: str) -> tuple[int, str, str]:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            with pytest.raises(SystemExit) as leave:
                main([*line, *more])
        out = capsys.readouterr()
        return leave.value.code, out.out, out.err

    own, seen = TrainingCheckpoint.on_epoch, []

    def stopping(self, training):
        own(self, training)
        seen.append(None)
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingCheckpoint, "on_epoch", stopping)
    code, _, err = called("-o", "out.fits")
    assert code == 130
    assert "the training after 2 epochs is in" in err
    assert "to go on, run the same command again" in err
    assert not Path("out.fits").exists()
    code, out, err = called("-o", "out.fits")
    assert code == 0, err
    assert "5 epochs" in out
    assert len(seen) == 5
    whole = ac.rerun("out.fits")
    np.testing.assert_array_equal(ac.read("out.fits")["latent"], whole["latent"])
    assert main_says(capsys, "record", "out.fits").count("ConvAutoencoder") == 2


def main_says(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit):
        main(list(arguments))
    return capsys.readouterr().out


def test_a_model_file_may_take_the_place_of_itself(images, tmp_path, capsys):
    table, model = ac.write(images, tmp_path / "gal.fits"), tmp_path / "ae.safetensors"
    ac.embed(images, "dense-autoencoder", save=model, faithfulness=False, **SMALL)
    old = model.read_bytes()
    words = ["embed", table, "-o", tmp_path / "a.vot", "--model", model, "--save", model, "--overwrite"]

    def run(*more: str) -> int:
        with pytest.raises(SystemExit) as leave:
            main([str(word) for word in (*words, "--no-faithfulness", *more)])
        return leave.value.code

    assert run() == 2
    assert "is the model itself; leave it out, or give --refit" in capsys.readouterr().err
    assert model.read_bytes() == old
    assert run("--refit", "--seed", "5") == 0
    assert ac.embedding.load_model(model).random_state == 5
