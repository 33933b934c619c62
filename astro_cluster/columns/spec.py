"""What a column of ours is called and means."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RATIO", "ColumnSpec"]

RATIO = "meta.number;arith.ratio"
"""UCD of shares."""


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """What a column of ours is called and means.

    Parameters
    ----------
    pattern : str
        Name of the column; ``{index}`` stands for a running number.
    ucd : str
        An IVOA UCD1+ that ``astropy.io.votable.ucd.check_ucd`` accepts.
    description : str
        One sentence; words in braces are filled in by `add_column`.
    unit : str, optional
        Unit in which the column is stored.
    form : str, optional
        How its values are shown.
    """

    pattern: str
    ucd: str
    description: str
    unit: str | None = None
    form: str | None = None
