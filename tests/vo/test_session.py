"""Selections and clicks go both ways, and a link outlives what it is linked with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from urllib.parse import urlsplit
from urllib.request import url2pathname

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable
from astropy.utils.masked import Masked

import astro_cluster as ac
from astro_cluster.vo.listen import Message

from .desktop import nothing_is_left, until

SELECT, HIGHLIGHT, POINT = "table.select.rowList", "table.highlight.row", "coord.pointAt.sky"
LOAD = "table.load.votable"


@pytest.fixture
def table():
    n = 20
    rng = np.random.default_rng(3)
    return QTable(
        {
            "name": [f"star {i}" for i in range(n)],
            "ra": rng.uniform(0, 360, n) * u.deg,
            "dec": rng.uniform(-80, 80, n) * u.deg,
            "cluster": MaskedColumn(np.arange(n) % 4 - 1, mask=np.arange(n) == 19),
            "image": rng.normal(size=(n, 8, 9)),
            "flux": rng.normal(size=(n, 30)) * u.Jy,
        }
    )


@pytest.fixture
def linked(hub, desktop, table):
    """A program that stands for TOPCAT, and a session with it."""
    topcat = desktop()
    with ac.link(table) as session:
        yield topcat, session


def rows(mask):
    return np.flatnonzero(mask).tolist()


# ---------------------------------------------------------------- what comes


def test_the_table_is_sent(linked, table):
    topcat, session = linked
    (params,) = topcat.heard(LOAD)
    assert params["table-id"] == session.table_id
    assert session.connected_to == ("topcat",)
    assert session.selection.shape == (20,)
    assert not session.selection.any()
    assert (session.count, session.row) == (0, None)


def test_a_selection_arrives(linked):
    topcat, session = linked
    answer = topcat.call(SELECT, table_id=session.table_id, row_list=["3", "1", "3"])
    assert answer["samp.status"] == "samp.ok"
    event = session.wait(10)
    assert (event.kind, event.number, event.sender) == ("select", 1, "topcat")
    assert rows(session.selection) == rows(event.mask) == [1, 3]
    assert session.count == 1
    assert session.table[session.selection]["name"].tolist() == ["star 1", "star 3"]
    session.selection[:] = True  # a copy
    assert rows(session.selection) == [1, 3]


def test_an_empty_selection(linked):
    topcat, session = linked
    topcat.call(SELECT, table_id=session.table_id, row_list=["3"])
    topcat.call(SELECT, table_id=session.table_id, row_list=[])
    until(lambda: session.count == 2)
    assert rows(session.selection) == []


def test_a_click_arrives(linked):
    topcat, session = linked
    assert topcat.call(HIGHLIGHT, table_id=session.table_id, row="7")["samp.status"] == "samp.ok"
    event = session.wait(10)
    assert (event.kind, event.row, session.row) == ("click", 7, 7)


def test_a_notification_does_as_well(linked):
    topcat, session = linked
    topcat.notify(HIGHLIGHT, table_id=session.table_id, row="5")
    assert session.wait(10).row == 5


def test_the_table_by_its_address_alone(linked):
    """TOPCAT names a table by its address, with one slash, when it has the table from elsewhere."""
    topcat, session = linked
    url = topcat.heard(LOAD)[0]["url"].replace("file:///", "file:/")
    assert topcat.call(HIGHLIGHT, url=url, row="5")["samp.status"] == "samp.ok"
    assert topcat.call(HIGHLIGHT, url=url, table_id="t1", row="6")["samp.status"] == "samp.ok"
    until(lambda: session.row == 6)


def test_another_table_is_none_of_ours(linked):
    topcat, session = linked
    for params in ({"table_id": "t1"}, {"url": "file:/other.vot"}, {}):
        answer = topcat.call(HIGHLIGHT, row="5", **params)
        assert answer["samp.status"] == "samp.error"
        assert "is linked here" in answer["samp.error"]["samp.errortxt"]
    assert session.wait(0.2) is None


@pytest.mark.parametrize("given", [["20"], ["-1"], ["x"], "3", [["1"]], {}])
def test_a_selection_that_is_none(linked, given):
    topcat, session = linked
    with pytest.warns(ac.AstroClusterWarning, match="SAMP message was refused.*row"):
        answer = topcat.call(SELECT, table_id=session.table_id, row_list=given)
    assert answer["samp.status"] == "samp.error"
    assert session.count == 0
    topcat.call(SELECT, table_id=session.table_id, row_list=["1"])
    assert session.wait(10).rows.tolist() == [1]


def test_a_ping_is_answered(linked):
    topcat, _ = linked
    assert topcat.call("samp.app.ping")["samp.status"] == "samp.ok"


def test_a_position_is_a_click_on_the_row_there(linked, table):
    topcat, session = linked
    ra, dec = table["ra"][4].value, table["dec"][4].value
    topcat.call(POINT, ra=str(ra), dec=str(dec))
    event = session.wait(10)
    assert (event.kind, event.row) == ("click", 4)
    topcat.call(POINT, ra=str(ra), dec=str(dec + 0.1))
    event = session.wait(10)
    assert (event.kind, event.position) == ("point", (ra, dec + 0.1))
    assert session.row == 4


def test_row_and_position_of_one_click_are_one_click(linked, table):
    topcat, session = linked
    topcat.call(HIGHLIGHT, table_id=session.table_id, row="4")
    topcat.call(POINT, ra=str(table["ra"][4].value), dec=str(table["dec"][4].value))
    assert session.wait(10).row == 4
    assert session.wait(0.2) is None


def test_only_the_hub_can_throw_us_out(linked):
    topcat, session = linked
    for mtype in ("samp.hub.event.shutdown", "samp.hub.disconnect"):
        topcat.notify(mtype)
    topcat.call("samp.app.ping")
    assert session.connected_to == ("topcat",)


# ---------------------------------------------------------------- callbacks


def test_callbacks(hub, desktop, table):
    topcat, seen = desktop(), []
    with ac.link(
        table,
        on_select=lambda mask: seen.append((rows(mask), threading.current_thread().name)),
        on_click=lambda row: seen.append((row, threading.current_thread().name)),
    ) as session:
        topcat.call(SELECT, table_id=session.table_id, row_list=["2"])
        until(lambda: len(seen) == 1)
        topcat.call(HIGHLIGHT, table_id=session.table_id, row="3")
        until(lambda: len(seen) == 2)
    assert seen == [([2], "SAMP callbacks"), (3, "SAMP callbacks")]


def test_an_error_in_a_callback_is_told_once(hub, desktop, table):
    topcat, called = desktop(), []

    def fail(row):
        called.append(row)
        raise RuntimeError("oh no")

    with (
        warnings.catch_warnings(record=True) as caught,
        ac.link(table, on_click=fail) as session,
    ):
        warnings.simplefilter("always")
        for row in range(3):
            assert topcat.call(HIGHLIGHT, table_id=session.table_id, row=str(row))["samp.status"] == "samp.ok"
            until(lambda: len(called) == row + 1)  # noqa: B023
    said = [str(one.message) for one in caught]
    assert said == ["on_click failed: RuntimeError: oh no (told once)"]


def test_ten_selections_a_second_and_a_slow_callback(hub, desktop, table):
    """All are counted, the slow one sees the latest, and none waits in a line."""
    topcat, seen = desktop(), []

    def slow(mask):
        seen.append(rows(mask))
        time.sleep(0.5)

    with ac.link(table, on_select=slow) as session:
        for k in range(30):
            start = time.monotonic()
            topcat.call(SELECT, table_id=session.table_id, row_list=[str(k % 20)])
            time.sleep(max(0, start + 0.1 - time.monotonic()))
        until(lambda: seen[-1] == [9], 2)
        assert session.count == 30
    assert 3 <= len(seen) <= 15


def test_a_callback_may_close_the_session(hub, desktop, table):
    topcat = desktop()
    with nothing_is_left():
        session = ac.link(table, on_click=lambda row: session.close())
        topcat.call(HIGHLIGHT, table_id=session.table_id, row="1")
        until(lambda: session.closed)
        until(lambda: topcat.names() == [])


def test_a_look_without_a_wait(linked):
    topcat, session = linked
    assert session.wait(0) is None
    topcat.call(HIGHLIGHT, table_id=session.table_id, row="7")
    assert session.wait(0).row == 7
    with pytest.raises(ac.InputError, match="timeout=-1"):
        session.wait(-1)


def test_events_end_with_the_session(linked):
    _, session = linked
    threading.Timer(0.2, session.close).start()
    assert list(session.events()) == []
    assert session.wait(5) is None


# ---------------------------------------------------------------- what goes


def test_a_selection_goes(linked, table):
    topcat, session = linked
    session.select(table["ra"] > 0 * u.deg)
    session.select([4, 2])
    session.select(np.zeros(20, dtype=bool))
    session.select([])
    assert [len(p["row-list"]) for p in topcat.heard(SELECT)] == [20, 2, 0, 0]
    assert {sender for kind, sender, _ in topcat.told if kind == SELECT} == {"astro_cluster"}


def test_a_subset_has_the_name_of_its_sender(linked):
    """TOPCAT names a subset by the program that it comes from."""
    topcat, session = linked
    session.select_cluster(2)
    session.select_cluster(-1)
    session.select([1], name="the Pléiades")
    told = [(sender, p["row-list"]) for kind, sender, p in topcat.told if kind == SELECT]
    assert told == [
        ("cluster 2", [str(i) for i in range(20) if i % 4 == 3 and i != 19]),
        ("noise", [str(i) for i in range(20) if i % 4 == 0]),
        ("the Pleiades", ["1"]),
    ]
    assert topcat.names() == ["astro_cluster"]  # the others have left


def test_a_row_is_highlighted(linked):
    topcat, session = linked
    session.highlight(np.int64(3))
    assert topcat.heard(HIGHLIGHT)[-1]["row"] == "3"


def test_a_table_that_the_program_does_not_know_yet(hub, desktop, table):
    topcat = desktop(delay=0.7)
    with ac.link(table) as session:
        session.select([1])
        session.select([2], name="two")
    assert [p["row-list"] for p in topcat.heard(SELECT)] == [["1"], ["2"]]


@pytest.mark.parametrize(
    "given", [[20], [-1], [0.5], "cluster", np.ones(19, bool), np.ones((20, 2), bool), [[1]], None]
)
def test_rows_that_are_none(linked, given):
    topcat, session = linked
    with pytest.raises(ac.InputError):
        session.select(given)
    assert topcat.heard(SELECT) == []


def test_what_is_masked_is_not_selected(linked):
    """And is not row 0."""
    topcat, session = linked
    session.select(MaskedColumn([3, 4, 5], mask=[False, True, False]))
    session.select(np.ma.array([True] * 20, mask=[False, True] * 10))
    session.select(Masked(np.arange(20) * u.s, mask=np.arange(20) > 3) > 1 * u.s)
    sent = [p["row-list"] for p in topcat.heard(SELECT)]
    assert sent == [["3", "5"], [str(i) for i in range(0, 20, 2)], ["2", "3"]]


def test_a_table_that_is_sorted_meanwhile(linked, table):
    """Numbers of rows would mean others; values and columns may change."""
    topcat, session = linked
    table["ra"][3] = 7 * u.deg
    table["more"] = 1
    table["cluster"][:] = table["cluster"][::-1].copy()
    topcat.call(SELECT, table_id=session.table_id, row_list=["3"])
    session.select([1])
    assert rows(session.selection) == [3]
    table.sort("ra")
    for wrong in (lambda: session.select([1]), lambda: session.highlight(1), lambda: session.selection):
        with pytest.raises(ac.InputError, match="in another order than when it was linked"):
            wrong()
    with pytest.warns(ac.AstroClusterWarning, match="another order"):
        answer = topcat.call(SELECT, table_id=session.table_id, row_list=["4"])
    assert answer["samp.status"] == "samp.error"
    assert topcat.call(HIGHLIGHT, table_id=session.table_id, row="4")["samp.status"] == "samp.error"
    table.remove_row(0)
    with pytest.raises(ac.InputError, match=r"has 19 rows, and had 20"):
        session.select([1])
    assert (session.count, session.row) == (1, None)


def test_clusters_and_names_that_are_none(linked):
    _, session = linked
    for cluster in (None, "2", [2], True, 2.0):
        with pytest.raises(ac.InputError, match="is no number of a cluster"):
            session.select_cluster(cluster)
    with pytest.raises(ac.InputError, match="holds no cluster numbers"):
        session.select_cluster(2, column="name")
    with pytest.raises(ac.InputError, match=r"no row is in the cluster 7; there are -1, 0, 1, 2"):
        session.select_cluster(7)
    with pytest.raises(ac.InputError, match="no column"):
        session.select_cluster(0, column="klaster")
    for name in ("", "  ", 3):
        with pytest.raises(ac.InputError, match="name="):
            session.select([1], name=name)
    with pytest.raises(ac.InputError, match="no row 20"):
        session.highlight(20)


# ---------------------------------------------------------------- how it begins and ends


def test_it_leaves_nothing(hub, desktop, table):
    topcat = desktop()
    with nothing_is_left():
        session = ac.link(table, on_click=print, show=print, point_at="ds9")
        assert "1 selections" not in repr(session)
        session.close()
        session.close()
    assert "closed" in repr(session)
    assert session.connected_to == ()
    assert topcat.names() == []
    with pytest.raises(ac.InputError, match="session is closed"):
        session.select([1])


def test_a_link_that_fails_leaves_nothing(hub, desktop, table):
    with nothing_is_left(), pytest.raises(ac.ServiceError, match="no program called"):
        ac.link(table)
    topcat = desktop()
    topcat.error = "too large"
    with nothing_is_left(), pytest.raises(ac.ServiceError, match="did not load the table: too large"):
        ac.link(table)
    assert topcat.names() == []


def test_without_a_hub(lockfile, table):
    with nothing_is_left(), pytest.raises(ac.ServiceError, match="no SAMP hub is running"):
        ac.link(table)


@pytest.mark.parametrize(
    "how",
    [{"to": ""}, {"timeout": -1}, {"table_id": "χ"}, {"on_click": 3}, {"show": "picture"}, {"show": "ra"},
     {"show_to": "x.png"}, {"point_at": [3]}, {"position": ("ra", "dek")}],
)  # fmt: skip
def test_parameters_that_are_none(lockfile, table, how):
    with pytest.raises(ac.InputError):
        ac.link(table, **how)


def test_positions_are_needed_to_point(lockfile):
    with pytest.raises(ac.InputError, match="position"):
        ac.link(QTable({"x": [1.0]}), point_at="ds9")


def test_a_table_that_has_been_sent(hub, desktop, table):
    topcat = desktop()
    table_id = ac.send(table)
    with ac.link(table, table_id=table_id) as session:
        session.select([1])
    assert len(topcat.heard(LOAD)) == 1
    with pytest.raises(ac.ServiceError, match="has no table with the id 'other'"):
        ac.link(table, table_id="other", timeout=0.5)


def test_a_file(hub, desktop, table, tmp_path):
    topcat = desktop()
    path = ac.write(table["name", "ra"], tmp_path / "t.vot")
    with ac.link(path) as session:
        assert topcat.heard(LOAD)[0]["url"] == path.as_uri()
        assert len(session.table) == 20
        topcat.call(HIGHLIGHT, url=path.as_uri(), row="2")
        assert session.wait(10).row == 2


_SCRIPT = """
import os, sys, threading, time
import astro_cluster as ac
from astropy.table import QTable
from pyvo.samp import SAMPIntegratedClient, conf
conf.use_internet = False
lock = os.environ["SAMP_HUB"].partition("file://")[2]

