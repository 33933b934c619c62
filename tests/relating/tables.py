"""Tables whose truth is known."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.table import MaskedColumn, QTable


def quasars(n: int = 400, seed: int = 1) -> QTable:
    """Latents, of which the first is a function of the redshift and the second of a class."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(1.9, 3.5, n)
    is_bal = rng.random(n) < 0.2
    latent = rng.normal(size=(n, 4))
    latent[:, 0] = 2 * (z - 2.7) + 0.1 * rng.normal(size=n)
    latent[:, 1] += 3 * is_bal
    table = QTable({"source_id": [f"{4000 + i}-55555-{i:04d}" for i in range(n)]})
    table["latent"] = latent
    table["reconstruction_chi2"] = rng.chisquare(900, n) / 900
    table["Z"] = z
    table["M_I"] = (-27 + rng.normal(size=n)) * u.mag
    table["is_bal"] = is_bal
    table["kind"] = np.where(is_bal, "BAL", "QSO")
    table["MJD"] = rng.integers(55000, 58000, n)
    table["BI_CIV"] = MaskedColumn(np.where(is_bal, rng.exponential(900, n), 0.0), mask=np.arange(n) % 7 == 3)
    return table


def repeated(table: QTable, times: int) -> QTable:
    """Return each row so often, as a match with several counterparts does."""
    return table[np.repeat(np.arange(len(table)), times)]
