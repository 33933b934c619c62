"""Honest memberships are found honest, exaggerated ones are found out and mended."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io.votable.ucd import check_ucd
from astropy.table import MaskedColumn, QTable
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

import astro_cluster as ac
from astro_cluster import calibrating
from astro_cluster.calibrating import OTHER_TYPES, TypeShares, calibrate, calibration
from astro_cluster.exceptions import InputError

NAMES = np.array(["QSO", "Star", "YSO"])


def mixture(
    n: int = 3000, seed: int = 1, exaggerate: float = 1.0, prefix: str = "", sep: float = 2.0
) -> QTable:
    """Three Gaussians in three dimensions; the memberships are their posteriors, to a power."""
    rng = np.random.default_rng(seed)
    true = rng.integers(3, size=n)
    means = sep * np.eye(3)
    x = means[true] + rng.normal(size=(n, 3))
    logs = -0.5 * exaggerate * ((x[:, None] - means) ** 2).sum(axis=2)
    p = np.exp(logs - logs.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    table = QTable({f"{prefix}prob_{k}": p[:, k] for k in range(3)})
    table["main_type"] = MaskedColumn(NAMES[true], mask=np.zeros(n, bool))
    return table


# ---------------------------------------------------------------- calibration


def test_true_posteriors_are_honest():
    for pure in (False, True):
        meta = calibration(mixture(), "main_type", random_state=0, pure=pure).meta
        assert meta["ece"] < 0.02
        assert meta["ece"] < 2.5 * meta["ece_if_honest"]
    assert 0.85 < meta["temperature"] < 1.15


def test_exaggerated_memberships_are_found_out_and_both_methods_mend_them():
    table = mixture(exaggerate=4.0)
    seed = {"random_state": 0}
    claimed = calibration(table, "main_type", pure=True, **seed).meta
    shares = calibration(table, "main_type", **seed).meta
    assert claimed["ece"] > 0.08
    assert shares["ece"] > 0.03
    assert shares["ece"] > 3 * shares["ece_if_honest"]
    assert 3.3 < claimed["temperature"] < 4.6
    low, high = claimed["temperature_interval"]
    assert 3.0 < low <= claimed["temperature"] <= high < 5.0
    for method in calibrating.METHODS:
        mended = calibration(table, "main_type", method=method, **seed).meta
        assert mended["ece"] < 0.02
        assert mended["ece"] < shares["ece"] / 2
        assert mended["brier"] < shares["brier"] < claimed["brier"]
        assert mended["log_loss"] < shares["log_loss"] < claimed["log_loss"]


def test_timid_memberships_too():
    table = mixture(exaggerate=0.5)
    before = calibration(table, "main_type", random_state=0).meta
    after = calibration(table, "main_type", method="temperature", random_state=0).meta
    assert before["ece"] > 0.1
    assert before["mean_confidence"] < before["accuracy"]
    assert 0.4 < before["temperature"] < 0.6
    assert after["ece"] < 0.02


def out_of_fold(table: QTable, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities and types, the folds made here."""
    X = np.column_stack([table[f"prob_{k}"] for k in range(3)])
    y = np.unique(np.asarray(table["main_type"]), return_inverse=True)[1]
    P = np.empty((len(y), 3))
    for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(X, y):
        P[test] = TypeShares().fit(X[train], y[train]).predict_proba(X[test])
    return P, y


def test_the_numbers_are_those_of_scikit_learn_and_of_hand():
    table = mixture(800)
    bins = calibration(table, "main_type", random_state=3)
    P, y = out_of_fold(table, 3)
    assert bins.meta["log_loss"] == pytest.approx(log_loss(y, P))
    assert bins.meta["brier"] == pytest.approx(((P - np.eye(3)[y]) ** 2).sum(axis=1).mean())
    right, confidence = P.argmax(axis=1) == y, P.max(axis=1)
    accuracy, mean = calibration_curve(right, confidence, n_bins=10)
    seen = bins[bins["count"] > 0]
    np.testing.assert_allclose(seen["accuracy"], accuracy)
    np.testing.assert_allclose(seen["mean_confidence"], mean)
    ece = 0.0
    for low, high in zip(bins["lower"], bins["upper"], strict=True):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            ece += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert bins.meta["ece"] == pytest.approx(ece)
    frequencies = np.bincount(y) / len(y)
    assert bins.meta["log_loss_blind"] == pytest.approx(-(frequencies * np.log(frequencies)).sum())
    assert bins.meta["accuracy_blind"] == frequencies.max()


