"""Spectra to one scale: over their maximum, median, a window or their continuum."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table
from astropy.utils.masked import Masked

from astro_cluster.columns import add_column, check_free, column_name, with_info
from astro_cluster.exceptions import AstroClusterWarning, InputError, did_you_mean
from astro_cluster.provenance import Step, step
from astro_cluster.spectra.continuum import continua_of, medians_of
from astro_cluster.spectra.holding import Spectra, sources_of_spectra, spectra_of
from astro_cluster.spectra.replacing import check_names, replaced_spectra, without_lost_spectra
from astro_cluster.tables import Source, as_qtable
from astro_cluster.wavelengths import Grid, spectra_facts

__all__ = [
    "counting",
    "mean_spectrum",
    "normalization_of",
    "normalize_spectra",
    "norms_of",
    "parse_norm",
    "softened",
]

_PLAIN_NORMS = ("median", "max", "continuum")
_BLOCK_ROWS = 1024
_MOST_NAMED = 5


# ---------------------------------------------------------------- arrays


def counting(flux: np.ndarray, ivar: np.ndarray | None) -> np.ndarray:
    """Tell which pixels count.

    Parameters
    ----------
    flux : (n, m) array of float
        NaN where there is none.
    ivar : (n, m) array of float or None
        Inverse variances.

    Returns
    -------
    (n, m) array of bool
        Those of finite flux and of positive, finite inverse variance.

    Examples
    --------
    >>> counting(np.array([[1.0, np.nan, 3.0]]), np.array([[1.0, 1.0, 0.0]])).tolist()
    [[True, False, False]]
    """
    counts = np.isfinite(flux)
    return counts if ivar is None else counts & (ivar > 0) & np.isfinite(ivar)


def softened(ivar: np.ndarray, softening: float = 0.0) -> np.ndarray:
    """Return inverse variances with an error that no pixel can be better than.

    Parameters
    ----------
    ivar : array of float
        Inverse variances.
    softening : float, optional
        The error σ that is added in squares, in units of the flux: ``ivar / (1 + ivar σ²)``.

    Returns
    -------
    array of the same shape and type
        0 stays 0, and what is negative or NaN becomes 0; the same array if the softening is 0.  What
        is infinite becomes 1 / σ²: leave out first what must not count (`counting`).

    Raises
    ------
    InputError
        If the softening is negative or not finite.

    Notes
    -----
    The weights of Portillo et al. (2020, AJ 160, 45), and of the quasar study.  Without it, the few pixels
    of the highest signal to noise would be all that counts in a fit.

    Examples
    --------
    >>> softened(np.array([0.0, 4.0, np.inf]), 0.5)
    array([0., 2., 4.])
    """
    if not (np.isscalar(softening) and np.isfinite(softening) and softening >= 0):
        raise InputError(f"softening={softening!r}; give an error of 0 or more, in units of the flux")
    if softening == 0:
        return ivar
    old = np.asarray(ivar)
    kind = old.dtype.type if old.dtype.kind == "f" else np.float64
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        variance = 1 / old.astype(kind)
        return np.where(old > 0, 1 / (variance + kind(softening) ** 2), kind(0))


def mean_spectrum(flux: np.ndarray, ivar: np.ndarray | None) -> np.ndarray:
    """Return the weighted mean of spectra at each wavelength.

    Parameters
    ----------
    flux : (n, m) array of float
        Normalised fluxes, NaN where there is none.
    ivar : (n, m) array of float or None
        Weights; 0 where a pixel does not count.

    Returns
    -------
    (m,) array of float64
        0 where no spectrum has data.

    Examples
    --------
    >>> mean_spectrum(np.array([[1.0, np.nan], [4.0, 2.0]]), np.array([[2.0, 1.0], [1.0, 0.0]]))
    array([2., 0.])
    """
    total, weight = np.zeros(flux.shape[1]), np.zeros(flux.shape[1])
    for rows in _blocks(len(flux)):
        some = None if ivar is None else ivar[rows]
        counts = counting(flux[rows], some)
        w = counts.astype(np.float64) if some is None else np.where(counts, some, 0.0).astype(np.float64)
        total += (w * np.where(counts, flux[rows], 0.0)).sum(axis=0)
        weight += w.sum(axis=0)
    return np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)


def norms_of(flux: np.ndarray, ivar: np.ndarray | None, grid: Grid | None, how: Any = "median") -> np.ndarray:
    """Return what each spectrum is divided by.

    Parameters
    ----------
    flux : (n, m) array of float
        Fluxes, NaN where there is none.
    ivar : (n, m) array of float or None
        Inverse variances, 0 where a pixel must not count.
    grid : Grid or None
        The wavelengths; only a window and the continuum need them.
    how : str, (`~astropy.units.Quantity`, `~astropy.units.Quantity`) or None
        ``"median"`` or ``"max"`` of the pixels that count; the median within
        ``"window:5080:5120"``, in Ångström and in the frame of the grid, or within two wavelengths
        with a unit; ``"continuum"``, the median of the fitted continuum at the pixels that count; None
        for 1.

    Returns
    -------
    (n,) array of float64
        Not positive, or NaN, where a spectrum cannot be normalised.

    Raises
    ------
    InputError
        If there is no such way, or no wavelength of the grid is in the window.

    Examples
    --------
    >>> flux = np.array([[1.0, 2.0, 9.0], [np.nan, np.nan, np.nan]])
    >>> norms_of(flux, None, None, "median")
    array([ 2., nan])
    >>> norms_of(flux, np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), None, "max")
    array([ 2., nan])
    """
    kind, window = parse_norm(how)
    if kind is None:
        return np.ones(len(flux))
    if kind in ("median", "max"):
        return _over_pixels(flux, ivar, kind)
    if grid is None:
        raise InputError(f"how={how!r} needs the wavelengths of the spectra: give grid=")
    if kind == "continuum":
        levels = np.empty(len(flux))
        for rows in _blocks(len(flux)):
            some = None if ivar is None else ivar[rows]
            levels[rows] = _levels(continua_of(flux[rows], some, grid), counting(flux[rows], some))
        return levels
    inside = np.flatnonzero((grid.angstrom >= window[0]) & (grid.angstrom <= window[1]))
    if not inside.size:
        raise InputError(f"no wavelength is between {window[0]:g} and {window[1]:g} Å: there are {grid}")
    some = slice(int(inside[0]), int(inside[-1]) + 1)
    return _over_pixels(flux[:, some], None if ivar is None else ivar[:, some], "median")


def _blocks(n: int) -> Iterator[slice]:
    for start in range(0, n, _BLOCK_ROWS):
        yield slice(start, min(start + _BLOCK_ROWS, n))


def _over_pixels(flux: np.ndarray, ivar: np.ndarray | None, kind: str) -> np.ndarray:
    """Return the median or the maximum of the counting pixels of each row, NaN where there are none."""
    found = np.empty(len(flux))
    for rows in _blocks(len(flux)):
        counts = counting(flux[rows], None if ivar is None else ivar[rows])
        if kind == "median":
            found[rows] = medians_of(flux[rows], counts)
        else:
            best = np.where(counts, flux[rows], -np.inf).max(axis=1)
            found[rows] = np.where(counts.any(axis=1), best, np.nan)
    return found


def _levels(continua: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the median of each continuum, of where there are data: beyond, polynomials run away."""
    return medians_of(continua, counts & np.isfinite(continua))


