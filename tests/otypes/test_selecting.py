"""Rows of a type are those that SIMBAD would find."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from astropy.table import MaskedColumn, QTable
from hypothesis import given, settings
from hypothesis import strategies as st

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.otypes.snapshots import shipped

TREE = shipped().tree
TYPES = TREE.types
CODES = sorted(TYPES)
PLAIN = [code for code in CODES if not TYPES[code].is_candidate]
codes = st.sampled_from(CODES)
plain = st.sampled_from(PLAIN)


SAMPLE = [
    "Seyfert_1",
    "QSO",
    "AGN_Candidate",
    "Galaxy",
    "YSO",
    "TTau*",
    "EB*Algol",
    "EB*",
    "RRLyr",
    "Star",
    "X",
    "",
    "HMXB",
]


def rows(types: Any, **options: Any) -> list[str]:
    table = QTable({"main_type": SAMPLE})
    return np.array(SAMPLE)[ac.otype_in(table, types, **options)].tolist()


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ("AGN", []),
        ("AGN..", ["Seyfert_1", "QSO"]),
        ("AG?", ["AGN_Candidate"]),
        ("AG?..", ["AGN_Candidate"]),
        ("Candidate_AGN", ["AGN_Candidate"]),
        ("G..", ["Seyfert_1", "QSO", "Galaxy"]),
        ("galaxy..", ["Seyfert_1", "QSO", "Galaxy"]),
        ("Galaxy", ["Galaxy"]),
        ("Star", ["Star"]),
        ("*", ["Star"]),
        ("Star..", ["YSO", "TTau*", "EB*Algol", "EB*", "RRLyr", "Star", "HMXB"]),
        ("*..", ["YSO", "TTau*", "EB*Algol", "EB*", "RRLyr", "Star", "HMXB"]),
        ("**..", ["EB*Algol", "EB*", "HMXB"]),
        ("V*..", ["EB*Algol", "EB*", "RRLyr"]),
        ("V*", []),
        ("EB*", ["EB*Algol", "EB*"]),
        ("EclBin", ["EB*Algol", "EB*"]),
        ("EB*Algol", ["EB*Algol"]),
        ("Al*..", ["EB*Algol"]),
        (["QSO", "X"], ["QSO", "X"]),
        (("Sy1", "YSO.."), ["Seyfert_1", "YSO", "TTau*"]),
        (" QSO ", ["QSO"]),
    ],
)
def test_the_syntax_of_simbad(types, expected):
    assert rows(types) == expected


def test_candidates_are_meant_when_asked_for():
    assert rows("AGN..", candidates=True) == ["Seyfert_1", "QSO", "AGN_Candidate"]
    assert rows("AGN..", candidates="only") == ["AGN_Candidate"]
    assert rows("Galaxy..", candidates="only") == ["AGN_Candidate"]
    assert rows("Galaxy", candidates=True) == ["Galaxy"]
    assert rows("AGN", candidates=True) == ["AGN_Candidate"]
    for wrong in ("both", None, 1, 0):
        with pytest.raises(InputError, match="give False, True or 'only'"):
            rows("AGN", candidates=wrong)


@settings(deadline=None, max_examples=60)
@given(plain, st.lists(codes, min_size=1, max_size=30), st.booleans())
def test_two_dots_are_the_union_of_what_is_below(top, cells, candidates):
    table = QTable({"otype": cells})
    union = np.zeros(len(cells), dtype=bool)
    for code in (top, *TREE.descendants(top)):
        union |= ac.otype_in(table, code, candidates=candidates)
    found = ac.otype_in(table, f"{top}..", candidates=candidates)
    assert type(found) is np.ndarray
    assert found.dtype == bool
    assert (found == union).all()
    assert found.tolist() == [
        cell == top or cell in TREE.descendants(top, candidates=candidates) for cell in cells
    ]
    in_labels = QTable({"main_type": [TYPES[cell].label for cell in cells]})
    assert (ac.otype_in(in_labels, f"{TYPES[top].label}..", candidates=candidates) == found).all()


def test_lists_of_types_in_a_cell():
    table = QTable({"other_types": ["X  |QSO|G  ", "*  |V*?", "", "Sy1", "X|"]})
    assert ac.otype_in(table, "QSO").tolist() == [True, False, False, False, False]
    assert ac.otype_in(table, "G..").tolist() == [True, False, False, True, False]
    assert ac.otype_in(table, "V*..", candidates=True).tolist() == [False, True, False, False, False]
    assert ac.otype_in(table, "X").tolist() == [True, False, False, False, True]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["main_type", "otype"], "otype"),
        (["a", "MAIN_TYPE"], "MAIN_TYPE"),
        (["other_types", "main_type"], "main_type"),
        (["simbad_otype", "b"], "simbad_otype"),
        (["main_type_2", "b"], "main_type_2"),
        (["gaia.otypes", "b"], "gaia.otypes"),
        (["prototype", "other_types"], "other_types"),
    ],
)
def test_the_column_is_found(names, found):
    table = QTable({name: ["QSO" if name == found else "no type"] for name in names})
    assert ac.otype_in(table, "QSO").tolist() == [True]


def test_the_column_that_is_not_found():
    with pytest.raises(InputError, match=r"\(there is none\); name it \(column='main_type'\)"):
        ac.otype_in(QTable({"x": ["QSO"], "otype": [1]}), "QSO")
    with pytest.raises(InputError, match="otype_1, otype_2 could be meant"):
        ac.otype_in(QTable({"otype_1": ["QSO"], "otype_2": ["QSO"]}), "QSO")
    with pytest.raises(InputError, match="there is no column 'tpye'; did you mean 'type'"):
        ac.otype_in(QTable({"type": ["QSO"]}), "QSO", column="tpye")
    table = QTable({"kind": ["QSO"], "name": ["a"]})
    table["kind"].info.meta = {"ucd": "src.class"}
    assert ac.otype_in(table, "QSO").tolist() == [True]
    assert ac.otype_in(QTable({"x": ["QSO"]}), "QSO", column="x").tolist() == [True]
    with pytest.raises(InputError, match="several values a row"):
        ac.otype_in(QTable({"otype": [["QSO", "X"]]}), "QSO", column="otype")


@pytest.mark.parametrize("wrong", ["", " ", "..", None, 3, ["QSO", 3], [], [None]])
def test_patterns_that_are_none(wrong):
    with pytest.raises(InputError, match=r"no type (of objects|was given)"):
        rows(wrong)


def test_unknown_patterns_and_cells():
    with pytest.raises(InputError, match="no type of objects 'Quasr'; did you mean"):
        rows("Quasr..")
    table = QTable({"otype": ["QSO", "Foo", "Foo", "Bar|QSO"]})
    with pytest.warns(
        AstroClusterWarning, match=r"'Foo' \(2\), 'Bar' \(1\); 3 rows of column 'otype'"
    ) as told:
        assert ac.otype_in(table, "QSO").tolist() == [True, False, False, True]
    assert told[0].filename == __file__
    assert ac.otype_in(QTable({"otype": np.array([], dtype=str)}), "QSO").tolist() == []
    masked = QTable({"otype": MaskedColumn(["QSO", "QSO"], mask=[False, True])})
    assert ac.otype_in(masked, "QSO").tolist() == [True, False]


def test_a_file_will_do(tmp_path):
    path = ac.write(QTable({"main_type": ["QSO", "Star"]}), tmp_path / "t.fits")
    assert ac.otype_in(path, "QSO").tolist() == [True, False]


def test_rows_of_a_real_answer(real_data):
    table = ac.read(real_data / "chandra" / "csc2_simbad_17083.csv")
    names = np.asarray(table["main_type"]).astype(str)
    for types, old in {
        "Sy1": ["Seyfert_1"],
        "SyG..": ["Seyfert", "Seyfert_1", "Seyfert_2"],
        "Bla..": ["Blazar", "BLLac"],
        "XB*..": ["XB", "HMXB", "LMXB"],
        "Y*O..": ["YSO", "TTau*", "Orion_V*", "Ae*", "HH"],
        "Cl*..": ["Cl*", "GlCl", "OpCl"],
    }.items():
        assert (ac.otype_in(table, types) == np.isin(names, old)).all()
    stars, galaxies = ac.otype_in(table, "*..", candidates=True), ac.otype_in(table, "G..", candidates=True)
    assert not (stars & galaxies).any()
    assert (stars.sum(), galaxies.sum()) == (8361, 4146 + 314)
