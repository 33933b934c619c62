"""A record comes back from a file as it went in, runs again alike, and is never run as code."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import DBSCAN, KMeans

import astro_cluster as ac
from astro_cluster import estimators
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.mixins import join_mixins, split_mixins
from astro_cluster.provenance import (
    META_KEY,
    OMIT,
    Step,
    content_hash,
    decode,
    encode,
    last_record,
    records,
    register_codec,
    rerun,
    step,
    to_json,
)
from astro_cluster.provenance.record import STEPS

RICH = ["vot", "fits", "ecsv", "parquet"]
FEATURES = ["hard_hm", "hard_hs", "hard_ms"]


@pytest.fixture
def own_steps():
    """Take steps that a test registers out again."""
    before = dict(STEPS)
    yield
    STEPS.clear()
    STEPS.update(before)


@pytest.fixture(scope="module")
def sky(tmp_path_factory) -> Path:
    """A folder with a catalogue and a reference, neither with a record of its own."""
    folder = tmp_path_factory.mktemp("sky")
    cat = ac.simulate.chandra(80, random_state=3)
    reference = ac.simulate.simbad(cat, matched=0.7)
    del cat.meta[META_KEY]
    ac.write(cat, folder / "cat.vot")
    ac.write(reference, folder / "ref.fits")
    return folder


def chain(folder: Path, *, find: str = "each") -> QTable:
    cat = ac.read(folder / "cat.vot")
    cat = ac.cluster(cat, "gmm", features=FEATURES, n_components=3, prefix="a_", random_state=1)
    cat = ac.assign(cat, cat, prefix="b_")
    return ac.crossmatch(cat, folder / "ref.fits", radius=2 * u.arcsec, find=find)


def assert_same_columns(a: QTable, b: QTable) -> None:
    assert a.colnames == b.colnames
    for name in a.colnames:
        assert content_hash(a, [name]) == content_hash(b, [name]), name
        assert str(getattr(a[name], "unit", None)) == str(getattr(b[name], "unit", None)), name
        assert (a[name].info.meta or {}).get("ucd") == (b[name].info.meta or {}).get("ucd"), name
        assert a[name].info.description == b[name].info.description, name


# ---------------------------------------------------------------- parameters


RESERVED = ["float", "quantity", "unit", "array", "type", "value", "unrecorded"]
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.floats().map(lambda x: x * u.mas / u.yr),
    hnp.arrays("f8", hnp.array_shapes(max_dims=2, max_side=3)).map(lambda x: x * u.Jy),
    hnp.arrays(st.sampled_from(["f8", "i8", "?"]), hnp.array_shapes(max_dims=3, max_side=3)),
)
keys = st.one_of(st.sampled_from(RESERVED), st.text(max_size=4))
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def same(a: object, b: object) -> bool:
    if isinstance(a, u.Quantity):
        return isinstance(b, u.Quantity) and a.unit == b.unit and same(a.value, b.value)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and a != a:
        return isinstance(b, float) and b != b
    return type(a) is type(b) and a == b


def through_json(value: object) -> object:
    return decode(json.loads(to_json([{"p": encode(value)}]))[0]["p"])


@settings(deadline=None, max_examples=150)
@given(values)
def test_any_parameter_comes_back(value):
    assert same(value, through_json(value))


@pytest.mark.parametrize(
    ("value", "back"),
    [
        ((1, (2.5, None)), [1, [2.5, None]]),
        (range(3), [0, 1, 2]),
        (np.int32(4), 4),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("s"), "s"),
        (Path("a") / "b.vot", os.path.join("a", "b.vot")),  # noqa: PTH118
        (u.km / u.s, u.km / u.s),
        (3 * u.dimensionless_unscaled, u.Quantity(3.0)),
        (np.array(["a", "bc"]), np.array(["a", "bc"])),
        (float("-inf"), float("-inf")),
    ],
)
def test_parameters_of_other_kinds(value, back):
    assert same(back, through_json(value)) or through_json(value) == back


def test_signed_zero_and_exact_floats():
    assert np.signbit(through_json(-0.0))
    assert through_json(0.1 + 0.2) == 0.1 + 0.2


@pytest.mark.parametrize("value", [len, {1, 2}, b"raw", 1j, [object()], {"deep": [{"f": print}]}, Table()])
def test_what_cannot_be_kept_is_refused_when_it_is_needed(value):
    plain = encode(value)
    json.dumps(plain, allow_nan=False)
    with pytest.raises(InputError, match="could not keep a parameter of type"):
        decode(plain)


def test_a_magnitude_comes_back_or_says_that_it_cannot():
    # A Quantity with a function unit is no plain Quantity: it must not die in a traceback.
    plain = encode(u.Magnitude(20.0 * u.ABmag))
    with contextlib.suppress(InputError):
        assert decode(plain) == 20.0 * u.ABmag


def test_a_kind_of_ones_own(monkeypatch):
    from astro_cluster.provenance import codec

    monkeypatch.setattr(codec, "_CODECS", dict(codec._CODECS))
    register_codec("complex", complex, lambda z: [z.real, z.imag], lambda v: complex(*v))
    assert through_json({"z": [1 + 2j]}) == {"z": [1 + 2j]}


@pytest.mark.parametrize("meta", [{"unit": "mJy"}, {"type": "band", "value": 3}, {"float": "high"}])
@pytest.mark.parametrize("ending", RICH)
def test_meta_that_looks_like_a_coded_value_survives_files(tmp_path, ending, meta):
    table = QTable({"x": [1.0]}, meta={"filter": meta})
    assert ac.read(ac.write(table, tmp_path / f"t.{ending}")).meta["filter"] == meta


@pytest.mark.parametrize("names", [["unit"], ["type", "value"]])
def test_columns_named_as_the_words_of_the_code(names):
    rng = np.random.default_rng(0)
    table = QTable({name: rng.uniform(1, 9, 20) for name in names})
    features = ac.Features(names, scale=dict.fromkeys(names, "log"))
    out = ac.cluster(table, "kmeans", n_clusters=2, features=features, random_state=0)
    assert_same_columns(rerun(out), out)


# ---------------------------------------------------------------- estimators


@pytest.mark.parametrize("estimator", [KMeans(3, random_state=4), DBSCAN(eps=0.25), ac.GaussianMixture(2)])
def test_estimators_come_back_with_their_parameters(estimator):
    back = through_json(estimator)
    assert type(back) is type(estimator)
    assert back.get_params() == estimator.get_params()


def test_both_mixtures_are_told_apart():
    from sklearn.mixture import GaussianMixture as Sklearn

    assert type(through_json(Sklearn(2))) is Sklearn
    assert type(through_json(ac.GaussianMixture(2))) is ac.GaussianMixture


@pytest.mark.parametrize(
    "name",
    ["os.system", "builtins.eval", "LinearRegression", "sklearn.svm.SVC", "PCA", "Pipeline", "__class__", ""],
)
def test_only_known_clusterers_are_made(name):
    with pytest.raises(InputError, match="there is no method"):
        decode({"type": "estimator", "value": {"name": name, "params": {}}})


def test_every_known_class_is_a_clusterer_of_ours_or_scikit_learns():
    for cls in estimators.known_estimators().values():
        assert cls.__module__.startswith(("sklearn.cluster.", "sklearn.mixture.", "astro_cluster.mixture."))


def test_another_class_of_a_known_name_is_not_taken_for_it():
    class KMeans(ClusterMixin, BaseEstimator):
        def fit(self, X, y=None):
            self.labels_ = np.zeros(len(X), dtype=int)
            return self

    with pytest.raises(InputError):
        decode(encode(KMeans()))


@pytest.mark.parametrize(
    "plain",
    [
        {"type": "os.system", "value": "true"},
        {"type": ["estimator"], "value": 1},
        {"type": {"a": 1}, "value": 1},
        {"type": None, "value": 1},
        {"type": "estimator", "value": "os.system"},
        {"type": "estimator", "value": {"name": 5, "params": {}}},
        {"type": "estimator", "value": {"name": "kmeans"}},
        {"type": "estimator", "value": {"name": "kmeans", "params": {"nope": 1}}},
        {"type": "estimator", "value": {"name": "kmeans", "params": ["n_clusters"]}},
        {"type": "estimator", "value": {"name": "kmeans", "params": 3}},
        {"type": "features", "value": {"wibble": 1}},
        {"type": "features", "value": [1, 2]},
        {"type": "features", "value": {"columns": 3}},
        {"type": "features", "value": {"columns": ["x"], "scale": 3}},
        {"type": "features", "value": {"columns": ["x"], "units": 3}},
        {"float": "abc"},
        {"float": [1]},
        {"unit": "wibble"},
        {"quantity": "a", "unit": "s"},
        {"quantity": 1.0, "unit": "wibble"},
        {"array": [[1], [1, 2]]},
    ],
    ids=str,
)
def test_a_damaged_record_is_an_input_error(plain):
    with pytest.raises(InputError):
        decode(plain)


# ---------------------------------------------------------------- nothing is run that a file names


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A module that must never be imported, and an os.system that must never be called."""
    (tmp_path / "ac_trap_module.py").write_text("raise SystemExit('imported')\ndef run(*a, **k): ...\n")
    monkeypatch.syspath_prepend(tmp_path)

    def called(*args: object) -> None:
        raise SystemExit(f"called {args}")

    monkeypatch.setattr(os, "system", called)
    yield
    assert "ac_trap_module" not in sys.modules


