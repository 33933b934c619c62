"""What every test may need: the real data, and the programs of our partners."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pytest

mpl.use("Agg")

# A shell starts what it runs in the background with Ctrl-C ignored, and programs of ours that the
# tests start would inherit that; some tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("ASTRO_CLUSTER_TEST_DATA", ROOT.parent / "shared" / "data"))
IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real catalogues, which are not part of the project."""
    if not (DATA / "chandra").is_dir():
        pytest.skip(f"the real data are not at {DATA}; set ASTRO_CLUSTER_TEST_DATA to their folder")
    return DATA


@pytest.fixture(scope="session")
def require_program() -> Callable[[str], str]:
    """Return a function that gives the path of a program, or skips; in CI it fails."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            message = f"{name} is not installed; scripts/install-peers.sh installs it on Debian"
            if IN_CI:
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep caches and configuration of the tests out of the user's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp()))
