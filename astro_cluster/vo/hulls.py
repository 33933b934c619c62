"""Convex hulls on the sphere; knows unit vectors only."""

from __future__ import annotations

import numpy as np

__all__ = ["HullError", "cap_of", "hull_of", "nearest_to_the_median", "to_lonlat", "to_vectors"]

_WIDEST = np.radians(80)  # a gnomonic projection ends at 90 deg and is coarse before
_LONGEST_EDGE = np.radians(1)
_STEPS = 2000
_WORK = 10**8  # points times steps


class HullError(ValueError):
    """The points have no hull: they do not fit into a hemisphere."""


def to_vectors(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Return unit vectors.

    Parameters
    ----------
    lon, lat : (n,) array
        In radians.

    Returns
    -------
    (n, 3) array

    Examples
    --------
    >>> to_vectors(np.zeros(1), np.zeros(1))
    array([[1., 0., 0.]])
    """
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def to_lonlat(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return longitudes from 0 to 2π and latitudes.

    Parameters
    ----------
    vectors : (n, 3) array
        Of any length but 0.

    Returns
    -------
    tuple of (n,) array
        In radians.

    Examples
    --------
    >>> to_lonlat(np.array([[0.0, 0.0, 2.0]]))[1].round(6)
    array([1.570796])
    """
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.arctan2(y, x) % (2 * np.pi), np.arctan2(z, np.hypot(x, y))


def _separations(vectors: np.ndarray, centre: np.ndarray) -> np.ndarray:
    return np.arctan2(np.linalg.norm(np.cross(vectors, centre), axis=-1), vectors @ centre)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def nearest_to_the_median(vectors: np.ndarray, fraction: float) -> np.ndarray:
    """Return which points remain if the outermost are left out.

    Parameters
    ----------
    vectors : (n, 3) array
        Unit vectors.
    fraction : float
        Share that remains, rounded up to a whole number of points.

    Returns
    -------
    (m,) array of int

    Examples
    --------
    >>> nearest_to_the_median(to_vectors(np.array([0.0, 0.01, 0.02, 1.0]), np.zeros(4)), 0.7)
    array([0, 1, 2])
    """
    keep = int(np.ceil(round(fraction * len(vectors), 9)))
    median = np.median(vectors, axis=0)
    if np.linalg.norm(median) < 1e-6:
        median = vectors[0]
    return np.sort(np.argsort(_separations(vectors, _unit(median)), kind="stable")[:keep])


def cap_of(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """Return a small circle that holds all points.

    Parameters
    ----------
    vectors : (n, 3) array
        Unit vectors.

    Returns
    -------
    centre : (3,) array
        Unit vector.
    radius : float
        In radians.

    Notes
    -----
    The mean direction is a good centre of what is small or even.  Else the centre walks ever
    smaller steps towards the point that is farthest from it (Bădoiu & Clarkson 2003, SODA, 801).

    Examples
    --------
    >>> centre, radius = cap_of(to_vectors(np.array([0.1, 0.3]), np.zeros(2)))
    >>> round(radius, 6)
    0.1
    """
    mean = vectors.mean(axis=0)
    centre = _unit(mean) if np.linalg.norm(mean) > 1e-9 else vectors[0]
    best, radius = centre, float(_separations(vectors, centre).max())
    if radius < _WIDEST / 2:
        return best, radius
    # Coarser for millions of points, of which none is left out all the same.
    for step in range(1, int(np.clip(_WORK // len(vectors), 50, _STEPS))):
        # The centre of the ball in space that holds the points lies above that of the cap.
        centre = centre + (vectors[np.argmin(vectors @ centre)] - centre) / (step + 1)
        if (length := np.linalg.norm(centre)) < 1e-9:
            break
        if (found := float(_separations(vectors, centre / length).max())) < radius:
            best, radius = centre / length, found
    return best, radius


def hull_of(vectors: np.ndarray) -> np.ndarray | None:
    """Return the corners of the convex hull, its sides being great circles.

    Parameters
    ----------
    vectors : (n, 3) array
        Unit vectors.

    Returns
    -------
    (m, 3) array or None
        Unit vectors in the order of the way around; sides longer than a degree have
        points between, so that they are followed where straight lines are drawn.  None if all
        points lie on one great circle.

    Raises
    ------
    HullError
        If the points do not fit into a circle of 80 deg.

    Notes
    -----
    Great circles are straight lines in the gnomonic projection, so that the hull in the plane is
    the hull on the sphere.

    Examples
    --------
    >>> lon, lat = np.array([[0.0, 0.01, 0.01, 0.0, 0.005], [0.0, 0.0, 0.01, 0.01, 0.005]])
    >>> hull_of(to_vectors(lon, lat)).shape
    (4, 3)
    """
    from scipy.spatial import ConvexHull, QhullError

    centre, radius = cap_of(vectors)
    if radius > _WIDEST:
        raise HullError
    east, north = _axes(centre)
    depth = vectors @ centre
    plane = np.stack([vectors @ east / depth, vectors @ north / depth], axis=-1)
    size = np.abs(plane).max()
    if len(vectors) < 3 or size == 0:
        return None
    try:
        found = ConvexHull(plane / size)
    except QhullError:
        return None
    if found.volume < 1e-9:  # in two dimensions the area
        return None
    corners = plane[found.vertices]
    lines = [_subdivided(a, b) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    x, y = np.concatenate(lines).T
    return np.array([_unit(v) for v in centre + x[:, None] * east + y[:, None] * north])


def _axes(centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two directions at right angles to the centre and to each other."""
    other = np.array([0.0, 0.0, 1.0]) if abs(centre[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    east = _unit(np.cross(other, centre))
    return east, np.cross(centre, east)


def _subdivided(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the start of a side and points on it, without its end."""
    a, b = (np.append(point, 1.0) for point in (start, end))
    length = np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)
    pieces = max(int(np.ceil(length / _LONGEST_EDGE)), 1)
    return start + np.arange(pieces)[:, None] / pieces * (end - start)
