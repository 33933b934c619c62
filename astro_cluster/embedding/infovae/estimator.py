"""`InfoVAE`: latents of spectra that come with errors."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from astro_cluster.embedding.autoencoder.batches import held_out_split
from astro_cluster.embedding.autoencoder.checkpoint import TrainingCheckpoint, fingerprint_of
from astro_cluster.embedding.autoencoder.devices import device_of, require_torch
from astro_cluster.embedding.autoencoder.fitting import (
    Progress,
    best_of,
    note_training,
    run_training,
    seed_of,
    threads_for,
    unchanged_if_broken,
)
from astro_cluster.embedding.autoencoder.headers import plain_value
from astro_cluster.embedding.autoencoder.training import Plan, Training
from astro_cluster.embedding.infovae.files import model_from_file, write_model
from astro_cluster.embedding.infovae.network import SpectraNetwork
from astro_cluster.embedding.infovae.objective import InfoVAEObjective
from astro_cluster.embedding.infovae.parameters import check_parameters, plain_normalize
from astro_cluster.embedding.infovae.rows import (
    Preparation,
    SpectrumRows,
    check_spectra,
    learn_preparation,
)
from astro_cluster.embedding.infovae.standardising import standardise_latents
from astro_cluster.embedding.infovae.using import FittedSpectra, row_numbers
from astro_cluster.exceptions import AstroClusterWarning, InputError

if TYPE_CHECKING:
    from astropy import units as u

    from astro_cluster.wavelengths import Grid

__all__ = ["InfoVAE"]

# Parameters that do not change what is learned, or that may be raised: a checkpoint does not mind them.
_FREE = {"epochs", "n_threads", "random_state", "device"}


class InfoVAE(FittedSpectra, TransformerMixin, BaseEstimator):
    """Variational autoencoder of spectra: a few latents from which each spectrum can be drawn again.

    A spectrum of m pixels goes through dense layers m – 256 – 128 to a mean and a variance of each
    latent, and from a draw of these through 128 – 256 – m back.  What is minimised is

        ½ Σ w (x − x̂)² + (1 − α) KL + (α + λ − 1) MMD

    (Zhao, Song & Ermon 2017, arXiv:1706.02262; for spectra Portillo et al. 2020, AJ 160, 45), the mean over
    the spectra of a batch.  Pixels are weighted by their inverse variances, so that those that are missing or
    masked count for nothing, and the first term is half of χ².  After the training each latent is moved
    and scaled to mean 0 and variance 1 over the learned spectra, which the decoder undoes.  On the
    processor the same seed gives the same result, bit for bit, on any number of threads.

    Parameters
    ----------
    n_latent : int, default=9
        Number of latents.
    hidden : sequence of int, default=(256, 128)
        Widths of the encoder's hidden layers; the decoder has them backwards.
    alpha : float, default=0.0
        α: at 1 the latents of single spectra are not held to the prior, only those of all together.
    lambda_ : float, default=10.0
        λ: how much the latents of all spectra together are held to a standard normal distribution.
    kernel : {"multi", "single"}, default="multi"
        Kernel of the MMD: the mean over five widths, or exp(−mean (x − y)²), the study's.
    normalize : str, pair of `~astropy.units.Quantity` or None, default="auto"
        What each spectrum is divided by: ``"median"``, ``"max"``, ``"continuum"``, the median in a window
        (``"window:5080:5120"`` in Ångström), or nothing.  ``"auto"`` is the median, or nothing if
        the spectra are normalised already.
    softening : float, default=7.07e-4
        Error that no pixel is better than, in normalised flux: the weight is
        w = ivar / (1 + ivar · softening²).  The study has 1 / 2,000,000 for the square.
    subtract_mean : bool, default=True
        Whether the weighted mean spectrum of the learned rows is taken away before the network, and added
        after it.
    conditioned : bool, default=False
        Whether the decoder is given the redshift, so that the latents need not tell it.
    epochs : int, default=200
        Most passes over the spectra.
    batch_size : int, default=128
        Spectra in a step; batches differ by one at most.
    learning_rate : float or None, default=2e-3
        The first one; None for the optimiser's own.
    optimiser : {"adam", "adamw", "adadelta", "sgd"}, default="adam"
        Method.
    clip : float or None, default=1000.0
        Largest norm of a gradient, in units of χ²: a few bright spectra must not decide a step.
    held_out : float, default=0.1
        Share of the spectra that are not learned from and decide when to stop.
    patience : int or None, default=10
        Epochs without a better loss of the held-out spectra after which training ends; after half as
        many the learning rate is halved.  None for all epochs at one rate.
    device : {"cpu", "cuda", "auto"}, default="cpu"
        Where to compute.
    n_threads : int, optional
        Threads; by default one a core.  Results do not depend on it.
    random_state : int or `~numpy.random.RandomState`, optional
        Seed; it also decides which spectra are held out.

    Attributes
    ----------
    history_ : dict of str to list
        Of each epoch: ``epoch``, ``loss``, ``held_out_loss``, the terms ``reconstruction``, ``kl`` and
        ``mmd``, ``learning_rate`` and ``seconds``; with ``held_out_`` before them the terms of the held-out
        spectra, reconstructed from the means of their latents, and ``held_out_chi2`` and
        ``held_out_mse``: the means over these spectra of χ² and of the squared error of the normalised
        flux, per pixel that counts.
    best_epoch_ : int
        The epoch whose weights are kept.
    loss_, held_out_loss_, held_out_chi2_, held_out_mse_ : float
        Of that epoch; NaN if no spectra were held out.
    held_out_rows_ : array of int
        Rows that were held out.
    stopped_ : str
        ``"patience"``, ``"epochs"`` or ``"diverged"``: why training ended.
    n_features_in_, n_latent_ : int
        Number of pixels and of latents.
    normalize_ : str or None
        How spectra are normalised.
    mean_ : (m,) array of float
        The mean spectrum that is taken away, normalised.
    scale_ : float
        What is divided by after that.
    grid_ : Grid or None
        Wavelengths.
    layers_ : torch.nn.ModuleDict
        The network.

    Notes
    -----
    It needs PyTorch: ``pip install "astro_cluster[torch]"``.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> slope = rng.uniform(-1, 1, (60, 1)) * np.linspace(-1, 1, 50)
    >>> flux = (10 + slope + rng.normal(0, 0.1, (60, 50))).astype(np.float32)
    >>> model = InfoVAE(2, hidden=(16,), epochs=3, random_state=1)
    >>> latents = model.fit_transform(flux, weights=np.full(flux.shape, 100.0))  # doctest: +SKIP
    >>> latents.shape  # doctest: +SKIP
    (60, 2)
    """

    stem: ClassVar[str] = "latent"
    takes: ClassVar[str] = "spectra"

    def __init__(
        self,
        n_latent: int = 9,
        *,
        hidden: Sequence[int] = (256, 128),
        alpha: float = 0.0,
        lambda_: float = 10.0,
        kernel: str = "multi",
        normalize: str | tuple[u.Quantity, u.Quantity] | None = "auto",
        softening: float = 7.07e-4,
        subtract_mean: bool = True,
        conditioned: bool = False,
        epochs: int = 200,
        batch_size: int = 128,
        learning_rate: float | None = 2e-3,
        optimiser: str = "adam",
        clip: float | None = 1e3,
        held_out: float = 0.1,
        patience: int | None = 10,
        device: str = "cpu",
        n_threads: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_latent = n_latent
        self.hidden = hidden
        self.alpha = alpha
        self.lambda_ = lambda_
        self.kernel = kernel
        self.normalize = normalize
        self.softening = softening
        self.subtract_mean = subtract_mean
        self.conditioned = conditioned
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimiser = optimiser
        self.clip = clip
        self.held_out = held_out
        self.patience = patience
        self.device = device
        self.n_threads = n_threads
        self.random_state = random_state

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "layers_")

    # ------------------------------------------------------------ fitting

    def fit(
        self,
        X: np.ndarray,
        y: object = None,
        *,
        weights: np.ndarray | None = None,
        redshift: np.ndarray | None = None,
        grid: Grid | None = None,
        normalized: bool = False,
        held_out_rows: np.ndarray | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: Progress = None,
        on_epoch: Callable[[int, dict[str, float]], Any] | None = None,
    ) -> InfoVAE:
        """Learn from spectra.

        Parameters
        ----------
        X : (n, m) array
            Fluxes; NaN where a pixel is missing.  A row without any pixel that counts is left out.
        y : None
            Ignored.
        weights : (n, m) array, optional
            Inverse variances of the fluxes; 0 where a pixel must not count.  Without them the noise of each
            spectrum is estimated from how neighbouring pixels differ.
        redshift : (n,) array, optional
            Redshifts, which ``conditioned`` needs; rows without one are then left out.
        grid : `~astro_cluster.spectra.Grid`, optional
            Wavelengths; kept with the model, and needed to normalise in a window.
        normalized : bool, optional
            Whether the spectra are normalised already: then ``normalize="auto"`` does nothing.
        held_out_rows : array of int, optional
            Rows to hold out, instead of a share of ``held_out`` drawn by the seed.
        checkpoint : str or path, optional
            A ``.safetensors`` file to keep the training in while it runs.  If one is in it, the training goes
            on from there and ends where it would have ended without the interruption, bit for bit.
        progress : callable, bool or None, optional
            What is called after each epoch with its number and a dict of its numbers (what it raises
            ends the fit); or whether to show a line; or None for a line if it takes long, on a terminal.
        on_epoch : callable, optional
            Called beside ``progress``, with the same; what it raises ends the fit, and leaves the model
            as it was.

        Returns
        -------
        InfoVAE
            Itself.

        Raises
        ------
        InputError
            If a parameter, the spectra, the weights or the checkpoint cannot be used, torch is
            not installed, or nothing but NaN comes of the training.

        Warns
        -----
        AstroClusterWarning
            If the training diverged after a good beginning (the best epoch is kept), rows have no
            redshift that the decoder needs, or no checkpoint can be written.
        """
        with unchanged_if_broken(self):
            self._fit(X, weights, redshift, grid, normalized, held_out_rows, checkpoint, progress, on_epoch)
        return self

    def fit_transform(self, X: np.ndarray, y: object = None, **fit: Any) -> np.ndarray:
        """Learn from spectra and return their latents.

        Parameters
        ----------
        X : (n, m) array
            Fluxes.
        y : None
            Ignored.
        **fit
            As for `fit`.

        Returns
        -------
        (n, d) array of float32

        Raises
        ------
        InputError
            As `fit`.
        """
        return self.fit(X, y, **fit).transform(X, weights=fit.get("weights"))

    def _fit(
        self,
        X: np.ndarray,
        weights: np.ndarray | None,
        redshift: np.ndarray | None,
        grid: Grid | None,
        normalized: bool,
        held_out_rows: np.ndarray | None,
        checkpoint: str | os.PathLike[str] | None,
        progress: Progress,
        on_epoch: Callable[[int, dict[str, float]], Any] | None,
    ) -> None:
        parameters = self.get_params(deep=False)
        check_parameters(parameters)
        device = device_of(self.device)
        flux, weights, redshift = check_spectra(X, weights, redshift)
        if grid is not None and len(grid) != flux.shape[1]:
            raise InputError(f"the grid has {len(grid)} wavelengths, and the spectra {flux.shape[1]} pixels")
        if self.conditioned and redshift is None:
            raise InputError(
                "conditioned=True gives the decoder the redshift; give it too: fit(X, redshift=…)"
            )
        redshift = redshift if self.conditioned else None
        wanted = None if held_out_rows is None else row_numbers(held_out_rows, len(flux))
        kept = None
        if checkpoint is not None:
            about = {name: plain_value(value) for name, value in parameters.items() if name not in _FREE}
            about["normalize"] = plain_normalize(self.normalize)
            about |= {"normalized": bool(normalized), "class": type(self).__name__}
            about |= {"spectra": fingerprint_of(flux, weights, redshift, wanted)}
            kept = TrainingCheckpoint(checkpoint, about)
        seed = seed_of(self.random_state, kept, checkpoint)

        how = plain_normalize(self.normalize)
        how = (None if normalized else "median") if how == "auto" else how
        split: list[np.ndarray] = []

        def learned_of(norms: np.ndarray) -> np.ndarray:
            split.extend(self._split(norms, redshift, wanted, seed))
            return split[0]

        preparation, spectra, ivar, _ = learn_preparation(
            Preparation(how, float(self.softening), np.zeros(flux.shape[1]), 1.0, grid=grid),
            flux,
            weights,
            learned_of,
            subtract_mean=bool(self.subtract_mean),
        )
        learned, held_out = split
        if redshift is not None:
            logs = np.log1p(redshift[learned])
            preparation = replace(
                preparation, redshift_centre=float(logs.mean()), redshift_spread=float(logs.std()) or 1.0
            )
        source = SpectrumRows.prepared_by(
            preparation, spectra, ivar, preparation.conditions(redshift), device
        )
        objective = self._objective(flux.shape[1], preparation.scale, seed)
        objective.layers.to(device)
        plan = Plan(
            epochs=int(self.epochs),
            batch_size=int(self.batch_size),
            optimiser=self.optimiser,
            learning_rate=self.learning_rate,
            patience=self.patience,
            clip=self.clip,
            n_threads=threads_for(self.n_threads, device.type),
            seed=seed,
        )
        if device.type != "cpu":
            objective.shard_rows = plan.batch_size  # a GPU wants all at once
        training = Training(objective, source, plan, learned, held_out)
        run_training(training, kept, progress, on_epoch=on_epoch)
        standardise_latents(objective, source, learned)
        self._take(objective, preparation)
        note_training(self, training)
        self._note_judged()

    def _split(
        self, norms: np.ndarray, redshift: np.ndarray | None, wanted: np.ndarray | None, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return rows to learn from and rows to be judged by."""
        usable = np.isfinite(norms)
        if redshift is not None:
            unknown = usable & ~np.isfinite(redshift)
            if unknown.any():
                warnings.warn(
                    f"{unknown.sum()} of {len(norms)} spectra have no redshift, which the decoder is to be "
                    "given; they are not learned from",
                    AstroClusterWarning,
                    stacklevel=6,
                )
            usable &= np.isfinite(redshift)
        if wanted is None:
            rows = np.flatnonzero(usable)
            learned, held_out = held_out_split(rows, float(self.held_out), np.random.default_rng([seed, 0]))
        else:
            chosen = np.zeros(len(norms), dtype=bool)
            chosen[wanted] = True
            learned, held_out = np.flatnonzero(usable & ~chosen), np.flatnonzero(usable & chosen)
        if len(learned) < 2:
            raise InputError(
                f"only {len(learned)} of {len(norms)} spectra can be learned from: the others have no pixel "
                "that counts, nothing to be normalised by, or are held out; an autoencoder needs at least 2"
            )
        return learned, held_out

    def _objective(self, n_pixels: int, scale: float, seed: int) -> InfoVAEObjective:
        torch = require_torch()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = SpectraNetwork(
                n_pixels,
                int(self.n_latent),
                [int(width) for width in self.hidden],
                n_conditions=int(self.conditioned),
            )
        return InfoVAEObjective(
            network,
            alpha=float(self.alpha),
            lambda_=float(self.lambda_),
            kernel=self.kernel,
            unit=scale**2,
        )

    def _take(self, objective: InfoVAEObjective, preparation: Preparation) -> None:
        """Become a fitted model."""
        self._fitted_objective, self._preparation = objective, preparation
        self.layers_ = objective.layers.eval()
        self.n_features_in_, self.n_latent_ = objective.network.n_pixels, objective.network.n_latent
        self.normalize_, self.grid_ = preparation.how, preparation.grid
        self.mean_, self.scale_ = preparation.mean, preparation.scale

    def _note_judged(self) -> None:
        self.held_out_chi2_, self.held_out_mse_ = (
            best_of(self, f"held_out_{name}") for name in ("chi2", "mse")
        )

    # ------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the fitted model into a file that `~astro_cluster.embedding.load_model` reads.

        Parameters
        ----------
        path : str or path
            Where to, ending in ``.safetensors``.
        overwrite : bool, optional
            Replace an existing file.

        Returns
        -------
        `~pathlib.Path`

        Raises
        ------
        InputError
            If the file exists, has another ending, or the disk refuses.
        NotFittedError
            Before `fit`.
        """
        return write_model(self, path, overwrite=overwrite)

    @classmethod
    def _from_file(cls, path: Path, header: Mapping[str, Any], device: str) -> InfoVAE:
        return model_from_file(cls, path, header, device)
