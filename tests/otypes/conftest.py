"""Lists of types of their own for each test, and where they are fetched from."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

import astro_cluster as ac
from astro_cluster.cli import main

from .standin import Simbad, otypedef


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path) -> Iterator[Path]:
    """Keep the lists that one test fetches from the others."""
    folder = tmp_path / "cache"
    with ac.conf.set_temp("cache_dir", str(folder)):
        yield folder


@pytest.fixture
def simbad() -> Iterator[Simbad]:
    """The stand-in, configured as SIMBAD's TAP service."""
    service = Simbad(otypedef())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            service.queries.append(form["QUERY"][0])
            code, content = service.answer(form["QUERY"][0])
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}/sim-tap"
    try:
        with (
            ac.conf.set_temp("simbad_tap_url", service.url),
            ac.conf.set_temp("tap_interval", 0.0),
            ac.conf.set_temp("retry_wait", 0.01),
            ac.conf.set_temp("retries", 1),
        ):
            yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line: exit code, standard output, standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # the notes are what the user sees
            with pytest.raises(SystemExit) as left:
                main(list(arguments))
        captured = capsys.readouterr()
        return left.value.code, captured.out, captured.err

    return call
