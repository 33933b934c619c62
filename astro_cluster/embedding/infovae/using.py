"""What a fitted `InfoVAE` is used for: latents, reconstructions, spectra of latents, errors."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from astro_cluster.embedding.autoencoder.batches import pieces_of
from astro_cluster.embedding.autoencoder.devices import one_thread_each, require_torch
from astro_cluster.embedding.autoencoder.fitting import facts_of_training, threads_for
from astro_cluster.embedding.infovae.objective import InfoVAEObjective, errors_of
from astro_cluster.embedding.infovae.rows import (
    BLOCK,
    Preparation,
    SpectraShard,
    SpectrumRows,
    check_spectra,
)
from astro_cluster.exceptions import InputError
from astro_cluster.threads import run_all

if TYPE_CHECKING:
    import torch

__all__ = ["FittedSpectra", "held_out_chi2", "row_numbers"]


class FittedSpectra:
    """Methods of a fitted model of spectra; what it has learned is in its attributes."""

    conditioned: bool
    n_threads: int | None
    n_features_in_: int
    n_latent_: int
    mean_: np.ndarray
    scale_: float
    normalize_: str | None
    layers_: torch.nn.ModuleDict
    _fitted_objective: InfoVAEObjective
    _preparation: Preparation

    def transform(self, X: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the latents of spectra: their means, without chance.

        Parameters
        ----------
        X : (n, m) array
            Fluxes, on the wavelengths that were learned from.
        weights : (n, m) array, optional
            Inverse variances; 0 where a pixel must not count.

        Returns
        -------
        (n, d) array of float32
            NaN for spectra without any pixel that counts.

        Raises
        ------
        InputError
            If the spectra have another number of pixels.
        NotFittedError
            Before `fit`.
        """
        self.facts()
        flux, weights, _ = check_spectra(X, weights, n_pixels=self.n_features_in_)
        found = np.full((len(flux), self.n_latent_), np.nan, dtype=np.float32)

        def work(rows: slice, shard: SpectraShard, norms: np.ndarray) -> None:
            found[rows] = self._fitted_objective.latents(shard).cpu().numpy()
            found[rows][np.isnan(norms)] = np.nan

        self._through(flux, weights, None, work)
        return found

    def reconstruct(
        self, X: np.ndarray, *, weights: np.ndarray | None = None, redshift: np.ndarray | None = None
    ) -> np.ndarray:
        """Return what the network makes of spectra.

        Parameters
        ----------
        X : (n, m) array
            Fluxes.
        weights : (n, m) array, optional
            Inverse variances.
        redshift : (n,) array, optional
            Redshifts, which ``conditioned`` needs.

        Returns
        -------
        (n, m) array of float32
            In the units of ``X``; missing pixels are filled.  NaN for spectra without any pixel that counts.

        Raises
        ------
        InputError
            As `transform`; or if redshifts are needed and not given.
        """
        self.facts()
        flux, weights, redshift = self._checked(X, weights, redshift)
        found = np.full(flux.shape, np.nan, dtype=np.float32)

        def work(rows: slice, shard: SpectraShard, norms: np.ndarray) -> None:
            objective = self._fitted_objective
            outputs = objective.network.decode(objective.latents(shard), shard.conditions)
            made = outputs.cpu().numpy() * self.scale_ + self.mean_
            found[rows] = made * norms[:, None]

        self._through(flux, weights, redshift, work)
        return found

    def decode(
        self,
        latents: np.ndarray,
        *,
        norms: np.ndarray | float | None = None,
        redshift: np.ndarray | float | None = None,
    ) -> np.ndarray:
        """Return the spectra that latents stand for.

        Parameters
        ----------
        latents : (n, d) array
            Latents, of spectra or of your own choice.
        norms : (n,) array or float, optional
            What to multiply each spectrum with; by default they are normalised.
        redshift : (n,) array or float, optional
            Redshifts for a model with ``conditioned``; by default that of the mean ln(1 + z) of the learned
            spectra.

        Returns
        -------
        (n, m) array of float32

        Raises
        ------
        InputError
            If the latents have another number of axes.
        NotFittedError
            Before `fit`.

        Examples
        --------
        >>> along = np.zeros((5, 9))
        >>> along[:, 0] = np.linspace(-2, 2, 5)
        >>> spectra = model.decode(along)  # doctest: +SKIP
        """
        self.facts()
        torch = require_torch()
        latents = np.asarray(latents)
        if latents.ndim != 2 or latents.shape[1] != self.n_latent_ or latents.dtype.kind not in "fiu":
            raise InputError(
                f"latents have the shape {latents.shape}; this model decodes (n, {self.n_latent_}) numbers"
            )
        conditions = None
        if self.conditioned:
            centre = math.expm1(self._preparation.redshift_centre)
            asked = centre if redshift is None else np.asarray(redshift, dtype=float)
            conditions = self._preparation.conditions(np.broadcast_to(asked, len(latents)))
        device = next(self.layers_.parameters()).device
        with torch.no_grad(), one_thread_each():
            outputs = self._fitted_objective.network.decode(
                torch.from_numpy(latents.astype(np.float32)).to(device),
                None if conditions is None else torch.from_numpy(conditions).to(device),
            )
        made = outputs.cpu().numpy() * self.scale_ + self.mean_
        if norms is not None:
            made = made * np.broadcast_to(np.asarray(norms, dtype=float), len(latents))[:, None]
        return made.astype(np.float32)

    def reconstruction_errors(
        self, X: np.ndarray, *, weights: np.ndarray | None = None, redshift: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Return how far reconstructions are from their spectra.

        Parameters
        ----------
        X : (n, m) array
            Fluxes.
        weights : (n, m) array, optional
            Inverse variances; without them the noise is estimated, as by `fit`.
        redshift : (n,) array, optional
            Redshifts, which ``conditioned`` needs.

        Returns
        -------
        dict of str to (n,) array of float
            ``mse``, the mean squared difference of the normalised flux, and ``chi2``, that divided by the
            variances, both over the pixels that count; NaN for spectra without any.

        Raises
        ------
        InputError
            As `reconstruct`.
        """
        self.facts()
        flux, weights, redshift = self._checked(X, weights, redshift)
        found = {name: np.full(len(flux), np.nan) for name in ("mse", "chi2")}

        def work(rows: slice, shard: SpectraShard, norms: np.ndarray) -> None:
            objective = self._fitted_objective
            outputs = objective.network.decode(objective.latents(shard), shard.conditions)
            each = errors_of((outputs - shard.spectra).square(), shard.ivar, objective.unit)
            for name, values in each.items():
                found[name][rows] = values.cpu().numpy()

        self._through(flux, weights, redshift, work)
        return found

    def _checked(self, X: Any, weights: Any, redshift: Any) -> Any:
        if self.conditioned and redshift is None:
            raise InputError("the decoder of this model needs the redshift; give redshift=…")
        return check_spectra(X, weights, redshift if self.conditioned else None, n_pixels=self.n_features_in_)

    def _through(
        self,
        flux: np.ndarray,
        weights: np.ndarray | None,
        redshift: np.ndarray | None,
        work: Callable[[slice, SpectraShard, np.ndarray], None],
    ) -> None:
        """Prepare spectra and send them through, a few at a time; redshifts that are missing give NaN."""
        torch = require_torch()
        device = next(self.layers_.parameters()).device
        preparation = self._preparation

        def one(piece: slice) -> None:
            if torch.get_num_threads() != 1:
                torch.set_num_threads(1)
            spectra, ivar, norms = preparation.prepared(
                flux[piece], None if weights is None else weights[piece]
            )
            conditions = preparation.conditions(None if redshift is None else redshift[piece])
            source = SpectrumRows.prepared_by(preparation, spectra, ivar, conditions, device)
            with torch.no_grad():
                work(piece, source.take(np.arange(len(spectra))), norms)

        with one_thread_each():
            tasks = [functools.partial(one, piece) for piece in pieces_of(len(flux), BLOCK // 4) if len(flux)]
            if tasks:
                run_all(tasks, threads_for(self.n_threads, device.type))

    def facts(self) -> dict[str, Any]:
        """Return plain numbers of the fit, for the record.

        Returns
        -------
        dict
            ``epochs``, ``best_epoch``, ``loss``, ``held_out_loss``, ``held_out_chi2``, ``held_out_mse`` (all
            of the best epoch), ``seconds``, ``stopped`` (``"patience"``, ``"epochs"`` or ``"diverged"``),
            ``n_weights``, ``n_held_out``, ``normalize`` and ``history``.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        facts = facts_of_training(self, "fit(spectra)")
        history = facts.pop("history")
        for name in ("held_out_chi2", "held_out_mse"):
            value = getattr(self, f"{name}_")
            facts[name] = None if math.isnan(value) else value
        return facts | {"normalize": self.normalize_, "history": history}


def held_out_chi2(
    model: Any,
    X: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    redshift: np.ndarray | None = None,
    rows: np.ndarray | None = None,
) -> float:
    """Return χ² per pixel of the spectra that a model has not learned from.

    Parameters
    ----------
    model : estimator
        Fitted `InfoVAE`, or any other with ``reconstruction_errors``.
    X : (n, m) array
        The spectra that it was fitted with.
    weights : (n, m) array, optional
        Their inverse variances.
    redshift : (n,) array, optional
        Their redshifts, for a model that needs them.
    rows : array of int, optional
        Which; by default those that the model held out.

    Returns
    -------
    float
        The mean over these spectra of χ² per pixel that counts.

    Raises
    ------
    InputError
        If there are no such rows.

    Examples
    --------
    >>> held_out_chi2(model, flux, weights=ivar)  # doctest: +SKIP
    1.07
    """
    rows = model.held_out_rows_ if rows is None else row_numbers(rows, len(X))
    if len(rows) == 0:
        raise InputError("the model has held out no rows; give rows=…, of spectra it has not learned from")
    more = {} if redshift is None else {"redshift": np.asarray(redshift)[rows]}
    chosen = None if weights is None else np.asarray(weights)[rows]
    return float(np.nanmean(model.reconstruction_errors(X[rows], weights=chosen, **more)["chi2"]))


def row_numbers(rows: Any, n: int) -> np.ndarray:
    """Return numbers of rows, if there are such rows.

    Parameters
    ----------
    rows : array of int or of bool
        Numbers, or a mask.
    n : int
        How many rows there are.

    Returns
    -------
    array of int
        Rising, each once.

    Raises
    ------
    InputError
        If they are no numbers of rows.

    Examples
    --------
    >>> row_numbers([3, 1, 3], 5)
    array([1, 3])
    """
    rows = np.asarray(rows)
    if rows.dtype == bool and rows.shape == (n,):
        return np.flatnonzero(rows)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise InputError(f"held-out rows of the shape {rows.shape} and type {rows.dtype}; give their numbers")
    rows = np.unique(rows).astype(np.int64)
    if rows.size and not 0 <= rows[0] <= rows[-1] < n:
        raise InputError(f"there are {n} spectra, and held-out rows go from {rows[0]} to {rows[-1]}")
    return rows
