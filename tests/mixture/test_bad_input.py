"""What comes in any form is the same; what makes no sense is refused, with its column and row."""

from __future__ import annotations

import numpy as np
import pytest

from astro_cluster import GaussianMixture
from astro_cluster.mixture.sources import ArraySource

from .cases import assert_identical_fit, fixed_steps, random_mixture

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

NAN, INF = np.nan, np.inf
N, D = 60, 3
RNG = np.random.default_rng(0)
START = random_mixture(RNG, 2, D, "full")
X = np.round(3 * RNG.normal(size=(N, D)))  # whole numbers, which every type can hold
ERRORS = RNG.integers(1, 4, (N, D)).astype(float)
MATRICES = np.einsum("ni,ij->nij", ERRORS**2, np.eye(D)) + 0.5
WEIGHTS = RNG.integers(1, 5, N).astype(float)


def fit(X=X, errors=ERRORS, weights=WEIGHTS):
    return fixed_steps(START, 3).fit(X, errors=errors, sample_weight=weights)


@pytest.fixture(scope="module")
def expected():
    return fit()


def with_gaps(array):
    """The same numbers with others between them in memory."""
    wide = np.full(tuple(2 * n for n in array.shape), -7.0)
    wide[tuple(slice(None, None, 2) for _ in array.shape)] = array
    return wide[tuple(slice(None, None, 2) for _ in array.shape)]


