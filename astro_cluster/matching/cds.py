"""A match with SIMBAD or a VizieR table by the CDS X-Match service.

Only row numbers and positions go out, in chunks, one after another (the service bans
parallel jobs).  An answer that is cut is never taken for a whole one.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table

from astro_cluster.config import conf
from astro_cluster.exceptions import InputError, ServiceError
from astro_cluster.matching import simbad
from astro_cluster.matching.answers import DEC, RA, ROW, SEPARATION, stack_answers
from astro_cluster.services.cache import AnswerCache

if TYPE_CHECKING:
    from astro_cluster.matching.service import Service
    from astro_cluster.services.answers import Answer

__all__ = ["MAX_RADIUS", "RemotePairs", "fetch_pairs", "first_question"]

MAX_RADIUS = 180 * u.arcsec


@dataclass(frozen=True, slots=True)
class _Request:
    """What is the same for all chunks of a match."""

    reference: str
    radius: u.Quantity
    columns: list[str] | None
    selection: str
    ra: np.ndarray
    dec: np.ndarray


@dataclass(slots=True)
class RemotePairs:
    """All pairs that the service found.

    Parameters
    ----------
    local : (m,) array of int
        Row of the local table.
    separation : (m,) array of float
        In arcsec, as the service rounds it.
    table : `~astropy.table.QTable`
        The remote columns, a row a pair.
    facts : dict
        Name and address of the service, the day, the number of requests.
    """

    local: np.ndarray
    separation: np.ndarray
    table: QTable
    facts: dict[str, Any] = field(default_factory=dict)


def _check_radius(radius: u.Quantity) -> None:
    if radius > MAX_RADIUS:
        raise InputError(
            f"the CDS X-Match service takes a radius of at most 180 arcsec, not {radius.to(u.arcsec):g}; "
            "match with a table at hand for a larger one"
        )


def _prepare(coord: SkyCoord, valid: np.ndarray, **same: Any) -> tuple[_Request, np.ndarray]:
    if same["reference"] == "simbad" and same["columns"]:
        same["columns"] = simbad.asked_of_xmatch(same["columns"])
    rows = np.flatnonzero(valid)
    icrs = coord.icrs[rows]
    return _Request(ra=icrs.ra.deg, dec=icrs.dec.deg, **same), rows


def _question(service: Service, request: _Request, start: int, stop: int) -> dict[str, Any]:
    # Numbers within the chunk, so that rows added at the end of a table leave its kept answers valid.
    positions = Table(
        {ROW: np.arange(stop - start), RA: request.ra[start:stop], DEC: request.dec[start:stop]}
    )
    return service.question(
        positions, request.reference, request.radius, columns=request.columns, selection=request.selection
    )


def first_question(
    coord: SkyCoord,
    valid: np.ndarray,
    reference: str,
    radius: u.Quantity,
    *,
    columns: list[str] | None,
    selection: str,
    chunk_rows: int,
) -> dict[str, Any]:
    """Return the form of the first request, unsent.

    Parameters
    ----------
    coord, valid, reference, radius, columns, selection, chunk_rows
        As in `fetch_pairs`.

    Returns
    -------
    dict
        The fields of the form; ``cat1`` is the uploaded CSV.

    Examples
    --------
    >>> form = first_question(SkyCoord([10.0] * u.deg, [5.0] * u.deg), np.array([True]), "simbad",
    ...                       1 * u.arcsec, columns=None, selection="all", chunk_rows=100)
    >>> form["cat2"], form["cat1"].split()
    ('simbad', ['ac_row,ac_ra,ac_dec', '0,10.0,5.0'])
    """
    from astro_cluster.matching.service import Service

    _check_radius(radius)
    request, rows = _prepare(
        coord, valid, reference=reference, radius=radius, columns=columns, selection=selection
    )
    return _question(Service(), request, 0, min(chunk_rows, len(rows)))


def _is_cut(answer: Answer) -> bool:
    n_rows = 0 if answer.table is None else len(answer.table)
    return answer.status == "OVERFLOW" or n_rows >= conf.xmatch_max_rows


def _row_numbers(answer: Answer, n_rows: int) -> np.ndarray | None:
    """Return the row of the chunk that each answered pair belongs to; None if that is nonsense."""
    if answer.table is None:
        return np.empty(0, dtype=np.int64)
    column = answer.table[ROW]
    if np.any(getattr(column, "mask", False)):
        return None
    try:
        numbers = np.asarray(column).astype(float)
    except ValueError:
        return None
    if not np.all((numbers >= 0) & (numbers < n_rows) & (numbers == np.floor(numbers))):
        return None
    return numbers.astype(np.int64)


def _kept_answer(cache: AnswerCache, question: dict[str, Any], n_rows: int) -> Answer | None:
    from astro_cluster.services.answers import parse_answer

    content = cache.get(question)
    if content is None:
        return None
    try:
        answer = parse_answer(content)
    except ValueError:
        return None
    if answer.table is not None and not {SEPARATION, ROW} <= set(answer.table.colnames):
        return None
    return answer if _row_numbers(answer, n_rows) is not None else None


class _Fetcher:
    """Asks chunk after chunk; halves those whose answer is cut."""

    def __init__(self, request: _Request, *, cache: bool) -> None:
        from astro_cluster.matching.service import Service

        self.request = request
        self.service = Service()
        self.cache = AnswerCache(active=cache)
        self.parts: list[tuple[np.ndarray, Table]] = []
        self.days: list[str] = []
        self.n_asked = 0
        self.n_kept = 0

    def fetch(self, start: int, stop: int) -> None:
        """Collect the pairs of the rows from start to stop."""
        question = _question(self.service, self.request, start, stop)
        key = {"url": self.service.URL, **question}
        where = f"rows {start} to {stop - 1} of the {len(self.request.ra)} with a position"
        answer = _kept_answer(self.cache, key, stop - start)
        if answer is None:
            content, answer = self.service.ask(question, where)
            self.n_asked += 1
            if _is_cut(answer):
                self._halve(start, stop)
                return
            if _row_numbers(answer, stop - start) is None:
                raise ServiceError(
                    f"the CDS X-Match service answered for {where} with row numbers that were not sent; "
                    "nothing of the answer was used. Run the match again",
                    url=self.service.URL,
                )
            self.cache.put(key, content)
        else:
            self.n_kept += 1
        self.days.append(self.cache.day(key))
        if answer.table is not None:
            numbers = _row_numbers(answer, stop - start)
            assert numbers is not None  # noqa: S101
            self.parts.append((numbers + start, answer.table))

    def _halve(self, start: int, stop: int) -> None:
        if stop - start == 1:
            raise ServiceError(
                f"position {start} (counted from 0 among those that are known) alone has more than "
                f"{conf.xmatch_max_rows} counterparts, more than the CDS X-Match service returns: "
                "take a smaller radius",
                url=self.service.URL,
            )
        middle = (start + stop) // 2
        self.fetch(start, middle)
        self.fetch(middle, stop)


def fetch_pairs(
    coord: SkyCoord,
    valid: np.ndarray,
    reference: str,
    radius: u.Quantity,
    *,
    columns: list[str] | None,
    selection: str,
    chunk_rows: int,
    cache: bool,
) -> RemotePairs:
    """Ask the CDS X-Match service for all pairs within a radius.

    Parameters
    ----------
    coord : (n,) `~astropy.coordinates.SkyCoord`
        Local positions.
    valid : (n,) array of bool
        Rows that have a position.
    reference : str
        ``simbad`` or ``vizier:`` and the name of a table.
    radius : `~astropy.units.Quantity` [angle]
        At most 180 arcsec.
    columns : list of str, optional
        Remote columns to ask for, those of SIMBAD by any of their names
        (`astro_cluster.matching.simbad`); those that the service chooses if not given.
    selection : {"all", "best"}
        All remote rows of a local one, or the nearest only.
    chunk_rows : int
        Local rows in one request.
    cache : bool
        Whether answers are kept on disk, and kept ones are used.

    Returns
    -------
    RemotePairs

    Raises
    ------
    InputError
        If the radius is too large.
    ServiceError
        If the service cannot be reached, refuses, or answers nonsense.
    """
    _check_radius(radius)
    request, rows = _prepare(
        coord, valid, reference=reference, radius=radius, columns=columns, selection=selection
    )
    fetcher = _Fetcher(request, cache=cache)
    with contextlib.closing(fetcher.service):
        for start in range(0, len(rows), chunk_rows):
            fetcher.fetch(start, min(start + chunk_rows, len(rows)))
    numbers = [part[0] for part in fetcher.parts]
    answers = [part[1] for part in fetcher.parts]
    separations = [np.ma.getdata(table[SEPARATION]).astype(float) for table in answers]
    facts = {
        "name": "CDS X-Match",
        "url": fetcher.service.URL,
        "date": min(fetcher.days),  # of the oldest answer, if some were kept
        "reference": reference,
        "requests": fetcher.n_asked,
        "kept_answers": fetcher.n_kept,
    }
    none = np.empty(0, dtype=np.int64)
    found = stack_answers(answers)
    return RemotePairs(
        local=rows[np.concatenate(numbers)] if numbers else none,
        separation=np.concatenate(separations) if separations else np.empty(0),
        table=simbad.one_schema(found) if reference == "simbad" else found,
        facts=facts,
    )
