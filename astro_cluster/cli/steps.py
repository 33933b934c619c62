"""Verbs that work with others: match, send, rerun, and the demo of it all."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from astro_cluster.cli.files import check_free, read, write
from astro_cluster.cli.options import (
    Find,
    Output,
    Overwrite,
    OverwriteColumns,
    Position,
    Table,
    angle_of,
    names_of,
)

__all__ = ["Method", "demo", "match", "rerun", "send"]


class Method(StrEnum):
    """What decides between counterparts."""

    NEAREST = "nearest"
    BAYES = "bayes"


def match(
    table: Table,
    reference: Annotated[
        str, typer.Argument(help="A file, 'simbad', a VizieR table (I/355/gaiadr3) or https://host/tap#table")
    ],
    output: Output,
    radius: Annotated[
        str | None,
        typer.Option(help="Largest separation, with unit; 1arcsec by default, with bayes 5 errors."),
    ] = None,
    method: Annotated[Method, typer.Option(help="What decides between counterparts.")] = Method.NEAREST,
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
    false_matches: Annotated[
        bool, typer.Option(help="Tell how many counterparts are there by chance, and which.")
    ] = True,
    position_error: Annotated[
        str | None, typer.Option(help="For bayes: columns of errors, by commas, or an angle: 0.3arcsec.")
    ] = None,
    reference_position_error: Annotated[str | None, typer.Option(help="The same, in the reference.")] = None,
    completeness: Annotated[
        float | None, typer.Option(help="For bayes: share of rows with a counterpart, if known.")
    ] = None,
    max_p_none: Annotated[
        float | None, typer.Option(help="For bayes: a row that has none with more than this gets none.")
    ] = None,
    via: Annotated[str | None, typer.Option(help="local, cds or tap, if several could be meant.")] = None,
    cache: Annotated[bool, typer.Option(help="Keep and use answers of remote services.")] = True,
    overwrite: Overwrite = False,
    overwrite_columns: OverwriteColumns = False,
) -> None:
    """Match positions with a file, SIMBAD, VizieR or a TAP service."""
    import astro_cluster as ac

    check_free(overwrite, output=output)
    out = ac.crossmatch(
        read([table]),
        reference,
        radius=None if radius is None else angle_of(radius),
        find=find.value,
        method=method.value,
        columns=None if columns is None else [name.strip() for name in columns.split(",")],
        suffix=suffix,
        position=names_of(position),
        reference_position=names_of(reference_position),
        separation=separation,
        epoch=epoch,
        reference_epoch=reference_epoch,
        false_matches=None if false_matches else False,
        position_error=_error_of(position_error),
        reference_position_error=_error_of(reference_position_error),
        completeness=completeness,
        max_p_none=max_p_none,
        via=via,
        cache=cache,
        overwrite=overwrite_columns,
    )
    write(out, output, overwrite)
    import numpy as np

    matched = ~np.asarray(np.broadcast_to(getattr(out[separation], "mask", False), (len(out),)))
    within = f" within {radius or '1arcsec'}" if radius or method is Method.NEAREST else ""
    typer.echo(f"  {int(matched.sum()):,} of {len(out):,} rows have a counterpart{within}")
    _print_chance(ac.records(out)[-1])


def _error_of(text: str | None) -> Any:
    """Return columns of position errors, or an angle."""
    if text is None or not re.match(r"\s*\.?\d", text):
        return names_of(text)
    return angle_of(text)


def _print_chance(record: dict[str, Any]) -> None:
    """Print how many counterparts are there by chance."""
    if (found := record.get("false_matches")) and found["matched"]:
        ways = [f"local density: {_count(found['by_density'])}"]
        if found["by_shift"] is not None:
            ways.append(f"moved positions: {_count(found['by_shift'])}")
        typer.echo(
            f"  of {found['matched']:,} nearest ones {_count(found['expected'])} ± {_count(found['spread'])} "
            f"({found['fraction']:.2%}) are expected to be there by chance ({', '.join(ways)})"
        )
    if found := record.get("bayes"):
        how = "estimated" if found["completeness_estimated"] else "given"
        typer.echo(
            f"  of {found['pairs']:,} pairs {found['expected_false']:,.1f} are expected to be false; "
            f"{found['completeness']:.1%} of the rows have a counterpart ({how})"
        )


def _count(expected: float) -> str:
    """Return an expected number with the digits that it has, also where it is small."""
    return f"{expected:,.1f}" if expected >= 1 else f"{expected:.1g}" if expected >= 0.001 else "0"


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
    # Where nothing else stands on record, the images were read again.
    typer.echo(f"ran again: {', '.join(done) or ac.records(out)[0]['function']}")
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
    """Run the whole way once, on simulated or real sources.

    Catalogue, clusters, match, summary, figures.
    """
    from astro_cluster.demo import run

    run(output, rows=rows, seed=seed, online=online)