def test_the_table_of_bins():
    table = mixture(800)
    bins = calibration(table, "main_type", bins=20, random_state=0)
    np.testing.assert_allclose(bins["lower"], np.arange(20) / 20)
    np.testing.assert_allclose(bins["upper"], np.arange(1, 21) / 20)
    assert bins["count"].sum() == 800
    empty = bins["count"] == 0
    assert empty.any()
    for name in ("mean_confidence", "accuracy", "accuracy_lower", "accuracy_upper"):
        assert (bins[name].mask == empty).all()
    full = bins[~empty]
    assert (full["accuracy_lower"] <= full["accuracy"] + 1e-12).all()
    assert (full["accuracy"] <= full["accuracy_upper"] + 1e-12).all()
    assert ((full["lower"] <= full["mean_confidence"]) & (full["mean_confidence"] <= full["upper"])).all()
    for name in bins.colnames:
        assert bins[name].info.description
        assert check_ucd(bins[name].info.meta["ucd"], check_controlled_vocabulary=True)


def test_bins_of_equal_number():
    bins = calibration(mixture(800), "main_type", bins=8, strategy="quantile", random_state=0)
    assert len(bins) == 8
    assert np.ptp(bins["count"]) <= 2
    assert bins["lower"].tolist()[1:] == bins["upper"].tolist()[:-1]


def test_probabilities_that_are_all_alike():
    table = QTable({"prob_0": np.ones(60), "main_type": np.array(["a", "b", "b"] * 20)})
    for strategy in ("uniform", "quantile"):
        bins = calibration(table, "main_type", strategy=strategy, random_state=0)
        assert bins["count"].sum() == 60
        assert bins.meta["ece"] < 0.05
        assert bins.meta["accuracy"] == pytest.approx(2 / 3)
        assert bins.meta["temperature"] == pytest.approx(1.0)  # of which the data say nothing


def test_rows_without_a_type_or_memberships_are_left_out():
    table = mixture(600)
    table["main_type"].mask[:50] = True
    table["main_type"][50:60] = "  "
    p = np.array(table["prob_1"])
    p[60:70] = np.nan
    table["prob_1"] = p
    meta = calibration(table, "main_type", random_state=0).meta
    assert (meta["rows"], meta["rows_left_out"]) == (530, 70)
    kept = calibration(table[70:], "main_type", random_state=0).meta
    assert kept["ece"] == meta["ece"]


def test_rare_types_are_put_together():
    table = mixture(600)
    table["main_type"] = np.where(
        np.arange(600) < 20, [f"rare{i // 4}" for i in range(600)], table["main_type"]
    )
    meta = calibration(table, "main_type", random_state=0).meta
    assert meta["types"] == ["QSO", "Star", "YSO", OTHER_TYPES]
    assert (meta["rows"], meta["rows_of_rare_types"]) == (600, 0)
    meta = calibration(table, "main_type", least=21, random_state=0).meta  # too few even together
    assert meta["types"] == ["QSO", "Star", "YSO"]
    assert (meta["rows"], meta["rows_left_out"], meta["rows_of_rare_types"]) == (580, 20, 20)


@pytest.mark.parametrize("types", [[0, 1, 2], [True, False, True], [0.5, 1.5, 2.5]])
def test_types_need_not_be_words(types):
    table = mixture(600)
    table["c"] = np.array(types)[np.unique(np.asarray(table["main_type"]), return_inverse=True)[1]]
    assert calibration(table, "c", random_state=0).meta["types"] == sorted({str(t) for t in types})


def test_the_seed_and_the_record():
    table = mixture(400)
    one, two = (calibration(table, "main_type", random_state=s) for s in (1, 2))
    assert one.meta["ece"] != two.meta["ece"]
    assert calibration(table, "main_type", random_state=1).meta["ece"] == one.meta["ece"]
    drawn = calibration(table, "main_type")
    record = ac.records(drawn)[-1]
    assert record["function"] == "calibration"
    assert list(record["inputs"]) == ["main_type", "prob_0", "prob_1", "prob_2"]
    again = calibration(table, "main_type", random_state=record["seed"])
    assert again.meta["ece"] == drawn.meta["ece"]
    assert ac.calibration is calibration
    assert ac.calibrate is calibrate


