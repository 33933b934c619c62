"""The verb plot."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from astro_cluster.cli.figures import KINDS, OF_IMAGES, Kind
from astro_cluster.cli.files import check_free, draw
from astro_cluster.cli.options import Level, Overwrite, Position, fail, names_of

__all__ = ["Scale", "Stretch", "plot"]


class Scale(StrEnum):
    """Scales of axes."""

    LINEAR = "linear"
    LOG = "log"
    SYMLOG = "symlog"


class Stretch(StrEnum):
    """How the numbers of an image become grey."""

    ASINH = "asinh"
    LINEAR = "linear"
    LOG = "log"
    SQRT = "sqrt"
    ZSCALE = "zscale"


def plot(
    table: Annotated[
        Path, typer.Argument(help="Clustered table; also what choose, summary or compare wrote.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Figure to write: .png, .pdf, .svg.")],
    kind: Annotated[Kind | None, typer.Argument(help="What to draw.")] = None,
    thumbnails: Annotated[
        bool, typer.Option("--thumbnails", help="Images at their place in a plane.")
    ] = False,
    sheet: Annotated[bool, typer.Option("--sheet", help="Rows of images of each cluster.")] = False,
    reconstructions: Annotated[
        bool, typer.Option("--reconstructions", help="Images over what an autoencoder makes of them.")
    ] = False,
    region: Annotated[bool, typer.Option("--region", help="The clusters in which bad rows gather.")] = False,
    recall: Annotated[bool, typer.Option("--recall", help="Bad rows found against rows looked at.")] = False,
    learning: Annotated[bool, typer.Option("--learning", help="Loss of an autoencoder by epoch.")] = False,
    x: Annotated[
        str | None, typer.Option("-x", "--x", help="clusters, thumbnails, region: column to the right.")
    ] = None,
    y: Annotated[
        str | None, typer.Option("-y", "--y", help="clusters, thumbnails, region: column upwards.")
    ] = None,
    xscale: Annotated[Scale | None, typer.Option(help="clusters: scale of x.")] = None,
    yscale: Annotated[Scale | None, typer.Option(help="clusters: scale of y.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Column of labels; the latest by default.")] = None,
    position: Position = None,
    by: Annotated[
        str | None, typer.Option(help="types, reliability, thumbnails, sheet: column of types.")
    ] = None,
    level: Level = None,
    top: Annotated[int | None, typer.Option(help="types: how many get a colour.")] = None,
    runs: Annotated[str | None, typer.Option(help="alluvial: prefixes of runs, by commas.")] = None,
    prefix: Annotated[str | None, typer.Option(help="reliability: prefix of the clustering.")] = None,
    seed: Annotated[int | None, typer.Option(help="reliability: random seed.")] = None,
    ungrouped: Annotated[
        bool, typer.Option("--ungrouped", help="thumbnails, sheet: all images as one group.")
    ] = False,
    column: Annotated[str | None, typer.Option(help="Images: their column, if there are several.")] = None,
    stretch: Annotated[Stretch | None, typer.Option(help="Images: how numbers become grey.")] = None,
    colour_map: Annotated[str | None, typer.Option(help="Images: colours, in matplotlib's words.")] = None,
    origin: Annotated[str | None, typer.Option(help="Images: first row upper or lower.")] = None,
    width: Annotated[float | None, typer.Option(help="thumbnails: width as a share of the axes.")] = None,
    max_images: Annotated[int | None, typer.Option(help="thumbnails: how many at most.")] = None,
    overlap: Annotated[bool, typer.Option("--overlap", help="thumbnails: also on each other.")] = False,
    per_cluster: Annotated[int | None, typer.Option(help="sheet: images of each cluster.")] = None,
    columns: Annotated[int | None, typer.Option(help="sheet: images beside each other.")] = None,
    order: Annotated[
        str | None, typer.Option(help="sheet: column, smallest first; -column, largest first; random.")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="sheet: column whose values stand below.")] = None,
    model: Annotated[Path | None, typer.Option(help="reconstructions: file of the autoencoder.")] = None,
    n: Annotated[int | None, typer.Option("-n", help="reconstructions: how many images.")] = None,
    rows: Annotated[
        str | None, typer.Option(help="reconstructions: which rows, by commas, counted from 0.")
    ] = None,
    no_residuals: Annotated[
        bool, typer.Option("--no-residuals", help="reconstructions: leave the residuals out.")
    ] = False,
    label: Annotated[str | None, typer.Option(help="region, recall: column that tells the bad rows.")] = None,
    value: Annotated[str | None, typer.Option(help="region, recall: what stands for a bad row.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="region, recall: share of bad rows of a suspect cluster.")
    ] = None,
    score: Annotated[str | None, typer.Option(help="recall: columns of orders, by commas.")] = None,
    fraction: Annotated[bool, typer.Option("--fraction", help="recall: shares, not rows.")] = False,
    upto: Annotated[float | None, typer.Option(help="recall: where the axis ends.")] = None,
    dpi: Annotated[int | None, typer.Option(help="Pixels an inch of a .png.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw a figure of a table.

    Clusters, sky, types, alluvial, reliability, choice, radius; of images thumbnails, sheet,
    reconstructions, region, recall, learning.
    """
    import astro_cluster as ac

    check_free(overwrite, figure=output)
    flags = (thumbnails, sheet, reconstructions, region, recall, learning)
    kind = _kind_of(kind, [name for name, wanted in zip(OF_IMAGES, flags, strict=True) if wanted])
    given: dict[str, Any] = {
        "x": x, "y": y, "xscale": xscale and xscale.value, "yscale": yscale and yscale.value,
        "cluster": cluster, "position": names_of(position), "by": by, "level": level, "top": top,
        "runs": None if runs is None else [run.strip() for run in runs.split(",")],
        "prefix": prefix, "seed": seed, "ungrouped": ungrouped or None, "column": column,
        "stretch": stretch and stretch.value, "colour_map": colour_map, "origin": origin, "width": width,
        "max_images": max_images, "overlap": overlap or None, "per_cluster": per_cluster,
        "columns": columns, "order": order, "labels": labels, "model": model, "n": n,
        "rows": None if rows is None else _row_numbers(rows), "residuals": False if no_residuals else None,
        "label": label, "value": value, "threshold": threshold, "score": score,
        "fraction": fraction or None, "upto": upto,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    function, takes = KINDS[kind]
    if alien := [name for name in given if name not in takes]:
        takes_words = ", ".join(_option(name) for name in takes) or "no options"
        fail(f"{_option(alien[0])} has no meaning for the figure {kind.value}, which takes {takes_words}")
    draw(function(ac.read(str(table)), **given), output, overwrite, dpi=dpi)


def _kind_of(kind: Kind | None, wanted: list[Kind]) -> Kind:
    """Return the figure that was asked for, by its name or by an option."""
    named = list(dict.fromkeys([*([] if kind is None else [kind]), *wanted]))
    if len(named) > 1:
        fail(f"give one figure, not {' and '.join(item.value for item in named)}")
    if not named:
        fail(f"say what to draw: {', '.join(item.value for item in Kind)}")
    return named[0]


def _option(name: str) -> str:
    special = {"n": "-n", "residuals": "--no-residuals"}
    return special.get(name, f"--{name.replace('_', '-')}")


def _row_numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        return fail(f"--rows {text} are no numbers of rows; give some, such as --rows 0,5,7")
