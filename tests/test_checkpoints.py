"""Fits that are stopped and gone on with: the file is whole at any time, the end is the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

import astro_cluster as ac
from astro_cluster import checkpoints
from astro_cluster.exceptions import AstroClusterWarning, InputError

NUMBERS = ("prob_0", "prob_1", "prob_2", "prob_max", "entropy", "log_density", "outlier")
FEATURES = ac.Features(["x", "y", "z"], scale="standard")


@pytest.fixture(scope="module")
def table() -> QTable:
    rng = np.random.default_rng(3)
    X = np.concatenate([rng.normal(centre, 1.5, (100, 3)) for centre in (0.0, 2.0, 4.0)])
    X[rng.random(X.shape) < 0.1] = np.nan
    out = QTable({"x": X[:, 0] * u.mas, "y": X[:, 1], "z": X[:, 2]})
    out["w"] = 1.0 + np.arange(300) % 3
    out["y_error"] = 0.2 + rng.random(300)
    return out


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        yield


def options(**more):
    return {"features": FEATURES, "random_state": 42, "tol": 1e-6, "max_iter": 500, **more}


def stop_after(steps):
    def stop(step, runs):
        if step == steps:
            raise KeyboardInterrupt

    return stop


def interrupted(table, steps=5, **more) -> KeyboardInterrupt:
    with pytest.raises(KeyboardInterrupt) as caught:
        ac.cluster(table, "gmm", progress=stop_after(steps), **{"n_components": 3, **options(**more)})
    return caught.value


def assert_same(one: QTable, other: QTable, names=NUMBERS) -> None:
    np.testing.assert_array_equal(one["cluster"], other["cluster"])
    for name in names:
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-9, err_msg=name)


# ---------------------------------------------------------------- the way there and back


@pytest.mark.parametrize("ending", ["ecsv", "vot", "fits", "parquet"])
def test_a_stopped_fit_ends_as_if_it_had_not_been(table, ending):
    whole = ac.cluster(table, "gmm", n_components=3, **options())
    path = f"fit.{ending}"
    error = interrupted(table, checkpoint=path)
    assert error.__notes__ == [
        f"the mixture after 5 steps is in {path}; to go on, make the same call with start='{path}'"
    ]
    assert_same(ac.cluster(table, "gmm", start=path, **options()), whole)


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("more", [{}, {"weights": "w", "errors": {"y": "y_error"}}], ids=["bare", "all"])
def test_of_all_kinds(table, kind, more):
    more = {"covariance_type": kind, **more}
    whole = ac.cluster(table, "gmm", n_components=3, **options(**more))
    interrupted(table, steps=1, checkpoint="fit.ecsv", **more)
    del more["covariance_type"]  # is taken from the checkpoint
    assert_same(ac.cluster(table, "gmm", start="fit.ecsv", **options(**more)), whole)


def test_stopped_at_each_step(table):
    """Also at the last one, and again and again from the same file."""
    steps = []
    whole = ac.cluster(
        table, "gmm", n_components=3, progress=lambda step, runs: steps.append(step), **options(tol=1e-4)
    )
    for step in range(1, len(steps) + 1):
        interrupted(table, steps=step, checkpoint=f"{step}.ecsv", tol=1e-4)
        assert_same(ac.cluster(table, "gmm", start=f"{step}.ecsv", **options(tol=1e-4)), whole)
    path = Path("again.ecsv")
    interrupted(table, steps=1, checkpoint=path, tol=1e-4)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            ac.cluster(table, start=path, checkpoint=path, progress=stop_after(1), **options(tol=1e-4))
    assert ac.read(path).meta["astro_cluster_checkpoint"]["steps"] == 3
    assert_same(ac.cluster(table, start=path, checkpoint=path, **options(tol=1e-4)), whole)


def test_a_start_may_be_a_table(table):
    coarse = ac.cluster(table, "gmm", n_components=3, **options(tol=0.1))
    fine = ac.cluster(table, "gmm", n_components=3, **options())
    starts = {
        "clustered": coarse,
        "model": ac.model_table(coarse),
        "file": ac.write(coarse, "clustered.fits"),
    }
    for start in starts.values():
        again = ac.cluster(
            table, ac.GaussianMixture(3, tol=1e-6, max_iter=500), start=start, features=FEATURES
        )
        assert_same(again, fine)


def test_the_scales_are_those_of_the_start(table):
    coarse = ac.cluster(table, "gmm", n_components=3, **options(tol=0.1))
    other = table[50:]
    again = ac.cluster(other, start=coarse, **options())
    assert ac.records(again)[-1]["recipe"] == ac.records(coarse)[-1]["recipe"]
    # The same features in another unit are the same features.
    moved = other.copy()
    moved["x"] = moved["x"].to(u.arcsec)
    assert_same(ac.cluster(moved, start=coarse, **options()), again)


def test_the_likelihood_of_other_rows_is_of_no_use(table):
    """Else a fit to other rows could seem to have converged at once."""
    whole = ac.cluster(table, "gmm", n_components=3, checkpoint="fit.ecsv", **options())
    said = ac.read("fit.ecsv").meta["astro_cluster_checkpoint"]
    assert said["converged"]
    steps = []
    other = table.copy()
    other["y"][7] += 1e-9
    ac.cluster(other, start="fit.ecsv", progress=lambda step, runs: steps.append(step), **options())
    assert len(steps) == 2
    steps.clear()
    same = ac.cluster(table, start="fit.ecsv", progress=lambda step, runs: steps.append(step), **options())
    assert not steps
    assert_same(same, whole)


# ---------------------------------------------------------------- the record


def test_the_record_has_the_start_as_numbers_and_runs_again(table):
    interrupted(table, checkpoint="fit.ecsv")
    out = ac.cluster(table, start="fit.ecsv", checkpoint="fit.ecsv", progress=False, **options(bootstrap=3))
    parameters = ac.records(out)[-1]["parameters"]
    assert "progress" not in parameters
    assert "checkpoint" not in parameters
    assert "fit.ecsv" not in str(parameters)
    assert np.shape(parameters["start"]["model"]["means"]) == (3, 3)
    ac.write(out, "out.vot")
    Path("fit.ecsv").unlink()
    again = ac.rerun("out.vot")
    assert not Path("fit.ecsv").exists()
    assert_same(again, out, [*NUMBERS, "prob_0_spread", "co_assignment"])


def test_a_record_without_any_of_it_is_as_it_was(table):
    parameters = ac.records(ac.cluster(table, "gmm", n_components=3, **options()))[-1]["parameters"]
    assert not {"start", "bootstrap", "progress", "checkpoint"} & set(parameters)


# ---------------------------------------------------------------- the file


def test_without_a_checkpoint_nothing_is_left(table, tmp_path):
    before = table.copy()
    mixture = ac.GaussianMixture(3, tol=1e-6, max_iter=500, random_state=0)
    attributes = dict(vars(mixture))
    with pytest.raises(KeyboardInterrupt) as caught:
        ac.cluster(table, mixture, features=FEATURES, progress=stop_after(3))
    assert not hasattr(caught.value, "__notes__")
    assert vars(mixture) == attributes
    assert table.colnames == before.colnames
    assert not table.meta
    assert list(tmp_path.iterdir()) == []


def test_the_end_is_kept_and_is_a_model(table):
    out = ac.cluster(table, "gmm", n_components=3, checkpoint="fit.ecsv", prefix="a_", **options())
    kept, model = ac.read("fit.ecsv"), ac.model_table(out)
    assert kept.meta["astro_cluster_checkpoint"]["finished"]
    for name in model.colnames:
        np.testing.assert_array_equal(kept[name], model[name])
    assigned = ac.assign(table, "fit.ecsv")
    np.testing.assert_array_equal(assigned["a_prob_1"], out["a_prob_1"])


def test_it_is_written_every_so_often_and_is_whole_at_any_time(table, tmp_path):
    seen = []

    def look(step, runs):
        if Path("fit.ecsv").exists():
            said = ac.read("fit.ecsv").meta["astro_cluster_checkpoint"]
            assert len(said["log_likelihoods"]) == said["steps"]
            seen.append(said["steps"])
        assert [path.name for path in tmp_path.iterdir()] in ([], ["fit.ecsv"])

    with ac.conf.set_temp("checkpoint_interval", 0.0):
        ac.cluster(table, "gmm", n_components=3, checkpoint="fit.ecsv", progress=look, **options())
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) > 5
    Path("fit.ecsv").unlink()
    seen.clear()
    ac.cluster(table, "gmm", n_components=3, checkpoint="fit.ecsv", progress=look, **options())
    assert seen == []  # it takes less than the usual interval
    assert ac.read("fit.ecsv").meta["astro_cluster_checkpoint"]["finished"]


def test_the_best_of_several_starts_is_kept(table):
    bounds = []

    def stop(step, runs):
        bounds[:] = [run.bound for run in runs]
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ac.cluster(table, "gmm", n_components=3, n_init=4, checkpoint="fit.ecsv", progress=stop, **options())
    assert len(bounds) == 4
    said = ac.read("fit.ecsv").meta["astro_cluster_checkpoint"]
    assert said["log_likelihoods"][-1] == max(bounds)


def test_an_interruption_of_the_bootstrap_keeps_the_fit(table, monkeypatch):
    whole = ac.cluster(table, "gmm", n_components=3, **options(bootstrap=4))

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("astro_cluster.clustering.add_bootstrap", stop)
        with pytest.raises(KeyboardInterrupt) as caught:
            ac.cluster(table, "gmm", n_components=3, checkpoint="fit.ecsv", **options(bootstrap=4))
    assert "fit.ecsv" in caught.value.__notes__[0]
    again = ac.cluster(table, start="fit.ecsv", **options(bootstrap=4))
    assert_same(again, whole, [*NUMBERS, "prob_2_spread", "co_assignment"])


def test_an_error_of_the_fit_says_nothing_of_checkpoints(table):
    def fail(step, runs):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ac.cluster(table, "gmm", n_components=3, checkpoint="fit.ecsv", progress=fail, **options())
    assert not Path("fit.ecsv").exists()


def test_a_full_disk_does_not_end_the_fit(table, monkeypatch):
    def full(*args, **kwargs):
        raise InputError("cannot write fit.ecsv: No space left on device")

    monkeypatch.setattr(checkpoints, "write", full)
    with (
        ac.conf.set_temp("checkpoint_interval", 0.0),
        pytest.warns(AstroClusterWarning, match="no checkpoint can be kept: .*No space left") as caught,
    ):
        out = ac.cluster(table, "gmm", n_components=3, checkpoint="fit.ecsv", **options())
    assert len(caught) == 1
    assert "prob_2" in out.colnames
    assert interrupted(table, checkpoint="fit.ecsv").__notes__ == [
        "the mixture could not be kept: cannot write fit.ecsv: No space left on device"
    ]


def test_what_is_there_is_not_overwritten(table):
    ac.write(table, "cat.fits")
    ac.write(ac.model_table(ac.cluster(table, "gmm", n_components=2, **options())), "model.ecsv")
    Path("notes.ecsv").write_text("not a table")
    for name in ("cat.fits", "model.ecsv", "notes.ecsv"):
        before = Path(name).read_bytes()
        with pytest.raises(InputError, match=rf"{name} exists already and is no checkpoint; give"):
            ac.cluster(table, "gmm", n_components=3, checkpoint=name, **options())
        assert Path(name).read_bytes() == before
    interrupted(table, checkpoint="fit.ecsv")
    with pytest.raises(InputError, match=r"holds a fit that was stopped after 5 steps; go on with it"):
        ac.cluster(table, "gmm", n_components=3, checkpoint="fit.ecsv", **options())
    ac.cluster(table, start=ac.read("fit.ecsv"), checkpoint="fit.ecsv", **options())
    # One that has come to its end may give way.
    ac.cluster(table, "gmm", n_components=2, checkpoint="fit.ecsv", **options())
    assert len(ac.read("fit.ecsv")) == 2


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("fit.csv", "fit.csv cannot hold a checkpoint; give it the ending .ecsv"),
        ("fit.md", "fit.md cannot hold a checkpoint"),
        ("fit", "cannot tell in which format to write 'fit'"),
        ("nowhere/fit.ecsv", "there is no folder nowhere"),
    ],
)
def test_where_no_checkpoint_can_be(table, path, message):
    def never(step, runs):
        raise AssertionError("it was fitted")

    with pytest.raises(InputError, match=message):
        ac.cluster(table, "gmm", n_components=3, checkpoint=path, progress=never, **options())


# ---------------------------------------------------------------- starts that do not fit


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"n_components": 4}, "the start has n_components=3, and n_components=4 is asked for"),
        ({"covariance_type": "diag"}, "covariance_type='full', and covariance_type='diag' is asked for"),
        ({"features": "x,y"}, "the start has other features than are asked for: x, y, z, not x, y; give"),
        ({"features": "y,x,z"}, "the start has other features"),
        ({"features": "x,y,z"}, "other scales .*: standard, standard, standard, not none, none, none"),
        ({"missing": "median"}, "another treatment of missing values .*: marginalize, not median"),
        ({"errors": {"y": "y_error"}}, "other columns of errors than are asked for: none, not y_error"),
        (
            {"estimator": "kmeans", "n_clusters": 3},
            r"start needs our mixture \(estimator='gmm'\), not KMeans",
        ),
        ({"weights_init": [0.2, 0.3, 0.5]}, "weights_init and a start say where to start"),
    ],
)
def test_starts_that_do_not_fit(table, call, message):
    start = ac.cluster(table, "gmm", n_components=3, **options(tol=0.1))
    wanted = {"features": FEATURES, "random_state": 0, **call}
    with pytest.raises(InputError, match=message):
        ac.cluster(table, start=start, **wanted)


def test_what_is_no_start(table):
    same = {"features": FEATURES, "n_components": 3}
    with pytest.raises(InputError, match="no clustering on record"):
        ac.cluster(table, start=table, **same)
    centres = ac.cluster(table, "kmeans", n_clusters=3, features=FEATURES, missing="median", random_state=0)
    with pytest.raises(InputError, match="the start is a model of centres"):
        ac.cluster(table, start=centres, **same)
    with pytest.raises(InputError, match="holds no model"):
        ac.cluster(table, start={"model": 3}, **same)
    with pytest.raises(InputError, match=r"nowhere\.ecsv"):
        ac.cluster(table, start="nowhere.ecsv", **same)


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said.pop("log_likelihoods"),
        lambda said: said.update(log_likelihoods=["a"]),
        lambda said: said.update(log_likelihoods=None),
        lambda said: said.pop("events"),
        lambda said: said.pop("input_hash"),
    ],
)
def test_a_damaged_checkpoint_is_refused(table, change):
    interrupted(table, checkpoint="fit.ecsv")
    kept = ac.read("fit.ecsv")
    change(kept.meta["astro_cluster_checkpoint"])
    with pytest.raises(InputError, match="the checkpoint is damaged"):
        ac.cluster(table, start=kept, **options())
    kept.meta["astro_cluster_checkpoint"] = 3
    with pytest.raises(InputError, match="the checkpoint is damaged"):
        ac.cluster(table, start=kept, **options())


# ---------------------------------------------------------------- a real interruption


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends the signal of Ctrl-C")
def test_a_real_interruption_of_a_process(table, tmp_path):
    ac.write(table, "cat.fits")
    code = """
        import time
        import astro_cluster as ac
        def tell(step, runs):
            print(step, flush=True)
            time.sleep(0.05)
        ac.cluster("cat.fits", "gmm", n_components=3, random_state=42, tol=1e-9, max_iter=5000,
                   features=ac.Features(["x", "y", "z"], scale="standard"),
                   checkpoint="fit.ecsv", progress=tell)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(4):
        child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode != 0
    assert "KeyboardInterrupt" in said
    assert "the mixture after" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat.fits", "fit.ecsv"]
    whole = ac.cluster(table, "gmm", n_components=3, **options(tol=1e-9, max_iter=5000))
    assert_same(ac.cluster(table, start="fit.ecsv", **options(tol=1e-9, max_iter=5000)), whole)
