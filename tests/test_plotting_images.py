"""Figures of images: what is drawn where, in which colours, and what is left out."""

from __future__ import annotations

import io
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable
from astropy.visualization import AsinhStretch, ZScaleInterval
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

import astro_cluster as ac
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.plotting import (
    PALETTE,
    plot_contact_sheet,
    plot_learning_curve,
    plot_recall,
    plot_reconstructions,
    plot_region,
    plot_thumbnails,
)
from astro_cluster.plotting.display import (
    _HATCH,
    first_row,
    limits_of,
    picture,
    residual_picture,
    softening_of,
)
from astro_cluster.plotting.grouping import groups_by
from astro_cluster.plotting.placing import Plane
from astro_cluster.plotting.planes import plane_columns, plane_values, same_scale


def draw(ax, dpi: int = 50) -> np.ndarray:
    """Draw for real: complaints of the layout come only then."""
    with io.BytesIO() as file:
        ax.get_figure(root=True).savefig(file, format="png", dpi=dpi)
        file.seek(0)
        return np.asarray(Image.open(file).convert("RGB"))


def shades(n: int, shape: tuple[int, ...] = (8, 8)) -> np.ndarray:
    """Return images of one shade each, so that a picture tells which image it shows."""
    levels = np.linspace(20, 235, n).astype(np.uint8)
    return np.broadcast_to(levels.reshape(n, *(1,) * len(shape)), (n, *shape)).copy()


def imaged(n: int = 12, shape: tuple[int, ...] = (8, 8), seed: int = 0) -> QTable:
    rng = np.random.default_rng(seed)
    table = QTable({"image": shades(n, shape), "tsne_1": rng.normal(size=n), "tsne_2": rng.normal(size=n)})
    table["cluster"] = np.arange(n) % 3
    return table


def canvas_of(ax) -> tuple[np.ndarray, tuple[float, ...]]:
    (shown,) = ax.images
    return np.asarray(shown.get_array()), tuple(shown.get_extent())


def pixel_at(ax, x: float, y: float) -> np.ndarray:
    canvas, (x0, x1, y0, y1) = canvas_of(ax)
    row = int((y1 - y) / (y1 - y0) * canvas.shape[0])
    column = int((x - x0) / (x1 - x0) * canvas.shape[1])
    return canvas[row, column]


@pytest.fixture(autouse=True)
def _pyplot_is_left_alone():
    before = plt.get_fignums(), dict(plt.rcParams)
    yield
    assert (plt.get_fignums(), dict(plt.rcParams)) == before


# ---------------------------------------------------------------- the display of one image


def test_bytes_are_shown_as_they_are():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    assert np.array_equal(picture(image), image)
    assert np.array_equal(picture(image[..., 0])[..., 2], image[..., 0])
    assert np.array_equal(picture(image, origin="lower"), image[::-1])
    opaque = np.concatenate([image, image[..., :1]], axis=2)
    assert np.array_equal(picture(opaque), image)


def test_numbers_are_stretched_as_astropy_does():
    image = np.random.default_rng(0).gamma(1.0, size=(32, 32)).astype("f4")
    low, high = limits_of(image)
    soft = softening_of(image, (low, high))
    expected = AsinhStretch(soft)(np.clip((image.astype(float) - low) / (high - low), 0, 1))
    shown = picture(image, origin="upper")[..., 0].astype(int)
    assert np.abs(shown - 255 * expected).max() <= 2  # the grey of matplotlib has 256 levels
    assert np.array_equal(picture(image), picture(image, origin="lower"))
    assert np.array_equal(picture(image)[::-1], picture(image, origin="upper"))
    assert limits_of(image, stretch="zscale") == pytest.approx(ZScaleInterval().get_limits(image))


@pytest.mark.parametrize("stretch", ["asinh", "linear", "log", "sqrt", "zscale"])
def test_brighter_is_never_darker(stretch):
    image = np.linspace(-3, 900, 400).reshape(20, 20)
    shown = picture(image, stretch=stretch, origin="upper")[..., 0].ravel().astype(int)
    assert (np.diff(shown) >= 0).all()
    assert shown[0] == 0
    assert shown[-1] == 255


def test_a_dark_gap_does_not_make_the_sky_grey():
    rng = np.random.default_rng(0)
    image = rng.normal(0, 1, (64, 64))
    image[30:34, 30:34] = 200
    whole = picture(image)
    image[:, :4] = -150
    assert abs(int(np.median(picture(image))) - int(np.median(whole))) < 12


@pytest.mark.parametrize("value", [0.0, 7.5, -3.0])
def test_images_without_contrast(value):
    assert np.array_equal(picture(np.full((4, 4), value)), np.zeros((4, 4, 3), np.uint8))


