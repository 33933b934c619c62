"""Asynchronous jobs of a TAP service (UWS 1.1), found again after an interruption.

The address of a job is kept in the cache before the job runs; whoever asks the same question
later goes on with it.  A job that nobody can find again is not left behind on the service.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar
from urllib.parse import urljoin
from xml.etree import ElementTree

import requests

from astro_cluster.config import conf
from astro_cluster.exceptions import ServiceError
from astro_cluster.services.answers import Answer, look_over, parse_answer, words_of
from astro_cluster.services.cache import AnswerCache
from astro_cluster.services.http import Asker, Passing, Refused, Reply, check_address, is_busy

__all__ = ["BadAnswer", "Jobs", "read_reply"]

_WAITING = {"QUEUED", "EXECUTING", "HELD", "SUSPENDED", "UNKNOWN", "RUN"}
_PHASES = {*_WAITING, "PENDING", "COMPLETED", "ERROR", "ABORTED", "ARCHIVED"}
_LONGEST_PAUSE = 10.0
_GONE = (404, 410)
_PICKED_UP = " The job is noted: run the same match again later, and it is picked up"

T = TypeVar("T")


class BadAnswer(Passing):
    """An answer came, and is none."""


class _Vanished(Exception):
    """The service does not know the job any more."""


def read_reply(reply: Reply, read: Callable[[Answer], T]) -> T:
    """Read the reply to a query.

    Parameters
    ----------
    reply : Reply
        No HTTP error.
    read : callable
        Makes of the answer what is wanted; raises `BadAnswer` if it is not in there.

    Returns
    -------
    object
        What ``read`` returns.

    Raises
    ------
    BadAnswer
        If the reply is no whole VOTable with a table.
    Refused
        If it says that the query failed.
    """
    try:
        answer = parse_answer(reply.content)
    except ValueError as error:
        said = words_of(reply.content[:4000]) if reply.content.lstrip()[:1] == b"<" else ""
        raise BadAnswer(f"the answer is {error}" + (f" ({said[:200]})" if said else "")) from error
    if answer.status == "ERROR":
        text = answer.text or "an error without words"
        if is_busy(text):
            raise Passing(text)
        raise Refused(text, code=reply.code)
    if answer.table is None:
        raise BadAnswer("the answer is a VOTable without a table")
    return read(answer)


def _may_still_come(error: ServiceError) -> bool:
    """Tell whether a job is worth waiting for: what cannot be reached now may be later, a bad result not."""
    reachable_later = isinstance(error.__cause__, (Passing, requests.ConnectionError))
    return reachable_later and not isinstance(error.__cause__, BadAnswer)


class Jobs:
    """The jobs at one service.

    Parameters
    ----------
    asker : Asker
        Who asks.
    url : str
        Where jobs are made: the address of the service and ``/async``.
    cache : AnswerCache
        Where the addresses of jobs are noted.
    """

    def __init__(self, asker: Asker, url: str, cache: AnswerCache) -> None:
        self.asker = asker
        self.url = url
        self.cache = cache

    def run(
        self,
        form: dict[str, str],
        files: dict[str, Any],
        key: dict[str, Any],
        where: str,
        read: Callable[[Answer], T],
        keep: Callable[[bytes, T], object],
    ) -> T:
        """Make a job or find the noted one, wait for it, and read its result.

        Parameters
        ----------
        form, files : dict
            The query.
        key : dict
            The question, by which the job is found again.
        where : str
            What is asked for, in messages.
        read : callable
            As in `read_reply`.
        keep : callable
            Gets the result as it came, and what ``read`` made of it, before the job is deleted.

        Returns
        -------
        object
            What ``read`` made of the result.

        Raises
        ------
        Refused
            If the job cannot be made, or failed; with the service's words.
        ServiceError
            If the service cannot be reached, or time is over; the job is picked up by the next run
            if it could be noted.
        """
        for _ in range(int(conf.retries) + 1):
            job = self._noted(key)
            noted = picked_up = job is not None
            if job is None:
                job = self._make(form, files, where)
                noted = self.cache.put(key, json.dumps({"url": job}).encode(), ending="job")
            try:
                with self._left_tidy(job, key, noted=noted):
                    self._wait(job, where, noted=noted, picked_up=picked_up)
                    advice = _PICKED_UP if noted else ""
                    content, result = self.asker.ask(
                        lambda job=job: self._result(job, read),  # type: ignore[misc]
                        where,
                        url=job,
                        advice=advice,
                    )
                    keep(content, result)
                self.forget(job, key)
                return result
            except _Vanished:
                self.cache.drop(key, ending="job")
        raise ServiceError(
            f"{self.asker.name} loses its jobs: the last of {int(conf.retries) + 1} for {where} is gone too. "
            "Run the match again later, or ask without jobs (set conf.tap_sync_rows to a large number)",
            url=self.url,
        )

    @contextlib.contextmanager
    def _left_tidy(self, job: str, key: dict[str, Any], *, noted: bool) -> Iterator[None]:
        """Leave a job only if it can be found again and there is something to wait for."""
        try:
            yield
        except _Vanished:
            raise
        except Refused:
            self.forget(job, key)
            raise
        except ServiceError as error:
            if not noted or not _may_still_come(error):
                self.forget(job, key)
            raise
        except BaseException:  # Ctrl-C above all
            if not noted:
                self.forget(job, key)
            raise

    def forget(self, job: str, key: dict[str, Any]) -> None:
        """End a job and delete it at the service; nothing is said if that fails."""
        with contextlib.suppress(Passing, ServiceError):
            reply = self.asker.send("DELETE", job, see_other=False)
            if reply.code >= 400 and reply.code not in _GONE:
                self.asker.send("POST", job, data={"ACTION": "DELETE"}, see_other=False)
        self.cache.drop(key, ending="job")

    def _noted(self, key: dict[str, Any]) -> str | None:
        content = self.cache.get(key, ending="job")
        if content is None:
            return None
        try:
            return check_address(json.loads(content)["url"])
        except (ValueError, KeyError, TypeError, AttributeError, ServiceError):
            return None

    def _make(self, form: dict[str, str], files: dict[str, Any], where: str) -> str:
        def attempt() -> str:
            reply = self.asker.send("POST", self.url, data=form, files=files, see_other=False)
            self.asker.check(reply, words_of)
            job = reply.headers.get("Location")
            if job:
                job = urljoin(self.url, job)
                self.asker.check_onward(self.url, job)
                return job
            if reply.content.strip():
                read_reply(reply, lambda answer: answer)
            raise BadAnswer("it does not tell where the job is")

        return self.asker.ask(attempt, where, url=self.url)

    def _wait(self, job: str, where: str, *, noted: bool, picked_up: bool) -> None:
        advice = _PICKED_UP if noted else ""
        end = time.monotonic() + float(conf.tap_job_time)
        pause = 2 * max(float(conf.tap_interval), 0.02)
        starts_left = int(conf.retries) + 1
        why = ""
        while True:
            phase = self.asker.ask(lambda: self._phase(job), where, url=job, advice=advice)
            if phase == "COMPLETED":
                return
            if phase in ("ERROR", "ABORTED"):
                raise Refused(self._why(job) or f"the job ended as {phase}, without words")
            if phase == "ARCHIVED":
                raise _Vanished
            if phase == "PENDING":
                if not starts_left:
                    raise Refused(f"the job cannot be started {why}".rstrip())
                starts_left -= 1
                why = self._start(job)
                continue
            if time.monotonic() > end:
                self._overdue(job, where, noted=noted, picked_up=picked_up)
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE)

    def _overdue(self, job: str, where: str, *, noted: bool, picked_up: bool) -> NoReturn:
        late = f"{self.asker.name} works on the job for {where} longer than {conf.tap_job_time:g} s"
        advice = "conf.tap_job_time is how long is waited"
        if picked_up:
            # A job that died with its server can stay "executing" for ever (DaCHS 2.7 does not look).
            raise ServiceError(
                f"{late}, again, and is given up. Run the same match again for a new one; {advice}", url=job
            )
        if not noted:
            raise ServiceError(f"{late}, and is given up, since nothing is kept; {advice}", url=job)
        raise ServiceError(f"{late}.{_PICKED_UP}; {advice}", url=job) from Passing("the job goes on")

    def _start(self, job: str) -> str:
        """Start a job; whether that worked is seen from its phase.  Return what the service says."""
        try:
            reply = self.asker.send("POST", f"{job}/phase", data={"PHASE": "RUN"}, see_other=False)
            self.asker.check(reply, words_of)
        except Passing as trouble:
            time.sleep(min(trouble.wait if trouble.wait is not None else conf.retry_wait, conf.timeout))
            return str(trouble)
        except Refused as refusal:
            return str(refusal)
        return ""

    def _known(self, reply: Reply) -> Reply:
        try:
            return self.asker.check(reply, words_of)
        except Refused as refusal:
            if refusal.code in _GONE:
                raise _Vanished from refusal
            raise

    def _phase(self, job: str) -> str:
        reply = self._known(self.asker.send("GET", f"{job}/phase"))
        phase = reply.content[:200].decode("ascii", "replace").strip().upper()
        if phase not in _PHASES:
            raise Passing(f"it says {words_of(reply.content)[:100]!r} where the phase of the job is")
        return phase

    def _result(self, job: str, read: Callable[[Answer], T]) -> tuple[bytes, T]:
        reply = self._known(self.asker.send("GET", f"{job}/results/result"))
        return reply.content, read_reply(reply, read)

    def _why(self, job: str) -> str:
        """Return what the service says about a job that failed."""
        with contextlib.suppress(Passing, ServiceError, ValueError, ElementTree.ParseError):
            content = self.asker.send("GET", job).content
            look_over(content)
            root = ElementTree.fromstring(content)  # noqa: S314  entities are refused above
            for element in root.iter():
                if str(element.tag).rpartition("}")[2] == "errorSummary":
                    text = " ".join("".join(element.itertext()).split())
                    if text:
                        return "".join(c for c in text if c.isprintable())[:400]
        with contextlib.suppress(Passing, ServiceError):
            reply = self.asker.send("GET", f"{job}/error")
            if reply.code < 400:
                return words_of(reply.content)
        return ""
