"""The published results on the real catalogues, which are not part of the project."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from astropy.table import QTable
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

import astro_cluster as ac
from astro_cluster.provenance import content_hash
from astro_cluster.summary import UNMATCHED

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def sample(real_data: Path) -> QTable:
    """1,615 observed Chandra sources with the report's own memberships and SIMBAD match."""
    return ac.read(real_data / "chandra" / "csc2_gmm6_simbad_1615.csv")


def test_rho_ophiuchi_has_the_published_members(real_data):
    stars = ac.read(real_data / "gaia" / "rho_oph_sample_2300.vot")
    features = ac.Features(["X", "Y", "Z", "pmra", "pmdec"], scale="standard")
    found = ac.cluster(stars, DBSCAN(eps=0.418, min_samples=130), features=features)
    members = set(found["source_id"][found["cluster"] == 0].tolist())
    published = set(ac.read(real_data / "gaia" / "rho_oph_dbscan_eps0418_min130.vot")["source_id"].tolist())
    assert len(members) == 524
    assert members == published
    assert set(np.unique(found["cluster"])) == {-1, 0}


def test_the_reports_own_memberships_by_type(sample):
    types = ac.summarize(sample, by="main_type")
    mask = np.asarray(sample["main_type"].mask)
    kinds = [UNMATCHED if m else str(k) for k, m in zip(sample["main_type"].filled(""), mask, strict=True)]
    clusters = sample["cluster"].tolist()
    # Counted by hand: one row at a time.
    counts: dict[tuple[int, str], int] = {}
    sums: dict[tuple[int, str], list[float]] = {}
    for row, (cluster, kind) in enumerate(zip(clusters, kinds, strict=True)):
        counts[cluster, kind] = counts.get((cluster, kind), 0) + 1
        probabilities = sums.setdefault((cluster, kind), [0.0] * 6)
        for k in range(6):
            probabilities[k] += float(sample[f"prob_{k}"][row])
    found = {(int(r["cluster"]), str(r["main_type"])): r for r in types}
    assert found.keys() == counts.keys()
    for key, count in counts.items():
        assert found[key]["count"] == count
        for k in range(6):
            assert found[key][f"mean_prob_{k}"] == pytest.approx(sums[key][k] / count, abs=1e-6)
    assert sum(int(r["count"]) for r in types if r["main_type"] == UNMATCHED) == 98
    for cluster in range(6):
        part = types["count"][types["cluster"] == cluster]
        assert (np.diff(part) <= 0).all()
        assert part.sum() == clusters.count(cluster)


def punched(sample: QTable, fraction: float, seed: int) -> QTable:
    """Return the sample with a share of its feature cells taken away at random."""
    rng = np.random.default_rng(seed)
    out = sample.copy()
    for name in ac.recipes.CSC2.columns:
        out[name] = np.where(rng.random(len(out)) < fraction, np.nan, np.asarray(sample[name], dtype=float))
    return out


def test_every_row_gets_a_membership_whatever_it_lacks(sample):
    holed = punched(sample, 0.2, seed=1)
    found = ac.cluster(holed, "gmm", features=ac.recipes.CSC2, prefix="g_", n_components=6, random_state=42)
    assert not np.any(getattr(found["g_cluster"], "mask", False))
    total = sum(np.asarray(found[f"g_prob_{k}"]) for k in range(6))
    np.testing.assert_allclose(total, 1.0, rtol=1e-12)
    with pytest.raises(ac.InputError, match="row of 1615 has all features"):
        ac.cluster(holed, "gmm", missing="drop", features=ac.recipes.CSC2, prefix="g_", n_components=6)


def test_holes_cost_little_when_they_are_integrated_out(sample, record_testsuite_property, capsys):
    """Memberships stay near to those of the complete data, unlike by what is usual.

    All fits are on the scales of the complete data and start from its mixture, so that the holes
    are compared and not the luck of the start: two complete fits from different seeds agree to an
    ARI of 0.4 to 0.9 only.  A row that is dropped counts as a group of its own.
    """
    recipe = ac.recipes.CSC2.fit(sample)
    complete = ac.GaussianMixture(6, n_init=3, max_iter=500, random_state=42)
    labels = complete.fit_predict(recipe.transform(sample).values)
    start = ac.GaussianMixture(
        6,
        weights_init=complete.weights_,
        means_init=complete.means_,
        precisions_init=complete.precisions_,
        max_iter=500,
    )
    holed = punched(sample, 0.2, seed=1)
    agreement = {}
    for missing in ("marginalize", "median"):
        X = dataclasses.replace(recipe, missing=missing).transform(holed).values
        agreement[missing] = adjusted_rand_score(labels, start.fit_predict(X))
    usable = dataclasses.replace(recipe, missing="drop").transform(holed).usable
    assert usable.sum() < 6  # fewer than components: nothing can be fitted
    agreement["drop"] = adjusted_rand_score(labels, np.arange(len(labels)))
    for name, value in agreement.items():
        record_testsuite_property(f"ari_20_percent_missing_{name}", round(value, 4))
    with capsys.disabled():
        print(f"\nARI against the complete fit, 20 % of cells missing: {agreement}")
    assert agreement["marginalize"] > 0.7
    assert agreement["median"] < 0.2