def test_missing_pixels_are_hatched_and_do_not_shift_the_others():
    image = np.random.default_rng(0).normal(size=(20, 20))
    holed = image.copy()
    holed[5:9, 5:9] = np.nan
    seen = picture(holed, limits=(-2, 2), stretch="linear")
    there = np.isfinite(holed[::-1])
    assert np.array_equal(seen[there], picture(image, limits=(-2, 2), stretch="linear")[there])
    hatched = seen[~there]
    assert len(np.unique(hatched, axis=0)) == 2  # two colours, one of which is not grey
    assert any(len(set(colour.tolist())) > 1 for colour in hatched)
    nothing = picture(np.full((20, 20), np.nan))
    assert len(np.unique(nothing.reshape(-1, 3), axis=0)) == 2


def test_channels_that_are_no_colours_stand_beside_each_other():
    image = np.stack([np.zeros((4, 5)), np.ones((4, 5))], axis=2)
    seen = picture(image, limits=(0, 1), stretch="linear")
    assert seen.shape == (4, 10, 3)
    assert (seen[:, :5] == 0).all()
    assert (seen[:, 5:] == 255).all()
    assert picture(np.ones((4, 5, 1)), limits=(0, 1)).shape == (4, 5, 3)


def test_residuals_are_white_at_zero_and_have_two_signs():
    seen = residual_picture(np.array([[-1.0, 0.0, 1.0]]), limit=1.0)[0].astype(int)
    blue, white, red = seen
    assert blue[2] > blue[0]
    assert red[0] > red[2]
    assert white.min() > 240
    colours = residual_picture(np.ones((2, 2, 3)), limit=1.0)
    assert (colours == seen[2]).all()


def test_small_images_keep_their_pixels_and_large_ones_are_averaged():
    image = np.array([[0, 255], [255, 0]], np.uint8)
    assert np.array_equal(picture(image, size=(4, 4))[..., 0], np.kron(image, np.ones((2, 2), np.uint8)))
    checks = np.kron(np.ones((32, 32), np.uint8), image)
    assert abs(float(picture(checks, size=(8, 8))[2:-2, 2:-2].mean()) - 127.5) < 3


@pytest.mark.parametrize(
    ("columns", "kind", "expected"),
    [
        ({}, "f4", "lower"),
        ({}, "u1", "upper"),
        ({"source_file": ["a.PNG", "b.png"]}, "f4", "upper"),
        ({"source_file": ["a.fits", "b.png"]}, "f4", "lower"),
        ({"source_file": ["a.zip", "a.zip"], "member": ["x.jpg", "y.jpeg"]}, "f4", "upper"),
        ({"source_file": ["a.png", "b.png"], "member": ["", ""]}, "f4", "upper"),
    ],
)
def test_where_the_first_row_is(columns, kind, expected):
    images = np.zeros((2, 3, 3), kind)
    table = QTable({"id": [1, 2], **columns})
    assert first_row(table, images) == expected
    assert first_row(table, images, "lower") == "lower"


# ---------------------------------------------------------------- groups and planes


def test_groups_have_names_colours_and_all_their_rows():
    table = imaged()
    table["cluster"][0] = -1
    groups = groups_by(table)
    assert [group.name for group in groups] == ["noise", "cluster 0", "cluster 1", "cluster 2"]
    assert [group.colour for group in groups[1:]] == list(PALETTE[:3])
    table["reason"] = MaskedColumn(
        ["spike"] * 5 + ["edge"] * 3 + [""] * 3 + ["hidden"], mask=[False] * 11 + [True]
    )
    by_reason = {group.title: group.rows.tolist() for group in groups_by(table, "reason")}
    assert by_reason == {"spike (5)": [0, 1, 2, 3, 4], "edge (3)": [5, 6, 7], "no reason (3)": [8, 9, 10]}
    table["spurious"] = np.arange(12) < 2
    assert [group.title for group in groups_by(table, "spurious")] == ["spurious (2)", "not spurious (10)"]
    table["label"] = np.arange(12) % 2
    assert [group.title for group in groups_by(table, "label")] == ["label 0 (6)", "label 1 (6)"]
    assert [group.title for group in groups_by(table, False)] == ["all images (12)"]
    table.remove_column("cluster")
    assert [group.title for group in groups_by(table)] == ["all images (12)"]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (np.arange(100.0) / 7, "100 different values"),
        (np.zeros((100, 2)), "several values a row"),
        (MaskedColumn(np.arange(100), mask=True), "no value in any of 100 rows"),
    ],
)
def test_what_makes_no_groups(column, message):
    with pytest.raises(InputError, match=message):
        groups_by(QTable({"x": column}), "x")


