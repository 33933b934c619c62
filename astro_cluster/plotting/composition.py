"""What the clusters are made of."""

from __future__ import annotations

import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from astro_cluster.columns import require
from astro_cluster.exceptions import InputError
from astro_cluster.otypes.names import warn_unknown
from astro_cluster.otypes.queries import folded_texts
from astro_cluster.plotting.parts import axes_of, name_of
from astro_cluster.summary import UNMATCHED
from astro_cluster.tables import Source, as_qtable

__all__ = ["plot_types"]

# Types are not clusters, and must not look like them: light colours, after P. Tol's scheme.
_TYPE_COLOURS = (
    "#77AADD", "#EE8866", "#EEDD88", "#FFAABB", "#44BB99", "#99DDFF", "#BBCC33",
    "#C3A6D8", "#D2B48C", "#AAAA00", "#8FB8C8", "#E7A3A3",
)  # fmt: skip


def plot_types(
    summary: Source,
    *,
    by: str | None = None,
    top: int = 10,
    unmatched: bool = True,
    level: int | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw which types the clusters are made of.

    Parameters
    ----------
    summary : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        Result of `summarize` with ``by``.
    by : str, optional
        Column of the types; the second column if not given.
    top : int, optional
        How many of the commonest types get a colour; the others are put together.
    unmatched : bool, optional
        Show the rows without a type; if not, the shares are of those with one.
    level : int, optional
        Level of SIMBAD's hierarchy that the types are folded to, as in `summarize`.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw.

    Returns
    -------
    `~matplotlib.figure.Figure`
        A bar a cluster, its length the cluster's size in words, its parts the types' shares.

    Raises
    ------
    InputError
        If the table is no summary by type, or ``level`` is none.

    Warns
    -----
    AstroClusterWarning
        Names that could not be folded.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> t = QTable({"cluster": [0, 0, 1], "main_type": ["QSO", "Star", "Star"]})
    >>> figure = plot_types(ac.summarize(t, by="main_type"))
    >>> figure.axes[0].get_xlabel()
    'share of the cluster'
    """
    summary = as_qtable(summary)
    if top < 0:
        raise InputError(f"top={top} types cannot be shown; give 0 or more")
    if len(summary.colnames) < 2:
        raise InputError("the table is no summary by type: make it with summarize(table, by=…)")
    by = by or summary.colnames[1]
    if not {"cluster", "count", "fraction_of_cluster"} <= set(summary.colnames):
        raise InputError("the table is no summary by type: make it with summarize(table, by=…)")
    require(summary, by)
    if not unmatched:
        summary = summary[np.asarray(summary[by]) != UNMATCHED]
    if level is not None:
        summary = _folded(summary, by, level)
    clusters = np.unique(np.asarray(summary["cluster"]))
    types = _by_frequency(summary, by)
    shown = [t for t in types if t != UNMATCHED][: min(top, len(_TYPE_COLOURS))]
    matrix = np.zeros((len(clusters), len(shown) + 2))
    names = [*shown, "other types", UNMATCHED]
    for row_cluster, kind, count in zip(summary["cluster"], summary[by], summary["count"], strict=True):
        column = names.index(kind) if kind in names else len(shown)
        matrix[np.searchsorted(clusters, row_cluster), column] += count
    sizes = matrix.sum(axis=1)
    figure, ax = axes_of(ax, (9.0, 1.4 + 0.5 * len(clusters)))
    left = np.zeros(len(clusters))
    colours = [*_TYPE_COLOURS[: len(shown)], "#B0B0B0", "#E4E4E4"]
    for column, (name, colour) in enumerate(zip(names, colours, strict=True)):
        if not matrix[:, column].any():
            continue
        share = matrix[:, column] / sizes
        ax.barh(np.arange(len(clusters)), share, left=left, color=colour, edgecolor="white", label=name)
        for position in np.flatnonzero(share > 0.06):
            text = f"{share[position]:.0%}"
            ax.text(
                left[position] + share[position] / 2, position, text, ha="center", va="center",
                fontsize=8,
            )  # fmt: skip
        left += share
    ticks = [name_of(int(c), int(size)) for c, size in zip(clusters, sizes, strict=True)]
    ax.set_yticks(np.arange(len(clusters)), ticks)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1), xlabel="share of the cluster")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(title=by, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    return figure


def _folded(summary: QTable, by: str, level: int) -> QTable:
    """Return the same counts by wider types; rows of a type are added up where they are drawn."""
    folded, unknown = folded_texts(np.asarray(summary[by]).astype(str), level, keep=UNMATCHED)
    warn_unknown(unknown, f"of column {by!r} keep their names", stacklevel=4)
    out = QTable(summary, copy=False)
    out[by] = folded
    return out


def _by_frequency(summary: QTable, by: str) -> list[str]:
    """Return the types, the commonest first."""
    types, index = np.unique(np.asarray(summary[by]).astype(str), return_inverse=True)
    totals = np.bincount(index, weights=np.asarray(summary["count"]))
    return types[np.argsort(-totals, kind="stable")].tolist()
