from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astro_cluster.vo.hulls import HullError, cap_of, hull_of, nearest_to_the_median, to_lonlat, to_vectors


def around(lon, lat, radius, n, seed=0):
    """Return points within a circle on the sphere, in degrees, by rotation from the pole."""
    rng = np.random.default_rng(seed)
    distance = np.radians(radius) * np.sqrt(rng.uniform(0, 1, n))
    points = to_vectors(rng.uniform(0, 2 * np.pi, n), np.pi / 2 - distance)
    tilt, turn = np.radians(90 - lat), np.radians(lon)
    about_y = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    return points @ (about_z @ about_y).T


def least_height(corners, points):
    """Return how far inside each point is of the great circle of every side; all of one sign."""
    normals = np.cross(corners, np.roll(corners, -1, axis=0))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    heights = points @ normals.T
    return (heights * np.sign(heights.sum())).min()


@pytest.mark.parametrize("place", [(10, 0), (0, 0), (359.9, -20), (50, 90), (200, -89.9), (180, 45)])
@pytest.mark.parametrize("radius", [1e-5, 0.01, 3, 30, 70])
def test_all_points_are_within(place, radius):
    points = around(*place, radius, 200)
    corners = hull_of(points)
    assert least_height(corners, points) > -1e-11
    # Nothing but points and what lies between two of them makes the hull.
    on_a_point = (np.abs(corners[:, None] - points[None]).max(axis=2) < 1e-11).any(axis=1)
    assert on_a_point.sum() >= 3
    assert least_height(corners, corners) > -1e-11


def test_a_known_hull():
    square = to_vectors(np.radians([-1.0, 1.0, 1.0, -1.0, 0.0]) / 100, np.radians([-1, -1, 1, 1, 0.0]) / 100)
    lon, lat = to_lonlat(hull_of(square))
    lon = (np.degrees(lon) + 180) % 360 - 180
    assert sorted(zip(lon.round(6), np.degrees(lat).round(6), strict=True)) == [
        (-0.01, -0.01), (-0.01, 0.01), (0.01, -0.01), (0.01, 0.01)
    ]  # fmt: skip


def test_the_order_of_rows_does_not_matter():
    points = around(0, 89, 5, 100)
    one, other = hull_of(points), hull_of(points[::-1])
    assert {tuple(v) for v in one.round(9)} == {tuple(v) for v in other.round(9)}


def test_long_sides_follow_great_circles():
    """An octant of the sphere has sides of 90 deg along great circles."""
    corners = hull_of(np.eye(3))
    assert len(corners) == 270
    assert np.abs(corners).min(axis=1) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_points_in_a_line_have_none(n):
    assert hull_of(to_vectors(np.linspace(0, 0.1, n), np.zeros(n))) is None
    assert hull_of(np.repeat([[0.0, 0.6, 0.8]], n, axis=0)) is None


@pytest.mark.parametrize(
    "points",
    [
        np.concatenate([np.eye(3), -np.eye(3)]),
        np.array([[1.0, 0, 0], [-1.0, 0, 0]]),
        np.array([[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0]]),
        around(0, 0, 100, 500),
        around(0, 0, 180, 5000),
    ],
)
def test_too_wide(points):
    with pytest.raises(HullError):
        hull_of(points)


def test_many_at_one_end_do_not_hide_the_other():
    """The mean is far from the middle here, and a point 150 deg from it has a hull all the same."""
    points = np.concatenate([around(0, 0, 1, 5000), around(140, 0, 1, 2)])
    assert np.degrees(cap_of(points)[1]) == pytest.approx(71, abs=0.5)
    assert least_height(hull_of(points), points) > -1e-11


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.floats(-90, 90), st.floats(0, 360), st.floats(1e-6, 170))
def test_the_cap_holds_all(seed, n, lat, lon, radius):
    points = around(lon, lat, radius, n, seed)
    centre, found = cap_of(points)
    assert np.linalg.norm(centre) == pytest.approx(1)
    assert np.arccos(np.clip(points @ centre, -1, 1)).max() <= found + 1e-7
    assert found <= np.radians(2 * radius) + 1e-7


def test_the_outermost_are_left_out():
    points = np.concatenate([around(0, 0, 1, 95), around(0, 20, 1, 5)])
    assert nearest_to_the_median(points, 0.95).tolist() == list(range(95))
    assert len(nearest_to_the_median(points, 0.951)) == 96
    assert len(nearest_to_the_median(points, 1.0)) == 100
    assert len(nearest_to_the_median(points, 1e-9)) == 1


def test_the_way_there_and_back():
    lon, lat = np.random.default_rng(0).uniform([[0], [-1.5]], [[6.28], [1.5]], (2, 50))
    assert np.allclose(to_lonlat(to_vectors(lon, lat)), [lon, lat])
