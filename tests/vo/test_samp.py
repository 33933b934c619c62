from __future__ import annotations

import itertools
import re
import socket
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table
from pyvo.samp import SAMPHubServer

import astro_cluster as ac
from astro_cluster.vo import send


@pytest.fixture
def table():
    return QTable({"source_id": np.arange(5) + 2**60, "ra": np.arange(5.0) * u.deg})


def path_of(url):
    return Path(url2pathname(urlparse(url).path))


# ---------------------------------------------------------------- what is sent


def test_the_receiver_gets_the_table(receiver, table):
    topcat = receiver("topcat")
    table_id = send(table, name="my table")
    (params,) = topcat.received
    assert params["table-id"] == table_id
    assert params["name"] == "my table"
    assert all(isinstance(value, str) for value in params.values())
    back = ac.read(path_of(params["url"]))
    assert back["source_id"].tolist() == table["source_id"].tolist()
    assert back["ra"].unit == u.deg
    assert b"binary2" in topcat.files[0].lower()


def test_it_says_who_sends_and_leaves(receiver, table):
    topcat = receiver("topcat")
    send(table)
    assert len(topcat.others) == 2  # the hub and we
    assert topcat.registered() == []


def test_it_leaves_after_an_error(receiver, table):
    topcat = receiver("topcat", error="no")
    with pytest.raises(ac.ServiceError):
        send(table)
    with pytest.raises(ac.InputError):
        send("/nowhere/at/all.fits")
    assert topcat.registered() == []


def test_nothing_listens(receiver, table, monkeypatch):
    """A sender needs no server; one on all addresses would be a door."""
    receiver("topcat")
    bound = []
    bind = socket.socket.bind
    monkeypatch.setattr(
        socket.socket, "bind", lambda self, address: (bound.append(address), bind(self, address))
    )
    send(table)
    assert bound == []


def test_every_send_has_its_own_id(receiver, table):
    """TOPCAT refuses an id that it has had before."""
    topcat = receiver("topcat")
    ids = {send(table), send(table)}
    assert len(ids) == 2
    assert all(re.fullmatch(r"astro_cluster:[0-9a-f-]{36}", table_id) for table_id in ids)
    assert topcat.received[0]["url"] != topcat.received[1]["url"]


def test_a_given_id_is_kept(receiver, table):
    topcat = receiver("topcat")
    assert send(table, table_id="../my 1") == send(table[:2], table_id="../my 1") == "../my 1"
    assert topcat.received[0] == topcat.received[1]
    assert topcat.files[0] != topcat.files[1]


@pytest.mark.parametrize("table_id", ["", "χ", "a\x00b", 3])
def test_an_id_that_is_none(table, table_id):
    with pytest.raises(ac.InputError, match="table_id="):
        send(table, table_id=table_id)


def test_a_name_in_the_characters_of_samp(receiver, table):
    """TOPCAT's hub refuses a call with others."""
    topcat = receiver("topcat")
    send(table, name="Pléiades\nη λ ①")
    assert topcat.received[0]["name"] == "Pleiades?? ? 1"


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows(receiver, table, rows):
    topcat = receiver("topcat")
    send(table[:rows])
    assert len(ac.read(path_of(topcat.received[0]["url"]))) == rows


def test_a_plain_table_and_its_name(receiver):
    topcat = receiver("topcat")
    send(Table({"x": [1]}, meta={"name": "M 45"}))
    send(Table({"x": [1]}))
    assert [params["name"] for params in topcat.received] == ["M 45", "astro_cluster"]


def test_a_votable_is_sent_as_it_is(receiver, table, tmp_path):
    topcat = receiver("topcat")
    folder = tmp_path / "my tables ä%20"
    folder.mkdir()
    path = ac.write(table, folder / "a b.vot")
    send(path)
    send(str(path))
    assert topcat.received[0]["url"] == topcat.received[1]["url"]
    assert topcat.received[0]["name"] == "a b"
    assert topcat.files[0] == path.read_bytes()
    assert path_of(topcat.received[0]["url"]) == path


@pytest.mark.parametrize("ending", ["fits", "ecsv", "parquet", "vot.gz"])
def test_another_file_is_written_anew(receiver, table, tmp_path, ending):
    topcat = receiver("topcat")
    path = tmp_path / f"table.{ending}"
    ac.write(table, path) if ending != "vot.gz" else table.write(path, format="votable")
    send(path)
    assert topcat.files[0].lstrip().startswith(b"<?xml")
    assert path_of(topcat.received[0]["url"]) != path


