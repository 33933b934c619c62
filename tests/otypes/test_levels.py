"""Summaries and figures by wider types are those of types that are wider."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import QTable

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.otypes.snapshots import shipped

TYPES = shipped().tree.types


def test_summaries_by_level():
    table = QTable(
        {
            "cluster": [0, 0, 0, 0, 1, 1, 1],
            "main_type": ["QSO", "Seyfert_1", "BLLac", "", "YSO", "TTau*", "QSO_Candidate"],
        }
    )
    by_level = ac.summarize(table, by="main_type", level=1)
    assert by_level["main_type"].tolist() == ["AGN", "unmatched", "YSO", "AGN_Candidate"]
    assert by_level["count"].tolist() == [3, 1, 2, 1]
    top = ac.summarize(table, by="main_type", level=0)
    assert top["main_type"].tolist() == ["Galaxy", "unmatched", "Star", "Galaxy_Candidate"]
    deep = ac.summarize(table, by="main_type", level=9)
    assert set(deep["main_type"]) == {
        "QSO",
        "Seyfert1",
        "BLLac",
        "unmatched",
        "YSO",
        "TTauri*",
        "QSO_Candidate",
    }
    assert "folded to level 1 of SIMBAD's types" in by_level["main_type"].info.description
    assert "folded" not in ac.summarize(table, by="main_type")["main_type"].info.description
    record = ac.records(by_level)[-1]
    assert record["parameters"]["level"] == 1
    assert record["otypes"] == ac.otypes.snapshot().facts()
    assert "otypes" not in ac.records(ac.summarize(table, by="main_type"))[-1]


def test_a_folded_summary_is_one_of_folded_types():
    rng = np.random.default_rng(0)
    names = [one.label for one in TYPES.values()]
    table = QTable(
        {"cluster": rng.integers(0, 3, 400), "t": rng.choice(names, 400), "prob_0": rng.uniform(size=400)}
    )
    for level in range(4):
        folded = table.copy()
        folded["t"] = ac.otypes.label_of(ac.otypes.fold(table["t"], level)).filled("")
        one, other = ac.summarize(table, by="t", level=level), ac.summarize(folded, by="t")
        for name in one.colnames:
            assert one[name].tolist() == other[name].tolist()


def test_names_that_are_no_types_stay():
    table = QTable({"cluster": [0, 0, 0, 1], "t": ["QSO", "odd", "odd", "unmatched"]})
    with pytest.warns(
        AstroClusterWarning, match=r"'odd' \(2\); 2 rows of column 't' keep their names"
    ) as told:
        out = ac.summarize(table, by="t", level=0)
    assert told[0].filename == __file__
    assert out["t"].tolist() == ["odd", "Galaxy", "unmatched"]


def test_levels_that_make_no_sense():
    table = QTable({"cluster": [0], "t": ["QSO"]})
    with pytest.raises(InputError, match=r"say which column has them with by="):
        ac.summarize(table, level=1)
    for level in (-1, 0.5, "1", True):
        with pytest.raises(InputError, match="is no level of the hierarchy"):
            ac.summarize(table, by="t", level=level)


def test_a_folded_summary_runs_again(tmp_path):
    path = ac.write(
        QTable({"cluster": [0, 0, 1], "main_type": ["QSO", "Seyfert_1", "YSO"]}), tmp_path / "in.vot"
    )
    out = ac.write(ac.summarize(path, by="main_type", level=1), tmp_path / "out.vot")
    again = ac.rerun(out)
    assert again["main_type"].tolist() == ["AGN", "YSO"]
    assert ac.records(again)[-1]["parameters"]["level"] == 1


def test_another_list_at_a_rerun_is_told(simbad, tmp_path):
    path = ac.write(QTable({"cluster": [0], "main_type": ["QSO"]}), tmp_path / "in.vot")
    out = ac.write(ac.summarize(path, by="main_type", level=1), tmp_path / "out.vot")
    told = ac.otypes.update()
    with pytest.warns(
        AstroClusterWarning, match=rf"the list of object types of 2022, and now uses that of {told.date}"
    ):
        assert ac.rerun(out)["main_type"].tolist() == ["AGN"]


def test_the_types_of_the_report_by_level(real_data):
    table = ac.read(real_data / "chandra" / "csc2_gmm6_simbad_1615.csv")
    fine = ac.summarize(table, "cluster", by="main_type")
    coarse = ac.summarize(table, "cluster", by="main_type", level=1)
    assert coarse["count"].sum() == fine["count"].sum() == len(table)
    assert len(set(coarse["main_type"])) < len(set(fine["main_type"]))
    agn = ["AGN", "QSO", "Seyfert_1", "Seyfert_2", "Seyfert", "BLLac", "LINER", "RadioG"]
    for cluster in set(coarse["cluster"].tolist()):
        by_hand = fine["count"][
            (fine["cluster"] == cluster) & np.isin(np.asarray(fine["main_type"]).astype(str), agn)
        ].sum()
        assert (
            coarse["count"][(coarse["cluster"] == cluster) & (coarse["main_type"] == "AGN")].sum() == by_hand
        )


def test_figures_by_level():
    table = QTable({"cluster": [0, 0, 0, 1], "main_type": ["QSO", "Seyfert_1", "YSO", "YSO"]})
    summary = ac.summarize(table, by="main_type")
    shown = ac.plotting.plot_types(summary, level=1).axes[0].get_legend_handles_labels()[1]
    assert shown == ["AGN", "YSO"]
    assert summary["main_type"].tolist() == ["QSO", "Seyfert_1", "YSO", "YSO"]
    with pytest.raises(InputError, match="is no level"):
        ac.plotting.plot_types(summary, level=-1)


def test_summaries_and_figures_by_level(run, tmp_path):
    table = QTable({"cluster": [0, 0, 1], "main_type": ["QSO", "Seyfert_1", "odd"]})
    path = str(ac.write(table, tmp_path / "t.vot"))
    code, out, err = run("summary", path, "--by", "main_type", "--level", "1", "-o", str(tmp_path / "s.vot"))
    assert code == 0
    assert "AGN" in out
    assert "QSO" not in out
    assert "'odd' (1)" in err
    assert ac.read(tmp_path / "s.vot")["main_type"].tolist() == ["AGN", "odd"]
    assert run("summary", path, "--level", "1")[0] == 2
    figure = tmp_path / "types.png"
    assert run("plot", path, "types", "--by", "main_type", "--level", "0", "-o", str(figure))[0] == 0
    assert figure.stat().st_size > 0
    code, _, err = run("plot", path, "sky", "--level", "0", "-o", str(tmp_path / "sky.png"))
    assert code == 2
    assert "--level has no meaning for the figure sky" in err
