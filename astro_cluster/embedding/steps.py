"""Fewer coordinates of the rows of a table: the step `embed`."""

from __future__ import annotations

import hashlib
import inspect
import os
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import QTable, Table

from astro_cluster.columns import REGISTRY, add_column, check_free, column_name, require
from astro_cluster.embedding.facts import judged
from astro_cluster.embedding.inputs import Inputs, Missing, checked_missing, inputs_of
from astro_cluster.embedding.likeness import check_grid, check_scale, conditioned_of
from astro_cluster.embedding.named import FILE_ENDING, Model, make_model
from astro_cluster.embedding.placing import placed
from astro_cluster.embedding.protocol import facts_of, scalars_of, stem_of, takes_of
from astro_cluster.embedding.reconstructing import add_reconstruction, check_reconstructs
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.features import Features
from astro_cluster.provenance import OMIT, Step, step
from astro_cluster.tables import PathLike, Source, as_qtable, derive, float_values

__all__ = ["embed", "faithfulness_of"]


@step
def embed(
    table: Source,
    model: Any = "tsne",
    *,
    column: str | None = None,
    features: Features | str | Iterable[str] | None = None,
    missing: Missing | None = None,
    redshift: str | None = None,
    prefix: str = "",
    random_state: int | None = None,
    onto: QTable | Table | PathLike | None = None,
    refit: bool = False,
    save: PathLike | None = None,
    checkpoint: PathLike | None = None,
    progress: Callable[..., Any] | bool | None = None,
    faithfulness: bool = True,
    reconstruction: bool = False,
    overwrite: bool = False,
    **parameters: Any,
) -> Step:
    """Give the rows of a table, or their images or spectra, a few coordinates.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        n rows.
    model : str, path or estimator, optional
        ``"tsne"`` (a map to look at), ``"pca"``, ``"autoencoder"`` (of images; the same as
        ``"conv-autoencoder"``), ``"dense-autoencoder"``, ``"infovae"`` (of spectra),
        ``"weighted-pca"`` (of spectra, their errors and missing pixels too), or the name of a
        decomposition or manifold of scikit-learn (``"FastICA"``, ``"Isomap"`` …); the file of a saved
        autoencoder (``"model.safetensors"``); or an instance of any of these or of another transformer,
        which is not changed: a copy of it is fitted, while one that has been fitted only transforms.
    column : str, optional
        Column of images, (n, h, w) or (n, h, w, c), whose pixels are embedded; or the fluxes of the
        table's spectra, if it has images too.
    features : `Features`, str or iterable of str, optional
        Columns of numbers to embed, as in `cluster`.  If neither is given, the images if there are
        any, else the spectra.
    missing : {"drop", "median", "zero", "mean"}, optional
        What to do with missing values.  Features: leave such rows out (masked; the default) or put
        the column's median.  NaN pixels: leave such images out, those with infinite ones too, or put
        0 or the mean of this pixel in the other images.  By default autoencoders leave such pixels out
        of what they learn from, and other models refuse them.  Pixels of spectra that do not count: the
        same; models that know of no weights get the mean by default, at the level of the spectrum.
    redshift : str, optional
        Column of redshifts for a model with ``conditioned=True``; ``redshift``, ``Z`` or ``z`` if not
        given.
    prefix : str, optional
        Put before the new columns, so that several runs stand side by side.
    random_state : int, optional
        Seed; overrides the model's own.  Without any seed one is drawn and recorded; with
        ``checkpoint`` it follows from the name of that file, so that the same call goes on with it.
    onto : `~astropy.table.QTable`, `~astropy.table.Table`, str or path, optional
        A table that was embedded before: its rows stay where they are, and those of ``table``
        are placed on the same map, by the same treatment of the same features.
    refit : bool, optional
        Fit a model to this table although it has been fitted.
    save : str or path, optional
        Of autoencoders: a file, ending in ``.safetensors``, to keep the fitted model in.
    checkpoint : str or path, optional
        Of autoencoders: a file to keep the training in while it runs; it goes on from there if the
        file is there.
    progress : callable or bool, optional
        Of models that can tell how they are getting on: whether to show it, or a function to call.
        By default a line is shown on a terminal if it takes long.
    faithfulness : bool, optional
        Whether to measure how far neighbours among the coordinates are neighbours in what was
        embedded, and the other way round.
    reconstruction : bool, optional
        Of autoencoders and models of spectra: whether to add what the model makes of each spectrum or
        image, as `reconstruct` does.
    overwrite : bool, optional
        Replace columns of the same names, and the file of ``save``.
    **parameters
        Parameters of a model given by name: ``perplexity=50``, ``n_components=10``, ``epochs=200`` …

    Returns
    -------
    `~astropy.table.QTable`
        The same rows with ``tsne_1``, ``tsne_2``; or ``pca``, ``latent`` (n, d), of other models a
        column named after them; of autoencoders also ``reconstruction_error``, of models of spectra
        ``reconstruction_chi2`` too.  Masked in rows that could not be used.  What the model tells
        of its fit is on record (`records`, `~astro_cluster.embedding.embedding_facts`):
        ``trustworthiness`` and ``continuity``, and what applies of ``kl_divergence``,
        ``explained_variance``, ``held_out_loss``, ``held_out_chi2``, ``history`` …

    Raises
    ------
    InputError
        If no row can be used, the model is unknown or cannot take what it is given, a new
        column's name is taken, the map to place onto is not one of the same features, or a fitted model
        has learned from spectra on other wavelengths.
    KeyboardInterrupt
        If the fit is stopped.  With ``checkpoint`` a note says where it is kept.

    Notes
    -----
    t-SNE keeps neighbours together; distances between groups and the sizes of groups on its map
    mean nothing, and it makes gaps where there are none.  Find clusters in the features or in latent
    coordinates, and look at them on the map.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> cat = ac.simulate.chandra(200, random_state=1)
    >>> out = ac.embed(cat, "pca", features=ac.Features("hard_*", scale="standard"), n_components=2)
    >>> out["pca"].shape, out["pca"].info.meta["ucd"]
    ((200, 2), 'stat.param;meta.modelled')
    """
    table = as_qtable(table)
    checked_missing(missing)
    if onto is not None and (refit or parameters):
        raise InputError(
            "onto= places rows on a map as it is: leave "
            f"{', '.join([*(['refit'] if refit else []), *parameters])} out"
        )
    made = make_model(
        model, random_state=random_state, refit=refit, parameters=parameters, drawn=_drawn(checkpoint)
    )
    _check_options(made, save=save, checkpoint=checkpoint, overwrite=overwrite)
    expected = _expected(made.estimator, prefix)
    if reconstruction:
        check_reconstructs(made.estimator)
        expected.append(column_name("reconstruction", prefix=prefix))
    check_free(table, expected, overwrite=overwrite)
    facts: dict[str, Any] = {}
    if onto is not None:
        given = {"column": column, "features": features, "missing": missing, "redshift": redshift}
        known = placed(table, made, onto, prefix=prefix, **given)
        made, inputs, facts["reference"] = known.model, known.inputs, known.reference
    else:
        inputs = inputs_of(
            table,
            takes_of(made.estimator),
            column=column,
            features=features,
            missing=missing,
            redshift=redshift,
            conditioned=conditioned_of(made.estimator),
        )
        _check_inputs(made, inputs, missing)
        made = _settled(made, inputs)
    began = time.perf_counter()
    Y, errors = _run(made, inputs, checkpoint=checkpoint, progress=progress)
    seconds = time.perf_counter() - began
    out = derive(table)
    columns = _add(out, made.estimator, inputs, Y, errors, prefix=prefix, overwrite=overwrite)
    if reconstruction:
        add_reconstruction(out, made.estimator, inputs, prefix=prefix)
    told = {"model": made.recorded.name, "stem": stem_of(made.estimator), "columns": columns}
    told |= {"dimensions": int(Y.shape[1]), "fitted_here": not made.fitted}
    told |= _facts(made, inputs, errors)
    if faithfulness and "trustworthiness" not in told:
        told |= judged(inputs.compared(), Y, inputs.complete)
    told |= {"seconds": round(seconds, 3)}
    if save is not None:
        told["saved"] = _saved(made.estimator, save, overwrite=overwrite)
    facts |= {"prefix": prefix, "rows_used": int(inputs.usable.sum()), "embedding": told, **inputs.facts}
    # The model in full stands for the name and the parameters that it was made of; where the fit is
    # kept and how it was followed changes nothing.
    left_out = dict.fromkeys([*parameters, "random_state", "refit", "save", "checkpoint", "progress"], OMIT)
    seed = made.recorded.parameters.get("random_state")
    return Step(
        out,
        table,
        inputs=inputs.columns,
        seed=seed if isinstance(seed, (int, np.integer)) and not made.fitted else None,
        facts=facts,
        parameters={**left_out, "model": made.recorded},
    )


