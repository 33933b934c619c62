"""Small images for the tests of autoencoders: ellipses of any size, turned any way."""

from __future__ import annotations

import numpy as np


def ellipses(n: int = 60, height: int = 16, width: int = 16, *, seed: int = 1) -> np.ndarray:
    """Return (n, height, width) images, float32, between 0 and 1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] - np.array([height - 1, width - 1])[:, None, None] / 2
    ratio, angle, size = (rng.uniform(*ends, n)[:, None, None] for ends in ((0.4, 1), (0, np.pi), (1, 4)))
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return np.exp(-(along**2 + (across / ratio) ** 2) / (2 * size**2)).astype(np.float32)