def parse_norm(how: Any) -> tuple[str | None, tuple[float, float]]:
    """Return the kind of a norm and its window in Ångström.

    Parameters
    ----------
    how : object
        As of `norms_of`.

    Returns
    -------
    kind : {"max", "median", "window", "continuum"} or None
    window : (float, float)
        NaN for all but a window.

    Raises
    ------
    InputError
        If it is no norm.

    Examples
    --------
    >>> parse_norm("window:5080:5120"), parse_norm((508 * u.nm, 512 * u.nm))
    (('window', (5080.0, 5120.0)), ('window', (5080.0, 5120.0)))
    """
    nowhere = (np.nan, np.nan)
    if how is None or (isinstance(how, str) and how in _PLAIN_NORMS):
        return how, nowhere
    try:
        if isinstance(how, str):
            word, low, high = how.split(":")
            if word != "window":
                raise ValueError(word)
            window = float(low), float(high)
        else:
            low, high = how
            window = tuple(float(u.Quantity(edge).to_value(u.AA)) for edge in (low, high))
    except (TypeError, ValueError, u.UnitConversionError) as error:
        raise InputError(
            f"how={how!r} is no way to normalise{did_you_mean(how, _PLAIN_NORMS)} Give 'median', 'max', "
            "'continuum', 'window:5080:5120' (Ångström), two wavelengths such as (5080 * u.AA, 5120 * u.AA), "
            "or None"
        ) from error
    if not 0 < window[0] < window[1] < np.inf:
        raise InputError(f"the window {how!r} does not rise from one positive wavelength to another")
    return "window", window


