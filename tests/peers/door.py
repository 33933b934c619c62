"""A door in front of a server: it passes requests on, keeps a list of them, and may interfere.

astroquery's SIMBAD client knows one address, ``https://{server}/simbad/sim-tap``.  With a
certificate the door speaks TLS, so that the client runs unmodified against a server of ours.
"""

from __future__ import annotations

import contextlib
import datetime
import http.client
import http.server
import ipaddress
import re
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# What SIMBAD understands of what astroquery asks, and DaCHS 2.7 does not.
_DIALECT = [
    (re.compile(r"\bLEFT JOIN\b"), "LEFT OUTER JOIN"),
    (re.compile(r"\bLOWERCASE\(", re.IGNORECASE), "LOWER("),
    (re.compile(r"(?<!\.)\btables\.description\b"), "TAP_SCHEMA.tables.description"),
]
_QUERY_PART = re.compile(rb'(name="QUERY"(?:;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)*\r\n)(.*?)(\r\n--)', re.DOTALL)
# Of one connection only; the length is counted anew.
_HOP = {"host", "connection", "accept-encoding", "content-length", "transfer-encoding", "server", "date"}


@dataclass
class Passed:
    """A request that came, and the status of its answer, None until then."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]
    status: int | None = None

    @property
    def sends_job(self) -> bool:
        """Whether it asks for something to be computed."""
        return self.method == "POST" and (b"QUERY" in self.body)


@dataclass
class Door:
    """An open door.

    Parameters
    ----------
    port : int
        Where it is, on the loopback address.
    passed : list of Passed
        All that came.
    before, after : callable, optional
        Called with each request before it is passed on, and with it when its answer is there
        and has not gone back yet.  If one returns False, the connection is cut.
    """

    port: int
    passed: list[Passed] = field(default_factory=list)
    before: Callable[[Passed], bool | None] | None = None
    after: Callable[[Passed], bool | None] | None = None


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for localhost that lasts a day; return it with its key, and alone."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both, alone = folder / "localhost.pem", folder / "authority.pem"
    both.write_bytes(private + public)
    alone.write_bytes(public)
    return both, alone


def to_dachs(body: bytes, content_type: str) -> bytes:
    """Put the query of a request, and nothing else of it, into DaCHS's dialect."""

    def translate(text: str) -> str:
        for pattern, new in _DIALECT:
            text = pattern.sub(new, text)
        return text

    if content_type.startswith("application/x-www-form-urlencoded"):
        pairs = urllib.parse.parse_qsl(body.decode(), keep_blank_values=True)
        pairs = [(key, translate(value) if key.upper() == "QUERY" else value) for key, value in pairs]
        return urllib.parse.urlencode(pairs).encode()
    if content_type.startswith("multipart/form-data") and (part := _QUERY_PART.search(body)):
        return body[: part.start(2)] + translate(part[2].decode()).encode() + body[part.end(2) :]
    return body


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request; the attributes are set by `door`."""

    protocol_version = "HTTP/1.1"
    there: Callable[[], int]
    prefix: str
    onto: str
    translate: Callable[[bytes, str], bytes] | None
    seen: Door

    def log_message(self, *_: Any) -> None:
        """Keep the output of the tests clean."""

    def _ask(self, request: Passed) -> tuple[http.client.HTTPResponse, bytes]:
        body = request.body
        if self.translate is not None:
            body = self.translate(body, self.headers.get("Content-Type", ""))
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP}
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.there(), timeout=120)
        ) as connection:
            path = self.onto + request.path.removeprefix(self.prefix)
            connection.request(request.method, path, body or None, headers)
            response = connection.getresponse()
            return response, response.read()

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Passed(self.command, self.path, body, dict(self.headers.items()))
        self.seen.passed.append(request)
        self.close_connection = True
        if self.seen.before is not None and self.seen.before(request) is False:
            return
        try:
            response, data = self._ask(request)
        except (OSError, http.client.HTTPException):  # gone: let the client see just that
            return
        request.status = response.status
        if self.seen.after is not None and self.seen.after(request) is False:
            return
        with contextlib.suppress(ConnectionError):
            self.send_response(response.status)
            for key, value in response.getheaders():
                if key.lower() not in _HOP:
                    self.send_header(key, value)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(data)

    do_GET = do_POST = do_DELETE = do_HEAD = _pass


@contextlib.contextmanager
def door(
    there: Callable[[], int],
    *,
    prefix: str = "",
    onto: str = "",
    tls: Path | None = None,
    translate: Callable[[bytes, str], bytes] | None = None,
) -> Iterator[Door]:
    """Open a door to a server of ours.

    Parameters
    ----------
    there : callable
        Gives the port of the server, asked for each request: a server may have to take another one.
    prefix, onto : str, optional
        Beginning of the paths at the door, and there.
    tls : Path, optional
        Certificate and key, if the door is to speak TLS.
    translate : callable, optional
        Applied to the body of each request, with its content type.

    Yields
    ------
    Door
    """
    seen = Door(0)
    calls = {"there": staticmethod(there), "translate": translate and staticmethod(translate)}
    handler = type("Handler", (_Handler,), {**calls, "prefix": prefix, "onto": onto, "seen": seen})
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    seen.port = listening.server_port
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
