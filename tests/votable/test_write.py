"""What is written: the types of all columns, blocks, and what is refused."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from astropy import units as u
from astropy.io import votable
from astropy.table import Column, MaskedColumn, QTable
from astropy.utils.masked import Masked

import astro_cluster as ac
from astro_cluster.exceptions import InputError
from astro_cluster.votable import describe, read_votable, write, write_head, write_votable

from .documents import objects, small, varying, written


def test_blocks_do_not_matter(monkeypatch):
    table = varying(50)
    whole = written(table)
    for size in (1, 100, 1000):
        monkeypatch.setattr(write, "_BLOCK_BYTES", size)
        assert written(table) == whole


@pytest.mark.parametrize(
    "texts",
    [
        np.array([["ab", "c"], ["", "déf"]]),
        np.array([[["a", "😀"], ["ccc", ""]]] * 3),
        np.array([[b"ab", b"c"], [b"", b"def"]]),
        np.array([["é".encode(), b"c"]]),
        np.array([["a"], ["bb"]]).astype(">U2"),
    ],
)
def test_several_texts_a_row(texts):
    back = read_votable(written(QTable({"n": np.arange(len(texts)), "t": texts})))[0]["t"]
    wanted = np.char.decode(texts, "utf-8") if texts.dtype.kind == "S" else texts
    assert back.tolist() == wanted.tolist()


def test_masked_texts_of_several_a_row():
    table = QTable({"t": MaskedColumn([["a", "b"], ["c", "d"]], mask=[[True, False], [False, True]])})
    assert read_votable(written(table))[0]["t"].tolist() == [[None, "b"], ["c", None]]


def test_arrays_of_varying_length():
    items = [np.arange(3, dtype="u2"), np.array([70_000], "u4"), [1, 2], (), None, np.ma.array([5, 6])]
    table = QTable({"v": objects(items)})
    back = read_votable(written(table))[0]["v"]
    assert back.mask.tolist() == [False] * 4 + [True, False]
    assert [item.tolist() for item in back[~back.mask]] == [[0, 1, 2], [70_000], [1, 2], [], [5, 6]]
    floats = QTable({"v": objects([np.ma.array([1.0, 2.0], mask=[True, False]), np.zeros(0)])})
    back = read_votable(written(floats))[0]["v"]
    assert np.ma.getmaskarray(back[0]).tolist() == [True, False]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([np.zeros((2, 2)), np.zeros(1)], "not of numbers in one dimension"),
        ([np.array(["a"]), np.array(["b", "c"])], "not of numbers in one dimension"),
        ([np.array([True]), np.array([1])], "mixes booleans with numbers"),
        ([np.array([1j])], "complex arrays of varying length"),
        ([np.array([2**60 + 1]), np.array([0.5])], r"above 2\*\*53"),
        ([np.array([2**63], "u8")], r"above 2\*\*63"),
        ([np.ma.array([1, 2], mask=[True, False])], "masked values that are no floats"),
        ([{}, None], "Python objects"),
        ([np.zeros(1), "a"], "Python objects"),
    ],
)
def test_objects_that_no_votable_has(items, message):
    with pytest.raises(InputError, match=f"'v' .*{message}"):
        write_votable(QTable({"v": objects(items)}), io.BytesIO())


def test_integers_masked_in_part():
    table = QTable({"v": MaskedColumn([[1, 2], [3, 4]], mask=[[True, False], [False, False]])})
    with pytest.raises(InputError, match="some of the integers are masked"):
        written(table)
    table["v"].mask[0] = True
    assert read_votable(written(table))[0]["v"].mask.tolist() == [[True, True], [False, False]]


def test_text_that_is_no_unicode():
    with pytest.raises(InputError, match="'t' holds text that is no Unicode"):
        written(QTable({"t": ["\ud800x"]}))


def test_nulls_of_every_kind():
    mask = [True, False, False]
    table = QTable(
        {
            "f": Masked([1.0, np.nan, 3.0] * u.m, mask=mask),
            "i": MaskedColumn([1, 2, 3], mask=mask),
            "b": MaskedColumn([True, False, True], mask=mask),
            "c": MaskedColumn([1j, 2.0, 3.0], mask=mask),
            "v": MaskedColumn(np.ones((3, 2)), mask=[[True, False], [True, True], [False, False]]),
            "bb": MaskedColumn(np.ones((3, 2), bool), mask=[[True, False], [True, True], [False, False]]),
        }
    )
    back = read_votable(written(table))[0]
    assert back["f"].mask.tolist() == [True, True, False]
    for name in "ib":
        assert back[name].mask.tolist() == mask
    assert back["c"].mask.tolist() == mask
    for name in ("v", "bb"):
        assert back[name].mask.tolist() == table[name].mask.tolist()


def test_memory_does_not_grow_with_the_table():
    rng = np.random.default_rng(1)
    table = QTable({f"x{i}": rng.normal(size=100_000) * u.m for i in range(8)})
    table["name"] = np.array([f"source {i}" for i in range(100_000)])

    class Nowhere(io.RawIOBase):
        def write(self, data):
            return len(data)

    tracemalloc.start()
    try:
        write_votable(table, Nowhere())
        assert tracemalloc.get_traced_memory()[1] < 12_000_000  # the table has 13 MB
    finally:
        tracemalloc.stop()


def test_a_head_describes_a_table(tmp_path):
    table = small()
    head = write_head(table, infos={"note": "n"})
    bare = QTable(
        {name: np.asarray(getattr(table[name], "unmasked", table[name])) for name in table.colnames}
    )
    bare["ra"] = np.asarray(bare["ra"])
    described, infos = describe(bare, head)
    assert infos == {"note": "n"}
    assert described["ra"].unit == u.deg
    assert described["ra"].info.description == "right <ascension>"
    assert described["ra"].info.meta == {"ucd": "pos.eq.ra;meta.main"}
    assert described["ra"].value.tolist() == table["ra"].value.tolist()
    with pytest.raises(InputError, match="DOCTYPE"):
        describe(bare, head.replace(b"<VOTABLE", b"<!DOCTYPE VOTABLE><VOTABLE", 1))
    with pytest.raises(InputError, match="cannot be read"):
        describe(bare, head[:-20])


def test_fits_plus(tmp_path):
    from astropy.io import fits

    table = ac.read(small()["id", "ra", "flux", "count", "name", "vector"])
    path = ac.write(table, tmp_path / "t.fits", format="fits-plus")
    with fits.open(path) as hdus:
        assert hdus[0].header["VOTMETA"] is True
        assert list(hdus[0].header)[4] == "VOTMETA"
        hdus.verify("exception")
        head = hdus[0].data.tobytes()
    assert b"<DATA>" not in head
    back = ac.read(path)
    assert ac.records(back) == ac.records(table)
    assert back["ra"].info.meta == table["ra"].info.meta
    zipped = ac.write(table, tmp_path / "t.fits.gz", format="fits-plus")
    assert ac.read(zipped, format="fits-plus")["ra"].unit == u.deg


def test_fits_plus_of_others(tmp_path):
    """Without what we put into the file for ourselves, the VOTable says it all."""
    from astropy.coordinates import SkyCoord
    from astropy.io import fits

    table = QTable({"pos": SkyCoord([1.0, 2.0], [3.0, 4.0], unit="deg"), "m": [1.0, 2.0] * u.earthMass})
    table["m"].info.description = "η, which no card of FITS can hold"
    path = ac.write(ac.read(table), tmp_path / "t.fits", format="fits-plus")
    with fits.open(path) as hdus:
        fits.HDUList(hdus[:2]).writeto(tmp_path / "plain.fits")
    back = ac.read(tmp_path / "plain.fits")
    assert isinstance(back["pos"], SkyCoord)
    assert back["m"].unit == u.earthMass
    assert back["m"].info.description == table["m"].info.description
    assert [step["function"] for step in ac.records(back)] == ["read"]


def test_parquet_with_a_votable(tmp_path):
    import pyarrow.parquet as pq

    table = small()["id", "ra", "flux", "name", "vector"]
    path = ac.write(table, tmp_path / "t.parquet")
    kept = pq.read_schema(path).metadata
    assert kept[b"IVOA.VOTable-Parquet.version"] == b"1.0"
    # Of a file that says no more than the standard wants:
    only = {key: text for key, text in kept.items() if key.startswith(b"IVOA")}
    pq.write_table(pq.read_table(path).replace_schema_metadata(only), tmp_path / "plain.parquet")
    back = ac.read(tmp_path / "plain.parquet")
    assert back["ra"].unit == u.deg
    assert back["ra"].info.meta == {"ucd": "pos.eq.ra;meta.main"}
    assert back["flux"].mask.tolist() == [False, True, False, False]
    assert back["name"].tolist() == table["name"].tolist()


@pytest.mark.filterwarnings("ignore")
def test_parquet_by_astropy(tmp_path):
    """What astropy writes, and what its parser makes of ours."""
    import pyarrow.parquet as pq
    from astropy.io import votable as astropy_votable
    from astropy.table import Table

    said = {
        "ra": {"unit": "deg", "ucd": "pos.eq.ra", "description": "RA"},
        "n": {"unit": "s", "ucd": "x", "description": "N"},
    }
    path = tmp_path / "theirs.parquet"
    Table({"ra": [1.0, 2.0], "n": [1.5, 2.5]}).write(path, format="parquet.votable", metadata=said)
    back = ac.read(path)
    assert (back["ra"].unit, back["n"].unit) == (u.deg, u.s)
    assert back["ra"].info.description == "RA"
    assert back["ra"].info.meta == {"ucd": "pos.eq.ra"}
    ours = ac.write(small(), tmp_path / "ours.parquet")
    head = pq.read_schema(ours).metadata[b"IVOA.VOTable-Parquet.content"]
    fields = astropy_votable.parse(io.BytesIO(head)).get_first_table().fields
    assert [field.name for field in fields] == pq.read_schema(ours).names
    assert fields[1].unit == u.deg
    assert fields[1].ucd == "pos.eq.ra;meta.main"


def test_columns_of_other_byte_orders():
    table = QTable(
        {
            "x": Column(np.arange(3, dtype=">f8")),
            "t": np.array(["a", "b", "c"], ">U3"),
            "i": np.arange(3, dtype=">i4"),
        }
    )
    back = read_votable(written(table))[0]
    assert back["x"].tolist() == [0.0, 1.0, 2.0]
    assert back["t"].tolist() == ["a", "b", "c"]
    assert back["i"].tolist() == [0, 1, 2]


def test_a_table_without_columns_is_refused():
    file = io.BytesIO()
    with pytest.raises(InputError, match="the table has no columns"):
        write_votable(QTable(), file)
    assert not file.getvalue()


def test_plain_texts_take_a_byte_a_character():
    table = QTable({"plain": ["M 31", ""], "other": ["é", "x"], "wide": np.array(["ab", "c"], ">U2")})
    document = written(table)
    fields = votable.parse(io.BytesIO(document)).get_first_table().fields
    assert [field.datatype for field in fields] == ["char", "unicodeChar", "char"]
    back = read_votable(document)[0]
    assert [back[name].tolist() for name in back.colnames] == [
        table[name].tolist() for name in table.colnames
    ]
    assert back["plain"].dtype.kind == "U"
