"""Real programs for the tests: an X server without a screen, TOPCAT, DS9 and STILTS.

Each is started in a process group of its own and stopped by that group's id. Several runs
of the tests may go on at once: the X server picks its number, TOPCAT has its own home and
its own SAMP hub, whose lock file is where the environment variable SAMP_HUB says.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def wait_for(look: Callable[[], T], seconds: float, what: str, pause: float = 0.05) -> T:
    """Call until the answer is true, and return it."""
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(pause)
    return found


def stop(process: subprocess.Popen[bytes], grace: float = 5.0) -> None:
    """Stop one process group that `group` started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)


@contextlib.contextmanager
def group(command: list[str], **how: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a process group of its own for as long as the block lasts."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **how)
    try:
        yield process
    finally:
        stop(process)


@contextlib.contextmanager
def xvfb(size: str = "1280x1024x24") -> Iterator[str]:
    """Run an X server without a screen; yield its DISPLAY."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", size, "-nolisten", "tcp", "-noreset"]
    with group(command, pass_fds=(write,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        os.close(write)
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()  # comes when the server is ready
        if not number:
            raise RuntimeError("Xvfb did not start")
        yield f":{number}"


def screenshot(display: str, png: Path) -> None:
    """Save what is on the screen."""
    subprocess.run(
        ["import", "-window", "root", png], check=True, env={**os.environ, "DISPLAY": display}, timeout=30
    )


@contextlib.contextmanager
def topcat(
    display: str, folder: Path, *arguments: str | Path, hub: bool = True
) -> Iterator[subprocess.Popen[bytes]]:
    """Run TOPCAT, with a SAMP hub of its own unless told.

    Its home is ``folder``; there are its output, ``topcat.log``, and the lock file of the
    hub, ``samp.lock``.
    """
    lock = folder / "samp.lock"
    env = {
        **os.environ,
        "DISPLAY": display,
        "HOME": str(folder),
        "SAMP_HUB": f"std-lockurl:{lock.as_uri()}",
    }
    # Without profiles=std the hub would open the web profile's fixed port too. The rest makes
    # the start faster on two cores.
    java = [
        "-Xmx512M",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        f"-Duser.home={folder}",
        "-Djsamp.hub.profiles=std",
    ]
    command = ["topcat", *java, *([] if hub else ["-nohub"]), "-memory", *map(str, arguments)]
    with (
        (folder / "topcat.log").open("wb") as log,
        group(command, env=env, cwd=folder, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        if hub:
            wait_for(lock.exists, 60, "TOPCAT's hub")
        yield process


_HUB = """
import sys, time
from pyvo.samp import SAMPHubServer, conf
conf.use_internet = False
SAMPHubServer(web_profile=False, mode="single", addr="127.0.0.1", lockfile=sys.argv[1]).start()
time.sleep(1e6)
"""


@contextlib.contextmanager
def samp_hub(folder: Path) -> Iterator[Path]:
    """Run a SAMP hub, pyvo's and not ours; yield its lock file, which is in ``folder``.

    In a process of its own, since its threads complain when a program is killed.
    """
    lock = folder / "samp.lock"
    with (
        (folder / "hub.log").open("wb") as log,
        group([sys.executable, "-c", _HUB, str(lock)], stdout=log, stderr=subprocess.STDOUT),
    ):
        wait_for(lock.exists, 60, "the hub")
        yield lock


@contextlib.contextmanager
def ds9(display: str, folder: Path, lock: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run DS9, which looks for a hub when it starts and not again.

    Its home and the place of its long answers is ``folder``; there is its output, ``ds9.log``.
    """
    env = {
        **os.environ,
        "DISPLAY": display,
        "HOME": str(folder),
        "SAMP_HUB": f"std-lockurl:{lock.as_uri()}",
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder)),
    }
    command = ["ds9", "-samp", "yes", "-xpa", "no"]
    with (
        (folder / "ds9.log").open("wb") as log,
        group(command, env=env, cwd=folder, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        yield process


def stilts(*arguments: str | Path) -> str:
    """Run STILTS; return all that it says. It says nothing if all is well."""
    done = subprocess.run(
        ["stilts", "-Xmx512M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
