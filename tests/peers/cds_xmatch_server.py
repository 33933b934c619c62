"""A stand-in for the CDS X-Match service, on the loopback address.

It speaks the protocol of ``…/xmatch/api/v1/sync`` as far as astroquery and STILTS (and so
TOPCAT) use it: a form with two tables (one uploaded as CSV or VOTable, one known by name),
a radius, ``selection``, ``cols1``, ``cols2``, a cone and ``MAXREC``; the answer has
``angDist`` [arcsec] first, then the columns of both tables.  It can be told to fail.
"""

from __future__ import annotations

import contextlib
import email.parser
import email.policy
import gzip
import http.server
import io
import threading
import urllib.parse
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord, search_around_sky
from astropy.io import votable
from astropy.io.votable.exceptions import VOWarning
from astropy.table import Table, hstack

MAX_RADIUS = 180.0
VOTABLE = "application/x-votable+xml"


@dataclass
class Catalogue:
    """A table that the service knows, and its position columns [deg]."""

    table: Table
    ra: str
    dec: str


@dataclass
class Reply:
    """What goes back; ``promised`` is the Content-Length if it is a lie."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = VOTABLE
    promised: int | None = None


@dataclass
class XMatchServer:
    """The running stand-in.

    Parameters
    ----------
    url : str
        Its address.
    catalogues : dict of str to Catalogue
        What it knows; the names are those of VizieR, or ``simbad``.
    forms : list of dict
        The fields of every form that came; an upload as text under ``file:cat1``.
    paths : list of str
        Every GET that came.
    faults : deque of callable or None
        One is taken for each form: a function of the good reply that gives the one to send.
    max_rows : int
        Rows in an answer at most.
    tells_overflow : bool
        Whether a cut answer has the status OVERFLOW.
    """

    url: str
    catalogues: dict[str, Catalogue]
    forms: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    faults: deque[Callable[[Reply], Reply] | None] = field(default_factory=deque)
    max_rows: int = 2_000_000
    tells_overflow: bool = False
    running: int = 0
    most_running: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def failing(status: int, text: str = "out of order", **headers: str) -> Callable[[Reply], Reply]:
    """Return a fault that answers with an HTTP error; ``Retry_After="1"`` sets that header."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Reply(text.encode(), status, fields, "text/plain")


def garbage(text: str = "<html><body>Wartungsarbeiten</body></html>") -> Callable[[Reply], Reply]:
    """Return a fault that answers 200 with something that is no VOTable."""
    return lambda _: Reply(text.encode(), content_type="text/html")


