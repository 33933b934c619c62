"""Columns become numbers as the scales say; what cannot be used says why."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import Masked
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.features import SCALES, Features, FittedFeatures, as_features
from astro_cluster.recipes import CSC2, CSC2_12, RECIPES, recipe


def holes(seed: int = 0, n: int = 60, d: int = 3) -> np.ndarray:
    """Positive numbers of several sizes, a fifth of them missing."""
    rng = np.random.default_rng(seed)
    x = rng.lognormal(size=(n, d)) * [1.0, 100.0, 1e-3][:d]
    x[rng.uniform(size=x.shape) < 0.2] = np.nan
    return x


def table_of(x: np.ndarray) -> QTable:
    return QTable({f"x{j}": x[:, j] for j in range(x.shape[1])})


def scaled(x: np.ndarray, scale: str, **more: object) -> np.ndarray:
    table = table_of(x)
    return Features("x*", scale=scale, **more).fit(table).transform(table).values


# ---------------------------------------------------------------- the scales


@pytest.mark.parametrize(
    ("scale", "scaler"),
    [("standard", StandardScaler()), ("minmax", MinMaxScaler()), ("robust", RobustScaler())],
)
@pytest.mark.parametrize("seed", range(3))
def test_against_scikit_learn(scale, scaler, seed):
    x = holes(seed)
    np.testing.assert_allclose(scaled(x, scale), scaler.fit_transform(x), rtol=1e-10, atol=1e-12)


def test_none_and_log_are_what_they_say():
    x = holes()
    np.testing.assert_array_equal(scaled(x, "none"), x)
    np.testing.assert_allclose(scaled(x, "log"), np.log(x), rtol=1e-14)


def test_lognorm_by_its_formula():
    x = holes()
    x[::7] = 0.0
    for j, column in enumerate(x.T):
        y = np.log(column + min(v for v in column if v > 0) / 10)
        expected = (y - np.nanmin(y)) / (np.nanmax(y) - np.nanmin(y))
        np.testing.assert_allclose(scaled(x, "lognorm")[:, j], expected, rtol=1e-10, atol=1e-12)


def test_lognorm_by_hand():
    table = QTable({"x": [0.0, 10.0, 99.0]})
    got = Features(["x"], scale="lognorm").fit(table).transform(table).values[:, 0]
    np.testing.assert_allclose(got, [0.0, np.log(11) / np.log(100), 1.0], atol=1e-12)


@pytest.mark.parametrize("scale", SCALES)
def test_missing_stays_missing_in_every_scale(scale):
    x = holes()
    np.testing.assert_array_equal(np.isnan(scaled(x, scale)), np.isnan(x))


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays("f8", st.integers(3, 12), elements=st.floats(0.01, 1e4) | st.just(float("nan"))),
    st.sampled_from(SCALES),
    st.randoms(use_true_random=False),
)
def test_order_of_rows_and_monotony(x, scale, random):
    if len(np.unique(x[~np.isnan(x)])) < 3:
        return
    try:
        fitted = Features(["x"], scale=scale).fit(QTable({"x": x}))
    except InputError as error:
        assert scale == "robust"
        assert "spread is zero" in str(error)  # noqa: PT017
        return
    values = fitted.transform(QTable({"x": x})).values[:, 0]
    order = list(range(len(x)))
    random.shuffle(order)
    shuffled = Features(["x"], scale=scale).fit(QTable({"x": x[order]}))
    got = shuffled.transform(QTable({"x": x[order]})).values[:, 0]
    np.testing.assert_allclose(got, values[order], rtol=1e-9, atol=1e-9)
    seen = ~np.isnan(x)
    assert (np.diff(values[seen][np.argsort(x[seen])]) >= 0).all()
    if scale in ("lognorm", "minmax"):
        assert values[seen].min() == pytest.approx(0, abs=1e-12)
        assert values[seen].max() == pytest.approx(1)


def test_new_rows_may_lie_outside_the_fitted_range():
    fitted = Features(["x"], scale={"x": "minmax"}).fit(QTable({"x": [0.0, 2.0]}))
    assert fitted.transform(QTable({"x": [-2.0, 5.0, np.nan]})).values[:2, 0].tolist() == [-1.0, 2.5]
    fitted = Features(["x"], scale="lognorm").fit(QTable({"x": [1.0, 100.0]}))
    outside = fitted.transform(QTable({"x": [0.0, 1e6]})).values[:, 0]
    assert outside[0] < 0
    assert outside[1] > 1
    with pytest.warns(AstroClusterWarning, match=r"1 rows, the first of them row 1, have values of x"):
        matrix = fitted.transform(QTable({"x": [1.0, -1.0]}))
    assert matrix.usable.tolist() == [True, False]


def test_a_scale_for_each():
    x = holes()
    features = Features(["x0", "x1", "x2"], scale={"x1": "log", "x*": "minmax", "x2": "standard"})
    assert [features.scale_of(n) for n in ("x0", "x1", "x2", "y")] == ["minmax", "log", "standard", "none"]
    table = table_of(x)
    got = features.fit(table).transform(table).values
    for j, scale in enumerate(["minmax", "log", "standard"]):
        np.testing.assert_allclose(got[:, j], scaled(x, scale)[:, j])


# ---------------------------------------------------------------- the columns


def test_names_globs_order_and_duplicates():
    table = QTable({n: np.arange(3.0) + i for i, n in enumerate(["b1", "a1", "a2", "c", "b2"])})
    fitted = Features(["c", "a?", "b*", "a1", "b[12]", "c"]).fit(table)
    assert fitted.names == ("c", "a1", "a2", "b1", "b2")
    assert Features("c, a*,b1").fit(table).names == ("c", "a1", "a2", "b1")
    assert as_features(["c"]).columns == ("c",)
    ready = Features("c")
    assert as_features(ready) is ready


def test_a_column_whose_name_looks_like_a_pattern():
    table = QTable({"x[1]": [1.0, 2.0], "x1": [5.0, 6.0]})
    assert Features(["x[1]"]).fit(table).names == ("x[1]",)


def test_nothing_named_or_nothing_found():
    with pytest.raises(InputError, match="no feature was named"):
        Features("  , ")
    with pytest.raises(InputError, match="no feature was named"):
        Features([])
    table = QTable({"powlaw_gamma": [1.0, 2.0]})
    with pytest.raises(InputError, match=r"no column matches 'var_\*'. The columns are: powlaw_gamma"):
        Features("var_*").fit(table)
    with pytest.raises(InputError, match="there is no column 'powlaw_gama'; did you mean 'powlaw_gamma'"):
        Features("powlaw_gama").fit(table)


def test_vector_columns():
    rng = np.random.default_rng(0)
    v = rng.normal(size=(20, 3))
    table = QTable({"x": np.arange(20.0), "v": v * u.km / u.s})
    fitted = Features(["v", "x"], scale={"v": "standard"}).fit(table)
    assert fitted.names == ("v[0]", "v[1]", "v[2]", "x")
    assert fitted.columns == ["v", "x"]
    matrix = fitted.transform(table)
    assert matrix.units == ("km / s",) * 3 + ("",)
    np.testing.assert_allclose(matrix.values[:, :3], StandardScaler().fit_transform(v), atol=1e-12)
    with pytest.raises(InputError, match=r"column 'i' has shape \(2, 2\) a row; embed it first"):
        Features(["i"]).fit(QTable({"i": np.zeros((3, 2, 2))}))
    with pytest.raises(InputError):
        Features(["v"]).fit(QTable({"v": np.zeros((3, 0))}))


def test_a_vector_column_that_got_shorter():
    fitted = Features(["v"]).fit(QTable({"v": np.arange(6.0).reshape(2, 3)}))
    for column in (np.arange(4.0).reshape(2, 2), np.arange(2.0)):
        with pytest.raises(InputError, match="'v'"):
            fitted.transform(QTable({"v": column}))


def test_a_plain_column_that_became_a_vector():
    fitted = Features(["v"]).fit(QTable({"v": np.arange(2.0)}))
    with pytest.raises(InputError, match="'v'"):
        fitted.transform(QTable({"v": np.arange(4.0).reshape(2, 2)}))


def test_integers_and_truth_values_are_numbers():
    table = QTable({"i": np.array([1, 2, 5], "i2"), "b": [True, False, True]})
    assert Features(["i", "b"]).fit(table).transform(table).values.tolist() == [[1, 1], [2, 0], [5, 1]]


@pytest.mark.parametrize(
    "column",
    [["a", "b"], SkyCoord([1.0, 2.0], [1.0, 2.0], unit="deg"), np.array([1j, 2j]), np.array([{}, None])],
)
def test_what_is_no_number(column):
    with pytest.raises(InputError, match="column 'c' is not numeric"):
        Features(["c"]).fit(QTable({"c": column}))


# ---------------------------------------------------------------- units


def test_units_are_taken_off_here_and_converted_to_the_fitted_ones():
    table = QTable(
        {"a": [1.0, 2.0] * u.deg, "f": Masked([1.0, 3.0] * u.Jy, mask=[False, True]), "n": [1.0, 2.0]}
    )
    fitted = Features(["a", "n"]).fit(table)
    assert fitted.transform(table).units == ("deg", "")
    other = QTable({"a": [60.0, 90.0] * u.arcmin, "n": [1.0, 2.0]})
    np.testing.assert_allclose(fitted.transform(other).values[:, 0], [1.0, 1.5])
    asked = Features(["a"], units={"a": u.rad}).fit(table)
    np.testing.assert_allclose(asked.transform(other).values[:, 0], np.radians([1.0, 1.5]))
    assert asked.transform(table).units == ("rad",)


def test_a_wrong_unit_names_both():
    fitted = Features(["a"]).fit(QTable({"a": [1.0, 2.0] * u.deg}))
    with pytest.raises(InputError, match="column 'a' is in mJy, which cannot be converted to deg"):
        fitted.transform(QTable({"a": [1.0, 2.0] * u.mJy}))
    with pytest.raises(InputError, match="column 'a' is in deg, which cannot be converted to Jy"):
        Features(["a"], units={"a": "Jy"}).fit(QTable({"a": [1.0, 2.0] * u.deg}))
    with pytest.raises(InputError, match="column 'a' has no unit, but the features ask for Jy"):
        Features(["a"], units={"a": "Jy"}).fit(QTable({"a": [1.0, 2.0]}))


def test_units_that_no_one_knows():
    with pytest.raises(InputError, match="wibble"):
        Features(["a"], units={"a": "wibble"}).fit(QTable({"a": [1.0, 2.0] * u.deg}))
    fitted = Features(["a"]).fit(QTable({"a": [1.0, 2.0] * u.deg}))
    strange = QTable(Table({"a": Column([1.0, 2.0], unit=u.Unit("wibble", parse_strict="silent"))}))
    with pytest.raises(InputError, match="wibble"):
        fitted.transform(strange)


def test_magnitudes():
    table = QTable({"m": [20.0, 21.0] * u.ABmag})
    fitted = Features(["m"]).fit(table)
    assert fitted.transform(table).values[:, 0].tolist() == [20.0, 21.0]
    with pytest.raises(InputError, match=r"mag\(ST\)"):
        fitted.transform(QTable({"m": [20.0, 21.0] * u.STmag}))


def test_the_table_is_untouched():
    table = QTable({"a": [1.0, 2.0] * u.deg})
    Features(["a"], scale="log").fit(table).transform(table)
    assert table["a"].unit == u.deg
    assert table["a"].value.tolist() == [1.0, 2.0]


# ---------------------------------------------------------------- what is missing


def test_masked_and_nan_are_missing_alike():
    table = QTable(
        {
            "a": MaskedColumn([1, 2, 3, 4], mask=[False, True, False, False]),
            "b": Masked([1.0, 2.0, 3.0, np.nan] * u.m, mask=[True, False, False, False]),
        }
    )
    matrix = Features(["a", "b"]).fit(table).transform(table)
    assert matrix.mask.tolist() == [[False, True], [True, False], [False, False], [False, True]]
    assert np.isnan(matrix.values).tolist() == matrix.mask.tolist()
    assert matrix.usable.all()
    assert matrix.errors is None


def test_drop_scales_by_the_rows_that_are_left():
    x = holes()
    table = table_of(x)
    complete = ~np.isnan(x).any(axis=1)
    matrix = Features("x*", scale="standard", missing="drop").fit(table).transform(table)
    np.testing.assert_array_equal(matrix.usable, complete)
    np.testing.assert_allclose(
        matrix.values[complete], StandardScaler().fit_transform(x[complete]), atol=1e-12
    )


def test_drop_never_looks_at_the_rows_it_drops():
    table = QTable({"a": [1.0, 2.0, 3.0, -5.0], "b": [1.0, 2.0, 3.0, np.nan]})
    for scale in ("log", "lognorm"):
        matrix = Features(["a", "b"], scale={"a": scale}, missing="drop").fit(table).transform(table)
        assert matrix.usable.tolist() == [True, True, True, False]


def test_drop_with_nothing_left():
    table = QTable({"a": [1.0, np.nan, np.nan], "b": [np.nan, 2.0, 3.0]})
    with pytest.raises(InputError, match=r"no row of 3 has all features.* missing in a \(2\), b \(1\)"):
        Features(["a", "b"], missing="drop").fit(table)


@pytest.mark.parametrize("scale", SCALES)
def test_median_fill(scale):
    x = holes()
    table = table_of(x)
    matrix = Features("x*", scale=scale, missing="median").fit(table).transform(table)
    plain = scaled(x, scale)
    for j in range(3):
        missing = np.isnan(x[:, j])
        assert missing.any()
        np.testing.assert_allclose(matrix.values[missing, j], np.nanmedian(plain[:, j]), atol=1e-12)
        np.testing.assert_allclose(matrix.values[~missing, j], plain[~missing, j])
    assert matrix.usable.all()
    np.testing.assert_array_equal(matrix.mask, np.isnan(x))


def test_the_policy_of_the_features_goes_before_the_methods():
    table = QTable({"a": [1.0, 2.0]})
    assert Features("a").fit(table).missing == "marginalize"
    assert Features("a").fit(table, missing="drop").missing == "drop"
    assert Features("a", missing="median").fit(table, missing="drop").missing == "median"


# ---------------------------------------------------------------- what cannot be used


@pytest.mark.parametrize(
    ("values", "scale", "message"),
    [
        ([3.0, 3.0, np.nan], "none", r"feature 'a' is constant \(3 in all 2 rows that have it\)"),
        ([1.0, np.inf, -np.inf], "none", "column 'a' has 2 infinite values, the first in row 1"),
        ([np.nan, np.nan], "none", "feature 'a' has no value in any row; leave it out"),
        ([1.0, -2.0, -3.0], "lognorm", r"feature 'a' has 2 negative values, the first in row 1 \(-2\)"),
        ([1.0, 0.0, -3.0], "log", r"'log': 2 values are not above 0, the first in row 1 \(0\)"),
        (
            [1.0, 1.0, 1.0, 1.0, 1.0, 9.0],
            "robust",
            "its spread is zero .most values are equal.; choose 'minmax'",
        ),
    ],
)
def test_values_that_cannot_be_used(values, scale, message):
    with pytest.raises(InputError, match=message):
        Features(["a"], scale=scale).fit(QTable({"a": values}))


def test_a_masked_column_and_a_table_without_rows():
    masked = QTable({"a": MaskedColumn([1.0, 2.0], mask=True)})
    with pytest.raises(InputError, match="no value in any row"):
        Features(["a"]).fit(masked)
    with pytest.raises(InputError, match="the table has no rows"):
        Features(["a"]).fit(QTable({"a": np.array([])}))
    fitted = Features(["a"]).fit(QTable({"a": [1.0, 2.0]}))
    assert fitted.transform(QTable({"a": np.array([])})).values.shape == (0, 1)


def test_words_that_are_not_known():
    with pytest.raises(InputError, match="scale 'wibble' is not known; give one of none, log, lognorm"):
        Features("a", scale="wibble")
    with pytest.raises(InputError, match="scale 'wibble' is not known"):
        Features("a", scale={"a": "wibble"})
    with pytest.raises(InputError, match="missing='wibble' is not known"):
        Features("a", missing="wibble")
    with pytest.raises(InputError, match="missing='wibble' is not known"):
        Features("a").fit(QTable({"a": [1.0, 2.0]}), missing="wibble")


def test_infinite_values_at_transform():
    fitted = Features(["a"]).fit(QTable({"a": [1.0, 2.0]}))
    with pytest.raises(InputError, match="1 infinite values, the first in row 0"):
        fitted.transform(QTable({"a": [np.inf, 2.0]}))
    with pytest.raises(InputError, match="there is no column 'a'"):
        fitted.transform(QTable({"b": [1.0]}))


# ---------------------------------------------------------------- on record


@pytest.mark.parametrize("missing", ["marginalize", "drop", "median"])
def test_a_fitted_recipe_goes_through_json(missing):
    x = holes()
    x[::9] = 0.0
    table = table_of(x)
    table["v"] = np.random.default_rng(1).normal(size=(len(x), 2)) * u.km / u.s
    scale = {"x0": "lognorm", "x1": "robust", "x2": "minmax", "v": "standard"}
    fitted = Features(["x*", "v"], scale=scale, missing=missing).fit(table)
    back = FittedFeatures.from_plain(json.loads(json.dumps(fitted.to_plain(), allow_nan=False)))
    assert back == fitted
    a, b = fitted.transform(table), back.transform(table)
    np.testing.assert_array_equal(a.values, b.values)
    assert (a.names, a.units) == (b.names, b.units)


@pytest.mark.parametrize(
    "change",
    [
        {"missing": "guess"},
        {"scalings": [{"name": "x"}]},
        {"scalings": [{"name": "x", "wibble": 1}]},
        {"scalings": 3},
        {"scalings": [3]},
        {"scalings": None},
        {"scalings": [{"name": "x", "column": "x", "index": None, "unit": "", "scale": "wibble"}]},
    ],
    ids=str,
)
def test_a_damaged_recipe(change):
    plain = Features(["x"]).fit(QTable({"x": [1.0, 2.0]})).to_plain() | change
    with pytest.raises(InputError):
        FittedFeatures.from_plain(plain)


def test_a_recipe_that_lacks_a_part():
    for plain in ({}, {"missing": "drop"}, [], "text", None):
        with pytest.raises(InputError, match="damaged"):
            FittedFeatures.from_plain(plain)


def test_features_go_through_the_record():
    from astro_cluster.provenance import decode, encode

    features = Features(["a*", "b"], scale={"a*": "log"}, missing="drop", units={"b": u.km / u.s})
    back = decode(json.loads(json.dumps(encode(features))))
    assert back.columns == features.columns
    assert back.scale == features.scale
    assert back.missing == "drop"
    assert back.units == {"b": "km / s"}


# ---------------------------------------------------------------- ready recipes

LOGNORM = {"theta", "src_area_b", "bb_kt"} | {
    f"var_{what}_{band}" for what in ("sigma", "mean", "min", "max") for band in "bhms"
}


def test_csc2():
    assert len(CSC2.columns) == len(set(CSC2.columns)) == 35
    scales = {name: CSC2.scale_of(name) for name in CSC2.columns}
    assert {n for n, s in scales.items() if s == "lognorm"} == LOGNORM
    assert len(LOGNORM) == 19
    assert {n for n, s in scales.items() if s == "minmax"} == {"powlaw_gamma"}
    assert {scales[n] for n in set(scales) - LOGNORM - {"powlaw_gamma"}} == {"none"}


def test_csc2_12():
    assert set(CSC2_12.columns) == {
        "hard_hm", "hard_hs", "hard_ms", "powlaw_gamma", "bb_kt", "var_prob_b", "var_prob_h", "var_prob_s",
        "var_ratio_b", "var_ratio_h", "var_ratio_s", "var_newq_b",
    }  # fmt: skip
    assert len(CSC2_12.columns) == 12


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_fit_the_simulation(name):
    cat = ac.simulate.chandra(200, random_state=2)
    matrix = recipe(name).fit(cat).transform(cat)
    assert matrix.values.shape == (200, len(recipe(name).columns))
    for j, feature in enumerate(matrix.names):
        if recipe(name).scale_of(feature) != "none":
            assert np.nanmin(matrix.values[:, j]) == pytest.approx(0, abs=1e-12)
            assert np.nanmax(matrix.values[:, j]) == pytest.approx(1)
        else:
            np.testing.assert_array_equal(matrix.values[:, j], np.asarray(cat[feature]))


def test_recipes_by_name():
    assert recipe("CSC2_12") is CSC2_12
    assert recipe("csc2") is CSC2
    with pytest.raises(InputError, match="there is no recipe 'gaia'; the recipes are: csc2, csc2-12"):
        recipe("gaia")
