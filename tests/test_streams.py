"""A file read in chunks gives what the file read at once gives, in little memory."""

from __future__ import annotations

import gzip
import shutil
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Column, MaskedColumn, QTable, Table, vstack
from astropy.time import Time
from astropy.utils.masked import Masked

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.features import SCALES, Features, FittedFeatures
from astro_cluster.mixture.rows import Rows, RowSource
from astro_cluster.mixture.sources import CheckedSource
from astro_cluster.provenance import content_hash
from astro_cluster.streams import TableStream

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: streams are NOT tested")
pq = pytest.importorskip("pyarrow.parquet")

KINDS = ["parquet", "fits", "fits.gz"]


def catalogue(n: int = 500, seed: int = 0) -> QTable:
    """Numbers of many kinds, with holes of many kinds."""
    rng = np.random.default_rng(seed)
    t = QTable()
    t["id"] = Column(np.arange(n) + 2**62, meta={"ucd": "meta.id"})
    t["name"] = MaskedColumn([f"η {i % 13}" for i in range(n)], mask=np.arange(n) % 17 == 3)
    t["pmra"] = rng.normal(size=n) * 3 * u.mas / u.yr + 1e4 * u.mas / u.yr
    t["pmra_error"] = rng.uniform(0.1, 0.5, n) * u.mas / u.yr
    t["flux"] = Masked(rng.lognormal(size=n).astype("f4") * u.mJy, mask=rng.random(n) < 0.2)
    t["counts"] = MaskedColumn(rng.integers(0, 50, n).astype("i2"), mask=rng.random(n) < 0.2)
    t["hole"] = np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n))
    t["vector"] = rng.normal(size=(n, 2)) * u.km / u.s
    t["flag"] = rng.random(n) < 0.5
    t["weight"] = rng.integers(0, 3, n).astype(float)
    t["pos"] = SkyCoord(rng.uniform(0, 360, n), rng.uniform(-90, 90, n), unit="deg")
    t["when"] = Time(50_000.0 + np.arange(n) / 7, format="mjd")
    t["flux"].info.description, t["flux"].info.meta = "a flux", {"ucd": "phot.flux"}
    t.meta["note"] = "kept"
    return ac.read(t)


@pytest.fixture(scope="module")
def cat() -> QTable:
    return catalogue()