def test_no_row_judges_itself():
    """Memberships that know the row and nothing else predict no better than chance."""
    rng = np.random.default_rng(0)
    n = 60
    table = QTable({f"prob_{k}": np.eye(n)[k] for k in range(n)})
    table["t"] = rng.permutation(np.repeat(["a", "b"], n // 2))
    meta = calibration(table, "t", random_state=0).meta
    assert meta["accuracy"] < 0.75
    assert meta["log_loss"] == pytest.approx(np.log(2), abs=0.02)


# ---------------------------------------------------------------- what cannot be judged


@pytest.mark.parametrize("function", [calibration, calibrate])
def test_bad_input(function):
    table = mixture(300, prefix="g_")
    with pytest.raises(InputError, match=r"no memberships prob_0.*give prefix='g_'"):
        function(table, "main_type")
    with pytest.raises(InputError, match="cluster the table first"):
        function(table["main_type",], "main_type")
    with pytest.raises(InputError, match="did you mean 'main_type'"):
        function(table, "maintype", prefix="g_")
    table["one"] = "QSO"
    with pytest.raises(InputError, match="column 'one' has one type only, 'QSO'"):
        function(table, "one", prefix="g_")
    few = table[:12]
    with pytest.raises(
        InputError, match=r"12 rows have both.* has 10 rows; at least 2 such types are needed"
    ):
        function(few, "main_type", prefix="g_")
    table["none"] = MaskedColumn(np.full(300, "a"), mask=True)
    with pytest.raises(InputError, match="0 rows have both"):
        function(table, "none", prefix="g_")
    with pytest.raises(InputError, match="least=5 is too small"):
        function(table, "main_type", prefix="g_", least=5)
    with pytest.raises(InputError, match="method='platt' is not known; give 'isotonic' or 'temperature'"):
        function(table, "main_type", prefix="g_", method="platt")
    with pytest.raises(InputError, match="random_state"):
        function(table, "main_type", prefix="g_", random_state="today")
    table["vector"] = np.zeros((300, 2))
    with pytest.raises(InputError, match="several values a row"):
        function(table, "vector", prefix="g_")
    table["g_prob_1"] = 2 * table["g_prob_1"]
    with pytest.raises(InputError, match="no probabilities: in row"):
        function(table, "main_type", prefix="g_")


def test_bad_bins():
    table = mixture(300)
    for bins in (0, 2.5, True):
        with pytest.raises(InputError, match="is no number of bins"):
            calibration(table, "main_type", bins=bins)
    with pytest.raises(InputError, match="strategy='equal'"):
        calibration(table, "main_type", strategy="equal")
    with pytest.raises(InputError, match="pure=True"):
        calibration(table, "main_type", pure=True, method="isotonic")


@pytest.mark.parametrize("function", [calibration, calibrate])
def test_an_older_scikit_learn(monkeypatch, function):
    monkeypatch.setattr(calibrating, "minversion", lambda *_: False)
    with pytest.raises(InputError, match=r"needs scikit-learn 1\.8 or newer.*method='isotonic'"):
        function(mixture(300), "main_type", method="temperature")
    function(mixture(300), "main_type", method="isotonic")


# ---------------------------------------------------------------- calibrate


@pytest.mark.parametrize("method", calibrating.METHODS)
def test_calibrated_columns(method):
    table = mixture(900, exaggerate=4.0, prefix="g_")
    hidden = np.arange(900) % 3 == 0
    truth = np.asarray(table["main_type"].copy())
    table["main_type"].mask[hidden] = True
    p = np.array(table["g_prob_0"])
    p[:10] = np.nan
    table["g_prob_0"] = p
    before = table.copy()
    out = calibrate(table, "main_type", method=method, prefix="g_", each=True, random_state=0)
    assert table.colnames == before.colnames
    new = ["g_type_label", "g_type_prob", "g_type_prob_0", "g_type_prob_1", "g_type_prob_2"]
    assert out.colnames == table.colnames + new
    each = np.column_stack([np.ma.filled(np.ma.asarray(out[name]), np.nan) for name in new[2:]])[10:]
    np.testing.assert_allclose(each.sum(axis=1), 1.0)
    np.testing.assert_allclose(out["g_type_prob"][10:], each.max(axis=1))
    assert out["g_type_label"][10:].tolist() == NAMES[each.argmax(axis=1)].tolist()
    for name in new:
        assert out[name].mask.tolist() == [True] * 10 + [False] * 890
        assert check_ucd(out[name].info.meta["ucd"], check_controlled_vocabulary=True)
    assert out["g_type_prob_1"].info.description == "Calibrated probability of the type Star"
    # The rows without a type are as honest as the others.
    for rows in (hidden, ~hidden):
        part = out[10:][rows[10:]]
        right = np.asarray(part["g_type_label"]) == truth[10:][rows[10:]]
        assert abs(right.mean() - np.mean(part["g_type_prob"])) < 0.05
    record = ac.records(out)[-1]
    assert record["types"] == NAMES.tolist()
    assert record["after"]["ece"] < record["before"]["ece"]


@pytest.mark.parametrize("method", calibrating.METHODS)
def test_a_labelled_row_does_not_know_its_own_type(method):
    """Memberships that know the row and nothing else predict no better than chance."""
    rng = np.random.default_rng(0)
    n = 80
    table = QTable({f"prob_{k}": np.eye(n)[k] for k in range(n)})
    table["t"] = rng.permutation(np.repeat(["a", "b"], n // 2))
    out = calibrate(table, "t", method=method, random_state=0)
    assert 0.25 < np.mean(np.asarray(out["type_label"]) == np.asarray(table["t"])) < 0.75
    assert np.max(out["type_prob"]) < 0.75


def test_calibration_judges_what_calibrate_gives():
    table = mixture(900, exaggerate=4.0)
    out = calibrate(table, "main_type", random_state=5)
    bins = calibration(table, "main_type", method="isotonic", random_state=5)
    right = np.asarray(out["type_label"]) == np.asarray(table["main_type"])
    assert bins.meta["accuracy"] == pytest.approx(right.mean())
    assert bins.meta["mean_confidence"] == pytest.approx(np.mean(out["type_prob"]))
    assert ac.records(out)[-1]["after"]["ece"] == pytest.approx(bins.meta["ece"])


def test_taken_names_and_overwriting():
    table = mixture(300)
    out = calibrate(table, "main_type", each=True, random_state=0)
    with pytest.raises(InputError, match="already has the columns type_label, type_prob"):
        calibrate(out, "main_type")
    again = calibrate(out, "main_type", random_state=0, overwrite=True)
    assert [name for name in again.colnames if name.startswith("type_")] == ["type_label", "type_prob"]


@pytest.mark.parametrize("ending", ["vot", "fits", "ecsv", "parquet"])
def test_files_and_rerun(tmp_path, ending):
    source = ac.write(mixture(300), tmp_path / "source.ecsv")
    out = calibrate(ac.read(source), "main_type", random_state=0)
    back = ac.read(ac.write(out, tmp_path / f"t.{ending}"))
    again = ac.rerun(back)
    assert again["type_label"].tolist() == out["type_label"].tolist()
    np.testing.assert_allclose(again["type_prob"], out["type_prob"])
    bins = calibration(back, "main_type", random_state=0)
    kept = ac.read(ac.write(bins, tmp_path / f"bins.{ending}"))
    assert kept.meta["ece"] == bins.meta["ece"]
    assert kept.meta["types"] == bins.meta["types"]


# ---------------------------------------------------------------- the shares


def test_shares_of_greatest_likelihood():
    """Counting types by membership blurs twice; the likeliest shares do not."""
    table = mixture(5000)
    X = np.column_stack([table[f"prob_{k}"] for k in range(3)])
    y = np.asarray(table["main_type"])
    model = TypeShares().fit(X, y)
    assert model.classes_.tolist() == NAMES.tolist()
    np.testing.assert_allclose(model.shares_.sum(axis=1), 1.0)
    assert np.diag(model.shares_).min() > 0.95
    counted = X.T @ (y[:, None] == NAMES) / X.sum(axis=0)[:, None]
    assert np.diag(counted).max() < 0.9


def test_a_component_without_types_has_those_of_the_sample():
    X = np.column_stack([np.ones(40), np.zeros(40)])
    model = TypeShares().fit(X, ["a"] * 30 + ["b"] * 10)
    np.testing.assert_allclose(model.shares_, [[0.75, 0.25]] * 2)
    assert TypeShares(pure=True).fit(X, ["a"] * 30 + ["b"] * 10).predict(X[:1]).tolist() == ["a"]


# ---------------------------------------------------------------- real data


@pytest.mark.realdata
def test_the_reports_memberships_are_not_honest_about_types(real_data, record_testsuite_property):
    """All above 0.98, said the report; the types that they stand for are right two times in three."""
    sample = ac.read(real_data / "chandra" / "csc2_gmm6_simbad_1615.csv")
    top = np.max([sample[f"prob_{k}"] for k in range(6)], axis=0)
    assert np.median(top) > 0.999
    seed = {"random_state": 1}
    claimed = calibration(sample, "main_type", pure=True, **seed).meta
    assert claimed["rows"] == 1517
    assert claimed["mean_confidence"] > 0.99
    assert 0.64 < claimed["accuracy"] < 0.68
    assert claimed["ece"] > 0.3
    assert claimed["temperature_interval"][0] > 2
    after = {
        "shares": calibration(sample, "main_type", **seed).meta,
        "isotonic": calibration(sample, "main_type", method="isotonic", **seed).meta,
    }
    for name, meta in after.items():
        record_testsuite_property(f"ece_chandra_{name}", round(meta["ece"], 4))
        assert meta["ece"] < 0.04
        assert meta["brier"] < claimed["brier"] - 0.1
