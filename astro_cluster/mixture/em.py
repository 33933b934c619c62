"""EM: many mixtures at a time, each read of the data shared by all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from astro_cluster.mixture.degenerate import Guard, has_density
from astro_cluster.mixture.engine import Dataset
from astro_cluster.mixture.parameters import Moments, Parameters, maximize
from astro_cluster.mixture.rows import NotPositiveDefiniteError

__all__ = ["OnStep", "Run", "run"]


@dataclass(slots=True, eq=False)
class Run:
    """EM from one start.

    Parameters
    ----------
    parameters : Parameters
        Where it stands.
    number : int
        Which start it is, for messages.
    bounds : list of float
        Mean log-likelihood of a row (per unit of weight) at each E step.
    converged : bool
        Whether the last step gained less than was asked for.
    events : list of str
        Components that had to be put anew or removed, in words.
    """

    parameters: Parameters
    number: int = 0
    bounds: list[float] = field(default_factory=list)
    converged: bool = False
    events: list[str] = field(default_factory=list)

    @property
    def bound(self) -> float:
        """Last mean log-likelihood."""
        return self.bounds[-1] if self.bounds else float("-inf")

    @property
    def gain(self) -> float:
        """What the last step added to the mean log-likelihood; infinite if there were not two."""
        return self.bounds[-1] - self.bounds[-2] if len(self.bounds) > 1 else float("inf")

    def copy(self) -> Run:
        """Return it as it stands; EM changes a run in place.

        Returns
        -------
        Run
        """
        return Run(self.parameters, self.number, list(self.bounds), self.converged, list(self.events))


OnStep = Callable[[int, Sequence[Run]], None]


def run(
    data: Dataset,
    starts: Sequence[Run],
    *,
    max_iter: int,
    tol: float,
    reg_covar: float,
    guard: Guard | None = None,
    on_step: OnStep | None = None,
) -> None:
    """Iterate E and M steps of several mixtures until each has converged, in place.

    Parameters
    ----------
    data : Dataset
        All rows.
    starts : sequence of Run
        Where to start; they are carried on, but for those that have converged.
    max_iter : int
        Most steps of each.
    tol : float
        A mixture has converged when the mean log-likelihood gains less.
    reg_covar : float
        Added to the variances.
    guard : Guard, optional
        What looks after components that are empty or collapse; by default none.
    on_step : callable, optional
        Called after each step with its number (from 1) and the mixtures.  What it raises
        ends the iteration.

    Raises
    ------
    NotPositiveDefiniteError
        If no mixture has covariances that can be inverted; one among others is only given up.
    """
    active = [one for one in starts if not one.converged]
    if not active:
        return
    for step in range(1, max_iter + 1):
        active, found = _expect(data, active, guard)
        going_on = []
        for one, moments in zip(active, found, strict=True):
            one.bounds.append(moments.log_likelihood / moments.n_rows)
            fitted = maximize(moments, one.parameters.covariance_type, reg_covar)
            disturbed = False
            if guard is not None:
                fitted, events = guard.look_after(fitted, moments, one.parameters, len(one.events))
                disturbed = bool(events)
                one.events += [f"step {len(one.bounds)}: {event}" for event in events]
            one.parameters = fitted
            if abs(one.gain) < tol and not disturbed:
                one.converged = True
            else:
                going_on.append(one)
        active = going_on
        if on_step is not None:
            on_step(step, starts)
        if not active:
            return


def _expect(data: Dataset, active: list[Run], guard: Guard | None) -> tuple[list[Run], list[Moments]]:
    """Return the moments of the mixtures that have a density; the others have come to their end.

    Raises if none has.
    """
    try:
        return active, data.expect([one.parameters for one in active])
    except NotPositiveDefiniteError:
        failed = [one for one in active if not has_density(one.parameters)]
        if not failed:
            raise
        for one in failed:
            if guard is not None:
                one.parameters, events = guard.mend(one.parameters, len(one.events))
                one.events += [f"step {len(one.bounds) + 1}: {event}" for event in events]
        sound = [one for one in active if has_density(one.parameters)]
        if not sound:
            raise
        for one in active:
            if one not in sound:
                one.bounds.append(float("-inf"))
        return sound, data.expect([one.parameters for one in sound])
