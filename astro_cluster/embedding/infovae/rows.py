"""Spectra as the network takes them: normalised, without their mean, of order 1, with weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_cluster.embedding.autoencoder.devices import require_torch
from astro_cluster.exceptions import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Preparation", "SpectraShard", "SpectrumRows", "check_spectra", "learn_preparation", "noise_of"]

BLOCK = 1024
"""Rows that are prepared at a time, in double precision."""

_LEAST_NOISE = 1e-3  # of the median of a spectrum: that of one whose pixels do not scatter at all


@dataclass(frozen=True, slots=True)
class SpectraShard:
    """A few spectra on the device.

    Parameters
    ----------
    spectra : (m, p) tensor
        Spectra, 0 where a pixel does not count.
    weights : (m, p) tensor
        Weights of the pixels in the loss.
    ivar : (m, p) tensor
        Inverse variances, by which reconstructions are judged.
    conditions : (m, 1) tensor or None
        What the decoder is given beside the latents.
    """

    spectra: Tensor
    weights: Tensor
    ivar: Tensor
    conditions: Tensor | None = None

    def __len__(self) -> int:
        return len(self.spectra)

    @property
    def weight(self) -> float:
        """What the terms of a batch are divided by: its rows, so that a loss is one of a spectrum."""
        return float(len(self.spectra))


def check_spectra(
    flux: Any, weights: Any = None, redshift: Any = None, *, n_pixels: int | None = None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Return spectra, their inverse variances and redshifts as arrays that fit each other.

    Parameters
    ----------
    flux : (n, p) array
        Fluxes; not copied.
    weights : (n, p) array, optional
        Inverse variances.
    redshift : (n,) array, optional
        Redshifts.
    n_pixels : int, optional
        How many pixels there must be.

    Returns
    -------
    flux, weights, redshift : array or None

    Raises
    ------
    InputError
        If shapes or types do not fit, or an inverse variance is below 0.

    Examples
    --------
    >>> flux, weights, redshift = check_spectra(np.ones((2, 5)), redshift=[0.5, 1.0])
    >>> flux.shape, weights, redshift
    ((2, 5), None, array([0.5, 1. ]))
    """
    flux = _numbers(flux, "X", "spectra are float32, NaN where a pixel is missing")
    if flux.ndim != 2 or flux.shape[1] == 0:
        raise InputError(f"X has the shape {flux.shape}; spectra are (n, m), a row each, all on one grid")
    if n_pixels is not None and flux.shape[1] != n_pixels:
        raise InputError(
            f"the spectra have {flux.shape[1]} pixels, and the network has learned from {n_pixels}; bring "
            "them onto the same wavelengths (regrid)"
        )
    if weights is not None:
        weights = _numbers(weights, "weights", "give inverse variances, 0 where a pixel must not count")
        if weights.shape != flux.shape:
            raise InputError(
                f"weights have the shape {weights.shape}, and the spectra {flux.shape}; give one a pixel"
            )
    if redshift is not None:
        redshift = np.asarray(_numbers(redshift, "redshift", "give numbers, NaN where unknown"), dtype=float)
        if redshift.shape != flux.shape[:1]:
            raise InputError(
                f"redshift has the shape {redshift.shape}; {len(flux)} spectra need as many numbers"
            )
        redshift = np.where(np.isfinite(redshift) & (redshift > -1), redshift, np.nan)
    return flux, weights, redshift


def _numbers(values: Any, what: str, wanted: str) -> np.ndarray:
    if np.ma.isMaskedArray(values):
        if np.ma.is_masked(values):
            raise InputError(f"{what} is masked; {wanted}: {what}.filled(…)")
        values = values.data
    values = getattr(values, "value", values)  # a Quantity
    values = np.asarray(values)
    if values.dtype.kind not in "fiu":
        raise InputError(f"{what} has the type {values.dtype}; {wanted}")
    return values


def noise_of(flux: np.ndarray) -> np.ndarray:
    """Return the noise of spectra from how neighbouring pixels differ.

    DER_SNR (Stoehr et al. 2008, ADASS XVII, 505): 1.482602 / √6 times the median of
    |2 f(i) − f(i−2) − f(i+2)|, which slopes and broad lines leave alone.

    Parameters
    ----------
    flux : (n, p) array of float
        Fluxes, NaN where there is none.

    Returns
    -------
    (n,) array of float
        At least a thousandth of the median of |flux|; NaN where there is no pixel.

    Examples
    --------
    >>> flux = np.random.default_rng(1).normal(10.0, 0.5, (1, 4000))
    >>> noise_of(flux).round(2)
    array([0.51])
    """
    found = np.full(len(flux), np.nan)
    for row, one in enumerate(flux):
        one = np.asarray(one[np.isfinite(one)], dtype=float)
        if one.size:
            differences = np.abs(2 * one[2:-2] - one[:-4] - one[4:])
            scatter = 1.482602 / math.sqrt(6) * float(np.median(differences)) if differences.size else 0.0
            found[row] = max(scatter, _LEAST_NOISE * float(np.median(np.abs(one))))
    return found


