"""Quality of images: analytic images, invariance, brute force, real images with gaps."""

from __future__ import annotations

import csv
import io
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import maximum_filter, minimum_filter
from scipy.optimize import brentq

import astro_cluster as ac
from astro_cluster.cutouts import flags
from astro_cluster.cutouts.flags import block_measures
from astro_cluster.cutouts.quality import QUALITIES, qualities_of, quality_of
from astro_cluster.exceptions import InputError


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return y, x


def _gaussian(size: int = 64, sigma: float = 5.0) -> np.ndarray:
    y, x = _grid(size)
    return np.exp(-(x**2 + y**2) / (2 * sigma**2))


def _noise(size: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.01, (size, size))


def _spikes(size: int, number: int, angle: float = 0.3) -> np.ndarray:
    """A star with straight spikes that fade with the radius."""
    y, x = _grid(size)
    r, phi = np.hypot(x, y), np.arctan2(y, x)
    image = 20 * np.exp(-(r**2) / 18)
    for k in range(number):
        across = r * np.abs(np.sin((phi - angle - 2 * np.pi * k / number) / 2)) * 2
        image += 3 / (1 + r / 8) * np.exp(-(across**2) / 4)
    return image


# ---------------------------------------------------------------- fractions


def test_zero_pixels_are_counted_as_they_are() -> None:
    image = _gaussian() + 5
    image[10:14, 20:30] = 0
    assert quality_of(image)["zero_fraction"] == 40 / 64**2
    # Not those below 1, which is what the study counted.
    assert quality_of(image / 1e4)["zero_fraction"] == 40 / 64**2
    assert quality_of(_gaussian() / 1e4 + 1e-6)["zero_fraction"] == 0


def test_a_colour_pixel_is_zero_in_all_channels() -> None:
    image = np.full((10, 10, 3), 7, dtype=np.uint8)
    image[:2, :, 0] = 0
    image[:1] = 0
    assert quality_of(image)["zero_fraction"] == 0.1


def test_pixels_that_are_not_finite() -> None:
    image = _gaussian().astype("f4") + _noise().astype("f4")
    image[0, :16], image[1, :4] = np.nan, np.inf
    found = quality_of(image)
    assert found["nan_fraction"] == 20 / 64**2
    assert all(np.isfinite(value) for value in found.values())


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i2", "u2", "i4", "i8"])
def test_whole_numbers_are_saturated_at_the_top_of_their_type(dtype: str) -> None:
    image = (_gaussian() * 100).astype(dtype)
    assert quality_of(image)["saturated_fraction"] == 0
    image[30:34, 30:34] = np.iinfo(dtype).max
    assert quality_of(image)["saturated_fraction"] == 16 / 64**2


def test_floats_are_saturated_where_neighbours_share_the_maximum() -> None:
    image = np.clip(_gaussian() + _noise(), None, 0.8)
    at_top = image == 0.8
    assert at_top.sum() > 20
    assert quality_of(image)["saturated_fraction"] == pytest.approx(at_top.sum() / 64**2, abs=2 / 64**2)
    assert quality_of(_gaussian(63))["saturated_fraction"] == 0  # one pixel
    lonely = _noise()
    lonely[5, 5] = lonely[5, 7] = lonely[6, 6] = 1.0  # as bright, but corner to corner
    assert quality_of(lonely)["saturated_fraction"] == 0
    assert quality_of(np.full((9, 9), 3.0))["saturated_fraction"] == 0


def test_saturation_may_be_given() -> None:
    image = _gaussian(65) * 100
    expected = (image >= 50).mean()
    assert quality_of(image, saturation=50)["saturated_fraction"] == expected
    assert quality_of(image * u.Jy, saturation=50_000 * u.mJy)["saturated_fraction"] == expected
    assert quality_of(image.astype("u1"), saturation=50)["saturated_fraction"] > 0
    for wrong in (np.nan, "high", 3 * u.s):
        with pytest.raises(InputError, match="saturation"):
            quality_of(image * u.Jy, saturation=wrong)


# ---------------------------------------------------------------- shape


