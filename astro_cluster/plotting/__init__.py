"""Figures of clustered tables, in matplotlib.

Every function draws into the axes it is given, or makes a figure of its own without
touching pyplot's state.
"""

from __future__ import annotations

from astro_cluster.plotting.choice import plot_choice
from astro_cluster.plotting.clusters import plot_clusters, plot_sky
from astro_cluster.plotting.composition import plot_types
from astro_cluster.plotting.corners import plot_corner
from astro_cluster.plotting.densities import plot_density, plot_histogram
from astro_cluster.plotting.leaking import plot_leakage
from astro_cluster.plotting.learning import plot_learning_curve
from astro_cluster.plotting.parts import PALETTE
from astro_cluster.plotting.radius import plot_radius
from astro_cluster.plotting.recall import plot_recall
from astro_cluster.plotting.reconstructions import plot_reconstructions
from astro_cluster.plotting.region import plot_region
from astro_cluster.plotting.reliability import plot_reliability
from astro_cluster.plotting.runs import plot_alluvial
from astro_cluster.plotting.sheets import plot_contact_sheet
from astro_cluster.plotting.spectra_pages import plot_spectra, plot_spectra_sheet
from astro_cluster.plotting.thumbnails import plot_thumbnails
from astro_cluster.plotting.traversals import plot_traversal
from astro_cluster.plotting.tuned import plot_tuning

__all__ = [
    "PALETTE",
    "plot_alluvial",
    "plot_choice",
    "plot_clusters",
    "plot_contact_sheet",
    "plot_corner",
    "plot_density",
    "plot_histogram",
    "plot_leakage",
    "plot_learning_curve",
    "plot_radius",
    "plot_recall",
    "plot_reconstructions",
    "plot_region",
    "plot_reliability",
    "plot_sky",
    "plot_spectra",
    "plot_spectra_sheet",
    "plot_thumbnails",
    "plot_traversal",
    "plot_tuning",
    "plot_types",
]
