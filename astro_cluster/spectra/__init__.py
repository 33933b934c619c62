"""Files of spectra to a table with a spectrum a row, all on one grid of wavelengths."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astro_cluster.spectra.holding import Spectra, has_spectra, pixels_of, spectra_of
    from astro_cluster.spectra.linking import link_spectra
    from astro_cluster.spectra.normalising import normalize_spectra
    from astro_cluster.spectra.reading import read_spectra
    from astro_cluster.spectra.regridding import regrid
    from astro_cluster.wavelengths import Grid, grid_of, log_grid

__all__ = [
    "Grid",
    "Spectra",
    "grid_of",
    "has_spectra",
    "link_spectra",
    "log_grid",
    "normalize_spectra",
    "pixels_of",
    "read_spectra",
    "regrid",
    "spectra_of",
]

_HOME = {
    "Grid": "astro_cluster.wavelengths",
    "Spectra": "astro_cluster.spectra.holding",
    "grid_of": "astro_cluster.wavelengths",
    "has_spectra": "astro_cluster.spectra.holding",
    "link_spectra": "astro_cluster.spectra.linking",
    "log_grid": "astro_cluster.wavelengths",
    "normalize_spectra": "astro_cluster.spectra.normalising",
    "pixels_of": "astro_cluster.spectra.holding",
    "read_spectra": "astro_cluster.spectra.reading",
    "regrid": "astro_cluster.spectra.regridding",
    "spectra_of": "astro_cluster.spectra.holding",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
