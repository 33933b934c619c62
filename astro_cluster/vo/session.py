"""A table that is linked with a program on the desktop: what is selected here is selected there."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_cluster.exceptions import InputError
from astro_cluster.tables import as_qtable
from astro_cluster.vo.events import Event, Tray
from astro_cluster.vo.line import Line, tell
from astro_cluster.vo.listen import Message
from astro_cluster.vo.messages import (
    MessageError,
    OtherTableError,
    is_same_place,
    numbers_to_texts,
    row_of,
    rows_of,
    sky_of,
    text_of,
)
from astro_cluster.vo.order import RowOrder, row_numbers
from astro_cluster.vo.partners import Partners
from astro_cluster.vo.pointing import POINT, Pointer
from astro_cluster.vo.samp import Parcel, ascii_of, checked_id, pack, parcel_of, seconds_of, wanted_of
from astro_cluster.vo.showing import Show, Viewer

if TYPE_CHECKING:
    from astropy.table import QTable, Table
    from astropy.units import Quantity

__all__ = ["Session", "link"]

SELECT = "table.select.rowList"
HIGHLIGHT = "table.highlight.row"
_SAME_CLICK = 1.0  # seconds in which the row and the position of one click come
_TURN = 0.05  # seconds between two turns of the loop that keeps a window alive
_CLOSING = 5.0


class Session:
    """A link between a table and a program; made by `link`.

    It is a context manager, and is closed with the process at the latest.

    Attributes
    ----------
    table : `~astropy.table.QTable`
        The table.
    table_id : str
        What messages call it.
    """

    def __init__(
        self,
        table: QTable,
        parcel: Parcel,
        *,
        table_id: str,
        name: str,
        wanted: str,
        seconds: float,
        resend: bool,
        on_select: Callable[[np.ndarray], Any] | None,
        on_click: Callable[[int], Any] | None,
        viewer: Viewer | None,
        pointer: Pointer,
    ) -> None:
        self.table, self.table_id = table, table_id
        self._n_rows, self._order = len(table), RowOrder(table)
        self._owner = os.getpid()
        self._parcel, self._resend, self._seconds = parcel, resend, seconds
        self._on_select, self._on_click = on_select, on_click
        self._viewer, self._pointer = viewer, pointer
        self._lock = threading.RLock()
        self._counts: dict[str, int] = {}
        self._rows: np.ndarray = np.empty(0, dtype=np.intp)
        self._row: int | None = None
        self._clicked: tuple[float, str, str, int] = (-np.inf, "", "", -1)
        self._closed = False
        self._tray = Tray()
        self._work = Tray(("select", "click"))
        self._failed: set[str] = set()
        self._worker: threading.Thread | None = None
        self._line = Line(
            "astro_cluster",
            "Groups in astronomical tables",
            {SELECT: self._take_selection, HIGHLIGHT: self._take_row, POINT: self._take_position},
            seconds=seconds,
            on_lost=self._hub_lost,
            on_back=self._hub_back,
            on_look=self._look,
        )
        self._partners = Partners(
            self._line, wanted, parcel, table_id=table_id, name=name, seconds=seconds, report=self._report
        )
        self._partners.prepare = self._write

    def _open(self, *, send: bool, start_hub: bool) -> None:
        self._line.open(start_hub=start_hub)
        atexit.register(self.close)  # after a hub of ours, so that it is done before that hub ends
        self._partners.find(self._seconds if start_hub else 0.0)
        if send:
            self._partners.load()
        else:
            self._partners.check_known()
        if self._on_select or self._on_click or self._pointer:
            self._worker = threading.Thread(target=self._work_on, name="SAMP callbacks", daemon=True)
            self._worker.start()
        self._line.watch()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        names = "closed" if self._closed else f"with {', '.join(self.connected_to) or 'nobody'}"
        return f"<Session of {self._n_rows:,} rows, {names}; {self.count} selections>"

    # ------------------------------------------------------------ what has come

    @property
    def selection(self) -> np.ndarray:
        """The rows of the latest selection: (n,) array of bool, a copy; an error if they have moved."""
        self._check_order()
        out = np.zeros(self._n_rows, dtype=bool)
        out[self._rows] = True
        return out

    @property
    def count(self) -> int:
        """How many selections have come."""
        return self._counts.get("select", 0)

    @property
    def row(self) -> int | None:
        """The row that was clicked last, from 0; None if there is none yet."""
        return self._row

    @property
    def connected_to(self) -> tuple[str, ...]:
        """Names of the programs that the table is linked with now; empty if there is none."""
        if self._closed or not self._line.connected:
            return ()
        return tuple(client.name for client in self._partners.present)

    def wait(self, timeout: Quantity | float | None = None) -> Event | None:
        """Return the next event, and wait for it.

        Parameters
        ----------
        timeout : `~astropy.units.Quantity` [time] or float, optional
            Longest wait, in seconds if it has no unit; for ever by default, and 0 only looks.

        Returns
        -------
        Event or None
            None if nothing happened in time, or the session is closed.  Of several selections
            that nobody has waited for only the latest is returned.
        """
        end = None if timeout is None else time.monotonic() + seconds_of(timeout, zero=True)
        viewer = self._viewer if threading.current_thread() is threading.main_thread() else None
        while True:
            left = None if end is None else max(0.0, end - time.monotonic())
            alive = viewer is not None and viewer.in_a_window
            event = self._tray.get(min(_TURN, left if left is not None else _TURN) if alive else left)
            if viewer is not None and event is not None and event.kind == "click" and not self._closed:
                self._draw(viewer, event.row)
            if event is not None or not alive or self._closed or (left is not None and left <= 0):
                return event
            viewer.linger(_TURN)

    def events(self) -> Iterator[Event]:
        """Yield the events as they come, until the session is closed.

        Yields
        ------
        Event
        """
        while (event := self.wait()) is not None:
            yield event

    def run(self, timeout: Quantity | float | None = None) -> None:
        """Wait, call back and draw until the session is closed or Ctrl-C is pressed.

        A matplotlib window can be drawn by the main thread only: call this there.

        Parameters
        ----------
        timeout : `~astropy.units.Quantity` [time] or float, optional
            Longest time, in seconds if it has no unit; for ever by default.
        """
        end = None if timeout is None else time.monotonic() + seconds_of(timeout)
        try:
            while not self._closed and (end is None or time.monotonic() < end):
                self.wait(None if end is None else max(1e-3, end - time.monotonic()))
        except KeyboardInterrupt:
            pass
        if self._closed and self._viewer is not None:
            self._viewer.close()  # another thread that ended the session could not

    def show_last(self) -> Any:
        """Draw the row that was clicked last, for notebooks.

        Returns
        -------
        `~matplotlib.figure.Figure` or object or None
            What ``show`` draws; None if no row has been clicked.

        Raises
        ------
        InputError
            If the session was made without ``show``.
        """
        if self._viewer is None:
            raise InputError('nothing is to be shown: make the session with show="image" or another show=')
        return None if self._row is None else self._viewer.draw(self._row)

    def _draw(self, viewer: Viewer, row: int | None) -> None:
        if row is None:
            return
        try:
            viewer.draw(row)
        except Exception as error:
            self._tell_once("show", f"row {row} cannot be drawn: {type(error).__name__}: {error}")

    # ------------------------------------------------------------ what is told

    def select(self, rows: Any, *, name: str | None = None) -> None:
        """Select rows in the program.

        Parameters
        ----------
        rows : (n,) array of bool, or array of int
            A mask, or the numbers of rows from 0.
        name : str, optional
            What the subset is called there; ``astro_cluster`` by default.  TOPCAT replaces a
            subset of the same name.

        Raises
        ------
        InputError
            If these are no rows of the table, or its rows are not where they were when it was linked.
        ServiceError
            If the program or the hub is gone, or refuses.
        """
        if name is not None and not (isinstance(name, str) and name.strip()):
            raise InputError(f"name={name!r} is no name for a subset")
        self._check_open()
        numbers = numbers_to_texts(row_numbers(rows, len(self.table)))
        self._check_order()
        self._call(SELECT, {**self._names(), "row-list": numbers}, sender=name)

    def select_cluster(self, cluster: int, *, column: str | None = None, name: str | None = None) -> None:
        """Make a cluster a subset of the program.

        Parameters
        ----------
        cluster : int
            Its number; -1 is noise.
        column : str, optional
            Column of cluster labels; of the latest clustering by default.
        name : str, optional
            What the subset is called; ``cluster 3`` by default.

        Raises
        ------
        InputError
            If there is no such cluster.
        ServiceError
            As `select`.
        """
        from astro_cluster.summary import cluster_column, cluster_labels

        if isinstance(cluster, (bool, np.bool_)) or not isinstance(cluster, (int, np.integer)):
            raise InputError(
                f"cluster={cluster!r} is no number of a cluster; to select by another column, give "
                'select(table["type"] == "Star", name="stars")'
            )
        labels, labelled = cluster_labels(self.table, cluster_column(self.table, column))
        mask = labelled & (labels == cluster)
        if not mask.any():
            there = ", ".join(map(str, np.unique(labels[labelled])[:40]))
            raise InputError(f"no row is in the cluster {cluster!r}; there are {there}")
        self.select(mask, name=name or ("noise" if cluster < 0 else f"cluster {cluster}"))

    def highlight(self, row: int) -> None:
        """Mark one row in the program, as a click does.

        Parameters
        ----------
        row : int
            Its number, from 0.

        Raises
        ------
        InputError
            If there is no such row.
        ServiceError
            As `select`.
        """
        self._check_open()
        (number,) = row_numbers([row], len(self.table))
        self._check_order()
        self._call(HIGHLIGHT, {**self._names(), "row": str(number)})

    def send_again(self) -> None:
        """Send the table to the programs that are there and do not have it.

        Raises
        ------
        ServiceError
            If one does not load it.
        """
        self._check_open()
        clients = self._partners.present
        if not clients or not all(self._partners.knows(client) for client in clients):
            self._partners.load()

    def _names(self) -> dict[str, str]:
        return {"table-id": self.table_id, "url": self._parcel.path.as_uri()}

    def _check_open(self) -> None:
        if self._closed:
            raise InputError("the session is closed; make another with link()")

    def _check_order(self) -> None:
        if problem := self._order.problem(self.table):
            raise InputError(f"{problem}: link it again, and next time link a copy, table.copy()")

    def _write(self) -> None:
        """Write the file if that has not been needed yet: the table had been sent by another process."""
        if not self._parcel.path.exists():
            self._check_order()
            pack(self.table, self.table_id)

    def _call(self, mtype: str, params: dict[str, Any], *, sender: str | None = None) -> None:
        self._check_open()
        self._partners.call(mtype, params, sender=sender)

    # ------------------------------------------------------------ messages (a thread of the line)

    def _check_table(self, params: dict[str, Any]) -> None:
        named, url = text_of(params, "table-id"), text_of(params, "url")
        if named != self.table_id and not is_same_place(url, self._parcel.path):
            raise OtherTableError(f"no table with table-id={named} is linked here")
        self._check_order_here()

    def _check_order_here(self) -> None:
        if problem := self._order.problem(self.table):
            raise MessageError(f"{problem}: rows have other numbers here")

    def _take_selection(self, message: Message) -> None:
        self._check_table(message.params)
        rows = np.unique(rows_of(message.params, self._n_rows))
        with self._lock:
            self._rows = rows
            self._put("select", message, rows=rows)

    def _take_row(self, message: Message) -> None:
        self._check_table(message.params)
        self._click(message, row_of(message.params, self._n_rows))

    def _take_position(self, message: Message) -> None:
        position = sky_of(message.params)
        if self._pointer.is_echo(message.sender, position):
            return
        self._check_order_here()
        row = self._pointer.nearest(position)
        if row is None:
            self._put("point", message, position=position)
        else:
            self._click(message, row, position)

    def _click(self, message: Message, row: int, position: tuple[float, float] | None = None) -> None:
        now = time.monotonic()
        with self._lock:
            before, mtype, sender, other = self._clicked
            self._clicked = (now, message.mtype, message.sender, row)
            one_click = (sender, other) == (message.sender, row) and mtype != message.mtype
            if one_click and now - before < _SAME_CLICK:
                return  # TOPCAT tells the row and the position of the same click
            self._row = row
            self._put("click", message, row=row, position=position)

    def _put(self, kind: str, message: Message | None = None, **more: Any) -> None:
        with self._lock:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            number = self._counts[kind]
            if message is not None:
                more |= {"sender": self._partners.of(message.sender) or message.sender}
                self._pointer.clicked_by = message.sender if kind == "click" else self._pointer.clicked_by
            event = Event(kind, number, n_rows=self._n_rows, **more)
            self._tray.put(event)
            self._work.put(event)

    # ------------------------------------------------------------ who comes and goes (a thread)

    def _report(self, kind: str, name: str, text: str) -> None:
        self._put(kind, sender=name, text=text)
        if kind in ("left", "not sent"):
            tell(text)

    def _hub_lost(self, reason: str) -> None:
        self._partners.lost()
        self._put("hub lost", text=reason)
        after = "make another link" if self._line.expelled else "the link goes on when there is one again"
        tell(f"the SAMP hub is gone ({reason}); {after}")

    def _hub_back(self) -> None:
        self._put("hub back", text="registered with a SAMP hub again")

    def _look(self, identifiers: list[str]) -> None:
        self._partners.look(identifiers, resend=self._resend)

    # ------------------------------------------------------------ callbacks (a thread of their own)

    def _work_on(self) -> None:
        while (event := self._work.get()) is not None:
            if event.kind == "select":
                self._call_back("on_select", self._on_select, event.mask)
                continue
            self._call_back("on_click", self._on_click, event.row)
            if self._pointer:
                self._call_back("point_at", self._point, event.row)

    def _call_back(self, what: str, function: Callable[[Any], Any] | None, value: Any) -> None:
        if function is None:
            return
        try:
            function(value)
        except Exception as error:
            self._tell_once(what, f"{what} failed: {type(error).__name__}: {error}")

    def _tell_once(self, what: str, text: str) -> None:
        if what not in self._failed:
            self._failed.add(what)
            tell(f"{text} (told once)")

    def _point(self, row: int) -> None:
        with self._line.hub() as hub:
            self._pointer.point(hub, row)

    # ------------------------------------------------------------ the end

    @property
    def closed(self) -> bool:
        """Whether the session has ended."""
        return self._closed

    def close(self) -> None:
        """End the link: unregister, end the server, the threads and the window."""
        if os.getpid() != self._owner:
            return  # the threads are not here, and it is not for a child to unregister its parent
        with self._lock:
            if self._closed:
                return
            self._closed = True
        atexit.unregister(self.close)
        self._line.close()
        self._tray.close()
        self._work.close()
        if self._worker is not None and self._worker is not threading.current_thread():
            self._worker.join(_CLOSING)
        if self._viewer is not None and threading.current_thread() is threading.main_thread():
            self._viewer.close()


def link(
    table: QTable | Table | str | os.PathLike[str],
    *,
    to: str = "topcat",
    name: str | None = None,
    table_id: str | None = None,
    timeout: Quantity | float = 60.0,
    start_hub: bool = False,
    resend: bool = True,
    on_select: Callable[[np.ndarray], Any] | None = None,
    on_click: Callable[[int], Any] | None = None,
    show: Show | None = None,
    show_to: str | os.PathLike[str] | None = None,
    point_at: str | Sequence[str] = (),
    position: str | Sequence[str] | None = None,
) -> Session:
    """Link a table with TOPCAT or another program: selections and clicks go both ways.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        The table of n rows, or the file that holds it; sent as by `send`.  Leave its rows where
        they are: programs know them by their numbers, and a table that has been sorted meanwhile
        is refused.
    to : str, optional
        The program, as for `send`.
    name : str, optional
        What the program calls the table.
    table_id : str, optional
        What `send` has returned, or ``meta["samp"]["table-id"]`` of a table that `receive` has
        returned: then the table is not sent again.
    timeout : `~astropy.units.Quantity` [time] or float, optional
        Longest wait for an answer, in seconds if it has no unit.
    start_hub : bool, optional
        Run a SAMP hub in this process if there is none, and wait for the program to connect.
    resend : bool, optional
        Send the table again to a program that has been closed, is there again, and does not
        have it.
    on_select : callable, optional
        Called with the mask, (n,) array of bool, when rows have been selected.
    on_click : callable, optional
        Called with the number of the row, from 0, when one has been clicked.  Both are called
        in one thread of the session; while one runs, of several selections only the latest is
        kept.  An error in them is told once, as a warning.
    show : str or callable, optional
        What a click shows: ``"image"``, ``"spectrum"``, the name of a column of images
        (n, h, w[, c]) or spectra (n, m), or a function that is given the row.  It is drawn in
        the main thread, by `Session.run`, `Session.wait`, `Session.events` and
        `Session.show_last`.
    show_to : str or path, optional
        Draw into this file (``.png``, ``.pdf``, ``.svg``) instead of a window.
    point_at : str or sequence of str, optional
        Programs that are pointed at the position of a clicked row, such as
        ``("ds9", "aladin")``.
    position : (str, str) or str, optional
        Columns of the position, if they are not found.

    Returns
    -------
    Session
        Close it, or use it in a ``with`` block.

    Raises
    ------
    InputError
        If the table cannot be read, or a parameter makes no sense.
    ServiceError
        If there is no hub, the program is not connected to it, or does not load the table.

    Notes
    -----
    In TOPCAT, rows are sent by *Interop > Broadcast Row Subset* of the window Row Subsets, and
    clicks once *Send row index* is ticked in the window Activation Actions.  A subset gets the
    name of the program that a selection comes from; for a name of its own a client of that name
    is registered for as long as the message takes.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> cat = ac.simulate.chandra(200, random_state=1)
    >>> with ac.link(cat, to="topcat") as session:  # doctest: +SKIP
    ...     session.select(cat["hard_hs"] > 0.5, name="hard")
    ...     event = session.wait(60)
    ...     chosen = session.table[session.selection]
    """
    seconds, wanted, given_id = seconds_of(timeout), wanted_of(to), table_id
    table_id = checked_id(table_id)
    for what, function in (("on_select", on_select), ("on_click", on_click)):
        if function is not None and not callable(function):
            raise InputError(f"{what}={function!r} cannot be called: give a function")
    if isinstance(table, (str, os.PathLike)) and not Path(table).is_file():
        raise InputError(f"there is no file {os.fspath(table)}")
    if show_to is not None and show is None:
        raise InputError('show_to= needs show=, which says what is drawn: show="image", say')
    rows = as_qtable(table)
    viewer = None if show is None else Viewer(rows, show, file=None if show_to is None else Path(show_to))
    pointer = Pointer(rows, point_at, position)
    parcel = pack(table, table_id, rows=rows) if given_id is None else parcel_of(table, table_id)
    session = Session(
        rows,
        parcel,
        table_id=table_id,
        name=ascii_of(str(name or parcel.name)),
        wanted=wanted,
        seconds=seconds,
        resend=resend,
        on_select=on_select,
        on_click=on_click,
        viewer=viewer,
        pointer=pointer,
    )
    try:
        session._open(send=given_id is None, start_hub=start_hub)
    except BaseException:
        session.close()
        raise
    return session
