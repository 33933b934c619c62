"""What there is to tell artefacts by: latent coordinates and the quality of the pixels."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy.table import QTable

from astro_cluster.artefacts.tails import DIRECTIONS, Direction
from astro_cluster.columns import require
from astro_cluster.exceptions import InputError
from astro_cluster.features import Features, as_features
from astro_cluster.provenance import records
from astro_cluster.tables import float_values

__all__ = ["QUALITY", "Material", "Measure", "latent_columns", "material_of", "quality_columns"]

QUALITY: dict[str, Direction] = {
    "zero_fraction": "high",
    "nan_fraction": "high",
    "saturated_fraction": "high",
    "edge_asymmetry": "high",
    "peak_offset": "high",
    "spike_power": "high",
    "concentration": "both",
    "reconstruction_error": "high",
}
"""Quality columns that are known, and which of their values are suspicious."""

_KNOWN = re.compile(rf"(?:.+_)?({'|'.join(QUALITY)})(?:_[fF]?\d+\w?)?")  # of a panel or a filter
_LATENT = ("power", "latent", "pca")


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of each row that may tell an artefact.

    Parameters
    ----------
    name : str
        That of its column, or ``column[i]``.
    values : (n,) array of float
        NaN where there is none.
    direction : {"high", "low", "both"}
        Which values are suspicious.
    """

    name: str
    values: np.ndarray
    direction: Direction


@dataclass(frozen=True, slots=True)
class Material:
    """What there is of each row.

    Parameters
    ----------
    latent : (n, d) array of float or None
        Scaled features; NaN in rows that have none.
    measures : list of Measure
        Quality of the pixels.
    latent_columns : list of str
        Columns that the features are of.
    inputs : list of str
        Columns of the table that were used.
    """

    latent: np.ndarray | None
    measures: list[Measure]
    latent_columns: list[str]
    inputs: list[str]

    @property
    def latent_name(self) -> str:
        """What the features are called together."""
        return self.latent_columns[0] if len(self.latent_columns) == 1 else "features"

    @property
    def has_latent(self) -> np.ndarray:
        """Which rows have all features, (n,) array of bool."""
        if self.latent is None:
            return np.zeros(len(self.measures[0].values), dtype=bool)
        return ~np.isnan(self.latent).any(axis=1)

    @property
    def usable(self) -> np.ndarray:
        """Which rows have anything, (n,) array of bool."""
        found = self.has_latent
        for measure in self.measures:
            found = found | ~np.isnan(measure.values)
        return found


def latent_columns(table: QTable) -> list[str]:
    """Return the column of latent coordinates that the latest embedding has made.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.

    Returns
    -------
    list of str
        The column of the latest embedding on record that has several coordinates a row, else
        ``power``, ``latent`` or ``pca``; empty if there is none.  Never t-SNE or another map of the plane:
        what is lonely there need not be so in truth.

    Examples
    --------
    >>> latent_columns(QTable({"latent": np.zeros((3, 2)), "x": [1, 2, 3]}))
    ['latent']
    """
    for record in reversed(records(table)):
        if record["function"] == "embed":
            for name in record.get("columns_added", []):
                if name in table.colnames and len(table[name].shape) == 2:
                    return [name]
    return [name for name in _LATENT if name in table.colnames and len(table[name].shape) <= 2][:1]


def quality_columns(
    table: QTable, quality: bool | str | Iterable[str] | Mapping[str, str] = True
) -> dict[str, Direction]:
    """Return the quality columns to use, and which of their values are suspicious.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    quality : bool, str, iterable of str or mapping, optional
        True for all columns of `QUALITY` that the table has, with a prefix or an ending or
        without; False for none; names; or names with their directions.

    Returns
    -------
    dict of str to str

    Raises
    ------
    InputError
        If a column is missing or a direction is none.

    Examples
    --------
    >>> quality_columns(QTable({"zero_fraction": [0.0], "z": [6.1]}))
    {'zero_fraction': 'high'}
    >>> quality_columns(QTable({"zero_fraction": [0.0], "z": [6.1]}), {"z": "low"})
    {'z': 'low'}
    """
    if isinstance(quality, bool):
        if not quality:
            return {}
        return {
            name: QUALITY[known[1]]
            for name in table.colnames
            if (known := _KNOWN.fullmatch(name))
            and getattr(table[name], "dtype", np.dtype("O")).kind in "fiu"
        }
    if isinstance(quality, str):
        quality = [name.strip() for name in quality.split(",")]
    if isinstance(quality, Mapping):
        given = dict(quality)
    else:
        given = {name: QUALITY[known[1]] if (known := _KNOWN.fullmatch(name)) else "both" for name in quality}
    require(table, given)
    for name, direction in given.items():
        if direction not in DIRECTIONS:
            raise InputError(
                f"{direction!r} is no direction for the quality column {name!r}; give one of "
                f"{', '.join(DIRECTIONS)}"
            )
    return given  # type: ignore[return-value]


