"""`GaussianMixture`: scikit-learn's contract; missing values, measurement errors and weights."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, check_is_fitted

from astro_cluster.mixture.degenerate import DegenerateComponentWarning, without
from astro_cluster.mixture.em import OnStep, Run
from astro_cluster.mixture.engine import ENGINES, Dataset, one_blas_thread
from astro_cluster.mixture.fitted import FittedMixture
from astro_cluster.mixture.fitting import Material, Settings, fit_all, gather
from astro_cluster.mixture.parameters import COVARIANCE_TYPES, Moments, Parameters, maximize
from astro_cluster.mixture.rows import Rows, RowSource
from astro_cluster.mixture.start import STARTS, start
from astro_cluster.mixture.survey import check_rows

__all__ = ["GaussianMixture"]


def _inverse(precisions: np.ndarray, *, full: bool) -> np.ndarray:
    """Return the covariances that given precisions belong to, if there are any."""
    if full:
        symmetric = np.allclose(precisions, np.swapaxes(precisions, -1, -2))
        if not (symmetric and (np.linalg.eigvalsh(precisions) > 0).all()):
            raise ValueError("precisions_init should be symmetric and positive definite")
        return np.linalg.inv(precisions)
    if not (precisions > 0).all():
        raise ValueError("precisions_init should be positive")
    return 1 / precisions


class GaussianMixture(FittedMixture):
    """Mixture of Gaussians whose rows may have missing values, measurement errors and weights.

    A missing value (NaN) is integrated out exactly in the E and the M step, so every row counts
    with what it has, and a row with nothing observed gets the weights as its
    probabilities.  With errors the mixture is that of the true values, before the errors
    were added (extreme deconvolution).  On complete data without errors this is
    scikit-learn's mixture, number for number, from the starts that both have (kmeans,
    random, given parameters).

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
        Number of starts that are followed to the end; the likeliest result is kept.
    init_params : {"short-runs", "kmeans", "k-means++", "random"}, default="short-runs"
        How to start: the best of many short runs of EM from k-means++ seeds, or as
        scikit-learn does, where holes are filled by column means for the start alone.
    n_short : int, optional
        Number of short runs; by default 40, or four times ``n_init`` if that is more.
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
    engine : {"auto", "numba", "numpy", "torch"}, default="auto"
        What computes: compiled kernels where they work, else NumPy; torch on a device.
    device : str, default="cpu"
        Where torch computes, such as ``"cuda"``; other than the CPU it implies torch.
    n_jobs : int, optional
        Threads of the compiled kernels; None or -1 means one a core.  Results do not depend
        on it.

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
        Mean log-likelihood of a row (weighted) at its last E step.
    lower_bounds_ : list of float
        The same after each step.
    n_features_in_ : int
        Number of features d.

    Warns
    -----
    DegenerateComponentWarning
        If components were empty or collapsed, and what was done about it.
    ConvergenceWarning
        If ``max_iter`` was not enough.

    Notes
    -----
    Missing values must be missing at random: whether a value is there must not depend on
    what it would have been, given the others.  Truncated or censored values (upper limits)
    are not missing at random, and a mixture fitted to them is biased.  The method is Ghahramani
    & Jordan (1994, NIPS 6, 120) for holes and Bovy, Hogg & Roweis (2011, AOAS 5, 1657) for
    errors.

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
        "n_short": [Interval(Integral, 1, None, closed="left"), None],
        "weights_init": ["array-like", None],
        "means_init": ["array-like", None],
        "precisions_init": ["array-like", None],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "engine": [StrOptions(set(ENGINES))],
        "device": [str],
        "n_jobs": [Integral, None],
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
        init_params: str = "short-runs",
        n_short: int | None = None,
        weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None,
        precisions_init: ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        verbose: int = 0,
        engine: str = "auto",
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.n_short = n_short
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.engine = engine
        self.device = device
        self.n_jobs = n_jobs

    # ------------------------------------------------------------ fitting

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: ArrayLike | RowSource,
        y: object = None,
        *,
        errors: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        on_step: OnStep | None = None,
        start: Run | None = None,
    ) -> GaussianMixture:
        """Fit the mixture by EM.

        Parameters
        ----------
        X : (n, d) array or RowSource
            Rows; NaN where missing.  A source is read in chunks at each step.
        y : None
            Ignored.
        errors : (n, d) or (n, d, d) array, optional
            Standard errors, or covariance matrices of the errors, of the rows.
        sample_weight : (n,) array, optional
            How often each row counts; not negative.
        on_step : callable, optional
            Called after each step with its number and all runs; what it raises ends the fit
            and leaves the estimator as it was.
        start : Run, optional
            A run to go on with, such as ``on_step`` was given (a copy of it, since EM changes its
            runs): the only start.  It ends where it would have ended without the interruption;
            ``max_iter`` is how many steps may follow.

        Returns
        -------
        GaussianMixture
            Itself.

        Raises
        ------
        ValueError
            If there are fewer distinct rows than components, infinite values, a feature
            without any value, errors or weights that make no sense, covariances that
            cannot be inverted, or the start is of another shape.
        """
        self._fit(X, errors, sample_weight, on_step, start)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_predict(
        self,
        X: ArrayLike,
        y: object = None,
        *,
        errors: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        on_step: OnStep | None = None,
        start: Run | None = None,
    ) -> np.ndarray:
        """Fit the mixture and return the likeliest component of each row.

        Parameters
        ----------
        X : (n, d) array
            Rows; NaN where missing.
        y : None
            Ignored.
        errors : (n, d) or (n, d, d) array, optional
            Standard errors, or covariance matrices of the errors, of the rows.
        sample_weight : (n,) array, optional
            How often each row counts; not negative.
        on_step, start : optional
            As for `fit`.

        Returns
        -------
        (n,) array of int

        Raises
        ------
        ValueError
            As `fit`.
        """
        material = self._fit(X, errors, sample_weight, on_step, start)
        if material.whole:  # prepared already
            return material.data.log_joint(self._parameters()).argmax(axis=1)
        return self.predict(X, errors=errors)

    def _settings(self) -> Settings:
        return Settings(
            self.covariance_type,  # type: ignore[arg-type]
            self.tol,
            self.reg_covar,
            self.max_iter,
            self.n_init,
            self.init_params,
            self.n_short,
            self.verbose,
        )

    def _fit(
        self, X: Any, errors: Any, sample_weight: Any, on_step: OnStep | None, going_on: Run | None
    ) -> Material:
        """Fit, or leave everything as it was."""
        before = vars(self).copy()
        try:
            return self._try_fit(X, errors, sample_weight, on_step, going_on)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    def _try_fit(
        self, X: Any, errors: Any, sample_weight: Any, on_step: OnStep | None, going_on: Run | None
    ) -> Material:
        before = getattr(self, "n_features_in_", None)
        continued = self.warm_start and hasattr(self, "converged_")
        rows = self._as_rows(X, errors, sample_weight, reset=True)
        if isinstance(rows, Rows) and len(rows) < self.n_components:
            raise ValueError(
                "Expected n_samples >= n_components "
                f"but got n_components = {self.n_components}, n_samples = {len(rows)}"
            )
        if continued and before != self.n_features_in_:
            raise ValueError(f"the last fit had {before} features; a warm start needs as many")
        if going_on is not None:
            self._check_start(going_on.parameters)
        material = gather(rows, self._make_engine())
        random_state = check_random_state(self.random_state)
        starts = None
        if going_on is None:
            starts = self._given_starts(material, random_state, continued=continued)
        with one_blas_thread():
            best = fit_all(
                material,
                [self.n_components],
                self._settings(),
                random_state,
                starts=starts,
                on_step=on_step,
                going_on=going_on,
            )[0]
        self._take(best)
        return material

    def _take(self, best: Run, stacklevel: int = 6) -> None:
        """Become what a run found, and say what was wrong with it."""
        self._keep(best.parameters)
        self.lower_bound_, self.lower_bounds_ = best.bound, best.bounds
        self.converged_, self.n_iter_ = best.converged, len(best.bounds)
        if best.events:
            warnings.warn(
                f"of {self.n_components} components some did not last: {'; '.join(best.events)}. Take fewer "
                "components, or raise reg_covar",
                DegenerateComponentWarning,
                stacklevel=stacklevel,
            )
        if not self.converged_ and self.max_iter > 0:
            warnings.warn(
                "The best start did not converge: raise max_iter or tol, or look for degenerate data.",
                ConvergenceWarning,
                stacklevel=stacklevel,
            )

    def _check_start(self, start: Parameters) -> None:
        """Make sure that a start goes together with the parameters and the rows."""
        wanted = (self.n_components, self.n_features_in_, self.covariance_type)
        if (found := (*start.means.shape, start.covariance_type)) != wanted:
            raise ValueError(
                "the start has {} components, {} features and {} covariances, and {}, {} and {} are asked "
                "for".format(*found, *wanted)
            )
        given = ("weights_init", "means_init", "precisions_init")
        if named := [name for name in given if getattr(self, name) is not None]:
            raise ValueError(f"{', '.join(named)} and a start say where to start; give one of them")

    def _given_starts(
        self, material: Material, random_state: np.random.RandomState, *, continued: bool
    ) -> list[list[Parameters]] | None:
        """Return where to start if that is known, wholly or in part."""
        if continued:
            return [[self._parameters()]]
        given = (self.weights_init, self.means_init, self.precisions_init)
        if all(value is None for value in given):
            return None
        chosen = material.sample(random_state)
        return [[self._start(chosen, random_state) for _ in range(self.n_init)]]

    def _start(self, rows: Rows, random_state: np.random.RandomState) -> Parameters:
        k, d, kind = self.n_components, rows.n_features, self.covariance_type
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
            covariances = _inverse(precisions, full=kind in ("full", "tied"))
        if any(array is None for array in arrays):
            how = "k-means++" if self.init_params == "short-runs" else self.init_params
            found = start(rows, k, how, kind, self.reg_covar, random_state)
            weights = found.weights if weights is None else weights
            means = found.means if means is None else means
            covariances = found.covariances if covariances is None else covariances
        return Parameters(weights, means, covariances, kind)

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

    # ------------------------------------------------------------ in parts

    def partial(
        self,
        X: ArrayLike | RowSource,
        *,
        errors: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Moments:
        """Return the sums of an E step over some rows; those of all rows are their sum.

        So that rows may lie on several machines: each sends its sums, which are added
        (``a + b``), and `update` makes the M step.

        Parameters
        ----------
        X : (n, d) array or RowSource
            Some of the rows; NaN where missing.
        errors : (n, d) or (n, d, d) array, optional
            Standard errors, or covariance matrices of the errors.
        sample_weight : (n,) array, optional
            Weights.

        Returns
        -------
        Moments

        Examples
        --------
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
        >>> (gm.partial([[1.0]]) + gm.partial([[3.0], [np.nan]])).first
        array([[4.]])
        """
        check_is_fitted(self)
        rows = self._as_rows(X, errors, sample_weight, reset=False)
        if isinstance(rows, Rows):
            check_rows(rows)
        with one_blas_thread():
            return Dataset(rows, self._make_engine()).expect([self._parameters()])[0]

    def update(self, moments: Moments) -> float:
        """Make the M step from the sums of all rows.

        Parameters
        ----------
        moments : Moments
            The sum of what `partial` gave for all rows under the present mixture.

        Returns
        -------
        float
            Mean log-likelihood of a row under the mixture before the step.
        """
        check_is_fitted(self)
        fitted = maximize(moments, self.covariance_type, self.reg_covar)  # type: ignore[arg-type]
        if (removed := self.weights_ == 0).any():
            fitted = without(fitted, removed)
        self._keep(fitted)
        self.lower_bound_ = moments.log_likelihood / moments.n_rows
        self.lower_bounds_ = [*getattr(self, "lower_bounds_", []), self.lower_bound_]
        self.n_iter_ = len(self.lower_bounds_)
        return self.lower_bound_
