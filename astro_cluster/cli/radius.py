"""The verb that tells how far to look for counterparts: radius."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from astro_cluster.cli.files import check_free, draw, write
from astro_cluster.cli.options import (
    MaybeOutput,
    Overwrite,
    Position,
    Table,
    angle_of,
    fail,
    names_of,
)
from astro_cluster.cli.printing import cell_of, print_columns, say

__all__ = ["radius"]

_SHOWN = 12


def radius(
    table: Table,
    reference: Annotated[
        str, typer.Argument(help="A file, 'simbad', a VizieR table (I/355/gaiadr3) or https://host/tap#table")
    ],
    radii: Annotated[
        str | None, typer.Option(help="Least and largest radius, with units: 0.1arcsec,5arcsec.")
    ] = None,
    max_false: Annotated[
        float | None, typer.Option(help="Largest share of false matches; by default most true less false.")
    ] = None,
    position: Position = None,
    reference_position: Annotated[str | None, typer.Option(help="The same, in the reference.")] = None,
    epoch: Annotated[float | None, typer.Option(help="Julian year of the positions of the table.")] = None,
    reference_epoch: Annotated[float | None, typer.Option(help="The same, of the reference.")] = None,
    via: Annotated[str | None, typer.Option(help="local, cds or tap, if several could be meant.")] = None,
    cache: Annotated[bool, typer.Option(help="Keep and use answers of remote services.")] = True,
    output: MaybeOutput = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", "--figure", help="Draw the curve: .png, .pdf, .svg.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Tell how many matches are true and how many false.

    Radius by radius, and which is best.
    """
    import astro_cluster as ac

    check_free(overwrite, output=output, figure=plot)
    curve = ac.choose_radius(
        ac.read(str(table)),
        reference,
        radii=_radii(radii),
        max_false=max_false,
        position=names_of(position),
        reference_position=names_of(reference_position),
        epoch=epoch,
        reference_epoch=reference_epoch,
        via=via,
        cache=cache,
    )
    write(curve, output, overwrite)
    step = max(len(curve) // _SHOWN, 1)
    rows = [
        [
            cell_of(row["radius"].value, ".3g"),
            cell_of(row["matched"], ","),
            cell_of(row["false"], ",.1f"),
            cell_of(row["false_spread"], ".1f"),
            cell_of(100 * row["false_fraction"], ".2f"),
        ]
        for row in curve[step - 1 :: step]
    ]
    print_columns(["radius [arcsec]", "matched", "false", "±", "false [%]"], rows)
    say(curve.meta["verdict"])
    if plot is not None:
        draw(ac.plotting.plot_radius(curve), plot, overwrite)


def _radii(text: str | None):  # noqa: ANN202
    """Return radii between two angles."""
    import numpy as np
    from astropy import units as u

    if text is None:
        return None
    ends = [angle_of(part.strip()).to_value(u.arcsec) for part in text.split(",")]
    if len(ends) != 2 or not 0 < ends[0] < ends[1]:
        fail(f"--radii {text} should be the least and the largest radius, such as 0.1arcsec,5arcsec")
    return np.geomspace(*ends, 40) * u.arcsec
