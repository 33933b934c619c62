"""Tables of spectra that go to TOPCAT: the spectra stay in a FITS file, and are found again."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Column, MaskedColumn, QTable, vstack
from astropy.utils.masked import Masked
from astropy.utils.metadata import MergeConflictWarning

import astro_cluster as ac
from astro_cluster import fitstable, tables
from astro_cluster.cli import main
from astro_cluster.cutouts.leaving import leave_images, remember_stack
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.linked import LINK_KEY, SPECTRA, link_of
from astro_cluster.spectra import grid_of, has_spectra, link_spectra, log_grid, pixels_of, spectra_of
from astro_cluster.spectra.linking import leave_spectra, linked_pixels, remember_spectra, spectrum_columns
from astro_cluster.wavelengths import SPECTRA_KEY, note_spectra, spectra_facts

UNIT = u.Unit("1e-17 erg / (s cm2 Angstrom)")
N, M = 6, 70


def _table(n: int = N, m: int = M, seed: int = 0) -> QTable:
    rng = np.random.default_rng(seed)
    flux, ivar = rng.normal(5, 1, (n, m)).astype("f4"), rng.uniform(1, 2, (n, m)).astype("f4")
    flux[1, :3], ivar[1, :3] = np.nan, 0
    flux[4], ivar[4] = np.nan, 0
    table = QTable(
        {
            "id": np.arange(n),
            "ra": np.linspace(10, 10.1, n) * u.deg,
            "dec": np.linspace(-1, 1, n) * u.deg,
            "spectrum_bad": np.arange(n) == 4,
            "flux": flux * UNIT,
            "ivar": ivar / UNIT**2,
        }
    )
    note_spectra(table, log_grid(4000 * u.AA, 8000 * u.AA, m))
    return table


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A FITS file of six spectra."""
    return ac.write(_table(), tmp_path / "qso.fits")


def _read(path: Path) -> QTable:
    """Read as the command line does."""
    return remember_spectra(remember_stack(ac.read(path), path), path)


def _written(table: QTable, path: Path, **options: bool) -> tuple[QTable, str]:
    """Write as the command line does."""
    table, _ = leave_images(table, path, **options)
    table, note = leave_spectra(table, path, **options)
    ac.write(table, path, overwrite=True)
    return ac.read(path), note


def _assert_spectra(table: QTable, rows: list[int]) -> None:
    """Compare the spectra of a table with those that were written."""
    found, expected = spectra_of(table), _table()
    np.testing.assert_array_equal(found.flux, expected["flux"].value[rows])
    np.testing.assert_array_equal(found.ivar, expected["ivar"].value[rows])
    assert found.unit == UNIT
    assert found.grid == grid_of(expected)
    assert found.usable.tolist() == [row != 4 for row in rows]


# ---------------------------------------------------------------- left behind and found again


@pytest.mark.parametrize("ending", ["vot", "ecsv", "parquet", "vot.gz"])
def test_spectra_stay_in_the_file_that_they_came_from(source, tmp_path, ending, monkeypatch):
    rows = [3, 1, 4, 3]  # as a match may
    table = _read(source)[rows]
    table["latent"] = np.ones((4, 3), dtype="f4")
    back, note = _written(table, tmp_path / f"latent.{ending}")
    assert note == f"spectra stay in qso.fits (6 × 70 float32); latent.{ending} links to it"
    assert back.colnames == ["id", "ra", "dec", "spectrum_bad", "spectrum_row", "latent"]
    assert has_spectra(back)
    monkeypatch.chdir(tmp_path.parent)  # where the program runs does not matter
    _assert_spectra(back, rows)
    _assert_spectra(back[np.argsort(back["id"])], [1, 3, 3, 4])
    # And on, from a linked table to the next.
    after, note = _written(back[1:], tmp_path / "km.ecsv")
    assert "spectra stay in qso.fits" in note
    _assert_spectra(after, rows[1:])
    # In a FITS file they are inside, without a link.
    inside, note = _written(table, tmp_path / "kept.fits")
    assert note == ""
    assert "spectrum_row" not in inside.colnames
    assert SPECTRA.key not in inside.meta
    _assert_spectra(inside, rows)
    # Both are moved together, and what the link says is gone.
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("qso.fits", f"latent.{ending}"):
        shutil.move(tmp_path / name, moved / name)
    _assert_spectra(ac.read(moved / f"latent.{ending}"), rows)


