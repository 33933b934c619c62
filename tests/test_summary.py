"""What summarize and inspect say is what one counts by hand."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from astropy import units as u
from astropy.io.votable.ucd import check_ucd
from astropy.table import MaskedColumn, QTable, Table
from astropy.utils.masked import Masked
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact

import astro_cluster as ac
from astro_cluster.exceptions import InputError
from astro_cluster.summary import cluster_column, probability_columns


def clustered(n: int = 300, k: int = 4, seed: int = 0) -> QTable:
    """Labels, some of them masked or noise; types, some empty or masked; probabilities with NaN."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, k, n)
    table = QTable({"cluster": MaskedColumn(labels, mask=rng.uniform(size=n) < 0.1)})
    kinds = rng.choice(["QSO", "Star", "YSO", "", "  ", "AGN "], n, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.1])
    table["main_type"] = MaskedColumn(kinds, mask=rng.uniform(size=n) < 0.1)
    for j in range(k):
        p = rng.uniform(size=n)
        p[rng.uniform(size=n) < 0.05] = np.nan
        table[f"prob_{j}"] = MaskedColumn(p, mask=rng.uniform(size=n) < 0.05)
    table["prob_max"] = rng.uniform(size=n)
    return table


def by_hand(table: QTable) -> dict[tuple[int, str], list[dict]]:
    """Return the rows of each cluster and type, one row after the other."""
    groups: dict[tuple[int, str], list[dict]] = {}
    for row in table:
        if np.ma.is_masked(row["cluster"]):
            continue
        kind = "unmatched" if np.ma.is_masked(row["main_type"]) else row["main_type"].strip() or "unmatched"
        groups.setdefault((int(row["cluster"]), str(kind)), []).append(row)
    return groups


def chance(count: int, cluster: int, kind: int, n: int) -> float:
    """Return the probability of ``count`` or more in a draw of ``cluster`` from ``n``, exactly."""
    ways = sum(comb(kind, i) * comb(n - kind, cluster - i) for i in range(count, min(kind, cluster) + 1))
    return float(Fraction(ways, comb(n, cluster)))


def benjamini_hochberg(p: list[float]) -> list[float]:
    order = sorted(range(len(p)), key=p.__getitem__)
    adjusted, least = [0.0] * len(p), 1.0
    for rank in range(len(p), 0, -1):
        i = order[rank - 1]
        least = min(least, p[i] * len(p) / rank)
        adjusted[i] = least
    return adjusted


@pytest.mark.parametrize("seed", range(3))
def test_every_number_by_hand(seed):
    table = clustered(seed=seed)
    out = ac.summarize(table, by="main_type")
    groups = by_hand(table)
    clusters = sorted({c for c, _ in groups})
    kinds = sorted({t for _, t in groups})
    n = sum(map(len, groups.values()))
    size = {c: sum(len(g) for (a, _), g in groups.items() if a == c) for c in clusters}
    total = {t: sum(len(g) for (_, b), g in groups.items() if b == t) for t in kinds}
    pairs = [(c, t) for c in clusters for t in kinds]
    p = [chance(len(groups.get(pair, [])), size[pair[0]], total[pair[1]], n) for pair in pairs]
    fdr = dict(zip(pairs, benjamini_hochberg(p), strict=True))
    p_value = dict(zip(pairs, p, strict=True))
    expected = sorted(groups, key=lambda pair: (pair[0], -len(groups[pair]), pair[1]))
    assert [(int(r["cluster"]), str(r["main_type"])) for r in out] == expected
    for row, (c, t) in zip(out, expected, strict=True):
        rows = groups[c, t]
        assert row["count"] == len(rows)
        assert row["fraction_of_cluster"] == pytest.approx(len(rows) / size[c])
        assert row["fraction_of_type"] == pytest.approx(len(rows) / total[t])
        assert row["enrichment"] == pytest.approx((len(rows) / size[c]) / (total[t] / n))
        assert row["p_value"] == pytest.approx(p_value[c, t], rel=1e-9)
        assert row["fdr"] == pytest.approx(fdr[c, t], rel=1e-9)
        for j in range(4):
            seen = [float(r[f"prob_{j}"]) for r in rows if not np.ma.is_masked(r[f"prob_{j}"])]
            seen = [value for value in seen if value == value]
            mean = sum(seen) / len(seen) if seen else np.nan
            assert row[f"mean_prob_{j}"] == pytest.approx(mean, nan_ok=True)
    assert out.meta["rows"] == n
    assert out.meta["rows_without_cluster"] == len(table) - n
    assert "mean_prob_max" not in out.colnames