@pytest.fixture(scope="module", params=KINDS)
def path(request, cat, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    if request.param != "fits.gz":
        return ac.write(cat, folder / f"cat.{request.param}")
    plain = ac.write(cat, folder / "cat.fits")
    packed = folder / "cat.fits.gz"
    with plain.open("rb") as source, gzip.open(packed, "wb") as target:
        shutil.copyfileobj(source, target)
    return packed


def whole(source: RowSource) -> Rows:
    chunks = list(source.chunks())

    def joined(name: str) -> np.ndarray | None:
        parts = [getattr(chunk, name) for chunk in chunks]
        return None if parts[0] is None else np.concatenate(parts)

    return Rows(*map(joined, ("values", "noise", "weights")))


def same(one: QTable, other: QTable) -> None:
    """Two tables hold the same, whatever chunks one of them came in."""
    assert one.colnames == other.colnames
    for name in one.colnames:
        assert content_hash(one, [name]) == content_hash(other, [name]), name
        assert getattr(one[name], "unit", None) == getattr(other[name], "unit", None), name
        assert one[name].info.description == other[name].info.description, name
        assert (one[name].info.meta or {}) == (other[name].info.meta or {}), name
        if getattr(one[name], "dtype", None) is not None and one[name].dtype.kind != "U":
            assert one[name].dtype == other[name].dtype, name


# ---------------------------------------------------------------- features

NAMES = ["pmra", "flux", "counts", "hole", "vector", "flag"]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("missing", ["marginalize", "drop", "median"])
@pytest.mark.parametrize("chunk_rows", [64, 10_000])
def test_features_are_those_of_the_table(path, scale, missing, chunk_rows):
    scales = {"pmra": scale, "flux": scale, "counts": "none" if scale == "log" else scale}
    wanted = Features(NAMES, scale=scales, missing=missing, units={"flux": "Jy"})
    recipe, matrix = wanted.fit_transform(ac.read(path))
    stream = ac.stream(path, wanted, chunk_rows=chunk_rows)
    rows = whole(stream)
    assert (len(stream), stream.n_features, stream.names) == (500, 7, matrix.names)
    assert stream.features.missing == missing
    np.testing.assert_allclose(rows.values, matrix.used()[0], rtol=1e-12, atol=1e-12)
    assert rows.noise is None
    assert rows.weights is None
    for mine, theirs in zip(stream.features.scalings, recipe.scalings, strict=True):
        assert mine.unit == theirs.unit
        assert (mine.offset, mine.shift, mine.factor) == pytest.approx(
            (theirs.offset, theirs.shift, theirs.factor), rel=1e-12
        )
        if missing == "median":
            assert mine.fill == pytest.approx(theirs.fill)


def test_the_size_of_chunks_changes_nothing(path):
    wanted = Features(NAMES, scale={"pmra": "standard", "flux": "lognorm"})
    first = ac.stream(path, wanted)
    for chunk_rows in (33, 499, 500, np.int64(501)):
        other = ac.stream(path, wanted, chunk_rows=chunk_rows)
        assert other.features == first.features
        assert {len(rows) for rows in other.chunks()} <= {chunk_rows, 500 % chunk_rows, 500}
        np.testing.assert_array_equal(whole(other).values, whole(first).values)


def test_scales_of_many_rows_do_not_depend_on_chunks(tmp_path, monkeypatch):
    x = np.random.default_rng(0).normal(size=5000) + 1e8
    path = ac.write(QTable({"x": x}), tmp_path / "x.parquet")
    monkeypatch.setattr("astro_cluster.streams._LEARNING_ROWS", 300)
    scaling = ac.stream(path, Features("x", scale="standard")).features.scalings[0]
    assert scaling.shift == pytest.approx(x.mean(), rel=1e-15)
    assert scaling.factor == pytest.approx(x.std(), rel=1e-9)


def test_errors_and_weights(path, cat):
    table = ac.read(path)
    wanted = Features(["pmra", "flux"], scale={"flux": "lognorm"}, errors={"pmra": "pmra_error"})
    weights = np.asarray(cat["weight"])
    recipe, matrix = wanted.fit_transform(table, rows=weights > 0)
    rows = whole(ac.stream(path, Features(["pmra", "flux"], scale={"flux": "lognorm"}), weights="weight",
                           errors={"pmra": "pmra_error"}, chunk_rows=99))  # fmt: skip
    np.testing.assert_allclose(rows.values, matrix.values, rtol=1e-12)
    np.testing.assert_allclose(rows.noise, matrix.errors**2, rtol=1e-12)
    np.testing.assert_array_equal(rows.weights, weights)
    CheckedSource(ac.stream(path, wanted, weights="weight")).check()
    auto = ac.stream(path, "pmra", errors="auto")
    assert auto.features.errors.columns == ["pmra_error"]
    assert recipe.errors.columns == ["pmra_error"]


def test_rows_of_unknown_weight_are_left_out(tmp_path):
    weights = MaskedColumn([1.0, 2.0, 3.0], mask=[False, True, False])
    path = ac.write(QTable({"x": [1.0, 2.0, 5.0], "w": weights}), tmp_path / "w.parquet")
    rows = whole(ac.stream(path, Features("x", scale="minmax"), weights="w"))
    np.testing.assert_array_equal(rows.values, [[0.0], [1.0]])
    np.testing.assert_array_equal(rows.weights, [1.0, 3.0])


def test_fitted_features_are_used_as_they_are(path, cat):
    fitted = Features(["pmra"], scale="minmax").fit(cat[:50])
    stream = ac.stream(path, fitted)
    assert stream.features is fitted
    np.testing.assert_array_equal(whole(stream).values, fitted.transform(ac.read(path)).values)
    with pytest.raises(InputError, match="have their errors already"):
        ac.stream(path, fitted, errors="auto")


@pytest.mark.parametrize("kind", ["parquet", "fits"])
def test_a_large_file_is_read_in_little_memory(tmp_path, kind):
    n = 450_000
    rng = np.random.default_rng(0)
    columns = {f"x{j}": rng.normal(size=n) * u.mas for j in range(10)}
    path = ac.write(QTable({**columns, "rest": rng.random((n, 4))}), tmp_path / f"large.{kind}")
    del columns
    assert path.stat().st_size > 50e6
    tracemalloc.start()
    try:
        stream = ac.stream(path, Features("x*", scale="standard"), chunk_rows=10_000)
        learned = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        before = pa.total_allocated_bytes()
        assert sum(len(rows) for rows in stream.chunks()) == n
        passed = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert pa.total_allocated_bytes() - before < 1e6
    assert passed < 10e6
    assert learned < 110e6  # of chunks of their own, whatever the size of the file


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize("chunk_rows", [64, 500])
def test_tables_are_those_of_the_file(path, chunk_rows):
    table, chunks = ac.read(path), list(ac.stream(path, "pmra", chunk_rows=chunk_rows).tables())
    same(vstack(chunks, metadata_conflicts="silent"), table)
    assert all(chunk.meta == table.meta for chunk in chunks)
    assert all(ac.records(chunk) == ac.records(table) for chunk in chunks)


def test_tables_of_some_columns(path):
    table = ac.read(path)
    names = ["flux", "counts", "name"]
    chunks = list(ac.stream(path, "pmra", chunk_rows=64).tables(names))
    same(vstack(chunks, metadata_conflicts="silent"), table[names])
    with pytest.raises(InputError, match="there is no column 'flox'; did you mean 'flux'"):
        next(ac.stream(path, "pmra").tables(["flox"]))


def test_chunks_can_be_assigned(path):
    table = ac.read(path)
    model = ac.cluster(
        table, "kmeans", features=["pmra", "hole"], n_clusters=3, missing="median", random_state=0
    )
    chunks = [ac.assign(chunk, model) for chunk in ac.stream(path, "pmra", chunk_rows=100).tables()]
    np.testing.assert_array_equal(np.concatenate([chunk["cluster"] for chunk in chunks]), model["cluster"])
    assert [record["function"] for record in ac.records(chunks[0])] == ["read", "assign"]


# ---------------------------------------------------------------- FITS


def raw_fits(path: Path, n: int = 50) -> Path:
    """A table as others write it: big-endian, scaled, unsigned, with nulls."""
    i = np.arange(n)
    columns = [
        fits.Column("scaled", "I", null=-999, unit="mag", array=np.where(i % 7 == 3, -999, i).astype("i2")),
        fits.Column("unsigned", "I", bzero=2**15, array=(i + 60_000).astype("u2")),
        fits.Column("stored", "I", bzero=2**15, null=-(2**15), array=(i % 10).astype("u2")),
        fits.Column("null", "J", null=-1, array=np.where(i % 5 == 4, -1, i)),
        fits.Column("single", "E", array=np.where(i == 2, np.nan, i)),
        fits.Column("three", "3D", unit="km/s", array=np.arange(3.0 * n).reshape(n, 3)),
        fits.Column("logical", "L", array=i % 2 == 0),
        fits.Column("text", "8A", array=np.where(i == 1, "", np.char.add("ab", (i % 9).astype(str)))),
    ]
    hdu = fits.BinTableHDU.from_columns(columns)
    hdu.header["OBJECT"] = "M 45"
    hdu.header["TUCD4"] = "meta.number"
    hdu.writeto(path)
    # The scale goes into the file's header alone, over a card that says nothing: with it, astropy
    # would scale the numbers back.
    data, card = path.read_bytes(), fits.Card("OBJECT", "M 45").image.encode()
    assert data.count(card) == 1
    path.write_bytes(data.replace(card, fits.Card("TSCAL1", 0.5).image.encode()))
    return path


def test_null_scaled_and_unsigned_columns(tmp_path):
    path = raw_fits(tmp_path / "raw.fits")
    table = ac.read(path)
    i = np.arange(50)
    np.testing.assert_array_equal(table["scaled"].mask, i % 7 == 3)
    np.testing.assert_array_equal(table["scaled"].unmasked.value[i % 7 != 3], 0.5 * i[i % 7 != 3])
    np.testing.assert_array_equal(table["stored"].mask, i % 10 == 0)
    assert table["unsigned"].dtype == table["stored"].dtype == np.uint16
    stream = ac.stream(path, ["scaled", "unsigned", "null", "single", "three", "logical"], chunk_rows=8)
    rows = whole(stream).values
    np.testing.assert_array_equal(rows[:, 0], np.where(i % 7 == 3, np.nan, 0.5 * i))
    np.testing.assert_array_equal(rows[:, 1], i + 60_000)
    np.testing.assert_array_equal(rows[:, 2], np.where(i % 5 == 4, np.nan, i))
    np.testing.assert_array_equal(rows[:, 3], np.where(i == 2, np.nan, i))
    np.testing.assert_array_equal(rows[:, 4:7], np.arange(150.0).reshape(50, 3))
    np.testing.assert_array_equal(rows[:, 7], i % 2 == 0)
    assert stream.features.scalings[0].unit == "mag"
    same(vstack(list(stream.tables())), table)
    same(vstack(list(stream.tables(["null", "scaled"]))), table["null", "scaled"])


def test_a_chosen_hdu(tmp_path):
    path = tmp_path / "two.fits"
    hdus = [fits.PrimaryHDU(), *(fits.table_to_hdu(Table({"x": [k, k + 1.0]})) for k in (0.0, 10.0))]
    fits.HDUList(hdus).writeto(path)
    assert whole(ac.stream(path, "x")).values.tolist() == [[0.0], [1.0]]
    assert whole(ac.stream(path, "x", hdu=2)).values.tolist() == [[10.0], [11.0]]
    with pytest.raises(InputError, match=r"two.fits cannot be read"):
        ac.stream(path, "x", hdu="NO")


def test_columns_of_varying_length(tmp_path):
    varying = np.array([np.arange(k + 1.0) for k in range(4)], dtype=object)
    columns = [fits.Column("x", "D", array=np.arange(4.0)), fits.Column("v", "PD()", array=varying)]
    path = tmp_path / "varying.fits"
    fits.BinTableHDU.from_columns(columns).writeto(path)
    stream = ac.stream(path, "x")
    assert whole(stream).values.ravel().tolist() == [0.0, 1.0, 2.0, 3.0]
    assert len(next(stream.tables(["x"]))) == 4
    with pytest.raises(InputError, match=r"column 'v' of .*varying.fits has rows of varying length"):
        next(stream.tables())
    with pytest.raises(InputError, match="column 'v' is not numeric"):
        ac.stream(path, "v")


def test_a_text_table_of_fits(tmp_path):
    path = tmp_path / "text.fits"
    fits.TableHDU.from_columns([fits.Column("x", "F8.3", array=np.arange(4.0))]).writeto(path)
    with pytest.raises(InputError, match=r"text.fits is no binary table"):
        ac.stream(path, "x")


# ---------------------------------------------------------------- folders


def parts(folder: Path, cat: QTable) -> Path:
    for k, start in enumerate(range(0, 500, 125)):
        place = folder / f"Norder={k % 2}"
        place.mkdir(parents=True, exist_ok=True)
        ac.write(cat[start : start + 125], place / f"Npix={k}.parquet")
    (folder / "_metadata").write_bytes(b"")
    (folder / "_hidden.parquet").write_bytes(b"")
    shutil.copy(folder / "Norder=0" / "Npix=0.parquet", folder / "data_thumbnail.parquet")
    return folder


def test_a_folder_is_one_catalogue(cat, tmp_path):
    folder = parts(tmp_path / "hats", cat)
    wanted = Features(["pmra", "flux"], scale="minmax")
    stream = ac.stream(folder, wanted)
    assert len(stream) == 500
    order = np.concatenate([np.arange(k, k + 125) for k in (0, 250, 125, 375)])
    np.testing.assert_array_equal(whole(stream).values, wanted.fit(cat).transform(cat[order]).values)
    assert [len(table) for table in stream.tables()] == [125] * 4
    for given in (str(folder / "*" / "*.parquet"), sorted(folder.glob("*/*.parquet"))):
        np.testing.assert_array_equal(whole(ac.stream(given, wanted)).values, whole(stream).values)


def test_units_of_every_file_are_its_own(tmp_path):
    ac.write(QTable({"x": [1.0, 2.0] * u.Jy}), tmp_path / "a.parquet")
    ac.write(QTable({"x": [3000.0] * u.mJy}), tmp_path / "b.fits")
    rows = whole(ac.stream([tmp_path / "a.parquet", tmp_path / "b.fits"], "x"))
    np.testing.assert_allclose(rows.values, [[1.0], [2.0], [3.0]])
    ac.write(QTable({"x": [3.0] * u.km}), tmp_path / "c.parquet")
    with pytest.raises(InputError, match=r"c.parquet: column 'x' is in km, which cannot be converted to Jy"):
        ac.stream([tmp_path / "a.parquet", tmp_path / "c.parquet"], "x")


def test_a_warning_is_said_once(tmp_path):
    for k, unit in enumerate([u.Jy, 1, 1]):
        ac.write(QTable({"x": np.arange(k * 10.0, k * 10 + 10) * unit}), tmp_path / f"{k}.parquet")
    with pytest.warns(AstroClusterWarning, match=r"1.parquet: column 'x' has no unit and is taken in Jy"):
        stream = ac.stream(tmp_path, "x", chunk_rows=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            whole(stream)
    assert len(caught) <= 1


# ---------------------------------------------------------------- what goes wrong


def test_a_bad_value_says_file_column_and_row(tmp_path):
    x = np.arange(1000.0)
    x[777] = np.inf
    for kind in ("parquet", "fits"):
        path = ac.write(QTable({"x": x, "y": np.arange(1000.0)}), tmp_path / f"bad.{kind}")
        with pytest.raises(InputError, match=rf"bad.{kind}: column 'x' has 1 infinite values.* in row 777;"):
            ac.stream(path, "x")
        fitted = Features("x").fit(QTable({"x": [0.0, 1.0]}))
        with pytest.raises(InputError, match=rf"bad.{kind}: column 'x' .* in row 777;"):
            whole(ac.stream(path, fitted, chunk_rows=100))


def test_a_bad_weight_says_file_column_and_row(tmp_path):
    weights = np.ones(1000)
    weights[777] = -1
    path = ac.write(
        QTable({"x": np.arange(1000.0), "w": weights, "s": ["a"] * 1000}), tmp_path / "bad.parquet"
    )
    with pytest.raises(InputError, match=r"bad.parquet: column 'w' has a negative .* in row 777 \(-1\)"):
        ac.stream(path, "x", weights="w")
    with pytest.raises(InputError, match=r"bad.parquet: column 's' holds no numbers"):
        ac.stream(path, "x", weights="s")
    with pytest.raises(InputError, match=r"bad.parquet: there is no column 'v'"):
        ac.stream(path, "x", weights="v")


COLUMNS = {
    "x": np.arange(4.0),
    "one": np.ones(4),
    "sign": np.array([-1.0, 0.0, 1.0, 2.0]),
    "none": np.full(4, np.nan),
    "half": np.array([1.0, np.nan, np.nan, np.nan]),
    "text": np.array(["a", "b", "c", "d"]),
    "wide": np.zeros((4, 2, 2)),
}


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ("y", "there is no column 'y'"),
        ("y*", r"no column matches 'y\*'"),
        ("text", "column 'text' is not numeric"),
        ("wide", "column 'wide' has shape"),
        (Features("one"), "feature 'one' is constant"),
        (Features("none"), "feature 'none' has no value"),
        (Features("sign", scale="log"), "cannot be put on the scale 'log': .* the lowest -1"),
        (
            Features("sign", scale="lognorm"),
            "has negative values, the lowest -1, which 'lognorm' cannot take",
        ),
        (Features("half", scale="standard"), "its spread is zero"),
        (Features("half", scale="robust"), "its spread is zero"),
        (Features("x,half", missing="drop"), r"1 of 4 rows has all .* missing in half \(3\), x \(0\)"),
        (Features("x", scale={"z": "log"}), "a scale is given for 'z'"),
        (Features("x", units={"x": "m"}), "column 'x' has no unit, but the features ask for m"),
    ],
)
@pytest.mark.parametrize("kind", ["parquet", "fits"])
def test_features_that_cannot_be(tmp_path, features, message, kind):
    path = ac.write(QTable(COLUMNS), tmp_path / f"four.{kind}")
    with pytest.raises(InputError, match=rf"four.{kind}: .*{message}"):
        ac.stream(path, features)


