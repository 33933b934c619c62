"""Small pictures laid into a plane, without one lying on another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_rgb

__all__ = ["Plane"]

PIXELS = 2100  # across: some 350 an inch where the figure fills a page
_FRAME = 5  # pixels about a picture
_ASPECTS = (0.42, 1.2)
_MARGIN = 0.02
_HIGHEST = 0.6  # of the lowest canvas


@dataclass(frozen=True)
class Plane:
    """A canvas over a part of a plane, and the size of the pictures on it.

    Parameters
    ----------
    extent : tuple of four float
        Least and largest x, least and largest y.
    shape : tuple of two int
        Height and width in pixels.
    tile : tuple of two int
        Height and width of a picture in pixels, without its frame.
    """

    extent: tuple[float, float, float, float]
    shape: tuple[int, int]
    tile: tuple[int, int]

    @classmethod
    def around(cls, places: np.ndarray, *, same_scale: bool, width: float, aspect: float) -> Plane:
        """Return the canvas that holds all places, each with a picture about it.

        Parameters
        ----------
        places : (n, 2) array
            Finite positions.
        same_scale : bool
            Whether a length is to be the same along both axes.
        width : float
            Width of a picture as a share of the canvas.
        aspect : float
            Width over height of a picture.

        Returns
        -------
        Plane

        Examples
        --------
        >>> plane = Plane.around(np.array([[0.0, 0.0], [1.0, 1.0]]), same_scale=True, width=0.1, aspect=1.0)
        >>> plane.shape, plane.tile
        ((2100, 2100), (200, 200))
        """
        low, high = places.min(axis=0), places.max(axis=0)
        middle, spans = (low + high) / 2, high - low
        spans = np.where(spans > 0, spans, np.where(spans.max() > 0, spans.max(), 1.0))
        # A picture that is higher than wide is not to fill the canvas from bottom to top.
        width = min(width, _HIGHEST * _ASPECTS[0] * aspect)
        across = max(round(PIXELS * width) - 2 * _FRAME, 4)
        tile = (max(round(across / aspect), 2), across)
        needed = (np.array(tile[::-1]) + 2 * _FRAME) / PIXELS  # in widths of the canvas
        box = 0.8
        if same_scale:
            # Of the widths of the canvas that are not needed for the pictures at the rim.
            scale = spans[0] / (1 - needed[0] - 2 * _MARGIN)
            box = float(np.clip(spans[1] / scale + needed[1] + 2 * _MARGIN, *_ASPECTS))
        lengths = spans / (np.array([1.0, box]) - needed - 2 * _MARGIN)  # of a width of the canvas
        if same_scale:
            lengths[:] = lengths.max()
        half = lengths * np.array([1.0, box]) / 2
        extent = (middle[0] - half[0], middle[0] + half[0], middle[1] - half[1], middle[1] + half[1])
        return cls(tuple(map(float, extent)), (round(PIXELS * box), PIXELS), tile)

    @property
    def aspect(self) -> float:
        """Height over width."""
        return self.shape[0] / self.shape[1]

    def corners(self, places: np.ndarray) -> np.ndarray:
        """Return where the pictures begin.

        Parameters
        ----------
        places : (n, 2) array
            Their centres in the plane.

        Returns
        -------
        (n, 2) array of int
            Uppermost row and leftmost column of each with its frame.

        Examples
        --------
        >>> Plane((0, 10, 0, 10), (100, 100), (10, 20)).corners(np.array([[5.0, 5.0]])).tolist()
        [[40, 35]]
        """
        x0, x1, y0, y1 = self.extent
        height, width = self.shape
        across = (places[:, 0] - x0) / (x1 - x0) * width - self.tile[1] / 2 - _FRAME
        down = (y1 - places[:, 1]) / (y1 - y0) * height - self.tile[0] / 2 - _FRAME
        most = np.array(self.shape) - self.tile - 2 * _FRAME
        return np.clip(np.rint(np.column_stack([down, across])).astype(np.int64), 0, most)

    def chosen(
        self, places: np.ndarray, *, overlap: bool, most: int, groups: np.ndarray | None = None
    ) -> np.ndarray:
        """Return which pictures are shown.

        Parameters
        ----------
        places : (n, 2) array
            Their centres in the plane.
        overlap : bool
            Whether they may lie on each other.
        most : int
            How many at most.
        groups : (n,) array of int, optional
            Group of each: one of every group comes before all others, the rarest group first.

        Returns
        -------
        (m,) array of int
            The one most central in its cell of the grid first.

        Examples
        --------
        >>> plane = Plane((0, 100, 0, 100), (100, 100), (10, 10))
        >>> plane.chosen(np.array([[31.0, 30.0], [30.0, 30.0], [80.0, 80.0]]), overlap=False, most=9).tolist()
        [2, 1]
        """
        corners = self.corners(places)
        step = np.array(self.tile) + 2 * _FRAME + 2
        cells = corners // step
        order = np.argsort((((corners % step) / step - 0.5) ** 2).sum(axis=1), kind="stable")
        if groups is not None:
            _, first, sizes = np.unique(groups[order], return_index=True, return_counts=True)
            first = first[np.argsort(sizes, kind="stable")]
            order = np.concatenate([order[first], np.delete(order, first)])
        if overlap:
            return order[:most]
        taken: dict[tuple[int, int], list[np.ndarray]] = {}
        chosen: list[int] = []
        for row in order.tolist():
            i, j = cells[row].tolist()
            near = [other for a in (-1, 0, 1) for b in (-1, 0, 1) for other in taken.get((i + a, j + b), ())]
            # A cell is as large as a picture: those that could be in the way are in the cells about it.
            if near and (np.abs(np.array(near) - corners[row]) < step).all(axis=1).any():
                continue
            taken.setdefault((i, j), []).append(corners[row])
            chosen.append(row)
            if len(chosen) == most:
                break
        return np.array(chosen, np.int64)

    def canvas(self) -> np.ndarray:
        """Return an empty canvas.

        Returns
        -------
        (h, w, 4) array of uint8
            White and transparent, so that edges that are averaged later do not darken.

        Examples
        --------
        >>> Plane((0, 1, 0, 1), (2, 3), (1, 1)).canvas().shape
        (2, 3, 4)
        """
        canvas = np.full((*self.shape, 4), 255, np.uint8)
        canvas[..., 3] = 0
        return canvas

    def paste(self, canvas: np.ndarray, picture: np.ndarray, place: np.ndarray, colour: str) -> None:
        """Lay a picture with its frame on the canvas.

        Parameters
        ----------
        canvas : (h, w, 4) array of uint8
            Changed in place.
        picture : (a, b, 3) array of uint8
            As large as a tile.
        place : (2,) array
            Its centre in the plane.
        colour : str
            That of the frame.

        Examples
        --------
        >>> plane = Plane((0, 1, 0, 1), (40, 40), (10, 10))
        >>> canvas = plane.canvas()
        >>> plane.paste(canvas, np.zeros((10, 10, 3), np.uint8), np.array([0.5, 0.5]), "#FF0000")
        >>> canvas[20, 20].tolist(), canvas[20, 12].tolist(), canvas[0, 0].tolist()
        ([0, 0, 0, 255], [255, 0, 0, 255], [255, 255, 255, 0])
        """
        (top, left), (height, width) = self.corners(place[np.newaxis])[0], self.tile
        framed = canvas[top : top + height + 2 * _FRAME, left : left + width + 2 * _FRAME]
        framed[..., :3] = np.rint(255 * np.array(to_rgb(colour))).astype(np.uint8)
        framed[..., 3] = 255
        framed[_FRAME:-_FRAME, _FRAME:-_FRAME, :3] = picture