def half(reply: Reply) -> Reply:
    """Send the first half of the answer as if it were all."""
    return Reply(reply.body[: len(reply.body) // 2])


def broken_off(reply: Reply) -> Reply:
    """Promise the whole answer and hang up after half of it."""
    return Reply(reply.body[: len(reply.body) // 2], promised=len(reply.body))


def error_document(text: str) -> bytes:
    """Return what the service sends with an error."""
    return (
        '<?xml version="1.0"?><VOTABLE version="1.2" xmlns="http://www.ivoa.net/xml/VOTable/v1.2">'
        '<RESOURCE type="results"><INFO ID="QUERY_STATUS" name="QUERY_STATUS" value="ERROR">'
        f"{escape(text)}</INFO></RESOURCE></VOTABLE>"
    ).encode()


def _parse_form(content_type: str, body: bytes) -> tuple[dict[str, str], dict[str, bytes]]:
    """Return the fields and the files of a form, names in lower case."""
    if not content_type.lower().startswith("multipart/form-data"):
        return {k.lower(): v for k, v in urllib.parse.parse_qsl(body.decode())}, {}
    # STILTS makes a boundary of '<', '>' and blanks, which Python's parser refuses: swap it.
    boundary = content_type.split("boundary=", 1)[1].strip().strip('"')
    body = body.replace(b"--" + boundary.encode(), b"--plainboundary")
    head = b"Content-Type: multipart/form-data; boundary=plainboundary\r\n\r\n"
    message: Any = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    fields, files = {}, {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition").lower()
        data = part.get_payload(decode=True)
        if part.get_filename() is not None or part.get_content_type() != "text/plain":
            files[name] = data
        else:
            fields[name] = data.decode()
    return fields, files


def _uploaded(content: bytes) -> Table:
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    if content.lstrip()[:1] == b"<":
        return Table.read(io.BytesIO(content), format="votable", use_names_over_ids=True)
    return Table.read(content.decode(), format="ascii.csv")


def _table_of(
    number: int, fields: dict[str, str], files: dict[str, bytes], server: XMatchServer
) -> tuple[Table, SkyCoord]:
    key = f"cat{number}"
    if key in files:
        table = _uploaded(files[key])
        ra, dec = fields[f"colra{number}"], fields[f"coldec{number}"]
    else:
        name = fields[key].removeprefix("vizier:")
        if name not in server.catalogues:
            raise ValueError(f"table {name} not found")
        known = server.catalogues[name]
        table, ra, dec = known.table, known.ra, known.dec
    coord = SkyCoord(np.asarray(table[ra], float), np.asarray(table[dec], float), unit="deg")
    if wanted := fields.get(f"cols{number}"):
        table = table[[name.strip() for name in wanted.split(",")]]
    return table, coord


def _pairs(first: SkyCoord, second: SkyCoord, fields: dict[str, str]) -> tuple[np.ndarray, ...]:
    """Return row numbers and separations [arcsec], by the first table's rows, nearest first."""
    radius = float(fields["distmaxarcsec"])
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError("distMaxArcsec must be within 0 and 180")
    i, j, separation, _ = search_around_sky(first, second, radius * u.arcsec)
    if fields.get("area") == "cone":
        centre = SkyCoord(float(fields["conera"]), float(fields["conedec"]), unit="deg")
        inside = first[i].separation(centre) <= float(fields["coneradiusdeg"]) * u.deg
        i, j, separation = i[inside], j[inside], separation[inside]
    order = np.lexsort((separation.arcsec, i))
    if fields.get("selection") == "best":
        order = order[np.flatnonzero(np.diff(i[order], prepend=-1))]
    return i[order], j[order], np.round(separation.arcsec[order], 6)


def _answer(fields: dict[str, str], files: dict[str, bytes], server: XMatchServer) -> Reply:
    first, first_coord = _table_of(1, fields, files, server)
    second, second_coord = _table_of(2, fields, files, server)
    i, j, arcsec = _pairs(first_coord, second_coord, fields)
    limit = min(server.max_rows, int(fields.get("maxrec") or server.max_rows))
    cut = len(i) > limit
    parts = [Table({"angDist": arcsec[:limit] * u.arcsec}), first[i[:limit]], second[j[:limit]]]
    joined = hstack(
        parts,
        join_type="exact",
        uniq_col_name="{col_name}_{table_name}",
        table_names=["", "1", "2"],
        metadata_conflicts="silent",
    )
    joined.meta.clear()
    if not fields.get("responseformat", "votable").startswith("votable"):
        text = io.StringIO()
        joined.write(text, format="ascii.csv")
        return Reply(text.getvalue().encode(), content_type="text/csv")
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VOWarning)  # a name such as 2MASS is no XML ID
        tree = votable.from_table(joined)
        # astropy's writer in C (8.0.2) can crash the interpreter on a table of a few short rows.
        tree.to_xml(file, _debug_python_based_parser=True)
    body = file.getvalue()
    if cut and server.tells_overflow:
        info = b'<INFO name="QUERY_STATUS" value="OVERFLOW"/></RESOURCE>'
        body = body.replace(b"</RESOURCE>", info, 1)
    return Reply(body)


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request; ``stand_in`` is set by `cds_xmatch`."""

    stand_in: XMatchServer

    def log_message(self, *_: Any) -> None:
        """Keep the output of the tests clean."""

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(reply.promised or len(reply.body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)
        if reply.promised:
            self.close_connection = True

    def do_GET(self) -> None:
        self.stand_in.paths.append(self.path)
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        if query.get("action") == "getVizieRTableNames":
            self._send(Reply("\n".join(self.stand_in.catalogues).encode(), content_type="text/plain"))
        else:
            self._send(Reply(b"not here", 404, content_type="text/plain"))

    def do_POST(self) -> None:
        server = self.stand_in
        fields, files = _parse_form(self.headers.get("Content-Type", ""), self._body())
        uploads = {f"file:{name}": content.decode("utf-8", "replace") for name, content in files.items()}
        with server.lock:
            server.forms.append({**fields, **uploads})
            fault = server.faults.popleft() if server.faults else None
            server.running += 1
            server.most_running = max(server.most_running, server.running)
        try:
            reply = _answer(fields, files, server)
        except (KeyError, ValueError) as error:
            reply = Reply(error_document(str(error)), 400)
        with server.lock:
            server.running -= 1
        with contextlib.suppress(ConnectionError):  # the caller may have given up waiting
            self._send(fault(reply) if fault else reply)

    def _body(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)


@contextlib.contextmanager
def cds_xmatch(catalogues: dict[str, Catalogue]) -> Iterator[XMatchServer]:
    """Run the stand-in while the block runs.

    Parameters
    ----------
    catalogues : dict of str to Catalogue
        What the service knows.

    Yields
    ------
    XMatchServer
    """
    handler = type("Handler", (_Handler,), {})
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    url = f"http://127.0.0.1:{listening.server_port}/xmatch/api/v1/sync"
    handler.stand_in = XMatchServer(url, catalogues)  # type: ignore[attr-defined]
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield handler.stand_in  # type: ignore[attr-defined]
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
