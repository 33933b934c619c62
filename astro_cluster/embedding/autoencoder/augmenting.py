"""The eight symmetries of a square (four of a rectangle), exact, and small shifts of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from astro_cluster.exceptions import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Augmentation", "apply_symmetry", "symmetries_of"]


def symmetries_of(height: int, width: int) -> tuple[int, ...]:
    """Return the numbers of the symmetries that images of a size have.

    Parameters
    ----------
    height, width : int
        Size in pixels.

    Returns
    -------
    tuple of int
        Number s turns by (s mod 4) quarters; from 4 on the image is mirrored afterwards.

    Examples
    --------
    >>> symmetries_of(32, 32)
    (0, 1, 2, 3, 4, 5, 6, 7)
    >>> symmetries_of(32, 48)
    (0, 2, 4, 6)
    """
    return tuple(range(8)) if height == width else (0, 2, 4, 6)


def apply_symmetry(images: Tensor, symmetry: int) -> Tensor:
    """Return images turned and mirrored; pixels are moved, none is computed.

    Parameters
    ----------
    images : (..., h, w) tensor
        Images.
    symmetry : int
        One of `symmetries_of`.

    Returns
    -------
    (..., h, w) tensor

    Examples
    --------
    >>> import torch  # doctest: +SKIP
    >>> apply_symmetry(torch.tensor([[1, 2], [3, 4]]), 1)  # doctest: +SKIP
    tensor([[2, 4],
            [1, 3]])
    """
    turned = images.rot90(symmetry % 4, (-2, -1)) if symmetry % 4 else images
    return turned.flip(-1) if symmetry >= 4 else turned


@dataclass(frozen=True)
class Augmentation:
    """What may be done to an image without changing what it is of.

    Parameters
    ----------
    symmetries : sequence of int
        Those that each time one is drawn of.
    shift : int, optional
        Most pixels by which an image is moved along each axis; what comes in from outside is missing.

    Examples
    --------
    >>> choices = Augmentation((0, 2), shift=1).draw(np.random.default_rng(1), 3)
    >>> choices.shape
    (3, 3)
    """

    symmetries: Sequence[int]
    shift: int = 0

    def draw(self, generator: np.random.Generator, n: int) -> np.ndarray:
        """Draw what is done to each of n images.

        Parameters
        ----------
        generator : `~numpy.random.Generator`
            Source of chance.
        n : int
            Number of images.

        Returns
        -------
        (n, 3) array of int
            Symmetry, and pixels moved along the height and the width.
        """
        symmetry = np.asarray(self.symmetries)[generator.integers(len(self.symmetries), size=n)]
        moved = generator.integers(-self.shift, self.shift + 1, size=(n, 2))
        return np.column_stack([symmetry, moved])

    def apply(self, images: Tensor, choices: np.ndarray) -> Tensor:
        """Do to images what was drawn.

        Parameters
        ----------
        images : (m, c, h, w) tensor
            Images, which are changed in place.
        choices : (m, 3) array of int
            From `draw`.

        Returns
        -------
        (m, c, h, w) tensor
            The same; NaN where a shift brought nothing in.

        Raises
        ------
        InputError
            If a shift is as large as the image.
        """
        for symmetry in np.unique(choices[:, 0]):
            if symmetry:
                rows = np.flatnonzero(choices[:, 0] == symmetry)
                images[rows] = apply_symmetry(images[rows], int(symmetry))
        if self.shift:
            for row, (_, down, right) in enumerate(choices):
                _move(images[row], int(down), int(right))
        return images


def _move(image: Tensor, down: int, right: int) -> None:
    """Move one image (c, h, w) in place."""
    height, width = image.shape[-2:]
    if abs(down) >= height or abs(right) >= width:
        raise InputError(
            f"a shift of {max(abs(down), abs(right))} pixels moves an image of {height} × {width} away"
        )
    kept = image[:, max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)].clone()
    image.fill_(float("nan"))
    image[:, max(0, down) : height - max(0, -down), max(0, right) : width - max(0, -right)] = kept
