"""Two simulated catalogues whose true pairs are known."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable


def two_catalogues(
    seed: int,
    *,
    n: int = 3000,
    others: int = 8000,
    share: float = 0.7,
    errors: tuple[float, float] = (0.4, 0.2),
    scatter: float = 0.0,
    centre: tuple[float, float] = (180.0, 0.0),
    size: float = 0.25,
    steep: float = 1.0,
    longer: float = 1.0,
) -> tuple[QTable, QTable]:
    """Return a local table and a reference.

    ``true`` is the number of the counterpart, -1 where there is none.  Errors scatter by e to the
    power of ``scatter``; their axes differ by the factor ``longer``.  ``steep`` above 1 makes one side
    of the field more crowded than the other, for both tables alike.
    """
    rng = np.random.default_rng(seed)
    middle = SkyCoord(*centre, unit="deg")

    def places(count: int) -> SkyCoord:
        x = size * (2 * (0.03 + 0.97 * rng.uniform(0, 1, count)) ** steep - 1)
        return middle.spherical_offsets_by(x * u.deg, rng.uniform(-size, size, count) * u.deg)

    def ellipses(count: int, typical: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        major = typical * np.exp(rng.normal(0, scatter, count))
        return major, major / longer, rng.uniform(0, np.pi, count)

    def offset(where: SkyCoord, ellipse: tuple[np.ndarray, ...], rows: np.ndarray) -> SkyCoord:
        major, minor, turn = (values[rows] for values in ellipse)
        along, across = rng.normal(size=(2, len(major))) * [major, minor]
        east = along * np.sin(turn) + across * np.cos(turn)
        north = along * np.cos(turn) - across * np.sin(turn)
        angle, distance = np.arctan2(east, north) * u.rad, np.hypot(east, north) * u.arcsec
        return where.directional_offset_by(angle, distance)

    has = rng.uniform(size=n) < share
    truth = places(n)
    first, second = ellipses(n, errors[0]), ellipses(int(has.sum()) + others, errors[1])
    here = offset(truth, first, np.arange(n))
    there = offset(truth[has], second, np.arange(has.sum()))
    rest = places(others)
    true = np.full(n, -1)
    true[has] = np.arange(has.sum())
    local = QTable({"ra": here.ra, "dec": here.dec, "true": true})
    reference = QTable({"ra": np.r_[there.ra, rest.ra], "dec": np.r_[there.dec, rest.dec]})
    reference["number"] = np.arange(len(reference))
    for table, (major, minor, turn) in ((local, first), (reference, second)):
        table["err_maj"], table["err_min"] = major * u.arcsec, minor * u.arcsec
        table["err_ang"] = np.degrees(turn) * u.deg
    return local, reference
