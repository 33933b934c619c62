"""predictability: what is known is found, what is not is not, and no row judges its own copy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io.votable.ucd import check_ucd
from astropy.table import MaskedColumn, QTable

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError

from .tables import quasars, repeated


def row_of(found: QTable, column: str) -> QTable:
    (index,) = np.flatnonzero(np.asarray(found["column"]) == column)
    return found[index]


def test_what_the_coordinates_know_and_what_not():
    found = ac.predictability(quasars(600), "Z,M_I,is_bal,kind,MJD", random_state=1)
    assert found["kind"].tolist() == ["number", "number", "class", "class", "number"]
    z = row_of(found, "Z")
    assert z["r2"] > 0.9
    assert z["mean_absolute_error"] < 0.3 * z["baseline_error"]
    # Only 0.1 in the first coordinate is noise: 0.05 in z, and smoothing adds some.
    assert 0.01 < z["nmad"] < 0.05
    for name in ("M_I", "MJD"):
        assert abs(row_of(found, name)["r2"]) < 3 * row_of(found, name)["r2_error"] + 0.02
        assert row_of(found, name)["nmad"] is np.ma.masked
    assert row_of(found, "M_I")["unit"] == "mag"
    for name in ("is_bal", "kind"):
        assert row_of(found, name)["balanced_accuracy"] > 0.85
        assert row_of(found, name)["roc_auc"] > 0.93
        assert row_of(found, name)["baseline_accuracy"] == 0.5
        assert row_of(found, name)["r2"] is np.ma.masked
    assert row_of(found, "kind")["roc_auc"] == row_of(found, "is_bal")["roc_auc"]
    assert (found["count"] == 600).all()
    assert (found["left_out"] == 0).all()
    for name in found.colnames:
        assert check_ucd(found[name].info.meta["ucd"], check_controlled_vocabulary=True)


def test_copies_are_no_test():
    """Each row five times: with copies among the learnt, chance would look like knowledge."""
    table = quasars(200)
    many = repeated(table["latent", "M_I"], 5)
    many["M_I"] += np.random.default_rng(1).normal(0, 1e-6, 1000) * many["M_I"].unit  # no exact repeats
    honest = ac.predictability(many, "M_I", n_neighbors=4, random_state=1)[0]
    assert honest["count"] == 1000
    assert honest["r2"] < 0.1
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neighbors import KNeighborsRegressor

    folds = KFold(5, shuffle=True, random_state=1)
    leaking = cross_val_score(KNeighborsRegressor(4), many["latent"], many["M_I"].value, cv=folds)
    assert leaking.mean() > 0.8


def test_several_spectra_of_one_object_are_in_one_fold():
    table = repeated(quasars(200), 3)
    rng = np.random.default_rng(2)
    table["latent"] += rng.normal(0, 0.01, (600, 4))  # spectra of the same object, not the same spectrum
    table["M_I"] += rng.normal(0, 1e-6, 600) * table["M_I"].unit
    by_id = ac.predictability(table, "M_I", n_neighbors=2, random_state=1)[0]
    table.rename_column("source_id", "name")
    named = ac.predictability(table, "M_I", n_neighbors=2, objects="name", random_state=1)[0]
    without = ac.predictability(table, "M_I", n_neighbors=2, random_state=1)[0]
    assert by_id["r2"] == named["r2"] < 0.1
    assert without["r2"] > 0.5  # nothing says that they are of one object


def test_exact_repeats_change_nothing():
    table = quasars(150)
    once = ac.predictability(table, "Z,is_bal,BI_CIV", random_state=3)
    found = ac.predictability(repeated(table, 4), "Z,is_bal,BI_CIV", random_state=3)
    assert found["count"].tolist() == once["count"].tolist() == [150, 150, 129]
    assert found["left_out"].tolist() == [0, 0, 84]
    for name in ("r2", "r2_error", "roc_auc", "n_neighbors"):
        assert found[name].tolist() == once[name].tolist()


def test_rows_without_value_or_features_are_left_out():
    table = quasars(100)
    latent = np.ma.array(np.asarray(table["latent"]), mask=False)
    latent[:10, 2] = np.ma.masked
    table["latent"] = MaskedColumn(latent)
    table["latent"][3, 0] = np.inf
    table["Z"][85:] = np.nan
    found = ac.predictability(table, "Z,M_I", random_state=1)
    assert found["count"].tolist() == [75, 90]
    assert found["left_out"].tolist() == [25, 10]
    bare = ac.predictability(table[10:85], "Z", random_state=1)
    assert bare["r2"][0] == found["r2"][0]


def test_a_class_whose_rows_have_no_features_counts_as_missing():
    table = quasars(300)
    table["kind"] = np.where(np.asarray(table["latent"])[:, 0] > 0, "a", "b")
    table["kind"][:14] = "c"
    rest = ac.predictability(table[14:], "kind", random_state=1)
    for known in (3, 0):  # rows of the class with features
        latent = np.array(table["latent"])
        latent[known:14] = np.nan
        table["latent"] = latent
        found = ac.predictability(table, "kind", random_state=1)
        assert (found["count"][0], found["left_out"][0]) == (286, 14)
        assert found["baseline_accuracy"][0] == 0.5
        assert found["balanced_accuracy"][0] == rest["balanced_accuracy"][0] > 0.9
        assert ac.records(found)[-1]["classes"]["kind"] == ["a", "b"]


def test_the_unit_and_the_scale_of_features_do_not_matter():
    table = quasars(200)
    other = table.copy()
    other["latent"] = np.asarray(table["latent"]) * [1, 1e3, 1e-3, 7] + 100
    one, two = (ac.predictability(t, "Z", random_state=1)[0] for t in (table, other))
    assert two["r2"] == pytest.approx(one["r2"], abs=1e-9)
    dead = table.copy()
    dead["latent"] = np.column_stack([np.zeros(200), table["latent"]])
    assert ac.predictability(dead, "Z", random_state=1)["r2"][0] == one["r2"]


def test_plain_columns_as_features():
    table = quasars(200)
    table["x"], table["y"] = table["latent"][:, 0] * 1e5, np.round(table["latent"][:, 1])
    assert ac.predictability(table, "Z", features="x,y", random_state=1)["r2"][0] > 0.9
    assert ac.predictability(table, "is_bal", features="y", random_state=1)["roc_auc"][0] > 0.85
    with pytest.raises(InputError, match="x is to be predicted from itself"):
        ac.predictability(table, "Z,x", features="x,y")


def test_kinds_of_columns():
    table = quasars(300)
    table["level"] = np.asarray(table["is_bal"]) * 3 + 1  # whole numbers of two kinds
    table["flag"] = np.where(np.arange(300) < 4, 2, 0) + np.asarray(table["is_bal"])
    table["text"] = np.where(table["is_bal"], "True", "false")
    found = ac.predictability(table, "level,flag,text", random_state=1)
    assert set(found["kind"]) == {"class"}
    assert row_of(found, "flag")["left_out"] == 4  # classes of four rows are none
    assert ac.records(found)[-1]["classes"] == {
        "level": ["1", "4"],
        "flag": ["0", "1"],
        "text": ["False", "True"],
    }
    assert row_of(found, "text")["roc_auc"] == row_of(found, "level")["roc_auc"]
    as_number = ac.predictability(table, "level", kinds={"level": "number"}, random_state=1)[0]
    assert as_number["kind"] == "number"
    assert as_number["r2"] > 0.4


def test_which_columns_are_redshifts():
    table = quasars(60)
    for name in ("redshift", "Z_PCA", "Z_2", "ZWARNING", "z_mag", "zoom"):
        table[name] = np.asarray(table["Z"])
    table["v"] = np.asarray(table["Z"])
    table["v"].info.meta = {"ucd": "src.redshift.phot"}
    names = ["Z", "redshift", "Z_PCA", "Z_2", "v", "ZWARNING", "z_mag", "zoom", "M_I"]
    found = ac.predictability(table, names, repeats=1, n_neighbors=5)
    assert (~found["nmad"].mask).tolist() == [True] * 5 + [False] * 4


def test_columns_that_cannot_be_judged_are_masked_and_named():
    table = quasars(100)
    table["flat"], table["one"] = np.ones(100), np.full(100, "QSO")
    table["few"] = MaskedColumn(np.arange(100.0), mask=np.arange(100) >= 12)
    with pytest.warns(AstroClusterWarning) as said:
        found = ac.predictability(table, "flat,one,few,Z", random_state=1)
    assert len(said) == 1
    assert (
        "flat (the same number everywhere), one (one class of 10 rows or more), few (12 objects have"
        in str(said[0].message)
    )
    assert found["r2"].mask.tolist() == [True, True, True, False]
    assert found["count"].tolist() == [100, 100, 12, 100]


def test_numbers_that_mean_nothing():
    table = quasars(200)
    table["SNR"] = np.where(np.arange(200) % 2, np.asarray(table["Z"]), -1.0).astype("f4")
    with pytest.warns(AstroClusterWarning, match="SNR is -1 in 100 rows"):
        blind = ac.predictability(table, "SNR", random_state=1)[0]
    found = ac.predictability(table, "SNR", missing={"SNR": -1}, random_state=1)[0]
    assert (blind["count"], found["count"], found["left_out"]) == (200, 100, 100)
    assert blind["r2"] < 0.2 < 0.8 < found["r2"]


def test_too_many_rows_are_drawn_from():
    table = quasars(400)
    found = ac.predictability(table, "Z", most_rows=100, random_state=1)[0]
    assert (found["count"], found["left_out"]) == (100, 0)
    assert found["r2"] > 0.7


def test_the_error_is_about_the_scatter_over_samples():
    scores, errors = [], []
    for seed in range(40):
        found = ac.predictability(quasars(200, seed + 100), "Z", n_neighbors=5, random_state=seed)[0]
        scores.append(found["r2"])
        errors.append(found["r2_error"])
    assert 0.6 < np.mean(errors) / np.std(scores, ddof=1) < 1.8


def test_seed_record_and_rerun(tmp_path):
    ac.write(quasars(80), tmp_path / "in.vot")
    found = ac.predictability(tmp_path / "in.vot", ["Z", "is_bal"], kinds={"Z": "number"}, random_state=7)
    record = ac.records(found)[-1]
    assert (record["seed"], record["objects"]) == (7, 80)
    assert set(record["inputs"]) == {"Z", "is_bal", "latent", "source_id"}
    ac.write(found, tmp_path / "out.ecsv")
    back = ac.read(tmp_path / "out.ecsv")
    assert back["r2"].mask.tolist() == [False, True]
    again = ac.rerun(tmp_path / "out.ecsv")
    assert again["r2"].tolist() == found["r2"].tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = ac.predictability(tmp_path / "in.vot", ["Z", "is_bal"], random_state=8)
    assert other["r2"][0] != found["r2"][0]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ("Zz", {}, "there is no column 'Zz'"),
        ("source_id", {}, "column 'source_id' has 400 classes.*looks like names"),
        ("Z", {"features": "latnt"}, "did you mean 'latent'"),
        ("latent", {}, r"latent\[0\] is to be predicted from itself"),
        ("pos", {}, "column 'pos' holds neither numbers nor classes"),
        ("Z", {"folds": 1}, "folds=1 cannot be; give a whole number from 2, such as 5"),
        ("Z", {"repeats": 0}, "repeats=0 cannot be"),
        ("Z", {"n_neighbors": 0}, "n_neighbors=0 cannot be"),
        ("Z", {"most_rows": 5}, "most_rows=5 cannot be"),
        (
            "Z",
            {"kinds": {"Z": "redshift"}},
            "'redshift' is no kind of column for 'Z'; give one of number, class",
        ),
        ("Z", {"kinds": {"M_I": "class"}}, "a kind is given for 'M_I', which is none of the columns: Z"),
        ("kind", {"kinds": {"kind": "number"}}, "column 'kind' holds no numbers"),
        ("Z", {"missing": {"Z": True}}, "missing=True for 'Z' is no number"),
        ("Z", {"random_state": 1.5}, "is no seed"),
    ],
)
def test_bad_input_is_one_clear_sentence(columns, options, message):
    table = repeated(quasars(), 10)  # so that names are many classes of ten
    table["pos"] = SkyCoord(np.zeros(4000), np.zeros(4000), unit="deg")
    with pytest.raises(InputError, match=message):
        ac.predictability(table, columns, **options)


def test_without_an_embedding():
    with pytest.raises(InputError, match="no coordinates of an embedding: embed it first"):
        ac.predictability(quasars(30)["Z", "M_I"], "Z")
