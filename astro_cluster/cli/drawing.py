"""The verb plot."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from astro_cluster.cli.figures import AS_OPTIONS, KINDS, Kind
from astro_cluster.cli.files import check_free, draw
from astro_cluster.cli.options import Level, Overwrite, Position, fail, names_of, value_of

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
    corner: Annotated[
        str | None, typer.Option(help="Every pair of the numbers of these columns, such as latent.")
    ] = None,
    spectra: Annotated[
        bool, typer.Option("--spectra", help="Spectra, their reconstructions and what remains.")
    ] = False,
    spectra_sheet: Annotated[bool, typer.Option("--spectra-sheet", help="Many small spectra.")] = False,
    traversal: Annotated[bool, typer.Option("--traversal", help="What each latent changes.")] = False,
    density: Annotated[bool, typer.Option("--density", help="How many rows lie where in x and y.")] = False,
    histogram: Annotated[bool, typer.Option("--histogram", help="How many rows have which x.")] = False,
    leakage: Annotated[
        bool, typer.Option("--leakage", help="What latents know of x, by default the redshift.")
    ] = False,
    tuning: Annotated[bool, typer.Option("--tuning", help="Errors against the number of latents.")] = False,
    x: Annotated[
        str | None,
        typer.Option(
            "-x",
            "--x",
            help="clusters, thumbnails, region, density, histogram, leakage: column to the right.",
        ),
    ] = None,
    y: Annotated[
        str | None, typer.Option("-y", "--y", help="clusters, thumbnails, region, density: column upwards.")
    ] = None,
    xscale: Annotated[Scale | None, typer.Option(help="clusters, density, histogram: scale of x.")] = None,
    yscale: Annotated[Scale | None, typer.Option(help="clusters, density: scale of y.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Column of labels; the latest by default.")] = None,
    position: Position = None,
    by: Annotated[
        str | None, typer.Option(help="types, reliability, thumbnails, sheet: column of types.")
    ] = None,
    level: Level = None,
    top: Annotated[int | None, typer.Option(help="types: how many get a colour.")] = None,
    runs: Annotated[str | None, typer.Option(help="alluvial: prefixes of runs, by commas.")] = None,
    prefix: Annotated[str | None, typer.Option(help="reliability: prefix of the clustering.")] = None,
    seed: Annotated[int | None, typer.Option(help="reliability, leakage: random seed.")] = None,
    ungrouped: Annotated[
        bool, typer.Option("--ungrouped", help="thumbnails, sheet: all images as one group.")
    ] = False,
    column: Annotated[str | None, typer.Option(help="Images: their column, if there are several.")] = None,
    stretch: Annotated[Stretch | None, typer.Option(help="Images: how numbers become grey.")] = None,
    colour_map: Annotated[
        str | None, typer.Option(help="Images, corner, traversal, density: colours, in matplotlib's words.")
    ] = None,
    origin: Annotated[str | None, typer.Option(help="Images: first row upper or lower.")] = None,
    width: Annotated[float | None, typer.Option(help="thumbnails: width as a share of the axes.")] = None,
    max_images: Annotated[int | None, typer.Option(help="thumbnails: how many at most.")] = None,
    overlap: Annotated[bool, typer.Option("--overlap", help="thumbnails: also on each other.")] = False,
    per_cluster: Annotated[int | None, typer.Option(help="sheet: images of each cluster.")] = None,
    columns: Annotated[int | None, typer.Option(help="sheets, spectra: how many beside each other.")] = None,
    order: Annotated[
        str | None, typer.Option(help="sheets: column, smallest first; -column, largest first; random.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="sheet: column whose values stand below; spectra: of names.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="reconstructions, spectra, traversal, learning: file of the model.")
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", help="reconstructions, spectra, traversal: how many.")
    ] = None,
    rows: Annotated[
        str | None, typer.Option(help="reconstructions, spectra: which rows, by commas, counted from 0.")
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
    color: Annotated[
        str | None, typer.Option("--color", "--colour", help="corner: column that gives the colours.")
    ] = None,
    log_color: Annotated[
        bool, typer.Option("--log-color", help="corner: colours follow the logarithm.")
    ] = False,
    no_contours: Annotated[bool, typer.Option("--no-contours", help="corner: points alone.")] = False,
    reconstruction: Annotated[
        str | None, typer.Option(help="spectra: column of reconstructions, or none.")
    ] = None,
    redshift: Annotated[
        str | None, typer.Option(help="spectra: column of redshifts; traversal: a redshift.")
    ] = None,
    no_lines: Annotated[
        bool, typer.Option("--no-lines", help="spectra, traversal: mark no emission lines.")
    ] = False,
    features: Annotated[str | None, typer.Option(help="traversal, leakage: column of the latents.")] = None,
    latents: Annotated[
        str | None, typer.Option(help="traversal: which latents, by commas, counted from 0.")
    ] = None,
    percentiles: Annotated[
        str | None, typer.Option(help="traversal: from where to where a latent goes, as 5,95.")
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(help="density, histogram, leakage: number that means no value, BAL_PROB=-1."),
    ] = None,
    bins: Annotated[int | None, typer.Option(help="histogram: how many.")] = None,
    dpi: Annotated[int | None, typer.Option(help="Pixels an inch of a .png.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw a figure of a table.

    Clusters, sky, types, alluvial, reliability, choice, radius; of images thumbnails, sheet,
    reconstructions, region, recall, learning; of spectra and latents corner, spectra, spectra-sheet,
    traversal, density, histogram, leakage, tuning.
    """
    import astro_cluster as ac

    check_free(overwrite, figure=output)
    flags = (
        thumbnails, sheet, reconstructions, region, recall, learning,
        corner is not None, spectra, spectra_sheet, traversal, density, histogram, leakage, tuning,
    )  # fmt: skip
    kind = _kind_of(kind, [name for name, wanted in zip(AS_OPTIONS, flags, strict=True) if wanted])
    given: dict[str, Any] = {
        "x": x, "y": y, "xscale": xscale and xscale.value, "yscale": yscale and yscale.value,
        "cluster": cluster, "position": names_of(position), "by": by, "level": level, "top": top,
        "runs": None if runs is None else [run.strip() for run in runs.split(",")],
        "prefix": prefix, "seed": seed, "ungrouped": ungrouped or None, "column": column,
        "stretch": stretch and stretch.value, "colour_map": colour_map, "origin": origin, "width": width,
        "max_images": max_images, "overlap": overlap or None, "per_cluster": per_cluster,
        "columns": columns, "order": order, "labels": labels, "model": model, "n": n,
        "rows": None if rows is None else _numbers("--rows", rows, "rows"),
        "residuals": False if no_residuals else None,
        "label": label, "value": value, "threshold": threshold, "score": score,
        "fraction": fraction or None, "upto": upto, "corner": corner, "color": color,
        "log_color": log_color or None, "contours": False if no_contours else None,
        "reconstruction": reconstruction, "redshift": redshift, "lines": False if no_lines else None,
        "features": features, "percentiles": None if percentiles is None else _percentiles(percentiles),
        "latents": None if latents is None else _numbers("--latents", latents, "latents"),
        "missing": None if not missing else _nulls(missing), "bins": bins,
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
    special = {"n": "-n", "residuals": "--no-residuals", "contours": "--no-contours", "lines": "--no-lines"}
    return special.get(name, f"--{name.replace('_', '-')}")


def _numbers(option: str, text: str, what: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        return fail(f"{option} {text} are no numbers of {what}; give some, such as {option} 0,5,7")


def _percentiles(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        return fail(f"--percentiles {text} are no two numbers; give some, such as --percentiles 5,95")
    return low, high


def _nulls(texts: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        number = value_of(value.strip()) if sign else None
        if not name.strip() or isinstance(number, bool) or not isinstance(number, int | float):
            fail(f"--missing {text} should be column=number, such as BAL_PROB=-1")
        found[name.strip()] = float(number)  # type: ignore[arg-type]
    return found
