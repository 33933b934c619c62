"""Corner plots: every pair of several columns, in the colour of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator, ScalarFormatter

from astro_cluster.columns import require
from astro_cluster.exceptions import InputError
from astro_cluster.plotting.limits import STEPS, beyond, robust_limits, suitable_scale
from astro_cluster.plotting.panels import Layout, tidy, wrapped
from astro_cluster.plotting.parts import axis_label
from astro_cluster.plotting.planes import plane_values
from astro_cluster.plotting.shades import NO_VALUE, Shades, shades_of
from astro_cluster.tables import Source, as_qtable, float_values

__all__ = ["plot_corner"]

_MOST = 20
_SIDES = (0.62, 2.1)  # inches of a panel
_WIDTH = 6.4  # inches of all panels, where they are neither too small nor too large
_SHARES = (0.3935, 0.8647)  # of the rows within one and two sigma of a Gaussian in two dimensions
_BINS = 32  # of the densities whose contours are drawn
_FEWEST = 100  # rows for which contours mean something
_POINT = "#33658A"
_UPRIGHT = 1.5  # inches of a panel whose ticks need not be turned


def plot_corner(
    table: Source,
    columns: str | Sequence[str] = "latent",
    *,
    color: str | None = None,
    contours: bool = True,
    colour_map: str = "viridis",
    log_color: bool | None = None,
    figure: FigureBase | None = None,
) -> Figure:
    """Draw every pair of the numbers of a column, or of several columns, in the colour of another.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        n rows.
    columns : str or sequence of str, optional
        A column of several values a row, or columns; ``"latent[0]"`` is the first of several values.
    color : str, optional
        A column of numbers, clusters, texts or marks.
    contours : bool, optional
        Draw what holds 39 % and 86 % of the rows, one and two sigma of a Gaussian in two dimensions.
    colour_map : str, optional
        Matplotlib's name of the colours of numbers.
    log_color : bool, optional
        Whether the colours follow the logarithm; if not given, where the numbers are positive and span
        many magnitudes.
    figure : `~matplotlib.figure.Figure` or `~matplotlib.figure.SubFigure`, optional
        Where to draw.

    Returns
    -------
    `~matplotlib.figure.Figure`
        Rows that lack one of the numbers are left out, rows without a colour are grey; the figure tells
        how many.  No axis is stretched by stray values, which lie beyond its ends then.

    Raises
    ------
    InputError
        If there is no such column, there are more than 20 numbers a row, no row has all of them, or the
        package corner is not installed and contours are asked for.

    Warns
    -----
    AstroClusterWarning
        If no row has a colour; all are grey then.

    Notes
    -----
    The contours are those of corner (Foreman-Mackey 2016, JOSS 1, 24), of the extra ``spectra``.  The
    frame is our own: corner draws density or points of one colour, labels that are longer than a panel over
    each other, and refuses a column that is constant.

    Examples
    --------
    >>> t = QTable({"latent": np.random.default_rng(1).normal(size=(50, 3)), "Z": np.linspace(1, 3, 50)})
    >>> figure = plot_corner(t, color="Z")
    >>> [ax.get_xlabel() for ax in figure.axes if ax.get_xlabel()]
    ['latent[0]', 'latent[1]', 'latent[2]', 'Z']
    """
    table = as_qtable(table)
    names, labels, values = _numbers(table, columns)
    whole = np.isfinite(values).all(axis=1)
    if not whole.any():
        raise InputError(f"no row of the table has all of {', '.join(names)}; none can be drawn")
    shades = None if color is None else shades_of(table, color, colour_map=colour_map, log=log_color)
    labels, shown = _scaled(labels, values[whole])
    drawn = _Drawn(shown, [robust_limits(column) for column in shown.T])
    hist2d = _hist2d() if contours and len(names) > 1 and len(shown) >= _FEWEST else None

    k = len(names)
    layout, labels = _layout(k, labels)
    figure = layout.figure(figure)
    rgba = _POINT if shades is None else shades.rgba[whole]
    for i in range(k):
        for j in range(i + 1):
            ax = layout.panel(figure, i, j)
            if i == j:
                _draw_histogram(ax, drawn, i)
            else:
                _draw_pair(ax, drawn, j, i, rgba, hist2d)
            _dress(ax, i, j, labels, layout.widths)
    _draw_corner(figure, layout, shades, _caption(drawn, whole, shades, hist2d is not None))
    return figure.get_figure(root=True)  # type: ignore[return-value]


@dataclass(frozen=True)
class _Drawn:
    """The numbers of the rows that are drawn, and the ends of their axes."""

    values: np.ndarray
    limits: list[tuple[float, float]]

    @property
    def outside(self) -> int:
        """How many rows lie beyond the end of an axis."""
        found = [beyond(column, limits) for column, limits in zip(self.values.T, self.limits, strict=True)]
        return int(np.any(found, axis=0).sum())


def _numbers(table: QTable, columns: str | Sequence[str]) -> tuple[list[str], list[str], np.ndarray]:
    """Return the names of the numbers of a row, their labels, and the numbers."""
    names: list[str] = []
    for name in [columns] if isinstance(columns, str) else list(columns):
        if name not in table.colnames and "[" in name:
            require(table, name.partition("[")[0])
            names.append(name)
            continue
        require(table, name)
        shape = float_values(table[name][:0]).shape
        if len(shape) > 2:
            raise InputError(
                f"column {name!r} has {shape[1:]} values a row; a corner plot takes one row of them"
            )
        names += [name] if len(shape) == 1 else [f"{name}[{number}]" for number in range(shape[1])]
    if not 1 <= len(names) <= _MOST:
        raise InputError(
            f"a corner plot of {len(names)} numbers a row; give from 1 to {_MOST}, such as "
            "columns=['latent[0]', 'latent[1]']"
        )
    if not len(table):
        raise InputError("the table has no row to draw")
    labels = [axis_label(table, name) if name in table.colnames else _labelled(table, name) for name in names]
    return names, labels, np.column_stack([plane_values(table, name) for name in names])


def _labelled(table: QTable, name: str) -> str:
    column = name.partition("[")[0]
    return name + axis_label(table, column).removeprefix(column)


def _hist2d() -> Any:
    try:
        from corner import hist2d
    except ModuleNotFoundError as error:
        raise InputError(
            'the contours are drawn by corner, which is not installed: pip install "astro_cluster[spectra]"; '
            "or draw without them, contours=False (--no-contours)"
        ) from error
    return hist2d


def _scaled(labels: list[str], values: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return labels and numbers that need no power of ten beside the axis."""
    labels, values = list(labels), values.copy()
    for number, label in enumerate(labels):
        column = values[:, number]
        if suitable_scale(column, share=0.005) == "log":
            labels[number], values[:, number] = f"log₁₀ {label}", np.log10(column)
            continue
        most = np.abs(robust_limits(column)).max()
        if 1e-3 <= most < 1e5:
            continue
        power = int(np.floor(np.log10(most)))
        name, bracket, unit = label.partition(" [")
        shown = f"$10^{{{power}}}$" + (f" {unit}" if bracket else "]")
        labels[number], values[:, number] = f"{name} [{shown}", column / 10.0**power
    return labels, values


