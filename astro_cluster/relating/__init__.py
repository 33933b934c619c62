"""What coordinates have to do with the columns of a catalogue, and which rows stand apart."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astro_cluster.relating.apart import outliers
    from astro_cluster.relating.correlating import rank_correlations
    from astro_cluster.relating.predicting import predictability

__all__ = ["outliers", "predictability", "rank_correlations"]

_HOME = {"outliers": "apart", "predictability": "predicting", "rank_correlations": "correlating"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
