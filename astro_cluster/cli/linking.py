"""Verbs that stay: link, receive, hub."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astro_cluster.cli.files import check_free, write
from astro_cluster.cli.options import Output, Overwrite, Position, Table, names_of

if TYPE_CHECKING:
    from astropy.table import Row

    from astro_cluster.vo.events import Event
    from astro_cluster.vo.session import Session

__all__ = ["hub", "link", "receive"]

_MOST_IDS = 5
_WARNED_OF = ("left", "not sent", "hub lost")  # a note has been printed
_IDS = ("main_id", "name", "id", "source_id", "objid", "designation")

StartHub = Annotated[bool, typer.Option("--start-hub", help="Run a SAMP hub if there is none.")]


@contextmanager
def _ends_like_an_interrupt() -> Iterator[None]:
    """Have the signal that asks a program to end do what Ctrl-C does, so that it leaves the hub."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def link(
    table: Table,
    to: Annotated[str, typer.Option(help="Name of the program (topcat, aladin …), or all.")] = "topcat",
    name: Annotated[str | None, typer.Option(help="Name of the table there.")] = None,
    point_at: Annotated[
        str | None, typer.Option(help="Programs to point at a clicked row, by commas: ds9,aladin.")
    ] = None,
    show: Annotated[
        str | None, typer.Option(help="What a click shows: image, spectrum, or a column of them.")
    ] = None,
    show_to: Annotated[Path | None, typer.Option(help="Draw it into this file, not a window.")] = None,
    save_selection: Annotated[
        Path | None, typer.Option(help="Write the selected rows here, anew for each selection.")
    ] = None,
    position: Position = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 60.0,
    start_hub: StartHub = False,
    overwrite: Overwrite = False,
) -> None:
    """Link a table with TOPCAT.

    Prints what is selected and clicked there, until Ctrl-C.
    """
    import astro_cluster as ac

    check_free(overwrite, save_selection=save_selection, figure=show_to)
    with (
        _ends_like_an_interrupt(),
        ac.link(
            str(table),
            to=to,
            name=name or table.name,
            timeout=timeout,
            start_hub=start_hub,
            show=show,
            show_to=show_to,
            point_at=point_at or (),
            position=names_of(position),
        ) as session,
    ):
        partners = ", ".join(session.connected_to)
        typer.echo(f"linked {table} with {partners} (table-id {session.table_id}); Ctrl-C ends it")
        try:
            for event in session.events():
                if event.kind not in _WARNED_OF:
                    typer.echo(_line(session, event))
                if event.kind == "select" and save_selection is not None:
                    write(session.table[event.mask], save_selection, overwrite=True)
        except KeyboardInterrupt:
            typer.echo("ended")


def _line(session: Session, event: Event) -> str:
    """Return an event in words."""
    if event.kind == "select":
        count = len(event.rows) if event.rows is not None else 0
        return f"selected {count:,} of {len(session.table):,} rows{_ids(session, event.rows)}"
    if event.kind == "click":
        return f"clicked row {event.row}{_ids(session, [event.row])}"
    if event.position is not None:
        return f"pointed at {event.position[0]:.6f} {event.position[1]:+.6f}, where no row is"
    return event.text


def _ids(session: Session, rows: Any) -> str:
    names = {name.lower(): name for name in session.table.colnames}
    found = [names[word] for word in _IDS if word in names]
    if not found or rows is None or not len(rows):
        return ""
    shown = ", ".join(_id(session.table[row], found) for row in rows[:_MOST_IDS])
    return f": {shown}{', …' if len(rows) > _MOST_IDS else ''}"


def _id(row: Row, names: list[str]) -> str:
    """Return what a row is called: a source without a counterpart has no name there, but its own."""
    texts = (str(row[name]).strip() for name in names)
    return next((text for text in texts if text not in ("", "--")), "--")


def receive(
    output: Output,
    timeout: Annotated[float | None, typer.Option(help="Seconds to wait; for ever by default.")] = None,
    name: Annotated[str, typer.Option(help="What other programs call this one.")] = "astro_cluster",
    start_hub: StartHub = False,
    overwrite: Overwrite = False,
) -> None:
    """Wait for a table that TOPCAT sends, and write it."""
    import astro_cluster as ac

    check_free(overwrite, output=output)
    if not start_hub:
        from astro_cluster.vo.hub import find_hub
        from astro_cluster.vo.serving import KNOCK_SECONDS

        find_hub(KNOCK_SECONDS)  # an error if there is none, before anyone is told to send something
    typer.echo(f"waiting for a table; in TOPCAT: Interop > Send table to… > {name}")
    with _ends_like_an_interrupt():
        table = ac.receive(timeout=timeout, name=name, start_hub=start_hub)
    write(table, output, overwrite)


def hub() -> None:
    """Run a SAMP hub, until Ctrl-C."""
    import threading

    from astro_cluster.vo.hub import find_hub
    from astro_cluster.vo.lockfile import NoHubError, lock_url
    from astro_cluster.vo.serving import KNOCK_SECONDS, run_hub

    try:
        lock = find_hub(KNOCK_SECONDS)
    except NoHubError:
        lock = None
    if lock is not None:
        from astro_cluster.exceptions import ServiceError

        whose = lock.get("hub.label") or lock.get("hub.impl") or "another program"
        raise ServiceError(f"a SAMP hub is running already, that of {whose}: use it", url=lock_url())
    with _ends_like_an_interrupt():
        running = run_hub()
        try:
            typer.echo(f"SAMP hub at {running.params['samp.hub.xmlrpc.url']} ({lock_url()}); Ctrl-C ends it")
            while not threading.Event().wait(3600.0):
                pass
        except KeyboardInterrupt:
            typer.echo("ended")
        finally:
            running.stop()
