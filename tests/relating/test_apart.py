"""Planted outliers come first, for the right reason, and a handful of them hides none."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.io.votable.ucd import check_ucd
from astropy.table import MaskedColumn, QTable
from scipy import stats

import astro_cluster as ac
from astro_cluster.exceptions import InputError
from astro_cluster.relating.strangeness import log_densities

from .tables import quasars, repeated

NEW = ["latent_log_density", "outlier_score", "inspection_rank", "outlier_reason"]
LONELY, WRONG = [7, 50, 90], [3, 120, 201]


def planted(n: int = 500, seed: int = 1) -> QTable:
    rng = np.random.default_rng(seed)
    table = QTable({"source_id": np.arange(n), "latent": rng.normal(size=(n, 3))})
    table["reconstruction_chi2"] = rng.chisquare(900, n) / 900
    table["latent"][LONELY] += [[6, 0, 0], [0, -7, 2], [-6, 6, 6]]
    table["reconstruction_chi2"][WRONG] = [1.6, 3.0, 40.0]
    return table


@pytest.mark.parametrize("method", ["neighbours", "mixture"])
def test_planted_outliers_are_first(method):
    table = planted()
    out = ac.outliers(table, method=method, random_state=1)
    assert out.colnames == [*table.colnames, *NEW]
    order = np.argsort(out["inspection_rank"])
    assert set(order[:6]) == {*LONELY, *WRONG}
    assert set(out["outlier_reason"][LONELY]) == {"density"}
    assert set(out["outlier_reason"][WRONG]) == {"reconstruction"}
    assert sorted(out["inspection_rank"]) == list(range(1, 501))
    assert (np.diff(np.asarray(out["outlier_score"])[order]) <= 0).all()
    for name in NEW:
        assert check_ucd(out[name].info.meta["ucd"], check_controlled_vocabulary=True)
    assert "outlier_score" not in table.colnames


@pytest.mark.parametrize("method", ["neighbours", "mixture"])
def test_the_density_is_that_of_a_normal_distribution(method):
    rng = np.random.default_rng(2)
    for d in (1, 3, 6):
        X = rng.normal(size=(4000, d))
        true = stats.multivariate_normal(np.zeros(d)).logpdf(X)
        inner = true > np.quantile(true, 0.3)
        found = log_densities(X, method, 1)
        assert np.median(found[inner] - true[inner]) == pytest.approx(0, abs=0.15)
        assert stats.spearmanr(found, true).statistic > (0.65 if method == "neighbours" else 0.97)


def test_a_handful_of_outliers_close_together_hides_none():
    table = planted()
    table["latent"][300:304] = 9 + 0.01 * np.random.default_rng(3).normal(size=(4, 3))
    for method in ("neighbours", "mixture"):
        out = ac.outliers(table, method=method, random_state=1)
        assert set(np.argsort(out["inspection_rank"])[:10]) >= {*LONELY, *WRONG, 300, 301, 302, 303}


def test_repeated_rows_share_a_rank_and_have_no_neighbours_in_their_copies():
    table = planted()
    once = ac.outliers(table, random_state=1)
    many = repeated(table, 12)
    out = ac.outliers(many, random_state=1)
    for name in ("outlier_score", "latent_log_density", "outlier_reason"):
        np.testing.assert_array_equal(np.asarray(out[name])[::12], np.asarray(once[name]))
    ranks = np.asarray(out["inspection_rank"]).reshape(-1, 12)
    assert (ranks == np.asarray(once["inspection_rank"])[:, np.newaxis]).all()


def test_bright_spectra_are_no_outliers_when_compared_with_bright_ones():
    rng = np.random.default_rng(4)
    table = planted(2000)
    snr = np.exp(rng.normal(1, 1, 2000))
    table["snr_median"] = snr
    # What the model does not know, and quasars are not all the same.
    table["reconstruction_chi2"] *= (1 + (snr / 10) ** 2) * np.exp(0.2 * rng.normal(size=2000))
    plain = ac.outliers(table, features=None, random_state=1)
    alike = ac.outliers(table, features=None, given="snr_median", random_state=1)
    bright = np.argsort(-snr)[:20]
    assert np.median(np.asarray(plain["inspection_rank"])[bright]) <= 25
    assert np.median(np.asarray(alike["inspection_rank"])[bright]) > 200
    assert (np.asarray(alike["inspection_rank"])[WRONG[1:]] <= 2).all()
    assert plain["inspection_rank"][WRONG[1]] > 10
    assert set(ac.records(alike)[-1]["inputs"]) == {"reconstruction_chi2", "snr_median", "latent"}


def test_one_of_the_two_is_enough():
    table = planted()
    by_density = ac.outliers(table["source_id", "latent"], random_state=1)
    assert set(by_density["outlier_reason"]) == {"density"}
    assert set(np.argsort(by_density["inspection_rank"])[:3]) == set(LONELY)
    by_chi2 = ac.outliers(table, features=None, random_state=1)
    assert "latent_log_density" not in by_chi2.colnames
    assert np.argsort(by_chi2["inspection_rank"])[:3].tolist() == WRONG[::-1]
    assert by_chi2["inspection_rank"].tolist() == ac.outliers(table, weight=0)["inspection_rank"].tolist()
    table.rename_column("reconstruction_chi2", "reconstruction_error")
    found = ac.outliers(table, random_state=1)
    assert "reconstruction_error" in ac.records(found)[-1]["inputs"]
    assert ac.records(found)[-1]["ingredients"] == {"density": 0.5, "reconstruction": 0.5}


def test_plain_columns_in_any_unit():
    table = planted()
    x, y, z = np.asarray(table["latent"]).T
    table["a"], table["b"], table["c"] = x * u.mag, 1e6 * y * u.Jy, 1e-9 * z
    table["a"][10] = 1e9 * u.mag  # one value that would stretch a scale of all
    out = ac.outliers(table, features="a,b,c", chi2=None, random_state=1)
    assert "features_log_density" in out.colnames
    assert set(np.argsort(out["inspection_rank"])[:4]) == {10, *LONELY}
    assert out["inspection_rank"][10] == 1


def test_rows_with_nothing_are_masked_and_rows_with_something_are_not():
    table = planted()
    latent = np.ma.array(np.asarray(table["latent"]), mask=False)
    latent[[3, 5]] = np.ma.masked
    table["latent"] = MaskedColumn(latent)
    table["reconstruction_chi2"][5] = np.nan
    table["reconstruction_chi2"][9] = np.inf
    out = ac.outliers(table, random_state=1)
    assert np.flatnonzero(out["inspection_rank"].mask).tolist() == [5]
    assert np.flatnonzero(out["latent_log_density"].mask).tolist() == [3, 5]
    assert out["inspection_rank"][9] == 1  # an infinite error is the worst
    assert out["outlier_reason"][3] == "reconstruction"
    assert sorted(out["inspection_rank"].compressed()) == list(range(1, 500))


def test_equal_numbers_are_no_repeats():
    """Rounded, many rows have the same chi-square; they are still so many."""
    table = QTable({"reconstruction_chi2": np.r_[np.repeat([1.0, 1.1, 0.9], 30), 1.2, 1.2, 5.0]})
    out = ac.outliers(table, random_state=1)
    assert out["inspection_rank"][92] == 1
    assert sorted(out["inspection_rank"]) == list(range(1, 94))


def test_infinite_coordinates_cost_their_row_alone():
    table = planted()
    table["latent"][4, 1] = np.inf
    table["reconstruction_chi2"][4] = np.nan
    out = ac.outliers(table, random_state=1)
    assert np.flatnonzero(out["inspection_rank"].mask).tolist() == [4]
    assert np.isinf(table["latent"][4, 1])


def test_coordinates_that_are_all_alike_are_no_crash():
    table = planted(300)
    table["latent"][20:60] = [0.5, 0.5, 0.5]  # the same coordinates, other chi-squares
    out = ac.outliers(table, random_state=1)
    assert np.isfinite(np.asarray(out["latent_log_density"])).all()
    assert (np.asarray(out["inspection_rank"])[20:60] > 10).all()


def test_prefix_overwrite_seed_and_rerun(tmp_path):
    ac.write(planted(), tmp_path / "in.vot")
    out = ac.outliers(tmp_path / "in.vot", prefix="vae_", random_state=3)
    assert out.colnames[-4:] == [f"vae_{name}" for name in NEW]
    with pytest.raises(InputError, match="already has the columns vae_outlier_score"):
        ac.outliers(out, prefix="vae_")
    again = ac.outliers(out, prefix="vae_", random_state=3, overwrite=True)
    assert again.colnames == out.colnames
    ac.write(out, tmp_path / "out.vot")
    rerun = ac.rerun(tmp_path / "out.vot")
    for name in NEW:
        np.testing.assert_array_equal(np.asarray(rerun[f"vae_{name}"]), np.asarray(out[f"vae_{name}"]))


def test_the_order_of_rows_does_not_matter():
    table = planted()
    order = np.random.default_rng(2).permutation(len(table))
    one, other = ac.outliers(table, random_state=1), ac.outliers(table[order], random_state=1)
    np.testing.assert_allclose(np.asarray(one["outlier_score"])[order], other["outlier_score"])


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (QTable({"ra": np.arange(5.0)}), {}, "nothing to find outliers by: embed the table first"),
        (planted(), {"features": None, "chi2": None}, "nothing to find outliers by"),
        (planted(), {"chi2": "chi2"}, "there is no column 'chi2'"),
        (planted(), {"chi2": "latent"}, "several values a row; chi2= takes one a row"),
        (planted(), {"features": "latnt"}, "did you mean 'latent'"),
        (planted(), {"chi2": None, "given": "source_id"}, "no reconstructions to compare there"),
        (planted(), {"given": "snr"}, "there is no column 'snr'"),
        (planted(), {"method": "forest"}, "method='forest' is not known; give one of neighbours, mixture"),
        (planted(), {"weight": 1.2}, "weight=1.2 is no weight"),
        (planted(), {"random_state": -1}, "is no seed"),
        (repeated(planted()[:2], 9), {"features": None}, "2 rows of 18 have"),
        (QTable({"reconstruction_chi2": np.full(9, np.nan)}), {}, "has no value in any row"),
        (QTable({"reconstruction_chi2": np.ones(9)}), {}, "equally good in all rows"),
        (QTable({"reconstruction_chi2": np.array(["a", "b", "c"])}), {}, "holds no numbers"),
    ],
)
def test_bad_input_is_one_clear_sentence(table, options, message):
    with pytest.raises(InputError, match=message):
        ac.outliers(table, **options)


def test_a_reconstruction_without_any_error_changes_no_other_row():
    rng = np.random.default_rng(1)
    table = QTable({"latent": rng.normal(size=(300, 3)), "reconstruction_chi2": rng.lognormal(0, 1, 300)})
    table["reconstruction_chi2"][0] = np.min(table["reconstruction_chi2"]) / 2
    before = ac.outliers(table, random_state=1)
    table["reconstruction_chi2"][0] = 0
    after = ac.outliers(table, random_state=1)
    np.testing.assert_allclose(after["outlier_score"][1:], before["outlier_score"][1:], atol=0.01)


def test_quasars_keep_their_rows_and_columns():
    table = quasars(120)
    out = ac.outliers(table, random_state=1)
    assert len(out) == 120
    for name in table.colnames:
        assert bool(np.all(out[name] == table[name])), name