def _facts(made: Model, inputs: Inputs, errors: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return what a model says of its fit, and of spectra how well it draws those of the table."""
    told = {} if made.fitted and inputs.spectra is None else facts_of(made.estimator)
    if made.fitted:
        told.pop("history", None)  # which is in the model's file, or on record where it was fitted
    chi2 = errors.get("reconstruction_chi2", np.empty(0))
    if np.isfinite(chi2).any():
        told["median_chi2"] = float(np.nanmedian(chi2))
    return told


def _drawn(checkpoint: PathLike | None) -> int | None:
    """Return a seed that the same call finds again, so that it can go on with its checkpoint."""
    return None if checkpoint is None else zlib.crc32(Path(checkpoint).name.encode()) % 2**31


def _check_options(
    made: Model, *, save: PathLike | None, checkpoint: PathLike | None, overwrite: bool
) -> None:
    """Make sure, before the slow part, that what is asked for besides can be had."""
    name = type(made.estimator).__name__
    if save is not None:
        if not hasattr(made.estimator, "save"):
            raise InputError(
                f"a {name} cannot be saved: leave save out; its record makes it again (rerun), and new rows "
                "are placed by onto="
            )
        path = Path(save)
        if path.suffix != FILE_ENDING:
            raise InputError(f"a model is saved in a file that ends in {FILE_ENDING}, not {path.name!r}")
        if path.exists() and not overwrite:
            raise InputError(
                f"{path} exists already; give --overwrite (in Python overwrite=True) to replace it"
            )
        if not path.parent.is_dir():
            raise InputError(f"there is no folder {path.parent} to write {path.name} into")
    if checkpoint is not None:
        if save is not None and Path(save).resolve() == Path(checkpoint).resolve():
            raise InputError(f"save and checkpoint are the same file {save}; give two names")
        if "checkpoint" not in _fit_options(made.estimator):
            raise InputError(f"a {name} keeps no checkpoint; leave checkpoint out")
        if made.fitted:
            raise InputError(
                "a model that has been fitted is not trained again, so checkpoint has no meaning"
            )
        if not Path(checkpoint).parent.is_dir():
            raise InputError(
                f"there is no folder {Path(checkpoint).parent} to write {Path(checkpoint).name} into"
            )


def _fit_options(estimator: Any) -> set[str]:
    return set(inspect.signature(estimator.fit).parameters)


def _expected(estimator: Any, prefix: str) -> list[str]:
    """Return the names of the columns to come, as far as they are known before the fit."""
    number = estimator.get_params(deep=False).get("n_components", 2)
    known = number if isinstance(number, (int, np.integer)) else 2
    names = _names(estimator, prefix, int(known))
    if hasattr(estimator, "reconstruction_errors"):
        keys = _ERRORS.values() if takes_of(estimator) == "spectra" else ["reconstruction_error"]
        names += [column_name(key, prefix=prefix) for key in keys]
    return names


# What a model of spectra calls its errors, and what is kept of them.
_ERRORS = {"mse": "spectrum_error", "chi2": "reconstruction_chi2"}


def _names(estimator: Any, prefix: str, number: int) -> list[str]:
    stem = stem_of(estimator)
    if scalars_of(estimator):
        return [f"{prefix}{stem}_{index}" for index in range(1, number + 1)]
    return [f"{prefix}{stem}"]


def _check_inputs(made: Model, inputs: Inputs, missing: str | None) -> None:
    name = type(made.estimator).__name__
    if not made.fitted:
        if len(inputs.X) < 2:
            raise InputError(f"1 row is usable; {name} needs at least 2 to learn from")
        return
    if inputs.spectra is not None:
        check_grid(made.estimator, inputs.spectra.grid)
        check_scale(made.estimator, inputs.spectra.normalized)
    if missing == "mean" or (inputs.spectra is not None and inputs.spectra.facts.get("filled") == "mean"):
        what = "images" if inputs.spectra is None else "spectra"
        raise InputError(
            f"the {name} has been fitted, and missing='mean' would put the mean of the new {what}, not of "
            "those that it has learned from; use 'zero' or 'drop'"
        )
    if inputs.recipe is not None and any(s.scale != "none" for s in inputs.recipe.scalings):
        warnings.warn(
            f"the {name} has been fitted, and the scales of the features are those of this table: they have "
            "to be the same as when it was fitted. embed(new, onto=old) sees to that",
            AstroClusterWarning,
            stacklevel=5,
        )


def _settled(made: Model, inputs: Inputs) -> Model:
    """Return a model that does not normalise spectra which are normalised already."""
    estimator = made.estimator
    if made.fitted or inputs.spectra is None or not inputs.spectra.normalized:
        return made
    auto = estimator.get_params(deep=False).get("normalize") == "auto"
    if not auto or "normalized" in _fit_options(estimator):
        return made
    estimator.set_params(normalize=None)
    recorded = replace(made.recorded, parameters={**made.recorded.parameters, "normalize": None})
    return replace(made, recorded=recorded)


def _run(
    made: Model, inputs: Inputs, *, checkpoint: PathLike | None, progress: Any
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return coordinates and, of an autoencoder, errors of reconstruction; complaints in our words."""
    estimator, name = made.estimator, type(made.estimator).__name__
    given = {"checkpoint": None if checkpoint is None else os.fspath(checkpoint), "progress": progress}
    options = {k: v for k, v in given.items() if v is not None and k in _fit_options(estimator)}
    options |= inputs.asked(estimator.fit)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if made.fitted:
                Y = estimator.transform(inputs.X, **inputs.asked(estimator.transform))
            elif hasattr(estimator, "transform") and options:
                estimator.fit(inputs.X, **options)
                Y = estimator.transform(inputs.X, **inputs.asked(estimator.transform))
            else:
                Y = estimator.fit_transform(inputs.X)
        except InputError:
            raise
        except ValueError as error:
            what = "used" if made.fitted else "fitted"
            raise InputError(f"{name} cannot be {what}: {' '.join(str(error).split())}") from error
    _pass_on(caught, name)
    Y = np.asarray(Y)
    if Y.ndim == 1:
        Y = Y[:, np.newaxis]
    if Y.ndim != 2 or len(Y) != len(inputs.X):
        raise InputError(
            f"{name} gave an array of shape {Y.shape} for {len(inputs.X)} rows; a model has to give a row of "
            "coordinates for each"
        )
    Y = Y if Y.dtype.kind == "f" else Y.astype(float)
    return Y, _errors(estimator, inputs)


def _errors(estimator: Any, inputs: Inputs) -> dict[str, np.ndarray]:
    """Return the errors of reconstruction by the entries of the registry that are for them."""
    method = getattr(estimator, "reconstruction_errors", None)
    if method is None:
        return {}
    found = method(inputs.X, **inputs.asked(method))
    if not isinstance(found, Mapping):
        return {"reconstruction_error": np.asarray(found)}
    return {key: np.asarray(found[word]) for word, key in _ERRORS.items() if word in found}


def _pass_on(caught: list[warnings.WarningMessage], name: str) -> None:
    from scipy.sparse import SparseEfficiencyWarning
    from sklearn.exceptions import ConvergenceWarning

    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            warnings.warn(
                f"{name} did not converge: raise max_iter (on the command line --param max_iter=…)",
                AstroClusterWarning,
                stacklevel=5,
            )
        elif warning.category is UserWarning:
            warnings.warn(f"{name}: {warning.message}", AstroClusterWarning, stacklevel=5)
        elif not issubclass(warning.category, SparseEfficiencyWarning):  # which is for the method's author
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _add(
    out: QTable,
    estimator: Any,
    inputs: Inputs,
    Y: np.ndarray,
    errors: dict[str, np.ndarray],
    *,
    prefix: str,
    overwrite: bool,
) -> list[str]:
    """Add the coordinates of all rows, masked where there are none, and return the columns' names."""
    name = type(estimator).__name__
    full = np.full((len(out), Y.shape[1]), np.nan, dtype=Y.dtype)
    full[inputs.usable] = Y
    mask = ~np.isfinite(full).all(axis=1)
    names = _names(estimator, prefix, Y.shape[1])
    check_free(out, names, overwrite=overwrite)
    stem = stem_of(estimator)
    key = stem if stem in REGISTRY and stem in ("tsne", "pca", "latent") else "embedding"
    if scalars_of(estimator):
        for index, column in enumerate(names):
            words = {"index": index + 1} if key == "tsne" else {"method": f"{name}, coordinate {index + 1}"}
            add_column(out, key, full[:, index], name=column, mask=mask, **words)  # type: ignore[arg-type]
    else:
        add_column(out, key, full, name=names[0], mask=mask, method=name)
    for key, values in errors.items():
        all_errors = np.full(len(out), np.nan)
        all_errors[inputs.usable] = values
        add_column(out, key, all_errors, prefix=prefix, mask=np.isnan(all_errors), method=name)
    return names


def _saved(estimator: Any, save: PathLike, *, overwrite: bool) -> dict[str, str]:
    path = Path(estimator.save(save, overwrite=overwrite))
    return {"file": path.name, "hash": "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()}


def faithfulness_of(
    table: Source,
    embedding: str | Iterable[str] = "tsne",
    *,
    column: str | None = None,
    features: Features | str | Iterable[str] | None = None,
    missing: Missing | None = None,
    n_neighbors: int | None = None,
    sample: int | None = 2000,
) -> tuple[float, float]:
    """Return how faithful coordinates in a table are to features or images in it.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        n rows.
    embedding : str or iterable of str, optional
        The coordinates: a column (n, d), several columns, or the stem of ``stem_1``, ``stem_2`` ….
    column, features, missing : optional
        What they are compared with, as in `embed`; spectra each over its own level, unless they are
        normalised.
    n_neighbors : int, optional
        Neighbours that are compared; 15, or as many as the rows allow.
    sample : int, optional
        Rows that are looked at, at most; all if None.

    Returns
    -------
    trustworthiness, continuity : float
        How far neighbours among the coordinates are neighbours in the features, and how far
        neighbours in the features are neighbours among the coordinates: 1 at best, about 0.5 by chance.

    Raises
    ------
    InputError
        If there are no such coordinates, or too few rows have both.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> cat = ac.embed(ac.simulate.chandra(200, random_state=1), "pca", features="hard_*", n_components=2)
    >>> trust, kept = faithfulness_of(cat, "pca", features="hard_*")
    >>> trust > 0.95 and kept > 0.95
    True
    """
    from astro_cluster.embedding.faithfulness import most_neighbours, trustworthiness_and_continuity

    table = as_qtable(table)
    names = _coordinate_columns(table, embedding)
    inputs = inputs_of(table, "rows", column=column, features=features, missing=missing)
    found = [float_values(table[name]) for name in names]
    Y = np.column_stack([part.reshape(len(table), -1) for part in found])[inputs.usable]
    X, both = inputs.rows(), np.isfinite(Y).all(axis=1)
    if inputs.spectra is not None:
        X = inputs.spectra.levelled(X)
    if not both.all():
        X, Y = X[both], Y[both]
    most = most_neighbours(len(X))
    if most < 1:
        raise InputError(
            f"{len(X)} rows have both the coordinates and what they are compared with; 3 are needed at least"
        )
    k = min(15, most) if n_neighbors is None else n_neighbors
    return trustworthiness_and_continuity(X, Y, n_neighbors=k, sample=sample)


def _coordinate_columns(table: QTable, embedding: str | Iterable[str]) -> list[str]:
    if not isinstance(embedding, str):
        return require(table, embedding)
    if embedding not in table.colnames and f"{embedding}_1" in table.colnames:
        names = [f"{embedding}_{index}" for index in range(1, len(table.colnames) + 1)]
        return [name for name in names if name in table.colnames]
    return require(table, embedding)
