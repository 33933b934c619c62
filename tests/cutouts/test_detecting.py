"""Sources in images: known stars, and photutils itself as the reference."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import astro_cluster as ac
from astro_cluster.cutouts.detecting import DETECTIONS, detections_of, sources_in
from astro_cluster.exceptions import InputError

pytest.importorskip("photutils")

Star = tuple[float, float, float]


def _field(stars: list[Star], size: int = 64, seed: int = 0) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    image = np.random.default_rng(seed).normal(10, 1, (size, size))
    for x0, y0, peak in stars:
        image += peak * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 8)
    return image


STARS: list[Star] = [(31.5, 31.5, 100), (10.2, 50.7, 200), (50.0, 12.0, 40)]


def test_known_stars_are_found_with_their_places_and_fluxes() -> None:
    found = sources_in(_field(STARS))
    assert len(found.x) == 3
    np.testing.assert_allclose(found.x, [10.2, 31.5, 50.0], atol=0.2)
    np.testing.assert_allclose(found.y, [50.7, 31.5, 12.0], atol=0.2)
    np.testing.assert_allclose(found.flux / found.flux[1], [2, 1, 0.4], rtol=0.1)
    assert (found.pixels >= 5).all()


def test_segments_are_those_of_photutils() -> None:
    from astropy.convolution import convolve
    from photutils.background import Background2D, MedianBackground
    from photutils.segmentation import SourceCatalog, detect_sources, make_2dgaussian_kernel

    shifts = np.random.default_rng(5).uniform(-5, 5, (9, 2))
    places = [(20 + 30 * (i % 3), 20 + 30 * (i // 3)) for i in range(9)]
    stars = [(x + dx, y + dy, 60.0) for (x, y), (dx, dy) in zip(places, shifts, strict=True)]
    image = _field(stars, size=100)
    background = Background2D(image, (100, 100), bkg_estimator=MedianBackground())
    above = image - background.background
    smooth = convolve(above, make_2dgaussian_kernel(2.0, size=5))
    segments = detect_sources(smooth, 1.5, 5)
    catalog = SourceCatalog(above, segments)
    ours = sources_in(image)
    bright = catalog.segment_flux > 200
    assert bright.sum() == 9
    for (x, y), flux in zip(catalog.centroid[bright], catalog.segment_flux[bright], strict=True):
        distance = np.hypot(ours.x - x, ours.y - y)
        nearest = int(np.argmin(distance))
        assert distance[nearest] < 0.3
        assert ours.flux[nearest] == pytest.approx(flux, rel=0.2)


def test_the_brightest_neighbour_is_told() -> None:
    found = detections_of(_field(STARS))
    assert found["n_sources"] == 3
    assert found["neighbour_distance"] == pytest.approx(np.hypot(31.5 - 10.2, 31.5 - 50.7), abs=0.3)
    assert found["neighbour_ratio"] == pytest.approx(2, rel=0.1)
    faint = detections_of(_field([(32, 32, 200), (10, 10, 50)]))
    assert faint["neighbour_ratio"] == pytest.approx(0.25, rel=0.15)
    for stars in ([(32, 32, 100)], [(5, 5, 100), (58, 58, 100)], []):  # alone, or none in the middle
        alone = detections_of(_field(stars))  # type: ignore[arg-type]
        assert alone["n_sources"] == len(stars)
        assert np.isnan([alone["neighbour_distance"], alone["neighbour_ratio"]]).all()


@pytest.mark.parametrize("distance", [10, 13, 18])
def test_sources_that_touch_are_taken_apart(distance: float) -> None:
    y, x = np.mgrid[:64, :64]
    galaxy = 60 * np.exp(-np.hypot(x - 31.5, 1.3 * (y - 31.5)) / 5)
    stars = [(31.5 + distance, 31.5, 150.0)]
    found = detections_of(_field(stars) + galaxy)
    assert found["n_sources"] == 2
    assert found["neighbour_distance"] == pytest.approx(distance, rel=0.25)
    for seed in range(10):  # and noise makes no sources of one
        assert detections_of(_field([], seed=seed) + galaxy)["n_sources"] == 1


def test_gaps_and_missing_pixels_do_not_matter() -> None:
    for gap in (0.0, np.nan):
        image = _field(STARS)
        image[:, 56:] = gap
        found = sources_in(image)
        np.testing.assert_allclose(found.x, [10.2, 31.5, 50.0], atol=0.3)
    colour = np.stack([_field(STARS, seed=seed) for seed in range(3)], axis=2)
    assert len(sources_in(colour).x) == 3


def test_the_step_and_its_masks() -> None:
    images = np.stack([_field(STARS), _field([(32, 32, 100)]), _field(STARS)]).astype("f4")
    images[2] = np.nan
    table = QTable({"image": images, "image_bad": [False, False, True]})
    out, two = ac.image_sources(table, n_jobs=1), ac.image_sources(table, n_jobs=2)
    assert out.colnames[2:] == list(DETECTIONS)
    assert out["n_sources"].tolist() == [3, 1, None]
    assert out["neighbour_distance"].mask.tolist() == [False, True, True]
    assert out["neighbour_distance"].unit == u.pix
    for name in DETECTIONS:
        np.testing.assert_array_equal(out[name].mask, two[name].mask)
        assert out[name][0] == two[name][0]
    with pytest.raises(InputError, match="n_sources"):
        ac.image_sources(out)
    with pytest.raises(InputError, match="above 0"):
        ac.image_sources(table, threshold=0)
    again = ac.rerun(out)
    assert again["n_sources"].tolist() == [3, 1, None]


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from(["f4", "f8", "u1", "i2"]),
        st.tuples(st.integers(1, 15), st.integers(1, 15)),
    )
)
def test_any_image_is_looked_at(image: np.ndarray) -> None:
    found = detections_of(image)
    assert found["n_sources"] >= 0
    assert not np.isinf(list(found.values())).any()


def test_without_photutils_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "photutils.segmentation", None)
    with pytest.raises(InputError, match=r'pip install "astro_cluster\[images\]"'):
        ac.image_sources(QTable({"image": np.zeros((1, 9, 9))}))
