"""TOPCAT's windows, clicked as a person would.

The pixels are those of TOPCAT 4.8.7 with Debian's fonts, on a screen without a window manager,
counted from the corner of each window.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from . import programs

FIRST_ROW, ROW_HEIGHT = 113, 16  # of a list in a window
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

    def _click(self, window: str, x: int, y: int) -> None:
        self._do("windowraise", window)
        self._do("mousemove", "--window", window, x, y, "click", 1)
        time.sleep(0.35)  # a second click sooner would be a double click

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
        self._click(window, 40, 301)

    def click_row(self, line: int) -> None:
        """Click a line of the window Table Browser."""
        window = self._open(_BROWSER, "Table Browser", (10, 400))
        self._click(window, 190, FIRST_ROW + ROW_HEIGHT * line)

    def send_table(self) -> None:
        """Send the table that is shown to all."""
        self._click(self._window("^TOPCAT$"), *_SEND)

    def picture(self, png: Path) -> None:
        """Save what is on the screen."""
        programs.screenshot(self._display, png)
