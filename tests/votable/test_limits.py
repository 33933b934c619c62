"""What is hostile or damaged is refused with one clear error, before it does harm."""

from __future__ import annotations

import base64
import gzip
import io
import re
import tracemalloc

import numpy as np
import pytest
from astropy.table import QTable

import astro_cluster as ac
from astro_cluster.exceptions import InputError
from astro_cluster.votable import binary, filling, read_votable, scan, tabledata

from .documents import small, varying, written
from .documents import tabledata as in_text

_LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
DOCTYPES = {
    "nothing in it": "<!DOCTYPE VOTABLE>",
    "a DTD elsewhere": '<!DOCTYPE VOTABLE SYSTEM "http://127.0.0.1:9/VOTable.dtd">',
    "an entity": '<!DOCTYPE VOTABLE [<!ENTITY a "b">]>',
    "a file": '<!DOCTYPE VOTABLE [<!ENTITY a SYSTEM "file:///etc/hostname">]>',
    "a parameter": '<!DOCTYPE VOTABLE [<!ENTITY % a SYSTEM "http://127.0.0.1:9/"> %a;]>',
    "a billion laughs": f'<!DOCTYPE VOTABLE [<!ENTITY l0 "ha">{_LAUGHS}]>',
    "behind a comment": '<!-- x -->\n<!DOCTYPE\nVOTABLE\n[<!ENTITY a "b">]>',
}


