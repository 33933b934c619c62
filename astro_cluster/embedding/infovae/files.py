"""A fitted `InfoVAE` in a safetensors file, with all that new spectra need to be treated the same."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from astro_cluster.embedding.autoencoder.devices import device_of, require_torch
from astro_cluster.embedding.autoencoder.fitting import (
    damage_told,
    history_from_file,
    layers_from_file,
    unfitted_from_file,
)
from astro_cluster.embedding.autoencoder.headers import finite_number, plain_value, versions
from astro_cluster.embedding.autoencoder.safefiles import check_place, write_tensors
from astro_cluster.embedding.infovae.parameters import check_parameters, plain_normalize
from astro_cluster.embedding.infovae.rows import Preparation
from astro_cluster.exceptions import InputError
from astro_cluster.wavelengths import Grid

if TYPE_CHECKING:
    from astro_cluster.embedding.infovae.estimator import InfoVAE

    Model = TypeVar("Model", bound=InfoVAE)

__all__ = ["model_from_file", "write_model"]

_MEAN = "preparation.mean"
_MOST_PIXELS = 10**6


def write_model(model: InfoVAE, path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Write a fitted model.

    Parameters
    ----------
    model : InfoVAE
        Fitted.
    path : str or path
        Where to, ending in ``.safetensors``.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    `~pathlib.Path`

    Raises
    ------
    InputError
        If the file exists, has another ending, or the disk refuses.
    NotFittedError
        Before the fit.
    """
    facts = model.facts()
    place = check_place(path, overwrite=overwrite)
    preparation = model._preparation
    parameters = {name: plain_value(value) for name, value in model.get_params(deep=False).items()}
    header = {
        "kind": "model",
        "class": type(model).__name__,
        "parameters": parameters | {"normalize": plain_normalize(model.normalize)},
        "n_pixels": model.n_features_in_,
        "normalize": preparation.how,
        "scale": preparation.scale,
        "redshift": [preparation.redshift_centre, preparation.redshift_spread],
        "grid": None if preparation.grid is None else preparation.grid.to_plain(),
        "history": facts["history"],
        "best_epoch": model.best_epoch_,
        "stopped": model.stopped_,
        "held_out_rows": model.held_out_rows_.tolist(),
        "versions": versions(),
    }
    mean = require_torch().from_numpy(np.array(preparation.mean, dtype=np.float64))
    write_tensors(place, model.layers_.state_dict() | {_MEAN: mean}, header)
    return place


def model_from_file(cls: type[Model], path: Path, header: Mapping[str, Any], device: str) -> Model:
    """Return a fitted model, if all that its file says goes together.

    Parameters
    ----------
    cls : type
        `InfoVAE`.
    path : path
        The file.
    header : mapping
        What it says, so it may be anything.
    device : str
        Where the model is to compute.

    Returns
    -------
    InfoVAE

    Raises
    ------
    InputError
        If it does not.
    """
    with damage_told(path):
        model = unfitted_from_file(cls, header, device)
        check_parameters(model.get_params(deep=False))
        n_pixels, how = header["n_pixels"], header["normalize"]
        if type(n_pixels) is not int or not 1 <= n_pixels <= _MOST_PIXELS:
            raise InputError(f"its spectra have {n_pixels!r} pixels")
        if not isinstance(how, str | None) or plain_normalize(how) == "auto":
            raise InputError(f"its spectra are normalised by {how!r}")
        centre, spread = (finite_number(value) for value in header["redshift"])
        scale = finite_number(header["scale"])
        if scale <= 0 or spread <= 0:
            raise InputError("its scale makes no sense")
        grid = None if header["grid"] is None else Grid.from_plain(header["grid"])
        if grid is not None and len(grid) != n_pixels:
            raise InputError(f"its grid has {len(grid)} wavelengths, and its spectra {n_pixels} pixels")
        history_from_file(model, header)
        make = functools.partial(model._objective, n_pixels, scale, 0)
        objective, beside = layers_from_file(path, make, beside={_MEAN: (n_pixels,)})
        mean = beside[_MEAN].numpy()
    objective.layers.to(device_of(device))
    model._take(objective, Preparation(how, float(model.softening), mean, scale, centre, spread, grid))
    model._note_judged()
    return model
