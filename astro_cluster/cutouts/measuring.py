"""What is measured of the original pixels of image files while they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astro_cluster.cutouts.decoding import Decoder
from astro_cluster.cutouts.detecting import detections_of
from astro_cluster.cutouts.filling import Measure
from astro_cluster.cutouts.panels import Panels, is_count, panels_of
from astro_cluster.cutouts.quality import plain_level, quality_at
from astro_cluster.exceptions import InputError
from astro_cluster.filing.members import Item, read_items

__all__ = ["Measures"]

_LOOKED_AT = 16  # images of a size that tell where their stamps are


@dataclass(frozen=True, slots=True)
class Measures:
    """What is wanted.

    Parameters
    ----------
    quality : bool
        The measures of `~astro_cluster.cutouts.quality_of`.
    detect : bool
        The number of sources.
    saturation, panels, inverted : object
        As in `~astro_cluster.cutouts.quality_of`.

    Examples
    --------
    >>> Measures(True, False, None, 1, False).of_image([], Decoder())(np.zeros((8, 8)))["zero_fraction"]
    1.0
    """

    quality: bool
    detect: bool
    saturation: float | None
    panels: int | str
    inverted: bool

    def check(self) -> None:
        """Find out before the slow part what cannot be.

        Raises
        ------
        InputError
            If a parameter is wrong, or photutils is not there.
        """
        for name, given in (
            ("saturation", self.saturation is not None),
            ("panels", self.panels != 1),
            ("inverted", self.inverted),
        ):
            if given and not self.quality:
                raise InputError(f"{name} is for the quality, which quality=False leaves out")
        plain_level(self.saturation, None)
        if self.panels != "auto" and not is_count(self.panels):
            raise InputError(f"panels={self.panels!r} is no number of stamps in a row; give one, or 'auto'")
        if self.detect:
            detections_of(np.zeros((8, 8)))

    def of_image(self, items: Sequence[Item], decoder: Decoder) -> Measure | None:
        """Return what measures an image.

        Parameters
        ----------
        items : sequence of Item
            All images, some of which are read to see where their stamps are.
        decoder : Decoder
            Reads them.

        Returns
        -------
        callable or None
        """
        if not self.quality and not self.detect:
            return None
        level = plain_level(self.saturation, None)
        layouts = _layouts(items, decoder, self.panels) if self.quality and self.panels != 1 else {}

        def measure(image: np.ndarray) -> dict[str, float]:
            found: dict[str, float] = {}
            if self.quality:
                parts = layouts.get(image.shape[:2]) or panels_of(image[None], self.panels)
                found = quality_at(image, parts, saturation=level, inverted=self.inverted)
            return found | detections_of(image) if self.detect else found

        return measure


def _layouts(items: Sequence[Item], decoder: Decoder, panels: int | str) -> dict[tuple[int, ...], Panels]:
    """Return where the stamps stand in images of each size."""
    of_size: dict[tuple[int, int], list[Item]] = {}
    for item in items:
        if not item.problem:
            of_size.setdefault((item.look.height, item.look.width), []).append(item)
    layouts: dict[tuple[int, ...], Panels] = {}
    for size, group in of_size.items():
        if panels != "auto" and int(panels) > size[1]:
            continue  # which costs these images their rows
        some = group[:: -(-len(group) // _LOOKED_AT)]
        pixels = [image for item in some if (image := _lit(item, decoder, size)) is not None]
        if pixels:
            layouts[size] = panels_of(np.stack(pixels), panels)
    return layouts


def _lit(item: Item, decoder: Decoder, size: tuple[int, int]) -> np.ndarray | None:
    """Return whether the pixels of an image are 0 in all channels, as 0 and 1; None if it is broken."""
    try:
        for _, _, data in read_items([(0, item)]):
            if isinstance(data, Exception):
                return None
            image = decoder.pixels(data, item.look)
            lit = (image != 0) & ~np.isnan(image)
            lit = lit.any(axis=2) if lit.ndim == 3 else lit
            return lit.astype(np.uint8) if lit.shape == size else None
    except Exception:  # it costs its own row later, and is told then
        return None
    return None
