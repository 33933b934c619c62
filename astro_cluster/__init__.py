"""Groups in astronomical tables: found, named, matched and shown.

The public names are loaded when they are first used, so that ``import astro_cluster``
costs neither scikit-learn nor astroquery.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astro_cluster import embedding, otypes, plotting, recipes, simulate  # noqa: F401

_HOME = {
    "AstroClusterWarning": "exceptions",
    "ConvAutoencoder": "embedding",
    "DenseAutoencoder": "embedding",
    "Features": "features",
    "GaussianMixture": "mixture",
    "InfoVAE": "embedding",
    "InputError": "exceptions",
    "ServiceError": "exceptions",
    "TSNE": "embedding",
    "WeightedPCA": "embedding",
    "assign": "clustering",
    "assign_file": "streams",
    "calibrate": "calibrating",
    "calibration": "calibrating",
    "choose": "choosing",
    "choose_radius": "matching",
    "cluster": "clustering",
    "compare": "comparing",
    "conf": "config",
    "crossmatch": "matching",
    "cutouts_from": "cutouts",
    "embed": "embedding",
    "grid_of": "wavelengths",
    "image_quality": "cutouts",
    "image_sources": "cutouts",
    "images_of": "cutouts",
    "inspect": "summary",
    "learn": "artefacts",
    "link": "vo.session",
    "log_grid": "wavelengths",
    "moc": "vo.footprint",
    "model_table": "clustering",
    "normalize_spectra": "spectra",
    "otype_in": "otypes",
    "outliers": "relating",
    "predictability": "relating",
    "rank": "artefacts",
    "rank_correlations": "relating",
    "read": "tables",
    "read_cutouts": "cutouts",
    "read_spectra": "spectra",
    "recall_curve": "artefacts",
    "receive": "vo.receiving",
    "reconstruct": "embedding",
    "records": "provenance",
    "regions": "vo.shapes",
    "regrid": "spectra",
    "rerun": "provenance",
    "send": "vo",
    "show": "vo.display",
    "spectra_of": "spectra",
    "splits": "comparing",
    "stability": "resampling",
    "stream": "streams",
    "suggest": "artefacts",
    "summarize": "summary",
    "tune": "tuning",
    "write": "tables",
}
_MODULES = ("embedding", "otypes", "plotting", "recipes", "simulate")

__all__ = ["__version__", *sorted(_HOME), *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("astro_cluster")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
