"""Regions of a table for DS9 and others: circles, ellipses, points, and hulls of clusters."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from astro_cluster.columns import require
from astro_cluster.exceptions import AstroClusterWarning, InputError, did_you_mean
from astro_cluster.tables import Source, as_qtable, float_values
from astro_cluster.vo.ellipses import angle_values, error_ellipses
from astro_cluster.vo.groups import Group, Places, groups_of_rows, places_of, plain_text
from astro_cluster.vo.hulls import HullError, cap_of, hull_of, nearest_to_the_median, to_lonlat, to_vectors

if TYPE_CHECKING:
    from astropy.units import Quantity
    from regions import Region, Regions, RegionVisual

__all__ = [
    "DIGITS",
    "SHAPES",
    "check_shape",
    "hull_corners",
    "radii_of",
    "region_text",
    "regions",
    "serialize",
]

SHAPES = ("circle", "ellipse", "hull", "point")
DISTANCE = "distance"
DIGITS = 12  # of degrees: a Gaia position is good to 10
_HEADER = "# Region file format: DS9 astropy/regions\nicrs"

T = TypeVar("T")


def regions(
    table: Source,
    *,
    by: str | None = None,
    shape: str = "circle",
    radius: Quantity | str = 5 * u.arcsec,
    errors: Any = None,
    n_sigma: float = 1.0,
    fraction: float = 1.0,
    trim: str = DISTANCE,
    text: str | None = None,
    position: str | Sequence[str] | None = None,
    rows: Any = None,
) -> Regions:
    """Make sky regions of the rows or the clusters of a table, a colour and a tag a cluster.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        A table with positions, in any frame that `crossmatch` understands.
    by : str, optional
        Column of cluster labels, or of texts such as types; that of the latest clustering if not
        given, and without one all rows are one group.
    shape : {"circle", "ellipse", "hull", "point"}, optional
        A region for each row, or the convex hull of each cluster (not of noise).
    radius : `~astropy.units.Quantity` [angle] or str, optional
        Of the circles: one for all, or the column that has them.
    errors : tuple of three str, or mapping, optional
        Columns of the ellipses: semi-major axis, semi-minor axis and position angle (from North
        through East); or the errors of both coordinates and their correlation, as `cluster`
        takes them.  If not given, those that catalogues have are found: ``ra_error``, ``e_RA``, …
        with ``ra_dec_corr``, then ``err_ellipse_r0`` (Chandra), ``coo_err_maj`` (SIMBAD), ``errMaj``
        (2MASS), …
    n_sigma : float, optional
        Size of the ellipses in standard errors along each axis.  Chandra's, which hold 95 %, are
        taken for 2.448.
    fraction : float, optional
        Share of each cluster that its hull holds at least; the outermost rows are left out.
    trim : str, optional
        ``"distance"`` leaves out the rows farthest from the cluster's median position, the name
        of a column those with the smallest values (``prob_max``).
    text : str, optional
        Column of the texts beside the regions; with hulls any text but ``""`` stands for the
        cluster and its number of rows.
    position : str or tuple of two str, optional
        Columns of the position, if they are not found by UCD or name.
    rows : array of bool or int, optional
        Which rows; all by default.

    Returns
    -------
    `~regions.Regions`
        In ICRS, noise first.  Tags are ``cluster_3``, ``noise`` and ``no_cluster``; colours are
        those of our figures.

    Raises
    ------
    InputError
        If there are no positions, sizes or hulls, or a parameter makes no sense.

    Warns
    -----
    AstroClusterWarning
        How many rows have no position and are left out, how many have no size and become points,
        and which clusters are too wide for a hull.

    Notes
    -----
    A hull is that on the sphere, so that poles and RA = 0 are places like others; a cluster has to
    fit into a circle of 80 deg.  One or two rows, or rows on one great circle, have a circle for a
    hull.

    Write them with 12 digits, ``regions.write("groups.reg", format="ds9", precision=12)``: the 8
    by default are 0.04 mas, more than some errors of Gaia.

    Examples
    --------
    >>> import astro_cluster as ac
    >>> cat = QTable({"ra": [1.0, 1.1] * u.deg, "dec": [2.0, 2.0] * u.deg, "cluster": [0, -1]})
    >>> [(region.meta["tag"], region.visual["color"]) for region in ac.regions(cat)]
    [(['noise'], '#B5B5B5'), (['cluster_0'], '#0072B2')]
    """
    from regions import Regions

    check_shape(shape, radius=radius, n_sigma=n_sigma, fraction=fraction)
    table, places, groups = _prepared(table, by, position, rows)
    if shape == "hull":
        return Regions(_hulls(table, places, groups, radius, fraction, trim, text))
    sizes = _sizes(table, places, shape, radius, errors, n_sigma)
    return Regions(list(_of_rows(table, groups, sizes, text, _region_maker(places, sizes))))


def region_text(table: Source, **how: Any) -> tuple[str, int]:
    """Return the text of a DS9 region file of a table, without making a region for each row.

    Parameters
    ----------
    table : `~astropy.table.QTable`, `~astropy.table.Table`, str or path
        As for `regions`.
    **how
        As for `regions`.

    Returns
    -------
    str
        In which no text of the table can break out of its line.
    int
        Number of regions.

    Raises
    ------
    InputError
        As `regions`.

    Examples
    --------
    >>> print(region_text(QTable({"ra": [1.0], "dec": [2.0]}), radius=36 * u.arcsec)[0].splitlines()[-1])
    circle(1.000000000000,2.000000000000,0.01) # color=#0072B2 width=2 tag={all}
    """
    given = inspect.signature(regions).bind(table, **how)
    given.apply_defaults()
    options = given.arguments
    if options["shape"] == "hull":
        found = regions(table, **how)
        return serialize(found), len(found)
    names = ("shape", "radius", "n_sigma", "fraction")
    check_shape(**{name: options[name] for name in names})
    rows, places, groups = _prepared(table, *(options[name] for name in ("by", "position", "rows")))
    sizes = _sizes(rows, places, *(options[name] for name in ("shape", "radius", "errors", "n_sigma")))
    lines = list(_of_rows(rows, groups, sizes, options["text"], _line_maker(places, sizes)))
    return "\n".join([_HEADER, *lines, ""]), len(lines)


def _prepared(table: Source, by: str | None, position: Any, rows: Any) -> tuple[QTable, Places, list[Group]]:
    table = as_qtable(table)
    places = places_of(table, position, rows)
    if lost := int(places.lost.sum()):
        _warn(f"{lost:,} rows have no position and are left out of the regions")
    return table, places, groups_of_rows(table, by, places.has)


def _warn(text: str) -> None:
    warnings.warn(text, AstroClusterWarning, stacklevel=4)


def check_shape(shape: str, *, radius: Any, n_sigma: float = 1.0, fraction: float = 1.0) -> None:
    """Make sure that the parameters of a shape make sense.

    Parameters
    ----------
    shape : str
        One of `SHAPES`.
    radius : `~astropy.units.Quantity` or str
        A size or a column.
    n_sigma, fraction : float, optional
        Numbers.

    Raises
    ------
    InputError
        If one does not.

    Examples
    --------
    >>> check_shape("circle", radius=3 * u.arcsec)
    """
    if shape not in SHAPES:
        raise InputError(
            f"shape={shape!r} is not known{did_you_mean(shape, SHAPES)} It is one of {', '.join(SHAPES)}"
        )
    if not isinstance(radius, str):
        _one_radius(radius)
    if not (isinstance(n_sigma, (int, float, np.number)) and 0 < n_sigma < np.inf):
        raise InputError(f"n_sigma={n_sigma!r} is not a positive number")
    if not (isinstance(fraction, (int, float, np.number)) and 0 < fraction <= 1):
        raise InputError(f"fraction={fraction!r} is no share of a cluster; give a number above 0, up to 1")


def _one_radius(radius: Any) -> float:
    try:
        degrees = u.Quantity(radius).to_value(u.deg)
    except (TypeError, ValueError) as error:  # UnitConversionError is a TypeError
        raise InputError(
            f"radius={radius!r} is no angle: give one with its unit, 5 * u.arcsec, or a column"
        ) from error
    if np.ndim(degrees) or not 0 < degrees <= 90:
        raise InputError(f"radius={radius!r} is not one angle above 0, up to 90 deg")
    return float(degrees)


def radii_of(table: QTable, radius: Quantity | str) -> np.ndarray:
    """Return the radius of each row.

    Parameters
    ----------
    table : `~astropy.table.QTable`
        n rows.
    radius : `~astropy.units.Quantity` or str
        One for all, or the column.

    Returns
    -------
    (n,) array
        In degrees; NaN where there is none.

    Raises
    ------
    InputError
        If it is no angle or no column.

    Examples
    --------
    >>> radii_of(QTable({"x": [1, 2]}), 36 * u.arcsec)
    array([0.01, 0.01])
    """
    if not isinstance(radius, str):
        return np.full(len(table), _one_radius(radius))
    values = angle_values(table, radius)
    return np.where((values > 0) & (values <= 90), values, np.nan)


def _sizes(
    table: QTable, places: Places, shape: str, radius: Quantity | str, errors: Any, n_sigma: float
) -> tuple[np.ndarray, ...]:
    """Return what a shape needs of each row in degrees; NaN where it is not known."""
    if shape == "point":
        return ()
    if shape == "circle":
        sizes: tuple[np.ndarray, ...] = (radii_of(table, radius),)
    else:
        major, minor, angle = error_ellipses(table, places.names, errors)
        sizes = (n_sigma * major, n_sigma * minor, angle)
    without = int((places.has & np.isnan(sizes[0])).sum())
    if without == int(places.has.sum()):
        what = f"radius in column {radius!r}" if shape == "circle" else "errors of the position"
        raise InputError(f"none of {without:,} rows has a {what} that is a positive angle")
    if without:
        _warn(f"{without:,} rows have no size of their {shape} and are drawn as points")
    return sizes


_Maker = Callable[[int, Group, str, bool], T]


def _of_rows(
    table: QTable, groups: list[Group], sizes: tuple[np.ndarray, ...], text: str | None, make: _Maker[T]
) -> Iterator[T]:
    """Yield what is made of each row."""
    texts = _texts(table, text)
    sized = ~np.isnan(sizes[0]) if sizes else np.zeros(len(table), dtype=bool)
    for group in groups:
        for row, has_size in zip(group.rows.tolist(), sized[group.rows].tolist(), strict=True):
            yield make(row, group, plain_text(texts[row]) if texts else "", has_size)


def _region_maker(places: Places, sizes: tuple[np.ndarray, ...]) -> _Maker[Region]:
    from regions import CircleSkyRegion, EllipseSkyRegion, PointSkyRegion, RegionMeta

    columns = [values * u.deg for values in sizes]

    def make(row: int, group: Group, text: str, has_size: bool) -> Region:
        meta = RegionMeta({"tag": [group.tag]} | ({"text": text} if text else {}))
        centre = places.coord[row]
        if not has_size:
            return PointSkyRegion(centre, meta=meta, visual=_visual(group, point=True))
        if len(columns) == 1:
            return CircleSkyRegion(centre, columns[0][row], meta=meta, visual=_visual(group))
        major, minor, angle = (column[row] for column in columns)
        # At the angle 0 the height points North, and it turns towards East: it is the major axis.
        return EllipseSkyRegion(centre, 2 * minor, 2 * major, angle, meta=meta, visual=_visual(group))

    return make


def _line_maker(places: Places, sizes: tuple[np.ndarray, ...]) -> _Maker[str]:
    lon, lat = places.coord.ra.deg.tolist(), places.coord.dec.deg.tolist()
    columns = [values.tolist() for values in sizes]

    def make(row: int, group: Group, text: str, has_size: bool) -> str:
        words = f"color={group.colour} {'width' if has_size else 'point'}="
        words += str(_width(group)) if has_size else "x"
        if text:
            words += f" text={{{text}}}"
        place = f"{lon[row]:.{DIGITS}f},{lat[row]:.{DIGITS}f}"
        if not has_size:
            shape = f"point({place})"
        elif len(columns) == 1:
            shape = f"circle({place},{columns[0][row]:.9g})"
        else:
            major, minor, angle = (column[row] for column in columns)
            shape = f"ellipse({place},{minor:.9g},{major:.9g},{angle:.9g})"
        return f"{shape} # {words} tag={{{group.tag}}}"

    return make


def _width(group: Group) -> int:
    return 2 if group.is_cluster else 1


def _visual(group: Group, *, point: bool = False) -> RegionVisual:
    from regions import RegionVisual

    look = {"marker": "x"} if point else {"linewidth": _width(group)}
    return RegionVisual({"color": group.colour} | look)


def _texts(table: QTable, text: str | None) -> list[str] | None:
    from astro_cluster.cells import cell_texts

    if text is None:
        return None
    found, nothing = cell_texts(table[require(table, text)[0]], len(table))
    return np.where(nothing, "", found).tolist()


# ---------------------------------------------------------------- hulls


def _hulls(
    table: QTable,
    places: Places,
    groups: list[Group],
    radius: Quantity | str,
    fraction: float,
    trim: str,
    text: str | None,
) -> list[Region]:
    from regions import CircleSkyRegion, PolygonSkyRegion, RegionMeta

    found: list[Region] = []
    wide = []
    for group in [group for group in groups if group.is_cluster]:
        meta = RegionMeta({"tag": [group.tag]})
        if text:
            meta["text"] = plain_text(f"{group.name} ({len(group.rows):,})")
        core = _core(table, places, group, fraction, trim)
        vectors = _vectors(places, core)
        try:
            corners = hull_corners(vectors)
        except HullError:
            wide.append(group.name)
            continue
        if corners is not None:
            found.append(PolygonSkyRegion(corners, meta=meta, visual=_visual(group)))
            continue
        centre, size = cap_of(vectors)
        degrees = np.degrees(size)
        if not degrees > 1e-9:  # one place: a circle that can be seen
            degrees = np.nanmax([radii_of(table, radius)[core].max(), 1 / 3600])
        found.append(
            CircleSkyRegion(_sky(centre[None])[0], degrees * u.deg, meta=meta, visual=_visual(group))
        )
    if wide:
        fit = "does not fit" if len(wide) == 1 else "do not fit"
        problem = f"{', '.join(wide)} {fit} into a circle of 80 deg on the sky"
        if not found:
            raise InputError(
                f"{problem}: no hull can be drawn. Give a fraction (0.9, say), rows, or another shape"
            )
        _warn(f"{problem}: no hull is drawn. A fraction (0.9, say) leaves the outermost rows out")
    if not found:
        raise InputError("there is no cluster to draw a hull of, only noise and rows without a label")
    return found


def _core(table: QTable, places: Places, group: Group, fraction: float, trim: str) -> np.ndarray:
    """Return the rows of a cluster that its hull holds."""
    if fraction == 1:
        return group.rows
    if trim == DISTANCE:
        return group.rows[nearest_to_the_median(_vectors(places, group.rows), fraction)]
    values = float_values(table[require(table, trim)[0]])[group.rows]
    keep = int(np.ceil(round(fraction * len(values), 9)))
    # A row without a value is the last to be kept.
    return np.sort(group.rows[np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")[:keep]])


def _vectors(places: Places, rows: np.ndarray) -> np.ndarray:
    coord = places.coord[rows]
    return to_vectors(coord.ra.to_value(u.rad), coord.dec.to_value(u.rad))


def _sky(vectors: np.ndarray) -> SkyCoord:
    lon, lat = to_lonlat(vectors)
    return SkyCoord(lon * u.rad, lat * u.rad)


def hull_corners(vectors: np.ndarray) -> SkyCoord | None:
    """Return the corners of the convex hull of points on the sky.

    Parameters
    ----------
    vectors : (n, 3) array
        Unit vectors.

    Returns
    -------
    (m,) `~astropy.coordinates.SkyCoord` or None
        None if all lie on one great circle.

    Raises
    ------
    HullError
        If they do not fit into a circle of 80 deg.

    Examples
    --------
    >>> hull_corners(to_vectors(np.zeros(2), np.array([0.0, 0.1]))) is None
    True
    """
    corners = hull_of(vectors)
    return None if corners is None else _sky(corners)


# ---------------------------------------------------------------- files


def serialize(shapes: Regions | Sequence[Region]) -> str:
    """Return regions as the text of a DS9 region file, in which no text can break out of its line.

    Parameters
    ----------
    shapes : `~regions.Regions` or sequence of `~regions.Region`
        Also such as `regions` has not made.

    Returns
    -------
    str

    Examples
    --------
    >>> from astropy.table import QTable
    >>> cat = QTable({"ra": [1.0], "dec": [2.0]})
    >>> print(serialize(regions(cat, radius=36 * u.arcsec)).splitlines()[-1])
    circle(1.000000000000,2.000000000000,0.010000000000) # tag={all}
    """
    from regions import Regions

    safe = [shape if _is_plain(shape) else _with_plain_texts(shape) for shape in shapes]
    return Regions(safe).serialize(format="ds9", precision=DIGITS)


def _is_plain(shape: Region) -> bool:
    meta = shape.meta
    tags = meta.get("tag", [])
    return (
        getattr(shape, "text", None) is None
        and isinstance(tags, list)
        and all(text == plain_text(text) for text in [*tags, *([meta["text"]] if "text" in meta else [])])
    )


def _with_plain_texts(shape: Region) -> Region:
    clean = shape.copy()
    if hasattr(clean, "text"):  # a region that is a text
        clean.text = plain_text(clean.text)
    if "text" in clean.meta:
        clean.meta["text"] = plain_text(clean.meta["text"])
    if "tag" in clean.meta:
        tags = clean.meta["tag"]
        clean.meta["tag"] = [plain_text(tag) for tag in ([tags] if isinstance(tags, str) else tags)]
    return clean
