"""VOTables with cells of all kinds, and fits-plus: STILTS and TOPCAT read ours, and we theirs."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import votable as astropy_votable
from astropy.table import Column, MaskedColumn, QTable

import astro_cluster as ac

from . import programs
from .awkward import assert_same, awkward_table
from .conftest import Topcat, read_plainly

pytestmark = pytest.mark.peers


@pytest.fixture
def lint(stilts):
    """Return a function that gives votlint's complaints; its exit status is always 0."""

    def complaints(path):
        return [
            line for line in stilts("votlint", path).splitlines() if line.startswith(("ERROR", "WARNING"))
        ]

    return complaints


def objects(items):
    out = np.empty(len(items), object)
    for i, item in enumerate(items):
        out[i] = item
    return Column(out)


def new_kinds(rows=12):
    """Several texts a row, and cells of varying length of each type."""
    rng = np.random.default_rng(3)
    lengths = rng.integers(1, 5, rows)
    table = QTable({"id": np.arange(rows)})
    table["ascii"] = np.array([[b"ab", b"c"]] * rows)
    table["words"] = np.array([["η Tau", "x"]] * rows)
    table["cube"] = np.array([[["a", ""], ["b", "cd"], ["", "η"]]] * rows)
    for name, kind in {"bytes": "u1", "shorts": "i2", "ints": "i4", "longs": "i8"}.items():
        table[name] = objects([rng.integers(0, 100, n).astype(kind) for n in lengths])
    table["floats"] = objects([rng.normal(size=n).astype("f4") for n in lengths])
    table["doubles"] = objects([rng.normal(size=n) for n in lengths])
    table["doubles"].unit = u.Jy
    table["flags"] = objects([rng.random(n) > 0.5 for n in lengths])
    table["last"] = MaskedColumn(np.arange(rows), mask=np.arange(rows) % 3 == 0)
    return table


def assert_new_kinds(back, table):
    assert back.colnames == table.colnames
    for name in table.colnames:
        if table[name].dtype.kind == "O":
            for one, other in zip(back[name], table[name], strict=True):
                assert one.dtype == other.dtype, name
                assert np.array_equal(one, other), name
        elif name == "last":
            assert back[name].tolist() == table[name].tolist()
        else:
            assert (
                back[name].tolist() == np.asarray(table[name]).astype(str if name != "id" else int).tolist()
            )


def test_votlint_is_content(lint, tmp_path):
    assert lint(ac.write(new_kinds(), tmp_path / "t.vot")) == []
    assert lint(ac.write(new_kinds()[:0]["id", "ascii", "words", "last"], tmp_path / "none.vot")) == []


@pytest.mark.parametrize("kind", ["votable-tabledata", "votable-binary-inline", "votable-binary2-inline"])
def test_there_and_back(stilts, tmp_path, kind):
    table = new_kinds()
    path = ac.write(table, tmp_path / "t.vot")
    assert stilts("tpipe", f"in={path}", f"ofmt={kind}", f"out={tmp_path / 'back.vot'}") == ""
    back = ac.read(tmp_path / "back.vot")
    assert_new_kinds(back, table)
    assert back["doubles"].info.meta["unit_as_written"] == "Jy"


# In BINARY, STILTS takes a value that is there for the null of bytes.
@pytest.mark.parametrize("kind", ["votable-tabledata", "votable-binary2-inline"])
def test_a_large_table_by_stilts(stilts, tmp_path, kind):
    """Large enough for the loops that read text."""
    table = awkward_table(20_000)
    path = ac.write(table, tmp_path / "t.vot")
    stilts("tpipe", f"in={path}", f"ofmt={kind}", f"out={tmp_path / 'back.vot'}")
    assert_same(ac.read(tmp_path / "back.vot"), table)


def test_a_table_that_stilts_makes(stilts, tmp_path):
    """All of it by STILTS: its types, nulls and units."""
    expressions = [
        "addcol s toString(index)", "addcol d index*0.1", "addcol f (float)(index*0.5)",
        "addcol b index%2==0", "addcol n (int)index%3", "replaceval 0 null n", "addcol v array(index,2,3)",
         "colmeta -units mas/yr -ucd pos.pm -desc speed d",
    ]  # fmt: skip
    for kind in ("votable-tabledata", "votable-binary-inline", "votable-binary2-inline"):
        out = tmp_path / f"{kind}.vot"
        stilts("tpipe", "in=:loop:50", f"cmd={'; '.join(expressions)}", f"ofmt={kind}", f"out={out}")
        table = ac.read(out)
        index = range(1, 51)
        assert table["i"].tolist() == list(range(50))
        assert table["d"].unit == u.mas / u.yr
        assert table["d"].info.meta["ucd"] == "pos.pm"
        assert table["d"].value.tolist() == [i * 0.1 for i in index]
        assert table["b"].tolist() == [i % 2 == 0 for i in index]
        assert table["n"].mask.tolist() == [i % 3 == 0 for i in index]
        assert np.asarray(table["v"].tolist()).tolist() == [[i, 2.0, 3.0] for i in index]


