"""Identifiers from names."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.filing.naming import Pattern, stem_of, typed

WORDS = st.text("abcXYZ019-+. ", min_size=1, max_size=6)


def columns(pattern, *names):
    return {name: values.tolist() for name, values in Pattern(pattern).columns(names).items()}


def test_the_pattern_of_the_manual():
    found = Pattern("*z{redshift}_{source_id:d}_F*").columns(["a_z6.25_17_F115W.png", "b_z7.5_9_F.png"])
    assert found["redshift"].dtype == np.float64
    assert found["source_id"].dtype == np.int64
    assert {name: values.tolist() for name, values in found.items()} == {
        "redshift": [6.25, 7.5],
        "source_id": [17, 9],
    }


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("{id:d}", "00123.png", {"id": [123]}),
        ("{id}", "00123.png", {"id": ["00123"]}),
        ("{id:d}.png", "00123.png", {"id": [123]}),
        ("{id:d}", "00123.tar.png", {"id": [None]}),
        ("{x:f}_{y:f}", "-1.5e3_.25.fits.gz", {"x": [-1500.0], "y": [0.25]}),
        ("cam{c:d}", "sci/run1/cam7.fits", {"c": [7]}),
        ("run{r:d}/cam{c:d}", "sci/run1/cam7.fits", {"r": [1], "c": [7]}),
        ("run{r:d}/cam{c:d}", "cam7.fits", {"r": [None], "c": [None]}),
        ("{field}/*", "m31/cam7.fits", {"field": ["m31"]}),
        ("?{c:d}", "a7.fits", {"c": [7]}),
        ("*_{c}", "a_b_c.fits", {"c": ["b_c"]}),
        ("a{{{c:d}}}.b", "a{7}.b.png", {"c": [7]}),
        ("a+({c:d})", "a+(7).png", {"c": [7]}),
        ("{name:s}_{v:s}", "1.5_2.5.png", {"name": ["1.5"], "v": ["2.5"]}),
        ("*{id:d}", "x99999999999999999999.png", {"id": ["9"]}),
    ],
)
def test_patterns(pattern, name, expected):
    if "99999" in name:
        # * takes as little as it can, so the number is whole; it is too large for 64 bits and stays text.
        expected = {"id": ["99999999999999999999"]}
    assert columns(pattern, name) == expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("*.png", "has no identifier"),
        ("", "has no identifier"),
        ("{a}_{a}", "comes twice"),
        ("{a:x}", "is of no known kind: {a:d} is a whole number"),
        ("{1a}", "cannot be the name of a column"),
        ("{}", "cannot be the name of a column"),
        ("{é}", "cannot be the name of a column"),
        ("{a", "a brace without its partner"),
        ("a}{b}", "a brace without its partner"),
        ("{a}" + "*" * 41, "more than 20 wild parts"),
    ],
)
def test_patterns_that_are_none(pattern, message):
    with pytest.raises(InputError, match=re.escape(message)):
        Pattern(pattern)


@given(st.integers(-(2**62), 2**62), st.floats(-1e9, 1e9), WORDS)
def test_what_is_put_into_a_name_comes_out_of_it(number, value, word):
    name = f"pre_{word}_{number}_{value!r}_post.png"
    found = Pattern("pre_{word:s}_{number:d}_{value:f}_post").columns([name])
    assert {key: values.tolist() for key, values in found.items()} == {
        "word": [word],
        "number": [number],
        "value": [value],
    }


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_pattern_gives_columns_or_a_message(pattern, name):
    try:
        found = Pattern(pattern).columns([name])
    except InputError:
        return
    assert all(len(values) == 1 for values in found.values())


@given(st.text(max_size=15).filter(lambda text: "/" not in text and "\\" not in text and text))
def test_a_plain_text_fits_itself_only(text):
    pattern = Pattern(text.replace("{", "{{").replace("}", "}}").replace("*", "?") + "{end:d}")
    assert pattern.match(text + "7.png") == {"end": "7"}
    assert pattern.match("x" + text + "7.png") is None or text[0] in "x?*"


def test_long_names_do_not_take_ages():
    assert Pattern("*_*_*_*{id:d}").match("_" * 10**6) is None


def test_types():
    assert typed(["1", "2"]).tolist() == ["1", "2"]
    assert typed(["1.0", "2"]).dtype.kind == "U"
    assert typed(["1.0", None, "2.5e1"]).tolist() == [1.0, None, 25.0]
    assert typed([None, None]).tolist() == [None, None]
    assert typed(["9" * 5000], "d").tolist() == ["9" * 5000]


def test_stems():
    names = ("a/b.fits.fz", "b.tar", "c.PNG", ".png", "d.jpeg.png", "e\\f.fit.bz2")
    assert [stem_of(name) for name in names] == ["b", "b.tar", "c", ".png", "d.jpeg", "f"]


@pytest.fixture
def folder(tmp_path):
    from PIL import Image

    for name in ("f_1.png", "f_2.png", "odd.png"):
        Image.new("L", (4, 4), 9).save(tmp_path / name)
    return tmp_path


def test_names_that_do_not_fit_are_masked_and_told(folder):
    with pytest.warns(AstroClusterWarning, match="1 of 3 names do not fit .* have no identifier: .*odd.png"):
        out = ac.read_cutouts(folder, pattern="f_{source_id:d}")
    assert out["source_id"].tolist() == [1, 2, None]
    assert out["source_id"].info.meta["ucd"] == "meta.id"
    assert "f_{source_id:d}" in out["source_id"].info.description


def test_no_name_that_fits_is_an_error(folder):
    with pytest.raises(InputError, match=r"no name fits pattern='g_\{id:d\}'; the first is 'f_1'"):
        ac.read_cutouts(folder, pattern="g_{id:d}")


def test_a_column_of_ours_cannot_be_an_identifier(folder):
    with pytest.raises(InputError, match="pattern makes a column 'image'"):
        ac.read_cutouts(folder, pattern="{image}")
