"""Stamps are found by what lies between them, in the real strips too."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import astro_cluster as ac
from astro_cluster.cutouts.panels import boxes_of
from astro_cluster.exceptions import InputError


def images(n: int = 30, h: int = 20, w: int = 50, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, h, w))


def test_images_without_stamps_are_one():
    assert boxes_of(images()) == [(0, 20, 0, 50)]
    assert boxes_of(images().astype("f4")[..., np.newaxis]) == [(0, 20, 0, 50)]


def test_stamps_are_found_and_all_of_one_size():
    strips = np.zeros((30, 26, 70))
    for left, width in ((2, 15), (21, 16), (41, 15)):
        strips[:, 3:23, left : left + width] = images(w=width)
    assert boxes_of(strips) == [(3, 23, 2, 17), (3, 23, 21, 36), (3, 23, 41, 56)]
    assert boxes_of(strips, 3) == boxes_of(strips)


def test_a_structure_of_the_images_is_no_gap_between_stamps():
    odd = images()
    odd[:, :, 10:14] = 0  # what is left and right of it is not alike
    assert boxes_of(odd) == [(0, 20, 0, 50)]


def test_a_number_shares_the_width_out_where_nothing_lies_between():
    assert boxes_of(images(), 2) == [(0, 20, 0, 25), (0, 20, 25, 50)]
    assert len(boxes_of(images(), 3)) == 3
    assert {right - left for _, _, left, right in boxes_of(images(), 3)} == {16}


def test_missing_pixels_and_equal_images():
    holes = images()
    holes[:, :, 5] = np.nan
    holes[3, 4, 4] = np.inf
    assert boxes_of(holes) == [(0, 20, 0, 50)]
    assert boxes_of(np.ones((5, 20, 30))) == [(0, 20, 0, 30)]


@pytest.mark.parametrize("size", [(170, 950), (77, 425), (100, 600)])
def test_the_seven_stamps_of_simulated_strips(size: tuple[int, int]):
    strips = ac.simulate.strips(40, spurious=4, size=size)["image"]
    boxes = boxes_of(np.asarray(strips))
    assert len(boxes) == 7
    ((top, bottom),) = {(top, bottom) for top, bottom, _, _ in boxes}
    assert top <= 0.02 * size[0]
    assert bottom - top == pytest.approx(0.66 * size[0], rel=0.04)
    widths = np.array([right - left for _, _, left, right in boxes])
    np.testing.assert_allclose(widths, 0.12 * size[1], rtol=0.06)


@pytest.mark.realdata
def test_the_seven_stamps_of_real_strips(real_data):
    files = sorted((real_data / "jwst" / "spurious").glob("*.png"))
    strips = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    boxes = boxes_of(strips)
    assert len(boxes) == 7
    starts = np.diff([left for _, _, left, _ in boxes])
    assert set(starts) <= {78, 79}


@pytest.mark.parametrize(
    ("panels", "message"), [(0, "panels=0 cannot"), ("two", "cannot be used"), (9, "are too small")]
)
def test_bad_numbers(panels: object, message: str):
    with pytest.raises(InputError, match=message):
        boxes_of(images(), panels)
