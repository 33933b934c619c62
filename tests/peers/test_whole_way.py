"""The main job with the real programs: what TOPCAT shows is what we computed."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u

import astro_cluster as ac

from . import programs
from .awkward import assert_same

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def matched():
    """Simulated sources, some rows incomplete, clustered twice, matched, with labels left out."""
    sources = ac.simulate.chandra(1200, random_state=5)
    found = ac.cluster(
        sources, "gmm", features=ac.recipes.CSC2_12, n_components=4, random_state=42, prefix="gmm4_"
    )
    found = ac.cluster(found, "dbscan", features="hard_*", eps=0.1, min_samples=20, prefix="db_")
    found = ac.cluster(found, "kmeans", features="bb_kt", n_clusters=2, random_state=1, prefix="km_")
    assert np.any(found["km_cluster"].mask)
    return ac.crossmatch(found, ac.simulate.simbad(sources), radius=1 * u.arcsec, find="each")


def test_topcat_shows_the_clustered_table(topcat, matched, display, tmp_path):
    table_id = ac.send(matched, to="topcat", name="clustered")
    programs.wait_for(lambda: topcat.knows(table_id), 10, "the table in TOPCAT")
    assert_same(topcat.table(), matched)
    programs.screenshot(display, tmp_path / "topcat.png")


def test_topcat_shows_the_real_catalogue(topcat, real_data):
    table = ac.read(real_data / "chandra" / "csc2_gmm6_simbad_1615.csv")
    out = ac.cluster(table, "gmm", features=ac.recipes.CSC2, n_components=6, random_state=42, prefix="gmm6_")
    table_id = ac.send(out, to="topcat")
    programs.wait_for(lambda: topcat.knows(table_id), 10, "the table in TOPCAT")
    assert_same(topcat.table(), out)


def test_votlint_is_clean_on_every_file_of_the_way(stilts, matched, tmp_path):
    sources = matched["name", "ra", "dec", "bb_kt"]
    files = {
        "matched": matched,
        "model": ac.model_table(matched, prefix="gmm4_"),
        "types": ac.summarize(matched, "gmm4_cluster", by="main_type"),
        "sizes": ac.summarize(matched, "db_cluster"),
        "inspected": ac.inspect(matched, "gmm4_cluster", label="true_type", value="Star"),
        "objects": ac.simulate.simbad(matched),
        "all": ac.crossmatch(sources, sources, radius=1 * u.arcmin, find="all"),
    }
    for name, table in files.items():
        path = ac.write(table, tmp_path / f"{name}.vot")
        said = stilts("votlint", path).splitlines()
        assert [line for line in said if line.startswith(("ERROR", "WARNING"))] == [], name
        assert stilts("tpipe", path, "omode=count").split()[-1] == str(len(table)), name
