"""How well models of several sizes reconstruct, from a search over their parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator

from astro_cluster.cells import cell_texts
from astro_cluster.exceptions import InputError
from astro_cluster.plotting.panels import Layout, tidy
from astro_cluster.plotting.parts import PALETTE, one_a_row
from astro_cluster.tables import Source, as_qtable

__all__ = ["plot_tuning"]

_NEEDED = ("model", "n_latent", "held_out_mse", "held_out_chi2")
_COLOURS = (PALETTE[0], PALETTE[4], PALETTE[2], PALETTE[3])
_DASHES, _MARKERS = ("-", "--", "-.", ":"), "osD^"
_DECADE = 8.0
_NAMES = {"infovae": "InfoVAE", "weighted-pca": "PCA", "weightedpca": "PCA", "pca": "PCA"}


def plot_tuning(trials: Source, *, figure: FigureBase | None = None) -> Figure:
    """Draw the errors of held-out spectra against the number of latents, for each model.

    Parameters
    ----------
    trials : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        Result of `tune`: a row a trial.
    figure : `~matplotlib.figure.Figure` or `~matplotlib.figure.SubFigure`, optional
        Where to draw.

    Returns
    -------
    `~matplotlib.figure.Figure`
        Left the mean squared error, right χ² per pixel; each trial is a faint point, the best of each
        size are joined, and a ring is about the one that was chosen.  The dotted line is noise alone, a χ²
        of 1.

    Raises
    ------
    InputError
        If it is no result of `tune`, or no trial came to an end.

    Examples
    --------
    >>> t = QTable({"model": ["infovae"] * 3, "n_latent": [3, 3, 6]})
    >>> t["held_out_mse"], t["held_out_chi2"] = [0.03, 0.02, 0.01], [1.5, 1.3, 1.1]
    >>> figure = plot_tuning(t)
    >>> figure.axes[1].lines[1].get_xydata().tolist()
    [[3.0, 1.3], [6.0, 1.1]]
    """
    table = as_qtable(trials)
    if missing := [name for name in _NEEDED if name not in table.colnames]:
        raise InputError(f"the table is no result of tune, for it has no column {missing[0]!r}")
    models, _ = cell_texts(table["model"], len(table))
    sizes = one_a_row(table, "n_latent")
    errors = {name: one_a_row(table, name) for name in _NEEDED[2:]}
    done = np.isfinite(sizes) & np.isfinite(errors["held_out_chi2"]) & _finished(table)
    if not done.any():
        raise InputError("no trial of the table came to an end; nothing can be drawn")
    layout = Layout(2, 2.85, [2.4], (0.72, 0.0), left=0.62, right=0.1, top=0.45, bottom=0.45)
    figure = layout.figure(figure)
    named = [str(name) for name in dict.fromkeys(models[done])]
    best = {name: _best(table, np.flatnonzero(done & (models == name)), sizes, errors) for name in named}
    labels = ("mean squared error of held-out spectra", "χ² per pixel of held-out spectra")
    chosen = (
        np.flatnonzero(done & (one_a_row(table, "best") == 1)) if "best_of_size" in table.colnames else []
    )
    for place, (name, label) in enumerate(zip(errors, labels, strict=True)):
        ax = layout.panel(figure, 0, place)
        for number, model in enumerate(named):
            rows = np.flatnonzero(done & (models == model))
            _draw(ax, sizes, errors[name], rows, best[model], number, _label(model, len(rows)))
        if len(chosen):
            _mark_chosen(ax, sizes[chosen[0]], errors[name][chosen[0]])
        if name == "held_out_chi2":
            ax.axhline(1.0, color="0.5", linewidth=0.9, linestyle=":", zorder=1, label="noise alone")
        _dress(ax, errors[name][done], sizes[done], label)
    handles, texts = figure.axes[-1].get_legend_handles_labels()
    figure.legend(
        handles,
        texts,
        loc="upper left",
        bbox_to_anchor=(layout.left / layout.size[0], 1.0),
        ncols=4,
        fontsize=8,
        frameon=False,
        borderaxespad=0.3,
    )
    return figure.get_figure(root=True)  # type: ignore[return-value]


def _finished(table: QTable) -> np.ndarray:
    """Return which trials came to an end; those that were pruned have no error to compare."""
    if "state" not in table.colnames:
        return np.ones(len(table), bool)
    states, _ = cell_texts(table["state"], len(table))
    return np.array([state.lower().startswith("complete") for state in states])


def _best(table: QTable, rows: np.ndarray, sizes: np.ndarray, errors: dict[str, np.ndarray]) -> np.ndarray:
    """Return the row of each size that is marked as the best, or has the least χ²."""
    chi2 = errors["held_out_chi2"][rows]
    marked = np.zeros(len(rows), bool)
    for name in ("best_of_size", "best"):
        if name in table.colnames:
            marked = one_a_row(table, name)[rows] == 1
            break
    found: list[Any] = []
    for size in np.unique(sizes[rows]):
        here = sizes[rows] == size
        pick = here & marked if (here & marked).any() else here
        found.append(rows[pick][np.argmin(chi2[pick])])
    return np.array(found, int)


def _label(model: str, n: int) -> str:
    name = _NAMES.get(model.lower().replace("_", "-"), model)
    return f"{name}, best of each size ({n} trials)" if n > 1 and name != "PCA" else name


def _mark_chosen(ax: Axes, size: float, error: float) -> None:
    style = {"linestyle": "none", "marker": "o", "markersize": 11, "markerfacecolor": "none"}
    ax.plot(size, error, markeredgecolor="black", markeredgewidth=0.9, label="chosen", zorder=4, **style)


def _draw(
    ax: Axes,
    sizes: np.ndarray,
    errors: np.ndarray,
    rows: np.ndarray,
    best: np.ndarray,
    number: int,
    label: str,
) -> None:
    colour, marker = _COLOURS[number % 4], _MARKERS[number % 4]
    others = np.setdiff1d(rows, best)
    ax.plot(
        sizes[others],
        errors[others],
        linestyle="none",
        marker=marker,
        markersize=3.5,
        color=colour,
        alpha=0.35,
        markeredgewidth=0,
        zorder=2,
    )
    ax.plot(
        sizes[best],
        errors[best],
        color=colour,
        linestyle=_DASHES[number % 4],
        linewidth=1.4,
        marker=marker,
        markersize=5,
        label=label,
        zorder=3,
    )


def _dress(ax: Axes, errors: np.ndarray, sizes: np.ndarray, label: str) -> None:
    tidy(ax)
    seen = errors[np.isfinite(errors)]
    if seen.size and seen.min() > 0 and seen.max() > _DECADE * seen.min():
        ax.set_yscale("log")
    elif seen.size:
        # A trial that went astray is not to press the others to the ground.
        low, high = seen.min(), max(np.quantile(seen, 0.9), np.median(seen) * 1.2)
        if seen.max() > 3 * high:
            ax.set_ylim(top=1.3 * high, bottom=max(low - 0.2 * (high - low), 0))
    known = np.unique(sizes)
    if len(known) <= 10:
        ax.set_xticks(known)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.set_xlabel("number of latents", fontsize=8)
    ax.set_ylabel(label, fontsize=8)
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
