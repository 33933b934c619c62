"""What compare says of two runs is what one counts by hand, and what scikit-learn says."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest
from astropy.io.votable.ucd import check_ucd
from astropy.table import MaskedColumn, QTable
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

import astro_cluster as ac
from astro_cluster.comparing import as_flows, runs_of
from astro_cluster.exceptions import InputError

HAND = QTable({"a_cluster": [0, 0, 0, 0, 1, 1, -1], "b_cluster": [2, 2, 2, 5, 5, 5, -1]})


def clustered(n: int = 400, seed: int = 0) -> QTable:
    """Three runs, the third with holes."""
    rng = np.random.default_rng(seed)
    a = rng.integers(-1, 4, n)
    b = np.where(rng.uniform(size=n) < 0.7, a, rng.integers(0, 6, n))
    c = np.where(rng.uniform(size=n) < 0.5, b + 10, rng.integers(0, 20, n))
    hole = rng.uniform(size=n) < 0.2
    return QTable({"a_cluster": a, "b_cluster": b, "c_cluster": MaskedColumn(c, mask=hole)})


def cells(flows: QTable) -> set[tuple]:
    names = ("run_a", "cluster_a", "run_b", "cluster_b", "count")
    return {tuple(row[name] for name in names) for row in flows}


def test_a_contingency_table_made_by_hand():
    flows = ac.compare(HAND, ["a_", "b_"])
    assert flows.colnames == [
        "run_a",
        "cluster_a",
        "run_b",
        "cluster_b",
        "count",
        "fraction_of_a",
        "fraction_of_b",
        "jaccard",
        "ari",
        "nmi",
    ]
    assert flows["cluster_a"].tolist() == [-1, 0, 0, 1]
    assert flows["cluster_b"].tolist() == [-1, 2, 5, 5]
    assert flows["count"].tolist() == [1, 3, 1, 2]
    assert flows["fraction_of_a"].tolist() == [1.0, 0.75, 0.25, 1.0]
    np.testing.assert_allclose(flows["fraction_of_b"], [1, 1, 1 / 3, 2 / 3])
    np.testing.assert_allclose(flows["jaccard"], [1, 3 / 4, 1 / 6, 2 / 3])
    assert set(flows["run_a"]) == {"a_"}
    assert set(flows["run_b"]) == {"b_"}


def test_every_column_is_described():
    flows = ac.compare(HAND, ["a_", "b_"])
    for name in flows.colnames:
        assert flows[name].info.description
        assert check_ucd(flows[name].info.meta["ucd"], check_controlled_vocabulary=True)


@pytest.mark.parametrize("pairs", ["consecutive", "all"])
def test_counted_one_row_after_the_other_and_scored_by_scikit_learn(pairs):
    table = clustered()
    flows = ac.compare(table, ["a_", "b_", "c_"], pairs=pairs)
    wanted = [("a_", "b_"), ("a_", "c_"), ("b_", "c_")]
    if pairs == "consecutive":
        wanted.remove(("a_", "c_"))
    assert list(dict.fromkeys(zip(flows["run_a"], flows["run_b"], strict=True))) == wanted
    for a, b in wanted:
        part = flows[(flows["run_a"] == a) & (flows["run_b"] == b)]
        rows = [
            (int(x), int(y))
            for x, y in zip(table[f"{a}cluster"], table[f"{b}cluster"], strict=True)
            if not np.ma.is_masked(x) and not np.ma.is_masked(y)
        ]
        counts = Counter(rows)
        assert {(int(r["cluster_a"]), int(r["cluster_b"])): int(r["count"]) for r in part} == counts
        left, right = map(list, zip(*rows, strict=True))
        for row in part:
            of_a, of_b = left.count(row["cluster_a"]), right.count(row["cluster_b"])
            assert row["fraction_of_a"] == pytest.approx(row["count"] / of_a)
            assert row["fraction_of_b"] == pytest.approx(row["count"] / of_b)
            assert row["jaccard"] == pytest.approx(row["count"] / (of_a + of_b - row["count"]))
        assert set(part["ari"]) == {adjusted_rand_score(left, right)}
        assert set(part["nmi"]) == {normalized_mutual_info_score(left, right)}
        for cluster in set(left):
            assert (np.diff(part["count"][part["cluster_a"] == cluster]) <= 0).all()


def test_the_meta_holds_all_pairs():
    table = clustered()
    flows = ac.compare(table, ["a_", "b_", "c_"])
    meta = flows.meta
    holes = int(np.sum(table["c_cluster"].mask))
    assert meta["runs"] == ["a_", "b_", "c_"]
    assert meta["rows"] == len(table)
    assert meta["rows_left_out"] == [[0, 0, holes], [0, 0, holes], [holes] * 3]
    for key in ("ari", "nmi"):
        matrix = np.array(meta[key])
        np.testing.assert_allclose(matrix, matrix.T)
        np.testing.assert_allclose(np.diag(matrix), 1.0)
        assert matrix[1, 2] == flows[key][-1]


labels = st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 4)), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(labels, st.randoms(use_true_random=False), st.permutations(range(-1, 5)))
def test_neither_the_order_nor_the_names_matter(pairs, random, renamed):
    def compared(rows, name=lambda label: label):
        a, b = zip(*rows, strict=True)
        return ac.compare(QTable({"a_cluster": a, "b_cluster": [name(x) for x in b]}), ["a_", "b_"])

    flows = compared(pairs)
    shuffled = list(pairs)
    random.shuffle(shuffled)
    again = compared(shuffled)
    assert all((flows[name] == again[name]).all() for name in flows.colnames)
    new = dict(zip(range(-1, 5), renamed, strict=True))
    other = compared(pairs, new.__getitem__)
    assert {(r, a, s, new[b], n) for r, a, s, b, n in cells(flows)} == cells(other)
    assert other["ari"][0] == pytest.approx(flows["ari"][0])
    assert other["nmi"][0] == pytest.approx(flows["nmi"][0])
    assert flows["count"].sum() == len(pairs)
    turned = ac.compare(
        QTable({"a_cluster": [a for a, _ in pairs], "b_cluster": [b for _, b in pairs]}), ["b_", "a_"]
    )
    assert {(b, a, n) for _, a, _, b, n in cells(flows)} == {(a, b, n) for _, a, _, b, n in cells(turned)}


def test_the_same_partition_and_one_cluster():
    same = ac.compare(QTable({"a_cluster": [0, 0, 1], "b_cluster": [7, 7, 3]}), ["a_", "b_"])
    assert set(same["ari"]) == set(same["nmi"]) == {1.0}
    assert set(same["jaccard"]) == {1.0}
    one = ac.compare(QTable({"a_cluster": [0] * 4, "b_cluster": [0, 0, 1, 1]}), ["a_", "b_"])
    assert set(one["ari"]) == set(one["nmi"]) == {0.0}
    both = ac.compare(QTable({"a_cluster": [0] * 4, "b_cluster": [5] * 4}), ["a_", "b_"])
    assert (len(both), both["ari"][0], both["count"][0]) == (1, 1.0, 4)


def test_more_clusters_than_half_of_the_rows_are_no_reason_to_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flows = ac.compare(
            QTable({"a_cluster": np.arange(50), "b_cluster": np.arange(50) // 2}), ["a_", "b_"]
        )
    assert len(flows) == 50


def test_how_runs_are_named():
    table = QTable({"cluster": [0, 1], "g_cluster": [0, 0], "mine": [1, 1]})
    found = runs_of(table, ["", "g_cluster", "mine"])
    assert [(run.name, run.column) for run in found] == [
        ("cluster", "cluster"),
        ("g_cluster", "g_cluster"),
        ("mine", "mine"),
    ]
    assert set(ac.compare(table, ["", "g_"])["run_a"]) == {"cluster"}


def test_what_cannot_be_compared():
    table = QTable({"gmm6_cluster": [0, 1], "gmm8_cluster": [0, 0], "x": [0.5, 0.5], "t": ["a", "b"]})
    with pytest.raises(InputError, match=r"'gmm5_'.*did you mean .*'gmm6_'.*The runs are: gmm6_, gmm8_"):
        ac.compare(table, ["gmm5_", "gmm8_"])
    with pytest.raises(InputError, match="cluster it first"):
        ac.compare(table["x", "t"], ["gmm5_", "gmm8_"])
    for one in (["gmm6_"], "gmm6_", []):
        with pytest.raises(InputError, match="alone cannot be compared; give at least 2 runs"):
            ac.compare(table, one)
    with pytest.raises(InputError, match="'gmm6_cluster' is named twice"):
        ac.compare(table, ["gmm6_", "gmm6_cluster"])
    with pytest.raises(InputError, match="is no run"):
        ac.compare(table, [6, 8])
    for column in ("x", "t"):
        with pytest.raises(InputError, match=f"column '{column}' holds no cluster numbers"):
            ac.compare(table, ["gmm6_", column])
    with pytest.raises(InputError, match="pairs='some'"):
        ac.compare(table, ["gmm6_", "gmm8_"], pairs="some")


def test_masked_everywhere():
    n = 10
    first = np.arange(n) < 5
    table = QTable(
        {
            "a_cluster": MaskedColumn(np.zeros(n, int), mask=first),
            "b_cluster": MaskedColumn(np.zeros(n, int), mask=~first),
            "c_cluster": np.arange(n) % 2,
            "d_cluster": MaskedColumn(np.zeros(n, int), mask=True),
        }
    )
    with pytest.raises(InputError, match="'d_cluster' has no label in any of 10 rows"):
        ac.compare(table, ["c_", "d_"])
    with pytest.raises(InputError, match="no row has a label in both 'a_' and 'b_'"):
        ac.compare(table, ["a_", "b_"])
    flows = ac.compare(table, ["a_", "c_", "b_"])  # the two are not neighbours
    assert flows.meta["ari"][0][2] is None
    assert flows.meta["rows_left_out"][0][2] == n


def test_the_record_and_the_given_table():
    table = clustered()
    before = table.copy()
    flows = ac.compare(table, ["a_", "b_"])
    assert all((table[name] == before[name]).all() for name in table.colnames)
    record = ac.records(flows)[-1]
    assert record["function"] == "compare"
    assert record["parameters"] == {"runs": ["a_", "b_"], "pairs": "consecutive"}
    assert list(record["inputs"]) == ["a_cluster", "b_cluster"]


@pytest.mark.parametrize("ending", ["vot", "fits", "ecsv", "parquet"])
def test_flows_survive_a_file_and_are_made_again(tmp_path, ending):
    source = ac.write(clustered(), tmp_path / "runs.ecsv")
    flows = ac.compare(ac.read(source), ["a_", "b_", "c_"])
    back = ac.read(ac.write(flows, tmp_path / f"flows.{ending}"))
    assert all((back[name] == flows[name]).all() for name in flows.colnames)
    assert {k: back.meta[k] for k in ("runs", "ari", "nmi", "rows_left_out")} == {
        k: flows.meta[k] for k in ("runs", "ari", "nmi", "rows_left_out")
    }
    assert ac.splits(back) == ac.splits(flows)
    again = ac.rerun(back)
    assert cells(again) == cells(flows)


# ---------------------------------------------------------------- splits


def test_splits_in_words():
    a = [3] * 100 + [1] * 100 + [0] * 30 + [-1] * 10
    b = [2] * 61 + [5] * 37 + [1] * 2 + [0] * 98 + [1] * 2 + list(range(30)) + [-1] * 5 + [4] * 5
    flows = ac.compare(QTable({"gmm6_cluster": a, "gmm8_cluster": b}), ["gmm6_", "gmm8_"])
    assert ac.splits(flows) == [
        "noise of gmm6_ splits into noise (50 %) and 4 (50 %) of gmm8_",
        "cluster 0 of gmm6_ scatters over 30 clusters of gmm8_, none with 10 % of it",
        "cluster 1 of gmm6_ goes into 0 of gmm8_ (98 %)",
        "cluster 3 of gmm6_ splits into 2 (61 %) and 5 (37 %) of gmm8_",
    ]
    assert ac.splits(flows, least=0.01)[3] == (
        "cluster 3 of gmm6_ splits into 2 (61 %), 5 (37 %) and 1 (2 %) of gmm8_"
    )


def test_splits_from_a_csv(tmp_path):
    flows = ac.compare(HAND, ["a_", "b_"])
    with pytest.warns(ac.AstroClusterWarning, match="CSV drops"):
        path = ac.write(flows, tmp_path / "flows.csv")
    assert ac.splits(str(path)) == ac.splits(flows)
    assert len(as_flows(path)) == 4


def test_splits_of_what_is_no_comparison():
    with pytest.raises(InputError, match="no column 'run_a'"):
        ac.splits(HAND)
    with pytest.raises(InputError, match="least=2"):
        ac.splits(ac.compare(HAND, ["a_", "b_"]), least=2)
