"""Spectra in tables: binary FITS tables, VOTables, ECSV, CSV and plain text."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.utils.masked import Masked

from astro_cluster.exceptions import did_you_mean
from astro_cluster.filing.headers import Header
from astro_cluster.spectra.fitsfile import Hdu, header_of
from astro_cluster.spectra.fluxunits import unit_named
from astro_cluster.spectra.found import FoundSpectrum, NoSpectrum, Reading
from astro_cluster.spectra.sdss import medium_of
from astro_cluster.spectra.weighing import ERROR, IVAR, VARIANCE, inverse_variances

__all__ = ["describe", "fits_table_spectrum", "from_columns", "table_spectrum", "text_spectrum"]

_WAVELENGTHS = (
    "wavelength", "wave", "lambda", "lam", "wl", "wavelen", "wavelengths", "wavel", "spectral_axis", "loglam",
    "log_lam", "loglambda", "log_lambda", "logwave", "log_wave", "log_wavelength", "lambda_obs", "wave_obs",
    "frequency", "freq", "energy", "spec_axis", "spectral_coord",
)  # fmt: skip
_FLUXES = (
    "flux", "flux_density", "fluxdensity", "f_lambda", "flambda", "flam", "f_lam", "fnu", "f_nu", "spectrum",
    "spec", "flux_reduced", "intensity", "fluxes", "counts", "y",
)  # fmt: skip
_IVARS = ("ivar", "inverse_variance", "inv_var", "invvar", "flux_ivar", "ivar_flux")
_ERRORS = (
    "error", "err", "flux_err", "flux_error", "fluxerr", "fluxerror", "e_flux", "eflux", "err_flux",
    "error_flux", "sigma", "flux_sigma", "std", "stdev", "noise", "uncertainty", "unc", "flux_unc",
    "flux_uncertainty", "err_reduced", "flux_std",
)  # fmt: skip
_VARIANCES = ("var", "variance", "flux_var")
_REDSHIFTS = ("REDSHIFT", "Z", "Z_BEST")
_UNIT_IN_NAME = re.compile(r"^(.*?)\s*[\[(]([^\])]*)[\])]\s*$")
_NO_ERROR = re.compile(r"fit|model|sky|cont|mask|flag|qual|resol|disp|weight|norm|templ|background|order")
_EXPONENT = re.compile(r"(\d\.?)[dD]([+-]?\d)")  # of Fortran
_COMMENTS = ("#", "%", "!", "//", ";")
_FEWEST = 2  # pixels


# ---------------------------------------------------------------- which columns


def from_columns(
    names: Sequence[str],
    values: Callable[[str], np.ndarray],
    units: Callable[[str], str],
    reading: Reading,
    *,
    by_place: bool = False,
) -> FoundSpectrum:
    """Return the spectrum that columns hold.

    Parameters
    ----------
    names : sequence of str
        Of the columns.
    values, units : callable
        Take a name, and return its numbers and its unit as it is written.
    reading : Reading
        Which columns are meant, if that was said.
    by_place : bool, optional
        Take the first three columns for wavelength, flux and error, whatever they are called.

    Returns
    -------
    FoundSpectrum

    Raises
    ------
    NoSpectrum
        If there are no columns of wavelengths and fluxes.

    Examples
    --------
    >>> columns = {"Wave": np.array([400.0, 401.0]), "Flux": np.ones(2), "Sigma": np.full(2, 0.5)}
    >>> found = from_columns(list(columns), columns.get, {"Wave": "nm"}.get, Reading())
    >>> found.wavelength_unit, found.ivar
    (Unit("nm"), array([4., 4.]))
    """
    known = {_plain_name(name): name for name in reversed(names)}
    wavelength = _pick(known, reading.wavelength, _WAVELENGTHS, "wavelength", names[0] if by_place else None)
    flux = _pick(known, reading.flux, _FLUXES, "flux", names[1] if by_place and len(names) > 1 else None)
    fluxes = np.zeros(0) if flux is None else values(flux)
    if fluxes.dtype.kind not in "iuf":
        raise NoSpectrum(f"its column {flux} holds no numbers")
    if fluxes.ndim > 1 and len(fluxes) > 1:
        raise NoSpectrum(
            f"it is a table of {len(fluxes)} spectra: read it with astro_cluster.read, and give read_spectra "
            "that table (on the command line --table)"
        )
    if wavelength is None or flux is None or wavelength == flux:
        raise NoSpectrum(
            f"it has no columns of wavelengths and fluxes that can be told, but {', '.join(names[:12])}: "
            "give their names (wavelength=, flux=)"
        )
    middles, written = np.ravel(values(wavelength)).astype(np.float64), (units(wavelength) or "").strip()
    is_log = _plain_name(wavelength).startswith("log") or written.lower().startswith(("log", "dex"))
    found = FoundSpectrum(
        wavelength=10.0**middles if is_log else middles,
        flux=np.ravel(fluxes),
        wavelength_unit=unit_named(_within(written) if is_log else written),
        unit=unit_named(units(flux) or ""),
    )
    if is_log and found.wavelength_unit is None:
        found.wavelength_unit = u.AA
    third = names[2] if by_place and len(names) > 2 else None
    if third in (wavelength, flux) or (third is not None and _NO_ERROR.search(_plain_name(third))):
        third = None
    name, power = _errors(known, reading, third)
    if name is not None:
        unit = unit_named(units(name) or "")
        found.ivar = inverse_variances(np.ravel(values(name)), power, unit=unit, flux_unit=found.unit)
    if len({one.size for one in (found.wavelength, found.flux, found.ivar) if one is not None}) > 1:
        raise NoSpectrum(f"it has {found.wavelength.size} wavelengths and {found.flux.size} fluxes")
    return found


def _plain_name(name: str) -> str:
    """Return a name in small letters, without a unit in brackets."""
    bare = _UNIT_IN_NAME.sub(r"\1", name)
    return re.sub(r"[^a-z0-9]+", "_", (bare or name).lower()).strip("_")


def _within(text: str) -> str:
    """Return what stands in the brackets of a logarithm."""
    found = re.search(r"[\[(](.*)[\])]", text)
    return found[1] if found else ""


def _pick(
    known: dict[str, str], asked: str | None, usual: Sequence[str], what: str, otherwise: str | None = None
) -> str | None:
    if asked is not None:
        name = known.get(_plain_name(asked))
        if name is None:
            raise NoSpectrum(f"it has no column {asked!r} ({what}=){did_you_mean(asked, known.values())}")
        return name
    return next((known[name] for name in usual if name in known), otherwise)


def _errors(known: dict[str, str], reading: Reading, third: str | None) -> tuple[str | None, float]:
    """Return the column that tells of errors, None if there is none, and what it holds."""
    if reading.error is None:
        if (name := _pick(known, reading.ivar, _IVARS, "ivar")) is not None:
            return name, IVAR
        if (name := _pick(known, None, _VARIANCES, "error")) is not None:
            return name, VARIANCE
    return _pick(known, reading.error, _ERRORS, "error", third), ERROR


def describe(found: FoundSpectrum, header: Header) -> None:
    """Fill in what a header tells about the object.

    Parameters
    ----------
    found : FoundSpectrum
        Changed in place where it says nothing yet.
    header : dict
        Values and units, by keys in capitals.
    """

    def number(*keys: str) -> float:
        for key in keys:
            value = header.get(key, ("", ""))[0]
            if (
                isinstance(value, float | int | np.number)
                and not isinstance(value, bool)
                and np.isfinite(value)
            ):
                return float(value)
        return np.nan

    found.ra, found.dec = number("RA", "RA_OBJ", "RA_TARG"), number("DEC", "DEC_OBJ", "DEC_TARG")
    found.redshift = number(*_REDSHIFTS)
    name = header.get("OBJECT", header.get("OBJNAME", ("", "")))[0]
    found.source_id = name.strip() if isinstance(name, str) else str(name)


# ---------------------------------------------------------------- tables


_ASKED = ("RA", "RA_OBJ", "RA_TARG", "DEC", "DEC_OBJ", "DEC_TARG", *_REDSHIFTS, "OBJECT", "OBJNAME")


def fits_table_spectrum(hdus: Sequence[Hdu], reading: Reading) -> FoundSpectrum | None:
    """Return the spectrum of the first binary table with columns of wavelengths and fluxes.

    Parameters
    ----------
    hdus : sequence of Hdu
        Of the file.
    reading : Reading
        What is to be taken.

    Returns
    -------
    FoundSpectrum or None
        None if no HDU is a binary table.

    Raises
    ------
    NoSpectrum
        If no table has such columns.
    """
    tables = [hdu for hdu in hdus if hdu.columns]
    problem: NoSpectrum | None = None
    for hdu in tables:
        names = [column.name for column in hdu.columns.values()]
        try:
            found = from_columns(
                names,
                lambda name, hdu=hdu: hdu.column(name.upper()),
                lambda name, hdu=hdu: hdu.unit(name.upper()),
                reading,
            )
        except NoSpectrum as error:
            problem = problem or error
            continue
        found.medium = medium_of([hdu.cards, hdus[0].cards])
        found.unit = found.unit or unit_named(hdu.cards.text("BUNIT") or hdus[0].cards.text("BUNIT"))
        describe(found, header_of(hdus[0].cards, hdu.cards, _ASKED))
        found.header = header_of(hdus[0].cards, hdu.cards, reading.headers)
        return found
    if problem is not None:
        raise problem
    return None


def table_spectrum(table: Any, reading: Reading) -> FoundSpectrum:
    """Return the spectrum of an astropy table.

    Parameters
    ----------
    table : `~astropy.table.Table`
        A pixel a row, or one row with arrays.
    reading : Reading
        What is to be taken.

    Returns
    -------
    FoundSpectrum

    Raises
    ------
    NoSpectrum
        If it has no such columns.

    Examples
    --------
    >>> from astropy.table import Table
    >>> table = Table({"wave": [4000.0, 4001.0], "flux": [1.0, 2.0]}, meta={"REDSHIFT": 0.5})
    >>> found = table_spectrum(table, Reading())
    >>> found.flux, found.redshift, found.ivar is None
    (array([1., 2.]), 0.5, True)
    """

    def values(name: str) -> np.ndarray:
        column = table[name]
        bare = column.value if isinstance(column, u.Quantity) else column
        if bare.dtype.kind == "O" and len(bare) == 1:  # one row of arrays of any length
            bare = np.ma.asarray(np.ma.getdata(bare)[0])[None]
        if isinstance(bare, Masked | np.ma.MaskedArray):
            bare = bare.astype(float).filled(np.nan)
        array = np.asarray(bare)
        if array.dtype.kind not in "iuf":
            raise NoSpectrum(f"its column {name} holds no numbers")
        return array

    def unit(name: str) -> str:
        found = getattr(table[name], "unit", None)
        bracket = _UNIT_IN_NAME.match(name)
        return str(found) if found else bracket[2] if bracket else ""

    found = from_columns(table.colnames, values, unit, reading, by_place=len(table.colnames) <= 3)
    meta = {str(key).upper(): (value, "") for key, value in table.meta.items() if np.isscalar(value)}
    describe(found, meta)
    wanted = reading.headers
    found.header = meta if wanted is None else {key: meta[key] for key in wanted if key in meta}
    return found


# ---------------------------------------------------------------- text


def text_spectrum(data: bytes, reading: Reading) -> FoundSpectrum:
    r"""Return the spectrum of a text: lines of wavelength, flux and, if it is there, error.

    Parameters
    ----------
    data : bytes
        ECSV, CSV, or columns with tabs, semicolons or spaces between them; comments begin with #, %, ! or ;.
    reading : Reading
        What is to be taken.

    Returns
    -------
    FoundSpectrum

    Raises
    ------
    NoSpectrum
        If it is no text, or no table of numbers.

    Examples
    --------
    >>> found = text_spectrum(b"# wavelength flux error\n4000 1.5 0.5\n4001 2.5 0.5\n", Reading())
    >>> found.wavelength, found.flux, found.ivar
    (array([4000., 4001.]), array([1.5, 2.5]), array([4., 4.]))
    """
    text = _decoded(data)
    if text.lstrip().startswith("# %ECSV"):
        from astropy.table import QTable

        return table_spectrum(QTable.read(text, format="ascii.ecsv"), reading)
    names, rows, separator = _parts(text)
    columns = _numbers(rows, separator)
    if len(columns) < 2:
        raise NoSpectrum("it has one column; a spectrum has wavelengths and fluxes")
    if len(names) != len(columns):
        names = [f"column {i + 1}" for i in range(len(columns))]
    by_name = dict(zip(names, columns, strict=True))
    units = {name: bracket[2] for name in names if (bracket := _UNIT_IN_NAME.match(name))}
    is_nameless = names[0].startswith("column 1")
    return from_columns(
        names,
        by_name.__getitem__,
        lambda name: units.get(name, ""),
        reading,
        by_place=is_nameless or len(names) <= 3,
    )


def _decoded(data: bytes) -> str:
    if b"\0" in data[:4096]:
        raise NoSpectrum(f"it is neither FITS nor text{_kind_of(data)}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if sum(not (letter.isprintable() or letter.isspace()) for letter in text[:4096]) > 8:
        raise NoSpectrum(f"it is neither FITS nor text{_kind_of(data)}")
    return text


_MAGIC = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"%PDF": "a PDF",
    b"PK\3\4": "a zip",
    b"\x89HDF": "an HDF5 file",
    b"PAR1": "a Parquet file",
    b"\x93NUMPY": "a NumPy array",
}


def _kind_of(data: bytes) -> str:
    return next((f", but {what}" for magic, what in _MAGIC.items() if data.startswith(magic)), "")


def _parts(text: str) -> tuple[list[str], list[str], str | None]:
    """Return the names of the columns, if there are any, the lines of numbers and what separates them."""
    names: list[str] = []
    rows: list[str] = []
    told = ""
    for line in text.splitlines():
        bare = line.strip()
        if not bare:
            continue
        if bare.startswith(_COMMENTS):
            told = told if rows else bare.lstrip("#%!/; ")
            continue
        rows.append(bare)
    if len(rows) < _FEWEST:
        raise NoSpectrum("it has no lines of numbers")
    separator = next((mark for mark in (",", ";", "\t") if mark in rows[-1]), None)
    if not _is_number(rows[0].split(separator)[0]):
        told = rows.pop(0)
    if told:
        mark = next((mark for mark in (",", ";", "\t") if mark in told), None)
        names = [name.strip().strip("\"'") for name in told.split(mark)]
        names = _joined_brackets(names) if mark is None else names
    return names, rows, separator


def _joined_brackets(words: list[str]) -> list[str]:
    """Put a unit in brackets back to the name that it follows."""
    names: list[str] = []
    for word in words:
        if names and word[:1] in "[(":
            names[-1] += word
        else:
            names.append(word)
    return names


def _is_number(text: str) -> bool:
    try:
        float(text.strip().strip("\"'") or "nan")
    except ValueError:
        return False
    return True


def _numbers(rows: list[str], separator: str | None) -> list[np.ndarray]:
    rows = [_EXPONENT.sub(r"\1e\2", row) for row in rows] if _EXPONENT.search(rows[0]) else rows
    try:
        table = np.loadtxt(io.StringIO("\n".join(rows)), delimiter=separator, ndmin=2, comments=None)
        return list(table.T)
    except ValueError:
        pass  # an empty cell, a word, or a line of another length: looked at one by one
    n = len(rows[0].split(separator))
    out = np.full((len(rows), n), np.nan)
    for i, row in enumerate(rows):
        cells = row.split(separator)
        if len(cells) != n:
            raise NoSpectrum(f"a line has {len(cells)} columns where the first has {n}: {row[:60]!r}")
        for j, cell in enumerate(cells):
            bare = cell.strip().strip("\"'")
            if bare and not _is_number(bare) and j < 3:
                if bare.lower() not in ("null", "none", "--", "n/a", "na"):
                    raise NoSpectrum(f"it is no table of numbers: {row[:60]!r}")
                continue
            out[i, j] = float(bare) if bare and _is_number(bare) else np.nan
    return list(out.T)
