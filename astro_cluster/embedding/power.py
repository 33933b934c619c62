"""`PowerSpectrum`: coordinates of what is on an image, wherever on it that is."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from astro_cluster.cutouts.panels import boxes_of
from astro_cluster.exceptions import InputError
from astro_cluster.threads import available_threads, run_all

__all__ = ["PowerSpectrum"]

_BLOCK = 2**23  # pixels that are converted at a time


class PowerSpectrum(TransformerMixin, BaseEstimator):
    """Principal components of the logarithmic power spectra of images.

    Where on the image something is makes no difference: a spike or a bright neighbour gives
    nearly the same coordinates wherever it lies, while in the space of pixels, and of their
    principal components, no two of them are alike.

    Parameters
    ----------
    n_components : int, optional
        Number of coordinates at most.
    n_waves : int, optional
        Highest frequency, in waves across a stamp, so that the size of pixels does not matter.
    panels : int or "auto", optional
        Number of equal stamps that stand side by side in each image (one a filter, say), whose
        spectra are averaged.  With "auto" they are found by what lies between them: columns of
        pixels that are (nearly) the same in all images.
    random_state : int, optional
        Not used: nothing is random.

    Attributes
    ----------
    components_ : (k, d) array
        Directions of largest variance in the space of spectra.
    mean_ : (d,) array
        Mean spectrum, natural logarithm of the power.
    explained_variance_ratio_ : (k,) array
        Share of the variance along each component.
    boxes_ : list of tuple of int
        Top, bottom, left and right of each stamp.
    n_features_in_ : int
        Pixels of an image.

    Notes
    -----
    Each stamp loses its mean, is tapered to its border by a sine window (Harris 1978, Proc. IEEE
    66, 51), so that the middle counts the most, and is Fourier transformed for the frequencies up to
    ``n_waves`` in either direction alone, as products with two small matrices.  The squared moduli
    are averaged over the stamps of an image and over its colours; their logarithms, in which a
    factor of the brightness is an offset, go into principal components.  Pixels that are not
    finite count as the mean of their stamp.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> images = rng.normal(size=(20, 32, 32)).astype("f4")
    >>> images[3, 12] += 5  # a stripe
    >>> images[7, 19] += 5  # another, elsewhere
    >>> Y = PowerSpectrum(2).fit_transform(images)
    >>> sorted(np.abs(Y[:, 0]).argsort()[-2:].tolist())
    [3, 7]
    """

    stem: ClassVar[str] = "power"
    takes: ClassVar[str] = "images"

    def __init__(
        self,
        n_components: int = 10,
        *,
        n_waves: int = 12,
        panels: int | Literal["auto"] = "auto",
        random_state: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.n_waves = n_waves
        self.panels = panels
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> PowerSpectrum:
        """Find the stamps and the components.

        Parameters
        ----------
        X : (n, h, w) or (n, h, w, c) array
            Images.
        y : None
            Not used.

        Returns
        -------
        PowerSpectrum
            Itself.

        Raises
        ------
        InputError
            If the images are too few or too small, or a parameter cannot be used.
        """
        self._fit(X)
        return self

    def fit_transform(self, X: ArrayLike, y: Any = None) -> np.ndarray:
        """Find the stamps and the components, and return the coordinates of the images.

        Parameters
        ----------
        X : (n, h, w) or (n, h, w, c) array
            Images.
        y : None
            Not used.

        Returns
        -------
        (n, k) array of float64

        Raises
        ------
        InputError
            As `fit`.
        """
        return (self._fit(X) - self.mean_) @ self.components_.T

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Return the coordinates of images.

        Parameters
        ----------
        X : (n, h, w) or (n, h, w, c) array
            Images of the size of those of the fit.

        Returns
        -------
        (n, k) array of float64

        Raises
        ------
        InputError
            If the images have another size.
        """
        check_is_fitted(self)
        X = _images(X)
        if int(np.prod(X.shape[1:])) != self.n_features_in_ or X.shape[1:3] != tuple(self.shape_):
            raise InputError(
                f"the images are {X.shape[1:]} and those of the fit were {tuple(self.shape_)}; read them "
                "in one "
                "size (read_cutouts(size=…))"
            )
        return (self._spectra(X) - self.mean_) @ self.components_.T

    def facts(self) -> dict[str, Any]:
        """Return what belongs on record: the stamps, and how much the components explain.

        Returns
        -------
        dict
            ``n_components``, ``panels``, ``explained_variance`` and ``explained_variance_ratio``.
        """
        shares = np.asarray(self.explained_variance_ratio_, dtype=float)
        return {
            "n_components": len(shares),
            "panels": len(self.boxes_),
            "explained_variance": float(shares.sum()),
            "explained_variance_ratio": shares.tolist(),
        }

    def _fit(self, X: ArrayLike) -> np.ndarray:
        X = _images(X)
        for name in ("n_components", "n_waves"):
            if not _is_count(getattr(self, name)):
                raise InputError(f"{name}={getattr(self, name)!r} cannot be used: give a whole number from 1")
        if len(X) < 3:
            raise InputError(f"{len(X)} images are too few for principal components; at least 3 are needed")
        self.boxes_ = boxes_of(X, self.panels)
        self.shape_, self.n_features_in_ = X.shape[1:3], int(np.prod(X.shape[1:]))
        spectra = self._spectra(X)
        self.mean_ = spectra.mean(axis=0)
        centred = spectra - self.mean_
        values, vectors = np.linalg.eigh(centred.T @ centred / (len(X) - 1))
        k = min(self.n_components, len(X) - 1, len(values))
        components = vectors[:, ::-1][:, :k].T
        # The sign of an eigenvector is a matter of the library: the largest element is positive.
        largest = components[np.arange(k), np.abs(components).argmax(axis=1)]
        self.components_ = components * np.where(largest < 0, -1.0, 1.0)[:, np.newaxis]
        total = max(float(values.sum()), np.finfo(float).tiny)
        self.explained_variance_ratio_ = np.maximum(values[::-1][:k], 0) / total
        return spectra

    def _spectra(self, X: np.ndarray) -> np.ndarray:
        """Return the logarithmic spectra, a row an image."""
        top, bottom, left, right = self.boxes_[0]
        waves = min(self.n_waves, (bottom - top) // 2, (right - left) // 2)
        down, across = _transform(bottom - top, waves, both=True), _transform(right - left, waves, both=False)
        found = np.empty((len(X), len(down) * len(across)))
        rows = max(1, _BLOCK // int(np.prod(X.shape[1:])))

        def work(begin: int) -> None:
            part = slice(begin, begin + rows)
            found[part] = _log_power(X[part], self.boxes_, down, across)

        starts = range(0, len(X), rows)
        run_all([lambda begin=begin: work(begin) for begin in starts], available_threads())
        return found


def _images(X: ArrayLike) -> np.ndarray:
    X = np.asarray(X)
    if X.ndim not in (3, 4) or X.dtype.kind not in "biuf":
        raise InputError(
            f"power spectra are of images, (n, height, width) or (n, height, width, channels) numbers, and "
            f"these are {X.dtype} of shape {X.shape}"
        )
    return X


def _is_count(number: Any) -> bool:
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool) and number >= 1


def _transform(size: int, waves: int, *, both: bool) -> np.ndarray:
    """Return the matrix of a windowed Fourier transform, real parts over imaginary parts."""
    places = np.arange(size) - (size - 1) / 2
    window = np.cos(np.pi * places / size)
    # The power of -k is that of k if both directions change their sign: half a plane is enough.
    numbers = np.arange(-waves if both else 0, waves + 1)
    return np.exp(-2j * np.pi * np.outer(numbers, places) / size) * window


def _log_power(
    block: np.ndarray, boxes: list[tuple[int, int, int, int]], down: np.ndarray, across: np.ndarray
) -> np.ndarray:
    """Return the logarithmic power of a few images, (m, d)."""
    down, across = down.astype(np.complex64), across.astype(np.complex64).T
    colours = [block] if block.ndim == 3 else [block[..., c] for c in range(block.shape[3])]
    if len(colours) > 1 and all(np.array_equal(colours[0], other) for other in colours[1:]):
        colours = colours[:1]  # grey
    total = np.zeros((len(block), len(down), across.shape[1]))
    for colour in colours:
        for top, bottom, left, right in boxes:
            stamp = colour[:, top:bottom, left:right].astype(np.float32)
            total += np.square(np.abs(down @ _centred(stamp) @ across))
    total /= len(colours) * len(boxes)
    # The log of no power at all: as much as rounding makes.
    floor = 1e-6 * np.maximum(total.mean(axis=(1, 2), keepdims=True), np.finfo(np.float32).tiny)
    return np.log(total + floor).reshape(len(block), -1)


def _centred(stamps: np.ndarray) -> np.ndarray:
    """Return stamps less their means, 0 where they are not finite."""
    finite = np.isfinite(stamps)
    if finite.all():
        return stamps - stamps.mean(axis=(1, 2), keepdims=True)
    known = np.where(finite, stamps, 0)
    count = np.maximum(finite.sum(axis=(1, 2), keepdims=True), 1)
    return np.where(finite, known - known.sum(axis=(1, 2), keepdims=True) / count, 0)