@pytest.mark.usefixtures("trap")
@pytest.mark.parametrize(
    "function", ["ac_trap_module", "ac_trap_module:run", "ac_trap_module.run", "os.system"]
)
@pytest.mark.parametrize("ending", ["vot", "ecsv"])
def test_a_step_named_in_a_file_is_not_imported(tmp_path, sky, function, ending):
    table = ac.cluster(ac.read(sky / "cat.vot"), "kmeans", features=FEATURES, n_clusters=2)
    table.meta[META_KEY][-1]["function"] = function
    path = ac.write(table, tmp_path / f"t.{ending}")
    with pytest.raises(InputError, match="which this installation does not have"):
        rerun(path)


@pytest.mark.usefixtures("trap")
@pytest.mark.parametrize(
    "parameter",
    [
        {"type": "estimator", "value": {"name": "ac_trap_module.run", "params": {}}},
        {"type": "ac_trap_module:run", "value": {}},
        {"type": "estimator", "value": {"name": "kmeans", "params": {"__import__('os').system('true')": 1}}},
    ],
)
def test_a_parameter_of_a_file_is_not_run(tmp_path, sky, parameter):
    table = ac.cluster(ac.read(sky / "cat.vot"), "kmeans", features=FEATURES, n_clusters=2)
    table.meta[META_KEY][-1]["parameters"]["estimator"] = parameter
    path = ac.write(table, tmp_path / "t.vot")
    with pytest.raises(InputError):
        rerun(path)


