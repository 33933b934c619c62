"""Numbers of clusters compared: the criteria against others, the verdict, bad input, the figure."""

from __future__ import annotations

import io
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from matplotlib.figure import Figure
from sklearn.cluster import DBSCAN, AgglomerativeClustering, KMeans
from sklearn.metrics import nan_euclidean_distances, silhouette_samples, silhouette_score
from sklearn.mixture import BayesianGaussianMixture
from sklearn.mixture import GaussianMixture as SklearnMixture

import astro_cluster as ac
from astro_cluster.criteria import held_back, silhouettes
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.plotting import plot_choice


def groups(*, rows: int = 80, apart: float = 12.0, seed: int = 3) -> QTable:
    """Three groups, far apart, at the corners of a triangle with unequal sides."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0], [apart, 0.0], [0.4 * apart, 1.3 * apart]])
    X = np.concatenate([rng.normal(centre, 1.0, (rows, 2)) for centre in centres])
    return QTable({"x": X[:, 0] * u.mJy, "y": X[:, 1]})


def noise(rows: int = 200, seed: int = 0) -> QTable:
    rng = np.random.default_rng(seed)
    return QTable({name: rng.normal(size=rows) for name in "xyz"})


def matrix(table: QTable, names: str = "xy") -> np.ndarray:
    return np.column_stack([np.asarray(table[name]) for name in names])


@pytest.fixture(scope="module")
def choice() -> QTable:
    return ac.choose(groups(), range(1, 6), features=["x", "y"], random_state=1, bootstrap=12)


# ---------------------------------------------------------------- the numbers


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_bic_and_aic_are_scikit_learns(kind):
    table = groups()
    got = ac.choose(
        table,
        [1, 2, 3, 4],
        features=["x", "y"],
        covariance_type=kind,
        init_params="kmeans",
        bootstrap=0,
        held_out=None,
        random_state=5,
    )
    X = matrix(table)
    for row in got:
        other = SklearnMixture(row["n"], covariance_type=kind, random_state=5).fit(X)
        # Both stop when a step gains little, which is not at the very same place.
        assert row["bic"] == pytest.approx(other.bic(X), rel=1e-3)
        assert row["aic"] == pytest.approx(other.aic(X), rel=1e-3)
        assert row["n_parameters"] == other._n_parameters()
    same = ac.choose(
        table, [1, 2, 3, 4], estimator=SklearnMixture(covariance_type=kind), features=["x", "y"], bootstrap=0,
        held_out=None, random_state=5,
    )  # fmt: skip
    for row in same:
        other = SklearnMixture(row["n"], covariance_type=kind, random_state=5).fit(X)
        assert row["bic"] == pytest.approx(other.bic(X), rel=1e-12)
        assert row["aic"] == pytest.approx(other.aic(X), rel=1e-12)
        assert row["mean_log_likelihood"] == pytest.approx(other.score(X), rel=1e-12)
        assert row["log_likelihood"] == pytest.approx(len(X) * other.score(X), rel=1e-12)


def test_icl_by_hand(choice):
    for row in choice[1:4]:
        out = ac.cluster(groups(), features=["x", "y"], n_components=int(row["n"]), random_state=1)
        total = 0.0
        for r in out:
            for k in range(row["n"]):
                p = float(r[f"prob_{k}"])
                total -= p * np.log(p) if p > 0 else 0.0
        assert row["icl"] == pytest.approx(row["bic"] + 2 * total, rel=1e-9)
        assert row["icl"] >= row["bic"]
    assert choice["icl"][0] == pytest.approx(choice["bic"][0])  # one cluster: nothing is undecided


def test_a_row_is_the_clustering_of_that_seed(choice):
    for row in choice:
        out = ac.cluster(groups(), features=["x", "y"], n_components=int(row["n"]), random_state=1)
        assert row["smallest_cluster"] == np.bincount(out["cluster"], minlength=row["n"]).min()
        assert row["log_likelihood"] == pytest.approx(np.sum(out["log_density"]), rel=1e-9)
        if row["n"] > 1:
            expected = silhouette_score(matrix(out), out["cluster"])
            assert row["silhouette"] == pytest.approx(expected)


def test_the_stability_is_that_of_the_clustering():
    options = dict(features=["x", "y"], random_state=1)
    got = ac.choose(groups(apart=4), [2, 3, 4], estimator="kmeans", bootstrap=12, **options)
    for row in got:
        out = ac.cluster(groups(apart=4), "kmeans", n_clusters=int(row["n"]), **options)
        found = ac.stability(out, bootstrap=12, random_state=1)
        np.testing.assert_allclose(found["jaccard"], row["jaccard"][: row["n"]], rtol=1e-12)


def test_silhouette_of_complete_rows_is_scikit_learns():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    labelings = [rng.integers(k, size=60) for k in (2, 3, 5)]
    labelings.append(np.where(np.arange(60) == 7, 1, 0))  # one alone
    np.testing.assert_allclose(
        silhouettes(X, labelings), [silhouette_score(X, labels) for labels in labelings], rtol=1e-9
    )
    assert np.isnan(silhouettes(X, [np.zeros(60, int)])).all()
    noisy = np.where(np.arange(60) < 20, -1, labelings[0])
    assert silhouettes(X, [noisy])[0] == pytest.approx(silhouette_score(X[20:], noisy[20:]))
    assert silhouettes(np.zeros((4, 2)), [np.array([0, 0, 1, 1])])[0] == 0


def test_silhouette_of_rows_with_holes():
    rng = np.random.default_rng(1)
    X, labels = rng.normal(size=(50, 5)), rng.integers(3, size=50)
    X[:, 1:][rng.uniform(size=(50, 4)) < 0.3] = np.nan
    distance = nan_euclidean_distances(X)
    assert not np.isnan(distance).any()
    np.fill_diagonal(distance, 0)
    expected = silhouette_samples(distance, labels, metric="precomputed").mean()
    assert silhouettes(X, [labels])[0] == pytest.approx(expected)
    # A row that shares no feature with any other has no silhouette, and does not spoil the others'.
    alone = np.vstack([X, np.full(5, np.nan)])
    assert silhouettes(alone, [np.append(labels, 0)])[0] == pytest.approx(expected)


def test_silhouette_of_a_sample():
    few = ac.choose(
        groups(), [2, 3], features="*", bootstrap=0, held_out=None, silhouette_sample=50, random_state=0
    )
    whole = ac.choose(groups(), [2, 3], features="*", bootstrap=0, held_out=None, random_state=0)
    np.testing.assert_allclose(few["silhouette"], whole["silhouette"], atol=0.15)
    assert (few["silhouette"] != whole["silhouette"]).any()
    none = ac.choose(
        groups(), [2, 3], features="*", bootstrap=0, held_out=None, silhouette_sample=0, random_state=0
    )
    assert none["silhouette"].mask.all()
    assert "silhouette" not in none.meta["preferred"]


def test_held_out_rows_are_not_fitted():
    # Of a mixture that may learn rows by heart, the likelihood of the rows that it learned grows on.
    table = noise(60)
    got = ac.choose(table, [1, 2, 10], features="*", bootstrap=0, random_state=0, held_out=0.5)
    assert np.all(np.diff(got["mean_log_likelihood"]) > 0)
    assert got["held_out_log_likelihood"][2] < got["held_out_log_likelihood"][0]
    assert got.meta["preferred"]["held_out"] == 1
    assert got["held_out_error"][np.argmax(got["held_out_log_likelihood"])] == 0
    assert held_back(10, 0.001) == 1
    assert held_back(10, 0.999) == 9


def test_the_number_within_one_standard_error():
    got = ac.choose(noise(300), [1, 2], features="*", bootstrap=0, random_state=3)
    better = got["held_out_log_likelihood"] + got["held_out_error"] >= np.max(got["held_out_log_likelihood"])
    assert got.meta["preferred"]["held_out"] == got["n"][np.argmax(better)]


# ---------------------------------------------------------------- the verdict


def test_all_agree_on_three_groups(choice):
    assert choice.meta["preferred"] == dict.fromkeys(
        ["bic", "icl", "aic", "silhouette", "held_out", "stability"], 3
    )
    assert "They agree on 3." in choice.meta["verdict"]
    row = choice[choice["n"] == 3][0]
    assert row["jaccard_min"] > 0.75
    assert row["n_valid"] == 3
    assert row["n_distrusted"] == 0
    assert row["smallest_cluster"] == 80


def test_disagreement_is_told():
    table = noise(250)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstroClusterWarning)
        got = ac.choose(table, range(1, 8), features="*", random_state=0, bootstrap=10)
    preferred, verdict = got.meta["preferred"], got.meta["verdict"]
    assert len(set(preferred.values())) > 1
    assert "The criteria disagree: " in verdict
    assert f"BIC {preferred['bic']}" in verdict
    assert f"held-out {preferred['held_out']}" in verdict
    assert preferred["stability"] is None
    assert "stability none (at no n do all clusters reach 0.75)" in verdict
    several = got[got["n"] > 2]
    assert np.max(several["jaccard_min"]) < 0.6
    assert np.all(several["n_distrusted"] > 0)
    assert f"of its {preferred['aic']} clusters below 0.6)" in verdict or preferred["aic"] == 1


def test_the_best_at_the_end_is_told():
    got = ac.choose(groups(), [1, 2], features="*", bootstrap=0, random_state=0)
    assert "BIC 2 (the largest tried)" in got.meta["verdict"]


def test_fewer_starts_are_told():
    rng = np.random.default_rng(0)
    table = QTable({f"x{j}": rng.normal(size=400) for j in range(40)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstroClusterWarning)
        got = ac.choose(table, [2, 25], features="*", bootstrap=1, held_out=None, max_iter=5, random_state=0)
    assert got.meta["verdict"].endswith("To save time, samples with n = 25 were clustered from fewer starts.")


def test_one_number_is_no_choice():
    got = ac.choose(groups(), 3, features="*", bootstrap=3, random_state=0)
    assert got["n"].tolist() == [3]
    assert got.meta["verdict"].endswith("Only n = 3 was tried, so there was nothing to choose.")


def test_what_did_not_converge_is_told():
    with pytest.warns(AstroClusterWarning, match="the fits with n = .*4.* did not converge: raise max_iter"):
        got = ac.choose(noise(), [3, 4], features="*", bootstrap=2, max_iter=2, tol=1e-9, random_state=0)
    assert got["converged"].tolist() == [False, False]
    assert "n = 3 and 4 did not converge" in got.meta["verdict"]


# ---------------------------------------------------------------- methods and policies


@pytest.mark.parametrize("method", ["kmeans", KMeans(n_init=2), AgglomerativeClustering()])
def test_methods_without_a_likelihood(method):
    got = ac.choose(groups(), [2, 3, 4], estimator=method, features=["x", "y"], bootstrap=6, random_state=0)
    for name in ("log_likelihood", "n_parameters", "bic", "icl", "aic", "held_out_log_likelihood"):
        assert got[name].mask.all()
    assert got.meta["preferred"] == {"silhouette": 3, "stability": 3}
    assert "They agree on 3." in got.meta["verdict"]
    converged = np.ma.getmaskarray(np.ma.asarray(got["converged"]))
    assert converged.all() == isinstance(method, AgglomerativeClustering)


def test_a_bayesian_mixture_has_no_bic():
    got = ac.choose(
        groups(), [2, 3], estimator=BayesianGaussianMixture(), features="*", bootstrap=0, random_state=0
    )
    assert got["bic"].mask.all()
    assert not np.ma.is_masked(got["held_out_log_likelihood"])
    assert sorted(got.meta["preferred"]) == ["held_out", "silhouette"]


def test_rows_that_the_policy_leaves_out():
    table = groups()
    holes = np.arange(len(table)) % 5 == 0
    punched = QTable(table, copy=True)
    punched["y"][holes] = np.nan
    options = dict(features=["x", "y"], bootstrap=3, random_state=0)
    got = ac.choose(punched, [2, 3], missing="drop", **options)
    assert got.meta["rows"] == (~holes).sum()
    expected = ac.choose(table[~holes], [2, 3], **options)
    for name in ("bic", "silhouette", "held_out_log_likelihood", "jaccard_min"):
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-6)
    every = ac.choose(punched, [2, 3], **options)
    assert every.meta["rows"] == len(table)
    assert every.meta["preferred"]["bic"] == 3
    assert (punched["y"][holes] != punched["y"][holes]).all()  # the given table stays


def test_errors_are_taken_into_account():
    table = groups()
    table["y_error"] = np.full(len(table), 0.5)
    got = ac.choose(table, [2, 3], features=["x", "y"], errors={"y": "y_error"}, bootstrap=2, random_state=0)
    plain = ac.choose(table, [2, 3], features=["x", "y"], bootstrap=2, random_state=0)
    assert np.all(got["bic"] != plain["bic"])
    assert got.meta["preferred"]["bic"] == 3
    assert "y_error" in ac.records(got)[-1]["inputs"]


def test_a_feature_that_few_rows_have():
    table = groups()
    values = np.full(len(table), np.nan)
    values[:3] = [1.0, 2.0, 3.0]
    table["rare"] = values
    got = ac.choose(table, [2, 3], features=["x", "y", "rare"], bootstrap=15, held_out=0.5, random_state=0)
    assert got["n_valid"].tolist() != [0, 0]


def test_same_seed_same_table():
    one, two = (
        ac.choose(groups(), [2, 3], features=["x", "y"], bootstrap=4, random_state=9, silhouette_sample=60)
        for _ in range(2)
    )
    for name in one.colnames:
        np.testing.assert_array_equal(one[name], two[name])
    other = ac.choose(groups(), [2, 3], features=["x", "y"], bootstrap=4, random_state=8)
    assert (other["held_out_log_likelihood"] != one["held_out_log_likelihood"]).any()
    drawn = ac.choose(groups(), [2, 3], features=["x", "y"], bootstrap=2)
    seed = ac.records(drawn)[-1]["seed"]
    again = ac.choose(groups(), [2, 3], features=["x", "y"], bootstrap=2, random_state=seed)
    np.testing.assert_array_equal(again["jaccard"], drawn["jaccard"])


# ---------------------------------------------------------------- record and files


@pytest.mark.parametrize("ending", ["vot", "fits", "ecsv", "parquet"])
def test_files_keep_it_and_it_runs_again(ending, tmp_path, choice):
    table = groups()
    ac.write(table, tmp_path / "in.ecsv")
    made = ac.choose(tmp_path / "in.ecsv", range(1, 4), features="*", random_state=1, bootstrap=3)
    back = ac.read(ac.write(made, tmp_path / f"choice.{ending}"))
    assert back.meta["verdict"] == made.meta["verdict"]
    assert back.meta["preferred"] == made.meta["preferred"]
    np.testing.assert_array_equal(back["jaccard"].mask, made["jaccard"].mask)
    again = ac.rerun(tmp_path / f"choice.{ending}")
    np.testing.assert_allclose(again["jaccard"], made["jaccard"])
    np.testing.assert_allclose(again["bic"], made["bic"])
    record = ac.records(again)[-1]
    assert record["function"] == "choose"
    assert record["parameters"]["n"] == [1, 2, 3]
    assert record["seed"] == 1
    assert plot_choice(back).axes


def test_columns_are_described(choice):
    for name in choice.colnames:
        assert choice[name].info.description
        assert choice[name].info.meta["ucd"]
    mask = np.ma.getmaskarray(np.ma.asarray(choice["jaccard"]))
    assert mask.tolist() == [[k >= n for k in range(5)] for n in choice["n"]]
    shown = np.ma.masked_array(choice["jaccard"])
    np.testing.assert_allclose(shown.min(axis=1), choice["jaccard_min"])
    np.testing.assert_allclose(shown.mean(axis=1), choice["jaccard_mean"])


def test_numbers_in_any_form():
    for n in ((3, 2, 2), np.array([2, 3]), range(2, 4), iter([2, 3])):
        got = ac.choose(groups(), n, features="*", bootstrap=0, held_out=None, random_state=0)
        assert got["n"].tolist() == [2, 3]
        assert ac.records(got)[-1]["parameters"]["n"] == [2, 3]


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(n=[]), "n is empty"),
        (dict(n=range(5, 2)), "n is empty"),
        (dict(n=[0, 1]), "n holds 0; a number of clusters is at least 1"),
        (dict(n=[-2]), "n holds -2"),
        (dict(n=0), "n holds 0"),
        (dict(n=[2, 2.5]), "n holds 2.5, which is no whole number"),
        (dict(n=[2.0]), "n holds 2.0, which is no whole number"),
        (dict(n=[True]), "n holds True, which is no whole number"),
        (dict(n="2-5"), "n='2-5' gives no numbers"),
        (dict(n=None), "n=None gives no numbers"),
        (dict(n=2.5), "n=2.5 gives no numbers"),
        (dict(n=[2, 241]), "n=241 takes 241 rows, and a fit has 192, 48 of the 240 being held"),
        (dict(n=[241], held_out=None), "n=241 takes 241 rows, and a fit has 240; ask for fewer clusters$"),
        (dict(held_out=0), "held_out=0 is no share"),
        (dict(held_out=1.0), "held_out=1.0 is no share"),
        (dict(held_out=-0.1), "held_out=-0.1 is no share"),
        (dict(held_out=np.nan), "held_out=nan is no share"),
        (dict(held_out="0.2"), "held_out='0.2' is no share"),
        (dict(held_out=True), "held_out=True is no share"),
        (dict(bootstrap=-1), "bootstrap=-1 is no count"),
        (dict(bootstrap=2.5), "bootstrap=2.5 is no count"),
        (dict(silhouette_sample=-5), "silhouette_sample=-5 is no count"),
        (dict(random_state=-1), "random_state=-1 is no seed"),
        (dict(random_state="x"), "random_state='x' is no seed"),
        (dict(estimator="dbscan"), "DBSCAN finds the number of clusters itself"),
        (dict(estimator=DBSCAN()), "DBSCAN finds the number of clusters itself"),
        (dict(estimator="kmens"), "did you mean 'kmeans'"),
        (dict(n_components=3), "n_components is what is to be chosen: give the numbers to try as n"),
        (dict(estimator="kmeans", n_clusters=3), "n_clusters is what is to be chosen"),
        (dict(covarance_type="diag"), "covarance_type"),
        (dict(covariance_type="round"), "covariance_type"),
        (dict(estimator="kmeans", missing="marginalize"), "KMeans cannot integrate missing values out"),
        (dict(features="z"), "no column"),
    ],
)  # fmt: skip
def test_bad_input(options, words):
    options = {"n": [2, 3], "features": "*", "bootstrap": 0, **options}
    with pytest.raises(InputError, match=words):
        ac.choose(groups(), **options)


def test_too_few_rows():
    with pytest.raises(InputError, match="no rows"):
        ac.choose(groups()[:0], [1], features="*")
    table = groups()[:3]
    table["y"][1:] = np.nan
    with pytest.raises(InputError, match="missing='drop'"):
        ac.choose(table, [1], features="*", missing="drop")
    with pytest.raises(InputError, match="needs at least 2"):
        ac.choose(QTable({"x": [1.0]}), [1], features="*")
    two = groups()[[0, 100]]
    words = r"n=1 takes 2 rows, and a fit has 1, 1 of the 2 being held out.*less"
    with pytest.raises(InputError, match=words):
        ac.choose(two, [1], features="*")
    got = ac.choose(two, [1, 2], features="*", random_state=0, held_out=None, bootstrap=8)
    assert got["jaccard_min"][0] == 1.0


# ---------------------------------------------------------------- the figure


def test_the_figure(choice):
    before = plt.get_fignums()
    figure = plot_choice(choice)
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=50)
    assert plt.get_fignums() == before
    titles = [ax.get_title("left") for ax in figure.axes]
    assert titles == ["information criteria", "held-out rows", "silhouette", "stability"]
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in figure.axes)
    information, held_out, silhouette, stability = figure.axes
    assert [text.get_text() for text in information.get_legend().get_texts()] == [
        "BIC: 3",
        "ICL: 3",
        "AIC: 3",
    ]
    for line, key in zip(information.lines, ("bic", "icl", "aic"), strict=True):
        np.testing.assert_allclose(line.get_ydata(), choice[key] - np.min(choice[key]))
    assert held_out.get_title("right") == silhouette.get_title("right") == "preferred n: 3"
    dots = np.concatenate([np.asarray(found.get_offsets()) for found in stability.collections])
    assert len(dots) == choice["n"].sum()
    np.testing.assert_allclose(np.sort(dots[dots[:, 0] == 4, 1]), np.sort(choice["jaccard"][3][:4]))
    assert {0.6, 0.75} <= {line.get_ydata()[0] for line in stability.lines}


def test_panels_of_what_there_is():
    got = ac.choose(groups(), [2, 3], estimator="kmeans", features=["x", "y"], bootstrap=3, random_state=0)
    figure = plot_choice(got)
    assert [ax.get_title("left") for ax in figure.axes] == ["silhouette", "stability"]
    own = Figure()
    axes = own.subplots(1, 2)
    assert plot_choice(got, axes=axes) is own
    assert axes[0].lines
    with pytest.raises(InputError, match="1 axes were given for 2 panels"):
        plot_choice(got, axes=[axes[0]])
    with pytest.raises(InputError, match="make it with choose"):
        plot_choice(groups())
    none = ac.choose(
        groups(),
        [2, 3],
        estimator="kmeans",
        features=["x", "y"],
        bootstrap=0,
        silhouette_sample=0,
        random_state=0,
    )
    assert none.meta["verdict"] == "No criterion could be computed."
    with pytest.raises(InputError, match="no criterion"):
        plot_choice(none)
