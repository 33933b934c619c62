"""What an autoencoder keeps of images: originals over reconstructions over residuals."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from astro_cluster.cutouts.stack import images_of, usable_images
from astro_cluster.exceptions import InputError
from astro_cluster.plotting.display import (
    check_display,
    first_row,
    limits_of,
    picture,
    residual_picture,
    shape_on_page,
    softening_of,
)
from astro_cluster.plotting.pages import GAP, WIDTH, Page, in_pixels
from astro_cluster.plotting.rows import checked_rows, spread_rows
from astro_cluster.tables import Source, as_qtable

__all__ = ["plot_reconstructions"]

_NAMES = 0.95  # inches for the names of the rows
_BAR = 0.55  # and for the scale of the residuals
_TEXT = 7.5  # points
_ERRORS = "reconstruction_error"


def plot_reconstructions(
    table: Source,
    model: Any,
    *,
    n: int = 8,
    rows: Sequence[int] | np.ndarray | None = None,
    column: str | None = None,
    residuals: bool = True,
    stretch: str = "asinh",
    colour_map: str = "gray",
    origin: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw images, below them what an autoencoder makes of them, and below that what remains.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A table with images, or one that is linked with a file of them.
    model : autoencoder, str or path
        A fitted one, or the ``.safetensors`` file of one; anything that has ``reconstruct(images)``.
    n : int, optional
        How many images.
    rows : sequence of int, optional
        Which images; if not given, from the best to the worst reconstructed where the table has the
        column ``reconstruction_error``, else evenly spread over the table.
    column : str, optional
        Column of the images, if there are several.
    residuals : bool, optional
        Draw image minus reconstruction, too.
    stretch : {"asinh", "linear", "log", "sqrt", "zscale"}, optional
        How numbers become grey; an image and its reconstruction have the same limits.
    colour_map : str, optional
        Matplotlib's name of the colours of images with one channel.
    origin : {"lower", "upper"}, optional
        Where the first row of an image is; if not given, above for bytes and for what comes from PNG,
        JPEG or TIFF, else below, as FITS has it.
    ax : `~matplotlib.axes.Axes`, optional
        Where to draw; the shape of its box is changed, so that the images keep theirs.

    Returns
    -------
    `~matplotlib.axes.Axes`

    Raises
    ------
    InputError
        If there are no images, the model does not reconstruct, or it knows images of another shape.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> t = QTable({"image": np.random.default_rng(0).normal(size=(3, 8, 8))})
    >>> ax = plot_reconstructions(t, SimpleNamespace(reconstruct=lambda images: images / 2), n=2)
    >>> [text.get_text() for text in ax.texts]
    ['image', 'reconstruction', 'residual']
    """
    table = as_qtable(table)
    check_display(stretch=stretch, origin=origin, colour_map=colour_map)
    model = _model(model)
    images = images_of(table, column)
    usable = usable_images(table, images, column)
    chosen = _chosen(table, usable, n) if rows is None else checked_rows(rows, usable, "image")
    stack = np.array(images[chosen])
    made = np.asarray(model.reconstruct(stack))
    if made.shape != stack.shape:
        raise InputError(f"the model makes images of shape {made.shape[1:]} of those of {stack.shape[1:]}")
    if stack.dtype == np.uint8 and stack.shape[3:] == (4,):  # the fourth is how opaque a pixel is
        stack, made = stack[..., :3], made[..., :3]
    origin = first_row(table, images, origin)
    limit = _residual_limit(_scaled(stack) - made)

    height, across = shape_on_page(images)
    left, top = _layout(len(chosen), across / height, 3 if residuals else 2)
    tall, wide = top[1] - GAP, left[1] - left[0] - GAP
    size = in_pixels(tall, wide)
    page = Page(top[-1])
    for number, x in enumerate(left[:-1]):
        panels = _pair(stack[number], made[number], stretch, size=size, colour_map=colour_map, origin=origin)
        if residuals:
            rest = _scaled(stack[number]) - made[number]
            panels.append(residual_picture(rest, limit=limit, size=size, upwards=origin == "lower"))
        for panel, y in zip(panels, top, strict=False):
            page.paste(panel, y, x)
    ax = page.show(ax)
    for name, y in zip(("image", "reconstruction", "residual"), top[:-1], strict=False):
        ax.text(_NAMES - 0.06, y + tall / 2, name, ha="right", va="center", fontsize=_TEXT)
    if residuals:
        _draw_scale(ax, limit, top[2], tall, page.height)
    return ax


def _scaled(images: np.ndarray) -> np.ndarray:
    """Return images in the scale of the model, which is 0 to 1 for bytes."""
    return images / np.float32(255) if images.dtype == np.uint8 else images


def _pair(image: np.ndarray, made: np.ndarray, stretch: str, **display: Any) -> list[np.ndarray]:
    """Return the pictures of an image and of its reconstruction, in the same stretch."""
    if image.dtype == np.uint8:
        limits, stretch = (0.0, 1.0), "linear"
    else:
        limits = limits_of(image, stretch=stretch)
    same = {"limits": limits, "stretch": stretch, "softening": softening_of(image, limits)}
    return [picture(which, **same, **display) for which in (_scaled(image), made)]


def _model(model: Any) -> Any:
    if isinstance(model, (str, os.PathLike)):
        from astro_cluster.embedding.autoencoder import load_model

        model = load_model(model)
    if not callable(getattr(model, "reconstruct", None)):
        raise InputError(
            f"{type(model).__name__} does not reconstruct images; give a fitted autoencoder or its file"
        )
    return model


def _chosen(table: QTable, usable: np.ndarray, n: int) -> np.ndarray:
    """Return rows from the best reconstructed to the worst, or spread over the table."""
    errors = [name for name in table.colnames if name.endswith(_ERRORS)]
    return spread_rows(table, usable, n, by=errors[-1] if errors else None)


def _layout(n: int, aspect: float, lines: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the left edges of the images, and the upper edges of the lines with the lower end, in inches."""
    step = (WIDTH - _NAMES - _BAR) / n
    step = min(step, 1.6 * max(np.sqrt(aspect), 1))
    height = (step - GAP) / aspect
    left = _NAMES + step * np.arange(n + 1)
    return left, (height + GAP) * np.arange(lines + 1)


def _residual_limit(residuals: np.ndarray) -> float:
    seen = np.abs(residuals[np.isfinite(residuals)])
    limit = float(np.percentile(seen, 99.5)) if seen.size else 1.0
    return limit or 1.0


def _draw_scale(ax: Axes, limit: float, top: float, height: float, whole: float) -> None:
    left = 1 - (_BAR - 0.06) / WIDTH
    inside = ax.inset_axes((left, 1 - (top + height) / whole, 0.07 / WIDTH, height / whole))
    scale = ScalarMappable(Normalize(-limit, limit), "RdBu_r")
    bar = ax.get_figure(root=True).colorbar(scale, cax=inside)  # type: ignore[union-attr]
    bar.set_ticks([-limit, 0, limit], labels=[f"−{limit:.2g}", "0", f"{limit:.2g}"], fontsize=7)
    bar.ax.tick_params(length=2, pad=1.5)
    bar.outline.set_linewidth(0.5)  # type: ignore[operator]
