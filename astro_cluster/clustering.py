"""Groups in a table: `cluster` finds them, `assign` puts new rows into them."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from astropy.table import QTable, Table
from sklearn.base import BaseEstimator
from sklearn.cluster import HDBSCAN
from sklearn.exceptions import ConvergenceWarning

from astro_cluster import models
from astro_cluster.columns import add_column, check_free, column_name
from astro_cluster.estimators import default_missing, make_estimator
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.features import FeatureMatrix, Features, FittedFeatures, Missing, as_features
from astro_cluster.mixture import GaussianMixture
from astro_cluster.provenance import OMIT, Step, step
from astro_cluster.tables import PathLike, Source, as_qtable, derive

__all__ = ["assign", "cluster", "model_table"]


@step
def cluster(
    table: Source,
    estimator: BaseEstimator | str = "gmm",
    *,
    features: Features | str | Iterable[str],
    missing: Missing | None = None,
    prefix: str = "",
    random_state: int | None = None,
    overwrite: bool = False,
    **parameters: Any,
) -> Step:
    """Find groups in a table.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        n rows.
    estimator : estimator or str, optional
        Our `GaussianMixture`, any scikit-learn clusterer or mixture, or the name of one:
        ``"gmm"``, ``"kmeans"``, ``"dbscan"``, ``"hdbscan"``, ``"AgglomerativeClustering"`` …
        An estimator given is not changed; a copy of it is fitted.
    features : `Features`, str or iterable of str
        What to cluster in: ready features such as ``ac.recipes.CSC2``, or names and patterns.
    missing : {"marginalize", "drop", "median"}, optional
        What to do with missing values.  By default our mixture marginalizes: it integrates
        them out and every row gets a membership; for other methods such rows are left out
        (masked).
    prefix : str, optional
        Put before the new columns, so that several runs stand side by side.
    random_state : int, optional
        Seed; overrides the estimator's own.  Without any seed one is drawn and recorded.
    overwrite : bool, optional
        Replace columns of the same names.
    **parameters
        Parameters of an estimator given by name: ``n_components=6``, ``eps=0.4`` …

    Returns
    -------
    `~astropy.table.QTable`
        The same rows with the new columns ``cluster`` (-1 is noise) and, where the method
        knows them, ``prob_0`` …, ``prob_max``, ``log_density`` and ``outlier``; masked in rows
        that were not used.

    Raises
    ------
    InputError
        If the table has fewer usable rows than the method needs, a feature cannot be used,
        a new column's name is taken, or the estimator is unknown or not able to do it.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> cat = ac.simulate.chandra(300, random_state=1)
    >>> out = ac.cluster(cat, "gmm", features="hard_*", n_components=3, random_state=42)
    >>> out["prob_max"].info.meta["ucd"]
    'stat.probability;stat.max'
    """
    table = as_qtable(table)
    fitted = make_estimator(estimator, random_state=random_state, **parameters)
    if len(table) == 1:
        raise InputError("the table has 1 row; clustering needs at least 2")
    policy = missing or default_missing(fitted)
    wanted = as_features(features)
    if missing is not None and wanted.missing != missing:
        wanted = dataclasses.replace(wanted, missing=missing)
    recipe = wanted.fit(table, missing=policy)
    _check_policy(recipe, fitted)
    matrix = recipe.transform(table)
    check_free(table, _expected_columns(fitted, prefix), overwrite=overwrite)
    X = matrix.values[matrix.usable]
    _check_rows(X, fitted)
    labels = _fit(fitted, X)
    out = derive(table)
    _add_memberships(out, fitted, matrix, X, labels, prefix=prefix, overwrite=overwrite)
    seed = fitted.get_params().get("random_state")
    facts: dict[str, Any] = {
        "recipe": recipe.to_plain(),
        "prefix": prefix,
        "rows_used": int(matrix.usable.sum()),
    }
    if (model := models.to_plain(fitted, matrix.names)) is not None:
        facts["model"] = model
    # The estimator in full stands for the name and the parameters that it was made of.
    recorded = {**dict.fromkeys([*parameters, "random_state"], OMIT), "estimator": fitted, "features": wanted}
    return Step(
        out,
        table,
        inputs=recipe.columns,
        seed=seed if isinstance(seed, (int, np.integer)) else None,
        facts=facts,
        parameters=recorded,
    )


def _check_policy(recipe: FittedFeatures, estimator: BaseEstimator) -> None:
    if recipe.missing == "marginalize" and not isinstance(estimator, GaussianMixture):
        raise InputError(
            f"{type(estimator).__name__} cannot integrate missing values out; use missing='drop' or "
            "'median', or our mixture (estimator='gmm')"
        )


def _check_rows(X: np.ndarray, estimator: BaseEstimator) -> None:
    if len(X) < 2:
        raise InputError(
            f"{len(X)} row{' is' if len(X) == 1 else 's are'} usable; clustering needs at least 2. Look at "
            "the features' missing values, or use missing='median'"
        )
    parameters = estimator.get_params()
    for name in ("n_components", "n_clusters"):
        wanted = parameters.get(name)
        if isinstance(wanted, (int, np.integer)) and wanted > len(X):
            raise InputError(f"{name}={wanted} is more than the {len(X)} usable rows; ask for fewer groups")


def _expected_columns(estimator: BaseEstimator, prefix: str) -> list[str]:
    names = [column_name("cluster", prefix=prefix)]
    if hasattr(estimator, "predict_proba"):
        k = estimator.get_params().get("n_components", 0)
        if isinstance(k, (int, np.integer)):  # else the fit will complain
            names += [column_name("prob", prefix=prefix, index=i) for i in range(k)]
        names += [column_name(key, prefix=prefix) for key in ("prob_max", "log_density")]
    elif type(estimator) is HDBSCAN:
        names.append(column_name("prob_max", prefix=prefix))
    if hasattr(estimator, "tail_probability"):
        names.append(column_name("outlier", prefix=prefix))
    return names


def _fit(estimator: BaseEstimator, X: np.ndarray) -> np.ndarray:
    """Fit and return the labels, complaints of scikit-learn in our words."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            labels = np.asarray(estimator.fit_predict(X))
        except ValueError as error:
            raise InputError(f"{type(estimator).__name__} cannot be fitted: {error}") from error
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            warnings.warn(
                f"{type(estimator).__name__} did not converge: raise max_iter (on the command line "
                "--max-iter) or look for degenerate features",
                AstroClusterWarning,
                stacklevel=4,
            )
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return labels