@dataclass(frozen=True)
class Preparation:
    """How spectra are prepared; learned once, and the same for all that come later.

    Parameters
    ----------
    how : str or None
        How each is normalised, as `~astro_cluster.spectra.normalising.norms_of` understands it.
    softening : float
        Error that no pixel is better than, in normalised flux.
    mean : (p,) array of float
        Mean of the normalised spectra, or zeros.
    scale : float
        What is divided by after that.
    redshift_centre, redshift_spread : float
        Mean and standard deviation of ln(1 + z).
    grid : Grid or None
        Wavelengths.
    """

    how: str | None
    softening: float
    mean: np.ndarray
    scale: float
    redshift_centre: float = 0.0
    redshift_spread: float = 1.0
    grid: Any = None

    def normalised(
        self, flux: np.ndarray, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return normalised fluxes, their inverse variances, and what was divided by.

        Parameters
        ----------
        flux : (n, p) array
            Fluxes.
        weights : (n, p) array or None
            Inverse variances; None where they are not known: then the noise is estimated.

        Returns
        -------
        flux, ivar : (n, p) array of float64
            Both 0 where a pixel does not count.
        norms : (n,) array of float64
            NaN for rows that cannot be used.
        """
        from astro_cluster.spectra.normalising import norms_of

        flux = np.asarray(flux, dtype=np.float64)
        there = np.isfinite(flux)
        if weights is None:
            with np.errstate(divide="ignore", over="ignore"):
                ivar = np.where(there, noise_of(flux)[:, None] ** -2.0, 0.0)
        else:
            ivar = np.asarray(weights, dtype=np.float64)
        if (ivar < 0).any():
            raise InputError("a weight is below 0; weights are inverse variances, 0 where one must not count")
        there &= np.isfinite(ivar) & (ivar > 0)
        flux, ivar = np.where(there, flux, 0.0), np.where(there, ivar, 0.0)
        norms = np.ones(len(flux))
        if self.how is not None:
            norms = np.asarray(norms_of(flux, ivar, self.grid, self.how), dtype=np.float64).copy()
        norms[~(there.any(axis=1) & np.isfinite(norms) & (norms > 0))] = np.nan
        usable = np.isfinite(norms)
        flux[~usable], ivar[~usable] = 0.0, 0.0
        flux[usable] /= norms[usable, None]
        ivar[usable] *= norms[usable, None] ** 2
        return flux, ivar, norms

    def prepared(
        self, flux: np.ndarray, weights: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what the network sees and gives back.

        Parameters
        ----------
        flux : (n, p) array
            Fluxes.
        weights : (n, p) array or None
            Inverse variances.

        Returns
        -------
        spectra, ivar : (n, p) array of float32
            Normalised, without the mean, divided by the scale; 0 where a pixel does not count.
        norms : (n,) array of float64
            NaN for rows that cannot be used.
        """
        flux, ivar, norms = self.normalised(flux, weights)
        self.centre(flux, ivar)
        return flux.astype(np.float32), ivar.astype(np.float32), norms

    def centre(self, flux: np.ndarray, ivar: np.ndarray) -> None:
        """Take away the mean and divide by the scale, in place.

        Parameters
        ----------
        flux, ivar : (n, p) array of float
            From `normalised`.
        """
        flux -= self.mean.astype(flux.dtype)
        flux /= self.scale
        flux[ivar == 0] = 0.0
        ivar *= self.scale**2

    def conditions(self, redshift: np.ndarray | None) -> np.ndarray | None:
        """Return redshifts as the decoder takes them.

        Parameters
        ----------
        redshift : (n,) array or None
            Redshifts.

        Returns
        -------
        (n, 1) array of float32 or None
            ln(1 + z), standardised.
        """
        if redshift is None:
            return None
        found = (np.log1p(redshift) - self.redshift_centre) / self.redshift_spread
        return found[:, None].astype(np.float32)


class SpectrumRows:
    """Prepared spectra in memory; a batch is picked from them in one go.

    Parameters
    ----------
    spectra, ivar : (n, p) array of float32
        From `Preparation.prepared`.
    softening : float
        In the units of ``spectra``.
    conditions : (n, 1) array of float32 or None
        From `Preparation.conditions`.
    device : torch.device, optional
        Where to; by default the processor.
    """

    def __init__(
        self,
        spectra: np.ndarray,
        ivar: np.ndarray,
        *,
        softening: float,
        conditions: np.ndarray | None = None,
        device: torch.device | None = None,
    ) -> None:
        torch = require_torch()

        def placed(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values) if device is None else torch.from_numpy(values).to(device)

        self._spectra, self._ivar = placed(spectra), placed(ivar)
        self._conditions = None if conditions is None else placed(conditions)
        self._softening = softening

    @classmethod
    def prepared_by(
        cls,
        preparation: Preparation,
        spectra: np.ndarray,
        ivar: np.ndarray,
        conditions: np.ndarray | None,
        device: torch.device,
    ) -> SpectrumRows:
        """Return spectra that a preparation has prepared.

        Parameters
        ----------
        preparation : Preparation
            Which knows the units.
        spectra, ivar, conditions : array
            What it made.
        device : torch.device
            Where to.

        Returns
        -------
        SpectrumRows
        """
        return cls(
            spectra,
            ivar,
            softening=preparation.softening / preparation.scale,
            conditions=conditions,
            device=None if device.type == "cpu" else device,
        )

    def __len__(self) -> int:
        return len(self._spectra)

    def draw(self, generator: np.random.Generator, n: int) -> None:
        """Draw nothing: spectra are learned from as they are.

        Parameters
        ----------
        generator : `~numpy.random.Generator`
            Source of chance.
        n : int
            How many.
        """
        return

    def take(self, rows: np.ndarray, choices: np.ndarray | None = None) -> SpectraShard:
        """Return some spectra as the network takes them.

        Parameters
        ----------
        rows : (m,) array of int
            Their numbers.
        choices : None
            Not used.

        Returns
        -------
        SpectraShard
        """
        torch = require_torch()
        picked = torch.from_numpy(rows).to(self._spectra.device)
        ivar = self._ivar.index_select(0, picked)
        weights = ivar
        if self._softening:
            weights = ivar / torch.add(1.0, ivar, alpha=self._softening**2)
        conditions = None if self._conditions is None else self._conditions.index_select(0, picked)
        return SpectraShard(self._spectra.index_select(0, picked), weights, ivar, conditions)


def learn_preparation(
    plain: Preparation,
    flux: np.ndarray,
    weights: np.ndarray | None,
    learned_of: Any,
    *,
    subtract_mean: bool,
) -> tuple[Preparation, np.ndarray, np.ndarray, np.ndarray]:
    """Return how spectra are prepared, and the prepared spectra.

    Parameters
    ----------
    plain : Preparation
        Without a mean and with a scale of 1.
    flux : (n, p) array
        Fluxes.
    weights : (n, p) array or None
        Inverse variances.
    learned_of : callable
        Given the norms, returns the rows whose mean and scale count.
    subtract_mean : bool
        Whether the mean is taken away.

    Returns
    -------
    preparation : Preparation
    spectra, ivar : (n, p) array of float32
    norms : (n,) array of float64
    """
    n, p = flux.shape
    spectra, ivar = np.empty((n, p), dtype=np.float32), np.empty((n, p), dtype=np.float32)
    norms = np.empty(n)
    blocks = [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]
    for rows in blocks:
        spectra[rows], ivar[rows], norms[rows] = plain.normalised(
            flux[rows], None if weights is None else weights[rows]
        )
    learned = np.zeros(n, dtype=bool)
    learned[learned_of(norms)] = True

    def sums(of: Any) -> Any:
        found = [0.0, 0.0]
        for rows in blocks:
            chosen = learned[rows]
            x, v = spectra[rows][chosen].astype(np.float64), ivar[rows][chosen].astype(np.float64)
            w = v / (1.0 + v * plain.softening**2)
            for k, value in enumerate(of(x, w)):
                found[k] = found[k] + value
        return found

    mean = np.zeros(p)
    if subtract_mean:
        above, below = sums(lambda x, w: ((w * x).sum(axis=0), w.sum(axis=0)))
        seen = np.flatnonzero(below > 0)
        mean = np.interp(np.arange(p), seen, above[seen] / below[seen])
    above, below = sums(lambda x, w: ((w * (x - mean) ** 2).sum(), w.sum()))
    scale = math.sqrt(above / below) if above > 0 else 1.0
    preparation = Preparation(plain.how, plain.softening, mean, scale, grid=plain.grid)
    for rows in blocks:
        preparation.centre(spectra[rows], ivar[rows])
    return preparation, spectra, ivar, norms
