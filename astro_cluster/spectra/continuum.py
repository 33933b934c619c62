"""The continuum of many spectra at once: a low polynomial, from which lines are clipped."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from astro_cluster.exceptions import InputError
from astro_cluster.wavelengths import Grid

__all__ = ["continua_of", "medians_of"]

_BLOCK_ROWS = 1024
_SIGMA = 1.4826  # of a Gaussian over the median of its absolute values
_LEAST_PIXELS = 3  # for each coefficient, or there is nothing to fit


def continua_of(
    flux: np.ndarray,
    ivar: np.ndarray | None,
    grid: Grid,
    *,
    degree: int = 3,
    above: float = 2.0,
    below: float = 3.0,
    rounds: int = 8,
) -> np.ndarray:
    """Fit the continuum of each spectrum.

    Parameters
    ----------
    flux : (n, m) array of float
        Fluxes, NaN where there is none.
    ivar : (n, m) array of float or None
        Inverse variances, 0 where a pixel must not count.
    grid : Grid
        The m wavelengths.
    degree : int, optional
        Degree of the polynomial in the logarithm of the wavelength.
    above, below : float, optional
        Pixels further above or below the fit than so many standard deviations are left out: above
        it are the emission lines, below absorption.
    rounds : int, optional
        Most repetitions of fit and clipping.

    Returns
    -------
    (n, m) array of float64
        NaN in rows with fewer than three counting pixels for each coefficient.

    Raises
    ------
    InputError
        If the degree is no whole number from 0 to 12.

    Notes
    -----
    Weighted least squares in Chebyshev polynomials, as the ``fit_generic_continuum`` of specutils (degree 3
    there, too), which is linear, so that all spectra are solved at once.  It is repeated without the
    pixels that deviate, until no row changes: the standard deviation is 1.4826 times the median of
    the absolute residuals over their errors, so that it grows where the polynomial cannot follow.
    A pixel left out may come back.

    What it cannot do: broad lines are not narrow against a spectrum.  Blends of them (Lyman α with N V,
    the iron below Mg II and Hβ, the small blue bump) look like continuum to any polynomial, and pull the
    fit up by several percent; blueward of Lyman α there is forest and no continuum to be seen.  For the
    physics of lines fit a model of the quasar; as a scale of its brightness this does.

    Examples
    --------
    >>> grid = Grid(np.linspace(4000.0, 8000.0, 400))
    >>> power = 2.0 * (grid.angstrom / 6000) ** -1.5
    >>> line = 3.0 * np.exp(-0.5 * ((grid.angstrom - 5500) / 40) ** 2)
    >>> found = continua_of((power + line)[None], None, grid)
    >>> bool(np.abs(found / power - 1).max() < 0.01)
    True
    """
    if not isinstance(degree, int | np.integer) or isinstance(degree, bool) or not 0 <= degree <= 12:
        raise InputError(f"degree={degree!r} of a continuum; give a whole number from 0 to 12")
    x = np.log(grid.angstrom)
    terms = np.polynomial.chebyshev.chebvander(2 * (x - x[0]) / (x[-1] - x[0]) - 1, int(degree))
    out = np.full(flux.shape, np.nan)
    for rows in _blocks(len(flux)):
        out[rows] = _fitted(flux[rows], None if ivar is None else ivar[rows], terms, above, below, rounds)
    return out


def _blocks(n: int) -> Iterator[slice]:
    for start in range(0, n, _BLOCK_ROWS):
        yield slice(start, min(start + _BLOCK_ROWS, n))


def _fitted(
    flux: np.ndarray, ivar: np.ndarray | None, terms: np.ndarray, above: float, below: float, rounds: int
) -> np.ndarray:
    """Fit the rows of a block (n, m) by terms (m, k)."""
    values = np.asarray(flux, dtype=np.float64)
    counts = np.isfinite(values)
    if ivar is None:
        weights = counts.astype(np.float64)
    else:
        weights = np.asarray(ivar, dtype=np.float64)
        counts &= (weights > 0) & np.isfinite(weights)
        weights = np.where(counts, weights, 0.0)
    values = np.where(counts, values, 0.0)
    # Scales without meaning (1e-17 erg …) must not decide what is singular.
    level = np.abs(values).max(axis=1, initial=0.0)
    highest = weights.max(axis=1, initial=0.0)
    rows = np.flatnonzero((counts.sum(axis=1) >= _LEAST_PIXELS * terms.shape[1]) & (level > 0))
    out = np.full(values.shape, np.nan)
    flat = counts.any(axis=1) & (level == 0)
    out[flat] = 0.0
    if not rows.size:
        return out
    y, w, used = values[rows] / level[rows, None], weights[rows] / highest[rows, None], counts[rows]
    fit = _solved(y, w, terms)
    active = np.arange(len(rows))
    for _ in range(rounds):
        residual = (y[active] - fit[active]) * np.sqrt(w[active])
        sigma = _SIGMA * medians_of(np.abs(residual), counts[rows[active]])
        kept = (
            counts[rows[active]]
            & (residual <= above * sigma[:, None])
            & (residual >= -below * sigma[:, None])
        )
        enough = kept.sum(axis=1) >= _LEAST_PIXELS * terms.shape[1]
        moved = enough & (kept != used[active]).any(axis=1)
        active = active[moved]
        if not active.size:
            break
        used[active] = kept[moved]
        fit[active] = _solved(y[active], np.where(used[active], w[active], 0.0), terms)
    out[rows] = fit * level[rows, None]
    return out


def _solved(y: np.ndarray, w: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """Return the weighted least-squares fit of each row."""
    k = terms.shape[1]
    products = (terms[:, :, None] * terms[:, None, :]).reshape(len(terms), k * k)
    matrix = (w @ products).reshape(-1, k, k)
    vector = (w * y) @ terms
    # Gaps can leave a coefficient to chance; the smallest solution is then taken.
    found = np.linalg.pinv(matrix, rcond=1e-12, hermitian=True) @ vector[..., None]
    return found[..., 0] @ terms.T


def medians_of(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the median of each row, of the values that count.

    Parameters
    ----------
    values : (n, m) array of float
        Numbers; finite where they count.
    counts : (n, m) array of bool
        Which of them count.

    Returns
    -------
    (n,) array of float64
        NaN where none does.

    Examples
    --------
    >>> medians_of(np.array([[3.0, 1.0, 9.0]]), np.array([[True, True, False]]))
    array([2.])
    """
    ranked = np.where(counts, values, np.inf)
    ranked.sort(axis=1)  # what does not count comes last; np.nanmedian takes a row at a time
    number, each = counts.sum(axis=1), np.arange(len(values))
    low, high = (number - 1) // 2, np.minimum(number // 2, values.shape[1] - 1)
    there = number > 0
    below, above = (np.where(there, ranked[each, side], 0.0).astype(np.float64) for side in (low, high))
    return np.where(there, (below + above) / 2, np.nan)
