"""The verb that shows SIMBAD's types of objects: otypes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from astro_cluster.cli.files import check_free, write
from astro_cluster.cli.options import MaybeOutput, Overwrite, fail
from astro_cluster.cli.printing import NOTHING, print_columns, say

__all__ = ["otypes"]


def otypes(
    branch: Annotated[
        str | None, typer.Argument(metavar="[TYPE]", help="Show a type and those below it, such as AGN..")
    ] = None,
    level: Annotated[
        int | None, typer.Option(help="Show the types down to this level; 0 is the widest.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Fetch the present list from SIMBAD first.")
    ] = False,
    url: Annotated[str | None, typer.Option(help="TAP service to fetch it from.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Go back to the list of the package.")] = False,
    output: MaybeOutput = None,
    overwrite: Overwrite = False,
) -> None:
    """Show the hierarchy of SIMBAD's types of objects.

    Tells of which day the list is.
    """
    import astro_cluster as ac

    check_free(overwrite, output=output)
    if update and reset:
        fail("--update fetches a list and --reset deletes it; give one of them")
    if url is not None and not update:
        fail("--url says where --update fetches the list from; give --update too")
    if update:
        _update(url)
    if reset:
        say("the fetched list is deleted" if ac.otypes.reset() else "there is no fetched list")
    if level is not None:
        ac.otypes.fold("*", level)  # says what is wrong with it
    table = ac.otypes.hierarchy(branch)
    if level is not None:
        table = table[table["level"] <= max(level, int(table["level"].min()))]
    _print_tree(table)
    told = ac.otypes.snapshot()
    say(f"{told.count} types of SIMBAD, candidates included, as of {told.date} ({told.source})")
    write(table, output, overwrite)


def _update(url: str | None) -> None:
    """Fetch the list and say what is new."""
    import astro_cluster as ac

    before = _codes()
    told = ac.otypes.update(url)
    now = _codes()
    for what, codes in (("new", now - before), ("gone", before - now)):
        if codes:
            say(f"{what}: {', '.join(sorted(codes))}")
    say(f"fetched: {told.count} types, kept in {told.path}")


def _codes() -> set[str]:
    import numpy as np

    import astro_cluster as ac

    table = ac.otypes.hierarchy()
    return {*table["otype"].tolist(), *np.ma.compressed(np.ma.asarray(table["candidate"])).tolist()}


def _print_tree(table: Any) -> None:
    """Print a row a type, set in by its level."""
    import numpy as np

    top = int(table["level"].min())
    candidates = np.ma.filled(np.ma.asarray(table["candidate"]), NOTHING).tolist()
    types = [
        "  " * (int(level) - top) + code
        for level, code in zip(table["level"], table["otype"].tolist(), strict=True)
    ]
    print_columns(
        ("type", "label", "candidate", "description"),
        list(zip(types, table["label"].tolist(), candidates, table["description"].tolist(), strict=True)),
        left=(0, 1, 2, 3),
    )
