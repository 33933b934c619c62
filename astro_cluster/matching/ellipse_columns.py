"""The columns in which catalogues give the error ellipses of their positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from astropy import units as u

__all__ = ["KNOWN_ELLIPSES", "EllipseColumns", "find_ellipse", "known_ellipse"]


class EllipseColumns(NamedTuple):
    """How a catalogue gives error ellipses.

    Parameters
    ----------
    names : tuple of str
        Columns of the semi-major axis, the semi-minor axis and the position angle, in lower case.
    n_sigma : float
        How many standard errors long the axes are.
    bare_unit : `~astropy.units.Unit` or None
        What the axes are in where a file has lost their unit; None if that cannot be known.
    """

    names: tuple[str, str, str]
    n_sigma: float
    bare_unit: u.UnitBase | None


# Chandra's ellipses hold 95 % of a two-dimensional Gaussian (Evans et al. 2010, ApJS 189, 37).
_CHANDRA_SIGMA = float(np.sqrt(-2 * np.log(0.05)))

KNOWN_ELLIPSES = (
    EllipseColumns(("err_ellipse_r0", "err_ellipse_r1", "err_ellipse_ang"), _CHANDRA_SIGMA, u.arcsec),
    # SIMBAD itself has milliarcseconds, the copy in the CDS X-Match arcseconds.
    EllipseColumns(("coo_err_maj", "coo_err_min", "coo_err_angle"), 1.0, None),
    EllipseColumns(("coo_err_maja", "coo_err_mina", "coo_err_angle"), 1.0, None),
    EllipseColumns(("errmaj", "errmin", "errpa"), 1.0, u.arcsec),  # 2MASS at VizieR
    EllipseColumns(("err_maj", "err_min", "err_ang"), 1.0, u.arcsec),  # and at IRSA
    EllipseColumns(("err_maj", "err_min", "err_pa"), 1.0, u.arcsec),
    EllipseColumns(("eemaj", "eemin", "eepa"), 1.0, u.arcsec),  # AllWISE
    EllipseColumns(("erra_world", "errb_world", "errtheta_j2000"), 1.0, u.deg),  # SExtractor
)


def known_ellipse(names: Sequence[str]) -> EllipseColumns | None:
    """Return what is known of three columns; None if they are those of no catalogue.

    Parameters
    ----------
    names : sequence of str
        Columns of the semi-axes and of the position angle; case ignored.

    Returns
    -------
    EllipseColumns or None

    Examples
    --------
    >>> round(known_ellipse(["err_ellipse_r0", "err_ellipse_r1", "err_ellipse_ang"]).n_sigma, 3)
    2.448
    """
    lower = tuple(name.lower() for name in names)
    return next((known for known in KNOWN_ELLIPSES if known.names == lower), None)


def find_ellipse(names: Sequence[str]) -> list[str] | None:
    """Return the columns that hold error ellipses; None if there are none.

    Parameters
    ----------
    names : sequence of str
        Columns of a table.

    Returns
    -------
    list of str or None
        As the table writes them.

    Examples
    --------
    >>> find_ellipse(["ra", "dec", "errMaj", "errMin", "errPA"])
    ['errMaj', 'errMin', 'errPA']
    """
    written = {name.lower(): name for name in reversed(names)}
    for known in KNOWN_ELLIPSES:
        if all(name in written for name in known.names):
            return [written[name] for name in known.names]
    return None
