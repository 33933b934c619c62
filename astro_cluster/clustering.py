"""Groups in a table: `cluster` finds them, `assign` puts new rows into them."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import has_fit_parameter

from astro_cluster import models
from astro_cluster.bootstrapping import add_bootstrap, checked_number
from astro_cluster.checkpoints import Checkpoint, Start
from astro_cluster.columns import check_free, require
from astro_cluster.estimators import default_missing, make_estimator
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.features import FeatureMatrix, Features, FittedFeatures, Missing, as_features
from astro_cluster.memberships import add_memberships, expected_columns
from astro_cluster.mixture import DegenerateComponentWarning, GaussianMixture
from astro_cluster.mixture.em import OnStep, Run
from astro_cluster.mixture.resampled import OnSample
from astro_cluster.provenance import OMIT, Step, content_hash, step
from astro_cluster.tables import PathLike, Source, as_qtable, derive, float_values

__all__ = ["assign", "cluster", "model_table"]


@step
def cluster(
    table: Source,
    estimator: BaseEstimator | str = "gmm",
    *,
    features: Features | str | Iterable[str],
    missing: Missing | None = None,
    errors: str | Mapping[Any, str] | None = None,
    weights: str | None = None,
    prefix: str = "",
    random_state: int | None = None,
    bootstrap: int = 0,
    start: QTable | Table | PathLike | dict[str, Any] | None = None,
    checkpoint: PathLike | None = None,
    progress: Callable[[int, Any], Any] | bool | None = None,
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
    errors : "auto" or mapping, optional
        Measurement errors of the features, which our mixture takes into account; as in
        `Features`, whose own they replace (an empty mapping: take none).
    weights : str, optional
        Column of row weights: how often each row counts in the fit.  A row of weight 0 gets its
        membership all the same; one without a weight is left out (masked).
    prefix : str, optional
        Put before the new columns, so that several runs stand side by side.
    random_state : int, optional
        Seed; overrides the estimator's own.  Without any seed one is drawn and recorded.
    bootstrap : int, optional
        Of our mixture: to how many bootstrap samples to refit it, to see how far the memberships
        move; 50, say.
    start : `~astropy.table.QTable`, `~astropy.table.Table`, str or path, optional
        Of our mixture: a checkpoint, a clustered table or a model table, or a file of one, that
        EM starts from, on its scales.  A fit that was stopped ends as if it had not been;
        ``max_iter`` is how many steps may follow.
    checkpoint : str or path, optional
        Of our mixture: a file to keep the best mixture so far in while EM runs, as a model table.
    progress : callable or bool, optional
        Of our mixture: whether to show a line that tells how EM is going, or a function that is
        called after each step with its number and the runs.  By default the line is shown on a
        terminal if the fit takes more than two seconds.
    overwrite : bool, optional
        Replace columns of the same names.
    **parameters
        Parameters of an estimator given by name: ``n_components=6``, ``eps=0.4`` …

    Returns
    -------
    `~astropy.table.QTable`
        The same rows with the new columns ``cluster`` (-1 is noise) and, where the method
        knows them, ``prob_0`` …, ``prob_max``, ``entropy``, ``log_density`` and ``outlier``;
        with ``bootstrap`` also ``prob_0_spread`` … and ``co_assignment``; masked in rows that were
        not used.

    Raises
    ------
    InputError
        If the table has fewer usable rows than the method needs, a feature, its errors or the
        weights cannot be used, a new column's name is taken, the estimator is unknown or not
        able to do it, the start is that of another fit, or there cannot be a checkpoint.
    KeyboardInterrupt
        If the fit is stopped.  With ``checkpoint`` a note says where its mixture is.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> cat = ac.simulate.chandra(300, random_state=1)
    >>> out = ac.cluster(cat, "gmm", features="hard_*", n_components=3, random_state=42)
    >>> out["prob_max"].info.meta["ucd"]
    'stat.probability;stat.max'
    """
    table = as_qtable(table)
    bootstrap = checked_number(bootstrap)
    origin = None if start is None else Start.of(start)
    fitted = _made(estimator, origin, random_state, parameters)
    _check_ours(fitted, bootstrap=bootstrap, start=origin, checkpoint=checkpoint, progress=progress)
    if len(table) == 1:
        raise InputError("the table has 1 row; clustering needs at least 2")
    wanted = _overridden(as_features(features), missing, errors)
    _check_able(fitted, wanted, weights)
    counts = None if weights is None else _row_weights(table, weights)
    recipe, matrix = _treated(table, wanted, fitted, counts, origin)
    _check_policy(recipe, fitted)
    if counts is not None:
        matrix = dataclasses.replace(matrix, usable=matrix.usable & ~np.isnan(counts))
        counts = counts[matrix.usable]
    check_free(table, expected_columns(fitted, prefix, bootstrap=bootstrap > 0), overwrite=overwrite)
    X, noise = matrix.used()
    _check_rows(X, fitted, counts)
    inputs = list(dict.fromkeys([*recipe.inputs, *([] if weights is None else [weights])]))
    run, keeper = _beginning(origin, checkpoint, table, inputs, recipe, prefix)
    out = derive(table)
    with _followed(fitted, progress, keeper) as (on_step, on_sample):
        labels = _fit(fitted, X, errors=noise, sample_weight=counts, start=run, on_step=on_step)
        add_memberships(out, fitted, matrix, labels, prefix=prefix, overwrite=overwrite)
        if bootstrap:
            add_bootstrap(out, fitted, matrix, counts, bootstrap, prefix=prefix, on_sample=on_sample)
    seed = fitted.get_params().get("random_state")
    facts: dict[str, Any] = {
        "recipe": recipe.to_plain(),
        "prefix": prefix,
        "rows_used": int(matrix.usable.sum()),
    }
    if (model := models.to_plain(fitted, matrix.names)) is not None:
        facts["model"] = model
    # The estimator in full stands for the name and the parameters that it was made of, and the
    # features for their errors; how the fit was followed changes nothing.
    left_out = dict.fromkeys([*parameters, "random_state", "errors", "checkpoint", "progress"], OMIT)
    kept = {"bootstrap": bootstrap or OMIT, "start": OMIT if origin is None else origin.stored}
    recorded = {**left_out, **kept, "estimator": fitted, "features": wanted}
    return Step(
        out,
        table,
        inputs=inputs,
        seed=seed if isinstance(seed, (int, np.integer)) else None,
        facts=facts,
        parameters=recorded,
    )


