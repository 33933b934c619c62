from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable

import astro_cluster as ac
from astro_cluster.vo.ellipses import error_ellipses

MAS = 1 / 3.6e6


def table(**columns):
    n = len(next(iter(columns.values())))
    return QTable({"ra": np.full(n, 10.0) * u.deg, "dec": np.full(n, 60.0) * u.deg} | columns)


@pytest.mark.parametrize(
    ("names", "factor"),
    [
        (("err_ellipse_r0", "err_ellipse_r1", "err_ellipse_ang"), 2.447747),
        (("coo_err_maj", "coo_err_min", "coo_err_angle"), 1),
        (("COO_ERR_MAJA", "COO_ERR_MINA", "COO_ERR_ANGLE"), 1),
        (("errMaj", "errMin", "errPA"), 1),
        (("eeMaj", "eeMin", "eePA"), 1),
        (("ERRA_WORLD", "ERRB_WORLD", "ERRTHETA_J2000"), 1),
    ],
)
def test_the_axes_that_catalogues_have(names, factor):
    cat = table(**dict(zip(names, ([3.0] * u.mas, [1.0] * u.mas, [30.0] * u.deg), strict=True)))
    major, minor, angle = error_ellipses(cat, ("ra", "dec"))
    assert (major[0], minor[0], angle[0]) == pytest.approx((3 * MAS / factor, MAS / factor, 30), rel=1e-5)


def test_units_and_order_of_the_axes():
    cat = table(a=[1.0, 2.0] * u.arcsec, b=[0.001, 0.0001] * u.deg, pa=np.array([170.0, 170.0]))
    major, minor, angle = error_ellipses(cat, ("ra", "dec"), ("a", "b", "pa"))
    assert major * 3600 == pytest.approx([3.6, 2.0])
    assert minor * 3600 == pytest.approx([1.0, 0.36])
    assert angle == pytest.approx([80, 170])  # where b is the longer one it is the one at the angle + 90


def test_axes_that_have_lost_their_unit():
    """Chandra's are in arcseconds always; SIMBAD's in milliarcseconds or, from the X-Match, in arcseconds."""
    simbad = table(coo_err_maj=[3.0], coo_err_min=[1.0], coo_err_angle=[30.0])
    with pytest.raises(ac.InputError, match="'coo_err_maj' has no unit"):
        error_ellipses(simbad, ("ra", "dec"))
    chandra = table(err_ellipse_r0=[2.447747], err_ellipse_r1=[1.0], err_ellipse_ang=[30.0])
    assert error_ellipses(chandra, ("ra", "dec"))[0][0] * 3600 == pytest.approx(1, rel=1e-6)


def test_naming_the_columns_of_a_catalogue_changes_nothing():
    cat = table(err_ellipse_r0=[3.0] * u.mas, err_ellipse_r1=[1.0] * u.mas, err_ellipse_ang=[30.0] * u.deg)
    named = error_ellipses(cat, ("ra", "dec"), ["err_ellipse_r0", "err_ellipse_r1", "err_ellipse_ang"])
    assert np.array_equal(named, error_ellipses(cat, ("ra", "dec")))
    assert named[0][0] == pytest.approx(3 * MAS / 2.447747, rel=1e-6)


def test_a_circle_needs_no_angle():
    cat = table(a=[1.0, 1.0] * u.mas, b=[1.0, 0.5] * u.mas, pa=MaskedColumn([0, 0], mask=True))
    major, _, angle = error_ellipses(cat, ("ra", "dec"), ("a", "b", "pa"))
    assert np.isnan(major).tolist() == [False, True]
    assert angle[0] == 0


@pytest.mark.parametrize("rho", [0.0, 0.5, -0.9, 0.999999])
@pytest.mark.parametrize(("east", "north"), [(1.0, 1.0), (0.2, 3.0), (3.0, 0.2)])
def test_the_covariance(east, north, rho):
    """The axes and the angle are those of the eigenvectors."""
    cat = table(ra_error=[east] * u.mas, dec_error=[north] * u.mas, ra_dec_corr=[rho])
    major, minor, angle = (values[0] for values in error_ellipses(cat, ("ra", "dec")))
    covariance = np.array([[north**2, rho * east * north], [rho * east * north, east**2]])
    values, vectors = np.linalg.eigh(covariance)
    assert (minor / MAS, major / MAS) == pytest.approx(tuple(np.sqrt(values)), rel=1e-6)
    if major > minor * 1.001:
        along = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])  # North, East
        assert abs(along @ vectors[:, 1]) == pytest.approx(1)


