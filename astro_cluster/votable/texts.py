"""What of a table stands in INFO elements, under which names."""

from __future__ import annotations

from typing import Any

__all__ = ["LAYOUT", "MASKED_TEXT", "UNITS", "VERSIONS", "public"]

VERSIONS = ("1.4", "1.5")
LAYOUT = "astro_cluster_mixins"
UNITS = "astro_cluster_units"
MASKED_TEXT = "astro_cluster_masked_text"


def public(meta: dict[str, Any] | None) -> dict[str, Any]:
    """Leave out astropy's notes on how a column stood in its last file: here it stands differently.

    Parameters
    ----------
    meta : dict or None
        Of a column.

    Returns
    -------
    dict

    Examples
    --------
    >>> public({"ucd": "pos.eq.ra", "_votable_arraysize": "*"})
    {'ucd': 'pos.eq.ra'}
    """
    return {key: value for key, value in (meta or {}).items() if not key.startswith("_votable")}
