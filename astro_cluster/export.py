"""Tables for papers and pages: Markdown and LaTeX.

These are for readers, not for reading back: they keep the numbers as shown, and no record.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    }
)


def _cells(table: QTable) -> Iterator[list[str]]:
    """Yield the names, the units (or nothing) and the rows, each as text in the columns' formats."""
    yield list(table.colnames)
    yield [str(getattr(table[name], "unit", None) or "") for name in table.colnames]
    shown = [list(table[name].info.iter_str_vals()) for name in table.colnames]
    for row in zip(*shown, strict=True):
        yield ["" if cell in ("--", "———") else cell for cell in row]


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
    text = [name for name in table.colnames if getattr(table[name], "dtype", None) is not None]
    aligned = [":---" if name not in text or table[name].dtype.kind in "USO" else "---:" for name in names]
    lines = [heads, aligned, *([cell.replace("|", r"\|") for cell in row] for row in cells)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


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
    kinds = "".join("l" if getattr(table[n], "dtype", "").kind in "USO" else "r" for n in table.colnames)
    head = [names, units] if any(units) else [names]
    lines = [rf"\begin{{tabular}}{{{kinds}}}", r"\hline"]
    lines += [" & ".join(row) + r" \\" for row in head]
    lines.append(r"\hline")
    lines += [" & ".join(row) + r" \\" for row in cells]
    lines += [r"\hline", r"\end{tabular}"]
    return "\n".join(lines)