@pytest.mark.parametrize("names", [("e_RAJ2000", "e_DEJ2000"), ("RAJ2000_error", "DEJ2000_error")])
def test_the_names_follow_those_of_the_position(names):
    cat = QTable({"RAJ2000": [1.0] * u.deg, "DEJ2000": [2.0] * u.deg})
    for name in names:
        cat[name] = [2.0] * u.mas
    assert error_ellipses(cat, ("RAJ2000", "DEJ2000"))[0][0] == pytest.approx(2 * MAS)


def test_a_mapping_names_them():
    cat = table(x=[4.0] * u.mas, y=[3.0] * u.mas, c=[0.0])
    given = {"ra": "x", "dec": "y", ("ra", "dec"): "c"}
    major, minor, angle = error_ellipses(cat, ("ra", "dec"), given)
    assert (major[0] / MAS, minor[0] / MAS, angle[0]) == pytest.approx((4, 3, 90))


def test_those_of_the_position_come_first():
    cat = table(
        ra_error=[1.0] * u.mas, dec_error=[1.0] * u.mas,
        coo_err_maj=[9.0] * u.mas, coo_err_min=[9.0] * u.mas, coo_err_angle=[0.0] * u.deg,
    )  # fmt: skip
    assert error_ellipses(cat, ("ra", "dec"))[0][0] == pytest.approx(MAS)


def test_what_is_no_error():
    bad = [1.0, np.nan, -1.0, 0.0, np.inf, 1.0, 1.0]
    cat = table(ra_error=bad * u.mas, dec_error=np.ones(7) * u.mas)
    cat["ra_dec_corr"] = MaskedColumn([0.5, 0, 0, 0, 0, 2.0, 0], mask=[False] * 6 + [True])
    assert np.isnan(error_ellipses(cat, ("ra", "dec"))[0]).tolist() == [False] + [True] * 6


@pytest.mark.parametrize("angle", [0, 40, 100])
def test_galactic_errors_are_turned(angle):
    """An ellipse along a Galactic direction points at the same stars in ICRS."""
    here = SkyCoord(30 * u.deg, 60 * u.deg, frame="galactic")
    there = here.directional_offset_by(angle * u.deg, 1 * u.arcsec)
    cat = QTable({"l": [30.0] * u.deg, "b": [60.0] * u.deg, "m": [2.0] * u.mas, "n": [1.0] * u.mas})
    sigma = [2 * np.sin(np.radians(angle)), 2 * np.cos(np.radians(angle))]
    small = [np.cos(np.radians(angle)), -np.sin(np.radians(angle))]
    east, north = np.hypot(sigma[0], small[0]), np.hypot(sigma[1], small[1])
    cat["e_l"], cat["e_b"] = [east] * u.mas, [north] * u.mas
    cat["rho"] = [(sigma[0] * sigma[1] + small[0] * small[1]) / east / north]
    given = {"l": "e_l", "b": "e_b", ("l", "b"): "rho"}
    major, minor, found = error_ellipses(cat, ("l", "b"), given)
    assert (major[0] / MAS, minor[0] / MAS) == pytest.approx((2, 1))
    wanted = here.icrs.position_angle(there.icrs).deg % 180
    assert (found[0] - wanted + 90) % 180 - 90 == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("columns", "errors", "words"),
    [
        ({"x": [1.0]}, None, "no columns that are known to be errors of positions; give errors="),
        ({"x": [1.0]}, "yes", "errors='yes' gives no ellipses"),
        ({"x": [1.0]}, ("x", "x"), "gives no ellipses; give errors="),
        ({"x": [1.0]}, ("x", "y", "z"), "no column 'y'"),
        ({"a": [1.0], "b": [1.0], "pa": [0.0]}, ("a", "b", "pa"), r"'a' has no unit.*table\['a'\].unit"),
        (
            {"a": [1.0] * u.s, "b": [1.0] * u.mas, "pa": [0.0]},
            ("a", "b", "pa"),
            "'a' is in 's', which is not",
        ),
        ({"ra_error": [1.0] * u.mas}, {"ra": "ra_error"}, "errors of ra only"),
        ({"ra_error": [1.0] * u.mas}, None, "no columns that are known"),
        ({"a": ["x"], "b": [1.0], "pa": [0.0]}, ("a", "b", "pa"), "'a' holds no numbers"),
        ({"ra_error": [1.0], "ra_err": [1.0], "dec_error": [1.0]}, None, "several columns"),
    ],
)
def test_what_is_wrong_is_said(columns, errors, words):
    with pytest.raises(ac.InputError, match=words):
        error_ellipses(table(**columns), ("ra", "dec"), errors)
