"""New rows on a map that is there already."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import QTable, Table

from astro_cluster.embedding.facts import embedding_records
from astro_cluster.embedding.inputs import Inputs, inputs_of
from astro_cluster.embedding.likeness import check_same_grid, conditioned_of
from astro_cluster.embedding.named import Model
from astro_cluster.embedding.protocol import stem_of, takes_of
from astro_cluster.exceptions import InputError
from astro_cluster.features import Features, FittedFeatures, as_features
from astro_cluster.provenance import content_hash, decode
from astro_cluster.tables import as_qtable, float_values

__all__ = ["Placed", "placed"]

_TOLERANCE = 1e-3  # of the spread of a coordinate, within which a model that is fitted again is the same


@dataclass(frozen=True)
class Placed:
    """A model that knows a map, and the new rows.

    Parameters
    ----------
    model : Model
        The model with the map.
    inputs : Inputs
        What it is given of the new rows.
    reference : dict
        Which table the map is from, for the record.
    """

    model: Model
    inputs: Inputs
    reference: dict[str, Any]


def placed(
    table: QTable,
    model: Model,
    onto: QTable | Table | str | os.PathLike[str],
    *,
    prefix: str = "",
    column: str | None = None,
    features: Features | str | Iterable[str] | None = None,
    missing: str | None = None,
    redshift: str | None = None,
) -> Placed:
    """Return a model that places the rows of a table on the map of another.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        New rows.
    model : Model
        What kind of map is meant.
    onto : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        Table with the coordinates and with what they were made from.
    prefix : str, optional
        Which of several maps.
    column, features, missing, redshift : optional
        As in `embed`; needed only if the table has no record.

    Returns
    -------
    Placed

    Raises
    ------
    InputError
        If there is no such map, or the features are not those of the map.
    """
    known = as_qtable(onto)
    stem = stem_of(model.estimator)
    if hasattr(model.estimator, "save") and "checkpoint" in inspect.signature(model.estimator.fit).parameters:
        raise InputError(
            "onto= is for maps that are made anew from a table; an autoencoder is kept in a file: save it "
            "(save='model.safetensors') and give that file as the model"
        )
    record = _record(known, stem, prefix)
    given = {"column": column, "features": features, "missing": missing}
    recipe = None
    if record is None:
        columns = _unrecorded(known, stem, prefix, given)
    else:
        columns, recipe = record["embedding"]["columns"], _recipe(record, known, features)
        given = _agreed(record, given)
        model = _recorded_model(record, model)
    takes = takes_of(model.estimator)
    words = {"redshift": redshift, "conditioned": conditioned_of(model.estimator)}
    old = inputs_of(known, takes, recipe=recipe, **given, **words)
    if recipe is None and old.recipe is not None:
        recipe = old.recipe
    Y = _coordinates(known, columns)
    have = np.isfinite(Y).all(axis=1)[old.usable]
    if not have.any():
        raise InputError(f"no row of the table to place onto has coordinates in {', '.join(columns)}")
    old = old if have.all() else old.only(have)
    _teach(model.estimator, old, Y[old.usable])
    if recipe is not None:
        given["features"] = None
    new = inputs_of(table, takes, recipe=recipe, like=old, **given, **words)
    if old.spectra is not None and new.spectra is not None:
        check_same_grid(new.spectra.grid, old.spectra.grid, "the map has been made")
    if new.X.shape[1:] != old.X.shape[1:]:
        raise InputError(
            f"the images have the shape {_shape(new)}, those of the map {_shape(old)}; read them with the "
            "same size (read_cutouts(…, size=…))"
        )
    used = list(dict.fromkeys([*old.columns, *columns]))
    path = os.fspath(onto) if isinstance(onto, (str, os.PathLike)) else None
    return Placed(
        Model(model.estimator, fitted=True, recorded=model.recorded),
        new,
        {"path": path, "hash": content_hash(known, used), "rows": len(old.X), "columns": list(columns)},
    )


def _shape(inputs: Inputs) -> str:
    return " × ".join(map(str, inputs.facts["images"]["shape"])) if "images" in inputs.facts else "flat"


def _record(known: QTable, stem: str, prefix: str) -> dict[str, Any] | None:
    found = embedding_records(known, stem)
    same = [record for record in found if record.get("prefix") == prefix]
    if same or not found:
        return same[-1] if same else None
    prefixes = list(dict.fromkeys(str(record.get("prefix")) for record in found))
    if len(prefixes) > 1:
        raise InputError(
            f"the table to place onto has several maps, with the prefixes {', '.join(map(repr, prefixes))}; "
            "give one of them as prefix="
        )
    return found[-1]


def _unrecorded(known: QTable, stem: str, prefix: str, given: dict[str, Any]) -> list[str]:
    """Return the columns of a map of which nothing is on record."""
    start = f"{prefix}{stem}"
    columns = [start] if start in known.colnames else []
    number = 1
    while not columns or columns[-1] != start:
        name = f"{start}_{number}"
        if name not in known.colnames:
            break
        columns.append(name)
        number += 1
    if not columns:
        raise InputError(
            f"the table to place onto has no map: neither a column {start} nor {start}_1, {start}_2; make "
            f"one with ac.embed(table, {stem!r}, …)"
        )
    if given["features"] is None and given["column"] is None:
        raise InputError(
            f"the table to place onto does not say what {', '.join(columns)} were made from (it has no "
            "record); give the same features= or column= as then"
        )
    return columns


def _recipe(
    record: dict[str, Any], known: QTable, features: Features | str | Iterable[str] | None
) -> FittedFeatures | None:
    """Return the treatment of the features that the map was made from."""
    if "recipe" not in record:
        if features is not None:
            what = "spectra" if "spectra" in record else "images"
            raise InputError(f"the map was made from {what}, not from features; leave features out")
        return None
    recipe = FittedFeatures.from_plain(decode(record["recipe"]))
    if features is not None:
        wanted = as_features(features)
        asked = wanted.fit(known, missing=recipe.missing)
        if _told(asked) != _told(recipe):
            raise InputError(
                f"the map was made from {', '.join(_told(recipe))}, and the features given are "
                f"{', '.join(_told(asked))}; leave features out, they are on record"
            )
    return recipe


def _told(recipe: FittedFeatures) -> list[str]:
    return [f"{s.name} ({s.scale})" if s.scale != "none" else s.name for s in recipe.scalings]


def _agreed(record: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the column and the policy of the map."""
    images = record.get("images", record.get("spectra"))
    if not isinstance(images, dict):
        if given["column"] is not None:
            raise InputError("the map was made from features, not from images or spectra; leave column out")
        return {"column": None, "features": None, "missing": None}
    own = record["parameters"].get("missing")
    if given["missing"] is not None and given["missing"] != own:
        raise InputError(
            f"the map was made with missing={own!r}, and missing={given['missing']!r} is given; leave it out"
        )
    return {"column": given["column"] or images.get("column"), "features": None, "missing": own}