# ---------------------------------------------------------------- tables


def normalization_of(table: Table) -> dict[str, Any] | None:
    """Return how the spectra of a table were normalised.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Any table.

    Returns
    -------
    dict or None
        ``by``, ``softening`` and ``mean``, an (m,) array or None; None if they were not normalised.

    Examples
    --------
    >>> normalization_of(Table({"x": [1]})) is None
    True
    """
    noted = (spectra_facts(table) or {}).get("normalized")
    if not isinstance(noted, Mapping):
        return None
    mean = noted.get("mean")
    return {
        "by": noted.get("by"),
        "softening": float(noted.get("softening", 0.0)),
        "mean": None if mean is None else np.array(mean, dtype=np.float64),
    }


@step
def normalize_spectra(
    table: Source,
    how: Any = "median",
    *,
    subtract_mean: bool | Any = False,
    softening: float = 0.0,
    prefix: str = "",
    overwrite: bool = False,
) -> Step:
    """Bring the spectra of a table to one scale.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A table of spectra.
    how : str, (`~astropy.units.Quantity`, `~astropy.units.Quantity`) or None, optional
        What each spectrum is divided by: its ``"median"``, ``"max"``, the median within a window
        (``"window:5080:5120"`` in Ångström, or two wavelengths with a unit; in the frame of the
        grid), or its ``"continuum"``, pixel by pixel.  Pixels that do not count take no part.
    subtract_mean : bool or (m,) array of float, optional
        Take the weighted mean of the normalised spectra off all of them; or this one, so that new
        spectra are treated as those were that a model was trained with
        (``normalization_of(old)["mean"]``).
    softening : float, optional
        An error in units of the normalised flux that is added in squares to that of each pixel.
        The new ``ivar`` are then the weights ``ivar / (1 + ivar σ²)`` of the quasar study.
    prefix : str, optional
        Put before the names of the new columns, so that the old spectra stay beside them.  The
        table then tells of the new ones.  Without it they replace the old ones.
    overwrite : bool, optional
        Replace other columns of the same names, too.

    Returns
    -------
    `~astropy.table.QTable`
        With ``flux`` and ``ivar`` of unit 1 and the column ``flux_norm``, what the flux was divided
        by.  After ``"continuum"`` that is the median of the continuum, which is itself in
        the column ``continuum``.  A spectrum whose norm is not positive has no data any more, and
        its ``flux_norm`` is masked.

    Raises
    ------
    InputError
        If the table has no spectra, they are normalised already, or there is no such norm.

    Notes
    -----
    The quasar study divides by the maximum.  The maximum of noise grows with the number of pixels and
    with their errors: a faint spectrum is then made too small, and one cosmic ray decides for a
    whole row.  The median is the default for that reason.

    Examples
    --------
    >>> from astro_cluster.wavelengths import log_grid, note_spectra
    >>> table = QTable({"flux": [[1.0, 2.0, 4.0], [3.0, 6.0, 6.0]] * u.Jy})
    >>> note_spectra(table, log_grid(4000 * u.AA, 5000 * u.AA, 3), ivar=None)
    >>> out = normalize_spectra(table)
    >>> out["flux"]
    <Quantity [[0.5, 1. , 2. ],
               [0.5, 1. , 1. ]]>
    >>> out["flux_norm"]
    <Quantity [2., 6.] Jy>
    """
    table = without_lost_spectra(as_qtable(table))
    spectra = spectra_of(table)
    kind, window = parse_norm(how)
    if normalization_of(table) is not None:
        raise InputError(
            f"the spectra are normalised already (by {normalization_of(table)['by']}): "  # type: ignore[index]
            "start from the table before that step"
        )
    softened(np.ones(1), softening)
    given_mean = _checked_mean(subtract_mean, len(spectra.grid))
    names = check_names(table, spectra, prefix, overwrite=overwrite)
    added = ["flux_norm", *(["continuum"] if kind == "continuum" else [])]
    check_free(table, [column_name(key, prefix=prefix) for key in added], overwrite=overwrite)

    flux, ivar, norms, fitted = _divided(spectra, kind, how, softening)
    mean = given_mean
    if mean is None and subtract_mean is not False:
        mean = mean_spectrum(flux, ivar)
    if mean is not None:
        flux -= mean.astype(flux.dtype)
    by = f"window:{window[0]:.10g}:{window[1]:.10g}" if kind == "window" else kind
    noted = {"by": by, "softening": float(softening), "mean": None if mean is None else mean.tolist()}
    out = replaced_spectra(
        table, spectra, flux, ivar, names=names, grid=spectra.grid, unit=u.one, normalized=noted
    )
    bad = ~(norms > 0)
    _add_with_unit(
        out, "flux_norm", np.where(bad, np.nan, norms), spectra.unit, bad, prefix=prefix, how=str(by)
    )
    if fitted is not None:
        _add_with_unit(out, "continuum", fitted, spectra.unit, None, prefix=prefix)
    _warn_of(spectra, bad, by)
    return Step(out, table, inputs=sources_of_spectra(table), parameters={"how": by})


