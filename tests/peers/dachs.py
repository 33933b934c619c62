"""A TAP server of our own: DaCHS, the server of GAVO's data centre, on a PostgreSQL of our own.

Nothing of the system is used but the programs. A database cluster and DaCHS's files lie in a
new folder, PostgreSQL listens on a socket in it, DaCHS on a free port of the loopback address,
so that any number of runs of the tests may go on at once. Every process is started in a group
of its own and stopped by that group's id.

PostgreSQL refuses to run as root. Then both programs run as the user ``postgres``, which its
package made.
"""

from __future__ import annotations

import configparser
import contextlib
import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import programs

Settings = Mapping[str, Mapping[str, object]]
# What lasts counts, what survives a power cut does not.
_POSTGRESQL = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "jit": "off",
}


def postgresql_programs() -> Path | None:
    """Return the folder of an initdb with pgSphere beside it; None if there is none.

    Debian has a folder for each version, and none of them on the PATH.
    """
    extensions = Path("/usr/share/postgresql").glob("*/extension/pg_sphere.control")
    versions = sorted((path.parts[4] for path in extensions), key=int)
    folders = [Path("/usr/lib/postgresql", version, "bin") for version in versions]
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


def _account() -> pwd.struct_passwd:
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def _until_we_end(*command: str | Path, sign: str = "TERM") -> list[str]:
    """Return a command that gets a signal when its parent is no more, though nobody stopped it."""
    ending = ["setpriv", "--pdeathsig", sign] if shutil.which("setpriv") else []
    return [*ending, *map(str, command)]


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def _tail(path: Path, n_lines: int = 25) -> str:
    with contextlib.suppress(OSError):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return f"--- {path.name}\n" + "\n".join(lines[-n_lines:]) + "\n"
    return ""


