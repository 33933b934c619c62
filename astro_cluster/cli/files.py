"""Files that verbs read and write: looked at before the slow part, told of after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from astro_cluster.cli.options import fail

if TYPE_CHECKING:
    from astropy.table import QTable
    from matplotlib.artist import Artist

__all__ = ["check_free", "draw", "read", "write"]

_DPI = 150


def read(files: Sequence[Path]) -> QTable:
    """Read a table from one file or several.

    Parameters
    ----------
    files : sequence of path
        Several are stacked.

    Returns
    -------
    `~astropy.table.QTable`
        A table of images or spectra from one FITS file remembers which, so that a table of another
        format that is made of it can link to it.
    """
    import astro_cluster as ac
    from astro_cluster.cutouts.leaving import remember_stack
    from astro_cluster.spectra.linking import remember_spectra

    if len(files) > 1:
        return ac.read([str(file) for file in files])
    return remember_spectra(remember_stack(ac.read(str(files[0])), files[0]), files[0])


def check_free(overwrite: bool, **outputs: Path | None) -> None:
    """Refuse before the work, not after it, to write where that cannot be.

    Parameters
    ----------
    overwrite : bool
        Whether files may be replaced.
    **outputs : path or None
        By the options that name them; ``figure`` is one, the others are tables, of which a
        ``checkpoint`` may be there.

    Raises
    ------
    InputError
        If an ending tells no format, a folder is not there, a file exists, or two are the same.
    """
    from astro_cluster.tables import check_output

    named: dict[Path, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        if option == "figure":
            _check_figure(path, overwrite)
        else:
            check_output(path, overwrite=overwrite or option == "checkpoint")
        if (other := named.setdefault(path.resolve(), option)) != option:
            fail(f"--{option} and --{other} are the same file {path}; give two names")


def _check_figure(path: Path, overwrite: bool) -> None:
    _figure_format(path)
    if path.exists() and not overwrite:
        fail(f"{path} exists already; give --overwrite to replace it")
    if not path.parent.is_dir():
        fail(f"there is no folder {path.parent} to write {path.name} into")


def _figure_format(path: Path) -> str:
    from matplotlib.backend_bases import FigureCanvasBase

    found = path.suffix.lower().removeprefix(".")
    if found not in FigureCanvasBase.get_supported_filetypes():
        fail(f"cannot tell in which format to draw {path.name!r}: use the ending .png, .pdf or .svg")
    return found


def write(table: QTable, output: Path | None, overwrite: bool) -> None:
    """Write a table, if a file was asked for, and say so.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    output : path or None
        Its ending gives the format.
    overwrite : bool
        Whether a file may be replaced.

    Raises
    ------
    InputError
        If it cannot be written.

    Notes
    -----
    Only FITS files get the images and spectra of a table.  What is written in another format links to
    the FITS file that they were read from, or to one that is written beside it.
    """
    import astro_cluster as ac
    from astro_cluster.cutouts.leaving import leave_images
    from astro_cluster.spectra.linking import leave_spectra

    if output is None:
        return
    table, of_images = leave_images(table, output, overwrite=overwrite)
    table, of_spectra = leave_spectra(table, output, overwrite=overwrite)
    path = ac.write(table, output, overwrite=overwrite)
    typer.echo(f"wrote {path} ({len(table):,} rows, {len(table.colnames)} columns)")
    for note in filter(None, (of_images, of_spectra)):
        typer.echo(f"note: {note}", err=True)


def draw(drawn: Artist, path: Path, overwrite: bool, *, dpi: int | None = None) -> None:
    """Write a figure and say so.

    Parameters
    ----------
    drawn : `~matplotlib.figure.Figure` or `~matplotlib.axes.Axes`
        What a function of `~astro_cluster.plotting` returned.
    path : path
        Its ending gives the format.
    overwrite : bool
        Whether a file may be replaced.
    dpi : int, optional
        Pixels an inch, 150 if not given.

    Raises
    ------
    InputError
        If there cannot be so many pixels.
    """
    from astro_cluster.tables import beside

    if dpi is not None and not 20 <= dpi <= 1200:
        fail(f"--dpi {dpi} is out of range; give pixels an inch from 20 to 1200")

    figure = drawn.get_figure(root=True)
    with beside(path, overwrite=overwrite) as new:
        figure.savefig(new, format=_figure_format(path), dpi=dpi or _DPI)  # type: ignore[union-attr]
    typer.echo(f"wrote {path}")
