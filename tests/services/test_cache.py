"""Kept answers are those that came."""

from __future__ import annotations

import errno
import os
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import astro_cluster as ac
from astro_cluster import conf
from astro_cluster.services.answers import parse_answer
from astro_cluster.services.cache import AnswerCache


@pytest.fixture
def cache(tmp_path):
    with conf.set_temp("cache_dir", str(tmp_path)):
        yield AnswerCache(active=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(content=st.binary(max_size=300), data=st.data())
def test_what_comes_out_is_what_went_in(cache, content, data):
    assert cache.put({"q": 1}, content)
    assert cache.get({"q": 1}) == content
    path = cache._path({"q": 1}, "vot")
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    altered = data.draw(st.sampled_from([whole[:at], whole[:at] + b"x" + whole[at:], whole + b"x"]))
    path.write_bytes(altered)
    assert cache.get({"q": 1}) is None


def test_a_kept_answer_opens_in_other_programs(cache):
    cache.put({"q": 1}, b'<VOTABLE version="1.3"><RESOURCE/></VOTABLE>')
    assert parse_answer(cache._path({"q": 1}, "vot").read_bytes()).table is None


def test_names_of_files_come_from_a_hash(cache, tmp_path):
    """Whatever is asked, nothing is written outside the folder."""
    for question in ({"cat2": "../../evil"}, {"url": "file:///etc/passwd"}, {"q": "\0" * 300}):
        assert cache.put(question, b"x")
    assert {path.parent for path in tmp_path.rglob("*.vot")} == {tmp_path / "xmatch"}


def test_answers_are_told_apart(cache):
    cache.put({"q": 1}, b"one")
    cache.put({"q": 1}, b"note", ending="job")
    cache.put({"q": 2}, b"two")
    assert [cache.get({"q": 1}), cache.get({"q": 1}, ending="job"), cache.get({"q": 2})] == [
        b"one",
        b"note",
        b"two",
    ]
    cache.drop({"q": 1}, ending="job")
    assert cache.get({"q": 1}, ending="job") is None
    assert cache.get({"q": 1}) == b"one"


def test_a_file_that_cannot_grow(cache, tmp_path):
    """A limit of the system, as a full disk is one: half of an answer is not kept."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.warns(ac.AstroClusterWarning, match="answers are not kept") as caught:
            assert not cache.put({"q": 1}, b"x" * 5000)
        assert os.strerror(errno.EFBIG) in str(caught[0].message)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not cache.put({"q": 1}, b"small")  # said once


def test_an_inactive_cache_does_nothing(tmp_path):
    with conf.set_temp("cache_dir", str(tmp_path)):
        cache = AnswerCache(active=False)
    assert not cache.put({"q": 1}, b"x")
    assert cache.get({"q": 1}) is None
    assert list(tmp_path.iterdir()) == []