def _layout(k: int, labels: list[str]) -> tuple[Layout, list[str]]:
    side = float(np.clip(_WIDTH / k, *_SIDES))
    labels = [wrapped(label, side, size=_letters(side), lines=4) for label in labels]
    lines = max(label.count("\n") for label in labels)
    layout = Layout(
        k,
        side,
        [side] * k,
        (0.05, 0.05) if k < 8 else (0.03, 0.03),
        left=0.72 + 0.14 * lines,
        right={1: 2.6, 2: 0.5}.get(k, 0.12),  # one panel leaves no free corner for the bar
        top=0.15,
        bottom=(0.5 if side > _UPRIGHT else 0.62) + 0.14 * lines,
    )
    return layout, labels


def _letters(side: float) -> float:
    return 8.0 if side > 0.9 else 7.0


def _draw_histogram(ax: Axes, drawn: _Drawn, i: int) -> None:
    low, high = drawn.limits[i]
    # With an odd number, what is constant has its bar in the middle.
    bins = int(np.clip(np.sqrt(len(drawn.values)), 8, 40)) | 1
    counts, edges = np.histogram(drawn.values[:, i], bins, (low, high))
    ax.stairs(counts, edges, fill=True, color="0.82")
    ax.stairs(counts, edges, color="0.25", linewidth=0.8)
    ax.set(xlim=(low, high), ylim=(0, 1.1 * max(counts.max(), 1)))