def _made(
    estimator: BaseEstimator | str,
    origin: Start | None,
    random_state: int | None,
    parameters: dict[str, Any],
) -> BaseEstimator:
    """Return the estimator to fit, of the kind of the start if there is one."""
    if origin is None:
        return make_estimator(estimator, random_state=random_state, **parameters)
    completed = origin.completed(estimator, parameters)
    made = make_estimator(estimator, random_state=random_state, **completed)
    if isinstance(made, GaussianMixture):
        origin.check(made)
    return made


def _beginning(
    origin: Start | None,
    checkpoint: PathLike | None,
    table: QTable,
    inputs: Iterable[str],
    recipe: FittedFeatures,
    prefix: str,
) -> tuple[Run | None, Checkpoint | None]:
    """Return where EM goes on from, and what keeps it."""
    if origin is None and checkpoint is None:
        return None, None
    input_hash = content_hash(table, inputs)
    run = None if origin is None else origin.run(input_hash)
    if checkpoint is None:
        return run, None
    return run, Checkpoint(checkpoint, origin, recipe=recipe, prefix=prefix, input_hash=input_hash)


def _overridden(
    features: Features, missing: Missing | None, errors: str | Mapping[Any, str] | None
) -> Features:
    """Return the features with what the call says in place of what they say themselves."""
    if missing is not None and features.missing != missing:
        features = dataclasses.replace(features, missing=missing)
    return features if errors is None else dataclasses.replace(features, errors=errors)


def _check_ours(estimator: BaseEstimator, **options: Any) -> None:
    """Make sure that what only our mixture can do is not asked of another method."""
    asked = [name for name, value in options.items() if value]
    if asked and not isinstance(estimator, GaussianMixture):
        raise InputError(
            f"{', '.join(asked)} {'need' if len(asked) > 1 else 'needs'} our mixture (estimator='gmm'), not "
            f"{type(estimator).__name__}; leave it out"
        )


def _treated(
    table: QTable,
    wanted: Features,
    estimator: BaseEstimator,
    counts: np.ndarray | None,
    origin: Start | None,
) -> tuple[FittedFeatures, FeatureMatrix]:
    """Return the features fitted to a table, or those of the start, and the rows."""

    def learned() -> tuple[FittedFeatures, FeatureMatrix]:
        # A row that counts nothing must not shift the scales.
        rows = None if counts is None else counts > 0
        return wanted.fit_transform(table, missing=default_missing(estimator), rows=rows)

    if origin is None:
        return learned()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the features of the start say it again
        asked, _ = learned()
    recipe = origin.recipe(asked)
    return recipe, recipe.transform(table)


