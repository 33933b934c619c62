"""A client of the Table Access Protocol that never takes a part of an answer for the whole.

pyvo's client cuts at a default MAXREC with a warning, tries a broken transfer not again, and reads
without limit; here its ways (TAP 1.1, UWS 1.1) are walked on `astro_cluster.services.http`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
import requests

from astro_cluster.config import conf
from astro_cluster.exceptions import InputError, ServiceError, did_you_mean
from astro_cluster.services.adql import bare, literal, table_name
from astro_cluster.services.answers import Answer, parse_answer, words_of
from astro_cluster.services.cache import AnswerCache
from astro_cluster.services.http import Asker, Refused, check_address
from astro_cluster.services.limits import Limits, parse_capabilities
from astro_cluster.services.uws import Jobs, read_reply

__all__ = ["UPLOAD_NAME", "ColumnFacts", "TapClient", "query_form", "texts_of"]

UPLOAD_NAME = "ac_local"
_PART = "ac_upload"
_LATER = (
    " Run the same match again later: answers that came already are kept in the cache and not asked again"
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """What TAP_SCHEMA says of a column; ``quoted`` is its name as it stands there."""

    quoted: str
    unit: str
    ucd: str
    datatype: str
    description: str


def query_form(adql: str, *, max_rows: int, upload: bytes | None = None) -> dict[str, str]:
    """Return the fields of the form of a query.

    Parameters
    ----------
    adql : str
        The query.
    max_rows : int
        MAXREC: how many rows to return at most.
    upload : bytes, optional
        A VOTable, which the query calls ``TAP_UPLOAD.ac_local``; it goes beside the fields.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> query_form("SELECT 1", max_rows=10)["MAXREC"]
    '10'
    """
    form = {"REQUEST": "doQuery", "LANG": "ADQL", "QUERY": adql, "MAXREC": str(max_rows)}
    if upload is not None:
        form["UPLOAD"] = f"{UPLOAD_NAME},param:{_PART}"
    return form


def texts_of(table: Any, name: str) -> list[str]:
    """Return a column, by its name in any case, as texts; empty ones if it is missing or masked."""
    by_name = {column.lower(): column for column in table.colnames}
    if name not in by_name:
        return [""] * len(table)
    column = table[by_name[name]]
    mask = np.broadcast_to(getattr(column, "mask", False), (len(table),))
    return [
        "" if hidden or value is None else str(value).strip()
        for value, hidden in zip(np.ma.getdata(column).tolist(), mask, strict=True)
    ]


class TapClient:
    """One TAP service.

    Parameters
    ----------
    url : str
        Its address, without ``/sync``.
    name : str, optional
        What to call it in messages.
    setting : str, optional
        Where the address is from, in messages.
    cache : bool, optional
        Whether answers are kept on disk, and kept ones are used.
    session : `requests.Session`, optional
        One with a login.

    Raises
    ------
    ServiceError
        If the address is none.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str | None = None,
        setting: str = "the address of the reference",
        cache: bool = False,
        session: requests.Session | None = None,
    ) -> None:
        self.url = check_address(url, setting=setting).rstrip("/")
        self.name = name or f"the TAP service at {urlsplit(url).netloc}"
        self.cache = AnswerCache(active=cache, kind="tap")
        self.n_asked = 0
        self._asker = Asker(self.name, setting=setting, interval=float(conf.tap_interval), session=session)
        self._jobs = Jobs(self._asker, f"{self.url}/async", self.cache)
        self._limits: Limits | None = None

    def close(self) -> None:
        """End the connection."""
        self._asker.close()

    def limits(self) -> Limits:
        """Return what the service declares; nothing if it declares nothing that can be read.

        Raises
        ------
        ServiceError
            If the service cannot be reached.
        """
        if self._limits is None:
            key = {"url": self.url, "what": "capabilities"}
            content = self.cache.get(key, ending="xml")
            if content is None:
                content = self._ask_capabilities()
                self.cache.put(key, content, ending="xml")
            try:
                self._limits = parse_capabilities(content)
            except ValueError:
                self._limits = Limits()
        return self._limits

    def _ask_capabilities(self) -> bytes:
        def attempt() -> bytes:
            reply = self._asker.send("GET", f"{self.url}/capabilities")
            if reply.code in (429, 503):
                self._asker.check(reply, words_of)
            # A service without this document may well answer queries.
            return reply.content if reply.code < 400 else b""

        return self._asker.ask(attempt, "its capabilities", url=self.url, advice=_LATER)

    def look_up(self, adql: str, where: str, *, upload: bytes | None = None, job: bool = False) -> Any:
        """Return the table that a small query gives, from the cache if it is there.

        Parameters
        ----------
        adql : str
            The query.
        where : str
            What is asked for, in messages.
        upload : bytes, optional
            The VOTable that it uploads.
        job : bool, optional
            Whether to make an asynchronous job of it.

        Returns
        -------
        `~astropy.table.Table`

        Raises
        ------
        Refused
            If the service refuses.
        ServiceError
            If it gives no good answer, or one that is cut.
        """
        form = query_form(adql, max_rows=self.max_rows(), upload=upload)
        key = {"url": self.url, **form, **({} if upload is None else {"upload": upload.decode("ascii")})}
        kept = self.cache.get(key)
        if kept is not None:
            try:
                answer = parse_answer(kept)
            except ValueError:
                answer = None
            if answer is not None and answer.table is not None:
                return answer.table

        def keep(content: bytes, answer: Answer) -> None:
            if answer.status == "OVERFLOW":
                raise ServiceError(f"{self.name} cuts its answer about {where}", url=self.url)
            self.cache.put(key, content)

        return self.ask(form, upload, key, where, lambda answer: answer, keep, job=job).table

    def max_rows(self) -> int:
        """Return how many rows to ask for at most."""
        declared = self._limits.output_rows if self._limits else None
        return min(declared or int(conf.tap_max_rows), int(conf.tap_max_rows))

    def columns(self, table: str) -> dict[str, ColumnFacts]:
        """Return what the service says of the columns of a table, by their names.

        Parameters
        ----------
        table : str
            As it is given to `~astro_cluster.services.adql.table_name`.

        Returns
        -------
        dict of str to ColumnFacts
            Empty if the service does not describe its tables.

        Raises
        ------
        InputError
            If it describes tables, and not this one.
        ServiceError
            If it gives no good answer.
        """
        spellings = sorted({table, bare(table), table_name(table), table.lower()})
        names = ", ".join(literal(name) for name in spellings)
        try:
            query = f"SELECT * FROM TAP_SCHEMA.columns WHERE table_name IN ({names})"  # noqa: S608  quoted
            found = self.look_up(query, f"the columns of {table}")
            if not len(found):
                known = self.look_up("SELECT table_name FROM TAP_SCHEMA.tables", "the names of its tables")
        except Refused:
            return {}
        if not len(found):
            tables = [bare(name) for name in texts_of(known, "table_name")]
            ends = [name for name in tables if name.rpartition(".")[2].lower() == table.lower()]
            hint = (
                f"; did you mean {' or '.join(map(repr, ends[:3]))}?" if ends else did_you_mean(table, tables)
            )
            raise InputError(f"{self.name} has no table {table!r}{hint}")
        fields = ("column_name", "unit", "ucd", "datatype", "description")
        rows = zip(*(texts_of(found, name) for name in fields), strict=True)
        return {bare(row[0]): ColumnFacts(*row) for row in rows if row[0]}

    def ask(
        self,
        form: dict[str, str],
        upload: bytes | None,
        key: dict[str, Any],
        where: str,
        read: Callable[[Answer], T],
        keep: Callable[[bytes, T], object],
        *,
        job: bool = False,
    ) -> T:
        """Ask a query until it is answered.

        Parameters
        ----------
        form : dict
            What `query_form` gives.
        upload : bytes or None
            The VOTable that it uploads.
        key : dict
            The whole question, by which a job is found again.
        where : str
            What is asked for, in messages.
        read : callable
            Makes of the answer what is wanted; raises
            `~astro_cluster.services.uws.BadAnswer` if it is not in there.
        keep : callable
            Gets the answer as it came, and what ``read`` made of it, before a job is deleted.
        job : bool, optional
            Whether to make an asynchronous job of it.

        Returns
        -------
        object
            What ``read`` made of the answer.

        Raises
        ------
        Refused
            If the service refuses; with its words.
        ServiceError
            If there is no good answer in the end.
        """
        files = {} if upload is None else {_PART: (f"{_PART}.vot", upload, "application/x-votable+xml")}
        self.n_asked += 1
        if job:
            return self._jobs.run(form, files, key, where, read, keep)

        def attempt() -> tuple[bytes, T]:
            reply = self._asker.send("POST", f"{self.url}/sync", data=form, files=files or None)
            if reply.form_lost:
                raise ServiceError(
                    f"{self.name} has moved to {reply.url}: set {self._asker.setting} to that", url=self.url
                )
            return reply.content, read_reply(self._asker.check(reply, words_of), read)

        content, result = self._asker.ask(attempt, where, url=self.url, advice=_LATER)
        keep(content, result)
        return result