def test_which_plane_is_meant():
    table = QTable({"pca": np.zeros((3, 4)), "tsne_1": np.zeros(3), "tsne_2": np.ones(3)})
    assert plane_columns(table, None, None) == ("tsne_1", "tsne_2")
    table["b_tsne_1"], table["b_tsne_2"] = np.zeros(3), np.ones(3)
    assert plane_columns(table, None, None) == ("b_tsne_1", "b_tsne_2")
    assert plane_columns(table["pca",], None, None) == ("pca[0]", "pca[1]")
    assert plane_values(table, "pca[3]").tolist() == [0, 0, 0]
    assert same_scale(table, "pca[0]", "pca[1]")
    assert not same_scale(table, "tsne_1", "b_tsne_2")
    table["s_1"], table["s_2"] = np.ones(3) * u.m, np.ones(3) * u.s
    assert not same_scale(table, "s_1", "s_2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tsne_1", None), "both coordinates"),
        (("tsne_1", "tsne_3"), "tsne_3"),
        (("latent[0]", "latent[9]"), "2 values a row, counted from 0"),
        (("tsne_1", "latent"), "values a row"),
    ],
)
def test_planes_that_are_not_there(arguments, message):
    table = imaged()
    table["latent"] = np.zeros((12, 2))
    with pytest.raises(InputError, match=message):
        plot_thumbnails(table, *arguments)


def test_a_table_without_a_plane():
    with pytest.raises(InputError, match="embed them first"):
        plot_thumbnails(imaged()["image", "cluster"])


# ---------------------------------------------------------------- thumbnails


def test_each_thumbnail_is_where_its_row_is():
    table = imaged(6)
    table["tsne_1"], table["tsne_2"] = [0.0, 4, 8, 0, 4, 8], [0.0, 0, 0, 5, 5, 5]
    ax = plot_thumbnails(table)
    for row in table:
        assert pixel_at(ax, row["tsne_1"], row["tsne_2"])[:3].tolist() == [int(row["image"][0, 0])] * 3
    assert ax.get_title("left") == "6 of 6 images"
    assert pixel_at(ax, 2.0, 2.5)[3] == 0
    draw(ax)
    box = ax.get_window_extent()
    canvas, (x0, x1, y0, y1) = canvas_of(ax)
    assert box.height / box.width == pytest.approx(canvas.shape[0] / canvas.shape[1], rel=0.01)
    assert (x1 - x0) / box.width == pytest.approx((y1 - y0) / box.height, rel=0.01)  # the same scale


def test_the_frame_has_the_colour_of_the_cluster():
    table = imaged(6)
    table["tsne_1"], table["tsne_2"] = [0.0, 4, 8, 0, 4, 8], [0.0, 0, 0, 5, 5, 5]
    ax = plot_thumbnails(table, width=0.1)
    _, (x0, x1, _, _) = canvas_of(ax)
    half = 0.1 * (x1 - x0) / 2
    for row in table:
        edge = pixel_at(ax, row["tsne_1"] - half * 0.985, row["tsne_2"])
        assert to_hex(edge[:3] / 255).upper() == PALETTE[int(row["cluster"])]
    shown = {
        text.get_text(): to_hex(handle.get_color()).upper()
        for text, handle in zip(ax.get_legend().get_texts(), ax.get_legend().legend_handles, strict=True)
    }
    assert shown == {f"cluster {k} (2)": PALETTE[k] for k in range(3)}
    alone = plot_thumbnails(table, cluster=False)
    assert alone.get_legend() is None


@settings(max_examples=40, deadline=None)
@given(
    places=st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=1, max_size=80),
    width=st.floats(0.02, 0.3),
    aspect=st.sampled_from([0.3, 1.0, 5.6]),
    same=st.booleans(),
)
def test_no_thumbnail_lies_on_another_and_none_that_had_room_is_left_out(places, width, aspect, same):
    places = np.array(places)
    plane = Plane.around(places, same_scale=same, width=width, aspect=aspect)
    chosen = plane.chosen(places, overlap=False, most=1000)
    corners = plane.corners(places)
    size = np.array(plane.tile) + 10

    def overlap(a, b):
        return bool((np.abs(corners[a] - corners[b]) < size).all())

    assert not any(overlap(a, b) for k, a in enumerate(chosen) for b in chosen[:k])
    room = np.array(plane.tile) + 12
    for row in set(range(len(places))) - set(chosen.tolist()):
        assert any((np.abs(corners[row] - corners[other]) < room).all() for other in chosen)
    assert (corners >= 0).all()
    assert (corners + size <= plane.shape).all()
    assert np.array_equal(chosen, plane.chosen(places, overlap=False, most=1000))
    every = plane.chosen(places, overlap=True, most=1000)
    assert sorted(every.tolist()) == list(range(len(places)))


def test_a_cluster_of_one_is_seen_among_many():
    table = imaged(300)
    table["cluster"] = 0
    for lonely in range(0, 300, 30):
        table["cluster"][:] = 0
        table["cluster"][lonely] = 1
        ax = plot_thumbnails(table)
        place = table["tsne_1"][lonely], table["tsne_2"][lonely]
        assert pixel_at(ax, *place)[:3].tolist() == [int(table["image"][lonely, 0, 0])] * 3
        assert int(ax.get_title("left").split()[0]) > 20


