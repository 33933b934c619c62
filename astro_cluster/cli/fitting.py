"""Verbs that fit: choose a number of clusters, find them, put new rows into them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astro_cluster.cli.files import check_free, draw, read, write
from astro_cluster.cli.interrupts import told_if_interrupted
from astro_cluster.cli.options import (
    Errors,
    FeatureList,
    Figure,
    Files,
    MaxIter,
    MaybeOutput,
    Method,
    MissingPolicy,
    NInit,
    Output,
    Overwrite,
    OverwriteColumns,
    Param,
    Recipe,
    Scale,
    Seed,
    errors_of,
    fail,
    features_of,
    numbers_of,
    parameters_of,
)
from astro_cluster.cli.printing import cell_of, name_of, print_columns, say

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["assign", "choose", "cluster"]


# ---------------------------------------------------------------- choose


def choose(
    files: Files,
    features: FeatureList = None,
    recipe: Recipe = None,
    scale: Scale = None,
    missing: MissingPolicy = None,
    errors: Errors = None,
    method: Method = "gmm",
    n: Annotated[str, typer.Option("-n", help="Numbers of clusters: 2:20 (with both ends), 2,4,8.")] = "2:20",
    held_out: Annotated[float, typer.Option(help="Share of rows that judges; 0 for no such test.")] = 0.2,
    bootstrap: Annotated[int, typer.Option(help="Bootstrap samples; 0 for no such test.")] = 20,
    seed: Seed = None,
    n_init: NInit = None,
    max_iter: MaxIter = None,
    param: Param = None,
    output: MaybeOutput = None,
    figure: Figure = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare numbers of clusters by all the usual criteria."""
    import astro_cluster as ac

    check_free(overwrite, output=output, figure=figure)
    numbers = numbers_of(n)
    wanted = features_of(recipe, features, scale)
    parameters = parameters_of(ac.choose, param, n_init, max_iter)
    given_errors = errors_of(errors)
    out = ac.choose(
        read(files),
        numbers,
        estimator=method,
        features=wanted,
        missing=missing.value if missing else None,
        errors=given_errors,
        held_out=held_out or None,
        bootstrap=bootstrap,
        random_state=seed,
        **parameters,
    )
    write(out, output, overwrite)
    _print_choice(out)
    if figure is not None:
        draw(ac.plotting.plot_choice(out), figure, overwrite)


# Column, its head, how it is shown, and the criterion that prefers one of its rows.
_CRITERIA = (
    ("bic", "BIC", ",.1f", "bic"),
    ("icl", "ICL", ",.1f", "icl"),
    ("aic", "AIC", ",.1f", "aic"),
    ("held_out_log_likelihood", "held-out", ".4f", "held_out"),
    ("silhouette", "silhouette", ".3f", "silhouette"),
    ("jaccard_min", "Jaccard", ".2f", "stability"),
    ("n_valid", "valid", "d", ""),
    ("smallest_cluster", "smallest", ",", ""),
)


def _print_choice(choice: QTable) -> None:
    """Print the criteria side by side, a star at what each prefers."""
    import numpy as np

    preferred = choice.meta["preferred"]
    shown = [entry for entry in _CRITERIA if not np.all(getattr(choice[entry[0]], "mask", False))]
    rows = []
    for row in choice:
        cells = [str(row["n"])]
        for name, _, form, key in shown:
            star = "*" if key and preferred.get(key) == row["n"] else " "
            cells.append(cell_of(row[name], form) + star)
        rows.append(cells)
    print_columns(["n", *(f"{head} " for _, head, _, _ in shown)], rows, gap=1)
    say(f"* {choice.meta['verdict']}")


# ---------------------------------------------------------------- cluster


