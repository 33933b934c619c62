"""What is read fast is the same as what astropy reads."""

from __future__ import annotations

import gzip
import io
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import votable as astropy_votable
from astropy.io.votable.exceptions import VOWarning
from astropy.table import MaskedColumn, QTable
from astropy.utils.masked import Masked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import astro_cluster as ac
from astro_cluster.exceptions import InputError
from astro_cluster.votable import binary, compiling, decode, read_votable, tabledata
from astro_cluster.votable.layout import UnusualError

from ..peers.awkward import awkward_table  # noqa: TID252 - one for all
from .documents import (
    SERIALISATIONS,
    assert_equal,
    by_astropy,
    objects,
    small,
    varying,
    written,
)
from .documents import (
    tabledata as in_text,
)


@pytest.fixture(params=["interpreted", "compiled"])
def fast(request, monkeypatch):
    """Read everything by our own loops, as few or as many rows as there are."""
    monkeypatch.setattr(tabledata, "WORTH_IT", 0)
    if request.param == "compiled":
        monkeypatch.setattr(compiling, "WORTH_IT", 0)


def whole_by_astropy(source, **options):
    """Read by astropy's parser alone."""

    def refuse(*args):
        raise UnusualError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "_fast", refuse)
        return read_votable(source, **options)


def assert_same_reading(document: bytes) -> None:
    try:
        wanted, wanted_infos = whole_by_astropy(document)
    except InputError:  # such as a NaN among complex numbers, which it cannot read as it writes it
        with pytest.raises(InputError):
            read_votable(document)
        return
    got, infos = read_votable(document)
    assert_equal(got, wanted)
    assert infos == wanted_infos


def without(table: QTable, *names: str) -> QTable:
    return table[[name for name in table.colnames if name not in names]]


@pytest.mark.parametrize("rows", [0, 1, 2, 200])
def test_the_awkward_table(fast, rows):
    assert_same_reading(written(awkward_table(max(rows, 2))[:rows]))


@pytest.mark.parametrize("serialisation", SERIALISATIONS)
@pytest.mark.parametrize("rows", [0, 1, 50])
def test_the_awkward_table_in_every_serialisation(fast, serialisation, rows):
    table = awkward_table(50)[:rows]
    # BINARY and TABLEDATA of astropy have no null for integers.
    masked = [n for n in table.colnames if table[n].dtype.kind in "iu" and hasattr(table[n], "mask")]
    table = without(table, *(masked if serialisation != "binary2" else []))
    assert_same_reading(by_astropy(written(table), serialisation))


def real_files(folder):
    paths = sorted([*folder.glob("**/*.vot"), *folder.glob("**/*.xml")])
    assert len(paths) > 10
    return [path.read_bytes() for path in paths]


@pytest.mark.filterwarnings("ignore::astro_cluster.exceptions.AstroClusterWarning")
def test_real_files(real_data, fast):
    for document in real_files(real_data):
        assert_same_reading(document)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::astro_cluster.exceptions.AstroClusterWarning")
@pytest.mark.parametrize("serialisation", SERIALISATIONS)
def test_real_files_in_every_serialisation(real_data, serialisation, monkeypatch):
    monkeypatch.setattr(tabledata, "WORTH_IT", 0)
    compared = 0
    for document in real_files(real_data):
        try:
            again = by_astropy(document, serialisation)
            wanted, _ = whole_by_astropy(again)
        except (InputError, ValueError, TypeError, VOWarning):
            continue  # astropy cannot write it so, or not so that it can read it
        assert_equal(read_votable(again)[0], wanted)
        compared += 1
    assert compared > 5


