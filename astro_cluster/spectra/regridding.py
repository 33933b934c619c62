"""Spectra onto another grid of wavelengths: flux kept, straight lines, or the study's polynomials."""

from __future__ import annotations

import warnings
from typing import Any, get_args

import numpy as np
from astropy import units as u
from astropy.table import Column, MaskedColumn, QTable
from astropy.utils.masked import Masked

from astro_cluster.columns import column_name, require, with_info
from astro_cluster.exceptions import AstroClusterWarning, InputError, did_you_mean
from astro_cluster.provenance import OMIT, Step, register_codec, step
from astro_cluster.spectra.air import to_medium
from astro_cluster.spectra.continuum import medians_of
from astro_cluster.spectra.holding import BAD, Spectra, sources_of_spectra, spectra_of
from astro_cluster.spectra.normalising import normalization_of
from astro_cluster.spectra.replacing import replaced_spectra
from astro_cluster.tables import Source, as_qtable, float_values
from astro_cluster.threads import available_threads, run_all
from astro_cluster.wavelengths import Frame, Grid

__all__ = ["METHODS", "regrid", "regrid_rows"]

METHODS = ("flux-conserving", "linear", "study")
"""Ways to resample, see `regrid`."""

_BLOCK_BYTES = 2**21  # of fluxes as float64; what is made of them should stay in the caches
_BLOCK_ROWS = 1024
_MOST_NAMED = 5

register_codec("grid", Grid, Grid.to_plain, Grid.from_plain)


# ---------------------------------------------------------------- arrays


