"""Points in the colour of a value, and the bar or the legend that tells which."""

from __future__ import annotations

import textwrap
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import QTable
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, to_rgba
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from astro_cluster.columns import require, ucd_of
from astro_cluster.exceptions import AstroClusterWarning, InputError, did_you_mean
from astro_cluster.plotting.grouping import Group, groups_by
from astro_cluster.plotting.limits import STEPS, beyond, robust_limits, suitable_scale
from astro_cluster.plotting.parts import axis_label
from astro_cluster.plotting.planes import plane_values

__all__ = ["NO_VALUE", "Shades", "checked_colour_map", "shades_of"]

NO_VALUE = "#C9C9C9"
"""Colour of a point that has no value."""
_SHARE = 0.02  # of the values may lie beyond either end of the bar
_MOST_NAMED = 10


@dataclass(frozen=True)
class Shades:
    """The colour of each row.

    Parameters
    ----------
    label : str
        What the colours tell.
    rgba : (n, 4) array
        Colours.
    known : (n,) array of bool
        Which rows have a value.
    scale : `~matplotlib.cm.ScalarMappable` or None
        Of numbers; None for groups.
    extend : str
        At which ends of the bar there are values beyond.
    groups : tuple of Group
        Of texts and marks.
    """

    label: str
    rgba: np.ndarray
    known: np.ndarray
    scale: ScalarMappable | None = None
    extend: str = "neither"
    groups: tuple[Group, ...] = ()

    @property
    def height(self) -> float:
        """Inches that its bar or its legend needs, with its label."""
        if self.scale is not None:
            return 0.5
        return 0.25 + 0.15 * min(len(self.groups), _MOST_NAMED + 1) if self.groups else 0.0

    def explain(self, ax: Axes, *, size: float = 7.0, orientation: str = "horizontal") -> Any:
        """Fill axes with the bar or the legend that tells which colour is what.

        Parameters
        ----------
        ax : `~matplotlib.axes.Axes`
            Free for it: a long and narrow one for numbers.
        size : float, optional
            Of the letters in points.
        orientation : {"horizontal", "vertical"}, optional
            Of the bar.

        Returns
        -------
        `~matplotlib.colorbar.Colorbar` or `~matplotlib.legend.Legend`

        Examples
        --------
        >>> from matplotlib.figure import Figure
        >>> shades = shades_of(QTable({"Z": [1.0, 2.0]}), "Z")
        >>> shades.explain(Figure().add_subplot()).ax.get_xlabel()
        'Z'
        """
        if self.scale is None:
            return _legend(ax, self.label, self.groups, size)
        bar = ax.get_figure(root=True).colorbar(  # type: ignore[union-attr]
            self.scale, cax=ax, orientation=orientation, extend=self.extend, extendfrac=0.04
        )
        bar.set_label(self.label, fontsize=size + 1)
        bar.ax.tick_params(labelsize=size, length=2.5, width=0.6, which="both")
        bar.outline.set_linewidth(0.6)
        if not isinstance(self.scale.norm, LogNorm):
            bar.locator = MaxNLocator(5, steps=STEPS)
            bar.formatter.set_useOffset(False)
            bar.update_ticks()
        return bar


def _legend(ax: Axes, title: str, groups: tuple[Group, ...], size: float) -> Any:
    ax.set_axis_off()
    named = groups[:_MOST_NAMED]
    handles = [
        Line2D([], [], color=group.colour, marker="o", linestyle="", markersize=4, label=short)
        for group in named
        for short in [textwrap.shorten(group.name, 28, placeholder="…") + f" ({len(group.rows):,})"]
    ]
    if len(groups) > len(named):
        handles.append(Line2D([], [], linestyle="", label=f"and {len(groups) - len(named)} more"))
    return ax.legend(
        handles=handles,
        loc="upper right",
        title=title,
        title_fontsize=size + 1,
        fontsize=size,
        frameon=False,
        borderaxespad=0,
        handletextpad=0.2,
    )