@pytest.mark.usefixtures("trap")
@pytest.mark.parametrize(
    "layout",
    [
        "pos: !!python/object/apply:os.system ['true']",
        "pos: !!python/name:ac_trap_module.run",
        "pos: {__class__: ac_trap_module.run, ra: !astropy.table.SerializedColumn {name: pos.ra}}",
    ],
)
def test_the_layout_of_mixins_makes_nothing_but_astropys_own(layout):
    plain, _, _ = split_mixins(QTable({"pos": SkyCoord([1.0], [2.0], unit="deg")}))
    with pytest.raises(Exception, match=r"tag|constructor|unsupported class"):
        join_mixins(plain, layout)


# ---------------------------------------------------------------- the hash of a table


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays("f4", 4, elements=st.floats(width=32)),
    hnp.arrays("i2", 4),
    hnp.arrays("?", 4),
)
def test_hash_does_not_see_width_order_or_how_a_float_is_missing(floats, ints, mask):
    a = QTable({"f": MaskedColumn(floats, mask=mask), "i": ints})
    b = QTable({"i": ints.astype(">i8"), "f": np.where(mask, np.nan, floats).astype(">f8")})
    assert content_hash(a) == content_hash(b)


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays(st.sampled_from(["f8", "i8", "?"]), 4)
    | hnp.arrays(
        "U3", 4, elements=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3)
    ),
    st.integers(0, 3),
)
def test_hash_sees_a_changed_value(values, row):
    changed = values.copy()
    changed[row] = {"f": 1.5, "i": 7, "b": not values[row], "U": "xyz"}[values.dtype.kind]
    if np.array_equal(values, changed):
        return
    assert content_hash(QTable({"x": values})) != content_hash(QTable({"x": changed}))


