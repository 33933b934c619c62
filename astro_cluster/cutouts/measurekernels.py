"""What the pixels of an image tell, compiled by Numba: the same as `measures`, an image at a time.

Rings and bins of azimuth depend on the place from the middle alone, so that one map serves images of
all sizes; sums over bins are all that is taken of the pixels, and what is left is small.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

from astro_cluster.cutouts.measures import ANGLES, CELLS, HARMONICS, LARGE, SPIKES, bins_of

__all__ = ["count_flags", "flags_of", "fold_channels", "measure_shape"]


def _compile(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    try:
        return njit(function, nogil=True, error_model="numpy", cache=True, **options)
    except RuntimeError:  # no folder can be written to: compiled anew in each process
        return njit(function, nogil=True, error_model="numpy", **options)


def _reordered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function whose sums may be split over lanes; NaN keep their meaning."""
    return _compile(function, fastmath={"contract", "reassoc", "nsz"})


# ---------------------------------------------------------------- pixels


@_compile
def fold_channels(image: np.ndarray, sign: int, level: float, light: np.ndarray) -> tuple[int, int, int]:
    """Average an image (h, w, c) over its channels into light; count zero, unknown and saturated pixels."""
    h, w, c = image.shape
    share = light.dtype.type(c)
    zero, unknown, saturated = 0, 0, 0
    for i in range(h):
        for j in range(w):
            total = light.dtype.type(0)
            is_zero, is_known, is_high = True, True, False
            for k in range(c):
                value = image[i, j, k]
                total += light.dtype.type(value)
                is_zero &= value == 0
                is_known &= bool(np.isfinite(value))
                is_high |= value * sign >= level
            light[i, j] = total / share
            zero += is_zero
            unknown += not is_known
            saturated += is_high
    return zero, unknown, saturated


@_compile
def count_flags(image: np.ndarray, level: float, top: float) -> tuple[int, int, int, int, int]:
    """Count pixels: zero, unknown, from the level on, at the top beside another, and amid equal ones."""
    h, w = image.shape
    zero, unknown, high, at_top = 0, 0, 0, 0
    for i in range(h):
        for j in range(w):
            value = image[i, j]
            zero += value == 0
            unknown += not np.isfinite(value)
            high += value >= level
            at_top += value == top
    beside = 0
    if at_top > 1:
        for i in range(h):
            for j in range(w):
                if image[i, j] == top:
                    beside += (
                        (i > 0 and image[i - 1, j] == top)
                        or (i + 1 < h and image[i + 1, j] == top)
                        or (j > 0 and image[i, j - 1] == top)
                        or (j + 1 < w and image[i, j + 1] == top)
                    )
    same = 0
    level_rows = np.zeros((3, w), dtype=np.uint8)  # whether a pixel is as those to its left and right
    for i in range(h):
        row = level_rows[i % 3]
        for j in range(1, w - 1):
            row[j] = (image[i, j - 1] == image[i, j]) & (image[i, j + 1] == image[i, j])
        if i >= 2:
            for j in range(1, w - 1):
                same += (
                    level_rows[0, j]
                    & level_rows[1, j]
                    & level_rows[2, j]
                    & (image[i - 2, j] == image[i - 1, j])
                    & (image[i, j] == image[i - 1, j])
                )
    return zero, unknown, high, beside, same


@_compile
def _unit(image: np.ndarray, k: int, low: float, half: float, light: np.ndarray) -> None:
    """Bring an image to 0 … 1, averaged over squares of k x k pixels."""
    h, w = light.shape
    top, left = image.shape[0] % k // 2, image.shape[1] % k // 2
    sums = np.empty(w * k)
    for i in range(h):
        if k == 1:
            row = image[i]
            for j in range(w):
                light[i, j] = (row[j] * 0.5 - low) / half
            continue
        sums[:] = 0.0
        for a in range(k):
            row = image[top + i * k + a, left : left + w * k]
            for j in range(w * k):
                sums[j] += row[j] * 0.5
        for j in range(w):
            total = 0.0
            for b in range(k):
                total += sums[j * k + b]
            light[i, j] = (total / (k * k) - low) / half


