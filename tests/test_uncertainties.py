"""Measurement errors: found where catalogues have them, carried through scales, refused where impossible."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Column, MaskedColumn, QTable
from astropy.utils.masked import Masked
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import astro_cluster as ac
from astro_cluster import noise as noise_module
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.features import SCALES, Features, FittedFeatures
from astro_cluster.provenance import decode, encode

GAIA = ("ra", "dec", "parallax", "pmra", "pmdec")


def gaia(n: int = 50, seed: int = 0) -> QTable:
    """Astrometry with errors and with the correlations of random covariance matrices."""
    rng = np.random.default_rng(seed)
    units = dict(zip(GAIA, (u.deg, u.deg, u.mas, u.mas / u.yr, u.mas / u.yr), strict=True))
    table = QTable({name: rng.normal(size=n) * unit for name, unit in units.items()})
    root = rng.normal(size=(n, 5, 5))
    covariance = root @ root.transpose(0, 2, 1)
    sigma = np.sqrt(np.einsum("nii->ni", covariance))
    for i, name in enumerate(GAIA):
        table[f"{name}_error"] = sigma[:, i] * (u.mas if i < 3 else u.mas / u.yr)
        for j in range(i + 1, 5):
            correlation = covariance[:, i, j] / sigma[:, i] / sigma[:, j]
            table[f"{name}_{GAIA[j]}_corr"] = correlation.astype("f4")
    return table


def fitted(table: QTable, columns: object = "x", **options: object) -> np.ndarray:
    options.setdefault("errors", "auto")
    return Features(columns, **options).fit_transform(table)[1].errors


# ---------------------------------------------------------------- through the scales


@pytest.mark.parametrize("scale", SCALES)
@settings(deadline=None, max_examples=40)
@given(x=hnp.arrays("f8", st.integers(4, 10), elements=st.floats(0.01, 1e3), unique=True), data=st.data())
def test_errors_go_as_the_derivative_of_the_scale(scale, x, data):
    sigma = data.draw(hnp.arrays("f8", len(x), elements=st.floats(0, 10)))
    if np.ptp(np.percentile(x, [25, 75])) == 0:
        return
    recipe, matrix = Features("x", scale=scale, errors={"x": "s"}).fit_transform(QTable({"x": x, "s": sigma}))
    step = 1e-5 * x
    above, below = (recipe.scalings[0](x + sign * step) for sign in (1, -1))
    slope = (above - below) / (2 * step)
    assert (slope > 0).all()
    np.testing.assert_allclose(matrix.errors[:, 0], sigma * slope, rtol=1e-5)


@pytest.mark.parametrize("scale", SCALES)
def test_errors_are_the_scatter_of_repeated_measurements(scale):
    rng = np.random.default_rng(0)
    x = rng.uniform(5, 50, (20, 2))
    table = QTable({"a": x[:, 0], "b": x[:, 1], "a_err": np.full(20, 0.02), "b_err": np.full(20, 0.05)})
    table["a_b_corr"] = np.full(20, -0.7)
    recipe, matrix = Features(["a", "b"], scale=scale, errors="auto").fit_transform(table)
    covariance = [[0.02**2, -0.7e-3], [-0.7e-3, 0.05**2]]
    again = x + rng.multivariate_normal([0, 0], covariance, (20_000, 20))
    values = np.stack([recipe.scalings[j](again[:, :, j].ravel()).reshape(-1, 20) for j in (0, 1)])
    for row in range(20):
        ratio = np.cov(values[:, :, row]) / matrix.errors[row]
        np.testing.assert_allclose(ratio, 1.0, atol=0.06)


@settings(deadline=None, max_examples=30)
@given(st.randoms(use_true_random=False), st.sampled_from(SCALES))
def test_errors_stay_with_their_rows(random, scale):
    table = gaia()
    table["parallax"] = np.abs(table["parallax"])
    wanted = Features(["parallax", "pmra"], scale={"parallax": scale}, errors="auto")
    order = list(range(len(table)))
    random.shuffle(order)
    one, other = (wanted.fit_transform(t)[1].errors for t in (table, table[order]))
    np.testing.assert_allclose(other, one[order], rtol=1e-9)


# ---------------------------------------------------------------- units


def test_errors_are_converted_to_the_unit_of_the_feature():
    table = QTable({"x": [1.0, 2.0] * u.deg, "x_error": [1.0, 2.0] * u.arcsec})
    np.testing.assert_allclose(fitted(table)[:, 0], [1 / 3600, 2 / 3600])
    np.testing.assert_allclose(fitted(table, units={"x": "arcmin"})[:, 0], [1 / 60, 2 / 60])


@pytest.mark.parametrize("scale", ["minmax", "standard", "robust", "lognorm"])
def test_the_unit_makes_no_difference_to_a_scaled_error(scale):
    table = gaia()
    table["parallax"] = np.abs(table["parallax"])
    other = table.copy()
    other["parallax"] = table["parallax"].to(u.arcsec)
    other["parallax_error"] = table["parallax_error"].to(u.deg)
    one, two = (fitted(t, "parallax", scale=scale) for t in (table, other))
    np.testing.assert_allclose(one, two, rtol=1e-9)


def test_a_new_table_in_other_units():
    table = gaia()
    recipe, matrix = Features(["parallax", "pmra"], scale="standard", errors="auto").fit_transform(table)
    other = table.copy()
    other["pmra"] = table["pmra"].to(u.arcsec / u.yr)
    other["parallax_error"] = table["parallax_error"].to(u.rad)
    np.testing.assert_allclose(recipe.transform(other).errors, matrix.errors, rtol=1e-9)
    bare = table.copy()
    bare["parallax"] = np.asarray(table["parallax"].value)
    with pytest.warns(AstroClusterWarning, match="'parallax' has no unit and is taken in mas"):
        np.testing.assert_allclose(recipe.transform(bare).errors, matrix.errors)


def test_an_error_without_a_unit_is_in_that_of_the_column():
    table = QTable({"x": [60.0, 120.0] * u.arcmin, "x_error": [6.0, 12.0]})
    with pytest.warns(AstroClusterWarning, match="'x_error' has no unit and is taken in arcmin, that of 'x'"):
        np.testing.assert_allclose(fitted(table, units={"x": "deg"})[:, 0], [0.1, 0.2])


def test_magnitudes_have_errors_in_mag():
    table = QTable({"m": [20.0, 21.0] * u.ABmag, "m_err": [0.1, 0.2] * u.mag, "e_m": [0.1, 0.2] * u.ABmag})
    for column in ("m_err", "e_m"):
        np.testing.assert_allclose(fitted(table, "m", errors={"m": column})[:, 0], [0.1, 0.2])
    with pytest.raises(InputError, match=r"'m_err' is in mag, which cannot be converted to Jy"):
        fitted(table, "m", errors={"m": "m_err"}, units={"m": "Jy"})


@pytest.mark.parametrize(
    ("unit", "error", "message"),
    [
        (u.mas, u.Jy, "'x_error' is in Jy, which cannot be converted to mas"),
        (None, u.Jy, "'x_error' is in Jy, which cannot be converted to a pure number"),
        (u.mas, u.Unit("wibble", parse_strict="silent"), "'x_error' is in wibble"),
    ],
)
def test_units_that_do_not_go_together(unit, error, message):
    table = QTable({"x": Column([1.0, 2.0], unit=unit), "x_error": Column([1.0, 2.0], unit=error)})
    with pytest.raises(InputError, match=message):
        fitted(table)


def test_percent_and_pure_numbers():
    table = QTable({"x": [0.1, 0.2], "x_error": [1.0, 2.0] * u.percent})
    np.testing.assert_allclose(fitted(table)[:, 0], [0.01, 0.02])


# ---------------------------------------------------------------- correlations


@pytest.mark.parametrize("scale", ["none", "standard", "minmax", "robust"])
def test_gaia_covariances_are_right(scale):
    table = gaia()
    recipe, matrix = Features(GAIA, scale=scale, errors="auto").fit_transform(table)
    assert matrix.errors.shape == (50, 5, 5)
    np.testing.assert_array_equal(matrix.errors, matrix.errors.transpose(0, 2, 1))
    for i, first in enumerate(GAIA):
        for j, second in enumerate(GAIA):
            low, high = min(i, j), max(i, j)
            r = 1.0 if i == j else np.asarray(table[f"{GAIA[low]}_{GAIA[high]}_corr"], float)
            si, sj = (
                table[f"{n}_error"].to_value(table[n].unit) / s.factor
                for n, s in ((first, recipe.scalings[i]), (second, recipe.scalings[j]))
            )
            np.testing.assert_allclose(matrix.errors[:, i, j], r * si * sj, rtol=1e-6)
    assert np.linalg.eigvalsh(matrix.errors).min() > -1e-9


def test_correlations_of_logarithms_stay():
    rng = np.random.default_rng(1)
    x = rng.uniform(1, 9, (30, 2))
    table = QTable({"a": x[:, 0], "b": x[:, 1], "a_error": x[:, 0] / 10, "b_error": x[:, 1] / 20})
    table["b_a_corr"] = np.full(30, 0.5)
    covariance = fitted(table, ["a", "b"], scale="log")
    np.testing.assert_allclose(covariance, np.tile([[0.01, 0.0025], [0.0025, 0.0025]], (30, 1, 1)))


def test_only_pairs_of_features_with_errors_are_correlated():
    table = gaia()
    assert fitted(table, ["ra", "parallax"]).shape == (50, 2, 2)
    table.remove_column("ra_parallax_corr")
    assert fitted(table, ["ra", "parallax"]).shape == (50, 2)
    table.remove_column("ra_error")
    with pytest.warns(AstroClusterWarning, match="no errors of ra: taken as exact"):
        errors = fitted(table, ["ra", "dec", "parallax"])
    assert not errors[:, 0].any()
    assert errors.shape == (50, 3, 3)
    with pytest.warns(AstroClusterWarning, match="no errors of ra: taken as exact"):
        assert fitted(table, ["ra", "dec"]).shape == (50, 2)


def test_correlations_by_name():
    table = gaia()
    table["odd"] = table["ra_dec_corr"]
    wanted = {"ra": "ra_error", "dec": "dec_error", ("dec", "ra"): "odd"}
    np.testing.assert_allclose(fitted(table, ["ra", "dec"], errors=wanted), fitted(table, ["ra", "dec"]))


def test_a_missing_correlation_counts_as_none():
    table = gaia()
    correlation = np.array(table["pmra_pmdec_corr"])
    correlation[[3, 8]] = np.nan
    table["pmra_pmdec_corr"] = correlation
    with pytest.warns(
        AstroClusterWarning, match=r"'pmra_pmdec_corr' lacks the correlation in 2 rows \(3, 8\)"
    ):
        covariance = fitted(table, ["pmra", "pmdec"])
    assert covariance[[3, 8], 0, 1].tolist() == [0, 0]
    assert covariance[[3, 8], 0, 0].all()
    table["pmra"][[3, 8]] = np.nan  # nothing is correlated with what is not there
    covariance = fitted(table, ["pmra", "pmdec"])
    assert covariance[3, 0].tolist() == covariance[3, :, 0].tolist() == [0, 0]


@pytest.mark.parametrize("chunk", [7, 65_536])
def test_correlations_that_contradict_each_other(chunk, monkeypatch):
    monkeypatch.setattr(noise_module, "_CHUNK", chunk)
    table = gaia()
    for name, value in {"ra_dec": 0.9, "ra_parallax": 0.9, "dec_parallax": -0.9}.items():
        table[f"{name}_corr"][[12, 40]] = value
    with pytest.raises(
        InputError, match=r"between ra, dec, parallax contradict each other in 2 rows \(12, 40\)"
    ):
        fitted(table, ["ra", "pmra", "dec", "parallax"], errors=_without(table, "pmra"))
    table["dec"][[12, 40]] = np.nan  # two of the three do not
    assert fitted(table, ["ra", "dec", "parallax"]).shape == (50, 3, 3)


def _without(table: QTable, name: str) -> dict[object, str]:
    """Everything that 'auto' would find of four features, but the correlations of one of them."""
    errors: dict[object, str] = {n: f"{n}_error" for n in ("ra", "dec", "parallax", "pmra")}
    for i, first in enumerate(GAIA[:3]):
        for second in GAIA[i + 1 : 3]:
            errors[first, second] = f"{first}_{second}_corr"
    return errors


@pytest.mark.parametrize("digits", [3, 4])
def test_rounded_correlations_are_made_consistent(digits):
    n = 200
    table = gaia(n)
    rng = np.random.default_rng(2)
    vector = rng.normal(size=(n, 5))  # one source of all errors: correlations of ±1, but for rounding
    mixed = vector[:, :, None] * vector[:, None, :] + 1e-9 * np.eye(5)
    mixed[: n // 2] += np.einsum("ni,nj->nij", *[rng.normal(size=(n // 2, 5))] * 2)
    sigma = np.sqrt(np.einsum("nii->ni", mixed))
    for i, first in enumerate(GAIA):
        for j in range(i + 1, 5):
            exact = mixed[:, i, j] / sigma[:, i] / sigma[:, j]
            table[f"{first}_{GAIA[j]}_corr"] = np.round(exact, digits)
    covariance = fitted(table, GAIA, scale="none")
    scale = np.sqrt(np.einsum("nii->ni", covariance))
    correlation = covariance / scale[:, :, None] / scale[:, None, :]
    assert np.linalg.eigvalsh(correlation).min() > -1e-12
    expected = np.round(mixed / sigma[:, :, None] / sigma[:, None, :], digits)
    np.testing.assert_allclose(correlation, expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, 1.5, -2.0], r"'a_b_corr' has correlations beyond ±1 in 2 rows \(1, 2\), the first is 1.5"),
        ([0.5, np.inf, 0.0], r"beyond ±1 in 1 row \(1\)"),
        (["a", "b", "c"], "'a_b_corr' cannot be correlations: it has to have one number a row"),
        (np.zeros((3, 2)), "'a_b_corr' cannot be correlations: it has to have one number a row"),
        ([1.0, 0.0, 0.0] * u.mas, "'a_b_corr' is in mas and cannot be correlations"),
    ],
)
def test_what_is_no_correlation(values, message):
    x = np.array([1.0, 2.0, 4.0])
    table = QTable({"a": x, "b": x[::-1], "a_error": x, "b_error": x, "a_b_corr": values})
    with pytest.raises(InputError, match=message):
        fitted(table, ["a", "b"])


def test_correlations_in_percent_and_in_single_precision():
    x = np.array([1.0, 2.0])
    table = QTable({"a": x, "b": x[::-1], "a_error": x, "b_error": x, "a_b_corr": [50.0, -100.0] * u.percent})
    np.testing.assert_allclose(fitted(table, ["a", "b"])[:, 0, 1], [0.5, -4.0])
    table["a_b_corr"] = np.float32([1, np.nextafter(np.float32(1), np.float32(2))])
    np.testing.assert_allclose(fitted(table, ["a", "b"])[:, 0, 1], [1, 4])


# ---------------------------------------------------------------- names that catalogues use


@pytest.mark.parametrize(
    ("feature", "error"),
    [
        ("parallax", "parallax_error"),
        ("pmRA", "e_pmRA"),
        ("W1mag", "e_W1mag"),
        ("modelMag_g", "modelMagErr_g"),
        ("FLUX_AUTO", "FLUXERR_AUTO"),
        ("MAG_AUTO", "MAGERR_AUTO"),
        ("mag_auto_g", "magerr_auto_g"),
        ("gMeanPSFMag", "gMeanPSFMagErr"),
        ("SC_HR1", "SC_HR1_ERR"),
        ("g", "err_g"),
        ("flux", "sigma_flux"),
        ("flux_24", "flux_24_unc"),
        ("x[1]", "x[1]_error"),
    ],
)
def test_well_known_names(feature, error):
    table = QTable({feature: [1.0, 2.0], error: [0.1, 0.2], "other_error": [9.0, 9.0]})
    recipe = Features([feature], errors="auto").fit(table)
    assert recipe.errors.errors == ((feature, error),)


@pytest.mark.parametrize(
    ("feature", "other"),
    [
        ("parallax", "parallax_over_error"),
        ("x", "X_error"),  # that of X
        ("x", "E_x"),  # an upper limit
        ("pm", "pmra_error"),
        ("x", "x_error_flag"),
        ("x", "err"),
        ("x", "ex"),
    ],
)
def test_names_that_are_no_errors_of_it(feature, other):
    table = QTable({feature: [1.0, 2.0], other: [0.1, 0.2]})
    with pytest.raises(
        InputError, match=f"finds no errors of {feature}: it looks for columns named <name>_error"
    ):
        fitted(table, [feature])


def test_vizier_names_of_gaia_correlations():
    names = ["Plx", "pmRA", "pmDE"]
    table = QTable({n: [1.0, 2.0] for n in names} | {f"e_{n}": [1.0, 1.0] for n in names})
    table["PlxpmRAcor"], table["pmRApmDEcor"] = [0.5, 0.5], [-0.25, 0.25]
    covariance = fitted(table, names)
    assert covariance[0].tolist() == [[1, 0.5, 0], [0.5, 1, -0.25], [0, -0.25, 1]]


def test_several_columns_that_could_be_meant():
    table = QTable({"x": [1.0, 2.0], "x_error": [0.1, 0.2], "e_x": [0.1, 0.2]})
    with pytest.raises(
        InputError, match=r"several columns for the errors of 'x': x_error, e_x; name the one"
    ):
        fitted(table)
    table = gaia()
    table["dec_ra_corr"] = table["ra_dec_corr"]
    with pytest.raises(InputError, match="for the correlation of 'ra' and 'dec': ra_dec_corr, dec_ra_corr"):
        fitted(table, ["ra", "dec"])


def test_asymmetric_errors_are_refused():
    table = QTable({"M": [1.0, 2.0], "e_M": [0.1, 0.2], "E_M": [0.3, 0.4]})
    with pytest.raises(InputError, match=r"errors of 'M' are asymmetric \(e_M below, E_M above"):
        fitted(table, "M")
    assert fitted(table, "M", errors={"M": "E_M"})[:, 0].tolist() == [0.3, 0.4]


def test_a_feature_is_never_its_own_error():
    table = QTable({"x": [1.0, 2.0], "x_error": [0.1, 0.2]})
    with pytest.raises(InputError, match="finds x_error, but these are features themselves"):
        fitted(table, "x*")
    with pytest.raises(InputError, match="'x_error' is given as the errors of 'x' and is a feature itself"):
        fitted(table, "x*", errors={"x": "x_error"})
    with pytest.raises(InputError, match="'x' is given as the errors of 'x' and is a feature itself"):
        fitted(table, "x", errors={"x": "x"})


def described(**columns: tuple[object, str]) -> QTable:
    table = QTable({name: values for name, (values, _) in columns.items()})
    for name, (_, ucd) in columns.items():
        table[name].info.meta = {"ucd": ucd}
    return table


ONE = np.array([1.0, 2.0])


def test_errors_by_ucd():
    table = described(
        w1mpro=(ONE * u.mag, "phot.mag;em.IR.3-4um;meta.main"),
        w1sigmpro=(ONE * u.mag, "stat.error;phot.mag;em.IR.3-4um"),
        w2sigmpro=(ONE * u.mag, "stat.error;phot.mag;em.IR.4-8um"),
        sys=(ONE * u.mag, "stat.error.sys;phot.mag;em.IR.3-4um"),
    )
    assert Features("w1mpro", errors="auto").fit(table).errors.columns == ["w1sigmpro"]


@pytest.mark.parametrize(
    "columns",
    [
        {"a": (ONE, "pos.parallax"), "b": (ONE, "pos.parallax"), "s": (ONE, "stat.error;pos.parallax")},
        {"a": (ONE, "phot.mag"), "r": (ONE, "stat.error;phot.mag"), "s": (ONE, "stat.error;phot.mag")},
        {"a": (ONE * u.pc, "pos.parallax"), "s": (ONE * u.mas, "stat.error;pos.parallax")},
        {"a": (ONE, ""), "s": (ONE, "stat.error;")},
        {"a": (ONE, ""), "s": (ONE, "stat.error")},
    ],
    ids=["shared", "two", "unit", "none", "bare"],
)
def test_a_ucd_that_does_not_tell(columns):
    with pytest.raises(InputError, match="finds no errors of a"):
        fitted(described(**columns), "a")


# ---------------------------------------------------------------- vectors


def test_a_vector_has_a_vector_of_errors():
    rng = np.random.default_rng(0)
    v, sigma = rng.normal(size=(20, 3)), rng.uniform(size=(20, 3))
    table = QTable({"v": v * u.km / u.s, "v_err": sigma * u.m / u.s, "x": np.arange(20.0)})
    with pytest.warns(AstroClusterWarning, match="no errors of x"):
        recipe, matrix = Features(["v", "x"], scale="standard", errors="auto").fit_transform(table)
    np.testing.assert_allclose(matrix.errors[:, :3], sigma / 1000 / v.std(axis=0))
    assert not matrix.errors[:, 3].any()
    assert recipe.inputs == ["v", "x", "v_err"]


def test_correlations_within_a_vector():
    table = QTable({"v": np.arange(6.0).reshape(3, 2), "s": np.ones((3, 2)), "r": [0.5, 0.5, 0.5]})
    errors = fitted(table, "v", errors={"v": "s", ("v[0]", "v[1]"): "r"})
    assert errors[0].tolist() == [[1, 0.5], [0.5, 1]]


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 3), (3, 2, 2)])
def test_a_vector_of_another_length(shape):
    table = QTable({"v": np.arange(6.0).reshape(3, 2), "s": np.ones(shape)})
    with pytest.raises(InputError, match=r"'s' has .* values a row and 'v' has 2"):
        fitted(table, "v", errors={"v": "s"})


# ---------------------------------------------------------------- errors that are missing or impossible


@pytest.mark.parametrize(
    "errors",
    [
        np.array([0.1, np.nan, 0.3, np.inf]),
        MaskedColumn([0.1, 5.0, 0.3, -1.0], mask=[0, 1, 0, 1]),
        Masked([0.1, np.nan, 0.3, 7.0] * u.dimensionless_unscaled, mask=[False, False, False, True]),
    ],
    ids=["nan", "masked", "Masked"],
)
def test_a_value_of_unknown_error_counts_as_missing(errors):
    table = QTable({"x": [1.0, 900.0, 2.0, 900.0], "y": [1.0, 2.0, 3.0, 4.0], "x_error": errors})
    wanted = Features(["x", "y"], scale={"x": "minmax"}, errors={"x": "x_error"})
    message = r"'x_error' lacks the error of 'x' in 2 rows \(1, 3\); .* counts as missing"
    with pytest.warns(AstroClusterWarning, match=message):
        recipe, matrix = wanted.fit_transform(table)
    assert matrix.mask.tolist() == [[False, False], [True, False], [False, False], [True, False]]
    np.testing.assert_array_equal(matrix.values[:, 0], [0, np.nan, 1, np.nan])
    np.testing.assert_allclose(matrix.errors[:, 0], [0.1, 0, 0.3, 0])
    assert recipe.scalings[0].factor == 1.0  # what counts as missing does not shift the scale
    with pytest.warns(AstroClusterWarning, match="counts as missing"):
        dropped = wanted.fit_transform(table, missing="drop")[1]
    assert dropped.usable.tolist() == [True, False, True, False]


def test_errors_of_what_is_missing_are_not_looked_at():
    table = QTable({"x": [1.0, np.nan, 2.0, np.nan], "x_error": [0.1, -99.0, 0.3, np.nan]})
    errors = fitted(table)
    assert errors[:, 0].tolist() == [0.1, 0, 0.3, 0]


def test_no_error_is_known():
    table = QTable({"x": [1.0, 2.0], "x_error": [np.nan, np.nan]})
    with (
        pytest.warns(AstroClusterWarning, match="counts as missing"),
        pytest.raises(InputError, match="the error of 'x' is not known in any row; leave it out"),
    ):
        fitted(table)
    recipe = Features("x", errors="auto").fit(QTable({"x": [1.0, 2.0], "x_error": [0.1, 0.2]}))
    with pytest.warns(AstroClusterWarning, match="counts as missing"):
        assert recipe.transform(table).mask.all()


def test_negative_errors():
    table = QTable({"x": np.arange(9.0) * u.mas, "x_error": np.ones(9) * u.mas})
    table["x_error"][[2, 4, 5, 7]] = -9 * u.mas
    message = r"'x_error' has negative errors of 'x' in 4 rows \(2, 4, 5, …\), the first is -9 mas; mask them"
    with pytest.raises(InputError, match=message):
        fitted(table)
    recipe = Features("x", errors="auto").fit(table[[0, 1, 3]])
    with pytest.raises(InputError, match="negative errors"):
        recipe.transform(table)
    table["x_error"] = [-np.inf] * 9 * u.mas
    with pytest.raises(InputError, match="negative errors"):
        fitted(table)


@pytest.mark.parametrize("column", [["a", "b"], [True, False], np.array([1j, 2j])])
def test_errors_that_are_no_numbers(column):
    with pytest.raises(InputError, match=r"'x_error' is not numeric .* cannot be the errors of 'x'"):
        fitted(QTable({"x": [1.0, 2.0], "x_error": column}))


def test_integers_may_be_errors():
    assert fitted(QTable({"x": [10, 20], "x_error": [1, 2]}))[:, 0].tolist() == [1, 2]


def test_a_value_outside_a_logarithm_has_no_error():
    recipe = Features("x", scale="log", errors="auto").fit(QTable({"x": [1.0, 2.0], "x_error": [0.1, 0.1]}))
    with pytest.warns(AstroClusterWarning, match="outside the fitted logarithm"):
        matrix = recipe.transform(QTable({"x": [-1.0, 2.0], "x_error": [0.1, 0.1]}))
    assert matrix.usable.tolist() == [False, True]
    assert matrix.errors[:, 0].tolist() == [0, 0.05]
    values, errors = matrix.used()
    assert values.shape == errors.shape == (1, 1)


def test_median_is_no_company_for_errors():
    table = QTable({"x": [1.0, 2.0], "x_error": [0.1, 0.1]})
    with pytest.raises(InputError, match=r"errors do not go with missing='median'.*'marginalize'"):
        fitted(table, missing="median")
    with pytest.raises(InputError, match="errors do not go with missing='median'"):
        ac.cluster(table, n_components=1, features=Features("x", errors="auto"), missing="median")


# ---------------------------------------------------------------- what the user says


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        ("autos", "errors='autos' is not understood; give 'auto', or a mapping"),
        (True, "errors=True is not understood"),
        (["x_error"], "is not understood"),
        ({"x": 1}, "is not understood"),
        ({1: "x_error"}, "is not understood"),
        ({("x", "y", "z"): "x_error"}, "is not understood"),
        ({("x", "x"): "r"}, "the correlation of 'x' and 'x' cannot be given"),
        ({("x", "y"): "r", ("y", "x"): "r"}, "the correlation of 'y' and 'x' cannot be given"),
    ],
)
def test_words_that_are_not_understood(errors, message):
    with pytest.raises(InputError, match=message):
        Features(["x", "y"], errors=errors)


@pytest.mark.parametrize(
    ("errors", "message"),
    [
        ({"paralax": "x"}, "errors are given for 'paralax', which is no feature; did you mean 'parallax'"),
        ({"parallax": "paralax_error"}, "no column 'paralax_error'; did you mean 'parallax_error'"),
        (
            {"parallax": "parallax_error", ("parallax", "x"): "y"},
            "a correlation is given for 'x', which is no",
        ),
        ({"parallax": "parallax_error", ("parallax", "pmra"): "y"}, "but no errors of 'pmra'; give both"),
        ({"pmra": "pmdec"}, "'pmdec' is given as the errors of 'pmra' and is a feature itself"),
        (
            {"parallax": "parallax_error", "pmra": "pmra_error", ("parallax", "pmra"): "parallax_pmra_cor"},
            "no column 'parallax_pmra_cor'; did you mean 'parallax_pmra_corr'",
        ),
    ],
)
def test_names_that_do_not_fit(errors, message):
    with pytest.raises(InputError, match=message):
        fitted(gaia(), ["parallax", "pmra", "pmdec"], errors=errors)


def test_a_new_table_that_lacks_the_errors():
    table = gaia()
    recipe = Features("parallax", errors="auto").fit(table)
    table.remove_column("parallax_error")
    with pytest.raises(
        InputError, match=r"fitted with their errors, and there is no column 'parallax_error'"
    ):
        recipe.transform(table)


def test_no_errors_by_word():
    for nothing in (None, {}):
        recipe, matrix = Features("parallax", errors=nothing).fit_transform(gaia())
        assert matrix.errors is None
        assert "errors" not in recipe.to_plain()
        assert recipe.inputs == ["parallax"]


# ---------------------------------------------------------------- on record


def test_a_column_may_be_called_as_a_word_of_the_record():
    table = QTable({"unit": [1.0, 2.0], "unit_error": [0.1, 0.2]})
    recipe = Features("unit", errors={"unit": "unit_error"}).fit(table)
    assert FittedFeatures.from_plain(encode(recipe.to_plain())) == recipe


@pytest.mark.parametrize("errors", [None, "auto", {}, {"ra": "ra_error", "dec": "e", ("ra", "dec"): "r"}])
def test_the_wish_goes_through_the_record(errors):
    features = Features(["ra", "dec"], errors=errors)
    assert decode(json.loads(json.dumps(encode(features)))).errors == errors


def test_the_fitted_recipe_goes_through_json():
    table = gaia()
    recipe, matrix = Features(GAIA, scale="robust", errors="auto").fit_transform(table)
    back = FittedFeatures.from_plain(json.loads(json.dumps(recipe.to_plain())))
    assert back == recipe
    assert len(back.errors.correlations) == 10
    np.testing.assert_array_equal(back.transform(table).errors, matrix.errors)
    hash(back)


def test_a_recipe_of_an_older_version_has_no_errors():
    plain = Features("ra").fit(gaia()).to_plain()
    assert set(plain) == {"missing", "scalings"}
    assert not FittedFeatures.from_plain(plain).errors


@pytest.mark.parametrize(
    "errors",
    [
        3,
        [],
        "text",
        "auto",
        {},
        {"columns": 3, "correlations": []},
        {"columns": [["ra", 3]], "correlations": []},
        {"columns": [["x", "ra_error"]], "correlations": []},
        {"columns": [["ra", "ra_error"]], "correlations": [["ra", "x", "r"]]},
        {"columns": [["ra", "ra_error"]], "correlations": [["ra", "dec"]]},
        {"columns": [["ra", "ra_error"]], "correlations": 3},
        {"columns": [["ra", "ra_error"]], "correlations": [3]},
    ],
    ids=str,
)
def test_a_damaged_recipe(errors):
    plain = Features(["ra", "dec"]).fit(gaia()).to_plain() | {"errors": errors}
    with pytest.raises(InputError):
        FittedFeatures.from_plain(plain)


@pytest.mark.parametrize("value", [{"columns": ["a"], "errors": 3}, {"columns": ["a"], "errors": {"a": "b"}}])
def test_a_damaged_wish(value):
    with pytest.raises(InputError):
        decode({"type": "features", "value": value})


# ---------------------------------------------------------------- real data


@pytest.mark.realdata
def test_gaia_errors_of_the_real_table_are_found(real_data):
    stars = ac.read(real_data / "gaia" / "rho_oph_sample_2300.vot")
    recipe, matrix = Features(["parallax", "pmra", "pmdec"], errors="auto").fit_transform(stars)
    assert recipe.errors.columns == ["parallax_error", "pmra_error", "pmdec_error"]
    assert matrix.errors.shape == (2300, 3)  # this table has no correlations
    np.testing.assert_array_equal(matrix.errors[:, 1], stars["pmra_error"].value)
    # A distance of the UCD of the parallax does not get the parallax's error.
    with pytest.warns(AstroClusterWarning, match="no errors of distance, X: taken as exact"):
        recipe = Features(["pmra", "distance", "X"], errors="auto").fit(stars)
    assert recipe.errors.columns == ["pmra_error"]
