"""Figures show what they say: labels, units, counts, colours; and leave pyplot alone."""

from __future__ import annotations

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy import units as u
from astropy.table import Column, MaskedColumn, QTable, Table
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import astro_cluster as ac
from astro_cluster.exceptions import InputError
from astro_cluster.plotting import PALETTE, plot_clusters, plot_sky, plot_types


def clustered(k: int = 3, n: int = 120, seed: int = 0) -> QTable:
    rng = np.random.default_rng(seed)
    table = QTable({"cluster": np.arange(n) % k, "x": rng.normal(size=n) * u.mJy, "y": rng.uniform(1, 9, n)})
    table["ra"], table["dec"] = rng.uniform(0, 360, n) * u.deg, rng.uniform(-90, 90, n) * u.deg
    table["main_type"] = rng.choice(["QSO", "Star", "YSO", ""], n)
    return table


def draw(figure: Figure) -> None:
    """Draw for real: complaints of the layout come only then."""
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=50)


def legend(ax) -> dict[str, tuple[str, str]]:
    found = ax.get_legend()
    return {
        text.get_text(): (to_hex(handle.get_color()).upper(), handle.get_marker())
        for text, handle in zip(found.get_texts(), found.legend_handles, strict=True)
    }


def points(ax) -> list[tuple[float, float, str]]:
    """Return position and colour of every point that was drawn."""
    out = []
    for collection in ax.collections:
        colours = collection.get_facecolors()
        offsets = np.ma.filled(collection.get_offsets(), np.nan)
        if len(colours) == 1:
            colours = np.repeat(colours, len(offsets), axis=0)
        out += [(x, y, to_hex(c).upper()) for (x, y), c in zip(offsets, colours, strict=True)]
    return out


@pytest.fixture(autouse=True)
def _pyplot_is_left_alone():
    before = plt.get_fignums(), dict(plt.rcParams)
    yield
    assert (plt.get_fignums(), dict(plt.rcParams)) == before


# ---------------------------------------------------------------- plot_clusters


def test_labels_legend_and_colours():
    table = clustered()
    table["cluster"][:10] = -1
    figure = plot_clusters(table, "x", "y")
    draw(figure)
    (ax,) = figure.axes
    assert ax.get_xlabel() == r"x [$\mathrm{mJy}$]"
    assert ax.get_ylabel() == "y"
    labels = np.asarray(table["cluster"])
    names = {c: f"{'noise' if c < 0 else f'cluster {c}'} ({(labels == c).sum():,})" for c in (-1, 0, 1, 2)}
    shown = legend(ax)
    assert list(shown) == list(names.values())
    assert [shown[names[c]][0] for c in (0, 1, 2)] == list(PALETTE[:3])
    assert shown[names[-1]][0] not in PALETTE
    colour_at = {(x, y): colour for x, y, colour in points(ax)}
    assert len(colour_at) == len(table)
    for row in table:
        assert colour_at[row["x"].value, row["y"]] == shown[names[int(row["cluster"])]][0]


def test_counts_have_separators_and_labels_need_no_order():
    n = 2500
    table = QTable({"cluster": np.where(np.arange(n) < 1200, 7, 3), "x": np.arange(n), "y": np.arange(n)})
    assert list(legend(plot_clusters(table, "x", "y").axes[0])) == ["cluster 3 (1,300)", "cluster 7 (1,200)"]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1.0, 301.0], "log"),
        ([1.0, 299.0], "linear"),
        ([0.0, 1e6], "linear"),
        ([-1.0, 1e6], "linear"),
        ([1e-3, np.nan], "linear"),
        ([1e-6, 1e6], "log"),
    ],
)
def test_when_an_axis_is_logarithmic(values, scale):
    table = QTable({"cluster": [0, 1], "x": values, "y": [1.0, 2.0]})
    ax = plot_clusters(table, "x", "y").axes[0]
    assert ax.get_xscale() == scale
    assert ax.get_yscale() == "linear"


@pytest.mark.parametrize("k", [1, 2, 13, 30, 60])
def test_any_number_of_clusters_can_be_told_apart(k):
    table = clustered(k)
    figure = plot_clusters(table, "x", "y")
    draw(figure)
    shown = legend(figure.axes[0])
    assert len(shown) == k
    assert len(set(shown.values())) == k