def test_hash_sees_names_units_masks_and_places():
    base = content_hash(QTable({"x": [1, 2] * u.m}))
    assert base != content_hash(QTable({"y": [1, 2] * u.m}))
    assert base != content_hash(QTable({"x": [1, 2] * u.km}))
    assert base != content_hash(QTable({"x": [1.0, 2.0]}))
    assert base != content_hash(QTable({"x": [2, 1] * u.m}))
    zero, masked = Column([1, 0]), MaskedColumn([1, 0], mask=[False, True])
    assert content_hash(QTable({"x": zero})) != content_hash(QTable({"x": masked}))
    names = ["ab", "c"], ["a", "bc"]
    assert content_hash(QTable({"x": names[0]})) != content_hash(QTable({"x": names[1]}))
    swapped = QTable({"x": [1.0], "y": [2.0]}), QTable({"x": [2.0], "y": [1.0]})
    assert content_hash(swapped[0]) != content_hash(swapped[1])


def test_hash_sees_the_shape():
    assert content_hash(QTable({"x": np.zeros((2, 3))})) != content_hash(QTable({"x": np.zeros((3, 2))}))


def test_hash_tells_empty_texts_from_zeros():
    assert content_hash(QTable({"x": ["", ""]})) != content_hash(QTable({"x": [0.0, 0.0]}))


def test_hash_does_not_see_how_a_unit_is_spelt():
    spellings = [
        QTable({"x": [1.0] * u.mas / u.yr}),
        QTable(Table({"x": Column([1.0], unit="mas yr-1")})),
        QTable(Table({"x": Column([1.0], unit=u.Unit("mas/yr", format="cds"))})),
    ]
    assert len({content_hash(t) for t in spellings}) == 1
    assert content_hash(QTable({"x": [1.0] * u.W})) == content_hash(QTable({"x": [1.0] * u.J / u.s}))


def test_hash_of_some_columns_in_any_order():
    t = QTable({"x": [1.0], "y": [2.0], "z": [3.0]})
    assert content_hash(t, ["x", "y"]) == content_hash(t["y", "x"])
    assert content_hash(t, ["x"]) != content_hash(t, ["x", "y"])


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (SkyCoord([10.0], [20.0], unit="deg"), SkyCoord([10.0], [20.0], unit="deg", frame="galactic")),
        (
            SkyCoord([10.0], [20.0], unit="deg", frame="fk5"),
            SkyCoord([10.0], [20.0], unit="deg", frame="fk5", equinox="J1975"),
        ),
        (Time([5e4], format="mjd", scale="utc"), Time([5e4], format="mjd", scale="tt")),
    ],
)
def test_hash_sees_the_frame_and_the_time_scale(a, b):
    assert content_hash(QTable({"c": a})) != content_hash(QTable({"c": b}))


@pytest.mark.parametrize("ending", RICH)
def test_hash_survives_files(tmp_path, ending):
    cat = ac.simulate.chandra(30, random_state=5)
    cat["pos"] = SkyCoord(cat["ra"], cat["dec"])
    assert content_hash(ac.read(ac.write(cat, tmp_path / f"t.{ending}"))) == content_hash(cat)


# ---------------------------------------------------------------- the record


def test_fields_of_a_record(sky):
    cat = ac.read(sky / "cat.vot")
    out = ac.cluster(cat, "gmm", features=FEATURES, n_components=3, prefix="g_", random_state=7)
    first, record = records(out)
    assert first["function"] == "read"
    assert first["starts"] is True
    assert first["parameters"]["source"] == os.fspath(sky / "cat.vot")
    assert record["function"] == "cluster"
    assert "table" not in record["parameters"]
    assert record["parameters"]["prefix"] == "g_"
    assert record["parameters"]["estimator"]["value"]["params"]["n_components"] == 3
    assert record["inputs"] == dict.fromkeys(FEATURES, "")
    assert record["input_hash"] == content_hash(cat, FEATURES)
    assert (record["rows_in"], record["rows_out"]) == (80, 80)
    assert record["columns_added"] == [n for n in out.colnames if n not in cat.colnames]
    assert record["columns_replaced"] == []
    assert record["seed"] == 7
    assert {"astro_cluster", "python", "numpy", "astropy", "scikit-learn"} <= record["versions"].keys()
    assert record["date"].endswith("Z")
    assert record["recipe"]["missing"] == "marginalize"
    assert len(record["model"]["weights"]) == 3
    assert "starts" not in record
    json.dumps(records(out), allow_nan=False)
    assert len(records(cat)) == 1  # the given table is untouched


