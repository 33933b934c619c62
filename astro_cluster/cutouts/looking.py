"""What is known of an image before its pixels are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from astro_cluster.filing.headers import Header

__all__ = ["Look"]


@dataclass(slots=True)
class Look:
    """An image as its header describes it.

    Parameters
    ----------
    height, width : int
        Pixels.
    channels : int
        0 for a grey image, else values a pixel.
    is_byte : bool
        Whether the pixels are whole numbers from 0 to 255.
    header : dict
        Header keys that are wanted.
    place : object, optional
        Where the pixels are, for the reader of this kind.
    """

    height: int
    width: int
    channels: int
    is_byte: bool
    header: Header = field(default_factory=dict)
    place: Any = None
