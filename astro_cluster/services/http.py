"""The one asker of all services: patient, polite, and with limits.

Every request goes out alone to its host (`astro_cluster.services.throttle`), to http and https
addresses only, redirects included.  An answer has a limit of size (``conf.max_answer_bytes``), of
time between two pieces (``conf.timeout``) and of time in all (``conf.answer_time``), so that one
without end ends.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter

from astro_cluster.config import conf
from astro_cluster.exceptions import ServiceError
from astro_cluster.services.throttle import turn

__all__ = ["Asker", "Passing", "Refused", "Reply", "check_address", "is_busy", "retry_after"]

_SCHEMES = ("http", "https")
_MOST_HOPS = 5
_PIECE = 2**16
_BUSY = re.compile(r"too many (?:jobs|requests)|try (?:again )?later|temporarily", re.IGNORECASE)

T = TypeVar("T")


class Passing(Exception):
    """A failure that another try may mend; ``wait`` is how long the service asks to wait [s]."""

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Refused(Exception):
    """The service understood and does not want; ``code`` is the HTTP status."""

    def __init__(self, text: str, *, code: int = 200) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Parameters
    ----------
    url : str
        Where it came from in the end.
    code : int
        The HTTP status.
    headers : mapping of str to str
        Names in any case.
    content : bytes
        The whole body, unpacked.
    form_lost : bool
        Whether a redirect made a GET of a POST.
    """

    url: str
    code: int
    headers: Mapping[str, str]
    content: bytes
    form_lost: bool = False


def check_address(url: str, *, setting: str = "") -> str:
    """Return an address if it is one that services have.

    Parameters
    ----------
    url : str
        What to ask.
    setting : str, optional
        Where the address is from, for the message.

    Returns
    -------
    str

    Raises
    ------
    ServiceError
        If it is no http or https address, or holds a password.

    Examples
    --------
    >>> check_address("https://simbad.cds.unistra.fr/simbad/sim-tap")
    'https://simbad.cds.unistra.fr/simbad/sim-tap'
    """
    advice = f". Set {setting}" if setting else ""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme.lower() in _SCHEMES and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        is_good = False
    if not is_good:
        raise ServiceError(f"{url!r} is no address of a service: only http:// and https:// are asked{advice}")
    if parts.username or parts.password:
        raise ServiceError(
            f"the address of a service at {parts.hostname} has a password in it, which would stand in the "
            f"record of the table; leave it out{advice}"
        )
    return url


def is_busy(text: str) -> bool:
    """Tell whether a refusal says that the service would do it later.

    Parameters
    ----------
    text : str
        What the service says.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_busy("Too many jobs are being processed, try later!"), is_busy("Too many rows")
    (True, False)
    """
    return _BUSY.search(text) is not None


