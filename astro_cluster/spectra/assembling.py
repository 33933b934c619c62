"""The table of spectra: its columns, and what is said of spectra that are none."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable
from astropy.utils.masked import Masked

from astro_cluster.columns import REGISTRY, add_column
from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.filing.headers import Header, HeaderColumn, column_of, header_columns
from astro_cluster.filing.labels import Joined
from astro_cluster.filing.members import Item
from astro_cluster.filing.naming import Pattern, stem_of
from astro_cluster.filing.sources import Container, printable
from astro_cluster.spectra.filling import Filled, Row
from astro_cluster.spectra.found import FoundSpectrum
from astro_cluster.spectra.holding import BAD
from astro_cluster.spectra.sdss import identifier_in
from astro_cluster.wavelengths import Grid, note_spectra

__all__ = ["add_facts", "add_names", "add_spectra", "files_read", "id_of", "named", "warn_of"]

_OURS = {
    "source_file", "member", "source_id", "ra", "dec", "redshift", "redshift_warning", "object_class",
    "coverage", "snr_median", "flux", "ivar", BAD,
}  # fmt: skip
_SHOWN = 5  # names in a message
_KEPT = 1000  # names in the record


def id_of(item: Item, found: FoundSpectrum | None = None) -> str:
    """Return the identifier of a spectrum.

    Parameters
    ----------
    item : Item
        Its file.
    found : FoundSpectrum, optional
        What the file says.

    Returns
    -------
    str
        What the header says, else plate, date and fibre in the name of an SDSS file, else the name without
        folders and ending.

    Examples
    --------
    >>> id_of(Item(Container("spec/spec-10656-58163-0366.fits", "file")))
    '10656-58163-0366'
    """
    if found is not None and found.source_id:
        return printable(found.source_id)
    name = item.name.replace("\\", "/").rsplit("/", 1)[-1]
    return printable(identifier_in(name) or stem_of(name))


# ---------------------------------------------------------------- names and labels


def add_names(table: QTable, items: Sequence[Item], containers: Sequence[Container]) -> None:
    """Add the names of the files, and of members if there are archives.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Changed in place.
    items : sequence of Item
        The files.
    containers : sequence of Container
        What they are in.
    """
    add_column(table, "source_file", np.array([printable(item.container.path) for item in items]))
    if any(container.kind != "file" for container in containers):
        members = np.array([printable(item.member) for item in items])
        add_column(table, "spectrum_member", members, mask=members == "")


def named(items: Sequence[Item], pattern: Pattern | None) -> dict[str, np.ma.MaskedArray]:
    """Return the identifiers in the names of the files.

    Parameters
    ----------
    items : sequence of Item
        The files.
    pattern : Pattern, optional
        What their names look like.

    Returns
    -------
    dict of str to (n,) masked array

    Raises
    ------
    InputError
        If it names a column that is ours, or fits none of the names.

    Warns
    -----
    AstroClusterWarning
        Which names do not fit.
    """
    if pattern is None:
        return {}
    if taken := sorted(set(pattern.fields) & (_OURS - {"source_id", "redshift"})):
        raise InputError(f"pattern makes a column {taken[0]!r}, which is a name of ours; use another one")
    found = pattern.columns([printable(item.name) for item in items])
    missing = np.flatnonzero(np.ma.getmaskarray(next(iter(found.values()))))
    if len(missing) == len(items):
        raise InputError(
            f"no name fits pattern={pattern.text!r}; the first is {stem_of(items[0].name)!r}. "
            "* stands for any text, and the ending of the file may be left out"
        )
    if missing.size:
        warnings.warn(
            f"{missing.size} of {len(items)} names do not fit pattern={pattern.text!r} and have no "
            f"identifier: {_first([printable(items[i].name) for i in missing])}",
            AstroClusterWarning,
            stacklevel=4,
        )
    return found


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


# ---------------------------------------------------------------- what is known besides the pixels


def add_facts(
    table: QTable,
    items: Sequence[Item],
    rows: Sequence[Row],
    *,
    names: dict[str, np.ma.MaskedArray],
    label: Joined,
    keys: tuple[str, ...] | None,
    origin: str,
    pattern: str = "",
) -> None:
    """Add identifiers, positions, redshifts, header keys and labels.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Changed in place.
    items : sequence of Item
        The files.
    rows : sequence of Row
        What is known of them.
    names : dict of str to (n,) masked array
        From the names of the files.
    label : Joined
        Labels.
    keys : tuple of str or None
        Header keys; all if None.
    origin : str
        Where the redshifts are from.
    pattern : str, optional
        What the names look like.
    """
    found = [row.found for row in rows]
    identifiers = [id_of(item, one) for item, one in zip(items, found, strict=True)]
    given = names.get("source_id")
    if given is None:
        add_column(table, "spectrum_id", np.array(identifiers))
    for name, values in names.items():
        if name != "redshift":
            mask = np.ma.getmaskarray(values)
            add_column(table, "spectrum_name", values.data, mask=mask, name=name, pattern=pattern)
    for key, name in (("spectrum_ra", "ra"), ("spectrum_dec", "dec")):
        values = np.array([np.nan if one is None else getattr(one, name) for one in found])
        if np.isfinite(values).any():
            add_column(table, key, values, mask=~np.isfinite(values))
    redshift = np.array([row.redshift for row in rows])
    add_column(table, "redshift", redshift, mask=~np.isfinite(redshift), origin=origin)
    codes = [None if one is None else one.redshift_warning for one in found]
    if any(code is not None for code in codes):
        mask = np.array([code is None for code in codes])
        add_column(table, "redshift_warning", np.array([code or 0 for code in codes]), mask=mask)
    classes = np.array(["" if one is None else one.object_class for one in found])
    if (classes != "").any():
        add_column(table, "object_class", classes, mask=classes == "")
    _add_headers(table, [None if one is None else one.header for one in found], keys)
    for name, column in label.columns.items():
        is_taken = name in table.colnames or name in _OURS
        table[f"label_{name}" if is_taken else name] = column


def _add_headers(table: QTable, headers: Sequence[Header | None], keys: tuple[str, ...] | None) -> None:
    taken = set(table.colnames) | _OURS
    for column in header_columns(headers, keys, noun="spectrum"):
        _add_header(table, column_of(headers, column.key, taken) if column.name in taken else column)
        taken.add(column.name)


def _add_header(table: QTable, column: HeaderColumn) -> None:
    mask = np.ma.getmaskarray(column.values)
    add_column(table, "spectrum_header", column.values.data, mask=mask, name=column.name, word=column.key)
    if column.unit:
        quantity = u.Quantity(column.values.data, column.unit, dtype=float)
        description = table[column.name].info.description
        table.replace_column(column.name, Masked(quantity, mask=mask) if mask.any() else quantity)
        table[column.name].info.description = description
    table[column.name].info.meta = {"ucd": column.ucd}


# ---------------------------------------------------------------- the spectra


def add_spectra(
    table: QTable,
    flux: np.ndarray,
    ivar: np.ndarray,
    unit: u.UnitBase,
    grid: Grid,
    *,
    coverage: np.ndarray,
    snr: np.ndarray,
    bad: np.ndarray,
    **facts: Any,
) -> None:
    """Add spectra to a table, in place and without a copy of them.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        Table of n rows.
    flux, ivar : (n, m) array of float32
        NaN and 0 where there is nothing.
    unit : `~astropy.units.UnitBase`
        Of the flux.
    grid : Grid
        Wavelengths.
    coverage, snr : (n,) array of float
        NaN where there is no spectrum.
    bad : (n,) array of bool
        Rows without a usable spectrum.
    **facts
        For the metadata, plain.

    Examples
    --------
    >>> from astro_cluster.wavelengths import log_grid
    >>> table, flux, one = QTable(), np.ones((2, 3), dtype=np.float32), np.ones(2)
    >>> grid = log_grid(4000 * u.AA, 5000 * u.AA, 3)
    >>> add_spectra(table, flux, flux, u.Jy, grid, coverage=one, snr=one, bad=one > 1)
    >>> np.shares_memory(table["flux"].value, flux), table["ivar"].unit
    (True, Unit("1 / Jy2"))
    """
    add_column(table, "spectrum_coverage", coverage, mask=~np.isfinite(coverage))
    add_column(table, "snr_median", snr, mask=~np.isfinite(snr))
    add_column(table, BAD, bad)
    for name, values, dimension in (("flux", flux, unit), ("ivar", ivar, u.Unit(unit**-2))):
        column = u.Quantity(values, dimension, copy=False, dtype=values.dtype)
        spec = REGISTRY[name]
        column.info.description = spec.description.format(grid=grid)
        column.info.meta = {"ucd": spec.ucd}
        if name in table.colnames:
            table.remove_column(name)
        table.add_column(column, name=name, copy=False)
    note_spectra(table, grid, flux="flux", ivar="ivar", **facts)


# ---------------------------------------------------------------- what is said and recorded


def warn_of(items: Sequence[Item], filled: Filled, notes: Sequence[str]) -> None:
    """Say which spectra are none, which have no errors, and what else was found.

    Parameters
    ----------
    items : sequence of Item
        The files.
    filled : Filled
        What was read.
    notes : sequence of str
        Of archives and labels.

    Warns
    -----
    AstroClusterWarning
    """
    n = len(items)
    told: list[str] = []
    broken = [f"{item.full_name} ({item.problem})" for item in items if item.problem]
    if broken:
        told.append(f"{len(broken)} of {n} spectra cannot be used, and {BAD} is set: {_first(broken)}")
    good = [(item, row) for item, row in zip(items, filled.rows, strict=True) if not item.problem]
    if estimated := [item.full_name for item, row in good if row.is_estimated]:
        told.append(
            f"{len(estimated)} of {n} spectra have no errors in their files: their ivar is from the scatter "
            f"of their own pixels ({_first(estimated)})"
        )
    if gaps := [item.full_name for item, row in good if row.has_gaps]:
        told.append(f"{len(gaps)} of {n} spectra have fluxes that are no numbers, left out: {_first(gaps)}")
    noted = [(item.full_name, row.found.note) for item, row in good if row.found is not None]
    if remarks := [f"{name} ({note})" for name, note in noted if note]:
        told.append(f"{len(remarks)} of {n} files are damaged behind their spectra: {_first(remarks)}")
    for text in [*told, *notes]:
        warnings.warn(text, AstroClusterWarning, stacklevel=4)


def files_read(items: Sequence[Item]) -> dict[str, Any]:
    """Return which files there were, for the record.

    Parameters
    ----------
    items : sequence of Item
        The files.

    Returns
    -------
    dict
    """
    digest = hashlib.sha256()
    for item in items:
        digest.update(f"{item.full_name}\0{item.size}\0".encode())
    broken = [[item.full_name, item.problem] for item in items if item.problem]
    return {
        "spectra": len(items),
        "archives": len({item.container.path for item in items if item.container.kind != "file"}),
        "bytes": sum(item.size for item in items),
        "hash": f"sha256:{digest.hexdigest()}",
        "broken": len(broken),
        "broken_names": broken[:_KEPT],
    }