def test_changed_or_new_spectra_are_written_beside(source, tmp_path):
    table = _read(source)
    table["flux"] = table["flux"] * 2
    back, note = _written(table, tmp_path / "twice.vot")
    assert note == "spectra are in twice.spectra.fits (6 × 70 float32); twice.vot links to it"
    np.testing.assert_array_equal(spectra_of(back).flux, _table()["flux"].value * 2)
    np.testing.assert_array_equal(spectra_of(back).ivar, _table()["ivar"].value)
    with pytest.raises(InputError, match=r"spectra would go to .*twice\.spectra\.fits, which exists already"):
        leave_spectra(table, tmp_path / "twice.vot")
    fresh, _ = _written(_table(), tmp_path / "fresh.vot")
    _assert_spectra(fresh, list(range(N)))
    # The file of the spectra alone says what it holds.
    _assert_spectra(link_spectra(QTable({"x": [1, 2]}), tmp_path / "fresh.spectra.fits", rows=[2, 0]), [2, 0])


def test_a_reconstruction_stays_behind_with_its_spectra(source, tmp_path):
    linked, _ = _written(_read(source), tmp_path / "latent.vot")
    cut = linked[[5, 1, 0]]
    made = np.arange(3.0 * M, dtype="f4").reshape(3, M)
    cut["reconstruction"] = made * UNIT
    cut.meta[SPECTRA_KEY] = {**cut.meta[SPECTRA_KEY], "reconstructions": {"reconstruction": "InfoVAE"}}
    np.testing.assert_array_equal(pixels_of(cut, "reconstruction")[0], made)
    back, note = _written(cut, tmp_path / "r.vot")
    assert note.startswith("spectra are in r.spectra.fits (3 × 70 float32)")
    assert [name for name in back.colnames if back[name].ndim > 1] == []
    _assert_spectra(back, [5, 1, 0])
    back = back[::-1]
    values, unit = pixels_of(back, "reconstruction")
    np.testing.assert_array_equal(values, made[::-1])
    assert unit == UNIT
    whole, _ = _written(cut, tmp_path / "r.fits")
    assert {"flux", "ivar", "reconstruction"} <= set(whole.colnames)
    _assert_spectra(whole, [5, 1, 0])


def test_other_columns_on_the_grid_stay_behind_too(source, tmp_path):
    table = _read(source)
    table["sky"] = np.ones((N, M), dtype="f4")
    table["latent"] = np.ones((N, 3))
    assert spectrum_columns(table) == ["flux", "ivar", "sky"]
    back, _ = _written(table, tmp_path / "a.vot")
    assert "sky" not in back.colnames
    np.testing.assert_array_equal(linked_pixels(back, "sky")[0], np.ones((N, M)))
    assert back["latent"].shape == (N, 3)
    assert spectrum_columns(QTable({"latent": np.ones((2, M))})) == []


def test_images_and_spectra_of_one_table(source, tmp_path):
    table = ac.read(source)
    table["image"] = np.random.default_rng(1).random((N, 8, 8)).astype("f4")
    both = ac.write(table, tmp_path / "both.fits")
    read = _read(both)[::-1]
    back, _ = _written(read, tmp_path / "both.vot")
    assert back.colnames == ["id", "ra", "dec", "spectrum_bad", "image_row", "spectrum_row"]
    _assert_spectra(back, list(range(N))[::-1])
    np.testing.assert_array_equal(ac.images_of(back), table["image"][::-1])
    assert link_of(back)["file"] == link_of(back, SPECTRA)["file"] == str(both)


def test_rows_without_a_spectrum(source):
    rows = np.ma.array([3, 0, 1], mask=[False, True, False])
    found = spectra_of(link_spectra(QTable({"id": [1, 2, 3]}), source, rows=rows))
    assert np.isnan(found.flux[1]).all()
    assert (found.ivar[1] == 0).all()
    assert found.usable.tolist() == [True, False, True]
    np.testing.assert_array_equal(found.flux[2], _table()["flux"].value[1])


