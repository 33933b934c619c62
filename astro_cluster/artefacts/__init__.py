"""Which images to look at first, and what a few looks teach."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astro_cluster.artefacts.learning import learn
    from astro_cluster.artefacts.ranking import rank
    from astro_cluster.artefacts.recalling import recall_curve
    from astro_cluster.artefacts.suggesting import suggest

__all__ = ["learn", "rank", "recall_curve", "suggest"]

_HOME = {"learn": "learning", "rank": "ranking", "recall_curve": "recalling", "suggest": "suggesting"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
