"""What happens in a link, and the tray that it waits in until somebody looks."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Event", "Tray"]

# A newer one of these makes an older one that nobody has looked at worthless.
_LATEST_WINS = ("select", "click", "point")
_MOST = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """Something that happened in a link.

    Parameters
    ----------
    kind : str
        ``select`` (rows were selected), ``click`` (a row was clicked), ``point`` (a position
        was pointed at, and no row is there), ``left`` (a program has closed), ``back`` (it is
        there again), ``sent`` (it got the table again), ``not sent`` (it did not take it, ``text``
        says why), ``hub lost``, ``hub back``.
    number : int
        Running number among those of its kind, from 1; a gap says how many were passed over.
    sender : str
        Name of the program.
    n_rows : int
        Length of the table.
    rows : (m,) array of int, optional
        The selected rows, in order.
    row : int, optional
        The clicked row.
    position : (float, float), optional
        Right ascension and declination (ICRS, deg) that were pointed at.
    text : str
        More, in words.
    time : float
        When, in seconds since 1970.
    """

    kind: str
    number: int
    sender: str = ""
    n_rows: int = 0
    rows: np.ndarray | None = None
    row: int | None = None
    position: tuple[float, float] | None = None
    text: str = ""
    time: float = field(default_factory=time.time)

    @property
    def mask(self) -> np.ndarray:
        """Which rows are meant: (n,) array of bool."""
        out = np.zeros(self.n_rows, dtype=bool)
        if self.rows is not None:
            out[self.rows] = True
        elif self.row is not None:
            out[self.row] = True
        return out


class Tray:
    """Events in the order in which they came, for one reader.

    Of selections and clicks that nobody has looked at, only the latest of each is kept, so
    that a slow reader is neither flooded nor late.

    Parameters
    ----------
    kinds : iterable of str, optional
        Take only these.
    """

    def __init__(self, kinds: Iterable[str] | None = None) -> None:
        self._kinds = None if kinds is None else frozenset(kinds)
        self._events: deque[Event] = deque(maxlen=_MOST)
        self._changed = threading.Condition()
        self.closed = False

    def put(self, event: Event) -> None:
        """Lay an event in.

        Parameters
        ----------
        event : Event
            The newest.
        """
        if self._kinds is not None and event.kind not in self._kinds:
            return
        with self._changed:
            if event.kind in _LATEST_WINS:
                for older in [e for e in self._events if e.kind == event.kind]:
                    self._events.remove(older)
            self._events.append(event)
            self._changed.notify()

    def get(self, seconds: float | None = None) -> Event | None:
        """Take the oldest event out, and wait for one if there is none.

        Parameters
        ----------
        seconds : float, optional
            Longest wait; for ever if None.

        Returns
        -------
        Event or None
            None if none came in time, or the tray is closed.
        """
        end = None if seconds is None else time.monotonic() + seconds
        with self._changed:
            while not self._events and not self.closed:
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    return None
                # In pieces, so that Ctrl-C is heard on every system.
                self._changed.wait(0.5 if left is None else min(left, 0.5))
            return self._events.popleft() if self._events else None

    def close(self) -> None:
        """Wake the reader up; what is in the tray can still be taken."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
