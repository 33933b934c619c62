"""Clusterers by name, and how the record keeps them."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.mixture import BayesianGaussianMixture
from sklearn.mixture import GaussianMixture as SklearnGaussianMixture
from sklearn.utils.discovery import all_estimators

from astro_cluster.exceptions import InputError, did_you_mean
from astro_cluster.features import Missing
from astro_cluster.mixture import GaussianMixture
from astro_cluster.provenance import register_codec

__all__ = ["default_missing", "known_estimators", "make_estimator", "number_parameter", "with_parameters"]


_NOT_ON_RECORD = {"memory"}


@functools.cache
def known_estimators() -> dict[str, type[BaseEstimator]]:
    """Return the classes that may be named, here and in a record, by lower-case name.

    Returns
    -------
    dict of str to type

    Examples
    --------
    >>> known_estimators()["dbscan"].__name__
    'DBSCAN'
    """
    found = {name.lower(): cls for name, cls in all_estimators(type_filter="cluster")}
    del found["featureagglomeration"]  # it groups columns, not rows
    found["bayesiangaussianmixture"] = BayesianGaussianMixture
    found["sklearn.gaussianmixture"] = SklearnGaussianMixture
    return found | dict.fromkeys(("gmm", "gaussianmixture"), GaussianMixture)


def make_estimator(
    estimator: BaseEstimator | str, *, random_state: int | None = None, **parameters: Any
) -> BaseEstimator:
    """Return an unfitted estimator of one's own.

    Parameters
    ----------
    estimator : estimator or str
        An instance, which is copied, or a name.
    random_state : int, optional
        Seed, if the method takes one; drawn if neither this nor the estimator has any.
    **parameters
        Parameters, if a name is given.

    Returns
    -------
    estimator

    Raises
    ------
    InputError
        If the name or a parameter is unknown, or the object is no clusterer.

    Examples
    --------
    >>> make_estimator("kmeans", n_clusters=3, random_state=1)
    KMeans(n_clusters=3, random_state=1)
    """
    if isinstance(estimator, str):
        made = _by_name(estimator, parameters)
        wanted = number_parameter(made)
        if wanted and wanted not in parameters and parameters.get("distance_threshold") is None:
            raise InputError(
                f"say how many groups to look for: {wanted}=6, say (on the command line -n 6); "
                "'hdbscan' and 'dbscan' find the number themselves"
            )
    elif isinstance(estimator, type):
        raise InputError(f"{estimator.__name__} is a class; give an instance: {estimator.__name__}(…)")
    elif not (hasattr(estimator, "fit_predict") and hasattr(estimator, "get_params")):
        raise InputError(
            f"a {type(estimator).__name__} is no clusterer: it lacks fit_predict or get_params; give our "
            "GaussianMixture, a scikit-learn clusterer or the name of one"
        )
    elif parameters:
        raise InputError(
            f"unknown arguments {', '.join(parameters)}; parameters of an estimator that is given as an "
            "object are set on the object"
        )
    else:
        made = clone(estimator)
    if "random_state" in made.get_params():
        if random_state is not None:
            made.set_params(random_state=random_state)
        elif isinstance(made.random_state, np.random.RandomState):
            made.set_params(random_state=int(made.random_state.randint(2**31)))
        elif made.random_state is None:
            made.set_params(random_state=secrets.randbelow(2**31))  # on record, so it can be repeated
    return made


def number_parameter(estimator: BaseEstimator) -> str | None:
    """Return the name of the parameter that says how many groups a method looks for.

    Parameters
    ----------
    estimator : estimator
        Any clusterer.

    Returns
    -------
    str or None
        None if it finds the number itself.

    Examples
    --------
    >>> number_parameter(GaussianMixture())
    'n_components'
    """
    allowed = estimator.get_params()
    # Spectral clustering has both, and there n_components is something else.
    names = [name for name in ("n_clusters", "n_components") if allowed.get(name) is not None]
    return names[0] if names else None


def _by_name(name: str, parameters: dict[str, Any]) -> BaseEstimator:
    known = known_estimators()
    if name.lower() not in known:
        hint = did_you_mean(name.lower(), known, n=1)
        raise InputError(f"there is no method {name!r}{hint} The methods are: {', '.join(sorted(known))}")
    cls = known[name.lower()]
    return with_parameters(cls, parameters)


def with_parameters(cls: type[Any], parameters: Mapping[str, Any]) -> Any:
    """Return an estimator of a class, or say which parameter it does not have.

    Parameters
    ----------
    cls : type
        A class of scikit-learn's kind.
    parameters : mapping
        Names to values.

    Returns
    -------
    estimator

    Raises
    ------
    InputError
        If it has no parameter of such a name.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> with_parameters(KMeans, {"n_clusters": 3})
    KMeans(n_clusters=3)
    """
    allowed = list(cls().get_params())
    for parameter in parameters:
        if parameter not in allowed:
            hint = did_you_mean(parameter, allowed, n=1)
            raise InputError(
                f"{cls.__name__} has no parameter {parameter!r}{hint} It has: {', '.join(allowed)}"
            )
    return cls(**parameters)


def default_missing(estimator: BaseEstimator) -> Missing:
    """Return what suits a method when nothing is said about missing values.

    Parameters
    ----------
    estimator : estimator
        Any clusterer.

    Returns
    -------
    {"marginalize", "drop"}

    Examples
    --------
    >>> default_missing(GaussianMixture())
    'marginalize'
    """
    return "marginalize" if isinstance(estimator, GaussianMixture) else "drop"


def _to_plain(estimator: BaseEstimator) -> dict[str, Any]:
    cls = type(estimator)
    if cls not in known_estimators().values():
        # A class of the user's own: a file must not name it, so it could not be made again.
        raise TypeError(f"{cls.__name__} is not one of the known methods")
    name = "sklearn.GaussianMixture" if cls is SklearnGaussianMixture else cls.__name__
    parameters = estimator.get_params(deep=False)
    return {"name": name, "params": {k: v for k, v in parameters.items() if k not in _NOT_ON_RECORD}}


def _from_plain(plain: dict[str, Any]) -> BaseEstimator:
    # Only known classes are ever made: a file must not choose what is run.
    if not (isinstance(plain, dict) and isinstance(plain["name"], str) and isinstance(plain["params"], dict)):
        raise TypeError("no estimator")
    if refused := _NOT_ON_RECORD & set(plain["params"]):
        # joblib unpickles what it finds in a folder of this name.
        raise InputError(f"a record must not set the parameter {', '.join(refused)} of a method")
    return _by_name(plain["name"], plain["params"])


register_codec("estimator", BaseEstimator, _to_plain, _from_plain)
