"""What is loaded when, what stands in for what does not work here, and what is kept of compiled kernels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
from numba.core import caching

import astro_cluster
from astro_cluster import GaussianMixture
from astro_cluster.mixture import engine as engines
from astro_cluster.mixture.engine import make_engine
from astro_cluster.mixture.kernels import complete, diagonal, gather, lanes, noisy, wide
from astro_cluster.mixture.reference import NumpyEngine

from .cases import assert_same_fit, fixed_steps, members, punched, random_mixture

ROOT = Path(astro_cluster.__file__).parents[1]


def python(code, *arguments, **environment):
    """Run code in a process of its own and return what it prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ---------------------------------------------------------------- imports


def test_what_is_not_needed_yet_is_not_loaded():
    found = python("""
        import json, sys
        import astro_cluster, astro_cluster.mixture
        heavy = ("numba", "llvmlite", "torch", "pyarrow")
        before = [name for name in heavy if name in sys.modules]
        from astro_cluster import GaussianMixture
        gm = GaussianMixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
        gm.engine = "numpy"
        gm.predict([[0.0]])
        after = [name for name in heavy if name in sys.modules]
        print(json.dumps([before, after]))
    """)
    assert found == [[], []]


# ---------------------------------------------------------------- engines that do not work


def test_without_numba_numpy_does_the_work_and_says_so(tmp_path):
    rng = np.random.default_rng(0)
    p = random_mixture(rng, 2, 3, "full")
    X = punched(rng, members(rng, p, 100), 0.2)
    np.savez(tmp_path / "in.npz", X=X, weights=p.weights, means=p.means, covariances=p.covariances)
    found = python(
        """
        import json, sys, warnings
        sys.modules["numba"] = None  # as if it were not installed
        import numpy as np
        from astro_cluster import GaussianMixture
        given = np.load(sys.argv[1] + "/in.npz")
        options = dict(weights_init=given["weights"], means_init=given["means"],
                       precisions_init=np.linalg.inv(given["covariances"]), tol=0.0, max_iter=10)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            gm = GaussianMixture(2, **options).fit(given["X"])
        told = [str(one.message) for one in caught if one.category is RuntimeWarning]
        np.savez(sys.argv[1] + "/out.npz", weights=gm.weights_, means=gm.means_,
                 covariances=gm.covariances_, bounds=gm.lower_bounds_)
        try:
            GaussianMixture(2, engine="numba").fit(given["X"])
        except ImportError as error:
            refused = str(error)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            GaussianMixture(1, engine="numpy").fit(given["X"])  # who asks for it is not warned
        print(json.dumps([told, refused, sorted(n for n in sys.modules if "mixture.kernels" in n)]))
        """,
        tmp_path,
    )
    told, refused, kernels = found
    assert len(told) == 1
    assert "the compiled kernels do not work here (" in told[0]
    assert "numba" in told[0]
    assert told[0].endswith("NumPy does the work, more slowly")
    assert "do not work here (" in refused
    assert refused.endswith("use engine='numpy'")
    assert "astro_cluster.mixture.kernels.diagonal" not in kernels
    out = np.load(tmp_path / "out.npz")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = fixed_steps(p).fit(X)
    other = GaussianMixture.from_parameters(out["weights"], out["means"], out["covariances"])
    other.lower_bounds_ = out["bounds"]
    assert_same_fit(other, expected, rtol=1e-9)


def test_whatever_is_wrong_with_the_compiler_is_told(monkeypatch):
    engines._say_once.cache_clear()
    monkeypatch.setattr(engines, "_why_not_compiled", lambda: "OSError: no such processor")
    with pytest.warns(RuntimeWarning, match=r"do not work here \(OSError: no such processor\); NumPy does"):
        assert isinstance(make_engine(), NumpyEngine)
    with pytest.raises(ImportError, match=r"\(OSError: no such processor\); use engine='numpy'"):
        make_engine("numba")
    GaussianMixture().fit(np.eye(4))  # once is enough


def test_where_everything_works_nothing_is_said():
    assert type(make_engine()).__name__ == "CompiledEngine"
    assert engines._why_not_compiled() == ""


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_a_device_that_is_not_there(monkeypatch, engine):
    torch = pytest.importorskip("torch", reason="torch is not installed: TorchEngine is NOT tested")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gm = GaussianMixture(engine=engine, device="cuda")
    with pytest.raises(ValueError, match="no CUDA device here: take device='cpu'"):
        gm.fit(np.eye(4))


@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_an_engine_that_does_not_work_on_a_device(engine):
    with pytest.raises(
        ValueError, match=f"engine='{engine}' works on the CPU; use engine='torch' for device"
    ):
        GaussianMixture(engine=engine, device="cuda").fit(np.eye(4))


@pytest.mark.parametrize("options", [dict(engine="torch"), dict(device="cuda")])
def test_without_torch_it_says_what_to_install(monkeypatch, options):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install 'astro_cluster\[torch\]'"):
        GaussianMixture(**options).fit(np.eye(4))