def test_others_cannot_look(receiver, table):
    topcat = receiver("topcat")
    send(table)
    folder = path_of(topcat.received[0]["url"]).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


# ---------------------------------------------------------------- to whom


@pytest.mark.parametrize("to", ["topcat", "TOPCAT", " TopCat ", "cli#1"])
def test_case_does_not_count(receiver, table, to):
    topcat = receiver("TopCat")
    send(table, to=to)
    assert len(topcat.received) == 1


def test_only_the_named_one_is_called(receiver, table):
    topcat, aladin = receiver("topcat"), receiver("Aladin")
    send(table, to="aladin")
    assert (len(topcat.received), len(aladin.received)) == (0, 1)


def test_all_in_turn_and_no_one_unsubscribed(receiver, table):
    programs = [receiver("topcat"), receiver("Aladin"), receiver("topcat")]
    deaf, picky = receiver("quiet", takes=None), receiver("viewer", takes="image.load.fits")
    send(table, to="all")
    assert [len(program.received) for program in programs] == [1, 1, 1]
    assert deaf.received == picky.received == []
    spans = sorted(span for program in programs for span in program.spans)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


def test_a_subscription_by_wildcard(receiver, table):
    topcat = receiver("topcat", takes="table.*")
    send(table)
    assert len(topcat.received) == 1


def test_one_that_loads_no_tables_is_not_called(receiver, table):
    ds9 = receiver("SAOImageDS9", takes="image.load.fits")
    receiver("topcat")
    with pytest.raises(ac.ServiceError, match=r"SAOImageDS9 is connected .* does not load tables"):
        send(table, to="ds9")
    assert ds9.received == []


def test_the_connected_are_listed(receiver, table):
    receiver("Aladin")
    receiver("SAOImageDS9", takes=None)
    with pytest.raises(ac.ServiceError) as caught:
        send(table, to="topkat")
    text = str(caught.value)
    assert "'topkat'" in text
    assert "Aladin, SAOImageDS9 (loads no tables)" in text
    assert "the plug at the bottom right" in text


@pytest.mark.parametrize("to", ["topcat", "all"])
def test_nobody_is_there(hub, table, to):
    with pytest.raises(ac.ServiceError, match=r"connected: nothing. Start TOPCAT"):
        send(table, to=to)


# ---------------------------------------------------------------- what goes wrong


def test_an_error_of_the_receiver(receiver, table):
    receiver("topcat", error="Not enough ❤ for this")
    with pytest.raises(ac.ServiceError, match="topcat did not load the table: Not enough ❤ for this"):
        send(table)


def test_one_error_of_several(receiver, table):
    good, bad = receiver("Aladin"), receiver("topcat", error="too large")
    with pytest.raises(ac.ServiceError, match="topcat did not load the table: too large; loaded by Aladin"):
        send(table, to="all")
    assert len(good.received) == len(bad.received) == 1


def test_a_file_that_is_sent_as_it_is_says_so(receiver, table, tmp_path):
    receiver("topcat", error="odd")
    with pytest.raises(ac.ServiceError, match="sent as it is"):
        send(ac.write(table, tmp_path / "t.vot"))


@pytest.mark.parametrize("timeout", [1, 0.3 * u.s, (1 / 60) * u.min])
def test_no_answer(receiver, table, timeout):
    receiver("topcat", silent=True)
    start = time.monotonic()
    with pytest.raises(ac.ServiceError, match="no answer within 1 s"):
        send(table, timeout=timeout)
    assert time.monotonic() - start < 5


def test_no_hub(lockfile, table):
    start = time.monotonic()
    with pytest.raises(ac.ServiceError, match=r"no SAMP hub is running: start TOPCAT.*start_hub=True"):
        send(table)
    assert time.monotonic() - start < 2


def test_no_hub_without_the_variable(lockfile, table, monkeypatch, tmp_path):
    monkeypatch.delenv("SAMP_HUB")
    with pytest.raises(ac.ServiceError, match=re.escape((tmp_path / ".samp").as_uri())):
        send(table)


def test_the_usual_place_of_the_lock_file(lockfile, program, table, monkeypatch, tmp_path):
    monkeypatch.delenv("SAMP_HUB")
    hub = SAMPHubServer(web_profile=False, mode="single", addr="127.0.0.1")
    hub.start()
    try:
        assert (tmp_path / ".samp").exists()
        topcat = program("topcat")
        send(table)
        assert len(topcat.received) == 1
    finally:
        hub.stop()


