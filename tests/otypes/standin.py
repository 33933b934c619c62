"""A service that answers as SIMBAD's TAP service does, or as it is told to."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.table import Table

import astro_cluster as ac

DATA = Path(ac.__file__).parent / "data"


def votable_of(table: Table, *, status: str = "OK") -> bytes:
    """Return a table as a TAP service answers it."""
    file = io.BytesIO()
    table.write(file, format="votable")
    info = f'<INFO name="QUERY_STATUS" value="{status}"/>'
    return file.getvalue().replace(
        b'<RESOURCE type="results">', b'<RESOURCE type="results">' + info.encode(), 1
    )


def otypedef() -> Table:
    """Return SIMBAD's table: today's types, shuffled, two new ones, one gone."""
    table = Table.read(DATA / "simbad_otypes.ecsv")
    table = table[table["otype"] != "MGr"]
    table["is_candidate"] = table["is_candidate"].astype(np.int16)
    for row in (
        ("LBV", "LBV*", "Luminous Blue Variable", 0, "* > Ma* > sg* > LBV"),
        ("LB?", "LBV*_Candidate", "Luminous Blue Variable Candidate", 1, "* > Ma* > sg* > LBV"),
    ):
        table.add_row(row)
    return table[np.random.default_rng(0).permutation(len(table))]


class Simbad:
    """A TAP service that answers what it is told to."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.count = len(table)
        self.queries: list[str] = []
        self.answer: Callable[[str], tuple[int, bytes]] = self.whole
        self.url = ""

    def whole(self, query: str) -> tuple[int, bytes]:
        """Answer as the service does."""
        if "COUNT" in query:
            return 200, votable_of(Table({"n": [self.count]}))
        return 200, votable_of(self.table)