@_compile
def _unit_of_known(
    image: np.ndarray, seen: np.ndarray, k: int, low: float, half: float, light: np.ndarray, known: np.ndarray
) -> None:
    """Do the same with the pixels that are seen; where there are none, light and known are 0."""
    h, w = light.shape
    top, left = image.shape[0] % k // 2, image.shape[1] % k // 2
    for i in range(h):
        for j in range(w):
            total, count = 0.0, 0
            for a in range(top + i * k, top + i * k + k):
                for b in range(left + j * k, left + j * k + k):
                    if seen[a, b]:
                        total += image[a, b] * 0.5
                        count += 1
            light[i, j] = (total / count - low) / half if count > 0 else 0.0
            known[i, j] = count > 0


# ---------------------------------------------------------------- borders and the brightest place


@_reordered
def _steps(light: np.ndarray, known: np.ndarray, has_gaps: bool, box: np.ndarray, cap: float) -> float:
    """Return the mean step between neighbouring pixels of a cell, none counting more than the cap."""
    up, down, left, right = box[0], box[1], box[2], box[3]
    total = 0.0
    for i in range(up, down):
        for j in range(left, right - 1):
            step = min(abs(light[i, j + 1] - light[i, j]), cap)
            if has_gaps:
                step *= known[i, j + 1] * known[i, j]
            total += step
        if i + 1 < down:
            for j in range(left, right):
                step = min(abs(light[i + 1, j] - light[i, j]), cap)
                if has_gaps:
                    step *= known[i + 1, j] * known[i, j]
                total += step
    height, width = down - up, right - left
    return total / (height * (width - 1) + (height - 1) * width)


