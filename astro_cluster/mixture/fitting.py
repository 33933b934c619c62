"""From rows to fitted mixtures: checks, starts, EM, the best of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astro_cluster.mixture.degenerate import Guard
from astro_cluster.mixture.em import OnStep, Run, run
from astro_cluster.mixture.engine import Dataset
from astro_cluster.mixture.parameters import CovarianceType, Parameters
from astro_cluster.mixture.rows import Engine, Rows, RowSource
from astro_cluster.mixture.sources import CheckedSource
from astro_cluster.mixture.start import SAMPLE_ROWS, short_runs, start
from astro_cluster.mixture.survey import Survey, check_rows, sample

__all__ = ["Material", "Settings", "best_of", "fit_all", "gather"]

_ROWS_TO_COUNT = 100_000  # of more rows some are surely distinct


@dataclass(frozen=True, slots=True)
class Settings:
    """How to fit; the names are those of `GaussianMixture`."""

    covariance_type: CovarianceType
    tol: float
    reg_covar: float
    max_iter: int
    n_init: int
    init_params: str
    n_short: int | None
    verbose: int


@dataclass(frozen=True, slots=True)
class Material:
    """Rows to fit to, checked.

    Parameters
    ----------
    rows : Rows or RowSource
        All rows.
    survey : Survey
        What is known of them.
    data : Dataset
        They, prepared for passes.
    noisy : bool
        Whether they have measurement errors.
    whole : bool
        Whether they are in memory and all that was given: rows of weight 0 are left out.
    """

    rows: Rows | RowSource
    survey: Survey
    data: Dataset
    noisy: bool
    whole: bool

    def guard(self, reg_covar: float) -> Guard:
        """Return what looks after degenerate components of such data."""
        return Guard(self.survey.variance, self.survey.lightest, reg_covar, points=self.noisy)

    def sample(self, random_state: np.random.RandomState) -> Rows:
        """Return rows to find starts in: all, or some drawn by chance."""
        if not isinstance(self.rows, Rows):
            return sample(self.rows, SAMPLE_ROWS, random_state)
        if len(self.rows) <= SAMPLE_ROWS:
            return self.rows
        index = random_state.choice(len(self.rows), SAMPLE_ROWS, replace=False)
        return self.rows.take(np.sort(index))


def gather(rows: Rows | RowSource, engine: Engine) -> Material:
    """Check rows and prepare them for fitting.

    Parameters
    ----------
    rows : Rows or RowSource
        All rows.
    engine : Engine
        What will compute.

    Returns
    -------
    Material

    Raises
    ------
    ValueError
        If values, errors or weights make no sense, or a column has no value at all.
    """
    whole = isinstance(rows, Rows)
    if isinstance(rows, Rows):
        check_rows(rows)
        survey = Survey.of(rows)
        survey.check()
        if rows.weights is not None and (rows.weights == 0).any():
            whole = False
            rows = rows.take(rows.weights > 0)  # what does not count must not be a start either
            survey = Survey.of(rows)
    else:
        checked = rows if isinstance(rows, CheckedSource) else CheckedSource(rows)
        survey = checked.check()
        rows = checked
    first = rows if isinstance(rows, Rows) else next(iter(rows.chunks()))
    return Material(rows, survey, Dataset(rows, engine), first.noise is not None, whole)


def _count_distinct(rows: Rows, wanted: int) -> int:
    """Return the number of distinct rows, or at least as many as are wanted."""
    first = rows.values[: 10 * wanted + 100]
    for values in (first, rows.values):
        count = len(np.unique(np.nan_to_num(values, nan=np.inf), axis=0))
        if count >= wanted:
            break
    return count


def _starts(
    material: Material,
    sizes: Sequence[int],
    settings: Settings,
    random_state: np.random.RandomState,
) -> list[list[Parameters]]:
    chosen = material.sample(random_state)
    most = max(sizes)
    if material.survey.n_rows <= _ROWS_TO_COUNT and (count := _count_distinct(chosen, most)) < most:
        raise ValueError(f"there are only {count} distinct rows for {most} components; take fewer components")
    if settings.init_params == "short-runs":
        return short_runs(
            chosen,
            material.data.engine,
            sizes,
            settings.n_init,
            covariance_type=settings.covariance_type,
            reg_covar=settings.reg_covar,
            guard=material.guard(settings.reg_covar),
            random_state=random_state,
            n_short=settings.n_short,
        )
    state = random_state.get_state()
    found = []
    for k in sizes:
        random_state.set_state(state)  # as if this size were alone
        how, kind, reg_covar = settings.init_params, settings.covariance_type, settings.reg_covar
        found.append([start(chosen, k, how, kind, reg_covar, random_state) for _ in range(settings.n_init)])
    return found


def fit_all(
    material: Material,
    sizes: Sequence[int],
    settings: Settings,
    random_state: np.random.RandomState,
    *,
    starts: list[list[Parameters]] | None = None,
    on_step: OnStep | None = None,
    going_on: Run | None = None,
) -> list[Run]:
    """Fit mixtures of several sizes; all of them and all starts share each pass over the rows.

    Parameters
    ----------
    material : Material
        Rows.
    sizes : sequence of int
        Numbers of components.
    settings : Settings
        How to fit.
    random_state : `~numpy.random.RandomState`
        Source of randomness.
    starts : list of list of Parameters, optional
        Where to start, for each size; else they are looked for.
    on_step : callable, optional
        Called after each step with its number and all runs.
    going_on : Run, optional
        A run to go on with, in place of any other start, for a single size.

    Returns
    -------
    list of Run
        For each size the run of the greatest likelihood.
    """
    if going_on is not None:
        runs = [[_resumed(going_on, settings.tol)]]
    else:
        found = _starts(material, sizes, settings, random_state) if starts is None else starts
        runs = [[Run(parameters, number) for number, parameters in enumerate(group)] for group in found]
    together = [one for group in runs for one in group]
    before = len(going_on.bounds) if going_on is not None else 0

    def report(step: int, active: Sequence[Run]) -> None:
        if settings.verbose > 1:
            for one in active:
                if len(one.bounds) == before + step:
                    print(f"start {one.number + 1}, step {step}: mean log-likelihood {one.bound:.6f}")
        if on_step is not None:
            on_step(step, active)

    run(
        material.data,
        together,
        max_iter=settings.max_iter,
        tol=settings.tol,
        reg_covar=settings.reg_covar,
        guard=material.guard(settings.reg_covar),
        on_step=report,
    )
    if settings.verbose:
        for one in together:
            steps, k = len(one.bounds), len(one.parameters.weights)
            size = f", {k} components" if len(sizes) > 1 else ""
            print(f"start {one.number + 1}{size}: {steps} steps, mean log-likelihood {one.bound:.6f}")
    return [best_of(group) for group in runs]


def _resumed(run: Run, tol: float) -> Run:
    """Return a run as it was when it stopped; by a smaller ``tol`` it is not at its end yet."""
    again = run.copy()
    again.number, again.converged = 0, run.converged and abs(run.gain) < tol
    return again


def best_of(runs: Sequence[Run]) -> Run:
    """Return the run of the greatest likelihood.

    Parameters
    ----------
    runs : sequence of Run
        Of mixtures of one size.

    Returns
    -------
    Run

    Examples
    --------
    >>> best_of([Run(None, 0, [1.0]), Run(None, 1, [2.0]), Run(None, 2, [2.0])]).number
    1
    """
    best = runs[0]
    for one in runs[1:]:
        # Starts that end in the same optimum differ by rounding only: the first one counts.
        if one.bound > best.bound + 1e-10 * abs(best.bound):
            best = one
    return best