def topcat():
    while not os.path.exists(lock):
        time.sleep(0.05)
    client.connect()
    client.bind_receive_call("table.load.votable", lambda k, s, i, *_: client.reply(i, ok))
    client.bind_receive_call("table.highlight.row", lambda k, s, i, *_: client.reply(i, ok))

ok = {"samp.status": "samp.ok", "samp.result": {}}
client = SAMPIntegratedClient(name="topcat", addr="127.0.0.1")
threading.Thread(target=topcat).start()
session = ac.link(QTable({"x": [1, 2]}), start_hub=True, timeout=20)
if "fork" in sys.argv:
    if (child := os.fork()) == 0:
        sys.exit(3)
    assert os.waitpid(child, 0)[1] >> 8 == 3
    session.highlight(1)
    assert session._parcel.path.exists()
    assert session.connected_to == ("topcat",)
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("how", ["", "fork"])
def test_a_script_that_does_not_close_its_link(lockfile, how):
    """It ends without a word, and what is forked from it takes nothing along."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _SCRIPT, how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    assert not lockfile.exists()


# ---------------------------------------------------------------- who comes and goes


def wait_for(session, kind, seconds=30.0):
    """Return the next event of a kind."""
    end, seen = time.monotonic() + seconds, []
    while (left := end - time.monotonic()) > 0:
        event = session.wait(left)
        if event is not None and event.kind == kind:
            return event
        seen.append(event)
    raise AssertionError(f"no {kind} within {seconds} s: {seen}")


@pytest.mark.parametrize("known", [False, True])
def test_the_program_closes_and_comes_back(hub, desktop, table, known):
    topcat = desktop()
    with ac.link(table) as session:
        topcat.close()
        with pytest.warns(ac.AstroClusterWarning, match="topcat has left the SAMP hub"):
            wait_for(session, "left")
        assert session.connected_to == ()
        with pytest.raises(ac.ServiceError, match="not connected to the SAMP hub any more"):
            session.select([1])
        again = desktop(tables={session.table_id} if known else set())
        wait_for(session, "back")
        if not known:
            wait_for(session, "sent")
        session.select([1])
        assert len(again.heard(LOAD)) == (0 if known else 1)
        again.call(SELECT, table_id=session.table_id, row_list=["5"])
        assert wait_for(session, "select").rows.tolist() == [5]


def test_not_sent_again_unless_asked(hub, desktop, table):
    topcat = desktop()
    with ac.link(table, resend=False) as session:
        topcat.close()
        with pytest.warns(ac.AstroClusterWarning, match="has left"):
            wait_for(session, "left")
        again = desktop()
        assert "send_again" in wait_for(session, "back").text
        assert again.heard(LOAD) == []
        session.send_again()
        session.send_again()
        assert len(again.heard(LOAD)) == 1


def test_sent_again_what_another_process_had_sent(hub, desktop, table):
    """Then there is no file yet."""
    topcat = desktop(tables={"elsewhere"})
    with ac.link(table, table_id="elsewhere") as session:
        topcat.close()
        with pytest.warns(ac.AstroClusterWarning, match="has left"):
            wait_for(session, "left")
        again = desktop()
        wait_for(session, "sent")
        assert len(ac.read(url2pathname(urlsplit(again.heard(LOAD)[0]["url"]).path))) == 20


@pytest.mark.parametrize("known", [False, True])
def test_the_hub_is_killed_and_comes_back(hub_process, desktop, table, known):
    """Another process, another port, another secret; the program may have been there all the time."""
    desktop()
    with nothing_is_left(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with ac.link(table) as session:
            hub_process.end(signal.SIGKILL)
            with pytest.raises(ac.ServiceError, match=r"hub (does not answer|is gone)"):
                session.select([1])
            with pytest.raises(ac.ServiceError, match="hub is gone"):
                session.select([1])
            wait_for(session, "hub lost")
            assert session.connected_to == ()
            hub_process.start()
            again = desktop(tables={session.table_id} if known else set())
            wait_for(session, "hub back")
            wait_for(session, "back")
            if not known:
                wait_for(session, "sent")
            assert len(again.heard(LOAD)) == (0 if known else 1)
            again.call(SELECT, table_id=session.table_id, row_list=["5"])
            assert wait_for(session, "select").rows.tolist() == [5]
            session.select([4], name="four")
            again.close()
    assert len([w for w in caught if "the SAMP hub is gone" in str(w.message)]) == 1


def test_the_hub_is_killed_while_the_table_is_sent(hub_process, desktop, table):
    topcat = desktop()
    topcat._called = None
    topcat.client.bind_receive_call(LOAD, lambda *_: hub_process.end(signal.SIGKILL))
    start = time.monotonic()
    with nothing_is_left(), pytest.raises(ac.ServiceError, match="hub does not answer"):
        ac.link(table, timeout=20)
    assert time.monotonic() - start < 15


def test_the_program_is_killed(hub_process, desktop, table):
    """It has not said goodbye: our hub finds out, and so does the link."""
    topcat = desktop()
    with ac.link(table) as session:
        topcat.client.client.stop()  # its ear is shut, it is registered all the same
        with pytest.warns(ac.AstroClusterWarning, match="topcat"):
            wait_for(session, "left", 30)
        assert session.connected_to == ()


# ---------------------------------------------------------------- what a click shows


def click(topcat, session, row):
    topcat.call(HIGHLIGHT, table_id=session.table_id, row=str(row))
    return session.wait(10)


@pytest.mark.parametrize("show", ["image", "spectrum", "flux"])
def test_a_click_is_drawn_into_a_file(hub, desktop, table, tmp_path, show):
    topcat, file = desktop(), tmp_path / "row.png"
    with ac.link(table, show=show, show_to=file) as session:
        click(topcat, session, 3)
        first = file.read_bytes()
        click(topcat, session, 4)
        assert first[:4] == file.read_bytes()[:4] == b"\x89PNG"
        assert first != file.read_bytes()


def test_a_click_is_drawn_in_one_figure(hub, desktop, table):
    from matplotlib import pyplot as plt

    topcat = desktop()
    before = plt.get_fignums()
    table["flux"].info.meta = {"wavelength": np.linspace(4000, 9000, 30) * u.AA}
    with ac.link(table, show="spectrum") as session:
        assert session.show_last() is None
        for row in (3, 5):
            click(topcat, session, row)
        (number,) = set(plt.get_fignums()) - set(before)
        (axes,) = plt.figure(number).axes
        assert axes.get_title() == "row 5: star 5"
        assert axes.get_xlabel() == "wavelength [Angstrom]"
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), table["flux"][5].value)
        plt.close(number)  # the window may be closed
        click(topcat, session, 6)
        assert session.show_last().axes[0].get_title() == "row 6: star 6"
    assert plt.get_fignums() == before


def test_the_caller_draws(hub, desktop, table):
    topcat, drawn = desktop(), []
    with ac.link(table, show=lambda row: drawn.append(row["name"])) as session:
        click(topcat, session, 3)
        threading.Timer(0.3, session.close).start()
        session.run()
    assert drawn == ["star 3"]


def test_a_row_that_cannot_be_drawn(hub, desktop, table):
    topcat = desktop()
    with ac.link(table, show=lambda row: 1 / 0) as session:
        with pytest.warns(ac.AstroClusterWarning, match="row 3 cannot be drawn: ZeroDivisionError"):
            click(topcat, session, 3)
        click(topcat, session, 4)
        assert session.row == 4


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 1), (5, 6, 3), (9,)])
@pytest.mark.parametrize("fill", [0, 1.5, np.nan, np.inf, "masked"])
def test_odd_objects_are_drawn(shape, fill):
    from matplotlib import pyplot as plt

    from astro_cluster.vo.showing import Viewer

    plt.close("all")
    data = np.zeros((2, *shape))
    column = MaskedColumn(data, mask=np.ones_like(data, bool)) if fill == "masked" else data + fill
    viewer = Viewer(QTable({"x": column}), "x")
    viewer.draw(1).canvas.draw()
    viewer.close()
    assert plt.get_fignums() == []


def test_nothing_is_drawn_after_the_end(hub, desktop, table):
    topcat, drawn = desktop(), []
    session = ac.link(table, show=drawn.append)
    topcat.call(HIGHLIGHT, table_id=session.table_id, row="3")
    session.close()
    assert [event.row for event in session.events()] == [3]
    assert drawn == []


# ---------------------------------------------------------------- others are pointed


def test_others_are_pointed(hub, desktop, table):
    topcat, ds9, aladin, other = desktop(), desktop("SAOImageDS9"), desktop("Aladin"), desktop("other")
    with ac.link(table, point_at=("ds9", "aladin", "topcat")) as session:
        topcat.call(HIGHLIGHT, table_id=session.table_id, row="3")
        (to_ds9,) = until(lambda: ds9.heard(POINT))
        until(lambda: aladin.heard(POINT))
        assert float(to_ds9["ra"]) == pytest.approx(table["ra"][3].value, abs=1e-8)
        assert float(to_ds9["dec"]) == pytest.approx(table["dec"][3].value, abs=1e-8)
        assert topcat.heard(POINT) == other.heard(POINT) == []  # topcat has clicked itself
        # What DS9 says to that is an echo, and no click.
        session.wait(1)
        ds9.call(POINT, **to_ds9)
        assert session.wait(0.3) is None


def test_who_is_not_there_is_told_of_once(hub, desktop, table):
    topcat = desktop()
    with (
        warnings.catch_warnings(record=True) as caught,
        ac.link(table, point_at="ds9", on_click=print) as session,
    ):
        warnings.simplefilter("always")
        for row in (1, 2):
            click(topcat, session, row)
            time.sleep(0.3)
    assert ["no program called 'saoimageds9'" in str(one.message) for one in caught] == [True]


def test_a_name_that_steers_the_terminal(hub, desktop, table):
    desktop("\x9b31mtopcat")  # what \x1b[ is in XML, which has no \x1b
    with pytest.raises(ac.ServiceError) as caught:
        ac.link(table)
    assert "\x9b" not in str(caught.value)
    assert " 31mtopcat" in str(caught.value)


def test_a_table_without_positions(hub, desktop):
    topcat = desktop()
    with ac.link(QTable({"x": [1.0, 2.0]})) as session:
        assert topcat.call(POINT, ra="1", dec="2")["samp.status"] == "samp.ok"
        assert session.wait(10).kind == "point"


def _let_it_be_heard(session, message):
    session._line._take(message)
    wait_for(session, "hub lost")


def test_the_hub_throws_us_out(hub, desktop, table):
    """Then we stay out."""
    desktop()
    with ac.link(table) as session:
        line = session._line
        message = Message(line._hub.hub_identifier, "samp.hub.disconnect", {}, None)
        with pytest.warns(ac.AstroClusterWarning, match=r"thrown this program out.*make another link"):
            _let_it_be_heard(session, message)
        assert session.wait(2.5) is None
        assert session.connected_to == ()