def test_columns_of_types_that_are_not_read(tmp_path):
    path = tmp_path / "struct.parquet"
    pq.write_table(pa.table({"x": [1.0, 2.0], "s": [{"a": 1}, {"a": 2}]}), path)
    stream = ac.stream(path, "x")
    assert whole(stream).values.tolist() == [[1.0], [2.0]]
    with pytest.raises(InputError, match=r"struct.parquet: column 's' is not numeric"):
        ac.stream(path, "s")
    with pytest.raises(InputError, match=r"column 's' of .*struct.parquet has the Parquet type struct"):
        next(stream.tables())


def test_files_that_are_not_there_or_not_whole(tmp_path, cat):
    with pytest.raises(InputError, match=r"there is no file .*none.parquet"):
        ac.stream(tmp_path / "none.parquet", "x")
    with pytest.raises(InputError, match="no file matches the pattern"):
        ac.stream(tmp_path / "*.parquet", "x")
    with pytest.raises(InputError, match="holds no Parquet file"):
        ac.stream(tmp_path, "x")
    with pytest.raises(InputError, match="no file was given"):
        ac.stream([], "x")
    with pytest.raises(InputError, match="cannot stream a QTable"):
        ac.stream(cat, "pmra")
    empty = tmp_path / "empty.fits"
    empty.write_bytes(b"")
    with pytest.raises(InputError, match=r"empty.fits is empty"):
        ac.stream(empty, "x")
    other = ac.write(cat["pmra", "flux"], tmp_path / "cat.vot")
    with pytest.raises(
        InputError, match=r"cat.vot is of the format votable, .* ac.write\(ac.read\('cat.vot'\)"
    ):
        ac.stream(other, "pmra")
    image = tmp_path / "image.fits"
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(image)
    with pytest.raises(InputError, match=r"image.fits holds no table"):
        ac.stream(image, "pmra")
    for chunk_rows in (0, -1, 2.5, "many"):
        with pytest.raises(InputError, match=r"chunk_rows=.* is no number of rows"):
            ac.stream(other, "pmra", chunk_rows=chunk_rows)


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_truncated_file(path, tmp_path, share):
    cut = tmp_path / f"cut{''.join(path.suffixes)}"
    cut.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"cut\..* cut short"):
        whole(ac.stream(cut, "pmra"))