def test_units_of_the_inputs_are_kept(sky):
    out = ac.cluster(ac.read(sky / "cat.vot"), "kmeans", n_clusters=2, features=["theta", "src_area_b"])
    assert records(out)[-1]["inputs"] == {"theta": "arcmin", "src_area_b": "arcsec2"}


def test_replaced_columns_are_named(sky):
    cat = ac.cluster(ac.read(sky / "cat.vot"), "kmeans", n_clusters=2, features=FEATURES, random_state=0)
    again = ac.cluster(cat, "kmeans", n_clusters=3, features=FEATURES, random_state=0, overwrite=True)
    assert records(again)[-1]["columns_replaced"] == ["cluster"]
    assert records(again)[-1]["columns_added"] == []


@pytest.mark.usefixtures("own_steps")
@pytest.mark.parametrize(("unit", "replaced"), [(u.km, ["x"]), (u.m, []), (u.Unit("1000 mm"), [])])
def test_a_column_of_the_same_numbers_in_another_unit_is_replaced(unit, replaced):
    @step
    def told_in(table: QTable, unit: u.UnitBase) -> Step:
        out = table.copy()
        out["x"] = table["x"].value * unit
        return Step(out, table, inputs=["x"])

    out = told_in(QTable({"x": [1.0, 2.0] * u.m}), unit)
    assert records(out)[-1]["columns_replaced"] == replaced


@pytest.mark.usefixtures("own_steps")
def test_variable_keywords_defaults_and_omissions():
    @step
    def scaled(table, column, *, factor=2.0, secret="s", **more):
        out = table.copy()
        out["scaled"] = factor * table[column]
        return Step(
            out,
            table,
            inputs=[column],
            seed=np.int64(3),
            facts={"n": np.int32(1)},
            parameters={"secret": OMIT},
        )

    out = scaled(QTable({"x": [1.0]}), "x", extra=np.inf)
    (record,) = records(out)
    assert record["parameters"] == {"column": "x", "factor": 2.0, "extra": {"float": "inf"}}
    assert record["seed"] == 3
    assert record["n"] == 1
    assert rerun(out)["scaled"].tolist() == [2.0]


def test_last_record(sky):
    cat = ac.read(sky / "cat.vot")
    for prefix, seed in (("a_", 1), ("b_", 2), ("a_", 3)):
        cat = ac.cluster(
            cat, "kmeans", n_clusters=2, features=FEATURES, prefix=prefix, random_state=seed, overwrite=True
        )
    assert last_record(cat, "cluster")["seed"] == 3
    assert last_record(cat, "cluster", prefix="b_")["seed"] == 2
    assert last_record(cat, "cluster", prefix="c_") is None
    assert last_record(cat, "assign") is None
    assert records(cat)[0]["function"] == "read"


@pytest.mark.parametrize("found", ["a text", {"a": 1}, 3, None])
def test_meta_that_is_no_record(found):
    table = QTable({"x": [1]}, meta={META_KEY: found})
    assert records(table) == []
    assert last_record(table, "cluster") is None


@pytest.mark.parametrize(
    "found", [[1, 2], [{}], [{"function": "cluster"}], [{"function": ["x"], "parameters": 3}]]
)
def test_a_damaged_record_is_told_in_one_line(found):
    table = QTable({"cluster": [0, 1], "x": [1.0, 2.0]}, meta={META_KEY: found})
    with pytest.raises(InputError):
        rerun(table)


# ---------------------------------------------------------------- running again


@pytest.mark.parametrize("ending", RICH)
def test_a_file_alone_is_enough(tmp_path, sky, ending):
    out = chain(sky)
    path = ac.write(out, tmp_path / f"out.{ending}")
    again = rerun(path)
    assert_same_columns(again, out)
    assert [r["function"] for r in records(again)] == ["read", "cluster", "assign", "crossmatch"]
    assert_same_columns(rerun(path), again)


