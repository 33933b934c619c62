"""Grids of wavelengths, and where a table says which one its spectra are on.

A table of spectra has them in columns of shape (n, m), and says in ``meta["astro_cluster_spectra"]``
which columns these are and at which m wavelengths.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from astropy import units as u
from astropy.table import Table

from astro_cluster.exceptions import InputError

__all__ = ["SPECTRA_KEY", "Grid", "grid_of", "log_grid", "note_spectra", "spectra_facts"]

SPECTRA_KEY = "astro_cluster_spectra"
"""Entry of the meta that says which columns are spectra, and at which wavelengths."""

Medium = Literal["vacuum", "air"]
Frame = Literal["observed", "rest"]
_MEDIA, _FRAMES = ("vacuum", "air"), ("observed", "rest")
_MOST_PIXELS = 10**6


@dataclass(frozen=True)
class Grid:
    """Wavelengths that all spectra of a table share.

    Parameters
    ----------
    angstrom : (m,) array of float
        Wavelengths in Ångström, the middles of the pixels, rising.
    medium : {"vacuum", "air"}, default="vacuum"
        What the wavelengths are measured in.
    frame : {"observed", "rest"}, default="observed"
        Whose wavelengths they are: the observer's, or those of the object at its redshift.
    logarithmic : bool, optional
        Whether they are evenly spaced in their logarithm; found out if it is not given.

    Raises
    ------
    InputError
        If there are fewer than two, they do not rise, or one is not finite and positive.

    Examples
    --------
    >>> grid = log_grid(3625 * u.AA, 9000 * u.AA, 1500)
    >>> len(grid), grid.wavelengths[[0, -1]]
    (1500, <Quantity [3625., 9000.] Angstrom>)
    >>> grid.logarithmic, grid.frame, grid.medium
    (True, 'observed', 'vacuum')
    """

    angstrom: np.ndarray
    medium: Medium = "vacuum"
    frame: Frame = "observed"
    logarithmic: bool = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        values = np.array(self.angstrom, dtype=np.float64)
        if values.ndim != 1 or not 2 <= values.size <= _MOST_PIXELS:
            raise InputError(
                f"a wavelength grid has the shape {values.shape}; give one row of 2 to {_MOST_PIXELS} "
                "wavelengths"
            )
        if not (np.isfinite(values).all() and values[0] > 0 and (np.diff(values) > 0).all()):
            raise InputError("the wavelengths of a grid must be finite, positive and rising")
        for name, value, known in (("medium", self.medium, _MEDIA), ("frame", self.frame, _FRAMES)):
            if value not in known:
                raise InputError(f"{name}={value!r}; give {' or '.join(map(repr, known))}")
        values.setflags(write=False)
        object.__setattr__(self, "angstrom", values)
        if self.logarithmic is None:
            steps = np.diff(np.log(values))
            object.__setattr__(self, "logarithmic", bool(np.ptp(steps) <= 1e-6 * steps.mean()))

    def __len__(self) -> int:
        return self.angstrom.size

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        return (
            len(self) == len(other)
            and (self.medium, self.frame) == (other.medium, other.frame)
            and bool(np.allclose(self.angstrom, other.angstrom, rtol=1e-9, atol=0.0))
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def wavelengths(self) -> u.Quantity:
        """The wavelengths with their unit, (m,)."""
        return self.angstrom * u.AA

    @cached_property
    def edges(self) -> np.ndarray:
        """Borders of the pixels in Ångström, (m + 1,).

        They are halfway between the middles, in the logarithm where the grid is logarithmic.
        """
        values = np.log(self.angstrom) if self.logarithmic else self.angstrom
        middle = 0.5 * (values[1:] + values[:-1])
        borders = np.concatenate(
            [[1.5 * values[0] - 0.5 * values[1]], middle, [1.5 * values[-1] - 0.5 * values[-2]]]
        )
        return np.exp(borders) if self.logarithmic else borders

    @classmethod
    def parse(cls, text: str, *, medium: Medium = "vacuum", frame: Frame = "observed") -> Grid:
        """Return the logarithmic grid that a text such as ``"3625:9000:1500"`` describes.

        Parameters
        ----------
        text : str
            First and last wavelength and their number; in Ångström unless a unit follows:
            ``"362.5:900:1500 nm"``.
        medium, frame : str, optional
            As of `Grid`.

        Returns
        -------
        Grid

        Raises
        ------
        InputError
            If it is no such text.

        Examples
        --------
        >>> Grid.parse("362.5:900:1500 nm") == Grid.parse("3625:9000:1500")
        True
        """
        numbers, _, unit = text.strip().partition(" ")
        try:
            first, last, n = numbers.split(":")
            scale = u.Unit(unit.strip() or "Angstrom").to(u.AA)
            return log_grid(
                float(first) * scale * u.AA, float(last) * scale * u.AA, int(n), medium=medium, frame=frame
            )
        except (ValueError, TypeError, u.UnitConversionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{text!r} is no wavelength grid; write the first, the last and the number of "
                "wavelengths, as in 3625:9000:1500 (Ångström) or '362.5:900:1500 nm'"
            ) from error

    def to_plain(self) -> dict[str, Any]:
        """Return what JSON can keep.

        Returns
        -------
        dict
            First, last and number where the grid is logarithmic, else every wavelength.
        """
        plain: dict[str, Any] = {"unit": "Angstrom", "medium": self.medium, "frame": self.frame}
        if self.logarithmic:
            return plain | {"log": [float(self.angstrom[0]), float(self.angstrom[-1]), len(self)]}
        return plain | {"wavelengths": self.angstrom.tolist()}

    @classmethod
    def from_plain(cls, plain: Any) -> Grid:
        """Return the grid that `to_plain` described.

        Parameters
        ----------
        plain : dict
            From `to_plain`; from a file, so it may be anything.

        Returns
        -------
        Grid

        Raises
        ------
        InputError
            If it is no such description.
        """
        try:
            medium, frame = plain["medium"], plain["frame"]
            if plain["unit"] != "Angstrom":
                raise InputError(f"the wavelengths are in {plain['unit']!r}, not in Angstrom")
            if "log" in plain:
                first, last, n = plain["log"]
                return log_grid(first * u.AA, last * u.AA, n, medium=medium, frame=frame)
            return cls(np.array(plain["wavelengths"], dtype=np.float64), medium, frame)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"what the table says of its wavelengths is damaged: {error}") from error

    def __str__(self) -> str:
        spacing = "log-spaced " if self.logarithmic else ""
        return (
            f"{len(self)} {spacing}wavelengths {self.angstrom[0]:g}–{self.angstrom[-1]:g} Å "
            f"({self.medium}, {self.frame} frame)"
        )


def log_grid(
    first: u.Quantity, last: u.Quantity, n: int, *, medium: Medium = "vacuum", frame: Frame = "observed"
) -> Grid:
    """Return wavelengths that are evenly spaced in their logarithm.

    Parameters
    ----------
    first, last : `~astropy.units.Quantity`
        First and last wavelength (or a length in any unit).
    n : int
        Number of wavelengths.
    medium : {"vacuum", "air"}, optional
        What the wavelengths are measured in.
    frame : {"observed", "rest"}, optional
        Whose wavelengths they are.

    Returns
    -------
    Grid

    Raises
    ------
    InputError
        If they are no lengths, do not rise, or there are fewer than two.

    Examples
    --------
    >>> print(log_grid(3625 * u.AA, 0.9 * u.um, 1500))
    1500 log-spaced wavelengths 3625–9000 Å (vacuum, observed frame)
    """
    try:
        start, stop = (float(u.Quantity(value).to_value(u.AA)) for value in (first, last))
    except (TypeError, ValueError, u.UnitConversionError) as error:
        raise InputError(f"a wavelength needs a unit of length, as in 3625 * u.AA: {error}") from error
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 2 <= n <= _MOST_PIXELS:
        raise InputError(f"a grid of {n!r} wavelengths; give a whole number from 2 to {_MOST_PIXELS}")
    if not (math.isfinite(start) and math.isfinite(stop) and 0 < start < stop):
        raise InputError(
            f"a wavelength grid from {start:g} to {stop:g} Å; the first must be positive and the smaller"
        )
    return Grid(np.geomspace(start, stop, int(n)), medium, frame, logarithmic=True)


def note_spectra(
    table: Table, grid: Grid, *, flux: str = "flux", ivar: str | None = "ivar", **facts: Any
) -> None:
    """Say in a table which columns are its spectra and at which wavelengths.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Changed in place.
    grid : Grid
        The wavelengths.
    flux, ivar : str
        Columns; None for spectra without errors.
    **facts
        More that belongs to them, plain: how they were normalised.
    """
    table.meta[SPECTRA_KEY] = {"flux": flux, "ivar": ivar, "grid": grid.to_plain()} | facts


def spectra_facts(table: Table) -> Mapping[str, Any] | None:
    """Return what a table says of its spectra.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.

    Returns
    -------
    mapping or None
        ``flux``, ``ivar`` and ``grid``, and what else was noted; None if it says nothing.

    Examples
    --------
    >>> spectra_facts(Table({"x": [1]})) is None
    True
    """
    found = table.meta.get(SPECTRA_KEY)
    return found if isinstance(found, Mapping) else None


def grid_of(table: Table) -> Grid:
    """Return the wavelengths of the spectra of a table.

    Parameters
    ----------
    table : `~astropy.table.Table`
        A table of spectra.

    Returns
    -------
    Grid

    Raises
    ------
    InputError
        If the table says nothing of spectra.

    Examples
    --------
    >>> table = Table({"flux": np.ones((2, 5))})
    >>> note_spectra(table, log_grid(4000 * u.AA, 5000 * u.AA, 5), ivar=None)
    >>> grid_of(table).wavelengths[0]
    <Quantity 4000. Angstrom>
    """
    facts = spectra_facts(table)
    if facts is None:
        raise InputError(
            "the table does not say at which wavelengths its spectra are; read them with read_spectra, "
            "or with read_spectra(table, wavelength=…) if it has a column of fluxes"
        )
    return Grid.from_plain(facts.get("grid"))
