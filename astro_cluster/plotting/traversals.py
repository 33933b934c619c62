"""What a latent means: the spectra that it draws when it alone is changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from astropy.table import QTable
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import NullFormatter

from astro_cluster.columns import require
from astro_cluster.exceptions import InputError
from astro_cluster.plotting.emission import redshifts_of
from astro_cluster.plotting.limits import robust_limits
from astro_cluster.plotting.pages import WIDTH
from astro_cluster.plotting.panels import Layout
from astro_cluster.plotting.shades import checked_colour_map
from astro_cluster.plotting.spectral import mark_lines, spectrum_axes, wavelength_label
from astro_cluster.tables import Source, as_qtable, float_values
from astro_cluster.wavelengths import Grid, grid_of, spectra_facts

__all__ = ["plot_traversal"]

_SHARE = 0.002  # of the pixels may lie beyond the axis
Decoder = Callable[[np.ndarray], np.ndarray]


def plot_traversal(
    model: Any,
    table: Source | None = None,
    *,
    features: str | None = None,
    latents: Sequence[int] | None = None,
    n: int = 7,
    percentiles: tuple[float, float] = (5.0, 95.0),
    redshift: float | None = None,
    lines: bool = True,
    colour_map: str = "viridis",
    figure: FigureBase | None = None,
) -> Figure:
    """Draw the spectra that a model decodes when one latent is changed and the others stay.

    Parameters
    ----------
    model : InfoVAE, WeightedPCA, str or path
        A fitted model, or its file.
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path, optional
        A table that the model embedded: its latents say where to begin and how far to go.  Without it
        these are those of a standard normal distribution, to which an InfoVAE's latents are held.
    features : str, optional
        Column of the latents; ``latent`` or ``pca`` if not given, after the model.
    latents : sequence of int, optional
        Which, counted from 0; all if not given.
    n : int, optional
        Spectra of each latent.
    percentiles : tuple of float, optional
        From where to where a latent goes, of its values in the table.
    redshift : float, optional
        Of the spectra, if the model's decoder is given it, and of the emission lines; the median of the
        table if not given.
    lines : bool, optional
        Mark emission lines, where the wavelengths are those at rest or a redshift is given.
    colour_map : str, optional
        Matplotlib's name of the colours of the latent's values.
    figure : `~matplotlib.figure.Figure` or `~matplotlib.figure.SubFigure`, optional
        Where to draw.

    Returns
    -------
    `~matplotlib.figure.Figure`
        A panel a latent; its title says from which value to which the latent goes.  The other latents have
        their medians.

    Raises
    ------
    InputError
        If the model does not decode latents, the table does not have them, or a number is out of range.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from astropy import units as u
    >>> from astro_cluster.wavelengths import log_grid
    >>> grid = log_grid(4000 * u.AA, 5000 * u.AA, 20)
    >>> model = SimpleNamespace(n_latent_=2, grid_=grid, decode=lambda z, **_: 1 + z[:, :1] * np.ones(20))
    >>> figure = plot_traversal(model, n=3)
    >>> [ax.get_title("left") for ax in figure.axes[:2]]
    ['latent 0: −1.64 to 1.64', 'latent 1: −1.64 to 1.64']
    """
    _check_numbers(n, percentiles)
    checked_colour_map(colour_map)
    model = _model(model)
    table = None if table is None else as_qtable(table)
    stem = getattr(model, "stem", "latent")
    _check_decodes(model)
    values = _latents(model, table, features, stem)
    base, low, high = _ranges(values, _size(model, values), percentiles)
    chosen = _chosen(latents, len(base))
    grid = _grid(model, table)
    place_of_lines = _redshift(table, redshift)
    decode = _decoder(model, place_of_lines)
    # Latents that know the redshift move the lines, and no place is theirs.
    marked = lines and (grid.frame == "rest" or redshift is not None or _conditioned(model))

    across = 1 if len(chosen) <= 2 else 2 if len(chosen) <= 6 or len(chosen) == 8 else 3
    down = -(-len(chosen) // across)
    width = (WIDTH - 0.5 - 0.75 - 0.42 * (across - 1)) / across
    layout = Layout(
        across,
        width,
        [1.25 if across > 1 else 1.5] * down,
        (0.42, 0.3),
        left=0.5,
        right=0.75,
        top=0.3,
        bottom=0.42,
    )
    figure = layout.figure(figure)
    shades = colormaps[colour_map](np.linspace(0, 0.92, n))
    for number, latent in enumerate(chosen):
        line, place = divmod(number, across)
        ax = layout.panel(figure, line, place)
        along = np.repeat(base[np.newaxis], n, axis=0)
        along[:, latent] = np.linspace(low[latent], high[latent], n)
        made = decode(along)
        if made.shape != (n, len(grid)):
            raise InputError(f"the model decodes {made.shape[-1]} pixels, and the grid has {len(grid)}")
        for spectrum, colour in zip(made, shades, strict=True):
            ax.plot(grid.angstrom, spectrum, color=colour, linewidth=0.8)
        spectrum_axes(ax, grid)
        _limit(ax, made)
        title = f"{stem} {latent}: {low[latent]:.2f} to {high[latent]:.2f}".replace("-", "−")
        ax.set_title(title, fontsize=8, loc="left", pad=2.5)
        if marked:
            mark_lines(ax, grid, place_of_lines)
        if place == 0:
            ax.set_ylabel("normalised flux", fontsize=8)
        if number + across < len(chosen):
            ax.xaxis.set_major_formatter(NullFormatter())
        else:
            ax.set_xlabel(wavelength_label(grid) if width > 2.6 else "wavelength [Å]", fontsize=8)
    _draw_bar(figure, layout, colour_map, percentiles, values is not None)
    return figure.get_figure(root=True)  # type: ignore[return-value]


def _check_numbers(n: int, percentiles: tuple[float, float]) -> None:
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 2 <= n <= 100:
        raise InputError(f"n={n!r} spectra of a latent; give 2 to 100")
    try:
        low, high = percentiles
        fine = 0 <= low < high <= 100
    except (TypeError, ValueError):
        fine = False
    if not fine:
        raise InputError(f"percentiles={percentiles!r}; give two, such as (5, 95)")


def _model(model: Any) -> Any:
    if isinstance(model, (str, os.PathLike)):
        from astro_cluster.embedding import load_model

        return load_model(model)
    return model


def _check_decodes(model: Any) -> None:
    linear = [getattr(model, name, None) for name in ("components_", "mean_")]
    if not callable(getattr(model, "decode", None)) and any(part is None for part in linear):
        raise InputError(
            f"{type(model).__name__} does not decode latents; give a fitted InfoVAE or WeightedPCA"
        )


def _conditioned(model: Any) -> bool:
    return bool(getattr(model, "conditioned", False))


def _decoder(model: Any, redshift: float) -> Decoder:
    if callable(getattr(model, "decode", None)):
        more = {"redshift": redshift} if _conditioned(model) and np.isfinite(redshift) else {}
        return lambda along: np.asarray(model.decode(along, **more))
    return lambda along: np.asarray(model.mean_) + along @ np.asarray(model.components_)


def _latents(model: Any, table: QTable | None, features: str | None, stem: str) -> np.ndarray | None:
    if table is None:
        if features is not None:
            raise InputError(f"features={features!r} names a column; give the table that has it, too")
        return None
    name = features or next((one for one in reversed(table.colnames) if one.endswith(stem)), stem)
    require(table, name)
    values = float_values(table[name])
    values = values[:, np.newaxis] if values.ndim == 1 else values
    if values.ndim != 2 or not np.isfinite(values).all(axis=1).any():
        raise InputError(f"no row of column {name!r} has latents; embed the table with the model first")
    return values[np.isfinite(values).all(axis=1)]


def _size(model: Any, values: np.ndarray | None) -> int:
    components = getattr(model, "components_", None)
    for found in (getattr(model, "n_latent_", None), None if components is None else len(components)):
        if found is not None:
            if values is not None and values.shape[1] != found:
                raise InputError(
                    f"the model has {found} latents, and the table {values.shape[1]}; embed it with this one"
                )
            return int(found)
    if values is None:
        raise InputError("the model does not say how many latents it has; fit it, or give a table of them")
    return values.shape[1]


def _ranges(
    values: np.ndarray | None, size: int, percentiles: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where each latent stays, and from where to where it goes."""
    if values is not None:
        low, base, high = np.percentile(values, [percentiles[0], 50, percentiles[1]], axis=0)
        return base, low, high
    from scipy.stats import norm

    ends = np.clip(norm.ppf(np.array(percentiles) / 100), -4, 4)
    return np.zeros(size), np.full(size, ends[0]), np.full(size, ends[1])