@_compile
def _edge_asymmetry(light: np.ndarray, known: np.ndarray, has_gaps: bool, floor: float) -> float:
    h, w = light.shape
    height, width = h // CELLS, w // CELLS
    rows = (0, height, h - 2 * height, h - height)
    columns = (0, width, w - 2 * width, w - width)
    n = 4 * CELLS - 4
    boxes = np.empty((n, 4), dtype=np.int64)
    number = 0
    for i in range(CELLS):
        for j in range(CELLS):
            if i == 0 or i == CELLS - 1 or j == 0 or j == CELLS - 1:
                boxes[number, 0], boxes[number, 1] = rows[i], rows[i] + height
                boxes[number, 2], boxes[number, 3] = columns[j], columns[j] + width
                number += 1
    rough = np.empty(n)
    for cell in range(n):
        rough[cell] = _steps(light, known, has_gaps, boxes[cell], np.float32(np.inf))
    order = np.full(n, np.inf)  # sorted by hand: np.sort would take seconds to compile
    for cell in range(n):
        if rough[cell] > 0:
            place = cell
            while place > 0 and order[place - 1] > rough[cell]:
                order[place] = order[place - 1]
                place -= 1
            order[place] = rough[cell]
    typical = (order[n // 2 - 1] + order[n // 2]) / 2
    if not np.isfinite(typical):
        typical = 0.0
    cap = np.float32(4 * typical)
    for cell in range(n):
        rough[cell] = _steps(light, known, has_gaps, boxes[cell], cap)
    worst = 0.0
    for cell in range(n // 2):
        a, b = rough[cell], rough[n - 1 - cell]
        total = a + b + 0.05 * typical + floor
        if total > 0:
            worst = max(worst, abs(a - b) / total)
    return worst


@_compile
def _peak_offset(light: np.ndarray, known: np.ndarray, has_gaps: bool) -> float:
    h, w = light.shape
    tall, many = np.zeros(w + 2, dtype=np.float32), np.zeros(w + 2, dtype=np.float32)
    smooth = np.empty(w, dtype=np.float32)
    nothing = np.zeros(w, dtype=np.float32)
    whole = np.ones(w, dtype=np.float32)
    top, nearest = np.float32(-np.inf), np.inf
    for i in range(h):
        above = light[i - 1] if i > 0 else nothing
        below = light[i + 1] if i + 1 < h else nothing
        for j in range(w):
            tall[j + 1] = (above[j] + below[j]) + light[i, j]
        if has_gaps:
            above = known[i - 1] if i > 0 else nothing
            below = known[i + 1] if i + 1 < h else nothing
            middle = known[i]
        else:
            above = whole if i > 0 else nothing
            below = whole if i + 1 < h else nothing
            middle = whole
        for j in range(w):
            many[j + 1] = (above[j] + below[j]) + middle[j]
        for j in range(w):
            count = (many[j] + many[j + 2]) + many[j + 1]
            value = ((tall[j] + tall[j + 2]) + tall[j + 1]) / max(count, np.float32(1))
            smooth[j] = value if count > 0 and middle[j] > 0 else np.float32(-1)
        for j in range(w):
            if smooth[j] >= top:
                distance = np.hypot(j - (w - 1) / 2, i - (h - 1) / 2)
                nearest = distance if smooth[j] > top else min(nearest, distance)
                top = smooth[j]
    return nearest / (min(h, w) / 2)


# ---------------------------------------------------------------- azimuth and radius


@_compile
def _sum_bins(
    light: np.ndarray,
    known: np.ndarray,
    has_gaps: bool,
    bins: np.ndarray,
    sums: np.ndarray,
    counts: np.ndarray,
    places: np.ndarray,
) -> None:
    """Add up pixels within the largest circle by bin: brightness, number, place between the rings."""
    h, w = light.shape
    side = min(h, w)
    down, across = (bins.shape[0] - h) // 2, (bins.shape[1] - w) // 2
    for i in range(h):
        y = 2 * i - h + 1  # in half pixels from the middle
        if y * y >= side * side:
            continue
        reach = np.int64(np.sqrt(side * side - y * y)) + 1
        for j in range(max(0, (w - 1 - reach) // 2), min(w, (w + 1 + reach) // 2 + 1)):
            x = 2 * j - w + 1
            if x * x + y * y >= side * side:
                continue
            place = bins[i + down, j + across]
            if has_gaps:
                sums[place] += light[i, j] * known[i, j]
                counts[place] += known[i, j]
                places[place] += known[i, j] * (np.hypot(x / 2, y / 2) - place // ANGLES)
            else:
                sums[place] += light[i, j]


@_compile
def _border(light: np.ndarray, known: np.ndarray, has_gaps: bool, border: np.ndarray) -> int:
    """Collect the known pixels of a frame along the border; return how many there are."""
    h, w = light.shape
    width = max(1, min(h, w) // 16)
    n = 0
    for i in range(h):
        step = 1 if i < width or i >= h - width else w - width
        for begin in range(0, w, step):
            for j in range(begin, min(begin + (1 if step == 1 else width), w)):
                if not has_gaps or known[i, j] > 0:
                    border[n] = light[i, j]
                    n += 1
    return n


@_compile
def _profile(sums: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each ring, 0 where there is nothing, and the numbers of pixels."""
    n = len(sums) // ANGLES
    profile, seen = np.zeros(n), np.zeros(n)
    for ring in range(n):
        part = slice(ring * ANGLES, (ring + 1) * ANGLES)
        seen[ring] = counts[part].sum()
        if seen[ring] > 0:
            profile[ring] = sums[part].sum() / seen[ring]
    return profile, seen


@_compile
def _spike_power(
    sums: np.ndarray,
    counts: np.ndarray,
    places: np.ndarray,
    profile: np.ndarray,
    sky: float,
    waves: np.ndarray,
) -> float:
    n = len(profile)
    first = min(max(2, n // 4), n - 1)
    together = np.zeros((HARMONICS, 2))
    each = 0.0
    polar = np.empty(ANGLES)
    for ring in range(first, n):
        before = (profile[max(ring - 1, 0)] + profile[ring]) / 2
        after = (profile[ring] + profile[ring + 1]) / 2 if ring + 1 < n else profile[ring]
        mean = 0.0
        for angle in range(ANGLES):
            place = ring * ANGLES + angle
            rest = sums[place] - before * counts[place] - (after - before) * places[place]
            polar[angle] = rest / counts[place] if counts[place] > 0 else 0.0
            mean += polar[angle] / ANGLES
        square = 0.0
        for angle in range(ANGLES):
            polar[angle] -= mean
            square += polar[angle] ** 2 / ANGLES
        size = np.sqrt(square + (0.2 * (profile[ring] - sky)) ** 2)
        if size <= 1e-6:
            continue
        for m in range(HARMONICS):
            real, imaginary = 0.0, 0.0
            for angle in range(ANGLES):
                real += polar[angle] * waves[0, m, angle]
                imaginary += polar[angle] * waves[1, m, angle]
            together[m, 0] += real / size
            together[m, 1] += imaginary / size
            each += (real * real + imaginary * imaginary) / size**2
    share = 0.0
    for m in SPIKES:
        share += (together[m - 1, 0] ** 2 + together[m - 1, 1] ** 2) / (n - first) ** 2
    # Rings with nothing but the profile have no power to share.
    return share / max(each / (n - first), ANGLES**2 * 1e-3)


@_compile
def _concentration(profile: np.ndarray, seen: np.ndarray, sky: float, side: int) -> float:
    n = len(profile)
    inside, areas = np.zeros(n + 1), np.zeros(n + 1)
    for ring in range(n):
        areas[ring + 1] = np.pi * min(ring + 1.0, side / 2) ** 2
        light = profile[ring] - sky if seen[ring] > 0 else 0.0
        inside[ring + 1] = inside[ring] + light * (areas[ring + 1] - areas[ring])
    total = inside[n]
    if not total > 1e-6:
        return np.nan
    radii = np.empty(2)
    for number, share in enumerate((0.2, 0.8)):
        goal = share * total
        edge = 0
        while edge < n and inside[edge] < goal:
            edge += 1
        edge = max(edge, 1)
        low, high = inside[edge - 1], inside[edge]
        part = (goal - low) / (high - low) if high > low else 1.0
        area = areas[edge - 1] + min(max(part, 0.0), 1.0) * (areas[edge] - areas[edge - 1])
        radii[number] = np.sqrt(area / np.pi)
    return 5 * np.log10(radii[1] / radii[0]) if radii[0] > 0 else 0.0


@_compile
def _shape(
    light: np.ndarray,
    known: np.ndarray,
    has_gaps: bool,
    floor: float,
    sky: float,
    is_flat: bool,
    bins: np.ndarray,
    counts: np.ndarray,
    places: np.ndarray,
    waves: np.ndarray,
) -> tuple[float, float, float, float]:
    """Return asymmetry, offset, power and concentration of an image of 0 … 1."""
    offset = _peak_offset(light, known, has_gaps)
    if is_flat:
        return 0.0, offset, 0.0, np.nan
    n_rings = (min(light.shape) + 1) // 2
    sums = np.zeros(n_rings * ANGLES)
    if has_gaps:
        counts, places = np.zeros(n_rings * ANGLES), np.zeros(n_rings * ANGLES)
    _sum_bins(light, known, has_gaps, bins, sums, counts, places)
    profile, seen = _profile(sums, counts)
    return (
        _edge_asymmetry(light, known, has_gaps, floor),
        offset,
        _spike_power(sums, counts, places, profile, sky, waves),
        _concentration(profile, seen, sky, min(light.shape)),
    )


# ---------------------------------------------------------------- called from Python

_NONE = np.zeros((0, 0), dtype=np.float32)


def _sky(light: np.ndarray, known: np.ndarray, has_gaps: bool) -> float:
    """Return the median of the pixels along the border; NumPy's, which would take seconds to compile."""
    border = np.empty(light.size, dtype=np.float32)
    n = _border(light, known, has_gaps, border)
    if n == 0:
        return 0.0
    low, high = (n - 1) // 2, n // 2
    part = np.partition(border[:n], (low, high))
    return (float(part[low]) + float(part[high])) / 2


@lru_cache(maxsize=1)
def _waves() -> np.ndarray:
    turns = np.outer(np.arange(1, HARMONICS + 1), np.arange(ANGLES)) * (2 * np.pi / ANGLES)
    return np.stack([np.cos(turns), np.sin(turns)])


@lru_cache(maxsize=4)
def _map(h_is_odd: int, w_is_odd: int) -> np.ndarray:
    """Return the bins around the middle of the largest images there are."""
    return bins_of(2 * LARGE - h_is_odd, 2 * LARGE - w_is_odd)[0].astype(np.int16)


@lru_cache(maxsize=512)
def _totals(h: int, w: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the map for images of a size, and the sums over bins where all pixels are known."""
    side = min(h, w)
    down, across = (h - side) // 2, (w - side) // 2
    inner = (h - 2 * down, w - 2 * across)  # a circle is no wider
    bins = _map(inner[0] % 2, inner[1] % 2)
    n = (side + 1) // 2 * ANGLES
    ones = np.ones(inner, dtype=np.float32)
    sums, counts, places = np.zeros(n), np.zeros(n), np.zeros(n)
    _sum_bins(ones, ones, True, bins, sums, counts, places)
    return bins, counts, places


def flags_of(
    image: np.ndarray, saturation: float | None, *, inverted: bool
) -> tuple[int, int, int, int, np.ndarray, float, float]:
    """Count what can be said of single pixels.

    Parameters
    ----------
    image : (h, w) or (h, w, c) array
        Pixels; whole numbers of at most 4 bytes, float32 or float64.
    saturation : float or None
        Brightness from which on a pixel is saturated.
    inverted : bool
        Sources are darker than the sky.

    Returns
    -------
    zero, unknown, saturated, same : int
        Numbers of pixels.
    light : (h, w) array of float32 or float64
        The mean over the channels, turned over if inverted.
    low, high : float
        Range of its finite pixels.

    Examples
    --------
    >>> flags_of(np.array([[0, 1, 255]], dtype=np.uint8), 255, inverted=False)[:4]
    (1, 0, 1, 0)
    """
    dtype = np.float32 if image.dtype.itemsize <= 2 or image.dtype == np.float32 else np.float64
    sign = -1 if inverted else 1
    level = np.inf if saturation is None else sign * float(saturation)
    if image.dtype == np.float32:  # NumPy compares in this precision
        with np.errstate(over="ignore"):
            level = float(np.float32(level))
    counts = (0, 0, 0)
    is_coloured = image.ndim == 3
    if is_coloured:
        light = np.empty(image.shape[:2], dtype)
        pixels = image if image.dtype == np.uint8 else image.astype(dtype, copy=False)
        counts = fold_channels(np.ascontiguousarray(pixels), sign, level, light)
    else:
        light = np.ascontiguousarray(image, dtype)
    if inverted:
        light = -light
    low, high = _range(light)
    # What is constant has no top, and neither have images whose level is known.
    top = high if saturation is None and low < high else np.nan
    zero, unknown, at_level, beside, same = count_flags(light, level, light.dtype.type(top))
    if is_coloured:
        zero, unknown, at_level = counts
    return zero, unknown, beside if saturation is None else at_level, same, light, low, high


def _range(light: np.ndarray) -> tuple[float, float]:
    """Return the range of the finite pixels."""
    low, high = light.min(), light.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        known = np.isfinite(light)
        low, high = light.min(where=known, initial=np.inf), light.max(where=known, initial=-np.inf)
    return float(low), float(high)


def measure_shape(image: np.ndarray, low: float, high: float, *, quantum: float) -> tuple[float, ...]:
    """Measure the shape of what is on an image.

    Parameters
    ----------
    image : (h, w) array of float32 or float64, C-contiguous
        What is not finite is left out.
    low, high : float
        The range of the finite pixels; infinite if there are none.
    quantum : float
        Smallest step between two brightnesses.

    Returns
    -------
    edge_asymmetry, peak_offset, spike_power, concentration : float
        As `astro_cluster.cutouts.measures.shape_measures`.

    Examples
    --------
    >>> y, x = np.mgrid[-15.5:16, -15.5:16]
    >>> image = np.exp(-(x**2 + y**2) / 18)
    >>> round(measure_shape(image, image.min(), image.max(), quantum=0)[3], 1)
    2.2
    """
    low, high = float(low), float(high)
    if not low <= high:
        return (np.nan,) * 4
    half = high / 2 - low / 2  # in halves: the range of the largest floats is beyond them
    k = max(1, min(image.shape) // LARGE)
    h, w = image.shape[0] // k, image.shape[1] // k
    light, known, seen = np.empty((h, w), dtype=np.float32), _NONE, np.isfinite(image)
    has_gaps = not seen.all()
    if has_gaps:
        known = np.empty((h, w), dtype=np.float32)
        _unit_of_known(image, seen, k, low / 2, half or 1.0, light, known)
    else:
        _unit(image, k, low / 2, half or 1.0, light)
    floor = 0.25 * quantum / (2 * half) if half > 0 else 0.0
    sky = _sky(light, known, has_gaps)
    return _shape(light, known, has_gaps, floor, sky, half == 0, *_totals(h, w), _waves())
