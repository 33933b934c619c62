"""Units as documents spell them, in whatever style."""

from __future__ import annotations

import contextlib
import re
import warnings

from astropy import units as u
from astropy.table import Table

from astro_cluster.exceptions import AstroClusterWarning, InputError

__all__ = ["check_unit", "mend_units"]

_HUGE_POWER = re.compile(r"[*^+\-eE(]\s*\d{5}")


def check_unit(text: str) -> None:
    """Refuse a unit that would keep astropy busy for ever.

    Parameters
    ----------
    text : str
        A unit, as a document spells it.

    Raises
    ------
    InputError
        If it has an exponent of five digits; astropy would work out the number.

    Examples
    --------
    >>> check_unit("10+21 W / m2")
    """
    if _HUGE_POWER.search(text):
        raise InputError(f"the VOTable has the unit {text[:50]!r}, whose exponent is too large for any unit")


def mend_units(table: Table) -> None:
    """Parse the units that are not in the style of the document's version, in any style.

    Parameters
    ----------
    table : `~astropy.table.Table`
        As it was read; changed in place.

    Warns
    -----
    AstroClusterWarning
        Which units are not understood.
    """
    known = u.get_current_unit_registry().registry
    unknown = []
    for name in table.colnames:
        unit = table[name].unit
        if unit is not None and table[name].dtype.kind in "USO":
            # '[h:m:s]' says how a text is to be read; it is no unit of a number.
            table[name].meta["unit_as_written"] = str(unit)
            table[name].unit = None
            continue
        if not isinstance(unit, u.UnrecognizedUnit):
            # VOUnit makes a unit of any word; one that astropy does not know converts to nothing.
            if unit is not None and any(base.name not in known for base in unit.bases):
                unknown.append(f"{name} [{unit}]")
            continue
        for style in ("vounit", "generic", "cds", "ogip"):
            with contextlib.suppress(ValueError, u.UnitsWarning), warnings.catch_warnings():
                warnings.simplefilter("error", u.UnitsWarning)
                table[name].unit = u.Unit(str(unit), format=style)
                break
        else:
            unknown.append(f"{name} [{unit}]")
    if unknown:
        warnings.warn(
            f"units that are not understood are kept as text: {', '.join(unknown)}",
            AstroClusterWarning,
            stacklevel=2,
        )
