"""What stands between a quasar and us, and what it blows out itself: optical depths and troughs."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astro_cluster.simulate.quasar_lines import LIGHT_SPEED, add_gaussians

__all__ = ["add_damped", "add_narrow", "balnicity", "effective_depth", "forest", "limit_depth", "outflow"]

Floats = NDArray[np.float32]
LYMAN_ALPHA, LYMAN_BETA, LYMAN_LIMIT = 1215.67, 1025.72, 911.76
_CLUMPING = 2.0  # of the logarithm of the forest's optical depth
_COHERENCE = 70.0  # of the gas of the forest, σ [km/s]
_RESOLUTION = 65.0  # of the spectrograph, σ [km/s]
_INSTRUMENT = 75.0  # of any narrow line, with its own width, σ [km/s]

TROUGHS = {"C IV": (1549.06, 1.0), "Si IV": (1396.76, 0.55), "N V": (1240.14, 0.85), "Lyα": (1215.67, 0.35)}
"""Rest wavelength [Å] of the lines with broad troughs, and their depth as a share of that of C IV."""
LOW_TROUGHS = {"Mg II": (2799.1, 0.6), "Al III": (1857.8, 0.75), "C II": (1335.3, 0.5)}
"""The same for the lines of low ionisation that few of the quasars with troughs have besides."""

_SYSTEMS = {
    "high": ((1548.20, 1.0), (1550.78, 0.65), (1393.76, 0.45), (1402.77, 0.28)),
    "low": ((2796.35, 1.0), (2803.53, 0.75), (2600.17, 0.45), (2586.65, 0.25), (2382.76, 0.45),
            (2374.46, 0.15), (2344.21, 0.35), (1670.79, 0.35), (1526.71, 0.2), (1334.53, 0.35),
            (1260.42, 0.3)),
}  # fmt: skip
# Lines of narrow absorbers in vacuum [Å] with their share of the equivalent width of the first.


def effective_depth(redshift: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the mean optical depth of the Lyman-α forest.

    Parameters
    ----------
    redshift : array of float
        Of the absorbing gas.

    Returns
    -------
    array of float
        -ln of the mean transmission.

    Notes
    -----
    G. D. Becker et al. (2013, MNRAS 430, 2067, equation 5), for 2 < z < 5; never below 0.005.

    Examples
    --------
    >>> effective_depth(np.array([2.0, 3.0, 4.0])).round(3)
    array([0.1  , 0.402, 0.887])
    """
    return np.maximum(0.751 * ((1 + np.asarray(redshift)) / 4.5) ** 2.90 - 0.132, 0.005)


@functools.cache
def _amplitudes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return effective depths, rising, and the ln of the median depths that make them."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    log_median = np.linspace(-12, 6, 400)
    mean = np.exp(-np.exp(log_median[:, np.newaxis] + _CLUMPING * nodes)) @ weights
    return -np.log(mean), log_median


def forest(
    rng: np.random.Generator, edges: NDArray[np.float64], redshift: NDArray[np.float64], *, furthest: float
) -> Floats:
    """Return the transmission of the Lyman-α and -β forests.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        For the places of the clouds.
    edges : (m + 1,) array of float [Å]
        Borders of the pixels.
    redshift : (r,) array of float
        Of the quasars.
    furthest : float
        A redshift that none exceeds; the draws go as far as its forest, whatever the rows.

    Returns
    -------
    (r, m) array of float32

    Notes
    -----
    The optical depth is log-normal (H. Bi & A. F. Davidsen 1997, ApJ 479, 523), which makes the mean
    transmission exactly that of `effective_depth`.  It is drawn on pixels of about 70 km/s; the
    transmission is smoothed as by the spectrograph and averaged over the pixels of the grid.  In native
    pixels its variance is then 0.04 of the mean squared at z = 2.1, and 0.17 at z = 3.
    """
    n_rows, n_pixels = redshift.size, edges.size - 1
    transmission = np.ones((n_rows, n_pixels), dtype=np.float32)
    log_edges = np.log(edges)
    # Their own streams: a row's clouds do not depend on how many rows follow.
    for rest, strength, own in zip((LYMAN_ALPHA, LYMAN_BETA), (1.0, 0.19), rng.spawn(2), strict=True):
        # Gas less than 1500 km/s from the quasar is ionised by it.
        ends = np.log(rest * (1 + redshift)) - 1500 / LIGHT_SPEED
        n_used = int(np.searchsorted(log_edges[:-1], np.log(rest * (1 + furthest))))
        if n_used == 0:
            continue
        step = np.diff(log_edges).max()
        fine = max(1, round(step * LIGHT_SPEED / 70))
        noise = _smooth_noise(own, n_rows, n_used * fine, step / fine * LIGHT_SPEED)
        middle = 0.5 * (log_edges[1 : n_used + 1] + log_edges[:n_used])
        depth = effective_depth(np.exp(middle) / rest - 1) * strength
        log_median = np.interp(depth, *_amplitudes()).astype(np.float32)
        through = np.exp(-np.exp(_CLUMPING * noise + np.repeat(log_median, fine)))
        through = _convolved(through, _kernel(_RESOLUTION * fine / (step * LIGHT_SPEED)))
        through = through.reshape(n_rows, n_used, fine).mean(axis=2)
        # A pixel at the end of the forest is absorbed in part.
        share = np.clip((ends[:, np.newaxis] - log_edges[:n_used]) / np.diff(log_edges[: n_used + 1]), 0, 1)
        share = share.astype(np.float32)
        transmission[:, :n_used] *= 1 - share * (1 - through)
    return transmission


