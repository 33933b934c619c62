"""`embed`: coordinates of rows and images, every row kept, every mistake named, all on record."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io.votable.ucd import check_ucd
from astropy.table import Column, MaskedColumn, QTable
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA as SklearnPCA
from sklearn.decomposition import FastICA, TruncatedSVD
from sklearn.manifold import TSNE as SklearnTSNE
from sklearn.manifold import trustworthiness

import astro_cluster as ac
from astro_cluster.embedding import PCA, embedding_facts, faithfulness_of
from astro_cluster.embedding.named import known_models
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.provenance import content_hash

FAST = {"max_iter": 250, "perplexity": 10}


@pytest.fixture(scope="module")
def table() -> QTable:
    rng = np.random.default_rng(3)
    centres = np.array([[0.0, 0.0, 0.0, 1.0], [8.0, 1.0, 3.0, 0.0], [-6.0, 6.0, 1.0, 5.0]])
    truth = rng.integers(0, 3, 90)
    x = centres[truth] + rng.normal(size=(90, 4))
    t = QTable({"id": np.arange(90) + 2**60, "x": x[:, 0] * u.mas, "y": x[:, 1] * u.mas / u.yr, "z": x[:, 2]})
    t["both"] = x[:, 2:]
    t["truth"] = truth
    return ac.read(t)


@pytest.fixture(scope="module")
def images() -> QTable:
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 3, 60)
    pixels = (rng.normal(size=(3, 12, 10))[truth] + 0.3 * rng.normal(size=(60, 12, 10))).astype("f4")
    pixels[5] = np.nan
    bad = np.zeros(60, dtype=bool)
    bad[[5, 9]] = True
    t = QTable({"id": np.arange(60), "image": Column(pixels, copy=False), "image_bad": bad, "truth": truth})
    return ac.read(t)


FEATURES = ac.Features(["x", "y", "both"], scale="standard")


def _matrix(table: QTable, features: ac.Features = FEATURES) -> np.ndarray:
    return features.fit(table).transform(table).values


# ---------------------------------------------------------------- features


def test_pca_of_features_is_that_of_scikit_learn(table):
    before = table.copy()
    out = ac.embed(table, "pca", features=FEATURES, prefix="a_")
    assert table.colnames == before.colnames
    assert out.colnames == [*table.colnames, "a_pca"]
    theirs = SklearnPCA(svd_solver="full").fit(_matrix(table))
    ours = out["a_pca"]
    assert ours.shape == (90, 4)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs.transform(_matrix(table))), atol=1e-10)
    np.testing.assert_allclose(
        embedding_facts(out)["explained_variance_ratio"], theirs.explained_variance_ratio_, atol=1e-12
    )
    assert not hasattr(ours, "mask")
    np.testing.assert_array_equal(out["id"], table["id"])


def test_new_columns_are_described(table):
    out = ac.embed(table, "tsne", features=FEATURES, **FAST)
    out = ac.embed(out, "pca", features=FEATURES, n_components=2)
    out = ac.embed(out, "Isomap", features=FEATURES, n_neighbors=40)
    out = ac.embed(out, FastICA(2), features=FEATURES)
    new = out.colnames[len(table.colnames) :]
    assert new == ["tsne_1", "tsne_2", "pca", "isomap_1", "isomap_2", "fastica"]
    for name in new:
        assert check_ucd(out[name].info.meta["ucd"], check_controlled_vocabulary=True), name
        assert out[name].info.description
    assert out["fastica"].shape == (90, 2)
    assert "Isomap, coordinate 2" in out["isomap_2"].info.description
    assert "FastICA" in out["fastica"].info.description


def test_units_do_not_matter_but_count(table):
    other = table.copy()
    other["x"] = other["x"].to(u.deg)
    one, two = (ac.embed(t, "pca", features=FEATURES, n_components=2) for t in (table, other))
    np.testing.assert_allclose(one["pca"], two["pca"], atol=1e-9)
    plain = ac.Features(["x", "y"], units={"x": "arcsec"})
    recipe = ac.records(ac.embed(table, "pca", features=plain))[-1]["recipe"]
    assert [scaling["unit"] for scaling in recipe["scalings"]] == ["arcsec", "mas / yr"]


def test_a_transformer_of_scikit_learn_is_fitted_as_it_is(table):
    given = TruncatedSVD(2, random_state=3)
    out = ac.embed(table, given, features=FEATURES)
    np.testing.assert_allclose(out["truncatedsvd"], given.fit_transform(_matrix(table)), atol=1e-10)
    theirs = ac.embed(table, SklearnTSNE(perplexity=10, max_iter=250, random_state=1), features=FEATURES)
    assert "tsne_1" in theirs.colnames
    assert embedding_facts(theirs)["kl_divergence"] > 0
    assert embedding_facts(theirs)["model"] == "sklearn.TSNE"


def test_a_model_given_is_not_changed(table):
    given = FastICA(2, random_state=1)
    ac.embed(table, given, features=FEATURES)
    assert not hasattr(given, "components_")
    fitted = PCA(2, random_state=1).fit(_matrix(table) + 1.0)
    kept = fitted.components_.copy(), fitted.mean_.copy()
    again = ac.embed(table, fitted, features=FEATURES, refit=True)
    np.testing.assert_array_equal(fitted.components_, kept[0])
    np.testing.assert_array_equal(fitted.mean_, kept[1])
    np.testing.assert_allclose(np.mean(again["pca"], axis=0), 0, atol=1e-12)


def test_a_fitted_model_only_transforms(table):
    plain = ac.Features(["z", "both"])
    fitted = SklearnPCA(2).fit(_matrix(table, plain) + 5.0)
    out = ac.embed(table, fitted, features=plain)
    np.testing.assert_allclose(out["pca"], fitted.transform(_matrix(table, plain)), atol=1e-12)
    assert ac.records(out)[-1]["seed"] is None
    with pytest.warns(AstroClusterWarning, match="embed\\(new, onto=old\\) sees to that"):
        ac.embed(table, SklearnPCA(2).fit(_matrix(table)), features=FEATURES)


def test_rows_with_missing_values_stay_masked(table):
    holed = table.copy()
    holed["z"] = MaskedColumn(holed["z"], mask=np.arange(90) < 7)
    features = ac.Features("x,y,z", scale="standard")
    out = ac.embed(holed, "pca", features=features, n_components=2)
    np.testing.assert_array_equal(out["pca"].mask.all(axis=1), np.arange(90) < 7)
    np.testing.assert_array_equal(out["pca"].mask.any(axis=1), np.arange(90) < 7)
    rest = ac.embed(holed[7:], "pca", features=features, n_components=2)
    np.testing.assert_allclose(out["pca"][7:], rest["pca"], atol=1e-12)
    assert ac.records(out)[-1]["rows_used"] == 83
    filled = ac.embed(holed, "pca", features=features, missing="median", n_components=2)
    assert not np.any(getattr(filled["pca"], "mask", False))
    mapped = ac.embed(holed, "tsne", features=features, **FAST)
    for name in ("tsne_1", "tsne_2"):
        np.testing.assert_array_equal(mapped[name].mask, np.arange(90) < 7)


def test_latent_coordinates_are_features_of_the_next_step(table):
    out = ac.embed(table, "pca", features=FEATURES, n_components=2)
    out = ac.cluster(out, "kmeans", features="pca", n_clusters=3, random_state=0)
    out = ac.embed(out, "tsne", features="pca", prefix="map_", **FAST)
    assert {"cluster", "map_tsne_1"} <= set(out.colnames)
    assert list(ac.records(out)[-1]["inputs"]) == ["pca"]


# ---------------------------------------------------------------- images


def test_pixels_are_features(images):
    out = ac.embed(images, "pca", n_components=3)
    flat = images["image"].reshape(60, -1)
    usable = ~np.asarray(images["image_bad"])
    theirs = SklearnPCA(3, svd_solver="full").fit(flat[usable])
    ours = np.ma.asarray(out["pca"])
    np.testing.assert_array_equal(ours.mask.all(axis=1), ~usable)
    np.testing.assert_allclose(np.abs(ours[usable]), np.abs(theirs.transform(flat[usable])), atol=2e-4)
    assert list(ac.records(out)[-1]["inputs"]) == ["image", "image_bad"]
    assert ac.records(out)[-1]["images"]["shape"] == [12, 10]


def test_images_go_from_table_to_table_without_a_copy(images):
    out = ac.embed(images, "pca", n_components=2)
    assert np.shares_memory(out["image"], images["image"])
    assert out["truth"] is not images["truth"]
    assert not np.shares_memory(out["truth"], images["truth"])


class _Seen(TransformerMixin, BaseEstimator):
    """Looks at what it is given."""

    def fit(self, X, y=None):
        self.seen_ = X
        return self

    def transform(self, X):
        _Seen.last = X
        return np.asarray(X.reshape(len(X), -1)[:, :2], dtype=float)


@pytest.mark.parametrize("colours", [(), (3,)])
def test_bytes_are_given_as_they_are(colours):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 6, 5, *colours), dtype=np.uint8)
    table = QTable({"strip": Column(pixels, copy=False)}, copy=False)
    out = ac.embed(table, _Seen())
    assert _Seen.last.dtype == np.uint8
    assert _Seen.last.shape == (20, pixels[0].size)
    assert np.shares_memory(_Seen.last, pixels)
    np.testing.assert_array_equal(out["_seen"], pixels.reshape(20, -1)[:, :2])


def test_bad_images_at_the_ends_cost_no_copy():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 6, 5), dtype=np.uint8)
    bad = np.isin(np.arange(20), [0, 19])
    table = QTable({"image": Column(pixels, copy=False), "image_bad": bad}, copy=False)
    out = ac.embed(table, _Seen())
    assert np.shares_memory(_Seen.last, pixels)
    np.testing.assert_array_equal(out["_seen"].mask.all(axis=1), bad)


def test_nan_pixels(images):
    holed = images.copy()
    holed["image"][7, 3, 3] = np.nan
    holed["image"][:, 2, 2] = np.nan
    holed["image"][11:, 2, 2] = 2.0
    with pytest.raises(
        InputError, match=r"9 of 60 images have NaN pixels .the first in row 0.*missing='zero'"
    ):
        ac.embed(holed, "pca")
    for missing, fill in (("zero", (0.0, 0.0)), ("mean", (None, 2.0))):
        ac.embed(holed, _Seen(), missing=missing)
        given = _Seen.last.reshape(-1, 12, 10)
        usable = np.flatnonzero(~np.asarray(images["image_bad"]))
        row = int(np.flatnonzero(usable == 7)[0])
        meant = fill[0]
        if meant is None:
            meant = np.nanmean(np.asarray(holed["image"])[usable, 3, 3], dtype=float)
        assert given[row, 3, 3] == pytest.approx(meant, rel=1e-6)
        assert given[row, 2, 2] == fill[1]
        assert np.isnan(holed["image"][7, 3, 3])
    dropped = ac.embed(holed, "pca", missing="drop", n_components=2)
    np.testing.assert_array_equal(dropped["pca"].mask.all(axis=1), np.arange(60) < 11)


class _Network(TransformerMixin, BaseEstimator):
    """Stands for an autoencoder."""

    stem = "latent"
    takes = "images"

    def __init__(self, n_latent: int = 2, epochs: int = 3, random_state: int | None = None) -> None:
        self.n_latent, self.epochs, self.random_state = n_latent, epochs, random_state

    def fit(self, X, y=None, *, checkpoint=None, progress=None):
        _Network.given = X.shape, checkpoint, progress, bool(np.isnan(X).any())
        self.weights_ = np.ones(3)
        return self

    def transform(self, X):
        return np.nan_to_num(X.reshape(len(X), -1)[:, : self.n_latent]).astype("f4")

    def reconstruction_errors(self, X):
        return np.nanmean(X.reshape(len(X), -1) ** 2, axis=1)

    def save(self, path, *, overwrite=False):
        with Path(path).open("wb" if overwrite else "xb") as file:
            file.write(b"weights")
        return path

    def facts(self):
        return {"held_out_loss": 0.5, "history": {"epoch": [1, 2], "loss": [1.0, 0.7]}}


def test_a_model_of_images_gets_images(images, tmp_path):
    holed = images.copy()
    holed["image"][7, 3, 3] = np.nan
    place = tmp_path / "model.safetensors"
    told = []
    out = ac.embed(
        holed,
        _Network(),
        checkpoint=tmp_path / "c.safetensors",
        save=place,
        progress=told.append,
        prefix="n_",
    )
    assert _Network.given == ((58, 12, 10), str(tmp_path / "c.safetensors"), told.append, True)
    assert out.colnames[-2:] == ["n_latent", "n_reconstruction_error"]
    assert out["n_latent"].dtype == np.float32
    bad = np.asarray(holed["image_bad"])
    np.testing.assert_array_equal(out["n_reconstruction_error"].mask, bad)
    expected = np.nanmean(np.asarray(holed["image"][~bad]).reshape(58, -1) ** 2, axis=1)
    np.testing.assert_allclose(out["n_reconstruction_error"][~bad], expected, rtol=1e-6)
    facts = embedding_facts(out, "n_")
    assert facts["history"] == {"epoch": [1, 2], "loss": [1.0, 0.7]}
    assert facts["saved"]["file"] == "model.safetensors"
    assert place.read_bytes() == b"weights"
    with pytest.raises(InputError, match=r"model\.safetensors exists already"):
        ac.embed(holed, _Network(), save=place)
    with pytest.raises(InputError, match=r"ends in \.safetensors"):
        ac.embed(holed, _Network(), save=tmp_path / "model.pkl")
    with pytest.raises(InputError, match="there is no folder"):
        ac.embed(holed, _Network(), save=tmp_path / "none" / "model.safetensors")
    with pytest.raises(InputError, match="save and checkpoint are the same file"):
        ac.embed(holed, _Network(), save="a.safetensors", checkpoint="a.safetensors")
    with pytest.raises(InputError, match="takes images and not features"):
        ac.embed(holed, _Network(), features="id")
    with pytest.raises(InputError, match="takes images, and the table has no column"):
        ac.embed(holed[["id"]], _Network())
    with pytest.raises(InputError, match="could not keep a parameter of type RecordedModel"):
        ac.rerun(out)


# ---------------------------------------------------------------- how faithful it is


def test_faithfulness_is_on_record(table):
    out = ac.embed(table, "pca", features=FEATURES, n_components=1)
    facts = embedding_facts(out)
    X = _matrix(table)
    assert facts["n_neighbors"] == 15
    assert facts["rows_judged"] == 90
    assert facts["trustworthiness"] == pytest.approx(
        trustworthiness(X, out["pca"], n_neighbors=15), abs=1e-12
    )
    assert facts["continuity"] == pytest.approx(trustworthiness(out["pca"], X, n_neighbors=15), abs=1e-12)
    assert faithfulness_of(out, "pca", features=FEATURES) == (facts["trustworthiness"], facts["continuity"])
    assert "continuity" not in embedding_facts(ac.embed(table, "pca", features=FEATURES, faithfulness=False))


def test_faithfulness_of_any_columns(table, images):
    out = ac.embed(table, "tsne", features=FEATURES, **FAST)
    by_stem = faithfulness_of(out, "tsne", features=FEATURES, n_neighbors=5)
    assert by_stem == faithfulness_of(out, ["tsne_1", "tsne_2"], features=FEATURES, n_neighbors=5)
    assert all(0.8 < value <= 1 for value in by_stem)
    chance = faithfulness_of(out, ["id"], features=FEATURES)
    assert all(value < 0.7 for value in chance)
    pixels = ac.embed(images, "pca", n_components=20)
    assert faithfulness_of(pixels, "pca")[0] > 0.9
    with pytest.raises(InputError, match="no column 'umap'"):
        faithfulness_of(out, "umap", features=FEATURES)
    with pytest.raises(InputError, match="2 rows have both"):
        faithfulness_of(out[:2], "tsne", features=FEATURES)


def test_two_rows_have_no_neighbours(table):
    out = ac.embed(table[:2], "pca", features="x,y")
    assert out["pca"].shape == (2, 2)
    assert "trustworthiness" not in embedding_facts(out)


# ---------------------------------------------------------------- new rows on a map


def test_new_rows_are_placed_on_a_map(table, tmp_path):
    old = ac.embed(table[:80], "tsne", features=FEATURES, random_state=1, **FAST)
    out = ac.embed(table[70:], onto=old)
    assert out.colnames == [*table.colnames, "tsne_1", "tsne_2"]
    moved = np.hypot(*(np.asarray(out[f"tsne_{k}"][:10]) - np.asarray(old[f"tsne_{k}"][70:]) for k in (1, 2)))
    spread = np.hypot(*(np.std(old[f"tsne_{k}"]) for k in (1, 2)))
    assert np.median(moved) < 0.3 * spread
    record = ac.records(out)[-1]
    assert record["seed"] is None
    assert record["reference"]["rows"] == 80
    assert record["recipe"] == ac.records(old)[-1]["recipe"]
    path = ac.write(old, tmp_path / "old.fits")
    by_path = ac.embed(table[70:], onto=path)
    np.testing.assert_allclose(by_path["tsne_1"], out["tsne_1"], rtol=1e-12)
    again = ac.rerun(ac.write(by_path, tmp_path / "new.vot"))
    np.testing.assert_array_equal(again["tsne_1"], by_path["tsne_1"])
    with pytest.raises(InputError, match="could not keep a parameter of type QTable"):
        ac.rerun(out)


def test_a_changed_map_is_told_when_run_again(table, tmp_path):
    old = ac.embed(table[:80], "tsne", features=FEATURES, random_state=1, **FAST)
    path = ac.write(old, tmp_path / "old.fits")
    new = ac.write(ac.embed(table[70:], onto=path), tmp_path / "new.vot")
    old["tsne_1"] += 1
    ac.write(old, path, overwrite=True)
    with pytest.warns(AstroClusterWarning, match=r"old\.fits of step 'embed' has changed"):
        ac.rerun(new)


def test_a_map_knows_its_features(table):
    old = ac.embed(table, "tsne", features=FEATURES, prefix="m_", **FAST)
    assert "tsne_1" in ac.embed(table[:9], onto=old, features=FEATURES).colnames
    with pytest.raises(InputError, match=r"made from x \(standard\), .* the features given are x; leave"):
        ac.embed(table[:9], onto=old, features="x")
    with pytest.raises(InputError, match="made from features, not from images"):
        ac.embed(table[:9], onto=old, column="both")
    with pytest.raises(InputError, match="leave perplexity out"):
        ac.embed(table[:9], onto=old, perplexity=3)
    with pytest.raises(InputError, match="has no map: neither a column tsne nor tsne_1"):
        ac.embed(table[:9], onto=table)
    several = ac.embed(old, "tsne", features="x,y", prefix="k_", **FAST)
    with pytest.raises(InputError, match="several maps, with the prefixes 'm_', 'k_'"):
        ac.embed(table[:9], onto=several)
    assert list(ac.records(ac.embed(table[:9], onto=several, prefix="k_"))[-1]["inputs"]) == ["x", "y"]


def test_a_map_without_a_record_needs_its_features(table):
    old = ac.embed(table, "tsne", features=FEATURES, random_state=1, **FAST)
    bare = old.copy()
    bare.meta.clear()
    with pytest.raises(InputError, match="does not say what tsne_1, tsne_2 were made from"):
        ac.embed(table[:9], onto=bare)
    np.testing.assert_allclose(
        ac.embed(table[:9], onto=bare, features=FEATURES)["tsne_1"],
        ac.embed(table[:9], onto=old)["tsne_1"],
        atol=1e-6,
    )


def test_rows_without_a_place_are_not_neighbours(table):
    holed = table.copy()
    holed["z"] = MaskedColumn(holed["z"], mask=np.arange(90) < 7)
    old = ac.embed(holed, "tsne", features="x,y,z", random_state=1, **FAST)
    out = ac.embed(holed, onto=old, prefix="n_")
    np.testing.assert_array_equal(out["n_tsne_1"].mask, np.arange(90) < 7)
    assert ac.records(out)[-1]["reference"]["rows"] == 83


def test_new_rows_get_the_same_principal_components(table):
    old = ac.embed(table[:80], "pca", features=FEATURES, n_components=2)
    out = ac.embed(table[70:], "pca", onto=old)
    np.testing.assert_allclose(out["pca"][:10], old["pca"][70:], atol=1e-9)
    with pytest.raises(InputError, match="its rows are not all those that the map was made from"):
        ac.embed(table[70:], "pca", onto=old[:40])
    isomap = ac.embed(table[:80], "Isomap", features=FEATURES, n_neighbors=40)
    assert "isomap_2" in ac.embed(table[70:], "Isomap", onto=isomap).colnames
    spectral = ac.embed(table[:80], "SpectralEmbedding", features=FEATURES, affinity="rbf")
    with pytest.raises(InputError, match="SpectralEmbedding cannot place new rows"):
        ac.embed(table[70:], "SpectralEmbedding", onto=spectral)


def test_new_images_are_placed_on_a_map(images):
    old = ac.embed(images, "tsne", random_state=1, **FAST)
    new = images[10:20]
    out = ac.embed(new, onto=old, prefix="n_")
    near = np.abs(np.asarray(out["n_tsne_1"]) - np.asarray(old["tsne_1"][10:20]))
    assert np.median(near) < 0.3 * np.std(old["tsne_1"])
    smaller = QTable({"image": np.asarray(new["image"])[:, :8]})
    with pytest.raises(InputError, match="have the shape 8 × 10, those of the map 12 × 10"):
        ac.embed(smaller, onto=old)
    with pytest.raises(InputError, match="made from images, not from features"):
        ac.embed(new, onto=old, features="id")


# ---------------------------------------------------------------- record


@pytest.mark.parametrize("ending", ["vot", "fits", "ecsv", "parquet"])
def test_the_record_repeats_it_from_a_file(table, tmp_path, ending):
    out = ac.embed(table, "tsne", features=FEATURES, **FAST)
    out = ac.embed(out, "pca", features="z,both", n_components=2, missing="median")
    out = ac.embed(out, FastICA(2, whiten="unit-variance"), features="pca")
    again = ac.rerun(ac.write(out, tmp_path / f"out.{ending}"))
    assert again.colnames == out.colnames
    assert content_hash(again) == content_hash(out)


def test_a_seed_is_drawn_and_recorded(table):
    one, two = (ac.embed(table, "tsne", features=FEATURES, **FAST) for _ in range(2))
    seeds = [ac.records(out)[-1]["seed"] for out in (one, two)]
    assert seeds[0] != seeds[1]
    repeated = ac.embed(table, "tsne", features=FEATURES, random_state=seeds[0], **FAST)
    np.testing.assert_array_equal(repeated["tsne_1"], one["tsne_1"])
    assert ac.records(ac.embed(table, FastICA(random_state=8), features="x,y"))[-1]["seed"] == 8
    assert (
        ac.records(ac.embed(table, FastICA(random_state=8), features="x,y", random_state=9))[-1]["seed"] == 9
    )
    from_state = ac.embed(table, FastICA(random_state=np.random.RandomState(1)), features="x,y")
    assert isinstance(ac.records(from_state)[-1]["seed"], int)
    assert content_hash(ac.rerun(from_state)) == content_hash(from_state)


def test_the_record_is_plain(images):
    out = ac.embed(images, "tsne", random_state=3, **FAST)
    record = json.loads(json.dumps(ac.records(out)[-1]))
    assert record["function"] == "embed"
    assert record["columns_added"] == ["tsne_1", "tsne_2"]
    model = record["parameters"]["model"]["value"]
    assert model["name"] == "TSNE"
    assert model["params"]["perplexity"] == 10
    assert "perplexity" not in record["parameters"]


def test_a_model_fitted_elsewhere_is_not_made_up(table):
    plain = ac.Features(["z", "both"])
    fitted = PCA(2, random_state=0).fit(_matrix(table, plain))
    out = ac.embed(table, fitted, features=plain)
    kept = ac.records(out)[-1]["parameters"]["model"]["value"]
    assert kept["weights"].startswith("sha256:")
    assert kept["params"]["n_components"] == 2
    other = ac.embed(table, PCA(2).fit(_matrix(table, plain) * 2), features=plain)
    assert ac.records(other)[-1]["parameters"]["model"]["value"]["weights"] != kept["weights"]
    with pytest.raises(InputError, match=r"the PCA of this step was fitted elsewhere.*save it"):
        ac.rerun(out)


def test_a_record_chooses_no_class(table):
    out = ac.embed(table, "pca", features="x,y")
    model = out.meta["astro_cluster"][-1]["parameters"]["model"]["value"]
    for name, message in {
        "os.system": "not one of the known models",
        "sklearn.Pipeline": "not one of the known models",
        "SparseCoder": "not one of the known models",
    }.items():
        model["name"] = name
        with pytest.raises(InputError, match=message):
            ac.rerun(out)
    model["name"] = "PCA"
    model["params"]["memory"] = "folder"
    with pytest.raises(InputError, match="must not set the parameter memory"):
        ac.rerun(out)
    del model["params"]["memory"]
    model["params"]["colour"] = 1
    with pytest.raises(InputError, match="unknown parameters colour"):
        ac.rerun(out)
    model["params"] = [1]
    with pytest.raises(InputError, match="damaged"):
        ac.rerun(out)


def test_images_that_a_file_leaves_behind_are_found_when_run_again(images, tmp_path, monkeypatch):
    from astro_cluster.cutouts import link_images

    out = ac.embed(images, "pca", n_components=2)
    stack = ac.write(out, tmp_path / "stack.fits")
    linked = ac.write(link_images(out, stack), tmp_path / "linked.vot")
    assert "image" not in ac.read(linked).colnames
    again = ac.rerun(linked)
    assert "image" not in again.colnames
    assert content_hash(again) == content_hash(ac.read(linked))
    mapped = ac.embed(linked, "tsne", random_state=1, **FAST)
    np.testing.assert_array_equal(
        mapped["tsne_1"], ac.embed(images, "tsne", random_state=1, **FAST)["tsne_1"]
    )
    mapped = ac.cluster(mapped, "kmeans", features="pca", n_clusters=3, random_state=0)
    last = ac.write(mapped, tmp_path / "last.vot")
    assert content_hash(ac.rerun(last)) == content_hash(ac.read(last))
    stack.unlink()
    with pytest.raises(InputError, match="the images of the table are not where they were"):
        ac.rerun(last)


# ---------------------------------------------------------------- names and mistakes


@pytest.mark.parametrize(
    "name",
    [
        "FastICA",
        "fastica",
        "sklearn.PCA",
        "KernelPCA",
        "SparseRandomProjection",
        "MDS",
        "NMF",
        "FactorAnalysis",
    ],
)
def test_names_of_scikit_learn(table, name):
    features = ac.Features(["x", "y", "both"], scale="minmax")
    number = {"n_components": 2}
    out = (
        ac.embed(table, name, features=features, random_state=1, **number)
        if name != "MDS"
        else ac.embed(table[:30], name, features=features, random_state=1, n_init=1, init="random")
    )
    again = ac.rerun(out)
    assert content_hash(again) == content_hash(out)


def test_every_known_name_is_a_class():
    assert {"tsne", "pca", "autoencoder", "isomap", "sklearn.tsne"} <= set(known_models())
    assert known_models()["pca"] == "PCA"
    assert known_models()["sklearn.pca"] == "sklearn.PCA"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("tsn", "no model 'tsn'; did you mean 'tsne'.*conv-autoencoder.*Isomap"),
        ("model.safetensors", "there is no model file model.safetensors"),
        (FastICA, "FastICA is a class"),
        (3, "a int is no model"),
    ],
)
def test_unknown_models(table, model, message):
    with pytest.raises(InputError, match=message):
        ac.embed(table, model, features="x,y")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "the table has no images and no spectra: say which columns.*x, y, z, both, truth"),
        ({"features": "x,nothing"}, "no column 'nothing'"),
        ({"features": "x", "column": "y"}, "not both"),
        ({"column": "both"}, "holds no images but .*features='both'"),
        ({"features": "x,y", "missing": "marginalize"}, "missing='marginalize' is not known here"),
        ({"features": "x,y", "missing": "zero"}, "missing='zero' is for images"),
        ({"features": ac.Features("x,y", missing="marginalize")}, "cannot integrate missing values out"),
        ({"features": ac.Features("x,y", errors={"x": "y"})}, "measurement errors"),
        ({"features": "x,y", "perplexty": 3}, "no parameter 'perplexty'; did you mean 'perplexity'"),
        ({"features": "x,y", "model": "pca", "n_components": -1}, "n_components=-1"),
        ({"features": "x,y", "model": FastICA(2), "n_components": 3}, "parameters of a model that is given"),
        ({"features": "x,y", "model": "pca", "save": "a.safetensors"}, "a PCA cannot be saved"),
        ({"features": "x,y", "model": "pca", "checkpoint": "a"}, "a PCA keeps no checkpoint"),
        ({"features": "x,y", "model": "sklearn.PCA", "n_components": 7}, "PCA cannot be fitted"),
        ({"features": "x,y", "model": SklearnTSNE().set_params()}, None),
    ],
)
def test_mistakes(table, arguments, message):
    if message is None:
        fitted = SklearnTSNE(perplexity=5, max_iter=250).fit(_matrix(table))
        arguments, message = {**arguments, "model": fitted}, "a fitted TSNE cannot place other rows"
    with pytest.raises(InputError, match=message):
        ac.embed(table, **arguments)


def test_taken_names_are_told_before_the_fit(table):
    class Slow(PCA):
        def fit(self, X, y=None):
            raise AssertionError("fitted")

    taken = ac.embed(table, "pca", features="x,y")
    with pytest.raises(InputError, match="already has the column pca"):
        ac.embed(taken, Slow(), features="x,y")
    replaced = ac.embed(taken, "pca", features="x,z", overwrite=True)
    assert ac.records(replaced)[-1]["columns_replaced"] == ["pca"]
    taken["tsne_2"] = 1.0
    with pytest.raises(InputError, match="already has the column tsne_2"):
        ac.embed(taken, "tsne", features="x,y")


def test_no_usable_row(table, images):
    empty = table.copy()
    empty["z"] = np.nan
    with pytest.raises(InputError, match="no row of 90 has all features"):
        ac.embed(empty, "pca", features="x,z")
    with pytest.raises(InputError, match="no rows"):
        ac.embed(table[:0], "pca", features="x")
    nothing = images[:3].copy()
    nothing["image_bad"] = True
    with pytest.raises(InputError, match="none of the 3 rows can be used: their images are marked as bad"):
        ac.embed(nothing, "pca")
    with pytest.raises(InputError, match="1 row is usable; PCA needs at least 2"):
        ac.embed(images[:1], "pca")
    infinite = images.copy()
    infinite["image"][8, 0, 0] = np.inf
    with pytest.raises(InputError, match=r"infinite pixels, the first in row 8.*missing='drop'"):
        ac.embed(infinite, "pca")
    without = ac.embed(infinite, "pca", missing="drop", n_components=2, faithfulness=False)["pca"]
    assert np.flatnonzero(without.mask.any(axis=1)).tolist() == [5, 8, 9]  # 5 and 9 are marked as bad


def test_what_a_method_complains_of_is_passed_on(table):
    with pytest.warns(AstroClusterWarning, match="Isomap: The number of connected components"):
        ac.embed(table, "Isomap", features=FEATURES, n_neighbors=4)
    with pytest.warns(AstroClusterWarning, match="FastICA did not converge: raise max_iter"):
        ac.embed(table, "FastICA", features=FEATURES, max_iter=1, tol=1e-12, random_state=0)


def test_a_model_that_gives_other_rows_is_refused(table):
    class Fewer(_Seen):
        def transform(self, X):
            return X[:3]

    with pytest.raises(InputError, match=r"gave an array of shape \(3, 4\) for 90 rows"):
        ac.embed(table, Fewer(), features=FEATURES)


def test_one_coordinate_is_a_column_of_one(table):
    class One(_Seen):
        def transform(self, X):
            return X[:, 0]

    assert ac.embed(table, One(), features=FEATURES)["one"].shape == (90, 1)


def test_the_facts_of_an_embedding_that_is_gone(table):
    out = ac.embed(table, "pca", features="x,y", prefix="a_")
    assert embedding_facts(out, "a_", stem="pca")["columns"] == ["a_pca"]
    for arguments in ({"prefix": "b_"}, {"stem": "tsne"}):
        with pytest.raises(InputError, match="is on record in the table"):
            embedding_facts(out, **arguments)
    del out["a_pca"]
    with pytest.raises(InputError, match="no embedding is on record"):
        embedding_facts(out)


def test_importing_costs_no_heavy_package():
    code = (
        "import sys, astro_cluster.embedding as e; dir(e);"
        "print([m for m in ('torch', 'sklearn', 'openTSNE', 'numba') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_names_of_ours_cost_no_torch():
    code = (
        "import sys; from astro_cluster.embedding.named import make_model, known_models; make_model('pca');"
        "known_models(); print('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
