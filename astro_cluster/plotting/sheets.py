"""Contact sheets: images of each group in rows, as they lay under the enlarger."""

from __future__ import annotations

import textwrap
import warnings

import numpy as np
from astropy.table import QTable
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from astro_cluster.cells import cell_texts
from astro_cluster.columns import require
from astro_cluster.cutouts.stack import images_of, usable_images
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.plotting.display import check_display, first_row, picture, shape_on_page
from astro_cluster.plotting.grouping import Group, groups_by
from astro_cluster.plotting.pages import GAP, WIDTH, Page, in_pixels
from astro_cluster.plotting.parts import one_a_row
from astro_cluster.summary import cluster_column
from astro_cluster.tables import Source, as_qtable

__all__ = ["plot_contact_sheet"]

_NAMES = 1.25  # inches for the names of the groups
_TEXT = 7.0  # points
_MOST_GROUPS = 16


def plot_contact_sheet(
    table: Source,
    *,
    cluster: str | bool | None = None,
    column: str | None = None,
    per_cluster: int = 12,
    columns: int | None = None,
    order: str | None = None,
    labels: str | None = None,
    stretch: str = "asinh",
    colour_map: str = "gray",
    origin: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw images of each cluster in rows, with the cluster's name, number and share.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A table with images, or one that is linked with a file of them.
    cluster : str or bool, optional
        Column of the groups: clusters, texts (an artefact, a reason) or marks.  If not given the latest
        clustering; False for all images as one group.
    column : str, optional
        Column of the images, if there are several.
    per_cluster : int, optional
        Images of a cluster that are shown at most.
    columns : int, optional
        How many stand beside each other; if not given, twelve squares, or fewer strips.
    order : str, optional
        A column whose smallest values are shown first, ``"inspection_rank"`` say; with a minus its
        largest, ``"-outlier_score"``; or ``"random"``.  If not given, the surest members
        (``-prob_max``) where the clustering has probabilities, else a random choice.
    labels : str, optional
        A column whose values stand below the images.
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
        Images that could not be read are counted and not shown.  A random choice is the same every
        time.

    Raises
    ------
    InputError
        If there are no images, a column is missing, or no row has a group and a usable image.

    Warns
    -----
    AstroClusterWarning
        If there are more groups than a sheet has room for.

    Examples
    --------
    >>> t = QTable({"image": np.zeros((3, 8, 8), np.uint8), "cluster": [0, 0, 1]})
    >>> ax = plot_contact_sheet(t)
    >>> [text.get_text().splitlines()[0] for text in ax.texts]
    ['cluster 0', 'cluster 1']
    """
    table = as_qtable(table)
    check_display(stretch=stretch, origin=origin, colour_map=colour_map)
    if per_cluster < 1 or (columns is not None and columns < 1):
        raise InputError("per_cluster and columns are numbers of images; give 1 or more")
    groups = groups_by(table, cluster)
    images = images_of(table, column)
    usable = usable_images(table, images, column)
    origin = first_row(table, images, origin)
    first = _order(table, order, cluster)
    shown = []
    for group in groups:
        rows = group.rows[usable[group.rows]]
        shown.append((group, rows[np.argsort(first[rows], kind="stable")][:per_cluster]))
    shown = _largest([(group, rows) for group, rows in shown if rows.size])
    if not shown:
        raise InputError("no row of the table has a group and a usable image")
    texts = _texts(table, labels)
    sheet = _Sheet(shape_on_page(images), columns, max(len(rows) for _, rows in shown), texts is not None)
    heights = [sheet.height(group, len(rows)) for group, rows in shown]
    page = Page(sum(heights))
    tops = np.cumsum([0.0, *heights[:-1]])
    for (_, rows), top in zip(shown, tops, strict=True):
        for number, row in enumerate(rows.tolist()):
            left, upper = sheet.corner(number)
            seen = picture(
                images[row], size=sheet.pixels, stretch=stretch, colour_map=colour_map, origin=origin
            )
            page.paste(seen, top + upper, left)
    ax = page.show(ax)
    total = sum(len(group.rows) for group in groups)
    short = sheet.cut([texts[row] for _, rows in shown for row in rows.tolist()] if texts else [])
    for (group, rows), top in zip(shown, tops, strict=True):
        _write_name(ax, group, total, top, sheet)
        for number, row in enumerate(rows.tolist() if texts is not None else ()):
            left, upper = sheet.corner(number)
            _write_label(ax, sheet, short[texts[row]], top + upper, left)
    return ax


class _Sheet:
    """Where the images of a group stand, in inches from the group's upper left corner."""

    def __init__(self, shape: tuple[int, int], columns: int | None, most: int, labelled: bool) -> None:
        aspect = shape[1] / shape[0]
        suitable = int(np.clip(np.rint(12 / max(aspect, 1) ** 0.75), 1, 12))
        self.columns = columns or max(min(suitable, most), min(suitable, 4))
        width = (WIDTH - _NAMES) / self.columns - GAP
        self.inches = (width / aspect, width)
        self.pixels = in_pixels(*self.inches)
        self.label = _TEXT * 1.45 / 72 if labelled else 0.0

    def corner(self, number: int) -> tuple[float, float]:
        """Return the left and the upper edge of the image of this number."""
        row, column = divmod(number, self.columns)
        return _NAMES + column * (self.inches[1] + GAP), row * (self.inches[0] + GAP + self.label)

    def height(self, group: Group, number: int) -> float:
        """Return the height of so many images, with what parts them from the next group."""
        lines = -(-number // self.columns)
        name = (len(_wrapped(group.name)) + 1) * _TEXT * 1.3 / 72
        return max(lines * (self.inches[0] + GAP + self.label), name) + 3 * GAP

    def cut(self, texts: list[str]) -> dict[str, str]:
        """Return for each text one that is no wider than an image."""
        short = {text: _fitting(text, 72 * self.inches[1]) for text in texts}
        if len(set(short.values())) == len(short):
            return short
        # The names of files often begin with the same letters, and what differs is at their end.
        named = sorted(text for text in short if text)
        pairs = enumerate(zip(named[0], named[-1], strict=False))
        start = next((k for k, (one, other) in pairs if one != other), 0)
        return {text: _fitting(text[start:] or text, 72 * self.inches[1], ends=True) for text in short}


def _fitting(text: str, points: float, *, ends: bool = False) -> str:
    """Return a text cut to so many points, at its end or, with both ends kept, in the middle."""
    font, tried = FontProperties(size=_TEXT), text
    letters = min(len(text), int(points))  # no letter is narrower than a point
    while letters > 1 and text_to_path.get_text_width_height_descent(tried, font, ismath=False)[0] > points:
        letters -= 1
        behind = letters // 2 if ends else 0
        tried = text[: letters - behind] + "…" + text[len(text) - behind :]
    return tried


def _wrapped(name: str) -> list[str]:
    return textwrap.wrap(name, 20, max_lines=3, placeholder=" …") or [""]


def _write_name(ax: Axes, group: Group, total: int, top: float, sheet: _Sheet) -> None:
    lines = _wrapped(group.name)
    share = len(group.rows) / total
    number = f"{len(group.rows):,}" + (f" ({share:.1%})" if share < 1 else "")
    bottom = top + max(sheet.inches[0], (len(lines) + 1) * _TEXT * 1.3 / 72)
    ax.plot([0.03, 0.03], [top, bottom], color=group.colour, linewidth=4, solid_capstyle="butt")
    text = "\n".join([*lines, number])
    ax.text(0.1, top, text, va="top", fontsize=_TEXT + 0.5, linespacing=1.15)


def _write_label(ax: Axes, sheet: _Sheet, text: str, top: float, left: float) -> None:
    middle, below = left + sheet.inches[1] / 2, top + sheet.inches[0] + 0.015
    ax.text(middle, below, text, ha="center", va="top", fontsize=_TEXT)


def _largest(shown: list[tuple[Group, np.ndarray]]) -> list[tuple[Group, np.ndarray]]:
    """Return the groups that there is room for."""
    if len(shown) <= _MOST_GROUPS:
        return shown
    order = np.argsort([-len(group.rows) for group, _ in shown], kind="stable")[:_MOST_GROUPS]
    warnings.warn(
        f"of {len(shown)} groups with images, the {_MOST_GROUPS} largest are shown",
        AstroClusterWarning,
        stacklevel=3,
    )
    return [shown[i] for i in sorted(order)]


def _order(table: QTable, order: str | None, cluster: str | bool | None) -> np.ndarray:
    """Return numbers that are smallest for the rows to be shown first."""
    if order is None:
        order = f"-{_sureness(table, cluster)}"
        if order == "-":
            order = "random"
    if order == "random" and order not in table.colnames:
        return np.random.default_rng(0).permutation(len(table)).astype(float)
    falling = order.startswith("-") and order not in table.colnames
    values = one_a_row(table, require(table, order[1:] if falling else order)[0])
    return np.nan_to_num(-values if falling else values, nan=np.inf, posinf=np.inf, neginf=-np.inf)


def _sureness(table: QTable, cluster: str | bool | None) -> str:
    """Return the column of the probabilities that go with the clusters, if there is one."""
    if cluster is False:
        return ""
    try:
        name = cluster if isinstance(cluster, str) else cluster_column(table)
    except InputError:
        return ""
    found = f"{name.removesuffix('cluster')}prob_max"
    return found if name.endswith("cluster") and found in table.colnames else ""


def _texts(table: QTable, labels: str | None) -> list[str] | None:
    if labels is None:
        return None
    require(table, labels)
    if getattr(table[labels], "shape", (0,))[1:]:
        raise InputError(f"column {labels!r} has several values a row; labels are one a row")
    if getattr(table[labels], "dtype", np.dtype(object)).kind == "f":
        return ["" if np.isnan(value) else f"{value:.3g}" for value in one_a_row(table, labels)]
    texts, nothing = cell_texts(table[labels], len(table))
    return np.where(nothing, "", texts).tolist()
