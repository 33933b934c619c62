"""What a model is given of a table of spectra: fluxes, weights, redshifts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable

from astro_cluster.columns import require
from astro_cluster.cutouts.stack import is_stack
from astro_cluster.exceptions import InputError
from astro_cluster.linked import IMAGES
from astro_cluster.spectra.holding import has_spectra, sources_of_spectra, spectra_of
from astro_cluster.stacks import blocks_of_rows, is_linked
from astro_cluster.tables import float_values
from astro_cluster.wavelengths import Grid, spectra_facts

__all__ = [
    "REDSHIFTS",
    "Fluxes",
    "fluxes_of",
    "redshift_column",
    "redshifts_of",
    "spectra_meant",
    "weights_of",
]

REDSHIFTS = ("redshift", "Z", "z")
"""Columns that redshifts are looked for in."""


@dataclass(frozen=True)
class Fluxes:
    """What belongs to the fluxes that a model is given.

    Parameters
    ----------
    weights : (m, p) array or None
        Inverse variances, 0 where a pixel does not count.
    grid : Grid
        Wavelengths.
    unit : `~astropy.units.UnitBase`
        Unit of the fluxes.
    normalized : bool
        Whether the spectra were brought to one scale before.
    redshift : (m,) array, optional
        NaN where it is not known; only for a model that is given redshifts.
    as_rows : bool
        Whether the model knows of nothing but the fluxes.
    facts : dict
        What the record keeps.
    mean : (p,) array, optional
        What pixels that do not count were filled with, at level 1.
    """

    weights: np.ndarray | None
    grid: Grid
    unit: u.UnitBase
    normalized: bool
    redshift: np.ndarray | None = None
    as_rows: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    mean: np.ndarray | None = None

    def told(self) -> dict[str, Any]:
        """Return what a model may ask for by these names.

        Returns
        -------
        dict
            Without what is not known.
        """
        names = ("weights", "redshift", "grid", "normalized")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def only(self, kept: np.ndarray) -> Fluxes:
        """Return the same of fewer rows.

        Parameters
        ----------
        kept : (m,) array of bool
            Which of the rows to keep.

        Returns
        -------
        Fluxes
        """
        weights = None if self.weights is None else self.weights[kept]
        return replace(self, weights=weights, redshift=None if self.redshift is None else self.redshift[kept])

    def mean_of(self, X: np.ndarray) -> np.ndarray:
        """Return the mean of the spectra, each over its own level.

        Parameters
        ----------
        X : (m, p) array
            Fluxes.

        Returns
        -------
        (p,) array
        """
        if self.mean is not None:
            return self.mean
        return filled(X, self.weights, "mean", normalized=self.normalized)[2]

    def levelled(self, X: np.ndarray) -> np.ndarray:
        """Return spectra over their own level, and without holes.

        Parameters
        ----------
        X : (m, p) array
            Fluxes.

        Returns
        -------
        (m, p) array of float32
            Pixels that do not count have the mean of the other spectra.
        """
        out, levels, _ = filled(X, self.weights, "mean", normalized=self.normalized)
        return np.divide(out, levels[:, np.newaxis], out=out)


def spectra_meant(table: QTable, takes: str, column: str | None) -> bool:
    """Tell whether a model is to be given the spectra of a table.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    takes : {"rows", "images", "spectra"}
        What the model takes.
    column : str or None
        The column that was asked for.

    Returns
    -------
    bool

    Raises
    ------
    InputError
        If the column that is asked for holds no spectra, and the model takes nothing else.

    Examples
    --------
    >>> spectra_meant(QTable({"x": [1]}), "rows", None)
    False
    """
    if takes == "images" or not has_spectra(table):
        return False
    flux = (spectra_facts(table) or {}).get("flux")
    if column is not None and column != flux:
        if takes == "spectra":
            require(table, column)
            raise InputError(f"the spectra of the table are in the column {flux!r}, not in {column!r}")
        return False
    images = is_linked(table, IMAGES) or any(is_stack(table[name]) for name in table.colnames)
    return takes == "spectra" or column is not None or not images


def fluxes_of(
    table: QTable,
    *,
    as_rows: bool = False,
    missing: str | None = None,
    redshift: str | None = None,
    conditioned: bool = False,
    like: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, list[str], Fluxes]:
    """Return what a model is given of a table of spectra.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows of spectra.
    as_rows : bool, optional
        Whether the model knows of nothing but the fluxes, so that no pixel may be missing.
    missing : {"drop", "zero", "mean"}, optional
        What is done then about pixels that do not count: ``"mean"`` if not given.
    redshift : str, optional
        Column of redshifts.
    conditioned : bool, optional
        Whether the model is given redshifts.
    like : (p,) array, optional
        Mean of other spectra, which these are filled with (`Fluxes.mean_of`); their own if not given.

    Returns
    -------
    X : (m, p) array
        Fluxes of the rows that can be used.
    usable : (n,) array of bool
        Which these are.
    columns : list of str
        Columns of the table that they are from.
    fluxes : Fluxes
        What belongs to them.

    Raises
    ------
    InputError
        If what is missing cannot be treated so, or there are no redshifts.
    """
    if missing == "median":
        raise InputError("missing='median' is for features; of spectra give 'drop', 'zero' or 'mean'")
    if missing is not None and not as_rows:
        raise InputError(
            f"this model leaves pixels that do not count out by itself: leave missing={missing!r} out"
        )
    spectra = spectra_of(table)
    columns = sources_of_spectra(table)
    require(table, columns)
    told = spectra_facts(table) or {}
    facts: dict[str, Any] = {"column": spectra.flux_column, "pixels": len(spectra.grid)}
    facts |= {"unit": str(spectra.unit), "dtype": spectra.flux.dtype.name, "grid": spectra.grid.to_plain()}
    normalized = told.get("normalized") is not None
    if normalized:
        facts["normalized_by"] = dict(told["normalized"]).get("by")
    usable = spectra.usable.copy()
    n_holed = 0
    if as_rows:
        holed = _holed(spectra.flux, spectra.ivar) & usable
        n_holed = int(holed.sum())
        if missing == "drop":
            usable &= ~holed
    X = _rows(spectra.flux, usable)
    weights = None if spectra.ivar is None else weights_of(_rows(spectra.ivar, usable))
    mean = None
    if n_holed and missing != "drop":
        X, _, mean = filled(X, weights, missing or "mean", normalized=normalized, mean=like)
        facts |= {"rows_filled": n_holed, "filled": missing or "mean"}
    redshifts = None
    if conditioned:
        name = redshift_column(table, redshift)
        redshifts = redshifts_of(table, name)[usable]
        columns = [*columns, name]
        facts["redshift"] = name
    fluxes = Fluxes(weights, spectra.grid, spectra.unit, normalized, redshifts, as_rows, facts, mean)
    return X, usable, columns, fluxes


def _rows(values: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Return the rows to be used, without a copy where they are one piece."""
    rows = np.flatnonzero(usable)
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        return values[rows[0] : rows[-1] + 1]
    return values[rows]


