"""A link with the real TOPCAT, whose windows are clicked as a person would."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS

import astro_cluster as ac

from . import programs
from .conftest import Topcat
from .topcat_window import TopcatWindow

pytestmark = pytest.mark.peers
SELECT, HIGHLIGHT = "table.select.rowList", "table.highlight.row"


def sky(rows=60):
    rng = np.random.default_rng(1)
    return QTable(
        {
            "source_id": np.arange(rows),
            "ra": rng.uniform(0, 360, rows) * u.deg,
            "dec": rng.uniform(-80, 80, rows) * u.deg,
            "cluster": np.arange(rows) % 3,
        }
    )


@pytest.fixture
def own_screen(require_program):
    """DISPLAY of a screen on which nothing else is clicked."""
    for name in ("Xvfb", "xdotool", "topcat"):
        require_program(name)
    with programs.xvfb() as display:
        yield display


@pytest.fixture
def lock(tmp_path, monkeypatch):
    path = tmp_path / "samp.lock"
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{path.as_uri()}")
    return path


def settled(client):
    """Return TOPCAT when it has the list of all clients.

    It asks for the list after it has said what it takes.  Who comes in between it never hears of, and it does
    not offer to send clicks where it knows nobody who wants them.
    """
    found = Topcat(client)
    time.sleep(3)
    return found


def wait_for(session, kind, seconds=30.0):
    """Return the next event of a kind."""
    end, seen = time.monotonic() + seconds, []
    while (left := end - time.monotonic()) > 0:
        event = session.wait(left)
        if event is not None and event.kind == kind:
            return event
        seen.append(event)
    raise AssertionError(f"no {kind} within {seconds} s: {seen}")


def click(window, session, line, row):
    """Click a line until its row is heard of; of one that is clicked already TOPCAT tells nothing."""
    for attempt in range(4):
        if attempt:
            window.click_row(line + 2)
        window.click_row(line)
        with contextlib.suppress(AssertionError):
            while wait_for(session, "click", 10).row != row:
                pass
            return
    raise AssertionError(f"line {line} was clicked, and row {row} not heard of")


def subset(window, session, line):
    """Send a subset until it is heard of."""
    for _ in range(3):
        window.send_subset(line)
        with contextlib.suppress(AssertionError):
            return wait_for(session, "select", 15)
    raise AssertionError(f"the subset of line {line} was sent, and not heard of")


def test_what_a_person_does(own_screen, lock, samp_client, tmp_path):
    """Subsets and rows that are sent from TOPCAT's windows, subsets that we make there, and a table."""
    window, table, called = TopcatWindow(own_screen), sky(), []
    with programs.topcat(own_screen, tmp_path):
        settled(samp_client(lock))
        with ac.link(table, name="stars", on_select=lambda mask: called.append(int(mask.sum()))) as session:
            session.select([1, 3, 5])  # the subset astro_cluster
            session.select_cluster(2)  # the subset cluster 2
            session.select([7], name="one")
            session.select([8, 9], name="One")  # replaces the last
            window.send_clicks()
            click(window, session, 4, row=4)
            assert session.row == 4
            click(window, session, 6, row=6)
            # The lines are All, Activated, and those that we have made.
            for line, rows in (
                (2, [1, 3, 5]),
                (3, np.arange(2, 60, 3).tolist()),
                (4, [8, 9]),
                (0, range(60)),
            ):
                event = subset(window, session, line)
                assert (event.sender, event.rows.tolist()) == ("topcat", list(rows))
            window.picture(tmp_path / "topcat.png")
            assert session.count == 4
            assert session.selection.all()
            programs.wait_for(lambda: called == [3, 20, 2, 60], 5, "the callbacks")

            threading.Timer(0.5, window.send_table).start()
            received = ac.receive(timeout=40)
            np.testing.assert_array_equal(received["source_id"], table["source_id"])
            assert received["ra"].unit == u.deg
            assert received.meta["samp"]["table-id"] == session.table_id

        # The received table goes on without being sent back.
        with ac.link(received, table_id=received.meta["samp"]["table-id"]) as session:
            assert subset(window, session, 2).rows.tolist() == [1, 3, 5]

            # Sorted in TOPCAT, rows keep their numbers; a table that it sends then has an id of its own.
            window.sort_down()
            click(window, session, 0, row=np.argmax(table["dec"]))
            assert subset(window, session, 2).rows.tolist() == [1, 3, 5]
            threading.Timer(0.5, window.send_table).start()
            ordered = ac.receive(timeout=40)
            assert ordered["source_id"][0] == np.argmax(table["dec"])
            assert ordered.meta["samp"]["table-id"] != session.table_id


