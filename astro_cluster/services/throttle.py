"""One request at a time for each host, and not too soon after the last one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

__all__ = ["turn"]


class _Host:
    """When a host was asked last, and the lock that keeps others out meanwhile."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asked = float("-inf")


_HOSTS: dict[str, _Host] = {}
_ALL = threading.Lock()


@contextmanager
def turn(url: str, interval: float = 0.0) -> Iterator[None]:
    """Wait for the turn to ask a host, and keep it while the block runs.

    Parameters
    ----------
    url : str
        Any address of the host.
    interval : float, optional
        Seconds between the starts of two requests to the host, at least.

    Notes
    -----
    Threads of one process wait for each other; several processes do not.

    Examples
    --------
    >>> with turn("http://127.0.0.1/tap", 0.1):
    ...     pass
    """
    name = urlsplit(url).netloc.lower()
    with _ALL:
        host = _HOSTS.setdefault(name, _Host())
    with host.lock:
        wait = host.asked + interval - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        host.asked = time.monotonic()
        yield