@pytest.mark.parametrize(("h", "w"), [(64, 64), (65, 65), (64, 80), (131, 90)])
@pytest.mark.parametrize("fill", [0.0, np.nan])
@pytest.mark.parametrize("side", range(4))
def test_an_edge_of_the_detector_is_seen(h: int, w: int, fill: float, side: int) -> None:
    image = np.random.default_rng(h + w).normal(10, 1, (h, w))
    assert quality_of(image)["edge_asymmetry"] < 0.25
    cut = np.rot90(image, side).copy()
    cut[:, : cut.shape[1] // 4 + 2] = fill
    assert quality_of(np.rot90(cut, -side))["edge_asymmetry"] > 0.9


def test_a_corner_that_is_cut_off_is_seen_and_a_star_at_the_border_is_not() -> None:
    y, x = _grid(64)
    image = np.random.default_rng(3).normal(10, 1, (64, 64))
    corner = np.where(x + y > 34, 10.0, image)
    assert quality_of(corner)["edge_asymmetry"] > 0.8
    star = image + 500 * np.exp(-((x - 25) ** 2 + (y - 5) ** 2) / 4)
    assert quality_of(star)["edge_asymmetry"] < 0.5


@pytest.mark.parametrize(("x0", "y0"), [(0, 0), (20, 0), (-12.5, 16), (25, 25)])
def test_peak_offset_is_the_distance_of_the_brightest_place(x0: float, y0: float) -> None:
    y, x = _grid(64)
    image = np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 18) + _noise() / 10
    assert quality_of(image)["peak_offset"] == pytest.approx(np.hypot(x0, y0) / 32, abs=1.5 / 32)


def test_a_hot_pixel_is_not_the_brightest_place() -> None:
    image = _gaussian(sigma=8)
    image[3, 3] = 2.0  # its mean over 3 x 3 is below that of the middle
    assert quality_of(image)["peak_offset"] < 0.05


@pytest.mark.parametrize("number", [4, 6, 8])
@pytest.mark.parametrize("size", [48, 65, 128])
def test_spikes_have_spike_power(size: int, number: int) -> None:
    noise = _noise(size) * 3
    assert quality_of(_spikes(size, number) + noise)["spike_power"] > 0.4
    y, x = _grid(size)
    disc = 20 * np.exp(-np.hypot(x, 2.5 * y) / (size / 8)) + noise
    assert quality_of(disc)["spike_power"] < 0.25
    assert quality_of(20 * _gaussian(size, size / 10) + noise)["spike_power"] < 0.1
    assert quality_of(noise)["spike_power"] < 0.1


def test_a_round_image_without_noise_has_no_spikes() -> None:
    """The square grid of pixels is 4-fold itself."""
    for size in (48, 64, 65, 128):
        y, x = _grid(size)
        for image in (_gaussian(size, size / 8), np.exp(-np.hypot(x, y) / (size / 10))):
            assert quality_of(image)["spike_power"] < 0.12


@pytest.mark.parametrize("size", [64, 65, 128, 260])
def test_concentration_of_known_profiles(size: int) -> None:
    gaussian = 5 * np.log10(np.sqrt(np.log(5) / np.log(1.25)))
    assert quality_of(_gaussian(size, size / 12))["concentration"] == pytest.approx(gaussian, abs=0.06)
    y, x = _grid(size)
    uniform = (np.hypot(x, y) < size / 3).astype(float)
    assert quality_of(uniform)["concentration"] == pytest.approx(5 * np.log10(2), abs=0.06)


def test_concentration_of_an_exponential_disc_on_a_sky() -> None:
    radii = [brentq(lambda r, s=share: 1 - (1 + r) * np.exp(-r) - s, 0.01, 20) for share in (0.2, 0.8)]
    y, x = _grid(201)
    found = quality_of(np.exp(-np.hypot(x, y) / 8) + 3.0)["concentration"]
    assert found == pytest.approx(5 * np.log10(radii[1] / radii[0]), abs=0.02)


