"""Fixtures of real partners."""

from __future__ import annotations

import contextlib
import gc
import io
import urllib.parse
import urllib.request
import warnings
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from astropy import units as u
from astropy.table import Table
from pyvo.samp import SAMPIntegratedClient, SAMPProxyError
from pyvo.samp import conf as samp_conf

from . import dachs, door, programs, simbad_rows, simbad_tables


@pytest.fixture(scope="session")
def display(require_program: Callable[[str], str]) -> Iterator[str]:
    """DISPLAY of a virtual screen."""
    require_program("Xvfb")
    with programs.xvfb() as name:
        yield name


@pytest.fixture(scope="session")
def stilts(require_program: Callable[[str], str]) -> Callable[..., str]:
    """Return a function that runs STILTS and gives what it says."""
    require_program("stilts")
    return programs.stilts


@pytest.fixture(scope="session")
def topcat_lock(
    display: str, require_program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Lock file of the hub of a TOPCAT that runs for the whole session."""
    require_program("topcat")
    folder = tmp_path_factory.mktemp("topcat")
    with programs.topcat(display, folder):
        yield folder / "samp.lock"


def _registers(client: SAMPIntegratedClient) -> bool:
    """Connect, unless TOPCAT has written its lock file and does not serve its hub yet."""
    try:
        client.connect()
    except xmlrpc.client.Fault as fault:
        if "Hub is stopped" not in fault.faultString:
            raise
        return False
    return True


@pytest.fixture
def samp_client() -> Iterator[Callable[..., SAMPIntegratedClient]]:
    """Return a function that connects a client, pyvo's and not ours, to the hub of a lock file."""
    connected = []

    def connect(lock: Path, name: str = "tests") -> SAMPIntegratedClient:
        client = SAMPIntegratedClient(name=name, addr="127.0.0.1")
        with pytest.MonkeyPatch.context() as patch, samp_conf.set_temp("use_internet", False):
            patch.setenv("SAMP_HUB", f"std-lockurl:{lock.as_uri()}")
            programs.wait_for(lambda: _registers(client), 30, "the hub")
        connected.append(client)
        return client

    yield connect
    for client in connected:
        # The hub has ended first, or just ends, or another server has its port by now.
        with contextlib.suppress(ConnectionError, SAMPProxyError, xmlrpc.client.ProtocolError):
            client.disconnect()


@pytest.fixture
def _sockets_of_others() -> Iterator[None]:
    """Have the sockets that pyvo and astroquery leave closed here, not in the middle of a later test."""
    yield
    gc.collect()


def read_plainly(votable: bytes) -> Table:
    """Read a partner's VOTable by astropy alone."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*deprecated in the VOUnit", category=u.UnitsWarning)  # erg
        return Table.read(io.BytesIO(votable), format="votable", use_names_over_ids=True)


class Topcat:
    """What a test asks of a running TOPCAT."""

    def __init__(self, client: SAMPIntegratedClient) -> None:
        self._client = client
        self.id = programs.wait_for(self._find, 60, "TOPCAT")

    def _find(self) -> str | None:
        # It registers first, then gives its name, then says what it takes.
        for identifier in self._client.get_subscribed_clients("table.load.votable"):
            if self._client.get_metadata(identifier).get("samp.name") == "topcat":
                return identifier
        return None

    def call(self, mtype: str, **params: str | list[str]) -> dict[str, Any]:
        """Call it and wait for its answer."""
        return self._client.call_and_wait(self.id, {"samp.mtype": mtype, "samp.params": params}, "30")

    def knows(self, table_id: str) -> bool:
        """Tell whether it can be told about the table of this id."""
        answer = self.call("table.select.rowList", **{"table-id": table_id, "row-list": []})
        return answer["samp.status"] == "samp.ok"

    def table(self) -> Table | None:
        """Return the table that it shows, by astropy alone, or None."""
        answer = self.call("table.get.stil", format="votable")
        if answer["samp.status"] != "samp.ok":
            return None
        with urllib.request.urlopen(answer["samp.result"]["url"], timeout=30) as response:
            return read_plainly(response.read())


@pytest.fixture
def topcat(
    topcat_lock: Path, samp_client: Callable[..., SAMPIntegratedClient], monkeypatch: pytest.MonkeyPatch
) -> Topcat:
    """A running TOPCAT, whose hub is the user's as far as the package can see."""
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{topcat_lock.as_uri()}")
    return Topcat(samp_client(topcat_lock))


@pytest.fixture(scope="session")
def simbad_tables_rows(request: pytest.FixtureRequest) -> simbad_rows.Rows:
    """The rows of SIMBAD's tables: real objects where the real data are, else simulated ones."""
    try:
        real_data = request.getfixturevalue("real_data")
    except pytest.skip.Exception:
        real_data = None
    return simbad_rows.simbad_rows(real_data)


@pytest.fixture(scope="session")
def simbad_objects(simbad_tables_rows: simbad_rows.Rows) -> list[dict[str, Any]]:
    """The rows of ``basic``."""
    return simbad_tables_rows["basic"]


@pytest.fixture(scope="session")
def simbad_site(
    require_program: Callable[[str], str],
    simbad_tables_rows: simbad_rows.Rows,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dachs.Site]:
    """SIMBAD's tables in a database that DaCHS can serve."""
    require_program("dachs")
    if dachs.postgresql_programs() is None:
        require_program("PostgreSQL with pgSphere")  # which is not there, and this says so
    with dachs.dachs_site(tmp_path_factory.mktemp("dachs")) as site:
        site.load("simbad", simbad_tables.resource())
        site.psql(simbad_tables.rows_sql(simbad_tables_rows) + simbad_tables.names_sql())
        yield site


@pytest.fixture(scope="session")
def simbad_tap(simbad_site: dachs.Site) -> Iterator[str]:
    """Address of a TAP service with SIMBAD's tables."""
    with simbad_site.serve() as server:
        yield server.url


@pytest.fixture
def simbad_https(simbad_tap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same where astroquery looks for it: the ``server`` to give it, trusted by requests."""
    both, alone = door.certificate(tmp_path)
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(variable, str(alone))
    with door.door(
        lambda: urllib.parse.urlsplit(simbad_tap).port,
        prefix="/simbad/sim-tap",
        onto="/tap",
        tls=both,
        translate=door.to_dachs,
    ) as opened:
        yield f"localhost:{opened.port}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show what the servers said beside a failure."""
    report = yield
    site = getattr(item, "funcargs", {}).get("simbad_site")
    if report.failed and site is not None:
        report.sections.append(("PostgreSQL and DaCHS", site.logs()))
    return report
