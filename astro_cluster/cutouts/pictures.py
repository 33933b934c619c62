"""PNG, JPEG and TIFF by Pillow."""

from __future__ import annotations

import io
from typing import IO, Any

import numpy as np

from astro_cluster.cutouts.looking import Look

__all__ = ["look_at_picture", "pixels_of_picture"]

_FORMATS = ("PNG", "JPEG", "TIFF")
_GREY_BYTES = ("1", "L", "LA", "La")
_GREY_NUMBERS = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")


def _opened(file: IO[bytes], plane: int | None) -> Any:
    """Open a picture: Pillow reads its header now and its pixels later, and refuses bombs."""
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError:
        raise ValueError("it is no PNG, JPEG, TIFF or FITS image") from None
    pages = getattr(picture, "n_frames", 1) if picture.format == "TIFF" else 1
    if plane is not None and pages > 1:
        if not -pages <= plane < pages:
            raise ValueError(f"it has {pages} pages, and plane={plane} is none of them")
        picture.seek(plane % pages)
    return picture


def _channel(picture: Any, plane: int | None) -> int | None:
    """Return which colour is meant, if the planes of the picture are its colours."""
    if plane is None or getattr(picture, "n_frames", 1) > 1 or _is_grey(picture):
        return None
    if not -3 <= plane < 3:
        raise ValueError(f"it has 3 colours, and plane={plane} is none of them")
    return plane


def _is_grey(picture: Any) -> bool:
    if picture.mode == "P" and picture.palette is not None and picture.palette.mode == "RGB":
        colours = np.frombuffer(bytes(picture.palette.palette), np.uint8)
        colours = colours[: len(colours) // 3 * 3].reshape(-1, 3)
        return bool((colours == colours[:, :1]).all())
    return picture.mode in _GREY_BYTES or picture.mode in _GREY_NUMBERS


def look_at_picture(file: IO[bytes], *, plane: int | None = None) -> Look:
    """Read the header of a picture.

    Parameters
    ----------
    file : file
        Open at its beginning.
    plane : int, optional
        Page of a TIFF, or else colour.

    Returns
    -------
    Look

    Raises
    ------
    ValueError
        If it is no picture, has no such plane, or its size is that of a bomb.

    Examples
    --------
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (3, 2)).save(file, "PNG")
    >>> look = look_at_picture(file)
    >>> look.height, look.width, look.channels, look.is_byte
    (2, 3, 3, True)
    """
    with _opened(file, plane) as picture:
        is_grey = _is_grey(picture) or _channel(picture, plane) is not None
        return Look(picture.height, picture.width, 0 if is_grey else 3, picture.mode not in _GREY_NUMBERS)


def pixels_of_picture(data: bytes, *, plane: int | None = None) -> np.ndarray:
    """Read a picture.

    Parameters
    ----------
    data : bytes
        Its file.
    plane : int, optional
        As in `look_at_picture`.

    Returns
    -------
    (h, w) or (h, w, 3) array
        uint8; float32 or float64 if it has more than eight bits.  What is transparent keeps its colour.

    Raises
    ------
    ValueError, OSError
        If it is broken.

    Examples
    --------
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("L", (3, 2), 7).save(file, "PNG")
    >>> pixels_of_picture(file.getvalue())
    array([[7, 7, 7],
           [7, 7, 7]], dtype=uint8)
    """
    with _opened(io.BytesIO(data), plane) as picture:
        channel, is_grey = _channel(picture, plane), _is_grey(picture)
        if picture.mode in _GREY_NUMBERS:
            numbers = np.asarray(picture)
            # float32 holds whole numbers up to 2**24.
            return numbers.astype(np.float64 if picture.mode == "I" else np.float32)
        target = "L" if is_grey else "RGB"
        if picture.mode == "P" and is_grey:
            return np.asarray(picture.convert("RGB"))[..., 0].copy()
        if picture.mode in ("RGBA", "RGBa", "LA", "La"):  # what is transparent must not turn black
            pixels = np.asarray(picture)[..., : 1 if is_grey else 3]
            pixels = pixels[..., 0] if is_grey else pixels
        else:
            pixels = np.asarray(picture if picture.mode == target else picture.convert(target))
    return pixels if channel is None else pixels[..., channel]
