"""The errors and warnings of the package, so that a caller can tell whose fault it was."""

from __future__ import annotations

from astropy.utils.exceptions import AstropyUserWarning

__all__ = ["AstroClusterWarning", "InputError", "ServiceError"]


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
