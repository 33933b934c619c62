"""TOPCAT's windows, clicked as a person would.

The pixels are those of TOPCAT 4.8.7 with Debian's fonts, on a screen without a window manager,
counted from the corner of each window.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

from . import programs

FIRST_ROW, ROW_HEIGHT = 113, 16  # of a list in a window
_TICK = 90  # of 255: the tick has 51, the border of its box 122
_SUBSETS, _BROWSER, _ACTIONS, _SEND = (270, 40), (148, 40), (342, 40), (116, 40)


class TopcatWindow:
    """The windows of a TOPCAT on a screen of its own."""

    def __init__(self, display: str) -> None:
        self._display = display

    def _do(self, *arguments: object) -> str:
        done = subprocess.run(
            ["xdotool", *map(str, arguments)],
            env={**os.environ, "DISPLAY": self._display},
            capture_output=True,
            text=True,
            timeout=20,
        )
        return done.stdout.strip()

    def _window(self, title: str) -> str:
        def look() -> str:
            return self._do("search", "--onlyvisible", "--name", title).partition("\n")[0]

        return programs.wait_for(look, 20, f"the window {title!r}")

    def _look(self, window: str, area: str) -> bytes:
        """Return the pixels of a part of a window, WIDTHxHEIGHT+X+Y, or of all of it."""
        crop = ["-crop", area, "+repage"] if area else []
        return subprocess.run(
            ["import", "-window", window, *crop, "-depth", "8", "rgb:-"],
            env={**os.environ, "DISPLAY": self._display},
            capture_output=True,
            timeout=20,
        ).stdout

    def _painted(self, window: str) -> None:
        """Wait until a window does not change any more: on a busy machine it is there before it is ready."""
        seen = [b"", b""]

        def still() -> bool:
            seen[:] = [seen[1], self._look(window, "")]
            return bool(seen[1]) and seen[0] == seen[1]

        programs.wait_for(still, 20, "a window at rest", pause=0.1)

    def _click(self, window: str, x: int, y: int) -> None:
        self._do("windowraise", window)
        self._painted(window)
        self._do("mousemove", "--window", window, x, y, "click", 1)
        time.sleep(0.35)  # a second click sooner would be a double click

    def _tick(self, window: str, x: int, y: int) -> None:
        """Click a box until its tick, which is darker than its border, is seen."""

        def ticked() -> bool:
            return min(self._look(window, f"12x12+{x - 6}+{y - 6}"), default=255) < _TICK

        for _ in range(4):
            self._painted(window)
            if ticked():  # the last click came late: another would take it away
                return
            self._click(window, x, y)
            with contextlib.suppress(TimeoutError):
                programs.wait_for(ticked, 5, "the tick", pause=0.1)
                return
        raise AssertionError("the box was clicked and shows no tick")

    def _open(self, button: tuple[int, int], title: str, place: tuple[int, int]) -> str:
        """Open a window from the main one and put it where it covers none of the buttons."""
        self._click(self._window("^TOPCAT$"), *button)
        window = self._window(title)
        self._do("windowmove", "--sync", window, *place)
        time.sleep(0.2)
        return window

    def send_subset(self, line: int) -> None:
        """Send a subset to all: that of a line of the window Row Subsets, 0 for All."""
        window = self._open(_SUBSETS, "Row Subsets", (10, 400))
        self._click(window, 50, FIRST_ROW + ROW_HEIGHT * line)
        self._click(window, 399, 40)

    def send_clicks(self) -> None:
        """Have clicked rows told to others: tick Send row index in the window Activation Actions."""
        window = self._open(_ACTIONS, "Activation Actions", (600, 380))

        def possible() -> bool:
            return min(self._look(window, "100x12+52+295"), default=255) < _TICK  # its name is grey if not

        programs.wait_for(possible, 20, "somebody who wants to know of clicks")
        self._tick(window, 40, 301)

    def click_row(self, line: int) -> None:
        """Click a line of the window Table Browser."""
        window = self._open(_BROWSER, "Table Browser", (10, 400))
        self._click(window, 190, FIRST_ROW + ROW_HEIGHT * line)

    def sort_down(self) -> None:
        """Sort by the third column, the largest first, in the window Table Browser."""
        window = self._open(_BROWSER, "Table Browser", (10, 400))
        self._do("mousemove", "--window", window, 260, 97, "click", 3)
        time.sleep(0.5)
        self._do("mousemove", "--window", window, 331, 201, "click", 1)
        time.sleep(0.5)

    def send_table(self) -> None:
        """Send the table that is shown to all."""
        self._click(self._window("^TOPCAT$"), *_SEND)

    def picture(self, png: Path) -> None:
        """Save what is on the screen."""
        programs.screenshot(self._display, png)