def cluster(
    files: Files,
    output: Output,
    features: FeatureList = None,
    recipe: Recipe = None,
    scale: Scale = None,
    missing: MissingPolicy = None,
    errors: Errors = None,
    weights: Annotated[str | None, typer.Option(help="Column that says how often a row counts.")] = None,
    method: Method = "gmm",
    n: Annotated[int | None, typer.Option("-n", help="Number of clusters.")] = None,
    seed: Seed = None,
    prefix: Annotated[str, typer.Option(help="Put before the names of the new columns.")] = "",
    n_init: NInit = None,
    max_iter: MaxIter = None,
    param: Param = None,
    bootstrap: Annotated[int, typer.Option(help="Bootstrap samples that tell how far memberships move.")] = 0,
    start: Annotated[
        Path | None, typer.Option(help="Go on from a checkpoint, or start from a clustered table.")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Keep the fit in this file while it runs.")] = None,
    model: Annotated[Path | None, typer.Option(help="Also write the model, as a table.")] = None,
    overwrite: Overwrite = False,
    overwrite_columns: OverwriteColumns = False,
) -> None:
    """Find groups and add memberships and probabilities as columns."""
    import astro_cluster as ac

    check_free(overwrite, output=output, model=model, checkpoint=checkpoint)
    parameters = parameters_of(ac.cluster, param, n_init, max_iter)
    parameters |= _number_of(method, n, parameters)
    wanted = features_of(recipe, features, scale)
    given_errors = errors_of(errors)
    table = read(files)
    with told_if_interrupted(checkpoint):
        out = ac.cluster(
            table,
            method,
            features=wanted,
            missing=missing.value if missing else None,
            errors=given_errors,
            weights=weights,
            prefix=prefix,
            random_state=seed,
            bootstrap=bootstrap,
            start=start,
            checkpoint=checkpoint,
            overwrite=overwrite_columns,
            **parameters,
        )
    write(out, output, overwrite)
    if model is not None:
        write(ac.model_table(out, prefix=prefix), model, overwrite)
    _print_sizes(out, prefix)
    _note_spreads(out)


def _number_of(method: str, n: int | None, parameters: dict[str, Any]) -> dict[str, int]:
    """Return the number of clusters by the name that the method has for it."""
    from astro_cluster.estimators import known_estimators, number_parameter

    if n is None:
        return {}
    cls = known_estimators().get(method.lower())
    name = number_parameter(cls()) if cls else "n_clusters"
    if name is None:
        fail(f"-n has no meaning for {method}, which finds the number of clusters itself")
    if name in parameters:
        fail(f"-n {n} and --param {name} say the same; give one of them")
    return {name: n}  # type: ignore[dict-item]


def _note_spreads(table: QTable) -> None:
    """Say so if features as they are differ so much that one or two of them decide alone."""
    import numpy as np

    import astro_cluster as ac
    from astro_cluster.tables import float_values

    scalings = ac.records(table)[-1]["recipe"]["scalings"]
    if any(scaling["scale"] != "none" for scaling in scalings):
        return
    # A column at a time: the features as they are need no matrix.
    spreads = {}
    for scaling in scalings:
        values = float_values(table[scaling["column"]])
        index = scaling["index"]
        spreads[scaling["name"]] = float(np.nanstd(values if index is None else values[:, index]))
    low, high = min(spreads, key=spreads.__getitem__), max(spreads, key=spreads.__getitem__)
    if spreads[high] > 100 * spreads[low]:
        typer.echo(
            f"note: the features are not scaled, and {high} spreads {spreads[high] / spreads[low]:,.0f} "
            f"times as wide as {low}; --scale standard gives each the same say",
            err=True,
        )


def _print_sizes(table: QTable, prefix: str) -> None:
    from astro_cluster.summary import summarize

    sizes = summarize(table, f"{prefix}cluster")
    shown = list(zip(sizes["cluster"], sizes["count"], sizes["fraction"], strict=True))
    for label, count, share in shown[:50]:
        typer.echo(f"  {name_of(label):<12}{count:>9,}  {share:6.1%}")
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


# ---------------------------------------------------------------- assign


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

    check_free(overwrite, output=output)
    out = ac.assign(
        read(files), str(model), prefix=prefix, model_prefix=model_prefix, overwrite=overwrite_columns
    )
    write(out, output, overwrite)
