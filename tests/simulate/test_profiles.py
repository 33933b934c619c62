"""Shapes and artefacts against scipy, astropy and plain counting."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.modeling.models import Moffat2D, Sersic2D
from scipy.integrate import quad

from astro_cluster.simulate import blemishes, profiles

Y, X = np.mgrid[-25.0:26.0, -25.0:26.0]


@pytest.mark.parametrize("index", [0.5, 1.0, 2.3, 4.0, 6.5])
def test_sersic_is_that_of_astropy(index):
    reference = Sersic2D(amplitude=1, r_eff=6, n=index, ellip=0.4, theta=0.7)(X, Y)
    radius = profiles.elliptical_radius(X, Y, axis_ratio=0.6, angle=0.7)
    np.testing.assert_allclose(
        profiles.sersic(radius, index=index, effective_radius=6.0), reference, rtol=2e-3, atol=1e-12
    )


@pytest.mark.parametrize("index", [0.6, 1.0, 4.0])
def test_total_and_half_of_the_light(index):
    def light(radius: float) -> float:
        brightness = profiles.sersic(np.array(radius), index=index, effective_radius=2.0)
        return 2 * np.pi * radius * float(brightness)

    half, total = quad(light, 0, 2)[0], quad(light, 0, np.inf, limit=200)[0]
    assert half / total == pytest.approx(0.5, abs=1e-4)
    assert profiles.sersic_total(index=index, effective_radius=2.0) == pytest.approx(total, rel=1e-5)
    squeezed = profiles.sersic_total(index=index, effective_radius=2.0, axis_ratio=0.3)
    assert squeezed == pytest.approx(0.3 * total, rel=1e-5)


@pytest.mark.parametrize("beta", [1.5, 3.0, 4.765])
def test_moffat_is_that_of_astropy(beta):
    reference = Moffat2D(amplitude=1, gamma=4.0, alpha=beta)
    found = profiles.moffat(np.hypot(X, Y), fwhm=reference.fwhm, beta=beta)
    np.testing.assert_allclose(found, reference(X, Y), rtol=1e-9)


@pytest.mark.parametrize(("n_in", "n_out"), [(51, 112), (51, 22), (51, 51), (128, 70), (7, 100)])
def test_resampling_keeps_the_brightness_and_the_place(n_in, n_out):
    matrix = profiles.resampling_matrix(n_in, n_out)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-6)
    assert (matrix >= 0).all()
    centres = (np.arange(n_in) + 0.5) / n_in
    inside = slice(n_out // 5, -(n_out // 5))  # at the ends a window is cut
    np.testing.assert_allclose(
        (matrix @ centres)[inside], ((np.arange(n_out) + 0.5) / n_out)[inside], atol=0.2 / n_in + 0.2 / n_out
    )


def test_resampling_to_the_same_size_changes_nothing():
    np.testing.assert_allclose(profiles.resampling_matrix(9, 9), np.eye(9), atol=1e-6)


@pytest.mark.parametrize("sigma", [0.0, 0.55, 1.5])
def test_correlated_noise_has_unit_variance_and_the_right_correlation(sigma):
    rows = profiles.gaussian_rows(40, sigma)
    covariance = rows @ rows.T
    np.testing.assert_allclose(np.diag(covariance), 1, rtol=1e-5)
    kernel = np.exp(-0.5 * (np.arange(-8, 9) / max(sigma, 1e-3)) ** 2)
    expected = (kernel[1:] @ kernel[:-1]) / (kernel @ kernel)
    assert covariance[20, 21] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("angle", [0.0, 0.6, np.pi / 2, 2.5])
def test_a_spike_lies_along_its_angle(angle):
    bar = blemishes.fringed_spike(
        X, Y, np.array(2.0), angle=angle, offset=4.0, distance=500.0, width=5.0, fringe=60.0
    )
    across = Y * np.cos(angle) - X * np.sin(angle)
    assert abs(np.average(across, weights=bar) - 4.0) < 0.2
    assert bar[np.abs(across - 4) > 12].max() < 1e-4 < 0.5 < bar[np.abs(across - 4) < 1].min()


def test_stripes_spread_with_wavelength():
    y = np.linspace(-30, 30, 601)[:, np.newaxis]

    def distance_of_stripes(wavelength: float) -> float:
        bar = blemishes.fringed_spike(
            np.zeros((1, 1)), y, np.array(wavelength), contrast=1.0,
            angle=0.0, offset=0.0, distance=500.0, width=60.0, fringe=6.0,
        )[:, 0]  # fmt: skip
        peaks = y[1:-1, 0][(bar[1:-1] > bar[:-2]) & (bar[1:-1] > bar[2:])]
        return float(np.median(np.diff(peaks)))

    assert distance_of_stripes(2.0) == pytest.approx(6.0, abs=0.2)
    assert distance_of_stripes(4.0) == pytest.approx(12.0, abs=0.2)


def test_a_spike_fades_away_from_its_star():
    bar = blemishes.fringed_spike(
        np.array([[-20.0, 0.0, 20.0]]), np.zeros((1, 1)), np.array(2.0),
        angle=0.0, offset=0.0, distance=100.0, width=5.0, fringe=6.0,
    )[0]  # fmt: skip
    np.testing.assert_allclose(bar, [(100 / 80) ** 2, 1, (100 / 120) ** 2])


def test_star_spikes_have_as_many_arms_as_directions():
    spikes = blemishes.star_spikes(
        X, Y, angles=np.radians([90, 30, -30]), strengths=np.ones(3), length=30.0, width=1.0
    )
    turn = np.radians(np.arange(0, 360, 1.0))
    ring = spikes[np.round(25 + 20 * np.sin(turn)).astype(int), np.round(25 + 20 * np.cos(turn)).astype(int)]
    above = ring > 0.25
    assert (above & ~np.roll(above, 1)).sum() == 6


@pytest.mark.parametrize("steps", [0.0, 4.0])
def test_an_edge_has_a_depth_and_a_direction(steps):
    beyond = blemishes.beyond_edge(X, Y, angle=np.pi / 2, depth=10.0, steps=steps) > 0
    assert not beyond[:33].any()
    assert beyond[38:].all()
    staircase = blemishes.beyond_edge(X, Y, angle=0.8, depth=3.0, steps=4.0) > 0
    if steps:
        assert set(np.diff(staircase.sum(axis=0)).tolist()) != {0, -1}  # steps, no slope


def test_a_trail_crosses_the_whole_image():
    trail = blemishes.satellite_trail(X, Y, angle=0.3, offset=2.0, width=1.0)
    assert (trail.max(axis=0) > 0.8).all()
    assert (trail > 0.5).mean() < 0.08