_COLUMNS = st.one_of(
    hnp.arrays(st.sampled_from(["i2", "i4", "i8", "u1", "f4", "f8", "c8", "c16"]), 7),
    hnp.arrays(st.sampled_from(["i2", "i8", "u1", "f4", "f8", "c16"]), (7, 3)),
    hnp.arrays("f8", (7, 2, 3)),
    hnp.arrays("?", 7),
    hnp.arrays("?", (7, 2)),
    hnp.arrays("U6", 7, elements=st.text("abcö Ω'\"<&>😀", max_size=3)),
    hnp.arrays("S5", 7, elements=st.text("abc <&>", max_size=5).map(str.encode)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.lists(_COLUMNS, min_size=1, max_size=4),
    mask=hnp.arrays("?", 7),
    kind=st.sampled_from(SERIALISATIONS),
)
def test_any_table(fast, data, mask, kind):
    table = QTable()
    for i, values in enumerate(data):
        shaped = np.broadcast_to(mask.reshape(-1, *[1] * (values.ndim - 1)), values.shape)
        table[f"c{i}"] = MaskedColumn(
            values, mask=shaped if kind == "binary2" and values.ndim == 1 else False
        )
    document = written(table)
    assert_same_reading(document)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = by_astropy(document, kind)
    assert_same_reading(again)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.lists(
        st.one_of(
            st.floats().map(repr),
            st.floats(width=32).map(lambda x: f"{x:.9g}"),
            st.from_regex(r"[+-]?[0-9]{0,25}\.?[0-9]{0,25}([eE][+-]?[0-9]{1,3})?", fullmatch=True),
            st.sampled_from(
                ["", "NaN", "nan", "+Inf", "-inf", " 1.5 ", "1_0", "0x1p3", "1e400", "-0", "null", "."]
            ),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_numbers_are_those_that_python_reads(fast, numbers):
    fields = ['datatype="double"/>', 'datatype="float"/>', 'datatype="double"><VALUES null="-9.5"/></FIELD>']
    assert_same_reading(in_text(fields, [[number] * 3 for number in numbers]))


@pytest.mark.parametrize("version", ["1.1", "1.2", "1.3", "1.4"])
@pytest.mark.parametrize(
    ("field", "cells"),
    [
        ('datatype="int"/>', ["1", "-2", "+3", "", "0x1F", "2147483647"]),
        ('datatype="int"><VALUES null="-9"/></FIELD>', ["1", "", "-9", "nan"]),
        ('datatype="short"/>', ["70000", "-70000", "007"]),
        ('datatype="long"/>', ["9223372036854775807", "-9223372036854775808", "999999999999999999"]),
        ('datatype="unsignedByte"/>', ["0", "255", "256"]),
        ('datatype="boolean"/>', ["T", "f", "1", "0", "true", "FALSE", "?", "", "True"]),
        ('datatype="bit"/>', ["1", "0", "1"]),
        ('datatype="bit" arraysize="5"/>', ["10101", "1 0 1 0 1"]),
        ('datatype="double" arraysize="3"/>', ["1 2 3", " 1\n2\t3 ", "1 2 NaN", "1,2,3", "1 2", "1 2 3 4"]),
        ('datatype="int" arraysize="2x2"/>', ["1 2 3 4", "0x1 2 3 4"]),
        ('datatype="double" arraysize="1"/>', ["1", "2"]),
        ('datatype="boolean" arraysize="2"/>', ["T F", "? 1"]),
        ('datatype="floatComplex"/>', ["1 2", "", "NaN"]),
        ('datatype="doubleComplex" arraysize="2"/>', ["1 2 3 4", "5 6 7 8"]),
        ('datatype="char"/>', ["a", "", "&amp;"]),
        (
            'datatype="char" arraysize="*"/>',
            ["a", "", " b ", "&lt;c&gt;", "&#233;", "\r\nd\re", "x &quot; &apos;"],
        ),
        ('datatype="char" arraysize="3"/>', ["abc", "a", "&amp;x"]),
        ('datatype="char" arraysize="5*"/>', ["abc", "", "xy"]),
        ('datatype="unicodeChar" arraysize="*"/>', ["ηΩ", "昴", "😀", ""]),
        ('datatype="float" arraysize="*"/>', ["1 2", "", "NaN 1", ".5"]),
        ('datatype="long" arraysize="*"/>', ["1 2", "", "0x10", "4611686018427387905"]),
        ('datatype="double" arraysize="2x*"/>', ["1 2 3 4", "5 6"]),
        ('datatype="char" arraysize="*" xtype="timestamp"/>', ["2020-01-01T00:00:00", ""]),
        ('datatype="double" unit="deg" ucd="pos.eq.ra" precision="3"/>', ["1", "2"]),
        ('datatype="int" unit="s"/>', ["1", "", "2"]),
    ],
)
def test_cells_of_tabledata(fast, version, field, cells):
    assert_same_reading(
        in_text([field, 'datatype="int"/>'], [[cell, "1"] for cell in cells], version=version)
    )


@pytest.mark.parametrize(
    "body",
    [
        "<TR><TD>1</TD></TR>",
        " <TR > <TD >1</TD>\n</TR>\r\n",
        "<TR><TD/></TR><TR><TD>2</TD></TR>",
        '<TR ID="a"><TD>1</TD></TR>',
        "<TR><TD><!-- a comment -->1</TD></TR>",
        "<TR><TD><![CDATA[1]]></TD></TR>",
        "<!-- <TR><TD>5</TD></TR> --><TR><TD>1</TD></TR>",
        '<TR><TD encoding="base64">AAAAAQ==</TD></TR>',
        "<vot:TR xmlns:vot='x'><vot:TD>1</vot:TD></vot:TR>",
        "",
    ],
)
def test_every_way_to_write_a_row(fast, body):
    document = in_text(['datatype="int"/>'], []).replace(b"<TABLEDATA>\n", b"<TABLEDATA>" + body.encode())
    assert_same_reading(document)


@pytest.mark.parametrize(
    "body", ["<TR><TD>1</TD><TD>2</TD></TR>", "<TR></TR>", "<TR><TD>x</TD></TR>", "<TR><TD>1</TR>"]
)
def test_rows_that_are_wrong(fast, body):
    document = in_text(['datatype="int"/>'], []).replace(b"<TABLEDATA>\n", b"<TABLEDATA>" + body.encode())
    with pytest.raises(InputError, match="cannot be read"):
        read_votable(document)


def test_other_encodings(fast):
    document = in_text(['datatype="char" arraysize="*"/>'], [["Pléiades"], ["η"]])
    wanted = ["Pléiades", "η"]
    assert read_votable(document)[0]["c0"].tolist() == wanted
    text = document.decode()
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        told = text.replace("utf-8", "utf-16")
        assert read_votable(told.encode(encoding))[0]["c0"].tolist() == wanted, encoding
    latin = text.replace("η", "x").replace("utf-8", "ISO-8859-1").encode("latin-1")
    assert read_votable(latin)[0]["c0"].tolist() == ["Pléiades", "x"]
    with pytest.raises(InputError, match="cannot be read"):
        read_votable(text.encode("latin-1", "replace"))  # not what it says


def test_cells_of_varying_length(fast):
    table = varying(40)
    got, _ = read_votable(written(table))
    for name in table.colnames:
        ours, theirs = got[name], table[name]
        if theirs.dtype.kind != "O":
            assert ours.info.unit == theirs.info.unit
            assert np.array_equal(ours, theirs), name
            continue
        for one, other in zip(ours, theirs, strict=True):
            assert one.dtype == other.dtype, name
            assert np.array_equal(one, other), name
    assert got["spectrum"].info.meta["unit_as_written"] == "Jy"
    assert b'unit="Jy"' in written(got)


@pytest.mark.parametrize("serialisation", ["tabledata", "binary", "binary2"])
def test_cells_of_varying_length_by_astropy(fast, serialisation):
    fields = [
        'datatype="double" arraysize="*"/>',
        'datatype="char" arraysize="*"/>',
        'datatype="int"/>',
        'datatype="unicodeChar" arraysize="*"/>',
        'datatype="double" arraysize="*"/>',
    ]
    rows = [
        ["1 2 3", "abc", "1", "η", ""],
        ["", "", "2", "", "4"],
        ["5", "a longer text", "3", "昴😀", "NaN 6"],
    ]
    document = by_astropy(in_text(fields, rows), serialisation)
    assert_same_reading(document)
    table = read_votable(document)[0]
    assert [item.tolist() for item in table["c0"]] == [[1, 2, 3], [], [5]]
    assert table["c1"].tolist() == ["abc", "", "a longer text"]
    assert table["c3"].tolist() == ["η", "", "昴😀"]
    assert np.ma.getmaskarray(table["c4"][2]).tolist() == [True, False]


def test_a_row_that_is_longer_than_a_block(monkeypatch, fast):
    monkeypatch.setattr(binary, "_BLOCK", 64)
    table = QTable(
        {"x": np.arange(3), "long": objects([np.arange(1000.0), np.arange(3.0), np.arange(500.0)])}
    )
    got, _ = read_votable(written(table))
    assert [len(item) for item in got["long"]] == [1000, 3, 500]
    assert got["x"].tolist() == [0, 1, 2]
    assert got["long"][2][-1] == 499.0


def test_blocks_do_not_matter(monkeypatch, fast):
    document, text = written(awkward_table(50)), by_astropy(written(small(50)), "tabledata")
    wanted, wanted_text = read_votable(document)[0], read_votable(text)[0]
    for size in (4, 37, 1000):
        monkeypatch.setattr(binary, "_BLOCK", size)
        assert_equal(read_votable(document)[0], wanted)
    for size in (300, 1000):
        monkeypatch.setattr(tabledata, "_BLOCK", size)
        assert_equal(read_votable(text)[0], wanted_text)


def test_one_of_several_tables(fast):
    one, two, three = (written(QTable({name: np.arange(3) + i})) for i, name in enumerate("abc"))
    part = [text[text.index(b"<TABLE") : text.index(b"</TABLE>") + 8] for text in (one, two, three)]
    # astropy counts those of a RESOURCE before those of the ones within it.
    inside = b"<RESOURCE>" + part[0] + b"</RESOURCE>"
    document = one.replace(part[0], inside + part[1] + part[2])
    found = [read_votable(document, table=i)[0] for i in range(3)]
    wanted = [whole_by_astropy(document, table=i)[0] for i in range(3)]
    assert [table.colnames for table in found] == [["b"], ["c"], ["a"]]
    for got, expected in zip(found, wanted, strict=True):
        assert_equal(got, expected)
    with pytest.raises(InputError, match="holds 3 tables; there is no table number 3"):
        read_votable(document, table=3)


def test_a_table_that_refers_to_the_fields_of_another(fast):
    text = written(QTable({"a": np.arange(3), "n": np.array([["x", "yy"]] * 3)}))
    table = text[text.index(b"<TABLE") : text.index(b"</TABLE>") + 8]
    data = table[table.index(b"<DATA>") :]
    document = text.replace(table, table.replace(b"<TABLE ", b'<TABLE ID="t" ') + b'<TABLE ref="t">' + data)
    assert read_votable(document, table=1)[0]["a"].tolist() == [0, 1, 2]
    assert read_votable(document, table=1)[0]["n"].tolist() == [["x", "yy"]] * 3


@pytest.mark.parametrize("kind", ["path", "gzip", "bytes", "memory", "file", "stream", "zipped stream"])
def test_every_source(tmp_path, kind):
    document = written(small(300))
    path = tmp_path / ("t.vot.gz" if kind == "gzip" else "t.vot")
    path.write_bytes(gzip.compress(document) if kind == "gzip" else document)

    class Stream(io.RawIOBase):
        """What can be read once only."""

        def __init__(self, data):
            self.rest = data

        def read(self, size=-1):
            part, self.rest = self.rest[:1000], self.rest[1000:]
            return part

    with path.open("rb") as file:
        source = {
            "path": path, "gzip": path, "bytes": document, "memory": io.BytesIO(document), "file": file,
            "stream": Stream(document), "zipped stream": Stream(gzip.compress(document)),
        }[kind]  # fmt: skip
        assert_equal(read_votable(source)[0], read_votable(document)[0])


def test_a_packed_stream():
    document = written(small(50))
    start = document.index(b'base64">') + 8
    stop = document.index(b"</STREAM>")
    import base64

    packed = base64.b64encode(gzip.compress(base64.b64decode(document[start:stop])))
    changed = document[:start].replace(b'"base64"', b'"gzip"') + packed + document[stop:]
    assert_equal(read_votable(changed)[0], read_votable(document)[0])


def test_base64_in_lines():
    document = written(small(50))
    start, stop = document.index(b'base64">') + 8, document.index(b"</STREAM>")
    text = document[start:stop]
    lines = b"\r\n\t ".join(text[i : i + 63] for i in range(0, len(text), 63))
    changed = document[:start] + b"\n" + lines + b"\n" + document[stop:]
    assert_equal(read_votable(changed)[0], read_votable(document)[0])
    for odd in (b"<!-- x -->", b"<![CDATA[]]>", b"&#10;"):
        changed = document[: start + 40] + odd + document[start + 40 :]
        assert_equal(read_votable(changed)[0], read_votable(document)[0])


def test_positions_and_units_come_back():
    table = QTable(
        {
            "pos": SkyCoord([1.0, 2.0], [3.0, 4.0], unit="deg"),
            "m": Masked([1.0, 2.0], mask=[True, False]) * u.earthMass,
        }
    )
    got, _ = read_votable(written(table))
    assert isinstance(got["pos"], SkyCoord)
    assert got["m"].unit == u.earthMass
    assert got["m"].mask.tolist() == [True, False]


def test_nulls_that_are_declared(fast):
    values = [1, -9, 3]
    field = (
        '<FIELD name="i" datatype="int"><VALUES null="-9"/></FIELD>'
        '<FIELD name="f" datatype="float"><VALUES null="5"/></FIELD>'
    )
    document = (
        in_text([], [])
        .replace(b"<DATA>", field.encode() + b"<DATA>")
        .replace(
            b"<TABLEDATA>\n",
            b"<TABLEDATA>" + "".join(f"<TR><TD>{v}</TD><TD>{v + 4}</TD></TR>" for v in values).encode(),
        )
    )
    for serialisation in SERIALISATIONS:
        again = by_astropy(document, serialisation)
        assert_same_reading(again)
        table = read_votable(again)[0]
        assert table["i"].mask.tolist() == [False, True, False]
        assert table["f"].mask.tolist() == [True, False, False]


def test_what_astropy_alone_says(tmp_path):
    """Without any of our code: the table as astropy's own parser has it."""
    table = awkward_table(30)
    document = written(table)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array = astropy_votable.parse(io.BytesIO(document)).get_first_table().array
    got = ac.read(ac.write(table, tmp_path / "t.vot"))
    for i, name in enumerate(got.colnames):
        column = array[array.dtype.names[i]]
        mask = np.ma.getmaskarray(column)
        ours = (
            np.ma.getmaskarray(np.ma.asarray(got[name]))
            if not hasattr(got[name], "unmasked")
            else got[name].mask
        )
        if column.dtype.kind not in "OU":
            assert np.array_equal(mask, np.broadcast_to(ours, mask.shape)), name
            values = np.ma.getdata(
                np.asarray(getattr(getattr(got[name], "unmasked", got[name]), "value", got[name]))
            )
            assert np.array_equal(column.data[~mask], values[~mask]), name
        else:
            assert (
                np.asarray(column).tolist()
                == np.where(ours, "", np.ma.getdata(np.asarray(got[name]))).tolist()
            ), name
