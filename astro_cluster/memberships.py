"""What a fitted method says of each row, as columns."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from astropy.table import QTable
from scipy.special import entr
from sklearn.base import BaseEstimator
from sklearn.cluster import HDBSCAN

from astro_cluster.columns import add_column, check_free, column_name
from astro_cluster.features import FeatureMatrix

__all__ = ["add_memberships", "expected_columns", "membership_entropy"]


class _Column(NamedTuple):
    """A column of memberships of the rows that a method saw."""

    key: str
    index: int | None
    values: np.ndarray
    empty: float = np.nan


_OF_A_CLUSTERING = r"cluster|prob_\d+|prob_max|entropy|log_density|outlier|prob_\d+_spread|co_assignment"


def expected_columns(estimator: BaseEstimator, prefix: str, *, bootstrap: bool = False) -> list[str]:
    """Return the names of the columns that a method will add, before it is fitted.

    Parameters
    ----------
    estimator : estimator
        Fitted or not.
    prefix : str
        Put before the names.
    bootstrap : bool, optional
        Whether it is a mixture that will be bootstrapped.

    Returns
    -------
    list of str

    Examples
    --------
    >>> from astro_cluster.mixture import GaussianMixture
    >>> expected_columns(GaussianMixture(1), "a_")
    ['a_cluster', 'a_prob_0', 'a_prob_max', 'a_entropy', 'a_log_density', 'a_outlier']
    """
    names = [column_name("cluster", prefix=prefix)]
    k = estimator.get_params().get("n_components", 0)
    indices = range(k if isinstance(k, (int, np.integer)) else 0)  # else the fit will complain
    if hasattr(estimator, "predict_proba"):
        names += [column_name("prob", prefix=prefix, index=i) for i in indices]
        names += [column_name(key, prefix=prefix) for key in ("prob_max", "entropy", "log_density")]
    elif type(estimator) is HDBSCAN:
        names.append(column_name("prob_max", prefix=prefix))
    if hasattr(estimator, "tail_probability"):
        names.append(column_name("outlier", prefix=prefix))
    if bootstrap:
        names += [column_name("prob_spread", prefix=prefix, index=i) for i in indices]
        names.append(column_name("co_assignment", prefix=prefix))
    return names


def membership_entropy(probabilities: np.ndarray) -> np.ndarray:
    """Return how undecided each row is between the groups.

    Parameters
    ----------
    probabilities : (n, k) array
        Probabilities of membership.

    Returns
    -------
    (n,) array
        Shannon entropy over that of k equal probabilities: 0 is certain, 1 undecided; 0 for k = 1.

    Examples
    --------
    >>> membership_entropy(np.array([[0.5, 0.5], [1.0, 0.0]]))
    array([1., 0.])
    """
    k = probabilities.shape[1]
    if k == 1:
        return np.zeros(len(probabilities))
    # Rounding may take it beyond what it is: at most 1.
    return np.minimum(entr(probabilities).sum(axis=1) / np.log(k), 1.0)


def add_memberships(
    out: QTable,
    estimator: BaseEstimator,
    matrix: FeatureMatrix,
    labels: np.ndarray | None,
    *,
    prefix: str,
    overwrite: bool,
) -> None:
    """Add every membership column that a method can give, masked at the rows that it did not see.

    Parameters
    ----------
    out : `~astropy.table.QTable`
        Table of n rows that gets the columns.
    estimator : estimator
        After its fit.
    matrix : FeatureMatrix
        The n rows.
    labels : (m,) array of int or None
        Labels of the m usable rows as the fit gave them; predicted if None.
    prefix : str
        Put before the names.
    overwrite : bool
        Replace the columns of an older clustering of that prefix.

    Raises
    ------
    InputError
        If a name is taken and ``overwrite`` is false.
    """
    columns = _columns(estimator, *matrix.used(), labels)
    names = [column_name(column.key, prefix=prefix, index=column.index) for column in columns]
    check_free(out, names, overwrite=overwrite)
    if overwrite:  # all of the old clustering, which may have had more components
        old = re.compile(f"{re.escape(prefix)}({_OF_A_CLUSTERING})")
        out.remove_columns([name for name in out.colnames if old.fullmatch(name)])
    usable, method = matrix.usable, type(estimator).__name__
    for key, index, values, empty in columns:
        whole = np.full(len(out), empty, dtype=values.dtype)
        whole[usable] = values
        add_column(out, key, whole, prefix=prefix, index=index, mask=~usable, method=method)


def _columns(
    estimator: BaseEstimator, X: np.ndarray, errors: np.ndarray | None, labels: np.ndarray | None
) -> list[_Column]:
    noise = {} if errors is None else {"errors": errors}
    found = _ask(estimator, X, noise)
    probabilities = found.get("probabilities")
    if labels is None:
        labels = found["labels"] if "labels" in found else estimator.predict(X, **noise)
    columns = [_Column("cluster", None, np.asarray(labels).astype(np.int32), 0)]
    if probabilities is not None:
        columns += [_Column("prob", k, column) for k, column in enumerate(probabilities.T)]
        columns.append(_Column("prob_max", None, probabilities.max(axis=1)))
        columns.append(_Column("entropy", None, membership_entropy(probabilities)))
    elif hasattr(estimator, "probabilities_") and len(estimator.probabilities_) == len(X):  # HDBSCAN
        columns.append(_Column("prob_max", None, estimator.probabilities_))
    return columns + [_Column(key, None, found[key]) for key in ("log_density", "outlier") if key in found]


def _ask(estimator: BaseEstimator, X: np.ndarray, noise: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return what a method knows of its rows, in one pass where it offers that."""
    if hasattr(estimator, "memberships"):
        return estimator.memberships(X, **noise)
    asked = {
        "probabilities": "predict_proba",
        "log_density": "score_samples",
        "outlier": "tail_probability",
    }
    return {key: getattr(estimator, how)(X, **noise) for key, how in asked.items() if hasattr(estimator, how)}