def test_sky_alone_has_no_concentration_and_constants_nothing() -> None:
    found = quality_of(np.full((20, 20), 3.5))
    assert found["edge_asymmetry"] == found["spike_power"] == found["saturated_fraction"] == 0
    assert found["peak_offset"] < 0.1
    assert np.isnan(found["concentration"])
    nothing = quality_of(np.full((20, 20), np.nan))
    assert nothing["nan_fraction"] == 1
    assert np.isnan([nothing[name] for name in QUALITIES[3:]]).all()
    assert np.isnan([quality_of(np.eye(7))[name] for name in QUALITIES[3:]]).all()


# ---------------------------------------------------------------- invariance

_IMAGES = hnp.arrays(
    st.sampled_from(["f4", "f8", "u1", "i2", "?", "f2", ">f4"]),
    st.one_of(
        st.tuples(st.integers(1, 21), st.integers(1, 21)),
        st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 4)),
    ),
)


@settings(max_examples=150, deadline=None)
@given(_IMAGES)
def test_any_image_has_qualities_within_their_range(image: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = quality_of(image)
    assert list(found) == list(QUALITIES)
    for name in QUALITIES[:3]:
        assert 0 <= found[name] <= 1
    for name in ("edge_asymmetry", "spike_power"):
        assert np.isnan(found[name]) or 0 <= found[name] <= 1 + 1e-6
    assert not np.isinf(list(found.values())).any()
    assert found["zero_fraction"] == np.mean((image == 0) if image.ndim == 2 else (image == 0).all(axis=2))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(8, 40), st.integers(8, 40), st.booleans())
def test_flips_and_turns_change_nothing(seed: int, h: int, w: int, gaps: bool) -> None:
    rng = np.random.default_rng(seed)
    image = rng.gamma(1.0, 1.0, (h, w)).astype("f4")
    if gaps:
        image[rng.random((h, w)) < 0.2] = np.nan
    expected = quality_of(image)
    for other in (image[::-1], image[:, ::-1], image.T, np.rot90(image)):
        found = quality_of(other)
        for name in QUALITIES:
            assert found[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-4, nan_ok=True), name


@pytest.mark.parametrize(("factor", "offset"), [(1e-30, 0), (1e25, 0), (3, 700), (1, -50)])
def test_the_scale_of_the_brightness_does_not_matter_for_the_shape(factor: float, offset: float) -> None:
    image = _spikes(64, 6) + _noise()
    expected, found = quality_of(image), quality_of(image * factor + offset)
    for name in QUALITIES[3:]:
        assert found[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-4), name


def test_huge_numbers_do_not_overflow() -> None:
    image = _gaussian() * 3e38
    image[0, 0] = -3e38
    for dtype in ("f4", "f8"):
        assert np.isfinite(list(quality_of(image.astype(dtype)).values())).all()
    assert np.isfinite(list(quality_of((image / 3e38 - 0.5) * 3e307).values())).all()


# ---------------------------------------------------------------- stacks


