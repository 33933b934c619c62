"""No name and no text becomes a piece of a query."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astro_cluster import InputError
from astro_cluster.services.adql import bare, identifier, literal, table_name

REGULAR = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
DELIMITED = re.compile(r'"(?:[^"]|"")+"')


@given(st.text(max_size=60))
def test_a_column_is_one_name(text):
    try:
        name = identifier(text)
    except InputError:
        assert not text or any(ord(c) < 32 for c in text)
        return
    assert REGULAR.fullmatch(name) or DELIMITED.fullmatch(name)
    assert bare(name) in (text, bare(text))


@given(st.text(alphabet="ab. \"';-/()1", max_size=20))
def test_a_table_is_a_chain_of_names(text):
    try:
        name = table_name(text)
    except InputError:
        return
    part = f"(?:{REGULAR.pattern}|{DELIMITED.pattern})"
    assert re.fullmatch(rf"{part}(?:\.{part})*", name)


@given(st.text(max_size=60))
def test_a_text_is_one_literal(text):
    assert re.fullmatch(r"'(?:[^']|'')*'", literal(text))
    assert literal(text)[1:-1].replace("''", "'") == text


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("ra", "ra"),
        ("dec", "dec"),
        ("size", '"size"'),
        ("2MASS", '"2MASS"'),
        ('"x y"', '"x y"'),
        ("é", '"é"'),
    ],
)
def test_columns(name, written):
    assert identifier(name) == written


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("basic", "basic"),
        ("public.basic", "public.basic"),
        ('public."My Table"', 'public."My Table"'),
        ("J/A+A/616/A1/table2", '"J/A+A/616/A1/table2"'),
        ("gaiadr3.table", 'gaiadr3."table"'),
    ],
)
def test_tables(name, written):
    assert table_name(name) == written


@pytest.mark.parametrize("name", ["", "  ", "a" * 300, 'a" b', "a; b", "a\nb", 'x"."y'])
def test_what_is_no_table(name):
    with pytest.raises(InputError, match="cannot be the name of a table"):
        table_name(name)