def weights_of(ivar: np.ndarray) -> np.ndarray:
    """Return inverse variances with 0 in place of what is none.

    Parameters
    ----------
    ivar : (m, p) array
        From a table.

    Returns
    -------
    (m, p) array
        Finite and not below 0; the same one where it is so already.

    Examples
    --------
    >>> weights_of(np.array([[4.0, -1.0, np.inf]]))
    array([[4., 0., 0.]])
    """
    bad = [~(np.isfinite(ivar[part]) & (ivar[part] >= 0)) for part in blocks_of_rows(ivar)]
    if not any(part.any() for part in bad):
        return ivar
    return np.where(np.concatenate(bad), ivar.dtype.type(0), ivar)


def _counting(flux: np.ndarray, ivar: np.ndarray | None) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield blocks of rows, and which of their pixels count."""
    for part in blocks_of_rows(flux):
        counts = np.isfinite(flux[part])
        if ivar is not None:
            counts &= (ivar[part] > 0) & np.isfinite(ivar[part])
        yield part, counts


def _holed(flux: np.ndarray, ivar: np.ndarray | None) -> np.ndarray:
    return np.concatenate([~counts.all(axis=1) for _, counts in _counting(flux, ivar)])


def filled(
    flux: np.ndarray,
    ivar: np.ndarray | None,
    how: str,
    *,
    normalized: bool,
    mean: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return spectra without holes.

    Parameters
    ----------
    flux : (m, p) array
        Fluxes.
    ivar : (m, p) array or None
        Inverse variances, 0 where a pixel does not count.
    how : {"zero", "mean"}
        What to put: 0, or the mean of this pixel in the other spectra, at the level of this one.
    normalized : bool
        Whether all spectra are at one level.
    mean : (p,) array, optional
        The mean to put, at level 1; that of these spectra if not given.

    Returns
    -------
    filled : (m, p) array
        A copy.
    levels : (m,) array
        Mean absolute flux of the pixels that count of each spectrum; 1 if they are normalised.
    mean : (p,) array
        The mean, at level 1.

    Examples
    --------
    >>> found, levels, _ = filled(np.array([[1.0, 1, 1], [2, np.nan, 2]]), None, "mean", normalized=False)
    >>> found[1], levels
    (array([2., 2., 2.]), array([1., 2.]))
    """
    out = np.array(flux, dtype=flux.dtype if flux.dtype.kind == "f" else np.float32)
    levels = np.ones(len(out), dtype=out.dtype)
    total, seen = np.zeros(out.shape[1]), np.zeros(out.shape[1], dtype=np.int64)
    for part, counts in _counting(flux, ivar):
        np.copyto(out[part], 0, where=~counts)
        if not normalized:
            sums, n = np.abs(out[part]).sum(axis=1, dtype=np.float64), counts.sum(axis=1)
            levels[part] = np.where((sums > 0) & (n > 0), sums / np.maximum(n, 1), 1.0)
        total += (out[part] / levels[part, np.newaxis]).sum(axis=0, dtype=np.float64)
        seen += counts.sum(axis=0)
    if mean is None:
        mean = np.divide(total, seen, out=np.zeros_like(total), where=seen > 0)
    if how == "mean":
        for part, counts in _counting(flux, ivar):
            np.copyto(out[part], mean * levels[part, np.newaxis], where=~counts, casting="same_kind")
    return out, levels, mean