def test_a_group_without_an_image_has_its_dots_above_those_of_others():
    table = imaged(60)
    table["cluster"] = 0
    table["cluster"][[3, 7]] = [1, 2]
    for name in ("tsne_1", "tsne_2"):
        table[name][7] = table[name][3]
    ax = plot_thumbnails(table)
    under, above = ax.collections
    assert above.get_offsets().tolist() == [[table["tsne_1"][7], table["tsne_2"][7]]]
    assert to_hex(above.get_facecolors()[0]).upper() == PALETTE[2]
    assert above.get_zorder() > ax.images[0].get_zorder() > under.get_zorder()


def test_the_rarest_group_comes_first_however_many_there_are():
    places = np.zeros((6, 2))
    plane = Plane((-1, 1, -1, 1), (100, 100), (10, 10))
    groups = np.array([2, 2, 2, 5, 5, 0])
    assert plane.chosen(places, overlap=False, most=9, groups=groups).tolist() == [5]
    assert plane.chosen(places, overlap=True, most=9, groups=groups).tolist() == [5, 3, 0, 1, 2, 4]
    assert plane.chosen(places, overlap=True, most=2, groups=groups).tolist() == [5, 3]


def test_the_others_are_dots_in_the_colours_of_their_clusters():
    table = imaged(400)
    ax = plot_thumbnails(table, max_images=5)
    assert ax.get_title("left") == "5 of 400 images"
    (dots,) = ax.collections
    assert len(dots.get_offsets()) == 395
    at = {
        tuple(place): to_hex(colour).upper()
        for place, colour in zip(dots.get_offsets().data, dots.get_facecolors(), strict=True)
    }
    for row in table:
        place = (row["tsne_1"], row["tsne_2"])
        assert at.get(place, PALETTE[int(row["cluster"])]) == PALETTE[int(row["cluster"])]
    everything = plot_thumbnails(table, overlap=True)
    assert everything.get_title("left") == "400 of 400 images"


def test_rows_without_a_place_an_image_or_a_cluster_are_not_shown():
    table = imaged(8)
    table["image_bad"] = [True, *[False] * 7]
    table["tsne_1"] = MaskedColumn(table["tsne_1"], mask=[False, True, *[False] * 6])
    table["tsne_2"][2] = np.nan
    table["cluster"] = MaskedColumn(table["cluster"], mask=[False] * 7 + [True])
    ax = plot_thumbnails(table, overlap=True)
    assert ax.get_title("left") == "4 of 5 images"  # the bad one has a place and no image
    (dots,) = ax.collections
    assert dots.get_offsets().data.tolist() == [[table["tsne_1"][0], table["tsne_2"][0]]]
    table["image_bad"] = True
    with pytest.raises(InputError, match="no row of the table has a place"):
        plot_thumbnails(table)


def test_strips_keep_their_shape():
    ax = plot_thumbnails(imaged(3, (10, 56, 3)), cluster=False)
    canvas, _ = canvas_of(ax)
    rows, columns = np.nonzero((canvas[..., :3] == 20).all(axis=2))
    assert (np.ptp(columns) + 1) / (np.ptp(rows) + 1) == pytest.approx(5.6, rel=0.06)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0.0}, "no share of the axes"),
        ({"max_images": 0}, "shows nothing"),
        ({"stretch": "asin"}, "did you mean 'asinh'"),
        ({"origin": "left"}, "origin='left'"),
        ({"column": "tsne_1"}, "holds no images"),
        ({"cluster": "clstr"}, "did you mean 'cluster'"),
    ],
)
def test_thumbnails_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        plot_thumbnails(imaged(), **options)


def test_one_image_and_one_place_for_all():
    assert plot_thumbnails(imaged(1)).get_title("left") == "1 of 1 images"
    table = imaged(5)
    table["tsne_1"] = table["tsne_2"] = 3.0
    ax = plot_thumbnails(table)
    draw(ax)
    assert ax.get_title("left") == "1 of 5 images"


def test_thumbnails_in_given_axes():
    ax = Figure(figsize=(4, 3), layout="constrained").add_subplot()
    assert plot_thumbnails(imaged(), ax=ax) is ax
    draw(ax)


def test_axes_tell_descriptions_and_units():
    table = imaged()
    table["tsne_1"].info.description = "t-SNE coordinate 1"
    table["flux"] = np.arange(12) * u.mJy
    ax = plot_thumbnails(table, "tsne_1", "flux")
    assert ax.get_xlabel() == "t-SNE coordinate 1"
    assert ax.get_ylabel() == r"flux [$\mathrm{mJy}$]"


def test_images_that_a_table_links_to(tmp_path):
    table = imaged(6)
    np.save(tmp_path / "stack.npy", table["image"])
    from astro_cluster.cutouts import link_images

    linked = link_images(table, tmp_path / "stack.npy")[[3, 1]]
    ax = plot_thumbnails(linked)
    for row, image in zip(linked, table["image"][[3, 1]], strict=True):
        assert pixel_at(ax, row["tsne_1"], row["tsne_2"])[0] == image[0, 0]


