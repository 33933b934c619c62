"""The examples of these pages write files: each page into an empty folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

# They run when the pages are built, in minutes and with torch.
collect_ignore_glob = ["tutorials/gallery/*", "tutorials/images/*"]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        yield