@pytest.mark.parametrize("shape", [(40, 30, 34), (9, 20, 20, 3), (3, 300, 280)])
@pytest.mark.parametrize("dtype", ["f4", "u1"])
def test_a_stack_is_measured_as_its_images_whatever_the_threads(shape: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(5)
    images = (rng.random(shape) * 200).astype(dtype)
    images[1, :5] = 0
    if dtype == "f4":
        images[2, 3:6] = np.nan
        images[0] = np.nan
    one, two = qualities_of(images, n_jobs=1), qualities_of(images, n_jobs=2)
    alone = [quality_of(image) for image in images]
    for name in QUALITIES:
        np.testing.assert_array_equal(one[name], two[name])
        np.testing.assert_allclose(one[name], [found[name] for found in alone], rtol=1e-5, atol=1e-6)


def test_panels_are_measured_each() -> None:
    rng = np.random.default_rng(8)
    stamps = [_gaussian(32, 3) + rng.normal(0, 0.01, (32, 32)) for _ in range(4)]
    stamps[2][:, :12] = 0
    strip = np.concatenate(stamps, axis=1)
    found, each = quality_of(strip, panels=4), [quality_of(stamp) for stamp in stamps]
    for name in QUALITIES:
        values = [one[name] for one in each]
        worst = name not in ("peak_offset", "concentration")
        assert found[name] == pytest.approx(max(values) if worst else np.mean(values), rel=1e-5)
    assert quality_of(strip)["zero_fraction"] == pytest.approx(found["zero_fraction"] / 4)


@pytest.mark.parametrize("panels", ["auto", 3])
def test_panels_parted_by_zeros_are_found(panels: int | str) -> None:
    rng = np.random.default_rng(9)
    strips = np.zeros((5, 40, 110, 3), dtype=np.uint8)
    for left in (2, 38, 74):
        strips[:, 3:33, left : left + 31] = rng.integers(1, 255, (5, 30, 31, 1))
    strips[1, 3:33, 38:69] = 0  # one stamp is dark
    found = qualities_of(strips, panels=panels)
    assert found["zero_fraction"].tolist() == [0, 1, 0, 0, 0]
    np.testing.assert_array_equal(found["edge_asymmetry"] < 0.4, True)


@pytest.mark.parametrize("panels", [0, -1, 200, "many", 2.5, True])
def test_panels_that_cannot_be_are_refused(panels: object) -> None:
    with pytest.raises(InputError, match="panels"):
        quality_of(_gaussian(), panels=panels)  # type: ignore[arg-type]


@pytest.mark.parametrize("image", [np.zeros(5), np.zeros((2, 3, 4, 5)), np.zeros((0, 5)), np.array([["a"]])])
def test_what_is_no_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(InputError, match="image"):
        quality_of(image)


# ---------------------------------------------------------------- the step


def test_the_step_adds_columns_and_masks_rows_without_an_image() -> None:
    images = np.stack([_gaussian(32) + _noise(32)] * 3).astype("f4")
    images[2] = np.nan
    images[0, :, :8] = 0
    table = QTable({"id": [1, 2, 3], "image": images, "image_bad": [False, True, False]})
    out = ac.image_quality(table)
    assert out.colnames[3:] == list(QUALITIES)
    assert out["zero_fraction"].mask.tolist() == [False, True, True]
    assert out["zero_fraction"][0] == 0.25
    assert table.colnames == ["id", "image", "image_bad"]
    assert np.shares_memory(np.asarray(out["image"]), np.asarray(table["image"]))
    record = ac.records(out)[-1]
    assert (record["function"], record["inputs"], "n_jobs" in record["parameters"]) == (
        "image_quality",
        {"image": ""},
        False,
    )
    with pytest.raises(InputError, match="zero_fraction"):
        ac.image_quality(out)
    again = ac.image_quality(out, overwrite=True)
    assert again["edge_asymmetry"].tolist() == out["edge_asymmetry"].tolist()


def test_the_step_runs_again_from_a_file(tmp_path: Path) -> None:
    table = QTable({"id": [1, 2], "image": np.stack([_gaussian(32), _gaussian(32, 3)]).astype("f4")})
    path = ac.write(ac.image_quality(table, saturation=0.5), tmp_path / "a.fits")
    again = ac.rerun(path)
    first = ac.read(path)
    for name in QUALITIES:
        np.testing.assert_array_equal(again[name], first[name])


def test_a_table_without_images_says_so() -> None:
    with pytest.raises(InputError, match="no column of images"):
        ac.image_quality(QTable({"x": [1.0]}))


@pytest.mark.realdata
def test_the_images_with_gaps_are_found_and_no_other(real_data: Path) -> None:
    zero = {}
    for path in sorted((real_data / "galaxies" / "sci").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                image = fits.getdata(io.BytesIO(tar.extractfile(member).read()))  # type: ignore[union-attr]
                zero[Path(member.name).name] = quality_of(image)["zero_fraction"]
    assert len(zero) == 52
    gaps = {name: round(share, 4) for name, share in zero.items() if share > 0}
    assert gaps == {
        "map_Mstar_TNG100-1_0_069_50kpc_2048_sci_cam2.fits": 0.0769,
        "map_Mstar_TNG100-1_12_051_50kpc_2048_sci_cam0.fits": 0.3676,
    }


# ---------------------------------------------------------------- kernels, flat areas, inverted images


@pytest.mark.parametrize(
    "shape", [(9, 8), (40, 31), (64, 201), (131, 90), (255, 255), (260, 300), (400, 390)]
)
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i2", "?", "f2", ">f4"])
def test_kernels_measure_as_numpy_does(
    shape: tuple[int, int], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(shape[0])
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = rng.gamma(1.0, 1.0, (7, *shape)) + 30 * np.exp(
        -np.hypot(x - shape[1] / 2 - 2, y - shape[0] / 2) / 9
    )
    image = (image * 6).clip(0, 120).astype(dtype)
    image[1, : shape[0] // 3] = 0
    image[2] = 1
    if image.dtype.kind == "f":
        image[3][rng.random(shape) < 0.2] = np.nan
        image[4, :, :3], image[5] = np.inf, np.nan
    stacks = [image, np.stack([image, image[:, ::-1], image[::-1]], axis=3)]
    for stack in stacks:
        for options in ({}, {"inverted": True}, {"saturation": 50.0}, {"saturation": 9.0, "inverted": True}):
            found = block_measures(stack, **options)
            with monkeypatch.context() as patch:
                patch.setattr(flags, "_kernels", lambda: None)
                expected = block_measures(stack, **options)
            assert list(found) == list(expected) == list(QUALITIES)
            for name in QUALITIES:
                np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("channels", [0, 3])
def test_flat_fraction_is_that_of_pixels_amid_equal_ones(channels: int) -> None:
    rng = np.random.default_rng(4)
    image = rng.integers(0, 2, (60, 50)).astype("u1")  # some are equal by chance
    image[5:30, 9:41] = 7
    assert (maximum_filter(image, 3) == minimum_filter(image, 3)).sum() > 23 * 30
    expected = np.mean((maximum_filter(image, 3) == minimum_filter(image, 3))[1:-1, 1:-1])
    if channels:
        image = np.stack([image] * channels, axis=2)
    assert quality_of(image)["flat_fraction"] == pytest.approx(expected, rel=1e-12)
    assert quality_of(_noise())["flat_fraction"] == 0
    assert quality_of(np.full((9, 9), 4.0))["flat_fraction"] == 1


def test_inverted_images_are_measured_as_the_others() -> None:
    image = (_gaussian(65) * 250 + np.random.default_rng(2).integers(0, 5, (65, 65))).astype("u1")
    image[30:34, 30:34] = 255
    expected, found = quality_of(image), quality_of(255 - image, inverted=True)
    for name in QUALITIES[2:]:
        assert found[name] == pytest.approx(expected[name], rel=1e-5, abs=1e-6), name
    wrong = quality_of(255 - image)
    assert wrong["peak_offset"] > 0.3 > found["peak_offset"]
    assert wrong["concentration"] != pytest.approx(expected["concentration"], abs=0.3, nan_ok=True)
    at_most = quality_of(-image.astype(float), saturation=-100, inverted=True)["saturated_fraction"]
    assert at_most == np.mean(image >= 100)
    table = ac.image_quality(QTable({"image": [255 - image]}), inverted=True)
    assert table["peak_offset"][0] == found["peak_offset"]


@pytest.mark.realdata
def test_strips_with_edge_data_are_flat(real_data: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    folder = real_data / "jwst"
    with (folder / "spurious_labels.csv").open() as file:
        reasons = {row["source_id"]: row["reason"] for row in csv.DictReader(file)}
    paths = sorted((folder / "spurious").glob("*.png"))
    strips = np.stack([np.asarray(pillow.open(path).convert("L")) for path in paths])
    flat = qualities_of(strips, panels="auto")["flat_fraction"]
    is_edge = np.array([reasons[path.stem] == "edge data" for path in paths])
    assert is_edge.sum() == 7
    better = (
        np.mean(flat[is_edge][:, None] > flat[~is_edge])
        + np.mean(flat[is_edge][:, None] == flat[~is_edge]) / 2
    )
    assert better > 0.8  # the area under the curve of the seven against those next to stars
