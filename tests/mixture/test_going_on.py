"""A fit that was stopped and gone on with ends as if it had not been stopped."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from astro_cluster import GaussianMixture
from astro_cluster.mixture import DegenerateComponentWarning
from astro_cluster.mixture.em import Run
from astro_cluster.mixture.parameters import COVARIANCE_TYPES


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    rng = np.random.default_rng(3)
    X = np.concatenate([rng.normal(centre, 1.5, (80, 3)) for centre in (0.0, 2.0, 4.0)])
    X[rng.random(X.shape) < 0.1] = np.nan
    return X


def run_after(rows: np.ndarray, steps: int, **options) -> Run:
    """Return EM as it stood when it was interrupted after so many steps."""
    kept = []

    def stop(step, runs):
        if step == steps:
            kept.append(runs[0].copy())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        GaussianMixture(3, random_state=0, **options).fit(rows, on_step=stop)
    return kept[0]


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_stopped_after_any_step(rows, kind):
    options = {"covariance_type": kind, "tol": 1e-5, "max_iter": 500, "init_params": "random"}
    whole = GaussianMixture(3, random_state=0, **options).fit(rows)
    assert whole.n_iter_ > 3
    for steps in {1, 2, 3, whole.n_iter_ // 2, whole.n_iter_ - 1, whole.n_iter_}:
        again = GaussianMixture(3, **options).fit(rows, start=run_after(rows, steps, **options))
        assert again.n_iter_ == whole.n_iter_
        assert again.converged_
        assert again.lower_bounds_ == whole.lower_bounds_
        for name in ("weights_", "means_", "covariances_"):
            np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))


def test_a_smaller_tol_goes_further_from_the_end(rows):
    options = {"max_iter": 500, "random_state": 0}
    coarse, fine = (GaussianMixture(3, tol=tol, **options).fit(rows) for tol in (1e-2, 1e-5))
    run = run_after(rows, coarse.n_iter_, tol=1e-2)
    assert run.converged
    again = GaussianMixture(3, tol=1e-5, **options).fit(rows, start=run)
    np.testing.assert_array_equal(again.means_, fine.means_)
    assert run.converged  # what was given is not changed
    assert len(run.bounds) == coarse.n_iter_


def test_a_start_needs_no_past(rows):
    whole = GaussianMixture(3, random_state=0, tol=1e-6, max_iter=500).fit(rows)
    run = Run(run_after(rows, 4).parameters)
    again = GaussianMixture(3, tol=1e-6, max_iter=500).fit(rows, start=run)
    assert again.n_iter_ == whole.n_iter_ - 4
    np.testing.assert_array_equal(again.means_, whole.means_)


def test_max_iter_counts_what_follows(rows):
    run = run_after(rows, 6, tol=1e-9)
    with pytest.warns(ConvergenceWarning):
        again = GaussianMixture(3, tol=1e-9, max_iter=4).fit(rows, start=run)
    assert again.n_iter_ == 10


def test_labels_and_progress_of_a_fit_that_goes_on(rows, capsys):
    whole = GaussianMixture(3, random_state=0, max_iter=500).fit_predict(rows)
    run, steps = run_after(rows, 3), []
    mixture = GaussianMixture(3, max_iter=500, verbose=2)
    labels = mixture.fit_predict(rows, start=run, on_step=lambda step, runs: steps.append(step))
    np.testing.assert_array_equal(labels, whole)
    assert steps == list(range(1, mixture.n_iter_ - 2))
    assert capsys.readouterr().out.count("mean log-likelihood") == len(steps) + 1


def test_what_happened_to_components_is_not_forgotten():
    rng = np.random.default_rng(0)
    X = np.r_[rng.normal(size=(60, 2)), rng.normal(9.0, size=(60, 2))]
    run = Run(GaussianMixture(2, random_state=0, max_iter=500).fit(X)._parameters())
    run.events = ["step 1: component 1 was empty (0.1 rows) and was put anew as half of component 0"]
    with pytest.warns(DegenerateComponentWarning, match="step 1: component 1 was empty"):
        GaussianMixture(2, max_iter=500).fit(X, start=run)


def test_starts_that_do_not_fit(rows):
    run = run_after(rows, 2)
    for mixture, X in (
        (GaussianMixture(2), rows),
        (GaussianMixture(3, covariance_type="tied"), rows),
        (GaussianMixture(3), rows[:, :2]),
    ):
        with pytest.raises(ValueError, match="the start has 3 components, 3 features and full covariances"):
            mixture.fit(X, start=run)
    with pytest.raises(ValueError, match="weights_init and a start say where to start"):
        GaussianMixture(3, weights_init=np.ones(3) / 3).fit(rows, start=run)


def test_an_interruption_in_the_midst_of_a_step_leaves_a_whole_run(rows):
    """What on_step was given and copied is not touched by the steps that follow."""
    kept = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        GaussianMixture(3, random_state=0, max_iter=5, tol=0).fit(
            rows, on_step=lambda step, runs: kept.append(runs[0].copy())
        )
    assert [len(run.bounds) for run in kept] == [1, 2, 3, 4, 5]
    assert not np.array_equal(kept[0].parameters.means, kept[1].parameters.means)
