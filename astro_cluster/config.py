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
    simbad_tap_url = _Item(
        "https://simbad.cds.unistra.fr/simbad/sim-tap", "Address of the TAP service of SIMBAD."
    )
    vizier_tap_url = _Item(
        "https://tapvizier.cds.unistra.fr/TAPVizieR/tap", "Address of the TAP service of VizieR."
    )
    registry_url = _Item(
        "https://reg.g-vo.org/tap", "Address of the registry (RegTAP) that knows where ivo:// services are."
    )
    tap_chunk_rows = _Item(
        20_000, "Rows sent to a TAP service in one request, if it does not declare a lower limit."
    )
    tap_sync_rows = _Item(2_000, "Requests with more rows than this are asynchronous jobs at a TAP service.")
    tap_max_rows = _Item(
        2_000_000, "Rows asked from a TAP service at most (MAXREC), if it does not declare a lower limit."
    )
    tap_interval = _Item(
        0.25, "Seconds between two requests to the host of a TAP service; SIMBAD bans more than 5 a second."
    )
    tap_job_time = _Item(
        3600.0, "Seconds to wait for an asynchronous job; one that is not ready is picked up by the next run."
    )
    answer_time = _Item(1800.0, "Seconds in which an answer must be there as a whole, however it trickles.")
    max_answer_bytes = _Item(500_000_000, "Bytes that an answer of a service may have, unpacked.")
    false_match_rows = _Item(
        2000, "Positions sent to a service, in one more request, to tell how many matches are false; 0: none."
    )
    max_reference_bytes = _Item(
        2**31, "Bytes above which the reference of a match at hand is read a chunk of rows at a time."
    )
    retries = _Item(4, "How often a failed request is tried again.")
    retry_wait = _Item(2.0, "Seconds before the first new try; doubled before each further one.")
    checkpoint_interval = _Item(30.0, "Seconds between two writings of a checkpoint of a running fit.")
    max_message_bytes = _Item(256_000_000, "Bytes that a SAMP message or the answer of a SAMP hub may have.")
    max_received_bytes = _Item(2_000_000_000, "Bytes that a table may have that comes by SAMP, unpacked.")
    max_votable_bytes = _Item(2**34, "Bytes that a VOTable may have, unpacked.")
    max_image_bytes = _Item(2**30, "Bytes that the file or the pixels of an image may have, unpacked.")
    cache_dir = _Item(
        "", "Folder of the answers of remote services; empty for the folder of the astropy cache."
    )


conf = Conf()
