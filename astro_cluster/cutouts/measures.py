"""What the pixels of many images of one size tell about their shape, all images at once, by NumPy.

This is the reference of `measurekernels`, and what is used where Numba does not work.

The measures are invariant to a factor and an offset of the brightness and to flips.  They are
taken of images brought to 0 … 1 and, where the smaller side is 256 pixels or more, averaged over
squares of pixels until it is below that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

__all__ = ["ANGLES", "CELLS", "HARMONICS", "LARGE", "SMALLEST", "SPIKES", "bins_of", "shape_measures"]

SMALLEST = 8
"""Pixels a side below which an image has no measurable shape."""

LARGE = 128
"""Pixels of the smaller side that are kept at least."""

ANGLES = 32
"""Bins of azimuth, centred on multiples of 11.25 degrees so that flips swap whole bins."""

SPIKES = (4, 6, 8)
"""How many spikes a star may have."""

HARMONICS = 8
"""The highest order of the azimuth that is looked at."""

CELLS = 4
"""Cells a side, of which those along the border are compared."""


@dataclass(frozen=True, slots=True)
class _Geometry:
    """Which ring and which bin of azimuth the pixels of an image belong to."""

    order: np.ndarray  # pixels within the largest circle, sorted by bin
    starts: np.ndarray  # of the bins that have pixels, in `order`
    places: np.ndarray  # of these bins in (ring, azimuth)
    counts: np.ndarray  # of their pixels
    ring_of: np.ndarray  # of the pixels in `order`
    between: np.ndarray  # their place from the middle of the ring before, 0, to that of the next, 1
    edges: np.ndarray  # (rings + 1,) radii
    first: int  # ring from which spikes are looked for


def bins_of(h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which ring and bin of azimuth each pixel of an image belongs to.

    Parameters
    ----------
    h, w : int
        Size of the image.

    Returns
    -------
    bins : (h, w) array of int
        ``ANGLES`` times the ring, a pixel wide, plus the bin of azimuth, around the middle.
    radius : (h, w) array of float
        Distance from the middle in pixels.

    Examples
    --------
    >>> bins_of(1, 3)[0] // ANGLES
    array([[1, 0, 1]])
    """
    y, x = np.meshgrid(np.arange(h) - (h - 1) / 2, np.arange(w) - (w - 1) / 2, indexing="ij")
    radius = np.hypot(x, y)
    azimuth = np.round(np.arctan2(y, x) / (2 * np.pi) * ANGLES).astype(np.int64) % ANGLES
    return radius.astype(np.int64) * ANGLES + azimuth, radius


