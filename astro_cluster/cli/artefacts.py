"""Verbs that find artefacts: rank, suggest, learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from astro_cluster.cli.files import check_free, read, write
from astro_cluster.cli.options import (
    MaybeOutput,
    Output,
    Overwrite,
    OverwriteColumns,
    Seed,
    Table,
    fail,
    numbers_of,
    value_of,
)
from astro_cluster.cli.printing import print_columns, print_first, say

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["learn", "rank", "suggest"]

FeatureNames = Annotated[
    str, typer.Option(help="Columns of coordinates; auto for those of the latest embedding, or none.")
]
QualityNames = Annotated[
    str, typer.Option(help="Quality columns, as name or name=high|low|both; auto for all known, or none.")
]
Identifier = Annotated[
    str | None, typer.Option("--id", help="Column of identifiers that a file of labels has.")
]
Value = Annotated[str | None, typer.Option(help="Label of the class to find, such as 0 or spurious.")]
Prefix = Annotated[str, typer.Option(help="Put before the names of the new columns.")]


def rank(
    table: Table,
    output: MaybeOutput = None,
    features: FeatureNames = "auto",
    quality: QualityNames = "auto",
    method: Annotated[str, typer.Option(help="neighbours, mixture or forest.")] = "neighbours",
    weight: Annotated[float, typer.Option(help="Weight of the density against the quality columns.")] = 0.5,
    label: Annotated[
        str | None, typer.Option(help="Column that tells the bad rows: print how many are found.")
    ] = None,
    value: Annotated[str, typer.Option(help="What stands there for a bad row.")] = "true",
    at: Annotated[str | None, typer.Option(help="Numbers of inspected rows: 57,114,200.")] = None,
    prefix: Prefix = "",
    seed: Seed = None,
    overwrite: Overwrite = False,
    overwrite_columns: OverwriteColumns = False,
) -> None:
    """Rank images by how unlike the others they are, for inspection."""
    import astro_cluster as ac

    check_free(overwrite, output=output)
    if at is not None and label is None:
        fail("--at counts bad rows: say which column tells them with --label")
    out = ac.rank(
        read([table]),
        features=_features(features),
        quality=_quality(quality),
        method=method,  # type: ignore[arg-type]
        weight=weight,
        prefix=prefix,
        random_state=seed,
        overwrite=overwrite_columns,
    )
    curve = None
    if label is not None:
        score = f"{prefix}inspection_rank"
        numbers = numbers_of(at) if at else _usual_numbers(len(out))
        curve = ac.recall_curve(out, label, score=score, value=_value(out, label, value), at=numbers)
    write(out, output, overwrite)
    print_first(out, f"{prefix}inspection_rank", [f"{prefix}outlier_score", f"{prefix}outlier_reason"])
    if curve is not None:
        _print_curve(curve)


def suggest(
    table: Table,
    output: Output,
    n: Annotated[int, typer.Option("-n", help="How many rows to suggest.")] = 20,
    labels: Annotated[
        str | None, typer.Option(help="Labels so far: a column, or a file of identifiers and labels.")
    ] = None,
    id: Identifier = None,  # noqa: A002
    value: Value = None,
    features: FeatureNames = "auto",
    quality: QualityNames = "auto",
    only: Annotated[
        bool, typer.Option("--only", help="Write the suggested rows alone, in their order.")
    ] = False,
    prefix: Prefix = "",
    seed: Seed = None,
    overwrite: Overwrite = False,
    overwrite_columns: OverwriteColumns = False,
) -> None:
    """Say which rows to look at next, so that most is learnt from them."""
    import numpy as np

    import astro_cluster as ac

    check_free(overwrite, output=output)
    read_table = read([table])
    out = ac.suggest(
        read_table,
        n,
        labels=labels,
        id=id,
        value=_value(read_table, labels, value),
        features=_features(features),
        quality=_quality(quality),
        prefix=prefix,
        random_state=seed,
        overwrite=overwrite_columns,
    )
    name = f"{prefix}suggestion"
    if only:
        chosen = np.flatnonzero(~np.ma.getmaskarray(np.ma.asarray(out[name])))
        out = out[chosen[np.argsort(np.asarray(out[name])[chosen])]]
    write(out, output, overwrite)
    print_first(out, name, [])


def learn(
    table: Table,
    output: Output,
    labels: Annotated[str, typer.Option(help="A column, or a file of identifiers and labels.")],
    id: Identifier = None,  # noqa: A002
    value: Value = None,
    name: Annotated[str | None, typer.Option(help="What to call the class to find.")] = None,
    features: FeatureNames = "auto",
    quality: QualityNames = "auto",
    prefix: Prefix = "",
    seed: Seed = None,
    overwrite: Overwrite = False,
    overwrite_columns: OverwriteColumns = False,
) -> None:
    """Learn from a few labels which rows are artefacts."""
    import astro_cluster as ac

    check_free(overwrite, output=output)
    read_table = read([table])
    out = ac.learn(
        read_table,
        labels,
        id=id,
        value=_value(read_table, labels, value),
        name=name,
        features=_features(features),
        quality=_quality(quality),
        prefix=prefix,
        random_state=seed,
        overwrite=overwrite_columns,
    )
    write(out, output, overwrite)
    _print_scores(ac.records(out)[-1])


# ---------------------------------------------------------------- words of the options


def _features(text: str) -> Any:
    return None if text == "none" else text


def _quality(text: str) -> Any:
    if text in ("auto", "none"):
        return text == "auto"
    if "=" not in text:
        return text
    parts = [part.partition("=") for part in text.split(",")]
    if wrong := [name for name, _, direction in parts if not direction]:
        fail(
            f"--quality names {wrong[0].strip()} without a direction; give all of them one, as "
            f"{wrong[0].strip()}=high"
        )
    return {name.strip(): direction.strip() for name, _, direction in parts}


def _value(table: QTable, labels: str | None, value: str | None) -> Any:
    """Return the value of a label as what its column holds: text, or a number."""
    if value is None or labels is None:
        return None
    if labels in table.colnames:
        return value if table[labels].dtype.kind in "USO" else value_of(value)
    return value


def _usual_numbers(rows: int) -> list[int]:
    return [number for number in (20, 50, 100, 200, 500, 1000, 2000, 5000) if number <= rows] or [rows]


# ---------------------------------------------------------------- what is printed


def _print_curve(curve: QTable) -> None:
    rows = [
        [
            f"{found['inspected']:,}",
            f"{found['inspected_fraction']:.1%}",
            f"{found['found']:,.4g}",
            f"{found['recall']:.1%}",
            f"{found['precision']:.1%}",
            f"{found['lift']:.2f}",
        ]
        for found in curve.meta["at"]
    ]
    say(f"\n{curve.meta['bad']:,} of {curve.meta['rows']:,} rows are bad")
    print_columns(["inspected", "of all", "found", "recall", "precision", "lift"], rows)
    needed = ", ".join(f"{float(share):.0%}: {number:,}" for share, number in curve.meta["needed"].items())
    say(f"rows to inspect for a recall of {needed}")


def _print_scores(record: dict[str, Any]) -> None:
    """Print what was learnt from, and how good it is on labels that were held out."""
    used = ", ".join(f"{number:,} {name}" for name, number in record["labels_used"].items())
    say(f"learnt from {sum(record['labels_used'].values()):,} labels: {used}")
    if (scores := record["scores"]) is None:
        return
    rows = [
        ["Brier score", f"{scores['brier']:.3f}", ""],
        ["log loss", f"{scores['log_loss']:.3f}", f"{scores['log_loss_blind']:.3f}"],
        ["calibration error (ECE)", f"{scores['ece']:.3f}", ""],
        ["  that chance alone makes", f"{scores['ece_if_honest']:.3f}", ""],
    ]
    for name, area in scores["roc_auc"].items():
        rows.append([f"ROC AUC of {name}", f"{area:.3f}", "0.500"])
    print_columns(["labels held out", "learnt", "blind"], rows, left=(0,))
    if scores["few"]:
        typer.echo("note: a class has fewer than ten labels, so that these numbers are rough", err=True)
