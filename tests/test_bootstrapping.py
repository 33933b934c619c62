"""The bootstrap as columns: what they are called and mean, where they are masked, and real rows."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io.votable.ucd import check_ucd
from astropy.table import QTable
from hypothesis import given, settings
from hypothesis import strategies as st

import astro_cluster as ac
from astro_cluster.exceptions import InputError
from astro_cluster.memberships import expected_columns
from astro_cluster.mixture.resampled import bootstrap

NEW = ["prob_0_spread", "prob_1_spread", "co_assignment"]
SAME = {"features": "x,y", "n_components": 2, "random_state": 42}


def two(apart: float, *, rows: int = 100, seed: int = 1) -> QTable:
    rng = np.random.default_rng(seed)
    X = np.concatenate([rng.normal(centre, 1.0, (rows, 2)) for centre in (0.0, apart)])
    return QTable({"x": X[:, 0], "y": X[:, 1]})


def test_the_columns_and_what_they_are():
    table = two(3.0)
    out = ac.cluster(table, bootstrap=5, prefix="a_", **SAME)
    assert out.colnames[-4:] == ["a_outlier", *(f"a_{name}" for name in NEW)]
    assert out.colnames[2:] == expected_columns(ac.GaussianMixture(2), "a_", bootstrap=True)
    for name in NEW:
        column = out[f"a_{name}"]
        assert check_ucd(column.info.meta["ucd"], check_controlled_vocabulary=True)
    assert (
        out["a_prob_1_spread"].info.description
        == "Standard deviation of prob_1 over 5 fits to bootstrap samples"
    )
    assert "5 bootstrap fits" in out["a_co_assignment"].info.description
    without = ac.cluster(table, prefix="a_", **SAME)
    for name in without.colnames:
        np.testing.assert_array_equal(out[name], without[name])


def test_they_are_what_the_arrays_say():
    table = two(2.0)
    out = ac.cluster(table, bootstrap=4, **SAME)
    X = np.column_stack([table["x"], table["y"]])
    found = bootstrap(ac.GaussianMixture(2, random_state=42).fit(X), X, 4, random_state=42)
    np.testing.assert_array_equal(out["prob_0_spread"], found.spread[:, 0])
    np.testing.assert_array_equal(out["co_assignment"], found.co_assignment)


def test_far_and_near():
    far, near = (ac.cluster(two(apart), bootstrap=20, **SAME) for apart in (25.0, 1.5))
    assert max(far["prob_0_spread"]) < 1e-12
    assert min(far["co_assignment"]) == 1.0
    assert np.mean(near["prob_0_spread"]) > 0.03
    assert np.mean(near["co_assignment"]) < 0.95


def test_threads_change_nothing_and_seeds_do():
    table = two(2.0)
    options = {"features": "x,y", "bootstrap": 4}
    outs = [
        ac.cluster(table, ac.GaussianMixture(2, random_state=seed, n_jobs=n_jobs), **options)
        for seed, n_jobs in ((1, 1), (1, 3), (1, None), (2, 1))
    ]
    for name in NEW:
        np.testing.assert_array_equal(outs[1][name], outs[0][name])
        np.testing.assert_array_equal(outs[2][name], outs[0][name])
    assert not np.array_equal(outs[3]["prob_0_spread"], outs[0]["prob_0_spread"])


@settings(max_examples=10, deadline=None)
@given(st.floats(0.0, 10.0), st.integers(2, 4), st.integers(0, 100), st.booleans())
def test_without_doubt_there_is_no_spread(apart, number, seed, holes):
    table = two(30.0 + apart, rows=30, seed=seed)
    if holes:
        table["y"][::7] = np.nan
    out = ac.cluster(table, bootstrap=number, **{**SAME, "random_state": seed})
    assert max(out["prob_1_spread"]) < 1e-6
    assert min(out["co_assignment"]) == 1.0


def test_rows_that_were_not_used_are_masked():
    table = two(6.0)
    table["y"][5] = np.nan
    out = ac.cluster(table, missing="drop", bootstrap=3, **SAME)
    for name in NEW:
        np.testing.assert_array_equal(out[name].mask, np.arange(200) == 5)


def test_a_row_alone_in_its_cluster_has_no_one_to_be_with():
    table = two(0.0, rows=40)
    table["x"][0] = table["y"][0] = 300.0
    start = ac.GaussianMixture(
        2,
        weights_init=[0.98, 0.02],
        means_init=[[0.0, 0.0], [300.0, 300.0]],
        precisions_init=[np.eye(2), np.eye(2)],
        reg_covar=1e-3,
        random_state=0,
    )
    with pytest.warns(ac.AstroClusterWarning, match="collapsed to a point"):
        with_guard = ac.cluster(table, start, features="x,y", bootstrap=2)
    assert "co_assignment" in with_guard.colnames
    # With errors a component may be a point, and so it stays.
    table["x_error"] = table["y_error"] = 0.01
    out = ac.cluster(table, start, features="x,y", errors="auto", bootstrap=2)
    alone = np.bincount(out["cluster"])[np.asarray(out["cluster"])] == 1
    assert alone.sum() == 1
    np.testing.assert_array_equal(out["co_assignment"].mask, alone)
    assert np.isfinite(out["prob_0_spread"]).all()


def test_weights_and_errors_go_with_it():
    table = two(3.0)
    table["w"] = np.where(np.arange(200) % 4 == 0, 1.0, 0.0)
    table["x_error"] = 0.3
    out = ac.cluster(table, bootstrap=5, weights="w", errors={"x": "x_error"}, **SAME)
    X = np.column_stack([table["x"], table["y"]])
    noise = np.column_stack([table["x_error"], np.zeros(200)])
    mixture = ac.GaussianMixture(2, random_state=42).fit(X, errors=noise, sample_weight=table["w"])
    found = bootstrap(mixture, X, 5, errors=noise, sample_weight=table["w"], random_state=42)
    np.testing.assert_array_equal(out["prob_1_spread"], found.spread[:, 1])


def test_taken_columns_are_refused_before_the_fit_and_old_ones_go():
    table = two(3.0)
    table["co_assignment"] = 1.0

    def never(step, runs):
        raise AssertionError("it was fitted")

    with pytest.raises(InputError, match="already has the column co_assignment"):
        ac.cluster(table, bootstrap=3, progress=never, **SAME)
    table.remove_column("co_assignment")
    four = ac.cluster(table, bootstrap=3, **{**SAME, "n_components": 4})
    again = ac.cluster(four, bootstrap=3, overwrite=True, **SAME)
    assert again.colnames[-3:] == NEW
    assert "prob_3_spread" not in again.colnames
    without = ac.cluster(four, overwrite=True, **SAME)
    assert not [name for name in without.colnames if "spread" in name or "co_assign" in name]


def test_assign_knows_nothing_of_it():
    table = two(3.0)
    out = ac.cluster(table, bootstrap=3, **SAME)
    assigned = ac.assign(table, out)
    assert set(NEW).isdisjoint(assigned.colnames)
    over = ac.assign(out, out, overwrite=True)
    assert set(NEW).isdisjoint(over.colnames)  # they would belong to the old labels


def test_it_is_on_record_and_runs_again(tmp_path):
    out = ac.cluster(two(3.0), bootstrap=np.int64(3), **SAME)
    assert ac.records(out)[-1]["parameters"]["bootstrap"] == 3
    again = ac.rerun(ac.write(out, tmp_path / "a.fits"))
    for name in NEW:
        np.testing.assert_array_equal(again[name], out[name])


@pytest.mark.parametrize("number", [1, -1, 2.5, True, "50", None])
def test_numbers_that_cannot_be(number):
    with pytest.raises(InputError, match=rf"bootstrap={number!r} cannot be; give how many samples"):
        ac.cluster(two(3.0), bootstrap=number, **SAME)


def test_only_our_mixture_is_bootstrapped():
    from sklearn.mixture import GaussianMixture as SklearnMixture

    for estimator in ("kmeans", SklearnMixture(2)):
        more = {"n_clusters": 2} if estimator == "kmeans" else {}
        with pytest.raises(InputError, match=r"bootstrap needs our mixture \(estimator='gmm'\), not "):
            ac.cluster(two(3.0), estimator, features="x,y", bootstrap=3, **more)


def test_a_sample_that_cannot_be_fitted_is_said_so(monkeypatch):
    def fail(*args, **kwargs):
        raise ValueError("bootstrap sample 2 of 3: the covariance of component 1 is not positive definite")

    monkeypatch.setattr("astro_cluster.bootstrapping.bootstrap", fail)
    with pytest.raises(InputError, match="GaussianMixture cannot be bootstrapped: bootstrap sample 2 of 3"):
        ac.cluster(two(3.0), bootstrap=3, **SAME)


# ---------------------------------------------------------------- what the page says of real rows


@pytest.mark.realdata
def test_probabilities_near_one_do_not_mean_that_a_row_stays(real_data):
    """The numbers of the page on probabilities; wide limits, for the last digits of other machines."""
    sources = ac.read(real_data / "chandra" / "csc2_gmm6_simbad_1615.csv")
    out = ac.cluster(
        sources,
        "gmm",
        features=ac.recipes.CSC2,
        n_components=6,
        random_state=42,
        bootstrap=50,
        prefix="g_",
    )
    label, sure = np.asarray(out["g_cluster"]), np.asarray(out["g_prob_max"]) > 0.98
    spreads = np.column_stack([out[f"g_prob_{k}_spread"] for k in range(6)])
    own, together = spreads[np.arange(len(out)), label], np.asarray(out["g_co_assignment"])
    assert sure.mean() > 0.9  # as the study complains
    assert np.mean(np.asarray(out["g_entropy"]) < 0.01) > 0.8
    assert np.median(own) < 0.01
    assert 0.15 < np.mean(own > 0.1) < 0.4
    assert np.mean(own[sure] > 0.1) > 0.1  # and the probability does not show which
    assert 0.9 < np.median(together) < 0.99
    assert 0.05 < np.mean(together < 0.8) < 0.2
    loosest = min(range(6), key=lambda k: np.median(together[label == k]))
    assert np.median(together[label == loosest]) < 0.7
    assert sure[label == loosest].mean() > 0.9
    far_out = np.asarray(out["g_outlier"]) < 0.01
    assert 0.005 < far_out.mean() < 0.05
    assert sure[far_out].mean() > 0.9
    # Other starts move far more rows than other samples do.
    found = ac.stability(out, bootstrap=20, random_state=0)
    assert max(found["jaccard"]) < 0.75
