"""A match by the Table Access Protocol: with SIMBAD, VizieR, or a table of any such service.

Row numbers and positions go up in chunks below the limits of the service; a cone join brings
what is near.  An answer that is cut is never taken for a whole one: its chunk is halved.  Which
pairs are near enough is decided here, not there, so that the result is that of a match at hand.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table

from astro_cluster.config import conf
from astro_cluster.exceptions import InputError, ServiceError
from astro_cluster.matching import simbad
from astro_cluster.matching.answers import ROW, remote_identity, stack_answers
from astro_cluster.matching.candidates import Pairs, Sky, service_request
from astro_cluster.matching.reference import RemoteReference, TapReference
from astro_cluster.matching.remote import DISTANCE, ConeJoin, seek, upload_document
from astro_cluster.services.answers import Answer, numbers_of, parse_answer
from astro_cluster.services.http import Refused
from astro_cluster.services.registry import find_service
from astro_cluster.services.tap import TapClient, query_form
from astro_cluster.services.uws import BadAnswer

__all__ = ["first_query", "pairs_by_tap"]

# Services work out separations with an error of up to eps / radius; what they find too much is cut.
_MARGIN = 1 * u.mas
_ROUNDING = 1e-9  # arcsec, as in a match at hand
# Farther than asked for by this is no matter of rounding: the answer is not one to this question.
_FAR = 1.0  # arcsec, and a thousandth of the radius
_TOO_LARGE = re.compile(
    r"upload\w*\W.*(?:limit|too (?:large|big|many|long)|exceed|maximum)|(?:limit|exceed|maximum)\w*\W.*upload"
    r"|too many rows|timed? ?out|time limit|took too long|execution ?duration|cancel|aborted",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Part:
    """The pairs of one answer; ``cut`` if there are more."""

    rows: np.ndarray
    separation: np.ndarray
    table: Table | None
    cut: bool = False


@dataclass(slots=True)
class _Fetcher:
    """Asks chunk after chunk; halves those that are too large for the service."""

    client: TapClient
    sought: ConeJoin
    coord: SkyCoord
    radius: u.Quantity
    parts: list[_Part] = field(default_factory=list)
    days: list[str] = field(default_factory=list)
    n_kept: int = 0

    def where(self, start: int, stop: int) -> str:
        """Return which part of the table a request is about, for errors."""
        return f"rows {start} to {stop - 1} of the {len(self.coord)} with a position"

    def fetch_all(self, chunk_rows: int) -> None:
        """Collect the pairs of all rows."""
        for start in range(0, len(self.coord), chunk_rows):
            self.fetch(start, min(start + chunk_rows, len(self.coord)))

    def fetch(self, start: int, stop: int) -> None:
        """Collect the pairs of the rows from start to stop."""
        upload = upload_document(self.coord.ra.deg[start:stop], self.coord.dec.deg[start:stop])
        most = self.client.limits().upload_bytes
        if most and len(upload) > most and stop - start > 1:
            self._halve(start, stop)
            return
        form = query_form(self.sought.query, max_rows=self.client.max_rows(), upload=upload)
        key = {"url": self.client.url, **form, "upload": upload.decode("ascii")}
        part = self._kept(key, start, stop)
        if part is None:
            try:
                part = self._ask(form, upload, key, start, stop)
            except Refused as refusal:
                if refusal.code != 413 and not _TOO_LARGE.search(str(refusal)):
                    raise _refused(self.client, refusal) from refusal
                self._too_large(start, stop, str(refusal))
                self.client.cache.put(key, b"too large", ending="cut")
                self._halve(start, stop)
                return
        if part.cut:
            self._too_large(start, stop, "")
            self._halve(start, stop)
            return
        self.days.append(self.client.cache.day(key))
        self.parts.append(part)

    def _kept(self, key: dict[str, Any], start: int, stop: int) -> _Part | None:
        cache = self.client.cache
        none = np.empty(0)
        if stop - start > 1 and cache.get(key, ending="cut") is not None:
            return _Part(none, none, None, cut=True)
        content = cache.get(key)
        if content is None:
            return None
        try:
            part = self._read(parse_answer(content), start, stop)
        except (ValueError, BadAnswer):
            return None
        self.n_kept += 1
        return part

    def _ask(self, form: dict[str, str], upload: bytes, key: dict[str, Any], start: int, stop: int) -> _Part:
        def keep(content: bytes, part: _Part) -> None:
            cache = self.client.cache
            if part.cut:
                cache.put(key, b"cut", ending="cut")
            else:
                cache.put(key, content)

        return self.client.ask(
            form,
            upload,
            key,
            self.where(start, stop),
            lambda answer: self._read(answer, start, stop),
            keep,
            job=stop - start > int(conf.tap_sync_rows),
        )

    def _read(self, answer: Answer, start: int, stop: int) -> _Part:
        """Take the pairs out of an answer, or say why it is none to this question."""
        table, none = answer.table, np.empty(0)
        if table is None:
            raise BadAnswer("the answer is a VOTable without a table")
        limits = self.client.limits()
        cuts = {self.client.max_rows(), limits.output_rows, limits.default_rows}
        if answer.status == "OVERFLOW" or (len(table) and len(table) in cuts):
            return _Part(none, none, None, cut=True)
        names = {name.lower(): name for name in reversed(table.colnames)}
        if missing := [name for name in self.sought.needed if name.lower() not in names]:
            raise BadAnswer(f"the answer is a VOTable without the columns {', '.join(missing)}")
        row, ra, dec = (numbers_of(table[names[name]]) for name in (ROW, *self.sought.there))
        if row is None or not np.all((row >= 0) & (row < stop - start) & (row == np.floor(row))):
            raise BadAnswer("the answer has row numbers that were not sent")
        if ra is None or dec is None or not np.all(np.isfinite(ra) & (np.abs(dec) <= 90)):
            raise BadAnswer("the answer has rows without a position")
        rows = row.astype(np.int64) + start
        there = SkyCoord(ra * u.deg, dec * u.deg)
        arcsec = self.coord[rows].separation(there).to_value(u.arcsec) if len(rows) else none
        asked = self.radius.to_value(u.arcsec)
        if np.any(arcsec > 1.001 * asked + _FAR):
            raise BadAnswer("the answer has objects that are farther than asked for")
        near = arcsec <= asked + _ROUNDING
        for name in self.sought.needed:
            if names[name.lower()] != name:
                table.rename_column(names[name.lower()], name)
        return _Part(rows[near], arcsec[near], table[near])

    def _too_large(self, start: int, stop: int, said: str) -> None:
        if stop - start > 1:
            return
        if said:
            raise ServiceError(
                f"{self.client.name} refused even the query for one position: {said}", url=self.client.url
            )
        raise ServiceError(
            f"position {start} (counted from 0 among those that are known) alone has more counterparts than "
            f"{self.client.name} returns (at most {self.client.max_rows()} rows): take a smaller radius",
            url=self.client.url,
        )

    def _halve(self, start: int, stop: int) -> None:
        middle = (start + stop) // 2
        self.fetch(start, middle)
        self.fetch(middle, stop)


def _refused(client: TapClient, refusal: Refused) -> ServiceError:
    hint = "Check the names of the table and of the columns"
    if client.limits().declared and not client.limits().uploads:
        hint = "It does not declare that tables can be uploaded, which a match needs"
    return ServiceError(f"{client.name} refused the query: {refusal}. {hint}", url=client.url)


def _plain_session(target: TapReference) -> Any:
    import requests

    # What pyvo puts around a session cannot be taken over; a service that needs it says so.
    return target.session if isinstance(target.session, requests.Session) else None


def _client(target: TapReference, *, cache: bool) -> TapClient:
    """Return a client of the service; one that is given by its identifier is looked up."""
    url, name = target.url, None
    if url.lower().startswith("ivo://"):
        registry = TapClient(
            str(conf.registry_url), name="the VO registry", setting="conf.registry_url", cache=cache
        )
        with contextlib.closing(registry):
            url = find_service(registry, url)
    if target.name == "simbad":
        name = "the TAP service of SIMBAD"
    return TapClient(url, name=name, setting=target.setting, cache=cache, session=_plain_session(target))


def _with_margin(radius: u.Quantity) -> u.Quantity:
    return min(radius * (1 + 1e-6) + _MARGIN, 180 * u.deg)


def _seek(
    client: TapClient,
    target: TapReference,
    radius: u.Quantity,
    *,
    find: str,
    columns: list[str] | None,
    position: Any,
) -> ConeJoin:
    needs_identity = find in ("best-remote", "best-symmetric")
    return seek(
        client,
        target,
        _with_margin(radius),
        columns=[] if find == "each-dist" and columns is None else columns,
        position=position,
        needs_identity=needs_identity,
    )


def _chunk(client: TapClient, chunk_rows: int | None) -> int:
    most = client.limits().upload_rows
    wanted = int(conf.tap_chunk_rows) if chunk_rows is None else chunk_rows
    return max(1, min(wanted, most or wanted))


def _prepare(
    sky: Sky, target: TapReference, radius: u.Quantity, find: str, epoch: float | None
) -> tuple[SkyCoord, np.ndarray, list[str], dict[str, Any]]:
    """Return the positions to send, their rows, the columns used and facts for the record."""
    request, inputs, facts = service_request(
        sky,
        RemoteReference("simbad" if target.is_simbad else target.name),
        radius,
        find=find,
        columns=None,
        epoch=epoch,
        chunk_rows=1,
    )
    return request["coord"].icrs, np.flatnonzero(request["valid"]), inputs, facts


def first_query(
    sky: Sky,
    target: TapReference,
    radius: u.Quantity,
    *,
    find: str,
    columns: list[str] | None,
    position: Any,
    epoch: float | None,
    chunk_rows: int | None,
    cache: bool,
) -> dict[str, str]:
    """Return the form of the first request, unsent.

    Parameters
    ----------
    sky, target, radius, find, columns, position, epoch, chunk_rows, cache
        As in `pairs_by_tap`.

    Returns
    -------
    dict of str to str
        The fields of the form, ``url``, and the uploaded VOTable under ``upload``.  The service
        of a table that is not SIMBAD's has been asked for the names of its columns.
    """
    here, valid, *_ = _prepare(sky, target, radius, find, epoch)
    coord = here[valid]
    with contextlib.closing(_client(target, cache=cache)) as client:
        sought = _seek(client, target, radius, find=find, columns=columns, position=position)
        rows = int(conf.tap_chunk_rows) if chunk_rows is None else chunk_rows
        upload = upload_document(coord.ra.deg[:rows], coord.dec.deg[:rows])
        form = query_form(sought.query, max_rows=client.max_rows(), upload=upload)
        return {"url": client.url, **form, "upload": upload.decode("ascii")}


def pairs_by_tap(
    sky: Sky,
    target: TapReference,
    radius: u.Quantity,
    *,
    find: str,
    columns: list[str] | None,
    position: Any,
    epoch: float | None,
    chunk_rows: int | None,
    cache: bool,
) -> Pairs:
    """Return all pairs of a table and one of a TAP service.

    Parameters
    ----------
    sky : Sky
        The local table.
    target : TapReference
        The other one.
    radius : `~astropy.units.Quantity` [angle]
        Largest separation.
    find : str
        The find mode; some need to tell remote objects apart.
    columns : list of str, optional
        Remote columns to bring; all (of SIMBAD the usual ones) if not given.
    position : (str, str), optional
        Remote position columns, ICRS in degrees.
    epoch : float, optional
        Julian year of the remote positions.
    chunk_rows : int, optional
        Local rows in one request; ``conf.tap_chunk_rows`` if not given.
    cache : bool
        Whether answers are kept on disk, and kept ones are used.

    Returns
    -------
    Pairs

    Raises
    ------
    InputError
        If the service has no such table or columns.
    ServiceError
        If the service cannot be reached, refuses, or answers nonsense.
    """
    here, rows, inputs, facts = _prepare(sky, target, radius, find, epoch)
    coord = here[rows]
    with contextlib.closing(_client(target, cache=cache)) as client:
        client.limits()
        try:
            sought = _seek(client, target, radius, find=find, columns=columns, position=position)
        except Refused as refusal:
            raise ServiceError(f"{client.name} refused: {refusal}", url=client.url) from refusal
        fetcher = _Fetcher(client, sought, coord, radius)
        fetcher.fetch_all(_chunk(client, chunk_rows))
    facts["service"] = {
        "name": f"{'SIMBAD' if target.is_simbad else target.table} (TAP)",
        "url": client.url,
        "date": min(fetcher.days),  # of the oldest answer, if some were kept
        "reference": target.table,
        "requests": client.n_asked,
        "kept_answers": fetcher.n_kept,
        "query": sought.query,
    }
    pairs = _assemble(fetcher, rows, sought, target, inputs, facts)
    pairs.here = here
    pairs.probe = lambda places, reach: _nearest_at(sought, target, places, reach, cache=cache)
    return pairs


def _nearest_at(
    sought: ConeJoin, target: TapReference, coord: SkyCoord, radius: u.Quantity, *, cache: bool
) -> np.ndarray:
    """Ask the service for the separation [arcsec] of the nearest object at each of some positions."""
    places = coord.icrs
    nearest = np.full(len(places), np.inf)
    with contextlib.closing(_client(target, cache=cache)) as client:
        client.limits()
        step = _chunk(client, None)
        for start in range(0, len(places), step):
            part = places[start : start + step]
            upload = upload_document(part.ra.deg, part.dec.deg)
            try:
                found = client.look_up(
                    sought.nearest_query(radius),
                    f"the nearest objects of {len(part)} positions",
                    upload=upload,
                    job=len(part) > int(conf.tap_sync_rows),
                )
            except Refused as refusal:
                raise _refused(client, refusal) from refusal
            names = {name.lower(): name for name in reversed(found.colnames)}
            row, degrees = (numbers_of(found[names[n]]) if n in names else None for n in (ROW, DISTANCE))
            if row is None or degrees is None or not np.all((row >= 0) & (row < len(part)) & (degrees >= 0)):
                raise ServiceError(f"{client.name} answers nonsense about distances", url=client.url)
            np.minimum.at(nearest, start + row.astype(np.int64), degrees * 3600)
    return nearest


def _assemble(
    fetcher: _Fetcher,
    rows: np.ndarray,
    sought: ConeJoin,
    target: TapReference,
    inputs: list[str],
    facts: dict[str, Any],
) -> Pairs:
    local = rows[np.concatenate([part.rows for part in fetcher.parts]).astype(np.int64)]
    separation = np.concatenate([part.separation for part in fetcher.parts])
    table = stack_answers([part.table for part in fetcher.parts if part.table is not None])
    if sought.key is not None:
        # Of equally close ones the service's own numbers decide, not the order of the day.
        _, remote = np.unique(np.asarray(table[sought.key]), return_inverse=True)
    else:
        remote = remote_identity(table) if sought.needs_identity else np.arange(len(table))
    table.remove_columns([n for n in {*sought.there, sought.key} if n in table.colnames])
    if target.is_simbad:
        table = simbad.one_schema(table)
    if sought.wanted is not None:
        by_name = {name.lower(): name for name in reversed(table.colnames)}
        if missing := [name for name in sought.wanted if name.lower() not in by_name]:
            raise InputError(
                f"{target.name} has no column {', '.join(missing)}. It has: {', '.join(table.colnames)}"
            )
        chosen = [by_name[name.lower()] for name in sought.wanted]
        table = table[chosen] if chosen else QTable()
    return Pairs(local, remote, np.arange(len(local)), separation, table, np.inf, inputs, facts)
