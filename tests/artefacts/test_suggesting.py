"""Suggested rows are unusual and different, then probable or undecided, and never labelled ones."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import MaskedColumn, QTable

import astro_cluster as ac
from astro_cluster.artefacts.suggesting import farthest
from astro_cluster.exceptions import InputError

from .samples import sample


def rows_of(out: QTable, name: str = "suggestion") -> list[int]:
    """Suggested rows in their order."""
    rows = np.flatnonzero(~np.ma.getmaskarray(out[name]))
    return rows[np.argsort(np.asarray(out[name])[rows])].tolist()


def test_farthest_is_the_greedy_algorithm():
    X = np.random.default_rng(1).normal(size=(60, 2))
    rows, before = np.arange(10, 60), [0, 1]
    chosen = list(before)
    for found in farthest(X, rows, 8, before):
        free = [row for row in rows if row not in chosen]
        distances = [min(np.sum((X[row] - X[other]) ** 2) for other in chosen) for row in free]
        assert found == free[int(np.argmax(distances))]
        chosen.append(found)
    assert farthest(X, rows[:3], 9) == farthest(X, rows[:3], 3)


def test_without_labels_unusual_rows_and_a_few_ordinary_ones_are_suggested():
    table = sample()
    out = ac.suggest(table, 20, random_state=1)
    rows = rows_of(out)
    assert len(rows) == len(set(rows)) == 20
    assert out["suggestion"].compressed().tolist() != list(range(1, 21))
    assert sorted(out["suggestion"].compressed()) == list(range(1, 21))
    ranks = np.asarray(ac.rank(table, random_state=1)["inspection_rank"])
    assert ranks[rows[0]] == 1
    assert (ranks[rows] <= 20).sum() >= 8
    assert (ranks[rows] > 100).sum() >= 2
    assert 4 <= np.asarray(table["spurious"])[rows].sum() <= 16


def test_with_labels_probable_and_undecided_rows_are_suggested_and_none_twice():
    table = sample(1000, 40)
    bad = np.asarray(table["spurious"])
    looked: list[int] = []
    for _ in range(3):
        table["looked"] = MaskedColumn(bad, mask=~np.isin(np.arange(1000), looked))
        options = {"labels": "looked"} if looked else {}
        rows = rows_of(ac.suggest(table, 20, random_state=1, **options))
        assert not set(rows) & set(looked)
        looked += rows
    assert bad[looked].sum() >= 25
    table["looked"] = MaskedColumn(bad, mask=~np.isin(np.arange(1000), looked))
    learnt = np.asarray(ac.learn(table, "looked", name="bad", random_state=1)["prob_bad"])
    rows = rows_of(ac.suggest(table, 10, labels="looked", random_state=1))
    free = np.setdiff1d(np.arange(1000), looked)
    assert rows[:5] == free[np.argsort(-learnt[free], kind="stable")][:5].tolist()
    undecided = free[np.argsort(np.abs(learnt[free] - 0.5), kind="stable")][:35]
    assert set(rows[5:]) <= set(undecided)


def test_labels_of_one_class_only_are_no_mistake_yet():
    table = sample()
    good = np.flatnonzero(~table["spurious"])[:10]
    table["looked"] = MaskedColumn(table["spurious"], mask=~np.isin(np.arange(400), good))
    rows = rows_of(ac.suggest(table, 20, labels="looked", random_state=1))
    assert not set(rows) & set(good)
    assert np.asarray(table["spurious"])[rows].sum() >= 4


def test_several_classes():
    table = sample()
    texts = np.where(table["spurious"], "spike", np.where(np.arange(400) % 2, "spiral", "elliptical"))
    table["class"] = MaskedColumn(texts, mask=np.arange(400) > 200)
    rows = rows_of(ac.suggest(table, 7, labels="class", random_state=1))
    assert len(rows) == 7
    assert min(rows) > 200


def test_no_more_than_there_are_and_nothing_that_cannot_be_looked_at():
    table = QTable({"zero_fraction": MaskedColumn([0.1, 0.2, 0.0, 0.0, 0.3], mask=[0, 1, 0, 0, 0])})
    out = ac.suggest(table, 20, random_state=1)
    assert sorted(rows_of(out)) == [0, 2, 3, 4]
    table["looked"] = ["a", "b", "a", "b", "a"]
    with pytest.raises(InputError, match="all rows that could be suggested are labelled"):
        ac.suggest(table, labels="looked")


def test_seed_prefix_and_rerun(tmp_path):
    ac.write(sample(), tmp_path / "in.vot")
    out = ac.suggest(tmp_path / "in.vot", 9, prefix="first_", random_state=4)
    assert rows_of(out, "first_suggestion") == rows_of(ac.suggest(sample(), 9, random_state=4))
    ac.write(out, tmp_path / "out.vot")
    assert rows_of(ac.rerun(tmp_path / "out.vot"), "first_suggestion") == rows_of(out, "first_suggestion")


@pytest.mark.parametrize("n", [0, -3, 2.5, True, "x"])
def test_no_number_of_rows(n: object):
    with pytest.raises(InputError, match="is no number of rows"):
        ac.suggest(sample(), n)