def test_the_original_table_is_as_it_was():
    table = imaged()
    before = table.copy()
    plot_thumbnails(table)
    plot_contact_sheet(table)
    assert table.colnames == before.colnames
    assert all(np.array_equal(table[name], before[name]) for name in table.colnames)
    assert table.meta == before.meta


# ---------------------------------------------------------------- contact sheets


def shown_levels(ax) -> list[list[int]]:
    """Return the shades in each row of a sheet, from left to right."""
    canvas, _ = canvas_of(ax)
    lines = []
    for row in canvas[..., 0]:
        line = [int(v) for k, v in enumerate(row) if v != 255 and (k == 0 or row[k - 1] == 255)]
        if line and (not lines or lines[-1] != line):
            lines.append(line)
    return lines


def test_a_sheet_shows_each_cluster_in_its_rows():
    table = imaged(12)
    table["prob_max"] = np.linspace(0.2, 0.9, 12)
    ax = plot_contact_sheet(table)
    levels = table["image"][:, 0, 0]
    expected = [levels[table["cluster"] == k][::-1].tolist() for k in range(3)]  # the surest first
    assert shown_levels(ax) == expected
    assert [text.get_text() for text in ax.texts] == [f"cluster {k}\n4 (33.3%)" for k in range(3)]
    assert [to_hex(line.get_color()).upper() for line in ax.lines] == list(PALETTE[:3])
    draw(ax)
    box = ax.get_window_extent()
    canvas, _ = canvas_of(ax)
    assert box.height / box.width == pytest.approx(canvas.shape[0] / canvas.shape[1], rel=0.02)


@pytest.mark.parametrize(("order", "expected"), [("rank", [3, 4]), ("-rank", [0, 1]), ("-score", [2, 3])])
def test_the_order_of_a_sheet(order, expected):
    table = imaged(5)
    table["rank"] = MaskedColumn([5, 4, 3, 1, 2], mask=[False, False, True, False, False])
    table["score"] = [np.nan, 1.0, 9.0, 5.0, 2.0]
    ax = plot_contact_sheet(table, cluster=False, order=order, per_cluster=2)
    assert shown_levels(ax) == [table["image"][expected, 0, 0].tolist()]


def test_a_random_order_is_the_same_every_time():
    table = imaged(60)
    sheets = [shown_levels(plot_contact_sheet(table, cluster=False, per_cluster=6)) for _ in range(2)]
    assert sheets[0] == sheets[1]
    assert sheets[0] != [table["image"][:6, 0, 0].tolist()]


def test_a_sheet_wraps_and_its_labels_stand_below_their_images():
    table = imaged(5)
    table["name"] = ["a", "b", "an identifier that is much too long for its image, and longer", "d", ""]
    ax = plot_contact_sheet(table, cluster=False, order="tsne_1", columns=2, labels="name")
    order = np.argsort(table["tsne_1"])
    levels = table["image"][order, 0, 0].tolist()
    assert shown_levels(ax) == [levels[:2], levels[2:4], levels[4:]]
    texts = [text.get_text() for text in ax.texts[1:]]
    wanted = table["name"][order].tolist()
    assert [text if not text.endswith("…") else "cut" for text in texts] == [
        "cut" if len(name) > 40 else name for name in wanted
    ]
    draw(ax)
    renderer_boxes = [text.get_window_extent() for text in ax.texts[1:] if text.get_text()]
    assert not any(
        one.overlaps(other) for k, one in enumerate(renderer_boxes) for other in renderer_boxes[:k]
    )


def test_labels_that_begin_alike_are_told_apart_and_keep_apart():
    table = imaged(24)
    table["name"] = [f"map_Mstar_TNG100-1_0_069_50kpc_2048_sci_cam{k}" for k in range(24)]
    ax = plot_contact_sheet(table, cluster=False, order="tsne_1", columns=12, per_cluster=24, labels="name")
    order = np.argsort(table["tsne_1"])
    texts = [text.get_text() for text in ax.texts[1:]]
    assert texts == [str(row) for row in order]
    table["name"] = [f"{'W' * (k + 1)}_the_same_beginning_and_end_of_all" for k in range(24)]
    ax = plot_contact_sheet(table, cluster=False, columns=12, per_cluster=24, labels="name")
    draw(ax)
    boxes = [text.get_window_extent() for text in ax.texts[1:]]
    assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[:k])
    assert all(text.get_text().endswith("_all") or "…" in text.get_text() for text in ax.texts[1:])


def test_a_sheet_by_any_column_and_of_strips():
    table = imaged(9, (10, 57, 3))
    table["reason"] = ["edge data", "close to another source", ""] * 3
    ax = plot_contact_sheet(table, cluster="reason")
    names = [text.get_text().replace("\n", " ") for text in ax.texts]
    assert names == ["close to another source 3 (33.3%)", "edge data 3 (33.3%)", "no reason 3 (33.3%)"]
    canvas, _ = canvas_of(ax)
    here = canvas[..., 0] == 20
    rows, columns = np.nonzero(here)
    assert (np.ptp(columns) + 1) / (np.ptp(rows) + 1) == pytest.approx(5.7, rel=0.05)


