"""Strips of stamps: what is said about each is what is on it, and they look like the real ones."""

from __future__ import annotations

import csv
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from astro_cluster.exceptions import InputError
from astro_cluster.provenance import records
from astro_cluster.simulate import strips
from astro_cluster.simulate.strips_of_stamps import FILTERS, REASONS

# Columns of the seven panels of a real strip that was resized to 600 × 100, well inside of each.
REAL_PANELS = [(6, 72), (85, 150), (163, 228), (242, 306), (319, 385), (397, 462), (476, 540)]


def panels(strip: np.ndarray) -> list[np.ndarray]:
    """Return the seven stamps of a strip that is 170 × 950 or a fifth of it."""
    height, width = strip.shape[:2]
    top, bottom = round(0.04 * height), round(0.64 * height)
    return [
        strip[top:bottom, round((a + 2) / 600 * width) : round((b - 2) / 600 * width), 0].astype(float)
        for a, b in REAL_PANELS
    ]


@pytest.fixture(scope="module")
def table():
    return strips(300, spurious=57, random_state=3)


def reasons(table) -> np.ndarray:
    return np.ma.asarray(table["reason"]).filled("")


def test_the_study_s_shape_and_counts(table):
    assert table["image"].shape == (300, 170, 950, 3)
    assert table["image"].dtype == np.uint8
    assert {name: int((reasons(table) == name).sum()) for name in REASONS} == REASONS
    assert len(set(table["source_id"].tolist())) == len(table)
    np.testing.assert_array_equal(table["spurious"], table["label"] == 0)
    np.testing.assert_array_equal(np.ma.getmaskarray(table["reason"]), table["label"] == 1)
    assert "no observation" in table.meta["description"]
    assert ((table["redshift"] >= 5.5) & (table["redshift"] < 8.5)).all()
    assert np.ptp(table["ra"].value) < 1.2
    assert np.ptp(table["dec"].value) < 0.6


@pytest.mark.parametrize("spurious", [0, 1, 2, 10, 58, 100])
def test_any_number_of_spurious_ones_in_proportion(spurious):
    table = strips(100, spurious=spurious, size=(17, 95))
    assert int(table["spurious"].sum()) == spurious
    for name, count in REASONS.items():
        assert abs((reasons(table) == name).sum() - count * spurious / 57) < 1


def test_seven_grey_panels_on_black(table):
    image = table["image"]
    assert (image[..., 0] == image[..., 1]).all()
    assert (image[..., 0] == image[..., 2]).all()
    brightest = image.max(axis=(0, 3))
    assert (brightest[120:] == 0).all()
    inside = brightest[60] > 0
    assert (np.diff(inside.astype(int)) == 1).sum() == 7 == len(FILTERS)


def test_the_result_depends_on_the_seed_alone():
    first = strips(70, spurious=5, size=(34, 190), random_state=8, n_jobs=1)
    for n_jobs in (2, 5):
        again = strips(70, spurious=5, size=(34, 190), random_state=8, n_jobs=n_jobs)
        for name in first.colnames:
            np.testing.assert_array_equal(np.asarray(first[name]), np.asarray(again[name]))
    other = strips(70, spurious=5, size=(34, 190), random_state=9)
    assert (np.asarray(first["image"]) != np.asarray(other["image"])).any()


def test_a_small_strip_is_the_large_one_seen_from_afar(table):
    small = strips(300, spurious=57, size=(34, 190), random_state=3)
    np.testing.assert_array_equal(small["source_id"], table["source_id"])
    for k in range(0, 60, 7):
        resized = Image.fromarray(table["image"][k]).resize((190, 34), Image.Resampling.BOX)
        one, other = panels(np.asarray(resized)), panels(small["image"][k])
        for a, b in zip(one, other, strict=True):
            if a.std() > 1:  # an empty stamp has nothing to compare
                assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.5
        assert np.corrcoef(np.asarray(resized).ravel(), small["image"][k].ravel())[0, 1] > 0.9


