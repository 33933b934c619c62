"""Whether probabilities are honest."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes

from astro_cluster.exceptions import InputError
from astro_cluster.plotting.parts import PALETTE, axes_of
from astro_cluster.tables import Source, as_qtable, float_values

__all__ = ["plot_reliability"]

_NEEDED = ("lower", "upper", "count", "mean_confidence", "accuracy", "accuracy_lower", "accuracy_upper")
_STRIP = (1.06, 1.28)  # where the numbers of rows are, above the shares
_MARKERS = "osD^vP"


def plot_reliability(bins: Source | Mapping[str, Source], *, ax: Axes | None = None) -> Axes:
    """Draw how often probabilities are right against how sure they are.

    Parameters
    ----------
    bins : `~astropy.table.QTable`, `~astropy.table.Table`, str, path, or dict of these
        Result of `calibration`; several by name, before and after say.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw.

    Returns
    -------
    `~matplotlib.axes.Axes`
        Accuracy over mean confidence of each bin, with the interval of 95 %, and the number of
        rows in the bins above.  Honest probabilities lie on the diagonal, those below it are too
        sure of themselves.

    Raises
    ------
    InputError
        If a table is no result of `calibration`.

    Notes
    -----
    After DeGroot & Fienberg (1983, The Statistician 32, 12).

    Examples
    --------
    >>> import astro_cluster as ac
    >>> p = np.tile([0.9, 0.2], 50)
    >>> truth = np.tile(["QSO", "Star"], 50)
    >>> t = QTable({"prob_0": p, "prob_1": 1 - p, "main_type": truth})
    >>> ax = plot_reliability(ac.calibration(t, "main_type", random_state=1))
    >>> ax.get_ylabel()
    'accuracy'
    """
    tables = bins if isinstance(bins, Mapping) else {"": bins}
    read = {str(name): _checked(table) for name, table in tables.items()}
    if not read:
        raise InputError("there is nothing to draw; give a result of calibration, or a dict of some")
    _, ax = axes_of(ax, (5.2, 6.4))
    ax.plot([0, 1], [0, 1], color="#808080", linewidth=1, linestyle="--", zorder=1)
    most = max(float_values(table["count"]).max() for table in read.values())
    for number, (name, table) in enumerate(read.items()):
        _draw_series(ax, name, table, number)
        _draw_counts(ax, table, number, most, alone=len(read) == 1)
    ax.axhline(_STRIP[0], color="#4D4D4D", linewidth=0.8)
    shares = np.linspace(0, 1, 6)
    ax.set_yticks([*shares, sum(_STRIP) / 2], [*(f"{share:.1f}" for share in shares), "rows"])
    # So that a marker at 1 is whole.
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, _STRIP[1] + 0.06), xlabel="probability of the likeliest type")
    ax.set_ylabel("accuracy", y=0.38)
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), frameon=False, fontsize=9)
    return ax


def _checked(table: Source) -> QTable:
    table = as_qtable(table)
    if missing := [name for name in _NEEDED if name not in table.colnames]:
        raise InputError(
            f"the table is no result of calibration, for it has no column {missing[0]!r}: make it with "
            "calibration(table, 'main_type')"
        )
    return table


def _draw_series(ax: Axes, name: str, table: QTable, number: int) -> None:
    values = {key: float_values(table[key])[float_values(table["count"]) > 0] for key in _NEEDED}
    count, x, y = values["count"], values["mean_confidence"], values["accuracy"]
    ece = float(np.sum(count * np.abs(x - y)) / max(count.sum(), 1))
    # An interval of Wilson holds the share itself, but for rounding.
    error = np.maximum([y - values["accuracy_lower"], values["accuracy_upper"] - y], 0)
    ax.errorbar(
        x,
        y,
        yerr=error,
        color=PALETTE[number % len(PALETTE)],
        marker=_MARKERS[number % len(_MARKERS)],
        markersize=5,
        linewidth=1.2,
        elinewidth=1,
        capsize=2,
        label=f"{name + ': ' if name else ''}ECE {ece:.3f}, {int(count.sum()):,} rows",
        zorder=3 + number,
    )


def _draw_counts(ax: Axes, table: QTable, number: int, most: float, *, alone: bool) -> None:
    """Draw the rows in the bins into the strip above: its own axes would not fit into every layout."""
    lower, upper, count = (float_values(table[key]) for key in ("lower", "upper", "count"))
    tops = _STRIP[0] + (_STRIP[1] - _STRIP[0]) * count / max(most, 1)
    ax.stairs(
        tops,
        np.append(lower, upper[-1]),
        baseline=_STRIP[0],
        fill=alone,
        color=PALETTE[number % len(PALETTE)],
        alpha=0.6 if alone else 1.0,
        linewidth=1.2,
    )
    for low, high, top, n in zip(lower, upper, tops, count, strict=True):
        if alone and n and high - low > 0.06:  # else the numbers would lie on each other
            where = {"textcoords": "offset points", "ha": "center", "va": "bottom"}
            ax.annotate(f"{int(n):,}", ((low + high) / 2, top), (0, 1), fontsize=7, **where)
