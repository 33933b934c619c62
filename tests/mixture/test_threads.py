"""Threads and interruptions: results come in order, and after Ctrl-C all is as it was."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest

from astro_cluster import GaussianMixture
from astro_cluster.mixture import sweep
from astro_cluster.threads import available_threads, run_all

from .cases import assert_identical_fit, fixed_steps, members, random_mixture

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
START = random_mixture(RNG, 2, 3, "full")
X = members(RNG, START, 9000)  # several slabs
OTHER = members(RNG, random_mixture(RNG, 2, 2, "full"), 300)


# ---------------------------------------------------------------- the pool


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("n_tasks", [0, 1, 2, 40])
def test_results_come_in_the_order_of_the_tasks(n_threads, n_tasks):
    def task(i):
        time.sleep(0.002 * (i % 3 == 0))
        return i

    assert run_all([lambda i=i: task(i) for i in range(n_tasks)], n_threads) == list(range(n_tasks))


def test_tasks_run_at_the_same_time():
    barrier = threading.Barrier(2, timeout=30)  # broken if they ran one after the other
    run_all([barrier.wait, barrier.wait], 2)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_what_a_task_raises_is_raised_and_the_rest_is_given_up(n_threads):
    done = []

    def fail():
        raise RuntimeError("of its own")

    def slow(i):
        time.sleep(0.01)
        done.append(i)

    with pytest.raises(RuntimeError, match=r"^of its own$"):
        run_all([fail, *(lambda i=i: slow(i) for i in range(200))], n_threads)
    time.sleep(0.05)
    settled = len(done)
    assert settled < 150
    time.sleep(0.05)
    assert len(done) == settled
    assert run_all([lambda: 1, lambda: 2], n_threads) == [1, 2]


@pytest.mark.parametrize(
    ("asked", "most"), [("1", 1), ("0", 1), ("1000000", 10**6), ("", 10**6), ("2,3", 10**6)]
)
def test_threads_of_the_environment(monkeypatch, asked, most):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert 1 <= available_threads() <= min(most, os.cpu_count())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_process_has_a_pool_of_its_own():
    run_all([time.time, time.time], 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this process has threads: it is the point
        child = os.fork()
    if child == 0:
        os._exit(0 if run_all([lambda: 1, lambda: 2], 2) == [1, 2] else 1)
    for _ in range(500):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.02)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the forked process waits for threads that it does not have")
    assert os.waitstatus_to_exitcode(status) == 0


def test_fits_of_several_threads_of_the_user():
    """Two fits at once share the pool and nothing else."""
    expected = fixed_steps(START, 3).fit(X)
    found = [None] * 4

    def work(i):
        found[i] = fixed_steps(START, 3, n_jobs=2).fit(X)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in found:
        assert_identical_fit(one, expected)


# ---------------------------------------------------------------- interruptions


def interrupt(step, runs):
    if step == 2:
        raise KeyboardInterrupt


def state(estimator):
    """All attributes, arrays as bytes."""
    return {
        name: (value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value
        for name, value in vars(estimator).items()
    }


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("method", ["fit", "fit_predict"])
def test_an_interruption_leaves_a_fresh_estimator_fresh(method, n_jobs):
    gm = GaussianMixture(2, random_state=0, tol=0.0, n_jobs=n_jobs)
    before = state(gm)
    with pytest.raises(KeyboardInterrupt):
        getattr(gm, method)(X, on_step=interrupt)
    assert state(gm) == before
    assert [name for name in vars(gm) if name.endswith("_")] == []
    with pytest.raises(ValueError, match="not fitted"):
        gm.predict(X)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_interruption_of_the_same_fit_leaves_a_fitted_estimator_as_it_was(n_jobs):
    gm = fixed_steps(START, 3, n_jobs=n_jobs).fit(X)
    before, labels = state(gm), gm.predict(X)
    gm.set_params(max_iter=50)
    with pytest.raises(KeyboardInterrupt):
        gm.fit(X[::-1], on_step=interrupt)
    assert state(gm.set_params(max_iter=3)) == before
    np.testing.assert_array_equal(gm.predict(X), labels)


@pytest.mark.parametrize("trouble", ["interruption", "infinite", "too few", "warm start"])
def test_a_fit_of_other_columns_that_fails_leaves_a_fitted_estimator_as_it_was(trouble):
    gm = GaussianMixture(2, random_state=0, tol=0.0, max_iter=3).fit(X)
    rows, on_step = OTHER.copy(), None
    if trouble == "interruption":
        on_step = interrupt
    if trouble == "infinite":
        rows[3, 1] = np.inf
    if trouble == "too few":
        rows = np.repeat(rows[:1], 5, axis=0)
    if trouble == "warm start":
        gm.warm_start = True
    before, labels = state(gm), gm.predict(X)
    with pytest.raises((KeyboardInterrupt, ValueError)):
        gm.fit(rows, on_step=on_step)
    assert state(gm) == before
    np.testing.assert_array_equal(gm.predict(X), labels)


def test_after_an_interruption_the_threads_work_on():
    expected = fixed_steps(START, 3, n_jobs=2).fit(X)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            fixed_steps(START, 3, n_jobs=2).fit(X, on_step=interrupt)
        assert_identical_fit(fixed_steps(START, 3, n_jobs=2).fit(X), expected)
        with pytest.raises(KeyboardInterrupt):
            sweep(X[:500], [1, 2], on_step=interrupt, random_state=0, tol=0.0)


@pytest.mark.skipif(os.name == "nt", reason="no such signals")
def test_control_c_in_the_middle_of_a_step():
    """The signal comes while threads compute; the main one waits for them and hears it."""
    expected = fixed_steps(START, 3, n_jobs=2).fit(X)
    main = threading.main_thread().ident
    timer = threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT))
    gm = fixed_steps(START, 10**6, n_jobs=2)
    with pytest.raises(KeyboardInterrupt):
        gm.fit(X, on_step=lambda step, _: timer.start() if step == 1 else None)
    timer.join()
    assert not hasattr(gm, "means_")
    assert_identical_fit(fixed_steps(START, 3, n_jobs=2).fit(X), expected)