def _smooth_noise(rng: np.random.Generator, n_rows: int, n_pixels: int, step: float) -> Floats:
    """Return Gaussian noise of unit variance that is coherent over some km/s, row by row."""
    kernel = _kernel(_COHERENCE / step)
    white = rng.standard_normal((n_rows, n_pixels), dtype=np.float32)
    return _convolved(white, kernel / np.sqrt(np.sum(kernel**2)), "wrap")


def _kernel(sigma: float) -> NDArray[np.float64]:
    """Return a Gaussian on whole pixels, of sum 1."""
    reach = max(1, int(np.ceil(3 * sigma)))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return kernel / kernel.sum()


def _convolved(values: Floats, kernel: NDArray[np.float64], beyond: str = "nearest") -> Floats:
    from scipy.ndimage import convolve1d

    return convolve1d(values, kernel.astype(np.float32), axis=1, mode=beyond)


def limit_depth(wave: NDArray[np.float64], redshift: NDArray[np.float64]) -> Floats:
    """Return the mean optical depth of the Lyman continuum of the gas on the way.

    Parameters
    ----------
    wave : (m,) array of float [Å]
        Observed wavelengths.
    redshift : (r,) array of float
        Of the quasars.

    Returns
    -------
    (r, m) array of float32

    Notes
    -----
    The mean free path of G. Worseck et al. (2014, MNRAS 445, 1745), 37 Mpc ((1 + z) / 5)^-5.4, integrated
    over the proper distance from the gas to the quasar.
    """
    stop = np.maximum(wave / LYMAN_LIMIT, 1.0)
    per_redshift = LIGHT_SPEED / (70 * np.sqrt(0.3)) / (37 * 5.0**5.4)
    depth = per_redshift / 3.9 * ((1 + redshift[:, np.newaxis]) ** 3.9 - stop**3.9)
    return np.maximum(depth, 0).astype(np.float32)


def add_damped(
    depth: Floats, wave: NDArray[np.float64], *, redshift: NDArray[np.float64], column: NDArray[np.float64]
) -> None:
    """Add the Lyman-α line of neutral gas with a large column density, and its Lyman limit.

    Parameters
    ----------
    depth : (r, m) array of float32
        Optical depths, changed in place.
    wave : (m,) array of float [Å]
        Observed wavelengths.
    redshift, column : (r,) arrays of float
        Of the absorbers; log10 of the atoms per cm², 0 for none.
    """
    from scipy.special import wofz

    broad = 30.0  # Doppler parameter of the gas [km/s]
    damping = 6.265e8 * LYMAN_ALPHA * 1e-13 / (4 * np.pi * broad)
    for row in np.flatnonzero(column > 0):
        at_rest = wave / (1 + redshift[row])
        velocity = LIGHT_SPEED * (at_rest / LYMAN_ALPHA - 1)
        voigt = wofz(velocity / broad + 1j * damping).real
        centre = 1.497e-15 * 0.4164 * LYMAN_ALPHA * 10.0 ** column[row] / broad
        ionising = np.where(
            at_rest < LYMAN_LIMIT, 6.3e-18 * 10.0 ** column[row] * (at_rest / LYMAN_LIMIT) ** 3, 0
        )
        depth[row] += np.minimum(centre * voigt + ionising, 60).astype(np.float32)


