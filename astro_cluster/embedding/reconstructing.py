"""What a model makes of the spectra or images of a table, as a column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Column, QTable

from astro_cluster.columns import REGISTRY, check_free, column_name
from astro_cluster.cutouts.stack import images_of
from astro_cluster.embedding.inputs import Inputs, inputs_of
from astro_cluster.embedding.likeness import check_grid, check_scale, conditioned_of
from astro_cluster.embedding.named import make_model
from astro_cluster.embedding.protocol import takes_of
from astro_cluster.exceptions import InputError
from astro_cluster.linked import ROW_COLUMN
from astro_cluster.provenance import Step, step
from astro_cluster.tables import Source, as_qtable, derive
from astro_cluster.wavelengths import SPECTRA_KEY, spectra_facts

__all__ = ["add_reconstruction", "check_reconstructs", "reconstruct"]


@step
def reconstruct(
    table: Source,
    model: Any,
    *,
    column: str | None = None,
    redshift: str | None = None,
    prefix: str = "",
    overwrite: bool = False,
) -> Step:
    """Add what a fitted model makes of the spectra or images of a table.

    With it in the table, figures and other programs compare the two without torch.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        n rows with spectra or images.
    model : path or estimator
        A fitted model that can draw what it has embedded: the file of a saved autoencoder
        (``"model.safetensors"``), or an `InfoVAE`, a `WeightedPCA` …  For a model that is fitted on the
        way there is ``embed(table, …, reconstruction=True)``.
    column : str, optional
        Column of images or fluxes, as in `embed`.
    redshift : str, optional
        Column of redshifts, as in `embed`.
    prefix : str, optional
        Put before the new column.
    overwrite : bool, optional
        Replace a column of the same name.

    Returns
    -------
    `~astropy.table.QTable`
        The same rows with ``reconstruction``, of the shape and unit of the fluxes or images (images of
        bytes are numbers from 0 to 1), NaN in rows that cannot be used.  Pixels that are missing in the
        data are filled.

    Raises
    ------
    InputError
        If the model is not fitted or can draw nothing, has learned at other wavelengths, or no row can
        be used.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> qso = ac.embed(qso, "latent_6.safetensors")  # doctest: +SKIP
    >>> qso = ac.reconstruct(qso, "latent_6.safetensors")  # doctest: +SKIP
    >>> qso["reconstruction"].unit == qso["flux"].unit  # doctest: +SKIP
    True
    """
    table = as_qtable(table)
    made = make_model(model)
    estimator = made.estimator
    check_reconstructs(estimator)
    if not made.fitted:
        raise InputError(
            f"the {type(estimator).__name__} has learned nothing yet: give a fitted one or the file of one, "
            "or embed(table, …, reconstruction=True), which fits it and adds its reconstructions"
        )
    check_free(table, [column_name("reconstruction", prefix=prefix)], overwrite=overwrite)
    inputs = inputs_of(
        table,
        takes_of(estimator),
        column=column,
        redshift=redshift,
        conditioned=conditioned_of(estimator),
    )
    if inputs.spectra is not None:
        check_grid(estimator, inputs.spectra.grid)
        check_scale(estimator, inputs.spectra.normalized)
    out = derive(table)
    name = add_reconstruction(out, estimator, inputs, prefix=prefix)
    facts = {"rows_used": int(inputs.usable.sum()), "reconstruction": name, **inputs.facts}
    return Step(out, table, inputs=inputs.columns, facts=facts, parameters={"model": made.recorded})


def check_reconstructs(estimator: Any) -> None:
    """Make sure that a model can draw what it has embedded.

    Parameters
    ----------
    estimator : estimator
        One of ours, or any other.

    Raises
    ------
    InputError
        If it cannot.
    """
    if not hasattr(estimator, "reconstruct"):
        raise InputError(
            f"a {type(estimator).__name__} draws no spectra and no images; models that do are 'infovae' and "
            "'weighted-pca' for spectra, 'conv-autoencoder' and 'dense-autoencoder' for images"
        )


def add_reconstruction(out: QTable, estimator: Any, inputs: Inputs, *, prefix: str = "") -> str:
    """Add what a fitted model makes of its inputs to a table, in place.

    Parameters
    ----------
    out : `~astropy.table.QTable`
        The table that the inputs are of.
    estimator : estimator
        A fitted model with ``reconstruct``.
    inputs : Inputs
        What it is given.
    prefix : str, optional
        Put before the name of the column.

    Returns
    -------
    str
        Name of the column.
    """
    made = np.asarray(estimator.reconstruct(inputs.X, **inputs.asked(estimator.reconstruct)))
    full = np.full((len(out), *made.shape[1:]), np.nan, dtype=np.float32)
    full[inputs.usable] = made
    key = "image_reconstruction" if inputs.spectra is None else "reconstruction"
    name = column_name(key, prefix=prefix)
    unit = _unit(out, inputs)
    added = Column(full, copy=False) if unit is None else u.Quantity(full, unit, copy=False)
    if name in out.colnames:
        out.remove_column(name)
    out.add_column(added, name=name, copy=False)
    spec = REGISTRY[key]
    out[name].info.description = spec.description.format(method=type(estimator).__name__)
    out[name].info.meta = {"ucd": spec.ucd}
    if inputs.spectra is not None:
        _note(out, name, type(estimator).__name__)
    return name


def _unit(out: QTable, inputs: Inputs) -> u.UnitBase | None:
    if inputs.spectra is not None:
        return inputs.spectra.unit
    column = str(inputs.facts["images"]["column"])
    if column not in out.colnames and ROW_COLUMN in inputs.columns:
        # Reconstructions alone would be taken for the images of the table.
        out.add_column(Column(images_of(out, column), copy=False), name=column, copy=False)
        out[column].info.meta = {"ucd": REGISTRY["image"].ucd}
    return getattr(out[column], "unit", None)


def _note(out: QTable, name: str, model: str) -> None:
    """Say in the table that a column is one of reconstructed spectra."""
    facts = dict(spectra_facts(out) or {})
    known = facts.get("reconstructions")
    facts["reconstructions"] = {**(known if isinstance(known, Mapping) else {}), name: model}
    out.meta[SPECTRA_KEY] = facts