def test_p_value_is_fishers():
    labels = np.repeat([0, 0, 1, 1], [7, 3, 5, 20])
    kinds = np.repeat(["a", "b", "a", "b"], [7, 3, 5, 20])
    out = ac.summarize(QTable({"cluster": labels, "t": kinds}), by="t")
    p = fisher_exact([[7, 3], [5, 20]], alternative="greater").pvalue
    assert out["p_value"][0] == pytest.approx(p)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(-1, 3), st.sampled_from("abc")), min_size=1, max_size=30))
def test_sums_and_ranges(rows):
    labels, kinds = zip(*rows, strict=True)
    table = QTable({"cluster": list(labels), "t": list(kinds)})
    out = ac.summarize(table, by="t")
    assert out["count"].sum() == len(rows)
    for c in set(labels):
        assert out["fraction_of_cluster"][out["cluster"] == c].sum() == pytest.approx(1)
    for t in set(kinds):
        assert out["fraction_of_type"][out["t"] == t].sum() == pytest.approx(1)
    assert ((out["p_value"] >= 0) & (out["p_value"] <= out["fdr"] + 1e-12) & (out["fdr"] <= 1)).all()
    backwards = ac.summarize(table[::-1], by="t")
    assert all((backwards[name] == out[name]).all() for name in out.colnames)


def test_clusters_alone():
    table = QTable({"cluster": MaskedColumn([2, 0, 2, -1, 0, 2], mask=[0, 0, 0, 0, 0, 1])})
    out = ac.summarize(table)
    assert out.colnames == ["cluster", "count", "fraction"]
    assert out["cluster"].tolist() == [-1, 0, 2]
    assert out["count"].tolist() == [1, 2, 2]
    assert out["fraction"].tolist() == [0.2, 0.4, 0.4]
    assert out.meta["rows_without_cluster"] == 1


@pytest.mark.parametrize(
    "column",
    [
        MaskedColumn(["QSO", "x", "x"], mask=[False, True, True]),
        ["QSO", "", "   "],
        np.array(["QSO", None, ""], dtype=object),
        np.array([b"QSO", b"", b" "]),
        MaskedColumn(np.array(["QSO", None, "x"], dtype=object), mask=[False, False, True]),
    ],
)
def test_unmatched_in_every_guise(column):
    out = ac.summarize(QTable({"cluster": [0, 0, 0], "t": column}), by="t")
    assert out["t"].tolist() == ["unmatched", "QSO"]
    assert out["count"].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("column", "kinds"),
    [
        (np.array([3.0, np.nan, np.nan]), ["unmatched", "3.0"]),
        (Masked([3, 4, 4] * u.one, mask=[False, True, True]), ["unmatched", "3.0"]),
        (MaskedColumn([3, 4, 4], mask=[False, True, True]), ["unmatched", "3"]),
        ([True, False, False], ["False", "True"]),
    ],
)
def test_types_that_are_numbers(column, kinds):
    assert ac.summarize(QTable({"cluster": [0, 0, 0], "t": column}), by="t")["t"].tolist() == kinds


def test_a_missing_number_among_objects_is_unmatched():
    column = np.array(["QSO", None, np.nan], dtype=object)
    out = ac.summarize(QTable({"cluster": [0, 0, 0], "t": column}), by="t")
    assert out["t"].tolist() == ["unmatched", "QSO"]


