"""Spectra for the tests of this folder."""

from __future__ import annotations

import numpy as np


def lines(n: int = 60, m: int = 80, seed: int = 0, *, noise: float = 0.05) -> dict[str, np.ndarray]:
    """Return spectra of a slope and a line that moves with redshift, with errors, as `fit` takes them."""
    rng = np.random.default_rng(seed)
    wavelength = np.geomspace(4000, 8000, m)
    redshift = rng.uniform(0.0, 0.4, n)
    slope = (wavelength / 5500) ** rng.normal(-0.5, 0.5, (n, 1))
    line = rng.uniform(0.5, 2.0, (n, 1)) * np.exp(
        -0.5 * ((wavelength / (5000 * (1 + redshift[:, None])) - 1) / 0.02) ** 2
    )
    brightness = rng.uniform(3.0, 30.0, (n, 1))
    error = noise * rng.uniform(0.5, 2.0, (n, m))
    flux = brightness * (slope + line + rng.normal(size=(n, m)) * error)
    return {
        "X": flux.astype(np.float32),
        "weights": ((brightness * error) ** -2).astype(np.float32),
        "redshift": redshift,
    }
