"""All columns that the package adds to a table."""

from __future__ import annotations

from astro_cluster.columns.objects import OBJECTS
from astro_cluster.columns.pixels import PIXELS
from astro_cluster.columns.results import RESULTS
from astro_cluster.columns.spec import ColumnSpec

__all__ = ["REGISTRY"]

REGISTRY: dict[str, ColumnSpec] = OBJECTS | PIXELS | RESULTS
"""Each column by its key, which is its name unless the pattern says otherwise."""
