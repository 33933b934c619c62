"""What the figures share: colours, names of clusters, axes to draw into."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.table import QTable
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from astro_cluster.exceptions import InputError
from astro_cluster.tables import float_values

__all__ = [
    "NOISE_COLOUR",
    "PALETTE",
    "axes_of",
    "axis_label",
    "colour_of",
    "groups_of",
    "marker_size",
    "name_of",
    "one_a_row",
]

# Okabe & Ito's colours, which also the colour-blind tell apart; then darker ones for more clusters.
PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B8A800",
    "#5B2A86", "#7A4B00", "#8C1D40", "#1B6E53", "#555555",
)  # fmt: skip
NOISE_COLOUR = "#B5B5B5"


def colour_of(label: int, position: int) -> str:
    """Return the colour of a cluster.

    Parameters
    ----------
    label : int
        Its label; negative is noise.
    position : int
        Its place among the clusters that are shown, noise not counted.

    Returns
    -------
    str

    Examples
    --------
    >>> colour_of(7, 0), colour_of(-1, 0)
    ('#0072B2', '#B5B5B5')
    """
    return NOISE_COLOUR if label < 0 else PALETTE[position % len(PALETTE)]


def groups_of(table: QTable, cluster: str) -> list[tuple[int, np.ndarray]]:
    """Return each label with its rows, noise first.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        A clustered table.
    cluster : str
        Its column of labels.

    Returns
    -------
    list of tuple of int and array

    Raises
    ------
    InputError
        If no row has a label.

    Examples
    --------
    >>> [(label, rows.tolist()) for label, rows in groups_of(QTable({"cluster": [1, -1, 1]}), "cluster")]
    [(-1, [1]), (1, [0, 2])]
    """
    values = one_a_row(table, cluster)
    labels = np.unique(values[~np.isnan(values)]).astype(int)
    if not labels.size:
        raise InputError(f"column {cluster!r} has no label in any row; cluster the table first")
    return [(int(label), np.flatnonzero(values == label)) for label in labels]


def one_a_row(table: QTable, name: str) -> np.ndarray:
    """Return the numbers of a column that has one a row.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    name : str
        A numeric column.

    Returns
    -------
    (n,) array of float64
        NaN where masked.

    Raises
    ------
    InputError
        If the column is not numeric or has several values a row.

    Examples
    --------
    >>> one_a_row(QTable({"x": [1, 2]}), "x")
    array([1., 2.])
    """
    values = float_values(table[name])
    if values.ndim != 1:
        raise InputError(f"column {name!r} has {values.shape[1:]} values a row; give one with a number a row")
    return values


def name_of(label: int, count: int) -> str:
    """Return how a cluster is called in a figure.

    Parameters
    ----------
    label : int
        Its label; negative is noise.
    count : int
        Its number of rows.

    Returns
    -------
    str

    Examples
    --------
    >>> name_of(3, 1200)
    'cluster 3 (1,200)'
    """
    return f"{'noise' if label < 0 else f'cluster {label}'} ({count:,})"


def axis_label(table: QTable, name: str) -> str:
    """Return the label of an axis: the column's name and unit.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    name : str
        One of its columns.

    Returns
    -------
    str

    Examples
    --------
    >>> axis_label(QTable({"flux": [1.0]}), "flux")
    'flux'
    """
    unit = getattr(table[name], "unit", None)
    shown = u.Unit(unit).to_string("latex_inline") if unit not in (None, "", u.dimensionless_unscaled) else ""
    return f"{name} [{shown}]" if shown else name


def marker_size(n: int) -> float:
    """Return the area of a marker: small enough for many points, large enough for few.

    Parameters
    ----------
    n : int
        Number of points.

    Returns
    -------
    float
        In points squared.

    Examples
    --------
    >>> marker_size(10), marker_size(10**6)
    (28.0, 2.0)
    """
    return float(np.clip(3e4 / max(n, 1), 2.0, 28.0))


def axes_of(ax: Axes | None, size: tuple[float, float], projection: str | None = None) -> tuple[Figure, Axes]:
    """Return the axes to draw into, and their figure; new ones if none are given.

    Parameters
    ----------
    ax : `~matplotlib.axes.Axes` or None
        What the caller gave.
    size : tuple of float
        Width and height of a new figure in inches.
    projection : str, optional
        Projection of new axes.

    Returns
    -------
    tuple of `~matplotlib.figure.Figure` and `~matplotlib.axes.Axes`

    Examples
    --------
    >>> figure, ax = axes_of(None, (4.0, 3.0))
    >>> ax.figure is figure
    True
    """
    if ax is not None:
        return ax.get_figure(root=True), ax  # type: ignore[return-value]
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.add_subplot(projection=projection)