def _draw_pair(ax: Axes, drawn: _Drawn, j: int, i: int, rgba: np.ndarray | str, hist2d: Any) -> None:
    n = len(drawn.values)
    # Else the rows that come last in the table would hide the others; those in grey lie below all.
    order = np.random.default_rng(0).permutation(n)
    colours: dict[str, Any] = {"color": rgba}
    if not isinstance(rgba, str):
        grey = (rgba[order] == to_rgba(NO_VALUE)).all(axis=1)
        order = order[np.argsort(~grey, kind="stable")]
        colours = {"c": rgba[order]}
    x, y = drawn.values[order, j], drawn.values[order, i]
    alpha = 0.35 if isinstance(rgba, str) and n > 2000 else 0.7
    inches = ax.get_position().width * ax.get_figure(root=True).get_figwidth()  # type: ignore[union-attr]
    size = float(np.clip(6e3 / n, 0.6, 14.0)) * min(1.0, inches / 1.2)
    ax.scatter(x, y, s=size, alpha=alpha, linewidths=0, rasterized=True, **colours)
    if hist2d is not None and (np.ptp(drawn.values[:, [j, i]], axis=0) > 0).all():
        hist2d(
            x,
            y,
            ax=ax,
            bins=_BINS,
            range=[drawn.limits[j], drawn.limits[i]],
            levels=_SHARES,
            # Wide enough for few rows; wider, and the contours would hold more than they say.
            smooth=max(3.5 * n ** (-1 / 6), 0.5),
            plot_datapoints=False,
            plot_density=False,
            no_fill_contours=True,
            quiet=True,
            contour_kwargs={"colors": "black", "linewidths": 0.6},
        )
    ax.set(xlim=drawn.limits[j], ylim=drawn.limits[i])


def _dress(ax: Axes, i: int, j: int, labels: list[str], side: float) -> None:
    """Give a panel its ticks, and labels where it is at the rim."""
    last, size = len(labels) - 1, _letters(side)
    tidy(ax, size=size - 1)
    for axis, shown in ((ax.xaxis, i == last), (ax.yaxis, j == 0 and i > 0)):
        axis.set_major_locator(MaxNLocator(max(int(side / 0.35), 3), steps=STEPS, min_n_ticks=2))
        axis.set_major_formatter(ScalarFormatter(useOffset=False) if shown else NullFormatter())
    if i == j:
        ax.yaxis.set_major_locator(NullLocator())
    if i == last:
        ax.tick_params(axis="x", labelrotation=0 if side > _UPRIGHT else 45)
        ax.set_xlabel(labels[j], fontsize=size)
        ax.xaxis.set_label_coords(0.5, -(0.24 if side > _UPRIGHT else 0.36) / side)
    if j == 0 and i > 0:
        ax.set_ylabel(labels[i], fontsize=size)
        ax.yaxis.set_label_coords(-0.46 / side, 0.5)


def _caption(drawn: _Drawn, whole: np.ndarray, shades: Shades | None, contours: bool) -> str:
    n, lacking = int(whole.sum()), int((~whole).sum())
    lines = [f"{n:,} row" + "s" * (n != 1) + (f", {lacking:,} incomplete left out" if lacking else "")]
    if shades is not None and (unknown := int((~shades.known & whole).sum())):
        lines.append(f"grey: {unknown:,} without {shades.label}")
    if outside := drawn.outside:
        lines.append(f"{outside:,} beyond the ends of an axis")
    if contours:
        lines.append("contours hold " + " and ".join(f"{100 * share:.0f} %" for share in _SHARES))
    return "\n".join(lines)


def _draw_corner(figure: FigureBase, layout: Layout, shades: Shades | None, text: str) -> None:
    """Tell in the free corner what the colours mean, and what is drawn."""
    width, height = layout.size
    k = layout.n_columns
    free = width - layout.left - layout.widths - 0.25  # inches right of the uppermost panel
    across = min(free - 0.1, max(0.5 * k * layout.widths, 2.2), 3.2)
    right, top = width - 0.12, layout.top
    if shades is not None and shades.height:
        tall = 0.11 if shades.scale is not None else shades.height
        place = ((right - across) / width, 1 - (top + tall) / height, across / width, tall / height)
        shades.explain(figure.add_axes(place))
        top += shades.height + 0.1
    place = (right / width, 1 - top / height)
    figure.text(*place, text, ha="right", va="top", fontsize=7, linespacing=1.3, color="0.25")
