"""What the verb otypes says."""

from __future__ import annotations

import pytest

import astro_cluster as ac
from astro_cluster.otypes.snapshots import shipped

TYPES = shipped().tree.types


def test_the_verb_shows_the_hierarchy(run, tmp_path):
    code, out, err = run("otypes", "AGN..")
    assert (code, err) == (0, "")
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[1].split() == ["AGN", "AGN", "AG?", "Active", "Galaxy", "Nucleus"]
    assert lines[3].startswith("    Sy1  ")
    assert len(lines) == 11
    assert "226 types of SIMBAD, candidates included, as of 2022" in lines[-1]
    code, out, _ = run("otypes", "--level", "0")
    assert len(out.splitlines()) == 2 + sum(
        len(one.path) == 1 and not one.is_candidate for one in TYPES.values()
    )
    code, _, _ = run("otypes", "-o", str(tmp_path / "types.ecsv"))
    assert (code, len(ac.read(tmp_path / "types.ecsv"))) == (0, 153)
    assert len(run("otypes")[1].splitlines()) == 155


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["AGM"], "SIMBAD has no type of objects 'AGM'; did you mean 'AGN'"),
        (["--level", "-1"], "level=-1 is no level"),
        (["--update", "--reset"], "give one of them"),
        (["--url", "http://127.0.0.1:9"], "give --update too"),
    ],
)
def test_mistakes_at_the_verb(run, arguments, message):
    code, _, err = run("otypes", *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_the_verb_fetches_and_goes_back(run, simbad):
    code, out, _ = run("otypes", "Ma*", "--update")
    assert code == 0
    assert out.splitlines()[:2] == ["new: LB?, LBV", "gone: MGr"]
    assert "227 types" in out
    assert "LBV*" in out
    code, out, _ = run("otypes", "Ma*", "--reset")
    assert code == 0
    assert out.startswith("the fetched list is deleted")
    assert "as of 2022" in out
    assert "there is no fetched list" in run("otypes", "Ma*", "--reset")[1]
    simbad.count = 3
    code, _, err = run("otypes", "--update", "--url", simbad.url)
    assert code == 1
    assert "is not believed: it has 227 of 3 types" in err