@pytest.mark.parametrize("k", [3, 13, 30])
def test_the_legend_is_whole_and_leaves_room(k):
    figure = plot_clusters(clustered(k), "x", "y")
    figure.draw_without_rendering()
    (ax,) = figure.axes
    box = ax.get_legend().get_window_extent()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= figure.bbox.x1 + 1
    assert box.y1 <= figure.bbox.y1 + 1
    assert ax.get_position().height > 0.5
    assert ax.get_position().width > 0.4


def test_masked_labels_are_not_drawn():
    table = clustered()
    table["cluster"] = MaskedColumn(table["cluster"], mask=np.arange(len(table)) < 30)
    ax = plot_clusters(table, "x", "y").axes[0]
    assert len(points(ax)) == len(table) - 30
    assert sum(int(name.split("(")[1][:-1]) for name in legend(ax)) == len(table) - 30


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_cannot_be_drawn(value):
    table = clustered()
    table["y"][:5] = value
    figure = plot_clusters(table, "x", "y")
    draw(figure)
    assert np.isfinite(figure.axes[0].get_ylim()).all()
    table["y"][:] = np.nan
    draw(plot_clusters(table, "x", "y"))


@pytest.mark.parametrize(
    ("column", "label"),
    [
        (Column([1.0, 2.0], unit=u.Unit("wibble", parse_strict="silent")), "wibble"),
        ([1.0, 2.0] * u.ABmag, "mag"),
        ([1.0, 2.0] * u.km / u.s, r"km\,s^{-1}"),
        ([1.0, 2.0] * u.one, None),
    ],
)
def test_units_on_the_axes(column, label):
    table = QTable(Table({"cluster": [0, 1], "y": [1.0, 2.0]}))
    table["x"] = column
    figure = plot_clusters(table, "x", "y")
    draw(figure)
    shown = figure.axes[0].get_xlabel()
    assert shown == "x" if label is None else label in shown


def test_given_axes_are_used():
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plot_clusters(clustered(), "x", "y", ax=right) is figure
    assert not left.collections
    assert right.collections
    assert right.get_xlabel()
    sub = Figure().subfigures(1, 2)[0]
    assert plot_clusters(clustered(), "x", "y", ax=sub.subplots()) is sub.figure


def test_the_given_table_stays():
    table = clustered()
    before = table.copy()
    plot_clusters(table, "x", "y")
    plot_sky(table)
    assert all((table[name] == before[name]).all() for name in table.colnames)


def test_drawing_is_repeatable():
    a, b = (points(plot_clusters(clustered(), "x", "y").axes[0]) for _ in range(2))
    assert a == b


def test_what_cannot_be_drawn():
    table = clustered()
    with pytest.raises(InputError, match="there is no column 'z'"):
        plot_clusters(table, "x", "z")
    with pytest.raises(InputError, match="main_type"):
        plot_clusters(table, "main_type", "y")
    with pytest.raises(InputError, match="main_type"):
        plot_clusters(table, "x", "y", cluster="main_type")
    table["v"] = np.zeros((len(table), 2))
    with pytest.raises(InputError, match="'v'"):
        plot_clusters(table, "v", "y")
    table["cluster"] = MaskedColumn(table["cluster"], mask=True)
    with pytest.raises(InputError, match="'cluster' has no label in any row"):
        plot_clusters(table, "x", "y")


# ---------------------------------------------------------------- plot_sky


def test_a_panel_for_each_cluster():
    table = clustered(4)
    table["cluster"][:4] = -1
    figure = plot_sky(table)
    draw(figure)
    labels = np.asarray(table["cluster"])
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == [
        f"{'noise' if c < 0 else f'cluster {c}'} ({(labels == c).sum()})" for c in (-1, 0, 1, 2, 3)
    ]
    for ax in figure.axes:
        everything, own = ax.collections
        assert len(everything.get_offsets()) == len(table)
        assert len(own.get_offsets()) == int(ax.get_title().split("(")[1][:-1])
    assert to_hex(figure.axes[2].collections[1].get_facecolors()[0]).upper() == PALETTE[1]


def test_galactic_coordinates_grow_to_the_left():
    # The Galactic centre, and a point at l = 90 deg, b = +30 deg.
    from astropy.coordinates import SkyCoord

    sky = SkyCoord([0.0, 90.0], [0.0, 30.0], unit="deg", frame="galactic").icrs
    table = QTable({"cluster": [0, 0], "ra": sky.ra, "dec": sky.dec})
    figure = plot_sky(table)
    draw(figure)
    (ax,) = figure.axes  # one cluster: one panel, with a legend
    assert list(legend(ax)) == ["cluster 0 (2)"]
    got = sorted(np.degrees([(x, y) for x, y, _ in points(ax)]).round(6).tolist())
    np.testing.assert_allclose(got, [[-90.0, 30.0], [0.0, 0.0]], atol=1e-5)
    assert "l" in ax.get_xlabel()
    ticks = {
        round(np.degrees(t)): text.get_text()
        for t, text in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
    }
    assert ticks[-90] == "90°"
    assert ticks[90] == "270°"


