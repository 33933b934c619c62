"""t-SNE: a map of rows in which neighbours stay neighbours."""

from __future__ import annotations

from astro_cluster.embedding.tsne.estimator import TSNE

__all__ = ["TSNE"]
