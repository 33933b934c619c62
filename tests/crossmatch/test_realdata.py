"""The match of the Chandra report with SIMBAD, as TOPCAT and the CDS made it."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, unique

import astro_cluster as ac

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def report(real_data):
    return QTable.read(real_data / "chandra" / "csc2_gmm6_simbad_1615.csv", format="ascii.csv")


@pytest.fixture(scope="module")
def simbad(report):
    """The SIMBAD objects that occur in the report, each once."""
    found = report[~report["ra_x"].mask]["main_id", "ra_x", "dec_x"]
    return unique(found, keys=["main_id", "ra_x", "dec_x"])


def test_separations_are_those_of_the_cds(report, simbad):
    matched = ~report["ra_x"].mask
    assert matched.sum() == 1517
    out = ac.crossmatch(
        report["name_1", "ra", "dec", "main_id", "angDist"],
        simbad,
        radius=3 * u.arcsec,
        find="all",
        reference_position=("ra_x", "dec_x"),
    )
    same = out["main_id"] == out["main_id_2"]
    assert same.sum() == 1517
    gap = np.abs(out["match_separation"][same].value - out["angDist"][same])
    assert gap.max() < 1e-5


def test_each_finds_what_topcat_found(report, simbad):
    local = report["ra", "dec"]
    largest = float(report["angDist"].max()) + 1e-5
    out = ac.crossmatch(
        local, simbad, radius=largest * u.arcsec, position=("ra", "dec"), reference_position=("ra_x", "dec_x")
    )
    assert len(out) == 1615
    theirs = ~report["ra_x"].mask
    ours = ~out["match_separation"].mask
    assert (ours | ~theirs).all()
    # Ours may only be as near as theirs, or nearer.
    gap = out["match_separation"].unmasked.value[theirs] - report["angDist"][theirs]
    assert gap.max() < 1e-5
    place = SkyCoord(np.asarray(report["ra"]), np.asarray(report["dec"]), unit="deg")
    object_ = SkyCoord(np.ma.filled(report["ra_x"], 0), np.ma.filled(report["dec_x"], 0), unit="deg")
    assert np.abs(place.separation(object_).arcsec - np.ma.filled(report["angDist"], 0))[theirs].max() < 1e-5
