"""rank_correlations: each pair as scipy has it, each object once, each row accounted for."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io.votable.ucd import check_ucd
from astropy.table import MaskedColumn, QTable
from scipy import stats

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError

from .tables import quasars, repeated

COLUMNS = [
    "column", "against", "count", "left_out", "rho", "rho_lower", "rho_upper", "p_value", "fdr",
]  # fmt: skip


def row_of(found: QTable, column: str, against: str) -> QTable:
    rows = found[(found["column"] == column) & (found["against"] == against)]
    assert len(rows) == 1
    return rows[0]


def test_each_pair_is_that_of_scipy():
    table = quasars()
    table["reconstruction_error"] = table["reconstruction_chi2"] ** 2
    found = ac.rank_correlations(
        table, "Z,M_I,is_bal,MJD,BI_CIV", against="latent,reconstruction_error", samples=20, random_state=1
    )
    assert found.colnames == COLUMNS
    assert len(found) == 5 * 5
    for row in found:
        name, index = row["column"], row["against"]
        y = np.ma.masked_invalid(np.ma.asarray(getattr(table[name], "value", table[name]), dtype=float))
        x = table["reconstruction_error"] if "[" not in index else table["latent"][:, int(index[-2])]
        use = ~np.ma.getmaskarray(y)
        known = stats.spearmanr(np.asarray(x)[use], np.asarray(y)[use])
        assert row["rho"] == pytest.approx(known.statistic, abs=1e-12)
        assert row["p_value"] == pytest.approx(known.pvalue, rel=1e-6, abs=1e-300)
        assert (row["count"], row["left_out"]) == (use.sum(), 400 - use.sum())
        assert row["rho_lower"] <= row["rho"] <= row["rho_upper"]
    np.testing.assert_allclose(found["fdr"], stats.false_discovery_control(found["p_value"]))
    assert row_of(found, "Z", "latent[0]")["rho"] > 0.95
    for name in found.colnames:
        assert check_ucd(found[name].info.meta["ucd"], check_controlled_vocabulary=True)


def test_what_is_not_related_is_not_discovered():
    found = ac.rank_correlations(quasars(800), "M_I,MJD", random_state=2)
    assert (np.asarray(found["fdr"]) > 0.05).all()
    assert (np.asarray(found["rho_lower"]) < 0).mean() > 0.7


def test_masked_and_nan_rows_are_left_out_pair_by_pair():
    table = quasars(60)
    latent = np.ma.array(np.asarray(table["latent"]), mask=False)
    latent[:5, 0] = np.ma.masked  # of one component alone
    table["latent"] = MaskedColumn(latent)
    table["Z"][50:] = np.nan
    table["Z"][49] = np.inf
    found = ac.rank_correlations(table, "Z", samples=20, random_state=1)
    first, second = (row_of(found, "Z", f"latent[{i}]") for i in (0, 1))
    assert (first["count"], first["left_out"]) == (44, 16)
    assert (second["count"], second["left_out"]) == (49, 11)
    use = slice(5, 49)
    known = stats.spearmanr(latent.data[use, 0], np.asarray(table["Z"])[use])
    assert first["rho"] == pytest.approx(known.statistic)


def test_repeated_rows_change_nothing():
    table = quasars(150)
    once = ac.rank_correlations(table, "Z,M_I,BI_CIV", random_state=3)
    for many in (repeated(table, 4), repeated(table, 4)["latent", "Z", "M_I", "BI_CIV"]):
        np.random.default_rng(1).shuffle(order := np.arange(len(many)))
        found = ac.rank_correlations(many[order], "Z,M_I,BI_CIV", random_state=3)
        for name in ("rho", "p_value", "fdr"):
            np.testing.assert_allclose(found[name], once[name], rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(found["count"], once["count"])
        width = np.asarray(found["rho_upper"] - found["rho_lower"])
        np.testing.assert_allclose(width, once["rho_upper"] - once["rho_lower"], rtol=0.15)


def test_rows_of_an_object_that_differ_count_as_one():
    table = repeated(quasars(100), 3)
    table["M_I"] += np.random.default_rng(1).normal(0, 0.01, 300) * table["M_I"].unit
    found = row_of(ac.rank_correlations(table, "M_I", random_state=1), "M_I", "latent[0]")
    assert found["count"] == 100
    known = stats.spearmanr(table["latent"][:, 0], table["M_I"].value)
    assert found["rho"] == pytest.approx(known.statistic)
    assert found["p_value"] > known.pvalue  # which takes the rows for independent
    assert found["rho_upper"] - found["rho_lower"] > 0.3  # 3.92 / sqrt(97), and not / sqrt(297)


def test_vectors_and_missing_numbers():
    table = quasars(80)
    table["NHI"] = np.column_stack([np.where(np.arange(80) % 2, -1.0, table["Z"]), np.arange(80.0)])
    with pytest.warns(
        AstroClusterWarning, match=r"NHI is -1 in 40 rows.*missing=\{'NHI': -1\} \(--missing NHI=-1\)"
    ):
        ac.rank_correlations(table, "NHI", samples=20)
    found = ac.rank_correlations(table, "NHI", missing={"NHI": -1}, samples=20, random_state=1)
    assert set(found["column"]) == {"NHI[0]", "NHI[1]"}
    assert row_of(found, "NHI[0]", "latent[0]")["count"] == 40
    assert row_of(found, "NHI[0]", "latent[0]")["rho"] > 0.95


def test_a_column_is_not_held_against_itself():
    found = ac.rank_correlations(quasars(50), "Z,M_I", against="Z,M_I", samples=20, random_state=1)
    assert list(zip(found["column"], found["against"], strict=True)) == [("Z", "M_I"), ("M_I", "Z")]


def test_pairs_that_have_no_correlation_are_masked():
    table = quasars(30)
    table["flat"] = np.ones(30)
    table["few"] = MaskedColumn(np.arange(30.0), mask=np.arange(30) >= 3)
    found = ac.rank_correlations(table, "flat,few,Z", samples=20, random_state=1)
    assert found["rho"].mask.tolist() == [True] * 8 + [False] * 4
    np.testing.assert_allclose(found["fdr"][8:], stats.false_discovery_control(found["p_value"][8:]))
    assert row_of(found, "few", "latent[0]")["count"] == 3


def test_the_formula_instead_of_samples():
    table = quasars(103)
    found = row_of(ac.rank_correlations(table, "M_I", interval="fisher"), "M_I", "latent[2]")
    half = (np.arctanh(found["rho_upper"]) - np.arctanh(found["rho_lower"])) / 2
    assert half == pytest.approx(1.959964 * np.sqrt((1 + found["rho"] ** 2 / 2) / 100))


def test_record_seed_and_rerun(tmp_path):
    ac.write(quasars(60), tmp_path / "in.vot")
    how = {"missing": {"M_I": -27}, "samples": 30}
    found = ac.rank_correlations(tmp_path / "in.vot", "Z,M_I", **how, random_state=5)
    record = ac.records(found)[-1]
    assert record["seed"] == 5
    assert set(record["inputs"]) == {"Z", "M_I", "latent", "source_id"}
    assert record["objects"] == 60
    ac.write(found, tmp_path / "out.ecsv")
    again = ac.rerun(tmp_path / "out.ecsv")
    for name in ("rho_lower", "rho_upper", "fdr"):
        np.testing.assert_array_equal(again[name], found[name])
    other = ac.rank_correlations(tmp_path / "in.vot", "Z,M_I", **how, random_state=6)
    assert (other["rho_lower"] != found["rho_lower"]).any()


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ("Zz", {}, "there is no column 'Zz'"),
        ("X*", {}, r"no column matches 'X\*'"),
        ("", {}, "no column was named"),
        ([1], {}, "1 is no name of a column"),
        ("kind", {}, "column 'kind' holds no numbers"),
        ("Z", {"against": "kind"}, "column 'kind' holds no numbers"),
        ("Z", {"against": "Z"}, "with itself alone"),
        ("Z", {"interval": "jackknife"}, "interval='jackknife' is not known; give one of bootstrap, fisher"),
        ("Z", {"samples": 3}, "samples=3 are too few"),
        ("Z", {"missing": {"M_I": -1}}, "missing value is given for 'M_I', which is none of the columns: Z"),
        ("Z", {"missing": {"Z": "none"}}, "missing='none' for 'Z' is no number"),
        ("Z", {"random_state": -1}, "is no seed"),
        ("Z", {"objects": "name"}, "there is no column 'name'"),
    ],
)
def test_bad_input_is_one_clear_sentence(columns, options, message):
    with pytest.raises(InputError, match=message):
        ac.rank_correlations(quasars(30), columns, **options)


def test_without_an_embedding():
    with pytest.raises(InputError, match="no coordinates of an embedding to correlate with: embed it first"):
        ac.rank_correlations(quasars(30)["Z", "M_I"], "Z")