@pytest.mark.parametrize("start", [True, False])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\x00=\n", b"samp.secret=x\n", b"a=b=c\n"])
def test_a_garbage_lock_file(lockfile, table, content, start):
    lockfile.write_bytes(content)
    with pytest.raises(ac.ServiceError, match=r"lock file of the SAMP hub is not one.*delete it"):
        send(table, start_hub=start)


def write_lock(path, port, secret="x"):
    path.write_text(f"# SAMP\nsamp.secret={secret}\nsamp.hub.xmlrpc.url=http\\://127.0.0.1\\:{port}/\n")


def test_a_hub_that_died(lockfile, table):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    write_lock(lockfile, port)
    with pytest.raises(ac.ServiceError, match=r"hub does not answer \(.*refused"):
        send(table)


def test_a_hub_that_hangs(lockfile, table):
    with socket.create_server(("127.0.0.1", 0)) as server:
        write_lock(lockfile, server.getsockname()[1])
        start = time.monotonic()
        with pytest.raises(ac.ServiceError, match=r"hub does not answer \(timed out\)"):
            send(table, timeout=0.3)
    assert time.monotonic() - start < 3


def test_a_hub_with_another_secret(hub, lockfile, table):
    lockfile.write_text(f"samp.secret=old\nsamp.hub.xmlrpc.url={hub.params['samp.hub.xmlrpc.url']}\n")
    with pytest.raises(ac.ServiceError, match=r"the SAMP hub refuses.*Bad secret"):
        send(table)
    # so that the hub deletes its lock file
    lockfile.unlink()


def test_another_profile(table, monkeypatch):
    monkeypatch.setenv("SAMP_HUB", "web:http://example.org")
    with pytest.raises(ac.InputError, match="SAMP_HUB"):
        send(table)


def test_a_hub_elsewhere_is_not_started_here(table, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:http://127.0.0.1:{port}/lock")
    with pytest.raises(ac.InputError, match="cannot be started here"):
        send(table, start_hub=True)


@pytest.mark.parametrize("timeout", [0, -1, np.nan, np.inf, 3 * u.m, "soon", None, [1, 2]])
def test_a_timeout_that_is_none(table, timeout):
    with pytest.raises(ac.InputError, match="timeout="):
        send(table, timeout=timeout)


@pytest.mark.parametrize("to", ["", " ", None, 3])
def test_a_name_that_is_none(table, to):
    with pytest.raises(ac.InputError, match="to="):
        send(table, to=to)


def test_a_missing_file(receiver):
    topcat = receiver("topcat")
    with pytest.raises(ac.InputError, match=r"no file .*nothing\.vot"):
        send("nothing.vot")
    assert topcat.received == []


# ---------------------------------------------------------------- other processes


def python(code):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_python(code):
    with python(code) as process:
        return process.communicate(timeout=60)


SEND = """
    import numpy as np
    import astro_cluster as ac
    from astropy.table import QTable

    print(ac.send(QTable({"x": np.arange(3)}), start_hub=%s, timeout=30))
"""


def test_the_file_lives_as_long_as_the_process(receiver):
    topcat = receiver("topcat")
    out, err = run_python(SEND % False)
    assert err == ""
    assert out.strip() == topcat.received[0]["table-id"]
    assert topcat.files[0]
    assert not path_of(topcat.received[0]["url"]).parent.exists()


@pytest.mark.parametrize("stale", [False, True])
def test_a_hub_of_our_own(lockfile, program, stale):
    """It waits for a program that comes later, replaces a dead one, and ends with the process."""
    if stale:
        with socket.create_server(("127.0.0.1", 0)) as server:
            write_lock(lockfile, server.getsockname()[1])
    with python(SEND % True) as process:
        deadline = time.monotonic() + 30
        while not (lockfile.exists() and "hub.label=astro_cluster" in lockfile.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        topcat = program("topcat")
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert topcat.received[0]["table-id"] in out
    assert not lockfile.exists()


def test_importing_costs_nothing():
    out, err = run_python("""
        import sys
        import astro_cluster.vo
        print([name for name in ("pyvo", "astropy.table", "sklearn") if name in sys.modules])
    """)
    assert (out.strip(), err) == ("[]", "")
