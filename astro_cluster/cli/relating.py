"""Verbs that hold coordinates against a catalogue: relate, outliers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astro_cluster.cli.files import check_free, draw, read, write
from astro_cluster.cli.options import (
    MaybeOutput,
    Overwrite,
    OverwriteColumns,
    Seed,
    Table,
    fail,
    value_of,
)
from astro_cluster.cli.printing import NOTHING, cell_of, print_columns, print_first, say

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["outliers", "relate"]

_SURE = 0.05  # false discoveries among the correlations that are called sure

Objects = Annotated[
    str | None,
    typer.Option(help="Column of identifiers: rows with the same one are of one object."),
]


def relate(
    table: Table,
    columns: Annotated[str, typer.Option(help="Columns of the catalogue, as Z,M_I,BAL_PROB, or patterns.")],
    against: Annotated[
        str,
        typer.Option(help="Columns to predict from and to correlate with; auto for the latest embedding."),
    ] = "auto",
    missing: Annotated[
        list[str] | None,
        typer.Option(help="Number that means that there is no value: BAL_PROB=-1. Repeat it."),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="What a column is taken as: ZWARNING=class or ZWARNING=number. Repeat it."),
    ] = None,
    neighbors: Annotated[
        int | None, typer.Option(help="Number of neighbours; chosen for each column by default.")
    ] = None,
    objects: Objects = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write how well columns are predicted.")
    ] = None,
    correlations: Annotated[Path | None, typer.Option(help="Write the rank correlations.")] = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
) -> None:
    """Tell what coordinates know of the columns of a catalogue.

    How well each column is predicted from them, and which rises with which.
    """
    import warnings

    import astro_cluster as ac

    check_free(overwrite, output=output, correlations=correlations)
    read_table = read([table])
    how: dict[str, Any] = {"missing": _missing(missing), "objects": objects, "random_state": seed}
    predicted = ac.predictability(
        read_table,
        columns,
        features=against,
        kinds=_pairs(kind, "--kind", "ZWARNING=class"),  # type: ignore[arg-type]
        n_neighbors=neighbors,
        **how,
    )
    numbers = _numeric(predicted, read_table)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "some numbers look as if")  # has been said
        how["missing"] = {name: null for name, null in how["missing"].items() if name in numbers}
        found = ac.rank_correlations(read_table, numbers, against=against, **how) if numbers else None
    write(predicted, output, overwrite)
    if found is not None:
        write(found, correlations, overwrite)
    _print_numbers(predicted)
    _print_classes(predicted)
    if found is not None:
        _print_correlations(found)


def outliers(
    table: Table,
    output: MaybeOutput = None,
    n: Annotated[int, typer.Option("-n", help="How many to print.")] = 20,
    features: Annotated[
        str,
        typer.Option(help="Columns whose density counts; auto for those of the latest embedding, or none."),
    ] = "auto",
    chi2: Annotated[
        str,
        typer.Option(
            help="Column that is large where a reconstruction is bad; auto for reconstruction_chi2, or none."
        ),
    ] = "auto",
    given: Annotated[
        str | None,
        typer.Option(help="Compare reconstructions at the same value of this column, such as snr_median."),
    ] = None,
    method: Annotated[str, typer.Option(help="neighbours or mixture.")] = "neighbours",
    weight: Annotated[float, typer.Option(help="Weight of the density against the reconstruction.")] = 0.5,
    sheet: Annotated[
        Path | None, typer.Option(help="Draw the spectra of the first -n too: .png, .pdf, .svg.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Put before the names of the new columns.")] = "",
    seed: Seed = None,
    overwrite: Overwrite = False,
    overwrite_columns: OverwriteColumns = False,
) -> None:
    """Find the rows that are badly reconstructed, or alone among the others."""
    import astro_cluster as ac
    from astro_cluster.wavelengths import spectra_facts

    if n < 1:
        fail(f"-n {n} is no number of rows; give 1 or more")
    check_free(overwrite, output=output, figure=sheet)
    read_table = read([table])
    if sheet is not None and spectra_facts(read_table) is None:
        fail("--sheet draws spectra, and the table has none; give the table that embed made of spectra")
    out = ac.outliers(
        read_table,
        features=None if features == "none" else features,
        chi2=None if chi2 == "none" else chi2,
        given=given,
        method=method,  # type: ignore[arg-type]
        weight=weight,
        prefix=prefix,
        random_state=seed,
        overwrite=overwrite_columns,
    )
    write(out, output, overwrite)
    measured = ac.records(out)[-1]["inputs"]
    plain = [name for name in measured if len(out[name].shape) == 1 and out[name].dtype.kind == "f"]
    new = [name for name in out.colnames if name.startswith(prefix) and name.endswith("_log_density")]
    shown = [f"{prefix}outlier_score", f"{prefix}outlier_reason", *plain[-2:], *new[-1:]]
    print_first(out, f"{prefix}inspection_rank", shown, shown=n)
    if sheet is not None:
        order = f"{prefix}inspection_rank"
        draw(ac.plotting.plot_spectra_sheet(out, n=min(n, len(out)), order=order), sheet, overwrite)


# ---------------------------------------------------------------- words of the options


def _pairs(texts: list[str] | None, option: str, example: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts or []:
        name, separator, value = (part.strip() for part in text.partition("="))
        if not separator or not name or not value:
            fail(f"{option} {text!r} should be column=value, such as {example}")
        found[name] = value
    return found


def _missing(texts: list[str] | None) -> dict[str, float]:
    pairs = _pairs(texts, "--missing", "BAL_PROB=-1")
    return {name: value_of(value) for name, value in pairs.items()}


def _numeric(predicted: QTable, table: QTable) -> list[str]:
    """Return the columns that are numbers, or truth values, of those that were predicted."""
    names = [
        str(row["column"])
        for row in predicted
        if row["kind"] == "number" or table[str(row["column"])].dtype.kind in "biu"
    ]
    own = [name if name in table.colnames else name.rpartition("[")[0] for name in names]
    return list(dict.fromkeys(own))


# ---------------------------------------------------------------- what is printed


def _pair_of(row: Any, name: str, form: str = ".3f") -> str:
    """Return a number and its standard error."""
    number = cell_of(row[name], form)
    error = cell_of(row[f"{name}_error"], form)
    return number if NOTHING in (number, error) else f"{number} ± {error}"


def _print_numbers(predicted: QTable) -> None:
    rows = [
        [
            str(row["column"]),
            f"{row['count']:,}",
            f"{row['left_out']:,}",
            _pair_of(row, "r2"),
            cell_of(row["mean_absolute_error"], ".3g"),
            cell_of(row["baseline_error"], ".3g"),
            str(row["unit"]),
            cell_of(row["nmad"], ".3g"),
            cell_of(row["n_neighbors"], "d"),
        ]
        for row in predicted
        if row["kind"] == "number"
    ]
    if rows:
        say("predicted by the nearest neighbours (R²: 1 is perfect, 0 no better than the mean)")
        heads = ["column", "rows", "left out", "R²", "error", "of the median", "unit", "NMAD", "neighbours"]
        print_columns(heads, rows, left=(0, 6))


def _print_classes(predicted: QTable) -> None:
    rows = [
        [
            str(row["column"]),
            f"{row['count']:,}",
            f"{row['left_out']:,}",
            _pair_of(row, "balanced_accuracy"),
            cell_of(row["baseline_accuracy"], ".3f"),
            _pair_of(row, "roc_auc"),
            cell_of(row["n_neighbors"], "d"),
        ]
        for row in predicted
        if row["kind"] == "class"
    ]
    if rows:
        say("\nclasses, by the nearest neighbours")
        heads = ["column", "rows", "left out", "balanced accuracy", "guessing", "ROC AUC", "neighbours"]
        print_columns(heads, rows, left=(0,))


def _print_correlations(found: QTable) -> None:
    import numpy as np

    say("\nrank correlations (Spearman's rho and its 95 % interval), the strongest first")
    strength = np.ma.filled(np.abs(np.ma.asarray(found["rho"])), -1)
    rows, unknown = [], 0
    for name in dict.fromkeys(str(name) for name in found["column"]):
        mine = np.flatnonzero(np.asarray(found["column"]) == name)
        for row in found[mine[np.argsort(-strength[mine], kind="stable")]]:
            if row["rho"] is np.ma.masked:
                unknown += 1
                continue
            sure = "*" if row["fdr"] < _SURE else " "
            rows.append(
                [
                    name,
                    str(row["against"]),
                    f"{row['count']:,}",
                    f"{row['rho']:+.3f}{sure}",
                    f"{row['rho_lower']:+.3f} … {row['rho_upper']:+.3f}",
                    f"{row['p_value']:.2g}",
                    f"{row['fdr']:.2g}",
                ]
            )
    if rows:
        print_columns(["column", "against", "objects", "rho ", "95 %", "p", "FDR"], rows, left=(0, 1))
        say(f"*: of all that are marked, no more than {_SURE:.0%} are expected to be there by chance")
    if unknown:
        typer.echo(f"note: {unknown:,} pairs have no correlation: too few objects, or all the same", err=True)
