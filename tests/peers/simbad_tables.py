"""SIMBAD's tables as a resource of DaCHS.

The 67 columns of ``basic``, with their types, units, UCDs and descriptions, are those of the
service, as astroquery ships them for its own tests; those of the other tables are the ones that
astroquery asks for.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from astropy.table import Table


class Column(NamedTuple):
    """A column as DaCHS describes it."""

    name: str
    type: str = "text"
    ucd: str = ""
    description: str = ""
    unit: str = ""


BANDS = "UBVRIGJHK"
_OBJECT = Column("oidref", "bigint", "", "Object internal identifier")
_BIBCODE = Column("bibcode", "text", "meta.bib.bibcode", "reference")
TABLES: dict[str, tuple[str, list[Column]]] = {
    "ident": (
        "Identifiers of an astronomical object",
        [_OBJECT, Column("id", "text", "meta.id", "Identifier")],
    ),
    "ids": (
        "all names concatenated with pipe",
        [_OBJECT, Column("ids", "text", "meta.id", "List of all identifiers concatenated with pipe")],
    ),
    "otypedef": (
        "all names and definitions for the object types",
        [
            Column("otype", "text", "src.class", "Object type"),
            Column("label", "text", "", "Object type label"),
            Column("description", "text", "meta.note", "Description of the object type"),
            Column("comment", "text", "meta.note", "Comment"),
            Column("is_candidate", "smallint", "", "1 for a candidate"),
            Column("path", "text", "", "Path in the hierarchy of the object types"),
        ],
    ),
    "otypes": (
        "List of all object types associated with an object",
        [_OBJECT, Column("otype", "text", "src.class", "Object type"), Column("origin")],
    ),
    "alltypes": (
        "all object types concatenated with pipe",
        [_OBJECT, Column("otypes", "text", "src.class", "List of all object types concatenated with pipe")],
    ),
    "flux": (
        "Magnitude/Flux information about an astronomical object",
        [
            _OBJECT,
            Column("filter", "text", "instr.bandpass", "Filter name"),
            Column("flux", "real", "phot.mag", "Magnitude"),
            Column("flux_err", "real", "stat.error;phot.mag", "Error of the magnitude"),
            Column("qual", "text", "meta.code.qual", "Quality"),
            _BIBCODE,
        ],
    ),
    "filter": (
        "Description of filters",
        [
            Column("filtername", "text", "instr.bandpass", "Name"),
            Column("description"),
            Column("unit", "text", "meta.unit", "Unit"),
        ],
    ),
    "allfluxes": (
        "all flux/magnitudes U,B,V,I,J,H,K,u_,g_,r_,i_,z_",
        [
            _OBJECT,
            *(Column(f"quoted/{band}", "real", "phot.mag", f"Magnitude {band}") for band in BANDS),
        ],
    ),
    "h_link": (
        "hierarchy of membership measure",
        [
            Column("parent", "bigint", "", "Object internal identifier of the parent"),
            Column("child", "bigint", "", "Object internal identifier of the child"),
            Column("link_bibcode", "text", "meta.bib.bibcode", "Reference"),
            Column("membership", "smallint", "stat.probability", "Membership probability", "percent"),
        ],
    ),
    "ref": (
        "Bibliographic references",
        [
            Column("oidbib", "bigint", "", "Reference internal identifier"),
            _BIBCODE,
            Column("quoted/year", "smallint", "time.publiYear", "Year of publication"),
            Column("title", "text", "meta.title", "Title"),
        ],
    ),
    "has_ref": (
        "Associations between objects and references",
        [
            _OBJECT,
            Column("oidbibref", "bigint", "", "Reference internal identifier"),
            Column("obj_freq", "smallint", "", "Frequency of the object in the reference"),
        ],
    ),
    # Not in SIMBAD: everything that a column's name and a text can be.
    "odd": (
        "Awkward columns — names, units and text",
        [
            Column("ra", "double precision", "pos.eq.ra;meta.main", "Rektaszension α", "deg"),
            Column("dec", "double precision", "pos.eq.dec;meta.main", "Deklination δ", "deg"),
            Column("quoted/2MASS", "text", "meta.id", "begins with a digit"),
            Column("quoted/select", "integer", "", "a word of ADQL"),
            Column("quoted/Proper motion", "real", "pos.pm", 'a blank, <brackets> & "quotes"', "mas/yr"),
            Column("quoted/MAG", "real", "phot.mag", "capitals only", "mag"),
            Column("quoted/mag", "real", "phot.mag", "the same in small letters", "mag"),
            Column("name", "unicode", "meta.id;meta.main", "Text with η Tau and 昴"),
            Column("source_id", "bigint", "meta.record", "beyond the whole numbers of a float"),
        ],
    ),
}
# Links as SIMBAD declares them, which tell astroquery how to join.
LINKS = [
    *(
        (name, "oidref", "oid")
        for name in ("ident", "ids", "otypes", "alltypes", "flux", "allfluxes", "has_ref")
    ),
    ("h_link", "parent", "oid"),
    ("h_link", "child", "oid"),
    ("otypedef", "otype", "otype"),
]
_TYPES = {
    "DOUBLE": "double precision",
    "VARCHAR": "text",
    "CHAR": "text",
    "SMALLINT": "smallint",
    "REAL": "real",
    "BIGINT": "bigint",
    "INTEGER": "integer",
    "date": "date",
}
_KEYS = ("oid", "oidref", "oidbib", "oidbibref", "parent", "child", "source_id")
_NULLS = {"smallint": -(2**15), "integer": -(2**31), "bigint": -(2**63)}


def basic_columns() -> list[Column]:
    """Return the columns of ``basic``."""
    import astroquery.simbad

    data = Path(astroquery.simbad.__file__).parent / "tests" / "data"
    found = Table.read(data / "simbad_basic_columns.xml", format="votable")
    columns = []
    for row in found:
        # As the VOUnit standard writes it, which DaCHS insists on.
        unit = str(row["unit"] or "").replace(".yr-1", ".yr**-1").replace(".s-1", ".s**-1")
        type_ = _TYPES[str(row["datatype"])]
        name, ucd, description = (str(row[key] or "") for key in ("column_name", "ucd", "description"))
        columns.append(Column(name, type_, ucd, description, unit))
    return columns


def _column_xml(column: Column) -> str:
    name = column.name.removeprefix("quoted/")
    attributes = {
        "name": column.name,
        "type": column.type,
        "ucd": column.ucd,
        "unit": column.unit,
        "description": column.description,
    }
    text = " ".join(f"{key}={quoteattr(value)}" for key, value in attributes.items())
    if name in _KEYS:
        return f'<column {text} required="True"/>'
    if column.type in _NULLS:
        return f'<column {text}><values nullLiteral="{_NULLS[column.type]}"/></column>'
    return f"<column {text}/>"


def _table_xml(name: str, description: str, columns: Sequence[Column]) -> str:
    has_position = {"ra", "dec"} <= {column.name for column in columns}
    index = ' mixin="//scs#q3cindex"' if has_position else ""
    primary = ' primary="oid"' if name == "basic" else ""
    lines = [f'<table id="{name}" onDisk="True" adql="True"{index}{primary}>']
    lines.append(f'<meta name="description">{escape(description)}</meta>')
    lines += [f'<index columns="{key}"/>' for key in ("id", "oidref") if key in {c.name for c in columns}]
    lines += [_column_xml(column) for column in columns]
    lines.append("</table>")
    return "\n".join(lines)


def _tables() -> dict[str, tuple[str, list[Column]]]:
    return {"basic": ("General data about an astronomical object", basic_columns()), **TABLES}


def resource() -> str:
    """Return the descriptor of the resource, with tables that are empty yet."""
    tables = _tables()
    lines = [
        '<resource schema="public" resdir="simbad">',
        '<meta name="title">SIMBAD for tests</meta>',
        '<meta name="description">Some rows of SIMBAD under its schema.</meta>',
        '<meta name="creationDate">2026-01-01T00:00:00Z</meta>',
        '<meta name="subject">tests</meta>',
        '<meta name="creator.name">astro_cluster</meta>',
        *(_table_xml(name, *about) for name, about in tables.items()),
        '<data id="all">',
        *(f'<make table="{name}"/>' for name in tables),
        "</data></resource>",
    ]
    return "\n".join(lines)


def rows_sql(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return what fills the tables.

    PostgreSQL's COPY knows columns by their order, whatever their names; the importer of DaCHS
    would go through Python row by row.

    Parameters
    ----------
    rows : dict of str to list of dict
        The rows of each table, as values by column; None where there is none.
    """
    text = io.StringIO()
    for table, (_, columns) in _tables().items():
        names = [column.name.removeprefix("quoted/") for column in columns]
        text.write(f"COPY public.{table} FROM STDIN WITH (FORMAT csv);\n")
        csv.writer(text, lineterminator="\n").writerows(
            [row.get(name) for name in names] for row in rows.get(table, [])
        )
        text.write(f"\\.\nANALYZE public.{table};\n")
    return text.getvalue()


def names_sql() -> str:
    """Return what makes TAP_SCHEMA like SIMBAD's, once the resource is there.

    SIMBAD names its tables without their schema (``basic``, not ``public.basic``), and
    astroquery looks them up so.
    """
    places = [
        ("tables", "table_name"),
        ("columns", "table_name"),
        ("groups", "table_name"),
        ("keys", "from_table"),
        ("keys", "target_table"),
    ]
    lines = [
        f"UPDATE tap_schema.{table} SET {column} = substr({column}, 8) WHERE {column} LIKE 'public.%';"
        for table, column in places
    ]
    for table, column, target in LINKS:
        key = f"simbad_{table}_{column}"
        lines.append(
            "INSERT INTO tap_schema.keys (key_id, from_table, target_table, description, utype, sourcerd) "
            f"VALUES ('{key}', '{table}', 'basic', '', '', 'simbad/q');"
        )
        lines.append(
            "INSERT INTO tap_schema.key_columns (key_id, from_column, target_column, sourcerd) "
            f"VALUES ('{key}', '{column}', '{target}', 'simbad/q');"
        )
    return "\n".join(lines)