@lru_cache(maxsize=16)
def _geometry(h: int, w: int) -> _Geometry:
    all_bins, radius = bins_of(h, w)
    r = radius.ravel()
    limit = min(h, w) / 2
    inside = np.flatnonzero(r < limit)
    bins = all_bins.ravel()[inside]
    by_bin = np.argsort(bins, kind="stable")
    ring = bins[by_bin] // ANGLES
    places, starts, counts = np.unique(bins[by_bin], return_index=True, return_counts=True)
    n_rings = int(ring[-1]) + 1
    return _Geometry(
        order=inside[by_bin],
        starts=starts,
        places=places,
        counts=counts.astype(np.float64),
        ring_of=ring,
        between=r[inside][by_bin] - ring,
        edges=np.minimum(np.arange(n_rings + 1), limit),
        first=min(max(2, n_rings // 4), n_rings - 1),
    )


def shape_measures(images: np.ndarray, *, quantum: float = 0.0) -> dict[str, np.ndarray]:
    """Measure the shape of what is on images.

    Parameters
    ----------
    images : (m, h, w) array of float
        Images of one size; what is not finite is left out.
    quantum : float, optional
        Smallest step between two brightnesses, 1 for whole numbers.

    Returns
    -------
    dict of str to (m,) array of float64
        ``edge_asymmetry``, ``peak_offset``, ``spike_power`` and ``concentration``, as
        `~astro_cluster.cutouts.quality_of` defines them; NaN where they have no meaning.

    Examples
    --------
    >>> y, x = np.mgrid[-15.5:16, -15.5:16]
    >>> found = shape_measures(np.exp(-(x**2 + y**2) / 18)[None])
    >>> float(found["concentration"][0].round(1))
    2.2
    """
    m, h, w = images.shape
    names = ("edge_asymmetry", "peak_offset", "spike_power", "concentration")
    if min(h, w) < SMALLEST or m == 0:
        return {name: np.full(m, np.nan) for name in names}
    light, seen, span = _unit_range(images)
    nothing = ~np.isfinite(span)
    flat = span == 0
    floor = np.divide(0.25 * quantum, span, out=np.zeros(m), where=span > 0)
    found = {
        "edge_asymmetry": np.where(flat, 0.0, _edge_asymmetry(light, seen, floor)),
        "peak_offset": _peak_offset(light, seen),
        **_azimuth_and_radius(light, seen, flat),
    }
    for values in found.values():
        values[nothing] = np.nan
    return found


def _unit_range(images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Return images brought to 0 … 1, large ones averaged, where they are known, and their ranges.

    That they are known everywhere is said by None.
    """
    known = np.isfinite(images)
    low = np.min(images, axis=(1, 2), where=known, initial=np.inf).astype(np.float64)
    high = np.max(images, axis=(1, 2), where=known, initial=-np.inf).astype(np.float64)
    half = high / 2 - low / 2  # in halves: the range of the largest floats is beyond them
    means, seen = _reduced(np.multiply(images, 0.5, dtype=np.float64), None if known.all() else known)
    low = np.where(np.isfinite(low), low, 0)
    divisor = np.where((half > 0) & np.isfinite(half), half, 1.0)
    light = ((means - low[:, None, None] / 2) / divisor[:, None, None]).astype(np.float32)
    if seen is not None:
        light[seen == 0] = 0
    return light, seen, np.where(half >= 0, 2 * half, np.nan)


def _reduced(pixels: np.ndarray, known: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Average large images over squares of pixels, the known ones."""
    m, h, w = pixels.shape
    k = max(1, min(h, w) // LARGE)
    top, left = h % k // 2, w % k // 2
    shape = (m, h // k, k, w // k, k)
    part = (slice(None), slice(top, top + h // k * k), slice(left, left + w // k * k))
    if known is None:
        return pixels[part].reshape(shape).sum(axis=(2, 4)) / (k * k), None
    pixels[~known] = 0
    sums = pixels[part].reshape(shape).sum(axis=(2, 4))
    counts = known[part].reshape(shape).sum(axis=(2, 4))
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    return means, np.minimum(counts, 1).astype(np.float32)


# ---------------------------------------------------------------- borders


def _edge_asymmetry(light: np.ndarray, seen: np.ndarray | None, floor: np.ndarray) -> np.ndarray:
    """Compare the roughness of cells along the border with that of the cells opposite."""
    h, w = light.shape[1] // CELLS, light.shape[2] // CELLS
    rows, columns = _cell_slices(light.shape[1], h), _cell_slices(light.shape[2], w)
    border = [
        (i, j) for i in range(CELLS) for j in range(CELLS) if {i, j} & {0, CELLS - 1}
    ]  # in an order in which the cell opposite the first is the last
    steps = []
    for i, j in border:
        cell = light[:, rows[i], columns[j]]
        known = None if seen is None else seen[:, rows[i], columns[j]]
        steps.append(_steps(cell, known))
    means = np.stack([step.mean(axis=1, dtype=np.float64) for step in steps], axis=1)
    typical = np.nanmedian(np.where(means > 0, means, np.inf), axis=1)
    typical[~np.isfinite(typical)] = 0
    # A star in one cell is no edge: no step counts more than a few of the usual ones.
    cap = (4 * typical).astype(np.float32)
    rough = np.stack(
        [np.minimum(step, cap[:, None]).mean(axis=1, dtype=np.float64) for step in steps], axis=1
    )
    opposite = rough[:, ::-1]
    total = rough + opposite + (0.05 * typical + floor)[:, None]
    share = np.divide(np.abs(rough - opposite), total, out=np.zeros_like(rough), where=total > 0)
    return share.max(axis=1)


def _cell_slices(size: int, cell: int) -> list[slice]:
    """Return slices of cells, symmetric to the middle."""
    return [
        slice(0, cell),
        slice(cell, 2 * cell),
        slice(size - 2 * cell, size - cell),
        slice(size - cell, size),
    ]


def _steps(cell: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """Return the sizes of the steps between neighbouring pixels; 0 where one of them is not known."""
    across, down = np.abs(np.diff(cell, axis=2)), np.abs(np.diff(cell, axis=1))
    if known is not None:
        across *= known[:, :, 1:] * known[:, :, :-1]
        down *= known[:, 1:] * known[:, :-1]
    m = len(cell)
    return np.concatenate([across.reshape(m, -1), down.reshape(m, -1)], axis=1)


# ---------------------------------------------------------------- the brightest place


def _three(values: np.ndarray) -> np.ndarray:
    """Return sums over 3 x 3 pixels, beyond the border nothing; the same after flips to the last bit."""
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    tall = (padded[:, :-2] + padded[:, 2:]) + padded[:, 1:-1]
    return (tall[:, :, :-2] + tall[:, :, 2:]) + tall[:, :, 1:-1]


@lru_cache(maxsize=256)
def _distances(h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    """Return distances from the middle over half the smaller side, and numbers of neighbours."""
    y, x = np.meshgrid(np.arange(h) - (h - 1) / 2, np.arange(w) - (w - 1) / 2, indexing="ij")
    return np.hypot(x, y) / (min(h, w) / 2), _three(np.ones((1, h, w), dtype=np.float32))[0]


def _peak_offset(light: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
    distance, neighbours = _distances(*light.shape[1:])
    sums = _three(light)
    if seen is None:
        smooth = sums / neighbours
    else:
        counts = _three(seen)
        smooth = np.divide(sums, counts, out=np.full_like(sums, -1), where=(counts > 0) & (seen > 0))
    top = smooth.reshape(len(light), -1).max(axis=1)
    is_top = smooth == top[:, None, None]
    # Of several that are as bright the one nearest to the middle: of two, flips would swap the first.
    return np.min(np.broadcast_to(distance, is_top.shape), axis=(1, 2), where=is_top, initial=np.inf)


# ---------------------------------------------------------------- azimuth and radius


def _azimuth_and_radius(
    light: np.ndarray, seen: np.ndarray | None, flat: np.ndarray
) -> dict[str, np.ndarray]:
    m, h, w = light.shape
    grid = _geometry(h, w)
    pixels = light.reshape(m, -1)[:, grid.order].astype(np.float64)
    known = None if seen is None else seen.reshape(m, -1)[:, grid.order].astype(np.float64)
    counts = grid.counts if known is None else np.add.reduceat(known, grid.starts, axis=1)
    rings = grid.places // ANGLES
    ring_starts = np.flatnonzero(np.diff(rings, prepend=-1))
    sums = np.add.reduceat(np.add.reduceat(pixels, grid.starts, axis=1), ring_starts, axis=1)
    ring_counts = np.add.reduceat(counts, ring_starts, axis=-1)
    ring_counts = np.broadcast_to(ring_counts, sums.shape)
    profile = np.divide(sums, ring_counts, out=np.zeros_like(sums), where=ring_counts > 0)
    sky = _border_level(light, seen)
    power = _spike_power(pixels, known, counts, profile, profile - sky[:, None], grid)
    concentration = _concentration(profile, ring_counts > 0, sky, grid.edges)
    return {
        "spike_power": np.where(flat, 0.0, power),
        "concentration": np.where(flat, np.nan, concentration),
    }


def _border_level(light: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
    """Return the median of the pixels along the border: the sky, where there is some."""
    m, h, w = light.shape
    width = max(1, min(h, w) // 16)
    frame = np.ones((h, w), dtype=bool)
    frame[width:-width, width:-width] = False
    places = np.flatnonzero(frame)
    border = light.reshape(m, -1)[:, places].astype(np.float64)
    if seen is None:
        return np.median(border, axis=1)
    border[seen.reshape(m, -1)[:, places] == 0] = np.inf
    border.sort(axis=1)
    n = np.isfinite(border).sum(axis=1)
    middle = [np.clip(np.stack([(n - 1) // 2, n // 2], axis=1), 0, None)]
    level = np.take_along_axis(border, middle[0], axis=1).mean(axis=1)
    return np.where(n > 0, level, 0)


def _spike_power(
    pixels: np.ndarray,
    known: np.ndarray | None,
    counts: np.ndarray,
    profile: np.ndarray,
    brightness: np.ndarray,
    grid: _Geometry,
) -> np.ndarray:
    """Return the share of the azimuthal power that is 4-, 6- and 8-fold at the same angles in all rings."""
    # Without the radial profile within the rings, which a square grid of pixels would show as 4-fold.
    before = np.concatenate([profile[:, :1], (profile[:, :-1] + profile[:, 1:]) / 2], axis=1)
    after = np.concatenate([before[:, 1:], profile[:, -1:]], axis=1)
    rest = pixels - before[:, grid.ring_of]
    rest -= (after - before)[:, grid.ring_of] * grid.between
    if known is not None:
        rest *= known
    sums = np.add.reduceat(rest, grid.starts, axis=1)
    n_rings = len(grid.edges) - 1
    polar = np.zeros((len(pixels), n_rings * ANGLES))
    polar[:, grid.places] = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    polar = polar.reshape(-1, n_rings, ANGLES)[:, grid.first :]
    polar -= polar.mean(axis=2, keepdims=True)
    # Each ring counts the same, but for those whose only structure is that of the grid of pixels.
    size = np.sqrt(np.square(polar).mean(axis=2) + np.square(0.2 * brightness[:, grid.first :]))
    polar = np.divide(polar, size[:, :, None], out=np.zeros_like(polar), where=size[:, :, None] > 1e-6)
    waves = np.fft.rfft(polar, axis=2)[:, :, 1 : HARMONICS + 1]
    together = np.square(np.abs(waves.mean(axis=1)))
    each = np.square(np.abs(waves)).mean(axis=1).sum(axis=1)
    of_spikes = together[:, np.array(SPIKES) - 1].sum(axis=1)
    # Rings with nothing but the profile have no power to share.
    scale = ANGLES**2 * 1e-3
    return np.divide(of_spikes, np.maximum(each, scale))


def _concentration(
    profile: np.ndarray, is_seen: np.ndarray, sky: np.ndarray, edges: np.ndarray
) -> np.ndarray:
    """Return 5 log10(r80 / r20) of the light above the sky within the largest circle."""
    areas = np.pi * np.square(edges)
    light = np.where(is_seen, profile - sky[:, None], 0) * np.diff(areas)
    inside = np.concatenate([np.zeros((len(light), 1)), np.cumsum(light, axis=1)], axis=1)
    total = inside[:, -1]
    radii = []
    for share in (0.2, 0.8):
        goal = share * np.where(total > 0, total, 1)
        ring = np.argmax(inside >= goal[:, None], axis=1)  # the first edge that has so much inside
        ring = np.maximum(ring, 1)
        rows = np.arange(len(light))
        low, high = inside[rows, ring - 1], inside[rows, ring]
        part = np.divide(goal - low, high - low, out=np.ones_like(goal), where=high > low)
        area = areas[ring - 1] + np.clip(part, 0, 1) * (areas[ring] - areas[ring - 1])
        radii.append(np.sqrt(area / np.pi))
    ratio = np.divide(radii[1], radii[0], out=np.ones_like(total), where=radii[0] > 0)
    return np.where(total > 1e-6, 5 * np.log10(ratio), np.nan)
