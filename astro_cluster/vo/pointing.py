"""From a row to a place on the sky and back, and other programs pointed there."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from astro_cluster.exceptions import InputError
from astro_cluster.vo.hub import Client, HubConnection
from astro_cluster.vo.line import tell
from astro_cluster.vo.samp import wanted_of

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["POINT", "Pointer"]

POINT = "coord.pointAt.sky"
_NEAR = np.deg2rad(1.0 / 3600.0)  # a position is that of a row if it is not farther away
_ECHO_SECONDS = 3.0


class Pointer:
    """The positions of a table, and who is pointed at them.

    It is true if there is somebody to be pointed.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Table of n rows.
    programs : str or sequence of str
        Names of those that are pointed at the clicked row.
    position : optional
        Columns, as for `~astro_cluster.matching.find_position`.

    Raises
    ------
    InputError
        If there are programs, or columns are given, and the table has no positions.
    """

    def __init__(
        self, table: QTable, programs: str | Sequence[str], position: str | Sequence[str] | None
    ) -> None:
        names = programs.split(",") if isinstance(programs, str) else programs
        self._programs = tuple(wanted_of(name) for name in names)
        self._absent: set[str] = set()
        self._pointed: list[tuple[float, str, tuple[float, float]]] = []
        self.clicked_by = ""
        self._table, self._position = table, position
        if self._programs or position is not None:
            self._places = _unit_vectors(table, position)

    @functools.cached_property
    def _places(self) -> np.ndarray | None:
        """Where the rows are, found out when somebody points; None if the table has no positions."""
        try:
            return _unit_vectors(self._table, self._position)
        except InputError:
            return None

    def __bool__(self) -> bool:
        return bool(self._programs)

    def nearest(self, position: tuple[float, float]) -> int | None:
        """Return the row at a position.

        Parameters
        ----------
        position : (float, float)
            Right ascension and declination, ICRS, deg.

        Returns
        -------
        int or None
            None if none is within an arcsecond.
        """
        if self._places is None or not len(self._places):
            return None
        ra, dec = np.deg2rad(position)
        place = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
        apart = self._places - place
        chord = np.einsum("ij,ij->i", apart, apart)
        row = int(np.argmin(np.where(np.isnan(chord), np.inf, chord)))
        return row if chord[row] <= _NEAR**2 else None

    def of(self, row: int) -> tuple[float, float] | None:
        """Return the position of a row.

        Parameters
        ----------
        row : int
            From 0.

        Returns
        -------
        (float, float) or None
            Right ascension and declination, ICRS, deg; None if it has none.
        """
        if self._places is None or np.isnan(self._places[row]).any():
            return None
        x, y, z = self._places[row]
        return float(np.rad2deg(np.arctan2(y, x)) % 360.0), float(np.rad2deg(np.arctan2(z, np.hypot(x, y))))

    def point(self, hub: HubConnection, row: int) -> None:
        """Point the programs at a row; whoever told of the click is left alone.

        Parameters
        ----------
        hub : HubConnection
            Where they are.
        row : int
            From 0.
        """
        place = self.of(row)
        if place is None:
            return
        clients = [client for client in hub.clients(POINT) if client.subscribed]
        for program in self._programs:
            meant = [c for c in clients if program in ("all", c.name.casefold(), c.identifier.casefold())]
            self._miss(program, absent=not meant)
            for client in meant:
                if client.identifier != self.clicked_by:
                    self._tell(hub, client, place)

    def _tell(self, hub: HubConnection, client: Client, place: tuple[float, float]) -> None:
        now = time.monotonic()
        self._pointed = [one for one in self._pointed if now - one[0] < _ECHO_SECONDS]
        self._pointed.append((now, client.identifier, place))
        hub.notify(client, POINT, {"ra": f"{place[0]:.10f}", "dec": f"{place[1]:.10f}"})

    def _miss(self, program: str, *, absent: bool) -> None:
        if absent and program not in self._absent:
            tell(f"no program called {program!r} that can be pointed is connected to the SAMP hub")
        (self._absent.add if absent else self._absent.discard)(program)

    def is_echo(self, sender: str, position: tuple[float, float]) -> bool:
        """Tell whether a program only says where we have just pointed it.

        Parameters
        ----------
        sender : str
            Its identifier.
        position : (float, float)
            What it says.

        Returns
        -------
        bool
        """
        now = time.monotonic()
        return any(
            now - when < _ECHO_SECONDS and who == sender and np.allclose(position, place, atol=1e-3, rtol=0)
            for when, who, place in list(self._pointed)
        )


def _unit_vectors(table: QTable, position: str | Sequence[str] | None) -> np.ndarray:
    """Return where the rows are on the unit sphere, (n, 3); NaN where a row has no position."""
    from astro_cluster.positions import find_position, sky_coord

    coord, valid = sky_coord(table, find_position(table, position))
    try:
        out = coord.icrs.cartesian.xyz.value.T.copy()
    except (TypeError, ValueError) as error:  # ConvertError is a TypeError
        raise InputError(f"the positions cannot be converted to ICRS: {error}") from error
    out[~valid] = np.nan
    lengths = np.linalg.norm(out, axis=1, keepdims=True)
    return out / np.where(lengths > 0, lengths, 1.0)
