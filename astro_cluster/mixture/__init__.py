"""Gaussian mixtures with missing values.

This room knows arrays only, no table; it could be lifted out as a package of its own.
"""

from __future__ import annotations

from astro_cluster.mixture.estimator import GaussianMixture

__all__ = ["GaussianMixture"]