@pytest.mark.parametrize("by", ["cluster", "count", "fdr", "mean_prob_0"])
def test_types_in_a_column_named_as_one_of_the_results(by):
    table = QTable({"g_cluster": [0, 0, 1], "g_prob_0": [0.1, 0.2, 0.9], by: [5, 6, 6]})
    try:
        out = ac.summarize(table, "g_cluster", by=by)
    except InputError as error:
        assert by in str(error)  # noqa: PT017
        return
    # Nothing may have been replaced: label, type, count, two fractions, mean, enrichment, p, fdr.
    assert len(out.colnames) == len(set(out.colnames)) == 9


def test_prefixes_keep_runs_apart():
    table = QTable({"cluster": [0, 1], "prob_0": [0.1, 0.2], "prob_1": [0.9, 0.8]})
    table["g_cluster"], table["g_prob_0"] = [1, 1], [0.5, 0.7]
    assert probability_columns(table, "cluster") == ["prob_0", "prob_1"]
    assert probability_columns(table, "g_cluster") == ["g_prob_0"]
    out = ac.summarize(table, "g_cluster")
    assert out.colnames == ["cluster", "count", "fraction", "mean_prob_0"]
    assert out["mean_prob_0"][0] == pytest.approx(0.6)


def test_probabilities_in_the_order_of_their_numbers():
    table = QTable({"cluster": [0, 1]} | {f"prob_{k}": [k / 20, k / 10] for k in (10, 2, 1, 0, 11)})
    assert probability_columns(table, "cluster") == ["prob_0", "prob_1", "prob_2", "prob_10", "prob_11"]
    table["x.cluster"], table["xxcluster"], table["xxprob_0"] = [0, 1], [0, 1], [0.0, 1.0]
    assert probability_columns(table, "x.cluster") == []


def test_means_keep_the_number_of_their_probability():
    out = ac.summarize(QTable({"cluster": [0, 1], "prob_0": [0.1, 0.2], "prob_2": [0.5, 0.6]}))
    assert out.colnames[-2:] == ["mean_prob_0", "mean_prob_2"]
    assert out["mean_prob_2"].tolist() == [0.5, 0.6]


def test_an_overwritten_clustering_leaves_no_old_probabilities():
    cat = ac.simulate.chandra(80, random_state=0)
    out = ac.cluster(cat, "gmm", features="hard_*", n_components=4, random_state=0)
    out = ac.cluster(out, "gmm", features="hard_*", n_components=2, random_state=0, overwrite=True)
    assert probability_columns(out, "cluster") == ["prob_0", "prob_1"]


def test_the_column_of_labels_is_found():
    cat = ac.simulate.chandra(60, random_state=0)
    out = ac.cluster(cat, "kmeans", features="hard_*", n_clusters=2, prefix="a_")
    out = ac.cluster(out, "kmeans", features="hard_*", n_clusters=2, prefix="b_")
    assert cluster_column(out) == "b_cluster"
    assert cluster_column(out, "a_cluster") == "a_cluster"
    out.remove_column("b_cluster")
    assert cluster_column(out) == "a_cluster"
    out.meta.clear()
    assert cluster_column(out) == "a_cluster"  # by its UCD
    with pytest.raises(InputError, match="there is no column 'c_cluster'; did you mean"):
        cluster_column(out, "c_cluster")
    with pytest.raises(InputError, match=r"cannot tell the column of cluster labels \(there is none\)"):
        cluster_column(cat)


def test_what_cannot_be_summarized():
    with pytest.raises(InputError, match="'cluster' has no label in any of 2 rows"):
        ac.summarize(QTable({"cluster": MaskedColumn([0, 1], mask=True)}))
    with pytest.raises(InputError, match="'cluster' holds no cluster numbers"):
        ac.summarize(QTable({"cluster": ["a", "b"]}))
    with pytest.raises(InputError, match="there is no column 'tpye'; did you mean 'type'"):
        ac.summarize(QTable({"cluster": [0], "type": ["a"]}), by="tpye")
    with pytest.raises(InputError, match="several values a row"):
        ac.summarize(QTable({"cluster": [0], "type": [["a", "b"]]}), by="type")


