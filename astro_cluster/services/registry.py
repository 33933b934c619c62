"""Where a service of the Virtual Observatory is, from its identifier (RegTAP 1.1)."""

from __future__ import annotations

import re

from astro_cluster.exceptions import InputError, ServiceError
from astro_cluster.services.adql import literal
from astro_cluster.services.http import Refused, check_address
from astro_cluster.services.tap import TapClient, texts_of

__all__ = ["find_service"]

_IVOID = re.compile(r"ivo://[\w.~-]+(?:/[\w.~*'()+=:@!$,;&%/-]*)?", re.IGNORECASE)


def find_service(registry: TapClient, ivoid: str) -> str:
    """Return the address of the TAP service that an identifier stands for.

    Parameters
    ----------
    registry : TapClient
        A registry.
    ivoid : str
        Identifier of a TAP service, or of a resource that is reached by one, such as
        ``ivo://cds.vizier/tap``.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If it is no identifier, or the registry knows no TAP service by it.
    ServiceError
        If the registry gives no good answer.
    """
    if not _IVOID.fullmatch(ivoid) or len(ivoid) > 400:
        raise InputError(f"{ivoid[:100]!r} is no identifier of a service: it looks like ivo://authority/name")
    query = (
        "SELECT access_url FROM rr.capability NATURAL JOIN rr.interface "  # noqa: S608  quoted
        f"WHERE ivoid = {literal(ivoid.lower().rstrip('/'))} "
        "AND standard_id LIKE 'ivo://ivoa.net/std/tap%' AND intf_role LIKE 'std'"
    )
    try:
        found = registry.look_up(query, f"the service {ivoid}")
    except Refused as refusal:
        raise ServiceError(f"{registry.name} refused: {refusal}", url=registry.url) from refusal
    urls = sorted({url for url in texts_of(found, "access_url") if url})
    if not urls:
        raise InputError(
            f"{registry.name} ({registry.url}) knows no TAP service {ivoid!r}; give its address: "
            "https://host/tap#table"
        )
    https = [url for url in urls if url.lower().startswith("https://")]
    return check_address((https or urls)[0])
