"""Tables with known outliers for the tests of this folder."""

from __future__ import annotations

import numpy as np
from astropy.table import QTable


def sample(n: int = 400, bad: int = 20, seed: int = 1, shift: float = 4.0) -> QTable:
    """Rows of a Gaussian cloud in four dimensions, some of them moved; quality columns with gaps."""
    rng = np.random.default_rng(seed)
    spurious = np.zeros(n, dtype=bool)
    spurious[rng.choice(n, bad, replace=False)] = True
    table = QTable({"source_id": rng.permutation(n) + 5000})
    table["latent"] = rng.normal(size=(n, 4)) + shift * spurious[:, np.newaxis] * rng.choice([-1, 1], (n, 4))
    table["zero_fraction"] = np.where(spurious & (rng.uniform(size=n) < 0.5), rng.uniform(0.1, 0.5, n), 0.0)
    table["spike_power"] = rng.uniform(size=n) + 0.3 * spurious
    table["spurious"] = spurious
    return table
