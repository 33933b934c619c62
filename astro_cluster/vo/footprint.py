"""Which part of the sky a table or each of its clusters covers, as a MOC."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u

from astro_cluster.exceptions import AstroClusterWarning, InputError
from astro_cluster.summary import cluster_column, cluster_labels
from astro_cluster.tables import Source, as_qtable, beside
from astro_cluster.vo.groups import Places, places_of
from astro_cluster.vo.shapes import radii_of

if TYPE_CHECKING:
    from astropy.units import Quantity
    from mocpy import MOC

__doctest_requires__ = {("moc",): ["mocpy"]}

__all__ = ["FORMATS", "check_output", "moc", "write_moc"]

FORMATS = {".fits": "fits", ".json": "json", ".txt": "ascii"}
_DEFAULT_ORDER = 10
_FINEST = 29
_CELLS_IN_A_RADIUS = 4


def moc(
    table: Source,
    *,
    by: str | None = None,
    order: int | None = None,
    radius: Quantity | str | None = None,
    position: str | Sequence[str] | None = None,
    rows: Any = None,
) -> MOC | dict[int, MOC]:
    """Return the part of the sky that a table covers, or that each of its clusters covers.

    Needs the extra ``moc``: ``pip install astro_cluster[moc]``.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A table with positions, in any frame that `crossmatch` understands.
    by : str, optional
        Column of cluster labels: a MOC a cluster (noise is -1).  If not given, one MOC of all rows.
    order : int, optional
        HEALPix order of the smallest cells, 0 to 29.  If not given 10 (3.4 arcmin), or with a
        radius the first whose cells are at most a quarter of it.
    radius : `~astropy.units.Quantity` [angle] or str, optional
        Cover the circle of this radius about each row, or of the radius in this column.  If not
        given, the cells that the rows lie in.
    position : str or tuple of two str, optional
        Columns of the position, if they are not found by UCD or name.
    rows : array of bool or int, optional
        Which rows; all by default.

    Returns
    -------
    `~mocpy.MOC` or dict of int to `~mocpy.MOC`
        In ICRS; a dict by cluster label, in rising order, if ``by`` is given.  Each has a method
        ``save(path, format="fits", v1_compatible=True)``; without the last word STILTS 3.4.7 takes
        the file for an empty MOC.

    Raises
    ------
    InputError
        If mocpy is not installed, there are no positions or labels, or a parameter makes no sense.

    Warns
    -----
    AstroClusterWarning
        How many rows have no position, no radius or no label, and are left out.

    Notes
    -----
    Multi-Order Coverage map, IVOA Recommendation 2.0 (Fernique et al. 2022).  Circles are
    covered entirely: every cell that touches one is in.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> from astropy.table import QTable
    >>> cat = QTable({"ra": [1.0, 1.1, 80.0] * u.deg, "dec": [2.0, 2.0, 5.0] * u.deg, "cluster": [0, 0, 1]})
    >>> footprints = ac.moc(cat, by="cluster", order=8)
    >>> {label: footprint.max_order for label, footprint in footprints.items()}
    {0: 8, 1: 8}
    """
    _require_mocpy()
    _check_order(order)
    table = as_qtable(table)
    places = places_of(table, position, rows)
    use = places.has.copy()
    told = {"position": int(places.lost.sum())}
    sizes = None
    if radius is not None:
        sizes = radii_of(table, radius)
        told["radius"] = int((use & np.isnan(sizes)).sum())
        use &= ~np.isnan(sizes)
    labels = np.zeros(len(table), dtype=int)
    if by is not None:
        labels, labelled = cluster_labels(table, cluster_column(table, by))
        told["label"] = int((use & ~labelled).sum())
        use &= labelled
    if not use.any():
        raise InputError(f"no row has all of {', '.join(told)}: nothing is covered")
    if any(told.values()):
        words = ", ".join(f"{number:,} have no {what}" for what, number in told.items() if number)
        warnings.warn(f"rows left out of the MOC: {words}", AstroClusterWarning, stacklevel=2)
    if by is None:
        return _cover(places, np.flatnonzero(use), sizes, order)
    found = np.unique(labels[use])
    return {int(k): _cover(places, np.flatnonzero(use & (labels == k)), sizes, order) for k in found}


def _require_mocpy() -> None:
    try:
        import mocpy  # noqa: F401
    except ImportError as error:
        raise InputError(
            "a MOC needs mocpy, which is not installed: pip install astro_cluster[moc]"
        ) from error


def _check_order(order: int | None) -> None:
    whole = isinstance(order, (int, np.integer)) and not isinstance(order, bool)
    if order is not None and not (whole and 0 <= order <= _FINEST):
        raise InputError(f"order={order!r} is no HEALPix order; give a whole number from 0 to {_FINEST}")


def _cover(places: Places, rows: np.ndarray, sizes: np.ndarray | None, order: int | None) -> MOC:
    from mocpy import MOC

    coord = places.coord[rows]
    if sizes is None:
        order = _DEFAULT_ORDER if order is None else int(order)
        return MOC.from_lonlat(coord.ra, coord.dec, max_norder=order)
    radii = sizes[rows]
    order = _order_of(float(np.median(radii))) if order is None else int(order)
    return MOC.from_cones(
        lon=coord.ra,
        lat=coord.dec,
        radius=radii * u.deg,
        max_depth=order,
        delta_depth=min(2, _FINEST - order),
        union_strategy="small_cones",
    )


def _order_of(radius: float) -> int:
    """Return the order of cells that are a quarter of a radius wide, which is in degrees."""
    widest = np.degrees(np.sqrt(np.pi / 3))  # of a cell of order 0
    return int(np.clip(np.ceil(np.log2(_CELLS_IN_A_RADIUS * widest / radius)), 0, _FINEST))


# ---------------------------------------------------------------- files


def check_output(path: Path, *, overwrite: bool) -> str:
    """Return the format of a MOC file; make sure that it can be written.

    Parameters
    ----------
    path : path
        Its ending tells the format.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If it cannot.

    Examples
    --------
    >>> from pathlib import Path
    >>> check_output(Path("footprint.fits"), overwrite=False)
    'fits'
    """
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise InputError(
            f"cannot tell in which format to write {path.name!r}: a MOC ends in {', '.join(FORMATS)}"
        )
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; give --overwrite (in Python overwrite=True) to replace it")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} into")
    return found


def write_moc(footprint: MOC, path: Path, *, overwrite: bool = False) -> Path:
    """Write a MOC in the format that the ending tells.

    Parameters
    ----------
    footprint : `~mocpy.MOC`
        What `moc` returned.
    path : path
        Ending in .fits, .json or .txt.
    overwrite : bool, optional
        Replace an existing file.

    Returns
    -------
    path

    Raises
    ------
    InputError
        If it cannot be written.
    """
    format = check_output(path, overwrite=overwrite)  # noqa: A001
    with beside(path, overwrite=overwrite) as new:
        footprint.save(new, format=format, **(_old_fits(footprint) if format == "fits" else {}))
    return path


def _old_fits(footprint: MOC) -> dict[str, bool]:
    """Ask for the FITS form that all programs read: STILTS 3.4.7 takes the other one for empty."""
    known = inspect.signature(footprint.save).parameters
    return {"v1_compatible" if "v1_compatible" in known else "pre_v2": True}