def test_a_click_in_topcat_points_ds9(own_screen, require_program, lock, samp_client, tmp_path):
    require_program("ds9")
    header = WCS(naxis=2)
    header.wcs.ctype, header.wcs.crval, header.wcs.crpix = (
        ["RA---TAN", "DEC--TAN"],
        [56.75, 24.1],
        [128.5] * 2,
    )
    header.wcs.cdelt = [-0.01, 0.01]
    image = tmp_path / "field.fits"
    fits.PrimaryHDU(np.zeros((256, 256), "f4"), header.to_header()).writeto(image)
    table = sky(9)
    table["ra"], table["dec"] = (56.75 + 0.1 * np.arange(9)) * u.deg, np.full(9, 24.2) * u.deg
    (tmp_path / "ds9").mkdir()
    with programs.topcat(own_screen, tmp_path), programs.ds9(own_screen, tmp_path / "ds9", lock):
        settled(client := samp_client(lock))
        ds9 = programs.wait_for(lambda: next(iter(client.get_subscribed_clients("ds9.get")), None), 60, "DS9")

        def ask(mtype, **params):
            return client.call_and_wait(ds9, {"samp.mtype": mtype, "samp.params": params}, "20")

        def centre():
            return [
                float(x) for x in ask("ds9.get", cmd="pan wcs icrs degrees")["samp.result"]["value"].split()
            ]

        ask("image.load.fits", url=image.as_uri(), name="field")
        with ac.link(table, point_at="ds9") as session:
            window = TopcatWindow(own_screen)
            window.send_clicks()
            click(window, session, 4, row=4)
            programs.wait_for(lambda: np.allclose(centre(), [57.15, 24.2], atol=1e-3), 10, "DS9 to move")


def test_ten_selections_a_second(topcat, samp_client, topcat_lock):
    """For five seconds from another program through TOPCAT's hub, and as many to TOPCAT."""
    table, other = sky(), samp_client(topcat_lock, "other")
    with ac.link(table) as session:
        me = next(
            i
            for i in other.get_registered_clients()
            if other.get_metadata(i).get("samp.name") == "astro_cluster"
        )
        start = time.monotonic()
        for k in range(50):
            params = {"table-id": session.table_id, "row-list": [str(k)]}
            if k % 2:
                answer = other.call_and_wait(me, {"samp.mtype": SELECT, "samp.params": params}, "10")
                assert answer["samp.status"] == "samp.ok"
            else:
                other.notify(me, {"samp.mtype": SELECT, "samp.params": params})
            session.select([k, 59])
            time.sleep(max(0.0, start + 0.1 * (k + 1) - time.monotonic()))
        programs.wait_for(lambda: session.count == 50, 2, "fifty selections")
        assert np.flatnonzero(session.selection).tolist() == [49]
        assert time.monotonic() - start < 8


def test_topcat_is_killed_while_linked(own_screen, lock, samp_client, tmp_path):
    """Its hub goes with it; another TOPCAT gets the table again."""
    before = set(threading.enumerate())
    with warnings.catch_warnings(record=True) as caught, contextlib.ExitStack() as link:
        warnings.simplefilter("always")
        with programs.topcat(own_screen, tmp_path) as process:
            settled(samp_client(lock))
            session = link.enter_context(ac.link(sky()))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
            with pytest.raises(ac.ServiceError, match=r"hub (does not answer|is gone)"):
                session.select([1])
            assert wait_for(session, "hub lost", 5)
            assert session.connected_to == ()
        lock.unlink()  # so that the next one is waited for
        with programs.topcat(own_screen, tmp_path):
            wait_for(session, "sent")
            assert session.connected_to == ("topcat",)
            session.select([2, 3], name="again")
            assert subset(TopcatWindow(own_screen), session, 2).rows.tolist() == [2, 3]
    assert [str(one.message) for one in caught if "hub is gone" in str(one.message)]
    link.close()
    programs.wait_for(
        lambda: not [t for t in threading.enumerate() if t not in before and t.name.startswith("SAMP")],
        10,
        "no thread",
    )


@contextlib.contextmanager
def our_hub(lock):
    """Run ``astro-cluster hub``."""
    command = [sys.executable, "-c", "from astro_cluster.cli import main; main(['hub'])"]
    with programs.group(command, stdout=subprocess.PIPE) as process:
        assert b"SAMP hub at" in process.stdout.readline()
        yield process
        process.stdout.close()


def _send_on_and_on(table):
    for _ in range(20):
        ac.send(table)


def test_the_hub_ends_and_is_killed_in_the_middle_of_a_send(own_screen, lock, tmp_path):
    """TOPCAT hears that a hub ends, and connects with the next one, where it has the table still."""
    table, large = sky(), sky(400_000)
    with warnings.catch_warnings(), programs.topcat(own_screen, tmp_path, hub=False):
        warnings.simplefilter("ignore")
        with our_hub(lock) as first, ac.link(table, start_hub=True) as session:
            session.select([1, 3], name="before")
            time.sleep(3)  # one that has just started may not hear of the end of its hub
            first.send_signal(signal.SIGINT)
            assert first.wait(20) == 0
            assert not lock.exists()
            wait_for(session, "hub lost", 10)
            with our_hub(lock) as second:
                wait_for(session, "back")
                session.select([2, 3, 4], name="after")
                assert session._counts.get("sent", 0) == 0
                threading.Timer(0.5, os.kill, (second.pid, signal.SIGKILL)).start()
                with pytest.raises(ac.ServiceError, match="hub does not answer"):
                    _send_on_and_on(large)
                wait_for(session, "hub lost", 10)
            with our_hub(lock):
                wait_for(session, "hub back")