def _checked_mean(mean: Any, m: int) -> np.ndarray | None:
    if isinstance(mean, bool | np.bool_):
        return None
    try:
        values = np.array(mean, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape != (m,) or not np.isfinite(values).all():
        raise InputError(
            f"subtract_mean is neither True nor False nor a mean spectrum of {m} finite numbers, on the grid "
            "of the table"
        )
    return values


def _divided(
    spectra: Spectra, kind: str | None, how: Any, softening: float
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray | None]:
    """Return normalised flux and inverse variance, the norms, and the continua if they are it."""
    n = len(spectra)
    old = spectra.flux.dtype
    dtype = np.dtype(np.float32 if old.kind == "f" and old.itemsize <= 4 else np.float64)
    flux, norms = np.empty(spectra.flux.shape, dtype), np.empty(n)
    ivar = None if spectra.ivar is None else np.empty(spectra.flux.shape, dtype)
    fitted = np.empty(spectra.flux.shape, dtype) if kind == "continuum" else None
    for rows in _blocks(n):
        some = None if spectra.ivar is None else spectra.ivar[rows]
        values = spectra.flux[rows].astype(np.float64)
        if fitted is None:
            norms[rows] = norms_of(values, some, spectra.grid, how)
            scale = norms[rows, None]
        else:
            scale = continua_of(values, some, spectra.grid)
            norms[rows] = _levels(scale, counting(values, some))
            fitted[rows] = scale
        norms[rows] = np.where(spectra.usable[rows], norms[rows], np.nan)
        scale = np.where((scale > 0) & (norms[rows, None] > 0), scale, np.nan)
        flux[rows] = values / scale
        if ivar is not None and some is not None:
            # What is infinite does not count, and softening must not make a weight of it.
            counts = counting(flux[rows], some)
            with np.errstate(invalid="ignore"):
                ivar[rows] = softened(np.where(counts, some * scale**2, 0.0), softening)
    return flux, ivar, norms, fitted


def _add_with_unit(
    table: QTable,
    key: str,
    values: np.ndarray,
    unit: u.UnitBase,
    mask: np.ndarray | None,
    *,
    prefix: str,
    **words: str,
) -> None:
    """Add a registered column whose unit is that of the flux."""
    name = add_column(table, key, values, mask=mask, prefix=prefix, **words)
    column = values << unit
    if mask is not None and mask.any():
        column = Masked(column, mask=mask)
    table.replace_column(name, with_info(column, table[name]))


def _warn_of(spectra: Spectra, bad: np.ndarray, by: str | None) -> None:
    """Say which spectra that could be read have no norm."""
    lost = np.flatnonzero(bad & spectra.usable)
    if lost.size:
        shown = ", ".join(map(str, lost[:_MOST_NAMED])) + (", …" if lost.size > _MOST_NAMED else "")
        warnings.warn(
            f"{lost.size} of {len(bad)} spectra cannot be normalised by {by}: it is not positive, or no "
            f"pixel counts; they stay without data: row{'s' if lost.size > 1 else ''} {shown}",
            AstroClusterWarning,
            stacklevel=4,
        )
