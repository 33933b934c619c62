"""Verbs that look at a table: summary, inspect, plot, record."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astro_cluster.cli.files import check_free, draw, write
from astro_cluster.cli.options import (
    Cluster,
    MaybeOutput,
    Overwrite,
    Position,
    Table,
    fail,
    names_of,
    value_of,
)
from astro_cluster.cli.printing import print_summary

if TYPE_CHECKING:
    from astropy.table import QTable
    from matplotlib.artist import Artist

Level = Annotated[
    int | None,
    typer.Option(help="Fold SIMBAD's types: 0 to Star, Galaxy …, 1 to YSO, AGN …, and so on."),
]

__all__ = ["Kind", "Scale", "inspect", "plot", "record", "summary"]


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
    out = ac.inspect(read, cluster, label=label, value=marks, threshold=threshold)
    for line in out.pformat(max_lines=-1, max_width=-1):
        typer.echo(line)
    region = out.meta["region"]
    typer.echo(
        f"region: {len(region['clusters'])} clusters with at least {threshold:.0%} bad, "
        f"{region['size']:,} rows, recall {region['recall']:.1%}, precision {region['precision']:.1%}, "
        f"lift {region['lift']:.2f}"
    )
    if left := out.meta["rows_left_out"]:
        typer.echo(f"note: {left:,} rows without a cluster or a label were left out", err=True)
    write(out, output, overwrite)


# ---------------------------------------------------------------- figures


class Kind(StrEnum):
    """Figures, by the functions of `plotting` that draw them."""

    CLUSTERS = "clusters"
    SKY = "sky"
    TYPES = "types"
    ALLUVIAL = "alluvial"
    RELIABILITY = "reliability"
    CHOICE = "choice"
    RADIUS = "radius"


class Scale(StrEnum):
    """Scales of axes."""

    LINEAR = "linear"
    LOG = "log"
    SYMLOG = "symlog"


def plot(
    table: Annotated[
        Path, typer.Argument(help="Clustered table; also what choose, summary or compare wrote.")
    ],
    kind: Annotated[Kind, typer.Argument(help="What to draw.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Figure to write: .png, .pdf, .svg.")],
    x: Annotated[str | None, typer.Option("-x", "--x", help="clusters: column to the right.")] = None,
    y: Annotated[str | None, typer.Option("-y", "--y", help="clusters: column upwards.")] = None,
    xscale: Annotated[Scale | None, typer.Option(help="clusters: scale of x.")] = None,
    yscale: Annotated[Scale | None, typer.Option(help="clusters: scale of y.")] = None,
    cluster: Annotated[
        str | None, typer.Option(help="clusters, sky, types: column of labels; the latest by default.")
    ] = None,
    position: Position = None,
    by: Annotated[str | None, typer.Option(help="types, reliability: column of types.")] = None,
    level: Level = None,
    top: Annotated[int | None, typer.Option(help="types: how many get a colour.")] = None,
    runs: Annotated[str | None, typer.Option(help="alluvial: prefixes of runs, by commas.")] = None,
    prefix: Annotated[str | None, typer.Option(help="reliability: prefix of the clustering.")] = None,
    seed: Annotated[int | None, typer.Option(help="reliability: random seed.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw a figure of a table.

    Clusters, sky, types, alluvial, reliability, choice or radius.
    """
    import astro_cluster as ac

    check_free(overwrite, figure=output)
    given: dict[str, Any] = {
        "x": x, "y": y, "xscale": xscale and xscale.value, "yscale": yscale and yscale.value,
        "cluster": cluster, "position": names_of(position), "by": by, "level": level, "top": top,
        "runs": None if runs is None else [run.strip() for run in runs.split(",")],
        "prefix": prefix, "seed": seed,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    function, takes = _KINDS[kind]
    if alien := [name for name in given if name not in takes]:
        takes_words = ", ".join(f"--{name}" for name in takes) or "no options"
        fail(f"--{alien[0]} has no meaning for the figure {kind.value}, which takes {takes_words}")
    draw(function(ac.read(str(table)), **given), output, overwrite)


def _draw_clusters(table: QTable, x: str | None = None, y: str | None = None, **options: Any) -> Artist:
    from astro_cluster.plotting import plot_clusters

    if x is None or y is None:
        fail("say which columns to draw: -x hard_hs -y hard_ms")
    return plot_clusters(table, x, y, **options)  # type: ignore[arg-type]


def _draw_sky(table: QTable, **options: Any) -> Artist:
    from astro_cluster.plotting import plot_sky

    return plot_sky(table, **options)


def _draw_types(
    table: QTable,
    by: str | None = None,
    cluster: str | None = None,
    level: int | None = None,
    top: int | None = None,
) -> Artist:
    import astro_cluster as ac

    options = {"level": level} | ({} if top is None else {"top": top})
    if "fraction_of_cluster" in table.colnames:  # a summary already
        return ac.plotting.plot_types(table, by=by, **options)
    if by is None:
        fail("say which types to draw: --by main_type")
    return ac.plotting.plot_types(ac.summarize(table, cluster, by=by), **options)


def _draw_alluvial(table: QTable, runs: list[str] | None = None) -> Artist:
    from astro_cluster.plotting import plot_alluvial

    if runs is None and "run_a" not in table.colnames:
        fail("say which runs to draw, by their prefixes: --runs gmm6_,gmm8_")
    return plot_alluvial(table, runs)


def _draw_reliability(
    table: QTable, by: str | None = None, prefix: str = "", seed: int | None = None
) -> Artist:
    import astro_cluster as ac

    if by is None:
        fail("say which column has the types that are known: --by main_type")
    return ac.plotting.plot_reliability(ac.calibration(table, by, prefix=prefix, random_state=seed))


def _draw_choice(table: QTable) -> Artist:
    from astro_cluster.plotting import plot_choice

    return plot_choice(table)


def _draw_radius(table: QTable) -> Artist:
    from astro_cluster.plotting import plot_radius

    return plot_radius(table)


_KINDS: dict[Kind, tuple[Callable[..., Any], tuple[str, ...]]] = {
    Kind.CLUSTERS: (_draw_clusters, ("x", "y", "xscale", "yscale", "cluster")),
    Kind.SKY: (_draw_sky, ("cluster", "position")),
    Kind.TYPES: (_draw_types, ("by", "level", "cluster", "top")),
    Kind.ALLUVIAL: (_draw_alluvial, ("runs",)),
    Kind.RELIABILITY: (_draw_reliability, ("by", "prefix", "seed")),
    Kind.CHOICE: (_draw_choice, ()),
    Kind.RADIUS: (_draw_radius, ()),
}


# ---------------------------------------------------------------- the record


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
