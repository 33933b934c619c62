"""Autoencoders of images: dense and convolutional, trained with torch.

Arrays only, no table: ``embed`` knows tables.  PyTorch (the extra ``torch``) is imported when a
network is made and not before.
"""

from __future__ import annotations

from astro_cluster.embedding.autoencoder.estimator import Autoencoder, ConvAutoencoder, DenseAutoencoder
from astro_cluster.embedding.autoencoder.storing import load_model

__all__ = ["Autoencoder", "ConvAutoencoder", "DenseAutoencoder", "load_model"]
