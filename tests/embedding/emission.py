"""Spectra for the tests: a continuum and a line, with noise, gaps and one that could not be read."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.table import QTable

from astro_cluster.wavelengths import log_grid, note_spectra

UNIT = u.Unit("1e-17 erg / (s cm2 Angstrom)")
BAD, GAP = 5, 3  # rows


def spectra_table(n: int = 80, m: int = 96, *, seed: int = 0, noise: float = 0.05) -> QTable:
    """Return n spectra of two hidden numbers each, ``truth`` (n, 2), at very different levels."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0, 1, m)
    truth = rng.normal(size=(n, 2))
    shape = 1 + 0.3 * truth[:, :1] * np.sin(6 * x) + 0.3 * truth[:, 1:] * np.exp(-(((x - 0.5) / 0.08) ** 2))
    level = 10 ** rng.normal(0, 0.3, size=(n, 1))
    flux = level * (shape + noise * rng.normal(size=(n, m)))
    ivar = np.full((n, m), noise**-2) / level**2
    masked = rng.random((n, m)) < 0.02
    flux[masked], ivar[masked] = 1e3, 0  # cosmic rays: they keep their flux
    flux[GAP, :20], ivar[GAP, :20] = np.nan, 0
    flux[BAD], ivar[BAD] = np.nan, 0
    table = QTable(
        {
            "source_id": [f"q{i}" for i in range(n)],
            "ra": rng.uniform(100, 101, n) * u.deg,
            "dec": rng.uniform(0, 1, n) * u.deg,
            "redshift": rng.uniform(0.5, 3, n),
            "spectrum_bad": np.arange(n) == BAD,
            "truth": truth,
            "flux": flux.astype("f4") * UNIT,
            "ivar": ivar.astype("f4") / UNIT**2,
        }
    )
    note_spectra(table, log_grid(4000 * u.AA, 9000 * u.AA, m))
    return table
