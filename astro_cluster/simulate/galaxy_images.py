"""Simulated r-band images of galaxies, as the CFIS survey would see them, with the truth about each.

Each image spans 50 kpc at the galaxy's distance, as those of the study do; its native pixels of
0.187 arcsec are brought to the wanted number of pixels.
"""

from __future__ import annotations

import functools
import math
import secrets
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import Column, QTable
from numpy.typing import NDArray

from astro_cluster.exceptions import InputError
from astro_cluster.provenance import OMIT, Step, step
from astro_cluster.simulate import blemishes
from astro_cluster.simulate.profiles import (
    elliptical_radius,
    gaussian_rows,
    moffat,
    pixel_axis,
    resampling_matrix,
    sersic,
    sersic_total,
)
from astro_cluster.threads import available_threads, run_all

__all__ = ["ARTEFACTS", "GALAXY_TYPES", "galaxies"]

GALAXY_TYPES = {"elliptical": 0.30, "disc": 0.22, "spiral": 0.26, "barred spiral": 0.12, "merger": 0.10}
"""Shares of the kinds of galaxies."""
ARTEFACTS = ("diffraction spikes", "edge", "bright neighbour", "gap", "satellite trail")
"""Kinds of artefacts, equally frequent."""
NATIVE_PIXEL = 0.187
"""Pixel of MegaCam at CFHT [arcsec]."""
FIELD_OF_VIEW = 50.0
"""What each image spans at the distance of its galaxy [kpc]."""
_FWHM = 0.66  # seeing [arcsec]
_SKY = 0.139  # brightness of the sky, r = 21 mag per square arcsec [nanomaggy per native pixel]
_GAIN = 35_000.0  # electrons per nanomaggy: a sky noise of 0.002 nanomaggy per native pixel
_CORRELATION = 0.55  # of the noise, by the stacking [native pixel]


@dataclass(frozen=True, slots=True)
class _Galaxy:
    """The truth about one galaxy: what `galaxies` writes into its columns."""

    kind: str
    redshift: float
    index: float
    axis_ratio: float
    angle: float
    r_eff: float
    flux: float
    pixel_scale: float
    artefact: str


@dataclass(frozen=True, slots=True)
class _Grid:
    """Coordinates of an image with a margin around it, in which nothing of the seeing wraps around.

    Parameters
    ----------
    size, margin : int
        Pixels of the image, and beyond each side of it.
    x, y : (1, m) and (m, 1) arrays [pixel]
        Offsets from the middle, margin included.
    """

    size: int
    margin: int
    x: NDArray[np.float32]
    y: NDArray[np.float32]

    @property
    def inner(self) -> tuple[slice, slice]:
        """The image without its margin."""
        within = slice(self.margin, self.margin + self.size)
        return within, within


