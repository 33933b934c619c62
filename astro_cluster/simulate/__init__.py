"""Honest, named simulations of the studies, for the demo, the documentation and the tests.

Nothing here is an observation.  Every table says so in its ``meta["description"]``, and the
truth about each row stands in a column of its own.
"""

from __future__ import annotations

from astro_cluster.simulate.galaxy_images import ARTEFACTS, GALAXY_TYPES, galaxies
from astro_cluster.simulate.image_files import write_strips, write_tars
from astro_cluster.simulate.quasar_files import native_grid, write_spectra
from astro_cluster.simulate.quasar_spectra import quasars
from astro_cluster.simulate.sky_mosaic import mosaic
from astro_cluster.simulate.strips_of_stamps import FILTERS, REASONS, strips
from astro_cluster.simulate.xray import chandra, simbad

__all__ = [
    "ARTEFACTS",
    "FILTERS",
    "GALAXY_TYPES",
    "REASONS",
    "chandra",
    "galaxies",
    "mosaic",
    "native_grid",
    "quasars",
    "simbad",
    "strips",
    "write_spectra",
    "write_strips",
    "write_tars",
]