def test_the_published_mixture_assigns_the_published_sources(real_data):
    """The 6 × 12 mixture that the authors stored gives our probabilities, theirs by scikit-learn."""
    from sklearn.mixture import GaussianMixture as SklearnMixture

    stored = np.load(real_data / "chandra" / "umlcaxs_gmm_6x12.npz")
    ours = ac.GaussianMixture.from_parameters(stored["weights"], stored["means"], stored["covariances"])
    theirs = SklearnMixture(6)
    theirs.weights_, theirs.means_, theirs.covariances_ = (
        stored["weights"],
        stored["means"],
        stored["covariances"],
    )
    theirs.precisions_cholesky_ = stored["precisions_cholesky"]
    catalogue = ac.read(real_data / "chandra" / "umlcaxs_classified_8271.csv")
    X = ac.recipes.CSC2_12.fit(catalogue).transform(catalogue).values
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=1e-8)
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=1e-8)


def test_ten_votables_are_one_table(real_data):
    folder = real_data / "chandra" / "confident"
    ten = ac.read(str(folder / "*.xml"))
    assert len(ten) == 10_552
    assert len(np.unique(ten["source_file"])) == 10
    out = ac.cluster(
        ten,
        features=ac.Features(["hard_*", "powlaw_gamma", "bb_kt", "var_*"]),
        n_components=6,
        random_state=42,
    )
    assert len(ac.records(out)[-1]["inputs"]) == 12
    assert len(out) == 10_552


@pytest.mark.parametrize("ending", ["vot", "fits", "ecsv", "parquet"])
@pytest.mark.parametrize(
    "name",
    [
        "chandra/csc2_gmm6_simbad_1615.csv",
        "gaia/rho_oph_sample_2300.vot",
        "quasars/dr16q_snr10_16328.fits",
        "simbad/rho_oph_314.xml",
        "chandra/confident/HMXB.xml",
    ],
)
def test_real_files_survive_every_format(real_data, tmp_path, name, ending):
    with contextlib.ExitStack() as stack:
        if name.startswith("simbad"):  # a unit of its own invention is kept as text, and said so
            stack.enter_context(pytest.warns(ac.AstroClusterWarning, match="kept as text"))
        table = ac.read(real_data / name)
        if name.startswith("simbad"):
            assert str(table["Fe_H:Teff"].unit) == "unit-degK"
            table.remove_column("Fe_H:Teff")
        back = ac.read(ac.write(table, tmp_path / f"t.{ending}"))
    assert back.colnames == table.colnames
    wrong = [n for n in table.colnames if content_hash(table, [n]) != content_hash(back, [n])]
    assert wrong == []
    for n in table.colnames:
        assert (table[n].info.meta or {}).get("ucd") == (back[n].info.meta or {}).get("ucd"), n
        # Lines may be broken elsewhere: XML does not keep them.
        assert (table[n].info.description or "").split() == (back[n].info.description or "").split(), n


def test_the_whole_way_on_real_files_and_again(real_data, tmp_path):
    out = ac.cluster(
        real_data / "chandra" / "umlcaxs_classified_8271.csv",
        features=ac.recipes.CSC2_12,
        n_components=6,
        random_state=42,
    )
    import astropy.units as u

    matched = ac.crossmatch(
        out, real_data / "simbad" / "basic_real_rows.csv", radius=3 * u.arcsec, find="each"
    )
    ac.write(matched, tmp_path / "matched.vot")
    again = ac.rerun(tmp_path / "matched.vot")
    assert again.colnames == matched.colnames
    assert content_hash(again) == content_hash(matched)
    types = ac.summarize(matched, by="main_type")
    assert types["count"].sum() == 8271
