"""Resizing, against loops, SciPy and Pillow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from astro_cluster.cutouts import areakernels
from astro_cluster.cutouts.areakernels import area_by_matrix, area_compiled, overlaps
from astro_cluster.cutouts.shaping import common_size, keeps_bytes, recoloured, resized, size_of
from astro_cluster.exceptions import InputError

RNG = np.random.default_rng(3)
SIZES = st.integers(1, 12)


def by_brute_force(image, height, width):
    """Split every pixel into height x width equal parts, and average the parts under each new pixel."""
    fine = np.repeat(np.repeat(image, height, axis=0), width, axis=1)
    blocks = fine.reshape(height, image.shape[0], width, image.shape[1])
    there = np.isfinite(blocks)
    total = np.where(there, blocks, 0).sum(axis=(1, 3))
    count = there.sum(axis=(1, 3))
    enough = count * 2 >= image.shape[0] * image.shape[1]
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=enough)


@settings(max_examples=60, deadline=None)
@given(SIZES, SIZES, SIZES, SIZES, st.integers(0, 2**32 - 1), st.sampled_from(["f4", "f8"]))
def test_area_is_the_mean_over_the_area(h, w, height, width, seed, dtype):
    rng = np.random.default_rng(seed)
    image = rng.normal(10, 3, (h, w)).astype(dtype)
    image[rng.random((h, w)) < rng.choice([0, 0.4])] = np.nan
    out = resized(image, (height, width), "area")
    if (h, w) != (height, width):
        np.testing.assert_allclose(out, by_brute_force(image, height, width), rtol=1e-5)
        compiled = area_compiled(image[..., None], height, width)
        np.testing.assert_allclose(compiled, area_by_matrix(image[..., None], height, width), rtol=1e-9)


@settings(deadline=None)  # the first call compiles
@given(SIZES, SIZES, SIZES, SIZES, st.integers(0, 2**32 - 1))
def test_the_mean_is_kept_by_area_and_the_sum_by_flux(h, w, height, width, seed):
    image = np.random.default_rng(seed).normal(10, 3, (h, w))
    assert resized(image, (height, width), "area").mean() == pytest.approx(image.mean(), rel=1e-12)
    assert resized(image, (height, width), "flux").sum() == pytest.approx(image.sum(), rel=1e-12)


@settings(deadline=None)
@given(SIZES, SIZES, SIZES, SIZES, st.sampled_from(["area", "lanczos"]), st.floats(-1e6, 1e6, width=32))
def test_a_constant_image_stays_constant(h, w, height, width, resize, value):
    image = np.full((h, w), value, np.float32)
    np.testing.assert_allclose(resized(image, (height, width), resize), value, rtol=2e-6)


@given(SIZES, SIZES)
def test_the_parts_under_a_pixel_add_up(n_in, n_out):
    first, count, weights = overlaps(n_in, n_out)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert (weights >= 0).all()
    assert (first[0], (first + count)[-1]) == (0, n_in)
    # No sliver: each of the pixels that are named has a part of at least 1 / n_in.
    assert all(weights[i, : count[i]].min() >= 1 / n_in - 1e-12 for i in range(n_out))


def test_whole_factors_are_block_means():
    image = RNG.normal(size=(12, 20))
    np.testing.assert_allclose(
        resized(image, (4, 10)), image.reshape(4, 3, 10, 2).mean(axis=(1, 3)), rtol=1e-12
    )


def test_area_agrees_with_an_integral_by_interpolation():
    from scipy.interpolate import RegularGridInterpolator

    image = RNG.normal(size=(30, 17))
    cumulated = np.pad(image, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    integral = RegularGridInterpolator((np.arange(31), np.arange(18)), cumulated)
    at = np.stack(np.meshgrid(np.linspace(0, 30, 8), np.linspace(0, 17, 6), indexing="ij"), axis=-1)
    expected = np.diff(np.diff(integral(at), axis=0), axis=1) / (30 / 7 * 17 / 5)
    np.testing.assert_allclose(resized(image, (7, 5)), expected, rtol=1e-9)


def test_colours_are_resized_one_by_one():
    image = RNG.normal(size=(9, 8, 3))
    for resize in ("area", "lanczos"):
        out = resized(image, (4, 5), resize)
        for k in range(3):
            np.testing.assert_array_equal(
                out[..., k], resized(np.ascontiguousarray(image[..., k]), (4, 5), resize)
            )


def test_lanczos_is_that_of_pillow():
    image = RNG.normal(size=(20, 30)).astype(np.float32)
    expected = np.asarray(Image.fromarray(image).resize((10, 8), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(resized(image, (8, 10), "lanczos"), expected)
    whole = RNG.integers(0, 255, (20, 30, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(whole).resize((10, 8), Image.Resampling.LANCZOS))
    found = resized(whole, (8, 10), "lanczos")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


def test_a_gap_stays_where_it_is_under_lanczos():
    image = np.ones((40, 40))
    image[:, :20] = np.nan
    out = resized(image, (10, 10), "lanczos")
    assert np.isnan(out[:, :5]).all()
    np.testing.assert_allclose(out[:, 5:], 1, rtol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_left_out_of_means(value):
    image = np.ones((4, 4))
    image[0, 0] = value
    image[2:, 2:] = value
    assert resized(image, (2, 2))[0].tolist() == [1, 1]
    assert np.isnan(resized(image, (2, 2))[1, 1])


def test_bytes_stay_bytes():
    image = RNG.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    out = resized(image, (4, 4))
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, np.rint(resized(image.astype(float), (4, 4))))
    assert resized(image, (4, 4), "flux").dtype == np.float64


def test_without_numba_products_of_matrices_do(monkeypatch):
    image = RNG.normal(size=(9, 8, 2))
    expected = area_compiled(image, 4, 3)
    monkeypatch.setattr(areakernels, "_compiled", lambda: None)
    np.testing.assert_allclose(area_compiled(image, 4, 3), expected, rtol=1e-12)


def test_the_middle_is_cut_out_or_padded():
    image = np.arange(25.0).reshape(5, 5)
    np.testing.assert_array_equal(resized(image, (3, 3), "crop"), image[1:4, 1:4])
    padded = resized(image, (7, 3), "pad")
    np.testing.assert_array_equal(padded[1:6], image[:, 1:4])
    assert np.isnan(padded[[0, 6]]).all()
    # The middle pixel, n // 2, stays the middle one for any sizes.
    for n in range(1, 8):
        for m in range(1, 8):
            line = np.zeros((n, n))
            line[n // 2, n // 2] = 1
            assert resized(line, (m, m), "pad")[m // 2, m // 2] == 1
    whole = np.ones((3, 3, 3), np.uint8)
    assert resized(whole, (2, 2), "crop").dtype == np.uint8
    assert resized(whole, (4, 2), "pad").dtype == np.float32


def test_colour():
    grey, rgb = np.array([[1, 2]], np.uint8), np.array([[[1, 2, 4]]], np.uint8)
    assert recoloured(grey, 3).tolist() == [[[1, 1, 1], [2, 2, 2]]]
    assert recoloured(rgb, 0).tolist() == [[2]]
    assert recoloured(rgb, 0).dtype == np.uint8
    assert recoloured(rgb.astype(float), 0)[0, 0] == pytest.approx(7 / 3)
    assert recoloured(rgb, 3) is rgb
    with pytest.raises(ValueError, match="it has 3 channels, and the others have 4"):
        recoloured(rgb, 4)


@pytest.mark.parametrize("size", [0, -1, 2.5, "128", (1, 2, 3), (0, 4), (True, 4), 10**6, [None, 3]])
def test_sizes_that_are_none(size):
    with pytest.raises(InputError, match="is no size"):
        size_of(size)


def test_common_sizes():
    assert size_of(np.int64(5)) == (5, 5)
    assert size_of([3, 4]) == (3, 4)
    assert common_size([(3, 3)], None, "none") == (3, 3)
    assert common_size([(3, 3), (4, 4)], (5, 5), "pad") == (5, 5)
    assert common_size([(3, 3), (4, 4)], (5, 5), "area") == (5, 5)
    with pytest.raises(InputError, match="2 sizes, 3 to 4 high and 3 to 5 wide: give size=128"):
        common_size([(3, 3), (4, 5)], None, "area")
    with pytest.raises(InputError, match="the images are 3 × 3 pixels, and resize='none'"):
        common_size([(3, 3)], (5, 5), "none")
    assert keeps_bytes([(5, 5)], (4, 4), "crop")
    assert not keeps_bytes([(5, 5)], (4, 4), "flux")
