"""Numbers of clusters compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from astro_cluster.choosing import CRITERIA
from astro_cluster.exceptions import InputError
from astro_cluster.plotting.parts import PALETTE
from astro_cluster.resampling import DISTRUSTED, VALID, verdict_of
from astro_cluster.tables import Source, as_qtable, float_values

__all__ = ["plot_choice"]

# BIC and ICL often lie on each other: dashes let the lower one be seen.
_LINES = {"bic": (PALETTE[0], "-"), "icl": (PALETTE[4], "--"), "aic": (PALETTE[1], "-")}
_LINE = {"marker": "o", "markersize": 4, "linewidth": 1.4}
# Colour and the height at which the word stands.
_VERDICTS = {
    "valid": (PALETTE[2], (1 + VALID) / 2),
    "doubtful": (PALETTE[1], (VALID + DISTRUSTED) / 2),
    "distrusted": (PALETTE[4], DISTRUSTED / 2),
}


def plot_choice(choice: Source, *, axes: Sequence[Axes] | np.ndarray | None = None) -> Figure:
    """Draw the criteria of `choose` against the number of clusters.

    Parameters
    ----------
    choice : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        Result of `choose`.
    axes : sequence of `~matplotlib.axes.Axes`, optional
        Where to draw, as many as there are panels.

    Returns
    -------
    `~matplotlib.figure.Figure`
        A panel each for BIC, ICL and AIC above their least value, the held-out log-likelihood
        with its error, the silhouette, and the stability with a dot for every cluster; what
        was not computed has none.  A ring marks the number that a criterion prefers.

    Raises
    ------
    InputError
        If the table is no result of `choose`, or there are not as many axes as panels.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> cat = ac.simulate.chandra(300, random_state=1)
    >>> choice = ac.choose(cat, [2, 3, 4], features="hard_*", bootstrap=5, random_state=42)
    >>> [ax.get_title("left") for ax in plot_choice(choice).axes]
    ['information criteria', 'held-out rows', 'silhouette', 'stability']
    """
    choice = as_qtable(choice)
    preferred = choice.meta.get("preferred")
    if not {"n", "bic", "silhouette", "jaccard"} <= set(choice.colnames) or not isinstance(preferred, dict):
        raise InputError("the table is no comparison of numbers of clusters: make it with choose(table, …)")
    panels: dict[str, Callable[[Axes, QTable, dict[str, Any]], None]] = {
        "bic": _draw_information,
        "held_out": _draw_held_out,
        "silhouette": _draw_silhouette,
        "stability": _draw_stability,
    }
    shown = [draw for key, draw in panels.items() if key in preferred]
    if not shown:
        raise InputError(
            "the table holds no criterion that could be drawn; ask choose for one (bootstrap=20)"
        )
    figure, axes = _axes(axes, len(shown))
    ends = np.asarray(choice["n"])[[0, -1]]
    for ax, draw in zip(axes, shown, strict=True):
        draw(ax, choice, preferred)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.set(xlabel="number of clusters n", xlim=(ends[0] - 0.5, ends[1] + 0.5))
        ax.grid(alpha=0.25, linewidth=0.6)
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def _axes(axes: Sequence[Axes] | np.ndarray | None, wanted: int) -> tuple[Figure, list[Axes]]:
    if axes is not None:
        given = list(np.ravel(np.asarray(axes, dtype=object)))
        if len(given) != wanted:
            raise InputError(f"{len(given)} axes were given for {wanted} panels; give as many axes as panels")
        return given[0].get_figure(root=True), given
    columns = 1 if wanted == 1 else 2
    rows = -(-wanted // columns)
    figure = Figure(figsize=(5.2 * columns, 3.4 * rows), layout="constrained")
    return figure, [figure.add_subplot(rows, columns, number) for number in range(1, wanted + 1)]


def _ring(ax: Axes, n: np.ndarray, values: np.ndarray, preferred: int | None, colour: str) -> None:
    """Mark the preferred number."""
    if preferred is not None:
        y = values[n == preferred]
        style = {"facecolor": "none", "edgecolor": colour, "linewidth": 1.8, "zorder": 4}
        ax.scatter(np.full(len(y), preferred), y, s=150, **style)


def _named(ax: Axes, title: str, preferred: int | None) -> None:
    ax.set_title(title, loc="left")
    shown = "none" if preferred is None else preferred
    ax.set_title(f"preferred n: {shown}", loc="right", fontsize=9, color="0.35")


def _draw_information(ax: Axes, choice: QTable, preferred: dict[str, Any]) -> None:
    n = float_values(choice["n"])
    for key, (colour, dashes) in _LINES.items():
        values = float_values(choice[key])
        # Their level means nothing, and differs from that of their differences by magnitudes.
        values = values - np.nanmin(values)
        label = f"{CRITERIA[key]}: {preferred[key]}"
        ax.plot(n, values, color=colour, linestyle=dashes, label=label, **_LINE)
        _ring(ax, n, values, preferred[key], colour)
    ax.set_title("information criteria", loc="left")
    ax.set_ylabel("above the least (lower is better)")
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.legend(title="preferred n", frameon=False, fontsize=9, title_fontsize=9)


def _draw_held_out(ax: Axes, choice: QTable, preferred: dict[str, Any]) -> None:
    n, values = float_values(choice["n"]), float_values(choice["held_out_log_likelihood"])
    errors = np.nan_to_num(float_values(choice["held_out_error"]))
    ax.errorbar(n, values, yerr=errors, capsize=2, elinewidth=0.8, color=PALETTE[0], **_LINE)
    _ring(ax, n, values, preferred["held_out"], PALETTE[0])
    _named(ax, "held-out rows", preferred["held_out"])
    ax.set_ylabel("log-likelihood per row")


def _draw_silhouette(ax: Axes, choice: QTable, preferred: dict[str, Any]) -> None:
    n, values = float_values(choice["n"]), float_values(choice["silhouette"])
    ax.plot(n, values, color=PALETTE[0], **_LINE)
    _ring(ax, n, values, preferred["silhouette"], PALETTE[0])
    if np.nanmin(values) < 0 < np.nanmax(values):
        ax.axhline(0, color="0.4", linewidth=0.8)
    _named(ax, "silhouette", preferred["silhouette"])
    ax.set_ylabel("mean silhouette")


def _draw_stability(ax: Axes, choice: QTable, preferred: dict[str, Any]) -> None:
    n, similar = float_values(choice["n"]), float_values(choice["jaccard"])
    similar = similar.reshape(len(n), -1)
    known = ~np.isnan(similar)
    x, y = np.broadcast_to(n[:, np.newaxis], similar.shape)[known], similar[known]
    words = np.array([verdict_of(value) for value in y])
    for word, (colour, height) in _VERDICTS.items():
        at = words == word
        ax.scatter(x[at], y[at], s=16, color=colour, linewidths=0, alpha=0.8, zorder=3)
        # Beside the axes: within them there is no corner that is free for sure.
        ax.text(1.01, height, word, color=colour, fontsize=9, va="center", transform=ax.get_yaxis_transform())
    for level in (VALID, DISTRUSTED):
        ax.axhline(level, color="0.4", linewidth=0.8, linestyle="--", zorder=1)
    if preferred["stability"] is not None:
        ax.axvline(preferred["stability"], color=_VERDICTS["valid"][0], linewidth=7, alpha=0.2, zorder=0)
    _named(ax, "stability", preferred["stability"])
    ax.set(ylabel="Jaccard similarity of each cluster", ylim=(0, 1.03))