def retry_after(header: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, in either of its two forms.

    Parameters
    ----------
    header : str or None
        Seconds, or a date.

    Returns
    -------
    float or None
        None if there is none that can be understood.

    Examples
    --------
    >>> retry_after("2"), retry_after("soon")
    (2.0, None)
    """
    if not header:
        return None
    with contextlib.suppress(ValueError):
        seconds = float(header)
        return max(0.0, seconds) if seconds == seconds else None
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


class _Adapter(HTTPAdapter):
    """Remembers the open sockets, so that a watch can end a reading that nothing else ends."""

    def __init__(self) -> None:
        self.sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of connections."""
        super().init_poolmanager(*args, **kwargs)
        self._note_sockets(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Return the pools of connections of a proxy."""
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if is_new:
            self._note_sockets(manager)
        return manager

    def _note_sockets(self, manager: Any) -> None:
        sockets = self.sockets

        def noting(pool: Any) -> Any:
            class Connection(pool.ConnectionCls):
                def connect(self) -> None:
                    super().connect()
                    sockets.add(self.sock)

            return type(pool.__name__, (pool,), {"ConnectionCls": Connection})

        pools = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = {scheme: noting(pool) for scheme, pool in pools.items()}

    def hang_up(self) -> None:
        """End all connections; whoever reads from one gets an error or the end."""
        for open_socket in list(self.sockets):
            with contextlib.suppress(OSError):
                # Not the method of an SSL socket, which is not made to be called from another thread.
                socket.socket.shutdown(open_socket, socket.SHUT_RDWR)


class _Watch:
    """Hangs up when the time for an answer is over."""

    def __init__(self, adapter: _Adapter, seconds: float) -> None:
        self.over = False
        self._adapter = adapter
        # A day is as good as no limit, and more than some systems' timers take.
        self._timer = threading.Timer(min(seconds, 86400.0), self._end)
        self._timer.daemon = True

    def _end(self) -> None:
        self.over = True
        self._adapter.hang_up()

    def __enter__(self) -> _Watch:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()


def _next_method(method: str, code: int, url: str, to: str) -> str:
    """Return how a redirect is followed: whether the form is sent again, or only looked at."""
    if method == "GET" or code in (307, 308):
        return method
    # "See other" is the answer of a job that was made; "moved" with the same end is the same service
    # elsewhere, and other "moved" are what browsers make a GET of.
    same_end = (
        urlsplit(url).path.rstrip("/").rpartition("/")[2]
        == (urlsplit(to).path.rstrip("/").rpartition("/")[2])
    )
    return method if code in (301, 302) and same_end else "GET"


class Asker:
    """Asks one service, again and again as ``conf.retries`` allows.

    Parameters
    ----------
    name : str
        What to call the service in messages, such as "the CDS X-Match service".
    setting : str
        Where its address is from, such as "conf.xmatch_url".
    interval : float, optional
        Seconds between two requests to its host.
    session : `requests.Session`, optional
        One whose login (headers, auth, cookies, certificates) is to be used.

    Examples
    --------
    >>> with Asker("the service", setting="the address") as asker:
    ...     asker.send("GET", "file:///etc/passwd")
    Traceback (most recent call last):
    ...
    astro_cluster.exceptions.ServiceError: 'file:///etc/passwd' is no address of a service: only ...
    """

    def __init__(
        self, name: str, *, setting: str, interval: float = 0.0, session: requests.Session | None = None
    ) -> None:
        self.name = name
        self.setting = setting
        self.interval = interval
        self.n_sent = 0
        self._adapter = _Adapter()
        self._session = requests.Session()
        self._has_login = False
        if session is not None:
            self._has_login = bool(
                session.auth or session.cert or len(session.cookies) or "Authorization" in session.headers
            )
            for what in ("headers", "auth", "cookies", "verify", "cert", "proxies", "params", "trust_env"):
                setattr(self._session, what, getattr(session, what))
        for scheme in _SCHEMES:
            self._session.mount(f"{scheme}://", self._adapter)

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all connections."""
        self._session.close()

    def ask(self, attempt: Callable[[], T], where: str, *, url: str, advice: str = "") -> T:
        """Try until it works, or there is no use.

        Parameters
        ----------
        attempt : callable
            Raises `Passing` if another try may mend it.
        where : str
            What is asked for, in messages.
        url : str
            The address, for errors.
        advice : str, optional
            What to do when nothing helped.

        Returns
        -------
        object
            What ``attempt`` returned.

        Raises
        ------
        ServiceError
            If no try worked, or the service asks to wait longer than ``conf.timeout``.
        """
        wait = float(conf.retry_wait)
        for tries_left in range(int(conf.retries), -1, -1):
            try:
                return attempt()
            except Passing as trouble:
                last, pause = trouble, trouble.wait if trouble.wait is not None else wait
            if tries_left == 0 or pause > conf.timeout:
                break
            time.sleep(pause)
            wait *= 2
        n_tries = int(conf.retries) - tries_left + 1
        tries = f"{n_tries} {'try' if n_tries == 1 else 'tries'}"
        longer = f" It asks to wait {pause:.0f} s." if pause > conf.timeout else ""
        raise ServiceError(
            f"{self.name} did not answer for {where}, after {tries}: {last}.{longer}{advice}", url=url
        ) from last

    def send(
        self,
        method: str,
        url: str,
        *,
        data: Mapping[str, str] | None = None,
        files: Mapping[str, Any] | None = None,
        see_other: bool = True,
    ) -> Reply:
        """Send one request, follow its redirects and read the whole answer.

        Parameters
        ----------
        method : {"GET", "POST", "DELETE"}
            The HTTP method.
        url : str
            The address.
        data, files : mapping, optional
            Fields and files of a form, as requests takes them.
        see_other : bool, optional
            Whether a redirect that makes a GET of another method is followed; else it is returned.

        Returns
        -------
        Reply
            Of any HTTP status.

        Raises
        ------
        Passing
            If the connection fails or breaks.
        ServiceError
            If the address is none, the answer is too large or too slow, or a redirect leaves http.
        """
        check_address(url, setting=self.setting)
        start, form_lost = url, False
        for _ in range(_MOST_HOPS):
            reply = self._send_once(method, url, data, files)
            to = reply.headers.get("Location")
            if not 300 <= reply.code < 400 or reply.code == 304 or not to:
                return Reply(reply.url, reply.code, reply.headers, reply.content, form_lost)
            to = urljoin(url, to)
            self.check_onward(url, to)
            following = _next_method(method, reply.code, url, to)
            if following != method:
                if not see_other:
                    return Reply(reply.url, reply.code, {**reply.headers, "Location": to}, reply.content)
                # 303 is the service's way to show a result; by others the form was lost.
                form_lost = form_lost or (method == "POST" and reply.code != 303)
                data = files = None
            method, url = following, to
        raise ServiceError(f"{self.name} redirects in a circle, last to {url}", url=start)

    def check_onward(self, url: str, to: str) -> None:
        """Check an address that an answer sends us on to.

        Parameters
        ----------
        url : str
            Who answered.
        to : str
            Where to go.

        Raises
        ------
        ServiceError
            If it is no http or https address, or of another host, which a login is not shown to.
        """
        if urlsplit(to).scheme.lower() not in _SCHEMES:
            raise ServiceError(
                f"{self.name} redirects to {to[:200]!r}, which is not followed: only http and https are",
                url=url,
            )
        check_address(to)
        here, there = urlsplit(url.lower()), urlsplit(to.lower())
        is_open = here.scheme == "https" and there.scheme == "http"
        if self._has_login and (here.netloc != there.netloc or is_open):
            what = "a way without encryption" if is_open else "another host"
            raise ServiceError(
                f"{self.name} redirects to {to[:200]!r}, {what}, which the login is not shown to", url=url
            )

    def _send_once(self, method: str, url: str, data: Any, files: Any) -> Reply:
        with turn(url, self.interval), _Watch(self._adapter, conf.answer_time) as watch:
            self.n_sent += 1
            try:
                with self._explained(url), self._open(method, url, data, files) as response:
                    content = self._read(response, url)
            except (Passing, ServiceError):
                if watch.over:
                    raise self._too_slow(url) from None
                raise
            if watch.over:  # a body without a declared length ends where the connection ends
                raise self._too_slow(url)
        return Reply(response.url or url, response.status_code, response.headers, content)

    def _open(self, method: str, url: str, data: Any, files: Any) -> requests.Response:
        return self._session.request(
            method,
            url,
            data=data,
            files=files,
            timeout=float(conf.timeout),
            stream=True,
            allow_redirects=False,
        )

    def _too_slow(self, url: str) -> ServiceError:
        return ServiceError(
            f"{self.name} did not finish its answer within {conf.answer_time:g} s. Ask for less at once "
            "(chunk_rows=), or set conf.answer_time",
            url=url,
        )

    def _read(self, response: requests.Response, url: str) -> bytes:
        limit = int(conf.max_answer_bytes)
        declared = response.headers.get("Content-Length", "")
        too_large = declared.isdigit() and int(declared) > limit
        parts: list[bytes] = []
        size = 0
        for part in () if too_large else response.iter_content(_PIECE):
            size += len(part)
            if too_large := size > limit:
                break
            parts.append(part)
        if too_large:
            raise ServiceError(
                f"{self.name} sends an answer of more than {limit:,} bytes, which is not read. Ask for less "
                "at once (chunk_rows=, a smaller radius, fewer columns), or set conf.max_answer_bytes",
                url=url,
            )
        return b"".join(parts)

    @contextlib.contextmanager
    def _explained(self, url: str) -> Iterator[None]:
        """Tell failures that pass from those that do not."""
        try:
            yield
        except requests.Timeout as error:
            raise Passing(f"no answer within {conf.timeout:g} s") from error
        except requests.exceptions.ChunkedEncodingError as error:
            raise Passing("the connection broke in the middle of the answer") from error
        except requests.ConnectionError as error:
            self._explain_connection(error, url)
        except requests.exceptions.ContentDecodingError as error:
            raise Passing("the answer is packed in a way that cannot be unpacked") from error
        except requests.RequestException as error:
            reason = f"{self.name} cannot be asked: {error}. Set {self.setting}"
            raise ServiceError(reason, url=url) from error
        except (OSError, ValueError, AttributeError) as error:  # of a connection that the watch has ended
            raise Passing(f"the connection broke ({str(error)[:200]})") from error

    def _explain_connection(self, error: Exception, url: str) -> None:
        text = str(error)
        if "NameResolution" in text or "Name or service not known" in text:
            raise ServiceError(
                f"{self.name} cannot be found: its name has no address here. Is there a network? "
                "Matching with a file needs none",
                url=url,
            ) from error
        if "Read timed out" in text:
            raise Passing(f"no answer within {conf.timeout:g} s") from error
        raise Passing(
            f"it cannot be reached; is there a network, and is the address right? ({text[:200]})"
        ) from error

    def check(self, reply: Reply, words: Callable[[bytes], str]) -> Reply:
        """Return a reply that is no error.

        Parameters
        ----------
        reply : Reply
            What `send` gave.
        words : callable
            Finds in the body of an error what it says.

        Returns
        -------
        Reply

        Raises
        ------
        Passing
            If the service is busy or out of order.
        Refused
            If it refuses this request.
        """
        if reply.code < 400:
            return reply
        text = f"HTTP {reply.code} {words(reply.content)}".rstrip()
        if reply.code in (408, 425, 429) or reply.code >= 500:
            raise Passing(text, wait=retry_after(reply.headers.get("Retry-After")))
        if is_busy(text):
            raise Passing(text, wait=retry_after(reply.headers.get("Retry-After")))
        raise Refused(text, code=reply.code)