@pytest.mark.parametrize("labels", [np.array([0.5, 0.7]), np.zeros((2, 2))])
def test_numbers_that_are_no_labels(labels):
    with pytest.raises(InputError, match="'cluster'"):
        ac.summarize(QTable({"cluster": labels}))


def test_results_are_described_and_recorded(tmp_path):
    table = clustered()
    table.meta["astro_cluster"] = []
    types = ac.summarize(table, by="main_type")
    table["bad"] = np.arange(len(table)) % 3 == 0
    bad = ac.inspect(table, label="bad")
    for out in (types, ac.summarize(table), bad):
        for name in out.colnames:
            assert check_ucd(out[name].info.meta["ucd"], check_controlled_vocabulary=True), name
            assert out[name].info.description, name
        assert ac.records(out)[-1]["row_order"] == "changed"
    assert ac.records(types)[-1]["inputs"].keys() == {
        "cluster",
        "main_type",
        *(f"prob_{k}" for k in range(4)),
    }
    for ending in ("ecsv", "vot"):
        back = ac.read(ac.write(types, tmp_path / f"t.{ending}"))
        assert back["count"].tolist() == types["count"].tolist()
        assert back.meta["rows"] == types.meta["rows"]
    assert "| cluster | main_type | count |" in ac.write(types, tmp_path / "t.md").read_text()


def test_files_and_plain_tables_will_do(tmp_path):
    table = Table({"cluster": [0, 0, 1], "t": np.array([b"a", b"b", b"b"])})
    path = ac.write(QTable({"cluster": [0, 0, 1], "t": ["a", "b", "b"]}), tmp_path / "t.fits")
    for source in (table, path):
        assert ac.summarize(source, by="t")["t"].tolist() == ["a", "b", "b"]


# ---------------------------------------------------------------- inspect


def jwst() -> QTable:
    """Make a sample as the JWST study's: 1,816 objects, 57 of them spurious."""
    sizes = {0: (500, 2), 1: (212, 40), 2: (504, 1), 3: (200, 14), 4: (200, 0), 5: (200, 0)}
    labels = np.repeat(list(sizes), [n for n, _ in sizes.values()])
    spurious = np.concatenate([np.arange(n) < bad for n, bad in sizes.values()])
    order = np.random.default_rng(0).permutation(len(labels))
    return QTable({"cluster": labels[order], "spurious": spurious[order]})


def test_the_jwst_example():
    table = jwst()
    assert len(table) == 1816
    out = ac.inspect(table, label="spurious", threshold=0.05)
    assert out["cluster"].tolist() == [1, 3, 0, 2, 4, 5]
    assert out["size"].tolist() == [212, 200, 500, 504, 200, 200]
    assert out["bad"].tolist() == [40, 14, 2, 1, 0, 0]
    assert (out["good"] + out["bad"] == out["size"]).all()
    assert out["in_region"].tolist() == [True, True, False, False, False, False]
    region = out.meta["region"]
    assert region["clusters"] == [1, 3]
    assert (region["size"], region["bad"]) == (412, 54)
    assert region["recall"] == pytest.approx(54 / 57)
    assert region["precision"] == pytest.approx(54 / 412)
    assert f"{region['precision']:.0%}" == "13%"
    assert region["lift"] == pytest.approx((54 / 412) / (57 / 1816))
    np.testing.assert_allclose(out["bad_fraction"], [40 / 212, 14 / 200, 2 / 500, 1 / 504, 0, 0])
    np.testing.assert_allclose(out["recall"], np.array([40, 54, 56, 57, 57, 57]) / 57)
    inspected = np.array([212, 412, 912, 1416, 1616, 1816])
    np.testing.assert_allclose(out["inspected_fraction"], inspected / 1816)
    np.testing.assert_allclose(out["precision"], np.array([40, 54, 56, 57, 57, 57]) / inspected)
    np.testing.assert_allclose(out["lift"], np.asarray(out["precision"]) * 1816 / 57)
    assert out["lift"][-1] == pytest.approx(1)


