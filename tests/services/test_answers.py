"""What is not read: documents that are made to do more than to tell something."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from astro_cluster import conf
from astro_cluster.services.answers import look_over, numbers_of, parse_answer, words_of
from astro_cluster.services.limits import parse_capabilities

from . import tap_server

WHOLE = tap_server.document(Table({"ac_row": [1, 2], "main_id": ["M 31", "M 33"]}))


def test_what_is_good_is_read():
    answer = parse_answer(WHOLE)
    assert (answer.status, answer.table["main_id"].tolist()) == ("OK", ["M 31", "M 33"])
    assert parse_answer(b"\xef\xbb\xbf" + WHOLE).table["ac_row"].tolist() == [1, 2]
    assert parse_answer(b"\n  " + WHOLE.partition(b"?>")[2]).status == "OK"
    latin = WHOLE.replace(b"utf-8", b"ISO-8859-1").replace(b"M 31", b"M\xfcll")
    assert parse_answer(latin).table["main_id"][0] == "Müll"
    assert parse_answer(tap_server.document(Table({"a": [1]}), "OVERFLOW")).status == "OVERFLOW"


@pytest.mark.parametrize("at", range(0, 100, 7))
def test_a_part_is_never_taken_for_the_whole(at):
    with pytest.raises(ValueError, match="no whole VOTable"):
        parse_answer(WHOLE[: len(WHOLE.rstrip()) * at // 100])


STREAM = '<VOTABLE><RESOURCE><TABLE><FIELD name="a" datatype="int"/><DATA><BINARY>{}</BINARY></DATA></TABLE>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<!DOCTYPE x [<!ENTITY a "b">]><VOTABLE/>', "XML entities"),
        ('<!DOCTYPE x [<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;]><VOTABLE/>', "XML entities"),
        ("<!-- > --><!DOCTYPE x\n[\n<!ELEMENT a ANY>]><VOTABLE/>", "XML entities"),
        (STREAM.format('<STREAM href="file:///etc/passwd"/>'), "another address"),
        (STREAM.format("<STREAM\n\thref = 'http://127.0.0.1/x'/>"), "another address"),
        (STREAM.format('<v:STREAM encoding=">" href="ftp://x/"></v:STREAM>'), "another address"),
        ('<VOTABLE><TABLE nrows="1000000000000"><FIELD/></TABLE></VOTABLE>', "declares 1000000000000 rows"),
        ('<VOTABLE><FIELD arraysize="100000x100000"/></VOTABLE>', "more memory"),
        ("<VOTABLE>" + "<FIELD/>" * 10_001 + "</VOTABLE>", "declares 10001 columns"),
        ('<?xml version="1.0" encoding="cp037"?><VOTABLE/>', "encoding is cp037"),
        ('<?xml version="1.0" encoding="UTF-7"?><VOTABLE/>', "encoding is utf-7"),
        ("(dp0\nS'pickle'\np1\n.", "does not begin with"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_answer(text.encode())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_markup_that_bytes_do_not_show(encoding):
    """In these an entity would not be seen by looking for its bytes."""
    with pytest.raises(ValueError, match=r"encoding is|does not begin with"):
        look_over('<!DOCTYPE x [<!ENTITY a "b">]><VOTABLE/>'.encode(encoding))


@pytest.mark.parametrize(
    "piece", [b"<STREAM ", b'<STREAM "', b"<STREAM '\"", b"<FIELD a=", b"<TABLE \"'", b"<!DOCTYPE ", b"<TR"]
)
def test_looking_over_ends(piece):
    """If each were searched for through the whole document, this would take an hour."""
    with contextlib.suppress(ValueError):
        look_over(b"<VOTABLE>" + piece * 1_000_000)


def test_empty_cells_take_no_more_memory_than_allowed():
    """A row costs 9 bytes in the answer and could cost megabytes here."""
    document = b'<VOTABLE><TABLE><FIELD arraysize="1000000"/><DATA>' + b"<TR></TR>" * 2000
    with conf.set_temp("max_answer_bytes", 10**8), pytest.raises(ValueError, match="more memory"):
        look_over(document)


def test_words_of_errors():
    assert words_of(b"<html><script>steal()</script><body>Out\n of  order</body></html>") == "Out of order"
    assert words_of(b"\x1b[31mred\x07 \xff text") == "[31mred \ufffd text"
    assert len(words_of(b"x" * 10_000)) == 400
    assert words_of(tap_server.error_document("no such table").body) == "no such table"


def test_numbers():
    np.testing.assert_equal(numbers_of(MaskedColumn([1, 2], mask=[True, False])), [np.nan, 2.0])
    assert numbers_of(np.array(["a", "1"])) is None
    assert numbers_of(np.zeros((2, 2))) is None
    np.testing.assert_equal(numbers_of(np.array(["2", "1e3"], dtype=object)), [2.0, 1000.0])


def test_capabilities():
    true = tap_server.TapServer("", {}, max_rows=7, upload_rows=5)
    found = parse_capabilities(tap_server.capabilities(true))
    assert (found.output_rows, found.default_rows, found.upload_rows, found.uploads) == (7, 7, 5, True)
    for text in (b"", b"<html>", b"<a/>", tap_server.capabilities(true)[:400]):
        with pytest.raises(ValueError, match=r"no whole VOTable|no capabilities"):
            parse_capabilities(text)
    bomb = b'<!DOCTYPE x [<!ENTITY a "b">]>' + tap_server.capabilities(true).partition(b"?>")[2]
    with pytest.raises(ValueError, match="XML entities"):
        parse_capabilities(bomb)
