"""What a fitted mixture says of rows: memberships, densities, tails, criteria, samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp, softmax
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from astro_cluster.mixture.engine import Dataset, make_engine
from astro_cluster.mixture.parameters import Parameters, full_covariances
from astro_cluster.mixture.rows import ADVICE, Engine, NotPositiveDefiniteError, Rows, RowSource
from astro_cluster.mixture.sources import CheckedSource, as_source, gives_chunks
from astro_cluster.mixture.survey import check_rows, to_rows
from astro_cluster.mixture.tails import tail_probability

__all__ = ["FittedMixture"]


def _is_source(X: Any) -> bool:
    """Tell what is read in chunks from an array: sources, memory maps, functions, lists of chunks."""
    if isinstance(X, (list, tuple)):  # of chunks, or of rows
        return gives_chunks(X)
    return isinstance(X, (RowSource, np.memmap, Iterator)) or (callable(X) and not hasattr(X, "__array__"))


def _masked_to_nan(X: ArrayLike) -> ArrayLike:
    """Return a masked array with NaN where it is masked; anything else as it is."""
    return np.ma.filled(X.astype(float), np.nan) if np.ma.isMaskedArray(X) else X


class FittedMixture(DensityMixin, BaseEstimator):
    """What `GaussianMixture` can do once it is fitted."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _make_engine(self) -> Engine:
        if (self.n_jobs is not None and self.n_jobs < -1) or self.n_jobs == 0:
            raise ValueError(f"n_jobs={self.n_jobs} is not a number of threads; give 1 or more, or -1")
        n_threads = None if self.n_jobs in (None, -1) else int(self.n_jobs)
        return make_engine(self.engine, device=self.device, n_threads=n_threads)  # type: ignore[arg-type]

    def _as_rows(
        self, X: Any, errors: Any = None, sample_weight: Any = None, *, reset: bool
    ) -> Rows | RowSource:
        """Return what a method was given as rows, or as a source of them."""
        if _is_source(X):
            source = as_source(X, errors, sample_weight)
            if reset:
                self.n_features_in_ = source.n_features
            elif source.n_features != self.n_features_in_:
                raise ValueError(
                    f"the source has {source.n_features} features, but {type(self).__name__} was fitted to "
                    f"{self.n_features_in_}"
                )
            return source if reset else CheckedSource(source, to_fit=False)
        X = validate_data(
            self,
            _masked_to_nan(X),
            dtype=np.float64,
            reset=reset,
            ensure_min_samples=2 if reset else 1,
            ensure_all_finite=False,  # `check_rows` says in which column and row
        )
        return to_rows(X, errors, sample_weight)

    def _keep(self, parameters: Parameters) -> None:
        """Become a mixture, unless one of its covariances cannot be inverted."""
        covariances = parameters.covariances
        if parameters.diagonal:
            if not (covariances > 0).all():
                raise NotPositiveDefiniteError(f"a variance is not positive: {ADVICE}")
            precisions = 1 / covariances
            factors = np.sqrt(precisions)
        else:
            try:
                lower = np.linalg.cholesky(covariances)
            except np.linalg.LinAlgError as error:
                raise NotPositiveDefiniteError(
                    f"the covariance of a component is not positive definite: {ADVICE}"
                ) from error
            factors = np.swapaxes(np.linalg.inv(lower), -1, -2)
            precisions = factors @ np.swapaxes(factors, -1, -2)
        self.weights_, self.means_, self.covariances_ = parameters.weights, parameters.means, covariances
        self.precisions_, self.precisions_cholesky_ = precisions, factors

    def _parameters(self) -> Parameters:
        return Parameters(self.weights_, self.means_, self.covariances_, self.covariance_type)  # type: ignore[arg-type]

    def _log_joint(self, X: Any, errors: Any, reduce: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        check_is_fitted(self)
        rows = self._as_rows(X, errors, reset=False)
        if isinstance(rows, Rows):
            check_rows(rows)
        return Dataset(rows, self._make_engine()).log_joint(self._parameters(), reduce)

    def predict(self, X: ArrayLike | RowSource, *, errors: ArrayLike | None = None) -> np.ndarray:
        """Return the likeliest component of each row.

        Parameters
        ----------
        X : (n, d) array or RowSource
            Rows; NaN where missing.
        errors : (n, d) or (n, d, d) array, optional
            Standard errors, or covariance matrices of the errors.

        Returns
        -------
        (n,) array of int
        """
        return self._log_joint(X, errors, partial(np.argmax, axis=1))

    def predict_proba(self, X: ArrayLike | RowSource, *, errors: ArrayLike | None = None) -> np.ndarray:
        """Return the probability of each component given what is observed.

        Parameters
        ----------
        X : (n, d) array or RowSource
            Rows; NaN where missing.
        errors : (n, d) or (n, d, d) array, optional
            Standard errors, or covariance matrices of the errors.

        Returns
        -------
        (n, k) array
        """
        return self._log_joint(X, errors, partial(softmax, axis=1))

    def score_samples(self, X: ArrayLike | RowSource, *, errors: ArrayLike | None = None) -> np.ndarray:
        """Return the log density of what is observed in each row.

        Parameters
        ----------
        X : (n, d) array or RowSource
            Rows; NaN where missing.
        errors : (n, d) or (n, d, d) array, optional
            Standard errors, or covariance matrices of the errors.

        Returns
        -------
        (n,) array
            0 for a row with nothing observed.
        """
        return self._log_joint(X, errors, partial(logsumexp, axis=1))

    def score(
        self,
        X: ArrayLike | RowSource,
        y: object = None,
        *,
        errors: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Return the (weighted) mean of `score_samples`.

        Parameters
        ----------
        X : (n, d) array or RowSource
            Rows; NaN where missing.
        y : None
            Ignored.
        errors : (n, d) or (n, d, d) array, optional
            Standard errors, or covariance matrices of the errors.
        sample_weight : (n,) array, optional
            Weights.

        Returns
        -------
        float
        """
        total, weight = self._total(X, errors, sample_weight)
        return total / weight

    def memberships(self, X: ArrayLike, *, errors: ArrayLike | None = None) -> dict[str, np.ndarray]:
        """Return all that the mixture says of each row, for one pass over the rows.

        Parameters
        ----------
        X : (n, d) array
            Rows; NaN where missing.
        errors : (n, d) or (n, d, d) array, optional
            Standard errors, or covariance matrices of the errors.

        Returns
        -------
        dict
            ``labels`` (n,), ``probabilities`` (n, k), ``log_density`` (n,) and ``outlier`` (n,), as
            `predict`, `predict_proba`, `score_samples` and `tail_probability` give them.
        """
        check_is_fitted(self)
        rows = self._as_rows(np.asarray(X) if isinstance(X, np.memmap) else X, errors, reset=False)
        if not isinstance(rows, Rows):
            raise ValueError("memberships of a source are not kept all at once; give it chunk by chunk")
        check_rows(rows)
        engine = self._make_engine()
        joint = Dataset(rows, engine).log_joint(self._parameters())
        log_density, probabilities = logsumexp(joint, axis=1), softmax(joint, axis=1)
        tail, _ = tail_probability(rows, engine, self._parameters(), log_density, probabilities)
        return {
            "labels": joint.argmax(axis=1),
            "probabilities": probabilities,
            "log_density": log_density,
            "outlier": tail,
        }

    def tail_probability(self, X: ArrayLike, *, errors: ArrayLike | None = None) -> np.ndarray:
        """Return how probable it is that a member is at least as improbable as each row.

        Parameters
        ----------
        X : (n, d) array
            Rows; NaN where missing.
        errors : (n, d) or (n, d, d) array, optional
            Standard errors, or covariance matrices of the errors.

        Returns
        -------
        (n,) array
            The share of simulated rows, with the same holes and errors, whose log density is not
            above that of the row: from up to 100,000 draws, fewer for rows with many
            different holes.  Rows of more than 4,000 kinds are not simulated: theirs is the
            chi-square tail of the squared Mahalanobis distance, averaged over the components by the
            row's probabilities.  1 for a row with nothing observed.

        Examples
        --------
        >>> from astro_cluster.mixture import GaussianMixture
        >>> gm = GaussianMixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
        >>> gm.tail_probability([[0.0], [1.959964]]).round(2)
        array([1.  , 0.05])
        """
        return self.memberships(X, errors=errors)["outlier"]

    def _n_parameters(self) -> int:
        k, d = self.means_.shape
        free = {"full": k * d * (d + 1) // 2, "tied": d * (d + 1) // 2, "diag": k * d, "spherical": k}
        return free[self.covariance_type] + k * d + k - 1

    def bic(
        self,
        X: ArrayLike | RowSource,
        *,
        errors: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Return the Bayesian information criterion; lower is better.

        Parameters
        ----------
        X : (n, d) array or RowSource
            Rows; NaN where missing.
        errors : (n, d) or (n, d, d) array, optional
            Standard errors, or covariance matrices of the errors.
        sample_weight : (n,) array, optional
            Weights; their sum counts as the number of rows.

        Returns
        -------
        float
        """
        total, n = self._total(X, errors, sample_weight)
        return float(-2 * total + self._n_parameters() * np.log(n))

    def aic(
        self,
        X: ArrayLike | RowSource,
        *,
        errors: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Return the Akaike information criterion; lower is better.

        Parameters
        ----------
        X : (n, d) array or RowSource
            Rows; NaN where missing.
        errors : (n, d) or (n, d, d) array, optional
            Standard errors, or covariance matrices of the errors.
        sample_weight : (n,) array, optional
            Weights.

        Returns
        -------
        float
        """
        total, _ = self._total(X, errors, sample_weight)
        return float(-2 * total + 2 * self._n_parameters())

    def _total(self, X: Any, errors: Any, sample_weight: Any) -> tuple[float, float]:
        """Return the weighted log-likelihood and the sum of the weights."""
        log_densities = self.score_samples(X, errors=errors)
        weights = np.ones(len(log_densities))
        if sample_weight is not None:
            rows = to_rows(log_densities[:, np.newaxis], None, sample_weight)
            check_rows(rows)
            weights = rows.weights
            if not weights.sum() > 0:
                raise ValueError(
                    f"the weights of all {len(weights)} rows are zero; give some row a positive one"
                )
        return float(log_densities @ weights), float(weights.sum())

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
