"""The command line: a verb a step, each reading and writing tables so that they chain.

Thin on purpose: every verb calls one public function.  The rooms are imported inside the
verbs, so that ``astro-cluster --help`` answers at once.
"""

from __future__ import annotations

import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["app", "main"]

app = typer.Typer(
    name="astro-cluster",
    help="From a table of astronomical objects to groups that can be trusted, named and looked at.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Find(StrEnum):
    """Find modes, in the words of STILTS."""

    ALL = "all"
    BEST = "best"
    BEST_REMOTE = "best-remote"
    EACH = "each"
    EACH_DIST = "each-dist"
    BEST_SYMMETRIC = "best-symmetric"


class Missing(StrEnum):
    """What to do with missing values."""

    MARGINALIZE = "marginalize"
    DROP = "drop"
    MEDIAN = "median"


Files = Annotated[
    list[Path], typer.Argument(help="Tables: VOTable, FITS, ECSV, Parquet, CSV; several are stacked.")
]
Table = Annotated[Path, typer.Argument(help="Table to work on.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="File to write; its ending gives the format.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output file.")]
OverwriteColumns = Annotated[
    bool, typer.Option("--overwrite-columns", help="Replace columns of the same names.")
]
Cluster = Annotated[
    str | None, typer.Option(help="Column of cluster labels; of the latest clustering by default.")
]
Position = Annotated[
    str | None, typer.Option(help="Columns of the position, as ra,dec, if they are not found.")
]


def _fail(message: str) -> Any:
    from astro_cluster.exceptions import InputError

    raise InputError(message)


def _free(output: Path, overwrite: bool) -> None:
    """Refuse before the work, not after it, to write where that cannot be."""
    from astro_cluster.tables import check_output

    check_output(output, overwrite=overwrite)


def _write(table: QTable, output: Path, overwrite: bool) -> None:
    import astro_cluster as ac

    path = ac.write(table, output, overwrite=overwrite)
    typer.echo(f"wrote {path} ({len(table):,} rows, {len(table.colnames)} columns)")


def _pair(text: str | None) -> str | tuple[str, ...] | None:
    if text is None or "," not in text:
        return text
    return tuple(part.strip() for part in text.split(","))


def _scale(text: str) -> str | dict[str, str]:
    """Parse ``standard`` or ``bb_kt=lognorm,powlaw_gamma=minmax``."""
    if "=" not in text:
        return text
    parts = [part.partition("=") for part in text.split(",")]
    return {name.strip(): scale.strip() for name, _, scale in parts}


def _value(text: str) -> Any:
    """Turn the text of a parameter into what it most likely is: a literal, else a word."""
    import ast

    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def _features(recipe: str | None, features: str | None, scale: str | None) -> Any:
    from astro_cluster.features import Features
    from astro_cluster.recipes import RECIPES
    from astro_cluster.recipes import recipe as ready

    if (recipe is None) == (features is None):
        _fail(
            "say what to cluster in, one of the two: --features 'hard_*,bb_kt' or "
            f"--recipe {'|'.join(RECIPES)}"
        )
    if recipe is not None:
        if scale is not None:
            _fail("--recipe brings its own scales; give --scale with --features")
        return ready(recipe)
    return Features(features or "", scale=_scale(scale or "none"))


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


@app.command()
def cluster(
    files: Files,
    output: Output,
    features: Annotated[str | None, typer.Option(help="Columns or patterns, separated by commas.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Ready features: csc2 or csc2-12.")] = None,
    scale: Annotated[
        str | None,
        typer.Option(help="none, log, lognorm, minmax, standard or robust; or name=scale, by commas."),
    ] = None,
    missing: Annotated[
        Missing | None, typer.Option(help="Missing values; by default what suits the method.")
    ] = None,
    method: Annotated[str, typer.Option(help="gmm, or a clusterer of scikit-learn.")] = "gmm",
    n: Annotated[int | None, typer.Option("-n", help="Number of clusters.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed; drawn and recorded by default.")] = None,
    prefix: Annotated[str, typer.Option(help="Put before the names of the new columns.")] = "",
    n_init: Annotated[int | None, typer.Option(help="Number of starts.")] = None,
    max_iter: Annotated[int | None, typer.Option(help="Most steps of one start.")] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="Further parameter of the method: name=value.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Also write the model, as a table.")] = None,
    overwrite: Overwrite = False,
    overwrite_columns: OverwriteColumns = False,
) -> None:
    """Find groups and add memberships and probabilities as columns."""
    import astro_cluster as ac
    from astro_cluster.estimators import known_estimators, number_parameter

    _free(output, overwrite)
    if model is not None:
        _free(model, overwrite)
        if model.resolve() == output.resolve():
            _fail(f"--model and --output are the same file {output}; give two names")
    parameters: dict[str, Any] = {}
    for text in param or []:
        name, separator, value = text.partition("=")
        if not separator:
            _fail(f"--param {text!r} should be name=value, such as eps=0.4")
        if name in ("estimator", "features", "missing", "prefix", "random_state", "overwrite", "table"):
            _fail(f"--param {name} is no parameter of the method; there is an option or an argument for it")
        parameters[name] = _value(value)
    cls = known_estimators().get(method.lower())
    if n is not None:
        name = number_parameter(cls()) if cls else "n_clusters"
        if name is None:
            _fail(f"-n has no meaning for {method}, which finds the number of clusters itself")
        if name in parameters:
            _fail(f"-n {n} and --param {name} say the same; give one of them")
        parameters[name] = n
    parameters |= {k: v for k, v in {"n_init": n_init, "max_iter": max_iter}.items() if v is not None}
    wanted = _features(recipe, features, scale)
    table = ac.read([str(f) for f in files] if len(files) > 1 else str(files[0]))
    out = ac.cluster(
        table,
        method,
        features=wanted,
        missing=missing.value if missing else None,
        prefix=prefix,
        random_state=seed,
        overwrite=overwrite_columns,
        **parameters,
    )
    _write(out, output, overwrite)
    if model is not None:
        _write(ac.model_table(out, prefix=prefix), model, overwrite)
    _print_sizes(out, prefix)
    _note_spreads(out)


def _note_spreads(table: QTable) -> None:
    """Say so if features as they are differ so much that one or two of them decide alone."""
    import numpy as np

    import astro_cluster as ac
    from astro_cluster.features import FittedFeatures

    recipe = FittedFeatures.from_plain(ac.records(table)[-1]["recipe"])
    if any(scaling.scale != "none" for scaling in recipe.scalings):
        return
    spreads = np.nanstd(recipe.transform(table).values, axis=0)
    low, high = int(spreads.argmin()), int(spreads.argmax())
    if spreads[high] > 100 * spreads[low]:
        typer.echo(
            f"note: the features are not scaled, and {recipe.names[high]} spreads "
            f"{spreads[high] / spreads[low]:,.0f} times as wide as {recipe.names[low]}; --scale standard "
            "gives each the same say",
            err=True,
        )


def _print_sizes(table: QTable, prefix: str) -> None:
    from astro_cluster.summary import summarize

    sizes = summarize(table, f"{prefix}cluster")
    shown = list(zip(sizes["cluster"], sizes["count"], sizes["fraction"], strict=True))
    for label, count, share in shown[:50]:
        typer.echo(f"  {'noise' if label < 0 else f'cluster {label}':<12}{count:>9,}  {share:6.1%}")
    if len(shown) > 50:
        typer.echo(f"  and {len(shown) - 50} more")
    if len(shown) == 1:
        what = "noise" if shown[0][0] < 0 else "in one cluster"
        typer.echo(
            f"note: all rows are {what}; look at the scales of the features (--scale standard) and at the "
            "parameters of the method",
            err=True,
        )
    if left := sizes.meta["rows_without_cluster"]:
        typer.echo(f"  not used    {left:>9,}  (missing values; masked)")


@app.command()
def assign(
    files: Files,
    output: Output,
    model: Annotated[Path, typer.Option(help="Clustered table or model table.")],
    prefix: Annotated[str | None, typer.Option(help="Put before the names of the new columns.")] = None,
    model_prefix: Annotated[str | None, typer.Option(help="Which clustering of the model's table.")] = None,
    overwrite: Overwrite = False,
    overwrite_columns: OverwriteColumns = False,
) -> None:
    """Put the rows of a new table into the groups of a stored model."""
    import astro_cluster as ac

    _free(output, overwrite)
    table = ac.read([str(f) for f in files] if len(files) > 1 else str(files[0]))
    out = ac.assign(table, str(model), prefix=prefix, model_prefix=model_prefix, overwrite=overwrite_columns)
    _write(out, output, overwrite)


@app.command()
def match(
    table: Table,
    reference: Annotated[
        str, typer.Argument(help="A file, 'simbad', or a VizieR table such as I/355/gaiadr3.")
    ],
    output: Output,
    radius: Annotated[str, typer.Option(help="Largest separation, with unit: 1arcsec.")] = "1arcsec",
    find: Annotated[Find, typer.Option(help="Which pairs to keep, in the words of STILTS.")] = Find.EACH,
    columns: Annotated[
        str | None, typer.Option(help="Remote columns to bring, by commas; all by default.")
    ] = None,
    suffix: Annotated[str, typer.Option(help="Put behind a remote name that is taken.")] = "_2",
    position: Position = None,
    reference_position: Annotated[str | None, typer.Option(help="The same, in the reference.")] = None,
    separation: Annotated[str, typer.Option(help="Name of the column of separations.")] = "match_separation",
    epoch: Annotated[float | None, typer.Option(help="Julian year of the positions of the table.")] = None,
    reference_epoch: Annotated[float | None, typer.Option(help="The same, of the reference.")] = None,
    via: Annotated[str | None, typer.Option(help="local or cds, if both could be meant.")] = None,
    cache: Annotated[bool, typer.Option(help="Keep and use answers of remote services.")] = True,
    overwrite: Overwrite = False,
    overwrite_columns: OverwriteColumns = False,
) -> None:
    """Match positions with a file, with SIMBAD or with a VizieR table."""
    import astro_cluster as ac

    _free(output, overwrite)
    out = ac.crossmatch(
        ac.read(str(table)),
        reference,
        radius=_angle(radius),
        find=find.value,
        columns=None if columns is None else [name.strip() for name in columns.split(",")],
        suffix=suffix,
        position=_pair(position),
        reference_position=_pair(reference_position),
        separation=separation,
        epoch=epoch,
        reference_epoch=reference_epoch,
        via=via,
        cache=cache,
        overwrite=overwrite_columns,
    )
    _write(out, output, overwrite)
    import numpy as np

    matched = ~np.asarray(np.broadcast_to(getattr(out[separation], "mask", False), (len(out),)))
    typer.echo(f"  {int(matched.sum()):,} of {len(out):,} rows have a counterpart within {radius}")


def _angle(text: str) -> Any:
    from astropy import units as u
    from astropy.coordinates import Angle

    try:
        try:
            angle = u.Quantity(text)  # 3s is a time, not an hour angle
        except (TypeError, ValueError):
            angle = u.Quantity(Angle(text))  # 3" and 1'
    except (TypeError, ValueError, u.UnitsError):
        angle = None
    if angle is None or not angle.unit.is_equivalent(u.deg):
        _fail(f"{text!r} is no angle: give a number with its unit, such as 3arcsec")
    return angle


@app.command()
def summary(
    table: Table,
    by: Annotated[str | None, typer.Option(help="Column of types, such as main_type.")] = None,
    cluster: Cluster = None,
    top: Annotated[int, typer.Option(help="Types shown of each cluster; 0 for all.")] = 10,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it: .ecsv, .vot, .fits, .csv, .md, .tex.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Count the types in every cluster and test which are there more than by chance."""
    import astro_cluster as ac

    if output is not None:
        _free(output, overwrite)
    out = ac.summarize(str(table), cluster, by=by)
    _print_summary(out, by, top)
    if output is not None:
        _write(out, output, overwrite)


_SHORT = {"fraction_of_cluster": "of cluster", "fraction_of_type": "of type", "p_value": "p"}


def _print_summary(table: QTable, by: str | None, top: int) -> None:
    """Print a table a cluster, as a reader wants it; narrow windows get the own probability only."""
    import numpy as np
    from rich.console import Console

    console = Console(highlight=False)
    width = console.width if console.is_terminal else 10_000
    for label in np.unique(np.asarray(table["cluster"])):
        part = table[np.asarray(table["cluster"]) == label]
        shown = part[: top or None]
        probabilities = [name for name in part.colnames if name.startswith("mean_prob_")]
        names = [name for name in part.colnames if name != "cluster"]
        cells = {name: list(shown[name].info.iter_str_vals()) for name in names}
        for name in probabilities:
            cells[name] = [f"{value:.3g}" for value in shown[name]]
        if sum(2 + max(map(len, [_SHORT.get(n, n), *cells[n]])) for n in names) > width:
            names = [name for name in names if name not in probabilities or name == f"mean_prob_{label}"]
        heads = [_SHORT.get(name, name).replace("mean_prob_", "prob_") for name in names]
        columns = [[head, *cells[name]] for head, name in zip(heads, names, strict=True)]
        sizes = [max(map(len, column)) for column in columns]
        console.print(
            f"\n{'noise' if label < 0 else f'cluster {label}'}: {int(np.sum(part['count'])):,} rows"
        )
        for row in zip(*columns, strict=True):
            aligned = (
                cell.ljust(size) if name == by else cell.rjust(size)
                for name, cell, size in zip(names, row, sizes, strict=True)
            )  # fmt: skip
            console.print("  " + "  ".join(aligned).rstrip(), soft_wrap=True, markup=False)
        if len(part) > len(shown):
            console.print(f"  and {len(part) - len(shown)} more types (--top 0 shows all)")


@app.command()
def inspect(
    table: Table,
    label: Annotated[str, typer.Option(help="Column that tells which rows are bad.")],
    value: Annotated[str, typer.Option(help="What stands there for a bad row.")] = "true",
    cluster: Cluster = None,
    threshold: Annotated[float, typer.Option(help="Share of bad rows that makes a cluster suspect.")] = 0.05,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the table.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Find the clusters in which a label gathers, and what inspecting them alone would find."""
    import astro_cluster as ac

    if output is not None:
        _free(output, overwrite)
    read = ac.read(str(table))
    marks = value if label in read.colnames and read[label].dtype.kind in "USO" else _value(value)
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
    if output is not None:
        _write(out, output, overwrite)


@app.command()
def send(
    table: Table,
    to: Annotated[str, typer.Option(help="Name of the program (topcat, aladin …), or all.")] = "topcat",
    name: Annotated[str | None, typer.Option(help="Name of the table there.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 60.0,
) -> None:
    """Send a table to TOPCAT or another program, by SAMP."""
    import astro_cluster as ac

    table_id = ac.send(str(table), to=to, name=name or table.name, timeout=timeout)
    typer.echo(f"sent {table} to {to} (table-id {table_id})")


@app.command()
def rerun(table: Table, output: Output, overwrite: Overwrite = False) -> None:
    """Run the recorded steps of a file again."""
    import astro_cluster as ac

    _free(output, overwrite)
    out = ac.rerun(str(table))
    done = [record["function"] for record in ac.records(out) if not record.get("starts")]
    typer.echo(f"ran again: {', '.join(done)}")
    _write(out, output, overwrite)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path(
        "astro-cluster-demo"
    ),
    rows: Annotated[int, typer.Option(help="Number of sources.")] = 6000,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 42,
    online: Annotated[
        bool, typer.Option("--online", help="Fetch real sources of the Chandra catalogue.")
    ] = False,
) -> None:
    """Run the whole way once: catalogue, clusters, match, summary, figures."""
    from astro_cluster.demo import run

    run(output, rows=rows, seed=seed, online=online)


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
    else:
        raise SystemExit(code if isinstance(code, int) else 0)


def _report(error: Exception, debug: bool) -> None:
    """Turn an exception into one line and an exit code."""
    from astro_cluster.exceptions import InputError, ServiceError

    if isinstance(error, typer.Abort):
        _leave("interrupted", 130, debug)
    # Mistakes in the line itself.  Typer has them from click or, lately, from a copy of its own.
    if hasattr(error, "format_message"):
        _leave(error.format_message(), 2, debug)
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


if __name__ == "__main__":
    main()
