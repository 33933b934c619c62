"""Verbs that ask whether clusters can be trusted: stability, compare, calibrate."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astro_cluster.cli.files import check_free, draw, write
from astro_cluster.cli.options import Figure, MaybeOutput, Overwrite, OverwriteColumns, Seed, Table
from astro_cluster.cli.printing import cell_of, name_of, print_columns, say

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["Calibration", "Pairs", "calibrate", "compare", "stability"]


class Pairs(StrEnum):
    """Which runs to compare."""

    CONSECUTIVE = "consecutive"
    ALL = "all"


class Calibration(StrEnum):
    """How memberships are made honest."""

    ISOTONIC = "isotonic"
    TEMPERATURE = "temperature"


def stability(
    table: Table,
    prefix: Annotated[str | None, typer.Option(help="Which clustering; the latest by default.")] = None,
    bootstrap: Annotated[int, typer.Option(help="Number of bootstrap samples.")] = 50,
    seed: Seed = None,
    output: MaybeOutput = None,
    overwrite: Overwrite = False,
) -> None:
    """Tell which clusters would be found again in another sample."""
    import astro_cluster as ac

    check_free(overwrite, output=output)
    out = ac.stability(str(table), prefix, bootstrap=bootstrap, random_state=seed)
    write(out, output, overwrite)
    rows = [
        [
            name_of(row["cluster"]),
            cell_of(row["size"], ","),
            cell_of(row["jaccard"], ".2f"),
            cell_of(row["spread"], ".2f"),
            cell_of(row["verdict"], str),
        ]
        for row in out
    ]
    print_columns(["", "rows", "Jaccard", "spread", "verdict"], rows, left=(0, 4))
    say(f"stability: {out.meta['verdict']}")


def compare(
    table: Table,
    runs: Annotated[
        list[str], typer.Argument(help="Two runs or more, by prefix (gmm6_) or column of labels.")
    ],
    pairs: Annotated[Pairs, typer.Option(help="Each run with the next one, or every two.")] = (
        Pairs.CONSECUTIVE
    ),
    least: Annotated[float, typer.Option(help="Smallest part of a cluster that is named.")] = 0.1,
    output: MaybeOutput = None,
    figure: Figure = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare clusterings of the same rows.

    Tells how much they agree, and which cluster goes where.
    """
    import astro_cluster as ac

    check_free(overwrite, output=output, figure=figure)
    read = ac.read(str(table))
    flows = ac.compare(read, runs, pairs=pairs.value)
    write(flows, output, overwrite)
    for a, b in dict.fromkeys(zip(flows["run_a"], flows["run_b"], strict=True)):
        _print_pair(flows[(flows["run_a"] == a) & (flows["run_b"] == b)], least)
    if figure is not None:
        draw(ac.plotting.plot_alluvial(read, runs), figure, overwrite)


def _print_pair(flows: QTable, least: float) -> None:
    import astro_cluster as ac

    a, b, ari, nmi = (flows[name][0] for name in ("run_a", "run_b", "ari", "nmi"))
    runs = flows.meta["runs"]
    left = flows.meta["rows_left_out"][runs.index(a)][runs.index(b)]
    note = f" ({left:,} rows have no label in one of them)" if left else ""
    say(f"{a} and {b}: ARI {ari:.3f}, NMI {nmi:.3f}{note}")
    for sentence in ac.splits(flows, least=least):
        say(f"  {sentence}")


def calibrate(
    table: Table,
    labels: Annotated[str, typer.Option(help="Column of types that are known, such as main_type.")],
    prefix: Annotated[str, typer.Option(help="Prefix of the clustering.")] = "",
    method: Annotated[Calibration, typer.Option(help="How to calibrate.")] = Calibration.ISOTONIC,
    each: Annotated[bool, typer.Option("--each", help="Add a column for each type.")] = False,
    least: Annotated[int, typer.Option(help="Types of fewer labelled rows are put together.")] = 10,
    seed: Seed = None,
    output: MaybeOutput = None,
    figure: Figure = None,
    overwrite: Overwrite = False,
    overwrite_columns: OverwriteColumns = False,
) -> None:
    """Turn memberships into honest probabilities of types.

    Tells how honest they were.
    """
    import astro_cluster as ac

    check_free(overwrite, output=output, figure=figure)
    read = ac.read(str(table))
    how: dict[str, Any] = {"prefix": prefix, "least": least}
    out = ac.calibrate(
        read,
        labels,
        method=method.value,
        each=each,
        random_state=seed,
        overwrite=overwrite_columns,
        **how,
    )
    write(out, output, overwrite)
    record = ac.records(out)[-1]
    _print_scores(record)
    if figure is not None:
        how["random_state"] = record["seed"]
        bins = {
            "memberships": ac.calibration(read, labels, **how),
            f"calibrated ({method.value})": ac.calibration(read, labels, method=method.value, **how),
        }
        draw(ac.plotting.plot_reliability(bins), figure, overwrite)


_SCORES = {
    "ece": "calibration error (ECE)",
    "ece_if_honest": "  that chance alone makes",
    "brier": "Brier score",
    "log_loss": "log loss",
    "accuracy": "accuracy",
    "mean_confidence": "mean probability of the likeliest type",
}


def _print_scores(record: dict[str, Any]) -> None:
    """Print how good the probabilities are, before and after, and those of one who guesses."""
    before, after = record["before"], record["after"]
    rows = [
        [
            words,
            *(cell_of(scores.get(key), ".3f") for scores in (before, after)),
            cell_of(before[f"{key}_blind"], ".3f") if f"{key}_blind" in before else "",
        ]
        for key, words in _SCORES.items()
    ]
    say(f"{len(record['types'])} types: {', '.join(record['types'])}")
    print_columns(["", "memberships", "calibrated", "blind"], rows, left=(0,))
    say("blind: knowing only how common each type is")
    if after["log_loss"] > before["log_loss"]:
        note = "note: by the log loss the memberships were better as they are"
        if record["parameters"]["method"] == Calibration.ISOTONIC:
            note += "; isotonic regression needs a thousand labelled rows or so, --method temperature fewer"
        typer.echo(note, err=True)
