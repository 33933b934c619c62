"""Several runs side by side: who goes where."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from astro_cluster.comparing import as_flows, compare, runs_of
from astro_cluster.exceptions import InputError
from astro_cluster.plotting.parts import axes_of, colour_of
from astro_cluster.tables import Source, as_qtable

__all__ = ["plot_alluvial"]

_BAR = 0.3  # width of a bar, the runs being 1 apart
_GAP = 0.012  # between two bars, of the whole height
_GAPS = 0.2  # all gaps at most
_SWEEPS = 12
_TRIES = 24
_MOST_EXCHANGED = 300  # bars; more would take minutes
_LINE = 1.25  # height of a label, of the size of its font
_LABELS = 0.6  # the most that the labels may take, of the whole height


@dataclass(slots=True)
class _Stage:
    """What flows from one run to the next.

    A strip is the rows of one cluster of the first run within a flow.
    """

    a: np.ndarray  # cluster that it leaves
    b: np.ndarray  # cluster that it reaches
    origin: np.ndarray  # cluster of the first run
    count: np.ndarray
    agreement: str = ""


@dataclass(slots=True)
class _Column:
    """The bars of one run, from the top."""

    name: str
    sizes: dict[int, int]
    order: list[int]
    top: dict[int, float] = field(default_factory=dict)
    labelled: set[int] = field(default_factory=set)


def plot_alluvial(
    table: Source,
    runs: Iterable[str] | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw which clusters of one run become which clusters of the next.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A table that was clustered several times, or what `compare` made of it.
    runs : iterable of str, optional
        The runs from left to right, by their prefixes or their columns of labels, at least
        two; needed for a clustered table.  Of a comparison all are drawn, in its order.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw.

    Returns
    -------
    `~matplotlib.axes.Axes`
        A column a run, a bar a cluster with its number and its rows, ribbons for the rows that
        two clusters share.  Colours are the clusters of the first run.

    Raises
    ------
    InputError
        If there are fewer than two runs, one is not there, or two share no row.

    Notes
    -----
    From a clustered table, the rows that have a label in all runs are drawn, and each keeps
    the colour of its cluster in the first run all the way.  A comparison knows two runs at a
    time: beyond the second run a ribbon has the colour that most rows of the bar have that it
    leaves.

    The bars are ordered to reduce crossings, by the barycentre heuristic (Sugiyama, Tagawa &
    Toda 1981, IEEE Trans. SMC 11, 109) from several starts, and then by exchanging neighbours.

    Examples
    --------
    >>> t = QTable({"a_cluster": [0, 0, 0, 1, 1], "b_cluster": [2, 2, 0, 1, 1]})
    >>> ax = plot_alluvial(t, ["a_", "b_"])
    >>> [text.get_text() for text in ax.texts][:2]
    ['0 (3)', '1 (2)']
    """
    table = as_qtable(table)
    if "run_a" in table.colnames and runs is None:
        names, stages = _from_flows(as_flows(table))
    else:
        names, stages = _from_table(table, runs)
    columns = _columns(names, stages)
    _order_bars(columns, stages)
    most = max(len(column.order) for column in columns)
    size = (1.2 + 2.6 * len(columns), float(np.clip(1.4 + 0.25 * most, 4.6, 16.0)))
    _, ax = axes_of(ax, size)
    scale, font = _place(columns, _height_in_points(ax))
    labels = sorted(columns[0].sizes)
    known = [label for label in labels if label >= 0]
    colours = {label: colour_of(label, known.index(label) if label >= 0 else 0) for label in labels}
    for x, stage in enumerate(stages):
        _draw_ribbons(ax, x, stage, (columns[x], columns[x + 1]), colours, scale)
    for x, column in enumerate(columns):
        _draw_bars(ax, x, column, colours if x == 0 else {}, scale, font)
    _name_runs(ax, columns, stages)
    return ax


# ---------------------------------------------------------------- what is drawn


