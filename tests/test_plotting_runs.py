"""Figures of several runs and of probabilities: what is drawn is what was counted."""

from __future__ import annotations

import io
import itertools
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import pytest
from astropy.table import MaskedColumn, QTable
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle

import astro_cluster as ac
from astro_cluster.exceptions import InputError
from astro_cluster.plotting import PALETTE, plot_alluvial, plot_reliability
from astro_cluster.plotting.parts import NOISE_COLOUR
from astro_cluster.plotting.runs import _crossings, _fewest_crossings


@pytest.fixture(autouse=True)
def _pyplot_is_left_alone():
    before = plt.get_fignums(), dict(plt.rcParams)
    yield
    assert (plt.get_fignums(), dict(plt.rcParams)) == before


def draw(ax: Axes) -> None:
    with io.BytesIO() as file:
        ax.get_figure(root=True).savefig(file, format="png", dpi=60)


def clustered(numbers: tuple[int, ...] = (6, 8, 20), n: int = 1500, seed: int = 0) -> QTable:
    """Runs of which each divides the clusters of the one before, and mixes a few rows."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=n)
    table = QTable()
    for k in numbers:
        moved = np.where(rng.uniform(size=n) < 0.1, rng.uniform(size=n), x)
        table[f"g{k}_cluster"] = rng.permutation(k)[np.floor(moved * k).astype(int)]
    return table


RUNS = ["g6_", "g8_", "g20_"]


def ribbons(ax: Axes) -> list[tuple[int, str, float]]:
    """Return stage, colour and height of every ribbon."""
    found = []
    for patch in ax.patches:
        if isinstance(patch, PathPatch):
            points = patch.get_path().vertices
            found.append(
                (int(points[0, 0]), to_hex(patch.get_facecolor()).upper(), points[4, 1] - points[3, 1])
            )
    return found


def bars(ax: Axes) -> list[Rectangle]:
    """Return the bars, without the white behind them."""
    return [patch for patch in ax.patches if isinstance(patch, Rectangle) and patch.get_linewidth()]


# ---------------------------------------------------------------- plot_alluvial


def test_bars_and_their_names():
    table = clustered()
    ax = plot_alluvial(table, RUNS)
    draw(ax)
    assert isinstance(ax, Axes)
    wanted = Counter(
        f"{label} ({count:,})"
        for run in RUNS
        for label, count in zip(*np.unique(table[f"{run}cluster"], return_counts=True), strict=True)
    )
    shown = [text.get_text() for text in ax.texts]
    assert Counter(text for text in shown if "ARI" not in text) == wanted
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [
        "g6_\n6 clusters",
        "g8_\n8 clusters",
        "g20_\n20 clusters",
    ]
    meta = ac.compare(table, RUNS).meta
    assert [text for text in shown if "ARI" in text] == [
        f"ARI {meta['ari'][i][i + 1]:.2f}, NMI {meta['nmi'][i][i + 1]:.2f}" for i in (0, 1)
    ]
    assert len(bars(ax)) == 34


def test_ribbons_are_as_high_as_rows_and_keep_the_colour_of_the_first_run():
    table = clustered()
    ax = plot_alluvial(table, RUNS)
    first, *_ = labels = [np.asarray(table[f"{run}cluster"]) for run in RUNS]
    unit = sum(bar.get_height() for bar in bars(ax)[:6]) / len(table)
    for stage in (0, 1):
        rows = Counter(zip(first, labels[stage], labels[stage + 1], strict=True))
        wanted = sorted((PALETTE[a], count) for (a, _, _), count in rows.items())
        found = sorted((colour, round(height / unit)) for s, colour, height in ribbons(ax) if s == stage)
        assert found == wanted


def test_from_a_comparison_later_ribbons_have_the_colour_of_most_rows():
    a = [0] * 6 + [1] * 4
    b = [0] * 5 + [1] * 5
    c = [0, 1] * 5
    table = QTable({"a_cluster": a, "b_cluster": b, "c_cluster": c})
    flows = ac.compare(table, ["a_", "b_", "c_"])
    ax = plot_alluvial(flows)
    draw(ax)
    unit = sum(bar.get_height() for bar in bars(ax)[:2]) / 10
    found = Counter((stage, colour, round(height / unit)) for stage, colour, height in ribbons(ax))
    wanted = {0: [(0, 5), (0, 1), (1, 4)], 1: [(0, 3), (0, 2), (1, 3), (1, 2)]}
    assert found == Counter((stage, PALETTE[a], n) for stage, parts in wanted.items() for a, n in parts)
    every = plot_alluvial(ac.compare(table, ["a_", "b_", "c_"], pairs="all"))
    assert ribbons(every) == ribbons(ax)


def test_a_comparison_from_a_file(tmp_path):
    flows = ac.compare(clustered(), RUNS)
    path = ac.write(flows, tmp_path / "flows.vot")
    assert ribbons(plot_alluvial(path)) == ribbons(plot_alluvial(flows))


def test_noise_is_grey_and_not_counted():
    table = clustered((3, 4))
    table["g3_cluster"][:200] = -1
    ax = plot_alluvial(table, ["g3_", "g4_"])
    draw(ax)
    assert "noise (200)" in [text.get_text() for text in ax.texts]
    assert ax.get_xticklabels()[0].get_text() == "g3_\n3 clusters and noise"
    assert {colour for _, colour, _ in ribbons(ax)} == {NOISE_COLOUR, *PALETTE[:3]}


def test_rows_without_a_label_in_some_run_are_not_drawn():
    table = clustered((3, 4, 5))
    table["g5_cluster"] = MaskedColumn(table["g5_cluster"], mask=np.arange(len(table)) < 500)
    ax = plot_alluvial(table, ["g3_", "g4_", "g5_"])
    kept = table[500:]
    shown = {text.get_text() for text in ax.texts}
    for label, count in zip(*np.unique(kept["g3_cluster"], return_counts=True), strict=True):
        assert f"{label} ({count:,})" in shown


@pytest.mark.parametrize("numbers", [(6, 8, 20), (20, 3), (2, 60, 5), (1, 1)])
def test_labels_do_not_lie_on_each_other(numbers):
    table = (
        clustered(numbers) if len(set(numbers)) > 1 else QTable({"g1_cluster": [0, 0], "h_cluster": [0, 0]})
    )
    runs = [f"g{k}_" for k in numbers] if len(set(numbers)) > 1 else ["g1_", "h_"]
    ax = plot_alluvial(table, runs)
    figure = ax.get_figure(root=True)
    figure.draw_without_rendering()
    boxes = [(text.get_position()[0], text.get_window_extent()) for text in ax.texts]
    for i, (x, box) in enumerate(boxes):
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        for other, box_2 in boxes[:i]:
            if x == other:
                assert box.y0 >= box_2.y1 - 0.5 or box_2.y0 >= box.y1 - 0.5
    tops = sorted((bar.get_x(), bar.get_y(), bar.get_height()) for bar in bars(ax))
    for (x, y, height), (x_2, y_2, _) in itertools.pairwise(tops):
        assert x != x_2 or y + height <= y_2 + 1e-9
    assert min(y for _, y, _ in tops) >= -1e-9
    assert max(y + h for _, y, h in tops) <= 1 + 1e-9


def test_hundreds_of_bars_are_drawn_without_the_names_of_the_small_ones():
    table = QTable({"a_cluster": np.arange(3000) % 3, "b_cluster": np.arange(3000) // 6})
    table["b_cluster"][:1500] = 0
    ax = plot_alluvial(table, ["a_", "b_"])
    draw(ax)
    names = [text.get_text() for text in ax.texts]
    assert "0 (1,500)" in names
    assert len(names) < 20


def test_few_ribbons_cross():
    # Two runs that are the same but for the names: no ribbon need cross.
    rng = np.random.default_rng(3)
    flow = np.diag(rng.integers(1, 50, 12)).astype(float)[:, rng.permutation(12)]
    by_name = [np.arange(12), np.arange(12)]
    assert _crossings([flow], by_name) > 0
    assert _crossings([flow], _fewest_crossings([flow])) == 0
    flows = [rng.integers(0, 30, (6, 8)).astype(float), rng.integers(0, 30, (8, 20)).astype(float)]
    orders = _fewest_crossings(flows)
    assert [sorted(order.tolist()) for order in orders] == [list(range(k)) for k in (6, 8, 20)]
    assert _crossings(flows, orders) < 0.9 * _crossings(flows, [np.arange(k) for k in (6, 8, 20)])


def test_crossings_counted_by_hand():
    flow = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert _crossings([flow], [np.arange(2)] * 2) == 2 * 3  # the rows 0→1 cross the rows 1→0
    assert _crossings([flow], [np.array([1, 0]), np.arange(2)]) == 4 * 1


def test_given_axes_are_used_by_plot_alluvial():
    figure = Figure(layout="constrained")
    left, right = figure.subplots(1, 2)
    assert plot_alluvial(clustered(), RUNS, ax=right) is right
    assert right.patches
    assert not left.patches
    draw(right)


def test_what_is_not_drawn_as_runs():
    table = clustered()
    with pytest.raises(InputError, match="name the runs to draw"):
        plot_alluvial(table)
    with pytest.raises(InputError, match="did you mean"):
        plot_alluvial(table, ["g6_", "g9_"])
    with pytest.raises(InputError, match="at least 2 runs"):
        plot_alluvial(table, ["g6_"])
    first = np.arange(len(table)) < 700
    table["g6_cluster"] = MaskedColumn(table["g6_cluster"], mask=first)
    table["g8_cluster"] = MaskedColumn(table["g8_cluster"], mask=~first)
    with pytest.raises(InputError, match="no row has a label in all of"):
        plot_alluvial(table, ["g6_", "g20_", "g8_"])
    flows = ac.compare(clustered(), RUNS)
    names = ["run_a", "cluster_a", "run_b", "cluster_b", "count", "fraction_of_a"]
    rows = [("g6_", 0, "g8_", 0, 1, 1.0), ("g6_", 0, "g20_", 0, 1, 1.0)]
    with pytest.raises(InputError, match="does not compare 'g8_' with 'g20_'"):
        plot_alluvial(QTable(rows=rows, names=names))
    with pytest.raises(InputError, match="has no rows"):
        plot_alluvial(flows[:0])


# ---------------------------------------------------------------- plot_reliability


def judged(**options) -> QTable:
    rng = np.random.default_rng(0)
    p = rng.uniform(size=600)
    truth = np.where(rng.uniform(size=600) < p, "QSO", "Star")
    table = QTable({"prob_0": p, "prob_1": 1 - p, "main_type": truth})
    return ac.calibration(table, "main_type", random_state=0, **options)


def test_points_are_the_bins():
    bins = judged()
    ax = plot_reliability(bins)
    draw(ax)
    assert isinstance(ax, Axes)
    full = bins[bins["count"] > 0]
    (container,) = ax.containers
    line, _, (errors,) = container.lines
    np.testing.assert_allclose(line.get_xdata(), full["mean_confidence"])
    np.testing.assert_allclose(line.get_ydata(), full["accuracy"])
    for segment, low, high in zip(
        errors.get_segments(), full["accuracy_lower"], full["accuracy_upper"], strict=True
    ):
        np.testing.assert_allclose(segment[:, 1], [low, high])
    counts = [int(text.get_text().replace(",", "")) for text in ax.texts]
    assert counts == full["count"].tolist()
    assert ax.get_legend().get_texts()[0].get_text() == f"ECE {bins.meta['ece']:.3f}, 600 rows"


def test_before_and_after_in_one_figure(tmp_path):
    path = ac.write(judged(method="isotonic"), tmp_path / "after.vot")
    figure = Figure(layout="constrained")
    ax = figure.add_subplot()
    assert plot_reliability({"before": judged(), "after": path}, ax=ax) is ax
    draw(ax)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert [text.partition(":")[0] for text in texts] == ["before", "after"]
    assert len(ax.containers) == 2
    assert not ax.texts  # the numbers would lie on each other


def test_bins_of_equal_number_and_all_in_one_bin():
    draw(plot_reliability(judged(strategy="quantile")))
    draw(plot_reliability(judged(bins=1)))


def test_what_is_not_drawn_as_reliability():
    with pytest.raises(InputError, match="no column 'lower'"):
        plot_reliability(QTable({"count": [1]}))
    with pytest.raises(InputError, match="nothing to draw"):
        plot_reliability({})
