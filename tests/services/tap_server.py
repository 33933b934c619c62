"""A stand-in for a TAP service, on the loopback address, that can be told to fail in every way.

It takes the queries that the package sends: a cone join of an uploaded table, and look-ups in
TAP_SCHEMA and in a registry.  The join is worked out with NumPy on all pairs.  Queries are
answered at once (``/sync``) or as jobs (``/async``).
"""

from __future__ import annotations

import contextlib
import email.parser
import email.policy
import http.server
import io
import re
import threading
import time
import urllib.parse
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from astropy.io import votable
from astropy.io.votable.exceptions import VOWarning
from astropy.table import MaskedColumn, Table

VOTABLE = "application/x-votable+xml"
_JOIN = re.compile(
    r"SELECT (?P<select>.*)\nFROM TAP_UPLOAD\.ac_local AS u\nJOIN (?P<table>.*) AS r\n"
    r"ON 1 = CONTAINS\(POINT\('ICRS', r\.(?P<ra>.*), r\.(?P<dec>.*)\), "
    r"CIRCLE\('ICRS', u\.ac_ra, u\.ac_dec, (?P<radius>[-+.e\d]+)\)\)"
    r"(?P<nearest>\nGROUP BY u\.ac_row)?",
    re.DOTALL,
)
_NAMES = re.compile(r"table_name IN \((?P<names>.*)\)")


@dataclass
class Reply:
    """What goes back.

    Parameters
    ----------
    body : bytes
        What is sent.
    status, headers, content_type : int, dict, str
        As HTTP has them.
    promised : int or None
        The Content-Length, if it is a lie.
    pause : float
        Seconds between two bytes.
    endless : bool
        Whether the body is sent again and again, without a declared length.
    silent : float
        Seconds of silence before anything is sent.
    hang_up : bool
        Whether the connection ends without an answer.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = VOTABLE
    promised: int | None = None
    pause: float = 0.0
    endless: bool = False
    silent: float = 0.0
    hang_up: bool = False


Fault = Callable[[Reply], Reply]


@dataclass
class Job:
    """A job: its form, how often its phase is still EXECUTING, and what became of it."""

    form: dict[str, Any]
    polls_left: int
    phase: str = "PENDING"
    reply: Reply | None = None


@dataclass
class TapServer:
    """The running stand-in.

    Parameters
    ----------
    url : str
        Its address.
    tables : dict of str to Table
        What it has.
    faults : dict of str to deque
        For each kind of request (``sync``, ``create``, ``run``, ``phase``, ``result``, ``delete``,
        ``capabilities``, ``look_up``): functions of the good reply that give the one to send.
    requests : list of (str, str)
        Method and path of all that came.
    queries : list of dict
        The forms of all cone joins, with the number of ``rows`` uploaded.
    max_rows, upload_rows : int
        What it returns and takes at most.
    declares : str or None
        Its capabilities; None for those that are true.
    tells_overflow : bool
        Whether a cut answer has the status OVERFLOW.
    polls : int
        How often a job is EXECUTING when it is looked at.
    jobs : dict of str to Job
        Those that nobody deleted.
    """

    url: str
    tables: dict[str, Table]
    faults: dict[str, deque[Fault | None]] = field(default_factory=lambda: defaultdict(deque))
    requests: list[tuple[str, str]] = field(default_factory=list)
    queries: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    max_rows: int = 2_000_000
    upload_rows: int = 2_000_000
    upload_says: str | None = None
    declares: bytes | None = None
    tells_overflow: bool = True
    polls: int = 1
    jobs: dict[str, Job] = field(default_factory=dict)
    n_jobs: int = 0
    registry: dict[str, str] = field(default_factory=dict)
    imprecise: bool = False
    running: int = 0
    most_running: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def kinds(self, method: str, part: str) -> int:
        """Return how many requests of a kind came."""
        return sum(m == method and part in path for m, path in self.requests)


def error_document(text: str, status: int = 400) -> Reply:
    """Return what a service says about a query that failed."""
    body = (
        '<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE type="results">'
        f'<INFO name="QUERY_STATUS" value="ERROR">{escape(text)}</INFO></RESOURCE></VOTABLE>'
    )
    return Reply(body.encode(), status)


def document(table: Table, status: str = "OK") -> bytes:
    """Return a table as the VOTable of an answer; the status OVERFLOW stands behind it."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VOWarning)  # a name such as 2MASS is no XML ID
        # astropy's writer in C (8.0.2) can crash the interpreter on a table of a few short rows.
        votable.from_table(table).to_xml(file, _debug_python_based_parser=True)
    body = file.getvalue()
    ok = b'<INFO name="QUERY_STATUS" value="OK"/>'
    body = re.sub(rb"<RESOURCE[^>]*>", lambda found: found[0] + ok, body, count=1)
    if status != "OK":
        tail = f'<INFO name="QUERY_STATUS" value="{status}"/></RESOURCE>'.encode()
        body = body.replace(b"</RESOURCE>", tail, 1)
    return body


