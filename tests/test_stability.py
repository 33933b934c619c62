"""Stability of clusters: Jaccard similarity by brute force, bootstrap, verdicts, bad input."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy.table import MaskedColumn, QTable
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN, AgglomerativeClustering, KMeans

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.refitting import Sample, fit_each, quick_numbers
from astro_cluster.resampling import jaccard_maxima, resamples, verdict_of


def groups(*, rows: int = 60, apart: float = 12.0, seed: int = 3) -> QTable:
    rng = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0], [apart, 0.0], [0.4 * apart, 1.3 * apart]])
    X = np.concatenate([rng.normal(centre, 1.0, (rows, 2)) for centre in centres])
    return QTable({"x": X[:, 0], "y": X[:, 1]})


def brute(clusters, labels, found) -> list[float]:
    out = []
    for cluster in clusters:
        mine = {i for i, label in enumerate(labels) if label == cluster}
        others = [{i for i, f in enumerate(found) if f == g} for g in set(found) if g >= 0]
        best = max((len(mine & other) / len(mine | other) for other in others), default=0.0)
        out.append(best if mine else np.nan)
    return out


@given(st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 4)), min_size=1, max_size=30))
def test_jaccard_by_brute_force(pairs):
    labels, found = (np.array(side) for side in zip(*pairs, strict=True))
    clusters = np.arange(5)
    np.testing.assert_allclose(jaccard_maxima(clusters, labels, found), brute(clusters, labels, found))


def test_jaccard_of_a_tiny_case():
    labels = np.array([0, 0, 0, 1, 1, 2])
    found = np.array([5, 5, 3, 3, 3, -1])
    # {0,1,2} with {0,1}: 2/3; {3,4} with {2,3,4}: 2/3; {5} is noise there.
    np.testing.assert_allclose(jaccard_maxima(np.arange(4), labels, found), [2 / 3, 2 / 3, 0.0, np.nan])
    assert jaccard_maxima(np.arange(1), np.zeros(3, int), np.full(3, -1)).tolist() == [0.0]


def test_bootstrap_samples():
    sample = Sample(np.arange(50.0)[:, np.newaxis])
    drawn = list(resamples(sample, 4, np.random.SeedSequence(1)))
    for one in drawn:
        assert one.counts.sum() == 50
        assert (one.counts > 0).all()
        assert (np.diff(one.rows) > 0).all()
    assert len({one.seed for one in drawn}) == 4
    more = list(resamples(sample, 6, np.random.SeedSequence(1)))
    for one, other in zip(drawn, more, strict=False):
        np.testing.assert_array_equal(one.rows, other.rows)
    holes = np.full((50, 2), np.nan)
    holes[:, 0] = 1
    holes[3, 1] = 1
    for one in resamples(Sample(holes), 10, np.random.SeedSequence(1)):
        assert 3 in one.rows
    holes[3, 1] = np.nan
    with pytest.raises(InputError, match="feature number 1 has a value in only 0 of 50 rows"):
        next(resamples(Sample(holes), 1, np.random.SeedSequence(1)))


@pytest.mark.parametrize(
    ("jaccard", "word"),
    [(1.0, "valid"), (0.75, "valid"), (0.7499, "doubtful"), (0.6, "doubtful"), (0.5999, "distrusted")],
)
def test_words(jaccard, word):
    assert verdict_of(jaccard) == word


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("gmm", {"n_components": 3}),
        (KMeans(3), {}),
        (AgglomerativeClustering(3), {}),
        (DBSCAN(eps=1.5), {}),
        ("hdbscan", {"min_cluster_size": 20, "copy": True}),
    ],
)
def test_clear_groups_are_valid_by_any_method(method, options):
    table = ac.cluster(groups(), method, features=["x", "y"], **options)
    found = ac.stability(table, bootstrap=10, random_state=0)
    labels = np.asarray(table["cluster"])
    assert found["cluster"].tolist() == np.unique(labels[labels >= 0]).tolist()
    big = found[found["size"] > 30]
    assert len(big) == 3
    assert set(big["verdict"]) == {"valid"}
    assert np.all(big["jaccard"] > 0.75)
    assert [int((labels == c).sum()) for c in found["cluster"]] == found["size"].tolist()
    assert found.meta["verdict"].startswith(f"of {len(found)} clusters, ")
    assert ac.records(found)[-1]["seed"] == 0


def test_what_is_no_group_is_distrusted():
    rng = np.random.default_rng(0)
    table = QTable({"x": rng.normal(size=300), "y": rng.normal(size=300), "z": rng.normal(size=300)})
    table = ac.cluster(table, features="*", n_components=6, random_state=0, max_iter=1000)
    found = ac.stability(table, bootstrap=12, random_state=0)
    assert np.mean(found["jaccard"]) < 0.6
    assert "distrusted" in found.meta["verdict"]


def test_a_group_among_noise_is_the_one_that_is_valid():
    rng = np.random.default_rng(1)
    X = np.concatenate([rng.normal(size=(200, 2)), rng.normal([15, 15], 0.3, (60, 2))])
    table = ac.cluster(
        QTable({"x": X[:, 0], "y": X[:, 1]}), "kmeans", n_clusters=5, features="*", random_state=0
    )
    found = ac.stability(table, bootstrap=20, random_state=0)
    group = int(table["cluster"][-1])
    row = found[found["cluster"] == group][0]
    assert row["verdict"] == "valid"
    assert row["jaccard"] == np.max(found["jaccard"])
    assert row["spread"] < 0.1


def test_by_hand_with_agglomeration():
    """The whole of it again, in the plainest words."""
    table = ac.cluster(groups(rows=15, apart=3), AgglomerativeClustering(4), features=["x", "y"])
    X, labels = np.column_stack([table["x"], table["y"]]), np.asarray(table["cluster"])
    similar = []
    for drawn in resamples(Sample(X), 7, np.random.SeedSequence(5)):
        index = np.repeat(drawn.rows, drawn.counts)
        again = AgglomerativeClustering(4).fit_predict(X[index])
        once = {int(row): label for row, label in zip(index, again, strict=True)}
        rows = sorted(once)
        similar.append(brute(range(4), labels[rows].tolist(), [int(once[row]) for row in rows]))
    found = ac.stability(table, bootstrap=7, random_state=5)
    np.testing.assert_allclose(found["jaccard"], np.mean(similar, axis=0))
    np.testing.assert_allclose(found["spread"], np.std(similar, axis=0, ddof=1))


def test_a_cluster_that_is_never_drawn_is_masked():
    # Seen once in a while: with one sample, a cluster of one row is as likely as not left out.
    table = groups(rows=20)
    table.add_row([500.0, 500.0])
    table = ac.cluster(table, AgglomerativeClustering(4), features="*")
    own = int(table["cluster"][-1])
    for seed in range(20):
        found = ac.stability(table, bootstrap=1, random_state=seed)
        row = found[found["cluster"] == own][0]
        if np.ma.is_masked(row["jaccard"]):
            assert np.ma.is_masked(row["verdict"])
            break
        assert row["jaccard"] == 1.0
    else:
        pytest.fail("it was always drawn")
    assert np.ma.getmaskarray(np.ma.asarray(found["spread"])).all()  # one sample has no spread


def test_several_clusterings_by_prefix():
    table = ac.cluster(groups(), "kmeans", n_clusters=3, features="*", random_state=0, prefix="a_")
    table = ac.cluster(table, "kmeans", n_clusters=7, features=["x", "y"], random_state=0, prefix="b_")
    assert len(ac.stability(table, "a_", bootstrap=3, random_state=0)) == 3
    assert len(ac.stability(table, bootstrap=3, random_state=0)) == 7
    with pytest.raises(
        InputError, match="no clustering on record with the prefix 'c_'; there are: 'a_', 'b_'"
    ):
        ac.stability(table, "c_")


def test_rows_left_out_and_holes():
    table = groups()
    table["y"][::6] = np.nan
    dropped = ac.cluster(table, "kmeans", n_clusters=3, features=["x", "y"], random_state=0)
    found = ac.stability(dropped, bootstrap=5, random_state=0)
    assert found["size"].sum() == np.sum(~np.isnan(table["y"]))
    assert set(found["verdict"]) == {"valid"}
    whole = ac.cluster(table, n_components=3, features=["x", "y"], random_state=0)
    found = ac.stability(whole, bootstrap=5, random_state=0)
    assert found["size"].sum() == len(table)


def test_weights_and_errors_of_the_clustering_are_used():
    table = groups()
    table["w"] = np.where(np.arange(len(table)) < 120, 1.0, 0.0)  # the third group counts nothing
    table["x_error"] = 0.1
    table = ac.cluster(
        table, features=["x", "y"], n_components=2, weights="w", errors={"x": "x_error"}, random_state=0
    )
    found = ac.stability(table, bootstrap=5, random_state=0)
    assert {"w", "x_error", "x", "y", "cluster"} == set(ac.records(found)[-1]["inputs"])
    assert np.all(found["jaccard"] > 0.75)
    table["w"] = MaskedColumn(np.ones(len(table)), mask=np.arange(len(table)) < 30)
    km = ac.cluster(
        table, "kmeans", n_clusters=3, features=["x", "y"], weights="w", random_state=0, prefix="km_"
    )
    found = ac.stability(km, bootstrap=5, random_state=0)
    assert found["size"].sum() == len(table) - 30


def test_seeds(tmp_path):
    table = groups()
    ac.write(table, tmp_path / "in.ecsv")
    table = ac.cluster(
        ac.read(tmp_path / "in.ecsv"), features="*", n_components=4, random_state=0, max_iter=500
    )
    one, two = (ac.stability(table, bootstrap=4, random_state=7) for _ in range(2))
    np.testing.assert_array_equal(one["jaccard"], two["jaccard"])
    other = ac.stability(table, bootstrap=4, random_state=8)
    assert (other["jaccard"] != one["jaccard"]).any()
    again = ac.rerun(ac.write(one, tmp_path / "stability.vot"))
    np.testing.assert_allclose(again["jaccard"], one["jaccard"])
    drawn = ac.stability(table, bootstrap=4)
    same = ac.stability(table, bootstrap=4, random_state=ac.records(drawn)[-1]["seed"])
    np.testing.assert_array_equal(drawn["jaccard"], same["jaccard"])
    for name in one.colnames:
        assert one[name].info.description
        assert one[name].info.meta["ucd"]


def test_a_changed_table_is_told():
    table = ac.cluster(groups(), "kmeans", features=["x", "y"], n_clusters=3, random_state=0)
    with pytest.warns(AstroClusterWarning, match="have changed since"):
        found = ac.stability(table[:150], bootstrap=3, random_state=0)
    assert found["size"].sum() == 150
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ac.stability(table, bootstrap=2, random_state=0)


class OwnKMeans(KMeans):
    pass


@pytest.mark.parametrize("bootstrap", [0, -3, 2.5, True, None])
def test_bad_bootstrap(bootstrap):
    table = ac.cluster(groups(), "kmeans", features="*", n_clusters=3, random_state=0)
    with pytest.raises(InputError, match=f"bootstrap={bootstrap}"):
        ac.stability(table, bootstrap=bootstrap)


def test_bad_input():
    with pytest.raises(InputError, match="no clustering on record; cluster it first"):
        ac.stability(groups())
    table = ac.cluster(groups(), "kmeans", features=["x", "y"], n_clusters=3, random_state=0)
    with pytest.raises(InputError, match="random_state=-1 is no seed"):
        ac.stability(table, random_state=-1)
    new = ac.assign(groups(seed=9), table)
    with pytest.raises(InputError, match="assigned to the clusters of a model"):
        ac.stability(new)
    with pytest.raises(InputError, match="no column 'cluster'"):
        ac.stability(table["x", "y"])
    with pytest.raises(InputError, match="no column 'y'"):
        ac.stability(table["x", "cluster"])
    own = ac.cluster(groups(), OwnKMeans(3), features="*", random_state=0)
    with pytest.raises(InputError, match="could not keep the method of this clustering, a OwnKMeans"):
        ac.stability(own)
    noise = ac.cluster(groups(), DBSCAN(eps=1e-9), features="*")
    with pytest.raises(InputError, match="no row in a cluster"):
        ac.stability(noise)
    table.meta["astro_cluster"][-1]["parameters"].pop("estimator")
    with pytest.raises(InputError, match="damaged"):
        ac.stability(table)


# ---------------------------------------------------------------- fitting


def test_samples_hold_enough_different_rows():
    sample = Sample(np.arange(6.0)[:, np.newaxis])
    for one in resamples(sample, 30, np.random.SeedSequence(1), distinct=5):
        assert len(one.rows) >= 5
    with pytest.raises(InputError, match="bootstrap samples of 40 rows seldom hold 40 different ones"):
        next(resamples(Sample(np.zeros((40, 1))), 1, np.random.SeedSequence(1), distinct=40))


def test_a_row_drawn_twice_counts_twice():
    X = np.column_stack([groups()["x"], groups()["y"]])
    counts = np.random.default_rng(0).integers(1, 4, len(X))
    for template in (ac.GaussianMixture(3, means_init=X[[0, 70, 150]]), KMeans(3, init=X[[0, 70, 150]])):
        (weighted,) = fit_each(template, [None], Sample(X), counts=counts)
        (plain,) = fit_each(template, [None], Sample(np.repeat(X, counts, axis=0)))
        np.testing.assert_array_equal(np.repeat(weighted.labels, counts), plain.labels)
    # Weights of the rows multiply with how often they were drawn.
    (both,) = fit_each(
        ac.GaussianMixture(3, means_init=X[[0, 70, 150]]),
        [None],
        Sample(X, weights=counts / 2),
        counts=counts,
    )
    again = ac.GaussianMixture(3, means_init=X[[0, 70, 150]]).fit(X, sample_weight=counts**2 / 2)
    np.testing.assert_allclose(both.estimator.means_, again.means_)


def test_fewer_starts_only_where_a_fit_takes_long():
    wide = Sample(np.random.default_rng(0).normal(size=(400, 40)))
    assert quick_numbers(ac.GaussianMixture(), range(1, 40), wide) == list(range(24, 40))
    assert quick_numbers(ac.GaussianMixture(covariance_type="diag"), [2, 39], wide) == []
    assert quick_numbers(ac.GaussianMixture(init_params="kmeans"), [2, 39], wide) == []
    assert quick_numbers(KMeans(), [2, 39], wide) == []
    mixture = ac.GaussianMixture(max_iter=3)
    two, many = fit_each(mixture, [2, 30], wide, seed=1, quick=True)
    assert two.estimator.init_params == "short-runs"
    assert many.estimator.n_short == 8
    assert [len(two.estimator.weights_), len(many.estimator.weights_)] == [2, 30]
    assert fit_each(mixture, [30], wide, seed=1)[0].estimator.init_params == "short-runs"