def test_a_file_that_is_cut_short_later(path, tmp_path):
    cut = tmp_path / f"cut{''.join(path.suffixes)}"
    shutil.copy(path, cut)
    stream = ac.stream(cut, "pmra", chunk_rows=10)
    cut.write_bytes(path.read_bytes()[: int(0.2 * path.stat().st_size)])
    with pytest.raises(InputError, match=r"cut\..* cannot be read"):
        whole(stream)


def test_damaged_pages(tmp_path):
    path = ac.write(QTable({"x": np.random.default_rng(0).normal(size=10_000)}), tmp_path / "damaged.parquet")
    data = bytearray(path.read_bytes())
    data[4:400] = b"\xff" * 396
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"damaged.parquet cannot be read"):
        ac.stream(path, "x")


@pytest.mark.parametrize("kind", ["parquet", "fits"])
def test_a_file_without_rows(tmp_path, kind):
    path = ac.write(QTable({"x": np.zeros(0)}), tmp_path / f"none.{kind}")
    with pytest.raises(InputError, match=rf"none.{kind}: there are no rows"):
        ac.stream(path, "x")


def test_a_file_without_rows_among_others(tmp_path):
    ac.write(QTable({"x": np.zeros(0)}), tmp_path / "a.parquet")
    ac.write(QTable({"x": [1.0, 2.0]}), tmp_path / "b.parquet")
    assert whole(ac.stream(tmp_path, "x")).values.tolist() == [[1.0], [2.0]]