def test_masked_spectra_are_nan_and_do_not_count():
    table = _table()
    mask = np.zeros((N, M), bool)
    mask[0, :5] = True
    table["flux"], table["ivar"] = Masked(table["flux"], mask=mask), Masked(table["ivar"], mask=mask)
    found = spectra_of(table)
    assert np.isnan(found.flux[0, :5]).all()
    assert (found.ivar[0, :5] == 0).all()
    np.testing.assert_array_equal(found.flux[1:], _table()["flux"].value[1:])


def test_csv_says_that_it_keeps_no_link(source, tmp_path):
    table, note = leave_spectra(_read(source), tmp_path / "a.csv")
    assert "cannot say so: CSV keeps no link" in note
    with pytest.warns(AstroClusterWarning, match="CSV drops"):
        back = ac.read(ac.write(table, tmp_path / "a.csv"))
    with pytest.raises(InputError, match=r"'spectrum_row' and does not say of which file.*link_spectra"):
        spectra_of(back)
    _assert_spectra(link_spectra(back[::-1], source), list(range(N))[::-1])


def test_a_linked_table_runs_again(source, tmp_path):
    out = ac.embed(_read(source), "weighted-pca", n_components=2, random_state=1)
    back, _ = _written(out, tmp_path / "p.vot")
    again = ac.rerun(tmp_path / "p.vot")  # warnings are errors: that the inputs have changed, say
    assert again.colnames == back.colnames
    np.testing.assert_allclose(again["pca"].filled(0), out["pca"].filled(0), rtol=1e-6, atol=1e-6)
    # A step that had the spectra through the link, too.
    linked = ac.embed(back, "weighted-pca", n_components=2, random_state=1, prefix="b_")
    np.testing.assert_allclose(linked["b_pca"].filled(0), out["pca"].filled(0), rtol=1e-6, atol=1e-6)
    _written(linked, tmp_path / "b.vot")
    assert ac.rerun(tmp_path / "b.vot").colnames == linked.colnames


# ---------------------------------------------------------------- what goes wrong


def test_a_file_that_has_gone_is_missed_only_where_it_is_needed(source, tmp_path):
    _written(_read(source), tmp_path / "a.vot")
    source.unlink()
    table = ac.read(tmp_path / "a.vot")
    assert len(table) == N
    with pytest.raises(InputError, match=r"spectra of the table are not where.*qso\.fits.*link_spectra"):
        spectra_of(table)


@pytest.mark.parametrize("change", ["flux", "ivar", "pixels", "rows", "cut", "text", "column"])
def test_a_file_that_has_changed_is_noticed(source, tmp_path, change):
    table, _ = _written(_read(source), tmp_path / "a.vot")
    new = _table(n=7) if change == "rows" else _table(m=M + 1) if change == "pixels" else _table()
    if change in ("flux", "ivar"):
        new[change][5, M - 1] *= 1.001
    if change == "column":
        new.rename_column("flux", "other")
    ac.write(new, source, overwrite=True)
    if change == "cut":
        source.write_bytes(source.read_bytes()[:9_000])
    if change == "text":
        source.write_text("no spectra here")
    message = (
        "has changed since the table was written"
        if change in ("flux", "ivar", "pixels", "rows")
        else "qso.fits"
    )
    with pytest.raises(InputError, match=message):
        spectra_of(table)
    if change == "flux":  # as they are now
        assert spectra_of(link_spectra(table, source)).flux[5, M - 1] == new["flux"].value[5, M - 1]


def test_links_to_what_is_no_table_of_spectra(tmp_path, source):
    plain = ac.write(QTable({"x": [1.0, 2.0]}), tmp_path / "plain.fits")
    with pytest.raises(InputError, match=r"plain\.fits does not say at which wavelengths"):
        link_spectra(QTable({"id": [0]}), plain)
    with pytest.raises(InputError, match="no file"):
        link_spectra(QTable({"id": [0]}), tmp_path / "none.fits")
    (tmp_path / "text.fits").write_text("SIMPLE")
    with pytest.raises(InputError, match=r"text\.fits"):
        link_spectra(QTable({"id": [0]}), tmp_path / "text.fits")
    with pytest.raises(InputError, match="has 6 spectra, and the table names spectrum 6"):
        link_spectra(QTable({"id": [0]}), source, rows=[6])
    with pytest.raises(InputError, match="1 whole numbers, one a row"):
        link_spectra(QTable({"id": [0]}), source, rows=[0.5])


