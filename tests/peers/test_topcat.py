from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

import astro_cluster as ac

from . import programs
from .awkward import assert_same, awkward_table
from .conftest import Topcat

pytestmark = pytest.mark.peers
LOAD = "table.load.votable"


def held(topcat, table_id):
    """Return the table that was sent last, once TOPCAT shows it."""
    programs.wait_for(lambda: topcat.knows(table_id), 10, "the table in TOPCAT")
    return topcat.table()


def small(rows=3):
    return QTable({"x": np.arange(rows), "ra": np.arange(rows) * 1.5 * u.deg})


def test_topcat_holds_what_was_sent(topcat, display, tmp_path):
    table = awkward_table()
    table_id = ac.send(table, to="topcat", name="clustered")
    assert_same(held(topcat, table_id), table)
    programs.screenshot(display, tmp_path / "topcat.png")
    assert (tmp_path / "topcat.png").stat().st_size > 5000


def test_by_the_usual_name(topcat):
    """TOPCAT is its name in every text, and ``topcat`` on the hub."""
    table = small()
    assert_same(held(topcat, ac.send(table, to="TOPCAT", timeout=0.5 * u.min)), table)


def test_its_id_is_the_one_that_topcat_uses(topcat):
    ac.send(small(4), table_id="my 1")
    programs.wait_for(lambda: topcat.knows("my 1"), 10, "the table in TOPCAT")
    answer = topcat.call("table.select.rowList", **{"table-id": "my 1", "row-list": ["1", "3"]})
    assert answer["samp.status"] == "samp.ok"


def test_an_id_that_it_has_had_before(topcat):
    held(topcat, ac.send(small(), table_id="twice"))
    with pytest.raises(ac.ServiceError, match="topcat did not load the table: Duplicate table-id"):
        ac.send(small(), table_id="twice")


def test_the_same_table_again(topcat):
    table = small()
    for _ in range(2):
        assert_same(held(topcat, ac.send(table, name="Pléiades η")), table)


def test_a_table_without_rows(topcat):
    table = awkward_table()[:0]
    assert_same(held(topcat, ac.send(table)), table)


def test_a_file_as_it_is(topcat, tmp_path):
    table = awkward_table(20)
    folder = tmp_path / "my tables ä%20"
    folder.mkdir()
    assert_same(held(topcat, ac.send(ac.write(table, folder / "a b.vot"))), table)


def test_a_fits_file_is_written_anew(topcat, tmp_path):
    table = small(5)
    assert_same(held(topcat, ac.send(ac.write(table, tmp_path / "t.fits"))), table)


def test_a_broken_file(topcat, tmp_path):
    path = ac.write(small(), tmp_path / "cut.vot")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(
        ac.ServiceError, match=r"topcat did not load the table: .+; .*cut\.vot was sent as it is"
    ):
        ac.send(path)


def test_the_wrong_name(topcat):
    with pytest.raises(ac.ServiceError, match=r"no program called 'topkat' .* connected: topcat"):
        ac.send(small(), to="topkat")


@pytest.fixture
def other(topcat_lock, samp_client):
    """A second program on TOPCAT's hub, which notes what it gets and answers with an error."""
    client = samp_client(topcat_lock, "viewer")
    client.got = []

    def note(key, sender, mtype, params, extra):
        client.got.append(params)

    def refuse(key, sender, message, mtype, params, extra):
        client.got.append(params)
        client.reply(message, {"samp.status": "samp.error", "samp.error": {"samp.errortxt": "no room"}})

    client.subscribe = lambda mtype: (
        client.bind_receive_notification(mtype, note),
        client.bind_receive_call(mtype, refuse),
    )
    return client


def test_one_that_loads_no_tables_is_left_alone(topcat, other):
    other.subscribe("image.load.fits")
    table = small(6)
    assert_same(held(topcat, ac.send(table, to="all")), table)
    with pytest.raises(ac.ServiceError, match="viewer is connected to the SAMP hub but does not load tables"):
        ac.send(table, to="viewer")
    assert other.got == []


def test_the_error_of_one_of_two(topcat, other):
    other.subscribe(LOAD)
    table = small(7)
    with pytest.raises(ac.ServiceError, match="viewer did not load the table: no room; loaded by topcat"):
        ac.send(table, to="all", table_id="seven")
    assert_same(held(topcat, "seven"), table)
    assert len(other.got) == 1


def test_opened_from_the_command_line(display, require_program, samp_client, tmp_path, monkeypatch):
    """The file that we write opens in TOPCAT; and a TOPCAT that was killed is no hub any more."""
    require_program("topcat")
    table = awkward_table()
    lock = tmp_path / "samp.lock"
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{lock.as_uri()}")
    with programs.topcat(display, tmp_path, ac.write(table, tmp_path / "file.vot")) as process:
        topcat = Topcat(samp_client(lock))
        assert_same(programs.wait_for(topcat.table, 20, "the table in TOPCAT"), table)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        assert lock.exists()
        with pytest.raises(ac.ServiceError, match=r"the SAMP hub does not answer .* start TOPCAT"):
            ac.send(table)


def test_a_hub_of_our_own(display, require_program, tmp_path, monkeypatch):
    """TOPCAT without a hub finds ours and takes the table."""
    require_program("topcat")
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{(tmp_path / 'samp.lock').as_uri()}")
    code = (
        "import astro_cluster as ac; from astropy.table import QTable;"
        "ac.send(QTable({'x': [1, 2]}), table_id='ours', start_hub=True)"
    )
    with programs.topcat(display, tmp_path, hub=False):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], timeout=60, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
