"""Images at their place in a plane, as in the study's imaged t-SNE.

All thumbnails are painted into one picture that lies on the axes, so that thousands cost no more than
a few; and no two lie on each other, unless that is asked for.
"""

from __future__ import annotations

import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes

from astro_cluster.cutouts.stack import images_of, usable_images
from astro_cluster.embedding.facts import embedding_records
from astro_cluster.exceptions import InputError
from astro_cluster.plotting.display import check_display, first_row, picture, shape_on_page
from astro_cluster.plotting.grouping import draw_legend, groups_by
from astro_cluster.plotting.parts import NOISE_COLOUR, axes_of, marker_size
from astro_cluster.plotting.placing import Plane
from astro_cluster.plotting.planes import described, plane_columns, plane_values, same_scale
from astro_cluster.tables import Source, as_qtable

__all__ = ["plot_thumbnails"]

# So large a share of the images, or so many, have room: no need for smaller ones.
_ENOUGH, _PLENTY = 0.6, 120
_SIDES = (0.04, 0.13)  # of a square thumbnail, for many images and for few, as shares of the axes
_WIDEST = 0.34
_ALONE = "#404040"  # the frames where there is but one group


def plot_thumbnails(
    table: Source,
    x: str | None = None,
    y: str | None = None,
    *,
    column: str | None = None,
    cluster: str | bool | None = None,
    width: float | None = None,
    max_images: int = 1000,
    overlap: bool = False,
    stretch: str = "asinh",
    colour_map: str = "gray",
    origin: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw images at their place in a plane, each framed in the colour of its cluster.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A table with images, or one that is linked with a file of them.
    x, y : str, optional
        Numeric columns; ``"latent[0]"`` is the first of several values a row.  If not given, the
        t-SNE coordinates, else the first two of another embedding.
    column : str, optional
        Column of the images, if there are several.
    cluster : str or bool, optional
        Column of the groups: clusters, texts or marks.  If not given the latest clustering; False for
        none.
    width : float, optional
        Width of a thumbnail as a share of the axes; if not given, so that some three hundred fit.
    max_images : int, optional
        How many are shown at most.
    overlap : bool, optional
        Show thumbnails also where they lie on others.
    stretch : {"asinh", "linear", "log", "sqrt", "zscale"}, optional
        How numbers become grey; bytes are shown as they are.
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
        Rows without room for a thumbnail, or without a usable image, are dots, above the images where
        no image of their group has room.  The title tells how
        faithful the plane is, if it is an embedding that has it on record.

    Raises
    ------
    InputError
        If there are no images, a column is missing, or no row has a place and an image.

    Notes
    -----
    Which rows are shown does not depend on chance: the plane is covered with a grid of cells that a
    thumbnail fills, and rows get their place in the order of their distance from the centre of their
    cell, each if none before it is in its way; but one row of each group comes before all others, the
    smallest group first.

    Examples
    --------
    >>> images = np.zeros((3, 8, 8), np.uint8)
    >>> t = QTable({"image": images, "tsne_1": [0.0, 1.0, 2.0], "tsne_2": [0.0, 2.0, 1.0]})
    >>> plot_thumbnails(t).get_title("left")
    '3 of 3 images'
    """
    table = as_qtable(table)
    check_display(stretch=stretch, origin=origin, colour_map=colour_map)
    _check_numbers(width, max_images)
    x, y = plane_columns(table, x, y)
    places = np.column_stack([plane_values(table, name) for name in (x, y)])
    groups = groups_by(table, cluster)
    images = images_of(table, column)
    group_of = np.full(len(table), -1)
    for number, group in enumerate(groups):
        group_of[group.rows] = number
    placed = np.isfinite(places).all(axis=1) & (group_of >= 0)
    rows = np.flatnonzero(placed & usable_images(table, images, column))
    if not rows.size:
        raise InputError(
            f"no row of the table has a place ({x}, {y}), a group and a usable image; embed the images first"
        )
    height, across = shape_on_page(images)
    origin = first_row(table, images, origin)
    for share in _widths(width, len(rows), across / height):
        plane = Plane.around(
            places[placed], same_scale=same_scale(table, x, y), width=share, aspect=across / height
        )
        # Else a group of one or two could lie unseen under the images of others.
        picked = plane.chosen(places[rows], overlap=overlap, most=max_images, groups=group_of[rows])
        shown = rows[picked]
        if len(shown) >= min(_ENOUGH * min(len(rows), max_images), _PLENTY):
            break
    rest = placed.copy()
    rest[shown] = False

    many = len(groups) > 1
    figure_height = 6.55 * plane.aspect + 0.98 + (0.2 * -(-len(groups) // 4) if many else 0)
    _, ax = axes_of(ax, (7.1, figure_height))
    colours = [group.colour if many else NOISE_COLOUR for group in groups]
    _draw_dots(ax, places, rest, colours, group_of)
    unseen = rest & ~np.isin(group_of, group_of[shown])
    if many and unseen.any():  # their dots may lie under the images of others
        _draw_dots(ax, places, unseen, colours, group_of, above=True)
    canvas = plane.canvas()
    for row in shown[::-1]:  # the first ones lie uppermost
        seen = picture(images[row], size=plane.tile, stretch=stretch, colour_map=colour_map, origin=origin)
        plane.paste(canvas, seen, places[row], groups[group_of[row]].colour if many else _ALONE)
    ax.imshow(canvas, extent=plane.extent, aspect="auto", zorder=3)
    ax.set_box_aspect(plane.aspect)
    ax.set(xlim=plane.extent[:2], ylim=plane.extent[2:])
    ax.set_xlabel(described(table, x), fontsize=9)
    ax.set_ylabel(described(table, y), fontsize=9)
    ax.tick_params(labelsize=8)
    ax.set_title(f"{len(shown):,} of {int(placed.sum()):,} images", fontsize=9, loc="left")
    ax.set_title(_faithfulness(table, x, y), fontsize=8, loc="right", color="0.35")
    if many:
        draw_legend(ax, groups)
    return ax


def _faithfulness(table: QTable, x: str, y: str) -> str:
    """Return what is on record of how far the plane can be believed."""
    for record in reversed(embedding_records(table)):
        facts = record["embedding"]
        if {x, y} <= set(facts["columns"]):
            names = [name for name in ("trustworthiness", "continuity") if isinstance(facts.get(name), float)]
            return ", ".join(f"{name} {facts[name]:.2f}" for name in names)
    return ""


def _check_numbers(width: float | None, max_images: int) -> None:
    if width is not None and not 0 < width <= 0.5:
        raise InputError(f"width={width} is no share of the axes; give a number above 0 and up to 0.5")
    if max_images < 1:
        raise InputError(f"max_images={max_images} shows nothing; give 1 or more")


def _widths(width: float | None, n: int, aspect: float) -> list[float]:
    """Return the widths of a thumbnail to be tried: as large as most have room, but never tiny."""
    if width is not None:
        return [width]
    most = float(np.clip(np.sqrt(0.6 / n), 1.5 * _SIDES[0], _SIDES[1]))
    least = float(np.clip(np.sqrt(0.25 / n), *_SIDES))
    sides = np.geomspace(most, least, 5)
    return [min(side * np.sqrt(aspect), _WIDEST) for side in sides]


def _draw_dots(
    ax: Axes,
    places: np.ndarray,
    rest: np.ndarray,
    colours: list[str],
    group_of: np.ndarray,
    *,
    above: bool = False,
) -> None:
    rows = np.flatnonzero(rest)
    # Else the groups drawn last would hide the others wherever they overlap.
    rows = np.random.default_rng(0).permutation(rows)
    style: dict[str, object] = {
        "s": min(marker_size(len(rows)), 9.0),
        "alpha": 0.6,
        "linewidths": 0,
        "zorder": 2,
    }
    if above:
        style = {"s": 24.0, "edgecolors": "white", "linewidths": 0.8, "zorder": 4}
    ax.scatter(*places[rows].T, c=[colours[group_of[row]] for row in rows], rasterized=True, **style)