# ---------------------------------------------------------------- mixtures


@pytest.mark.filterwarnings("ignore:.*did not converge")
@pytest.mark.parametrize("missing", ["marginalize", "drop"])
@pytest.mark.parametrize("errors", [None, {"pmra": "pmra_error"}])
def test_a_mixture_of_the_stream_is_that_of_the_table(path, tmp_path, missing, errors):
    wanted = Features(["pmra", "flux", "vector"], scale="standard", missing=missing, errors=errors)
    start = {"weights_init": [0.5, 0.5], "means_init": [[-1.0] * 4, [1.0] * 4]}
    start["precisions_init"] = np.tile(np.eye(4), (2, 1, 1))
    settings = {"n_components": 2, "random_state": 0, "max_iter": 8, **start}
    table = ac.cluster(ac.read(path), "gmm", features=wanted, weights="weight", **settings)
    for chunk_rows in (100, 10_000):
        stream = ac.stream(path, wanted, weights="weight", chunk_rows=chunk_rows)
        mixture = ac.GaussianMixture(**settings).fit(stream)
        model, kept = stream.model_table(mixture), ac.model_table(table)
        for name in ("weight", "mean", "covariance"):
            np.testing.assert_allclose(model[name], kept[name], rtol=1e-6, atol=1e-9)
    new = ac.read(ac.assign_file(path, model, tmp_path / "new.parquet", chunk_rows=99))
    np.testing.assert_array_equal(new["cluster"], table["cluster"])
    np.testing.assert_array_equal(np.ma.getmaskarray(new["cluster"]), np.ma.getmaskarray(table["cluster"]))


