"""Fitted models as plain numbers and as tables: never as pickles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.table import QTable
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.mixture import GaussianMixture as SklearnMixture

from astro_cluster import provenance
from astro_cluster.columns import add_column
from astro_cluster.exceptions import InputError
from astro_cluster.mixture import GaussianMixture
from astro_cluster.mixture.parameters import Parameters, full_covariances

__all__ = ["CentroidModel", "find", "from_plain", "from_table", "to_plain", "to_table"]

TABLE_KEY = "astro_cluster_model"


class CentroidModel(BaseEstimator):
    """Groups that are known by their centres: each row belongs to the nearest one.

    Parameters
    ----------
    centers : (k, d) array
        Centres in scaled features.
    """

    def __init__(self, centers: np.ndarray) -> None:
        self.centers = centers

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the number of the nearest centre.

        Parameters
        ----------
        X : (n, d) array
            Rows without missing values.

        Returns
        -------
        (n,) array of int
        """
        from sklearn.metrics import pairwise_distances_argmin

        return pairwise_distances_argmin(X, np.asarray(self.centers))


def to_plain(estimator: BaseEstimator, names: Sequence[str]) -> dict[str, Any] | None:
    """Return the numbers of a fitted model.

    Parameters
    ----------
    estimator : estimator
        After its fit.
    names : sequence of str
        Names of the features.

    Returns
    -------
    dict or None
        None if the method has no model for new rows (DBSCAN, say).
    """
    # By name: of a BisectingKMeans or a Bayesian mixture these numbers alone would assign otherwise.
    if isinstance(estimator, GaussianMixture) or type(estimator) is SklearnMixture:
        return {
            "kind": "GaussianMixture",
            "covariance_type": estimator.covariance_type,
            "features": list(names),
            "weights": np.asarray(estimator.weights_).tolist(),
            "means": np.asarray(estimator.means_).tolist(),
            "covariances": np.asarray(estimator.covariances_).tolist(),
        }
    if type(estimator) in (KMeans, MiniBatchKMeans):
        return {
            "kind": "centroids",
            "features": list(names),
            "centers": np.asarray(estimator.cluster_centers_).tolist(),
        }
    return None


def from_plain(model: dict[str, Any]) -> GaussianMixture | CentroidModel:
    """Rebuild a model from its numbers, which may come from a file.

    Parameters
    ----------
    model : dict
        What `to_plain` gave.

    Returns
    -------
    GaussianMixture or CentroidModel

    Raises
    ------
    InputError
        If the numbers are no such model.
    """
    try:
        if model["kind"] == "GaussianMixture":
            return GaussianMixture.from_parameters(
                model["weights"],
                model["means"],
                model["covariances"],
                covariance_type=model["covariance_type"],
            )
        if model["kind"] == "centroids":
            return CentroidModel(np.array(model["centers"], dtype=float))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the stored model is damaged: {error}") from error
    raise InputError(f"the stored model is of the unknown kind {model['kind']!r}")


def find(table: QTable, prefix: str | None = None) -> dict[str, Any]:
    """Return the stored model of a table: its numbers, its recipe and its prefix.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        A clustered table or a model table.
    prefix : str, optional
        Which clustering; the latest if not given.

    Returns
    -------
    dict
        With ``model``, ``recipe`` and ``prefix``.

    Raises
    ------
    InputError
        If there is no such clustering, or it has no model for new rows.
    """
    if TABLE_KEY in table.meta:
        return from_table(table)
    steps = [r for r in provenance.records(table) if r["function"] in ("cluster", "assign")]
    if not steps:
        raise InputError("the table has no clustering on record; cluster it first (ac.cluster)")
    fitting = [r for r in steps if prefix is None or r.get("prefix") == prefix]
    if not fitting:
        known = ", ".join(repr(r.get("prefix", "")) for r in steps)
        raise InputError(f"no clustering with the prefix {prefix!r} is on record; there are: {known}")
    record = fitting[-1]
    if record["function"] == "assign":
        return provenance.decode(record["parameters"]["model"])
    if "model" not in record:
        method = record["parameters"].get("estimator", {}).get("value", {}).get("name", "the method")
        raise InputError(
            f"{method} makes no model that new rows could be put into; use a mixture ('gmm') or 'kmeans'"
        )
    return {"model": record["model"], "recipe": record["recipe"], "prefix": record.get("prefix", "")}


def to_table(stored: dict[str, Any]) -> QTable:
    """Return a stored model as a table, a row a component.

    Parameters
    ----------
    stored : dict
        What `find` gives.

    Returns
    -------
    `~astropy.table.QTable`
    """
    model, table = stored["model"], QTable()
    means = np.array(model["means"] if model["kind"] == "GaussianMixture" else model["centers"], dtype=float)
    features = ", ".join(model["features"])
    add_column(table, "component", np.arange(len(means), dtype=np.int32))
    if model["kind"] == "GaussianMixture":
        add_column(table, "weight", model["weights"])
    add_column(table, "mean", means, features=features)
    if model["kind"] == "GaussianMixture":
        parameters = Parameters(
            np.array(model["weights"]), means, np.array(model["covariances"]), model["covariance_type"]
        )
        add_column(table, "covariance", np.array(full_covariances(parameters)), features=features)
    table.meta[TABLE_KEY] = {
        "kind": model["kind"],
        "covariance_type": model.get("covariance_type"),
        "features": model["features"],
        "recipe": stored["recipe"],
        "prefix": stored["prefix"],
    }
    return table


def from_table(table: QTable) -> dict[str, Any]:
    """Return the stored model of a model table.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        What `to_table` gave, perhaps after a trip through a file.

    Returns
    -------
    dict
        As `find`.

    Raises
    ------
    InputError
        If a column of it is missing.
    """
    meta = table.meta[TABLE_KEY]
    try:
        if not len(table):
            raise ValueError("it has no rows")
        means = np.asarray(table["mean"], dtype=float)
        model: dict[str, Any] = {"kind": meta["kind"], "features": meta["features"]}
        if meta["kind"] == "GaussianMixture":
            full = np.asarray(table["covariance"], dtype=float)
            kind = meta["covariance_type"]
            covariances = {
                "full": full,
                "tied": full[0],
                "diag": np.einsum("kii->ki", full),
                "spherical": full[:, 0, 0],
            }[kind]
            model |= {
                "covariance_type": kind,
                "weights": np.asarray(table["weight"], dtype=float).tolist(),
                "means": means.tolist(),
                "covariances": covariances.tolist(),
            }
        else:
            model["centers"] = means.tolist()
        return {"model": model, "recipe": meta["recipe"], "prefix": meta["prefix"]}
    except KeyError as error:
        raise InputError(f"the model table is damaged: it lacks {error}") from error
    except (TypeError, ValueError, IndexError) as error:
        raise InputError(f"the model table is damaged: {error}") from error
