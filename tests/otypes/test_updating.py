"""A list of types that is fetched is believed only when it is whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import MaskedColumn, QTable, Table
from hypothesis import given, settings
from hypothesis import strategies as st

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError, ServiceError
from astro_cluster.otypes.snapshots import COLUMNS, current, fetched_path, shipped, tree_of
from astro_cluster.otypes.updating import _as_table, _whole

from .standin import Simbad, otypedef, votable_of

TYPES = shipped().tree.types


def test_the_present_list_is_used_from_then_on(simbad, own_cache):
    before = ac.otypes.snapshot()
    assert before.path is None
    told = ac.otypes.update()
    assert told == ac.otypes.snapshot() != before
    assert (told.source, told.count) == (simbad.url, len(simbad.table))
    assert told.date == time.strftime("%Y-%m-%d", time.gmtime())
    assert Path(told.path) == fetched_path() == own_cache / "simbad_otypes.ecsv"
    assert ac.otypes.code_of("LBV*") == "LBV"
    assert ac.otypes.fold("LB?", 2) == "sg?"
    assert "LBV" in ac.otypes.descendants("Star")
    assert "RR*" in ac.otypes.descendants("V*")  # kept from the shipped list
    assert ac.otypes.code_of("EB*Algol") == "EB*"
    with pytest.raises(InputError, match="'MouvGroup'"):
        ac.otypes.code_of("MouvGroup")
    assert ac.otype_in(QTable({"otype": ["LBV", "Q?"]}), "Ma*..").tolist() == [True, False]
    out = ac.otypes.hierarchy()
    place = {code: i for i, code in enumerate(out["otype"])}
    assert all(row["parent"] is np.ma.masked or place[row["parent"]] < place[row["otype"]] for row in out)
    assert [code for code in out["otype"] if code in TYPES] == [c for c in TYPES if c in place]
    record = ac.records(ac.summarize(QTable({"cluster": [0], "t": ["LBV"]}), by="t", level=1))[-1]
    assert record["otypes"]["date"] == told.date
    assert record["otypes"]["hash"] == told.hash
    assert ac.otypes.reset()
    assert not ac.otypes.reset()
    assert ac.otypes.snapshot() == before
    with pytest.raises(InputError, match="'LBV"):
        ac.otypes.code_of("LBV*")


def test_an_address_may_be_given(simbad):
    with ac.conf.set_temp("simbad_tap_url", "http://127.0.0.1:9/none"):
        assert ac.otypes.update(simbad.url + "/").source == simbad.url + "/"
    assert len(simbad.queries) == 2


def changed(change: Callable[[Table], object]) -> Callable[[Simbad], None]:
    def do(service: Simbad) -> None:
        found = change(service.table)
        service.table = service.table if found is None else found
        service.count = len(service.table)

    return do


def put(row: str, column: str, value: Any) -> Callable[[Simbad], None]:
    def do(table: Table) -> None:
        table[column] = table[column].astype(object)
        table[column][np.flatnonzero(table["otype"] == row)[0]] = value
        table[column] = table[column].astype(str if isinstance(value, str) else None)

    return changed(do)


def cut(service: Simbad) -> None:
    service.answer = lambda q: (200, service.whole(q)[1][: -2000 if "COUNT" not in q else None])


def answers(code: int, content: bytes, *, to: str = "") -> Callable[[Simbad], None]:
    def do(service: Simbad) -> None:
        service.answer = lambda q: (code, content) if to in q else service.whole(q)

    return do


def counts(n: int) -> Callable[[Simbad], None]:
    return lambda service: setattr(service, "count", n)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (answers(200, b"garbage"), "no whole VOTable"),
        (answers(200, b""), "no whole VOTable"),
        (answers(200, b"garbage", to="path"), "no whole VOTable"),
        (cut, "no whole VOTable"),
        (answers(500, b"out of order"), "HTTP 500 out of order"),
        (answers(404, b"nothing here"), "refuses to tell the list of object types: HTTP 404 nothing here"),
        (answers(200, votable_of(Table({"otype": ["*"]}), status="OVERFLOW"), to="path"), "cuts its answer"),
        (answers(200, votable_of(Table({"n": ["many"]})), to="COUNT"), "does not say how many"),
        (counts(4), "it has 227 of 4 types"),
        (changed(lambda t: t[:0]), "there is no type"),
        (changed(lambda t: t[np.char.find(t["path"].astype(str), "*") >= 0]), "types of 2022 are missing"),
        (changed(lambda t: t[t["otype"] != "AGN"]), "names 'AGN', which is no type"),
        (changed(lambda t: t.remove_column("path")), "the column path is missing"),
        (changed(lambda t: t.add_row(t[5])), "stands there 2 times"),
        (put("AGN", "path", "G > QSO > AGN"), "should be"),
        (put("G", "path", "QSO > G"), "should be"),
        (put("G", "path", "G > G"), "goes in a circle"),
        (put("QSO", "path", ""), "is no path"),
        (put("QSO", "label", ""), "is no label"),
        (put("QSO", "label", "Seyfert1"), "the label 'Seyfert1' stands there 2 times"),
        (put("QSO", "is_candidate", "perhaps"), "not 0 or 1"),
        (put("QSO", "description", "\x1b[31mred"), "holds what is no text|no whole VOTable"),
        (put("QSO", "label", "Qua\u202esar"), "is no label"),
        (put("QSO", "otype", "Q|S"), "is no code"),
        (put("Q?", "path", "G > AGN"), ""),
    ],
)
def test_an_answer_that_is_not_whole_is_not_believed(simbad, own_cache, break_it, message):
    before = ac.otypes.snapshot()
    break_it(simbad)
    if not message:  # a candidate of another type is no fault that can be seen
        assert ac.otypes.update().path
        return
    with pytest.raises(ServiceError, match=message) as told:
        ac.otypes.update()
    assert told.value.url == simbad.url
    assert ac.otypes.snapshot() == before
    assert not list(own_cache.glob("*simbad_otypes*"))


def test_a_failed_update_leaves_the_last_one(simbad):
    first = ac.otypes.update()
    counts(3)(simbad)
    with pytest.raises(ServiceError, match=rf"The types of {first.date} stay in use"):
        ac.otypes.update()
    assert ac.otypes.snapshot() == first


def test_nobody_there():
    with (
        ac.conf.set_temp("simbad_tap_url", "http://127.0.0.1:9/sim-tap"),
        ac.conf.set_temp("retries", 0),
        pytest.raises(ServiceError, match="cannot be reached"),
    ):
        ac.otypes.update()
    with pytest.raises(ServiceError, match="is no address of a service"):
        ac.otypes.update("file:///etc/passwd")


def test_a_folder_that_cannot_be_made(simbad, tmp_path):
    (tmp_path / "file").write_text("")
    with (
        ac.conf.set_temp("cache_dir", str(tmp_path / "file" / "cache")),
        pytest.raises(InputError, match="cannot make the folder"),
    ):
        ac.otypes.update()


def damage_text(text: str) -> str:
    return text.replace("QSO QSO Quasar", "QSO QSO Quaser")


@pytest.mark.parametrize(
    "damage",
    [
        damage_text,
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "garbage",
        lambda text: text.replace("- {hash: 'sha256:", "- {hash: 'sha256:0"),
        lambda text: text.rpartition("\n")[0].rpartition("\n")[0] + "\n",
        lambda text: text.replace("is_candidate", "is_kandidate"),
        lambda text: text.replace("- {date: '2", "- {date: 'in 2"),
    ],
)
def test_a_damaged_list_is_not_used(simbad, damage):
    path = Path(ac.otypes.update().path)
    whole = path.read_text(encoding="utf-8")
    path.write_text(damage(whole), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != whole
    with pytest.warns(
        AstroClusterWarning, match=r"is damaged and not used .*astro-cluster otypes --update"
    ) as told:
        assert ac.otypes.snapshot() == shipped().snapshot
    assert len(told) == 1
    assert ac.otypes.code_of("QSO") == "QSO"  # told once
    path.write_text(whole, encoding="utf-8")
    assert ac.otypes.snapshot().path == str(path)


def test_a_later_list_of_the_package_goes_first(simbad):
    path = Path(ac.otypes.update().path)
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace(f"date: '{ac.otypes.snapshot().date}'", "date: '1999-01-01'"), encoding="utf-8"
    )
    assert "1999" in path.read_text(encoding="utf-8")
    assert ac.otypes.snapshot() == shipped().snapshot


def test_answers_in_other_dress(simbad):
    table = simbad.table
    table["is_candidate"] = table["is_candidate"] == 1
    table["otype"] = [f"{code:<4}" for code in table["otype"]]  # SIMBAD pads
    table["description"] = MaskedColumn(table["description"].astype("U60"))
    table["description"][3] = "λ ≥ 30 µm – “far”"
    table["description"].mask[4] = True
    codes_changed = [str(table["otype"][i]).strip() for i in (3, 4)]
    paths = zip(table["path"], table["otype"], table["is_candidate"], strict=True)
    table["path"] = [f"{path} > {code}" if suspected else path for path, code, suspected in paths]
    ac.otypes.update()
    assert ac.otypes.ancestors("Q?") == ("QSO", "AGN", "G")
    types = current().tree.types
    assert [types[code].description for code in codes_changed] == ["λ ≥ 30 µm – “far”", ""]


def test_otypedef_as_a_table_of_rows():
    with pytest.raises(ValueError, match="1 cells of the column label are empty"):
        tree_of(Table({name: MaskedColumn(["1"], mask=[name == "label"]) for name in COLUMNS}))


ODD = [
    "",
    " ",
    ">",
    " > ",
    "*",
    "G",
    "G > AGN",
    "* > G",
    "?",
    "Q?",
    "QSO",
    "|",
    "\x00",
    "é",
    "a" * 40,
    "0",
    "1",
    "2",
    "nan",
]


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_altered_answer_breaks_more_than_itself(data):
    table = otypedef()
    rows = {name: table[name].astype(str).tolist() for name in COLUMNS}
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(COLUMNS))
        row = data.draw(st.integers(0, len(table) - 1))
        rows[name][row] = data.draw(st.sampled_from(ODD) | st.sampled_from(rows[name]) | st.text(max_size=8))
    altered = Table(rows)
    try:
        tree = _whole(altered, len(altered))
    except ValueError:  # and nothing else
        return
    # What is believed is a hierarchy, and the same when it is read again.
    again = tree_of(_as_table(tree))
    assert again.types == tree.types
    for code, one in tree.types.items():
        assert set(tree.ancestors(code)) == set(one.path) - {code}


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=25) | st.sampled_from(ODD))
def test_any_text_is_a_type_or_none(text):
    try:
        code = ac.otypes.code_of(text)
    except InputError:
        return
    assert code in TYPES
    assert ac.otypes.code_of([text]).tolist() == [code]
