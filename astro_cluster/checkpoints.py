"""Fits that can be stopped and gone on with: the mixture so far in a file, and a start from one."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from astropy.table import QTable, Table
from sklearn.base import BaseEstimator

from astro_cluster import models
from astro_cluster.config import conf
from astro_cluster.estimators import known_estimators
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.features import FittedFeatures
from astro_cluster.formats import format_by_name
from astro_cluster.mixture import GaussianMixture
from astro_cluster.mixture.em import Run
from astro_cluster.mixture.fitting import best_of
from astro_cluster.tables import PathLike, as_qtable, check_output, write

__all__ = ["Checkpoint", "Start"]

_KEY = "astro_cluster_checkpoint"  # in the meta of a model table
_FORMATS = ("ecsv", "votable", "fits", "parquet")


def _stored(table: QTable) -> dict[str, Any]:
    """Return the stored model of a table, with what a checkpoint says of its run."""
    run = table.meta.get(_KEY)
    if run is not None and not isinstance(run, dict):
        raise InputError("the checkpoint is damaged: it does not say how far the fit was")
    return models.find(table) | ({} if run is None else {"run": run})


# ---------------------------------------------------------------- going on


class Start:
    """A stored mixture that EM starts from.

    Parameters
    ----------
    stored : dict
        What `astro_cluster.models.find` gives, and in ``run`` what a checkpoint says of the run.

    Raises
    ------
    InputError
        If it is no mixture, or damaged.
    """

    def __init__(self, stored: dict[str, Any]) -> None:
        if not isinstance(stored.get("model"), dict) or "recipe" not in stored:
            raise InputError(
                "the start holds no model and its features; give a checkpoint or a clustered table"
            )
        model = models.from_plain(stored["model"])
        if not isinstance(model, GaussianMixture):
            raise InputError(
                "the start is a model of centres, and EM starts from a mixture; give a table that was "
                "clustered with 'gmm'"
            )
        self.stored = stored
        self._model = model
        self._recipe = FittedFeatures.from_plain(stored["recipe"])

    @classmethod
    def of(cls, start: dict[str, Any] | QTable | Table | PathLike) -> Start:
        """Return the start that a table or a file holds.

        Parameters
        ----------
        start : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
            A checkpoint, a model table, a clustered table, or a file of one; or the plain values
            of a record.

        Returns
        -------
        Start

        Raises
        ------
        InputError
            If there is no mixture in it.
        """
        return cls(start if isinstance(start, dict) else _stored(as_qtable(start)))

    def completed(self, estimator: BaseEstimator | str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters of a mixture given by name, those not given as the start has them.

        Parameters
        ----------
        estimator : estimator or str
            What `cluster` was given.
        parameters : dict
            Its parameters.

        Returns
        -------
        dict
        """
        if not isinstance(estimator, str) or known_estimators().get(estimator.lower()) is not GaussianMixture:
            return parameters
        own = {name: getattr(self._model, name) for name in ("n_components", "covariance_type")}
        return own | parameters

    def check(self, mixture: GaussianMixture) -> None:
        """Make sure that a mixture is of the kind of the start.

        Parameters
        ----------
        mixture : GaussianMixture
            Before its fit.

        Raises
        ------
        InputError
            If it has another number of components or other covariances.
        """
        for name in ("n_components", "covariance_type"):
            own, asked = getattr(self._model, name), getattr(mixture, name)
            if own != asked:
                raise InputError(
                    f"the start has {name}={own!r}, and {name}={asked!r} is asked for; leave it out (with "
                    "'gmm'), or give another start"
                )

    def recipe(self, asked: FittedFeatures) -> FittedFeatures:
        """Return the features of the start: its scales are those that its numbers are on.

        Parameters
        ----------
        asked : FittedFeatures
            The features of the call.

        Returns
        -------
        FittedFeatures

        Raises
        ------
        InputError
            If others are asked for.
        """
        for what, (own, other) in {
            "other features": (self._recipe.names, asked.names),
            "other scales": tuple([s.scale for s in recipe.scalings] for recipe in (self._recipe, asked)),
            "another treatment of missing values": ([self._recipe.missing], [asked.missing]),
            "other columns of errors": (self._recipe.errors.columns, asked.errors.columns),
        }.items():
            if list(own) != list(other):
                raise InputError(
                    f"the start has {what} than are asked for: {', '.join(own) or 'none'}, not "
                    f"{', '.join(other) or 'none'}; give the same, or another start"
                )
        return self._recipe

    def run(self, input_hash: str) -> Run:
        """Return EM as it stood.

        Parameters
        ----------
        input_hash : str
            Of the columns that are to be fitted to; what is known of the likelihood of others
            is of no use.

        Returns
        -------
        Run

        Raises
        ------
        InputError
            If the checkpoint is damaged.
        """
        run = Run(self._model._parameters())
        said = self.stored.get("run")
        if said is None:
            return run
        try:
            if said["input_hash"] == input_hash:
                run.bounds = [float(bound) for bound in said["log_likelihoods"]]
                run.events = [str(event) for event in said["events"]]
                run.converged = bool(said["converged"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the checkpoint is damaged: what it says of the fit cannot be used ({error})"
            ) from error
        return run


# ---------------------------------------------------------------- keeping


class Checkpoint:
    """Keeps the best mixture of a running fit in a file: every so often, at the end, and when interrupted.

    Parameters
    ----------
    path : str or path
        Where to; a file that is replaced is whole at any time.
    start : Start or None
        What the fit goes on from.
    recipe : FittedFeatures
        Its features.
    prefix : str
        That of its columns.
    input_hash : str
        Of its columns.

    Raises
    ------
    InputError
        If there cannot be such a file, or what is there must not be replaced.
    """

    def __init__(
        self, path: PathLike, start: Start | None, *, recipe: FittedFeatures, prefix: str, input_hash: str
    ) -> None:
        self._path = Path(path)
        self._check_place(start)
        self._names, self._recipe, self._prefix = recipe.names, recipe.to_plain(), prefix
        self._input_hash = input_hash
        self._best: Run | None = None if start is None else start.run(input_hash)
        self._written = time.monotonic()
        self._warned = False

    def _check_place(self, start: Start | None) -> None:
        path = self._path
        check_output(path, overwrite=True)
        if format_by_name(path) not in _FORMATS:
            raise InputError(
                f"{path.name} cannot hold a checkpoint; give it the ending .ecsv, .vot, .fits or .parquet"
            )
        if not path.exists():
            return
        try:
            table = as_qtable(path)
            old = _stored(table) if _KEY in table.meta else None
        except InputError:
            old = None
        if old is None:
            raise InputError(f"{path} exists already and is no checkpoint; give the checkpoint another name")
        if not old["run"].get("finished") and (start is None or start.stored != old):
            steps = len(old["run"].get("log_likelihoods", ()))
            raise InputError(
                f"{path} holds a fit that was stopped after {steps} steps; go on with it "
                f"(start={str(path)!r}, --start {path}), remove the file, or give the checkpoint another name"
            )

    def on_step(self, step: int, runs: Sequence[Run]) -> None:
        """Take note of a step of EM, and write it if it is time.

        Parameters
        ----------
        step : int
            Its number.
        runs : sequence of Run
            All runs.
        """
        # A copy: an interruption in the midst of the next step must not leave half of it.
        self._best = best_of(runs).copy()
        if time.monotonic() - self._written >= conf.checkpoint_interval:
            self._try_to_write(finished=False)
            self._written = time.monotonic()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the last state; after an interruption say where it is."""
        if self._best is None:
            return
        if error is None:
            self._try_to_write(finished=True)
        elif isinstance(error, KeyboardInterrupt):
            try:
                self._write(finished=False)
            except InputError as problem:
                error.add_note(f"the mixture could not be kept: {problem}")
                return
            error.add_note(
                f"the mixture after {len(self._best.bounds)} steps is in {self._path}; to go on, make the "
                f"same call with start={str(self._path)!r}"
            )

    def _try_to_write(self, *, finished: bool) -> None:
        try:
            self._write(finished=finished)
        except InputError as error:  # a full disk is no reason to lose the fit
            if not self._warned:
                warnings.warn(f"no checkpoint can be kept: {error}", AstroClusterWarning, stacklevel=4)
            self._warned = True

    def _write(self, *, finished: bool) -> None:
        run = self._best
        parameters = run.parameters
        model = {
            "kind": "GaussianMixture",
            "covariance_type": parameters.covariance_type,
            "features": list(self._names),
            "weights": parameters.weights.tolist(),
            "means": parameters.means.tolist(),
            "covariances": parameters.covariances.tolist(),
        }
        table = models.to_table({"model": model, "recipe": self._recipe, "prefix": self._prefix})
        table.meta[_KEY] = {
            "steps": len(run.bounds),
            "log_likelihoods": [float(bound) for bound in run.bounds],
            "converged": run.converged,
            "finished": finished,
            "events": list(run.events),
            "input_hash": self._input_hash,
        }
        write(table, self._path, overwrite=True)
