"""Configuration, read when it is used and never at import.

Addresses of services, time limits and sizes live in one `astropy.config` namespace;
they can be set in the file ``astro_cluster.cfg`` or for a block of code::

    with ac.conf.set_temp("xmatch_url", "http://127.0.0.1:8080/xmatch/api/v1/sync"):
        ac.crossmatch(cat, "simbad")
"""

from __future__ import annotations

from typing import Any

from astropy import config

__all__ = ["Conf", "conf"]


class _Item(config.ConfigItem):
    """An item that is kept in our own file, not in a section of astropy's."""

    rootname = "astro_cluster"

    def __init__(self, default: Any, description: str) -> None:
        super().__init__(default, description, module="astro_cluster")


class Conf(config.ConfigNamespace):
    """Configuration of astro_cluster."""

    rootname = "astro_cluster"

    xmatch_url = _Item(
        "http://cdsxmatch.u-strasbg.fr/xmatch/api/v1/sync",
        "Address of the CDS X-Match service.",
    )
    csc_tap_url = _Item(
        "https://cda.cfa.harvard.edu/csc21tap",
        "Address of the TAP service of the Chandra Source Catalog.",
    )
    csc_tap_schema = _Item("csc21", "Schema of its tables; that of release 2.0, at csc2tap, is csc2.")
    timeout = _Item(300.0, "Seconds to wait for an answer of a remote service.")
    xmatch_chunk_rows = _Item(50_000, "Rows sent to the CDS X-Match service in one request.")
    xmatch_max_rows = _Item(
        2_000_000, "Rows that the CDS X-Match service returns at most; an answer of this length is cut."
    )
    retries = _Item(4, "How often a failed request is tried again.")
    retry_wait = _Item(2.0, "Seconds before the first new try; doubled before each further one.")
    checkpoint_interval = _Item(30.0, "Seconds between two writings of a checkpoint of a running fit.")
    cache_dir = _Item(
        "", "Folder of the answers of remote services; empty for the folder of the astropy cache."
    )


conf = Conf()
