"""Latents of spectra in STILTS: a clean file, and the right spectra after it has sorted and matched rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

import astro_cluster as ac
from astro_cluster.cli import main

pytestmark = pytest.mark.peers


def run(*arguments: object) -> None:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    assert left.value.code == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Spectra, their latents and a catalogue, as the verbs make them."""
    folder = tmp_path_factory.mktemp("quasars")
    quasars = ac.simulate.quasars(80, grid="3625:9000:150", random_state=3)
    ac.write(quasars, folder / "qso.fits")
    run(
        "embed",
        folder / "qso.fits",
        "--model",
        "weighted-pca",
        "-n",
        4,
        "--seed",
        1,
        "-o",
        folder / "latent.vot",
    )
    rng = np.random.default_rng(1)
    rows = np.r_[np.arange(60), 5, 5]  # some objects have no counterpart, one has three
    catalogue = QTable(
        {"RA": quasars["ra"][rows], "DEC": quasars["dec"][rows] + rng.normal(0, 0.1, 62) * u.arcsec}
    )
    catalogue["Z"] = np.asarray(quasars["redshift"])[rows]
    catalogue["BAL_PROB"] = np.where(np.asarray(quasars["bal"])[rows], 1.0, 0.0)
    ac.write(catalogue, folder / "dr16q.fits")
    return folder


def flux_by_name(folder: Path) -> dict[str, np.ndarray]:
    table = ac.read(folder / "qso.fits")
    return dict(zip(table["source_id"].tolist(), ac.spectra_of(table).flux, strict=True))


def assert_right_spectra(table: QTable, folder: Path) -> None:
    right = flux_by_name(folder)
    found = ac.spectra_of(table).flux
    assert len(found) == len(table) > 0
    for name, flux in zip(table["source_id"].tolist(), found, strict=True):
        np.testing.assert_array_equal(flux, right[name])


def complaints(stilts, path: Path) -> list[str]:
    return [line for line in stilts("votlint", path).splitlines() if line.startswith(("ERROR", "WARNING"))]


def test_votlint_is_clean(stilts, folder):
    table = ac.read(folder / "latent.vot")
    assert table["pca"].shape == (80, 4)
    assert "spectrum_row" in table.colnames
    assert complaints(stilts, folder / "latent.vot") == []


@pytest.mark.parametrize("kind", ["votable-tabledata", "votable-binary-inline", "votable-binary2-inline"])
def test_sorted_rows_have_the_right_spectra(stilts, folder, kind):
    out = folder / f"{kind}.vot"
    commands = "sort -down redshift; select bal==false; head 20; delcols dec"
    assert stilts("tpipe", folder / "latent.vot", f"cmd={commands}", f"ofmt={kind}", f"out={out}") == ""
    table = ac.read(out)
    assert len(table) == 20
    assert (np.diff(np.asarray(table["redshift"])) <= 0).all()
    assert_right_spectra(table, folder)
    given = ac.read(folder / "latent.vot")
    latents = dict(zip(given["source_id"].tolist(), given["pca"].tolist(), strict=True))
    for name, latent in zip(table["source_id"].tolist(), table["pca"].tolist(), strict=True):
        assert latent == latents[name]


def test_stilts_counts_in_the_latents(stilts, folder):
    """It knows them as an array of four numbers a row."""
    commands = "addcol first pca[0]; addcol wide size(pca); stats Name Minimum Maximum"
    said = stilts("tpipe", folder / "latent.vot", f"cmd={commands}", "ofmt=csv")
    rows = {line.split(",")[0]: line.split(",")[1:] for line in said.splitlines()[1:]}
    table = ac.read(folder / "latent.vot")
    assert [float(number) for number in rows["wide"]] == [4, 4]
    low, high = (float(number) for number in rows["first"])
    assert (low, high) == pytest.approx((table["pca"][:, 0].min(), table["pca"][:, 0].max()), rel=1e-6)


def test_the_match_with_a_catalogue(stilts, folder):
    out = folder / "latent_dr16q.vot"
    options = ["--radius", "1arcsec", "--find", "each", "--no-false-matches", "--overwrite"]
    run("match", folder / "latent.vot", folder / "dr16q.fits", "-o", out, *options)
    assert complaints(stilts, out) == []
    table = ac.read(out)
    assert len(table) == 80
    assert_right_spectra(table, folder)
    theirs = folder / "theirs.vot"
    how = ["matcher=sky", "params=1", "values1=ra dec", "values2=RA DEC", "join=all1", "find=best1"]
    files = [f"in1={folder / 'latent.vot'}", f"in2={folder / 'dr16q.fits'}", f"out={theirs}"]
    stilts("tmatch2", *files, *how, "progress=none")
    other = ac.read(theirs)
    ours = dict(zip(table["source_id"].tolist(), table["Z"].tolist(), strict=True))
    for row in other:
        z = row["Z"]
        absent = z is np.ma.masked or np.isnan(z)
        assert (ours[row["source_id"]] is None) == absent
        assert absent or ours[row["source_id"]] == z
    assert_right_spectra(other, folder)  # it kept the link through its own join


def test_what_the_catalogue_says_of_rows_that_a_match_repeats(stilts, folder):
    out, ranked = folder / "pairs.vot", folder / "ranked.vot"
    options = ["--radius", "1arcsec", "--find", "all", "--no-false-matches", "--overwrite"]
    run("match", folder / "latent.vot", folder / "dr16q.fits", "-o", out, *options)
    table = ac.read(out)
    assert len(table) > len(np.unique(table["source_id"]))
    assert_right_spectra(table, folder)
    found = ac.rank_correlations(table, "Z", random_state=1)
    assert set(found["count"]) == {60}  # each object once, whatever it is repeated
    run("outliers", out, "-o", ranked, "--overwrite")
    assert complaints(stilts, ranked) == []
    commands = "sort inspection_rank; keepcols 'source_id outlier_reason'; head 1"
    said = stilts("tpipe", ranked, f"cmd={commands}", "ofmt=csv")
    first = ac.read(ranked)[np.argmin(ac.read(ranked)["inspection_rank"])]
    assert said.splitlines()[1].split(",") == [first["source_id"], first["outlier_reason"]]


def test_tables_of_relations_are_clean(stilts, folder):
    latent = ac.read(folder / "latent.vot")
    tables = {
        "predicted": ac.predictability(latent, "redshift,M_I", random_state=1),
        "correlated": ac.rank_correlations(latent, "redshift,M_I,bal", samples=20, random_state=1),
    }
    for name, table in tables.items():
        path = ac.write(table, folder / f"{name}.vot", overwrite=True)
        assert complaints(stilts, path) == [], name
        assert stilts("tpipe", path, "omode=count").split()[-1] == str(len(table))