FORMS = {
    "int64": lambda a: a.astype(np.int64),
    "int8": lambda a: a.astype(np.int8),
    "float32": lambda a: a.astype(np.float32),
    "float16": lambda a: a.astype(np.float16),
    "longdouble": lambda a: a.astype(np.longdouble),
    "big-endian": lambda a: a.astype(">f8"),
    "big-endian int": lambda a: a.astype(">i2"),
    "big-endian float32": lambda a: a.astype(">f4"),
    "Fortran": np.asfortranarray,
    "gaps": with_gaps,
    "backwards": lambda a: a[::-1].copy()[::-1],
    "read only": lambda a: np.frombuffer(a.tobytes()).reshape(a.shape),
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(map(tuple, a.tolist())) if a.ndim == 2 else tuple(a.tolist()),
    "masked array without a mask": np.ma.array,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_an_array_makes_no_difference(expected, form):
    change = FORMS[form]
    given = [array.copy() for array in (X, ERRORS, WEIGHTS)]
    changed = [change(array) for array in given]
    one = fit(*changed)
    assert_identical_fit(one, expected)
    np.testing.assert_array_equal(
        one.predict_proba(changed[0], errors=changed[1]), expected.predict_proba(X, errors=ERRORS)
    )
    for array, original in zip(given, (X, ERRORS, WEIGHTS), strict=True):  # nothing of the user's is changed
        np.testing.assert_array_equal(array, original)


@pytest.mark.parametrize("form", ["int64", "big-endian", "Fortran", "gaps", "backwards", "list"])
def test_the_form_of_matrices_makes_no_difference(form):
    matrices = np.round(MATRICES * 2) if form == "int64" else MATRICES
    assert_identical_fit(fit(errors=FORMS[form](matrices)), fit(errors=matrices))


def test_values_of_type_object(expected):
    assert_identical_fit(fit(X.astype(object)), expected)
    holed = X.astype(object)
    holed[3, 1] = None
    assert_identical_fit(fit(holed), fit(np.where(np.equal(holed, None), NAN, X)))


def test_masks_are_missing_values():
    mask = RNG.random(X.shape) < 0.2
    mask[0] = False
    masked = np.ma.array(np.where(mask, -9999.0, X), mask=mask)
    holed = np.where(mask, NAN, X)
    errors = np.ma.array(np.where(mask, -1.0, ERRORS), mask=mask)
    assert_identical_fit(fit(masked, errors), fit(holed))
    assert_identical_fit(fit(masked.astype(int), errors.astype(int)), fit(holed))


def test_y_is_ignored():
    gm = fixed_steps(START, 3)
    assert_identical_fit(gm.fit(X, "nonsense"), fixed_steps(START, 3).fit(X))
    assert gm.score(X, object()) == gm.score(X)


def test_what_stands_for_the_error_of_a_missing_value_is_not_looked_at():
    holed = X.copy()
    holed[[3, 7, 9], [0, 1, 2]] = NAN
    one = fit(holed)
    for nonsense in (NAN, -1.0, INF):
        errors = np.where(np.isnan(holed), nonsense, ERRORS)
        assert_identical_fit(fit(holed, errors), one)
        assert one.score(holed, errors=errors) == one.score(holed, errors=ERRORS)
    matrices = MATRICES.copy()
    matrices[3, 0], matrices[3, :, 0] = NAN, -5.0
    assert_identical_fit(fit(holed, matrices), fit(holed, MATRICES))


# ---------------------------------------------------------------- refused


def at(array, index, value):
    array = np.array(array)
    array[index] = value
    return array


REFUSED = [
    (at(X, (4, 1), INF), None, None, "column 1 is infinite in row 4; set it to NaN if it means"),
    (at(X, (4, 1), -INF), None, None, "column 1 is infinite in row 4"),
    (at(X, np.s_[:, 2], NAN), None, None, "column 2 has no value in any row; leave it out"),
    (at(X, np.s_[1:, 2], NAN), None, at(WEIGHTS, 0, 0), "column 2 has no value in any row of positive wei"),
    (X, at(ERRORS, (5, 2), -1.0), None, "column 2 has a negative standard error in row 5"),
    (X, at(ERRORS, (5, 2), NAN), None, "column 2 has a value without an error in row 5; give the error"),
    (X, at(ERRORS, (5, 2), INF), None, "column 2 has a value with an infinite error in row 5"),
    (
        X,
        np.ma.masked_equal(at(ERRORS, (5, 2), 99), 99),
        None,
        "column 2 has a value without an error in row 5",
    ),
    (
        X,
        ERRORS[:-1],
        None,
        r"errors have the shape \(59, 3\), .*values of the shape \(60, 3\); give standard",
    ),
    (X, ERRORS[:, 0], None, r"errors have the shape \(60,\)"),
    (X, ERRORS[:, :2], None, r"errors have the shape \(60, 2\)"),
    (X, MATRICES[:, :, :2], None, r"errors have the shape \(60, 3, 2\)"),
    (X, MATRICES[0], None, r"errors have the shape \(3, 3\)"),
    (X, 0.1, None, r"errors have the shape \(1,\)"),
    (X, ERRORS.astype(str), None, "the errors are of type <U32, not real numbers"),
    (X, ERRORS + 1j, None, "the errors are of type complex128"),
    (X, at(MATRICES, (6, 0, 0), -1.0), None, "column 0 has a negative variance of its error in row 6"),
    (X, at(MATRICES, (6, 0, 1), 9.0), None, "column 0 has an asymmetry in the covariance matrix in row 6"),
    (
        X,
        at(MATRICES, (6, [0, 1], [1, 0]), 30.0),
        None,
        "covariance matrix of row 6 is not positive semidefinite .* its smallest eigenvalue is -",
    ),
    (X, at(MATRICES, (6, [0, 1], [1, 0]), NAN), None, "not finite in the covariance matrix in row 6"),
    (X, None, at(WEIGHTS, 7, -2.0), "the weight of row 7 is -2; weights are finite and not negative"),
    (X, None, at(WEIGHTS, 7, NAN), "the weight of row 7 is nan"),
    (X, None, at(WEIGHTS, 7, INF), "the weight of row 7 is inf"),
    (X, None, np.zeros(N), "the weights of all 60 rows are zero; give some row a positive one"),
    (X, None, WEIGHTS[:-1], r"the weights have the shape \(59,\); give one for each row, \(60,\)"),
    (X, None, WEIGHTS[:, np.newaxis], r"the weights have the shape \(60, 1\)"),
    (X, None, WEIGHTS.astype(str), "the weights are of type <U32"),
    (X[0], None, None, "1D array"),
    (X[np.newaxis], None, None, "dim 3"),
    (np.empty((0, 3)), None, None, "0 sample"),
    (np.empty((5, 0)), None, None, "0 feature"),
    ([], None, None, "1D array"),
    (X[:1], None, None, "minimum of 2"),
    (np.full((4, 2), "x"), None, None, "convert string to float"),
    (X + 1j, None, None, "[Cc]omplex"),
]


@pytest.mark.parametrize(("X", "errors", "weights", "message"), REFUSED)
def test_what_makes_no_sense_is_refused(X, errors, weights, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(2, random_state=0).fit(X, errors=errors, sample_weight=weights)


OF_A_SOURCE = [row for row in REFUSED if np.shape(row[0]) == (N, D) and " shape " not in row[3]]


@pytest.mark.parametrize(("X", "errors", "weights", "message"), OF_A_SOURCE)
def test_what_makes_no_sense_is_refused_of_a_source(X, errors, weights, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(2, random_state=0).fit(ArraySource(X, errors, weights, chunk_rows=4))


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "score_samples", "memberships", "partial", "bic"]
)
@pytest.mark.parametrize(("X", "errors", "message"), [
    (at(X, (4, 1), INF), None, "column 1 is infinite in row 4"),
    (X, at(ERRORS, (5, 2), -1.0), "column 2 has a negative standard error in row 5"),
    (X, at(ERRORS, (5, 2), NAN), "column 2 has a value without an error in row 5"),
    (X, at(MATRICES, (6, [0, 1], [1, 0]), 30.0), "matrix of row 6 is not positive semidefinite"),
    (X[:, :2], None, "X has 2 features, but GaussianMixture is expecting 3"),
    (X[0], None, "1D array"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused_of_a_fitted_mixture(expected, method, X, errors, message):
    with pytest.raises(ValueError, match=message):
        getattr(expected, method)(X, errors=errors)


def test_a_source_of_another_width(expected):
    with pytest.raises(ValueError, match="the source has 2 features, but GaussianMixture was fitted to 3"):
        expected.predict(ArraySource(X[:, :2]))


@pytest.mark.parametrize("bad", [
    dict(tol=-1.0), dict(max_iter=-1), dict(n_components=0), dict(covariance_type="round"),
    dict(engine="gpu"), dict(reg_covar=-1e-6), dict(init_params="guess"), dict(n_init=0),
    dict(n_components=1.5),
])  # fmt: skip
def test_parameters_that_make_no_sense(bad):
    with pytest.raises(ValueError, match=f"'{next(iter(bad))}' parameter of GaussianMixture must be"):
        GaussianMixture(**bad).fit(X)


def test_columns_of_a_data_frame_are_remembered_without_pandas():
    """Anything with an ``__array__`` and columns of text."""

    class Frame:
        columns = ("ra", "dec", "flux")
        shape = X.shape

        def __array__(self, dtype=None, copy=None):
            return X.astype(dtype or float)

        def __len__(self):
            return N

    assert_identical_fit(fit(Frame()), fit())
