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


@pytest.fixture(scope="module")
def chandra_and_simbad(real_data):
    """Nearly the whole sample, and real objects of SIMBAD."""
    local = QTable.read(real_data / "chandra" / "csc2_positions_22995.csv", format="ascii.csv")
    objects = QTable.read(real_data / "simbad" / "basic_real_rows.csv", format="ascii.csv")
    return local["ra", "dec", "name"], objects["main_id", "ra", "dec"]


def test_two_ways_of_counting_false_matches_agree(chandra_and_simbad):
    curve = ac.choose_radius(*chandra_and_simbad, radii=[1, 2, 5, 10] * u.arcsec)
    by_shift, by_density = curve["false_by_shift"], curve["false_by_density"]
    assert np.all(by_density[1:] > 20)
    np.testing.assert_allclose(by_shift, by_density, rtol=0.15)
    assert np.all(curve["false_fraction"] < 0.2)


def test_chandra_is_not_matched_farther_than_it_sees(chandra_and_simbad):
    """Half of the pairs of the CDS are within 0.28 arcsec, 95 % within 1.7: so are the ones that are sure."""
    out = ac.crossmatch(*chandra_and_simbad, radius=20 * u.arcsec, find="best")
    p, gap = np.asarray(out["match_p_false"]), out["match_separation"].to_value(u.arcsec)
    assert np.quantile(gap[p < 0.05], 0.95) < 4
    assert np.median(gap[p > 0.5]) > 8
    assert p[gap < 0.5].max() < 0.2


def test_chandra_by_errors(chandra_and_simbad):
    """With one error for all rows it finds what a match within 1 arcsec finds."""
    options = {"position_error": 0.4 * u.arcsec, "reference_position_error": 0.2 * u.arcsec}
    likely = ac.crossmatch(*chandra_and_simbad, method="bayes", **options)
    near = ac.crossmatch(*chandra_and_simbad, radius=1 * u.arcsec)
    both = ~likely["match_separation"].mask & ~near["match_separation"].mask
    assert both.sum() > 0.99 * (~near["match_separation"].mask).sum()
    assert np.mean(likely["main_id"][both] == near["main_id"][both]) > 0.98
    assert ac.records(likely)[-1]["bayes"]["completeness"] == pytest.approx(0.175, abs=0.02)
