"""The verb spectra: files of spectra, or a table of them, to a table with a spectrum a row."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astro_cluster.cli.files import check_free, read, write
from astro_cluster.cli.options import Output, Overwrite, fail, names_of
from astro_cluster.cli.printing import say

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["Frame", "Mask", "Medium", "Method", "spectra"]


class Method(StrEnum):
    """How spectra come to the grid."""

    FLUX_CONSERVING = "flux-conserving"
    LINEAR = "linear"
    STUDY = "study"


class Frame(StrEnum):
    """Whose wavelengths the grid has."""

    OBSERVED = "observed"
    REST = "rest"


class Medium(StrEnum):
    """What the wavelengths are measured in."""

    VACUUM = "vacuum"
    AIR = "air"


class Mask(StrEnum):
    """Which mask of SDSS files counts."""

    AND = "and"
    OR = "or"


def spectra(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="SDSS spec files, FITS, VOTable, CSV or text files, tars and zips, folders, patterns; "
            "with --table a table."
        ),
    ],
    output: Output,
    grid: Annotated[
        str | None,
        typer.Option(
            help="Wavelengths of all: first:last:number, as 3625:9000:1500 (Ångström) or '362.5:900:1500 "
            "nm'; those of the first spectrum if all agree."
        ),
    ] = None,
    method: Annotated[Method, typer.Option(help="How spectra come to the grid.")] = Method.FLUX_CONSERVING,
    frame: Annotated[
        Frame | None, typer.Option(help="Whose wavelengths the grid has; observed by default.")
    ] = None,
    medium: Annotated[
        Medium | None, typer.Option(help="What they are measured in; vacuum by default.")
    ] = None,
    require_full: Annotated[
        bool, typer.Option("--require-full", help="A spectrum that does not cover the grid is a bad one.")
    ] = False,
    mask: Annotated[
        Mask | None,
        typer.Option(help="Mask of SDSS files that takes pixels out; their ivar alone does by default."),
    ] = None,
    redshift: Annotated[
        str | None,
        typer.Option(help="Column of the labels, the pattern or the table; that of the files by default."),
    ] = None,
    wavelength: Annotated[str | None, typer.Option(help="Column of the wavelengths in the files.")] = None,
    flux: Annotated[str | None, typer.Option(help="Column of the fluxes.")] = None,
    ivar: Annotated[str | None, typer.Option(help="Column of the inverse variances.")] = None,
    error: Annotated[str | None, typer.Option(help="Column of the errors.")] = None,
    unit: Annotated[
        str | None, typer.Option(help="Unit of the flux, where files say none, and of the result.")
    ] = None,
    wavelength_unit: Annotated[
        str | None, typer.Option(help="Unit of the wavelengths where files say none; Angstrom by default.")
    ] = None,
    format: Annotated[  # noqa: A002
        str | None, typer.Option(help="Read by specutils, as this format of it.")
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(help="Identifiers in the names: '{field}_{source_id:d}_z{redshift:f}'.")
    ] = None,
    headers: Annotated[
        str | None, typer.Option(help="Header keys that become columns, by commas; or all.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Table to put beside the spectra: CSV, VOTable, FITS, xlsx.")
    ] = None,
    labels_on: Annotated[
        str | None, typer.Option(help="Identifier to join the labels on, or identifier,column.")
    ] = None,
    table: Annotated[
        bool, typer.Option("--table", help="The source is one table with a spectrum in each row.")
    ] = False,
    threads: Annotated[int | None, typer.Option(help="Threads to use; all cores by default.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a table with a spectrum a row, all on one grid of wavelengths, of files of spectra."""
    import astro_cluster as ac

    check_free(overwrite, output=output)
    source: Any = sources if len(sources) > 1 else sources[0]
    if table:
        source = read([Path(one) for one in sources])
    with _bar() as progress:
        found = ac.read_spectra(
            source,
            grid=grid,
            method=method.value,
            frame=_value(frame),
            medium=_value(medium),
            require_full=require_full,
            mask=_value(mask),
            redshift=redshift,
            wavelength=wavelength,
            flux=flux,
            ivar=ivar,
            error=error,
            unit=unit,
            wavelength_unit=wavelength_unit,
            format=format,
            pattern=pattern,
            headers=None if headers is None else _keys(headers),
            labels=labels,
            labels_on=names_of(labels_on),
            progress=progress,
            n_jobs=threads,
        )
    write(found, output, overwrite)
    _print_spectra(found)


def _value(choice: StrEnum | None) -> str | None:
    return None if choice is None else choice.value


def _keys(text: str) -> Any:
    """Return header keys.

    Parameters
    ----------
    text : str
        ``all``, or keys with commas.

    Returns
    -------
    str or list of str

    Examples
    --------
    >>> _keys("all"), _keys("MJD, EXPTIME")
    ('all', ['MJD', 'EXPTIME'])
    """
    keys = [key.strip() for key in text.split(",") if key.strip()]
    if not keys:
        fail(f"--headers {text!r} names no key; give all, or keys such as MJD,EXPTIME")
    return "all" if [key.lower() for key in keys] == ["all"] else keys


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar on a terminal, and nothing elsewhere."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        bar = shown.add_task("spectra", total=None)
        yield lambda done, total: shown.update(bar, completed=done, total=total)


def _print_spectra(found: QTable) -> None:
    """Say what spectra there are, and how many cannot be used."""
    import numpy as np

    import astro_cluster as ac

    n, bad = len(found), int(np.sum(np.asarray(found["spectrum_bad"])))
    say(f"  {n:,} spectr{'a' if n != 1 else 'um'} at {ac.grid_of(found)}; {bad:,} cannot be used")
    coverage = np.ma.filled(np.ma.asarray(found["coverage"]).astype(float), np.nan)
    if partly := int(np.sum(coverage < 1)):
        say(f"  {partly:,} do not cover the grid (coverage)")
    if "redshift" in found.colnames:
        missing = np.sum(np.ma.getmaskarray(np.ma.asarray(found["redshift"])))
        if missing:
            say(f"  {int(missing):,} have no redshift")
