"""`cluster` and `assign`: every row stays, every column is described, every mistake is named."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.io.votable.ucd import check_ucd
from astropy.table import MaskedColumn, QTable
from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import BayesianGaussianMixture
from sklearn.mixture import GaussianMixture as SklearnMixture
from sklearn.utils.validation import has_fit_parameter

import astro_cluster as ac
from astro_cluster.estimators import known_estimators
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.memberships import membership_entropy


@pytest.fixture(scope="module")
def table() -> QTable:
    rng = np.random.default_rng(3)
    centres = np.array([[0.0, 0.0, 0.0], [8.0, 1.0, 3.0], [-6.0, 6.0, 1.0]])
    truth = rng.integers(0, 3, 300)
    x = centres[truth] + rng.normal(size=(300, 3))
    t = QTable(
        {"id": np.arange(300) + 2**60, "x": x[:, 0] * u.mas, "y": x[:, 1] * u.mas / u.yr, "z": x[:, 2]}
    )
    t["truth"] = truth
    return ac.read(t)


@pytest.fixture(scope="module")
def holed(table) -> QTable:
    out = table.copy()
    holes = np.random.default_rng(1).random((300, 3)) < 0.2
    holes[0] = True
    for i, name in enumerate("xyz"):
        values = np.array(out[name].value if hasattr(out[name], "unit") and out[name].unit else out[name])
        values[holes[:, i]] = np.nan
        out[name] = values * out[name].unit if out[name].unit else values
    return out


FEATURES = ac.Features(["x", "y", "z"], scale="standard")
NUMBERS = ("prob_max", "entropy", "log_density", "outlier")


def test_memberships_and_what_they_are(table):
    before = table.copy()
    out = ac.cluster(table, "gmm", features=FEATURES, n_components=3, random_state=0, prefix="gmm3_")
    assert table.colnames == before.colnames
    assert out.colnames == [
        *table.colnames,
        *(f"gmm3_{name}" for name in ("cluster", "prob_0", "prob_1", "prob_2", *NUMBERS)),
    ]
    assert adjusted_rand_score(out["gmm3_cluster"], table["truth"]) > 0.98
    probabilities = np.column_stack([out[f"gmm3_prob_{k}"] for k in range(3)])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), out["gmm3_cluster"])
    np.testing.assert_array_equal(probabilities.max(axis=1), out["gmm3_prob_max"])
    assert ((out["gmm3_outlier"] >= 0) & (out["gmm3_outlier"] <= 1)).all()
    for name in out.colnames[len(table.colnames) :]:
        assert check_ucd(out[name].info.meta["ucd"], check_controlled_vocabulary=True), name
        assert out[name].info.description
    assert "GaussianMixture" in out["gmm3_cluster"].info.description
    np.testing.assert_array_equal(out["id"], table["id"])


def test_complete_data_agree_with_sklearn(table):
    out = ac.cluster(table, ac.GaussianMixture(3, init_params="kmeans", random_state=5), features=FEATURES)
    X = FEATURES.fit(table).transform(table).values
    theirs = SklearnMixture(3, random_state=5).fit(X)
    ours = np.column_stack([out[f"prob_{k}"] for k in range(3)])
    np.testing.assert_allclose(ours, theirs.predict_proba(X), rtol=0, atol=1e-8)
    np.testing.assert_allclose(out["log_density"], theirs.score_samples(X), rtol=1e-8)


def test_missing_values_by_policy(holed):
    options = {"features": FEATURES, "n_components": 3, "random_state": 0}
    kept = ac.cluster(holed, "gmm", **options)
    assert np.isfinite(kept["prob_max"]).all()
    assert kept["log_density"][0] == pytest.approx(0.0, abs=1e-12)
    dropped = ac.cluster(holed, "gmm", missing="drop", **options)
    incomplete = np.isnan(np.column_stack([np.asarray(holed[n]) for n in "xyz"])).any(axis=1)
    np.testing.assert_array_equal(dropped["cluster"].mask, incomplete)
    np.testing.assert_array_equal(dropped["prob_0"].mask, incomplete)
    filled = ac.cluster(holed, "gmm", missing="median", **options)
    assert not np.any(getattr(filled["cluster"], "mask", False))
    assert ac.records(dropped)[-1]["rows_used"] == (~incomplete).sum()
    assert len(dropped) == len(holed)


def test_masked_columns_are_missing_values(table):
    masked = table.copy()
    masked["z"] = MaskedColumn(masked["z"], mask=np.arange(300) < 10)
    out = ac.cluster(masked, KMeans(3, random_state=0, n_init=1), features=FEATURES)
    np.testing.assert_array_equal(out["cluster"].mask, np.arange(300) < 10)


PROBABLE = ["prob_0", "prob_1", "prob_2", "prob_max", "entropy", "log_density"]


@pytest.mark.parametrize(
    ("estimator", "probable"),
    [
        (KMeans(3, n_init=1), []),
        (AgglomerativeClustering(3), []),
        (DBSCAN(eps=0.6), []),
        (HDBSCAN(min_cluster_size=20, copy=True), ["prob_max"]),
        (BayesianGaussianMixture(n_components=3), PROBABLE),
        (SklearnMixture(3), PROBABLE),
    ],
)
def test_any_clusterer_of_sklearn(table, estimator, probable):
    before = estimator.get_params()
    out = ac.cluster(table, estimator, features=FEATURES, random_state=0)
    assert estimator.get_params() == before
    assert out.colnames[len(table.colnames) :] == ["cluster", *probable]
    used = out["cluster"] >= 0
    assert adjusted_rand_score(out["cluster"][used], table["truth"][used]) > 0.95
    again = ac.rerun(out)
    np.testing.assert_array_equal(again["cluster"], out["cluster"])


def test_names_of_methods_and_their_parameters(table):
    out = ac.cluster(table, "dbscan", features=FEATURES, eps=0.6, min_samples=4)
    assert ac.records(out)[-1]["parameters"]["estimator"]["value"]["params"]["eps"] == 0.6
    with pytest.raises(InputError, match="did you mean 'kmeans'"):
        ac.cluster(table, "k-means", features=FEATURES)
    with pytest.raises(InputError, match="no parameter 'n_component'; did you mean 'n_components'"):
        ac.cluster(table, "gmm", features=FEATURES, n_component=2)
    with pytest.raises(InputError, match="is a class; give an instance"):
        ac.cluster(table, KMeans, features=FEATURES)
    with pytest.raises(InputError, match="is no clusterer"):
        ac.cluster(table, 3, features=FEATURES)
    with pytest.raises(InputError, match="set on the object"):
        ac.cluster(table, KMeans(3), features=FEATURES, n_clusters=2)


def test_a_vector_column_is_features(table):
    t = QTable({"latent": np.column_stack([np.asarray(table[n]) for n in "xyz"])})
    out = ac.cluster(t, "kmeans", features="latent", n_clusters=3, random_state=0, n_init=1)
    assert ac.records(out)[-1]["recipe"]["scalings"][1]["name"] == "latent[1]"
    assert adjusted_rand_score(out["cluster"], table["truth"]) > 0.95


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[:0], "has no rows"),
        (lambda t: t[:1], "the table has 1 row; clustering needs at least 2"),
        (lambda t: t[:2], "n_components=3 is more than the 2 usable rows"),
    ],
)
def test_too_few_rows(table, change, message):
    with pytest.raises(InputError, match=message):
        ac.cluster(change(table), "gmm", features=FEATURES, n_components=3)


def test_bad_columns(table):
    t = table.copy()
    t["name"] = "a"
    t["constant"] = 1.0
    t["empty"] = np.nan
    t["infinite"] = np.where(np.arange(300) == 7, np.inf, 1.0 * np.arange(300))
    for feature, message in {
        "xx": "there is no column 'xx'; did you mean 'x'",
        "name": "'name' is not numeric",
        "constant": "'constant' is constant",
        "empty": "'empty' has no value in any row",
        "infinite": "1 infinite values, the first in row 7",
        "q_*": "no column matches 'q_\\*'",
    }.items():
        with pytest.raises(InputError, match=message):
            ac.cluster(t, "gmm", features=["x", feature], n_components=2)
    with pytest.raises(InputError, match="no row of 300 has all features"):
        ac.cluster(t, "kmeans", features=["x", "empty"], n_clusters=2)


def test_taken_columns(table):
    once = ac.cluster(table, "kmeans", features=FEATURES, n_clusters=2, random_state=0)
    with pytest.raises(InputError, match=r"already has the column cluster.*prefix"):
        ac.cluster(once, "kmeans", features=FEATURES, n_clusters=3, random_state=0)
    twice = ac.cluster(once, "kmeans", features=FEATURES, n_clusters=3, random_state=0, overwrite=True)
    assert twice.colnames == once.colnames
    assert len(np.unique(twice["cluster"])) == 3
    four, two = (
        ac.cluster(t, "gmm", features=FEATURES, n_components=k, random_state=0, overwrite=True, prefix="p_")
        for k, t in (
            (4, table),
            (2, ac.cluster(table, "gmm", features=FEATURES, n_components=4, prefix="p_")),
        )
    )
    assert set(four.colnames) - set(two.colnames) == {"p_prob_2", "p_prob_3"}
    assert ac.records(twice)[-1]["columns_replaced"] == ["cluster"]


# ---------------------------------------------------------------- entropy


def test_entropy_tells_the_undecided(holed):
    out = ac.cluster(holed, "gmm", features=FEATURES, n_components=3, random_state=0)
    p = np.column_stack([out[f"prob_{k}"] for k in range(3)])
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = -np.where(p > 0, p * np.log(p), 0).sum(axis=1) / np.log(3)
    np.testing.assert_allclose(out["entropy"], expected, rtol=1e-12, atol=1e-15)
    assert ((out["entropy"] >= 0) & (out["entropy"] <= 1)).all()
    assert out["entropy"][0] > 0.9  # nothing of it is known


def test_entropy_at_its_ends():
    for k in range(2, 40):
        assert membership_entropy(np.full((2, k), 1 / k)).tolist() == pytest.approx([1, 1])
        assert (membership_entropy(np.full((2, k), 1 / k)) <= 1).all()
        assert membership_entropy(np.eye(k)).tolist() == [0.0] * k
    assert membership_entropy(np.ones((3, 1))).tolist() == [0.0] * 3


def test_entropy_of_one_group(table):
    out = ac.cluster(table, SklearnMixture(1), features=FEATURES, random_state=0)
    assert out["entropy"].tolist() == [0.0] * 300


# ---------------------------------------------------------------- weights of rows


@pytest.fixture
def weighted(table) -> QTable:
    out = table.copy()
    out["w"] = np.random.default_rng(5).integers(0, 4, 300).astype(float)
    return out


def test_weights_reach_the_method_and_the_record(weighted):
    weighted["x"][np.asarray(weighted["w"]) == 0] *= 50  # would shift the scale, if it counted
    out = ac.cluster(
        weighted, KMeans(3, n_init=1), features=FEATURES, weights="w", random_state=0, prefix="a_"
    )
    w = np.asarray(weighted["w"])
    matrix = FEATURES.fit(weighted[w > 0]).transform(weighted)
    expected = KMeans(3, n_init=1, random_state=0).fit(matrix.values, sample_weight=w).labels_
    np.testing.assert_array_equal(out["a_cluster"], expected)  # rows of weight 0 are assigned all the same
    record = ac.records(out)[-1]
    assert record["parameters"]["weights"] == "w"
    assert "w" in record["inputs"]
    np.testing.assert_array_equal(ac.rerun(out)["a_cluster"], out["a_cluster"])
    np.testing.assert_array_equal(ac.assign(weighted, out, prefix="b_")["b_cluster"], out["a_cluster"])


@pytest.mark.parametrize(
    "column",
    [np.where(np.arange(300) < 9, np.nan, 1.0), MaskedColumn(np.ones(300, int), mask=np.arange(300) < 9)],
    ids=["nan", "masked"],
)
def test_rows_without_a_weight_are_left_out(table, column):
    weighted = table.copy()
    weighted["w"] = column
    out = ac.cluster(weighted, "kmeans", n_clusters=3, features=FEATURES, weights="w", random_state=0)
    np.testing.assert_array_equal(out["cluster"].mask, np.arange(300) < 9)
    assert ac.records(out)[-1]["rows_used"] == 291


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({3: -1.0, 9: -2.0}, r"'w' has 2 negative weights, the first in row 3 \(-1\)"),
        ({4: np.inf}, r"'w' has 1 infinite weights, the first in row 4"),
        (0.0, "'w' has no positive weight"),
        (np.nan, "'w' has no positive weight"),
        ("a", "'w' cannot be weights"),
        (np.ones((300, 2)), "'w' cannot be weights"),
        (np.ones(300) * u.mas, "'w' is in mas, and weights are pure numbers"),
        (np.where(np.arange(300) < 2, 1.0, 0.0), "n_clusters=3 is more than the 2 usable rows"),
    ],
)
def test_impossible_weights(weighted, change, message):
    if isinstance(change, dict):
        for row, value in change.items():
            weighted["w"][row] = value
    else:
        weighted.replace_column("w", change if np.ndim(change) else [change] * 300)
    with pytest.raises(InputError, match=message):
        ac.cluster(weighted, "kmeans", n_clusters=3, features=FEATURES, weights="w")
    with pytest.raises(InputError, match="there is no column 'ww'; did you mean 'w'"):
        ac.cluster(weighted, "kmeans", n_clusters=3, features=FEATURES, weights="ww")


def test_weights_in_percent_are_numbers(weighted):
    bare = ac.cluster(weighted, "kmeans", n_clusters=3, features=FEATURES, weights="w", random_state=0)
    weighted["w"] = 100 * np.asarray(weighted["w"]) * u.percent
    same = ac.cluster(weighted, "kmeans", n_clusters=3, features=FEATURES, weights="w", random_state=0)
    np.testing.assert_array_equal(bare["cluster"], same["cluster"])


def test_methods_that_cannot_weight_rows(weighted):
    for estimator in (AgglomerativeClustering(3), HDBSCAN(copy=True), SklearnMixture(3)):
        with pytest.raises(InputError, match="cannot weight rows; leave weights out"):
            ac.cluster(weighted, estimator, features=FEATURES, weights="w")


def test_every_method_that_says_it_can_weight_rows_does(weighted):
    able = [cls for cls in known_estimators().values() if has_fit_parameter(cls(), "sample_weight")]
    assert KMeans in able
    for cls in able:
        options = {name: 3 for name in ("n_clusters", "n_components") if name in cls().get_params()}
        out = ac.cluster(
            weighted, cls(**options), features=FEATURES, weights="w", random_state=0, prefix=cls.__name__
        )
        assert len(out) == 300


def test_zero_weight_is_absence_and_two_is_twice(weighted):
    """For our mixture, from the same start: the rows that count, as often as they count."""
    w = np.asarray(weighted["w"]).astype(int)
    plain = ac.Features(["x", "y", "z"], scale="minmax")
    start = SklearnMixture(3, random_state=0).fit(plain.fit(weighted).transform(weighted).values)
    mixture = ac.GaussianMixture(
        3,
        weights_init=start.weights_,
        means_init=start.means_,
        precisions_init=start.precisions_,
        tol=1e-9,
        max_iter=500,
    )
    out = ac.cluster(weighted, mixture, features=plain, weights="w", random_state=0)
    repeated = ac.cluster(weighted[np.repeat(np.arange(300), w)], mixture, features=plain, random_state=0)
    one, two = (ac.model_table(t) for t in (out, repeated))
    for name in ("weight", "mean", "covariance"):
        np.testing.assert_allclose(one[name], two[name], rtol=1e-6, atol=1e-9)


# ---------------------------------------------------------------- measurement errors

ASTROMETRY = ("parallax", "pmra", "pmdec")


@pytest.fixture(scope="module")
def stars() -> QTable:
    """Two moving groups, measured with errors of all sizes and with correlations."""
    rng = np.random.default_rng(8)
    n = 400
    truth = rng.integers(0, 2, n)
    exact = np.array([[7.0, -5.0, -25.0], [2.0, 3.0, -4.0]])[truth] + rng.normal(size=(n, 3)) * 0.5
    sigma = 10 ** rng.uniform(-1.5, 0.7, (n, 1)) * [1.0, 1.1, 0.9]
    r = np.array([0.3, -0.2, 0.4])
    correlation = np.array([[1, r[0], r[1]], [r[0], 1, r[2]], [r[1], r[2], 1]])
    root = np.linalg.cholesky(correlation)
    measured = exact + sigma * (rng.normal(size=(n, 3)) @ root.T)
    t = QTable({"source_id": np.arange(n)})
    for i, (name, unit) in enumerate(zip(ASTROMETRY, (u.mas, u.mas / u.yr, u.mas / u.yr), strict=True)):
        t[name] = measured[:, i] * unit
        t[f"{name}_error"] = sigma[:, i] * unit
    for (first, second), value in zip(
        (("parallax", "pmra"), ("parallax", "pmdec"), ("pmra", "pmdec")), r, strict=True
    ):
        t[f"{first}_{second}_corr"] = np.full(n, value)
    t["truth"] = truth
    return ac.read(t)


SKY = ac.Features(ASTROMETRY, scale="standard", errors="auto")
TWO = {"n_components": 2, "random_state": 0}


def test_errors_reach_the_mixture(stars):
    out = ac.cluster(stars, "gmm", features=SKY, **TWO)
    matrix = SKY.fit(stars).transform(stars)
    mixture = ac.GaussianMixture(2, random_state=0).fit(matrix.values, errors=matrix.errors)
    probabilities = mixture.predict_proba(matrix.values, errors=matrix.errors)
    np.testing.assert_allclose(np.column_stack([out["prob_0"], out["prob_1"]]), probabilities, atol=1e-12)
    np.testing.assert_allclose(
        out["log_density"], mixture.score_samples(matrix.values, errors=matrix.errors), rtol=1e-9
    )
    np.testing.assert_allclose(
        out["outlier"], mixture.tail_probability(matrix.values, errors=matrix.errors), rtol=1e-9
    )
    np.testing.assert_array_equal(out["cluster"], mixture.predict(matrix.values, errors=matrix.errors))


def test_errors_find_the_true_spread(stars):
    """The groups are as wide as they are, and not as their measurements are."""
    deconvolved = ac.cluster(stars, "gmm", features=SKY, tol=1e-6, max_iter=1000, **TWO)
    naive = ac.cluster(stars, "gmm", features=SKY, errors={}, tol=1e-6, max_iter=1000, **TWO)
    factor = [s.factor for s in SKY.fit(stars).scalings]
    for table, near in ((deconvolved, True), (naive, False)):
        model = ac.model_table(table)
        widths = np.sqrt(np.einsum("kii->ki", model["covariance"])) * factor
        assert ((widths > 0.35) & (widths < 0.65)).all() == near
    assert "errors" not in ac.records(naive)[-1]["recipe"]


@pytest.mark.parametrize("ending", ["vot", "ecsv"])
def test_errors_are_on_record(stars, tmp_path, ending):
    out = ac.cluster(stars, "gmm", features=list(ASTROMETRY), errors="auto", **TWO)
    record = ac.records(out)[-1]
    assert set(record["inputs"]) == {n for n in stars.colnames if n not in ("source_id", "truth")}
    assert len(record["recipe"]["errors"]["correlations"]) == 3
    path = ac.write(out, tmp_path / f"a.{ending}")
    np.testing.assert_array_equal(ac.rerun(path)["prob_1"], out["prob_1"])
    new = ac.assign(stars, path, prefix="b_")
    for name in ("cluster", "prob_0", "prob_1", "log_density", "outlier", "entropy"):
        np.testing.assert_array_equal(new[f"b_{name}"], out[name])
    model = ac.write(ac.model_table(out), tmp_path / f"model.{ending}")
    np.testing.assert_array_equal(ac.assign(stars, model)["prob_1"], out["prob_1"])
    bare = stars[["source_id", *ASTROMETRY]]
    with pytest.raises(
        InputError, match=r"fitted with their errors, and there is no column 'parallax_error'"
    ):
        ac.assign(bare, path)


def test_the_call_goes_before_the_features(stars):
    wanted = {"parallax": "parallax_error", "pmra": "pmra_error", ("pmra", "parallax"): "parallax_pmra_corr"}
    out = ac.cluster(stars, "gmm", features=SKY, errors=wanted, **TWO)
    assert ac.records(out)[-1]["recipe"]["errors"] == {
        "columns": [["parallax", "parallax_error"], ["pmra", "pmra_error"]],
        "correlations": [["pmra", "parallax", "parallax_pmra_corr"]],
    }
    np.testing.assert_array_equal(ac.rerun(out)["prob_1"], out["prob_1"])


def test_errors_of_zero_are_no_errors(stars):
    exact = stars.copy()
    for name in ASTROMETRY:
        exact[f"{name}_error"] *= 0
    options = {"features": ac.Features(ASTROMETRY, scale="standard"), "tol": 1e-8, "max_iter": 500, **TWO}
    without = ac.cluster(exact, "gmm", **options)
    uncorrelated = {name: f"{name}_error" for name in ASTROMETRY}
    for errors in ("auto", uncorrelated):
        out = ac.cluster(exact, "gmm", errors=errors, **options)
        for name in ("prob_0", "log_density", "outlier"):
            np.testing.assert_allclose(out[name], without[name], rtol=1e-6, atol=1e-9)


def test_a_hopeless_measurement_is_like_none(stars):
    blurred = stars.copy()
    for name in ASTROMETRY:
        blurred[f"{name}_error"][7] *= 1e9
    out = ac.cluster(blurred, "gmm", features=SKY, **TWO)
    weight = ac.model_table(out)["weight"]
    assert [out["prob_0"][7], out["prob_1"][7]] == pytest.approx(list(weight), abs=1e-6)


def test_unknown_errors_make_missing_values(stars):
    holed = stars.copy()
    holed["pmra_error"][:5] = np.nan
    with pytest.warns(AstroClusterWarning, match=r"lacks the error of 'pmra' in 5 rows \(0, 1, 2, …\)"):
        out = ac.cluster(holed, "gmm", features=SKY, **TWO)
    same = stars.copy()
    same["pmra"][:5] = np.nan
    np.testing.assert_allclose(out["prob_0"], ac.cluster(same, "gmm", features=SKY, **TWO)["prob_0"])


def test_only_our_mixture_knows_errors(stars):
    for estimator in ("kmeans", SklearnMixture(2), DBSCAN()):
        options = {"n_clusters": 2} if estimator == "kmeans" else {}
        with pytest.raises(InputError, match="cannot take measurement errors into account; leave errors out"):
            ac.cluster(stars, estimator, features=SKY, **options)
        out = ac.cluster(stars, estimator, features=SKY, errors={}, random_state=0, **options)
        assert "cluster" in out.colnames


def test_errors_and_weights_and_dropped_rows_together(stars):
    mixed = stars.copy()
    mixed["w"] = np.where(np.arange(400) < 4, np.nan, 1.0 + np.arange(400) % 3)
    mixed["pmdec"][4:10] = np.nan
    out = ac.cluster(mixed, "gmm", features=SKY, weights="w", missing="drop", **TWO)
    np.testing.assert_array_equal(out["cluster"].mask, np.arange(400) < 10)
    assert ac.records(out)[-1]["rows_used"] == 390
    np.testing.assert_array_equal(ac.rerun(out)["prob_1"], out["prob_1"])


def test_a_fit_that_does_not_converge_warns_in_our_words(table):
    with pytest.warns(AstroClusterWarning, match="did not converge: raise max_iter"):
        ac.cluster(table, "gmm", features=FEATURES, n_components=9, max_iter=2, tol=1e-9, random_state=0)


def test_only_our_mixture_integrates_holes_out(holed):
    with pytest.raises(InputError, match="KMeans cannot integrate missing values out"):
        ac.cluster(holed, "kmeans", features=FEATURES, missing="marginalize", n_clusters=2)
    with pytest.raises(InputError, match="missing='guess' is not known"):
        ac.cluster(holed, "kmeans", features=FEATURES, missing="guess", n_clusters=2)


# ---------------------------------------------------------------- assign


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("ending", ["vot", "fits", "ecsv", "parquet"])
def test_a_stored_model_gives_the_same_memberships(holed, tmp_path, kind, ending):
    options = {"n_components": 3, "random_state": 0, "covariance_type": kind}
    fitted = ac.cluster(holed, "gmm", features=FEATURES, **options)
    path = ac.write(ac.model_table(fitted), tmp_path / f"model.{ending}")
    out = ac.assign(holed, path)
    for name in ("cluster", "prob_0", "prob_max", "entropy", "log_density", "outlier"):
        np.testing.assert_array_equal(out[name], fitted[name])
    from_table = ac.assign(holed, ac.write(fitted, tmp_path / f"table.{ending}"))
    np.testing.assert_array_equal(from_table["prob_1"], fitted["prob_1"])


def test_new_rows_are_treated_as_the_old_ones_in_their_units(table):
    fitted = ac.cluster(table, "gmm", features=FEATURES, n_components=3, random_state=0, prefix="a_")
    new = table["id", "x", "y", "z"][:20]
    new["x"] = new["x"].to(u.arcsec)
    out = ac.assign(new, fitted)
    np.testing.assert_allclose(out["a_prob_0"], fitted["a_prob_0"][:20], rtol=1e-9)
    new["x"] = np.arange(20) * u.kg
    with pytest.raises(InputError, match="'x' is in kg, which cannot be converted to mas"):
        ac.assign(new, fitted)
    new.remove_column("x")
    with pytest.raises(InputError, match="there is no column 'x'"):
        ac.assign(new, fitted)


def test_one_row_can_be_assigned(table):
    fitted = ac.cluster(table, "gmm", features=FEATURES, n_components=3, random_state=0)
    one = ac.assign(table["x", "y", "z"][:1], fitted)
    assert one["cluster"][0] == fitted["cluster"][0]


def test_centroids_assign_and_dbscan_cannot(table):
    fitted = ac.cluster(table, "kmeans", features=FEATURES, n_clusters=3, random_state=0)
    out = ac.assign(table["x", "y", "z"], ac.model_table(fitted))
    np.testing.assert_array_equal(out["cluster"], fitted["cluster"])
    noise = ac.cluster(table, DBSCAN(eps=0.6), features=FEATURES)
    with pytest.raises(InputError, match="DBSCAN makes no model"):
        ac.assign(table, noise, prefix="b_")
    with pytest.raises(InputError, match="no clustering on record"):
        ac.assign(table, table)


def test_the_right_one_of_several_models(table):
    both = ac.cluster(table, "gmm", features=FEATURES, n_components=2, random_state=0, prefix="two_")
    both = ac.cluster(both, "gmm", features=FEATURES, n_components=3, random_state=0, prefix="three_")
    assert len(ac.model_table(both)) == 3
    assert len(ac.model_table(both, prefix="two_")) == 2
    with pytest.raises(InputError, match=r"no clustering with the prefix 'four_'.*'two_', 'three_'"):
        ac.model_table(both, prefix="four_")
    out = ac.assign(table, both, model_prefix="two_", prefix="new_")
    assert "new_prob_1" in out.colnames
    assert "new_prob_2" not in out.colnames


def test_assign_can_be_run_again(table, tmp_path):
    fitted = ac.cluster(table, "gmm", features=FEATURES, n_components=3, random_state=0)
    out = ac.assign(table, fitted, prefix="b_")
    again = ac.rerun(ac.write(out, tmp_path / "a.vot"))
    np.testing.assert_array_equal(again["b_prob_0"], out["b_prob_0"])


def test_a_damaged_model_is_refused(table):
    fitted = ac.cluster(table, "gmm", features=FEATURES, n_components=3, random_state=0)
    model = ac.model_table(fitted)
    broken = model.copy()
    broken.remove_column("covariance")
    with pytest.raises(InputError, match="lacks 'covariance'"):
        ac.assign(table, broken, prefix="b_")
    worse = model.copy()
    worse["covariance"][0] = -1.0
    with pytest.raises(InputError, match=r"damaged.*positive definite"):
        ac.assign(table, worse, prefix="b_")


def test_a_model_table_reads_in_topcat_terms(table):
    model = ac.model_table(ac.cluster(table, "gmm", features=FEATURES, n_components=3, random_state=0))
    assert model.colnames == ["component", "weight", "mean", "covariance"]
    assert model["covariance"].shape == (3, 3, 3)
    for name in model.colnames:
        assert check_ucd(model[name].info.meta["ucd"], check_controlled_vocabulary=True)


def test_a_record_cannot_make_joblib_unpickle(table, tmp_path):
    out = ac.cluster(table, AgglomerativeClustering(3, memory=str(tmp_path / "cache")), features=FEATURES)
    assert "memory" not in str(ac.records(out)[-1])
    ac.records(out)[-1]["parameters"]["estimator"]["value"]["params"]["memory"] = str(tmp_path / "trap")
    with pytest.raises(InputError, match="must not set the parameter memory"):
        ac.rerun(out)
    assert not (tmp_path / "trap").exists()


def test_only_models_that_assign_alike_are_stored(table):
    from sklearn.cluster import BisectingKMeans, MeanShift

    for estimator in (BisectingKMeans(3), MeanShift(bandwidth=1.5, cluster_all=False)):
        out = ac.cluster(table, estimator, features=FEATURES, random_state=0)
        with pytest.raises(InputError, match="makes no model"):
            ac.model_table(out)


def test_a_random_state_object_is_turned_into_a_seed(table):
    mixture = ac.GaussianMixture(3, random_state=np.random.RandomState(5))
    out = ac.cluster(table, mixture, features=FEATURES)
    assert isinstance(ac.records(out)[-1]["seed"], int)
    np.testing.assert_array_equal(ac.rerun(out)["prob_1"], out["prob_1"])


@pytest.mark.parametrize("change", [{"weight": -1.0}, {"weight": 3.0}])
def test_a_model_with_impossible_weights(table, change):
    model = ac.model_table(ac.cluster(table, "gmm", features=FEATURES, n_components=3, random_state=0))
    for name, value in change.items():
        model[name][0] = value
    with pytest.raises(InputError, match=r"damaged.*weights"):
        ac.assign(table, model, prefix="b_")
    with pytest.raises(InputError, match="no rows"):
        ac.assign(table, model[:0], prefix="b_")
