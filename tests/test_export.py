"""Tables for papers: nothing in a cell can break the table around it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable
from astropy.utils.masked import Masked
from hypothesis import given
from hypothesis import strategies as st

from astro_cluster.export import to_latex, to_markdown

texts = st.text("ab|\\\n-_*[]{}$&%#~^<> ", max_size=8)


def markdown_cells(line: str) -> list[str]:
    """Split a row as GitHub does: at every bar that has no backslash before it."""
    assert line.startswith("| ")
    assert line.endswith(" |")
    return re.split(r"(?<!\\)\|", line)[1:-1]


def latex_rows(text: str) -> list[str]:
    """Return the body's rows as LaTeX reads them: after every row end, blanks skipped."""
    body = text.split(r"\hline")[2].strip()
    rows = [row.strip() for row in body.split("\\\\\n")]
    assert rows[-1].endswith(r"\\")
    return [*rows[:-1], rows[-1].removesuffix(r"\\").strip()]


def test_markdown_aligns_and_names_units():
    table = QTable({"main_type": ["QSO"], "n": [3], "sep": [1.25] * u.arcsec, "ok": [True]})
    table["sep"].info.format = ".1f"
    assert to_markdown(table).splitlines() == [
        "| main_type | n | sep [arcsec] | ok |",
        "| :--- | ---: | ---: | ---: |",
        "| QSO | 3 | 1.2 | True |",
    ]


@given(st.lists(texts, min_size=1, max_size=4))
def test_markdown_rows_stay_rows(cells):
    lines = to_markdown(QTable({"t": cells, "n": np.arange(len(cells))})).split("\n")
    assert len(lines) == 2 + len(cells)
    for i, line in enumerate(lines[2:]):
        assert len(markdown_cells(line)) == 2
        assert markdown_cells(line)[1].strip() == str(i)


def test_markdown_heads_are_escaped_too():
    lines = to_markdown(QTable({"a|b": [1], "c": [2]})).splitlines()
    assert [len(markdown_cells(line)) for line in lines] == [2, 2, 2]


def test_masked_cells_are_empty_and_dashes_stay():
    table = QTable(
        {
            "s": MaskedColumn(["--", "x"], mask=[False, True]),
            "f": MaskedColumn([1.0, 2.0], mask=[False, True]),
            "q": Masked([1.0, 2.0] * u.m, mask=[True, False]),
            "i": MaskedColumn([1, 2], mask=[True, False]),
        }
    )
    lines = [[cell.strip() for cell in markdown_cells(line)] for line in to_markdown(table).splitlines()[2:]]
    assert lines[0][1:] == ["1.0", "", ""]
    assert lines[1] == ["", "", "2.0", "2"]
    assert lines[0][0] == "--"  # a text, not a mask


def test_latex_escapes_every_special_character():
    table = QTable({"a_b": [r"\&%$#_{}~^", "±"], "x": [1.0, 2.0] * u.m / u.s})
    lines = to_latex(table).splitlines()
    assert lines[0] == r"\begin{tabular}{lr}"
    assert lines[2] == r"a\_b & x \\"
    assert lines[3] == r" & m / s \\"
    assert lines[5] == (r"\textbackslash{}\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{} & 1.0 \\")
    assert lines[6].startswith(r"$\pm$ & ")


def test_latex_of_characters_that_old_fonts_lack():
    # In LaTeX's default text font <, > and | come out as ¡, ¿ and an em dash.
    (row,) = latex_rows(to_latex(QTable({"t": ["YSO|Star <3 >2"]})))
    assert not re.search(r"(?<!\$)[<>|](?!\$)", row)


@pytest.mark.parametrize("name", ["[KW97] 53-10", "* alf Ori", "** STF 2486", "  [BHR2010] 5"])
def test_latex_does_not_eat_the_names_of_simbad(name):
    # A row end takes a following * or [ ] as its own argument, across blanks and line ends.
    rows = latex_rows(to_latex(QTable({"main_id": ["a", name], "n": [1, 2]})))
    assert len(rows) == 2
    assert not rows[1].startswith(("[", "*"))
    assert name.strip().split()[-1] in rows[1]


@given(st.lists(texts, min_size=1, max_size=3))
def test_latex_rows_stay_rows(cells):
    text = to_latex(QTable({"t": cells, "n": np.arange(len(cells))}))
    rows = latex_rows(text)
    assert len(rows) == len(cells)
    for i, row in enumerate(rows):
        assert len(re.split(r"(?<!\\)&", row)) == 2
        assert row.endswith(f"& {i}")


@pytest.mark.parametrize("export", [to_markdown, to_latex])
def test_positions_vectors_and_no_rows(export):
    table = QTable(
        {"pos": SkyCoord([1.0], [2.0], unit="deg"), "v": [[1.0, 2.0]], "s": ["x"], "o": np.array([None])}
    )
    assert "1.0,2.0" in export(table)
    empty = export(table[:0])
    assert "pos" in empty
    assert "1.0" not in empty


@pytest.mark.parametrize("export", [to_markdown, to_latex])
def test_long_tables_are_whole(export):
    assert "1999" in export(QTable({"n": np.arange(2000)}))
