"""What is found against what is looked at, as a loop and scikit-learn count it."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import MaskedColumn, QTable
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

import astro_cluster as ac
from astro_cluster.exceptions import InputError

from .samples import sample


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_it_is_what_a_loop_counts(rows: list[tuple[int, bool]]):
    score = np.array([row[0] for row in rows], dtype=float)
    bad = np.array([row[1] for row in rows])
    bad[0] = True
    out = ac.recall_curve(QTable({"s": score, "bad": bad}), "bad", score="s", at=[1, len(rows)])
    for row, value in zip(out, sorted(set(score), reverse=True), strict=True):
        inside = score >= value
        assert row["inspected"] == inside.sum()
        assert row["found"] == bad[inside].sum()
        assert row["recall"] == pytest.approx(bad[inside].sum() / bad.sum())
        assert row["precision"] == pytest.approx(bad[inside].mean())
        assert row["lift"] == pytest.approx(bad[inside].mean() / bad.mean())
    assert out.meta["average_precision"] == pytest.approx(average_precision_score(bad, score))
    top = score == score.max()
    assert out.meta["at"][0]["found"] == pytest.approx(bad[top].mean())
    assert out.meta["at"][1]["recall"] == pytest.approx(1)
    assert out.meta["needed"]["1"] <= len(rows)


def test_needed_is_the_smallest_number():
    bad = np.zeros(100, dtype=bool)
    bad[[0, 1, 9, 49]] = True
    out = ac.recall_curve(QTable({"inspection_rank": np.arange(1, 101), "bad": bad}), "bad")
    assert out.meta["needed"] == {"0.5": 2, "0.9": 50, "0.95": 50, "1": 50}


def test_directions_are_told_by_the_column():
    table = ac.rank(sample(), random_state=1)
    by_rank = ac.recall_curve(table, "spurious", at=[20])
    by_score = ac.recall_curve(table, "spurious", score="outlier_score", at=[20])
    assert by_rank.meta["at"][0] == by_score.meta["at"][0]
    backwards = ac.recall_curve(table, "spurious", score="outlier_score", largest_first=False, at=[20])
    assert backwards.meta["at"][0]["found"] < 3
    assert ac.records(by_rank)[-1]["parameters"]["score"] == "inspection_rank"


def test_rows_without_a_score_come_last_and_rows_without_a_label_are_left_out():
    table = QTable(
        {
            "s": MaskedColumn([3.0, 2.0, 1.0, 0.0], mask=[False, False, True, False]),
            "bad": MaskedColumn([True, False, True, True], mask=[False, False, False, True]),
        }
    )
    out = ac.recall_curve(table, "bad", score="s")
    assert out["inspected"].tolist() == [1, 2, 3]
    assert out["recall"].tolist() == [0.5, 0.5, 1.0]
    assert out.meta["rows_left_out"] == 1


def test_the_studys_labels():
    table = QTable({"inspection_rank": [1, 2, 3], "label": [0, 1, 0]})
    assert ac.recall_curve(table, "label", value=0)["recall"].tolist() == [0.5, 0.5, 1.0]


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (sample(), {}, "has no column inspection_rank: rank it first"),
        (sample(), {"score": "latent"}, "several values a row"),
        (sample(), {"score": "zero_fraction", "at": [0]}, "at=0 is no number of rows"),
        (sample(), {"score": "zero_fraction", "value": "x"}, "'x' is none"),
        (sample(bad=0), {"score": "zero_fraction"}, "no row has True in column 'spurious'"),
        (QTable({"s": [np.nan] * 2, "spurious": [True, False]}), {"score": "s"}, "no value in any of 2 rows"),
    ],
)
def test_bad_input_is_one_clear_sentence(table: QTable, options: dict, message: str):
    with pytest.raises(InputError, match=message):
        ac.recall_curve(table, "spurious", **options)
