"""What a TAP service says that it takes and gives: its capabilities."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from astro_cluster.services.answers import look_over

__all__ = ["Limits", "parse_capabilities"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a TAP service; None where it declares none.

    Parameters
    ----------
    declared : bool
        Whether its capabilities could be read at all.
    uploads : bool or None
        Whether it says that tables can be uploaded.
    upload_rows, upload_bytes : int or None
        The largest upload.
    output_rows : int or None
        Rows that it returns at most.
    default_rows : int or None
        Rows that it returns if it is not told how many.
    """

    declared: bool = False
    uploads: bool | None = None
    upload_rows: int | None = None
    upload_bytes: int | None = None
    output_rows: int | None = None
    default_rows: int | None = None


def _local(tag: object) -> str:
    return str(tag).rpartition("}")[2]


def _numbers(capability: ElementTree.Element, name: str) -> dict[tuple[str, str], int]:
    """Return the limits of one kind by (default or hard, unit)."""
    found: dict[tuple[str, str], int] = {}
    for element in capability.iter():
        if _local(element.tag) != name:
            continue
        for child in element:
            text = (child.text or "").strip()
            if text.isdigit() and int(text) > 0:
                found[_local(child.tag), child.get("unit", "row").strip().lower()] = int(text)
    return found


def parse_capabilities(content: bytes) -> Limits:
    """Read the capabilities of a TAP service (VOSI 1.1, TAPRegExt 1.0).

    Parameters
    ----------
    content : bytes
        The document.

    Returns
    -------
    Limits

    Raises
    ------
    ValueError
        If it is no such document.

    Examples
    --------
    >>> document = b'''<capabilities><capability standardID="ivo://ivoa.net/std/TAP">
    ... <uploadLimit><hard unit="row">1000</hard></uploadLimit></capability></capabilities>'''
    >>> parse_capabilities(document).upload_rows
    1000
    """
    look_over(content)
    try:
        root = ElementTree.fromstring(content)  # noqa: S314  entities are refused above
    except ElementTree.ParseError as error:
        raise ValueError(f"no capabilities: {error}") from error
    capability = next(
        (
            element
            for element in root.iter()
            if _local(element.tag) == "capability"
            and element.get("standardID", "").lower().rstrip("/") == "ivo://ivoa.net/std/tap"
        ),
        None,
    )
    if capability is None:
        raise ValueError("no capabilities of a TAP service")
    upload, output = _numbers(capability, "uploadLimit"), _numbers(capability, "outputLimit")
    methods = [e.get("ivo-id", "").lower() for e in capability.iter() if _local(e.tag) == "uploadMethod"]
    return Limits(
        declared=True,
        uploads=any(method.endswith("upload-inline") for method in methods),
        upload_rows=upload.get(("hard", "row"), upload.get(("default", "row"))),
        upload_bytes=upload.get(("hard", "byte"), upload.get(("default", "byte"))),
        output_rows=output.get(("hard", "row")),
        default_rows=output.get(("default", "row")),
    )
