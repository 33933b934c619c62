"""Simulated spectra of quasars as files of the survey: spec-PLATE-MJD-FIBER.fits."""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from numpy.typing import NDArray

from astro_cluster.exceptions import InputError
from astro_cluster.simulate.image_files import check_free, make_folder, need_columns
from astro_cluster.simulate.quasar_noise import NATIVE_STEP
from astro_cluster.simulate.quasar_spectra import FLUX_UNIT
from astro_cluster.wavelengths import Grid, grid_of

__all__ = ["native_grid", "write_spectra"]

_FIRST, _LAST = 3.5560, 4.0140  # log10 of the wavelengths that the files reach to
_BRIGHT_SKY = 1 << 23  # bit of the survey's masks
_COADD = np.dtype(
    [("FLUX", ">f4"), ("LOGLAM", ">f4"), ("IVAR", ">f4"), ("AND_MASK", ">i4"), ("OR_MASK", ">i4"),
     ("WDISP", ">f4"), ("SKY", ">f4"), ("MODEL", ">f4")]
)  # fmt: skip
_SPECOBJ = np.dtype(
    [("CLASS", "S6"), ("SUBCLASS", "S21"), ("PLATE", ">i4"), ("MJD", ">i4"), ("FIBERID", ">i4"),
     ("PLUG_RA", ">f8"), ("PLUG_DEC", ">f8"), ("Z", ">f4"), ("Z_ERR", ">f4"), ("ZWARNING", ">i4"),
     ("SN_MEDIAN_ALL", ">f4")]
)  # fmt: skip


def native_grid() -> Grid:
    """Return the wavelengths of the survey's own pixels.

    Returns
    -------
    Grid
        Every 1e-4 in the decimal logarithm from 3597 to 10,328 Å, in vacuum.

    Examples
    --------
    >>> print(native_grid())
    4581 log-spaced wavelengths 3597.49–10327.6 Å (vacuum, observed frame)
    """
    n = round((_LAST - _FIRST) / NATIVE_STEP) + 1
    return Grid(10 ** (_FIRST + NATIVE_STEP * np.arange(n)), logarithmic=True)


