"""Emission lines of quasars, to be marked in spectra."""

from __future__ import annotations

import numpy as np
from astropy.table import QTable

from astro_cluster.columns import require
from astro_cluster.plotting.parts import one_a_row
from astro_cluster.spectra.air import to_air
from astro_cluster.wavelengths import Grid

__all__ = ["EMISSION_LINES", "line_places", "redshifts_of"]

EMISSION_LINES = {
    "Lyα": 1215.67,
    "Si IV": 1396.76,
    "C IV": 1549.06,
    "C III]": 1908.73,
    "Mg II": 2798.75,
    "[O II]": 3728.48,
    "Hγ": 4341.68,
    "Hβ": 4862.68,
    "[O III]": 5008.24,
    "Hα": 6564.61,
}
"""Wavelengths in vacuum at rest, in Ångström (Vanden Berk et al. 2001, AJ 122, 549, Table 2)."""

_REDSHIFTS = ("redshift", "Z", "z")


def redshifts_of(table: QTable, name: str | None) -> np.ndarray:
    """Return the redshift of each row.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    name : str or None
        Its column; ``redshift``, ``Z`` or ``z`` if not given.

    Returns
    -------
    (n,) array of float
        NaN where there is none.

    Raises
    ------
    InputError
        If there is no such column.

    Examples
    --------
    >>> redshifts_of(QTable({"Z": [2.0]}), None), redshifts_of(QTable({"x": [2.0]}), None)
    (array([2.]), array([nan]))
    """
    if name is not None:
        require(table, name)
    found = name or next((one for one in _REDSHIFTS if one in table.colnames), None)
    return np.full(len(table), np.nan) if found is None else one_a_row(table, found)


def line_places(grid: Grid, redshift: float) -> dict[str, float]:
    """Return where emission lines are on a grid.

    Parameters
    ----------
    grid : Grid
        In the rest frame the lines are where they are at rest, whatever the redshift.
    redshift : float
        Of the object; NaN if not known.

    Returns
    -------
    dict of str to float
        Wavelengths in Ångström by the name of the line, in air where the grid is; only those on it.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astro_cluster.wavelengths import log_grid
    >>> grid = log_grid(3625 * u.AA, 9000 * u.AA, 1500)
    >>> {name: round(place, 2) for name, place in line_places(grid, 2.5).items()}
    {'Lyα': 4254.85, 'Si IV': 4888.66, 'C IV': 5421.71, 'C III]': 6680.56}
    """
    stretch = 1.0 if grid.frame == "rest" else 1.0 + redshift
    if not (np.isfinite(stretch) and stretch > 0):
        return {}
    places = {name: wavelength * stretch for name, wavelength in EMISSION_LINES.items()}
    if grid.medium == "air":
        places = {name: float(to_air(place)) for name, place in places.items()}
    first, last = grid.angstrom[0], grid.angstrom[-1]
    return {name: place for name, place in places.items() if first <= place <= last}
