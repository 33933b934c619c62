"""How many matches are true and false, radius by radius."""

from __future__ import annotations

import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes

from astro_cluster.exceptions import InputError
from astro_cluster.plotting.parts import PALETTE, axes_of
from astro_cluster.tables import Source, as_qtable, float_values

__all__ = ["plot_radius"]

_NEEDED = ("radius", "matched", "false", "false_spread", "false_by_shift", "true")
_DECADES = 30.0  # radii that span more than that go on a logarithmic axis


def plot_radius(curve: Source, *, ax: Axes | None = None) -> Axes:
    """Draw how many rows have a counterpart, and how many of these are false, against the radius.

    Parameters
    ----------
    curve : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        Result of `choose_radius`.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw.

    Returns
    -------
    `~matplotlib.axes.Axes`
        Matched rows, true and false ones; the band about the latter is their Poisson scatter, dots are
        what moved positions say.  A line marks the preferred radius.

    Raises
    ------
    InputError
        If the table is no result of `choose_radius`.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> from astropy import units as u
    >>> cat = ac.simulate.chandra(500, random_state=1)
    >>> curve = ac.choose_radius(cat, ac.simulate.simbad(cat), radii=[0.5, 1, 2] * u.arcsec)
    >>> plot_radius(curve).get_xlabel()
    'radius [arcsec]'
    """
    curve = _checked(curve)
    _, ax = axes_of(ax, (6.4, 4.4))
    values = {name: float_values(curve[name]) for name in _NEEDED}
    radius, false, spread = values["radius"], values["false"], values["false_spread"]
    line = {"linewidth": 1.6} if len(radius) > 1 else {"linewidth": 1.6, "marker": "o"}
    ax.plot(radius, values["matched"], color=PALETTE[0], label="matched", **line)
    ax.plot(radius, values["true"], color=PALETTE[2], linestyle="--", label="true", **line)
    ax.plot(radius, false, color=PALETTE[4], label="false", **line)
    band = (np.maximum(false - spread, 0), false + spread)
    ax.fill_between(radius, *band, color=PALETTE[4], alpha=0.25, linewidth=0)
    if np.isfinite(values["false_by_shift"]).any():
        style = {"linestyle": "none", "marker": ".", "markersize": 5, "color": PALETTE[4]}
        ax.plot(radius, values["false_by_shift"], label="false, by moved positions", **style)
    best = curve.meta.get("radius")
    if isinstance(best, (int, float)):
        ax.axvline(best, color="0.3", linewidth=1, linestyle=":", label=f"preferred: {best:.3g} arcsec")
    if radius[-1] > _DECADES * radius[0]:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
    ax.set(xlabel="radius [arcsec]", ylabel="rows with a counterpart")
    ax.set_ylim(0, max(float(values["matched"].max()), 1.0) * 1.05)
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=9)
    return ax


def _checked(curve: Source) -> QTable:
    curve = as_qtable(curve)
    if missing := [name for name in _NEEDED if name not in curve.colnames]:
        raise InputError(
            f"the table is no result of choose_radius, for it has no column {missing[0]!r}: make it with "
            "choose_radius(table, reference)"
        )
    return curve
