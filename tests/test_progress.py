"""The line that tells how a fit is going: on a terminal alone, and only if it takes long."""

from __future__ import annotations

import contextlib
import io
import os

import numpy as np
import pytest

import astro_cluster as ac
from astro_cluster import progress
from astro_cluster.exceptions import InputError
from astro_cluster.mixture.em import Run
from astro_cluster.progress import LiveLine, told, watch

SAME = {"features": "hard_*", "n_components": 3, "random_state": 0}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def on_terminal(monkeypatch):
    """A function that calls another one with a terminal as standard error, and returns what it wrote."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")

    def call(function, *args, **kwargs) -> str:
        found = Terminal()
        # Here and not in the fixture: pytest puts its own there before the test begins.
        with contextlib.redirect_stderr(found):
            function(*args, **kwargs)
        return found.getvalue()

    return call


@pytest.fixture(scope="module")
def cat():
    return ac.simulate.chandra(300, random_state=1)


def test_nothing_is_said_in_a_pipe(cat, capfd):
    ac.cluster(cat, **SAME)
    ac.cluster(cat, progress=False, bootstrap=2, **SAME)
    said = capfd.readouterr()
    assert said.out == said.err == ""


def test_nothing_is_said_of_a_quick_fit(cat, on_terminal, monkeypatch):
    monkeypatch.setattr(progress, "LiveLine", lambda: LiveLine(after=600.0))  # whatever the machine
    assert on_terminal(ac.cluster, cat, **SAME) == ""


def test_a_long_fit_is_told_of_and_the_line_goes(cat, on_terminal, monkeypatch):
    monkeypatch.setattr(progress, "_REFRESH", 0.0)
    monkeypatch.setattr(progress, "LiveLine", lambda: LiveLine(after=0.0))
    said = on_terminal(ac.cluster, cat, bootstrap=2, **SAME)
    assert "step 1: mean log-likelihood" in said
    assert "bootstrap sample 2 of 2" in said
    assert said.rstrip().endswith("\x1b[2K")  # the line is erased
    assert "\x1b[?25h" in said  # and the cursor is there again


def test_an_interruption_leaves_the_terminal_in_order(cat, on_terminal, monkeypatch):
    monkeypatch.setattr(progress, "_REFRESH", 0.0)

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    def interrupted():
        with pytest.raises(KeyboardInterrupt):
            ac.cluster(cat, progress=True, **SAME)

    monkeypatch.setattr("astro_cluster.clustering.add_memberships", stop)
    said = on_terminal(interrupted)
    assert "step 1: mean" in said
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l")


def test_where_there_is_no_terminal_lines_are_asked_for(cat, capfd):
    ac.cluster(cat, progress=True, **SAME)
    said = capfd.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1  # it takes less than ten seconds
    assert lines[0].startswith("step 1: mean log-likelihood")


def test_a_function_sees_each_step(cat):
    seen = []
    out = ac.cluster(
        cat, n_init=2, progress=lambda step, runs: seen.append((step, len(runs), runs[0].bound)), **SAME
    )
    assert [step for step, _, _ in seen] == list(range(1, len(seen) + 1))
    assert {number for _, number, _ in seen} == {2}
    same = ac.cluster(cat, n_init=2, **SAME)
    np.testing.assert_array_equal(out["prob_0"], same["prob_0"])
    assert "progress" not in ac.records(out)[-1]["parameters"]


def test_what_a_line_says():
    assert told([Run(None, 0, [-3.0])]) == "step 1: mean log-likelihood -3.000000"
    runs = [Run(None, 0, [-3.0, -2.0, -1.5], converged=True), Run(None, 1, [-4.0, -2.0, -1.0])]
    assert told(runs) == "step 3: mean log-likelihood -1.000000 (+1.0e+00), 1 of 2 runs going on"


@pytest.mark.parametrize("wrong", [1, "yes", 0.5, []])
def test_what_is_no_progress(cat, wrong):
    if wrong:  # an empty list asks for nothing
        with pytest.raises(InputError, match="is neither True, False nor a function"):
            ac.cluster(cat, progress=wrong, **SAME)
    with pytest.raises(InputError, match="is neither True, False nor a function"):
        watch(wrong)


def test_only_our_mixture_tells(cat):
    for wanted in (True, print):
        with pytest.raises(InputError, match=r"progress needs our mixture \(estimator='gmm'\), not KMeans"):
            ac.cluster(cat, "kmeans", n_clusters=2, features="hard_*", missing="median", progress=wanted)
    ac.cluster(cat, "kmeans", n_clusters=2, features="hard_*", missing="median", progress=False)


def test_a_line_at_a_time(monkeypatch):
    """No more often than wanted, however quick the steps are."""
    clock = iter(np.arange(0.0, 100.0, 0.03))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    line, written = LiveLine(after=1.0), []
    monkeypatch.setattr(line, "_begin", lambda: (written.append, 0.1))
    for step in range(1, 200):
        line.on_step(step, [Run(None, 0, [0.0] * step)])
    assert written[0].startswith("step 34:")
    assert 25 < len(written) < 60


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_on_a_real_terminal(cat, monkeypatch):
    import pty

    monkeypatch.setattr(progress, "LiveLine", lambda: LiveLine(after=0.0))
    monkeypatch.setenv("TERM", "xterm")
    main, secondary = pty.openpty()
    try:
        with os.fdopen(secondary, "w") as screen, contextlib.redirect_stderr(screen):
            assert screen.isatty()
            ac.cluster(cat, **SAME)
            screen.flush()
            said = os.read(main, 100_000).decode()
    finally:
        os.close(main)
    assert "mean log-likelihood" in said
