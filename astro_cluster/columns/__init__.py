"""The one registry of the columns that the package adds to a table.

A step never writes a unit, a UCD or a description of its own: it names an entry of
`REGISTRY` and calls `add_column`.
"""

from __future__ import annotations

from astro_cluster.columns.adding import add_column, check_free, column_name, require, ucd_of, with_info
from astro_cluster.columns.registry import REGISTRY
from astro_cluster.columns.spec import ColumnSpec

__all__ = [
    "REGISTRY",
    "ColumnSpec",
    "add_column",
    "check_free",
    "column_name",
    "require",
    "ucd_of",
    "with_info",
]
