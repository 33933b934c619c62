"""Types are known by whatever name they have had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io.votable.ucd import check_ucd
from astropy.table import MaskedColumn, Table

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.otypes.snapshots import shipped

TYPES = shipped().tree.types
DATA = Path(ac.__file__).parent / "data"


def test_the_shipped_list_is_that_of_the_facts(real_data):
    facts = Table.read(
        real_data / "simbad" / "simbad_otypes_2022.csv", format="ascii.csv", fill_values=[("", "")]
    )
    out = ac.otypes.hierarchy()
    assert len(out) == len(facts) == 153
    for name, other in (
        ("otype", "otype"),
        ("label", "label"),
        ("path", "path"),
        ("description", "description"),
    ):
        assert out[name].tolist() == facts[other].astype(str).tolist()
    assert out["level"].tolist() == facts["depth"].tolist()
    for name in ("candidate", "parent"):
        there = [None if value is np.ma.masked or not value else str(value) for value in facts[name]]
        assert out[name].tolist() == there
    assert len(TYPES) == 153 + sum(value is not None for value in out["candidate"].tolist())


def test_every_old_type_is_accounted_for(real_data):
    facts = Table.read(real_data / "simbad" / "simbad_otypes_old_4digit.csv", format="ascii.csv")
    old = Table.read(DATA / "simbad_otypes_old.ecsv")
    assert set(facts["otype"].astype(str)) == set(old["code"])
    names = np.ma.compressed(np.ma.asarray(old["name"])).tolist()
    assert len(set(names)) == len(names)
    assert set(old["relation"]) == {"same", "wider", "none"}
    for row in old:
        if row["relation"] == "none":
            assert row["otype"] is np.ma.masked
            continue
        assert row["otype"] in TYPES
        for name in (row["name"], row["code"]):
            assert name is np.ma.masked or ac.otypes.code_of(str(name)) == row["otype"]


def test_labels_and_descriptions_are_there_once():
    labels = [one.label for one in TYPES.values()]
    assert len(set(labels)) == len(labels) == len(TYPES)
    for one in TYPES.values():
        assert ac.otypes.code_of(one.label) == ac.otypes.code_of(one.code) == one.code
        assert ac.otypes.code_of(one.description) == one.code
        assert ac.otypes.label_of(one.code) == one.label


def test_seventeen_types_of_evolved_stars():
    # astroquery's documentation counts them.
    assert len(ac.otypes.descendants("Ev*")) == 17
    # 67 types and 55 candidates lie in the branch of the stars, by SIMBAD's own table.
    assert len(ac.otypes.descendants("*")) == 66
    assert len(ac.otypes.descendants("*", candidates=True)) == 121


@pytest.mark.parametrize(
    "file",
    ["simbad/basic_real_rows.csv", "chandra/csc2_simbad_17083.csv", "chandra/csc2_gmm6_simbad_1615.csv"],
)
def test_every_name_in_real_answers_is_known(real_data, file):
    import csv

    with (real_data / file).open(newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    for name in {"main_type", "other_types"} & set(rows[0]):
        cells = {part.strip() for row in rows for part in row[name].split("|")} - {""}
        assert len(cells) > 25
        found = ac.otypes.code_of(sorted(cells))  # a warning, which is an error here, tells the unknown
        assert not found.mask.any()
        assert set(found.tolist()) <= set(TYPES)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("QSO", "QSO"), ("Seyfert1", "Sy1"), ("Seyfert_1", "Sy1"), ("Sy1", "Sy1"),
        ("Seyfert 1 Galaxy", "Sy1"),
        ("Star", "*"), ("*", "*"), ("star", "*"), ("STAR", "*"), ("**", "**"),
        ("Q?", "Q?"), ("QSO_Candidate", "Q?"), ("Candidate_QSO", "Q?"), ("qso_candidate", "Q?"),
        ("Candidate_YSO", "Y*?"), ("YSO_Candidate", "Y*?"), ("AG?", "AG?"), ("Candidate_AGN", "AG?"),
        ("EB*Algol", "EB*"), ("Al*", "EB*"), ("EB*", "EB*"), ("EclBin", "EB*"), ("EB*_Candidate", "EB?"),
        ("HMXB", "HXB"), ("LMXB", "LXB"), ("Candidate_HMXB", "HX?"), ("HMXB_Candidate", "HX?"),
        ("Radio", "Rad"), ("Radio(cm)", "cm"), ("X", "X"), ("GroupG", "GrG"), ("Unknown", "?"), ("?", "?"),
        ("Unknown_Candidate", "?"), ("Candidates", "?"), ("..?", "?"),
        ("BLLac", "BLL"), ("RRLyr", "RR*"), ("V*?_Candidate", "V*?"), ("Planet?_Candidate", "Pl?"),
        ("ULX?_Candidate", "UX?"), ("Candidate_LensSystem", "LS?"), ("Candidate_LensSyste", "LS?"),
        ("LensSystem_Candidate", "LS?"), ("Possible_lensImage", "LI?"), ("Candiate_sr*", "LP?"),
        ("Candidate_sr*", "LP?"), ("LowMassXBin_Candida", "LX?"), ("Cl*?", "Cl?"), ("C?*", "Cl?"),
        ("pMS*", "Y*O"), ("*inCl", "*"), ("rB", "rB"), ("Pec?", "Pe?"), ("  QSO ", "QSO"),
    ],
)  # fmt: skip
def test_names_of_every_age(name, code):
    assert ac.otypes.code_of(name) == code
    assert ac.otypes.code_of([name]).tolist() == [code]
    assert ac.otypes.is_candidate(name) == TYPES[code].is_candidate


@pytest.mark.parametrize(
    "name", ["Seyfert_3", "Red", "ERO", "RB", "Sun", "..", "", "X|QSO", "LINER_Candidate", "Candidate_"]
)
def test_names_of_nothing(name):
    with pytest.raises(InputError, match=r"SIMBAD has no type"):
        ac.otypes.code_of(name)
    if name:
        with pytest.warns(
            AstroClusterWarning, match=r"no such types of objects: .* \(2\); 2 rows are masked"
        ):
            assert ac.otypes.code_of([name, "QSO", name]).tolist() == [None, "QSO", None]


def test_the_nearest_names_are_proposed():
    with pytest.raises(InputError, match="did you mean 'Seyfert1' or 'Seyfert' or 'Seyfert2'"):
        ac.otypes.code_of("Seyfertt1")
    with pytest.raises(InputError, match="SIMBAD has no type 'Red' any more, and none that holds it"):
        ac.otypes.ancestors("Red")
    for wrong in (None, 3, ["QSO"]):
        with pytest.raises(InputError, match="is no type of objects; give a name such as 'QSO'"):
            ac.otypes.descendants(wrong)


def test_columns_of_every_kind():
    cells = ["Seyfert_1 ", "", "YSO"]
    columns = [
        cells,
        tuple(cells),
        np.array(cells),
        np.array(cells, dtype="S"),
        np.array(["Seyfert_1", None, "YSO"], dtype=object),
        MaskedColumn(["Seyfert_1", "x", "YSO"], mask=[False, True, False]),
        ["Seyfert_1", float("nan"), "YSO"],
    ]
    for column in columns:
        out = ac.otypes.code_of(column)
        assert out.tolist() == ["Sy1", None, "Y*O"]
        assert check_ucd(out.info.meta["ucd"], check_controlled_vocabulary=True)
        assert ac.otypes.label_of(column).tolist() == ["Seyfert1", None, "YSO"]
        assert ac.otypes.is_candidate(column).tolist() == [False, False, False]
        assert ac.otypes.fold(column, 1).tolist() == ["AGN", None, "Y*O"]
    assert len(ac.otypes.code_of([])) == 0
    assert len(ac.otypes.is_candidate([])) == 0
    assert len(ac.otypes.fold(np.array([], dtype=str), 0)) == 0
    with pytest.raises(InputError, match="several values a row"):
        ac.otypes.code_of(np.array([["QSO"]]))
    for nothing in (None, 3, b"QSO"):
        with pytest.raises(InputError, match="is no type of objects; give a name"):
            ac.otypes.code_of(nothing)


def test_a_column_of_something_else_is_no_hurdle():
    names = [f"2MASS J{i:08d}+0000000 and more" for i in range(30_000)]
    with pytest.warns(AstroClusterWarning, match="29992 more; 30,000 rows are masked"):
        assert ac.otypes.code_of(names).mask.all()


def test_many_unknown_names_are_told_in_one_line():
    names = [f"type {i}" for i in range(20)] + ["type 3"]
    with pytest.warns(
        AstroClusterWarning, match=r"'type 3' \(2\), .* and 12 more; 21 rows are masked"
    ) as told:
        ac.otypes.code_of(names)
    assert len(told) == 1
    assert told[0].filename == __file__
