"""Files of spectra, or a table of them, to a table with a spectrum a row, all on one grid of wavelengths."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable, Table

from astro_cluster.config import conf
from astro_cluster.exceptions import InputError, did_you_mean
from astro_cluster.filing.headers import wanted_keys
from astro_cluster.filing.labels import Joined, joined, read_labels
from astro_cluster.filing.members import Item
from astro_cluster.filing.naming import Pattern, stem_of
from astro_cluster.filing.sources import SPECTRA, containers_of, printable
from astro_cluster.provenance import OMIT, Step, content_hash, step
from astro_cluster.spectra.assembling import (
    add_facts,
    add_names,
    add_spectra,
    files_read,
    id_of,
    named,
    warn_of,
)
from astro_cluster.spectra.filling import Progress, fill, none_told, surveyed
from astro_cluster.spectra.fluxunits import is_flux, unit_named
from astro_cluster.spectra.found import Reading
from astro_cluster.spectra.others import check_format
from astro_cluster.spectra.preparing import Aim
from astro_cluster.spectra.redshifts import redshifts_by
from astro_cluster.spectra.regridding import METHODS
from astro_cluster.spectra.rowwise import spectra_in_table
from astro_cluster.threads import available_threads
from astro_cluster.wavelengths import Grid, spectra_facts

__all__ = ["read_spectra"]

PathLike = str | os.PathLike[str]

_WORDS = {"frame": ("observed", "rest"), "medium": ("vacuum", "air"), "mask": ("and", "or")}


@step
def read_spectra(
    source: PathLike | Sequence[PathLike] | Table,
    *,
    grid: Grid | str | None = None,
    method: str = "flux-conserving",
    frame: str | None = None,
    medium: str | None = None,
    require_full: bool = False,
    mask: str | None = None,
    redshift: str | Mapping[str, float] | None = None,
    wavelength: Any = None,
    flux: str | None = None,
    ivar: str | None = None,
    error: str | None = None,
    unit: u.UnitBase | str | None = None,
    wavelength_unit: u.UnitBase | str | None = None,
    format: str | None = None,  # noqa: A002
    pattern: str | None = None,
    headers: str | Sequence[str] | None = None,
    labels: PathLike | Table | None = None,
    labels_on: str | tuple[str, str] | None = None,
    progress: Progress | None = None,
    n_jobs: int | None = None,
) -> Step:
    r"""Read spectra into a table with a spectrum a row, all on one grid of wavelengths.

    Parameters
    ----------
    source : str, path, list of these, or `~astropy.table.Table`
        Files, folders (with what is below them), patterns such as ``"spec/*.fits"``, tars and zips, which are
        read as they are.  Each file has one spectrum: a spec file of SDSS, BOSS, eBOSS or SDSS-V (a lite one
        too), a table (FITS, VOTable, ECSV) with columns of wavelengths and fluxes, a one-dimensional FITS
        image, a text of two or three columns (wavelength, flux, error), or what specutils reads.  A table
        has a column with a flux for each wavelength, (n, p).
    grid : Grid or str, optional
        The wavelengths of all spectra, as ``"3625:9000:1500"`` (first, last, number; evenly in the
        logarithm) or from `log_grid`; those of the first spectrum, if all agree, when not given.
    method : {"flux-conserving", "linear", "study"}, optional
        How spectra come to the grid, as of `~astro_cluster.spectra.regrid`.
    frame : {"observed", "rest"}, optional
        Whose wavelengths the grid has: ``"observed"`` if neither given nor said by the grid.  For the rest
        frame wavelengths are divided by 1 + redshift; fluxes stay what they are.
    medium : {"vacuum", "air"}, optional
        What the grid's wavelengths are measured in: vacuum if neither given nor said by the grid.  Those of a
        file in the other are converted; a file that does not say is taken to be in this one.
    require_full : bool, optional
        Take a spectrum that does not cover the grid for a bad one; else its pixels beyond have flux NaN and
        ivar 0.
    mask : {"and", "or"}, optional
        Which mask of SDSS files takes pixels out (ivar 0; their fluxes stay); the ivar of the files alone
        if not given.
    redshift : str or dict of str to float, optional
        A column of the labels, of the pattern or of the table, or redshifts by identifier or name of file.
        ``redshift`` or ``Z`` if there is such a column; where it has none, and else, that of the file.
    wavelength, flux, ivar, error : str, optional
        Columns of the tables, and of texts; by their usual names if not given.  ``wavelength`` may also
        be the wavelengths of a table's fluxes, (p,) `~astropy.units.Quantity`, or its column of shape (n, p).
    unit : str or `~astropy.units.UnitBase`, optional
        Of the flux, for files that say none, and for the result; that of the first spectrum if not
        given, with a power of ten where float32 could not keep the inverse variance.
    wavelength_unit : str or `~astropy.units.UnitBase`, optional
        Of the wavelengths of files that say none; Ångström if not given.
    format : str, optional
        Read by specutils, and as this format of it.
    pattern : str, optional
        Identifiers in the names of the files, such as ``"{field}_{source_id:d}_z{redshift:f}"``; each becomes
        a column.
    headers : str or sequence of str, optional
        Header keys that become columns, their names in small letters; ``"all"`` for all.
    labels : str, path or `~astropy.table.Table`, optional
        A table whose other columns are put beside the spectra that they belong to, before they are read.
    labels_on : str or (str, str), optional
        Identifier of the spectra (``source_id``, or one of the pattern) and column of the labels that are
        to be the same; if not given, the one name that both have, else the names of the files.
    progress : callable, optional
        Called with the number of files that are read and of all.
    n_jobs : int, optional
        Threads; as many as cores (or OMP_NUM_THREADS) if not given, or -1 for all cores.  The result is the
        same.

    Returns
    -------
    `~astropy.table.QTable`
        A row for each file, in the natural order of the names: ``source_file`` and ``member``, ``source_id``,
        ``ra`` and ``dec`` where known, ``redshift``, ``redshift_warning`` and ``object_class`` of SDSS files,
        header keys and labels, ``coverage`` (the share of the grid that has data), ``snr_median``,
        ``spectrum_bad``, ``flux`` and ``ivar``: (n, m) float32.  A pixel without data has flux NaN and ivar
        0; one that must not count has ivar 0.  What cannot be read or used keeps its row: ``spectrum_bad`` is
        set, flux is NaN and ivar 0.  `grid_of` has the wavelengths.  A table keeps its rows and columns, and
        gets those from ``coverage`` on.

    Raises
    ------
    InputError
        If there is no spectrum, none can be used, no grid is given and they are on several, or a parameter
        is wrong.

    Warns
    -----
    AstroClusterWarning
        Which files are no spectra, and why; which have no errors; which labels have no spectrum.

    Notes
    -----
    Each file is brought to the grid as soon as it is read, by threads, and goes into its row of one array:
    the memory is that of the result.  Where a file has no errors, they are from the scatter of its pixels
    (Stoehr et al. 2008, ASP Conference Series 394, 505).

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> for name, z in (("a", 1.0), ("b", 0.5)):
    ...     _ = (folder / f"{name}_z{z}.txt").write_text("".join(f"{w} 2.0 0.5\n" for w in range(3990, 6010)))
    >>> spectra = read_spectra(folder, grid="4000:6000:500", pattern="{source_id}_z{redshift:f}")
    >>> spectra["source_id", "redshift", "coverage"].pprint()
    source_id redshift coverage
    --------- -------- --------
            a  1.00000   1.0000
            b  0.50000   1.0000
    >>> spectra["flux"].shape, float(spectra["flux"][0, 0])
    ((2, 500), 2.0)
    """
    own = _own_grid(source)
    if own is not None and not isinstance(grid, Grid):
        frame, medium = frame or own.frame, medium or own.medium
    aim = _aim(grid, method, frame, medium, require_full, unit, wavelength_unit)
    _check_words(mask=mask)
    if isinstance(source, Table):
        _only_for_files(
            mask=mask, format=format, pattern=pattern, headers=headers, labels=labels, labels_on=labels_on
        )
        return spectra_in_table(
            source, aim, wavelength=wavelength, flux=flux, ivar=ivar, error=error, redshift=redshift,
            threads=_threads(n_jobs), recorded={"progress": OMIT, "n_jobs": OMIT},
        )  # fmt: skip
    if format is not None:
        check_format(format)
    keys = wanted_keys(headers)
    reading = Reading(_name(wavelength), flux, ivar, error, mask, keys, format)
    names_of = None if pattern is None else Pattern(pattern)
    limit = int(conf.max_image_bytes)

    containers, notes = containers_of(source, SPECTRA)
    items, more = surveyed(containers, limit)
    notes += more
    _check_any(items, notes)
    names = named(items, names_of)
    label = _labelled(items, names, labels, labels_on)
    known = {**names, **{name: column for name, column in label.columns.items() if np.ndim(column) == 1}}
    redshift_of, _, origin = redshifts_by(redshift, known, items)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what readers say of odd files, in all threads
        filled = fill(
            items, reading, aim, redshift_of, limit=limit, threads=_threads(n_jobs), progress=progress
        )
    _check_any(items, notes)

    table = QTable()
    add_names(table, items, containers)
    add_facts(
        table, items, filled.rows, names=names, label=label, keys=keys, origin=origin, pattern=pattern or ""
    )
    rows = filled.rows
    add_spectra(
        table, filled.flux, filled.ivar, _known(filled.aim.unit), _known(filled.aim.grid),
        coverage=np.array([row.coverage for row in rows]),
        snr=np.array([row.snr for row in rows]),
        bad=np.array([bool(item.problem) for item in items]),
    )  # fmt: skip
    warn_of(items, filled, [*notes, label.warning] if label.warning else notes)
    facts: dict[str, Any] = {"repeatable": True, "files": files_read(items)}
    facts |= {"grid": _known(filled.aim.grid).to_plain(), "unit": str(filled.aim.unit)}
    facts |= {"labels_joined": {**label.facts, **_origin(labels)}} if label.facts else {}
    inputs = [name for name in table.colnames if name not in ("flux", "ivar")]
    left_out = {"progress": OMIT, "n_jobs": OMIT, "source": _recorded(source)}
    return Step(table, inputs=inputs, facts=facts, parameters=left_out)


# ---------------------------------------------------------------- what was asked for


def _aim(
    grid: Any, method: Any, frame: Any, medium: Any, require_full: bool, unit: Any, wavelength_unit: Any
) -> Aim:
    """Return what spectra are to become; what grid and parameters say must not contradict each other."""
    _check_words(frame=frame, medium=medium)
    if method not in METHODS:
        raise InputError(
            f"method={method!r} is no way to resample{did_you_mean(method, METHODS)} It is one of "
            f"{', '.join(METHODS)}"
        )
    if isinstance(grid, Grid):
        for name, value, other in (("frame", frame, grid.frame), ("medium", medium, grid.medium)):
            if value not in (None, other):
                raise InputError(f"{name}={value!r}, and the grid is of {other!r}; give one of them")
        frame, medium = grid.frame, grid.medium
    frame, medium = frame or "observed", medium or "vacuum"
    if isinstance(grid, str):
        grid = Grid.parse(grid, medium=medium, frame=frame)
    elif grid is not None and not isinstance(grid, Grid):
        raise InputError(
            f"grid={grid!r} is no grid of wavelengths; give '3625:9000:1500', say, or one from log_grid"
        )
    return Aim(
        frame, medium, method, bool(require_full),
        _unit(wavelength_unit, "wavelength_unit"), _unit(unit, "unit"), unit is not None, grid,
    )  # fmt: skip


def _own_grid(source: Any) -> Grid | None:
    """Return the grid that a table says its spectra are on."""
    facts = spectra_facts(source) if isinstance(source, Table) else None
    return Grid.from_plain(facts["grid"]) if facts and facts.get("grid") else None


def _unit(given: Any, what: str) -> u.UnitBase | None:
    if given is None:
        return None
    found = unit_named(given) if isinstance(given, str) else given
    if not isinstance(found, u.UnitBase | u.function.FunctionUnitBase):
        raise InputError(
            f"{what}={given!r} is no unit; give one such as 'nm' or '1e-17 erg/(s cm2 Angstrom)'"
        )
    if what == "unit" and not is_flux(found):
        raise InputError(f"unit={given!r} is one of logarithms; give that of a flux")
    if what == "wavelength_unit" and not found.is_equivalent(u.AA, u.spectral()):
        raise InputError(f"wavelength_unit={given!r} is no unit of wavelengths; give 'nm' or 'Angstrom', say")
    return found


def _check_words(**given: Any) -> None:
    for name, value in given.items():
        if value is not None and value not in _WORDS[name]:
            raise InputError(
                f"{name}={value!r}; give {' or '.join(map(repr, _WORDS[name]))}, or leave it out"
            )


def _name(wavelength: Any) -> str | None:
    if wavelength is not None and not isinstance(wavelength, str):
        raise InputError("files have wavelengths of their own: wavelength= is the name of a column of theirs")
    return wavelength


def _only_for_files(**given: Any) -> None:
    wrong = [f"{name}=" for name, value in given.items() if value is not None]
    if wrong:
        raise InputError(f"{', '.join(wrong)}: for files of spectra, not for a table of them")


def _threads(n_jobs: Any) -> int:
    if n_jobs is None:
        return available_threads()
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int | np.integer) or (n_jobs < 1 and n_jobs != -1):
        raise InputError(f"n_jobs={n_jobs!r} is no number of threads; give 1 or more, or -1 for all cores")
    return int(n_jobs) if n_jobs > 0 else os.cpu_count() or 1


def _known(value: Any) -> Any:
    """Return what a first spectrum has settled."""
    if value is None:
        raise ValueError("a first spectrum was read without a grid")  # our own mistake
    return value


def _check_any(items: Sequence[Item], notes: Sequence[str]) -> None:
    if not items:
        raise InputError(f"there is no spectrum: {'; '.join(notes) or 'nothing was found'}")
    if all(item.problem for item in items):
        raise InputError(none_told(items))


def _labelled(items: Sequence[Item], names: Mapping[str, Any], labels: Any, on: Any) -> Joined:
    """Return labels in the order of the files, by their names: more is not known before they are read."""
    if labels is None:
        if on is not None:
            raise InputError("labels_on= needs labels=")
        return Joined()
    table = read_labels(labels)
    keys: dict[str, Any] = {"": np.ma.array([stem_of(printable(item.name)) for item in items]), **names}
    asked = [on] if isinstance(on, str) else list(on or ())
    if "source_id" not in keys and ("source_id" in asked or (not asked and "source_id" in table.colnames)):
        keys["source_id"] = np.ma.array([id_of(item) for item in items])
    return joined(keys, table, on, SPECTRA)


def _origin(labels: Any) -> dict[str, Any]:
    if isinstance(labels, Table):
        return {"hash": content_hash(labels)}
    return {"path": os.fspath(labels)}


def _recorded(source: Any) -> Any:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return [_recorded(one) for one in source]
