"""`embed` and `reconstruct` with the InfoVAE: files of models, what is on record, and the 40 real spectra."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

import astro_cluster as ac
from astro_cluster.cli import main
from astro_cluster.embedding import embedding_facts, load_model
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.provenance import content_hash
from astro_cluster.spectra import grid_of, log_grid, pixels_of, spectra_of
from astro_cluster.wavelengths import note_spectra

pytest.importorskip("torch")

from .emission import BAD, GAP, spectra_table

SMALL = {"n_latent": 2, "hidden": (24, 12), "epochs": 25, "batch_size": 16, "n_threads": 1, "random_state": 1}
USED = np.arange(80) != BAD


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[QTable, Path]:
    """Spectra with the latents of a small InfoVAE, and the file of the model."""
    folder = tmp_path_factory.mktemp("models")
    source = ac.write(spectra_table(), folder / "qso.fits")
    out = ac.embed(source, "infovae", save=folder / "best.safetensors", **SMALL)
    return out, folder / "best.safetensors"


def test_by_name(made):
    out, path = made
    assert out.colnames[-3:] == ["latent", "reconstruction_error", "reconstruction_chi2"]
    for name in out.colnames[-3:]:
        masked = np.asarray(out[name].mask).reshape(80, -1).all(axis=1)
        np.testing.assert_array_equal(masked, ~USED)
    facts = embedding_facts(out)
    assert facts["model"] == "InfoVAE"
    assert facts["epochs"] == len(facts["history"]["loss"]) <= 25
    assert {"reconstruction", "kl", "mmd"} <= set(facts["history"])
    assert facts["normalize"] == "median"
    assert facts["n_weights"] > 96 * 24 * 2
    assert facts["saved"]["file"] == path.name
    record = ac.records(out)[-1]
    assert record["seed"] == 1
    assert record["spectra"]["grid"] == grid_of(out).to_plain()
    assert content_hash(ac.rerun(out)) == content_hash(out)


def test_the_errors_are_those_of_the_reconstruction(made):
    out, path = made
    drawn = ac.reconstruct(out, path)
    assert drawn["reconstruction"].unit == out["flux"].unit
    spectra = spectra_of(out)
    left = drawn["reconstruction"].value - spectra.flux
    for row in (0, GAP, 40):
        there = spectra.ivar[row] > 0
        chi2 = np.mean(left[row, there] ** 2 * spectra.ivar[row, there])
        assert out["reconstruction_chi2"][row] == pytest.approx(chi2, rel=1e-3)
        square = np.mean((left[row, there] / np.median(spectra.flux[row, there])) ** 2)
        assert out["reconstruction_error"][row] == pytest.approx(square, rel=1e-3)
    assert np.isnan(drawn["reconstruction"][BAD]).all()
    assert np.isfinite(drawn["reconstruction"][GAP]).all()
    assert content_hash(ac.rerun(drawn)) == content_hash(drawn)
    at_once = ac.embed(spectra_table(), "infovae", reconstruction=True, **SMALL)
    np.testing.assert_allclose(
        at_once["reconstruction"].value[USED], drawn["reconstruction"].value[USED], rtol=1e-4, atol=1e-4
    )


def test_a_saved_model_only_transforms(made):
    out, path = made
    new = spectra_table(30, seed=7)
    placed = ac.embed(new, path)
    expected = load_model(path).transform(new["flux"].value, weights=new["ivar"].value)
    there = np.arange(30) != BAD
    np.testing.assert_array_equal(np.asarray(placed["latent"])[there], expected[there])
    facts = embedding_facts(placed)
    assert "history" not in facts
    assert facts["held_out_chi2"] == embedding_facts(out)["held_out_chi2"]
    assert facts["median_chi2"] > 0
    assert content_hash(ac.rerun(placed)) == content_hash(placed)
    with pytest.raises(InputError, match="an autoencoder is kept in a file"):
        ac.embed(new, "infovae", onto=out)


def test_other_wavelengths_are_refused(made):
    _, path = made
    fewer = spectra_table(m=90)
    with pytest.raises(InputError, match=r"at 90 log-spaced.*the InfoVAE has been fitted at 96.*regrid"):
        ac.embed(fewer, path)
    other = spectra_table()
    note_spectra(other, log_grid(4000 * u.AA, 9000 * u.AA, 96, medium="air"))
    with pytest.raises(InputError, match=r"air.*has been fitted at.*vacuum"):
        ac.reconstruct(other, path)


def test_a_model_that_knows_redshifts(tmp_path):
    qso = spectra_table()
    qso["redshift"][[7, 9]] = np.nan
    with pytest.warns(AstroClusterWarning, match="no redshift"):
        out = ac.embed(qso, "infovae", conditioned=True, save=tmp_path / "z.safetensors", **SMALL)
    assert not out["latent"].mask[7].any()  # latents need no redshift, drawing does
    np.testing.assert_array_equal(out["reconstruction_chi2"].mask, ~USED | np.isin(np.arange(80), [7, 9]))
    assert ac.records(out)[-1]["spectra"]["redshift"] == "redshift"
    qso.rename_column("redshift", "z_vi")
    with pytest.raises(InputError, match="no column redshift, Z or z; name it"):
        ac.reconstruct(qso, tmp_path / "z.safetensors")
    again = ac.reconstruct(qso, tmp_path / "z.safetensors", redshift="z_vi")
    assert np.isnan(again["reconstruction"][7]).all()
    assert np.isfinite(again["reconstruction"][8]).all()


def test_a_training_that_was_stopped_goes_on(tmp_path):
    qso = spectra_table()

    def stop(epoch: int, numbers: dict[str, float]) -> None:
        if epoch == 8:
            raise KeyboardInterrupt

    kept = tmp_path / "training.safetensors"
    with pytest.raises(KeyboardInterrupt):
        ac.embed(qso, "infovae", checkpoint=kept, progress=stop, **SMALL)
    assert kept.is_file()
    out = ac.embed(qso, "infovae", checkpoint=kept, **SMALL)
    whole = ac.embed(qso, "infovae", **SMALL)
    np.testing.assert_array_equal(out["latent"].filled(0), whole["latent"].filled(0))


# ---------------------------------------------------------------- the command line


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command line in an empty folder; give what it says."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, code: int = 0) -> tuple[str, str]:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            with pytest.raises(SystemExit) as leave:
                main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert leave.value.code == code, said.err
        return said.out, said.err

    return call


def test_by_verbs(run, made):
    _, path = made
    ac.write(spectra_table(), "qso.fits")
    out, err = run("embed", "qso.fits", "--model", path, "-o", "latent.vot")
    assert "latent: 2 coordinates of 79 rows by InfoVAE, from spectra of 96 pixels" in out
    assert "held-out χ² per pixel" in out
    assert "note: spectra stay in qso.fits (80 × 96 float32); latent.vot links to it" in err
    assert not Path("latent.spectra.fits").exists()
    options = ("--n-latent", 3, "--epochs", 2, "--param", "hidden=24,12", "--param", "alpha=0.5")
    run("embed", "qso.fits", "--model", "infovae", *options, "--reconstruction", "--seed", 2, "-o", "r.vot")
    table = ac.read("r.vot")
    assert table["latent"].shape == (80, 3)
    values, unit = pixels_of(table, "reconstruction")
    assert values.shape == (80, 96)
    assert unit == spectra_table()["flux"].unit
    parameters = ac.records(table)[-1]["parameters"]
    assert parameters["reconstruction"] is True
    _, err = run("embed", "qso.fits", "--model", path, "-n", 4, "-o", "no.vot", code=2)
    assert "parameters of a model that is given as an object or a file are its own" in err


@pytest.mark.realdata
def test_forty_real_spectra(run, real_data, require_program):
    run("spectra", f"{real_data}/quasars/spec/*.fits", "-o", "qso.fits", "--grid", "3625:9000:1500")
    fast = ("--epochs", 5, "--n-latent", 3, "--seed", 1, "--threads", 1)
    out, _ = run(
        "embed", "qso.fits", "--model", "infovae", *fast, "--save", "best.safetensors", "-o", "t.vot"
    )
    assert "latent: 3 coordinates of 40 rows by InfoVAE, from spectra of 1,500 pixels" in out
    run("embed", "qso.fits", "--model", "best.safetensors", "-o", "latent.vot")
    latent = ac.read("latent.vot")
    np.testing.assert_allclose(latent["latent"], ac.read("t.vot")["latent"], atol=1e-5)
    whole = spectra_of(ac.read("qso.fits"))
    np.testing.assert_array_equal(spectra_of(latent[::-1]).flux, whole.flux[::-1])
    # A catalogue with two entries for some of them: the rows multiply, their spectra with them.
    rows = np.array([0, 0, 3, 7, 7, 39])
    catalogue = QTable({"RA": latent["ra"][rows], "DEC": latent["dec"][rows], "Z": latent["redshift"][rows]})
    ac.write(catalogue, "cat.fits")
    run("match", "latent.vot", "cat.fits", "--radius", "1arcsec", "--find", "all", "-o", "both.vot")
    both = ac.read("both.vot")
    assert sorted(both["source_id"]) == sorted(latent["source_id"][rows])
    place = {name: row for row, name in enumerate(latent["source_id"])}
    order = [place[name] for name in both["source_id"]]
    np.testing.assert_array_equal(spectra_of(both).flux, whole.flux[order])
    run("rerun", "latent.vot", "-o", "again.vot")
    assert content_hash(ac.read("again.vot")) == content_hash(latent)
    run("embed", "qso.fits", "--model", "weighted-pca", "-n", 3, "--reconstruction", "-o", "pca.fits")
    drawn = ac.read("pca.fits")
    counts = whole.ivar > 0
    left = (drawn["reconstruction"].value - whole.flux)[counts] * np.sqrt(whole.ivar[counts])
    level = np.nanmedian(whole.flux, axis=1, keepdims=True)
    flat = (whole.flux - level)[counts] * np.sqrt(whole.ivar[counts])
    assert np.mean(left**2) < 0.5 * np.mean(flat**2)
    run("embed", "qso.fits", "--model", "tsne", "--perplexity", 8, "--seed", 1, "-o", "map.vot")
    assert embedding_facts(ac.read("map.vot"))["trustworthiness"] > 0.7