def test_bad_images_are_counted_and_not_shown():
    table = imaged(6)
    table["cluster"] = 0
    table["image_bad"] = [True, False, False, False, False, True]
    ax = plot_contact_sheet(table, order="tsne_1")
    assert ax.texts[0].get_text() == "cluster 0\n6"
    assert sorted(level for line in shown_levels(ax) for level in line) == table["image"][1:5, 0, 0].tolist()
    table["image_bad"] = True
    with pytest.raises(InputError, match="no row of the table has a group and a usable image"):
        plot_contact_sheet(table)


def test_too_many_groups_for_a_sheet():
    table = imaged(40)
    table["cluster"] = np.arange(40) // 2
    with pytest.warns(AstroClusterWarning, match="of 20 groups with images, the 16 largest"):
        ax = plot_contact_sheet(table)
    assert len(ax.texts) == 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_cluster": 0}, "give 1 or more"),
        ({"columns": 0}, "give 1 or more"),
        ({"order": "prob"}, "prob"),
        ({"labels": "caption"}, "caption"),
        ({"labels": "image"}, "several values a row"),
    ],
)
def test_sheets_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        plot_contact_sheet(imaged(), **options)


# ---------------------------------------------------------------- reconstructions


def half(images: np.ndarray) -> np.ndarray:
    return (images / 255 if images.dtype == np.uint8 else images) / np.float32(2)


def test_reconstructions_stand_below_their_images():
    table = imaged(4)
    ax = plot_reconstructions(table, SimpleNamespace(reconstruct=half), rows=[2, 0])
    first = table["image"][[2, 0], 0, 0].astype(int)
    lines = shown_levels(ax)
    assert lines[0] == first.tolist()
    assert np.abs(np.array(lines[1]) - first / 2).max() <= 1
    assert [text.get_text() for text in ax.texts] == ["image", "reconstruction", "residual"]
    draw(ax)
    without = plot_reconstructions(table, SimpleNamespace(reconstruct=half), rows=[2], residuals=False)
    assert len(without.texts) == 2


def test_both_have_the_same_stretch():
    table = QTable({"image": np.random.default_rng(0).gamma(1.0, size=(3, 16, 16)).astype("f4")})
    ax = plot_reconstructions(table, SimpleNamespace(reconstruct=lambda x: x.copy()), rows=[1])
    canvas, _ = canvas_of(ax)
    used = np.flatnonzero((canvas != 255).any(axis=(1, 2)))
    ends = np.flatnonzero(np.diff(used) > 1)
    above, below = canvas[used[0] : used[ends[0]] + 1], canvas[used[ends[0] + 1] : used[ends[1]] + 1]
    assert np.array_equal(above[: len(below)], below[: len(above)])


def test_which_images_are_reconstructed():
    table = imaged(30)
    table["image_bad"] = np.arange(30) < 3
    table["reconstruction_error"] = MaskedColumn(np.arange(30.0)[::-1], mask=np.arange(30) < 3)
    seen = []

    def remember(images):
        seen.append(images[:, 0, 0].tolist())
        return half(images)

    plot_reconstructions(table, SimpleNamespace(reconstruct=remember), n=3)
    assert seen[0] == table["image"][[29, 16, 3], 0, 0].tolist()  # the best, a middling one, the worst
    plot_reconstructions(table["image", "image_bad"], SimpleNamespace(reconstruct=remember), n=100)
    assert seen[1] == table["image"][3:, 0, 0].tolist()


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (SimpleNamespace(), {}, "does not reconstruct images"),
        (SimpleNamespace(reconstruct=lambda x: x[:, :2]), {}, "makes images of shape"),
        (SimpleNamespace(reconstruct=half), {"rows": [99]}, "go up to 11"),
        (SimpleNamespace(reconstruct=half), {"rows": [0]}, "row 0 has no image"),
        (SimpleNamespace(reconstruct=half), {"rows": [0.5]}, "numbers of rows"),
        (SimpleNamespace(reconstruct=half), {"n": 0}, "shows nothing"),
    ],
)
def test_reconstructions_that_cannot_be(model, options, message):
    table = imaged()
    table["image_bad"] = np.arange(12) == 0
    with pytest.raises(InputError, match=message):
        plot_reconstructions(table, model, **options)


def test_missing_pixels_are_hatched_in_all_lines():
    images = np.random.default_rng(0).normal(size=(2, 12, 12)).astype("f4")
    images[0, 3:6, 3:6] = np.nan
    ax = plot_reconstructions(QTable({"image": images}), SimpleNamespace(reconstruct=np.nan_to_num))
    draw(ax)
    page = np.asarray(ax.images[0].get_array())[..., :3]
    blue = (page == _HATCH[1]).all(axis=-1)
    assert [bool(line.any()) for line in np.array_split(blue, 3)] == [True, False, True]


# ---------------------------------------------------------------- the region


