"""The program: its verbs, its messages and its exit codes."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any

import typer

from astro_cluster.cli.artefacts import learn, rank, suggest
from astro_cluster.cli.drawing import plot
from astro_cluster.cli.embedding import embed
from astro_cluster.cli.fitting import assign, choose, cluster
from astro_cluster.cli.hierarchy import otypes
from astro_cluster.cli.images import cutouts
from astro_cluster.cli.interrupts import Interrupted
from astro_cluster.cli.judging import calibrate, compare, stability
from astro_cluster.cli.linking import hub, link, receive
from astro_cluster.cli.looking import inspect, record, summary
from astro_cluster.cli.radius import radius
from astro_cluster.cli.relating import outliers, relate
from astro_cluster.cli.sky import moc, regions, show
from astro_cluster.cli.spectra import spectra
from astro_cluster.cli.steps import demo, match, rerun, send
from astro_cluster.cli.tuning import tune

__all__ = ["app", "main"]

app = typer.Typer(
    name="astro-cluster",
    help="From a table of astronomical objects to groups that can be trusted, named and looked at.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# In the order of the help.
for verb in (cutouts, spectra, tune, embed, choose, cluster, assign, stability, compare, radius, match):
    app.command()(verb)
for verb in (summary, otypes, inspect, rank, suggest, learn, calibrate, relate, outliers, plot):
    app.command()(verb)
for verb in (send, link, receive, hub, show, regions, moc, record, rerun, demo):
    app.command()(verb)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"astro-cluster {version('astro_cluster')}")
        raise typer.Exit


@app.callback()
def _quiet(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """From a table of astronomical objects to groups that can be trusted, named and looked at."""
    # Here and not in `main`: astropy puts its own function there when it is imported.
    import astropy  # noqa: F401

    warnings.showwarning = _show_warning


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    from astropy.utils.exceptions import AstropyWarning

    if issubclass(category, AstropyWarning):
        typer.echo(f"note: {message}", err=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Instead of those of the process.

    Raises
    ------
    SystemExit
        With 0 if all went well, 2 for a mistake of the user, 1 for a failing service or an
        error of ours, 130 if interrupted.  Never with a traceback, unless ``--debug`` is
        given.

    Examples
    --------
    >>> main(["summary", "nothing.vot"])
    Traceback (most recent call last):
        ...
    SystemExit: 2
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"] or ["--help"]
    try:
        with warnings.catch_warnings():  # so that a caller gets its own way of showing them back
            code = app(args=arguments, standalone_mode=False)
    except KeyboardInterrupt:
        _leave("interrupted", 130, debug)
    except typer.Exit as leave:
        raise SystemExit(leave.exit_code) from None
    except Exception as error:
        _report(error, debug)
    if code == 130:  # what Typer makes of an interrupt
        _leave("interrupted", 130, debug=False)
    raise SystemExit(code if isinstance(code, int) else 0)


def _report(error: Exception, debug: bool) -> None:
    """Turn an exception into one line and an exit code."""
    from astro_cluster.exceptions import InputError, ServiceError

    if isinstance(error, typer.Abort):  # what Typer made of an interrupt until 2025
        _leave("interrupted", 130, debug)
    if isinstance(error, Interrupted):
        _leave(str(error), 130, debug)
    # Mistakes in the line itself.  Typer has them from click or, lately, from a copy of its own.
    if hasattr(error, "format_message"):
        _leave(error.format_message().replace(": Value error, ", ": "), 2, debug)  # words of pydantic's
    if isinstance(error, InputError):
        _leave(str(error), 2, debug)
    if isinstance(error, ServiceError):
        _leave(str(error), 1, debug)
    _leave(f"unexpected {type(error).__name__}: {error} (run again with --debug for the traceback)", 1, debug)


def _leave(message: str, code: int, debug: bool) -> None:
    if debug:
        raise
    typer.echo(f"astro-cluster: {' '.join(message.split())}", err=True)
    raise SystemExit(code) from None
