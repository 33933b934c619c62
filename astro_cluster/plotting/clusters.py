"""Clusters in two features, and on the sky."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from astro_cluster.columns import require
from astro_cluster.matching import find_position, sky_coord
from astro_cluster.plotting.limits import suitable_scale
from astro_cluster.plotting.parts import (
    PALETTE,
    axes_of,
    axis_label,
    colour_of,
    groups_of,
    marker_size,
    name_of,
    one_a_row,
)
from astro_cluster.summary import cluster_column
from astro_cluster.tables import Source, as_qtable

__all__ = ["plot_clusters", "plot_sky"]

_MOST_PANELS = 12
_MARKERS = "osD^vP"


def _scatter(
    ax: Axes, x: np.ndarray, y: np.ndarray, groups: list[tuple[int, np.ndarray]], *, inside: bool = False
) -> None:
    """Draw the rows in an order that favours no group, and a legend in the groups' order."""
    known = [label for label, _ in groups if label >= 0]
    size = marker_size(sum(len(rows) for _, rows in groups))
    handles, by_marker = [], {}
    for label, rows in groups:
        position = known.index(label) if label >= 0 else 0
        colour, marker = colour_of(label, position), _MARKERS[position // len(PALETTE) % len(_MARKERS)]
        # Noise has a layer of its own, below the others.
        by_marker.setdefault((label >= 0, marker), []).append((rows, colour))
        name = name_of(label, len(rows))
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle="", markersize=6, label=name))
    for (_, marker), parts in sorted(by_marker.items()):
        rows = np.concatenate([rows for rows, _ in parts])
        colours = np.concatenate([np.full(len(rows), colour) for rows, colour in parts])
        # Else the groups drawn last would hide the others wherever they overlap.
        order = np.random.default_rng(0).permutation(len(rows))
        rows, colours = rows[order], colours[order]
        ax.scatter(
            x[rows], y[rows], s=size, c=colours, marker=marker, alpha=0.6, linewidths=0, rasterized=True
        )
    # Many clusters: smaller, in columns, and the smallest ones left out.
    many = len(handles) > 16
    if len(handles) > 72:
        largest = set(np.argsort([-len(rows) for _, rows in groups], kind="stable")[:71])
        left_out = len(handles) - len(largest)
        handles = [handle for i, handle in enumerate(handles) if i in largest]
        handles.append(Line2D([], [], linestyle="", label=f"and {left_out} smaller ones"))
    place = (
        {"loc": "best"} if inside else {"loc": "center left", "bbox_to_anchor": (1.01, 0.5), "frameon": False}
    )
    ax.legend(
        handles=handles,
        **place,
        fontsize=6 if many else 9,
        ncols=-(-len(handles) // 24),
        columnspacing=0.8,
        handletextpad=0.2 if many else 0.8,
    )


def _scale_of(column: object, numbers: np.ndarray) -> str:
    """Return the scale that suits an axis: a logarithm for what spans many magnitudes."""
    unit = getattr(column, "unit", None)
    if unit is not None and (u.Unit(unit).is_equivalent(u.deg) or u.Unit(unit) == u.mag):
        return "linear"
    return suitable_scale(numbers)


def plot_clusters(
    table: Source,
    x: str,
    y: str,
    *,
    cluster: str | None = None,
    xscale: str | None = None,
    yscale: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the clusters in two features.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A clustered table.
    x, y : str
        Numeric columns.  Magnitudes in ``y`` grow downwards.
    xscale, yscale : {"linear", "log", "symlog"}, optional
        Scales of the axes; if not given, logarithmic where all values are positive and span
        more than a factor of 300, and they are neither angles nor magnitudes.
    cluster : str, optional
        Column of labels; that of the latest clustering if not given.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw.

    Returns
    -------
    `~matplotlib.figure.Figure`

    Raises
    ------
    InputError
        If a column is missing or no row has a label.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> t = QTable({"cluster": [0, 1], "x": [1.0, 2.0], "y": [3.0, 4.0]})
    >>> figure = plot_clusters(t, "x", "y")
    >>> figure.axes[0].get_xlabel()
    'x'
    """
    table = as_qtable(table)
    cluster = cluster_column(table, cluster)
    require(table, [x, y])
    inside = ax is not None
    figure, ax = axes_of(ax, (7.6, 5.2))
    values = [one_a_row(table, name) for name in (x, y)]
    _scatter(ax, *values, groups_of(table, cluster), inside=inside)
    for axis, name, numbers in zip("xy", (x, y), values, strict=True):
        ax.set(**{f"{axis}label": axis_label(table, name)})
        asked = xscale if axis == "x" else yscale
        ax.set(**{f"{axis}scale": asked or _scale_of(table[name], numbers)})
    if getattr(table[y], "unit", None) == u.mag:
        ax.invert_yaxis()
    ax.grid(alpha=0.25, linewidth=0.6)
    return figure


def plot_sky(
    table: Source,
    *,
    cluster: str | None = None,
    position: tuple[str, str] | str | None = None,
    panels: bool = True,
    ax: Axes | None = None,
) -> Figure:
    """Draw the clusters on the sky, in Galactic coordinates.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A clustered table with positions.
    cluster : str, optional
        Column of labels; that of the latest clustering if not given.
    position : str or tuple of two str, optional
        Columns of the position, if they are not found by UCD or name.
    panels : bool, optional
        A panel a cluster (the 12 largest, if there are more), the others in grey; sources of
        one field lie on top of each other, so that one panel for all shows little of most
        surveys.
    ax : `~matplotlib.axes.Axes`, optional
        Axes of a Mollweide, Aitoff or Hammer projection to draw all clusters into.

    Returns
    -------
    `~matplotlib.figure.Figure`
        The Galactic centre in the middle, longitude increasing to the left.

    Raises
    ------
    InputError
        If there are no positions or labels.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> t = QTable({"cluster": [0, 1], "ra": [10.0, 200.0] * u.deg, "dec": [0.0, 5.0] * u.deg})
    >>> plot_sky(t).axes[1].get_title()
    'cluster 1 (1)'
    """
    table = as_qtable(table)
    cluster = cluster_column(table, cluster)
    coordinates, valid = sky_coord(table, find_position(table, position))
    galactic = coordinates.galactic
    longitude = -galactic.l.wrap_at(180 * u.deg).to_value(u.rad)  # as seen from inside: l grows leftwards
    longitude = np.where(valid, longitude, np.nan)
    latitude = np.where(valid, galactic.b.to_value(u.rad), np.nan)
    groups = groups_of(table, cluster)
    if ax is not None or not panels or len(groups) == 1:
        figure, ax = axes_of(ax, (10.0, 4.8), "mollweide")
        _scatter(ax, longitude, latitude, groups)
        _galactic_grid(ax, step=30)
        ax.set(xlabel="Galactic longitude l", ylabel="Galactic latitude b")
        return figure
    if len(groups) > _MOST_PANELS:  # the largest ones; more could not be looked at
        largest = set(np.argsort([-len(rows) for _, rows in groups], kind="stable")[:_MOST_PANELS].tolist())
        groups = [group for i, group in enumerate(groups) if i in largest]
    n_columns = 2 if len(groups) in (2, 4) else min(3, len(groups))
    n_rows = -(-len(groups) // n_columns)
    figure = Figure(figsize=(4.3 * n_columns, 2.5 * n_rows + 0.4), layout="constrained")
    size = marker_size(len(table))
    known = [label for label, _ in groups if label >= 0]
    for number, (label, rows) in enumerate(groups, start=1):
        panel = figure.add_subplot(n_rows, n_columns, number, projection="mollweide")
        panel.scatter(longitude, latitude, s=size, color="#DCDCDC", linewidths=0, rasterized=True)
        colour = colour_of(label, known.index(label) if label >= 0 else 0)
        panel.scatter(
            longitude[rows], latitude[rows], s=size, color=colour, alpha=0.8, linewidths=0, rasterized=True
        )
        panel.set_title(name_of(label, len(rows)), fontsize=10)
        _galactic_grid(panel, step=60)
    figure.supxlabel("Galactic longitude l, latitude b", fontsize=10)
    return figure


def _galactic_grid(ax: Axes, *, step: int) -> None:
    ticks = np.arange(-180 + step, 180, step)
    ax.set_xticks(np.radians(ticks), [f"{-t % 360}°" for t in ticks], fontsize=7, color="#333333")
    latitudes = np.arange(-60, 61, step)
    ax.set_yticks(np.radians(latitudes), [f"{b:+d}°" if b else "0°" for b in latitudes], fontsize=7)
    for label in ax.get_xticklabels():  # they stand on the Galactic plane, where the points are
        label.set_bbox({"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6})
        label.set_zorder(5)
    ax.grid(alpha=0.35, linewidth=0.6)
