"""Answers of a remote service on disk, so that an interrupted match goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from astropy.config.paths import get_cache_dir

from astro_cluster.config import conf
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.tables import beside

__all__ = ["AnswerCache"]


class AnswerCache:
    """A folder of answers as they came, VOTables, named by the hash of the question.

    Parameters
    ----------
    active : bool
        Whether to look and to keep anything at all.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> with conf.set_temp("cache_dir", str(folder)):
    ...     cache = AnswerCache(active=True)
    >>> cache.put({"cat2": "simbad"}, b"<VOTABLE/>")
    >>> cache.get({"cat2": "simbad"})
    b'<VOTABLE/>'
    """

    def __init__(self, *, active: bool) -> None:
        self.folder = Path(conf.cache_dir) if conf.cache_dir else None
        self.active = active
        if active and self.folder is None:
            self.folder = Path(get_cache_dir("astro_cluster"))

    def _path(self, question: dict[str, Any]) -> Path:
        text = json.dumps(question, sort_keys=True, ensure_ascii=True, default=str)
        assert self.folder is not None  # noqa: S101
        return self.folder / "xmatch" / f"{hashlib.sha256(text.encode()).hexdigest()}.vot"

    def get(self, question: dict[str, Any]) -> bytes | None:
        """Return the kept answer; None if there is none."""
        if not self.active:
            return None
        try:
            return self._path(question).read_bytes()
        except OSError:
            return None

    def put(self, question: dict[str, Any], content: bytes) -> None:
        """Keep an answer; a full disk is not worth losing the match for, and only warned of."""
        if not self.active:
            return
        path = self._path(question)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with beside(path, overwrite=True) as new:
                new.write_bytes(content)
        except (OSError, InputError) as error:
            self.active = False
            warnings.warn(
                f"answers are not kept, an interrupted match starts again: {error}. Set conf.cache_dir",
                AstroClusterWarning,
                stacklevel=2,
            )

    def day(self, question: dict[str, Any]) -> str:
        """Return the ISO day on which the answer came; today if it is not kept."""
        try:
            seconds = self._path(question).stat().st_mtime if self.active else None
        except OSError:
            seconds = None
        when = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
        return when.strftime("%Y-%m-%d")
