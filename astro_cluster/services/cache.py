"""Answers of a remote service on disk, so that an interrupted match goes on where it stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from astropy.config.paths import get_cache_dir

from astro_cluster.config import conf
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.tables import beside

__all__ = ["AnswerCache"]

# An XML comment, which may stand behind a VOTable: the file still opens in any program.
_SEAL = re.compile(rb"\n<!-- kept by astro_cluster: sha256 ([0-9a-f]{64}) -->\n\Z")


class AnswerCache:
    """A folder of answers as they came, VOTables, named by the hash of the question.

    Each is sealed with a hash of the question and the answer, so that one that was cut, altered
    or put under another name since is not taken, but asked for again.

    Parameters
    ----------
    active : bool
        Whether to look and to keep anything at all.
    kind : str, optional
        Name of the folder within the cache.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> with conf.set_temp("cache_dir", str(folder)):
    ...     cache = AnswerCache(active=True)
    >>> cache.put({"cat2": "simbad"}, b"<VOTABLE/>")
    True
    >>> cache.get({"cat2": "simbad"})
    b'<VOTABLE/>'
    """

    def __init__(self, *, active: bool, kind: str = "xmatch") -> None:
        self.folder = Path(conf.cache_dir) if conf.cache_dir else None
        self.active = active
        self.kind = kind
        if active and self.folder is None:
            self.folder = Path(get_cache_dir("astro_cluster"))

    def _path(self, question: dict[str, Any], ending: str) -> Path:
        text = json.dumps(question, sort_keys=True, ensure_ascii=True, default=str)
        assert self.folder is not None  # noqa: S101
        return self.folder / self.kind / f"{hashlib.sha256(text.encode()).hexdigest()}.{ending}"

    @staticmethod
    def _seal(path: Path, content: bytes) -> bytes:
        digest = hashlib.sha256(path.name.encode() + b"\0" + content).hexdigest()
        return f"\n<!-- kept by astro_cluster: sha256 {digest} -->\n".encode()

    def get(self, question: dict[str, Any], *, ending: str = "vot") -> bytes | None:
        """Return the kept answer; None if there is none that is whole."""
        if not self.active:
            return None
        path = self._path(question, ending)
        try:
            kept = path.read_bytes()
        except OSError:
            return None
        seal = _SEAL.search(kept, max(0, len(kept) - 200))
        if seal is None:
            return None
        content = kept[: seal.start()]
        return content if self._seal(path, content) == seal[0] else None

    def put(self, question: dict[str, Any], content: bytes, *, ending: str = "vot") -> bool:
        """Keep an answer and tell whether that was possible.

        A full disk is not worth losing the match for, and only warned of.
        """
        if not self.active:
            return False
        path = self._path(question, ending)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with beside(path, overwrite=True) as new:
                new.write_bytes(content + self._seal(path, content))
        except (OSError, InputError) as error:
            self.active = False
            warnings.warn(
                f"answers are not kept, an interrupted match starts again: {error}. Set conf.cache_dir",
                AstroClusterWarning,
                stacklevel=2,
            )
            return False
        return True

    def drop(self, question: dict[str, Any], *, ending: str = "vot") -> None:
        """Forget an answer."""
        if self.folder is not None:
            with contextlib.suppress(OSError):
                self._path(question, ending).unlink(missing_ok=True)

    def day(self, question: dict[str, Any], *, ending: str = "vot") -> str:
        """Return the ISO day on which the answer came; today if it is not kept."""
        try:
            seconds = self._path(question, ending).stat().st_mtime if self.active else None
        except OSError:
            seconds = None
        when = datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)
        return when.strftime("%Y-%m-%d")
