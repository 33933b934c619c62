"""Tables for papers and pages: Markdown and LaTeX.

These are for readers, not for reading back: they keep the numbers as shown, and no record.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from astropy.table import QTable

__all__ = ["to_latex", "to_markdown"]

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "|": r"\textbar{}",
        "<": r"$<$",
        ">": r"$>$",
    }
)


def _cells(table: QTable) -> Iterator[list[str]]:
    """Yield the names, the units (or nothing) and the rows, each as text in the columns' formats."""
    yield list(table.colnames)
    yield [str(getattr(table[name], "unit", None) or "") for name in table.colnames]
    shown = []
    for name in table.colnames:
        mask = np.array(getattr(table[name], "mask", False))
        hidden = np.broadcast_to(mask.any(axis=tuple(range(1, mask.ndim))) if mask.ndim else mask, len(table))
        cells = table[name].info.iter_str_vals()
        shown.append(
            [" " if skip else " ".join(cell.split()) for cell, skip in zip(cells, hidden, strict=True)]
        )
    for row in zip(*shown, strict=True):
        yield [cell.strip() for cell in row]


def _is_text(table: QTable, name: str) -> bool:
    return getattr(table[name], "dtype", np.dtype(float)).kind in "USO"


def to_markdown(table: QTable) -> str:
    r"""Return a table as Markdown (GitHub's pipes).

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table; columns keep their formats, units stand behind the names.

    Returns
    -------
    str

    Examples
    --------
    >>> print(to_markdown(QTable({"type": ["YSO|Star"], "count": [3]})))
    | type | count |
    | :--- | ---: |
    | YSO\|Star | 3 |
    """
    cells = _cells(table)
    names, units = next(cells), next(cells)
    heads = [f"{name} [{unit}]" if unit else name for name, unit in zip(names, units, strict=True)]
    aligned = [":---" if _is_text(table, name) else "---:" for name in table.colnames]
    rows = [[cell.replace("|", r"\|") for cell in row] for row in (heads, *cells)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (rows[0], aligned, *rows[1:]))


def to_latex(table: QTable) -> str:
    r"""Return a table as a LaTeX tabular, special characters escaped.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table; columns keep their formats, units stand in a row of their own.

    Returns
    -------
    str

    Examples
    --------
    >>> print(to_latex(QTable({"main_type": ["TTau*"], "count": [3]})))
    \begin{tabular}{lr}
    \hline
    main\_type & count \\
    \hline
    TTau* & 3 \\
    \hline
    \end{tabular}
    """
    cells = ([cell.translate(_LATEX) for cell in row] for row in _cells(table))
    names, units = next(cells), next(cells)
    kinds = "".join("l" if _is_text(table, name) else "r" for name in table.colnames)
    head = [names, units] if any(units) else [names]
    lines = [rf"\begin{{tabular}}{{{kinds}}}", r"\hline"]
    lines += [_latex_row(row) for row in head]
    lines.append(r"\hline")
    lines += [_latex_row(row) for row in cells]
    lines += [r"\hline", r"\end{tabular}"]
    return "\n".join(lines)


def _latex_row(cells: list[str]) -> str:
    # After the end of a row LaTeX takes a star or a bracket for an option of it.
    first = f"{{{cells[0][0]}}}{cells[0][1:]}" if cells[0].startswith(("*", "[")) else cells[0]
    return " & ".join([first, *cells[1:]]) + r" \\"
