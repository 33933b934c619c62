"""`ConvAutoencoder` and `DenseAutoencoder`: their parameters, and the networks that they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from astro_cluster.embedding.autoencoder.base import Autoencoder
from astro_cluster.embedding.autoencoder.convolutional import ConvNetwork, StudyConvNetwork
from astro_cluster.embedding.autoencoder.networks import DenseNetwork, Network, Sizes, StudyDenseNetwork

__all__ = ["Autoencoder", "ConvAutoencoder", "DenseAutoencoder"]


class ConvAutoencoder(Autoencoder):
    """Convolutional autoencoder of images.

    Images of any size and number of channels are encoded into a few numbers, the latents, and
    decoded again; what is learned is to give the images back.  Pixels that are missing (NaN) count for
    nothing.  On the processor the same seed gives the same result, bit for bit, on any number of threads.

    Parameters
    ----------
    n_latent : int, optional
        Number of latents; 32 by default.  Those of the study's architecture follow from the size.
    architecture : {"default", "study"}, default="default"
        Residual blocks between strided convolutions, linear latents, bilinear enlargement; or 16-8-4
        filters of 3 × 3 with pooling, normalised latents (4 × 16 × 16 for 128 × 128), sigmoids.
    filters : sequence of int, optional
        Filters of each level, each of which halves the images; by default 16, 32, 64, 64 … until they
        are about 8 × 8, or 16, 8, 4.
    loss : {"mse", "bce", "mixed"} or mapping, default="mse"
        Squared error, binary cross-entropy (pixels between 0 and 1), half of each, or how much each
        counts: ``{"mse": 0.9, "bce": 0.1}``.
    beta : float, default=0.0
        Above 0: a variational autoencoder (Kingma & Welling 2014; Higgins et al. 2017).  The divergence
        of the latents from a standard normal distribution, divided by the number of pixels, counts
        so much.  In units of the pixels' variance: 2 σ² / variance is that of pixels with noise σ.
    mmd : float, default=0.0
        Above 0: the maximum mean discrepancy of the latents of a batch from a standard normal
        distribution counts so much; with ``beta`` an InfoVAE (Zhao, Song & Ermon 2017), alone a
        Wasserstein autoencoder.  In units of the pixels' variance.
    augment : bool, default=True
        Whether each image is turned by quarters and mirrored at random each time it is seen; images
        that are not square are turned by halves.
    shift : int, default=0
        Most pixels by which images are moved at random; what comes in from outside counts for nothing.
    average_symmetries : bool, default=False
        Whether `transform` returns the mean over all turned and mirrored images: latents that
        do not depend on how an object lies.
    epochs : int, default=100
        Most passes over the images.
    batch_size : int, default=128
        Images in a step.
    learning_rate : float, optional
        The first one; by default that of the optimiser: 0.001, 0.001, 1 and 0.01.
    optimiser : {"adam", "adamw", "adadelta", "sgd"}, default="adam"
        Method; the study has adadelta.
    clip : float or None, default=5.0
        Largest norm of a gradient, of images whose pixels have a variance of 1.
    held_out : float, default=0.1
        Share of the images that are not learned from and decide when to stop.
    patience : int or None, default=10
        Epochs without a better loss of the held-out images after which training ends; after half as many the
        learning rate is halved.  None for all epochs at one rate.
    device : {"cpu", "cuda", "auto"}, default="cpu"
        Where to compute.
    n_threads : int, optional
        Threads; by default one a core.  Results do not depend on it.
    random_state : int or `~numpy.random.RandomState`, optional
        Seed.

    Attributes
    ----------
    history_ : dict of str to list
        Of each epoch: ``epoch``, ``loss``, ``held_out_loss``, each term of them (``mse``, ``bce``, ``kl``,
        ``mmd``, and the same with ``held_out_``), ``learning_rate`` and ``seconds``.  Squared errors are in
        the images' own units.
    best_epoch_ : int
        The epoch whose weights are kept.
    loss_, held_out_loss_ : float
        Of that epoch; the second is NaN if no images were held out.
    held_out_rows_ : array of int
        Rows that were held out.
    stopped_ : str
        ``"patience"``, ``"epochs"`` or ``"diverged"``: why training ended.
    image_shape_ : (int, int, int)
        Height, width, channels.
    n_features_in_ : int
        Their product.
    n_latent_ : int
        Number of latents.
    centre_, spread_ : float
        What is subtracted from pixels before the network, and what they are divided by; 0 and 1 where
        they must be between 0 and 1.
    layers_ : torch.nn.ModuleDict
        The network.

    Notes
    -----
    It needs PyTorch: ``pip install "astro_cluster[torch]"``.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> y, x = np.mgrid[-8:8, -8:8]
    >>> widths = rng.uniform(1, 4, 40)[:, None, None]
    >>> images = np.exp(-(x**2 + y**2) / (2 * widths**2)).astype(np.float32)
    >>> model = ConvAutoencoder(2, epochs=2, random_state=1)
    >>> latents = model.fit_transform(images)  # doctest: +SKIP
    >>> latents.shape  # doctest: +SKIP
    (40, 2)
    """

    _widths: ClassVar[str] = "filters"

    def __init__(
        self,
        n_latent: int | None = None,
        *,
        architecture: str = "default",
        filters: Sequence[int] | None = None,
        loss: str | Mapping[str, float] = "mse",
        beta: float = 0.0,
        mmd: float = 0.0,
        augment: bool = True,
        shift: int = 0,
        average_symmetries: bool = False,
        epochs: int = 100,
        batch_size: int = 128,
        learning_rate: float | None = None,
        optimiser: str = "adam",
        clip: float | None = 5.0,
        held_out: float = 0.1,
        patience: int | None = 10,
        device: str = "cpu",
        n_threads: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_latent = n_latent
        self.architecture = architecture
        self.filters = filters
        self.loss = loss
        self.beta = beta
        self.mmd = mmd
        self.augment = augment
        self.shift = shift
        self.average_symmetries = average_symmetries
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

    def _network(self, sizes: Sizes) -> Network:
        return (StudyConvNetwork if self.architecture == "study" else ConvNetwork)(sizes)


class DenseAutoencoder(Autoencoder):
    """Autoencoder of dense layers, which know nothing of where a pixel is.

    Parameters
    ----------
    n_latent : int, optional
        Number of latents; by default 32, or 128 of the study's architecture.
    architecture : {"default", "study"}, default="default"
        Leaky ReLU and linear latents; or ReLU, also on the normalised latents, and a sigmoid at the end.
    layers : sequence of int, optional
        Widths of the hidden layers of the encoder, those of the decoder backwards; by default
        (1024, 256), or (2048, 512) of the study's.  ``()`` is not possible; see the Examples for
        a linear one.
    loss, beta, mmd, augment, shift, average_symmetries : optional
        As those of `ConvAutoencoder`.
    epochs, batch_size, learning_rate, optimiser, clip, held_out, patience : optional
        As those of `ConvAutoencoder`.
    device, n_threads, random_state : optional
        As those of `ConvAutoencoder`.

    Attributes
    ----------
    history_, best_epoch_, loss_, held_out_loss_, held_out_rows_, stopped_ : optional
        As those of `ConvAutoencoder`.
    image_shape_, n_features_in_, n_latent_, centre_, spread_, layers_ : optional
        As those of `ConvAutoencoder`.

    Examples
    --------
    >>> images = np.random.default_rng(1).uniform(size=(40, 8, 8)).astype(np.float32)
    >>> model = DenseAutoencoder(2, layers=(16,), epochs=2, random_state=1)
    >>> model.fit_transform(images).shape  # doctest: +SKIP
    (40, 2)
    """

    _widths: ClassVar[str] = "layers"

    def __init__(
        self,
        n_latent: int | None = None,
        *,
        architecture: str = "default",
        layers: Sequence[int] | None = None,
        loss: str | Mapping[str, float] = "mse",
        beta: float = 0.0,
        mmd: float = 0.0,
        augment: bool = True,
        shift: int = 0,
        average_symmetries: bool = False,
        epochs: int = 100,
        batch_size: int = 128,
        learning_rate: float | None = None,
        optimiser: str = "adam",
        clip: float | None = 5.0,
        held_out: float = 0.1,
        patience: int | None = 10,
        device: str = "cpu",
        n_threads: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_latent = n_latent
        self.architecture = architecture
        self.layers = layers
        self.loss = loss
        self.beta = beta
        self.mmd = mmd
        self.augment = augment
        self.shift = shift
        self.average_symmetries = average_symmetries
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

    def _network(self, sizes: Sizes) -> Network:
        return (StudyDenseNetwork if self.architecture == "study" else DenseNetwork)(sizes)