def test_thresholds_at_the_ends():
    table = QTable({"cluster": [0, 0, 1, 1, 2], "s": [True, True, True, False, False]})
    all_in = ac.inspect(table, label="s", threshold=0)
    assert all_in["in_region"].all()
    assert all_in.meta["region"]["recall"] == 1.0
    assert all_in.meta["region"]["lift"] == pytest.approx(1)
    only_bad = ac.inspect(table, label="s", threshold=1)
    assert only_bad.meta["region"]["clusters"] == [0]
    assert only_bad.meta["region"]["precision"] == 1.0
    table["s"][0] = False
    nothing = ac.inspect(table, label="s", threshold=1).meta["region"]
    assert (nothing["clusters"], nothing["size"], nothing["recall"], nothing["precision"]) == (
        [],
        0,
        0.0,
        0.0,
    )
    for threshold in (-0.1, 1.1, float("nan"), 5):
        with pytest.raises(InputError, match="is no share; give a number within 0 and 1"):
            ac.inspect(table, label="s", threshold=threshold)


def test_a_share_equal_to_the_threshold_is_in():
    for bad, size in ((7, 100), (14, 100), (28, 100), (55, 100), (5, 100), (1, 20)):
        table = QTable({"cluster": np.zeros(size, int), "s": np.arange(size) < bad})
        assert ac.inspect(table, label="s", threshold=bad / size)["in_region"][0], (bad, size)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_the_edge_of_the_region(pair):
    size, bad = pair
    table = QTable({"cluster": np.zeros(size, int), "s": np.arange(size) < bad})
    assert ac.inspect(table, label="s", threshold=bad / size)["in_region"][0]
    if bad < size:
        assert not ac.inspect(table, label="s", threshold=np.nextafter(bad / size, 2))["in_region"][0]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ([True, False, True, False], True),
        ([False, True, False, True], False),
        ([1, 0, 1, 0], True),
        ([1, 0, 1, 0], 1),
        ([3, 2, 3, 0], "3"),
        ([True, False, True, False], "true"),
        ([1.0, 0.0, 1.0, 2.0], 1),
        (["bad", "good", " bad ", "fine"], "bad"),
        (np.array([b"bad", b"good", b"bad", b"fine"]), "bad"),
        (np.array(["bad", "good", "bad", "fine"], dtype=object), "bad"),
        (["1", "0", "1", "0"], 1),
        (["True", "False", "True", "False"], True),
        (["true", "FALSE", " True", "false"], "true"),
        (np.array(["yes", "no", "Yes", "no"], dtype=object), True),
        (["False", "True", "False", "True"], "false"),
        ([1, 0, 1, 0], "yes"),
    ],
)
def test_labels_of_every_kind(column, value):
    out = ac.inspect(QTable({"cluster": [0, 0, 1, 1], "l": column}), label="l", value=value)
    assert out["bad"].tolist() == [1, 1]
    assert out["size"].tolist() == [2, 2]


@pytest.mark.parametrize(
    "column",
    [
        MaskedColumn([True, False, True, True], mask=[False, False, True, True]),
        np.array([1.0, 0.0, np.nan, np.nan]),
        MaskedColumn(["True", "no", "True", "True"], mask=[False, False, True, True]),
        MaskedColumn([1, 0, 1, 1], mask=[False, False, True, True]),
    ],
)
def test_rows_without_a_label_are_left_out(column):
    out = ac.inspect(QTable({"cluster": [0, 0, 0, 1], "l": column}), label="l")
    assert out["cluster"].tolist() == [0]
    assert (out["bad"][0], out["size"][0]) == (1, 2)
    assert out.meta["rows_left_out"] == 2


def test_a_word_among_others_is_no_truth_value():
    table = QTable({"cluster": [0, 0, 0], "l": ["true", "True", "perhaps"]})
    assert ac.inspect(table, label="l", value="true")["bad"].tolist() == [1]
    empty = QTable({"cluster": [0, 0, 0], "l": ["True", "", "False"]})
    out = ac.inspect(empty, label="l")
    assert (out["bad"].tolist(), out["size"].tolist(), out.meta["rows_left_out"]) == ([1], [2], 1)