@pytest.mark.parametrize("place", ["x" * 5000, "a\0b.fits", "/dev/zero", "http://example.org/a.fits"])
def test_a_link_opens_nothing_but_a_regular_file(source, tmp_path, place):
    table, _ = _written(_read(source), tmp_path / "a.ecsv")
    table.meta[SPECTRA.key] = {**table.meta[SPECTRA.key], "file": place}
    with pytest.raises(InputError, match="not where they were"):
        spectra_of(table)
    again = _read(ac.write(table, tmp_path / "b.ecsv"))
    assert again.meta[SPECTRA.key]["file"].endswith(place.rpartition("/")[2])


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"beside": {"ivar": {"hash": "sha256:0", "shape": None}}}, r"\('ivar'\) is damaged: .*link_spectra"),
        ({"beside": {"ivar": {"hash": "sha256:0", "shape": 3}}}, r"\('ivar'\) is damaged: .*link_spectra"),
        ({"hash": "", "unit": "parrots"}, "'flux' are said to be in 'parrots', which is no unit"),
    ],
)
def test_links_that_are_damaged_within(source, tmp_path, damage, told):
    table, _ = _written(_read(source), tmp_path / "a.ecsv")
    table.meta[SPECTRA.key] = table.meta[SPECTRA.key] | damage
    with pytest.raises(InputError, match=told):
        spectra_of(table)
    table.meta[SPECTRA.key] = table.meta[SPECTRA.key] | {"beside": {"ivar": "x"}, "unit": ""}
    assert spectra_of(table).ivar.shape == (N, M)


@pytest.mark.parametrize("damage", ["qso.fits", {"file": 3}, {"column": "flux"}, None])
def test_damaged_links_are_no_links(source, tmp_path, damage):
    table, _ = _written(_read(source), tmp_path / "a.ecsv")
    table.meta[SPECTRA.key] = damage
    assert not has_spectra(table)
    with pytest.raises(InputError, match="spectra are in the column 'flux', which it does not have"):
        spectra_of(table)


# ---------------------------------------------------------------- stacked


def test_stacked_tables_of_spectra(source, tmp_path):
    one = ac.write(_table()[:2], tmp_path / "1.fits")
    two = ac.write(_table()[2:], tmp_path / "2.fits")
    _assert_spectra(ac.read([one, two]), list(range(N)))
    plain = ac.write(QTable({"id": [9]}), tmp_path / "3.fits")
    mixed = spectra_of(ac.read([one, plain]))
    assert mixed.usable.tolist() == [True, True, False]
    other = _table()
    note_spectra(other, log_grid(4000 * u.AA, 8000 * u.AA, M, frame="rest"))
    far = ac.write(other, tmp_path / "rest.fits")
    with pytest.raises(InputError, match=r"1\.fits and .*rest\.fits have spectra at different wavelengths"):
        ac.read([one, far])


def test_stacked_links(source, tmp_path):
    _written(_read(source)[:2], tmp_path / "1.vot")
    _written(_read(source)[[5, 3]], tmp_path / "2.vot")
    _assert_spectra(ac.read([tmp_path / "1.vot", tmp_path / "2.vot"]), [0, 1, 5, 3])
    moved = ac.write(_table(seed=3), tmp_path / "other.fits")
    _written(_read(moved), tmp_path / "3.vot")
    with pytest.warns(AstroClusterWarning, match="the stacked table has no spectra"):
        stacked = ac.read([tmp_path / "1.vot", tmp_path / "3.vot"])
    assert "spectrum_row" not in stacked.colnames
    assert not has_spectra(stacked)
    # What astropy stacks is not taken for one file: it puts the lists of the links behind each other.
    tables_ = [ac.read(tmp_path / "1.vot"), ac.read(tmp_path / "3.vot")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MergeConflictWarning)
        mixed = vstack(tables_)
    with pytest.raises(InputError):
        spectra_of(mixed)


# ---------------------------------------------------------------- memory


