"""Honest, named simulations of the studies, for the demo, the documentation and the tests.

Nothing here is an observation.  Every table says so in its ``meta["description"]``, and the
truth about each row stands in a column of its own.
"""

from __future__ import annotations

from astro_cluster.simulate.strips_of_stamps import strips
from astro_cluster.simulate.xray import chandra, simbad

__all__ = ["chandra", "simbad", "strips"]