# ---------------------------------------------------------------- compiled kernels on disk

KERNELS = {
    "complete": lambda: complete.kernels(3) + complete.kernels(9),
    "diagonal": lambda: diagonal.kernels(False) + diagonal.kernels(True),
    "gather": gather.kernels,
    "noisy": lambda: noisy.kernels(2, 0) + noisy.kernels(2, 1) + noisy.kernels(2, 2),
    "wide": lambda: wide.kernels(0) + wide.kernels(1) + wide.kernels(2),
}
SOURCES = {name: module for name, module in sys.modules.items() if name.startswith(lanes.__package__ + ".")}


def closure(kernel):
    """Return the names and values that the compiled function has from where it was made."""
    function = kernel.py_func
    cells = [cell.cell_contents for cell in function.__closure__]
    return dict(zip(function.__code__.co_freevars, cells, strict=True))


@pytest.mark.parametrize("name", KERNELS)
def test_compiled_kernels_are_kept_on_disk(name):
    for kernel in KERNELS[name]():
        assert type(kernel._cache).__name__ == "FunctionCache"
        assert kernel.targetoptions["nogil"]  # else threads would wait for each other


@pytest.mark.parametrize("name", KERNELS)
def test_the_stamp_of_the_sources_is_in_the_key(name):
    """Numba hashes the closure; what a kernel is drawn up with is in other files."""
    module = SOURCES[f"{lanes.__package__}.{name}"]
    for kernel in KERNELS[name]():
        assert closure(kernel)["stamp"] == module._STAMP


@pytest.mark.parametrize("name", KERNELS)
def test_the_key_is_the_same_in_each_process(name):
    """Numbers and text are pickled alike everywhere; functions and intrinsics of Numba are not."""
    for kernel in KERNELS[name]():
        for variable, value in closure(kernel).items():
            assert isinstance(value, (int, float, str)), variable


def test_the_stamp_changes_with_each_source(tmp_path):
    one, other = tmp_path / "lanes.py", tmp_path / "blocks.py"
    one.write_text("a = 1\n")
    other.write_text("b = 2\n")
    stamp = lanes.source_stamp(str(one), str(other))
    assert stamp == lanes.source_stamp(str(one), str(other))
    assert len(stamp) == 16
    other.write_text("b = 3\n")
    assert lanes.source_stamp(str(one), str(other)) != stamp
    other.write_text("b = 2\n")
    one.write_text("a = 1 \n")
    assert lanes.source_stamp(str(one), str(other)) != stamp
    assert lanes.source_stamp(str(one)) != stamp


@pytest.mark.parametrize("name", KERNELS)
def test_the_stamp_is_of_all_sources_that_the_kernel_is_drawn_up_with(name, monkeypatch):
    """Those of `lanes` and `blocks` and its own: whichever is another, the stamp is another."""
    module = SOURCES[f"{lanes.__package__}.{name}"]
    paths = [lanes.SOURCE, SOURCES[f"{lanes.__package__}.blocks"].SOURCE, module.__file__]
    if name == "gather":
        paths.insert(2, complete.__file__)
    assert all(Path(path).is_file() for path in paths)
    assert lanes.source_stamp(*paths) == module._STAMP


def test_a_second_process_compiles_nothing(tmp_path):
    code = """
        import json
        import numpy as np
        from astro_cluster.mixture.kernels import diagonal
        _, log_joint = diagonal.kernels(False)
        out = np.empty((1, 1))
        one = np.ones(1)
        log_joint(np.zeros((1, 1)), np.empty((0, 0)), 0, 1, one, one, 0 * one, 0 * one, out)
        hits = sum(log_joint.stats.cache_hits.values())
        print(json.dumps([hits, sum(log_joint.stats.cache_misses.values()), out[0, 0]]))
    """
    expected = -0.5 * (1 + np.log(2 * np.pi))
    assert python(code, NUMBA_CACHE_DIR=str(tmp_path)) == [0, 1, pytest.approx(expected)]
    assert python(code, NUMBA_CACHE_DIR=str(tmp_path)) == [1, 0, pytest.approx(expected)]


@pytest.mark.parametrize("name", ["complete", "diagonal", "gather", "noisy", "wide"])
def test_where_nothing_can_be_kept_kernels_are_compiled_all_the_same(monkeypatch, name):
    """A service without a home, on a system that is only read."""
    monkeypatch.setattr(caching.CompileResultCacheImpl, "_locator_classes", [])
    module = SOURCES[f"{lanes.__package__}.{name}"]
    arguments = {"complete": (1,), "diagonal": (0,), "gather": (), "noisy": (2, 0), "wide": (0,)}[name]
    build = getattr(module._build, "__wrapped__", module._build)  # nothing of it is kept for other tests
    assert all(callable(kernel) for kernel in build(*arguments, "another stamp"))