def test_a_file_that_moved_without_its_source_runs_again(tmp_path, sky):
    source = tmp_path / "cat.vot"
    source.write_bytes((sky / "cat.vot").read_bytes())
    out = ac.cluster(ac.read(source), "gmm", features=FEATURES, n_components=2)
    path = ac.write(out, tmp_path / "out.fits")
    source.unlink()
    assert_same_columns(rerun(path), out)


def test_a_seed_is_drawn_and_kept_if_none_is_given(tmp_path, sky):
    out = ac.cluster(ac.read(sky / "cat.vot"), "gmm", features=FEATURES, n_components=3)
    assert isinstance(records(out)[-1]["seed"], int)
    path = ac.write(out, tmp_path / "out.parquet")
    assert_same_columns(rerun(path), out)


def test_a_simulation_without_a_seed_is_repeatable_or_refused():
    try:
        cat = ac.simulate.chandra(20, random_state=None)
    except InputError:
        return
    seed = records(cat)[0]["seed"]
    assert isinstance(seed, int)
    assert content_hash(ac.simulate.chandra(20, random_state=seed)) == content_hash(cat)


@pytest.mark.parametrize("ending", RICH)
def test_changed_rows_go_back_to_the_source(tmp_path, sky, ending):
    out = chain(sky, find="best")
    assert len(out) < 80
    assert_same_columns(rerun(ac.write(out, tmp_path / f"out.{ending}")), out)


def test_replaced_columns_go_back_to_the_source(sky):
    cat = ac.read(sky / "cat.vot")
    for k in (2, 3):
        cat = ac.cluster(cat, "kmeans", n_clusters=k, features=FEATURES, random_state=0, overwrite=True)
    assert_same_columns(rerun(cat), cat)


def test_a_summary_runs_again(tmp_path, sky):
    table = ac.summarize(chain(sky), "a_cluster", by="main_type")
    assert_same_columns(rerun(ac.write(table, tmp_path / "types.ecsv")), table)


def test_a_changed_source_is_told(tmp_path, sky):
    (tmp_path / "cat.vot").write_bytes((sky / "cat.vot").read_bytes())
    (tmp_path / "ref.fits").write_bytes((sky / "ref.fits").read_bytes())
    path = ac.write(chain(tmp_path, find="best"), tmp_path / "out.vot")
    changed = ac.read(tmp_path / "cat.vot")
    changed["theta"][0] = 99 * u.arcmin  # no step uses it
    changed.meta.pop(META_KEY)
    ac.write(changed, tmp_path / "cat.vot", overwrite=True)
    with pytest.warns(AstroClusterWarning, match="cat.vot has changed since the record was made"):
        rerun(path)


def test_changed_inputs_are_told(sky):
    out = ac.cluster(ac.read(sky / "cat.vot"), "kmeans", features=FEATURES, n_clusters=2, random_state=0)
    out["hard_hm"][0] = 0.0
    with pytest.warns(AstroClusterWarning, match="the input columns of step 'cluster' have changed"):
        rerun(out)


def test_a_changed_reference_is_told(tmp_path, sky):
    for name in ("cat.vot", "ref.fits"):
        (tmp_path / name).write_bytes((sky / name).read_bytes())
    path = ac.write(chain(tmp_path), tmp_path / "out.vot")
    reference = ac.read(tmp_path / "ref.fits")
    ac.write(reference[:-3], tmp_path / "ref.fits", overwrite=True)
    with pytest.warns(AstroClusterWarning, match="changed"):
        rerun(path)


def test_a_missing_source(tmp_path, sky):
    for name in ("cat.vot", "ref.fits"):
        (tmp_path / name).write_bytes((sky / name).read_bytes())
    path = ac.write(chain(tmp_path, find="best"), tmp_path / "out.vot")
    (tmp_path / "cat.vot").unlink()
    with pytest.raises(InputError, match=r"there is no file .*cat\.vot"):
        rerun(path)


def test_a_missing_reference(tmp_path, sky):
    for name in ("cat.vot", "ref.fits"):
        (tmp_path / name).write_bytes((sky / name).read_bytes())
    path = ac.write(chain(tmp_path), tmp_path / "out.vot")
    (tmp_path / "ref.fits").unlink()
    with pytest.raises(InputError, match=r"ref\.fits' is neither a file"):
        rerun(path)


