"""Verbs that put a table on the sky: show, regions, moc."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from astro_cluster.cli.options import (
    Output,
    Overwrite,
    Position,
    Table,
    angle_of,
    errors_of,
    fail,
    names_of,
)

__all__ = ["Frame", "Shape", "moc", "regions", "show"]

CLUSTER = "{cluster}"


class Shape(StrEnum):
    """Shapes of regions."""

    CIRCLE = "circle"
    ELLIPSE = "ellipse"
    HULL = "hull"
    POINT = "point"


class Frame(StrEnum):
    """Frames of DS9."""

    NEW = "new"
    CURRENT = "current"


By = Annotated[
    str | None, typer.Option(help="Column of clusters or types; the latest clustering by default.")
]
ShapeOption = Annotated[Shape, typer.Option(help="A region a row, or the convex hull of each cluster.")]
Radius = Annotated[str, typer.Option(help="Of the circles: with unit, 5arcsec, or a column.")]
EllipseErrors = Annotated[
    list[str] | None,
    typer.Option(
        help="Of the ellipses, if not found: the columns major,minor,angle; or ra=ra_error. Repeat it."
    ),
]
NSigma = Annotated[float, typer.Option(help="Size of the ellipses in standard errors.")]
Fraction = Annotated[float, typer.Option(help="Share of a cluster that its hull holds.")]
Text = Annotated[str | None, typer.Option(help="Column of the texts beside the regions.")]


def _radius_of(text: str) -> Any:
    """Return an angle, or the name of a column."""
    return angle_of(text) if text[:1].isdigit() or text[:1] in ".-+" else text


def _errors_of(texts: list[str] | None) -> Any:
    if texts and len(texts) == 1 and "=" not in texts[0] and texts[0] != "auto":
        return names_of(texts[0])
    return errors_of(texts)


def regions(
    table: Table,
    output: Annotated[Path, typer.Option("--output", "-o", help="Region file to write: .reg.")],
    by: By = None,
    shape: ShapeOption = Shape.CIRCLE,
    radius: Radius = "5arcsec",
    errors: EllipseErrors = None,
    n_sigma: NSigma = 1.0,
    fraction: Fraction = 1.0,
    text: Text = None,
    position: Position = None,
    overwrite: Overwrite = False,
) -> None:
    """Write regions for DS9.

    Circles, error ellipses, points, or hulls of clusters.
    """
    from astro_cluster.tables import beside
    from astro_cluster.vo.shapes import region_text

    if output.suffix.lower() != ".reg":
        fail(f"cannot write regions to {output.name!r}: the name of a region file ends in .reg")
    if output.exists() and not overwrite:
        fail(f"{output} exists already; give --overwrite to replace it")
    content, number = region_text(
        str(table),
        by=by,
        shape=shape.value,
        radius=_radius_of(radius),
        errors=_errors_of(errors),
        n_sigma=n_sigma,
        fraction=fraction,
        text=text,
        position=names_of(position),
    )
    with beside(output, overwrite=overwrite) as new:
        new.write_text(content, encoding="utf-8")
    typer.echo(f"wrote {output} ({number:,} regions)")


def show(
    image: Annotated[Path, typer.Argument(help="FITS image.")],
    table: Annotated[Path | None, typer.Argument(help="Table whose rows are drawn on it.")] = None,
    by: By = None,
    shape: ShapeOption = Shape.CIRCLE,
    radius: Radius = "5arcsec",
    errors: EllipseErrors = None,
    n_sigma: NSigma = 1.0,
    fraction: Fraction = 1.0,
    text: Text = None,
    position: Position = None,
    everything: Annotated[bool, typer.Option("--all", help="Draw rows outside the image too.")] = False,
    to: Annotated[str, typer.Option(help="Name or hub identifier of the DS9.")] = "ds9",
    frame: Annotated[Frame, typer.Option(help="Frame of DS9 to use.")] = Frame.NEW,
    hdu: Annotated[str | None, typer.Option(help="Number or name of the HDU with the image.")] = None,
    scale: Annotated[str, typer.Option(help="Limits or function: zscale, 99.5, log …")] = "zscale",
    colormap: Annotated[str | None, typer.Option(help="Colour map of DS9.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 60.0,
) -> None:
    """Show an image in DS9, with a table on it.

    DS9 is called by SAMP; the rows or the clusters of the table are drawn.
    """
    import astro_cluster as ac

    shapes: dict[str, Any] = {}
    if table is not None:
        shapes = {
            "shape": shape.value,
            "radius": _radius_of(radius),
            "errors": _errors_of(errors),
            "n_sigma": n_sigma,
            "fraction": fraction,
            "text": text,
            "position": names_of(position),
        }
    shown = ac.show(
        image,
        None if table is None else str(table),
        by=by,
        inside=not everything,
        to=to,
        frame=frame.value,
        hdu=int(hdu) if hdu is not None and hdu.isdigit() else hdu,
        scale=scale,
        colormap=colormap,
        timeout=timeout,
        **shapes,
    )
    typer.echo(f"{shown.program} shows {shown.file} in frame {shown.frame}, with {shown.regions:,} regions")
    if shown.outside:
        typer.echo(f"note: {shown.outside:,} rows lie outside the image (--all draws them)", err=True)


def moc(
    table: Table,
    output: Output,
    by: Annotated[str | None, typer.Option(help="Column of cluster labels: a file a cluster.")] = None,
    order: Annotated[int | None, typer.Option(help="HEALPix order of the smallest cells.")] = None,
    radius: Annotated[
        str | None, typer.Option(help="Cover circles about the rows: 30arcsec, or a column.")
    ] = None,
    position: Position = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the sky that a table covers, as a MOC.

    Or that of each of its clusters; as .fits, .json or .txt.
    """
    import astro_cluster as ac
    from astro_cluster.vo.footprint import check_output, write_moc

    if by is not None and CLUSTER not in output.name:
        fail(f"--by makes a file a cluster: put {CLUSTER} into the name, as in footprint_{CLUSTER}.fits")
    if by is None and CLUSTER in output.name:
        fail(f"{CLUSTER} in the name of the output goes with --by, which names the column of labels")
    check_output(output, overwrite=overwrite)
    found = ac.moc(
        str(table),
        by=by,
        order=order,
        radius=None if radius is None else _radius_of(radius),
        position=names_of(position),
    )
    if not isinstance(found, dict):
        found = {None: found}
    paths = {output.with_name(output.name.replace(CLUSTER, str(label))): one for label, one in found.items()}
    for path in paths:
        check_output(path, overwrite=overwrite)
    for path, footprint in paths.items():
        write_moc(footprint, path, overwrite=overwrite)
        area = footprint.sky_fraction * 41252.96125
        typer.echo(f"wrote {path} ({area:.4g} square degrees)")