# ---------------------------------------------------------------- memberships


@pytest.fixture(scope="module")
def model(cat) -> QTable:
    return ac.cluster(cat[:300], "kmeans", features=Features(["pmra", "hole", "flux"], scale="standard"),
                      missing="drop", n_clusters=3, random_state=0)  # fmt: skip


@pytest.mark.parametrize("chunk_rows", [33, 10_000])
def test_the_new_file_is_that_of_assign(path, model, tmp_path, chunk_rows):
    out = ac.assign_file(path, model, tmp_path / "out.parquet", chunk_rows=chunk_rows)
    assert out == tmp_path / "out.parquet"
    new, wanted = ac.read(out), ac.assign(ac.read(path), model)
    same(new, wanted)
    np.testing.assert_array_equal(new["cluster"].mask, wanted["cluster"].mask)
    assert new.meta["note"] == "kept"
    mine, theirs = ac.records(new), ac.records(wanted)
    assert mine[:-1] == theirs[:-1]
    changed = {key for key in mine[-1] if mine[-1][key] != theirs[-1][key]}
    assert changed <= {"input_hash", "date", "versions"}
    assert mine[-1]["rows_out"] == 500
    assert list(tmp_path.iterdir()) == [out]


def test_the_new_file_can_be_run_again(path, model, tmp_path):
    out = ac.assign_file(path, model, tmp_path / "out.parquet")
    again = ac.rerun(out)
    np.testing.assert_array_equal(np.asarray(again["cluster"]), np.asarray(ac.read(out)["cluster"]))
    same(ac.assign(ac.read(path), out), ac.assign(ac.read(path), model))  # it is a model, too


