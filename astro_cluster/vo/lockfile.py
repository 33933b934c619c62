"""The file that says where the user's SAMP hub is."""

from __future__ import annotations

import http.client
import os
import urllib.request
from pathlib import Path

from astro_cluster.exceptions import InputError, ServiceError

__all__ = ["GET_A_HUB", "NoHubError", "lock_url", "read_lock"]

GET_A_HUB = (
    "start TOPCAT, which runs a hub, or run one by `astro-cluster hub` (in Python start_hub=True) "
    "and then start TOPCAT"
)
LOCK_SIZE = 65_536  # bytes; a lock file has about 300
PROFILE = "std-lockurl:"


class NoHubError(ServiceError):
    """No SAMP hub answers."""


def lock_url() -> str:
    """Return the address of the file that says where the user's hub is.

    Returns
    -------
    str
        The environment variable ``SAMP_HUB`` without its ``std-lockurl:``, or ``~/.samp``.

    Raises
    ------
    InputError
        If ``SAMP_HUB`` names another profile than the standard one, or a strange address.
    """
    place = os.environ.get("SAMP_HUB")
    if not place:
        return (Path.home() / ".samp").as_uri()
    if not place.startswith(PROFILE):
        raise InputError(
            f"the environment variable SAMP_HUB is {place!r}, and only addresses that begin with "
            f"{PROFILE!r} are understood: unset it, or set it to {PROFILE}file:///path/of/the/lockfile"
        )
    url = place.removeprefix(PROFILE)
    if not url.lower().startswith(("file:", "http:", "https:")):
        raise InputError(
            f"the environment variable SAMP_HUB is {place!r}, and a lock file is read from addresses that "
            "begin with file, http or https only"
        )
    return url


def read_lock(url: str, seconds: float) -> dict[str, str]:
    """Read the lock file of a hub.

    Parameters
    ----------
    url : str
        Address of the lock file.
    seconds : float
        Longest wait, where it is on another machine.

    Returns
    -------
    dict of str
        Has ``samp.secret`` and ``samp.hub.xmlrpc.url`` at least.

    Raises
    ------
    NoHubError
        If there is no such file.
    ServiceError
        If the file is not that of a hub.
    """
    try:
        with urllib.request.urlopen(url, timeout=seconds) as lock:  # noqa: S310  looked at by lock_url
            text = lock.read(LOCK_SIZE).decode("utf-8", "replace")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoHubError(f"no SAMP hub is running: {GET_A_HUB}", url=url) from error
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    found = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    if not (found.get("samp.secret") and found.get("samp.hub.xmlrpc.url")):
        raise ServiceError(
            "the lock file of the SAMP hub is not one (it lacks samp.secret or samp.hub.xmlrpc.url): "
            f"delete it, then {GET_A_HUB}",
            url=url,
        )
    # Some hubs write the address as a Java property, with backslashes before the colons.
    found["samp.hub.xmlrpc.url"] = found["samp.hub.xmlrpc.url"].replace("\\", "")
    if not found["samp.hub.xmlrpc.url"].lower().startswith("http://"):
        raise ServiceError(
            "the lock file of the SAMP hub names an address that does not begin with http://: "
            f"delete it, then {GET_A_HUB}",
            url=url,
        )
    return found