@functools.cache
def _grid(size: int) -> _Grid:
    margin = max(4, size // 16)
    axis = pixel_axis(size + 2 * margin)
    return _Grid(size, margin, axis[np.newaxis, :], axis[:, np.newaxis])


@functools.cache
def _frequency(n: int) -> NDArray[np.float32]:
    """Return the spatial frequency of each term of a real Fourier transform [cycle per pixel]."""
    return np.hypot(np.fft.fftfreq(n)[:, np.newaxis], np.fft.rfftfreq(n)).astype(np.float32)


def _through_seeing(image: NDArray[np.floating], fwhm: float) -> NDArray[np.float32]:
    """Return an image as the atmosphere blurs it; ``fwhm`` in pixels.

    D. L. Fried (1966, JOSA 56, 1372): the long-exposure transfer function is
    exp(-3.44 (f λ / r0)^(5/3)), whose FWHM is 0.976 λ / r0.
    """
    from scipy import fft

    transfer = np.exp(-3.44 * (_frequency(image.shape[0]) * (fwhm / 0.976)) ** (5 / 3))
    blurred = fft.irfft2(fft.rfft2(image.astype(np.float32)) * transfer, s=image.shape)
    return blurred.astype(np.float32, copy=False)


def _component(
    grid: _Grid, *, flux: float, index: float, r_eff: float, axis_ratio: float, angle: float,
    x: float = 0.0, y: float = 0.0,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:  # fmt: skip
    """Return a Sérsic component of a given total flux, and its elliptical radius [pixel]."""
    radius = elliptical_radius(
        grid.x - np.float32(x), grid.y - np.float32(y), axis_ratio=axis_ratio, angle=angle
    )
    soft = np.sqrt(radius**2 + np.float32(0.35**2))  # the middle pixel of a cusp is an average
    light = sersic(soft, index=index, effective_radius=r_eff)
    return light * (flux / sersic_total(index=index, effective_radius=r_eff, axis_ratio=axis_ratio)), radius


def _galaxy(rng: np.random.Generator, grid: _Grid, truth: _Galaxy) -> NDArray[np.floating]:
    """Return the light of a galaxy before the seeing [nanomaggy per pixel of the grid]."""
    scale = truth.pixel_scale
    main = {"r_eff": truth.r_eff / scale, "axis_ratio": truth.axis_ratio, "angle": truth.angle}
    if truth.kind == "elliptical":
        return _component(grid, flux=truth.flux, index=truth.index, **main)[0]
    if truth.kind == "merger":
        return _merger(rng, grid, truth, main)
    bulge_share = rng.beta(2, 6)
    disc, radius = _component(grid, flux=truth.flux * (1 - bulge_share), index=truth.index, **main)
    if "spiral" in truth.kind:
        disc = disc * _arms(rng, grid, truth, radius / main["r_eff"])
    round_bulge = {**main, "axis_ratio": min(1.0, truth.axis_ratio + 0.4 * (1 - truth.axis_ratio) + 0.1)}
    round_bulge["r_eff"] = max(0.3, main["r_eff"] * rng.uniform(0.12, 0.3))
    light = (
        disc + _component(grid, flux=truth.flux * bulge_share, index=rng.uniform(1.5, 4), **round_bulge)[0]
    )
    if truth.kind == "barred spiral":
        share = rng.uniform(0.08, 0.2)
        bar = {
            "r_eff": main["r_eff"] * rng.uniform(0.35, 0.6),
            "axis_ratio": rng.uniform(0.2, 0.35) * (0.5 + 0.5 * truth.axis_ratio),
            "angle": truth.angle + rng.uniform(-0.6, 0.6),
        }
        light = light * (1 - share) + _component(grid, flux=truth.flux * share, index=0.5, **bar)[0]
    return light


def _arms(
    rng: np.random.Generator, grid: _Grid, truth: _Galaxy, radius: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Return how spiral arms and knots modulate a disc: logarithmic spirals in its own plane."""
    along = grid.x * np.cos(truth.angle) + grid.y * np.sin(truth.angle)
    across = (grid.y * np.cos(truth.angle) - grid.x * np.sin(truth.angle)) / truth.axis_ratio
    azimuth = np.arctan2(across, along)
    n_arms = rng.choice([2, 2, 3, 4])
    wound = np.log(np.maximum(radius, 0.05)) / np.tan(np.radians(rng.uniform(12, 28)))
    phase = n_arms * (azimuth - rng.choice([-1, 1]) * wound) + rng.uniform(0, 2 * np.pi)
    ridge = np.exp(rng.uniform(1.0, 2.2) * (np.cos(phase) - 1))
    strength = rng.uniform(0.6, 1.8) * radius / (radius + 0.4)
    return (1 + strength * ridge) / (1 + 0.4 * strength)


def _merger(
    rng: np.random.Generator, grid: _Grid, truth: _Galaxy, main: dict[str, float]
) -> NDArray[np.floating]:
    """Return two nuclei and the tails that tides pulled out of them."""
    ratio, tail_share = rng.uniform(0.15, 0.5), rng.uniform(0.08, 0.2)
    first = truth.flux * (1 - ratio) * (1 - tail_share)
    light = _component(grid, flux=first, index=truth.index, **main)[0]
    turn = rng.uniform(0, 2 * np.pi)
    away = rng.uniform(0.8, 2.5) * main["r_eff"] + 1.0
    light = light + _component(
        grid, flux=truth.flux * ratio * (1 - tail_share), index=rng.uniform(1, 4),
        r_eff=max(0.4, main["r_eff"] * rng.uniform(0.3, 0.8)), axis_ratio=rng.uniform(0.4, 1),
        angle=rng.uniform(0, np.pi), x=away * np.cos(turn), y=away * np.sin(turn),
    )[0]  # fmt: skip
    azimuth = np.arctan2(grid.y, grid.x)
    tails: NDArray[np.floating] = np.zeros_like(light)
    for side, share in ((0.0, 0.6), (np.pi, 0.4)):
        # An arc whose radius grows with azimuth, fading along it.
        sweep = np.mod(rng.choice([-1, 1]) * (azimuth - turn - side), 2 * np.pi)
        at = main["r_eff"] * (1.2 + rng.uniform(0.3, 0.8) * sweep)
        distance = np.hypot(grid.x, grid.y) - at
        tail = np.exp(-0.5 * (distance / (0.25 * main["r_eff"])) ** 2 - (sweep / rng.uniform(1.2, 2.5)) ** 2)
        tails = tails + share * tail / max(float(tail.sum()), 1e-9)
    return light + truth.flux * tail_share * tails


def _neighbours(rng: np.random.Generator, grid: _Grid, scale: float, light: NDArray[np.floating]) -> None:
    """Add stars and background galaxies by their counts, as seen through the atmosphere."""
    side = grid.x.size * scale
    n = rng.poisson(45 * (side / 60) ** 2)  # a square arcminute holds 45 above r = 24.3
    magnitude = 24.3 + np.log10(rng.uniform(1e-9, 1, n)) / 0.33
    for m in magnitude[magnitude > 16.5].tolist():
        x, y = (rng.uniform(-side / 2, side / 2, 2) / scale).tolist()
        star = rng.uniform() < 0.35
        size = 0.0 if star else rng.lognormal(-0.6, 0.5)
        _add_blob(
            grid, light, x=x, y=y, flux=10 ** (-0.4 * (m - 22.5)), fwhm=math.hypot(_FWHM, size) / scale,
            beta=4.765 if star else 3.0, axis_ratio=1.0 if star else rng.uniform(0.35, 1),
            angle=rng.uniform(0, np.pi),
        )  # fmt: skip


def _add_blob(
    grid: _Grid, light: NDArray[np.floating], *, x: float, y: float, flux: float, fwhm: float, beta: float,
    axis_ratio: float, angle: float,
) -> None:  # fmt: skip
    """Add a Moffat source of total flux ``flux``, as far out as it can be seen."""
    fwhm = math.hypot(fwhm, 0.7)  # a pixel is an average
    core = fwhm / (2 * math.sqrt(2 ** (1 / beta) - 1))
    peak = flux * (beta - 1) / (math.pi * core**2 * axis_ratio)
    reach = core * math.sqrt(max((peak / 1e-5) ** (1 / beta), 4.0)) + 1  # there it is far below the noise
    half = (grid.x.size - 1) / 2
    columns = slice(max(0, int(x + half - reach)), max(0, int(x + half + reach) + 2))
    rows = slice(max(0, int(y + half - reach)), max(0, int(y + half + reach) + 2))
    radius = elliptical_radius(grid.x[:, columns] - x, grid.y[rows] - y, axis_ratio=axis_ratio, angle=angle)
    light[rows, columns] += peak * moffat(radius, fwhm=fwhm, beta=beta)


def _artefact_light(rng: np.random.Generator, grid: _Grid, truth: _Galaxy) -> NDArray[np.floating] | None:
    """Return the light of an artefact that adds some [nanomaggy per pixel of the grid]."""
    scale, half = truth.pixel_scale, grid.size / 2
    sigma = np.sqrt(_SKY / _GAIN) * (scale / NATIVE_PIXEL) ** 2
    turn = rng.uniform(0, 2 * np.pi)
    if truth.artefact == "satellite trail":
        return sigma * rng.uniform(4, 60) * blemishes.satellite_trail(
            grid.x, grid.y, angle=turn, offset=rng.uniform(-0.8, 0.8) * half,
            width=max(0.5, rng.uniform(0.28, 0.7) / scale),
        )  # fmt: skip
    if truth.artefact == "bright neighbour":
        away = rng.uniform(0.35, 0.95) * half
        return _component(
            grid, flux=truth.flux * rng.lognormal(1.2, 0.6), index=rng.uniform(1, 4),
            r_eff=max(1.0, rng.uniform(0.1, 0.35) * half), axis_ratio=rng.uniform(0.4, 1),
            angle=rng.uniform(0, np.pi), x=away * np.cos(turn), y=away * np.sin(turn),
        )[0]  # fmt: skip
    if truth.artefact == "diffraction spikes":
        return _bright_star(rng, grid, scale, sigma)
    return None


def _bright_star(rng: np.random.Generator, grid: _Grid, scale: float, sigma: float) -> NDArray[np.floating]:
    """Return a saturated star: halo, the four spikes of MegaCam's spider, often a bleeding column."""
    half = grid.size / 2
    away, turn = rng.uniform(0.5, 1.15) * half, rng.uniform(0, 2 * np.pi)
    x, y = grid.x - np.float32(away * np.cos(turn)), grid.y - np.float32(away * np.sin(turn))
    peak = sigma * 10 ** rng.uniform(3.2, 4.7)
    light = peak * moffat(np.hypot(x, y), fwhm=1.1 * _FWHM / scale + 1, beta=1.7)
    roll = np.radians(rng.normal(0, 2))
    light = light + 0.03 * peak * blemishes.star_spikes(
        x, y, angles=[roll, roll + np.pi / 2], strengths=rng.uniform(0.4, 1.0, 2),
        length=rng.uniform(5, 14) / scale, width=max(0.6, 0.35 / scale),
    )  # fmt: skip
    if rng.uniform() < 0.5:
        # Charge bleeds along the column, over fewer columns the further away.
        near, far = (np.abs(y) < rng.uniform(low, high) * half for low, high in ((0.1, 0.7), (0.7, 3)))
        wide = max(0.6, rng.uniform(0.3, 0.9) / scale)
        column = ((np.abs(x) < wide) & near) | ((np.abs(x) < max(0.6, 0.6 * wide)) & far)
        light = np.where(column, np.maximum(light, 0.6 * peak), light)
    return light


def _without_data(rng: np.random.Generator, grid: _Grid, truth: _Galaxy) -> NDArray[np.bool_] | None:
    """Return which pixels of the image hold no data, for an edge or a gap."""
    x, y = np.broadcast_arrays(grid.x[:, grid.inner[1]], grid.y[grid.inner[0], :])
    half = grid.size / 2
    if truth.artefact == "edge":
        angle = rng.integers(4) * np.pi / 2 + (rng.normal(0, 0.25) if rng.uniform() < 0.3 else 0.0)
        depth = rng.uniform(-0.2, 0.85) * half
        return blemishes.beyond_edge(x, y, angle=angle, depth=depth) > 0
    if truth.artefact != "gap":
        return None
    if rng.uniform() < 0.5:
        x, y = y, x
    shape = rng.choice(3, p=[0.45, 0.25, 0.30])
    at = rng.uniform(-0.9, 0.9) * half
    if shape == 0:  # gaps between chips: one or two bands across the whole image
        width = max(0.6, rng.uniform(0.01, 0.05) * half)
        second = at + rng.uniform(0.25, 0.6) * half if rng.uniform() < 0.4 else at
        return (np.abs(x - at) < width) | (np.abs(x - second) < width)
    if shape == 1:  # a dead column, or a part of one
        return (np.abs(x - at) < max(0.6, 0.012 * half)) & (y > rng.uniform(-1, 0.5) * half)
    width, height = rng.uniform(0.1, 0.5, 2) * half
    return (np.abs(x - at) < width) & (np.abs(y - rng.uniform(-0.8, 0.8) * half) < height)


def _noise(
    rng: np.random.Generator, grid: _Grid, scale: float, light: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Return the noise of sky and source on native pixels, as it looks on those of the image."""
    ratio = scale / NATIVE_PIXEL
    if ratio < 2.5:
        there = _noise_rows(max(8, round(grid.size * ratio)), grid.size)
    else:
        # Many native pixels make one of the image: the same variance and correlation without them.
        # A Hann window of two pixels has 3/4 the power of a box, and neighbours correlated by 1/6.
        there = gaussian_rows(grid.size, 0.374, margin=3) * np.float32(math.sqrt(0.75 * 1.79 / ratio))
    white = rng.standard_normal((there.shape[1], there.shape[1]), dtype=np.float32)
    return (there @ white @ there.T) * np.sqrt((_SKY + np.maximum(light, 0)) / _GAIN)


@functools.lru_cache(maxsize=32)
def _noise_rows(n: int, size: int) -> NDArray[np.float32]:
    """Return the matrix from white noise on ``n`` native pixels (and 3 beyond) to the image's."""
    return resampling_matrix(n, size) @ gaussian_rows(n, _CORRELATION, margin=3)


def _draw(seed: np.random.SeedSequence, truth: _Galaxy, out: NDArray[np.float32]) -> float:
    """Draw one image into ``out`` and return the share of its pixels that the artefact touches.

    The image holds nanomaggies per native pixel, as resizing keeps the surface brightness.
    """
    rng = np.random.default_rng(seed)
    grid = _grid(out.shape[0])
    scale = truth.pixel_scale
    light = _through_seeing(_galaxy(rng, grid, truth), _FWHM / scale)
    _neighbours(rng, grid, scale, light)
    extra = _artefact_light(rng, grid, truth)
    touched = np.zeros(out.shape, dtype=bool)
    per_native = (NATIVE_PIXEL / scale) ** 2
    if extra is not None:
        light = light + extra
        touched |= extra[grid.inner] * per_native > np.sqrt(_SKY / _GAIN)
    inner = light[grid.inner] * per_native
    out[...] = inner + _noise(rng, grid, scale, inner)
    empty = _without_data(rng, grid, truth)
    if empty is not None:
        out[empty] = 0
        touched |= empty
    return float(touched.mean())


def _truths(rng: np.random.Generator, n: int, size: int, artefacts: float) -> list[_Galaxy]:
    """Draw the properties of n galaxies: luminosities, sizes and shapes of nearby massive ones."""
    from astropy.cosmology import FlatLambdaCDM

    cosmology = FlatLambdaCDM(H0=70, Om0=0.3)  # as in the headers of RealSimCFIS
    kinds = rng.choice(list(GALAXY_TYPES), n, p=list(GALAXY_TYPES.values()))
    redshift = 0.02 + 0.23 * rng.beta(1.6, 2.2, n)
    absolute = np.clip(rng.normal(-21.4, 0.75, n), -23.5, -19)
    magnitude = absolute + cosmology.distmod(redshift).value
    kpc = cosmology.kpc_proper_per_arcmin(redshift).value / 60
    round_ones = kinds == "elliptical"
    luminosity = -0.4 * (absolute + 21)
    log_size = np.where(round_ones, 0.55 + 0.6 * luminosity, 0.72 + 0.28 * luminosity) + rng.normal(
        0, 0.13, n
    )
    index = np.where(
        round_ones, np.clip(rng.normal(4, 1.0, n), 2, 6.5), np.clip(rng.normal(1.0, 0.2, n), 0.6, 1.8)
    )
    cosine = rng.uniform(0, 1, n)  # discs are seen from everywhere
    thin = np.sqrt(cosine**2 * (1 - 0.2**2) + 0.2**2)
    ratio = np.where(round_ones, 1 - 0.6 * rng.beta(2, 3, n), thin)
    angle = rng.uniform(0, np.pi, n)
    n_artefacts = round(n * artefacts)
    artefact = rng.permutation(
        [ARTEFACTS[i % len(ARTEFACTS)] for i in range(n_artefacts)] + [""] * (n - n_artefacts)
    )
    return [
        _Galaxy(
            kind=str(kinds[i]), redshift=float(redshift[i]), index=float(index[i]),
            axis_ratio=float(ratio[i]), angle=float(angle[i]), r_eff=float(10 ** log_size[i] / kpc[i]),
            flux=float(10 ** (-0.4 * (magnitude[i] - 22.5))),
            pixel_scale=float(FIELD_OF_VIEW / kpc[i] / size), artefact=str(artefact[i]),
        )
        for i in range(n)
    ]  # fmt: skip


@step
def galaxies(
    n: int = 4000,
    *,
    size: int = 128,
    artefacts: float = 0.05,
    random_state: int | None = 1,
    n_jobs: int | None = None,
) -> Step:
    """Simulate r-band images of galaxies as a ground-based survey sees them, some with artefacts.

    Parameters
    ----------
    n : int, optional
        Number of images.
    size : int, optional
        Pixels of a side.  Each image spans 50 kpc, whatever the redshift, as in the study.
    artefacts : float, optional
        Share of the images with an artefact.
    random_state : int, optional
        Seed.
    n_jobs : int, optional
        Threads; as many as there are cores by default.  The result does not depend on it.

    Returns
    -------
    `~astropy.table.QTable`
        n rows: ``source_id``, the truth about each galaxy in ``galaxy_type``, ``n`` (Sérsic), ``axis_ratio``,
        ``position_angle``, ``r_eff``, ``flux``, ``magnitude``, ``redshift``, ``ra``, ``dec``,
        ``pixel_scale``, that about its artefact in ``artefact`` (one of `ARTEFACTS`, "" where there is none)
        and ``artefact_strength`` (the share of the pixels that it touches), and ``image``, (n, size, size)
        float32, in AB nanomaggies per native pixel of 0.187 arcsec.

    Raises
    ------
    InputError
        If the numbers make no table of images.

    Examples
    --------
    >>> table = galaxies(10, size=32, artefacts=0.2)
    >>> table["image"].shape, table["r_eff"].unit, int((table["artefact"] != "").sum())
    ((10, 32, 32), Unit("arcsec"), 2)
    """
    if n < 1:
        raise InputError(f"n={n}: at least one galaxy has to be simulated")
    if not 16 <= size <= 2048:
        raise InputError(f"size={size}: give a number of pixels from 16 to 2048")
    if not 0 <= artefacts <= 1:
        raise InputError(f"artefacts={artefacts} is no share; give a number from 0 to 1")
    if random_state is None:
        random_state = secrets.randbelow(2**31)  # on record, so it can be repeated
    rng = np.random.default_rng(random_state)
    truths = _truths(rng, n, size, artefacts)
    image = np.empty((n, size, size), dtype=np.float32)
    strength = np.empty(n)
    seeds = np.random.SeedSequence([random_state, 2]).spawn(n)

    def draw(rows: range) -> None:
        for i in rows:
            strength[i] = _draw(seeds[i], truths[i], image[i])

    n_threads = available_threads() if n_jobs is None else max(1, int(n_jobs))
    block = max(1, min(64, -(-n // n_threads)))
    run_all([functools.partial(draw, range(k, min(k + block, n))) for k in range(0, n, block)], n_threads)
    out = _table(rng, truths, strength, image)
    out.meta["description"] = (
        "Simulated r-band images of galaxies "
        f"(astro_cluster simulate.galaxies, seed {random_state}); no observation"
    )
    return Step(
        out,
        inputs=[name for name in out.colnames if name != "image"],
        seed=random_state,
        parameters={"random_state": random_state, "n_jobs": OMIT},
    )


def _table(
    rng: np.random.Generator, truths: list[_Galaxy], strength: NDArray[np.float64], image: NDArray[np.float32]
) -> QTable:
    """Return the table of the images with units, descriptions and UCDs."""
    n = len(truths)
    of = lambda name: np.array([getattr(truth, name) for truth in truths])  # noqa: E731
    flux = of("flux")
    out = QTable()
    out["source_id"] = Column(rng.permutation(n) + 1_000_000)
    out["galaxy_type"] = Column(of("kind"))
    out["n"] = Column(of("index"))
    out["axis_ratio"] = Column(of("axis_ratio"))
    out["position_angle"] = np.degrees(of("angle")) * u.deg
    out["r_eff"] = of("r_eff") * u.arcsec
    out["flux"] = flux * 3.631 * u.uJy  # an AB nanomaggy
    out["magnitude"] = (22.5 - 2.5 * np.log10(flux)) * u.mag
    out["redshift"] = Column(of("redshift"))
    out["ra"], out["dec"] = rng.uniform(120, 250, n) * u.deg, rng.uniform(30, 60, n) * u.deg
    out["pixel_scale"] = of("pixel_scale") * u.arcsec
    out["artefact"] = Column(of("artefact"))
    out["artefact_strength"] = Column(strength)
    out.add_column(Column(image, name="image", copy=False), copy=False)  # hundreds of megabytes
    for name, (ucd, description) in _ABOUT.items():
        out[name].info.meta, out[name].info.description = {"ucd": ucd}, description
    return out


_ABOUT = {
    "source_id": ("meta.id;meta.main", "Identifier of the simulated galaxy"),
    "galaxy_type": ("src.morph.type", "Kind of galaxy that was drawn"),
    "n": ("src.morph.param", "Sérsic index of the galaxy, or of its disc"),
    "axis_ratio": ("phys.angSize;stat.param", "Minor over major axis"),
    "position_angle": ("pos.posAng", "Major axis from the x axis of the image towards its y axis"),
    "r_eff": ("phys.angSize", "Half-light radius of the galaxy, or of its disc"),
    "flux": ("phot.flux;em.opt.R", "Total flux"),
    "magnitude": ("phot.mag;em.opt.R", "Total AB magnitude"),
    "redshift": ("src.redshift", "Redshift"),
    "ra": ("pos.eq.ra;meta.main", "ICRS ra"),
    "dec": ("pos.eq.dec;meta.main", "ICRS dec"),
    "pixel_scale": ("instr.scale", "Sky that a pixel of the image spans"),
    "artefact": ("meta.code.qual", "Kind of artefact; empty where there is none"),
    "artefact_strength": ("stat.value", "Share of the pixels that the artefact touches"),
    "image": ("phot.flux;instr.pixel", "AB nanomaggies per native pixel of 0.187 arcsec"),
}
