"""The asker: addresses, turns, logins."""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests

from astro_cluster import ServiceError, conf
from astro_cluster.services.cache import AnswerCache
from astro_cluster.services.http import Asker, check_address, retry_after
from astro_cluster.services.throttle import turn
from astro_cluster.services.uws import Jobs

from . import tap_server
from .tap_server import Reply


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "file:///etc/passwd",
        "ftp://host/x",
        "//host/x",
        "http:///x",
        "https://host:port/",
        "javascript:x",
    ],
)
def test_addresses_that_are_not_asked(url):
    with pytest.raises(ServiceError, match=r"only http:// and https:// are asked. Set conf\.x"):
        check_address(url, setting="conf.x")
    with Asker("it", setting="conf.x") as asker, pytest.raises(ServiceError, match="is no address"):
        asker.send("GET", url)


def test_retry_after_in_both_forms():
    soon = datetime.now(UTC) + timedelta(seconds=30)
    assert 25 < retry_after(format_datetime(soon, usegmt=True)) <= 30
    assert retry_after("Fri, 01 Jan 2021 00:00:00 GMT") == 0
    assert retry_after("-5") == 0
    assert [retry_after(text) for text in (None, "", "soon", "nan")] == [None] * 4


def test_one_at_a_time_for_each_host(tap):
    """Also from several threads; another host does not wait."""
    tap.faults["capabilities"].extend([lambda reply: Reply(reply.body, silent=0.05)] * 6)

    def ask():
        with Asker("it", setting="x") as asker:
            asker.send("GET", tap.url + "/capabilities")

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tap.requests) == 6
    assert min(b - a for a, b in zip(tap.times, tap.times[1:], strict=False)) >= 0.045
    with turn("http://one/"), turn("http://two/"):
        pass


def test_the_turn_is_given_back_after_an_error():
    with pytest.raises(KeyError), turn("http://three/"):
        raise KeyError
    start = time.monotonic()
    with turn("http://three/"):
        pass
    assert time.monotonic() - start < 1


def test_a_login_is_not_shown_to_another_host(tap):
    session = requests.Session()
    session.headers["Authorization"] = "Bearer secret"
    with tap_server.tap_service({}) as other:
        tap.faults["capabilities"].append(
            lambda _: Reply(b"", 302, {"Location": other.url + "/capabilities"})
        )
        with (
            Asker("it", setting="x", session=session) as asker,
            pytest.raises(ServiceError, match="another host, which the login is not shown to"),
        ):
            asker.send("GET", tap.url + "/capabilities")
        assert other.requests == []
        tap.faults["capabilities"].append(
            lambda _: Reply(b"", 302, {"Location": other.url + "/capabilities"})
        )
        with Asker("it", setting="x", session=requests.Session()) as asker:
            assert asker.send("GET", tap.url + "/capabilities").code == 200
        assert len(other.requests) == 1
    session.close()


def test_a_login_is_not_shown_where_a_job_is_said_to_be(tap):
    session = requests.Session()
    session.auth = ("me", "secret")
    with tap_server.tap_service({}) as other, Asker("it", setting="x", session=session) as asker:
        tap.faults["create"].append(lambda _: Reply(b"", 201, {"Location": other.url + "/async/1"}))
        jobs = Jobs(asker, tap.url + "/async", AnswerCache(active=False))
        with pytest.raises(ServiceError, match="another host, which the login is not shown to"):
            jobs.run({"QUERY": "SELECT 1"}, {}, {}, "it", read=lambda answer: answer, keep=lambda *_: None)
        assert other.requests == []
        with pytest.raises(ServiceError, match="without encryption, which the login is not shown to"):
            asker.check_onward("https://host/tap", "http://host/tap")
        asker.check_onward("https://host/tap", "https://host/tap/async/1")
    session.close()


def test_nothing_is_left_open(tap):
    """Neither a connection nor a thread, whatever happened."""
    before = threading.active_count()
    cut, endless = Reply(b"x" * 100, promised=10**9), Reply(b"x" * 5000, endless=True)
    for fault in (None, lambda _: cut, lambda _: endless):
        tap.faults["capabilities"].append(fault)
        with conf.set_temp("max_answer_bytes", 10_000), Asker("it", setting="x") as asker:
            with contextlib.suppress(ServiceError):
                asker.send("GET", tap.url + "/capabilities")
            adapter = asker._adapter
        assert all(one.fileno() == -1 for one in list(adapter.sockets))
    end = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < end:  # those of the stand-in
        time.sleep(0.02)
    assert threading.active_count() <= before
