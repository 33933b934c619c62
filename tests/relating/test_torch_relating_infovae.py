"""What an InfoVAE has made of spectra is held against the truth, and searched for outliers."""

from __future__ import annotations

import numpy as np
import pytest

import astro_cluster as ac

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def embedded():
    quasars = ac.simulate.quasars(150, grid="3625:9000:120", random_state=1)
    return ac.embed(quasars, ac.InfoVAE(3, epochs=8, random_state=1), faithfulness=False)


def test_what_the_latents_know(embedded):
    found = ac.predictability(embedded, "redshift,snr_median", random_state=1)
    assert set(ac.records(found)[-1]["inputs"]) == {"redshift", "snr_median", "latent", "source_id"}
    assert (found["count"] == 150).all()
    shuffled = embedded.copy()
    shuffled["latent"] = np.random.default_rng(1).permutation(np.asarray(embedded["latent"]))
    blind = ac.predictability(shuffled, "redshift", random_state=1)
    assert found["r2"][0] > blind["r2"][0] + 0.1
    pairs = ac.rank_correlations(embedded, "redshift", samples=50, random_state=1)
    assert pairs["against"].tolist() == ["latent[0]", "latent[1]", "latent[2]"]


def test_outliers_of_an_infovae(embedded):
    out = ac.outliers(embedded, given="snr_median", random_state=1)
    assert out.colnames[-4:] == ["latent_log_density", "outlier_score", "inspection_rank", "outlier_reason"]
    record = ac.records(out)[-1]
    assert set(record["inputs"]) == {"latent", "reconstruction_chi2", "snr_median"}
    assert set(out["outlier_reason"]) == {"density", "reconstruction"}
