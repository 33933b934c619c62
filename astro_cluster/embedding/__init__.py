"""Fewer coordinates of the rows of a table: PCA, t-SNE, autoencoders.

`embed` is the step; `TSNE`, `PCA`, `ConvAutoencoder` and `DenseAutoencoder` are models that it
can be given, as can any transformer of scikit-learn.  All are loaded when they are first used,
so that importing this package costs neither torch nor scikit-learn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astro_cluster.embedding.autoencoder import ConvAutoencoder, DenseAutoencoder, load_model
    from astro_cluster.embedding.facts import embedding_facts
    from astro_cluster.embedding.faithfulness import trustworthiness_and_continuity
    from astro_cluster.embedding.infovae import InfoVAE
    from astro_cluster.embedding.pca import PCA
    from astro_cluster.embedding.protocol import Embedder
    from astro_cluster.embedding.reconstructing import reconstruct
    from astro_cluster.embedding.steps import embed, faithfulness_of
    from astro_cluster.embedding.tsne import TSNE
    from astro_cluster.embedding.weighted_pca import WeightedPCA

_HOME = {
    "ConvAutoencoder": "autoencoder",
    "DenseAutoencoder": "autoencoder",
    "Embedder": "protocol",
    "InfoVAE": "infovae",
    "PCA": "pca",
    "PowerSpectrum": "power",
    "TSNE": "tsne",
    "WeightedPCA": "weighted_pca",
    "embed": "steps",
    "embedding_facts": "facts",
    "faithfulness_of": "steps",
    "load_model": "autoencoder",
    "reconstruct": "reconstructing",
    "trustworthiness_and_continuity": "faithfulness",
}

__all__ = [
    "PCA",
    "TSNE",
    "ConvAutoencoder",
    "DenseAutoencoder",
    "Embedder",
    "InfoVAE",
    "WeightedPCA",
    "embed",
    "embedding_facts",
    "faithfulness_of",
    "load_model",
    "reconstruct",
    "trustworthiness_and_continuity",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
