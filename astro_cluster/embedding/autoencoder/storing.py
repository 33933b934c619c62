"""Fitted autoencoders in safetensors files: of images and of spectra."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astro_cluster.embedding.autoencoder.safefiles import read_header
from astro_cluster.exceptions import InputError, did_you_mean

if TYPE_CHECKING:
    from astro_cluster.embedding.autoencoder.estimator import Autoencoder
    from astro_cluster.embedding.infovae import InfoVAE

__all__ = ["load_model"]

_HOME = {
    "ConvAutoencoder": "astro_cluster.embedding.autoencoder.estimator",
    "DenseAutoencoder": "astro_cluster.embedding.autoencoder.estimator",
    "InfoVAE": "astro_cluster.embedding.infovae.estimator",
}


def load_model(path: str | os.PathLike[str], *, device: str = "cpu") -> Autoencoder | InfoVAE:
    """Return the fitted autoencoder of a file.

    The file is safetensors with plain JSON beside the weights: nothing in it is executed.  Classes,
    parameters, names and shapes are compared with what they must be before any weight is read.

    Parameters
    ----------
    path : str or path
        What the method ``save`` of such a model wrote.
    device : str, optional
        Where it is to compute: ``"cpu"``, ``"cuda"`` or ``"auto"``.

    Returns
    -------
    ConvAutoencoder, DenseAutoencoder or InfoVAE

    Raises
    ------
    InputError
        If there is no such file, it is no model of ours, it is damaged, or torch is not installed.

    Examples
    --------
    >>> model = load_model("galaxies.safetensors")  # doctest: +SKIP
    >>> latents = model.transform(images)  # doctest: +SKIP
    """
    path = Path(path)
    header = read_header(path)
    if header.get("kind") == "checkpoint":
        raise InputError(
            f"{path} is the checkpoint of a training, not a model; go on with it "
            f"(fit(images, checkpoint={str(path)!r})) and save the result"
        )
    name: Any = header.get("class")
    if header.get("kind") != "model" or not isinstance(name, str) or name not in _HOME:
        raise InputError(
            f"{path} holds a {name!r}, which is no model that can be read" + did_you_mean(name, _HOME)
        )
    return getattr(importlib.import_module(_HOME[name]), name)._from_file(path, header, device)