def _add_memberships(
    out: QTable,
    estimator: BaseEstimator,
    matrix: FeatureMatrix,
    X: np.ndarray,
    labels: np.ndarray,
    *,
    prefix: str,
    overwrite: bool,
) -> None:
    """Add every membership column that the estimator can give, at the rows that it saw."""
    usable = matrix.usable
    method = type(estimator).__name__

    def whole(values: np.ndarray, empty: float) -> np.ndarray:
        column = np.full(len(out), empty, dtype=values.dtype)
        column[usable] = values
        return column

    columns: list[tuple[str, int | None, np.ndarray, float]] = []
    columns.append(("cluster", None, labels.astype(np.int32), 0))
    if hasattr(estimator, "predict_proba"):
        probabilities = estimator.predict_proba(X)
        columns += [("prob", k, column, np.nan) for k, column in enumerate(probabilities.T)]
        columns.append(("prob_max", None, probabilities.max(axis=1), np.nan))
    elif hasattr(estimator, "probabilities_") and len(estimator.probabilities_) == len(X):  # HDBSCAN
        columns.append(("prob_max", None, estimator.probabilities_, np.nan))
    if hasattr(estimator, "score_samples"):
        columns.append(("log_density", None, estimator.score_samples(X), np.nan))
    if hasattr(estimator, "tail_probability"):
        columns.append(("outlier", None, estimator.tail_probability(X), np.nan))
    names = [column_name(key, prefix=prefix, index=index) for key, index, _, _ in columns]
    check_free(out, names, overwrite=overwrite)
    if overwrite:  # all of the old clustering, which may have had more components
        old = re.compile(re.escape(prefix) + r"(cluster|prob_\d+|prob_max|log_density|outlier)")
        out.remove_columns([name for name in out.colnames if old.fullmatch(name)])
    for key, index, values, empty in columns:
        add_column(out, key, whole(values, empty), prefix=prefix, index=index, mask=~usable, method=method)


@step
def assign(
    table: Source,
    model: BaseEstimator | dict[str, Any] | QTable | Table | PathLike,
    *,
    model_prefix: str | None = None,
    prefix: str | None = None,
    overwrite: bool = False,
) -> Step:
    """Put the rows of a new table into the groups of a stored model.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        n rows with the columns that the model was fitted on.
    model : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A clustered table (its record holds the model and the treatment of the features), a
        model table as `model_table` gives it, or a file of either.
    model_prefix : str, optional
        Which of several clusterings in the model's table; the latest if not given.
    prefix : str, optional
        Put before the new columns; that of the model if not given.
    overwrite : bool, optional
        Replace columns of the same names.

    Returns
    -------
    `~astropy.table.QTable`
        The same rows with the membership columns.

    Raises
    ------
    InputError
        If the model cannot assign new rows (DBSCAN, say), its table has none, or the
        columns or their units do not fit.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> old = ac.cluster(ac.simulate.chandra(300, random_state=1), features="hard_*",
    ...                  n_components=3, random_state=42)
    >>> new = ac.assign(ac.simulate.chandra(50, random_state=2), old)
    >>> len(new), "prob_2" in new.colnames
    (50, True)
    """
    table = as_qtable(table)
    if len(table) == 0:
        raise InputError("the table has no rows to assign")
    stored = model if isinstance(model, dict) else models.find(as_qtable(model), model_prefix)
    recipe = FittedFeatures.from_plain(stored["recipe"])
    estimator = models.from_plain(stored["model"])
    prefix = stored["prefix"] if prefix is None else prefix
    matrix = recipe.transform(table)
    check_free(table, _expected_columns(estimator, prefix), overwrite=overwrite)
    X = matrix.values[matrix.usable]
    if not len(X):
        raise InputError(f"no row of {len(table)} has all features {', '.join(recipe.columns)}")
    labels = estimator.predict(X)
    out = derive(table)
    _add_memberships(out, estimator, matrix, X, labels, prefix=prefix, overwrite=overwrite)
    return Step(
        out,
        table,
        inputs=recipe.columns,
        facts={"prefix": prefix},
        parameters={"model": stored, "model_prefix": None, "prefix": prefix},
    )


def model_table(table: Source, *, prefix: str | None = None) -> QTable:
    """Return the model of a clustered table as a table of its own.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        Result of `cluster`.
    prefix : str, optional
        Which clustering, if there are several; the latest if not given.

    Returns
    -------
    `~astropy.table.QTable`
        A row a component: ``component``, ``weight``, ``mean`` (d) and ``covariance`` (d, d); the
        names and the treatment of the features are in its meta.  It can be written in any
        format but CSV, opened in TOPCAT and given to `assign`.

    Raises
    ------
    InputError
        If the table has no such model.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> cat = ac.cluster(ac.simulate.chandra(300, random_state=1), features="hard_*",
    ...                  n_components=3, random_state=42)
    >>> model = ac.model_table(cat)
    >>> model["mean"].shape
    (3, 3)
    """
    return models.to_table(models.find(as_qtable(table), prefix))
