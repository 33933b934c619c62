"""How much of a column, the redshift say, latents know."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import NullFormatter

from astro_cluster.columns import require
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.plotting.densities import correlation_of, draw_density, values_of_axis
from astro_cluster.plotting.pages import WIDTH
from astro_cluster.plotting.panels import Layout, tidy, wrapped
from astro_cluster.plotting.planes import described
from astro_cluster.tables import Source, as_qtable, float_values

__all__ = ["plot_leakage"]

_MOST = 30
_UNJUDGED = ("no R²", "too few rows for cross-validation, or all the same")


def plot_leakage(
    table: Source,
    column: str = "redshift",
    *,
    features: str = "latent",
    missing: Mapping[str, float] | None = None,
    judged: bool = True,
    most_rows: int = 10_000,
    random_state: int = 0,
    figure: FigureBase | None = None,
) -> Figure:
    """Draw each latent against a column, and tell how well all of them together predict it.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        n rows with latents.
    column : str, optional
        A numeric column, such as the redshift.
    features : str, optional
        Column of the latents.
    missing : mapping of str to float, optional
        Numbers that mean that there is no value, ``{"Z": -1}``.
    judged : bool, optional
        Predict the column from the latents by k nearest neighbours (`~astro_cluster.predictability`).
    most_rows : int, optional
        Of more rows, so many are drawn for that.
    random_state : int, optional
        Seed of the folds.
    figure : `~matplotlib.figure.Figure` or `~matplotlib.figure.SubFigure`, optional
        Where to draw.

    Returns
    -------
    `~matplotlib.figure.Figure`
        A panel a latent with its density, running median and Spearman's ρ; the title has the
        cross-validated R²: 0 if the latents know nothing of the column, 1 if all.

    Raises
    ------
    InputError
        If a column is missing, or no row has both.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> t = QTable({"latent": rng.normal(size=(300, 2)), "redshift": rng.uniform(1, 3, 300)})
    >>> t["latent"][:, 1] += 3 * t["redshift"]
    >>> figure = plot_leakage(t, judged=False)
    >>> [ax.get_title("left") for ax in figure.axes]
    ['ρ = −0.03 (−0.15 to 0.08)', 'ρ = 0.88 (0.85 to 0.91)']
    """
    table = as_qtable(table)
    require(table, [features])
    latents = float_values(table[features])
    latents = latents[:, np.newaxis] if latents.ndim == 1 else latents
    if latents.ndim != 2 or not 1 <= latents.shape[1] <= _MOST:
        raise InputError(
            f"column {features!r} has {latents.shape[1:]} values a row; give one of up to {_MOST} latents"
        )
    asked = values_of_axis(table, column, missing)
    known = np.isfinite(asked) & np.isfinite(latents).all(axis=1)
    if not known.any():
        raise InputError(f"no row of the table has both {features!r} and {column!r}")
    d = latents.shape[1]
    across = 1 if d == 1 else 2 if d in (2, 4) else 3 if d <= 9 else 4 if d <= 16 else 5
    down = -(-d // across)
    width = (WIDTH - 0.6 - 0.1 - 0.5 * (across - 1)) / across if across > 1 else 4.2
    layout = Layout(
        across,
        width,
        [float(np.clip(0.72 * width, 1.1, 2.4))] * down,
        (0.5, 0.32),
        left=0.6,
        right=0.1,
        top=0.86,
        bottom=0.42,
    )
    figure = layout.figure(figure)
    for number in range(d):
        line, place = divmod(number, across)
        ax = layout.panel(figure, line, place)
        name = f"{features}[{number}]" if float_values(table[features][:0]).ndim == 2 else features
        hexagons, _ = draw_density(ax, np.column_stack([asked[known], latents[known, number]]), bins=40)
        _dress(ax, name, correlation_of(table, column, name, missing=missing).text, width)
        if number + across < d:
            ax.xaxis.set_major_formatter(NullFormatter())
        else:
            ax.set_xlabel(wrapped(described(table, column), width), fontsize=8)
    score = _score(table, column, features, missing, most_rows, random_state) if judged else ("", "")
    told = f"{column} from {features} ({d} value{'s' * (d != 1)})"
    drawn = {line.get_label() for line in ax.lines}
    meanings = ["ρ: Spearman's, with its 95 % interval"]
    meanings += ["lines: running median and middle 68 %"] if "running median" in drawn else []
    meanings += ["colour: log of rows"] if hexagons is not None else []
    _write_title(figure, layout, told, score, known, "; ".join(meanings))
    return figure.get_figure(root=True)  # type: ignore[return-value]


def _dress(ax: Axes, name: str, title: str, width: float) -> None:
    tidy(ax, size=6.5)
    ax.set_ylabel(name, fontsize=7)
    ax.yaxis.set_label_coords(-0.3 / width, 0.5)
    ax.set_title(title, fontsize=7 if width > 1.7 else 6, loc="left", pad=2.5)


def _score(
    table: QTable,
    column: str,
    features: str,
    missing: Mapping[str, float] | None,
    most_rows: int,
    random_state: int,
) -> tuple[str, str]:
    from astro_cluster.relating import predictability

    part = table.copy(copy_data=False)
    if column not in part.colnames:
        part[column] = values_of_axis(table, column)
    options: dict[str, Any] = {
        "kinds": {column: "number"},
        "most_rows": most_rows,
        "random_state": random_state,
    }
    with warnings.catch_warnings():
        # What could not be judged has no score, and the title says so.
        warnings.simplefilter("ignore", AstroClusterWarning)
        try:
            found = predictability(part, [column], features=[features], missing=missing, **options)
        except InputError:
            return _UNJUDGED
    r2, error = (
        float(np.ma.filled(np.ma.asarray(found[name], float), np.nan)[0]) for name in ("r2", "r2_error")
    )
    if np.isnan(r2):
        return _UNJUDGED
    digits = 3 if error < 0.005 else 2
    text = f"R² = {r2:.{digits}f} ± {error:.{digits}f}".replace("-", "−")
    return text, f"R² by nearest neighbours, cross-validated with {int(found['count'][0]):,} rows"


def _write_title(
    figure: FigureBase, layout: Layout, told: str, score: tuple[str, str], known: np.ndarray, meanings: str
) -> None:
    width, height = layout.size
    left = layout.left / width
    title, how = (part for part in score)
    figure.text(left, 1 - 0.06 / height, told + (f": {title}" if title else ""), fontsize=9, va="top")
    drawn, n = int(known.sum()), len(known)
    notes = [f"{drawn:,} of {n:,} rows" if drawn < n else f"{n:,} rows"] + ([how] if how else [])
    lines = ["; ".join(notes), meanings]
    figure.text(
        left, 1 - 0.25 / height, "\n".join(lines), fontsize=7, va="top", color="0.35", linespacing=1.3
    )
