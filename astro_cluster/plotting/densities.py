"""How many rows lie where: of one column, and of two."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import LogFormatterSciNotation, MaxNLocator

from astro_cluster.columns import require
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.plotting.limits import STEPS, beyond, robust_limits, suitable_scale
from astro_cluster.plotting.parts import PALETTE, axes_of
from astro_cluster.plotting.planes import described, plane_values
from astro_cluster.plotting.shades import checked_colour_map
from astro_cluster.tables import Source, as_qtable

__all__ = [
    "Correlation",
    "correlation_of",
    "draw_density",
    "plot_density",
    "plot_histogram",
    "values_of_axis",
]

_SCALES = ("linear", "log")
_POINTS = 200  # fewer rows are drawn one by one
_FEWEST = 30  # rows for a point of the running median
_LINE = PALETTE[4]


@dataclass(frozen=True)
class Correlation:
    """A rank correlation as a figure tells it.

    Parameters
    ----------
    rho, lower, upper : float
        Spearman's, and its 95 % interval; NaN if there is none.
    """

    rho: float
    lower: float
    upper: float

    @property
    def text(self) -> str:
        """What a title says."""
        if np.isnan(self.rho):
            return "no rank correlation"
        return f"ρ = {_signed(self.rho)} ({_signed(self.lower)} to {_signed(self.upper)})"


def _signed(value: float) -> str:
    text = f"{value:.2f}"
    return text.replace("-", "−") if float(text) else "0.00"


def correlation_of(
    table: QTable, x: str, y: str, *, missing: Mapping[str, float] | None = None
) -> Correlation:
    """Return the rank correlation of two columns.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    x, y : str
        Columns; ``"latent[0]"`` is one of several values a row.
    missing : mapping of str to float, optional
        Numbers that mean that there is no value.

    Returns
    -------
    Correlation
        With the interval of Bonett & Wright, as `~astro_cluster.rank_correlations` has it.

    Examples
    --------
    >>> t = QTable({"x": np.arange(50.0), "y": np.arange(50.0) ** 2})
    >>> correlation_of(t, "x", "y").text
    'ρ = 1.00 (1.00 to 1.00)'
    """
    from astro_cluster.relating import rank_correlations

    if x == y:
        return Correlation(1.0, 1.0, 1.0)
    part = table.copy(copy_data=False)
    for name in (x, y):
        if name not in part.colnames:  # one of several values a row
            part[name] = plane_values(table, name)
    known = {name: value for name, value in (missing or {}).items() if name == x}
    if y in (missing or {}):
        part[y] = np.ma.masked_equal(plane_values(table, y), (missing or {})[y])
    with warnings.catch_warnings():
        # The figure shows what looks like a number for nothing.
        warnings.simplefilter("ignore", AstroClusterWarning)
        found = rank_correlations(
            part, [x], against=[y], missing=known or None, interval="fisher", random_state=0
        )
    row = [
        float(np.ma.filled(np.ma.asarray(found[name], float), np.nan)[0])
        for name in ("rho", "rho_lower", "rho_upper")
    ]
    return Correlation(*row)


def values_of_axis(table: QTable, name: str, missing: Mapping[str, float] | None = None) -> np.ndarray:
    """Return the numbers of an axis.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    name : str
        A column; ``"latent[0]"`` is one of several values a row.
    missing : mapping of str to float, optional
        Numbers that mean that there is no value, by the name of the column.

    Returns
    -------
    (n,) array of float
        NaN where there is no value.

    Raises
    ------
    InputError
        If there is no such column, or it is one of texts or of several values a row.

    Examples
    --------
    >>> values_of_axis(QTable({"BAL_PROB": [-1.0, 0.5]}), "BAL_PROB", {"BAL_PROB": -1})
    array([nan, 0.5])
    """
    require(table, name if name in table.colnames else name.partition("[")[0])
    values = plane_values(table, name)
    values[~np.isfinite(values)] = np.nan
    if missing and name in missing:
        values[values == missing[name]] = np.nan
    return values


def _checked_missing(table: QTable, missing: Mapping[str, float] | None) -> Mapping[str, float]:
    if missing is None:
        return {}
    if not isinstance(missing, Mapping):
        raise InputError(
            f"missing={missing!r}; give the number that means no value by column, {{'BAL_PROB': -1}}"
        )
    require(table, list(missing))
    return missing


def _scale(asked: str | None, values: np.ndarray, what: str) -> str:
    if asked is None:
        return suitable_scale(values, share=0.005)
    if asked not in _SCALES:
        raise InputError(f"{what}={asked!r}; give {' or '.join(map(repr, _SCALES))}")
    if asked == "log" and not (values > 0).any():
        raise InputError(f"{what}='log', but no value is positive")
    return asked


def plot_density(
    table: Source,
    x: str,
    y: str,
    *,
    xscale: str | None = None,
    yscale: str | None = None,
    missing: Mapping[str, float] | None = None,
    median: bool = True,
    colour_map: str = "viridis",
    ax: Axes | None = None,
) -> Axes:
    r"""Draw how many rows lie where in the plane of two columns, with their rank correlation.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        n rows.
    x, y : str
        Numeric columns; ``"latent[0]"`` is the first of several values a row.
    xscale, yscale : {"linear", "log"}, optional
        Scales of the axes; if not given, logarithmic where all values are positive and span many
        magnitudes.
    missing : mapping of str to float, optional
        Numbers that mean that there is no value, ``{"BAL_PROB": -1}``.
    median : bool, optional
        Draw the running median of ``y``, and what holds the middle 68 % about it.
    colour_map : str, optional
        Matplotlib's name of the colours of the counts, which are logarithmic.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw.

    Returns
    -------
    `~matplotlib.axes.Axes`
        The title has Spearman's ρ with its 95 % interval; below it is how many rows are drawn, lack a
        value, or lie beyond the ends of the axes.  Fewer than 200 rows are points.

    Raises
    ------
    InputError
        If a column is missing or no row has both values.

    Examples
    --------
    >>> t = QTable({"snr": np.arange(1.0, 101.0), "reconstruction_error": 1 / np.arange(1.0, 101.0)})
    >>> plot_density(t, "snr", "reconstruction_error").get_title("left")
    'ρ = −1.00 (−1.00 to −1.00)\n100 rows'
    """
    table = as_qtable(table)
    missing = _checked_missing(table, missing)
    values = np.column_stack([values_of_axis(table, name, missing) for name in (x, y)])
    scales = [
        _scale(asked, column, name)
        for asked, column, name in zip((xscale, yscale), values.T, ("xscale", "yscale"), strict=True)
    ]
    for column, scale in zip(values.T, scales, strict=True):
        if scale == "log":
            column[column <= 0] = np.nan
    known = np.isfinite(values).all(axis=1)
    if not known.any():
        raise InputError(f"no row of the table has both {x!r} and {y!r}")
    figure, ax = axes_of(ax, (3.54, 3.1))
    shown, note = draw_density(
        ax, values[known], scales=(scales[0], scales[1]), median=median, colour_map=colour_map
    )
    if shown is not None:
        bar = figure.colorbar(shown, ax=ax, pad=0.02, aspect=30)
        bar.set_label("rows", fontsize=8)
        bar.ax.tick_params(labelsize=7, length=2.5, which="both")
    ax.set_xlabel(described(table, x), fontsize=8)
    ax.set_ylabel(described(table, y), fontsize=8)
    lines = correlation_of(table, x, y, missing=missing).text, ", ".join(_counted(len(values), known, note))
    ax.set_title("\n".join(lines), fontsize=8, loc="left", linespacing=1.3)
    return ax


def _counted(n: int, known: np.ndarray, beyond_it: int) -> list[str]:
    drawn = int(known.sum())
    lines = [f"{drawn:,} of {n:,} rows" if drawn < n else f"{n:,} row" + "s" * (n != 1)]
    return lines + ([f"{beyond_it:,} beyond the axes"] if beyond_it else [])


def draw_density(
    ax: Axes,
    values: np.ndarray,
    *,
    scales: tuple[str, str] = ("linear", "linear"),
    median: bool = True,
    colour_map: str = "viridis",
    bins: int = 60,
) -> tuple[Any, int]:
    """Draw how many rows lie where.

    Parameters
    ----------
    ax : `~matplotlib.axes.Axes`
        Where to draw.
    values : (n, 2) array
        Finite numbers; positive where the scale is logarithmic.
    scales : tuple of two {"linear", "log"}, optional
        Of the axes.
    median : bool, optional
        Draw the running median, too.
    colour_map : str, optional
        Colours of the counts.
    bins : int, optional
        Hexagons across, at most.

    Returns
    -------
    tuple of `~matplotlib.collections.PolyCollection` or None, and int
        What has the colours, None for fewer than 200 rows, which are points; and how many rows lie
        beyond the ends of the axes.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> values = np.random.default_rng(0).normal(size=(500, 2))
    >>> hexagons, outside = draw_density(Figure().add_subplot(), values)
    >>> int(hexagons.get_array().sum()), outside
    (500, 0)
    """
    limits = [
        robust_limits(column, log=scale == "log") for column, scale in zip(values.T, scales, strict=True)
    ]
    outside = beyond(values[:, 0], limits[0]) | beyond(values[:, 1], limits[1])
    inside = values[~outside]
    checked_colour_map(colour_map)
    shown = None
    if len(inside) < _POINTS:
        ax.scatter(*inside.T, s=9, color=PALETTE[0], alpha=0.6, linewidths=0, rasterized=True)
        ax.set(xscale=scales[0], yscale=scales[1])
    else:
        ends = [np.log10(end) if scale == "log" else end for end, scale in zip(limits, scales, strict=True)]
        across = int(np.clip(2 * len(values) ** 0.4, 10, bins))
        shown = ax.hexbin(
            inside[:, 0],
            inside[:, 1],
            gridsize=(across, max(int(0.55 * across), 4)),
            xscale=scales[0],
            yscale=scales[1],
            extent=(*ends[0], *ends[1]),
            mincnt=1,
            linewidths=0.05,
            cmap=colour_map,
            rasterized=True,
        )
        shown.set_norm(LogNorm(1, max(float(np.max(shown.get_array())), 10.0)))  # type: ignore[arg-type]
    if median:
        _draw_median(ax, inside, scales[0])
    ax.set(xlim=limits[0], ylim=limits[1])
    ax.tick_params(labelsize=7, which="both", length=2.5)
    for axis, scale in ((ax.xaxis, scales[0]), (ax.yaxis, scales[1])):
        if scale == "linear":
            axis.set_major_locator(MaxNLocator(5, steps=STEPS))
    return shown, int(outside.sum())


def _draw_median(ax: Axes, values: np.ndarray, scale: str) -> None:
    """Draw the median of y in strips that hold as many rows each."""
    across = np.log10(values[:, 0]) if scale == "log" else values[:, 0]
    number = min(len(values) // _FEWEST, 20)
    if number < 3 or np.ptp(across) == 0:
        return
    edges = np.unique(np.quantile(across, np.linspace(0, 1, number + 1)))
    strip = np.clip(np.searchsorted(edges, across, side="right") - 1, 0, len(edges) - 2)
    found = []
    for one in np.unique(strip):
        inside = strip == one
        if inside.sum() >= _FEWEST // 3:
            found.append([np.median(across[inside]), *np.quantile(values[inside, 1], [0.16, 0.5, 0.84])])
    if len(found) < 2:
        return
    places, low, middle, high = np.array(found).T
    places = 10**places if scale == "log" else places
    ax.plot(places, middle, color="white", linewidth=2.4, zorder=4)
    ax.plot(places, middle, color=_LINE, linewidth=1.3, zorder=5, label="running median")
    for side in (low, high):
        ax.plot(places, side, color="white", linewidth=1.6, zorder=4)
        ax.plot(places, side, color=_LINE, linewidth=0.8, linestyle="--", zorder=5)


def plot_histogram(
    table: Source,
    column: str,
    *,
    bins: int | None = None,
    scale: str | None = None,
    missing: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how many rows have which value.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        n rows.
    column : str
        A numeric column; ``"latent[0]"`` is the first of several values a row.
    bins : int, optional
        How many; if not given, as many as the scatter and the number of rows bear (Freedman & Diaconis
        1981), but 10 to 100.
    scale : {"linear", "log"}, optional
        Of the values; if not given, logarithmic where all are positive and span many magnitudes.
    missing : mapping of str to float, optional
        Numbers that mean that there is no value, ``{"BAL_PROB": -1}``.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw.

    Returns
    -------
    `~matplotlib.axes.Axes`
        The line is the median; the title tells how many rows have a value, or lie beyond the ends.

    Raises
    ------
    InputError
        If there is no such column, or no row has a value.

    Examples
    --------
    >>> t = QTable({"Z": np.append(np.linspace(1, 4, 50), np.nan)})
    >>> ax = plot_histogram(t, "Z", bins=10)
    >>> int(ax.patches[0].get_data().values.sum()), ax.get_title("right")
    (50, '50 of 51 rows')
    """
    table = as_qtable(table)
    missing = _checked_missing(table, missing)
    if bins is not None and (isinstance(bins, bool) or not isinstance(bins, int | np.integer) or bins < 1):
        raise InputError(f"bins={bins!r}; give a whole number of bins, 1 or more")
    values = values_of_axis(table, column, missing)
    scale = _scale(scale, values, "scale")
    log = scale == "log"
    if log:
        values[values <= 0] = np.nan
    known = np.isfinite(values)
    if not known.any():
        raise InputError(f"no row of the table has a value of {column!r}")
    seen = values[known]
    limits = robust_limits(seen, log=log)
    outside = beyond(seen, limits)
    inside = np.log10(seen[~outside]) if log else seen[~outside]
    ends = np.log10(limits) if log else np.array(limits)
    edges = np.linspace(*ends, (bins or _suitable_bins(inside, ends)) + 1)
    counts, _ = np.histogram(inside, edges)
    _, ax = axes_of(ax, (3.54, 2.6))
    edges = 10**edges if log else edges
    ax.stairs(counts, edges, fill=True, color="#9DC3E0")
    ax.stairs(counts, edges, color=PALETTE[0], linewidth=0.8)
    middle = float(np.median(seen))
    ax.axvline(
        middle, color=_LINE, linewidth=1.2, linestyle="--", label=f"median {middle:.4g}".replace("-", "−")
    )
    ax.set(xscale=scale, xlim=limits, ylim=(0, 1.08 * counts.max()))
    ax.set_xlabel(described(table, column), fontsize=8)
    ax.set_ylabel("rows", fontsize=8)
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.tick_params(labelsize=7, which="both")
    ax.spines[["top", "right"]].set_visible(False)
    if log:
        ax.xaxis.set_major_formatter(LogFormatterSciNotation())
    ax.legend(fontsize=7, frameon=False)
    ax.set_title(
        "\n".join(_counted(len(values), known, int(outside.sum()))), fontsize=7, loc="right", color="0.35"
    )
    return ax


def _suitable_bins(values: np.ndarray, ends: np.ndarray) -> int:
    low, high = np.quantile(values, [0.25, 0.75])
    width = 2 * (high - low) / len(values) ** (1 / 3)
    return int(np.clip((ends[1] - ends[0]) / width, 10, 100)) if width > 0 else 11
