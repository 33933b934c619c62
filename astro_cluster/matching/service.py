"""Talking to the CDS X-Match service: its form, and what it says about an error.

Loaded only when a remote match is made, for it loads astroquery.
"""

from __future__ import annotations

from typing import Any

from astropy import units as u
from astropy.table import Table
from astroquery.xmatch import XMatchClass

from astro_cluster.config import conf
from astro_cluster.exceptions import ServiceError
from astro_cluster.matching.answers import DEC, RA, ROW, SEPARATION
from astro_cluster.services.answers import Answer, parse_answer, words_of
from astro_cluster.services.http import Asker, Passing, Refused, is_busy

__all__ = ["Service"]

_NAME = "the CDS X-Match service"
_SETTING = "conf.xmatch_url"
_LATER = (
    " Run the same match again later: answers that came already are kept in the cache and not asked again"
)


class Service(XMatchClass):
    """The CDS X-Match service at the address that ``conf`` has now.

    astroquery's own object keeps the address of the moment when it was loaded, keeps
    answers as pickles, and loses what the service says about an error.
    """

    def __init__(self) -> None:
        super().__init__()
        self.URL = conf.xmatch_url
        self.TIMEOUT = conf.timeout
        self._asker = Asker(_NAME, setting=_SETTING)

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

    def close(self) -> None:
        """End the connection."""
        self._asker.close()

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
        return self._asker.ask(lambda: self._ask_once(question), where, url=self.URL, advice=_LATER)

    def _ask_once(self, question: dict[str, Any]) -> tuple[bytes, Answer]:
        fields = {key: str(value) for key, value in question.items() if key != "cat1"}
        files = {"cat1": ("cat1.csv", question["cat1"])}
        reply = self._asker.send("POST", self.URL, data=fields, files=files)
        if reply.form_lost:
            raise ServiceError(f"{_NAME} has moved to {reply.url}: set {_SETTING} to that", url=self.URL)
        try:
            self._asker.check(reply, words_of)
        except Refused as refusal:
            self._refused(str(refusal), refusal.code)
        try:
            answer = parse_answer(reply.content)
        except ValueError as error:
            raise Passing(f"the answer is {error}") from error
        if answer.status == "ERROR":
            if is_busy(answer.text):
                raise Passing(answer.text)
            self._refused(answer.text or "an error without words", reply.code)
        if answer.table is not None and not {SEPARATION, ROW} <= set(answer.table.colnames):
            raise Passing(f"the answer is a VOTable without the columns {SEPARATION} and {ROW}")
        if answer.table is None and answer.status != "OK":
            raise Passing("the answer is a VOTable without a table")
        return reply.content, answer

    def _refused(self, text: str, code: int) -> None:
        if code == 403:
            raise ServiceError(
                f"{_NAME} refuses this address ({text}); it bans those who send matches in "
                "parallel, as several runs at once do. Write to cds-question@unistra.fr",
                url=self.URL,
            )
        raise ServiceError(
            f"{_NAME} refused the match: {text}. Check the name of the reference and of the columns",
            url=self.URL,
        )