def labelled() -> QTable:
    table = imaged(12)
    table["spurious"] = [True, False, False, True, False, False, True, True, *[False] * 4]
    return table


def test_a_region_is_told_in_numbers_and_colours():
    table = labelled()
    ax = plot_region(table, label="spurious", threshold=0.5)
    found = ac.inspect(table, label="spurious", threshold=0.5).meta["region"]
    assert found["clusters"] == [0]
    assert ax.get_title("left") == "region: 4 of 12 rows, 3 of 4 bad\nrecall 75.0%, precision 75.0%"
    others, region, _, bad = ax.collections
    places = np.column_stack([table["tsne_1"], table["tsne_2"]])
    assert sorted(map(tuple, region.get_offsets().data)) == sorted(map(tuple, places[table["cluster"] == 0]))
    assert sorted(map(tuple, others.get_offsets().data)) == sorted(map(tuple, places[table["cluster"] != 0]))
    assert sorted(map(tuple, bad.get_offsets().data)) == sorted(map(tuple, places[table["spurious"]]))
    draw(ax)
    box = ax.get_legend().get_window_extent()
    assert box.y0 >= 0
    assert box.x1 <= ax.figure.bbox.x1


def test_a_region_of_another_inspection_and_text_labels():
    table = labelled()
    table["kind"] = np.where(table["spurious"], "bad", "good")
    inspection = ac.inspect(table, label="spurious", threshold=0.2)
    ax = plot_region(table, label="kind", value="bad", inspection=inspection)
    assert ax.get_title("left").startswith("region: 8 of 12 rows, 4 of 4 bad")
    with pytest.raises(InputError, match="no result of inspect"):
        plot_region(table, label="spurious", inspection=table)


def test_rows_without_a_label_are_left_out_of_the_numbers():
    table = labelled()
    table["spurious"] = MaskedColumn(table["spurious"], mask=np.arange(12) == 0)
    ax = plot_region(table, label="spurious", threshold=0.5)
    assert ax.get_title("left").splitlines()[0] == "region: 3 of 11 rows, 2 of 3 bad"


def test_no_cluster_is_suspect():
    ax = plot_region(labelled(), label="spurious", threshold=1.0)
    assert ax.get_title("left").endswith("recall 0.0%, precision none")
    draw(ax)


# ---------------------------------------------------------------- learning


HISTORY = {
    "epoch": [1, 2, 3, 4, 5, 6],
    "loss": [5.0, 4.0, 3.0, 2.5, 2.0, 1.5],
    "held_out_loss": [5.0, 4.0, 3.5, 3.6, 3.4, 3.8],
    "learning_rate": [0.1, 0.1, 0.1, 0.05, 0.05, 0.025],
}


def test_a_learning_curve():
    ax = plot_learning_curve(HISTORY)
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["learned from"].get_xydata().tolist() == [
        [*pair] for pair in zip(HISTORY["epoch"], HISTORY["loss"], strict=True)
    ]
    assert lines["held out"].get_ydata().tolist() == HISTORY["held_out_loss"]
    assert lines["kept: epoch 5, 3.4"].get_xydata().tolist() == [[5, 3.4]]
    drops = [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"]
    assert drops == [4, 6]
    assert ax.get_yscale() == "linear"
    draw(ax)


def test_a_learning_curve_of_a_model_of_a_table_and_without_held_out_images():
    model = SimpleNamespace(history_={"loss": [100.0, 10.0, 1.0]})
    ax = plot_learning_curve(model)
    assert ax.get_yscale() == "log"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["learned from", "kept: epoch 3, 1"]
    table = QTable({"x": [1.0]})
    record = {"function": "embed", "parameters": {}, "embedding": {"history": HISTORY}}
    table.meta["astro_cluster"] = [record, {"function": "cluster", "parameters": {}}]
    assert len(plot_learning_curve(table).lines) == len(plot_learning_curve(HISTORY).lines)


def test_a_rate_that_falls_in_every_epoch_is_not_marked():
    n = 40
    history = {"loss": np.linspace(2, 1, n), "learning_rate": 0.9 ** np.arange(n)}
    assert len(plot_learning_curve(history).lines) == 2


def test_epochs_without_a_number():
    ax = plot_learning_curve({"loss": [3.0, 2.0, 1.0], "held_out_loss": [None, 4.0, float("nan")]})
    assert ax.get_legend().get_texts()[-1].get_text() == "kept: epoch 2, 4"
    draw(ax)


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({}, "has no 'loss', only nothing"),
        ({"loss": []}, "equally long and not empty"),
        ({"loss": [1.0], "epoch": [1, 2]}, "epoch 2"),
        (QTable({"x": [1]}), "no step of the table has a history"),
        (SimpleNamespace(fit=print), "fit it first"),
    ],
)
def test_histories_that_are_none(history, message):
    with pytest.raises(InputError, match=message):
        plot_learning_curve(history)


# ---------------------------------------------------------------- recall