def _from_table(table: QTable, runs: Iterable[str] | None) -> tuple[list[str], list[_Stage]]:
    """Return the runs and their flows, each divided by the cluster of the first run."""
    if runs is None:
        raise InputError(
            "the table is no comparison; name the runs to draw, such as "
            "plot_alluvial(table, ['gmm6_', 'gmm8_']), or give what compare() returns"
        )
    found = runs_of(table, runs)
    everywhere = np.logical_and.reduce([run.has for run in found])
    if not everywhere.any():
        raise InputError(
            f"no row has a label in all of {', '.join(run.name for run in found)}; draw fewer runs"
        )
    agreement = _agreements(compare(table, [run.name for run in found]))
    stages = []
    for a, b in itertools.pairwise(found):
        triples = np.column_stack([run.labels[everywhere] for run in (a, b, found[0])])
        strips, count = np.unique(triples, axis=0, return_counts=True)
        stages.append(_Stage(*strips.T, count, agreement[a.name, b.name]))
    return [run.name for run in found], stages


def _from_flows(flows: QTable) -> tuple[list[str], list[_Stage]]:
    """Return the runs and their flows, those beyond the second run in the colour of most rows."""
    if not len(flows):
        raise InputError("the comparison has no rows; there is nothing to draw")
    run_a, run_b = (np.asarray(flows[name]).astype(str) for name in ("run_a", "run_b"))
    names = list(dict.fromkeys([*run_a.tolist(), *run_b.tolist()]))
    agreement = _agreements(flows)
    stages: list[_Stage] = []
    of: dict[int, int] = {}  # the cluster of the first run that most rows of a bar are from
    for a, b in itertools.pairwise(names):
        part = flows[(run_a == a) & (run_b == b)]
        if not len(part):
            raise InputError(f"the comparison does not compare {a!r} with {b!r}; compare them, in this order")
        left, right, count = (
            np.asarray(part[name]).astype(int) for name in ("cluster_a", "cluster_b", "count")
        )
        of = of or {int(label): int(label) for label in left}
        origin = np.array([of.get(int(label), int(label)) for label in left])
        stages.append(_Stage(left, right, origin, count, agreement[a, b]))
        of = {int(label): _commonest(origin[right == label], count[right == label]) for label in right}
    return names, stages


def _commonest(values: np.ndarray, weights: np.ndarray) -> int:
    found, at = np.unique(values, return_inverse=True)
    return int(found[np.bincount(at, weights).argmax()])


def _agreements(flows: QTable) -> dict[tuple[str, str], str]:
    """Return what is written between two runs."""
    if not {"ari", "nmi"} <= set(flows.colnames):
        return dict.fromkeys(zip(flows["run_a"].tolist(), flows["run_b"].tolist(), strict=True), "")
    return {
        (str(a), str(b)): f"ARI {ari:.2f}, NMI {nmi:.2f}"
        for a, b, ari, nmi in zip(*(flows[n] for n in ("run_a", "run_b", "ari", "nmi")), strict=True)
    }


def _columns(names: list[str], stages: list[_Stage]) -> list[_Column]:
    """Return the bars of each run, by label.

    A run in the middle may have rows that only one of its neighbours has too.
    """
    columns = [_Column(name, {}, []) for name in names]
    for x, stage in enumerate(stages):
        for column, side in ((columns[x], stage.a), (columns[x + 1], stage.b)):
            for label in np.unique(side):
                rows = int(stage.count[side == label].sum())
                column.sizes[int(label)] = max(column.sizes.get(int(label), 0), rows)
    for column in columns:
        column.order = sorted(column.sizes)
    return columns


# ---------------------------------------------------------------- the order of the bars


def _order_bars(columns: list[_Column], stages: list[_Stage]) -> None:
    """Order the bars of each run so that few ribbons cross."""
    labels = [column.order for column in columns]
    flows = [_matrix(stage, labels[x], labels[x + 1]) for x, stage in enumerate(stages)]
    for column, order in zip(columns, _fewest_crossings(flows), strict=True):
        column.order = [column.order[i] for i in order]


def _matrix(stage: _Stage, left: list[int], right: list[int]) -> np.ndarray:
    """Return the rows that flow from each bar to each bar."""
    out = np.zeros((len(left), len(right)))
    np.add.at(out, (np.searchsorted(left, stage.a), np.searchsorted(right, stage.b)), stage.count)
    return out


