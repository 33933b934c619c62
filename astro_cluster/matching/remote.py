"""The cone join of a match by TAP: which columns, and the query that brings them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import Column, QTable

from astro_cluster.exceptions import InputError, did_you_mean
from astro_cluster.matching import simbad
from astro_cluster.matching.answers import DEC, RA, ROW
from astro_cluster.matching.reference import TapReference
from astro_cluster.positions import find_position, sky_coord
from astro_cluster.services.adql import bare, identifier, table_name
from astro_cluster.services.tap import UPLOAD_NAME, ColumnFacts, TapClient

__all__ = ["DISTANCE", "ConeJoin", "cone_join", "seek", "upload_document"]

# What the query calls the remote position and primary key, so that no column has the same name.
_THERE = ("ac_there_ra", "ac_there_dec")
_KEY = "ac_there_id"
DISTANCE = "ac_distance"
_HEAD = f"""<?xml version="1.0" encoding="us-ascii"?>
<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<RESOURCE type="results"><TABLE name="{UPLOAD_NAME}">
<FIELD name="{ROW}" datatype="int"/>
<FIELD name="{RA}" datatype="double" unit="deg" ucd="pos.eq.ra;meta.main"/>
<FIELD name="{DEC}" datatype="double" unit="deg" ucd="pos.eq.dec;meta.main"/>
<DATA><TABLEDATA>
"""
_TAIL = "</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>\n"


@dataclass(frozen=True, slots=True)
class ConeJoin:
    """What a match by TAP asks for.

    Parameters
    ----------
    table : str
        The remote table, as it stands in a query.
    position : (str, str)
        Its position columns, as they stand in a query.
    radius : `~astropy.units.Quantity` [angle]
        Largest separation, with a margin.
    columns : tuple of str
        Its columns to bring, as they stand in a query; ``*`` for all.
    number : str or None
        Its column of numbers of objects, as it stands in a query.
    returned : tuple of str
        What the brought columns are called in the answer, as far as that is known.
    wanted : tuple of str or None
        Columns to bring; None for all that came.
    needs_identity : bool
        Whether remote objects have to be told apart.
    """

    table: str
    position: tuple[str, str]
    radius: u.Quantity
    columns: tuple[str, ...]
    number: str | None
    returned: tuple[str, ...]
    wanted: tuple[str, ...] | None
    needs_identity: bool

    @property
    def query(self) -> str:
        """The ADQL, the same for all chunks."""
        return cone_join(self.table, self.position, self.radius, self.columns, key=self.number)

    @property
    def there(self) -> tuple[str, str]:
        """Columns of the answer with the remote position [deg]."""
        return _THERE

    @property
    def key(self) -> str | None:
        """Column of the answer with the number of the remote object."""
        return _KEY if self.number else None

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns that the answer must have."""
        return (ROW, *_THERE, *([_KEY] if self.number else []), *self.returned)

    def nearest_query(self, radius: u.Quantity) -> str:
        """Return the ADQL that asks how far the nearest object of each position is."""
        ra, dec = self.position
        there, here = f"POINT('ICRS', r.{ra}, r.{dec})", f"POINT('ICRS', u.{RA}, u.{DEC})"
        distance = f"MIN(DISTANCE({there}, {here})) AS {DISTANCE}"
        chosen = f"SELECT u.{ROW}, {distance}\n"
        return chosen + _join(self.table, self.position, radius) + f"\nGROUP BY u.{ROW}"


def _join(table: str, position: tuple[str, str], radius: u.Quantity) -> str:
    ra, dec = position
    degrees = float(radius.to_value(u.deg))
    return (
        f"FROM TAP_UPLOAD.{UPLOAD_NAME} AS u\n"
        f"JOIN {table} AS r\n"
        f"ON 1 = CONTAINS(POINT('ICRS', r.{ra}, r.{dec}), CIRCLE('ICRS', u.{RA}, u.{DEC}, {degrees!r}))"
    )


