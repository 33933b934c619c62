"""A simulated Chandra catalogue, and what SIMBAD would know of it.

Every source is called SIM, and the true class of each row stands in a column of its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Column, QTable

from astro_cluster.exceptions import InputError
from astro_cluster.provenance import Step, step

__all__ = ["chandra", "simbad"]

_BANDS = "bhms"


@dataclass(frozen=True, slots=True)
class _Population:
    """What sources of one class look like to Chandra, roughly.

    Parameters
    ----------
    share : float
        Share of the sample.
    galactic : bool
        Whether they are in fields near the Galactic plane.
    hardness : tuple of three floats
        Mean hard–medium, hard–soft and medium–soft ratios.
    gamma, kt : float
        Mean power-law index, and typical black-body temperature in keV.
    variable : float
        Share of the sources that are clearly variable.
    ratio : float
        Typical relative amplitude of the variable ones.
    log_rate : float
        Mean of log10 of the count rate per second.
    types : mapping of str to float
        What SIMBAD calls them, and how often.
    """

    share: float
    galactic: bool
    hardness: tuple[float, float, float]
    gamma: float
    kt: float
    variable: float
    ratio: float
    log_rate: float
    types: Mapping[str, float]


_POPULATIONS: Mapping[str, _Population] = {
    "QSO": _Population(
        0.34, False, (-0.15, -0.25, -0.13), 1.9, 0.60, 0.10, 0.05, -1.9, {"QSO": 0.8, "AGN": 0.2}
    ),
    "Seyfert": _Population(
        0.16, False, (0.30, 0.38, 0.15), 1.2, 0.95, 0.15, 0.06, -1.6,
        {"Seyfert_1": 0.45, "Seyfert_2": 0.35, "AGN": 0.20},
    ),
    "YSO": _Population(
        0.26, True, (0.05, 0.10, 0.08), 2.0, 0.85, 0.75, 0.35, -2.0,
        {"YSO": 0.45, "Orion_V*": 0.30, "TTau*": 0.25},
    ),
    "Star": _Population(
        0.12, True, (-0.55, -0.80, -0.55), 3.6, 0.25, 0.35, 0.15, -2.1, {"Star": 0.85, "PM*": 0.15}
    ),
    "XRB": _Population(
        0.12, True, (0.22, 0.42, 0.28), 1.4, 1.10, 0.60, 0.20, -1.2,
        {"HMXB": 0.55, "LMXB": 0.30, "X": 0.15},
    ),
}  # fmt: skip

# Star-forming regions and the like that Chandra might point at: l, b in degrees.
_GALACTIC_FIELDS = np.array([
    (209.0, -19.4), (353.0, 16.8), (287.6, -0.6), (202.9, 2.2), (17.0, 0.8), (0.1, -0.1),
    (133.7, 1.2), (81.7, 0.5), (351.2, 0.7), (49.5, -0.4), (265.1, 1.4), (305.3, 0.2),
])  # fmt: skip
_N_PLANE, _N_DISTANT = 120, 400  # further fields along the Galactic plane and far from it


def chandra_positions(
    rng: np.random.Generator, galactic: np.ndarray
) -> tuple[SkyCoord, u.Quantity, np.ndarray]:
    """Return positions in some hundred fields of view, off-axis angles and observation ids.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        Source of randomness.
    galactic : (n,) array of bool
        Whether each source is in a Galactic field.

    Returns
    -------
    position : (n,) `~astropy.coordinates.SkyCoord`
    theta : (n,) `~astropy.units.Quantity` [arcmin]
    obsid : (n,) array of int

    Examples
    --------
    >>> position, theta, _ = chandra_positions(np.random.default_rng(0), np.array([True, False]))
    >>> bool((abs(position[0].galactic.b) < 30 * u.deg) and (theta < 8 * u.arcmin).all())
    True
    """
    plane = np.column_stack([rng.uniform(0, 360, _N_PLANE), rng.laplace(0, 2.0, _N_PLANE)])
    sin_b = rng.uniform(np.sin(np.radians(20)), 1, _N_DISTANT) * rng.choice([-1, 1], _N_DISTANT)
    distant = np.column_stack([rng.uniform(0, 360, _N_DISTANT), np.degrees(np.arcsin(sin_b))])
    fields = np.vstack([_GALACTIC_FIELDS, plane, distant])
    near, known, n = len(fields) - _N_DISTANT, len(_GALACTIC_FIELDS), len(galactic)
    # Half of the Galactic sources are in the well-known regions, as in the archive.
    inside = np.where(rng.uniform(size=n) < 0.5, rng.integers(0, known, n), rng.integers(known, near, n))
    field = np.where(galactic, inside, rng.integers(near, len(fields), n))
    theta = 8 * np.sqrt(rng.uniform(0, 1, n)) * u.arcmin
    centre = SkyCoord(fields[field, 0], fields[field, 1], unit="deg", frame="galactic")
    position = centre.directional_offset_by(rng.uniform(0, 360, n) * u.deg, theta).icrs
    return position, theta, 10_000 + field.astype(np.int64)


def _variability(rng: np.random.Generator, population: np.ndarray) -> dict[str, np.ndarray]:
    """Return rates and variability by band; the bands of a source vary together."""
    n = len(population)
    pick = lambda name: np.array([getattr(_POPULATIONS[p], name) for p in population])  # noqa: E731
    variable = rng.uniform(size=n) < pick("variable")
    amplitude = np.where(
        variable, pick("ratio") * np.exp(rng.normal(0, 0.5, n)), 0.02 * np.exp(rng.normal(0, 0.4, n))
    )
    total = 10 ** (pick("log_rate") + rng.normal(0, 0.45, n))
    columns: dict[str, np.ndarray] = {}
    for band, part in zip(_BANDS, (1.0, 0.35, 0.35, 0.30), strict=True):
        mean = total * part * np.exp(rng.normal(0, 0.2, n))
        ratio = amplitude * np.exp(rng.normal(0, 0.25, n)) / np.sqrt(part)
        sigma = mean * ratio
        low, high = mean - sigma * rng.uniform(0.8, 1.6, n), mean + sigma * rng.uniform(0.8, 2.2, n)
        excess = np.where(variable, 4.0, 0.0) * np.sqrt(part) + rng.normal(0, 1, n)
        probability = 1 / (1 + np.exp(-1.5 * excess))
        columns |= {
            f"var_prob_{band}": probability,
            f"var_sigma_{band}": sigma,
            f"var_mean_{band}": mean,
            f"var_min_{band}": np.maximum(low, 0.0),
            f"var_max_{band}": high,
            f"ks_prob_{band}": np.clip(probability + rng.normal(0, 0.08, n), 0, 1),
            f"kp_prob_{band}": np.clip(probability + rng.normal(0, 0.08, n), 0, 1),
        }
    return columns


def _spectra(rng: np.random.Generator, population: np.ndarray) -> dict[str, np.ndarray]:
    n = len(population)
    hardness = np.array([_POPULATIONS[p].hardness for p in population])
    absorbed = rng.normal(0, 0.18, n)[:, np.newaxis] * [0.8, 1.2, 1.0]
    ratios = np.clip(np.tanh(np.arctanh(hardness) + absorbed + rng.normal(0, 0.08, (n, 3))), -0.999, 0.999)
    gamma = np.array([_POPULATIONS[p].gamma for p in population])
    kt = np.array([_POPULATIONS[p].kt for p in population])
    return {
        "hard_hm": ratios[:, 0],
        "hard_hs": ratios[:, 1],
        "hard_ms": ratios[:, 2],
        "powlaw_gamma": gamma - 1.2 * absorbed[:, 1] + rng.normal(0, 0.3, n),
        "bb_kt": kt * np.exp(0.8 * absorbed[:, 1] + rng.normal(0, 0.15, n)),
    }


def _punch(rng: np.random.Generator, columns: dict[str, np.ndarray], missing: float) -> None:
    """Take values away as the catalogue lacks them: a band at a time, or a spectral fit."""
    n = len(columns["bb_kt"])
    for band in "hms":
        lost = rng.uniform(size=n) < missing
        for name in columns:
            if name.startswith(("var_", "ks_", "kp_")) and name.endswith(f"_{band}"):
                columns[name][lost] = np.nan
    unfitted = rng.uniform(size=n) < missing / 2
    for name in ("powlaw_gamma", "bb_kt"):
        columns[name][unfitted] = np.nan


def _unit_and_ucd(name: str) -> tuple[u.UnitBase | None, str, str]:
    """Return unit, UCD and description of a descriptor."""
    band = {"b": "broad", "h": "hard", "m": "medium", "s": "soft"}.get(name[-1], "")
    if name.startswith("hard_"):
        return None, "phot.color", f"Hardness ratio of the bands {name[-2:]}"
    if name.startswith(("var_prob", "ks_prob", "kp_prob")):
        return None, "stat.probability;src.var", f"Probability of variability in the {band} band"
    if name.startswith("var_ratio"):
        return None, "src.var.amplitude", f"Relative amplitude in the {band} band, sigma / mean"
    if name.startswith("var_newq"):
        return None, "src.var.index", "Half of max + min over the mean rate, broad band"
    if name.startswith("var_"):
        what = name.split("_")[1]
        return u.ct / u.s, "phot.count;em.X-ray", f"{what} of the count rate in the {band} band"
    return {
        "powlaw_gamma": (None, "spect.index", "Photon index of a power-law fit"),
        "bb_kt": (u.keV, "phys.temperature", "Temperature of a black-body fit"),
    }[name]


@step
def chandra(n: int = 8000, *, missing: float = 0.13, random_state: int | None = 42) -> Step:
    """Simulate observed sources of the Chandra Source Catalog 2.

    Parameters
    ----------
    n : int, optional
        Number of rows.
    missing : float, optional
        Share of the rows that lack a band; together four in ten rows lack something, as in
        the catalogue.
    random_state : int, optional
        Seed.

    Returns
    -------
    `~astropy.table.QTable`
        n rows: ``name``, ``obsid``, ``ra``, ``dec``, ``theta``, ``src_area_b``, the descriptors of
        the recipes `CSC2` and `CSC2_12` with units and UCDs, NaN where missing, and
        ``true_type``.

    Raises
    ------
    InputError
        If ``n`` is not positive or ``missing`` is no share.

    Notes
    -----
    Five populations (quasars, Seyferts, young stars, other stars, X-ray binaries) differ in
    hardness, spectral fit, rate, variability and place on the sky, as their real
    counterparts do on the whole.  No number is taken from an observation.

    Examples
    --------
    >>> cat = chandra(100, random_state=1)
    >>> len(cat), cat["theta"].unit
    (100, Unit("arcmin"))
    """
    if n < 1:
        raise InputError(f"n={n}: at least one source has to be simulated")
    if not 0 <= missing < 1:
        raise InputError(f"missing={missing} is no share; give a number from 0 to below 1")
    if random_state is None:
        random_state = secrets.randbelow(2**31)  # on record, so it can be repeated
    rng = np.random.default_rng(random_state)
    shares = np.array([p.share for p in _POPULATIONS.values()])
    population = rng.choice(list(_POPULATIONS), n, p=shares / shares.sum())
    galactic = np.array([_POPULATIONS[p].galactic for p in population])
    position, theta, obsid = chandra_positions(rng, galactic)
    columns = _spectra(rng, population) | _variability(rng, population)
    _punch(rng, columns, missing)
    for band in "bhs":
        columns[f"var_ratio_{band}"] = columns[f"var_sigma_{band}"] / columns[f"var_mean_{band}"]
    columns["var_newq_b"] = (columns["var_max_b"] + columns["var_min_b"]) / 2 / columns["var_mean_b"]
    out = QTable()
    names = [f"SIM J{text.replace(' ', '')}" for text in position.to_string("hmsdms", sep="", precision=1)]
    out["name"] = Column(names, description="Name of the simulated source", meta={"ucd": "meta.id;meta.main"})
    out["obsid"] = Column(obsid, description="Simulated observation", meta={"ucd": "meta.id;obs"})
    for name, angle, ucd in (("ra", position.ra, "pos.eq.ra"), ("dec", position.dec, "pos.eq.dec")):
        out[name] = u.Quantity(angle)
        out[name].info.meta, out[name].info.description = {"ucd": f"{ucd};meta.main"}, f"ICRS {name}"
    out["theta"] = theta
    out["theta"].info.meta, out["theta"].info.description = {"ucd": "pos.angDistance"}, "Off-axis angle"
    out["src_area_b"] = (3 + 1.5 * theta.value**2) * np.exp(rng.normal(0, 0.3, n)) * u.arcsec**2
    out["src_area_b"].info.meta = {"ucd": "phys.angArea"}
    out["src_area_b"].info.description = "Area of the source region"
    for name, values in columns.items():
        unit, ucd, description = _unit_and_ucd(name)
        out[name] = values * unit if unit is not None else Column(values)
        out[name].info.meta, out[name].info.description = {"ucd": ucd}, description
    out["true_type"] = Column(population, description="Population drawn from", meta={"ucd": "src.class"})
    out.meta["description"] = (
        f"Simulated Chandra sources (astro_cluster simulate.chandra, seed {random_state}); no observation"
    )
    return Step(out, inputs=out.colnames, seed=random_state, parameters={"random_state": random_state})


def simbad(table: QTable, *, matched: float = 0.9, random_state: int = 42) -> QTable:
    """Simulate what SIMBAD might hold for the sources of `chandra`.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Result of `chandra`.
    matched : float, optional
        Share of the sources that have a counterpart.
    random_state : int, optional
        Seed.

    Returns
    -------
    `~astropy.table.QTable`
        ``main_id``, ``ra``, ``dec`` (scattered by 0.3 arcsec) and ``main_type``, and a tenth as many
        unrelated objects in the same fields.

    Raises
    ------
    InputError
        If the table has no simulated sources.

    Examples
    --------
    >>> cat = chandra(200, random_state=1)
    >>> simbad(cat, random_state=1).colnames
    ['main_id', 'ra', 'dec', 'main_type']
    """
    if not 0 <= matched <= 1:
        raise InputError(f"matched={matched} is no share; give a number from 0 to 1")
    if "true_type" not in table.colnames or not len(table):
        raise InputError(
            "simulate.simbad needs the table of simulate.chandra (a column true_type is missing)"
        )
    # A stream of its own: with that of `chandra`, the matched ones would not be a random choice.
    rng = np.random.default_rng([random_state, 1])
    found = np.flatnonzero(rng.uniform(size=len(table)) < matched)
    other = rng.integers(0, len(table), max(1, len(table) // 10))
    rows = np.concatenate([found, other])
    scatter = np.concatenate([rng.rayleigh(0.3, len(found)), rng.uniform(10, 60, len(other))]) * u.arcsec
    position = SkyCoord(table["ra"][rows], table["dec"][rows]).directional_offset_by(
        rng.uniform(0, 360, len(rows)) * u.deg, scatter
    )
    types = []
    for population in np.asarray(table["true_type"])[rows]:
        names = _POPULATIONS[population].types
        types.append(rng.choice(list(names), p=list(names.values())))
    out = QTable()
    ids = [f"SIMOBJ {i:06d}" for i in range(len(rows))]
    out["main_id"] = Column(
        ids, description="Identifier of the simulated object", meta={"ucd": "meta.id;meta.main"}
    )
    out["ra"], out["dec"] = u.Quantity(position.ra), u.Quantity(position.dec)
    out["ra"].info.meta, out["dec"].info.meta = (
        {"ucd": "pos.eq.ra;meta.main"},
        {"ucd": "pos.eq.dec;meta.main"},
    )
    out["ra"].info.description, out["dec"].info.description = "ICRS ra", "ICRS dec"
    out["main_type"] = Column(types, description="Object type (simulated)", meta={"ucd": "src.class"})
    out.meta["description"] = f"Simulated SIMBAD objects (astro_cluster simulate.simbad, seed {random_state})"
    return out
