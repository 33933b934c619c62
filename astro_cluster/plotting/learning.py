"""How a network learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from astro_cluster.exceptions import InputError
from astro_cluster.plotting.parts import PALETTE, axes_of
from astro_cluster.provenance import records
from astro_cluster.tables import Source, as_qtable

__all__ = ["plot_learning_curve"]

# Terms of the loss, and what is judged beside it, in the order of their axes.
_TERMS = {"reconstruction": "reconstr.", "kl": "KL", "mmd": "MMD", "chi2": "χ² per pixel"}
_DECADE = 8.0  # losses that span more go on a logarithmic axis


def plot_learning_curve(history: Source | Mapping[str, Any] | Any, *, ax: Axes | None = None) -> Axes:
    """Draw the loss of a network against the epoch, on what it learned from and on what was held out.

    Parameters
    ----------
    history : dict, autoencoder, `~astropy.table.QTable`, str or path
        A history, a model that has one (``history_``), or a table that such a model embedded.

    ax : `~matplotlib.axes.Axes`, optional
        Where to draw.

    Returns
    -------
    `~matplotlib.axes.Axes`
        A dot marks the epoch whose weights were kept, the one of the least held-out loss; dotted lines
        mark the epochs at which the learning rate fell.  Where the history has the terms of the loss (of an
        InfoVAE the reconstruction, KL and MMD, and χ² per pixel), each has axes of its own below, with
        its own scale; given axes are divided for them if they are part of a grid of subplots.

    Raises
    ------
    InputError
        If there is no history of learning.

    Examples
    --------
    >>> ax = plot_learning_curve({"loss": [3.0, 2.0, 1.0], "held_out_loss": [3.0, 1.5, 2.0]})
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['learned from', 'held out', 'kept: epoch 2, 1.5']
    """
    history = _history(history)
    curves = _curves(history)
    epochs, loss, held_out = curves["epoch"], curves["loss"], curves.get("held_out_loss")
    terms = [term for term in _TERMS if {term, f"held_out_{term}"} & set(curves)]
    _, ax = axes_of(ax, (3.54, 2.8 + 0.75 * len(terms)))
    few = {"marker": "."} if len(epochs) < 30 else {}
    ax.plot(epochs, loss, color=PALETTE[0], linewidth=1.3, label="learned from", **few)
    judged = loss
    if held_out is not None and np.isfinite(held_out).any():
        judged = held_out
        ax.plot(epochs, held_out, color=PALETTE[4], linestyle="--", linewidth=1.3, label="held out", **few)
    if np.isfinite(judged).any():
        best = int(np.nanargmin(judged))
        colour = PALETTE[0] if judged is loss else PALETTE[4]
        style = {"linestyle": "none", "marker": "o", "markersize": 6, "color": colour, "zorder": 4}
        label = f"kept: epoch {epochs[best]:.0f}, {judged[best]:.3g}"
        ax.plot(epochs[best], judged[best], markerfacecolor="white", label=label, **style)
    _mark_drops(ax, epochs, curves.get("learning_rate"))
    _scale(ax, np.concatenate([loss, judged]))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlabel("epoch", fontsize=8)
    ax.set_ylabel("loss", fontsize=8)
    ax.tick_params(labelsize=7, which="both")
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    # Its ground is white, for lines may pass below.
    style = {"loc": "best"}
    if terms:  # the axes are low, and the curves need them
        style = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": 2, "columnspacing": 1.0}
    ax.legend(fontsize=7, framealpha=0.9, edgecolor="none", **style)
    _draw_terms(ax, curves, terms)
    return ax


def _draw_terms(ax: Axes, curves: dict[str, np.ndarray], terms: list[str]) -> None:
    """Draw the terms of the loss below it, each in axes of its own."""
    place = ax.get_subplotspec()
    if not terms or place is None:
        return
    grid = place.subgridspec(1 + len(terms), 1, height_ratios=[2.4, *[1.0] * len(terms)], hspace=0.12)
    ax.set_subplotspec(grid[0])
    few = {"marker": "."} if len(curves["epoch"]) < 30 else {}
    figure = ax.get_figure()
    for number, term in enumerate(terms, start=1):
        below = figure.add_subplot(grid[number], sharex=ax)  # type: ignore[union-attr]
        drawn = []
        for name, colour, style in ((term, PALETTE[0], "-"), (f"held_out_{term}", PALETTE[4], "--")):
            if name in curves and np.isfinite(curves[name]).any():
                drawn.append(curves[name])
                below.plot(
                    curves["epoch"],
                    curves[name],
                    color=colour,
                    linestyle=style,
                    linewidth=1.1,
                    label=name,
                    **few,
                )
        if drawn:
            _scale(below, np.concatenate(drawn))
            if min(np.nanmin(values) for values in drawn) < 0:  # an estimate without bias may be below 0
                below.axhline(0, color="0.75", linewidth=0.7, zorder=1)
        below.set_ylabel(_TERMS[term], fontsize=7)
        below.tick_params(labelsize=6.5, which="both")
        if below.get_yscale() == "linear":
            below.yaxis.set_major_locator(MaxNLocator(3))
        below.grid(alpha=0.25, linewidth=0.6)
        below.spines[["top", "right"]].set_visible(False)
        if number < len(terms):
            below.tick_params(labelbottom=False)
    ax.tick_params(labelbottom=False)
    ax.set_xlabel("")
    below.set_xlabel("epoch", fontsize=8)
    figure.align_ylabels([one for one in figure.axes if one.get_subplotspec() is not None])  # type: ignore[union-attr]


def _history(source: Any) -> Mapping[str, Any]:
    if isinstance(source, Mapping):
        return source
    if isinstance(getattr(source, "history_", None), Mapping):
        return source.history_
    if hasattr(source, "get_params") or callable(getattr(source, "fit", None)):
        raise InputError("the model has no history of learning; fit it first")
    return _recorded(as_qtable(source))


def _recorded(table: Table) -> Mapping[str, Any]:
    """Return the history of the latest step of a table that has one on record."""
    for record in reversed(records(table)):
        facts = record.get("embedding")
        if isinstance(facts, dict) and isinstance(facts.get("history"), dict):
            return facts["history"]
    raise InputError(
        "no step of the table has a history of learning on record, for none has fitted a network; give the "
        "model that was fitted, load_model('model.safetensors') (on the command line --model "
        "model.safetensors), or make a history with embed(table, 'infovae') or embed(table, "
        "'conv-autoencoder')"
    )


def _curves(history: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if "loss" not in history:
        raise InputError(f"the history has no 'loss', only {', '.join(map(str, history)) or 'nothing'}")
    curves = {}
    judged = [name for term in _TERMS for name in (term, f"held_out_{term}")]
    for name in ("epoch", "loss", "held_out_loss", "learning_rate", *judged):
        if name in history:
            values = [np.nan if value is None else value for value in history[name]]
            curves[name] = np.asarray(values, np.float64)
    n = len(curves["loss"])
    curves.setdefault("epoch", np.arange(1.0, n + 1))
    if not n or any(len(values) != n for values in curves.values()):
        sizes = ", ".join(f"{name} {len(values)}" for name, values in curves.items())
        raise InputError(f"the lists of a history are equally long and not empty; these have: {sizes}")
    return curves


def _mark_drops(ax: Axes, epochs: np.ndarray, rates: np.ndarray | None) -> None:
    if rates is None:
        return
    falls = np.flatnonzero(rates[1:] < 0.99 * rates[:-1]) + 1
    # A rate that falls in every epoch is a schedule, whose lines would cover the curves.
    if len(falls) > max(8, len(rates) // 4):
        return
    for number, fall in enumerate(falls):
        label = "learning rate lowered" if number == 0 else None
        ax.axvline(epochs[fall], color="0.45", linewidth=0.8, linestyle=":", zorder=1, label=label)


def _scale(ax: Axes, losses: np.ndarray) -> None:
    seen = losses[np.isfinite(losses)]
    if seen.size and seen.min() > 0 and seen.max() > _DECADE * seen.min():
        ax.set_yscale("log")