def test_all_in_one_sky():
    table = clustered(14)
    figure = plot_sky(table, panels=False)
    draw(figure)
    assert len(set(legend(figure.axes[0]).values())) == 14
    own = Figure()
    ax = own.add_subplot(projection="hammer")
    assert plot_sky(table, ax=ax) is own
    assert len(points(ax)) == len(table)


def test_rows_without_a_position():
    table = clustered()
    table["ra"][:5] = np.nan * u.deg
    figure = plot_sky(table)
    draw(figure)
    # The grey background of a panel has all rows, and those without a position are not drawn.
    assert np.isnan(np.asarray(figure.axes[0].collections[0].get_offsets())[:5]).all()
    draw(plot_sky(table, panels=False))


def test_no_positions():
    table = clustered()
    with pytest.raises(InputError):
        plot_sky(table["cluster", "x"])
    with pytest.raises(InputError, match="main_type"):
        plot_sky(table, cluster="main_type")


# ---------------------------------------------------------------- plot_types


def bars(ax) -> dict[str, np.ndarray]:
    return {c.get_label(): np.array([patch.get_width() for patch in c]) for c in ax.containers}


def test_shares_of_types():
    table = clustered(3, 600)
    table["cluster"] = np.where(np.arange(600) < 50, -1, table["cluster"])
    figure = plot_types(ac.summarize(table, by="main_type"))
    draw(figure)
    (ax,) = figure.axes
    labels, kinds = np.asarray(table["cluster"]), np.asarray(table["main_type"])
    shown = bars(ax)
    assert set(shown) == {"QSO", "Star", "YSO", "unmatched"}
    for name, widths in shown.items():
        kind = "" if name == "unmatched" else name
        np.testing.assert_allclose(widths, [(kinds[labels == c] == kind).mean() for c in (-1, 0, 1, 2)])
    assert [t.get_text() for t in ax.get_yticklabels()] == [
        f"{'noise' if c < 0 else f'cluster {c}'} ({(labels == c).sum()})" for c in (-1, 0, 1, 2)
    ]
    assert ax.get_legend().get_title().get_text() == "main_type"
    assert ax.get_xlabel() == "share of the cluster"
    assert ax.yaxis_inverted()


def test_only_the_commonest_types_have_a_colour():
    rng = np.random.default_rng(1)
    table = clustered(3, 900)
    table["main_type"] = rng.choice([f"T{i:02d}" for i in range(30)], 900, p=np.arange(1, 31) / 465)
    summary = ac.summarize(table, by="main_type")
    kinds, counts = np.unique(np.asarray(table["main_type"]), return_counts=True)
    commonest = kinds[np.argsort(-counts, kind="stable")]
    for top in (3, 10, 50):
        shown = bars(plot_types(summary, top=top).axes[0])
        assert list(shown) == [*commonest[: min(top, len(PALETTE))], "other types"]
        np.testing.assert_allclose(sum(shown.values()), 1.0)


def test_types_from_a_file_and_in_given_axes(tmp_path):
    table = ac.summarize(clustered(2), by="main_type")
    back = ac.read(ac.write(table, tmp_path / "t.fits"))
    figure = Figure()
    ax = figure.add_subplot()
    assert plot_types(back, ax=ax) is figure
    assert {k: v.tolist() for k, v in bars(ax).items()} == {
        k: v.tolist() for k, v in bars(plot_types(table).axes[0]).items()
    }


def test_one_cluster_of_unmatched_rows():
    figure = plot_types(ac.summarize(QTable({"cluster": [0, 0], "t": ["", ""]}), by="t"))
    draw(figure)
    assert list(bars(figure.axes[0])) == ["unmatched"]


@pytest.mark.parametrize(
    "table",
    [QTable({"cluster": [0]}), QTable({"a": [0], "b": [1]}), ac.summarize(QTable({"cluster": [0, 1]}))],
)
def test_what_is_no_summary_by_type(table):
    with pytest.raises(InputError):
        plot_types(table)


def test_a_negative_number_of_types():
    summary = ac.summarize(clustered(), by="main_type")
    with pytest.raises(InputError, match="top"):
        plot_types(summary, top=-1)
