"""`GaussianMixture`: scikit-learn's contract, missing values included."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp
from scipy.stats import chi2
from sklearn.base import BaseEstimator, DensityMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from astro_cluster.mixture import engine
from astro_cluster.mixture.parameters import (
    COVARIANCE_TYPES,
    Parameters,
    full_covariances,
    maximize,
)
from astro_cluster.mixture.start import STARTS, start

__all__ = ["GaussianMixture"]


def _one_thread() -> threadpool_limits:
    """Keep BLAS to one thread: for matrices of this size more of them only wait for each other.

    It also makes the last digits independent of the number of cores.
    """
    return threadpool_limits(limits=1, user_api="blas")


def _masked_to_nan(X: ArrayLike) -> ArrayLike:
    """Return a masked array with NaN where it is masked; anything else as it is."""
    return np.ma.filled(X.astype(float), np.nan) if np.ma.isMaskedArray(X) else X


class GaussianMixture(DensityMixin, BaseEstimator):
    """Mixture of Gaussians whose rows may have missing values (NaN).

    A missing value is integrated out exactly in the E and the M step, so every row counts
    with what it has, and a row with nothing observed gets the weights as its
    probabilities.  On complete data this is scikit-learn's mixture, number for number, from the
    starts that both have (kmeans, random, given parameters).

    Parameters
    ----------
    n_components : int, default=1
        Number of components k.
    covariance_type : {"full", "tied", "diag", "spherical"}, default="full"
        A matrix each, one matrix for all, a diagonal each, or a variance each.
    tol : float, default=1e-3
        EM stops when the mean log-likelihood of a row gains less.
    reg_covar : float, default=1e-6
        Added to the variances.
    max_iter : int, default=100
        Most EM steps of one start.
    n_init : int, default=1
        Number of starts; the likeliest result is kept.
    init_params : {"kmeans", "k-means++", "random"}, default="kmeans"
        How to start; holes are filled by column means for the start alone.
    weights_init : (k,) array, optional
        Weights to start from.
    means_init : (k, d) array, optional
        Means to start from.
    precisions_init : array, optional
        Inverse covariances to start from: (k, d, d), (d, d), (k, d) or (k,) by
        ``covariance_type``.
    random_state : int or `~numpy.random.RandomState`, optional
        Seed of the starts and of `sample`.
    warm_start : bool, default=False
        Continue from the last fit.
    verbose : int, default=0
        Print the progress of every start (1) or step (2).

    Attributes
    ----------
    weights_ : (k,) array
        Mixing weights.
    means_ : (k, d) array
        Means.
    covariances_ : array
        Covariances, shaped by ``covariance_type``.
    precisions_, precisions_cholesky_ : array
        Inverse covariances and their Cholesky factors, shaped alike.
    converged_ : bool
        Whether the best start converged.
    n_iter_ : int
        EM steps of the best start.
    lower_bound_ : float
        Mean log-likelihood of a row at its last E step.
    lower_bounds_ : list of float
        The same after each step.
    n_features_in_ : int
        Number of features d.

    Notes
    -----
    Missing values must be missing at random: whether a value is there must not depend on
    what it would have been, given the others.  Truncated or censored values (upper limits)
    are not missing at random.  The method is Ghahramani & Jordan (1994, NIPS 6, 120).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0], [0.2, np.nan], [9.0, 8.0], [9.1, 8.2], [np.nan, 8.1], [0.1, 1.1]])
    >>> gm = GaussianMixture(2, random_state=0).fit(X)
    >>> labels = gm.predict(X)
    >>> bool(labels[0] == labels[1] and labels[3] == labels[4])
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "covariance_type": [StrOptions(set(COVARIANCE_TYPES))],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "reg_covar": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "init_params": [StrOptions(set(STARTS))],
        "weights_init": ["array-like", None],
        "means_init": ["array-like", None],
        "precisions_init": ["array-like", None],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None,
        precisions_init: ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    # ------------------------------------------------------------ fitting

    def fit(self, X: ArrayLike, y: object = None) -> GaussianMixture:
        """Fit the mixture by EM.

        Parameters
        ----------
        X : (n, d) array
            Rows; NaN where missing.
        y : None
            Ignored.

        Returns
        -------
        GaussianMixture
            Itself.

        Raises
        ------
        ValueError
            If there are fewer rows than components, infinite values, a feature without any
            value, or covariances that cannot be inverted.
        """
        self.fit_predict(X, y)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_predict(self, X: ArrayLike, y: object = None) -> np.ndarray:
        """Fit the mixture and return the likeliest component of each row.

        Parameters
        ----------
        X : (n, d) array
            Rows; NaN where missing.
        y : None
            Ignored.

        Returns
        -------
        (n,) array of int

        Raises
        ------
        ValueError
            As `fit`.
        """
        X = _masked_to_nan(X)
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2, ensure_all_finite="allow-nan")
        if len(X) < self.n_components:
            raise ValueError(
                "Expected n_samples >= n_components "
                f"but got n_components = {self.n_components}, n_samples = {len(X)}"
            )
        if (empty := np.flatnonzero(np.isnan(X).all(axis=0))).size:
            raise ValueError(f"feature {empty[0]} has no value in any row; leave it out")
        with _one_thread():
            return self._fit_all(X)

    def _fit_all(self, X: np.ndarray) -> np.ndarray:
        random_state = check_random_state(self.random_state)
        data = engine.Data(X)
        continued = self.warm_start and hasattr(self, "converged_")
        best: tuple[float, Parameters, list[float], bool] | None = None
        for number in range(1 if continued else self.n_init):
            parameters = self._parameters() if continued else self._start(X, random_state)
            parameters, bounds, converged = self._run(data, parameters, number)
            bound = bounds[-1] if bounds else -np.inf
            # Starts that end in the same optimum differ by rounding only: the first one counts.
            if best is None or bound > best[0] + 1e-10 * abs(best[0]):
                best = bound, parameters, bounds, converged
        assert best is not None  # noqa: S101 - there is at least one start
        self.lower_bound_, parameters, self.lower_bounds_, self.converged_ = best
        self.n_iter_ = len(self.lower_bounds_)
        self._keep(parameters)
        if not self.converged_ and self.max_iter > 0:
            warnings.warn(
                "The best start did not converge: raise max_iter or tol, or look for degenerate data.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return engine.log_joint(data, parameters).argmax(axis=1)

    def _start(self, X: np.ndarray, random_state: np.random.RandomState) -> Parameters:
        k, d, kind = self.n_components, X.shape[1], self.covariance_type
        given = (self.weights_init, self.means_init, self.precisions_init)
        wanted = ((k,), (k, d), {"full": (k, d, d), "tied": (d, d), "diag": (k, d), "spherical": (k,)}[kind])
        arrays = []
        for name, value, shape in zip(("weights", "means", "precisions"), given, wanted, strict=True):
            array = None if value is None else check_array(value, dtype=float, ensure_2d=False, allow_nd=True)
            if array is not None and array.shape != shape:
                raise ValueError(f"{name}_init should have the shape {shape}, but got {array.shape}")
            arrays.append(array)
        weights, means, precisions = arrays
        if weights is not None and ((weights < 0).any() or not np.isclose(weights.sum(), 1.0)):
            raise ValueError("weights_init should be between 0 and 1 and add up to 1")
        covariances = None
        if precisions is not None:
            covariances = np.linalg.inv(precisions) if kind in ("full", "tied") else 1 / precisions
        if any(array is None for array in arrays):
            found = start(X, k, self.init_params, kind, self.reg_covar, random_state)
            weights = found.weights if weights is None else weights
            means = found.means if means is None else means
            covariances = found.covariances if covariances is None else covariances
        return Parameters(weights, means, covariances, kind)

    def _run(
        self, data: engine.Data, parameters: Parameters, number: int
    ) -> tuple[Parameters, list[float], bool]:
        """Iterate E and M steps from one start."""
        bounds: list[float] = []
        for step in range(self.max_iter):
            moments = engine.expect(data, parameters)
            parameters = maximize(moments, self.covariance_type, self.reg_covar)
            bounds.append(moments.log_likelihood / data.n_rows)
            if self.verbose > 1:
                print(f"start {number + 1}, step {step + 1}: mean log-likelihood {bounds[-1]:.6f}")
            if step and abs(bounds[-1] - bounds[-2]) < self.tol:
                break
        converged = len(bounds) > 1 and abs(bounds[-1] - bounds[-2]) < self.tol
        if self.verbose and bounds:
            print(f"start {number + 1}: {len(bounds)} steps, mean log-likelihood {bounds[-1]:.6f}")
        return parameters, bounds, converged

    def _keep(self, parameters: Parameters) -> None:
        self.weights_, self.means_ = parameters.weights, parameters.means
        self.covariances_ = parameters.covariances
        if parameters.diagonal:
            self.precisions_ = 1 / self.covariances_
            self.precisions_cholesky_ = np.sqrt(self.precisions_)
            return
        lower = np.linalg.cholesky(self.covariances_)
        self.precisions_cholesky_ = np.swapaxes(np.linalg.inv(lower), -1, -2)
        self.precisions_ = self.precisions_cholesky_ @ np.swapaxes(self.precisions_cholesky_, -1, -2)

    @classmethod
    def from_parameters(
        cls, weights: ArrayLike, means: ArrayLike, covariances: ArrayLike, *, covariance_type: str = "full"
    ) -> GaussianMixture:
        """Make a fitted mixture from its numbers.

        Parameters
        ----------
        weights : (k,) array
            Mixing weights.
        means : (k, d) array
            Means.
        covariances : array
            Covariances, shaped by ``covariance_type``.
        covariance_type : {"full", "tied", "diag", "spherical"}, optional
            Kind of the covariances.

        Returns
        -------
        GaussianMixture

        Raises
        ------
        ValueError
            If the shapes do not go together or a covariance cannot be inverted.

        Examples
        --------
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
        >>> gm.predict_proba([[3.0]])
        array([[1.]])
        """
        weights, means, covariances = (np.asarray(a, dtype=float) for a in (weights, means, covariances))
        k, d = means.shape if means.ndim == 2 else (-1, -1)
        shape = {"full": (k, d, d), "tied": (d, d), "diag": (k, d), "spherical": (k,)}.get(covariance_type)
        if weights.shape != (k,) or covariances.shape != shape:
            raise ValueError(
                f"weights {weights.shape}, means {means.shape} and {covariance_type} covariances "
                f"{covariances.shape} do not go together"
            )
        if not (np.isfinite(weights).all() and np.isfinite(means).all() and np.isfinite(covariances).all()):
            raise ValueError("the numbers of the mixture are not all finite")
        if (weights < 0).any() or not np.isclose(weights.sum(), 1.0):
            raise ValueError("the weights of the mixture are not between 0 and 1 with the sum 1")
        if covariance_type in ("diag", "spherical") and not (covariances > 0).all():
            raise ValueError("a variance of the mixture is not positive")
        mixture = cls(k, covariance_type=covariance_type)
        mixture.n_features_in_ = d
        try:
            mixture._keep(Parameters(weights, means, covariances, covariance_type))  # type: ignore[arg-type]
        except np.linalg.LinAlgError as error:
            raise ValueError("a covariance of the mixture is not positive definite") from error
        mixture.converged_, mixture.n_iter_, mixture.lower_bound_ = True, 0, np.nan
        return mixture

    # ------------------------------------------------------------ using

    def _parameters(self) -> Parameters:
        return Parameters(self.weights_, self.means_, self.covariances_, self.covariance_type)

    def _log_joint(self, data: engine.Data) -> np.ndarray:
        with _one_thread():
            return engine.log_joint(data, self._parameters())

    def _prepared(self, X: ArrayLike) -> engine.Data:
        check_is_fitted(self)
        return engine.Data(
            validate_data(
                self, _masked_to_nan(X), dtype=np.float64, reset=False, ensure_all_finite="allow-nan"
            )
        )

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the likeliest component of each row.

        Parameters
        ----------
        X : (n, d) array
            Rows; NaN where missing.

        Returns
        -------
        (n,) array of int
        """
        return self._log_joint(self._prepared(X)).argmax(axis=1)

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Return the probability of each component given what is observed.

        Parameters
        ----------
        X : (n, d) array
            Rows; NaN where missing.

        Returns
        -------
        (n, k) array
        """
        joint = self._log_joint(self._prepared(X))
        return np.exp(joint - logsumexp(joint, axis=1, keepdims=True))

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Return the log density of what is observed in each row.

        Parameters
        ----------
        X : (n, d) array
            Rows; NaN where missing.

        Returns
        -------
        (n,) array
            0 for a row with nothing observed.
        """
        return logsumexp(self._log_joint(self._prepared(X)), axis=1)

    def score(self, X: ArrayLike, y: object = None) -> float:
        """Return the mean of `score_samples`.

        Parameters
        ----------
        X : (n, d) array
            Rows; NaN where missing.
        y : None
            Ignored.

        Returns
        -------
        float
        """
        return float(self.score_samples(X).mean())

    def tail_probability(self, X: ArrayLike) -> np.ndarray:
        """Return how probable it is that a member lies at least as far out as each row.

        Parameters
        ----------
        X : (n, d) array
            Rows; NaN where missing.

        Returns
        -------
        (n,) array
            The chi-square tail of the squared Mahalanobis distance in the observed
            dimensions, averaged over the components by the row's probabilities; 1 for a row
            with nothing observed.

        Examples
        --------
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
        >>> gm.tail_probability([[0.0], [1.959964]]).round(6)
        array([1.  , 0.05])
        """
        data = self._prepared(X)
        joint = self._log_joint(data)
        probability = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
        observed = (~data.holes).sum(axis=1, keepdims=True)
        with _one_thread():
            distance = engine.mahalanobis(data, self._parameters())
        tail = chi2.sf(distance, np.maximum(observed, 1))
        return np.where(observed[:, 0] > 0, np.minimum((probability * tail).sum(axis=1), 1.0), 1.0)

    def _n_parameters(self) -> int:
        k, d = self.means_.shape
        free = {"full": k * d * (d + 1) // 2, "tied": d * (d + 1) // 2, "diag": k * d, "spherical": k}
        return free[self.covariance_type] + k * d + k - 1

    def bic(self, X: ArrayLike) -> float:
        """Return the Bayesian information criterion; lower is better.

        Parameters
        ----------
        X : (n, d) array
            Rows; NaN where missing.

        Returns
        -------
        float
        """
        log_densities = self.score_samples(X)
        return float(-2 * log_densities.sum() + self._n_parameters() * np.log(len(log_densities)))

    def aic(self, X: ArrayLike) -> float:
        """Return the Akaike information criterion; lower is better.

        Parameters
        ----------
        X : (n, d) array
            Rows; NaN where missing.

        Returns
        -------
        float
        """
        return float(-2 * self.score_samples(X).sum() + 2 * self._n_parameters())

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Draw complete rows from the mixture.

        Parameters
        ----------
        n_samples : int, optional
            How many.

        Returns
        -------
        X : (n_samples, d) array
            Rows, ordered by component.
        y : (n_samples,) array of int
            Their components.

        Raises
        ------
        ValueError
            If ``n_samples`` is less than 1.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"Invalid value for 'n_samples': {n_samples}; it has to be at least 1")
        rng = check_random_state(self.random_state)
        counts = rng.multinomial(n_samples, self.weights_)
        covariances = full_covariances(self._parameters())
        X = np.vstack(
            [
                rng.multivariate_normal(mean, covariance, int(count))
                for mean, covariance, count in zip(self.means_, covariances, counts, strict=True)
            ]
        )
        return X, np.repeat(np.arange(len(counts)), counts)