def test_large_tables_of_spectra_are_not_copied(tmp_path, monkeypatch):
    path = ac.write(_table(), tmp_path / "qso.fits")
    small = ac.read(path)
    monkeypatch.setattr(fitstable, "BLOCK_BYTES", 1000)
    large = ac.read(path)
    assert type(large["flux"]) is u.Quantity
    _assert_spectra(large, list(range(N)))
    _assert_spectra(small, list(range(N)))
    assert large["flux"].info.description == small["flux"].info.description
    assert ac.records(small)[0]["input_hash"] == ac.records(large)[0]["input_hash"]
    assert np.shares_memory(spectra_of(large).flux, large["flux"])
    out = tables.derive(large)
    assert np.shares_memory(out["flux"], large["flux"])
    assert not np.shares_memory(out["ra"], large["ra"])
    few = QTable({"latent": Column(np.ones((3, 8)))})
    assert not np.shares_memory(tables.derive(few)["latent"], few["latent"])


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


def _catalogue(path: Path) -> Path:
    """A catalogue in which two spectra have two entries each, and one has none."""
    table = _table()
    rows = [0, 0, 1, 2, 2, 3, 4]
    out = QTable({"RA": table["ra"][rows], "DEC": table["dec"][rows], "Z": np.arange(7.0)})
    return ac.write(out, path)


def test_a_match_takes_the_spectra_along(run, source, tmp_path):
    _catalogue(tmp_path / "cat.fits")
    run("embed", "qso.fits", "--model", "weighted-pca", "-n", 2, "--reconstruction", "-o", "latent.vot")
    _, err = run("match", "latent.vot", "cat.fits", "--radius", "1arcsec", "--find", "all", "-o", "many.vot")
    assert "note: spectra stay in latent.spectra.fits" in err
    many = ac.read("many.vot")
    rows = [int(i) for i in many["id"]]
    assert sorted(rows) == [0, 0, 1, 2, 2, 3, 4]
    _assert_spectra(many, rows)
    values, _ = pixels_of(many, "reconstruction")
    model = pixels_of(ac.read("latent.vot"), "reconstruction")[0]
    np.testing.assert_array_equal(values, model[rows])
    run("match", "qso.fits", "cat.fits", "--radius", "1arcsec", "--find", "each", "-o", "each.fits")
    each = ac.read("each.fits")
    _assert_spectra(each, [int(i) for i in each["id"]])
    assert "flux" in each.colnames
    assert spectra_facts(each)["grid"] == spectra_facts(many)["grid"]


def test_verbs_say_where_the_spectra_are(run, source):
    out, err = run("embed", "qso.fits", "--model", "weighted-pca", "--n-latent", 3, "-o", "p.vot")
    assert "pca: 3 coordinates of 5 rows by WeightedPCA, from spectra of 70 pixels" in out
    assert "χ² per pixel" in out
    assert "not used: 1 rows (no usable spectrum; masked)" in out
    assert "note: spectra stay in qso.fits (6 × 70 float32); p.vot links to it" in err
    out, err = run("embed", "p.vot", "--model", "pca", "-n", 2, "--prefix", "rows_", "-o", "q.fits")
    assert "1 spectra have pixels that do not count; these were filled (mean" in out
    assert "note: spectra stay in qso.fits" in err  # a linked table stays linked
    _, err = run("embed", "qso.fits", "--model", "pca", "--reconstruction", "-o", "r.vot", code=2)
    assert "a PCA draws no spectra" in err
    assert not Path("r.vot").exists()


def test_stilts_may_sort_and_cut(run, source, require_program):
    stilts = require_program("stilts")
    run("embed", "qso.fits", "--model", "weighted-pca", "-n", 2, "-o", "latent.vot")
    lint = subprocess.run([stilts, "votlint", "latent.vot"], capture_output=True, text=True, check=False)
    told = (lint.stdout + lint.stderr).splitlines()
    assert [line for line in told if line.startswith(("ERROR", "WARNING"))] == []
    command = "tpipe in=latent.vot cmd=sort_-down_dec cmd=head_4 cmd=addcol_first_pca[0] out=cut.vot"
    subprocess.run([stilts, *(word.replace("_", " ") for word in command.split())], check=True)
    cut = ac.read("cut.vot")
    assert cut["id"].tolist() == [5, 4, 3, 2]
    assert cut["pca"].shape == (4, 2)
    np.testing.assert_allclose(np.ma.filled(cut["first"], 0), np.ma.filled(cut["pca"][:, 0], 0))
    _assert_spectra(cut, [5, 4, 3, 2])
    assert LINK_KEY not in cut.meta
    assert isinstance(cut["spectrum_row"], Column | MaskedColumn)
