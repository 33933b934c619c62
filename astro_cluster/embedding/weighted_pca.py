"""`WeightedPCA`: principal components of spectra with errors and missing pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError

from astro_cluster.embedding.alternating import coefficients_of, fit_alternating, leftover
from astro_cluster.exceptions import InputError
from astro_cluster.progress import LiveLine
from astro_cluster.threads import available_threads
from astro_cluster.wavelengths import Grid

__all__ = ["WeightedPCA"]

Progress = Callable[[int, dict[str, float]], Any] | bool | None

_BLOCK = 2048  # rows that are normalised at a time

# Lowest, highest, whether it must be whole, whether None will do, whether the lowest is excluded.
_NUMBERS = {
    "n_components": (1, math.inf, True, False, False),
    "max_iter": (1, math.inf, True, False, False),
    "softening": (0, math.inf, False, False, False),
    "tol": (0, math.inf, False, False, False),
    "n_threads": (1, 10**6, True, True, False),
}


class WeightedPCA(TransformerMixin, BaseEstimator):
    """Principal components of spectra, each pixel counting by its inverse variance.

    A pixel that is missing has the weight 0 and plays no part, neither in what is learned nor in the
    coefficients of its spectrum.

    Parameters
    ----------
    n_components : int, default=9
        Number of components, beside the mean.
    normalize : str, tuple of `~astropy.units.Quantity` or None, default="auto"
        What each spectrum is divided by first, as in `~astro_cluster.normalize_spectra`: ``"median"``,
        ``"max"``, ``"continuum"``, a window, or nothing.  ``"auto"`` is the median, or nothing if the
        spectra are normalised already.
    softening : float, default=7.07e-4
        Error that no pixel is better than, in normalised flux: the weight is
        w = ivar / (1 + ivar · softening²).  The study has 1 / 2,000,000 for the square.
    subtract_mean : bool, default=True
        Whether there is a mean spectrum, fitted together with the components.
    max_iter : int, default=200
        Most iterations.
    tol : float, default=1e-6
        Share of χ² by which it must fall in an iteration for another one.
    n_threads : int, optional
        Threads; by default one a core.  Results do not depend on it.
    random_state : int, optional
        Seed, used only of more than 6,000 pixels, for the start.

    Attributes
    ----------
    components_ : (k, m) array
        Orthonormal spectra, the one that explains the most first; the largest value of each is positive.
    mean_ : (m,) array
        Mean of the normalised spectra; 0 without one.
    explained_variance_, explained_variance_ratio_ : (k,) array
        Mean square of what each component adds to a pixel, weighted, and its share of the mean square
        about the mean.
    chi2_ : list of float
        χ² per pixel that counts after each iteration, of the spectra that were learned from.
    held_out_chi2_ : float
        Mean over the spectra held out of their χ² per pixel that counts; NaN if there are none.
    normalize_ : str, tuple or None
        How spectra are normalised.
    grid_ : Grid or None
        Wavelengths.
    n_iter_, converged_ : int, bool
        Iterations, and whether χ² falls no more.
    n_features_in_, n_components_ : int
        m and k.

    Notes
    -----
    The least χ² of all fits of this size, by alternating least squares (Tsalmantza & Hogg 2012, ApJ 753,
    122; the M-step of Bailey 2012, PASP 124, 1015, for all components at once), from the weighted
    covariance of pairs of pixels (Delchambre 2015, MNRAS 446, 3545).  With equal weights it is what
    `sklearn.decomposition.PCA` gives.  χ² never rises from one iteration to the next.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> flux = 5 + rng.normal(size=(60, 2)) @ rng.normal(size=(2, 30)) + 0.1 * rng.normal(size=(60, 30))
    >>> ivar = np.full(flux.shape, 100.0)
    >>> flux[0, 20:] = np.nan
    >>> pca = WeightedPCA(2, normalize=None).fit(flux, weights=ivar)
    >>> pca.transform(flux, weights=ivar).shape, 0.7 < pca.facts()["chi2"] < 1
    ((60, 2), True)
    """

    stem: ClassVar[str] = "pca"
    takes: ClassVar[str] = "spectra"

    def __init__(
        self,
        n_components: int = 9,
        *,
        normalize: Any = "auto",
        softening: float = 7.07e-4,
        subtract_mean: bool = True,
        max_iter: int = 200,
        tol: float = 1e-6,
        n_threads: int | None = None,
        random_state: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.normalize = normalize
        self.softening = softening
        self.subtract_mean = subtract_mean
        self.max_iter = max_iter
        self.tol = tol
        self.n_threads = n_threads
        self.random_state = random_state

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "components_")

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
        progress: Progress = None,
    ) -> WeightedPCA:
        """Find the components.

        Parameters
        ----------
        X : (n, m) array
            Fluxes, NaN where missing.
        y : None
            Ignored.
        weights : (n, m) array, optional
            Inverse variances, 0 where a pixel must not count; all alike if not given.
        redshift : (n,) array, optional
            Ignored; other models of spectra take it.
        grid : Grid, optional
            Wavelengths, which a window and the continuum need.
        normalized : bool, optional
            Whether the spectra are normalised already: then ``normalize="auto"`` does nothing.
        held_out_rows : array of int or of bool, optional
            Rows that are not learned from, whose χ² is told: their numbers, or a mask.
        progress : callable, bool or None, optional
            What is called after each iteration with its number and a dict of its numbers; or whether to
            show a line; or None for a line if it takes long, on a terminal.

        Returns
        -------
        WeightedPCA
            Itself.

        Raises
        ------
        InputError
            If a parameter or the spectra cannot be used, or there are fewer spectra than components.
        """
        from astro_cluster.embedding.autoencoder.fitting import unchanged_if_broken

        with unchanged_if_broken(self):
            self._fit(X, weights, grid, normalized, held_out_rows, progress)
        return self

    def _fit(
        self,
        X: np.ndarray,
        weights: np.ndarray | None,
        grid: Grid | None,
        normalized: bool,
        held_out_rows: np.ndarray | None,
        progress: Progress,
    ) -> None:
        from astro_cluster.embedding.infovae.using import row_numbers

        self._check_parameters()
        told = weights is not None
        X, weights = checked_spectra(X, weights)
        held_out = row_numbers([] if held_out_rows is None else held_out_rows, len(X))
        how = self.normalize
        if isinstance(how, str) and how == "auto":
            how = None if normalized else "median"
        self.normalize_, self.grid_ = how, grid
        flux, w = self._learnable(X, weights)
        learned = np.setdiff1d(np.flatnonzero((w > 0).any(axis=1)), held_out)
        k = int(self.n_components)
        if len(learned) <= k or X.shape[1] <= k:
            raise InputError(
                f"{len(learned)} spectra of {X.shape[1]} pixels have pixels that count, too few for "
                f"{k} components; give a smaller n_components"
            )
        if len(learned) < len(flux):
            flux, w = flux[learned], w[learned]
        n_counting = int((w > 0).sum())
        with _Line(progress, int(self.max_iter)) as line:
            fit = fit_alternating(
                flux,
                w,
                k,
                subtract_mean=bool(self.subtract_mean),
                max_iter=int(self.max_iter),
                tol=float(self.tol),
                n_threads=self._threads(),
                random_state=self.random_state,
                on_step=lambda number, chi2: line.on_epoch(number, {"chi2": chi2 / n_counting}),
            )
        self.n_features_in_, self.n_components_ = X.shape[1], k
        self._keep(fit.mean, fit.components, fit.coefficients, flux, w)
        self.chi2_ = [chi2 / n_counting for chi2 in fit.chi2]
        self.n_iter_, self.converged_ = len(fit.chi2), fit.converged
        self.held_out_chi2_ = math.nan
        if len(held_out):
            errors = self.reconstruction_errors(X[held_out], weights=weights[held_out] if told else None)
            if np.isfinite(errors["chi2"]).any():
                self.held_out_chi2_ = float(np.nanmean(errors["chi2"]))

    def fit_transform(self, X: np.ndarray, y: object = None, **fit: Any) -> np.ndarray:
        """Find the components and return the coefficients.

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
        (n, k) array

        Raises
        ------
        InputError
            As `fit`.
        """
        return self.fit(X, y, **fit).transform(X, weights=fit.get("weights"))

    def _check_parameters(self) -> None:
        from astro_cluster.embedding.autoencoder.parameters import check_number

        for name, bounds in _NUMBERS.items():
            check_number(name, getattr(self, name), bounds)

    def _threads(self) -> int:
        return available_threads() if self.n_threads is None else int(self.n_threads)

    def _keep(
        self,
        mean: np.ndarray,
        components: np.ndarray,
        coefficients: np.ndarray,
        flux: np.ndarray,
        weights: np.ndarray,
    ) -> None:
        """Turn any basis of the space into orthonormal components in the order of what they explain."""
        rows = np.sqrt(weights.sum(axis=1, dtype=np.float64))[:, np.newaxis]
        if self.subtract_mean:
            centre = (rows**2 * coefficients).sum(axis=0) / (rows**2).sum()
            mean, coefficients = mean + centre @ components, coefficients - centre
        known = (weights > 0).any(axis=0)
        components = np.where(known, components, 0.0)
        if self.subtract_mean and not known.all():  # of such a pixel its neighbours know best
            mean = np.interp(np.arange(len(mean)), np.flatnonzero(known), mean[known])
        basis, triangle = np.linalg.qr(components.T)
        coefficients = coefficients @ triangle.T
        _, _, turn = np.linalg.svd(rows * coefficients, full_matrices=False)
        coefficients, basis = coefficients @ turn.T, basis @ turn.T
        explained, total = _explained(flux, weights, mean, basis.T, coefficients)
        order = np.argsort(-explained, kind="stable")
        self.mean_ = mean
        self.components_ = np.ascontiguousarray(basis.T[order])
        peaks = np.argmax(np.abs(self.components_), axis=1)
        self.components_ *= np.sign(self.components_[np.arange(len(peaks)), peaks])[:, np.newaxis]
        self.explained_variance_ = explained[order]
        self.explained_variance_ratio_ = explained[order] / total if total > 0 else np.zeros(len(order))

    # ------------------------------------------------------------ using it

    def transform(self, X: np.ndarray, *, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the coefficients of spectra: of all, those of the least χ².

        Parameters
        ----------
        X : (n, m) array
            Fluxes, NaN where missing.
        weights : (n, m) array, optional
            Inverse variances.

        Returns
        -------
        (n, k) array
            NaN for spectra without any pixel that counts.

        Raises
        ------
        InputError
            If the spectra have another number of pixels, or the model is not fitted.
        """
        self._check_fitted()
        found = np.empty((len(X), self.n_components_))
        for rows, coefficients, *_ in self._through(X, weights):
            found[rows] = coefficients
        return found

    def inverse_transform(self, Y: np.ndarray, *, norms: np.ndarray | None = None) -> np.ndarray:
        """Return the spectra that coefficients stand for.

        Parameters
        ----------
        Y : (n, k) array
            Coefficients.
        norms : (n,) array, optional
            What the spectra are multiplied by; normalised ones if not given.

        Returns
        -------
        (n, m) array
        """
        self._check_fitted()
        made = np.asarray(Y, dtype=np.float64) @ self.components_ + self.mean_
        return made if norms is None else made * np.asarray(norms)[:, np.newaxis]

    def reconstruct(
        self, X: np.ndarray, *, weights: np.ndarray | None = None, redshift: np.ndarray | None = None
    ) -> np.ndarray:
        """Return what the components make of spectra.

        Parameters
        ----------
        X : (n, m) array
            Fluxes.
        weights : (n, m) array, optional
            Inverse variances.
        redshift : (n,) array, optional
            Ignored.

        Returns
        -------
        (n, m) array of float32
            In the units of X; missing pixels are filled.  NaN for spectra without any pixel that counts.

        Raises
        ------
        InputError
            As `transform`.
        """
        self._check_fitted()
        out = np.empty(np.shape(X), dtype=np.float32)
        for rows, coefficients, _, _, norms in self._through(X, weights):
            out[rows] = self.inverse_transform(coefficients, norms=norms)
        return out

    def reconstruction_errors(
        self, X: np.ndarray, *, weights: np.ndarray | None = None, redshift: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Return how far reconstructions are from their spectra.

        Parameters
        ----------
        X : (n, m) array
            Fluxes.
        weights : (n, m) array, optional
            Inverse variances.
        redshift : (n,) array, optional
            Ignored.

        Returns
        -------
        dict of str to (n,) array
            ``mse``, the mean squared difference of the normalised fluxes of the pixels that count, and
            ``chi2``, χ² by the inverse variances (not softened) for each of these pixels; NaN for spectra
            without any.  Without ``weights`` the noise is estimated, as `InfoVAE` does.

        Raises
        ------
        InputError
            As `transform`.
        """
        self._check_fitted()
        from astro_cluster.embedding.infovae.rows import noise_of

        mse, chi2 = np.empty(len(X)), np.empty(len(X))
        for rows, coefficients, flux, ivar, _ in self._through(X, weights):
            found = leftover(flux, ivar, self.mean_, self.components_, np.nan_to_num(coefficients))
            counts = (ivar > 0).sum(axis=1)
            mse[rows], chi2[rows] = (part / np.where(counts > 0, counts, np.nan) for part in found)
            if weights is None:
                noise = noise_of(np.where(ivar > 0, flux, np.nan))
                chi2[rows] = mse[rows] / np.where(noise > 0, noise, np.nan) ** 2
        return {"mse": mse, "chi2": chi2}

    def facts(self) -> dict[str, Any]:
        """Return what belongs on record.

        Returns
        -------
        dict
            ``n_components``; ``chi2`` (by the weights) and ``held_out_chi2``, for each pixel that counts
            (the second None if nothing was held out); ``explained_variance`` of all components together and
            ``explained_variance_ratio`` of each; ``n_iter`` and ``converged``.
        """
        self._check_fitted()
        shares = np.asarray(self.explained_variance_ratio_, dtype=float)
        return {
            "n_components": self.n_components_,
            "chi2": float(self.chi2_[-1]),
            "held_out_chi2": float(self.held_out_chi2_) if math.isfinite(self.held_out_chi2_) else None,
            "explained_variance": float(shares.sum()),
            "explained_variance_ratio": shares.tolist(),
            "n_iter": self.n_iter_,
            "converged": self.converged_,
        }

    def _check_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError("this WeightedPCA has not learned anything yet; call fit first")

    def _through(
        self, X: np.ndarray, weights: np.ndarray | None
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Give rows, their coefficients, normalised fluxes, inverse variances and norms, block by block."""
        X, weights = checked_spectra(X, weights)
        if X.shape[1] != self.n_features_in_:
            raise InputError(
                f"the spectra have {X.shape[1]} pixels, those that were learned from {self.n_features_in_}; "
                "read them on the same grid (read_spectra(…, grid=…))"
            )
        for first in range(0, len(X), _BLOCK):
            rows = slice(first, first + _BLOCK)
            flux, ivar, norms = self._normalised(X[rows], weights[rows])
            found, _ = coefficients_of(
                flux, self._softened(ivar), self.mean_, self.components_, n_threads=self._threads()
            )
            found[np.isnan(norms)] = np.nan
            yield rows, found, flux, ivar, norms

    def _learnable(self, X: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return normalised fluxes and weights of all rows, both 0 where a pixel does not count."""
        kind = np.float64 if X.dtype.itemsize > 4 else np.float32
        flux, w = np.empty(X.shape, dtype=kind), np.empty(X.shape, dtype=kind)
        for first in range(0, len(X), _BLOCK):
            rows = slice(first, first + _BLOCK)
            flux[rows], ivar, _ = self._normalised(X[rows], weights[rows])
            w[rows] = self._softened(ivar)
        return flux, w

    def _softened(self, ivar: np.ndarray) -> np.ndarray:
        from astro_cluster.spectra.normalising import softened

        return softened(ivar, float(self.softening)) if self.softening else ivar

    def _normalised(self, X: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return normalised fluxes, inverse variances, both 0 where a pixel does not count, and norms."""
        from astro_cluster.spectra.normalising import norms_of

        there = np.isfinite(X) & (weights > 0)
        flux = np.where(there, X, 0.0).astype(np.float64)
        ivar = np.where(there, weights, 0.0).astype(np.float64)
        norms = np.ones(len(X))
        if self.normalize_ is not None:
            norms = np.array(norms_of(flux, ivar, self.grid_, self.normalize_), dtype=np.float64)
        norms[~(there.any(axis=1) & np.isfinite(norms) & (norms > 0))] = np.nan
        unusable = np.isnan(norms)
        flux[unusable], ivar[unusable] = 0.0, 0.0
        scale = np.where(unusable, 1.0, norms)[:, np.newaxis]
        return flux / scale, ivar * scale**2, norms


def checked_spectra(X: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return spectra and weights as arrays, if they can be spectra.

    Parameters
    ----------
    X : (n, m) array
        Fluxes.
    weights : (n, m) array or None
        Inverse variances.

    Returns
    -------
    X, weights : (n, m) array
        Weights that are not finite are 0; all 1 if there are none.

    Raises
    ------
    InputError
        If they are no spectra, or the weights are not theirs.

    Examples
    --------
    >>> checked_spectra(np.ones((1, 2)), None)[1]
    array([[1., 1.]])
    """
    X = np.asarray(getattr(X, "value", X))
    if X.ndim != 2 or X.dtype.kind not in "fiu" or 0 in X.shape:
        raise InputError(
            f"X has the shape {X.shape} and type {X.dtype}; spectra are numbers of shape (spectra, pixels)"
        )
    X = X if X.dtype.kind == "f" else X.astype(np.float64)
    if weights is None:
        return X, np.broadcast_to(np.ones(1, dtype=X.dtype), X.shape)
    weights = np.asarray(getattr(weights, "value", weights))
    if weights.shape != X.shape or weights.dtype.kind not in "fiub":
        raise InputError(
            f"weights have the shape {weights.shape} and type {weights.dtype}; spectra of the shape "
            f"{X.shape} need a number for each pixel"
        )
    if (weights < 0).any():
        raise InputError("a weight is below 0; weights are inverse variances, 0 where a pixel must not count")
    if not np.isfinite(weights).all():
        weights = np.where(np.isfinite(weights), weights, 0.0)
    return X, weights


def _explained(
    flux: np.ndarray, weights: np.ndarray, mean: np.ndarray, components: np.ndarray, coefficients: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the weighted mean squares of what each component adds, and of the spectra about the mean."""
    none = np.zeros((len(flux), 0))
    sums = float(leftover(flux, weights, mean, np.zeros((0, len(mean))), none)[1].sum())
    found = np.zeros(len(components))
    for first in range(0, len(flux), _BLOCK):
        rows = slice(first, first + _BLOCK)
        found += np.einsum("ik,ik->k", coefficients[rows] ** 2, weights[rows] @ components.T**2)
    total = float(weights.sum(dtype=np.float64))
    return found / total, sums / total


class _Line(LiveLine):
    """Tells how far the iterations are: to a function, in a line, or not at all."""

    def __init__(self, progress: Progress, most: int) -> None:
        import sys

        if progress is not None and not callable(progress) and not isinstance(progress, bool):
            raise InputError(
                f"progress={progress!r} is neither True, False nor a function that is called after each "
                "iteration"
            )
        super().__init__(after=0.0 if progress is True else 2.0)
        self._call = progress if callable(progress) else None
        silent = progress is False or (
            progress is None and not (sys.stderr is not None and sys.stderr.isatty())
        )
        self._shows, self._most = self._call is None and not silent, most

    def on_epoch(self, number: int, numbers: dict[str, float]) -> None:
        """Tell of an iteration.

        Parameters
        ----------
        number : int
            Its number.
        numbers : dict of str to float
            ``chi2``, for each pixel that counts.
        """
        if self._call is not None:
            self._call(number, numbers)
        elif self._shows:
            self._say(
                lambda: f"iteration {number} of at most {self._most}: χ² {numbers['chi2']:.6g} for each pixel"
            )
