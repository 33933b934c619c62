"""What holds what is one relation, however it is asked for."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from astropy.io.votable.ucd import check_ucd
from hypothesis import given, settings
from hypothesis import strategies as st

import astro_cluster as ac
from astro_cluster.exceptions import InputError
from astro_cluster.otypes.names import Names
from astro_cluster.otypes.snapshots import shipped
from astro_cluster.otypes.tree import Otype, Tree

TREE = shipped().tree
TYPES = TREE.types
CODES = sorted(TYPES)
codes = st.sampled_from(CODES)
levels = st.integers(0, 6)


@settings(deadline=None)
@given(codes, codes)
def test_ancestors_and_descendants_are_one_relation(one, other):
    assert (other in TREE.ancestors(one)) == (one in TREE.descendants(other, candidates=True))
    assert (one in TREE.descendants(other)) == (
        one in TREE.descendants(other, candidates=True) and not TYPES[one].is_candidate
    )
    assert one not in TREE.ancestors(one)
    if other in TREE.ancestors(one):
        assert one not in TREE.ancestors(other)
        assert set(TREE.ancestors(other)) <= set(TREE.ancestors(one))


@settings(deadline=None)
@given(codes)
def test_paths_are_lines_of_ancestors(code):
    one = TYPES[code]
    line = one.path if one.is_candidate else one.path[:-1]
    assert TREE.ancestors(code)[: len(line)] == line[::-1]
    assert one.level == len(one.path) - 1
    assert one.parent == (line[-1] if line else None)
    for wide, narrow in pairwise(one.path):
        assert TYPES[narrow].path == (*TYPES[wide].path, narrow)


@settings(deadline=None)
@given(codes, levels, levels, st.booleans())
def test_folding(code, level, other, candidates):
    folded = TREE.fold(code, level, candidates=candidates)
    one, wide = TYPES[code], TYPES[folded]
    assert wide.level == min(level, one.level)
    assert TREE.fold(folded, level, candidates=candidates) == folded
    assert one.path[: wide.level + 1] == wide.path
    narrow, coarse = max(level, other), min(level, other)
    by_steps = TREE.fold(TREE.fold(code, narrow, candidates=candidates), coarse, candidates=candidates)
    if not candidates or not one.is_candidate:
        assert by_steps == TREE.fold(code, coarse, candidates=candidates)
        assert not wide.is_candidate
    if candidates and level >= one.level:
        assert folded == code
    if wide.is_candidate:
        assert one.is_candidate


def test_folding_by_hand():
    assert ac.otypes.fold("Seyfert_1", 0) == "G"
    assert ac.otypes.fold("BLLac", 2) == "QSO"
    assert ac.otypes.fold("Q?", 0) == "G?"
    assert ac.otypes.fold("Q?", 1, candidates=False) == "AGN"
    assert ac.otypes.fold("N*?", 1) == "Ma?"
    assert ac.otypes.fold("N*?", 0) == "*"  # there is no such thing as a star perhaps
    assert ac.otypes.fold("RR*", 1) == "Ev*"  # though V*.. finds it
    assert ac.otypes.fold("X", 3) == "X"
    for level in (-1, 1.0, "1", None, True, np.bool_(True)):
        with pytest.raises(InputError, match="is no level of the hierarchy"):
            ac.otypes.fold("QSO", level)
    assert ac.otypes.fold("QSO", np.int64(1)) == "AGN"


def test_variable_stars_are_found_where_simbad_finds_them():
    assert ac.otypes.ancestors("RR*") == ("HB*", "Ev*", "*", "V*")
    assert ac.otypes.ancestors("cC*") == ("Ce*", "Ev*", "*", "V*")
    assert {"RR*", "cC*", "EB*", "Or*", "No*"} <= set(ac.otypes.descendants("V*"))
    assert not {"XB*", "Y*O", "TT*", "RR?"} & set(ac.otypes.descendants("V*"))
    assert "RR?" in ac.otypes.descendants("V*", candidates=True)
    assert len(ac.otypes.descendants("V*")) == 24


def test_the_hierarchy_as_a_table(tmp_path):
    out = ac.otypes.hierarchy()
    for name in out.colnames:
        assert check_ucd(out[name].info.meta["ucd"], check_controlled_vocabulary=True), name
        assert out[name].info.description
    place = {code: i for i, code in enumerate(out["otype"])}
    for row in out:
        if row["parent"] is not np.ma.masked:
            assert place[row["parent"]] < place[row["otype"]]
    assert out.meta["otypes"]["date"] == ac.otypes.snapshot().date
    back = ac.read(ac.write(out, tmp_path / "types.vot"))
    assert back["parent"].tolist() == out["parent"].tolist()
    assert back.meta["otypes"] == out.meta["otypes"]
    for branch in ("AGN", "AGN..", " agn.. ", "Active Galaxy Nucleus"):
        assert ac.otypes.hierarchy(branch)["otype"].tolist() == ["AGN", *ac.otypes.descendants("AGN")]
    assert ac.otypes.hierarchy("V*")["otype"][0] == "V*"
    assert ac.otypes.hierarchy("Q?")["parent"].tolist() == ["QSO"]
    with pytest.raises(InputError, match="no type of objects 'AGM'"):
        ac.otypes.hierarchy("AGM")
    with pytest.raises(InputError, match="is no type of objects"):
        ac.otypes.hierarchy(3)


def test_the_tree_cannot_be_changed():
    with pytest.raises(AttributeError, match="cannot be changed"):
        TREE.types = {}
    with pytest.raises(TypeError):
        TREE.types["new"] = None
    with pytest.raises(AttributeError):
        TYPES["QSO"].label = "x"
    again = pickle.loads(pickle.dumps(TREE))
    assert again.types == TREE.types
    assert again.descendants("V*") == TREE.descendants("V*")


def one(code: str, path: str, *, label: str | None = None, candidate: bool = False) -> Otype:
    return Otype(code, label or code, code, candidate, tuple(path.split(" > ")))


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ([], "there is no type"),
        ([one("a", "a"), one("a", "a")], "the code 'a' stands there 2 times"),
        ([one("a", "a"), one("b", "b", label="a")], "the label 'a' stands there 2 times"),
        ([one("a", "b > a"), one("b", "a > b")], "should be"),
        ([one("a", "a > b > a"), one("b", "b")], "goes in a circle"),
        ([one("a", "c > a")], "names 'c', which is no type"),
        ([one("a", "a"), one("b", "a")], "does not end in it"),
        ([one("a", "a"), one("b", "a > b"), one("c", "b > c")], r"is b > c, .* should be a > b > c"),
        ([one("a", "a"), one("b", "b"), one("c?", "a > b", candidate=True)], "should be b"),
        ([one("a", "a"), one("a?", "b", candidate=True)], "names 'b'"),
        ([one("a|b", "a|b")], "is no code"),
        ([one("a", "a", label=" ")], "is no label"),
        ([one("a" * 17, "a" * 17)], "17 letters"),
        ([one("a\n", "a\n")], "is no code"),
        ([Otype("a", "a", "\x1b[31m", False, ("a",))], "holds what is no text"),
    ],
)
def test_what_is_no_hierarchy(types, message):
    with pytest.raises(ValueError, match=message):
        Tree(types)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Make a forest of up to 25 types, some with candidates."""
    types: list[Otype] = []
    for i in range(draw(st.integers(1, 25))):
        plain_ones = [t for t in types if not t.is_candidate]
        above = draw(st.sampled_from([None, *plain_ones]))
        path = (*(above.path if above else ()), f"t{i}")
        types.append(Otype(f"t{i}", f"label {i}", f"type number {i}", False, path))
        if draw(st.booleans()):
            types.append(Otype(f"t{i}?", f"label {i}_Candidate", f"perhaps number {i}", True, path))
    return Tree(draw(st.permutations(types)))


@settings(deadline=None, max_examples=50)
@given(trees(), levels)
def test_any_tree(tree, level):
    for code, held in tree.types.items():
        assert set(tree.ancestors(code)) == set(held.path) - {code}
        for below in tree.descendants(code, candidates=True):
            assert code in tree.ancestors(below)
        folded = tree.fold(code, level)
        assert tree.fold(folded, level) == folded
    names = Names(tree, [])
    for code, held in tree.types.items():
        assert names.get(held.label).code == names.get(code.upper()).code == code