def test_the_images_are_in_memory_once():
    strips(2, spurious=0, size=(17, 95))  # what is made once and kept
    tracemalloc.start()
    try:
        table = strips(60, spurious=3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.4 * np.asarray(table["image"]).nbytes


def test_it_can_be_rerun():
    table = strips(12, spurious=3, size=(17, 95), random_state=None)
    (record,) = records(table)
    assert record["seed"] == record["parameters"]["random_state"]
    assert "n_jobs" not in record["parameters"]
    again = strips(**record["parameters"])
    np.testing.assert_array_equal(np.asarray(again["image"]), np.asarray(table["image"]))


def centre_and_ring(stamp: np.ndarray, within: float = 0.09) -> float:
    """Return how much darker the middle of a stamp is than its surroundings [grey level]."""
    height, width = stamp.shape
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    radius = np.hypot(x, y)
    return float(np.median(stamp[(radius > 0.4) & (radius < 0.9)]) - stamp[radius < within].mean())


def test_good_ones_show_a_compact_source(table):
    good = np.flatnonzero(table["label"] == 1)
    depth = np.array([[centre_and_ring(p) for p in panels(table["image"][i])] for i in good])
    assert (np.median(depth, axis=0) > 15).all()
    assert (depth[:, 1:].mean(axis=1) > 10).mean() > 0.9


def test_they_drop_out_of_the_bluest_filter_with_redshift():
    table = strips(500, spurious=0, size=(85, 475), random_state=5)
    # Wide enough that most of what is averaged is not saturated.
    depth = np.array([[centre_and_ring(p, 0.25) for p in panels(strip)] for strip in table["image"]])
    low, high = table["redshift"] < 7.2, table["redshift"] > 8.1
    ratio_low = np.median(depth[low, 0]) / np.median(depth[low, 1])
    ratio_high = np.median(depth[high, 0]) / np.median(depth[high, 1])
    assert ratio_low > 0.75
    assert ratio_high < 0.85 * ratio_low


def test_edges_leave_stamps_of_one_grey(table):
    """Share of the pixels of a strip's panels that have the most frequent level of the panel."""
    share = np.array([
        max(np.bincount(p.astype(int).ravel()[p.ravel() > 3], minlength=1).max() / p.size for p in panels(i))
        for i in table["image"]
    ])  # fmt: skip
    edge = reasons(table) == "edge data"
    assert share[edge].min() > 0.15
    assert np.median(share[table["label"] == 1]) < 0.05


def test_spikes_are_elongated_in_the_blue_and_weak_in_the_red(table):
    spiky = np.flatnonzero(reasons(table) == "diffraction spike")
    dark = np.array([[(p < 12).mean() for p in panels(table["image"][i])] for i in spiky])
    good = np.array(
        [[(p < 12).mean() for p in panels(strip)] for strip in table["image"][table["label"] == 1]]
    )
    assert (dark[:, :3].mean(axis=1) > np.median(good[:, :3])).all()
    assert np.median(dark[:, :3]) > 1.5 * np.median(dark[:, 5:])


def test_bright_neighbours_are_dark_in_every_filter(table):
    close = np.flatnonzero(reasons(table) == "close to another source")
    dark = np.array([[(p < 12).mean() for p in panels(table["image"][i])] for i in close])
    assert (np.median(dark, axis=0) > 0.08).all()


def test_strength_is_truth(table):
    strength = np.asarray(table["artefact_strength"])
    good = table["label"] == 1
    assert (strength[~good] > 0.005).all()
    assert 0.1 < (strength[good] > 0).mean() < 0.35  # harmless flaws
    assert np.median(strength[~good]) > 3 * np.median(strength[good][strength[good] > 0])


def test_neither_trivial_nor_hopeless():
    """Ordered by how dark they are, the first ones hold most of the artefacts, but not all."""
    table = strips(900, spurious=57, size=(17, 95), random_state=2)
    grey = np.asarray(table["image"][..., 0], dtype=np.float32).mean(axis=(1, 2))
    spurious = table["spurious"][np.argsort(grey)]
    assert 25 < spurious[:57].sum() < 54
    assert spurious[:412].sum() > 45


def test_statistics_like_those_of_the_real_strips(real_data, table):
    """Grey levels, correlation of the noise and extent of the dark parts, reason by reason."""
    with (real_data / "jwst" / "spurious_labels.csv").open() as file:
        labels = {row["source_id"]: row["reason"] for row in csv.DictReader(file)}
    real: dict[str, list] = {name: [] for name in REASONS}
    for source, reason in labels.items():
        with Image.open(real_data / "jwst" / "spurious" / f"{source}.png") as image:
            real[reason].append(np.asarray(image.convert("RGB")))
    for reason, images in real.items():
        rows = np.flatnonzero(reasons(table) == reason)
        ours = [np.asarray(Image.fromarray(table["image"][i]).resize((600, 100))) for i in rows]
        for measure, tolerance in (
            (mean_grey, 22),
            (spread, 15),
            (dark_share, 0.10),
            (neighbour_correlation, 0.12),
        ):
            one = np.median([measure(panels(image)) for image in images])
            other = np.median([measure(panels(image)) for image in ours])
            assert abs(one - other) < tolerance, (reason, measure.__name__, one, other)
        black = [np.median([(image == 0).mean() for image in group]) for group in (images, ours)]
        assert abs(black[0] - black[1]) < 0.06, (reason, black)


def mean_grey(stamps: list[np.ndarray]) -> float:
    return float(np.mean([p.mean() for p in stamps]))


def spread(stamps: list[np.ndarray]) -> float:
    return float(np.mean([p.std() for p in stamps]))


def dark_share(stamps: list[np.ndarray]) -> float:
    return float(np.mean([(p < 5).mean() for p in stamps]))


def neighbour_correlation(stamps: list[np.ndarray]) -> float:
    """Return the correlation of pixels two apart, where most of it is of the noise."""
    return float(
        np.median([np.corrcoef(p[:, 2:].ravel(), p[:, :-2].ravel())[0, 1] for p in stamps if p.std() > 1])
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "at least one strip"),
        ({"n": 5, "spurious": 6}, "from 0 to n=5"),
        ({"n": 5, "spurious": -1}, "from 0 to n=5"),
        ({"n": 5, "spurious": 1, "size": (5, 950)}, "height and width"),
        ({"n": 5, "spurious": 1, "size": (170, 95, 3)}, "height and width"),
        ({"n": 5, "spurious": 1, "size": (170, 20_000)}, "height and width"),
    ],
)
def test_numbers_that_make_no_strips(options, message):
    with pytest.raises(InputError, match=message):
        strips(**options)