def test_astropy_reads_what_it_can(tmp_path):
    """Its parser knows no several texts a row; the rest it reads."""
    table = new_kinds()
    table.remove_columns(["ascii", "words", "cube", "flags"])
    path = ac.write(table, tmp_path / "t.vot")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array = astropy_votable.parse(io.BytesIO(path.read_bytes())).get_first_table().array
    for name in ("doubles", "longs", "bytes"):
        for one, other in zip(array[name], table[name], strict=True):
            assert np.array_equal(np.ma.getdata(one), other), name


def fit_for_fits():
    table = awkward_table(60)
    table.remove_column("name η π")  # a card of FITS is ASCII
    return table


def test_fits_plus_by_us(stilts, tmp_path):
    table = ac.read(fit_for_fits())
    path = ac.write(table, tmp_path / "t.fits", format="fits-plus")
    said = stilts(
        "tpipe", "ifmt=fits-plus", f"in={path}", "ofmt=votable-binary2-inline", f"out={tmp_path / 'b.vot'}"
    )
    assert said == ""
    back = read_plainly((tmp_path / "b.vot").read_bytes())
    assert back["ra"].unit == u.deg
    assert back["pmra"].unit == u.mas / u.yr
    assert back["ra"].meta["ucd"] == "pos.eq.ra;meta.main"
    assert back["flux"].description.split() == ["The", "flux", "&", "its", "<limits>"]
    assert back["ra"].tolist() == table["ra"].value.tolist()
    assert back["source_id"].tolist() == table["source_id"].tolist()
    assert np.ma.getmaskarray(back["cluster"]).tolist() == table["cluster"].mask.tolist()
    assert ac.records(ac.read(tmp_path / "b.vot")) == ac.records(table)  # it went through as a parameter


def test_fits_plus_there_and_back(stilts, tmp_path):
    table = ac.read(fit_for_fits())
    path = ac.write(table, tmp_path / "t.fits", format="fits-plus")
    stilts("tpipe", "ifmt=fits-plus", f"in={path}", "ofmt=fits-plus", f"out={tmp_path / 'b.fits'}")
    back = ac.read(tmp_path / "b.fits")
    assert back.colnames == table.colnames
    assert ac.records(back) == ac.records(table)
    for name in table.colnames:
        assert (back[name].info.unit or u.one) == (table[name].info.unit or u.one), name
        assert (back[name].info.meta or {}).get("ucd") == (table[name].info.meta or {}).get("ucd"), name
        described = [(column.info.description or "").split() for column in (back[name], table[name])]
        assert described[0] == described[1], name
    assert back["spectrum"].shape == (60, 4)
    assert back["cluster"].mask.tolist() == table["cluster"].mask.tolist()


def test_fits_plus_that_stilts_makes(stilts, tmp_path):
    commands = (
        "addcol d index*0.1; colmeta -units Angstrom -ucd em.wl -desc 'wave & length' d; tablename waves"
    )
    stilts("tpipe", "in=:loop:5", f"cmd={commands}", "ofmt=fits-plus", f"out={tmp_path / 't.fits'}")
    table = ac.read(tmp_path / "t.fits")
    assert table["d"].unit == u.AA
    assert table["d"].info.meta["ucd"] == "em.wl"
    assert table["d"].info.description == "wave & length"
    assert table.meta["name"] == "waves"


def test_topcat_opens_fits_plus(display, require_program, samp_client, tmp_path, monkeypatch):
    require_program("topcat")
    lock = tmp_path / "samp.lock"
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{lock.as_uri()}")
    path = ac.write(ac.read(fit_for_fits()), tmp_path / "plus.fits", format="fits-plus")
    with programs.topcat(display, tmp_path, "-f", "fits-plus", path):
        topcat = Topcat(samp_client(lock))
        table = programs.wait_for(topcat.table, 30, "the table in TOPCAT")
    assert table["pmra"].unit == u.mas / u.yr
    assert table["ra"].meta["ucd"] == "pos.eq.ra;meta.main"
    assert len(table) == 60


def test_topcat_takes_the_new_kinds(topcat):
    table = new_kinds()
    table_id = ac.send(table)
    programs.wait_for(lambda: topcat.knows(table_id), 10, "the table in TOPCAT")
    answer = topcat.call("table.get.stil", format="votable")
    import urllib.request

    with urllib.request.urlopen(answer["samp.result"]["url"], timeout=30) as response:
        back, _ = ac.votable.read_votable(response.read())
    assert_new_kinds(back, table)


def test_parquet_is_not_read_by_this_stilts(stilts, tmp_path):
    """STILTS 3.4.7 of Debian has no libraries for Parquet; a newer one reads the file."""
    path = ac.write(ac.read(QTable({"ra": [1.0, 2.0] * u.deg})), tmp_path / "t.parquet")
    try:
        said = stilts("tpipe", "ifmt=parquet", f"in={path}", "omode=meta")
    except AssertionError as error:
        if "parquet" not in str(error).lower() and "No such format" not in str(error):
            raise
        pytest.skip(f"this STILTS reads no Parquet: {str(error).splitlines()[0][:100]}")
    assert "deg" in said
