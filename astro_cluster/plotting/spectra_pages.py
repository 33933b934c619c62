"""Spectra with their errors over what a model makes of them, and sheets of many small ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from astro_cluster.exceptions import InputError
from astro_cluster.plotting.pages import WIDTH
from astro_cluster.plotting.panels import Layout, wrapped
from astro_cluster.plotting.rows import checked_rows, ordered_rows, spread_rows
from astro_cluster.plotting.spectral import (
    ERROR,
    FLUX,
    MASKED,
    MODEL,
    Shown,
    Spectrum,
    best_first,
    flux_label,
    mark_lines,
    spectrum_axes,
    wavelength_label,
)
from astro_cluster.spectra.holding import spectra_of
from astro_cluster.tables import Source, as_qtable

__all__ = ["plot_spectra", "plot_spectra_sheet"]

_MOST_SHEET = 400


def plot_spectra(
    table: Source,
    rows: Sequence[int] | np.ndarray | None = None,
    *,
    n: int = 6,
    reconstruction: Any = None,
    labels: str | None = None,
    redshift: str | None = None,
    lines: bool = True,
    columns: int | None = None,
    figure: FigureBase | None = None,
) -> Figure:
    """Draw spectra with their errors, what a model makes of them, and what remains.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A table of spectra.
    rows : sequence of int, optional
        Which spectra; if not given, from the best to the worst reconstructed where the table has the
        column ``reconstruction_chi2`` (or ``reconstruction_error``), else evenly spread over the table.
    n : int, optional
        How many, if ``rows`` does not say.
    reconstruction : str, path, model or bool, optional
        A column, a fitted model or its file.  If not given, the column ``reconstruction`` where the table
        has one; False for none.
    labels : str, optional
        Column of names; if not given, ``source_id``, ``name``, ``source_file`` or the number of the row.
    redshift : str, optional
        Column of redshifts; if not given, ``redshift``, ``Z`` or ``z``.
    lines : bool, optional
        Mark emission lines at the redshift of the spectrum.
    columns : int, optional
        How many stand beside each other; one for up to three spectra, else two.
    figure : `~matplotlib.figure.Figure` or `~matplotlib.figure.SubFigure`, optional
        Where to draw.

    Returns
    -------
    `~matplotlib.figure.Figure`
        The residual is over its error, where errors are known.  Pixels that do not count are grey.  χ² is
        that of what is drawn, per pixel that counts.

    Raises
    ------
    InputError
        If there are no spectra, a row or a column is missing, or the model does not fit them.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from astro_cluster.wavelengths import log_grid, note_spectra
    >>> flux = np.ones((3, 50)) * u.Unit("1e-17 erg / (s cm2 Angstrom)")
    >>> t = QTable({"flux": flux, "ivar": 25 / flux**2, "reconstruction": 1.2 * flux})
    >>> note_spectra(t, log_grid(4000 * u.AA, 5000 * u.AA, 50))
    >>> figure = plot_spectra(t, n=1)
    >>> figure.axes[0].get_title("left"), figure.axes[0].get_title("right")
    ('row 0', 'χ² 1.00 per pixel')
    """
    table = as_qtable(table)
    spectra = spectra_of(table)
    if rows is None:
        chosen = spread_rows(table, spectra.usable, n, by=best_first(table), what="spectrum")
    else:
        chosen = checked_rows(rows, spectra.usable, "spectrum")
    shown = Shown(table, spectra, chosen, reconstruction=reconstruction, labels=labels, redshift=redshift)
    across = _across(columns, len(shown))
    layout = _layout(len(shown), across, shown.has_reconstructions)
    figure = layout.figure(figure)
    per = 2 if shown.has_reconstructions else 1
    label = flux_label(table, spectra.unit, shown.power)
    for number, spectrum in enumerate(shown.spectra):
        line, column = divmod(number, across)
        ax = layout.panel(figure, per * line, column)
        _draw_spectrum(ax, shown, spectrum, lines=lines)
        last = ax
        if shown.has_reconstructions:
            last = layout.panel(figure, per * line + 1, column)
            _draw_residual(last, shown, spectrum, first=column == 0)
            ax.xaxis.set_major_formatter(NullFormatter())
        if number + across >= len(shown):
            last.set_xlabel(wavelength_label(shown.grid), fontsize=8)
        if column == 0:
            ax.set_ylabel(wrapped(label, layout.heights[0] * 1.15, size=7.5), fontsize=7.5)
            for one in (ax, last):
                one.yaxis.set_label_coords(-0.34 / layout.widths, 0.5)
    _draw_legend(figure, layout, shown)
    return figure.get_figure(root=True)  # type: ignore[return-value]


def _across(columns: int | None, n: int) -> int:
    if columns is not None and columns < 1:
        raise InputError(f"columns={columns}; give 1 spectrum beside each other, or more")
    return min(columns or (1 if n <= 3 else 2), n)


def _layout(n: int, across: int, residuals: bool) -> Layout:
    down = -(-n // across)
    width = (WIDTH - 0.7 - 0.16 - 0.42 * (across - 1)) / across
    tall = 1.35 if across > 1 else 1.55
    heights = [tall, 0.55] * down if residuals else [tall] * down
    below = [0.04, 0.48] * down if residuals else [0.48] * down
    return Layout(across, width, heights, (0.42, below), left=0.7, right=0.16, top=0.48, bottom=0.42)


def _draw_spectrum(ax: Axes, shown: Shown, spectrum: Spectrum, *, lines: bool) -> None:
    wavelengths, counts = shown.grid.angstrom, spectrum.counts
    _shade_missing(ax, shown, counts)
    good = np.where(counts, spectrum.flux, np.nan)
    if shown.has_errors:
        error = spectrum.error
        ax.fill_between(
            wavelengths, good - error, good + error, color=ERROR, linewidth=0, step="mid", zorder=2
        )
    # What is masked joins what is not, so that there is no gap between them.
    masked = np.isfinite(spectrum.flux) & ~counts
    beside = masked | np.roll(masked, 1) | np.roll(masked, -1)
    bad = np.where(beside, spectrum.flux, np.nan) if masked.any() else np.full(len(counts), np.nan)
    ax.plot(wavelengths, bad, color=MASKED, linewidth=0.6, drawstyle="steps-mid", zorder=2.5, label="masked")
    ax.plot(wavelengths, good, color=FLUX, linewidth=0.45, drawstyle="steps-mid", zorder=3, label="flux")
    if spectrum.made is not None:
        ax.plot(wavelengths, spectrum.made, color=MODEL, linewidth=1.0, zorder=4, label="reconstruction")
    if spectrum.limits[0] < 0 < spectrum.limits[1]:
        ax.axhline(0, color="0.75", linewidth=0.5, zorder=1)
    spectrum_axes(ax, shown.grid)
    ax.set_ylim(*spectrum.limits)
    if lines:
        mark_lines(ax, shown.grid, spectrum.redshift)
    ax.set_title(_shortened(spectrum.name, ax), fontsize=8, loc="left", pad=3)
    facts = [] if np.isnan(spectrum.redshift) else [f"z = {spectrum.redshift:.3f}".replace("-", "−")]
    facts += [] if np.isnan(spectrum.chi2) else [f"χ² {spectrum.chi2:.2f} per pixel"]
    if facts:
        ax.set_title(", ".join(facts), fontsize=7, loc="right", pad=3, color="0.3")


def _shortened(text: str, ax: Axes) -> str:
    inches = ax.get_position().width * ax.get_figure(root=True).get_figwidth()  # type: ignore[union-attr]
    most = max(int((inches - 1.45) * 72 / 4.6), 8)
    short = text if len(text) <= most else text[: most // 2] + "…" + text[-(most - most // 2 - 1) :]
    return short.replace("$", r"\$")  # a name is no formula


def _shade_missing(ax: Axes, shown: Shown, counts: np.ndarray) -> None:
    """Give pixels that do not count a grey ground, from edge to edge."""
    edges = shown.grid.edges
    change = np.flatnonzero(np.diff(np.concatenate([[True], counts, [True]]).astype(np.int8)))
    for first, last in zip(change[::2], change[1::2], strict=True):
        ax.axvspan(edges[first], edges[last], color="0.93", linewidth=0, zorder=0)


def _draw_residual(ax: Axes, shown: Shown, spectrum: Spectrum, *, first: bool) -> None:
    rest = spectrum.residual
    _shade_missing(ax, shown, spectrum.counts)
    ax.axhline(0, color=MODEL, linewidth=0.8, zorder=3)
    ax.plot(shown.grid.angstrom, rest, color=FLUX, linewidth=0.45, drawstyle="steps-mid", zorder=2)
    spectrum_axes(ax, shown.grid)
    seen = np.abs(rest[np.isfinite(rest)]) if rest is not None else np.array([])
    limit = 1.1 * float(np.quantile(seen, 0.995)) if seen.size else 1.0
    limit = max(limit, 3.5) if shown.has_errors else limit or 1.0
    ax.set_ylim(-limit, limit)
    ax.yaxis.set_major_locator(MaxNLocator(3, symmetric=True, prune="both"))
    if first:
        ax.set_ylabel("residual\n[σ]" if shown.has_errors else "residual", fontsize=7.5)


def _draw_legend(figure: FigureBase, layout: Layout, shown: Shown) -> None:
    handles = [Line2D([], [], color=FLUX, linewidth=1, label="flux")]
    if shown.has_errors:
        handles.append(Patch(color=ERROR, linewidth=0, label="its error"))
    if shown.has_reconstructions:
        handles.append(Line2D([], [], color=MODEL, linewidth=1.2, label="reconstruction"))
    if any(not spectrum.counts.all() for spectrum in shown.spectra):
        handles.append(Patch(facecolor="0.93", edgecolor=MASKED, linewidth=0.6, label="does not count"))
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(layout.left / layout.size[0], 1.0),
        ncols=4,
        fontsize=7,
        frameon=False,
        borderaxespad=0.15,
        borderpad=0.2,
        columnspacing=1.4,
        handlelength=1.4,
    )


def plot_spectra_sheet(
    table: Source,
    rows: Sequence[int] | np.ndarray | None = None,
    *,
    n: int = 40,
    order: str | None = None,
    columns: int = 4,
    reconstruction: Any = None,
    labels: str | None = None,
    redshift: str | None = None,
    lines: bool = True,
    figure: FigureBase | None = None,
) -> Figure:
    """Draw many small spectra, as on a contact sheet.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A table of spectra.
    rows : sequence of int, optional
        Which spectra; if not given, the first in the order.
    n : int, optional
        How many, if ``rows`` does not say; 400 at most.
    order : str, optional
        A column whose smallest values are shown first, ``"inspection_rank"`` say; with a minus its largest,
        ``"-reconstruction_chi2"``; if not given, the order of the table.
    columns : int, optional
        How many stand beside each other.
    reconstruction : str, path, model or bool, optional
        A column, a fitted model or its file.  If not given, the column ``reconstruction`` where the table
        has one; False for none.
    labels : str, optional
        Column of names; if not given, ``source_id``, ``name``, ``source_file`` or the number of the row.
    redshift : str, optional
        Column of redshifts; if not given, ``redshift``, ``Z`` or ``z``.
    lines : bool, optional
        Mark emission lines at the redshift of the spectrum.
    figure : `~matplotlib.figure.Figure` or `~matplotlib.figure.SubFigure`, optional
        Where to draw.

    Returns
    -------
    `~matplotlib.figure.Figure`
        Each spectrum has a scale of its own; a thin line is zero.

    Raises
    ------
    InputError
        If there are no spectra, a row or a column is missing, or the model does not fit them.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from astro_cluster.wavelengths import log_grid, note_spectra
    >>> t = QTable({"flux": np.ones((3, 50)), "source_id": ["a", "b", "c"], "rank": [3, 1, 2]})
    >>> note_spectra(t, log_grid(4000 * u.AA, 5000 * u.AA, 50), ivar=None)
    >>> [ax.get_title("left") for ax in plot_spectra_sheet(t, order="rank", n=2).axes]
    ['b', 'c']
    """
    table = as_qtable(table)
    spectra = spectra_of(table)
    if not 1 <= n <= _MOST_SHEET or columns < 1:
        raise InputError(
            f"a sheet of n={n} spectra in columns={columns}; give 1 to {_MOST_SHEET}, and 1 or more"
        )
    if rows is None:
        chosen = ordered_rows(table, spectra.usable, order)[:n]
        if not chosen.size:
            raise InputError("no row of the table has a usable spectrum")
    else:
        chosen = checked_rows(rows, spectra.usable, "spectrum")[:_MOST_SHEET]
    shown = Shown(table, spectra, chosen, reconstruction=reconstruction, labels=labels, redshift=redshift)
    across = min(columns, len(shown))
    down = -(-len(shown) // across)
    width = (WIDTH - 0.2 - 0.1 * (across - 1)) / across
    tall = float(np.clip(0.42 * width, 0.45, 1.3))
    layout = Layout(across, width, [tall] * down, (0.1, 0.2), left=0.1, right=0.1, top=0.24, bottom=0.42)
    figure = layout.figure(figure)
    for number, spectrum in enumerate(shown.spectra):
        line, column = divmod(number, across)
        ax = layout.panel(figure, line, column)
        _draw_small(ax, shown, spectrum, lines=lines)
        if number + across < len(shown):
            ax.xaxis.set_major_formatter(NullFormatter())
    width, height = layout.size
    figure.text(layout.left / width, 0.05 / height, wavelength_label(shown.grid), va="bottom", fontsize=8)
    note = _told(len(shown), spectra.usable, order if rows is None else None)
    place = (1 - layout.right / width, 0.05 / height)
    figure.text(*place, note, ha="right", va="bottom", fontsize=7, color="0.35")
    return figure.get_figure(root=True)  # type: ignore[return-value]


def _told(n: int, usable: np.ndarray, order: str | None) -> str:
    """Return how many of how many spectra a sheet shows, and in which order."""
    total, bad = int(usable.sum()), int((~usable).sum())
    text = f"{n:,} of {total:,} spectra"
    if order is not None:
        text += f", largest {order[1:]} first" if order.startswith("-") else f", smallest {order} first"
    return text + (f"; {bad:,} more cannot be drawn" if bad else "")


def _draw_small(ax: Axes, shown: Shown, spectrum: Spectrum, *, lines: bool) -> None:
    wavelengths, counts = shown.grid.angstrom, spectrum.counts
    _shade_missing(ax, shown, counts)
    ax.plot(wavelengths, np.where(counts, spectrum.flux, np.nan), color=FLUX, linewidth=0.35)
    if spectrum.made is not None:
        ax.plot(wavelengths, spectrum.made, color=MODEL, linewidth=0.7)
    ax.axhline(0, color="0.7", linewidth=0.4, zorder=1)
    spectrum_axes(ax, shown.grid, size=6)
    ax.set_ylim(*spectrum.limits)
    ax.yaxis.set_major_locator(NullLocator())
    if lines:
        mark_lines(ax, shown.grid, spectrum.redshift, named=False)
    redshift = "" if np.isnan(spectrum.redshift) else f"z {spectrum.redshift:.2f}".replace("-", "−")
    inches = ax.get_position().width * ax.get_figure(root=True).get_figwidth()  # type: ignore[union-attr]
    most = max(int((inches - (0.35 if redshift else 0.0)) * 72 / 3.6), 6)
    name = spectrum.name
    short = name if len(name) <= most else name[: most // 2] + "…" + name[-(most - most // 2 - 1) :]
    ax.set_title(short.replace("$", r"\$"), fontsize=6, loc="left", pad=2)
    ax.set_title(redshift, fontsize=6, loc="right", pad=2, color="0.35")