def write_spectra(table: QTable, folder: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
    """Write simulated quasars as BOSS does: a FITS file each, on pixels of 1e-4 in log10(wavelength).

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Result of `quasars`, or some of its rows; best made with ``grid=simulate.native_grid()``.
    folder : path
        Where to; made if it is not there.
    overwrite : bool, optional
        Whether files of the same names may be replaced.

    Returns
    -------
    list of path
        The files, in the order of the rows.

    Raises
    ------
    InputError
        If the table is none of `quasars`, or a file is there already.

    Notes
    -----
    The files have the HDUs, columns and the cards that matter of those of the survey: ``COADD`` with FLUX,
    LOGLAM, IVAR, AND_MASK, OR_MASK, WDISP, SKY and MODEL, ``SPECOBJ`` with the redshift and the class.
    A pixel of no weight keeps an inverse variance there and has the bit of a bright sky in its masks; pixels
    that a spectrum does not cover are not in its file.  MODEL holds ``flux_true`` if the table has it, else a
    running median.  On another grid than the survey's the fluxes are interpolated, and the noise of
    neighbouring pixels is then alike.

    Examples
    --------
    >>> from astro_cluster import simulate
    >>> folder = getfixture("tmp_path")
    >>> table = simulate.quasars(2, grid=simulate.native_grid())
    >>> [path.name for path in write_spectra(table, folder)]
    ['spec-20001-55001-0001.fits', 'spec-20001-55001-0002.fits']
    """
    need_columns(table, ("source_id", "flux", "ivar", "redshift", "ra", "dec"), "quasars")
    grid = grid_of(table)
    names = [str(name) for name in table["source_id"]]
    wrong = next((name for name in names if not re.fullmatch(r"\d+-\d+-\d+", name)), None)
    if wrong is not None:
        raise InputError(
            f"source_id {wrong!r} is no plate, date and fibre; give the table of simulate.quasars, or some "
            "of its rows"
        )
    if twice := next((name for name, count in Counter(names).items() if count > 1), None):
        raise InputError(f"source_id {twice!r} is in more than one row; each file needs a name of its own")
    if grid.frame != "observed" or grid.medium != "vacuum":
        raise InputError(f"the survey's files hold observed wavelengths in vacuum, not {grid}")
    folder = make_folder(folder)
    paths = [folder / f"spec-{name}.fits" for name in names]
    for path in paths:
        check_free(path, overwrite=overwrite)
    for row, path in enumerate(paths):
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(_file(table, row, grid))
        part.replace(path)
    return paths


def _row(table: QTable, name: str, row: int, unit: u.UnitBase) -> NDArray[np.float64]:
    column = table[name]
    values = column[row].to_value(unit) if isinstance(column, u.Quantity) else column[row]
    return np.asarray(values, dtype=np.float64)


def _native(table: QTable, row: int, grid: Grid) -> dict[str, NDArray[np.generic]]:
    """Return the columns of the spectrum on native pixels."""
    from scipy.ndimage import median_filter

    flux, ivar = _row(table, "flux", row, FLUX_UNIT), _row(table, "ivar", row, FLUX_UNIT**-2)
    there = np.isfinite(flux)
    if there.sum() < 2:
        raise InputError(f"row {row} has no flux; leave out the rows without a spectrum")
    counts = there & (ivar > 0)
    model = _row(table, "flux_true", row, FLUX_UNIT) if "flux_true" in table.colnames else flux
    wave = grid.angstrom
    if counts.any():
        ivar = np.exp(np.interp(wave, wave[counts], np.log(ivar[counts])))
    if "flux_true" not in table.colnames:
        model = median_filter(np.where(there, flux, np.median(flux[there])), 25)
    native = native_grid()
    step = float(np.median(np.diff(np.log10(grid.edges))))
    if np.abs(step / NATIVE_STEP - 1) < 1e-6:
        native = grid
    # To the edges of the outermost pixels, for else a coarse grid would not be covered by its own files.
    first, last = grid.edges[np.flatnonzero(there)[[0, -1]] + [0, 1]]
    at = native.angstrom[(native.angstrom >= first) & (native.angstrom <= last)]
    nearest = np.clip(np.searchsorted(wave, at / np.sqrt(10**step)), 0, wave.size - 1)
    masked = np.where(counts[nearest], 0, _BRIGHT_SKY).astype(np.int32)
    return {
        "FLUX": np.interp(at, wave[there], flux[there]).astype(np.float32),
        "LOGLAM": np.log10(at).astype(np.float32),
        "IVAR": (np.interp(at, wave, ivar) * NATIVE_STEP / step).astype(np.float32),
        "AND_MASK": masked,
        "OR_MASK": masked,
        "WDISP": np.full(at.size, 1.0, dtype=np.float32),
        "SKY": np.zeros(at.size, dtype=np.float32),
        "MODEL": np.interp(at, wave, model).astype(np.float32),
    }


def _file(table: QTable, row: int, grid: Grid) -> bytes:
    """Return one spectrum as a file of the survey."""
    columns = _native(table, row, grid)
    plate, mjd, fiber = map(int, str(table["source_id"][row]).split("-"))
    ra, dec = (float(_row(table, name, row, u.deg)) for name in ("ra", "dec"))
    ratio = float(np.median(columns["FLUX"] * np.sqrt(columns["IVAR"])))
    coadd = np.empty(columns["FLUX"].size, dtype=_COADD)
    for name, values in columns.items():
        coadd[name] = values
    known = (b"QSO", b"BROADLINE", plate, mjd, fiber, ra, dec, table["redshift"][row], 1e-4, 0, ratio)
    own = {
        "MJD": mjd, "PLATEID": plate, "FIBERID": fiber, "RA": ra, "DEC": dec, "PLUG_RA": ra, "PLUG_DEC": dec,
        "COEFF0": float(np.round(np.float64(columns["LOGLAM"][0]), 4)),
    }  # fmt: skip
    primary, *extensions = _headers()
    cards = "".join(fits.Card(name, value).image for name, value in own.items())
    parts = [_padded((primary + cards + "END").encode("ascii"), b" ")]
    for header, rows in zip(extensions, (coadd, np.array([known], dtype=_SPECOBJ)), strict=True):
        number = header.index("NAXIS2  =") + 9
        told = f"{header[:number]} {len(rows):>20d}{header[number + 21 :]}"
        parts += [told.encode("ascii"), _padded(rows.tobytes(), b"\0")]
    return b"".join(parts)


@functools.cache
def _headers() -> tuple[str, str, str]:
    """Return what the headers of all files have in common: making them anew takes most of the time."""
    primary = fits.PrimaryHDU().header
    for key, value, comment in (
        ("TELESCOP", "SIMULATED", "No observation"), ("EQUINOX", 2000.0, ""), ("RADECSYS", "FK5", ""),
        ("VACUUM", True, "Wavelengths are in vacuum"), ("NWORDER", 2, ""), ("WFITTYPE", "LOG-LINEAR", ""),
        ("COEFF1", NATIVE_STEP, "log10 of the pixel"), ("DC-FLAG", 1, ""),
        ("BUNIT", "1E-17 erg/cm^2/s/Ang", ""),
    ):  # fmt: skip
        primary[key] = (value, comment)
    primary.add_comment("Simulated by astro_cluster; no observation")
    coadd, specobj = (
        fits.BinTableHDU(np.zeros(1, dtype=kind.newbyteorder("=")), name=name).header.tostring()
        for kind, name in ((_COADD, "COADD"), (_SPECOBJ, "SPECOBJ"))
    )
    return primary.tostring(endcard=False, padding=False), coadd, specobj


def _padded(content: bytes, by: bytes) -> bytes:
    """Return content that fills whole blocks of a FITS file."""
    return content + by * (-len(content) % 2880)
