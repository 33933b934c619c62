"""On the columns of the real quasar catalogue, the numbers are those of scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def dr16q(real_data):
    return ac.read(real_data / "quasars" / "dr16q_snr10_16328.fits")


def test_correlations_of_the_columns(dr16q):
    found = ac.rank_correlations(
        dr16q, "SN_MEDIAN_ALL,M_I,BI_CIV", against="Z,M_I,PLATESN2", missing={"BI_CIV": -1}, random_state=1
    )
    assert len(found) == 8
    for row in found:
        y, x = (
            np.asarray(getattr(dr16q[row[key]], "value", dr16q[row[key]])) for key in ("column", "against")
        )
        use = y != -1
        assert (row["count"], row["left_out"]) == (use.sum(), (~use).sum())
        known = stats.spearmanr(x[use], y[use])
        assert row["rho"] == pytest.approx(known.statistic, abs=1e-12)
        assert row["p_value"] == pytest.approx(known.pvalue, rel=1e-6, abs=1e-300)
        # Of so many rows, the two ways to an interval are about the same.
        half = (np.arctanh(row["rho_upper"]) - np.arctanh(row["rho_lower"])) / 2
        assert half == pytest.approx(1.96 * np.sqrt((1 + known.statistic**2 / 2) / use.sum()), rel=0.25)


def test_what_redshift_and_brightness_know(dr16q):
    some = dr16q[::4]
    found = ac.predictability(
        some, "SN_MEDIAN_ALL,MJD", features="Z,M_I", n_neighbors=20, repeats=1, random_state=1
    )
    X = np.column_stack([some["Z"], some["M_I"].value])
    model = make_pipeline(StandardScaler(), KNeighborsRegressor(20))
    for row in found:
        y = np.asarray(some[row["column"]], dtype=float)
        known = cross_val_predict(model, X, y, cv=KFold(5, shuffle=True, random_state=1))
        assert row["r2"] == pytest.approx(r2_score(y, known), abs=2 * row["r2_error"])
    assert found["r2"][0] > 0.3
    assert not np.ma.is_masked(found["mean_absolute_error"])


def test_numbers_that_mean_nothing_are_told_of(dr16q):
    with pytest.warns(
        AstroClusterWarning, match=r"BAL_PROB is -1 in 17 rows, XMM_SOFT_FLUX is -1 in 15,925 rows"
    ):
        ac.rank_correlations(dr16q, "Z,BAL_PROB,XMM_SOFT_FLUX", against="M_I", samples=20, random_state=1)


def test_magnitudes_that_no_quasar_has_are_outliers(dr16q):
    """Some rows have an M_I of 1 or 2, which means that there is none: a group that stands apart."""
    strange = np.flatnonzero(dr16q["M_I"].value > -12)
    assert len(strange) > 20
    out = ac.outliers(dr16q["Z", "M_I"], features="Z,M_I", method="mixture", random_state=1)
    assert set(np.asarray(out["inspection_rank"])[strange]) == set(range(1, len(strange) + 1))
    # Among neighbours of their own kind they are less lonely.
    out = ac.outliers(dr16q["Z", "M_I"], features="Z,M_I", random_state=1)
    assert (np.asarray(out["inspection_rank"])[strange] <= 100).mean() > 0.5


def test_the_real_spectra_go_all_the_way(real_data):
    spectra = ac.read_spectra(sorted((real_data / "quasars" / "spec").glob("*.fits")), grid="3625:9000:500")
    table = ac.embed(spectra, "weighted-pca", n_components=4, random_state=1, faithfulness=False)
    assert len(table) == 40
    found = ac.rank_correlations(
        table, "snr_median,redshift", against="reconstruction_chi2,pca", random_state=1
    )
    assert len(found) == 10
    known = stats.spearmanr(table["snr_median"], table["reconstruction_chi2"])
    assert found["rho"][0] == pytest.approx(known.statistic, abs=1e-12)
    assert (found["count"] == 40).all()
    predicted = ac.predictability(table, "redshift", random_state=1)
    assert predicted["count"][0] == 40
    assert 0 < predicted["nmad"][0] < 0.5
    out = ac.outliers(table, given="snr_median", random_state=1)
    assert sorted(out["inspection_rank"]) == list(range(1, 41))
    for name in ("flux", "ivar"):
        np.testing.assert_array_equal(out[name], table[name])
