"""Image files to a table with an image a row."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astro_cluster.cutouts.around import cutouts_from
    from astro_cluster.cutouts.detecting import image_sources
    from astro_cluster.cutouts.quality import image_quality, quality_of
    from astro_cluster.cutouts.reading import read_cutouts
    from astro_cluster.cutouts.stack import image_column, images_of, link_images, usable_images

__all__ = [
    "cutouts_from",
    "image_column",
    "image_quality",
    "image_sources",
    "images_of",
    "link_images",
    "quality_of",
    "read_cutouts",
    "usable_images",
]

_HOME = {
    "cutouts_from": "around",
    "image_column": "stack",
    "image_quality": "quality",
    "image_sources": "detecting",
    "images_of": "stack",
    "link_images": "stack",
    "quality_of": "quality",
    "read_cutouts": "reading",
    "usable_images": "stack",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