@pytest.mark.parametrize("name", DOCTYPES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused(name, encoding):
    text = in_text(['datatype="char" arraysize="*"/>'], [["&l9;"]]).decode().replace("utf-8", encoding)
    document = text.replace("<VOTABLE", DOCTYPES[name] + "<VOTABLE", 1).encode(encoding)
    with pytest.raises(InputError, match="has a DOCTYPE or declares entities"):
        read_votable(document)


def test_too_many_bytes(tmp_path):
    document = written(small(1000))
    path = tmp_path / "t.vot"
    path.write_bytes(document)
    with ac.conf.set_temp("max_votable_bytes", len(document) - 1):
        for source in (document, io.BytesIO(document), path):
            with pytest.raises(InputError, match=r"larger than .* bytes, the limit; .*max_votable_bytes"):
                read_votable(source)
        assert len(read_votable(document, max_bytes=len(document))[0]) == 1000
    with pytest.raises(InputError, match=r"t\.vot: the VOTable is larger"):
        read_votable(path, max_bytes=100)


def test_a_bomb_of_gzip_is_not_unpacked(tmp_path):
    packed = gzip.compress(b"<VOTABLE>" + b" " * 200_000_000, 9)
    path = tmp_path / "t.vot.gz"
    path.write_bytes(packed)
    tracemalloc.start()
    try:
        for source in (packed, path):
            with pytest.raises(InputError, match="unpacked, is larger than"):
                read_votable(source, max_bytes=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_bomb_within_a_stream():
    document = written(QTable({"x": [1.0]}))
    start, stop = document.index(b'base64">') + 8, document.index(b"</STREAM>")
    packed = base64.b64encode(gzip.compress(bytes(50_000_000), 9))
    bomb = document[:start].replace(b'"base64"', b'"gzip"') + packed + document[stop:]
    with pytest.raises(InputError, match=r"STREAM of the VOTable, unpacked, is larger"):
        read_votable(bomb, max_bytes=1_000_000)


def test_an_address_is_not_followed():
    document = written(QTable({"x": [1.0]})).replace(b'encoding="base64"', b'\nhref = "file:///etc/hostname"')
    with pytest.raises(InputError, match="STREAM href"):
        read_votable(document)
    commented = written(QTable({"x": [1.0]})).replace(b"<DATA>", b'<!-- <STREAM href="x"> --><DATA>')
    assert read_votable(commented)[0]["x"].tolist() == [1.0]


@pytest.mark.parametrize("kind", ["FITS", "PARQUET"])
def test_data_in_other_files(kind):
    document = in_text(['datatype="int"/>'], [])
    document = re.sub(
        rb"<TABLEDATA>.*</TABLEDATA>", f'<{kind} type="VOTable-remote-file"/>'.encode(), document, flags=re.S
    )
    with pytest.raises(InputError, match=f"another file .{kind}., which is not read"):
        read_votable(document)


def test_nested_too_deep():
    deep = b"<RESOURCE>" * (scan.MAX_DEPTH + 1)
    with pytest.raises(InputError, match="nested more than 100 deep"):
        read_votable(b'<VOTABLE version="1.4">' + deep)


def test_too_many_fields():
    many = ['datatype="int"/>'] * (scan.MAX_FIELDS + 1)
    with pytest.raises(InputError, match="more than 10,000 fields"):
        read_votable(in_text(many, []))


def test_a_header_that_never_ends(monkeypatch):
    monkeypatch.setattr(scan, "MAX_HEAD", 10_000)
    with pytest.raises(InputError, match="10,000 bytes beside its data"):
        read_votable(
            in_text(['datatype="int"/>'], []).replace(
                b"<TABLE>", b"<INFO name='a' value='b'/>" * 999 + b"<TABLE>"
            )
        )


SIZES = {
    "a double": 'datatype="double" arraysize="99999999999"/>',
    "two dimensions": 'datatype="int" arraysize="999999x999999"/>',
    "bits": 'datatype="bit" arraysize="99999999999"/>',
    "beyond any number": f'datatype="float" arraysize="{"9" * 60}"/>',
    "text": f'datatype="char" arraysize="{10**12}"/>',
    "several texts": f'datatype="char" arraysize="9x{10**12}"/>',
    "a null of it": 'datatype="long" arraysize="9999999x9999999"><VALUES null="1"/></FIELD>',
}


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("data", ["TABLEDATA", "BINARY", "BINARY2"])
def test_sizes_that_are_only_declared(name, data):
    document = in_text([SIZES[name]], [["1"]] if data == "TABLEDATA" else [])
    if data != "TABLEDATA":
        stream = f'<{data}><STREAM encoding="base64">{"AAAA" * 100}</STREAM></{data}>'
        document = re.sub(rb"<TABLEDATA>.*</TABLEDATA>", stream.encode(), document, flags=re.S)
    tracemalloc.start()
    try:
        try:
            table, _ = read_votable(document)
        except InputError:
            pass
        else:  # a text may be shorter than is declared
            assert "text" in name
            assert len(table) <= 1
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_a_parameter_of_impossible_size():
    document = in_text(['datatype="int"/>'], [["1"]])
    parameter = b'<PARAM name="p" datatype="double" arraysize="9999999999" value="1"/>'
    with pytest.raises(InputError, match="'p' declares cells of arraysize '9999999999'"):
        read_votable(document.replace(b"<TABLE>", b"<TABLE>" + parameter))


def test_rows_that_are_only_declared():
    document = written(small(4))
    for declared in (b"99999999999999", b"999999999999999999", b"0", b"3", b"5"):
        with pytest.raises(InputError, match=r"4 of .* rows are there"):
            read_votable(document.replace(b'nrows="4"', b'nrows="' + declared + b'"'))
    for declared in (b"-1", b"many", b"9" * 40, b"1e3"):
        with pytest.raises(InputError, match="which is no number of rows"):
            read_votable(document.replace(b'nrows="4"', b'nrows="' + declared + b'"'))
    assert len(read_votable(document.replace(b'nrows="4"', b""))[0]) == 4


def test_data_that_are_cut_or_damaged():
    document = written(small(40)).replace(b' nrows="40"', b"")
    start, stop = document.index(b'base64">') + 8, document.index(b"</STREAM>")
    whole = document[start:stop]

    def changed(data):
        return document[:start] + data + document[stop:]

    cases = {
        whole[:-5]: "cut short .base64",
        whole[:-8]: r"ends within row 39",
        whole[:100] + b"!" + whole[101:]: "damaged .base64",
        whole[:100] + b"\xff" + whole[101:]: "damaged|cannot be read",
        whole[:100] + b"====" + whole[104:]: "damaged .base64",
    }
    for data, message in cases.items():
        with pytest.raises(InputError, match=message):
            read_votable(changed(data))
    padded = base64.b64encode(base64.b64decode(whole)[:-1])
    assert padded.endswith(b"=")
    with pytest.raises(InputError, match=r"ends within row 39"):
        read_votable(changed(padded))


def test_data_behind_their_end(monkeypatch):
    monkeypatch.setattr(binary, "_BLOCK", 16)
    document = written(QTable({"x": np.arange(10, dtype="u1")}))
    stop = document.index(b"</STREAM>")
    with pytest.raises(InputError, match=r"damaged|go on behind their end"):
        read_votable(document[: stop - 4] + b"AA==" + b"AAAA" * 9 + document[stop:])


def test_a_length_that_is_only_declared():
    """A cell says that it has four billion items."""
    document = written(varying(4)).replace(b' nrows="4"', b"")
    start, stop = document.index(b'base64">') + 8, document.index(b"</STREAM>")
    data = bytearray(base64.b64decode(document[start:stop]))
    data[9:13] = b"\xff\xff\xff\xff"
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="ends within row 0"):
            read_votable(document[:start] + base64.b64encode(data) + document[stop:])
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_rows_of_nothing_are_no_endless_loop():
    for data in ("BINARY", "BINARY2"):
        for size in ("0", "0x*", "5x0"):
            document = in_text([f'datatype="int" arraysize="{size}"/>'], [])
            stream = f'<{data}><STREAM encoding="base64">AAAAAAAA</STREAM></{data}>'
            document = re.sub(rb"<TABLEDATA>.*</TABLEDATA>", stream.encode(), document, flags=re.S)
            try:
                assert len(read_votable(document)[0]) <= 6  # the bit for null is a byte a row
            except InputError as error:
                assert "empty" in str(error) or "which is none" in str(error)  # noqa: PT017


def test_another_table_is_no_endless_loop():
    """Only the table that is asked for is decoded."""
    bad = in_text(['datatype="int" arraysize="0"/>'], [])
    stream = b'<BINARY><STREAM encoding="base64">AAAA</STREAM></BINARY>'
    bad = re.sub(rb"<TABLEDATA>.*</TABLEDATA>", stream, bad, flags=re.S)
    table = in_text(['datatype="int"/>'], [["7"]])
    table = table[table.index(b"<TABLE>") : table.index(b"</RESOURCE>")]
    both = bad.replace(b"</RESOURCE>", table + b"</RESOURCE>")
    assert read_votable(both, table=1)[0]["c0"].tolist() == [7]


def test_one_long_text_does_not_widen_all(monkeypatch):
    monkeypatch.setattr(filling, "_FREE", 2**20)
    monkeypatch.setattr(tabledata, "WORTH_IT", 0)
    texts = ["x"] * 5000 + ["y" * 30_000]
    document = in_text(['datatype="char" arraysize="*"/>'], [[text] for text in texts])
    table, _ = read_votable(document)
    assert table["c0"].tolist() == texts
    assert table["c0"].nbytes < 20 * len(document)
    again, _ = read_votable(written(table))
    assert again["c0"].tolist() == texts


def test_a_wide_declared_text_costs_nothing(monkeypatch):
    monkeypatch.setattr(filling, "_FREE", 2**20)
    document = in_text(['datatype="char" arraysize="65535"/>'], [["abc"]] * 2000)
    table, _ = read_votable(document)
    assert table["c0"].tolist() == ["abc"] * 2000
    assert table["c0"].nbytes < 1_000_000


def test_arrays_of_nothing_are_refused(monkeypatch):
    """A short text that would become a large table."""
    monkeypatch.setattr(filling, "_FREE", 2**20)
    for worth in (0, 10**9):
        monkeypatch.setattr(tabledata, "WORTH_IT", worth)
        document = in_text(['datatype="double" arraysize="9000"/>'], [[""]] * 3000)
        with pytest.raises(InputError, match="times its whole VOTable; it is refused"):
            read_votable(document)


def test_a_file_that_becomes_shorter(tmp_path, monkeypatch):
    path = tmp_path / "t.vot"
    path.write_bytes(written(small(2000)))
    real = scan.scan

    def cut(document):
        found = real(document)
        path.write_bytes(path.read_bytes()[:2000])
        return found

    monkeypatch.setattr("astro_cluster.votable.read.scan", cut)
    with pytest.raises(InputError, match="shorter while it was read"):
        read_votable(path)


def test_errors_name_the_file(tmp_path):
    path = tmp_path / "broken.vot"
    path.write_bytes(written(small())[:-30])
    with pytest.raises(InputError, match=r"broken\.vot cannot be read as votable: .* cut short or damaged"):
        read_votable(path)
    packed = tmp_path / "broken.vot.gz"
    packed.write_bytes(gzip.compress(written(small()))[:-30])
    with pytest.raises(InputError, match=r"broken\.vot\.gz.* the gzip file is damaged or cut short"):
        read_votable(packed)


@pytest.mark.parametrize(
    "text", ["m**999999999", "10+99999999", "10**99999999", "m-99999999", "1e99999 m", "m^(99999)"]
)
def test_units_that_would_take_for_ever(text):
    document = in_text([f'datatype="double" unit="{text}"/>'], [["1"]])
    with pytest.raises(InputError, match="too large for any unit"):
        read_votable(document)
    noted = written(QTable({"x": [1.0]}), infos={"astro_cluster_units": f'{{"x": "{text}"}}'})
    with pytest.raises(InputError, match="too large for any unit"):
        read_votable(noted)


@pytest.mark.parametrize("text", ["((((((((", "1e999m", "m" * 10_000, "[", "\\m", "m**9999", "10+9999"])
@pytest.mark.filterwarnings("ignore::astro_cluster.exceptions.AstroClusterWarning")
def test_odd_units(text):
    """They are kept as text or refused, at once."""
    document = in_text([f'datatype="double" unit="{text}"/>'], [["1"]])
    try:
        table, _ = read_votable(document)
    except InputError as error:
        assert "cannot be read" in str(error)  # noqa: PT017
    else:
        assert np.asarray(table["c0"]).tolist() == [1.0]
