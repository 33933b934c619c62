"""Parameters as plain JSON values, and back."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from astropy import units as u

from astro_cluster.exceptions import InputError

__all__ = ["decode", "encode", "register_codec", "to_json"]


class _Codec(NamedTuple):
    cls: type
    to_plain: Callable[[Any], Any]
    from_plain: Callable[[Any], Any]


_CODECS: dict[str, _Codec] = {}

# The keys of a dict that stands for something else.
_TAGS = (
    {"float"},
    {"quantity", "unit"},
    {"unit"},
    {"array"},
    {"items"},
    {"unrecorded"},
    {"type", "value"},
)


def register_codec(
    tag: str, cls: type, to_plain: Callable[[Any], Any], from_plain: Callable[[Any], Any]
) -> None:
    """Teach the record how to keep a kind of parameter.

    Parameters
    ----------
    tag : str
        Name of the kind in the record.
    cls : type
        Objects of this class are encoded.
    to_plain, from_plain : callable
        To plain JSON values and back.  ``to_plain`` may decline with a TypeError;
        ``from_plain`` sees what stood in a file and must refuse what it does not know.

    Examples
    --------
    >>> register_codec("complex", complex, lambda z: [z.real, z.imag], lambda v: complex(*v))
    >>> decode(encode(1 + 2j))
    (1+2j)
    """
    _CODECS[tag] = _Codec(cls, to_plain, from_plain)


def encode(value: Any) -> Any:
    """Turn a parameter into plain JSON values.

    Parameters
    ----------
    value : object
        A number, string, Quantity, array, path, list, dict or an object of a registered
        class.

    Returns
    -------
    object
        What `json.dumps` takes.  What cannot be kept becomes ``{"unrecorded": "<type>"}``.

    Examples
    --------
    >>> encode({"radius": 1 * u.arcsec})
    {'radius': {'quantity': 1.0, 'unit': 'arcsec'}}
    """
    match value:
        case None | bool() | str():
            return value
        case np.bool_():
            return bool(value)
        case int() | np.integer():
            return int(value)
        case float() | np.floating():
            return float(value) if math.isfinite(value) else {"float": str(float(value))}
        case u.Quantity():
            return {
                "quantity": encode(np.asarray(value.value, dtype=float).tolist()),
                "unit": str(value.unit),
            }
        case u.UnitBase():
            return {"unit": value.to_string()}
        case np.ndarray():
            return {"array": encode(value.tolist())}
        case os.PathLike():
            return os.fspath(value)
        case dict():
            plain = {str(key): encode(item) for key, item in value.items()}
            # One that looks like a tag of ours is written as pairs.
            return {"items": list(map(list, plain.items()))} if set(plain) in _TAGS else plain
        case list() | tuple() | range():
            return [encode(item) for item in value]
    for tag, codec in _CODECS.items():
        if isinstance(value, codec.cls):
            try:
                return {"type": tag, "value": encode(codec.to_plain(value))}
            except TypeError:  # the codec declines
                break
    return {"unrecorded": type(value).__name__}


def decode(value: Any) -> Any:
    """Turn plain values of a record back into parameters: the inverse of `encode`.

    Parameters
    ----------
    value : object
        What `encode` made.

    Returns
    -------
    object

    Raises
    ------
    InputError
        If the value could not be kept when the record was made, or its kind is unknown.

    Examples
    --------
    >>> decode({"quantity": 1.0, "unit": "arcsec"})
    <Quantity 1. arcsec>
    """
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) not in _TAGS:
        return {key: decode(item) for key, item in value.items()}
    try:
        return _decode_tagged(value)
    except InputError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        shown = str(value)[:80]
        raise InputError(f"the record is damaged: {shown} cannot be understood ({error})") from error


def _decode_tagged(value: dict[str, Any]) -> Any:
    keys = set(value)
    if keys == {"float"}:
        return float(value["float"])
    if keys == {"quantity", "unit"}:
        # By multiplication, so that a magnitude becomes a magnitude.
        return np.asarray(decode(value["quantity"]), dtype=float) * u.Unit(value["unit"])
    if keys == {"unit"}:
        return u.Unit(value["unit"])
    if keys == {"array"}:
        return np.array(decode(value["array"]))
    if keys == {"items"}:
        return {key: decode(item) for key, item in value["items"]}
    if keys == {"unrecorded"}:
        raise InputError(
            f"the record could not keep a parameter of type {value['unrecorded']}: "
            "run this step from Python with that parameter given"
        )
    if not isinstance(value["type"], str) or value["type"] not in _CODECS:
        raise InputError(
            f"the record has a parameter of unknown type {value['type']!r}; "
            "it may come from a newer version or from an extension that is not installed"
        )
    return _CODECS[value["type"]].from_plain(decode(value["value"]))


def to_json(history: list[dict[str, Any]]) -> str:
    """Write records as ASCII JSON, floats exactly.

    Parameters
    ----------
    history : list of dict
        What `records` gives.

    Returns
    -------
    str

    Examples
    --------
    >>> to_json([{"function": "read"}])
    '[{"function": "read"}]'
    """
    return json.dumps(history, ensure_ascii=True, allow_nan=False)
