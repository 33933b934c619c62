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
    """
    import astro_cluster as ac

    return ac.read([str(file) for file in files] if len(files) > 1 else str(files[0]))


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
    """
    import astro_cluster as ac

    if output is None:
        return
    path = ac.write(table, output, overwrite=overwrite)
    typer.echo(f"wrote {path} ({len(table):,} rows, {len(table.colnames)} columns)")


def draw(drawn: Artist, path: Path, overwrite: bool) -> None:
    """Write a figure and say so.

    Parameters
    ----------
    drawn : `~matplotlib.figure.Figure` or `~matplotlib.axes.Axes`
        What a function of `~astro_cluster.plotting` returned.
    path : path
        Its ending gives the format.
    overwrite : bool
        Whether a file may be replaced.
    """
    from astro_cluster.tables import beside

    figure = drawn.get_figure(root=True)
    with beside(path, overwrite=overwrite) as new:
        figure.savefig(new, format=_figure_format(path), dpi=_DPI)  # type: ignore[union-attr]
    typer.echo(f"wrote {path}")
