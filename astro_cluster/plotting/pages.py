"""Pictures laid out on a page, in inches, and shown as one image."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from astro_cluster.plotting.parts import axes_of

__all__ = ["GAP", "WIDTH", "Page", "in_pixels"]

WIDTH = 7.1  # inches: both columns of a journal
GAP = 0.04  # inches between pictures
_INCH = 300  # pixels


def in_pixels(height: float, width: float) -> tuple[int, int]:
    """Return the pixels that a picture has on a page.

    Parameters
    ----------
    height, width : float
        Of the picture in inches.

    Returns
    -------
    tuple of two int

    Examples
    --------
    >>> in_pixels(0.5, 1.0)
    (150, 300)
    """
    return max(round(height * _INCH), 1), max(round(width * _INCH), 1)


class Page:
    """A white page on which pictures are laid.

    Parameters
    ----------
    height : float
        In inches.
    """

    def __init__(self, height: float) -> None:
        self.height = float(height)
        pixels = round(height * _INCH) + 1, round(WIDTH * _INCH)
        self.canvas = np.full((*pixels, 3), 255, np.uint8)

    def paste(self, picture: np.ndarray, top: float, left: float) -> None:
        """Lay a picture on the page.

        Parameters
        ----------
        picture : (h, w, 3) array of uint8
            What rounding leaves beyond the page is cut.
        top, left : float
            Where its upper left corner is, in inches.

        Examples
        --------
        >>> page = Page(1.0)
        >>> page.paste(np.zeros((3, 3, 3), np.uint8), 0.5, 1.0)
        >>> int((page.canvas == 0).all(axis=2).sum())
        9
        """
        row, column = round(top * _INCH), round(left * _INCH)
        place = self.canvas[row : row + picture.shape[0], column : column + picture.shape[1]]
        place[:] = picture[: place.shape[0], : place.shape[1]]

    def show(self, ax: Axes | None) -> Axes:
        """Draw the page into axes whose coordinates are inches, counted downwards.

        Parameters
        ----------
        ax : `~matplotlib.axes.Axes` or None
            Where to draw; axes of its own size if None.

        Returns
        -------
        `~matplotlib.axes.Axes`

        Examples
        --------
        >>> [float(end) for end in Page(2.0).show(None).get_ylim()]
        [2.0, 0.0]
        """
        _, ax = axes_of(ax, (WIDTH, self.height + 0.1))
        ax.imshow(self.canvas, extent=(0, WIDTH, self.height, 0), aspect="auto")
        ax.set_box_aspect(self.height / WIDTH)
        ax.set(xlim=(0, WIDTH), ylim=(self.height, 0))
        ax.set_axis_off()
        return ax