def upload_document(ra: np.ndarray, dec: np.ndarray) -> bytes:
    """Return the VOTable of positions that goes to the service: ASCII, and plain enough for all.

    Parameters
    ----------
    ra, dec : (n,) array of float
        ICRS [deg].

    Returns
    -------
    bytes
        Rows are numbered within the chunk, so that rows added at the end of a table leave its
        kept answers valid.  Numbers are written so that they come out the same.

    Examples
    --------
    >>> b"<TD>0</TD><TD>0.1</TD><TD>-5.0</TD>" in upload_document(np.array([0.1]), np.array([-5.0]))
    True
    """
    places = enumerate(zip(ra.tolist(), dec.tolist(), strict=True))
    rows = (f"<TR><TD>{i}</TD><TD>{a!r}</TD><TD>{d!r}</TD></TR>\n" for i, (a, d) in places)
    return (_HEAD + "".join(rows) + _TAIL).encode("ascii")


def cone_join(
    table: str, position: tuple[str, str], radius: u.Quantity, columns: Sequence[str], *, key: str | None
) -> str:
    """Return the query that joins the uploaded positions with what is near them.

    Parameters
    ----------
    table : str
        The remote table, as it stands in a query.
    position : (str, str)
        Its position columns, as they stand in a query; ICRS in degrees.
    radius : `~astropy.units.Quantity` [angle]
        Largest separation.
    columns : sequence of str
        Its columns to bring, as they stand in a query; ``*`` for all.
    key : str, optional
        Its column of numbers of objects.

    Returns
    -------
    str
        ADQL 2.0.

    Examples
    --------
    >>> print(cone_join("basic", ("ra", "dec"), 1 * u.arcmin, ["main_id"], key="oid"))
    SELECT u.ac_row, r.ra AS ac_there_ra, r.dec AS ac_there_dec, r.oid AS ac_there_id, r.main_id
    FROM TAP_UPLOAD.ac_local AS u
    JOIN basic AS r
    ON 1 = CONTAINS(POINT('ICRS', r.ra, r.dec), CIRCLE('ICRS', u.ac_ra, u.ac_dec, 0.016666666666666666))
    """
    ra, dec = position
    chosen = [f"u.{ROW}", f"r.{ra} AS {_THERE[0]}", f"r.{dec} AS {_THERE[1]}"]
    chosen += [f"r.{key} AS {_KEY}"] if key else []
    chosen += [f"r.{column}" for column in columns]
    # All names are checked and quoted.
    return f"SELECT {', '.join(chosen)}\n" + _join(table, position, radius)


def _given_position(position: object) -> tuple[str, str]:
    if isinstance(position, str):
        position = [part.strip() for part in position.split(",")]
    names = [str(name) for name in position] if isinstance(position, (list, tuple)) else []
    if len(names) != 2 or not all(names):
        raise InputError(
            f"reference_position={position!r} must be two columns of the service's table: those of right "
            "ascension and declination"
        )
    return names[0], names[1]


def _unit_of(text: str) -> u.UnitBase | None:
    return u.Unit(text, parse_strict="silent") if text else None


def _as_table(facts: dict[str, ColumnFacts]) -> QTable:
    """Return a table of one row with the columns that the service describes as numbers."""
    out = QTable()
    for name, fact in facts.items():
        if "char" in fact.datatype.lower() or fact.datatype.lower() in ("clob", "blob", "point", "region"):
            continue
        unit = _unit_of(fact.unit)
        column = Column([0.0], unit=None if isinstance(unit, u.UnrecognizedUnit) else unit)
        out[name] = column
        out[name].info.meta = {"ucd": fact.ucd}
    return out


def _find_position(client: TapClient, table: str, facts: dict[str, ColumnFacts]) -> tuple[str, str]:
    how = 'name them: reference_position=("ra", "dec"), in degrees'
    if not facts:
        raise InputError(
            f"{client.name} does not describe the columns of {table}; the positions have to be named: {how}"
        )
    numbers = _as_table(facts)
    try:
        names = find_position(numbers)
        coord, _ = sky_coord(numbers, names)
    except InputError as error:
        raise InputError(
            f"{client.name} describes no columns of {table} that are known to be a position: {how}. "
            f"It has: {', '.join(facts)}"
        ) from error
    unit = {_unit_of(facts[name].unit) for name in names}
    if len(names) != 2 or not unit <= {None, u.deg} or coord.frame.name == "galactic":
        raise InputError(
            f"the positions of {table} ({', '.join(names)}) are not right ascensions and declinations in "
            f"degrees, which a query by position needs; {how}"
        )
    return names[0], names[1]


