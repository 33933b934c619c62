"""Talking to the programs of the Virtual Observatory that are open on the desktop."""

from __future__ import annotations

from astro_cluster.vo.samp import send

__all__ = ["send"]