def _check_able(estimator: BaseEstimator, features: Features, weights: str | None) -> None:
    name = type(estimator).__name__
    if features.errors and not isinstance(estimator, GaussianMixture):
        raise InputError(
            f"{name} cannot take measurement errors into account; leave errors out, or use our mixture "
            "(estimator='gmm')"
        )
    if weights is not None and not has_fit_parameter(estimator, "sample_weight"):
        raise InputError(
            f"{name} cannot weight rows; leave weights out, or use our mixture (estimator='gmm'), "
            "'kmeans' or 'dbscan'"
        )


def _row_weights(table: QTable, name: str) -> np.ndarray:
    """Return how often each row counts, NaN where that is not known."""
    require(table, name)
    column = table[name]
    if getattr(column, "dtype", np.dtype(object)).kind not in "fiub" or column.shape != (len(table),):
        raise InputError(f"column {name!r} cannot be weights: they have to be one number a row")
    values, unit = float_values(column), getattr(column, "unit", None)
    if unit is not None and str(unit):
        try:
            values = u.Quantity(values, unit).to_value("")
        except (u.UnitsError, TypeError, ValueError) as error:
            raise InputError(
                f"column {name!r} is in {unit}, and weights are pure numbers; give a column without a unit"
            ) from error
    for what, bad in (("negative", values < 0), ("infinite", np.isinf(values))):
        if (rows := np.flatnonzero(bad)).size:
            raise InputError(
                f"column {name!r} has {rows.size} {what} weights, the first in row {rows[0]} "
                f"({values[rows[0]]:g}); mask them to leave these rows out"
            )
    if not (values > 0).any():
        raise InputError(f"column {name!r} has no positive weight, so no row counts; give another column")
    return values


def _check_policy(recipe: FittedFeatures, estimator: BaseEstimator) -> None:
    if recipe.missing == "marginalize" and not isinstance(estimator, GaussianMixture):
        raise InputError(
            f"{type(estimator).__name__} cannot integrate missing values out; use missing='drop' or "
            "'median', or our mixture (estimator='gmm')"
        )


def _check_rows(X: np.ndarray, estimator: BaseEstimator, weights: np.ndarray | None) -> None:
    n = len(X) if weights is None else np.count_nonzero(weights)
    if n < 2:
        raise InputError(
            f"{n} row{' is' if n == 1 else 's are'} usable; clustering needs at least 2. Look at "
            "the features' missing values, or use missing='median'"
        )
    parameters = estimator.get_params()
    for name in ("n_components", "n_clusters"):
        wanted = parameters.get(name)
        if isinstance(wanted, (int, np.integer)) and wanted > n:
            raise InputError(f"{name}={wanted} is more than the {n} usable rows; ask for fewer groups")


@contextlib.contextmanager
def _followed(
    estimator: BaseEstimator, progress: Callable[[int, Any], Any] | bool | None, keeper: Checkpoint | None
) -> Iterator[tuple[OnStep | None, OnSample | None]]:
    """Yield what is called after each step of EM, and after each bootstrap sample."""
    if not isinstance(estimator, GaussianMixture):
        yield None, None
        return
    from astro_cluster.progress import watch

    with contextlib.ExitStack() as stack:
        found = [None if keeper is None else stack.enter_context(keeper).on_step]
        watching = stack.enter_context(watch(progress))
        listeners = [one for one in (*found, watching.on_step) if one is not None]

        def on_step(step: int, runs: Sequence[Run]) -> None:
            for listener in listeners:
                listener(step, runs)

        yield on_step if listeners else None, watching.on_sample


def _fit(estimator: BaseEstimator, X: np.ndarray, **options: Any) -> np.ndarray | None:
    """Fit and return the labels, complaints of scikit-learn in our words.

    None from a method that gives all memberships in one pass: its labels come with them.
    """
    given = {name: value for name, value in options.items() if value is not None}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if hasattr(estimator, "memberships"):
                labels = None
                estimator.fit(X, **given)
            else:
                labels = np.asarray(estimator.fit_predict(X, **given))
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
        elif issubclass(warning.category, DegenerateComponentWarning):
            warnings.warn(f"{type(estimator).__name__}: {warning.message}", AstroClusterWarning, stacklevel=4)
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return labels


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
    check_free(table, expected_columns(estimator, prefix), overwrite=overwrite)
    if not matrix.usable.any():
        raise InputError(f"no row of {len(table)} has all features {', '.join(recipe.columns)}")
    out = derive(table)
    add_memberships(out, estimator, matrix, None, prefix=prefix, overwrite=overwrite)
    return Step(
        out,
        table,
        inputs=recipe.inputs,
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