def checked_colour_map(name: str) -> str:
    """Return the name of a colour map that matplotlib knows.

    Parameters
    ----------
    name : str
        Of a colour map.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If there is no such map.

    Examples
    --------
    >>> checked_colour_map("viridis")
    'viridis'
    """
    if name not in colormaps:
        raise InputError(f"there is no colour map {name!r}{did_you_mean(name, list(colormaps))}")
    return name


def shades_of(table: QTable, name: str, *, colour_map: str = "viridis", log: bool | None = None) -> Shades:
    """Return the colour of each row by a column.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    name : str
        A column of numbers, or of clusters, texts or marks; ``"latent[0]"`` is one of several values a row.
    colour_map : str, optional
        Matplotlib's name of the colours of numbers.
    log : bool, optional
        Whether the colours of numbers follow their logarithm; if not given, where they are positive
        and span many magnitudes.

    Returns
    -------
    Shades
        The ends of the colours leave out what is stray.

    Raises
    ------
    InputError
        If there is no such column, it has several values a row, or there is no such colour map.

    Warns
    -----
    AstroClusterWarning
        If no row has a value.

    Examples
    --------
    >>> shades = shades_of(QTable({"Z": [1.0, 2.0, np.nan]}), "Z")
    >>> shades.known.tolist(), shades.scale.get_clim()
    ([True, True, False], (1.0, 2.0))
    """
    checked_colour_map(colour_map)
    if name in table.colnames:
        kind = getattr(getattr(table[name], "dtype", None), "kind", "O")
        if kind not in "fiu" or name.endswith("cluster") or ucd_of(table, name) == "meta.code.class":
            return _of_groups(table, name)
    elif "[" not in name:
        require(table, name)
    else:
        require(table, name.partition("[")[0])
    values = plane_values(table, name)
    known = np.isfinite(values)
    if not known.any():
        return _of_nothing(name, len(table))
    log = suitable_scale(values, share=_SHARE) == "log" if log is None else log
    if log:
        known &= values > 0
        if not known.any():
            raise InputError(f"no value of column {name!r} is positive; it has no logarithm")
    low, high = robust_limits(values[known], share=_SHARE, log=log)
    # A bar ends at its values, where an axis has a margin.
    ends = max(low, values[known].min()), min(high, values[known].max())
    low, high = ends if ends[0] < ends[1] else (low, high)
    scale = ScalarMappable(LogNorm(low, high) if log else Normalize(low, high), colour_map)
    rgba = np.full((len(values), 4), to_rgba(NO_VALUE))
    rgba[known] = scale.to_rgba(values[known])
    outside = beyond(values[known], (low, high))
    below, above = outside & (values[known] < low), outside & (values[known] > high)
    extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}
    label = axis_label(table, name) if name in table.colnames else name
    return Shades(label, rgba, known, scale, extend[(int(below.any()), int(above.any()))])


def _of_nothing(name: str, n: int) -> Shades:
    """Return grey for all rows: a match that found nothing is no reason for no figure."""
    warnings.warn(
        f"column {name!r} has no value in any of {n:,} rows: all points are grey",
        AstroClusterWarning,
        stacklevel=4,
    )
    return Shades(name, np.full((n, 4), to_rgba(NO_VALUE)), np.zeros(n, bool))


def _of_groups(table: QTable, name: str) -> Shades:
    hidden = getattr(table[name], "mask", None)
    if hidden is not None and len(table) and np.all(hidden):
        return _of_nothing(name, len(table))
    groups = groups_by(table, name)
    rgba = np.full((len(table), 4), to_rgba(NO_VALUE))
    known = np.zeros(len(table), bool)
    for group in groups:
        rgba[group.rows] = to_rgba(group.colour)
        known[group.rows] = True
    return Shades(name, rgba, known, None, groups=tuple(groups))