def add_narrow(
    depth: Floats, log_wave: NDArray[np.float64], kind: str, *, redshift: NDArray[np.float64],
    width: NDArray[np.float64],
) -> None:  # fmt: skip
    """Add the metal lines of one absorber to each row.

    Parameters
    ----------
    depth : (r, m) array of float32
        Optical depths, changed in place.
    log_wave : (m,) array of float
        ln of the observed wavelengths [Å].
    kind : {"high", "low"}
        Gas with C IV and Si IV, or with Mg II and Fe II.
    redshift, width : (r,) arrays of float
        Of the absorbers; the equivalent width of the strongest line at rest [Å], 0 for none.
    """
    pixel = float(np.median(np.diff(log_wave)))
    sigma = np.full(redshift.size, np.hypot(_INSTRUMENT / LIGHT_SPEED, pixel / np.sqrt(12)))
    for rest, share in _SYSTEMS[kind]:
        # In ln(wavelength) a line's area is its equivalent width over its wavelength.
        add_gaussians(
            depth,
            log_wave,
            centre=np.log(rest * (1 + redshift)),
            sigma=sigma,
            area=1.25 * width * share / rest,
        )


@dataclass(frozen=True, slots=True)
class Outflow:
    """Broad absorption of each row: up to two smooth troughs in velocity.

    Parameters
    ----------
    velocity, half_width : (r, 2) arrays of float [km/s]
        Middles, away from the quasar, and half widths.
    depth : (r, 2) array of float
        Shares of the light that are absorbed; 0 for none.
    low : (r,) array of bool
        Whether lines of low ionisation have them too.
    """

    velocity: NDArray[np.float64]
    half_width: NDArray[np.float64]
    depth: NDArray[np.float64]
    low: NDArray[np.bool_]

    def transmission(self, velocity: NDArray[np.floating], rows: NDArray[np.intp]) -> NDArray[np.floating]:
        """Return which share of the light C IV lets through.

        Parameters
        ----------
        velocity : (k, m) array of float [km/s]
            Velocities away from the quasar.
        rows : (k,) array of int
            The rows they are of.

        Returns
        -------
        (k, m) array of float
        """
        through = np.ones_like(velocity)
        for i in range(self.depth.shape[1]):
            middle, half, depth = (
                values[rows, i][:, np.newaxis].astype(velocity.dtype)
                for values in (self.velocity, self.half_width, self.depth)
            )
            through *= 1 - depth * np.exp(
                -np.log(velocity.dtype.type(2)) * np.abs((velocity - middle) / half) ** 4
            )
        return through


def outflow(log_rest: Floats, flow: Outflow) -> Floats | None:
    """Return which share of the light broad absorption lets through.

    Parameters
    ----------
    log_rest : (r, m) array of float32
        ln of the rest wavelengths [Å].
    flow : Outflow
        The troughs.

    Returns
    -------
    (k, m) array of float32 or None
        For the k rows with troughs, in their order.
    """
    rows = np.flatnonzero((flow.depth > 0).any(axis=1))
    if not rows.size:
        return None
    through = np.ones((rows.size, log_rest.shape[1]), dtype=np.float32)
    for lines, chosen in ((TROUGHS, np.ones(rows.size, dtype=bool)), (LOW_TROUGHS, flow.low[rows])):
        for rest, share in lines.values():
            if chosen.any():
                # Exact for a source that recedes: v/c = tanh(ln(λ0/λ)).
                velocity = LIGHT_SPEED * np.tanh(np.float32(np.log(rest)) - log_rest[rows[chosen]])
                through[chosen] *= 1 - share * (1 - flow.transmission(velocity, rows[chosen]))
    return through


def balnicity(flow: Outflow) -> NDArray[np.float64]:
    """Return the balnicity index of C IV.

    Parameters
    ----------
    flow : Outflow
        The troughs.

    Returns
    -------
    (r,) array of float [km/s]

    Notes
    -----
    R. J. Weymann et al. (1991, ApJ 373, 23, appendix A): ∫ (1 - f / 0.9) C dv from 3000 to 25,000 km/s, with
    C = 1 where the integrand has been positive for more than 2000 km/s.
    """
    step = 20.0
    velocity = np.arange(3000, 25_000, step)
    index = np.zeros(len(flow.depth))
    rows = np.flatnonzero((flow.depth > 0).any(axis=1))
    if rows.size:
        grid = np.broadcast_to(velocity, (rows.size, velocity.size))
        inside = 1 - flow.transmission(grid, rows) / 0.9
        run = np.zeros(rows.size)
        for i in range(velocity.size):
            run = np.where(inside[:, i] > 0, run + step, 0.0)
            index[rows] += np.where(run > 2000, inside[:, i], 0.0) * step
    return index