def _spelled(client: TapClient, table: str, names: Sequence[str], facts: dict[str, ColumnFacts]) -> list[str]:
    """Return names of columns as the service spells them, or say which it does not have."""
    if not facts:
        return list(names)
    by_case = {name.lower(): name for name in reversed(list(facts))}
    out = []
    for name in names:
        found = name if name in facts else by_case.get(bare(name).lower())
        if found is None:
            raise InputError(
                f"{table} has no column {name!r} at {client.name}{did_you_mean(name, facts)} "
                f"It has: {', '.join(facts)}"
            )
        out.append(found)
    return out


def _written(names: Sequence[str], facts: dict[str, ColumnFacts]) -> list[str]:
    """Return names as they stand in a query."""
    return [identifier(facts[name].quoted if name in facts else name) for name in names]


def seek(
    client: TapClient,
    target: TapReference,
    radius: u.Quantity,
    *,
    columns: list[str] | None,
    position: object,
    needs_identity: bool,
) -> ConeJoin:
    """Find out what to ask a service for.

    Parameters
    ----------
    client : TapClient
        The service; it is asked for its columns, where they are not known.
    target : TapReference
        The table.
    radius : `~astropy.units.Quantity` [angle]
        Largest separation, with a margin.
    columns : list of str, optional
        Columns to bring; all (of SIMBAD the usual ones) if not given.
    position : (str, str), optional
        Position columns.
    needs_identity : bool
        Whether remote objects have to be told apart.

    Returns
    -------
    ConeJoin

    Raises
    ------
    InputError
        If the service has no such table or columns, or no positions are found.
    ServiceError
        If it gives no good answer.
    """
    if target.is_simbad and target.table == simbad.TABLE:
        return _seek_simbad(client, target, radius, columns, position, needs_identity)
    table = table_name(target.table)
    facts = client.columns(target.table)
    if position is None:
        there = _find_position(client, target.table, facts)
    else:
        ra, dec = _spelled(client, target.table, _given_position(position), facts)
        there = ra, dec
    wanted = None if columns is None else _spelled(client, target.table, columns, facts)
    # Which remote row is which can only be told from all its columns.
    brought = ["*"] if wanted is None or needs_identity else _written(wanted, facts)
    ra, dec = _written(there, facts)
    names = () if wanted is None else tuple(bare(name) for name in wanted)
    return ConeJoin(
        table=table,
        position=(ra, dec),
        radius=radius,
        columns=tuple(brought),
        number=None,
        returned=names,
        wanted=None if wanted is None else names,
        needs_identity=needs_identity,
    )


def _seek_simbad(
    client: TapClient,
    target: TapReference,
    radius: u.Quantity,
    columns: list[str] | None,
    position: object,
    needs_identity: bool,
) -> ConeJoin:
    """Return what to ask SIMBAD for, whose usual columns need no asking."""
    if position is not None:
        raise InputError("the service knows the positions of simbad: leave reference_position out")
    wanted = [simbad.one_name(name) for name in (simbad.DEFAULT_COLUMNS if columns is None else columns)]
    brought = simbad.asked_of_tap(wanted)
    if unusual := [name for name in brought if name not in (*simbad.DEFAULT_COLUMNS, "oid")]:
        facts = client.columns(target.table)
        spelled = dict(zip(unusual, _spelled(client, target.table, unusual, facts), strict=True))
        brought = [spelled.get(name, name) for name in brought]
        wanted = [spelled.get(name, name) for name in wanted]
    return ConeJoin(
        table=simbad.TABLE,
        position=("ra", "dec"),
        radius=radius,
        columns=tuple(identifier(name) for name in brought),
        number="oid",
        returned=tuple(brought),
        wanted=tuple(dict.fromkeys(wanted)),
        needs_identity=needs_identity,
    )
