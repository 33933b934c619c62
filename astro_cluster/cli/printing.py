"""Tables and sentences for a reader."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astropy.table import QTable
    from rich.console import Console

__all__ = ["cell_of", "console", "name_of", "print_columns", "print_first", "print_summary", "say"]

NOTHING = "–"
_WIDE = 10_000  # a pipe has no width
_FIRST = 10


def console() -> Console:
    """Return where to print: text as it is, wrapped on a terminal alone.

    Returns
    -------
    `~rich.console.Console`
    """
    from rich.console import Console

    found = Console(highlight=False, markup=False, emoji=False)
    if not found.is_terminal:
        found.width = _WIDE
    return found


def say(text: str) -> None:
    """Print a sentence.

    Parameters
    ----------
    text : str
        Wrapped between words on a terminal.
    """
    console().print(text)


def print_columns(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (), gap: int = 2
) -> None:
    """Print a small table.

    Parameters
    ----------
    heads : sequence of str
        Names of the columns.
    rows : sequence of sequence of str
        Their cells.
    left : sequence of int, optional
        Numbers of the columns of words; the others are numbers and stand on the right.
    gap : int, optional
        Blanks between columns.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    for number, head in enumerate(heads):
        table.add_column(head, justify="left" if number in left else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console().print(table)


def cell_of(value: Any, form: str | Callable[[Any], str]) -> str:
    """Return a value as a cell.

    Parameters
    ----------
    value : object
        Masked and None are shown as a dash.
    form : str or callable
        Format, or what makes a text of it.

    Returns
    -------
    str

    Examples
    --------
    >>> cell_of(1234.5, ",.0f"), cell_of(None, ".2f")
    ('1,234', '–')
    """
    import numpy as np

    if value is None or value is np.ma.masked or bool(np.any(getattr(value, "mask", False))):
        return NOTHING
    return form(value) if callable(form) else format(value, form)


def name_of(label: int) -> str:
    """Return how a cluster is called.

    Parameters
    ----------
    label : int
        Its number; negative is noise.

    Returns
    -------
    str

    Examples
    --------
    >>> name_of(3), name_of(-1)
    ('cluster 3', 'noise')
    """
    return "noise" if label < 0 else f"cluster {label}"


# ---------------------------------------------------------------- rows in an order


def _identifier(table: QTable) -> str | None:
    from astro_cluster.columns import ucd_of

    named = [name for name in table.colnames if ucd_of(table, name) == "meta.id;meta.main"]
    usual = ("source_id", "id", "name", "source_file")
    return next(iter([*named, *(name for name in usual if name in table.colnames)]), None)


def print_first(table: QTable, order: str, others: Sequence[str], *, shown: int = _FIRST) -> None:
    """Print the rows to look at first.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    order : str
        Column of ranks; rows without one are counted on standard error.
    others : sequence of str
        Columns to show beside it and the identifier.
    shown : int, optional
        How many rows.
    """
    import numpy as np
    import typer

    values = np.ma.asarray(table[order])
    rows = np.flatnonzero(~np.ma.getmaskarray(values))
    rows = rows[np.argsort(np.ma.getdata(values)[rows], kind="stable")]
    own = _identifier(table)
    names = [order, *([own] if own else []), *others]
    forms: dict[str, Any] = {name: ".2f" for name in others if table[name].dtype.kind == "f"}
    cells = [[cell_of(table[name][row], forms.get(name, str)) for name in names] for row in rows[:shown]]
    heads = [name.replace("_", " ") for name in names]
    print_columns(["row", *heads], [[str(row), *line] for row, line in zip(rows, cells, strict=False)])
    if len(rows) > shown:
        say(f"and {len(rows) - shown:,} more")
    if left := len(table) - len(rows):
        typer.echo(f"note: {left:,} rows have no {order}", err=True)


# ---------------------------------------------------------------- summaries

_SHORT = {"fraction_of_cluster": "of cluster", "fraction_of_type": "of type", "p_value": "p"}


def print_summary(table: QTable, by: str | None, top: int) -> None:
    """Print a table a cluster, as a reader wants it; narrow windows get the own probability only.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Result of `~astro_cluster.summarize`.
    by : str or None
        Column of types.
    top : int
        Types shown of each cluster; 0 for all.
    """
    import numpy as np

    where = console()
    width = where.width
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
        where.print(f"\n{name_of(label)}: {int(np.sum(part['count'])):,} rows")
        _print_aligned(where, names, cells, by)
        if len(part) > len(shown):
            where.print(f"  and {len(part) - len(shown)} more types (--top 0 shows all)")


def _print_aligned(where: Console, names: list[str], cells: dict[str, list[str]], by: str | None) -> None:
    heads = [_SHORT.get(name, name).replace("mean_prob_", "prob_") for name in names]
    columns = [[head, *cells[name]] for head, name in zip(heads, names, strict=True)]
    sizes = [max(map(len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        aligned = (
            cell.ljust(size) if name == by else cell.rjust(size)
            for name, cell, size in zip(names, row, sizes, strict=True)
        )  # fmt: skip
        where.print("  " + "  ".join(aligned).rstrip(), soft_wrap=True)