def regrid_rows(
    wavelength: Any,
    flux: Any,
    ivar: Any,
    grid: Grid | Any,
    *,
    method: str = "flux-conserving",
    factors: Any = None,
    n_threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Put spectra onto a grid of wavelengths.

    Parameters
    ----------
    wavelength : (p,) or (n, p) array of float or `~astropy.units.Quantity`
        Middles of the pixels, shared by all spectra or of each; in Ångström unless they have a
        unit.  They may rise or fall.  Rows of their own may end with NaN where they are shorter.
    flux : (n, p) or (p,) array of float
        Fluxes per wavelength; NaN where there is none.
    ivar : array of float of the same shape, or None
        Inverse variances; what is not positive and finite is a pixel that must not count.
    grid : Grid, array of float or `~astropy.units.Quantity`
        The new wavelengths, rising, in the same frame and medium.
    method : {"flux-conserving", "linear", "study"}, optional
        As of `~astro_cluster.spectra.regrid`.
    factors : (n,) array of float, optional
        What the old wavelengths are multiplied by in each row: ``1 / (1 + z)`` for the rest frame.
    n_threads : int, optional
        Threads; as many as cores if not given.  The result is the same.

    Returns
    -------
    flux : (n, m) or (m,) array
        float32 if the given ones are, else float64; NaN where the spectrum has no data.
    ivar : array of the same shape, or None
        In the same way; 0 where a pixel must not count.  None if none was given.

    Raises
    ------
    InputError
        If the shapes do not fit, the method is unknown, or shared wavelengths neither rise nor
        fall.  A single row with such wavelengths becomes NaN, with a warning.

    Examples
    --------
    >>> flux, ivar = regrid_rows([1, 2, 3, 4], [1, 3, 5, 7], np.ones(4), [1.5, 3.5])
    >>> flux, ivar
    (array([2., 6.]), array([2., 2.]))

    The same pixels of two objects, in the frame of each:

    >>> flux, ivar = regrid_rows(
    ...     np.arange(4000.0, 8000), np.ones((2, 4000)), None, [2000.0, 2001.0], factors=[0.5, 0.9]
    ... )
    >>> flux
    array([[ 1.,  1.],
           [nan, nan]])
    """
    kernel = _kernel_of(method)
    values, weights, is_single = _rows_of(flux, ivar)
    n, p = values.shape
    old = np.atleast_2d(_angstrom(wavelength, "wavelength"))
    if old.shape not in ((1, p), (n, p)):
        raise InputError(
            f"the wavelengths have the shape {np.shape(wavelength)} and the fluxes {np.shape(flux)}: give as "
            "many wavelengths as pixels, one row for all spectra or one for each"
        )
    scale = np.ones(n) if factors is None else np.array(factors, dtype=np.float64).reshape(-1)
    if scale.size != n:
        raise InputError(f"there are {scale.size} factors and {n} spectra")
    middles = grid.angstrom if isinstance(grid, Grid) else Grid(_angstrom(grid, "grid")).angstrom
    new_flux = np.empty((n, middles.size), _kind_of(values))
    new_ivar = None if weights is None else np.empty((n, middles.size), _kind_of(weights))
    state = np.zeros(n, np.int8)

    def work(rows: slice) -> None:
        block = np.ascontiguousarray(values[rows], dtype=np.float64)
        counts = np.ones_like(block) if weights is None else np.ascontiguousarray(weights[rows], np.float64)
        places = np.ascontiguousarray(old if len(old) == 1 else old[rows])
        out, out_ivar = (np.empty((len(block), middles.size)) for _ in range(2))
        with np.errstate(over="ignore", under="ignore"):
            kernel(places, scale[rows], block, counts, middles, out, out_ivar, state[rows])
            new_flux[rows] = out
            if new_ivar is not None:
                new_ivar[rows] = out_ivar

    size = max(1, _BLOCK_BYTES // (8 * max(1, p)))
    blocks = [slice(at, min(at + size, n)) for at in range(0, n, size)]
    tasks = [lambda rows=rows: work(rows) for rows in blocks]
    if tasks:
        run_all(tasks, available_threads() if n_threads is None else max(1, n_threads))
    _tell(state, factors, is_shared=len(old) == 1)
    return (new_flux[0], None if new_ivar is None else new_ivar[0]) if is_single else (new_flux, new_ivar)


def _kernel_of(method: str) -> Any:
    from astro_cluster.spectra import kernels

    known = {
        "flux-conserving": kernels.conserve,
        "linear": kernels.interpolate,
        "study": kernels.through_five,
    }
    if method not in known:
        raise InputError(
            f"method={method!r} is no way to resample{did_you_mean(method, METHODS)} "
            f"It is one of {', '.join(METHODS)}"
        )
    return known[method]


def _angstrom(values: Any, what: str) -> np.ndarray:
    try:
        if isinstance(values, u.Quantity) and values.unit != u.one:
            return np.asarray(_plain(values.to(u.AA, u.spectral())), dtype=np.float64)
        return np.asarray(_plain(values), dtype=np.float64)
    except (TypeError, ValueError, u.UnitConversionError) as error:
        raise InputError(f"{what} has to be wavelengths, in Ångström or with a unit: {error}") from error


def _plain(values: Any) -> np.ndarray:
    """Return an array without unit and mask; what is masked becomes NaN."""
    bare = values.value if isinstance(values, u.Quantity) else values
    if isinstance(bare, Masked | np.ma.MaskedArray):
        data = np.ma.getdata(getattr(bare, "unmasked", bare))
        kind = data.dtype if data.dtype.kind == "f" else np.float64
        return np.where(np.broadcast_to(bare.mask, data.shape), np.nan, data.astype(kind))
    return np.asarray(bare)


def _rows_of(flux: Any, ivar: Any) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Return fluxes and inverse variances as rows, and whether there was but one, without its own row."""
    values = _plain(flux)
    weights = None if ivar is None else _plain(ivar)
    if values.ndim not in (1, 2) or values.dtype.kind not in "fiu":
        raise InputError(
            f"the fluxes have the shape {values.shape} and type {values.dtype}; give numbers, (p,) for one "
            "spectrum or (n, p) for n"
        )
    if weights is not None and (weights.shape != values.shape or weights.dtype.kind not in "fiu"):
        raise InputError(
            f"ivar has the shape {weights.shape} and type {weights.dtype}, the flux {values.shape} of "
            f"{values.dtype}; give a number for each flux"
        )
    is_single = values.ndim == 1
    return np.atleast_2d(values), None if weights is None else np.atleast_2d(weights), is_single


def _kind_of(values: np.ndarray) -> np.dtype:
    is_short = values.dtype.kind == "f" and values.dtype.itemsize <= 4
    return np.dtype(np.float32 if is_short else np.float64)


def _tell(state: np.ndarray, factors: Any, *, is_shared: bool) -> None:
    """Say which rows had wavelengths that are none."""
    bad = np.flatnonzero(state)
    if not bad.size:
        return
    if is_shared and factors is None:
        raise InputError(
            "the wavelengths of the spectra must be at least two, finite and positive, and rise or fall "
            "from pixel to pixel"
        )
    _warn(
        f"{bad.size} of {state.size} spectra have wavelengths that neither rise nor fall, or none, and stay "
        f"without data: {_named(bad)}"
    )


def _named(rows: np.ndarray) -> str:
    shown = ", ".join(map(str, rows[:_MOST_NAMED])) + (", …" if rows.size > _MOST_NAMED else "")
    return f"row{'s' if rows.size > 1 else ''} {shown}"


def _warn(message: str) -> None:
    warnings.warn(message, AstroClusterWarning, stacklevel=4)


# ---------------------------------------------------------------- tables


@step
def regrid(
    table: Source,
    grid: Grid | str | Any,
    *,
    method: str = "flux-conserving",
    frame: Frame | None = None,
    redshift: str = "redshift",
    n_threads: int | None = None,
) -> Step:
    """Put the spectra of a table onto another grid of wavelengths, or into another frame.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A table of spectra.
    grid : Grid, str or `~astropy.units.Quantity`
        The new wavelengths: a grid, with its medium and frame; a text such as ``"3625:9000:1500"``
        (first, last, number), or wavelengths, both in the medium and the frame of the table.
    method : {"flux-conserving", "linear", "study"}, optional
        How to resample, see Notes.
    frame : {"observed", "rest"}, optional
        Frame of the new wavelengths, in place of the grid's.
    redshift : str, optional
        Column of the redshifts, for a change of the frame.
    n_threads : int, optional
        Threads; as many as cores if not given.  The result is the same.

    Returns
    -------
    `~astropy.table.QTable`
        With the new spectra in the place of the old ones, in the same columns.  Where a spectrum has
        no data, the flux is NaN and the inverse variance 0.  The columns ``coverage`` and
        ``snr_median`` of `~astro_cluster.read_spectra` are those of the new spectra.

    Raises
    ------
    InputError
        If the table has no spectra, their mean was taken off, the grid or the method is none, or a
        redshift is needed and there is no such column.

    Notes
    -----
    ``"flux-conserving"`` takes the mean of the old pixels that a new one overlaps, weighted by the overlap p;
    the variance is ``Σ p² σ² / (Σ p)²`` (Carnall 2017, arXiv:1705.05165), as the ``FluxConservingResampler``
    of specutils.  Pixels reach halfway to their neighbours.  Masked pixels are left out, and the mean
    is that of the others, if these cover half of the new pixel or more.  If not, the inverse variance is
    0 and the flux that of all pixels that have one, masked or not; NaN if those cover less than half.
    The same holds for new pixels that reach beyond the spectrum.  (specutils takes no notice of masks;
    of pixels that reach beyond, it keeps the first and drops the last.)

    ``"linear"`` draws lines between the middles of the pixels, of flux and inverse variance alike, as the
    ``LinearInterpolatedResampler`` does with an ``InverseVariance``.  ``"study"`` is what the quasar
    study did: a polynomial of the 4th degree through the nearest five pixels; the error is the larger
    one of the two neighbours.  With both, a new pixel counts only if both its neighbours do.

    **Errors are no longer independent.**  New pixels that share an old one have errors in common, whatever
    the method, and the new inverse variances do not say so.  Neither line nor polynomial average over
    wide pixels: what they do not touch is thrown away.

    Going to another frame changes the wavelengths; numbers of the flux stay (multiply by 1 + z for the
    flux density per wavelength of the rest frame).

    Examples
    --------
    >>> from astro_cluster.wavelengths import grid_of, log_grid, note_spectra
    >>> table = QTable({"flux": np.ones((2, 50)) * u.Jy, "z": [0.0, 0.3]})
    >>> note_spectra(table, log_grid(4000 * u.AA, 6000 * u.AA, 50), ivar=None)
    >>> out = regrid(table, "4000:5000:3", frame="rest", redshift="z")
    >>> out["flux"], grid_of(out).frame
    (<Quantity [[1., 1., 1.],
               [1., 1., nan]] Jy>, 'rest')
    """
    table = as_qtable(table)
    spectra = spectra_of(table)
    normalized = normalization_of(table)
    if normalized is not None and normalized["mean"] is not None:
        raise InputError(
            "the mean spectrum was taken off these spectra, on the old wavelengths: regrid them before "
            "normalize_spectra"
        )
    target = _target(grid, spectra.grid, frame)
    _kernel_of(method)
    factors, unknown, inputs = _factors(table, spectra.grid.frame, target.frame, redshift)
    old, new = spectra.grid.angstrom, target
    if (spectra.grid.medium, spectra.grid.frame) != (target.medium, target.frame):
        # Redshifts hold in vacuum, whatever the wavelengths are given in.
        old = to_medium(old, spectra.grid.medium, "vacuum")
        new = Grid(to_medium(target.angstrom, target.medium, "vacuum"))
    flux, ivar = regrid_rows(
        old, spectra.flux, spectra.ivar, new, method=method, factors=factors, n_threads=n_threads
    )
    if unknown.size:
        flux[unknown] = np.nan
        if ivar is not None:
            ivar[unknown] = 0.0
    _tell_of_loss(table, spectra, flux, target, unknown, redshift)
    names = spectra.flux_column, spectra.ivar_column
    out = replaced_spectra(table, spectra, flux, ivar, names=names, grid=target, unit=spectra.unit)
    _look_again(out, flux, ivar)
    inputs = [*sources_of_spectra(table), *inputs]
    return Step(out, table, inputs=inputs, parameters={"grid": target, "frame": None, "n_threads": OMIT})


def _target(grid: Any, old: Grid, frame: Frame | None) -> Grid:
    """Return the grid that is meant."""
    if frame is not None and frame not in get_args(Frame):
        raise InputError(f"frame={frame!r} is no frame; give 'observed' or 'rest'")
    if isinstance(grid, str):
        return Grid.parse(grid, medium=old.medium, frame=frame or old.frame)
    if not isinstance(grid, Grid):
        return Grid(_angstrom(grid, "grid"), old.medium, frame or old.frame)
    return grid if frame in (None, grid.frame) else Grid(grid.angstrom, grid.medium, frame)


def _factors(
    table: QTable, old: Frame, new: Frame, redshift: str
) -> tuple[np.ndarray | None, np.ndarray, list[str]]:
    """Return factors of the wavelengths, the rows whose redshift is unknown, and the columns looked at."""
    if old == new:
        return None, np.empty(0, dtype=np.int64), []
    if redshift not in table.colnames:
        raise InputError(
            f"the spectra are in the {old} frame and the grid is in the {new} frame, which needs redshifts: "
            f"there is no column {redshift!r}{did_you_mean(redshift, table.colnames)} Name theirs with "
            "redshift='Z'"
        )
    require(table, redshift)
    z = float_values(table[redshift])
    if z.shape != (len(table),):
        raise InputError(f"column {redshift!r} has the shape {z.shape}; give one with a redshift a row")
    known = np.isfinite(z) & (z > -1)
    stretch = np.where(known, 1 + z, 1.0)
    return (1 / stretch if new == "rest" else stretch), np.flatnonzero(~known), [redshift]


def _look_again(table: QTable, flux: np.ndarray, ivar: np.ndarray | None) -> None:
    """Set what `~astro_cluster.read_spectra` said of the old pixels for the new ones, in place."""

    def signal_to_noise(rows: slice) -> np.ndarray:
        weights = np.ones_like(flux[rows]) if ivar is None else ivar[rows]
        counts = np.isfinite(flux[rows]) & (weights > 0)
        with np.errstate(invalid="ignore"):
            return medians_of(flux[rows] * np.sqrt(weights), counts)

    measures = {"spectrum_coverage": lambda rows: np.isfinite(flux[rows]).mean(axis=1)}
    if ivar is not None:
        measures["snr_median"] = signal_to_noise
    for key, measure in measures.items():
        name = column_name(key)
        # A coverage that is not beside spectrum_bad is of something else.
        if name not in table.colnames or BAD not in table.colnames:
            continue
        blocks = [slice(at, at + _BLOCK_ROWS) for at in range(0, len(flux), _BLOCK_ROWS)]
        values = np.concatenate([np.empty(0), *map(measure, blocks)])
        bad = ~np.isfinite(values) | (values == 0 if key == "spectrum_coverage" else False)
        column = MaskedColumn(values, mask=bad) if bad.any() else Column(values)
        table.replace_column(name, with_info(column, table[name]))


def _tell_of_loss(
    table: QTable, spectra: Spectra, flux: np.ndarray, grid: Grid, unknown: np.ndarray, redshift: str
) -> None:
    """Warn of what the caller may not expect: no redshift, no overlap, columns left behind."""
    lost = unknown[spectra.usable[unknown]]
    if lost.size:
        _warn(
            f"{lost.size} of {len(table)} spectra have no redshift above -1 in {redshift!r} and stay without "
            f"data: {_named(lost)}"
        )
    usable = spectra.usable.copy()
    usable[unknown] = False
    beyond = np.array([row for row in np.flatnonzero(usable) if not np.isfinite(flux[row]).any()])
    if beyond.size:
        _warn(f"{beyond.size} of {len(table)} spectra have no data at any of the {grid}: {_named(beyond)}")
    ours = (spectra.flux_column, spectra.ivar_column)
    shape = spectra.flux.shape
    left = [n for n in table.colnames if n not in ours and np.shape(table[n]) == shape]
    if left and grid != spectra.grid:
        _warn(
            f"the columns {', '.join(left)} stay on the old wavelengths: make them anew from the new spectra"
        )
