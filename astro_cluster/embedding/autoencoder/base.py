"""What both autoencoders share: fitting, latents, reconstructions, files."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError

from astro_cluster.embedding.autoencoder.augmenting import Augmentation, apply_symmetry, symmetries_of
from astro_cluster.embedding.autoencoder.batches import (
    ImageRows,
    Shard,
    Survey,
    check_images,
    held_out_split,
    pieces_of,
    survey,
)
from astro_cluster.embedding.autoencoder.checkpoint import TrainingCheckpoint, fingerprint_of
from astro_cluster.embedding.autoencoder.devices import device_of, one_thread_each, require_torch
from astro_cluster.embedding.autoencoder.fitting import (
    Progress,
    damage_told,
    facts_of_training,
    history_from_file,
    layers_from_file,
    note_training,
    run_training,
    seed_of,
    threads_for,
    unchanged_if_broken,
    unfitted_from_file,
)
from astro_cluster.embedding.autoencoder.headers import (
    finite_number,
    image_shape_of,
    plain_value,
    versions,
)
from astro_cluster.embedding.autoencoder.losses import loss_shares
from astro_cluster.embedding.autoencoder.networks import Network, Sizes
from astro_cluster.embedding.autoencoder.objective import ImageObjective
from astro_cluster.embedding.autoencoder.parameters import check_parameters
from astro_cluster.embedding.autoencoder.safefiles import (
    check_place,
    write_tensors,
)
from astro_cluster.embedding.autoencoder.training import Plan, Training
from astro_cluster.exceptions import InputError
from astro_cluster.threads import run_all

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Autoencoder"]

# Parameters that do not change what is learned, or that may be raised: a checkpoint does not mind them.
_FREE = {"epochs", "n_threads", "random_state", "device", "average_symmetries"}
_IN_UNITS_OF_THE_LOSS = ("loss", "held_out_loss", "mse", "held_out_mse")


class Autoencoder(TransformerMixin, BaseEstimator):
    """What both autoencoders share.

    Attributes
    ----------
    stem, takes : str
        What `~astro_cluster.embed` asks for: the name of the new column, and that images are taken.
    """

    stem: ClassVar[str] = "latent"
    takes: ClassVar[str] = "images"
    _widths: ClassVar[str]

    def _network(self, sizes: Sizes) -> Network:
        raise NotImplementedError

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "layers_")

    # ------------------------------------------------------------ fitting

    def fit(
        self,
        X: np.ndarray,
        y: object = None,
        *,
        weights: np.ndarray | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: Progress = None,
    ) -> Autoencoder:
        """Learn from images.

        Parameters
        ----------
        X : (n, h, w) or (n, h, w, c) array
            Images, float32, or uint8, which are divided by 255; a memory map is fine, and no copy of
            the whole is made.  NaN where a pixel is missing; a row without any is left out.
        y : None
            Ignored.
        weights : (n,), (n, h, w) or (n, h, w, c) array, optional
            Inverse variances, of rows or of pixels; 0 where one must not count.
        checkpoint : str or path, optional
            A ``.safetensors`` file to keep the training in while it runs.  If one is in it, the training goes
            on from there and ends where it would have ended without the interruption, bit for bit.
        progress : callable, bool or None, optional
            What is called after each epoch with its number and a dict of its numbers (what it raises
            ends the fit); or whether to show a line; or None for a line if it takes long, on a terminal.

        Returns
        -------
        Autoencoder
            Itself.

        Raises
        ------
        InputError
            If a parameter, the images, the weights or the checkpoint cannot be used, torch is
            not installed, or nothing but NaN comes of the training.

        Warns
        -----
        AstroClusterWarning
            If the training diverged after a good beginning (the best epoch is kept), or no checkpoint can
            be written.
        """
        with unchanged_if_broken(self):
            self._fit(X, weights, checkpoint, progress)
        return self

    def fit_transform(self, X: np.ndarray, y: object = None, **fit: Any) -> np.ndarray:
        """Learn from images and return their latents.

        Parameters
        ----------
        X : (n, h, w) or (n, h, w, c) array
            Images.
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
        return self.fit(X, y, **fit).transform(X)

    def _fit(
        self,
        X: np.ndarray,
        weights: np.ndarray | None,
        checkpoint: str | os.PathLike[str] | None,
        progress: Progress,
    ) -> None:
        parameters = self.get_params(deep=False)
        check_parameters(parameters, self._widths)
        device = device_of(self.device)
        source = ImageRows(X, weights, device=None if device.type == "cpu" else device)
        look = survey(source.images, source.weights)
        if len(look.usable) < 2:
            raise InputError(
                f"only {len(look.usable)} of {len(look.counts)} images have pixels that count; an "
                "autoencoder needs at least 2"
            )
        kept = None if checkpoint is None else TrainingCheckpoint(checkpoint, self._about(source, parameters))
        seed = seed_of(self.random_state, kept, checkpoint)
        learned, held_out = held_out_split(
            look.usable, float(self.held_out), np.random.default_rng([seed, 0])
        )
        self._prepare(source, look, learned)
        objective = self._objective(source.image_shape, seed)
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
        source.preload()
        training = Training(objective, source, plan, learned, held_out)
        in_units = functools.partial(_in_units, unit=self._unit(source.spread))
        run_training(training, kept, progress, in_units=in_units)
        self._take(objective, source.image_shape, source.images.ndim, (source.centre, source.spread))
        note_training(self, training, in_units)

    def _about(self, source: ImageRows, parameters: Mapping[str, Any]) -> dict[str, Any]:
        about = {name: plain_value(value) for name, value in parameters.items() if name not in _FREE}
        images = fingerprint_of(source.images, source.weights)
        about["loss"] = loss_shares(self.loss)
        return {"class": type(self).__name__} | about | {"images": images}

    def _prepare(self, source: ImageRows, look: Survey, learned: np.ndarray) -> None:
        """Say how images are scaled and augmented, if what was asked for can be had."""
        squashed = self.architecture == "study" or "bce" in loss_shares(self.loss)
        if squashed and not (look.lowest >= 0 and look.highest <= 1):
            why = "the cross-entropy" if self.architecture != "study" else "the study's architecture"
            raise InputError(
                f"{why} needs pixels between 0 and 1, and these are between {look.lowest:g} and "
                f"{look.highest:g}; scale them (read_cutouts(…, scale='minmax')), or take "
                "architecture='default' and loss='mse'"
            )
        if not squashed:
            source.centre, source.spread = look.centre_and_spread(learned)
        height, width, _ = source.image_shape
        if self.shift >= min(height, width):
            raise InputError(f"shift={self.shift} moves images of {height} × {width} away; give fewer pixels")
        if self.augment or self.shift:
            symmetries = symmetries_of(height, width) if self.augment else (0,)
            source.augmentation = Augmentation(symmetries, int(self.shift))

    def _objective(self, image_shape: tuple[int, int, int], seed: int) -> ImageObjective:
        torch = require_torch()
        sizes = Sizes(
            *image_shape,
            n_latent=None if self.n_latent is None else int(self.n_latent),
            widths=getattr(self, self._widths),
            variational=bool(self.beta),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = self._network(sizes)
        network.layers.to(memory_format=torch.channels_last)
        return ImageObjective(network, loss_shares(self.loss), beta=float(self.beta), mmd=float(self.mmd))

    def _unit(self, spread: float) -> float:
        """Return what a loss is multiplied with so that it is in the images' own units."""
        return spread**2 if "mse" in loss_shares(self.loss) else 1.0

    def _take(
        self,
        objective: ImageObjective,
        image_shape: tuple[int, int, int],
        n_axes: int,
        scaling: tuple[float, float],
    ) -> None:
        """Become a fitted autoencoder."""
        self._fitted_objective = objective
        self.layers_ = objective.layers.eval()
        self.image_shape_, self._n_axes = image_shape, n_axes
        self.centre_, self.spread_ = scaling
        self.n_features_in_ = math.prod(image_shape)
        self.n_latent_ = objective.network.n_latent

    # ------------------------------------------------------------ using it

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return the latents of images.

        Parameters
        ----------
        X : (n, h, w) or (n, h, w, c) array
            Images of the size and scale that were learned from.

        Returns
        -------
        (n, d) array of float32
            NaN for images without any pixel.  With ``average_symmetries`` the mean over all turned and
            mirrored images, which does not depend on how an object lies.

        Raises
        ------
        InputError
            If the images have another size, or the model is not fitted.
        """
        source = self._source(X)
        found = np.full((len(source), self.n_latent_), np.nan, dtype=np.float32)

        def latents(rows: slice, shard: Shard) -> None:
            found[rows] = self._latents(shard).cpu().numpy()

        self._through(source, latents)
        return found

    def reconstruct(self, X: np.ndarray) -> np.ndarray:
        """Return what the network makes of images.

        Parameters
        ----------
        X : (n, h, w) or (n, h, w, c) array
            Images.

        Returns
        -------
        array of float32 of the shape of X
            In the units of the images (bytes divided by 255); missing pixels are filled.  NaN for
            images without any pixel.

        Raises
        ------
        InputError
            As `transform`.
        """
        source = self._source(X)
        found = np.full(source.images.shape, np.nan, dtype=np.float32)

        def images(rows: slice, shard: Shard) -> None:
            made = self._reconstructed(shard).permute(0, 2, 3, 1).cpu().numpy()
            found[rows] = (made * self.spread_ + self.centre_).reshape(found[rows].shape)

        self._through(source, images)
        return found

    def reconstruction_errors(self, X: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
        """Return how far reconstructions are from their images.

        Parameters
        ----------
        X : (n, h, w) or (n, h, w, c) array
            Images.
        weights : (n,), (n, h, w) or (n, h, w, c) array, optional
            Inverse variances.

        Returns
        -------
        (n,) array of float
            Mean squared difference of the pixels that are there, weighted, in the images' units squared; NaN
            for images without any.

        Raises
        ------
        InputError
            As `transform`.
        """
        source = self._source(X, weights)
        found = np.full(len(source), np.nan)
        unit = self.spread_**2

        def errors(rows: slice, shard: Shard) -> None:
            torch = require_torch()
            squares = (self._reconstructed(shard) - shard.images).square().double()
            there = torch.ones_like(squares) if shard.weights is None else shard.weights.double()
            sums = (there * squares).flatten(1).sum(1) / there.flatten(1).sum(1)
            found[rows] = unit * sums.cpu().numpy()

        self._through(source, errors)
        return found

    def _source(self, X: np.ndarray, weights: np.ndarray | None = None) -> ImageRows:
        if not hasattr(self, "layers_"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted; call fit(images) first")
        images = check_images(X)
        shape = (*images.shape[1:3], 1 if images.ndim == 3 else images.shape[3])
        if shape != tuple(self.image_shape_):
            raise InputError(
                "the images are {} × {} with {} channels, and the network has learned from {} × {} with {}; "
                "bring them to the same size".format(*shape, *self.image_shape_)
            )
        device = next(self.layers_.parameters()).device
        source = ImageRows(images, weights, device=None if device.type == "cpu" else device)
        source.centre, source.spread = self.centre_, self.spread_
        return source

    def _through(self, source: ImageRows, work: Callable[[slice, Shard], None]) -> None:
        """Send all images through, a few at a time; those without any pixel are left out."""
        torch = require_torch()
        device = next(self.layers_.parameters()).device.type
        size = self._fitted_objective.network.shard_rows if device == "cpu" else 256

        def one(piece: slice) -> None:
            if torch.get_num_threads() != 1:
                torch.set_num_threads(1)
            with torch.no_grad():
                shard = source.take(np.arange(piece.start, piece.stop))
                work(piece, shard)

        with one_thread_each():
            tasks = (
                [functools.partial(one, piece) for piece in pieces_of(len(source), size)]
                if len(source)
                else []
            )
            if tasks:
                run_all(tasks, threads_for(self.n_threads, device))

    def _latents(self, shard: Shard) -> Tensor:
        torch = require_torch()
        latents_of = self._fitted_objective.latents
        if not self.average_symmetries:
            found = latents_of(shard)
        else:
            every = symmetries_of(*self.image_shape_[:2])
            turned = [Shard(apply_symmetry(shard.images, s), None, 0.0) for s in every]
            found = torch.stack([latents_of(one) for one in turned]).mean(0)
        return shard.without_empty(found)

    def _reconstructed(self, shard: Shard) -> Tensor:
        objective = self._fitted_objective
        images = objective.images_of(objective.network.decode(objective.latents(shard)))
        return shard.without_empty(images)

    def facts(self) -> dict[str, Any]:
        """Return plain numbers of the fit, for the record.

        Returns
        -------
        dict
            ``epochs``, ``best_epoch``, ``loss``, ``held_out_loss`` (both of the best epoch), ``seconds``,
            ``stopped`` (``"patience"``, ``"epochs"`` or ``"diverged"``), ``n_weights``,
            ``n_held_out`` and ``history``.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        return facts_of_training(self, "fit(images)")

    # ------------------------------------------------------------ files

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the fitted autoencoder into a file that `load_model` reads.

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
        facts = self.facts()
        place = check_place(path, overwrite=overwrite)
        parameters = self.get_params(deep=False)
        header = {
            "kind": "model",
            "class": type(self).__name__,
            "parameters": {name: plain_value(value) for name, value in parameters.items()},
            "image_shape": [int(size) for size in self.image_shape_],
            "n_axes": self._n_axes,
            "centre": self.centre_,
            "spread": self.spread_,
            "history": facts["history"],
            "best_epoch": self.best_epoch_,
            "stopped": self.stopped_,
            "held_out_rows": self.held_out_rows_.tolist(),
            "versions": versions(),
        }
        write_tensors(place, self.layers_.state_dict(), header)
        return place

    @classmethod
    def _from_file(cls, path: Path, header: Mapping[str, Any], device: str) -> Autoencoder:
        """Return a fitted model, if all that the file says goes together."""
        with damage_told(path):
            self = unfitted_from_file(cls, header, device)
            check_parameters(self.get_params(deep=False), cls._widths)
            shape = image_shape_of(header["image_shape"])
            scaling = finite_number(header["centre"]), finite_number(header["spread"])
            if scaling[1] <= 0 or header["n_axes"] not in (3, 4):
                raise InputError("its scale makes no sense")
            history_from_file(self, header)
            objective, _ = layers_from_file(path, functools.partial(self._objective, shape, 0))
        objective.layers.to(device_of(device))
        self._take(objective, shape, int(header["n_axes"]), scaling)
        return self


def _in_units(numbers: Mapping[str, float], unit: float) -> dict[str, float]:
    return {name: value * unit if name in _IN_UNITS_OF_THE_LOSS else value for name, value in numbers.items()}
