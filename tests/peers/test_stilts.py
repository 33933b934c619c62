from __future__ import annotations

import re

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time

import astro_cluster as ac

from .awkward import assert_same, awkward_table
from .conftest import read_plainly

pytestmark = pytest.mark.peers


@pytest.fixture
def lint(stilts):
    """Return a function that gives votlint's complaints; its exit status is always 0."""

    def complaints(path):
        said = stilts("votlint", path)
        return [line for line in said.splitlines() if line.startswith(("ERROR", "WARNING"))]

    return complaints


def positions():
    return QTable(
        {
            "pos": SkyCoord([10.0, 20.0], [-5.0, 5.0], unit="deg"),
            "galactic": SkyCoord([10.0, 20.0], [-5.0, 5.0], unit="deg", frame="galactic"),
            "time": Time([2_450_000.5, 2_450_001.25], format="jd"),
            "x": [1.0, 2.0],
        }
    )


def long_record():
    table = QTable({"x": [1.0, 2.0]})
    # Longer than any buffer, and with each character that XML or a shell may stumble over.
    step = {"function": "read", "parameters": {"text": "η <&>\"' \\n\\\\ ]]>" * 20_000}}
    table.meta["astro_cluster"] = [step, step]
    return table


TABLES = {
    "awkward": awkward_table,
    "one row": lambda: awkward_table()[:1],
    "no row": lambda: awkward_table()[:0],
    "masked integers": lambda: QTable(
        {"i": MaskedColumn([1, -(2**63), 2**63 - 1], mask=[True, False, False])}
    ),
    "all masked": lambda: QTable(
        {"i": MaskedColumn([1, 2], mask=True), "s": MaskedColumn(["a", "b"], mask=True)}
    ),
    "flags": lambda: QTable({"one": [True, False], "more": np.eye(2, dtype=bool)}),
    "words": lambda: QTable({"name": ["η Tau", "昴"], "ascii": ["a", ""], "same name ": ["x", "y"]}),
    "vectors": lambda: QTable({"v": np.ones((2, 3)) * u.Jy, "m": np.arange(24).reshape(2, 3, 4)}),
    "positions and times": positions,
    "a long record": long_record,
}


@pytest.mark.parametrize("name", TABLES)
def test_votlint_is_content(lint, tmp_path, name):
    assert lint(ac.write(TABLES[name](), tmp_path / "t.vot")) == []


def test_votlint_complains_of_a_file_that_is_wrong(lint, tmp_path):
    """So that the test above can fail."""
    path = ac.write(QTable({"ra": [1.0] * u.deg}), tmp_path / "t.vot")
    path.write_text(path.read_text().replace('datatype="double"', 'datatype="duble"'))
    assert lint(path)


@pytest.mark.parametrize("rows", [200, 0])
@pytest.mark.parametrize("kind", ["votable-tabledata", "votable-binary2-inline"])
def test_stilts_holds_what_was_written(stilts, tmp_path, kind, rows):
    table = awkward_table()[:rows]
    path = ac.write(table, tmp_path / "t.vot")
    assert stilts("tpipe", f"in={path}", f"ofmt={kind}", f"out={tmp_path / 'back.vot'}") == ""
    assert_same(read_plainly((tmp_path / "back.vot").read_bytes()), table)


def test_positions_and_times_are_numbers_with_units(stilts, tmp_path):
    path = ac.write(positions(), tmp_path / "t.vot")
    stilts("tpipe", f"in={path}", "ofmt=votable", f"out={tmp_path / 'back.vot'}")
    back = read_plainly((tmp_path / "back.vot").read_bytes())
    assert back["pos.ra"].tolist() == [10.0, 20.0]
    assert back["pos.dec"].unit == back["galactic.l"].unit == u.deg
    assert back["pos.ra"].meta["ucd"] == "pos.eq.ra;meta.main"


def test_fits(stilts, tmp_path):
    """To FITS by STILTS and back by us: the values, the masks of floats, units and UCDs."""
    table = awkward_table()
    plain = [n for n in table.colnames if not n.startswith("masked_") and table[n].dtype.kind in "ifu"]
    plain.remove("uint8")
    path = ac.write(table[plain], tmp_path / "t.vot")
    assert stilts("tpipe", f"in={path}", "ofmt=fits-basic", f"out={tmp_path / 't.fits'}") == ""
    back = ac.read(tmp_path / "t.fits")
    assert back.colnames == plain
    for name in plain:
        sent, got = ac.tables.float_values(table[name]), ac.tables.float_values(back[name])
        if table[name].dtype.kind == "f":
            assert np.array_equal(got, sent, equal_nan=True), name
        else:
            seen = ~np.ma.getmaskarray(np.ma.asarray(table[name]))
            assert np.array_equal(np.asarray(back[name])[seen], np.asarray(table[name])[seen]), name
        assert (back[name].unit or u.one) == (table[name].unit or u.one), name
    assert back["ra"].info.meta["ucd"] == "pos.eq.ra;meta.main"


def test_csv(stilts, tmp_path):
    table = awkward_table(50)
    path = ac.write(table, tmp_path / "t.vot")
    stilts("tpipe", f"in={path}", "ofmt=csv", f"out={tmp_path / 't.csv'}")
    back = Table.read(tmp_path / "t.csv", format="ascii.csv", encoding="utf-8", converters={"word": str})
    assert back["source_id"].tolist() == table["source_id"].tolist()
    assert back["ra"].tolist() == table["ra"].value.tolist()
    assert back["name η π"].tolist() == table["name η π"].tolist()
    assert back["cluster"].mask.tolist() == table["cluster"].mask.tolist()


@pytest.mark.parametrize("kind", ["votable-tabledata", "votable-binary2-inline"])
def test_a_table_by_stilts_is_read(stilts, tmp_path, kind):
    """The other way round: what other programs write, we read."""
    table = awkward_table(50)
    path = ac.write(table, tmp_path / "t.vot")
    stilts("tpipe", f"in={path}", f"ofmt={kind}", f"out={tmp_path / 'back.vot'}")
    assert_same(ac.read(tmp_path / "back.vot"), table)


def test_the_record_is_seen(stilts, tmp_path):
    """Other programs show the record among the parameters of the table."""
    path = ac.write(long_record(), tmp_path / "t.vot")
    stilts("tpipe", f"in={path}", "ofmt=votable", f"out={tmp_path / 'back.vot'}")
    assert re.search(r'name="astro_cluster_record"', (tmp_path / "back.vot").read_text(encoding="utf-8"))
