"""Verbs that look at a table: summary, inspect, record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from astro_cluster.cli.files import check_free, write
from astro_cluster.cli.options import Cluster, Level, MaybeOutput, Overwrite, Table, value_of
from astro_cluster.cli.printing import print_summary

__all__ = ["inspect", "record", "summary"]


def summary(
    table: Table,
    by: Annotated[str | None, typer.Option(help="Column of types, such as main_type.")] = None,
    level: Level = None,
    cluster: Cluster = None,
    top: Annotated[int, typer.Option(help="Types shown of each cluster; 0 for all.")] = 10,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it: .ecsv, .vot, .fits, .csv, .md, .tex.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Count and test the types in every cluster.

    The test tells which are there more than by chance.
    """
    import astro_cluster as ac

    check_free(overwrite, output=output)
    out = ac.summarize(str(table), cluster, by=by, level=level)
    print_summary(out, by, top)
    write(out, output, overwrite)


def inspect(
    table: Table,
    label: Annotated[str, typer.Option(help="Column that tells which rows are bad.")],
    value: Annotated[str, typer.Option(help="What stands there for a bad row.")] = "true",
    reason: Annotated[str | None, typer.Option(help="Column that tells why a row is bad.")] = None,
    cluster: Cluster = None,
    threshold: Annotated[float, typer.Option(help="Share of bad rows that makes a cluster suspect.")] = 0.05,
    output: MaybeOutput = None,
    overwrite: Overwrite = False,
) -> None:
    """Find the clusters in which a label gathers.

    Tells what inspecting them alone would find.
    """
    import astro_cluster as ac

    check_free(overwrite, output=output)
    read = ac.read(str(table))
    marks = value if label in read.colnames and read[label].dtype.kind in "USO" else value_of(value)
    out = ac.inspect(read, cluster, label=label, value=marks, reason=reason, threshold=threshold)
    for line in out.pformat(max_lines=-1, max_width=-1):
        typer.echo(line)
    region = out.meta["region"]
    number, size = len(region["clusters"]), region["size"]
    typer.echo(
        f"region: {number} {'cluster' if number == 1 else 'clusters'} with at least {threshold:.0%} bad, "
        f"{size:,} {'row' if size == 1 else 'rows'}, recall {region['recall']:.1%}, "
        f"precision {region['precision']:.1%}, lift {region['lift']:.2f}"
    )
    for text, (inside, total) in region.get("reasons", {}).items():
        typer.echo(f"  {text}: {inside:,} of {total:,} in the region")
    if left := out.meta["rows_left_out"]:
        typer.echo(f"note: {left:,} rows without a cluster or a label were left out", err=True)
    write(out, output, overwrite)


def record(
    table: Table,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, as JSON.")] = False,
) -> None:
    """Tell how a table was made.

    The steps, when, with what, by which versions.
    """
    import json

    import astro_cluster as ac
    from astro_cluster.cli.words import print_record

    steps = ac.records(ac.read(str(table)))
    if [step["parameters"].get("source") for step in steps] == [str(table)]:
        steps = []  # it was read just now, which made the only step
    if as_json:
        typer.echo(json.dumps(steps, indent=1))
        return
    for number, step in enumerate(steps, start=1):
        print_record(number, step)
    if not steps:
        typer.echo(f"{table} has no step of astro_cluster on record (CSV keeps none)")
