"""Figures of several panels: their places in inches, and texts that fit them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from astro_cluster.exceptions import InputError

__all__ = ["Layout", "tidy", "wrapped"]

_LETTER = 0.56  # of a font's size: the width of a letter


@dataclass(frozen=True)
class Layout:
    """A grid of panels with margins, in inches.

    Parameters
    ----------
    n_columns : int
        Panels beside each other.
    widths : float
        Width of a panel.
    heights : sequence of float
        Heights of the rows of panels, from above.
    gaps : tuple of float or sequence
        Between columns, and below each row; one number below all rows, or one a row.
    left, right, top, bottom : float
        Margins.
    """

    n_columns: int
    widths: float
    heights: Sequence[float]
    gaps: tuple[float, float | Sequence[float]] = (0.1, 0.1)
    left: float = 0.6
    right: float = 0.1
    top: float = 0.3
    bottom: float = 0.5

    @property
    def below(self) -> list[float]:
        """What is free below each row but the last."""
        gap = self.gaps[1]
        n = len(self.heights)
        return [float(gap)] * (n - 1) if isinstance(gap, int | float) else [float(x) for x in gap][: n - 1]

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the whole."""
        across = self.left + self.n_columns * self.widths + (self.n_columns - 1) * self.gaps[0] + self.right
        return across, self.top + sum(self.heights) + sum(self.below) + self.bottom

    def figure(self, given: FigureBase | None) -> FigureBase:
        """Return the figure to draw into.

        Parameters
        ----------
        given : `~matplotlib.figure.Figure`, `~matplotlib.figure.SubFigure` or None
            What the caller gave.

        Returns
        -------
        `~matplotlib.figure.Figure` or `~matplotlib.figure.SubFigure`
            A new one as large as the panels need if none was given.

        Raises
        ------
        InputError
            If it is something else, such as axes.

        Examples
        --------
        >>> Layout(2, 1.0, [1.0]).figure(None).get_size_inches().round(2).tolist()
        [2.8, 1.8]
        """
        if given is None:
            return Figure(figsize=self.size)
        if not isinstance(given, FigureBase):
            raise InputError(
                f"figure= is a {type(given).__name__}; this figure has several panels: give a matplotlib "
                "Figure or SubFigure, or nothing"
            )
        return given

    def panel(self, figure: FigureBase, row: int, column: int) -> Axes:
        """Return new axes at a place of the grid.

        Parameters
        ----------
        figure : `~matplotlib.figure.Figure` or `~matplotlib.figure.SubFigure`
            Where to draw; if it is not as large as the panels need, they grow or shrink with it.
        row, column : int
            Which panel, counted from above and from the left.

        Returns
        -------
        `~matplotlib.axes.Axes`

        Examples
        --------
        >>> layout = Layout(2, 1.0, [1.0], left=1.0, right=0.9, top=0.5, bottom=0.5)
        >>> [float(end) for end in layout.panel(Figure(figsize=(4, 2)), 0, 1).get_position().bounds]
        [0.525, 0.25, 0.25, 0.5]
        """
        width, height = self.size
        left = self.left + column * (self.widths + self.gaps[0])
        top = self.top + sum(self.heights[: row + 1]) + sum(self.below[:row])
        place = (
            left / width,
            round(1 - top / height, 9),
            self.widths / width,
            self.heights[row] / height,
        )
        return figure.add_axes(place)


def tidy(ax: Axes, *, size: float = 7.0) -> None:
    """Give axes small letters and thin lines.

    Parameters
    ----------
    ax : `~matplotlib.axes.Axes`
        Changed in place.
    size : float, optional
        Of the letters in points.

    Examples
    --------
    >>> ax = Figure().add_subplot()
    >>> tidy(ax, size=6)
    >>> ax.get_xticklabels()[0].get_fontsize()
    6.0
    """
    ax.tick_params(labelsize=size, which="both", length=2.5, width=0.6, pad=2)
    for spine in ax.spines.values():
        spine.set_linewidth(0.6)
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_offset_text().set_fontsize(size - 1)


def wrapped(text: str, inches: float, *, size: float = 7.0, lines: int = 3) -> str:
    r"""Return a label in lines that fit, its unit on a line of its own if need be.

    Parameters
    ----------
    text : str
        A label; what is between dollars or brackets is not torn.
    inches : float
        How long a line may be.
    size : float, optional
        Of the letters in points.
    lines : int, optional
        How many lines there may be; what does not fit is cut off with an ellipsis.

    Returns
    -------
    str

    Examples
    --------
    >>> wrapped("reconstruction_error [mJy]", 0.9)
    'reconstruction_\nerror\n[mJy]'
    """
    letters = max(int(inches * 72 / (size * _LETTER)), 4)
    found = re.fullmatch(r"(.*?)( \[.*\])", text, re.DOTALL)
    name, unit = (found[1], found[2].strip()) if found else (text, "")
    shown = re.sub(r"\\mathrm|[${}\\]", "", unit)
    if len(name) + len(shown) + 1 <= letters:
        return text
    pieces = re.sub(r"([_\-/.,])(?=\w)", "\\1\u200b", name).replace("\u200b", "\u200b ")
    broken = textwrap.wrap(pieces, letters, max_lines=lines - bool(unit), placeholder="…")
    joined = [line.replace("\u200b ", "").replace("\u200b", "") for line in broken]
    return "\n".join([*joined, unit] if unit else joined)
