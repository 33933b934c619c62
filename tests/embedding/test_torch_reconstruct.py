"""`reconstruct` of images: in the table, in FITS files, and in tables that link to their images."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Column, QTable

import astro_cluster as ac
from astro_cluster.cli import main
from astro_cluster.embedding import load_model
from astro_cluster.exceptions import InputError
from astro_cluster.linked import link_of
from astro_cluster.provenance import content_hash

pytest.importorskip("torch")

from .pictures import ellipses

SMALL = {"n_latent": 3, "epochs": 3, "batch_size": 16, "n_threads": 1, "patience": None, "random_state": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "gal.safetensors"
    ac.embed(_table(), "dense-autoencoder", save=path, **SMALL)
    return path


def _table(n: int = 40) -> QTable:
    pixels, bad = ellipses(n, seed=3), np.arange(n) == 5
    pixels[bad] = np.nan
    return QTable({"source_id": np.arange(n), "image": Column(pixels, copy=False), "image_bad": bad})


def test_images_as_the_model_makes_them(model):
    table = _table()
    out = ac.reconstruct(table, model)
    expected = load_model(model).reconstruct(np.asarray(table["image"])[np.arange(40) != 5])
    np.testing.assert_array_equal(np.asarray(out["reconstruction"])[np.arange(40) != 5], expected)
    assert np.isnan(out["reconstruction"][5]).all()
    assert np.shares_memory(out["image"], table["image"])
    assert content_hash(ac.rerun(out)) == content_hash(out)
    at_once = ac.embed(table, "dense-autoencoder", reconstruction=True, **SMALL)
    np.testing.assert_allclose(at_once["reconstruction"], out["reconstruction"], atol=1e-5)
    with pytest.raises(InputError, match="already has the column reconstruction"):
        ac.reconstruct(out, model)
    with_unit = QTable({"image": np.asarray(table["image"])[:5] * u.nJy})
    assert ac.reconstruct(with_unit, model)["reconstruction"].unit == u.nJy


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command line in an empty folder; give what it says."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[str, str]:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            with pytest.raises(SystemExit) as leave:
                main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert leave.value.code == 0, said.err
        return said.out, said.err

    return call


def test_both_stay_behind_together(run, model):
    """Reconstructions alone would be taken for the images of the table."""
    ac.write(_table(), "gal.fits")
    run("embed", "gal.fits", "--model", model, "-o", "latent.vot")
    images = np.asarray(_table()["image"])
    for source, prefix in (("gal.fits", "a_"), ("latent.vot", "b_")):
        target = f"{prefix}.vot"
        _, err = run("embed", source, "--model", model, "--reconstruction", "--prefix", prefix, "-o", target)
        assert f"images are in {prefix}.images.fits (40 × 16 × 16 float32)" in err
        back = ac.read(target)
        assert link_of(back)["column"] == "image"
        np.testing.assert_array_equal(ac.images_of(back), images)
        found = ac.images_of(back[::-1], f"{prefix}reconstruction")
        expected = np.asarray(ac.reconstruct(_table(), model)["reconstruction"])
        np.testing.assert_allclose(found, expected[::-1], atol=1e-5)