# ---------------------------------------------------------------- redshifts


def redshift_column(table: QTable, name: str | None = None) -> str:
    """Return the column of redshifts of a table.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Any table.
    name : str, optional
        Its name; the first of ``redshift``, ``Z`` and ``z`` that is there if not given.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If there is none.

    Examples
    --------
    >>> redshift_column(QTable({"Z": [1.5]}))
    'Z'
    """
    if name is not None:
        return require(table, name)[0]
    for known in REDSHIFTS:
        if known in table.colnames:
            return known
    raise InputError(
        "the decoder of this model is given redshifts, and the table has no column "
        f"{', '.join(REDSHIFTS[:-1])} or {REDSHIFTS[-1]}; name it (redshift=, --redshift)"
    )


def redshifts_of(table: QTable, name: str) -> np.ndarray:
    """Return the redshifts of a table.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    name : str
        Their column.

    Returns
    -------
    (n,) array of float
        NaN where there is none above -1.

    Raises
    ------
    InputError
        If the column has several numbers a row, or no row has a redshift.

    Examples
    --------
    >>> redshifts_of(QTable({"Z": [1.5, -1.0]}), "Z")
    array([1.5, nan])
    """
    values = float_values(table[name])
    if values.ndim != 1:
        raise InputError(f"column {name!r} has {values.shape[1:]} numbers a row; a redshift is one number")
    values[~(values > -1) | ~np.isfinite(values)] = np.nan
    if np.isnan(values).all():
        raise InputError(f"no row has a redshift above -1 in the column {name!r}")
    return values