def test_noise_and_rows_without_a_cluster():
    table = QTable(
        {"cluster": MaskedColumn([-1, -1, 0, 0], mask=[0, 0, 0, 1]), "l": [True, False, False, True]}
    )
    out = ac.inspect(table, label="l")
    assert out["cluster"].tolist() == [-1, 0]
    assert out["bad"].tolist() == [1, 0]
    assert out.meta["rows_left_out"] == 1


def test_ties_by_number():
    table = QTable({"cluster": [3, 3, 1, 1, 2, 2], "l": [True, False] * 3})
    assert ac.inspect(table, label="l")["cluster"].tolist() == [1, 2, 3]


def test_no_bad_row():
    table = QTable({"cluster": [0, 1], "l": ["fine", "good"], "n": [0, 5]})
    with pytest.raises(InputError, match=r"no row with a cluster has 'bad' in column 'l'.*holds: fine, good"):
        ac.inspect(table, label="l", value="bad")
    with pytest.raises(InputError, match="column 'n' holds numbers, and 'bad' is none"):
        ac.inspect(table, label="n", value="bad")
    with pytest.raises(InputError, match="there is no column 'label'"):
        ac.inspect(table, label="label")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(-1, 4), st.booleans()), min_size=1, max_size=40), st.floats(0, 1))
def test_the_curve_by_hand(rows, threshold):
    labels, bad = (np.array(part) for part in zip(*rows, strict=True))
    if not bad.any():
        return
    out = ac.inspect(QTable({"cluster": labels, "l": bad}), label="l", threshold=threshold)
    shares = {
        c: Fraction(int(bad[labels == c].sum()), int((labels == c).sum())) for c in set(labels.tolist())
    }
    assert out["cluster"].tolist() == sorted(shares, key=lambda c: (-shares[c], c))
    looked = np.zeros(len(labels), bool)
    for row in out:
        looked |= labels == row["cluster"]
        assert row["inspected_fraction"] == pytest.approx(looked.mean())
        assert row["recall"] == pytest.approx(bad[looked].sum() / bad.sum())
        assert row["precision"] == pytest.approx(bad[looked].mean())
        assert row["lift"] == pytest.approx(bad[looked].mean() / bad.mean())
    # The worst clusters come first, so the region is the head of the table.
    inside = out["in_region"].tolist()
    assert inside == sorted(inside, reverse=True)
    region = out.meta["region"]
    if any(inside):
        last = out[sum(inside) - 1]
        assert region["recall"] == pytest.approx(last["recall"])
        assert region["precision"] == pytest.approx(last["precision"])
        assert region["lift"] == pytest.approx(last["lift"])


def test_the_reasons_of_bad_rows_add_up():
    rng = np.random.default_rng(3)
    cluster, bad = rng.integers(4, size=400), rng.uniform(size=400) < 0.2
    reason = np.where(bad, rng.choice(["spike", "edge data", "edge/data", ""], 400), "spike")
    table = QTable({"cluster": cluster, "label": 1 - bad.astype(int), "reason": reason})
    out = ac.inspect(table, label="label", value=0, reason="reason", threshold=0.2)
    names = [name for name in out.colnames if name.startswith("bad_") and name != "bad_fraction"]
    assert set(names) == {"bad_spike", "bad_edge_data", "bad_edge_data_2", "bad_no_reason"}
    assert names[-1] == "bad_no_reason"
    np.testing.assert_array_equal(sum(np.asarray(out[name]) for name in names), out["bad"])
    for row in out:
        assert row["bad_spike"] == np.sum(bad & (cluster == row["cluster"]) & (reason == "spike"))
    region = out.meta["region"]
    inside = np.isin(cluster, region["clusters"])
    assert region["reasons"]["spike"] == [
        np.sum(bad & inside & (reason == "spike")), np.sum(bad & (reason == "spike"))
    ]  # fmt: skip
    assert sum(found[1] for found in region["reasons"].values()) == bad.sum()
    assert "reasons" not in ac.inspect(table, label="label", value=0).meta["region"]
    with pytest.raises(InputError, match="there is no column 'raeson'"):
        ac.inspect(table, label="label", value=0, reason="raeson")
