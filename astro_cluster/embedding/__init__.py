"""Fewer coordinates of the rows of a table: PCA, t-SNE, autoencoders.

`embed` is the step; `TSNE`, `PCA`, `ConvAutoencoder` and `DenseAutoencoder` are models that it
can be given, as can any transformer of scikit-learn.  All are loaded when they are first used,
so that importing this package costs neither torch nor scikit-learn.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "ConvAutoencoder": "autoencoder",
    "DenseAutoencoder": "autoencoder",
    "Embedder": "protocol",
    "PCA": "pca",
    "TSNE": "tsne",
    "embed": "steps",
    "embedding_facts": "facts",
    "load_model": "autoencoder",
    "trustworthiness_and_continuity": "faithfulness",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