def ordered(n: int = 200, bad: int = 20, seed: int = 0) -> QTable:
    rng = np.random.default_rng(seed)
    table = QTable({"spurious": np.arange(n) < bad, "cluster": np.arange(n) // 25})
    table["good_score"] = rng.normal(size=n) + 3 * table["spurious"]
    table["poor_score"] = rng.normal(size=n)
    return table


def test_recall_of_several_orders_and_of_the_region():
    table = ordered()
    curves = {name: ac.recall_curve(table, "spurious", score=name) for name in ("good_score", "poor_score")}
    region = ac.inspect(table, "cluster", label="spurious")
    ax = plot_recall(curves, region=region)
    lines = {line.get_label(): line for line in ax.lines}
    for name, curve in curves.items():
        xy = lines[name].get_xydata()
        assert xy[0].tolist() == [0, 0]
        order = np.argsort(-np.asarray(table[name]))
        assert xy[1:, 1].tolist() == (np.cumsum(np.asarray(table["spurious"])[order]) / 20).tolist()
        assert np.array_equal(xy[1:, 0], curve["inspected"])
    assert lines["blind choice"].get_xydata().tolist() == [[0, 0], [200, 1]]
    assert lines["region: 100% in 25"].get_xydata().tolist() == [[25, 1]]
    draw(ax)
    shares = plot_recall(curves, region={"whole clusters": region}, fraction=True)
    assert shares.get_xlim() == (0, 1)
    assert {line.get_label() for line in shares.lines} >= {"whole clusters: 100% in 25"}


def test_one_curve_is_called_by_its_score():
    curve = ac.recall_curve(ordered(), "spurious", score="good_score")
    assert "good_score" in [line.get_label() for line in plot_recall(curve).lines]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({},), "nothing to draw"),
        ((QTable({"x": [1]}),), "no column 'inspected'"),
        ((QTable({"inspected": [], "inspected_fraction": [], "found": [], "recall": []}),), "no point"),
    ],
)
def test_recalls_that_are_none(arguments, message):
    with pytest.raises(InputError, match=message):
        plot_recall(*arguments)


def test_a_region_that_is_none():
    curve = ac.recall_curve(ordered(), "spurious", score="good_score")
    with pytest.raises(InputError, match="no result of inspect"):
        plot_recall(curve, region=curve)


def test_everything_is_readable_in_one_column_of_a_journal():
    """No letter is smaller than 7 points at the size at which a figure is made."""
    table = labelled()
    curve = ac.recall_curve(ordered(), "spurious", score="good_score")
    table["name"] = ["x"] * 12
    figures = [
        plot_thumbnails(table),
        plot_contact_sheet(table, labels="name"),
        plot_reconstructions(table, SimpleNamespace(reconstruct=half)),
        plot_region(table, label="spurious"),
        plot_learning_curve(HISTORY),
        plot_recall(curve),
    ]
    for ax in figures:
        figure = ax.get_figure(root=True)
        assert figure.get_figwidth() <= 7.1
        figure.draw_without_rendering()
        assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 7
        legend = ax.get_legend()
        texts = [ax.xaxis.label, ax.yaxis.label, *ax.texts, *(legend.get_texts() if legend else [])]
        boxes = [text.get_window_extent() for text in texts if text.get_text()]
        inside = figure.bbox.padded(1)
        assert all(inside.contains(*box.min) and inside.contains(*box.max) for box in boxes)
        assert ax.get_tightbbox().ymax <= figure.bbox.ymax + 1  # the title, too


# ---------------------------------------------------------------- the real images


def test_real_galaxies_with_gaps_are_shown(real_data):
    galaxies = ac.read_cutouts(str(real_data / "galaxies" / "sci" / "*.tar"), size=32)
    with_gaps = galaxies[galaxies["zero_fraction"] > 0]
    assert 0 < len(with_gaps) < len(galaxies)
    ax = plot_contact_sheet(with_gaps, cluster=False, labels="zero_fraction")
    draw(ax)
    assert len([text for text in ax.texts if text.get_text()]) == 1 + len(with_gaps)


def test_real_strips_keep_their_shape_and_bytes(real_data):
    strips = ac.read_cutouts(
        str(real_data / "jwst" / "spurious" / "*.png"),
        pattern="{source_id:d}.png",
        labels=real_data / "jwst" / "spurious_labels.csv",
        quality=False,
    )
    assert len(strips) == 57
    ax = plot_contact_sheet(strips, cluster="reason", per_cluster=2)
    names = [text.get_text().replace("\n", " ") for text in ax.texts]
    assert names == [
        "diffraction spike 29 (50.9%)",
        "close to another source 21 (36.8%)",
        "edge data 7 (12.3%)",
    ]
    strips["x"], strips["y"] = np.arange(57.0) % 8, np.arange(57.0) // 8
    ax = plot_thumbnails(strips, "x", "y", cluster=False, width=0.1)
    seen = pixel_at(ax, 0.0, 0.0)
    assert seen[3] == 255
    assert ax.get_title("left") == "57 of 57 images"