def test_columns_are_replaced_on_request_only(path, model, tmp_path):
    first = ac.assign_file(path, model, tmp_path / "first.parquet")
    with pytest.raises(InputError, match=r"first.parquet: the table already has the column cluster"):
        ac.assign_file(first, model, tmp_path / "second.parquet")
    assert list(tmp_path.iterdir()) == [first]
    second = ac.assign_file(first, model, tmp_path / "second.parquet", overwrite_columns=True)
    new, wanted = ac.read(second), ac.assign(ac.read(first), model, overwrite=True)
    same(new, wanted)
    assert ac.records(new)[-1]["columns_replaced"] == ["cluster"]
    assert ac.records(new)[-1]["columns_added"] == []
    beside = ac.read(ac.assign_file(first, model, tmp_path / "third.parquet", prefix="b_"))
    assert beside.colnames[-2:] == ["cluster", "b_cluster"]


def test_the_file_itself_may_be_replaced(path, model, tmp_path):
    copy = tmp_path / f"copy{''.join(path.suffixes)}"
    shutil.copy(path, copy)
    if copy.suffix != ".parquet":
        return
    with pytest.raises(InputError, match="exists already"):
        ac.assign_file(copy, model, copy)
    assert "cluster" in ac.read(ac.assign_file(copy, model, copy, overwrite=True)).colnames


def test_a_mixture_gives_its_columns(path, cat, tmp_path):
    model = ac.cluster(cat, "gmm", features=["pmra", "hole"], n_components=2, random_state=0)
    new = ac.read(ac.assign_file(path, model, tmp_path / "out.parquet", chunk_rows=64))
    wanted = ac.assign(ac.read(path), model)
    assert new.colnames == wanted.colnames
    for name in ("cluster", "prob_0", "prob_1", "prob_max", "log_density", "outlier"):
        np.testing.assert_allclose(new[name], wanted[name], rtol=1e-9)
        assert new[name].info.meta == wanted[name].info.meta
        assert new[name].info.description == wanted[name].info.description


