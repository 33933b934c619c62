"""The pairs of a match, wherever the reference is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from astropy import units as u

from astro_cluster.config import conf
from astro_cluster.exceptions import InputError
from astro_cluster.matching import cds, tap
from astro_cluster.matching.candidates import Pairs, Sky, pairs_at_hand, pairs_of_service, service_request
from astro_cluster.matching.reference import LocalReference, RemoteReference, TapReference

__all__ = ["Sought", "first_request", "gather_pairs"]

Target = LocalReference | RemoteReference | TapReference


@dataclass(frozen=True, slots=True)
class Sought:
    """What of the remote table is wanted.

    Parameters
    ----------
    find : str
        The find mode; a service may send less for some.
    columns : list of str, optional
        Remote columns; all if not given.
    position : (str, str) or str, optional
        Remote columns of position.
    epoch : float, optional
        Julian year of the remote positions.
    chunk_rows : int, optional
        Local rows in one request to a service.
    cache : bool
        Whether answers of services are kept, and kept ones are used.
    """

    find: str
    columns: list[str] | None = None
    position: Any = None
    epoch: float | None = None
    chunk_rows: int | None = None
    cache: bool = True

    def of_tap(self) -> dict[str, Any]:
        """Return the same as the arguments of `~astro_cluster.matching.tap.pairs_by_tap`."""
        return {name: getattr(self, name) for name in self.__slots__}


def _request(
    sky: Sky, target: RemoteReference, radius: u.Quantity, sought: Sought
) -> tuple[dict[str, Any], list[str], dict[str, Any]]:
    if sought.position is not None:
        raise InputError(f"the service knows the positions of {target.name}: leave reference_position out")
    return service_request(
        sky,
        target,
        radius,
        find=sought.find,
        columns=sought.columns,
        epoch=sought.epoch,
        chunk_rows=sought.chunk_rows or int(conf.xmatch_chunk_rows),
    )


def first_request(sky: Sky, target: Target, radius: u.Quantity, sought: Sought) -> dict[str, Any]:
    """Return the first request to a service, unsent.

    Parameters
    ----------
    sky, target, radius, sought
        As in `gather_pairs`.

    Returns
    -------
    dict

    Raises
    ------
    InputError
        If the reference is at hand.
    """
    if isinstance(target, LocalReference):
        raise InputError("get_query_payload shows a request to a service; a match at hand sends none")
    if isinstance(target, TapReference):
        return tap.first_query(sky, target, radius, **sought.of_tap())
    return cds.first_question(**_request(sky, target, radius, sought)[0])


def gather_pairs(sky: Sky, target: Target, radius: u.Quantity, sought: Sought) -> Pairs:
    """Return the pairs of a table and a reference.

    Parameters
    ----------
    sky : Sky
        The local table.
    target : LocalReference, RemoteReference or TapReference
        The other one.
    radius : `~astropy.units.Quantity` [angle]
        Largest separation.
    sought : Sought
        What of it is wanted.

    Returns
    -------
    Pairs
    """
    if isinstance(target, LocalReference):
        return pairs_at_hand(
            sky,
            target,
            radius,
            columns=sought.columns,
            position=sought.position,
            epoch=sought.epoch,
            nearest=sought.find in ("each", "each-dist", "best"),
        )
    if isinstance(target, TapReference):
        return tap.pairs_by_tap(sky, target, radius, **sought.of_tap())
    request, inputs, facts = _request(sky, target, radius, sought)
    pairs = pairs_of_service(request, find=sought.find, columns=sought.columns, cache=sought.cache)
    pairs.inputs = inputs
    pairs.facts.update(facts)
    return pairs
