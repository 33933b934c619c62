"""How much is found against how much is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes

from astro_cluster.exceptions import InputError
from astro_cluster.plotting.parts import PALETTE, axes_of
from astro_cluster.tables import Source, as_qtable, float_values

__all__ = ["plot_recall"]

_DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))
_MARKERS = "osD^vP"


def plot_recall(
    curves: Source | Mapping[str, Source],
    *,
    region: Source | Mapping[str, Source] | None = None,
    fraction: bool = False,
    upto: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw which share of the bad rows is found when so many are looked at.

    Parameters
    ----------
    curves : `~astropy.table.QTable`, `~astropy.table.Table`, str, path, or dict of these
        Result of `recall_curve`; several by name.
    region : `~astropy.table.QTable`, `~astropy.table.Table`, str, path, or dict of these, optional
        Result of `inspect`: what looking at whole clusters finds; a marker each.
    fraction : bool, optional
        Count what is looked at as a share of all, not in rows.
    upto : float, optional
        Where the axis ends, in rows (or a share), to see its beginning.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw.

    Returns
    -------
    `~matplotlib.axes.Axes`
        The dotted line is what a blind choice finds, the grey area what no order can reach.

    Raises
    ------
    InputError
        If a table is no result of `recall_curve` or `inspect`, there is none, or ``upto`` shows nothing.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> t = QTable({"score": [5.0, 4.0, 3.0, 2.0], "spurious": [True, False, True, False]})
    >>> plot_recall(ac.recall_curve(t, "spurious", score="score")).get_ylabel()
    'bad rows found'
    """
    if upto is not None and not upto > 0:
        raise InputError(f"upto={upto} shows nothing; give a number of rows (or a share) above 0")
    named = _named(curves, "", _checked_curve)
    regions = {} if region is None else _named(region, "region", _checked_region)
    _, ax = axes_of(ax, (3.54, 2.9))
    first = next(iter(named.values()))
    total, bad = _totals(first)
    across = 1.0 if fraction else total
    if len({_totals(table) for table in named.values()}) == 1:
        # With one bad row in each look.
        ax.fill_between([0, across * bad / total], [0, 1], 1, color="0.9", linewidth=0)
    ax.plot([0, across], [0, 1], color="0.5", linewidth=1, linestyle=":", label="blind choice")
    for number, (name, table) in enumerate(named.items()):
        inspected = np.append(0, float_values(table["inspected_fraction" if fraction else "inspected"]))
        recall = np.append(0, float_values(table["recall"]))
        style = {"color": PALETTE[number % len(PALETTE)], "linestyle": _DASHES[number % len(_DASHES)]}
        ax.plot(inspected, recall, linewidth=1.4, label=name or _words(table), **style)
    for number, (name, table) in enumerate(regions.items()):
        _mark_region(ax, name, table, number, fraction)
    ax.set(xlim=(0, across if upto is None else upto), ylim=(0, 1.02))
    ax.set_xlabel("share of the rows looked at" if fraction else "rows looked at", fontsize=8)
    ax.set_ylabel("bad rows found", fontsize=8)
    for axis in (ax.yaxis, ax.xaxis) if fraction else (ax.yaxis,):
        axis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if not fraction:
        ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.tick_params(labelsize=7)
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    # Its ground is white, for lines may pass below.
    ax.legend(fontsize=7, loc="lower right", framealpha=0.9, edgecolor="none")
    return ax


def _named(given: Any, name: str, check: Any) -> dict[str, QTable]:
    tables = given if isinstance(given, Mapping) else {name: given}
    if not tables:
        raise InputError("there is nothing to draw; give a result of recall_curve, or a dict of some")
    return {str(key): check(as_qtable(table)) for key, table in tables.items()}


def _checked_curve(table: QTable) -> QTable:
    needed = ("inspected", "inspected_fraction", "found", "recall")
    if missing := [name for name in needed if name not in table.colnames]:
        raise InputError(
            f"the table is no result of recall_curve, for it has no column {missing[0]!r}: make it with "
            "recall_curve(table, 'spurious')"
        )
    if not len(table):
        raise InputError("the curve has no point; make it with recall_curve(table, 'spurious')")
    return table


def _checked_region(table: QTable) -> QTable:
    region = table.meta.get("region")
    if (
        not isinstance(region, Mapping)
        or not {"size", "recall"} <= set(region)
        or "size" not in table.colnames
    ):
        raise InputError("the region is no result of inspect: make it with inspect(table, label='spurious')")
    return table


def _totals(table: QTable) -> tuple[int, int]:
    return int(table["inspected"][-1]), int(table["found"][-1])


def _words(table: QTable) -> str:
    score = table.meta.get("score")
    return score if isinstance(score, str) else "this order"


def _mark_region(ax: Axes, name: str, table: QTable, number: int, fraction: bool) -> None:
    region = table.meta["region"]
    size, recall = int(region["size"]), float(region["recall"])
    whole = int(float_values(table["size"]).sum())
    ax.plot(
        size / whole if fraction else size,
        recall,
        linestyle="none",
        marker=_MARKERS[number % len(_MARKERS)],
        markersize=6,
        markeredgecolor="black",
        markerfacecolor="white",
        label=f"{name}: {recall:.0%} in {size:,}",
        zorder=5,
        clip_on=False,
    )
