"""The match of the Chandra report with SIMBAD, as TOPCAT and the CDS made it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, unique
from astropy.utils.exceptions import AstropyWarning

import astro_cluster as ac

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def report(real_data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # probabilities of 1e-320
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


@pytest.mark.parametrize("radius", [1.0, 3.0])
def test_each_finds_what_topcat_found(report, simbad, radius):
    """The nearest object is the report's own in every row; no row without a match gets one."""
    local = report["ra", "dec", "main_id", "angDist"]
    out = ac.crossmatch(
        local,
        simbad,
        radius=radius * u.arcsec,
        position=("ra", "dec"),
        reference_position=("ra_x", "dec_x"),
    )
    theirs = np.ma.filled(report["angDist"], np.inf) <= radius
    assert theirs.sum() == {1.0: 1316, 3.0: 1517}[radius]
    assert np.array_equal(~out["match_separation"].mask, theirs)
    assert (out["main_id_2"][theirs] == report["main_id"][theirs]).all()
    gap = np.abs(out["match_separation"].unmasked.value[theirs] - report["angDist"][theirs])
    assert gap.max() < 1e-5
    assert (out["main_id"] == report["main_id"])[theirs].all()