def _vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    lon, lat = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def close(here: Table, ra: np.ndarray, dec: np.ndarray, degrees: float, *, imprecise: bool) -> Any:
    """Return all pairs within a radius: by the angle of two vectors, or as carelessly as some do."""
    a, b = _vectors(here["ac_ra"], here["ac_dec"]), _vectors(ra, dec)
    cosine = a @ b.T
    if imprecise:
        angle = np.arccos(np.clip(cosine, -1, 1))
    else:
        angle = np.arctan2(np.linalg.norm(np.cross(a[:, None], b[None]), axis=-1), cosine)
    i, j = np.nonzero(np.degrees(angle) <= degrees)
    order = np.random.default_rng(len(i)).permutation(len(i))  # a service owes no order
    return i[order], j[order]


def _bare(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _join(form: dict[str, Any], server: TapServer) -> Reply:
    parts = _JOIN.fullmatch(form["QUERY"])
    if parts is None:
        return error_document(f"cannot parse {form['QUERY'][:80]}")
    here: Table = form["table"]
    if len(here) > server.upload_rows:
        says = server.upload_says or f"the upload has more rows than the limit of {server.upload_rows}"
        return error_document(says, 413 if server.upload_says is None else 400)
    name = re.sub(r'"([^"]*)"', r"\1", parts["table"])
    if name not in server.tables:
        return error_document(f"table {name} not found")
    there = server.tables[name]
    ra, dec = _bare(parts["ra"]), _bare(parts["dec"])
    radius = float(parts["radius"])
    i, j = close(here, there[ra], there[dec], radius, imprecise=server.imprecise)
    if parts["nearest"]:
        a, b = _vectors(here["ac_ra"], here["ac_dec"]), _vectors(there[ra], there[dec])
        degrees = np.degrees(np.arccos(np.clip(a @ b.T, -1, 1))).min(axis=1)
        rows = np.unique(i)
        return Reply(document(Table({"ac_row": here["ac_row"][rows], "ac_distance": degrees[rows]})))
    limit = min(server.max_rows, int(form["MAXREC"]))
    cut, i, j = len(i) > limit, i[:limit], j[:limit]
    out = Table()
    for item in parts["select"].split(", "):
        if item == "u.ac_row":
            out["ac_row"] = here["ac_row"][i]
            continue
        if item == "r.*":
            for column in there.colnames:
                out[column] = there[column][j]
            continue
        source, _, alias = item.removeprefix("r.").partition(" AS ")
        column = _bare(source)
        if column not in there.colnames:
            return error_document(f"no column {column}")
        out[alias or column] = there[column][j]
    return Reply(document(out, "OVERFLOW" if cut and server.tells_overflow else "OK"))


def _schema(server: TapServer) -> Table:
    rows = [
        (
            name,
            column,
            "VARCHAR" if table[column].dtype.kind in "US" else "DOUBLE",
            table[column].description or "",
            str(table[column].unit or ""),
            table[column].meta.get("ucd", ""),
        )
        for name, table in server.tables.items()
        for column in table.colnames
    ]
    return Table(rows=rows, names=("table_name", "column_name", "datatype", "description", "unit", "ucd"))


def _look_up(form: dict[str, Any], server: TapServer) -> Reply:
    query = form["QUERY"]
    if "TAP_SCHEMA.columns" in query:
        wanted = {
            name.strip().strip("'").replace("''", "'") for name in _NAMES.search(query)["names"].split(", ")
        }
        found = _schema(server)
        return Reply(document(found[[name in wanted for name in found["table_name"]]]))
    if "TAP_SCHEMA.tables" in query:
        return Reply(document(Table({"table_name": list(server.tables)})))
    ivoid = re.search(r"ivoid = '([^']*)'", query)[1]
    urls = [server.registry[ivoid]] if ivoid in server.registry else []
    return Reply(document(Table({"access_url": np.array(urls, dtype="U200")})))


def answer(form: dict[str, Any], server: TapServer) -> Reply:
    """Answer a query."""
    if "TAP_UPLOAD" not in form["QUERY"]:
        return _look_up(form, server)
    with server.lock:
        server.queries.append({**form, "rows": len(form["table"])})
    return _join(form, server)


def capabilities(server: TapServer) -> bytes:
    """Return the capabilities with the limits that are true."""
    return f"""<?xml version="1.0"?>
<vosi:capabilities xmlns:vosi="http://www.ivoa.net/xml/VOSICapabilities/v1.0"
  xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<capability standardID="ivo://ivoa.net/std/TAP" xsi:type="tr:TableAccess">
<uploadMethod ivo-id="ivo://ivoa.net/std/TAPRegExt#upload-inline"/>
<outputLimit><default unit="row">{server.max_rows}</default>
<hard unit="row">{server.max_rows}</hard></outputLimit>
<uploadLimit><hard unit="row">{server.upload_rows}</hard></uploadLimit>
</capability></vosi:capabilities>""".encode()


def _form(handler: http.server.BaseHTTPRequestHandler) -> dict[str, Any]:
    body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    kind = handler.headers.get("Content-Type", "")
    if not kind.startswith("multipart/"):
        return dict(urllib.parse.parse_qsl(body.decode()))
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    message: Any = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    form: dict[str, Any] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        if part.get_filename() is not None:
            data.decode("ascii")  # what all services read
            form["table"] = Table.read(io.BytesIO(data), format="votable")
        else:
            form[name] = data.decode()
    return form


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection; ``stand_in`` is set by `tap_service`."""

    stand_in: TapServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Keep the output of the tests clean."""

    def _send(self, kind: str, reply: Reply) -> None:
        server = self.stand_in
        with server.lock:
            fault = server.faults[kind].popleft() if server.faults[kind] else None
        reply = fault(reply) if fault else reply
        with contextlib.suppress(ConnectionError, TimeoutError):  # the caller may have given up
            self._write(reply)

    def _write(self, reply: Reply) -> None:
        time.sleep(reply.silent)
        if reply.hang_up:
            self.close_connection = True
            return
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.endless:
            self.close_connection = True
            self.end_headers()
            while True:
                self.wfile.write(reply.body)
                time.sleep(reply.pause)
        self.send_header("Content-Length", str(reply.promised or len(reply.body)))
        self.end_headers()
        if reply.pause:
            for i in range(len(reply.body)):
                self.wfile.write(reply.body[i : i + 1])
                time.sleep(reply.pause)
        else:
            self.wfile.write(reply.body)
        if reply.promised:
            self.close_connection = True

    def _handle(self) -> None:
        server = self.stand_in
        path = urllib.parse.urlsplit(self.path).path.removeprefix("/tap")
        form = _form(self)
        with server.lock:
            server.requests.append((self.command, path))
            server.times.append(time.monotonic())
            server.running += 1
            server.most_running = max(server.most_running, server.running)
        try:
            kind, reply = self._reply(path, form)
        finally:
            with server.lock:
                server.running -= 1
        self._send(kind, reply)

    do_GET = do_POST = do_DELETE = _handle

    def _reply(self, path: str, form: dict[str, Any]) -> tuple[str, Reply]:
        server = self.stand_in
        if path == "/capabilities":
            body = capabilities(server) if server.declares is None else server.declares
            return "capabilities", Reply(body, content_type="text/xml")
        if path == "/sync" and "QUERY" in form:
            return ("sync" if "UPLOAD" in form else "look_up"), answer(form, server)
        if path == "/async" and self.command == "POST":
            if "table" in form and len(form["table"]) > server.upload_rows:
                return "create", answer(form, server)
            with server.lock:
                server.n_jobs += 1
                job = f"job{server.n_jobs}"
                server.jobs[job] = Job(form, server.polls)
            return "create", Reply(b"", 303, {"Location": f"{server.url}/async/{job}"})
        if path.startswith("/async/"):
            return self._job(path.removeprefix("/async/"), form)
        return "nothing", Reply(b"not here", 404, content_type="text/plain")

    def _job(self, path: str, form: dict[str, Any]) -> tuple[str, Reply]:
        server = self.stand_in
        name, _, what = path.partition("/")
        job = server.jobs.get(name)
        if job is None:
            return "gone", Reply(b"no such job", 404, content_type="text/plain")
        if self.command == "DELETE":
            del server.jobs[name]
            return "delete", Reply(b"", 303, {"Location": f"{server.url}/async"})
        if what == "phase" and self.command == "POST":
            if job.phase == "PENDING":
                job.phase = "EXECUTING"
            return "run", Reply(b"", 303, {"Location": f"{server.url}/async/{name}"})
        if what == "phase":
            return "phase", Reply(self._phase(job).encode(), content_type="text/plain")
        if what == "results/result" and job.reply is not None:
            return "result", job.reply
        said = escape(getattr(job, "error", ""))
        xml = (
            '<uws:job xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0">'
            f"<uws:errorSummary><uws:message>{said}</uws:message></uws:errorSummary></uws:job>"
        )
        return "job", Reply(xml.encode(), content_type="text/xml")

    def _phase(self, job: Job) -> str:
        if job.phase == "EXECUTING":
            job.polls_left -= 1
            if job.polls_left < 0:
                job.reply = answer(job.form, self.stand_in)
                failed = job.reply.status >= 400
                job.phase = "ERROR" if failed else "COMPLETED"
                if failed:
                    job.error = re.sub(r"<[^>]*>", "", job.reply.body.decode())  # type: ignore[attr-defined]
        return job.phase


@contextlib.contextmanager
def tap_service(tables: dict[str, Table]) -> Iterator[TapServer]:
    """Run the stand-in while the block runs.

    Parameters
    ----------
    tables : dict of str to `~astropy.table.Table`
        What the service has.

    Yields
    ------
    TapServer
    """
    handler = type("Handler", (_Handler,), {})
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    listening.daemon_threads = True
    listening.block_on_close = False
    handler.stand_in = TapServer(f"http://127.0.0.1:{listening.server_port}/tap", tables)  # type: ignore[attr-defined]
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield handler.stand_in  # type: ignore[attr-defined]
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def small_simbad(rng: np.random.Generator, ra: np.ndarray, dec: np.ndarray) -> Table:
    """Return a catalogue with columns of SIMBAD, their units, UCDs and descriptions."""
    n = len(ra)
    hidden = rng.uniform(size=n) < 0.3
    table = Table(
        {
            "oid": rng.permutation(10 * n)[:n].astype(np.int64) + 4_611_686_018_427_387_904,
            "main_id": [f"Obj  {i}" for i in range(n)],
            "ra": ra,
            "dec": dec,
            "otype": rng.choice(["*", "QSO", "Sy1", "EB*"], n),
            "sp_type": rng.choice(["", "G2V", "B2IV-V"], n),
            "rvz_redshift": MaskedColumn(rng.uniform(0, 3, n), mask=hidden),
            "nbref": rng.integers(0, 500, n).astype(np.int32),
            "hpx": rng.integers(0, 10**6, n),
            "plx_value": MaskedColumn(rng.uniform(0, 3, n), mask=~hidden, unit="mas"),
        }
    )
    for name in (
        "coo_err_maj",
        "coo_err_min",
        "rvz_radvel",
        "pmra",
        "pmdec",
        "galdim_majaxis",
        "galdim_minaxis",
    ):
        table[name] = rng.uniform(0, 1, n).astype(np.float32)
    for name in ("coo_err_angle", "galdim_angle"):
        table[name] = rng.integers(0, 180, n).astype(np.int16)
    table["morph_type"] = np.array(["Sb"] * n)
    for name, unit, ucd, description in (
        ("ra", "deg", "pos.eq.ra;meta.main", "Right ascension"),
        ("dec", "deg", "pos.eq.dec;meta.main", "Declination"),
        ("otype", None, "src.class", "Object type"),
        ("rvz_redshift", None, "src.redshift", "redshift"),
        ("plx_value", "mas", "pos.parallax.trig", "Parallax"),
        ("pmra", "mas/yr", "pos.pm;pos.eq.ra", "Proper motion in RA"),
    ):
        table[name].unit, table[name].description = unit, description
        table[name].meta["ucd"] = ucd
    return table