def test_a_lost_input_column(sky):
    out = chain(sky)
    out.remove_column("hard_hs")
    with pytest.raises(InputError, match="step 'cluster' used the columns hard_hs, which are not in the"):
        rerun(out)


def test_no_record(tmp_path, sky):
    with pytest.warns(AstroClusterWarning, match="the record"):
        path = ac.write(chain(sky), tmp_path / "out.csv")
    with pytest.raises(InputError, match=r"no record of astro_cluster|nothing to run again"):
        rerun(path)
    with pytest.raises(InputError, match="no record of astro_cluster"):
        rerun(QTable({"x": [1]}))
    with pytest.raises(InputError, match="nothing to run again"):
        rerun(ac.read(sky / "cat.vot"))


def test_a_start_in_memory_cannot_be_read_again(sky):
    cat = ac.read(sky / "cat.vot")
    cat.meta.clear()
    cat = ac.cluster(cat, "kmeans", features=FEATURES, n_clusters=2, random_state=0)
    assert_same_columns(rerun(cat), cat)  # the rows are those of the table itself
    cat = ac.crossmatch(cat, sky / "ref.fits", radius=2 * u.arcsec, find="best")
    with pytest.raises(InputError, match="was not read from a file"):
        rerun(cat)


@pytest.mark.parametrize("name", ["save", "checkpoint", "memmap"])
def test_a_record_does_not_choose_what_is_written(tmp_path, name):
    cat = ac.simulate.chandra(80, random_state=3)
    out = ac.cluster(cat, "kmeans", n_clusters=2, features=FEATURES, random_state=0)
    out.meta[META_KEY][-1]["parameters"][name] = str(tmp_path / "new.safetensors")
    with pytest.raises(InputError, match=f"names a file to write .{name}."):
        ac.rerun(ac.write(out, tmp_path / "t.vot"))
    assert not (tmp_path / "new.safetensors").exists()


def test_parameters_that_cannot_be_kept(sky):
    cat = ac.read(sky / "cat.vot")
    out = ac.cluster(cat, DBSCAN(metric=lambda a, b: abs(a - b).sum()), features=FEATURES)
    with pytest.raises(InputError, match="could not keep a parameter of type function"):
        rerun(out)
    out = ac.crossmatch(cat, ac.read(sky / "ref.fits"), radius=2 * u.arcsec)
    with pytest.raises(InputError, match="could not keep a parameter of type QTable"):
        rerun(out)


@pytest.mark.usefixtures("own_steps")
def test_a_remote_step_is_asked_again_and_says_so(tmp_path):
    @step
    def ask(table, question):
        out = QTable(table, copy=True)
        out["answer"] = np.arange(len(table))
        return Step(
            out, table, inputs=["x"], facts={"service": {"name": "the oracle", "url": "https://o.example"}}
        )

    path = ac.write(ask(QTable({"x": [1.0, 2.0]}), "why"), tmp_path / "t.vot")
    with pytest.warns(AstroClusterWarning, match="'ask' asks the oracle again .*answers may have changed"):
        assert rerun(path)["answer"].tolist() == [0, 1]


def test_a_step_of_an_extension_that_is_not_here(sky):
    out = ac.cluster(ac.read(sky / "cat.vot"), "kmeans", features=FEATURES, n_clusters=2)
    out.meta[META_KEY][-1]["function"] = "colour_by_magic"
    with pytest.raises(
        InputError, match="names the step 'colour_by_magic', which this installation does not"
    ):
        rerun(out)


def test_the_given_table_stays(sky):
    out = chain(sky)
    before, history = content_hash(out), json.dumps(records(out))
    rerun(out)
    assert content_hash(out) == before
    assert json.dumps(records(out)) == history


def test_several_files_run_again(tmp_path, sky):
    cat = ac.read(sky / "cat.vot")
    ac.write(cat[:30], tmp_path / "p1.vot")
    ac.write(cat[30:], tmp_path / "p2.vot")
    out = ac.read(str(tmp_path / "p?.vot"))
    out = ac.crossmatch(out, sky / "ref.fits", radius=2 * u.arcsec, find="best")
    assert_same_columns(rerun(out), out)
