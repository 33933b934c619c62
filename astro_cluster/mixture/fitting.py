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

__all__ = ["Material", "Settings", "fit_all", "gather"]

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
    """

    rows: Rows | RowSource
    survey: Survey
    data: Dataset
    noisy: bool

    def guard(self, reg_covar: float) -> Guard:
        """Return what looks after degenerate components of such data."""
        row_weight = self.survey.total_weight / self.survey.n_rows
        if isinstance(self.rows, Rows) and self.rows.weights is not None:
            row_weight = float(self.rows.weights.min())  # none of them is zero
        return Guard(self.survey.variance, row_weight, reg_covar, points=self.noisy)

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
    if isinstance(rows, Rows):
        check_rows(rows)
        survey = Survey.of(rows)
        survey.check()
        if rows.weights is not None and (rows.weights == 0).any():
            rows = rows.take(rows.weights > 0)  # what does not count must not be a start either
            survey = Survey.of(rows)
    else:
        checked = rows if isinstance(rows, CheckedSource) else CheckedSource(rows)
        survey = checked.check()
        rows = checked
    first = rows if isinstance(rows, Rows) else next(iter(rows.chunks()))
    return Material(rows, survey, Dataset(rows, engine), first.noise is not None)


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
        )
    return [
        [
            start(chosen, k, settings.init_params, settings.covariance_type, settings.reg_covar, random_state)
            for _ in range(settings.n_init)
        ]
        for k in sizes
    ]


def fit_all(
    material: Material,
    sizes: Sequence[int],
    settings: Settings,
    random_state: np.random.RandomState,
    *,
    starts: list[list[Parameters]] | None = None,
    on_step: OnStep | None = None,
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

    Returns
    -------
    list of Run
        For each size the run of the greatest likelihood.
    """
    found = _starts(material, sizes, settings, random_state) if starts is None else starts
    runs = [[Run(parameters, number) for number, parameters in enumerate(group)] for group in found]
    together = [one for group in runs for one in group]

    def report(step: int, active: Sequence[Run]) -> None:
        if settings.verbose > 1:
            for one in active:
                if len(one.bounds) == step:
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
    return [_best(group) for group in runs]


def _best(runs: Sequence[Run]) -> Run:
    best = runs[0]
    for one in runs[1:]:
        # Starts that end in the same optimum differ by rounding only: the first one counts.
        if one.bound > best.bound + 1e-10 * abs(best.bound):
            best = one
    return best
