"""Gaussian mixtures with missing values, measurement errors and weights, at speed.

This room knows arrays only, no table; it could be lifted out as a package of its own.
"""

from __future__ import annotations

from astro_cluster.mixture.degenerate import DegenerateComponentWarning
from astro_cluster.mixture.estimator import GaussianMixture
from astro_cluster.mixture.parameters import Moments
from astro_cluster.mixture.sweeping import sweep

__all__ = ["DegenerateComponentWarning", "GaussianMixture", "Moments", "sweep"]