def test_columns_that_cannot_be_read_are_copied(tmp_path):
    path, x = tmp_path / "struct.parquet", np.arange(6.0)
    arrow = pa.table({"s": [{"a": k} for k in range(6)], "x": x})
    pq.write_table(arrow.replace_schema_metadata({"other": "kept"}), path)
    model = ac.cluster(QTable({"x": x}), "kmeans", features="x", missing="drop", n_clusters=2, random_state=0)
    new = pq.read_table(ac.assign_file(path, model, tmp_path / "out.parquet", chunk_rows=4))
    assert new.column_names == ["s", "x", "cluster"]
    assert new["s"].to_pylist() == arrow["s"].to_pylist()
    assert new.schema.metadata[b"other"] == b"kept"
    np.testing.assert_array_equal(new["cluster"].to_numpy(), model["cluster"])
    assert b"meta.code.class" in new.schema.metadata[b"table_meta_yaml"]


def test_a_model_of_a_stream_is_a_model(path, cat, tmp_path):
    from sklearn.cluster import MiniBatchKMeans

    stream = ac.stream(path, Features(["pmra", "hole"], scale="standard", missing="drop"), chunk_rows=100)
    means = MiniBatchKMeans(2, random_state=0, n_init=1)
    for rows in stream.chunks():
        means.partial_fit(rows.values)
    model = stream.model_table(means, prefix="mb_")
    assert isinstance(stream, TableStream)
    assert model.meta["astro_cluster_model"]["recipe"] == stream.features.to_plain()
    assert FittedFeatures.from_plain(stream.features.to_plain()) == stream.features
    kept = ac.write(model, tmp_path / "model.fits")
    new = ac.read(ac.assign_file(path, kept, tmp_path / "out.parquet"))
    same(new, ac.assign(ac.read(path), model))
    assert new.colnames[-1] == "mb_cluster"


def test_a_method_without_a_model(path):
    from sklearn.cluster import DBSCAN

    with pytest.raises(InputError, match="DBSCAN makes no model"):
        ac.stream(path, "pmra").model_table(DBSCAN())


def test_what_cannot_be_assigned(path, model, tmp_path, cat):
    out = tmp_path / "out.parquet"
    with pytest.raises(InputError, match=r"give 'out.fits' the ending .parquet"):
        ac.assign_file(path, model, tmp_path / "out.fits")
    lacking = ac.write(cat["pmra", "flux"], tmp_path / "lacking.parquet")
    with pytest.raises(InputError, match=r"lacking.parquet: there is no column 'hole'"):
        ac.assign_file(lacking, model, out)
    nothing = cat["pmra", "flux", "hole"]
    nothing["hole"] = np.nan
    nothing = ac.write(nothing, tmp_path / "nothing.parquet")
    with pytest.raises(InputError, match=r"nothing.parquet: no row of 500 has all features pmra, hole, flux"):
        ac.assign_file(nothing, model, out)
    infinite = cat["pmra", "flux", "hole"]
    infinite["hole"][333] = np.inf
    infinite = ac.write(infinite, tmp_path / "infinite.parquet")
    with pytest.raises(InputError, match=r"infinite.parquet: column 'hole' .* in row 333;"):
        ac.assign_file(infinite, model, out, chunk_rows=50)
    with pytest.raises(InputError, match="one file at a time"):
        ac.assign_file(tmp_path, model, out)
    out.write_text("old")
    with pytest.raises(InputError, match="exists already"):
        ac.assign_file(path, model, out)
    with pytest.raises(InputError, match="no clustering"):
        ac.assign_file(path, cat, out, overwrite=True)
    assert out.read_text() == "old"


def test_the_last_row_may_be_the_only_one(model, tmp_path, cat):
    few = cat["pmra", "flux", "hole"]
    few["hole"][:-1] = np.nan
    few["hole"][-1], few["flux"][-1] = 1.0, 1.0 * u.mJy
    path = ac.write(few, tmp_path / "few.parquet")
    new = ac.read(ac.assign_file(path, model, tmp_path / "out.parquet", chunk_rows=50))
    assert new["cluster"].mask.tolist() == [True] * 499 + [False]
    assert new["cluster"].dtype == np.int32


def test_large_files_are_assigned_in_little_memory(tmp_path):
    rng, n = np.random.default_rng(0), 450_000
    table = QTable({f"x{j}": rng.normal(size=n) for j in range(14)})
    model = ac.cluster(
        table[:1000], "kmeans", features=["x0", "x1"], missing="drop", n_clusters=2, random_state=0
    )
    path = ac.write(table, tmp_path / "large.parquet")
    del table
    assert path.stat().st_size > 50e6
    tracemalloc.start()
    try:
        ac.assign_file(path, model, tmp_path / "out.parquet", chunk_rows=10_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10e6
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == n