def _measures(table: QTable, directions: Mapping[str, Direction]) -> list[Measure]:
    found = []
    for name, direction in directions.items():
        values = float_values(table[name])
        if np.isinf(values).any():
            values = np.clip(values, -np.finfo(float).max, np.finfo(float).max)
        if values.ndim == 1:
            found.append(Measure(name, values, direction))
        elif values.ndim == 2:
            found += [Measure(f"{name}[{index}]", column, direction) for index, column in enumerate(values.T)]
        else:
            raise InputError(f"quality column {name!r} has shape {values.shape[1:]} a row; give numbers")
    return found


def _treatment(table: QTable, features: Any) -> Features | None:
    if features is None or (isinstance(features, str) and features == "auto"):
        names = latent_columns(table) if features is not None else []
        if not names:
            return None
        features = names
    elif not isinstance(features, Features) and not list(features):
        return None
    found = as_features(features)
    return replace(found, missing="drop") if found.missing != "drop" else found


def _without_dead(table: QTable, features: Features) -> QTable:
    """Return the table with the coordinates left out that are the same in all rows.

    Some units of an autoencoder never say anything; `Features` would refuse their column.
    """
    out = QTable(table, copy=False)
    for name in table.colnames:
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in features.columns):
            continue
        column = table[name]
        if not len(table) or getattr(column, "ndim", 1) != 2 or column.dtype.kind not in "fiu":
            continue
        values = float_values(column)
        low, high = np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0)
        if (dead := low == high).any() and not dead.all():
            out[name] = column[:, ~dead]
    return out


def material_of(
    table: QTable,
    features: Features | str | Iterable[str] | None = "auto",
    quality: bool | str | Iterable[str] | Mapping[str, str] = True,
) -> Material:
    """Return what there is to tell artefacts by.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    features : "auto", `Features`, str, iterable of str or None, optional
        Columns of coordinates; "auto" for those of the latest embedding, None for none.
    quality : bool, str, iterable of str or mapping, optional
        As for `quality_columns`.

    Returns
    -------
    Material

    Raises
    ------
    InputError
        If there is nothing, a column cannot be used, or fewer than three rows have anything.

    Examples
    --------
    >>> found = material_of(QTable({"latent": np.eye(3), "zero_fraction": [0.0, 0.0, 0.4]}))
    >>> found.latent.shape, [measure.name for measure in found.measures]
    ((3, 3), ['zero_fraction'])
    """
    latent, columns, used = None, [], []
    wanted = _treatment(table, features)
    directions = quality_columns(table, quality)
    if wanted is None and not directions:
        raise InputError(
            "there is nothing to tell artefacts by: embed the images first (embed, which makes a column "
            "such as latent) or measure their pixels (image_quality), or name columns with features= "
            "(--features) or quality= (--quality)"
        )
    if wanted is not None:
        recipe, matrix = wanted.fit_transform(_without_dead(table, wanted), missing="drop")
        latent = np.where(matrix.usable[:, np.newaxis], matrix.values, np.nan)
        columns, used = recipe.columns, recipe.inputs
    measures = [m for m in _measures(table, directions) if not np.isnan(m.values).all()]
    found = Material(latent, measures, columns, list(dict.fromkeys([*used, *directions])))
    number = int(found.usable.sum()) if latent is not None or measures else 0
    if number < 3:
        raise InputError(
            f"{number} of {len(table)} rows have features or quality columns that are not masked; at least 3 "
            "are needed"
        )
    return found
