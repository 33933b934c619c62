"""`embed` and `reconstruct` of spectra: what models are given, what comes back, mistakes in one line."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Column, QTable
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA as SklearnPCA

import astro_cluster as ac
from astro_cluster.embedding import embedding_facts, faithfulness_of
from astro_cluster.embedding.fluxes import filled
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.provenance import content_hash, decode
from astro_cluster.wavelengths import SPECTRA_KEY, Grid, grid_of, log_grid, note_spectra

from .emission import BAD, GAP, UNIT, spectra_table

USED = np.arange(80) != BAD


class Telling(TransformerMixin, BaseEstimator):
    """A model of spectra that remembers what it was given; its latents are means of weighted halves."""

    stem: ClassVar[str] = "latent"
    takes: ClassVar[str] = "spectra"

    def __init__(self, conditioned: bool = False, random_state: int | None = None) -> None:
        self.conditioned = conditioned
        self.random_state = random_state

    def fit(
        self,
        X: np.ndarray,
        y: Any = None,
        *,
        weights: Any = None,
        redshift: Any = None,
        grid: Any = None,
        normalized: bool = False,
    ) -> Telling:
        self.grid_ = grid
        Telling.given = {
            "X": X,
            "weights": weights,
            "redshift": redshift,
            "grid": grid,
            "normalized": normalized,
        }
        return self

    def transform(self, X: np.ndarray, *, weights: Any = None) -> np.ndarray:
        w = np.isfinite(X).astype(float) if weights is None else np.where(np.isfinite(X), weights, 0)
        half = X.shape[1] // 2
        halves = [(np.nan_to_num(X) * w)[:, s].sum(1) / w[:, s].sum(1) for s in np.s_[:half, half:]]
        return np.stack(halves, axis=1).astype("f4")

    def reconstruct(self, X: np.ndarray, *, weights: Any = None, redshift: Any = None) -> np.ndarray:
        half = X.shape[1] // 2
        return np.repeat(self.transform(X, weights=weights), [half, X.shape[1] - half], axis=1)

    def reconstruction_errors(self, X: np.ndarray, *, weights: Any = None, redshift: Any = None) -> dict:
        left = X - self.reconstruct(X, weights=weights)
        w = np.isfinite(X).astype(float) if weights is None else np.where(np.isfinite(X), weights, 0)
        n = (w > 0).sum(axis=1)
        square = np.where(w > 0, np.nan_to_num(left) ** 2, 0)
        return {"mse": square.sum(axis=1) / n, "chi2": (w * square).sum(axis=1) / n}

    def facts(self) -> dict[str, Any]:
        return {"held_out_chi2": 1.5, "history": {"epoch": [1, 2], "loss": [2.0, 1.0]}}


class Scaling(Telling):
    """A model that normalises by itself."""

    def __init__(self, normalize: str | None = "auto") -> None:
        self.normalize = normalize
        self.conditioned = False

    def fit(self, X: np.ndarray, y: Any = None, *, weights: Any = None) -> Scaling:
        Scaling.used = self.normalize
        self.fitted_ = True
        return self


@pytest.fixture
def qso() -> QTable:
    return ac.read(spectra_table())


# ---------------------------------------------------------------- models of spectra


def test_a_model_of_spectra_is_given_all_that_it_asks_for(qso):
    out = ac.embed(qso, Telling())
    given = Telling.given
    np.testing.assert_array_equal(given["X"], qso["flux"].value[USED])
    np.testing.assert_array_equal(given["weights"], qso["ivar"].value[USED])
    assert given["grid"] == grid_of(qso)
    assert given["redshift"] is None
    assert given["normalized"] is False
    assert out.colnames == [*qso.colnames, "latent", "reconstruction_error", "reconstruction_chi2"]
    for name in ("latent", "reconstruction_error", "reconstruction_chi2"):
        np.testing.assert_array_equal(np.asarray(out[name].mask).reshape(80, -1).all(axis=1), ~USED)
    # χ² by a loop.
    flux, ivar = qso["flux"].value, qso["ivar"].value
    for row in (0, GAP, 17):
        made = np.repeat(np.asarray(out["latent"][row]), 48)
        there = [(flux[row, i] - made[i]) ** 2 * ivar[row, i] for i in range(96) if ivar[row, i] > 0]
        assert out["reconstruction_chi2"][row] == pytest.approx(np.mean(there), rel=1e-5)
    assert "spectrum" in out["reconstruction_error"].info.description  # and not image
    record = ac.records(out)[-1]
    assert list(record["inputs"]) == ["flux", "ivar", "spectrum_bad"]
    assert record["spectra"]["pixels"] == 96
    assert record["rows_used"] == 79
    facts = embedding_facts(out)
    assert facts["history"]["loss"] == [2.0, 1.0]
    assert facts["median_chi2"] == pytest.approx(np.median(np.asarray(out["reconstruction_chi2"])[USED]))


def test_weights_that_are_none_are_zero(qso):
    qso["ivar"][0, 0] = np.nan / UNIT**2
    qso["ivar"][1, 0] = np.inf / UNIT**2
    qso["ivar"][2, 0] = -1 / UNIT**2
    ac.embed(qso, Telling())
    weights = Telling.given["weights"]
    assert weights[:3, 0].tolist() == [0, 0, 0]
    assert (weights >= 0).all()
    assert qso["ivar"][2, 0] == -1 / UNIT**2


def test_spectra_without_errors(qso):
    table = qso["source_id", "flux"]
    note_spectra(table, grid_of(qso), ivar=None)
    out = ac.embed(table, Telling())
    assert Telling.given["weights"] is None
    assert np.asarray(out["latent"].mask).all(axis=1).tolist() == (~USED).tolist()


@pytest.mark.parametrize(
    ("name", "column"), [("redshift", None), ("Z", None), ("z", None), ("z_best", "z_best")]
)
def test_a_conditioned_model_is_given_redshifts(qso, name, column):
    z = qso["redshift"].copy()
    qso.remove_column("redshift")
    z[1], z[2] = np.nan, -3.0
    qso[name] = z
    out = ac.embed(qso, Telling(conditioned=True), redshift=column)
    expected = np.where(np.isin(np.arange(80), [1, 2]), np.nan, z)[USED]
    np.testing.assert_array_equal(Telling.given["redshift"], expected)
    assert name in ac.records(out)[-1]["inputs"]
    assert not np.asarray(out["latent"].mask)[1].any()  # the row is kept


def test_normalised_spectra_are_not_normalised_again(tmp_path):
    qso = ac.read(ac.write(spectra_table(), tmp_path / "qso.fits"))
    normal = ac.normalize_spectra(qso)
    ac.embed(normal, Telling())
    assert Telling.given["normalized"] is True
    twice = ac.embed(normal, "weighted-pca", n_components=2, random_state=1)
    once = ac.embed(qso, "weighted-pca", n_components=2, random_state=1)
    np.testing.assert_allclose(twice["pca"].filled(0), once["pca"].filled(0), atol=1e-5)
    assert content_hash(ac.rerun(twice)) == content_hash(twice)
    # A model that cannot be told is told by its parameter.
    for table, how in ((normal, None), (qso, "auto")):
        model = ac.records(ac.embed(table, Scaling()))[-1]["parameters"]["model"]
        assert Scaling.used == how
        assert "unrecorded" in model or decode(model).parameters["normalize"] == how


def test_weighted_pca_finds_the_two_numbers_behind(qso):
    out = ac.embed(qso, "weighted-pca", n_components=2, random_state=1, reconstruction=True)
    X = np.c_[np.asarray(out["pca"])[USED], np.ones(79)]
    truth = np.asarray(qso["truth"])[USED]
    left = truth - X @ np.linalg.lstsq(X, truth, rcond=None)[0]
    assert (left.var(axis=0) / truth.var(axis=0) < 0.2).all()
    assert 0.7 < embedding_facts(out)["median_chi2"] < 1.3
    made = out["reconstruction"]
    assert made.unit == qso["flux"].unit
    assert np.isnan(made[BAD]).all()
    counts = qso["ivar"].value > 0
    error = np.abs(made - qso["flux"]).value[counts] * np.sqrt(qso["ivar"].value[counts])
    assert np.mean(error) < 1.2
    assert np.isfinite(made[GAP].value).all()  # where nothing was measured, too
    assert out.meta[SPECTRA_KEY]["reconstructions"] == {"reconstruction": "WeightedPCA"}
    assert "reconstructions" not in qso.meta[SPECTRA_KEY]
    assert content_hash(ac.rerun(out)) == content_hash(out)


# ---------------------------------------------------------------- models of rows


def test_models_of_rows_are_given_fluxes_without_holes(qso):
    out = ac.embed(qso, SklearnPCA(2, random_state=0))
    flux, ivar = qso["flux"].value[USED].astype(float), qso["ivar"].value[USED]
    # By a loop: the mean of a pixel in the spectra where it counts, each over its mean level.
    level = np.array([np.mean([abs(flux[i, j]) for j in range(96) if ivar[i, j] > 0]) for i in range(79)])
    mean = [np.mean([flux[i, j] / level[i] for i in range(79) if ivar[i, j] > 0]) for j in range(96)]
    X = np.where(ivar > 0, flux, level[:, np.newaxis] * np.array(mean))
    expected = SklearnPCA(2, random_state=0).fit_transform(X)
    np.testing.assert_allclose(np.asarray(out["pca"])[USED], expected, atol=1e-3)
    record = ac.records(out)[-1]
    assert record["spectra"]["filled"] == "mean"
    assert record["spectra"]["rows_filled"] == int((ivar == 0).any(axis=1).sum())
    assert out.colnames == [*qso.colnames, "pca"]


def test_what_is_missing_can_be_treated_otherwise(qso):
    zero = ac.embed(qso, "pca", missing="zero", n_components=2, random_state=1)
    expected = SklearnPCA(2, random_state=0).fit_transform(
        np.where(qso["ivar"].value > 0, qso["flux"].value, 0)[USED].astype(float)
    )
    np.testing.assert_allclose(np.abs(np.asarray(zero["pca"])[USED]), np.abs(expected), atol=1e-3)
    dropped = ac.embed(qso, "pca", missing="drop", n_components=2, random_state=1)
    whole = (qso["ivar"].value > 0).all(axis=1)
    np.testing.assert_array_equal(~np.asarray(dropped["pca"].mask)[:, 0], whole)


def test_a_map_of_spectra(tmp_path):
    normal = ac.normalize_spectra(ac.read(ac.write(spectra_table(), tmp_path / "qso.fits")))
    out = ac.embed(normal, "tsne", perplexity=10, max_iter=250, random_state=1)
    assert out.colnames[-2:] == ["tsne_1", "tsne_2"]
    assert embedding_facts(out)["trustworthiness"] > 0.7
    assert content_hash(ac.rerun(out)) == content_hash(out)
    path = ac.write(out, tmp_path / "map.fits")
    placed = ac.embed(normal, onto=path)
    spread = np.std(np.asarray(out["tsne_1"])[USED])
    near = np.abs(np.asarray(placed["tsne_1"]) - np.asarray(out["tsne_1"]))
    assert np.median(near[USED]) < 0.3 * spread
    again = ac.rerun(ac.write(placed, tmp_path / "placed.fits"))
    np.testing.assert_array_equal(again["tsne_1"], placed["tsne_1"])


@pytest.mark.parametrize("model", ["pca", "weighted-pca"])
def test_new_spectra_on_old_axes(qso, model):
    old = ac.embed(qso, model, n_components=3, random_state=1)
    rows = [9, GAP, BAD, 0]
    new = ac.embed(qso[rows], model, onto=old)
    np.testing.assert_allclose(new["pca"].filled(0), old["pca"][rows].filled(0), atol=1e-4)
    other = QTable(qso, copy=True)
    note_spectra(other, log_grid(4000 * u.AA, 9100 * u.AA, 96))
    with pytest.raises(InputError, match=r"4000–9100 Å.*the map has been made at.*4000–9000 Å.*regrid"):
        ac.embed(other, model, onto=old)


def test_images_go_first_and_fluxes_by_name(qso):
    qso["image"] = Column(np.random.default_rng(1).normal(size=(80, 4, 4)), copy=False)
    assert "images" in ac.records(ac.embed(qso, "pca", n_components=2))[-1]
    by_name = ac.embed(qso, "pca", column="flux", n_components=2)
    assert ac.records(by_name)[-1]["spectra"]["column"] == "flux"
    assert "spectra" in ac.records(ac.embed(qso, Telling()))[-1]


def test_faithfulness_compares_shapes_not_levels(qso):
    out = ac.embed(qso, "weighted-pca", n_components=2, random_state=1)
    facts = embedding_facts(out)
    found = faithfulness_of(out, "pca")
    assert found == pytest.approx((facts["trustworthiness"], facts["continuity"]))
    assert found[0] > 0.9


def test_holes_are_filled_at_the_level_of_the_spectrum():
    flux = np.array([[2.0, 4.0, 6.0], [20.0, 40.0, 1e9], [1.0, np.nan, 3.0]])
    ivar = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    out, levels, mean = filled(flux, ivar, "mean", normalized=False)
    np.testing.assert_allclose(levels, [4, 30, 2])
    np.testing.assert_allclose(mean, [(0.5 + 2 / 3 + 0.5) / 3, (1 + 4 / 3) / 2, 1.5])
    np.testing.assert_allclose(out, [[2, 4, 6], [20, 40, 45], [1, 2 * (1 + 4 / 3) / 2, 3]])
    plain, ones, _ = filled(flux, ivar, "mean", normalized=True)
    assert ones.tolist() == [1, 1, 1]
    assert plain[1, 2] == pytest.approx(4.5)
    assert np.isnan(flux[2, 1])


# ---------------------------------------------------------------- fitted models


def test_a_fitted_model_knows_its_wavelengths(qso):
    model = Telling().fit(qso["flux"].value, grid=grid_of(qso))
    out = ac.embed(qso, model)
    assert "history" not in embedding_facts(out)
    assert embedding_facts(out)["held_out_chi2"] == 1.5
    note_spectra(qso, log_grid(4000 * u.AA, 9000 * u.AA, 96, frame="rest"))
    for step in (ac.embed, ac.reconstruct):
        with pytest.raises(InputError, match=r"rest frame.*the Telling has been fitted at.*observed.*regrid"):
            step(qso, model)


def test_a_fitted_model_of_rows_has_no_mean_to_fill_with(qso):
    fitted = SklearnPCA(2).fit(np.zeros((5, 96)) + np.arange(5)[:, np.newaxis])
    with pytest.raises(InputError, match=r"mean of the new spectra.*use 'zero' or 'drop'"):
        ac.embed(qso, fitted)
    assert ac.embed(qso, fitted, missing="zero")["pca"].shape == (80, 2)


def test_a_model_of_normalised_spectra_warns_of_others(qso):
    model = Telling().fit(qso["flux"].value)
    model.normalize_ = None
    with pytest.warns(AstroClusterWarning, match="normalise them the same way"):
        ac.embed(qso, model)


def test_reconstruct_by_a_fitted_model(qso):
    model = Telling().fit(qso["flux"].value)
    out = ac.reconstruct(qso, model, prefix="a_")
    made = np.repeat(model.transform(qso["flux"].value[USED], weights=qso["ivar"].value[USED]), 48, axis=1)
    np.testing.assert_allclose(out["a_reconstruction"].value[USED], made, rtol=1e-6)
    assert out["a_reconstruction"].unit == UNIT
    assert out["a_reconstruction"].info.meta["ucd"].startswith("phot.flux")
    both = ac.reconstruct(out, model)
    assert both.meta[SPECTRA_KEY]["reconstructions"] == dict.fromkeys(
        ["a_reconstruction", "reconstruction"], "Telling"
    )
    with pytest.raises(InputError, match="reconstruction"):
        ac.reconstruct(both, model)
    assert ac.reconstruct(both, model, overwrite=True).colnames == both.colnames


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"missing": "mean"}, "leaves pixels that do not count out by itself"),
        ({"missing": "median"}, "'median' is for features; of spectra give"),
        ({"features": "redshift"}, "takes spectra and not features"),
        ({"column": "ivar"}, "in the column 'flux', not in 'ivar'"),
        ({"column": "fluxx"}, "no column 'fluxx'; did you mean 'flux'"),
        ({"redshift": "redshift"}, "only models with conditioned=True"),
        ({"model": Telling(conditioned=True), "redshift": "source_id"}, "source_id"),
        ({"model": Telling(conditioned=True), "redshift": "truth"}, "a redshift is one number"),
        ({"model": "pca", "reconstruction": True}, "a PCA draws no spectra"),
        ({"model": "tsne", "save": "m.safetensors"}, "cannot be saved"),
        ({"model": "conv-autoencoder"}, "this model takes images"),
    ],
)
def test_mistakes(qso, arguments, message):
    with pytest.raises(InputError, match=message):
        ac.embed(qso, **{"model": Telling(), **arguments})


def test_tables_without_usable_spectra(qso):
    with pytest.raises(InputError, match=r"this model takes spectra, and the table has none.*read_spectra"):
        ac.embed(qso["ra", "dec"], Telling())
    bad = qso.copy()
    bad["ivar"][:] = 0 / UNIT**2
    with pytest.raises(InputError, match=r"none of the 80 rows can be used: .*no pixel that counts"):
        ac.embed(bad, Telling())
    with pytest.raises(InputError, match="1 row is usable; Telling needs at least 2"):
        ac.embed(qso[4:6], Telling())
    no_z = qso.copy()
    no_z.remove_column("redshift")
    with pytest.raises(InputError, match="no column redshift, Z or z; name it"):
        ac.embed(no_z, Telling(conditioned=True))
    no_z["z"] = np.nan
    with pytest.raises(InputError, match="no row has a redshift above -1"):
        ac.embed(no_z, Telling(conditioned=True))
    with pytest.raises(InputError, match=r"has learned nothing yet.*reconstruction=True"):
        ac.reconstruct(qso, "weighted-pca")
    with pytest.raises(InputError, match="a PCA draws no spectra and no images"):
        ac.reconstruct(qso, "pca")
    assert isinstance(grid_of(qso), Grid)
