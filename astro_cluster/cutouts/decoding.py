"""The pixels and the header of an image file, whatever its kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO

import numpy as np

from astro_cluster.config import conf
from astro_cluster.cutouts.fitsimage import look_at_fits, pixels_of_fits
from astro_cluster.cutouts.looking import Look
from astro_cluster.cutouts.pictures import look_at_picture, pixels_of_picture
from astro_cluster.filing.guarding import opened_if_packed, unpacked_if_packed

__all__ = ["Decoder"]

_FITS = b"SIMPLE  ="


@dataclass(frozen=True, slots=True)
class Decoder:
    """Reads image files.

    Parameters
    ----------
    hdu : int or str, optional
        HDU of a FITS file; the first with an image if not given.
    plane : int, optional
        Plane of a cube, page of a TIFF, or colour of a picture.
    wanted : tuple of str, optional
        Header keys to take; None for all.
    limit : int, optional
        Bytes that a file or its pixels may have; ``conf.max_image_bytes`` as it is now if not given.

    Examples
    --------
    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("L", (3, 2), 7).save(file, "PNG")
    >>> decoder = Decoder()
    >>> look = decoder.look("a.png", file)
    >>> decoder.pixels(file.getvalue(), look).shape
    (2, 3)
    """

    hdu: int | str | None = None
    plane: int | None = None
    wanted: tuple[str, ...] | None = ()
    limit: int = field(default_factory=lambda: int(conf.max_image_bytes))

    def look(self, name: str, file: IO[bytes]) -> Look:
        """Read the header of an image.

        Parameters
        ----------
        name : str
            Of the file.
        file : file
            Open at its beginning.

        Returns
        -------
        Look

        Raises
        ------
        ValueError
            If it is no image.
        """
        limit = self.limit
        file.seek(0)
        file = opened_if_packed(file, limit)
        # A packed file can go back, too; that costs little at its beginning.
        head = file.read(len(_FITS))
        file.seek(0)
        if head == _FITS:
            return look_at_fits(file, hdu=self.hdu, plane=self.plane, wanted=self.wanted, limit=limit)
        if not head.strip(b"\0 \n"):
            raise ValueError("it is empty")
        return _checked(look_at_picture(file, plane=self.plane), limit)

    def pixels(self, data: bytes, look: Look) -> np.ndarray:
        """Return the pixels of an image.

        Parameters
        ----------
        data : bytes
            The whole file.
        look : Look
            What `look` found.

        Returns
        -------
        (h, w) or (h, w, c) array
            uint8, float32 or float64.

        Raises
        ------
        ValueError, OSError
            If it is broken.
        """
        data = unpacked_if_packed(data, self.limit)
        if look.place is not None:
            return pixels_of_fits(data, look.place, plane=self.plane)
        return pixels_of_picture(data, plane=self.plane)


def _checked(look: Look, limit: int) -> Look:
    if (size := look.height * look.width * max(look.channels, 1)) > limit:
        raise ValueError(f"it has {size} bytes of pixels, more than conf.max_image_bytes = {limit}")
    return look