def _chosen(latents: Sequence[int] | None, size: int) -> list[int]:
    if latents is None:
        return list(range(size))
    found = np.atleast_1d(np.asarray(latents))
    if found.dtype.kind not in "iu" or not found.size or found.min() < 0 or found.max() >= size:
        raise InputError(f"latents={latents!r}; give numbers from 0 to {size - 1}")
    return found.tolist()


def _grid(model: Any, table: QTable | None) -> Grid:
    grid = getattr(model, "grid_", None)
    if grid is not None:
        return grid
    if table is not None and spectra_facts(table) is not None:
        return grid_of(table)
    raise InputError(
        "neither the model nor the table says at which wavelengths the spectra are; give the table"
    )


def _redshift(table: QTable | None, redshift: float | None) -> float:
    if redshift is not None:
        if not np.isfinite(redshift) or redshift <= -1:
            raise InputError(f"redshift={redshift} is none; give a number above -1")
        return float(redshift)
    found = np.array([np.nan]) if table is None else redshifts_of(table, None)
    return float(np.nanmedian(found)) if np.isfinite(found).any() else float("nan")


def _limit(ax: Axes, made: np.ndarray) -> None:
    low, high = robust_limits(made, share=_SHARE)
    ax.set_ylim(low, high + 0.08 * (high - low))


def _draw_bar(
    figure: FigureBase, layout: Layout, colour_map: str, percentiles: tuple[float, float], known: bool
) -> None:
    width, height = layout.size
    tall = min(sum(layout.heights), 2.2)
    place = (1 - (layout.right - 0.1) / width, 1 - (layout.top + tall) / height, 0.1 / width, tall / height)
    ax = figure.add_axes(place)
    shown = colormaps[colour_map](np.linspace(0, 0.92, 256))
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), ListedColormap(shown)), cax=ax)
    bar.set_ticks([0, 1], labels=[f"{end:g} %" for end in percentiles], fontsize=6.5)
    whose = "percentiles of the rows" if known else "percentiles of N(0, 1)"
    bar.set_label(f"value of the latent,\n{whose}", fontsize=7, labelpad=1)
    bar.ax.tick_params(length=2, pad=1.5)
    bar.outline.set_linewidth(0.5)  # type: ignore[operator]