def _crossings(flows: list[np.ndarray], orders: list[np.ndarray]) -> float:
    """Return how many pairs of rows cross."""
    total = 0.0
    for flow, left, right in zip(flows, orders, orders[1:], strict=False):
        ordered = flow[np.ix_(left, right)]
        # Of each flow, the rows that leave further down and arrive further up.
        below = ordered[::-1].cumsum(axis=0)[::-1] - ordered
        above = below.cumsum(axis=1) - below
        total += float((ordered * above).sum())
    return total


def _fewest_crossings(flows: list[np.ndarray]) -> list[np.ndarray]:
    """Return an order of each run with few crossings, the best one of several attempts."""
    numbers = [*(len(flow) for flow in flows), flows[-1].shape[1]]
    rng = np.random.default_rng(0)  # the same figure each time
    tries = [
        _by_neighbours(flows, [rng.permutation(k) if n else np.arange(k) for k in numbers])
        for n in range(_TRIES)
    ]
    tries.sort(key=lambda found: found[1])
    if sum(numbers) <= _MOST_EXCHANGED:
        tries[:4] = [_exchanged(flows, *found) for found in tries[:4]]
    return min(tries, key=lambda found: found[1])[0]


def _by_neighbours(flows: list[np.ndarray], orders: list[np.ndarray]) -> tuple[list[np.ndarray], float]:
    """Order the bars of each run by the mean place of their neighbours, forth and back."""
    best, least = [order.copy() for order in orders], _crossings(flows, orders)
    for sweep in range(_SWEEPS):
        forth = sweep % 2 == 0
        for x in range(1, len(orders)) if forth else range(len(orders) - 2, -1, -1):
            fixed, flow = (orders[x - 1], flows[x - 1].T) if forth else (orders[x + 1], flows[x])
            place = flow[:, fixed] @ np.arange(len(fixed)) / np.maximum(flow.sum(axis=1), 1)
            orders[x] = orders[x][np.argsort(place[orders[x]], kind="stable")]
        if (found := _crossings(flows, orders)) < least:
            best, least = [order.copy() for order in orders], found
    return best, least


def _exchanged(
    flows: list[np.ndarray], orders: list[np.ndarray], least: float
) -> tuple[list[np.ndarray], float]:
    """Exchange neighbours as long as it helps: a mean is drawn away by a few rows from afar."""
    better = True
    while better:
        better = False
        for order in orders:
            for i in range(len(order) - 1):
                order[[i, i + 1]] = order[[i + 1, i]]
                if (found := _crossings(flows, orders)) < least:
                    least, better = found, True
                else:
                    order[[i, i + 1]] = order[[i + 1, i]]
    return orders, least


# ---------------------------------------------------------------- where it is drawn


def _height_in_points(ax: Axes) -> float:
    figure = ax.get_figure(root=True)
    # The layout of a new figure is not made yet: about an inch goes to the names of the runs.
    whole = figure.get_size_inches()[1] * 72
    return float(min(ax.get_window_extent().height / figure.dpi * 72, whole - 60))


def _place(columns: list[_Column], points: float) -> tuple[float, float]:
    """Give each bar its place from 0 to 1, with room for its label.

    Returns the height of a row and the size of the font.
    """
    most = max(len(column.order) for column in columns)
    # Bars lower than their labels get the height of these, at most so much.
    font = float(np.clip(_LABELS * points / (_LINE * most), 3.0, 9.0))
    line = min(_LINE * font / points, _LABELS / most)
    scale = min(_scale(column, line) for column in columns)
    for column in columns:
        slots = [max(column.sizes[label] * scale, line) for label in column.order]
        # All runs are of one height: what is left goes between the bars.
        gap = (1 - sum(slots)) / max(len(slots) - 1, 1)
        at = 0.0 if len(slots) > 1 else gap / 2
        for label, slot in zip(column.order, slots, strict=True):
            column.top[label] = at + (slot - column.sizes[label] * scale) / 2
            at += slot + gap
            if slot * points >= font:  # of hundreds of bars, only the large ones
                column.labelled.add(label)
    return scale, font


