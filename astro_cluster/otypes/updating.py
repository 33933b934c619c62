"""The present list of types, asked from SIMBAD and believed only when it is whole."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime

from astropy.table import QTable, Table

from astro_cluster.config import conf
from astro_cluster.exceptions import InputError, ServiceError
from astro_cluster.otypes.snapshots import (
    COLUMNS,
    Snapshot,
    content_hash,
    current,
    fetched_path,
    shipped,
    tree_of,
)
from astro_cluster.otypes.tree import SEPARATOR, Otype, Tree
from astro_cluster.tables import beside

__all__ = ["update"]

_NAME = "SIMBAD"
_SETTING = "conf.simbad_tap_url"
_QUERY = "SELECT otype, label, description, is_candidate, path FROM otypedef"
_COUNT = "SELECT COUNT(*) AS n FROM otypedef"
_MOST = 5000
# SIMBAD drops a type now and then, never many at once.
_LEAST_KEPT = 0.9


def update(url: str | None = None) -> Snapshot:
    """Fetch SIMBAD's present types, which are used from then on.

    Parameters
    ----------
    url : str, optional
        TAP service with SIMBAD's table ``otypedef``; that of ``conf.simbad_tap_url`` if not given.

    Returns
    -------
    `Snapshot`
        What is in use now.  It is kept in the folder ``conf.cache_dir``, or in that of astropy's cache,
        until `reset`.

    Raises
    ------
    ServiceError
        If the service cannot be reached, or its answer is not a whole hierarchy; the types in
        use stay as they are.
    InputError
        If the folder cannot be written to.

    Notes
    -----
    The answer is believed if it has as many rows as the service counts, if each path is that of
    the type before its end and one step more (so that there is no circle and nothing hangs
    in the air), if no code or label occurs twice, and if nine in ten of the types that come
    with the package are still there.  Which types SIMBAD also finds under another one
    (``V*..``) is not in the table, and is kept from those.

    Examples
    --------
    >>> update().count > 200  # doctest: +REMOTE_DATA
    True
    """
    address = str(url if url is not None else conf.simbad_tap_url)
    table, counted = _fetch(address)
    try:
        ordered = _as_table(_whole(table, counted))
    except ValueError as error:
        raise ServiceError(
            f"the list of object types that {_NAME} sent is not believed: {error}. The types of "
            f"{current().snapshot.date} stay in use. Try again later, or see whether {_SETTING} is right",
            url=address,
        ) from error
    ordered.meta = {
        "description": "Object types of SIMBAD (CDS, Strasbourg)",
        "source": address,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "hash": content_hash(ordered),
    }
    path = fetched_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the folder {path.parent}: {error.strerror}. Set conf.cache_dir"
        ) from error
    text = io.StringIO()
    ordered.write(text, format="ascii.ecsv")
    with beside(path, overwrite=True) as new:
        new.write_text(text.getvalue(), encoding="utf-8")
    return current().snapshot


def _fetch(address: str) -> tuple[Table | None, int]:
    """Return the table of types, and how many rows the service says that it has."""
    from astro_cluster.services.http import Refused
    from astro_cluster.services.tap import TapClient

    client = TapClient(address, name=_NAME, setting=_SETTING)
    try:
        counts = client.look_up(_COUNT, "the number of object types")
        table = client.look_up(_QUERY, "the list of object types")
    except Refused as error:
        raise ServiceError(
            f"{_NAME} refuses to tell the list of object types: {error}. See whether {_SETTING} is right",
            url=address,
        ) from error
    finally:
        client.close()
    try:
        return table, int(counts[counts.colnames[0]][0])
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise ServiceError(f"{_NAME} does not say how many object types it has", url=address) from error


def _whole(table: Table | None, counted: int) -> Tree:
    """Return the hierarchy of an answer, or say what it lacks."""
    if table is None:
        raise ValueError("it has no table")
    if len(table) != counted:
        raise ValueError(f"it has {len(table)} of {counted} types")
    if len(table) >= _MOST:
        raise ValueError(f"it has {len(table)} types, more than there can be")
    tree = tree_of(table)
    known = shipped().tree.types
    gone = [code for code in known if code not in tree.types]
    if len(gone) > (1 - _LEAST_KEPT) * len(known):
        raise ValueError(
            f"{len(gone)} of the {len(known)} types of {shipped().snapshot.date} are missing, such as "
            f"{', '.join(gone[:5])}"
        )
    return tree


def _as_table(tree: Tree) -> QTable:
    """Return the types as a table like the one that is shipped, each behind the one that holds it."""
    types = list(_in_order(tree))
    out = QTable()
    for name, key in zip(COLUMNS, ("code", "label", "description", "is_candidate"), strict=False):
        out[name] = [getattr(one, key) for one in types]
    out["path"] = [SEPARATOR.join(one.path) for one in types]
    return out


def _in_order(tree: Tree) -> Iterator[Otype]:
    """Yield the types in the order of the shipped list, new ones behind their neighbours, by code."""
    place = {code: number for number, code in enumerate(shipped().tree.types)}
    within: dict[str | None, list[str]] = {}
    for one in tree.types.values():
        within.setdefault(one.parent, []).append(one.code)
    for codes in within.values():
        codes.sort(key=lambda code: (not tree.types[code].is_candidate, place.get(code, len(place)), code))
    # Not by recursion: how deep an answer goes is the service's to say.
    left = within.get(None, [])[::-1]
    while left:
        code = left.pop()
        yield tree.types[code]
        left += within.get(code, [])[::-1]