def _recorded_model(record: dict[str, Any], model: Model) -> Model:
    from astro_cluster.embedding.named import RecordedModel

    recorded = decode(record["parameters"].get("model"))
    if not isinstance(recorded, RecordedModel):
        return model
    return RecordedModel(recorded.name, recorded.parameters).made()


def _coordinates(known: QTable, columns: list[str]) -> np.ndarray:
    found = [float_values(known[name]) for name in columns]
    return found[0] if found[0].ndim == 2 else np.column_stack(found)


def _teach(estimator: Any, old: Inputs, Y: np.ndarray) -> None:
    """Give a model the map, or fit it again and make sure that it is the map."""
    if hasattr(estimator, "set_embedding"):
        estimator.set_embedding(old.X, Y)
        return
    name = type(estimator).__name__
    if not hasattr(estimator, "transform"):
        raise InputError(f"{name} cannot place new rows (it has no transform); use 'tsne' or 'pca'")
    estimator.fit(old.X, **old.asked(estimator.fit))
    again = np.asarray(estimator.transform(old.X, **old.asked(estimator.transform)), dtype=float)
    spread = np.maximum(Y.std(axis=0), np.finfo(float).tiny)
    if again.shape != Y.shape or np.any(np.abs(again - Y) > _TOLERANCE * spread.max()):
        raise InputError(
            f"{name} fitted again to the table to place onto does not give the coordinates that stand in it: "
            "its rows are not all those that the map was made from, or values have changed. Embed both "
            "tables together"
        )
