"""VOTables as services send them, looked over before they are read."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from math import prod

import numpy as np
from astropy import units as u
from astropy.io import votable
from astropy.io.votable.exceptions import VOWarning
from astropy.table import Table

from astro_cluster.config import conf

__all__ = ["Answer", "look_over", "parse_answer", "words_of"]

# In these, markup is what its bytes look like; expat knows no others but UTF-16, and so no word
# that is looked for below can hide.
_ENCODINGS = {"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "latin1", "windows-1252"}
_DECLARATION = re.compile(rb"""\A<\?xml\b[^>]*?\bencoding\s*=\s*["']([^"']*)["']""")
# A tag up to its end; '>' may stand in the value of an attribute, '<' may not, so that one that is
# never closed does not take a search through the whole document.
_REST = rb"""(?=[\s/>])((?:[^<>"']|"[^"<]*"|'[^'<]*')*+)>"""
_STREAM = re.compile(rb"<(?:[\w.-]+:)?STREAM" + _REST)
_TABLE = re.compile(rb"<(?:[\w.-]+:)?TABLE" + _REST)
_FIELD = re.compile(rb"<(?:[\w.-]+:)?FIELD" + _REST)
_ROW = re.compile(rb"<(?:[\w.-]+:)?TR\b")
_HREF = re.compile(rb"\bhref\s*=")
_NROWS = re.compile(rb"""\snrows\s*=\s*["']\s*(\d+)\s*["']""")
_ARRAYSIZE = re.compile(rb"""\sarraysize\s*=\s*["']\s*([\dx]+)\s*["']""")
# Arrays in memory may be this much larger than an answer may be, most cells of it being empty.
_SPACE = 8
_MOST_COLUMNS = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said: a table, or words.

    Parameters
    ----------
    table : `~astropy.table.Table` or None
        The table, if there is one.
    status : str
        OK, ERROR, OVERFLOW or empty.
    text : str
        What it says beside.
    """

    table: Table | None
    status: str
    text: str


def look_over(content: bytes) -> None:
    """Refuse a document that is made to do more than to tell something.

    Parameters
    ----------
    content : bytes
        An XML document.

    Raises
    ------
    ValueError
        If it is none, defines entities, points to data elsewhere, or declares more than could be
        in it.

    Examples
    --------
    >>> look_over(b'<VOTABLE><STREAM href="file:///etc/passwd"/></VOTABLE>')
    Traceback (most recent call last):
    ...
    ValueError: no VOTable that is read: its data stand at another address (STREAM href), ...
    """
    text = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text.startswith(b"<"):
        raise ValueError(
            "no whole VOTable: it does not begin with '<'" if text else "no whole VOTable: it is empty"
        )
    declared = _DECLARATION.match(text[:500])
    encoding = declared[1].decode("ascii", "replace").lower() if declared else "utf-8"
    if b"\0" in text[:500] or encoding not in _ENCODINGS:
        raise ValueError(f"no VOTable that is read: its encoding is {encoding if declared else 'UTF-16'}")
    if b"<!ENTITY" in text or re.search(rb"<!DOCTYPE[^<>\[]*+\[", text):
        raise ValueError("no VOTable that is read: it defines XML entities, which nothing honest needs")
    if any(_HREF.search(stream[1]) for stream in _STREAM.finditer(text)):
        raise ValueError(
            "no VOTable that is read: its data stand at another address (STREAM href), which is not followed"
        )
    _check_space(text)


def _check_space(text: bytes) -> None:
    """Refuse declarations that would take more memory than any answer of the allowed size."""
    counts = [_NROWS.search(table[1]) for table in _TABLE.finditer(text)]
    declared = max((int(count[1]) for count in counts if count), default=0)
    if declared > len(text):
        raise ValueError(f"no whole VOTable: it declares {declared} rows in {len(text)} bytes")
    sizes = [_ARRAYSIZE.search(field[1]) for field in _FIELD.finditer(text)]
    if len(sizes) > _MOST_COLUMNS:
        raise ValueError(f"no VOTable that is read: it declares {len(sizes)} columns")
    cells = [prod(int(n) for n in size[1].split(b"x") if n) for size in sizes if size]
    width = 16 * len(sizes) + 4 * sum(cells)
    rows = max(declared, sum(1 for _ in _ROW.finditer(text)), 256)
    if width * rows > _SPACE * max(int(conf.max_answer_bytes), 2**26):
        raise ValueError(
            f"no VOTable that is read: its {rows} rows of up to {width} bytes need more memory than "
            "conf.max_answer_bytes allows for"
        )


def parse_answer(content: bytes) -> Answer:
    """Read a VOTable as a service sends it.

    Parameters
    ----------
    content : bytes
        The document.

    Returns
    -------
    Answer

    Raises
    ------
    ValueError
        If it is no whole VOTable, or one that `look_over` refuses.

    Examples
    --------
    >>> parse_answer(b'<VOTABLE version="1.4"><RESOURCE type="results"><INFO name="QUERY_STATUS" '
    ...              b'value="ERROR">no such table</INFO></RESOURCE></VOTABLE>').text
    'no such table'
    """
    look_over(content)
    with warnings.catch_warnings():
        # Catalogues bend the standard in a hundred harmless ways; a broken document raises.
        warnings.simplefilter("ignore", VOWarning)
        warnings.simplefilter("ignore", u.UnitsWarning)
        try:
            tree = votable.parse(io.BytesIO(content), verify="ignore")
            elements = list(tree.iter_tables())
            table = elements[0].to_table(use_names_over_ids=True) if elements else None
        except Exception as error:  # each layer under parse() raises exceptions of its own for garbage
            raise ValueError(f"no whole VOTable: {' '.join(str(error).split())[:200]}") from error
    declared = _NROWS.search(next((found[1] for found in _TABLE.finditer(content)), b""))
    if table is not None and declared and int(declared[1]) != len(table):
        raise ValueError(f"no whole VOTable: it has {len(table)} of {int(declared[1])} rows")
    infos = [*tree.infos, *(info for resource in tree.resources for info in resource.infos)]
    said = [(str(i.value).upper(), i.content or "") for i in infos if "QUERY_STATUS" in (i.name, i.ID)]
    # OVERFLOW stands behind the table, while OK may stand before it.
    status, text = next((s for s in said if s[0] != "OK"), said[0] if said else ("", ""))
    return Answer(table, status, " ".join(text.split()))


def words_of(content: bytes) -> str:
    """Return what an error answer says, whatever it is written in.

    Parameters
    ----------
    content : bytes
        A VOTable, a web page, or text.

    Returns
    -------
    str
        At most 400 characters, on one line, nothing in it that a terminal would obey.

    Examples
    --------
    >>> words_of(b"<html><body>Out of order</body></html>")
    'Out of order'
    """
    try:
        text = parse_answer(content).text
    except ValueError:
        text = ""
    if not text:
        text = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", content[:4000].decode("utf-8", "replace"))
    return "".join(c for c in " ".join(text.split()) if c.isprintable())[:400]


def numbers_of(column: object) -> np.ndarray | None:
    """Return a column as floats, NaN where it is masked; None if it holds no plain numbers."""
    values = np.ma.getdata(np.asarray(column))
    if values.ndim != 1 or values.dtype.kind not in "iufOSU":
        return None
    mask = np.broadcast_to(getattr(column, "mask", False), values.shape)
    try:
        numbers = np.where(mask, np.nan, np.where(mask, 0, values).astype(float))
    except (TypeError, ValueError):
        return None
    return numbers
