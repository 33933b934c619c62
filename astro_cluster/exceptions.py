"""The errors and warnings of the package, so that a caller can tell whose fault it was."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from astropy.utils.exceptions import AstropyUserWarning

__all__ = ["AstroClusterWarning", "InputError", "ServiceError", "did_you_mean"]


class AstroClusterWarning(AstropyUserWarning):
    """Something was done differently from what the caller may expect."""


class InputError(ValueError):
    """The input cannot be used; the message says what, where and what to do next.

    The command line prints the message of this error, and of no other, as one line
    and exits with code 2.
    """


class ServiceError(RuntimeError):
    """A remote service or another program did not do what was asked of it.

    Parameters
    ----------
    reason : str
        What happened and what to do next.
    url : str, optional
        The address that was asked.
    """

    def __init__(self, reason: str, *, url: str | None = None) -> None:
        super().__init__(f"{reason} [{url}]" if url else reason)
        self.reason = reason
        self.url = url


def did_you_mean(name: object, allowed: Iterable[str], *, n: int = 3) -> str:
    """Return the end of a sentence that says "there is no such name".

    Parameters
    ----------
    name : object
        What was given.
    allowed : iterable of str
        What could have been meant.
    n : int, optional
        How many to propose at most.

    Returns
    -------
    str
        A question with the names that differ in case only, else with the nearest ones; a
        full stop if there is none.

    Examples
    --------
    >>> "there is no column 'x'" + did_you_mean("x", ["X", "Y"])
    "there is no column 'x'; did you mean 'X'?"
    """
    allowed, text = list(allowed), str(name)
    near = [other for other in allowed if other.lower() == text.lower()]
    near = near or difflib.get_close_matches(text, allowed, n=n, cutoff=0.6)
    return f"; did you mean {' or '.join(map(repr, near[:n]))}?" if near else "."