@dataclass
class Site:
    """A folder with a running database and with what DaCHS needs beside it.

    Parameters
    ----------
    folder : Path
        Where all of it lies; the logs too.
    settings : dict
        Of DaCHS, by section, for all servers.
    """

    folder: Path
    settings: Settings = field(default_factory=dict)

    def configure(self, name: str, port: int, settings: Settings) -> Path:
        """Write the configuration of one DaCHS process."""
        group = grp.getgrgid(_account().pw_gid).gr_name
        text = configparser.ConfigParser()
        text.optionxform = str  # type: ignore[assignment,method-assign]
        text.read_dict(
            {
                "general": {"rootDir": self.folder / "gavo", "group": group, "gavoGroup": group},
                "web": {
                    "bindAddress": "127.0.0.1",
                    "serverPort": port,
                    "serverURL": f"http://127.0.0.1:{port}",
                    "user": "",
                },
            }
        )
        for part in (self.settings, settings):
            text.read_dict(part)
        path = self.folder / f"{name}.rc"
        with path.open("w", encoding="utf-8") as file:
            text.write(file)
        return path

    def how(self, configuration: Path | None = None) -> dict[str, Any]:
        """Return the options of `subprocess.Popen` under which the programs run here."""
        binaries = postgresql_programs()
        env = {"PATH": f"{binaries}:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(self.folder)}
        env |= {"GAVOSETTINGS": str(configuration or self.folder / "site.rc"), "GAVOCUSTOM": "/dev/null"}
        env |= {"PGHOST": str(self.folder), "PGUSER": "postgres"}
        how: dict[str, Any] = {"env": env, "cwd": self.folder}
        if os.geteuid() == 0:
            account = _account()
            how |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        return how

    def give(self, *paths: Path) -> None:
        """Hand files and folders to the user that the programs run as."""
        if os.geteuid() == 0:
            for path in paths:
                shutil.chown(path, _account().pw_uid, _account().pw_gid)

    def run(self, *command: str | Path, stdin: str = "", seconds: float = 120) -> str:
        """Run a program to its end; return what it says."""
        done = subprocess.run(
            [str(word) for word in command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            **self.how(),
        )
        said = done.stdout + done.stderr
        if done.returncode:
            raise RuntimeError(
                f"{' '.join(map(str, command))}: status {done.returncode}\n{said}{self.logs()}"
            )
        return said

    def psql(self, sql: str) -> str:
        """Run SQL in the database of DaCHS, all or nothing; return what is selected, one line a row."""
        options = ["-q", "-A", "-t", "-1", "-v", "ON_ERROR_STOP=1"]
        return self.run("psql", *options, "-d", "gavo", "-f", "-", stdin=sql)

    def load(self, name: str, descriptor: str) -> None:
        """Import a resource of DaCHS."""
        folder = self.folder / "gavo" / "inputs" / name
        folder.mkdir()
        (folder / "q.rd").write_text(descriptor, encoding="utf-8")
        self.give(folder, folder / "q.rd")
        self.run("dachs", "--ui", "plain", "imp", f"{name}/q")

    def logs(self) -> str:
        """Return the last lines of all logs."""
        paths = [*self.folder.glob("*.log"), *(self.folder / "gavo" / "logs").glob("*")]
        return "".join(map(_tail, sorted(paths)))

    @contextlib.contextmanager
    def serve(self, settings: Settings | None = None) -> Iterator[Server]:
        """Run a server while the block runs; several may run side by side, with limits of their own."""
        server = Server(self, settings or {})
        try:
            server.start()
            yield server
        finally:
            server.stop()


class Server:
    """One DaCHS server; it can be killed and started again at the same address."""

    def __init__(self, site: Site, settings: Settings) -> None:
        self.site, self.settings = site, settings
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of its TAP service."""
        return f"http://127.0.0.1:{self.port}/tap"

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"DaCHS has ended: status {self.process.returncode}\n{self.site.logs()}")
        try:
            with urllib.request.urlopen(f"{self.url}/availability", timeout=5) as response:
                return b"true" in response.read()
        except (urllib.error.URLError, OSError):
            return False

    def start(self, tries: int = 3) -> None:
        """Start it and wait until it answers."""
        name = f"dachs-{self.port}"
        configuration = self.site.configure(name, self.port, self.settings)
        with (self.site.folder / f"{name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                _until_we_end("dachs", "serve", "start", "-f"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self.site.how(configuration),
            )
        try:
            _wait_for(self._answers, 90, "DaCHS", self.site)
        except RuntimeError:
            self.stop()
            if tries == 1 or "already listens" not in self.site.logs():
                raise
            self.port = free_port()  # somebody was faster
            self.start(tries - 1)

    def kill(self) -> None:
        """Let it die in the middle of what it does, with all that it started."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Stop it."""
        if self.process is not None:
            programs.stop(self.process)


def _wait_for(look: Callable[[], bool], seconds: float, what: str, site: Site) -> None:
    try:
        programs.wait_for(look, seconds, what)
    except TimeoutError as error:
        raise TimeoutError(f"{error}\n{site.logs()}") from None


@contextlib.contextmanager
def _postgresql(site: Site) -> Iterator[None]:
    data = site.folder / "postgresql"
    site.run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8", "--locale=C.UTF-8")
    settings = [word for item in _POSTGRESQL.items() for word in ("-c", "=".join(item))]
    # By SIGTERM it would wait for its clients.
    command = _until_we_end("postgres", "-D", data, "-k", site.folder, *settings, sign="INT")
    with (
        (site.folder / "postgresql.log").open("wb") as log,
        programs.group(command, stdout=log, stderr=subprocess.STDOUT, **site.how()) as process,
    ):

        def answers() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"PostgreSQL has ended: status {process.returncode}\n{site.logs()}")
            return subprocess.run(["pg_isready", "-q"], check=False, **site.how()).returncode == 0

        _wait_for(answers, 60, "PostgreSQL", site)
        yield


@contextlib.contextmanager
def dachs_site(logs: Path, settings: Settings | None = None) -> Iterator[Site]:
    """Make a site, run its database while the block runs, and keep nothing of it but the logs.

    Parameters
    ----------
    logs : Path
        Folder for the logs in the end.
    settings : dict, optional
        Of DaCHS, by section, for all its servers.
    """
    # Not under pytest's folders: those are closed to other users, and a socket's path may have
    # about a hundred characters only.
    with tempfile.TemporaryDirectory(prefix="dachs-", ignore_cleanup_errors=True) as name:
        site = Site(Path(name), settings or {})
        site.give(site.folder)
        site.configure("site", free_port(), {})
        try:
            with _postgresql(site):
                site.run("createdb", "-T", "template0", "gavo")
                site.run("dachs", "init", "--dsn", f"dbname=gavo user=postgres host={site.folder}")
                yield site
        finally:
            for log in (*site.folder.glob("*.log"), *(site.folder / "gavo" / "logs").glob("*")):
                shutil.copyfile(log, logs / log.name)
