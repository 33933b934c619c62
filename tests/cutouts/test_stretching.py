"""Scalings, against astropy.visualization."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.visualization import (
    AsinhStretch,
    LinearStretch,
    LogStretch,
    ManualInterval,
    MinMaxInterval,
    ZScaleInterval,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from astro_cluster.cutouts.stretching import SCALINGS, check_percentiles, stretched
from astro_cluster.exceptions import InputError

RNG = np.random.default_rng(7)
IMAGE = RNG.lognormal(0, 1, (50, 60))
SCALED = [name for name in SCALINGS if name != "none"]


def _of_percentiles(low, high):
    return ManualInterval(*np.percentile(IMAGE, [low, high]))


@pytest.mark.parametrize(
    ("scale", "percentiles", "interval", "stretch"),
    [
        ("minmax", None, MinMaxInterval(), LinearStretch()),
        ("percentile", None, _of_percentiles(1, 99), LinearStretch()),
        ("percentile", (5, 95), _of_percentiles(5, 95), LinearStretch()),
        ("asinh", None, MinMaxInterval(), AsinhStretch()),
        ("asinh", (0, 99), _of_percentiles(0, 99), AsinhStretch()),
        ("log", None, MinMaxInterval(), LogStretch()),
        ("log", (2, 98), _of_percentiles(2, 98), LogStretch()),
        ("zscale", None, ZScaleInterval(), LinearStretch()),
    ],
)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_scalings_are_those_of_astropy(scale, percentiles, interval, stretch, dtype):
    limits = check_percentiles(percentiles, scale)
    found = stretched(IMAGE.astype(dtype), scale, limits)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, (stretch + interval)(IMAGE), atol=2e-6 if dtype == "f4" else 1e-12)


@pytest.mark.parametrize("scale", SCALED)
def test_nan_is_left_out_and_kept(scale):
    image = IMAGE.copy()
    image[::7, ::5] = np.nan
    image[0, 1], image[1, 0] = np.inf, -np.inf
    limits = check_percentiles(None, scale)
    found = stretched(image, scale, limits)
    there = np.isfinite(image)
    np.testing.assert_array_equal(np.isfinite(found), there)
    np.testing.assert_allclose(found[there], stretched(image[there], scale, limits))


@pytest.mark.parametrize("scale", SCALED)
@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
def test_constant_images_become_zero(scale, dtype):
    found = stretched(np.full((5, 6), 7, dtype), scale, check_percentiles(None, scale))
    assert not found.any()
    gap = np.full((5, 6), 7.0)
    gap[0] = np.nan
    found = stretched(gap, scale, check_percentiles(None, scale))
    assert np.isnan(found[0]).all()
    assert not found[1:].any()


@pytest.mark.parametrize("scale", SCALED)
def test_images_without_a_pixel_stay_so(scale):
    assert np.isnan(stretched(np.full((3, 3), np.nan), scale, check_percentiles(None, scale))).all()


def test_none_changes_nothing():
    assert stretched(IMAGE, "none") is IMAGE


def test_the_channels_share_their_limits():
    image = np.stack([IMAGE, 2 * IMAGE], axis=-1)
    found = stretched(image, "minmax")
    low, high = IMAGE.min(), 2 * IMAGE.max()
    np.testing.assert_allclose(found, (image - low) / (high - low))


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=5),
        elements={"allow_nan": True, "allow_infinity": True},
    ),
    st.sampled_from(SCALED),
)
def test_any_image_ends_between_0_and_1(image, scale):
    found = stretched(image, scale, check_percentiles(None, scale))
    there = np.isfinite(image)
    np.testing.assert_array_equal(np.isnan(found), ~there)
    assert ((found[there] >= 0) & (found[there] <= 1)).all()


def test_bytes_are_scaled_as_their_numbers():
    image = RNG.integers(0, 256, (9, 9), dtype=np.uint8)
    np.testing.assert_allclose(
        stretched(image, "minmax"), stretched(image.astype(float), "minmax"), rtol=1e-6
    )


def test_the_given_image_is_not_changed():
    image = IMAGE.copy()
    for scale in SCALED:
        stretched(image, scale, check_percentiles(None, scale))
    np.testing.assert_array_equal(image, IMAGE)


@pytest.mark.parametrize("percentiles", [(99, 1), (1,), 5, (-1, 50), (1, 101), "ab", (1, np.nan), (3, 3)])
def test_percentiles_that_are_none(percentiles):
    with pytest.raises(InputError, match="not two rising numbers"):
        check_percentiles(percentiles, "percentile")


def test_percentiles_where_there_are_none():
    with pytest.raises(InputError, match="scale='zscale' takes no percentiles"):
        check_percentiles((1, 99), "zscale")
