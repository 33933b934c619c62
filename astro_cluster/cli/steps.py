"""Verbs that work with others: match, send, rerun, and the demo of it all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from astro_cluster.cli.files import check_free, write
from astro_cluster.cli.options import (
    Find,
    Output,
    Overwrite,
    OverwriteColumns,
    Position,
    Table,
    fail,
    names_of,
)

__all__ = ["demo", "match", "rerun", "send"]


def match(
    table: Table,
    reference: Annotated[
        str, typer.Argument(help="A file, 'simbad', or a VizieR table such as I/355/gaiadr3.")
    ],
    output: Output,
    radius: Annotated[str, typer.Option(help="Largest separation, with unit: 1arcsec.")] = "1arcsec",
    find: Annotated[Find, typer.Option(help="Which pairs to keep, in the words of STILTS.")] = Find.EACH,
    columns: Annotated[
        str | None, typer.Option(help="Remote columns to bring, by commas; all by default.")
    ] = None,
    suffix: Annotated[str, typer.Option(help="Put behind a remote name that is taken.")] = "_2",
    position: Position = None,
    reference_position: Annotated[str | None, typer.Option(help="The same, in the reference.")] = None,
    separation: Annotated[str, typer.Option(help="Name of the column of separations.")] = "match_separation",
    epoch: Annotated[float | None, typer.Option(help="Julian year of the positions of the table.")] = None,
    reference_epoch: Annotated[float | None, typer.Option(help="The same, of the reference.")] = None,
    via: Annotated[str | None, typer.Option(help="local or cds, if both could be meant.")] = None,
    cache: Annotated[bool, typer.Option(help="Keep and use answers of remote services.")] = True,
    overwrite: Overwrite = False,
    overwrite_columns: OverwriteColumns = False,
) -> None:
    """Match positions with a file, with SIMBAD or with a VizieR table."""
    import astro_cluster as ac

    check_free(overwrite, output=output)
    out = ac.crossmatch(
        ac.read(str(table)),
        reference,
        radius=_angle(radius),
        find=find.value,
        columns=None if columns is None else [name.strip() for name in columns.split(",")],
        suffix=suffix,
        position=names_of(position),
        reference_position=names_of(reference_position),
        separation=separation,
        epoch=epoch,
        reference_epoch=reference_epoch,
        via=via,
        cache=cache,
        overwrite=overwrite_columns,
    )
    write(out, output, overwrite)
    import numpy as np

    matched = ~np.asarray(np.broadcast_to(getattr(out[separation], "mask", False), (len(out),)))
    typer.echo(f"  {int(matched.sum()):,} of {len(out):,} rows have a counterpart within {radius}")


def _angle(text: str) -> Any:
    from astropy import units as u
    from astropy.coordinates import Angle

    try:
        try:
            angle = u.Quantity(text)  # 3s is a time, not an hour angle
        except (TypeError, ValueError):
            angle = u.Quantity(Angle(text))  # 3" and 1'
    except (TypeError, ValueError, u.UnitsError):
        angle = None
    if angle is None or not angle.unit.is_equivalent(u.deg):
        fail(f"{text!r} is no angle: give a number with its unit, such as 3arcsec")
    return angle


def send(
    table: Table,
    to: Annotated[str, typer.Option(help="Name of the program (topcat, aladin …), or all.")] = "topcat",
    name: Annotated[str | None, typer.Option(help="Name of the table there.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 60.0,
) -> None:
    """Send a table to TOPCAT or another program, by SAMP."""
    import astro_cluster as ac

    table_id = ac.send(str(table), to=to, name=name or table.name, timeout=timeout)
    typer.echo(f"sent {table} to {to} (table-id {table_id})")


def rerun(table: Table, output: Output, overwrite: Overwrite = False) -> None:
    """Run the recorded steps of a file again."""
    import astro_cluster as ac

    check_free(overwrite, output=output)
    out = ac.rerun(str(table))
    done = [record["function"] for record in ac.records(out) if not record.get("starts")]
    typer.echo(f"ran again: {', '.join(done)}")
    write(out, output, overwrite)


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path(
        "astro-cluster-demo"
    ),
    rows: Annotated[int, typer.Option(help="Number of sources.")] = 6000,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 42,
    online: Annotated[
        bool, typer.Option("--online", help="Fetch real sources of the Chandra catalogue.")
    ] = False,
) -> None:
    """Run the whole way once: catalogue, clusters, match, summary, figures."""
    from astro_cluster.demo import run

    run(output, rows=rows, seed=seed, online=online)