def _scale(column: _Column, line: float) -> float:
    """Return the height of a row at which the bars fit, none with less room than its label."""
    sizes = np.array(list(column.sizes.values()), dtype=float)
    room = 1 - min(_GAP * (len(sizes) - 1), _GAPS)
    low, high = 0.0, 1 / sizes.sum()
    for _ in range(50):
        middle = (low + high) / 2
        fits = np.maximum(sizes * middle, line).sum() <= room
        low, high = (middle, high) if fits else (low, middle)
    return low


def _draw_ribbons(
    ax: Axes,
    x: int,
    stage: _Stage,
    between: tuple[_Column, _Column],
    colours: dict[int, str],
    scale: float,
) -> None:
    """Draw the strips from one run to the next, those of a bar in the order of where they go."""
    left, right = between
    places = [{label: i for i, label in enumerate(column.order)} for column in between]
    first = list(colours)
    strips = list(zip(*(v.tolist() for v in (stage.a, stage.b, stage.origin, stage.count)), strict=True))
    heights = [strip[3] * scale for strip in strips]
    starts, ends = np.zeros(len(strips)), np.zeros(len(strips))
    for column, side, at in ((left, 0, starts), (right, 1, ends)):
        other = places[1 - side]
        used = dict(column.top)
        for i in sorted(
            range(len(strips)), key=lambda i: (other[strips[i][1 - side]], first.index(strips[i][2]))
        ):
            at[i] = used[strips[i][side]]
            used[strips[i][side]] += heights[i]
    for (_, _, origin, _), height, start, end in zip(strips, heights, starts, ends, strict=True):
        path = _ribbon(x + _BAR / 2, x + 1 - _BAR / 2, start, end, height)
        ax.add_patch(PathPatch(path, facecolor=colours[origin], alpha=0.55, linewidth=0, zorder=1))


def _ribbon(x0: float, x1: float, y0: float, y1: float, height: float) -> Path:
    middle = (x0 + x1) / 2
    upper = [(x0, y0), (middle, y0), (middle, y1), (x1, y1)]
    lower = [(x, y + height) for x, y in reversed(upper)]
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    return Path([*upper, *lower, upper[0]], codes)


def _draw_bars(ax: Axes, x: int, column: _Column, colours: dict[int, str], scale: float, font: float) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    in_points = _height_in_points(ax)
    for label in column.order:
        top, height = column.top[label], column.sizes[label] * scale
        bar = (x - _BAR / 2, top), _BAR, height
        ax.add_patch(Rectangle(*bar, facecolor="white", linewidth=0, zorder=2))
        tint = to_rgba(colours.get(label, "#D8D8D8"), 0.45)
        ax.add_patch(Rectangle(*bar, facecolor=tint, edgecolor="#4D4D4D", linewidth=0.6, zorder=3))
        if label not in column.labelled:
            continue
        # The edges of a bar that is lower than its label would strike the label through.
        low = height * in_points < 1.05 * font
        name = f"{'noise' if label < 0 else label} ({column.sizes[label]:,})"
        ax.text(
            x,
            top + height / 2,
            name,
            ha="center",
            va="center",
            fontsize=font,
            zorder=4,
            bbox=box if low else None,
        )


def _name_runs(ax: Axes, columns: list[_Column], stages: list[_Stage]) -> None:
    for x, stage in enumerate(stages):
        ax.text(x + 0.5, 1.015, stage.agreement, ha="center", va="top", fontsize=8, color="#4D4D4D")
    ax.set_xticks(range(len(columns)), [f"{column.name}\n{_number(column.order)}" for column in columns])
    ax.set(xlim=(-_BAR, len(columns) - 1 + _BAR), ylim=(1.05, -0.01), yticks=[])
    ax.tick_params(axis="x", length=0)
    ax.xaxis.tick_top()
    ax.spines[:].set_visible(False)


def _number(labels: list[int]) -> str:
    known = sum(label >= 0 for label in labels)
    return f"{known} cluster{'' if known == 1 else 's'}{' and noise' if known < len(labels) else ''}"
