"""Talking to the CDS X-Match service: one question, asked until it is answered.

Loaded only when a remote match is made, for it loads astroquery.
"""

from __future__ import annotations

import io
import re
import time
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from astropy import units as u
from astropy.io import votable
from astropy.io.votable.exceptions import VOWarning
from astropy.table import Table
from astroquery.xmatch import XMatchClass

from astro_cluster.config import conf
from astro_cluster.exceptions import ServiceError
from astro_cluster.matching.answers import DEC, RA, ROW, SEPARATION

__all__ = ["Answer", "Service", "parse_answer"]

_NAME = "the CDS X-Match service"
_BUSY = re.compile(r"too many|try (?:again )?later|temporarily", re.IGNORECASE)


class _Passing(Exception):
    """A failure that another try may mend."""

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said: a table, or words."""

    table: Table | None
    status: str
    text: str


def parse_answer(content: bytes) -> Answer:
    """Read a VOTable as the service sends it.

    Parameters
    ----------
    content : bytes
        The document.

    Returns
    -------
    Answer
        ``status`` is OK, ERROR, OVERFLOW or empty.

    Raises
    ------
    ValueError
        If it is no whole VOTable.

    Examples
    --------
    >>> parse_answer(b'<VOTABLE version="1.4"><RESOURCE type="results"><INFO name="QUERY_STATUS" '
    ...              b'value="ERROR">no such table</INFO></RESOURCE></VOTABLE>').text
    'no such table'
    """
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
    infos = [*tree.infos, *(info for resource in tree.resources for info in resource.infos)]
    said = [(str(i.value).upper(), i.content or "") for i in infos if "QUERY_STATUS" in (i.name, i.ID)]
    # OVERFLOW stands behind the table, while OK may stand before it.
    status, text = next((s for s in said if s[0] != "OK"), said[0] if said else ("", ""))
    return Answer(table, status, " ".join(text.split()))


def _words(content: bytes) -> str:
    """Return what an error answer says, whatever it is written in."""
    try:
        text = parse_answer(content).text
    except ValueError:
        text = ""
    if not text:
        text = re.sub(r"<[^>]*>", " ", content[:4000].decode("utf-8", "replace"))
    return " ".join(text.split())[:400]


def _retry_after(header: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, in either of its two forms."""
    if not header:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


class Service(XMatchClass):
    """The CDS X-Match service at the address that ``conf`` has now.

    astroquery's own object keeps the address of the moment when it was loaded, keeps
    answers as pickles, and loses what the service says about an error.
    """

    def __init__(self) -> None:
        super().__init__()
        self.URL = conf.xmatch_url
        self.TIMEOUT = conf.timeout

    def is_table_available(self, table_id: Any) -> bool:
        """Trust the name: the service itself says, in the answer, if it has no such table."""
        return isinstance(table_id, str)

    def question(
        self,
        positions: Table,
        reference: str,
        radius: u.Quantity,
        *,
        columns: list[str] | None,
        selection: str,
    ) -> dict[str, Any]:
        """Return the form that `ask` sends; the upload, CSV text, stands under ``cat1``."""
        options = {"selection": selection, "MAXREC": str(conf.xmatch_max_rows), "cols1": ROW}
        if columns:
            options["cols2"] = ",".join(columns)
        payload, files = self.query_async(
            positions,
            reference,
            radius,
            colRA1=RA,
            colDec1=DEC,
            cache=False,
            get_query_payload=True,
            **options,
        )
        # astroquery would make "vizier:simbad" of it.
        return {**payload, "cat2": reference, "cat1": files["files"]["cat1"][1]}

    def ask(self, question: dict[str, Any], where: str) -> tuple[bytes, Answer]:
        """Send a question, again and again as ``conf.retries`` allows.

        Parameters
        ----------
        question : dict
            What `question` gives.
        where : str
            Which part of the table it is about, for errors.

        Returns
        -------
        content : bytes
            The answer as it came.
        answer : Answer
            The same, read.

        Raises
        ------
        ServiceError
            If there is no good answer in the end, or the service refuses.
        """
        wait = float(conf.retry_wait)
        for tries_left in range(int(conf.retries), -1, -1):
            try:
                return self._ask_once(question)
            except _Passing as trouble:
                reason, pause = str(trouble), trouble.wait if trouble.wait is not None else wait
            if tries_left == 0 or pause > conf.timeout:
                break
            time.sleep(pause)
            wait *= 2
        n_tries = int(conf.retries) - tries_left + 1
        tries = f"{n_tries} {'try' if n_tries == 1 else 'tries'}"
        longer = f" It asks to wait {pause:.0f} s." if pause > conf.timeout else ""
        raise ServiceError(
            f"{_NAME} did not answer for {where}, after {tries}: {reason}.{longer} Run the same match again "
            "later: answers that came already are kept in the cache and not asked again",
            url=self.URL,
        )

    def _ask_once(self, question: dict[str, Any]) -> tuple[bytes, Answer]:
        fields = {key: value for key, value in question.items() if key != "cat1"}
        files = {"cat1": ("cat1.csv", question["cat1"])}
        try:
            response = self._request(
                "POST", self.URL, data=fields, files=files, timeout=self.TIMEOUT, cache=False
            )
        except requests.Timeout as error:
            raise _Passing(f"no answer within {self.TIMEOUT:g} s") from error
        except requests.exceptions.ChunkedEncodingError as error:
            raise _Passing("the connection broke in the middle of the answer") from error
        except requests.ConnectionError as error:
            if "NameResolution" in str(error) or "Name or service not known" in str(error):
                raise ServiceError(
                    f"{_NAME} cannot be found: its name has no address here. Is there a network? Without "
                    "one, match with a file",
                    url=self.URL,
                ) from error
            raise _Passing(
                f"it cannot be reached; is there a network, and is the address right? ({str(error)[:200]})"
            ) from error
        except requests.RequestException as error:
            raise ServiceError(
                f"{_NAME} cannot be asked: {error}. Set conf.xmatch_url", url=self.URL
            ) from error
        self._check_status(response)
        try:
            answer = parse_answer(response.content)
        except ValueError as error:
            raise _Passing(f"the answer is {error}") from error
        if answer.status == "ERROR":
            self._refused(answer.text or "an error without words")
        if answer.table is not None and not {SEPARATION, ROW} <= set(answer.table.colnames):
            raise _Passing(f"the answer is a VOTable without the columns {SEPARATION} and {ROW}")
        if answer.table is None and answer.status != "OK":
            raise _Passing("the answer is a VOTable without a table")
        return response.content, answer

    def _check_status(self, response: requests.Response) -> None:
        if response.history and response.request.method != "POST":  # the form was lost on the way
            raise ServiceError(
                f"{_NAME} has moved to {response.url}: set conf.xmatch_url to that", url=self.URL
            )
        code = response.status_code
        if code < 400:
            return
        text = _words(response.content)
        if code == 429 or code >= 500:
            raise _Passing(
                f"HTTP {code} {text}".rstrip(), wait=_retry_after(response.headers.get("Retry-After"))
            )
        if code == 403:
            raise ServiceError(
                f"{_NAME} refuses this address (HTTP 403 {text}); it bans those who send matches in "
                "parallel, as several runs at once do. Write to cds-question@unistra.fr",
                url=self.URL,
            )
        self._refused(f"HTTP {code} {text}".rstrip())

    def _refused(self, text: str) -> None:
        if _BUSY.search(text):
            raise _Passing(text)
        raise ServiceError(
            f"{_NAME} refused the match: {text}. Check the name of the reference and of the columns",
            url=self.URL,
        )
