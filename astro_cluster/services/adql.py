"""Names and texts as ADQL wants them, so that none of them can become a piece of the query."""

from __future__ import annotations

import re

from astro_cluster.exceptions import InputError

__all__ = ["bare", "identifier", "literal", "table_name"]

_REGULAR = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_DELIMITED = re.compile(r'"(?:[^"\x00-\x1f]|"")+"')
_PART = re.compile(rf"{_REGULAR.pattern}|{_DELIMITED.pattern}")
_DOTTED = re.compile(rf"(?:{_PART.pattern})(?:\.(?:{_PART.pattern}))*")
_LONGEST = 200
# Words of SQL92 and ADQL that columns of catalogues are really called.  A name that is none of a
# service's words is read the same within quotes, unless the service folds it to upper case.
_WORDS = """
abs acos action add all alter and any area as asc asin at atan atan2 avg begin between bit both box by case
cast ceiling centroid char character check circle coalesce collate column commit connect constraint contains
convert coord1 coord2 coordsys cos cot count create cross current cursor date day dec decimal declare
default degrees delete desc distance distinct domain double drop else end escape except exception exists exp
external extract false fetch first float floor for foreign found from full get global go goto grant group
having hour identity immediate in indicator inner input insert int integer intersect intersects interval
into is isolation join key language last leading left level like local log log10 lower match max min minute
mod module month names national natural nchar next no not null numeric octet_length of on only open option
or order outer output overlaps partial pi point polygon position power precision prepare preserve primary
prior privileges procedure public radians rand read real references region relative restrict revoke right
rollback round rows schema scroll second section select session set sin size smallint some space sql sqrt
string sum table tan temporary then time timestamp to top trailing transaction translate trim true truncate
union unique unknown update upper usage user using value values varchar varying view when where with work
write year zone
"""
_RESERVED = frozenset(_WORDS.split())
# Words that services take bare, and some only so.
_TAKEN_BARE = {"dec", "public"}


def bare(name: str) -> str:
    """Return a name without the quotes that a service lists it with.

    Parameters
    ----------
    name : str
        As in TAP_SCHEMA.

    Returns
    -------
    str

    Examples
    --------
    >>> bare('"2MASS"'), bare("ra")
    ('2MASS', 'ra')
    """
    return name[1:-1].replace('""', '"') if _DELIMITED.fullmatch(name) else name


def identifier(name: str) -> str:
    """Return the name of a column as it stands in a query.

    Parameters
    ----------
    name : str
        A plain name, or one in quotes.

    Returns
    -------
    str
        In quotes if it needs them.

    Raises
    ------
    InputError
        If it can be no name.

    Examples
    --------
    >>> identifier("ra"), identifier("2MASS"), identifier('x" FROM secret --')
    ('ra', '"2MASS"', '"x"" FROM secret --"')
    """
    if not name or len(name) > _LONGEST or any(ord(c) < 32 for c in name):
        raise InputError(f"{name[:80]!r} cannot be the name of a column of a service")
    if _DELIMITED.fullmatch(name):
        return name
    is_word = name.lower() in _RESERVED and name.lower() not in _TAKEN_BARE
    if _REGULAR.fullmatch(name) and not is_word:
        return name
    return '"' + name.replace('"', '""') + '"'


def table_name(name: str) -> str:
    """Return the name of a table as it stands in a query.

    Parameters
    ----------
    name : str
        ``schema.table``, with quotes where the service has them, or a name such as
        ``I/355/gaiadr3`` that needs them as a whole.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If it can be no name.

    Examples
    --------
    >>> table_name("public.basic"), table_name("I/355/gaiadr3")
    ('public.basic', '"I/355/gaiadr3"')
    """
    name = name.strip()
    if not name or len(name) > _LONGEST or any(ord(c) < 32 for c in name):
        raise InputError(f"{name[:80]!r} cannot be the name of a table of a service")
    if _DOTTED.fullmatch(name):
        return ".".join(identifier(part) for part in _PART.findall(name))
    if '"' in name or ";" in name:
        raise InputError(f"{name[:80]!r} cannot be the name of a table of a service")
    return f'"{name}"'


def literal(text: str) -> str:
    """Return a text as it stands in a query.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str

    Examples
    --------
    >>> literal("Barnard's star")
    "'Barnard''s star'"
    """
    return "'" + text.replace("'", "''") + "'"
