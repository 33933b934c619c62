"""Rows put into groups for a figure of images: clusters, types, marks; with names and colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from astro_cluster.cells import cell_texts
from astro_cluster.columns import require, ucd_of
from astro_cluster.exceptions import InputError
from astro_cluster.plotting.parts import NOISE_COLOUR, PALETTE, colour_of, groups_of, name_of
from astro_cluster.provenance import records
from astro_cluster.summary import cluster_column

__all__ = ["Group", "draw_legend", "groups_by"]

_MOST_NAMED = 24
_MOST_VALUES = 60  # of a column that is no clustering; more are no groups


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that belong together in a figure.

    Parameters
    ----------
    name : str
        What they are called, without their number.
    rows : (m,) array of int
        Which they are.
    colour : str
        Their colour.
    """

    name: str
    rows: np.ndarray
    colour: str

    @property
    def title(self) -> str:
        """Name and number of rows."""
        return f"{self.name} ({len(self.rows):,})"


def _clusters(table: QTable, name: str) -> list[Group]:
    groups, position = [], 0
    for label, rows in groups_of(table, name):
        groups.append(Group(name_of(label, 0).rpartition(" ")[0], rows, colour_of(label, position)))
        position += label >= 0
    return groups


def _has_clusters(table: QTable) -> bool:
    return (
        any(record["function"] in ("cluster", "assign") for record in records(table))
        or "cluster" in table.colnames
        or any(ucd_of(table, name) == "meta.code.class" for name in table.colnames)
    )


def groups_by(table: QTable, by: str | bool | None = None) -> list[Group]:
    """Put the rows of a table into groups.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    by : str or bool, optional
        A column of cluster labels, texts, marks or whole numbers.  If not given, the labels of the
        latest clustering, or one group of all rows if there was none; if False, one group.

    Returns
    -------
    list of Group
        Clusters by their number, noise first; other groups by falling size, rows without a text or
        with a False mark last.  Masked rows are in none.

    Raises
    ------
    InputError
        If there is no such column, no row has a value, or the values are no groups.

    Examples
    --------
    >>> t = QTable({"cluster": [1, 0, 1], "artefact": ["", "trail", ""]})
    >>> [group.title for group in groups_by(t)]
    ['cluster 0 (1)', 'cluster 1 (2)']
    >>> [group.title for group in groups_by(t, "artefact")]
    ['trail (1)', 'no artefact (2)']
    """
    if by is False:
        return [Group("all images", np.arange(len(table)), PALETTE[0])]
    if by is None or by is True:
        if not _has_clusters(table):
            return groups_by(table, False)
        return _clusters(table, cluster_column(table))
    require(table, by)
    column = table[by]
    if getattr(column, "shape", (0,))[1:]:
        raise InputError(f"column {by!r} has several values a row; groups have one a row")
    kind = getattr(column, "dtype", np.dtype(object)).kind
    if kind in "iuf" and (by.endswith("cluster") or ucd_of(table, by) == "meta.code.class"):
        return _clusters(table, by)
    return _values(table, by, kind)


def _values(table: QTable, by: str, kind: str) -> list[Group]:
    texts, masked = cell_texts(table[by], len(table))
    # A text without letters is one here: nothing was found.
    texts = np.where(masked, "", texts).astype(str)
    hidden = np.asarray(getattr(table[by], "mask", np.zeros(len(table), bool)))
    seen, inverse, counts = np.unique(texts[~hidden], return_inverse=True, return_counts=True)
    if not seen.size:
        raise InputError(f"column {by!r} has no value in any of {len(table)} rows")
    if len(seen) > _MOST_VALUES:
        raise InputError(
            f"column {by!r} has {len(seen):,} different values, which are no groups; give a column of "
            "clusters, types or marks"
        )
    nothing = np.isin(seen, ["", "False"])
    rows = np.flatnonzero(~hidden)
    groups, position = [], 0
    for number in np.lexsort((seen, -counts, nothing)):
        colour = NOISE_COLOUR if nothing[number] else PALETTE[position % len(PALETTE)]
        position += not nothing[number]
        groups.append(Group(_name(by, str(seen[number]), kind), rows[inverse == number], colour))
    return groups


def _name(by: str, text: str, kind: str) -> str:
    if kind == "b":
        return by if text == "True" else f"not {by}"
    if not text:
        return f"no {by}"
    return f"{by} {text}" if kind in "iuf" else text


def draw_legend(ax: Axes, groups: list[Group]) -> None:
    """Tell below the axes which colour is which group.

    Parameters
    ----------
    ax : `~matplotlib.axes.Axes`
        Where the groups are drawn.
    groups : list of Group
        The largest two dozen are named.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = Figure().add_subplot()
    >>> draw_legend(ax, groups_by(QTable({"cluster": [0, 1, 1]})))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['cluster 0 (1)', 'cluster 1 (2)']
    """
    named = groups
    if len(groups) > _MOST_NAMED:
        largest = np.argsort([-len(group.rows) for group in groups], kind="stable")[: _MOST_NAMED - 1]
        named = [groups[i] for i in sorted(largest)]
    handles = [
        Line2D([], [], color=group.colour, marker="s", linestyle="", markersize=6, label=group.title)
        for group in named
    ]
    if len(named) < len(groups):
        handles.append(Line2D([], [], linestyle="", label=f"and {len(groups) - len(named)} smaller ones"))
    figure = ax.get_figure(root=True)
    ax.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        # Below the label of the axis, however high the axes are.
        bbox_transform=ax.transAxes + ScaledTranslation(0, -34 / 72, figure.dpi_scale_trans),
        ncols=min(len(handles), 4),
        frameon=False,
        fontsize=8,
        columnspacing=1.2,
        handletextpad=0.3,
    )
