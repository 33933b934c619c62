"""Where in a plane the bad rows gather."""

from __future__ import annotations

import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

from astro_cluster.columns import require
from astro_cluster.exceptions import InputError
from astro_cluster.plotting.parts import PALETTE, axes_of, marker_size
from astro_cluster.plotting.planes import described, plane_columns, plane_values, same_scale
from astro_cluster.summary import cluster_column, cluster_labels, inspect, is_bad
from astro_cluster.tables import Source, as_qtable

__all__ = ["plot_region"]

_GOOD, _SUSPECT, _BAD = "#9DC3E6", "#1F3A5F", PALETTE[4]


def plot_region(
    table: Source,
    x: str | None = None,
    y: str | None = None,
    *,
    label: str,
    value: str | int | float | bool = True,
    cluster: str | None = None,
    threshold: float = 0.05,
    inspection: Source | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the clusters in which bad rows gather against the others, and the bad rows themselves.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A clustered table with labels.
    x, y : str, optional
        Numeric columns; ``"latent[0]"`` is the first of several values a row.  If not given, the
        t-SNE coordinates, else the first two of another embedding.
    label : str
        Column that tells which rows are bad (spurious, say).
    value : str, number or bool, optional
        What stands in ``label`` for a bad row.
    cluster : str, optional
        Column of cluster labels; that of the latest clustering if not given.
    threshold : float, optional
        Clusters with at least this share of bad rows form the region.
    inspection : `~astropy.table.QTable`, `~astropy.table.Table`, str or path, optional
        Result of `inspect` on other rows or with other numbers, whose region is drawn instead.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw.

    Returns
    -------
    `~matplotlib.axes.Axes`
        Its title says how many rows the region has, how many of the bad ones are inside (recall), and
        which share of the inside is bad (precision).

    Raises
    ------
    InputError
        If a column is missing, no row is bad, or the inspection is none.

    Examples
    --------
    >>> t = QTable({"x": [0.0, 1.0, 2.0], "y": [0.0, 1.0, 0.0], "cluster": [0, 0, 1]})
    >>> t["spurious"] = [True, False, False]
    >>> print(plot_region(t, "x", "y", label="spurious").get_title("left"))
    region: 2 of 3 rows, 1 of 1 bad
    recall 100.0%, precision 50.0%
    """
    table = as_qtable(table)
    x, y = plane_columns(table, x, y)
    cluster = cluster_column(table, cluster)
    require(table, label)
    if inspection is None:
        inspection = inspect(table, cluster, label=label, value=value, threshold=threshold)
    clusters = _suspects(as_qtable(inspection))
    labels, has = cluster_labels(table, cluster)
    bad, labelled = is_bad(table, label, value)
    places = np.column_stack([plane_values(table, name) for name in (x, y)])
    use = has & labelled
    inside = use & np.isin(labels, clusters)
    seen = np.isfinite(places).all(axis=1) & use

    alike = same_scale(table, x, y)
    spans = np.ptp(places[seen], axis=0) if seen.any() else np.ones(2)
    ratio = float(np.clip(spans[1] / spans[0], 0.5, 1.0)) if alike and spans[0] else 0.8
    _, ax = axes_of(ax, (3.54, 3.0 * ratio + 0.95))
    style = {"s": min(marker_size(len(table)), 12.0), "linewidths": 0, "rasterized": True}
    ax.scatter(*places[seen & ~inside].T, color=_GOOD, label="other clusters", **style)
    ax.scatter(*places[seen & inside].T, color=_SUSPECT, label="region", **style)
    ring = {"s": 20, "facecolors": "none", "zorder": 4}
    ax.scatter(*places[seen & bad].T, edgecolors="white", linewidths=2.4, **ring)
    ax.scatter(*places[seen & bad].T, edgecolors=_BAD, linewidths=1.1, label="known bad rows", **ring)
    if alike:
        ax.set_aspect("equal", adjustable="datalim")
    ax.set_xlabel(described(table, x), fontsize=8)
    ax.set_ylabel(described(table, y), fontsize=8)
    ax.tick_params(labelsize=7)
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.set_title(_words(use, inside, bad), fontsize=8, loc="left")
    figure = ax.get_figure(root=True)
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        # Below the label of the axis, however high the axes are.
        bbox_transform=ax.transAxes + ScaledTranslation(0, -31 / 72, figure.dpi_scale_trans),
        ncols=3,
        frameon=False,
        fontsize=7,
        markerscale=1.3,
        handletextpad=0.2,
        columnspacing=1.0,
    )
    return ax


def _suspects(inspection: QTable) -> list[int]:
    region = inspection.meta.get("region")
    if not isinstance(region, dict) or "clusters" not in region:
        raise InputError(
            "the inspection is no result of inspect: make it with inspect(table, label='spurious')"
        )
    return list(region["clusters"])


def _words(use: np.ndarray, inside: np.ndarray, bad: np.ndarray) -> str:
    size, found, total = int(inside.sum()), int((inside & bad).sum()), int((use & bad).sum())
    words = f"region: {size:,} of {int(use.sum()):,} rows, {found:,} of {total:,} bad"
    if not total:
        return words
    precision = f"{found / size:.1%}" if size else "none"
    return f"{words}\nrecall {found / total:.1%}, precision {precision}"
